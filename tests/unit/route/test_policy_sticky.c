/* test_policy_sticky.c - the policies that look at who asks: consistent_hashing and manual. */
#include "unit/route/stage.h"

#include "grapevine/base/mem.h"

static struct gv_decision ask(struct stage *stage, uint64_t routing_key)
{
    return decide_on(stage, (struct gv_policy_request){.routing_key = routing_key});
}

/* Asked when the worker at `left` is away. */
static struct gv_decision ask_without(struct stage *stage, uint64_t routing_key, uint32_t left)
{
    const struct gv_worker *rest[FLEET];
    leave(stage, left, rest);
    return decide_on(stage, (struct gv_policy_request){.routing_key = routing_key,
                                                       .eligible = rest,
                                                       .eligible_count = stage->count - 1});
}

static struct gv_decision ask_for(struct stage *stage, const char *target)
{
    return decide_on(stage, (struct gv_policy_request){.target = gv_slice_text(target)});
}

static struct gv_decision ask_at(struct stage *stage, uint64_t routing_key, uint64_t now_ms)
{
    return decide_on(stage,
                     (struct gv_policy_request){.routing_key = routing_key, .now_ms = now_ms});
}

/* ---- consistent_hashing ---- */

static void when_a_worker_leaves_only_its_keys_move_and_they_come_back(void)
{
    struct stage stage = stage_of("consistent_hashing", 8);
    uint32_t moved_to[FLEET] = {0};
    for (uint64_t key = 1; key <= 2000; key++) {
        struct gv_decision before = ask(&stage, key);
        uint32_t without = ask_without(&stage, key, 3).worker;
        CU_ASSERT_EQUAL(before.rule, GV_RULE_STICKY);
        CU_ASSERT_NOT_EQUAL(without, 3);
        if (before.worker == 3) {
            moved_to[without] += 1;
        } else {
            CU_ASSERT_EQUAL(without, before.worker);
        }
        CU_ASSERT_EQUAL(ask(&stage, key).worker, before.worker);
    }
    for (uint32_t i = 0; i < 8; i++) { /* about 2000 / 8 / 7 = 36 each */
        CU_ASSERT_TRUE(i == 3 ? moved_to[i] == 0 : moved_to[i] > 10 && moved_to[i] < 80);
    }
    stage_end(&stage);
}

static void a_busy_key_helps_itself_to_others_beyond_the_bound_and_no_sooner(void)
{
    struct gv_policy_options options = usual;
    options.balance_abs_threshold = UINT32_MAX; /* the bound alone */
    struct stage stage = stage_with("consistent_hashing", 4, options);
    uint32_t given[FLEET] = {0};
    uint32_t home = ask(&stage, 77).worker;
    for (uint32_t sent = 0; sent < 400; sent++) {
        struct gv_decision decision = ask(&stage, 77);
        double mean = (double)sent / 4;
        bool home_may = (double)given[home] <= 1.25 * mean;
        CU_ASSERT_EQUAL(decision.worker == home, home_may);
        CU_ASSERT_TRUE((double)decision.load + 1 <= 1.25 * mean + 1);
        take(&stage, decision.worker, 1);
        given[decision.worker] += 1;
    }
    stage_end(&stage);
}

static void a_target_is_an_id_a_url_or_a_place_and_comes_before_the_key(void)
{
    struct stage stage = stage_of("consistent_hashing", 4);
    gv_worker_identify(&workers[2]);
    CU_ASSERT_EQUAL(ask_for(&stage, workers[2].id).worker, 2);
    CU_ASSERT_EQUAL(ask_for(&stage, "http://10.0.0.2:8000").worker, 1);
    CU_ASSERT_EQUAL(ask_for(&stage, "3").worker, 3);
    take(&stage, 3, 1000); /* however busy */
    for (uint64_t key = 1; key < 20; key++) {
        struct gv_decision decision = decide_on(
            &stage, (struct gv_policy_request){.target = gv_slice_text("3"), .routing_key = key});
        CU_ASSERT_EQUAL(decision.worker, 3);
        CU_ASSERT_EQUAL(decision.rule, GV_RULE_TARGET);
    }
    stage_end(&stage);
}

static void a_target_that_is_not_eligible_is_nobody_even_when_one_is_left(void)
{
    struct stage stage = stage_of("consistent_hashing", 4);
    CU_ASSERT_EQUAL(ask_for(&stage, "4").rule, GV_RULE_NONE);
    CU_ASSERT_EQUAL(ask_for(&stage, "-1").rule, GV_RULE_NONE);
    CU_ASSERT_EQUAL(ask_for(&stage, "http://10.0.0.5:8000").rule, GV_RULE_NONE);
    stage.count = 1;
    CU_ASSERT_EQUAL(ask_for(&stage, "1").rule, GV_RULE_NONE);
    CU_ASSERT_EQUAL(ask_for(&stage, "0").rule, GV_RULE_TARGET);
    CU_ASSERT_EQUAL(ask(&stage, 5).rule, GV_RULE_ONLY);
    stage_end(&stage);
}

static void the_key_comes_before_the_client_and_the_client_before_chance(void)
{
    struct stage stage = stage_of("consistent_hashing", 8);
    for (uint64_t i = 1; i <= 50; i++) {
        struct gv_policy_request both = {.routing_key = i, .client = i + 1000};
        struct gv_policy_request client = {.client = i};
        CU_ASSERT_EQUAL(decide_on(&stage, both).worker, ask(&stage, i).worker);
        CU_ASSERT_EQUAL(decide_on(&stage, client).worker, ask(&stage, i).worker);
        CU_ASSERT_EQUAL(decide_on(&stage, client).rule, GV_RULE_HASH);
    }
    CU_ASSERT_EQUAL(decide_on(&stage, (struct gv_policy_request){0}).rule, GV_RULE_CHANCE);
    stage_end(&stage);
}

/* ---- manual ---- */

static struct gv_policy_options manual_options(enum gv_assignment assignment, uint32_t key_max)
{
    struct gv_policy_options options = usual;
    options.assignment = assignment;
    options.manual_key_max = key_max;
    return options;
}

static void a_key_keeps_its_worker_however_busy(void)
{
    struct stage stage = stage_with("manual", 4, manual_options(GV_ASSIGN_MIN_LOAD, 100));
    uint32_t first = ask(&stage, 7).worker;
    take(&stage, first, 1000);
    for (int i = 0; i < 100; i++) {
        struct gv_decision decision = ask(&stage, 7);
        CU_ASSERT_EQUAL(decision.worker, first);
        CU_ASSERT_EQUAL(decision.rule, GV_RULE_STICKY);
        CU_ASSERT_NOT_EQUAL(ask(&stage, 1000 + (uint64_t)i).worker, first);
    }
    stage_end(&stage);
}

static void a_key_whose_worker_is_away_has_one_second_worker_and_returns(void)
{
    struct stage stage = stage_of("manual", 4);
    uint32_t first = ask(&stage, 7).worker;
    uint32_t second = ask_without(&stage, 7, first).worker;
    CU_ASSERT_NOT_EQUAL(first, second);
    for (int i = 0; i < 10; i++) {
        CU_ASSERT_EQUAL(ask_without(&stage, 7, first).worker, second);
        CU_ASSERT_EQUAL(ask(&stage, 7).worker, first);
    }
    stage_end(&stage);
}

/* Of three workers that a key had, the two latest are remembered. */
static void a_key_remembers_two_workers(void)
{
    struct stage stage = stage_of("manual", 8);
    const struct gv_worker *some[FLEET];
    uint32_t first = ask(&stage, 7).worker;
    uint32_t second = ask_without(&stage, 7, first).worker;
    uint32_t count = 0;
    for (uint32_t i = 0; i < 8; i++) {
        if (i != first && i != second) {
            some[count++] = stage.eligible[i];
        }
    }
    struct gv_policy_request request = {
        .routing_key = 7, .eligible = some, .eligible_count = count};
    uint32_t third = decide_on(&stage, request).worker;
    CU_ASSERT_TRUE(third != first && third != second);
    CU_ASSERT_EQUAL(ask(&stage, 7).worker, second);
    CU_ASSERT_EQUAL(ask_without(&stage, 7, second).worker, third);
    stage_end(&stage);
}

/* manual_idle_ms is 1000: kept at 1000 ms without use, forgotten at 1001. */
static void a_key_is_forgotten_when_it_was_idle_too_long_and_no_sooner(void)
{
    struct stage stage = stage_with("manual", 4, manual_options(GV_ASSIGN_MIN_LOAD, 100));
    uint32_t first = ask_at(&stage, 7, 5000).worker;
    take(&stage, first, 10);
    CU_ASSERT_EQUAL(ask_at(&stage, 7, 6000).worker, first);
    CU_ASSERT_EQUAL(ask_at(&stage, 7, 7000).worker, first); /* the use at 6000 counts */
    CU_ASSERT_EQUAL(ask_at(&stage, 7, 6999).worker,
                    first); /* another thread's clock, just behind */
    uint32_t next = ask_at(&stage, 7, 8001).worker;
    CU_ASSERT_NOT_EQUAL(next, first);
    CU_ASSERT_EQUAL(ask_at(&stage, 7, 9001).worker, next);
    stage_end(&stage);
}

/* Room for three keys: the third pushes out nobody, the fourth whoever was unused for longest. */
static void a_full_table_forgets_the_key_unused_for_longest(void)
{
    struct stage stage = stage_with("manual", 8, manual_options(GV_ASSIGN_MIN_LOAD, 3));
    uint32_t given[5];
    for (uint64_t key = 1; key <= 3; key++) {
        given[key] = ask(&stage, key).worker;
        take(&stage, given[key], 1); /* a key that comes back as new will go elsewhere */
    }
    for (uint64_t key = 1; key <= 3; key++) {
        CU_ASSERT_EQUAL(ask(&stage, key).worker, given[key]);
    }
    CU_ASSERT_EQUAL(ask(&stage, 1).worker, given[1]); /* now 2 is the oldest */
    given[4] = ask(&stage, 4).worker;
    take(&stage, given[4], 1);
    CU_ASSERT_EQUAL(ask(&stage, 1).worker, given[1]);
    CU_ASSERT_EQUAL(ask(&stage, 3).worker, given[3]);
    CU_ASSERT_NOT_EQUAL(ask(&stage, 2).worker, given[2]);
    stage_end(&stage);
}

static void many_more_keys_than_room_do_no_harm(void)
{
    struct stage stage = stage_with("manual", 8, manual_options(GV_ASSIGN_MIN_GROUP, 64));
    size_t before = gv_mem_used(GV_MEM_GENERAL);
    for (uint64_t i = 0; i < 10000; i++) {
        uint64_t key = 1 + gv_prng_next(&stage.prng) % 500;
        CU_ASSERT_TRUE(ask_at(&stage, key, i / 4).worker < 8);
    }
    CU_ASSERT_EQUAL(gv_mem_used(GV_MEM_GENERAL), before);
    stage_end(&stage);
}

static void min_group_gives_each_worker_as_many_keys(void)
{
    struct stage stage = stage_with("manual", 4, manual_options(GV_ASSIGN_MIN_GROUP, 100));
    uint32_t given[FLEET] = {0};
    take(&stage, 0, 50); /* load does not matter */
    for (uint64_t key = 1; key <= 40; key++) {
        given[ask(&stage, key).worker] += 1;
        ask(&stage, key); /* a key counts once */
    }
    for (uint32_t i = 0; i < 4; i++) {
        CU_ASSERT_EQUAL(given[i], 10);
    }
    stage_end(&stage);
}

static void in_random_mode_two_nodes_assign_alike(void)
{
    struct stage here = stage_with("manual", 8, manual_options(GV_ASSIGN_RANDOM, 1000));
    struct stage there = stage_with("manual", 8, manual_options(GV_ASSIGN_RANDOM, 1000));
    uint32_t given[FLEET] = {0};
    gv_prng_init(&there.prng, 4711);
    for (uint64_t key = 1; key <= 800; key++) {
        uint32_t worker = ask(&here, key).worker;
        CU_ASSERT_EQUAL(ask(&there, key).worker, worker);
        given[worker] += 1;
    }
    for (uint32_t i = 0; i < 8; i++) {
        CU_ASSERT_TRUE(given[i] > 60 && given[i] < 150);
    }
    stage_end(&there);
    stage_end(&here);
}

static void whoever_only_asks_leaves_no_memory(void)
{
    struct stage stage = stage_with("manual", 4, manual_options(GV_ASSIGN_MIN_LOAD, 2));
    uint32_t first = ask_at(&stage, 7, 1).worker;
    take(&stage, first, 1);
    for (uint64_t key = 100; key < 110; key++) { /* would push 7 out */
        decide_on(&stage, (struct gv_policy_request){.routing_key = key, .now_ms = 1, .dry = true});
    }
    struct gv_policy_request late = {.routing_key = 7, .now_ms = 5000, .dry = true};
    CU_ASSERT_NOT_EQUAL(decide_on(&stage, late).worker, first); /* what would be, were it sent */
    CU_ASSERT_EQUAL(ask_at(&stage, 7, 2).worker, first);
    stage_end(&stage);
}

static void a_key_is_remembered_when_one_worker_alone_is_there(void)
{
    struct stage stage = stage_with("manual", 1, manual_options(GV_ASSIGN_MIN_LOAD, 10));
    CU_ASSERT_EQUAL(ask(&stage, 7).rule, GV_RULE_ONLY);
    take(&stage, 0, 10);
    stage.count = 4;
    CU_ASSERT_EQUAL(ask(&stage, 7).worker, 0);
    stage_end(&stage);
}

static void out_of_memory_makes_no_policy_and_leaks_nothing(void)
{
    static const char *const names[] = {"manual", "bucket", "cache_aware"};
    size_t before = gv_mem_used(GV_MEM_GENERAL);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct gv_policy *policy = NULL;
        enum gv_err err = GV_ENOMEM;
        uint64_t failed = 0;
        while (err != GV_OK && failed < 10) {
            gv_mem_fail_nth(++failed);
            err = gv_policy_new(names[i], usual, NULL, NULL, &policy);
            gv_mem_fail_nth(0);
            CU_ASSERT_TRUE(err == GV_OK || err == GV_ENOMEM);
            CU_ASSERT_TRUE(err == GV_OK || gv_mem_used(GV_MEM_GENERAL) == before);
        }
        CU_ASSERT_TRUE(failed > 1 && err == GV_OK);
        gv_policy_free(policy);
    }
    CU_ASSERT_EQUAL(gv_mem_used(GV_MEM_GENERAL), before);
}

GV_SUITE("route/policy sticky", GV_CASE(when_a_worker_leaves_only_its_keys_move_and_they_come_back),
         GV_CASE(a_busy_key_helps_itself_to_others_beyond_the_bound_and_no_sooner),
         GV_CASE(a_target_is_an_id_a_url_or_a_place_and_comes_before_the_key),
         GV_CASE(a_target_that_is_not_eligible_is_nobody_even_when_one_is_left),
         GV_CASE(the_key_comes_before_the_client_and_the_client_before_chance),
         GV_CASE(a_key_keeps_its_worker_however_busy),
         GV_CASE(a_key_whose_worker_is_away_has_one_second_worker_and_returns),
         GV_CASE(a_key_remembers_two_workers),
         GV_CASE(a_key_is_forgotten_when_it_was_idle_too_long_and_no_sooner),
         GV_CASE(a_full_table_forgets_the_key_unused_for_longest),
         GV_CASE(many_more_keys_than_room_do_no_harm),
         GV_CASE(min_group_gives_each_worker_as_many_keys),
         GV_CASE(in_random_mode_two_nodes_assign_alike),
         GV_CASE(whoever_only_asks_leaves_no_memory),
         GV_CASE(a_key_is_remembered_when_one_worker_alone_is_there),
         GV_CASE(out_of_memory_makes_no_policy_and_leaks_nothing))
