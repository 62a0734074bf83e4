/* API keys compared, and numbers nobody can guess. */
#include "grapevine/seal/random.h"
#include "grapevine/seal/token.h"
#include "support/suite.h"

#include <stdio.h>

static void equal_tokens_are_equal_and_nothing_else_is(void)
{
    CU_ASSERT_TRUE(gv_token_equal(gv_slice_text("sk-123"), gv_slice_text("sk-123")));
    CU_ASSERT_FALSE(gv_token_equal(gv_slice_text("sk-123"), gv_slice_text("sk-124")));
    CU_ASSERT_FALSE(gv_token_equal(gv_slice_text("sk-123"), gv_slice_text("sk-12")));
    CU_ASSERT_FALSE(gv_token_equal(gv_slice_text("sk-123"), gv_slice_text("sk-1234")));
    CU_ASSERT_FALSE(gv_token_equal(gv_slice_text(""), gv_slice_text("sk-123")));
    CU_ASSERT_FALSE(gv_token_equal(gv_slice_of("a\0b", 3), gv_slice_of("a\0c", 3)));
    CU_ASSERT_TRUE(gv_token_equal(gv_slice_of(NULL, 0), gv_slice_text("")));
}

/* Of each other token, however near: no part of the comparison may be left out. */
static void a_thousand_others_are_all_told_apart(void)
{
    const char wanted[] = "sk-0123456789abcdef";
    struct gv_token_hash kept = gv_token_hash(gv_slice_text(wanted));
    for (int i = 0; i < 1000; i++) {
        char given[32];
        (void)snprintf(given, sizeof given, "sk-0123456789ab%04d", i);
        struct gv_token_hash other = gv_token_hash(gv_slice_text(given));
        CU_ASSERT_FALSE(gv_token_equal(gv_slice_text(given), gv_slice_text(wanted)));
        CU_ASSERT_FALSE(gv_token_hash_equal(&kept, &other));
    }
}

static void any_of_several_tokens_will_do_and_none_of_none(void)
{
    static const char *const wanted[] = {"one", "two", "three"};
    CU_ASSERT_TRUE(gv_token_is_any(gv_slice_text("one"), wanted, 3));
    CU_ASSERT_TRUE(gv_token_is_any(gv_slice_text("three"), wanted, 3));
    CU_ASSERT_FALSE(gv_token_is_any(gv_slice_text("three"), wanted, 2));
    CU_ASSERT_FALSE(gv_token_is_any(gv_slice_text("four"), wanted, 3));
    CU_ASSERT_FALSE(gv_token_is_any(gv_slice_text(""), NULL, 0));
}

static void hashes_tell_tokens_apart_as_texts_do(void)
{
    struct gv_token_hash kept = gv_token_hash(gv_slice_text("sk-123"));
    struct gv_token_hash same = gv_token_hash(gv_slice_text("sk-123"));
    struct gv_token_hash other = gv_token_hash(gv_slice_text("sk-124"));
    CU_ASSERT_TRUE(gv_token_hash_equal(&kept, &same));
    CU_ASSERT_FALSE(gv_token_hash_equal(&kept, &other));
}

static void random_numbers_do_not_repeat(void)
{
    uint64_t numbers[64];
    for (size_t i = 0; i < 64; i++) {
        numbers[i] = gv_random_u64();
        for (size_t j = 0; j < i; j++) {
            CU_ASSERT_NOT_EQUAL(numbers[i], numbers[j]);
        }
    }
    uint8_t bytes[3] = {1, 2, 3};
    gv_random_fill(bytes + 1, 0);
    CU_ASSERT_EQUAL(bytes[1], 2);
}

GV_SUITE("seal/token", GV_CASE(equal_tokens_are_equal_and_nothing_else_is),
         GV_CASE(a_thousand_others_are_all_told_apart),
         GV_CASE(hashes_tell_tokens_apart_as_texts_do),
         GV_CASE(any_of_several_tokens_will_do_and_none_of_none),
         GV_CASE(random_numbers_do_not_repeat))
