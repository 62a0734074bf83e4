/*
 * publish.c - from any thread to the engine.
 *
 * Whoever has something to tell the mesh writes a letter (one allocation) and posts it to the mesh
 * thread. Too many letters, or too many bytes of them, are not taken: operations that were lost
 * that way are told again from the tries themselves, from the oldest lost stamp on, a slice at a
 * time. That is safe because operations are idempotent.
 *
 * Two timers live here: one compares this node's own loads with what the others were told last, the
 * other gives the forest a slice of housekeeping and publishes the floors it made.
 */
#include "shell.h"

#include <stdio.h>
#include <string.h>

enum letter_kind {
    LETTER_OPERATION = 0,
    LETTER_PUT,
    LETTER_DELETE,
    LETTER_HEALTH,
    LETTER_SETTING,
    LETTER_COMPARE,
    LETTER_NUDGE
};

/* Each kind is a struct of its own that begins with this, so that an operation costs no more than
 * it holds. */
struct letter {
    enum letter_kind kind;
    size_t bytes; /* admitted by gv_view_admit() */
};

struct operation_letter {
    struct letter head;
    struct gv_operation operation;
    uint64_t fingerprints[];
};

struct worker_letter {
    struct letter head;
    struct gv_worker worker; /* DELETE: only the URL */
};

struct health_letter {
    struct letter head;
    char url[GV_WORKER_URL_MAX];
    char reason[96];
    enum gv_worker_state state;
};

struct setting_letter {
    struct letter head;
    char name[GV_SETTING_NAME_MAX];
    char value[GV_SETTING_VALUE_MAX];
    bool is_unset;
};

static void *write_letter(struct gv_cluster *cluster, enum letter_kind kind, size_t size)
{
    if (!gv_view_admit(cluster, size)) {
        return NULL;
    }
    struct letter *letter = gv_mem_new(GV_MEM_GOSSIP, size);
    if (letter == NULL) {
        gv_view_release(cluster, size);
        return NULL;
    }
    letter->kind = kind;
    letter->bytes = size;
    return letter;
}

static enum gv_err post(struct gv_cluster *cluster, void *written)
{
    struct letter *letter = written;
    size_t bytes = letter->bytes;
    enum gv_err err = gv_inbox_post(cluster->publish.inbox, letter);
    if (err != GV_OK) {
        gv_mem_free(GV_MEM_GOSSIP, letter);
        gv_view_release(cluster, bytes);
    }
    return err;
}

/* ---- any thread --------------------------------------------------------------------------------
 */

void gv_cluster_publish(struct gv_cluster *cluster, const struct gv_operation *operation)
{
    if (!cluster->enabled) {
        return;
    }
    struct operation_letter *letter =
        write_letter(cluster, LETTER_OPERATION,
                     sizeof *letter + operation->count * sizeof operation->fingerprints[0]);
    if (letter == NULL) {
        gv_view_lose(cluster, operation->stamp);
        return;
    }
    letter->operation = *operation;
    letter->operation.fingerprints = letter->fingerprints;
    if (operation->count > 0) {
        memcpy(letter->fingerprints, operation->fingerprints,
               operation->count * sizeof operation->fingerprints[0]);
    }
    if (post(cluster, letter) != GV_OK) {
        gv_view_lose(cluster, operation->stamp);
    }
}

enum gv_err gv_cluster_put_worker(struct gv_cluster *cluster, const struct gv_worker *worker)
{
    if (worker->url[0] == '\0' || worker->pool >= GV_POOL_COUNT) {
        return GV_EINVAL;
    }
    struct worker_letter *letter = write_letter(cluster, LETTER_PUT, sizeof *letter);
    if (letter == NULL) {
        return GV_EFULL;
    }
    letter->worker = *worker;
    return post(cluster, letter);
}

enum gv_err gv_cluster_delete_worker(struct gv_cluster *cluster, const char *url)
{
    struct gv_slice text = gv_slice_text(url);
    if (text.len == 0 || text.len >= GV_WORKER_URL_MAX) {
        return GV_EINVAL;
    }
    struct worker_letter *letter = write_letter(cluster, LETTER_DELETE, sizeof *letter);
    if (letter == NULL) {
        return GV_EFULL;
    }
    gv_slice_copy_text(text, letter->worker.url, sizeof letter->worker.url);
    return post(cluster, letter);
}

void gv_cluster_set_health(struct gv_cluster *cluster, const char *url, enum gv_worker_state state,
                           const char *reason)
{
    struct gv_slice text = gv_slice_text(url);
    if (text.len == 0 || text.len >= GV_WORKER_URL_MAX) {
        return;
    }
    struct health_letter *letter = write_letter(cluster, LETTER_HEALTH, sizeof *letter);
    if (letter == NULL) {
        return;
    }
    gv_slice_copy_text(text, letter->url, sizeof letter->url);
    gv_slice_copy_text(gv_slice_text(reason == NULL ? "" : reason), letter->reason,
                       sizeof letter->reason);
    letter->state = state;
    (void)post(cluster, letter);
}

enum gv_err gv_cluster_put_setting(struct gv_cluster *cluster, const char *name, const char *value)
{
    struct gv_slice given = gv_slice_text(value == NULL ? "" : value);
    if (name[0] == '\0' || strlen(name) >= GV_SETTING_NAME_MAX ||
        given.len >= GV_SETTING_VALUE_MAX) {
        return GV_EINVAL;
    }
    struct setting_letter *letter = write_letter(cluster, LETTER_SETTING, sizeof *letter);
    if (letter == NULL) {
        return GV_EFULL;
    }
    gv_slice_copy_text(gv_slice_text(name), letter->name, sizeof letter->name);
    gv_slice_copy_text(given, letter->value, sizeof letter->value);
    letter->is_unset = value == NULL;
    return post(cluster, letter);
}

void gv_cluster_compare(struct gv_cluster *cluster)
{
    struct letter *letter =
        cluster->enabled ? write_letter(cluster, LETTER_COMPARE, sizeof *letter) : NULL;
    if (letter != NULL) {
        (void)post(cluster, letter);
    }
}

/* Wishes are kept in the view; the letter only makes them be read now and not 100 ms later. */
static void nudge(struct gv_cluster *cluster)
{
    struct letter *letter = write_letter(cluster, LETTER_NUDGE, sizeof *letter);
    if (letter != NULL) {
        (void)post(cluster, letter);
    }
}

void gv_cluster_set_ready(struct gv_cluster *cluster, bool ready)
{
    gv_view_want_ready(cluster, ready);
    nudge(cluster);
}

void gv_cluster_leave(struct gv_cluster *cluster, void (*on_left)(void *owner), void *owner)
{
    gv_view_want_leave(cluster, on_left, owner);
    nudge(cluster);
}

/* ---- on the mesh thread ------------------------------------------------------------------------
 */

static void tell_run(struct gv_cluster *cluster, const struct gv_gossip_operation *operation)
{
    enum gv_err err = gv_gossip_publish(cluster->gossip, operation, gv_shell_now());
    if (err != GV_OK) {
        gv_view_lose(cluster, operation->stamp);
    }
}

void gv_publish_tell(struct gv_cluster *cluster, const struct gv_operation *operation)
{
    char url[GV_WORKER_URL_MAX];
    if (!gv_fleet_url(cluster->options.fleet, operation->worker, url)) {
        return; /* an index that was never given: nothing that anybody could name */
    }
    struct gv_gossip_operation run = {.kind = (uint8_t)operation->kind,
                                      .key = gv_slice_text(operation->key),
                                      .worker = gv_slice_text(url),
                                      .stamp = operation->stamp,
                                      .reason = (uint32_t)operation->reason,
                                      .depth = operation->depth,
                                      .parent = operation->parent};
    if (operation->count == 0) {
        tell_run(cluster, &run);
        return;
    }
    for (uint32_t at = 0; at < operation->count; at += run.count) {
        uint32_t left = operation->count - at;
        run.count = left < GV_SHELL_RUN_MAX ? left : GV_SHELL_RUN_MAX;
        run.fingerprints = operation->fingerprints + at;
        run.depth = operation->depth + at;
        run.parent = at == 0 ? operation->parent : operation->fingerprints[at - 1];
        tell_run(cluster, &run);
    }
}

static void tell_health(struct gv_cluster *cluster, const struct health_letter *letter)
{
    struct gv_now now = gv_shell_now();
    struct gv_gossip_health health = {.worker = gv_slice_text(letter->url),
                                      .state = (uint8_t)letter->state,
                                      .since_ms = now.wall_ms,
                                      .reason = gv_slice_text(letter->reason)};
    gv_gossip_set_health(cluster->gossip, &health, now);
}

/* `head` is the first member of the struct of its kind. */
static void open_letter(struct gv_cluster *cluster, const struct letter *head)
{
    const void *letter = head;
    switch (head->kind) {
    case LETTER_OPERATION:
        gv_publish_tell(cluster, &((const struct operation_letter *)letter)->operation);
        break;
    case LETTER_PUT:
        gv_absorb_put(cluster, &((const struct worker_letter *)letter)->worker);
        break;
    case LETTER_DELETE:
        gv_absorb_delete(cluster, ((const struct worker_letter *)letter)->worker.url);
        break;
    case LETTER_HEALTH:
        tell_health(cluster, letter);
        break;
    case LETTER_SETTING: {
        const struct setting_letter *setting = letter;
        gv_absorb_set(cluster, setting->name, setting->is_unset ? NULL : setting->value);
        break;
    }
    case LETTER_COMPARE:
        gv_gossip_compare(cluster->gossip, gv_shell_now());
        break;
    case LETTER_NUDGE:
        gv_shell_wishes(cluster);
        break;
    }
}

/* What the engine of this worker said to us; others hear of others' reports from them. */
static struct gv_gossip_report own_report(const struct gv_cluster *cluster, uint32_t index)
{
    struct gv_load_report heard;
    if (!gv_load_heard(cluster->options.load, index, &heard) || !heard.is_own) {
        return (struct gv_gossip_report){.usage_permille = GV_GOSSIP_USAGE_UNKNOWN};
    }
    return (struct gv_gossip_report){.at_ms = heard.at_ms,
                                     .running = heard.running,
                                     .waiting = heard.waiting,
                                     .foreign = heard.foreign,
                                     .usage_permille = heard.usage_permille,
                                     .used_tokens = heard.used_tokens};
}

/* Tell of one worker, when it has changed. true: this node has requests there. */
static bool tell_load(struct gv_cluster *cluster, uint32_t index, struct gv_now now)
{
    struct gv_load load = gv_load_get(cluster->options.load, index);
    struct gv_gossip_report report = own_report(cluster, index);
    struct gv_shell_told *told = &cluster->publish.told[index];
    const struct gv_trust *trusted = &cluster->publish.trusts[index];
    /* Full trust need not be said, unless it was less. */
    bool says_trust =
        cluster->publish.decides_trust && (trusted->permille < GV_TRUST_FULL || told->trust > 0);
    uint32_t trust = says_trust ? trusted->permille : 0;
    char url[GV_WORKER_URL_MAX];
    bool same = load.own_count == told->count && load.own_bytes == told->bytes &&
                report.at_ms == told->report_ms && trust == told->trust;
    if (same || !gv_fleet_url(cluster->options.fleet, index, url)) {
        return load.own_count > 0;
    }
    *told = (struct gv_shell_told){load.own_count, load.own_bytes, report.at_ms, trust};
    struct gv_load_prompts prompts = gv_load_own_prompts(cluster->options.load, index);
    struct gv_gossip_load record = {.worker = gv_slice_text(url),
                                    .count = load.own_count,
                                    .bytes = load.own_bytes,
                                    .report = report,
                                    .prompt_bytes = prompts.bytes,
                                    .prompt_tokens = prompts.tokens,
                                    .learned = {.prefill_bytes = prompts.prefill_bytes,
                                                .prefill_us = prompts.prefill_us,
                                                .forecasts = prompts.forecasts.count,
                                                .predicted = prompts.forecasts.predicted,
                                                .reported = prompts.forecasts.reported,
                                                .trust = trust}};
    gv_gossip_set_load(cluster->gossip, &record, now);
    return load.own_count > 0;
}

/* Hand the engine what has changed since it was told last. */
static void tell_loads(struct gv_cluster *cluster)
{
    struct gv_publish *publish = &cluster->publish;
    char url[GV_WORKER_URL_MAX];
    while (publish->url_count < GV_WORKERS_MAX &&
           gv_fleet_url(cluster->options.fleet, publish->url_count, url)) {
        publish->url_count += 1;
    }
    struct gv_now now = gv_shell_now();
    publish->loads_told_at_ms = now.now_ms;
    publish->is_busy = false;
    for (uint32_t i = 0; i < publish->url_count; i++) {
        publish->is_busy = tell_load(cluster, i, now) || publish->is_busy;
    }
}

static void on_letter(void *owner, void *message)
{
    struct gv_cluster *cluster = owner;
    struct letter *letter = message;
    cluster->publish.letter_count += 1;
    if (!cluster->closing) {
        open_letter(cluster, letter);
    }
    if (!cluster->closing && !cluster->publish.in_round) {
        if (letter->kind == LETTER_OPERATION &&
            gv_shell_now().now_ms - cluster->publish.loads_told_at_ms >= GV_SHELL_LOAD_BUSY_MS) {
            tell_loads(cluster); /* a decision was made: a load has changed, too */
        }
        gv_shell_settle(cluster);
    }
    gv_view_release(cluster, letter->bytes);
    gv_mem_free(GV_MEM_GOSSIP, letter);
}

/* Requests end without a word to this thread, so a busy node looks often. In a rush it looks at its
 * letters, too, instead of being woken for each: what they say and the loads leave together, one
 * write for each peer and round. */
static void on_load_time(void *owner)
{
    struct gv_cluster *cluster = owner;
    struct gv_publish *publish = &cluster->publish;
    gv_gossip_hold(cluster->gossip);
    publish->in_round = true;
    gv_inbox_take_in(publish->inbox);
    publish->in_round = false;
    tell_loads(cluster);
    gv_demands_exchange(cluster);
    gv_absorb_unsay(cluster);
    gv_gossip_release(cluster->gossip, gv_shell_now());
    gv_capacity_set(cluster);
    gv_shell_settle(cluster);
    bool is_rush = publish->letter_count >= GV_SHELL_RUSH;
    publish->letter_count = 0;
    gv_inbox_attend(publish->inbox, is_rush);
    uint64_t wait_ms = publish->is_busy ? GV_SHELL_LOAD_BUSY_MS : GV_SHELL_LOAD_MS;
    gv_timer_start(publish->load_timer, is_rush ? GV_SHELL_ROUND_MS : wait_ms, 0);
}

/* Tell again what was lost: everything in the tries that is not older than the oldest loss. */
static void restate(struct gv_cluster *cluster)
{
    struct gv_publish *publish = &cluster->publish;
    uint32_t since;
    if (gv_view_take_lost(cluster, &since)) {
        publish->restate_since =
            publish->restating && publish->restate_since < since ? publish->restate_since : since;
        publish->restating = true;
        memset(&publish->restate, 0, sizeof publish->restate);
        gv_log(GV_LOG_WARN, "mesh.restate", GV_UINT("since_stamp", since));
    }
    for (uint32_t i = 0; publish->restating && i < GV_SHELL_RESTATE_RUNS; i++) {
        struct gv_absorb *absorb = &cluster->absorb;
        struct gv_operation operation;
        publish->restating = gv_forest_next(
            cluster->options.forest, &publish->restate, publish->restate_since, absorb->scratch,
            sizeof absorb->scratch / sizeof absorb->scratch[0], &operation);
        if (publish->restating) {
            gv_publish_tell(cluster, &operation);
        }
    }
}

static void on_sweep_time(void *owner)
{
    struct gv_cluster *cluster = owner;
    struct gv_operation floors[GV_SHELL_SWEEP_FLOORS];
    uint32_t count =
        gv_forest_sweep(cluster->options.forest, gv_clock_wall_ms(), floors, GV_SHELL_SWEEP_FLOORS);
    if (!cluster->enabled) {
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        gv_publish_tell(cluster, &floors[i]);
    }
    restate(cluster);
    gv_shell_settle(cluster);
}

enum gv_err gv_publish_open(struct gv_cluster *cluster)
{
    struct gv_publish *publish = &cluster->publish;
    publish->fleet_version = UINT64_MAX;
    publish->told = gv_mem_new(GV_MEM_GOSSIP, GV_WORKERS_MAX * sizeof publish->told[0]);
    if (publish->told == NULL || gv_capacity_open(cluster) != GV_OK) {
        return GV_ENOMEM;
    }
    enum gv_err err =
        gv_inbox_open(cluster->loop, GV_SHELL_INBOX_MAX, on_letter, cluster, &publish->inbox);
    if (err == GV_OK) {
        err = gv_timer_open(cluster->loop, on_load_time, cluster, &publish->load_timer);
    }
    if (err == GV_OK) {
        err = gv_timer_open(cluster->loop, on_sweep_time, cluster, &publish->sweep_timer);
    }
    if (err == GV_OK) {
        gv_timer_start(publish->load_timer, GV_SHELL_LOAD_MS, 0);
        gv_timer_start(publish->sweep_timer, GV_SHELL_SWEEP_MS, GV_SHELL_SWEEP_MS);
    }
    return err;
}

void gv_publish_close(struct gv_cluster *cluster)
{
    struct gv_publish *publish = &cluster->publish;
    gv_timer_close(publish->load_timer);
    gv_timer_close(publish->sweep_timer);
    if (publish->inbox != NULL) {
        gv_inbox_close(publish->inbox);
    }
    publish->load_timer = NULL;
    publish->sweep_timer = NULL;
    publish->inbox = NULL;
}

void gv_publish_free(struct gv_cluster *cluster)
{
    gv_capacity_free(cluster);
    gv_mem_free(GV_MEM_GOSSIP, cluster->publish.told);
    cluster->publish.told = NULL;
}
