/*
 * test_mesh.c - three clusters in one process over real sockets: what one knows all know, who dies
 * is missed, who returns gets everything back.
 */
#include "grapevine/base/lock.h"
#include "support/logbook.h"
#include "support/mesh.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define WORKER "http://10.1.1.1:8000"
#define OTHER  "http://10.1.1.2:8000"

/* ---- stories -----------------------------------------------------------------------------------
 */

static void what_one_node_records_all_nodes_hold(void)
{
    static struct gv_mesh_node nodes[3];
    uint64_t chain[GV_MESH_CHAIN];
    gv_mesh_start_three(nodes);
    gv_mesh_chain(chain, 1);
    gv_mesh_record(&nodes[0], WORKER, chain, GV_MESH_CHAIN);
    GV_MESH_AWAIT(gv_mesh_depth(&nodes[1], WORKER, chain, GV_MESH_CHAIN) == GV_MESH_CHAIN);
    GV_MESH_AWAIT(gv_mesh_depth(&nodes[2], WORKER, chain, GV_MESH_CHAIN) == GV_MESH_CHAIN);
    gv_mesh_chain(chain, 2);
    gv_mesh_record(&nodes[2], OTHER, chain, GV_MESH_CHAIN);
    GV_MESH_AWAIT(gv_mesh_depth(&nodes[0], OTHER, chain, GV_MESH_CHAIN) == GV_MESH_CHAIN);
    CU_ASSERT_EQUAL(gv_mesh_depth(&nodes[0], WORKER, chain, GV_MESH_CHAIN), 0);
    GV_MESH_AWAIT(gv_mesh_same_digest(&nodes[0], &nodes[1]) &&
                  gv_mesh_same_digest(&nodes[0], &nodes[2]));
    gv_mesh_kill_three(nodes);
}

/* Longer than one message may be: it travels in runs and arrives whole. */
static void a_very_long_prompt_arrives_whole(void)
{
    static struct gv_mesh_node nodes[3];
    enum {
        LONG = 20000
    };
    uint64_t *chain = calloc(LONG, sizeof *chain);
    CU_ASSERT_PTR_NOT_NULL_FATAL(chain);
    for (uint64_t i = 0; i < LONG; i++) {
        chain[i] = (UINT64_C(7) << 32) + i + 1;
    }
    gv_mesh_start_three(nodes);
    gv_mesh_record(&nodes[1], WORKER, chain, LONG);
    GV_MESH_AWAIT(gv_mesh_depth(&nodes[0], WORKER, chain, LONG) == LONG);
    GV_MESH_AWAIT(gv_mesh_depth(&nodes[2], WORKER, chain, LONG) == LONG);
    gv_mesh_kill_three(nodes);
    free(chain);
}

static void a_worker_added_anywhere_is_everywhere_but_its_key_stays(void)
{
    static struct gv_mesh_node nodes[3];
    gv_mesh_start_three(nodes);
    gv_mesh_put(&nodes[0], WORKER);
    for (int i = 0; i < 3; i++) {
        GV_MESH_AWAIT(gv_mesh_has_worker(&nodes[i], WORKER));
    }
    const struct gv_fleet_view *view = gv_fleet_acquire(nodes[0].fleet);
    const struct gv_worker *here = gv_fleet_find(view, gv_slice_text(WORKER));
    CU_ASSERT_STRING_EQUAL(here->api_key, "secret");
    CU_ASSERT_EQUAL(here->source, GV_SOURCE_API);
    gv_fleet_release(nodes[0].fleet, view);
    view = gv_fleet_acquire(nodes[2].fleet);
    const struct gv_worker *there = gv_fleet_find(view, gv_slice_text(WORKER));
    CU_ASSERT_STRING_EQUAL(there->api_key, "");
    CU_ASSERT_EQUAL(there->source, GV_SOURCE_MESH);
    CU_ASSERT_EQUAL(there->model_count, 1);
    CU_ASSERT_STRING_EQUAL(there->models[0], "m");
    CU_ASSERT_EQUAL(there->priority, 50);
    gv_fleet_release(nodes[2].fleet, view);
    gv_mesh_kill_three(nodes);
}

/* A member writes what it likes: the other nodes, and its own, hold it to what operators may set.
 */
static void a_record_with_numbers_that_no_operator_may_set_is_the_usual_on_all_nodes(void)
{
    static struct gv_mesh_node nodes[3];
    struct gv_worker worker = {.url = WORKER,
                               .bootstrap_port = 70000,
                               .priority = -7,
                               .cost = NAN,
                               .health = {.timeout_ms = 1,
                                          .interval_ms = 1,
                                          .success_threshold = UINT32_MAX,
                                          .failure_threshold = UINT32_MAX,
                                          .drain_settle_ms = UINT32_MAX}};
    gv_mesh_start_three(nodes);
    CU_ASSERT_EQUAL(gv_cluster_put_worker(nodes[0].cluster, &worker), GV_OK);
    for (int i = 0; i < 3; i++) {
        GV_MESH_AWAIT(gv_mesh_has_worker(&nodes[i], WORKER));
        const struct gv_fleet_view *view = gv_fleet_acquire(nodes[i].fleet);
        const struct gv_worker *there = gv_fleet_find(view, gv_slice_text(WORKER));
        CU_ASSERT_EQUAL(there->bootstrap_port, -1);
        CU_ASSERT_EQUAL(there->priority, 50);
        CU_ASSERT(there->cost == 1.0);
        CU_ASSERT_EQUAL(there->health.timeout_ms, 0);
        CU_ASSERT_EQUAL(there->health.interval_ms, 0);
        CU_ASSERT_EQUAL(there->health.success_threshold, 0);
        CU_ASSERT_EQUAL(there->health.failure_threshold, 0);
        CU_ASSERT_EQUAL(there->health.drain_settle_ms, 0);
        gv_fleet_release(nodes[i].fleet, view);
        GV_MESH_AWAIT(gv_mesh_counters(&nodes[i]).numbers_beyond == 8);
    }
    gv_mesh_kill_three(nodes);
}

static void a_removed_worker_is_gone_everywhere_and_owns_nothing_when_it_returns(void)
{
    static struct gv_mesh_node nodes[3];
    uint64_t chain[GV_MESH_CHAIN];
    gv_mesh_start_three(nodes);
    gv_mesh_chain(chain, 3);
    gv_mesh_put(&nodes[0], WORKER);
    GV_MESH_AWAIT(gv_mesh_has_worker(&nodes[1], WORKER));
    gv_mesh_record(&nodes[2], WORKER, chain, GV_MESH_CHAIN);
    for (int i = 0; i < 3; i++) {
        GV_MESH_AWAIT(gv_mesh_has_worker(&nodes[i], WORKER));
        GV_MESH_AWAIT(gv_mesh_depth(&nodes[i], WORKER, chain, GV_MESH_CHAIN) == GV_MESH_CHAIN);
    }
    CU_ASSERT_EQUAL(gv_cluster_delete_worker(nodes[1].cluster, WORKER), GV_OK);
    for (int i = 0; i < 3; i++) {
        GV_MESH_AWAIT(!gv_mesh_has_worker(&nodes[i], WORKER));
        GV_MESH_AWAIT(gv_mesh_depth(&nodes[i], WORKER, chain, GV_MESH_CHAIN) == 0);
    }
    gv_mesh_record(&nodes[0], WORKER, chain, GV_MESH_CHAIN); /* a request that was under way */
    for (int i = 0; i < 3; i++) {
        GV_MESH_AWAIT(gv_mesh_depth(&nodes[i], WORKER, chain, GV_MESH_CHAIN) == GV_MESH_CHAIN);
    }
    gv_mesh_put(&nodes[2], WORKER);
    for (int i = 0; i < 3; i++) {
        GV_MESH_AWAIT(gv_mesh_has_worker(&nodes[i], WORKER));
        GV_MESH_AWAIT(gv_mesh_depth(&nodes[i], WORKER, chain, GV_MESH_CHAIN) == 0);
    }
    gv_mesh_record(&nodes[0], WORKER, chain, GV_MESH_CHAIN / 2);
    for (int i = 0; i < 3; i++) {
        GV_MESH_AWAIT(gv_mesh_depth(&nodes[i], WORKER, chain, GV_MESH_CHAIN) == GV_MESH_CHAIN / 2);
    }
    GV_MESH_AWAIT(gv_mesh_same_digest(&nodes[0], &nodes[1]) &&
                  gv_mesh_same_digest(&nodes[0], &nodes[2]));
    gv_mesh_kill_three(nodes);
}

static uint32_t remote_count(struct gv_mesh_node *node, const char *url)
{
    uint32_t index;
    CU_ASSERT_EQUAL_FATAL(gv_fleet_index(node->fleet, gv_slice_text(url), &index), GV_OK);
    return gv_load_get(node->load, index).remote_count;
}

static void loads_are_summed_over_nodes_and_vanish_with_them(void)
{
    static struct gv_mesh_node nodes[3];
    gv_mesh_start_three(nodes);
    gv_mesh_put(&nodes[0], WORKER);
    for (int i = 0; i < 3; i++) {
        GV_MESH_AWAIT(gv_mesh_has_worker(&nodes[i], WORKER));
    }
    uint32_t index;
    CU_ASSERT_EQUAL_FATAL(gv_fleet_index(nodes[1].fleet, gv_slice_text(WORKER), &index), GV_OK);
    gv_load_take(nodes[1].load, index, 1000);
    gv_load_take(nodes[1].load, index, 1000);
    CU_ASSERT_EQUAL_FATAL(gv_fleet_index(nodes[2].fleet, gv_slice_text(WORKER), &index), GV_OK);
    gv_load_take(nodes[2].load, index, 500);
    GV_MESH_AWAIT(remote_count(&nodes[0], WORKER) == 3);
    GV_MESH_AWAIT(remote_count(&nodes[1], WORKER) == 1);
    GV_MESH_AWAIT(remote_count(&nodes[2], WORKER) == 2);
    gv_mesh_kill(&nodes[1]);
    GV_MESH_AWAIT(remote_count(&nodes[0], WORKER) == 1);
    gv_load_give(nodes[2].load, index, 500);
    GV_MESH_AWAIT(remote_count(&nodes[0], WORKER) == 0);
    gv_mesh_kill_three(nodes);
}

static bool has_opinion(struct gv_mesh_node *node, const char *of, enum gv_worker_state state)
{
    struct gv_cluster_opinion opinions[8];
    uint32_t count = gv_cluster_opinions(node->cluster, opinions, 8);
    for (uint32_t i = 0; i < count && i < 8; i++) {
        if (strcmp(opinions[i].node, of) == 0 && strcmp(opinions[i].worker, WORKER) == 0 &&
            opinions[i].state == state) {
            return true;
        }
    }
    return false;
}

static void what_a_node_thinks_of_a_worker_the_others_can_show(void)
{
    static struct gv_mesh_node nodes[3];
    gv_mesh_start_three(nodes);
    gv_mesh_put(&nodes[0], WORKER);
    GV_MESH_AWAIT(gv_mesh_has_worker(&nodes[1], WORKER));
    gv_cluster_set_health(nodes[1].cluster, WORKER, GV_WORKER_NOT_READY, "3 probes failed");
    GV_MESH_AWAIT(has_opinion(&nodes[0], "b", GV_WORKER_NOT_READY));
    GV_MESH_AWAIT(has_opinion(&nodes[2], "b", GV_WORKER_NOT_READY));
    gv_cluster_set_health(nodes[1].cluster, WORKER, GV_WORKER_READY, "");
    GV_MESH_AWAIT(has_opinion(&nodes[0], "b", GV_WORKER_READY));
    gv_mesh_kill(&nodes[1]);
    GV_MESH_AWAIT(!has_opinion(&nodes[0], "b", GV_WORKER_READY));
    gv_mesh_kill_three(nodes);
}

static uint32_t count_opinions(struct gv_mesh_node *node)
{
    return gv_cluster_opinions(node->cluster, NULL, 0);
}

/* Neither who was there nor who comes later keeps what was thought of it. */
static void what_was_thought_of_a_worker_goes_when_it_is_removed(void)
{
    static struct gv_mesh_node nodes[3];
    gv_mesh_start_three(nodes);
    gv_mesh_put(&nodes[0], WORKER);
    gv_mesh_put(&nodes[0], OTHER);
    GV_MESH_AWAIT(gv_mesh_has_worker(&nodes[1], WORKER) && gv_mesh_has_worker(&nodes[1], OTHER));
    gv_cluster_set_health(nodes[1].cluster, WORKER, GV_WORKER_NOT_READY, "3 probes failed");
    gv_cluster_set_health(nodes[1].cluster, OTHER, GV_WORKER_READY, "");
    GV_MESH_AWAIT(count_opinions(&nodes[0]) == 2 && count_opinions(&nodes[2]) == 2);
    CU_ASSERT_EQUAL(gv_cluster_delete_worker(nodes[0].cluster, WORKER), GV_OK);
    GV_MESH_AWAIT(count_opinions(&nodes[0]) == 1 && count_opinions(&nodes[2]) == 1);
    gv_mesh_kill(&nodes[2]);
    gv_mesh_prepare(&nodes[2], "d");
    gv_mesh_add_seed(&nodes[2], &nodes[1]);
    gv_mesh_start(&nodes[2]);
    GV_MESH_AWAIT(count_opinions(&nodes[2]) > 0);
    CU_ASSERT_EQUAL(count_opinions(&nodes[2]), 1);
    gv_mesh_kill_three(nodes);
}

static void a_killed_node_is_declared_dead_and_gets_everything_back(void)
{
    static struct gv_mesh_node nodes[3];
    uint64_t chain[GV_MESH_CHAIN];
    gv_mesh_start_three(nodes);
    gv_mesh_put(&nodes[0], WORKER);
    gv_mesh_chain(chain, 4);
    gv_mesh_record(&nodes[1], WORKER, chain, GV_MESH_CHAIN);
    GV_MESH_AWAIT(gv_mesh_depth(&nodes[0], WORKER, chain, GV_MESH_CHAIN) == GV_MESH_CHAIN);
    GV_MESH_AWAIT(gv_mesh_depth(&nodes[2], WORKER, chain, GV_MESH_CHAIN) == GV_MESH_CHAIN);
    gv_mesh_kill(&nodes[1]);
    uint64_t killed_us = gv_clock_us();
    GV_MESH_AWAIT(gv_mesh_status(&nodes[0], "b") == GV_MEMBER_DEAD);
    GV_MESH_AWAIT(gv_mesh_status(&nodes[2], "b") == GV_MEMBER_DEAD);
    printf("dead on all after %.0f ms\n", (double)(gv_clock_us() - killed_us) / 1e3);
    uint64_t later[GV_MESH_CHAIN];
    gv_mesh_chain(later, 5);
    gv_mesh_record(&nodes[2], WORKER, later, GV_MESH_CHAIN);

    gv_mesh_prepare(&nodes[1], "b");
    gv_mesh_add_seed(&nodes[1], &nodes[2]);
    gv_mesh_start(&nodes[1]);
    GV_MESH_AWAIT(gv_cluster_is_synced(nodes[1].cluster));
    CU_ASSERT_TRUE(gv_mesh_has_worker(&nodes[1], WORKER));
    CU_ASSERT_EQUAL(gv_mesh_depth(&nodes[1], WORKER, chain, GV_MESH_CHAIN), GV_MESH_CHAIN);
    CU_ASSERT_EQUAL(gv_mesh_depth(&nodes[1], WORKER, later, GV_MESH_CHAIN), GV_MESH_CHAIN);
    GV_MESH_AWAIT(gv_mesh_status(&nodes[0], "b") == GV_MEMBER_ALIVE);
    GV_MESH_AWAIT(gv_mesh_same_digest(&nodes[0], &nodes[1]) &&
                  gv_mesh_same_digest(&nodes[2], &nodes[1]));
    gv_mesh_kill_three(nodes);
}

struct flag {
    struct gv_mutex lock;
    bool is_up;
};

static void raise_flag(void *owner)
{
    struct flag *flag = owner;
    gv_mutex_lock(&flag->lock);
    flag->is_up = true;
    gv_mutex_unlock(&flag->lock);
}

static bool is_up(struct flag *flag)
{
    gv_mutex_lock(&flag->lock);
    bool up = flag->is_up;
    gv_mutex_unlock(&flag->lock);
    return up;
}

static void a_node_that_leaves_is_known_to_have_left(void)
{
    static struct gv_mesh_node nodes[3];
    static struct flag left;
    left.is_up = false;
    gv_mutex_init(&left.lock);
    gv_mesh_start_three(nodes);
    gv_cluster_leave(nodes[2].cluster, raise_flag, &left);
    GV_MESH_AWAIT(gv_mesh_status(&nodes[0], "c") == GV_MEMBER_LEFT);
    GV_MESH_AWAIT(gv_mesh_status(&nodes[1], "c") == GV_MEMBER_LEFT);
    GV_MESH_AWAIT(is_up(&left));
    gv_mesh_kill_three(nodes);
    gv_mutex_deinit(&left.lock);
}

static void readiness_is_told(void)
{
    static struct gv_mesh_node nodes[3];
    gv_mesh_start_three(nodes);
    gv_cluster_set_ready(nodes[0].cluster, true);
    bool ready = false;
    for (int i = 0; i < GV_MESH_DEADLINE_MS && !ready; i++) {
        struct gv_cluster_view view;
        CU_ASSERT_EQUAL_FATAL(gv_cluster_view_get(nodes[2].cluster, &view), GV_OK);
        for (uint32_t k = 0; k < view.member_count; k++) {
            ready = ready || (strcmp(view.members[k].name, "a") == 0 && view.members[k].ready);
        }
        gv_cluster_view_deinit(&view);
        gv_mesh_nap();
    }
    CU_ASSERT_TRUE(ready);
    gv_mesh_kill_three(nodes);
}

static void a_lone_node_needs_no_socket(void)
{
    static struct gv_mesh_node node;
    gv_mesh_prepare(&node, "alone");
    node.config.enable_mesh = 0;
    gv_mesh_start(&node);
    struct gv_addr addr = gv_cluster_addr(node.cluster);
    CU_ASSERT_TRUE(gv_addr_is_unspecified(&addr));
    GV_MESH_AWAIT(gv_cluster_is_synced(node.cluster));
    gv_mesh_put(&node, WORKER);
    GV_MESH_AWAIT(gv_mesh_has_worker(&node, WORKER));
    uint64_t chain[GV_MESH_CHAIN];
    gv_mesh_chain(chain, 6);
    gv_mesh_record(&node, WORKER, chain, GV_MESH_CHAIN);
    CU_ASSERT_EQUAL(gv_cluster_delete_worker(node.cluster, WORKER), GV_OK);
    GV_MESH_AWAIT(!gv_mesh_has_worker(&node, WORKER) &&
                  gv_mesh_depth(&node, WORKER, chain, GV_MESH_CHAIN) == 0);
    gv_mesh_kill(&node);
}
/* ---- what survives -----------------------------------------------------------------------------
 */

/* The mesh thread stands still until its inbox overflows; what was lost is told again. */
static void what_found_no_room_is_told_again(void)
{
    static struct gv_mesh_node nodes[3];
    uint64_t chain[GV_MESH_CHAIN];
    uint64_t lost[GV_MESH_CHAIN];
    gv_mesh_start_three(nodes);
    gv_mesh_chain(chain, 9);
    gv_mesh_chain(lost, 10);
    uint32_t index;
    struct gv_operation operation;
    CU_ASSERT_EQUAL_FATAL(gv_fleet_index(nodes[0].fleet, gv_slice_text(WORKER), &index), GV_OK);
    gv_loop_stop(nodes[0].loop);
    gv_loop_join(nodes[0].loop);
    CU_ASSERT_TRUE_FATAL(gv_forest_record(nodes[0].forest, GV_MESH_KEY, chain, GV_MESH_CHAIN, index,
                                          gv_clock_wall_ms(), &operation));
    for (int i = 0; i < 1 << 17; i++) { /* twice what an inbox holds */
        gv_cluster_publish(nodes[0].cluster, &operation);
    }
    gv_mesh_record(&nodes[0], WORKER, lost, GV_MESH_CHAIN);
    CU_ASSERT_EQUAL_FATAL(gv_loop_start(nodes[0].loop), GV_OK);
    GV_MESH_AWAIT(gv_mesh_counters(&nodes[0]).publish_dropped > 0);
    GV_MESH_AWAIT(gv_mesh_depth(&nodes[1], WORKER, lost, GV_MESH_CHAIN) == GV_MESH_CHAIN);
    GV_MESH_AWAIT(gv_mesh_depth(&nodes[2], WORKER, lost, GV_MESH_CHAIN) == GV_MESH_CHAIN);
    GV_MESH_AWAIT(gv_mesh_same_digest(&nodes[0], &nodes[1]) &&
                  gv_mesh_same_digest(&nodes[0], &nodes[2]));
    gv_mesh_kill_three(nodes);
}

static bool file_says(const char *path, const char *what)
{
    char text[512] = "";
    FILE *file = fopen(path, "r");
    if (file != NULL) {
        size_t got = fread(text, 1, sizeof text - 1, file);
        text[got] = '\0';
        (void)fclose(file);
    }
    return strstr(text, what) != NULL;
}

static void a_node_with_a_state_directory_finds_the_others_without_a_seed(void)
{
    static struct gv_mesh_node nodes[3];
    char dir[] = "/tmp/test_mesh_state_XXXXXX";
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
    gv_mesh_prepare(&nodes[0], "a");
    gv_mesh_start(&nodes[0]);
    gv_mesh_prepare(&nodes[1], "b");
    gv_mesh_add_seed(&nodes[1], &nodes[0]);
    (void)snprintf(nodes[1].state_dir, sizeof nodes[1].state_dir, "%s", dir);
    gv_mesh_start(&nodes[1]);
    GV_MESH_AWAIT(gv_mesh_alive(&nodes[0]) == 2);
    char path[160];
    (void)snprintf(path, sizeof path, "%s/mesh.state", dir);
    GV_MESH_AWAIT(file_says(path, "member "));
    /* What it says above its first incarnation is kept too: after a restart it must go on above. */
    struct gv_cluster_view view;
    char line[64];
    gv_cluster_set_ready(nodes[1].cluster, true);
    CU_ASSERT_EQUAL_FATAL(gv_cluster_view_get(nodes[1].cluster, &view), GV_OK);
    (void)snprintf(line, sizeof line, "incarnation %llu\n",
                   (unsigned long long)view.incarnation + 1);
    gv_cluster_view_deinit(&view);
    GV_MESH_AWAIT(file_says(path, line));
    gv_mesh_kill(&nodes[1]);
    GV_MESH_AWAIT(gv_mesh_status(&nodes[0], "b") == GV_MEMBER_DEAD);
    /* Killed in the middle of a write: the file of before holds, the half one is overwritten. */
    char half[168];
    (void)snprintf(half, sizeof half, "%s.new", path);
    FILE *file = fopen(half, "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    (void)fputs("grapevine-mesh 1\nincarn", file);
    (void)fclose(file);
    gv_mesh_prepare(&nodes[1], "b");
    (void)snprintf(nodes[1].state_dir, sizeof nodes[1].state_dir, "%s", dir);
    gv_mesh_start(&nodes[1]);
    GV_MESH_AWAIT(gv_mesh_alive(&nodes[1]) == 2);
    GV_MESH_AWAIT(gv_mesh_status(&nodes[0], "b") == GV_MEMBER_ALIVE);
    CU_ASSERT_NOT_EQUAL(access(half, F_OK), 0);
    gv_mesh_kill(&nodes[0]);
    gv_mesh_kill(&nodes[1]);
    (void)unlink(path);
    (void)snprintf(path, sizeof path, "%s/node.key", dir);
    (void)unlink(path);
    CU_ASSERT_EQUAL(rmdir(dir), 0);
}

/* Also one that a crash cut short, or another program wrote: told, and then written anew. */
static void a_state_that_makes_no_sense_is_told_and_written_anew(void)
{
    static const char *const texts[] = {"", "garbage", "grapevine-mes", "\xff\xfe\x00\x01"};
    char dir[] = "/tmp/test_mesh_state_XXXXXX";
    char path[160];
    char key_path[160];
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/mesh.state", dir);
    (void)snprintf(key_path, sizeof key_path, "%s/node.key", dir);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        static struct gv_mesh_node node;
        const char *const files[] = {path, key_path};
        for (int k = 0; k < 2; k++) {
            FILE *file = fopen(files[k], "w");
            CU_ASSERT_PTR_NOT_NULL_FATAL(file);
            (void)fputs(texts[i], file);
            (void)fclose(file);
            CU_ASSERT_EQUAL(chmod(files[k], k == 1 && i == 1 ? 0644 : 0600), 0);
        }
        gv_logbook_open();
        gv_mesh_prepare(&node, "a");
        (void)snprintf(node.state_dir, sizeof node.state_dir, "%s", dir);
        gv_mesh_start(&node);
        GV_MESH_AWAIT(gv_logbook_lines("state.nonsense", "mesh.state", "written anew") == 1);
        GV_MESH_AWAIT(gv_logbook_lines("state.no_identity", "node.key",
                                       i == 1 ? "chmod 600" : "it is no node key") == 1);
        GV_MESH_AWAIT(file_says(path, "grapevine-mesh 1\nincarnation "));
        CU_ASSERT_EQUAL(gv_mesh_alive(&node), 1);
        gv_mesh_kill(&node);
        gv_logbook_close();
    }
    (void)unlink(path);
    (void)unlink(key_path);
    CU_ASSERT_EQUAL(rmdir(dir), 0);
}

/* ---- how fast ----------------------------------------------------------------------------------
 */

static int by_value(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

/* Figures for people; what is checked is only that all of them arrive. */
static void operations_are_visible_on_all_nodes(void)
{
    enum {
        ROUNDS = 200
    };
    static struct gv_mesh_node nodes[3];
    uint64_t took_us[ROUNDS];
    uint64_t chain[GV_MESH_CHAIN];
    gv_mesh_start_three(nodes);
    for (uint64_t i = 0; i < ROUNDS; i++) {
        gv_mesh_chain(chain, 100 + i);
        uint64_t from_us = gv_clock_us();
        gv_mesh_record(&nodes[i % 3], WORKER, chain, GV_MESH_CHAIN);
        uint64_t until_us = from_us + UINT64_C(1000) * GV_MESH_DEADLINE_MS;
        struct timespec pause = {.tv_nsec = 100000};
        for (int k = 0; k < 3; k++) {
            while (gv_mesh_depth(&nodes[k], WORKER, chain, GV_MESH_CHAIN) != GV_MESH_CHAIN &&
                   gv_clock_us() < until_us) {
                nanosleep(&pause, NULL);
            }
            CU_ASSERT_EQUAL_FATAL(gv_mesh_depth(&nodes[k], WORKER, chain, GV_MESH_CHAIN),
                                  GV_MESH_CHAIN);
        }
        took_us[i] = gv_clock_us() - from_us;
    }
    qsort(took_us, ROUNDS, sizeof took_us[0], by_value);
    printf("visible on all three: p50 %.2f ms, p99 %.2f ms, worst %.2f ms\n",
           (double)took_us[ROUNDS / 2] / 1e3, (double)took_us[ROUNDS * 99 / 100] / 1e3,
           (double)took_us[ROUNDS - 1] / 1e3);
    gv_mesh_kill_three(nodes);
}
GV_SUITE("integration/mesh", GV_CASE(what_one_node_records_all_nodes_hold),
         GV_CASE(a_very_long_prompt_arrives_whole),
         GV_CASE(a_worker_added_anywhere_is_everywhere_but_its_key_stays),
         GV_CASE(a_removed_worker_is_gone_everywhere_and_owns_nothing_when_it_returns),
         GV_CASE(loads_are_summed_over_nodes_and_vanish_with_them),
         GV_CASE(what_a_node_thinks_of_a_worker_the_others_can_show),
         GV_CASE(what_was_thought_of_a_worker_goes_when_it_is_removed),
         GV_CASE(a_record_with_numbers_that_no_operator_may_set_is_the_usual_on_all_nodes),
         GV_CASE(a_killed_node_is_declared_dead_and_gets_everything_back),
         GV_CASE(a_node_that_leaves_is_known_to_have_left), GV_CASE(readiness_is_told),
         GV_CASE(a_lone_node_needs_no_socket),
         GV_CASE(a_node_with_a_state_directory_finds_the_others_without_a_seed),
         GV_CASE(a_state_that_makes_no_sense_is_told_and_written_anew),
         GV_CASE(what_found_no_room_is_told_again), GV_CASE(operations_are_visible_on_all_nodes))
