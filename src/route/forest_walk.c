/*
 * forest_walk.c - figures of a forest, and walking over what is live: for snapshots and comparison.
 */
#include "grapevine/base/assert.h"
#include "route/forest_in.h"
#include <string.h>

uint64_t gv_forest_bytes(struct gv_forest *forest)
{
    return atomic_load_explicit(&forest->budget.used, memory_order_relaxed);
}

void gv_forest_stats(struct gv_forest *forest, struct gv_forest_stats *stats)
{
    *stats = (struct gv_forest_stats){
        .bytes = gv_forest_bytes(forest),
        .applied = atomic_load_explicit(&forest->applied, memory_order_relaxed),
        .refused = atomic_load_explicit(&forest->refused, memory_order_relaxed),
        .swept = atomic_load_explicit(&forest->swept, memory_order_relaxed),
        .evictions = atomic_load_explicit(&forest->evictions, memory_order_relaxed),
        .keys = gv_forest_tree_count(forest)};
    for (uint32_t i = 0; i < stats->keys; i++) {
        struct gv_tree *tree = forest->trees[i];
        gv_rwlock_read(&tree->lock);
        stats->blocks += gv_trie_blocks(gv_tree_trie(tree));
        stats->entries += gv_trie_floors(gv_tree_trie(tree))->live;
        gv_rwlock_unlock(&tree->lock);
    }
}

uint32_t gv_forest_trees(struct gv_forest *forest, struct gv_forest_tree *trees, uint32_t max_count)
{
    uint32_t known = gv_forest_tree_count(forest);
    uint32_t told = known < max_count ? known : max_count;
    for (uint32_t i = 0; i < told; i++) {
        struct gv_tree *tree = forest->trees[i];
        gv_rwlock_read(&tree->lock);
        gv_slice_copy_text(gv_slice_text(tree->key), trees[i].key, sizeof trees[i].key);
        trees[i].blocks = gv_trie_blocks(gv_tree_trie(tree));
        trees[i].entries = gv_trie_floors(gv_tree_trie(tree))->live;
        trees[i].bytes = gv_trie_bytes(gv_tree_trie(tree));
        gv_rwlock_unlock(&tree->lock);
    }
    return told;
}

bool gv_forest_key(struct gv_forest *forest, uint32_t number, char key[GV_KEY_MAX])
{
    if (number >= gv_forest_tree_count(forest)) {
        return false;
    }
    return gv_slice_copy_text(gv_slice_text(forest->trees[number]->key), key, GV_KEY_MAX);
}

static void tell_floor(const char *key, uint32_t worker, uint32_t stamp,
                       struct gv_operation *operation)
{
    *operation = (struct gv_operation){
        .kind = GV_OPERATION_REMOVE, .worker = worker, .stamp = stamp, .reason = GV_FLOOR_REMOVED};
    gv_slice_copy_text(gv_slice_text(key), operation->key, sizeof operation->key);
}

/* Phase 0: the floors of "*". */
static bool next_star(struct gv_forest *forest, struct gv_forest_cursor *cursor,
                      struct gv_operation *operation)
{
    bool found = false;
    gv_mutex_lock(&forest->lock);
    while (cursor->at < GV_WORKERS_MAX && !found) {
        uint32_t worker = (uint32_t)cursor->at;
        cursor->at += 1;
        found = forest->star_floors[worker] != 0;
        if (found) {
            tell_floor("*", worker, forest->star_floors[worker], operation);
        }
    }
    gv_mutex_unlock(&forest->lock);
    return found;
}

/* Phase 1: the floors of one key. */
static bool next_floor(struct gv_tree *tree, struct gv_forest_cursor *cursor,
                       struct gv_operation *operation)
{
    bool found = false;
    gv_rwlock_read(&tree->lock);
    const struct gv_floors *floors = gv_trie_floors(gv_tree_trie(tree));
    while (cursor->at < floors->room && !found) {
        uint32_t worker = (uint32_t)cursor->at;
        cursor->at += 1;
        found = floors->rows[worker] != NULL && floors->rows[worker]->own != 0;
        if (found) {
            tell_floor(tree->key, worker, floors->rows[worker]->own, operation);
        }
    }
    gv_rwlock_unlock(&tree->lock);
    return found;
}

static bool is_of(const struct gv_tree *tree, const struct gv_forest_part *part)
{
    return part == NULL || part->key[0] == '\0' || strcmp(part->key, tree->key) == 0;
}

static bool walk_on(struct gv_forest *forest, struct gv_forest_cursor *cursor,
                    const struct gv_trie_walk *walk, struct gv_operation *operation)
{
    GV_ASSERT(cursor->phase <= 3);
    if (cursor->phase == 0) {
        if (next_star(forest, cursor, operation)) {
            return true;
        }
        *cursor = (struct gv_forest_cursor){.phase = 1};
    }
    for (; cursor->phase <= 2; *cursor = (struct gv_forest_cursor){.phase = cursor->phase + 1}) {
        for (; cursor->key < gv_forest_tree_count(forest); cursor->key++, cursor->at = 0) {
            struct gv_tree *tree = forest->trees[cursor->key];
            bool found = false;
            if (!is_of(tree, walk->part)) {
                continue;
            }
            if (cursor->phase == 1) {
                found = next_floor(tree, cursor, operation);
            } else {
                gv_rwlock_read(&tree->lock);
                found = gv_trie_next(gv_tree_trie(tree), walk, &cursor->at, operation);
                gv_rwlock_unlock(&tree->lock);
            }
            if (found) {
                return true;
            }
        }
    }
    return false;
}

bool gv_forest_next(struct gv_forest *forest, struct gv_forest_cursor *cursor, uint32_t since_stamp,
                    uint64_t *scratch, uint32_t scratch_count, struct gv_operation *operation)
{
    struct gv_trie_walk walk = {
        .since_stamp = since_stamp, .scratch = scratch, .scratch_count = scratch_count};
    return walk_on(forest, cursor, &walk, operation);
}

bool gv_forest_next_part(struct gv_forest *forest, struct gv_forest_cursor *cursor,
                         const struct gv_forest_part *part, uint32_t since_stamp, uint64_t *scratch,
                         uint32_t scratch_count, struct gv_operation *operation)
{
    struct gv_trie_walk walk = {.part = part,
                                .since_stamp = since_stamp,
                                .scratch = scratch,
                                .scratch_count = scratch_count};
    return walk_on(forest, cursor, &walk, operation);
}

bool gv_forest_sums(struct gv_forest *forest, const char *key, const uint64_t *url_hash,
                    uint32_t url_hash_count, uint64_t sums[GV_FOREST_BUCKETS])
{
    memset(sums, 0, GV_FOREST_BUCKETS * sizeof *sums);
    for (uint32_t i = 0; i < gv_forest_tree_count(forest); i++) {
        struct gv_tree *tree = forest->trees[i];
        uint32_t run = 0;
        bool more = true;
        if (strcmp(tree->key, key) != 0) {
            continue;
        }
        while (more) {
            gv_rwlock_read(&tree->lock);
            more = gv_trie_sums(gv_tree_trie(tree), &run, GV_FOREST_RUNS_PER_LOCK, url_hash,
                                url_hash_count, sums);
            gv_rwlock_unlock(&tree->lock);
        }
        return true;
    }
    return false;
}

void gv_forest_digest(struct gv_forest *forest, const uint64_t *url_hash, uint32_t url_hash_count,
                      struct gv_forest_digest *digest)
{
    uint64_t sum[2] = {0, 0};
    for (uint32_t i = 0; i < gv_forest_tree_count(forest); i++) {
        struct gv_tree *tree = forest->trees[i];
        uint32_t run = 0;
        bool more = true;
        while (more) {
            gv_rwlock_read(&tree->lock);
            more = gv_trie_digest(gv_tree_trie(tree), &run, GV_FOREST_RUNS_PER_LOCK, url_hash,
                                  url_hash_count, sum);
            gv_rwlock_unlock(&tree->lock);
        }
    }
    digest->lo = sum[0];
    digest->hi = sum[1];
}
