/*
 * legs.h - the legs of an exchange: chosen, counted, sent, and given back exactly once.
 *
 * The carrier's other half: carrier.c says when, this says how. Who may call: carrier.c.
 */
#ifndef GV_PROXY_LEGS_H
#define GV_PROXY_LEGS_H

#include "attempt.h"

/** How the request of this leg went, as its worker's breaker sees it; the first word counts. */
void gv_leg_report(struct gv_carrier *carrier, struct gv_leg *leg, enum gv_breaker_outcome outcome);

/** What an answer of this status says about its worker: 4xx nothing, a retryable 5xx the worst. */
enum gv_breaker_outcome gv_leg_outcome(uint16_t status);

/** The first byte of its answer came: its prompt has been worked off. */
void gv_leg_first_byte(struct gv_carrier *carrier, struct gv_leg *leg);

/** A leg is over, however it ended: what was taken is given back, once. */
void gv_leg_release(struct gv_carrier *carrier, struct gv_leg *leg);

#define GV_LEGS_NOBODY UINT32_MAX

/** Whom a failure of this leg by `cause` speaks of: its worker, or all ranks of its engine. */
uint32_t gv_leg_culprit(const struct gv_carrier *carrier, const struct gv_leg *leg,
                        enum gv_cause cause);

/** Who could take another try? Sets the event's `another`, `hope` and `spent`. `but` (or
 * GV_LEGS_NOBODY) counts as failed. */
void gv_legs_look_around(struct gv_carrier *carrier, uint32_t but, struct gv_exchange_event *event);

/** The request failed there: it is not tried there again. */
void gv_legs_avoid(struct gv_carrier *carrier, uint32_t culprit);

/** It may be, after all. */
void gv_legs_forgive(struct gv_carrier *carrier, uint32_t worker);

/** No connection to the engine of this leg: its other ranks' breakers hear of it. */
void gv_leg_tell_ranks(struct gv_carrier *carrier, const struct gv_leg *leg);

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
