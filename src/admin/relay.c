/*
 * relay.c - what only workers know: their models, their health, their loads; and the one thing they
 * are all told: to flush their caches.
 */
#include "admin/round.h"

#include "grapevine/base/log.h"

#include <stdio.h>
#include <string.h>

#define READ_TIMEOUT_MS     10000u
#define GENERATE_TIMEOUT_MS 30000u
#define FLUSH_TIMEOUT_MS    45000u
#define USED_TOKENS_MAX     1000000000000 /* of one rank; more is nonsense, and might overflow */

/* The first ready worker of `pool`, or NULL. */
static const struct gv_worker *first_ready(const struct gv_fleet_view *view, enum gv_pool pool)
{
    for (uint32_t i = 0; i < view->count; i++) {
        if (view->workers[i].pool == pool && view->workers[i].state == GV_WORKER_READY) {
            return &view->workers[i];
        }
    }
    return NULL;
}

/* The worker's own answer, byte for byte. */
static void pass_on(struct gv_voice *voice, struct gv_answer *answer)
{
    if (voice->cause != GV_CAUSE_NONE) {
        gv_answer_problem(answer,
                          voice->cause == GV_CAUSE_TIMEOUT   ? GV_PROBLEM_UPSTREAM_TIMEOUT
                          : voice->cause == GV_CAUSE_CONNECT ? GV_PROBLEM_UPSTREAM_CONNECT
                          : voice->cause == GV_CAUSE_TLS     ? GV_PROBLEM_UPSTREAM_CONNECT
                          : voice->cause == GV_CAUSE_BAD     ? GV_PROBLEM_UPSTREAM_BAD
                                                             : GV_PROBLEM_UPSTREAM_CLOSED,
                          "worker %.200s", voice->worker->url);
        return;
    }
    answer->status = voice->status;
    (void)snprintf(answer->own_type, sizeof answer->own_type, "%s", voice->content_type);
    answer->content_type = voice->content_type[0] != '\0' ? answer->own_type : NULL;
    gv_buf_clear(&answer->body);
    if (gv_buf_append(&answer->body, gv_buf_slice(&voice->body)) != GV_OK) {
        gv_answer_problem(answer, GV_PROBLEM_INTERNAL, "out of memory");
    }
}

/* ---- /get_model_info and /get_server_info ---- */

/* An engine without this path (vLLM): say what was learned of it. */
static void finish_model_info(struct gv_round *round, struct gv_answer *answer)
{
    struct gv_voice *voice = &round->voices[0];
    if (voice->cause == GV_CAUSE_NONE && voice->status == 404) {
        gv_show_model_info(voice->worker, answer);
    } else {
        pass_on(voice, answer);
    }
}

static void finish_server_info(struct gv_round *round, struct gv_answer *answer)
{
    struct gv_voice *voice = &round->voices[0];
    if (voice->cause == GV_CAUSE_NONE && voice->status == 404) {
        gv_show_server_info(voice->worker, answer);
    } else {
        pass_on(voice, answer);
    }
}

static struct gv_round *ask_one(const struct gv_admin_parts *parts,
                                const struct gv_round_plan *plan, struct gv_answer *answer)
{
    struct gv_fleet *fleet = parts->shared->fleet;
    const struct gv_fleet_view *view = gv_fleet_acquire(fleet);
    const struct gv_worker *worker = first_ready(
        view, parts->shared->config->pd_disaggregation ? GV_POOL_PREFILL : GV_POOL_REGULAR);
    if (worker == NULL) {
        gv_answer_problem(answer, GV_PROBLEM_NO_AVAILABLE, "no worker is ready, %u are known",
                          view->count);
        gv_fleet_release(fleet, view);
        return NULL;
    }
    return gv_round_new(parts, plan, view, &worker, 1, answer);
}

struct gv_round *gv_relay_model_info(const struct gv_admin_parts *parts,
                                     const struct gv_request *request, struct gv_answer *answer)
{
    static const struct gv_round_plan plan = {"GET", "/get_model_info", "/model_info",
                                              READ_TIMEOUT_MS, finish_model_info};
    (void)request;
    return ask_one(parts, &plan, answer);
}

struct gv_round *gv_relay_server_info(const struct gv_admin_parts *parts,
                                      const struct gv_request *request, struct gv_answer *answer)
{
    static const struct gv_round_plan plan = {"GET", "/get_server_info", "/server_info",
                                              READ_TIMEOUT_MS, finish_server_info};
    (void)request;
    return ask_one(parts, &plan, answer);
}

/* ---- /health_generate ---- */

static void finish_generate(struct gv_round *round, struct gv_answer *answer)
{
    if (round->voice_count == 1) {
        pass_on(&round->voices[0], answer);
        return;
    }
    for (uint32_t i = 0; i < round->voice_count; i++) {
        const struct gv_voice *voice = &round->voices[i];
        if (!gv_voice_is_good(voice)) {
            char what[64];
            gv_voice_describe(voice, what);
            gv_answer_error(answer, 503, "health_generate_failed", "%s worker %s: %s",
                            gv_pool_name(voice->worker->pool), voice->worker->url, what);
            return;
        }
    }
    pass_on(&round->voices[round->voice_count - 1], answer);
}

struct gv_round *gv_relay_health_generate(const struct gv_admin_parts *parts,
                                          const struct gv_request *request,
                                          struct gv_answer *answer)
{
    static const struct gv_round_plan plan = {"GET", "/health_generate", NULL, GENERATE_TIMEOUT_MS,
                                              finish_generate};
    (void)request;
    if (!parts->shared->config->pd_disaggregation) {
        return ask_one(parts, &plan, answer);
    }
    const struct gv_fleet_view *view = gv_fleet_acquire(parts->shared->fleet);
    const struct gv_worker *pair[2] = {first_ready(view, GV_POOL_PREFILL),
                                       first_ready(view, GV_POOL_DECODE)};
    if (pair[0] == NULL || pair[1] == NULL) {
        gv_answer_error(answer, 503, "no_healthy_worker_pair", "no %s worker is ready",
                        gv_pool_name(pair[0] == NULL ? GV_POOL_PREFILL : GV_POOL_DECODE));
        gv_fleet_release(parts->shared->fleet, view);
        return NULL;
    }
    return gv_round_new(parts, &plan, view, pair, 2, answer);
}

/* ---- all workers ---- */

static struct gv_round *ask_all(const struct gv_admin_parts *parts,
                                const struct gv_round_plan *plan, struct gv_answer *answer)
{
    const struct gv_fleet_view *view = gv_fleet_acquire(parts->shared->fleet);
    const struct gv_worker **workers =
        gv_mem_new(GV_MEM_GENERAL, (view->count == 0 ? 1 : view->count) * sizeof *workers);
    if (workers == NULL) {
        gv_fleet_release(parts->shared->fleet, view);
        gv_answer_problem(answer, GV_PROBLEM_INTERNAL, "out of memory");
        return NULL;
    }
    for (uint32_t i = 0; i < view->count; i++) {
        workers[i] = &view->workers[i];
    }
    struct gv_round *round = gv_round_new(parts, plan, view, workers, view->count, answer);
    gv_mem_free(GV_MEM_GENERAL, workers);
    return round;
}

/* ---- /flush_cache ---- */

/* The engine has forgotten its prefixes: so do we, and tell the others. */
static void forget(const struct gv_proxy_shared *shared, const struct gv_worker *worker)
{
    struct gv_operation operation;
    gv_forest_forget(shared->forest, "*", worker->index, GV_FLOOR_RESTARTED, gv_clock_wall_ms(),
                     &operation);
    shared->events->publish(shared->owner, &operation);
    gv_log(GV_LOG_INFO, "worker.flushed", GV_STR("worker", worker->url));
}

static void finish_flush(struct gv_round *round, struct gv_answer *answer)
{
    json_t *good = json_array();
    json_t *bad = json_array();
    for (uint32_t i = 0; i < round->voice_count; i++) {
        const struct gv_voice *voice = &round->voices[i];
        if (gv_voice_is_good(voice)) {
            forget(round->parts->shared, voice->worker);
            json_array_append_new(good, json_string(voice->worker->url));
        } else {
            char what[64];
            gv_voice_describe(voice, what);
            json_array_append_new(
                bad, json_pack("{s:s, s:s}", "worker", voice->worker->url, "error", what));
        }
    }
    size_t flushed = json_array_size(good);
    bool whole = json_array_size(bad) == 0;
    char message[128];
    (void)snprintf(message, sizeof message, "%zu of %u workers flushed their cache", flushed,
                   (unsigned)round->voice_count);
    json_t *json =
        json_pack("{s:s, s:s, s:i, s:i, s:i, s:i, s:i}", "status",
                  whole ? "success" : "partial_success", "message", message, "workers_flushed",
                  (int)flushed, "total_http_workers", (int)round->voice_count, "total_grpc_workers",
                  0, "total_zmq_workers_skipped", 0, "total_workers", (int)round->voice_count);
    if (json != NULL && !whole) {
        json_object_set(json, "successful", good);
        json_object_set(json, "failed", bad);
    }
    json_decref(good);
    json_decref(bad);
    gv_answer_json(answer, whole ? 200 : 206, json);
}

struct gv_round *gv_relay_flush(const struct gv_admin_parts *parts,
                                const struct gv_request *request, struct gv_answer *answer)
{
    static const struct gv_round_plan plan = {"POST", "/flush_cache", NULL, FLUSH_TIMEOUT_MS,
                                              finish_flush};
    (void)request;
    return ask_all(parts, &plan, answer);
}

/* ---- /get_loads ---- */

/* Used tokens over all ranks: of /v1/loads, or of /get_load; -1 when it says none. */
static json_int_t used_tokens(const json_t *ranks)
{
    json_int_t sum = -1;
    size_t at;
    json_t *rank;
    json_array_foreach(ranks, at, rank)
    {
        json_t *used = json_object_get(rank, "num_used_tokens");
        used = used != NULL ? used : json_object_get(rank, "num_tokens");
        json_int_t tokens = json_is_integer(used) ? json_integer_value(used) : -1;
        if (tokens >= 0 && tokens <= USED_TOKENS_MAX) {
            sum = (sum < 0 ? 0 : sum) + tokens;
        }
    }
    return sum;
}

static json_t *load_of(const struct gv_voice *voice)
{
    struct gv_slice body = gv_buf_slice(&voice->body);
    json_t *said = gv_voice_is_good(voice)
                       ? json_loadb((const char *)body.data, body.len, JSON_ALLOW_NUL, NULL)
                       : NULL;
    json_t *ranks = json_is_array(said) ? said : json_object_get(said, "loads");
    json_t *report = gv_report_json(voice->round->parts, voice->worker);
    json_t *known = json_object_get(report, "used_tokens"); /* when it was asked last */
    json_int_t used = used_tokens(ranks);
    bool fresh = json_is_false(json_object_get(report, "stale"));
    used = used < 0 && fresh && known != NULL ? json_integer_value(known) : used;
    json_t *load = json_pack("{s:s, s:I}", "worker", voice->worker->url, "load", used);
    if (load != NULL && report != NULL) {
        json_object_set(load, "engine", report);
    }
    json_decref(report);
    if (load != NULL && ranks != NULL) {
        json_object_set(load, "details", ranks);
    }
    json_decref(said);
    return load;
}

static void finish_loads(struct gv_round *round, struct gv_answer *answer)
{
    json_t *workers = json_array();
    for (uint32_t i = 0; i < round->voice_count; i++) {
        json_array_append_new(workers, load_of(&round->voices[i]));
    }
    gv_answer_json(answer, 200, json_pack("{s:o}", "workers", workers));
}

struct gv_round *gv_relay_loads(const struct gv_admin_parts *parts,
                                const struct gv_request *request, struct gv_answer *answer)
{
    static const struct gv_round_plan plan = {"GET", "/v1/loads", "/get_load", READ_TIMEOUT_MS,
                                              finish_loads};
    (void)request;
    return ask_all(parts, &plan, answer);
}
