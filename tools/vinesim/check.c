/*
 * check.c - what must hold when the weather has stopped. See world.h.
 */
#include "inside.h"

#include <string.h>

bool world_agrees(struct world *world)
{
    uint8_t first[16], first_live[16], other[16];
    bool any = false;
    for (uint32_t i = 0; i < world->options.node_count; i++) {
        struct world_node *node = &world->nodes[i];
        if (node->engine == NULL) {
            continue;
        }
        for (uint32_t j = 0; j < world->options.node_count; j++) {
            bool up = world_is_up(world, j);
            if (j != i && up && node->sees[j] != GV_MEMBER_ALIVE) {
                return false;
            }
            if (j != i && !up && node->sees[j] <= GV_MEMBER_SUSPECT) {
                return false;
            }
        }
        gv_gossip_digest(node->engine, other);
        if (any && memcmp(first, other, 16) != 0) {
            return false;
        }
        memcpy(first, other, 16);
        any = true;
    }
    any = false;
    for (uint32_t i = 0; i < world->options.node_count; i++) {
        if (!world_is_up(world, i)) {
            continue;
        }
        world_live_digest(world, i, other);
        if (any && memcmp(first_live, other, 16) != 0) {
            return false;
        }
        memcpy(first_live, other, 16);
        any = true;
    }
    return true;
}

/* Say of the first two that differ in what. */
static void blame_difference(struct world *world, uint64_t within_ms)
{
    uint8_t logs[2][16], live[2][16];
    uint32_t first = UINT32_MAX;
    for (uint32_t i = 0; i < world->options.node_count; i++) {
        if (!world_is_up(world, i)) {
            continue;
        }
        for (uint32_t j = 0; j < world->options.node_count; j++) {
            if (j != i && world_is_up(world, j) && world->nodes[i].sees[j] != GV_MEMBER_ALIVE) {
                world_blame(world, "after %u ms %s does not see %s alive", (unsigned)within_ms,
                            world->nodes[i].name, world->nodes[j].name);
            }
        }
        uint32_t at = first == UINT32_MAX ? 0 : 1;
        gv_gossip_digest(world->nodes[i].engine, logs[at]);
        world_live_digest(world, i, live[at]);
        if (at == 1 && (memcmp(logs[0], logs[1], 16) != 0 || memcmp(live[0], live[1], 16) != 0)) {
            world_blame(world, "after %u ms %s and %s differ in their %s", (unsigned)within_ms,
                        world->nodes[first].name, world->nodes[i].name,
                        memcmp(logs[0], logs[1], 16) != 0 ? "logs" : "live sets");
        }
        first = first == UINT32_MAX ? i : first;
    }
    world_blame(world, "after %u ms somebody still sees the gone as alive", (unsigned)within_ms);
}

bool world_check_converges(struct world *world, uint64_t within_ms, uint64_t *took_ms)
{
    uint64_t start_us = world->now_us;
    while (!world_agrees(world)) {
        if (world->now_us - start_us >= within_ms * 1000) {
            blame_difference(world, within_ms);
            return false;
        }
        world_run(world, 50);
    }
    *took_ms = (world->now_us - start_us) / 1000;
    return true;
}

/* The highest floor that any live node knows, per worker, over all keys. */
static void find_floors(struct world *world, uint32_t floors[WORLD_WORKERS])
{
    uint64_t scratch[256];
    struct gv_operation operation;
    memset(floors, 0, WORLD_WORKERS * sizeof *floors);
    for (uint32_t i = 0; i < world->options.node_count; i++) {
        struct gv_forest_cursor cursor = {0};
        while (world_is_up(world, i) &&
               gv_forest_next(world->nodes[i].forest, &cursor, 0, scratch, 256, &operation)) {
            if (operation.kind == GV_OPERATION_REMOVE && strcmp(operation.key, "*") == 0 &&
                operation.stamp > floors[operation.worker]) {
                floors[operation.worker] = operation.stamp;
            }
        }
    }
}

bool world_check_no_resurrection(struct world *world)
{
    uint32_t floors[WORLD_WORKERS];
    uint64_t scratch[256];
    struct gv_operation operation;
    find_floors(world, floors);
    for (uint32_t i = 0; i < world->options.node_count; i++) {
        struct gv_forest_cursor cursor = {0};
        while (world_is_up(world, i) &&
               gv_forest_next(world->nodes[i].forest, &cursor, 0, scratch, 256, &operation)) {
            if (operation.kind == GV_OPERATION_INSERT &&
                operation.stamp <= floors[operation.worker]) {
                world_blame(world, "%s shows an entry of worker %u at %u, below its floor %u",
                            world->nodes[i].name, operation.worker, operation.stamp,
                            floors[operation.worker]);
                return false;
            }
        }
    }
    return true;
}

/* All that one node holds, applied once more to another, changes nothing. */
bool world_check_replay(struct world *world)
{
    uint64_t scratch[256];
    struct gv_operation operation;
    uint32_t from = UINT32_MAX, to = UINT32_MAX;
    for (uint32_t i = 0; i < world->options.node_count; i++) {
        if (world_is_up(world, i)) {
            to = from == UINT32_MAX ? to : i;
            from = from == UINT32_MAX ? i : from;
        }
    }
    if (to == UINT32_MAX) {
        return true;
    }
    uint8_t before[16], after[16];
    struct gv_forest_cursor cursor = {0};
    world_live_digest(world, to, before);
    while (gv_forest_next(world->nodes[from].forest, &cursor, 0, scratch, 256, &operation)) {
        if (gv_forest_apply(world->nodes[to].forest, &operation, world_now(world, to).wall_ms) !=
            GV_OK) {
            world_blame(world, "a repeated operation was refused");
            return false;
        }
    }
    world_live_digest(world, to, after);
    if (memcmp(before, after, 16) != 0) {
        world_blame(world, "a repeated operation had an effect");
        return false;
    }
    return true;
}

/* Everyone has applied exactly what everyone alive has published. */
bool world_check_no_gap(struct world *world)
{
    static struct gv_member members[WORLD_NODES_MAX];
    for (uint32_t i = 0; i < world->options.node_count; i++) {
        if (!world_is_up(world, i)) {
            continue;
        }
        uint32_t count = gv_gossip_members(world->nodes[i].engine, members, WORLD_NODES_MAX);
        for (uint32_t m = 0; m < count; m++) {
            for (uint32_t j = 0; j < world->options.node_count; j++) {
                const struct world_node *origin = &world->nodes[j];
                if (world_is_up(world, j) && strcmp(members[m].name, origin->name) == 0 &&
                    members[m].applied != origin->published) {
                    world_blame(world, "%s applied %llu of %s's %llu operations",
                                world->nodes[i].name, (unsigned long long)members[m].applied,
                                origin->name, (unsigned long long)origin->published);
                    return false;
                }
            }
        }
    }
    return true;
}
