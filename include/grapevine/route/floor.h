/*
 * floor.h - of every worker in one trie: below which stamp it is forgotten, and how much it holds.
 *
 * The floor is the only way an entry ever dies. Beside it stands the worker's share: how many
 * blocks it holds live, as a histogram over stamps, so that "which floor keeps the newest n
 * blocks?" is answered without walking the trie. The histogram has a fixed number of slots of 2^k
 * seconds; k grows when the stamps spread, and a floor that it proposes is always the last second
 * of a slot, so that two nodes propose alike.
 *
 * Memory comes from the byte budget of the forest. The trie's lock guards it; only the line of
 * floors is read without.
 */
#ifndef GV_ROUTE_FLOOR_H
#define GV_ROUTE_FLOOR_H

#include "grapevine/base/err.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GV_FLOOR_SLOTS 128 /* of a histogram */

#define GV_FLOOR_MARK_S 5 /* at least so long between two marks */

struct gv_mem_budget;
struct gv_limbo;

/* A floor that was in force at a moment: what it made dead has been dead since then. */
struct gv_floor_mark {
    uint32_t stamp;
    uint32_t at_s; /* stamp of the wall clock */
};

struct gv_floor {
    uint32_t own;                  /* highest floor for this key */
    uint32_t all;                  /* highest floor for "*" */
    uint32_t raised_at_s;          /* stamp of the wall clock when it last rose */
    struct gv_floor_mark marks[2]; /* the newer first, GV_FLOOR_MARK_S apart: a floor that rises
                                      every second leaves something that is long dead, too */
    uint32_t base;                 /* first slot's number: stamps (base << shift) and up */
    uint32_t shift;                /* a slot covers 2^shift seconds */
    uint64_t live;                 /* blocks held live: the sum of the slots */
    uint32_t *slots;               /* owned; NULL while nothing was ever held */
};

/* The floors alone, side by side: what a match asks, without a lock. */
struct gv_floor_line {
    uint32_t room;
    _Atomic uint32_t stamps[]; /* by worker index; 0: no floor */
};

struct gv_floors {
    struct gv_floor_line *_Atomic line; /* owned; NULL: no row yet */
    struct gv_mem_budget *budget;       /* borrowed */
    struct gv_limbo *limbo;             /* borrowed: where replaced lines wait for readers */
    struct gv_floor **rows;             /* owned; by worker index; a row may be NULL */
    uint32_t room;
    uint64_t live; /* over all workers */
};

void gv_floors_init(struct gv_floors *floors, struct gv_mem_budget *budget, struct gv_limbo *limbo);
void gv_floors_deinit(struct gv_floors *floors);

/** The row of `worker`, or NULL when nothing is known of it. */
const struct gv_floor *gv_floors_find(const struct gv_floors *floors, uint32_t worker);

/** The stamp that an entry of `worker` must exceed to be live. */
uint32_t gv_floors_of(const struct gv_floors *floors, uint32_t worker);

/** The same for readers without the lock, who ask for many workers. */
static inline const struct gv_floor_line *gv_floors_line(const struct gv_floors *floors)
{
    return atomic_load_explicit(&floors->line, memory_order_acquire);
}
static inline uint32_t gv_floor_line_of(const struct gv_floor_line *line, uint32_t worker)
{
    return line != NULL && worker < line->room
               ? atomic_load_explicit(&line->stamps[worker], memory_order_relaxed)
               : 0;
}

/** The highest floor known to have been in force at `since_s`: what is below may be buried. */
uint32_t gv_floors_settled(const struct gv_floors *floors, uint32_t worker, uint32_t since_s);

/** Make sure that there is a row with a histogram. Errors: GV_EFULL no budget, or no memory. */
GV_MUST_USE enum gv_err gv_floors_open(struct gv_floors *floors, uint32_t worker);

/** `count` blocks of an open row have now `stamp`; dead stamps are not counted. */
void gv_floors_add(struct gv_floors *floors, uint32_t worker, uint32_t stamp, uint32_t count);
/** `count` blocks of an open row have no longer `stamp`. */
void gv_floors_remove(struct gv_floors *floors, uint32_t worker, uint32_t stamp, uint32_t count);

/**
 * Raise a floor (`for_all`: the one of "*"). `*recount`: the floor cut through a slot, so that the
 * row must be counted anew: gv_floors_clear(), then gv_floors_add() for everything it holds.
 * Errors: GV_EFULL.
 */
GV_MUST_USE enum gv_err gv_floors_raise(struct gv_floors *floors, uint32_t worker, uint32_t stamp,
                                        bool for_all, uint32_t now_s, bool *recount);
void gv_floors_clear(struct gv_floors *floors, uint32_t worker);

/**
 * The lowest floor that leaves at most `keep` live blocks, never above `newest`; false when the
 * worker holds no more than that, or only what is newer.
 */
bool gv_floors_propose(const struct gv_floors *floors, uint32_t worker, uint64_t keep,
                       uint32_t newest, uint32_t *stamp);

/**
 * The floor, not above `newest`, whose live blocks come nearest to `keep`, when the worker holds
 * more than that; false when it is better to leave things as they are. A whole prompt has one stamp
 * and falls at once, while an engine gives up its oldest prompt block by block: to stay below
 * `keep` would forget, on average, half a prompt that is still there.
 */
bool gv_floors_near(const struct gv_floors *floors, uint32_t worker, uint64_t keep, uint32_t newest,
                    uint32_t *stamp);

/** No live block is newer; 0: there is none. To the slot. */
uint32_t gv_floors_newest(const struct gv_floors *floors, uint32_t worker);

#endif
