/*
 * Stories of meshes that relay, and of logs that their own node cannot bring: in virtual time.
 */
#include "cluster.h"

#define BORDER 32 /* members up to which every pair has its session */

static struct world *made(uint32_t nodes)
{
    struct world *world = world_new(&(struct world_options){.node_count = nodes, .seed = 11});
    CU_ASSERT_PTR_NOT_NULL_FATAL(world);
    return world;
}

static struct world *started(uint32_t nodes)
{
    struct world *world = made(nodes);
    world_start_all(world);
    world_run(world, 8000);
    return world;
}

static uint32_t connected(const struct world *world, uint32_t node)
{
    static struct gv_member members[128];
    uint32_t count = gv_gossip_members(world->nodes[node].engine, members, 128), open = 0;
    for (uint32_t i = 0; i < count; i++) {
        open += members[i].connected;
    }
    return open;
}

static struct gv_gossip_counters sum(const struct world *world)
{
    struct gv_gossip_counters sum = {0};
    for (uint32_t i = 0; i < world->options.node_count; i++) {
        struct gv_gossip_counters one = world_counters(world, i);
#define ADD(name, text) sum.name += one.name;
        GV_GOSSIP_COUNTER_LIST(ADD)
#undef ADD
    }
    return sum;
}

static void publish(struct world *world, uint32_t nodes, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        CU_ASSERT(world_publish(world, i % nodes, i, 4) != 0);
        world_run(world, 5);
    }
}

/* Both sides of the border: sessions with all at 32 members, with 12 at most at 33. */
static void up_to_32_members_every_pair_has_a_session_and_beyond_a_dozen_each(void)
{
    struct world *few = started(BORDER);
    struct world *many = started(BORDER + 1);
    for (uint32_t i = 0; i < BORDER; i++) {
        CU_ASSERT_EQUAL(connected(few, i), BORDER - 1);
        CU_ASSERT(connected(many, i) <= 12);
        CU_ASSERT(connected(many, i) >= 6);
    }
    CU_ASSERT_EQUAL(sum(few).batches_relayed, 0);
    CU_ASSERT_EQUAL(sum(few).announcements_sent, 0);
    end(few);
    end(many);
}

static void an_operation_crosses_every_node_once(void)
{
    struct world *world = started(50);
    struct gv_gossip_counters before = sum(world);
    publish(world, 50, 500);
    world_run(world, 500);
    struct gv_gossip_counters after = sum(world);
    uint64_t applied = after.operations_applied - before.operations_applied;
    uint64_t again = after.operations_duplicate - before.operations_duplicate;
    CU_ASSERT_EQUAL(applied, 500 * 49);
    CU_ASSERT(again * 10 <= applied); /* at most 1.10 copies */
    CU_ASSERT(after.batches_relayed > before.batches_relayed);
    CU_ASSERT_EQUAL(after.snapshots_sent, before.snapshots_sent);
    expect_agreement(world, 0);
    end(world);
}

/* 32, 33, and 32 again, while everybody works: nothing is lost, and each shape follows. */
static void a_cluster_crosses_the_border_and_comes_back_while_it_works(void)
{
    struct world *world = made(BORDER + 1);
    for (uint32_t i = 0; i < BORDER; i++) {
        world_start(world, i);
    }
    world_run(world, 3000);
    CU_ASSERT_EQUAL(connected(world, 0), BORDER - 1);
    publish(world, BORDER, 100);
    world_start(world, BORDER);
    publish(world, BORDER, 1600); /* 8 s */
    CU_ASSERT(connected(world, 0) <= 12);
    expect_agreement(world, 3000);
    world_leave(world, BORDER);
    publish(world, BORDER, 1000); /* 5 s: fewer now, but it may be for a moment */
    CU_ASSERT(connected(world, 0) <= 12);
    publish(world, BORDER, 2000);
    CU_ASSERT_EQUAL(connected(world, 0), BORDER - 1);
    expect_agreement(world, 3000);
    end(world);
}

/* A parent in the tree dies with its sessions: its children find others, and lack nothing. */
static void a_lost_link_of_the_tree_is_replaced_at_once(void)
{
    struct world *world = started(50);
    uint64_t grafts = sum(world).grafts;
    for (uint32_t i = 1; i < 50; i++) {
        world_cut(world, 0, i);
    }
    uint64_t print = world_publish(world, 1, 0, 1);
    CU_ASSERT(print != 0);
    world_run(world, 1000);
    for (uint32_t i = 0; i < 50; i++) {
        uint32_t worker = 0, depth = 0;
        gv_forest_match(world->nodes[i].forest, "regular::llama", &print, 1, &worker, 1, &depth);
        CU_ASSERT_EQUAL(depth, 1);
    }
    CU_ASSERT(sum(world).grafts > grafts);
    end(world);
}

/* Links that swallow everything look open: what they should have brought is announced elsewhere. */
static void what_a_silent_link_swallows_is_pulled_from_another(void)
{
    struct world *world = started(50);
    uint64_t pulled = sum(world).ranges_pulled;
    for (uint32_t i = 10; i < 13; i++) {
        for (uint32_t j = 0; j < 10; j++) {
            world_block(world, j, i, true);
        }
    }
    for (uint32_t i = 20; i < 50; i++) {
        world_block(world, i, 12, i % 2 == 0);
    }
    for (uint32_t i = 0; i < 100; i++) {
        CU_ASSERT(world_publish(world, i % 10, i, 4) != 0);
        world_run(world, 20);
    }
    world_run(world, 1000);
    for (uint32_t i = 10; i < 13; i++) {
        static struct gv_member members[64];
        uint32_t count = gv_gossip_members(world->nodes[i].engine, members, 64);
        for (uint32_t m = 0; m < count; m++) {
            uint64_t published = strcmp(members[m].name, "n10") < 0 ? world->nodes[m].published : 0;
            CU_ASSERT_EQUAL(members[m].applied, published);
        }
    }
    CU_ASSERT(sum(world).ranges_pulled > pulled);
    world_heal(world);
    expect_agreement(world, 10000);
    end(world);
}

/* Five times a second, not for every move: the tree has brought it already. */
static void while_the_tree_holds_moves_are_announced_at_leisure(void)
{
    struct world *world = started(50);
    uint64_t announced = sum(world).announcements_sent, sessions = 0;
    for (uint32_t i = 0; i < 50; i++) {
        sessions += connected(world, i);
    }
    publish(world, 50, 400); /* two seconds */
    announced = sum(world).announcements_sent - announced;
    CU_ASSERT(announced > sessions * 5);
    CU_ASSERT(announced <= sessions * 11);
    end(world);
}

/* Operations of others that the node has not applied. */
static uint64_t lacking(const struct world *world, uint32_t node)
{
    static struct gv_member members[64];
    uint32_t count = gv_gossip_members(world->nodes[node].engine, members, 64);
    uint64_t lacks = 0;
    for (uint32_t m = 0; m < count; m++) {
        lacks += m == node ? 0 : world->nodes[m].published - members[m].applied;
    }
    return lacks;
}

/* All sessions of n12 are silent but one, which is no link of the tree: what it is told there every
 * 40 ms it waits 100 ms for, then asks. Until it has a new parent, after 2.5 s. */
static void who_had_to_ask_hears_of_the_next_move_at_once(void)
{
    static struct gv_member members[64];
    struct world *world = started(50);
    uint32_t count = gv_gossip_members(world->nodes[12].engine, members, 64), kept = 0, most = 0;
    for (uint32_t m = 0; m < count; m++) {
        kept = members[m].connected ? m : kept;
    }
    for (uint32_t i = 0; i < 50; i++) {
        world_block(world, i, 12, i != kept && i != 12);
    }
    uint64_t pulled = world_counters(world, 12).ranges_pulled;
    for (uint32_t i = 0; i < 60; i++) {
        CU_ASSERT(world_publish(world, i % 10, i, 4) != 0);
        world_run(world, 30);
        uint32_t lacks = i < 20 ? 0 : (uint32_t)lacking(world, 12);
        most = lacks > most ? lacks : most;
    }
    CU_ASSERT(world_counters(world, 12).ranges_pulled > pulled + 10);
    CU_ASSERT(most <= 6); /* of the last 180 ms; 18 when it is told every 200 ms */
    end(world);
}

static void loads_opinions_and_their_end_reach_nodes_that_are_not_neighbours(void)
{
    struct world *world = started(50);
    world_set_load(world, 7, 0, 9);
    world_run(world, 300);
    for (uint32_t i = 0; i < 50; i++) {
        CU_ASSERT(i == 7 || world->nodes[i].load_sum[7] == 9);
    }
    world_set_load(world, 7, 0, 0);
    world_run(world, 300);
    for (uint32_t i = 0; i < 50; i++) {
        CU_ASSERT_EQUAL(world->nodes[i].load_sum[7], 0);
    }
    world_set_load(world, 7, 0, 3);
    world_run(world, 300);
    world_kill(world, 7);
    world_run(world, 6000);
    for (uint32_t i = 0; i < 50; i++) {
        CU_ASSERT(i == 7 || world->nodes[i].sees[7] == GV_MEMBER_DEAD);
        CU_ASSERT(i == 7 || world->nodes[i].load_sum[7] == 0);
    }
    end(world);
}

/* Who starts late knows what was said before, though nobody says it again. */
static void who_comes_later_hears_the_loads_of_all(void)
{
    struct world *world = made(50);
    for (uint32_t i = 0; i < 49; i++) {
        world_start(world, i);
    }
    world_run(world, 8000);
    for (uint32_t i = 0; i < 49; i++) {
        world_set_load(world, i, 0, 1 + i);
    }
    world_run(world, 500);
    world_start(world, 49);
    world_run(world, 6000);
    for (uint32_t i = 0; i < 49; i++) {
        CU_ASSERT_EQUAL(world->nodes[49].load_sum[i], 1 + i);
    }
    end(world);
}

/* Nothing passes between two of three, in one direction or both: the third brings it. */
static void expect_agreement_across_a_cut(bool both)
{
    struct world *world = started(3);
    world_block(world, 0, 1, true);
    world_block(world, 1, 0, both);
    for (uint32_t i = 0; i < 300; i++) {
        CU_ASSERT(world_publish(world, i % 3, i, 4) != 0);
        world_run(world, 20);
    }
    world_run(world, 6000);
    CU_ASSERT(world_check_no_gap(world)); /* while the cut lasts */
    uint8_t digests[2][16];
    world_live_digest(world, 0, digests[0]);
    world_live_digest(world, 1, digests[1]);
    CU_ASSERT_EQUAL(memcmp(digests[0], digests[1], 16), 0);
    CU_ASSERT(world_counters(world, 1).ranges_pulled > 0);
    CU_ASSERT_EQUAL(world_counters(world, 1).forged, 0);
    world_heal(world);
    expect_agreement(world, 10000);
    end(world);
}

static void operations_pass_a_one_way_cut_through_a_third_node(void)
{
    expect_agreement_across_a_cut(false);
}

static void operations_pass_a_full_cut_of_a_pair_through_a_third_node(void)
{
    expect_agreement_across_a_cut(true);
}

static void an_idle_node_of_fifty_sends_less_than_50_kbit_a_second(void)
{
    struct world *world = started(50);
    uint64_t bytes = world->session_bytes + world->packet_bytes;
    uint64_t packets = world->packets, messages = world->session_messages;
    world_run(world, 10000);
    bytes = world->session_bytes + world->packet_bytes - bytes;
    bytes += (world->packets - packets) * 84 + (world->session_messages - messages) * 73;
    CU_ASSERT(bytes * 8 / 10 / 50 <= 50000);
    end(world);
}

GV_SUITE("scenario/overlay",
         GV_CASE(up_to_32_members_every_pair_has_a_session_and_beyond_a_dozen_each),
         GV_CASE(an_operation_crosses_every_node_once),
         GV_CASE(a_cluster_crosses_the_border_and_comes_back_while_it_works),
         GV_CASE(a_lost_link_of_the_tree_is_replaced_at_once),
         GV_CASE(what_a_silent_link_swallows_is_pulled_from_another),
         GV_CASE(while_the_tree_holds_moves_are_announced_at_leisure),
         GV_CASE(who_had_to_ask_hears_of_the_next_move_at_once),
         GV_CASE(loads_opinions_and_their_end_reach_nodes_that_are_not_neighbours),
         GV_CASE(who_comes_later_hears_the_loads_of_all),
         GV_CASE(operations_pass_a_one_way_cut_through_a_third_node),
         GV_CASE(operations_pass_a_full_cut_of_a_pair_through_a_third_node),
         GV_CASE(an_idle_node_of_fifty_sends_less_than_50_kbit_a_second))
