/* test_date.c - HTTP's one date. */
#include "grapevine/http/date.h"
#include "support/suite.h"

static void a_date_is_the_seconds_since_1970(void)
{
    static const struct {
        const char *text;
        uint64_t seconds;
    } rows[] = {
        {"Thu, 01 Jan 1970 00:00:00 GMT", 0},          {"Sun, 06 Nov 1994 08:49:37 GMT", 784111777},
        {"Tue, 29 Feb 2000 23:59:59 GMT", 951868799},  {"Wed, 01 Mar 2000 00:00:00 GMT", 951868800},
        {"Fri, 31 Dec 2100 12:00:00 GMT", 4133937600},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint64_t seconds = 1;
        CU_ASSERT_TRUE(gv_date_parse(gv_slice_text(rows[i].text), &seconds));
        CU_ASSERT_EQUAL(seconds, rows[i].seconds);
    }
}

static void what_is_not_that_date_is_refused(void)
{
    static const char *const texts[] = {
        "",
        "12",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 GMT ",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 32 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nop 1994 08:49:37 GMT",
        "Sun, 06 Nov 1969 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:49:37 GMT",
        "Sun, 06 Nov 1994 08:60:37 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, +6 Nov 1994 08:49:37 GMT",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        uint64_t seconds = 7;
        CU_ASSERT_FALSE(gv_date_parse(gv_slice_text(texts[i]), &seconds));
        CU_ASSERT_EQUAL(seconds, 7);
    }
}

static void a_retry_after_is_a_number_or_a_date(void)
{
    const struct gv_slice date = gv_slice_text("Sun, 06 Nov 1994 08:49:37 GMT");
    uint64_t wait = 9;
    CU_ASSERT_TRUE(gv_date_retry_after(gv_slice_text("120"), 5, &wait));
    CU_ASSERT_EQUAL(wait, 120);
    CU_ASSERT_TRUE(gv_date_retry_after(date, 784111776, &wait));
    CU_ASSERT_EQUAL(wait, 1);
    CU_ASSERT_TRUE(gv_date_retry_after(date, 784111777, &wait));
    CU_ASSERT_EQUAL(wait, 0);
    CU_ASSERT_TRUE(gv_date_retry_after(date, 784111778, &wait));
    CU_ASSERT_EQUAL(wait, 0);
    CU_ASSERT_FALSE(gv_date_retry_after(gv_slice_text("soon"), 5, &wait));
    CU_ASSERT_FALSE(gv_date_retry_after(gv_slice_text(""), 5, &wait));
}

GV_SUITE("http/date", GV_CASE(a_date_is_the_seconds_since_1970),
         GV_CASE(what_is_not_that_date_is_refused), GV_CASE(a_retry_after_is_a_number_or_a_date))
