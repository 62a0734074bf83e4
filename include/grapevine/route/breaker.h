/*
 * breaker.h - stop sending requests to a worker that keeps failing.
 *
 * One breaker belongs to one worker. Failures in a row open it; while open it refuses
 * every request. After the cooldown it lets one trial request through, and that
 * request's outcome decides what happens next:
 *
 *                trip_count failures             cooldown over
 *      CLOSED ------------------------> OPEN --------------------> TRIAL
 *        ^                               ^                          | |
 *        |                               +--------- failure --------+ |
 *        +------------------------------- success --------------------+
 *
 * Every change of state starts a new epoch. A request carries the epoch it was admitted in,
 * and the outcome of a request from an earlier epoch is old news and changes nothing.
 *
 * Pure: no input or output, no clock, no allocation; the caller passes the time in.
 * Thread: belongs to the event loop that owns it.
 */
#ifndef GV_ROUTE_BREAKER_H
#define GV_ROUTE_BREAKER_H

#include "grapevine/base/err.h"
#include <stdbool.h>
#include <stdint.h>

enum gv_breaker_state {
    GV_BREAKER_CLOSED = 0,
    GV_BREAKER_OPEN,
    GV_BREAKER_TRIAL
};

struct gv_breaker_limits {
    uint32_t trip_count;  /* failures in a row that open it; at least 1 */
    uint64_t cooldown_ms; /* how long it stays open; at least 1 */
};

struct gv_breaker {
    struct gv_breaker_limits limits;
    enum gv_breaker_state state;
    uint32_t epoch;         /* grows by one at each change of state */
    uint32_t failure_count; /* in a row, in this epoch; below limits.trip_count */
    uint64_t opened_at_ms;  /* meaningful only while OPEN */
};

/** Make `breaker` CLOSED. Nothing is owned, so there is no deinit. */
void gv_breaker_init(struct gv_breaker *breaker, struct gv_breaker_limits limits);

/**
 * Ask to send one request now.
 *
 * On GV_OK `*epoch` is set, and the caller must hand it to gv_breaker_report(), exactly
 * once, when the request has ended.
 *
 * Errors: GV_EREFUSED  the breaker is open, or its one trial request is still out.
 */
GV_MUST_USE enum gv_err gv_breaker_admit(struct gv_breaker *breaker, uint64_t now_ms,
                                         uint32_t *epoch);

/** Would gv_breaker_admit() let a request through at `now_ms`? Changes nothing. */
bool gv_breaker_can_admit(const struct gv_breaker *breaker, uint64_t now_ms);

/** Report how a request ended that gv_breaker_admit() let through in `epoch`. */
void gv_breaker_report(struct gv_breaker *breaker, uint32_t epoch, bool ok, uint64_t now_ms);

const char *gv_breaker_state_name(enum gv_breaker_state state);

#endif
