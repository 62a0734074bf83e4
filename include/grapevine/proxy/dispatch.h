/*
 * dispatch.h - from a request body to a worker: the prompt, its keys, who is eligible, the policy.
 *
 * A plan is made once per request (the body is read and hashed once, however often it is tried); a
 * decision is made per attempt and leg. Nothing here counts, records or sends: that is the
 * carrier's, so that explain.h can use the same code. Any thread; scratch memory is per thread.
 */
#ifndef GV_PROXY_DISPATCH_H
#define GV_PROXY_DISPATCH_H

#include "grapevine/http/prompt.h"
#include "grapevine/proxy/exchange.h"
#include "grapevine/proxy/proxy.h"

#define GV_DISPATCH_DETAIL_BYTES 512

/* Where one leg may go. */
struct gv_plan_leg {
    enum gv_pool pool;
    char key[GV_KEY_MAX]; /* "pool::model" */
    uint64_t *chain;      /* owned; NULL when the pool's policy does not look at prefixes */
    uint32_t count;       /* blocks in chain */
};

struct gv_plan {
    enum gv_endpoint endpoint;
    struct gv_slice model; /* borrowed from the body; empty when it names none */
    bool stream;
    bool records;        /* the engine will keep KV for it */
    bool logprobs;       /* a pair's input log-probabilities are to be put together */
    uint32_t batch_size; /* 0: a single prompt */
    uint64_t text_bytes; /* of the canonical prompt */
    uint32_t leg_count;  /* 1; 2: prefill and decode */
    struct gv_plan_leg legs[GV_EXCHANGE_LEGS_MAX];
};

/**
 * Read `body`. `reader` and `text` are working memory that may be used again afterwards.
 * On GV_OK the plan must be given to gv_plan_deinit().
 *
 * Errors: GV_EINVAL with `*problem` (bad JSON, a field of the wrong type, a model nobody can have,
 * no model while the workers have different ones, an endpoint that prefill and decode cannot
 * serve); GV_ENOMEM.
 */
GV_MUST_USE enum gv_err gv_plan_init(struct gv_plan *plan, const struct gv_proxy_shared *shared,
                                     const struct gv_fleet_view *view,
                                     struct gv_prompt_reader *reader, struct gv_buf *text,
                                     enum gv_endpoint endpoint, struct gv_slice body,
                                     enum gv_problem *problem);
void gv_plan_deinit(struct gv_plan *plan);

struct gv_dispatch_question {
    const struct gv_plan *plan;
    uint32_t leg;
    struct gv_slice routing_key; /* X-SMG-Routing-Key; may be empty */
    struct gv_slice client;      /* what tells clients apart; may be empty */
    struct gv_slice target;      /* X-SMG-Target-Worker; may be empty */
    uint64_t random;             /* fresh */
    uint64_t now_ms;             /* of a clock that never goes back */
    bool dry;                    /* nothing will be sent */
    const uint32_t *avoid;       /* where this request has failed: indexes of workers or engines */
    uint32_t avoid_count;
    bool (*allows)(void *owner, const struct gv_worker *worker); /* breakers; NULL: all */
    void *owner;
};

/**
 * Choose a worker for one leg. A worker in `avoid`, or of an engine in it, is chosen only when the
 * request names it and the policy obeys. Returns GV_PROBLEM_NONE, or what the client
 * should be told: NO_MODEL when no worker of the pool serves the model in any state, NO_TARGET when
 * others are eligible but not the one named, else NO_AVAILABLE (NO_PAIR with two legs).
 */
enum gv_problem gv_dispatch_decide(const struct gv_proxy_shared *shared,
                                   const struct gv_fleet_view *view,
                                   const struct gv_dispatch_question *question,
                                   struct gv_decision *decision);

/** Is a worker eligible that is not in `avoid`? When the request names one and the policy obeys:
 * only while it has not failed in this pool. */
bool gv_dispatch_has_another(const struct gv_proxy_shared *shared, const struct gv_fleet_view *view,
                             const struct gv_dispatch_question *question);

/** Is there a worker, not in `avoid`, that serves the model and may become eligible any moment: one
 * that is being probed, or whose breaker will let a trial through? */
bool gv_dispatch_has_hope(const struct gv_proxy_shared *shared, const struct gv_fleet_view *view,
                          const struct gv_dispatch_question *question);

/** Words to a problem of gv_dispatch_decide(): pool, model, and how many workers are in which
 * state. */
void gv_dispatch_detail(const struct gv_fleet_view *view,
                        const struct gv_dispatch_question *question,
                        char detail[GV_DISPATCH_DETAIL_BYTES]);

/** Bytes of the prompt that the worker of `decision` must still compute: what load is counted in.
 * 0 for decode. */
uint64_t gv_dispatch_uncached_bytes(const struct gv_proxy_shared *shared,
                                    const struct gv_plan *plan, uint32_t leg,
                                    const struct gv_decision *decision);

#endif
