/*
 * hearsay.c - what other nodes say of workers: their loads, summed for the load table, and their
 * opinions of a worker's health, kept for the view. It vanishes with the node that said it.
 *
 * The mesh thread.
 */
#include "shell.h"

#include <stdio.h>
#include <string.h>

#define PAIR_BYTES (GV_NODE_NAME_MAX + GV_WORKER_URL_MAX)

/* No node is believed to have more under way at one worker. So a sum over all nodes that there can
 * be never wraps, and nobody's words make the loads of the others disappear. */
#define BELIEVED_COUNT_MAX (UINT32_C(1) << 20)
#define BELIEVED_SUM_MAX   (UINT64_C(1) << 48)

/* What one node says of one worker. */
struct remote_load {
    uint32_t index;
    uint32_t count;
    uint64_t bytes;
    struct gv_load_prompts prompts;
    uint32_t trust; /* 0: it does not say */
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

static uint64_t believe(uint64_t value)
{
    return value < BELIEVED_SUM_MAX ? value : BELIEVED_SUM_MAX;
}

static void add_load(struct gv_cluster *cluster, struct remote_load *load, uint32_t count,
                     uint64_t bytes, struct gv_load_prompts prompts)
{
    struct gv_hearsay *hearsay = &cluster->hearsay;
    uint32_t i = load->index;
    hearsay->count[i] += count - load->count; /* wraps both ways and comes out right */
    hearsay->bytes[i] += bytes - load->bytes;
    add_prompts(&hearsay->prompts[i], &prompts, &load->prompts);
    load->count = count;
    load->bytes = bytes;
    load->prompts = prompts;
    gv_load_set_remote(cluster->options.load, i, hearsay->count[i], hearsay->bytes[i]);
}

static void drop_load(struct gv_cluster *cluster, struct gv_slice key, struct remote_load *load)
{
    add_load(cluster, load, 0, 0, (struct gv_load_prompts){.bytes = 0});
    gv_mem_free(GV_MEM_GOSSIP, gv_map_take(&cluster->hearsay.loads, key));
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
    struct remote_load *load = gv_map_find(&cluster->hearsay.loads, key);
    uint32_t index;
    if (load != NULL || gv_fleet_index(cluster->options.fleet, url, &index) != GV_OK) {
        return load;
    }
    load = gv_mem_new(GV_MEM_GOSSIP, sizeof *load);
    if (load != NULL) {
        load->index = index;
        if (gv_map_put(&cluster->hearsay.loads, key, load) != GV_OK) {
            gv_mem_free(GV_MEM_GOSSIP, load);
            load = NULL;
        }
    }
    return load;
}

void gv_hearsay_load(void *owner, const char *node, const struct gv_gossip_load *from)
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
        struct remote_load *known = gv_map_find(&cluster->hearsay.loads, key);
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
    struct gv_load_prompts prompts = {.bytes = believe(from->prompt_bytes),
                                      .tokens = believe(from->prompt_tokens),
                                      .prefill_bytes = believe(learned->prefill_bytes),
                                      .prefill_us = believe(learned->prefill_us),
                                      .forecasts = {.count = believe(learned->forecasts),
                                                    .predicted = believe(learned->predicted),
                                                    .reported = believe(learned->reported)}};
    uint32_t count = from->count < BELIEVED_COUNT_MAX ? from->count : BELIEVED_COUNT_MAX;
    load->trust = learned->trust;
    add_load(cluster, load, count, believe(from->bytes), prompts);
    hear(cluster, load->index, &from->report);
}

uint32_t gv_hearsay_trust(const struct gv_cluster *cluster, const char *node, const char *url)
{
    char text[PAIR_BYTES];
    const struct remote_load *load =
        gv_map_find(&cluster->hearsay.loads, pair(text, node, gv_slice_text(url)));
    return load != NULL ? load->trust : 0;
}

static void drop_opinion(struct gv_cluster *cluster, struct gv_slice key)
{
    gv_mem_free(GV_MEM_GOSSIP, gv_map_take(&cluster->hearsay.opinions, key));
    cluster->hearsay.opinions_moved = true;
    cluster->dirty = true;
}

void gv_hearsay_health(void *owner, const char *node, const struct gv_gossip_health *from)
{
    struct gv_cluster *cluster = owner;
    struct gv_hearsay *hearsay = &cluster->hearsay;
    if (from->worker.len >= GV_WORKER_URL_MAX || from->state >= GV_WORKER_STATE_COUNT ||
        strcmp(node, cluster->node) == 0) {
        return;
    }
    char text[PAIR_BYTES];
    struct gv_slice key = pair(text, node, from->worker);
    struct gv_cluster_opinion *opinion = gv_map_find(&hearsay->opinions, key);
    if (from->since_ms == 0 || gv_absorb_is_gone(cluster, from->worker)) {
        if (opinion != NULL) {
            drop_opinion(cluster, key);
        }
        return;
    }
    if (opinion == NULL) {
        opinion = gv_mem_new(GV_MEM_GOSSIP, sizeof *opinion);
        if (opinion == NULL || gv_map_put(&hearsay->opinions, key, opinion) != GV_OK) {
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
    hearsay->opinions_moved = true;
    cluster->dirty = true;
}

/* Loads and opinions vanish with the node that said them. */
void gv_hearsay_vanish(struct gv_cluster *cluster, const char *node)
{
    struct gv_hearsay *hearsay = &cluster->hearsay;
    struct gv_slice key;
    void *value;
    for (size_t at = 0; gv_map_next(&hearsay->loads, &at, &key, &value);) {
        if (is_pair_of(key, node)) {
            drop_load(cluster, key, value);
        }
    }
    for (size_t at = 0; gv_map_next(&hearsay->opinions, &at, &key, &value);) {
        if (is_pair_of(key, node)) {
            drop_opinion(cluster, key);
        }
    }
}

void gv_hearsay_forget(struct gv_cluster *cluster, struct gv_slice url)
{
    struct gv_slice key;
    void *value;
    for (size_t at = 0; gv_map_next(&cluster->hearsay.opinions, &at, &key, &value);) {
        const struct gv_cluster_opinion *opinion = value;
        if (gv_slice_is(url, opinion->worker)) {
            drop_opinion(cluster, key);
        }
    }
}

enum gv_err gv_hearsay_open(struct gv_cluster *cluster)
{
    struct gv_hearsay *hearsay = &cluster->hearsay;
    uint64_t secret[2];
    gv_random_bytes(secret, sizeof secret);
    gv_map_init(&hearsay->loads, GV_MEM_GOSSIP, GV_SHELL_REMOTE_MAX, secret);
    gv_map_init(&hearsay->opinions, GV_MEM_GOSSIP, GV_SHELL_REMOTE_MAX, secret);
    hearsay->count = gv_mem_new(GV_MEM_GOSSIP, GV_WORKERS_MAX * sizeof hearsay->count[0]);
    hearsay->bytes = gv_mem_new(GV_MEM_GOSSIP, GV_WORKERS_MAX * sizeof hearsay->bytes[0]);
    hearsay->prompts = gv_mem_new(GV_MEM_GOSSIP, GV_WORKERS_MAX * sizeof hearsay->prompts[0]);
    bool whole = hearsay->count != NULL && hearsay->bytes != NULL && hearsay->prompts != NULL;
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

void gv_hearsay_free(struct gv_cluster *cluster)
{
    struct gv_hearsay *hearsay = &cluster->hearsay;
    empty(&hearsay->loads);
    empty(&hearsay->opinions);
    gv_mem_free(GV_MEM_GOSSIP, hearsay->count);
    gv_mem_free(GV_MEM_GOSSIP, hearsay->bytes);
    gv_mem_free(GV_MEM_GOSSIP, hearsay->prompts);
}
