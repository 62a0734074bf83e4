/*
 * store.c - what the engine of a node calls: its forest, and what it sees of the others. See
 * world.h.
 */
#include "records.h"
#include "sealing.h"

#include "grapevine/base/map.h"

#include <stdlib.h>
#include <string.h>

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

static uint32_t slot_of(const struct world_node *node)
{
    return (uint32_t)(node - node->world->nodes);
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
    enum gv_err err =
        to.worker == WORLD_WORKERS_MAX
            ? GV_EINVAL
            : gv_forest_apply(node->forest, &to, world_now(node->world, slot_of(node)).wall_ms);
    if (err == GV_ERANGE && node->world->clocks_were_wrong) {
        node->world->refused_stamps += 1;
    } else if (err != GV_OK) {
        world_blame(node->world, "%s refused an operation: %s", node->name, gv_err_name(err));
    }
    if (from->count > 0) {
        world_saw(node->world, from->fingerprints[from->count - 1]);
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
    world_live_digest(node->world, slot_of(node), digest);
}

static bool key_at(void *owner, uint32_t number, struct gv_slice *key)
{
    static char text[GV_KEY_MAX];
    struct world_node *node = owner;
    bool found = gv_forest_key(node->forest, number, text);
    *key = gv_slice_text(text);
    return found;
}

/* The hashes of the URLs of all workers; kept, they are the same in all worlds. */
static const uint64_t *hash_urls(const struct world *world)
{
    static const uint64_t secret[2] = {7, 7};
    static uint64_t hashes[WORLD_WORKERS_MAX];
    static uint32_t known;
    for (; known < worker_count(world); known++) {
        hashes[known] = gv_siphash(secret, gv_slice_text(world_worker_url(known)));
    }
    return hashes;
}

static bool key_sums(void *owner, struct gv_slice key, uint64_t sums[GV_GOSSIP_BUCKETS])
{
    struct world_node *node = owner;
    char text[GV_KEY_MAX];
    (void)gv_slice_copy_text(key, text, sizeof text);
    return gv_forest_sums(node->forest, text, hash_urls(node->world), worker_count(node->world),
                          sums);
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
        sealing_believe(world->sealing, slot_of(node), about, member->boot_id);
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
    node->load_sum[about] = load->count; /* when only one worker has load */
    uint32_t worker = worker_index(node->world, load->worker);
    if (node->world->records != NULL) {
        records_hear_load(node->world->records, slot_of(node), about, worker, load->count);
    }
    if (guest != NULL && worker < WORLD_WORKERS_MAX) {
        guest->load_changed(guest->owner, slot_of(node), about, worker, load);
    }
}

static void health_changed(void *owner, const char *name, const struct gv_gossip_health *health)
{
    struct world_node *node = owner;
    uint32_t about = world_index(name);
    if (node->world->records != NULL && about < node->world->options.node_count) {
        records_hear_health(node->world->records, slot_of(node), about,
                            worker_index(node->world, health->worker), health->state);
    }
}

static void worker_changed(void *owner, const struct gv_gossip_worker *record)
{
    struct world_node *node = owner;
    if (node->world->records != NULL) {
        records_hear_worker(node->world->records, slot_of(node),
                            worker_index(node->world, record->url), record);
    }
}

static void setting_changed(void *owner, const struct gv_gossip_setting *setting)
{
    struct world_node *node = owner;
    if (node->world->records != NULL) {
        records_hear_setting(node->world->records, slot_of(node), setting);
    }
}

void world_live_digest(const struct world *world, uint32_t i, uint8_t digest[16])
{
    struct gv_forest_digest sum;
    gv_forest_digest(world->nodes[i].forest, hash_urls(world), worker_count(world), &sum);
    memcpy(digest, &sum.lo, 8);
    memcpy(digest + 8, &sum.hi, 8);
}

struct gv_gossip_store world_store(struct world_node *node)
{
    return (struct gv_gossip_store){.owner = node,
                                    .apply = apply,
                                    .snapshot_next = snapshot_next,
                                    .deep_digest = deep_digest,
                                    .key_at = key_at,
                                    .key_sums = key_sums,
                                    .member_changed = member_changed,
                                    .load_changed = load_changed,
                                    .health_changed = health_changed,
                                    .worker_changed = worker_changed,
                                    .setting_changed = setting_changed};
}
