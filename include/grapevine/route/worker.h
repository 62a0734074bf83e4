/*
 * worker.h - one engine that answers requests: what it is, which pool it is in, how it is now.
 *
 * A plain value. The URL is its identity in the whole cluster; inside one process it also has a
 * small index, given by the fleet and never reused while the process lives, by which tries and
 * loads are addressed.
 */
#ifndef GV_ROUTE_WORKER_H
#define GV_ROUTE_WORKER_H

#include "grapevine/base/addr.h"
#include "grapevine/base/err.h"
#include "grapevine/base/slice.h"

#define GV_WORKERS_MAX       16384 /* indexes per process */
#define GV_WORKER_URL_MAX    512   /* bytes with NUL */
#define GV_WORKER_MODEL_MAX  256   /* bytes with NUL */
#define GV_WORKER_MODELS_MAX 16
#define GV_WORKER_LABELS_MAX 512 /* bytes with NUL */
#define GV_KEY_MAX           280 /* bytes of "pool::model" with NUL */
#define GV_MODEL_UNKNOWN     "unknown"

/* What may be set of a worker, by an operator or by the record of another node. */
#define GV_WORKER_PORT_MAX       65535 /* of bootstrap_port, from 1 */
#define GV_WORKER_PRIORITY_USUAL 50
#define GV_WORKER_PRIORITY_MAX   1000
#define GV_WORKER_COST_USUAL     1.0
#define GV_WORKER_COST_MAX       1e6
#define GV_WORKER_HEALTH_MAX     86400                   /* seconds, or probes in a row; from 1 */
#define GV_WORKER_CAPACITY_MAX   UINT64_C(1000000000000) /* tokens */

enum gv_pool {
    GV_POOL_REGULAR = 0,
    GV_POOL_PREFILL,
    GV_POOL_DECODE,
    GV_POOL_COUNT
};

enum gv_worker_state {
    GV_WORKER_PENDING = 0, /* known, not yet probed often enough */
    GV_WORKER_READY,       /* the only state that gets requests */
    GV_WORKER_NOT_READY,   /* probes fail */
    GV_WORKER_DRAINING,    /* to be removed when its requests have ended */
    GV_WORKER_REFUSED,     /* its metadata or its key contradict its registration */
    GV_WORKER_STATE_COUNT
};

enum gv_worker_source {
    GV_SOURCE_FLAG = 0, /* --worker-urls, --prefill, --decode */
    GV_SOURCE_API,      /* POST /workers on this node */
    GV_SOURCE_MESH,     /* another node told us */
    GV_SOURCE_COUNT
};

/* How it is probed; 0 everywhere: as the node is set up. */
struct gv_worker_health {
    uint32_t timeout_ms;
    uint32_t interval_ms;
    uint32_t success_threshold;
    uint32_t failure_threshold;
    uint32_t drain_settle_ms; /* it drains for at least that long */
    bool is_off;              /* not at all: it counts as ready */
};

struct gv_worker {
    char url[GV_WORKER_URL_MAX]; /* canonical, see http/uri.h */
    char id[40];                 /* UUID text, made from the URL, equal on all nodes */
    enum gv_pool pool;
    enum gv_worker_state state;
    enum gv_worker_source source;
    uint32_t index;       /* in this process; below GV_WORKERS_MAX */
    uint32_t engine;      /* the index of its engine's URL: of a rank another one than its own */
    uint32_t model_count; /* 0: any model */
    char models[GV_WORKER_MODELS_MAX][GV_WORKER_MODEL_MAX];
    int32_t bootstrap_port;   /* prefill workers; -1: none */
    int32_t priority;         /* GV_WORKER_PRIORITY_USUAL by default */
    double cost;              /* GV_WORKER_COST_USUAL by default */
    char api_key[256];        /* "" none; never shown, never logged, never gossiped */
    char runtime[16];         /* "sglang", "vllm", "openai", or "" */
    uint64_t capacity_tokens; /* KV cache, from metadata; 0: unknown */
    uint64_t ready_since_ms;  /* wall clock; 0: not ready */
    struct gv_worker_health health;
    char labels[GV_WORKER_LABELS_MAX]; /* a JSON object of texts; "" none */
    char reason[160];                  /* why it is in its state, for people */
};

/** The URL of the engine that answers at `url`: the same, but for a rank ("url@3"). Borrowed. */
struct gv_slice gv_worker_engine_url(const char *url);

/** "prefill" for GV_POOL_PREFILL; and back: false when unknown. */
const char *gv_pool_name(enum gv_pool pool);
bool gv_pool_parse(struct gv_slice text, enum gv_pool *pool);
const char *gv_worker_state_name(enum gv_worker_state state);
const char *gv_worker_source_name(enum gv_worker_source source);

/** Set `id` from `url`: a UUID (RFC 9562, version 8) that is the same on every node. */
void gv_worker_identify(struct gv_worker *worker);

/** A worker of which nothing is said: regular, pending, of the usual priority and cost. */
void gv_worker_blank(struct gv_worker *worker);

/**
 * Numbers beyond what may be set count as not said, so that all nodes make the same of a record
 * that nobody's operator can have written. Returns how many there were.
 */
uint32_t gv_worker_hold(struct gv_worker *worker);

/** Does it serve `model`? A worker without models serves any; an empty or "unknown" model matches
 * any worker. */
bool gv_worker_serves(const struct gv_worker *worker, struct gv_slice model);

/**
 * Compose the only address of a trie: "pool::model", empty model as "unknown".
 * Errors: GV_ETOOBIG.
 */
GV_MUST_USE enum gv_err gv_key_compose(enum gv_pool pool, struct gv_slice model,
                                       char key[GV_KEY_MAX]);

/** Take "pool::model" apart. Errors: GV_EINVAL no such pool, no "::", or an empty model. */
GV_MUST_USE enum gv_err gv_key_split(struct gv_slice key, enum gv_pool *pool,
                                     struct gv_slice *model);

#endif
