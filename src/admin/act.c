/*
 * act.c - the reference product's /workers: list, add, replace, change, remove.
 *
 * Every change is a worker record of the mesh: what one node is told, all nodes know. Changes are
 * accepted (202) when the record is on its way; the fleet has it a moment later.
 */
#include "admin/admin.h"
#include "grapevine/http/uri.h"

#include <stdio.h>
#include <string.h>

json_t *gv_worker_json(const struct gv_admin_parts *parts, const struct gv_worker *worker)
{
    static const char *const status[GV_WORKER_STATE_COUNT] = {
        [GV_WORKER_PENDING] = "pending",     [GV_WORKER_READY] = "ready",
        [GV_WORKER_NOT_READY] = "not_ready", [GV_WORKER_DRAINING] = "draining",
        [GV_WORKER_REFUSED] = "failed",
    };
    struct gv_load load = gv_load_get(parts->shared->load, worker->index);
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
    if (json != NULL && worker->pool == GV_POOL_PREFILL) {
        json_object_set_new(json, "bootstrap_port",
                            worker->bootstrap_port >= 0 ? json_integer(worker->bootstrap_port)
                                                        : json_null());
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

/* Copy the worker that the path names; false when the answer has been given. */
static bool find(const struct gv_admin_parts *parts, const struct gv_request *request,
                 struct gv_answer *answer, struct gv_worker *worker)
{
    const char *id = gv_request_id(request);
    if (!is_uuid(id)) {
        gv_answer_error(answer, 400, "BAD_REQUEST", "'%.60s' is not a worker id (a UUID)", id);
        return false;
    }
    const struct gv_fleet_view *view = gv_fleet_acquire(parts->shared->fleet);
    const struct gv_worker *found = gv_fleet_find(view, gv_slice_text(id));
    if (found != NULL) {
        *worker = *found;
    }
    gv_fleet_release(parts->shared->fleet, view);
    if (found == NULL) {
        gv_answer_error(answer, 404, "WORKER_NOT_FOUND", "no worker has the id %s", id);
    }
    return found != NULL;
}

void gv_workers_get(const struct gv_admin_parts *parts, const struct gv_request *request,
                    struct gv_answer *answer)
{
    struct gv_worker worker;
    if (find(parts, request, answer, &worker)) {
        gv_answer_json(answer, 200, gv_worker_json(parts, &worker));
    }
}

/* ---- reading a WorkerSpec: each reader returns NULL, or what is wrong ---- */

static const char *read_url(const json_t *spec, struct gv_worker *worker)
{
    const char *url = json_string_value(json_object_get(spec, "url"));
    struct gv_uri uri;
    if (url == NULL) {
        return "field 'url' is missing, e.g. \"http://10.0.0.5:30000\"";
    }
    if (gv_uri_parse(gv_slice_text(url), &uri) != GV_OK ||
        gv_uri_format(&uri, worker->url) != GV_OK) {
        return "field 'url' is not of the form http://host[:port][/prefix]";
    }
    return NULL;
}

static const char *read_model(const json_t *model, struct gv_worker *worker)
{
    const char *name =
        json_string_value(json_is_object(model) ? json_object_get(model, "id") : model);
    if (name == NULL || name[0] == '\0' || strlen(name) >= GV_WORKER_MODEL_MAX) {
        return "field 'models' must hold names, or objects with an 'id', of at most 255 bytes";
    }
    if (worker->model_count == GV_WORKER_MODELS_MAX) {
        return "field 'models' holds more than 16 models";
    }
    snprintf(worker->models[worker->model_count++], GV_WORKER_MODEL_MAX, "%s", name);
    return NULL;
}

static const char *read_models(const json_t *spec, struct gv_worker *worker)
{
    const json_t *models = json_object_get(spec, "models");
    const json_t *single = json_object_get(spec, "model_id");
    if (models == NULL && single == NULL) {
        return NULL;
    }
    worker->model_count = 0;
    if (models == NULL) {
        return read_model(single, worker);
    }
    if (!json_is_array(models)) {
        return "field 'models' must be an array";
    }
    for (size_t i = 0; i < json_array_size(models); i++) {
        const char *wrong = read_model(json_array_get(models, i), worker);
        if (wrong != NULL) {
            return wrong;
        }
    }
    return NULL;
}

static const char *read_role(const json_t *spec, struct gv_worker *worker)
{
    const json_t *type = json_object_get(spec, "worker_type");
    if (type != NULL) {
        const char *name = json_string_value(type);
        if (name == NULL || !gv_pool_parse(gv_slice_text(name), &worker->pool)) {
            return "field 'worker_type' must be regular, prefill or decode";
        }
    }
    const json_t *port = json_object_get(spec, "bootstrap_port");
    if (port != NULL && !json_is_null(port)) {
        json_int_t value = json_integer_value(port);
        if (!json_is_integer(port) || value < 1 || value > 65535) {
            return "field 'bootstrap_port' must be 1 to 65535, or null";
        }
        worker->bootstrap_port = (int32_t)value;
    }
    return NULL;
}

static const char *read_text(const json_t *spec, const char *name, char *into, size_t size)
{
    const json_t *value = json_object_get(spec, name);
    if (value == NULL || json_is_null(value)) {
        return NULL;
    }
    const char *text = json_string_value(value);
    if (text == NULL || strlen(text) >= size) {
        return "fields 'api_key' (255 bytes) and 'runtime' (15 bytes) must be short strings";
    }
    snprintf(into, size, "%s", text);
    return NULL;
}

static const char *read_numbers(const json_t *spec, struct gv_worker *worker)
{
    const json_t *priority = json_object_get(spec, "priority");
    if (priority != NULL) {
        json_int_t value = json_integer_value(priority);
        if (!json_is_integer(priority) || value < 0 || value > 1000) {
            return "field 'priority' must be an integer from 0 to 1000";
        }
        worker->priority = (int32_t)value;
    }
    const json_t *cost = json_object_get(spec, "cost");
    if (cost != NULL) {
        double value = json_number_value(cost);
        if (!json_is_number(cost) || !(value >= 0 && value <= 1e6)) {
            return "field 'cost' must be a number from 0 to 1000000";
        }
        worker->cost = value;
    }
    return NULL;
}

/* Everything of a spec but its URL, over what `worker` holds. */
static const char *read_spec(const json_t *spec, struct gv_worker *worker)
{
    const char *wrong = read_models(spec, worker);
    wrong = wrong != NULL ? wrong : read_role(spec, worker);
    wrong = wrong != NULL ? wrong : read_numbers(spec, worker);
    wrong =
        wrong != NULL ? wrong : read_text(spec, "api_key", worker->api_key, sizeof worker->api_key);
    wrong =
        wrong != NULL ? wrong : read_text(spec, "runtime", worker->runtime, sizeof worker->runtime);
    return wrong != NULL ? wrong
                         : read_text(spec, "runtime_type", worker->runtime, sizeof worker->runtime);
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

static void accept(const struct gv_admin_parts *parts, const struct gv_worker *worker,
                   const char *message, struct gv_answer *answer)
{
    enum gv_err err = gv_cluster_put_worker(parts->cluster, worker);
    if (err != GV_OK) {
        gv_answer_error(answer, err == GV_EINVAL ? 400 : 500, "INTERNAL_SERVER_ERROR",
                        "worker %s was not taken: %s", worker->url, gv_err_text(err));
        return;
    }
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
    *worker = (struct gv_worker){.pool = GV_POOL_REGULAR,
                                 .state = GV_WORKER_PENDING,
                                 .source = GV_SOURCE_API,
                                 .bootstrap_port = -1,
                                 .priority = 50,
                                 .cost = 1.0};
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
    const char *wrong = read_url(spec, worker);
    wrong = wrong != NULL ? wrong : read_spec(spec, worker);
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
    accept(parts, &worker, "Worker addition queued for background processing", answer);
}

void gv_workers_replace(const struct gv_admin_parts *parts, const struct gv_request *request,
                        struct gv_answer *answer)
{
    struct gv_worker old;
    struct gv_worker worker;
    if (find(parts, request, answer, &old) && read_worker(request, &old, answer, &worker)) {
        accept(parts, &worker, "Worker replacement queued for background processing", answer);
    }
}

void gv_workers_change(const struct gv_admin_parts *parts, const struct gv_request *request,
                       struct gv_answer *answer)
{
    struct gv_worker worker;
    if (!find(parts, request, answer, &worker)) {
        return;
    }
    json_t *spec = read_body(request, answer);
    if (spec == NULL) {
        return;
    }
    static const char *const changeable[] = {"priority", "cost", "api_key"};
    const char *name;
    const char *foreign = NULL;
    json_t *value;
    json_object_foreach(spec, name, value)
    {
        bool known = false;
        for (size_t i = 0; i < sizeof changeable / sizeof changeable[0]; i++) {
            known |= strcmp(name, changeable[i]) == 0;
        }
        foreign = known ? foreign : name;
    }
    if (foreign != NULL) {
        gv_answer_error(answer, 400, "BAD_REQUEST",
                        "field '%.60s' cannot be patched; PUT replaces a worker as a whole",
                        foreign);
        json_decref(spec);
        return;
    }
    const char *wrong = read_spec(spec, &worker);
    json_decref(spec);
    if (wrong != NULL) {
        gv_answer_error(answer, 400, "BAD_REQUEST", "%s", wrong);
        return;
    }
    accept(parts, &worker, "Worker update queued for background processing", answer);
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
    struct gv_worker worker;
    if (!find(parts, request, answer, &worker)) {
        return;
    }
    enum gv_err err = remove_worker(parts, &worker);
    if (err != GV_OK) {
        gv_answer_error(answer, 500, "INTERNAL_SERVER_ERROR", "worker %s was not removed: %s",
                        worker.url, gv_err_text(err));
        return;
    }
    gv_answer_json(answer, 202,
                   json_pack("{s:s, s:s, s:s, s:s}", "status", "accepted", "worker_id", worker.id,
                             "url", worker.url, "message",
                             "Worker removal queued for background processing"));
}
