/*
 * index.c - open addressing from fingerprint to run number; grows by moving a little at a time.
 */
#include "route/index.h"

#include "grapevine/base/assert.h"
#include "route/cells.h"
#include "route/grace.h"
#include <string.h>

#define BUCKETS_MIN 4u
#define EMPTY       0u
#define TOMBSTONE   1u
/* Fullest: 29 of 32 slots. Even then three buckets of four have room for what belongs there. */
#define FULL(buckets) ((buckets)*GV_INDEX_SLOTS / 32 * 29)

static struct gv_index_table *table_at(const struct gv_index *index, uint32_t which)
{
    return atomic_load_explicit(&index->tables[which], memory_order_relaxed);
}

static void set_tag(struct gv_index_bucket *bucket, uint32_t slot, uint64_t tag)
{
    uint32_t shift = slot % 8 * 8;
    uint64_t word = atomic_load_explicit(&bucket->tags[slot / 8], memory_order_relaxed);
    word = (word & ~(UINT64_C(0xFF) << shift)) | tag << shift;
    atomic_store_explicit(&bucket->tags[slot / 8], word, memory_order_release);
}

void gv_index_init(struct gv_index *index, struct gv_mem_budget *budget, struct gv_limbo *limbo)
{
    memset(index, 0, sizeof *index);
    index->budget = budget;
    index->limbo = limbo;
}

void gv_index_deinit(struct gv_index *index)
{
    for (uint32_t i = 0; i < 2; i++) {
        struct gv_index_table *table = table_at(index, i);
        if (table != NULL) {
            gv_mem_budget_free(index->budget, table->memory, table->bytes);
        }
    }
}

static void place(struct gv_index *index, struct gv_index_seat seat)
{
    GV_ASSERT(seat.run < GV_INDEX_RUNS_MAX);
    const struct gv_index_table *table = table_at(index, 0);
    struct gv_index_bucket *bucket = seat.home;
    uint32_t slots;
    while ((slots = gv_index_slots(bucket, EMPTY)) == 0) {
        slots = gv_index_slots(bucket, TOMBSTONE);
        if (slots != 0) {
            index->used -= 1; /* it counted already */
            break;
        }
        bucket = gv_index_after(table, bucket);
    }
    uint32_t slot = (uint32_t)__builtin_ctz(slots);
    index->used += 1;
    GV_ASSERT(index->used < table->bucket_count * GV_INDEX_SLOTS); /* where a probe ends */
    atomic_store_explicit(&bucket->run_low[slot], (uint16_t)seat.run, memory_order_relaxed);
    atomic_store_explicit(&bucket->run_high[slot], (uint8_t)(seat.run >> 16), memory_order_relaxed);
    set_tag(bucket, slot, seat.tag);
}

static uint64_t buckets_of(const struct gv_index *index)
{
    const struct gv_index_table *current = table_at(index, 0);
    return current != NULL ? current->bucket_count : 0;
}

/* Begin to move into a table of `bucket_count`. */
static enum gv_err rebuild(struct gv_index *index, uint64_t bucket_count)
{
    GV_ASSERT(!gv_index_is_moving(index));
    const uintptr_t line = sizeof(struct gv_index_bucket);
    size_t bytes = (size_t)(bucket_count + 2) * line; /* one is the table, one to align with */
    void *memory = gv_mem_budget_new(index->budget, bytes);
    if (memory == NULL) {
        return GV_EFULL;
    }
    _Static_assert(sizeof(struct gv_index_table) <= sizeof(struct gv_index_bucket), "a line");
    uintptr_t first = ((uintptr_t)memory + line - 1) & ~(line - 1);
    struct gv_index_table *made = (struct gv_index_table *)first;
    *made = (struct gv_index_table){.buckets = (struct gv_index_bucket *)(first + line),
                                    .bucket_count = bucket_count,
                                    .memory = memory,
                                    .bytes = bytes};
    /* In this order: a reader sees the old one, both, or at worst the old one twice. */
    atomic_store_explicit(&index->tables[1], table_at(index, 0), memory_order_release);
    atomic_store_explicit(&index->tables[0], made, memory_order_release);
    index->waiting = index->count;
    index->used = 0;
    index->moved_runs = 0;
    index->is_odd = !index->is_odd;
    return GV_OK;
}

/* Buckets so that `count` fill 60 %: with growth at 90 % the mean is near 74 %, and each entry is
 * moved two or three times in its life. */
static uint64_t buckets_for(uint64_t count)
{
    uint64_t buckets = (count + count * 2 / 3 + GV_INDEX_SLOTS - 1) / GV_INDEX_SLOTS;
    return buckets > BUCKETS_MIN ? buckets : BUCKETS_MIN;
}

enum gv_err gv_index_reserve(struct gv_index *index, uint64_t more)
{
    if (index->used + index->waiting + more <= FULL(buckets_of(index))) {
        return GV_OK;
    }
    if (gv_index_is_moving(index)) {
        return GV_EAGAIN; /* finish moving first */
    }
    return rebuild(index, buckets_for(index->count + more));
}

void gv_index_add(struct gv_index *index, struct gv_index_seat seat)
{
    place(index, seat);
    index->count += 1;
}

/* The slot with both, or GV_INDEX_SLOTS. */
static uint32_t slot_of(const struct gv_index_bucket *bucket, uint64_t tag, uint32_t run)
{
    for (uint32_t slots = gv_index_slots(bucket, tag); slots != 0; slots &= slots - 1) {
        uint32_t slot = (uint32_t)__builtin_ctz(slots);
        if (gv_index_run(bucket, slot) == run) {
            return slot;
        }
    }
    return GV_INDEX_SLOTS;
}

void gv_index_remove(struct gv_index *index, uint64_t fingerprint, uint32_t run)
{
    const struct gv_index_table *table = table_at(index, 0);
    struct gv_index_bucket *bucket = gv_index_home(table, fingerprint);
    uint32_t slot;
    /* Two blocks of one run may share a slot's whole value; either slot then serves for the other,
     * since no bucket with an empty slot lies between them. */
    for (;; bucket = gv_index_after(table, bucket)) {
        slot = slot_of(bucket, gv_index_tag(fingerprint), run);
        if (slot < GV_INDEX_SLOTS) {
            break;
        }
        GV_ASSERT(gv_index_slots(bucket, EMPTY) == 0);
    }
    bool was_full = gv_index_slots(bucket, EMPTY) == 0;
    set_tag(bucket, slot, was_full ? TOMBSTONE : EMPTY);
    index->used -= was_full ? 0 : 1;
    GV_ASSERT(index->count > 0);
    index->count -= 1;
}

bool gv_index_is_moving(const struct gv_index *index)
{
    return table_at(index, 1) != NULL;
}

void gv_index_move(struct gv_index *index, struct gv_index_seat seat)
{
    place(index, seat);
    GV_ASSERT(index->waiting > 0);
    index->waiting -= 1;
}

void gv_index_moved(struct gv_index *index)
{
    GV_ASSERT(index->waiting == 0);
    struct gv_index_table *old = table_at(index, 1);
    atomic_store_explicit(&index->tables[1], NULL, memory_order_release);
    gv_limbo_put(index->limbo, old->memory, old->bytes);
}

void gv_index_fit(struct gv_index *index)
{
    uint64_t buckets = buckets_of(index);
    if (gv_index_is_moving(index) || buckets <= BUCKETS_MIN) {
        return;
    }
    uint64_t fitting = buckets_for(index->count);
    uint64_t tombstones = index->used - index->count;
    if (fitting < buckets / 2 || tombstones > buckets * GV_INDEX_SLOTS / 4) {
        if (rebuild(index, fitting) != GV_OK) {
            return; /* no room for two tables now: the next slice tries again */
        }
    }
}

uint64_t gv_index_bytes(const struct gv_index *index)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < 2; i++) {
        bytes += table_at(index, i) != NULL ? table_at(index, i)->bytes : 0;
    }
    return bytes;
}
