/*
 * server.h - what an operator can see and nudge, on the service thread.
 *
 * Answers two kinds of callers alike: requests that the data port hands over (gv_admin_call), and
 * the port of its own (--prometheus-port), which stays responsive when the data path is saturated.
 * Paths:
 *
 *     GET  /metrics /health /liveness /readiness (the data port answers these three itself)
 *     GET  /v1/models /get_model_info /get_server_info /health_generate /get_loads
 *     POST /flush_cache
 *     GET POST /workers, GET PUT PATCH DELETE /workers/{id}
 *     GET  /grapevine/v1/status nodes workers trees digest, POST /grapevine/v1/explain
 *     GET  /grapevine/v1/settings, PUT DELETE /grapevine/v1/settings/{name}
 *
 * A third port (--health-check-port) answers the three probes and nothing else, always in plain
 * HTTP.
 * With API keys configured, /workers, /flush_cache, /get_loads and /grapevine ask for one; the
 * others are open.
 * Opened on the service loop's thread or before it runs; everything else on that thread, except
 * gv_admin_call().
 */
#ifndef GV_ADMIN_SERVER_H
#define GV_ADMIN_SERVER_H

#include "grapevine/cluster/cluster.h"
#include "grapevine/proxy/probe.h"
#include "grapevine/proxy/proxy.h"

#define GV_ADMIN_BODY_MAX        (8u * 1024 * 1024) /* bytes of a request body; more is 413 */
#define GV_ADMIN_CONNECTIONS_MAX 256                /* clients of the admin port at once */
#define GV_ADMIN_CALLS_MAX       4096               /* calls from the data port that may wait */
#define GV_ADMIN_IDLE_MS         60000 /* a silent client of the admin port is closed */

struct gv_admin;
struct gv_jobs;
struct gv_rounds;

/* What admin looks at; everything borrowed, and must outlive it. */
struct gv_admin_parts {
    const struct gv_proxy_shared *shared;
    struct gv_cluster *cluster;
    struct gv_probe *probe;          /* woken when a worker was added; may be NULL */
    struct gv_proxy *const *proxies; /* shared->loop_count of them, for metrics */
    const char *http_url;            /* where the data port answers */
    uint64_t started_wall_ms;
    uint64_t started_at_ms;    /* of the loops' clock */
    struct gv_tls *tls;        /* of the admin port; NULL: plain HTTP */
    struct gv_addr probe_addr; /* of a port for probes alone; family 0: none */
    struct gv_rounds *rounds;  /* admin's own; leave NULL */
    struct gv_jobs *jobs;      /* the same */
};

/** Listen on `addr`. Errors: as gv_listener_open(); GV_ENOMEM. */
GV_MUST_USE enum gv_err gv_admin_open(struct gv_loop *loop, const struct gv_admin_parts *parts,
                                      const struct gv_addr *addr, struct gv_admin **admin);

/** The address bound, with the real port. */
struct gv_addr gv_admin_address(const struct gv_admin *admin);

/** Answer a call of the data port; moved. Any thread; with too many waiting it is answered 503. */
void gv_admin_call(struct gv_admin *admin, struct gv_local_call *call);

/** Close the port and all clients; no call comes any more. Freed by the loop. NULL is fine. */
void gv_admin_close(struct gv_admin *admin);

#endif
