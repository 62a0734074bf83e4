/*
 * absorb.c - from the engine to fleet and forest: the store of the engine. Loads: hearsay.c.
 *
 * Inside the engine a worker is a URL; here it gets its index. A worker record is the only thing
 * that ever puts a worker into the fleet or takes it out, whoever wrote it. What must not travel
 * (the API key, and that it came from a flag of ours) is remembered by URL and joined on the way.
 *
 * The node that removes a worker also raises its floor, so that no entry of it is live anywhere;
 * one that is added again after a removal starts above that floor.
 */
#include "grapevine/route/fingerprint.h"
#include "shell.h"

#include <string.h>

/* What is known here of a worker's record. */
struct record {
    bool alive;
    bool is_unsaid; /* gone, and the others are still to hear that we have no opinion of it */
    bool is_ours;   /* written by this process: the next two are meaningful */
    enum gv_worker_source source;
    char api_key[sizeof((struct gv_worker *)NULL)->api_key];
};

/* ---- operations --------------------------------------------------------------------------------
 */

static bool localise(struct gv_cluster *cluster, const struct gv_gossip_operation *from,
                     struct gv_operation *to)
{
    if (from->kind > GV_OPERATION_REMOVE || from->reason >= GV_FLOOR_REASON_COUNT ||
        from->count > GV_FINGERPRINTS_MAX || from->key.len >= GV_KEY_MAX) {
        return false;
    }
    to->kind = (enum gv_operation_kind)from->kind;
    to->reason = (enum gv_floor_reason)from->reason;
    to->stamp = from->stamp;
    to->depth = from->depth;
    to->parent = from->parent;
    to->count = from->count;
    to->fingerprints = from->fingerprints;
    gv_slice_copy_text(from->key, to->key, sizeof to->key);
    return gv_fleet_index(cluster->options.fleet, from->worker, &to->worker) == GV_OK;
}

static void apply(void *owner, const struct gv_gossip_operation *operation)
{
    struct gv_cluster *cluster = owner;
    struct gv_operation local;
    if (!localise(cluster, operation, &local) ||
        gv_forest_apply(cluster->options.forest, &local, gv_clock_wall_ms()) != GV_OK) {
        cluster->counters.apply_refused += 1;
    }
}

/* The next operation of the forest, of `part` or (NULL) of all. */
static bool next_of(struct gv_cluster *cluster, struct gv_forest_cursor *at,
                    const struct gv_gossip_part *part, uint32_t since_stamp)
{
    struct gv_absorb *absorb = &cluster->absorb;
    uint32_t room = sizeof absorb->scratch / sizeof absorb->scratch[0];
    if (part == NULL) {
        return gv_forest_next(cluster->options.forest, at, since_stamp, absorb->scratch, room,
                              &absorb->operation);
    }
    struct gv_forest_part share;
    if (!gv_slice_copy_text(part->key, share.key, sizeof share.key)) {
        return false; /* longer than any key here */
    }
    memcpy(share.buckets, part->buckets, sizeof share.buckets);
    return gv_forest_next_part(cluster->options.forest, at, &share, since_stamp, absorb->scratch,
                               room, &absorb->operation);
}

static bool snapshot_next(void *owner, uint8_t cursor[32], const struct gv_gossip_part *part,
                          uint32_t since_stamp, struct gv_gossip_operation *operation)
{
    struct gv_cluster *cluster = owner;
    struct gv_absorb *absorb = &cluster->absorb;
    struct gv_forest_cursor at;
    _Static_assert(sizeof at <= 32, "a forest's cursor fits into the engine's");
    memcpy(&at, cursor, sizeof at);
    do {
        if (!next_of(cluster, &at, part, since_stamp)) {
            memcpy(cursor, &at, sizeof at);
            return false;
        }
    } while (!gv_fleet_url(cluster->options.fleet, absorb->operation.worker, absorb->url));
    memcpy(cursor, &at, sizeof at);
    *operation = (struct gv_gossip_operation){.kind = (uint8_t)absorb->operation.kind,
                                              .key = gv_slice_text(absorb->operation.key),
                                              .worker = gv_slice_text(absorb->url),
                                              .stamp = absorb->operation.stamp,
                                              .reason = (uint32_t)absorb->operation.reason,
                                              .depth = absorb->operation.depth,
                                              .parent = absorb->operation.parent,
                                              .fingerprints = absorb->operation.fingerprints,
                                              .count = absorb->operation.count};
    return true;
}

/* A hash of each worker's URL by index, GV_WORKERS_MAX of room; to be freed. NULL: no memory. */
static uint64_t *hash_urls(struct gv_cluster *cluster, uint32_t *count)
{
    static const uint64_t agreed[2] = {0, 0}; /* the same on every node */
    uint64_t *hashes = gv_mem_new(GV_MEM_GOSSIP, GV_WORKERS_MAX * sizeof *hashes);
    char url[GV_WORKER_URL_MAX];
    *count = 0;
    while (hashes != NULL && *count < GV_WORKERS_MAX &&
           gv_fleet_url(cluster->options.fleet, *count, url)) {
        hashes[*count] = gv_siphash(agreed, gv_slice_text(url));
        *count += 1;
    }
    return hashes;
}

static bool key_at(void *owner, uint32_t number, struct gv_slice *key)
{
    struct gv_cluster *cluster = owner;
    if (!gv_forest_key(cluster->options.forest, number, cluster->absorb.operation.key)) {
        return false;
    }
    *key = gv_slice_text(cluster->absorb.operation.key);
    return true;
}

static bool key_sums(void *owner, struct gv_slice key, uint64_t sums[GV_GOSSIP_BUCKETS])
{
    _Static_assert(GV_GOSSIP_BUCKETS == GV_FOREST_BUCKETS,
                   "the mesh compares the forest's buckets");
    struct gv_cluster *cluster = owner;
    uint32_t count;
    uint64_t *hashes = hash_urls(cluster, &count);
    char text[GV_KEY_MAX];
    bool known = hashes != NULL && gv_slice_copy_text(key, text, sizeof text) &&
                 gv_forest_sums(cluster->options.forest, text, hashes, count, sums);
    if (!known) {
        memset(sums, 0, GV_GOSSIP_BUCKETS * sizeof *sums);
    }
    gv_mem_free(GV_MEM_GOSSIP, hashes);
    return known;
}

enum gv_err gv_cluster_deep_digest(struct gv_cluster *cluster, uint8_t digest[16])
{
    uint32_t count;
    uint64_t *hashes = hash_urls(cluster, &count);
    if (hashes == NULL) {
        return GV_ENOMEM;
    }
    struct gv_forest_digest sum;
    gv_forest_digest(cluster->options.forest, hashes, count, &sum);
    gv_mem_free(GV_MEM_GOSSIP, hashes);
    for (unsigned i = 0; i < 8; i++) {
        digest[i] = (uint8_t)(sum.lo >> (8 * i));
        digest[8 + i] = (uint8_t)(sum.hi >> (8 * i));
    }
    return GV_OK;
}

static void deep_digest(void *owner, uint8_t digest[16])
{
    if (gv_cluster_deep_digest(owner, digest) != GV_OK) {
        memset(digest, 0, 16); /* differs from everybody's, and is asked for again */
    }
}

/* ---- workers -----------------------------------------------------------------------------------
 */

static struct record *record_of(struct gv_cluster *cluster, struct gv_slice url)
{
    struct record *record = gv_map_find(&cluster->absorb.records, url);
    if (record != NULL) {
        return record;
    }
    record = gv_mem_new(GV_MEM_GOSSIP, sizeof *record);
    if (record != NULL && gv_map_put(&cluster->absorb.records, url, record) != GV_OK) {
        gv_mem_free(GV_MEM_GOSSIP, record);
        record = NULL;
    }
    return record;
}

static void fill(struct gv_worker *worker, const struct gv_gossip_worker *from)
{
    gv_slice_copy_text(from->url, worker->url, sizeof worker->url);
    worker->pool = (enum gv_pool)from->pool;
    worker->bootstrap_port = from->bootstrap_port;
    worker->priority = from->priority;
    worker->cost = from->cost;
    worker->capacity_tokens = from->capacity_tokens;
    gv_slice_copy_text(from->runtime, worker->runtime, sizeof worker->runtime);
    gv_slice_copy_text(from->labels, worker->labels, sizeof worker->labels);
    worker->health = (struct gv_worker_health){.timeout_ms = from->health_timeout_ms,
                                               .interval_ms = from->health_interval_ms,
                                               .success_threshold = from->health_successes,
                                               .failure_threshold = from->health_failures,
                                               .drain_settle_ms = from->drain_settle_ms,
                                               .is_off = from->unprobed};
    worker->model_count = 0;
    for (uint32_t i = 0; i < from->model_count && i < GV_WORKER_MODELS_MAX; i++) {
        if (from->models[i].len < GV_WORKER_MODEL_MAX) {
            gv_slice_copy_text(from->models[i], worker->models[worker->model_count],
                               GV_WORKER_MODEL_MAX);
            worker->model_count += 1;
        }
    }
}

/* What this node learned of a worker by asking it is kept where the record does not say. */
static void keep_learned(struct gv_cluster *cluster, struct gv_worker *worker)
{
    const struct gv_fleet_view *view = gv_fleet_acquire(cluster->options.fleet);
    const struct gv_worker *known = gv_fleet_find(view, gv_slice_text(worker->url));
    if (known != NULL) {
        if (worker->model_count == 0 && known->pool == worker->pool) {
            worker->model_count = known->model_count;
            memcpy(worker->models, known->models, sizeof worker->models);
        }
        if (worker->capacity_tokens == 0) {
            worker->capacity_tokens = known->capacity_tokens;
        }
        if (worker->runtime[0] == '\0') {
            memcpy(worker->runtime, known->runtime, sizeof worker->runtime);
        }
    }
    gv_fleet_release(cluster->options.fleet, view);
}

static void enlist(struct gv_cluster *cluster, const struct gv_gossip_worker *from,
                   const struct record *record)
{
    struct gv_worker worker = {.state = GV_WORKER_PENDING, .source = GV_SOURCE_MESH};
    fill(&worker, from);
    uint32_t beyond = gv_worker_hold(&worker);
    if (beyond > 0) {
        cluster->counters.numbers_beyond += beyond;
        if (gv_shell_may_log(cluster, "worker.beyond", worker.url)) {
            gv_log(GV_LOG_WARN, "worker.beyond", GV_STR("worker", worker.url),
                   GV_UINT("numbers", beyond), GV_BYTES("origin", from->origin));
        }
    }
    if (record->is_ours) {
        worker.source = record->source;
        memcpy(worker.api_key, record->api_key, sizeof worker.api_key);
    } else if (cluster->options.config->worker_api_key != NULL) {
        gv_slice_copy_text(gv_slice_text(cluster->options.config->worker_api_key), worker.api_key,
                           sizeof worker.api_key);
    }
    keep_learned(cluster, &worker);
    enum gv_err err = gv_fleet_put(cluster->options.fleet, &worker);
    if (err != GV_OK) {
        gv_log(GV_LOG_ERROR, "worker.unplaced", GV_STR("worker", worker.url), GV_ERR(err));
    } else if (!record->alive) {
        gv_log(GV_LOG_INFO, "worker.added", GV_STR("worker", worker.url),
               GV_STR("pool", gv_pool_name(worker.pool)),
               GV_STR("source", gv_worker_source_name(worker.source)),
               GV_BYTES("origin", from->origin));
    }
}

static void worker_changed(void *owner, const struct gv_gossip_worker *from)
{
    struct gv_cluster *cluster = owner;
    if (from->url.len == 0 || from->url.len >= GV_WORKER_URL_MAX || from->pool >= GV_POOL_COUNT) {
        return;
    }
    struct record *record = record_of(cluster, from->url);
    if (record == NULL) {
        gv_log(GV_LOG_ERROR, "worker.unrecorded", GV_BYTES("worker", from->url));
        return;
    }
    if (!from->deleted) {
        enlist(cluster, from, record);
        record->alive = true;
        record->is_unsaid = false;
        return;
    }
    gv_hearsay_forget(cluster, from->url);
    record->is_unsaid = record->alive;
    cluster->absorb.has_unsaid = cluster->absorb.has_unsaid || record->alive;
    if (gv_fleet_remove(cluster->options.fleet, from->url) == GV_OK || record->alive) {
        gv_log(GV_LOG_INFO, "worker.gone", GV_BYTES("worker", from->url),
               GV_BYTES("origin", from->origin));
    }
    record->alive = false;
    record->is_ours = false;
    memset(record->api_key, 0, sizeof record->api_key);
}

bool gv_absorb_is_gone(const struct gv_cluster *cluster, struct gv_slice url)
{
    const struct record *record = gv_map_find(&cluster->absorb.records, url);
    return record != NULL && !record->alive;
}

void gv_absorb_unsay(struct gv_cluster *cluster)
{
    struct gv_absorb *absorb = &cluster->absorb;
    struct gv_slice url;
    void *value;
    for (size_t at = 0; absorb->has_unsaid && gv_map_next(&absorb->records, &at, &url, &value);) {
        struct record *record = value;
        if (record->is_unsaid) {
            struct gv_gossip_health none = {.worker = url, .reason = gv_slice_text("")};
            gv_gossip_set_health(cluster->gossip, &none, gv_shell_now());
            record->is_unsaid = false;
        }
    }
    absorb->has_unsaid = false;
}

/* Everything that is said to be cached there is forgotten, here and on every node. */
static void forget(struct gv_cluster *cluster, const char *url)
{
    uint32_t index;
    if (gv_fleet_index(cluster->options.fleet, gv_slice_text(url), &index) != GV_OK) {
        return;
    }
    struct gv_operation floor;
    gv_forest_forget(cluster->options.forest, "*", index, GV_FLOOR_REMOVED, gv_clock_wall_ms(),
                     &floor);
    if (cluster->enabled) {
        gv_publish_tell(cluster, &floor);
    }
}

static enum gv_err write_record(struct gv_cluster *cluster, const struct gv_worker *worker,
                                bool deleted)
{
    struct gv_gossip_worker record = {.url = gv_slice_text(worker->url),
                                      .deleted = deleted,
                                      .pool = (uint8_t)worker->pool,
                                      .bootstrap_port = worker->bootstrap_port,
                                      .priority = worker->priority,
                                      .cost = worker->cost,
                                      .capacity_tokens = worker->capacity_tokens,
                                      .runtime = gv_slice_text(worker->runtime),
                                      .labels = gv_slice_text(worker->labels),
                                      .health_timeout_ms = worker->health.timeout_ms,
                                      .health_interval_ms = worker->health.interval_ms,
                                      .health_successes = worker->health.success_threshold,
                                      .health_failures = worker->health.failure_threshold,
                                      .drain_settle_ms = worker->health.drain_settle_ms,
                                      .unprobed = worker->health.is_off};
    for (uint32_t i = 0; i < worker->model_count && i < GV_WORKER_MODELS_MAX; i++) {
        record.models[record.model_count++] = gv_slice_text(worker->models[i]);
    }
    enum gv_err err = gv_gossip_put_worker(cluster->gossip, &record, gv_shell_now());
    if (err != GV_OK) {
        gv_log(GV_LOG_ERROR, "worker.unwritten", GV_STR("worker", worker->url),
               GV_FLAG("deleted", deleted), GV_ERR(err));
    }
    return err;
}

void gv_absorb_put(struct gv_cluster *cluster, const struct gv_worker *worker)
{
    struct gv_slice url = gv_slice_text(worker->url);
    bool was_removed = false;
    struct record *record = gv_map_find(&cluster->absorb.records, url);
    if (record != NULL) {
        was_removed = !record->alive;
    } else {
        record = record_of(cluster, url);
    }
    if (record == NULL) {
        gv_log(GV_LOG_ERROR, "worker.refused", GV_STR("worker", worker->url), GV_ERR(GV_EFULL));
        return;
    }
    record->is_ours = true;
    record->source = worker->source;
    memcpy(record->api_key, worker->api_key, sizeof record->api_key);
    if (was_removed) {
        forget(cluster, worker->url);
    }
    (void)write_record(cluster, worker, false);
}

void gv_absorb_delete(struct gv_cluster *cluster, const char *url)
{
    struct record *record = gv_map_find(&cluster->absorb.records, gv_slice_text(url));
    if (record == NULL || !record->alive) {
        return;
    }
    struct gv_worker worker = {.bootstrap_port = -1};
    const struct gv_fleet_view *view = gv_fleet_acquire(cluster->options.fleet);
    const struct gv_worker *known = gv_fleet_find(view, gv_slice_text(url));
    if (known != NULL) {
        worker = *known;
    }
    gv_fleet_release(cluster->options.fleet, view);
    gv_slice_copy_text(gv_slice_text(url), worker.url, sizeof worker.url);
    if (write_record(cluster, &worker, true) == GV_OK) {
        forget(cluster, url);
    }
}

/* ---- settings ----------------------------------------------------------------------------------
 */

static void setting_changed(void *owner, const struct gv_gossip_setting *setting)
{
    struct gv_cluster *cluster = owner;
    cluster->absorb.settings_moved = true;
    cluster->dirty = true;
    gv_log(GV_LOG_INFO, "setting.changed", GV_STR("setting", setting->name),
           GV_STR("value", setting->deleted ? NULL : setting->value),
           GV_STR("origin", setting->origin));
    if (cluster->options.events.on_setting != NULL) {
        cluster->options.events.on_setting(cluster->options.owner, setting->name,
                                           setting->deleted ? NULL : setting->value);
    }
}

void gv_absorb_set(struct gv_cluster *cluster, const char *name, const char *value)
{
    enum gv_err err = gv_gossip_put_setting(cluster->gossip, name, value, gv_shell_now());
    if (err != GV_OK && err != GV_ENOTFOUND) {
        gv_log(GV_LOG_ERROR, "setting.unwritten", GV_STR("setting", name), GV_ERR(err));
    }
}

/* ---- members -----------------------------------------------------------------------------------
 */

static void member_changed(void *owner, const struct gv_member *member)
{
    struct gv_cluster *cluster = owner;
    cluster->dirty = true;
    if (cluster->packets != NULL && member->boot_id != cluster->boot_id) {
        gv_packets_believe(cluster->packets, member->name, member->boot_id);
    }
    if (member->status == GV_MEMBER_DEAD || member->status == GV_MEMBER_LEFT) {
        gv_hearsay_vanish(cluster, member->name);
    }
}

/* ---- set-up ------------------------------------------------------------------------------------
 */

struct gv_gossip_store gv_absorb_store(struct gv_cluster *cluster)
{
    return (struct gv_gossip_store){.owner = cluster,
                                    .apply = apply,
                                    .worker_changed = worker_changed,
                                    .setting_changed = setting_changed,
                                    .load_changed = gv_hearsay_load,
                                    .health_changed = gv_hearsay_health,
                                    .member_changed = member_changed,
                                    .snapshot_next = snapshot_next,
                                    .deep_digest = deep_digest,
                                    .key_at = key_at,
                                    .key_sums = key_sums};
}

void gv_absorb_open(struct gv_cluster *cluster)
{
    uint64_t secret[2];
    gv_random_bytes(secret, sizeof secret);
    gv_map_init(&cluster->absorb.records, GV_MEM_GOSSIP, GV_WORKERS_MAX, secret);
}

void gv_absorb_free(struct gv_cluster *cluster)
{
    struct gv_slice key;
    void *value;
    for (size_t at = 0; gv_map_next(&cluster->absorb.records, &at, &key, &value);) {
        gv_mem_free(GV_MEM_GOSSIP, value);
    }
    gv_map_deinit(&cluster->absorb.records);
}
