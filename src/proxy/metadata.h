/*
 * metadata.h - what an engine says about itself, in the words of SGLang, vLLM and plain OpenAI.
 *
 * Filled step by step from the answers of several paths; what no answer told stays unset. Pure.
 */
#ifndef GV_PROXY_METADATA_H
#define GV_PROXY_METADATA_H

#include "grapevine/route/worker.h"

#define GV_METADATA_MARKER_BYTES 64
#define GV_ENGINE_RANKS_MAX      64 /* of one engine, whose loads are read */

/* What one rank of an engine says of itself. */
struct gv_engine_load {
    uint32_t rank;
    uint32_t running; /* requests */
    uint32_t waiting;
    bool has_usage;       /* the next two were told */
    double usage;         /* share of its KV tokens that are in use; 0 to 1 */
    uint64_t used_tokens; /* 0: not told */
};

struct gv_metadata {
    uint32_t model_count;
    char models[GV_WORKER_MODELS_MAX][GV_WORKER_MODEL_MAX];
    char runtime[16];         /* "sglang", "vllm", "openai"; "" unknown */
    uint64_t capacity_tokens; /* of the KV cache; 0: not told */
    bool has_role;
    enum gv_pool role;                     /* meaningful when has_role */
    char marker[GV_METADATA_MARKER_BYTES]; /* changes when the engine restarts; "" none */
    uint64_t started_wall_ms;              /* when it started; 0: not told */
    uint64_t uptime_ms;                    /* how long it has run; 0: not told */
    bool has_counter;
    double counter;   /* of prompt tokens, since it started; meaningful when has_counter */
    uint32_t dp_size; /* ranks among which it spreads requests; 0: not told */
};

/** Read the answer of /v1/models. false: not understood; nothing changed. */
bool gv_metadata_read_models(struct gv_metadata *metadata, struct gv_slice json);

/** Read the answer of /get_server_info or /server_info. false: not understood. */
bool gv_metadata_read_server_info(struct gv_metadata *metadata, struct gv_slice json);

/** Read the answer of /get_model_info. false: not understood. */
bool gv_metadata_read_model_info(struct gv_metadata *metadata, struct gv_slice json);

/** Read the answer of /version, which tells the kind of an engine. false: not understood. */
bool gv_metadata_read_version(struct gv_metadata *metadata, struct gv_slice json);

/** Read /v1/loads or /get_load, by rank: at most GV_ENGINE_RANKS_MAX; 0: not understood. */
uint32_t gv_metadata_read_loads(struct gv_slice json, struct gv_engine_load *loads);

#endif
