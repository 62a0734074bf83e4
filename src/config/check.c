/*
 * check.c - do the values fit each other?
 *
 * Each complaint says what to do. Warnings are for what may be meant: no workers yet, for example.
 */
#include "grapevine/base/addr.h"
#include "grapevine/base/mem.h"
#include "grapevine/config/control.h"
#include "grapevine/config/tenant.h"
#include "grapevine/http/uri.h"
#include "grapevine/route/policy.h"
#include "inner.h"
#include <stdio.h>
#include <string.h>
#include <strings.h>

static bool is_given(const char *text)
{
    return text[0] != '\0';
}

static bool is_loopback(const char *host)
{
    struct gv_addr addr;
    return strcasecmp(host, "localhost") == 0 ||
           (gv_addr_parse(gv_slice_text(host), 1, &addr) == GV_OK && gv_addr_is_loopback(&addr));
}

static void check_policy(struct gv_loading *loading, const char *flag, const char *name)
{
    char names[384] = "";
    size_t len = 0;
    for (const char *const *at = gv_policy_names(); *at != NULL; at++) {
        if (strcmp(*at, name) == 0) {
            return;
        }
        if (len < sizeof names) {
            len += (size_t)snprintf(names + len, sizeof names - len, "%s%s", len == 0 ? "" : ", ",
                                    *at);
        }
    }
    gv_config_complain(loading, "%s: there is no policy '%s'; there are %s", flag, name, names);
}

static bool check_url(struct gv_loading *loading, const char *flag, const char *text,
                      char canonical[GV_URI_BYTES_MAX])
{
    struct gv_uri uri;
    enum gv_err err = gv_uri_parse(gv_slice_text(text), &uri);
    if (err == GV_OK) {
        err = gv_uri_format(&uri, canonical);
    }
    if (err == GV_EUNSUPPORTED) {
        gv_config_complain(loading, "%s: '%s': only http:// and https:// are spoken to workers",
                           flag, text);
    } else if (err != GV_OK) {
        gv_config_complain(loading, "%s: '%s' is not a URL like http://host:8000", flag, text);
    }
    return err == GV_OK;
}

static void check_urls(struct gv_loading *loading, const char *flag,
                       const struct gv_config_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        char own[GV_URI_BYTES_MAX];
        char other[GV_URI_BYTES_MAX];
        struct gv_uri uri;
        if (!check_url(loading, flag, list->items[i], own)) {
            continue;
        }
        for (size_t j = 0; j < i; j++) {
            if (gv_uri_parse(gv_slice_text(list->items[j]), &uri) == GV_OK &&
                gv_uri_format(&uri, other) == GV_OK && strcmp(own, other) == 0) {
                gv_config_complain(loading, "%s: %s is given twice", flag, own);
                break;
            }
        }
    }
}

static void check_workers(struct gv_loading *loading)
{
    const struct gv_config *config = loading->config;
    char canonical[GV_URI_BYTES_MAX];
    check_urls(loading, "--worker-urls", &config->worker_urls);
    check_urls(loading, "--decode", &config->decode_urls);
    for (size_t i = 0; i < config->prefill_count; i++) {
        (void)check_url(loading, "--prefill", config->prefills[i].url, canonical);
    }
    bool has_pairs = config->prefill_count > 0 || config->decode_urls.count > 0;
    if (config->pd_disaggregation == 0 && has_pairs) {
        gv_config_complain(loading, "--prefill and --decode mean nothing without "
                                    "--pd-disaggregation; add it, or use --worker-urls");
    } else if (config->pd_disaggregation != 0 && config->worker_urls.count > 0) {
        gv_config_complain(loading, "--worker-urls means nothing with --pd-disaggregation; say "
                                    "--prefill URL or --decode URL");
    } else if (config->pd_disaggregation != 0 &&
               (config->prefill_count == 0 || config->decode_urls.count == 0)) {
        gv_config_complain(loading,
                           "--pd-disaggregation needs at least one --prefill URL and one "
                           "--decode URL; %s is missing",
                           config->prefill_count == 0 ? "--prefill" : "--decode");
    } else if (config->pd_disaggregation == 0 && config->worker_urls.count == 0) {
        gv_config_notice(loading, "WARNING: no workers were given; every request gets 503 until "
                                  "one is added by POST /workers (or given by --worker-urls)");
    }
}

/* What is wrong is told without the key. */
static void check_control_keys(struct gv_loading *loading)
{
    const struct gv_config_list *keys = &loading->config->control_keys;
    for (size_t i = 0; i < keys->count; i++) {
        struct gv_control_key key;
        if (!gv_control_key_read(keys->items[i], &key)) {
            gv_config_complain(loading,
                               "--control-plane-api-keys: number %zu is not ID:NAME:ROLE:KEY with "
                               "role admin or user",
                               i + 1);
        }
    }
}

static void check_policies(struct gv_loading *loading)
{
    const struct gv_config *config = loading->config;
    enum gv_assignment assignment;
    check_policy(loading, "--policy", config->policy);
    if (strcmp(config->pd_protocol, "sglang") != 0 && strcmp(config->pd_protocol, "vllm") != 0) {
        gv_config_complain(loading, "--pd-protocol: '%s' is neither sglang nor vllm",
                           config->pd_protocol);
    }
    if (!gv_assignment_parse(config->assignment_mode, &assignment)) {
        gv_config_complain(loading,
                           "--assignment-mode: '%s' is none of random, min_load and min_group",
                           config->assignment_mode);
    }
    if (is_given(config->prefill_policy)) {
        check_policy(loading, "--prefill-policy", config->prefill_policy);
    }
    if (is_given(config->decode_policy)) {
        check_policy(loading, "--decode-policy", config->decode_policy);
    }
    if ((is_given(config->prefill_policy) || is_given(config->decode_policy)) &&
        config->pd_disaggregation == 0) {
        gv_config_notice(loading, "--prefill-policy and --decode-policy have no effect without "
                                  "--pd-disaggregation");
    }
    if ((config->block_bytes & (config->block_bytes - 1)) != 0) {
        gv_config_complain(loading, "--block-bytes: %u is not a power of two", config->block_bytes);
    }
}

static void check_times(struct gv_loading *loading)
{
    const struct gv_config *config = loading->config;
    if (config->retry_initial_backoff_ms > config->retry_max_backoff_ms) {
        gv_config_complain(loading, "--retry-initial-backoff-ms is larger than "
                                    "--retry-max-backoff-ms");
    }
    if (config->first_byte_timeout_ms > config->request_timeout_ms) {
        gv_config_complain(loading,
                           "--first-byte-timeout-secs is larger than --request-timeout-secs");
    }
    if (config->health_endpoint[0] != '/') {
        gv_config_complain(loading, "--health-check-endpoint: '%s' does not begin with '/'",
                           config->health_endpoint);
    }
}

static void check_ports(struct gv_loading *loading)
{
    const struct gv_config *config = loading->config;
    if (config->port != 0 && config->port == config->prometheus_port) {
        gv_config_complain(loading, "--port and --prometheus-port are both %u", config->port);
    }
    uint16_t probes = config->health_check_port;
    if (probes != 0 && (probes == config->port || probes == config->prometheus_port ||
                        (config->enable_mesh != 0 && probes == config->mesh_port))) {
        gv_config_complain(loading, "--health-check-port %u is another port of this node, too",
                           probes);
    }
    if (config->enable_mesh != 0 && config->mesh_port != 0 &&
        (config->mesh_port == config->port || config->mesh_port == config->prometheus_port)) {
        gv_config_complain(loading, "--mesh-port %u is also --%s", config->mesh_port,
                           config->mesh_port == config->port ? "port" : "prometheus-port");
    }
}

static bool has_key(const struct gv_config *config, const char *wanted)
{
    char name[GV_TENANT_NAME_MAX];
    struct gv_slice key;
    for (size_t i = 0; i < config->tenant_api_keys.count; i++) {
        if (gv_tenant_key_parse(config->tenant_api_keys.items[i], name, &key) &&
            strcmp(name, wanted) == 0) {
            return true;
        }
    }
    return false;
}

static void check_tenants(struct gv_loading *loading)
{
    const struct gv_config *config = loading->config;
    char name[GV_TENANT_NAME_MAX];
    char other[GV_TENANT_NAME_MAX];
    struct gv_slice key;
    double per_second;
    for (size_t i = 0; i < config->tenant_api_keys.count; i++) {
        if (!gv_tenant_key_parse(config->tenant_api_keys.items[i], name, &key)) {
            gv_config_complain(loading,
                               "--tenant-api-keys: value %zu is not NAME:KEY, the name 1 "
                               "to 63 letters, digits, '.', '_' or '-'",
                               i + 1);
        }
    }
    const struct gv_config_list *limits = &config->tenant_rate_limits;
    if (limits->count > GV_TENANT_LIMITS_MAX) {
        gv_config_complain(loading, "--tenant-rate-limit: %zu limits; allowed are %d",
                           limits->count, GV_TENANT_LIMITS_MAX);
    }
    for (size_t i = 0; i < limits->count; i++) {
        if (!gv_tenant_limit_parse(limits->items[i], name, &per_second)) {
            gv_config_complain(loading,
                               "--tenant-rate-limit: '%s' is not NAME=RATE with a rate "
                               "above 0 and up to %.0f requests per second",
                               limits->items[i], GV_TENANT_RATE_MAX);
            continue;
        }
        if (!has_key(config, name)) {
            gv_config_complain(loading,
                               "--tenant-rate-limit: no key of tenant '%s' is given; add "
                               "--tenant-api-keys %s:KEY",
                               name, name);
        }
        for (size_t j = 0; j < i; j++) {
            if (gv_tenant_limit_parse(limits->items[j], other, &per_second) &&
                strcmp(name, other) == 0) {
                gv_config_complain(loading, "--tenant-rate-limit: '%s' is given twice", name);
                break;
            }
        }
    }
}

static void check_headers(struct gv_loading *loading)
{
    struct gv_config *config = loading->config;
    config->header_policy_strict = strcmp(config->header_policy, "strict") == 0;
    if (!config->header_policy_strict && strcmp(config->header_policy, "pass") != 0) {
        gv_config_complain(loading, "--header-policy: '%s' is not pass or strict",
                           config->header_policy);
    }
}

/* A certificate and its key, both or none. */
static void check_identity(struct gv_loading *loading, const char *cert_flag, const char *cert,
                           const char *key_flag, const char *key)
{
    if (is_given(cert) != is_given(key)) {
        gv_config_complain(loading, "%s needs %s", is_given(cert) ? cert_flag : key_flag,
                           is_given(cert) ? key_flag : cert_flag);
    }
}

static void check_tls(struct gv_loading *loading)
{
    const struct gv_config *config = loading->config;
    check_identity(loading, "--tls-cert-path", config->tls_cert_path, "--tls-key-path",
                   config->tls_key_path);
    check_identity(loading, "--admin-tls-cert-path", config->admin_tls_cert_path,
                   "--admin-tls-key-path", config->admin_tls_key_path);
    check_identity(loading, "--client-cert-path", config->client_cert_path, "--client-key-path",
                   config->client_key_path);
    if (config->tls_client_ca_paths.count > 0 && !is_given(config->tls_cert_path)) {
        gv_config_complain(loading, "--tls-client-ca-path needs --tls-cert-path: only who speaks "
                                    "TLS shows a certificate");
    }
    if (config->admin_tls_client_ca_paths.count > 0 && !is_given(config->admin_tls_cert_path)) {
        gv_config_complain(loading, "--admin-tls-client-ca-path needs --admin-tls-cert-path");
    }
    if (strcmp(config->tls_client_auth, "required") != 0 &&
        strcmp(config->tls_client_auth, "optional") != 0) {
        gv_config_complain(loading, "--tls-client-auth: '%s' is neither required nor optional",
                           config->tls_client_auth);
    }
}

static bool is_name(const char *text)
{
    return text[strspn(
               text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")] == '\0';
}

/* "http://host:39527/" is how the SMG router writes a peer: the host and port are meant. */
static void trim_seeds(struct gv_config *config)
{
    for (size_t i = 0; i < config->seeds.count; i++) {
        char *seed = config->seeds.items[i];
        char *behind = strstr(seed, "://");
        if (behind != NULL) {
            memmove(seed, behind + 3, strlen(behind + 3) + 1);
            size_t len = strlen(seed);
            if (len > 0 && seed[len - 1] == '/') {
                seed[len - 1] = '\0';
            }
        }
    }
}

/* Is a seed on another machine, as far as its text tells? */
static const char *distant_seed(const struct gv_config *config)
{
    for (size_t i = 0; i < config->seeds.count; i++) {
        const char *seed = config->seeds.items[i];
        struct gv_addr addr;
        bool is_near = strcmp(seed, "localhost") == 0 || strncmp(seed, "localhost:", 10) == 0;
        if (gv_addr_parse(gv_slice_text(seed), config->mesh_port == 0 ? 1 : config->mesh_port,
                          &addr) == GV_OK) {
            is_near = gv_addr_is_loopback(&addr);
        }
        if (!is_near) {
            return seed;
        }
    }
    return NULL;
}

static void check_mesh(struct gv_loading *loading)
{
    struct gv_config *config = loading->config;
    bool has_keys = is_given(config->mesh_keyring);
    if (config->seeds.count > 0 || has_keys) {
        config->enable_mesh = 1;
    }
    if (!is_name(config->node_name)) {
        gv_config_complain(loading, "--node-name: '%s' may hold letters, digits, '.', '_', '-'",
                           config->node_name);
    }
    if (!is_name(config->cluster_id)) {
        gv_config_complain(loading, "--cluster-id: '%s' may hold letters, digits, '.', '_', '-'",
                           config->cluster_id);
    }
    trim_seeds(config);
    if (config->enable_mesh == 0) {
        return;
    }
    if (config->mesh_insecure != 0 && !is_given(config->mesh_host)) {
        char *host = gv_mem_copy_text(GV_MEM_GENERAL, config->host);
        if (host == NULL) {
            gv_config_complain(loading, "out of memory");
            return;
        }
        gv_mem_free(GV_MEM_GENERAL, config->mesh_host);
        config->mesh_host = host;
    }
    if (has_keys || config->mesh_insecure != 0) {
        return;
    }
    static const char mend[] = "make a key ring and give it to every node with --mesh-keyring "
                               "FILE, or trust everybody who reaches the port: --mesh-insecure";
    const char *distant = distant_seed(config);
    if (is_given(config->mesh_host) && !is_loopback(config->mesh_host)) {
        gv_config_complain(loading, "--mesh-host %s without keys: %s", config->mesh_host, mend);
    } else if (distant != NULL) {
        gv_config_complain(loading,
                           "--seeds %s is another host, and without keys the mesh stays "
                           "on 127.0.0.1: %s",
                           distant, mend);
    }
}

void gv_config_check(struct gv_loading *loading)
{
    check_workers(loading);
    check_policies(loading);
    check_control_keys(loading);
    check_times(loading);
    check_mesh(loading);
    check_ports(loading);
    check_headers(loading);
    check_tenants(loading);
    check_tls(loading);
}
