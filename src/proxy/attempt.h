/*
 * attempt.h - a request on its way to its workers: the carrier and its legs, as their files share
 * them.
 *
 * carrier.c owns the carrier and says when; legs.c and body.c say how. Who may include: those, and
 * what the carrier calls for one purpose (account, merging, reranking, reply). One loop.
 */
#ifndef GV_PROXY_ATTEMPT_H
#define GV_PROXY_ATTEMPT_H

#include "kept.h"
#include "merge.h"
#include "parts.h"
#include "relay.h"
#include "upstream.h"
#include "usage.h"

#define GV_CARRIER_FAILED_MAX     200           /* two legs of every attempt */
#define GV_CARRIER_HEAD_BYTES_MAX (256u * 1024) /* of a request */

struct gv_leg {
    struct gv_upstream upstream;
    uint32_t worker;          /* index */
    struct gv_target *target; /* borrowed; NULL when this attempt has no such leg */
    struct gv_decision decision;
    uint32_t epoch;          /* of the breaker */
    uint64_t uncached_bytes; /* counted as load until the first byte */
    bool admitted;           /* the breaker waits for a report */
    bool taken;              /* the load is counted */
    bool is_ripe;          /* nothing waited there: what was said to be cached, had been computed */
    bool is_alone;         /* its engine had nothing else to do, up to the first byte */
    uint64_t sent_wall_ms; /* when it was chosen */
    uint64_t first_byte_us; /* since the request was sent; 0: none yet */
    bool has_head;
    struct gv_head answer; /* slices live until the leg ends */
    struct gv_buf head;    /* owned: the request's head */
    struct gv_slice body;  /* the request's body: one of the carrier's */
    struct gv_slice rid;   /* raw JSON: its name at the engine, if it has one; else empty */
};

struct gv_carrier {
    struct gv_client *client; /* borrowed; NULL once it is gone */
    struct gv_proxy *proxy;   /* borrowed */
    struct gv_exchange exchange;
    struct gv_plan plan;
    struct gv_buf body;        /* owned: as the client sent it */
    struct gv_buf pair_body;   /* owned: with fields of ours; of a pair, or prefill's alone */
    struct gv_buf decode_body; /* owned: decode's, where it differs */
    char own_rid[48];          /* raw JSON: the name we gave this attempt; "" none */
    struct gv_leg legs[GV_EXCHANGE_LEGS_MAX];
    struct gv_relay relay;
    struct gv_kept kept;
    struct gv_merge merge;
    struct gv_kept merged;     /* the head of the answer that is merged, or made of another */
    struct gv_buf rerank;      /* owned: the engine's answer to a rerank request */
    bool is_reranking;         /* it is held there */
    bool is_merging;           /* decode's answer passes through `merge` */
    bool prefill_done;         /* its answer is complete, and was understood as far as it can be */
    bool decode_done;          /* its answer is complete, and waits for prefill's */
    struct gv_timer *timer;    /* owned; NULL until a backoff is needed */
    struct gv_list pause;      /* in proxy->pausing while in BACKOFF */
    uint32_t failed_count;     /* of `failed` */
    uint32_t asking_back;      /* the worker that asked last to be called again */
    uint64_t began_us;         /* it had its place */
    uint64_t decided_us;       /* a worker was first chosen */
    uint64_t first_byte_us;    /* since the request's last byte; 0: none yet */
    uint64_t stalled_since_ms; /* the client takes nothing; 0: it does */
    struct gv_usage usage;     /* as the engine reported */
    bool passed_kept;          /* the client got the kept answer */
    bool planned;
    enum gv_problem problem; /* the answer was ours */
    const char *outcome;
    char detail[GV_DISPATCH_DETAIL_BYTES];
    uint32_t failed[GV_CARRIER_FAILED_MAX]; /* indexes of workers, or of engines */
};

#endif
