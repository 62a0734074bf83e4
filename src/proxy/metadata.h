/*
 * metadata.h - what an engine says about itself, in the words of SGLang, vLLM and plain OpenAI.
 *
 * Filled step by step from the answers of several paths; what no answer told stays unset. Pure.
 */
#ifndef GV_PROXY_METADATA_H
#define GV_PROXY_METADATA_H

#include "grapevine/route/worker.h"

#define GV_METADATA_MARKER_BYTES 64

struct gv_metadata {
    uint32_t model_count;
    char models[GV_WORKER_MODELS_MAX][GV_WORKER_MODEL_MAX];
    char runtime[16];         /* "sglang", "vllm", "openai"; "" unknown */
    uint64_t capacity_tokens; /* of the KV cache; 0: not told */
    bool has_role;
    enum gv_pool role;                     /* meaningful when has_role */
    char marker[GV_METADATA_MARKER_BYTES]; /* changes when the engine restarts; "" none */
    uint64_t started_wall_ms;              /* when it started; 0: not told */
};

/** Read the answer of /v1/models. false: not understood; nothing changed. */
bool gv_metadata_read_models(struct gv_metadata *metadata, struct gv_slice json);

/** Read the answer of /get_server_info or /server_info. false: not understood. */
bool gv_metadata_read_server_info(struct gv_metadata *metadata, struct gv_slice json);

/** Read the answer of /get_model_info. false: not understood. */
bool gv_metadata_read_model_info(struct gv_metadata *metadata, struct gv_slice json);

/** Read process_start_time_seconds from the Prometheus text of /metrics. false: not there. */
bool gv_metadata_read_metrics(struct gv_metadata *metadata, struct gv_slice text);

#endif
