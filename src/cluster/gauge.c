/*
 * gauge.c - the mesh as metrics: families gv_mesh_*, mirrored from the engine's and the shell's
 * counters ten times a second.
 *
 * Counted things stay in their structs; this file only copies. Mesh thread.
 */
#include "grapevine/base/metric.h"
#include "shell.h"

/* One family for each counter: gv_mesh_<name>_total. */
#define COUNTER_FAMILY(field, text)                                                                \
    {.name = "gv_mesh_" #field "_total", .help = text, .type = GV_METRIC_COUNTER},
static const struct gv_metric_family gossip_families[] = {GV_GOSSIP_COUNTER_LIST(COUNTER_FAMILY)};
static const struct gv_metric_family cluster_families[] = {GV_CLUSTER_COUNTER_LIST(COUNTER_FAMILY)};

static const struct gv_metric_family members_family = {.name = "gv_mesh_members",
                                                       .help = "nodes of the cluster by status",
                                                       .labels = {"status"},
                                                       .type = GV_METRIC_GAUGE};
static const struct gv_metric_family sessions_family = {
    .name = "gv_mesh_sessions", .help = "sessions open now", .type = GV_METRIC_GAUGE};
static const struct gv_metric_family queue_family = {
    .name = "gv_mesh_queue_bytes",
    .help = "bytes of all sessions that the kernel has not taken yet",
    .type = GV_METRIC_GAUGE};
static const struct gv_metric_family synced_family = {
    .name = "gv_mesh_synced",
    .help = "1 once the state was in step with the other nodes",
    .type = GV_METRIC_GAUGE};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum gv_err gv_gauge_open(void)
{
    const struct gv_metric_family *singles[] = {&members_family, &sessions_family, &queue_family,
                                                &synced_family};
    enum gv_err err = GV_OK;
    for (size_t i = 0; err == GV_OK && i < COUNT(singles); i++) {
        err = gv_metric_register(singles[i]);
    }
    for (size_t i = 0; err == GV_OK && i < COUNT(gossip_families); i++) {
        err = gv_metric_register(&gossip_families[i]);
    }
    for (size_t i = 0; err == GV_OK && i < COUNT(cluster_families); i++) {
        err = gv_metric_register(&cluster_families[i]);
    }
    return err;
}

static void set(const struct gv_metric_family *family, uint64_t value)
{
    gv_metric_set(gv_metric_get(family, NULL), (double)value);
}

void gv_gauge_refresh(struct gv_cluster *cluster)
{
    const struct gv_cluster_view *now = &cluster->view.now; /* written on this thread only */
#define GOSSIP_VALUE(field, text) now->gossip.field,
#define SHELL_VALUE(field, text)  now->cluster.field,
    const uint64_t gossip[] = {GV_GOSSIP_COUNTER_LIST(GOSSIP_VALUE)};
    const uint64_t shell[] = {GV_CLUSTER_COUNTER_LIST(SHELL_VALUE)};
    for (size_t i = 0; i < COUNT(gossip); i++) {
        set(&gossip_families[i], gossip[i]);
    }
    for (size_t i = 0; i < COUNT(shell); i++) {
        set(&cluster_families[i], shell[i]);
    }
    static const char *const status_names[GV_MEMBER_STATUS_COUNT] = {"alive", "suspect", "dead",
                                                                     "left"};
    for (unsigned i = 0; i < GV_MEMBER_STATUS_COUNT; i++) {
        const char *labels[] = {status_names[i]};
        gv_metric_set(gv_metric_get(&members_family, labels), now->status_count[i]);
    }
    set(&sessions_family, now->session_count);
    set(&queue_family, cluster->links == NULL ? 0 : gv_links_queued(cluster->links));
    set(&synced_family, now->synced ? 1 : 0);
}
