/*
 * proxy.h - the data path of one loop: accepts clients, carries their exchanges to workers.
 *
 * One proxy per loop; all of them listen on the same port and share nothing but what
 * gv_proxy_shared points to. A proxy owns its clients, exchanges and pools outright.
 *
 *     open --gv_proxy_drain--> draining --on_drained--> quiet --gv_proxy_close--> on_closed: gone
 *
 * Opened on its loop's thread or before that loop runs, one proxy at a time. gv_proxy_drain(),
 * gv_proxy_close() and gv_proxy_stats() may be called from any thread; callbacks run on the loop's
 * thread.
 */
#ifndef GV_PROXY_PROXY_H
#define GV_PROXY_PROXY_H

#include "grapevine/base/addr.h"
#include "grapevine/config/config.h"
#include "grapevine/net/loop.h"
#include "grapevine/net/tls.h"
#include "grapevine/proxy/local.h"
#include "grapevine/route/breakers.h"
#include "grapevine/route/fingerprint.h"
#include "grapevine/route/fleet.h"
#include "grapevine/route/forest.h"
#include "grapevine/route/load.h"
#include "grapevine/route/policy.h"

#define GV_PROXY_REASON_BYTES 160

struct gv_admission;
struct gv_quota;
struct gv_tenants;

/* What the proxy asks of whoever holds it. Called from any loop's thread; must not block. */
struct gv_proxy_events {
    /** A decision was recorded in the forest; `operation` is borrowed for the call. */
    void (*publish)(void *owner, const struct gv_operation *operation);
    /**
     * May this node take requests, as far as its holder knows (draining, mesh not synced yet)? On
     * false writes why into `reason`. Whether any worker is ready is the proxy's own question.
     */
    bool (*is_ready)(void *owner, char reason[GV_PROXY_REASON_BYTES]);
    /** A request that this router answers itself; `call` is moved, see local.h. */
    void (*local)(void *owner, struct gv_local_call *call);
    /** Has it ever known enough to take requests? Once true, true until the end. NULL: always. */
    bool (*has_started)(void *owner);
};

/* Handed down once; everything borrowed, and must outlive every proxy and probe. */
struct gv_proxy_shared {
    const struct gv_config *config;
    struct gv_fleet *fleet;
    struct gv_forest *forest;
    struct gv_load_table *load;
    struct gv_breakers *breakers;
    struct gv_policy *policies[GV_POOL_COUNT]; /* all set; REGULAR serves without PD */
    struct gv_policy *keyed[GV_POOL_COUNT]; /* of requests with a routing key; NULL: no other one */
    const struct gv_fingerprint_secret *secret;
    const char *node_name;
    struct gv_admission *admission; /* admission.h; NULL: everything is let through at once */
    struct gv_tenants *tenants;     /* tenants.h; NULL: only --api-key is known */
    struct gv_quota *quota;         /* quota.h; NULL: no tenant has a limit */
    struct gv_tls *client_tls;      /* of the port; NULL: plain HTTP */
    struct gv_tls *worker_tls;      /* for https:// workers; NULL: there are none */
    int inherited_fd;               /* a listening socket in place of the address; 0: none */
    uint32_t loop_count; /* proxies that share the port and --max-connections; at least 1 */
    const struct gv_proxy_events *events; /* static */
    void *owner;                          /* first argument of the events */
};

/** What the options say about breakers. */
struct gv_breaker_limits gv_proxy_breaker_limits(const struct gv_config *config);

struct gv_proxy;
typedef void (*gv_proxy_fn)(void *owner);

/**
 * Listen on `addr` (port 0: the kernel chooses; SO_REUSEPORT when loop_count > 1).
 * Errors: as gv_listener_open(); GV_ENOMEM.
 */
GV_MUST_USE enum gv_err gv_proxy_open(struct gv_loop *loop, const struct gv_proxy_shared *shared,
                                      const struct gv_addr *addr, struct gv_proxy **proxy);

/** The address bound, with the real port. */
struct gv_addr gv_proxy_address(const struct gv_proxy *proxy);

/**
 * Take no new work: every answer from now on says Connection: close, idle clients are closed, and
 * after `settle_ms` (the time load balancers get to notice) the port is closed too.
 * `on_drained` comes once, when the port is closed and the last exchange has ended. How long that
 * may take is the caller's limit: gv_proxy_close() does not wait. Once per proxy.
 */
void gv_proxy_drain(struct gv_proxy *proxy, uint64_t settle_ms, gv_proxy_fn on_drained,
                    void *owner);

/**
 * Close everything at once. `on_closed` comes once, when every connection is gone and every local
 * call has been replied to; the proxy is freed when it returns. Once per proxy; ends a drain
 * without its callback. The loop must still run.
 */
void gv_proxy_close(struct gv_proxy *proxy, gv_proxy_fn on_closed, void *owner);

struct gv_proxy_stats {
    uint64_t connections; /* clients connected now */
    uint64_t exchanges;   /* requests under way now */
    uint64_t requests;    /* since the start */
    uint64_t idle_upstreams;
    uint64_t queued_bytes; /* that clients do not take */
};
/** Numbers of this loop, as of its last turn or two. */
void gv_proxy_stats(const struct gv_proxy *proxy, struct gv_proxy_stats *stats);

#endif
