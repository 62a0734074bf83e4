/*
 * Stories of two to five nodes, in virtual time: what the mesh does when somebody comes, goes, is
 * cut off or is wrongly thought dead.
 */
#include "cluster.h"

static struct world *started(uint32_t nodes, uint32_t ring)
{
    struct world_options options = {.node_count = nodes, .seed = 42};
    options.engine.log_operations = ring;
    return start_cluster(options, 1500);
}

static void nodes_that_start_together_find_each_other_and_are_ready(void)
{
    struct world *world = started(3, 0);
    for (uint32_t i = 0; i < 3; i++) {
        CU_ASSERT(gv_gossip_is_ready(world->nodes[i].engine));
        CU_ASSERT(world->nodes[i].ready_at_us < 1000000);
        struct gv_member members[4];
        CU_ASSERT_EQUAL(gv_gossip_members(world->nodes[i].engine, members, 4), 3);
        for (uint32_t j = 0; j < 3; j++) {
            CU_ASSERT_EQUAL(members[j].status, GV_MEMBER_ALIVE);
            CU_ASSERT_EQUAL(members[j].connected, j != i);
        }
    }
    end(world);
}

static void between_two_nodes_one_session_stays(void)
{
    struct world *world = started(2, 0);
    uint32_t open = 0;
    for (size_t i = 0; i < world->connection_count; i++) {
        open += world->connections[i].end[0].open && world->connections[i].end[1].open;
    }
    CU_ASSERT_EQUAL(open, 1);
    end(world);
}

static void a_node_without_seeds_is_ready_at_once(void)
{
    struct world *world = started(1, 0);
    CU_ASSERT(world->nodes[0].ready_at_us <= 1000);
    end(world);
}

/* Both sides of the limit: not ready at 4,999 ms, ready at 5,000. */
static void a_node_that_reaches_no_seed_is_ready_after_the_timeout(void)
{
    struct world *world = world_new(&(struct world_options){.node_count = 2, .seed = 1});
    world_start(world, 0);
    world_run(world, 4990);
    CU_ASSERT_FALSE(gv_gossip_is_ready(world->nodes[0].engine));
    world_run(world, 20);
    CU_ASSERT(gv_gossip_is_ready(world->nodes[0].engine));
    end(world);
}

static void what_one_node_learns_is_known_everywhere_within_25_ms(void)
{
    struct world *world = started(5, 0);
    uint64_t print = world_publish(world, 2, 0, 1);
    CU_ASSERT(print != 0);
    world_run(world, 25);
    for (uint32_t i = 0; i < 5; i++) {
        CU_ASSERT_EQUAL(depth_at(world, i, 0, print), 1);
    }
    end(world);
}

static void a_forgotten_worker_is_forgotten_everywhere(void)
{
    struct world *world = started(3, 0);
    uint64_t print = world_publish(world, 0, 0, 1);
    world_run(world, 100);
    world_forget(world, 1, 0);
    world_run(world, 100);
    for (uint32_t i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(depth_at(world, i, 0, print), 0);
    }
    expect_agreement(world, 0);
    end(world);
}

static void a_cut_session_comes_back_without_loss_and_without_a_snapshot(void)
{
    struct world *world = started(2, 0);
    uint64_t snapshots = world_counters(world, 0).snapshots_sent;
    for (uint32_t i = 0; i < 200; i++) {
        (void)world_publish(world, i % 2, i, 8);
        world_run(world, 2);
        if (i % 40 == 20) {
            world_cut(world, 0, 1);
        }
    }
    expect_agreement(world, 3000);
    CU_ASSERT_EQUAL(world_counters(world, 0).snapshots_sent, snapshots);
    CU_ASSERT(world_counters(world, 0).ranges_sent > 0);
    end(world);
}

/* The ring holds 32 operations; 200 are missed while nothing passes: only a snapshot can help. */
static void a_node_that_lags_beyond_the_ring_takes_a_snapshot(void)
{
    struct world *world = started(2, 32);
    uint64_t snapshots = world_counters(world, 0).snapshots_sent;
    world_block(world, 0, 1, true);
    world_block(world, 1, 0, true);
    world_run(world, 4000);
    for (uint32_t i = 0; i < 200; i++) {
        (void)world_publish(world, 0, i, 8);
    }
    world_heal(world);
    expect_agreement(world, 10000);
    CU_ASSERT(world_counters(world, 0).snapshots_sent > snapshots);
    end(world);
}

/* Exactly as many as the ring holds: the range is enough. */
static void a_node_that_lags_within_the_ring_takes_the_range(void)
{
    struct world *world = started(2, 32);
    uint64_t snapshots = world_counters(world, 0).snapshots_sent;
    world_block(world, 0, 1, true);
    world_block(world, 1, 0, true);
    world_run(world, 4000);
    for (uint32_t i = 0; i < 32; i++) {
        CU_ASSERT(world_publish(world, 0, i, 8) != 0);
    }
    world_heal(world);
    expect_agreement(world, 10000);
    CU_ASSERT_EQUAL(world_counters(world, 0).snapshots_sent, snapshots);
    end(world);
}

static void a_killed_node_is_dead_within_a_second_and_its_loads_vanish(void)
{
    struct world *world = started(3, 0);
    world_set_load(world, 2, 0, 7);
    world_run(world, 100);
    CU_ASSERT_EQUAL(world->nodes[0].load_sum[2], 7);
    world_kill(world, 2);
    world_run(world, 1000);
    for (uint32_t i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL(world->nodes[i].sees[2], GV_MEMBER_DEAD);
        CU_ASSERT_EQUAL(world->nodes[i].load_sum[2], 0);
    }
    end(world);
}

static void a_vanished_host_is_dead_within_2300_ms(void)
{
    struct world *world = started(3, 0);
    world_vanish(world, 1);
    world_run(world, 2300);
    CU_ASSERT_EQUAL(world->nodes[0].sees[1], GV_MEMBER_DEAD);
    CU_ASSERT_EQUAL(world->nodes[2].sees[1], GV_MEMBER_DEAD);
    end(world);
}

/* Both sides of each limit: a reset says more than silence, so it needs less of it. */
static void a_killed_node_is_not_dead_at_700_ms_nor_a_silent_one_at_2000_ms(void)
{
    struct world *world = started(4, 0);
    world_kill(world, 2);
    world_run(world, 700);
    CU_ASSERT_EQUAL(world->nodes[0].sees[2], GV_MEMBER_SUSPECT);
    world_run(world, 100);
    CU_ASSERT_EQUAL(world->nodes[0].sees[2], GV_MEMBER_DEAD);
    world_vanish(world, 1);
    world_run(world, 2000);
    CU_ASSERT_EQUAL(world->nodes[0].sees[1], GV_MEMBER_SUSPECT);
    CU_ASSERT_EQUAL(world->nodes[3].sees[1], GV_MEMBER_SUSPECT);
    end(world);
}

static void a_node_that_stands_still_for_two_seconds_is_doubted_but_lives(void)
{
    struct world *world = started(4, 0);
    world_pause(world, 1, 2000);
    world_run(world, 1000);
    CU_ASSERT_EQUAL(world->nodes[0].sees[1], GV_MEMBER_SUSPECT);
    world_run(world, 1050);
    for (uint32_t i = 0; i < 4; i++) {
        CU_ASSERT_EQUAL(world_counters(world, i).deaths, 0);
        CU_ASSERT(i == 1 || world->nodes[i].sees[1] == GV_MEMBER_ALIVE);
    }
    end(world);
}

static void a_node_that_stood_still_accuses_nobody(void)
{
    struct world *world = started(4, 0);
    uint64_t doubts = world_counters(world, 1).suspicions;
    world_pause(world, 1, 2000);
    world_cut(world, 1, 2); /* it hears of the reset when it goes on */
    world_run(world, 3500);
    CU_ASSERT_EQUAL(world_counters(world, 1).suspicions, doubts);
    end(world);
}

/* 0 and 1 lose their session while 1 stands still; 2 and 3 hold theirs and say it is not gone. */
static void one_word_of_a_death_is_no_more_than_a_doubt_where_a_session_is_open(void)
{
    struct world *world = started(4, 0);
    world_pause(world, 1, 1900);
    world_cut(world, 0, 1);
    world_run(world, 1800);
    CU_ASSERT_EQUAL(world->nodes[2].sees[1], GV_MEMBER_SUSPECT);
    CU_ASSERT_EQUAL(world->nodes[3].sees[1], GV_MEMBER_SUSPECT);
    world_run(world, 200);
    CU_ASSERT_EQUAL(world->nodes[2].sees[1], GV_MEMBER_ALIVE);
    CU_ASSERT_EQUAL(world->nodes[3].sees[1], GV_MEMBER_ALIVE);
    end(world);
}

static void a_restarted_node_gets_everything_back_even_what_it_wrote_itself(void)
{
    struct world *world = started(3, 0);
    uint64_t own = world_publish(world, 1, 0, 1);
    uint64_t other = world_publish(world, 0, 1, 1);
    world_run(world, 100);
    world_kill(world, 1);
    world_run(world, 3000);
    world_start(world, 1);
    world_run(world, 1000);
    CU_ASSERT(gv_gossip_is_ready(world->nodes[1].engine));
    CU_ASSERT_EQUAL(depth_at(world, 1, 0, own), 1);
    CU_ASSERT_EQUAL(depth_at(world, 1, 1, other), 1);
    expect_agreement(world, 3000);
    end(world);
}

/* The dead node told only one of the others of its last word; the third still gets it. */
static void the_last_words_of_the_dead_reach_everyone(void)
{
    struct world *world = started(3, 0);
    world_block(world, 0, 2, true);
    uint64_t print = world_publish(world, 0, 0, 1);
    world_run(world, 50);
    CU_ASSERT_EQUAL(depth_at(world, 1, 0, print), 1);
    CU_ASSERT_EQUAL(depth_at(world, 2, 0, print), 0);
    world_vanish(world, 0);
    world_heal(world);
    world_run(world, 8000);
    CU_ASSERT_EQUAL(depth_at(world, 2, 0, print), 1);
    expect_agreement(world, 3000);
    end(world);
}

static void a_wrong_doubt_is_refuted_in_one_round_trip(void)
{
    struct world *world = started(3, 0);
    uint64_t refutations = world_counters(world, 1).refutations;
    world_cut(world, 0, 1); /* a reset session is doubted at once */
    world_run(world, 3);
    CU_ASSERT(world_counters(world, 0).suspicions > 0);
    world_run(world, 30);
    CU_ASSERT(world_counters(world, 1).refutations > refutations);
    CU_ASSERT_EQUAL(world->nodes[0].sees[1], GV_MEMBER_ALIVE);
    CU_ASSERT_EQUAL(world->nodes[2].sees[1], GV_MEMBER_ALIVE);
    end(world);
}

static void a_node_that_stood_still_comes_back_by_itself(void)
{
    struct world *world = started(4, 0);
    world_pause(world, 3, 5000);
    world_run(world, 3000);
    CU_ASSERT_EQUAL(world->nodes[0].sees[3], GV_MEMBER_DEAD);
    (void)world_publish(world, 0, 0, 8);
    world_run(world, 2000);
    expect_agreement(world, 5000);
    end(world);
}

static void a_node_that_leaves_is_left_at_once_and_never_dead(void)
{
    struct world *world = started(3, 0);
    uint64_t print = world_publish(world, 2, 0, 1);
    world_leave(world, 2);
    for (uint32_t i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL(world->nodes[i].sees[2], GV_MEMBER_LEFT);
        CU_ASSERT_EQUAL(depth_at(world, i, 0, print), 1);
    }
    world_run(world, 5000);
    CU_ASSERT_EQUAL(world->nodes[0].sees[2], GV_MEMBER_LEFT);
    CU_ASSERT_EQUAL(world_counters(world, 0).deaths, 0);
    end(world);
}

/* 0 and 1 come back knowing each other only, 2 has no seeds: it looks where they were. */
static void who_died_or_left_is_looked_for_and_found_when_it_is_back(void)
{
    for (int leaves = 0; leaves < 2; leaves++) {
        struct world *world =
            world_new(&(struct world_options){.node_count = 3, .seed = 42, .knows_few = true});
        CU_ASSERT_PTR_NOT_NULL_FATAL(world);
        world_start_all(world);
        world_run(world, 1500);
        gv_gossip_seeds(world->nodes[2].engine, NULL, 0, world_now(world, 2));
        for (uint32_t i = 0; i < 2; i++) {
            (leaves ? world_leave : world_kill)(world, i);
        }
        world_run(world, 4000);
        for (uint32_t i = 0; i < 2; i++) {
            CU_ASSERT_EQUAL(world->nodes[2].sees[i], leaves ? GV_MEMBER_LEFT : GV_MEMBER_DEAD);
            world_start(world, i);
        }
        world_run(world, 10000);
        for (uint32_t i = 0; i < 2; i++) {
            CU_ASSERT_EQUAL(world->nodes[2].sees[i], GV_MEMBER_ALIVE);
            CU_ASSERT_EQUAL(world->nodes[i].sees[2], GV_MEMBER_ALIVE);
        }
        end(world);
    }
}

static void a_split_cluster_goes_on_and_agrees_when_healed(void)
{
    struct world *world = started(4, 0);
    for (uint32_t a = 0; a < 4; a++) {
        for (uint32_t b = 0; b < 4; b++) {
            world_block(world, a, b, (a < 2) != (b < 2));
        }
    }
    for (uint32_t i = 0; i < 400; i++) {
        (void)world_publish(world, i % 4, i, 4);
        world_run(world, 50);
    }
    CU_ASSERT_EQUAL(world->nodes[0].sees[3], GV_MEMBER_DEAD);
    CU_ASSERT_EQUAL(world->nodes[0].sees[1], GV_MEMBER_ALIVE);
    world_heal(world);
    expect_agreement(world, 5000);
    end(world);
}

/* Node 1 hears nothing from node 0 but talks to it: the third node's probes keep both alive. */
static void a_deaf_direction_does_not_kill_while_others_can_ask(void)
{
    struct world *world = started(5, 0);
    for (uint32_t a = 0; a < 5; a++) {
        world->nodes[a].disturbed_at_us = 0;
    }
    world->blocked[0][1] = true; /* datagrams and session bytes of 0 do not reach 1 */
    world_run(world, 6000);
    for (uint32_t i = 0; i < 5; i++) {
        CU_ASSERT(i == 0 || world->nodes[i].sees[0] != GV_MEMBER_DEAD);
        CU_ASSERT(i == 1 || world->nodes[i].sees[1] != GV_MEMBER_DEAD);
    }
    world->blocked[0][1] = false;
    expect_agreement(world, 5000);
    end(world);
}

/* The logs agree, so nobody misses anything; only comparing the sets themselves can tell. */
static void live_sets_that_differ_behind_equal_logs_are_mended_without_a_snapshot(void)
{
    struct world *world = started(3, 0);
    for (uint32_t i = 0; i < 50; i++) {
        (void)world_publish(world, i % 3, i, 24);
    }
    world_run(world, 100);
    uint64_t first = world_slip(world, 0, 0, 40), second = world_slip(world, 2, 1, 3);
    uint64_t snapshots[3];
    for (uint32_t i = 0; i < 3; i++) {
        snapshots[i] = world_counters(world, i).snapshots_received;
    }
    CU_ASSERT_FALSE(world_agrees(world));
    world_run(world, 59000);
    CU_ASSERT_FALSE(world_agrees(world)); /* compared every 60 s, and twice before it is believed */
    world_run(world, 130000);
    for (uint32_t i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(depth_at(world, i, 0, first), 1);
        CU_ASSERT_EQUAL(depth_at(world, i, 1, second), 1);
        CU_ASSERT_EQUAL(world_counters(world, i).snapshots_received, snapshots[i]);
    }
    expect_agreement(world, 0);
    end(world);
}

#define JOIN_OPERATIONS 4800

/* Three nodes hold 300,000 entries when a fourth starts. */
static struct world *before_the_fourth(void)
{
    struct world *world = world_new(&(struct world_options){.node_count = 4, .seed = 42});
    CU_ASSERT_PTR_NOT_NULL_FATAL(world);
    for (uint32_t i = 0; i < 3; i++) {
        world_start(world, i);
    }
    world_run(world, 6000);
    for (uint32_t i = 0; i < JOIN_OPERATIONS; i++) {
        (void)world_publish(world, i % 3, i, 64);
        world_run(world, 1);
    }
    world_run(world, 1000);
    return world;
}

static void who_joins_takes_three_shares_from_several_donors(void)
{
    struct world *world = before_the_fourth();
    uint64_t before[3];
    for (uint32_t i = 0; i < 3; i++) {
        before[i] = world_counters(world, i).bytes_sent;
    }
    world_start(world, 3);
    world_run(world, 300);
    CU_ASSERT(gv_gossip_is_ready(world->nodes[3].engine));
    CU_ASSERT(world_counters(world, 3).snapshots_received >= 3);
    uint64_t most = 0, sum = 0;
    for (uint32_t i = 0; i < 3; i++) {
        uint64_t sent = world_counters(world, i).bytes_sent - before[i];
        most = sent > most ? sent : most;
        sum += sent;
    }
    CU_ASSERT(most < sum * 3 / 4); /* one may be replaced: its session crossed with another */
    CU_ASSERT(sum <
              JOIN_OPERATIONS * 64 * 12); /* each entry once: 8 bytes and what goes around them */
    expect_agreement(world, 2000);
    end(world);
}

static void a_donor_that_dies_midway_is_replaced(void)
{
    struct world *world = before_the_fourth();
    world_start(world, 3);
    while (world_counters(world, 3).snapshots_received < 3) {
        world_run(world, 1);
    }
    world_run(world, 1);
    CU_ASSERT_FALSE(gv_gossip_is_ready(world->nodes[3].engine));
    world_kill(world, 1);
    world_run(world, 500);
    CU_ASSERT(gv_gossip_is_ready(world->nodes[3].engine));
    CU_ASSERT(world_counters(world, 3).snapshots_received > 3);
    world_run(world, 3000);
    expect_agreement(world, 3000);
    end(world);
}

static void on_demand_live_sets_are_compared_and_mended_at_once(void)
{
    struct world *world = started(3, 0);
    for (uint32_t i = 0; i < 500; i++) {
        (void)world_publish(world, i % 3, i, 24);
    }
    world_run(world, 1100);
    uint64_t comparisons = world_counters(world, 1).comparisons;
    gv_gossip_compare(world->nodes[0].engine, world_now(world, 0));
    world_settle(world, 0);
    world_run(world, 1100);
    CU_ASSERT_EQUAL(world_counters(world, 1).comparisons, comparisons); /* equal: nothing to do */
    uint64_t print = world_slip(world, 0, 0, 4);
    uint64_t before = world->session_bytes;
    gv_gossip_compare(world->nodes[0].engine, world_now(world, 0));
    world_settle(world, 0);
    world_run(world, 50);
    for (uint32_t i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(depth_at(world, i, 0, print), 1);
    }
    CU_ASSERT(world_counters(world, 1).operations_mended > 0);
    CU_ASSERT(world->session_bytes - before < 30000); /* the buckets that differ, not the set */
    expect_agreement(world, 0);
    end(world);
}

static void nonsense_is_an_error_and_a_count_and_nothing_else(void)
{
    struct world *world = started(2, 0);
    struct gv_gossip *engine = world->nodes[0].engine;
    uint64_t session = 0;
    for (size_t i = 0; i < world->connection_count; i++) {
        session = world->connections[i].end[0].open ? i + 1 : session;
    }
    uint64_t malformed = gv_gossip_counters(engine)->malformed;
    CU_ASSERT_EQUAL(
        gv_gossip_message(engine, session, gv_slice_text("\xff\xff nonsense"), world_now(world, 0)),
        GV_EPROTO);
    world_settle(world, 0);
    CU_ASSERT_EQUAL(gv_gossip_message(engine, session, gv_slice_of(NULL, 0), world_now(world, 0)),
                    GV_EPROTO);
    world_settle(world, 0);
    gv_gossip_packet(engine, &world->nodes[1].addr, "n01", gv_slice_text("\x0a\xff"),
                     world_now(world, 0));
    world_settle(world, 0);
    CU_ASSERT_EQUAL(gv_gossip_counters(engine)->malformed, malformed + 3);
    (void)world_publish(world, 0, 0, 4);
    expect_agreement(world, 1000);
    end(world);
}

GV_SUITE("scenario/gossip", GV_CASE(nodes_that_start_together_find_each_other_and_are_ready),
         GV_CASE(between_two_nodes_one_session_stays),
         GV_CASE(a_node_without_seeds_is_ready_at_once),
         GV_CASE(a_node_that_reaches_no_seed_is_ready_after_the_timeout),
         GV_CASE(what_one_node_learns_is_known_everywhere_within_25_ms),
         GV_CASE(a_forgotten_worker_is_forgotten_everywhere),
         GV_CASE(a_cut_session_comes_back_without_loss_and_without_a_snapshot),
         GV_CASE(a_node_that_lags_beyond_the_ring_takes_a_snapshot),
         GV_CASE(a_node_that_lags_within_the_ring_takes_the_range),
         GV_CASE(a_killed_node_is_dead_within_a_second_and_its_loads_vanish),
         GV_CASE(a_vanished_host_is_dead_within_2300_ms),
         GV_CASE(a_killed_node_is_not_dead_at_700_ms_nor_a_silent_one_at_2000_ms),
         GV_CASE(a_node_that_stands_still_for_two_seconds_is_doubted_but_lives),
         GV_CASE(a_node_that_stood_still_accuses_nobody),
         GV_CASE(one_word_of_a_death_is_no_more_than_a_doubt_where_a_session_is_open),
         GV_CASE(a_restarted_node_gets_everything_back_even_what_it_wrote_itself),
         GV_CASE(the_last_words_of_the_dead_reach_everyone),
         GV_CASE(a_wrong_doubt_is_refuted_in_one_round_trip),
         GV_CASE(a_node_that_stood_still_comes_back_by_itself),
         GV_CASE(a_node_that_leaves_is_left_at_once_and_never_dead),
         GV_CASE(who_died_or_left_is_looked_for_and_found_when_it_is_back),
         GV_CASE(a_split_cluster_goes_on_and_agrees_when_healed),
         GV_CASE(a_deaf_direction_does_not_kill_while_others_can_ask),
         GV_CASE(live_sets_that_differ_behind_equal_logs_are_mended_without_a_snapshot),
         GV_CASE(who_joins_takes_three_shares_from_several_donors),
         GV_CASE(a_donor_that_dies_midway_is_replaced),
         GV_CASE(on_demand_live_sets_are_compared_and_mended_at_once),
         GV_CASE(nonsense_is_an_error_and_a_count_and_nothing_else))
