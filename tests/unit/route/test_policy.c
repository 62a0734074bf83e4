/* test_policy.c - what all policies promise, and those without memory. */
#include "unit/route/stage.h"

static const uint64_t path[10] = {21, 22, 23, 24, 25, 26, 27, 28, 29, 30};

static void every_name_in_the_table_makes_that_policy_and_no_other_does(void)
{
    struct gv_policy *policy = NULL;
    for (const char *const *name = gv_policy_names(); *name != NULL; name++) {
        CU_ASSERT_EQUAL_FATAL(gv_policy_new(*name, usual, NULL, NULL, &policy), GV_OK);
        CU_ASSERT_STRING_EQUAL(gv_policy_name(policy), *name);
        bool by_trie = strcmp(*name, "cache_aware") == 0 || strcmp(*name, "prefix_cost") == 0;
        CU_ASSERT_EQUAL(gv_policy_uses_trie(policy), by_trie);
        CU_ASSERT_EQUAL(gv_policy_uses_prefix(policy),
                        by_trie || strcmp(*name, "prefix_hash") == 0);
        CU_ASSERT_EQUAL(gv_policy_obeys_target(policy), strcmp(*name, "consistent_hashing") == 0);
        gv_policy_free(policy);
    }
    CU_ASSERT_EQUAL(gv_policy_new("cache", usual, NULL, NULL, &policy), GV_ENOTFOUND);
}

static void nobody_eligible_is_the_rule_none_and_one_is_the_rule_only(void)
{
    for (const char *const *name = gv_policy_names(); *name != NULL; name++) {
        struct stage stage = stage_of(*name, 0);
        CU_ASSERT_EQUAL(decide(&stage, "regular::m", path, 10).rule, GV_RULE_NONE);
        stage.count = 1;
        CU_ASSERT_EQUAL(decide(&stage, "regular::m", path, 10).rule, GV_RULE_ONLY);
        CU_ASSERT_EQUAL(decide(&stage, "regular::m", NULL, 0).worker, 0);
        stage_end(&stage);
    }
}

static void a_prompt_without_text_is_spread_by_every_policy_but_passthrough(void)
{
    for (const char *const *name = gv_policy_names(); *name != NULL; name++) {
        if (strcmp(*name, "passthrough") == 0) {
            continue;
        }
        struct stage stage = stage_of(*name, 4);
        uint32_t given[FLEET] = {0};
        for (int i = 0; i < 1000; i++) {
            given[decide(&stage, "regular::m", NULL, 0).worker]++;
        }
        for (int i = 0; i < 4; i++) {
            CU_ASSERT_TRUE(given[i] > 150 && given[i] < 350);
        }
        stage_end(&stage);
    }
}

static void the_threshold_is_strict(void)
{
    struct stage stage = stage_of("cache_aware", 4);
    record(&stage, "regular::m", path, 3, 2); /* 3 of 10 is not above 0.3 */
    CU_ASSERT_EQUAL(decide(&stage, "regular::m", path, 10).rule, GV_RULE_MISS);
    record(&stage, "regular::m", path, 4, 2);
    struct gv_decision decision = decide(&stage, "regular::m", path, 10);
    CU_ASSERT_EQUAL(decision.rule, GV_RULE_PREFIX);
    CU_ASSERT_EQUAL(decision.worker, 2);
    CU_ASSERT_EQUAL(decision.depth, 4);
    CU_ASSERT_EQUAL(decision.block_count, 10);
    stage_end(&stage);
}

static void among_equally_deep_holders_the_least_loaded_is_chosen(void)
{
    struct stage stage = stage_of("cache_aware", 4);
    record(&stage, "regular::m", path, 10, 1);
    record(&stage, "regular::m", path, 10, 3);
    record(&stage, "regular::m", path, 9, 0);
    take(&stage, 1, 2);
    take(&stage, 3, 1);
    CU_ASSERT_EQUAL(decide(&stage, "regular::m", path, 10).worker, 3);
    gv_load_set_remote(stage.load, 3, 2, 0); /* others' requests count as our own */
    CU_ASSERT_EQUAL(decide(&stage, "regular::m", path, 10).worker, 1);
    stage_end(&stage);
}

static void imbalance_prefers_the_longest_prefix_among_the_near_least_loaded(void)
{
    struct stage stage = stage_of("cache_aware", 4);
    record(&stage, "regular::m", path, 10, 0); /* deepest, but busy */
    record(&stage, "regular::m", path, 6, 1);
    record(&stage, "regular::m", path, 2, 2);
    take(&stage, 0, 64);
    CU_ASSERT_EQUAL(decide(&stage, "regular::m", path, 10).worker, 0); /* 64 apart is balanced */
    take(&stage, 0, 1);
    take(&stage, 1, 10); /* within the threshold of the idle ones */
    struct gv_decision decision = decide(&stage, "regular::m", path, 10);
    CU_ASSERT_EQUAL(decision.rule, GV_RULE_BALANCE);
    CU_ASSERT_EQUAL(decision.worker, 1);
    CU_ASSERT_EQUAL(decision.load, 10);
    stage_end(&stage);
}

/* Unique prompts all go round a worker that never answers. */
static void a_stalled_worker_gets_next_to_nothing(void)
{
    struct stage stage = stage_of("cache_aware", 4);
    uint32_t stalled = 0;
    for (int i = 0; i < 1000; i++) {
        uint64_t chain[4];
        for (int j = 0; j < 4; j++) {
            chain[j] = gv_prng_next(&stage.prng) | 1;
        }
        uint32_t worker = decide(&stage, "regular::m", chain, 4).worker;
        record(&stage, "regular::m", chain, 4, worker);
        gv_load_take(stage.load, worker, 0);
        if (worker == 2) {
            stalled++;
        } else {
            gv_load_give(stage.load, worker, 0);
        }
    }
    CU_ASSERT_TRUE(stalled <= 2);
    stage_end(&stage);
}

static void one_at_a_time_unique_prompts_are_spread(void)
{
    struct stage stage = stage_of("cache_aware", 4);
    uint32_t given[FLEET] = {0};
    for (int i = 0; i < 1000; i++) {
        uint64_t chain[20];
        for (uint64_t j = 0; j < 20; j++) { /* the first five blocks are a system prompt */
            chain[j] = j < 5 ? 900 + j : gv_prng_next(&stage.prng) | 1;
        }
        uint32_t worker = decide(&stage, "regular::m", chain, 20).worker;
        record(&stage, "regular::m", chain, 20, worker);
        given[worker]++;
    }
    for (int i = 0; i < 4; i++) {
        CU_ASSERT_TRUE(given[i] < 350);
    }
    stage_end(&stage);
}

/* Two nodes that have said nothing to each other yet, and differ in their random bits. */
static void two_nodes_with_equal_tries_and_loads_decide_alike(void)
{
    struct stage here = stage_of("cache_aware", 8);
    struct stage there = stage_of("cache_aware", 8);
    gv_prng_init(&there.prng, 4711);
    struct gv_prng prompts;
    gv_prng_init(&prompts, 1);
    for (int i = 0; i < 500; i++) {
        uint64_t chain[6];
        for (int j = 0; j < 6; j++) {
            chain[j] = gv_prng_next(&prompts) | 1;
        }
        uint32_t worker = decide(&here, "regular::m", chain, 6).worker;
        CU_ASSERT_EQUAL(decide(&there, "regular::m", chain, 6).worker, worker);
        record(&here, "regular::m", chain, 6, worker);
        record(&there, "regular::m", chain, 6, worker);
        CU_ASSERT_EQUAL(decide(&there, "regular::m", chain, 6).worker, worker);
        take(&here, worker, 1);
        take(&there, worker, 1);
    }
    stage_end(&here);
    stage_end(&there);
}

/* Pool isolation: the fault this project was born from. Workers 0 to 3 prefill, 4 to 7 decode. */
static uint32_t decide_in_pool(struct stage *stage, struct gv_policy *policy, bool prefill)
{
    struct gv_policy_request request = {.key = prefill ? "prefill::m" : "decode::m",
                                        .chain = path,
                                        .count = 10,
                                        .eligible = stage->eligible + (prefill ? 0 : 4),
                                        .eligible_count = 4};
    struct gv_decision decision = {0};
    gv_policy_decide(policy, &request, &decision);
    record(stage, request.key, path, 10, decision.worker);
    return decision.worker;
}

static void alternate(struct stage *stage, struct gv_policy *prefill, struct gv_policy *decode)
{
    uint32_t first_prefill = decide_in_pool(stage, prefill, true);
    uint32_t first_decode = decide_in_pool(stage, decode, false);
    CU_ASSERT_TRUE(first_prefill < 4 && first_decode >= 4);
    for (int i = 0; i < 1000; i++) {
        CU_ASSERT_EQUAL(decide_in_pool(stage, prefill, true), first_prefill);
        CU_ASSERT_EQUAL(decide_in_pool(stage, decode, false), first_decode);
    }
}

static void prefill_and_decode_each_keep_their_worker_with_a_policy_each(void)
{
    struct stage stage = stage_of("cache_aware", 8);
    struct gv_policy *decode = NULL;
    CU_ASSERT_EQUAL_FATAL(gv_policy_new("cache_aware", usual, stage.forest, stage.load, &decode),
                          GV_OK);
    alternate(&stage, stage.policy, decode);
    gv_policy_free(decode);
    stage_end(&stage);
}

static void prefill_and_decode_each_keep_their_worker_with_one_shared_policy(void)
{
    struct stage stage = stage_of("cache_aware", 8);
    alternate(&stage, stage.policy, stage.policy);
    stage_end(&stage);
}

static void removing_a_decode_worker_leaves_the_prefill_trie_untouched(void)
{
    struct stage stage = stage_of("cache_aware", 8);
    uint32_t prefill = decide_in_pool(&stage, stage.policy, true);
    uint32_t decode = decide_in_pool(&stage, stage.policy, false);
    struct gv_operation op;
    gv_forest_forget(stage.forest, "*", decode, GV_FLOOR_REMOVED, WALL, &op);
    CU_ASSERT_EQUAL(gv_forest_worker_blocks(stage.forest, "decode::m", decode), 0);
    CU_ASSERT_EQUAL(gv_forest_worker_blocks(stage.forest, "prefill::m", prefill), 10);
    CU_ASSERT_EQUAL(decide_in_pool(&stage, stage.policy, true), prefill);
    stage_end(&stage);
}

static void least_load_breaks_ties_evenly_and_never_takes_a_busier_one(void)
{
    struct stage stage = stage_of("least_load", 4);
    take(&stage, 1, 1);
    uint32_t given[FLEET] = {0};
    for (int i = 0; i < 900; i++) {
        given[decide(&stage, "regular::m", NULL, 0).worker]++;
    }
    CU_ASSERT_EQUAL(given[1], 0);
    CU_ASSERT_TRUE(given[0] > 200 && given[2] > 200 && given[3] > 200);
    stage_end(&stage);
}

static void of_two_drawn_the_busier_one_is_never_chosen(void)
{
    struct stage stage = stage_of("power_of_two", 2);
    take(&stage, 0, 1);
    for (int i = 0; i < 100; i++) {
        CU_ASSERT_EQUAL(decide(&stage, "regular::m", NULL, 0).worker, 1);
    }
    stage_end(&stage);
}

static void round_robin_takes_turns_and_each_instance_counts_for_itself(void)
{
    struct stage stage = stage_of("round_robin", 3);
    struct stage other = stage_of("round_robin", 3);
    for (uint32_t i = 0; i < 9; i++) {
        CU_ASSERT_EQUAL(decide(&stage, "regular::m", NULL, 0).worker, i % 3);
        decide(&other, "decode::m", NULL, 0);
    }
    stage_end(&other);
    stage_end(&stage);
}

static void whoever_only_asks_takes_no_turn(void)
{
    struct stage stage = stage_of("round_robin", 3);
    for (uint32_t i = 0; i < 9; i++) {
        CU_ASSERT_EQUAL(decide_on(&stage, (struct gv_policy_request){.dry = true}).worker, i % 3);
        CU_ASSERT_EQUAL(decide_on(&stage, (struct gv_policy_request){0}).worker, i % 3);
    }
    stage_end(&stage);
}

static void passthrough_takes_the_first_however_busy(void)
{
    struct stage stage = stage_of("passthrough", 3);
    take(&stage, 0, 1000);
    struct gv_decision decision = decide(&stage, "regular::m", path, 10);
    CU_ASSERT_EQUAL(decision.worker, 0);
    CU_ASSERT_EQUAL(decision.rule, GV_RULE_FIRST);
    stage_end(&stage);
}

/* ---- the gate before every policy ---- */

static bool is_gated(const char *name)
{
    return strcmp(name, "passthrough") != 0; /* it is told to use the first and no other */
}

/* How many of 200 requests, each with a prompt and a key of its own, go to worker 2 of 4. */
static int sent_to_worker_2(struct stage *stage, enum gv_pool pool)
{
    int sent = 0;
    for (int i = 0; i < 200; i++) {
        uint64_t chain[4];
        for (int j = 0; j < 4; j++) {
            chain[j] = gv_prng_next(&stage->prng) | 1;
        }
        struct gv_policy_request request = {.key = "prefill::m",
                                            .pool = pool,
                                            .chain = chain,
                                            .count = 4,
                                            .prompt_bytes = 64ull << (i % 8),
                                            .routing_key = gv_prng_next(&stage->prng) | 1};
        struct gv_decision decision = decide_on(stage, request);
        sent += decision.worker == 2;
    }
    return sent;
}

static void a_worker_that_is_far_busier_gets_nothing_new_by_any_policy(void)
{
    struct gv_policy_options options = usual;
    options.load_bound = 1000; /* the gate alone */
    for (const char *const *name = gv_policy_names(); *name != NULL; name++) {
        struct stage stage = stage_with(*name, 4, options);
        for (uint32_t i = 0; i < 4; i++) {
            gv_load_set_remote(stage.load, i, 1, 0);
        }
        gv_load_set_remote(stage.load, 2, 65, 0); /* 64 apart: at the threshold */
        bool busy_may = strcmp(*name, "least_load") != 0 && strcmp(*name, "prefix_cost") != 0 &&
                        strcmp(*name, "power_of_two") != 0 && is_gated(*name);
        CU_ASSERT_EQUAL(sent_to_worker_2(&stage, GV_POOL_PREFILL) > 0, busy_may);
        gv_load_set_remote(stage.load, 2, 66, 0);
        CU_ASSERT_EQUAL(sent_to_worker_2(&stage, GV_POOL_PREFILL), 0);
        CU_ASSERT_EQUAL(sent_to_worker_2(&stage, GV_POOL_REGULAR), 0);
        stage_end(&stage);
    }
}

static void behind_the_gate_the_policy_still_rules(void)
{
    struct stage stage = stage_of("round_robin", 4);
    gv_load_set_remote(stage.load, 1, 66, 0);
    static const uint32_t turns[] = {0, 2, 3, 0, 2, 3};
    for (size_t i = 0; i < 6; i++) {
        struct gv_candidate candidates[4];
        struct gv_decision decision = {.candidates = candidates, .candidate_room = 4};
        decision = decide(&stage, "regular::m", NULL, 0);
        CU_ASSERT_EQUAL(decision.worker, turns[i]);
        CU_ASSERT_EQUAL(decision.rule, GV_RULE_BALANCE);
        CU_ASSERT_EQUAL(decision.eligible_count, 4);
    }
    for (uint32_t i = 0; i < 3; i++) { /* all but one are far too busy: it is the one */
        gv_load_set_remote(stage.load, i, 66, 0);
    }
    CU_ASSERT_EQUAL(decide(&stage, "regular::m", NULL, 0).worker, 3);
    stage_end(&stage);
}

static void whom_the_request_names_and_a_key_that_was_given_pass_the_gate(void)
{
    struct stage stage = stage_of("consistent_hashing", 4);
    gv_load_set_remote(stage.load, 2, 1000, 0);
    struct gv_policy_request named = {.key = "regular::m", .target = gv_slice_text("2")};
    CU_ASSERT_EQUAL(decide_on(&stage, named).worker, 2);
    stage_end(&stage);
    stage = stage_of("manual", 4);
    struct gv_policy_request keyed = {.key = "regular::m", .routing_key = 77, .now_ms = 1};
    uint32_t worker = decide_on(&stage, keyed).worker;
    gv_load_set_remote(stage.load, worker, 1000, 0);
    CU_ASSERT_EQUAL(decide_on(&stage, keyed).worker, worker);
    stage_end(&stage);
}

static void assignment_modes_are_found_by_their_names(void)
{
    for (unsigned i = 0; i < GV_ASSIGN_COUNT; i++) {
        enum gv_assignment found = GV_ASSIGN_COUNT;
        CU_ASSERT(gv_assignment_parse(gv_assignment_name((enum gv_assignment)i), &found));
        CU_ASSERT_EQUAL(found, i);
    }
    enum gv_assignment kept = GV_ASSIGN_MIN_LOAD;
    CU_ASSERT_FALSE(gv_assignment_parse("max_load", &kept));
    CU_ASSERT_EQUAL(kept, GV_ASSIGN_MIN_LOAD);
}

static void candidates_are_shown_up_to_the_room_given(void)
{
    struct stage stage = stage_of("cache_aware", 4);
    record(&stage, "regular::m", path, 7, 2);
    take(&stage, 2, 5);
    struct gv_candidate candidates[3];
    struct gv_policy_request request = {.key = "regular::m",
                                        .chain = path,
                                        .count = 10,
                                        .eligible = stage.eligible,
                                        .eligible_count = 4};
    struct gv_decision decision = {.candidates = candidates, .candidate_room = 3};
    gv_policy_decide(stage.policy, &request, &decision);
    CU_ASSERT_EQUAL(decision.candidate_count, 3);
    CU_ASSERT_EQUAL(candidates[2].worker, 2);
    CU_ASSERT_EQUAL(candidates[2].depth, 7);
    CU_ASSERT_EQUAL(candidates[2].load, 5);
    CU_ASSERT_STRING_EQUAL(gv_rule_name(decision.rule), "prefix");
    stage_end(&stage);
}

GV_SUITE("route/policy", GV_CASE(every_name_in_the_table_makes_that_policy_and_no_other_does),
         GV_CASE(nobody_eligible_is_the_rule_none_and_one_is_the_rule_only),
         GV_CASE(a_prompt_without_text_is_spread_by_every_policy_but_passthrough),
         GV_CASE(the_threshold_is_strict),
         GV_CASE(among_equally_deep_holders_the_least_loaded_is_chosen),
         GV_CASE(imbalance_prefers_the_longest_prefix_among_the_near_least_loaded),
         GV_CASE(a_stalled_worker_gets_next_to_nothing),
         GV_CASE(one_at_a_time_unique_prompts_are_spread),
         GV_CASE(two_nodes_with_equal_tries_and_loads_decide_alike),
         GV_CASE(prefill_and_decode_each_keep_their_worker_with_a_policy_each),
         GV_CASE(prefill_and_decode_each_keep_their_worker_with_one_shared_policy),
         GV_CASE(removing_a_decode_worker_leaves_the_prefill_trie_untouched),
         GV_CASE(least_load_breaks_ties_evenly_and_never_takes_a_busier_one),
         GV_CASE(of_two_drawn_the_busier_one_is_never_chosen),
         GV_CASE(round_robin_takes_turns_and_each_instance_counts_for_itself),
         GV_CASE(whoever_only_asks_takes_no_turn),
         GV_CASE(passthrough_takes_the_first_however_busy),
         GV_CASE(a_worker_that_is_far_busier_gets_nothing_new_by_any_policy),
         GV_CASE(behind_the_gate_the_policy_still_rules),
         GV_CASE(whom_the_request_names_and_a_key_that_was_given_pass_the_gate),
         GV_CASE(assignment_modes_are_found_by_their_names),
         GV_CASE(candidates_are_shown_up_to_the_room_given))
