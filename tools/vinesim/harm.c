/*
 * harm.c - what happens to nodes: they end in three ways, stop hearing each other, have a wrong
 * clock, a lost disk, a twin. What happens to bytes on their way is in network.c.
 */
#include "inside.h"

#include <string.h>

void world_kill(struct world *world, uint32_t i)
{
    if (world_is_up(world, i)) {
        world_note(world, "%s is killed", world->nodes[i].name);
        world_end_node(world, i, true, true);
    }
}

void world_vanish(struct world *world, uint32_t i)
{
    if (world_is_up(world, i)) {
        world_note(world, "%s vanishes", world->nodes[i].name);
        world_end_node(world, i, false, false);
    }
}

void world_leave(struct world *world, uint32_t i)
{
    if (world_is_up(world, i)) {
        world_note(world, "%s leaves", world->nodes[i].name);
        gv_gossip_leave(world->nodes[i].engine, world_now(world, i));
        world_settle(world, i);
        world_run(world, 50);
        world_end_node(world, i, true, false);
    }
}

void world_block(struct world *world, uint32_t a, uint32_t b, bool blocked)
{
    world->blocked[a][b] = blocked;
    world->nodes[a].disturbed_at_us = world->now_us + 1;
    world->nodes[b].disturbed_at_us = world->now_us + 1;
}

void world_heal(struct world *world)
{
    for (uint32_t a = 0; a < world->options.node_count; a++) {
        for (uint32_t b = 0; b < world->options.node_count; b++) {
            if (world->blocked[a][b]) {
                world_block(world, a, b, false);
            }
        }
    }
    world_note(world, "healed");
}

void world_set_clock(struct world *world, uint32_t i, int32_t wrong_by_ms)
{
    struct world_node *node = &world->nodes[i];
    node->skew_ms = node->true_skew_ms + wrong_by_ms;
    node->disturbed_at_us = world->now_us + 1;
    world->clocks_were_wrong = world->clocks_were_wrong || wrong_by_ms != 0;
    world_note(world, "the clock of %s is wrong by %d s", node->name, wrong_by_ms / 1000);
}

void world_look_at_clock(struct world *world, uint32_t i)
{
    struct world_node *node = &world->nodes[i];
    struct gv_now now = world_now(world, i);
    if (node->engine != NULL && node->paused_until_us <= world->now_us &&
        gv_gossip_clock_is_right(node->engine) &&
        gv_forest_correct_clock(node->forest, now.wall_ms)) {
        world_note(world, "%s lowers its stamps", node->name);
        gv_gossip_compare(node->engine, now);
        world_settle(world, i);
    }
}

bool world_lose_disk(struct world *world, uint32_t i)
{
    struct world_node *node = &world->nodes[i];
    if (world_is_up(world, i) || world_holders(world, i, NULL) > 0) {
        return false;
    }
    node->incarnation = 0;
    node->keys += 1;
    world_note(world, "%s loses its state directory", node->name);
    return true;
}

bool world_start_twin(struct world *world, uint32_t i)
{
    uint32_t slot = world->options.node_count;
    struct world_node *twin = &world->nodes[slot];
    const struct world_node *first = &world->nodes[i];
    if (world_is_up(world, slot) || !world_is_up(world, i)) {
        return false;
    }
    memcpy(twin->name, first->name, sizeof twin->name);
    twin->skew_ms = first->skew_ms;
    twin->true_skew_ms = first->true_skew_ms;
    twin->keys = first->keys;
    twin->incarnation = first->incarnation;
    world->twin_of = i;
    world_note(world, "a twin of %s starts", twin->name);
    world_start(world, slot);
    world->nodes[i].disturbed_at_us = world->now_us + 1;
    return true;
}

uint32_t world_holders(const struct world *world, uint32_t i, uint32_t *slot)
{
    uint32_t twin = world->options.node_count;
    bool first = world_is_up(world, i);
    bool second = world_is_up(world, twin) && world->twin_of == i;
    if (slot != NULL) {
        *slot = first ? i : twin;
    }
    return (uint32_t)first + (uint32_t)second;
}
