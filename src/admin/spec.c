/* spec.c - see spec.h. */
#include "admin/spec.h"

#include "grapevine/http/uri.h"

#include <stdio.h>
#include <string.h>

const char *gv_spec_read_url(const json_t *spec, struct gv_worker *worker)
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
        if (!json_is_integer(port) || value < 1 || value > GV_WORKER_PORT_MAX) {
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
        if (!json_is_integer(priority) || value < 0 || value > GV_WORKER_PRIORITY_MAX) {
            return "field 'priority' must be an integer from 0 to 1000";
        }
        worker->priority = (int32_t)value;
    }
    const json_t *cost = json_object_get(spec, "cost");
    if (cost != NULL) {
        double value = json_number_value(cost);
        if (!json_is_number(cost) || !(value >= 0 && value <= GV_WORKER_COST_MAX)) {
            return "field 'cost' must be a number from 0 to 1000000";
        }
        worker->cost = value;
    }
    return NULL;
}

/* Labels are merged: what is said here is set, null takes one away. */
static const char *read_labels(const json_t *spec, struct gv_worker *worker)
{
    static const char wrong[] = "field 'labels' must be an object of texts, 511 bytes in all";
    json_t *said = json_object_get(spec, "labels");
    if (said == NULL || json_is_null(said)) {
        return NULL;
    }
    json_t *labels = json_loads(worker->labels[0] != '\0' ? worker->labels : "{}", 0, NULL);
    const char *name;
    json_t *value;
    bool fits = json_is_object(said) && labels != NULL;
    json_object_foreach(said, name, value)
    {
        fits = fits && (json_is_string(value) || json_is_null(value));
        if (fits && json_is_null(value)) {
            (void)json_object_del(labels, name);
        } else if (fits) {
            fits = json_object_set(labels, name, value) == 0;
        }
    }
    char text[GV_WORKER_LABELS_MAX];
    size_t len = fits ? json_dumpb(labels, text, sizeof text - 1, JSON_COMPACT | JSON_SORT_KEYS)
                      : sizeof text;
    bool is_empty = fits && json_object_size(labels) == 0;
    json_decref(labels);
    if (len == 0 || len > sizeof text - 1) {
        return wrong;
    }
    gv_slice_copy_text(gv_slice_of(text, is_empty ? 0 : len), worker->labels,
                       sizeof worker->labels);
    return NULL;
}

/* One number of `health`, times `scale`; what is not said stays. */
static bool read_health_number(const json_t *health, const char *name, uint32_t scale,
                               uint32_t *into)
{
    const json_t *value = json_object_get(health, name);
    if (value == NULL || json_is_null(value)) {
        return true;
    }
    json_int_t number = json_integer_value(value);
    if (!json_is_integer(value) || number < 1 || number > GV_WORKER_HEALTH_MAX) {
        return false;
    }
    *into = (uint32_t)number * scale;
    return true;
}

static const char *read_health(const json_t *spec, struct gv_worker *worker)
{
    const json_t *health = json_object_get(spec, "health");
    if (health == NULL || json_is_null(health)) {
        return NULL;
    }
    if (!json_is_object(health)) {
        return "field 'health' must be an object";
    }
    struct gv_worker_health *into = &worker->health;
    if (!read_health_number(health, "timeout_secs", 1000, &into->timeout_ms) ||
        !read_health_number(health, "check_interval_secs", 1000, &into->interval_ms) ||
        !read_health_number(health, "success_threshold", 1, &into->success_threshold) ||
        !read_health_number(health, "failure_threshold", 1, &into->failure_threshold) ||
        !read_health_number(health, "drain_settle_secs", 1000, &into->drain_settle_ms)) {
        return "the numbers of field 'health' must be integers from 1 to 86400";
    }
    const json_t *off = json_object_get(health, "disable_health_check");
    if (off != NULL && !json_is_null(off)) {
        if (!json_is_boolean(off)) {
            return "field 'health.disable_health_check' must be true or false";
        }
        into->is_off = json_is_true(off);
    }
    return NULL;
}

/* What would need another way to speak to the engine. */
static const char *read_mode(const json_t *spec)
{
    const json_t *mode = json_object_get(spec, "connection_mode");
    const char *name = json_string_value(mode);
    return mode == NULL || json_is_null(mode) || (name != NULL && strcmp(name, "http") == 0)
               ? NULL
               : "field 'connection_mode' must be http";
}

const char *gv_spec_read(const json_t *spec, struct gv_worker *worker)
{
    const char *wrong = read_models(spec, worker);
    wrong = wrong != NULL ? wrong : read_role(spec, worker);
    wrong = wrong != NULL ? wrong : read_numbers(spec, worker);
    wrong =
        wrong != NULL ? wrong : read_text(spec, "api_key", worker->api_key, sizeof worker->api_key);
    wrong =
        wrong != NULL ? wrong : read_text(spec, "runtime", worker->runtime, sizeof worker->runtime);
    wrong = wrong != NULL
                ? wrong
                : read_text(spec, "runtime_type", worker->runtime, sizeof worker->runtime);
    wrong = wrong != NULL ? wrong : read_mode(spec);
    wrong = wrong != NULL ? wrong : read_labels(spec, worker);
    return wrong != NULL ? wrong : read_health(spec, worker);
}
