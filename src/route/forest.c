/*
 * forest.c - all tries of a node: keys, locks, the clock; what is asked and what is changed.
 *
 * The map from key to trie only ever grows, so it is read without a lock. Matches take none either
 * (grace.h); changes of a trie, walks and sums take its read-write lock. `lock` guards the making
 * of tries and the floors of "*".
 */
#include "grapevine/route/forest.h"

#include "grapevine/base/assert.h"
#include "grapevine/base/mem.h"
#include "route/forest_in.h"
#include <string.h>
#include <xxhash.h>

static _Atomic uint64_t forests_made;

static enum gv_err make_tables(struct gv_forest *forest)
{
    struct gv_mem_budget *budget = &forest->budget;
    forest->slot_count = 2;
    while (forest->slot_count < forest->limits.max_keys * 2) {
        forest->slot_count *= 2;
    }
    forest->slots = gv_mem_budget_new(budget, forest->slot_count * sizeof *forest->slots);
    forest->trees = gv_mem_budget_new(budget, forest->limits.max_keys * sizeof *forest->trees);
    forest->star_floors = gv_mem_budget_new(budget, GV_WORKERS_MAX * sizeof(uint32_t));
    forest->capacity = gv_mem_budget_new(budget, GV_WORKERS_MAX * sizeof *forest->capacity);
    bool made = forest->slots != NULL && forest->trees != NULL && forest->star_floors != NULL &&
                forest->capacity != NULL;
    return made ? GV_OK : GV_ENOMEM;
}

enum gv_err gv_forest_new(struct gv_forest_limits limits, struct gv_forest **forest)
{
    GV_ASSERT(limits.max_keys >= 1 && limits.max_keys <= UINT32_MAX / 8);
    struct gv_forest *made = gv_mem_new(GV_MEM_TRIE, sizeof *made);
    if (made == NULL) {
        return GV_ENOMEM;
    }
    made->number = atomic_fetch_add_explicit(&forests_made, 1, memory_order_relaxed) + 1;
    made->limits = limits;
    made->budget.max = limits.max_bytes;
    gv_mutex_init(&made->lock);
    gv_mutex_init(&made->sweep_lock);
    enum gv_err err = make_tables(made);
    if (err != GV_OK) {
        gv_forest_free(made);
        return err;
    }
    *forest = made;
    return GV_OK;
}

void gv_forest_free(struct gv_forest *forest)
{
    if (forest == NULL) {
        return;
    }
    struct gv_mem_budget *budget = &forest->budget;
    for (uint32_t i = 0; i < forest->tree_count; i++) {
        gv_trie_free(gv_tree_trie(forest->trees[i]));
        gv_rwlock_deinit(&forest->trees[i]->lock);
        gv_mem_budget_free(budget, forest->trees[i], sizeof *forest->trees[i]);
    }
    gv_mem_budget_free(budget, (void *)forest->slots, forest->slot_count * sizeof *forest->slots);
    gv_mem_budget_free(budget, forest->trees, forest->limits.max_keys * sizeof *forest->trees);
    gv_mem_budget_free(budget, forest->star_floors, GV_WORKERS_MAX * sizeof(uint32_t));
    gv_mem_budget_free(budget, (void *)forest->capacity, GV_WORKERS_MAX * sizeof *forest->capacity);
    GV_ASSERT(atomic_load(&budget->used) == 0);
    gv_mutex_deinit(&forest->sweep_lock);
    gv_mutex_deinit(&forest->lock);
    gv_mem_free(GV_MEM_TRIE, forest);
}

/* ---- keys ---- */

static uint32_t slot_of(const struct gv_forest *forest, const char *key)
{
    return (uint32_t)XXH3_64bits(key, strlen(key)) & (forest->slot_count - 1);
}

static struct gv_tree *look_up(const struct gv_forest *forest, const char *key)
{
    uint32_t at = slot_of(forest, key);
    struct gv_tree *tree;
    while ((tree = atomic_load_explicit(&forest->slots[at], memory_order_acquire)) != NULL) {
        if (strcmp(tree->key, key) == 0) {
            return tree;
        }
        at = (at + 1) & (forest->slot_count - 1);
    }
    return NULL;
}

/* What this thread asked for last; most ask for the same key again. A tree stays as long as its
 * forest, and no two forests have the same number. */
static _Thread_local struct {
    uint64_t forest;
    struct gv_tree *tree;
} recent;

static struct gv_tree *find_tree(const struct gv_forest *forest, const char *key)
{
    if (recent.forest == forest->number && strcmp(recent.tree->key, key) == 0) {
        return recent.tree;
    }
    struct gv_tree *tree = look_up(forest, key);
    if (tree != NULL) {
        recent.forest = forest->number;
        recent.tree = tree;
    }
    return tree;
}

/* A trie that already knows the floors of "*". `lock` is held. */
static enum gv_err plant(struct gv_forest *forest, const char *key, struct gv_tree **tree)
{
    struct gv_tree *made = gv_mem_budget_new(&forest->budget, sizeof *made);
    if (made == NULL) {
        return GV_EFULL;
    }
    struct gv_trie *trie = NULL;
    enum gv_err err = gv_trie_new(key, &forest->budget, &forest->grace, &trie);
    for (uint32_t i = 0; i < GV_WORKERS_MAX && err == GV_OK; i++) {
        if (forest->star_floors[i] != 0) {
            err = gv_trie_raise_floor(trie, i, forest->star_floors[i], true, 0);
        }
    }
    if (err != GV_OK) {
        gv_trie_free(trie);
        gv_mem_budget_free(&forest->budget, made, sizeof *made);
        return err;
    }
    made->trie = trie;
    gv_slice_copy_text(gv_slice_text(key), made->key, sizeof made->key);
    gv_rwlock_init(&made->lock);
    uint32_t at = slot_of(forest, key);
    while (atomic_load_explicit(&forest->slots[at], memory_order_relaxed) != NULL) {
        at = (at + 1) & (forest->slot_count - 1);
    }
    uint32_t trees = atomic_load_explicit(&forest->tree_count, memory_order_relaxed);
    forest->trees[trees] = made;
    atomic_store_explicit(&forest->tree_count, trees + 1, memory_order_release);
    atomic_store_explicit(&forest->slots[at], made, memory_order_release);
    *tree = made;
    return GV_OK;
}

static enum gv_err tree_of(struct gv_forest *forest, const char *key, struct gv_tree **tree)
{
    *tree = find_tree(forest, key);
    if (*tree != NULL) {
        return GV_OK;
    }
    gv_mutex_lock(&forest->lock);
    enum gv_err err = GV_OK;
    *tree = find_tree(forest, key);
    if (*tree == NULL) {
        err = atomic_load(&forest->tree_count) < forest->limits.max_keys ? plant(forest, key, tree)
                                                                         : GV_EFULL;
    }
    gv_mutex_unlock(&forest->lock);
    return err;
}

/* ---- the clock ---- */

static void see_stamp(struct gv_forest *forest, uint32_t stamp)
{
    uint32_t highest = atomic_load_explicit(&forest->highest, memory_order_relaxed);
    while (stamp > highest &&
           !atomic_compare_exchange_weak_explicit(&forest->highest, &highest, stamp,
                                                  memory_order_relaxed, memory_order_relaxed)) {
    }
}

static uint32_t hybrid_now(struct gv_forest *forest, uint64_t wall_ms)
{
    uint32_t wall = gv_stamp_from_wall_ms(wall_ms);
    uint32_t highest = atomic_load_explicit(&forest->highest, memory_order_relaxed);
    return wall > highest ? wall : highest;
}

/* ---- questions ---- */

void gv_forest_match(struct gv_forest *forest, const char *key, const uint64_t *chain,
                     uint32_t chain_count, const uint32_t *workers, uint32_t worker_count,
                     uint32_t *depths)
{
    struct gv_tree *tree = find_tree(forest, key);
    if (tree == NULL) {
        memset(depths, 0, worker_count * sizeof *depths);
        return;
    }
    uint32_t token = gv_grace_enter(&forest->grace);
    gv_trie_match(gv_tree_trie(tree), chain, chain_count, workers, worker_count, depths);
    gv_grace_leave(&forest->grace, token);
}

uint64_t gv_forest_worker_blocks(struct gv_forest *forest, const char *key, uint32_t worker)
{
    struct gv_tree *tree = find_tree(forest, key);
    if (tree == NULL) {
        return 0;
    }
    gv_rwlock_read(&tree->lock);
    const struct gv_floor *row = gv_floors_find(gv_trie_floors(gv_tree_trie(tree)), worker);
    uint64_t live = row != NULL ? row->live : 0;
    gv_rwlock_unlock(&tree->lock);
    return live;
}

void gv_forest_yields(struct gv_forest *forest, const char *key, uint64_t blocks,
                      const uint32_t *workers, uint32_t worker_count, uint32_t *ages_s)
{
    struct gv_tree *tree = find_tree(forest, key);
    for (uint32_t i = 0; i < worker_count; i++) {
        ages_s[i] = GV_FOREST_ROOM;
    }
    if (tree == NULL) {
        return;
    }
    gv_rwlock_read(&tree->lock);
    const struct gv_floors *floors = gv_trie_floors(gv_tree_trie(tree));
    uint32_t newest = 0;
    for (uint32_t i = 0; i < worker_count; i++) {
        uint32_t own = gv_floors_newest(floors, workers[i]);
        newest = own > newest ? own : newest;
    }
    for (uint32_t i = 0; i < worker_count; i++) {
        uint64_t capacity = gv_forest_capacity(forest, workers[i]);
        uint64_t keep = capacity > blocks ? capacity - blocks : 0;
        uint32_t stamp;
        if (gv_floors_propose(floors, workers[i], keep, UINT32_MAX, &stamp)) {
            ages_s[i] = newest - stamp;
        }
    }
    gv_rwlock_unlock(&tree->lock);
}

/* ---- changes ---- */

static enum gv_err counted(struct gv_forest *forest, enum gv_err err)
{
    if (err == GV_OK) {
        gv_forest_count(&forest->applied, 1);
        return GV_OK;
    }
    gv_forest_count(&forest->refused, 1);
    return err;
}

static enum gv_err raise_star(struct gv_forest *forest, uint32_t worker, uint32_t stamp,
                              uint32_t now_s)
{
    enum gv_err err = GV_OK;
    gv_mutex_lock(&forest->lock);
    if (stamp > forest->star_floors[worker]) {
        forest->star_floors[worker] = stamp;
    }
    for (uint32_t i = 0; i < gv_forest_tree_count(forest); i++) {
        struct gv_tree *tree = forest->trees[i];
        gv_rwlock_write(&tree->lock);
        enum gv_err one = gv_trie_raise_floor(gv_tree_trie(tree), worker, stamp, true, now_s);
        gv_rwlock_unlock(&tree->lock);
        err = one != GV_OK ? one : err;
    }
    gv_mutex_unlock(&forest->lock);
    return err;
}

static enum gv_err apply_floor(struct gv_forest *forest, const struct gv_operation *operation,
                               uint32_t now_s)
{
    if (strcmp(operation->key, "*") == 0) {
        return raise_star(forest, operation->worker, operation->stamp, now_s);
    }
    struct gv_tree *tree;
    enum gv_err err = tree_of(forest, operation->key, &tree);
    if (err == GV_OK) {
        gv_rwlock_write(&tree->lock);
        err = gv_trie_raise_floor(gv_tree_trie(tree), operation->worker, operation->stamp, false,
                                  now_s);
        gv_rwlock_unlock(&tree->lock);
    }
    return err;
}

static bool is_well_formed(const struct gv_operation *operation)
{
    if (operation->worker >= GV_WORKERS_MAX || operation->key[0] == '\0' ||
        memchr(operation->key, '\0', sizeof operation->key) == NULL) {
        return false;
    }
    if (operation->kind == GV_OPERATION_REMOVE) {
        return operation->count == 0;
    }
    if (operation->count == 0 || operation->fingerprints == NULL ||
        strcmp(operation->key, "*") == 0) {
        return false;
    }
    for (uint32_t i = 0; i < operation->count; i++) {
        if (operation->fingerprints[i] == 0) {
            return false; /* 0 means "no parent" */
        }
    }
    if (operation->kind == GV_OPERATION_TOUCH && operation->count != 1) {
        return false;
    }
    return gv_operation_is_anchored(operation);
}

enum gv_err gv_forest_apply(struct gv_forest *forest, const struct gv_operation *operation,
                            uint64_t wall_ms)
{
    if (!is_well_formed(operation)) {
        return counted(forest, GV_EINVAL);
    }
    uint32_t wall = gv_stamp_from_wall_ms(wall_ms);
    if (operation->stamp > wall && operation->stamp - wall > forest->limits.max_ahead_s) {
        return counted(forest, GV_ERANGE);
    }
    see_stamp(forest, operation->stamp);
    if (operation->kind == GV_OPERATION_REMOVE) {
        return counted(forest, apply_floor(forest, operation, wall));
    }
    struct gv_tree *tree;
    enum gv_err err = tree_of(forest, operation->key, &tree);
    if (err == GV_OK) {
        gv_rwlock_write(&tree->lock);
        err = gv_trie_apply(gv_tree_trie(tree), operation);
        gv_rwlock_unlock(&tree->lock);
    }
    return counted(forest, err);
}

/* The operation that makes `worker` hold the whole chain; false when it does, freshly. Called
 * between enter and leave, or under the lock. */
static bool need(struct gv_forest *forest, const struct gv_trie *trie, const uint64_t *chain,
                 uint32_t chain_count, uint64_t wall_ms, struct gv_operation *operation)
{
    uint32_t worker = operation->worker;
    uint32_t stamp;
    uint32_t held = gv_trie_held(trie, chain, chain_count, worker, &stamp);
    uint32_t floor = gv_floor_line_of(gv_floors_line(gv_trie_floors(trie)), worker);
    uint32_t now = hybrid_now(forest, wall_ms);
    now = now > floor ? now : floor + 1;
    bool is_fresh = held > 0 && (now <= stamp || now - stamp <= forest->limits.touch_interval_s);
    if (held == chain_count && is_fresh) {
        return false;
    }
    operation->stamp = is_fresh ? stamp : now;
    if (held == chain_count && held % GV_ANCHOR_BLOCKS == 0) {
        operation->kind = GV_OPERATION_TOUCH;
        operation->depth = chain_count - 1;
        operation->parent = 0;
        operation->count = 1;
        operation->fingerprints = chain + chain_count - 1;
        return true;
    }
    uint32_t from = held - held % GV_ANCHOR_BLOCKS;
    operation->kind = GV_OPERATION_INSERT;
    operation->depth = from;
    operation->parent = from > 0 ? chain[from - 1] : 0;
    operation->count = chain_count - from;
    operation->fingerprints = chain + from;
    return true;
}

bool gv_forest_record(struct gv_forest *forest, const char *key, const uint64_t *chain,
                      uint32_t chain_count, uint32_t worker, uint64_t wall_ms,
                      struct gv_operation *operation)
{
    GV_ASSERT(worker < GV_WORKERS_MAX && chain_count <= GV_FINGERPRINTS_MAX);
    struct gv_tree *tree;
    if (chain_count == 0) {
        return false;
    }
    if (tree_of(forest, key, &tree) != GV_OK) {
        counted(forest, GV_EFULL);
        return false;
    }
    operation->worker = worker;
    operation->reason = GV_FLOOR_REMOVED;
    /* Most requests of a conversation find their path fresh: ask first without stopping anyone. */
    uint32_t token = gv_grace_enter(&forest->grace);
    struct gv_trie *trie = gv_tree_trie(tree);
    uint64_t version = gv_trie_version(trie);
    bool is_needed = need(forest, trie, chain, chain_count, wall_ms, operation);
    gv_grace_leave(&forest->grace, token);
    if (!is_needed) {
        return false;
    }
    gv_slice_copy_text(gv_slice_text(key), operation->key, sizeof operation->key);
    gv_rwlock_write(&tree->lock);
    enum gv_err err = GV_OK;
    trie = gv_tree_trie(tree);
    if (version % 2 != 0 || gv_trie_version(trie) != version) { /* somebody wrote meanwhile */
        is_needed = need(forest, trie, chain, chain_count, wall_ms, operation);
    }
    if (is_needed) {
        see_stamp(forest, operation->stamp);
        err = gv_trie_apply(trie, operation);
    }
    gv_rwlock_unlock(&tree->lock);
    return is_needed && counted(forest, err) == GV_OK;
}

void gv_forest_forget(struct gv_forest *forest, const char *key, uint32_t worker,
                      enum gv_floor_reason reason, uint64_t wall_ms, struct gv_operation *operation)
{
    GV_ASSERT(worker < GV_WORKERS_MAX);
    *operation = (struct gv_operation){.kind = GV_OPERATION_REMOVE,
                                       .worker = worker,
                                       .reason = reason,
                                       .stamp = hybrid_now(forest, wall_ms)};
    gv_slice_copy_text(gv_slice_text(key), operation->key, sizeof operation->key);
    see_stamp(forest, operation->stamp);
    counted(forest, apply_floor(forest, operation, gv_stamp_from_wall_ms(wall_ms)));
}

void gv_forest_set_capacity(struct gv_forest *forest, uint32_t worker, uint64_t blocks)
{
    GV_ASSERT(worker < GV_WORKERS_MAX);
    atomic_store_explicit(&forest->capacity[worker], blocks, memory_order_relaxed);
}
