/*
 * What a forest lets go: at its capacity, at its cap, and in the end all of it.
 */
#include "forest_stage.h"
#include "grapevine/base/mem.h"
#include "grapevine/base/prng.h"

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

GV_SUITE("route/forest_sweep", GV_CASE(capacity_keeps_the_newest_and_spares_the_young),
         GV_CASE(churn_at_the_cap_never_passes_it_and_keeps_the_newest),
         GV_CASE(after_any_churn_exactly_the_live_prompts_are_found),
         GV_CASE(all_memory_comes_back_when_everything_is_forgotten))
