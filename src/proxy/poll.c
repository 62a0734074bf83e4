/*
 * poll.c - asks ready engines how busy they are, and tells the load table.
 *
 * Every --load-monitor-interval somebody in the cluster asks: a report that another node got comes
 * through the mesh and puts our own question off, so that one node asks each engine (whoever is due
 * first) and another takes over when that node is gone. An engine with ranks is asked once for all
 * of them, by the ward of its first ready rank.
 *
 * What an engine has under way beyond what the cluster has sent there comes from elsewhere: it is
 * foreign. Requests come and go while the question is under way, so of the numbers before and after
 * it the larger one is believed.
 */
#include "ward.h"

#include "grapevine/base/metric.h"
#include "grapevine/seal/random.h"
#include <stdio.h>

#define TIMEOUT_MS   5000u
#define SPREAD_SHARE 8u /* questions are spread over this share of the interval */

static const struct gv_metric_family polls = {
    .name = "gv_engine_polls_total",
    .help = "Questions to engines about their load, by how they ended.",
    .type = GV_METRIC_COUNTER,
    .labels = {"outcome"}};

static void count(const char *outcome)
{
    if (gv_metric_register(&polls) == GV_OK) {
        const char *const values[] = {outcome};
        gv_metric_add(gv_metric_get(&polls, values), 1);
    }
}

static uint64_t interval_ms(const struct gv_ward *ward)
{
    return ward->probe->shared->config->load_monitor_interval_ms;
}

/* A moment of our own, so that nodes do not all ask at once. */
static uint64_t spread_ms(const struct gv_ward *ward)
{
    uint64_t most = interval_ms(ward) / SPREAD_SHARE + 1;
    uint64_t random;
    gv_random_bytes(&random, sizeof random);
    return random % most;
}

/* ---- ranks of one engine stand side by side in the view: their URLs differ behind the '@' ---- */

static size_t stem_len(const char *url)
{
    const char *at = strrchr(url, '@');
    return at == NULL ? 0 : (size_t)(at - url) + 1;
}

static bool is_sibling(const struct gv_worker *worker, const char *url, size_t stem)
{
    return stem > 0 && strncmp(worker->url, url, stem) == 0;
}

/* The rank behind the '@'. */
static uint32_t rank_of(const struct gv_worker *worker, size_t stem)
{
    uint64_t rank = UINT32_MAX;
    (void)gv_slice_to_u64(gv_slice_text(worker->url + stem), &rank);
    return rank < UINT32_MAX ? (uint32_t)rank : UINT32_MAX;
}

/* Is another rank of the same engine the one that asks? */
static bool is_led(const struct gv_ward *ward, const struct gv_worker *worker)
{
    const struct gv_fleet_view *view = ward->probe->view;
    size_t stem = stem_len(ward->url);
    for (const struct gv_worker *at = worker; stem > 0 && at > view->workers;) {
        at -= 1;
        if (!is_sibling(at, ward->url, stem)) {
            break;
        }
        if (at->state == GV_WORKER_READY) {
            return true;
        }
    }
    return false;
}

static uint32_t in_flight(const struct gv_ward *ward, uint32_t index)
{
    struct gv_load load = gv_load_get(ward->probe->shared->load, index);
    uint64_t sum = (uint64_t)load.own_count + load.remote_count;
    return sum < UINT32_MAX ? (uint32_t)sum : UINT32_MAX;
}

/* ---- telling ---- */

static void tell(struct gv_ward *ward, uint32_t index, uint32_t before,
                 const struct gv_engine_load *load)
{
    uint32_t now = in_flight(ward, index);
    uint64_t ours = now > before ? now : before;
    uint64_t theirs = (uint64_t)load->running + load->waiting;
    struct gv_load_report report = {
        .at_ms = gv_ward_now_ms(ward),
        .running = load->running,
        .waiting = load->waiting,
        .foreign = theirs > ours ? (uint32_t)(theirs - ours) : 0,
        .usage_permille =
            load->has_usage ? (uint32_t)(load->usage * 1000 + 0.5) : GV_LOAD_USAGE_UNKNOWN,
        .used_tokens = load->used_tokens,
        .is_own = true,
    };
    gv_load_hear(ward->probe->shared->load, index, &report);
}

/* A worker that stands for all ranks of its engine. */
static void tell_sum(struct gv_ward *ward, const struct gv_engine_load *loads, uint32_t rank_count)
{
    struct gv_engine_load sum = {.rank = 0};
    uint32_t with_usage = 0;
    for (uint32_t i = 0; i < rank_count; i++) {
        sum.running += loads[i].running;
        sum.waiting += loads[i].waiting;
        sum.used_tokens += loads[i].used_tokens;
        if (loads[i].has_usage) {
            sum.usage += loads[i].usage;
            with_usage += 1;
        }
    }
    sum.has_usage = with_usage > 0;
    sum.usage = with_usage > 0 ? sum.usage / with_usage : 0;
    tell(ward, ward->index, ward->poll.before[0], &sum);
}

static void tell_ranks(struct gv_ward *ward, const struct gv_engine_load *loads,
                       uint32_t rank_count)
{
    const struct gv_fleet_view *view = ward->probe->view;
    const struct gv_worker *worker = gv_fleet_find(view, gv_slice_text(ward->url));
    size_t stem = stem_len(ward->url);
    const struct gv_worker *end = view->workers + view->count;
    for (const struct gv_worker *at = worker; at != NULL && at < end; at++) {
        if (!is_sibling(at, ward->url, stem)) {
            break;
        }
        uint32_t rank = rank_of(at, stem);
        for (uint32_t i = 0; i < rank_count; i++) {
            if (loads[i].rank == rank) {
                uint32_t before = rank < GV_ENGINE_RANKS_MAX ? ward->poll.before[rank] : 0;
                tell(ward, at->index, before, &loads[i]);
            }
        }
    }
}

/* ---- asking ---- */

static void ask(struct gv_ward *ward, const struct gv_worker *worker);

static const struct gv_engine_load_question *question_of(const struct gv_poll *poll)
{
    uint32_t number = poll->question;
    if (number >= GV_ENGINE_PATHS_MAX || poll->engine->loads[number].path == NULL) {
        return NULL;
    }
    return &poll->engine->loads[number];
}

/* Another way to ask; after all of them were tried in vain, later. */
static void try_next(struct gv_ward *ward)
{
    struct gv_poll *poll = &ward->poll;
    const struct gv_worker *worker = gv_ward_look(ward);
    poll->tried += 1;
    poll->question += 1;
    if (question_of(poll) == NULL) {
        poll->question = 0;
    }
    if (poll->tried >= GV_ENGINE_PATHS_MAX || worker == NULL) {
        count("not_understood");
        return;
    }
    ask(ward, worker);
}

static void on_answer(void *owner, enum gv_cause cause, uint16_t status, struct gv_slice body)
{
    struct gv_ward *ward = owner;
    ward->probe->active_count -= 1;
    if (cause != GV_CAUSE_NONE) {
        count(gv_cause_name(cause));
        return;
    }
    struct gv_engine_load loads[GV_ENGINE_RANKS_MAX];
    uint32_t rank_count = status == 200 ? question_of(&ward->poll)->read(body, loads) : 0;
    if (rank_count == 0) {
        try_next(ward);
        return;
    }
    count("good");
    (void)gv_ward_look(ward);
    if (ward->target->uri.dp_rank >= 0) {
        tell_ranks(ward, loads, rank_count);
    } else {
        tell_sum(ward, loads, rank_count);
    }
}

/* What is in flight now, for what comes meanwhile. */
static void remember(struct gv_ward *ward, const struct gv_worker *worker)
{
    struct gv_poll *poll = &ward->poll;
    memset(poll->before, 0, sizeof poll->before);
    if (ward->target->uri.dp_rank < 0) {
        poll->before[0] = in_flight(ward, ward->index);
        return;
    }
    const struct gv_fleet_view *view = ward->probe->view;
    size_t stem = stem_len(ward->url);
    const struct gv_worker *end = view->workers + view->count;
    for (const struct gv_worker *at = worker; at < end && is_sibling(at, ward->url, stem); at++) {
        uint32_t rank = rank_of(at, stem);
        if (rank < GV_ENGINE_RANKS_MAX) {
            poll->before[rank] = in_flight(ward, at->index);
        }
    }
}

static void ask(struct gv_ward *ward, const struct gv_worker *worker)
{
    struct gv_poll *poll = &ward->poll;
    const struct gv_engine_load_question *question = question_of(poll);
    remember(ward, worker);
    if (gv_fetch_start(&poll->fetch, ward->target, question->path, worker->api_key, TIMEOUT_MS,
                       on_answer, ward) == GV_OK) {
        ward->probe->active_count += 1;
    }
}

/* When somebody asked last, as far as we know; another node's answer puts ours off. */
static bool is_due(struct gv_ward *ward, uint64_t now_ms)
{
    struct gv_poll *poll = &ward->poll;
    struct gv_load_report report;
    if (now_ms < poll->due_at_ms) {
        return false;
    }
    if (gv_load_heard(ward->probe->shared->load, ward->index, &report) && !report.is_own &&
        now_ms < report.at_ms + interval_ms(ward)) {
        poll->due_at_ms = report.at_ms + interval_ms(ward) + spread_ms(ward);
        return false;
    }
    return true;
}

void gv_poll_tick(struct gv_ward *ward, const struct gv_worker *worker)
{
    struct gv_poll *poll = &ward->poll;
    uint64_t now_ms = gv_ward_now_ms(ward);
    if (!poll->is_open) {
        gv_fetch_init(&poll->fetch);
        poll->is_open = true;
    }
    if (interval_ms(ward) == 0 || poll->fetch.is_on || worker->state != GV_WORKER_READY ||
        ward->target == NULL || ward->probe->active_count >= GV_WARD_ACTIVE_MAX ||
        !is_due(ward, now_ms) || is_led(ward, worker)) {
        return;
    }
    poll->engine = gv_engine_find(worker->runtime);
    if (question_of(poll) == NULL) {
        poll->question = 0;
    }
    poll->due_at_ms = now_ms + interval_ms(ward) + spread_ms(ward);
    poll->tried = 0;
    if (question_of(poll) != NULL) {
        ask(ward, worker);
    }
}

void gv_poll_deinit(struct gv_ward *ward)
{
    if (ward->poll.is_open) {
        if (ward->poll.fetch.is_on) {
            ward->probe->active_count -= 1;
        }
        gv_fetch_deinit(&ward->poll.fetch);
        ward->poll.is_open = false;
    }
}
