/*
 * load.c - a cell of counters per worker, added to by every loop without a lock.
 */
#include "grapevine/route/load.h"

#include "grapevine/base/assert.h"
#include "grapevine/base/mem.h"
#include <stdatomic.h>

/* Relaxed everywhere: each number is right on its own, and a decision a microsecond old is fine. */
struct cell {
    _Atomic uint64_t own_bytes;
    _Atomic uint64_t remote_bytes;
    _Atomic uint32_t own_count;
    _Atomic uint32_t remote_count;
    _Atomic uint32_t open_count; /* loops whose breaker is so */
    _Atomic uint32_t trial_count;
};

struct gv_load_table {
    _Atomic uint64_t own_total;
    struct cell cells[GV_WORKERS_MAX];
};

enum gv_err gv_load_new(struct gv_load_table **table)
{
    struct gv_load_table *made = gv_mem_new(GV_MEM_FLEET, sizeof *made);
    if (made == NULL) {
        return GV_ENOMEM;
    }
    *table = made;
    return GV_OK;
}

void gv_load_free(struct gv_load_table *table)
{
    gv_mem_free(GV_MEM_FLEET, table);
}

static struct cell *cell_at(struct gv_load_table *table, uint32_t worker)
{
    GV_ASSERT(worker < GV_WORKERS_MAX);
    return &table->cells[worker];
}

void gv_load_take(struct gv_load_table *table, uint32_t worker, uint64_t bytes)
{
    struct cell *cell = cell_at(table, worker);
    atomic_fetch_add_explicit(&cell->own_count, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&cell->own_bytes, bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&table->own_total, 1, memory_order_relaxed);
}

static void drop_bytes(struct cell *cell, uint64_t bytes)
{
    uint64_t before = atomic_fetch_sub_explicit(&cell->own_bytes, bytes, memory_order_relaxed);
    GV_ASSERT(before >= bytes);
}

void gv_load_first_byte(struct gv_load_table *table, uint32_t worker, uint64_t bytes)
{
    drop_bytes(cell_at(table, worker), bytes);
}

void gv_load_give(struct gv_load_table *table, uint32_t worker, uint64_t bytes)
{
    struct cell *cell = cell_at(table, worker);
    drop_bytes(cell, bytes);
    uint32_t before = atomic_fetch_sub_explicit(&cell->own_count, 1, memory_order_relaxed);
    GV_ASSERT(before >= 1); /* a request ends once */
    atomic_fetch_sub_explicit(&table->own_total, 1, memory_order_relaxed);
}

void gv_load_set_remote(struct gv_load_table *table, uint32_t worker, uint32_t count,
                        uint64_t bytes)
{
    struct cell *cell = cell_at(table, worker);
    atomic_store_explicit(&cell->remote_count, count, memory_order_relaxed);
    atomic_store_explicit(&cell->remote_bytes, bytes, memory_order_relaxed);
}

struct gv_load gv_load_get(const struct gv_load_table *table, uint32_t worker)
{
    GV_ASSERT(worker < GV_WORKERS_MAX);
    const struct cell *cell = &table->cells[worker];
    return (struct gv_load){
        .own_count = atomic_load_explicit(&cell->own_count, memory_order_relaxed),
        .own_bytes = atomic_load_explicit(&cell->own_bytes, memory_order_relaxed),
        .remote_count = atomic_load_explicit(&cell->remote_count, memory_order_relaxed),
        .remote_bytes = atomic_load_explicit(&cell->remote_bytes, memory_order_relaxed),
    };
}

static void step_breaker(struct cell *cell, enum gv_breaker_state state, uint32_t by)
{
    switch (state) {
    case GV_BREAKER_CLOSED:
        return;
    case GV_BREAKER_OPEN:
        atomic_fetch_add_explicit(&cell->open_count, by, memory_order_relaxed);
        return;
    case GV_BREAKER_TRIAL:
        atomic_fetch_add_explicit(&cell->trial_count, by, memory_order_relaxed);
        return;
    }
}

void gv_load_move_breaker(struct gv_load_table *table, uint32_t worker, enum gv_breaker_state from,
                          enum gv_breaker_state to)
{
    struct cell *cell = cell_at(table, worker);
    step_breaker(cell, to, 1);
    step_breaker(cell, from, UINT32_MAX); /* one less, modulo 2^32 */
}

enum gv_breaker_state gv_load_breaker(const struct gv_load_table *table, uint32_t worker)
{
    GV_ASSERT(worker < GV_WORKERS_MAX);
    const struct cell *cell = &table->cells[worker];
    if (atomic_load_explicit(&cell->open_count, memory_order_relaxed) > 0) {
        return GV_BREAKER_OPEN;
    }
    return atomic_load_explicit(&cell->trial_count, memory_order_relaxed) > 0 ? GV_BREAKER_TRIAL
                                                                              : GV_BREAKER_CLOSED;
}

uint64_t gv_load_own_total(const struct gv_load_table *table)
{
    return atomic_load_explicit(&table->own_total, memory_order_relaxed);
}
