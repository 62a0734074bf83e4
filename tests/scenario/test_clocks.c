/*
 * Stories of three nodes, and of forty, of which one has a wrong clock: what is missing, and when
 * it is there again.
 */
#include "cluster.h"

#define HOUR_MS            3600000
#define DAY_MS             86400000
#define LOOK_AT_US(number) ((uint64_t)(number)*5000000) /* all logs are looked at */

static struct world *started(uint32_t nodes)
{
    return start_cluster((struct world_options){.node_count = nodes, .seed = 42}, 1500);
}

static struct gv_member member_at(const struct world *world, uint32_t node, uint32_t about)
{
    struct gv_member members[64];
    uint32_t count = gv_gossip_members(world->nodes[node].engine, members, 64);
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(members[i].name, world->nodes[about].name) == 0) {
            return members[i];
        }
    }
    CU_FAIL("no such member");
    return (struct gv_member){.name = ""};
}

static void what_an_early_clock_stamps_is_missing_until_it_is_right_again(void)
{
    struct world *world = started(3);
    world->nodes[0].skew_ms = HOUR_MS;
    world_run(world, 3000);
    uint64_t early_print = world_publish(world, 0, 0, 1);
    uint64_t right_print = world_publish(world, 1, 0, 1);
    world_run(world, 3000);
    CU_ASSERT_EQUAL(depth_at(world, 0, 0, right_print), 1);
    CU_ASSERT_EQUAL(depth_at(world, 2, 0, right_print), 1);
    CU_ASSERT_EQUAL(depth_at(world, 2, 0, early_print), 0);
    for (uint32_t i = 1; i < 3; i++) {
        struct gv_member early = member_at(world, i, 0);
        CU_ASSERT_EQUAL(early.refused, 1);
        CU_ASSERT(early.clock_offset_ms > HOUR_MS - 5000 && early.clock_offset_ms < HOUR_MS + 5000);
        CU_ASSERT_FALSE(digests_agree(world, 0, i));
        CU_ASSERT(gv_gossip_clock_is_right(world->nodes[i].engine));
    }
    CU_ASSERT(digests_agree(world, 1, 2));
    CU_ASSERT_FALSE(gv_gossip_clock_is_right(world->nodes[0].engine));
    world_look_at_clock(world, 0);
    CU_ASSERT_FALSE(digests_agree(world, 0, 1));

    world->nodes[0].skew_ms = 0;
    world_run(world, 3000);
    CU_ASSERT(gv_gossip_clock_is_right(world->nodes[0].engine));
    world_look_at_clock(world, 0);
    expect_agreement(world, 20000);
    for (uint32_t i = 1; i < 3; i++) {
        CU_ASSERT_EQUAL(member_at(world, i, 0).refused, 0);
        CU_ASSERT_EQUAL(depth_at(world, i, 0, early_print), 1);
    }
    end(world);
}

static void a_late_clock_has_what_it_refused_when_it_is_right_again(void)
{
    struct world *world = started(3);
    world->nodes[2].skew_ms = -HOUR_MS;
    world_run(world, 3000);
    for (uint32_t i = 0; i < 20; i++) {
        (void)world_publish(world, i % 3, i, 4);
        world_run(world, 10);
    }
    world_run(world, 3000);
    CU_ASSERT(member_at(world, 2, 0).refused > 0 && member_at(world, 2, 1).refused > 0);
    CU_ASSERT_EQUAL(member_at(world, 0, 2).refused, 0);
    CU_ASSERT_FALSE(digests_agree(world, 0, 2));
    CU_ASSERT_FALSE(gv_gossip_clock_is_right(world->nodes[2].engine));

    world->nodes[2].skew_ms = 0;
    expect_agreement(world, 20000);
    CU_ASSERT_EQUAL(member_at(world, 2, 0).refused + member_at(world, 2, 1).refused, 0);
    end(world);
}

/* Nobody can be asked for it any more: the mark goes too, with the next comparison. */
static void what_was_refused_of_a_node_that_is_gone_keeps_nobody_apart(void)
{
    struct world *world = started(3);
    world->nodes[0].skew_ms = HOUR_MS;
    (void)world_publish(world, 0, 0, 4);
    world_run(world, 3000);
    CU_ASSERT(member_at(world, 1, 0).refused > 0);
    world_kill(world, 0);
    world->nodes[0].skew_ms = 0;
    world_run(world, 5000);
    world_start(world, 0);
    expect_agreement(world, 130000);
    end(world);
}

/* Beyond 32 nodes few have a session with the one of the wrong clock, and hear what time it is
 * there.
 */
static void all_of_forty_have_it_soon_after_the_clock_is_right(void)
{
    struct world *world = started(40);
    world->nodes[0].skew_ms = HOUR_MS;
    world_run(world, 3000);
    uint64_t early_print = world_publish(world, 0, 0, 1);
    world_run(world, 3000);
    CU_ASSERT_EQUAL(depth_at(world, 39, 0, early_print), 0);
    world_set_clock(world, 0, 0);
    world_run(world, 1000);
    world_look_at_clock(world, 0);
    expect_agreement(world, 12000); /* 6 to 11 s; by the comparison of each minute 50 s and more */
    end(world);
}

/* A day forth the logs of lives that are over are past, and forgotten; they count again with the
 * clock, not with the next look at all logs, which was just before. */
static void a_day_forth_and_back_the_logs_of_former_lives_are_what_they_were(void)
{
    struct world *world = started(3);
    CU_ASSERT(world_publish(world, 1, 0, 4) != 0);
    world_run(world, 500);
    world_kill(world, 1);
    world_run(world, 1000);
    world_start(world, 1);
    expect_agreement(world, 2000);
    world_run_until(world, LOOK_AT_US(2) - 500000);
    world_set_clock(world, 0, DAY_MS);
    world_run_until(world, LOOK_AT_US(2) + 500000);
    CU_ASSERT_FALSE(digests_agree(world, 0, 1));
    world_set_clock(world, 0, 0);
    world_run(world, 100);
    CU_ASSERT(digests_agree(world, 0, 1));
    end(world);
}

/* It can not have what its donor refused, and says so. */
static void who_joins_meanwhile_lacks_it_too_and_knows(void)
{
    struct world *world = started(3);
    world->nodes[0].skew_ms = HOUR_MS;
    world_run(world, 3000);
    uint64_t early_print = world_publish(world, 0, 0, 1);
    world_run(world, 1000);
    world_kill(world, 2);
    world_run(world, 3000);
    world_block(world, 0, 2, true);
    world_block(world, 2, 0, true);
    world_start(world, 2);
    world_run(world, 3000);
    CU_ASSERT_EQUAL(depth_at(world, 2, 0, early_print), 0);
    CU_ASSERT(member_at(world, 2, 0).refused > 0);
    CU_ASSERT(digests_agree(world, 1, 2));
    world_heal(world);
    world_set_clock(world, 0, 0);
    world_run(world, 1000);
    world_look_at_clock(world, 0);
    expect_agreement(world, 20000);
    end(world);
}

GV_SUITE("scenario/clocks", GV_CASE(what_an_early_clock_stamps_is_missing_until_it_is_right_again),
         GV_CASE(a_late_clock_has_what_it_refused_when_it_is_right_again),
         GV_CASE(what_was_refused_of_a_node_that_is_gone_keeps_nobody_apart),
         GV_CASE(all_of_forty_have_it_soon_after_the_clock_is_right),
         GV_CASE(a_day_forth_and_back_the_logs_of_former_lives_are_what_they_were),
         GV_CASE(who_joins_meanwhile_lacks_it_too_and_knows))
