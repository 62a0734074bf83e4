/*
 * Stories of rounds: what a busy node has to say is held for a moment and leaves together.
 */
#include "cluster.h"

#define OPERATIONS 5

static struct world *started(void)
{
    return start_cluster((struct world_options){.node_count = 2, .seed = 7}, 1500);
}

static void tell_load(struct world *world, uint32_t count)
{
    struct gv_gossip_load load = {.worker = gv_slice_text("http://w0:8000"), .count = count};
    gv_gossip_set_load(world->nodes[0].engine, &load, world_now(world, 0));
}

static void end_agreed(struct world *world)
{
    uint64_t took_ms;
    CU_ASSERT(world_check_converges(world, 3000, &took_ms));
    end(world);
}

static void what_is_held_leaves_as_one_batch_when_it_is_released(void)
{
    struct world *world = started();
    struct gv_gossip *engine = world->nodes[0].engine;
    struct gv_gossip_counters before = world_counters(world, 0);
    uint64_t applied = world_counters(world, 1).operations_applied;
    gv_gossip_hold(engine);
    for (uint32_t i = 0; i < OPERATIONS; i++) {
        CU_ASSERT(world_publish(world, 0, i, 4) != 0);
    }
    tell_load(world, 3);
    struct gv_effect effect;
    CU_ASSERT_FALSE(gv_gossip_next_effect(engine, &effect));
    CU_ASSERT_EQUAL(world_counters(world, 0).bytes_sent, before.bytes_sent);
    gv_gossip_release(engine, world_now(world, 0));
    world_settle(world, 0);
    CU_ASSERT_EQUAL(world_counters(world, 0).batches_sent, before.batches_sent + 1);
    world_run(world, 25);
    CU_ASSERT_EQUAL(world_counters(world, 1).operations_applied, applied + OPERATIONS);
    end_agreed(world);
}

/* Nothing held, nothing done: a round without news costs no look at timers and tables. */
static void without_a_hold_the_first_leaves_at_once_and_an_empty_round_says_nothing(void)
{
    struct world *world = started();
    struct gv_gossip_counters before = world_counters(world, 0);
    CU_ASSERT(world_publish(world, 0, 0, 4) != 0);
    world_settle(world, 0);
    CU_ASSERT_EQUAL(world_counters(world, 0).batches_sent, before.batches_sent + 1);
    before = world_counters(world, 0);
    gv_gossip_hold(world->nodes[0].engine);
    gv_gossip_release(world->nodes[0].engine, world_now(world, 0));
    world_settle(world, 0);
    CU_ASSERT_EQUAL(world_counters(world, 0).bytes_sent, before.bytes_sent);
    end_agreed(world);
}

GV_SUITE("scenario/round", GV_CASE(what_is_held_leaves_as_one_batch_when_it_is_released),
         GV_CASE(without_a_hold_the_first_leaves_at_once_and_an_empty_round_says_nothing))
