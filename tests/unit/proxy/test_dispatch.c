/* test_dispatch.c - plans and decisions without a socket. */
#include "grapevine/base/mem.h"
#include "grapevine/proxy/dispatch.h"
#include "support/suite.h"
#include <stdio.h>

struct bench {
    struct gv_config config;
    struct gv_fingerprint_secret secret;
    struct gv_proxy_shared shared;
    struct gv_prompt_reader *reader;
    struct gv_buf text;
    const struct gv_fleet_view *view;
};

static void setup(struct bench *bench)
{
    memset(bench, 0, sizeof *bench);
    static const uint8_t key[32];
    struct gv_forest_limits limits = {.max_bytes = 16u << 20,
                                      .touch_interval_s = 5,
                                      .max_keys = 8,
                                      .worker_blocks = 1u << 20,
                                      .min_age_s = 10,
                                      .max_ahead_s = 60};
    struct gv_policy_options options = {.cache_threshold = 0.3,
                                        .balance_abs_threshold = 64,
                                        .balance_rel_threshold = 1.5,
                                        .load_bound = 1.25,
                                        .block_bytes = 256};
    bench->config.block_bytes = 16;
    gv_fingerprint_secret_init(&bench->secret, key);
    bench->shared.config = &bench->config;
    bench->shared.secret = &bench->secret;
    CU_ASSERT_EQUAL_FATAL(gv_fleet_new(&bench->shared.fleet), GV_OK);
    CU_ASSERT_EQUAL_FATAL(gv_load_new(&bench->shared.load), GV_OK);
    CU_ASSERT_EQUAL_FATAL(gv_forest_new(limits, &bench->shared.forest), GV_OK);
    for (int i = 0; i < GV_POOL_COUNT; i++) {
        CU_ASSERT_EQUAL_FATAL(gv_policy_new("cache_aware", options, bench->shared.forest,
                                            bench->shared.load, &bench->shared.policies[i]),
                              GV_OK);
    }
    CU_ASSERT_EQUAL_FATAL(gv_prompt_reader_new(&bench->reader), GV_OK);
    gv_buf_init(&bench->text, GV_MEM_EXCHANGE, 1u << 20);
}

static void add(struct bench *bench, const char *url, enum gv_pool pool, const char *model)
{
    struct gv_worker worker = {.pool = pool, .state = GV_WORKER_READY, .bootstrap_port = -1};
    snprintf(worker.url, sizeof worker.url, "%s", url);
    if (model != NULL) {
        worker.model_count = 1;
        snprintf(worker.models[0], sizeof worker.models[0], "%s", model);
    }
    CU_ASSERT_EQUAL_FATAL(gv_fleet_put(bench->shared.fleet, &worker), GV_OK);
}

static void teardown(struct bench *bench)
{
    gv_fleet_release(bench->shared.fleet, bench->view);
    gv_prompt_reader_free(bench->reader);
    gv_buf_deinit(&bench->text);
    for (int i = 0; i < GV_POOL_COUNT; i++) {
        gv_policy_free(bench->shared.policies[i]);
    }
    gv_forest_free(bench->shared.forest);
    gv_load_free(bench->shared.load);
    gv_fleet_free(bench->shared.fleet);
    CU_ASSERT_EQUAL(gv_mem_used(GV_MEM_EXCHANGE), 0);
}

static enum gv_problem make(struct bench *bench, struct gv_plan *plan, enum gv_endpoint endpoint,
                            const char *body)
{
    enum gv_problem problem = GV_PROBLEM_NONE;
    if (bench->view == NULL) {
        bench->view = gv_fleet_acquire(bench->shared.fleet);
    }
    enum gv_err err = gv_plan_init(plan, &bench->shared, bench->view, bench->reader, &bench->text,
                                   endpoint, gv_slice_text(body), &problem);
    CU_ASSERT_EQUAL(err, problem == GV_PROBLEM_NONE ? GV_OK : GV_EINVAL);
    return problem;
}

#define CHAT(model, text)                                                                          \
    "{\"model\":\"" model "\",\"messages\":[{\"role\":\"user\",\"content\":\"" text "\"}]}"

static enum gv_problem decide(struct bench *bench, const struct gv_plan *plan, uint32_t leg,
                              const uint32_t *avoid, uint32_t avoid_count,
                              struct gv_decision *decision)
{
    struct gv_dispatch_question question = {
        .plan = plan, .leg = leg, .random = 1, .avoid = avoid, .avoid_count = avoid_count};
    *decision = (struct gv_decision){.policy = ""};
    return gv_dispatch_decide(&bench->shared, bench->view, &question, decision);
}

static void one_prompt_has_one_key_and_a_pair_has_two_with_nothing_in_common(void)
{
    struct bench bench;
    struct gv_plan plan;
    setup(&bench);
    add(&bench, "http://p:1", GV_POOL_PREFILL, "m");
    add(&bench, "http://d:1", GV_POOL_DECODE, "m");
    add(&bench, "http://r:1", GV_POOL_REGULAR, "other");
    CU_ASSERT_EQUAL(make(&bench, &plan, GV_ENDPOINT_CHAT, CHAT("other", "hello")), GV_PROBLEM_NONE);
    CU_ASSERT_EQUAL(plan.leg_count, 1);
    CU_ASSERT_STRING_EQUAL(plan.legs[0].key, "regular::other");
    gv_plan_deinit(&plan);
    CU_ASSERT_EQUAL(make(&bench, &plan, GV_ENDPOINT_CHAT, CHAT("m", "hello")), GV_PROBLEM_NONE);
    CU_ASSERT_EQUAL(plan.leg_count, 2);
    CU_ASSERT_STRING_EQUAL(plan.legs[0].key, "prefill::m");
    CU_ASSERT_STRING_EQUAL(plan.legs[1].key, "decode::m");
    CU_ASSERT_EQUAL(plan.legs[0].count, plan.legs[1].count);
    CU_ASSERT(plan.legs[0].count > 0);
    for (uint32_t i = 0; i < plan.legs[0].count; i++) {
        CU_ASSERT_NOT_EQUAL(plan.legs[0].chain[i], plan.legs[1].chain[i]);
    }
    gv_plan_deinit(&plan);
    CU_ASSERT_EQUAL(
        make(&bench, &plan, GV_ENDPOINT_EMBEDDINGS, "{\"model\":\"m\",\"input\":\"x\"}"),
        GV_PROBLEM_NOT_IMPLEMENTED);
    teardown(&bench);
}

static void a_worker_that_failed_is_not_chosen_again_even_when_no_other_is_there(void)
{
    struct bench bench;
    struct gv_plan plan;
    struct gv_decision decision;
    setup(&bench);
    add(&bench, "http://a:1", GV_POOL_REGULAR, NULL);
    add(&bench, "http://b:1", GV_POOL_REGULAR, NULL);
    CU_ASSERT_EQUAL(make(&bench, &plan, GV_ENDPOINT_CHAT, CHAT("m", "hello")), GV_PROBLEM_NONE);
    uint32_t failed[2] = {bench.view->workers[0].index, bench.view->workers[1].index};
    CU_ASSERT_EQUAL(decide(&bench, &plan, 0, failed, 1, &decision), GV_PROBLEM_NONE);
    CU_ASSERT_EQUAL(decision.worker, failed[1]);
    CU_ASSERT_EQUAL(decide(&bench, &plan, 0, failed + 1, 1, &decision), GV_PROBLEM_NONE);
    CU_ASSERT_EQUAL(decision.worker, failed[0]);
    CU_ASSERT_EQUAL(decide(&bench, &plan, 0, failed, 2, &decision), GV_PROBLEM_NO_AVAILABLE);
    struct gv_dispatch_question question = {.plan = &plan, .avoid = failed, .avoid_count = 1};
    CU_ASSERT(gv_dispatch_has_another(&bench.shared, bench.view, &question));
    question.avoid_count = 2;
    CU_ASSERT_FALSE(gv_dispatch_has_another(&bench.shared, bench.view, &question));
    CU_ASSERT_FALSE(gv_dispatch_has_hope(&bench.shared, bench.view, &question));
    gv_plan_deinit(&plan);
    teardown(&bench);
}

static void what_failed_for_an_engine_failed_for_its_ranks_and_for_no_others(void)
{
    struct bench bench;
    struct gv_plan plan;
    struct gv_decision decision;
    setup(&bench);
    add(&bench, "http://a:1@0", GV_POOL_REGULAR, NULL);
    add(&bench, "http://a:1@1", GV_POOL_REGULAR, NULL);
    add(&bench, "http://b:1@0", GV_POOL_REGULAR, NULL);
    CU_ASSERT_EQUAL(make(&bench, &plan, GV_ENDPOINT_CHAT, CHAT("m", "hello")), GV_PROBLEM_NONE);
    const struct gv_worker *workers = bench.view->workers;
    CU_ASSERT_EQUAL(workers[0].engine, workers[1].engine);
    CU_ASSERT_NOT_EQUAL(workers[0].engine, workers[2].engine);
    CU_ASSERT_NOT_EQUAL(workers[0].engine, workers[0].index);
    CU_ASSERT_EQUAL(decide(&bench, &plan, 0, &workers[1].engine, 1, &decision), GV_PROBLEM_NONE);
    CU_ASSERT_EQUAL(decision.worker, workers[2].index);
    uint32_t failed[2] = {workers[2].index, workers[0].index};
    CU_ASSERT_EQUAL(decide(&bench, &plan, 0, failed, 2, &decision), GV_PROBLEM_NONE);
    CU_ASSERT_EQUAL(decision.worker, workers[1].index);
    gv_plan_deinit(&plan);
    teardown(&bench);
}

static void hope_is_who_serves_the_model_and_may_get_well(void)
{
    static const bool hopeful[GV_WORKER_STATE_COUNT] = {[GV_WORKER_PENDING] = true,
                                                        [GV_WORKER_READY] = true, /* a breaker */
                                                        [GV_WORKER_NOT_READY] = true};
    for (int state = 0; state < GV_WORKER_STATE_COUNT; state++) {
        struct bench bench;
        struct gv_plan plan;
        setup(&bench);
        add(&bench, "http://a:1", GV_POOL_REGULAR, "m");
        CU_ASSERT_EQUAL(make(&bench, &plan, GV_ENDPOINT_CHAT, CHAT("m", "hello")), GV_PROBLEM_NONE);
        struct gv_worker worker = bench.view->workers[0];
        worker.state = (enum gv_worker_state)state;
        struct gv_fleet_view view = {.count = 1, .workers = &worker};
        struct gv_dispatch_question question = {.plan = &plan};
        CU_ASSERT_EQUAL(gv_dispatch_has_hope(&bench.shared, &view, &question), hopeful[state]);
        snprintf(worker.models[0], sizeof worker.models[0], "another");
        CU_ASSERT_FALSE(gv_dispatch_has_hope(&bench.shared, &view, &question));
        worker.model_count = 0;
        worker.pool = GV_POOL_DECODE;
        CU_ASSERT_FALSE(gv_dispatch_has_hope(&bench.shared, &view, &question));
        gv_plan_deinit(&plan);
        teardown(&bench);
    }
}

static bool allows_none(void *owner, const struct gv_worker *worker)
{
    (void)owner;
    (void)worker;
    return false;
}

static void nobody_is_told_apart_by_pool_model_and_state(void)
{
    struct bench bench;
    struct gv_plan plan;
    struct gv_decision decision;
    char detail[GV_DISPATCH_DETAIL_BYTES];
    setup(&bench);
    add(&bench, "http://a:1", GV_POOL_REGULAR, "m");
    CU_ASSERT_EQUAL(make(&bench, &plan, GV_ENDPOINT_CHAT, CHAT("x", "hello")), GV_PROBLEM_NONE);
    CU_ASSERT_EQUAL(decide(&bench, &plan, 0, NULL, 0, &decision), GV_PROBLEM_NO_MODEL);
    gv_plan_deinit(&plan);
    CU_ASSERT_EQUAL(make(&bench, &plan, GV_ENDPOINT_CHAT, CHAT("m", "hello")), GV_PROBLEM_NONE);
    struct gv_dispatch_question question = {.plan = &plan, .allows = allows_none};
    decision = (struct gv_decision){.policy = ""};
    CU_ASSERT_EQUAL(gv_dispatch_decide(&bench.shared, bench.view, &question, &decision),
                    GV_PROBLEM_NO_AVAILABLE);
    gv_dispatch_detail(bench.view, &question, detail);
    CU_ASSERT_STRING_EQUAL(
        detail, "pool regular, model 'm': 1 of 1 workers, 1 ready (1 with an open breaker)");
    gv_plan_deinit(&plan);
    teardown(&bench);
}

/* With one model there is no doubt; with two, a worker chosen at random would be wrong half the
 * time. */
static void a_request_must_name_its_model_only_when_there_are_several(void)
{
    static const char body[] = "{\"text\":\"hello\"}";
    struct bench bench;
    struct gv_plan plan;
    setup(&bench);
    add(&bench, "http://a:1", GV_POOL_REGULAR, "m");
    add(&bench, "http://b:1", GV_POOL_REGULAR, "m");
    add(&bench, "http://c:1", GV_POOL_REGULAR, NULL);
    CU_ASSERT_EQUAL(make(&bench, &plan, GV_ENDPOINT_GENERATE, body), GV_PROBLEM_NONE);
    gv_plan_deinit(&plan);
    gv_fleet_release(bench.shared.fleet, bench.view);
    bench.view = NULL;
    add(&bench, "http://d:1", GV_POOL_REGULAR, "other");
    CU_ASSERT_EQUAL(make(&bench, &plan, GV_ENDPOINT_GENERATE, body), GV_PROBLEM_MISSING_MODEL);
    CU_ASSERT_EQUAL(make(&bench, &plan, GV_ENDPOINT_CHAT, CHAT("m", "hello")), GV_PROBLEM_NONE);
    gv_plan_deinit(&plan);
    teardown(&bench);
}

static void look_again(struct bench *bench)
{
    gv_fleet_release(bench->shared.fleet, bench->view);
    bench->view = NULL;
}

/* Under a key of its own, such a request found nothing of what the others had cached. */
static void a_request_without_a_model_has_the_key_and_the_blocks_of_one_that_names_it(void)
{
    static const char unnamed[] = "{\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]}";
    struct bench bench;
    struct gv_plan plan;
    struct gv_plan named;
    setup(&bench);
    add(&bench, "http://a:1", GV_POOL_REGULAR, NULL);
    CU_ASSERT_EQUAL(make(&bench, &plan, GV_ENDPOINT_CHAT, unnamed), GV_PROBLEM_NONE);
    CU_ASSERT_STRING_EQUAL(plan.legs[0].key, "regular::unknown"); /* nobody says what it serves */
    gv_plan_deinit(&plan);
    look_again(&bench);
    add(&bench, "http://p:1", GV_POOL_PREFILL, "m");
    add(&bench, "http://d:1", GV_POOL_DECODE, "m");
    CU_ASSERT_EQUAL(gv_fleet_remove(bench.shared.fleet, gv_slice_text("http://a:1")), GV_OK);
    CU_ASSERT_EQUAL(make(&bench, &plan, GV_ENDPOINT_CHAT, unnamed), GV_PROBLEM_NONE);
    CU_ASSERT_EQUAL(make(&bench, &named, GV_ENDPOINT_CHAT, CHAT("m", "hello")), GV_PROBLEM_NONE);
    CU_ASSERT_EQUAL(plan.model.len, 0); /* whom it may go to has not changed */
    CU_ASSERT_EQUAL_FATAL(plan.leg_count, 2);
    CU_ASSERT_STRING_EQUAL(plan.legs[0].key, "prefill::m");
    CU_ASSERT_STRING_EQUAL(plan.legs[1].key, "decode::m");
    for (uint32_t i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL_FATAL(plan.legs[i].count, named.legs[i].count);
        CU_ASSERT_EQUAL(memcmp(plan.legs[i].chain, named.legs[i].chain,
                               named.legs[i].count * sizeof *named.legs[i].chain),
                        0);
    }
    gv_plan_deinit(&plan);
    gv_plan_deinit(&named);
    teardown(&bench);
}

static void load_is_counted_in_bytes_that_are_not_cached_and_decode_computes_none(void)
{
    struct bench bench;
    struct gv_plan plan = {.text_bytes = 100, .leg_count = 2};
    setup(&bench);
    bench.view = gv_fleet_acquire(bench.shared.fleet);
    plan.legs[0].pool = GV_POOL_PREFILL;
    plan.legs[1].pool = GV_POOL_DECODE;
    struct gv_decision decision = {.depth = 0};
    CU_ASSERT_EQUAL(gv_dispatch_uncached_bytes(&bench.shared, &plan, 0, &decision), 100);
    decision.depth = 6;
    CU_ASSERT_EQUAL(gv_dispatch_uncached_bytes(&bench.shared, &plan, 0, &decision), 4);
    decision.depth = 7; /* the last block is partial */
    CU_ASSERT_EQUAL(gv_dispatch_uncached_bytes(&bench.shared, &plan, 0, &decision), 0);
    CU_ASSERT_EQUAL(gv_dispatch_uncached_bytes(&bench.shared, &plan, 1, &decision), 0);
    teardown(&bench);
}

static void a_plan_that_finds_no_memory_leaves_nothing_behind(void)
{
    struct bench bench;
    setup(&bench);
    add(&bench, "http://p:1", GV_POOL_PREFILL, "m");
    add(&bench, "http://d:1", GV_POOL_DECODE, "m");
    bench.view = gv_fleet_acquire(bench.shared.fleet);
    struct gv_slice body = gv_slice_text("{\"model\":\"m\",\"prompt\":\"a prompt of some blocks "
                                         "that are sixteen bytes long\"}");
    bool made = false;
    uint64_t n = 1;
    for (; !made; n++) {
        CU_ASSERT_TRUE_FATAL(n < 50);
        struct gv_plan plan;
        enum gv_problem problem = GV_PROBLEM_NONE;
        gv_buf_reset(&bench.text);
        gv_mem_fail_nth(n);
        enum gv_err err = gv_plan_init(&plan, &bench.shared, bench.view, bench.reader, &bench.text,
                                       GV_ENDPOINT_COMPLETIONS, body, &problem);
        gv_mem_fail_nth(0);
        made = err == GV_OK;
        CU_ASSERT_TRUE(made || err == GV_ENOMEM);
        if (made) {
            CU_ASSERT_EQUAL(plan.leg_count, 2);
            gv_plan_deinit(&plan);
        }
        gv_buf_reset(&bench.text);
        CU_ASSERT_EQUAL(gv_mem_used(GV_MEM_EXCHANGE), 0);
    }
    CU_ASSERT_TRUE(n > 3); /* it did need memory: the text, and a chain for each leg */
    teardown(&bench);
}

GV_SUITE("proxy/dispatch", GV_CASE(a_plan_that_finds_no_memory_leaves_nothing_behind),
         GV_CASE(one_prompt_has_one_key_and_a_pair_has_two_with_nothing_in_common),
         GV_CASE(what_failed_for_an_engine_failed_for_its_ranks_and_for_no_others),
         GV_CASE(hope_is_who_serves_the_model_and_may_get_well),
         GV_CASE(a_worker_that_failed_is_not_chosen_again_even_when_no_other_is_there),
         GV_CASE(nobody_is_told_apart_by_pool_model_and_state),
         GV_CASE(a_request_must_name_its_model_only_when_there_are_several),
         GV_CASE(a_request_without_a_model_has_the_key_and_the_blocks_of_one_that_names_it),
         GV_CASE(load_is_counted_in_bytes_that_are_not_cached_and_decode_computes_none))
