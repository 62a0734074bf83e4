/*
 * trie_read.c - the questions: who holds this prompt, what is live, what is the sum of it all.
 */
#include "grapevine/base/assert.h"
#include "route/trie_in.h"
#include <string.h>
#include <xxhash.h>

#define FETCH_FIRST 16u /* of the chain: short prompts branch early */

struct gv_place gv_trie_find(const struct gv_trie *trie, uint64_t fingerprint, uint32_t depth)
{
    struct gv_index_probe probe = gv_index_find(fingerprint);
    uint32_t number;
    while ((number = gv_index_next(&trie->index, &probe)) != GV_INDEX_NONE) {
        const struct gv_run *run = gv_trie_run(trie, number);
        uint32_t offset = depth - run->depth; /* wraps when above the run: then not below count */
        if (run->blocks != NULL && offset < run->count && run->blocks[offset] == fingerprint) {
            return (struct gv_place){.run = number, .offset = offset};
        }
    }
    return (struct gv_place){.run = GV_INDEX_NONE};
}

/*
 * How many elements of `run` equal the chain, whose first is known to. Fingerprints are chained:
 * where one agrees, all before agree. So search by halves, or rather by eighths, whose seven probes
 * are fetched from memory at the same time.
 */
#define WAYS 8u
static uint32_t agree(const struct gv_run *run, const uint64_t *chain, uint32_t count)
{
    uint32_t most = run->count < count ? run->count : count;
    if (run->blocks[most - 1] == chain[most - 1]) {
        return most;
    }
    uint32_t low = 1;     /* agrees up to here */
    uint32_t high = most; /* the one before differs */
    while (high - low > 1) {
        uint32_t stride = (high - low) / WAYS;
        stride = stride > 0 ? stride : 1;
        for (uint32_t at = low + stride; at < high && stride > 1; at += stride) {
            __builtin_prefetch(&run->blocks[at - 1]);
            __builtin_prefetch(&chain[at - 1]);
        }
        uint32_t end = high;
        for (uint32_t at = low + stride; at < end; at += stride) {
            if (run->blocks[at - 1] != chain[at - 1]) {
                high = at;
                break;
            }
            low = at;
        }
    }
    return low;
}

/* Which position in the caller's list a worker has; valid where `mark` is this thread's call. */
static _Thread_local struct {
    uint32_t mark;
    uint32_t position;
} wanted[GV_WORKERS_MAX];
static _Thread_local uint32_t wanted_mark;

static void want(const uint32_t *workers, uint32_t worker_count)
{
    wanted_mark += 1;
    if (wanted_mark == 0) { /* wrapped: forget marks of 2^32 calls ago */
        memset(wanted, 0, sizeof wanted);
        wanted_mark = 1;
    }
    for (uint32_t i = 0; i < worker_count; i++) {
        GV_ASSERT(workers[i] < GV_WORKERS_MAX);
        wanted[workers[i]].mark = wanted_mark;
        wanted[workers[i]].position = i;
    }
}

/* Extend the depths of those that hold everything before this run and (some of) its first `agreed`.
 */
static void see(const struct gv_trie *trie, const struct gv_run *run, uint32_t agreed,
                uint32_t *depths)
{
    const struct gv_span *spans = gv_run_spans(run);
    for (uint32_t i = 0; i < run->span_count; i++) {
        const struct gv_span *span = &spans[i];
        if (wanted[span->worker].mark != wanted_mark) {
            continue;
        }
        uint32_t *depth = &depths[wanted[span->worker].position];
        uint32_t held = span->upto < agreed ? span->upto : agreed;
        if (*depth >= run->depth && run->depth + held > *depth &&
            span->stamp > gv_floors_of(&trie->floors, span->worker)) {
            *depth = run->depth + held;
        }
    }
}

void gv_trie_match(const struct gv_trie *trie, const uint64_t *chain, uint32_t count,
                   const uint32_t *workers, uint32_t worker_count, uint32_t *depths)
{
    for (uint32_t i = 0; i < count && i < FETCH_FIRST; i++) {
        gv_index_prefetch(&trie->index, chain[i]);
    }
    memset(depths, 0, worker_count * sizeof *depths);
    want(workers, worker_count);
    uint32_t at = 0;
    while (at < count) {
        struct gv_place place = gv_trie_find(trie, chain[at], at);
        if (place.run == GV_INDEX_NONE || place.offset != 0) {
            return;
        }
        const struct gv_run *run = gv_trie_run(trie, place.run);
        if (run->count < count - at) {
            gv_index_prefetch(&trie->index, chain[at + run->count]); /* likely the next question */
        }
        uint32_t agreed = agree(run, chain + at, count - at);
        see(trie, run, agreed, depths);
        at += agreed;
    }
}

uint32_t gv_trie_held(const struct gv_trie *trie, const uint64_t *chain, uint32_t count,
                      uint32_t worker, uint32_t *stamp)
{
    uint32_t floor = gv_floors_of(&trie->floors, worker);
    uint32_t held = 0;
    uint32_t at = 0;
    *stamp = 0;
    while (at < count && held == at) {
        struct gv_place place = gv_trie_find(trie, chain[at], at);
        if (place.run == GV_INDEX_NONE || place.offset != 0) {
            break;
        }
        const struct gv_run *run = gv_trie_run(trie, place.run);
        uint32_t agreed = agree(run, chain + at, count - at);
        const struct gv_span *spans = gv_run_spans(run);
        for (uint32_t i = 0; i < run->span_count; i++) {
            if (spans[i].worker != worker || spans[i].stamp <= floor || held >= at + agreed) {
                continue;
            }
            uint32_t upto = spans[i].upto < agreed ? spans[i].upto : agreed;
            held = at + upto;
            *stamp = spans[i].stamp; /* of the step that reaches `held` */
        }
        at += agreed;
    }
    return held;
}

/* A cursor: run, worker and how much of the run has been told of that worker. */
#define AT_OFFSET_BITS 15
#define AT_WORKER_BITS 15
static uint64_t pack(uint32_t run, uint32_t worker, uint32_t offset)
{
    return (uint64_t)run << (AT_OFFSET_BITS + AT_WORKER_BITS) | (uint64_t)worker << AT_OFFSET_BITS |
           offset;
}

/* The blocks of `run` from `from` on, at most `count`, that `span` covers, as an operation. */
static uint32_t tell(const struct gv_run *run, const struct gv_span *span, uint32_t from,
                     uint32_t count, uint64_t *scratch, struct gv_operation *operation)
{
    bool is_placeholder = from == 0 && run->is_orphan; /* nothing to insert it under */
    if (is_placeholder) {
        count = 1;
    }
    memcpy(scratch, run->blocks + from, count * sizeof *scratch);
    operation->kind = is_placeholder ? GV_OPERATION_TOUCH : GV_OPERATION_INSERT;
    operation->worker = span->worker;
    operation->stamp = span->stamp;
    operation->depth = run->depth + from;
    operation->parent = is_placeholder ? 0 : from == 0 ? run->parent : run->blocks[from - 1];
    operation->count = count;
    operation->fingerprints = scratch;
    return from + count;
}

static bool next_in_run(const struct gv_trie *trie, uint32_t number,
                        const struct gv_trie_walk *walk, uint64_t *at,
                        struct gv_operation *operation)
{
    const struct gv_run *run = gv_trie_run(trie, number);
    const struct gv_span *spans = gv_run_spans(run);
    uint32_t told_worker = (uint32_t)(*at >> AT_OFFSET_BITS & ((1u << AT_WORKER_BITS) - 1));
    uint32_t told = (uint32_t)(*at & ((1u << AT_OFFSET_BITS) - 1));
    for (uint32_t i = 0; run->blocks != NULL && i < run->span_count; i++) {
        const struct gv_span *span = &spans[i];
        uint32_t from = i > 0 && spans[i - 1].worker == span->worker ? spans[i - 1].upto : 0;
        if (span->worker < told_worker || (span->worker == told_worker && span->upto <= told)) {
            continue;
        }
        if (span->stamp <= gv_floors_of(&trie->floors, span->worker) ||
            span->stamp < walk->since_stamp) {
            continue;
        }
        if (span->worker == told_worker && told > from) {
            from = told;
        }
        uint32_t upto = span->upto;
        if (walk->part != NULL && !gv_trie_piece(trie, run, walk->part, &from, &upto)) {
            continue;
        }
        uint32_t count = upto - from < walk->scratch_count ? upto - from : walk->scratch_count;
        *at = pack(number, span->worker, tell(run, span, from, count, walk->scratch, operation));
        return true;
    }
    return false;
}

bool gv_trie_next(const struct gv_trie *trie, const struct gv_trie_walk *walk, uint64_t *at,
                  struct gv_operation *operation)
{
    GV_ASSERT(walk->scratch_count >= 1);
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
        const struct gv_span *spans = gv_run_spans(at);
        for (uint32_t i = 0; at->blocks != NULL && i < at->span_count; i++) {
            const struct gv_span *span = &spans[i];
            uint32_t from = i > 0 && spans[i - 1].worker == span->worker ? spans[i - 1].upto : 0;
            if (span->stamp <= gv_floors_of(&trie->floors, span->worker) ||
                span->worker >= url_hash_count) {
                continue; /* dead, or of a worker that came after the caller asked for names */
            }
            for (uint32_t j = from; j < span->upto; j++) {
                XXH128_hash_t hash =
                    gv_trie_entry_hash(trie, at->blocks[j], url_hash[span->worker], span->stamp);
                sum[0] += hash.low64;
                sum[1] += hash.high64;
            }
        }
    }
    return *run < room;
}
