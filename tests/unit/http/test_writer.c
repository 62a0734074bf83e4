/*
 * test_writer.c - what is written is exactly one message, whatever the pieces hold.
 */
#include "grapevine/http/writer.h"
#include "support/suite.h"
#include <stdio.h>

#define T gv_slice_text

static struct gv_buf out;

static void begin(void)
{
    gv_buf_init(&out, GV_MEM_BUFFER, 1024);
}

static void wrote(const char *wanted)
{
    CU_ASSERT(gv_slice_is(gv_buf_slice(&out), wanted));
    gv_buf_deinit(&out);
}

static void a_request_begins_with_its_line_and_host(void)
{
    begin();
    CU_ASSERT_EQUAL(gv_writer_request(&out, T("POST"), T("/v1/x?y"), T("h:8000")), GV_OK);
    CU_ASSERT_EQUAL(gv_writer_header(&out, T("X-One"), T("two")), GV_OK);
    CU_ASSERT_EQUAL(gv_writer_header(&out, T("X-Two"), gv_slice_of(NULL, 0)), GV_OK);
    CU_ASSERT_EQUAL(gv_writer_end_head(&out, 12, false), GV_OK);
    wrote("POST /v1/x?y HTTP/1.1\r\nHost: h:8000\r\nX-One: two\r\nX-Two: \r\n"
          "Content-Length: 12\r\n\r\n");
}

static void framing_is_one_header_or_none(void)
{
    static const struct {
        uint64_t bytes;
        bool close;
        const char *wanted;
    } rows[] = {
        {0, false, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
        {GV_WRITER_CHUNKED, false, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"},
        {GV_WRITER_UNTIL_CLOSE, false, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"},
        {GV_WRITER_NO_BODY, false, "HTTP/1.1 200 OK\r\n\r\n"},
        {GV_WRITER_NO_BODY, true, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"},
        {5, true, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        begin();
        CU_ASSERT_EQUAL(gv_writer_status(&out, 200), GV_OK);
        CU_ASSERT_EQUAL(gv_writer_end_head(&out, rows[i].bytes, rows[i].close), GV_OK);
        wrote(rows[i].wanted);
    }
}

static void nothing_that_would_begin_another_line_is_written(void)
{
    static const struct {
        struct gv_slice name;
        struct gv_slice value;
    } rows[] = {
        {{(const uint8_t *)"X", 1}, {(const uint8_t *)"a\r\nY: b", 7}},
        {{(const uint8_t *)"X", 1}, {(const uint8_t *)"a\nb", 3}},
        {{(const uint8_t *)"X", 1}, {(const uint8_t *)"a\rb", 3}},
        {{(const uint8_t *)"X", 1}, {(const uint8_t *)"a\0b", 3}},
        {{(const uint8_t *)"X", 1}, {(const uint8_t *)"\x7f", 1}},
        {{(const uint8_t *)"", 0}, {(const uint8_t *)"a", 1}},
        {{(const uint8_t *)"X Y", 3}, {(const uint8_t *)"a", 1}},
        {{(const uint8_t *)"X:", 2}, {(const uint8_t *)"a", 1}},
        {{(const uint8_t *)"X\r\n", 3}, {(const uint8_t *)"a", 1}},
    };
    begin();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        CU_ASSERT_EQUAL(gv_writer_header(&out, rows[i].name, rows[i].value), GV_EINVAL);
    }
    CU_ASSERT_EQUAL(gv_writer_request(&out, T("GE T"), T("/"), T("h")), GV_EINVAL);
    CU_ASSERT_EQUAL(gv_writer_request(&out, T("GET"), T(""), T("h")), GV_EINVAL);
    CU_ASSERT_EQUAL(gv_writer_request(&out, T("GET"), T("/ x"), T("h")), GV_EINVAL);
    CU_ASSERT_EQUAL(gv_writer_request(&out, T("GET"), T("/\r\n"), T("h")), GV_EINVAL);
    CU_ASSERT_EQUAL(gv_writer_request(&out, T("GET"), T("/"), T("h\r\n")), GV_EINVAL);
    wrote("");
}

static void a_full_buffer_is_told(void)
{
    gv_buf_init(&out, GV_MEM_BUFFER, 10);
    CU_ASSERT_EQUAL(gv_writer_header(&out, T("Name"), T("value")), GV_ETOOBIG);
    CU_ASSERT_EQUAL(gv_writer_header(&out, T("Name"), T("va")), GV_OK);
    CU_ASSERT_EQUAL(gv_writer_status(&out, 200), GV_ETOOBIG);
    wrote("Name: va\r\n");
}

static void a_chunk_line_is_its_length_in_hex(void)
{
    static const struct {
        size_t bytes;
        const char *wanted;
    } rows[] = {{1, "1\r\n"},    {15, "f\r\n"},      {16, "10\r\n"},
                {255, "ff\r\n"}, {4096, "1000\r\n"}, {SIZE_MAX, "ffffffffffffffff\r\n"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char line[20];
        size_t len = gv_writer_chunk_line(line, rows[i].bytes);
        CU_ASSERT(gv_slice_is(gv_slice_of(line, len), rows[i].wanted));
    }
    CU_ASSERT(gv_slice_is(gv_writer_last_chunk(), "0\r\n\r\n"));
}

GV_SUITE("http/writer", GV_CASE(a_request_begins_with_its_line_and_host),
         GV_CASE(framing_is_one_header_or_none),
         GV_CASE(nothing_that_would_begin_another_line_is_written), GV_CASE(a_full_buffer_is_told),
         GV_CASE(a_chunk_line_is_its_length_in_hex))
