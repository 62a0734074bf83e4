/* metadata.c - see metadata.h. */
#include "metadata.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

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
    if (strcmp(owner, "nvidia") == 0) {
        owner = "sglang"; /* its builds of SGLang say so */
    }
    if (strcmp(owner, "sglang") == 0 || strcmp(owner, "vllm") == 0) {
        copy_text(metadata->runtime, sizeof metadata->runtime, owner);
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

/* How long it has run, for engines that say no moment. */
static void learn_uptime(struct gv_metadata *metadata, const json_t *json)
{
    const json_t *value = json_object_get(json, "uptime_seconds");
    value = value != NULL ? value : json_object_get(json, "uptime");
    double seconds = json_number_value(value);
    if (seconds > 0 && seconds < 1e12) {
        metadata->uptime_ms = (uint64_t)(seconds * 1000);
    }
}

/* vLLM has a path of the same name, for developers, with other contents. */
static void learn_kind(struct gv_metadata *metadata, const json_t *json)
{
    static const char *const own[] = {"disaggregation_mode", "max_total_num_tokens", "tp_size",
                                      "internal_states"};
    for (size_t i = 0; i < sizeof own / sizeof own[0] && metadata->runtime[0] == '\0'; i++) {
        if (json_object_get(json, own[i]) != NULL) {
            copy_text(metadata->runtime, sizeof metadata->runtime, "sglang");
        }
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
        learn_uptime(metadata, json);
        learn_kind(metadata, json);
        uint64_t dp_size = whole_number(json, "dp_size");
        metadata->dp_size = dp_size <= GV_ENGINE_RANKS_MAX ? (uint32_t)dp_size : 0;
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

bool gv_metadata_read_version(struct gv_metadata *metadata, struct gv_slice text)
{
    json_t *json = load(text);
    bool understood = json_is_string(json_object_get(json, "version"));
    if (understood && metadata->runtime[0] == '\0') {
        copy_text(metadata->runtime, sizeof metadata->runtime, "vllm");
    }
    json_decref(json);
    return understood;
}

/* ---- loads ---- */

static uint32_t whole_32(const json_t *json, const char *name)
{
    uint64_t number = whole_number(json, name);
    return number < UINT32_MAX ? (uint32_t)number : UINT32_MAX;
}

/* The words of /v1/loads, or those of /get_load. */
static void read_rank(const json_t *json, uint32_t place, struct gv_engine_load *load)
{
    const json_t *rank = json_object_get(json, "dp_rank");
    const json_t *usage = json_object_get(json, "token_usage");
    *load = (struct gv_engine_load){.rank = place};
    if (json_is_integer(rank) && json_integer_value(rank) >= 0) {
        load->rank = whole_32(json, "dp_rank");
    }
    load->used_tokens = whole_number(json, "num_used_tokens");
    if (load->used_tokens == 0) {
        load->used_tokens = whole_number(json, "num_tokens");
    }
    load->waiting = whole_32(json, "num_waiting_reqs");
    load->running = whole_32(json, "num_running_reqs");
    uint32_t both = whole_32(json, "num_reqs"); /* /get_load counts them together */
    if (load->running == 0 && both > load->waiting) {
        load->running = both - load->waiting;
    }
    double share = json_number_value(usage);
    uint64_t most = whole_number(json, "max_total_num_tokens");
    if (!json_is_number(usage) && most > 0) {
        share = (double)load->used_tokens / (double)most;
    }
    load->has_usage = json_is_number(usage) || most > 0;
    load->usage = share < 0 ? 0 : share > 1 ? 1 : share;
}

uint32_t gv_metadata_read_loads(struct gv_slice text, struct gv_engine_load *loads)
{
    json_t *json = load(text);
    const json_t *ranks = json_is_array(json) ? json : json_object_get(json, "loads");
    uint32_t count = 0;
    for (size_t i = 0; i < json_array_size(ranks) && count < GV_ENGINE_RANKS_MAX; i++) {
        const json_t *item = json_array_get(ranks, i);
        if (json_is_object(item)) {
            read_rank(item, count, &loads[count]);
            count += 1;
        }
    }
    json_decref(json);
    return count;
}
