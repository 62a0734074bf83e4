/* test_policy_usage.c - what engines say of their KV tokens, and how it moves a choice. */
#include "stage.h"

#define NOW   100000
#define STALE 30000

static struct gv_policy_options with_usage(double spread, double most)
{
    struct gv_policy_options options = usual;
    options.usage_spread = spread;
    options.usage_most = most;
    options.report_stale_ms = STALE;
    return options;
}

static void report(struct stage *stage, uint32_t worker, uint32_t permille, uint64_t at_ms)
{
    struct gv_load_report said = {.at_ms = at_ms, .usage_permille = permille};
    gv_load_hear(stage->load, worker, &said);
}

static const uint64_t chain[4] = {11, 12, 13, 14};

/* Worker 0 holds the whole prompt. */
static struct stage holding(const char *name, struct gv_policy_options options)
{
    struct stage stage = stage_with(name, 3, options);
    struct gv_operation operation;
    CU_ASSERT_TRUE(gv_forest_record(stage.forest, "regular::m", chain, 4, 0, WALL, &operation));
    return stage;
}

static struct gv_decision decide_now(struct stage *stage)
{
    return decide_on(
        stage,
        (struct gv_policy_request){
            .key = "regular::m", .chain = chain, .count = 4, .prompt_bytes = 1024, .now_ms = NOW});
}

static void a_full_engine_is_spared_while_another_is_not(void)
{
    static const char *const names[] = {"cache_aware", "prefix_cost"};
    for (size_t i = 0; i < 2; i++) {
        struct stage stage = holding(names[i], with_usage(1.0, 0.9));
        report(&stage, 0, 900, NOW);
        report(&stage, 1, 100, NOW);
        CU_ASSERT_EQUAL(decide_now(&stage).worker, 0); /* at the limit, not beyond it */
        report(&stage, 0, 901, NOW + 1);
        struct gv_decision decision = decide_now(&stage);
        CU_ASSERT_NOT_EQUAL(decision.worker, 0);
        CU_ASSERT_EQUAL(decision.rule, GV_RULE_BALANCE);
        report(&stage, 1, 950, NOW + 1);
        report(&stage, 2, 950, NOW + 1);
        CU_ASSERT_EQUAL(decide_now(&stage).worker, 0); /* all are full: none is spared */
        stage_end(&stage);
    }
}

static void every_policy_spares_a_full_engine_but_one_that_always_takes_the_first(void)
{
    for (const char *const *name = gv_policy_names(); *name != NULL; name++) {
        struct stage stage = stage_with(*name, 3, with_usage(1.0, 0.9));
        report(&stage, 0, 901, NOW);
        report(&stage, 1, 100, NOW);
        bool first = strcmp(*name, "passthrough") == 0;
        for (int i = 0; i < 50; i++) {
            CU_ASSERT_EQUAL(decide_now(&stage).worker == 0, first);
        }
        stage_end(&stage);
    }
}

static void a_spread_of_usage_is_out_of_balance(void)
{
    struct stage stage = holding("cache_aware", with_usage(0.3, 1.0));
    report(&stage, 0, 500, NOW);
    report(&stage, 1, 200, NOW);
    CU_ASSERT_EQUAL(decide_now(&stage).worker, 0); /* 0.3 apart */
    report(&stage, 0, 501, NOW + 1);
    CU_ASSERT_NOT_EQUAL(decide_now(&stage).worker, 0);
    stage_end(&stage);
}

static void what_is_stale_or_switched_off_moves_nothing(void)
{
    struct stage stage = holding("cache_aware", with_usage(0.3, 0.9));
    report(&stage, 0, 1000, NOW - STALE - 1);
    report(&stage, 1, 0, NOW);
    CU_ASSERT_EQUAL(decide_now(&stage).worker, 0);
    report(&stage, 0, 1000, NOW - STALE);
    CU_ASSERT_NOT_EQUAL(decide_now(&stage).worker, 0);
    stage_end(&stage);
    stage = holding("cache_aware", with_usage(1.0, 1.0));
    report(&stage, 0, 1000, NOW);
    report(&stage, 1, 0, NOW);
    CU_ASSERT_EQUAL(decide_now(&stage).worker, 0);
    stage_end(&stage);
}

static void requests_that_came_from_elsewhere_are_load(void)
{
    struct stage stage = stage_with("least_load", 2, with_usage(1.0, 1.0));
    struct gv_load_report said = {.at_ms = NOW, .foreign = 3, .usage_permille = 0};
    gv_load_hear(stage.load, 0, &said);
    struct gv_decision decision = decide_now(&stage);
    CU_ASSERT_EQUAL(decision.worker, 1);
    gv_load_set_remote(stage.load, 1, 4, 0);
    decision = decide_now(&stage);
    CU_ASSERT_EQUAL(decision.worker, 0);
    CU_ASSERT_EQUAL(decision.load, 3);
    stage_end(&stage);
}

/* One long prompt waits at the first, three short ones run at the second. */
static void the_least_loaded_is_done_soonest_and_not_only_short_of_requests(void)
{
    struct stage stage = stage_with("least_load", 2, with_usage(1.0, 1.0));
    gv_load_take(stage.load, 0, 400000);
    take(&stage, 1, 3);
    CU_ASSERT_EQUAL(decide_now(&stage).worker, 1);
    gv_load_believe(stage.load, 0, (struct gv_load_belief){.prefill_bytes_per_ms = 4000});
    CU_ASSERT_EQUAL(decide_now(&stage).worker, 0);
    report(&stage, 0, 900, NOW); /* 100 ms of waiting and 1,350 of fullness */
    CU_ASSERT_EQUAL(decide_now(&stage).worker, 1);
    report(&stage, 1, 950, NOW);
    CU_ASSERT_EQUAL(decide_now(&stage).worker, 0);
    report(&stage, 1, 900, NOW + 1);
    CU_ASSERT_EQUAL(decide_now(&stage).worker, 1);
    stage_end(&stage);
}

/* A full engine has a score, too. */
static void fullness_beyond_everything_is_a_number(void)
{
    struct stage stage = stage_with("least_load", 2, with_usage(1.0, 1.0));
    report(&stage, 0, 1000, NOW);
    report(&stage, 1, 998, NOW);
    CU_ASSERT_EQUAL(decide_now(&stage).worker, 1);
    stage_end(&stage);
}

GV_SUITE("route/policy_usage", GV_CASE(a_full_engine_is_spared_while_another_is_not),
         GV_CASE(every_policy_spares_a_full_engine_but_one_that_always_takes_the_first),
         GV_CASE(a_spread_of_usage_is_out_of_balance),
         GV_CASE(what_is_stale_or_switched_off_moves_nothing),
         GV_CASE(requests_that_came_from_elsewhere_are_load),
         GV_CASE(the_least_loaded_is_done_soonest_and_not_only_short_of_requests),
         GV_CASE(fullness_beyond_everything_is_a_number))
