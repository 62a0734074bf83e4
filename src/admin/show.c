/*
 * show.c - the reference product's public reads: probes, models, and what the workers are.
 */
#include "admin/admin.h"
#include "grapevine/proxy/readiness.h"

#include <string.h>

void gv_show_alive(const struct gv_admin_parts *parts, const struct gv_request *request,
                   struct gv_answer *answer)
{
    (void)parts;
    (void)request;
    answer->content_type = "text/plain; charset=utf-8";
    if (gv_buf_append_text(&answer->body, "OK") != GV_OK) {
        gv_answer_problem(answer, GV_PROBLEM_INTERNAL, "out of memory");
    }
}

void gv_show_readiness(const struct gv_admin_parts *parts, const struct gv_request *request,
                       struct gv_answer *answer)
{
    (void)request;
    struct gv_fleet *fleet = parts->shared->fleet;
    const struct gv_fleet_view *view = gv_fleet_acquire(fleet);
    char text[GV_READINESS_BYTES];
    bool ready = gv_readiness_judge(parts->shared, view, false, text);
    gv_fleet_release(fleet, view);
    answer->status = ready ? 200 : 503;
    answer->content_type = "application/json";
    if (gv_buf_append_text(&answer->body, text) != GV_OK) {
        gv_answer_problem(answer, GV_PROBLEM_INTERNAL, "out of memory");
    }
}

static bool has_model(json_t *models, const char *id)
{
    size_t at;
    json_t *model;
    json_array_foreach(models, at, model)
    {
        if (strcmp(json_string_value(json_object_get(model, "id")), id) == 0) {
            return true;
        }
    }
    return false;
}

void gv_show_models(const struct gv_admin_parts *parts, const struct gv_request *request,
                    struct gv_answer *answer)
{
    (void)request;
    struct gv_fleet *fleet = parts->shared->fleet;
    const struct gv_fleet_view *view = gv_fleet_acquire(fleet);
    json_t *models = json_array();
    for (uint32_t i = 0; i < view->count; i++) {
        const struct gv_worker *worker = &view->workers[i];
        for (uint32_t m = 0; m < worker->model_count; m++) {
            if (!has_model(models, worker->models[m])) {
                json_array_append_new(
                    models, json_pack("{s:s, s:s, s:i, s:s}", "id", worker->models[m], "object",
                                      "model", "created", 0, "owned_by",
                                      worker->runtime[0] ? worker->runtime : "grapevine"));
            }
        }
    }
    gv_fleet_release(fleet, view);
    if (json_array_size(models) == 0) {
        json_decref(models);
        gv_answer_problem(answer, GV_PROBLEM_NO_AVAILABLE,
                          "No models available: no worker has told its model yet");
        return;
    }
    gv_answer_json(answer, 200, json_pack("{s:s, s:o}", "object", "list", "data", models));
}

void gv_show_model_info(const struct gv_worker *worker, struct gv_answer *answer)
{
    const char *model = worker->model_count > 0 ? worker->models[0] : GV_MODEL_UNKNOWN;
    gv_answer_json(answer, 200,
                   json_pack("{s:s, s:s, s:b}", "model_path", model, "served_model_name", model,
                             "is_generation", 1));
}

void gv_show_server_info(const struct gv_worker *worker, struct gv_answer *answer)
{
    const char *model = worker->model_count > 0 ? worker->models[0] : GV_MODEL_UNKNOWN;
    static const char *const modes[GV_POOL_COUNT] = {"null", "prefill", "decode"};
    gv_answer_json(answer, 200,
                   json_pack("{s:s, s:s, s:s, s:s, s:I}", "served_model_name", model, "model_path",
                             model, "runtime", worker->runtime, "disaggregation_mode",
                             modes[worker->pool], "max_total_num_tokens",
                             (json_int_t)worker->capacity_tokens));
}
