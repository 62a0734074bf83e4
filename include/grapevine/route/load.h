/*
 * load.h - how busy every worker is: our own requests, counted at selection, plus what other nodes
 * say, plus what its engine says; and what its engine did with prompts: how much a token is there,
 * how fast they were computed, and how much was cached as forecast.
 *
 * Arrays of relaxed atomics by worker index. Any thread.
 */
#ifndef GV_ROUTE_LOAD_H
#define GV_ROUTE_LOAD_H

#include "grapevine/route/forecast.h"
#include "grapevine/route/worker.h"

struct gv_load_table;

struct gv_load {
    uint32_t own_count;    /* requests this node has in flight there */
    uint64_t own_bytes;    /* uncached prompt bytes of those that have no first byte yet */
    uint32_t remote_count; /* the same, summed over the other nodes */
    uint64_t remote_bytes;
};

#define GV_LOAD_USAGE_UNKNOWN   UINT32_MAX
#define GV_LOAD_STALE_INTERVALS 3 /* a report older than so many polls is not believed */

/* What an engine said of itself when some node of the cluster asked it last. */
struct gv_load_report {
    uint64_t at_ms; /* of this process's clock that never goes back; above 0 */
    uint32_t running;
    uint32_t waiting;
    uint32_t foreign;        /* requests there that no node of the cluster had sent */
    uint32_t usage_permille; /* of its KV tokens; GV_LOAD_USAGE_UNKNOWN */
    uint64_t used_tokens;    /* 0: not told */
    bool is_own;             /* this node asked */
};

/* What an engine did with prompts; sums over nodes mean the same as those of one. */
struct gv_load_prompts {
    uint64_t bytes; /* of those that it has counted, and ... */
    uint64_t tokens;
    uint64_t prefill_bytes; /* computed while it had nothing else to do, and ... */
    uint64_t prefill_us;    /* ... the time until their first byte */
    struct gv_forecasts forecasts;
};

/* What follows from it, the same on all nodes but for what is under way. */
struct gv_load_belief {
    double prefill_bytes_per_ms;
    uint32_t trust_permille; /* of its capacity, that we believe is there */
    bool is_uncached;        /* its engine keeps no prefix cache */
};

GV_MUST_USE enum gv_err gv_load_new(struct gv_load_table **table);
void gv_load_free(struct gv_load_table *table);

/** A request was sent there: +1, and `bytes` of uncached prompt. Exactly one gv_load_give()
 * follows. */
void gv_load_take(struct gv_load_table *table, uint32_t worker, uint64_t bytes);
/** Its prompt has been worked off (first byte came): - bytes; at most once per take. */
void gv_load_first_byte(struct gv_load_table *table, uint32_t worker, uint64_t bytes);
/** It has ended: -1, and `bytes` still counted (0 after gv_load_first_byte()). */
void gv_load_give(struct gv_load_table *table, uint32_t worker, uint64_t bytes);

/** Replace what the other nodes say in sum (mesh thread). */
void gv_load_set_remote(struct gv_load_table *table, uint32_t worker, uint32_t count,
                        uint64_t bytes);

/** Keep a report, unless one at least as new is there. Any thread. */
void gv_load_hear(struct gv_load_table *table, uint32_t worker,
                  const struct gv_load_report *report);
/** The newest report; false: none, and nothing is written. How old is too old is the caller's. */
bool gv_load_heard(const struct gv_load_table *table, uint32_t worker,
                   struct gv_load_report *report);

/** An engine has counted `tokens` in a prompt of `bytes`. */
void gv_load_note_prompt(struct gv_load_table *table, uint32_t worker, uint64_t bytes,
                         uint64_t tokens);
/** A prompt of which it lacked `bytes` was answered after `us`, and it had nothing else to do. */
void gv_load_note_prefill(struct gv_load_table *table, uint32_t worker, uint64_t bytes,
                          uint64_t us);
/** Of `predicted` cached tokens (above 0) its engine reported `reported`; a ripe forecast. */
void gv_load_note_forecast(struct gv_load_table *table, uint32_t worker, uint64_t predicted,
                           uint64_t reported);
/** What was noted here; what is beyond a memory of the last while is halved, but for the forecasts,
 * which only grow (one thread may call this). */
struct gv_load_prompts gv_load_own_prompts(struct gv_load_table *table, uint32_t worker);

/** What all nodes conclude (mesh thread). */
void gv_load_believe(struct gv_load_table *table, uint32_t worker, struct gv_load_belief belief);
/** Before anything was concluded: the usual speed, full trust, a cache. Any thread. */
struct gv_load_belief gv_load_belief(const struct gv_load_table *table, uint32_t worker);

/** Who looks for a cache that vanishes at once. Any thread. */
struct gv_watch *gv_load_watch(struct gv_load_table *table, uint32_t worker);

/** Does the engine report cached tokens of this kind of request (below 8) at all? With
 * `has_reported` it has, just now; from then on one without a report means none. Any thread. */
bool gv_load_reports(struct gv_load_table *table, uint32_t worker, uint32_t kind,
                     bool has_reported);

/** A connection to it failed: somebody should look, soon. */
void gv_load_suspect(struct gv_load_table *table, uint32_t worker);
/** Was there such a failure since the last call? */
bool gv_load_take_suspicion(struct gv_load_table *table, uint32_t worker);

struct gv_load gv_load_get(const struct gv_load_table *table, uint32_t worker);

/** Requests in flight of this node over all workers; 0 after any storm. */
uint64_t gv_load_own_total(const struct gv_load_table *table);

#endif
