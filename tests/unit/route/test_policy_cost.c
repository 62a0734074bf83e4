/* test_policy_cost.c - prefix_cost. A block is 256 bytes, prefill is taken as 32 bytes a ms: a
 * block that is not held scores 8 x 8 ms, one that waits 8 ms; each request in flight 1 ms, and
 * all of them half of the prompt (20 blocks: 160 ms) where they are as many as on average and one
 * more, four times that where they are twice as many. */
#include "unit/route/stage.h"

#define BLOCK 256

static const uint64_t path[20] = {21, 22, 23, 24, 25, 26, 27, 28, 29, 30,
                                  31, 32, 33, 34, 35, 36, 37, 38, 39, 40};

static void wait_at(struct stage *stage, uint32_t worker, uint64_t blocks)
{
    gv_load_set_remote(stage->load, worker, 0, blocks * BLOCK);
}

static void unique(struct gv_prng *prng, uint64_t *chain, uint32_t from, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        chain[i] = i < from ? 900 + i : gv_prng_next(prng) | 1;
    }
}

/* 20 blocks not held weigh 160 that wait; 5 % of the prompt, 1 block, is what is near. */
static void a_prefix_is_waited_for_as_long_as_computing_it_would_cost_more(void)
{
    struct stage stage = stage_of("prefix_cost", 2);
    record(&stage, "regular::m", path, 20, 1);
    struct gv_decision decision = decide(&stage, "regular::m", path, 20);
    CU_ASSERT_EQUAL(decision.worker, 1);
    CU_ASSERT_EQUAL(decision.rule, GV_RULE_COST);
    CU_ASSERT_EQUAL(decision.depth, 20);
    wait_at(&stage, 1, 158);
    CU_ASSERT_EQUAL(decide(&stage, "regular::m", path, 20).worker, 1);
    wait_at(&stage, 1, 162);
    CU_ASSERT_EQUAL(decide(&stage, "regular::m", path, 20).worker, 0);
    wait_at(&stage, 0, 4);
    CU_ASSERT_EQUAL(decide(&stage, "regular::m", path, 20).worker, 1);
    stage_end(&stage);
}

static void of_equal_holders_the_one_with_less_waiting_is_chosen(void)
{
    struct stage stage = stage_of("prefix_cost", 4);
    for (uint32_t i = 0; i < 4; i++) {
        record(&stage, "regular::m", path, 20, i);
        wait_at(&stage, i, 30 - 5 * i);
    }
    CU_ASSERT_EQUAL(decide(&stage, "regular::m", path, 20).worker, 3);
    gv_load_take(stage.load, 3, 100 * BLOCK); /* our own count as theirs */
    CU_ASSERT_EQUAL(decide(&stage, "regular::m", path, 20).worker, 2);
    gv_load_give(stage.load, 3, 100 * BLOCK); /* worked off */
    CU_ASSERT_EQUAL(decide(&stage, "regular::m", path, 20).worker, 3);
    stage_end(&stage);
}

/* cache_threshold is 0.3, and none of this policy's business. */
static void every_block_held_counts(void)
{
    struct stage stage = stage_of("prefix_cost", 8);
    struct gv_candidate candidates[8];
    struct gv_decision decision = {.candidates = candidates, .candidate_room = 8};
    struct gv_policy_request request = {.key = "regular::m",
                                        .chain = path,
                                        .count = 20,
                                        .prompt_bytes = 20 * BLOCK,
                                        .eligible = stage.eligible,
                                        .eligible_count = 8};
    for (uint32_t held = 1; held <= 20; held++) {
        record(&stage, "regular::m", path, held, 2);
        gv_policy_decide(stage.policy, &request, &decision);
        CU_ASSERT_DOUBLE_EQUAL(candidates[2].score, (20 - held) * 64, 1e-9);
        CU_ASSERT_DOUBLE_EQUAL(candidates[3].score, 20 * 64, 1e-9);
        CU_ASSERT_EQUAL(decision.worker, 2);
    }
    stage_end(&stage);
}

/* What waits at the least is the wait of all: 10 blocks everywhere, half of the prompt, make a
 * block of one's own weigh 8 x (1 + 4 / 2) = 24 that wait, without end. */
static void the_longer_all_wait_the_longer_a_prefix_is_waited_for(void)
{
    for (uint64_t common = 10; common <= 10000; common *= 10) {
        struct stage stage = stage_of("prefix_cost", 2);
        uint64_t worth =
            20 * 8 + 32 * common * 5120 / 5121; /* of the whole prompt, in blocks that wait */
        record(&stage, "regular::m", path, 20, 1);
        wait_at(&stage, 0, common);
        wait_at(&stage, 1, common + worth - 3);
        CU_ASSERT_EQUAL(decide(&stage, "regular::m", path, 20).worker, 1);
        wait_at(&stage, 1, common + worth + 3);
        CU_ASSERT_EQUAL(decide(&stage, "regular::m", path, 20).worker, 0);
        wait_at(&stage, 0, 0); /* that wait could be avoided */
        wait_at(&stage, 1, common + worth - 3);
        CU_ASSERT_EQUAL(decide(&stage, "regular::m", path, 20).worker, 0);
        stage_end(&stage);
    }
}

/* All 20 blocks at a quarter of the speed cost as much as 4 x 20 at the usual. */
static void what_a_worker_computes_slowly_costs_more_there(void)
{
    struct stage stage = stage_of("prefix_cost", 2);
    struct gv_candidate candidates[2];
    struct gv_decision decision = {.candidates = candidates, .candidate_room = 2};
    struct gv_policy_request request = {.key = "regular::m",
                                        .chain = path,
                                        .count = 20,
                                        .prompt_bytes = 20 * BLOCK,
                                        .eligible = stage.eligible,
                                        .eligible_count = 2};
    for (uint32_t slow = 0; slow < 2; slow++) {
        gv_load_believe(stage.load, slow, (struct gv_load_belief){8, GV_TRUST_FULL, false});
        gv_load_believe(stage.load, 1 - slow, (struct gv_load_belief){32, GV_TRUST_FULL, false});
        gv_policy_decide(stage.policy, &request, &decision);
        CU_ASSERT_DOUBLE_EQUAL(candidates[slow].score, 4 * 20 * 64, 1e-9);
        CU_ASSERT_DOUBLE_EQUAL(candidates[1 - slow].score, 20 * 64, 1e-9);
        CU_ASSERT_EQUAL(decision.worker, 1 - slow);
    }
    gv_load_believe(stage.load, 0, (struct gv_load_belief){8, GV_TRUST_FULL, false});
    gv_load_believe(stage.load, 1, (struct gv_load_belief){8, GV_TRUST_FULL, false});
    record(&stage, "regular::m", path, 20, 0);
    wait_at(&stage, 0, 158); /* where both are slow, nothing but the unit has changed */
    CU_ASSERT_EQUAL(decide(&stage, "regular::m", path, 20).worker, 0);
    wait_at(&stage, 0, 162);
    CU_ASSERT_EQUAL(decide(&stage, "regular::m", path, 20).worker, 1);
    stage_end(&stage);
}

/* Longest match alone would send everything where the first prompt went. What is shared is computed
 * as often as the requests in flight need workers: one block of 20 everywhere. */
static void prompts_that_share_their_first_blocks_are_spread(void)
{
    for (uint32_t common = 1; common <= 4; common += 3) {
        struct stage stage = stage_of("prefix_cost", 4);
        uint32_t given[FLEET] = {0};
        uint32_t under_way[64];
        for (uint32_t i = 0; i < 1000; i++) { /* nothing ever waits, 64 are being decoded for */
            uint64_t chain[20];
            unique(&stage.prng, chain, common, 20);
            uint32_t worker = decide(&stage, "regular::m", chain, 20).worker;
            record(&stage, "regular::m", chain, 20, worker);
            if (i >= 64) {
                gv_load_give(stage.load, under_way[i % 64], 0);
            }
            gv_load_take(stage.load, worker, 0);
            under_way[i % 64] = worker;
            given[worker] += 1;
        }
        for (int i = 0; i < 4; i++) {
            CU_ASSERT_TRUE(given[i] < (common == 1 ? 320 : 500));
        }
        stage_end(&stage);
    }
}

/* One at a time, and nothing else to decide by: the caches fill up one by one, and none forgets
 * while another has room. */
static void of_an_idle_fleet_every_cache_is_used(void)
{
    struct stage stage = stage_of("prefix_cost", 4);
    uint32_t given[FLEET] = {0};
    for (uint32_t i = 0; i < 4; i++) {
        gv_forest_set_capacity(stage.forest, i, 500);
    }
    for (int i = 0; i < 100; i++) { /* 1,901 blocks in all, 2,000 fit */
        uint64_t chain[20];
        unique(&stage.prng, chain, 1, 20);
        uint32_t worker = decide(&stage, "regular::m", chain, 20).worker;
        record(&stage, "regular::m", chain, 20, worker);
        given[worker] += 1;
    }
    for (int i = 0; i < 4; i++) {
        CU_ASSERT_TRUE(given[i] >= 20 && given[i] <= 30);
    }
    stage_end(&stage);
}

/* What all share is worth 8 blocks less to compute, but in the first cache the other 12 of somebody
 * else would have to go. */
static void nothing_gives_way_while_a_cache_is_half_empty(void)
{
    struct stage stage = stage_of("prefix_cost", 4);
    uint32_t given[FLEET] = {0};
    for (uint32_t i = 0; i < 4; i++) {
        gv_forest_set_capacity(stage.forest, i, 500);
    }
    for (int i = 0; i < 140; i++) { /* 41 fit in one */
        uint64_t chain[20];
        unique(&stage.prng, chain, 8, 20);
        uint32_t worker = decide(&stage, "regular::m", chain, 20).worker;
        record(&stage, "regular::m", chain, 20, worker);
        given[worker] += 1;
    }
    for (int i = 0; i < 4; i++) {
        CU_ASSERT_TRUE(given[i] >= 17 && given[i] <= 41);
    }
    stage_end(&stage);
}

/* Half of each prompt is the same document. It waits at its one holder until a second copy pays. */
static void a_hot_prefix_gets_as_many_holders_as_it_needs(void)
{
    struct stage stage = stage_of("prefix_cost", 4);
    uint32_t given[FLEET] = {0};
    for (int i = 0; i < 200; i++) { /* all sent before any is worked off */
        uint64_t chain[20];
        unique(&stage.prng, chain, 10, 20);
        struct gv_decision decision = decide(&stage, "regular::m", chain, 20);
        record(&stage, "regular::m", chain, 20, decision.worker);
        gv_load_take(stage.load, decision.worker, (uint64_t)(20 - decision.depth) * BLOCK);
        given[decision.worker] += 1;
    }
    for (int i = 0; i < 4; i++) {
        CU_ASSERT_TRUE(given[i] > 35 && given[i] < 65);
    }
    stage_end(&stage);
}

static void give(struct stage *stage, uint32_t worker, uint64_t at_s)
{
    uint64_t chain[40];
    struct gv_operation operation;
    unique(&stage->prng, chain, 0, 40);
    CU_ASSERT_TRUE(gv_forest_record(stage->forest, "regular::m", chain, 40, worker,
                                    (GV_STAMP_EPOCH_S + at_s) * 1000, &operation));
}

/* All are full. A new prompt goes where what it pushes out is oldest, not where its hash says. */
static void a_new_prompt_goes_where_the_oldest_gives_way(void)
{
    struct stage stage = stage_of("prefix_cost", 4);
    static const uint32_t order[4] = {2, 0, 3, 1};
    for (uint32_t i = 0; i < 4; i++) {
        gv_forest_set_capacity(stage.forest, i, 80);
        give(&stage, order[i], 100 + 150 * i);
    }
    for (uint32_t i = 0; i < 4; i++) {
        give(&stage, i, 700);
    }
    for (int i = 0; i < 100; i++) {
        uint64_t chain[20];
        unique(&stage.prng, chain, 0, 20);
        CU_ASSERT_EQUAL(decide(&stage, "regular::m", chain, 20).worker, 2);
    }
    gv_forest_set_capacity(stage.forest, 1, 100); /* nothing has to give way there */
    uint64_t chain[20];
    unique(&stage.prng, chain, 0, 20);
    CU_ASSERT_EQUAL(decide(&stage, "regular::m", chain, 20).worker, 1);
    wait_at(&stage, 1, 40); /* what is saved of the room is not worth any wait */
    CU_ASSERT_EQUAL(decide(&stage, "regular::m", chain, 20).worker, 2);
    stage_end(&stage);
}

/* Nothing of it is computed anywhere but at its holder, where no byte ever waits. */
static void a_prompt_that_is_wholly_held_does_not_pile_up_beyond_the_thresholds(void)
{
    struct stage stage = stage_of("prefix_cost", 4);
    record(&stage, "regular::m", path, 20, 1);
    for (uint32_t i = 0; i < 65; i++) {
        CU_ASSERT_EQUAL(decide(&stage, "regular::m", path, 20).worker, 1);
        take(&stage, 1, 1);
    }
    struct gv_decision decision = decide(&stage, "regular::m", path, 20);
    CU_ASSERT_NOT_EQUAL(decision.worker, 1); /* 65 apart */
    CU_ASSERT_EQUAL(decision.rule, GV_RULE_BALANCE);
    stage_end(&stage);
}

static void for_decode_only_what_is_under_way_counts(void)
{
    struct stage stage = stage_of("prefix_cost", 4);
    struct gv_policy_request request = {.key = "decode::m",
                                        .pool = GV_POOL_DECODE,
                                        .chain = path,
                                        .count = 20,
                                        .prompt_bytes = 20 * BLOCK};
    record(&stage, "decode::m", path, 20, 1);
    take(&stage, 0, 5);
    take(&stage, 1, 7);
    take(&stage, 2, 1);
    take(&stage, 3, 5);
    CU_ASSERT_EQUAL(decide_on(&stage, request).worker, 2);
    stage_end(&stage);
}

/* Else one prompt would change its decode worker whenever a request that has ended is told late. */
static void for_decode_three_requests_more_change_nothing_and_four_do(void)
{
    struct stage stage = stage_of("prefix_cost", 2);
    struct gv_policy_request request = {.key = "decode::m",
                                        .pool = GV_POOL_DECODE,
                                        .chain = path,
                                        .count = 20,
                                        .prompt_bytes = 20 * BLOCK};
    uint32_t first = decide_on(&stage, request).worker;
    take(&stage, first, 3);
    CU_ASSERT_EQUAL(decide_on(&stage, request).worker, first);
    take(&stage, first, 1);
    CU_ASSERT_EQUAL(decide_on(&stage, request).worker, 1 - first);
    stage_end(&stage);
}

/* Equal tries and loads, different random bits: always the same worker. */
static void two_nodes_decide_alike(void)
{
    struct stage here = stage_of("prefix_cost", 8);
    struct stage there = stage_of("prefix_cost", 8);
    gv_prng_init(&there.prng, 4711);
    struct gv_prng prompts;
    gv_prng_init(&prompts, 1);
    for (int i = 0; i < 1000; i++) {
        uint64_t chain[20];
        unique(&prompts, chain, (uint32_t)gv_prng_below(&prompts, 15), 20);
        struct gv_decision decision = decide(&here, "regular::m", chain, 20);
        CU_ASSERT_EQUAL(decide(&there, "regular::m", chain, 20).worker, decision.worker);
        record(&here, "regular::m", chain, 20, decision.worker);
        record(&there, "regular::m", chain, 20, decision.worker);
        uint64_t waits = gv_prng_below(&prompts, 50) * BLOCK;
        uint32_t worker = (uint32_t)gv_prng_below(&prompts, 8);
        gv_load_set_remote(here.load, worker, 2, waits);
        gv_load_set_remote(there.load, worker, 2, waits);
    }
    stage_end(&there);
    stage_end(&here);
}

GV_SUITE("route/policy cost",
         GV_CASE(a_prefix_is_waited_for_as_long_as_computing_it_would_cost_more),
         GV_CASE(of_equal_holders_the_one_with_less_waiting_is_chosen),
         GV_CASE(every_block_held_counts),
         GV_CASE(the_longer_all_wait_the_longer_a_prefix_is_waited_for),
         GV_CASE(what_a_worker_computes_slowly_costs_more_there),
         GV_CASE(prompts_that_share_their_first_blocks_are_spread),
         GV_CASE(of_an_idle_fleet_every_cache_is_used),
         GV_CASE(nothing_gives_way_while_a_cache_is_half_empty),
         GV_CASE(a_hot_prefix_gets_as_many_holders_as_it_needs),
         GV_CASE(a_new_prompt_goes_where_the_oldest_gives_way),
         GV_CASE(a_prompt_that_is_wholly_held_does_not_pile_up_beyond_the_thresholds),
         GV_CASE(for_decode_only_what_is_under_way_counts),
         GV_CASE(for_decode_three_requests_more_change_nothing_and_four_do),
         GV_CASE(two_nodes_decide_alike))
