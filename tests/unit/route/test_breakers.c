/* test_breakers.c - the breakers of a node, asked by several threads at once. */
#include "grapevine/route/breakers.h"
#include "grapevine/route/worker.h"
#include "support/suite.h"
#include <pthread.h>
#include <stdatomic.h>

#define LOOPS  4
#define ROUNDS 2000

static struct gv_breakers *breakers_of(uint32_t trips, uint32_t closes)
{
    struct gv_breakers *breakers = NULL;
    struct gv_breaker_limits limits = {
        .trip_count = trips, .close_count = closes, .window_ms = 800, .cooldown_ms = 1000};
    CU_ASSERT_EQUAL_FATAL(gv_breakers_new(limits, &breakers), GV_OK);
    return breakers;
}

static void fail(struct gv_breakers *breakers, uint32_t worker, uint64_t now_ms)
{
    uint32_t epoch = 0;
    struct gv_breaker_turn turn;
    CU_ASSERT_EQUAL_FATAL(gv_breakers_admit(breakers, worker, now_ms, &epoch, &turn), GV_OK);
    (void)gv_breakers_report(breakers, worker, epoch, GV_BREAKER_FAILED, now_ms);
}

static void failures_of_all_loops_count_together_and_only_for_their_worker(void)
{
    struct gv_breakers *breakers = breakers_of(2, 1);
    fail(breakers, 7, 5);
    CU_ASSERT_EQUAL(gv_breakers_state(breakers, 7), GV_BREAKER_CLOSED);
    fail(breakers, 7, 5);
    CU_ASSERT_EQUAL(gv_breakers_state(breakers, 7), GV_BREAKER_OPEN);
    CU_ASSERT_FALSE(gv_breakers_can_admit(breakers, 7, 6));
    CU_ASSERT_TRUE(gv_breakers_can_admit(breakers, 7 + 64, 6)); /* shares its lock */
    CU_ASSERT_TRUE(gv_breakers_can_admit(breakers, GV_WORKERS_MAX - 1, 6));
    gv_breakers_free(breakers);
}

static void a_good_answer_between_failures_is_heard_although_it_takes_no_lock_else(void)
{
    struct gv_breakers *breakers = breakers_of(2, 1);
    uint32_t epoch = 0;
    struct gv_breaker_turn turn;
    fail(breakers, 1, 5);
    CU_ASSERT_EQUAL_FATAL(gv_breakers_admit(breakers, 1, 5, &epoch, &turn), GV_OK);
    (void)gv_breakers_report(breakers, 1, epoch, GV_BREAKER_GOOD, 5);
    fail(breakers, 1, 5);
    CU_ASSERT_EQUAL(gv_breakers_state(breakers, 1), GV_BREAKER_CLOSED);
    gv_breakers_free(breakers);
}

static void a_turn_tells_from_where_to_where_it_went(void)
{
    struct gv_breakers *breakers = breakers_of(1, 1);
    uint32_t epoch = 0;
    struct gv_breaker_turn turn;
    CU_ASSERT_EQUAL_FATAL(gv_breakers_admit(breakers, 1, 5, &epoch, &turn), GV_OK);
    CU_ASSERT_EQUAL(turn.from, turn.to);
    turn = gv_breakers_report(breakers, 1, epoch, GV_BREAKER_FAILED, 5);
    CU_ASSERT_EQUAL(turn.from, GV_BREAKER_CLOSED);
    CU_ASSERT_EQUAL(turn.to, GV_BREAKER_OPEN);
    CU_ASSERT_EQUAL(gv_breakers_admit(breakers, 1, 1004, &epoch, &turn), GV_EREFUSED);
    CU_ASSERT_EQUAL(gv_breakers_admit(breakers, 1, 1005, &epoch, &turn), GV_OK);
    CU_ASSERT_EQUAL(turn.to, GV_BREAKER_TRIAL);
    CU_ASSERT_EQUAL(gv_breakers_admit(breakers, 1, 1005, &epoch, &turn), GV_EREFUSED);
    gv_breakers_free(breakers);
}

/* ---- threads ---- */

struct crowd {
    struct gv_breakers *breakers;
    pthread_barrier_t gate;
    atomic_int admitted;
    atomic_int wrong;
};

/* Every round the worker has just cooled down, and every loop wants to try it. */
static void *try_it(void *arg)
{
    struct crowd *crowd = arg;
    for (uint64_t round = 1; round <= ROUNDS; round++) {
        uint32_t epoch = 0;
        struct gv_breaker_turn turn;
        uint64_t now_ms = round * 1000;
        pthread_barrier_wait(&crowd->gate);
        bool mine = gv_breakers_can_admit(crowd->breakers, 3, now_ms) &&
                    gv_breakers_admit(crowd->breakers, 3, now_ms, &epoch, &turn) == GV_OK;
        atomic_fetch_add(&crowd->admitted, mine ? 1 : 0);
        pthread_barrier_wait(&crowd->gate);
        if (mine) { /* alone: everybody has asked */
            if (atomic_exchange(&crowd->admitted, 0) != 1) {
                atomic_fetch_add(&crowd->wrong, 1);
            }
            (void)gv_breakers_report(crowd->breakers, 3, epoch, GV_BREAKER_FAILED, now_ms);
        }
    }
    return NULL;
}

static void of_several_loops_that_want_to_try_one_may_each_time(void)
{
    struct crowd crowd = {.breakers = breakers_of(1, 1)};
    pthread_t loops[LOOPS];
    fail(crowd.breakers, 3, 0);
    CU_ASSERT_EQUAL_FATAL(pthread_barrier_init(&crowd.gate, NULL, LOOPS), 0);
    for (int i = 0; i < LOOPS; i++) {
        CU_ASSERT_EQUAL_FATAL(pthread_create(&loops[i], NULL, try_it, &crowd), 0);
    }
    for (int i = 0; i < LOOPS; i++) {
        pthread_join(loops[i], NULL);
    }
    CU_ASSERT_EQUAL(atomic_load(&crowd.wrong), 0);
    CU_ASSERT_EQUAL(atomic_load(&crowd.admitted), 0);
    pthread_barrier_destroy(&crowd.gate);
    gv_breakers_free(crowd.breakers);
}

GV_SUITE("route/breakers", GV_CASE(failures_of_all_loops_count_together_and_only_for_their_worker),
         GV_CASE(a_good_answer_between_failures_is_heard_although_it_takes_no_lock_else),
         GV_CASE(a_turn_tells_from_where_to_where_it_went),
         GV_CASE(of_several_loops_that_want_to_try_one_may_each_time))
