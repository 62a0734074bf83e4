/*
 * What nodes say of workers: that all hear it, whatever happens between them, and that vinesim
 * finds it when they do not.
 */
#include "support/suite.h"
#include "vinesim/records.h"

#include <string.h>

#define NODES 4

static struct world *started(uint64_t seed)
{
    struct world *world = world_new(&(struct world_options){.node_count = NODES, .seed = seed});
    CU_ASSERT_PTR_NOT_NULL_FATAL(world);
    CU_ASSERT_PTR_NOT_NULL_FATAL(records_new(world));
    world_start_all(world);
    world_run(world, 2000);
    struct gv_prng prng;
    gv_prng_init(&prng, seed);
    for (uint32_t i = 0; i < 200; i++) {
        records_say(world->records, &prng, i % NODES);
        world_run(world, 5);
    }
    return world;
}

static void block(struct world *world, bool blocked)
{
    for (uint32_t a = 0; a < NODES; a++) {
        for (uint32_t b = 0; b < NODES; b++) {
            world_block(world, a, b, blocked && (a < 2) != (b < 2));
        }
    }
}

static bool blames(const struct world *world, const char *what)
{
    return strstr(world->wrong, what) != NULL;
}

static void what_is_said_is_heard_by_all_and_vanishes_with_its_node(void)
{
    struct world *world = started(1);
    CU_ASSERT(records_check(world->records, 1000));
    world_kill(world, 2);
    world_run(world, 3000);
    CU_ASSERT(records_check(world->records, 0));
    world_start(world, 2);
    CU_ASSERT(records_check(world->records, 3000));
    CU_ASSERT_STRING_EQUAL(world->wrong, "");
    world_free(world);
}

/* A session may open before its node has heard that it passes for dead: what it says then does not
 * count, and it is asked to say it again. An opinion is said once, and was lost. */
static void who_passed_for_dead_is_heard_again_at_once(void)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct world *world = started(seed);
        block(world, true);
        world_run(world, 8000);
        CU_ASSERT_EQUAL(world->nodes[0].sees[3], GV_MEMBER_DEAD);
        block(world, false);
        uint64_t took_ms;
        CU_ASSERT(world_check_converges(world, 10000, &took_ms));
        CU_ASSERT(records_check(world->records, 2000));
        CU_ASSERT_STRING_EQUAL(world->wrong, "");
        world_free(world);
    }
}

static void a_load_that_one_node_did_not_hear_is_found(void)
{
    struct world *world = started(1);
    records_hear_load(world->records, 0, 1, 3, 77);
    world->nodes[1].paused_until_us = UINT64_MAX; /* else it says so again within a second */
    CU_ASSERT_FALSE(records_check(world->records, 100));
    CU_ASSERT(blames(world, "n00 has not heard what n01 says"));
    world_free(world);
}

static void an_older_record_that_wins_is_found(void)
{
    struct world *world = started(1);
    struct gv_gossip_setting setting = {
        .name = "s0", .value = "1", .origin = "n01", .version_ms = UINT64_MAX};
    records_hear_setting(world->records, 0, &setting);
    CU_ASSERT_STRING_EQUAL(world->wrong, "");
    setting.version_ms -= 1;
    records_hear_setting(world->records, 0, &setting);
    CU_ASSERT(blames(world, "older record of s0"));
    CU_ASSERT_FALSE(records_check(world->records, 100)); /* and the others have another */
    world_free(world);
}

static void a_setting_that_one_node_lacks_is_found(void)
{
    struct world *world = started(1);
    struct gv_gossip_setting setting = {
        .name = "s0", .value = "1", .origin = "n01", .version_ms = UINT64_MAX};
    records_hear_setting(world->records, 0, &setting);
    CU_ASSERT_FALSE(records_check(world->records, 100));
    CU_ASSERT(blames(world, "differ in records or settings"));
    world_free(world);
}

/* A prompt that comes again is a touch of its end: as local, so on all. */
static void a_prompt_that_comes_again_is_touched_on_all(void)
{
    struct world *world = started(1);
    uint64_t took_ms, print = world_repeat(world, 0, 0, 1);
    CU_ASSERT(print != 0);
    world_run(world, 1000);
    CU_ASSERT_EQUAL(world_repeat(world, 1, 0, 1), 0); /* fresh: nothing to tell */
    world_run(world, 6000);
    CU_ASSERT_EQUAL(world_repeat(world, 1, 0, 1), print);
    CU_ASSERT(world_check_converges(world, 1000, &took_ms));
    CU_ASSERT(world_check_no_gap(world));
    world_free(world);
}

GV_SUITE("sim/records", GV_CASE(what_is_said_is_heard_by_all_and_vanishes_with_its_node),
         GV_CASE(who_passed_for_dead_is_heard_again_at_once),
         GV_CASE(a_load_that_one_node_did_not_hear_is_found),
         GV_CASE(an_older_record_that_wins_is_found),
         GV_CASE(a_setting_that_one_node_lacks_is_found),
         GV_CASE(a_prompt_that_comes_again_is_touched_on_all))
