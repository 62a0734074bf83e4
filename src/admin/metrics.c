/*
 * metrics.c - GET /metrics: what the pure parts counted, beside what the shells counted themselves.
 *
 * Tries, loads, fleet and memory keep their numbers in their own structs; each scrape copies them
 * into the registry. The mesh's and the proxy's families are registered where they are counted.
 */
#include "admin/admin.h"
#include "grapevine/base/assert.h"
#include "grapevine/base/metric.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const struct gv_metric_family info = {.name = "gv_info",
                                             .help = "Always 1; its labels tell the version.",
                                             .type = GV_METRIC_GAUGE,
                                             .labels = {"version", "node", "cluster"}};
static const struct gv_metric_family started = {.name = "gv_start_time_seconds",
                                                .help = "When the process started, Unix time.",
                                                .type = GV_METRIC_GAUGE};
static const struct gv_metric_family resident = {.name = "gv_resident_memory_bytes",
                                                 .help = "Resident memory of the process.",
                                                 .type = GV_METRIC_GAUGE};
static const struct gv_metric_family memory = {.name = "gv_memory_bytes",
                                               .help = "Allocated memory by kind.",
                                               .type = GV_METRIC_GAUGE,
                                               .labels = {"kind"}};
static const struct gv_metric_family worker_state = {.name = "gv_workers",
                                                     .help = "Workers by pool and state.",
                                                     .type = GV_METRIC_GAUGE,
                                                     .labels = {"pool", "state"}};
static const struct gv_metric_family worker_requests = {
    .name = "gv_worker_requests_active",
    .help = "Requests in flight at a worker, from this node or from the whole cluster.",
    .type = GV_METRIC_GAUGE,
    .labels = {"worker", "scope"}};
static const struct gv_metric_family engine_requests = {
    .name = "gv_engine_requests",
    .help =
        "Requests that an engine reported when it was asked last: running, waiting, foreign (no "
        "node of this cluster had sent them).",
    .type = GV_METRIC_GAUGE,
    .labels = {"worker", "what"}};
static const struct gv_metric_family engine_usage = {
    .name = "gv_engine_token_usage",
    .help = "Share of its KV tokens in use that an engine reported when it was asked last.",
    .type = GV_METRIC_GAUGE,
    .labels = {"worker"}};
static const struct gv_metric_family engine_age = {
    .name = "gv_engine_report_age_seconds",
    .help = "How long ago an engine was asked for its load.",
    .type = GV_METRIC_GAUGE,
    .labels = {"worker"}};
static const struct gv_metric_family worker_breaker = {
    .name = "gv_worker_breaker_state",
    .help = "This node's breaker of the worker: 0 closed, 1 trial, 2 open.",
    .type = GV_METRIC_GAUGE,
    .labels = {"worker"}};
static const struct gv_metric_family worker_trust = {
    .name = "gv_worker_capacity_trust",
    .help = "Share of its capacity that a worker's engine is believed to hold, as its reports of "
            "cached tokens suggest.",
    .type = GV_METRIC_GAUGE,
    .labels = {"worker"}};
static const struct gv_metric_family worker_caching = {
    .name = "gv_worker_prefix_caching",
    .help = "0: a worker's engine reports no cached token, whatever it was given before.",
    .type = GV_METRIC_GAUGE,
    .labels = {"worker"}};
static const struct gv_metric_family worker_prefill = {
    .name = "gv_worker_prefill_bytes_per_second",
    .help = "Bytes of prompt that a worker's engine computes in a second, as all nodes saw it.",
    .type = GV_METRIC_GAUGE,
    .labels = {"worker"}};
static const struct gv_metric_family tree_blocks = {.name = "gv_trie_blocks",
                                                    .help = "Prompt blocks held, by key.",
                                                    .type = GV_METRIC_GAUGE,
                                                    .labels = {"key"}};
static const struct gv_metric_family tree_entries = {.name = "gv_trie_entries",
                                                     .help =
                                                         "Live pairs of block and worker, by key.",
                                                     .type = GV_METRIC_GAUGE,
                                                     .labels = {"key"}};
static const struct gv_metric_family forest_bytes = {
    .name = "gv_trie_memory_bytes", .help = "Memory of all tries.", .type = GV_METRIC_GAUGE};
static const struct gv_metric_family forest_evictions = {
    .name = "gv_trie_evictions_total",
    .help = "Floors raised for capacity or memory.",
    .type = GV_METRIC_COUNTER};
static const struct gv_metric_family forest_refused = {
    .name = "gv_trie_refused_total",
    .help = "Operations refused by a limit or for their stamp.",
    .type = GV_METRIC_COUNTER};
static const struct gv_metric_family proxy_now = {
    .name = "gv_proxy_active",
    .help = "Clients, exchanges and idle worker connections now.",
    .type = GV_METRIC_GAUGE,
    .labels = {"what"}};
static const struct gv_metric_family never = {
    .name = "gv_impossible_total",
    .help = "Conditions that only a mistake of ours can make true; please report.",
    .type = GV_METRIC_COUNTER};

static const struct gv_metric_family *const families[] = {
    &info,         &started,          &resident,       &memory,
    &worker_state, &worker_requests,  &worker_breaker, &engine_requests,
    &engine_usage, &engine_age,       &tree_blocks,    &tree_entries,
    &forest_bytes, &forest_evictions, &forest_refused, &proxy_now,
    &worker_trust, &worker_caching,   &worker_prefill, &never};

enum gv_err gv_admin_metrics_register(void)
{
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        enum gv_err err = gv_metric_register(families[i]);
        if (err != GV_OK) {
            return err;
        }
    }
    return GV_OK;
}

static void set(const struct gv_metric_family *family, const char *a, const char *b, double value)
{
    const char *const values[] = {a, b};
    gv_metric_set(gv_metric_get(family, a == NULL ? NULL : values), value);
}

static double resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "re");
    unsigned long total = 0;
    unsigned long pages = 0;
    if (file != NULL) {
        if (fscanf(file, "%lu %lu", &total, &pages) != 2) {
            pages = 0;
        }
        fclose(file);
    }
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static void copy_report(const struct gv_admin_parts *parts, const struct gv_worker *worker)
{
    struct gv_load_report report;
    if (!gv_load_heard(parts->shared->load, worker->index, &report)) {
        return;
    }
    uint64_t now_ms = gv_clock_us() / 1000;
    set(&engine_requests, worker->url, "running", report.running);
    set(&engine_requests, worker->url, "waiting", report.waiting);
    set(&engine_requests, worker->url, "foreign", report.foreign);
    set(&engine_age, worker->url, NULL,
        now_ms > report.at_ms ? (double)(now_ms - report.at_ms) / 1000 : 0);
    if (report.usage_permille != GV_LOAD_USAGE_UNKNOWN) {
        set(&engine_usage, worker->url, NULL, report.usage_permille / 1000.0);
    }
}

static void copy_workers(const struct gv_admin_parts *parts)
{
    const struct gv_fleet_view *view = gv_fleet_acquire(parts->shared->fleet);
    uint32_t counts[GV_POOL_COUNT][GV_WORKER_STATE_COUNT] = {{0}};
    for (uint32_t i = 0; i < view->count; i++) {
        const struct gv_worker *worker = &view->workers[i];
        struct gv_load load = gv_load_get(parts->shared->load, worker->index);
        counts[worker->pool][worker->state]++;
        copy_report(parts, worker);
        enum gv_breaker_state breaker = gv_breakers_state(parts->shared->breakers, worker->index);
        set(&worker_breaker, worker->url, NULL,
            breaker == GV_BREAKER_OPEN ? 2 : (breaker == GV_BREAKER_TRIAL ? 1 : 0));
        struct gv_load_belief belief = gv_load_belief(parts->shared->load, worker->index);
        set(&worker_trust, worker->url, NULL, (double)belief.trust_permille / GV_TRUST_FULL);
        set(&worker_caching, worker->url, NULL, belief.is_uncached ? 0 : 1);
        set(&worker_prefill, worker->url, NULL, belief.prefill_bytes_per_ms * 1000);
        set(&worker_requests, worker->url, "node", load.own_count);
        set(&worker_requests, worker->url, "cluster", (double)load.own_count + load.remote_count);
    }
    gv_fleet_release(parts->shared->fleet, view);
    for (int pool = 0; pool < GV_POOL_COUNT; pool++) {
        for (int state = 0; state < GV_WORKER_STATE_COUNT; state++) {
            set(&worker_state, gv_pool_name((enum gv_pool)pool),
                gv_worker_state_name((enum gv_worker_state)state), counts[pool][state]);
        }
    }
}

static void copy_tries(const struct gv_admin_parts *parts)
{
    struct gv_forest *forest = parts->shared->forest;
    struct gv_forest_stats stats;
    gv_forest_stats(forest, &stats);
    set(&forest_bytes, NULL, NULL, (double)stats.bytes);
    set(&forest_evictions, NULL, NULL, (double)stats.evictions);
    set(&forest_refused, NULL, NULL, (double)stats.refused);
    uint32_t room = stats.keys;
    struct gv_forest_tree *trees = gv_mem_new(GV_MEM_GENERAL, (room + 1) * sizeof *trees);
    if (trees == NULL) {
        return;
    }
    uint32_t count = gv_forest_trees(forest, trees, room);
    for (uint32_t i = 0; i < count; i++) {
        set(&tree_blocks, trees[i].key, NULL, (double)trees[i].blocks);
        set(&tree_entries, trees[i].key, NULL, (double)trees[i].entries);
    }
    gv_mem_free(GV_MEM_GENERAL, trees);
}

static void copy_proxies(const struct gv_admin_parts *parts)
{
    struct gv_proxy_stats sum = {0};
    for (uint32_t i = 0; parts->proxies != NULL && i < parts->shared->loop_count; i++) {
        struct gv_proxy_stats one;
        gv_proxy_stats(parts->proxies[i], &one);
        sum.connections += one.connections;
        sum.exchanges += one.exchanges;
        sum.idle_upstreams += one.idle_upstreams;
    }
    set(&proxy_now, "connections", NULL, (double)sum.connections);
    set(&proxy_now, "exchanges", NULL, (double)sum.exchanges);
    set(&proxy_now, "idle_worker_connections", NULL, (double)sum.idle_upstreams);
}

void gv_show_metrics(const struct gv_admin_parts *parts, const struct gv_request *request,
                     struct gv_answer *answer)
{
    (void)request;
    const char *const labels[] = {GV_VERSION, parts->shared->node_name,
                                  parts->shared->config->cluster_id};
    gv_metric_set(gv_metric_get(&info, labels), 1);
    set(&started, NULL, NULL, (double)parts->started_wall_ms / 1000);
    set(&resident, NULL, NULL, resident_bytes());
    set(&never, NULL, NULL, (double)gv_never_count());
    for (int kind = 0; kind < GV_MEM_KIND_COUNT; kind++) {
        set(&memory, gv_mem_kind_name((enum gv_mem_kind)kind), NULL,
            (double)gv_mem_used((enum gv_mem_kind)kind));
    }
    copy_workers(parts);
    copy_tries(parts);
    copy_proxies(parts);
    answer->content_type = "text/plain; version=0.0.4; charset=utf-8";
    if (gv_metric_render(&answer->body) != GV_OK) {
        gv_answer_problem(answer, GV_PROBLEM_INTERNAL, "the metrics do not fit");
    }
}
