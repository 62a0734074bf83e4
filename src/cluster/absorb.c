/*
 * absorb.c - from the engine to fleet, forest and load table: the store of the engine.
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

#include <stdio.h>
#include <string.h>

#define PAIR_BYTES (GV_NODE_NAME_MAX + GV_WORKER_URL_MAX)

/* What one node says of one worker. */
struct remote_load {
    uint32_t index;
    uint32_t count;
    uint64_t bytes;
    struct gv_load_prompts prompts;
    uint32_t trust; /* 0: it does not say */
};

/* What is known here of a worker's record. */
struct record {
    bool alive;
    bool is_ours; /* written by this process: the next two are meaningful */
    enum gv_worker_source source;
    char api_key[sizeof((struct gv_worker *)NULL)->api_key];
};

static struct gv_slice pair(char text[PAIR_BYTES], const char *node, struct gv_slice url)
{
    int len = snprintf(text, PAIR_BYTES, "%s\n%.*s", node, (int)url.len, (const char *)url.data);
    GV_ASSERT(len > 0 && len < PAIR_BYTES);
    return gv_slice_of(text, (size_t)len);
}

static bool is_pair_of(struct gv_slice key, const char *node)
{
    size_t len = strlen(node);
    return key.len > len && memcmp(key.data, node, len) == 0 && key.data[len] == '\n';
}

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
        return;
    }
    if (gv_fleet_remove(cluster->options.fleet, from->url) == GV_OK || record->alive) {
        gv_log(GV_LOG_INFO, "worker.gone", GV_BYTES("worker", from->url),
               GV_BYTES("origin", from->origin));
    }
    record->alive = false;
    record->is_ours = false;
    memset(record->api_key, 0, sizeof record->api_key);
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
                                      .runtime = gv_slice_text(worker->runtime)};
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

/* ---- loads and opinions ------------------------------------------------------------------------
 */

/* All of them wrap both ways and come out right. */
static void add_prompts(struct gv_load_prompts *sum, const struct gv_load_prompts *now,
                        const struct gv_load_prompts *before)
{
    sum->bytes += now->bytes - before->bytes;
    sum->tokens += now->tokens - before->tokens;
    sum->prefill_bytes += now->prefill_bytes - before->prefill_bytes;
    sum->prefill_us += now->prefill_us - before->prefill_us;
    sum->forecasts.count += now->forecasts.count - before->forecasts.count;
    sum->forecasts.predicted += now->forecasts.predicted - before->forecasts.predicted;
    sum->forecasts.reported += now->forecasts.reported - before->forecasts.reported;
}

static void add_load(struct gv_cluster *cluster, struct remote_load *load, uint32_t count,
                     uint64_t bytes, struct gv_load_prompts prompts)
{
    struct gv_absorb *absorb = &cluster->absorb;
    uint32_t i = load->index;
    absorb->count[i] += count - load->count; /* wraps both ways and comes out right */
    absorb->bytes[i] += bytes - load->bytes;
    add_prompts(&absorb->prompts[i], &prompts, &load->prompts);
    load->count = count;
    load->bytes = bytes;
    load->prompts = prompts;
    gv_load_set_remote(cluster->options.load, i, absorb->count[i], absorb->bytes[i]);
}

static void drop_load(struct gv_cluster *cluster, struct gv_slice key, struct remote_load *load)
{
    add_load(cluster, load, 0, 0, (struct gv_load_prompts){.bytes = 0});
    gv_mem_free(GV_MEM_GOSSIP, gv_map_take(&cluster->absorb.loads, key));
}

static void hear(struct gv_cluster *cluster, uint32_t index, const struct gv_gossip_report *from)
{
    struct gv_load_report report = {.at_ms = from->at_ms,
                                    .running = from->running,
                                    .waiting = from->waiting,
                                    .foreign = from->foreign,
                                    .usage_permille = from->usage_permille,
                                    .used_tokens = from->used_tokens};
    if (report.at_ms > 0) {
        gv_load_hear(cluster->options.load, index, &report);
    }
}

/* What `node` says of this worker, made when missing; NULL: no room. */
static struct remote_load *load_of(struct gv_cluster *cluster, struct gv_slice key,
                                   struct gv_slice url)
{
    struct remote_load *load = gv_map_find(&cluster->absorb.loads, key);
    uint32_t index;
    if (load != NULL || gv_fleet_index(cluster->options.fleet, url, &index) != GV_OK) {
        return load;
    }
    load = gv_mem_new(GV_MEM_GOSSIP, sizeof *load);
    if (load != NULL) {
        load->index = index;
        if (gv_map_put(&cluster->absorb.loads, key, load) != GV_OK) {
            gv_mem_free(GV_MEM_GOSSIP, load);
            load = NULL;
        }
    }
    return load;
}

static void load_changed(void *owner, const char *node, const struct gv_gossip_load *from)
{
    struct gv_cluster *cluster = owner;
    if (from->worker.len >= GV_WORKER_URL_MAX || strcmp(node, cluster->node) == 0) {
        return;
    }
    if (gv_demands_hear(cluster, node, from)) {
        return;
    }
    char text[PAIR_BYTES];
    struct gv_slice key = pair(text, node, from->worker);
    const struct gv_gossip_learned *learned = &from->learned;
    bool nothing = from->count == 0 && from->bytes == 0 && from->prompt_tokens == 0 &&
                   from->report.at_ms == 0 && learned->prefill_bytes == 0 &&
                   learned->forecasts == 0 && learned->trust == 0;
    if (nothing) {
        struct remote_load *known = gv_map_find(&cluster->absorb.loads, key);
        if (known != NULL) {
            drop_load(cluster, key, known);
        }
        return;
    }
    struct remote_load *load = load_of(cluster, key, from->worker);
    if (load == NULL) {
        cluster->counters.loads_dropped += 1;
        return;
    }
    struct gv_load_prompts prompts = {.bytes = from->prompt_bytes,
                                      .tokens = from->prompt_tokens,
                                      .prefill_bytes = learned->prefill_bytes,
                                      .prefill_us = learned->prefill_us,
                                      .forecasts = {.count = learned->forecasts,
                                                    .predicted = learned->predicted,
                                                    .reported = learned->reported}};
    load->trust = learned->trust;
    add_load(cluster, load, from->count, from->bytes, prompts);
    hear(cluster, load->index, &from->report);
}

uint32_t gv_absorb_trust(const struct gv_cluster *cluster, const char *node, const char *url)
{
    char text[PAIR_BYTES];
    const struct remote_load *load =
        gv_map_find(&cluster->absorb.loads, pair(text, node, gv_slice_text(url)));
    return load != NULL ? load->trust : 0;
}

static void health_changed(void *owner, const char *node, const struct gv_gossip_health *from)
{
    struct gv_cluster *cluster = owner;
    struct gv_absorb *absorb = &cluster->absorb;
    if (from->worker.len >= GV_WORKER_URL_MAX || from->state >= GV_WORKER_STATE_COUNT ||
        strcmp(node, cluster->node) == 0) {
        return;
    }
    char text[PAIR_BYTES];
    struct gv_slice key = pair(text, node, from->worker);
    struct gv_cluster_opinion *opinion = gv_map_find(&absorb->opinions, key);
    if (opinion == NULL) {
        opinion = gv_mem_new(GV_MEM_GOSSIP, sizeof *opinion);
        if (opinion == NULL || gv_map_put(&absorb->opinions, key, opinion) != GV_OK) {
            gv_mem_free(GV_MEM_GOSSIP, opinion);
            cluster->counters.loads_dropped += 1;
            return;
        }
        gv_slice_copy_text(gv_slice_text(node), opinion->node, sizeof opinion->node);
        gv_slice_copy_text(from->worker, opinion->worker, sizeof opinion->worker);
    }
    opinion->state = (enum gv_worker_state)from->state;
    opinion->since_ms = from->since_ms;
    gv_slice_copy_text(from->reason, opinion->reason, sizeof opinion->reason);
    absorb->opinions_moved = true;
    cluster->dirty = true;
}

/* Loads and opinions vanish with the node that said them. */
static void vanish(struct gv_cluster *cluster, const char *node)
{
    struct gv_absorb *absorb = &cluster->absorb;
    struct gv_slice key;
    void *value;
    for (size_t at = 0; gv_map_next(&absorb->loads, &at, &key, &value);) {
        if (is_pair_of(key, node)) {
            drop_load(cluster, key, value);
        }
    }
    for (size_t at = 0; gv_map_next(&absorb->opinions, &at, &key, &value);) {
        if (is_pair_of(key, node)) {
            gv_mem_free(GV_MEM_GOSSIP, gv_map_take(&absorb->opinions, key));
            absorb->opinions_moved = true;
        }
    }
}

static void member_changed(void *owner, const struct gv_member *member)
{
    struct gv_cluster *cluster = owner;
    cluster->dirty = true;
    if (cluster->packets != NULL && member->boot_id != cluster->boot_id) {
        gv_packets_believe(cluster->packets, member->name, member->boot_id);
    }
    if (member->status == GV_MEMBER_DEAD || member->status == GV_MEMBER_LEFT) {
        vanish(cluster, member->name);
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
                                    .load_changed = load_changed,
                                    .health_changed = health_changed,
                                    .member_changed = member_changed,
                                    .snapshot_next = snapshot_next,
                                    .deep_digest = deep_digest,
                                    .key_at = key_at,
                                    .key_sums = key_sums};
}

enum gv_err gv_absorb_open(struct gv_cluster *cluster)
{
    struct gv_absorb *absorb = &cluster->absorb;
    uint64_t secret[2];
    gv_random_bytes(secret, sizeof secret);
    gv_map_init(&absorb->loads, GV_MEM_GOSSIP, GV_SHELL_REMOTE_MAX, secret);
    gv_map_init(&absorb->opinions, GV_MEM_GOSSIP, GV_SHELL_REMOTE_MAX, secret);
    gv_map_init(&absorb->records, GV_MEM_GOSSIP, GV_WORKERS_MAX, secret);
    absorb->count = gv_mem_new(GV_MEM_GOSSIP, GV_WORKERS_MAX * sizeof absorb->count[0]);
    absorb->bytes = gv_mem_new(GV_MEM_GOSSIP, GV_WORKERS_MAX * sizeof absorb->bytes[0]);
    absorb->prompts = gv_mem_new(GV_MEM_GOSSIP, GV_WORKERS_MAX * sizeof absorb->prompts[0]);
    bool whole = absorb->count != NULL && absorb->bytes != NULL && absorb->prompts != NULL;
    return whole ? GV_OK : GV_ENOMEM;
}

static void empty(struct gv_map *map)
{
    struct gv_slice key;
    void *value;
    for (size_t at = 0; gv_map_next(map, &at, &key, &value);) {
        gv_mem_free(GV_MEM_GOSSIP, value);
    }
    gv_map_deinit(map);
}

void gv_absorb_free(struct gv_cluster *cluster)
{
    struct gv_absorb *absorb = &cluster->absorb;
    empty(&absorb->loads);
    empty(&absorb->opinions);
    empty(&absorb->records);
    gv_mem_free(GV_MEM_GOSSIP, absorb->count);
    gv_mem_free(GV_MEM_GOSSIP, absorb->bytes);
    gv_mem_free(GV_MEM_GOSSIP, absorb->prompts);
}
