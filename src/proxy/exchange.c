/* exchange.c - see exchange.h. Every decision about retries, timeouts and ends is here. */
#include "grapevine/proxy/exchange.h"

#include "grapevine/base/assert.h"
#include <math.h>
#include <string.h>

static const struct gv_sm_state states[GV_EXCHANGE_STATE_COUNT] = {
    [GV_EXCHANGE_CHOOSING] = {"CHOOSING",
                              GV_SM_TO(GV_EXCHANGE_WAITING) | GV_SM_TO(GV_EXCHANGE_ENDED)},
    [GV_EXCHANGE_WAITING] = {"WAITING",
                             GV_SM_TO(GV_EXCHANGE_CHOOSING) | GV_SM_TO(GV_EXCHANGE_BACKOFF) |
                                 GV_SM_TO(GV_EXCHANGE_RELAYING) | GV_SM_TO(GV_EXCHANGE_ENDED)},
    [GV_EXCHANGE_BACKOFF] = {"BACKOFF",
                             GV_SM_TO(GV_EXCHANGE_CHOOSING) | GV_SM_TO(GV_EXCHANGE_ENDED)},
    [GV_EXCHANGE_RELAYING] = {"RELAYING", GV_SM_TO(GV_EXCHANGE_ENDED)},
    [GV_EXCHANGE_ENDED] = {"ENDED", 0},
};

static void check(const struct gv_exchange *exchange)
{
    GV_ASSERT(exchange->limits.max_attempts >= 1);
    GV_ASSERT(exchange->attempt <= exchange->limits.max_attempts);
    GV_ASSERT(exchange->leg_count <= GV_EXCHANGE_LEGS_MAX);
    for (uint32_t i = exchange->leg_count; i < GV_EXCHANGE_LEGS_MAX; i++) {
        GV_ASSERT(!exchange->legs[i].out);
    }
    if (exchange->keeping) {
        GV_ASSERT(exchange->sm.state == GV_EXCHANGE_WAITING);
        GV_ASSERT(exchange->legs[exchange->keep_leg].out);
    }
}

void gv_exchange_init(struct gv_exchange *exchange, struct gv_exchange_limits limits,
                      uint64_t now_ms, uint64_t id)
{
    memset(exchange, 0, sizeof *exchange);
    exchange->limits = limits;
    exchange->started_at_ms = now_ms;
    gv_sm_init(&exchange->sm, "exchange", states, GV_EXCHANGE_CHOOSING, id);
    check(exchange);
}

enum gv_exchange_state gv_exchange_state(const struct gv_exchange *exchange)
{
    return (enum gv_exchange_state)exchange->sm.state;
}

bool gv_exchange_asks_back(uint16_t status, bool has_retry_after)
{
    return status == 429 || (status == 503 && has_retry_after);
}

bool gv_exchange_is_retryable(uint16_t status)
{
    return status == 408 || status == 429 || status == 500 || status == 502 || status == 503 ||
           status == 504;
}

const char *gv_cause_name(enum gv_cause cause)
{
    static const char *const names[GV_CAUSE_COUNT] = {"none",   "connect", "tls",   "timeout",
                                                      "closed", "bad",     "status"};
    GV_ASSERT(cause < GV_CAUSE_COUNT);
    return names[cause];
}

static bool is_good(uint16_t status)
{
    return status >= 200 && status <= 299;
}

/* Two legs, and this one is not the client's answer. */
static bool is_side_leg(const struct gv_exchange *exchange, uint32_t leg)
{
    return leg != exchange->answer_leg;
}

static void cancel_leg(struct gv_exchange *exchange, uint32_t leg,
                       struct gv_exchange_effects *effects)
{
    if (exchange->legs[leg].out) {
        exchange->legs[leg].out = false;
        effects->cancel[leg] = true;
    }
}

static void cancel_all(struct gv_exchange *exchange, struct gv_exchange_effects *effects)
{
    for (uint32_t i = 0; i < exchange->leg_count; i++) {
        cancel_leg(exchange, i, effects);
    }
}

static void end(struct gv_exchange *exchange, struct gv_exchange_effects *effects)
{
    cancel_all(exchange, effects);
    gv_sm_move(&exchange->sm, GV_EXCHANGE_ENDED);
    effects->ended = true;
}

static void blame(struct gv_exchange *exchange, uint32_t leg, enum gv_cause cause,
                  struct gv_exchange_effects *effects)
{
    exchange->last_cause = cause;
    effects->blame = (int32_t)leg;
    effects->cause = cause;
}

/* Nothing is left to try. What a worker said is better than what we would say. */
static void give_up(struct gv_exchange *exchange, enum gv_problem problem,
                    struct gv_exchange_effects *effects)
{
    if (exchange->has_kept) {
        effects->answer_kept = true;
    } else {
        effects->answer = problem;
    }
    end(exchange, effects);
}

/* What the client is told when `leg` failed for good. */
static enum gv_problem problem_of(const struct gv_exchange *exchange, uint32_t leg,
                                  enum gv_cause cause)
{
    if (exchange->leg_count == 2 && leg == GV_LEG_PREFILL && cause != GV_CAUSE_TIMEOUT) {
        return GV_PROBLEM_PREFILL_FAILED;
    }
    switch (cause) {
    case GV_CAUSE_CONNECT:
    case GV_CAUSE_TLS:
        return GV_PROBLEM_UPSTREAM_CONNECT;
    case GV_CAUSE_TIMEOUT:
        return GV_PROBLEM_UPSTREAM_TIMEOUT;
    case GV_CAUSE_BAD:
        return GV_PROBLEM_UPSTREAM_BAD;
    case GV_CAUSE_CLOSED:
    case GV_CAUSE_STATUS:
        return GV_PROBLEM_UPSTREAM_CLOSED;
    case GV_CAUSE_NONE:
    case GV_CAUSE_COUNT:
        break;
    }
    GV_ASSERT(!"a leg fails for a reason");
    return GV_PROBLEM_INTERNAL;
}

/* How long to wait before attempt n + 1, n = 1 for the first retry; never over the maximum. */
static uint64_t backoff_ms(const struct gv_exchange_limits *limits, uint32_t attempt, double draw)
{
    double base =
        (double)limits->initial_backoff_ms * pow(limits->backoff_multiplier, (double)(attempt - 1));
    double max = (double)limits->max_backoff_ms;
    double jitter = 1.0 + limits->jitter_factor * (2.0 * draw - 1.0);
    double wait = fmin(fmin(base, max) * jitter, max);
    return wait <= 0.0 ? 0 : (uint64_t)wait;
}

static bool is_past_deadline(const struct gv_exchange *exchange, uint64_t at_ms)
{
    return exchange->limits.total_ms > 0 &&
           at_ms >= exchange->started_at_ms + exchange->limits.total_ms;
}

/* Will a worker take it that asked to be called again, soon enough? */
static bool is_called_back(const struct gv_exchange *exchange, uint64_t now_ms)
{
    return exchange->back_at_ms > 0 &&
           (exchange->back_at_ms <= now_ms ||
            exchange->back_at_ms - now_ms <= exchange->limits.max_backoff_ms);
}

/* When to look again with nobody there: after the backoff, or when the worker may be asked
 * that asked to be called again. */
static uint64_t wake_at_ms(const struct gv_exchange *exchange,
                           const struct gv_exchange_event *event, uint64_t now_ms)
{
    uint64_t at_ms = now_ms + backoff_ms(&exchange->limits, exchange->attempt, event->draw);
    return is_called_back(exchange, now_ms) && at_ms < exchange->back_at_ms ? exchange->back_at_ms
                                                                            : at_ms;
}

/* Is there an attempt, a token of the budget, time, and somebody who may take it? */
static bool can_try_again(const struct gv_exchange *exchange, const struct gv_exchange_event *event,
                          uint64_t now_ms)
{
    if (exchange->attempt >= exchange->limits.max_attempts || event->spent ||
        exchange->death_count >= GV_EXCHANGE_DEATHS_MAX) {
        return false;
    }
    return event->another || ((event->hope || is_called_back(exchange, now_ms)) &&
                              !is_past_deadline(exchange, wake_at_ms(exchange, event, now_ms)));
}

static void choose_again(struct gv_exchange *exchange, struct gv_exchange_effects *effects)
{
    gv_sm_move(&exchange->sm, GV_EXCHANGE_CHOOSING);
    effects->retry = true;
    effects->cause = exchange->last_cause;
    effects->pick = true;
}

static void pause(struct gv_exchange *exchange, const struct gv_exchange_event *event,
                  uint64_t now_ms, struct gv_exchange_effects *effects)
{
    exchange->wake_at_ms = wake_at_ms(exchange, event, now_ms);
    effects->wait = true;
}

/* Try again if that can be: at once elsewhere, or when somebody is there who may take it. */
static bool try_again(struct gv_exchange *exchange, const struct gv_exchange_event *event,
                      uint64_t now_ms, struct gv_exchange_effects *effects)
{
    if (!can_try_again(exchange, event, now_ms)) {
        return false;
    }
    exchange->keeping = false;
    cancel_all(exchange, effects);
    if (event->another) {
        choose_again(exchange, effects);
    } else {
        gv_sm_move(&exchange->sm, GV_EXCHANGE_BACKOFF);
        pause(exchange, event, now_ms, effects);
    }
    return true;
}

static void picked(struct gv_exchange *exchange, const struct gv_exchange_event *event)
{
    GV_ASSERT(gv_exchange_state(exchange) == GV_EXCHANGE_CHOOSING);
    GV_ASSERT(event->leg_count >= 1 && event->leg_count <= GV_EXCHANGE_LEGS_MAX);
    exchange->attempt += 1;
    exchange->leg_count = event->leg_count;
    exchange->answer_leg = event->leg_count - 1;
    for (uint32_t i = 0; i < event->leg_count; i++) {
        exchange->legs[i] = (struct gv_exchange_leg){.out = true};
    }
    gv_sm_move(&exchange->sm, GV_EXCHANGE_WAITING);
}

/* Nobody is there. After a failed attempt that failure is the better story. */
static void unpicked(struct gv_exchange *exchange, const struct gv_exchange_event *event,
                     struct gv_exchange_effects *effects)
{
    GV_ASSERT(gv_exchange_state(exchange) == GV_EXCHANGE_CHOOSING);
    give_up(exchange,
            exchange->last_problem == GV_PROBLEM_NONE ? event->problem : exchange->last_problem,
            effects);
}

/* The other leg is of no use any more. */
static void cancel_other(struct gv_exchange *exchange, uint32_t leg,
                         struct gv_exchange_effects *effects)
{
    if (exchange->leg_count == 2) {
        cancel_leg(exchange, 1 - leg, effects);
    }
}

/* Are the words of this answer meant for the client? What prefill says of itself is not. */
static bool is_for_client(const struct gv_exchange *exchange, const struct gv_exchange_event *event)
{
    return !is_side_leg(exchange, event->leg) || (event->status >= 400 && event->status <= 499);
}

/* An answer to try elsewhere for: before that, hear it out. */
static void keep(struct gv_exchange *exchange, const struct gv_exchange_event *event,
                 uint64_t now_ms, struct gv_exchange_effects *effects)
{
    cancel_other(exchange, event->leg, effects);
    exchange->keeping = true;
    exchange->has_kept = false;
    exchange->keep_leg = event->leg;
    exchange->keep_until_ms = now_ms + GV_EXCHANGE_KEEP_MS;
    effects->keep = true;
}

/* It has been heard, whole or not. */
static void kept(struct gv_exchange *exchange, const struct gv_exchange_event *event, bool whole,
                 uint64_t now_ms, struct gv_exchange_effects *effects)
{
    exchange->keeping = false;
    exchange->has_kept = whole;
    if (!try_again(exchange, event, now_ms, effects)) {
        give_up(exchange, GV_PROBLEM_UPSTREAM_CLOSED, effects);
    }
}

/* A status that asks to try elsewhere, before anything was passed on. true: that is being done. */
static bool refused(struct gv_exchange *exchange, const struct gv_exchange_event *event,
                    uint64_t now_ms, struct gv_exchange_effects *effects)
{
    if (event->asks_back) {
        exchange->back_at_ms = now_ms + event->retry_after_ms;
        effects->asks_back = true;
    }
    if (!can_try_again(exchange, event, now_ms)) {
        return false;
    }
    if (is_for_client(exchange, event)) {
        keep(exchange, event, now_ms, effects);
        return true;
    }
    return try_again(exchange, event, now_ms, effects);
}

static void head(struct gv_exchange *exchange, const struct gv_exchange_event *event,
                 uint64_t now_ms, struct gv_exchange_effects *effects)
{
    exchange->legs[event->leg].status = event->status;
    if (is_good(event->status)) {
        return;
    }
    bool retryable = gv_exchange_is_retryable(event->status);
    if (retryable) {
        blame(exchange, event->leg, GV_CAUSE_STATUS, effects);
    }
    if (gv_exchange_state(exchange) == GV_EXCHANGE_RELAYING) {
        /* Decode speaks already, so the prefix has been handed over: prefill's word is late. */
        GV_ASSERT(is_side_leg(exchange, event->leg));
        cancel_leg(exchange, event->leg, effects);
        return;
    }
    bool for_client = is_for_client(exchange, event);
    exchange->last_problem = for_client ? GV_PROBLEM_NONE : GV_PROBLEM_PREFILL_FAILED;
    if (retryable && refused(exchange, event, now_ms, effects)) {
        return;
    }
    if (!for_client) {
        give_up(exchange, GV_PROBLEM_PREFILL_FAILED, effects);
        return;
    }
    cancel_other(exchange, event->leg, effects);
    exchange->answer_leg = event->leg;
}

static void start_relay(struct gv_exchange *exchange, struct gv_exchange_effects *effects)
{
    effects->relay = true;
    effects->relay_leg = exchange->answer_leg;
    gv_sm_move(&exchange->sm, GV_EXCHANGE_RELAYING);
}

static void body(struct gv_exchange *exchange, const struct gv_exchange_event *event,
                 struct gv_exchange_effects *effects)
{
    if (!exchange->keeping && !is_side_leg(exchange, event->leg) &&
        gv_exchange_state(exchange) == GV_EXCHANGE_WAITING) {
        start_relay(exchange, effects);
    }
}

static void leg_end(struct gv_exchange *exchange, const struct gv_exchange_event *event,
                    uint64_t now_ms, struct gv_exchange_effects *effects)
{
    exchange->legs[event->leg].out = false;
    if (exchange->keeping) {
        kept(exchange, event, true, now_ms, effects);
        return;
    }
    if (is_side_leg(exchange, event->leg)) {
        return;
    }
    if (gv_exchange_state(exchange) == GV_EXCHANGE_WAITING) {
        start_relay(exchange, effects);
    }
    effects->finish = true;
    end(exchange, effects);
}

static void broke(struct gv_exchange *exchange, const struct gv_exchange_event *event,
                  uint64_t now_ms, struct gv_exchange_effects *effects)
{
    exchange->legs[event->leg].out = false;
    if (exchange->keeping) {
        kept(exchange, event, false, now_ms, effects); /* it was blamed for its status */
        return;
    }
    blame(exchange, event->leg, event->cause, effects);
    if (gv_exchange_state(exchange) == GV_EXCHANGE_RELAYING) {
        if (!is_side_leg(exchange, event->leg)) {
            effects->cut = true;
            end(exchange, effects);
        }
        return;
    }
    exchange->last_problem = problem_of(exchange, event->leg, event->cause);
    if (event->cause == GV_CAUSE_CLOSED && event->was_sent) {
        exchange->death_count += 1;
    }
    if (!try_again(exchange, event, now_ms, effects)) {
        give_up(exchange, exchange->last_problem, effects);
    }
}

/* In a pause: has somebody come, is the time of the one that asked to be called, or is it over? */
static void look_around(struct gv_exchange *exchange, const struct gv_exchange_event *event,
                        uint64_t now_ms, struct gv_exchange_effects *effects)
{
    bool is_over = now_ms >= exchange->wake_at_ms;
    bool is_called = exchange->back_at_ms > 0 && now_ms >= exchange->back_at_ms && is_over;
    if ((event->another || is_called) && !event->spent) {
        effects->forgive = is_called;
        exchange->back_at_ms = is_called ? 0 : exchange->back_at_ms;
        choose_again(exchange, effects);
    } else if (!is_over) {
        effects->wait = true;
    } else {
        exchange->attempt += 1; /* a pause in vain */
        if (can_try_again(exchange, event, now_ms)) {
            pause(exchange, event, now_ms, effects);
            return;
        }
        give_up(exchange,
                exchange->last_problem == GV_PROBLEM_NONE ? GV_PROBLEM_UPSTREAM_CLOSED
                                                          : exchange->last_problem,
                effects);
    }
}

static void tick(struct gv_exchange *exchange, const struct gv_exchange_event *event,
                 uint64_t now_ms, struct gv_exchange_effects *effects)
{
    if (is_past_deadline(exchange, now_ms)) {
        if (gv_exchange_state(exchange) == GV_EXCHANGE_RELAYING) {
            effects->cut = true;
        } else {
            effects->answer = GV_PROBLEM_UPSTREAM_TIMEOUT;
        }
        uint32_t silent = exchange->answer_leg;
        if (exchange->leg_count == 2 && effects->answer != GV_PROBLEM_NONE &&
            exchange->legs[GV_LEG_PREFILL].out) {
            silent = GV_LEG_PREFILL; /* decode waits for it, as we do */
        }
        if (exchange->leg_count > 0 && exchange->legs[silent].out) {
            blame(exchange, silent, GV_CAUSE_TIMEOUT, effects);
        }
        exchange->keeping = false;
        end(exchange, effects);
    } else if (exchange->keeping && now_ms >= exchange->keep_until_ms) {
        cancel_leg(exchange, exchange->keep_leg, effects);
        kept(exchange, event, false, now_ms, effects);
    } else if (gv_exchange_state(exchange) == GV_EXCHANGE_BACKOFF) {
        look_around(exchange, event, now_ms, effects);
    }
}

static void dispatch_leg_event(struct gv_exchange *exchange, const struct gv_exchange_event *event,
                               uint64_t now_ms, struct gv_exchange_effects *effects)
{
    GV_ASSERT(event->leg < GV_EXCHANGE_LEGS_MAX);
    if (!exchange->legs[event->leg].out) {
        return;
    }
    switch (event->kind) {
    case GV_EXCHANGE_HEAD:
        head(exchange, event, now_ms, effects);
        return;
    case GV_EXCHANGE_BODY:
        body(exchange, event, effects);
        return;
    case GV_EXCHANGE_END:
        leg_end(exchange, event, now_ms, effects);
        return;
    case GV_EXCHANGE_BROKE:
        broke(exchange, event, now_ms, effects);
        return;
    case GV_EXCHANGE_TOO_MUCH:
        GV_ASSERT(exchange->keeping && event->leg == exchange->keep_leg);
        cancel_leg(exchange, event->leg, effects);
        kept(exchange, event, false, now_ms, effects);
        return;
    case GV_EXCHANGE_PICKED:
    case GV_EXCHANGE_UNPICKED:
    case GV_EXCHANGE_GONE:
    case GV_EXCHANGE_TICK:
        break;
    }
    GV_ASSERT(!"not an event of a leg");
}

void gv_exchange_step(struct gv_exchange *exchange, const struct gv_exchange_event *event,
                      uint64_t now_ms, struct gv_exchange_effects *effects)
{
    check(exchange);
    *effects = (struct gv_exchange_effects){.blame = -1};
    if (gv_exchange_state(exchange) == GV_EXCHANGE_ENDED) {
        return;
    }
    switch (event->kind) {
    case GV_EXCHANGE_PICKED:
        picked(exchange, event);
        break;
    case GV_EXCHANGE_UNPICKED:
        unpicked(exchange, event, effects);
        break;
    case GV_EXCHANGE_HEAD:
    case GV_EXCHANGE_BODY:
    case GV_EXCHANGE_END:
    case GV_EXCHANGE_BROKE:
    case GV_EXCHANGE_TOO_MUCH:
        dispatch_leg_event(exchange, event, now_ms, effects);
        break;
    case GV_EXCHANGE_GONE:
        exchange->keeping = false;
        end(exchange, effects);
        break;
    case GV_EXCHANGE_TICK:
        tick(exchange, event, now_ms, effects);
        break;
    }
    check(exchange);
}
