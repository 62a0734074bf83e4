/* The growing buffer: its limit, its front, and memory that runs out. */
#include "grapevine/base/buf.h"
#include "grapevine/base/prng.h"
#include "support/suite.h"

static void bytes_come_out_in_the_order_they_went_in(void)
{
    struct gv_buf buf;
    gv_buf_init(&buf, GV_MEM_BUFFER, 1000);
    CU_ASSERT_EQUAL(gv_buf_append_text(&buf, "hello "), GV_OK);
    CU_ASSERT_EQUAL(gv_buf_append_format(&buf, "%d-%s", 7, "x"), GV_OK);
    CU_ASSERT_TRUE(gv_slice_is(gv_buf_slice(&buf), "hello 7-x"));
    gv_buf_consume(&buf, 6);
    CU_ASSERT_TRUE(gv_slice_is(gv_buf_slice(&buf), "7-x"));
    CU_ASSERT_EQUAL(gv_buf_append_text(&buf, "!"), GV_OK);
    CU_ASSERT_TRUE(gv_slice_is(gv_buf_slice(&buf), "7-x!"));
    gv_buf_clear(&buf);
    CU_ASSERT_EQUAL(buf.len, 0);
    CU_ASSERT_TRUE(buf.room > 0);
    gv_buf_reset(&buf);
    CU_ASSERT_EQUAL(buf.room, 0);
    CU_ASSERT_EQUAL(gv_buf_append_text(&buf, "again"), GV_OK);
    gv_buf_deinit(&buf);
}

static void the_limit_is_exact_and_over_it_nothing_changes(void)
{
    struct gv_buf buf;
    uint8_t *where;
    gv_buf_init(&buf, GV_MEM_BUFFER, 10);
    CU_ASSERT_EQUAL(gv_buf_append_text(&buf, "12345678901"), GV_ETOOBIG);
    CU_ASSERT_EQUAL(gv_buf_append_format(&buf, "%011d", 1), GV_ETOOBIG);
    CU_ASSERT_EQUAL(gv_buf_append_format(&buf, "%0300d", 1), GV_ETOOBIG);
    CU_ASSERT_EQUAL(buf.len, 0);
    CU_ASSERT_EQUAL(gv_buf_append_text(&buf, "1234567890"), GV_OK);
    CU_ASSERT_EQUAL(gv_buf_append_text(&buf, "x"), GV_ETOOBIG);
    CU_ASSERT_EQUAL(gv_buf_reserve(&buf, SIZE_MAX, &where), GV_ETOOBIG);
    CU_ASSERT_EQUAL(gv_buf_append_text(&buf, ""), GV_OK);
    gv_buf_consume(&buf, 3);
    CU_ASSERT_EQUAL(gv_buf_append_text(&buf, "abc"), GV_OK);
    CU_ASSERT_TRUE(gv_slice_is(gv_buf_slice(&buf), "4567890abc"));
    CU_ASSERT_TRUE(buf.room <= 10);
    gv_buf_deinit(&buf);
}

static void long_formatted_text_goes_in_whole(void)
{
    struct gv_buf buf;
    gv_buf_init(&buf, GV_MEM_BUFFER, 1000);
    for (int width = 254; width <= 258; width++) {
        gv_buf_clear(&buf);
        CU_ASSERT_EQUAL(gv_buf_append_format(&buf, "%0*d", width, 5), GV_OK);
        CU_ASSERT_EQUAL(buf.len, (size_t)width);
        CU_ASSERT_EQUAL(buf.data[buf.len - 1], '5');
    }
    gv_buf_deinit(&buf);
}

static void reserved_room_counts_only_as_far_as_it_is_committed(void)
{
    struct gv_buf buf;
    uint8_t *where;
    gv_buf_init(&buf, GV_MEM_BUFFER, 100);
    CU_ASSERT_EQUAL(gv_buf_reserve(&buf, 100, &where), GV_OK);
    memcpy(where, "abc", 3);
    CU_ASSERT_EQUAL(buf.len, 0);
    gv_buf_commit(&buf, 3);
    CU_ASSERT_TRUE(gv_slice_is(gv_buf_slice(&buf), "abc"));
    gv_buf_deinit(&buf);
}

/* A long queue fed and drained at random must not grow beyond what it holds at most. */
static void a_queue_that_is_drained_does_not_grow(void)
{
    struct gv_buf buf;
    struct gv_prng prng;
    uint8_t in = 0;
    uint8_t out = 0;
    gv_buf_init(&buf, GV_MEM_BUFFER, 512);
    gv_prng_init(&prng, 3);
    for (int step = 0; step < 20000; step++) {
        uint8_t bytes[64];
        size_t len = (size_t)gv_prng_below(&prng, sizeof bytes);
        for (size_t i = 0; i < len; i++) {
            bytes[i] = (uint8_t)(in + i);
        }
        if (gv_buf_append(&buf, gv_slice_of(bytes, len)) == GV_OK) {
            in = (uint8_t)(in + len);
        }
        size_t taken = (size_t)gv_prng_below(&prng, buf.len + 1);
        for (size_t i = 0; i < taken; i++) {
            CU_ASSERT_EQUAL(gv_buf_slice(&buf).data[i], (uint8_t)(out + i));
        }
        out = (uint8_t)(out + taken);
        gv_buf_consume(&buf, taken);
    }
    CU_ASSERT_TRUE(buf.room <= 512);
    gv_buf_deinit(&buf);
}

static void an_append_that_runs_out_of_memory_changes_nothing(void)
{
    struct gv_buf buf;
    size_t before = gv_mem_used(GV_MEM_BUFFER);
    gv_buf_init(&buf, GV_MEM_BUFFER, 5000);
    CU_ASSERT_EQUAL(gv_buf_append_text(&buf, "kept"), GV_OK);
    for (uint64_t nth = 1; nth <= 2; nth++) {
        gv_mem_fail_nth(nth);
        CU_ASSERT_EQUAL(gv_buf_append_format(&buf, "%0600d", 1), GV_ENOMEM);
        gv_mem_fail_nth(0);
        CU_ASSERT_TRUE(gv_slice_is(gv_buf_slice(&buf), "kept"));
    }
    CU_ASSERT_EQUAL(gv_buf_append_format(&buf, "%0600d", 1), GV_OK);
    gv_buf_deinit(&buf);
    CU_ASSERT_EQUAL(gv_mem_used(GV_MEM_BUFFER), before);
}

static void a_number_is_written_in_decimal_to_its_last_digit(void)
{
    struct gv_buf buf;
    gv_buf_init(&buf, GV_MEM_BUFFER, 33);
    CU_ASSERT_EQUAL(gv_buf_append_u64(&buf, 0), GV_OK);
    CU_ASSERT_EQUAL(gv_buf_append_text(&buf, " "), GV_OK);
    CU_ASSERT_EQUAL(gv_buf_append_u64(&buf, 9), GV_OK);
    CU_ASSERT_EQUAL(gv_buf_append_u64(&buf, 10), GV_OK);
    CU_ASSERT_EQUAL(gv_buf_append_text(&buf, " "), GV_OK);
    CU_ASSERT_EQUAL(gv_buf_append_u64(&buf, UINT64_MAX), GV_OK);
    CU_ASSERT_TRUE(gv_slice_is(gv_buf_slice(&buf), "0 910 18446744073709551615"));
    CU_ASSERT_EQUAL(gv_buf_append_u64(&buf, 12345678), GV_ETOOBIG);
    CU_ASSERT_EQUAL(gv_buf_append_u64(&buf, 1234567), GV_OK);
    CU_ASSERT_EQUAL(buf.len, 33);
    gv_buf_deinit(&buf);
}

static void a_fit_is_exact_and_what_fits_is_not_moved(void)
{
    struct gv_buf buf;
    gv_buf_init(&buf, GV_MEM_BUFFER, 1000);
    CU_ASSERT_EQUAL(gv_buf_fit(&buf, 700), GV_OK);
    CU_ASSERT_EQUAL(buf.room, 700);
    const uint8_t *data = buf.data;
    CU_ASSERT_EQUAL(gv_buf_append_text(&buf, "abc"), GV_OK);
    CU_ASSERT_EQUAL(gv_buf_fit(&buf, 697), GV_OK);
    CU_ASSERT_PTR_EQUAL(buf.data, data);
    CU_ASSERT_EQUAL(gv_buf_fit(&buf, 997), GV_OK);
    CU_ASSERT_EQUAL(buf.room, 1000);
    CU_ASSERT_EQUAL(gv_buf_fit(&buf, 998), GV_ETOOBIG);
    CU_ASSERT_EQUAL(buf.room, 1000);
    CU_ASSERT_TRUE(gv_slice_is(gv_buf_slice(&buf), "abc"));
    gv_buf_deinit(&buf);
}

GV_SUITE("base/buf", GV_CASE(a_fit_is_exact_and_what_fits_is_not_moved),
         GV_CASE(bytes_come_out_in_the_order_they_went_in),
         GV_CASE(the_limit_is_exact_and_over_it_nothing_changes),
         GV_CASE(long_formatted_text_goes_in_whole),
         GV_CASE(reserved_room_counts_only_as_far_as_it_is_committed),
         GV_CASE(a_queue_that_is_drained_does_not_grow),
         GV_CASE(an_append_that_runs_out_of_memory_changes_nothing),
         GV_CASE(a_number_is_written_in_decimal_to_its_last_digit))
