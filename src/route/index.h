/*
 * index.h - from a fingerprint to the run that holds it: open addressing, four bytes a block.
 *
 * A slot holds a run's number (24 bits) and 8 bits of the fingerprint, so that a wrong candidate is
 * looked at once in 256. Where in the run the fingerprint stands follows from its depth, which
 * every caller knows; hence a run may move and grow without a word to the index. Growing, shrinking
 * and clearing out of tombstones are one thing: a second table is filled run by run, a few with
 * each write, so that no writer ever stalls behind a rebuild. Private to route; the trie's lock
 * guards it.
 */
#ifndef GV_ROUTE_INDEX_H
#define GV_ROUTE_INDEX_H

#include "grapevine/base/err.h"
#include <stdbool.h>
#include <stdint.h>

struct gv_mem_budget;

#define GV_INDEX_RUNS_MAX ((1u << 24) - 2) /* numbers that a slot can hold */
#define GV_INDEX_NONE     UINT32_MAX

struct gv_index_table {
    uint32_t *slots; /* owned; run + 1 in the upper 24 bits, tag in the lower 8; 0 is empty */
    uint64_t room;
    uint64_t used; /* slots that are not empty, tombstones among them */
};

/* Walk over candidates. */
struct gv_index_probe {
    uint64_t fingerprint;
    uint64_t at;
    uint32_t table; /* 0: current, 1: the one being emptied, 2: end */
    bool started;
};

struct gv_index {
    struct gv_mem_budget *budget;    /* borrowed */
    struct gv_index_table tables[2]; /* current; the one being emptied, if any */
    uint64_t count;                  /* fingerprints in it */
    uint64_t waiting;                /* of those, still only in the one being emptied */
    uint32_t moved_runs;             /* while rebuilding: runs below are in the current table */
};

void gv_index_init(struct gv_index *index, struct gv_mem_budget *budget);
void gv_index_deinit(struct gv_index *index);

/* The runs that may hold `fingerprint`, one after the other; GV_INDEX_NONE at the end. */
struct gv_index_probe gv_index_find(uint64_t fingerprint);
uint32_t gv_index_next(const struct gv_index *index, struct gv_index_probe *probe);

/* Ask the memory for what gv_index_find() will read. */
void gv_index_prefetch(const struct gv_index *index, uint64_t fingerprint);

/* Room for `more` fingerprints; may begin a rebuild. Errors: GV_EFULL no budget; GV_EAGAIN one is
 * under way and must be finished first. */
GV_MUST_USE enum gv_err gv_index_reserve(struct gv_index *index, uint64_t more);

/* Add one that is not in it; room was reserved. */
void gv_index_add(struct gv_index *index, uint64_t fingerprint, uint32_t run);
/* Take out one that is in it: from the table being emptied when it has not been moved yet. */
void gv_index_remove(struct gv_index *index, uint64_t fingerprint, uint32_t run, bool is_waiting);

/* Is a rebuild under way? Then the caller moves runs, in order. */
bool gv_index_is_moving(const struct gv_index *index);
/* Re-add to the current table without counting it again. */
void gv_index_move(struct gv_index *index, uint64_t fingerprint, uint32_t run);
/* All runs have been moved: drop the old table. */
void gv_index_moved(struct gv_index *index);

/* Empty the current table in place, to be filled by gv_index_move() with everything at once: for
 * when there is no memory for two. Not while moving. */
void gv_index_empty(struct gv_index *index);

/* When far too large, or full of tombstones: begin a rebuild that fits. Never an error. */
void gv_index_fit(struct gv_index *index);

uint64_t gv_index_bytes(const struct gv_index *index);

#endif
