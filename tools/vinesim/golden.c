/*
 * golden.c - see golden.h. The network is even (no jitter, no loss), so that a trace changes when
 * the engine behaves differently, and hardly otherwise.
 */
#include "golden.h"

#include "world.h"

#include <stdlib.h>

static void work(struct world *world, uint32_t operations)
{
    for (uint32_t i = 0; i < operations; i++) {
        (void)world_publish(world, i % world->options.node_count, i, 4);
        world_run(world, 10);
    }
}

static void killed(struct world *world)
{
    world_kill(world, 1);
    world_run(world, 3000);
    world_start(world, 1);
}

static void vanished(struct world *world)
{
    world_vanish(world, 2);
    world_run(world, 5000);
    world_start(world, 2);
}

static void left(struct world *world)
{
    world_leave(world, 0);
    world_run(world, 1000);
    world_start(world, 0);
}

static void paused(struct world *world)
{
    world_pause(world, 1, 2000);
    world_run(world, 2000);
}

static void split(struct world *world)
{
    for (uint32_t a = 0; a < world->options.node_count; a++) {
        for (uint32_t b = 0; b < world->options.node_count; b++) {
            world_block(world, a, b, a != b && (a < 2) != (b < 2));
        }
    }
    work(world, 500);
    world_heal(world);
}

static void deaf(struct world *world)
{
    for (uint32_t i = 1; i < world->options.node_count; i++) {
        world_block(world, i, 0, true);
    }
    world_run(world, 6000);
    world_heal(world);
}

static void twin(struct world *world)
{
    world_start_twin(world, 1);
    world_run(world, 3000);
}

static void disk(struct world *world)
{
    world_kill(world, 2);
    world_lose_disk(world, 2);
    world_run(world, 3000);
    world_start(world, 2);
}

static const struct {
    const char *name;
    uint32_t nodes;
    void (*tell)(struct world *world);
} stories[] = {{"killed", 3, killed}, {"vanished", 3, vanished}, {"left", 3, left},
               {"paused", 3, paused}, {"split", 4, split},       {"deaf", 4, deaf},
               {"twin", 3, twin},     {"disk", 3, disk}};
#define STORY_COUNT (sizeof stories / sizeof stories[0])

uint32_t golden_count(void)
{
    return STORY_COUNT;
}

const char *golden_name(uint32_t story)
{
    return stories[story].name;
}

void golden_tell(uint32_t story, FILE *into)
{
    struct world *world = world_new(&(struct world_options){
        .node_count = stories[story].nodes, .seed = 7, .delay_us = 500, .trace = into});
    if (world == NULL) {
        abort();
    }
    world_start_all(world);
    world_run(world, 2000);
    work(world, 100);
    stories[story].tell(world);
    uint64_t took_ms = 0;
    if (world_check_converges(world, 20000, &took_ms) && world_check_no_gap(world)) {
        world_note(world, "all agree after %u ms", (unsigned)took_ms);
    }
    world_free(world);
}

bool golden_write_all(const char *directory)
{
    for (uint32_t i = 0; i < STORY_COUNT; i++) {
        char path[4096];
        (void)snprintf(path, sizeof path, "%s/%s.trace", directory, stories[i].name);
        FILE *file = fopen(path, "w");
        if (file == NULL) {
            perror(path);
            return false;
        }
        golden_tell(i, file);
        if (fclose(file) != 0) {
            perror(path);
            return false;
        }
    }
    return true;
}
