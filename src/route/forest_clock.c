/*
 * forest_clock.c - a forest whose node's clock was ahead, and was set right.
 */
#include "route/forest_in.h"

/* What the trie holds, but nothing later than `now`: into `to`. What finds no room is forgotten. */
static void copy_until(struct gv_forest *forest, const struct gv_trie *from, struct gv_trie *to,
                       uint32_t now)
{
    uint64_t scratch[1024];
    struct gv_trie_walk walk = {.scratch = scratch, .scratch_count = 1024};
    struct gv_operation operation;
    const struct gv_floors *floors = gv_trie_floors(from);
    for (uint32_t i = 0; i < floors->room; i++) {
        uint32_t own = floors->rows[i] != NULL ? floors->rows[i]->own : 0;
        if (own != 0 &&
            gv_trie_raise_floor(to, i, own < now ? own : now - 1, false, now) != GV_OK) {
            gv_forest_count(&forest->refused, 1);
        }
    }
    for (uint64_t at = 0; gv_trie_next(from, &walk, &at, &operation);) {
        operation.stamp = operation.stamp < now ? operation.stamp : now;
        if (gv_trie_apply(to, &operation) != GV_OK) {
            gv_forest_count(&forest->refused, 1);
        }
    }
}

/* `lock` is held. */
static void correct(struct gv_forest *forest, struct gv_tree *tree, uint32_t now)
{
    struct gv_trie *fresh;
    gv_rwlock_write(&tree->lock);
    enum gv_err err = gv_trie_new(tree->key, &forest->budget, &forest->grace, &fresh);
    for (uint32_t i = 0; i < GV_WORKERS_MAX && err == GV_OK; i++) {
        if (forest->star_floors[i] != 0) {
            err = gv_trie_raise_floor(fresh, i, forest->star_floors[i], true, now);
        }
        if (err != GV_OK) {
            gv_trie_free(fresh);
        }
    }
    if (err == GV_OK) {
        struct gv_trie *old = gv_tree_trie(tree);
        copy_until(forest, old, fresh, now);
        gv_trie_succeed(fresh, old);
        atomic_store_explicit(&tree->trie, fresh, memory_order_release);
        gv_grace_wait(&forest->grace); /* matches take no lock */
        gv_trie_free(old);
    }
    gv_rwlock_unlock(&tree->lock);
}

bool gv_forest_correct_clock(struct gv_forest *forest, uint64_t wall_ms)
{
    uint32_t now = gv_stamp_from_wall_ms(wall_ms);
    uint32_t highest = atomic_load_explicit(&forest->highest, memory_order_relaxed);
    if (highest <= now || highest - now <= forest->limits.max_ahead_s || now == 0) {
        return false;
    }
    gv_mutex_lock(&forest->sweep_lock);
    gv_mutex_lock(&forest->lock);
    atomic_store_explicit(&forest->highest, now, memory_order_relaxed);
    for (uint32_t i = 0; i < GV_WORKERS_MAX; i++) {
        forest->star_floors[i] = forest->star_floors[i] < now ? forest->star_floors[i] : now - 1;
    }
    for (uint32_t i = 0; i < gv_forest_tree_count(forest); i++) {
        correct(forest, forest->trees[i], now);
    }
    gv_mutex_unlock(&forest->lock);
    gv_mutex_unlock(&forest->sweep_lock);
    return true;
}
