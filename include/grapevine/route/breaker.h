/*
 * breaker.h - stop sending requests to a worker that keeps failing.
 *
 * One breaker belongs to one worker. Failures in a row within a window of time open it; while
 * open it refuses every request. After the cooldown it lets trial requests through, one at a time;
 * enough good ones in a row close it, a single failure opens it again:
 *
 *                trip_count failures             cooldown over
 *      CLOSED ------------------------> OPEN --------------------> TRIAL
 *        ^                               ^                          | |
 *        |                               +--------- failure --------+ |
 *        +---------------------- close_count successes ---------------+
 *
 * What says nothing about the worker (the client's mistake, a request that was ended for another
 * reason) is neutral: it counts neither way, and on trial the next request may go.
 *
 * Every change of state starts a new epoch. A request carries the epoch it was admitted in,
 * and the outcome of a request from an earlier epoch is old news and changes nothing.
 *
 * Pure: no input or output, no clock, no allocation; the caller passes the time in.
 * Thread: one at a time; breakers.h shares them between loops.
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

enum gv_breaker_outcome {
    GV_BREAKER_GOOD = 0,
    GV_BREAKER_NEUTRAL, /* says nothing about the worker */
    GV_BREAKER_FAILED
};

#define GV_BREAKER_SLICES 8 /* a failure counts for at least 7 of 8 slices of the window */

struct gv_breaker_limits {
    uint32_t trip_count;  /* failures in a row that open it; at least 1 */
    uint32_t close_count; /* good trials in a row that close it; at least 1 */
    uint64_t window_ms;   /* how long a failure counts; at least 1 */
    uint64_t cooldown_ms; /* how long it stays open; at least 1 */
};

struct gv_breaker {
    struct gv_breaker_limits limits;
    enum gv_breaker_state state;
    uint32_t epoch;        /* grows by one at each change of state */
    uint32_t good_count;   /* in a row while TRIAL; below limits.close_count */
    bool trial_out;        /* TRIAL: its one request is under way */
    uint64_t slice;        /* number of the newest slice, in time / (window / 8) */
    uint64_t opened_at_ms; /* meaningful only while OPEN */
    uint32_t failure_counts[GV_BREAKER_SLICES]; /* in a row, by slice modulo 8; in sum below
                                                   limits.trip_count */
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
void gv_breaker_report(struct gv_breaker *breaker, uint32_t epoch, enum gv_breaker_outcome outcome,
                       uint64_t now_ms);

/**
 * Somebody else, who shares this worker's host, could not even connect to it: counts as a failure
 * of the current epoch while CLOSED, begins the cooldown anew while OPEN, and ends a TRIAL whose
 * request is not out.
 */
void gv_breaker_hear_failure(struct gv_breaker *breaker, uint64_t now_ms);

/** Is any failure remembered, that a good outcome would forget? */
bool gv_breaker_remembers(const struct gv_breaker *breaker);

const char *gv_breaker_state_name(enum gv_breaker_state state);

#endif
