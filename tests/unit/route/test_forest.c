/*
 * What a forest holds and for whom: prompts recorded here, operations told by others, forgetting.
 */
#include "forest_stage.h"
#include "grapevine/base/mem.h"

static void an_unknown_key_holds_nothing(void)
{
    struct gv_forest *forest = forest_of(1 << 20);
    CU_ASSERT_EQUAL(depth_of(forest, KEY, path, 8, 3), 0);
    gv_forest_free(forest);
}

static void what_is_recorded_is_held_by_that_worker_only(void)
{
    struct gv_forest *forest = forest_of(1 << 20);
    struct gv_operation op;
    CU_ASSERT_TRUE(gv_forest_record(forest, KEY, path, 5, 3, WALL(1000), &op));
    CU_ASSERT_EQUAL(op.kind, GV_OPERATION_INSERT);
    CU_ASSERT_EQUAL(op.count, 5);
    CU_ASSERT_EQUAL(op.stamp, 1000);
    CU_ASSERT_EQUAL(depth_of(forest, KEY, path, 8, 3), 5);
    CU_ASSERT_EQUAL(depth_of(forest, KEY, path, 3, 3), 3);
    CU_ASSERT_EQUAL(depth_of(forest, KEY, path, 8, 4), 0);
    CU_ASSERT_EQUAL(depth_of(forest, "decode::m", path, 8, 3), 0);
    gv_forest_free(forest);
}

static void a_fresh_path_is_not_recorded_again_until_the_touch_interval_is_over(void)
{
    struct gv_forest *forest = forest_of(1 << 20);
    struct gv_operation op;
    CU_ASSERT_TRUE(gv_forest_record(forest, KEY, path, 5, 3, WALL(1000), &op));
    CU_ASSERT_FALSE(gv_forest_record(forest, KEY, path, 5, 3, WALL(1005), &op));
    CU_ASSERT_TRUE(gv_forest_record(forest, KEY, path, 5, 3, WALL(1006), &op));
    CU_ASSERT_EQUAL(op.kind, GV_OPERATION_INSERT); /* 15 is no anchor: told again after 14 */
    CU_ASSERT_EQUAL(op.parent, 14);
    CU_ASSERT_EQUAL(op.depth, 4);
    CU_ASSERT_EQUAL(op.count, 1);
    CU_ASSERT_EQUAL(op.fingerprints[0], 15);
    CU_ASSERT_TRUE(gv_forest_record(forest, KEY, path, 8, 3, WALL(1006), &op));
    CU_ASSERT_TRUE(gv_forest_record(forest, KEY, path, 8, 3, WALL(1012), &op));
    CU_ASSERT_EQUAL(op.kind, GV_OPERATION_TOUCH);
    CU_ASSERT_EQUAL(op.fingerprints[0], 18);
    CU_ASSERT_EQUAL(op.depth, 7);
    gv_forest_free(forest);
}

static void new_blocks_below_a_fresh_parent_take_its_stamp(void)
{
    struct gv_forest *forest = forest_of(1 << 20);
    struct gv_operation op;
    CU_ASSERT_TRUE(gv_forest_record(forest, KEY, path, 5, 3, WALL(1000), &op));
    CU_ASSERT_TRUE(gv_forest_record(forest, KEY, path, 8, 3, WALL(1003), &op));
    CU_ASSERT_EQUAL(op.parent, 14); /* the anchor above the first that is new */
    CU_ASSERT_EQUAL(op.depth, 4);
    CU_ASSERT_EQUAL(op.count, 4);
    CU_ASSERT_EQUAL(op.stamp, 1000);
    CU_ASSERT_EQUAL(depth_of(forest, KEY, path, 8, 3), 8);
    gv_forest_free(forest);
}

static void another_worker_is_told_all_blocks_that_it_lacks(void)
{
    struct gv_forest *forest = forest_of(1 << 20);
    struct gv_operation op;
    CU_ASSERT_TRUE(gv_forest_record(forest, KEY, path, 8, 3, WALL(1000), &op));
    CU_ASSERT_TRUE(gv_forest_record(forest, KEY, path, 6, 4, WALL(1001), &op));
    CU_ASSERT_EQUAL(op.count, 6);
    CU_ASSERT_EQUAL(op.parent, 0);
    uint32_t workers[2] = {4, 3};
    uint32_t depths[2];
    gv_forest_match(forest, KEY, path, 8, workers, 2, depths);
    CU_ASSERT_EQUAL(depths[0], 6);
    CU_ASSERT_EQUAL(depths[1], 8);
    gv_forest_free(forest);
}

static void a_forgotten_worker_holds_nothing_and_comes_back_above_its_floor(void)
{
    struct gv_forest *forest = forest_of(1 << 20);
    struct gv_operation op;
    CU_ASSERT_TRUE(gv_forest_record(forest, KEY, path, 8, 3, WALL(1000), &op));
    gv_forest_forget(forest, "*", 3, GV_FLOOR_RESTARTED, WALL(1000), &op);
    CU_ASSERT_EQUAL(op.kind, GV_OPERATION_REMOVE);
    CU_ASSERT_EQUAL(op.stamp, 1000);
    CU_ASSERT_EQUAL(depth_of(forest, KEY, path, 8, 3), 0);
    CU_ASSERT_EQUAL(gv_forest_worker_blocks(forest, KEY, 3), 0);
    CU_ASSERT_TRUE(gv_forest_record(forest, KEY, path, 8, 3, WALL(1000), &op));
    CU_ASSERT_EQUAL(op.stamp, 1001);
    CU_ASSERT_EQUAL(depth_of(forest, KEY, path, 8, 3), 8);
    /* A key that is new after the floor knows it too. */
    struct gv_operation late = {.kind = GV_OPERATION_TOUCH,
                                .key = "decode::m",
                                .worker = 3,
                                .stamp = 1000,
                                .depth = 3,
                                .count = 1,
                                .fingerprints = path + 3};
    CU_ASSERT_EQUAL(gv_forest_apply(forest, &late, WALL(1001)), GV_OK);
    CU_ASSERT_EQUAL(gv_forest_worker_blocks(forest, "decode::m", 3), 0);
    gv_forest_free(forest);
}

static void a_stamp_too_far_ahead_is_refused_and_counted(void)
{
    struct gv_forest *forest = forest_of(1 << 20);
    struct gv_operation op = {.kind = GV_OPERATION_TOUCH,
                              .key = KEY,
                              .worker = 1,
                              .stamp = 1060,
                              .depth = 3,
                              .count = 1,
                              .fingerprints = path};
    CU_ASSERT_EQUAL(gv_forest_apply(forest, &op, WALL(1000)), GV_OK);
    op.stamp = 1061;
    CU_ASSERT_EQUAL(gv_forest_apply(forest, &op, WALL(1000)), GV_ERANGE);
    struct gv_forest_stats stats;
    gv_forest_stats(forest, &stats);
    CU_ASSERT_EQUAL(stats.refused, 1);
    CU_ASSERT_EQUAL(stats.applied, 1);
    gv_forest_free(forest);
}

/* Both sides of the limit: stamps 60 s ahead stay, at 61 s they are stamped now. */
static void what_an_early_clock_stamped_is_stamped_now_when_it_is_right(void)
{
    const uint64_t right_ms = WALL(1000000);
    struct gv_forest *early = forest_of(64 << 20);
    struct gv_forest *other = forest_of(64 << 20);
    struct gv_operation made;
    CU_ASSERT(gv_forest_record(early, "regular::m", path, 4, 1, right_ms + 60000, &made));
    CU_ASSERT_FALSE(gv_forest_correct_clock(early, right_ms));
    CU_ASSERT(gv_forest_record(early, "regular::m", path, 8, 1, right_ms + 86400000, &made));
    CU_ASSERT_EQUAL(gv_forest_apply(other, &made, right_ms), GV_ERANGE);
    gv_forest_forget(early, "*", 2, GV_FLOOR_REMOVED, right_ms + 86400000, &made);
    CU_ASSERT(gv_forest_correct_clock(early, right_ms));
    CU_ASSERT_FALSE(gv_forest_correct_clock(early, right_ms));
    CU_ASSERT_EQUAL(depth_of(early, "regular::m", path, 8, 1), 8);

    uint64_t scratch[64];
    struct gv_forest_cursor cursor = {.key = 0};
    while (gv_forest_next(early, &cursor, 0, scratch, 64, &made)) {
        CU_ASSERT(made.stamp <= gv_stamp_from_wall_ms(right_ms));
        CU_ASSERT_EQUAL(gv_forest_apply(other, &made, right_ms), GV_OK);
    }
    static const uint64_t urls[3] = {71, 72, 73};
    struct gv_forest_digest digests[2];
    gv_forest_digest(early, urls, 3, &digests[0]);
    gv_forest_digest(other, urls, 3, &digests[1]);
    CU_ASSERT(digests[0].lo == digests[1].lo && digests[0].hi == digests[1].hi);
    /* The worker that was forgotten comes back at once, with a stamp that others take. */
    CU_ASSERT(gv_forest_record(early, "regular::m", path, 2, 2, right_ms, &made));
    CU_ASSERT_EQUAL(gv_forest_apply(other, &made, right_ms), GV_OK);
    gv_forest_free(early);
    gv_forest_free(other);
}

static void a_malformed_operation_is_refused(void)
{
    struct gv_forest *forest = forest_of(1 << 20);
    static const uint64_t zero = 0;
    struct gv_operation good = {.kind = GV_OPERATION_INSERT,
                                .key = KEY,
                                .worker = 1,
                                .stamp = 10,
                                .count = 2,
                                .fingerprints = path};
    struct gv_operation op = good;
    op.worker = GV_WORKERS_MAX;
    CU_ASSERT_EQUAL(gv_forest_apply(forest, &op, WALL(10)), GV_EINVAL);
    op = good;
    op.count = 0;
    CU_ASSERT_EQUAL(gv_forest_apply(forest, &op, WALL(10)), GV_EINVAL);
    op = good;
    op.parent = 5; /* at depth 0 */
    CU_ASSERT_EQUAL(gv_forest_apply(forest, &op, WALL(10)), GV_EINVAL);
    op = good;
    op.depth = 4; /* without a parent */
    CU_ASSERT_EQUAL(gv_forest_apply(forest, &op, WALL(10)), GV_EINVAL);
    for (uint32_t depth = 1; depth <= 8; depth++) { /* it must follow an anchor */
        op = good;
        op.parent = 5;
        op.depth = depth;
        CU_ASSERT_EQUAL(gv_forest_apply(forest, &op, WALL(10)),
                        depth % GV_ANCHOR_BLOCKS == 0 ? GV_OK : GV_EINVAL);
        op.kind = GV_OPERATION_TOUCH; /* or name one */
        op.count = 1;
        op.fingerprints = path + 7;
        CU_ASSERT_EQUAL(gv_forest_apply(forest, &op, WALL(10)),
                        depth % GV_ANCHOR_BLOCKS == GV_ANCHOR_BLOCKS - 1 ? GV_OK : GV_EINVAL);
    }
    op = good;
    op.parent = 5;
    op.depth = GV_FINGERPRINTS_MAX - GV_ANCHOR_BLOCKS;
    op.count = GV_ANCHOR_BLOCKS;
    CU_ASSERT_EQUAL(gv_forest_apply(forest, &op, WALL(10)), GV_OK);
    op.count = GV_ANCHOR_BLOCKS + 1; /* deeper than any prompt */
    CU_ASSERT_EQUAL(gv_forest_apply(forest, &op, WALL(10)), GV_EINVAL);
    op.depth = GV_FINGERPRINTS_MAX;
    op.count = 1;
    CU_ASSERT_EQUAL(gv_forest_apply(forest, &op, WALL(10)), GV_EINVAL);
    op = good;
    strcpy(op.key, "*");
    CU_ASSERT_EQUAL(gv_forest_apply(forest, &op, WALL(10)), GV_EINVAL);
    op = good;
    op.fingerprints = &zero;
    op.count = 1;
    CU_ASSERT_EQUAL(gv_forest_apply(forest, &op, WALL(10)), GV_EINVAL);
    CU_ASSERT_EQUAL(gv_forest_apply(forest, &good, WALL(10)), GV_OK);
    gv_forest_free(forest);
}

static void no_more_keys_than_the_limit(void)
{
    struct gv_forest *forest = forest_of(1 << 20);
    struct gv_operation op;
    for (int i = 0; i < 9; i++) {
        char key[] = "regular::0";
        key[9] = (char)('0' + i);
        CU_ASSERT_EQUAL(gv_forest_record(forest, key, path, 2, 1, WALL(10), &op), i < 8);
    }
    gv_forest_free(forest);
}

/* A run ends at 16,384 blocks and the path goes on in the next. */
static void the_longest_prompt_is_held_and_matched_to_the_block(void)
{
    static uint64_t chain[65536];
    static uint64_t other[65536];
    struct gv_forest *forest = forest_of(8 << 20);
    struct gv_operation op;
    for (uint64_t i = 0; i < 65536; i++) {
        chain[i] = (i + 1) * UINT64_C(0x9E3779B97F4A7C15);
    }
    CU_ASSERT_TRUE(gv_forest_record(forest, KEY, chain, 16384, 1, WALL(1000), &op));
    CU_ASSERT_TRUE(gv_forest_record(forest, KEY, chain, 16385, 1, WALL(1001), &op));
    CU_ASSERT_EQUAL(op.count, 1);
    CU_ASSERT_TRUE(gv_forest_record(forest, KEY, chain, 65536, 1, WALL(1100), &op));
    CU_ASSERT_TRUE(gv_forest_record(forest, KEY, chain, 40000, 2, WALL(1100), &op));
    static const uint32_t cuts[] = {1, 16383, 16384, 16385, 32768, 32769, 40000, 40001, 65536};
    for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++) {
        CU_ASSERT_EQUAL(depth_of(forest, KEY, chain, cuts[i], 1), cuts[i]);
        CU_ASSERT_EQUAL(depth_of(forest, KEY, chain, cuts[i], 2),
                        cuts[i] < 40000 ? cuts[i] : 40000);
        for (uint32_t j = 0; j < 65536; j++) { /* fingerprints are chained: all differ from there */
            other[j] = j < cuts[i] - 1 ? chain[j] : chain[j] ^ 2;
        }
        CU_ASSERT_EQUAL(depth_of(forest, KEY, other, 65536, 1), cuts[i] - 1);
    }
    gv_forest_free(forest);
}

static void an_operation_that_contradicts_what_is_known_is_refused(void)
{
    struct gv_forest *forest = forest_of(1 << 20);
    struct gv_operation op;
    CU_ASSERT_TRUE(gv_forest_record(forest, KEY, path, 8, 1, WALL(1000), &op));
    struct gv_operation forged = {.kind = GV_OPERATION_INSERT,
                                  .key = KEY,
                                  .worker = 2,
                                  .stamp = 1000,
                                  .depth = 4,
                                  .parent = 99, /* 18 comes after 14 */
                                  .count = 4,
                                  .fingerprints = path + 4};
    CU_ASSERT_EQUAL(gv_forest_apply(forest, &forged, WALL(1000)), GV_EINVAL);
    CU_ASSERT_EQUAL(depth_of(forest, KEY, path, 8, 2), 0);
    CU_ASSERT_EQUAL(depth_of(forest, KEY, path, 8, 1), 8);
    gv_forest_free(forest);
}

static void a_touch_that_comes_before_its_path_raises_the_path_when_it_comes(void)
{
    struct gv_forest *forest = forest_of(1 << 20);
    struct gv_operation touch = {.kind = GV_OPERATION_TOUCH,
                                 .key = KEY,
                                 .worker = 1,
                                 .stamp = 1050,
                                 .depth = 7,
                                 .count = 1,
                                 .fingerprints = path + 7};
    struct gv_operation insert = {.kind = GV_OPERATION_INSERT,
                                  .key = KEY,
                                  .worker = 2,
                                  .stamp = 1000,
                                  .count = 8,
                                  .fingerprints = path};
    CU_ASSERT_EQUAL(gv_forest_apply(forest, &touch, WALL(1050)), GV_OK);
    CU_ASSERT_EQUAL(depth_of(forest, KEY, path, 8, 1), 0);
    CU_ASSERT_EQUAL(gv_forest_apply(forest, &insert, WALL(1050)), GV_OK);
    CU_ASSERT_EQUAL(depth_of(forest, KEY, path, 8, 1), 8);
    CU_ASSERT_EQUAL(depth_of(forest, KEY, path, 8, 2), 8);
    CU_ASSERT_EQUAL(gv_forest_worker_blocks(forest, KEY, 1), 8);
    gv_forest_free(forest);
}

/* Whatever allocation fails, the call says so or succeeds whole, and nothing leaks. */
static void a_failing_allocation_leaves_the_forest_in_order(void)
{
    size_t before = gv_mem_used(GV_MEM_TRIE);
    bool made = false;
    for (uint64_t n = 1; !made; n++) {
        CU_ASSERT_TRUE_FATAL(n < 100);
        gv_mem_fail_nth(n);
        struct gv_forest *forest = NULL;
        struct gv_forest_limits limits = {.max_bytes = 1 << 20, .max_keys = 2};
        struct gv_operation op;
        made = gv_forest_new(limits, &forest) == GV_OK &&
               gv_forest_record(forest, KEY, path, 8, 1, WALL(10), &op) &&
               gv_forest_record(forest, KEY, path, 4, 2, WALL(10), &op);
        gv_mem_fail_nth(0);
        if (forest != NULL) {
            CU_ASSERT_TRUE(gv_forest_record(forest, KEY, path, 8, 3, WALL(20), &op));
            CU_ASSERT_EQUAL(depth_of(forest, KEY, path, 8, 3), 8);
        }
        gv_forest_free(forest);
        CU_ASSERT_EQUAL_FATAL(gv_mem_used(GV_MEM_TRIE), before);
    }
}

GV_SUITE("route/forest", GV_CASE(an_unknown_key_holds_nothing),
         GV_CASE(what_is_recorded_is_held_by_that_worker_only),
         GV_CASE(a_fresh_path_is_not_recorded_again_until_the_touch_interval_is_over),
         GV_CASE(new_blocks_below_a_fresh_parent_take_its_stamp),
         GV_CASE(another_worker_is_told_all_blocks_that_it_lacks),
         GV_CASE(a_forgotten_worker_holds_nothing_and_comes_back_above_its_floor),
         GV_CASE(a_stamp_too_far_ahead_is_refused_and_counted),
         GV_CASE(what_an_early_clock_stamped_is_stamped_now_when_it_is_right),
         GV_CASE(a_malformed_operation_is_refused), GV_CASE(no_more_keys_than_the_limit),
         GV_CASE(the_longest_prompt_is_held_and_matched_to_the_block),
         GV_CASE(an_operation_that_contradicts_what_is_known_is_refused),
         GV_CASE(a_touch_that_comes_before_its_path_raises_the_path_when_it_comes),
         GV_CASE(a_failing_allocation_leaves_the_forest_in_order))
