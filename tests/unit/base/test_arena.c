/* Memory that dies together: alignment, the cap, and what a reset keeps. */
#include "grapevine/base/arena.h"
#include "support/suite.h"

static void pieces_are_zeroed_aligned_and_apart(void)
{
    struct gv_arena arena;
    uint8_t *last = NULL;
    gv_arena_init(&arena, GV_MEM_EXCHANGE, 1 << 20);
    for (size_t bytes = 0; bytes < 300; bytes++) {
        uint8_t *piece = gv_arena_take(&arena, bytes);
        CU_ASSERT_PTR_NOT_NULL_FATAL(piece);
        CU_ASSERT_EQUAL((uintptr_t)piece % _Alignof(max_align_t), 0);
        CU_ASSERT_PTR_NOT_EQUAL(piece, last);
        for (size_t i = 0; i < bytes; i++) {
            CU_ASSERT_EQUAL(piece[i], 0);
            piece[i] = 0xff;
        }
        last = piece;
    }
    gv_arena_deinit(&arena);
}

static void the_cap_is_exact(void)
{
    struct gv_arena arena;
    gv_arena_init(&arena, GV_MEM_EXCHANGE, 160);
    CU_ASSERT_PTR_NOT_NULL(gv_arena_take(&arena, 144));
    CU_ASSERT_PTR_NULL(gv_arena_take(&arena, 17));
    CU_ASSERT_PTR_NOT_NULL(gv_arena_take(&arena, 16));
    CU_ASSERT_EQUAL(arena.used_bytes, 160);
    CU_ASSERT_PTR_NULL(gv_arena_take(&arena, 1));
    CU_ASSERT_PTR_NULL(gv_arena_take(&arena, SIZE_MAX));
    gv_arena_deinit(&arena);
}

static void a_reset_keeps_the_largest_usual_chunk_and_zeroes_again(void)
{
    struct gv_arena arena;
    size_t before = gv_mem_used(GV_MEM_EXCHANGE);
    gv_arena_init(&arena, GV_MEM_EXCHANGE, 1 << 20);
    memset(gv_arena_take(&arena, 100), 0xff, 100);
    memset(gv_arena_take(&arena, 4090), 0xff, 4090);
    CU_ASSERT_PTR_NOT_NULL(gv_arena_take(&arena, 70000));
    gv_arena_reset(&arena);
    CU_ASSERT_EQUAL(arena.used_bytes, 0);
    size_t kept = gv_mem_used(GV_MEM_EXCHANGE) - before;
    CU_ASSERT_TRUE(kept >= 8192 && kept < 16384);
    const uint8_t *again = gv_arena_take(&arena, 8000);
    for (size_t i = 0; i < 8000; i++) {
        CU_ASSERT_EQUAL(again[i], 0);
    }
    CU_ASSERT_EQUAL(gv_mem_used(GV_MEM_EXCHANGE) - before, kept);
    gv_arena_deinit(&arena);
    CU_ASSERT_EQUAL(gv_mem_used(GV_MEM_EXCHANGE), before);
    /* A larger piece than is usual is not worth keeping. */
    CU_ASSERT_PTR_NOT_NULL(gv_arena_take(&arena, 65536 + 1));
    gv_arena_reset(&arena);
    CU_ASSERT_EQUAL(gv_mem_used(GV_MEM_EXCHANGE), before);
    CU_ASSERT_PTR_NOT_NULL(gv_arena_take(&arena, 65536));
    gv_arena_reset(&arena);
    CU_ASSERT_TRUE(gv_mem_used(GV_MEM_EXCHANGE) >= before + 65536);
    gv_arena_deinit(&arena);
}

/* Chunks grow, so that a megabyte in small pieces is a score of allocations; and no further. */
static void chunks_double_up_to_what_is_kept(void)
{
    struct gv_arena arena;
    size_t before = gv_mem_used(GV_MEM_EXCHANGE);
    gv_arena_init(&arena, GV_MEM_EXCHANGE, 1 << 20);
    for (size_t taken = 0; taken < 1 << 20; taken += 1024) {
        CU_ASSERT_PTR_NOT_NULL_FATAL(gv_arena_take(&arena, 1024));
    }
    CU_ASSERT_TRUE(gv_mem_used(GV_MEM_EXCHANGE) - before < (1 << 20) + 2 * 65536);
    gv_arena_reset(&arena);
    size_t kept = gv_mem_used(GV_MEM_EXCHANGE) - before;
    CU_ASSERT_TRUE(kept >= 65536 && kept < 65536 + 4096);
    gv_arena_deinit(&arena);
    CU_ASSERT_EQUAL(gv_mem_used(GV_MEM_EXCHANGE), before);
}

/* What is left of before stays in a raw piece, and is not seen in a zeroed one behind it. */
static void a_raw_piece_is_not_zeroed_and_the_next_one_is(void)
{
    struct gv_arena arena;
    gv_arena_init(&arena, GV_MEM_EXCHANGE, 1000);
    memset(gv_arena_take_raw(&arena, 200), 0xff, 200);
    gv_arena_reset(&arena);
    const uint8_t *raw = gv_arena_take_raw(&arena, 96);
    const uint8_t *zeroed = gv_arena_take(&arena, 96);
    CU_ASSERT_PTR_EQUAL(zeroed, raw + 96);
    for (size_t i = 0; i < 96; i++) {
        CU_ASSERT_NOT_EQUAL(raw[i], 0);
        CU_ASSERT_EQUAL(zeroed[i], 0);
    }
    CU_ASSERT_PTR_NULL(gv_arena_take_raw(&arena, 1000 - 192 + 1));
    gv_arena_deinit(&arena);
}

static void a_copy_ends_with_a_nul(void)
{
    struct gv_arena arena;
    gv_arena_init(&arena, GV_MEM_EXCHANGE, 1000);
    CU_ASSERT_STRING_EQUAL(gv_arena_copy(&arena, gv_slice_of("abcdef", 3)), "abc");
    CU_ASSERT_STRING_EQUAL(gv_arena_copy(&arena, gv_slice_of(NULL, 0)), "");
    CU_ASSERT_PTR_NULL(gv_arena_copy(&arena, gv_slice_of("", SIZE_MAX)));
    gv_arena_deinit(&arena);
}

static void a_piece_that_runs_out_of_memory_changes_nothing(void)
{
    struct gv_arena arena;
    gv_arena_init(&arena, GV_MEM_EXCHANGE, 100000);
    CU_ASSERT_PTR_NOT_NULL(gv_arena_take(&arena, 16));
    size_t used = arena.used_bytes;
    gv_mem_fail_nth(1);
    CU_ASSERT_PTR_NULL(gv_arena_take(&arena, 9000));
    gv_mem_fail_nth(0);
    CU_ASSERT_EQUAL(arena.used_bytes, used);
    CU_ASSERT_PTR_NOT_NULL(gv_arena_take(&arena, 9000));
    gv_arena_deinit(&arena);
}

GV_SUITE("base/arena", GV_CASE(pieces_are_zeroed_aligned_and_apart), GV_CASE(the_cap_is_exact),
         GV_CASE(a_reset_keeps_the_largest_usual_chunk_and_zeroes_again),
         GV_CASE(chunks_double_up_to_what_is_kept),
         GV_CASE(a_raw_piece_is_not_zeroed_and_the_next_one_is), GV_CASE(a_copy_ends_with_a_nul),
         GV_CASE(a_piece_that_runs_out_of_memory_changes_nothing))
