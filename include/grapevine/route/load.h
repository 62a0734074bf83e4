/*
 * load.h - how busy every worker is: our own requests, counted at selection, plus what other nodes
 * say; and how its breakers stand.
 *
 * Arrays of relaxed atomics by worker index. Any thread.
 */
#ifndef GV_ROUTE_LOAD_H
#define GV_ROUTE_LOAD_H

#include "grapevine/route/breaker.h"
#include "grapevine/route/worker.h"

struct gv_load_table;

struct gv_load {
    uint32_t own_count;    /* requests this node has in flight there */
    uint64_t own_bytes;    /* uncached prompt bytes of those that have no first byte yet */
    uint32_t remote_count; /* the same, summed over the other nodes */
    uint64_t remote_bytes;
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

struct gv_load gv_load_get(const struct gv_load_table *table, uint32_t worker);

/** A loop's breaker of this worker went from one state to another; they begin CLOSED. */
void gv_load_move_breaker(struct gv_load_table *table, uint32_t worker, enum gv_breaker_state from,
                          enum gv_breaker_state to);

/** The worst state over all loops of this node: OPEN, else TRIAL, else CLOSED. */
enum gv_breaker_state gv_load_breaker(const struct gv_load_table *table, uint32_t worker);

/** Requests in flight of this node over all workers; 0 after any storm. */
uint64_t gv_load_own_total(const struct gv_load_table *table);

#endif
