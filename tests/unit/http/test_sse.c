/*
 * test_sse.c - events are the same wherever the bytes were cut and however lines end.
 */
#include "grapevine/http/sse.h"
#include "support/suite.h"
#include <stdio.h>

#define MAX_EVENT_BYTES 32

struct log {
    char text[512]; /* each event's data, then '|' */
    size_t len;
};

static void on_event(void *owner, struct gv_slice data)
{
    struct log *log = owner;
    CU_ASSERT_FATAL(log->len + data.len + 2 < sizeof log->text);
    if (data.len > 0) {
        memcpy(log->text + log->len, data.data, data.len);
    }
    log->len += data.len;
    log->text[log->len++] = '|';
    log->text[log->len] = 0;
}

struct row {
    const char *bytes;
    const char *events;
    bool done;
};

/* Feed bytes[0, cut), then pieces of `step`. */
static void check(const struct row *row, size_t cut, size_t step)
{
    struct gv_sse sse;
    struct log log = {.len = 0};
    gv_sse_init(&sse, MAX_EVENT_BYTES);
    size_t len = strlen(row->bytes);
    for (size_t at = 0; at < len;) {
        size_t take = at < cut ? cut - at : step;
        take = take < len - at ? take : len - at;
        gv_sse_feed(&sse, gv_slice_of(row->bytes + at, take), on_event, &log);
        at += take;
    }
    size_t count = 0;
    for (const char *c = row->events; *c != 0; c++) {
        count += *c == '|' ? 1 : 0;
    }
    if (strcmp(log.text, row->events) != 0 || sse.done != row->done) {
        printf("cut %zu: %s, wanted %s\n", cut, log.text, row->events);
    }
    CU_ASSERT_STRING_EQUAL(log.text, row->events);
    CU_ASSERT_EQUAL(sse.done, row->done);
    CU_ASSERT_EQUAL(sse.event_count, count);
    gv_sse_deinit(&sse);
}

static void check_rows(const struct row *rows, size_t count)
{
    CU_ASSERT(count > 0);
    for (size_t i = 0; i < count; i++) {
        size_t len = strlen(rows[i].bytes);
        check(&rows[i], 0, 1);
        for (size_t cut = 0; cut <= len; cut++) {
            check(&rows[i], cut, len);
        }
    }
}

#define CHECK(rows) check_rows(rows, sizeof(rows) / sizeof(rows)[0])

static void an_event_ends_at_a_blank_line(void)
{
    static const struct row rows[] = {
        {"data: a\n\n", "a|", false},
        {"data: a\r\n\r\n", "a|", false},
        {"data: a\r\r", "a|", false},
        {"data: a\r\n\ndata: b\n\r\n", "a|b|", false},
        {"data: a\n\ndata: b\n\n", "a|b|", false},
        {"data: a\n", "", false},
        {"data: a", "", false},
        {"\n\n\ndata: a\n\n\n\n", "a|", false},
        {"data:a\n\n", "a|", false},
        {"data:  a\n\n", " a|", false},
        {"data\n\n", "|", false},
        {"data:\n\n", "|", false},
        {"data: a\ndata: b\n\n", "a\nb|", false},
        {"data\ndata\n\n", "\n|", false},
        {": ping\n\n", "", false},
        {"event: e\nid: 1\ndata: a\nretry: 5\n\n", "a|", false},
        {"database: x\n\n", "", false},
        {" data: x\n\n", "", false},
        {"\xef\xbb\xbf"
         "data: a\n\n\xef\xbb\xbf"
         "data: b\n\n",
         "a|", false},
    };
    CHECK(rows);
}

static void done_is_an_event_whose_data_is_done(void)
{
    static const struct row rows[] = {
        {"data: a\n\ndata: [DONE]\n\n", "a|[DONE]|", true},
        {"data:[DONE]\r\n\r\n", "[DONE]|", true},
        {"data: [DONE]\n\ndata: late\n\n", "[DONE]|late|", true},
        {"data: [DONE]\n", "", false},
        {"data: [DONE] \n\n", "[DONE] |", false},
        {"data: x\ndata: [DONE]\n\n", "x\n[DONE]|", false},
        {": [DONE]\n\n", "", false},
    };
    CHECK(rows);
}

static void an_event_over_the_limit_is_counted_but_not_kept(void)
{
    static const struct row rows[] = {
        /* a line of 32 bytes is kept, one of 33 is not */
        {"data: 78901234567890123456789012\n\n", "78901234567890123456789012|", false},
        {"data: 789012345678901234567890123\n\ndata: a\n\n", "|a|", false},
        {"data: 78901234567890\ndata: 89012345678901234\n\n", "78901234567890\n89012345678901234|",
         false},
        {"data: 78901234567890\ndata: 890123456789012345\n\ndata: a\n\n", "|a|", false},
        {"data: 789012345678901234567890123\ndata: [DONE]\n\n", "|", false},
    };
    CHECK(rows);
}

static void without_a_listener_events_are_still_counted(void)
{
    struct gv_sse sse;
    gv_sse_init(&sse, MAX_EVENT_BYTES);
    gv_sse_feed(&sse, gv_slice_text("data: a\n\ndata: [DONE]\n\n"), NULL, NULL);
    CU_ASSERT_EQUAL(sse.event_count, 2);
    CU_ASSERT(sse.done);
    gv_sse_deinit(&sse);
}

static void without_memory_events_are_still_counted(void)
{
    struct gv_sse sse;
    gv_sse_init(&sse, MAX_EVENT_BYTES);
    gv_mem_fail_nth(1);
    gv_sse_feed(&sse, gv_slice_text("data: a\n\ndata: b\n\n"), NULL, NULL);
    gv_mem_fail_nth(0);
    CU_ASSERT_EQUAL(sse.event_count, 2);
    gv_sse_deinit(&sse);
}

GV_SUITE("http/sse", GV_CASE(an_event_ends_at_a_blank_line),
         GV_CASE(done_is_an_event_whose_data_is_done),
         GV_CASE(an_event_over_the_limit_is_counted_but_not_kept),
         GV_CASE(without_a_listener_events_are_still_counted),
         GV_CASE(without_memory_events_are_still_counted))
