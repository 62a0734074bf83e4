/*
 * How far every log is applied, and what happens above a gap.
 */
#include "support/suite.h"

#include "../../../src/gossip/limits.h"
#include "../../../src/gossip/vector.h"
#include "grapevine/base/mem.h"

static struct gv_origin *opened(struct gv_vector *vector)
{
    gv_vector_init(vector);
    struct gv_origin *origin = gv_vector_open(vector, "a", 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(origin);
    return origin;
}

static void a_run_that_follows_advances(void)
{
    struct gv_vector vector;
    struct gv_origin *origin = opened(&vector);
    CU_ASSERT_EQUAL(gv_origin_advance(origin, 1, 10), 0);
    CU_ASSERT_EQUAL(gv_origin_advance(origin, 11, 1), 0);
    CU_ASSERT_EQUAL(origin->applied, 11);
    gv_vector_deinit(&vector);
}

static void what_is_known_is_counted_as_known(void)
{
    struct gv_vector vector;
    struct gv_origin *origin = opened(&vector);
    (void)gv_origin_advance(origin, 1, 10);
    CU_ASSERT_EQUAL(gv_origin_advance(origin, 1, 10), 10);
    CU_ASSERT_EQUAL(gv_origin_advance(origin, 9, 4), 2);
    CU_ASSERT_EQUAL(origin->applied, 12);
    gv_vector_deinit(&vector);
}

/* Both sides: sequence 12 after 10 is a gap of one, 11 is none. */
static void a_run_above_a_gap_waits_until_it_closes(void)
{
    struct gv_vector vector;
    struct gv_origin *origin = opened(&vector);
    uint64_t first, last;
    (void)gv_origin_advance(origin, 1, 10);
    CU_ASSERT_FALSE(gv_origin_gap(origin, &first, &last));
    CU_ASSERT_EQUAL(gv_origin_advance(origin, 12, 3), 0);
    CU_ASSERT_EQUAL(gv_origin_advance(origin, 15, 1), 0);
    CU_ASSERT_EQUAL(gv_origin_advance(origin, 14, 2), 2);
    CU_ASSERT_EQUAL(origin->applied, 10);
    CU_ASSERT(gv_origin_gap(origin, &first, &last));
    CU_ASSERT_EQUAL(first, 11);
    CU_ASSERT_EQUAL(last, 11);
    CU_ASSERT_EQUAL(gv_origin_advance(origin, 11, 1), 0);
    CU_ASSERT_EQUAL(origin->applied, 15);
    CU_ASSERT_FALSE(gv_origin_gap(origin, &first, &last));
    gv_vector_deinit(&vector);
}

static void a_snapshot_that_reaches_the_run_joins_it(void)
{
    struct gv_vector vector;
    struct gv_origin *origin = opened(&vector);
    (void)gv_origin_advance(origin, 20, 5);
    gv_origin_raise(origin, 18);
    CU_ASSERT_EQUAL(origin->applied, 18);
    gv_origin_raise(origin, 19);
    CU_ASSERT_EQUAL(origin->applied, 24);
    gv_origin_raise(origin, 3);
    CU_ASSERT_EQUAL(origin->applied, 24);
    gv_vector_deinit(&vector);
}

static void digests_are_equal_exactly_when_positions_are(void)
{
    struct gv_vector one, two;
    uint8_t digests[2][16];
    gv_vector_init(&one);
    gv_vector_init(&two);
    gv_origin_raise(gv_vector_open(&one, "a", 1), 5);
    gv_origin_raise(gv_vector_open(&one, "b", 2), 6);
    gv_origin_raise(gv_vector_open(&two, "b", 2), 6);
    gv_vector_digest(&one, digests[0]);
    gv_vector_digest(&two, digests[1]);
    CU_ASSERT(memcmp(digests[0], digests[1], 16) != 0);
    gv_origin_raise(gv_vector_open(&two, "a", 1), 5);
    CU_ASSERT_PTR_NOT_NULL(gv_vector_open(&two, "c", 3)); /* at 0: nothing to say */
    gv_vector_digest(&two, digests[1]);
    CU_ASSERT(memcmp(digests[0], digests[1], 16) == 0);
    gv_vector_find(&two, "a", 1)->forgotten = true;
    gv_vector_digest(&two, digests[1]);
    CU_ASSERT(memcmp(digests[0], digests[1], 16) != 0);
    gv_vector_deinit(&one);
    gv_vector_deinit(&two);
}

/* A digest is the same whether the moves since the last one were counted one by one or at once. */
static void counting_moves_early_changes_no_digest(void)
{
    struct gv_vector early, late;
    uint8_t digests[2][16];
    struct gv_origin *a = opened(&early), *b = opened(&late);
    for (uint64_t i = 1; i <= 5; i++) {
        (void)gv_origin_advance(a, i, 1);
        gv_vector_settle(&early);
    }
    (void)gv_origin_advance(b, 1, 5);
    gv_vector_digest(&early, digests[0]);
    gv_vector_digest(&late, digests[1]);
    CU_ASSERT_EQUAL(memcmp(digests[0], digests[1], 16), 0);
    CU_ASSERT_EQUAL(early.round, 5);
    CU_ASSERT_PTR_EQUAL(gv_vector_find_boot(&early, 1), a);
    gv_vector_remove(&early, a);
    CU_ASSERT_PTR_NULL(gv_vector_find_boot(&early, 1));
    CU_ASSERT_PTR_NULL(early.newest);
    uint8_t none[16] = {0};
    gv_vector_digest(&early, digests[0]);
    CU_ASSERT_EQUAL(memcmp(digests[0], none, 16), 0);
    gv_vector_deinit(&early);
    gv_vector_deinit(&late);
}

static void a_vector_holds_its_limit_and_no_more(void)
{
    struct gv_vector vector;
    gv_vector_init(&vector);
    for (uint64_t boot = 1; boot <= GV_VECTOR_MAX; boot++) {
        CU_ASSERT_PTR_NOT_NULL(gv_vector_open(&vector, "a", boot * 7919 % 100003));
    }
    CU_ASSERT_PTR_NULL(gv_vector_open(&vector, "b", 1));
    struct gv_origin *gone = gv_vector_find(&vector, "a", 7919);
    CU_ASSERT_PTR_NOT_NULL_FATAL(gone);
    gv_vector_remove(&vector, gone);
    CU_ASSERT_PTR_NULL(gv_vector_find(&vector, "a", 7919));
    CU_ASSERT_PTR_NOT_NULL(gv_vector_open(&vector, "b", 1));
    gv_vector_deinit(&vector);
}

static void without_memory_nothing_is_opened_and_nothing_leaks(void)
{
    for (uint64_t nth = 1; nth <= 3; nth++) {
        struct gv_vector vector;
        gv_vector_init(&vector);
        gv_mem_fail_nth(nth);
        CU_ASSERT_PTR_NULL(gv_vector_open(&vector, "a", 1));
        gv_mem_fail_nth(0);
        CU_ASSERT_EQUAL(vector.count, 0);
        gv_vector_deinit(&vector);
    }
}

static void marked_logs_are_counted(void)
{
    struct gv_vector vector;
    struct gv_origin *first = opened(&vector), *second = gv_vector_open(&vector, "b", 2);
    CU_ASSERT_PTR_NOT_NULL_FATAL(second);
    gv_origin_mark(first, 1);
    gv_origin_mark(first, 2);
    CU_ASSERT_EQUAL(first->refused, 2);
    CU_ASSERT_EQUAL(vector.marked, 1);
    gv_origin_mark(second, 1);
    gv_origin_mark(first, 0);
    gv_origin_mark(first, 0);
    CU_ASSERT_EQUAL(vector.marked, 1);
    gv_vector_remove(&vector, second);
    CU_ASSERT_EQUAL(vector.marked, 0);
    gv_vector_deinit(&vector);
}

/* Boots are random, but a member may claim another's. */
static void two_logs_of_one_boot_are_told_apart(void)
{
    struct gv_vector vector;
    struct gv_origin *first = opened(&vector), *second = gv_vector_open(&vector, "b", 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(second);
    CU_ASSERT_PTR_NOT_EQUAL(first, second);
    CU_ASSERT_PTR_EQUAL(gv_vector_open(&vector, "a", 1), first);
    CU_ASSERT_PTR_EQUAL(gv_vector_find(&vector, "b", 1), second);
    CU_ASSERT_PTR_NULL(gv_vector_find(&vector, "c", 1));
    CU_ASSERT_PTR_NULL(gv_vector_find(&vector, "a", 2));
    gv_vector_remove(&vector, first);
    CU_ASSERT_PTR_EQUAL(gv_vector_find(&vector, "b", 1), second);
    CU_ASSERT_PTR_NULL(gv_vector_find(&vector, "a", 1));
    gv_vector_deinit(&vector);
}

GV_SUITE("gossip/vector", GV_CASE(a_run_that_follows_advances),
         GV_CASE(what_is_known_is_counted_as_known),
         GV_CASE(a_run_above_a_gap_waits_until_it_closes),
         GV_CASE(a_snapshot_that_reaches_the_run_joins_it),
         GV_CASE(digests_are_equal_exactly_when_positions_are),
         GV_CASE(counting_moves_early_changes_no_digest), GV_CASE(marked_logs_are_counted),
         GV_CASE(two_logs_of_one_boot_are_told_apart),
         GV_CASE(a_vector_holds_its_limit_and_no_more),
         GV_CASE(without_memory_nothing_is_opened_and_nothing_leaks))
