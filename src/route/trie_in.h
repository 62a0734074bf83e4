/*
 * trie_in.h - the inside of a trie: runs, the spans on them, and where they hang.
 *
 * Written by run.c (runs come, grow and go), body.c (their memory), span.c (who holds how much of a
 * run), trie.c (what an operation does) and sweep.c (what dies); read by trie_read.c (without a
 * lock, see grace.h), trie_walk.c and trie_part.c (under the trie's lock).
 *
 * A run is one array: a header of three words, then its fingerprints, or (body.c) pieces of them.
 * Fingerprints below `count` never change; to cut a run, or to grow it beyond its room, is to
 * publish another array in the table of runs. The index names only the first block of each run, and
 * every block whose depth is that of an anchor (GV_ANCHOR_BLOCKS): whatever an operation names is
 * one of them, or follows one within a few blocks. A run stays as long as another hangs on it, so
 * that what a run follows is a place and needs no looking up.
 */
#ifndef GV_ROUTE_TRIE_IN_H
#define GV_ROUTE_TRIE_IN_H

#include "grapevine/base/assert.h"
#include "grapevine/route/forest.h"
#include "grapevine/route/trie.h"
#include "route/cells.h"
#include "route/grace.h"
#include "route/index.h"
#include <stdatomic.h>
#include <xxhash.h>

#define GV_PIECE_BLOCKS 127u /* of a long run; with nothing else in it, the largest array */
#define GV_RUN_MAX      (56u * GV_PIECE_BLOCKS) /* blocks; a longer path goes on in a child run */
#define GV_RUN_NONE     ((1u << 24) - 1)
#define GV_RUNS_IN_PAGE 512u

_Static_assert(GV_INDEX_RUNS_MAX <= GV_RUN_NONE, "no run has the number of none");
_Static_assert((GV_ANCHOR_BLOCKS & (GV_ANCHOR_BLOCKS - 1)) == 0, "a power of two");

struct gv_run {
    _Atomic uint64_t spans; /* 0: none; odd: the only one; even: owned, to a gv_spans */
    uint16_t depth;         /* of the first block */
    _Atomic uint16_t count; /* blocks, and GV_RUN_LONG; only grows in one array */
    uint16_t room;
    uint16_t child_upto;         /* no run hangs after more than so many of these blocks */
    uint64_t parent : 24;        /* GV_RUN_NONE: depth 0, or not known yet (an orphan) */
    uint64_t parent_offset : 14; /* the block of the parent that the first block follows */
    uint64_t child_count : 25;
    uint64_t is_odd : 1; /* as the index's: it has been moved to the current table */
    uint64_t words[];    /* the blocks; of a long run the first block, then its owned pieces */
};
#define GV_RUN_WORDS 3u
#define GV_RUN_LONG  0x8000u
#define GV_SHORT_MAX (64u - GV_RUN_WORDS) /* blocks of a run in one array */
_Static_assert(sizeof(struct gv_run) == GV_RUN_WORDS * sizeof(uint64_t), "a header of three words");
_Static_assert(GV_RUN_MAX < 1u << 14, "an offset fits");
_Static_assert(GV_PIECE_BLOCKS <= GV_CELL_WORDS_MAX, "a piece is of the cells");
_Static_assert(GV_RUN_WORDS + 1 + GV_RUN_MAX / GV_PIECE_BLOCKS <= 64, "so is a long run's header");
_Static_assert(GV_FINGERPRINTS_MAX <= UINT16_MAX + 1, "a depth fits");

/* `worker` holds the blocks up to (not including) `upto` with at least `stamp`. */
struct gv_span {
    uint32_t worker;
    uint32_t upto; /* 1..GV_RUN_MAX */
    uint32_t stamp;
};
_Static_assert(GV_WORKERS_MAX <= 1 << 15, "a worker fits a packed span");

/* By worker, then upto; stamps fall strictly with depth. A span may be replaced in its place, else
 * the whole array is. */
struct gv_spans {
    uint32_t count;
    uint32_t room;
    _Atomic uint64_t packed[];
};

/* What a reader sees of either kind. */
struct gv_span_list {
    const _Atomic uint64_t *packed; /* NULL: `one` */
    uint64_t one;
    uint32_t count;
};

struct gv_run_page {
    _Atomic uintptr_t runs[GV_RUNS_IN_PAGE]; /* even: owned, a gv_run; odd: the next free number */
};

struct gv_run_table {
    uint32_t room;                       /* pages */
    struct gv_run_page *_Atomic pages[]; /* owned; NULL: not yet */
};

struct gv_trie {
    /* Read by everybody, seldom written. */
    struct gv_run_table *_Atomic table; /* owned */
    struct gv_floors floors;
    struct gv_index index;
    /* Written with every change: apart from the above by the second half of the index. */
    struct gv_limbo limbo;
    struct gv_cells cells;
    struct gv_mem_budget *budget; /* borrowed */
    _Atomic uint64_t version;     /* odd while somebody writes */
    uint32_t page_count;
    uint32_t free_run;  /* GV_RUN_NONE: none */
    uint32_t run_count; /* in use */
    uint32_t orphan_count;
    uint32_t sweep_left; /* runs that this round of sweeping has still to look at */
    uint64_t block_count;
    uint64_t key_hash;
    char key[GV_KEY_MAX];
};

struct gv_place {
    uint32_t run; /* GV_RUN_NONE: nowhere */
    uint32_t offset;
};

/* ---- reading ---- */

/* NULL: there is no such run. */
static inline struct gv_run *gv_trie_run(const struct gv_trie *trie, uint32_t number)
{
    const struct gv_run_table *table = atomic_load_explicit(&trie->table, memory_order_acquire);
    if (table == NULL || number / GV_RUNS_IN_PAGE >= table->room) {
        return NULL;
    }
    const struct gv_run_page *page =
        atomic_load_explicit(&table->pages[number / GV_RUNS_IN_PAGE], memory_order_acquire);
    if (page == NULL) {
        return NULL;
    }
    uintptr_t run =
        atomic_load_explicit(&page->runs[number % GV_RUNS_IN_PAGE], memory_order_acquire);
    return (run & 1) != 0 ? NULL : (struct gv_run *)run;
}

/* The run of a number that is known to be one's: for writers. */
static inline struct gv_run *gv_trie_known(const struct gv_trie *trie, uint32_t number)
{
    struct gv_run *run = gv_trie_run(trie, number);
    GV_ASSERT(run != NULL);
    return run;
}

static inline uint32_t gv_trie_run_room(const struct gv_trie *trie)
{
    return trie->page_count * GV_RUNS_IN_PAGE;
}

static inline uint32_t gv_run_count(const struct gv_run *run)
{
    return atomic_load_explicit(&run->count, memory_order_acquire) & ~GV_RUN_LONG;
}

static inline bool gv_run_is_long(const struct gv_run *run)
{
    return (atomic_load_explicit(&run->count, memory_order_relaxed) & GV_RUN_LONG) != 0;
}

/* Where block `offset`, below the count, stands. */
static inline const uint64_t *gv_run_at(const struct gv_run *run, uint32_t offset)
{
    if (!gv_run_is_long(run)) {
        return &run->words[offset];
    }
    const _Atomic uint64_t *piece =
        (const _Atomic uint64_t *)&run->words[1 + offset / GV_PIECE_BLOCKS];
    return (const uint64_t *)(uintptr_t)atomic_load_explicit(piece, memory_order_acquire) +
           offset % GV_PIECE_BLOCKS;
}

static inline uint64_t gv_run_block(const struct gv_run *run, uint32_t offset)
{
    return offset == 0 ? run->words[0] : *gv_run_at(run, offset);
}

static inline bool gv_run_is_orphan(const struct gv_run *run)
{
    return run->parent == GV_RUN_NONE && run->depth > 0;
}

static inline struct gv_place gv_run_parent(const struct gv_run *run)
{
    return (struct gv_place){.run = run->parent, .offset = run->parent_offset};
}

static inline uint64_t gv_span_pack(struct gv_span span)
{
    return (uint64_t)span.stamp << 32 | (uint64_t)span.upto << 16 | (uint64_t)span.worker << 1 | 1;
}

static inline struct gv_span gv_span_unpack(uint64_t packed)
{
    return (struct gv_span){.worker = (uint32_t)(packed & 0xFFFF) >> 1,
                            .upto = (uint32_t)(packed >> 16) & 0xFFFF,
                            .stamp = (uint32_t)(packed >> 32)};
}

static inline struct gv_span_list gv_run_spans(const struct gv_run *run)
{
    uint64_t word = atomic_load_explicit(&run->spans, memory_order_acquire);
    if ((word & 1) != 0 || word == 0) {
        return (struct gv_span_list){.one = word, .count = word != 0};
    }
    const struct gv_spans *many = (const struct gv_spans *)(uintptr_t)word;
    return (struct gv_span_list){.packed = many->packed, .count = many->count};
}

static inline struct gv_span gv_span_at(const struct gv_span_list *list, uint32_t i)
{
    return gv_span_unpack(list->packed == NULL
                              ? list->one
                              : atomic_load_explicit(&list->packed[i], memory_order_relaxed));
}

/* Where in the run the steps of span `i` begin: where the one before, of the same worker, ends. */
static inline uint32_t gv_span_from(const struct gv_span_list *list, uint32_t i)
{
    if (i == 0) {
        return 0;
    }
    struct gv_span before = gv_span_at(list, i - 1);
    return before.worker == gv_span_at(list, i).worker ? before.upto : 0;
}

/* The offset of the first block at or after `offset` that the index names. */
static inline uint32_t gv_run_indexed(const struct gv_run *run, uint32_t offset)
{
    return offset == 0
               ? 0
               : offset + ((GV_ANCHOR_BLOCKS - 1 - run->depth - offset) & (GV_ANCHOR_BLOCKS - 1));
}

/* How many of the `count` blocks from `from` on equal those of `chain`; the first is known to. */
uint32_t gv_run_agree(const struct gv_run *run, uint32_t from, const uint64_t *chain,
                      uint32_t count);

/* What an entry adds to digests: the same on every node. */
static inline XXH128_hash_t gv_trie_entry_hash(const struct gv_trie *trie, uint64_t fingerprint,
                                               uint64_t url_hash, uint32_t stamp)
{
    const uint64_t entry[4] = {trie->key_hash, fingerprint, url_hash, stamp};
    return XXH3_128bits(entry, sizeof entry);
}

/* trie_part.c: the next blocks of `run` at or after *from and below *upto that belong to `part` and
 * lie side by side; false: none. */
bool gv_trie_piece(const struct gv_trie *trie, const struct gv_run *run,
                   const struct gv_forest_part *part, uint32_t *from, uint32_t *upto);

/* Where `fingerprint`, the first of a run or an anchor, stands at `depth`. */
struct gv_place gv_trie_find(const struct gv_trie *trie, uint64_t fingerprint, uint32_t depth);

/* ---- run.c ---- */

/* A run of `count` (at most GV_RUN_MAX) blocks that follow `parent`; GV_RUN_NONE at a depth makes
 * an orphan. Errors: GV_EFULL. */
GV_MUST_USE enum gv_err gv_run_new(struct gv_trie *trie, struct gv_place parent, uint32_t depth,
                                   const uint64_t *blocks, uint32_t count, uint32_t *number);
/* Append to a run that has the room in its count. Errors: GV_EFULL. */
GV_MUST_USE enum gv_err gv_run_extend(struct gv_trie *trie, uint32_t number, const uint64_t *blocks,
                                      uint32_t count);
/* What an orphan follows is known now. */
void gv_run_adopt(struct gv_trie *trie, uint32_t number, struct gv_place parent);
/* Keep only the first `keep` (at least one) blocks. Errors: GV_EFULL. */
GV_MUST_USE enum gv_err gv_run_cut(struct gv_trie *trie, uint32_t number, uint32_t keep);
/* A run on which nothing hangs. */
void gv_run_free(struct gv_trie *trie, uint32_t number);
/* Everything, when nobody reads any more. */
void gv_run_free_all(struct gv_trie *trie);
/* Move on with a rebuild of the index, for about `blocks` blocks. */
void gv_run_move_some(struct gv_trie *trie, uint64_t blocks);

void gv_run_publish(struct gv_trie *trie, uint32_t number, const struct gv_run *run);

/* ---- body.c ---- */

/* A run with these blocks, in all else as `like`, not published. NULL: no memory. */
struct gv_run *gv_body_new(struct gv_trie *trie, const struct gv_run *like, const uint64_t *blocks,
                           uint32_t count);
/* Append to a published run. Errors: GV_EFULL. */
GV_MUST_USE enum gv_err gv_body_append(struct gv_trie *trie, uint32_t number,
                                       const uint64_t *blocks, uint32_t count);
/* The first `keep` blocks as a run that is not published. NULL: no memory. */
struct gv_run *gv_body_cut(struct gv_trie *trie, struct gv_run *run, uint32_t keep);
/* `cut` has taken the place of `old`: retire what they do not share. */
void gv_body_drop_cut(struct gv_trie *trie, struct gv_run *old, const struct gv_run *cut);
/* Retire the whole of a run that is no longer published. */
void gv_body_drop(struct gv_trie *trie, struct gv_run *run);
/* Give it back at once: nobody reads any more. */
void gv_body_free(struct gv_trie *trie, struct gv_run *run);
/* `count` blocks from `from` on. */
void gv_run_copy(const struct gv_run *run, uint32_t from, uint32_t count, uint64_t *out);

/* ---- span.c ---- */

/* Let `hold.worker` hold the first `hold.upto` blocks with at least `hold.stamp`. `*rose` is false
 * when it did. Errors: GV_EFULL. */
GV_MUST_USE enum gv_err gv_span_raise(struct gv_trie *trie, struct gv_run *run, struct gv_span hold,
                                      bool *rose);
/* Drop the spans that died long enough ago; returns up to where anybody holds the run. */
uint32_t gv_span_bury(struct gv_trie *trie, struct gv_run *run, uint32_t dead_since_s);
/* The first span of `worker` or of a later one. */
uint32_t gv_span_first(const struct gv_span_list *list, uint32_t worker);
/* The memory of a run's spans, when the run goes. */
void gv_span_drop(struct gv_trie *trie, struct gv_run *run);

/* ---- sweep.c ---- */

/* trie.c: begin and end of a change, under the trie's lock. */
void gv_trie_begin(struct gv_trie *trie);
void gv_trie_end(struct gv_trie *trie);

#endif
