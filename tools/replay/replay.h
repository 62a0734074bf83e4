/*
 * replay.h - what the files of replay share: options, the trace, and what was measured.
 */
#ifndef REPLAY_REPLAY_H
#define REPLAY_REPLAY_H

#include "grapevine/base/addr.h"
#include "grapevine/base/buf.h"
#include "grapevine/base/hist.h"
#include "grapevine/base/map.h"
#include "grapevine/base/prng.h"
#include "grapevine/http/uri.h"
#include "grapevine/net/loop.h"
#include "grapevine/net/resolve.h"

#define REPLAY_ROUTERS_MAX 64
#define REPLAY_WORKERS_MAX 1024
#define REPLAY_STATUS_MAX  600
#define REPLAY_RULES_MAX   16
#define REPLAY_BODY_MAX    ((size_t)256 << 20)

enum trace_format {
    TRACE_AUTO = 0,
    TRACE_CONVERSATION,
    TRACE_AGENTIC,
    TRACE_TEXT
};

enum replay_endpoint {
    REPLAY_CHAT = 0,
    REPLAY_COMPLETIONS,
    REPLAY_GENERATE
};

enum replay_spread {
    REPLAY_ROUND_ROBIN = 0, /* as names with several addresses do */
    REPLAY_HASH             /* one session, one router */
};

struct router {
    struct gv_uri uri;
    struct gv_addr addr;
    uint64_t sent; /* first attempts */
};

struct options {
    const char *trace_file;
    enum trace_format format;
    struct router routers[REPLAY_ROUTERS_MAX];
    size_t router_count;
    size_t request_max; /* of the trace; SIZE_MAX: all */
    bool dry;           /* send nothing: only agreement, or only what is possible */
    double rate;        /* requests per second; 0: the trace's own times */
    double speed;       /* the trace's own times run so much faster */
    enum replay_endpoint endpoint;
    enum replay_spread spread;
    bool stream;
    uint32_t concurrency_max;
    uint64_t seed;
    double bytes_per_token;
    uint32_t output_max; /* tokens asked for at most */
    const char *model;
    const char *api_key; /* NULL: none */
    uint64_t timeout_ms;
    uint32_t agreement_count;
    uint64_t quiet_ms;       /* before the agreement is asked */
    uint64_t pool_tokens;    /* of the one cache that "possible" is also told for; 0: not told */
    uint32_t worker_count;   /* 0: those that answered */
    double session_spread_s; /* agentic: starts of the sessions */
    double gap_max_s;        /* agentic: between two requests of a session; 0: as in the trace */
    double hit_at_least;     /* verdict; 0: any */
    bool json;
};

/* Some blocks in a row: first, first + 1, ... Ids are unique in the whole trace. */
struct run {
    uint64_t first;
    uint64_t count;
};

struct request {
    uint64_t at_us;         /* since the start of the replay */
    uint64_t session;       /* who asks: a hash of the session's name, or the first own block */
    uint64_t prompt_tokens; /* as the trace says */
    uint32_t output_tokens;
    size_t first_run; /* into trace.runs */
    size_t run_count;
    char *text; /* owned; NULL unless the trace has text */
};

struct trace {
    enum trace_format format;
    uint32_t block_tokens;    /* 512, 64; text: none, 64 */
    struct request *requests; /* owned, in the order of at_us */
    size_t request_count;
    struct run *runs; /* owned */
    size_t run_count;
    double span_s; /* of the trace's own times */
};

/* What the caches could have held, in tokens of the trace. */
struct possible {
    uint64_t tokens;
    uint64_t infinite_tokens; /* cached, when nothing is ever evicted */
    uint64_t pooled_tokens;   /* cached, in one cache of options.pool_tokens */
};

/* X(NAME, "name") */
#define CALL_OUTCOME_LIST(X)                                                                       \
    X(OK, "ok")                                                                                    \
    X(REFUSED, "connection refused")                                                               \
    X(NO_ANSWER, "closed before any byte")                                                         \
    X(CUT, "cut in the middle")                                                                    \
    X(BAD_HTTP, "answer is not HTTP")                                                              \
    X(STATUS, "status is not 200")                                                                 \
    X(TIMEOUT, "timed out")                                                                        \
    X(LOCAL, "no memory or descriptors here")

enum call_outcome {
#define CALL_OUTCOME_ENUM(name, text) CALL_##name,
    CALL_OUTCOME_LIST(CALL_OUTCOME_ENUM)
#undef CALL_OUTCOME_ENUM
    CALL_OUTCOME_COUNT
};

struct worker_sum {
    char name[256];
    uint64_t requests;
    uint64_t prompt_tokens;
};

struct rule_sum {
    char name[32];
    uint64_t requests;
};

struct measured {
    uint64_t sent;
    uint64_t finished;
    uint64_t retries; /* at another router: refused, or closed before any byte */
    uint64_t held;    /* had to wait for --concurrency-max */
    uint64_t peak;    /* in flight at once */
    uint64_t outcomes[CALL_OUTCOME_COUNT];
    uint64_t statuses[REPLAY_STATUS_MAX]; /* of answers that were not 200 */
    uint64_t prompt_tokens;               /* as the engines say */
    uint64_t cached_tokens;
    uint64_t without_usage;  /* 200, but no token counts in it */
    struct gv_hist first_us; /* from the planned time to the first event */
    struct gv_hist total_us;
    struct worker_sum workers[REPLAY_WORKERS_MAX];
    size_t worker_count;
    struct rule_sum rules[REPLAY_RULES_MAX]; /* why the worker was chosen, when the router says */
    size_t rule_count;
    double took_s;
    uint64_t asked; /* agreement */
    uint64_t agreed;
    uint64_t unanswered;
};

/* trace.c */
/** Read the file. false: a message was printed. */
bool trace_read(struct trace *trace, const struct options *options);
void trace_free(struct trace *trace);

/* text.c: equal ids give equal text. */
/** Append the JSON body of a request for the endpoint. Errors: as gv_buf_append(). */
GV_MUST_USE enum gv_err text_body(const struct trace *trace, const struct request *request,
                                  const struct options *options, struct gv_buf *out);
const char *text_target(enum replay_endpoint endpoint);

/* possible.c */
/** What the trace allows. false: out of memory. */
bool possible_count(const struct trace *trace, const struct options *options,
                    struct possible *possible);

/* call.c: one POST on a connection of its own. */
struct call_done {
    enum call_outcome outcome;
    uint16_t status;
    uint64_t first_at_us; /* gv_clock_us(); 0: nothing came */
    uint64_t end_at_us;
    bool has_usage;
    uint64_t prompt_tokens;
    uint64_t cached_tokens;
    char worker[256];     /* "": not told */
    char rule[32];        /* "": not told */
    struct gv_slice body; /* borrowed; empty for streams */
};
typedef void (*call_fn)(void *owner, const struct call_done *done);
struct call_ask {
    const struct router *router;
    const char *target;
    const char *api_key;
    uint64_t timeout_ms;
    struct gv_slice body; /* copied */
};
/** Exactly one `on_done`, never from inside. Errors: GV_ENOMEM, GV_EFULL; then none. */
GV_MUST_USE enum gv_err call_start(struct gv_loop *loop, const struct call_ask *ask,
                                   call_fn on_done, void *owner);

/* drive.c: the open loop. */
struct drive;
typedef void (*drive_fn)(void *owner);
GV_MUST_USE enum gv_err drive_start(struct gv_loop *loop, struct options *options,
                                    const struct trace *trace, struct measured *measured,
                                    drive_fn on_done, void *owner);

/* agree.c: do all routers name the same worker? */
GV_MUST_USE enum gv_err agree_start(struct gv_loop *loop, struct options *options,
                                    const struct trace *trace, struct measured *measured,
                                    drive_fn on_done, void *owner);

/* report.c */
/** Print; the program's exit code: 0 when the verdict is good. */
int report_print(const struct options *options, const struct trace *trace,
                 const struct possible *possible, const struct measured *measured);

#endif
