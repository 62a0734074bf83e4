/*
 * test_rotation.c - the key ring of three real nodes in one process is changed while they work:
 * nobody is refused, nothing is lost; who was away is told why it stays out.
 */
#include "grapevine/base/lock.h"
#include "grapevine/cluster/keys.h"
#include "support/logbook.h"
#include "support/mesh.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PATH_BYTES 160
#define CHAIN      8
#define CHAINS_MAX 4096
#define WORKER     "http://10.1.1.1:8000"

static char folder[64];
static struct gv_mesh_node nodes[3];
static char ring_paths[3][PATH_BYTES];
static struct gv_keyring *present; /* what all begin with */
static struct gv_keyring *fresh;   /* the operator's new key */
static struct gv_key_id old_id;
static struct gv_key_id new_id;

static void prepare(struct gv_mesh_node *node, const char *name, char path[PATH_BYTES],
                    const struct gv_mesh_node *seed)
{
    gv_mesh_prepare(node, name);
    (void)snprintf(path, PATH_BYTES, "%s/%s.keys", folder, name);
    node->config.mesh_keyring = path;
    if (seed != NULL) {
        gv_mesh_add_seed(node, seed);
    }
    CU_ASSERT_EQUAL_FATAL(gv_keyring_save(present, path), GV_OK);
}

static struct gv_cluster_counters counters_of(struct gv_mesh_node *node,
                                              struct gv_gossip_counters *gossip)
{
    struct gv_cluster_view view;
    CU_ASSERT_EQUAL_FATAL(gv_cluster_view_get(node->cluster, &view), GV_OK);
    struct gv_cluster_counters counters = view.cluster;
    *gossip = view.gossip;
    gv_cluster_view_deinit(&view);
    return counters;
}

static uint32_t session_count(struct gv_mesh_node *node)
{
    struct gv_cluster_view view;
    CU_ASSERT_EQUAL_FATAL(gv_cluster_view_get(node->cluster, &view), GV_OK);
    uint32_t count = view.session_count;
    gv_cluster_view_deinit(&view);
    return count;
}

static bool is_applied(struct gv_mesh_node *node)
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
        prepare(&nodes[i], names[i], ring_paths[i], i == 0 ? NULL : &nodes[0]);
        gv_mesh_start_with(&nodes[i], present);
    }
    for (int i = 0; i < 3; i++) {
        GV_MESH_AWAIT(gv_mesh_alive(&nodes[i]) == 3 && session_count(&nodes[i]) == 2);
    }
}

static void end(void)
{
    for (int i = 0; i < 3; i++) {
        gv_mesh_kill(&nodes[i]);
        (void)unlink(ring_paths[i]);
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
        GV_MESH_AWAIT(is_applied(&nodes[i]));
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
            gv_mesh_record(&nodes[i], WORKER, chain, CHAIN);
        }
        gv_mesh_nap();
    }
    return NULL;
}

static bool has_everything(struct gv_mesh_node *node)
{
    for (uint32_t i = 0; i < 3; i++) {
        for (uint32_t n = 0; n < recorded[i]; n++) {
            uint64_t chain[CHAIN];
            make_chain(chain, i, n);
            if (gv_mesh_depth(node, WORKER, chain, CHAIN) != CHAIN) {
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
        GV_MESH_AWAIT(counters_of(&nodes[i], &gossip).sessions_opened >= opened[i] + 2);
        GV_MESH_AWAIT(session_count(&nodes[i]) == 2 && gv_mesh_alive(&nodes[i]) == 3);
    }
    atomic_store(&busy, false);
    pthread_join(talker, NULL);
    CU_ASSERT_TRUE(recorded[0] > 10);
    for (int i = 0; i < 3; i++) {
        GV_MESH_AWAIT(has_everything(&nodes[i]));
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
        CU_ASSERT_EQUAL_FATAL(gv_keyring_load(ring_paths[i], &kept, &fault), GV_OK);
        CU_ASSERT_EQUAL(gv_keyring_count(kept), 1);
        CU_ASSERT_TRUE(gv_key_id_equal(gv_keyring_active(kept), new_id));
        CU_ASSERT_EQUAL(gv_keyring_fingerprint(kept, after), GV_OK);
        CU_ASSERT_EQUAL(memcmp(before, after, sizeof before), 0);
        CU_ASSERT_EQUAL(stat(ring_paths[i], &about), 0);
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
    (void)snprintf(ring_paths[0], sizeof ring_paths[0], "%s/gone/a.keys", folder);
    CU_ASSERT_EQUAL_FATAL(gv_keyring_seal_key(fresh, new_id, present, sealed), GV_OK);
    CU_ASSERT_EQUAL(gv_cluster_keys_install(nodes[0].cluster, gv_slice_text(sealed), &id), GV_EIO);
    gv_cluster_keys_list(nodes[0].cluster, &keys);
    CU_ASSERT_EQUAL(keys.count, 1);
    end();
    (void)snprintf(ring_paths[0], sizeof ring_paths[0], "%s/a.keys", folder);
    (void)unlink(ring_paths[0]);
    (void)rmdir(folder);
}

/* ---- away --------------------------------------------------------------------------------------
 */

static void a_node_that_was_away_is_told_both_ids(void)
{
    char old_text[GV_KEY_ID_TEXT_BYTES];
    char new_text[GV_KEY_ID_TEXT_BYTES];
    char ours[64];
    char theirs[64];
    gv_logbook_open();
    begin();
    install();
    await_applied();
    use();
    await_applied();
    retire();
    await_applied();
    static struct gv_mesh_node late;
    static char late_path[PATH_BYTES];
    prepare(&late, "late", late_path, &nodes[0]);
    gv_mesh_start_with(&late, present);
    (void)snprintf(ours, sizeof ours, "ours=%s", gv_key_id_format(new_id, new_text));
    (void)snprintf(theirs, sizeof theirs, "theirs=%s", gv_key_id_format(old_id, old_text));
    GV_MESH_AWAIT(gv_logbook_lines("peer=late", ours, theirs) == 1);
    (void)snprintf(ours, sizeof ours, "ours=%s", old_text);
    (void)snprintf(theirs, sizeof theirs, "theirs=%s", new_text);
    GV_MESH_AWAIT(gv_logbook_lines("peer=a", ours, theirs) == 1);
    CU_ASSERT_EQUAL(gv_mesh_alive(&late), 1);
    gv_mesh_kill(&late);
    (void)unlink(late_path);
    end();
    gv_logbook_close();
}

/* Has an answer come back by datagram? */
static bool has_asked(struct gv_mesh_node *node, const char *name)
{
    struct gv_cluster_view view;
    bool found = false;
    CU_ASSERT_EQUAL_FATAL(gv_cluster_view_get(node->cluster, &view), GV_OK);
    for (uint32_t i = 0; i < view.member_count; i++) {
        found = found || (strcmp(view.members[i].name, name) == 0 && view.members[i].rtt_us > 0);
    }
    gv_cluster_view_deinit(&view);
    return found;
}

/* It has the new key, but would go on sealing with one that the others no longer have. */
static void who_was_away_for_half_a_rotation_is_heard_told_and_can_end_it(void)
{
    char ours[64];
    char theirs[64];
    char id[GV_KEY_ID_TEXT_BYTES];
    struct gv_keyring *kept = NULL;
    struct gv_keyring_fault fault;
    gv_logbook_open();
    begin();
    install();
    await_applied();
    gv_mesh_kill(&nodes[2]);
    for (int i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL(gv_cluster_keys_use(nodes[i].cluster, new_id), GV_OK);
        GV_MESH_AWAIT(is_applied(&nodes[i]));
    }
    for (int i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL(gv_cluster_keys_retire(nodes[i].cluster, old_id), GV_OK);
        GV_MESH_AWAIT(is_applied(&nodes[i]));
    }
    CU_ASSERT_EQUAL_FATAL(gv_keyring_load(ring_paths[2], &kept, &fault), GV_OK);
    CU_ASSERT_TRUE(gv_key_id_equal(gv_keyring_active(kept), old_id));
    CU_ASSERT_EQUAL(gv_keyring_count(kept), 2);
    gv_mesh_prepare(&nodes[2], "c");
    nodes[2].config.mesh_keyring = ring_paths[2];
    gv_mesh_add_seed(&nodes[2], &nodes[0]);
    gv_mesh_start_with(&nodes[2], kept);
    GV_MESH_AWAIT(gv_mesh_alive(&nodes[0]) == 3 && gv_mesh_alive(&nodes[2]) == 3);
    GV_MESH_AWAIT(has_asked(&nodes[1], "c") && has_asked(&nodes[2], "a"));
    (void)snprintf(ours, sizeof ours, "ours=%s", gv_key_id_format(old_id, id));
    (void)snprintf(theirs, sizeof theirs, "theirs=%s", gv_key_id_format(new_id, id));
    GV_MESH_AWAIT(gv_logbook_lines("key.unshared peer=a", ours, theirs) == 1);
    (void)snprintf(ours, sizeof ours, "ours=%s", gv_key_id_format(new_id, id));
    (void)snprintf(theirs, sizeof theirs, "theirs=%s", gv_key_id_format(old_id, id));
    GV_MESH_AWAIT(gv_logbook_lines("key.unshared peer=c", ours, theirs) >= 1);
    CU_ASSERT_EQUAL(gv_cluster_keys_use(nodes[2].cluster, new_id), GV_OK);
    CU_ASSERT_EQUAL(gv_cluster_keys_retire(nodes[2].cluster, old_id), GV_OK);
    GV_MESH_AWAIT(is_applied(&nodes[2]));
    GV_MESH_AWAIT(gv_mesh_alive(&nodes[0]) == 3 && session_count(&nodes[2]) == 2);
    gv_keyring_free(kept);
    end();
    gv_logbook_close();
}

GV_SUITE("integration/rotation", GV_CASE(under_traffic_nobody_is_refused_and_nothing_is_lost),
         GV_CASE(every_step_is_in_the_file_and_prompts_keep_their_numbers),
         GV_CASE(a_step_out_of_order_changes_nothing),
         GV_CASE(a_ring_that_cannot_be_written_is_not_changed),
         GV_CASE(a_node_that_was_away_is_told_both_ids),
         GV_CASE(who_was_away_for_half_a_rotation_is_heard_told_and_can_end_it))
