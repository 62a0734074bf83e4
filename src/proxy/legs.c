/* legs.c - see legs.h. */
#include "legs.h"

#include "abort.h"
#include "body.h"

#include "grapevine/base/assert.h"
#include "grapevine/base/log.h"
#include "grapevine/base/mem.h"
#include "grapevine/http/forward.h"
#include "grapevine/http/writer.h"
#include <stdio.h>

static uint64_t now_ms(const struct gv_carrier *carrier)
{
    return gv_loop_now_ms(carrier->proxy->loop);
}

#define GV_LEGS_DECIDE_MAX 8u /* decisions for one leg, when trials are taken by other loops */

static const struct gv_worker *worker_of(const struct gv_fleet_view *view, uint32_t index)
{
    for (uint32_t i = 0; i < view->count; i++) {
        if (view->workers[i].index == index) {
            return &view->workers[i];
        }
    }
    return NULL;
}

/* ---- taken and given back ---- */

static void show_turn(const char *url, struct gv_breaker_turn turn)
{
    if (turn.from == turn.to) {
        return;
    }
    gv_log(turn.to == GV_BREAKER_CLOSED ? GV_LOG_INFO : GV_LOG_WARN, "worker.breaker",
           GV_STR("worker", url), GV_STR("from", gv_breaker_state_name(turn.from)),
           GV_STR("to", gv_breaker_state_name(turn.to)));
}

void gv_leg_report(struct gv_carrier *carrier, struct gv_leg *leg, enum gv_breaker_outcome outcome)
{
    if (leg->admitted) {
        leg->admitted = false;
        show_turn(leg->target->url,
                  gv_breakers_report(carrier->proxy->shared->breakers, leg->worker, leg->epoch,
                                     outcome, now_ms(carrier)));
    }
}

/* May this request go there? Of a worker on trial only one of all loops' requests may. */
static bool admit(struct gv_carrier *carrier, struct gv_leg *leg)
{
    struct gv_breaker_turn turn;
    leg->admitted = gv_breakers_admit(carrier->proxy->shared->breakers, leg->worker,
                                      now_ms(carrier), &leg->epoch, &turn) == GV_OK;
    show_turn(leg->target->url, turn);
    return leg->admitted;
}

enum gv_breaker_outcome gv_leg_outcome(uint16_t status)
{
    if (status < 400) {
        return GV_BREAKER_GOOD;
    }
    return status >= 500 && gv_exchange_is_retryable(status) ? GV_BREAKER_FAILED
                                                             : GV_BREAKER_NEUTRAL;
}

void gv_leg_first_byte(struct gv_carrier *carrier, struct gv_leg *leg)
{
    if (leg->taken && leg->first_byte_us == 0) {
        struct gv_load now = gv_load_get(carrier->proxy->shared->load, leg->worker);
        leg->is_alone = leg->is_alone && now.own_count + now.remote_count == 1;
        leg->first_byte_us = gv_clock_us() - leg->upstream.sent_us;
    }
    if (leg->taken && leg->uncached_bytes > 0) {
        gv_load_first_byte(carrier->proxy->shared->load, leg->worker, leg->uncached_bytes);
        leg->uncached_bytes = 0;
    }
}

/*
 * A leg is over, however it ended. One that had answered is what its status says, unless it was
 * blamed before. One that was ended without an answer, because the client had enough of waiting,
 * says nothing; but a breaker on trial waits for a word: nothing proved is not proved well.
 */
void gv_leg_release(struct gv_carrier *carrier, struct gv_leg *leg)
{
    bool is_unfinished =
        leg->upstream.phase == GV_UPSTREAM_WAITING || leg->upstream.phase == GV_UPSTREAM_ANSWERING;
    gv_upstream_cancel(&leg->upstream);
    if (is_unfinished) {
        gv_abort_send(carrier->proxy, leg->target, leg->worker, leg->rid);
    }
    if (leg->has_head) {
        gv_leg_report(carrier, leg, gv_leg_outcome(leg->answer.status));
    } else {
        bool on_trial =
            gv_breakers_state(carrier->proxy->shared->breakers, leg->worker) == GV_BREAKER_TRIAL;
        gv_leg_report(carrier, leg, on_trial ? GV_BREAKER_FAILED : GV_BREAKER_NEUTRAL);
    }
    if (leg->taken) {
        leg->taken = false;
        gv_load_give(carrier->proxy->shared->load, leg->worker, leg->uncached_bytes);
    }
}

/* ---- choosing ---- */

static bool allows(void *owner, const struct gv_worker *worker)
{
    struct gv_proxy *proxy = owner;
    return gv_breakers_can_admit(proxy->shared->breakers, worker->index,
                                 gv_loop_now_ms(proxy->loop));
}

/* What tells clients apart when they give no routing key. */
static struct gv_slice client_of(const struct gv_head *head)
{
    static const char *const names[] = {"authorization", "x-forwarded-for", "cookie"};
    struct gv_slice value = gv_slice_of(NULL, 0);
    for (size_t i = 0; i < sizeof names / sizeof names[0] && value.len == 0; i++) {
        value = gv_head_find(head, names[i]);
    }
    return value;
}

static struct gv_dispatch_question question_of(struct gv_carrier *carrier, uint32_t leg)
{
    const struct gv_head *head = &carrier->client->head;
    return (struct gv_dispatch_question){
        .plan = &carrier->plan,
        .leg = leg,
        .routing_key = gv_head_find(head, "x-smg-routing-key"),
        .client = client_of(head),
        .target = gv_head_find(head, "x-smg-target-worker"),
        .random = gv_prng_next(&carrier->proxy->prng),
        .now_ms = now_ms(carrier),
        .avoid = carrier->failed,
        .avoid_count = carrier->failed_count,
        .allows = allows,
        .owner = carrier->proxy,
    };
}

void gv_legs_look_around(struct gv_carrier *carrier, uint32_t but, struct gv_exchange_event *event)
{
    const struct gv_proxy_shared *shared = carrier->proxy->shared;
    const struct gv_fleet_view *view = gv_proxy_view(carrier->proxy);
    uint32_t avoid[GV_CARRIER_FAILED_MAX + 1];
    memcpy(avoid, carrier->failed, carrier->failed_count * sizeof avoid[0]);
    avoid[carrier->failed_count] = but;
    event->another = true;
    event->hope = true;
    for (uint32_t i = 0; i < carrier->plan.leg_count && event->hope; i++) {
        struct gv_dispatch_question question = question_of(carrier, i);
        question.avoid = avoid;
        question.avoid_count = carrier->failed_count + (but == GV_LEGS_NOBODY ? 0 : 1);
        bool another = gv_dispatch_has_another(shared, view, &question);
        event->another = event->another && another;
        event->hope = another || gv_dispatch_has_hope(shared, view, &question);
    }
    event->another = event->another && event->hope;
    event->spent = gv_budget_left(&carrier->proxy->budget) == 0 ||
                   carrier->failed_count == GV_CARRIER_FAILED_MAX;
}

void gv_legs_avoid(struct gv_carrier *carrier, uint32_t culprit)
{
    for (uint32_t i = 0; i < carrier->failed_count; i++) {
        if (carrier->failed[i] == culprit) {
            return;
        }
    }
    if (carrier->failed_count < GV_CARRIER_FAILED_MAX) {
        carrier->failed[carrier->failed_count++] = culprit;
    }
}

void gv_legs_forgive(struct gv_carrier *carrier, uint32_t worker)
{
    for (uint32_t i = 0; i < carrier->failed_count; i++) {
        if (carrier->failed[i] == worker) {
            carrier->failed[i] = carrier->failed[--carrier->failed_count];
            return;
        }
    }
}

uint32_t gv_leg_culprit(const struct gv_carrier *carrier, const struct gv_leg *leg,
                        enum gv_cause cause)
{
    const struct gv_worker *worker = worker_of(gv_proxy_view(carrier->proxy), leg->worker);
    bool of_engine = cause == GV_CAUSE_CONNECT || cause == GV_CAUSE_TLS;
    return of_engine && worker != NULL ? worker->engine : leg->worker;
}

void gv_leg_tell_ranks(struct gv_carrier *carrier, const struct gv_leg *leg)
{
    const struct gv_fleet_view *view = gv_proxy_view(carrier->proxy);
    const struct gv_worker *worker = worker_of(view, leg->worker);
    if (worker == NULL || worker->engine == worker->index) {
        return;
    }
    for (uint32_t i = 0; i < view->count; i++) {
        const struct gv_worker *rank = &view->workers[i];
        if (rank->engine == worker->engine && rank->index != worker->index) {
            struct gv_breaker_turn turn = gv_breakers_hear_failure(carrier->proxy->shared->breakers,
                                                                   rank->index, now_ms(carrier));
            show_turn(rank->url, turn);
        }
    }
}

/* Which of its engine's ranks a request is for; said to every kind, understood by most. */
static const char rank_header[] = "X-Data-Parallel-Rank";

static enum gv_err append_forwarded(const struct gv_carrier *carrier,
                                    const struct gv_worker *worker, bool ranked, struct gv_buf *out)
{
    const struct gv_head *head = &carrier->client->head;
    bool own_key = worker->api_key[0] != '\0';
    bool hides_key = own_key || carrier->client->tenant != NULL; /* a tenant's is for us alone */
    bool strict = carrier->proxy->shared->config->header_policy_strict != 0;
    enum gv_err err = GV_OK;
    if (strict) {
        err =
            gv_writer_header(out, gv_slice_text("Content-Type"), gv_slice_text("application/json"));
    }
    for (size_t i = 0; i < head->header_count && err == GV_OK; i++) {
        struct gv_slice name = head->headers[i].name;
        bool ours = gv_slice_equal_nocase(name, gv_slice_text("x-request-id")) ||
                    (ranked && gv_slice_equal_nocase(name, gv_slice_text(rank_header))) ||
                    (hides_key && gv_slice_equal_nocase(name, gv_slice_text("authorization")));
        bool passes =
            strict ? gv_forward_request_header_strict(head, i) : gv_forward_request_header(head, i);
        if (!ours && passes) {
            err = gv_writer_header(out, name, head->headers[i].value);
        }
    }
    if (err == GV_OK && own_key) {
        char value[sizeof worker->api_key + 8];
        snprintf(value, sizeof value, "Bearer %s", worker->api_key);
        err = gv_writer_header(out, gv_slice_text("Authorization"), gv_slice_text(value));
    }
    return err;
}

static enum gv_err write_head(struct gv_carrier *carrier, struct gv_leg *leg,
                              const struct gv_worker *worker)
{
    const struct gv_head *head = &carrier->client->head;
    const struct gv_uri *uri = &leg->target->uri;
    struct gv_buf target;
    gv_buf_init(&target, GV_MEM_EXCHANGE, GV_CARRIER_HEAD_BYTES_MAX);
    gv_buf_clear(&leg->head);
    enum gv_err err = GV_OK;
    struct gv_slice path = head->target;
    if (uri->prefix[0] != '\0') {
        err = gv_buf_append_text(&target, uri->prefix);
        if (err == GV_OK) {
            err = gv_buf_append(&target, head->target);
        }
        path = gv_buf_slice(&target);
    }
    if (err == GV_OK) {
        err = gv_writer_request(&leg->head, head->method_text, path, gv_slice_text(uri->authority));
    }
    if (err == GV_OK) {
        err = append_forwarded(carrier, worker, uri->dp_rank >= 0, &leg->head);
    }
    if (err == GV_OK) {
        err = gv_writer_header(&leg->head, gv_slice_text("x-request-id"),
                               gv_slice_text(carrier->client->request_id));
    }
    if (err == GV_OK && uri->dp_rank >= 0) {
        char rank[16];
        snprintf(rank, sizeof rank, "%d", (int)uri->dp_rank);
        err = gv_writer_header(&leg->head, gv_slice_text(rank_header), gv_slice_text(rank));
    }
    if (err == GV_OK) {
        err = gv_writer_end_head(&leg->head, leg->body.len, false);
    }
    gv_buf_deinit(&target);
    return err;
}

/* Policy passthrough and a choice to be made: the other workers get nothing. */
static void warn_of_idle(struct gv_proxy *proxy, enum gv_pool pool,
                         const struct gv_decision *decision)
{
    if (decision->rule == GV_RULE_FIRST && !proxy->passed_through) {
        proxy->passed_through = true;
        gv_log(GV_LOG_WARN, "passthrough.idle", GV_STR("pool", gv_pool_name(pool)),
               GV_UINT("eligible", decision->eligible_count),
               GV_STR("advice", "all requests go to the first worker; choose another --policy"));
    }
}

/* The decision stands: count it, record it where prefixes matter, tell the others. */
static void commit(struct gv_carrier *carrier, uint32_t i)
{
    struct gv_proxy *proxy = carrier->proxy;
    const struct gv_proxy_shared *shared = proxy->shared;
    const struct gv_plan_leg *planned = &carrier->plan.legs[i];
    struct gv_leg *leg = &carrier->legs[i];
    struct gv_load before = gv_load_get(shared->load, leg->worker);
    leg->is_ripe = before.own_bytes + before.remote_bytes == 0;
    leg->is_alone = leg->decision.load == 0;
    leg->sent_wall_ms = gv_clock_wall_ms();
    leg->first_byte_us = 0;
    leg->uncached_bytes = gv_dispatch_uncached_bytes(shared, &carrier->plan, i, &leg->decision);
    gv_load_take(shared->load, leg->worker, leg->uncached_bytes);
    leg->taken = true;
    gv_access_decision(&proxy->access, planned->pool, &leg->decision);
    warn_of_idle(proxy, planned->pool, &leg->decision);
    if (!carrier->plan.records || planned->count == 0 ||
        !gv_policy_uses_trie(shared->policies[planned->pool])) {
        return;
    }
    struct gv_operation operation;
    if (gv_forest_record(shared->forest, planned->key, planned->chain, planned->count, leg->worker,
                         leg->sent_wall_ms, &operation)) {
        shared->events->publish(shared->owner, &operation);
    }
}

/* Decide for one leg, and prepare its target. */
static enum gv_problem decide_leg(struct gv_carrier *carrier, uint32_t i)
{
    struct gv_proxy *proxy = carrier->proxy;
    struct gv_leg *leg = &carrier->legs[i];
    const struct gv_fleet_view *view = proxy->view; /* the one of gv_legs_choose() */
    struct gv_dispatch_question question = question_of(carrier, i);
    leg->decision = (struct gv_decision){.policy = ""};
    leg->target = NULL;
    enum gv_problem problem = gv_dispatch_decide(proxy->shared, view, &question, &leg->decision);
    if (problem != GV_PROBLEM_NONE) {
        gv_dispatch_detail(view, &question, carrier->detail);
        return problem;
    }
    const struct gv_worker *worker = worker_of(view, leg->decision.worker);
    GV_ASSERT(worker != NULL); /* decided among the workers of this view */
    enum gv_err err = gv_target_get(proxy->targets, worker, &leg->target);
    if (err != GV_OK) {
        return err == GV_ENOMEM ? GV_PROBLEM_OVERLOADED : GV_PROBLEM_UPSTREAM_CONNECT;
    }
    leg->worker = leg->decision.worker;
    leg->has_head = false;
    return GV_PROBLEM_NONE;
}

/* Choose the worker of one leg. Another loop may have been faster at one that is on trial, which is
 * then not eligible any more: decide again. */
static enum gv_problem choose_leg(struct gv_carrier *carrier, uint32_t i)
{
    for (uint32_t again = 0; again < GV_LEGS_DECIDE_MAX; again++) {
        enum gv_problem problem = decide_leg(carrier, i);
        if (problem != GV_PROBLEM_NONE || admit(carrier, &carrier->legs[i])) {
            return problem;
        }
    }
    return carrier->plan.leg_count == 2 ? GV_PROBLEM_NO_PAIR : GV_PROBLEM_NO_AVAILABLE;
}

bool gv_legs_are_in_turn(const struct gv_carrier *carrier)
{
    const char *protocol = carrier->proxy->shared->config->pd_protocol;
    return carrier->plan.leg_count == 2 && protocol != NULL && strcmp(protocol, "vllm") == 0;
}

static enum gv_problem choose(struct gv_carrier *carrier)
{
    uint32_t count = carrier->plan.leg_count;
    const struct gv_fleet_view *view = gv_proxy_view(carrier->proxy);
    const struct gv_worker *workers[GV_EXCHANGE_LEGS_MAX] = {NULL};
    for (uint32_t i = 0; i < count; i++) {
        enum gv_problem problem = choose_leg(carrier, i);
        if (problem != GV_PROBLEM_NONE) {
            return problem;
        }
        workers[i] = worker_of(view, carrier->legs[i].worker);
        GV_ASSERT(workers[i] != NULL);
    }
    enum gv_err err = gv_body_make(carrier, workers, gv_legs_are_in_turn(carrier));
    uint32_t ready = gv_legs_are_in_turn(carrier) ? 1 : count; /* decode's comes later */
    for (uint32_t i = 0; i < ready && err == GV_OK; i++) {
        err = write_head(carrier, &carrier->legs[i], workers[i]);
    }
    if (err != GV_OK) {
        return err == GV_ENOMEM ? GV_PROBLEM_OVERLOADED : GV_PROBLEM_BAD_FIELD;
    }
    return GV_PROBLEM_NONE;
}

/* All legs or none. */
enum gv_problem gv_legs_choose(struct gv_carrier *carrier)
{
    enum gv_problem problem = choose(carrier);
    for (uint32_t i = 0; i < carrier->plan.leg_count; i++) {
        if (problem == GV_PROBLEM_NONE) {
            commit(carrier, i);
        } else {
            gv_leg_report(carrier, &carrier->legs[i], GV_BREAKER_NEUTRAL); /* nothing was sent */
        }
    }
    return problem;
}

static struct gv_upstream_limits limits_of(const struct gv_carrier *carrier, uint32_t i)
{
    const struct gv_config *config = carrier->proxy->shared->config;
    uint64_t own_ms = 0;
    if (carrier->plan.leg_count == 2) {
        own_ms = i == GV_LEG_PREFILL ? config->prefill_first_byte_ms : config->decode_first_byte_ms;
    }
    return (struct gv_upstream_limits){
        .connect_ms = config->connect_timeout_ms,
        .first_byte_ms = own_ms > 0 ? own_ms : config->first_byte_timeout_ms,
        .idle_ms = config->stream_idle_timeout_ms,
    };
}

static bool start_leg(struct gv_carrier *carrier, uint32_t i,
                      const struct gv_upstream_events *events)
{
    struct gv_leg *leg = &carrier->legs[i];
    struct gv_upstream_request request = {.head = gv_buf_slice(&leg->head), .body = leg->body};
    enum gv_err err = gv_upstream_start(&leg->upstream, leg->target, request, limits_of(carrier, i),
                                        events, carrier, i);
    if (err == GV_EFULL || err == GV_ENOMEM) {
        gv_leg_report(carrier, leg, GV_BREAKER_NEUTRAL); /* our shortage */
    }
    return err == GV_OK;
}

/* Send what was chosen. false: leg `*broken` could not even begin. */
bool gv_legs_start(struct gv_carrier *carrier, const struct gv_upstream_events *events,
                   uint32_t *broken)
{
    uint32_t count = carrier->plan.leg_count;
    uint32_t now = gv_legs_are_in_turn(carrier) ? 1 : count;
    for (uint32_t i = 0; i < now; i++) {
        if (!start_leg(carrier, i, events)) {
            *broken = i;
            return false;
        }
    }
    return true;
}

bool gv_legs_hand_over(struct gv_carrier *carrier, struct gv_slice answer,
                       const struct gv_upstream_events *events)
{
    struct gv_leg *leg = &carrier->legs[GV_LEG_DECODE];
    const struct gv_worker *worker = worker_of(gv_proxy_view(carrier->proxy), leg->worker);
    if (worker == NULL) {
        return false; /* removed meanwhile */
    }
    enum gv_err err = gv_body_hand_over(carrier, answer);
    if (err == GV_OK) {
        err = write_head(carrier, leg, worker);
    }
    return err == GV_OK && start_leg(carrier, GV_LEG_DECODE, events);
}
