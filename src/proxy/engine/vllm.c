/*
 * vllm - vLLM: everything but its models stands among its metrics, gauges labelled by rank.
 *
 * Capacity is block_size times num_gpu_blocks of vllm:cache_config_info. A request is aborted by
 * closing its connection.
 */
#include "proxy/engine.h"
#include "proxy/scrape.h"

static const struct gv_engine_question questions[] = {
    {"/metrics", GV_ENGINE_ALWAYS, gv_scrape_metrics},
    {NULL, GV_ENGINE_ALWAYS, NULL},
};

const struct gv_engine gv_engine_vllm = {
    .name = "vllm",
    .questions = questions,
    .loads = {{"/metrics", gv_scrape_loads}},
};
