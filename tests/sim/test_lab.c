/*
 * test_lab.c - whole fleets in virtual time: eight routers do as well as one, and nothing
 * collapses, whatever befalls engines, routers or the network between them. Ratios, not times of
 * this machine.
 */
#include "replay/lab/lab.h"
#include "support/suite.h"

struct bench {
    struct lab_options options;
    struct trace trace;
    struct corpus corpus;
    struct lab_possible possible;
};

/* Eight engines, each with room for so many tokens, and a made-up trace. */
static void bench_open(struct bench *bench, const char *trace, size_t requests, double rate,
                       uint64_t cache_tokens)
{
    lab_options_init(&bench->options);
    bench->options.engines = 8;
    bench->options.engine.capacity_blocks = cache_tokens / LAB_BLOCK_TOKENS;
    bench->options.trace.request_max = requests;
    bench->options.trace.rate = rate;
    CU_ASSERT_TRUE_FATAL(lab_synthetic(&bench->trace, trace, &bench->options.trace));
    CU_ASSERT_TRUE_FATAL(corpus_make(&bench->corpus, &bench->trace, &bench->options.trace));
    lab_possible(&bench->options, &bench->corpus, &bench->possible);
}

static void bench_close(struct bench *bench)
{
    corpus_free(&bench->corpus);
    trace_free(&bench->trace);
}

static struct lab_result run(const struct bench *bench, const char *name)
{
    struct lab_contender contender;
    struct lab_result result;
    CU_ASSERT_TRUE_FATAL(lab_contender_parse(name, &contender));
    contender.routers = contender.routers == 0 ? bench->options.routers : contender.routers;
    CU_ASSERT_TRUE_FATAL(lab_run(&bench->options, &bench->corpus, &contender, &result));
    CU_ASSERT_EQUAL(result.requests, bench->corpus.prompt_count);
    CU_ASSERT_STRING_EQUAL(result.trouble, "");
    return result;
}

static void the_same_seed_gives_the_same_run_to_the_byte(void)
{
    static struct lab_result first, second;
    static struct bench bench;
    static const char *const names[] = {"prefix_cost", "cache_aware", "least_load", "smg-mesh"};
    bench_open(&bench, "turns", 600, 20, 60000);
    bench.options.situation = LAB_ROUTER_CHURN;
    bench.options.loss = 0.02;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        first = run(&bench, names[i]);
        second = run(&bench, names[i]);
        CU_ASSERT_EQUAL(memcmp(&first, &second, sizeof first), 0);
    }
    bench.options.trace.seed = 2;
    second = run(&bench, "smg-mesh");
    CU_ASSERT_EQUAL(memcmp(&first, &second, sizeof first), 0); /* nothing random in it */
    second = run(&bench, "prefix_cost");
    CU_ASSERT_NOT_EQUAL(memcmp(&first, &second, sizeof first), 0);
    bench_close(&bench);
}

/* Under cache pressure: of all tokens more were seen before than one large cache could keep. */
static void eight_routers_do_as_well_as_one(void)
{
    static const char *const traces[] = {"turns", "root", "chats"};
    for (size_t i = 0; i < sizeof traces / sizeof traces[0]; i++) {
        static struct bench bench;
        bench_open(&bench, traces[i], 2500, 20, 80000);
        CU_ASSERT(bench.possible.pooled < bench.possible.infinite);
        struct lab_result one = run(&bench, "prefix_cost@1");
        struct lab_result eight = run(&bench, "prefix_cost");
        struct lab_result turns = run(&bench, "round_robin");
        CU_ASSERT(lab_hit_rate(&eight) >= 0.98 * lab_hit_rate(&one));
        CU_ASSERT(lab_first_ms(&eight) <= 1.05 * lab_first_ms(&one));
        CU_ASSERT(lab_hit_rate(&eight) >= 1.2 * lab_hit_rate(&turns));
        CU_ASSERT(lab_first_ms(&turns) >= 1.5 * lab_first_ms(&eight));
        CU_ASSERT_EQUAL(eight.failed + eight.retries, 0);
        bench_close(&bench);
    }
}

/* The wait, which is everywhere, must not outweigh the prefix: more is computed twice, and all wait
 * longer still. cache_aware does not look at what waits. */
static void beyond_what_engines_can_compute_prefixes_are_still_followed(void)
{
    static const char *const traces[] = {"agents", "chats"};
    for (size_t i = 0; i < sizeof traces / sizeof traces[0]; i++) {
        static struct bench bench;
        bench_open(&bench, traces[i], 3000, 30, 131072);
        struct lab_result cost = run(&bench, "prefix_cost");
        struct lab_result aware = run(&bench, "cache_aware");
        printf("%s: hit rate %.3f, first token %.1f s; cache_aware %.3f, %.1f s; possible %.3f\n",
               traces[i], lab_hit_rate(&cost), lab_first_ms(&cost) / 1000, lab_hit_rate(&aware),
               lab_first_ms(&aware) / 1000, bench.possible.pooled);
        CU_ASSERT(lab_hit_rate(&cost) >= 1.02 * lab_hit_rate(&aware));
        CU_ASSERT(lab_first_ms(&cost) <= 0.95 * lab_first_ms(&aware));
        CU_ASSERT(lab_hit_rate(&cost) >= 0.88 * bench.possible.pooled);
        bench_close(&bench);
    }
}

/* Whoever had the shared root first must not get all prompts while other caches stay empty. */
static void a_root_that_all_share_leaves_no_engine_idle(void)
{
    static struct bench bench;
    bench_open(&bench, "root", 3000, 12, 100000);
    struct lab_result cost = run(&bench, "prefix_cost");
    struct lab_result aware = run(&bench, "cache_aware");
    printf("hit rate %.3f, first token %.0f ms, spread %.3f; cache_aware %.3f, %.0f ms\n",
           lab_hit_rate(&cost), lab_first_ms(&cost), cost.spread_requests, lab_hit_rate(&aware),
           lab_first_ms(&aware));
    CU_ASSERT(lab_hit_rate(&cost) >= 0.98 * lab_hit_rate(&aware));
    CU_ASSERT(lab_first_ms(&cost) <= lab_first_ms(&aware));
    CU_ASSERT(cost.spread_requests < 0.25);
    bench_close(&bench);
}

/* As a published fleet is measured: sessions of one request or two, 680 requests an engine. */
static void engines_get_equal_shares(void)
{
    static struct bench bench;
    bench_open(&bench, "pairs", 5440, 29, 1200000);
    bench.options.engine.prefill_us_per_token = 1e6 / 80000;
    bench.options.engine.decode_us_per_token = 4300;
    struct lab_result result = run(&bench, "prefix_cost");
    printf("spread of requests %.3f, tokens %.3f, in flight %.3f\n", result.spread_requests,
           result.spread_tokens, result.spread_load);
    CU_ASSERT(result.spread_requests <= 0.06);
    CU_ASSERT(result.spread_tokens <= 0.06);
    CU_ASSERT(result.spread_load <= 0.06);
    bench_close(&bench);
}

static void without_loads_of_the_others_it_is_worse(void)
{
    static struct bench bench;
    bench_open(&bench, "turns", 2500, 14, 80000);
    struct lab_result with = run(&bench, "prefix_cost");
    bench.options.no_load_sync = true;
    struct lab_result without = run(&bench, "prefix_cost");
    CU_ASSERT(lab_first_ms(&without) > 1.1 * lab_first_ms(&with));
    bench.options.no_load_sync = false;
    bench.options.no_prefix_sync = true;
    without = run(&bench, "prefix_cost");
    CU_ASSERT(lab_hit_rate(&without) < 0.9 * lab_hit_rate(&with));
    bench_close(&bench);
}

/* What a situation may cost: a share of the hits of calm weather, and times its first token. */
struct toll {
    enum lab_situation situation;
    double hits, first;
};

static void nothing_collapses(void)
{
    static const struct toll tolls[] = {{LAB_WORKER_CHURN, 0.9, 2}, {LAB_ROUTER_CHURN, 0.97, 1.3},
                                        {LAB_PARTITION, 0.8, 1.5},  {LAB_RESTART, 0.9, 1.6},
                                        {LAB_SLOW, 0.9, 3},         {LAB_STALL, 0.9, 8}};
    static struct bench bench;
    bench_open(&bench, "turns", 2500, 12, 120000);
    struct lab_result calm = run(&bench, "prefix_cost");
    for (size_t i = 0; i < sizeof tolls / sizeof tolls[0]; i++) {
        bench.options.situation = tolls[i].situation;
        struct lab_result result = run(&bench, "prefix_cost");
        printf("%s: hit rate %.3f of %.3f, first token %.0f of %.0f ms, %llu retries, %llu cut\n",
               lab_situation_name(tolls[i].situation), lab_hit_rate(&result), lab_hit_rate(&calm),
               lab_first_ms(&result), lab_first_ms(&calm), (unsigned long long)result.retries,
               (unsigned long long)result.failed);
        CU_ASSERT(lab_hit_rate(&result) >= tolls[i].hits * lab_hit_rate(&calm));
        CU_ASSERT(lab_first_ms(&result) <= tolls[i].first * lab_first_ms(&calm));
        CU_ASSERT_EQUAL(result.first_us.count + result.failed >= result.requests, true);
    }
    bench_close(&bench);
}

static void loads_five_seconds_old_and_a_hot_prefix_do_not_make_a_herd(void)
{
    static struct bench bench;
    bench_open(&bench, "hot", 2500, 20, 120000);
    struct lab_result calm = run(&bench, "prefix_cost");
    struct lab_result least = run(&bench, "least_load");
    CU_ASSERT(lab_hit_rate(&calm) >= 1.05 * lab_hit_rate(&least));
    CU_ASSERT(lab_first_ms(&calm) <= lab_first_ms(&least));
    bench.options.load_age_ms = 5000;
    struct lab_result old = run(&bench, "prefix_cost");
    printf("loads 5 s old: hit rate %.3f of %.3f, first token %.0f of %.0f ms\n",
           lab_hit_rate(&old), lab_hit_rate(&calm), lab_first_ms(&old), lab_first_ms(&calm));
    CU_ASSERT(lab_hit_rate(&old) >= 0.95 * lab_hit_rate(&calm));
    CU_ASSERT(lab_first_ms(&old) <= 2.5 * lab_first_ms(&calm));
    bench_close(&bench);
}

/* 20 requests a second in both; what begins in the second half is as the whole trace has it. */
static void a_trace_may_begin_later(void)
{
    struct options options = {.request_max = 1000, .rate = 20, .seed = 1};
    struct trace whole, half;
    CU_ASSERT_TRUE_FATAL(lab_synthetic(&whole, "turns", &options));
    CU_ASSERT_TRUE_FATAL(lab_synthetic(&half, "turns", &options));
    size_t count = whole.request_count;
    CU_ASSERT_EQUAL_FATAL(lab_skip(&half, 400), count - 400);
    CU_ASSERT_EQUAL(half.requests[0].at_us, 0);
    for (size_t i = 1; i < half.request_count; i++) {
        CU_ASSERT_EQUAL(half.requests[i].first_run, whole.requests[400 + i].first_run);
        CU_ASSERT_EQUAL(half.requests[i].at_us,
                        whole.requests[400 + i].at_us - whole.requests[400].at_us);
    }
    CU_ASSERT_EQUAL(lab_skip(&half, 0), count - 400);
    CU_ASSERT_EQUAL(lab_skip(&half, count), 0);
    trace_free(&half);
    trace_free(&whole);
}

/* `manual` knows sessions and nothing else, so what it reaches is what staying alone is worth. */
static void manual_keeps_a_session_where_it_began(void)
{
    static struct bench bench;
    bench_open(&bench, "turns", 2500, 12, 120000);
    struct lab_result stays = run(&bench, "manual@1");
    struct lab_result dealt = run(&bench, "least_load@1");
    CU_ASSERT(lab_hit_rate(&stays) > 1.5 * lab_hit_rate(&dealt));
    bench_close(&bench);
}

static void contenders_are_told_by_name_routers_and_blocks(void)
{
    struct lab_contender contender;
    CU_ASSERT_TRUE(lab_contender_parse("prefix_hash:12@3", &contender));
    CU_ASSERT_STRING_EQUAL(contender.policy, "prefix_hash");
    CU_ASSERT_EQUAL(contender.hash_blocks, 12);
    CU_ASSERT_EQUAL(contender.routers, 3);
    CU_ASSERT_TRUE(lab_contender_parse("smg-events", &contender));
    CU_ASSERT_EQUAL(contender.kind, LAB_SMG_EVENTS);
    CU_ASSERT_TRUE(lab_contender_parse("cache_aware@16", &contender));
    CU_ASSERT_FALSE(lab_contender_parse("cache_aware@17", &contender));
    CU_ASSERT_FALSE(lab_contender_parse("cache_aware@0", &contender));
    CU_ASSERT_FALSE(lab_contender_parse("cache_aware@", &contender));
    CU_ASSERT_FALSE(lab_contender_parse("cash_aware", &contender));
    CU_ASSERT_FALSE(lab_contender_parse("", &contender));
}

GV_SUITE("sim/lab", GV_CASE(the_same_seed_gives_the_same_run_to_the_byte),
         GV_CASE(eight_routers_do_as_well_as_one),
         GV_CASE(beyond_what_engines_can_compute_prefixes_are_still_followed),
         GV_CASE(a_root_that_all_share_leaves_no_engine_idle), GV_CASE(engines_get_equal_shares),
         GV_CASE(without_loads_of_the_others_it_is_worse), GV_CASE(nothing_collapses),
         GV_CASE(loads_five_seconds_old_and_a_hot_prefix_do_not_make_a_herd),
         GV_CASE(a_trace_may_begin_later), GV_CASE(manual_keeps_a_session_where_it_began),
         GV_CASE(contenders_are_told_by_name_routers_and_blocks))
