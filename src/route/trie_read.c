/*
 * trie_read.c - the questions that never wait: who holds this prompt, and how deep?
 *
 * No lock: between gv_grace_enter() and gv_grace_leave() whatever a reader has found stays, and a
 * writer at work shows either what was or what is.
 */
#include "route/trie_in.h"
#include <string.h>

#define FETCH_FIRST 8u /* of the chain: short prompts branch early */

/* The run in which `fingerprint` stands at `depth`, and where; NULL: nowhere. */
static const struct gv_run *find(const struct gv_trie *trie, const struct gv_index_view *view,
                                 uint64_t fingerprint, uint32_t depth, struct gv_place *place)
{
    struct gv_index_probe probe = gv_index_find(view, fingerprint);
    uint32_t number;
    while ((number = gv_index_next(&probe)) != GV_INDEX_NONE) {
        const struct gv_run *run = gv_trie_run(trie, number);
        if (run == NULL) {
            continue;
        }
        uint32_t offset = depth - run->depth; /* wraps when above the run: then not below count */
        if (offset < gv_run_count(run) && gv_run_block(run, offset) == fingerprint) {
            *place = (struct gv_place){.run = number, .offset = offset};
            return run;
        }
    }
    *place = (struct gv_place){.run = GV_RUN_NONE};
    return NULL;
}

struct gv_place gv_trie_find(const struct gv_trie *trie, uint64_t fingerprint, uint32_t depth)
{
    struct gv_index_view view = gv_index_look(&trie->index);
    struct gv_place place;
    (void)find(trie, &view, fingerprint, depth, &place);
    return place;
}

/* The run that begins with `fingerprint` at `depth`; NULL: none. */
static const struct gv_run *head(const struct gv_trie *trie, const struct gv_index_view *view,
                                 uint64_t fingerprint, uint32_t depth)
{
    struct gv_place place;
    const struct gv_run *run = find(trie, view, fingerprint, depth, &place);
    return run != NULL && place.offset == 0 ? run : NULL;
}

/*
 * Fingerprints are chained: where one agrees, all before agree. So search by halves, or rather by
 * eighths, whose seven probes are fetched from memory at the same time.
 */
#define WAYS 8u
uint32_t gv_run_agree(const struct gv_run *run, uint32_t from, const uint64_t *chain,
                      uint32_t count)
{
    if (*gv_run_at(run, from + count - 1) == chain[count - 1]) {
        return count;
    }
    uint32_t low = 1;      /* agrees up to here */
    uint32_t high = count; /* the one before differs */
    while (high - low > 1) {
        uint32_t stride = (high - low) / WAYS;
        stride = stride > 0 ? stride : 1;
        for (uint32_t at = low + stride; at < high && stride > 1; at += stride) {
            __builtin_prefetch(gv_run_at(run, from + at - 1));
        }
        uint32_t end = high;
        for (uint32_t at = low + stride; at < end; at += stride) {
            if (*gv_run_at(run, from + at - 1) != chain[at - 1]) {
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
static void see(const struct gv_run *run, uint32_t agreed, const struct gv_floor_line *floors,
                uint32_t *depths)
{
    struct gv_span_list list = gv_run_spans(run);
    for (uint32_t i = 0; i < list.count; i++) {
        struct gv_span span = gv_span_at(&list, i);
        if (wanted[span.worker].mark != wanted_mark) {
            continue;
        }
        uint32_t *depth = &depths[wanted[span.worker].position];
        uint32_t held = span.upto < agreed ? span.upto : agreed;
        if (*depth >= run->depth && run->depth + held > *depth &&
            span.stamp > gv_floor_line_of(floors, span.worker)) {
            *depth = run->depth + held;
        }
    }
}

void gv_trie_match(const struct gv_trie *trie, const uint64_t *chain, uint32_t count,
                   const uint32_t *workers, uint32_t worker_count, uint32_t *depths)
{
    struct gv_index_view view = gv_index_look(&trie->index);
    for (uint32_t i = 0; i < count && i < FETCH_FIRST; i++) {
        gv_index_prefetch(&view, chain[i]);
    }
    memset(depths, 0, worker_count * sizeof *depths);
    want(workers, worker_count);
    const struct gv_floor_line *floors = gv_floors_line(&trie->floors);
    uint32_t at = 0;
    while (at < count) {
        const struct gv_run *run = head(trie, &view, chain[at], at);
        if (run == NULL) {
            return;
        }
        uint32_t held = gv_run_count(run);
        if (held < count - at) {
            gv_index_prefetch(&view, chain[at + held]); /* likely the next question */
        }
        uint32_t agreed = gv_run_agree(run, 0, chain + at, held < count - at ? held : count - at);
        see(run, agreed, floors, depths);
        at += agreed;
    }
}

uint32_t gv_trie_held(const struct gv_trie *trie, const uint64_t *chain, uint32_t count,
                      uint32_t worker, uint32_t *stamp)
{
    struct gv_index_view view = gv_index_look(&trie->index);
    uint32_t floor = gv_floor_line_of(gv_floors_line(&trie->floors), worker);
    uint32_t held = 0;
    uint32_t at = 0;
    *stamp = 0;
    while (at < count && held == at) {
        const struct gv_run *run = head(trie, &view, chain[at], at);
        if (run == NULL) {
            break;
        }
        uint32_t blocks = gv_run_count(run);
        uint32_t agreed =
            gv_run_agree(run, 0, chain + at, blocks < count - at ? blocks : count - at);
        struct gv_span_list list = gv_run_spans(run);
        for (uint32_t i = gv_span_first(&list, worker); i < list.count; i++) {
            struct gv_span span = gv_span_at(&list, i);
            if (span.worker != worker) {
                break;
            }
            if (span.stamp > floor && held < at + agreed) {
                held = at + (span.upto < agreed ? span.upto : agreed);
                *stamp = span.stamp; /* of the step that reaches `held` */
            }
        }
        at += agreed;
    }
    return held;
}
