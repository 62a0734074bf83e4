/* rig.c - see rig.h. */
#include "support/rig.h"

#include "grapevine/base/mem.h"
#include "support/process.h"
#include "support/suite.h"
#include <stdio.h>

static void on_publish(void *owner, const struct gv_operation *operation)
{
    struct gv_rig *rig = owner;
    CU_ASSERT(operation->key[0] != '\0');
    atomic_fetch_add(&rig->published, 1);
}

static bool on_is_ready(void *owner, char reason[GV_PROXY_REASON_BYTES])
{
    (void)owner;
    (void)reason;
    return true;
}

static void on_local(void *owner, struct gv_local_call *call)
{
    (void)owner;
    if (strcmp(call->path, "/v1/models") == 0) {
        gv_local_reply_json(call, 200, gv_slice_text("{\"object\":\"list\"}"));
    } else {
        gv_local_reply_problem(call, GV_PROBLEM_NO_ROUTE, call->path);
    }
}

static const struct gv_proxy_events events = {
    .publish = on_publish, .is_ready = on_is_ready, .local = on_local};

static void settings(struct gv_config *config)
{
    memset(config, 0, sizeof *config);
    config->max_payload_bytes = 100000;
    config->request_timeout_ms = 60000;
    config->connect_timeout_ms = 5000;
    config->stream_idle_timeout_ms = 30000;
    config->client_idle_timeout_ms = 30000;
    config->client_head_timeout_ms = 30000;
    config->client_body_timeout_ms = 30000;
    config->max_connections = 1000;
    config->max_head_bytes = 65536;
    config->max_header_count = 128;
    config->max_uri_bytes = 8192;
    config->max_chunk_ext_bytes = 16384;
    config->max_trailer_bytes = 16384;
    config->max_pipelined_bytes = 65536;
    config->pool_idle_per_worker = 10;
    config->pool_idle_timeout_ms = 50000;
    config->block_bytes = 16;
    config->retry_max = 3;
    config->retry_initial_backoff_ms = 1;
    config->retry_max_backoff_ms = 5;
    config->retry_backoff_multiplier = 1.5;
    config->retry_jitter_factor = 0.2;
    config->retry_budget_ratio = 0.2;
    config->cb_failure_threshold = 100;
    config->cb_success_threshold = 3;
    config->cb_timeout_ms = 60000;
    config->cb_window_ms = 120000;
    config->health_interval_ms = 100;
    config->health_timeout_ms = 5000;
    config->health_failure_threshold = 2;
    config->health_success_threshold = 2;
    static char health[] = "/health";
    static char none[] = "";
    config->health_endpoint = health;
    config->model = none;
    config->decision_headers = 1;
    config->shutdown_grace_ms = 60000;
}

void gv_rig_add_worker(struct gv_rig *rig, const char *url, enum gv_pool pool,
                       enum gv_worker_state state)
{
    struct gv_worker worker = {
        .pool = pool, .state = state, .source = GV_SOURCE_API, .bootstrap_port = -1, .cost = 1};
    snprintf(worker.url, sizeof worker.url, "%s", url);
    if (pool == GV_POOL_PREFILL) {
        worker.bootstrap_port = 8998;
    }
    CU_ASSERT_EQUAL_FATAL(gv_fleet_put(rig->fleet, &worker), GV_OK);
}

void gv_rig_init(struct gv_rig *rig)
{
    memset(rig, 0, sizeof *rig);
    settings(&rig->config);
    static const uint8_t key[32];
    gv_fingerprint_secret_init(&rig->secret, key);
    struct gv_forest_limits limits = {.max_bytes = 64u << 20,
                                      .touch_interval_s = 5,
                                      .max_keys = 64,
                                      .worker_blocks = 1u << 20,
                                      .min_age_s = 10,
                                      .max_ahead_s = 60};
    CU_ASSERT_EQUAL_FATAL(gv_fleet_new(&rig->fleet), GV_OK);
    CU_ASSERT_EQUAL_FATAL(gv_load_new(&rig->load), GV_OK);
    CU_ASSERT_EQUAL_FATAL(gv_forest_new(limits, &rig->forest), GV_OK);
    struct gv_policy_options options = {.cache_threshold = 0.3,
                                        .balance_abs_threshold = 64,
                                        .balance_rel_threshold = 1.5,
                                        .load_bound = 1.25,
                                        .block_bytes = 256};
    for (int i = 0; i < GV_POOL_COUNT; i++) {
        CU_ASSERT_EQUAL_FATAL(
            gv_policy_new("cache_aware", options, rig->forest, rig->load, &rig->shared.policies[i]),
            GV_OK);
    }
    rig->shared.config = &rig->config;
    rig->shared.fleet = rig->fleet;
    rig->shared.forest = rig->forest;
    rig->shared.load = rig->load;
    rig->shared.secret = &rig->secret;
    rig->shared.node_name = "n1";
    rig->shared.loop_count = 1;
    rig->shared.events = &events;
    rig->shared.owner = rig;
    CU_ASSERT_EQUAL_FATAL(gv_loop_new("test", &rig->loop), GV_OK);
}

static void on_opinion(void *owner, const struct gv_worker *worker)
{
    struct gv_rig *rig = owner;
    CU_ASSERT(worker->url[0] != '\0');
    atomic_fetch_add(&rig->opinions, 1);
}

static void on_removed(void *owner, const struct gv_worker *worker)
{
    struct gv_rig *rig = owner;
    CU_ASSERT(worker->url[0] != '\0');
    atomic_fetch_add(&rig->removed, 1);
}

static const struct gv_probe_events probe_events = {.on_opinion = on_opinion,
                                                    .on_removed = on_removed};

void gv_rig_probe(struct gv_rig *rig)
{
    CU_ASSERT_EQUAL_FATAL(gv_probe_open(rig->loop, &rig->shared, &probe_events, rig, &rig->probe),
                          GV_OK);
}

void gv_rig_start(struct gv_rig *rig)
{
    struct gv_addr addr;
    CU_ASSERT_EQUAL_FATAL(gv_addr_parse(gv_slice_text("127.0.0.1:0"), 0, &addr), GV_OK);
    CU_ASSERT_EQUAL_FATAL(gv_breakers_new(gv_proxy_breaker_limits(&rig->config), &rig->breakers),
                          GV_OK);
    rig->shared.breakers = rig->breakers;
    CU_ASSERT_EQUAL_FATAL(gv_proxy_open(rig->loop, &rig->shared, &addr, &rig->proxy), GV_OK);
    rig->port = gv_proxy_address(rig->proxy).port;
    CU_ASSERT_EQUAL_FATAL(gv_loop_start(rig->loop), GV_OK);
}

static void on_closed(void *owner)
{
    struct gv_rig *rig = owner;
    gv_probe_close(rig->probe);
    atomic_store(&rig->closed, true);
    gv_loop_stop(rig->loop);
}

bool gv_rig_is_unloaded(void *owner)
{
    struct gv_rig *rig = owner;
    return gv_load_own_total(rig->load) == 0;
}

/* Whatever happened, nothing is counted as being in flight afterwards. */
void gv_rig_stop(struct gv_rig *rig)
{
    CU_ASSERT(gv_test_await(gv_rig_is_unloaded, rig, 0));
    gv_proxy_close(rig->proxy, on_closed, rig);
    gv_loop_join(rig->loop);
    CU_ASSERT(atomic_load(&rig->closed));
    gv_loop_free(rig->loop);
    CU_ASSERT_EQUAL(gv_load_own_total(rig->load), 0);
    for (int i = 0; i < GV_POOL_COUNT; i++) {
        gv_policy_free(rig->shared.policies[i]);
    }
    gv_forest_free(rig->forest);
    gv_load_free(rig->load);
    gv_breakers_free(rig->breakers);
    gv_fleet_free(rig->fleet);
    CU_ASSERT_EQUAL(gv_mem_used(GV_MEM_EXCHANGE), 0);
}
