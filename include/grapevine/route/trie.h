/*
 * trie.h - the prefixes of one key: who holds which, and since when.
 *
 * Path-compressed: a run is an array of fingerprints, each the child of the one before, with the
 * fingerprint that the first one follows. A child run may begin after any element, so a run is
 * never split. A worker's hold on a run is a staircase of spans (up to where, stamp), deeper never
 * newer. An index leads from the first block of a run, and from every anchor, to the run.
 *
 *     run 1   a b c d e f g         worker 3: [a..d] 107, [e..g] 101
 *                   \
 *     run 2          x y z          worker 3: [x..z] 107; worker 5: [x..y] 99
 *
 * What is known does not depend on the order in which it was told: a link that is missing when a
 * child comes first is made up for by a placeholder, and when the link comes the child's stamps
 * rise along it.
 *
 * Writers, walks and sums are called under the trie's lock, which the forest holds. Matches and
 * gv_trie_held() need none: they are called between gv_grace_enter() and gv_grace_leave(). Memory
 * comes from the forest's byte budget.
 */
#ifndef GV_ROUTE_TRIE_H
#define GV_ROUTE_TRIE_H

#include "grapevine/route/floor.h"
#include "grapevine/route/operation.h"

struct gv_trie;
struct gv_mem_budget;
struct gv_grace;
struct gv_forest_part;

/** Errors: GV_EFULL the budget, GV_ENOMEM. */
GV_MUST_USE enum gv_err gv_trie_new(const char *key, struct gv_mem_budget *budget,
                                    struct gv_grace *grace, struct gv_trie **trie);
void gv_trie_free(struct gv_trie *trie);

const char *gv_trie_key(const struct gv_trie *trie);
const struct gv_floors *gv_trie_floors(const struct gv_trie *trie);

/** As gv_forest_match(). */
void gv_trie_match(const struct gv_trie *trie, const uint64_t *chain, uint32_t count,
                   const uint32_t *workers, uint32_t worker_count, uint32_t *depths);

/** How many leading blocks of `chain` `worker` holds live, and the stamp of the deepest. */
uint32_t gv_trie_held(const struct gv_trie *trie, const uint64_t *chain, uint32_t count,
                      uint32_t worker, uint32_t *stamp);

/**
 * Apply an insert or touch whose shape has been checked.
 * Errors: GV_EFULL no budget; GV_EINVAL an anchor or a run's first block contradicts what is known
 * (only a forger's can).
 */
GV_MUST_USE enum gv_err gv_trie_apply(struct gv_trie *trie, const struct gv_operation *operation);

/** Raise a floor of this key, or (`for_all`) the one of "*". Errors: GV_EFULL. */
GV_MUST_USE enum gv_err gv_trie_raise_floor(struct gv_trie *trie, uint32_t worker, uint32_t stamp,
                                            bool for_all, uint32_t now_s);

/**
 * Reclaim what is dead since before `dead_since_s`, looking at no more than `max_runs` runs from
 * where the last call stopped. Returns how many blocks were reclaimed; `*wrapped` when the end was
 * reached.
 */
uint64_t gv_trie_sweep(struct gv_trie *trie, uint32_t dead_since_s, uint32_t max_runs,
                       bool *wrapped);

uint64_t gv_trie_blocks(const struct gv_trie *trie); /* fingerprints, dead ones among them */
uint64_t gv_trie_bytes(const struct gv_trie *trie);
uint64_t gv_trie_runs(const struct gv_trie *trie);
/** Rises with every write, and is odd during one: as long as it is the same and even, so is every
 * answer. */
uint64_t gv_trie_version(const struct gv_trie *trie);

/** `trie` will stand in the place of `old`: its versions go on from there. */
void gv_trie_succeed(struct gv_trie *trie, const struct gv_trie *old);

/* What to walk over, and with what; see gv_forest_next(). */
struct gv_trie_walk {
    const struct gv_forest_part *part; /* borrowed; NULL: all of it */
    uint32_t since_stamp;
    uint64_t *scratch; /* borrowed; room for scratch_count, at least GV_ANCHOR_BLOCKS */
    uint32_t scratch_count;
};
/** The next live piece at or after `*at` (0 starts) as an operation. */
bool gv_trie_next(const struct gv_trie *trie, const struct gv_trie_walk *walk, uint64_t *at,
                  struct gv_operation *operation);

/** As gv_trie_digest(), into one sum per bucket (256; see gv_forest_sums()). */
bool gv_trie_sums(const struct gv_trie *trie, uint32_t *number, uint32_t max_runs,
                  const uint64_t *url_hash, uint32_t url_hash_count, uint64_t *sums);

/** Add the live entries of up to `max_runs` runs from `*run` on; false at the end. */
bool gv_trie_digest(const struct gv_trie *trie, uint32_t *run, uint32_t max_runs,
                    const uint64_t *url_hash, uint32_t url_hash_count, uint64_t sum[2]);

#endif
