/*
 * config.h - the file, the flags and the environment as one checked struct.
 *
 * Filled by gv_config_load(); a plain value afterwards, read by everybody, changed by nobody. The
 * option table (option.h) is the one description of every field: flag, type, unit, default, range.
 */
#ifndef GV_CONFIG_CONFIG_H
#define GV_CONFIG_CONFIG_H

#include "grapevine/base/err.h"
#include "grapevine/base/log.h"
#include <stddef.h>
#include <stdint.h>

#define GV_CONFIG_LIST_MAX 1024 /* items of one repeatable option */

struct gv_config_list {
    char **items; /* owned */
    size_t count;
};

struct gv_config_prefill {
    char *url;              /* owned */
    int32_t bootstrap_port; /* -1: none */
};

struct gv_config {
    /* serving */
    char *host;               /* "0.0.0.0" */
    uint16_t port;            /* 30000; 0: the kernel chooses, printed in the start line */
    uint32_t threads;         /* 0: one per core */
    uint32_t spin_us;         /* of a data loop before it sleeps; 0 */
    uint32_t tcp_keepalive_s; /* of silent connections; 30; 0: never */
    struct gv_config_list worker_urls;
    struct gv_config_list api_keys;        /* --api-key; empty: open */
    struct gv_config_list control_keys;    /* each as control.h reads it; empty: api_keys count */
    struct gv_config_list tenant_api_keys; /* "NAME:KEY", see tenant.h */
    struct gv_config_list tenant_rate_limits; /* "NAME=RATE" */
    char *worker_api_key;                     /* for workers of flags; "" none */
    char *model;                 /* --model: model of flag workers whose metadata tell none; "" */
    uint64_t max_payload_bytes;  /* 536870912 */
    uint64_t request_timeout_ms; /* 1800 s */
    uint64_t connect_timeout_ms; /* 10 s */
    uint64_t first_byte_timeout_ms;  /* 0: the request timeout */
    uint64_t stream_idle_timeout_ms; /* 180 s */
    uint64_t client_idle_timeout_ms; /* keep-alive 75 s */
    uint64_t client_head_timeout_ms; /* 30 s for a request head, then 60 s without body progress */
    uint64_t client_body_timeout_ms;
    uint32_t client_body_min_rate;              /* bytes a second on average; 500; 0: none */
    uint32_t max_connections;                   /* client connections of this node; 65536 */
    uint32_t max_concurrent_requests;           /* with workers at once; 0: no limit */
    uint32_t queue_size;                        /* that wait for a place; 100 */
    uint64_t queue_timeout_ms;                  /* 60 s */
    double rate_per_second;                     /* requests; 0: no limit */
    struct gv_config_list cors_allowed_origins; /* empty: any */
    struct gv_config_list request_id_headers;   /* empty: the usual four */
    char *header_policy;                        /* "pass"; "strict": only the reference's list */
    uint32_t header_policy_strict;              /* no option: found by the checks */
    uint32_t max_head_bytes;                    /* 64 KiB */
    uint32_t max_header_count;                  /* 128 */
    uint32_t max_uri_bytes;                     /* 8 KiB */
    uint32_t max_chunk_ext_bytes;               /* of a request; 16 KiB */
    uint32_t max_trailer_bytes;                 /* of a request; 16 KiB */
    uint32_t max_pipelined_bytes;               /* kept behind a request under way; 64 KiB */
    uint32_t pool_idle_per_worker;              /* 500 per loop */
    uint64_t pool_idle_timeout_ms;              /* 50 s */
    /* TLS */
    char *tls_cert_path; /* of the data port; "" plain HTTP */
    char *tls_key_path;
    struct gv_config_list tls_client_ca_paths; /* empty: clients need no certificate */
    char *tls_client_auth;                     /* "required" or "optional" */
    uint64_t tls_handshake_timeout_ms;         /* 10 s */
    uint32_t tls_max_handshakes;               /* under way, per port; 0: no limit */
    uint32_t tls_max_handshakes_per_address;   /* the same of one client address */
    char *admin_tls_cert_path;                 /* of the admin port; "" plain HTTP */
    char *admin_tls_key_path;
    struct gv_config_list admin_tls_client_ca_paths;
    struct gv_config_list ca_cert_paths; /* for workers; empty: the system's */
    char *client_cert_path;              /* shown to workers; "" none */
    char *client_key_path;
    /* routing */
    char *policy;                          /* "cache_aware" */
    char *prefill_policy;                  /* "" : policy */
    char *decode_policy;                   /* "" : policy */
    double cache_threshold;                /* 0.3 */
    uint32_t balance_abs_threshold;        /* 64 */
    double balance_rel_threshold;          /* 1.5 */
    double balance_token_usage_threshold;  /* share of KV tokens; 1.0: off */
    double overload_token_usage_threshold; /* the same */
    uint32_t prefix_token_count;           /* prefix_hash: tokens hashed, of 4 bytes; 256 */
    double prefix_hash_load_factor;        /* bound of all choices by hash; 1.25 */
    char *assignment_mode;                 /* manual: "random", "min_load", "min_group" */
    uint64_t manual_idle_ms;               /* manual: a key unused for longer is forgotten; 4 h */
    uint64_t max_tree_bytes;    /* --max-tree-size: bytes of prompt per worker; 67108864 */
    uint64_t trie_memory_bytes; /* node's budget for all tries; 1 GiB */
    uint32_t block_bytes;       /* 256 */
    uint32_t retry_max;         /* attempts in total; 5 */
    uint64_t retry_initial_backoff_ms, retry_max_backoff_ms; /* 50, 30000 */
    double retry_backoff_multiplier, retry_jitter_factor;    /* 1.5, 0.2 */
    double retry_budget_ratio; /* retries per first attempt at most; 0.2 */
    uint32_t disable_retries;
    uint32_t cb_failure_threshold; /* 10 */
    uint32_t cb_success_threshold; /* 3 */
    uint64_t cb_timeout_ms;        /* 60 s */
    uint64_t cb_window_ms;         /* 120 s */
    uint32_t disable_circuit_breaker;
    /* prefill/decode */
    uint32_t pd_disaggregation;
    struct gv_config_prefill *prefills; /* owned */
    size_t prefill_count;
    struct gv_config_list decode_urls;
    char *pd_protocol;              /* "sglang" or "vllm" */
    uint64_t prefill_first_byte_ms; /* 0: first_byte_timeout_ms */
    uint64_t decode_first_byte_ms;  /* 0: first_byte_timeout_ms */
    /* probes */
    uint64_t health_interval_ms;       /* 60 s when ready; 1 s while not ready */
    uint64_t health_timeout_ms;        /* 5 s */
    uint32_t health_failure_threshold; /* 3 */
    uint32_t health_success_threshold; /* 2 */
    char *health_endpoint;             /* "/health" */
    uint64_t load_monitor_interval_ms; /* 10 s; 0: engines are not asked */
    uint32_t abort_requests;           /* every request gets a name at engines that abort by name */
    uint32_t dp_aware;                 /* an engine with ranks is one worker per rank */
    /* end of life */
    uint64_t shutdown_grace_ms; /* 180 s */
    uint64_t drain_settle_ms;   /* 5 s */
    /* mesh */
    char *node_name;  /* "" : host name and port */
    char *cluster_id; /* "grapevine" */
    struct gv_config_list seeds;
    char *mesh_host;           /* bind; "" : host when keys are there, else 127.0.0.1; never "" with
                          mesh_insecure */
    uint16_t mesh_port;        /* 39527 */
    char *mesh_advertise_host; /* "" : found by looking */
    char *mesh_keyring;        /* path; "" none */
    uint32_t mesh_insecure;
    uint64_t mesh_sync_timeout_ms; /* 5 s */
    char *state_dir;               /* "" none */
    uint32_t enable_mesh;          /* 1 when seeds, keyring or --enable-mesh were given */
    char *advertise_url;           /* where this node's API answers; "" : from host and port */
    /* watching */
    char *prometheus_host;      /* "0.0.0.0" */
    uint16_t health_check_port; /* of the probes' own port; 0: none */
    uint16_t prometheus_port;   /* 29000; 0: the kernel chooses */
    enum gv_log_level log_level;
    uint32_t log_json;
    uint32_t routing_key_override; /* a routing key is kept to whatever the policy */
    uint32_t decision_headers;     /* say in response headers which worker and why */
    char *config_file;             /* "" none */
};

enum gv_config_outcome {
    GV_CONFIG_RUN = 0, /* go on */
    GV_CONFIG_DONE,    /* --help, --version, --config-test, --print-config: printed; exit 0 */
    GV_CONFIG_BAD      /* an error was printed to stderr; exit 2 */
};

/**
 * Flags over environment (GRAPEVINE_<FLAG>) over file over default. Prints help or errors itself.
 * `config` is valid after GV_CONFIG_RUN and must then be freed with gv_config_deinit().
 */
enum gv_config_outcome gv_config_load(int argc, char **argv, char **environment,
                                      struct gv_config *config);

void gv_config_deinit(struct gv_config *config);

#endif
