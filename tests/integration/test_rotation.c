/*
 * test_rotation.c - the key ring of three real nodes in one process is changed while they work:
 * nobody is refused, nothing is lost; who was away is told why it stays out.
 */
#include "grapevine/base/lock.h"
#include "grapevine/base/log.h"
#include "grapevine/cluster/keys.h"
#include "grapevine/cluster/view.h"
#include "support/suite.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DEADLINE_MS 20000
#define CHAIN       8
#define CHAINS_MAX  4096
#define KEY         "regular::m"
#define WORKER      "http://10.1.1.1:8000"

struct node {
    char name[16];
    char seed_text[GV_ADDR_TEXT_BYTES];
    char *seed_items[1];
    char ring_path[160];
    char cluster_id[32];
    struct gv_config config;
    struct gv_fleet *fleet;
    struct gv_forest *forest;
    struct gv_load_table *load;
    struct gv_loop *loop;
    struct gv_cluster *cluster;
    bool runs;
};

static char folder[64];
static struct node nodes[3];
static struct gv_keyring *present; /* what all begin with */
static struct gv_keyring *fresh;   /* the operator's new key */
static struct gv_key_id old_id;
static struct gv_key_id new_id;

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

static void prepare(struct node *node, const char *name, const struct node *seed)
{
    memset(node, 0, sizeof *node);
    (void)snprintf(node->name, sizeof node->name, "%s", name);
    (void)snprintf(node->cluster_id, sizeof node->cluster_id, "test");
    (void)snprintf(node->ring_path, sizeof node->ring_path, "%s/%s.keys", folder, name);
    node->config = (struct gv_config){.cluster_id = node->cluster_id,
                                      .block_bytes = 256,
                                      .mesh_host = "127.0.0.1",
                                      .mesh_advertise_host = "",
                                      .mesh_sync_timeout_ms = 10000,
                                      .max_tree_bytes = 64 << 20,
                                      .worker_api_key = "",
                                      .mesh_keyring = node->ring_path,
                                      .enable_mesh = 1};
    if (seed != NULL) {
        struct gv_addr addr = gv_cluster_addr(seed->cluster);
        node->seed_items[0] = node->seed_text;
        (void)gv_addr_format(&addr, node->seed_text);
        node->config.seeds.items = node->seed_items;
        node->config.seeds.count = 1;
    }
    CU_ASSERT_EQUAL_FATAL(gv_keyring_save(present, node->ring_path), GV_OK);
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

static uint32_t alive_count(struct node *node)
{
    struct gv_cluster_view view;
    CU_ASSERT_EQUAL_FATAL(gv_cluster_view_get(node->cluster, &view), GV_OK);
    uint32_t count = view.status_count[GV_MEMBER_ALIVE];
    gv_cluster_view_deinit(&view);
    return count;
}

static uint32_t depth(struct node *node, const char *url, const uint64_t *chain, uint32_t count)
{
    uint32_t index;
    uint32_t found = 0;
    CU_ASSERT_EQUAL_FATAL(gv_fleet_index(node->fleet, gv_slice_text(url), &index), GV_OK);
    gv_forest_match(node->forest, KEY, chain, count, &index, 1, &found);
    return found;
}

static void record(struct node *node, const char *url, const uint64_t *chain, uint32_t count)
{
    uint32_t index;
    struct gv_operation operation;
    CU_ASSERT_EQUAL_FATAL(gv_fleet_index(node->fleet, gv_slice_text(url), &index), GV_OK);
    CU_ASSERT_TRUE_FATAL(
        gv_forest_record(node->forest, KEY, chain, count, index, gv_clock_wall_ms(), &operation));
    gv_cluster_publish(node->cluster, &operation);
}

static struct gv_cluster_counters counters_of(struct node *node, struct gv_gossip_counters *gossip)
{
    struct gv_cluster_view view;
    CU_ASSERT_EQUAL_FATAL(gv_cluster_view_get(node->cluster, &view), GV_OK);
    struct gv_cluster_counters counters = view.cluster;
    *gossip = view.gossip;
    gv_cluster_view_deinit(&view);
    return counters;
}

static uint32_t session_count(struct node *node)
{
    struct gv_cluster_view view;
    CU_ASSERT_EQUAL_FATAL(gv_cluster_view_get(node->cluster, &view), GV_OK);
    uint32_t count = view.session_count;
    gv_cluster_view_deinit(&view);
    return count;
}

static bool is_applied(struct node *node)
{
    struct gv_cluster_keys keys;
    gv_cluster_keys_list(node->cluster, &keys);
    return keys.applied;
}

static struct gv_keyring *new_ring(struct gv_key_id *id)
{
    struct gv_keyring *ring = gv_keyring_new();
    CU_ASSERT_PTR_NOT_NULL_FATAL(ring);
    CU_ASSERT_EQUAL_FATAL(gv_keyring_generate(ring, id), GV_OK);
    return ring;
}

static void begin(void)
{
    static const char *const names[] = {"a", "b", "c"};
    (void)snprintf(folder, sizeof folder, "/tmp/test_rotation_XXXXXX");
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(folder));
    present = new_ring(&old_id);
    fresh = new_ring(&new_id);
    for (int i = 0; i < 3; i++) {
        prepare(&nodes[i], names[i], i == 0 ? NULL : &nodes[0]);
        start_with(&nodes[i], present);
    }
    for (int i = 0; i < 3; i++) {
        AWAIT(alive_count(&nodes[i]) == 3 && session_count(&nodes[i]) == 2);
    }
}

static void end(void)
{
    for (int i = 0; i < 3; i++) {
        kill_node(&nodes[i]);
        (void)unlink(nodes[i].ring_path);
    }
    gv_keyring_free(present);
    gv_keyring_free(fresh);
    (void)rmdir(folder);
}

/* ---- the steps, on all nodes -------------------------------------------------------------------
 */

static void install(void)
{
    char sealed[GV_KEY_SEALED_TEXT];
    CU_ASSERT_EQUAL_FATAL(gv_keyring_seal_key(fresh, new_id, present, sealed), GV_OK);
    for (int i = 0; i < 3; i++) {
        struct gv_key_id id;
        CU_ASSERT_EQUAL(gv_cluster_keys_install(nodes[i].cluster, gv_slice_text(sealed), &id),
                        GV_OK);
        CU_ASSERT_TRUE(gv_key_id_equal(id, new_id));
    }
}

static void use(void)
{
    for (int i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(gv_cluster_keys_use(nodes[i].cluster, new_id), GV_OK);
    }
}

static void retire(void)
{
    for (int i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(gv_cluster_keys_retire(nodes[i].cluster, old_id), GV_OK);
    }
}

static void await_applied(void)
{
    for (int i = 0; i < 3; i++) {
        AWAIT(is_applied(&nodes[i]));
    }
}

/* ---- traffic -----------------------------------------------------------------------------------
 */

static _Atomic bool busy;
static uint32_t recorded[3]; /* chains by node */

static void make_chain(uint64_t chain[CHAIN], uint64_t node, uint64_t number)
{
    for (uint64_t i = 0; i < CHAIN; i++) {
        chain[i] = (node + 1) << 48 | number << 16 | (i + 1);
    }
}

static void *talk(void *unused)
{
    (void)unused;
    while (atomic_load(&busy)) {
        for (uint32_t i = 0; i < 3 && recorded[i] < CHAINS_MAX; i++) {
            uint64_t chain[CHAIN];
            make_chain(chain, i, recorded[i]++);
            record(&nodes[i], WORKER, chain, CHAIN);
        }
        nap();
    }
    return NULL;
}

static bool has_everything(struct node *node)
{
    for (uint32_t i = 0; i < 3; i++) {
        for (uint32_t n = 0; n < recorded[i]; n++) {
            uint64_t chain[CHAIN];
            make_chain(chain, i, n);
            if (depth(node, WORKER, chain, CHAIN) != CHAIN) {
                return false;
            }
        }
    }
    return true;
}

/* ---- stories -----------------------------------------------------------------------------------
 */

static void under_traffic_nobody_is_refused_and_nothing_is_lost(void)
{
    pthread_t talker;
    memset(recorded, 0, sizeof recorded);
    begin();
    atomic_store(&busy, true);
    CU_ASSERT_EQUAL_FATAL(pthread_create(&talker, NULL, talk, NULL), 0);
    install();
    await_applied();
    use();
    await_applied();
    uint64_t opened[3];
    struct gv_gossip_counters gossip;
    for (int i = 0; i < 3; i++) {
        opened[i] = counters_of(&nodes[i], &gossip).sessions_opened;
    }
    retire();
    await_applied();
    for (int i = 0; i < 3;
         i++) { /* the sessions under the old key ended, others took their place */
        AWAIT(counters_of(&nodes[i], &gossip).sessions_opened >= opened[i] + 2);
        AWAIT(session_count(&nodes[i]) == 2 && alive_count(&nodes[i]) == 3);
    }
    atomic_store(&busy, false);
    pthread_join(talker, NULL);
    CU_ASSERT_TRUE(recorded[0] > 10);
    for (int i = 0; i < 3; i++) {
        AWAIT(has_everything(&nodes[i]));
        struct gv_cluster_counters counters = counters_of(&nodes[i], &gossip);
        CU_ASSERT_EQUAL(counters.refused_key, 0);
        CU_ASSERT_EQUAL(counters.refused_handshake, 0);
        CU_ASSERT_EQUAL(gossip.deaths, 0);
        CU_ASSERT_EQUAL(gossip.forged, 0);
    }
    end();
}

static void every_step_is_in_the_file_and_prompts_keep_their_numbers(void)
{
    uint8_t before[GV_KEY_BYTES];
    uint8_t after[GV_KEY_BYTES];
    begin();
    CU_ASSERT_EQUAL(gv_keyring_fingerprint(present, before), GV_OK);
    install();
    use();
    retire();
    for (int i = 0; i < 3; i++) {
        struct gv_keyring *kept = NULL;
        struct gv_keyring_fault fault;
        struct stat about;
        CU_ASSERT_EQUAL_FATAL(gv_keyring_load(nodes[i].ring_path, &kept, &fault), GV_OK);
        CU_ASSERT_EQUAL(gv_keyring_count(kept), 1);
        CU_ASSERT_TRUE(gv_key_id_equal(gv_keyring_active(kept), new_id));
        CU_ASSERT_EQUAL(gv_keyring_fingerprint(kept, after), GV_OK);
        CU_ASSERT_EQUAL(memcmp(before, after, sizeof before), 0);
        CU_ASSERT_EQUAL(stat(nodes[i].ring_path, &about), 0);
        CU_ASSERT_EQUAL(about.st_mode & 0777, 0600);
        gv_keyring_free(kept);
    }
    end();
}

static void a_step_out_of_order_changes_nothing(void)
{
    char sealed[GV_KEY_SEALED_TEXT];
    struct gv_key_id id;
    struct gv_cluster_keys keys;
    begin();
    CU_ASSERT_EQUAL(gv_cluster_keys_use(nodes[0].cluster, new_id), GV_ENOTFOUND);
    CU_ASSERT_EQUAL(gv_cluster_keys_retire(nodes[0].cluster, old_id), GV_EREFUSED);
    CU_ASSERT_EQUAL_FATAL(gv_keyring_seal_key(fresh, new_id, fresh, sealed), GV_OK);
    CU_ASSERT_EQUAL(gv_cluster_keys_install(nodes[0].cluster, gv_slice_text(sealed), &id),
                    GV_ENOTFOUND); /* sealed under a key that the node does not have */
    CU_ASSERT_EQUAL_FATAL(gv_keyring_seal_key(fresh, new_id, present, sealed), GV_OK);
    sealed[100] = sealed[100] == '0' ? '1' : '0';
    CU_ASSERT_EQUAL(gv_cluster_keys_install(nodes[0].cluster, gv_slice_text(sealed), &id),
                    GV_EAUTH);
    gv_cluster_keys_list(nodes[0].cluster, &keys);
    CU_ASSERT_EQUAL(keys.count, 1);
    CU_ASSERT_TRUE(gv_key_id_equal(keys.active, old_id));
    end();
}

/* The folder is gone, as good as a full disk: a key that a restart would not know is not used. */
static void a_ring_that_cannot_be_written_is_not_changed(void)
{
    char sealed[GV_KEY_SEALED_TEXT];
    struct gv_key_id id;
    struct gv_cluster_keys keys;
    begin();
    (void)snprintf(nodes[0].ring_path, sizeof nodes[0].ring_path, "%s/gone/a.keys", folder);
    CU_ASSERT_EQUAL_FATAL(gv_keyring_seal_key(fresh, new_id, present, sealed), GV_OK);
    CU_ASSERT_EQUAL(gv_cluster_keys_install(nodes[0].cluster, gv_slice_text(sealed), &id), GV_EIO);
    gv_cluster_keys_list(nodes[0].cluster, &keys);
    CU_ASSERT_EQUAL(keys.count, 1);
    end();
    (void)snprintf(nodes[0].ring_path, sizeof nodes[0].ring_path, "%s/a.keys", folder);
    (void)unlink(nodes[0].ring_path);
    (void)rmdir(folder);
}

/* ---- away --------------------------------------------------------------------------------------
 */

static char log_path[64];

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

static void a_node_that_was_away_is_told_both_ids(void)
{
    char old_text[GV_KEY_ID_TEXT_BYTES];
    char new_text[GV_KEY_ID_TEXT_BYTES];
    char ours[64];
    char theirs[64];
    (void)strcpy(log_path, "/tmp/test_rotation_log_XXXXXX");
    int fd = mkstemp(log_path);
    CU_ASSERT_TRUE_FATAL(fd >= 0);
    CU_ASSERT_EQUAL_FATAL(gv_log_open((struct gv_log_options){.level = GV_LOG_INFO, .fd = fd}),
                          GV_OK);
    begin();
    install();
    await_applied();
    use();
    await_applied();
    retire();
    await_applied();
    static struct node late;
    prepare(&late, "late", &nodes[0]);
    start_with(&late, present);
    (void)snprintf(ours, sizeof ours, "ours=%s", gv_key_id_format(new_id, new_text));
    (void)snprintf(theirs, sizeof theirs, "theirs=%s", gv_key_id_format(old_id, old_text));
    AWAIT(lines_with("peer=late", ours, theirs) == 1);
    (void)snprintf(ours, sizeof ours, "ours=%s", old_text);
    (void)snprintf(theirs, sizeof theirs, "theirs=%s", new_text);
    AWAIT(lines_with("peer=a", ours, theirs) == 1);
    CU_ASSERT_EQUAL(alive_count(&late), 1);
    kill_node(&late);
    (void)unlink(late.ring_path);
    end();
    gv_log_close();
    (void)close(fd);
    (void)unlink(log_path);
}

GV_SUITE("integration/rotation", GV_CASE(under_traffic_nobody_is_refused_and_nothing_is_lost),
         GV_CASE(every_step_is_in_the_file_and_prompts_keep_their_numbers),
         GV_CASE(a_step_out_of_order_changes_nothing),
         GV_CASE(a_ring_that_cannot_be_written_is_not_changed),
         GV_CASE(a_node_that_was_away_is_told_both_ids))
