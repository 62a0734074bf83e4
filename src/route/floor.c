/*
 * floor.c - one row per worker: its floor, and a histogram of its live entries over a window of
 * stamps.
 */
#include "grapevine/route/floor.h"

#include "grapevine/base/assert.h"
#include "grapevine/route/worker.h"
#include "route/cells.h"
#include "route/grace.h"
#include <string.h>

#define ROWS_FIRST  16u
#define SLOTS_BYTES (GV_FLOOR_SLOTS * sizeof(uint32_t))

void gv_floors_init(struct gv_floors *floors, struct gv_mem_budget *budget, struct gv_limbo *limbo)
{
    memset(floors, 0, sizeof *floors);
    floors->budget = budget;
    floors->limbo = limbo;
}

static size_t line_bytes(uint32_t room)
{
    return sizeof(struct gv_floor_line) + room * sizeof(uint32_t);
}

void gv_floors_deinit(struct gv_floors *floors)
{
    for (uint32_t i = 0; i < floors->room; i++) {
        if (floors->rows[i] != NULL) {
            gv_mem_budget_free(floors->budget, floors->rows[i]->slots, SLOTS_BYTES);
            gv_mem_budget_free(floors->budget, floors->rows[i], sizeof *floors->rows[i]);
        }
    }
    gv_mem_budget_free(floors->budget, floors->rows, floors->room * sizeof(struct gv_floor *));
    gv_mem_budget_free(floors->budget, floors->line, line_bytes(floors->room));
}

const struct gv_floor *gv_floors_find(const struct gv_floors *floors, uint32_t worker)
{
    return worker < floors->room ? floors->rows[worker] : NULL;
}

static uint32_t floor_of(const struct gv_floor *row)
{
    return row->own > row->all ? row->own : row->all;
}

uint32_t gv_floors_of(const struct gv_floors *floors, uint32_t worker)
{
    const struct gv_floor *row = gv_floors_find(floors, worker);
    return row != NULL ? floor_of(row) : 0;
}

uint32_t gv_floors_settled(const struct gv_floors *floors, uint32_t worker, uint32_t since_s)
{
    const struct gv_floor *row = gv_floors_find(floors, worker);
    if (row == NULL) {
        return 0;
    }
    if (row->raised_at_s <= since_s) {
        return floor_of(row);
    }
    for (uint32_t i = 0; i < 2; i++) {
        if (row->marks[i].at_s <= since_s) {
            return row->marks[i].stamp;
        }
    }
    return 0;
}

/* The floor is about to rise: note until when the one that was there held. */
static void mark(struct gv_floor *row, uint32_t now_s)
{
    if (now_s < row->marks[0].at_s || now_s - row->marks[0].at_s >= GV_FLOOR_MARK_S) {
        row->marks[1] = row->marks[0];
        row->marks[0] = (struct gv_floor_mark){.stamp = floor_of(row), .at_s = now_s};
    }
}

static enum gv_err widen(struct gv_floors *floors, uint32_t worker)
{
    uint32_t room = floors->room == 0 ? ROWS_FIRST : floors->room;
    while (room <= worker) {
        room *= 2;
    }
    struct gv_floor **rows = gv_mem_budget_new(floors->budget, room * sizeof *rows);
    struct gv_floor_line *line = gv_mem_budget_new(floors->budget, line_bytes(room));
    if (rows == NULL || line == NULL) {
        gv_mem_budget_free(floors->budget, rows, room * sizeof *rows);
        gv_mem_budget_free(floors->budget, line, line_bytes(room));
        return GV_EFULL;
    }
    line->room = room;
    if (floors->room > 0) {
        memcpy(rows, floors->rows, floors->room * sizeof *rows);
        for (uint32_t i = 0; i < floors->room; i++) {
            line->stamps[i] = gv_floor_line_of(floors->line, i);
        }
    }
    gv_mem_budget_free(floors->budget, floors->rows, floors->room * sizeof *rows);
    gv_limbo_put(floors->limbo, floors->line, line_bytes(floors->room));
    floors->rows = rows;
    atomic_store_explicit(&floors->line, line, memory_order_release);
    floors->room = room;
    return GV_OK;
}

/* The row of `worker`, made when missing, perhaps without a histogram. */
static enum gv_err row_of(struct gv_floors *floors, uint32_t worker, struct gv_floor **row)
{
    GV_ASSERT(worker < GV_WORKERS_MAX);
    if (worker >= floors->room) {
        enum gv_err err = widen(floors, worker);
        if (err != GV_OK) {
            return err;
        }
    }
    if (floors->rows[worker] == NULL) {
        floors->rows[worker] = gv_mem_budget_new(floors->budget, sizeof **row);
    }
    *row = floors->rows[worker];
    return *row != NULL ? GV_OK : GV_EFULL;
}

enum gv_err gv_floors_open(struct gv_floors *floors, uint32_t worker)
{
    struct gv_floor *row;
    enum gv_err err = row_of(floors, worker, &row);
    if (err == GV_OK && row->slots == NULL) {
        row->slots = gv_mem_budget_new(floors->budget, SLOTS_BYTES);
        err = row->slots != NULL ? GV_OK : GV_EFULL;
    }
    return err;
}

/* Slots twice as wide: each pair becomes one, and the first slot's number is halved. */
static void coarsen(struct gv_floor *row)
{
    uint32_t wide[GV_FLOOR_SLOTS] = {0};
    uint32_t base = row->base / 2;
    for (uint32_t i = 0; i < GV_FLOOR_SLOTS; i++) {
        if (row->slots[i] != 0) {
            wide[(row->base + i) / 2 - base] += row->slots[i];
        }
    }
    memcpy(row->slots, wide, sizeof wide);
    row->base = base;
    row->shift += 1;
}

/* Move the window down (new slots below) or up (empty slots at its start) by whole slots. */
static void slide(struct gv_floor *row, uint32_t base)
{
    uint32_t moved[GV_FLOOR_SLOTS] = {0};
    for (uint32_t i = 0; i < GV_FLOOR_SLOTS; i++) {
        if (row->slots[i] != 0) {
            GV_ASSERT(row->base + i >= base && row->base + i - base < GV_FLOOR_SLOTS);
            moved[row->base + i - base] = row->slots[i];
        }
    }
    memcpy(row->slots, moved, sizeof moved);
    row->base = base;
}

/* The first and last slot numbers in use; false when all are empty. */
static bool extent(const struct gv_floor *row, uint32_t *first, uint32_t *last)
{
    bool any = false;
    for (uint32_t i = 0; i < GV_FLOOR_SLOTS; i++) {
        if (row->slots[i] != 0) {
            *first = any ? *first : row->base + i;
            *last = row->base + i;
            any = true;
        }
    }
    return any;
}

/* The slot for `stamp`, after the window has been moved or widened to have one. */
static uint32_t *slot_for(struct gv_floor *row, uint32_t stamp)
{
    if (row->live == 0) {
        row->shift = 0; /* nothing held: begin with fine slots again */
        row->base = stamp;
    }
    for (;;) {
        uint32_t number = stamp >> row->shift;
        if (number >= row->base && number - row->base < GV_FLOOR_SLOTS) {
            return &row->slots[number - row->base];
        }
        uint32_t first = number;
        uint32_t last = number;
        GV_ASSERT(extent(row, &first, &last));
        first = first < number ? first : number;
        last = last > number ? last : number;
        if (last - first < GV_FLOOR_SLOTS) {
            slide(row, first);
        } else {
            coarsen(row);
        }
    }
}

void gv_floors_add(struct gv_floors *floors, uint32_t worker, uint32_t stamp, uint32_t count)
{
    struct gv_floor *row = floors->rows[worker];
    GV_ASSERT(row != NULL && row->slots != NULL);
    if (stamp <= floor_of(row) || count == 0) {
        return;
    }
    *slot_for(row, stamp) += count;
    row->live += count;
    floors->live += count;
}

void gv_floors_remove(struct gv_floors *floors, uint32_t worker, uint32_t stamp, uint32_t count)
{
    struct gv_floor *row = floors->rows[worker];
    GV_ASSERT(row != NULL && row->slots != NULL);
    if (stamp <= floor_of(row) || count == 0) {
        return;
    }
    uint32_t number = stamp >> row->shift;
    GV_ASSERT(number >= row->base && number - row->base < GV_FLOOR_SLOTS);
    GV_ASSERT(row->slots[number - row->base] >= count);
    row->slots[number - row->base] -= count;
    row->live -= count;
    floors->live -= count;
}

void gv_floors_clear(struct gv_floors *floors, uint32_t worker)
{
    struct gv_floor *row = floors->rows[worker];
    floors->live -= row->live;
    row->live = 0;
    if (row->slots != NULL) {
        memset(row->slots, 0, SLOTS_BYTES);
    }
}

/* Empty the slots that end at or below `floor`; true when one is cut through. */
static bool empty_below(struct gv_floors *floors, struct gv_floor *row, uint32_t floor)
{
    bool cut = false;
    for (uint32_t i = 0; i < GV_FLOOR_SLOTS; i++) {
        uint64_t first = (uint64_t)(row->base + i) << row->shift;
        uint64_t last = first + (UINT64_C(1) << row->shift) - 1;
        if (row->slots[i] == 0 || first > floor) {
            continue;
        }
        if (last > floor) {
            cut = true;
            continue;
        }
        row->live -= row->slots[i];
        floors->live -= row->slots[i];
        row->slots[i] = 0;
    }
    return cut;
}

enum gv_err gv_floors_raise(struct gv_floors *floors, uint32_t worker, uint32_t stamp, bool for_all,
                            uint32_t now_s, bool *recount)
{
    struct gv_floor *row;
    enum gv_err err = row_of(floors, worker, &row);
    if (err != GV_OK) {
        return err;
    }
    *recount = false;
    uint32_t *floor = for_all ? &row->all : &row->own;
    if (stamp <= *floor) {
        return GV_OK;
    }
    bool rises = stamp > floor_of(row);
    if (rises) {
        mark(row, now_s);
    }
    *floor = stamp;
    if (rises) {
        atomic_store_explicit(&floors->line->stamps[worker], stamp, memory_order_relaxed);
        row->raised_at_s = now_s;
        *recount = row->slots != NULL && empty_below(floors, row, stamp);
    }
    return GV_OK;
}

static uint64_t last_of(const struct gv_floor *row, uint32_t slot)
{
    return ((uint64_t)(row->base + slot + 1) << row->shift) - 1;
}

/* How many slots must fall, oldest first, so that at most `keep` blocks are left; `*kept` are. */
static uint32_t cut(const struct gv_floor *row, uint64_t keep, uint32_t newest, uint64_t *kept)
{
    uint32_t end = 0;
    *kept = row->live;
    for (uint32_t i = 0; i<GV_FLOOR_SLOTS && * kept> keep; i++) {
        if (row->slots[i] == 0) {
            continue;
        }
        if (last_of(row, i) > newest) {
            break;
        }
        *kept -= row->slots[i];
        end = i + 1;
    }
    return end;
}

bool gv_floors_propose(const struct gv_floors *floors, uint32_t worker, uint64_t keep,
                       uint32_t newest, uint32_t *stamp)
{
    const struct gv_floor *row = gv_floors_find(floors, worker);
    if (row == NULL || row->slots == NULL || row->live <= keep) {
        return false;
    }
    uint64_t kept;
    uint32_t end = cut(row, keep, newest, &kept);
    if (end > 0) {
        *stamp = (uint32_t)last_of(row, end - 1);
    }
    return end > 0;
}

bool gv_floors_near(const struct gv_floors *floors, uint32_t worker, uint64_t keep, uint32_t newest,
                    uint32_t *stamp)
{
    const struct gv_floor *row = gv_floors_find(floors, worker);
    if (row == NULL || row->slots == NULL || row->live <= keep) {
        return false;
    }
    uint64_t kept;
    uint32_t end = cut(row, keep, newest, &kept);
    if (end > 0 && kept < keep && keep - kept >= kept + row->slots[end - 1] - keep) {
        end -= 1; /* one slot less comes as near */
        while (end > 0 && row->slots[end - 1] == 0) {
            end -= 1;
        }
    }
    if (end > 0) {
        *stamp = (uint32_t)last_of(row, end - 1);
    }
    return end > 0;
}

uint32_t gv_floors_newest(const struct gv_floors *floors, uint32_t worker)
{
    const struct gv_floor *row = gv_floors_find(floors, worker);
    for (uint32_t i = GV_FLOOR_SLOTS; row != NULL && row->slots != NULL && i > 0; i--) {
        if (row->slots[i - 1] != 0) {
            return (uint32_t)last_of(row, i - 1);
        }
    }
    return 0;
}
