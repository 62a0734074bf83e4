/*
 * test_parser.c - messages come out whole, in order, with their bodies untouched, however they
 * came.
 */
#include "grapevine/base/prng.h"
#include "grapevine/http/parser.h"
#include "support/suite.h"
#include <stdio.h>
#include <stdlib.h>

static const struct gv_parser_limits limits = {
    .head_bytes = 4096,
    .uri_bytes = 256,
    .header_count = 32,
    .body_bytes = (uint64_t)1 << 20,
    .chunk_ext_bytes = 64,
    .trailer_bytes = 64,
};

struct log {
    char text[4096]; /* "H<method or status> <path> <body>E" for each message */
    size_t len;
    size_t body_calls;
    const uint8_t *body_data; /* of the last call */
    struct gv_head head;      /* of the last message; slices borrowed from the parser */
    enum gv_err head_err;     /* what the callbacks return */
    enum gv_err body_err;
    enum gv_err end_err;
};

static void note(struct log *log, struct gv_slice bytes)
{
    CU_ASSERT_FATAL(log->len + bytes.len < sizeof log->text);
    memcpy(log->text + log->len, bytes.data, bytes.len);
    log->len += bytes.len;
    log->text[log->len] = 0;
}

static enum gv_err on_head(void *owner, const struct gv_head *head)
{
    struct log *log = owner;
    char status[8];
    log->head = *head;
    (void)snprintf(status, sizeof status, "%u", (unsigned)head->status);
    note(log, gv_slice_text("H"));
    if (head->status == 0) {
        note(log, head->method_text);
        note(log, gv_slice_text(" "));
        note(log, head->path);
    } else {
        note(log, gv_slice_text(status));
    }
    note(log, gv_slice_text(" "));
    return log->head_err;
}

static enum gv_err on_body(void *owner, struct gv_slice bytes)
{
    struct log *log = owner;
    note(log, bytes);
    log->body_calls += 1;
    log->body_data = bytes.data;
    return log->body_err;
}

static enum gv_err on_message_end(void *owner)
{
    struct log *log = owner;
    note(log, gv_slice_text("E"));
    return log->end_err;
}

static const struct gv_parser_events events = {on_head, on_body, on_message_end};

static struct gv_parser *parser_new(enum gv_parser_kind kind, struct log *log)
{
    struct gv_parser *parser = NULL;
    *log = (struct log){.head_err = GV_OK};
    CU_ASSERT_EQUAL_FATAL(gv_parser_new(kind, limits, &events, log, &parser), GV_OK);
    return parser;
}

/* Feed everything in pieces of `step` bytes; what the last feed returned. */
static enum gv_err feed(struct gv_parser *parser, const char *text, size_t step)
{
    size_t len = strlen(text);
    enum gv_err err = GV_OK;
    for (size_t at = 0; at < len && err == GV_OK;) {
        size_t take = step < len - at ? step : len - at;
        size_t used = 0;
        err = gv_parser_feed(parser, gv_slice_of(text + at, take), &used);
        CU_ASSERT(used <= take);
        at += used;
    }
    return err;
}

static void the_head_of_a_request_is_read_whole(void)
{
    struct log log;
    struct gv_parser *parser = parser_new(GV_PARSER_REQUEST, &log);
    static const char text[] = "PUT /a/b?c=d&e HTTP/1.1\r\nHOST: h:1\r\nX-One:  two three \t\r\n"
                               "x-one: four\r\nContent-Length: 0\r\nExpect: 100-Continue\r\n\r\n";
    CU_ASSERT(gv_parser_is_idle(parser));
    CU_ASSERT_EQUAL(feed(parser, text, sizeof text), GV_OK);
    CU_ASSERT_EQUAL(log.head.method, GV_METHOD_PUT);
    CU_ASSERT(gv_slice_is(log.head.method_text, "PUT"));
    CU_ASSERT(gv_slice_is(log.head.target, "/a/b?c=d&e"));
    CU_ASSERT(gv_slice_is(log.head.path, "/a/b"));
    CU_ASSERT(gv_slice_is(log.head.query, "c=d&e"));
    CU_ASSERT_EQUAL(log.head.version_minor, 1);
    CU_ASSERT(log.head.keep_alive);
    CU_ASSERT(log.head.expect_continue);
    CU_ASSERT(log.head.has_content_length);
    CU_ASSERT_EQUAL(log.head.content_length, 0);
    CU_ASSERT_EQUAL_FATAL(log.head.header_count, 5);
    CU_ASSERT(gv_slice_is(log.head.headers[1].name, "X-One"));
    CU_ASSERT(gv_slice_is(gv_head_find(&log.head, "X-ONE"), "two three"));
    CU_ASSERT(gv_slice_is(log.head.headers[2].value, "four"));
    CU_ASSERT_PTR_NULL(gv_head_find(&log.head, "x-two").data);
    CU_ASSERT(gv_parser_is_idle(parser));
    gv_parser_free(parser);
}

static void keep_alive_follows_version_and_connection(void)
{
    static const struct {
        const char *text;
        bool keep_alive;
    } rows[] = {
        {"GET / HTTP/1.1\r\nHost: h\r\n\r\n", true},
        {"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", false},
        {"GET / HTTP/1.1\r\nHost: h\r\nConnection: x, CLOSE\r\n\r\n", false},
        {"GET / HTTP/1.1\r\nHost: h\r\nConnection: close, keep-alive\r\n\r\n", false},
        {"GET / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n", false},
        {"GET / HTTP/1.1\r\nHost: h\r\nConnection: closed\r\n\r\n", true},
        {"GET / HTTP/1.0\r\n\r\n", false},
        {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true},
        {"GET / HTTP/1.0\r\nConnection: Keep-Alive, close\r\n\r\n", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct log log;
        struct gv_parser *parser = parser_new(GV_PARSER_REQUEST, &log);
        CU_ASSERT_EQUAL(feed(parser, rows[i].text, 7), GV_OK);
        CU_ASSERT_EQUAL(log.head.keep_alive, rows[i].keep_alive);
        gv_parser_free(parser);
    }
}

static const char pipeline[] = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
                               "POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
                               "\r\n" /* some clients end a body so */
                               "POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                               "3;x=y\r\nabc\r\n4\r\ndefg\r\n0\r\nX-Sum: 1\r\n\r\n"
                               "DELETE /d HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
static const char pipeline_log[] = "HGET /a EHPOST /b helloEHPOST /c abcdefgEHDELETE /d E";

static void pipelined_requests_come_out_whole_at_every_split(void)
{
    for (size_t step = 1; step <= sizeof pipeline; step++) {
        struct log log;
        struct gv_parser *parser = parser_new(GV_PARSER_REQUEST, &log);
        CU_ASSERT_EQUAL(feed(parser, pipeline, step), GV_OK);
        CU_ASSERT_STRING_EQUAL(log.text, pipeline_log);
        CU_ASSERT(gv_parser_is_idle(parser));
        CU_ASSERT_EQUAL(gv_parser_end(parser), GV_OK);
        gv_parser_free(parser);
    }
}

static void the_parser_stops_after_each_message(void)
{
    struct log log;
    struct gv_parser *parser = parser_new(GV_PARSER_REQUEST, &log);
    size_t used = 0;
    CU_ASSERT_EQUAL(gv_parser_feed(parser, gv_slice_text(pipeline), &used), GV_OK);
    CU_ASSERT_EQUAL(used, strlen("GET /a HTTP/1.1\r\nHost: h\r\n\r\n"));
    CU_ASSERT_STRING_EQUAL(log.text, "HGET /a E");
    gv_parser_free(parser);
}

static void body_bytes_are_passed_where_they_lie_and_in_whole_spans(void)
{
    static const char head[] = "POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n";
    char body[1000];
    memset(body, 'x', sizeof body);
    struct log log;
    struct gv_parser *parser = parser_new(GV_PARSER_REQUEST, &log);
    CU_ASSERT_EQUAL(feed(parser, head, sizeof head), GV_OK);
    CU_ASSERT_FALSE(gv_parser_is_idle(parser));
    size_t used = 0;
    CU_ASSERT_EQUAL(gv_parser_feed(parser, gv_slice_of(body, 1000), &used), GV_OK);
    CU_ASSERT_EQUAL(used, 1000);
    CU_ASSERT_EQUAL(log.body_calls, 1);
    CU_ASSERT_PTR_EQUAL(log.body_data, body);
    CU_ASSERT(gv_parser_is_idle(parser));
    gv_parser_free(parser);
}

static void a_chunk_is_passed_as_one_span(void)
{
    struct log log;
    struct gv_parser *parser = parser_new(GV_PARSER_RESPONSE, &log);
    static const char head[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    static const char chunk[] = "9\r\ndata: a\n\n\r\n";
    CU_ASSERT_EQUAL(feed(parser, head, sizeof head), GV_OK);
    size_t used = 0;
    CU_ASSERT_EQUAL(gv_parser_feed(parser, gv_slice_text(chunk), &used), GV_OK);
    CU_ASSERT_EQUAL(log.body_calls, 1);
    CU_ASSERT_PTR_EQUAL(log.body_data, chunk + 3);
    gv_parser_free(parser);
}

static void a_response_to_head_has_no_body_and_the_next_one_has(void)
{
    for (size_t step = 1; step < 100; step++) {
        struct log log;
        struct gv_parser *parser = parser_new(GV_PARSER_RESPONSE, &log);
        gv_parser_expect_no_body(parser);
        CU_ASSERT_EQUAL(feed(parser,
                             "HTTP/1.1 100 Continue\r\n\r\n"
                             "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                             "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
                             step),
                        GV_OK);
        CU_ASSERT_STRING_EQUAL(log.text, "H200 EH200 hiE");
        gv_parser_free(parser);
    }
}

static void a_response_without_a_length_ends_with_the_connection(void)
{
    struct log log;
    struct gv_parser *parser = parser_new(GV_PARSER_RESPONSE, &log);
    CU_ASSERT_EQUAL(feed(parser, "HTTP/1.1 200 OK\r\n\r\nabc", 4), GV_OK);
    CU_ASSERT_FALSE(log.head.keep_alive);
    CU_ASSERT_STRING_EQUAL(log.text, "H200 abc");
    CU_ASSERT_EQUAL(gv_parser_end(parser), GV_OK);
    CU_ASSERT_STRING_EQUAL(log.text, "H200 abcE");
    gv_parser_free(parser);
}

static void a_message_cut_anywhere_is_an_error_at_the_end(void)
{
    static const char text[] = "POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                               "3\r\nabc\r\n0\r\nX: y\r\n\r\n";
    for (size_t len = 1; len < strlen(text); len++) {
        struct log log;
        struct gv_parser *parser = parser_new(GV_PARSER_REQUEST, &log);
        size_t used = 0;
        CU_ASSERT_EQUAL(gv_parser_feed(parser, gv_slice_of(text, len), &used), GV_OK);
        CU_ASSERT_EQUAL(used, len);
        CU_ASSERT_FALSE(gv_parser_is_idle(parser));
        CU_ASSERT_EQUAL(gv_parser_end(parser), GV_EPROTO);
        CU_ASSERT_NOT_EQUAL(gv_parser_problem(parser), GV_PROBLEM_NONE);
        gv_parser_free(parser);
    }
}

static void an_error_of_the_owner_stops_the_parse(void)
{
    static const char text[] = "POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi";
    for (int which = 0; which < 3; which++) {
        struct log log;
        struct gv_parser *parser = parser_new(GV_PARSER_REQUEST, &log);
        log.head_err = which == 0 ? GV_ECANCELED : GV_OK;
        log.body_err = which == 1 ? GV_EFULL : GV_OK;
        log.end_err = which == 2 ? GV_ECLOSED : GV_OK;
        static const enum gv_err wanted[] = {GV_ECANCELED, GV_EFULL, GV_ECLOSED};
        CU_ASSERT_EQUAL(feed(parser, text, sizeof text), wanted[which]);
        gv_parser_free(parser);
    }
}

static void after_a_reset_the_parser_is_as_new(void)
{
    struct log log;
    struct gv_parser *parser = parser_new(GV_PARSER_REQUEST, &log);
    CU_ASSERT_EQUAL(feed(parser, "GET / HTTP/1.1\r\nbroken\r\n", 100), GV_EPROTO);
    gv_parser_reset(parser);
    CU_ASSERT_EQUAL(gv_parser_problem(parser), GV_PROBLEM_NONE);
    CU_ASSERT(gv_parser_is_idle(parser));
    CU_ASSERT_EQUAL(feed(parser, pipeline, 3), GV_OK);
    CU_ASSERT_STRING_EQUAL(log.text, pipeline_log);
    gv_parser_free(parser);
}

static void the_next_owner_gets_the_next_message(void)
{
    struct log one;
    struct log two = {.head_err = GV_OK};
    struct gv_parser *parser = parser_new(GV_PARSER_RESPONSE, &one);
    static const char text[] = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n";
    CU_ASSERT_EQUAL(feed(parser, text, 9), GV_OK);
    CU_ASSERT_EQUAL(feed(parser, "a", 1), GV_OK);
    gv_parser_set_owner(parser, &events, &two);
    CU_ASSERT_EQUAL(feed(parser, text, 9), GV_OK);
    CU_ASSERT_EQUAL(feed(parser, "b", 1), GV_OK);
    CU_ASSERT_STRING_EQUAL(one.text, "H200 aE");
    CU_ASSERT_STRING_EQUAL(two.text, "H200 bE");
    gv_parser_free(parser);
}

static void when_memory_runs_out_the_parse_ends_and_nothing_leaks(void)
{
    size_t used_bytes = gv_mem_used(GV_MEM_BUFFER);
    int refused = 0;
    for (uint64_t n = 1; n < 12; n++) {
        struct log log = {.head_err = GV_OK};
        struct gv_parser *parser = NULL;
        gv_mem_fail_nth(n);
        enum gv_err err = gv_parser_new(GV_PARSER_REQUEST, limits, &events, &log, &parser);
        if (err == GV_OK) {
            err = feed(parser, pipeline, 3);
        }
        gv_mem_fail_nth(0);
        CU_ASSERT(err == GV_OK || err == GV_ENOMEM);
        refused += err == GV_ENOMEM ? 1 : 0;
        gv_parser_free(parser);
        CU_ASSERT_EQUAL(gv_mem_used(GV_MEM_BUFFER), used_bytes);
    }
    CU_ASSERT(refused >= 3);
    CU_ASSERT(refused < 11);
}

/* Mutated pipelines: no crash, the same verdict and messages for two ways of cutting. */
static void a_mutated_stream_never_reads_differently_when_cut(void)
{
    struct gv_prng prng;
    gv_prng_init(&prng, 7);
    static const char spices[] = "\r\n\t :;,\0\x80"
                                 "0fHGx";
    int refused = 0;
    for (int round = 0; round < 3000; round++) {
        char text[sizeof pipeline];
        memcpy(text, pipeline, sizeof text);
        uint64_t count = 1 + gv_prng_below(&prng, 3);
        for (uint64_t i = 0; i < count; i++) {
            text[gv_prng_below(&prng, sizeof text - 1)] =
                spices[gv_prng_below(&prng, sizeof spices - 1)];
        }
        struct log logs[2];
        enum gv_err errs[2];
        for (int way = 0; way < 2; way++) {
            struct gv_parser *parser = parser_new(GV_PARSER_REQUEST, &logs[way]);
            size_t step = way == 0 ? sizeof text : 1 + gv_prng_below(&prng, 9);
            errs[way] = GV_OK;
            for (size_t at = 0; at < sizeof text - 1 && errs[way] == GV_OK;) {
                size_t left = sizeof text - 1 - at;
                size_t used = 0;
                errs[way] = gv_parser_feed(
                    parser, gv_slice_of(text + at, step < left ? step : left), &used);
                at += used;
            }
            if (errs[way] == GV_OK) {
                errs[way] = gv_parser_end(parser);
            }
            gv_parser_free(parser);
        }
        CU_ASSERT_EQUAL(errs[0], errs[1]);
        CU_ASSERT(errs[0] != GV_OK || strcmp(logs[0].text, logs[1].text) == 0);
        refused += errs[0] != GV_OK ? 1 : 0;
    }
    CU_ASSERT(refused > 300);
    CU_ASSERT(refused < 2990);
}

GV_SUITE("http/parser", GV_CASE(the_head_of_a_request_is_read_whole),
         GV_CASE(keep_alive_follows_version_and_connection),
         GV_CASE(pipelined_requests_come_out_whole_at_every_split),
         GV_CASE(the_parser_stops_after_each_message),
         GV_CASE(body_bytes_are_passed_where_they_lie_and_in_whole_spans),
         GV_CASE(a_chunk_is_passed_as_one_span),
         GV_CASE(a_response_to_head_has_no_body_and_the_next_one_has),
         GV_CASE(a_response_without_a_length_ends_with_the_connection),
         GV_CASE(a_message_cut_anywhere_is_an_error_at_the_end),
         GV_CASE(an_error_of_the_owner_stops_the_parse),
         GV_CASE(after_a_reset_the_parser_is_as_new), GV_CASE(the_next_owner_gets_the_next_message),
         GV_CASE(when_memory_runs_out_the_parse_ends_and_nothing_leaks),
         GV_CASE(a_mutated_stream_never_reads_differently_when_cut))
