/* test_quota.c - limits of tenants: at one node exactly, at many together and never much more. */
#include "grapevine/base/prng.h"
#include "grapevine/route/quota.h"
#include "support/suite.h"
#include <math.h>
#include <string.h>

#define SECOND UINT64_C(1000000)
#define STEP   UINT64_C(1000) /* of the small worlds below */

static struct gv_quota *open_with(double per_second)
{
    struct gv_quota *quota = NULL;
    struct gv_quota_limit limit = {"acme", per_second};
    CU_ASSERT_EQUAL_FATAL(gv_quota_new(&limit, 1, 0, &quota), GV_OK);
    return quota;
}

/* Ask, whatever the answer. */
static void ask(struct gv_quota *quota, uint32_t tenant, uint64_t now_us)
{
    uint32_t wait_s;
    bool is_admitted = gv_quota_ask(quota, tenant, now_us, &wait_s);
    (void)is_admitted;
}

static void one_node_lets_the_limit_through_and_one_second_at_once(void)
{
    struct gv_quota *quota = open_with(10);
    uint32_t wait_s = 0;
    for (int i = 0; i < 10; i++) {
        CU_ASSERT_TRUE(gv_quota_ask(quota, 0, 0, &wait_s));
    }
    CU_ASSERT_FALSE(gv_quota_ask(quota, 0, 0, &wait_s));
    CU_ASSERT_EQUAL(wait_s, 1);
    CU_ASSERT_FALSE(gv_quota_ask(quota, 0, 99 * SECOND / 1000, &wait_s));
    CU_ASSERT_TRUE(gv_quota_ask(quota, 0, 101 * SECOND / 1000, &wait_s));
    gv_quota_free(quota);
}

static void less_than_one_a_second_is_a_wait_of_several(void)
{
    struct gv_quota *quota = open_with(0.25);
    uint32_t wait_s = 0;
    CU_ASSERT_TRUE(gv_quota_ask(quota, 0, 0, &wait_s));
    CU_ASSERT_FALSE(gv_quota_ask(quota, 0, 0, &wait_s));
    CU_ASSERT_EQUAL(wait_s, 4);
    CU_ASSERT_FALSE(gv_quota_ask(quota, 0, 3 * SECOND, &wait_s));
    CU_ASSERT_EQUAL(wait_s, 1);
    CU_ASSERT_TRUE(gv_quota_ask(quota, 0, 4 * SECOND + 1, &wait_s));
    gv_quota_free(quota);
}

static void tenants_do_not_disturb_each_other_and_strangers_have_no_limit(void)
{
    struct gv_quota *quota = NULL;
    struct gv_quota_limit limits[] = {{"acme", 1}, {"umbrella", 1}};
    uint32_t wait_s = 0;
    CU_ASSERT_EQUAL_FATAL(gv_quota_new(limits, 2, 0, &quota), GV_OK);
    CU_ASSERT_EQUAL(gv_quota_find(quota, "umbrella"), 1);
    CU_ASSERT_EQUAL(gv_quota_find(quota, "initech"), GV_QUOTA_NONE);
    CU_ASSERT_TRUE(gv_quota_ask(quota, 0, 0, &wait_s));
    CU_ASSERT_FALSE(gv_quota_ask(quota, 0, 0, &wait_s));
    CU_ASSERT_TRUE(gv_quota_ask(quota, 1, 0, &wait_s));
    gv_quota_free(quota);
}

static void names_and_limits_that_are_none_are_refused(void)
{
    struct gv_quota *quota = NULL;
    char long_name[GV_TENANT_NAME_MAX + 1];
    memset(long_name, 'x', GV_TENANT_NAME_MAX);
    long_name[GV_TENANT_NAME_MAX] = '\0';
    struct gv_quota_limit bad[] = {{"", 1}, {long_name, 1}, {"acme", 0}, {"acme", (double)NAN}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CU_ASSERT_EQUAL(gv_quota_new(&bad[i], 1, 0, &quota), GV_EINVAL);
    }
    struct gv_quota_limit twice[] = {{"acme", 1}, {"acme", 2}};
    CU_ASSERT_EQUAL(gv_quota_new(twice, 2, 0, &quota), GV_EINVAL);
    CU_ASSERT_EQUAL(gv_quota_new(twice, GV_TENANT_LIMITS_MAX + 1, 0, &quota), GV_EFULL);
    long_name[GV_TENANT_NAME_MAX - 1] = '\0';
    CU_ASSERT_EQUAL(gv_quota_new(&bad[1], 1, 0, &quota), GV_OK);
    gv_quota_free(quota);
}

static void demand_is_the_rate_of_asking_up_to_the_limit_and_fades(void)
{
    struct gv_quota *quota = open_with(100);
    uint64_t now_us = 0;
    for (; now_us < 20 * SECOND; now_us += SECOND / 40) {
        ask(quota, 0, now_us);
    }
    CU_ASSERT_DOUBLE_EQUAL((double)gv_quota_demand(quota, 0, now_us), 40000, 1500);
    for (uint64_t end = now_us + 20 * SECOND; now_us < end; now_us += SECOND / 400) {
        ask(quota, 0, now_us);
    }
    CU_ASSERT_EQUAL(gv_quota_demand(quota, 0, now_us), 100000);
    CU_ASSERT_EQUAL(gv_quota_demand(quota, 0, now_us + 30 * SECOND), 0);
    gv_quota_free(quota);
}

static void a_share_falls_at_once_and_rises_after_a_while(void)
{
    struct gv_quota *quota = open_with(100);
    CU_ASSERT_DOUBLE_EQUAL(gv_quota_share(quota, 0, SECOND), 100, 0.01);
    gv_quota_set_others(quota, 0, 100000, 2, SECOND);
    CU_ASSERT_DOUBLE_EQUAL(gv_quota_share(quota, 0, SECOND), 100 * 1.0 / 102, 0.01);
    gv_quota_set_others(quota, 0, 0, 2, SECOND);
    uint64_t patience_us = GV_QUOTA_PATIENCE_MS * UINT64_C(1000);
    CU_ASSERT_DOUBLE_EQUAL(gv_quota_share(quota, 0, SECOND + patience_us - 1), 100 * 1.0 / 102,
                           0.01);
    CU_ASSERT_DOUBLE_EQUAL(gv_quota_share(quota, 0, SECOND + patience_us), 100 * 1.0 / 102, 0.01);
    CU_ASSERT_DOUBLE_EQUAL(gv_quota_share(quota, 0, SECOND + 2 * patience_us), 50, 0.01);
    gv_quota_free(quota);
}

/* ---- nodes that hear of each other late ---- */

#define NODES    5
#define DELAY_US UINT64_C(80000)
#define TELL_US  UINT64_C(50000)
#define HISTORY  8

struct village {
    struct gv_quota *quotas[NODES];
    double rates[NODES];           /* requests per second that come to each */
    uint64_t told[HISTORY][NODES]; /* what each said, a ring of tellings */
    uint64_t telling;
    uint64_t admitted;
    struct gv_prng prng;
};

static void village_open(struct village *village, double limit)
{
    memset(village, 0, sizeof *village);
    gv_prng_init(&village->prng, 7);
    for (int i = 0; i < NODES; i++) {
        village->quotas[i] = open_with(limit);
        gv_quota_set_others(village->quotas[i], 0, 0, NODES, 0);
    }
}

static void village_close(struct village *village)
{
    for (int i = 0; i < NODES; i++) {
        gv_quota_free(village->quotas[i]);
    }
}

/* What was said DELAY_US ago is heard now. */
static void hear(struct village *village, uint64_t now_us)
{
    village->telling += 1;
    uint64_t late = DELAY_US / TELL_US + 1;
    for (int i = 0; i < NODES; i++) {
        village->told[village->telling % HISTORY][i] =
            gv_quota_demand(village->quotas[i], 0, now_us);
    }
    if (village->telling < late) {
        return;
    }
    const uint64_t *heard = village->told[(village->telling - late) % HISTORY];
    for (int i = 0; i < NODES; i++) {
        uint64_t others = 0;
        for (int j = 0; j < NODES; j++) {
            others += j == i ? 0 : heard[j];
        }
        gv_quota_set_others(village->quotas[i], 0, others, NODES, now_us);
    }
}

/* Requests come at random, at each node's own rate. Returns how many were admitted. */
static uint64_t live(struct village *village, uint64_t from_us, uint64_t until_us)
{
    uint64_t before = village->admitted;
    for (uint64_t now_us = from_us; now_us < until_us; now_us += STEP) {
        if (now_us % TELL_US == 0) {
            hear(village, now_us);
        }
        for (int i = 0; i < NODES; i++) {
            uint32_t wait_s;
            double chance = village->rates[i] * (double)STEP / 1e6;
            bool comes = (double)gv_prng_below(&village->prng, 1000000) < chance * 1e6;
            if (comes && gv_quota_ask(village->quotas[i], 0, now_us, &wait_s)) {
                village->admitted += 1;
            }
        }
    }
    return village->admitted - before;
}

static void many_nodes_together_let_the_limit_through_however_demand_lies(void)
{
    static const double lies[][NODES] = {
        {400, 0, 0, 0, 0}, {100, 100, 100, 100, 100}, {300, 5, 5, 0, 90}, {60, 10, 10, 20, 0.5}};
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        struct village village;
        village_open(&village, 100);
        memcpy(village.rates, lies[i], sizeof village.rates);
        (void)live(&village, 0, 10 * SECOND);
        uint64_t admitted = live(&village, 10 * SECOND, 40 * SECOND);
        double wanted = lies[i][0] + lies[i][1] + lies[i][2] + lies[i][3] + lies[i][4];
        wanted = wanted < 100 ? wanted : 100;
        CU_ASSERT_TRUE((double)admitted <= 1.05 * 30 * 100);
        CU_ASSERT_TRUE((double)admitted >= 0.90 * 30 * wanted);
        village_close(&village);
    }
}

static void while_demand_jumps_from_node_to_node_no_more_than_a_twentieth_too_much_passes(void)
{
    struct village village;
    village_open(&village, 100);
    uint64_t admitted = 0;
    for (uint64_t second = 0; second < 120; second++) {
        if (second % 3 == 0) {
            for (int i = 0; i < NODES; i++) {
                village.rates[i] = gv_prng_below(&village.prng, 3) == 0 ? 400 : 0;
            }
        }
        admitted += live(&village, second * SECOND, (second + 1) * SECOND);
    }
    CU_ASSERT_TRUE((double)admitted <= 1.05 * 120 * 100);
    CU_ASSERT_TRUE((double)admitted >= 0.5 * 120 * 100);
    village_close(&village);
}

static void nodes_that_vanish_leave_their_share_to_the_others(void)
{
    struct gv_quota *quota = open_with(100);
    for (uint64_t now_us = 0; now_us < 10 * SECOND; now_us += SECOND / 200) {
        gv_quota_set_others(quota, 0, 100000, 2, now_us);
        ask(quota, 0, now_us);
    }
    CU_ASSERT_DOUBLE_EQUAL(gv_quota_share(quota, 0, 10 * SECOND), 50, 2);
    gv_quota_set_others(quota, 0, 0, 1, 10 * SECOND);
    CU_ASSERT_DOUBLE_EQUAL(gv_quota_share(quota, 0, 10 * SECOND + SECOND / 2), 100, 0.01);
    gv_quota_free(quota);
}

/* Both sides of the limit; and whatever one node says, an honest one keeps half. */
static void nobody_is_believed_to_have_more_demand_than_the_limit(void)
{
    struct gv_quota *quota = open_with(10);
    CU_ASSERT_EQUAL(gv_quota_believe(quota, 0, 10000), 10000);
    CU_ASSERT_EQUAL(gv_quota_believe(quota, 0, 10001), 10000);
    CU_ASSERT_EQUAL(gv_quota_believe(quota, 0, UINT64_MAX), 10000);
    uint64_t now_us = 0;
    for (; now_us < 20 * SECOND; now_us += SECOND / 20) {
        ask(quota, 0, now_us);
        gv_quota_set_others(quota, 0, gv_quota_believe(quota, 0, UINT64_MAX), 2, now_us);
    }
    CU_ASSERT(gv_quota_share(quota, 0, now_us) > 4.9);
    gv_quota_free(quota);
}

GV_SUITE("route/quota", GV_CASE(one_node_lets_the_limit_through_and_one_second_at_once),
         GV_CASE(less_than_one_a_second_is_a_wait_of_several),
         GV_CASE(tenants_do_not_disturb_each_other_and_strangers_have_no_limit),
         GV_CASE(names_and_limits_that_are_none_are_refused),
         GV_CASE(demand_is_the_rate_of_asking_up_to_the_limit_and_fades),
         GV_CASE(a_share_falls_at_once_and_rises_after_a_while),
         GV_CASE(many_nodes_together_let_the_limit_through_however_demand_lies),
         GV_CASE(while_demand_jumps_from_node_to_node_no_more_than_a_twentieth_too_much_passes),
         GV_CASE(nobody_is_believed_to_have_more_demand_than_the_limit),
         GV_CASE(nodes_that_vanish_leave_their_share_to_the_others))
