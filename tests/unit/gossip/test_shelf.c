/*
 * Batches of others' logs, kept: the newest, up to a limit in bytes.
 */
#include "support/suite.h"

#include "../../../src/gossip/shelf.h"
#include "grapevine/base/mem.h"

#define BATCH_BYTES 100
#define KEPT_BYTES  (sizeof(struct gv_kept) + BATCH_BYTES)

static struct gv_vector vector;
static struct gv_shelf shelf;
static struct gv_origin *one, *two;

static void begin(size_t max_bytes)
{
    gv_vector_init(&vector);
    gv_shelf_init(&shelf, max_bytes);
    one = gv_vector_open(&vector, "one", 1);
    two = gv_vector_open(&vector, "two", 2);
    CU_ASSERT_PTR_NOT_NULL_FATAL(one);
    CU_ASSERT_PTR_NOT_NULL_FATAL(two);
}

static void end(void)
{
    gv_shelf_deinit(&shelf);
    CU_ASSERT_EQUAL(shelf.bytes, 0);
    gv_vector_deinit(&vector);
}

static void keep(struct gv_origin *origin, uint64_t first, uint64_t last)
{
    uint8_t bytes[BATCH_BYTES] = {(uint8_t)first};
    gv_shelf_keep(&shelf, origin, first, last, gv_slice_of(bytes, sizeof bytes));
}

static void batches_of_a_log_are_kept_as_they_came(void)
{
    begin(10 * KEPT_BYTES);
    keep(one, 1, 3);
    keep(two, 1, 1);
    keep(one, 4, 4);
    CU_ASSERT_EQUAL(one->kept_oldest->first, 1);
    CU_ASSERT_EQUAL(one->kept_oldest->bytes[0], 1);
    CU_ASSERT_PTR_EQUAL(one->kept_oldest->next_of_log, one->kept_newest);
    CU_ASSERT_EQUAL(one->kept_newest->last, 4);
    CU_ASSERT_PTR_EQUAL(two->kept_oldest, two->kept_newest);
    end();
}

/* Both sides of the limit: three fit, the fourth pushes out the oldest of all. */
static void the_oldest_of_all_logs_goes_first(void)
{
    begin(3 * KEPT_BYTES);
    keep(one, 1, 1);
    keep(two, 1, 1);
    keep(one, 2, 2);
    CU_ASSERT_EQUAL(one->kept_oldest->first, 1);
    keep(one, 3, 3);
    CU_ASSERT_EQUAL(one->kept_oldest->first, 2);
    CU_ASSERT_PTR_NOT_NULL(two->kept_oldest);
    keep(one, 4, 4);
    CU_ASSERT_PTR_NULL(two->kept_oldest);
    CU_ASSERT_PTR_NULL(two->kept_newest);
    CU_ASSERT_EQUAL(shelf.bytes, 3 * KEPT_BYTES);
    end();
}

static void what_is_larger_than_the_shelf_is_not_kept(void)
{
    begin(KEPT_BYTES - 1);
    keep(one, 1, 1);
    CU_ASSERT_PTR_NULL(one->kept_oldest);
    CU_ASSERT_EQUAL(shelf.bytes, 0);
    end();
}

static void a_log_may_be_forgotten_before_its_batches(void)
{
    begin(2 * KEPT_BYTES);
    keep(one, 1, 1);
    keep(two, 1, 1);
    gv_shelf_forget(one);
    gv_vector_remove(&vector, one);
    keep(two, 2, 2); /* pushes out what was of `one` */
    keep(two, 3, 3);
    CU_ASSERT_EQUAL(two->kept_oldest->first, 2);
    end();
}

static void a_range_is_found_oldest_first_and_nothing_beside_it(void)
{
    const struct gv_kept *found[GV_SHELF_LOOK_MAX];
    begin(10 * KEPT_BYTES);
    keep(one, 1, 3);
    keep(one, 7, 9); /* 4 to 6 came late */
    keep(two, 5, 5);
    keep(one, 4, 6);
    CU_ASSERT_EQUAL(gv_shelf_find(one, 3, 4, found), 2);
    CU_ASSERT_EQUAL(found[0]->first, 1);
    CU_ASSERT_EQUAL(found[1]->first, 4);
    CU_ASSERT_EQUAL(gv_shelf_find(one, 10, 20, found), 0);
    CU_ASSERT_EQUAL(gv_shelf_find(two, 1, 20, found), 1);
    end();
}

/* Both sides: the oldest of as many as are looked through is found, the one before it is not. */
static void a_question_looks_through_so_many_batches_and_no_more(void)
{
    static const struct gv_kept *found[GV_SHELF_LOOK_MAX];
    begin((GV_SHELF_LOOK_MAX + 2) * KEPT_BYTES);
    for (uint64_t i = 1; i <= GV_SHELF_LOOK_MAX; i++) {
        keep(one, i, i);
    }
    CU_ASSERT_EQUAL(gv_shelf_find(one, 1, 1, found), 1);
    CU_ASSERT_EQUAL(gv_shelf_find(one, 1, UINT64_MAX, found), GV_SHELF_LOOK_MAX);
    keep(one, GV_SHELF_LOOK_MAX + 1, GV_SHELF_LOOK_MAX + 1);
    CU_ASSERT_EQUAL(gv_shelf_find(one, 1, 1, found), 0);
    CU_ASSERT_EQUAL(gv_shelf_find(one, 2, 2, found), 1);
    end();
}

GV_SUITE("gossip/shelf", GV_CASE(batches_of_a_log_are_kept_as_they_came),
         GV_CASE(the_oldest_of_all_logs_goes_first),
         GV_CASE(what_is_larger_than_the_shelf_is_not_kept),
         GV_CASE(a_log_may_be_forgotten_before_its_batches),
         GV_CASE(a_range_is_found_oldest_first_and_nothing_beside_it),
         GV_CASE(a_question_looks_through_so_many_batches_and_no_more))
