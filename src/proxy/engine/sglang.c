/*
 * sglang - SGLang: describes itself in one answer, tells loads per rank, aborts by request id.
 *
 * /v1/loads of today, /get_load of yesterday. An engine started with --enable-metrics tells its
 * start among them.
 */
#include "proxy/engine.h"
#include "proxy/scrape.h"

static const struct gv_engine_question questions[] = {
    {"/get_server_info", GV_ENGINE_ALWAYS, gv_metadata_read_server_info},
    {"/server_info", GV_ENGINE_UNLESS_UNDERSTOOD, gv_metadata_read_server_info},
    {"/get_model_info", GV_ENGINE_FOR_MODELS, gv_metadata_read_model_info},
    {"/metrics", GV_ENGINE_FOR_MARKER, gv_scrape_metrics},
    {NULL, GV_ENGINE_ALWAYS, NULL},
};

const struct gv_engine gv_engine_sglang = {
    .name = "sglang",
    .questions = questions,
    .loads = {{"/v1/loads?include=core,queues,memory", gv_metadata_read_loads},
              {"/get_load", gv_metadata_read_loads},
              {"/metrics", gv_scrape_loads}},
    .abort_path = "/abort_request",
    .takes_rank_field = true,
};
