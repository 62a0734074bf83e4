/*
 * test_mesh_border.c - who may be in a mesh: who differs in cluster id, block size or keys stays
 * out, and both sides say why.
 */
#include "support/logbook.h"
#include "support/mesh.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WORKER "http://10.1.1.1:8000"
#define OTHER  "http://10.1.1.2:8000"

static void another_cluster_id_is_refused_by_both_sides_with_both_values(void)
{
    static struct gv_mesh_node left;
    static struct gv_mesh_node right;
    gv_logbook_open();
    gv_mesh_prepare(&left, "left");
    gv_mesh_start(&left);
    gv_mesh_prepare(&right, "right");
    (void)snprintf(right.cluster_id, sizeof right.cluster_id, "elsewhere");
    right.config.mesh_sync_timeout_ms = 300;
    gv_mesh_add_seed(&right, &left);
    gv_mesh_start(&right);
    GV_MESH_AWAIT(gv_logbook_lines("mesh.refused", "ours=test", "theirs=elsewhere") == 1);
    GV_MESH_AWAIT(gv_logbook_lines("mesh.refused", "ours=elsewhere", "theirs=test") == 1);
    GV_MESH_AWAIT(gv_mesh_counters(&left).refused_cluster >= 1 &&
                  gv_mesh_counters(&right).refused_cluster >= 1);
    CU_ASSERT_EQUAL(gv_mesh_alive(&left), 1);
    CU_ASSERT_EQUAL(gv_mesh_alive(&right), 1);
    GV_MESH_AWAIT(gv_logbook_lines("mesh.alone", "seeds=1", "keep trying") == 1); /* the right */
    gv_mesh_kill(&left);
    gv_mesh_kill(&right);
    gv_logbook_close();
}

static void another_block_size_is_refused_by_both_sides_with_both_values(void)
{
    static struct gv_mesh_node left;
    static struct gv_mesh_node right;
    gv_logbook_open();
    gv_mesh_prepare(&left, "left");
    gv_mesh_start(&left);
    gv_mesh_prepare(&right, "right");
    right.config.block_bytes = 128;
    gv_mesh_add_seed(&right, &left);
    gv_mesh_start(&right);
    GV_MESH_AWAIT(gv_logbook_lines("what=block_bytes", "ours=256", "theirs=128") == 1);
    GV_MESH_AWAIT(gv_logbook_lines("what=block_bytes", "ours=128", "theirs=256") == 1);
    GV_MESH_AWAIT(gv_mesh_counters(&left).refused_block >= 1 &&
                  gv_mesh_counters(&right).refused_block >= 1);
    gv_mesh_kill(&left);
    gv_mesh_kill(&right);
    gv_logbook_close();
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
    static struct gv_mesh_node left;
    static struct gv_mesh_node right;
    char left_id[GV_KEY_ID_TEXT_BYTES];
    char right_id[GV_KEY_ID_TEXT_BYTES];
    struct gv_keyring *left_ring = make_keyring(left_id);
    struct gv_keyring *right_ring = make_keyring(right_id);
    gv_logbook_open();
    gv_mesh_prepare(&left, "left");
    gv_mesh_start_with(&left, left_ring);
    gv_mesh_prepare(&right, "right");
    gv_mesh_add_seed(&right, &left);
    gv_mesh_start_with(&right, right_ring);
    char ours[64];
    char theirs[64];
    (void)snprintf(ours, sizeof ours, "ours=%s", left_id);
    (void)snprintf(theirs, sizeof theirs, "theirs=%s", right_id);
    GV_MESH_AWAIT(gv_logbook_lines("what=key", ours, theirs) == 1);
    (void)snprintf(ours, sizeof ours, "ours=%s", right_id);
    (void)snprintf(theirs, sizeof theirs, "theirs=%s", left_id);
    GV_MESH_AWAIT(gv_logbook_lines("what=key", ours, theirs) == 1);
    GV_MESH_AWAIT(gv_mesh_counters(&left).refused_key >= 1 &&
                  gv_mesh_counters(&right).refused_key >= 1);
    gv_mesh_kill(&left);
    gv_mesh_kill(&right);
    gv_logbook_close();
    gv_keyring_free(left_ring);
    gv_keyring_free(right_ring);
}

/* After a rotation: the operator's file with the new key alone, instead of that of a node. */
static void one_key_with_other_fingerprints_is_refused_by_both_sides_with_both_values(void)
{
    static struct gv_mesh_node left;
    static struct gv_mesh_node right;
    char id[GV_KEY_ID_TEXT_BYTES];
    char ours[64];
    char theirs[64];
    char sealed[GV_KEY_SEALED_TEXT];
    struct gv_key_id fresh_id;
    struct gv_keyring *rotated = make_keyring(id);
    struct gv_keyring *fresh = make_keyring(id);
    struct gv_key_id old_id = gv_keyring_active(rotated);
    fresh_id = gv_keyring_active(fresh);
    CU_ASSERT_EQUAL_FATAL(gv_keyring_seal_key(fresh, fresh_id, rotated, sealed), GV_OK);
    CU_ASSERT_EQUAL_FATAL(gv_keyring_open_key(rotated, gv_slice_text(sealed), &fresh_id), GV_OK);
    CU_ASSERT_EQUAL_FATAL(gv_keyring_use(rotated, fresh_id), GV_OK);
    CU_ASSERT_EQUAL_FATAL(gv_keyring_remove(rotated, old_id), GV_OK);
    gv_logbook_open();
    gv_mesh_prepare(&left, "left");
    gv_mesh_start_with(&left, rotated);
    gv_mesh_prepare(&right, "right");
    gv_mesh_add_seed(&right, &left);
    gv_mesh_start_with(&right, fresh);
    (void)snprintf(ours, sizeof ours, "ours=%s",
                   gv_key_id_format(gv_keyring_fingerprint_id(rotated), id));
    (void)snprintf(theirs, sizeof theirs, "theirs=%s",
                   gv_key_id_format(gv_keyring_fingerprint_id(fresh), id));
    GV_MESH_AWAIT(gv_logbook_lines("what=fingerprint", ours, theirs) == 1);
    (void)snprintf(theirs, sizeof theirs, "theirs=%s",
                   gv_key_id_format(gv_keyring_fingerprint_id(rotated), id));
    (void)snprintf(ours, sizeof ours, "ours=%s",
                   gv_key_id_format(gv_keyring_fingerprint_id(fresh), id));
    GV_MESH_AWAIT(gv_logbook_lines("what=fingerprint", ours, theirs) == 1);
    CU_ASSERT_TRUE(gv_logbook_lines("mesh.refused", "took part in the rotation", "") >= 2);
    CU_ASSERT_EQUAL(gv_mesh_alive(&left), 1);
    CU_ASSERT_EQUAL(gv_mesh_alive(&right), 1);
    gv_mesh_kill(&left);
    gv_mesh_kill(&right);
    gv_logbook_close();
    gv_keyring_free(rotated);
    gv_keyring_free(fresh);
}

static void no_key_and_a_key_do_not_come_together(void)
{
    static struct gv_mesh_node left;
    static struct gv_mesh_node right;
    char id[GV_KEY_ID_TEXT_BYTES];
    struct gv_keyring *ring = make_keyring(id);
    gv_mesh_prepare(&left, "left");
    gv_mesh_start_with(&left, ring);
    gv_mesh_prepare(&right, "right");
    gv_mesh_add_seed(&right, &left);
    gv_mesh_start(&right);
    GV_MESH_AWAIT(gv_mesh_counters(&left).refused_key >= 1 &&
                  gv_mesh_counters(&right).refused_key >= 1);
    CU_ASSERT_EQUAL(gv_mesh_alive(&left), 1);
    gv_mesh_kill(&left);
    gv_mesh_kill(&right);
    gv_keyring_free(ring);
}

static void with_one_key_everything_is_sealed_and_works(void)
{
    static struct gv_mesh_node nodes[2];
    char id[GV_KEY_ID_TEXT_BYTES];
    struct gv_keyring *ring = make_keyring(id);
    uint64_t chain[GV_MESH_CHAIN];
    gv_mesh_prepare(&nodes[0], "a");
    gv_mesh_start_with(&nodes[0], ring);
    gv_mesh_prepare(&nodes[1], "b");
    gv_mesh_add_seed(&nodes[1], &nodes[0]);
    gv_mesh_start_with(&nodes[1], ring);
    GV_MESH_AWAIT(gv_mesh_alive(&nodes[0]) == 2 && gv_mesh_alive(&nodes[1]) == 2);
    gv_mesh_chain(chain, 8);
    gv_mesh_record(&nodes[0], WORKER, chain, GV_MESH_CHAIN);
    GV_MESH_AWAIT(gv_mesh_depth(&nodes[1], WORKER, chain, GV_MESH_CHAIN) == GV_MESH_CHAIN);
    struct gv_cluster_view view;
    CU_ASSERT_EQUAL_FATAL(gv_cluster_view_get(nodes[1].cluster, &view), GV_OK);
    CU_ASSERT_TRUE(view.encrypted);
    CU_ASSERT_TRUE(view.session_count > 0 && view.sessions[0].encrypted);
    CU_ASSERT_EQUAL(view.cluster.packets_replayed, 0);
    gv_cluster_view_deinit(&view);
    gv_mesh_kill(&nodes[0]);
    gv_mesh_kill(&nodes[1]);
    gv_keyring_free(ring);
}

static void a_port_that_is_taken_and_a_seed_that_is_none_are_named_with_the_way_out(void)
{
    static struct gv_mesh_node first;
    static struct gv_mesh_node second;
    struct gv_cluster_view view;
    gv_mesh_prepare(&first, "first");
    gv_mesh_start(&first);
    CU_ASSERT_EQUAL_FATAL(gv_cluster_view_get(first.cluster, &view), GV_OK);
    gv_mesh_prepare(&second, "second");
    CU_ASSERT_EQUAL_FATAL(gv_fleet_new(&second.fleet), GV_OK);
    CU_ASSERT_EQUAL_FATAL(gv_load_new(&second.load), GV_OK);
    CU_ASSERT_EQUAL_FATAL(gv_loop_new("second", &second.loop), GV_OK);
    struct gv_forest_limits limits = {.max_bytes = 1 << 20, .max_keys = 4, .worker_blocks = 100};
    CU_ASSERT_EQUAL_FATAL(gv_forest_new(limits, &second.forest), GV_OK);
    struct gv_cluster_options options = {.config = &second.config,
                                         .node = second.name,
                                         .http_url = "",
                                         .fleet = second.fleet,
                                         .forest = second.forest,
                                         .load = second.load};
    gv_logbook_open();
    second.config.mesh_port = view.bound.port;
    CU_ASSERT_EQUAL(gv_cluster_open(second.loop, &options, &second.cluster), GV_EEXISTS);
    GV_MESH_AWAIT(gv_logbook_lines("mesh.unbound", "GV_EEXISTS", "--mesh-port") == 1);
    second.config.mesh_port = 0;
    (void)snprintf(second.seed_text[0], sizeof second.seed_text[0], "host:99999");
    second.seed_items[0] = second.seed_text[0];
    second.config.seeds.items = second.seed_items;
    second.config.seeds.count = 1;
    CU_ASSERT_EQUAL(gv_cluster_open(second.loop, &options, &second.cluster), GV_EINVAL);
    GV_MESH_AWAIT(gv_logbook_lines("seed.unusable", "seed=host:99999", "HOST:PORT") == 1);
    second.config.seeds.count = 0;
    CU_ASSERT_EQUAL_FATAL(gv_cluster_open(second.loop, &options, &second.cluster), GV_OK);
    gv_logbook_close();
    second.runs = true;
    gv_cluster_view_deinit(&view);
    gv_mesh_kill(&first);
    gv_mesh_kill(&second);
}

static void without_keys_only_loopback_is_bound(void)
{
    static struct gv_mesh_node node;
    gv_mesh_prepare(&node, "open");
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
    gv_logbook_open();
    node.config.mesh_host = "192.0.2.1"; /* for documents: nobody has it */
    CU_ASSERT_NOT_EQUAL(gv_cluster_open(node.loop, &options, &node.cluster), GV_OK);
    GV_MESH_AWAIT(gv_logbook_lines("mesh.unbound", "addr=192.0.2.1", "--mesh-host") == 1);
    node.config.mesh_host = "0.0.0.0";
    gv_logbook_close();
    CU_ASSERT_EQUAL_FATAL(gv_cluster_open(node.loop, &options, &node.cluster), GV_OK);
    struct gv_cluster_view view;
    CU_ASSERT_EQUAL_FATAL(gv_cluster_view_get(node.cluster, &view), GV_OK);
    CU_ASSERT_FALSE(gv_addr_is_unspecified(&view.advertised)); /* never 0.0.0.0 */
    CU_ASSERT_EQUAL(view.advertised.port, view.bound.port);
    gv_cluster_view_deinit(&view);
    node.runs = true;
    gv_mesh_kill(&node);
}
GV_SUITE("integration/mesh_border",
         GV_CASE(another_cluster_id_is_refused_by_both_sides_with_both_values),
         GV_CASE(another_block_size_is_refused_by_both_sides_with_both_values),
         GV_CASE(another_key_is_refused_by_both_sides_with_both_ids),
         GV_CASE(one_key_with_other_fingerprints_is_refused_by_both_sides_with_both_values),
         GV_CASE(no_key_and_a_key_do_not_come_together),
         GV_CASE(with_one_key_everything_is_sealed_and_works),
         GV_CASE(a_port_that_is_taken_and_a_seed_that_is_none_are_named_with_the_way_out),
         GV_CASE(without_keys_only_loopback_is_bound))
