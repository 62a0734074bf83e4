/*
 * test_lab_engine.c - the laboratory's engine, which keeps runs of blocks, against mockworker's,
 * which keeps every block: the same prompts at the same times must find the same tokens cached and
 * see their first token at the same moment.
 */
#include "../../tools/mockworker/engine.c"
#include "grapevine/base/prng.h"
#include "replay/lab/engine.h"
#include "support/suite.h"

#define PROMPTS      400
#define BLOCKS_MAX   48
#define US_PER_TOKEN 10.0
#define BLOCK_US     ((uint64_t)(LAB_BLOCK_TOKENS * US_PER_TOKEN))

/* A made-up trace of prompts that branch off each other, some a second apart, some at once. */
static struct trace make_trace(uint64_t seed)
{
    struct trace trace = {.format = TRACE_AGENTIC, .block_tokens = LAB_BLOCK_TOKENS};
    struct gv_prng prng;
    gv_prng_init(&prng, seed);
    trace.requests = gv_mem_new(GV_MEM_GENERAL, PROMPTS * sizeof *trace.requests);
    trace.runs = gv_mem_new(GV_MEM_GENERAL, PROMPTS * 2 * sizeof *trace.runs);
    CU_ASSERT_PTR_NOT_NULL_FATAL(trace.requests);
    CU_ASSERT_PTR_NOT_NULL_FATAL(trace.runs);
    uint64_t at_us = 0;
    uint64_t fresh = 1000;
    for (size_t i = 0; i < PROMPTS; i++) {
        uint64_t root = 1 + 100 * gv_prng_below(&prng, 6);
        struct run shared = {root, 1 + gv_prng_below(&prng, BLOCKS_MAX / 2)};
        struct run own = {fresh, gv_prng_below(&prng, BLOCKS_MAX / 2)};
        own.first = gv_prng_below(&prng, 2) == 0 ? root + 50 : own.first;
        fresh += own.count + 1;
        at_us += gv_prng_below(&prng, 4) == 0 ? 0 : gv_prng_below(&prng, 60 * BLOCK_US);
        trace.requests[i] =
            (struct request){.at_us = at_us,
                             .prompt_tokens = (shared.count + own.count) * LAB_BLOCK_TOKENS,
                             .output_tokens = 5,
                             .first_run = trace.run_count,
                             .run_count = own.count > 0 ? 2 : 1};
        trace.runs[trace.run_count++] = shared;
        if (own.count > 0) {
            trace.runs[trace.run_count++] = own;
        }
    }
    trace.request_count = PROMPTS;
    return trace;
}

/* The same prompt for mockworker's engine: its blocks are the fingerprints. */
static struct engine_job mock_job(const struct corpus *corpus, const struct corpus_prompt *prompt)
{
    struct engine_job job = {.block_count = prompt->full_count,
                             .prompt_tokens = prompt->tokens,
                             .output_tokens = prompt->output_tokens};
    job.blocks = gv_mem_new(GV_MEM_GENERAL, (prompt->block_count + 1) * sizeof *job.blocks);
    CU_ASSERT_PTR_NOT_NULL_FATAL(job.blocks);
    corpus_chain(corpus, prompt, job.blocks);
    return job;
}

/* Everything through both engines; slots are more than there are jobs, as mockworker has none. */
static void compare(const struct corpus *corpus, uint64_t capacity_blocks)
{
    static struct engine_job mock_jobs[PROMPTS];
    static struct lab_job lab_jobs[PROMPTS];
    struct engine mock;
    struct lab_engine lab;
    engine_init(&mock, (struct engine_limits){.block_tokens = LAB_BLOCK_TOKENS,
                                              .capacity_tokens = capacity_blocks * LAB_BLOCK_TOKENS,
                                              .prefill_us_per_token = US_PER_TOKEN});
    lab_engine_init(&lab, corpus,
                    (struct lab_engine_limits){.capacity_blocks = capacity_blocks,
                                               .prefill_us_per_token = US_PER_TOKEN,
                                               .slots = PROMPTS + 1});
    uint64_t first_at_us[PROMPTS] = {0};
    size_t submitted = 0;
    uint32_t firsts = 0;
    uint64_t hits = 0;
    while (firsts < PROMPTS) {
        uint64_t next_us =
            submitted < PROMPTS ? corpus->prompts[submitted].at_us : lab_engine_due(&lab);
        struct lab_job *job;
        uint64_t at_us;
        enum lab_engine_event event;
        while ((event = lab_engine_step(&lab, next_us, &job, &at_us)) != LAB_ENGINE_NOTHING) {
            if (event == LAB_ENGINE_FIRST) {
                first_at_us[job->number] = at_us;
                firsts += 1;
            }
        }
        if (submitted < PROMPTS) {
            mock_jobs[submitted] = mock_job(corpus, &corpus->prompts[submitted]);
            lab_jobs[submitted] = (struct lab_job){.prompt = &corpus->prompts[submitted],
                                                   .number = (uint32_t)submitted};
            engine_submit(&mock, &mock_jobs[submitted], next_us);
            lab_engine_submit(&lab, &lab_jobs[submitted], next_us);
            submitted += 1;
        }
    }
    engine_advance(&mock, UINT64_MAX / 4);
    for (size_t i = 0; i < PROMPTS; i++) {
        CU_ASSERT_EQUAL(lab_jobs[i].cached_tokens, mock_jobs[i].cached_tokens);
        CU_ASSERT_EQUAL(first_at_us[i], mock_jobs[i].first_at_us);
        hits += mock_jobs[i].cached_tokens;
        engine_remove(&mock, &mock_jobs[i], UINT64_MAX / 4);
        engine_job_deinit(&mock_jobs[i]);
    }
    CU_ASSERT(hits > 0);
    CU_ASSERT_EQUAL(lab.held_blocks * LAB_BLOCK_TOKENS, engine_cached_tokens(&mock));
    engine_deinit(&mock);
    lab_engine_deinit(&lab);
}

static void runs_of_blocks_are_cached_as_single_blocks_are(void)
{
    static const uint64_t capacities[] = {20, 47, 100, 333, 100000};
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct trace trace = make_trace(seed);
        struct options options = {.bytes_per_token = 4};
        struct corpus corpus;
        CU_ASSERT_TRUE_FATAL(corpus_make(&corpus, &trace, &options));
        for (size_t i = 0; i < sizeof capacities / sizeof capacities[0]; i++) {
            compare(&corpus, capacities[i]);
        }
        corpus_free(&corpus);
        trace_free(&trace);
    }
}

/* Two prompts of 10 blocks, 640 tokens, 6.4 ms each; 2 tokens of answer, 1 ms each. */
struct pair {
    struct trace trace;
    struct corpus corpus;
    struct lab_engine engine;
    struct lab_job jobs[2];
};

static void pair_open(struct pair *pair, uint32_t slots)
{
    static struct request requests[2];
    static struct run runs[2];
    const struct options options = {.bytes_per_token = 4};
    for (uint64_t i = 0; i < 2; i++) {
        runs[i] = (struct run){1 + 100 * i, 10};
        requests[i] = (struct request){
            .prompt_tokens = 640, .output_tokens = 2, .first_run = i, .run_count = 1};
    }
    pair->trace = (struct trace){.format = TRACE_AGENTIC,
                                 .block_tokens = LAB_BLOCK_TOKENS,
                                 .requests = requests,
                                 .request_count = 2,
                                 .runs = runs,
                                 .run_count = 2};
    CU_ASSERT_TRUE_FATAL(corpus_make(&pair->corpus, &pair->trace, &options));
    lab_engine_init(&pair->engine, &pair->corpus,
                    (struct lab_engine_limits){.capacity_blocks = 100,
                                               .prefill_us_per_token = US_PER_TOKEN,
                                               .decode_us_per_token = 1000,
                                               .slots = slots});
    for (uint32_t i = 0; i < 2; i++) {
        pair->jobs[i] = (struct lab_job){.prompt = &pair->corpus.prompts[i], .number = i};
        lab_engine_submit(&pair->engine, &pair->jobs[i], 0);
    }
}

static void pair_close(struct pair *pair)
{
    lab_engine_deinit(&pair->engine);
    corpus_free(&pair->corpus);
}

static void expect(struct pair *pair, enum lab_engine_event event, uint32_t number, uint64_t at_us)
{
    struct lab_job *job = NULL;
    uint64_t happened_us = 0;
    CU_ASSERT_EQUAL(lab_engine_due(&pair->engine), at_us);
    CU_ASSERT_EQUAL(lab_engine_step(&pair->engine, at_us - 1, &job, &happened_us),
                    LAB_ENGINE_NOTHING);
    CU_ASSERT_EQUAL(lab_engine_step(&pair->engine, at_us, &job, &happened_us), event);
    CU_ASSERT_PTR_EQUAL(job, &pair->jobs[number]);
    CU_ASSERT_EQUAL(happened_us, at_us);
}

static void prefill_waits_for_a_slot(void)
{
    struct pair pair;
    pair_open(&pair, 1);
    expect(&pair, LAB_ENGINE_FIRST, 0, 6400);
    expect(&pair, LAB_ENGINE_END, 0, 8400);
    expect(&pair, LAB_ENGINE_FIRST, 1, 14800);
    expect(&pair, LAB_ENGINE_END, 1, 16800);
    CU_ASSERT_EQUAL(lab_engine_due(&pair.engine), LAB_NEVER);
    pair_close(&pair);
    pair_open(&pair, 2); /* with two slots decode of the one is prefill of the other */
    expect(&pair, LAB_ENGINE_FIRST, 0, 6400);
    expect(&pair, LAB_ENGINE_END, 0, 8400);
    expect(&pair, LAB_ENGINE_FIRST, 1, 12800);
    pair_close(&pair);
}

static void a_stall_delays_all_that_is_under_way_and_all_that_comes(void)
{
    struct pair pair;
    pair_open(&pair, 2);
    expect(&pair, LAB_ENGINE_FIRST, 0, 6400);
    lab_engine_stall(&pair.engine, 7000, 107000);
    lab_engine_stall(&pair.engine, 8000, 50000); /* within the first one: nothing more */
    expect(&pair, LAB_ENGINE_END, 0, 108400);
    expect(&pair, LAB_ENGINE_FIRST, 1, 112800);
    pair_close(&pair);
}

static void what_is_removed_makes_room_for_the_next(void)
{
    struct pair pair;
    pair_open(&pair, 1);
    lab_engine_remove(&pair.engine, &pair.jobs[0], 1000); /* in prefill */
    expect(&pair, LAB_ENGINE_FIRST, 1, 7400);
    lab_engine_remove(&pair.engine, &pair.jobs[1], 7500); /* in decode */
    CU_ASSERT_EQUAL(lab_engine_due(&pair.engine), LAB_NEVER);
    CU_ASSERT_EQUAL(lab_engine_cached(&pair.engine, pair.jobs[0].prompt), 0);
    CU_ASSERT_EQUAL(lab_engine_cached(&pair.engine, pair.jobs[1].prompt),
                    639); /* the last is computed anew */
    lab_engine_flush(&pair.engine);
    CU_ASSERT_EQUAL(lab_engine_cached(&pair.engine, pair.jobs[1].prompt), 0);
    pair_close(&pair);
}

GV_SUITE("model/lab engine", GV_CASE(runs_of_blocks_are_cached_as_single_blocks_are),
         GV_CASE(prefill_waits_for_a_slot),
         GV_CASE(a_stall_delays_all_that_is_under_way_and_all_that_comes),
         GV_CASE(what_is_removed_makes_room_for_the_next))
