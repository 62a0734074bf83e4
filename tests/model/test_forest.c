/*
 * The forest against something stupid and right: plain arrays of facts and links, and the closure
 * by brute force. Any order of the same operations, with repeats, must give the same live set.
 */
#include "grapevine/base/prng.h"
#include "grapevine/route/forest.h"
#include "support/suite.h"

#include <string.h>

#define NODES   70
#define WORKERS 4
#define OPS     60
#define KEYS    2
#define WALL    ((GV_STAMP_EPOCH_S + 1000) * 1000)

static const char *const keys[KEYS] = {"prefill::m", "decode::m"};

/* A random tree of prefixes. */
struct world {
    uint64_t name[NODES];
    int parent[NODES]; /* -1: depth 0 */
    uint32_t depth[NODES];
};

struct told {
    struct gv_operation op;
    uint64_t names[NODES];
    int nodes[NODES];
};

/* What the model knows. */
struct facts {
    uint32_t stamp[KEYS][NODES][WORKERS];
    bool linked[KEYS][NODES]; /* to its parent */
    uint32_t floor[KEYS][WORKERS];
};

static void grow_world(struct world *world, struct gv_prng *prng)
{
    for (int i = 0; i < NODES; i++) {
        /* Mostly long unbranched runs, some branches, a few roots. */
        uint64_t dice = gv_prng_below(prng, 10);
        world->name[i] = (gv_prng_next(prng) & ~UINT64_C(0xFF)) | (uint64_t)(i % 3 + 1);
        world->parent[i] = -1;
        if (i > 0 && dice < 7) {
            world->parent[i] = i - 1;
        } else if (i > 0 && dice < 9) {
            world->parent[i] = (int)gv_prng_below(prng, (uint64_t)i);
        }
        world->depth[i] = world->parent[i] < 0 ? 0 : world->depth[world->parent[i]] + 1;
    }
}

/* The last `count` nodes of the path that ends in `leaf`, and those back to the anchor above. */
static void tell_path(const struct world *world, struct told *told, int leaf, uint32_t count)
{
    int node = leaf;
    count += (world->depth[leaf] + 1 - count) % GV_ANCHOR_BLOCKS;
    for (uint32_t i = count; i > 0; i--) {
        told->nodes[i - 1] = node;
        told->names[i - 1] = world->name[node];
        told->op.parent = world->parent[node] < 0 ? 0 : world->name[world->parent[node]];
        told->op.depth = world->depth[node];
        node = world->parent[node];
    }
    told->op.count = count;
}

static void make_operation(const struct world *world, struct gv_prng *prng, struct told *told)
{
    memset(told, 0, sizeof *told);
    told->op.worker = (uint32_t)gv_prng_below(prng, WORKERS);
    told->op.stamp = 900 + (uint32_t)gv_prng_below(prng, 100);
    strcpy(told->op.key, keys[gv_prng_below(prng, KEYS)]);
    int leaf = (int)gv_prng_below(prng, NODES);
    uint64_t dice = gv_prng_below(prng, 12);
    if (dice == 0) {
        told->op.kind = GV_OPERATION_REMOVE;
        told->op.stamp = 900 + (uint32_t)gv_prng_below(prng, 60);
        if (gv_prng_below(prng, 2) == 0) {
            strcpy(told->op.key, "*");
        }
    } else if (dice < 4 && (world->depth[leaf] + 1) % GV_ANCHOR_BLOCKS == 0) {
        told->op.kind = GV_OPERATION_TOUCH;
        told->op.depth = world->depth[leaf];
        told->op.count = 1;
        told->nodes[0] = leaf;
        told->names[0] = world->name[leaf];
    } else {
        told->op.kind = GV_OPERATION_INSERT;
        tell_path(world, told, leaf,
                  1 + (uint32_t)gv_prng_below(prng, world->depth[leaf] + UINT64_C(1)));
    }
}

static void learn(const struct told *told, struct facts *facts)
{
    for (int k = 0; k < KEYS; k++) {
        bool all = strcmp(told->op.key, "*") == 0;
        if (!all && strcmp(told->op.key, keys[k]) != 0) {
            continue;
        }
        uint32_t *floor = &facts->floor[k][told->op.worker];
        if (told->op.kind == GV_OPERATION_REMOVE) {
            *floor = told->op.stamp > *floor ? told->op.stamp : *floor;
        }
        for (uint32_t i = 0; i < told->op.count; i++) {
            uint32_t *stamp = &facts->stamp[k][told->nodes[i]][told->op.worker];
            *stamp = told->op.stamp > *stamp ? told->op.stamp : *stamp;
            if (told->op.kind == GV_OPERATION_INSERT) {
                facts->linked[k][told->nodes[i]] = true;
            }
        }
    }
}

/* Raise every ancestor as far as links are known. Parents come before children in the world. */
static void close_facts(const struct world *world, struct facts *facts)
{
    for (int k = 0; k < KEYS; k++) {
        for (int i = NODES - 1; i >= 0; i--) {
            for (int w = 0; w < WORKERS && world->parent[i] >= 0 && facts->linked[k][i]; w++) {
                uint32_t *up = &facts->stamp[k][world->parent[i]][w];
                *up = facts->stamp[k][i][w] > *up ? facts->stamp[k][i][w] : *up;
            }
        }
    }
}

static bool is_live(const struct facts *facts, int k, int node, int w)
{
    return facts->stamp[k][node][w] > facts->floor[k][w];
}

static struct gv_forest *forest_new(void)
{
    struct gv_forest *forest = NULL;
    struct gv_forest_limits limits = {.max_bytes = 8 << 20,
                                      .touch_interval_s = 5,
                                      .max_keys = 4,
                                      .worker_blocks = UINT64_MAX,
                                      .min_age_s = 10,
                                      .max_ahead_s = 60};
    CU_ASSERT_EQUAL_FATAL(gv_forest_new(limits, &forest), GV_OK);
    return forest;
}

static struct gv_forest_digest digest_of(struct gv_forest *forest)
{
    static const uint64_t url_hash[WORKERS] = {101, 202, 303, 404};
    struct gv_forest_digest digest;
    gv_forest_digest(forest, url_hash, WORKERS, &digest);
    return digest;
}

static bool is_equal(struct gv_forest_digest a, struct gv_forest_digest b)
{
    return a.lo == b.lo && a.hi == b.hi;
}

/* Depths, counts per worker, and the walk over all live entries agree with the model. */
static void compare(const struct world *world, const struct facts *facts, struct gv_forest *forest)
{
    static const uint32_t workers[WORKERS] = {2, 0, 3, 1};
    uint64_t total = 0;
    for (int k = 0; k < KEYS; k++) {
        for (int w = 0; w < WORKERS; w++) {
            uint64_t live = 0;
            for (int i = 0; i < NODES; i++) {
                live += is_live(facts, k, i, w) ? 1 : 0;
            }
            CU_ASSERT_EQUAL(gv_forest_worker_blocks(forest, keys[k], (uint32_t)w), live);
            total += live;
        }
        for (int leaf = 0; leaf < NODES; leaf++) {
            struct told whole = {0};
            uint32_t depths[WORKERS];
            tell_path(world, &whole, leaf, world->depth[leaf] + 1);
            gv_forest_match(forest, keys[k], whole.names, whole.op.count, workers, WORKERS, depths);
            for (int j = 0; j < WORKERS; j++) {
                uint32_t depth = 0;
                while (depth < whole.op.count &&
                       is_live(facts, k, whole.nodes[depth], (int)workers[j])) {
                    depth++;
                }
                CU_ASSERT_EQUAL(depths[j], depth);
            }
        }
    }
    struct gv_forest_cursor cursor = {0};
    struct gv_operation op;
    uint64_t scratch[9];
    uint64_t walked = 0;
    static bool is_told[KEYS][NODES][WORKERS];
    memset(is_told, 0, sizeof is_told);
    while (gv_forest_next(forest, &cursor, 0, scratch, 9, &op)) {
        int k = strcmp(op.key, keys[1]) == 0;
        for (uint32_t i = 0; i < op.count; i++) {
            int node = 0;
            while (node < NODES && world->name[node] != op.fingerprints[i]) {
                node++;
            }
            CU_ASSERT_TRUE_FATAL(node < NODES);
            /* What is told to lead from an anchor to the rest may be fresher than the rest. */
            CU_ASSERT_TRUE(op.stamp <= facts->stamp[k][node][op.worker]);
            CU_ASSERT_TRUE(i + 1 < op.count || op.stamp == facts->stamp[k][node][op.worker]);
            CU_ASSERT_EQUAL(op.depth + i, world->depth[node]);
            CU_ASSERT_TRUE(is_live(facts, k, node, (int)op.worker));
            walked += is_told[k][node][op.worker] ? 0 : 1;
            is_told[k][node][op.worker] = true;
        }
    }
    CU_ASSERT_EQUAL(walked, total);
    struct gv_forest_stats stats;
    gv_forest_stats(forest, &stats);
    CU_ASSERT_EQUAL(stats.entries, total);
}

static struct told told[OPS];

static void shuffle(struct gv_prng *prng)
{
    for (uint64_t i = OPS - 1; i > 0; i--) {
        uint64_t j = gv_prng_below(prng, i + 1);
        struct told held = told[i];
        told[i] = told[j];
        told[j] = held;
    }
}

static void apply_all(struct gv_forest *forest, struct gv_prng *prng)
{
    for (int i = 0; i < OPS; i++) {
        told[i].op.fingerprints = told[i].names;
        uint64_t times = 1 + gv_prng_below(prng, 4) / 3;
        for (uint64_t n = 0; n < times; n++) {
            CU_ASSERT_EQUAL(gv_forest_apply(forest, &told[i].op, WALL), GV_OK);
        }
    }
}

static void any_order_of_operations_gives_the_live_set_of_the_model(void)
{
    for (uint64_t seed = 1; seed <= 150; seed++) {
        struct gv_prng prng;
        struct world world;
        static struct facts facts;
        gv_prng_init(&prng, seed);
        grow_world(&world, &prng);
        memset(&facts, 0, sizeof facts);
        for (int i = 0; i < OPS; i++) {
            make_operation(&world, &prng, &told[i]);
            learn(&told[i], &facts);
        }
        close_facts(&world, &facts);
        struct gv_forest_digest first = {0};
        for (int order = 0; order < 4; order++) {
            struct gv_forest *forest = forest_new();
            apply_all(forest, &prng);
            compare(&world, &facts, forest);
            struct gv_forest_digest digest = digest_of(forest);
            first = order == 0 ? digest : first;
            CU_ASSERT_TRUE(is_equal(digest, first));
            struct gv_operation op;
            for (int i = 0; i < 4; i++) { /* sweeping the dead changes nothing that lives */
                gv_forest_sweep(forest, WALL + 100000, &op, 1);
            }
            CU_ASSERT_TRUE(is_equal(digest_of(forest), first));
            compare(&world, &facts, forest);
            gv_forest_free(forest);
            shuffle(&prng);
        }
    }
}

static void a_walk_over_one_forest_makes_an_equal_one(void)
{
    for (uint64_t seed = 1000; seed < 1050; seed++) {
        struct gv_prng prng;
        struct world world;
        gv_prng_init(&prng, seed);
        grow_world(&world, &prng);
        struct gv_forest *forest = forest_new();
        struct gv_forest *copy = forest_new();
        for (int i = 0; i < OPS; i++) {
            make_operation(&world, &prng, &told[i]);
        }
        apply_all(forest, &prng);
        struct gv_forest_cursor cursor = {0};
        struct gv_operation op;
        uint64_t scratch[GV_ANCHOR_BLOCKS];
        while (gv_forest_next(forest, &cursor, 0, scratch, GV_ANCHOR_BLOCKS, &op)) {
            CU_ASSERT_EQUAL(gv_forest_apply(copy, &op, WALL), GV_OK);
        }
        CU_ASSERT_TRUE(is_equal(digest_of(forest), digest_of(copy)));
        gv_forest_free(copy);
        gv_forest_free(forest);
    }
}

/* One node decides, sweeps and evicts; another only applies what the first publishes. */
static void what_is_published_is_all_that_happens(void)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct gv_prng prng;
        struct world world;
        gv_prng_init(&prng, seed);
        grow_world(&world, &prng);
        struct gv_forest *here = forest_new();
        struct gv_forest *there = forest_new();
        gv_forest_set_capacity(here, 1, 20);
        gv_forest_set_capacity(here, 2, 9);
        for (uint64_t step = 0; step < 300; step++) {
            uint64_t now = WALL + step * 700;
            struct gv_operation ops[4];
            struct told path = {0};
            int leaf = (int)gv_prng_below(&prng, NODES);
            uint32_t worker = (uint32_t)gv_prng_below(&prng, WORKERS);
            const char *key = keys[gv_prng_below(&prng, KEYS)];
            tell_path(&world, &path, leaf, world.depth[leaf] + 1);
            if (gv_forest_record(here, key, path.names, path.op.count, worker, now, &ops[0])) {
                CU_ASSERT_EQUAL(gv_forest_apply(there, &ops[0], now), GV_OK);
            }
            if (gv_prng_below(&prng, 40) == 0) {
                gv_forest_forget(here, gv_prng_below(&prng, 2) ? "*" : key, worker,
                                 GV_FLOOR_RESTARTED, now, &ops[0]);
                CU_ASSERT_EQUAL(gv_forest_apply(there, &ops[0], now), GV_OK);
            }
            uint32_t made = gv_forest_sweep(here, now, ops, 4);
            for (uint32_t i = 0; i < made; i++) {
                CU_ASSERT_EQUAL(gv_forest_apply(there, &ops[i], now), GV_OK);
            }
            CU_ASSERT_TRUE_FATAL(is_equal(digest_of(here), digest_of(there)));
        }
        gv_forest_free(here);
        gv_forest_free(there);
    }
}

GV_SUITE("model/forest", GV_CASE(any_order_of_operations_gives_the_live_set_of_the_model),
         GV_CASE(a_walk_over_one_forest_makes_an_equal_one),
         GV_CASE(what_is_published_is_all_that_happens))
