/*
 * legs.h - the legs of an exchange: chosen, counted, sent, and given back exactly once.
 *
 * The carrier's other half: carrier.c says when, this says how. Who may call: carrier.c.
 */
#ifndef GV_PROXY_LEGS_H
#define GV_PROXY_LEGS_H

#include "cached.h"
#include "kept.h"
#include "merge.h"
#include "parts.h"
#include "relay.h"
#include "upstream.h"

#define GV_CARRIER_FAILED_MAX     64            /* workers remembered as failed for one request */
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
    bool has_head;
    struct gv_head answer; /* slices live until the leg ends */
    struct gv_buf head;    /* owned: the request's head */
};

struct gv_carrier {
    struct gv_client *client; /* borrowed; NULL once it is gone */
    struct gv_proxy *proxy;   /* borrowed */
    struct gv_exchange exchange;
    struct gv_plan plan;
    struct gv_buf body;        /* owned: as the client sent it */
    struct gv_buf pair_body;   /* owned: with the bootstrap fields, or prefill's alone */
    struct gv_buf decode_body; /* owned: of a pair whose prefill goes first */
    struct gv_leg legs[GV_EXCHANGE_LEGS_MAX];
    struct gv_relay relay;
    struct gv_kept kept;
    struct gv_merge merge;
    struct gv_kept merged;  /* the head of the answer that is merged */
    bool is_merging;        /* decode's answer passes through `merge` */
    bool prefill_done;      /* its answer is complete, and was understood as far as it can be */
    bool decode_done;       /* its answer is complete, and waits for prefill's */
    struct gv_timer *timer; /* owned; NULL until a backoff is needed */
    uint32_t failed[GV_CARRIER_FAILED_MAX];
    uint32_t failed_count;
    uint64_t first_byte_us;    /* since the request's last byte; 0: none yet */
    uint64_t stalled_since_ms; /* the client takes nothing; 0: it does */
    struct gv_cached cached;   /* as the engine reported */
    bool passed_kept;          /* the client got the kept answer */
    bool planned;
    enum gv_problem problem; /* the answer was ours */
    const char *outcome;
    char detail[GV_DISPATCH_DETAIL_BYTES];
};

/** How the request of this leg went, as its worker's breaker sees it; the first word counts. */
void gv_leg_report(struct gv_carrier *carrier, struct gv_leg *leg, enum gv_breaker_outcome outcome);

/** What an answer of this status says about its worker: 4xx nothing, a retryable 5xx the worst. */
enum gv_breaker_outcome gv_leg_outcome(uint16_t status);

/** The first byte of its answer came: its prompt has been worked off. */
void gv_leg_first_byte(struct gv_carrier *carrier, struct gv_leg *leg);

/** A leg is over, however it ended: what was taken is given back, once. */
void gv_leg_release(struct gv_carrier *carrier, struct gv_leg *leg);

/** Is there a worker for this leg on which the request has not failed? `but` counts as failed. */
bool gv_legs_have_another(struct gv_carrier *carrier, uint32_t leg, uint32_t but);

/** The request failed there: only with nobody else is it tried there again. */
void gv_legs_avoid(struct gv_carrier *carrier, uint32_t worker);

/**
 * Choose the workers of all legs, write their requests, count and record the decisions. Returns
 * GV_PROBLEM_NONE, or why not; then nothing was counted and carrier->detail has the words.
 */
enum gv_problem gv_legs_choose(struct gv_carrier *carrier);

/** Does prefill go first (--pd-protocol vllm), and decode only with what it returned? */
bool gv_legs_are_in_turn(const struct gv_carrier *carrier);

/** Prefill has answered `answer`: send decode's request. false: it could not even begin. */
bool gv_legs_hand_over(struct gv_carrier *carrier, struct gv_slice answer,
                       const struct gv_upstream_events *events);

/** Send what was chosen; of legs in turn the first. false: leg `*broken` could not even begin;
 * earlier ones are on their way.
 */
bool gv_legs_start(struct gv_carrier *carrier, const struct gv_upstream_events *events,
                   uint32_t *broken);

/* ---- carrier.c ---- */

/** The time of its loop. */
uint64_t gv_carrier_now_ms(const struct gv_carrier *carrier);

/** Something happened: step the exchange and do what it decides; `first` are the answer's bytes
 * that came with it. The carrier may be gone afterwards. */
void gv_carrier_run(struct gv_carrier *carrier, struct gv_exchange_event event,
                    struct gv_slice first);

#endif
