/*
 * explain.c - a dry run of a request: where would it go, and why? POST /grapevine/v1/explain
 *
 * The body is the request itself; ?endpoint=/v1/chat/completions says what it would be sent to
 * (that one when absent), ?routing_key= and ?target_worker= stand for the X-SMG- headers.
 */
#include "grapevine/proxy/explain.h"
#include "admin/admin.h"

#include <stdio.h>

static const char *url_of(const struct gv_explain *explain, uint32_t index)
{
    for (uint32_t i = 0; i < explain->view->count; i++) {
        if (explain->view->workers[i].index == index) {
            return explain->view->workers[i].url;
        }
    }
    return "?";
}

static json_t *leg_json(const struct gv_explain *explain, const struct gv_explain_leg *leg)
{
    const struct gv_decision *decision = &leg->decision;
    json_t *candidates = json_array();
    for (uint32_t i = 0; i < decision->candidate_count; i++) {
        const struct gv_candidate *candidate = &decision->candidates[i];
        json_array_append_new(candidates,
                              json_pack("{s:s, s:i, s:i, s:f}", "worker",
                                        url_of(explain, candidate->worker), "depth",
                                        (int)candidate->depth, "load", (int)candidate->load,
                                        "score", candidate->score));
    }
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:o}", "pool",
                     gv_pool_name(leg->pool), "key", leg->key, "worker", leg->worker, "policy",
                     decision->policy != NULL ? decision->policy : "", "rule",
                     gv_rule_name(decision->rule), "why", gv_rule_meaning(decision->rule), "depth",
                     (int)decision->depth, "blocks", (int)decision->block_count, "load",
                     (int)decision->load, "eligible", (int)decision->eligible_count, "candidates",
                     candidates);
}

static json_t *explain_json(const struct gv_admin_parts *parts, const struct gv_explain *explain)
{
    json_t *legs = json_array();
    char worker[2 * GV_WORKER_URL_MAX + 4] = "";
    for (uint32_t i = 0; i < explain->leg_count; i++) {
        json_array_append_new(legs, leg_json(explain, &explain->legs[i]));
    }
    if (explain->leg_count == 1) {
        snprintf(worker, sizeof worker, "%s", explain->legs[0].worker);
    } else if (explain->leg_count == 2) {
        snprintf(worker, sizeof worker, "%s + %s", explain->legs[0].worker,
                 explain->legs[1].worker);
    }
    bool good = explain->problem == GV_PROBLEM_NONE;
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:o}", "node", parts->shared->node_name, "model",
                     explain->model, "worker", worker, "problem",
                     good ? "" : gv_problem_code(explain->problem), "detail",
                     good ? "" : explain->detail, "legs", legs);
}

void gv_show_explain(const struct gv_admin_parts *parts, const struct gv_request *request,
                     struct gv_answer *answer)
{
    char path[128] = "/v1/chat/completions";
    char routing_key[256] = "";
    char target[GV_WORKER_URL_MAX] = "";
    (void)gv_request_parameter(request, "endpoint", path, sizeof path);
    (void)gv_request_parameter(request, "routing_key", routing_key, sizeof routing_key);
    (void)gv_request_parameter(request, "target_worker", target, sizeof target);
    enum gv_endpoint endpoint;
    if (!gv_endpoint_find(gv_slice_text(path), &endpoint)) {
        gv_answer_problem(answer, GV_PROBLEM_BAD_TARGET,
                          "endpoint '%s' is not routed; try endpoint=/v1/chat/completions", path);
        return;
    }
    struct gv_explain explain;
    if (gv_explain_init(&explain, parts->shared, endpoint, request->body,
                        (struct gv_explain_headers){.routing_key = gv_slice_text(routing_key),
                                                    .target = gv_slice_text(target)}) != GV_OK) {
        gv_answer_problem(answer, GV_PROBLEM_INTERNAL, "out of memory");
        return;
    }
    gv_answer_json(answer, 200, explain_json(parts, &explain));
    gv_explain_deinit(&explain);
}
