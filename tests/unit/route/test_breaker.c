#include "grapevine/route/breaker.h"
#include "support/suite.h"

static struct gv_breaker breaker_of(uint32_t trips, uint32_t closes)
{
    struct gv_breaker breaker;
    gv_breaker_init(&breaker, (struct gv_breaker_limits){.trip_count = trips,
                                                         .close_count = closes,
                                                         .window_ms = 800,
                                                         .cooldown_ms = 1000});
    return breaker;
}

static struct gv_breaker breaker_of_three(void)
{
    return breaker_of(3, 1);
}

static void judge(struct gv_breaker *breaker, enum gv_breaker_outcome outcome, uint64_t now_ms)
{
    uint32_t epoch = 0;
    CU_ASSERT_EQUAL_FATAL(gv_breaker_admit(breaker, now_ms, &epoch), GV_OK);
    gv_breaker_report(breaker, epoch, outcome, now_ms);
}

static void report(struct gv_breaker *breaker, bool ok, uint64_t now_ms)
{
    judge(breaker, ok ? GV_BREAKER_GOOD : GV_BREAKER_FAILED, now_ms);
}

static struct gv_breaker breaker_opened_at(uint64_t now_ms)
{
    struct gv_breaker breaker = breaker_of_three();
    for (int i = 0; i < 3; i++) {
        report(&breaker, false, now_ms);
    }
    CU_ASSERT_EQUAL(breaker.state, GV_BREAKER_OPEN);
    return breaker;
}

static void two_failures_in_a_row_do_not_open_it_and_three_do(void)
{
    struct gv_breaker breaker = breaker_of_three();
    report(&breaker, false, 5);
    report(&breaker, false, 5);
    CU_ASSERT_TRUE(gv_breaker_can_admit(&breaker, 5));
    report(&breaker, false, 5);
    CU_ASSERT_FALSE(gv_breaker_can_admit(&breaker, 5));
}

static void a_success_between_failures_starts_the_count_anew(void)
{
    struct gv_breaker breaker = breaker_of_three();
    report(&breaker, false, 5);
    report(&breaker, false, 5);
    report(&breaker, true, 5);
    report(&breaker, false, 5);
    report(&breaker, false, 5);
    CU_ASSERT_EQUAL(breaker.state, GV_BREAKER_CLOSED);
}

static void after_the_cooldown_exactly_one_trial_goes_through(void)
{
    struct gv_breaker breaker = breaker_opened_at(50);
    uint32_t epoch;
    CU_ASSERT_EQUAL(gv_breaker_admit(&breaker, 1049, &epoch), GV_EREFUSED);
    CU_ASSERT_FALSE(gv_breaker_can_admit(&breaker, 1049));
    CU_ASSERT_TRUE(gv_breaker_can_admit(&breaker, 1050));
    CU_ASSERT_EQUAL(gv_breaker_admit(&breaker, 1050, &epoch), GV_OK);
    CU_ASSERT_EQUAL(gv_breaker_admit(&breaker, 1050, &epoch), GV_EREFUSED);
}

static void the_trial_decides(void)
{
    struct gv_breaker breaker = breaker_opened_at(0);
    report(&breaker, true, 1000);
    CU_ASSERT_EQUAL(breaker.state, GV_BREAKER_CLOSED);
    breaker = breaker_opened_at(0);
    report(&breaker, false, 1000);
    CU_ASSERT_EQUAL(breaker.state, GV_BREAKER_OPEN);
    CU_ASSERT_FALSE(gv_breaker_can_admit(&breaker, 1999));
    CU_ASSERT_TRUE(gv_breaker_can_admit(&breaker, 2000));
}

static void news_from_an_earlier_epoch_change_nothing(void)
{
    struct gv_breaker breaker = breaker_of_three();
    uint32_t old = 99;
    CU_ASSERT_EQUAL(gv_breaker_admit(&breaker, 0, &old), GV_OK);
    for (int i = 0; i < 3; i++) {
        report(&breaker, false, 0);
    }
    gv_breaker_report(&breaker, old, GV_BREAKER_GOOD, 1);
    CU_ASSERT_EQUAL(breaker.state, GV_BREAKER_OPEN);
    CU_ASSERT_STRING_EQUAL(gv_breaker_state_name(breaker.state), "open");
}

/* 800 ms in eight slices of 100: what failed in the slice of 0..99 counts until 799, not at 800. */
static void a_failure_counts_for_the_length_of_the_window(void)
{
    struct gv_breaker breaker = breaker_of_three();
    report(&breaker, false, 0);
    report(&breaker, false, 99);
    report(&breaker, false, 799);
    CU_ASSERT_EQUAL(breaker.state, GV_BREAKER_OPEN);
    breaker = breaker_of_three();
    report(&breaker, false, 0);
    report(&breaker, false, 99);
    report(&breaker, false, 800);
    report(&breaker, false, 801);
    CU_ASSERT_EQUAL(breaker.state, GV_BREAKER_CLOSED);
    report(&breaker, false, 1599);
    CU_ASSERT_EQUAL(breaker.state, GV_BREAKER_OPEN);
}

static void a_worker_that_fails_now_and_then_is_never_shut_out(void)
{
    struct gv_breaker breaker = breaker_of_three();
    for (uint64_t at_ms = 0; at_ms < 1000000; at_ms += 401) {
        report(&breaker, false, at_ms);
        CU_ASSERT_EQUAL_FATAL(breaker.state, GV_BREAKER_CLOSED);
    }
}

static void what_is_neutral_counts_neither_way(void)
{
    struct gv_breaker breaker = breaker_of_three();
    report(&breaker, false, 5);
    report(&breaker, false, 5);
    for (int i = 0; i < 100; i++) {
        judge(&breaker, GV_BREAKER_NEUTRAL, 5);
    }
    CU_ASSERT_EQUAL(breaker.state, GV_BREAKER_CLOSED);
    report(&breaker, false, 5);
    CU_ASSERT_EQUAL(breaker.state, GV_BREAKER_OPEN);
    judge(&breaker, GV_BREAKER_NEUTRAL, 1005);
    CU_ASSERT_EQUAL(breaker.state, GV_BREAKER_TRIAL);
    CU_ASSERT_TRUE(gv_breaker_can_admit(&breaker, 1005)); /* the next one may try */
}

static void it_takes_close_count_good_trials_in_a_row_one_at_a_time(void)
{
    struct gv_breaker breaker = breaker_of(1, 3);
    report(&breaker, false, 0);
    report(&breaker, true, 1000);
    report(&breaker, true, 1000);
    CU_ASSERT_EQUAL(breaker.state, GV_BREAKER_TRIAL);
    uint32_t epoch;
    uint32_t other;
    CU_ASSERT_EQUAL(gv_breaker_admit(&breaker, 1000, &epoch), GV_OK);
    CU_ASSERT_EQUAL(gv_breaker_admit(&breaker, 9000, &other), GV_EREFUSED);
    gv_breaker_report(&breaker, epoch, GV_BREAKER_GOOD, 1001);
    CU_ASSERT_EQUAL(breaker.state, GV_BREAKER_CLOSED);

    report(&breaker, false, 2000);
    report(&breaker, true, 3000);
    report(&breaker, true, 3000);
    report(&breaker, false, 3000);
    CU_ASSERT_EQUAL(breaker.state, GV_BREAKER_OPEN);
    report(&breaker, true, 4000);
    report(&breaker, true, 4000);
    CU_ASSERT_EQUAL(breaker.state, GV_BREAKER_TRIAL); /* counted anew */
    report(&breaker, true, 4000);
    CU_ASSERT_EQUAL(breaker.state, GV_BREAKER_CLOSED);
}

static void
a_failure_heard_of_counts_once_while_closed_and_once_it_is_open_begins_its_pause_anew(void)
{
    struct gv_breaker breaker = breaker_of_three();
    gv_breaker_hear_failure(&breaker, 5);
    gv_breaker_hear_failure(&breaker, 5);
    CU_ASSERT_EQUAL(breaker.state, GV_BREAKER_CLOSED);
    gv_breaker_hear_failure(&breaker, 5);
    CU_ASSERT_EQUAL(breaker.state, GV_BREAKER_OPEN);
    gv_breaker_hear_failure(&breaker, 800);
    CU_ASSERT_FALSE(gv_breaker_can_admit(&breaker, 1799));
    CU_ASSERT_TRUE(gv_breaker_can_admit(&breaker, 1800));
    gv_breaker_hear_failure(&breaker, 400); /* a loop whose clock is a little behind */
    CU_ASSERT_TRUE(gv_breaker_can_admit(&breaker, 1800));
}

static void a_failure_heard_of_leaves_a_trial_that_is_out_its_own_word(void)
{
    struct gv_breaker breaker = breaker_opened_at(5);
    breaker.limits.close_count = 2;
    uint32_t epoch = 0;
    CU_ASSERT_EQUAL_FATAL(gv_breaker_admit(&breaker, 1005, &epoch), GV_OK);
    gv_breaker_hear_failure(&breaker, 1006);
    CU_ASSERT_EQUAL(breaker.state, GV_BREAKER_TRIAL);
    gv_breaker_report(&breaker, epoch, GV_BREAKER_GOOD, 1007);
    CU_ASSERT_EQUAL(breaker.state, GV_BREAKER_TRIAL);
    gv_breaker_hear_failure(&breaker, 1008); /* between two trials */
    CU_ASSERT_EQUAL(breaker.state, GV_BREAKER_OPEN);
}

GV_SUITE(
    "route/breaker",
    GV_CASE(a_failure_heard_of_counts_once_while_closed_and_once_it_is_open_begins_its_pause_anew),
    GV_CASE(a_failure_heard_of_leaves_a_trial_that_is_out_its_own_word),
    GV_CASE(two_failures_in_a_row_do_not_open_it_and_three_do),
    GV_CASE(a_success_between_failures_starts_the_count_anew),
    GV_CASE(after_the_cooldown_exactly_one_trial_goes_through), GV_CASE(the_trial_decides),
    GV_CASE(news_from_an_earlier_epoch_change_nothing),
    GV_CASE(a_failure_counts_for_the_length_of_the_window),
    GV_CASE(a_worker_that_fails_now_and_then_is_never_shut_out),
    GV_CASE(what_is_neutral_counts_neither_way),
    GV_CASE(it_takes_close_count_good_trials_in_a_row_one_at_a_time))
