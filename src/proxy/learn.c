/*
 * learn.c - what follows from what an engine says of itself: models, capacity, ranks, restarts.
 *
 * See ward.h. An engine that restarted has lost its KV cache, so its floor is raised at once. How
 * it is noticed, best evidence first: another boot marker or start time; an uptime or a counter of
 * prompt tokens that went back; connections that were refused, where nothing else tells.
 */
#include "ward.h"

#include "grapevine/base/log.h"
#include <stdio.h>

/* ---- restarts ---- */

/* Has it started anew since the last time? `*at_wall_ms`: when; 0 not known. */
static bool has_restarted(const struct gv_ward *ward, uint64_t wall_ms, uint64_t *at_wall_ms)
{
    const struct gv_metadata *now = &ward->metadata;
    const struct gv_ward_life *then = &ward->life;
    *at_wall_ms = 0;
    if (now->marker[0] != '\0' && then->marker[0] != '\0') {
        *at_wall_ms = now->started_wall_ms;
        return strcmp(now->marker, then->marker) != 0;
    }
    if (now->uptime_ms > 0 && then->uptime_ms > 0) {
        *at_wall_ms = wall_ms - (now->uptime_ms < wall_ms ? now->uptime_ms : 0);
        return now->uptime_ms < then->uptime_ms;
    }
    if (now->has_counter && then->has_counter && now->counter < then->counter) {
        return true;
    }
    *at_wall_ms = ward->refused_wall_ms;
    return ward->refused;
}

/* A floor at the moment of the restart, as well as we know it: what was learnt since stays. */
static void look_for_restart(struct gv_ward *ward)
{
    uint64_t wall_ms = gv_clock_wall_ms();
    uint64_t at_ms;
    if (has_restarted(ward, wall_ms, &at_ms)) {
        uint64_t oldest_ms = wall_ms - 2 * ward->probe->shared->config->health_interval_ms;
        if (at_ms == 0 || at_ms > wall_ms || at_ms < oldest_ms) {
            at_ms = wall_ms;
        }
        gv_ward_forget(ward, GV_FLOOR_RESTARTED, at_ms);
    }
    ward->refused = false;
    const struct gv_metadata *metadata = &ward->metadata;
    memcpy(ward->life.marker, metadata->marker, sizeof ward->life.marker);
    ward->life.uptime_ms = metadata->uptime_ms;
    ward->life.has_counter = metadata->has_counter;
    ward->life.counter = metadata->counter;
}

/* ---- what it is ---- */

static void learn_models(struct gv_ward *ward, const struct gv_worker *worker)
{
    const struct gv_config *config = ward->probe->shared->config;
    struct gv_metadata *metadata = &ward->metadata;
    bool of_flag = worker->source == GV_SOURCE_FLAG;
    if (metadata->model_count == 0 && of_flag && config->model[0] != '\0') {
        (void)gv_slice_copy_text(gv_slice_text(config->model), metadata->models[0],
                                 GV_WORKER_MODEL_MAX);
        metadata->model_count = 1;
    }
}

/* Of an engine that spreads its tokens over ranks, each rank has its share. */
static uint64_t capacity_of(const struct gv_ward *ward)
{
    const struct gv_metadata *metadata = &ward->metadata;
    bool is_rank = ward->target->uri.dp_rank >= 0 && metadata->dp_size > 1;
    return is_rank ? metadata->capacity_tokens / metadata->dp_size : metadata->capacity_tokens;
}

static void describe(struct gv_ward *ward, const struct gv_worker *worker)
{
    const struct gv_proxy_shared *shared = ward->probe->shared;
    struct gv_metadata *metadata = &ward->metadata;
    struct gv_slice url = gv_slice_text(ward->url);
    enum gv_err err = GV_OK;
    if (metadata->runtime[0] == '\0') {
        snprintf(metadata->runtime, sizeof metadata->runtime, "openai");
    }
    learn_models(ward, worker);
    if (ward->learns_models && metadata->model_count > 0) {
        err = gv_fleet_set_models(shared->fleet, url, metadata->models[0], metadata->model_count);
    }
    if (err == GV_OK) {
        err = gv_fleet_set_metadata(shared->fleet, url, NULL, metadata->runtime, capacity_of(ward));
    }
    ward->described = err == GV_OK; /* else gone meanwhile, or out of memory: with the next probe */
}

/* A worker that is known may be given other models to serve while it lives. */
static void look_for_models(struct gv_ward *ward, const struct gv_worker *worker)
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

/* A worker whose restart brought it more or fewer tokens. */
static void look_for_capacity(struct gv_ward *ward, const struct gv_worker *worker)
{
    uint64_t tokens = capacity_of(ward);
    if (tokens > 0 && tokens != worker->capacity_tokens &&
        gv_fleet_set_metadata(ward->probe->shared->fleet, gv_slice_text(ward->url), NULL, NULL,
                              tokens) == GV_OK) {
        gv_log(GV_LOG_INFO, "worker.capacity", GV_STR("worker", ward->url),
               GV_UINT("tokens", tokens));
    }
}

/* ---- ranks ---- */

/* Does it have to be replaced by its ranks? Then that is under way. */
static bool is_expanded(struct gv_ward *ward, const struct gv_worker *worker)
{
    const struct gv_probe *probe = ward->probe;
    if (!probe->shared->config->dp_aware || ward->target->uri.dp_rank >= 0 ||
        ward->metadata.dp_size < 2 || probe->events->on_ranks == NULL) {
        return false;
    }
    gv_log(GV_LOG_INFO, "worker.ranks", GV_STR("worker", ward->url),
           GV_UINT("count", ward->metadata.dp_size));
    probe->events->on_ranks(probe->owner, worker, ward->metadata.dp_size);
    return true;
}

/* What contradicts the registration, into `reason`; false: nothing. */
static bool contradicts(const struct gv_ward *ward, const struct gv_worker *worker,
                        char reason[160])
{
    const struct gv_metadata *metadata = &ward->metadata;
    int32_t rank = ward->target->uri.dp_rank;
    if (metadata->has_role && metadata->role != worker->pool) {
        snprintf(reason, 160, "registered as %s, but its metadata say %s",
                 gv_pool_name(worker->pool), gv_pool_name(metadata->role));
        return true;
    }
    if (rank >= 0 && metadata->dp_size > 0 && (uint32_t)rank >= metadata->dp_size) {
        snprintf(reason, 160, "registered as rank %d, but its engine has %u", (int)rank,
                 (unsigned)metadata->dp_size);
        return true;
    }
    return false;
}

void gv_learn_all(struct gv_ward *ward)
{
    const struct gv_worker *worker = gv_ward_look(ward);
    char reason[160];
    if (worker == NULL) {
        gv_ward_rest(ward);
        return;
    }
    if (contradicts(ward, worker, reason)) {
        gv_ward_refuse(ward, reason);
        return;
    }
    if (is_expanded(ward, worker)) {
        gv_ward_rest(ward); /* its ranks come in its place */
        return;
    }
    look_for_restart(ward);
    if (!ward->described) {
        describe(ward, worker);
    } else {
        look_for_models(ward, worker);
        worker = gv_ward_look(ward);
        if (worker != NULL) {
            look_for_capacity(ward, worker);
        }
    }
    gv_ward_approve(ward);
}
