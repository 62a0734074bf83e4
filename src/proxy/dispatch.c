/* dispatch.c - see dispatch.h. */
#include "grapevine/proxy/dispatch.h"

#include "grapevine/base/assert.h"
#include "grapevine/base/mem.h"
#include <stdio.h>

/* Room for every possible worker, per thread, so that a decision allocates nothing. */
static _Thread_local const struct gv_worker *eligible[GV_WORKERS_MAX];

/* ---- the plan ---- */

static bool pool_serves(const struct gv_fleet_view *view, enum gv_pool pool, struct gv_slice model)
{
    for (uint32_t i = 0; i < view->count; i++) {
        if (view->workers[i].pool == pool && gv_worker_serves(&view->workers[i], model)) {
            return true;
        }
    }
    return false;
}

/*
 * The model that a request means which names none: the one that every worker stands for which says
 * what it serves; "" when none does. false: they stand for different ones, so a request must say.
 * The whole fleet is asked, ready or not, so that nodes which differ for a moment about who is well
 * still use the same key.
 */
static bool find_sole_model(const struct gv_fleet_view *view, const char **model)
{
    *model = "";
    for (uint32_t i = 0; i < view->count; i++) {
        const struct gv_worker *worker = &view->workers[i];
        if (worker->model_count == 0 || worker->state == GV_WORKER_DRAINING) {
            continue;
        }
        if (**model != '\0' && strcmp(*model, worker->models[0]) != 0) {
            return false;
        }
        *model = worker->models[0];
    }
    return true;
}

static bool serves_pairs(const struct gv_fleet_view *view, struct gv_slice model)
{
    return pool_serves(view, GV_POOL_PREFILL, model) && pool_serves(view, GV_POOL_DECODE, model);
}

/* Pairs when this router is set up for them, or when only pairs serve the model. */
static bool wants_pair(const struct gv_proxy_shared *shared, const struct gv_fleet_view *view,
                       struct gv_slice model)
{
    bool alone = pool_serves(view, GV_POOL_REGULAR, model);
    if (shared->config->pd_disaggregation) {
        return !alone || serves_pairs(view, model);
    }
    return !alone && serves_pairs(view, model);
}

static bool endpoint_takes_pair(enum gv_endpoint endpoint)
{
    switch (endpoint) {
    case GV_ENDPOINT_CHAT:
    case GV_ENDPOINT_COMPLETIONS:
    case GV_ENDPOINT_GENERATE:
    case GV_ENDPOINT_RERANK:
        return true;
    case GV_ENDPOINT_EMBEDDINGS:
    case GV_ENDPOINT_CLASSIFY:
    case GV_ENDPOINT_COUNT:
        break;
    }
    return false;
}

static enum gv_err hash_leg(struct gv_plan_leg *leg, const struct gv_proxy_shared *shared,
                            struct gv_slice canonical)
{
    uint32_t block_bytes = shared->config->block_bytes;
    size_t blocks = (canonical.len + block_bytes - 1) / block_bytes;
    if (blocks == 0 || !gv_policy_uses_prefix(shared->policies[leg->pool])) {
        return GV_OK;
    }
    blocks = blocks < GV_FINGERPRINTS_MAX ? blocks : GV_FINGERPRINTS_MAX;
    leg->chain = gv_mem_new(GV_MEM_EXCHANGE, blocks * sizeof *leg->chain);
    if (leg->chain == NULL) {
        return GV_ENOMEM;
    }
    leg->count = gv_fingerprint_chain(shared->secret, leg->key, canonical, block_bytes, leg->chain,
                                      (uint32_t)blocks);
    GV_ASSERT(leg->count <= blocks);
    return GV_OK;
}

/* The legs' keys are of `model`: what the request names, or means. */
static enum gv_err plan_legs(struct gv_plan *plan, const struct gv_proxy_shared *shared,
                             struct gv_slice model, struct gv_slice canonical,
                             enum gv_problem *problem)
{
    static const enum gv_pool pair[] = {GV_POOL_PREFILL, GV_POOL_DECODE};
    for (uint32_t i = 0; i < plan->leg_count; i++) {
        struct gv_plan_leg *leg = &plan->legs[i];
        leg->pool = plan->leg_count == 2 ? pair[i] : GV_POOL_REGULAR;
        if (gv_key_compose(leg->pool, model, leg->key) != GV_OK) {
            *problem = GV_PROBLEM_NO_MODEL;
            return GV_EINVAL;
        }
        enum gv_err err = hash_leg(leg, shared, canonical);
        if (err != GV_OK) {
            return err;
        }
    }
    return GV_OK;
}

enum gv_err gv_plan_init(struct gv_plan *plan, const struct gv_proxy_shared *shared,
                         const struct gv_fleet_view *view, struct gv_prompt_reader *reader,
                         struct gv_buf *text, enum gv_endpoint endpoint, struct gv_slice body,
                         enum gv_problem *problem)
{
    struct gv_prompt prompt;
    enum gv_err err = gv_prompt_read(reader, endpoint, body, text, &prompt, problem);
    if (err != GV_OK) {
        return err;
    }
    const char *sole = "";
    if (prompt.model.len == 0 && !find_sole_model(view, &sole)) {
        *problem = GV_PROBLEM_MISSING_MODEL;
        return GV_EINVAL;
    }
    memset(plan, 0, sizeof *plan);
    plan->endpoint = endpoint;
    plan->model = prompt.model;
    plan->stream = prompt.stream;
    plan->records = prompt.records;
    plan->logprobs = prompt.logprobs;
    plan->batch_size = prompt.batch_size;
    plan->text_bytes = prompt.canonical.len;
    plan->leg_count = wants_pair(shared, view, prompt.model) ? 2 : 1;
    if (plan->leg_count == 2 && !endpoint_takes_pair(endpoint)) {
        *problem = GV_PROBLEM_NOT_IMPLEMENTED;
        return GV_EINVAL;
    }
    struct gv_slice meant = prompt.model.len > 0 ? prompt.model : gv_slice_text(sole);
    err = plan_legs(plan, shared, meant, prompt.canonical, problem);
    if (err != GV_OK) {
        gv_plan_deinit(plan);
    }
    return err;
}

void gv_plan_deinit(struct gv_plan *plan)
{
    for (uint32_t i = 0; i < GV_EXCHANGE_LEGS_MAX; i++) {
        gv_mem_free(GV_MEM_EXCHANGE, plan->legs[i].chain);
        plan->legs[i].chain = NULL;
        plan->legs[i].count = 0;
    }
}

/* ---- the decision ---- */

static bool is_avoided(const struct gv_dispatch_question *question, const struct gv_worker *worker)
{
    for (uint32_t i = 0; i < question->avoid_count; i++) {
        if (question->avoid[i] == worker->index || question->avoid[i] == worker->engine) {
            return true;
        }
    }
    return false;
}

static bool is_eligible(const struct gv_dispatch_question *question, const struct gv_worker *worker)
{
    return worker->state == GV_WORKER_READY &&
           worker->pool == question->plan->legs[question->leg].pool &&
           gv_worker_serves(worker, question->plan->model) &&
           (question->allows == NULL || question->allows(question->owner, worker));
}

/* Fill the scratch with who is eligible, in the order of the view, which is by URL. */
static uint32_t gather(const struct gv_fleet_view *view,
                       const struct gv_dispatch_question *question, bool avoiding)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < view->count && count < GV_WORKERS_MAX; i++) {
        const struct gv_worker *worker = &view->workers[i];
        if (is_eligible(question, worker) && !(avoiding && is_avoided(question, worker))) {
            eligible[count++] = worker;
        }
    }
    return count;
}

/* Does the request name its worker, and does anybody care? */
static bool is_targeted(const struct gv_proxy_shared *shared,
                        const struct gv_dispatch_question *question)
{
    enum gv_pool pool = question->plan->legs[question->leg].pool;
    return question->target.len > 0 && gv_policy_obeys_target(shared->policies[pool]);
}

/* A name of `text` that is the same on every node of the cluster, and says nothing about it. */
static uint64_t name_of(const struct gv_proxy_shared *shared, struct gv_slice text)
{
    uint64_t name = 0;
    if (text.len > 0) {
        uint32_t whole = text.len < 16 ? 16 : (uint32_t)text.len; /* one block; heads are small */
        (void)gv_fingerprint_chain(shared->secret, "", text, whole, &name, 1);
    }
    return name;
}

static uint32_t pool_count(const struct gv_fleet_view *view, enum gv_pool pool)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < view->count; i++) {
        count += view->workers[i].pool == pool ? 1 : 0;
    }
    return count;
}

static enum gv_problem nobody(const struct gv_fleet_view *view,
                              const struct gv_dispatch_question *question)
{
    const struct gv_plan *plan = question->plan;
    enum gv_pool pool = plan->legs[question->leg].pool;
    if (pool_count(view, pool) > 0 && !pool_serves(view, pool, plan->model)) {
        return GV_PROBLEM_NO_MODEL;
    }
    return plan->leg_count == 2 ? GV_PROBLEM_NO_PAIR : GV_PROBLEM_NO_AVAILABLE;
}

enum gv_problem gv_dispatch_decide(const struct gv_proxy_shared *shared,
                                   const struct gv_fleet_view *view,
                                   const struct gv_dispatch_question *question,
                                   struct gv_decision *decision)
{
    const struct gv_plan_leg *leg = &question->plan->legs[question->leg];
    bool targeted = is_targeted(shared, question);
    uint32_t count = gather(view, question, !targeted);
    struct gv_policy_request request = {
        .key = leg->key,
        .pool = leg->pool,
        .chain = leg->chain,
        .count = leg->count,
        .prompt_bytes = question->plan->text_bytes,
        .eligible = eligible,
        .eligible_count = count,
        .target = targeted ? question->target : gv_slice_of(NULL, 0),
        .routing_key = name_of(shared, question->routing_key),
        .client = name_of(shared, question->client),
        .random = question->random,
        .now_ms = question->now_ms,
        .dry = question->dry,
    };
    struct gv_policy *keyed = request.routing_key != 0 ? shared->keyed[leg->pool] : NULL;
    gv_policy_decide(keyed != NULL ? keyed : shared->policies[leg->pool], &request, decision);
    if (decision->rule != GV_RULE_NONE) {
        return GV_PROBLEM_NONE;
    }
    return count > 0 ? GV_PROBLEM_NO_TARGET : nobody(view, question);
}

static bool has_failed_in_pool(const struct gv_fleet_view *view,
                               const struct gv_dispatch_question *question)
{
    enum gv_pool pool = question->plan->legs[question->leg].pool;
    bool failed = false;
    for (uint32_t i = 0; i < view->count && !failed; i++) {
        failed = view->workers[i].pool == pool && is_avoided(question, &view->workers[i]);
    }
    return failed;
}

bool gv_dispatch_has_another(const struct gv_proxy_shared *shared, const struct gv_fleet_view *view,
                             const struct gv_dispatch_question *question)
{
    if (is_targeted(shared, question)) {
        return !has_failed_in_pool(view, question);
    }
    for (uint32_t i = 0; i < view->count; i++) {
        const struct gv_worker *worker = &view->workers[i];
        if (!is_avoided(question, worker) && is_eligible(question, worker)) {
            return true;
        }
    }
    return false;
}

bool gv_dispatch_has_hope(const struct gv_proxy_shared *shared, const struct gv_fleet_view *view,
                          const struct gv_dispatch_question *question)
{
    enum gv_pool pool = question->plan->legs[question->leg].pool;
    bool found = false;
    for (uint32_t i = 0; i < view->count && !found && !is_targeted(shared, question); i++) {
        const struct gv_worker *worker = &view->workers[i];
        found = worker->pool == pool && gv_worker_serves(worker, question->plan->model) &&
                worker->state != GV_WORKER_DRAINING && worker->state != GV_WORKER_REFUSED &&
                !is_avoided(question, worker);
    }
    return found;
}

void gv_dispatch_detail(const struct gv_fleet_view *view,
                        const struct gv_dispatch_question *question,
                        char detail[GV_DISPATCH_DETAIL_BYTES])
{
    const struct gv_plan *plan = question->plan;
    enum gv_pool pool = plan->legs[question->leg].pool;
    uint32_t states[GV_WORKER_STATE_COUNT] = {0};
    uint32_t serving = 0;
    uint32_t refused_now = 0;
    for (uint32_t i = 0; i < view->count; i++) {
        const struct gv_worker *worker = &view->workers[i];
        if (worker->pool != pool || !gv_worker_serves(worker, plan->model)) {
            continue;
        }
        serving += 1;
        states[worker->state] += 1;
        if (worker->state == GV_WORKER_READY && !is_eligible(question, worker)) {
            refused_now += 1;
        }
    }
    int model_len = plan->model.len < 128 ? (int)plan->model.len : 128;
    int len = snprintf(detail, GV_DISPATCH_DETAIL_BYTES, "pool %s, model '%.*s': %u of %u workers",
                       gv_pool_name(pool), model_len,
                       plan->model.len > 0 ? (const char *)plan->model.data : "", serving,
                       pool_count(view, pool));
    for (uint32_t i = 0; i < GV_WORKER_STATE_COUNT && len > 0 && len < GV_DISPATCH_DETAIL_BYTES;
         i++) {
        if (states[i] > 0) {
            len += snprintf(detail + len, GV_DISPATCH_DETAIL_BYTES - (size_t)len, ", %u %s",
                            states[i], gv_worker_state_name((enum gv_worker_state)i));
        }
    }
    if (refused_now > 0 && len > 0 && len < GV_DISPATCH_DETAIL_BYTES) {
        len += snprintf(detail + len, GV_DISPATCH_DETAIL_BYTES - (size_t)len,
                        " (%u with an open breaker)", refused_now);
    }
    if (question->target.len > 0 && len > 0 && len < GV_DISPATCH_DETAIL_BYTES) {
        int target_len = question->target.len < 128 ? (int)question->target.len : 128;
        snprintf(detail + len, GV_DISPATCH_DETAIL_BYTES - (size_t)len, "; asked for '%.*s'",
                 target_len, (const char *)question->target.data);
    }
}

uint64_t gv_dispatch_uncached_bytes(const struct gv_proxy_shared *shared,
                                    const struct gv_plan *plan, uint32_t leg,
                                    const struct gv_decision *decision)
{
    if (plan->legs[leg].pool == GV_POOL_DECODE) {
        return 0;
    }
    uint64_t cached = (uint64_t)decision->depth * shared->config->block_bytes;
    return cached < plan->text_bytes ? plan->text_bytes - cached : 0;
}
