/* test_policy_threads.c - loops decide at the same time, and policies with memory stay true. For
 * TSan as well. */
#include "unit/route/stage.h"

#include <pthread.h>

#define THREADS 4
#define ROUNDS  3000
#define KEYS    50 /* of each thread, and as many shared by all */

struct loop {
    struct stage *stage;
    uint64_t number;
    uint64_t strayed; /* a key of this thread alone changed its worker */
};

static uint32_t ask(const struct loop *loop, uint64_t routing_key, uint64_t random, uint64_t now_ms)
{
    struct gv_policy_request request = {.key = "prefill::m",
                                        .pool = GV_POOL_PREFILL,
                                        .prompt_bytes = random % 100000,
                                        .eligible = loop->stage->eligible,
                                        .eligible_count = loop->stage->count,
                                        .routing_key = routing_key,
                                        .random = random,
                                        .now_ms = now_ms};
    struct gv_decision decision = {0};
    gv_policy_decide(loop->stage->policy, &request, &decision);
    return decision.worker;
}

static void *loop_main(void *argument)
{
    struct loop *loop = argument;
    uint32_t workers_of[KEYS];
    struct gv_prng prng;
    memset(workers_of, 0xff, sizeof workers_of);
    gv_prng_init(&prng, loop->number);
    for (uint64_t i = 0; i < ROUNDS; i++) {
        uint64_t key = gv_prng_below(&prng, KEYS);
        uint64_t now_ms = i / 10; /* nothing is idle for 1000 ms */
        uint32_t worker = ask(loop, loop->number * 1000 + key, gv_prng_next(&prng), now_ms);
        gv_load_take(loop->stage->load, worker, 100);
        if (workers_of[key] != UINT32_MAX && workers_of[key] != worker) {
            loop->strayed += 1;
        }
        workers_of[key] = worker;
        (void)ask(loop, 1 + key, gv_prng_next(&prng), now_ms);
        gv_load_give(loop->stage->load, worker, 100);
    }
    return NULL;
}

static uint64_t run(struct stage *stage)
{
    pthread_t threads[THREADS];
    struct loop loops[THREADS];
    uint64_t strayed = 0;
    for (uint64_t i = 0; i < THREADS; i++) {
        loops[i] = (struct loop){.stage = stage, .number = i + 1};
        CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[i], NULL, loop_main, &loops[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        strayed += loops[i].strayed;
    }
    return strayed;
}

static void keys_stay_with_their_workers_while_all_loops_ask(void)
{
    for (unsigned mode = 0; mode < GV_ASSIGN_COUNT; mode++) {
        struct gv_policy_options options = usual;
        options.assignment = (enum gv_assignment)mode;
        options.manual_key_max = (THREADS + 1) * KEYS;
        struct stage stage = stage_with("manual", 8, options);
        CU_ASSERT_EQUAL(run(&stage), 0);
        stage_end(&stage);
    }
}

static void a_table_too_small_for_all_loops_loses_keys_and_nothing_else(void)
{
    struct gv_policy_options options = usual;
    options.assignment = GV_ASSIGN_MIN_GROUP;
    options.manual_key_max = KEYS;
    struct stage stage = stage_with("manual", 8, options);
    CU_ASSERT_TRUE(run(&stage) > 0);
    CU_ASSERT_EQUAL(gv_load_own_total(stage.load), 0);
    stage_end(&stage);
}

static void every_policy_may_be_asked_by_all_loops(void)
{
    for (const char *const *name = gv_policy_names(); *name != NULL; name++) {
        struct stage stage = stage_of(*name, 8);
        (void)run(&stage);
        CU_ASSERT_EQUAL(gv_load_own_total(stage.load), 0);
        stage_end(&stage);
    }
}

GV_SUITE("route/policy threads", GV_CASE(keys_stay_with_their_workers_while_all_loops_ask),
         GV_CASE(a_table_too_small_for_all_loops_loses_keys_and_nothing_else),
         GV_CASE(every_policy_may_be_asked_by_all_loops))
