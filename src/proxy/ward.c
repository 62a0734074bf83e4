/* ward.c - see ward.h: the questions to one worker, or to all ranks of one engine, in order, and
 * the judgement of its health. */
#include "ward.h"

#include "grapevine/base/assert.h"
#include "grapevine/base/log.h"
#include <stdio.h>

static void ask(struct gv_ward *ward, enum gv_ward_step step, uint32_t question);

uint64_t gv_ward_now_ms(const struct gv_ward *ward)
{
    return gv_loop_now_ms(ward->probe->loop);
}

const struct gv_worker *gv_ward_look(struct gv_ward *ward)
{
    struct gv_probe *probe = ward->probe;
    struct gv_fleet *fleet = probe->shared->fleet;
    if (probe->view->version != gv_fleet_version(fleet)) {
        gv_fleet_release(fleet, probe->view);
        probe->view = gv_fleet_acquire(fleet);
    }
    return gv_fleet_find(probe->view, gv_slice_text(ward->url));
}

/* ---- ranks of one engine stand side by side in the view ---- */

/* May the one ask for the other? What they are registered with may make a difference to it. */
static bool is_alike(const struct gv_ward *ward, const struct gv_ward *other)
{
    return ward->learns_models == other->learns_models &&
           ward->learns_runtime == other->learns_runtime;
}

static bool is_rank_of(const struct gv_worker *worker, const struct gv_worker *other)
{
    return worker->engine != worker->index && worker->engine == other->engine &&
           worker->pool == other->pool && worker->health.is_off == other->health.is_off &&
           strcmp(worker->api_key, other->api_key) == 0;
}

/* Who asks for this worker; itself, unless it is a rank. */
static struct gv_ward *leader_of(struct gv_ward *ward)
{
    const struct gv_worker *worker = gv_ward_look(ward);
    const struct gv_fleet_view *view = ward->probe->view;
    struct gv_ward *leader = ward;
    for (const struct gv_worker *at = worker; at != NULL && at > view->workers;) {
        at -= 1;
        if (!is_rank_of(at, worker)) {
            break;
        }
        struct gv_ward *other = ward->probe->by_index[at->index];
        if (at->state != GV_WORKER_DRAINING && other != NULL && is_alike(ward, other)) {
            leader = other;
        }
    }
    return leader;
}

typedef void (*heard_fn)(struct gv_ward *ward, const struct gv_ward *asker, const char *text);

/* Whom it asks for, and who does not ask just now, hears what it heard. */
static void share(struct gv_ward *ward, heard_fn heard, const char *text)
{
    struct gv_probe *probe = ward->probe;
    struct gv_fleet *fleet = probe->shared->fleet;
    if (leader_of(ward) != ward) {
        return;
    }
    const struct gv_fleet_view *view = gv_fleet_acquire(fleet); /* each may change the fleet */
    const struct gv_worker *worker = gv_fleet_find(view, gv_slice_text(ward->url));
    const struct gv_worker *end = view->workers + view->count;
    const struct gv_worker *next = worker != NULL ? worker + 1 : end; /* NULL: just removed */
    for (const struct gv_worker *at = next; at < end && is_rank_of(at, worker); at++) {
        struct gv_ward *other = probe->by_index[at->index];
        if (other != NULL && other->step == GV_WARD_IDLE && at->state != GV_WORKER_DRAINING &&
            is_alike(ward, other)) {
            heard(other, ward, text);
        }
    }
    gv_fleet_release(fleet, view);
}

/* ---- opinions ---- */

void gv_ward_set_state(struct gv_ward *ward, enum gv_worker_state state, const char *reason)
{
    struct gv_probe *probe = ward->probe;
    const struct gv_worker *worker = gv_ward_look(ward);
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
    worker = gv_ward_look(ward);
    if (worker == NULL || !changed) {
        return;
    }
    gv_log(state == GV_WORKER_READY ? GV_LOG_INFO : GV_LOG_WARN, "worker.state",
           GV_STR("worker", ward->url), GV_STR("state", gv_worker_state_name(state)),
           GV_STR("pool", gv_pool_name(worker->pool)), GV_STR("reason", reason));
    probe->events->on_opinion(probe->owner, worker);
}

void gv_ward_forget(struct gv_ward *ward, enum gv_floor_reason reason, uint64_t wall_ms)
{
    const struct gv_proxy_shared *shared = ward->probe->shared;
    struct gv_operation operation;
    gv_forest_forget(shared->forest, "*", ward->index, reason, wall_ms, &operation);
    shared->events->publish(shared->owner, &operation);
    gv_log(GV_LOG_INFO, "worker.forgotten", GV_STR("worker", ward->url),
           GV_STR("reason", gv_floor_reason_name(reason)));
}

/* ---- when to ask again ---- */

static uint64_t own_or(uint32_t own, uint64_t ours)
{
    return own > 0 ? own : ours;
}

/* What it was registered with goes before the node's options. */
static uint64_t interval_of(struct gv_ward *ward)
{
    const struct gv_worker *worker = gv_ward_look(ward);
    uint64_t ours = ward->probe->shared->config->health_interval_ms;
    return worker != NULL ? own_or(worker->health.interval_ms, ours) : ours;
}

static void rest(struct gv_ward *ward, uint64_t wait_ms)
{
    ward->step = GV_WARD_IDLE;
    ward->due_at_ms = gv_ward_now_ms(ward) + wait_ms;
}

/* Ready workers are spread over a tenth of the interval. */
static void rest_ready(struct gv_ward *ward)
{
    uint64_t interval = interval_of(ward);
    uint64_t spread = interval / 10 + 1;
    rest(ward, interval - (uint64_t)ward->index * 7919 % spread);
}

static uint64_t fast_ms(struct gv_ward *ward)
{
    uint64_t interval = interval_of(ward);
    return interval < GV_WARD_FAST_MS ? interval : GV_WARD_FAST_MS;
}

void gv_ward_rest(struct gv_ward *ward)
{
    rest(ward, fast_ms(ward));
}

/* ---- judgement ---- */

static void judge_bad_alone(struct gv_ward *ward, const char *trouble)
{
    const struct gv_config *config = ward->probe->shared->config;
    const struct gv_worker *worker = gv_ward_look(ward);
    uint32_t own = worker != NULL ? worker->health.failure_threshold : 0;
    ward->good_count = 0;
    ward->bad_count += 1;
    if (ward->bad_count >= own_or(own, config->health_failure_threshold)) {
        gv_ward_set_state(ward, GV_WORKER_NOT_READY, trouble);
    }
    rest(ward, fast_ms(ward));
}

static void hear_bad(struct gv_ward *ward, const struct gv_ward *asker, const char *trouble)
{
    (void)asker;
    judge_bad_alone(ward, trouble);
}

static void hear_refused(struct gv_ward *ward, const struct gv_ward *asker, const char *trouble)
{
    (void)asker;
    ward->refused = ward->refused || ward->described;
    ward->refused_wall_ms = gv_clock_wall_ms();
    judge_bad_alone(ward, trouble);
}

static void judge_bad(struct gv_ward *ward, const char *trouble, bool refused)
{
    heard_fn heard = refused ? hear_refused : hear_bad;
    share(ward, heard, trouble);
    heard(ward, ward, trouble);
}

static void hear_all(struct gv_ward *ward, const struct gv_ward *asker, const char *text)
{
    (void)text;
    ward->metadata = asker->metadata;
    ward->listed = asker->listed;
    ward->lists = asker->lists;
    ward->bad_count = 0;
    ward->good_count += 1;
    gv_learn_all(ward);
}

/* Everything was asked. */
static void conclude(struct gv_ward *ward)
{
    share(ward, hear_all, NULL);
    gv_learn_all(ward);
}

void gv_ward_approve(struct gv_ward *ward)
{
    const struct gv_config *config = ward->probe->shared->config;
    const struct gv_worker *worker = gv_ward_look(ward);
    if (worker == NULL) {
        rest(ward, fast_ms(ward));
        return;
    }
    if (worker->state == GV_WORKER_READY) {
        rest_ready(ward);
        return;
    }
    if (ward->good_count >=
        own_or(worker->health.success_threshold, config->health_success_threshold)) {
        gv_ward_set_state(ward, GV_WORKER_READY, "");
        ward->was_ready = true; /* removed and added again before the next look: starts over */
        rest_ready(ward);
        return;
    }
    rest(ward, fast_ms(ward) < GV_WARD_RISING_MS ? fast_ms(ward) : GV_WARD_RISING_MS);
}

void gv_ward_refuse(struct gv_ward *ward, const char *reason)
{
    ward->described = false;
    ward->good_count = 0;
    gv_ward_set_state(ward, GV_WORKER_REFUSED, reason);
    rest(ward, fast_ms(ward));
}

void gv_ward_restart(struct gv_ward *ward, const struct gv_worker *worker)
{
    ward->was_ready = false;
    ward->described = false;
    ward->learns_models = worker->model_count == 0;
    ward->good_count = 0;
    ward->bad_count = 0;
    ward->due_at_ms = 0;
}

/* ---- the answers ---- */

/* Begin to ask what it is; what is known of it stays until it says otherwise. */
static void forget_answers(struct gv_ward *ward)
{
    struct gv_metadata *metadata = &ward->metadata;
    if (!ward->described) {
        memset(metadata, 0, sizeof *metadata);
        const struct gv_worker *worker = gv_ward_look(ward);
        if (worker != NULL && !ward->learns_runtime) {
            memcpy(metadata->runtime, worker->runtime, sizeof metadata->runtime);
        }
        return;
    }
    metadata->marker[0] = '\0';
    metadata->uptime_ms = 0;
    metadata->has_counter = false;
    metadata->has_role = false;
    metadata->model_count = 0;
}

static void on_health(struct gv_ward *ward, enum gv_cause cause, uint16_t status)
{
    if (cause == GV_CAUSE_NONE && status >= 200 && status <= 299) {
        ward->bad_count = 0;
        ward->good_count += 1;
        forget_answers(ward);
        ask(ward, GV_WARD_MODELS, 0);
        return;
    }
    char trouble[160];
    if (cause == GV_CAUSE_NONE) {
        snprintf(trouble, sizeof trouble, "health probe: status %u", status);
    } else if (cause == GV_CAUSE_TLS) {
        snprintf(trouble, sizeof trouble, "health probe: %.140s", ward->target->trouble);
    } else {
        snprintf(trouble, sizeof trouble, "health probe: %s", gv_cause_name(cause));
    }
    judge_bad(ward, trouble, cause == GV_CAUSE_CONNECT);
}

/* The key we show is not the worker's: every request would get the same answer. Without a key of
 * ours the clients may have theirs, so nothing is proved. */
static bool is_key_wrong(struct gv_ward *ward, enum gv_cause cause, uint16_t status)
{
    const struct gv_worker *worker = gv_ward_look(ward);
    return cause == GV_CAUSE_NONE && (status == 401 || status == 403) && worker != NULL &&
           worker->api_key[0] != '\0';
}

static void hear_wrong_key(struct gv_ward *ward, const struct gv_ward *asker, const char *text)
{
    (void)asker;
    gv_ward_refuse(ward, text);
}

static void refuse_key(struct gv_ward *ward)
{
    static const char text[] = "the worker does not take the API key that it was registered with";
    share(ward, hear_wrong_key, text);
    gv_ward_refuse(ward, text);
}

static void on_answer(void *owner, enum gv_cause cause, uint16_t status, struct gv_slice body)
{
    struct gv_ward *ward = owner;
    ward->probe->active_count -= 1;
    bool good = cause == GV_CAUSE_NONE && status == 200;
    struct gv_metadata *metadata = &ward->metadata;
    switch (ward->step) {
    case GV_WARD_IDLE:
        GV_ASSERT(!"an answer nobody asked for");
        return;
    case GV_WARD_HEALTH:
        on_health(ward, cause, status);
        return;
    case GV_WARD_MODELS:
        if (is_key_wrong(ward, cause, status)) {
            refuse_key(ward);
            return;
        }
        ward->listed = good && gv_metadata_read_models(metadata, body) && metadata->model_count > 0;
        ward->lists = ward->lists || ward->listed;
        ask(ward, GV_WARD_QUESTION, 0);
        return;
    case GV_WARD_QUESTION:
        ward->understood = good && ward->engine->questions[ward->question].read(metadata, body);
        ask(ward, GV_WARD_QUESTION, ward->question + 1);
        return;
    }
}

/* ---- the questions ---- */

static bool is_needed(const struct gv_ward *ward, const struct gv_engine_question *question)
{
    const struct gv_metadata *metadata = &ward->metadata;
    switch (question->need) {
    case GV_ENGINE_ALWAYS:
        return true;
    case GV_ENGINE_UNLESS_UNDERSTOOD:
        return !ward->understood;
    case GV_ENGINE_FOR_MODELS:
        return metadata->model_count == 0 && ward->learns_models;
    case GV_ENGINE_FOR_MARKER:
        return metadata->marker[0] == '\0' && metadata->uptime_ms == 0;
    case GV_ENGINE_FOR_KIND:
        return metadata->runtime[0] == '\0';
    }
    GV_ASSERT(!"a need");
    return true;
}

static void send(struct gv_ward *ward, enum gv_ward_step step, const char *path)
{
    const struct gv_worker *worker = gv_ward_look(ward);
    const struct gv_config *config = ward->probe->shared->config;
    ward->step = step;
    if (worker == NULL ||
        gv_fetch_start(&ward->fetch, ward->target, path, worker->api_key,
                       own_or(worker->health.timeout_ms, config->health_timeout_ms), on_answer,
                       ward) != GV_OK) {
        judge_bad(ward, "health probe: no connection could be made", false);
        return;
    }
    ward->probe->active_count += 1;
}

/* Ask the next needed question from there on; without one, the worker has said everything. */
static void ask(struct gv_ward *ward, enum gv_ward_step step, uint32_t question)
{
    if (step == GV_WARD_MODELS && (ward->learns_models || !ward->described)) {
        send(ward, GV_WARD_MODELS, "/v1/models");
        return;
    }
    if (step == GV_WARD_MODELS || (step == GV_WARD_QUESTION && question == 0)) {
        question = 0;
        ward->understood = false;
        ward->engine = gv_engine_find(ward->metadata.runtime);
    }
    const struct gv_engine_question *questions = ward->engine->questions;
    while (questions[question].path != NULL && !is_needed(ward, &questions[question])) {
        question += 1;
    }
    if (questions[question].path == NULL) {
        conclude(ward);
        return;
    }
    ward->question = question;
    send(ward, GV_WARD_QUESTION, questions[question].path);
}

void gv_ward_expire(struct gv_ward *ward)
{
    uint64_t now = gv_ward_now_ms(ward);
    gv_fetch_tick(&ward->fetch, now);
    if (ward->poll.is_open) {
        gv_fetch_tick(&ward->poll.fetch, now);
    }
}

/* What is due for it, or suspected, its engine is asked by the rank that asks for all. */
static void follow(struct gv_ward *ward, struct gv_ward *leader, uint64_t now)
{
    const struct gv_worker *worker = gv_ward_look(ward);
    if (gv_load_take_suspicion(ward->probe->shared->load, ward->index)) {
        gv_load_suspect(ward->probe->shared->load, leader->index);
    }
    if (worker != NULL && worker->state != GV_WORKER_READY && now >= ward->due_at_ms &&
        leader->step == GV_WARD_IDLE && leader->due_at_ms > now) {
        leader->due_at_ms = now;
    }
}

void gv_ward_tick(struct gv_ward *ward)
{
    uint64_t now = gv_ward_now_ms(ward);
    if (ward->step != GV_WARD_IDLE || ward->target == NULL ||
        ward->probe->active_count >= GV_WARD_ACTIVE_MAX) {
        return;
    }
    const struct gv_worker *worker = gv_ward_look(ward);
    if (worker != NULL && worker->health.is_off) {
        gv_ward_set_state(ward, GV_WORKER_READY, "");
        return;
    }
    struct gv_ward *leader = leader_of(ward);
    if (leader != ward) {
        follow(ward, leader, now);
        return;
    }
    bool suspect = now >= ward->asked_at_ms + GV_WARD_SUSPECT_MS &&
                   gv_load_take_suspicion(ward->probe->shared->load, ward->index);
    if (suspect || now >= ward->due_at_ms) {
        ward->asked_at_ms = now;
        send(ward, GV_WARD_HEALTH, ward->probe->shared->config->health_endpoint);
    }
}
