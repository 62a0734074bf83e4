/*
 * A forest in parts: sums of its buckets, and copies of what is in some of them.
 */
#include "forest_stage.h"

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

/* A share that is cut gets a floor as old as what gave way. Who lacks only the newest operations
 * lacks such floors, too. */
static void a_walk_since_a_stamp_tells_every_floor_however_old(void)
{
    struct gv_forest *forest = forest_of(1 << 20);
    struct gv_operation op;
    struct gv_forest_part part = {.key = KEY, .buckets = {1}};
    uint64_t scratch[64];
    CU_ASSERT_TRUE(gv_forest_record(forest, KEY, path, 8, 3, WALL(1000), &op));
    gv_forest_forget(forest, "*", 4, GV_FLOOR_REMOVED, WALL(10), &op);
    uint32_t star = op.stamp;
    op = (struct gv_operation){
        .kind = GV_OPERATION_REMOVE, .key = KEY, .worker = 3, .stamp = 7, .reason = 0};
    CU_ASSERT_EQUAL(gv_forest_apply(forest, &op, WALL(1000)), GV_OK);
    for (int round = 0; round < 2; round++) {
        struct gv_forest_cursor at = {.at = 0};
        uint32_t told = 0;
        while (round == 0 ? gv_forest_next(forest, &at, UINT32_MAX, scratch, 64, &op)
                          : gv_forest_next_part(forest, &at, &part, UINT32_MAX, scratch, 64, &op)) {
            CU_ASSERT_EQUAL_FATAL(op.kind, GV_OPERATION_REMOVE);
            told |= strcmp(op.key, "*") == 0 && op.worker == 4 && op.stamp == star ? 1u : 0u;
            told |= strcmp(op.key, KEY) == 0 && op.worker == 3 && op.stamp == 7 ? 2u : 0u;
        }
        CU_ASSERT_EQUAL(told, 3);
    }
    gv_forest_free(forest);
}

GV_SUITE("route/forest_parts", GV_CASE(a_walk_since_a_stamp_tells_every_floor_however_old),

         GV_CASE(the_sums_of_the_buckets_do_not_depend_on_how_paths_were_told),
         GV_CASE(parts_that_together_name_all_buckets_tell_everything_once),
         GV_CASE(a_piece_without_its_beginning_is_told_with_every_part))
