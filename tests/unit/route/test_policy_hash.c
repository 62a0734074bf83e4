/* test_policy_hash.c - the policies that place a prompt by what it is: prefix_hash and bucket. */
#include "unit/route/stage.h"

static void fill(struct gv_prng *prng, uint64_t *chain, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        chain[i] = gv_prng_next(prng) | 1;
    }
}

/* ---- prefix_hash; hash_blocks is 4 ---- */

static void only_the_leading_blocks_are_hashed(void)
{
    struct stage stage = stage_of("prefix_hash", 8);
    int apart = 0;
    for (int i = 0; i < 100; i++) {
        uint64_t chain[10];
        fill(&stage.prng, chain, 10);
        struct gv_decision first = decide(&stage, "regular::m", chain, 10);
        CU_ASSERT_EQUAL(first.rule, GV_RULE_HASH);
        fill(&stage.prng, chain + 4, 6);
        CU_ASSERT_EQUAL(decide(&stage, "regular::m", chain, 10).worker, first.worker);
        CU_ASSERT_EQUAL(decide(&stage, "regular::m", chain, 4).worker, first.worker);
        fill(&stage.prng, chain + 3, 1);
        apart += decide(&stage, "regular::m", chain, 10).worker != first.worker;
    }
    CU_ASSERT_TRUE(apart > 70);
    stage_end(&stage);
}

static void two_nodes_hash_alike_and_prompts_are_spread(void)
{
    struct stage here = stage_of("prefix_hash", 8);
    struct stage there = stage_of("prefix_hash", 8);
    uint32_t given[FLEET] = {0};
    gv_prng_init(&there.prng, 4711);
    struct gv_prng prompts;
    gv_prng_init(&prompts, 1);
    for (int i = 0; i < 800; i++) {
        uint64_t chain[4];
        fill(&prompts, chain, 4);
        uint32_t worker = decide(&here, "regular::m", chain, 4).worker;
        CU_ASSERT_EQUAL(decide(&there, "regular::m", chain, 4).worker, worker);
        given[worker] += 1;
    }
    for (uint32_t i = 0; i < 8; i++) {
        CU_ASSERT_TRUE(given[i] > 60 && given[i] < 150);
    }
    stage_end(&there);
    stage_end(&here);
}

static void when_a_worker_leaves_only_its_prompts_move(void)
{
    struct stage stage = stage_of("prefix_hash", 8);
    for (int i = 0; i < 500; i++) {
        uint64_t chain[4];
        const struct gv_worker *rest[FLEET];
        fill(&stage.prng, chain, 4);
        leave(&stage, 5, rest);
        struct gv_policy_request request = {.chain = chain, .count = 4};
        uint32_t before = decide_on(&stage, request).worker;
        request.eligible = rest;
        request.eligible_count = 7;
        uint32_t without = decide_on(&stage, request).worker;
        CU_ASSERT_TRUE(before == 5 ? without != 5 : without == before);
    }
    stage_end(&stage);
}

static void one_prompt_that_everybody_sends_does_not_overrun_its_worker(void)
{
    struct stage stage = stage_of("prefix_hash", 4);
    uint64_t chain[4];
    fill(&stage.prng, chain, 4);
    for (uint32_t sent = 0; sent < 400; sent++) {
        struct gv_decision decision = decide(&stage, "regular::m", chain, 4);
        CU_ASSERT_TRUE((double)decision.load + 1 <= 1.25 * (double)sent / 4 + 1);
        take(&stage, decision.worker, 1);
    }
    stage_end(&stage);
}

/* ---- bucket ---- */

static struct gv_decision send(struct stage *stage, uint64_t bytes, uint64_t now_ms)
{
    return decide_on(stage, (struct gv_policy_request){.key = "prefill::m",
                                                       .pool = GV_POOL_PREFILL,
                                                       .prompt_bytes = bytes,
                                                       .now_ms = now_ms});
}

static void before_anything_is_known_lengths_up_to_4_kib_are_shared_evenly(void)
{
    struct stage stage = stage_of("bucket", 4);
    CU_ASSERT_EQUAL(send(&stage, 0, 1).worker, 0);
    CU_ASSERT_EQUAL(send(&stage, 1023, 1).worker, 0);
    CU_ASSERT_EQUAL(send(&stage, 1024, 1).worker, 1);
    CU_ASSERT_EQUAL(send(&stage, 3071, 1).worker, 2);
    CU_ASSERT_EQUAL(send(&stage, 3072, 1).worker, 3);
    CU_ASSERT_EQUAL(send(&stage, 4096, 1).worker, 3);
    CU_ASSERT_EQUAL(send(&stage, UINT64_MAX, 1).worker, 3);
    CU_ASSERT_EQUAL(send(&stage, 1, 1).rule, GV_RULE_LENGTH);
    stage_end(&stage);
}

/* Many short prompts and a few long ones: each worker gets about the same bytes, and whatever is
 * long never goes where the short ones are. */
static void shares_are_cut_so_that_each_worker_gets_as_many_bytes(void)
{
    struct stage stage = stage_of("bucket", 4);
    uint64_t bytes_of[FLEET] = {0};
    uint64_t longest[FLEET] = {0};
    uint64_t shortest[FLEET];
    memset(shortest, 0xff, sizeof shortest);
    for (uint64_t i = 0; i < 20000; i++) {
        uint64_t octave = gv_prng_next(&stage.prng) % 8;
        uint64_t bytes = (uint64_t)1000 << octave;
        bytes += gv_prng_next(&stage.prng) % bytes;
        uint32_t worker = send(&stage, bytes, 1 + i).worker;
        if (i < 10000) {
            continue; /* the cuts are made at 5,000 and 10,000 ms */
        }
        bytes_of[worker] += bytes;
        longest[worker] = bytes > longest[worker] ? bytes : longest[worker];
        shortest[worker] = bytes < shortest[worker] ? bytes : shortest[worker];
    }
    uint64_t sum = bytes_of[0] + bytes_of[1] + bytes_of[2] + bytes_of[3];
    for (uint32_t i = 0; i < 4; i++) {
        double share = (double)bytes_of[i] / (double)sum;
        CU_ASSERT_TRUE(share > 0.2 && share < 0.3);
        CU_ASSERT_TRUE(i == 0 || longest[i - 1] < shortest[i] + shortest[i] / 5);
    }
    stage_end(&stage);
}

static void cuts_stand_within_an_interval_and_fade_when_lengths_change(void)
{
    struct stage stage = stage_of("bucket", 4);
    for (uint64_t i = 0; i < 1000; i++) {
        CU_ASSERT_EQUAL(send(&stage, 100, 1 + i).worker, 0); /* until 5,000 ms */
    }
    CU_ASSERT_EQUAL(send(&stage, 100000, 5000).worker, 3);
    CU_ASSERT_EQUAL(send(&stage, 3500, 5000).worker, 3);              /* of 4096, still */
    CU_ASSERT_EQUAL(send(&stage, 3500, 5001).worker, 2);              /* half came shorter */
    CU_ASSERT_EQUAL(send(&stage, 3500, 5001 + 100 * 5000).worker, 3); /* long ago: forgotten */
    stage_end(&stage);
}

static void a_share_beyond_the_load_bound_is_helped_by_its_neighbour(void)
{
    struct stage stage = stage_of("bucket", 4);
    for (uint32_t sent = 0; sent < 200; sent++) { /* all of one length */
        struct gv_decision decision = send(&stage, 100, 1);
        CU_ASSERT_TRUE((double)decision.load + 1 <= 1.25 * (double)sent / 4 + 1);
        take(&stage, decision.worker, 1);
    }
    stage_end(&stage);
}

static void whoever_only_asks_teaches_nothing(void)
{
    struct stage stage = stage_of("bucket", 4);
    struct gv_policy_request request = {.key = "prefill::m",
                                        .pool = GV_POOL_PREFILL,
                                        .prompt_bytes = 1000000,
                                        .now_ms = 1,
                                        .dry = true};
    for (int i = 0; i < 100; i++) {
        CU_ASSERT_EQUAL(decide_on(&stage, request).worker, 3);
    }
    CU_ASSERT_EQUAL(send(&stage, 2048, 2).worker, 2);
    CU_ASSERT_EQUAL(send(&stage, 2048, 5002).worker, 0); /* of what came, nothing was shorter */
    stage_end(&stage);
}

static void other_pools_are_drawn_at_random(void)
{
    struct stage stage = stage_of("bucket", 4);
    uint32_t given[FLEET] = {0};
    for (int i = 0; i < 1000; i++) {
        struct gv_decision decision = decide_on(
            &stage, (struct gv_policy_request){.pool = GV_POOL_DECODE, .prompt_bytes = 100});
        CU_ASSERT_EQUAL(decision.rule, GV_RULE_CHANCE);
        given[decision.worker] += 1;
    }
    for (uint32_t i = 0; i < 4; i++) {
        CU_ASSERT_TRUE(given[i] > 150 && given[i] < 350);
    }
    stage_end(&stage);
}

GV_SUITE("route/policy hash", GV_CASE(only_the_leading_blocks_are_hashed),
         GV_CASE(two_nodes_hash_alike_and_prompts_are_spread),
         GV_CASE(when_a_worker_leaves_only_its_prompts_move),
         GV_CASE(one_prompt_that_everybody_sends_does_not_overrun_its_worker),
         GV_CASE(before_anything_is_known_lengths_up_to_4_kib_are_shared_evenly),
         GV_CASE(shares_are_cut_so_that_each_worker_gets_as_many_bytes),
         GV_CASE(cuts_stand_within_an_interval_and_fade_when_lengths_change),
         GV_CASE(a_share_beyond_the_load_bound_is_helped_by_its_neighbour),
         GV_CASE(whoever_only_asks_teaches_nothing), GV_CASE(other_pools_are_drawn_at_random))
