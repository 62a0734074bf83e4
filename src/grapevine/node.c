/*
 * node.c - builds the parts of a router process bottom up and takes them down in reverse.
 *
 * Whatever fails to open is logged where it fails; then what was opened before it is taken down the
 * same way as at the end of a long life, and the process ends with 1.
 */
#include "node.h"

#include "grapevine/base/assert.h"
#include "grapevine/base/log.h"
#include "grapevine/http/uri.h"
#include "grapevine/net/source.h"
#include "inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MANUAL_KEYS_MAX  262144 /* routing keys that a pool's policy remembers; 12 MiB */
#define BYTES_PER_TOKEN  4      /* of English, for --prefix-token-count */
#define TOUCH_INTERVAL_S 5
#define TRIES_MAX        1024
#define MIN_AGE_S        10
#define MAX_AHEAD_S      60
#define FIRST_PASSED_FD  3 /* sd_listen_fds(3) */

static bool is_given(const char *text)
{
    return text != NULL && text[0] != '\0';
}

void gv_node_name(const struct gv_config *config, char *name, size_t size)
{
    char host[GV_NODE_NAME_MAX - 16] = "node";
    if (is_given(config->node_name)) {
        (void)snprintf(name, size, "%s", config->node_name);
        return;
    }
    if (gethostname(host, sizeof host) != 0 || host[0] == '\0') {
        (void)snprintf(host, sizeof host, "node");
    }
    host[sizeof host - 1] = '\0';
    if (config->port != 0) {
        (void)snprintf(name, size, "%s:%u", host, (unsigned)config->port);
    } else { /* the port is not known yet, and several such nodes may share a host */
        (void)snprintf(name, size, "%s:p%ld", host, (long)getpid());
    }
}

/* ---- knowledge: what the loops share -----------------------------------------------------------
 */

static enum gv_err open_keyring(struct gv_node *node)
{
    const char *path = node->config->mesh_keyring;
    uint8_t key[GV_KEY_BYTES] = {0};
    enum gv_err err = GV_OK;
    if (is_given(path)) {
        struct gv_keyring_fault fault = {.text = "?"};
        err = gv_keyring_load(path, &node->keyring, &fault);
        if (err != GV_OK) {
            gv_log(GV_LOG_ERROR, "keyring.unusable", GV_STR("path", path),
                   GV_UINT("line", fault.line), GV_STR("why", fault.text), GV_ERR(err));
            return err;
        }
        err = gv_keyring_fingerprint(node->keyring, key);
    }
    if (err == GV_OK) {
        gv_fingerprint_secret_init(&node->secret, key);
    }
    return err;
}

/* The policy of a pool, and with --routing-key-override the one of its requests with a key, where
 * the policy does not go by keys itself. */
static enum gv_err open_policy(struct gv_node *node, const char *name,
                               struct gv_policy_options options, enum gv_pool pool)
{
    enum gv_err err = gv_policy_new(name, options, node->forest, node->load, &node->policies[pool]);
    bool goes_by_keys = strcmp(name, "manual") == 0 || strcmp(name, "consistent_hashing") == 0;
    if (err == GV_OK && node->config->routing_key_override && !goes_by_keys) {
        name = "manual";
        err = gv_policy_new(name, options, node->forest, node->load, &node->keyed[pool]);
    }
    if (err != GV_OK) {
        gv_log(GV_LOG_ERROR, "policy.unusable", GV_STR("policy", name),
               GV_STR("pool", gv_pool_name(pool)), GV_ERR(err));
    }
    return err;
}

static enum gv_err open_policies(struct gv_node *node)
{
    const struct gv_config *config = node->config;
    struct gv_policy_options options = {.cache_threshold = config->cache_threshold,
                                        .balance_abs_threshold = config->balance_abs_threshold,
                                        .balance_rel_threshold = config->balance_rel_threshold,
                                        .usage_spread = config->balance_token_usage_threshold,
                                        .usage_most = config->overload_token_usage_threshold,
                                        .report_stale_ms = config->load_monitor_interval_ms *
                                                           GV_LOAD_STALE_INTERVALS,
                                        .load_bound = config->prefix_hash_load_factor,
                                        .block_bytes = config->block_bytes,
                                        .manual_idle_ms = config->manual_idle_ms,
                                        .manual_key_max = MANUAL_KEYS_MAX};
    uint64_t hash_bytes = (uint64_t)config->prefix_token_count * BYTES_PER_TOKEN;
    options.hash_blocks = (uint32_t)((hash_bytes + config->block_bytes - 1) / config->block_bytes);
    bool known = gv_assignment_parse(config->assignment_mode, &options.assignment);
    GV_ASSERT(known); /* config checked it */
    const char *names[GV_POOL_COUNT] = {
        [GV_POOL_REGULAR] = config->policy,
        [GV_POOL_PREFILL] =
            is_given(config->prefill_policy) ? config->prefill_policy : config->policy,
        [GV_POOL_DECODE] = is_given(config->decode_policy) ? config->decode_policy : config->policy,
    };
    enum gv_err err = GV_OK;
    for (unsigned pool = 0; err == GV_OK && pool < GV_POOL_COUNT; pool++) {
        err = open_policy(node, names[pool], options, (enum gv_pool)pool);
    }
    return err;
}

static enum gv_err open_tenants(struct gv_node *node)
{
    char names[GV_TENANT_LIMITS_MAX][GV_TENANT_NAME_MAX];
    struct gv_quota_limit limits[GV_TENANT_LIMITS_MAX];
    enum gv_err err = GV_OK;
    if (node->config->tenant_rate_limits.count > 0) {
        uint32_t count = gv_tenants_limits(node->config, names, limits);
        err = gv_quota_new(limits, count, gv_clock_us(), &node->quota);
    }
    if (err == GV_OK && node->config->tenant_api_keys.count > 0) {
        err = gv_tenants_new(node->config, node->quota, &node->tenants);
    }
    return err;
}

static enum gv_err open_knowledge(struct gv_node *node)
{
    const struct gv_config *config = node->config;
    struct gv_forest_limits limits = {.max_bytes = config->trie_memory_bytes,
                                      .touch_interval_s = TOUCH_INTERVAL_S,
                                      .max_keys = TRIES_MAX,
                                      .worker_blocks = config->max_tree_bytes / config->block_bytes,
                                      .min_age_s = MIN_AGE_S,
                                      .max_ahead_s = MAX_AHEAD_S};
    enum gv_err err = gv_fleet_new(&node->fleet);
    if (err == GV_OK) {
        err = gv_forest_new(limits, &node->forest);
    }
    if (err == GV_OK) {
        err = gv_load_new(&node->load);
    }
    if (err == GV_OK) {
        err = gv_breakers_new(gv_proxy_breaker_limits(config), &node->breakers);
    }
    if (err == GV_OK) {
        err = open_policies(node);
    }
    if (err == GV_OK && (config->max_concurrent_requests > 0 || config->rate_per_second > 0)) {
        struct gv_admission_limits admission = {.running_max = config->max_concurrent_requests,
                                                .per_second = config->rate_per_second,
                                                .waiting_max = config->queue_size};
        err = gv_admission_new(admission, gv_clock_us(), &node->admission);
    }
    if (err == GV_OK) {
        err = open_tenants(node);
    }
    return err;
}

static void close_knowledge(struct gv_node *node)
{
    for (unsigned pool = 0; pool < GV_POOL_COUNT; pool++) {
        gv_policy_free(node->policies[pool]);
        gv_policy_free(node->keyed[pool]);
    }
    gv_admission_free(node->admission);
    gv_tenants_free(node->tenants);
    gv_quota_free(node->quota);
    if (node->load != NULL) {
        gv_load_free(node->load);
    }
    gv_breakers_free(node->breakers);
    if (node->forest != NULL) {
        gv_forest_free(node->forest);
    }
    if (node->fleet != NULL) {
        gv_fleet_free(node->fleet);
    }
    gv_keyring_free(node->keyring);
}

/* ---- data loops --------------------------------------------------------------------------------
 */

static enum gv_err read_host(const char *option, const char *host, uint16_t port,
                             struct gv_addr *addr)
{
    enum gv_err err = gv_source_read(host, port, addr);
    if (err != GV_OK) {
        gv_log(GV_LOG_ERROR, "node.no_such_host", GV_STR("option", option), GV_STR("value", host),
               GV_ERR(err));
    }
    return err;
}

/* systemd's socket activation: the first socket that was passed to this very process, or 0. */
static int inherited_socket(void)
{
    const char *pid = getenv("LISTEN_PID");
    const char *count = getenv("LISTEN_FDS");
    if (pid == NULL || count == NULL || strtol(pid, NULL, 10) != (long)getpid() ||
        strtol(count, NULL, 10) < 1) {
        return 0;
    }
    gv_log(GV_LOG_INFO, "node.activated", GV_STR("sockets", count));
    return FIRST_PASSED_FD;
}

static void fill_shared(struct gv_node *node, uint32_t loop_count)
{
    node->shared = (struct gv_proxy_shared){.config = node->config,
                                            .fleet = node->fleet,
                                            .forest = node->forest,
                                            .load = node->load,
                                            .breakers = node->breakers,
                                            .secret = &node->secret,
                                            .admission = node->admission,
                                            .tenants = node->tenants,
                                            .quota = node->quota,
                                            .node_name = node->name,
                                            .client_tls = node->client_tls,
                                            .worker_tls = node->worker_tls,
                                            .inherited_fd = inherited_socket(),
                                            .loop_count = loop_count,
                                            .events = &gv_node_proxy_events,
                                            .owner = node};
    memcpy(node->shared.policies, node->policies, sizeof node->policies);
    memcpy(node->shared.keyed, node->keyed, sizeof node->keyed);
}

static enum gv_err open_data_loop(struct gv_node *node, struct gv_addr *addr)
{
    uint32_t i = node->proxy_count;
    char name[16];
    (void)snprintf(name, sizeof name, "gv-data-%u", (unsigned)(uint8_t)i);
    enum gv_err err = gv_loop_new(name, &node->data[i]);
    if (err == GV_OK) {
        gv_loop_set_spin(node->data[i], node->config->spin_us);
        gv_loop_set_keepalive(node->data[i], node->config->tcp_keepalive_s);
        err = gv_proxy_open(node->data[i], &node->shared, addr, &node->proxies[i]);
    }
    if (err != GV_OK) {
        char text[GV_ADDR_TEXT_BYTES];
        gv_log(GV_LOG_ERROR, "node.unbound", GV_STR("http", gv_addr_format(addr, text)),
               GV_ERR(err));
        return err;
    }
    *addr = gv_proxy_address(node->proxies[i]); /* all share the port that the first one got */
    node->proxy_count += 1;
    return GV_OK;
}

static enum gv_err open_data(struct gv_node *node)
{
    const struct gv_config *config = node->config;
    uint32_t count = config->threads != 0 ? config->threads : gv_loop_core_count();
    count = count > GV_NODE_LOOPS_MAX ? GV_NODE_LOOPS_MAX : count;
    fill_shared(node, count);
    struct gv_addr addr;
    enum gv_err err = read_host("host", config->host, config->port, &addr);
    for (uint32_t i = 0; err == GV_OK && i < count; i++) {
        err = open_data_loop(node, &addr);
    }
    return err;
}

/* Where this node's API answers, as others can reach it. */
static void find_url(struct gv_node *node)
{
    const struct gv_config *config = node->config;
    if (is_given(config->advertise_url)) {
        (void)snprintf(node->http_url, sizeof node->http_url, "%s", config->advertise_url);
        return;
    }
    struct gv_addr addr = gv_proxy_address(node->proxies[0]);
    uint16_t port = addr.port;
    bool known = !gv_addr_is_unspecified(&addr);
    if (is_given(config->mesh_advertise_host)) {
        known = gv_source_read(config->mesh_advertise_host, port, &addr) == GV_OK || known;
    } else if (!known) {
        known = gv_source_find(NULL, &addr) == GV_OK;
    }
    if (!known) { /* a host without a network */
        addr = (struct gv_addr){.family = 4, .ip = {127, 0, 0, 1}};
    }
    addr.port = port;
    char text[GV_ADDR_TEXT_BYTES];
    (void)snprintf(node->http_url, sizeof node->http_url, "%s://%s",
                   node->client_tls == NULL ? "http" : "https", gv_addr_format(&addr, text));
}

/* ---- settings ----------------------------------------------------------------------------------
 */

/* A setting of the cluster overrides what the node was started with, until it is unset. One that
 * this version does not know, or whose value it refuses, changes nothing here. Mesh thread. */
static void on_setting(void *owner, const char *name, const char *value)
{
    struct gv_node *node = owner;
    char why[GV_SETTING_WHY_BYTES];
    struct gv_settings started = gv_settings_of(node->config);
    if (value == NULL) {
        gv_setting_copy(name, &started, &node->settings);
    } else if (gv_setting_read(name, value, &node->settings, why) != GV_OK) {
        gv_log(GV_LOG_WARN, "setting.ignored", GV_STR("setting", name), GV_STR("why", why));
        gv_setting_copy(name, &started, &node->settings);
    }
    gv_log_set_level(node->settings.log_level);
    for (unsigned pool = 0; pool < GV_POOL_COUNT; pool++) {
        struct gv_policy *both[] = {node->policies[pool], node->keyed[pool]};
        for (size_t i = 0; i < 2 && both[i] != NULL; i++) {
            gv_policy_tune(both[i], node->settings.cache_threshold,
                           node->settings.balance_abs_threshold,
                           node->settings.balance_rel_threshold);
        }
    }
}

/* ---- mesh and workers --------------------------------------------------------------------------
 */

static enum gv_err open_cluster(struct gv_node *node)
{
    node->settings = gv_settings_of(node->config);
    enum gv_err err = gv_loop_new("gv-mesh", &node->mesh);
    if (err != GV_OK) {
        return err;
    }
    struct gv_cluster_options options = {.config = node->config,
                                         .node = node->name,
                                         .http_url = node->http_url,
                                         .keyring = node->keyring,
                                         .fleet = node->fleet,
                                         .forest = node->forest,
                                         .load = node->load,
                                         .quota = node->quota,
                                         .events = {.on_synced = gv_life_on_synced,
                                                    .on_conflict = gv_life_on_conflict,
                                                    .on_setting = on_setting},
                                         .owner = node};
    return gv_cluster_open(node->mesh, &options, &node->cluster);
}

/* Flags take the same way into the fleet as the API and the other nodes. */
static enum gv_err put_worker(struct gv_node *node, const char *url, enum gv_pool pool,
                              int32_t bootstrap_port)
{
    struct gv_worker worker;
    gv_worker_blank(&worker);
    worker.pool = pool;
    worker.source = GV_SOURCE_FLAG;
    worker.bootstrap_port = bootstrap_port;
    struct gv_uri uri;
    enum gv_err err = gv_uri_parse(gv_slice_text(url), &uri);
    char text[GV_URI_BYTES_MAX];
    if (err == GV_OK) {
        err = gv_uri_format(&uri, text);
    }
    if (err == GV_OK) {
        gv_slice_copy_text(gv_slice_text(text), worker.url, sizeof worker.url);
        if (is_given(node->config->worker_api_key)) {
            gv_slice_copy_text(gv_slice_text(node->config->worker_api_key), worker.api_key,
                               sizeof worker.api_key);
        }
        if (is_given(node->config->model)) {
            gv_slice_copy_text(gv_slice_text(node->config->model), worker.models[0],
                               sizeof worker.models[0]);
            worker.model_count = 1;
        }
        err = gv_cluster_put_worker(node->cluster, &worker);
    }
    if (err != GV_OK) {
        gv_log(GV_LOG_ERROR, "node.bad_worker", GV_STR("worker", url),
               GV_STR("pool", gv_pool_name(pool)), GV_ERR(err));
    }
    return err;
}

static enum gv_err put_workers(struct gv_node *node)
{
    const struct gv_config *config = node->config;
    enum gv_err err = GV_OK;
    for (size_t i = 0; err == GV_OK && i < config->worker_urls.count; i++) {
        err = put_worker(node, config->worker_urls.items[i], GV_POOL_REGULAR, -1);
    }
    for (size_t i = 0; err == GV_OK && i < config->prefill_count; i++) {
        err = put_worker(node, config->prefills[i].url, GV_POOL_PREFILL,
                         config->prefills[i].bootstrap_port);
    }
    for (size_t i = 0; err == GV_OK && i < config->decode_urls.count; i++) {
        err = put_worker(node, config->decode_urls.items[i], GV_POOL_DECODE, -1);
    }
    return err;
}

/* ---- service -----------------------------------------------------------------------------------
 */

static enum gv_err open_service(struct gv_node *node)
{
    enum gv_err err =
        gv_probe_open(node->service, &node->shared, &gv_node_probe_events, node, &node->probe);
    struct gv_addr addr;
    if (err == GV_OK) {
        err = read_host("prometheus-host", node->config->prometheus_host,
                        node->config->prometheus_port, &addr);
    }
    if (err != GV_OK) {
        return err;
    }
    struct gv_addr probe_addr = {.family = 0};
    if (node->config->health_check_port != 0) {
        err = read_host("host", node->config->host, node->config->health_check_port, &probe_addr);
        if (err != GV_OK) {
            return err;
        }
    }
    struct gv_admin_parts parts = {.shared = &node->shared,
                                   .tls = node->admin_tls,
                                   .probe_addr = probe_addr,
                                   .cluster = node->cluster,
                                   .probe = node->probe,
                                   .proxies = node->proxies,
                                   .http_url = node->http_url,
                                   .started_wall_ms = gv_clock_wall_ms(),
                                   .started_at_ms = gv_clock_us() / 1000};
    err = gv_admin_open(node->service, &parts, &addr, &node->admin);
    if (err != GV_OK) {
        char text[GV_ADDR_TEXT_BYTES];
        gv_log(GV_LOG_ERROR, "node.no_metrics", GV_STR("metrics", gv_addr_format(&addr, text)),
               GV_ERR(err));
    }
    return err;
}

/* ---- the whole ---------------------------------------------------------------------------------
 */

static enum gv_err open_parts(struct gv_node *node)
{
    enum gv_err err = open_keyring(node);
    if (err == GV_OK) {
        err = open_knowledge(node);
    }
    if (err == GV_OK) {
        err = gv_certs_open(node);
    }
    if (err == GV_OK) {
        err = open_data(node);
    }
    if (err == GV_OK) {
        find_url(node);
        err = open_cluster(node);
    }
    if (err == GV_OK) {
        err = open_service(node);
    }
    if (err == GV_OK) {
        err = put_workers(node);
    }
    return err;
}

/* The loops of proxies run also when the rest could not start: closing needs them. */
static enum gv_err start_threads(struct gv_node *node, bool with_mesh)
{
    for (uint32_t i = 0; i < node->proxy_count; i++) {
        enum gv_err err = gv_loop_start(node->data[i]);
        if (err != GV_OK) {
            return err;
        }
        node->loop_started += 1;
    }
    if (with_mesh) {
        enum gv_err err = gv_loop_start(node->mesh);
        node->mesh_started = err == GV_OK;
        return err;
    }
    return GV_OK;
}

static void stop_threads(struct gv_node *node)
{
    for (uint32_t i = 0; i < node->loop_started; i++) {
        gv_loop_stop(node->data[i]);
        gv_loop_join(node->data[i]);
    }
    if (node->mesh_started) {
        gv_loop_stop(node->mesh);
        gv_loop_join(node->mesh);
    }
}

static void close_parts(struct gv_node *node)
{
    stop_threads(node);
    for (uint32_t i = 0; i < GV_NODE_LOOPS_MAX; i++) {
        gv_loop_free(node->data[i]);
    }
    gv_cluster_close(node->cluster);
    gv_loop_free(node->mesh);
    gv_loop_free(node->service);
    gv_certs_close(node);
    close_knowledge(node);
    gv_life_deinit(node);
}

int gv_node_run(const struct gv_config *config)
{
    struct gv_node *node = gv_mem_new(GV_MEM_GENERAL, sizeof *node);
    if (node == NULL) {
        return 1;
    }
    node->config = config;
    gv_life_init(node);
    gv_node_name(config, node->name, sizeof node->name);
    enum gv_err err = gv_loop_new("gv-service", &node->service);
    if (err == GV_OK) {
        err = gv_life_open(node);
    }
    if (err == GV_OK) {
        err = open_parts(node);
        bool opened = err == GV_OK;
        enum gv_err started = start_threads(node, opened);
        if (opened && started == GV_OK) {
            gv_life_begin(node);
        } else {
            gv_log(GV_LOG_ERROR, "node.failed", GV_ERR(opened ? started : err));
            gv_life_abort(node, 1);
        }
        gv_loop_run(node->service);
    } else {
        node->exit_code = 1;
        gv_log(GV_LOG_ERROR, "node.no_loop", GV_ERR(err));
    }
    close_parts(node);
    int code = node->exit_code;
    gv_mem_free(GV_MEM_GENERAL, node);
    return code;
}
