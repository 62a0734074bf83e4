#include "grapevine/route/forest.h"
#include "support/suite.h"

#include "grapevine/base/mem.h"
#include "grapevine/base/prng.h"
#include <string.h>

#define WALL(seconds) ((GV_STAMP_EPOCH_S + (seconds)) * 1000)
#define KEY           "regular::m"

static struct gv_forest *forest_of(size_t max_bytes)
{
    struct gv_forest *forest = NULL;
    struct gv_forest_limits limits = {.max_bytes = max_bytes,
                                      .touch_interval_s = 5,
                                      .max_keys = 8,
                                      .worker_blocks = UINT64_MAX,
                                      .min_age_s = 10,
                                      .max_ahead_s = 60};
    CU_ASSERT_EQUAL_FATAL(gv_forest_new(limits, &forest), GV_OK);
    return forest;
}

static uint32_t depth_of(struct gv_forest *forest, const char *key, const uint64_t *chain,
                         uint32_t count, uint32_t worker)
{
    uint32_t depth = 77;
    gv_forest_match(forest, key, chain, count, &worker, 1, &depth);
    return depth;
}

static const uint64_t path[8] = {11, 12, 13, 14, 15, 16, 17, 18};

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

static void capacity_keeps_the_newest_and_spares_the_young(void)
{
    struct gv_forest *forest = forest_of(1 << 20);
    struct gv_operation op;
    gv_forest_set_capacity(forest, 1, 100);
    for (uint64_t i = 0; i < 30; i++) { /* 30 prompts of 10 blocks, a second apart */
        uint64_t chain[10];
        for (uint64_t j = 0; j < 10; j++) {
            chain[j] = 1000 + i * 10 + j;
        }
        CU_ASSERT_TRUE(gv_forest_record(forest, KEY, chain, 10, 1, WALL(1000 + i), &op));
    }
    struct gv_operation made[4];
    CU_ASSERT_EQUAL(gv_forest_sweep(forest, WALL(1009), made, 4), 0); /* all too young */
    CU_ASSERT_EQUAL(gv_forest_sweep(forest, WALL(1040), made, 4), 1);
    CU_ASSERT_EQUAL(made[0].kind, GV_OPERATION_REMOVE);
    CU_ASSERT_EQUAL(made[0].reason, GV_FLOOR_CAPACITY);
    CU_ASSERT_EQUAL(made[0].stamp, 1019);
    CU_ASSERT_EQUAL(gv_forest_worker_blocks(forest, KEY, 1), 100);
    CU_ASSERT_EQUAL(gv_forest_sweep(forest, WALL(1041), made, 4), 0);
    struct gv_forest_stats stats;
    gv_forest_sweep(forest, WALL(1050), made, 4);
    gv_forest_stats(forest, &stats);
    CU_ASSERT_EQUAL(stats.blocks, 100);
    CU_ASSERT_EQUAL(stats.swept, 200);
    CU_ASSERT_EQUAL(stats.evictions, 1);
    gv_forest_free(forest);
}

/* Unique prompts of all sizes through a small budget, far more than fits: the cap holds after every
 * single operation, old prompts go, the newest stay, and the figures agree. */
static void churn_at_the_cap_never_passes_it_and_keeps_the_newest(void)
{
    const size_t cap = 4 << 20;
    struct gv_forest *forest = forest_of(cap);
    struct gv_prng prng;
    gv_prng_init(&prng, 7);
    static uint64_t chain[3000];
    struct gv_operation op;
    struct gv_operation made[8];
    struct gv_forest_stats stats;
    uint64_t recorded = 0;
    uint64_t kept_late = 0;
    for (uint32_t i = 0; i < 6000; i++) {
        uint32_t size = i / 1000 % 2 == 0 ? 40 : 900; /* the shape changes: memory must follow */
        uint32_t count = 1 + (uint32_t)gv_prng_below(&prng, size);
        for (uint32_t j = 0; j < count; j++) {
            chain[j] = gv_prng_next(&prng) | 1;
        }
        uint64_t now = WALL(1000 + i);
        uint32_t worker = i % 5;
        if (gv_forest_record(forest, KEY, chain, count, worker, now, &op)) {
            recorded += count;
            kept_late += depth_of(forest, KEY, chain, count, worker) == count ? 1 : 0;
        }
        gv_forest_stats(forest, &stats);
        CU_ASSERT_TRUE_FATAL(stats.bytes <= cap);
        gv_forest_sweep(forest, now, made, 8);
    }
    CU_ASSERT_TRUE(recorded * 8 > 2 * cap); /* it was a churn */
    CU_ASSERT_TRUE(kept_late > 5900);
    CU_ASSERT_TRUE(stats.evictions > 0);
    CU_ASSERT_TRUE(stats.entries * 8 > cap / 4); /* and the budget is used */
    uint64_t sum = 0;
    for (uint32_t worker = 0; worker < 5; worker++) {
        sum += gv_forest_worker_blocks(forest, KEY, worker);
    }
    CU_ASSERT_EQUAL(sum, stats.entries);
    gv_forest_free(forest);
}

/*
 * Against a list of what was recorded and the floors that were published: every prompt ever told is
 * found whole exactly as long as its stamp is above the floor. Through many rebuilds of the index,
 * cuts and reuses of runs, and prompts that grow.
 */
static void after_any_churn_exactly_the_live_prompts_are_found(void)
{
    enum {
        PROMPTS = 3000,
        BLOCKS_MAX = 60
    };
    static struct {
        uint64_t chain[BLOCKS_MAX];
        uint32_t count;
        uint32_t worker;
        uint32_t stamp;
    } told[PROMPTS];
    struct gv_forest *forest = forest_of(3 << 18);
    struct gv_prng prng;
    struct gv_operation op;
    struct gv_operation made[8];
    uint32_t floors[3] = {0};
    uint32_t live = 0;
    uint32_t dead = 0;
    gv_prng_init(&prng, 11);
    for (uint32_t i = 0; i < PROMPTS; i++) {
        uint64_t now = WALL(1000 + i);
        /* A new conversation, or a turn more of one of the last ten. */
        uint32_t older = i >= 10 && i % 3 != 0 ? i - 1 - (uint32_t)gv_prng_below(&prng, 10) : i;
        uint32_t more = 1 + (uint32_t)gv_prng_below(&prng, 50);
        told[i] = told[older];
        told[i].worker = older == i ? i / 3 % 3 : told[older].worker;
        told[i].count = older == i ? 0 : told[older].count / 2 + 1;
        for (uint32_t j = 0; j < more && told[i].count < BLOCKS_MAX; j++) {
            told[i].chain[told[i].count] = gv_prng_next(&prng) | 1;
            told[i].count++;
        }
        if (gv_forest_record(forest, KEY, told[i].chain, told[i].count, told[i].worker, now, &op)) {
            told[i].stamp = op.stamp;
        } else {
            told[i].count = 0; /* refused at the cap */
        }
        uint32_t count = gv_forest_sweep(forest, now, made, 8);
        for (uint32_t j = 0; j < count; j++) {
            floors[made[j].worker] = made[j].stamp;
        }
        for (uint32_t j = 0; i % 100 == 99 && j <= i; j++) {
            bool is_live = told[j].stamp > floors[told[j].worker];
            uint32_t depth = depth_of(forest, KEY, told[j].chain, told[j].count, told[j].worker);
            if (told[j].count > 0 && is_live) {
                CU_ASSERT_EQUAL(depth, told[j].count);
                live++;
            } else if (told[j].count > 0 && depth == told[j].count) {
                dead++; /* a later turn may have raised the whole of an earlier one */
            }
        }
    }
    struct gv_forest_stats stats;
    gv_forest_stats(forest, &stats);
    CU_ASSERT_TRUE(stats.evictions > 0);
    CU_ASSERT_TRUE(stats.bytes <= 3 << 18);
    CU_ASSERT_TRUE(live > 1000 && dead < live / 10);
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

static void all_memory_comes_back_when_everything_is_forgotten(void)
{
    size_t before = gv_mem_used(GV_MEM_TRIE);
    struct gv_forest *forest = forest_of(64 << 20);
    struct gv_prng prng;
    gv_prng_init(&prng, 3);
    uint64_t chain[50];
    struct gv_operation op;
    for (uint32_t i = 0; i < 2000; i++) {
        for (uint32_t j = 0; j < 50; j++) {
            chain[j] = gv_prng_next(&prng) | 1;
        }
        CU_ASSERT_TRUE(gv_forest_record(forest, KEY, chain, 50, i % 3, WALL(1000), &op));
    }
    for (uint32_t worker = 0; worker < 3; worker++) {
        gv_forest_forget(forest, worker == 0 ? KEY : "*", worker, GV_FLOOR_REMOVED, WALL(1001),
                         &op);
    }
    struct gv_forest_stats stats;
    for (int i = 0; i < 20; i++) {
        gv_forest_sweep(forest, WALL(1100), &op, 1);
    }
    gv_forest_stats(forest, &stats);
    CU_ASSERT_EQUAL(stats.blocks, 0);
    CU_ASSERT_EQUAL(stats.entries, 0);
    CU_ASSERT_TRUE(stats.bytes < 600 * 1024); /* fixed tables, the run pages, a small index */
    gv_forest_free(forest);
    CU_ASSERT_EQUAL(gv_mem_used(GV_MEM_TRIE), before);
}

/* ---- parts ---- */

#define LONG_BLOCKS 200u

/* The same paths, told in one go or in small steps backwards: other runs, the same blocks. */
static struct gv_forest *planted(bool in_steps)
{
    struct gv_forest *forest = forest_of(1 << 22);
    static uint64_t chain[LONG_BLOCKS];
    for (uint64_t p = 0; p < 20; p++) {
        struct gv_operation op = {
            .kind = GV_OPERATION_INSERT, .worker = (uint32_t)(p % 3), .stamp = 100 + (uint32_t)p};
        gv_slice_copy_text(gv_slice_text(KEY), op.key, sizeof op.key);
        for (uint64_t i = 0; i < LONG_BLOCKS; i++) {
            chain[i] = i < 40 ? 1000 + i : p * 100000 + i; /* 40 blocks in common */
        }
        uint32_t step = in_steps ? 8 : LONG_BLOCKS;
        for (uint32_t upto = LONG_BLOCKS; upto > 0; upto -= op.count) {
            op.count = upto < step ? upto : step;
            op.depth = upto - op.count;
            op.parent = op.depth == 0 ? 0 : chain[op.depth - 1];
            op.fingerprints = chain + op.depth;
            CU_ASSERT_EQUAL_FATAL(gv_forest_apply(forest, &op, WALL(200)), GV_OK);
        }
    }
    return forest;
}

static const uint64_t url_hashes[3] = {71, 72, 73};

static void the_sums_of_the_buckets_do_not_depend_on_how_paths_were_told(void)
{
    struct gv_forest *once = planted(false), *steps = planted(true);
    uint64_t sums[2][GV_FOREST_BUCKETS], total = 0;
    struct gv_forest_digest digest;
    CU_ASSERT_TRUE(gv_forest_sums(once, KEY, url_hashes, 3, sums[0]));
    CU_ASSERT_TRUE(gv_forest_sums(steps, KEY, url_hashes, 3, sums[1]));
    CU_ASSERT_EQUAL(memcmp(sums[0], sums[1], sizeof sums[0]), 0);
    gv_forest_digest(once, url_hashes, 3, &digest);
    uint32_t used = 0;
    for (uint32_t i = 0; i < GV_FOREST_BUCKETS; i++) {
        total += sums[0][i];
        used += sums[0][i] != 0;
    }
    CU_ASSERT_EQUAL(total, digest.lo);
    CU_ASSERT(used > 30);
    CU_ASSERT_FALSE(gv_forest_sums(once, "decode::m", url_hashes, 3, sums[0]));
    gv_forest_free(once);
    gv_forest_free(steps);
}

/* Copy a part; how many blocks that took. */
static uint64_t copy_part(struct gv_forest *from, struct gv_forest *to,
                          const struct gv_forest_part *part)
{
    struct gv_forest_cursor cursor = {0};
    struct gv_operation op;
    uint64_t scratch[64], blocks = 0;
    while (gv_forest_next_part(from, &cursor, part, 0, scratch, 64, &op)) {
        CU_ASSERT_EQUAL_FATAL(gv_forest_apply(to, &op, WALL(200)), GV_OK);
        blocks += op.kind == GV_OPERATION_INSERT ? op.count : 0;
    }
    return blocks;
}

static void parts_that_together_name_all_buckets_tell_everything_once(void)
{
    struct gv_forest *from = planted(true), *all = forest_of(1 << 22), *copy = forest_of(1 << 22);
    struct gv_forest_part every = {.buckets = {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX}};
    uint64_t whole = copy_part(from, all, &every), pieces = 0;
    for (uint32_t p = 0; p < 3; p++) {
        struct gv_forest_part part = {0};
        for (uint32_t b = p; b < GV_FOREST_BUCKETS; b += 3) {
            part.buckets[b / 64] |= UINT64_C(1) << (b % 64);
        }
        pieces += copy_part(from, copy, &part);
    }
    CU_ASSERT_EQUAL(pieces, whole);
    struct gv_forest_digest digests[3];
    gv_forest_digest(from, url_hashes, 3, &digests[0]);
    gv_forest_digest(all, url_hashes, 3, &digests[1]);
    gv_forest_digest(copy, url_hashes, 3, &digests[2]);
    CU_ASSERT_EQUAL(memcmp(&digests[0], &digests[1], sizeof digests[0]), 0);
    CU_ASSERT_EQUAL(memcmp(&digests[0], &digests[2], sizeof digests[0]), 0);
    struct gv_forest_part other = every, none = {0};
    gv_slice_copy_text(gv_slice_text("decode::m"), other.key, sizeof other.key);
    CU_ASSERT_EQUAL(copy_part(from, copy, &other), 0);
    CU_ASSERT_EQUAL(copy_part(from, copy, &none), 0);
    gv_forest_free(from);
    gv_forest_free(all);
    gv_forest_free(copy);
}

/* Its path's beginning is not known: it is told with whatever part is asked for. */
static void a_piece_without_its_beginning_is_told_with_every_part(void)
{
    struct gv_forest *from = forest_of(1 << 20), *to = forest_of(1 << 20);
    struct gv_operation op = {.kind = GV_OPERATION_INSERT, .stamp = 100, .depth = 8};
    op.parent = 4711;
    op.count = 8;
    op.fingerprints = path;
    gv_slice_copy_text(gv_slice_text(KEY), op.key, sizeof op.key);
    CU_ASSERT_EQUAL(gv_forest_apply(from, &op, WALL(200)), GV_OK);
    struct gv_forest_part none = {0};
    (void)copy_part(from, to, &none);
    struct gv_forest_digest digests[2];
    gv_forest_digest(from, url_hashes, 3, &digests[0]);
    gv_forest_digest(to, url_hashes, 3, &digests[1]);
    CU_ASSERT(digests[0].lo != 0);
    CU_ASSERT_EQUAL(memcmp(&digests[0], &digests[1], sizeof digests[0]), 0);
    gv_forest_free(from);
    gv_forest_free(to);
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
         GV_CASE(capacity_keeps_the_newest_and_spares_the_young),
         GV_CASE(churn_at_the_cap_never_passes_it_and_keeps_the_newest),
         GV_CASE(after_any_churn_exactly_the_live_prompts_are_found),
         GV_CASE(the_longest_prompt_is_held_and_matched_to_the_block),
         GV_CASE(an_operation_that_contradicts_what_is_known_is_refused),
         GV_CASE(a_touch_that_comes_before_its_path_raises_the_path_when_it_comes),
         GV_CASE(all_memory_comes_back_when_everything_is_forgotten),
         GV_CASE(the_sums_of_the_buckets_do_not_depend_on_how_paths_were_told),
         GV_CASE(parts_that_together_name_all_buckets_tell_everything_once),
         GV_CASE(a_piece_without_its_beginning_is_told_with_every_part),
         GV_CASE(a_failing_allocation_leaves_the_forest_in_order))
