/*
 * measure.c - see measure.h. Each figure from worlds of its own.
 */
#include "measure.h"

#include "rivals.h"
#include "sealing.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* What a datagram and a session message cost on the wire besides their plain bytes: IP, UDP and the
 * seal (nonce, tag, key id); IP, TCP, frame and tag. An upper bound: TCP joins small messages. */
#define PACKET_OVERHEAD_BYTES  (28 + 66)
#define MESSAGE_OVERHEAD_BYTES (52 + 22)

#define PAUSES_S        1200u /* of virtual time; --long: a day */
#define PAUSES_LONG_S   86400u
#define HOSTILE         1000000u
#define HOSTILE_LONG    10000000u
#define JOIN_OPERATIONS 16384u /* of 62 new blocks each: a million entries */

#define MANY                                                                                       \
    100 /* more nodes: what spreads, how fast and at what cost; the rest takes too long            \
         */

struct world *measure_calm_world(const struct measure *measure, uint64_t round)
{
    struct world *world = world_new(&(struct world_options){.node_count = measure->nodes,
                                                            .seed = measure->seed + round,
                                                            .loss = measure->loss,
                                                            .engine.detector = measure->detector});
    if (world == NULL) {
        abort();
    }
    world_start_all(world);
    world_run(world, 8000);
    return world;
}

bool measure_end_world(struct world *world)
{
    bool good = world->wrong[0] == '\0';
    if (!good) {
        printf("  WRONG: %s\n", world->wrong);
    }
    world_free(world);
    return good;
}

static double ms_of(uint64_t us)
{
    return (double)us / 1000;
}

static bool visibility(const struct measure *measure)
{
    struct world *world = measure_calm_world(measure, 0);
    uint32_t operations = measure->nodes > MANY ? 1000 : 5000;
    for (uint32_t i = 0; i < operations; i++) {
        world_run(world, 1);
        (void)world_publish(world, (uint32_t)gv_prng_below(&world->prng, measure->nodes), i,
                            1 + (uint32_t)gv_prng_below(&world->prng, 24));
    }
    world_run(world, 2000);
    uint64_t received = 0, published = 0;
    for (uint32_t i = 0; i < measure->nodes; i++) {
        struct gv_gossip_counters counters = world_counters(world, i);
        received += counters.operations_applied + counters.operations_duplicate;
        published += counters.operations_published;
    }
    printf("operation visible on all      p50 %.1f ms, p99 %.1f ms, max %.1f ms (%llu of %llu)\n",
           ms_of(gv_hist_quantile(&world->visible_us, 0.5)),
           ms_of(gv_hist_quantile(&world->visible_us, 0.99)), ms_of(world->visible_us.max),
           (unsigned long long)world->visible_us.count, (unsigned long long)published);
    printf("copies of an operation        %.3f per node that lacked it\n",
           (double)received / ((double)published * (measure->nodes - 1)));
    return measure_end_world(world);
}

/* Does everybody know that `node` has `count` requests in flight? */
static bool is_load_known(const struct world *world, uint32_t node, uint32_t count)
{
    for (uint32_t i = 0; i < world->options.node_count; i++) {
        if (i != node && world->nodes[i].load_sum[node] != count) {
            return false;
        }
    }
    return true;
}

static bool load_visibility(const struct measure *measure)
{
    struct world *world = measure_calm_world(measure, 0);
    struct gv_hist hist;
    gv_hist_init(&hist);
    uint32_t changes = measure->nodes > MANY ? 100 : 1000;
    for (uint32_t i = 0; i < changes; i++) {
        uint32_t node = (uint32_t)gv_prng_below(&world->prng, measure->nodes);
        uint32_t count = 1 + (i * 7919) % 1000;
        world_run(world, 1 + gv_prng_below(&world->prng, 40));
        uint64_t start_us = world->now_us;
        world_set_load(world, node, 0, count);
        while (!is_load_known(world, node, count) && world->now_us < start_us + 5000000) {
            world_run(world, 1);
        }
        gv_hist_add(&hist, (world->now_us - start_us) / 1000);
    }
    printf("load visible on all           p50 %llu ms, p99 %llu ms, max %llu ms (%u changes)\n",
           (unsigned long long)gv_hist_quantile(&hist, 0.5),
           (unsigned long long)gv_hist_quantile(&hist, 0.99), (unsigned long long)hist.max,
           changes);
    return measure_end_world(world);
}

/* Requests at 1,000 a second in the whole cluster, each an operation and two changes of load. */
static bool bytes_per_request(const struct measure *measure, uint32_t blocks)
{
    struct measure three = *measure;
    three.nodes = 3;
    struct world *world = measure_calm_world(&three, 0);
    uint32_t flying[3] = {0};
    uint64_t before = world->session_bytes, requests = 5000;
    for (uint32_t i = 0; i < requests; i++) {
        uint32_t node = (uint32_t)gv_prng_below(&world->prng, 3);
        world_run(world, 1);
        (void)world_publish(world, node, i, 2 + blocks); /* two are known already */
        flying[node] += 1;
        world_set_load(world, node, 0, flying[node]);
        uint32_t other = (uint32_t)gv_prng_below(&world->prng, 3);
        if (flying[other] > 0) {
            flying[other] -= 1;
            world_set_load(world, other, 0, flying[other]);
        }
    }
    world_run(world, 100);
    uint64_t bytes = world->session_bytes - before;
    printf("bytes of a request per peer   %.0f plain: %u new blocks, with loads, 3 nodes\n",
           (double)bytes / (double)requests / 2, blocks);
    return measure_end_world(world);
}

static bool healing(const struct measure *measure)
{
    struct gv_hist hist;
    gv_hist_init(&hist);
    bool good = true;
    uint32_t nodes = measure->nodes;
    for (uint32_t round = 0; round < MEASURE_ROUNDS; round++) {
        struct world *world = measure_calm_world(measure, round);
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
        good = measure_end_world(world) && good;
    }
    printf("agreed after a healed split   p50 %llu ms, worst of %u %llu ms (30 s apart)\n",
           (unsigned long long)gv_hist_quantile(&hist, 0.5), MEASURE_ROUNDS,
           (unsigned long long)hist.max);
    return good;
}

static bool joining(const struct measure *measure)
{
    struct world *world = world_new(&(struct world_options){.node_count = 4,
                                                            .seed = measure->seed,
                                                            .loss = measure->loss,
                                                            .worker_blocks = 10000000,
                                                            .engine.detector = measure->detector});
    if (world == NULL) {
        abort();
    }
    for (uint32_t i = 0; i < 3; i++) {
        world_start(world, i);
    }
    world_run(world, 8000);
    for (uint32_t i = 0; i < JOIN_OPERATIONS; i++) {
        (void)world_publish(world, i % 3, i, 64);
        world_run(world, i % 4 == 0);
    }
    world_run(world, 2000);
    uint64_t start_us = world->now_us, took_ms = 0;
    uint64_t bytes = world->session_bytes;
    world_start(world, 3);
    bool good = world_check_converges(world, 60000, &took_ms);
    printf("join, a million entries       equal after %llu ms, ready after %.0f ms, %.1f MB; 4th "
           "node, 1 Gbit/s, no CPU time\n",
           (unsigned long long)took_ms, ms_of(world->nodes[3].ready_at_us - start_us),
           (double)(world->session_bytes - bytes) / 1e6);
    return measure_end_world(world) && good;
}

/* Every packet of all kinds reaches nodes that probe each other. */
static bool hostility(const struct measure *measure)
{
    uint32_t count = measure->is_long ? HOSTILE_LONG : HOSTILE;
    struct world *world = world_new(
        &(struct world_options){.node_count = 3, .seed = measure->seed, .is_sealed = true});
    if (world == NULL) {
        abort();
    }
    world_start_all(world);
    world_run(world, 3000);
    for (uint32_t i = 0; i < count; i++) {
        sealing_attack(world->sealing, (enum hostile_kind)(i % HOSTILE_KIND_COUNT));
        world_run(world, i % 100 == 0);
    }
    world_run(world, 1000);
    const struct sealing_counters *counters = sealing_counters(world->sealing);
    printf("hostile packets believed      %llu of %llu (replayed, astray, changed, cut, random, of "
           "another key, cluster or start, unsealed)\n",
           (unsigned long long)counters->hostile_accepted,
           (unsigned long long)counters->hostile_sent);
    return measure_end_world(world);
}

static bool idleness(const struct measure *measure)
{
    struct world *world = measure_calm_world(measure, 0);
    uint64_t plain = world->session_bytes + world->packet_bytes;
    uint64_t packets = world->packets, messages = world->session_messages;
    uint32_t seconds = measure->nodes > MANY ? 20 : 60;
    world_run(world, (uint64_t)seconds * 1000);
    plain = world->session_bytes + world->packet_bytes - plain;
    uint64_t wire = plain + (world->packets - packets) * PACKET_OVERHEAD_BYTES +
                    (world->session_messages - messages) * MESSAGE_OVERHEAD_BYTES;
    printf("idle traffic out per node     %.0f bytes/s plain, about %.1f kbit/s on the wire\n",
           (double)plain / seconds / measure->nodes,
           (double)wire * 8 / 1000 / seconds / measure->nodes);
    return measure_end_world(world);
}

static bool compare(const struct measure *measure)
{
    return rivals_print(measure, measure->is_long ? PAUSES_LONG_S : PAUSES_S);
}

static bool short_requests(const struct measure *measure)
{
    return bytes_per_request(measure, 1);
}

static bool long_requests(const struct measure *measure)
{
    return bytes_per_request(measure, 12);
}

bool measure_print(const struct measure *measure)
{
    static bool (*const rows[])(const struct measure *) = {
        visibility, load_visibility, short_requests, long_requests, healing,
        joining,    hostility,       idleness,       compare};
    static bool (*const rows_of_many[])(const struct measure *) = {visibility, load_visibility,
                                                                   idleness};
    bool many = measure->nodes > MANY;
    size_t count =
        many ? sizeof rows_of_many / sizeof rows_of_many[0] : sizeof rows / sizeof rows[0];
    bool good = true;
    printf("%u nodes, one way 0.2 ms + exp(0.8 ms), loss %.1f %%, seed %llu, virtual time\n",
           measure->nodes, measure->loss * 100, (unsigned long long)measure->seed);
    for (size_t i = 0; i < count; i++) {
        struct timespec from, to;
        (void)clock_gettime(CLOCK_MONOTONIC, &from);
        good = (many ? rows_of_many[i] : rows[i])(measure) && good;
        (void)clock_gettime(CLOCK_MONOTONIC, &to);
        (void)fflush(stdout);
        (void)fprintf(stderr, "  (took %.1f s)\n",
                      (double)(to.tv_sec - from.tv_sec) +
                          (double)(to.tv_nsec - from.tv_nsec) / 1e9);
    }
    return good;
}
