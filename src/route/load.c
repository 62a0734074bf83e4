/*
 * load.c - a cell of counters per worker, added to by every loop without a lock.
 */
#include "grapevine/route/load.h"

#include "grapevine/base/assert.h"
#include "grapevine/base/mem.h"
#include <stdatomic.h>

#define USAGE_MASK        UINT64_C(1023)
#define USAGE_NONE        1023u /* as the mask holds it; 1000 is all */
#define OWN_BIT           UINT64_C(1024)
#define MOMENT_SHIFT      11u
#define PROMPT_MEMORY     UINT64_C(4000000) /* tokens; of more than that half is forgotten */
#define PROMPT_TOKENS_MAX UINT64_C(100000000)
#define PREFILL_MEMORY                                                                             \
    UINT64_C(4000000) /* bytes; as much weighs one half when as much came after */
#define PREFILL_US_MAX UINT64_C(600000000)

/* Relaxed everywhere: each number is right on its own, and a decision a microsecond old is fine. */
struct cell {
    _Atomic uint64_t own_bytes;
    _Atomic uint64_t remote_bytes;
    _Atomic uint32_t own_count;
    _Atomic uint32_t remote_count;
    _Atomic uint64_t heard_at;     /* ms << MOMENT_SHIFT | own | usage: they agree */
    _Atomic uint64_t heard_counts; /* running << 32 | waiting */
    _Atomic uint64_t heard_tokens;
    _Atomic uint64_t prompt_bytes;
    _Atomic uint64_t prompt_tokens;
    _Atomic uint64_t prefill_bytes;
    _Atomic uint64_t prefill_us;
    _Atomic uint64_t forecast_count;
    _Atomic uint64_t forecast_predicted;
    _Atomic uint64_t forecast_reported;
    _Atomic double prefill_speed; /* 0: nothing concluded */
    _Atomic uint32_t trust_gap;   /* permille below full */
    struct gv_watch watch;
    _Atomic uint32_t heard_foreign;
    _Atomic uint8_t reporting; /* a bit for each kind of request */
    _Atomic bool is_uncached;
    _Atomic bool is_suspect;
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

/* The mesh thread and the prober may both bring one; between two of the same moment it does not
 * matter which of their numbers is seen. */
void gv_load_hear(struct gv_load_table *table, uint32_t worker, const struct gv_load_report *report)
{
    struct cell *cell = cell_at(table, worker);
    uint32_t usage = report->usage_permille <= 1000 ? report->usage_permille : USAGE_NONE;
    uint64_t own = report->is_own ? OWN_BIT : 0;
    uint64_t now = report->at_ms << MOMENT_SHIFT | own | usage;
    uint64_t before = atomic_load_explicit(&cell->heard_at, memory_order_relaxed);
    do {
        if (before >> MOMENT_SHIFT >= report->at_ms) {
            return;
        }
    } while (!atomic_compare_exchange_weak_explicit(&cell->heard_at, &before, now,
                                                    memory_order_relaxed, memory_order_relaxed));
    atomic_store_explicit(&cell->heard_counts, (uint64_t)report->running << 32 | report->waiting,
                          memory_order_relaxed);
    atomic_store_explicit(&cell->heard_tokens, report->used_tokens, memory_order_relaxed);
    atomic_store_explicit(&cell->heard_foreign, report->foreign, memory_order_relaxed);
}

bool gv_load_heard(const struct gv_load_table *table, uint32_t worker,
                   struct gv_load_report *report)
{
    GV_ASSERT(worker < GV_WORKERS_MAX);
    const struct cell *cell = &table->cells[worker];
    uint64_t at = atomic_load_explicit(&cell->heard_at, memory_order_relaxed);
    if (at == 0) {
        return false;
    }
    uint64_t counts = atomic_load_explicit(&cell->heard_counts, memory_order_relaxed);
    uint32_t usage = (uint32_t)(at & USAGE_MASK);
    *report = (struct gv_load_report){
        .at_ms = at >> MOMENT_SHIFT,
        .is_own = (at & OWN_BIT) != 0,
        .running = (uint32_t)(counts >> 32),
        .waiting = (uint32_t)(counts & UINT32_MAX),
        .foreign = atomic_load_explicit(&cell->heard_foreign, memory_order_relaxed),
        .usage_permille = usage == USAGE_NONE ? GV_LOAD_USAGE_UNKNOWN : usage,
        .used_tokens = atomic_load_explicit(&cell->heard_tokens, memory_order_relaxed),
    };
    return true;
}

void gv_load_note_prompt(struct gv_load_table *table, uint32_t worker, uint64_t bytes,
                         uint64_t tokens)
{
    if (bytes == 0 || tokens == 0 || tokens > PROMPT_TOKENS_MAX) {
        return;
    }
    struct cell *cell = cell_at(table, worker);
    atomic_fetch_add_explicit(&cell->prompt_bytes, bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&cell->prompt_tokens, tokens, memory_order_relaxed);
}

void gv_load_note_prefill(struct gv_load_table *table, uint32_t worker, uint64_t bytes, uint64_t us)
{
    if (bytes == 0 || us == 0 || us > PREFILL_US_MAX) {
        return;
    }
    struct cell *cell = cell_at(table, worker);
    atomic_fetch_add_explicit(&cell->prefill_bytes, bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&cell->prefill_us, us, memory_order_relaxed);
}

void gv_load_note_forecast(struct gv_load_table *table, uint32_t worker, uint64_t predicted,
                           uint64_t reported)
{
    if (predicted == 0 || predicted > PROMPT_TOKENS_MAX) {
        return;
    }
    struct cell *cell = cell_at(table, worker);
    reported = reported < predicted ? reported : predicted; /* luck elsewhere excuses nothing */
    atomic_fetch_add_explicit(&cell->forecast_reported, reported, memory_order_relaxed);
    atomic_fetch_add_explicit(&cell->forecast_predicted, predicted, memory_order_relaxed);
    atomic_fetch_add_explicit(&cell->forecast_count, 1, memory_order_relaxed);
}

/* Two sums that belong together: forget the older half of both. */
static void halve(_Atomic uint64_t *a, _Atomic uint64_t *b, uint64_t *a_now, uint64_t *b_now)
{
    atomic_fetch_sub_explicit(a, *a_now / 2, memory_order_relaxed);
    atomic_fetch_sub_explicit(b, *b_now / 2, memory_order_relaxed);
    *a_now -= *a_now / 2;
    *b_now -= *b_now / 2;
}

static uint64_t load_of(const _Atomic uint64_t *value)
{
    return atomic_load_explicit(value, memory_order_relaxed);
}

struct gv_load_prompts gv_load_own_prompts(struct gv_load_table *table, uint32_t worker)
{
    struct cell *cell = cell_at(table, worker);
    struct gv_load_prompts prompts = {
        .bytes = load_of(&cell->prompt_bytes),
        .tokens = load_of(&cell->prompt_tokens),
        .prefill_bytes = load_of(&cell->prefill_bytes),
        .prefill_us = load_of(&cell->prefill_us),
        .forecasts = {.count = load_of(&cell->forecast_count),
                      .predicted = load_of(&cell->forecast_predicted),
                      .reported = load_of(&cell->forecast_reported)},
    };
    if (prompts.tokens > PROMPT_MEMORY) {
        halve(&cell->prompt_bytes, &cell->prompt_tokens, &prompts.bytes, &prompts.tokens);
    }
    if (prompts.prefill_bytes > PREFILL_MEMORY) {
        halve(&cell->prefill_bytes, &cell->prefill_us, &prompts.prefill_bytes, &prompts.prefill_us);
    }
    return prompts;
}

void gv_load_believe(struct gv_load_table *table, uint32_t worker, struct gv_load_belief belief)
{
    GV_ASSERT(belief.trust_permille <= GV_TRUST_FULL);
    struct cell *cell = cell_at(table, worker);
    atomic_store_explicit(&cell->prefill_speed, belief.prefill_bytes_per_ms, memory_order_relaxed);
    atomic_store_explicit(&cell->trust_gap, GV_TRUST_FULL - belief.trust_permille,
                          memory_order_relaxed);
    atomic_store_explicit(&cell->is_uncached, belief.is_uncached, memory_order_relaxed);
}

struct gv_load_belief gv_load_belief(const struct gv_load_table *table, uint32_t worker)
{
    GV_ASSERT(worker < GV_WORKERS_MAX);
    const struct cell *cell = &table->cells[worker];
    double speed = atomic_load_explicit(&cell->prefill_speed, memory_order_relaxed);
    return (struct gv_load_belief){
        .prefill_bytes_per_ms = speed > 0 ? speed : GV_PREFILL_USUAL,
        .trust_permille =
            GV_TRUST_FULL - atomic_load_explicit(&cell->trust_gap, memory_order_relaxed),
        .is_uncached = atomic_load_explicit(&cell->is_uncached, memory_order_relaxed),
    };
}

struct gv_watch *gv_load_watch(struct gv_load_table *table, uint32_t worker)
{
    return &cell_at(table, worker)->watch;
}

bool gv_load_reports(struct gv_load_table *table, uint32_t worker, uint32_t kind, bool has_reported)
{
    GV_ASSERT(kind < 8);
    struct cell *cell = cell_at(table, worker);
    uint8_t bit = (uint8_t)(1u << kind);
    uint8_t known = atomic_load_explicit(&cell->reporting, memory_order_relaxed);
    if (has_reported && (known & bit) == 0) {
        known = atomic_fetch_or_explicit(&cell->reporting, bit, memory_order_relaxed) | bit;
    }
    return (known & bit) != 0;
}

void gv_load_suspect(struct gv_load_table *table, uint32_t worker)
{
    atomic_store_explicit(&cell_at(table, worker)->is_suspect, true, memory_order_relaxed);
}

bool gv_load_take_suspicion(struct gv_load_table *table, uint32_t worker)
{
    struct cell *cell = cell_at(table, worker);
    return atomic_load_explicit(&cell->is_suspect, memory_order_relaxed) &&
           atomic_exchange_explicit(&cell->is_suspect, false, memory_order_relaxed);
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

uint64_t gv_load_own_total(const struct gv_load_table *table)
{
    return atomic_load_explicit(&table->own_total, memory_order_relaxed);
}
