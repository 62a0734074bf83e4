/* access.c - see access.h. */
#include "access.h"

#include "grapevine/base/assert.h"
#include "grapevine/base/log.h"
#include <stdio.h>

static struct gv_metric_family requests_family = {
    .name = "gv_http_requests_total",
    .help = "Requests answered, by endpoint and status.",
    .type = GV_METRIC_COUNTER,
    .labels = {"endpoint", "status"},
};
static struct gv_metric_family duration_family = {
    .name = "gv_http_request_seconds",
    .help = "Time from a request's last byte to its answer's last byte.",
    .type = GV_METRIC_HISTOGRAM,
    .labels = {"endpoint"},
};
static struct gv_metric_family first_byte_family = {
    .name = "gv_time_to_first_token_seconds",
    .help = "Time from a request's last byte to the first body byte of its answer.",
    .type = GV_METRIC_HISTOGRAM,
    .labels = {"endpoint"},
};
/* A decision takes microseconds, a wait seconds. */
static const double delay_bounds[] = {10e-6, 20e-6, 50e-6, 100e-6, 200e-6, 500e-6, 1e-3,
                                      2e-3,  5e-3,  10e-3, 20e-3,  50e-3,  100e-3, 200e-3,
                                      0.5,   1,     2,     5,      10,     30,     60};
static const struct gv_metric_family delays_family = {
    .name = "gv_router_overhead_seconds",
    .help = "How long a request was held here before a worker was given it: waiting for its place, "
            "deciding, connecting, and in total.",
    .type = GV_METRIC_HISTOGRAM,
    .labels = {"stage"},
    .bounds = delay_bounds,
    .bound_count = sizeof delay_bounds / sizeof delay_bounds[0],
};
static const struct gv_metric_family retries_family = {
    .name = "gv_retries_total",
    .help = "Requests tried again, by what failed.",
    .type = GV_METRIC_COUNTER,
    .labels = {"cause"},
};
static const struct gv_metric_family errors_family = {
    .name = "gv_upstream_errors_total",
    .help = "Failed requests to a worker, by cause.",
    .type = GV_METRIC_COUNTER,
    .labels = {"worker", "cause"},
};
static const struct gv_metric_family decisions_family = {
    .name = "gv_decisions_total",
    .help = "Workers chosen, by pool and rule.",
    .type = GV_METRIC_COUNTER,
    .labels = {"pool", "rule"},
};
static const struct gv_metric_family blocks_family = {
    .name = "gv_prompt_blocks_total",
    .help = "Blocks of the prompts routed.",
    .type = GV_METRIC_COUNTER,
    .labels = {"pool"},
};
static const struct gv_metric_family matched_family = {
    .name = "gv_prompt_blocks_matched_total",
    .help = "Blocks of the prompts routed that the chosen worker held.",
    .type = GV_METRIC_COUNTER,
    .labels = {"pool"},
};
static const struct gv_metric_family predicted_family = {
    .name = "gv_cached_tokens_predicted_total",
    .help = "Cached prompt tokens as the trie predicted, of answers whose engine reports them.",
    .type = GV_METRIC_COUNTER,
    .labels = {"worker"},
};
static const struct gv_metric_family reported_family = {
    .name = "gv_cached_tokens_reported_total",
    .help = "Cached prompt tokens as the engines reported.",
    .type = GV_METRIC_COUNTER,
    .labels = {"worker"},
};
static const struct gv_metric_family tenants_family = {
    .name = "gv_tenant_requests_total",
    .help = "Requests of tenants with a limit, by what became of them here.",
    .type = GV_METRIC_COUNTER,
    .labels = {"tenant", "result"},
};
static const struct gv_metric_family gauge_families[GV_ACCESS_GAUGES] = {
    {.name = "gv_client_connections",
     .help = "Clients connected.",
     .type = GV_METRIC_GAUGE,
     .labels = {"loop"}},
    {.name = "gv_exchanges",
     .help = "Requests under way.",
     .type = GV_METRIC_GAUGE,
     .labels = {"loop"}},
    {.name = "gv_loop_requests_total",
     .help = "Requests taken by a loop.",
     .type = GV_METRIC_COUNTER,
     .labels = {"loop"}},
    {.name = "gv_idle_upstreams",
     .help = "Idle connections to workers.",
     .type = GV_METRIC_GAUGE,
     .labels = {"loop"}},
    {.name = "gv_client_queued_bytes",
     .help = "Bytes of answers held here because clients do not take them.",
     .type = GV_METRIC_GAUGE,
     .labels = {"loop"}},
};

enum gv_err gv_access_register(void)
{
    duration_family.bounds = gv_metric_seconds_bounds;
    duration_family.bound_count = gv_metric_seconds_bound_count;
    first_byte_family.bounds = gv_metric_seconds_bounds;
    first_byte_family.bound_count = gv_metric_seconds_bound_count;
    const struct gv_metric_family *const families[] = {
        &requests_family,   &duration_family,   &first_byte_family, &retries_family,
        &errors_family,     &decisions_family,  &blocks_family,     &matched_family,
        &predicted_family,  &reported_family,   &gauge_families[0], &gauge_families[1],
        &gauge_families[2], &gauge_families[3], &gauge_families[4], &tenants_family,
        &delays_family,
    };
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        enum gv_err err = gv_metric_register(families[i]);
        if (err != GV_OK) {
            return err;
        }
    }
    return GV_OK;
}

/* The cell at `slot`, looked up when it is needed for the first time. */
static struct gv_metric *cell(struct gv_metric **slot, const struct gv_metric_family *family,
                              const char *first, const char *second)
{
    if (*slot == NULL) {
        const char *values[2] = {first, second};
        *slot = gv_metric_get(family, values);
    }
    return *slot;
}

static const char *endpoint_label(uint32_t endpoint)
{
    return endpoint == GV_ACCESS_LOCAL ? "local" : gv_endpoint_name((enum gv_endpoint)endpoint);
}

static void count(struct gv_access *access, const struct gv_access_record *record)
{
    const char *endpoint = endpoint_label(record->endpoint);
    uint16_t at = record->status < GV_ACCESS_STATUS_COUNT ? record->status : 0;
    struct gv_metric **requests = &access->requests[record->endpoint][at];
    char status[8] = "";
    if (*requests == NULL) {
        snprintf(status, sizeof status, "%u", record->status);
    }
    gv_metric_add(cell(requests, &requests_family, endpoint, status), 1);
    gv_metric_observe(cell(&access->duration[record->endpoint], &duration_family, endpoint, NULL),
                      (double)record->total_us / 1e6);
    if (record->first_byte_us > 0) {
        gv_metric_observe(
            cell(&access->first_byte[record->endpoint], &first_byte_family, endpoint, NULL),
            (double)record->first_byte_us / 1e6);
    }
}

static void observe_delays(struct gv_access *access, const struct gv_access_delays *delays)
{
    static const char *const names[GV_STAGE_COUNT] = {"wait", "decide", "connect", "total"};
    const uint64_t us[GV_STAGE_COUNT] = {delays->wait_us, delays->decide_us, delays->connect_us,
                                         delays->total_us};
    for (uint32_t i = 0; delays->is_whole && i < GV_STAGE_COUNT; i++) {
        gv_metric_observe(cell(&access->delays[i], &delays_family, names[i], NULL),
                          (double)us[i] / 1e6);
    }
}

void gv_access_note(struct gv_access *access, const struct gv_access_record *record)
{
    GV_ASSERT(record->endpoint <= GV_ACCESS_LOCAL);
    static const struct gv_decision none = {.policy = ""};
    const struct gv_decision *decision = record->decision != NULL ? record->decision : &none;
    const struct gv_decision *prefill =
        record->prefill_decision != NULL ? record->prefill_decision : &none;
    const struct gv_access_delays *delays = &record->delays;
    enum gv_log_level level = record->is_routine ? GV_LOG_DEBUG : GV_LOG_INFO;
    char client[GV_ADDR_TEXT_BYTES] = "";
    count(access, record);
    observe_delays(access, delays);
    if (gv_log_is_on(level)) {
        (void)gv_addr_format(&record->client, client);
    }
    gv_log(level, "access", GV_STR("client", client), GV_BYTES("method", record->method),
           GV_BYTES("path", record->path), GV_UINT("status", record->status),
           GV_STR("outcome", record->outcome), GV_STR("worker", record->worker),
           GV_STR("prefill", record->prefill),
           GV_STR("key", record->key != NULL ? record->key : ""),
           GV_STR("policy", decision->policy),
           GV_STR("rule", decision->rule != GV_RULE_NONE ? gv_rule_name(decision->rule) : ""),
           GV_UINT("depth", decision->depth), GV_UINT("blocks", decision->block_count),
           GV_UINT("load", decision->load), GV_UINT("eligible", decision->eligible_count),
           GV_STR("prefill_rule", prefill->rule != GV_RULE_NONE ? gv_rule_name(prefill->rule) : ""),
           GV_UINT("prefill_depth", prefill->depth), GV_UINT("prefill_load", prefill->load),
           GV_UINT("predicted_tokens", record->predicted_tokens),
           GV_INT("cached_tokens", record->has_cached ? (int64_t)record->cached_tokens : -1),
           GV_REAL("wait_ms", (double)delays->wait_us / 1e3),
           GV_REAL("decide_ms", (double)delays->decide_us / 1e3),
           GV_REAL("connect_ms", (double)delays->connect_us / 1e3),
           GV_REAL("ttft_ms", (double)record->first_byte_us / 1e3),
           GV_REAL("total_ms", (double)record->total_us / 1e3),
           GV_UINT("bytes", record->body_bytes), GV_UINT("retries", record->retry_count),
           GV_STR("tenant", record->tenant), GV_STR("request_id", record->request_id));
}

void gv_access_upstream_error(const char *worker, enum gv_cause cause)
{
    const char *values[2] = {worker, gv_cause_name(cause)};
    gv_metric_add(gv_metric_get(&errors_family, values), 1);
}

void gv_access_tenant(const char *tenant, bool is_admitted)
{
    const char *values[2] = {tenant, is_admitted ? "admitted" : "refused"};
    gv_metric_add(gv_metric_get(&tenants_family, values), 1);
}

void gv_access_retry(struct gv_access *access, enum gv_cause cause)
{
    gv_metric_add(cell(&access->retries[cause], &retries_family, gv_cause_name(cause), NULL), 1);
}

void gv_access_decision(struct gv_access *access, enum gv_pool pool,
                        const struct gv_decision *decision)
{
    const char *name = gv_pool_name(pool);
    gv_metric_add(cell(&access->decisions[pool][decision->rule], &decisions_family, name,
                       gv_rule_name(decision->rule)),
                  1);
    gv_metric_add(cell(&access->blocks[pool], &blocks_family, name, NULL), decision->block_count);
    gv_metric_add(cell(&access->matched[pool], &matched_family, name, NULL), decision->depth);
}

void gv_access_cached(const char *worker, uint64_t predicted, uint64_t reported)
{
    const char *values[1] = {worker};
    gv_metric_add(gv_metric_get(&predicted_family, values), predicted);
    gv_metric_add(gv_metric_get(&reported_family, values), reported);
}

void gv_access_gauges(const char *loop, struct gv_metric *gauges[GV_ACCESS_GAUGES])
{
    const char *values[1] = {loop};
    for (int i = 0; i < GV_ACCESS_GAUGES; i++) {
        gauges[i] = gv_metric_get(&gauge_families[i], values);
    }
}
