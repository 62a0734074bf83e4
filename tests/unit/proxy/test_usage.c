/* test_usage.c - what engines counted in a prompt, found in answers that come in any pieces. */
#include "../../../src/proxy/usage.h"
#include "support/suite.h"

static uint64_t count_in(const char *text, enum gv_usage_name name, size_t piece)
{
    struct gv_usage usage = {0};
    for (size_t at = 0; at < strlen(text); at += piece) {
        size_t left = strlen(text) - at;
        gv_usage_feed(&usage, gv_slice_of(text + at, left < piece ? left : piece));
    }
    return usage.found[name] ? usage.tokens[name] : UINT64_MAX;
}

static void cached_tokens_are_found_wherever_the_bytes_were_cut(void)
{
    const enum gv_usage_name name = GV_USAGE_CACHED;
    for (size_t piece = 1; piece < 40; piece++) {
        CU_ASSERT_EQUAL(count_in("{\"a\":{\"cached_tokens\":12}}", name, piece), 12);
        CU_ASSERT_EQUAL(count_in("{\"cached_tokens\": 7,\"cached_tokens\":8}", name, piece), 8);
        CU_ASSERT_EQUAL(count_in("\"cached_tokens\"\"cached_tokens\":5 ", name, piece), 5);
        CU_ASSERT_EQUAL(count_in("\"cached_\"cached_tokens\":6}", name, piece), 6);
        CU_ASSERT_EQUAL(count_in("{\"cached_tokens\":null,\"cached_token\":3}", name, piece),
                        UINT64_MAX);
        CU_ASSERT_EQUAL(count_in("{\"cached_tokens\":12", name, piece),
                        UINT64_MAX); /* more may come */
    }
}

static void both_numbers_are_found_in_one_answer(void)
{
    static const char text[] = "data: {\"usage\":{\"prompt_tokens\":101,\"completion_tokens\":3,"
                               "\"prompt_tokens_details\":{\"cached_tokens\":64}}}\n\n";
    for (size_t piece = 1; piece < 60; piece++) {
        CU_ASSERT_EQUAL(count_in(text, GV_USAGE_PROMPT, piece), 101);
        CU_ASSERT_EQUAL(count_in(text, GV_USAGE_CACHED, piece), 64);
    }
}

static void what_a_model_writes_is_not_taken_for_a_count(void)
{
    static const char text[] = "{\"text\":\"say \\\"prompt_tokens\\\":9,\"}";
    for (size_t piece = 1; piece < 40; piece++) {
        CU_ASSERT_EQUAL(count_in(text, GV_USAGE_PROMPT, piece), UINT64_MAX);
    }
}

GV_SUITE("proxy/usage", GV_CASE(cached_tokens_are_found_wherever_the_bytes_were_cut),
         GV_CASE(both_numbers_are_found_in_one_answer),
         GV_CASE(what_a_model_writes_is_not_taken_for_a_count))
