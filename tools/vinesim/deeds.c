/*
 * deeds.c - what nodes do, and when the others have seen it. See world.h.
 */
#include "inside.h"

#include <stdlib.h>

#define REPEATED UINT64_C(0x7265706561740000) /* fingerprints of prompts that come again */

/* ---- operations and when they were seen --------------------------------------------------------
 */

static struct world_operation *slot_of(struct world *world, uint64_t print)
{
    size_t at = (size_t)(print * UINT64_C(0x9E3779B97F4A7C15)) & (world->operation_room - 1);
    while (world->operations[at].print != 0 && world->operations[at].print != print) {
        at = (at + 1) & (world->operation_room - 1);
    }
    return &world->operations[at];
}

static void remember(struct world *world, uint64_t print)
{
    if (world->operation_count * 2 >= world->operation_room) {
        struct world_operation *old = world->operations;
        size_t room = world->operation_room;
        world->operation_room = room == 0 ? 4096 : room * 2;
        world->operations = calloc(world->operation_room, sizeof *world->operations);
        if (world->operations == NULL) {
            abort();
        }
        for (size_t i = 0; i < room; i++) {
            if (old[i].print != 0) {
                *slot_of(world, old[i].print) = old[i];
            }
        }
        free(old);
    }
    struct world_operation *slot = slot_of(world, print);
    *slot = (struct world_operation){.print = print, .at_us = world->now_us};
    world->operation_count += 1;
}

static uint32_t others_up(const struct world *world)
{
    return world->up_count == 0 ? 0 : world->up_count - 1;
}

void world_saw(struct world *world, uint64_t print)
{
    if (world->operation_room == 0) {
        return;
    }
    struct world_operation *slot = slot_of(world, print);
    if (slot->print == 0 || slot->seen_all_at_us != 0) {
        return;
    }
    slot->seen += 1;
    if (slot->seen == others_up(world)) {
        slot->seen_all_at_us = world->now_us;
        gv_hist_add(&world->visible_us, world->now_us - slot->at_us);
    }
}

/* ---- what nodes do -----------------------------------------------------------------------------
 */

void world_tell(struct world *world, uint32_t i, const struct gv_operation *operation)
{
    struct gv_gossip_operation outward = world_outward(operation);
    struct world_node *node = &world->nodes[i];
    if (operation->count > 0) {
        remember(world, operation->fingerprints[operation->count - 1]);
    }
    if (gv_gossip_publish(node->engine, &outward, world_now(world, i)) != GV_OK) {
        world_blame(world, "%s could not publish", node->name);
        return;
    }
    node->published += 1;
    world_settle(world, i);
}

uint64_t world_slip(struct world *world, uint32_t i, uint32_t worker, uint32_t count)
{
    uint64_t chain[64];
    struct gv_operation operation;
    for (uint32_t at = 0; at < 64; at++) {
        chain[at] = gv_prng_next(&world->prng) | 1024;
    }
    const char *key = worker % 2 == 0 ? "regular::llama" : "prefill::llama";
    bool made = gv_forest_record(world->nodes[i].forest, key, chain, count < 64 ? count : 64,
                                 worker % WORLD_WORKERS, world_now(world, i).wall_ms, &operation);
    return made ? chain[0] : 0;
}

/* Node `i` gave `worker` this prompt. */
static uint64_t record(struct world *world, uint32_t i, uint32_t worker, const uint64_t *chain,
                       uint32_t count)
{
    const char *key = worker % 2 == 0 ? "regular::llama" : "prefill::llama";
    struct gv_operation operation;
    if (!gv_forest_record(world->nodes[i].forest, key, chain, count, worker % WORLD_WORKERS,
                          world_now(world, i).wall_ms, &operation)) {
        return 0;
    }
    world_tell(world, i, &operation);
    return chain[count - 1];
}

uint64_t world_repeat(struct world *world, uint32_t i, uint32_t worker, uint32_t prompt)
{
    uint64_t chain[4 * GV_ANCHOR_BLOCKS];
    uint32_t count = (1 + prompt % 4) * GV_ANCHOR_BLOCKS;
    if (!world_is_up(world, i) || world->nodes[i].paused_until_us > world->now_us) {
        return 0;
    }
    for (uint32_t at = 0; at < count; at++) {
        chain[at] = REPEATED + (prompt % 16) * 64 + at;
    }
    return record(world, i, worker, chain, count);
}

uint64_t world_publish(struct world *world, uint32_t i, uint32_t worker, uint32_t count)
{
    uint64_t chain[64];
    struct world_node *node = &world->nodes[i];
    if (node->engine == NULL || node->paused_until_us > world->now_us) {
        return 0;
    }
    count = count > 64 ? 64 : count;
    for (uint32_t at = 0; at < count; at++) { /* chains share their first two blocks with some */
        uint64_t shared = gv_prng_below(&world->prng, 4);
        chain[at] = at == 0   ? 1 + shared
                    : at == 1 ? chain[0] * 16 + shared
                              : gv_prng_next(&world->prng) | 1024;
    }
    return record(world, i, worker, chain, count);
}

void world_forget(struct world *world, uint32_t i, uint32_t worker)
{
    struct world_node *node = &world->nodes[i];
    struct gv_operation operation;
    if (node->engine == NULL || node->paused_until_us > world->now_us) {
        return;
    }
    gv_forest_forget(node->forest, "*", worker % WORLD_WORKERS, GV_FLOOR_RESTARTED,
                     world_now(world, i).wall_ms, &operation);
    world_note(world, "%s forgets worker %u below %u", node->name, worker, operation.stamp);
    world_tell(world, i, &operation);
}

void world_sweep(struct world *world, uint32_t i)
{
    struct gv_operation operations[8];
    struct world_node *node = &world->nodes[i];
    if (node->engine == NULL || node->paused_until_us > world->now_us) {
        return;
    }
    uint32_t count = gv_forest_sweep(node->forest, world_now(world, i).wall_ms, operations, 8);
    for (uint32_t at = 0; at < count; at++) {
        world_note(world, "%s evicts worker %u below %u", node->name, operations[at].worker,
                   operations[at].stamp);
        world_tell(world, i, &operations[at]);
    }
}

void world_set_load(struct world *world, uint32_t i, uint32_t worker, uint32_t count)
{
    struct gv_gossip_load load = {.worker = gv_slice_text(world_worker_url(worker)),
                                  .count = count};
    gv_gossip_set_load(world->nodes[i].engine, &load, world_now(world, i));
    world_settle(world, i);
}
