/*
 * world.c - the clock, the queue of events, and the nodes. See world.h; network.c carries bytes.
 */
#include "sealing.h"

#include "grapevine/base/map.h"
#include "grapevine/base/mem.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define SEEDS_OF_MANY 8
#define SHELF_OF_MANY ((size_t)256 * 1024)
#define WALL_START_MS UINT64_C(1767225600000) /* 2026-01-01 */

/* ---- trace -------------------------------------------------------------------------------------
 */

/* Nobody wants to deceive it: it only has to differ when two runs do. */
void world_mix(struct world *world, const void *bytes, size_t len)
{
    uint64_t hash = (world->hash ^ world->now_us ^ len) * UINT64_C(0x9E3779B97F4A7C15);
    const uint8_t *at = bytes;
    for (; len > 0; len -= len < 8 ? len : 8) {
        uint64_t word = 0;
        memcpy(&word, at, len < 8 ? len : 8);
        hash = (hash ^ word) * UINT64_C(0x9E3779B97F4A7C15);
        hash ^= hash >> 29;
        at += len < 8 ? len : 8;
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

/* ---- the queue: a binary heap by (time, order)
 * ---------------------------------------------------
 */

static bool is_before(const struct world_event *a, const struct world_event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

void world_push(struct world *world, struct world_event event)
{
    if (world->heap_count == world->heap_room) {
        world->heap_room = world->heap_room == 0 ? 1024 : world->heap_room * 2;
        world->heap = realloc(world->heap, world->heap_room * sizeof *world->heap);
        if (world->heap == NULL) {
            abort();
        }
    }
    event.order = world->order++;
    size_t at = world->heap_count++;
    while (at > 0 && is_before(&event, &world->heap[(at - 1) / 2])) {
        world->heap[at] = world->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    world->heap[at] = event;
}

static struct world_event pop(struct world *world)
{
    struct world_event first = world->heap[0];
    struct world_event last = world->heap[--world->heap_count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= world->heap_count) {
            break;
        }
        if (child + 1 < world->heap_count &&
            is_before(&world->heap[child + 1], &world->heap[child])) {
            child += 1;
        }
        if (!is_before(&world->heap[child], &last)) {
            break;
        }
        world->heap[at] = world->heap[child];
        at = child;
    }
    world->heap[at] = last;
    return first;
}

/* ---- operations and when they were seen
 * ----------------------------------------------------------
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

static void saw(struct world *world, uint64_t print)
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

/* ---- the store of a node
 * -------------------------------------------------------------------------
 */

const char *world_worker_url(uint32_t worker)
{
    static char urls[WORLD_WORKERS_MAX][24];
    char *url = urls[worker % WORLD_WORKERS_MAX];
    if (url[0] == '\0') {
        (void)snprintf(url, sizeof urls[0], "http://w%u:8000", worker % WORLD_WORKERS_MAX);
    }
    return url;
}

static uint32_t worker_count(const struct world *world)
{
    return world->options.guest == NULL ? WORLD_WORKERS : world->options.guest->worker_count;
}

/* WORLD_WORKERS_MAX: there is none of this URL. */
static uint32_t worker_index(const struct world *world, struct gv_slice url)
{
    static const char head[] = "http://w";
    uint32_t index = 0;
    for (size_t at = sizeof head - 1; at < url.len && url.data[at] != ':'; at++) {
        index = index * 10 + (uint32_t)(url.data[at] - '0');
    }
    bool known = index < worker_count(world) && gv_slice_is(url, world_worker_url(index));
    return known ? index : WORLD_WORKERS_MAX;
}

static void apply(void *owner, const struct gv_gossip_operation *from)
{
    struct world_node *node = owner;
    struct gv_operation to = {.kind = (enum gv_operation_kind)from->kind,
                              .worker = worker_index(node->world, from->worker),
                              .stamp = from->stamp,
                              .reason = (enum gv_floor_reason)from->reason,
                              .depth = from->depth,
                              .parent = from->parent,
                              .count = from->count,
                              .fingerprints = from->fingerprints};
    (void)gv_slice_copy_text(from->key, to.key, sizeof to.key);
    uint32_t at = (uint32_t)(node - node->world->nodes);
    enum gv_err err = to.worker == WORLD_WORKERS_MAX
                          ? GV_EINVAL
                          : gv_forest_apply(node->forest, &to, world_now(node->world, at).wall_ms);
    if (err == GV_ERANGE && node->world->clocks_were_wrong) {
        node->world->refused_stamps += 1;
    } else if (err != GV_OK) {
        world_blame(node->world, "%s refused an operation: %s", node->name, gv_err_name(err));
    }
    if (from->count > 0) {
        saw(node->world, from->fingerprints[from->count - 1]);
    }
}

static bool snapshot_next(void *owner, uint8_t cursor[32], const struct gv_gossip_part *part,
                          uint32_t since_stamp, struct gv_gossip_operation *to)
{
    static uint64_t scratch[1024];
    static struct gv_operation from;
    struct world_node *node = owner;
    struct gv_forest_cursor at;
    memcpy(&at, cursor, sizeof at);
    struct gv_forest_part share = {.buckets = {0}};
    bool more;
    if (part == NULL) {
        more = gv_forest_next(node->forest, &at, since_stamp, scratch, 1024, &from);
    } else {
        (void)gv_slice_copy_text(part->key, share.key, sizeof share.key);
        memcpy(share.buckets, part->buckets, sizeof share.buckets);
        more = gv_forest_next_part(node->forest, &at, &share, since_stamp, scratch, 1024, &from);
    }
    memcpy(cursor, &at, sizeof at);
    if (more) {
        *to = world_outward(&from);
    }
    return more;
}

struct gv_gossip_operation world_outward(const struct gv_operation *from)
{
    return (struct gv_gossip_operation){.kind = (uint8_t)from->kind,
                                        .key = gv_slice_text(from->key),
                                        .worker = gv_slice_text(world_worker_url(from->worker)),
                                        .stamp = from->stamp,
                                        .reason = (uint32_t)from->reason,
                                        .depth = from->depth,
                                        .parent = from->parent,
                                        .fingerprints = from->fingerprints,
                                        .count = from->count};
}

static void deep_digest(void *owner, uint8_t digest[16])
{
    struct world_node *node = owner;
    world_live_digest(node->world, (uint32_t)(node - node->world->nodes), digest);
}

static bool key_at(void *owner, uint32_t number, struct gv_slice *key)
{
    static char text[GV_KEY_MAX];
    struct world_node *node = owner;
    bool found = gv_forest_key(node->forest, number, text);
    *key = gv_slice_text(text);
    return found;
}

static uint32_t hash_urls(const struct world *world, uint64_t hashes[WORLD_WORKERS_MAX])
{
    static const uint64_t secret[2] = {7, 7};
    for (uint32_t w = 0; w < worker_count(world); w++) {
        hashes[w] = gv_siphash(secret, gv_slice_text(world_worker_url(w)));
    }
    return worker_count(world);
}

static bool key_sums(void *owner, struct gv_slice key, uint64_t sums[GV_GOSSIP_BUCKETS])
{
    struct world_node *node = owner;
    char text[GV_KEY_MAX];
    uint64_t hashes[WORLD_WORKERS_MAX];
    uint32_t count = hash_urls(node->world, hashes);
    (void)gv_slice_copy_text(key, text, sizeof text);
    return gv_forest_sums(node->forest, text, hashes, count, sums);
}

uint32_t world_index(const char *name)
{
    return (uint32_t)strtoul(name + 1, NULL, 10);
}

static const char *status_name(enum gv_member_status status)
{
    static const char *const names[] = {"alive", "suspect", "dead", "left", "?"};
    return names[status];
}

#define CALM_US 10000000 /* after a disturbance this old a death is false */

static bool is_calm(const struct world *world, const struct world_node *node)
{
    return node->disturbed_at_us == 0 || world->now_us > node->disturbed_at_us + CALM_US;
}

static void member_changed(void *owner, const struct gv_member *member)
{
    struct world_node *node = owner;
    struct world *world = node->world;
    uint32_t about = world_index(member->name);
    if (about >= world->options.node_count || strcmp(member->name, node->name) == 0) {
        return;
    }
    if (world->sealing != NULL) {
        sealing_believe(world->sealing, (uint32_t)(node - world->nodes), about, member->boot_id);
    }
    bool same_key = node->sees_key[about] == member->identity[0];
    node->sees_key[about] = member->identity[0];
    if (same_key && member->incarnation < node->sees_incarnation[about]) {
        world_blame(world, "the incarnation of %s fell at %s", member->name, node->name);
    }
    node->sees_incarnation[about] = member->incarnation;
    node->sees_boot[about] = member->boot_id;
    if (member->status == node->sees[about]) {
        return;
    }
    node->sees[about] = member->status;
    node->sees_at_us[about] = world->now_us;
    world_note(world, "%s sees %s %s", node->name, member->name, status_name(member->status));
    const struct world_node *subject = &world->nodes[about];
    if (member->status == GV_MEMBER_DEAD && subject->engine != NULL &&
        subject->boot_id == member->boot_id && is_calm(world, subject) && is_calm(world, node)) {
        world->false_deaths += 1;
        if (world->options.loss <= 0 || world->options.is_strict) {
            world_blame(world, "%s declared %s dead without cause", node->name, member->name);
        }
    }
}

static void load_changed(void *owner, const char *name, const struct gv_gossip_load *load)
{
    struct world_node *node = owner;
    uint32_t about = world_index(name);
    const struct world_guest *guest = node->world->options.guest;
    if (about >= node->world->options.node_count) {
        return;
    }
    node->load_sum[about] = load->count; /* one worker has load in worlds without a guest */
    uint32_t worker = worker_index(node->world, load->worker);
    if (guest != NULL && worker < WORLD_WORKERS_MAX) {
        guest->load_changed(guest->owner, (uint32_t)(node - node->world->nodes), about, worker,
                            load);
    }
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
    for (uint64_t i = 0; i < GV_GOSSIP_SIGNATURE_BYTES / 8; i++) {
        uint64_t secret[2] = {i, gv_siphash((const uint64_t[2]){7, 7}, gv_slice_of(identity, 32))};
        uint64_t hash = gv_siphash(secret, text);
        memcpy(signature + 8 * i, &hash, sizeof hash);
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
    struct gv_gossip_store store = {.owner = node,
                                    .apply = apply,
                                    .snapshot_next = snapshot_next,
                                    .deep_digest = deep_digest,
                                    .key_at = key_at,
                                    .key_sums = key_sums,
                                    .member_changed = member_changed,
                                    .load_changed = load_changed};
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
    world->up_count += 1;
    world_note(world, "%s starts, life %u", node->name, node->life);
    struct gv_addr seeds[WORLD_SMALL];
    uint32_t count = world->options.node_count;
    uint32_t seed_count = count <= WORLD_SMALL ? count : SEEDS_OF_MANY;
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
    struct gv_member members[WORLD_NODES_MAX];
    uint32_t count = gv_gossip_members(node->engine, members, WORLD_NODES_MAX);
    for (uint32_t j = 0; j < count; j++) {
        if (strcmp(members[j].name, node->name) == 0) {
            node->incarnation = members[j].incarnation; /* persisted */
        }
    }
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
    while (world->heap_count > 0) {
        struct world_event event = pop(world);
        free(event.bytes);
    }
    world_free_pipes(world);
    sealing_free(world->sealing);
    free(world->heap);
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
    world_push(
        world,
        (struct world_event){
            .at_us = at_us, .kind = WORLD_TICK, .node = i, .life = node->life, .number = at_us});
}

static void step(struct world *world, struct world_event event)
{
    struct world_node *node = &world->nodes[event.node];
    bool lives = node->engine != NULL && node->life == event.life;
    if (lives && node->paused_until_us > world->now_us) {
        event.at_us = node->paused_until_us; /* its kernel keeps it for later */
        if (event.kind == WORLD_TICK) {
            node->tick_at_us = event.at_us;
            event.number = event.at_us;
        }
        world_push(world, event);
        return;
    }
    if (event.kind != WORLD_TICK) {
        world_network_step(world, &event, lives);
    } else if (lives && node->tick_at_us == event.number) {
        node->tick_at_us = UINT64_MAX;
        gv_gossip_tick(node->engine, world_now(world, event.node));
        world_settle(world, event.node);
    }
    free(event.bytes);
}

void world_run_until(struct world *world, uint64_t until_us)
{
    while (world->heap_count > 0 && world->heap[0].at_us <= until_us) {
        struct world_event event = pop(world);
        world->now_us = event.at_us > world->now_us ? event.at_us : world->now_us;
        step(world, event);
    }
    world->now_us = until_us > world->now_us ? until_us : world->now_us;
}

void world_run(struct world *world, uint64_t ms)
{
    world_run_until(world, world->now_us + ms * 1000);
}

/* ---- what nodes do
 * -------------------------------------------------------------------------------
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

uint64_t world_publish(struct world *world, uint32_t i, uint32_t worker, uint32_t count)
{
    uint64_t chain[64];
    struct gv_operation operation;
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
    const char *key = worker % 2 == 0 ? "regular::llama" : "prefill::llama";
    if (!gv_forest_record(node->forest, key, chain, count, worker % WORLD_WORKERS,
                          world_now(world, i).wall_ms, &operation)) {
        return 0;
    }
    world_tell(world, i, &operation);
    return chain[count - 1];
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

void world_live_digest(const struct world *world, uint32_t i, uint8_t digest[16])
{
    uint64_t hashes[WORLD_WORKERS_MAX];
    uint32_t count = hash_urls(world, hashes);
    struct gv_forest_digest sum;
    gv_forest_digest(world->nodes[i].forest, hashes, count, &sum);
    memcpy(digest, &sum.lo, 8);
    memcpy(digest + 8, &sum.hi, 8);
}
