/*
 * forest.h - all tries of a node: one per composite key "pool::model", never any other address.
 *
 * The only state that loops share. match may be called from any thread at any time and never waits
 * for a writer; apply and record may be called from any thread too. One byte budget for the whole
 * node holds at every moment. Implemented over trie.h (one key, path-compressed runs of
 * fingerprints) and floor.h.
 */
#ifndef GV_ROUTE_FOREST_H
#define GV_ROUTE_FOREST_H

#include "grapevine/route/operation.h"

struct gv_forest;

struct gv_forest_limits {
    size_t max_bytes;          /* memory of all tries; default 1 GiB */
    uint32_t touch_interval_s; /* fresher paths are not touched again; default 5 */
    uint32_t max_keys;         /* tries; default 1024 */
    uint64_t worker_blocks;    /* default share of a worker per key, in blocks */
    uint32_t min_age_s;        /* a capacity floor never passes now - this; default 10 */
    uint32_t max_ahead_s;      /* a stamp further ahead of the wall clock is refused; default 60 */
};

GV_MUST_USE enum gv_err gv_forest_new(struct gv_forest_limits limits, struct gv_forest **forest);
void gv_forest_free(struct gv_forest *forest);

/**
 * For each of `worker_count` worker indexes, the number of leading blocks of `chain` that it holds
 * live under `key` into depths[i] (0: nothing). An unknown key holds nothing.
 */
void gv_forest_match(struct gv_forest *forest, const char *key, const uint64_t *chain,
                     uint32_t count, const uint32_t *workers, uint32_t worker_count,
                     uint32_t *depths);

/**
 * The worker was given this prompt: make the operation that says so, apply it, and return it for
 * publishing. `*operation` borrows from `chain`. Returns false when the whole path is fresh and
 * live already (nothing applied, nothing to publish) or when the memory budget refuses.
 */
bool gv_forest_record(struct gv_forest *forest, const char *key, const uint64_t *chain,
                      uint32_t count, uint32_t worker, uint64_t wall_ms,
                      struct gv_operation *operation);

/**
 * Make and apply the floor that forgets everything (key "*") or one key of a worker as of now, for
 * publishing.
 */
void gv_forest_forget(struct gv_forest *forest, const char *key, uint32_t worker,
                      enum gv_floor_reason reason, uint64_t wall_ms,
                      struct gv_operation *operation);

/**
 * Apply an operation from anywhere. Idempotent, any order.
 * Errors: GV_ERANGE a stamp more than max_ahead_s ahead of `wall_ms` (refused, counted); GV_EFULL
 * the budget or max_keys; GV_EINVAL a malformed operation; GV_ENOMEM.
 */
GV_MUST_USE enum gv_err gv_forest_apply(struct gv_forest *forest,
                                        const struct gv_operation *operation, uint64_t wall_ms);

/**
 * The wall clock is right, but stamps were made here by one that was ahead of it by more than
 * max_ahead_s: nobody else can have taken those. Lower them, and floors, to now. Returns whether
 * there were any. Stops each trie for as long as copying it takes; for the one moment after a wrong
 * clock was set right.
 */
bool gv_forest_correct_clock(struct gv_forest *forest, uint64_t wall_ms);

/** Set a worker's capacity in blocks per key (0: the default of the limits). */
void gv_forest_set_capacity(struct gv_forest *forest, uint32_t worker, uint64_t blocks);
/** The capacity in force, also where it is the default. Any thread. */
uint64_t gv_forest_worker_capacity(const struct gv_forest *forest, uint32_t worker);

/**
 * What of each worker would have to give way, were it given `blocks` more under `key`: how old it
 * is at least, in seconds before the newest entry of any of them, into ages_s[i]; GV_FOREST_ROOM
 * where nothing has to.
 */
#define GV_FOREST_ROOM UINT32_MAX
void gv_forest_yields(struct gv_forest *forest, const char *key, uint64_t blocks,
                      const uint32_t *workers, uint32_t worker_count, uint32_t *ages_s);

/**
 * Housekeeping, a slice at a time: reclaim dead entries, and make the floors that capacity and
 * memory pressure demand. At most `max_operations` floors, already applied, for publishing; returns
 * how many.
 */
uint32_t gv_forest_sweep(struct gv_forest *forest, uint64_t wall_ms,
                         struct gv_operation *operations, uint32_t max_operations);

struct gv_forest_stats {
    uint64_t bytes;                              /* memory of all tries */
    uint64_t blocks;                             /* fingerprints held */
    uint64_t entries;                            /* live (fingerprint, worker) pairs */
    uint64_t applied, refused, swept, evictions; /* counters since the start */
    uint32_t keys;
};
void gv_forest_stats(struct gv_forest *forest, struct gv_forest_stats *stats);
/** Only `bytes`, at no cost: what is compared with max_bytes before anything is allocated. */
uint64_t gv_forest_bytes(struct gv_forest *forest);

/* One trie, for `vinectl tree` and metrics. */
struct gv_forest_tree {
    char key[GV_KEY_MAX];
    uint64_t blocks, entries, bytes;
};
/** Up to `max_count` tries; returns how many. */
uint32_t gv_forest_trees(struct gv_forest *forest, struct gv_forest_tree *trees,
                         uint32_t max_count);
/** The key of trie `number`, 0 and up, in an order that stays; false beyond the last. */
bool gv_forest_key(struct gv_forest *forest, uint32_t number, char key[GV_KEY_MAX]);
/** Live blocks of one worker under one key. */
uint64_t gv_forest_worker_blocks(struct gv_forest *forest, const char *key, uint32_t worker);

/* Walking, for snapshots and deep comparison. */
struct gv_forest_cursor {
    uint32_t key; /* position; zero-initialise to start */
    uint64_t at;
    uint32_t phase; /* floors first, then entries */
};
/**
 * The next operation that a joiner needs: floors first, then live entries with a stamp of at least
 * `since_stamp`, in runs. `operation->fingerprints` points into `scratch` (room for
 * `scratch_count`, at least GV_ANCHOR_BLOCKS); it may begin with a few that were told before. false
 * at the end. Entries that change meanwhile are seen in some state or not at all; that is fine,
 * since live operations are applied too.
 */
bool gv_forest_next(struct gv_forest *forest, struct gv_forest_cursor *cursor, uint32_t since_stamp,
                    uint64_t *scratch, uint32_t scratch_count, struct gv_operation *operation);

/*
 * A share of what is live: of one key or of all, some of 256 buckets. To which bucket a block
 * belongs depends on the prompt alone, so buckets are the same on every node.
 */
#define GV_FOREST_BUCKETS 256
struct gv_forest_part {
    char key[GV_KEY_MAX]; /* "" all keys */
    uint64_t buckets[GV_FOREST_BUCKETS / 64];
};

/** As gv_forest_next(), only what belongs to `part`; but all floors of its keys and of "*". */
bool gv_forest_next_part(struct gv_forest *forest, struct gv_forest_cursor *cursor,
                         const struct gv_forest_part *part, uint32_t since_stamp, uint64_t *scratch,
                         uint32_t scratch_count, struct gv_operation *operation);

/**
 * The live entries of one key as one sum of mixed hashes per bucket (as gv_forest_digest(), 64 bits
 * of it). false: there is no such key; the sums are zero.
 */
bool gv_forest_sums(struct gv_forest *forest, const char *key, const uint64_t *url_hash,
                    uint32_t url_hash_count, uint64_t sums[GV_FOREST_BUCKETS]);

/**
 * What is live, as a 128-bit sum that does not depend on order nor on worker indexes: mixed hashes
 * of (key, fingerprint, worker URL, stamp). Equal sets, equal digests. `url_hash[i]` is a hash of
 * the URL of worker index i, given by the caller for all indexes below `url_hash_count`; entries of
 * workers above it, first named since the caller looked, are left out.
 */
struct gv_forest_digest {
    uint64_t lo, hi;
};
void gv_forest_digest(struct gv_forest *forest, const uint64_t *url_hash, uint32_t url_hash_count,
                      struct gv_forest_digest *digest);

#endif
