/*
 * mesh.h - clusters in one process, each with a loop and thread of its own, over real sockets on
 * loopback.
 *
 * Nothing here sleeps for a fixed time: conditions are looked at every millisecond, up to a
 * deadline that only a broken mesh reaches.
 */
#ifndef GV_TESTS_SUPPORT_MESH_H
#define GV_TESTS_SUPPORT_MESH_H

#include "grapevine/cluster/cluster.h"
#include "grapevine/cluster/view.h"
#include "grapevine/seal/keyring.h"
#include "support/suite.h"

#define GV_MESH_DEADLINE_MS 20000
#define GV_MESH_CHAIN       40           /* fingerprints of a chain */
#define GV_MESH_KEY         "regular::m" /* of the trie that is written and read */

struct gv_mesh_node {
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

/** Wait until the condition holds; the test ends when it never does. */
#define GV_MESH_AWAIT(condition)                                                                   \
    do {                                                                                           \
        uint64_t until_us = gv_clock_us() + UINT64_C(1000) * GV_MESH_DEADLINE_MS;                  \
        while (!(condition) && gv_clock_us() < until_us) {                                         \
            gv_mesh_nap();                                                                         \
        }                                                                                          \
        CU_ASSERT_TRUE_FATAL(condition);                                                           \
    } while (0)

/** A millisecond; for GV_MESH_AWAIT. */
void gv_mesh_nap(void);

/** A configuration of this name, not started yet; change what the test is about. */
void gv_mesh_prepare(struct gv_mesh_node *node, const char *name);

/** Before it starts: let it know one that runs. */
void gv_mesh_add_seed(struct gv_mesh_node *node, const struct gv_mesh_node *seed);

/** Start with a key ring (borrowed; NULL: none). */
void gv_mesh_start_with(struct gv_mesh_node *node, const struct gv_keyring *keyring);

/** Start without keys. */
void gv_mesh_start(struct gv_mesh_node *node);

/** End it without a word, as when the process is killed; harmless when it does not run. */
void gv_mesh_kill(struct gv_mesh_node *node);

/** What it thinks of another: enum gv_member_status, or GV_MEMBER_STATUS_COUNT. */
uint32_t gv_mesh_status(struct gv_mesh_node *node, const char *name);

/** How many members it thinks alive, itself included. */
uint32_t gv_mesh_alive(struct gv_mesh_node *node);

/** What it has counted. */
struct gv_cluster_counters gv_mesh_counters(struct gv_mesh_node *node);

/** Three that know each other and are in step. */
void gv_mesh_start_three(struct gv_mesh_node nodes[3]);

/** Kill all three. */
void gv_mesh_kill_three(struct gv_mesh_node nodes[3]);

/** Fingerprints that only `seed` has. */
void gv_mesh_chain(uint64_t chain[GV_MESH_CHAIN], uint64_t seed);

/** How much of the chain it thinks the worker to hold. */
uint32_t gv_mesh_depth(struct gv_mesh_node *node, const char *url, const uint64_t *chain,
                       uint32_t count);

/** As the data path does it: apply and publish. */
void gv_mesh_record(struct gv_mesh_node *node, const char *url, const uint64_t *chain,
                    uint32_t count);

/** Is the worker in its fleet? */
bool gv_mesh_has_worker(struct gv_mesh_node *node, const char *url);

/** A worker of the regular pool with the model "m" and a key. */
struct gv_worker gv_mesh_worker(const char *url);

/** Put that worker into the mesh by this node. */
void gv_mesh_put(struct gv_mesh_node *node, const char *url);

/** Do two nodes hold the same tries? */
bool gv_mesh_same_digest(struct gv_mesh_node *left, struct gv_mesh_node *right);

#endif
