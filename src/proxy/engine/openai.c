/*
 * openai - an engine that speaks OpenAI's API and nothing else: its models, perhaps its metrics.
 *
 * It tells no loads; what this cluster has in flight there is all that is known.
 */
#include "proxy/engine.h"
#include "proxy/scrape.h"

static const struct gv_engine_question questions[] = {
    {"/metrics", GV_ENGINE_FOR_MARKER, gv_scrape_metrics},
    {NULL, GV_ENGINE_ALWAYS, NULL},
};

const struct gv_engine gv_engine_openai = {.name = "openai", .questions = questions};
