/*
 * forest.c - all tries of a node: keys, locks, the clock, the budget, and who must make room.
 *
 * The map from key to trie only ever grows, so it is read without a lock; each trie has a
 * read-write lock with short write sections. `lock` guards the making of tries and the floors of
 * "*".
 */
#include "grapevine/route/forest.h"

#include "grapevine/base/assert.h"
#include "grapevine/base/lock.h"
#include "grapevine/base/mem.h"
#include "grapevine/route/floor.h"
#include "grapevine/route/trie.h"
#include "route/cells.h"
#include <stdatomic.h>
#include <string.h>
#include <xxhash.h>

#define RUNS_PER_LOCK    256u  /* looked at while a lock is held */
#define RUNS_PER_SWEEP   4096u /* of one trie in one slice */
#define GRACE_S          5u    /* how long the dead are kept, for a touch that crossed a floor */
#define PRESSURE_PERCENT 90u   /* of the budget: from here on, memory floors */
#define RELIEF_PERCENT   80u   /* and they aim at this */

struct tree {
    struct gv_rwlock lock;
    struct gv_trie *trie; /* owned */
    char key[GV_KEY_MAX]; /* never changes: read without the lock */
};

struct gv_forest {
    struct gv_forest_limits limits;
    struct gv_mem_budget budget;
    struct gv_mutex lock;
    struct tree *_Atomic *slots; /* owned; open addressing over the key; never shrinks */
    uint32_t slot_count;         /* a power of two, at least twice max_keys */
    struct tree **trees;         /* owned; in the order of their making */
    _Atomic uint32_t tree_count;
    uint32_t *star_floors;      /* owned; by worker; guarded by `lock` */
    _Atomic uint64_t *capacity; /* owned; blocks by worker; 0: the default */
    _Atomic uint32_t highest;   /* stamp seen */
    uint32_t sweep_tree;        /* where the next slice begins; guarded by `sweep_lock` */
    uint32_t wraps_due;         /* tries still to be swept whole before memory floors again */
    struct gv_mutex sweep_lock;
    _Atomic uint64_t applied, refused, swept, evictions;
};

static void count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

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
        gv_trie_free(forest->trees[i]->trie);
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

static struct tree *find_tree(struct gv_forest *forest, const char *key)
{
    uint32_t at = slot_of(forest, key);
    struct tree *tree;
    while ((tree = atomic_load_explicit(&forest->slots[at], memory_order_acquire)) != NULL) {
        if (strcmp(tree->key, key) == 0) {
            return tree;
        }
        at = (at + 1) & (forest->slot_count - 1);
    }
    return NULL;
}

/* A trie that already knows the floors of "*". `lock` is held. */
static enum gv_err plant(struct gv_forest *forest, const char *key, struct tree **tree)
{
    struct tree *made = gv_mem_budget_new(&forest->budget, sizeof *made);
    if (made == NULL) {
        return GV_EFULL;
    }
    enum gv_err err = gv_trie_new(key, &forest->budget, &made->trie);
    for (uint32_t i = 0; i < GV_WORKERS_MAX && err == GV_OK; i++) {
        if (forest->star_floors[i] != 0) {
            err = gv_trie_raise_floor(made->trie, i, forest->star_floors[i], true, 0);
        }
    }
    if (err != GV_OK) {
        gv_trie_free(made->trie);
        gv_mem_budget_free(&forest->budget, made, sizeof *made);
        return err;
    }
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

static enum gv_err tree_of(struct gv_forest *forest, const char *key, struct tree **tree)
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

static uint32_t trees_now(struct gv_forest *forest)
{
    return atomic_load_explicit(&forest->tree_count, memory_order_acquire);
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
    struct tree *tree = find_tree(forest, key);
    if (tree == NULL) {
        memset(depths, 0, worker_count * sizeof *depths);
        return;
    }
    gv_rwlock_read(&tree->lock);
    gv_trie_match(tree->trie, chain, chain_count, workers, worker_count, depths);
    gv_rwlock_unlock(&tree->lock);
}

uint64_t gv_forest_worker_blocks(struct gv_forest *forest, const char *key, uint32_t worker)
{
    struct tree *tree = find_tree(forest, key);
    if (tree == NULL) {
        return 0;
    }
    gv_rwlock_read(&tree->lock);
    const struct gv_floor *row = gv_floors_find(gv_trie_floors(tree->trie), worker);
    uint64_t live = row != NULL ? row->live : 0;
    gv_rwlock_unlock(&tree->lock);
    return live;
}

/* ---- changes ---- */

static enum gv_err counted(struct gv_forest *forest, enum gv_err err)
{
    if (err == GV_OK) {
        count(&forest->applied, 1);
        return GV_OK;
    }
    count(&forest->refused, 1);
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
    for (uint32_t i = 0; i < trees_now(forest); i++) {
        struct tree *tree = forest->trees[i];
        gv_rwlock_write(&tree->lock);
        enum gv_err one = gv_trie_raise_floor(tree->trie, worker, stamp, true, now_s);
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
    struct tree *tree;
    enum gv_err err = tree_of(forest, operation->key, &tree);
    if (err == GV_OK) {
        gv_rwlock_write(&tree->lock);
        err = gv_trie_raise_floor(tree->trie, operation->worker, operation->stamp, false, now_s);
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
    if (operation->kind == GV_OPERATION_TOUCH) {
        return operation->count == 1;
    }
    return operation->kind == GV_OPERATION_INSERT &&
           (operation->depth == 0) == (operation->parent == 0) &&
           operation->count <= UINT32_MAX - operation->depth;
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
    struct tree *tree;
    enum gv_err err = tree_of(forest, operation->key, &tree);
    if (err == GV_OK) {
        gv_rwlock_write(&tree->lock);
        err = gv_trie_apply(tree->trie, operation);
        gv_rwlock_unlock(&tree->lock);
    }
    return counted(forest, err);
}

/* The operation that makes `worker` hold the whole chain; false when it does, freshly. */
static bool need(struct gv_forest *forest, const struct tree *tree, const uint64_t *chain,
                 uint32_t chain_count, uint64_t wall_ms, struct gv_operation *operation)
{
    uint32_t worker = operation->worker;
    uint32_t stamp;
    uint32_t held = gv_trie_held(tree->trie, chain, chain_count, worker, &stamp);
    uint32_t floor = gv_floors_of(gv_trie_floors(tree->trie), worker);
    uint32_t now = hybrid_now(forest, wall_ms);
    now = now > floor ? now : floor + 1;
    bool is_fresh = held > 0 && (now <= stamp || now - stamp <= forest->limits.touch_interval_s);
    if (held == chain_count && is_fresh) {
        return false;
    }
    operation->stamp = is_fresh ? stamp : now;
    if (held == chain_count) {
        operation->kind = GV_OPERATION_TOUCH;
        operation->depth = chain_count - 1;
        operation->count = 1;
        operation->fingerprints = chain + chain_count - 1;
        return true;
    }
    operation->kind = GV_OPERATION_INSERT;
    operation->depth = held;
    operation->parent = held > 0 ? chain[held - 1] : 0;
    operation->count = chain_count - held;
    operation->fingerprints = chain + held;
    return true;
}

bool gv_forest_record(struct gv_forest *forest, const char *key, const uint64_t *chain,
                      uint32_t chain_count, uint32_t worker, uint64_t wall_ms,
                      struct gv_operation *operation)
{
    GV_ASSERT(worker < GV_WORKERS_MAX);
    struct tree *tree;
    if (chain_count == 0) {
        return false;
    }
    if (tree_of(forest, key, &tree) != GV_OK) {
        counted(forest, GV_EFULL);
        return false;
    }
    *operation = (struct gv_operation){.worker = worker};
    gv_slice_copy_text(gv_slice_text(key), operation->key, sizeof operation->key);
    /* Most requests of a conversation find their path fresh: ask first without stopping anyone. */
    gv_rwlock_read(&tree->lock);
    bool is_needed = need(forest, tree, chain, chain_count, wall_ms, operation);
    uint64_t version = gv_trie_version(tree->trie);
    gv_rwlock_unlock(&tree->lock);
    if (!is_needed) {
        return false;
    }
    gv_rwlock_write(&tree->lock);
    enum gv_err err = GV_OK;
    if (gv_trie_version(tree->trie) != version) { /* somebody wrote in between */
        is_needed = need(forest, tree, chain, chain_count, wall_ms, operation);
    }
    if (is_needed) {
        see_stamp(forest, operation->stamp);
        err = gv_trie_apply(tree->trie, operation);
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

/* ---- housekeeping ---- */

struct sweep {
    uint64_t wall_ms;
    uint32_t wall_s;
    struct gv_operation *operations;
    uint32_t max;
    uint32_t made;
};

static uint64_t capacity_of(struct gv_forest *forest, uint32_t worker)
{
    uint64_t own = atomic_load_explicit(&forest->capacity[worker], memory_order_relaxed);
    return own != 0 ? own : forest->limits.worker_blocks;
}

/* Make and apply the floor under which `worker` keeps at most `keep` blocks of this trie. */
static uint64_t evict(struct gv_forest *forest, struct tree *tree, uint32_t worker, uint64_t keep,
                      enum gv_floor_reason reason, struct sweep *sweep)
{
    GV_ASSERT(sweep->made < sweep->max);
    uint32_t min_age_s = forest->limits.min_age_s;
    uint32_t newest = sweep->wall_s > min_age_s ? sweep->wall_s - min_age_s : 0;
    struct gv_operation *operation = &sweep->operations[sweep->made];
    uint64_t gone = 0;
    uint32_t stamp;
    gv_rwlock_write(&tree->lock);
    const struct gv_floors *floors = gv_trie_floors(tree->trie);
    if (gv_floors_propose(floors, worker, keep, newest, &stamp)) {
        uint64_t before = gv_floors_find(floors, worker)->live;
        if (gv_trie_raise_floor(tree->trie, worker, stamp, false, sweep->wall_s) == GV_OK) {
            gone = before - gv_floors_find(floors, worker)->live;
            *operation = (struct gv_operation){
                .kind = GV_OPERATION_REMOVE, .worker = worker, .stamp = stamp, .reason = reason};
            gv_slice_copy_text(gv_slice_text(gv_trie_key(tree->trie)), operation->key,
                               sizeof operation->key);
        }
    }
    gv_rwlock_unlock(&tree->lock);
    if (gone > 0) {
        sweep->made += 1;
        count(&forest->evictions, 1);
        count(&forest->applied, 1);
    }
    return gone;
}

static void enforce_capacity(struct gv_forest *forest, struct tree *tree, struct sweep *sweep)
{
    gv_rwlock_read(&tree->lock);
    uint32_t room = gv_trie_floors(tree->trie)->room;
    gv_rwlock_unlock(&tree->lock);
    for (uint32_t i = 0; i < room && sweep->made < sweep->max; i++) {
        uint64_t keep = capacity_of(forest, i);
        gv_rwlock_read(&tree->lock);
        const struct gv_floor *row = gv_floors_find(gv_trie_floors(tree->trie), i);
        bool is_over = row != NULL && row->live > keep;
        gv_rwlock_unlock(&tree->lock);
        if (is_over) {
            evict(forest, tree, i, keep, GV_FLOOR_CAPACITY, sweep);
        }
    }
}

/* The largest share of all that is below `limit` blocks, for it may be too young to be cut. */
static struct tree *largest_share(struct gv_forest *forest, uint64_t limit, uint32_t *worker,
                                  uint64_t *live)
{
    struct tree *largest = NULL;
    *live = 0;
    for (uint32_t i = 0; i < trees_now(forest); i++) {
        struct tree *tree = forest->trees[i];
        gv_rwlock_read(&tree->lock);
        const struct gv_floors *floors = gv_trie_floors(tree->trie);
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
        struct tree *tree = largest_share(forest, limit, &worker, &live);
        if (tree == NULL) {
            break;
        }
        uint64_t one = evict(forest, tree, worker, live - live / 4 - 1, GV_FLOOR_MEMORY, sweep);
        gone += one;
        limit = one > 0 ? limit : live;
    }
    if (gone > 0) {
        forest->wraps_due = trees_now(forest) + 1;
        atomic_store_explicit(&forest->budget.was_refused, false, memory_order_relaxed);
    }
}

static void reclaim(struct gv_forest *forest, struct tree *tree, const struct sweep *sweep)
{
    uint64_t used = atomic_load_explicit(&forest->budget.used, memory_order_relaxed);
    bool in_need = used > forest->limits.max_bytes / 100 * RELIEF_PERCENT || forest->wraps_due > 0;
    uint32_t grace = in_need ? 0 : GRACE_S;
    uint32_t since = sweep->wall_s > grace ? sweep->wall_s - grace : 0;
    bool wrapped = false;
    for (uint32_t i = 0; i < RUNS_PER_SWEEP / RUNS_PER_LOCK && !wrapped; i++) {
        gv_rwlock_write(&tree->lock);
        count(&forest->swept, gv_trie_sweep(tree->trie, since, RUNS_PER_LOCK, &wrapped));
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
    uint32_t trees = trees_now(forest);
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

/* ---- a clock that was ahead ---- */

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
            count(&forest->refused, 1);
        }
    }
    for (uint64_t at = 0; gv_trie_next(from, &walk, &at, &operation);) {
        operation.stamp = operation.stamp < now ? operation.stamp : now;
        if (gv_trie_apply(to, &operation) != GV_OK) {
            count(&forest->refused, 1);
        }
    }
}

/* `lock` is held. */
static void correct(struct gv_forest *forest, struct tree *tree, uint32_t now)
{
    struct gv_trie *fresh;
    gv_rwlock_write(&tree->lock);
    enum gv_err err = gv_trie_new(tree->key, &forest->budget, &fresh);
    for (uint32_t i = 0; i < GV_WORKERS_MAX && err == GV_OK; i++) {
        if (forest->star_floors[i] != 0) {
            err = gv_trie_raise_floor(fresh, i, forest->star_floors[i], true, now);
        }
        if (err != GV_OK) {
            gv_trie_free(fresh);
        }
    }
    if (err == GV_OK) {
        copy_until(forest, tree->trie, fresh, now);
        gv_trie_free(tree->trie);
        tree->trie = fresh;
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
    for (uint32_t i = 0; i < trees_now(forest); i++) {
        correct(forest, forest->trees[i], now);
    }
    gv_mutex_unlock(&forest->lock);
    gv_mutex_unlock(&forest->sweep_lock);
    return true;
}

/* ---- figures, walking ---- */

void gv_forest_stats(struct gv_forest *forest, struct gv_forest_stats *stats)
{
    *stats = (struct gv_forest_stats){
        .bytes = atomic_load_explicit(&forest->budget.used, memory_order_relaxed),
        .applied = atomic_load_explicit(&forest->applied, memory_order_relaxed),
        .refused = atomic_load_explicit(&forest->refused, memory_order_relaxed),
        .swept = atomic_load_explicit(&forest->swept, memory_order_relaxed),
        .evictions = atomic_load_explicit(&forest->evictions, memory_order_relaxed),
        .keys = trees_now(forest)};
    for (uint32_t i = 0; i < stats->keys; i++) {
        struct tree *tree = forest->trees[i];
        gv_rwlock_read(&tree->lock);
        stats->blocks += gv_trie_blocks(tree->trie);
        stats->entries += gv_trie_floors(tree->trie)->live;
        gv_rwlock_unlock(&tree->lock);
    }
}

uint32_t gv_forest_trees(struct gv_forest *forest, struct gv_forest_tree *trees, uint32_t max_count)
{
    uint32_t known = trees_now(forest);
    uint32_t told = known < max_count ? known : max_count;
    for (uint32_t i = 0; i < told; i++) {
        struct tree *tree = forest->trees[i];
        gv_rwlock_read(&tree->lock);
        gv_slice_copy_text(gv_slice_text(tree->key), trees[i].key, sizeof trees[i].key);
        trees[i].blocks = gv_trie_blocks(tree->trie);
        trees[i].entries = gv_trie_floors(tree->trie)->live;
        trees[i].bytes = gv_trie_bytes(tree->trie);
        gv_rwlock_unlock(&tree->lock);
    }
    return told;
}

bool gv_forest_key(struct gv_forest *forest, uint32_t number, char key[GV_KEY_MAX])
{
    if (number >= trees_now(forest)) {
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
static bool next_floor(struct tree *tree, struct gv_forest_cursor *cursor,
                       struct gv_operation *operation)
{
    bool found = false;
    gv_rwlock_read(&tree->lock);
    const struct gv_floors *floors = gv_trie_floors(tree->trie);
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

static bool is_of(const struct tree *tree, const struct gv_forest_part *part)
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
        for (; cursor->key < trees_now(forest); cursor->key++, cursor->at = 0) {
            struct tree *tree = forest->trees[cursor->key];
            bool found = false;
            if (!is_of(tree, walk->part)) {
                continue;
            }
            if (cursor->phase == 1) {
                found = next_floor(tree, cursor, operation);
            } else {
                gv_rwlock_read(&tree->lock);
                found = gv_trie_next(tree->trie, walk, &cursor->at, operation);
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
    for (uint32_t i = 0; i < trees_now(forest); i++) {
        struct tree *tree = forest->trees[i];
        uint32_t run = 0;
        bool more = true;
        if (strcmp(tree->key, key) != 0) {
            continue;
        }
        while (more) {
            gv_rwlock_read(&tree->lock);
            more = gv_trie_sums(tree->trie, &run, RUNS_PER_LOCK, url_hash, url_hash_count, sums);
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
    for (uint32_t i = 0; i < trees_now(forest); i++) {
        struct tree *tree = forest->trees[i];
        uint32_t run = 0;
        bool more = true;
        while (more) {
            gv_rwlock_read(&tree->lock);
            more = gv_trie_digest(tree->trie, &run, RUNS_PER_LOCK, url_hash, url_hash_count, sum);
            gv_rwlock_unlock(&tree->lock);
        }
    }
    digest->lo = sum[0];
    digest->hi = sum[1];
}
