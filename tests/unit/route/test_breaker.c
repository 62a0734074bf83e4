#include "grapevine/route/breaker.h"
#include "support/suite.h"

static struct gv_breaker breaker_of_three(void)
{
    struct gv_breaker breaker;
    gv_breaker_init(&breaker, (struct gv_breaker_limits){.trip_count = 3, .cooldown_ms = 1000});
    return breaker;
}

static void report(struct gv_breaker *breaker, bool ok, uint64_t now_ms)
{
    uint32_t epoch = 0;
    CU_ASSERT_EQUAL_FATAL(gv_breaker_admit(breaker, now_ms, &epoch), GV_OK);
    gv_breaker_report(breaker, epoch, ok, now_ms);
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
    gv_breaker_report(&breaker, old, true, 1);
    CU_ASSERT_EQUAL(breaker.state, GV_BREAKER_OPEN);
    CU_ASSERT_STRING_EQUAL(gv_breaker_state_name(breaker.state), "open");
}

GV_SUITE("route/breaker", GV_CASE(two_failures_in_a_row_do_not_open_it_and_three_do),
         GV_CASE(a_success_between_failures_starts_the_count_anew),
         GV_CASE(after_the_cooldown_exactly_one_trial_goes_through), GV_CASE(the_trial_decides),
         GV_CASE(news_from_an_earlier_epoch_change_nothing))
