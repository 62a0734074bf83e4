/*
 * trie_part.c - a trie in 256 parts that are the same on every node, whatever its runs look like.
 *
 * A path is cut at every 32nd block, counted from the root. The first block of each piece decides,
 * by its hash, to which part the piece belongs. Runs begin where the order of arrival made them
 * begin, so a run that begins inside a piece must be followed upwards to the piece's first block.
 * Where that is not known (yet), the run's first block stands in, and the piece is told with every
 * part: better twice than never.
 *
 * Called by trie_read.c and the forest, under the trie's lock.
 */
#include "grapevine/base/assert.h"
#include "route/trie_in.h"
#include <string.h>
#include <xxhash.h>

#define PIECE_BLOCKS 32u

static uint32_t bucket_of(uint64_t head)
{
    return (uint32_t)(head * UINT64_C(0x9E3779B97F4A7C15) >> 56);
}

/* The first block of the piece into which the first block of `run` falls. */
static uint64_t head_of_first(const struct gv_trie *trie, const struct gv_run *run, bool *is_known)
{
    uint32_t depth = run->depth - run->depth % PIECE_BLOCKS;
    const struct gv_run *at = run;
    while (at->depth > depth) {
        if (gv_run_is_orphan(at)) {
            *is_known = false;
            return gv_run_block(run, 0);
        }
        at = gv_trie_known(trie, at->parent);
    }
    *is_known = true;
    return gv_run_block(at, depth - at->depth);
}

/* To which bucket block `offset` of `run` belongs, and where (in the run) its piece ends. */
static uint32_t bucket_at(const struct gv_trie *trie, const struct gv_run *run, uint32_t offset,
                          uint32_t *end, bool *is_known)
{
    uint32_t depth = run->depth + offset;
    uint32_t begin = depth - depth % PIECE_BLOCKS;
    *end = begin + PIECE_BLOCKS - run->depth;
    *is_known = true;
    uint64_t head = begin >= run->depth ? gv_run_block(run, begin - run->depth)
                                        : head_of_first(trie, run, is_known);
    return bucket_of(head);
}

bool gv_trie_piece(const struct gv_trie *trie, const struct gv_run *run,
                   const struct gv_forest_part *part, uint32_t *from, uint32_t *upto)
{
    uint32_t limit = *upto;
    while (*from < limit) {
        uint32_t end;
        bool is_known;
        uint32_t bucket = bucket_at(trie, run, *from, &end, &is_known);
        if (!is_known || (part->buckets[bucket / 64] >> (bucket % 64) & 1) != 0) {
            *upto = end < limit ? end : limit;
            return true;
        }
        *from = end;
    }
    return false;
}

static void add_span(const struct gv_trie *trie, const struct gv_run *run, struct gv_span span,
                     uint32_t from, uint64_t url_hash, uint64_t *sums)
{
    while (from < span.upto) {
        uint32_t end;
        bool is_known;
        uint64_t *sum = &sums[bucket_at(trie, run, from, &end, &is_known)];
        end = end < span.upto ? end : span.upto;
        for (; from < end; from++) {
            *sum += gv_trie_entry_hash(trie, gv_run_block(run, from), url_hash, span.stamp).low64;
        }
    }
}

bool gv_trie_sums(const struct gv_trie *trie, uint32_t *number, uint32_t max_runs,
                  const uint64_t *url_hash, uint32_t url_hash_count, uint64_t *sums)
{
    uint32_t room = gv_trie_run_room(trie);
    for (uint32_t looked = 0; *number < room && looked < max_runs; looked++, (*number)++) {
        const struct gv_run *run = gv_trie_run(trie, *number);
        struct gv_span_list list = {0};
        if (run != NULL) {
            list = gv_run_spans(run);
        }
        for (uint32_t i = 0; i < list.count; i++) {
            struct gv_span span = gv_span_at(&list, i);
            bool is_live = span.stamp > gv_floors_of(&trie->floors, span.worker);
            if (is_live && span.worker < url_hash_count) {
                add_span(trie, run, span, gv_span_from(&list, i), url_hash[span.worker], sums);
            }
        }
    }
    return *number < room;
}
