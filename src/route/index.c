/*
 * index.c - open addressing from fingerprint to run number; grows by moving a little at a time.
 */
#include "route/index.h"

#include "grapevine/base/assert.h"
#include "route/cells.h"
#include <string.h>

#define BUCKETS_MIN 4u
#define EMPTY       0u
#define TOMBSTONE   1u
/* Fullest: 29 of 32 slots. Even then three buckets of four have room for what belongs there. */
#define FULL(buckets) ((buckets)*GV_INDEX_SLOTS / 32 * 29)

static size_t table_bytes(uint64_t bucket_count)
{
    return (size_t)(bucket_count + 1) * sizeof(struct gv_index_bucket); /* one to align with */
}

static void set_tag(struct gv_index_bucket *bucket, uint32_t slot, uint64_t tag)
{
    uint32_t shift = slot % 8 * 8;
    uint64_t *word = &bucket->tags[slot / 8];
    *word = (*word & ~(UINT64_C(0xFF) << shift)) | tag << shift;
}

void gv_index_init(struct gv_index *index, struct gv_mem_budget *budget)
{
    *index = (struct gv_index){.budget = budget};
}

static void drop(struct gv_index *index, struct gv_index_table *table)
{
    gv_mem_budget_free(index->budget, table->memory, table_bytes(table->bucket_count));
    *table = (struct gv_index_table){0};
}

void gv_index_deinit(struct gv_index *index)
{
    drop(index, &index->tables[0]);
    drop(index, &index->tables[1]);
}

static void place(struct gv_index_table *table, uint64_t fingerprint, uint32_t run)
{
    GV_ASSERT(run < GV_INDEX_RUNS_MAX);
    struct gv_index_bucket *bucket = &table->buckets[gv_index_home(table, fingerprint)];
    uint32_t slot;
    for (;;) {
        uint32_t slots = gv_index_slots(bucket, EMPTY);
        if (slots != 0) {
            slot = (uint32_t)__builtin_ctz(slots);
            table->used += 1;
            GV_ASSERT(table->used < table->bucket_count * GV_INDEX_SLOTS); /* where a probe ends */
            break;
        }
        slots = gv_index_slots(bucket, TOMBSTONE);
        if (slots != 0) {
            slot = (uint32_t)__builtin_ctz(slots);
            break;
        }
        uint64_t at = gv_index_after(table, (uint64_t)(bucket - table->buckets));
        bucket = &table->buckets[at];
    }
    set_tag(bucket, slot, gv_index_tag(fingerprint));
    bucket->run_low[slot] = (uint16_t)run;
    bucket->run_high[slot] = (uint8_t)(run >> 16);
}

/* Begin to move into a table of `bucket_count`. */
static enum gv_err rebuild(struct gv_index *index, uint64_t bucket_count)
{
    GV_ASSERT(index->tables[1].buckets == NULL);
    struct gv_index_table made = {.bucket_count = bucket_count};
    made.memory = gv_mem_budget_new(index->budget, table_bytes(bucket_count));
    if (made.memory == NULL) {
        return GV_EFULL;
    }
    const uintptr_t line = sizeof(struct gv_index_bucket);
    made.buckets = (struct gv_index_bucket *)(((uintptr_t)made.memory + line - 1) & ~(line - 1));
    index->tables[1] = index->tables[0];
    index->tables[0] = made;
    index->waiting = index->count;
    index->moved_runs = 0;
    return GV_OK;
}

/* Buckets so that `count` fill 60 %: with growth at 90 % the mean is near 74 %, and each
 * fingerprint is moved two or three times in its life. */
static uint64_t buckets_for(uint64_t count)
{
    uint64_t buckets = (count + count * 2 / 3 + GV_INDEX_SLOTS - 1) / GV_INDEX_SLOTS;
    return buckets > BUCKETS_MIN ? buckets : BUCKETS_MIN;
}

enum gv_err gv_index_reserve(struct gv_index *index, uint64_t more)
{
    const struct gv_index_table *current = &index->tables[0];
    uint64_t need = current->used + index->waiting + more;
    if (need <= FULL(current->bucket_count)) {
        return GV_OK;
    }
    if (gv_index_is_moving(index)) {
        return GV_EAGAIN; /* finish moving first */
    }
    return rebuild(index, buckets_for(index->count + more));
}

void gv_index_add(struct gv_index *index, uint64_t fingerprint, uint32_t run)
{
    place(&index->tables[0], fingerprint, run);
    index->count += 1;
}

/* The slot with both, or GV_INDEX_SLOTS. */
static uint32_t slot_of(const struct gv_index_bucket *bucket, uint64_t tag, uint32_t run)
{
    for (uint32_t slots = gv_index_slots(bucket, tag); slots != 0; slots &= slots - 1) {
        uint32_t slot = (uint32_t)__builtin_ctz(slots);
        if ((bucket->run_low[slot] | (uint32_t)bucket->run_high[slot] << 16) == run) {
            return slot;
        }
    }
    return GV_INDEX_SLOTS;
}

void gv_index_remove(struct gv_index *index, uint64_t fingerprint, uint32_t run, bool is_waiting)
{
    struct gv_index_table *table = &index->tables[is_waiting ? 1 : 0];
    uint64_t at = gv_index_home(table, fingerprint);
    struct gv_index_bucket *bucket;
    uint32_t slot;
    /* Two blocks of one run may share a slot's whole value; either slot then serves for the other,
     * since no bucket with an empty slot lies between them. */
    for (;; at = gv_index_after(table, at)) {
        bucket = &table->buckets[at];
        slot = slot_of(bucket, gv_index_tag(fingerprint), run);
        if (slot < GV_INDEX_SLOTS) {
            break;
        }
        GV_ASSERT(gv_index_slots(bucket, EMPTY) == 0);
    }
    bool was_full = gv_index_slots(bucket, EMPTY) == 0;
    set_tag(bucket, slot, was_full ? TOMBSTONE : EMPTY);
    table->used -= was_full ? 0 : 1;
    GV_ASSERT(index->count > 0);
    index->count -= 1;
    if (is_waiting) {
        GV_ASSERT(index->waiting > 0);
        index->waiting -= 1;
    }
}

bool gv_index_is_moving(const struct gv_index *index)
{
    return index->tables[1].buckets != NULL;
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
    memset(current->buckets, 0, current->bucket_count * sizeof *current->buckets);
    current->used = 0;
    index->waiting = index->count;
}

void gv_index_fit(struct gv_index *index)
{
    const struct gv_index_table *current = &index->tables[0];
    if (gv_index_is_moving(index) || current->bucket_count <= BUCKETS_MIN) {
        return;
    }
    uint64_t fitting = buckets_for(index->count);
    uint64_t tombstones = current->used - index->count;
    if (fitting < current->bucket_count / 2 ||
        tombstones > current->bucket_count * GV_INDEX_SLOTS / 4) {
        if (rebuild(index, fitting) != GV_OK) {
            return; /* no room for two tables now: the next slice tries again */
        }
    }
}

uint64_t gv_index_bytes(const struct gv_index *index)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < 2; i++) {
        const struct gv_index_table *table = &index->tables[i];
        bytes += table->buckets != NULL ? table_bytes(table->bucket_count) : 0;
    }
    return bytes;
}
