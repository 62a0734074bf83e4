/*
 * demands.c - what tenants demand of each node, so that all nodes together keep their limits.
 *
 * A demand travels as a load record whose subject is no worker's URL but "tenant:NAME": the count
 * is 0, the bytes are thousandths of a request per second. So it is told as often as loads are,
 * vanishes with its node, and costs nothing where no tenant has a limit.
 */
#include "grapevine/base/metric.h"
#include "grapevine/route/quota.h"
#include "shell.h"

#include <stdio.h>
#include <string.h>

#define SUBJECT      "tenant:"
#define SUBJECT_LEN  (sizeof SUBJECT - 1)
#define SUBJECT_ROOM (SUBJECT_LEN + GV_TENANT_NAME_MAX)
#define KEY_ROOM     (GV_NODE_NAME_MAX + GV_TENANT_NAME_MAX)

static const struct gv_metric_family share_family = {
    .name = "gv_tenant_share",
    .help = "Requests per second that this node lets a tenant send now.",
    .type = GV_METRIC_GAUGE,
    .labels = {"tenant"},
};

/* What one other node says of one tenant. */
struct demand {
    uint32_t tenant;
    uint64_t milli;
};

bool gv_demands_hear(struct gv_cluster *cluster, const char *node,
                     const struct gv_gossip_load *load)
{
    if (!gv_slice_starts_with(load->worker, SUBJECT)) {
        return false;
    }
    struct gv_quota *quota = cluster->options.quota;
    char name[GV_TENANT_NAME_MAX];
    struct gv_slice given =
        gv_slice_of(load->worker.data + SUBJECT_LEN, load->worker.len - SUBJECT_LEN);
    if (quota == NULL || given.len >= sizeof name) {
        return true; /* of a node that knows more tenants than we do */
    }
    (void)gv_slice_copy_text(given, name, sizeof name);
    uint32_t tenant = gv_quota_find(quota, name);
    if (tenant == GV_QUOTA_NONE) {
        return true;
    }
    char text[KEY_ROOM];
    int len = snprintf(text, sizeof text, "%s\n%s", node, name);
    GV_ASSERT(len > 0 && (size_t)len < sizeof text);
    struct gv_slice key = gv_slice_of(text, (size_t)len);
    struct gv_map *heard = &cluster->demands.heard;
    struct demand *demand = gv_map_find(heard, key);
    if (demand == NULL && load->bytes > 0) {
        demand = gv_mem_new(GV_MEM_GOSSIP, sizeof *demand);
        if (demand == NULL || gv_map_put(heard, key, demand) != GV_OK) {
            gv_mem_free(GV_MEM_GOSSIP, demand);
            cluster->counters.loads_dropped += 1;
            return true;
        }
        demand->tenant = tenant;
    }
    if (demand != NULL) {
        uint64_t milli = gv_quota_believe(quota, tenant, load->bytes);
        cluster->demands.sums[tenant] += milli - demand->milli; /* wraps, and comes right */
        demand->milli = milli;
    }
    if (demand != NULL && load->bytes == 0) {
        gv_mem_free(GV_MEM_GOSSIP, gv_map_take(heard, key));
    }
    return true;
}

void gv_demands_exchange(struct gv_cluster *cluster)
{
    struct gv_quota *quota = cluster->options.quota;
    if (quota == NULL) {
        return;
    }
    struct gv_now now = gv_shell_now();
    uint64_t now_us = gv_clock_us();
    uint32_t nodes = gv_gossip_active(cluster->gossip);
    for (uint32_t i = 0; i < gv_quota_count(quota); i++) {
        char subject[SUBJECT_ROOM];
        (void)snprintf(subject, sizeof subject, SUBJECT "%s", gv_quota_name(quota, i));
        struct gv_gossip_load record = {.worker = gv_slice_text(subject),
                                        .bytes = gv_quota_demand(quota, i, now_us)};
        gv_gossip_set_load(cluster->gossip, &record, now);
        gv_quota_set_others(quota, i, cluster->demands.sums[i], nodes, now_us);
        const char *name = gv_quota_name(quota, i);
        gv_metric_set(gv_metric_get(&share_family, &name), gv_quota_share(quota, i, now_us));
    }
}

enum gv_err gv_demands_open(struct gv_cluster *cluster)
{
    uint64_t secret[2];
    uint32_t count = cluster->options.quota == NULL ? 0 : gv_quota_count(cluster->options.quota);
    gv_random_bytes(secret, sizeof secret);
    gv_map_init(&cluster->demands.heard, GV_MEM_GOSSIP, GV_SHELL_REMOTE_MAX, secret);
    enum gv_err err = gv_metric_register(&share_family);
    if (err != GV_OK) {
        return err;
    }
    if (count > 0) {
        cluster->demands.sums = gv_mem_new(GV_MEM_GOSSIP, count * sizeof cluster->demands.sums[0]);
    }
    return count > 0 && cluster->demands.sums == NULL ? GV_ENOMEM : GV_OK;
}

void gv_demands_free(struct gv_cluster *cluster)
{
    struct gv_slice key;
    void *value;
    for (size_t at = 0; gv_map_next(&cluster->demands.heard, &at, &key, &value);) {
        gv_mem_free(GV_MEM_GOSSIP, value);
    }
    gv_map_deinit(&cluster->demands.heard);
    gv_mem_free(GV_MEM_GOSSIP, cluster->demands.sums);
}
