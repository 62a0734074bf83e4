/* engine.c - see engine.h: the table, and what is asked of an engine whose kind is not known. */
#include "engine.h"

#include "scrape.h"

#define ENGINE_ROW(name) &gv_engine_##name,
static const struct gv_engine *const rows[] = {GV_ENGINE_LIST(ENGINE_ROW)};
#undef ENGINE_ROW

/* The first that answers tells the kind. */
static const struct gv_engine_question any_questions[] = {
    {"/get_server_info", GV_ENGINE_ALWAYS, gv_metadata_read_server_info},
    {"/server_info", GV_ENGINE_UNLESS_UNDERSTOOD, gv_metadata_read_server_info},
    {"/version", GV_ENGINE_FOR_KIND, gv_metadata_read_version},
    {"/get_model_info", GV_ENGINE_FOR_MODELS, gv_metadata_read_model_info},
    {"/metrics", GV_ENGINE_FOR_MARKER, gv_scrape_metrics},
    {NULL, GV_ENGINE_ALWAYS, NULL},
};

static const struct gv_engine any = {.name = "", .questions = any_questions};

const struct gv_engine *gv_engine_find(const char *runtime)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (strcmp(rows[i]->name, runtime) == 0) {
            return rows[i];
        }
    }
    return &any;
}
