/*
 * test_parser_bad.c - a table of messages that must be refused, each with the problem that is told.
 *
 * Every row is fed whole, byte by byte, and cut in two at every place: the verdict is the same.
 */
#include "grapevine/http/parser.h"
#include "support/suite.h"
#include <stdio.h>

static const struct gv_parser_limits limits = {
    .head_bytes = 2048,
    .uri_bytes = 256,
    .header_count = 32,
    .body_bytes = 4096,
    .chunk_ext_bytes = 32,
    .trailer_bytes = 64,
};

struct seen {
    int heads;
    int ends;
};

static enum gv_err on_head(void *owner, const struct gv_head *head)
{
    (void)head;
    ((struct seen *)owner)->heads += 1;
    return GV_OK;
}

static enum gv_err on_body(void *owner, struct gv_slice bytes)
{
    (void)owner;
    (void)bytes;
    return GV_OK;
}

static enum gv_err on_message_end(void *owner)
{
    ((struct seen *)owner)->ends += 1;
    return GV_OK;
}

static const struct gv_parser_events events = {on_head, on_body, on_message_end};

/* Feed bytes[0, cut), then the rest in pieces of `step`; the first trouble. A message that is not
 * whole at the end is trouble as well. */
static enum gv_problem verdict(enum gv_parser_kind kind, struct gv_slice bytes, size_t cut,
                               size_t step, int *ends)
{
    struct seen seen = {0};
    struct gv_parser *parser = NULL;
    CU_ASSERT_EQUAL_FATAL(gv_parser_new(kind, limits, &events, &seen, &parser), GV_OK);
    enum gv_err err = GV_OK;
    size_t at = 0;
    while (err == GV_OK && at < bytes.len) {
        size_t len = at < cut ? cut - at : step;
        len = len < bytes.len - at ? len : bytes.len - at;
        size_t used = 0;
        err = gv_parser_feed(parser, gv_slice_of(bytes.data + at, len), &used);
        at += used;
    }
    if (err == GV_OK) {
        err = gv_parser_end(parser);
    }
    enum gv_problem problem = gv_parser_problem(parser);
    CU_ASSERT((err == GV_OK) == (problem == GV_PROBLEM_NONE));
    *ends = seen.ends;
    gv_parser_free(parser);
    return problem;
}

struct row {
    const char *bytes;
    enum gv_problem problem;
    size_t len; /* 0: strlen */
};

static void check_row(enum gv_parser_kind kind, const struct row *row)
{
    struct gv_slice bytes = gv_slice_of(row->bytes, row->len == 0 ? strlen(row->bytes) : row->len);
    for (size_t cut = 0; cut <= bytes.len; cut++) {
        int ends;
        size_t step = cut == 0 ? 1 : bytes.len;
        enum gv_problem problem = verdict(kind, bytes, cut, step, &ends);
        int wanted_ends = row->problem == GV_PROBLEM_NONE ? 1 : 0;
        if (problem != row->problem || (ends != wanted_ends)) {
            printf("cut %zu: told %s, wanted %s, ended %d: %.60s\n", cut, gv_problem_code(problem),
                   gv_problem_code(row->problem), ends, row->bytes);
            CU_FAIL("wrong verdict");
            return;
        }
    }
}

static void check_rows(enum gv_parser_kind kind, const struct row *rows, size_t count)
{
    CU_ASSERT(count > 0);
    for (size_t i = 0; i < count; i++) {
        check_row(kind, &rows[i]);
    }
}

#define ROWS(kind, rows) check_rows(kind, rows, sizeof(rows) / sizeof(rows)[0])
#define POST             "POST /v1/completions HTTP/1.1\r\nHost: h\r\n"
#define GET              "GET /x HTTP/1.1\r\nHost: h\r\n"
#define CHUNKED          POST "Transfer-Encoding: chunked\r\n\r\n"
#define RAW(text, what)                                                                            \
    {                                                                                              \
        text, GV_PROBLEM_##what, sizeof(text) - 1                                                  \
    }

static void a_request_must_say_its_length_in_one_way(void)
{
    static const struct row rows[] = {
        RAW(POST "Content-Length: 3\r\n\r\nabc", NONE),
        RAW(POST "Content-Length: 0\r\n\r\n", NONE),
        RAW(POST "cOnTeNt-LeNgTh:3\r\n\r\nabc", NONE),
        RAW(POST "Content-Length: 3 \r\n\r\nabc", NONE),
        RAW(POST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", BAD_FRAMING),
        RAW(POST "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", BAD_FRAMING),
        RAW(POST "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", BAD_FRAMING),
        RAW(POST "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", BAD_FRAMING),
        RAW(POST "Content-Length: 4, 4\r\n\r\nabcd", BAD_FRAMING),
        RAW(POST "Content-Length: 4, 5\r\n\r\nabcd", BAD_FRAMING),
        RAW(POST "Content-Length:\r\n\r\n", BAD_FRAMING),
        RAW(POST "Content-Length: \r\n\r\n", BAD_FRAMING),
        RAW(POST "Content-Length: +4\r\n\r\nabcd", BAD_FRAMING),
        RAW(POST "Content-Length: -1\r\n\r\n", BAD_FRAMING),
        RAW(POST "Content-Length: -0\r\n\r\n", BAD_FRAMING),
        RAW(POST "Content-Length: 0x4\r\n\r\nabcd", BAD_FRAMING),
        RAW(POST "Content-Length: 4_0\r\n\r\nabcd", BAD_FRAMING),
        RAW(POST "Content-Length: 4 4\r\n\r\nabcd", BAD_FRAMING),
        RAW(POST "Content-Length: 004\r\n\r\nabcd", BAD_FRAMING),
        RAW(POST "Content-Length: 010\r\n\r\nabcdefgh", BAD_FRAMING),
        RAW(POST "Content-Length: 9223372036854775808\r\n\r\n", BODY_TOO_BIG),
        RAW(POST "Content-Length: 18446744073709551616\r\n\r\n", BAD_FRAMING),
        RAW(POST "Content-Length: 99999999999999999999999\r\n\r\n", BAD_FRAMING),
        RAW(POST "Content-Length: \t3\r\n\r\nabc", BAD_FRAMING),
        RAW(POST "Content-Length: 3\t\r\n\r\nabc", BAD_FRAMING),
        RAW(POST "Content-Length: 3\v\r\n\r\nabc", BAD_HEADER),
        RAW(POST "Content-Length\r\n : 3\r\n\r\nabc", BAD_HEADER),
        RAW(POST "Content-Length:\r\n 3\r\n\r\nabc", BAD_HEADER),
        RAW(POST "Content_Length: 3\r\n\r\nabc", BAD_FRAMING),
        RAW(POST "Content-Length: 5\r\n\r\nabc", BAD_FRAMING),
        RAW(POST "Content-Length: 99\r\n\r\n", BAD_FRAMING),
    };
    ROWS(GV_PARSER_REQUEST, rows);
}

static void only_chunked_is_a_transfer_coding(void)
{
    static const struct row rows[] = {
        RAW(POST "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", NONE),
        RAW(POST "Transfer-Encoding: Chunked\r\n\r\n0\r\n\r\n", NONE),
        RAW(POST "transfer-encoding:CHUNKED\r\n\r\n0\r\n\r\n", NONE),
        RAW(POST "Transfer-Encoding: gzip\r\n\r\n", BAD_CODING),
        RAW(POST "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", BAD_CODING),
        RAW(POST "Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n", BAD_CODING),
        RAW(POST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", BAD_CODING),
        RAW(POST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", BAD_CODING),
        RAW(POST "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", BAD_CODING),
        RAW(POST "Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n", BAD_CODING),
        RAW(POST "Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n", BAD_CODING),
        RAW(POST "Transfer-Encoding: chunked,\r\n\r\n0\r\n\r\n", BAD_CODING),
        RAW(POST "Transfer-Encoding: \xc2\xa0"
                 "chunked\r\n\r\n0\r\n\r\n",
            BAD_CODING),
        RAW(POST "Transfer-Encoding:\r\n\r\n0\r\n\r\n", BAD_FRAMING),
        RAW(POST "Transfer-Encoding: \tchunked\r\n\r\n0\r\n\r\n", BAD_FRAMING),
        RAW(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            BAD_FRAMING),
        RAW(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
            BAD_FRAMING),
        RAW(POST "Transfer_Encoding: chunked\r\n\r\n0\r\n\r\n", BAD_FRAMING),
        RAW(POST "Transfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n", BAD_HEADER),
        RAW(POST "Transfer-Encoding: \fchunked\r\n\r\n0\r\n\r\n", BAD_HEADER),
        RAW(POST "Transfer-Encoding: chunked\0\r\n\r\n0\r\n\r\n", BAD_HEADER),
        RAW(POST "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", BAD_HEADER),
        RAW(POST "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", BAD_HEADER),
        RAW(POST " Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", BAD_HEADER),
        RAW(POST "X:\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", BAD_HEADER),
        RAW("POST /x HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            BAD_FRAMING),
    };
    ROWS(GV_PARSER_REQUEST, rows);
}

static void a_chunk_line_is_hex_digits_and_crlf(void)
{
    static const struct row rows[] = {
        RAW(CHUNKED "3\r\nabc\r\n0\r\n\r\n", NONE),
        RAW(CHUNKED "A\r\nabcdefghij\r\n0\r\n\r\n", NONE),
        RAW(CHUNKED "0000000000000003\r\nabc\r\n0\r\n\r\n", NONE),
        RAW(CHUNKED "3;name=value\r\nabc\r\n0;last\r\n\r\n", NONE),
        RAW(CHUNKED "3;a=\"b\"\r\nabc\r\n0\r\n\r\n", NONE),
        RAW(CHUNKED "00000000000000003\r\nabc\r\n0\r\n\r\n", BAD_CHUNK), /* 17 digits */
        RAW(CHUNKED "ffffffffffffffff\r\nabc\r\n0\r\n\r\n", BODY_TOO_BIG),
        RAW(CHUNKED "fffffffffffffffff\r\nabc\r\n0\r\n\r\n", BAD_CHUNK),
        RAW(CHUNKED "1001\r\n", BODY_TOO_BIG), /* 4097: one over */
        RAW(CHUNKED "0x3\r\nabc\r\n0\r\n\r\n", BAD_CHUNK),
        RAW(CHUNKED "+3\r\nabc\r\n0\r\n\r\n", BAD_CHUNK),
        RAW(CHUNKED "-1\r\nabc\r\n0\r\n\r\n", BAD_CHUNK),
        RAW(CHUNKED "3_\r\nabc\r\n0\r\n\r\n", BAD_CHUNK),
        RAW(CHUNKED " 3\r\nabc\r\n0\r\n\r\n", BAD_CHUNK),
        RAW(CHUNKED "3 \r\nabc\r\n0\r\n\r\n", BAD_CHUNK),
        RAW(CHUNKED "3 ;a\r\nabc\r\n0\r\n\r\n", BAD_CHUNK),
        RAW(CHUNKED "\r\nabc\r\n0\r\n\r\n", BAD_CHUNK),
        RAW(CHUNKED ";a\r\n\r\n", BAD_CHUNK),
        RAW(CHUNKED "g\r\n\r\n", BAD_CHUNK),
        RAW(CHUNKED "3\nabc\r\n0\r\n\r\n", BAD_CHUNK),
        RAW(CHUNKED "3\rabc\r\n0\r\n\r\n", BAD_CHUNK),
        RAW(CHUNKED "3;a\nabc\r\n0\r\n\r\n", BAD_CHUNK),
        RAW(CHUNKED "3;a\rabc\r\n0\r\n\r\n", BAD_CHUNK),
        RAW(CHUNKED "3;a\0\r\nabc\r\n0\r\n\r\n", BAD_CHUNK),
        RAW(CHUNKED "3;2345678901234567890123456789012\r\nabc\r\n0\r\n\r\n", NONE),
        RAW(CHUNKED "3;23456789012345678901234567890123\r\nabc\r\n0\r\n\r\n", BAD_CHUNK),
        RAW(CHUNKED "3;234567890123456\r\nabc\r\n0;2345678901234567\r\n\r\n", BAD_CHUNK),
        RAW(CHUNKED "3\r\nabc0\r\n\r\n", BAD_CHUNK),
        RAW(CHUNKED "3\r\nabc\n0\r\n\r\n", BAD_CHUNK),
        RAW(CHUNKED "3\r\nabcd\r\n0\r\n\r\n", BAD_CHUNK),
        RAW(CHUNKED "3\r\nab\r\n0\r\n\r\n", BAD_CHUNK),
        RAW(CHUNKED "3\r\nabc\r\n", BAD_FRAMING),
        RAW(CHUNKED "3\r\nabc\r\n0\r\n", BAD_FRAMING),
    };
    ROWS(GV_PARSER_REQUEST, rows);
}

static void trailers_are_checked_and_dropped(void)
{
    static const struct row rows[] = {
        RAW(CHUNKED "0\r\nX: y\r\n\r\n", NONE),
        RAW(CHUNKED "0\r\nContent-Length: 5\r\nTransfer-Encoding: gzip\r\nHost: e\r\n\r\n", NONE),
        RAW(CHUNKED "0\r\nAuthorization: e\r\n\r\n", NONE),
        RAW(CHUNKED "0\r\nX y\r\n\r\n", BAD_HEADER),
        RAW(CHUNKED "0\r\n: y\r\n\r\n", BAD_HEADER),
        RAW(CHUNKED "0\r\nX : y\r\n\r\n", BAD_HEADER),
        RAW(CHUNKED "0\r\nX: y\r\n z\r\n\r\n", BAD_HEADER),
        RAW(CHUNKED "0\r\nX: y\n\r\n", BAD_HEADER),
        RAW(CHUNKED "0\r\nX: y\rz\r\n\r\n", BAD_HEADER),
        RAW(CHUNKED "0\r\nX: \0\r\n\r\n", BAD_HEADER),
        RAW(CHUNKED "0\r\n\n", BAD_HEADER),
        RAW(CHUNKED "0\r\n\rx", BAD_CHUNK),
        /* 64 bytes pass, 65 do not */
        RAW(CHUNKED "0\r\nX: 45678901234567890123456789012345678901234567890123456789012\r\n\r\n",
            NONE),
        RAW(CHUNKED "0\r\nX: 4567890123456789012345678901234567890123456789012345678901234\r\n\r\n",
            HEAD_TOO_BIG),
    };
    ROWS(GV_PARSER_REQUEST, rows);
}

static void a_request_line_is_method_target_version(void)
{
    static const struct row rows[] = {
        RAW(GET "\r\n", NONE),
        RAW("\r\n" GET "\r\n", NONE),
        RAW("TRACE /x HTTP/1.1\r\nHost: h\r\n\r\n", NONE),
        RAW("\r\n\r\n" GET "\r\n", BAD_SYNTAX),
        RAW("\n" GET "\r\n", BAD_SYNTAX),
        RAW(" " GET "\r\n", BAD_SYNTAX),
        RAW("\t" GET "\r\n", BAD_SYNTAX),
        RAW("GET /x\r\nHost: h\r\n\r\n", BAD_SYNTAX),
        RAW("GET /\r\n", BAD_SYNTAX),
        RAW("GET\r\n\r\n", BAD_SYNTAX),
        RAW("GET  HTTP/1.1\r\nHost: h\r\n\r\n", BAD_SYNTAX),
        RAW("GET  /x HTTP/1.1\r\nHost: h\r\n\r\n", BAD_SYNTAX),
        RAW("GET /x  HTTP/1.1\r\nHost: h\r\n\r\n", BAD_SYNTAX),
        RAW("GET\t/x HTTP/1.1\r\nHost: h\r\n\r\n", BAD_SYNTAX),
        RAW("GET /x HTTP/1.1 \r\nHost: h\r\n\r\n", BAD_SYNTAX),
        RAW("GET /x y HTTP/1.1\r\nHost: h\r\n\r\n", BAD_SYNTAX),
        RAW("GET /x HTTP/1.1\nHost: h\r\n\r\n", BAD_SYNTAX),
        RAW("GET /x HTTP/1.1\rHost: h\r\n\r\n", BAD_SYNTAX),
        RAW("GET /x\0 HTTP/1.1\r\nHost: h\r\n\r\n", BAD_SYNTAX),
        RAW("GET /x HTTP/1.9\r\nHost: h\r\n\r\n", BAD_VERSION),
        RAW("GET /x HTTP/2.0\r\nHost: h\r\n\r\n", BAD_VERSION),
        RAW("GET /x HTTP/0.9\r\nHost: h\r\n\r\n", BAD_VERSION),
        RAW("GET /x HTTP/01.1\r\nHost: h\r\n\r\n", BAD_SYNTAX),
        RAW("GET /x HTTP/1.\r\nHost: h\r\n\r\n", BAD_SYNTAX),
        RAW("GET /x http/1.1\r\nHost: h\r\n\r\n", BAD_SYNTAX),
        RAW("GET /x HTTP / 1.1\r\nHost: h\r\n\r\n", BAD_SYNTAX),
        RAW("GET /x HTTP/1.1\x01\r\nHost: h\r\n\r\n", BAD_SYNTAX),
        RAW("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", BAD_VERSION),
        RAW("CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n", NOT_IMPLEMENTED),
        RAW("get /x HTTP/1.1\r\nHost: h\r\n\r\n", NOT_IMPLEMENTED),
        RAW("BREW /x HTTP/1.1\r\nHost: h\r\n\r\n", NOT_IMPLEMENTED),
        RAW("G(T /x HTTP/1.1\r\nHost: h\r\n\r\n", BAD_SYNTAX),
        RAW("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG /x HTTP/1.1\r\nHost: h\r\n\r\n", BAD_SYNTAX),
        RAW("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" GET "\r\n", BAD_SYNTAX),
        RAW("\x16\x03\x01\x02\x00\x01\x00", BAD_SYNTAX),
        RAW("\x80\xff\x00\x01", BAD_SYNTAX),
        RAW("GET /x HT", BAD_SYNTAX),
        RAW(GET, BAD_SYNTAX),
    };
    ROWS(GV_PARSER_REQUEST, rows);
}

static void a_target_reads_in_one_way_only(void)
{
    static const struct row rows[] = {
        RAW("GET /a/b.c;d=1?e=%20f HTTP/1.1\r\nHost: h\r\n\r\n", NONE),
        RAW("GET /...x/ HTTP/1.1\r\nHost: h\r\n\r\n", NONE),
        RAW("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", NONE),
        RAW("GET http://h/x HTTP/1.1\r\nHost: H\r\n\r\n", NONE),
        RAW("GET http://h HTTP/1.1\r\nHost: h\r\n\r\n", NONE),
        RAW("GET http://e/x HTTP/1.1\r\nHost: h\r\n\r\n", BAD_HOST),
        RAW("GET http://h:80/x HTTP/1.1\r\nHost: h\r\n\r\n", BAD_HOST),
        RAW("GET http://u@h/x HTTP/1.1\r\nHost: h\r\n\r\n", BAD_HOST),
        RAW("GET http://h?x HTTP/1.1\r\nHost: h\r\n\r\n", BAD_TARGET),
        RAW("GET ftp://h/x HTTP/1.1\r\nHost: h\r\n\r\n", BAD_TARGET),
        RAW("GET * HTTP/1.1\r\nHost: h\r\n\r\n", BAD_TARGET),
        RAW("GET x HTTP/1.1\r\nHost: h\r\n\r\n", BAD_TARGET),
        RAW("GET h:80 HTTP/1.1\r\nHost: h\r\n\r\n", BAD_TARGET),
        RAW("GET /x#y HTTP/1.1\r\nHost: h\r\n\r\n", BAD_TARGET),
        RAW("GET /x\\y HTTP/1.1\r\nHost: h\r\n\r\n", BAD_TARGET),
        RAW("GET /x\"y HTTP/1.1\r\nHost: h\r\n\r\n", BAD_TARGET),
        RAW("GET /\xc0\xaf HTTP/1.1\r\nHost: h\r\n\r\n", BAD_TARGET),
        RAW("GET /x%00 HTTP/1.1\r\nHost: h\r\n\r\n", BAD_TARGET),
        RAW("GET /x% HTTP/1.1\r\nHost: h\r\n\r\n", BAD_TARGET),
        RAW("GET /x%4 HTTP/1.1\r\nHost: h\r\n\r\n", BAD_TARGET),
        RAW("GET /x%4g HTTP/1.1\r\nHost: h\r\n\r\n", BAD_TARGET),
        RAW("GET /a/../b HTTP/1.1\r\nHost: h\r\n\r\n", BAD_TARGET),
        RAW("GET /a/%2e%2E/b HTTP/1.1\r\nHost: h\r\n\r\n", BAD_TARGET),
        RAW("GET /a/.%2e HTTP/1.1\r\nHost: h\r\n\r\n", BAD_TARGET),
        RAW("GET /./b HTTP/1.1\r\nHost: h\r\n\r\n", BAD_TARGET),
    };
    ROWS(GV_PARSER_REQUEST, rows);
}

static void a_request_has_one_valid_host(void)
{
#define HOST(text) "GET /x HTTP/1.1\r\nHost: " text "\r\n\r\n"
    static const struct row rows[] = {
        RAW(HOST("h:8000"), NONE),
        RAW(HOST("my_box.local:1"), NONE),
        RAW(HOST("[::1]:65535"), NONE),
        RAW("GET /x HTTP/1.0\r\n\r\n", NONE),
        RAW("GET /x HTTP/1.1\r\n\r\n", BAD_HOST),
        RAW("GET /x HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n", BAD_HOST),
        RAW("GET /x HTTP/1.0\r\nHost: h\r\nHost: h\r\n\r\n", BAD_HOST),
        RAW(HOST(""), BAD_HOST),
        RAW(HOST("u@h"), BAD_HOST),
        RAW(HOST("h/x"), BAD_HOST),
        RAW(HOST("h, g"), BAD_HOST),
        RAW(HOST("h,g"), BAD_HOST),
        RAW(HOST("h g"), BAD_HOST),
        RAW(HOST("h:"), BAD_HOST),
        RAW(HOST("h:0"), BAD_HOST),
        RAW(HOST("h:65536"), BAD_HOST),
        RAW(HOST("h:99999"), BAD_HOST),
        RAW(HOST("h:080x"), BAD_HOST),
        RAW(HOST("[fe80::1%25eth0]"), BAD_HOST),
        RAW(HOST("[::1"), BAD_HOST),
        RAW(HOST("[]"), BAD_HOST),
        RAW(HOST("[::1]x"), BAD_HOST),
        RAW(HOST("\xc3\xa4"), BAD_HOST),
    };
    ROWS(GV_PARSER_REQUEST, rows);
#undef HOST
}

static void a_header_is_token_colon_text(void)
{
    static const struct row rows[] = {
        RAW(GET "X:y\r\n\r\n", NONE),
        RAW(GET "X:\r\n\r\n", NONE),
        RAW(GET "X: \xe4 \t z \r\n\r\n", NONE),
        RAW(GET "X y\r\n\r\n", BAD_HEADER),
        RAW(GET "X\r\n\r\n", BAD_HEADER),
        RAW(GET ": y\r\n\r\n", BAD_HEADER),
        RAW(GET "X : y\r\n\r\n", BAD_HEADER),
        RAW(GET "X\t: y\r\n\r\n", BAD_HEADER),
        RAW(GET "X: y\r\n z\r\n\r\n", BAD_HEADER),
        RAW(GET "X: y\r\n\tz\r\n\r\n", BAD_HEADER),
        RAW(GET "X: y\r\n \r\n\r\n", BAD_HEADER),
        RAW(GET "X: y\n\r\n", BAD_HEADER),
        RAW(GET "X: y\rZ: a\r\n\r\n", BAD_HEADER),
        RAW(GET "X: y\r\r\n\r\n", BAD_HEADER),
        RAW(GET "X: y\r\n\rX", BAD_SYNTAX), /* cut: no line end ever came */
        RAW(GET "X: y\r\n\rX\r\n\r\n", BAD_HEADER),
        RAW(GET "X: y\r\n\n", BAD_HEADER),
        RAW(GET "X: \0\r\n\r\n", BAD_HEADER),
        RAW(GET "X: \x01\r\n\r\n", BAD_HEADER),
        RAW(GET "X: \x7f\r\n\r\n", BAD_HEADER),
        RAW(GET "X(: y\r\n\r\n", BAD_HEADER),
        RAW(GET "\xc3\xa4: y\r\n\r\n", BAD_HEADER),
        RAW(GET "Expect: 100-continue\r\n\r\n", NONE),
        RAW(GET "Expect: 200-ok\r\n\r\n", BAD_EXPECT),
        RAW(GET "Expect: 100-continue, x\r\n\r\n", BAD_EXPECT),
        RAW(GET "Connection: upgrade\r\nUpgrade: websocket\r\n\r\n", NONE),
        RAW(GET "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n", NONE),
    };
    ROWS(GV_PARSER_REQUEST, rows);
}

static void every_byte_that_is_no_token_character_is_refused_in_a_name(void)
{
    static const char token[] = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
                                "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for (int c = 0; c < 256; c++) {
        char text[64];
        int len = snprintf(text, sizeof text, GET "a?b: y\r\n\r\n");
        char *mark = strchr(text, '?');
        *mark = (char)c;
        bool good = c != 0 && strchr(token, c) != NULL;
        /* "a:b: y" is the name "a" with the value "b: y" */
        struct row row = {text, good || c == ':' ? GV_PROBLEM_NONE : GV_PROBLEM_BAD_HEADER,
                          (size_t)len};
        check_row(GV_PARSER_REQUEST, &row);
    }
}

static void a_response_is_read_as_strictly(void)
{
#define OK200 "HTTP/1.1 200 OK\r\n"
    static const struct row rows[] = {
        RAW(OK200 "Content-Length: 2\r\n\r\nhi", NONE),
        RAW(OK200 "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", NONE),
        RAW(OK200 "\r\nuntil the close", NONE),
        RAW("HTTP/1.0 200 OK\r\n\r\n", NONE),
        RAW("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", NONE),
        RAW("HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", NONE),
        RAW("HTTP/1.1 204 No Content\r\n\r\n", NONE),
        RAW("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", NONE),
        RAW("HTTP/1.1 100 Continue\r\n\r\n" OK200 "Content-Length: 0\r\n\r\n", NONE),
        RAW("HTTP/1.1 100 Continue\r\n\r\n", BAD_SYNTAX),
        RAW("HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", NOT_IMPLEMENTED),
        RAW("HTTP/1.1 100 Continue\r\nContent-Length: 2\r\n\r\nhi", BAD_FRAMING),
        RAW("HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n", BAD_FRAMING),
        RAW("HTTP/1.1 204 No\r\nContent-Length: 1\r\n\r\nx", BAD_FRAMING),
        RAW(OK200 "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", BAD_FRAMING),
        RAW(OK200 "Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi", BAD_FRAMING),
        RAW(OK200 "Content-Length: 2\r\n 1\r\n\r\nhi", BAD_HEADER),
        RAW(OK200 "Transfer-Encoding: gzip\r\n\r\n", BAD_CODING),
        RAW(OK200 "Transfer-Encoding: gzip, chunked\r\n\r\n", BAD_CODING),
        RAW("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", BAD_FRAMING),
        RAW(OK200 "Content-Length: 5\r\n\r\nhi", BAD_FRAMING),
        RAW(OK200 "Transfer-Encoding: chunked\r\n\r\n5\r\nhi", BAD_FRAMING),
        RAW("HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n", BAD_SYNTAX),
        RAW("HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n", BAD_SYNTAX),
        RAW("HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n", BAD_SYNTAX),
        RAW("HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n", BAD_SYNTAX),
        RAW("HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n", BAD_SYNTAX),
        RAW("HTTP/1.1 600 OK\r\nContent-Length: 0\r\n\r\n", BAD_SYNTAX),
        RAW("HTTP/1.1 200 \x01\r\nContent-Length: 0\r\n\r\n", BAD_SYNTAX),
        RAW("HTTP/2.0 200 OK\r\n\r\n", BAD_VERSION),
        RAW("HTTP/1.1 200 OK\r\n", BAD_SYNTAX),
        RAW("\r\n" OK200 "\r\n", BAD_SYNTAX),
        RAW("ICY 200 OK\r\n\r\n", BAD_SYNTAX),
        RAW("xHTTP/1.1 200 OK\r\n\r\n", BAD_SYNTAX),
    };
    ROWS(GV_PARSER_RESPONSE, rows);
#undef OK200
}

static void a_storm_of_interim_responses_is_refused(void)
{
    static const char interim[] = "HTTP/1.1 103 Early Hints\r\n\r\n";
    char text[9 * sizeof interim + 64] = "";
    for (int i = 0; i < 8; i++) {
        strcat(text, interim);
    }
    size_t eight = strlen(text);
    strcat(text, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    struct row row = {text, GV_PROBLEM_NONE, 0};
    check_row(GV_PARSER_RESPONSE, &row);
    memcpy(text + eight, interim, sizeof interim);
    row.problem = GV_PROBLEM_BAD_SYNTAX;
    check_row(GV_PARSER_RESPONSE, &row);
}

/* GET with `count` bytes where `mark` stands. */
static size_t fill(char *text, size_t size, const char *before, size_t count, const char *after)
{
    CU_ASSERT_FATAL(strlen(before) + count + strlen(after) < size);
    strcpy(text, before);
    memset(text + strlen(before), 'a', count);
    strcpy(text + strlen(before) + count, after);
    return strlen(text);
}

static void a_target_at_its_limit_passes_and_one_byte_more_is_too_long(void)
{
    char text[4096];
    static const char after[] = " HTTP/1.1\r\nHost: h\r\n\r\n";
    struct row row = {text, GV_PROBLEM_NONE, fill(text, sizeof text, "GET /", 255, after)};
    check_row(GV_PARSER_REQUEST, &row);
    row.len = fill(text, sizeof text, "GET /", 256, after);
    row.problem = GV_PROBLEM_URI_TOO_LONG;
    check_row(GV_PARSER_REQUEST, &row);
    row.len = fill(text, sizeof text, "GET /", 1500, after);
    check_row(GV_PARSER_REQUEST, &row);
    row.len = fill(text, sizeof text, "GET /", 1500, ""); /* the line never ends */
    check_row(GV_PARSER_REQUEST, &row);
}

static void a_head_at_its_limit_passes_and_one_byte_more_is_too_large(void)
{
    char text[4096];
    size_t rest = strlen(GET "X: \r\n\r\n");
    struct row row = {text, GV_PROBLEM_NONE,
                      fill(text, sizeof text, GET "X: ", 2048 - rest, "\r\n\r\n")};
    check_row(GV_PARSER_REQUEST, &row);
    row.len = fill(text, sizeof text, GET "X: ", 2049 - rest, "\r\n\r\n");
    row.problem = GV_PROBLEM_HEAD_TOO_BIG;
    check_row(GV_PARSER_REQUEST, &row);
    row.len = fill(text, sizeof text, "HTTP/1.1 200 ", 3000, "\r\n\r\n");
    check_row(GV_PARSER_RESPONSE, &row);
}

static void as_many_headers_as_the_limit_pass_and_one_more_is_too_many(void)
{
    char text[4096] = GET; /* one header */
    for (int i = 1; i < 32; i++) {
        strcat(text, "X: y\r\n");
    }
    size_t full = strlen(text);
    strcat(text, "\r\n");
    struct row row = {text, GV_PROBLEM_NONE, 0};
    check_row(GV_PARSER_REQUEST, &row);
    strcpy(text + full, "X: y\r\n\r\n");
    row.problem = GV_PROBLEM_HEAD_TOO_BIG;
    check_row(GV_PARSER_REQUEST, &row);
}

static void a_body_at_its_limit_passes_and_one_byte_more_is_too_big(void)
{
    static char text[8192];
    struct row row = {text, GV_PROBLEM_NONE,
                      fill(text, sizeof text, POST "Content-Length: 4096\r\n\r\n", 4096, "")};
    check_row(GV_PARSER_REQUEST, &row);
    row.len = fill(text, sizeof text, POST "Content-Length: 4097\r\n\r\n", 0, "");
    row.problem = GV_PROBLEM_BODY_TOO_BIG;
    check_row(GV_PARSER_REQUEST, &row);
    row.len = fill(text, sizeof text, CHUNKED "1000\r\n", 4096, "\r\n0\r\n\r\n");
    row.problem = GV_PROBLEM_NONE;
    check_row(GV_PARSER_REQUEST, &row);
    row.len = fill(text, sizeof text, CHUNKED "1000\r\n", 4096, "\r\n1\r\na\r\n0\r\n\r\n");
    row.problem = GV_PROBLEM_BODY_TOO_BIG;
    check_row(GV_PARSER_REQUEST, &row);
    row.len = fill(text, sizeof text, "HTTP/1.0 200 OK\r\n\r\n", 4097, "");
    check_row(GV_PARSER_RESPONSE, &row);
}

GV_SUITE("http/parser, bad input", GV_CASE(a_request_must_say_its_length_in_one_way),
         GV_CASE(only_chunked_is_a_transfer_coding), GV_CASE(a_chunk_line_is_hex_digits_and_crlf),
         GV_CASE(trailers_are_checked_and_dropped),
         GV_CASE(a_request_line_is_method_target_version), GV_CASE(a_target_reads_in_one_way_only),
         GV_CASE(a_request_has_one_valid_host), GV_CASE(a_header_is_token_colon_text),
         GV_CASE(every_byte_that_is_no_token_character_is_refused_in_a_name),
         GV_CASE(a_response_is_read_as_strictly), GV_CASE(a_storm_of_interim_responses_is_refused),
         GV_CASE(a_target_at_its_limit_passes_and_one_byte_more_is_too_long),
         GV_CASE(a_head_at_its_limit_passes_and_one_byte_more_is_too_large),
         GV_CASE(as_many_headers_as_the_limit_pass_and_one_more_is_too_many),
         GV_CASE(a_body_at_its_limit_passes_and_one_byte_more_is_too_big))
