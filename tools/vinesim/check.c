/*
 * check.c - what must hold when the weather has stopped. See world.h.
 */
#include "inside.h"

#include "grapevine/base/map.h"

#include <string.h>

/* Does node `i` see exactly those alive who are, and of each the start that runs? Whoever still
 * sees the start before has not missed a word of the log: of the new one it knows nothing. */
static bool sees_rightly(const struct world *world, uint32_t i)
{
    const struct world_node *node = &world->nodes[i];
    for (uint32_t j = 0; j < world->options.node_count; j++) {
        uint32_t slot = j;
        bool is_own = strcmp(world->nodes[j].name, node->name) == 0;
        bool is_held = world_holders(world, j, &slot) > 0;
        if (!is_own && is_held &&
            (node->sees[j] != GV_MEMBER_ALIVE ||
             node->sees_boot[j] != world->nodes[slot].boot_id)) {
            return false;
        }
        if (!is_own && !is_held && node->sees[j] <= GV_MEMBER_SUSPECT) {
            return false;
        }
    }
    return true;
}

bool world_agrees(struct world *world)
{
    uint8_t first[16], first_live[16], other[16];
    bool any = false;
    for (uint32_t i = 0; i < world_slots(world); i++) {
        if (!world_is_up(world, i)) {
            continue;
        }
        if (!sees_rightly(world, i) || world_holders(world, world->twin_of, NULL) > 1) {
            return false;
        }
        gv_gossip_digest(world->nodes[i].engine, other);
        if (any && memcmp(first, other, 16) != 0) {
            return false;
        }
        memcpy(first, other, 16);
        any = true;
    }
    any = false;
    for (uint32_t i = 0; i < world_slots(world); i++) {
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

/* Of whose log have the two applied different lengths? */
static void blame_logs(struct world *world, uint32_t a, uint32_t b, uint64_t within_ms)
{
    static struct gv_member members[2][WORLD_NODES_MAX + 1];
    uint32_t counts[2];
    counts[0] = gv_gossip_members(world->nodes[a].engine, members[0], WORLD_NODES_MAX + 1);
    counts[1] = gv_gossip_members(world->nodes[b].engine, members[1], WORLD_NODES_MAX + 1);
    for (uint32_t i = 0; i < counts[0]; i++) {
        for (uint32_t j = 0; j < counts[1]; j++) {
            const struct gv_member *one = &members[0][i], *other = &members[1][j];
            if (strcmp(one->name, other->name) == 0 &&
                (one->applied != other->applied || one->boot_id != other->boot_id)) {
                world_blame(world, "after %u ms %s applied %llu of %s's log, %s %llu%s",
                            (unsigned)within_ms, world->nodes[a].name,
                            (unsigned long long)one->applied, one->name, world->nodes[b].name,
                            (unsigned long long)other->applied,
                            one->boot_id != other->boot_id ? " of another start" : "");
            }
        }
    }
    world_blame(world, "after %u ms %s and %s differ in the logs of past starts",
                (unsigned)within_ms, world->nodes[a].name, world->nodes[b].name);
}

/* Say of the first two that differ in what. */
static void blame_difference(struct world *world, uint64_t within_ms)
{
    uint8_t logs[2][16], live[2][16];
    uint32_t first = UINT32_MAX;
    if (world_holders(world, world->twin_of, NULL) > 1) {
        world_blame(world, "after %u ms both twins of %s go on", (unsigned)within_ms,
                    world->nodes[world->twin_of].name);
    }
    for (uint32_t i = 0; i < world_slots(world); i++) {
        if (!world_is_up(world, i)) {
            continue;
        }
        if (!sees_rightly(world, i)) {
            world_blame(world, "after %u ms %s does not see who is alive", (unsigned)within_ms,
                        world->nodes[i].name);
        }
        uint32_t at = first == UINT32_MAX ? 0 : 1;
        gv_gossip_digest(world->nodes[i].engine, logs[at]);
        world_live_digest(world, i, live[at]);
        if (at == 1 && memcmp(logs[0], logs[1], 16) != 0) {
            blame_logs(world, first, i, within_ms);
        } else if (at == 1 && memcmp(live[0], live[1], 16) != 0) {
            world_blame(world, "after %u ms %s and %s differ in their live sets",
                        (unsigned)within_ms, world->nodes[first].name, world->nodes[i].name);
        }
        first = first == UINT32_MAX ? i : first;
    }
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

/* The next floor that node `i` holds: they come before all else. */
static bool next_floor(struct world *world, uint32_t i, struct gv_forest_cursor *cursor,
                       struct gv_operation *operation)
{
    uint64_t scratch[256];
    return gv_forest_next(world->nodes[i].forest, cursor, 0, scratch, 256, operation) &&
           operation->kind == GV_OPERATION_REMOVE;
}

/* The highest floor that any live node knows, per worker, over all keys. */
static void find_floors(struct world *world, uint32_t floors[WORLD_WORKERS])
{
    struct gv_operation operation;
    memset(floors, 0, WORLD_WORKERS * sizeof *floors);
    for (uint32_t i = 0; i < world_slots(world); i++) {
        struct gv_forest_cursor cursor = {0};
        while (world_is_up(world, i) && next_floor(world, i, &cursor, &operation)) {
            if (strcmp(operation.key, "*") == 0 && operation.stamp > floors[operation.worker]) {
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
    for (uint32_t i = 0; i < world_slots(world); i++) {
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
    for (uint32_t i = 0; i < world_slots(world); i++) {
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
    for (uint32_t i = 0; i < world_slots(world); i++) {
        if (!world_is_up(world, i)) {
            continue;
        }
        uint32_t count = gv_gossip_members(world->nodes[i].engine, members, WORLD_NODES_MAX);
        for (uint32_t m = 0; m < count; m++) {
            uint32_t slot = world_index(members[m].name);
            const struct world_node *origin = &world->nodes[slot];
            if (world_holders(world, slot, &slot) == 0) {
                continue;
            }
            if (members[m].applied != world->nodes[slot].published) {
                world_blame(world, "%s applied %llu of %s's %llu operations", world->nodes[i].name,
                            (unsigned long long)members[m].applied, origin->name,
                            (unsigned long long)world->nodes[slot].published);
                return false;
            }
        }
    }
    return true;
}

/* A sum over all floors of a node, whatever their order. */
static uint64_t floors_of(struct world *world, uint32_t i)
{
    static const uint64_t secret[2] = {3, 5};
    uint64_t sum = 0;
    struct gv_operation operation;
    struct gv_forest_cursor cursor = {0};
    while (next_floor(world, i, &cursor, &operation)) {
        uint64_t floor[3] = {gv_siphash(secret, gv_slice_text(operation.key)), operation.worker,
                             operation.stamp};
        sum += gv_siphash(secret, gv_slice_of(floor, sizeof floor));
    }
    return sum;
}

bool world_check_floors(struct world *world)
{
    uint64_t first = 0;
    uint32_t from = UINT32_MAX;
    for (uint32_t i = 0; i < world_slots(world); i++) {
        if (!world_is_up(world, i)) {
            continue;
        }
        uint64_t sum = floors_of(world, i);
        if (from != UINT32_MAX && sum != first) {
            world_blame(world, "%s and %s differ in their floors", world->nodes[from].name,
                        world->nodes[i].name);
            return false;
        }
        first = sum;
        from = from == UINT32_MAX ? i : from;
    }
    return true;
}

/* After all have swept, at least WORLD_SETTLED_MS after the last insert. When stamps of one worker
 * lie hours apart a floor is only as fine as minutes: then shares are cut later, and not looked at.
 */
static bool fits(struct world *world, uint32_t i)
{
    static const char *const keys[] = {"regular::llama", "prefill::llama"};
    uint64_t room = world->options.worker_blocks == 0 ? 1000000 : world->options.worker_blocks;
    struct gv_forest_stats stats;
    gv_forest_stats(world->nodes[i].forest, &stats);
    if (stats.bytes > WORLD_FOREST_BYTES) {
        world_blame(world, "%s holds %llu bytes of tries", world->nodes[i].name,
                    (unsigned long long)stats.bytes);
        return false;
    }
    for (uint32_t at = 0; at < 2 * WORLD_WORKERS && !world->clocks_were_wrong; at++) {
        uint64_t held = gv_forest_worker_blocks(world->nodes[i].forest, keys[at % 2], at / 2);
        if (held > room + room / 3) { /* a floor comes as near as the seconds of stamps allow */
            world_blame(world, "%s holds %llu blocks of worker %u, which has room for %llu",
                        world->nodes[i].name, (unsigned long long)held, at / 2,
                        (unsigned long long)room);
            return false;
        }
    }
    return true;
}

bool world_check_caps(struct world *world)
{
    for (uint32_t i = 0; i < world_slots(world); i++) {
        if (world_is_up(world, i) && !fits(world, i)) {
            return false;
        }
    }
    if (world->queue_most > WORLD_QUEUE_BYTES) {
        world_blame(world, "a session's queue grew to %llu bytes",
                    (unsigned long long)world->queue_most);
        return false;
    }
    return true;
}
