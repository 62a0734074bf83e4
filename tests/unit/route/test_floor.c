/* Floors and shares, told through the forest: the histogram must stay exact however stamps spread.
 */
#include "forest_stage.h"
#include "grapevine/base/prng.h"

#define PROMPTS 400

static uint32_t stamps[PROMPTS];

/* Prompts of five blocks each, at stamps anywhere within `spread_s` seconds, in no order. */
static void fill(struct gv_forest *forest, uint64_t seed, uint64_t spread_s)
{
    struct gv_prng prng;
    gv_prng_init(&prng, seed);
    for (uint64_t i = 0; i < PROMPTS; i++) {
        uint64_t chain[5] = {i * 5 + 1, i * 5 + 2, i * 5 + 3, i * 5 + 4, i * 5 + 5};
        struct gv_operation op = {.kind = GV_OPERATION_INSERT,
                                  .key = KEY,
                                  .worker = 1,
                                  .count = 5,
                                  .fingerprints = chain};
        stamps[i] = 1000 + (uint32_t)gv_prng_below(&prng, spread_s);
        op.stamp = stamps[i];
        CU_ASSERT_EQUAL(gv_forest_apply(forest, &op, WALL(1000 + spread_s)), GV_OK);
    }
}

static uint64_t above(uint32_t floor)
{
    uint64_t blocks = 0;
    for (int i = 0; i < PROMPTS; i++) {
        blocks += stamps[i] > floor ? 5 : 0;
    }
    return blocks;
}

static void a_floor_anywhere_leaves_exactly_what_is_newer(void)
{
    static const uint64_t spreads[] = {1, 100, 128, 129, 1000, 100000, 10000000};
    for (size_t s = 0; s < sizeof spreads / sizeof spreads[0]; s++) {
        struct gv_forest *forest = forest_of(8 << 20);
        struct gv_prng prng;
        uint32_t floor = 0;
        gv_prng_init(&prng, s);
        fill(forest, s + 1, spreads[s]);
        CU_ASSERT_EQUAL(gv_forest_worker_blocks(forest, KEY, 1), above(0));
        for (uint64_t step = 1; step <= 6; step++) {
            /* Six floors, rising, at no slot's end in particular; some by way of "*". */
            uint32_t stamp = 999 + (uint32_t)(spreads[s] * step / 6);
            floor = stamp > floor ? stamp : floor;
            struct gv_operation op = {.kind = GV_OPERATION_REMOVE, .worker = 1, .stamp = stamp};
            strcpy(op.key, step % 3 == 0 ? "*" : KEY);
            CU_ASSERT_EQUAL(gv_forest_apply(forest, &op, WALL(1000 + spreads[s])), GV_OK);
            CU_ASSERT_EQUAL(gv_forest_worker_blocks(forest, KEY, 1), above(floor));
        }
        CU_ASSERT_EQUAL(above(floor), 0);
        gv_forest_free(forest);
    }
}

static void a_floor_for_capacity_keeps_about_the_share(void)
{
    static const uint64_t spreads[] = {100, 1000, 100000};
    for (size_t s = 0; s < sizeof spreads / sizeof spreads[0]; s++) {
        struct gv_forest *forest = forest_of(8 << 20);
        struct gv_operation made[4];
        fill(forest, s + 10, spreads[s]);
        gv_forest_set_capacity(forest, 1, 1000);
        CU_ASSERT_EQUAL(gv_forest_sweep(forest, WALL(1011 + spreads[s]), made, 4), 1);
        uint64_t kept = gv_forest_worker_blocks(forest, KEY, 1);
        CU_ASSERT_TRUE(kept >= 950 && kept <= 1050); /* one slot of about 100, halved */
        CU_ASSERT_EQUAL(kept, above(made[0].stamp));
        gv_forest_free(forest);
    }
}

static void a_lower_floor_changes_nothing_and_no_sweep_happens_without_room_for_it(void)
{
    struct gv_forest *forest = forest_of(8 << 20);
    struct gv_operation op = {.kind = GV_OPERATION_REMOVE, .key = KEY, .worker = 1, .stamp = 1050};
    fill(forest, 3, 100);
    CU_ASSERT_EQUAL(gv_forest_apply(forest, &op, WALL(1100)), GV_OK);
    uint64_t left = gv_forest_worker_blocks(forest, KEY, 1);
    op.stamp = 1049;
    CU_ASSERT_EQUAL(gv_forest_apply(forest, &op, WALL(1100)), GV_OK);
    CU_ASSERT_EQUAL(gv_forest_worker_blocks(forest, KEY, 1), left);
    gv_forest_set_capacity(forest, 1, 10);
    CU_ASSERT_EQUAL(gv_forest_sweep(forest, WALL(1200), NULL, 0), 0);
    CU_ASSERT_EQUAL(gv_forest_worker_blocks(forest, KEY, 1), left);
    gv_forest_free(forest);
}

/* Prompts of 100 blocks at stamps 1000, 1100, 1200, 1300: one falls whole or not at all. */
static uint64_t left_of_four(uint64_t capacity)
{
    struct gv_forest *forest = forest_of(8 << 20);
    struct gv_operation made[4];
    uint64_t chain[100];
    for (uint32_t p = 0; p < 4; p++) {
        for (uint64_t i = 0; i < 100; i++) {
            chain[i] = p * 100 + i + 1;
        }
        struct gv_operation op = {.kind = GV_OPERATION_INSERT,
                                  .key = KEY,
                                  .worker = 1,
                                  .stamp = 1000 + 100 * p,
                                  .count = 100,
                                  .fingerprints = chain};
        CU_ASSERT_EQUAL(gv_forest_apply(forest, &op, WALL(1400)), GV_OK);
    }
    gv_forest_set_capacity(forest, 1, capacity);
    (void)gv_forest_sweep(forest, WALL(1400), made, 4);
    uint64_t left = gv_forest_worker_blocks(forest, KEY, 1);
    gv_forest_free(forest);
    return left;
}

/* An engine gives up a prompt block by block: what is nearer to its room is nearer to the truth. */
static void the_share_that_is_left_is_the_one_nearest_to_the_capacity(void)
{
    CU_ASSERT_EQUAL(left_of_four(400), 400);
    CU_ASSERT_EQUAL(left_of_four(399), 400);
    CU_ASSERT_EQUAL(left_of_four(350), 400); /* as near as 300: nothing is done */
    CU_ASSERT_EQUAL(left_of_four(349), 300);
    CU_ASSERT_EQUAL(left_of_four(250), 300);
    CU_ASSERT_EQUAL(left_of_four(249), 200);
    CU_ASSERT_EQUAL(left_of_four(50), 100);
    CU_ASSERT_EQUAL(left_of_four(49), 0);
}

/* Ages are counted from the newest entry of any of those asked. */
static void what_would_give_way_is_told_by_its_age(void)
{
    struct gv_forest *forest = forest_of(8 << 20);
    const uint32_t workers[3] = {1, 2, 3};
    uint32_t ages_s[3] = {7, 7, 7};
    gv_forest_yields(forest, KEY, 10, workers, 3, ages_s);
    CU_ASSERT_EQUAL(ages_s[0], GV_FOREST_ROOM); /* there is no such trie */
    for (uint32_t i = 0; i < 20; i++) {
        uint64_t chain[10];
        for (uint64_t b = 0; b < 10; b++) {
            chain[b] = i * 10 + b + 1;
        }
        struct gv_operation op = {.kind = GV_OPERATION_INSERT,
                                  .key = KEY,
                                  .worker = 1 + i % 2,
                                  .stamp = 1000 + i,
                                  .count = 10,
                                  .fingerprints = chain};
        CU_ASSERT_EQUAL(gv_forest_apply(forest, &op, WALL(1100)), GV_OK);
    }
    for (uint32_t i = 0; i < 3; i++) {
        gv_forest_set_capacity(forest, workers[i], 110);
    }
    gv_forest_yields(forest, KEY, 10, workers, 3, ages_s); /* each holds 100 */
    CU_ASSERT_EQUAL(ages_s[0], GV_FOREST_ROOM);
    CU_ASSERT_EQUAL(ages_s[1], GV_FOREST_ROOM);
    CU_ASSERT_EQUAL(ages_s[2], GV_FOREST_ROOM);
    gv_forest_yields(forest, KEY, 11, workers, 3, ages_s);
    CU_ASSERT_EQUAL(ages_s[0], 19);
    CU_ASSERT_EQUAL(ages_s[1], 18);
    CU_ASSERT_EQUAL(ages_s[2], GV_FOREST_ROOM);
    gv_forest_yields(forest, KEY, 21, workers, 3, ages_s); /* a second prompt must go */
    CU_ASSERT_EQUAL(ages_s[0], 17);
    gv_forest_yields(forest, KEY, 500, workers, 3, ages_s); /* all of them */
    CU_ASSERT_EQUAL(ages_s[0], 1);
    CU_ASSERT_EQUAL(ages_s[1], 0);
    gv_forest_free(forest);
}

static uint64_t blocks_of(struct gv_forest *forest)
{
    struct gv_forest_stats stats;
    gv_forest_stats(forest, &stats);
    return stats.blocks;
}

/* Both sides of the grace: kept 4 s after the floor, gone after 5. */
static void what_is_dead_is_buried_after_a_grace(void)
{
    struct gv_forest *forest = forest_of(8 << 20);
    struct gv_operation op = {.kind = GV_OPERATION_REMOVE, .key = KEY, .worker = 1, .stamp = 1100};
    fill(forest, 4, 100);
    uint64_t before = blocks_of(forest);
    CU_ASSERT_EQUAL(gv_forest_apply(forest, &op, WALL(1200)), GV_OK);
    gv_forest_sweep(forest, WALL(1204), NULL, 0);
    CU_ASSERT_EQUAL(blocks_of(forest), before);
    gv_forest_sweep(forest, WALL(1205), NULL, 0);
    CU_ASSERT_EQUAL(blocks_of(forest), 0);
    gv_forest_free(forest);
}

/* Under a steady load the capacity's floor rises every second. The dead must not wait for the day
 * on which it rests: blocks of 10 s are too young to be evicted, those of 10 more wait for burial.
 */
static void a_floor_that_rises_every_second_lets_the_dead_be_buried_all_the_same(void)
{
    struct gv_forest *forest = forest_of(8 << 20);
    struct gv_operation made[4];
    gv_forest_set_capacity(forest, 1, 40);
    for (uint64_t second = 0; second < 120; second++) {
        for (uint64_t i = 0; i < 4; i++) {
            uint64_t first = (second * 4 + i) * 5 + 1;
            uint64_t chain[5] = {first, first + 1, first + 2, first + 3, first + 4};
            struct gv_operation op = {.kind = GV_OPERATION_INSERT,
                                      .key = KEY,
                                      .worker = 1,
                                      .stamp = 1000 + (uint32_t)second,
                                      .count = 5,
                                      .fingerprints = chain};
            CU_ASSERT_EQUAL(gv_forest_apply(forest, &op, WALL(1000 + second)), GV_OK);
        }
        gv_forest_sweep(forest, WALL(1000 + second), made, 4);
        CU_ASSERT_TRUE(blocks_of(forest) <= 20 * 22);
    }
    CU_ASSERT_TRUE(blocks_of(forest) >= 20 * 10);
    gv_forest_free(forest);
}

GV_SUITE("route/floor", GV_CASE(a_floor_anywhere_leaves_exactly_what_is_newer),
         GV_CASE(a_floor_for_capacity_keeps_about_the_share),
         GV_CASE(the_share_that_is_left_is_the_one_nearest_to_the_capacity),
         GV_CASE(what_would_give_way_is_told_by_its_age),
         GV_CASE(what_is_dead_is_buried_after_a_grace),
         GV_CASE(a_floor_that_rises_every_second_lets_the_dead_be_buried_all_the_same),
         GV_CASE(a_lower_floor_changes_nothing_and_no_sweep_happens_without_room_for_it))
