/*
 * forest_in.h - the inside of a forest, shared by forest.c (questions and changes), forest_sweep.c
 * (housekeeping) and forest_walk.c (figures and walking).
 */
#ifndef GV_ROUTE_FOREST_IN_H
#define GV_ROUTE_FOREST_IN_H

#include "grapevine/base/lock.h"
#include "grapevine/route/floor.h"
#include "grapevine/route/forest.h"
#include "grapevine/route/trie.h"
#include "route/cells.h"
#include "route/grace.h"
#include <stdatomic.h>

#define GV_FOREST_RUNS_PER_LOCK 256u /* looked at while a lock is held */

struct gv_tree {
    struct gv_trie *_Atomic trie; /* owned; readers without the lock: between enter and leave */
    char key[GV_KEY_MAX];         /* never changes */
    uint8_t apart[120];           /* who reads the above is not disturbed by who takes the below */
    struct gv_rwlock lock;
};

struct gv_forest {
    /* Set once. */
    uint64_t number; /* 1 and up: no other forest of the process has, or had, the same */
    struct gv_forest_limits limits;
    struct gv_tree *_Atomic *slots; /* owned; open addressing over the key; never shrinks */
    uint32_t slot_count;            /* a power of two, at least twice max_keys */
    struct gv_tree **trees;         /* owned; in the order of their making */
    uint32_t *star_floors;          /* owned; by worker; guarded by `lock` */
    _Atomic uint64_t *capacity;     /* owned; blocks by worker; 0: the default */
    uint8_t apart[120];
    /* Changing. */
    struct gv_mem_budget budget;
    _Atomic uint32_t tree_count;
    _Atomic uint32_t highest; /* stamp seen */
    struct gv_mutex lock;
    struct gv_mutex sweep_lock;
    uint32_t sweep_tree; /* where the next slice begins; guarded by `sweep_lock` */
    uint32_t wraps_due;  /* tries still to be swept whole before memory floors again */
    _Atomic uint64_t applied, refused, swept, evictions;
    struct gv_grace grace;
};

static inline void gv_forest_count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static inline struct gv_trie *gv_tree_trie(const struct gv_tree *tree)
{
    return atomic_load_explicit(&tree->trie, memory_order_acquire);
}

static inline uint64_t gv_forest_capacity(const struct gv_forest *forest, uint32_t worker)
{
    uint64_t own = atomic_load_explicit(&forest->capacity[worker], memory_order_relaxed);
    return own != 0 ? own : forest->limits.worker_blocks;
}

static inline uint32_t gv_forest_tree_count(struct gv_forest *forest)
{
    return atomic_load_explicit(&forest->tree_count, memory_order_acquire);
}

#endif
