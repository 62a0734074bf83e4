/*
 * synthetic.c - made-up traces: sessions of several turns, each turn's prompt being the one before
 * it, the answer, and some new words. What prompts share decides the kind.
 *
 *   turns   sessions of about 7 turns under one of 40 system prompts
 *   root    the same, under one long system prompt for all
 *   hot     40 % of the requests ask one thing each of one long document, the rest are turns
 *   chats   longer sessions, quick turns: nine tenths of all tokens were seen before
 *   agents  tool agents: 12 long lists of tools, many quick turns
 *   pairs   one request or two of 10,000 tokens under one system prompt, long answers: the load of
 *           smg's published runs with 240 workers (docs/benchmarks.md)
 *
 * Sessions begin at random (Poisson) so that --rate requests a second come about; the times between
 * turns are exponential. All is drawn from --seed.
 */
#include "lab.h"
#include <math.h>
#include <stdlib.h>

#define RATE_USUAL     20.0
#define REQUESTS_USUAL 6000
#define HOT_ID         UINT64_C(1)
#define KIND_ID        UINT64_C(1000000)   /* of the first block of kind 0 */
#define OWN_ID         UINT64_C(100000000) /* of blocks that occur in one session only */

struct kind {
    const char *name;
    uint32_t system_count;  /* different system prompts */
    uint32_t system_blocks; /* of each */
    double turn_mean;       /* turns of a session */
    double first_blocks;    /* new blocks of the first turn, mean */
    double turn_blocks;     /* and of each that follows, with the last answer */
    double output_tokens;   /* mean */
    double think_s;         /* between turns, mean */
    double hot_share;       /* of the requests */
    uint32_t hot_blocks;
};

static const struct kind kinds[] = {
    {"turns", 40, 16, 7, 20, 10, 200, 20, 0, 0},   {"root", 1, 64, 7, 12, 8, 200, 20, 0, 0},
    {"hot", 40, 16, 7, 20, 10, 200, 20, 0.4, 128}, {"chats", 40, 32, 12, 12, 6, 150, 10, 0, 0},
    {"agents", 12, 128, 20, 16, 12, 120, 4, 0, 0}, {"pairs", 1, 32, 1.43, 124, 38, 1900, 12, 0, 0},
};

struct maker {
    struct trace *trace;
    const struct options *options;
    const struct kind *kind;
    struct gv_prng prng;
    size_t request_room, run_room;
    uint64_t next_id;
};

static double exponential(struct maker *maker, double mean)
{
    return -log(1 - gv_prng_unit(&maker->prng)) * mean;
}

static uint32_t count_of(struct maker *maker, double mean)
{
    return 1 + (uint32_t)(exponential(maker, mean - 1) + 0.5);
}

static bool room_for(void **items, size_t *room, size_t count, size_t bytes)
{
    if (count < *room) {
        return true;
    }
    void *more = gv_mem_resize(GV_MEM_GENERAL, *items, (*room * 2 + 1024) * bytes);
    if (more != NULL) {
        *room = *room * 2 + 1024;
        *items = more;
    }
    return more != NULL;
}

/* A prompt of two runs: what it shares, and what is its own. Sessions may have begun before the
 * trace, so that the rate is steady from its first second. */
static bool add(struct maker *maker, double at_s, struct run shared, struct run own)
{
    struct trace *trace = maker->trace;
    if (at_s < 0) {
        return true;
    }
    void *requests = trace->requests;
    void *runs = trace->runs;
    bool fits =
        room_for(&requests, &maker->request_room, trace->request_count, sizeof *trace->requests) &&
        room_for(&runs, &maker->run_room, trace->run_count + 1, sizeof *trace->runs);
    trace->requests = requests;
    trace->runs = runs;
    if (!fits) {
        return false;
    }
    double outputs = exponential(maker, maker->kind->output_tokens);
    trace->requests[trace->request_count++] =
        (struct request){.at_us = (uint64_t)(at_s * 1e6),
                         .session = own.first,
                         .prompt_tokens = (shared.count + own.count) * LAB_BLOCK_TOKENS,
                         .output_tokens = 1 + (uint32_t)outputs,
                         .first_run = trace->run_count,
                         .run_count = 2};
    trace->runs[trace->run_count++] = shared;
    trace->runs[trace->run_count++] = own;
    return true;
}

static bool add_session(struct maker *maker, double at_s)
{
    const struct kind *kind = maker->kind;
    uint64_t which = gv_prng_below(&maker->prng, kind->system_count);
    struct run shared = {KIND_ID * (1 + which), kind->system_blocks};
    struct run own = {maker->next_id, count_of(maker, kind->first_blocks)};
    uint32_t turns = count_of(maker, kind->turn_mean);
    bool good = true;
    for (uint32_t i = 0; good && i < turns; i++) {
        good = add(maker, at_s, shared, own);
        at_s += exponential(maker, kind->think_s);
        own.count += count_of(maker, kind->turn_blocks);
    }
    maker->next_id += own.count + 1;
    return good;
}

static bool add_hot(struct maker *maker, double at_s)
{
    struct run shared = {HOT_ID, maker->kind->hot_blocks};
    struct run own = {maker->next_id, count_of(maker, 4)};
    maker->next_id += own.count + 1;
    return add(maker, at_s, shared, own);
}

/* In order of time; what was at the same time stays in the order in which it was made. */
static int by_time(const void *a, const void *b)
{
    const struct request *x = a;
    const struct request *y = b;
    if (x->at_us != y->at_us) {
        return x->at_us < y->at_us ? -1 : 1;
    }
    return x->first_run < y->first_run ? -1 : x->first_run > y->first_run;
}

bool lab_synthetic(struct trace *trace, const char *name, const struct options *options)
{
    struct maker maker = {.trace = trace, .options = options, .next_id = OWN_ID};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        maker.kind = strcmp(kinds[i].name, name) == 0 ? &kinds[i] : maker.kind;
    }
    *trace = (struct trace){.format = TRACE_CONVERSATION, .block_tokens = LAB_BLOCK_TOKENS};
    if (maker.kind == NULL) {
        return false;
    }
    gv_prng_init(&maker.prng, options->seed);
    size_t wanted = options->request_max == SIZE_MAX ? REQUESTS_USUAL : options->request_max;
    double rate = options->rate > 0 ? options->rate : RATE_USUAL;
    double turn_mean = maker.kind->turn_mean;
    double hot_per_session = maker.kind->hot_share / (1 - maker.kind->hot_share) * turn_mean;
    double session_s = (turn_mean + hot_per_session) / rate;
    double end_s = (double)wanted / rate;
    bool good = true;
    for (double at_s = -6 * turn_mean * maker.kind->think_s; good && at_s < end_s;
         at_s += exponential(&maker, session_s)) {
        good = add_session(&maker, at_s);
    }
    for (double at_s = 0; good && hot_per_session > 0 && at_s < end_s;
         at_s += exponential(&maker, 1 / (rate * maker.kind->hot_share))) {
        good = add_hot(&maker, at_s);
    }
    if (good) {
        qsort(trace->requests, trace->request_count, sizeof *trace->requests, by_time);
    }
    while (trace->request_count > 0 &&
           (double)trace->requests[trace->request_count - 1].at_us > end_s * 1e6) {
        trace->request_count -= 1;
    }
    trace->span_s = end_s;
    return good && trace->request_count > 0;
}
