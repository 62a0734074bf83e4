/*
 * Stories of nodes that are gone for good: what is kept of them, for how long, and by whom.
 */
#include "cluster.h"

#define FORGET_S 60
#define SWEEP_MS 12000 /* a look every 5 s notes that it is gone, and another that it is past */

static struct world *started(uint32_t nodes)
{
    struct world_options options = {.node_count = nodes, .seed = 7};
    options.engine.forget_after_s = FORGET_S;
    return start_cluster(options, 2000);
}

/* Who came when the node had long been gone does not carry its log for longer than the others. */
static void all_forget_a_log_at_one_time_whenever_they_came(void)
{
    struct world *world = started(3);
    CU_ASSERT(world_publish(world, 2, 0, 4) != 0);
    world_run(world, 1000);
    world_kill(world, 2);
    world_run(world, 40000);
    world_kill(world, 1);
    world_start(world, 1);
    expect_agreement(world, 3000);
    world_run(world, FORGET_S * 1000 - 40000 + SWEEP_MS);
    expect_agreement(world, 0);
    end(world);
}

/* Both sides: kept while somebody may lack some of it, and no longer. */
static void a_log_is_known_to_who_comes_while_it_is_young_and_not_after(void)
{
    struct world *world = started(3);
    uint64_t print = world_publish(world, 2, 0, 1);
    world_run(world, 1000);
    world_kill(world, 2);
    world_run(world, 30000);
    world_kill(world, 1);
    world_start(world, 1);
    world_run(world, 3000);
    struct gv_member members[3];
    CU_ASSERT_EQUAL(gv_gossip_members(world->nodes[1].engine, members, 3), 3);
    CU_ASSERT_EQUAL(members[2].applied, 1);
    world_run(world, FORGET_S * 1000);
    world_kill(world, 1);
    world_start(world, 1);
    world_run(world, 3000);
    CU_ASSERT(gv_gossip_members(world->nodes[1].engine, members, 3) < 3 || members[2].applied == 0);
    uint32_t worker = 0, depth = 0; /* what it said is not forgotten with it */
    gv_forest_match(world->nodes[1].forest, "regular::llama", &print, 1, &worker, 1, &depth);
    CU_ASSERT_EQUAL(depth, 1);
    expect_agreement(world, 0);
    end(world);
}

/* An idle node, thought dead for longer than logs are kept, is there again: its log counts. */
static void who_comes_back_after_long_silence_has_its_log_again(void)
{
    struct world *world = started(3);
    CU_ASSERT(world_publish(world, 2, 0, 4) != 0);
    for (uint32_t i = 0; i < 2; i++) {
        world_block(world, i, 2, true);
        world_block(world, 2, i, true);
    }
    world_run(world, 20000);
    CU_ASSERT(world_publish(world, 0, 1, 4) != 0);
    world_run(world, FORGET_S * 1000 + SWEEP_MS);
    world_heal(world);
    expect_agreement(world, 10000);
    CU_ASSERT(world_publish(world, 2, 0, 4) != 0);
    expect_agreement(world, 1000);
    end(world);
}

GV_SUITE("scenario/past", GV_CASE(all_forget_a_log_at_one_time_whenever_they_came),
         GV_CASE(a_log_is_known_to_who_comes_while_it_is_young_and_not_after),
         GV_CASE(who_comes_back_after_long_silence_has_its_log_again))
