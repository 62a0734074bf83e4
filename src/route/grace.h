/*
 * grace.h - who is reading, and what may not be freed while they do.
 *
 * Matches take no lock: a writer publishes what is new by one pointer or one word, and what it has
 * replaced waits in a limbo until no reader can hold it any more (epochs; Fraser 2004). A reader
 * enters and leaves by one change each of a counter in its own thread's stripe. The epoch may
 * advance when the one before has no reader left; what was unlinked in epoch e is free in e + 2.
 * Whatever waits stays counted in the budget. Private to route; a limbo is guarded by its trie's
 * lock, the epochs are shared by all tries of a forest.
 *
 * The first threads of the process have a stripe each for ever; they alone write it, so a store
 * does what an addition must do in the last one, which all later threads share. Either way the
 * count is in memory before the epoch is looked at again (both sequentially consistent), and it is
 * taken back after all that was read (release), which a writer who finds it gone acquires.
 */
#ifndef GV_ROUTE_GRACE_H
#define GV_ROUTE_GRACE_H

#include "grapevine/base/err.h"
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define GV_GRACE_STRIPES 16u /* all but the last are of one thread each, which alone writes it */

struct gv_cells;
struct gv_mem_budget;

struct gv_grace_stripe {
    _Atomic uint32_t inside[2]; /* readers, by the parity of the epoch they entered in */
    uint8_t apart[120];         /* no two threads write the same line of the cache */
};

struct gv_grace {
    _Atomic uint64_t epoch;
    uint8_t apart[120];
    struct gv_grace_stripe stripes[GV_GRACE_STRIPES];
};

/* Begin to read; never waits for a writer. Give the result to gv_grace_leave() on this thread. */
uint32_t gv_grace_enter(struct gv_grace *grace);
void gv_grace_leave(struct gv_grace *grace, uint32_t token);

/* Until every reader who is within now has left. Seldom: a writer who calls it stands still. */
void gv_grace_wait(struct gv_grace *grace);

struct gv_limbo_item {
    void *memory;
    size_t bytes;
    uint64_t epoch; /* it was unlinked in this or an earlier one */
    uint32_t words; /* an array of the cells; 0: `bytes` of the budget's heap */
};

struct gv_limbo {
    struct gv_grace *grace;       /* borrowed */
    struct gv_cells *cells;       /* borrowed */
    struct gv_mem_budget *budget; /* borrowed */
    struct gv_limbo_item *items;  /* owned; a ring */
    uint32_t room;
    uint32_t first;
    uint32_t count;
    uint32_t undated; /* the last of them, without an epoch yet */
};

/* Errors: GV_EFULL. */
GV_MUST_USE enum gv_err gv_limbo_init(struct gv_limbo *limbo, struct gv_grace *grace,
                                      struct gv_cells *cells, struct gv_mem_budget *budget);
/* No reader is left: free everything. */
void gv_limbo_deinit(struct gv_limbo *limbo);

/* No reader that comes from now on can reach it: free it when those within are gone. */
void gv_limbo_put(struct gv_limbo *limbo, void *memory, size_t bytes);
void gv_limbo_put_array(struct gv_limbo *limbo, uint64_t *array, uint32_t words);

/* Free what may be freed. At the end of every write. */
void gv_limbo_settle(struct gv_limbo *limbo);

#endif
