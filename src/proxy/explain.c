/* explain.c - see explain.h. */
#include "grapevine/proxy/explain.h"

#include "grapevine/base/mem.h"
#include "grapevine/net/loop.h"
#include "grapevine/proxy/dispatch.h"

static enum gv_err explain_leg(struct gv_explain *explain, const struct gv_proxy_shared *shared,
                               const struct gv_plan *plan, uint32_t leg,
                               struct gv_explain_headers headers)
{
    struct gv_explain_leg *shown = &explain->legs[leg];
    struct gv_candidate *candidates =
        gv_mem_new(GV_MEM_GENERAL, GV_CANDIDATES_MAX * sizeof *candidates);
    if (candidates == NULL) {
        return GV_ENOMEM;
    }
    shown->decision.candidates = candidates;
    shown->decision.candidate_room = GV_CANDIDATES_MAX;
    shown->pool = plan->legs[leg].pool;
    memcpy(shown->key, plan->legs[leg].key, sizeof shown->key);
    explain->leg_count = leg + 1;
    struct gv_dispatch_question question = {.plan = plan,
                                            .leg = leg,
                                            .routing_key = headers.routing_key,
                                            .target = headers.target,
                                            .now_ms = gv_clock_us() / 1000,
                                            .dry = true};
    gv_random_bytes(&question.random, sizeof question.random);
    enum gv_problem problem =
        gv_dispatch_decide(shared, explain->view, &question, &shown->decision);
    if (problem == GV_PROBLEM_NONE) {
        (void)gv_fleet_url(shared->fleet, shown->decision.worker, shown->worker);
    } else if (explain->problem == GV_PROBLEM_NONE) {
        explain->problem = problem;
        gv_dispatch_detail(explain->view, &question, explain->detail);
    }
    return GV_OK;
}

static enum gv_err explain_plan(struct gv_explain *explain, const struct gv_proxy_shared *shared,
                                struct gv_prompt_reader *reader, enum gv_endpoint endpoint,
                                struct gv_slice body, struct gv_explain_headers headers)
{
    struct gv_buf text;
    struct gv_plan plan;
    gv_buf_init(&text, GV_MEM_EXCHANGE, shared->config->max_payload_bytes * 2);
    enum gv_err err = gv_plan_init(&plan, shared, explain->view, reader, &text, endpoint, body,
                                   &explain->problem);
    gv_buf_deinit(&text);
    if (err == GV_EINVAL) {
        return GV_OK; /* `problem` says it */
    }
    if (err != GV_OK) {
        return err;
    }
    (void)gv_slice_copy_text(plan.model, explain->model, sizeof explain->model);
    for (uint32_t i = 0; i < plan.leg_count && err == GV_OK; i++) {
        err = explain_leg(explain, shared, &plan, i, headers);
    }
    gv_plan_deinit(&plan);
    return err;
}

enum gv_err gv_explain_init(struct gv_explain *explain, const struct gv_proxy_shared *shared,
                            enum gv_endpoint endpoint, struct gv_slice body,
                            struct gv_explain_headers headers)
{
    struct gv_prompt_reader *reader;
    enum gv_err err = gv_prompt_reader_new(&reader);
    if (err != GV_OK) {
        return err;
    }
    memset(explain, 0, sizeof *explain);
    explain->fleet = shared->fleet;
    explain->view = gv_fleet_acquire(shared->fleet);
    err = explain_plan(explain, shared, reader, endpoint, body, headers);
    gv_prompt_reader_free(reader);
    if (err != GV_OK) {
        gv_explain_deinit(explain);
    }
    return err;
}

void gv_explain_deinit(struct gv_explain *explain)
{
    for (uint32_t i = 0; i < explain->leg_count; i++) {
        gv_mem_free(GV_MEM_GENERAL, explain->legs[i].decision.candidates);
    }
    gv_fleet_release(explain->fleet, explain->view);
    explain->leg_count = 0;
}
