/*
 * cluster.h - carries gossip over the network and keeps fleet, tries and loads true.
 *
 * The libuv shell of the gossip engine: TCP sessions and UDP packets below it, the node's fleet,
 * forest and load table above it. Everything runs on the loop it was opened on (the mesh thread);
 * the calls marked "any thread" post to that loop and return at once.
 *
 *     put_worker ---> record on the mesh ---> fleet     (the one way a worker gets into a fleet,
 *                                                        whoever named it: flag, API, other node)
 *     publish ------> operation log --------> the tries of every other node
 *
 * A lone node (mesh not enabled) runs the same engine without a socket.
 */
#ifndef GV_CLUSTER_CLUSTER_H
#define GV_CLUSTER_CLUSTER_H

#include "grapevine/base/addr.h"
#include "grapevine/base/err.h"
#include "grapevine/config/config.h"
#include "grapevine/net/loop.h"
#include "grapevine/route/fleet.h"
#include "grapevine/route/forest.h"
#include "grapevine/route/load.h"

struct gv_cluster;
struct gv_keyring;

/* Called on the mesh thread; each may be NULL. */
struct gv_cluster_events {
    /** This node's state equals a donor's, or it is alone, or the sync timeout is over. Once. */
    void (*on_synced)(void *owner);

    /** A setting of the cluster changed, whoever wrote it; `value` NULL: it was unset. */
    void (*on_setting)(void *owner, const char *name, const char *value);

    /** Our name is another node's (see gossip/engine.h): this process must end with an error. */
    void (*on_conflict)(void *owner, const struct gv_addr *other);
};

struct gv_cluster_options {
    const struct gv_config
        *config;          /* borrowed: cluster_id, block_bytes, seeds, mesh_*, state_dir */
    const char *node;     /* copied; this node's name, below GV_NODE_NAME_MAX */
    const char *http_url; /* copied; where this node's API answers; "" unknown */
    const struct gv_keyring *keyring; /* borrowed; NULL: nothing is encrypted */
    struct gv_fleet *fleet;           /* borrowed until the loop is freed, as the next two */
    struct gv_forest *forest;
    struct gv_load_table *load;
    struct gv_quota *quota;          /* borrowed, too; NULL: no tenant has a limit */
    struct gv_cluster_events events; /* copied */
    void *owner;                     /* borrowed; first argument of each event */
};

/**
 * Bind the mesh port (when config->enable_mesh), start the engine, look for seeds. On the loop's
 * thread or before it runs.
 *
 * Errors: GV_EINVAL a name or seed that cannot be read; GV_EAUTH no keys, not a loopback address
 * and no --mesh-insecure, or not allowed to bind; GV_EEXISTS the port is taken; GV_EIO; GV_ENOMEM.
 * What was wrong is logged.
 */
GV_MUST_USE enum gv_err gv_cluster_open(struct gv_loop *loop,
                                        const struct gv_cluster_options *options,
                                        struct gv_cluster **cluster);

/**
 * Close everything at once, without a word to the others. On the loop's thread, not from inside an
 * event, or when the loop does not run; no other thread may use the cluster any more. The sessions'
 * memory is freed by the loop, at the latest in gv_loop_free(). NULL is fine.
 */
void gv_cluster_close(struct gv_cluster *cluster);

/** The mesh address bound, with the real port; unset when the mesh is not enabled. Any thread. */
struct gv_addr gv_cluster_addr(const struct gv_cluster *cluster);

/**
 * Tell the others of an operation that this node has applied; copied with its fingerprints. Any
 * thread. What finds no room is counted, and what it said is told again from the tries themselves
 * as soon as there is room.
 */
void gv_cluster_publish(struct gv_cluster *cluster, const struct gv_operation *operation);

/**
 * Add or replace a worker on every node; url, pool, models, bootstrap_port, priority, cost,
 * capacity and runtime travel, api_key and source stay here. The fleet has it soon after. Any
 * thread. Errors: GV_EINVAL no URL; GV_EFULL too much is waiting; GV_ENOMEM.
 */
GV_MUST_USE enum gv_err gv_cluster_put_worker(struct gv_cluster *cluster,
                                              const struct gv_worker *worker);

/**
 * Remove a worker on every node; its tries are forgotten everywhere. Any thread. A URL that no node
 * knows is ignored. Errors as gv_cluster_put_worker().
 */
GV_MUST_USE enum gv_err gv_cluster_delete_worker(struct gv_cluster *cluster, const char *url);

/**
 * Set `name` on every node, now and later ones; `value` NULL: unset it. Whether they make sense is
 * the caller's matter (config/setting.h). Any thread. Errors: GV_EINVAL a text over its limit;
 * GV_EFULL too much is waiting, or too many names; GV_ENOMEM.
 */
GV_MUST_USE enum gv_err gv_cluster_put_setting(struct gv_cluster *cluster, const char *name,
                                               const char *value);

/** What this node thinks of a worker, for the others to show. Any thread; lost when too much waits.
 */
void gv_cluster_set_health(struct gv_cluster *cluster, const char *url, enum gv_worker_state state,
                           const char *reason);

/** This node takes requests, or no longer. Any thread. */
void gv_cluster_set_ready(struct gv_cluster *cluster, bool ready);

/**
 * Compare what is live here with all peers now, and mend what differs. Otherwise that happens once
 * a minute. Any thread; dropped when too much waits for the mesh thread.
 */
void gv_cluster_compare(struct gv_cluster *cluster);

/**
 * Say goodbye: announce `left`, send what waits. `on_left` (NULL is fine) is called once, on the
 * mesh thread, when everything is with the kernel or after half a second. Any thread.
 */
void gv_cluster_leave(struct gv_cluster *cluster, void (*on_left)(void *owner), void *owner);

#endif
