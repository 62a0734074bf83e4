/*
 * Whole clusters in bad weather: a bounded number of seeds, each of which must agree again.
 */
#include "support/suite.h"
#include "vinesim/weather.h"

#include <string.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SEEDS        60 /* several times slower there */
#define LARGER_COUNT 3
#else
#define SEEDS        200
#define LARGER_COUNT 5
#endif

static void run_seeds(struct weather_options options, uint64_t first, uint64_t last)
{
    for (uint64_t seed = first; seed <= last; seed++) {
        struct weather_verdict verdict;
        weather_run(&options, seed, &verdict);
        if (verdict.failed) {
            printf("seed %llu: %s\n", (unsigned long long)seed, verdict.wrong);
            for (uint32_t i = 0; i < verdict.tail_count; i++) {
                printf("  %s\n", verdict.tail[i]);
            }
        }
        CU_ASSERT_FALSE(verdict.failed);
        CU_ASSERT(verdict.operations > 0);
    }
}

static void after_any_weather_the_cluster_agrees_again(void)
{
    run_seeds((struct weather_options){.seconds = 20, .loss = -1, .faults = WEATHER_ALL}, 1, SEEDS);
}

static void larger_clusters_agree_again_too(void)
{
    static const uint32_t counts[] = {12, 24, 33, 48, 64}; /* beyond 32 batches are relayed */
    for (uint64_t i = 0; i < LARGER_COUNT; i++) {
        run_seeds(
            (struct weather_options){
                .node_count = counts[i], .seconds = 5, .loss = 0.02, .faults = WEATHER_ALL},
            i + 1, i + 1);
    }
}

/* Seeds that once failed, each for a reason of its own. */
static void what_failed_once_holds(void)
{
    static const uint64_t seeds[] = {111, 152, 171, 353};
    for (size_t i = 0; i < sizeof seeds / sizeof seeds[0]; i++) {
        run_seeds((struct weather_options){.seconds = 20, .loss = -1, .faults = WEATHER_FAULTS},
                  seeds[i], seeds[i]);
    }
    /* A start that somebody heard of late; a doubt that nobody else ever heard of. */
    static const uint64_t ranged[] = {1088, 1498, 965};
    for (size_t i = 0; i < sizeof ranged / sizeof ranged[0]; i++) {
        run_seeds((struct weather_options){.node_least = 3,
                                           .node_count = 64,
                                           .seconds = 10,
                                           .loss = -1,
                                           .faults = WEATHER_FAULTS},
                  ranged[i], ranged[i]);
    }
    /* The end of a log whose middle went with its last holder: only live sets tell of that. */
    static const uint64_t gone[] = {235, 275};
    for (size_t i = 0; i < sizeof gone / sizeof gone[0]; i++) {
        run_seeds(
            (struct weather_options){.seconds = 20,
                                     .loss = -1,
                                     .faults = WEATHER_FAULTS & ~(WEATHER_CLOCK | WEATHER_SLOW)},
            gone[i], gone[i]);
    }
    /* Who came back over two sessions was asked what it says over the one that ended. */
    run_seeds(
        (struct weather_options){
            .node_least = 3, .node_count = 64, .seconds = 10, .loss = -1, .faults = WEATHER_ALL},
        1434, 1434);
    run_seeds((struct weather_options){.seconds = 20, .loss = -1, .faults = WEATHER_CORRUPT}, 9, 9);
    run_seeds((struct weather_options){.seconds = 20,
                                       .loss = -1,
                                       .faults = WEATHER_SLOW | WEATHER_RESTART | WEATHER_CRASH},
              36, 36);
}

/* Seeds that agreed late: sessions of which one direction had brought nothing whole for seconds;
 * logs of former lives that a clock a day ahead had made past. */
static void what_took_long_once_takes_seconds(void)
{
    static const uint64_t seeds[] = {1361, 312};
    for (size_t i = 0; i < sizeof seeds / sizeof seeds[0]; i++) {
        struct weather_verdict verdict;
        struct weather_options options = {
            .node_least = 3, .node_count = 64, .seconds = 10, .loss = -1, .faults = WEATHER_FAULTS};
        weather_run(&options, seeds[i], &verdict);
        CU_ASSERT_FALSE(verdict.failed);
        CU_ASSERT(verdict.converged_ms <= 8000);
    }
}

/* Comparing live sets hides what logs leave out. Where nobody starts anew and every log is whole,
 * nothing may be left for it, whatever becomes of sessions and datagrams. */
static void what_logs_bring_is_whole(void)
{
    struct weather_options options = {.seconds = 20,
                                      .loss = -1,
                                      .faults = WEATHER_CUT | WEATHER_PARTITION | WEATHER_ONEWAY |
                                                WEATHER_PAUSE | WEATHER_DUPLICATE | WEATHER_EVICT |
                                                WEATHER_RECORDS | WEATHER_FEW};
    for (uint64_t seed = 1; seed <= SEEDS / 10; seed++) {
        struct weather_verdict verdict;
        weather_run(&options, seed, &verdict);
        CU_ASSERT_FALSE(verdict.failed);
        CU_ASSERT_EQUAL(verdict.mended, 0);
        if (verdict.failed || verdict.mended != 0) {
            printf("seed %llu: %s; %llu mended\n", (unsigned long long)seed, verdict.wrong,
                   (unsigned long long)verdict.mended);
        }
    }
}

/* No loss, no fault: any death would be a false one, and fails the run. */
static void in_calm_weather_nobody_is_declared_dead(void)
{
    run_seeds((struct weather_options){.node_count = 8, .seconds = 60, .loss = 0, .faults = 0}, 1,
              3);
}

/* 5 % loss, and at any moment 1 % of the nodes stand still for 2 s: any death fails the run. */
static void nodes_that_stand_still_for_two_seconds_do_not_die(void)
{
    run_seeds(
        (struct weather_options){.node_count = 16, .seconds = 120, .loss = 0.05, .pauses = true}, 1,
        2);
}

static void sessions_that_are_cut_again_and_again_lose_nothing(void)
{
    run_seeds(
        (struct weather_options){.seconds = 20, .loss = 0, .faults = WEATHER_CUT | WEATHER_OVERRUN},
        1, 15);
}

static void one_seed_is_one_run_byte_for_byte(void)
{
    struct weather_options options = {.seconds = 20, .loss = -1, .faults = WEATHER_ALL};
    for (uint64_t seed = 500; seed < 505; seed++) {
        struct weather_verdict once, again, other;
        weather_run(&options, seed, &once);
        weather_run(&options, seed, &again);
        weather_run(&options, seed + 100, &other);
        CU_ASSERT_EQUAL(once.hash, again.hash);
        CU_ASSERT_EQUAL(once.events, again.events);
        CU_ASSERT_NOT_EQUAL(once.hash, other.hash);
    }
}

static void faults_go_by_name(void)
{
    uint32_t faults = 0;
    CU_ASSERT(weather_parse_faults("cut,pause", &faults));
    CU_ASSERT_EQUAL(faults, (uint32_t)(WEATHER_CUT | WEATHER_PAUSE));
    CU_ASSERT(weather_parse_faults(weather_fault_names(), &faults));
    CU_ASSERT_EQUAL(faults, (uint32_t)WEATHER_ALL);
    CU_ASSERT_FALSE(weather_parse_faults("cut,rain", &faults));
}

GV_SUITE("sim/vinesim", GV_CASE(after_any_weather_the_cluster_agrees_again),
         GV_CASE(larger_clusters_agree_again_too), GV_CASE(what_failed_once_holds),
         GV_CASE(what_took_long_once_takes_seconds), GV_CASE(what_logs_bring_is_whole),
         GV_CASE(in_calm_weather_nobody_is_declared_dead),
         GV_CASE(nodes_that_stand_still_for_two_seconds_do_not_die),
         GV_CASE(sessions_that_are_cut_again_and_again_lose_nothing),
         GV_CASE(one_seed_is_one_run_byte_for_byte), GV_CASE(faults_go_by_name))
