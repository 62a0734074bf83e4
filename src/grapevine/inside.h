/*
 * inside.h - the node as its files share it: node.c builds it and takes it down, life.c runs it,
 * certs.c keeps its certificates.
 */
#ifndef GV_GRAPEVINE_INSIDE_H
#define GV_GRAPEVINE_INSIDE_H

#include "grapevine/admin/server.h"
#include "grapevine/base/lock.h"
#include "grapevine/cluster/cluster.h"
#include "grapevine/cluster/view.h"
#include "grapevine/config/setting.h"
#include "grapevine/gossip/engine.h"
#include "grapevine/net/inbox.h"
#include "grapevine/net/timer.h"
#include "grapevine/net/tls.h"
#include "grapevine/proxy/admission.h"
#include "grapevine/proxy/probe.h"
#include "grapevine/proxy/proxy.h"
#include "grapevine/proxy/tenants.h"
#include "grapevine/route/quota.h"
#include "grapevine/seal/keyring.h"

#define GV_NODE_LOOPS_MAX 256

enum gv_node_phase {
    GV_NODE_OPENING = 0,
    GV_NODE_RUNNING,
    GV_NODE_DRAINING, /* no new work; exchanges end */
    GV_NODE_LEAVING,  /* saying goodbye to the mesh */
    GV_NODE_CLOSING,  /* connections are closed */
    GV_NODE_GONE
};

struct gv_node {
    const struct gv_config *config; /* borrowed */
    char name[GV_NODE_NAME_MAX];
    char http_url[128];
    struct gv_keyring *keyring; /* owned, as everything down to `admin`; NULL without keys */
    struct gv_fleet *fleet;
    struct gv_forest *forest;
    struct gv_load_table *load;
    struct gv_breakers *breakers;
    struct gv_policy *policies[GV_POOL_COUNT];
    struct gv_policy *keyed[GV_POOL_COUNT]; /* with --routing-key-override; else NULL */
    struct gv_admission *admission;         /* NULL without limits */
    struct gv_quota *quota;                 /* NULL: no tenant has a limit */
    struct gv_tenants *tenants;             /* NULL: there are none */
    struct gv_fingerprint_secret secret;
    struct gv_tls *client_tls; /* NULL: the data port speaks plain HTTP */
    struct gv_tls *admin_tls;  /* the same of the admin port */
    struct gv_tls *worker_tls;
    struct gv_timer *certs_timer; /* looks at their files */
    struct gv_buf plain_answer;   /* owned: to who speaks plain HTTP where TLS is spoken */
    struct gv_loop *service;
    struct gv_loop *mesh;
    struct gv_loop *data[GV_NODE_LOOPS_MAX];
    struct gv_proxy *proxies[GV_NODE_LOOPS_MAX];
    struct gv_inbox *inbox;       /* news from other threads, on the service loop */
    struct gv_timer *ready_timer; /* looks at readiness */
    struct gv_timer *phase_timer; /* the longest a phase may take */
    struct gv_cluster *cluster;
    struct gv_probe *probe;
    struct gv_admin *admin;
    struct gv_settings settings; /* what holds now; mesh thread */
    struct gv_proxy_shared shared;
    uint32_t proxy_count;  /* opened */
    uint32_t loop_started; /* data loops that run */
    bool mesh_started;
    uint32_t awaited; /* proxies whose drain or close is not reported yet */
    enum gv_node_phase phase;
    bool told_ready;
    bool signaled;
    int exit_code;
    uint64_t began_at_ms; /* of the loops' clock */
    struct gv_mutex lock; /* guards the next two, and admin against the data loops */
    bool is_draining;
    bool is_settled; /* every worker of the fleet was probed, or the time for it is over */
};

/* ---- certs.c -----------------------------------------------------------------------------------
 */

/** Read what the options say of TLS; look at the files from time to time, and on SIGHUP. */
GV_MUST_USE enum gv_err gv_certs_open(struct gv_node *node);

/** No loop runs any more. */
void gv_certs_close(struct gv_node *node);

/* ---- life.c ------------------------------------------------------------------------------------
 */

/** What the data loops ask of the node. */
extern const struct gv_proxy_events gv_node_proxy_events;
extern const struct gv_probe_events gv_node_probe_events;

/** The lock; around everything else. */
void gv_life_init(struct gv_node *node);
void gv_life_deinit(struct gv_node *node);

/** Inbox, timers and signals on the service loop. */
GV_MUST_USE enum gv_err gv_life_open(struct gv_node *node);

/** Everything is up: say where, and watch readiness. */
void gv_life_begin(struct gv_node *node);

/** Close the connections without a drain; the service loop ends when they are closed. */
void gv_life_abort(struct gv_node *node, int exit_code);

/** What the mesh thread tells (struct gv_cluster_events). */
void gv_life_on_synced(void *owner);
void gv_life_on_conflict(void *owner, const struct gv_addr *other);

#endif
