/* Loops match and record while the mesh applies and the sweeper evicts: meant for TSan as well. */
#include "grapevine/base/prng.h"
#include "grapevine/route/fleet.h"
#include "grapevine/route/forest.h"
#include "grapevine/route/load.h"
#include "support/suite.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#define THREADS 4
#define ROUNDS  1500
#define BLOCKS  40
#define WALL    ((GV_STAMP_EPOCH_S + 1000) * 1000)
#define CAP     (16u << 20)

static const char *const keys[2] = {"prefill::m", "decode::m"};

struct shared {
    struct gv_forest *forest;
    struct gv_forest *mirror; /* applies what is recorded in the first */
    uint64_t seed;
    uint64_t too_deep; /* depths above the prompt's length */
};

static void *loop_main(void *argument)
{
    struct shared *shared = argument;
    struct gv_prng prng;
    gv_prng_init(&prng, shared->seed);
    for (uint64_t i = 0; i < ROUNDS; i++) {
        /* Few heads, so that threads meet in the same runs; the tails are unique. */
        uint64_t chain[BLOCKS];
        uint64_t head = gv_prng_below(&prng, 8);
        for (uint64_t j = 0; j < BLOCKS; j++) {
            chain[j] = j < 10 ? 1000 * (head + 1) + j : gv_prng_next(&prng) | 1;
        }
        static const uint32_t workers[6] = {0, 1, 2, 3, 4, 5};
        uint32_t depths[6];
        const char *key = keys[gv_prng_below(&prng, 2)];
        uint64_t now = WALL + i * 50;
        gv_forest_match(shared->forest, key, chain, BLOCKS, workers, 6, depths);
        for (int j = 0; j < 6; j++) {
            shared->too_deep += depths[j] > BLOCKS ? 1 : 0;
        }
        struct gv_operation op;
        uint32_t worker = (uint32_t)gv_prng_below(&prng, 6);
        if (gv_forest_record(shared->forest, key, chain, BLOCKS, worker, now, &op)) {
            (void)!gv_forest_apply(shared->mirror, &op, now);
        }
        if (i % 300 == 299) {
            gv_forest_forget(shared->forest, "*", worker, GV_FLOOR_RESTARTED, now, &op);
            (void)!gv_forest_apply(shared->mirror, &op, now);
        }
    }
    return NULL;
}

static void *sweep_main(void *argument)
{
    struct shared *shared = argument;
    for (uint64_t i = 0; i < ROUNDS / 4; i++) {
        struct gv_operation ops[8];
        struct gv_forest_stats stats;
        uint32_t made = gv_forest_sweep(shared->forest, WALL + i * 200 + 30000, ops, 8);
        for (uint32_t j = 0; j < made; j++) {
            (void)!gv_forest_apply(shared->mirror, &ops[j], WALL + i * 200);
        }
        gv_forest_stats(shared->forest, &stats);
        shared->too_deep += stats.bytes > CAP ? 1 : 0;
    }
    return NULL;
}

static struct gv_forest *forest_of(size_t max_bytes)
{
    struct gv_forest *forest = NULL;
    struct gv_forest_limits limits = {.max_bytes = max_bytes,
                                      .touch_interval_s = 5,
                                      .max_keys = 8,
                                      .worker_blocks = 20000,
                                      .min_age_s = 10,
                                      .max_ahead_s = 600};
    CU_ASSERT_EQUAL_FATAL(gv_forest_new(limits, &forest), GV_OK);
    return forest;
}

static void two_forests_fed_by_many_threads_end_equal(void)
{
    struct gv_forest *forest = forest_of(CAP);
    struct gv_forest *mirror = forest_of(64 << 20);
    struct shared shared[THREADS + 1];
    pthread_t threads[THREADS + 1];
    for (uint64_t i = 0; i <= THREADS; i++) {
        shared[i] = (struct shared){.forest = forest, .mirror = mirror, .seed = i + 1};
        CU_ASSERT_EQUAL_FATAL(
            pthread_create(&threads[i], NULL, i < THREADS ? loop_main : sweep_main, &shared[i]), 0);
    }
    for (int i = 0; i <= THREADS; i++) {
        pthread_join(threads[i], NULL);
        CU_ASSERT_EQUAL(shared[i].too_deep, 0);
    }
    static const uint64_t url_hash[6] = {1, 2, 3, 4, 5, 6};
    struct gv_forest_digest a;
    struct gv_forest_digest b;
    gv_forest_digest(forest, url_hash, 6, &a);
    gv_forest_digest(mirror, url_hash, 6, &b);
    struct gv_forest_stats stats;
    gv_forest_stats(forest, &stats);
    CU_ASSERT_EQUAL(stats.refused, 0);
    CU_ASSERT_EQUAL(a.lo, b.lo);
    CU_ASSERT_EQUAL(a.hi, b.hi);
    CU_ASSERT_TRUE(stats.entries > 0);
    gv_forest_free(mirror);
    gv_forest_free(forest);
}

/*
 * One path is held all the time, while others write: runs that hang on it come and go, its own run
 * is prolonged and cut, spans come and go on it, the index is rebuilt. A match takes no lock; it
 * must see the whole path every single time, and never more than there is.
 */
#define KEPT   200
#define KEEPER 9
struct kept {
    struct gv_forest *forest;
    uint64_t seed;
    _Atomic bool is_over;
    uint64_t matches;
    uint64_t wrong;
};

static uint64_t kept_chain[KEPT + BLOCKS];
static const uint64_t path_of_four[4] = {11, 12, 13, 14};

static void *match_kept(void *argument)
{
    struct kept *kept = argument;
    static const uint32_t workers[7] = {KEEPER, 0, 1, 2, 3, 4, 5};
    while (!kept->is_over || kept->matches < ROUNDS) {
        uint32_t depths[7];
        uint32_t count = kept->matches % 2 == 0 ? KEPT + BLOCKS : KEPT;
        gv_forest_match(kept->forest, keys[0], kept_chain, count, workers, 7, depths);
        kept->wrong += depths[0] != KEPT ? 1 : 0;
        for (int i = 1; i < 7; i++) {
            kept->wrong += depths[i] > count ? 1 : 0;
        }
        kept->matches++;
    }
    return NULL;
}

static void *write_around(void *argument)
{
    struct kept *kept = argument;
    struct gv_prng prng;
    struct gv_operation op;
    gv_prng_init(&prng, kept->seed);
    for (uint64_t i = 0; i < ROUNDS; i++) {
        uint64_t chain[KEPT + BLOCKS];
        uint64_t shared = gv_prng_below(&prng, 4) == 0 ? KEPT : gv_prng_below(&prng, KEPT);
        for (uint64_t j = 0; j < KEPT + BLOCKS; j++) {
            chain[j] = j < shared ? kept_chain[j] : gv_prng_next(&prng) | 1;
        }
        uint32_t count = (uint32_t)(shared + 1 + gv_prng_below(&prng, BLOCKS));
        uint32_t worker = (uint32_t)gv_prng_below(&prng, 6);
        uint64_t now = WALL + i * 50;
        (void)gv_forest_record(kept->forest, keys[0], chain, count, worker, now, &op);
        if (i % 40 == 39) {
            struct gv_operation ops[4];
            gv_forest_forget(kept->forest, keys[0], worker, GV_FLOOR_RESTARTED, now, &op);
            (void)gv_forest_sweep(kept->forest, now + 60000, ops, 4);
        }
    }
    return NULL;
}

static void a_match_sees_what_stays_held_whatever_is_written_around_it(void)
{
    struct gv_forest *forest = forest_of(CAP);
    struct gv_operation op;
    struct gv_prng prng;
    gv_prng_init(&prng, 99);
    for (uint32_t i = 0; i < KEPT + BLOCKS; i++) {
        kept_chain[i] = gv_prng_next(&prng) | 1;
    }
    gv_forest_set_capacity(forest, KEEPER, UINT64_MAX);
    CU_ASSERT_TRUE_FATAL(gv_forest_record(forest, keys[0], kept_chain, KEPT, KEEPER, WALL, &op));
    static struct kept kept[THREADS];
    pthread_t threads[THREADS];
    for (uint64_t i = 0; i < THREADS; i++) {
        kept[i] = (struct kept){.forest = forest, .seed = i + 1};
        CU_ASSERT_EQUAL_FATAL(
            pthread_create(&threads[i], NULL, i < 2 ? write_around : match_kept, &kept[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        if (i == 2) { /* the writers are done */
            kept[2].is_over = true;
            kept[3].is_over = true;
        }
        pthread_join(threads[i], NULL);
        CU_ASSERT_EQUAL(kept[i].wrong, 0);
    }
    struct gv_forest_stats stats;
    gv_forest_stats(forest, &stats);
    CU_ASSERT_EQUAL(stats.refused, 0);
    CU_ASSERT_TRUE(stats.swept > 1000);
    gv_forest_free(forest);
}

static void *match_once(void *argument)
{
    uint32_t worker = KEEPER;
    uint32_t depth;
    gv_forest_match(argument, keys[0], kept_chain, 1, &worker, 1, &depth);
    return NULL;
}

/* The first threads of a process that read each count in a place of their own, the others in one
 * that they share: as many as there are places come first and go. */
static void what_stays_held_is_seen_by_threads_that_come_late_too(void)
{
    struct gv_forest *forest = forest_of(CAP);
    struct gv_operation op;
    CU_ASSERT_TRUE(gv_forest_record(forest, keys[0], path_of_four, 4, KEEPER, WALL, &op));
    for (int i = 0; i < 16; i++) {
        pthread_t thread;
        CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, match_once, forest), 0);
        pthread_join(thread, NULL);
    }
    gv_forest_free(forest);
    a_match_sees_what_stays_held_whatever_is_written_around_it();
}

static uint32_t found(struct gv_forest *forest, const char *key)
{
    uint32_t worker = 3;
    uint32_t depth;
    gv_forest_match(forest, key, path_of_four, 4, &worker, 1, &depth);
    return depth;
}

/* A thread remembers the trie that it asked last: neither another forest's, nor another key's, nor
 * one of a forest that is gone may answer. */
static void each_forest_and_each_key_answers_for_itself(void)
{
    struct gv_forest *one = forest_of(CAP);
    struct gv_forest *two = forest_of(CAP);
    struct gv_operation op;
    CU_ASSERT_TRUE(gv_forest_record(one, keys[0], path_of_four, 4, 3, WALL, &op));
    CU_ASSERT_TRUE(gv_forest_record(one, keys[1], path_of_four, 3, 3, WALL, &op));
    CU_ASSERT_TRUE(gv_forest_record(two, keys[0], path_of_four, 2, 3, WALL, &op));
    for (int i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(found(one, keys[0]), 4);
        CU_ASSERT_EQUAL(found(two, keys[0]), 2);
        CU_ASSERT_EQUAL(found(one, keys[1]), 3);
        CU_ASSERT_EQUAL(found(two, keys[1]), 0);
    }
    CU_ASSERT_EQUAL(found(one, keys[0]), 4);
    gv_forest_free(one);
    struct gv_forest *next = forest_of(CAP); /* most likely where the one was */
    CU_ASSERT_EQUAL(found(next, keys[0]), 0);
    gv_forest_free(next);
    gv_forest_free(two);
}

struct table {
    struct gv_fleet *fleet;
    struct gv_load_table *load;
    uint64_t bad;
};

static void *read_fleet(void *argument)
{
    struct table *table = argument;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        const struct gv_fleet_view *view = gv_fleet_acquire(table->fleet);
        table->bad += view->version > gv_fleet_version(table->fleet) ? 1 : 0;
        for (uint32_t j = 0; j < view->count; j++) {
            gv_load_take(table->load, view->workers[j].index, 10);
            gv_load_first_byte(table->load, view->workers[j].index, 10);
            gv_load_give(table->load, view->workers[j].index, 0);
        }
        gv_fleet_release(table->fleet, view);
    }
    return NULL;
}

static void views_stay_whole_while_the_fleet_changes_and_loads_end_at_zero(void)
{
    struct table table[3] = {0};
    pthread_t threads[3];
    CU_ASSERT_EQUAL_FATAL(gv_fleet_new(&table[0].fleet), GV_OK);
    CU_ASSERT_EQUAL_FATAL(gv_load_new(&table[0].load), GV_OK);
    for (int i = 0; i < 3; i++) {
        table[i].fleet = table[0].fleet;
        table[i].load = table[0].load;
    }
    for (int i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[i], NULL, read_fleet, &table[i]), 0);
    }
    static struct gv_worker worker;
    for (uint32_t i = 0; i < 400; i++) {
        snprintf(worker.url, sizeof worker.url, "http://w%u:80", i % 7);
        if (i % 5 == 4) {
            (void)!gv_fleet_remove(table[0].fleet, gv_slice_text(worker.url));
        } else {
            CU_ASSERT_EQUAL(gv_fleet_put(table[0].fleet, &worker), GV_OK);
        }
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
        CU_ASSERT_EQUAL(table[i].bad, 0);
    }
    CU_ASSERT_EQUAL(gv_load_own_total(table[0].load), 0);
    gv_load_free(table[0].load);
    gv_fleet_free(table[0].fleet);
}

GV_SUITE("route/forest_threads", GV_CASE(two_forests_fed_by_many_threads_end_equal),
         GV_CASE(a_match_sees_what_stays_held_whatever_is_written_around_it),
         GV_CASE(what_stays_held_is_seen_by_threads_that_come_late_too),
         GV_CASE(each_forest_and_each_key_answers_for_itself),
         GV_CASE(views_stay_whole_while_the_fleet_changes_and_loads_end_at_zero))
