/*
 * trie_walk.c - what is live, told piece by piece as operations, and the sum of it all.
 *
 * Under the trie's lock for reading: runs may come and go between two pieces, not during one.
 */
#include "route/trie_in.h"
#include <string.h>

/* A cursor: run, worker and how much of the run has been told of that worker. */
#define AT_OFFSET_BITS 15
#define AT_WORKER_BITS 15
static uint64_t pack(uint32_t run, uint32_t worker, uint32_t offset)
{
    return (uint64_t)run << (AT_OFFSET_BITS + AT_WORKER_BITS) | (uint64_t)worker << AT_OFFSET_BITS |
           offset;
}

/* The one before; GV_RUN_NONE before the first of a path, or where it is not known. */
static struct gv_place before(const struct gv_trie *trie, struct gv_place place)
{
    if (place.offset > 0) {
        return (struct gv_place){.run = place.run, .offset = place.offset - 1};
    }
    return gv_run_parent(gv_trie_known(trie, place.run));
}

static uint64_t block_at(const struct gv_trie *trie, struct gv_place place)
{
    return place.run == GV_RUN_NONE ? 0
                                    : gv_run_block(gv_trie_known(trie, place.run), place.offset);
}

/*
 * The blocks of a run from `place` on, at most `count` and what there is scratch for, as an
 * operation that makes `span`'s worker hold them. An operation follows an anchor: what lies between
 * it and the first is told again. Returns up to where in the run.
 */
static uint32_t tell(const struct gv_trie *trie, struct gv_place place, uint32_t count,
                     const struct gv_span *span, const struct gv_trie_walk *walk,
                     struct gv_operation *operation)
{
    const struct gv_run *run = gv_trie_known(trie, place.run);
    bool is_placeholder = place.offset == 0 && gv_run_is_orphan(run); /* follows nothing known */
    uint32_t from = place.offset;
    uint32_t lead = is_placeholder ? 0 : (run->depth + from) % GV_ANCHOR_BLOCKS;
    /* When it does not fit, end where the next can begin without a lead. */
    uint32_t room = walk->scratch_count - walk->scratch_count % GV_ANCHOR_BLOCKS - lead;
    count = is_placeholder ? 1 : count < room ? count : room;
    gv_run_copy(run, from, count, walk->scratch + lead);
    operation->kind = is_placeholder ? GV_OPERATION_TOUCH : GV_OPERATION_INSERT;
    operation->worker = span->worker;
    operation->stamp = span->stamp;
    operation->depth = run->depth + from - lead;
    operation->count = lead + count;
    operation->fingerprints = walk->scratch;
    for (uint32_t i = lead; i > 0; i--) {
        place = before(trie, place);
        walk->scratch[i - 1] = block_at(trie, place);
    }
    operation->parent = is_placeholder ? 0 : block_at(trie, before(trie, place));
    return from + count;
}

static bool next_in_run(const struct gv_trie *trie, uint32_t number,
                        const struct gv_trie_walk *walk, uint64_t *at,
                        struct gv_operation *operation)
{
    const struct gv_run *run = gv_trie_run(trie, number);
    if (run == NULL) {
        return false;
    }
    struct gv_span_list list = gv_run_spans(run);
    uint32_t told_worker = (uint32_t)(*at >> AT_OFFSET_BITS & ((1u << AT_WORKER_BITS) - 1));
    uint32_t told = (uint32_t)(*at & ((1u << AT_OFFSET_BITS) - 1));
    for (uint32_t i = 0; i < list.count; i++) {
        struct gv_span span = gv_span_at(&list, i);
        uint32_t from = gv_span_from(&list, i);
        if (span.worker < told_worker || (span.worker == told_worker && span.upto <= told)) {
            continue;
        }
        if (span.stamp <= gv_floors_of(&trie->floors, span.worker) ||
            span.stamp < walk->since_stamp) {
            continue;
        }
        if (span.worker == told_worker && told > from) {
            from = told;
        }
        uint32_t upto = span.upto;
        if (walk->part != NULL && !gv_trie_piece(trie, run, walk->part, &from, &upto)) {
            continue;
        }
        struct gv_place place = {.run = number, .offset = from};
        uint32_t end = tell(trie, place, upto - from, &span, walk, operation);
        *at = pack(number, span.worker, end);
        return true;
    }
    return false;
}

bool gv_trie_next(const struct gv_trie *trie, const struct gv_trie_walk *walk, uint64_t *at,
                  struct gv_operation *operation)
{
    GV_ASSERT(walk->scratch_count >= GV_ANCHOR_BLOCKS);
    uint32_t room = gv_trie_run_room(trie);
    for (;;) {
        uint64_t number = *at >> (AT_OFFSET_BITS + AT_WORKER_BITS);
        if (number >= room) {
            return false;
        }
        if (next_in_run(trie, (uint32_t)number, walk, at, operation)) {
            memcpy(operation->key, trie->key, sizeof operation->key);
            operation->reason = GV_FLOOR_REMOVED;
            return true;
        }
        *at = pack((uint32_t)number + 1, 0, 0);
    }
}

bool gv_trie_digest(const struct gv_trie *trie, uint32_t *run, uint32_t max_runs,
                    const uint64_t *url_hash, uint32_t url_hash_count, uint64_t sum[2])
{
    uint32_t room = gv_trie_run_room(trie);
    for (uint32_t looked = 0; *run < room && looked < max_runs; looked++, (*run)++) {
        const struct gv_run *at = gv_trie_run(trie, *run);
        struct gv_span_list list = {0};
        if (at != NULL) {
            list = gv_run_spans(at);
        }
        for (uint32_t i = 0; i < list.count; i++) {
            struct gv_span span = gv_span_at(&list, i);
            if (span.stamp <= gv_floors_of(&trie->floors, span.worker) ||
                span.worker >= url_hash_count) {
                continue; /* dead, or of a worker that came after the caller asked for names */
            }
            for (uint32_t j = gv_span_from(&list, i); j < span.upto; j++) {
                XXH128_hash_t hash = gv_trie_entry_hash(trie, gv_run_block(at, j),
                                                        url_hash[span.worker], span.stamp);
                sum[0] += hash.low64;
                sum[1] += hash.high64;
            }
        }
    }
    return *run < room;
}
