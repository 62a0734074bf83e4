/*
 * option.c - the table itself, and looking things up in it.
 */
#include "grapevine/config/option.h"

#include <ctype.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define AT(field) offsetof(struct gv_config, field)
#define DAY_S     86400.0
#define WEEK_S    604800.0
#define GIB       1073741824.0
#define MANY      1000000.0

#define ROW(flag, kind, in, field, text, from, to, sentence)                                       \
    {                                                                                              \
        .name = (flag), .type = GV_OPTION_##kind, .group = GV_OPTION_##in, .offset = AT(field),    \
        .default_text = (text), .least = (from), .most = (to), .help = (sentence)                  \
    }
#define ALIASED(flag, others, kind, in, field, text, from, to, sentence)                           \
    {                                                                                              \
        .name = (flag), .aliases = (others), .type = GV_OPTION_##kind, .group = GV_OPTION_##in,    \
        .offset = AT(field), .default_text = (text), .least = (from), .most = (to),                \
        .help = (sentence)                                                                         \
    }
#define SECRET(flag, kind, in, field, from, to, sentence)                                          \
    {                                                                                              \
        .name = (flag), .type = GV_OPTION_##kind, .group = GV_OPTION_##in, .is_secret = true,      \
        .offset = AT(field), .default_text = "", .least = (from), .most = (to), .help = (sentence) \
    }

static const struct gv_option table[] = {
    ROW("host", TEXT, SERVING, host, "0.0.0.0", 1, 255, "Address to serve clients on."),
    ROW("port", PORT, SERVING, port, "30000", 0, 65535,
        "Port to serve clients on; 0 lets the kernel choose, and the start line says which."),
    ROW("threads", COUNT, SERVING, threads, "0", 0, 1024,
        "Loops that carry requests; 0 means one per core."),
    ROW("spin-us", COUNT, SERVING, spin_us, "0", 0, 1000000,
        "Microseconds that a loop looks for more after bytes came, before it sleeps: lower latency "
        "for a core that is never given away; 0: sleep at once."),
    ROW("tcp-keepalive-secs", COUNT, SERVING, tcp_keepalive_s, "30", 0, 32767,
        "Silence after which the kernel of a client or worker is asked whether it is there; it has "
        "half a minute to answer; 0: never asked."),
    ROW("worker-urls", LIST, SERVING, worker_urls, "", 0, 1024,
        "Workers to begin with, e.g. http://10.0.0.1:8000; more can be added by POST /workers."),
    SECRET(
        "api-key", KEYS, SERVING, api_keys, 1, 4096,
        "Key that clients must show as 'Authorization: Bearer KEY'; several may be given; without "
        "one everybody may ask."),
    SECRET("api-key-file", KEY_FILE, SERVING, api_keys, 0, 0,
           "File with one client key per line; keeps keys out of the process list."),
    SECRET("tenant-api-keys", KEYS, SERVING, tenant_api_keys, 1, 4096,
           "Key of a tenant, written NAME:KEY; several may be given, also several for one name. "
           "Clients may show it as they may --api-key; the admin port does not take it."),
    SECRET("tenant-api-keys-file", KEY_FILE, SERVING, tenant_api_keys, 0, 0,
           "File with one NAME:KEY per line."),
    ROW("tenant-rate-limit", LIST, SERVING, tenant_rate_limits, "", 0, 256,
        "Requests per second that all nodes together let a tenant send, written NAME=RATE; more "
        "get "
        "429."),
    SECRET("control-plane-api-keys", KEYS, SERVING, control_keys, 1, 4096,
           "Key of an operator as ID:NAME:ROLE:KEY, ROLE admin or user; with one, /workers and all "
           "other administration take only the admins' keys; several may be given."),
    SECRET("control-plane-api-keys-file", KEY_FILE, SERVING, control_keys, 0, 0,
           "File with one ID:NAME:ROLE:KEY per line."),
    SECRET("worker-api-key", TEXT, SERVING, worker_api_key, 0, 4096,
           "Key shown to the workers given by flags."),
    SECRET("worker-api-key-file", KEY_FILE, SERVING, worker_api_key, 0, 0,
           "File with the key shown to the workers given by flags."),
    ROW("model", TEXT, SERVING, model, "", 0, 255,
        "Model of workers given by flags that do not tell theirs."),
    ROW("max-payload-size", SIZE, SERVING, max_payload_bytes, "536870912", 1024, 64 * GIB,
        "Largest request body in bytes; larger ones get 413."),
    ROW("request-timeout-secs", SECONDS, SERVING, request_timeout_ms, "1800", 1, WEEK_S,
        "Longest time for one request in all."),
    ROW("connect-timeout-secs", SECONDS, SERVING, connect_timeout_ms, "10", 0.001, 3600,
        "Longest time to connect to a worker."),
    ROW("first-byte-timeout-secs", SECONDS, SERVING, first_byte_timeout_ms, "0", 0, WEEK_S,
        "Longest wait for the first byte of a worker's answer; 0 means the request timeout."),
    ROW("stream-idle-timeout-secs", SECONDS, SERVING, stream_idle_timeout_ms, "180", 0.001, WEEK_S,
        "Longest silence of a worker inside an answer."),
    ROW("client-idle-timeout-secs", SECONDS, SERVING, client_idle_timeout_ms, "75", 0.001, WEEK_S,
        "How long a client connection may rest between two requests."),
    ROW("client-head-timeout-secs", SECONDS, SERVING, client_head_timeout_ms, "30", 0.001, 3600,
        "Longest time for a client to send a whole request head."),
    ROW("client-body-timeout-secs", SECONDS, SERVING, client_body_timeout_ms, "60", 0.001, 3600,
        "Longest silence of a client inside a request body, and what a slow one gets on top of "
        "--client-body-min-rate."),
    ROW("client-body-min-rate", COUNT, SERVING, client_body_min_rate, "500", 0, 1000000000,
        "Bytes a second that a client must send of a request body on average; 0: silence alone "
        "counts."),
    ROW("max-connections", COUNT, SERVING, max_connections, "65536", 1, 16777216,
        "Client connections at a time."),
    ROW("cors-allowed-origins", LIST, SERVING, cors_allowed_origins, "", 0, 1024,
        "Origins whose pages may ask from a browser, e.g. https://chat.example; without one, any."),
    ROW("request-id-headers", LIST, SERVING, request_id_headers, "", 0, 64,
        "Headers that may hold a request's id, the first that does counts; without one: "
        "x-request-id, x-correlation-id, x-trace-id, request-id."),
    ROW("header-policy", TEXT, SERVING, header_policy, "pass", 1, 16,
        "Which headers workers get: 'pass', all but those of the connection; or 'strict', only "
        "authorization, ids, traceparent, tracestate and the routing key."),
    ROW("max-concurrent-requests", LIMIT, SERVING, max_concurrent_requests, "-1", -1, 1000000,
        "Requests that may be with workers at a time; others wait; -1 means no limit."),
    ROW("queue-size", COUNT, SERVING, queue_size, "100", 0, 1000000,
        "Requests that may wait for a place; more get 429."),
    ROW("queue-timeout-secs", SECONDS, SERVING, queue_timeout_ms, "60", 0.001, DAY_S,
        "Longest wait for a place; then 408."),
    ROW("rate-limit-tokens-per-second", REAL, SERVING, rate_per_second, "0", 0, MANY,
        "Requests let through per second in the long run, up to one second's worth at once; 0 "
        "means "
        "no limit."),
    ROW("max-head-bytes", SIZE32, SERVING, max_head_bytes, "65536", 1024, 1048576,
        "Largest request head in bytes; larger ones get 431."),
    ROW("max-header-count", COUNT, SERVING, max_header_count, "128", 8, 256,
        "Most header lines of a request; more get 431."),
    ROW("max-uri-bytes", SIZE32, SERVING, max_uri_bytes, "8192", 64, 65536,
        "Longest request target in bytes; longer ones get 414."),
    ROW("max-chunk-ext-bytes", SIZE32, SERVING, max_chunk_ext_bytes, "16384", 0, 1048576,
        "Bytes of chunk extensions in one request, all its chunks together; more get 400."),
    ROW("max-trailer-bytes", SIZE32, SERVING, max_trailer_bytes, "16384", 0, 1048576,
        "Bytes of trailers behind a chunked request; they are dropped, and more get 431."),
    ROW("max-pipelined-bytes", SIZE32, SERVING, max_pipelined_bytes, "65536", 0, 8388608,
        "Bytes kept of what a client sends behind a request under way; more is left unread until "
        "that is answered."),
    ROW("pool-idle-per-worker", COUNT, SERVING, pool_idle_per_worker, "500", 0, 65536,
        "Resting connections kept to each worker, per loop."),
    ROW("pool-idle-timeout-secs", SECONDS, SERVING, pool_idle_timeout_ms, "50", 0.001, 3600,
        "How long a connection to a worker may rest before it is closed."),

    ROW("tls-cert-path", TEXT, TLS, tls_cert_path, "", 0, 4096,
        "File in PEM with the certificate of --port and those that vouch for it; clients then "
        "speak HTTPS."),
    ROW("tls-key-path", TEXT, TLS, tls_key_path, "", 0, 4096,
        "File in PEM with the key of --tls-cert-path. Both are read again when they change, and on "
        "SIGHUP."),
    ROW("tls-client-ca-path", LIST, TLS, tls_client_ca_paths, "", 0, 16,
        "Files in PEM with authorities; clients must show a certificate that one of them vouches "
        "for."),
    ROW("tls-client-auth", TEXT, TLS, tls_client_auth, "required", 1, 16,
        "With --tls-client-ca-path: 'required', or 'optional', when a client may show none but not "
        "a bad one."),
    ROW("tls-handshake-timeout-secs", SECONDS, TLS, tls_handshake_timeout_ms, "10", 0.001, 3600,
        "Longest time for a client's handshake."),
    ROW("tls-max-handshakes", COUNT, TLS, tls_max_handshakes, "4096", 0, 16777216,
        "Handshakes of clients under way at a time; more are reset; 0 means no limit."),
    ROW("tls-max-handshakes-per-address", COUNT, TLS, tls_max_handshakes_per_address, "512", 0,
        16777216, "The same of one client address (of IPv6, one /64); 0 means no limit."),
    ROW("admin-tls-cert-path", TEXT, TLS, admin_tls_cert_path, "", 0, 4096,
        "As --tls-cert-path, for --prometheus-port."),
    ROW("admin-tls-key-path", TEXT, TLS, admin_tls_key_path, "", 0, 4096,
        "As --tls-key-path, for --prometheus-port."),
    ROW("admin-tls-client-ca-path", LIST, TLS, admin_tls_client_ca_paths, "", 0, 16,
        "As --tls-client-ca-path, for --prometheus-port; a certificate is required."),
    ROW("ca-cert-path", LIST, TLS, ca_cert_paths, "", 0, 16,
        "Files in PEM with the authorities that vouch for https:// workers; without one, those of "
        "the system."),
    ROW("client-cert-path", TEXT, TLS, client_cert_path, "", 0, 4096,
        "File in PEM with the certificate that https:// workers are shown."),
    ROW("client-key-path", TEXT, TLS, client_key_path, "", 0, 4096,
        "File in PEM with the key of --client-cert-path."),

    ROW("policy", TEXT, ROUTING, policy, "prefix_cost", 1, 64, "How a worker is chosen."),
    ROW("cache-threshold", REAL, ROUTING, cache_threshold, "0.3", 0, 1,
        "Share of a prompt that must be known to a worker for it to be chosen by prefix "
        "(cache_aware)."),
    ROW("balance-abs-threshold", COUNT, ROUTING, balance_abs_threshold, "64", 0, 4294967295.0,
        "Loads are out of balance when they differ by more than this many requests, and ..."),
    ROW("balance-rel-threshold", REAL, ROUTING, balance_rel_threshold, "1.5", 1, MANY,
        "... the largest load is more than this many times the smallest."),
    ROW("balance-token-usage-threshold", REAL, ROUTING, balance_token_usage_threshold, "1.0", 0, 1,
        "Loads are out of balance, too, when the shares of KV tokens in use that engines report "
        "differ by more than this; 1 means never."),
    ROW("overload-token-usage-threshold", REAL, ROUTING, overload_token_usage_threshold, "1.0", 0,
        1,
        "An engine that reports a larger share of its KV tokens in use is spared while another "
        "is not; 1 means never."),
    ROW("prefix-token-count", COUNT, ROUTING, prefix_token_count, "256", 1, 65536,
        "prefix_hash: leading tokens of a prompt that are hashed, taken as 4 bytes each and whole "
        "blocks."),
    ROW("prefix-hash-load-factor", REAL, ROUTING, prefix_hash_load_factor, "1.25", 1, 1000,
        "Where a hash places a request, no worker gets more than this many times the mean load, "
        "plus one."),
    ROW("assignment-mode", TEXT, ROUTING, assignment_mode, "random", 1, 16,
        "manual: which worker a new routing key gets: random, min_load (fewest requests) or "
        "min_group (fewest keys)."),
    ALIASED("manual-max-idle-secs", "max-idle-secs", SECONDS, ROUTING, manual_idle_ms, "14400",
            0.001, WEEK_S, "manual: a routing key unused for longer is forgotten."),
    ROW("routing-key-override", SWITCH, ROUTING, routing_key_override, "false", 0, 1,
        "Whatever the policy, a request with X-SMG-Routing-Key goes where its key went before, as "
        "by manual; consistent_hashing goes by its own rule."),
    ROW("max-tree-size", SIZE, ROUTING, max_tree_bytes, "67108864", 4096, 1024 * GIB,
        "Bytes of prompt remembered per worker."),
    ROW("trie-memory-bytes", SIZE, ROUTING, trie_memory_bytes, "1GiB", 1048576, 1024 * GIB,
        "Memory of this node for all its tries."),
    ROW("block-bytes", COUNT, ROUTING, block_bytes, "256", 16, 65536,
        "Bytes of prompt that are compared as one; all nodes of a mesh must have the same."),
    ROW("decision-headers", SWITCH, ROUTING, decision_headers, "false", 0, 1,
        "Say in response headers which worker was chosen and why."),

    ROW("retry-max-retries", COUNT, RETRYING, retry_max, "5", 1, 100,
        "Attempts for one request in all."),
    ROW("retry-initial-backoff-ms", MILLIS, RETRYING, retry_initial_backoff_ms, "50", 0, 600000,
        "Wait before the second attempt."),
    ROW("retry-max-backoff-ms", MILLIS, RETRYING, retry_max_backoff_ms, "30000", 0, 600000,
        "Longest wait between two attempts."),
    ROW("retry-backoff-multiplier", REAL, RETRYING, retry_backoff_multiplier, "1.5", 1, 100,
        "Each wait is this many times the one before."),
    ROW("retry-jitter-factor", REAL, RETRYING, retry_jitter_factor, "0.2", 0, 1,
        "Share of a wait by which it is made longer or shorter at random."),
    ROW("retry-budget-ratio", REAL, RETRYING, retry_budget_ratio, "0.2", 0, 10,
        "Retries per first attempt that a node sends at most; a few per second always may be."),
    ROW("disable-retries", SWITCH, RETRYING, disable_retries, "false", 0, 1,
        "One attempt and no more."),
    ROW("cb-failure-threshold", COUNT, RETRYING, cb_failure_threshold, "10", 1, 1000000,
        "Failures in a row, within the window, after which a worker gets no requests for a while."),
    ROW("cb-success-threshold", COUNT, RETRYING, cb_success_threshold, "3", 1, 1000000,
        "Successes in a row on trial, one at a time, after which it gets them again."),
    ROW("cb-timeout-duration-secs", SECONDS, RETRYING, cb_timeout_ms, "60", 0.001, DAY_S,
        "How long a worker that failed gets no requests."),
    ROW("cb-window-duration-secs", SECONDS, RETRYING, cb_window_ms, "120", 0.001, DAY_S,
        "How long a failure counts."),
    ROW("disable-circuit-breaker", SWITCH, RETRYING, disable_circuit_breaker, "false", 0, 1,
        "Send requests to workers however often they failed."),

    ROW("pd-disaggregation", SWITCH, PAIRS, pd_disaggregation, "false", 0, 1,
        "Send each request to a pair: one worker for prefill, one for decode."),
    ROW("prefill", PREFILLS, PAIRS, prefills, "", 0, 1024,
        "A prefill worker, and its bootstrap port or 'none'; repeat for more."),
    ROW("decode", LIST, PAIRS, decode_urls, "", 0, 1024, "Decode workers."),
    ROW("pd-protocol", TEXT, PAIRS, pd_protocol, "sglang", 1, 16,
        "How a pair meets: sglang (both at once, in a bootstrap room) or vllm (prefill first, then "
        "decode with its kv_transfer_params)."),
    ROW("prefill-first-byte-timeout-secs", SECONDS, PAIRS, prefill_first_byte_ms, "0", 0, WEEK_S,
        "Longest wait for the first byte of a prefill worker; 0: as --first-byte-timeout-secs."),
    ROW("decode-first-byte-timeout-secs", SECONDS, PAIRS, decode_first_byte_ms, "0", 0, WEEK_S,
        "Longest wait for the first byte of a decode worker; 0: as --first-byte-timeout-secs."),
    ROW("prefill-policy", TEXT, PAIRS, prefill_policy, "", 0, 64,
        "How a prefill worker is chosen; empty: as --policy."),
    ROW("decode-policy", TEXT, PAIRS, decode_policy, "", 0, 64,
        "How a decode worker is chosen; empty: as --policy."),

    ROW("health-check-interval-secs", SECONDS, PROBES, health_interval_ms, "60", 0.1, DAY_S,
        "Time between two probes of a worker that is ready; others are probed each second."),
    ROW("health-check-timeout-secs", SECONDS, PROBES, health_timeout_ms, "5", 0.001, 3600,
        "Longest time for one probe."),
    ROW("health-failure-threshold", COUNT, PROBES, health_failure_threshold, "3", 1, 1000000,
        "Failed probes in a row after which a worker is not ready."),
    ROW("health-success-threshold", COUNT, PROBES, health_success_threshold, "2", 1, 1000000,
        "Good probes in a row after which a worker is ready."),
    ROW("health-check-endpoint", TEXT, PROBES, health_endpoint, "/health", 1, 1024,
        "Path that is probed."),
    ALIASED("load-monitor-interval", "load-monitor-interval-secs", SECONDS, PROBES,
            load_monitor_interval_ms, "10", 0, DAY_S,
            "How often an engine is asked how busy it is, by one node of the mesh; what is three "
            "times as old is not believed; 0 means never."),
    ROW("abort-requests", SWITCH, SERVING, abort_requests, "false", 0, 1,
        "Give every request a name (rid) at engines that abort by name, and say it when the client "
        "leaves; pairs and ranks always do. A closed connection is an abort, too."),
    ROW("dp-aware", SWITCH, PROBES, dp_aware, "false", 0, 1,
        "An engine that spreads requests over data-parallel ranks is one worker per rank, "
        "URL@RANK."),

    ROW("shutdown-grace-period-secs", SECONDS, ENDING, shutdown_grace_ms, "180", 0, DAY_S,
        "How long requests under way may take to end after SIGTERM."),
    ROW("drain-settle-secs", SECONDS, ENDING, drain_settle_ms, "5", 0, 3600,
        "How long a worker or node is said to be leaving before it refuses requests."),

    ROW("enable-mesh", SWITCH, MESH, enable_mesh, "false", 0, 1,
        "Join the other nodes; --seeds and --mesh-keyring mean it too."),
    ALIASED("node-name", "mesh-server-name", TEXT, MESH, node_name, "", 0, 63,
            "Name of this node, different from all others; empty: from host name and port."),
    ROW("cluster-id", TEXT, MESH, cluster_id, "grapevine", 1, 63,
        "Name of the mesh; nodes of another one are strangers."),
    ALIASED("seeds", "mesh-peer-urls", LIST, MESH, seeds, "", 0, 1024,
            "Where to look for other nodes: host:port, a name with many addresses, or srv:NAME."),
    ROW("mesh-host", TEXT, MESH, mesh_host, "", 0, 255,
        "Address for other nodes; empty: --host with a key ring (or --mesh-insecure), else "
        "127.0.0.1."),
    ROW("mesh-port", PORT, MESH, mesh_port, "39527", 0, 65535,
        "Port for other nodes, TCP and UDP."),
    ROW("mesh-advertise-host", TEXT, MESH, mesh_advertise_host, "", 0, 255,
        "Address that other nodes are told to use; empty: found by looking."),
    ROW("mesh-keyring", TEXT, MESH, mesh_keyring, "", 0, 4096,
        "File with the keys of the mesh; with it all that nodes say is sealed."),
    ROW("mesh-insecure", SWITCH, MESH, mesh_insecure, "false", 0, 1,
        "Talk to other nodes without keys, on any address: whoever reaches the port is trusted."),
    ROW("mesh-sync-timeout-secs", SECONDS, MESH, mesh_sync_timeout_ms, "5", 0, 3600,
        "How long a node waits at its start to learn what the others know, before it is ready."),
    ROW("state-dir", TEXT, MESH, state_dir, "", 0, 4096,
        "Folder that keeps the node's identity and last known members over a restart."),
    ROW("advertise-url", TEXT, MESH, advertise_url, "", 0, 511,
        "Where this node's API answers, for others to show; empty: from host and port."),

    ROW("prometheus-host", TEXT, WATCHING, prometheus_host, "0.0.0.0", 1, 255,
        "Address of the admin port."),
    ROW("prometheus-port", PORT, WATCHING, prometheus_port, "29000", 0, 65535,
        "Admin port: GET /metrics and the admin API; 0 lets the kernel choose."),
    ROW("health-check-port", PORT, WATCHING, health_check_port, "0", 0, 65535,
        "Port on --host for /health, /liveness and /readiness alone, answered also while clients "
        "use all that --port has; 0 means none."),
    ROW("log-level", LEVEL, WATCHING, log_level, "info", 0, 0,
        "Least important lines to log: debug, info, warn or error."),
    ROW("log-json", SWITCH, WATCHING, log_json, "false", 0, 1, "Log JSON lines instead of text."),
};

#define TABLE_COUNT (sizeof table / sizeof table[0])
_Static_assert(TABLE_COUNT <= GV_OPTION_MAX, "the loader keeps an array of this size");

const struct gv_option *gv_option_table(size_t *count)
{
    *count = TABLE_COUNT;
    return table;
}

static bool is_same(struct gv_slice a, const char *b, size_t b_len)
{
    if (a.len != b_len) {
        return false;
    }
    for (size_t i = 0; i < b_len; i++) {
        char c = a.data[i] == '_' ? '-' : (char)a.data[i];
        if (c != b[i]) {
            return false;
        }
    }
    return true;
}

/* The next word at `*at`, which is moved behind it; false at the end. */
static bool next_word(const char **at, struct gv_slice *word)
{
    while (**at == ' ') {
        *at += 1;
    }
    size_t len = strcspn(*at, " ");
    *word = gv_slice_of(*at, len);
    *at += len;
    return len > 0;
}

const struct gv_option *gv_option_find(struct gv_slice name)
{
    for (size_t i = 0; i < TABLE_COUNT; i++) {
        if (is_same(name, table[i].name, strlen(table[i].name))) {
            return &table[i];
        }
        const char *at = table[i].aliases == NULL ? "" : table[i].aliases;
        struct gv_slice alias;
        while (next_word(&at, &alias)) {
            if (is_same(name, (const char *)alias.data, alias.len)) {
                return &table[i];
            }
        }
    }
    return NULL;
}

/* How many letters must be put in, taken out, changed or swapped to make one of the other. */
static size_t distance(struct gv_slice a, const char *b)
{
    size_t rows[3][GV_OPTION_NAME_BYTES];
    size_t b_len = strlen(b);
    if (a.len >= GV_OPTION_NAME_BYTES || b_len >= GV_OPTION_NAME_BYTES) {
        return GV_OPTION_NAME_BYTES;
    }
    for (size_t j = 0; j <= b_len; j++) {
        rows[0][j] = j;
    }
    for (size_t i = 1; i <= a.len; i++) {
        size_t *row = rows[i % 3];
        const size_t *above = rows[(i - 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t change = above[j - 1] + (a.data[i - 1] == (uint8_t)b[j - 1] ? 0 : 1);
            size_t least = above[j] + 1 < row[j - 1] + 1 ? above[j] + 1 : row[j - 1] + 1;
            row[j] = change < least ? change : least;
            if (i > 1 && j > 1 && a.data[i - 1] == (uint8_t)b[j - 2] &&
                a.data[i - 2] == (uint8_t)b[j - 1] && rows[(i - 2) % 3][j - 2] + 1 < row[j]) {
                row[j] = rows[(i - 2) % 3][j - 2] + 1;
            }
        }
    }
    return rows[a.len % 3][b_len];
}

const char *gv_option_nearest(struct gv_slice name)
{
    char plain[GV_OPTION_NAME_BYTES];
    if (name.len == 0 || !gv_slice_copy_text(name, plain, sizeof plain)) {
        return NULL;
    }
    for (char *at = plain; *at != '\0'; at++) {
        *at = *at == '_' ? '-' : (char)tolower((unsigned char)*at);
    }
    const char *nearest = NULL;
    size_t least = 1 + (strlen(plain) < 6 ? 2 : strlen(plain) / 3);
    for (size_t i = 0; i < TABLE_COUNT; i++) {
        size_t letters = distance(gv_slice_text(plain), table[i].name);
        if (letters < least) {
            least = letters;
            nearest = table[i].name;
        }
    }
    for (size_t i = 0; nearest == NULL && name.len >= 4 && i < TABLE_COUNT; i++) {
        if (strstr(table[i].name, plain) != NULL) {
            nearest = table[i].name;
        }
    }
    return nearest;
}

void gv_option_variable(const struct gv_option *option, char text[GV_OPTION_NAME_BYTES])
{
    (void)snprintf(text, GV_OPTION_NAME_BYTES, "GRAPEVINE_%s", option->name);
    for (char *at = text; *at != '\0'; at++) {
        *at = *at == '-' ? '_' : (char)toupper((unsigned char)*at);
    }
}

void gv_option_key(const struct gv_option *option, char text[GV_OPTION_NAME_BYTES])
{
    (void)snprintf(text, GV_OPTION_NAME_BYTES, "%s", option->name);
    for (char *at = text; *at != '\0'; at++) {
        *at = *at == '-' ? '_' : *at;
    }
}

static void write_size(double bytes, char text[24])
{
    static const char *const units[] = {"", "KiB", "MiB", "GiB"};
    size_t unit = 0;
    while (unit < 3 && bytes >= 1024 && (double)(uint64_t)(bytes / 1024) * 1024 >= bytes) {
        bytes /= 1024;
        unit += 1;
    }
    (void)snprintf(text, 24, "%.0f%s", bytes, units[unit]);
}

void gv_option_range(const struct gv_option *option, char text[GV_OPTION_NAME_BYTES])
{
    char least[24];
    char most[24];
    text[0] = '\0';
    switch (option->type) {
    case GV_OPTION_SWITCH:
    case GV_OPTION_LIST:
    case GV_OPTION_KEYS:
    case GV_OPTION_PREFILLS:
    case GV_OPTION_KEY_FILE:
        return;
    case GV_OPTION_LEVEL:
        (void)snprintf(text, GV_OPTION_NAME_BYTES, "debug, info, warn, error");
        return;
    case GV_OPTION_TEXT:
        (void)snprintf(text, GV_OPTION_NAME_BYTES, "%.0f..%.0f bytes", option->least, option->most);
        return;
    case GV_OPTION_SIZE:
    case GV_OPTION_SIZE32:
        write_size(option->least, least);
        write_size(option->most, most);
        (void)snprintf(text, GV_OPTION_NAME_BYTES, "%s..%s", least, most);
        return;
    case GV_OPTION_PORT:
    case GV_OPTION_COUNT:
    case GV_OPTION_LIMIT:
    case GV_OPTION_SECONDS:
    case GV_OPTION_MILLIS:
    case GV_OPTION_REAL:
        (void)snprintf(text, GV_OPTION_NAME_BYTES, "%.10g..%.10g", option->least, option->most);
        return;
    }
}
