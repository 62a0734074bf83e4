/*
 * world.c - the clock and the lives of nodes. See world.h; queue.c keeps events, network.c carries
 * bytes, store.c is what engines call, deeds.c what nodes do.
 */
#include "records.h"
#include "sealing.h"

#include "grapevine/base/map.h"
#include "grapevine/base/mem.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define SEEDS_OF_MANY 8
#define SEEDS_OF_FEW  2
#define SHELF_OF_MANY ((size_t)256 * 1024)
#define WALL_START_MS UINT64_C(1767225600000) /* 2026-01-01 */

/* ---- trace -------------------------------------------------------------------------------------
 */

/* Nobody wants to deceive it: it only has to differ when two runs do. */
void world_mix(struct world *world, const void *bytes, size_t len)
{
    uint64_t hash = (world->hash ^ world->now_us ^ len) * UINT64_C(0x9E3779B97F4A7C15);
    const uint8_t *at = bytes;
    for (size_t left = len; left > 0; left -= left < 8 ? left : 8) {
        uint64_t word = 0;
        if (left >= 8) {
            memcpy(&word, at + len - left, 8);
        } else {
            memcpy(&word, at + len - left, left);
        }
        hash = (hash ^ word) * UINT64_C(0x9E3779B97F4A7C15);
        hash ^= hash >> 29;
    }
    world->hash = hash;
}

void world_note(struct world *world, const char *format, ...)
{
    char *line = world->lines[world->line_count % WORLD_TRACE_LINES];
    int used = snprintf(line, WORLD_LINE_BYTES, "[%8.1f] ", (double)world->now_us / 1000);
    va_list args;
    va_start(args, format);
    (void)vsnprintf(line + used, WORLD_LINE_BYTES - (size_t)used, format, args);
    va_end(args);
    world->line_count += 1;
    world_mix(world, line, strlen(line));
    if (world->options.trace != NULL) {
        (void)fprintf(world->options.trace, "%s\n", line);
    }
}

void world_blame(struct world *world, const char *format, ...)
{
    if (world->wrong[0] != '\0') {
        return;
    }
    va_list args;
    va_start(args, format);
    (void)vsnprintf(world->wrong, sizeof world->wrong, format, args);
    va_end(args);
    world_note(world, "WRONG %s", world->wrong);
}

/* ---- lives
 * ---------------------------------------------------------------------------------------
 */

struct world *world_new(const struct world_options *options)
{
    struct world *world = calloc(1, sizeof *world);
    if (world == NULL || options->node_count > WORLD_NODES_MAX) {
        free(world);
        return NULL;
    }
    world->options = *options;
    if (world->options.delay_us == 0) {
        world->options.delay_us = 200;
        world->options.jitter_us = options->jitter_us == 0 ? 800 : options->jitter_us;
    }
    gv_prng_init(&world->prng, options->seed);
    gv_hist_init(&world->visible_us);
    world->sealing = options->is_sealed ? sealing_new(world) : NULL;
    for (uint32_t i = 0; i < world_slots(world); i++) {
        struct world_node *node = &world->nodes[i];
        node->world = world;
        (void)snprintf(node->name, sizeof node->name, "n%02u", i);
        node->addr = (struct gv_addr){
            .family = 4, .ip = {10, 0, (uint8_t)(i >> 8), (uint8_t)(i & 255)}, .port = 7946};
        bool is_twin = i == options->node_count; /* it takes the clock of its first */
        node->skew_ms = is_twin ? 0 : (int32_t)gv_prng_below(&world->prng, 2001) - 1000;
        node->true_skew_ms = node->skew_ms;
    }
    return world;
}

struct gv_now world_now(const struct world *world, uint32_t i)
{
    uint64_t ms = world->now_us / 1000;
    return (struct gv_now){.now_ms = ms + 1,
                           .wall_ms =
                               WALL_START_MS + ms + (uint64_t)(int64_t)world->nodes[i].skew_ms};
}

uint32_t world_slots(const struct world *world)
{
    return world->options.node_count + 1;
}

bool world_is_up(const struct world *world, uint32_t i)
{
    return world->nodes[i].engine != NULL;
}

static void add_counters(struct gv_gossip_counters *into, const struct gv_gossip_counters *from)
{
#define ADD(name, text) into->name += from->name;
    GV_GOSSIP_COUNTER_LIST(ADD)
#undef ADD
}

struct gv_gossip_counters world_counters(const struct world *world, uint32_t i)
{
    struct gv_gossip_counters sum = world->nodes[i].past;
    if (world->nodes[i].engine != NULL) {
        add_counters(&sum, gv_gossip_counters(world->nodes[i].engine));
    }
    return sum;
}

/* A signature that cannot be told from a good one here: a hash keyed with the name of the signer.
 */
static void fake_signature(const uint8_t identity[GV_GOSSIP_IDENTITY_BYTES], struct gv_slice text,
                           uint8_t signature[GV_GOSSIP_SIGNATURE_BYTES])
{
    uint64_t name = gv_siphash((const uint64_t[2]){7, 7}, gv_slice_of(identity, 32));
    uint64_t hash = gv_siphash((const uint64_t[2]){8, name}, text);
    for (size_t at = 0; at < GV_GOSSIP_SIGNATURE_BYTES; at += sizeof hash) {
        memcpy(signature + at, &hash, sizeof hash);
    }
}

static void identity_of(const struct world_node *node, uint8_t identity[GV_GOSSIP_IDENTITY_BYTES])
{
    memset(identity, 0, GV_GOSSIP_IDENTITY_BYTES);
    identity[0] = (uint8_t)(1 + node->keys);
    memcpy(identity + 1, node->name, strlen(node->name) % 31);
}

static void sign(void *owner, struct gv_slice text, uint8_t signature[GV_GOSSIP_SIGNATURE_BYTES])
{
    const struct world_node *node = owner;
    uint8_t identity[GV_GOSSIP_IDENTITY_BYTES];
    identity_of(node, identity);
    fake_signature(identity, text, signature);
}

static bool verify(void *owner, const uint8_t identity[GV_GOSSIP_IDENTITY_BYTES],
                   struct gv_slice text, const uint8_t signature[GV_GOSSIP_SIGNATURE_BYTES])
{
    (void)owner;
    uint8_t right[GV_GOSSIP_SIGNATURE_BYTES];
    fake_signature(identity, text, right);
    return memcmp(right, signature, sizeof right) == 0;
}

static void make_engine(struct world *world, uint32_t i)
{
    struct world_node *node = &world->nodes[i];
    struct gv_gossip_options options = world->options.engine;
    struct gv_now now = world_now(world, i);
    memcpy(options.node, node->name, sizeof options.node);
    memcpy(options.cluster_id, "sim", 4);
    node->boot_id = gv_prng_next(&world->prng);
    node->incarnation = node->incarnation + 1 > now.wall_ms ? node->incarnation + 1 : now.wall_ms;
    options.boot_id = node->boot_id;
    options.incarnation = node->incarnation;
    options.block_bytes = 64;
    if (options.shelf_bytes == 0 && world->options.node_count > WORLD_SMALL) {
        options.shelf_bytes = SHELF_OF_MANY;
    }
    options.gossip_addr = node->addr;
    options.seed = gv_prng_next(&world->prng);
    options.expects_seeds = world->options.node_count > 1;
    options.signer = (struct gv_gossip_signer){.owner = node, .sign = sign, .verify = verify};
    identity_of(node, options.signer.identity);
    struct gv_gossip_store store = world_store(node);
    struct gv_forest_limits limits = {
        .max_bytes = WORLD_FOREST_BYTES,
        .touch_interval_s = 5,
        .max_keys = 16,
        .worker_blocks = world->options.worker_blocks == 0 ? 1000000 : world->options.worker_blocks,
        .min_age_s = 10,
        .max_ahead_s = WORLD_AHEAD_MS / 1000};
    if (world->options.guest != NULL) {
        limits = world->options.guest->limits;
    }
    if (gv_forest_new(limits, &node->forest) != GV_OK ||
        gv_gossip_new(&options, &store, now.now_ms, &node->engine) != GV_OK) {
        abort();
    }
}

void world_start(struct world *world, uint32_t i)
{
    struct world_node *node = &world->nodes[i];
    if (node->engine != NULL) {
        return;
    }
    node->life += 1;
    node->published = 0;
    node->ready_at_us = 0;
    node->paused_until_us = 0;
    node->tick_at_us = UINT64_MAX;
    node->disturbed_at_us = world->now_us + 1;
    for (uint32_t j = 0; j < world->options.node_count; j++) {
        node->sees[j] = GV_MEMBER_STATUS_COUNT;
        node->sees_incarnation[j] = 0;
        node->sees_boot[j] = 0;
        node->load_sum[j] = 0;
    }
    make_engine(world, i);
    if (world->sealing != NULL) {
        sealing_start(world->sealing, i);
    }
    if (world->records != NULL) {
        records_start(world->records, i);
    }
    world->up_count += 1;
    world_note(world, "%s starts, life %u", node->name, node->life);
    struct gv_addr seeds[WORLD_SMALL];
    uint32_t count = world->options.node_count;
    uint32_t seed_count = count <= WORLD_SMALL ? count : SEEDS_OF_MANY;
    seed_count = world->options.knows_few ? SEEDS_OF_FEW : seed_count;
    for (uint32_t j = 0; j < seed_count; j++) {
        seeds[j] = world->nodes[(uint64_t)j * count / seed_count].addr;
    }
    gv_gossip_seeds(node->engine, seeds, seed_count, world_now(world, i));
    world_settle(world, i);
    gv_gossip_tick(node->engine, world_now(world, i));
    world_settle(world, i);
}

void world_start_all(struct world *world)
{
    for (uint32_t i = 0; i < world->options.node_count; i++) {
        world_start(world, i);
    }
}

void world_end_life(struct world *world, uint32_t i)
{
    struct world_node *node = &world->nodes[i];
    struct gv_gossip_hello hello;
    gv_gossip_hello(node->engine, &hello);
    node->incarnation = hello.incarnation; /* persisted */
    add_counters(&node->past, gv_gossip_counters(node->engine));
    gv_gossip_free(node->engine);
    gv_forest_free(node->forest);
    node->engine = NULL;
    node->forest = NULL;
    world->up_count -= 1;
    node->disturbed_at_us = world->now_us + 1;
}

void world_pause(struct world *world, uint32_t i, uint64_t ms)
{
    struct world_node *node = &world->nodes[i];
    node->paused_until_us = world->now_us + ms * 1000;
    if (!world->options.is_strict) {
        node->disturbed_at_us = node->paused_until_us;
    }
    world_note(world, "%s stands still for %u ms", node->name, (unsigned)ms);
}

void world_free(struct world *world)
{
    for (uint32_t i = 0; i < world_slots(world); i++) {
        if (world->nodes[i].engine != NULL) {
            world_end_life(world, i);
        }
    }
    uint64_t at_us;
    struct world_event event;
    while (queue_pop(&world->queue, UINT64_MAX, &at_us, &event)) {
        message_free(&world->shelf, event.bytes);
    }
    queue_deinit(&world->queue);
    world_free_pipes(world);
    message_shelf_deinit(&world->shelf);
    sealing_free(world->sealing);
    records_free(world->records);
    free(world->connections);
    free(world->operations);
    free(world);
}

/* ---- time
 * ----------------------------------------------------------------------------------------
 */

/** The engine of node `i` has said when it wants to be woken: see to it. */
void world_arm(struct world *world, uint32_t i)
{
    struct world_node *node = &world->nodes[i];
    if (node->engine == NULL) {
        return;
    }
    uint64_t wake_ms = gv_gossip_wake_at(node->engine);
    if (wake_ms == UINT64_MAX) {
        return;
    }
    uint64_t at_us = wake_ms <= 1 ? 0 : (wake_ms - 1) * 1000;
    at_us = at_us < world->now_us + 1000 ? world->now_us + 1000 : at_us;
    if (node->tick_at_us > world->now_us && node->tick_at_us <= at_us) {
        return; /* an earlier tick is in the queue */
    }
    node->tick_at_us = at_us;
    *queue_push(&world->queue, at_us) =
        (struct world_event){.kind = WORLD_TICK, .node = i, .life = node->life, .number = at_us};
}

static void step(struct world *world, const struct world_event *event)
{
    struct world_node *node = &world->nodes[event->node];
    bool lives = node->engine != NULL && node->life == event->life;
    if (lives && node->paused_until_us > world->now_us) { /* its kernel keeps it for later */
        struct world_event *later = queue_push(&world->queue, node->paused_until_us);
        *later = *event;
        if (event->kind == WORLD_TICK) {
            node->tick_at_us = node->paused_until_us;
            later->number = node->tick_at_us;
        }
        return;
    }
    if (event->kind != WORLD_TICK) {
        world_network_step(world, event, lives);
    } else if (lives && node->tick_at_us == event->number) {
        node->tick_at_us = UINT64_MAX;
        gv_gossip_tick(node->engine, world_now(world, event->node));
        world_settle(world, event->node);
    }
    message_free(&world->shelf, event->bytes);
}

/* What the next event looks at first comes into the cache while this one is at work. */
static void look_ahead(const struct world *world)
{
    const struct world_event *next = queue_first(&world->queue);
    if (next == NULL) {
        return;
    }
    __builtin_prefetch(world->nodes[next->node].engine);
    if (next->kind == WORLD_ARRIVE) {
        __builtin_prefetch(world->connections[next->number / 2].end[next->number % 2].head);
    } else {
        __builtin_prefetch(next->bytes);
    }
}

void world_run_until(struct world *world, uint64_t until_us)
{
    uint64_t at_us;
    struct world_event event;
    while (queue_pop(&world->queue, until_us, &at_us, &event)) {
        look_ahead(world);
        world->now_us = at_us > world->now_us ? at_us : world->now_us;
        step(world, &event);
    }
    world->now_us = until_us > world->now_us ? until_us : world->now_us;
}

void world_run(struct world *world, uint64_t ms)
{
    world_run_until(world, world->now_us + ms * 1000);
}
