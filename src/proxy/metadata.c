/* metadata.c - see metadata.h. The only file of this folder that knows jansson. */
#include "metadata.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

static json_t *load(struct gv_slice text)
{
    return json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES, NULL);
}

static void copy_text(char *into, size_t size, const char *text)
{
    (void)gv_slice_copy_text(gv_slice_text(text), into, size);
}

static void add_model(struct gv_metadata *metadata, const char *name)
{
    if (name == NULL || name[0] == '\0' || strlen(name) >= GV_WORKER_MODEL_MAX ||
        metadata->model_count == GV_WORKER_MODELS_MAX) {
        return;
    }
    for (uint32_t i = 0; i < metadata->model_count; i++) {
        if (strcmp(metadata->models[i], name) == 0) {
            return;
        }
    }
    copy_text(metadata->models[metadata->model_count++], GV_WORKER_MODEL_MAX, name);
}

static void learn_runtime(struct gv_metadata *metadata, const char *owner)
{
    if (owner == NULL || metadata->runtime[0] != '\0') {
        return;
    }
    if (strcmp(owner, "sglang") == 0 || strcmp(owner, "vllm") == 0) {
        copy_text(metadata->runtime, sizeof metadata->runtime, owner);
    } else {
        copy_text(metadata->runtime, sizeof metadata->runtime, "openai");
    }
}

bool gv_metadata_read_models(struct gv_metadata *metadata, struct gv_slice text)
{
    json_t *json = load(text);
    json_t *data = json_object_get(json, "data");
    bool understood = json_is_array(data);
    size_t i;
    json_t *item;
    json_array_foreach(data, i, item)
    {
        add_model(metadata, json_string_value(json_object_get(item, "id")));
        learn_runtime(metadata, json_string_value(json_object_get(item, "owned_by")));
    }
    json_decref(json);
    return understood;
}

static uint64_t whole_number(const json_t *json, const char *name)
{
    const json_t *value = json_object_get(json, name);
    json_int_t number = json_is_integer(value) ? json_integer_value(value) : 0;
    return number > 0 ? (uint64_t)number : 0;
}

static void learn_role(struct gv_metadata *metadata, const json_t *json)
{
    const json_t *mode = json_object_get(json, "disaggregation_mode");
    if (mode == NULL) {
        return;
    }
    const char *name = json_string_value(mode);
    metadata->has_role = true;
    metadata->role = GV_POOL_REGULAR;
    if (name != NULL && strcmp(name, "prefill") == 0) {
        metadata->role = GV_POOL_PREFILL;
    } else if (name != NULL && strcmp(name, "decode") == 0) {
        metadata->role = GV_POOL_DECODE;
    }
}

/* Anything that names this run of the process; a generation counts restarts faster than a clock. */
static void learn_marker(struct gv_metadata *metadata, const json_t *json)
{
    static const char *const names[] = {"boot_id", "start_time_ms", "start_time", "started_at"};
    char marker[GV_METADATA_MARKER_BYTES];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const json_t *value = json_object_get(json, names[i]);
        if (json_is_string(value)) {
            copy_text(marker, sizeof marker, json_string_value(value));
        } else if (json_is_number(value)) {
            snprintf(marker, sizeof marker, "%.3f", json_number_value(value));
        } else {
            continue;
        }
        memcpy(metadata->marker, marker, sizeof marker);
        break;
    }
    metadata->started_wall_ms = whole_number(json, "start_time_ms");
    uint64_t generation = whole_number(json, "generation");
    size_t len = strlen(metadata->marker);
    if (generation > 0 && len + 24 < sizeof metadata->marker) {
        snprintf(metadata->marker + len, sizeof metadata->marker - len, "#%" PRIu64, generation);
    }
}

static void learn_capacity(struct gv_metadata *metadata, const json_t *json)
{
    static const char *const names[] = {"max_total_num_tokens", "max_total_tokens"};
    const json_t *states = json_object_get(json, "internal_states");
    uint64_t sum = 0;
    for (size_t i = 0; i < json_array_size(states); i++) {
        sum += whole_number(json_array_get(states, i), "max_total_num_tokens");
    }
    for (size_t i = 0; sum == 0 && i < sizeof names / sizeof names[0]; i++) {
        sum = whole_number(json, names[i]);
    }
    if (sum > 0) {
        metadata->capacity_tokens = sum;
    }
}

bool gv_metadata_read_server_info(struct gv_metadata *metadata, struct gv_slice text)
{
    json_t *json = load(text);
    bool understood = json_is_object(json);
    if (understood) {
        if (metadata->model_count == 0) {
            add_model(metadata, json_string_value(json_object_get(json, "served_model_name")));
        }
        if (metadata->model_count == 0) {
            add_model(metadata, json_string_value(json_object_get(json, "model_path")));
        }
        learn_role(metadata, json);
        learn_capacity(metadata, json);
        learn_marker(metadata, json);
    }
    json_decref(json);
    return understood;
}

bool gv_metadata_read_model_info(struct gv_metadata *metadata, struct gv_slice text)
{
    json_t *json = load(text);
    bool understood = json_is_object(json);
    if (understood && metadata->model_count == 0) {
        add_model(metadata, json_string_value(json_object_get(json, "served_model_name")));
        if (metadata->model_count == 0) {
            add_model(metadata, json_string_value(json_object_get(json, "model_path")));
        }
    }
    json_decref(json);
    return understood;
}

bool gv_metadata_read_metrics(struct gv_metadata *metadata, struct gv_slice text)
{
    static const char name[] = "process_start_time_seconds ";
    const size_t name_len = sizeof name - 1;
    for (size_t at = 0; at + name_len < text.len; at++) {
        bool at_line = at == 0 || text.data[at - 1] == '\n';
        if (!at_line || memcmp(text.data + at, name, name_len) != 0) {
            continue;
        }
        char number[32];
        size_t left = text.len - at - name_len;
        struct gv_slice value = gv_slice_of(text.data + at + name_len,
                                            left < sizeof number - 1 ? left : sizeof number - 1);
        (void)gv_slice_copy_text(value, number, sizeof number);
        double seconds = strtod(number, NULL);
        if (seconds <= 0) {
            return false;
        }
        snprintf(metadata->marker, sizeof metadata->marker, "%.3f", seconds);
        metadata->started_wall_ms = (uint64_t)(seconds * 1000);
        return true;
    }
    return false;
}
