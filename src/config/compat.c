/*
 * compat.c - flags of the SMG router that we know and do not have, and what to do instead.
 *
 * A flag whose absence changes nothing is accepted with a note. The others are errors, because
 * somebody who wrote them counts on them; --compat=warn turns those into notes too.
 */
#include "inner.h"
#include <string.h>

#define NOTE(flag, advice)                                                                         \
    {                                                                                              \
        flag, true, false, advice                                                                  \
    }
#define NOTE_SWITCH(flag, advice)                                                                  \
    {                                                                                              \
        flag, true, true, advice                                                                   \
    }
#define ERROR(flag, advice)                                                                        \
    {                                                                                              \
        flag, false, false, advice                                                                 \
    }
#define ERROR_SWITCH(flag, advice)                                                                 \
    {                                                                                              \
        flag, false, true, advice                                                                  \
    }

static const char no_discovery[] =
    "give worker URLs with --worker-urls, or let your controller call POST /workers";
static const char no_roles[] =
    "use --api-key for clients and --control-plane-api-keys for operators";
static const char no_tokens[] = "prompts are compared as bytes; no tokenizer is needed";
static const char no_history[] = "stored conversations are the worker's business";
static const char no_tracing[] =
    "trace headers are passed on to workers; spans of the router itself are not recorded";

static const struct gv_compat table[] = {
    NOTE("eviction-interval", "tries are kept under --trie-memory-bytes all the time"),
    NOTE("block-size", "prompts are compared in blocks of --block-bytes bytes"),
    NOTE("worker-startup-timeout-secs", "workers may come up at any time; they are probed until "
                                        "they are ready"),
    NOTE("worker-startup-check-interval", "workers that are not ready are probed each second"),
    NOTE("worker-startup-delay-secs", "workers may come up at any time"),
    NOTE("prometheus-duration-buckets", "the buckets are fixed, from 1 ms to 600 s"),
    NOTE("log-dir", "lines go to stderr; let the supervisor keep them"),
    NOTE("model-path", no_tokens),
    NOTE("tokenizer-path", no_tokens),
    NOTE("chat-template", no_tokens),
    NOTE("backend", "the kind of a worker is found by asking it"),
    NOTE("history-backend", no_history),
    NOTE_SWITCH("enable-igw", "several models at once need no switch"),

    ERROR("model-alias", "give the worker the other name, or rewrite it in front of grapevine"),
    ERROR_SWITCH("disable-health-check", "make --health-failure-threshold large instead"),
    ERROR_SWITCH("remove-unhealthy-workers",
                 "unready workers get no requests; remove them by DELETE /workers/{id}"),
    ERROR_SWITCH("engine-metrics",
                 "let Prometheus read the engines' own /metrics; what the router asks them is in "
                 "/get_loads"),
    ERROR_SWITCH("service-discovery", no_discovery),
    ERROR("selector", no_discovery),
    ERROR("service-discovery-port", no_discovery),
    ERROR("service-discovery-namespace", no_discovery),
    ERROR("prefill-selector", no_discovery),
    ERROR("decode-selector", no_discovery),
    ERROR_SWITCH("dp-minimum-tokens-scheduler",
                 "give each rank as its own worker: http://host:port@RANK"),
    ERROR("jwt-issuer", no_roles),
    ERROR("jwt-audience", no_roles),
    ERROR("jwt-jwks-uri", no_roles),
    ERROR("tenant-header-name", no_roles),
    ERROR("reasoning-parser", "let the worker parse what its model says"),
    ERROR("tool-call-parser", "let the worker parse what its model says"),
    ERROR("mcp-config-path", "let an agent in front of grapevine call tools"),
    ERROR_SWITCH("enable-wasm", "there are no plug-ins"),
    ERROR_SWITCH("enable-trace", no_tracing),
    ERROR("otlp-traces-endpoint", no_tracing),
};

const struct gv_compat *gv_compat_find(struct gv_slice name)
{
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (gv_slice_is(name, table[i].name)) {
            return &table[i];
        }
    }
    return NULL;
}
