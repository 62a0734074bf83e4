/*
 * records.c - see records.h.
 */
#include "records.h"

#include "grapevine/base/map.h"

#include <stdlib.h>
#include <string.h>

#define SETTINGS  4 /* names: "s0" to "s3" */
#define COUNT_MAX 6 /* requests in flight; a third of all loads are none */
#define LOOK_MS   50

/* What one node says, or what another has heard of it. 0: nothing. */
struct saying {
    uint32_t load[WORLD_WORKERS];
    uint8_t health[WORLD_WORKERS];
};

/* A worker's record or a setting, as one node has it. */
struct version {
    uint64_t version_ms, origin, value; /* hashes */
    bool deleted;
};

struct shelf {
    struct version workers[WORLD_WORKERS];
    struct version settings[SETTINGS];
};

struct records {
    struct world *world;   /* borrowed */
    struct saying *said;   /* owned; by slot */
    struct saying *heard;  /* owned; by slot, then by number in the name */
    struct shelf *shelves; /* owned; by slot */
};

struct records *records_new(struct world *world)
{
    struct records *records = calloc(1, sizeof *records);
    size_t slots = world_slots(world);
    if (records == NULL) {
        return NULL;
    }
    records->world = world;
    records->said = calloc(slots, sizeof *records->said);
    records->heard = calloc(slots * world->options.node_count, sizeof *records->heard);
    records->shelves = calloc(slots, sizeof *records->shelves);
    if (records->said == NULL || records->heard == NULL || records->shelves == NULL) {
        records_free(records);
        return NULL;
    }
    world->records = records;
    return records;
}

void records_free(struct records *records)
{
    if (records != NULL) {
        free(records->said);
        free(records->heard);
        free(records->shelves);
        free(records);
    }
}

static struct saying *heard_of(struct records *records, uint32_t i, uint32_t about)
{
    return &records->heard[(size_t)i * records->world->options.node_count + about];
}

void records_start(struct records *records, uint32_t i)
{
    records->said[i] = (struct saying){.load = {0}};
    records->shelves[i] = (struct shelf){.workers = {{0}}};
    memset(heard_of(records, i, 0), 0, records->world->options.node_count * sizeof *records->heard);
}

/* ---- saying ------------------------------------------------------------------------------------
 */

static void say_worker(struct world *world, struct gv_prng *prng, uint32_t i)
{
    uint32_t worker = (uint32_t)gv_prng_below(prng, WORLD_WORKERS);
    struct gv_gossip_worker record = {.url = gv_slice_text(world_worker_url(worker)),
                                      .bootstrap_port = -1,
                                      .deleted = gv_prng_below(prng, 4) == 0,
                                      .priority = (int32_t)gv_prng_below(prng, 100),
                                      .cost = 1,
                                      .models = {gv_slice_text("llama")},
                                      .model_count = 1};
    if (gv_gossip_put_worker(world->nodes[i].engine, &record, world_now(world, i)) != GV_OK) {
        world_blame(world, "%s could not write a worker's record", world->nodes[i].name);
    }
}

static void say_setting(struct world *world, struct gv_prng *prng, uint32_t i)
{
    char name[8], value[16];
    bool unsets = gv_prng_below(prng, 4) == 0;
    (void)snprintf(name, sizeof name, "s%u", (unsigned)gv_prng_below(prng, SETTINGS));
    (void)snprintf(value, sizeof value, "%u", (unsigned)gv_prng_below(prng, 1000));
    enum gv_err err = gv_gossip_put_setting(world->nodes[i].engine, name, unsets ? NULL : value,
                                            world_now(world, i));
    if (err != GV_OK && !(unsets && err == GV_ENOTFOUND)) {
        world_blame(world, "%s could not set %s", world->nodes[i].name, name);
    }
}

void records_say(struct records *records, struct gv_prng *prng, uint32_t i)
{
    struct world *world = records->world;
    struct world_node *node = &world->nodes[i];
    uint32_t worker = (uint32_t)gv_prng_below(prng, WORLD_WORKERS);
    uint32_t kind = (uint32_t)gv_prng_below(prng, 16);
    uint32_t value = (uint32_t)gv_prng_below(prng, COUNT_MAX);
    if (node->engine == NULL || node->paused_until_us > world->now_us) {
        return;
    }
    if (kind == 0) {
        say_worker(world, prng, i);
    } else if (kind == 1) {
        say_setting(world, prng, i);
    } else if (kind < 4) {
        struct gv_gossip_health health = {.worker = gv_slice_text(world_worker_url(worker)),
                                          .state = (uint8_t)(1 + value % 3),
                                          .since_ms = world_now(world, i).wall_ms,
                                          .reason = gv_slice_text("weather")};
        records->said[i].health[worker] = health.state;
        gv_gossip_set_health(node->engine, &health, world_now(world, i));
    } else {
        records->said[i].load[worker] = value < 2 ? 0 : value;
        world_set_load(world, i, worker, records->said[i].load[worker]);
    }
    world_settle(world, i);
}

/* ---- hearing -----------------------------------------------------------------------------------
 */

void records_hear_load(struct records *records, uint32_t i, uint32_t about, uint32_t worker,
                       uint32_t count)
{
    if (worker < WORLD_WORKERS) {
        heard_of(records, i, about)->load[worker] = count;
    }
}

void records_hear_health(struct records *records, uint32_t i, uint32_t about, uint32_t worker,
                         uint8_t state)
{
    if (worker < WORLD_WORKERS) {
        heard_of(records, i, about)->health[worker] = state;
    }
}

/* A record of `what` is now this. When clocks were wrong some are dated anew, and may be older. */
static void take(struct records *records, uint32_t i, struct version *known, struct version heard,
                 const char *what)
{
    bool is_newer = heard.version_ms > known->version_ms ||
                    (heard.version_ms == known->version_ms && heard.origin != known->origin);
    if (!is_newer && !records->world->clocks_were_wrong) {
        world_blame(records->world, "%s took an older record of %s", records->world->nodes[i].name,
                    what);
    }
    *known = heard;
}

static uint64_t hash_of(struct gv_slice text)
{
    static const uint64_t secret[2] = {17, 19};
    return gv_siphash(secret, text);
}

void records_hear_worker(struct records *records, uint32_t i, uint32_t worker,
                         const struct gv_gossip_worker *record)
{
    struct version heard = {.version_ms = record->version_ms,
                            .origin = hash_of(record->origin),
                            .value = record->deleted ? 0 : (uint64_t)record->priority,
                            .deleted = record->deleted};
    if (worker < WORLD_WORKERS) {
        take(records, i, &records->shelves[i].workers[worker], heard, world_worker_url(worker));
    }
}

void records_hear_setting(struct records *records, uint32_t i,
                          const struct gv_gossip_setting *setting)
{
    struct version heard = {.version_ms = setting->version_ms,
                            .origin = hash_of(gv_slice_text(setting->origin)),
                            .value = hash_of(gv_slice_text(setting->value)),
                            .deleted = setting->deleted};
    uint32_t at = world_index(setting->name);
    if (at < SETTINGS) {
        take(records, i, &records->shelves[i].settings[at], heard, setting->name);
    }
}

/* ---- checking ----------------------------------------------------------------------------------
 */

/* What is deleted is forgotten one day, on a node of a wrong clock sooner: it is as if it had never
 * been there. */
static bool is_same(const struct version *a, const struct version *b, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        bool none =
            (a[i].deleted || a[i].version_ms == 0) && (b[i].deleted || b[i].version_ms == 0);
        if (!none && (a[i].deleted != b[i].deleted || a[i].version_ms != b[i].version_ms ||
                      a[i].origin != b[i].origin || a[i].value != b[i].value)) {
            return false;
        }
    }
    return true;
}

/* Whose words has node `i` wrong? UINT32_MAX: nobody's. */
static uint32_t misheard(struct records *records, uint32_t i)
{
    static const struct saying nothing = {.load = {0}};
    const struct world *world = records->world;
    for (uint32_t j = 0; j < world->options.node_count; j++) {
        uint32_t slot;
        bool is_own = strcmp(world->nodes[i].name, world->nodes[j].name) == 0;
        bool is_held = world_holders(world, j, &slot) > 0;
        const struct saying *said = is_held ? &records->said[slot] : &nothing;
        if (!is_own && memcmp(said, heard_of(records, i, j), sizeof *said) != 0) {
            return j;
        }
    }
    return UINT32_MAX;
}

/* Says what is wrong when `blames`. */
static bool is_known(struct records *records, bool blames)
{
    struct world *world = records->world;
    uint32_t first = UINT32_MAX;
    for (uint32_t i = 0; i < world_slots(world); i++) {
        if (!world_is_up(world, i)) {
            continue;
        }
        first = first == UINT32_MAX ? i : first;
        const struct shelf *a = &records->shelves[first], *b = &records->shelves[i];
        bool differs = !is_same(a->workers, b->workers, WORLD_WORKERS) ||
                       !is_same(a->settings, b->settings, SETTINGS);
        uint32_t about = misheard(records, i);
        if (blames && differs) {
            world_blame(world, "%s and %s differ in records or settings", world->nodes[first].name,
                        world->nodes[i].name);
        } else if (blames && about != UINT32_MAX) {
            world_blame(world, "%s has not heard what %s says of workers", world->nodes[i].name,
                        world->nodes[about].name);
        }
        if (differs || about != UINT32_MAX) {
            return false;
        }
    }
    return true;
}

bool records_check(struct records *records, uint64_t within_ms)
{
    struct world *world = records->world;
    uint64_t end_us = world->now_us + within_ms * 1000;
    while (!is_known(records, world->now_us >= end_us)) {
        if (world->now_us >= end_us) {
            return false;
        }
        world_run(world, LOOK_MS);
    }
    return true;
}
