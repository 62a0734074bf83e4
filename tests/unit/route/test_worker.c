#include "grapevine/route/decision.h"
#include "grapevine/route/operation.h"
#include "grapevine/route/worker.h"
#include "support/suite.h"

#include <math.h>
#include <string.h>

static void a_key_is_pool_and_model_and_an_empty_model_is_unknown(void)
{
    char key[GV_KEY_MAX];
    CU_ASSERT_EQUAL(gv_key_compose(GV_POOL_DECODE, gv_slice_text("org/m:1"), key), GV_OK);
    CU_ASSERT_STRING_EQUAL(key, "decode::org/m:1");
    CU_ASSERT_EQUAL(gv_key_compose(GV_POOL_REGULAR, gv_slice_text(""), key), GV_OK);
    CU_ASSERT_STRING_EQUAL(key, "regular::unknown");
}

static void the_longest_key_fits_and_one_byte_more_does_not(void)
{
    char model[GV_KEY_MAX];
    char key[GV_KEY_MAX];
    memset(model, 'm', sizeof model);
    size_t most = GV_KEY_MAX - 1 - strlen("prefill::");
    CU_ASSERT_EQUAL(gv_key_compose(GV_POOL_PREFILL, gv_slice_of(model, most), key), GV_OK);
    CU_ASSERT_EQUAL(strlen(key), GV_KEY_MAX - 1);
    CU_ASSERT_EQUAL(gv_key_compose(GV_POOL_PREFILL, gv_slice_of(model, most + 1), key), GV_ETOOBIG);
}

static void a_key_comes_apart_again(void)
{
    enum gv_pool pool = GV_POOL_REGULAR;
    struct gv_slice model;
    CU_ASSERT_EQUAL(gv_key_split(gv_slice_text("prefill::a::b"), &pool, &model), GV_OK);
    CU_ASSERT_EQUAL(pool, GV_POOL_PREFILL);
    CU_ASSERT_TRUE(gv_slice_is(model, "a::b"));
    CU_ASSERT_EQUAL(gv_key_split(gv_slice_text("prefill::"), &pool, &model), GV_EINVAL);
    CU_ASSERT_EQUAL(gv_key_split(gv_slice_text("prefill:a"), &pool, &model), GV_EINVAL);
    CU_ASSERT_EQUAL(gv_key_split(gv_slice_text("encode::a"), &pool, &model), GV_EINVAL);
    CU_ASSERT_EQUAL(gv_key_split(gv_slice_text("*"), &pool, &model), GV_EINVAL);
}

static void a_worker_serves_its_models_and_one_without_models_serves_all(void)
{
    static struct gv_worker worker;
    CU_ASSERT_TRUE(gv_worker_serves(&worker, gv_slice_text("m")));
    worker.model_count = 2;
    strcpy(worker.models[0], "m");
    strcpy(worker.models[1], "n");
    CU_ASSERT_TRUE(gv_worker_serves(&worker, gv_slice_text("n")));
    CU_ASSERT_FALSE(gv_worker_serves(&worker, gv_slice_text("mn")));
    CU_ASSERT_TRUE(gv_worker_serves(&worker, gv_slice_text("")));
    CU_ASSERT_TRUE(gv_worker_serves(&worker, gv_slice_text("unknown")));
}

static void every_value_has_a_name(void)
{
    for (int i = 0; i < GV_POOL_COUNT; i++) {
        enum gv_pool pool = GV_POOL_COUNT;
        CU_ASSERT_TRUE(gv_pool_parse(gv_slice_text(gv_pool_name((enum gv_pool)i)), &pool));
        CU_ASSERT_EQUAL(pool, (enum gv_pool)i);
    }
    enum gv_pool pool;
    CU_ASSERT_FALSE(gv_pool_parse(gv_slice_text("Prefill"), &pool));
    for (int i = 0; i < GV_WORKER_STATE_COUNT; i++) {
        CU_ASSERT_PTR_NOT_NULL(gv_worker_state_name((enum gv_worker_state)i));
    }
    for (int i = 0; i < GV_SOURCE_COUNT; i++) {
        CU_ASSERT_PTR_NOT_NULL(gv_worker_source_name((enum gv_worker_source)i));
    }
    for (int i = 0; i < GV_RULE_COUNT; i++) {
        CU_ASSERT_PTR_NOT_NULL(gv_rule_name((enum gv_rule)i));
        CU_ASSERT_PTR_NOT_NULL(gv_rule_meaning((enum gv_rule)i));
    }
    for (int i = 0; i < GV_FLOOR_REASON_COUNT; i++) {
        CU_ASSERT_PTR_NOT_NULL(gv_floor_reason_name((enum gv_floor_reason)i));
    }
    CU_ASSERT_STRING_EQUAL(gv_operation_name(GV_OPERATION_TOUCH), "touch");
}

static void stamps_count_from_2020_and_stop_at_both_ends(void)
{
    CU_ASSERT_EQUAL(gv_stamp_from_wall_ms(0), 0);
    CU_ASSERT_EQUAL(gv_stamp_from_wall_ms(GV_STAMP_EPOCH_S * 1000), 0);
    CU_ASSERT_EQUAL(gv_stamp_from_wall_ms((GV_STAMP_EPOCH_S + 7) * 1000 + 999), 7);
    CU_ASSERT_EQUAL(gv_stamp_from_wall_ms(UINT64_MAX), UINT32_MAX);
}

static struct gv_worker usual(void)
{
    return (struct gv_worker){
        .bootstrap_port = -1, .priority = GV_WORKER_PRIORITY_USUAL, .cost = GV_WORKER_COST_USUAL};
}

/* Both ends of what may be set stay, one further on each side is as not said. */
static void numbers_that_may_be_set_stay_and_others_count_as_not_said(void)
{
    struct gv_worker worker = usual();
    CU_ASSERT_EQUAL(gv_worker_hold(&worker), 0);
    static const int32_t ports[][2] = {{-2, -1}, {-1, -1},       {0, -1},
                                       {1, 1},   {65535, 65535}, {65536, -1}};
    for (size_t i = 0; i < sizeof ports / sizeof ports[0]; i++) {
        worker = usual();
        worker.bootstrap_port = ports[i][0];
        CU_ASSERT_EQUAL(gv_worker_hold(&worker), ports[i][0] != ports[i][1]);
        CU_ASSERT_EQUAL(worker.bootstrap_port, ports[i][1]);
    }
    static const int32_t priorities[][2] = {{-1, 50}, {0, 0}, {1000, 1000}, {1001, 50}};
    for (size_t i = 0; i < sizeof priorities / sizeof priorities[0]; i++) {
        worker = usual();
        worker.priority = priorities[i][0];
        CU_ASSERT_EQUAL(gv_worker_hold(&worker), priorities[i][0] != priorities[i][1]);
        CU_ASSERT_EQUAL(worker.priority, priorities[i][1]);
    }
    static const double costs[][2] = {{-0.5, 1},    {0, 0},        {1e6, 1e6},
                                      {1e6 + 1, 1}, {INFINITY, 1}, {NAN, 1}};
    for (size_t i = 0; i < sizeof costs / sizeof costs[0]; i++) {
        worker = usual();
        worker.cost = costs[i][0];
        CU_ASSERT_EQUAL(gv_worker_hold(&worker), costs[i][0] == costs[i][1] ? 0 : 1);
        CU_ASSERT(worker.cost == costs[i][1]);
    }
    worker = usual();
    worker.capacity_tokens = GV_WORKER_CAPACITY_MAX;
    CU_ASSERT_EQUAL(gv_worker_hold(&worker), 0);
    worker.capacity_tokens += 1;
    CU_ASSERT_EQUAL(gv_worker_hold(&worker), 1);
    CU_ASSERT_EQUAL(worker.capacity_tokens, 0);
}

static void how_a_worker_is_probed_has_limits_on_both_sides(void)
{
    static const uint32_t ms[][2] = {
        {0, 0},        {1, 0},         {999, 0}, {1000, 1000}, {86400000, 86400000},
        {86401000, 0}, {UINT32_MAX, 0}};
    static const uint32_t counts[][2] = {
        {0, 0}, {1, 1}, {86400, 86400}, {86401, 0}, {UINT32_MAX, 0}};
    for (size_t i = 0; i < sizeof ms / sizeof ms[0]; i++) {
        struct gv_worker worker = usual();
        worker.health = (struct gv_worker_health){
            .timeout_ms = ms[i][0], .interval_ms = ms[i][0], .drain_settle_ms = ms[i][0]};
        CU_ASSERT_EQUAL(gv_worker_hold(&worker), ms[i][0] != ms[i][1] ? 3 : 0);
        CU_ASSERT_EQUAL(worker.health.timeout_ms, ms[i][1]);
        CU_ASSERT_EQUAL(worker.health.interval_ms, ms[i][1]);
        CU_ASSERT_EQUAL(worker.health.drain_settle_ms, ms[i][1]);
    }
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        struct gv_worker worker = usual();
        worker.health = (struct gv_worker_health){.success_threshold = counts[i][0],
                                                  .failure_threshold = counts[i][0]};
        CU_ASSERT_EQUAL(gv_worker_hold(&worker), counts[i][0] != counts[i][1] ? 2 : 0);
        CU_ASSERT_EQUAL(worker.health.success_threshold, counts[i][1]);
        CU_ASSERT_EQUAL(worker.health.failure_threshold, counts[i][1]);
    }
}

GV_SUITE("route/worker", GV_CASE(numbers_that_may_be_set_stay_and_others_count_as_not_said),
         GV_CASE(how_a_worker_is_probed_has_limits_on_both_sides),
         GV_CASE(a_key_is_pool_and_model_and_an_empty_model_is_unknown),
         GV_CASE(the_longest_key_fits_and_one_byte_more_does_not), GV_CASE(a_key_comes_apart_again),
         GV_CASE(a_worker_serves_its_models_and_one_without_models_serves_all),
         GV_CASE(every_value_has_a_name), GV_CASE(stamps_count_from_2020_and_stop_at_both_ends))
