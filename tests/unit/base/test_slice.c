/* Questions about borrowed bytes. */
#include "grapevine/base/slice.h"
#include "support/suite.h"

static void equality_may_or_may_not_mind_the_case(void)
{
    CU_ASSERT_TRUE(gv_slice_is(gv_slice_text("abc"), "abc"));
    CU_ASSERT_FALSE(gv_slice_is(gv_slice_text("abc"), "abC"));
    CU_ASSERT_TRUE(gv_slice_equal_nocase(gv_slice_text("aZ-09@["), gv_slice_text("Az-09@[")));
    CU_ASSERT_FALSE(gv_slice_equal_nocase(gv_slice_text("@"), gv_slice_text("`")));
    CU_ASSERT_FALSE(gv_slice_equal_nocase(gv_slice_text("["), gv_slice_text("{")));
    CU_ASSERT_FALSE(gv_slice_equal_nocase(gv_slice_text("ab"), gv_slice_text("abc")));
    CU_ASSERT_TRUE(gv_slice_equal(gv_slice_of(NULL, 0), gv_slice_text("")));
}

static void a_prefix_is_no_longer_than_the_slice(void)
{
    CU_ASSERT_TRUE(gv_slice_starts_with(gv_slice_text("abc"), "abc"));
    CU_ASSERT_TRUE(gv_slice_starts_with(gv_slice_text("abc"), ""));
    CU_ASSERT_TRUE(gv_slice_starts_with(gv_slice_of(NULL, 0), ""));
    CU_ASSERT_FALSE(gv_slice_starts_with(gv_slice_text("abc"), "abcd"));
    CU_ASSERT_FALSE(gv_slice_starts_with(gv_slice_text("abc"), "b"));
}

static void trimming_takes_blanks_and_tabs_at_the_ends_only(void)
{
    CU_ASSERT_TRUE(gv_slice_is(gv_slice_trim(gv_slice_text(" \ta b\t ")), "a b"));
    CU_ASSERT_TRUE(gv_slice_is(gv_slice_trim(gv_slice_text(" \t ")), ""));
    CU_ASSERT_TRUE(gv_slice_is(gv_slice_trim(gv_slice_text("\r\n")), "\r\n"));
}

static void numbers_are_decimal_digits_up_to_64_bits(void)
{
    static const char *const wrong[] = {"",
                                        "-1",
                                        "+1",
                                        " 1",
                                        "1 ",
                                        "0x1",
                                        "1.0",
                                        "1e3",
                                        "18446744073709551616",
                                        "99999999999999999999"};
    uint64_t value = 7;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        CU_ASSERT_FALSE(gv_slice_to_u64(gv_slice_text(wrong[i]), &value));
        CU_ASSERT_EQUAL(value, 7);
    }
    CU_ASSERT_TRUE(gv_slice_to_u64(gv_slice_text("18446744073709551615"), &value));
    CU_ASSERT_EQUAL(value, UINT64_MAX);
    CU_ASSERT_TRUE(gv_slice_to_u64(gv_slice_text("000"), &value));
    CU_ASSERT_EQUAL(value, 0);
}

static void a_copy_says_whether_it_is_whole(void)
{
    char text[4];
    CU_ASSERT_TRUE(gv_slice_copy_text(gv_slice_text("abc"), text, sizeof text));
    CU_ASSERT_STRING_EQUAL(text, "abc");
    CU_ASSERT_FALSE(gv_slice_copy_text(gv_slice_text("abcd"), text, sizeof text));
    CU_ASSERT_STRING_EQUAL(text, "abc");
    CU_ASSERT_TRUE(gv_slice_copy_text(gv_slice_of(NULL, 0), text, 1));
    CU_ASSERT_STRING_EQUAL(text, "");
}

GV_SUITE("base/slice", GV_CASE(equality_may_or_may_not_mind_the_case),
         GV_CASE(a_prefix_is_no_longer_than_the_slice),
         GV_CASE(trimming_takes_blanks_and_tabs_at_the_ends_only),
         GV_CASE(numbers_are_decimal_digits_up_to_64_bits),
         GV_CASE(a_copy_says_whether_it_is_whole))
