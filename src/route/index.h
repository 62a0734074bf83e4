/*
 * index.h - from a fingerprint to the run that holds it: open addressing, four bytes an entry.
 *
 * A slot holds a run's number (24 bits) and 8 bits of the fingerprint, so that a wrong candidate is
 * looked at once in 254. Sixteen slots are a bucket, one line of the cache, whose tags are compared
 * all at once; what does not fit goes to the next one, so that a question reads one line, seldom
 * two, however full the table is. Where in the run the fingerprint stands follows from its depth,
 * which every caller knows; hence a run may move and grow without a word to the index. What the
 * index says is a hint: the run itself tells whether it is true.
 *
 * Growing, shrinking and clearing out of tombstones are one thing: a second table is filled run by
 * run, a few with each write, so that no writer ever stalls behind a rebuild. While that goes on
 * nothing is taken out of the old table, so that readers, who take no lock, find what was there.
 * Private to route; the trie's lock guards the writing.
 */
#ifndef GV_ROUTE_INDEX_H
#define GV_ROUTE_INDEX_H

#include "grapevine/base/err.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

struct gv_mem_budget;
struct gv_limbo;

#define GV_INDEX_RUNS_MAX ((1u << 24) - 2) /* numbers that a slot can hold */
#define GV_INDEX_NONE     UINT32_MAX

#define GV_INDEX_SLOTS 16u /* in a bucket */
#define GV_INDEX_SEATS 32u /* entries of which the memory is asked at once, before they are put */

/* A bucket that has an empty slot was never full, so nothing was ever put beyond it. */
struct gv_index_bucket {
    _Atomic uint64_t tags[GV_INDEX_SLOTS / 8]; /* a byte a slot; 0 is empty, 1 a tombstone */
    _Atomic uint16_t run_low[GV_INDEX_SLOTS];
    _Atomic uint8_t run_high[GV_INDEX_SLOTS];
};
_Static_assert(sizeof(struct gv_index_bucket) == 64, "a bucket is a line of the cache");

/* Itself the first line of its memory; never changes once it is published. */
struct gv_index_table {
    struct gv_index_bucket *buckets; /* the lines after this */
    uint64_t bucket_count;
    void *memory; /* owned */
    size_t bytes;
};

/* Both tables, as they were at one moment. */
struct gv_index_view {
    const struct gv_index_table *tables[2]; /* NULL: none */
};

/* Walk over candidates. */
struct gv_index_probe {
    const struct gv_index_view *view;
    const struct gv_index_bucket *bucket; /* NULL: begin with `table` */
    uint64_t fingerprint;
    uint32_t hits;  /* slots of the bucket that are still to be told, a bit each */
    uint32_t table; /* 0: current, 1: the one being emptied, 2: end */
};

struct gv_index {
    struct gv_index_table *_Atomic tables[2]; /* owned; current; the one being emptied, if any */
    uint8_t apart[112];                       /* readers do not share a line with what follows */
    struct gv_mem_budget *budget;             /* borrowed */
    struct gv_limbo *limbo;                   /* borrowed */
    uint64_t used;                            /* slots of the current that are not empty */
    uint64_t count;                           /* entries in it */
    uint64_t waiting;                         /* of those, still only in the one being emptied */
    uint32_t moved_runs;                      /* while rebuilding: runs below are in the current */
    bool is_odd;                              /* changes with every rebuild */
};

void gv_index_init(struct gv_index *index, struct gv_mem_budget *budget, struct gv_limbo *limbo);
void gv_index_deinit(struct gv_index *index);

static inline struct gv_index_view gv_index_look(const struct gv_index *index)
{
    /* In this order: when the second is gone, everything had been moved to the first. */
    const struct gv_index_table *current =
        atomic_load_explicit(&index->tables[0], memory_order_acquire);
    return (struct gv_index_view){
        {current, atomic_load_explicit(&index->tables[1], memory_order_acquire)}};
}

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
    uint64_t low = atomic_load_explicit(&bucket->tags[0], memory_order_acquire);
    uint64_t high = atomic_load_explicit(&bucket->tags[1], memory_order_acquire);
#ifdef __SSE2__
    __m128i tags = _mm_set_epi64x((long long)high, (long long)low);
    return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(tags, _mm_set1_epi8((char)tag)));
#else
    return gv_index_equal(low, tag) | gv_index_equal(high, tag) << 8;
#endif
}

/* 2 to 255: 0 and 1 say something else. */
static inline uint64_t gv_index_tag(uint64_t fingerprint)
{
    uint64_t tag = fingerprint & 0xFF;
    return tag > 1 ? tag : tag + 2;
}

__extension__ typedef unsigned __int128 gv_wide;

static inline struct gv_index_bucket *gv_index_home(const struct gv_index_table *table,
                                                    uint64_t fingerprint)
{
    uint64_t mixed = fingerprint * UINT64_C(0x9E3779B97F4A7C15);
    return &table->buckets[(uint64_t)(((gv_wide)mixed * table->bucket_count) >> 64)];
}

static inline struct gv_index_bucket *gv_index_after(const struct gv_index_table *table,
                                                     const struct gv_index_bucket *bucket)
{
    uint64_t at = (uint64_t)(bucket - table->buckets) + 1;
    return &table->buckets[at < table->bucket_count ? at : 0];
}

static inline uint32_t gv_index_run(const struct gv_index_bucket *bucket, uint32_t slot)
{
    return atomic_load_explicit(&bucket->run_low[slot], memory_order_relaxed) |
           (uint32_t)atomic_load_explicit(&bucket->run_high[slot], memory_order_relaxed) << 16;
}

/* The runs that may hold `fingerprint`, one after the other; GV_INDEX_NONE at the end. A number may
 * be of no run at all, when a writer is at work. */
static inline struct gv_index_probe gv_index_find(const struct gv_index_view *view,
                                                  uint64_t fingerprint)
{
    return (struct gv_index_probe){.view = view, .fingerprint = fingerprint};
}

static inline uint32_t gv_index_next(struct gv_index_probe *probe)
{
    uint64_t tag = gv_index_tag(probe->fingerprint);
    for (; probe->table < 2; probe->table++, probe->bucket = NULL) {
        const struct gv_index_table *table = probe->view->tables[probe->table];
        while (table != NULL) {
            if (probe->hits != 0) {
                uint32_t slot = (uint32_t)__builtin_ctz(probe->hits);
                probe->hits &= probe->hits - 1;
                return gv_index_run(probe->bucket, slot);
            }
            if (probe->bucket == NULL) {
                probe->bucket = gv_index_home(table, probe->fingerprint);
            } else if (gv_index_slots(probe->bucket, 0) != 0) {
                break;
            } else {
                probe->bucket = gv_index_after(table, probe->bucket);
            }
            probe->hits = gv_index_slots(probe->bucket, tag);
        }
    }
    return GV_INDEX_NONE;
}

/* Ask the memory for what gv_index_find() will read. */
static inline void gv_index_prefetch(const struct gv_index_view *view, uint64_t fingerprint)
{
    for (uint32_t i = 0; i < 2; i++) {
        if (view->tables[i] != NULL) {
            __builtin_prefetch(gv_index_home(view->tables[i], fingerprint));
        }
    }
}

/* Ask the memory for what gv_index_add() will write. */
static inline void gv_index_prefetch_add(const struct gv_index *index, uint64_t fingerprint)
{
    const struct gv_index_table *table =
        atomic_load_explicit(&index->tables[0], memory_order_relaxed);
    if (table != NULL) {
        __builtin_prefetch(gv_index_home(table, fingerprint), 1);
    }
}

/* An entry on its way into the current table, where the memory has been asked for its bucket. */
struct gv_index_seat {
    struct gv_index_bucket *home;
    uint32_t run;
    uint32_t tag;
};

/* Room was reserved. A seat is as good as the current table. */
static inline struct gv_index_seat gv_index_seat(const struct gv_index *index, uint64_t fingerprint,
                                                 uint32_t run)
{
    const struct gv_index_table *table =
        atomic_load_explicit(&index->tables[0], memory_order_relaxed);
    struct gv_index_bucket *home = gv_index_home(table, fingerprint);
    __builtin_prefetch(home, 1);
    return (struct gv_index_seat){
        .home = home, .run = run, .tag = (uint32_t)gv_index_tag(fingerprint)};
}

/* Room for `more` entries; may begin a rebuild. Errors: GV_EFULL no budget; GV_EAGAIN one is under
 * way and must be finished first. */
GV_MUST_USE enum gv_err gv_index_reserve(struct gv_index *index, uint64_t more);

/* Add one that is not in it. */
void gv_index_add(struct gv_index *index, struct gv_index_seat seat);
/* Take out one that was added to, or moved to, the current table. */
void gv_index_remove(struct gv_index *index, uint64_t fingerprint, uint32_t run);

/* Is a rebuild under way? Then the caller moves runs, in order. */
bool gv_index_is_moving(const struct gv_index *index);
/* Re-add to the current table without counting it again. */
void gv_index_move(struct gv_index *index, struct gv_index_seat seat);
/* All runs have been moved: drop the old table. */
void gv_index_moved(struct gv_index *index);

/* When far too large, or full of tombstones: begin a rebuild that fits. Never an error. */
void gv_index_fit(struct gv_index *index);

uint64_t gv_index_bytes(const struct gv_index *index);

#endif
