/*
 * explain.h - a dry run: where would this request go, and why?
 *
 * The same code as for a real request up to the decision (dispatch.h), then nothing is counted,
 * recorded or sent. Breakers belong to the loops and are not asked. Any thread.
 */
#ifndef GV_PROXY_EXPLAIN_H
#define GV_PROXY_EXPLAIN_H

#include "grapevine/http/prompt.h"
#include "grapevine/proxy/proxy.h"

/* One pool's decision. */
struct gv_explain_leg {
    enum gv_pool pool;
    char key[GV_KEY_MAX];           /* "pool::model" */
    char worker[GV_WORKER_URL_MAX]; /* the winner; "" when the rule is NONE */
    struct gv_decision decision;    /* its candidates are owned by the explanation */
};

/* Headers that the request would have; each may be empty. */
struct gv_explain_headers {
    struct gv_slice routing_key; /* X-SMG-Routing-Key */
    struct gv_slice target;      /* X-SMG-Target-Worker */
};

struct gv_explain {
    enum gv_problem problem; /* GV_PROBLEM_NONE, or what the client would be told */
    char detail[512];        /* words to `problem`; "" without */
    char model[GV_WORKER_MODEL_MAX];
    uint32_t leg_count; /* 1; 2 with prefill and decode, in this order; 0 with some problems */
    struct gv_explain_leg legs[2];
    const struct gv_fleet_view *view; /* for the candidates' URLs; given back by deinit */
    struct gv_fleet *fleet;           /* borrowed */
};

/**
 * Decide for `body` sent to `endpoint` with `headers`.
 * On GV_OK `*explain` must be given to gv_explain_deinit(); also when `problem` is set.
 * Errors: GV_ENOMEM.
 */
GV_MUST_USE enum gv_err gv_explain_init(struct gv_explain *explain,
                                        const struct gv_proxy_shared *shared,
                                        enum gv_endpoint endpoint, struct gv_slice body,
                                        struct gv_explain_headers headers);
void gv_explain_deinit(struct gv_explain *explain);

#endif
