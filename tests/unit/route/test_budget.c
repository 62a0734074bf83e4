#include "grapevine/route/budget.h"
#include "support/suite.h"

static const struct gv_budget_limits tenth = {.retry_percent = 10, .reserve = 2, .burst = 5};

static void the_reserve_may_be_spent_before_any_traffic_and_no_more(void)
{
    struct gv_budget budget;
    gv_budget_init(&budget, tenth);
    CU_ASSERT_TRUE(gv_budget_spend(&budget));
    CU_ASSERT_TRUE(gv_budget_spend(&budget));
    CU_ASSERT_FALSE(gv_budget_spend(&budget));
    CU_ASSERT_EQUAL(gv_budget_left(&budget), 0);
}

static void ten_first_tries_earn_one_retry_and_nine_do_not(void)
{
    struct gv_budget budget;
    gv_budget_init(&budget,
                   (struct gv_budget_limits){.retry_percent = 10, .reserve = 0, .burst = 5});
    for (int i = 0; i < 9; i++) {
        gv_budget_earn(&budget);
    }
    CU_ASSERT_FALSE(gv_budget_spend(&budget));
    gv_budget_earn(&budget);
    CU_ASSERT_TRUE(gv_budget_spend(&budget));
    CU_ASSERT_FALSE(gv_budget_spend(&budget));
}

static void no_more_is_saved_up_than_the_burst(void)
{
    struct gv_budget budget;
    gv_budget_init(&budget, tenth);
    for (int i = 0; i < 1000; i++) {
        gv_budget_earn(&budget);
    }
    CU_ASSERT_EQUAL(gv_budget_left(&budget), 5);
}

static void when_everything_fails_retries_stay_their_share_of_the_traffic(void)
{
    struct gv_budget budget;
    gv_budget_init(&budget, tenth);
    int retries = 0;
    for (int i = 0; i < 1000; i++) {
        gv_budget_earn(&budget);
        retries += gv_budget_spend(&budget) ? 1 : 0;
    }
    CU_ASSERT_EQUAL(retries, 102); /* a tenth, and the reserve */
}

static void time_earns_the_floor_however_often_it_is_told(void)
{
    const struct gv_budget_limits limits = {
        .retry_percent = 0, .reserve = 0, .burst = 5, .floor_per_s = 2};
    struct gv_budget budget;
    gv_budget_init(&budget, limits);
    gv_budget_fill(&budget, 1000);
    for (uint64_t now_ms = 1001; now_ms <= 1499; now_ms++) {
        gv_budget_fill(&budget, now_ms);
    }
    CU_ASSERT_FALSE(gv_budget_spend(&budget));
    gv_budget_fill(&budget, 1500);
    CU_ASSERT_TRUE(gv_budget_spend(&budget));
    CU_ASSERT_FALSE(gv_budget_spend(&budget));
    gv_budget_fill(&budget, 1400); /* a clock that goes back earns nothing */
    CU_ASSERT_FALSE(gv_budget_spend(&budget));
    gv_budget_fill(&budget, UINT64_MAX);
    CU_ASSERT_EQUAL(gv_budget_left(&budget), 5);
}

GV_SUITE("route/budget", GV_CASE(the_reserve_may_be_spent_before_any_traffic_and_no_more),
         GV_CASE(ten_first_tries_earn_one_retry_and_nine_do_not),
         GV_CASE(no_more_is_saved_up_than_the_burst),
         GV_CASE(when_everything_fails_retries_stay_their_share_of_the_traffic),
         GV_CASE(time_earns_the_floor_however_often_it_is_told))
