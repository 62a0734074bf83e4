/*
 * round.h - a question to one worker or all of them, whose answers make one answer of ours.
 *
 *     gv_round_new() --asked, 32 at a time--> all have answered or failed --> finish, on_done: gone
 *
 * One answer to each question; the caller waits for on_done, or forgets the round when nobody wants
 * to know any more (it is still finished: a flush has its effect). Everything on the service
 * thread.
 */
#ifndef GV_ADMIN_ROUND_H
#define GV_ADMIN_ROUND_H

#include "admin/admin.h"
#include "grapevine/base/list.h"
#include "grapevine/proxy/ask.h"

/* One worker's part. */
struct gv_voice {
    struct gv_round *round;         /* borrowed */
    const struct gv_worker *worker; /* borrowed from the round's view */
    enum gv_cause cause;            /* NONE: it answered */
    uint16_t status;
    char content_type[GV_ASK_TYPE_MAX];
    struct gv_buf body; /* owned */
    bool is_second;     /* asked for second_path */
};

struct gv_round_plan {
    const char *method;
    const char *path;
    const char *second_path; /* asked when the first is 404; NULL: none */
    uint64_t timeout_ms;
    void (*finish)(struct gv_round *round, struct gv_answer *answer);
};

struct gv_round {
    struct gv_list link; /* in rounds->list */
    const struct gv_admin_parts *parts;
    const struct gv_round_plan *plan;
    const struct gv_fleet_view *view; /* a reference */
    struct gv_voice *voices;          /* owned */
    uint32_t voice_count;
    uint32_t sent_count;
    uint32_t out_count;
    void (*on_done)(void *owner, struct gv_answer *answer); /* NULL: nobody wants to know */
    void *owner;
};

struct gv_rounds {
    struct gv_asker *asker; /* owned */
    struct gv_list list;    /* of rounds; owned */
};

/**
 * Ask `workers` (of `view`, a reference that is moved). NULL when all is over already, with the
 * answer in `*answer`; else set on_done and owner.
 */
struct gv_round *gv_round_new(const struct gv_admin_parts *parts, const struct gv_round_plan *plan,
                              const struct gv_fleet_view *view,
                              const struct gv_worker *const *workers, uint32_t count,
                              struct gv_answer *answer);

/** Nobody waits for it any more. */
void gv_round_forget(struct gv_round *round);

/** Did this worker answer with 2xx? */
bool gv_voice_is_good(const struct gv_voice *voice);

/** What this worker did, for people: "status 503", "timeout". */
void gv_voice_describe(const struct gv_voice *voice, char text[64]);

GV_MUST_USE enum gv_err gv_rounds_open(struct gv_rounds *rounds, struct gv_loop *loop,
                                       const struct gv_proxy_shared *shared);

/** End all rounds: each is answered that this node is shutting down. */
void gv_rounds_close(struct gv_rounds *rounds);

#endif
