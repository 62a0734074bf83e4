/*
 * forecast.h - what the tries said an engine has cached, against what the engine then reported.
 *
 * A trie is what we believe of a cache; `cached_tokens` in an answer is what was true. Two kinds of
 * error are told apart here:
 *
 * - The engine holds clearly less than we think, all the time: other users, a smaller cache than it
 *   told, a cache that is off. A trust says which share of its capacity a worker's engine is
 *   believed to hold; it sinks while forecasts fail and rises again while they come true. One node
 *   of the cluster moves it (the others take over its word), so that all tries keep to the same
 *   share, and what is beyond it dies by floors as ever.
 * - The engine had it a moment ago and now has nothing: it was restarted or flushed. The node that
 *   sees it raises the floor of the whole worker at once.
 *
 * Only ripe forecasts count: made while no prompt waited at the worker, so that whatever was said
 * to be cached there had been computed. An engine that never reports is left alone, and one that
 * never had a token cached is only noticed.
 *
 * Trusts are pure. A watch is relaxed atomics, for any thread.
 */
#ifndef GV_ROUTE_FORECAST_H
#define GV_ROUTE_FORECAST_H

#include "grapevine/base/err.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* ---- how much of its capacity an engine is believed to hold ---- */

#define GV_TRUST_FULL      1000u        /* permille */
#define GV_TRUST_LEAST     20u          /* never less of its capacity than this */
#define GV_TRUST_SAMPLES   UINT64_C(32) /* ripe forecasts that are judged together */
#define GV_TRUST_FAILED    0.70         /* reported of predicted: below it, trust sinks */
#define GV_TRUST_KEPT      0.90         /* above it, trust rises; between, it stays */
#define GV_TRUST_SINKS     0.75         /* of what is held now */
#define GV_TRUST_RISES     1.25
#define GV_TRUST_SETTLE_MS UINT64_C(12000) /* for floors to pass what was just used (min_age_s) */
#define GV_TRUST_OFF_COUNT 2u              /* judgements in a row without a token: caching is off */

/* Running sums over all nodes; they may jump back when a node goes. */
struct gv_forecasts {
    uint64_t count;     /* ripe forecasts of something cached, that the engine answered */
    uint64_t predicted; /* tokens */
    uint64_t reported;  /* tokens */
};

enum gv_trust_verdict {
    GV_TRUST_SAME = 0, /* or too few forecasts to say */
    GV_TRUST_SINK,
    GV_TRUST_RISE
};

struct gv_trust {
    struct gv_forecasts base; /* judged so far */
    uint64_t changed_at_ms;   /* 0: never */
    uint32_t permille;        /* 0 before gv_trust_init() */
    uint32_t silent_count;    /* judgements in a row without a reported token */
};

void gv_trust_init(struct gv_trust *trust);

/** Judge what has come since the last judgement, when it is enough. */
enum gv_trust_verdict gv_trust_judge(struct gv_trust *trust, struct gv_forecasts sums,
                                     uint64_t now_ms);
/** Carry a verdict out: `held` blocks are live of `capacity` (above 0). true: it has moved. */
bool gv_trust_move(struct gv_trust *trust, enum gv_trust_verdict verdict, uint64_t held,
                   uint64_t capacity, uint64_t now_ms);
/** Does its engine keep no prefix cache? */
bool gv_trust_is_off(const struct gv_trust *trust);

/* ---- caches that vanish at once ---- */

#define GV_WATCH_FLUSHED   3u              /* whole prompts in a row of which nothing was there */
#define GV_WATCH_WHOLE     0.90            /* of its tokens predicted: a whole prompt */
#define GV_WATCH_TOKENS    UINT64_C(64)    /* shorter prompts say nothing */
#define GV_WATCH_MEMORY_MS UINT64_C(60000) /* "a moment ago" */

struct gv_watch {
    _Atomic uint64_t hit_at_ms;     /* something predicted was there; 0: never */
    _Atomic uint64_t first_wall_ms; /* when the first of the row was sent */
    _Atomic uint64_t last_prompt;   /* names the last of the row */
    _Atomic uint32_t row;
};

/* One ripe forecast and what came of it. */
struct gv_watch_seen {
    uint64_t prompt; /* tells prompts apart */
    uint64_t prompt_tokens;
    uint64_t predicted;
    uint64_t reported;
    uint64_t now_ms;       /* of a clock that never goes back */
    uint64_t sent_wall_ms; /* when it was sent */
};

/** true: the cache is gone; `*since_wall_ms` is as of when everything should be forgotten: when the
 * first of the row was sent. What was given to it since stays known. */
bool gv_watch_note(struct gv_watch *watch, const struct gv_watch_seen *seen,
                   uint64_t *since_wall_ms);

/* ---- how fast an engine computes prompts ---- */

#define GV_PREFILL_USUAL 32.0 /* bytes a millisecond: 8,000 tokens of 4 bytes a second */
#define GV_PREFILL_LEAST 1.0
#define GV_PREFILL_MOST  4096.0

/** Bytes a millisecond, of prompts computed on engines that had nothing else to do; bounded, and
 * in steps of a sixteenth, so that a report under way rarely matters. GV_PREFILL_USUAL with less
 * than GV_PREFILL_TRUSTED bytes. */
#define GV_PREFILL_TRUSTED UINT64_C(65536)
double gv_prefill_speed(uint64_t bytes, uint64_t us);

#endif
