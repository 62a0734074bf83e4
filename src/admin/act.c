/*
 * act.c - the reference product's /workers: list, add, replace, change, remove.
 *
 * Every change is a worker record of the mesh: what one node is told, all nodes know. Changes are
 * accepted (202) when the record is on its way; the fleet has it a moment later.
 */
#include "admin/admin.h"
#include "admin/jobs.h"
#include "admin/spec.h"
#include "grapevine/http/uri.h"

#include "grapevine/base/mem.h"

#include <stdio.h>
#include <string.h>

static void set_health(json_t *json, const struct gv_worker *worker, const struct gv_config *config)
{
    const struct gv_worker_health *own = &worker->health;
    uint64_t timeout_ms = own->timeout_ms > 0 ? own->timeout_ms : config->health_timeout_ms;
    uint64_t interval_ms = own->interval_ms > 0 ? own->interval_ms : config->health_interval_ms;
    uint32_t good =
        own->success_threshold > 0 ? own->success_threshold : config->health_success_threshold;
    uint32_t bad =
        own->failure_threshold > 0 ? own->failure_threshold : config->health_failure_threshold;
    json_object_set_new(json, "health",
                        json_pack("{s:I, s:I, s:I, s:I, s:b, s:I}", "timeout_secs",
                                  (json_int_t)(timeout_ms / 1000), "check_interval_secs",
                                  (json_int_t)(interval_ms / 1000), "success_threshold",
                                  (json_int_t)good, "failure_threshold", (json_int_t)bad,
                                  "disable_health_check", (int)own->is_off, "drain_settle_secs",
                                  (json_int_t)(own->drain_settle_ms / 1000)));
}

/* A rank says of which engine it is, and which. */
static void set_rank(json_t *json, const struct gv_worker *worker)
{
    struct gv_uri uri;
    if (gv_uri_parse(gv_slice_text(worker->url), &uri) == GV_OK && uri.dp_rank >= 0) {
        struct gv_slice engine = gv_worker_engine_url(worker->url);
        json_object_set_new(json, "dp_base_url",
                            json_stringn((const char *)engine.data, engine.len));
        json_object_set_new(json, "dp_rank", json_integer(uri.dp_rank));
    }
}

json_t *gv_worker_json(const struct gv_admin_parts *parts, const struct gv_worker *worker)
{
    static const char *const status[GV_WORKER_STATE_COUNT] = {
        [GV_WORKER_PENDING] = "pending",     [GV_WORKER_READY] = "ready",
        [GV_WORKER_NOT_READY] = "not_ready", [GV_WORKER_DRAINING] = "draining",
        [GV_WORKER_REFUSED] = "failed",
    };
    struct gv_load load = {.own_count = 0};
    if (worker->index < GV_WORKERS_MAX) { /* else it is only reserved */
        load = gv_load_get(parts->shared->load, worker->index);
    }
    json_t *models = json_array();
    for (uint32_t i = 0; i < worker->model_count; i++) {
        json_array_append_new(models, json_pack("{s:s}", "id", worker->models[i]));
    }
    json_t *json = json_pack(
        "{s:s, s:s, s:s, s:o, s:s, s:s, s:s, s:i, s:f, s:b, s:s, s:i}", "id", worker->id, "url",
        worker->url, "model_id", worker->model_count > 0 ? worker->models[0] : GV_MODEL_UNKNOWN,
        "models", models, "worker_type", gv_pool_name(worker->pool), "connection_mode", "http",
        "runtime_type", worker->runtime[0] ? worker->runtime : "unspecified", "priority",
        (int)worker->priority, "cost", worker->cost, "is_healthy",
        (int)(worker->state == GV_WORKER_READY), "status", status[worker->state], "load",
        (int)(load.own_count + load.remote_count));
    if (json == NULL) {
        return NULL;
    }
    if (worker->pool == GV_POOL_PREFILL) {
        json_object_set_new(json, "bootstrap_port",
                            worker->bootstrap_port >= 0 ? json_integer(worker->bootstrap_port)
                                                        : json_null());
    }
    json_t *labels = worker->labels[0] != '\0' ? json_loads(worker->labels, 0, NULL) : NULL;
    json_t *job = gv_jobs_status(parts, worker);
    json_object_set_new(json, "labels", labels != NULL ? labels : json_object());
    set_health(json, worker, parts->shared->config);
    set_rank(json, worker);
    if (job != NULL) {
        json_object_set_new(json, "job_status", job);
    }
    return json;
}

void gv_workers_list(const struct gv_admin_parts *parts, const struct gv_request *request,
                     struct gv_answer *answer)
{
    char model[GV_WORKER_MODEL_MAX] = "";
    bool filtered = gv_request_parameter(request, "model", model, sizeof model);
    const struct gv_fleet_view *view = gv_fleet_acquire(parts->shared->fleet);
    json_t *workers = json_array();
    int counts[GV_POOL_COUNT] = {0};
    for (uint32_t i = 0; i < view->count; i++) {
        const struct gv_worker *worker = &view->workers[i];
        if (filtered && !gv_worker_serves(worker, gv_slice_text(model))) {
            continue;
        }
        counts[worker->pool]++;
        json_array_append_new(workers, gv_worker_json(parts, worker));
    }
    gv_fleet_release(parts->shared->fleet, view);
    int total = (int)json_array_size(workers);
    gv_answer_json(answer, 200,
                   json_pack("{s:o, s:i, s:{s:i, s:i, s:i}}", "workers", workers, "total", total,
                             "stats", "prefill_count", counts[GV_POOL_PREFILL], "decode_count",
                             counts[GV_POOL_DECODE], "regular_count", counts[GV_POOL_REGULAR]));
}

/* Is it 8-4-4-4-12 hexadecimal digits? */
static bool is_uuid(const char *text)
{
    static const char form[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    if (strlen(text) != sizeof form - 1) {
        return false;
    }
    for (size_t i = 0; form[i] != '\0'; i++) {
        bool fits =
            form[i] == '-' ? text[i] == '-' : strchr("0123456789abcdefABCDEF", text[i]) != NULL;
        if (!fits) {
            return false;
        }
    }
    return true;
}

/* Whom the path names: a worker, or all ranks of an engine by the id that its URL has. */
struct named {
    struct gv_worker *workers; /* owned */
    uint32_t count;
    bool is_engine; /* they are its ranks */
};

static void collect(const struct gv_fleet_view *view, const char *id, struct named *named)
{
    for (uint32_t i = 0; i < view->count; i++) {
        const struct gv_worker *worker = &view->workers[i];
        struct gv_worker engine = {.index = 0};
        gv_slice_copy_text(gv_worker_engine_url(worker->url), engine.url, sizeof engine.url);
        gv_worker_identify(&engine);
        if (worker->engine != worker->index && strcmp(engine.id, id) == 0) {
            named->workers[named->count++] = *worker;
            named->is_engine = true;
        }
    }
}

/* Copy whom the path names; false when the answer has been given. Else gv_mem_free() the workers.
 */
static bool find(const struct gv_admin_parts *parts, const struct gv_request *request,
                 struct gv_answer *answer, struct named *named)
{
    const char *id = gv_request_id(request);
    *named = (struct named){.workers = NULL};
    if (!is_uuid(id)) {
        gv_answer_error(answer, 400, "BAD_REQUEST", "'%.60s' is not a worker id (a UUID)", id);
        return false;
    }
    const struct gv_fleet_view *view = gv_fleet_acquire(parts->shared->fleet);
    named->workers = gv_mem_new(GV_MEM_GENERAL, (view->count + 1) * sizeof *named->workers);
    const struct gv_worker *found = gv_fleet_find(view, gv_slice_text(id));
    if (named->workers != NULL && found != NULL) {
        named->workers[named->count++] = *found;
    } else if (named->workers != NULL) {
        collect(view, id, named);
    }
    gv_fleet_release(parts->shared->fleet, view);
    if (named->count == 0) {
        gv_mem_free(GV_MEM_GENERAL, named->workers);
        gv_answer_error(answer, 404, "WORKER_NOT_FOUND", "no worker has the id %s", id);
    }
    return named->count > 0;
}

/* An engine of which the fleet has the ranks, as the one worker that it was registered as. */
static json_t *engine_json(const struct gv_admin_parts *parts, const struct named *named)
{
    struct gv_worker engine = named->workers[0];
    json_int_t load = 0;
    for (uint32_t i = 0; i < named->count; i++) {
        const struct gv_worker *rank = &named->workers[i];
        struct gv_load its = gv_load_get(parts->shared->load, rank->index);
        load += its.own_count + its.remote_count;
        engine.state = rank->state == GV_WORKER_READY ? GV_WORKER_READY : engine.state;
    }
    gv_slice_copy_text(gv_worker_engine_url(named->workers[0].url), engine.url, sizeof engine.url);
    gv_worker_identify(&engine);
    json_t *json = gv_worker_json(parts, &engine);
    if (json != NULL) {
        json_object_set_new(json, "load", json_integer(load));
        json_object_set_new(json, "dp_size", json_integer(named->count));
    }
    return json;
}

void gv_workers_get(const struct gv_admin_parts *parts, const struct gv_request *request,
                    struct gv_answer *answer)
{
    struct named named;
    struct gv_worker reserved;
    if (find(parts, request, answer, &named)) {
        gv_answer_json(answer, 200,
                       named.is_engine ? engine_json(parts, &named)
                                       : gv_worker_json(parts, &named.workers[0]));
        gv_mem_free(GV_MEM_GENERAL, named.workers);
    } else if (gv_jobs_find_reserved(parts->jobs, gv_request_id(request), &reserved)) {
        gv_answer_json(answer, 200, gv_worker_json(parts, &reserved));
    }
}

static json_t *read_body(const struct gv_request *request, struct gv_answer *answer)
{
    json_error_t error;
    json_t *spec = json_loadb((const char *)request->body.data, request->body.len,
                              JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(spec)) {
        gv_answer_error(answer, 400, "BAD_REQUEST", "the body is not a JSON object: %s (line %d)",
                        spec == NULL ? error.text : "it is of another type",
                        spec == NULL ? error.line : 1);
        json_decref(spec);
        return NULL;
    }
    return spec;
}

static void accept(const struct gv_admin_parts *parts, const char *job,
                   const struct gv_worker *worker, const char *message, struct gv_answer *answer)
{
    enum gv_err err = gv_cluster_put_worker(parts->cluster, worker);
    if (err != GV_OK) {
        gv_answer_error(answer, err == GV_EINVAL ? 400 : 500, "INTERNAL_SERVER_ERROR",
                        "worker %s was not taken: %s", worker->url, gv_err_text(err));
        return;
    }
    gv_jobs_note(parts->jobs, job, worker);
    if (parts->probe != NULL) {
        gv_probe_wake(parts->probe);
    }
    snprintf(answer->location, sizeof answer->location, "/workers/%s", worker->id);
    gv_answer_json(answer, 202,
                   json_pack("{s:s, s:s, s:s, s:s, s:s}", "status", "accepted", "worker_id",
                             worker->id, "url", worker->url, "location", answer->location,
                             "message", message));
}

static void blank(struct gv_worker *worker)
{
    gv_worker_blank(worker);
    worker->source = GV_SOURCE_API;
}

/* A whole WorkerSpec; false when the answer has been given. `old`: what it must replace, or NULL.
 */
static bool read_worker(const struct gv_request *request, const struct gv_worker *old,
                        struct gv_answer *answer, struct gv_worker *worker)
{
    json_t *spec = read_body(request, answer);
    if (spec == NULL) {
        return false;
    }
    blank(worker);
    const char *wrong = gv_spec_read_url(spec, worker);
    wrong = wrong != NULL ? wrong : gv_spec_read(spec, worker);
    json_decref(spec);
    if (wrong == NULL && old != NULL && strcmp(worker->url, old->url) != 0) {
        wrong = "field 'url' must be the URL of the worker that is replaced; add another with POST";
    }
    if (wrong != NULL) {
        gv_answer_error(answer, 400, "BAD_REQUEST", "%s", wrong);
        return false;
    }
    gv_worker_identify(worker);
    return true;
}

static bool is_active(const struct gv_admin_parts *parts, const char *url)
{
    const struct gv_fleet_view *view = gv_fleet_acquire(parts->shared->fleet);
    const struct gv_worker *known = gv_fleet_find(view, gv_slice_text(url));
    bool active = known != NULL && known->state != GV_WORKER_DRAINING;
    for (uint32_t i = 0; i < view->count && !active; i++) { /* its ranks stand for an engine */
        active = gv_slice_is(gv_worker_engine_url(view->workers[i].url), url) &&
                 view->workers[i].state != GV_WORKER_DRAINING;
    }
    gv_fleet_release(parts->shared->fleet, view);
    return active;
}

void gv_workers_add(const struct gv_admin_parts *parts, const struct gv_request *request,
                    struct gv_answer *answer)
{
    struct gv_worker worker;
    if (!read_worker(request, NULL, answer, &worker)) {
        return;
    }
    if (is_active(parts, worker.url)) {
        gv_answer_error(answer, 409, "WORKER_ALREADY_EXISTS",
                        "worker %s exists; PUT /workers/{id} replaces it", worker.url);
        return;
    }
    accept(parts, "AddWorker", &worker, "Worker addition queued for background processing", answer);
}

void gv_workers_replace(const struct gv_admin_parts *parts, const struct gv_request *request,
                        struct gv_answer *answer)
{
    struct named named;
    struct gv_worker worker;
    if (!find(parts, request, answer, &named)) {
        return;
    }
    if (named.is_engine || named.workers[0].engine != named.workers[0].index) {
        gv_answer_error(answer, 400, "BAD_REQUEST",
                        "ranks of an engine are not replaced one by one; PATCH changes them, "
                        "DELETE and POST put another engine in their place");
    } else if (read_worker(request, &named.workers[0], answer, &worker)) {
        accept(parts, "UpdateWorker", &worker,
               "Worker replacement queued for background processing", answer);
    }
    gv_mem_free(GV_MEM_GENERAL, named.workers);
}

/* The first field of a patch that may not be patched, or NULL. */
static const char *foreign_field(json_t *patch)
{
    static const char *const changeable[] = {"priority", "cost", "labels", "api_key", "health"};
    const char *name;
    const char *foreign = NULL;
    json_t *value;
    json_object_foreach(patch, name, value)
    {
        bool known = false;
        for (size_t i = 0; i < sizeof changeable / sizeof changeable[0]; i++) {
            known |= strcmp(name, changeable[i]) == 0;
        }
        foreign = known ? foreign : name;
    }
    return foreign;
}

/* Change all of them, or none. */
static void change(const struct gv_admin_parts *parts, struct named *named, json_t *patch,
                   struct gv_answer *answer)
{
    const char *foreign = foreign_field(patch);
    const char *wrong = NULL;
    for (uint32_t i = 0; i < named->count && foreign == NULL && wrong == NULL; i++) {
        wrong = gv_spec_read(patch, &named->workers[i]);
    }
    if (foreign != NULL) {
        gv_answer_error(answer, 400, "BAD_REQUEST",
                        "field '%.60s' cannot be patched; PUT replaces a worker as a whole",
                        foreign);
    } else if (wrong != NULL) {
        gv_answer_error(answer, 400, "BAD_REQUEST", "%s", wrong);
    }
    for (uint32_t i = 0; i < named->count && foreign == NULL && wrong == NULL; i++) {
        accept(parts, "UpdateWorker", &named->workers[i],
               "Worker update queued for background processing", answer);
    }
}

void gv_workers_change(const struct gv_admin_parts *parts, const struct gv_request *request,
                       struct gv_answer *answer)
{
    struct named named;
    if (!find(parts, request, answer, &named)) {
        return;
    }
    json_t *patch = read_body(request, answer);
    if (patch != NULL) {
        change(parts, &named, patch, answer);
    }
    json_decref(patch);
    gv_mem_free(GV_MEM_GENERAL, named.workers);
}

/* From the answer on, nothing new goes there from this node; the mesh thread does the rest. Marked
 * before it is told, so that a worker that comes back meanwhile is not marked too. */
static enum gv_err remove_worker(const struct gv_admin_parts *parts, const struct gv_worker *worker)
{
    struct gv_fleet *fleet = parts->shared->fleet;
    struct gv_slice url = gv_slice_text(worker->url);
    uint64_t now_ms = gv_clock_wall_ms();
    enum gv_err err = gv_fleet_set_state(fleet, url, GV_WORKER_DRAINING, "removed", now_ms);
    if (err != GV_OK) {
        return err == GV_ENOTFOUND ? GV_OK : err; /* gone already */
    }
    err = gv_cluster_delete_worker(parts->cluster, worker->url);
    if (err == GV_OK) {
        return GV_OK;
    }
    enum gv_err restored = gv_fleet_set_state(fleet, url, worker->state, worker->reason, now_ms);
    return restored == GV_OK ? err : GV_OK; /* it drains, and is told as removed then */
}

void gv_workers_remove(const struct gv_admin_parts *parts, const struct gv_request *request,
                       struct gv_answer *answer)
{
    struct named named;
    if (!find(parts, request, answer, &named)) {
        return;
    }
    enum gv_err err = GV_OK;
    const struct gv_worker *at = &named.workers[0];
    for (uint32_t i = 0; i < named.count && err == GV_OK; i++) {
        at = &named.workers[i];
        err = remove_worker(parts, at);
        if (err == GV_OK) {
            gv_jobs_note(parts->jobs, "RemoveWorker", at);
        }
    }
    if (err != GV_OK) {
        gv_answer_error(answer, 500, "INTERNAL_SERVER_ERROR", "worker %s was not removed: %s",
                        at->url, gv_err_text(err));
    } else {
        struct gv_slice url =
            named.is_engine ? gv_worker_engine_url(at->url) : gv_slice_text(at->url);
        gv_answer_json(answer, 202,
                       json_pack("{s:s, s:s, s:s%, s:s}", "status", "accepted", "worker_id",
                                 gv_request_id(request), "url", (const char *)url.data, url.len,
                                 "message", "Worker removal queued for background processing"));
    }
    gv_mem_free(GV_MEM_GENERAL, named.workers);
}
