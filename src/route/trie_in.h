/*
 * trie_in.h - the inside of a trie, shared by trie.c (writing) and trie_read.c (reading).
 */
#ifndef GV_ROUTE_TRIE_IN_H
#define GV_ROUTE_TRIE_IN_H

#include "grapevine/route/forest.h"
#include "grapevine/route/trie.h"
#include "route/cells.h"
#include "route/index.h"
#include <xxhash.h>

#define GV_RUN_MAX      16384u /* blocks in one run; a longer path goes on in a child run */
#define GV_RUNS_IN_PAGE 512u

/* `worker` holds the blocks up to (not including) `upto` with at least `stamp`. */
struct gv_span {
    uint16_t worker;
    uint16_t upto; /* 1..GV_RUN_MAX */
    uint32_t stamp;
};
_Static_assert(GV_WORKERS_MAX <= UINT16_MAX + 1, "a worker fits a span");
_Static_assert(sizeof(struct gv_span) == sizeof(uint64_t), "a span is one cell word");

struct gv_run {
    uint64_t *blocks; /* owned; NULL: the run is free */
    union {
        struct gv_span one;   /* span_room == 0: the only span, or none */
        struct gv_span *many; /* owned; by worker, then upto; stamps fall strictly with depth */
    } spans;
    uint64_t parent; /* what blocks[0] follows; 0 at depth 0; a free run: the next free one */
    uint32_t depth;  /* of blocks[0] */
    uint16_t count;  /* blocks */
    uint16_t room;
    uint16_t span_count;
    uint16_t span_room;
    uint16_t fresh_count; /* of its last blocks: added while the index is being rebuilt */
    bool is_orphan;       /* the parent is not known yet */
};

struct gv_trie {
    struct gv_mem_budget *budget; /* borrowed */
    struct gv_run **pages;        /* owned */
    uint32_t page_count;
    uint32_t page_room;
    uint32_t free_run;  /* GV_INDEX_NONE: none */
    uint32_t run_count; /* in use */
    uint32_t orphan_count;
    uint32_t sweep_at; /* the next run to look at */
    uint64_t block_count;
    uint64_t version; /* rises with every write */
    struct gv_cells cells;
    struct gv_index index;
    struct gv_floors floors;
    char key[GV_KEY_MAX];
    uint64_t key_hash;
};

struct gv_place {
    uint32_t run; /* GV_INDEX_NONE: nowhere */
    uint32_t offset;
};

static inline struct gv_run *gv_trie_run(const struct gv_trie *trie, uint32_t run)
{
    return &trie->pages[run / GV_RUNS_IN_PAGE][run % GV_RUNS_IN_PAGE];
}

static inline uint32_t gv_trie_run_room(const struct gv_trie *trie)
{
    return trie->page_count * GV_RUNS_IN_PAGE;
}

static inline const struct gv_span *gv_run_spans(const struct gv_run *run)
{
    return run->span_room == 0 ? &run->spans.one : run->spans.many;
}

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

/* Where `fingerprint` stands at `depth`; run is GV_INDEX_NONE when it is not known. */
struct gv_place gv_trie_find(const struct gv_trie *trie, uint64_t fingerprint, uint32_t depth);

#endif
