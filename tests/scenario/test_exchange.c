/*
 * test_exchange.c - stories of requests, told to the exchange's state machine in virtual time.
 *
 * A story is a list of happenings; what the machine wants done is written down line by line and
 * compared with what the story says.
 */
#include "grapevine/proxy/exchange.h"
#include "support/suite.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct story {
    struct gv_exchange exchange;
    uint64_t now_ms;
    char told[2048];
    size_t len;
};

static void tell(struct story *story, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(story->told + story->len, sizeof story->told - story->len, format, args);
    va_end(args);
    CU_ASSERT_FATAL(len >= 0 && story->len + (size_t)len < sizeof story->told);
    story->len += (size_t)len;
}

static struct story begin(uint32_t attempts)
{
    struct story story = {.now_ms = 1000};
    struct gv_exchange_limits limits = {
        .max_attempts = attempts,
        .initial_backoff_ms = 50,
        .max_backoff_ms = 100,
        .backoff_multiplier = 2,
        .jitter_factor = 0,
        .total_ms = 10000,
    };
    gv_exchange_init(&story.exchange, limits, story.now_ms, 1);
    return story;
}

/* Something happens `after_ms`; what is to be done is written down. */
static void happens(struct story *story, uint64_t after_ms, struct gv_exchange_event event)
{
    struct gv_exchange_effects effects;
    story->now_ms += after_ms;
    gv_exchange_step(&story->exchange, &event, story->now_ms, &effects);
    if (effects.blame >= 0) {
        tell(story, "blame %d for %s; ", effects.blame, gv_cause_name(effects.cause));
    }
    if (effects.keep) {
        tell(story, "keep %u; ", story->exchange.keep_leg);
    }
    for (int i = 0; i < GV_EXCHANGE_LEGS_MAX; i++) {
        if (effects.cancel[i]) {
            tell(story, "cancel %d; ", i);
        }
    }
    if (effects.forgive) {
        tell(story, "forgive; ");
    }
    CU_ASSERT(effects.retry == effects.pick); /* what is tried is paid for, pauses are not */
    if (effects.pick) {
        tell(story, "pick; ");
    }
    if (effects.wait) {
        tell(story, "wait %u; ", (unsigned)(story->exchange.wake_at_ms - story->now_ms));
    }
    if (effects.relay) {
        tell(story, "relay %u; ", effects.relay_leg);
    }
    if (effects.finish) {
        tell(story, "finish; ");
    }
    if (effects.cut) {
        tell(story, "cut; ");
    }
    if (effects.answer_kept) {
        tell(story, "answer what was kept; ");
    }
    if (effects.answer != GV_PROBLEM_NONE) {
        tell(story, "answer %s; ", gv_problem_code(effects.answer));
    }
    if (effects.ended) {
        tell(story, "end; ");
    }
}

static void picked(struct story *story, uint32_t legs)
{
    happens(story, 0, (struct gv_exchange_event){.kind = GV_EXCHANGE_PICKED, .leg_count = legs});
}

static void head(struct story *story, uint32_t leg, uint16_t status, bool another)
{
    happens(story, 1,
            (struct gv_exchange_event){
                .kind = GV_EXCHANGE_HEAD, .leg = leg, .status = status, .another = another});
}

static void body(struct story *story, uint32_t leg)
{
    happens(story, 1, (struct gv_exchange_event){.kind = GV_EXCHANGE_BODY, .leg = leg});
}

/* The answer of `leg` is complete, and another worker is there should one be needed. */
static void ends(struct story *story, uint32_t leg)
{
    happens(story, 1,
            (struct gv_exchange_event){.kind = GV_EXCHANGE_END, .leg = leg, .another = true});
}

/* The same with nobody else there. */
static void ends_alone(struct story *story, uint32_t leg)
{
    happens(story, 1, (struct gv_exchange_event){.kind = GV_EXCHANGE_END, .leg = leg});
}

/* A worker that is alone is busy, and asks to come again later. */
static void busy(struct story *story, uint64_t retry_after_ms)
{
    happens(story, 1,
            (struct gv_exchange_event){.kind = GV_EXCHANGE_HEAD,
                                       .status = 503,
                                       .asks_back = true,
                                       .retry_after_ms = retry_after_ms});
    ends_alone(story, 0);
}

/* The worker breaks; nobody else is there, but somebody may come. */
static void breaks_hopefully(struct story *story, enum gv_cause cause)
{
    happens(story, 1,
            (struct gv_exchange_event){.kind = GV_EXCHANGE_BROKE, .cause = cause, .hope = true});
}

/* It had the whole request; another worker is there. */
static void dies(struct story *story)
{
    happens(story, 1,
            (struct gv_exchange_event){.kind = GV_EXCHANGE_BROKE,
                                       .cause = GV_CAUSE_CLOSED,
                                       .was_sent = true,
                                       .another = true});
}

static void time_passes_hopefully(struct story *story, uint64_t ms)
{
    happens(story, ms, (struct gv_exchange_event){.kind = GV_EXCHANGE_TICK, .hope = true});
}

static void somebody_comes(struct story *story, uint64_t ms)
{
    happens(story, ms,
            (struct gv_exchange_event){.kind = GV_EXCHANGE_TICK, .another = true, .hope = true});
}

static void breaks(struct story *story, uint32_t leg, enum gv_cause cause, bool another)
{
    happens(story, 1,
            (struct gv_exchange_event){
                .kind = GV_EXCHANGE_BROKE, .leg = leg, .cause = cause, .another = another});
}

static void time_passes(struct story *story, uint64_t ms)
{
    happens(story, ms, (struct gv_exchange_event){.kind = GV_EXCHANGE_TICK});
}

static void client_leaves(struct story *story)
{
    happens(story, 0, (struct gv_exchange_event){.kind = GV_EXCHANGE_GONE});
}

static void nobody_is_there(struct story *story, enum gv_problem problem)
{
    happens(story, 0, (struct gv_exchange_event){.kind = GV_EXCHANGE_UNPICKED, .problem = problem});
}

#define EXPECT(story, text) CU_ASSERT_STRING_EQUAL((story).told, text)

static void a_good_answer_is_passed_on_and_ends_it(void)
{
    struct story story = begin(3);
    picked(&story, 1);
    head(&story, 0, 200, true);
    body(&story, 0);
    body(&story, 0);
    ends(&story, 0);
    EXPECT(story, "relay 0; finish; end; ");
}

static void an_answer_without_a_body_is_passed_on_at_its_end(void)
{
    struct story story = begin(3);
    picked(&story, 1);
    head(&story, 0, 204, true);
    ends(&story, 0);
    EXPECT(story, "relay 0; finish; end; ");
}

static void a_worker_that_dies_before_the_first_byte_is_replaced_at_once(void)
{
    struct story story = begin(3);
    picked(&story, 1);
    head(&story, 0, 200, true);
    breaks(&story, 0, GV_CAUSE_CLOSED, true);
    picked(&story, 1);
    head(&story, 0, 200, true);
    body(&story, 0);
    ends(&story, 0);
    EXPECT(story, "blame 0 for closed; pick; relay 0; finish; end; ");
}

static void after_the_first_byte_nothing_is_tried_again(void)
{
    struct story story = begin(3);
    picked(&story, 1);
    head(&story, 0, 200, true);
    body(&story, 0);
    breaks(&story, 0, GV_CAUSE_TIMEOUT, true);
    EXPECT(story, "relay 0; blame 0 for timeout; cut; end; ");
}

static void
a_worker_that_failed_is_not_asked_again_and_with_nobody_who_may_come_it_ends_at_once(void)
{
    struct story story = begin(5);
    picked(&story, 1);
    breaks(&story, 0, GV_CAUSE_CONNECT, false);
    EXPECT(story, "blame 0 for connect; answer upstream_connect_failed; end; ");
    story = begin(5);
    picked(&story, 1);
    head(&story, 0, 500, false);
    body(&story, 0);
    ends_alone(&story, 0);
    EXPECT(story, "blame 0 for status; relay 0; finish; end; ");
}

static void for_somebody_who_may_come_it_waits_in_pauses_that_grow_and_count_as_attempts(void)
{
    struct story story = begin(4);
    picked(&story, 1);
    breaks_hopefully(&story, GV_CAUSE_CONNECT);
    time_passes_hopefully(&story, 49);
    time_passes_hopefully(&story, 1);
    time_passes_hopefully(&story, 100);
    time_passes_hopefully(&story, 99);
    EXPECT(story, "blame 0 for connect; wait 50; wait 1; wait 100; wait 100; wait 1; ");
    time_passes_hopefully(&story, 1);
    EXPECT(story, "blame 0 for connect; wait 50; wait 1; wait 100; wait 100; wait 1; "
                  "answer upstream_connect_failed; end; ");
}

static void who_comes_in_a_pause_is_asked_at_once(void)
{
    struct story story = begin(2);
    picked(&story, 1);
    breaks_hopefully(&story, GV_CAUSE_CONNECT);
    somebody_comes(&story, 10);
    picked(&story, 1);
    EXPECT(story, "blame 0 for connect; wait 50; pick; ");
    story = begin(3);
    picked(&story, 1);
    breaks_hopefully(&story, GV_CAUSE_CONNECT);
    happens(&story, 10, /* but not when its try could not be paid for */
            (struct gv_exchange_event){
                .kind = GV_EXCHANGE_TICK, .another = true, .hope = true, .spent = true});
    time_passes(&story, 40);
    EXPECT(story, "blame 0 for connect; wait 50; wait 40; answer upstream_connect_failed; end; ");
}

static void what_was_kept_is_said_when_nobody_came(void)
{
    struct story story = begin(2);
    picked(&story, 1);
    happens(&story, 1,
            (struct gv_exchange_event){.kind = GV_EXCHANGE_HEAD, .status = 500, .hope = true});
    happens(&story, 1, (struct gv_exchange_event){.kind = GV_EXCHANGE_END, .hope = true});
    time_passes_hopefully(&story, 50);
    EXPECT(story, "blame 0 for status; keep 0; wait 50; answer what was kept; end; ");
    story = begin(2);
    picked(&story, 1);
    happens(&story, 1,
            (struct gv_exchange_event){.kind = GV_EXCHANGE_HEAD, .status = 500, .hope = true});
    happens(&story, 1, (struct gv_exchange_event){.kind = GV_EXCHANGE_TOO_MUCH, .hope = true});
    time_passes_hopefully(&story, 50);
    EXPECT(story, "blame 0 for status; keep 0; cancel 0; wait 50; answer upstream_closed; end; ");
}

static void a_request_on_which_three_workers_died_is_given_to_no_fourth(void)
{
    struct story story = begin(5);
    for (int i = 0; i < GV_EXCHANGE_DEATHS_MAX; i++) {
        picked(&story, 1);
        dies(&story);
    }
    EXPECT(story, "blame 0 for closed; pick; blame 0 for closed; pick; blame 0 for closed; "
                  "answer upstream_closed; end; ");
    story = begin(5);
    picked(&story, 1);
    dies(&story);
    picked(&story, 1);
    dies(&story);
    picked(&story, 1);
    breaks(&story, 0, GV_CAUSE_CLOSED, true); /* before it had the request */
    picked(&story, 1);
    breaks(&story, 0, GV_CAUSE_CONNECT, true);
    EXPECT(story, "blame 0 for closed; pick; blame 0 for closed; pick; blame 0 for closed; pick; "
                  "blame 0 for connect; pick; ");
}

static void the_last_attempt_decides_what_is_said(void)
{
    struct story story = begin(2);
    picked(&story, 1);
    breaks(&story, 0, GV_CAUSE_CONNECT, true);
    picked(&story, 1);
    breaks(&story, 0, GV_CAUSE_TIMEOUT, true);
    EXPECT(story, "blame 0 for connect; pick; blame 0 for timeout; answer upstream_timeout; end; ");
}

static void a_status_that_asks_for_it_is_tried_elsewhere_and_passed_on_in_the_end(void)
{
    static const uint16_t statuses[] = {408, 429, 500, 502, 503, 504};
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        struct story story = begin(2);
        picked(&story, 1);
        head(&story, 0, statuses[i], true);
        body(&story, 0);
        ends(&story, 0);
        picked(&story, 1);
        head(&story, 0, statuses[i], true);
        body(&story, 0);
        ends(&story, 0);
        EXPECT(story, "blame 0 for status; keep 0; pick; blame 0 for status; relay 0; finish; "
                      "end; ");
    }
}

static void what_a_worker_said_is_passed_on_when_nothing_is_left_to_try(void)
{
    struct story story = begin(2);
    picked(&story, 1);
    head(&story, 0, 503, true);
    ends(&story, 0);
    nobody_is_there(&story, GV_PROBLEM_NO_AVAILABLE);
    EXPECT(story, "blame 0 for status; keep 0; pick; answer what was kept; end; ");
    story = begin(2);
    picked(&story, 1);
    head(&story, 0, 429, true);
    ends(&story, 0);
    picked(&story, 1);
    breaks(&story, 0, GV_CAUSE_CONNECT, true);
    EXPECT(story, "blame 0 for status; keep 0; pick; blame 0 for connect; answer what was kept; "
                  "end; ");
}

static void an_answer_that_can_not_be_kept_does_not_hold_up_the_next_try(void)
{
    struct story story = begin(3);
    picked(&story, 1);
    head(&story, 0, 500, true);
    happens(&story, 0, (struct gv_exchange_event){.kind = GV_EXCHANGE_TOO_MUCH, .another = true});
    picked(&story, 1);
    head(&story, 0, 500, true);
    happens(&story, GV_EXCHANGE_KEEP_MS - 1,
            (struct gv_exchange_event){.kind = GV_EXCHANGE_TICK, .another = true});
    happens(&story, 1, (struct gv_exchange_event){.kind = GV_EXCHANGE_TICK, .another = true});
    nobody_is_there(&story, GV_PROBLEM_NO_AVAILABLE);
    EXPECT(story, "blame 0 for status; keep 0; cancel 0; pick; "
                  "blame 0 for status; keep 0; cancel 0; pick; answer no_available_workers; end; ");
    story = begin(3);
    picked(&story, 1);
    head(&story, 0, 500, true);
    breaks(&story, 0, GV_CAUSE_CLOSED, true);
    picked(&story, 1);
    EXPECT(story, "blame 0 for status; keep 0; pick; ");
}

static void a_worker_that_asks_to_be_called_again_is_when_that_is_within_the_longest_backoff(void)
{
    struct story story = begin(4);
    picked(&story, 1);
    busy(&story, 70);
    time_passes(&story, 69);
    time_passes(&story, 1);
    picked(&story, 1);
    busy(&story, 101); /* its heads come 1 ms before their ends */
    EXPECT(story, "blame 0 for status; keep 0; wait 69; forgive; pick; "
                  "blame 0 for status; relay 0; finish; end; ");
    story = begin(4);
    picked(&story, 1);
    busy(&story, 100);
    time_passes(&story, 99);
    EXPECT(story, "blame 0 for status; keep 0; wait 99; forgive; pick; ");
    story = begin(4);
    picked(&story, 1);
    busy(&story, 0); /* at once: that is, after the backoff */
    time_passes(&story, 50);
    EXPECT(story, "blame 0 for status; keep 0; wait 50; forgive; pick; ");
}

static void only_429_and_503_with_a_time_ask_to_be_called_again(void)
{
    static const uint16_t statuses[] = {200, 400, 408, 500, 502, 504};
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        CU_ASSERT_FALSE(gv_exchange_asks_back(statuses[i], true));
    }
    CU_ASSERT(gv_exchange_asks_back(429, false));
    CU_ASSERT(gv_exchange_asks_back(429, true));
    CU_ASSERT(gv_exchange_asks_back(503, true));
    CU_ASSERT_FALSE(gv_exchange_asks_back(503, false));
}

static void elsewhere_nobody_waits_however_long_a_worker_asks_for(void)
{
    struct story story = begin(4);
    picked(&story, 1);
    happens(&story, 1,
            (struct gv_exchange_event){.kind = GV_EXCHANGE_HEAD,
                                       .status = 429,
                                       .asks_back = true,
                                       .retry_after_ms = 90000,
                                       .another = true});
    ends(&story, 0);
    EXPECT(story, "blame 0 for status; keep 0; pick; ");
}

static void a_spent_budget_ends_the_tries(void)
{
    struct story story = begin(5);
    picked(&story, 1);
    happens(
        &story, 1,
        (struct gv_exchange_event){
            .kind = GV_EXCHANGE_BROKE, .cause = GV_CAUSE_CONNECT, .another = true, .spent = true});
    EXPECT(story, "blame 0 for connect; answer upstream_connect_failed; end; ");
    story = begin(5);
    picked(&story, 1);
    happens(&story, 1,
            (struct gv_exchange_event){
                .kind = GV_EXCHANGE_HEAD, .status = 503, .another = true, .spent = true});
    body(&story, 0);
    ends(&story, 0);
    EXPECT(story, "blame 0 for status; relay 0; finish; end; ");
}

static void a_client_that_leaves_while_an_answer_is_kept_ends_it(void)
{
    struct story story = begin(3);
    picked(&story, 1);
    head(&story, 0, 503, true);
    client_leaves(&story);
    EXPECT(story, "blame 0 for status; keep 0; cancel 0; end; ");
    story = begin(3);
    picked(&story, 1);
    head(&story, 0, 503, true);
    time_passes(&story, 10000);
    EXPECT(story, "blame 0 for status; keep 0; blame 0 for timeout; cancel 0; "
                  "answer upstream_timeout; end; ");
}

static void what_prefill_says_of_itself_is_not_kept_but_what_it_says_of_the_request_is(void)
{
    struct story story = begin(2);
    picked(&story, 2);
    head(&story, GV_LEG_PREFILL, 500, true);
    nobody_is_there(&story, GV_PROBLEM_NO_PAIR);
    EXPECT(story, "blame 0 for status; cancel 0; cancel 1; pick; answer prefill_failed; end; ");
    story = begin(2);
    picked(&story, 2);
    head(&story, GV_LEG_PREFILL, 429, true);
    ends(&story, GV_LEG_PREFILL);
    nobody_is_there(&story, GV_PROBLEM_NO_PAIR);
    EXPECT(story, "blame 0 for status; keep 0; cancel 1; pick; answer what was kept; end; ");
}

static void a_status_that_does_not_is_passed_on_and_nobody_is_blamed(void)
{
    static const uint16_t statuses[] = {301, 400, 401, 404, 422, 501, 505};
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        struct story story = begin(2);
        picked(&story, 1);
        head(&story, 0, statuses[i], true);
        body(&story, 0);
        ends(&story, 0);
        EXPECT(story, "relay 0; finish; end; ");
    }
}

static void a_client_that_leaves_ends_every_leg(void)
{
    struct story story = begin(3);
    picked(&story, 2);
    client_leaves(&story);
    EXPECT(story, "cancel 0; cancel 1; end; ");
    ends(&story, 1);
    EXPECT(story, "cancel 0; cancel 1; end; ");
}

static void a_client_that_leaves_during_a_pause_ends_it(void)
{
    struct story story = begin(3);
    picked(&story, 1);
    breaks_hopefully(&story, GV_CAUSE_CONNECT);
    client_leaves(&story);
    time_passes(&story, 1000);
    EXPECT(story, "blame 0 for connect; wait 50; end; ");
}

static void the_total_time_holds_on_both_sides_of_its_last_millisecond(void)
{
    struct story story = begin(3);
    picked(&story, 1);
    time_passes(&story, 9999);
    EXPECT(story, "");
    time_passes(&story, 1);
    EXPECT(story, "blame 0 for timeout; cancel 0; answer upstream_timeout; end; ");
    story = begin(3);
    picked(&story, 1);
    head(&story, 0, 200, true);
    body(&story, 0);
    time_passes(&story, 9998);
    EXPECT(story, "relay 0; blame 0 for timeout; cancel 0; cut; end; ");
}

static void a_pause_that_would_end_after_the_total_time_is_not_begun(void)
{
    struct story story = begin(3);
    picked(&story, 1);
    time_passes(&story, 9950);
    breaks_hopefully(&story, GV_CAUSE_CONNECT);
    EXPECT(story, "blame 0 for connect; answer upstream_connect_failed; end; ");
    story = begin(3);
    picked(&story, 1);
    time_passes(&story, 9948);
    breaks_hopefully(&story, GV_CAUSE_CONNECT);
    EXPECT(story, "blame 0 for connect; wait 50; ");
}

static void nobody_at_the_start_is_said_at_once_and_nobody_later_is_said_as_the_failure(void)
{
    struct story story = begin(3);
    nobody_is_there(&story, GV_PROBLEM_NO_AVAILABLE);
    EXPECT(story, "answer no_available_workers; end; ");
    story = begin(3);
    picked(&story, 1);
    breaks(&story, 0, GV_CAUSE_CONNECT, true);
    nobody_is_there(&story, GV_PROBLEM_NO_AVAILABLE);
    EXPECT(story, "blame 0 for connect; pick; answer upstream_connect_failed; end; ");
}

/* ---- two legs ---- */

static void a_pair_answers_with_decode_whatever_order_its_legs_speak_in(void)
{
    struct story story = begin(3);
    picked(&story, 2);
    head(&story, GV_LEG_DECODE, 200, true);
    head(&story, GV_LEG_PREFILL, 200, true);
    body(&story, GV_LEG_PREFILL);
    ends(&story, GV_LEG_PREFILL);
    body(&story, GV_LEG_DECODE);
    ends(&story, GV_LEG_DECODE);
    EXPECT(story, "relay 1; finish; end; ");
}

static void a_prefill_that_is_late_is_ended_with_the_answer(void)
{
    struct story story = begin(3);
    picked(&story, 2);
    head(&story, GV_LEG_DECODE, 200, true);
    body(&story, GV_LEG_DECODE);
    ends(&story, GV_LEG_DECODE);
    EXPECT(story, "relay 1; cancel 0; finish; end; ");
}

static void a_failed_prefill_ends_decode_at_once_and_a_new_pair_is_tried(void)
{
    struct story story = begin(2);
    picked(&story, 2);
    head(&story, GV_LEG_DECODE, 200, true);
    breaks(&story, GV_LEG_PREFILL, GV_CAUSE_CLOSED, true);
    picked(&story, 2);
    head(&story, GV_LEG_PREFILL, 500, true);
    EXPECT(story, "blame 0 for closed; cancel 1; pick; "
                  "blame 0 for status; cancel 0; cancel 1; answer prefill_failed; end; ");
}

static void a_failed_decode_ends_prefill_at_once_and_only_decode_is_blamed(void)
{
    struct story story = begin(2);
    picked(&story, 2);
    breaks(&story, GV_LEG_DECODE, GV_CAUSE_CONNECT, true);
    picked(&story, 2);
    head(&story, GV_LEG_DECODE, 503, true);
    body(&story, GV_LEG_DECODE);
    ends(&story, GV_LEG_DECODE);
    EXPECT(story, "blame 1 for connect; cancel 0; pick; "
                  "blame 1 for status; cancel 0; relay 1; finish; end; ");
}

static void what_prefill_finds_wrong_with_the_request_is_the_answer(void)
{
    struct story story = begin(2);
    picked(&story, 2);
    head(&story, GV_LEG_PREFILL, 422, true);
    body(&story, GV_LEG_PREFILL);
    ends(&story, GV_LEG_PREFILL);
    EXPECT(story, "cancel 1; relay 0; finish; end; ");
}

static void once_decode_speaks_a_late_prefill_failure_cuts_nobody(void)
{
    struct story story = begin(2);
    picked(&story, 2);
    head(&story, GV_LEG_DECODE, 200, true);
    body(&story, GV_LEG_DECODE);
    breaks(&story, GV_LEG_PREFILL, GV_CAUSE_CLOSED, true);
    ends(&story, GV_LEG_DECODE);
    EXPECT(story, "relay 1; blame 0 for closed; finish; end; ");
    story = begin(2);
    picked(&story, 2);
    head(&story, GV_LEG_DECODE, 200, true);
    body(&story, GV_LEG_DECODE);
    head(&story, GV_LEG_PREFILL, 500, true);
    ends(&story, GV_LEG_DECODE);
    EXPECT(story, "relay 1; blame 0 for status; cancel 0; finish; end; ");
}

static void jitter_never_passes_the_maximum(void)
{
    for (int i = 0; i <= 10; i++) {
        struct story story = begin(5);
        story.exchange.limits.jitter_factor = 0.5;
        story.exchange.attempt = 3; /* 50 ms doubled twice: at the maximum of 100 */
        story.exchange.legs[0].out = false;
        picked(&story, 1);
        happens(&story, 0,
                (struct gv_exchange_event){.kind = GV_EXCHANGE_BROKE,
                                           .cause = GV_CAUSE_CONNECT,
                                           .hope = true,
                                           .draw = (double)i / 10.0001});
        uint64_t wait = story.exchange.wake_at_ms - story.now_ms;
        CU_ASSERT(wait >= 50 && wait <= 100);
    }
}

GV_SUITE(
    "scenario/exchange", GV_CASE(a_good_answer_is_passed_on_and_ends_it),
    GV_CASE(an_answer_without_a_body_is_passed_on_at_its_end),
    GV_CASE(a_worker_that_dies_before_the_first_byte_is_replaced_at_once),
    GV_CASE(after_the_first_byte_nothing_is_tried_again),
    GV_CASE(a_worker_that_failed_is_not_asked_again_and_with_nobody_who_may_come_it_ends_at_once),
    GV_CASE(for_somebody_who_may_come_it_waits_in_pauses_that_grow_and_count_as_attempts),
    GV_CASE(who_comes_in_a_pause_is_asked_at_once), GV_CASE(what_was_kept_is_said_when_nobody_came),
    GV_CASE(a_request_on_which_three_workers_died_is_given_to_no_fourth),
    GV_CASE(only_429_and_503_with_a_time_ask_to_be_called_again),
    GV_CASE(the_last_attempt_decides_what_is_said),
    GV_CASE(a_status_that_asks_for_it_is_tried_elsewhere_and_passed_on_in_the_end),
    GV_CASE(what_a_worker_said_is_passed_on_when_nothing_is_left_to_try),
    GV_CASE(an_answer_that_can_not_be_kept_does_not_hold_up_the_next_try),
    GV_CASE(a_worker_that_asks_to_be_called_again_is_when_that_is_within_the_longest_backoff),
    GV_CASE(elsewhere_nobody_waits_however_long_a_worker_asks_for),
    GV_CASE(a_spent_budget_ends_the_tries),
    GV_CASE(a_client_that_leaves_while_an_answer_is_kept_ends_it),
    GV_CASE(what_prefill_says_of_itself_is_not_kept_but_what_it_says_of_the_request_is),
    GV_CASE(a_status_that_does_not_is_passed_on_and_nobody_is_blamed),
    GV_CASE(a_client_that_leaves_ends_every_leg),
    GV_CASE(a_client_that_leaves_during_a_pause_ends_it),
    GV_CASE(the_total_time_holds_on_both_sides_of_its_last_millisecond),
    GV_CASE(a_pause_that_would_end_after_the_total_time_is_not_begun),
    GV_CASE(nobody_at_the_start_is_said_at_once_and_nobody_later_is_said_as_the_failure),
    GV_CASE(a_pair_answers_with_decode_whatever_order_its_legs_speak_in),
    GV_CASE(a_prefill_that_is_late_is_ended_with_the_answer),
    GV_CASE(a_failed_prefill_ends_decode_at_once_and_a_new_pair_is_tried),
    GV_CASE(a_failed_decode_ends_prefill_at_once_and_only_decode_is_blamed),
    GV_CASE(what_prefill_finds_wrong_with_the_request_is_the_answer),
    GV_CASE(once_decode_speaks_a_late_prefill_failure_cuts_nobody),
    GV_CASE(jitter_never_passes_the_maximum))
