#include "support/mesh.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

void gv_mesh_nap(void)
{
    struct timespec pause = {.tv_nsec = 1000000};
    nanosleep(&pause, NULL);
}

void gv_mesh_prepare(struct gv_mesh_node *node, const char *name)
{
    memset(node, 0, sizeof *node);
    (void)snprintf(node->name, sizeof node->name, "%s", name);
    (void)snprintf(node->cluster_id, sizeof node->cluster_id, "test");
    node->config = (struct gv_config){.cluster_id = node->cluster_id,
                                      .block_bytes = 256,
                                      .mesh_host = "127.0.0.1",
                                      .mesh_advertise_host = "",
                                      .mesh_sync_timeout_ms = 10000,
                                      .max_tree_bytes = 64 << 20,
                                      .worker_api_key = "",
                                      .state_dir = node->state_dir,
                                      .enable_mesh = 1};
}

void gv_mesh_add_seed(struct gv_mesh_node *node, const struct gv_mesh_node *seed)
{
    struct gv_addr addr = gv_cluster_addr(seed->cluster);
    size_t at = node->config.seeds.count;
    CU_ASSERT_TRUE_FATAL(at < 4);
    node->seed_items[at] = node->seed_text[at];
    (void)gv_addr_format(&addr, node->seed_text[at]);
    node->config.seeds.items = node->seed_items;
    node->config.seeds.count = at + 1;
}

void gv_mesh_start_with(struct gv_mesh_node *node, const struct gv_keyring *keyring)
{
    struct gv_forest_limits limits = {.max_bytes = 64 << 20,
                                      .touch_interval_s = 5,
                                      .max_keys = 64,
                                      .worker_blocks = 1 << 18,
                                      .min_age_s = 10,
                                      .max_ahead_s = 60};
    CU_ASSERT_EQUAL_FATAL(gv_fleet_new(&node->fleet), GV_OK);
    CU_ASSERT_EQUAL_FATAL(gv_forest_new(limits, &node->forest), GV_OK);
    CU_ASSERT_EQUAL_FATAL(gv_load_new(&node->load), GV_OK);
    CU_ASSERT_EQUAL_FATAL(gv_loop_new(node->name, &node->loop), GV_OK);
    struct gv_cluster_options options = {.config = &node->config,
                                         .node = node->name,
                                         .http_url = "http://127.0.0.1:1",
                                         .keyring = keyring,
                                         .fleet = node->fleet,
                                         .forest = node->forest,
                                         .load = node->load};
    CU_ASSERT_EQUAL_FATAL(gv_cluster_open(node->loop, &options, &node->cluster), GV_OK);
    CU_ASSERT_EQUAL_FATAL(gv_loop_start(node->loop), GV_OK);
    node->runs = true;
}

void gv_mesh_start(struct gv_mesh_node *node)
{
    gv_mesh_start_with(node, NULL);
}

void gv_mesh_kill(struct gv_mesh_node *node)
{
    if (!node->runs) {
        return;
    }
    node->runs = false;
    gv_loop_stop(node->loop);
    gv_loop_join(node->loop);
    gv_cluster_close(node->cluster);
    gv_loop_free(node->loop);
    gv_load_free(node->load);
    gv_forest_free(node->forest);
    gv_fleet_free(node->fleet);
}

uint32_t gv_mesh_status(struct gv_mesh_node *node, const char *name)
{
    struct gv_cluster_view view;
    uint32_t status = GV_MEMBER_STATUS_COUNT;
    CU_ASSERT_EQUAL_FATAL(gv_cluster_view_get(node->cluster, &view), GV_OK);
    for (uint32_t i = 0; i < view.member_count; i++) {
        if (strcmp(view.members[i].name, name) == 0) {
            status = (uint32_t)view.members[i].status;
        }
    }
    gv_cluster_view_deinit(&view);
    return status;
}

uint32_t gv_mesh_alive(struct gv_mesh_node *node)
{
    struct gv_cluster_view view;
    CU_ASSERT_EQUAL_FATAL(gv_cluster_view_get(node->cluster, &view), GV_OK);
    uint32_t count = view.status_count[GV_MEMBER_ALIVE];
    gv_cluster_view_deinit(&view);
    return count;
}

struct gv_cluster_counters gv_mesh_counters(struct gv_mesh_node *node)
{
    struct gv_cluster_view view;
    CU_ASSERT_EQUAL_FATAL(gv_cluster_view_get(node->cluster, &view), GV_OK);
    struct gv_cluster_counters counters = view.cluster;
    gv_cluster_view_deinit(&view);
    return counters;
}

void gv_mesh_start_three(struct gv_mesh_node nodes[3])
{
    const char *const names[] = {"a", "b", "c"};
    for (int i = 0; i < 3; i++) {
        gv_mesh_prepare(&nodes[i], names[i]);
        if (i > 0) {
            gv_mesh_add_seed(&nodes[i], &nodes[0]);
        }
        gv_mesh_start(&nodes[i]);
    }
    for (int i = 0; i < 3; i++) {
        GV_MESH_AWAIT(gv_mesh_alive(&nodes[i]) == 3);
        GV_MESH_AWAIT(gv_cluster_is_synced(nodes[i].cluster));
    }
}

void gv_mesh_kill_three(struct gv_mesh_node nodes[3])
{
    for (int i = 0; i < 3; i++) {
        gv_mesh_kill(&nodes[i]);
    }
}

/* ---- what a node knows -------------------------------------------------------------------------
 */

void gv_mesh_chain(uint64_t chain[GV_MESH_CHAIN], uint64_t seed)
{
    for (uint64_t i = 0; i < GV_MESH_CHAIN; i++) {
        chain[i] = (seed << 32) + i + 1;
    }
}

uint32_t gv_mesh_depth(struct gv_mesh_node *node, const char *url, const uint64_t *chain,
                       uint32_t count)
{
    uint32_t index;
    uint32_t found = 0;
    CU_ASSERT_EQUAL_FATAL(gv_fleet_index(node->fleet, gv_slice_text(url), &index), GV_OK);
    gv_forest_match(node->forest, GV_MESH_KEY, chain, count, &index, 1, &found);
    return found;
}

void gv_mesh_record(struct gv_mesh_node *node, const char *url, const uint64_t *chain,
                    uint32_t count)
{
    uint32_t index;
    struct gv_operation operation;
    CU_ASSERT_EQUAL_FATAL(gv_fleet_index(node->fleet, gv_slice_text(url), &index), GV_OK);
    CU_ASSERT_TRUE_FATAL(gv_forest_record(node->forest, GV_MESH_KEY, chain, count, index,
                                          gv_clock_wall_ms(), &operation));
    gv_cluster_publish(node->cluster, &operation);
}

bool gv_mesh_has_worker(struct gv_mesh_node *node, const char *url)
{
    const struct gv_fleet_view *view = gv_fleet_acquire(node->fleet);
    bool has = gv_fleet_find(view, gv_slice_text(url)) != NULL;
    gv_fleet_release(node->fleet, view);
    return has;
}

struct gv_worker gv_mesh_worker(const char *url)
{
    struct gv_worker worker = {.pool = GV_POOL_REGULAR,
                               .source = GV_SOURCE_API,
                               .bootstrap_port = -1,
                               .priority = 50,
                               .cost = 1.0,
                               .model_count = 1,
                               .models = {"m"},
                               .api_key = "secret"};
    (void)snprintf(worker.url, sizeof worker.url, "%s", url);
    return worker;
}

void gv_mesh_put(struct gv_mesh_node *node, const char *url)
{
    struct gv_worker worker = gv_mesh_worker(url);
    CU_ASSERT_EQUAL_FATAL(gv_cluster_put_worker(node->cluster, &worker), GV_OK);
}

bool gv_mesh_same_digest(struct gv_mesh_node *left, struct gv_mesh_node *right)
{
    uint8_t a[16];
    uint8_t b[16];
    CU_ASSERT_EQUAL_FATAL(gv_cluster_deep_digest(left->cluster, a), GV_OK);
    CU_ASSERT_EQUAL_FATAL(gv_cluster_deep_digest(right->cluster, b), GV_OK);
    return memcmp(a, b, sizeof a) == 0;
}
