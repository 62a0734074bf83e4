/*
 * ward.h - one worker as the prober sees it: what was asked of it, what is known of it.
 *
 * Ranks of one engine are asked for by one of them, the first by URL that does not drain: what it
 * hears all conclude from, each for itself.
 *
 * probe.c owns the wards and looks at each on every tick; ward.c asks and judges; learn.c draws the
 * conclusions from what an engine says of itself; poll.c asks how busy it is. One thread.
 *
 *     IDLE --due--> HEALTH --good--> MODELS -> the questions of its kind of engine, one by one
 *       ^             |                                             |
 *       +-------------+---------------------------------------------+
 */
#ifndef GV_PROXY_WARD_H
#define GV_PROXY_WARD_H

#include "engine.h"
#include "fetch.h"
#include "grapevine/base/list.h"
#include "grapevine/proxy/probe.h"

#define GV_WARD_FAST_MS    1000u /* between probes of a worker that is not ready */
#define GV_WARD_RISING_MS  50u   /* between good probes of a worker about to be ready */
#define GV_WARD_SUSPECT_MS 200u  /* least time between two probes that a suspicion causes */
#define GV_WARD_ACTIVE_MAX 128u  /* questions out at once */

enum gv_ward_step {
    GV_WARD_IDLE = 0,
    GV_WARD_HEALTH,
    GV_WARD_MODELS,
    GV_WARD_QUESTION /* number `question` of its kind */
};

/* What tells one run of an engine from the next. */
struct gv_ward_life {
    char marker[GV_METADATA_MARKER_BYTES]; /* "" none */
    uint64_t uptime_ms;                    /* 0: not told */
    bool has_counter;
    double counter;
};

/* How its load is asked for. */
struct gv_poll {
    struct gv_fetch fetch;
    bool is_open;      /* `fetch` is initialised */
    uint32_t question; /* the one that was understood last */
    uint32_t tried;    /* questions asked in vain, this time */
    uint64_t due_at_ms;
    const struct gv_engine *engine;       /* asked now */
    uint32_t before[GV_ENGINE_RANKS_MAX]; /* requests of the cluster in flight when it was asked */
};

struct gv_ward {
    struct gv_list link; /* in probe->wards */
    struct gv_probe *probe;
    struct gv_target *target; /* borrowed; NULL: its URL cannot be spoken to */
    char url[GV_WORKER_URL_MAX];
    uint32_t index;
    struct gv_fetch fetch;
    enum gv_ward_step step;
    const struct gv_engine *engine; /* whose questions are asked now */
    uint32_t question;
    bool understood; /* the question before */
    uint64_t due_at_ms;
    uint64_t asked_at_ms; /* the last health probe */
    uint32_t good_count;  /* probes in a row */
    uint32_t bad_count;
    bool described; /* its metadata were read since it was last unknown */
    bool refused;   /* connections were refused since it was last well */
    uint64_t refused_wall_ms;
    bool learns_models;  /* its registration named none */
    bool learns_runtime; /* the same for its kind */
    bool listed;         /* /v1/models has told models, this time */
    bool lists;          /* and ever: then nothing else is believed */
    struct gv_ward_life life;
    struct gv_metadata metadata;
    struct gv_poll poll;
    uint64_t draining_since_ms; /* 0: it does not */
    uint64_t seen_at;           /* sweep number, to find wards whose worker is gone */
    bool was_ready;             /* at the last look, or made so since */
};

struct gv_probe {
    struct gv_loop *loop;
    const struct gv_proxy_shared *shared;
    const struct gv_probe_events *events;
    void *owner;
    struct gv_targets *targets;
    struct gv_timer *tick;
    struct gv_list wards;      /* owned */
    struct gv_ward **by_index; /* owned; GV_WORKERS_MAX of them, the same wards */
    const struct gv_fleet_view *view;
    uint64_t sweep;
    uint32_t active_count;
    uint32_t first; /* whose turn it is when not all can be asked; a place in the view */
};

/* ---- ward.c ---- */

/** The worker as it is now, or NULL when it is gone; borrowed until the next look. */
const struct gv_worker *gv_ward_look(struct gv_ward *ward);

/** The time of its loop. */
uint64_t gv_ward_now_ms(const struct gv_ward *ward);

/** This node's opinion of it, told to the fleet and the mesh. */
void gv_ward_set_state(struct gv_ward *ward, enum gv_worker_state state, const char *reason);

/** It must get no requests as it is; somebody has to change it, or what we were told of it. */
void gv_ward_refuse(struct gv_ward *ward, const char *reason);

/** Its metadata say that it is what it should be: count the good probe. */
void gv_ward_approve(struct gv_ward *ward);

/** Ask again, soon. */
void gv_ward_rest(struct gv_ward *ward);

/** Everything that is said to be cached there is gone as of `wall_ms`; here and on all nodes. */
void gv_ward_forget(struct gv_ward *ward, enum gv_floor_reason reason, uint64_t wall_ms);

/** Registered anew: what was known of it counts no longer. */
void gv_ward_restart(struct gv_ward *ward, const struct gv_worker *worker);

/** Time has passed: questions that were out for too long are answered by that. */
void gv_ward_expire(struct gv_ward *ward);

/** Time has passed: ask what is due, or have it asked by the rank that asks for all. */
void gv_ward_tick(struct gv_ward *ward);

/* ---- learn.c ---- */

/** All questions were asked, and `ward->metadata` holds the answers. Ends with gv_ward_approve(),
 * gv_ward_refuse() or gv_ward_rest(). */
void gv_learn_all(struct gv_ward *ward);

/* ---- poll.c ---- */

/** Time has passed: ask for its load when that is due, and nobody else in the cluster has. */
void gv_poll_tick(struct gv_ward *ward, const struct gv_worker *worker);
void gv_poll_deinit(struct gv_ward *ward);

#endif
