/*
 * index.c - open addressing from fingerprint to run number; grows by moving a little at a time.
 */
#include "route/index.h"

#include "grapevine/base/assert.h"
#include "route/cells.h"
#include <string.h>

#define ROOM_MIN  64u
#define TOMBSTONE (UINT32_MAX & ~UINT32_C(0xFF)) /* a run number that no run has */
/* Fullest: 7 of 8 slots. A probe then passes about 30 slots, two cache lines, comparing tags. */
#define FULL(room) ((room) / 8 * 7)

__extension__ typedef unsigned __int128 wide;

static uint64_t home_of(const struct gv_index_table *table, uint64_t fingerprint)
{
    uint64_t mixed = fingerprint * UINT64_C(0x9E3779B97F4A7C15);
    return (uint64_t)(((wide)mixed * table->room) >> 64);
}

static uint32_t tag_of(uint64_t fingerprint)
{
    return (uint32_t)(fingerprint & 0xFF);
}

static uint64_t after(const struct gv_index_table *table, uint64_t at)
{
    return at + 1 < table->room ? at + 1 : 0;
}

void gv_index_init(struct gv_index *index, struct gv_mem_budget *budget)
{
    *index = (struct gv_index){.budget = budget};
}

static void drop(struct gv_index *index, struct gv_index_table *table)
{
    gv_mem_budget_free(index->budget, table->slots, table->room * sizeof *table->slots);
    *table = (struct gv_index_table){0};
}

void gv_index_deinit(struct gv_index *index)
{
    drop(index, &index->tables[0]);
    drop(index, &index->tables[1]);
}

struct gv_index_probe gv_index_find(uint64_t fingerprint)
{
    return (struct gv_index_probe){.fingerprint = fingerprint};
}

uint32_t gv_index_next(const struct gv_index *index, struct gv_index_probe *probe)
{
    uint32_t tag = tag_of(probe->fingerprint);
    for (; probe->table < 2; probe->table++, probe->started = false) {
        const struct gv_index_table *table = &index->tables[probe->table];
        if (table->room == 0) {
            continue;
        }
        probe->at = probe->started ? after(table, probe->at) : home_of(table, probe->fingerprint);
        probe->started = true;
        for (uint32_t slot; (slot = table->slots[probe->at]) != 0;
             probe->at = after(table, probe->at)) {
            if ((slot & 0xFF) == tag && (slot & ~UINT32_C(0xFF)) != TOMBSTONE) {
                return (slot >> 8) - 1;
            }
        }
    }
    return GV_INDEX_NONE;
}

void gv_index_prefetch(const struct gv_index *index, uint64_t fingerprint)
{
    const struct gv_index_table *table = &index->tables[0];
    if (table->room != 0) {
        __builtin_prefetch(&table->slots[home_of(table, fingerprint)], 1);
    }
}

static void place(struct gv_index_table *table, uint64_t fingerprint, uint32_t run)
{
    GV_ASSERT(run < GV_INDEX_RUNS_MAX);
    uint64_t at = home_of(table, fingerprint);
    while (table->slots[at] != 0 && (table->slots[at] & ~UINT32_C(0xFF)) != TOMBSTONE) {
        at = after(table, at);
    }
    if (table->slots[at] == 0) {
        table->used += 1;
        GV_ASSERT(table->used < table->room); /* a probe ends at an empty slot */
    }
    table->slots[at] = (run + 1) << 8 | tag_of(fingerprint);
}

/* Begin to move into a table of `room` slots. */
static enum gv_err rebuild(struct gv_index *index, uint64_t room)
{
    GV_ASSERT(index->tables[1].slots == NULL);
    struct gv_index_table made = {.room = room};
    made.slots = gv_mem_budget_new(index->budget, room * sizeof *made.slots);
    if (made.slots == NULL) {
        return GV_EFULL;
    }
    index->tables[1] = index->tables[0];
    index->tables[0] = made;
    index->waiting = index->count;
    index->moved_runs = 0;
    return GV_OK;
}

/* Slots so that `count` fill 60 %: with growth at 87 % the mean is near 73 %, and each fingerprint
 * is moved two or three times in its life. */
static uint64_t room_for(uint64_t count)
{
    uint64_t room = (count + count * 2 / 3 + 7) & ~UINT64_C(7);
    return room > ROOM_MIN ? room : ROOM_MIN;
}

enum gv_err gv_index_reserve(struct gv_index *index, uint64_t more)
{
    const struct gv_index_table *current = &index->tables[0];
    uint64_t need = current->used + index->waiting + more;
    if (need <= FULL(current->room)) {
        return GV_OK;
    }
    if (gv_index_is_moving(index)) {
        return GV_EAGAIN; /* finish moving first */
    }
    return rebuild(index, room_for(index->count + more));
}

void gv_index_add(struct gv_index *index, uint64_t fingerprint, uint32_t run)
{
    place(&index->tables[0], fingerprint, run);
    index->count += 1;
}

void gv_index_remove(struct gv_index *index, uint64_t fingerprint, uint32_t run, bool is_waiting)
{
    struct gv_index_table *table = &index->tables[is_waiting ? 1 : 0];
    uint32_t wanted = (run + 1) << 8 | tag_of(fingerprint);
    uint64_t at = home_of(table, fingerprint);
    /* Two blocks of one run may share a slot's whole value; either slot then serves for the other,
     * since no empty slot lies between them. */
    while (table->slots[at] != wanted) {
        GV_ASSERT(table->slots[at] != 0);
        at = after(table, at);
    }
    table->slots[at] = TOMBSTONE;
    GV_ASSERT(index->count > 0);
    index->count -= 1;
    if (is_waiting) {
        GV_ASSERT(index->waiting > 0);
        index->waiting -= 1;
    }
}

bool gv_index_is_moving(const struct gv_index *index)
{
    return index->tables[1].slots != NULL;
}

void gv_index_move(struct gv_index *index, uint64_t fingerprint, uint32_t run)
{
    place(&index->tables[0], fingerprint, run);
    GV_ASSERT(index->waiting > 0);
    index->waiting -= 1;
}

void gv_index_moved(struct gv_index *index)
{
    GV_ASSERT(index->waiting == 0);
    drop(index, &index->tables[1]);
}

void gv_index_empty(struct gv_index *index)
{
    GV_ASSERT(!gv_index_is_moving(index));
    struct gv_index_table *current = &index->tables[0];
    memset(current->slots, 0, current->room * sizeof *current->slots);
    current->used = 0;
    index->waiting = index->count;
}

void gv_index_fit(struct gv_index *index)
{
    const struct gv_index_table *current = &index->tables[0];
    if (gv_index_is_moving(index) || current->room <= ROOM_MIN) {
        return;
    }
    uint64_t fitting = room_for(index->count);
    uint64_t tombstones = current->used - index->count;
    if (fitting < current->room / 2 || tombstones > current->room / 4) {
        if (rebuild(index, fitting) != GV_OK) {
            return; /* no room for two tables now: the next slice tries again */
        }
    }
}

uint64_t gv_index_bytes(const struct gv_index *index)
{
    return (index->tables[0].room + index->tables[1].room) * sizeof(uint32_t);
}
