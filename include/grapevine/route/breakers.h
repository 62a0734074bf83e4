/*
 * breakers.h - the breakers of all workers, one per worker and node: every loop asks the same one.
 *
 * A worker that is on trial gets one request at a time from the whole node, whichever loop carries
 * it; what one loop learns, all loops know. A breaker that is closed and has nothing against its
 * worker is read and told of good answers without a lock.
 *
 * Any thread. Times are of one clock that never goes back; loops may read it at different moments.
 */
#ifndef GV_ROUTE_BREAKERS_H
#define GV_ROUTE_BREAKERS_H

#include "grapevine/route/breaker.h"

struct gv_breakers;

/* From which state to which a call has moved a breaker; equal: it has not. */
struct gv_breaker_turn {
    enum gv_breaker_state from;
    enum gv_breaker_state to;
};

/** All CLOSED. Errors: GV_ENOMEM. */
GV_MUST_USE enum gv_err gv_breakers_new(struct gv_breaker_limits limits,
                                        struct gv_breakers **breakers);
void gv_breakers_free(struct gv_breakers *breakers);

/** As gv_breaker_can_admit(), of this worker (an index below GV_WORKERS_MAX). Another loop may be
 * faster: only gv_breakers_admit() says. */
bool gv_breakers_can_admit(struct gv_breakers *breakers, uint32_t worker, uint64_t now_ms);

/** As gv_breaker_admit(). Errors: GV_EREFUSED. */
GV_MUST_USE enum gv_err gv_breakers_admit(struct gv_breakers *breakers, uint32_t worker,
                                          uint64_t now_ms, uint32_t *epoch,
                                          struct gv_breaker_turn *turn);

/** As gv_breaker_report(). */
struct gv_breaker_turn gv_breakers_report(struct gv_breakers *breakers, uint32_t worker,
                                          uint32_t epoch, enum gv_breaker_outcome outcome,
                                          uint64_t now_ms);

/** As gv_breaker_hear_failure(). */
struct gv_breaker_turn gv_breakers_hear_failure(struct gv_breakers *breakers, uint32_t worker,
                                                uint64_t now_ms);

enum gv_breaker_state gv_breakers_state(const struct gv_breakers *breakers, uint32_t worker);

#endif
