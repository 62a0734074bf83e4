/*
 * test_mesh.c - three clusters in one process, each with a loop and thread of its own, over real
 * sockets on loopback: what one knows all know, who dies is missed, who differs stays out.
 *
 * Nothing here sleeps for a fixed time: conditions are looked at every millisecond, up to a
 * deadline that only a broken mesh reaches.
 */
#include "grapevine/base/lock.h"
#include "grapevine/base/log.h"
#include "grapevine/cluster/cluster.h"
#include "grapevine/cluster/view.h"
#include "grapevine/seal/keyring.h"
#include "support/suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define DEADLINE_MS 20000
#define CHAIN       40
#define KEY         "regular::m"
#define WORKER      "http://10.1.1.1:8000"
#define OTHER       "http://10.1.1.2:8000"

struct node {
    char name[16];
    char cluster_id[32];
    char seed_text[4][GV_ADDR_TEXT_BYTES];
    char *seed_items[4];
    char state_dir[128];
    struct gv_config config;
    struct gv_fleet *fleet;
    struct gv_forest *forest;
    struct gv_load_table *load;
    struct gv_loop *loop;
    struct gv_cluster *cluster;
    bool runs;
};

/* ---- the stage ---------------------------------------------------------------------------------
 */

static void nap(void)
{
    struct timespec pause = {.tv_nsec = 1000000};
    nanosleep(&pause, NULL);
}

#define AWAIT(condition)                                                                           \
    do {                                                                                           \
        uint64_t until_us = gv_clock_us() + UINT64_C(1000) * DEADLINE_MS;                          \
        while (!(condition) && gv_clock_us() < until_us) {                                         \
            nap();                                                                                 \
        }                                                                                          \
        CU_ASSERT_TRUE_FATAL(condition);                                                           \
    } while (0)

static void prepare(struct node *node, const char *name)
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

static void add_seed(struct node *node, const struct node *seed)
{
    struct gv_addr addr = gv_cluster_addr(seed->cluster);
    size_t at = node->config.seeds.count;
    CU_ASSERT_TRUE_FATAL(at < 4);
    node->seed_items[at] = node->seed_text[at];
    (void)gv_addr_format(&addr, node->seed_text[at]);
    node->config.seeds.items = node->seed_items;
    node->config.seeds.count = at + 1;
}

static void start_with(struct node *node, const struct gv_keyring *keyring)
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

static void start(struct node *node)
{
    start_with(node, NULL);
}

/* Without a word: the sockets are gone, as when the process is killed. */
static void kill_node(struct node *node)
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

static uint32_t status_of(struct node *node, const char *name)
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

static uint32_t alive_count(struct node *node)
{
    struct gv_cluster_view view;
    CU_ASSERT_EQUAL_FATAL(gv_cluster_view_get(node->cluster, &view), GV_OK);
    uint32_t count = view.status_count[GV_MEMBER_ALIVE];
    gv_cluster_view_deinit(&view);
    return count;
}

static struct gv_cluster_counters counters_of(struct node *node)
{
    struct gv_cluster_view view;
    CU_ASSERT_EQUAL_FATAL(gv_cluster_view_get(node->cluster, &view), GV_OK);
    struct gv_cluster_counters counters = view.cluster;
    gv_cluster_view_deinit(&view);
    return counters;
}

static void start_three(struct node nodes[3])
{
    const char *const names[] = {"a", "b", "c"};
    for (int i = 0; i < 3; i++) {
        prepare(&nodes[i], names[i]);
        if (i > 0) {
            add_seed(&nodes[i], &nodes[0]);
        }
        start(&nodes[i]);
    }
    for (int i = 0; i < 3; i++) {
        AWAIT(alive_count(&nodes[i]) == 3);
        AWAIT(gv_cluster_is_synced(nodes[i].cluster));
    }
}

static void kill_three(struct node nodes[3])
{
    for (int i = 0; i < 3; i++) {
        kill_node(&nodes[i]);
    }
}

/* ---- what a node knows -------------------------------------------------------------------------
 */

static void make_chain(uint64_t chain[CHAIN], uint64_t seed)
{
    for (uint64_t i = 0; i < CHAIN; i++) {
        chain[i] = (seed << 32) + i + 1;
    }
}

static uint32_t depth(struct node *node, const char *url, const uint64_t *chain, uint32_t count)
{
    uint32_t index;
    uint32_t found = 0;
    CU_ASSERT_EQUAL_FATAL(gv_fleet_index(node->fleet, gv_slice_text(url), &index), GV_OK);
    gv_forest_match(node->forest, KEY, chain, count, &index, 1, &found);
    return found;
}

/* As the data path does it: apply and publish. */
static void record(struct node *node, const char *url, const uint64_t *chain, uint32_t count)
{
    uint32_t index;
    struct gv_operation operation;
    CU_ASSERT_EQUAL_FATAL(gv_fleet_index(node->fleet, gv_slice_text(url), &index), GV_OK);
    CU_ASSERT_TRUE_FATAL(
        gv_forest_record(node->forest, KEY, chain, count, index, gv_clock_wall_ms(), &operation));
    gv_cluster_publish(node->cluster, &operation);
}

static bool has_worker(struct node *node, const char *url)
{
    const struct gv_fleet_view *view = gv_fleet_acquire(node->fleet);
    bool has = gv_fleet_find(view, gv_slice_text(url)) != NULL;
    gv_fleet_release(node->fleet, view);
    return has;
}

static struct gv_worker worker_of(const char *url)
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

static void put(struct node *node, const char *url)
{
    struct gv_worker worker = worker_of(url);
    CU_ASSERT_EQUAL_FATAL(gv_cluster_put_worker(node->cluster, &worker), GV_OK);
}

static bool same_digest(struct node *left, struct node *right)
{
    uint8_t a[16];
    uint8_t b[16];
    CU_ASSERT_EQUAL_FATAL(gv_cluster_deep_digest(left->cluster, a), GV_OK);
    CU_ASSERT_EQUAL_FATAL(gv_cluster_deep_digest(right->cluster, b), GV_OK);
    return memcmp(a, b, sizeof a) == 0;
}

/* ---- stories -----------------------------------------------------------------------------------
 */

static void what_one_node_records_all_nodes_hold(void)
{
    static struct node nodes[3];
    uint64_t chain[CHAIN];
    start_three(nodes);
    make_chain(chain, 1);
    record(&nodes[0], WORKER, chain, CHAIN);
    AWAIT(depth(&nodes[1], WORKER, chain, CHAIN) == CHAIN);
    AWAIT(depth(&nodes[2], WORKER, chain, CHAIN) == CHAIN);
    make_chain(chain, 2);
    record(&nodes[2], OTHER, chain, CHAIN);
    AWAIT(depth(&nodes[0], OTHER, chain, CHAIN) == CHAIN);
    CU_ASSERT_EQUAL(depth(&nodes[0], WORKER, chain, CHAIN), 0);
    AWAIT(same_digest(&nodes[0], &nodes[1]) && same_digest(&nodes[0], &nodes[2]));
    kill_three(nodes);
}

/* Longer than one message may be: it travels in runs and arrives whole. */
static void a_very_long_prompt_arrives_whole(void)
{
    static struct node nodes[3];
    enum {
        LONG = 20000
    };
    uint64_t *chain = calloc(LONG, sizeof *chain);
    CU_ASSERT_PTR_NOT_NULL_FATAL(chain);
    for (uint64_t i = 0; i < LONG; i++) {
        chain[i] = (UINT64_C(7) << 32) + i + 1;
    }
    start_three(nodes);
    record(&nodes[1], WORKER, chain, LONG);
    AWAIT(depth(&nodes[0], WORKER, chain, LONG) == LONG);
    AWAIT(depth(&nodes[2], WORKER, chain, LONG) == LONG);
    kill_three(nodes);
    free(chain);
}

static void a_worker_added_anywhere_is_everywhere_but_its_key_stays(void)
{
    static struct node nodes[3];
    start_three(nodes);
    put(&nodes[0], WORKER);
    for (int i = 0; i < 3; i++) {
        AWAIT(has_worker(&nodes[i], WORKER));
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
    kill_three(nodes);
}

static void a_removed_worker_is_gone_everywhere_and_owns_nothing_when_it_returns(void)
{
    static struct node nodes[3];
    uint64_t chain[CHAIN];
    start_three(nodes);
    make_chain(chain, 3);
    put(&nodes[0], WORKER);
    AWAIT(has_worker(&nodes[1], WORKER));
    record(&nodes[2], WORKER, chain, CHAIN);
    for (int i = 0; i < 3; i++) {
        AWAIT(has_worker(&nodes[i], WORKER));
        AWAIT(depth(&nodes[i], WORKER, chain, CHAIN) == CHAIN);
    }
    CU_ASSERT_EQUAL(gv_cluster_delete_worker(nodes[1].cluster, WORKER), GV_OK);
    for (int i = 0; i < 3; i++) {
        AWAIT(!has_worker(&nodes[i], WORKER));
        AWAIT(depth(&nodes[i], WORKER, chain, CHAIN) == 0);
    }
    put(&nodes[2], WORKER);
    for (int i = 0; i < 3; i++) {
        AWAIT(has_worker(&nodes[i], WORKER));
        CU_ASSERT_EQUAL(depth(&nodes[i], WORKER, chain, CHAIN), 0);
    }
    record(&nodes[0], WORKER, chain, CHAIN / 2);
    for (int i = 0; i < 3; i++) {
        AWAIT(depth(&nodes[i], WORKER, chain, CHAIN) == CHAIN / 2);
    }
    AWAIT(same_digest(&nodes[0], &nodes[1]) && same_digest(&nodes[0], &nodes[2]));
    kill_three(nodes);
}

static uint32_t remote_count(struct node *node, const char *url)
{
    uint32_t index;
    CU_ASSERT_EQUAL_FATAL(gv_fleet_index(node->fleet, gv_slice_text(url), &index), GV_OK);
    return gv_load_get(node->load, index).remote_count;
}

static void loads_are_summed_over_nodes_and_vanish_with_them(void)
{
    static struct node nodes[3];
    start_three(nodes);
    put(&nodes[0], WORKER);
    for (int i = 0; i < 3; i++) {
        AWAIT(has_worker(&nodes[i], WORKER));
    }
    uint32_t index;
    CU_ASSERT_EQUAL_FATAL(gv_fleet_index(nodes[1].fleet, gv_slice_text(WORKER), &index), GV_OK);
    gv_load_take(nodes[1].load, index, 1000);
    gv_load_take(nodes[1].load, index, 1000);
    CU_ASSERT_EQUAL_FATAL(gv_fleet_index(nodes[2].fleet, gv_slice_text(WORKER), &index), GV_OK);
    gv_load_take(nodes[2].load, index, 500);
    AWAIT(remote_count(&nodes[0], WORKER) == 3);
    AWAIT(remote_count(&nodes[1], WORKER) == 1);
    AWAIT(remote_count(&nodes[2], WORKER) == 2);
    kill_node(&nodes[1]);
    AWAIT(remote_count(&nodes[0], WORKER) == 1);
    gv_load_give(nodes[2].load, index, 500);
    AWAIT(remote_count(&nodes[0], WORKER) == 0);
    kill_three(nodes);
}

static bool has_opinion(struct node *node, const char *of, enum gv_worker_state state)
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
    static struct node nodes[3];
    start_three(nodes);
    put(&nodes[0], WORKER);
    AWAIT(has_worker(&nodes[1], WORKER));
    gv_cluster_set_health(nodes[1].cluster, WORKER, GV_WORKER_NOT_READY, "3 probes failed");
    AWAIT(has_opinion(&nodes[0], "b", GV_WORKER_NOT_READY));
    AWAIT(has_opinion(&nodes[2], "b", GV_WORKER_NOT_READY));
    gv_cluster_set_health(nodes[1].cluster, WORKER, GV_WORKER_READY, "");
    AWAIT(has_opinion(&nodes[0], "b", GV_WORKER_READY));
    kill_node(&nodes[1]);
    AWAIT(!has_opinion(&nodes[0], "b", GV_WORKER_READY));
    kill_three(nodes);
}

static void a_killed_node_is_declared_dead_and_gets_everything_back(void)
{
    static struct node nodes[3];
    uint64_t chain[CHAIN];
    start_three(nodes);
    put(&nodes[0], WORKER);
    make_chain(chain, 4);
    record(&nodes[1], WORKER, chain, CHAIN);
    AWAIT(depth(&nodes[0], WORKER, chain, CHAIN) == CHAIN);
    AWAIT(depth(&nodes[2], WORKER, chain, CHAIN) == CHAIN);
    kill_node(&nodes[1]);
    uint64_t killed_us = gv_clock_us();
    AWAIT(status_of(&nodes[0], "b") == GV_MEMBER_DEAD);
    AWAIT(status_of(&nodes[2], "b") == GV_MEMBER_DEAD);
    printf("dead on all after %.0f ms\n", (double)(gv_clock_us() - killed_us) / 1e3);
    uint64_t later[CHAIN];
    make_chain(later, 5);
    record(&nodes[2], WORKER, later, CHAIN);

    prepare(&nodes[1], "b");
    add_seed(&nodes[1], &nodes[2]);
    start(&nodes[1]);
    AWAIT(gv_cluster_is_synced(nodes[1].cluster));
    CU_ASSERT_TRUE(has_worker(&nodes[1], WORKER));
    CU_ASSERT_EQUAL(depth(&nodes[1], WORKER, chain, CHAIN), CHAIN);
    CU_ASSERT_EQUAL(depth(&nodes[1], WORKER, later, CHAIN), CHAIN);
    AWAIT(status_of(&nodes[0], "b") == GV_MEMBER_ALIVE);
    AWAIT(same_digest(&nodes[0], &nodes[1]) && same_digest(&nodes[2], &nodes[1]));
    kill_three(nodes);
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
    static struct node nodes[3];
    static struct flag left;
    left.is_up = false;
    gv_mutex_init(&left.lock);
    start_three(nodes);
    gv_cluster_leave(nodes[2].cluster, raise_flag, &left);
    AWAIT(status_of(&nodes[0], "c") == GV_MEMBER_LEFT);
    AWAIT(status_of(&nodes[1], "c") == GV_MEMBER_LEFT);
    AWAIT(is_up(&left));
    kill_three(nodes);
    gv_mutex_deinit(&left.lock);
}

static void readiness_is_told(void)
{
    static struct node nodes[3];
    start_three(nodes);
    gv_cluster_set_ready(nodes[0].cluster, true);
    bool ready = false;
    for (int i = 0; i < DEADLINE_MS && !ready; i++) {
        struct gv_cluster_view view;
        CU_ASSERT_EQUAL_FATAL(gv_cluster_view_get(nodes[2].cluster, &view), GV_OK);
        for (uint32_t k = 0; k < view.member_count; k++) {
            ready = ready || (strcmp(view.members[k].name, "a") == 0 && view.members[k].ready);
        }
        gv_cluster_view_deinit(&view);
        nap();
    }
    CU_ASSERT_TRUE(ready);
    kill_three(nodes);
}

static void a_lone_node_needs_no_socket(void)
{
    static struct node node;
    prepare(&node, "alone");
    node.config.enable_mesh = 0;
    start(&node);
    struct gv_addr addr = gv_cluster_addr(node.cluster);
    CU_ASSERT_TRUE(gv_addr_is_unspecified(&addr));
    AWAIT(gv_cluster_is_synced(node.cluster));
    put(&node, WORKER);
    AWAIT(has_worker(&node, WORKER));
    uint64_t chain[CHAIN];
    make_chain(chain, 6);
    record(&node, WORKER, chain, CHAIN);
    CU_ASSERT_EQUAL(gv_cluster_delete_worker(node.cluster, WORKER), GV_OK);
    AWAIT(!has_worker(&node, WORKER) && depth(&node, WORKER, chain, CHAIN) == 0);
    kill_node(&node);
}

/* ---- who stays out -----------------------------------------------------------------------------
 */

static char log_path[] = "/tmp/test_mesh_log_XXXXXX";
static int log_fd = -1;

static void open_log(void)
{
    (void)strcpy(log_path, "/tmp/test_mesh_log_XXXXXX");
    log_fd = mkstemp(log_path);
    CU_ASSERT_TRUE_FATAL(log_fd >= 0);
    CU_ASSERT_EQUAL_FATAL(gv_log_open((struct gv_log_options){.level = GV_LOG_INFO, .fd = log_fd}),
                          GV_OK);
}

static void close_log(void)
{
    gv_log_close();
    (void)close(log_fd);
    (void)unlink(log_path);
}

/* How many lines of the log hold all three texts. */
static int lines_with(const char *one, const char *two, const char *three)
{
    FILE *file = fopen(log_path, "r");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    char line[4096];
    int count = 0;
    while (fgets(line, sizeof line, file) != NULL) {
        count +=
            strstr(line, one) != NULL && strstr(line, two) != NULL && strstr(line, three) != NULL;
    }
    (void)fclose(file);
    return count;
}

static void another_cluster_id_is_refused_by_both_sides_with_both_values(void)
{
    static struct node left;
    static struct node right;
    open_log();
    prepare(&left, "left");
    start(&left);
    prepare(&right, "right");
    (void)snprintf(right.cluster_id, sizeof right.cluster_id, "elsewhere");
    add_seed(&right, &left);
    start(&right);
    AWAIT(lines_with("mesh.refused", "ours=test", "theirs=elsewhere") == 1);
    AWAIT(lines_with("mesh.refused", "ours=elsewhere", "theirs=test") == 1);
    AWAIT(counters_of(&left).refused_cluster >= 1 && counters_of(&right).refused_cluster >= 1);
    CU_ASSERT_EQUAL(alive_count(&left), 1);
    CU_ASSERT_EQUAL(alive_count(&right), 1);
    kill_node(&left);
    kill_node(&right);
    close_log();
}

static void another_block_size_is_refused_by_both_sides_with_both_values(void)
{
    static struct node left;
    static struct node right;
    open_log();
    prepare(&left, "left");
    start(&left);
    prepare(&right, "right");
    right.config.block_bytes = 128;
    add_seed(&right, &left);
    start(&right);
    AWAIT(lines_with("what=block_bytes", "ours=256", "theirs=128") == 1);
    AWAIT(lines_with("what=block_bytes", "ours=128", "theirs=256") == 1);
    AWAIT(counters_of(&left).refused_block >= 1 && counters_of(&right).refused_block >= 1);
    kill_node(&left);
    kill_node(&right);
    close_log();
}

static struct gv_keyring *make_keyring(char id_text[GV_KEY_ID_TEXT_BYTES])
{
    struct gv_keyring *ring = gv_keyring_new();
    struct gv_key_id id;
    CU_ASSERT_PTR_NOT_NULL_FATAL(ring);
    CU_ASSERT_EQUAL_FATAL(gv_keyring_generate(ring, &id), GV_OK);
    (void)gv_key_id_format(id, id_text);
    return ring;
}

static void another_key_is_refused_by_both_sides_with_both_ids(void)
{
    static struct node left;
    static struct node right;
    char left_id[GV_KEY_ID_TEXT_BYTES];
    char right_id[GV_KEY_ID_TEXT_BYTES];
    struct gv_keyring *left_ring = make_keyring(left_id);
    struct gv_keyring *right_ring = make_keyring(right_id);
    open_log();
    prepare(&left, "left");
    start_with(&left, left_ring);
    prepare(&right, "right");
    add_seed(&right, &left);
    start_with(&right, right_ring);
    char ours[64];
    char theirs[64];
    (void)snprintf(ours, sizeof ours, "ours=%s", left_id);
    (void)snprintf(theirs, sizeof theirs, "theirs=%s", right_id);
    AWAIT(lines_with("what=key", ours, theirs) == 1);
    (void)snprintf(ours, sizeof ours, "ours=%s", right_id);
    (void)snprintf(theirs, sizeof theirs, "theirs=%s", left_id);
    AWAIT(lines_with("what=key", ours, theirs) == 1);
    AWAIT(counters_of(&left).refused_key >= 1 && counters_of(&right).refused_key >= 1);
    kill_node(&left);
    kill_node(&right);
    close_log();
    gv_keyring_free(left_ring);
    gv_keyring_free(right_ring);
}

static void no_key_and_a_key_do_not_come_together(void)
{
    static struct node left;
    static struct node right;
    char id[GV_KEY_ID_TEXT_BYTES];
    struct gv_keyring *ring = make_keyring(id);
    prepare(&left, "left");
    start_with(&left, ring);
    prepare(&right, "right");
    add_seed(&right, &left);
    start(&right);
    AWAIT(counters_of(&left).refused_key >= 1 && counters_of(&right).refused_key >= 1);
    CU_ASSERT_EQUAL(alive_count(&left), 1);
    kill_node(&left);
    kill_node(&right);
    gv_keyring_free(ring);
}

static void with_one_key_everything_is_sealed_and_works(void)
{
    static struct node nodes[2];
    char id[GV_KEY_ID_TEXT_BYTES];
    struct gv_keyring *ring = make_keyring(id);
    uint64_t chain[CHAIN];
    prepare(&nodes[0], "a");
    start_with(&nodes[0], ring);
    prepare(&nodes[1], "b");
    add_seed(&nodes[1], &nodes[0]);
    start_with(&nodes[1], ring);
    AWAIT(alive_count(&nodes[0]) == 2 && alive_count(&nodes[1]) == 2);
    make_chain(chain, 8);
    record(&nodes[0], WORKER, chain, CHAIN);
    AWAIT(depth(&nodes[1], WORKER, chain, CHAIN) == CHAIN);
    struct gv_cluster_view view;
    CU_ASSERT_EQUAL_FATAL(gv_cluster_view_get(nodes[1].cluster, &view), GV_OK);
    CU_ASSERT_TRUE(view.encrypted);
    CU_ASSERT_TRUE(view.session_count > 0 && view.sessions[0].encrypted);
    CU_ASSERT_EQUAL(view.cluster.packets_replayed, 0);
    gv_cluster_view_deinit(&view);
    kill_node(&nodes[0]);
    kill_node(&nodes[1]);
    gv_keyring_free(ring);
}

static void without_keys_only_loopback_is_bound(void)
{
    static struct node node;
    prepare(&node, "open");
    node.config.mesh_host = "0.0.0.0";
    CU_ASSERT_EQUAL_FATAL(gv_fleet_new(&node.fleet), GV_OK);
    CU_ASSERT_EQUAL_FATAL(gv_load_new(&node.load), GV_OK);
    CU_ASSERT_EQUAL_FATAL(gv_loop_new("open", &node.loop), GV_OK);
    struct gv_forest_limits limits = {.max_bytes = 1 << 20, .max_keys = 4, .worker_blocks = 100};
    CU_ASSERT_EQUAL_FATAL(gv_forest_new(limits, &node.forest), GV_OK);
    struct gv_cluster_options options = {.config = &node.config,
                                         .node = node.name,
                                         .http_url = "",
                                         .fleet = node.fleet,
                                         .forest = node.forest,
                                         .load = node.load};
    CU_ASSERT_EQUAL(gv_cluster_open(node.loop, &options, &node.cluster), GV_EAUTH);
    node.config.mesh_insecure = 1;
    CU_ASSERT_EQUAL_FATAL(gv_cluster_open(node.loop, &options, &node.cluster), GV_OK);
    struct gv_cluster_view view;
    CU_ASSERT_EQUAL_FATAL(gv_cluster_view_get(node.cluster, &view), GV_OK);
    CU_ASSERT_FALSE(gv_addr_is_unspecified(&view.advertised)); /* never 0.0.0.0 */
    CU_ASSERT_EQUAL(view.advertised.port, view.bound.port);
    gv_cluster_view_deinit(&view);
    node.runs = true;
    kill_node(&node);
}

/* ---- what survives -----------------------------------------------------------------------------
 */

/* The mesh thread stands still until its inbox overflows; what was lost is told again. */
static void what_found_no_room_is_told_again(void)
{
    static struct node nodes[3];
    uint64_t chain[CHAIN];
    uint64_t lost[CHAIN];
    start_three(nodes);
    make_chain(chain, 9);
    make_chain(lost, 10);
    uint32_t index;
    struct gv_operation operation;
    CU_ASSERT_EQUAL_FATAL(gv_fleet_index(nodes[0].fleet, gv_slice_text(WORKER), &index), GV_OK);
    gv_loop_stop(nodes[0].loop);
    gv_loop_join(nodes[0].loop);
    CU_ASSERT_TRUE_FATAL(gv_forest_record(nodes[0].forest, KEY, chain, CHAIN, index,
                                          gv_clock_wall_ms(), &operation));
    for (int i = 0; i < 1 << 17; i++) { /* twice what an inbox holds */
        gv_cluster_publish(nodes[0].cluster, &operation);
    }
    record(&nodes[0], WORKER, lost, CHAIN);
    CU_ASSERT_EQUAL_FATAL(gv_loop_start(nodes[0].loop), GV_OK);
    AWAIT(counters_of(&nodes[0]).publish_dropped > 0);
    AWAIT(depth(&nodes[1], WORKER, lost, CHAIN) == CHAIN);
    AWAIT(depth(&nodes[2], WORKER, lost, CHAIN) == CHAIN);
    AWAIT(same_digest(&nodes[0], &nodes[1]) && same_digest(&nodes[0], &nodes[2]));
    kill_three(nodes);
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
    static struct node nodes[3];
    char dir[] = "/tmp/test_mesh_state_XXXXXX";
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
    prepare(&nodes[0], "a");
    start(&nodes[0]);
    prepare(&nodes[1], "b");
    add_seed(&nodes[1], &nodes[0]);
    (void)snprintf(nodes[1].state_dir, sizeof nodes[1].state_dir, "%s", dir);
    start(&nodes[1]);
    AWAIT(alive_count(&nodes[0]) == 2);
    char path[160];
    (void)snprintf(path, sizeof path, "%s/mesh.state", dir);
    AWAIT(file_says(path, "member "));
    kill_node(&nodes[1]);
    AWAIT(status_of(&nodes[0], "b") == GV_MEMBER_DEAD);
    prepare(&nodes[1], "b");
    (void)snprintf(nodes[1].state_dir, sizeof nodes[1].state_dir, "%s", dir);
    start(&nodes[1]);
    AWAIT(alive_count(&nodes[1]) == 2);
    AWAIT(status_of(&nodes[0], "b") == GV_MEMBER_ALIVE);
    kill_node(&nodes[0]);
    kill_node(&nodes[1]);
    (void)unlink(path);
    (void)snprintf(path, sizeof path, "%s/node.key", dir);
    (void)unlink(path);
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
    static struct node nodes[3];
    uint64_t took_us[ROUNDS];
    uint64_t chain[CHAIN];
    start_three(nodes);
    for (uint64_t i = 0; i < ROUNDS; i++) {
        make_chain(chain, 100 + i);
        uint64_t from_us = gv_clock_us();
        record(&nodes[i % 3], WORKER, chain, CHAIN);
        uint64_t until_us = from_us + UINT64_C(1000) * DEADLINE_MS;
        struct timespec pause = {.tv_nsec = 100000};
        for (int k = 0; k < 3; k++) {
            while (depth(&nodes[k], WORKER, chain, CHAIN) != CHAIN && gv_clock_us() < until_us) {
                nanosleep(&pause, NULL);
            }
            CU_ASSERT_EQUAL_FATAL(depth(&nodes[k], WORKER, chain, CHAIN), CHAIN);
        }
        took_us[i] = gv_clock_us() - from_us;
    }
    qsort(took_us, ROUNDS, sizeof took_us[0], by_value);
    printf("visible on all three: p50 %.2f ms, p99 %.2f ms, worst %.2f ms\n",
           (double)took_us[ROUNDS / 2] / 1e3, (double)took_us[ROUNDS * 99 / 100] / 1e3,
           (double)took_us[ROUNDS - 1] / 1e3);
    kill_three(nodes);
}

GV_SUITE("integration/mesh", GV_CASE(what_one_node_records_all_nodes_hold),
         GV_CASE(a_very_long_prompt_arrives_whole),
         GV_CASE(a_worker_added_anywhere_is_everywhere_but_its_key_stays),
         GV_CASE(a_removed_worker_is_gone_everywhere_and_owns_nothing_when_it_returns),
         GV_CASE(loads_are_summed_over_nodes_and_vanish_with_them),
         GV_CASE(what_a_node_thinks_of_a_worker_the_others_can_show),
         GV_CASE(a_killed_node_is_declared_dead_and_gets_everything_back),
         GV_CASE(a_node_that_leaves_is_known_to_have_left), GV_CASE(readiness_is_told),
         GV_CASE(a_lone_node_needs_no_socket),
         GV_CASE(another_cluster_id_is_refused_by_both_sides_with_both_values),
         GV_CASE(another_block_size_is_refused_by_both_sides_with_both_values),
         GV_CASE(another_key_is_refused_by_both_sides_with_both_ids),
         GV_CASE(no_key_and_a_key_do_not_come_together),
         GV_CASE(with_one_key_everything_is_sealed_and_works),
         GV_CASE(without_keys_only_loopback_is_bound),
         GV_CASE(a_node_with_a_state_directory_finds_the_others_without_a_seed),
         GV_CASE(what_found_no_room_is_told_again), GV_CASE(operations_are_visible_on_all_nodes))
