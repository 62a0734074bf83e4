/*
 * probe.c - see probe.h. One ward per worker; a ward asks one question at a time.
 *
 *     IDLE --due--> HEALTH --good, to be described--> MODELS -> SERVER_INFO [-> SERVER_INFO_ALT]
 *       ^             |                                  -> MODEL_INFO [-> METRICS]
 *       +-------------+-----------------------------------------+
 */
#include "grapevine/proxy/probe.h"

#include "fetch.h"
#include "grapevine/base/assert.h"
#include "grapevine/base/log.h"
#include "grapevine/base/mem.h"
#include "grapevine/net/timer.h"
#include "metadata.h"
#include <stdio.h>

#define GV_PROBE_TICK_MS         100u
#define GV_PROBE_FAST_MS         1000u /* between probes of a worker that is not ready */
#define GV_PROBE_RISING_MS       200u  /* between good probes of a worker about to be ready */
#define GV_PROBE_ACTIVE_MAX      128u  /* questions out at once */
#define GV_PROBE_DRAIN_MIN_MS    500u  /* for every loop to have seen that it drains */
#define GV_PROBE_BYTES_PER_TOKEN 4u

enum step {
    STEP_IDLE = 0,
    STEP_HEALTH,
    STEP_MODELS,
    STEP_SERVER_INFO,
    STEP_SERVER_INFO_ALT,
    STEP_MODEL_INFO,
    STEP_METRICS
};

struct ward {
    struct gv_list link; /* in probe->wards */
    struct gv_probe *probe;
    struct gv_target *target; /* borrowed; NULL: its URL cannot be spoken to */
    char url[GV_WORKER_URL_MAX];
    uint32_t index;
    struct gv_fetch fetch;
    enum step step;
    uint64_t due_at_ms;
    uint32_t good_count; /* probes in a row */
    uint32_t bad_count;
    bool described; /* its metadata were read since it was last unknown */
    bool refused;   /* connections were refused since it was last well */
    uint64_t refused_wall_ms;
    bool learns_models; /* its registration named none */
    bool listed;        /* /v1/models has told models, this time */
    bool lists;         /* and ever: then nothing else is believed */
    char marker[GV_METADATA_MARKER_BYTES];
    struct gv_metadata metadata;
    uint64_t draining_since_ms; /* 0: it does not */
    uint64_t seen_at;           /* sweep number, to find wards whose worker is gone */
    bool was_ready;             /* at the last look, or made so since */
};

struct gv_probe {
    struct gv_loop *loop;
    const struct gv_proxy_shared *shared;
    const struct gv_probe_events *events;
    void *owner;
    struct gv_targets *targets;
    struct gv_timer *tick;
    struct gv_list wards;   /* owned */
    struct ward **by_index; /* owned; GV_WORKERS_MAX of them, the same wards */
    const struct gv_fleet_view *view;
    uint64_t sweep;
    uint32_t active_count;
};

static void ask(struct ward *ward, enum step step);

static uint64_t now_ms(const struct ward *ward)
{
    return gv_loop_now_ms(ward->probe->loop);
}

/* The worker as it is now, or NULL when it is gone; borrowed until the next look. */
static const struct gv_worker *look_at(struct ward *ward)
{
    struct gv_probe *probe = ward->probe;
    struct gv_fleet *fleet = probe->shared->fleet;
    if (probe->view->version != gv_fleet_version(fleet)) {
        gv_fleet_release(fleet, probe->view);
        probe->view = gv_fleet_acquire(fleet);
    }
    return gv_fleet_find(probe->view, gv_slice_text(ward->url));
}

/* ---- opinions ---- */

static void set_state(struct ward *ward, enum gv_worker_state state, const char *reason)
{
    struct gv_probe *probe = ward->probe;
    const struct gv_worker *worker = look_at(ward);
    if (worker == NULL || worker->state == GV_WORKER_DRAINING ||
        (worker->state == state && strcmp(worker->reason, reason) == 0)) {
        return;
    }
    bool changed = worker->state != state;
    if (gv_fleet_set_state(probe->shared->fleet, gv_slice_text(ward->url), state, reason,
                           gv_clock_wall_ms()) != GV_OK) {
        return;
    }
    ward->was_ready = state == GV_WORKER_READY; /* it may be replaced before the next tick */
    worker = look_at(ward);
    if (worker == NULL || !changed) {
        return;
    }
    gv_log(state == GV_WORKER_READY ? GV_LOG_INFO : GV_LOG_WARN, "worker.state",
           GV_STR("worker", ward->url), GV_STR("state", gv_worker_state_name(state)),
           GV_STR("pool", gv_pool_name(worker->pool)), GV_STR("reason", reason));
    probe->events->on_opinion(probe->owner, worker);
}

/* The engine's cache is gone as of `wall_ms`. */
static void forget(struct ward *ward, enum gv_floor_reason reason, uint64_t wall_ms)
{
    const struct gv_proxy_shared *shared = ward->probe->shared;
    struct gv_operation operation;
    gv_forest_forget(shared->forest, "*", ward->index, reason, wall_ms, &operation);
    shared->events->publish(shared->owner, &operation);
    gv_log(GV_LOG_INFO, "worker.forgotten", GV_STR("worker", ward->url),
           GV_STR("reason", gv_floor_reason_name(reason)));
}

/* ---- what the answers mean ---- */

/* When to ask again; ready workers are spread over a tenth of the interval. */
static void rest(struct ward *ward, uint64_t wait_ms)
{
    ward->step = STEP_IDLE;
    ward->due_at_ms = now_ms(ward) + wait_ms;
}

static void rest_ready(struct ward *ward)
{
    uint64_t interval = ward->probe->shared->config->health_interval_ms;
    uint64_t spread = interval / 10 + 1;
    rest(ward, interval - (uint64_t)ward->index * 7919 % spread);
}

static uint64_t fast_ms(const struct ward *ward)
{
    uint64_t interval = ward->probe->shared->config->health_interval_ms;
    return interval < GV_PROBE_FAST_MS ? interval : GV_PROBE_FAST_MS;
}

static void judge_bad(struct ward *ward, const char *trouble)
{
    const struct gv_config *config = ward->probe->shared->config;
    ward->good_count = 0;
    ward->bad_count += 1;
    if (ward->bad_count >= config->health_failure_threshold) {
        set_state(ward, GV_WORKER_NOT_READY, trouble);
    }
    rest(ward, fast_ms(ward));
}

static void judge_good(struct ward *ward, const struct gv_worker *worker)
{
    const struct gv_config *config = ward->probe->shared->config;
    if (worker->state == GV_WORKER_READY) {
        rest_ready(ward);
        return;
    }
    if (ward->good_count >= config->health_success_threshold) {
        set_state(ward, GV_WORKER_READY, "");
        ward->was_ready = true; /* removed and added again before the next look: starts over */
        rest_ready(ward);
        return;
    }
    rest(ward, fast_ms(ward) < GV_PROBE_RISING_MS ? fast_ms(ward) : GV_PROBE_RISING_MS);
}

/* A floor at the moment of the restart, as well as we know it: what was learnt since stays. */
static void look_for_restart(struct ward *ward)
{
    const struct gv_metadata *metadata = &ward->metadata;
    uint64_t wall_ms = gv_clock_wall_ms();
    bool marked = metadata->marker[0] != '\0' && ward->marker[0] != '\0';
    bool other = marked && strcmp(metadata->marker, ward->marker) != 0;
    if (other || (ward->refused && !marked)) {
        uint64_t at_ms = other ? metadata->started_wall_ms : ward->refused_wall_ms;
        uint64_t oldest_ms = wall_ms - 2 * ward->probe->shared->config->health_interval_ms;
        if (at_ms == 0 || at_ms > wall_ms || at_ms < oldest_ms) {
            at_ms = wall_ms;
        }
        forget(ward, GV_FLOOR_RESTARTED, at_ms);
    }
    ward->refused = false;
    memcpy(ward->marker, metadata->marker, sizeof ward->marker);
}

static void learn_capacity(struct ward *ward)
{
    const struct gv_proxy_shared *shared = ward->probe->shared;
    uint64_t bytes = ward->metadata.capacity_tokens * GV_PROBE_BYTES_PER_TOKEN;
    uint64_t blocks = bytes / shared->config->block_bytes;
    if (bytes > 0) {
        gv_forest_set_capacity(shared->forest, ward->index, blocks < 1 ? 1 : blocks);
    }
}

static void learn_all(struct ward *ward, const struct gv_worker *worker)
{
    const struct gv_proxy_shared *shared = ward->probe->shared;
    struct gv_metadata *metadata = &ward->metadata;
    struct gv_slice url = gv_slice_text(ward->url);
    enum gv_err err = GV_OK;
    bool of_flag = worker->source == GV_SOURCE_FLAG;
    if (metadata->model_count == 0 && of_flag && shared->config->model[0] != '\0') {
        (void)gv_slice_copy_text(gv_slice_text(shared->config->model), metadata->models[0],
                                 GV_WORKER_MODEL_MAX);
        metadata->model_count = 1;
    }
    if (ward->learns_models && metadata->model_count > 0) {
        err = gv_fleet_set_models(shared->fleet, url, metadata->models[0], metadata->model_count);
    }
    if (err == GV_OK) {
        err = gv_fleet_set_metadata(shared->fleet, url, NULL, metadata->runtime,
                                    metadata->capacity_tokens);
    }
    if (err != GV_OK) {
        return; /* gone meanwhile, or out of memory: asked again with the next probe */
    }
    learn_capacity(ward);
    ward->described = true;
}

/* A worker that is known may be given other models to serve while it lives. */
static void look_for_models(struct ward *ward, const struct gv_worker *worker)
{
    const struct gv_proxy_shared *shared = ward->probe->shared;
    const struct gv_metadata *metadata = &ward->metadata;
    bool same = metadata->model_count == worker->model_count;
    for (uint32_t i = 0; i < metadata->model_count && same; i++) {
        same = strcmp(metadata->models[i], worker->models[i]) == 0;
    }
    bool unsaid = metadata->model_count == 0 || (ward->lists && !ward->listed);
    if (!ward->learns_models || unsaid || same ||
        gv_fleet_set_models(shared->fleet, gv_slice_text(ward->url), metadata->models[0],
                            metadata->model_count) != GV_OK) {
        return;
    }
    gv_log(GV_LOG_INFO, "worker.models", GV_STR("worker", ward->url),
           GV_STR("first", metadata->models[0]), GV_UINT("count", metadata->model_count));
}

/* It must get no requests as it is; somebody has to change it, or what we were told of it. */
static void refuse(struct ward *ward, const char *reason)
{
    ward->described = false;
    ward->good_count = 0;
    set_state(ward, GV_WORKER_REFUSED, reason);
    rest(ward, fast_ms(ward));
}

/* All questions were asked. */
static void described(struct ward *ward)
{
    const struct gv_worker *worker = look_at(ward);
    if (worker == NULL) {
        rest(ward, fast_ms(ward));
        return;
    }
    if (ward->metadata.has_role && ward->metadata.role != worker->pool) {
        char reason[160];
        snprintf(reason, sizeof reason, "registered as %s, but its metadata say %s",
                 gv_pool_name(worker->pool), gv_pool_name(ward->metadata.role));
        refuse(ward, reason);
        return;
    }
    look_for_restart(ward);
    if (!ward->described) {
        learn_all(ward, worker);
    } else {
        look_for_models(ward, worker);
    }
    worker = look_at(ward);
    if (worker != NULL) {
        judge_good(ward, worker);
    } else {
        rest(ward, fast_ms(ward));
    }
}

static void on_health(struct ward *ward, enum gv_cause cause, uint16_t status)
{
    if (cause == GV_CAUSE_NONE && status >= 200 && status <= 299) {
        ward->bad_count = 0;
        ward->good_count += 1;
        if (!ward->described) {
            memset(&ward->metadata, 0, sizeof ward->metadata);
        } else {
            ward->metadata.marker[0] = '\0';
            ward->metadata.has_role = false;
            ward->metadata.model_count = 0;
        }
        ask(ward, STEP_MODELS);
        return;
    }
    if (cause == GV_CAUSE_CONNECT) {
        ward->refused = ward->described;
        ward->refused_wall_ms = gv_clock_wall_ms();
    }
    char trouble[160];
    if (cause == GV_CAUSE_NONE) {
        snprintf(trouble, sizeof trouble, "health probe: status %u", status);
    } else {
        snprintf(trouble, sizeof trouble, "health probe: %s", gv_cause_name(cause));
    }
    judge_bad(ward, trouble);
}

/* The key we show is not the worker's: every request would get the same answer. Without a key of
 * ours the clients may have theirs, so nothing is proved. */
static bool is_key_wrong(struct ward *ward, enum gv_cause cause, uint16_t status)
{
    const struct gv_worker *worker = look_at(ward);
    return cause == GV_CAUSE_NONE && (status == 401 || status == 403) && worker != NULL &&
           worker->api_key[0] != '\0';
}

static void on_answer(void *owner, enum gv_cause cause, uint16_t status, struct gv_slice body)
{
    struct ward *ward = owner;
    ward->probe->active_count -= 1;
    bool good = cause == GV_CAUSE_NONE && status == 200;
    struct gv_metadata *metadata = &ward->metadata;
    switch (ward->step) {
    case STEP_IDLE:
        GV_ASSERT(!"an answer nobody asked for");
        return;
    case STEP_HEALTH:
        on_health(ward, cause, status);
        return;
    case STEP_MODELS:
        if (is_key_wrong(ward, cause, status)) {
            refuse(ward, "the worker does not take the API key that it was registered with");
            return;
        }
        ward->listed = good && gv_metadata_read_models(metadata, body) && metadata->model_count > 0;
        ward->lists = ward->lists || ward->listed;
        ask(ward, STEP_SERVER_INFO);
        return;
    case STEP_SERVER_INFO:
        good = good && gv_metadata_read_server_info(metadata, body);
        ask(ward, good ? STEP_MODEL_INFO : STEP_SERVER_INFO_ALT);
        return;
    case STEP_SERVER_INFO_ALT:
        if (good) {
            (void)gv_metadata_read_server_info(metadata, body);
        }
        ask(ward, STEP_MODEL_INFO);
        return;
    case STEP_MODEL_INFO:
        if (good) {
            (void)gv_metadata_read_model_info(metadata, body);
        }
        ask(ward, STEP_METRICS);
        return;
    case STEP_METRICS:
        if (good) {
            (void)gv_metadata_read_metrics(metadata, body);
        }
        described(ward);
        return;
    }
}

/* ---- the questions ---- */

static bool is_needed(const struct ward *ward, enum step step)
{
    switch (step) {
    case STEP_MODEL_INFO:
        return ward->metadata.model_count == 0 && ward->learns_models;
    case STEP_METRICS:
        return ward->metadata.marker[0] == '\0';
    case STEP_MODELS:
        return ward->learns_models || !ward->described;
    case STEP_IDLE:
    case STEP_HEALTH:
    case STEP_SERVER_INFO:
    case STEP_SERVER_INFO_ALT:
        break;
    }
    return true;
}

static const char *path_of(const struct ward *ward, enum step step)
{
    switch (step) {
    case STEP_HEALTH:
        return ward->probe->shared->config->health_endpoint;
    case STEP_MODELS:
        return "/v1/models";
    case STEP_SERVER_INFO:
        return "/get_server_info";
    case STEP_SERVER_INFO_ALT:
        return "/server_info";
    case STEP_MODEL_INFO:
        return "/get_model_info";
    case STEP_METRICS:
        return "/metrics";
    case STEP_IDLE:
        break;
    }
    GV_ASSERT(!"a step that asks");
    return "";
}

/* Ask the next needed question from `step` on; without one, the worker is described. */
static void ask(struct ward *ward, enum step step)
{
    while (step <= STEP_METRICS && !is_needed(ward, step)) {
        step = (enum step)(step + 1);
    }
    if (step > STEP_METRICS) {
        described(ward);
        return;
    }
    const struct gv_worker *worker = look_at(ward);
    const struct gv_config *config = ward->probe->shared->config;
    ward->step = step;
    if (worker == NULL ||
        gv_fetch_start(&ward->fetch, ward->target, path_of(ward, step), worker->api_key,
                       config->health_timeout_ms, on_answer, ward) != GV_OK) {
        judge_bad(ward, "health probe: no connection could be made");
        return;
    }
    ward->probe->active_count += 1;
}

/* ---- wards come and go ---- */

static void free_ward(struct ward *ward)
{
    if (ward->step != STEP_IDLE) {
        ward->probe->active_count -= 1;
    }
    ward->probe->by_index[ward->index] = NULL;
    gv_list_remove(&ward->link);
    gv_fetch_deinit(&ward->fetch);
    gv_mem_free(GV_MEM_FLEET, ward);
}

static struct ward *add_ward(struct gv_probe *probe, const struct gv_worker *worker)
{
    struct ward *ward = gv_mem_new(GV_MEM_FLEET, sizeof *ward);
    if (ward == NULL) {
        return NULL; /* tried again with the next tick */
    }
    ward->probe = probe;
    ward->index = worker->index;
    memcpy(ward->url, worker->url, sizeof ward->url);
    ward->learns_models = worker->model_count == 0;
    gv_fetch_init(&ward->fetch);
    gv_list_init(&ward->link);
    gv_list_add(&probe->wards, &ward->link);
    probe->by_index[ward->index] = ward;
    if (gv_target_get(probe->targets, worker, &ward->target) != GV_OK) {
        ward->target = NULL;
        set_state(ward, GV_WORKER_REFUSED, "only http:// URLs can be spoken to");
    }
    return ward;
}

/* We called it ready and it is pending again: registered anew, so it starts over. */
static void restart_ward(struct ward *ward, const struct gv_worker *worker)
{
    ward->was_ready = false;
    ward->described = false;
    ward->learns_models = worker->model_count == 0;
    ward->good_count = 0;
    ward->bad_count = 0;
    ward->due_at_ms = 0;
}

/* A draining worker leaves when nothing of ours is there any more, or when it took too long. */
static void drain(struct ward *ward, const struct gv_worker *worker)
{
    struct gv_probe *probe = ward->probe;
    const struct gv_proxy_shared *shared = probe->shared;
    uint64_t now = now_ms(ward);
    if (ward->draining_since_ms == 0) {
        ward->draining_since_ms = now;
    }
    uint64_t age_ms = now - ward->draining_since_ms;
    bool quiet = gv_load_get(shared->load, ward->index).own_count == 0;
    if (age_ms < GV_PROBE_DRAIN_MIN_MS || (!quiet && age_ms < shared->config->shutdown_grace_ms)) {
        return;
    }
    struct gv_worker gone = *worker;
    if (gv_fleet_remove(shared->fleet, gv_slice_text(ward->url)) != GV_OK) {
        return;
    }
    if (gone.source != GV_SOURCE_MESH) {
        forget(ward, GV_FLOOR_REMOVED, gv_clock_wall_ms());
    }
    gv_log(GV_LOG_INFO, "worker.removed", GV_STR("worker", gone.url), GV_FLAG("quiet", quiet));
    probe->events->on_removed(probe->owner, &gone);
}

static void tend(struct ward *ward, const struct gv_worker *worker)
{
    ward->seen_at = ward->probe->sweep;
    if (worker->state == GV_WORKER_DRAINING) {
        drain(ward, worker);
        return;
    }
    ward->draining_since_ms = 0;
    if (worker->state == GV_WORKER_PENDING && ward->was_ready) {
        restart_ward(ward, worker);
    }
    gv_fetch_tick(&ward->fetch, now_ms(ward));
    if (ward->step == STEP_IDLE && ward->target != NULL && now_ms(ward) >= ward->due_at_ms &&
        ward->probe->active_count < GV_PROBE_ACTIVE_MAX) {
        ask(ward, STEP_HEALTH);
    }
}

static void sweep(struct gv_probe *probe)
{
    struct gv_fleet *fleet = probe->shared->fleet;
    probe->sweep += 1;
    const struct gv_fleet_view *view = gv_fleet_acquire(fleet); /* look_at() may swap its own */
    for (uint32_t i = 0; i < view->count; i++) {
        struct ward *ward = probe->by_index[view->workers[i].index];
        if (ward == NULL) {
            ward = add_ward(probe, &view->workers[i]);
        }
        if (ward != NULL) {
            tend(ward, &view->workers[i]);
        }
    }
    GV_LIST_EACH(&probe->wards, at, following)
    {
        struct ward *ward = GV_CONTAINER(at, struct ward, link);
        if (ward->seen_at != probe->sweep) {
            free_ward(ward);
        }
    }
    gv_targets_sweep(probe->targets, view);
    gv_fleet_release(fleet, view);
}

static void on_tick(void *owner)
{
    sweep(owner);
}

void gv_probe_wake(struct gv_probe *probe)
{
    gv_timer_start(probe->tick, 0, GV_PROBE_TICK_MS);
}

enum gv_err gv_probe_open(struct gv_loop *loop, const struct gv_proxy_shared *shared,
                          const struct gv_probe_events *events, void *owner, struct gv_probe **out)
{
    struct gv_probe *probe = gv_mem_new(GV_MEM_FLEET, sizeof *probe);
    if (probe == NULL) {
        return GV_ENOMEM;
    }
    probe->loop = loop;
    probe->shared = shared;
    probe->events = events;
    probe->owner = owner;
    gv_list_init(&probe->wards);
    probe->by_index = gv_mem_new(GV_MEM_FLEET, GV_WORKERS_MAX * sizeof(struct ward *));
    enum gv_err err = probe->by_index == NULL
                          ? GV_ENOMEM
                          : gv_targets_open(loop, shared->config, &probe->targets);
    if (err != GV_OK) {
        gv_mem_free(GV_MEM_FLEET, probe->by_index);
        gv_mem_free(GV_MEM_FLEET, probe);
        return err;
    }
    err = gv_timer_open(loop, on_tick, probe, &probe->tick);
    probe->view = gv_fleet_acquire(shared->fleet);
    if (err != GV_OK) {
        gv_probe_close(probe);
        return err;
    }
    gv_timer_start(probe->tick, 0, GV_PROBE_TICK_MS);
    *out = probe;
    return GV_OK;
}

static void on_targets_closed(void *owner)
{
    struct gv_probe *probe = owner;
    gv_mem_free(GV_MEM_FLEET, probe->by_index);
    gv_mem_free(GV_MEM_FLEET, probe);
}

void gv_probe_close(struct gv_probe *probe)
{
    if (probe == NULL) {
        return;
    }
    gv_timer_close(probe->tick);
    GV_LIST_EACH(&probe->wards, at, following)
    {
        free_ward(GV_CONTAINER(at, struct ward, link));
    }
    gv_fleet_release(probe->shared->fleet, probe->view);
    gv_targets_close(probe->targets, on_targets_closed, probe);
}
