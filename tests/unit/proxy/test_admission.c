/* test_admission.c - places, a bucket and a queue: who goes, who waits, who is refused. */
#include "grapevine/base/mem.h"
#include "grapevine/proxy/admission.h"
#include "support/suite.h"
#include <string.h>

#define SECOND UINT64_C(1000000)

struct guest {
    struct gv_waiter waiter; /* first */
    int turn;                /* 0: not yet */
};

static int turns;

static void on_admitted(struct gv_waiter *waiter)
{
    ((struct guest *)(void *)waiter)->turn = ++turns;
}

static struct gv_admission *open_with(uint32_t running, double per_second, uint32_t waiting)
{
    struct gv_admission *admission = NULL;
    struct gv_admission_limits limits = {running, per_second, waiting};
    turns = 0;
    CU_ASSERT_EQUAL_FATAL(gv_admission_new(limits, 0, &admission), GV_OK);
    return admission;
}

static enum gv_admission_verdict enter(struct gv_admission *admission, struct guest *guest,
                                       uint64_t now_us)
{
    *guest = (struct guest){.waiter = {.on_admitted = on_admitted}};
    return gv_admission_enter(admission, &guest->waiter, now_us);
}

static struct gv_admission_stats stats_of(struct gv_admission *admission)
{
    struct gv_admission_stats stats;
    gv_admission_stats(admission, &stats);
    return stats;
}

static void as_many_run_as_there_are_places_and_one_more_waits(void)
{
    struct gv_admission *admission = open_with(2, 0, 1);
    struct guest guests[4];
    CU_ASSERT_EQUAL(enter(admission, &guests[0], 0), GV_ADMISSION_ADMITTED);
    CU_ASSERT_EQUAL(enter(admission, &guests[1], 0), GV_ADMISSION_ADMITTED);
    CU_ASSERT_EQUAL(enter(admission, &guests[2], 0), GV_ADMISSION_WAITING);
    CU_ASSERT_EQUAL(enter(admission, &guests[3], 0), GV_ADMISSION_FULL);
    CU_ASSERT_EQUAL(stats_of(admission).running, 2);
    CU_ASSERT_EQUAL(stats_of(admission).waiting, 1);
    gv_admission_leave(admission, 0);
    CU_ASSERT_EQUAL(guests[2].turn, 1);
    CU_ASSERT_EQUAL(stats_of(admission).running, 2);
    CU_ASSERT_EQUAL(stats_of(admission).waiting, 0);
    gv_admission_leave(admission, 0);
    gv_admission_leave(admission, 0);
    CU_ASSERT_EQUAL(stats_of(admission).running, 0);
    gv_admission_free(admission);
}

static void without_a_queue_the_next_is_refused_at_once(void)
{
    struct gv_admission *admission = open_with(1, 0, 0);
    struct guest guests[2];
    CU_ASSERT_EQUAL(enter(admission, &guests[0], 0), GV_ADMISSION_ADMITTED);
    CU_ASSERT_EQUAL(enter(admission, &guests[1], 0), GV_ADMISSION_FULL);
    gv_admission_leave(admission, 0);
    CU_ASSERT_EQUAL(enter(admission, &guests[1], 0), GV_ADMISSION_ADMITTED);
    gv_admission_leave(admission, 0);
    gv_admission_free(admission);
}

static void who_waits_longest_goes_first_and_nobody_overtakes(void)
{
    struct gv_admission *admission = open_with(1, 0, 10);
    struct guest guests[5];
    CU_ASSERT_EQUAL(enter(admission, &guests[0], 0), GV_ADMISSION_ADMITTED);
    for (int i = 1; i < 5; i++) {
        CU_ASSERT_EQUAL(enter(admission, &guests[i], 0), GV_ADMISSION_WAITING);
    }
    CU_ASSERT_TRUE(gv_admission_withdraw(admission, &guests[2].waiter, false));
    for (int i = 0; i < 4; i++) {
        gv_admission_leave(admission, 0);
    }
    CU_ASSERT_EQUAL(guests[1].turn, 1);
    CU_ASSERT_EQUAL(guests[2].turn, 0);
    CU_ASSERT_EQUAL(guests[3].turn, 2);
    CU_ASSERT_EQUAL(guests[4].turn, 3);
    CU_ASSERT_EQUAL(stats_of(admission).running, 0);
    gv_admission_free(admission);
}

/* Its turn and its leaving cross: the permit is in the hands of whoever hears of the turn. */
static void who_withdraws_too_late_still_holds_a_permit(void)
{
    struct gv_admission *admission = open_with(1, 0, 1);
    struct guest guests[2];
    CU_ASSERT_EQUAL(enter(admission, &guests[0], 0), GV_ADMISSION_ADMITTED);
    CU_ASSERT_EQUAL(enter(admission, &guests[1], 0), GV_ADMISSION_WAITING);
    gv_admission_leave(admission, 0);
    CU_ASSERT_FALSE(gv_admission_withdraw(admission, &guests[1].waiter, true));
    CU_ASSERT_EQUAL(stats_of(admission).running, 1);
    gv_admission_leave(admission, 0);
    gv_admission_free(admission);
}

static void the_bucket_holds_one_second_and_fills_with_time(void)
{
    struct gv_admission *admission = open_with(0, 2, 10);
    struct guest guests[5];
    CU_ASSERT_EQUAL(enter(admission, &guests[0], 0), GV_ADMISSION_ADMITTED);
    CU_ASSERT_EQUAL(enter(admission, &guests[1], 0), GV_ADMISSION_ADMITTED);
    CU_ASSERT_EQUAL(enter(admission, &guests[2], 0), GV_ADMISSION_WAITING);
    gv_admission_leave(admission, 0); /* a place is no token */
    gv_admission_leave(admission, 0);
    CU_ASSERT_EQUAL(guests[2].turn, 0);
    gv_admission_tick(admission, SECOND / 2 - 1);
    CU_ASSERT_EQUAL(guests[2].turn, 0);
    gv_admission_tick(admission, SECOND / 2);
    CU_ASSERT_EQUAL(guests[2].turn, 1);
    CU_ASSERT_EQUAL(enter(admission, &guests[3], SECOND * 3600), GV_ADMISSION_ADMITTED);
    CU_ASSERT_EQUAL(enter(admission, &guests[4], SECOND * 3600), GV_ADMISSION_ADMITTED);
    CU_ASSERT_EQUAL(enter(admission, &guests[0], SECOND * 3600), GV_ADMISSION_WAITING);
    CU_ASSERT_EQUAL(enter(admission, &guests[1], SECOND * 3599), GV_ADMISSION_WAITING);
    gv_admission_tick(admission, SECOND * 3601);
    CU_ASSERT_EQUAL(guests[0].turn, 2);
    CU_ASSERT_EQUAL(guests[1].turn, 3);
    while (stats_of(admission).running > 0) {
        gv_admission_leave(admission, SECOND * 3601);
    }
    gv_admission_free(admission);
}

static void a_rate_below_one_lets_one_through_at_a_time(void)
{
    struct gv_admission *admission = open_with(0, 0.5, 0);
    struct guest guest;
    CU_ASSERT_EQUAL(enter(admission, &guest, 0), GV_ADMISSION_ADMITTED);
    gv_admission_leave(admission, 0);
    CU_ASSERT_EQUAL(enter(admission, &guest, 2 * SECOND - 1), GV_ADMISSION_FULL);
    CU_ASSERT_EQUAL(enter(admission, &guest, 2 * SECOND), GV_ADMISSION_ADMITTED);
    gv_admission_leave(admission, 2 * SECOND);
    gv_admission_free(admission);
}

static void out_of_memory_is_said_and_leaves_nothing(void)
{
    struct gv_admission *admission = NULL;
    struct gv_admission_limits limits = {1, 0, 1};
    size_t before = gv_mem_used(GV_MEM_GENERAL);
    gv_mem_fail_nth(1);
    CU_ASSERT_EQUAL(gv_admission_new(limits, 0, &admission), GV_ENOMEM);
    gv_mem_fail_nth(0);
    CU_ASSERT_PTR_NULL(admission);
    CU_ASSERT_EQUAL(gv_mem_used(GV_MEM_GENERAL), before);
    gv_admission_free(NULL);
}

GV_SUITE("proxy/admission", GV_CASE(as_many_run_as_there_are_places_and_one_more_waits),
         GV_CASE(without_a_queue_the_next_is_refused_at_once),
         GV_CASE(who_waits_longest_goes_first_and_nobody_overtakes),
         GV_CASE(who_withdraws_too_late_still_holds_a_permit),
         GV_CASE(the_bucket_holds_one_second_and_fills_with_time),
         GV_CASE(a_rate_below_one_lets_one_through_at_a_time),
         GV_CASE(out_of_memory_is_said_and_leaves_nothing))
