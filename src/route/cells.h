/*
 * cells.h - memory of one trie: small arrays of 8-byte words by size class, all within one budget.
 *
 * Runs and spans come and go by the million in sizes of a few words. A class is a free list over
 * chunks; a chunk whose last array is given back returns to its slab, and a slab whose last chunk
 * did to the system, so that memory follows the live set when its shape changes. The few larger
 * arrays do without chunks. Every byte is counted in the budget, which all tries of a node share,
 * before it is allocated; that is why the cap holds at every moment. Private to route; the trie's
 * write lock guards it.
 */
#ifndef GV_ROUTE_CELLS_H
#define GV_ROUTE_CELLS_H

#include "grapevine/base/err.h"
#include "grapevine/base/list.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GV_CELL_CLASSES   37
#define GV_CELL_WORDS_MAX 127 /* larger arrays come without a chunk */

struct gv_mem_budget {
    _Atomic size_t used; /* bytes */
    size_t max;
    _Atomic bool was_refused; /* somebody asked in vain; whoever makes room clears it */
};

/* Take `bytes` from the budget, or say no. */
bool gv_mem_budget_take(struct gv_mem_budget *budget, size_t bytes);
void gv_mem_budget_give(struct gv_mem_budget *budget, size_t bytes);

/* Zeroed memory, counted (when large, whole pages of the system's); NULL when budget or heap
 * refuse. To be freed with the same `bytes`. */
void *gv_mem_budget_new(struct gv_mem_budget *budget, size_t bytes);
void gv_mem_budget_free(struct gv_mem_budget *budget, void *memory, size_t bytes);

struct gv_cells {
    struct gv_mem_budget *budget;              /* borrowed */
    struct gv_list with_room[GV_CELL_CLASSES]; /* chunks with a free array */
    struct gv_list full[GV_CELL_CLASSES];      /* chunks without */
    struct gv_list slabs;                      /* what the system gave, cut into aligned chunks */
    struct gv_list bare_slabs;                 /* slabs with a chunk that has no class */
    uint32_t slab_chunks;                      /* of all slabs */
    size_t bytes;                              /* of all slabs and large arrays */
};

void gv_cells_init(struct gv_cells *cells, struct gv_mem_budget *budget);
/* Every array still out is freed with its chunk; large ones must have been given back. */
void gv_cells_deinit(struct gv_cells *cells);

/* How many words an array for `words` really has; at least 1. */
uint32_t gv_cells_room(uint32_t words);

/* An array of gv_cells_room(words) words, not zeroed; NULL when budget or heap refuse. */
uint64_t *gv_cells_take(struct gv_cells *cells, uint32_t words);
/* Give back what was taken for `words` (or for its room). */
void gv_cells_give(struct gv_cells *cells, uint64_t *array, uint32_t words);

#endif
