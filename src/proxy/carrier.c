/*
 * carrier.c - does what the exchange decides: chooses, sends, relays, counts, and cleans up.
 *
 * Everything that happens to a request comes in here as an event, goes through
 * gv_exchange_step(), and the effects are carried out in one place (apply()). An effect that fails
 * at once (no memory for a connection, no worker) is the next event of the same loop, so nothing
 * here calls itself.
 *
 * What is taken is given back exactly once: a leg's load and its breaker's epoch in
 * gv_leg_release(), everything else in destroy().
 */
#include "abort.h"
#include "account.h"
#include "grapevine/base/assert.h"
#include "grapevine/base/log.h"
#include "grapevine/base/mem.h"
#include "grapevine/http/date.h"
#include "grapevine/http/writer.h"
#include "grapevine/proxy/admission.h"
#include "merging.h"
#include "pair.h"
#include "reply.h"
#include "rerank.h"
#include "reranking.h"
#include "spare.h"
#include <stdio.h>

#define GV_RETRY_AFTER_MAX_S UINT64_C(86400)

static void run(struct gv_carrier *carrier, struct gv_exchange_event event);
static const struct gv_upstream_events upstream_events;

static double draw(struct gv_carrier *carrier)
{
    return gv_prng_unit(&carrier->proxy->prng);
}

uint64_t gv_carrier_now_ms(const struct gv_carrier *carrier)
{
    return gv_loop_now_ms(carrier->proxy->loop);
}

/* What another try would meet; `but` has failed now, or GV_LEGS_NOBODY. */
static void weigh(struct gv_carrier *carrier, uint32_t but, struct gv_exchange_event *event)
{
    gv_budget_fill(&carrier->proxy->budget, gv_carrier_now_ms(carrier));
    gv_legs_look_around(carrier, but, event);
    event->draw = draw(carrier);
}

/* ---- an answer that is kept ---- */

/* Body bytes of the answer that is being kept. */
static void keep_body(struct gv_carrier *carrier, uint32_t i, struct gv_slice bytes)
{
    struct gv_kept *kept = &carrier->kept;
    if (kept->headers == NULL || gv_buf_append(&kept->body, bytes) != GV_OK) {
        struct gv_exchange_event event = {.kind = GV_EXCHANGE_TOO_MUCH, .leg = i};
        weigh(carrier, carrier->legs[i].worker, &event);
        run(carrier, event);
    }
}

/* ---- waiting ---- */

static void wake(void *owner)
{
    struct gv_exchange_event event = {.kind = GV_EXCHANGE_TICK};
    weigh(owner, GV_LEGS_NOBODY, &event);
    run(owner, event);
}

void gv_carriers_wake(struct gv_proxy *proxy)
{
    GV_LIST_EACH(&proxy->pausing, at, following)
    {
        wake(GV_CONTAINER(at, struct gv_carrier, pause));
    }
}

/* From now on it is told when the fleet changes. */
static void begin_pause(struct gv_carrier *carrier)
{
    if (gv_list_is_empty(&carrier->pause)) {
        gv_list_add(&carrier->proxy->pausing, &carrier->pause);
    }
    gv_proxy_note_pauses(carrier->proxy);
}

static void end_pause(struct gv_carrier *carrier)
{
    gv_list_remove(&carrier->pause);
    gv_proxy_note_pauses(carrier->proxy);
}

static void start_timer(struct gv_carrier *carrier)
{
    uint64_t now = gv_carrier_now_ms(carrier);
    uint64_t at = carrier->exchange.wake_at_ms;
    if (carrier->timer == NULL &&
        gv_timer_open(carrier->proxy->loop, wake, carrier, &carrier->timer) != GV_OK) {
        return; /* the tick of the proxy wakes it, a little later */
    }
    gv_timer_start(carrier->timer, at > now ? at - now : 0, 0);
}

/* ---- the end ---- */

/* The permit with which the request came. */
static void leave(struct gv_proxy *proxy)
{
    if (proxy->shared->admission != NULL) {
        gv_admission_leave(proxy->shared->admission, gv_clock_us());
    }
}

/* Give everything back. Afterwards the carrier is gone; the client is told by the caller. */
static void destroy(struct gv_carrier *carrier)
{
    struct gv_proxy *proxy = carrier->proxy;
    gv_account_close(carrier);
    end_pause(carrier);
    for (uint32_t i = 0; i < GV_EXCHANGE_LEGS_MAX; i++) {
        if (carrier->legs[i].target != NULL) {
            gv_leg_release(carrier, &carrier->legs[i]);
        }
    }
    if (carrier->planned) {
        gv_plan_deinit(&carrier->plan);
    }
    gv_timer_close(carrier->timer);
    gv_buf_deinit(&carrier->body);
    gv_buf_deinit(&carrier->pair_body);
    gv_buf_deinit(&carrier->decode_body);
    gv_kept_drop(&carrier->kept);
    gv_kept_drop(&carrier->merged);
    gv_merge_deinit(&carrier->merge);
    gv_buf_deinit(&carrier->rerank);
    proxy->exchange_count -= 1;
    leave(proxy);
    gv_spare_put(proxy, carrier);
}

/* ---- events in, effects out ---- */

static void apply_blame(struct gv_carrier *carrier, const struct gv_exchange_effects *effects)
{
    struct gv_leg *leg = &carrier->legs[effects->blame];
    gv_leg_report(carrier, leg,
                  effects->cause == GV_CAUSE_STATUS ? gv_leg_outcome(leg->answer.status)
                                                    : GV_BREAKER_FAILED);
    gv_legs_avoid(carrier, gv_leg_culprit(carrier, leg, effects->cause));
    if (effects->asks_back) {
        carrier->asking_back = leg->worker;
    }
    if (effects->cause == GV_CAUSE_CONNECT || effects->cause == GV_CAUSE_TLS) {
        gv_leg_tell_ranks(carrier, leg);
    }
    if (effects->cause == GV_CAUSE_CONNECT || effects->cause == GV_CAUSE_CLOSED) {
        gv_load_suspect(carrier->proxy->shared->load, leg->worker);
    }
    gv_access_upstream_error(leg->target->url, effects->cause);
    snprintf(carrier->detail, sizeof carrier->detail, "worker %.400s: %s", leg->target->url,
             gv_cause_name(effects->cause));
    gv_log(GV_LOG_WARN, "exchange.leg_failed", GV_STR("worker", leg->target->url),
           GV_STR("cause", gv_cause_name(effects->cause)),
           GV_STR("why", effects->cause == GV_CAUSE_TLS ? leg->target->trouble : ""),
           GV_UINT("status", leg->has_head ? leg->answer.status : 0),
           GV_UINT("attempt", carrier->exchange.attempt),
           GV_FLAG("retry", effects->retry || effects->keep || effects->wait),
           GV_STR("request_id", carrier->client->request_id));
}

/* A leg that could not even begin. */
static struct gv_exchange_event stillborn(struct gv_carrier *carrier, uint32_t leg)
{
    struct gv_exchange_event event = {
        .kind = GV_EXCHANGE_BROKE, .leg = leg, .cause = GV_CAUSE_CONNECT};
    gv_leg_report(carrier, &carrier->legs[leg], GV_BREAKER_FAILED);
    gv_leg_release(carrier, &carrier->legs[leg]);
    weigh(carrier, gv_leg_culprit(carrier, &carrier->legs[leg], GV_CAUSE_CONNECT), &event);
    return event;
}

/* What a pick leads to: the next event, or none when all legs are on their way. */
static bool apply_pick(struct gv_carrier *carrier, struct gv_exchange_event *next)
{
    gv_merge_reset(&carrier->merge);
    carrier->is_merging = false;
    carrier->is_reranking = false;
    carrier->prefill_done = false;
    carrier->decode_done = false;
    enum gv_problem problem = gv_legs_choose(carrier);
    if (carrier->decided_us == 0) {
        carrier->decided_us = gv_clock_us();
    }
    if (problem != GV_PROBLEM_NONE) {
        *next = (struct gv_exchange_event){.kind = GV_EXCHANGE_UNPICKED, .problem = problem};
        return true;
    }
    struct gv_exchange_event picked = {.kind = GV_EXCHANGE_PICKED,
                                       .leg_count = carrier->plan.leg_count};
    struct gv_exchange_effects none;
    gv_exchange_step(&carrier->exchange, &picked, gv_carrier_now_ms(carrier), &none);
    uint32_t broken = 0;
    if (gv_legs_start(carrier, &upstream_events, &broken)) {
        return false;
    }
    *next = stillborn(carrier, broken);
    return true;
}

static void apply_end(struct gv_carrier *carrier, const struct gv_exchange_effects *effects)
{
    struct gv_client *client = carrier->client;
    bool close = gv_client_must_close(client);
    carrier->outcome = "client_gone";
    if (effects->answer != GV_PROBLEM_NONE) {
        carrier->problem = effects->answer;
        carrier->outcome = gv_problem_code(effects->answer);
        gv_client_answer(client, effects->answer,
                         carrier->detail[0] != '\0' ? carrier->detail : NULL);
    } else if (effects->answer_kept) {
        carrier->passed_kept = true;
        carrier->outcome = "ok";
        gv_reply_kept(carrier);
        close = carrier->relay.close;
    } else if (effects->cut) {
        carrier->outcome = "cut";
    } else if (effects->finish) {
        carrier->outcome = "ok";
        close = carrier->relay.close;
        enum gv_err err = gv_relay_end(&carrier->relay);
        if (err != GV_OK && err != GV_EFULL) {
            gv_client_close(client);
        }
    }
    bool cut = effects->cut;
    bool gone =
        !cut && !effects->finish && !effects->answer_kept && effects->answer == GV_PROBLEM_NONE;
    bool framed = carrier->relay.framing != GV_WRITER_UNTIL_CLOSE;
    client->carrier = NULL;
    destroy(carrier);
    if (cut && !framed) {
        gv_client_reset(client);
    } else if (cut) {
        gv_client_cut(client);
    } else if (!gone) {
        gv_client_done(client, close);
    }
}

/* The time; where the first bytes of a leg are passed on as they come, it was just looked at. */
static uint64_t first_byte_at(const struct gv_carrier *carrier,
                              const struct gv_exchange_effects *effects)
{
    const struct gv_leg *leg = &carrier->legs[effects->relay_leg];
    bool is_passed = !carrier->is_merging && !carrier->is_reranking;
    return is_passed && leg->first_byte_us > 0 ? leg->upstream.sent_us + leg->first_byte_us
                                               : gv_clock_us();
}

/* Carry out one step's effects. true: `*next` is to be stepped. After an end nothing is left. */
static bool apply(struct gv_carrier *carrier, const struct gv_exchange_effects *effects,
                  struct gv_slice first, struct gv_exchange_event *next)
{
    if (effects->blame >= 0) {
        apply_blame(carrier, effects);
    }
    if (effects->retry) {
        (void)gv_budget_spend(&carrier->proxy->budget);
        gv_access_retry(&carrier->proxy->access, effects->cause);
    }
    if (effects->keep &&
        gv_kept_head(&carrier->kept, &carrier->legs[carrier->exchange.keep_leg].answer) != GV_OK) {
        gv_kept_drop(&carrier->kept); /* keep_body() or the end says so */
    }
    for (uint32_t i = 0; i < GV_EXCHANGE_LEGS_MAX; i++) {
        if (effects->cancel[i]) {
            if (effects->blame >= 0 && effects->blame != (int32_t)i) {
                gv_leg_report(carrier, &carrier->legs[i], GV_BREAKER_NEUTRAL); /* not its fault */
            }
            gv_leg_release(carrier, &carrier->legs[i]);
        }
    }
    if (effects->wait) {
        begin_pause(carrier);
        start_timer(carrier);
    } else if (effects->pick) {
        end_pause(carrier);
    }
    if (effects->forgive) {
        gv_legs_forgive(carrier, carrier->asking_back);
    }
    if (effects->relay) {
        carrier->first_byte_us = first_byte_at(carrier, effects) - carrier->client->started_us;
        gv_reply_start(carrier,
                       carrier->is_reranking ||
                               (carrier->is_merging && effects->relay_leg == GV_LEG_DECODE)
                           ? &carrier->merged.answer
                           : &carrier->legs[effects->relay_leg].answer,
                       first);
    }
    if (effects->ended) {
        apply_end(carrier, effects);
        return false;
    }
    return effects->pick && apply_pick(carrier, next);
}

void gv_carrier_run(struct gv_carrier *carrier, struct gv_exchange_event event,
                    struct gv_slice first)
{
    bool more = true;
    while (more) {
        struct gv_exchange_effects effects;
        gv_exchange_step(&carrier->exchange, &event, gv_carrier_now_ms(carrier), &effects);
        more = apply(carrier, &effects, first, &event);
    }
}

static void run(struct gv_carrier *carrier, struct gv_exchange_event event)
{
    gv_carrier_run(carrier, event, (struct gv_slice){.data = NULL, .len = 0});
}

/* ---- the upstreams' events; the carrier may be gone when run() returns ---- */

/* Does the worker ask to be called again, and when? */
static void read_retry_after(const struct gv_head *head, struct gv_exchange_event *event)
{
    uint64_t seconds = 0;
    bool told =
        gv_date_retry_after(gv_head_find(head, "retry-after"), gv_clock_wall_ms() / 1000, &seconds);
    event->asks_back = gv_exchange_asks_back(head->status, told);
    event->retry_after_ms =
        (seconds < GV_RETRY_AFTER_MAX_S ? seconds : GV_RETRY_AFTER_MAX_S) * 1000;
}

static void on_head(void *owner, uint32_t i, const struct gv_head *head)
{
    struct gv_carrier *carrier = owner;
    struct gv_leg *leg = &carrier->legs[i];
    leg->answer = *head;
    leg->has_head = true;
    struct gv_exchange_event event = {
        .kind = GV_EXCHANGE_HEAD,
        .leg = i,
        .status = head->status,
    };
    if (gv_exchange_is_retryable(head->status)) {
        read_retry_after(head, &event);
        weigh(carrier, leg->worker, &event);
    }
    if (gv_merging_is_wanted(carrier) && i == GV_LEG_DECODE && head->status / 100 == 2) {
        gv_merging_begin(carrier, head);
    } else if (carrier->plan.endpoint == GV_ENDPOINT_RERANK && head->status == 200 &&
               i == carrier->exchange.answer_leg) {
        gv_reranking_begin(carrier, head);
    }
    run(carrier, event);
}

static void on_broke(void *owner, uint32_t i, enum gv_cause cause);

static void on_body(void *owner, uint32_t i, struct gv_slice bytes)
{
    struct gv_carrier *carrier = owner;
    struct gv_leg *leg = &carrier->legs[i];
    gv_leg_first_byte(carrier, leg);
    if (carrier->exchange.keeping) {
        keep_body(carrier, i, bytes);
        return;
    }
    if (i != carrier->exchange.answer_leg) {
        if (gv_merging_is_wanted(carrier) || gv_legs_are_in_turn(carrier)) {
            gv_merge_prefill(&carrier->merge, bytes);
        }
        return; /* else what prefill says beyond its status is nobody's */
    }
    gv_usage_feed(&carrier->usage, bytes);
    if (carrier->is_merging && i == GV_LEG_DECODE) {
        gv_merging_body(carrier, bytes);
    } else if (carrier->is_reranking) {
        if (gv_reranking_body(carrier, bytes) != GV_OK) {
            on_broke(carrier, i, GV_CAUSE_BAD); /* more than any engine has to say */
        }
    } else if (carrier->relay.started) {
        gv_reply_sent(carrier, gv_relay_body(&carrier->relay, bytes, &carrier->proxy->scratch));
    } else {
        gv_carrier_run(carrier, (struct gv_exchange_event){.kind = GV_EXCHANGE_BODY, .leg = i},
                       bytes);
    }
}

/* Prefill's answer is complete, and good. The carrier may be gone. */
static void after_prefill(struct gv_carrier *carrier)
{
    if (gv_merging_is_wanted(carrier)) {
        gv_merging_prefill_end(carrier);
    } else if (gv_legs_are_in_turn(carrier) &&
               !gv_legs_hand_over(carrier, gv_slice_trim(gv_buf_slice(&carrier->merge.prefill)),
                                  &upstream_events)) {
        run(carrier, stillborn(carrier, GV_LEG_DECODE));
    }
}

/* The engine's scores are here: the client gets an answer made of them. The carrier may be gone. */
static void end_reranking(struct gv_carrier *carrier, uint32_t i)
{
    struct gv_client *client = carrier->client;
    struct gv_buf out;
    gv_buf_init(&out, GV_MEM_BUFFER, SIZE_MAX / 2);
    if (gv_reranking_end(carrier, &out) != GV_OK) {
        on_broke(carrier, i, GV_CAUSE_BAD);
    } else {
        gv_leg_release(carrier, &carrier->legs[i]);
        gv_carrier_run(carrier, (struct gv_exchange_event){.kind = GV_EXCHANGE_BODY, .leg = i},
                       gv_buf_slice(&out));
        if (client->carrier == carrier) {
            run(carrier, (struct gv_exchange_event){.kind = GV_EXCHANGE_END, .leg = i});
        }
    }
    gv_buf_deinit(&out);
}

static void on_end(void *owner, uint32_t i)
{
    struct gv_carrier *carrier = owner;
    struct gv_client *client = carrier->client;
    struct gv_leg *leg = &carrier->legs[i];
    gv_leg_first_byte(carrier, leg);
    if (carrier->is_reranking && i == carrier->exchange.answer_leg) {
        end_reranking(carrier, i);
        return;
    }
    gv_leg_release(carrier, leg);
    struct gv_exchange_event event = {.kind = GV_EXCHANGE_END, .leg = i};
    if (carrier->exchange.keeping) {
        event.kind = carrier->kept.headers != NULL ? GV_EXCHANGE_END : GV_EXCHANGE_TOO_MUCH;
        weigh(carrier, leg->worker, &event);
    } else if (carrier->is_merging && i == GV_LEG_DECODE) {
        carrier->decode_done = true;
        if (carrier->prefill_done) {
            gv_merging_go_on(carrier, (struct gv_slice){.data = NULL, .len = 0}, true);
        }
        return;
    }
    bool of_prefill = carrier->plan.leg_count == 2 && i != carrier->exchange.answer_leg &&
                      event.kind == GV_EXCHANGE_END && !carrier->exchange.keeping;
    run(carrier, event);
    if (of_prefill && client->carrier == carrier) {
        after_prefill(carrier);
    }
}

static void on_broke(void *owner, uint32_t i, enum gv_cause cause)
{
    struct gv_carrier *carrier = owner;
    struct gv_leg *leg = &carrier->legs[i];
    struct gv_exchange_event event = {.kind = GV_EXCHANGE_BROKE, .leg = i, .cause = cause};
    event.was_sent = leg->upstream.sent_us > 0 && leg->upstream.body_sent == leg->body.len;
    if (cause == GV_CAUSE_TIMEOUT && leg->upstream.body_sent > 0) {
        gv_abort_send(carrier->proxy, leg->target, leg->worker, leg->rid); /* it is still at it */
    }
    gv_leg_report(carrier, leg, GV_BREAKER_FAILED); /* before the release looks at its status */
    gv_leg_release(carrier, leg);
    weigh(carrier, gv_leg_culprit(carrier, leg, cause), &event);
    run(carrier, event);
}

static const struct gv_upstream_events upstream_events = {on_head, on_body, on_end, on_broke};

/* ---- from the client ---- */

static struct gv_carrier *make(struct gv_client *client)
{
    struct gv_proxy *proxy = client->proxy;
    const struct gv_config *config = proxy->shared->config;
    struct gv_carrier *carrier = gv_spare_take(proxy);
    if (carrier == NULL) {
        return NULL;
    }
    gv_list_init(&carrier->pause);
    carrier->client = client;
    carrier->proxy = proxy;
    carrier->outcome = "ok";
    carrier->body = client->body; /* moved */
    gv_buf_init(&client->body, GV_MEM_BUFFER, config->max_payload_bytes);
    gv_buf_init(&carrier->pair_body, GV_MEM_BUFFER, SIZE_MAX / 2);
    gv_buf_init(&carrier->decode_body, GV_MEM_BUFFER, SIZE_MAX / 2);
    gv_merge_init(&carrier->merge);
    gv_kept_init(&carrier->merged);
    gv_buf_init(&carrier->rerank, GV_MEM_BUFFER, GV_RERANK_BYTES_MAX);
    gv_kept_init(&carrier->kept);
    uint32_t attempts = config->disable_retries ? 1 : config->retry_max;
    struct gv_exchange_limits limits = {
        .max_attempts = attempts < 1 ? 1 : attempts,
        .initial_backoff_ms = config->retry_initial_backoff_ms,
        .max_backoff_ms = config->retry_max_backoff_ms,
        .backoff_multiplier = config->retry_backoff_multiplier,
        .jitter_factor = config->retry_jitter_factor,
        .total_ms = config->request_timeout_ms,
    };
    gv_exchange_init(&carrier->exchange, limits, gv_loop_now_ms(proxy->loop), ++proxy->serial);
    proxy->exchange_count += 1;
    client->carrier = carrier;
    return carrier;
}

static enum gv_problem plan(struct gv_carrier *carrier)
{
    struct gv_proxy *proxy = carrier->proxy;
    enum gv_problem problem = GV_PROBLEM_OVERLOADED;
    gv_prompt_reader_lend(proxy->reader, &carrier->body);
    enum gv_err err = gv_plan_init(&carrier->plan, proxy->shared, gv_proxy_view(proxy),
                                   proxy->reader, &proxy->text, carrier->client->endpoint,
                                   gv_buf_slice(&carrier->body), &problem);
    carrier->planned = err == GV_OK;
    if (proxy->text.room > GV_PROXY_TEXT_KEEP_BYTES) {
        gv_buf_reset(&proxy->text);
    }
    if (err != GV_OK) {
        return err == GV_ENOMEM ? GV_PROBLEM_OVERLOADED : problem;
    }
    return carrier->plan.leg_count == 2 && carrier->plan.batch_size > GV_PAIR_BATCH_MAX
               ? GV_PROBLEM_BAD_FIELD
               : GV_PROBLEM_NONE;
}

void gv_carrier_start(struct gv_client *client)
{
    struct gv_carrier *carrier = make(client);
    if (carrier == NULL) {
        leave(client->proxy);
        gv_client_answer(client, GV_PROBLEM_OVERLOADED, NULL);
        gv_client_done(client, gv_client_must_close(client));
        return;
    }
    bool waited = carrier->proxy->shared->admission != NULL;
    carrier->began_us = waited ? gv_clock_us() : client->started_us;
    gv_budget_earn(&carrier->proxy->budget);
    enum gv_problem problem = plan(carrier);
    struct gv_exchange_event event;
    if (problem != GV_PROBLEM_NONE) {
        event = (struct gv_exchange_event){.kind = GV_EXCHANGE_UNPICKED, .problem = problem};
    } else if (!apply_pick(carrier, &event)) {
        return;
    }
    run(carrier, event);
}

void gv_carrier_gone(struct gv_carrier *carrier)
{
    run(carrier, (struct gv_exchange_event){.kind = GV_EXCHANGE_GONE});
}

void gv_carrier_drain(struct gv_carrier *carrier)
{
    carrier->stalled_since_ms = 0;
    if (carrier->relay.started) {
        struct gv_leg *leg = &carrier->legs[carrier->exchange.answer_leg];
        gv_upstream_resume(&leg->upstream, gv_carrier_now_ms(carrier));
    }
}

void gv_carrier_tick(struct gv_carrier *carrier, uint64_t now)
{
    uint64_t idle_ms = carrier->proxy->shared->config->stream_idle_timeout_ms;
    struct gv_client *client = carrier->client;
    if (carrier->stalled_since_ms > 0 && idle_ms > 0 &&
        now >= carrier->stalled_since_ms + idle_ms) {
        gv_client_close(client); /* it takes nothing */
        return;
    }
    uint32_t leg_count = carrier->plan.leg_count;
    for (uint32_t i = 0; i < leg_count && client->carrier == carrier; i++) {
        gv_upstream_tick(&carrier->legs[i].upstream, now);
    }
    if (client->carrier == carrier) {
        struct gv_exchange_event event = {.kind = GV_EXCHANGE_TICK};
        if (carrier->exchange.keeping) {
            weigh(carrier, carrier->legs[carrier->exchange.keep_leg].worker, &event);
        } else if (gv_exchange_state(&carrier->exchange) == GV_EXCHANGE_BACKOFF) {
            weigh(carrier, GV_LEGS_NOBODY, &event);
        }
        run(carrier, event);
    }
}
