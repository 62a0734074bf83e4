/*
 * test_exchange_retry.c - when another worker is tried, when the same one again, and when nobody.
 */
#include "story.h"

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

static void the_time_a_worker_asks_for_does_not_lengthen_the_wait_for_somebody_else(void)
{
    struct story story = begin(4);
    picked(&story, 1);
    happens(&story, 1,
            (struct gv_exchange_event){.kind = GV_EXCHANGE_HEAD,
                                       .status = 429,
                                       .asks_back = true,
                                       .retry_after_ms = 9000,
                                       .hope = true});
    happens(&story, 1, (struct gv_exchange_event){.kind = GV_EXCHANGE_END, .hope = true});
    time_passes_hopefully(&story, 50);
    somebody_comes(&story, 99);
    EXPECT(story, "blame 0 for status; keep 0; wait 50; wait 100; pick; ");
}

static void only_a_worker_that_asks_for_it_is_remembered_to_be_called_again(void)
{
    struct story story = begin(4);
    struct gv_exchange_effects effects;
    struct gv_exchange_event refusal = {
        .kind = GV_EXCHANGE_HEAD, .status = 429, .asks_back = true, .another = true};
    picked(&story, 1);
    gv_exchange_step(&story.exchange, &refusal, story.now_ms, &effects);
    CU_ASSERT(effects.blame == 0 && effects.asks_back);
    ends(&story, 0);
    picked(&story, 1);
    struct gv_exchange_event failure = {.kind = GV_EXCHANGE_HEAD, .status = 500};
    gv_exchange_step(&story.exchange, &failure, story.now_ms, &effects);
    CU_ASSERT(effects.blame == 0 && !effects.asks_back);
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
    "scenario/exchange_retry",
    GV_CASE(a_worker_that_dies_before_the_first_byte_is_replaced_at_once),
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
    GV_CASE(the_time_a_worker_asks_for_does_not_lengthen_the_wait_for_somebody_else),
    GV_CASE(only_a_worker_that_asks_for_it_is_remembered_to_be_called_again),
    GV_CASE(a_spent_budget_ends_the_tries),
    GV_CASE(a_pause_that_would_end_after_the_total_time_is_not_begun),
    GV_CASE(jitter_never_passes_the_maximum))
