/*
 * access.h - what is remembered of every exchange: one log line and the numbers of /metrics.
 *
 * A cell of a metric is looked up once per loop and kept. One thread per struct.
 */
#ifndef GV_PROXY_ACCESS_H
#define GV_PROXY_ACCESS_H

#include "grapevine/base/addr.h"
#include "grapevine/base/metric.h"
#include "grapevine/http/head.h"
#include "grapevine/http/prompt.h"
#include "grapevine/proxy/exchange.h"
#include "grapevine/route/decision.h"

#define GV_ACCESS_STATUS_COUNT 600
#define GV_ACCESS_LOCAL        GV_ENDPOINT_COUNT /* the row of requests we answer ourselves */

/* How long this router held a request before a worker had it. */
enum gv_access_stage {
    GV_STAGE_WAIT = 0, /* for its place, while too many are under way */
    GV_STAGE_DECIDE,   /* its body was read and hashed, and a worker chosen */
    GV_STAGE_CONNECT,  /* a connection was opened, unless one was idle */
    GV_STAGE_TOTAL,    /* from its last byte until a worker was given it */
    GV_STAGE_COUNT
};

struct gv_access {
    struct gv_metric *requests[GV_ENDPOINT_COUNT + 1][GV_ACCESS_STATUS_COUNT];
    struct gv_metric *duration[GV_ENDPOINT_COUNT + 1];
    struct gv_metric *first_byte[GV_ENDPOINT_COUNT + 1];
    struct gv_metric *retries[GV_CAUSE_COUNT];
    struct gv_metric *decisions[GV_POOL_COUNT][GV_RULE_COUNT];
    struct gv_metric *blocks[GV_POOL_COUNT];
    struct gv_metric *matched[GV_POOL_COUNT];
    struct gv_metric *delays[GV_STAGE_COUNT];
};

/* See enum gv_access_stage. */
struct gv_access_delays {
    uint64_t wait_us;
    uint64_t decide_us;
    uint64_t connect_us; /* of the last attempt */
    uint64_t total_us;
    bool is_whole; /* it was given to a worker, once: all four mean something */
};

/* One exchange that has ended. */
struct gv_access_record {
    uint32_t endpoint; /* enum gv_endpoint, or GV_ACCESS_LOCAL */
    struct gv_slice method;
    struct gv_slice path; /* without query */
    uint16_t status;      /* sent to the client; 499: it left before one was sent */
    const char *outcome;  /* "ok", "cut", "client_gone", or a problem's code; static */
    const char *worker;   /* URL of the worker that answered; "" none */
    const char *prefill;  /* URL; "" none */
    const char *key;      /* "pool::model" of the answering worker; "" or NULL none */
    const struct gv_decision *decision;         /* that chose it; NULL none */
    const struct gv_decision *prefill_decision; /* NULL none */
    uint64_t predicted_tokens; /* cached, as the trie has it, where the prompt is computed */
    uint64_t cached_tokens;    /* as the engine reported */
    bool has_cached;           /* it did */
    struct gv_access_delays delays;
    uint64_t first_byte_us; /* from the request's last byte; 0: none came */
    uint64_t total_us;
    uint64_t body_bytes; /* sent to the client */
    uint32_t retry_count;
    const char *request_id;
    const char *tenant; /* whose key it showed; "" no tenant's */
    struct gv_addr client;
    bool is_routine; /* a probe that went well: logged at debug level only */
};

/** Make the families known. Once per process or more often. Errors: as gv_metric_register(). */
GV_MUST_USE enum gv_err gv_access_register(void);

/** Count and log. */
void gv_access_note(struct gv_access *access, const struct gv_access_record *record);

/** A leg failed at `worker`. */
void gv_access_upstream_error(const char *worker, enum gv_cause cause);

/** A request is tried again because of `cause`. */
void gv_access_retry(struct gv_access *access, enum gv_cause cause);

/** A decision was made. */
void gv_access_decision(struct gv_access *access, enum gv_pool pool,
                        const struct gv_decision *decision);

/** Cached prompt tokens of `worker`, as the trie predicted and as the engine reported. */
void gv_access_cached(const char *worker, uint64_t predicted, uint64_t reported);

/** A tenant with a limit asked for its share. */
void gv_access_tenant(const char *tenant, bool is_admitted);

/** Gauges of one loop: [0] connections, [1] exchanges, [2] requests, [3] idle upstreams,
 * [4] bytes that clients have not taken. */
#define GV_ACCESS_GAUGES 5
void gv_access_gauges(const char *loop, struct gv_metric *gauges[GV_ACCESS_GAUGES]);

#endif
