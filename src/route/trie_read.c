/*
 * trie_read.c - the questions that never wait: who holds this prompt, and how deep?
 *
 * No lock: between gv_grace_enter() and gv_grace_leave() whatever a reader has found stays, and a
 * writer at work shows either what was or what is.
 *
 * A match is made of waiting for the memory: the index's line, the run's entry in the table, the
 * run itself. So nothing is left to do while all is at hand: names are asked for at the start, a
 * run and its last block before the holders of the run above are read, and where the answers go is
 * made ready while the first of these are on their way. To ask the memory is no access: what is
 * then read is read in the same order, from the same published words, as if nobody had asked.
 */
#include "route/trie_in.h"
#include <string.h>

#define FETCH_FIRST 12u /* of the chain: short prompts branch early */

/* Ask the memory for a run about to be looked into, of which `count` blocks are to be compared:
 * its header and its last block then come at the same time. */
static void fetch(const struct gv_run *run, uint32_t count)
{
    uint32_t last = count < GV_SHORT_MAX ? count - 1 : 0;
    __builtin_prefetch(run);
    __builtin_prefetch(&run->words[last]);
}

struct gv_place gv_trie_find(const struct gv_trie *trie, uint64_t fingerprint, uint32_t depth)
{
    struct gv_index_view view = gv_index_look(&trie->index);
    struct gv_index_probe probe = gv_index_find(&view, fingerprint);
    uint32_t number;
    while ((number = gv_index_next(&probe)) != GV_INDEX_NONE) {
        const struct gv_run *run = gv_trie_run(trie, number);
        if (run == NULL) {
            continue;
        }
        uint32_t offset = depth - run->depth; /* wraps when above the run: then not below count */
        if (offset < gv_run_count(run) && gv_run_block(run, offset) == fingerprint) {
            return (struct gv_place){.run = number, .offset = offset};
        }
    }
    return (struct gv_place){.run = GV_RUN_NONE};
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

/* A run on the path of a prompt. */
struct stretch {
    const struct gv_run *run; /* NULL: none */
    uint32_t agreed;          /* blocks of it that are the prompt's */
};

/* Extend the depths of those that hold everything before this run and (some of) what agrees. */
static void see(struct stretch at, const struct gv_floor_line *floors, uint32_t *depths)
{
    if (at.run == NULL) {
        return;
    }
    uint32_t begin = at.run->depth;
    struct gv_span_list list = gv_run_spans(at.run);
    for (uint32_t i = 0; i < list.count; i++) {
        struct gv_span span = gv_span_at(&list, i);
        if (wanted[span.worker].mark != wanted_mark) {
            continue;
        }
        uint32_t *depth = &depths[wanted[span.worker].position];
        uint32_t held = begin + (span.upto < at.agreed ? span.upto : at.agreed);
        if (*depth >= begin && held > *depth &&
            span.stamp > gv_floor_line_of(floors, span.worker)) {
            *depth = held;
        }
    }
}

/* A walk down the runs of a prompt. */
struct descent {
    const struct gv_trie *trie;
    struct gv_index_view view;
    const uint64_t *chain;
    uint32_t count;
    uint32_t at; /* the first block that is not known yet */
};

/* The first candidate for the run that goes on at `at`, fetched but not yet looked into. */
static const struct gv_run *expect(const struct descent *walk, struct gv_index_probe *probe)
{
    *probe = gv_index_find(&walk->view, walk->chain[walk->at]);
    uint32_t number = gv_index_next(probe);
    const struct gv_run *run = NULL;
    if (number != GV_INDEX_NONE && (run = gv_trie_run(walk->trie, number)) != NULL) {
        fetch(run, walk->count - walk->at);
    }
    return run;
}

/* The run among the candidates from `run` on that goes on at `at`, which moves behind it. */
static inline struct stretch descend(struct descent *walk, struct gv_index_probe *probe,
                                     const struct gv_run *run)
{
    uint64_t first = walk->chain[walk->at];
    while (run == NULL || run->depth != walk->at || run->words[0] != first) {
        uint32_t number = gv_index_next(probe);
        if (number == GV_INDEX_NONE) {
            return (struct stretch){.run = NULL};
        }
        run = gv_trie_run(walk->trie, number);
    }
    uint32_t held = gv_run_count(run);
    uint32_t left = walk->count - walk->at;
    if (held < left) {
        gv_index_prefetch(&walk->view, walk->chain[walk->at + held]); /* likely the next question */
    }
    uint32_t agreed = gv_run_agree(run, 0, walk->chain + walk->at, held < left ? held : left);
    walk->at += agreed;
    return (struct stretch){.run = run, .agreed = agreed};
}

static struct descent begin(const struct gv_trie *trie, const uint64_t *chain, uint32_t count)
{
    return (struct descent){
        .trie = trie, .view = gv_index_look(&trie->index), .chain = chain, .count = count};
}

void gv_trie_match(const struct gv_trie *trie, const uint64_t *chain, uint32_t count,
                   const uint32_t *workers, uint32_t worker_count, uint32_t *depths)
{
    struct descent walk = begin(trie, chain, count);
    for (uint32_t i = 0; i < count && i < FETCH_FIRST; i++) {
        gv_index_prefetch(&walk.view, chain[i]);
    }
    const struct gv_floor_line *floors = gv_floors_line(&trie->floors);
    struct stretch above = {.run = NULL};
    memset(depths, 0, worker_count * sizeof *depths);
    want(workers, worker_count);
    while (walk.at < count) {
        struct gv_index_probe probe;
        const struct gv_run *run = expect(&walk, &probe);
        see(above, floors, depths); /* while the next run is on its way from memory */
        above = descend(&walk, &probe, run);
        if (above.run == NULL) {
            return;
        }
    }
    see(above, floors, depths);
}

uint32_t gv_trie_held(const struct gv_trie *trie, const uint64_t *chain, uint32_t count,
                      uint32_t worker, uint32_t *stamp)
{
    struct descent walk = begin(trie, chain, count);
    uint32_t floor = gv_floor_line_of(gv_floors_line(&trie->floors), worker);
    uint32_t held = 0;
    *stamp = 0;
    while (walk.at < count && held == walk.at) {
        uint32_t at = walk.at;
        struct gv_index_probe probe;
        const struct gv_run *run = expect(&walk, &probe);
        struct stretch next = descend(&walk, &probe, run);
        if (next.run == NULL) {
            break;
        }
        struct gv_span_list list = gv_run_spans(next.run);
        for (uint32_t i = gv_span_first(&list, worker); i < list.count; i++) {
            struct gv_span span = gv_span_at(&list, i);
            if (span.worker != worker) {
                break;
            }
            if (span.stamp > floor && held < at + next.agreed) {
                held = at + (span.upto < next.agreed ? span.upto : next.agreed);
                *stamp = span.stamp; /* of the step that reaches `held` */
            }
        }
    }
    return held;
}
