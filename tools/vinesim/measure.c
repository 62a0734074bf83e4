/*
 * measure.c - see measure.h. Each figure from a world of its own.
 */
#include "measure.h"
#include "weather.h"

#include <stdlib.h>
#include <string.h>

/* What a datagram and a session message cost on the wire besides their plain bytes: IP, UDP and the
 * seal (nonce, tag, key id); IP, TCP, frame and tag. An upper bound: TCP joins small messages. */
#define PACKET_OVERHEAD_BYTES  (28 + 56)
#define MESSAGE_OVERHEAD_BYTES (52 + 21)

#define PAUSES_SECONDS 1200u

static struct world *calm_world(uint32_t nodes, double loss, uint64_t seed)
{
    struct world *world =
        world_new(&(struct world_options){.node_count = nodes, .seed = seed, .loss = loss});
    if (world == NULL) {
        abort();
    }
    world_start_all(world);
    world_run(world, 8000);
    return world;
}

static bool end_world(struct world *world)
{
    bool good = world->wrong[0] == '\0';
    if (!good) {
        printf("  WRONG: %s\n", world->wrong);
    }
    world_free(world);
    return good;
}

static bool visibility(uint32_t nodes, double loss, uint64_t seed)
{
    struct world *world = calm_world(nodes, loss, seed);
    for (uint32_t i = 0; i < 5000; i++) {
        world_run(world, 1);
        (void)world_publish(world, (uint32_t)gv_prng_below(&world->prng, nodes), i,
                            1 + (uint32_t)gv_prng_below(&world->prng, 24));
    }
    world_run(world, 2000);
    uint64_t received = 0, published = 0;
    for (uint32_t i = 0; i < nodes; i++) {
        struct gv_gossip_counters counters = world_counters(world, i);
        received += counters.operations_applied + counters.operations_duplicate;
        published += counters.operations_published;
    }
    printf("operation visible on all      p50 %.1f ms, p99 %.1f ms, max %.1f ms (%llu of %llu)\n",
           (double)gv_hist_quantile(&world->visible_us, 0.5) / 1000,
           (double)gv_hist_quantile(&world->visible_us, 0.99) / 1000,
           (double)world->visible_us.max / 1000, (unsigned long long)world->visible_us.count,
           (unsigned long long)published);
    printf("copies of an operation        %.3f per node that lacked it\n",
           (double)received / ((double)published * (nodes - 1)));
    return end_world(world);
}

/* From the end of a node until the last of the others calls it dead. */
static bool detection(uint32_t nodes, double loss, uint64_t seed, bool vanishes)
{
    struct gv_hist hist;
    gv_hist_init(&hist);
    bool good = true;
    for (uint32_t round = 0; round < 20; round++) {
        struct world *world = calm_world(nodes, loss, seed + round);
        uint32_t victim = (uint32_t)gv_prng_below(&world->prng, nodes);
        world_run(world, gv_prng_below(&world->prng, 1000));
        uint64_t start_us = world->now_us;
        if (vanishes) {
            world_vanish(world, victim);
        } else {
            world_kill(world, victim);
        }
        world_run(world, 15000);
        uint64_t last_us = start_us;
        for (uint32_t i = 0; i < nodes; i++) {
            const struct world_node *node = &world->nodes[i];
            bool knows = i == victim || node->sees[victim] == GV_MEMBER_DEAD;
            uint64_t at_us = knows ? node->sees_at_us[victim] : world->now_us;
            last_us = i != victim && at_us > last_us ? at_us : last_us;
        }
        gv_hist_add(&hist, (last_us - start_us) / 1000);
        good = end_world(world) && good;
    }
    printf("%s dead on all     p50 %llu ms, worst of 20 %llu ms\n",
           vanishes ? "vanished host" : "killed node  ",
           (unsigned long long)gv_hist_quantile(&hist, 0.5), (unsigned long long)hist.max);
    return good;
}

static bool healing(uint32_t nodes, double loss, uint64_t seed)
{
    struct gv_hist hist;
    gv_hist_init(&hist);
    bool good = true;
    for (uint32_t round = 0; round < 10; round++) {
        struct world *world = calm_world(nodes, loss, seed + round);
        for (uint32_t a = 0; a < nodes; a++) {
            for (uint32_t b = 0; b < nodes; b++) {
                world_block(world, a, b, a != b && (a < nodes / 2) != (b < nodes / 2));
            }
        }
        for (uint32_t i = 0; i < 1000; i++) {
            world_run(world, 30);
            (void)world_publish(world, i % nodes, i, 8);
        }
        world_heal(world);
        uint64_t took_ms = 0;
        (void)world_check_converges(world, 60000, &took_ms);
        gv_hist_add(&hist, took_ms);
        good = end_world(world) && good;
    }
    printf("agreed after a healed split   p50 %llu ms, worst of 10 %llu ms (30 s apart)\n",
           (unsigned long long)gv_hist_quantile(&hist, 0.5), (unsigned long long)hist.max);
    return good;
}

static bool idleness(uint32_t nodes, double loss, uint64_t seed)
{
    struct world *world = calm_world(nodes, loss, seed);
    uint64_t plain = world->session_bytes + world->packet_bytes;
    uint64_t packets = world->packets, messages = world->session_messages;
    world_run(world, 60000);
    plain = world->session_bytes + world->packet_bytes - plain;
    uint64_t wire = plain + (world->packets - packets) * PACKET_OVERHEAD_BYTES +
                    (world->session_messages - messages) * MESSAGE_OVERHEAD_BYTES;
    printf("idle traffic out per node     %.0f bytes/s plain, about %.1f kbit/s on the wire\n",
           (double)plain / 60 / nodes, (double)wire * 8 / 1000 / 60 / nodes);
    return end_world(world);
}

static bool pauses(uint32_t nodes, uint64_t seed)
{
    struct weather_options options = {
        .node_count = nodes, .seconds = PAUSES_SECONDS, .loss = 0.05, .pauses = true};
    struct weather_verdict verdict;
    weather_run(&options, seed, &verdict);
    printf(
        "false deaths                  %llu in %u minutes, loss 5 %%, 1 %% of the nodes standing "
        "still for 2 s\n",
        (unsigned long long)verdict.deaths_false, PAUSES_SECONDS / 60);
    return !verdict.failed;
}

bool measure_print(uint32_t nodes, double loss, uint64_t seed)
{
    printf("%u nodes, one way 0.2 ms + exp(0.8 ms), loss %.1f %%, seed %llu, virtual time\n", nodes,
           loss * 100, (unsigned long long)seed);
    bool good = visibility(nodes, loss, seed);
    good = detection(nodes, loss, seed, false) && good;
    good = detection(nodes, loss, seed, true) && good;
    good = healing(nodes, loss, seed) && good;
    good = pauses(nodes, seed) && good;
    return idleness(nodes, loss, seed) && good;
}
