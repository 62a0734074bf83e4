/*
 * index.h - from a fingerprint to the run that holds it: open addressing, four bytes a block.
 *
 * A slot holds a run's number (24 bits) and 8 bits of the fingerprint, so that a wrong candidate is
 * looked at once in 254. Sixteen slots are a bucket, one line of the cache, whose tags are compared
 * all at once; what does not fit goes to the next one, so that a question reads one line, seldom
 * two, however full the table is. Where in the run the fingerprint stands follows from its depth,
 * which every caller knows; hence a run may move and grow without a word to the index. Growing,
 * shrinking and clearing out of tombstones are one thing: a second table is filled run by run, a
 * few with each write, so that no writer ever stalls behind a rebuild. Private to route; the trie's
 * lock guards it.
 */
#ifndef GV_ROUTE_INDEX_H
#define GV_ROUTE_INDEX_H

#include "grapevine/base/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

struct gv_mem_budget;

#define GV_INDEX_RUNS_MAX ((1u << 24) - 2) /* numbers that a slot can hold */
#define GV_INDEX_NONE     UINT32_MAX

#define GV_INDEX_SLOTS 16u /* in a bucket */

/* A bucket that has an empty slot was never full, so nothing was ever put beyond it. */
struct gv_index_bucket {
    uint64_t tags[GV_INDEX_SLOTS / 8]; /* a byte a slot; 0 is empty, 1 a tombstone */
    uint16_t run_low[GV_INDEX_SLOTS];
    uint8_t run_high[GV_INDEX_SLOTS];
};
_Static_assert(sizeof(struct gv_index_bucket) == 64, "a bucket is a line of the cache");

struct gv_index_table {
    struct gv_index_bucket *buckets; /* within `memory`, aligned; NULL: no table */
    void *memory;                    /* owned */
    uint64_t bucket_count;
    uint64_t used; /* slots that are not empty, tombstones among them */
};

/* Walk over candidates. */
struct gv_index_probe {
    uint64_t fingerprint;
    uint64_t at;    /* bucket */
    uint32_t hits;  /* slots of it that are still to be told, a bit each */
    uint32_t table; /* 0: current, 1: the one being emptied, 2: end */
    bool started;
};

struct gv_index {
    struct gv_mem_budget *budget;    /* borrowed */
    struct gv_index_table tables[2]; /* current; the one being emptied, if any */
    uint64_t count;                  /* fingerprints in it */
    uint64_t waiting;                /* of those, still only in the one being emptied */
    uint32_t moved_runs;             /* while rebuilding: runs below are in the current table */
};

void gv_index_init(struct gv_index *index, struct gv_mem_budget *budget);
void gv_index_deinit(struct gv_index *index);

#ifndef __SSE2__
/* Those of the eight bytes of `word` that equal `byte`, a bit each. */
static inline uint32_t gv_index_equal(uint64_t word, uint64_t byte)
{
    const uint64_t low = UINT64_C(0x7F7F7F7F7F7F7F7F);
    uint64_t differs = word ^ byte * UINT64_C(0x0101010101010101);
    uint64_t equal = ~(((differs & low) + low) | differs | low);
    /* The product brings the upper bits of all bytes next to each other. */
    return (uint32_t)(((equal >> 7) * UINT64_C(0x0102040810204080)) >> 56);
}
#endif

/* The slots of a bucket whose tag is `tag`, a bit each. */
static inline uint32_t gv_index_slots(const struct gv_index_bucket *bucket, uint64_t tag)
{
#ifdef __SSE2__
    __m128i tags = _mm_loadu_si128((const __m128i *)(const void *)bucket->tags);
    return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(tags, _mm_set1_epi8((char)tag)));
#else
    return gv_index_equal(bucket->tags[0], tag) | gv_index_equal(bucket->tags[1], tag) << 8;
#endif
}

/* 2 to 255: 0 and 1 say something else. */
static inline uint64_t gv_index_tag(uint64_t fingerprint)
{
    uint64_t tag = fingerprint & 0xFF;
    return tag > 1 ? tag : tag + 2;
}

__extension__ typedef unsigned __int128 gv_wide;

static inline uint64_t gv_index_home(const struct gv_index_table *table, uint64_t fingerprint)
{
    uint64_t mixed = fingerprint * UINT64_C(0x9E3779B97F4A7C15);
    return (uint64_t)(((gv_wide)mixed * table->bucket_count) >> 64);
}

static inline uint64_t gv_index_after(const struct gv_index_table *table, uint64_t at)
{
    return at + 1 < table->bucket_count ? at + 1 : 0;
}

/* The runs that may hold `fingerprint`, one after the other; GV_INDEX_NONE at the end. */
static inline struct gv_index_probe gv_index_find(uint64_t fingerprint)
{
    return (struct gv_index_probe){.fingerprint = fingerprint};
}

static inline uint32_t gv_index_next(const struct gv_index *index, struct gv_index_probe *probe)
{
    uint64_t tag = gv_index_tag(probe->fingerprint);
    for (; probe->table < 2; probe->table++, probe->started = false) {
        const struct gv_index_table *table = &index->tables[probe->table];
        while (table->buckets != NULL) {
            const struct gv_index_bucket *bucket = &table->buckets[probe->at];
            if (probe->hits != 0) {
                uint32_t slot = (uint32_t)__builtin_ctz(probe->hits);
                probe->hits &= probe->hits - 1;
                return bucket->run_low[slot] | (uint32_t)bucket->run_high[slot] << 16;
            }
            if (!probe->started) {
                probe->at = gv_index_home(table, probe->fingerprint);
                probe->started = true;
            } else if (gv_index_slots(bucket, 0) != 0) {
                break;
            } else {
                probe->at = gv_index_after(table, probe->at);
            }
            bucket = &table->buckets[probe->at];
            probe->hits = gv_index_slots(&table->buckets[probe->at], tag);
        }
    }
    return GV_INDEX_NONE;
}

/* Ask the memory for what gv_index_find() will read. */
static inline void gv_index_prefetch(const struct gv_index *index, uint64_t fingerprint)
{
    for (uint32_t i = 0; i < 2; i++) {
        const struct gv_index_table *table = &index->tables[i];
        if (table->buckets != NULL) {
            __builtin_prefetch(&table->buckets[gv_index_home(table, fingerprint)], 1);
        }
    }
}

/* Room for `more` fingerprints; may begin a rebuild. Errors: GV_EFULL no budget; GV_EAGAIN one is
 * under way and must be finished first. */
GV_MUST_USE enum gv_err gv_index_reserve(struct gv_index *index, uint64_t more);

/* Add one that is not in it; room was reserved. */
void gv_index_add(struct gv_index *index, uint64_t fingerprint, uint32_t run);
/* Take out one that is in it: from the table being emptied when it has not been moved yet. */
void gv_index_remove(struct gv_index *index, uint64_t fingerprint, uint32_t run, bool is_waiting);

/* Is a rebuild under way? Then the caller moves runs, in order. */
bool gv_index_is_moving(const struct gv_index *index);
/* Re-add to the current table without counting it again. */
void gv_index_move(struct gv_index *index, uint64_t fingerprint, uint32_t run);
/* All runs have been moved: drop the old table. */
void gv_index_moved(struct gv_index *index);

/* Empty the current table in place, to be filled by gv_index_move() with everything at once: for
 * when there is no memory for two. Not while moving. */
void gv_index_empty(struct gv_index *index);

/* When far too large, or full of tombstones: begin a rebuild that fits. Never an error. */
void gv_index_fit(struct gv_index *index);

uint64_t gv_index_bytes(const struct gv_index *index);

#endif
