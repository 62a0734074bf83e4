/*
 * test_problem.c - every problem has a status, a code and words, and becomes a whole response.
 */
#include "grapevine/http/parser.h"
#include "grapevine/http/problem.h"
#include "support/suite.h"
#include <stdio.h>

static void every_problem_has_a_status_a_code_and_words(void)
{
    for (int p = GV_PROBLEM_NONE + 1; p < GV_PROBLEM_COUNT; p++) {
        enum gv_problem problem = (enum gv_problem)p;
        CU_ASSERT(gv_problem_status(problem) >= 400 && gv_problem_status(problem) < 600);
        CU_ASSERT(strlen(gv_problem_code(problem)) > 0);
        CU_ASSERT(strlen(gv_problem_text(problem)) > 0);
        CU_ASSERT_STRING_NOT_EQUAL(gv_status_reason(gv_problem_status(problem)), "Unknown");
        for (int other = GV_PROBLEM_NONE; other < p; other++) {
            CU_ASSERT_STRING_NOT_EQUAL(gv_problem_code(problem),
                                       gv_problem_code((enum gv_problem)other));
        }
    }
    CU_ASSERT_STRING_EQUAL(gv_status_reason(404), "Not Found");
    CU_ASSERT_STRING_EQUAL(gv_status_reason(599), "Unknown");
}

static void the_body_has_the_shape_of_openai(void)
{
    struct gv_buf out;
    gv_buf_init(&out, GV_MEM_BUFFER, 1024);
    CU_ASSERT_EQUAL(gv_problem_body(GV_PROBLEM_NO_MODEL, "pool p, model m", &out), GV_OK);
    CU_ASSERT(
        gv_slice_is(gv_buf_slice(&out),
                    "{\"error\":{\"message\":\"no worker serves this model: pool p, model m\","
                    "\"type\":\"invalid_request_error\",\"code\":\"model_not_found\","
                    "\"param\":null}}"));
    gv_buf_deinit(&out);
}

static void the_detail_is_escaped_and_made_utf8(void)
{
    static const struct {
        const char *detail;
        const char *inside;
    } rows[] = {
        {"a\"b\\c", ": a\\\"b\\\\c\""},
        {"a\nb\x01", ": a\\u000ab\\u0001\""},
        {"\xc3\xa4\xe2\x82\xac\xf0\x9f\x8d\x87", ": \xc3\xa4\xe2\x82\xac\xf0\x9f\x8d\x87\""},
        {"\xff\xc3", ": ??\""},
        {"\xc0\xaf", ": ??\""},
        {"\xed\xa0\x80", ": ???\""},
        {"\xf4\x90\x80\x80", ": ????\""},
        {"\xe2\x82", ": ??\""},
        {"", "model\""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct gv_buf out;
        gv_buf_init(&out, GV_MEM_BUFFER, 1024);
        CU_ASSERT_EQUAL(gv_problem_body(GV_PROBLEM_NO_MODEL, rows[i].detail, &out), GV_OK);
        CU_ASSERT_EQUAL(gv_buf_append(&out, gv_slice_of("", 1)), GV_OK);
        CU_ASSERT_PTR_NOT_NULL(strstr((const char *)gv_buf_slice(&out).data, rows[i].inside));
        gv_buf_deinit(&out);
    }
}

static enum gv_err on_head(void *owner, const struct gv_head *head)
{
    uint16_t *status = owner;
    *status = head->status;
    CU_ASSERT(gv_slice_is(gv_head_find(head, "x-smg-error-code"), "bad_host"));
    CU_ASSERT(gv_slice_is(gv_head_find(head, "content-type"), "application/json"));
    CU_ASSERT(gv_slice_is(gv_head_find(head, "x-request-id"), "id-1"));
    CU_ASSERT_FALSE(head->keep_alive);
    CU_ASSERT(head->content_length > 0);
    return GV_OK;
}

static enum gv_err on_body(void *owner, struct gv_slice bytes)
{
    (void)owner;
    CU_ASSERT_EQUAL(bytes.data[0], '{');
    return GV_OK;
}

static enum gv_err on_message_end(void *owner)
{
    uint16_t *status = owner;
    *status = (uint16_t)(*status + 1000); /* seen */
    return GV_OK;
}

static void the_response_is_one_that_our_own_parser_takes(void)
{
    static const struct gv_parser_events events = {on_head, on_body, on_message_end};
    static const struct gv_parser_limits limits = {1024, 64, 16, 1024, 0, 0};
    struct gv_buf out;
    struct gv_parser *parser = NULL;
    uint16_t status = 0;
    size_t used = 0;
    gv_buf_init(&out, GV_MEM_BUFFER, 1024);
    CU_ASSERT_EQUAL(gv_problem_response(GV_PROBLEM_BAD_HOST, NULL, "id-1", true, &out), GV_OK);
    CU_ASSERT_EQUAL_FATAL(gv_parser_new(GV_PARSER_RESPONSE, limits, &events, &status, &parser),
                          GV_OK);
    CU_ASSERT_EQUAL(gv_parser_feed(parser, gv_buf_slice(&out), &used), GV_OK);
    CU_ASSERT_EQUAL(used, out.len);
    CU_ASSERT_EQUAL(status, 1400);
    gv_parser_free(parser);
    gv_buf_deinit(&out);
}

static void a_full_buffer_is_told(void)
{
    struct gv_buf out;
    gv_buf_init(&out, GV_MEM_BUFFER, 200);
    CU_ASSERT_EQUAL(gv_problem_response(GV_PROBLEM_BAD_HOST, NULL, NULL, true, &out), GV_ETOOBIG);
    gv_buf_deinit(&out);
    gv_buf_init(&out, GV_MEM_BUFFER, 2000);
    CU_ASSERT_EQUAL(gv_problem_response(GV_PROBLEM_BAD_HOST, NULL, "a\r\nb", true, &out),
                    GV_EINVAL);
    gv_buf_deinit(&out);
}

GV_SUITE("http/problem", GV_CASE(every_problem_has_a_status_a_code_and_words),
         GV_CASE(the_body_has_the_shape_of_openai), GV_CASE(the_detail_is_escaped_and_made_utf8),
         GV_CASE(the_response_is_one_that_our_own_parser_takes), GV_CASE(a_full_buffer_is_told))
