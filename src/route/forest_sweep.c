/*
 * forest_sweep.c - housekeeping of a forest: who must make room, and what is dead goes.
 */
#include "grapevine/base/assert.h"
#include "route/forest_in.h"
#include <string.h>

#define RUNS_PER_SWEEP   4096u /* of one trie in one slice */
#define GRACE_S          5u    /* how long the dead are kept, for a touch that crossed a floor */
#define PRESSURE_PERCENT 90u   /* of the budget: from here on, memory floors */
#define RELIEF_PERCENT   80u   /* and they aim at this */

struct sweep {
    uint64_t wall_ms;
    uint32_t wall_s;
    struct gv_operation *operations;
    uint32_t max;
    uint32_t made;
};

uint64_t gv_forest_worker_capacity(const struct gv_forest *forest, uint32_t worker)
{
    return gv_forest_capacity(forest, worker);
}

/* Make and apply the floor under which `worker` keeps about `keep` blocks of this trie (for memory:
 * at most). */
static uint64_t evict(struct gv_forest *forest, struct gv_tree *tree, uint32_t worker,
                      uint64_t keep, enum gv_floor_reason reason, struct sweep *sweep)
{
    GV_ASSERT(sweep->made < sweep->max);
    uint32_t min_age_s = forest->limits.min_age_s;
    uint32_t newest = sweep->wall_s > min_age_s ? sweep->wall_s - min_age_s : 0;
    struct gv_operation *operation = &sweep->operations[sweep->made];
    uint64_t gone = 0;
    uint32_t stamp;
    gv_rwlock_write(&tree->lock);
    const struct gv_floors *floors = gv_trie_floors(gv_tree_trie(tree));
    bool found = reason == GV_FLOOR_CAPACITY
                     ? gv_floors_near(floors, worker, keep, newest, &stamp)
                     : gv_floors_propose(floors, worker, keep, newest, &stamp);
    if (found) {
        uint64_t before = gv_floors_find(floors, worker)->live;
        if (gv_trie_raise_floor(gv_tree_trie(tree), worker, stamp, false, sweep->wall_s) == GV_OK) {
            gone = before - gv_floors_find(floors, worker)->live;
            *operation = (struct gv_operation){
                .kind = GV_OPERATION_REMOVE, .worker = worker, .stamp = stamp, .reason = reason};
            gv_slice_copy_text(gv_slice_text(tree->key), operation->key, sizeof operation->key);
        }
    }
    gv_rwlock_unlock(&tree->lock);
    if (gone > 0) {
        sweep->made += 1;
        gv_forest_count(&forest->evictions, 1);
        gv_forest_count(&forest->applied, 1);
    }
    return gone;
}

static void enforce_capacity(struct gv_forest *forest, struct gv_tree *tree, struct sweep *sweep)
{
    gv_rwlock_read(&tree->lock);
    uint32_t room = gv_trie_floors(gv_tree_trie(tree))->room;
    gv_rwlock_unlock(&tree->lock);
    for (uint32_t i = 0; i < room && sweep->made < sweep->max; i++) {
        uint64_t keep = gv_forest_capacity(forest, i);
        gv_rwlock_read(&tree->lock);
        const struct gv_floor *row = gv_floors_find(gv_trie_floors(gv_tree_trie(tree)), i);
        bool is_over = row != NULL && row->live > keep;
        gv_rwlock_unlock(&tree->lock);
        if (is_over) {
            evict(forest, tree, i, keep, GV_FLOOR_CAPACITY, sweep);
        }
    }
}

/* The largest share of all that is below `limit` blocks, for it may be too young to be cut. */
static struct gv_tree *largest_share(struct gv_forest *forest, uint64_t limit, uint32_t *worker,
                                     uint64_t *live)
{
    struct gv_tree *largest = NULL;
    *live = 0;
    for (uint32_t i = 0; i < gv_forest_tree_count(forest); i++) {
        struct gv_tree *tree = forest->trees[i];
        gv_rwlock_read(&tree->lock);
        const struct gv_floors *floors = gv_trie_floors(gv_tree_trie(tree));
        for (uint32_t j = 0; j < floors->room; j++) {
            if (floors->rows[j] != NULL && floors->rows[j]->live > *live &&
                floors->rows[j]->live < limit) {
                largest = tree;
                *worker = j;
                *live = floors->rows[j]->live;
            }
        }
        gv_rwlock_unlock(&tree->lock);
    }
    return largest;
}

/*
 * Cut the largest shares, each by a quarter at a time, until the live entries have fallen in the
 * proportion in which the bytes must. What that frees shows only after a whole sweep, so wait for
 * it before asking for more.
 */
static void relieve_memory(struct gv_forest *forest, struct sweep *sweep)
{
    uint64_t bytes = atomic_load_explicit(&forest->budget.used, memory_order_relaxed);
    uint64_t pressure = forest->limits.max_bytes / 100 * PRESSURE_PERCENT;
    bool is_starved = atomic_load_explicit(&forest->budget.was_refused, memory_order_relaxed);
    if ((bytes <= pressure && !is_starved) || forest->wraps_due > 0) {
        return;
    }
    uint64_t aim = forest->limits.max_bytes / 100 * RELIEF_PERCENT;
    aim = aim < bytes / 8 * 7 ? aim : bytes / 8 * 7;
    struct gv_forest_stats stats;
    gv_forest_stats(forest, &stats);
    uint64_t wanted = (uint64_t)((double)stats.entries * (double)(bytes - aim) / (double)bytes) + 1;
    uint64_t gone = 0;
    uint64_t limit = UINT64_MAX;
    while (gone < wanted && sweep->made < sweep->max) {
        uint32_t worker = 0;
        uint64_t live;
        struct gv_tree *tree = largest_share(forest, limit, &worker, &live);
        if (tree == NULL) {
            break;
        }
        uint64_t one = evict(forest, tree, worker, live - live / 4 - 1, GV_FLOOR_MEMORY, sweep);
        gone += one;
        limit = one > 0 ? limit : live;
    }
    if (gone > 0) {
        forest->wraps_due = gv_forest_tree_count(forest) + 1;
        atomic_store_explicit(&forest->budget.was_refused, false, memory_order_relaxed);
    }
}

static void reclaim(struct gv_forest *forest, struct gv_tree *tree, const struct sweep *sweep)
{
    uint64_t used = atomic_load_explicit(&forest->budget.used, memory_order_relaxed);
    bool in_need = used > forest->limits.max_bytes / 100 * RELIEF_PERCENT || forest->wraps_due > 0;
    uint32_t grace = in_need ? 0 : GRACE_S;
    uint32_t since = sweep->wall_s > grace ? sweep->wall_s - grace : 0;
    bool wrapped = false;
    for (uint32_t i = 0; i < RUNS_PER_SWEEP / GV_FOREST_RUNS_PER_LOCK && !wrapped; i++) {
        gv_rwlock_write(&tree->lock);
        gv_forest_count(&forest->swept, gv_trie_sweep(gv_tree_trie(tree), since,
                                                      GV_FOREST_RUNS_PER_LOCK, &wrapped));
        gv_rwlock_unlock(&tree->lock);
    }
    if (wrapped) {
        forest->sweep_tree += 1;
        forest->wraps_due -= forest->wraps_due > 0 ? 1 : 0;
    }
}

uint32_t gv_forest_sweep(struct gv_forest *forest, uint64_t wall_ms,
                         struct gv_operation *operations, uint32_t max_operations)
{
    struct sweep sweep = {.wall_ms = wall_ms,
                          .wall_s = gv_stamp_from_wall_ms(wall_ms),
                          .operations = operations,
                          .max = max_operations};
    gv_mutex_lock(&forest->sweep_lock);
    uint32_t trees = gv_forest_tree_count(forest);
    for (uint32_t i = 0; i < trees; i++) {
        enforce_capacity(forest, forest->trees[i], &sweep);
    }
    relieve_memory(forest, &sweep);
    /* A small trie is swept whole in one slice; then the slice goes on with the next. */
    for (uint32_t i = 0; i < trees; i++) {
        uint32_t at = forest->sweep_tree % trees;
        reclaim(forest, forest->trees[at], &sweep);
        if (forest->sweep_tree % trees == at) {
            break; /* a large one: go on there next time */
        }
    }
    gv_mutex_unlock(&forest->sweep_lock);
    return sweep.made;
}
