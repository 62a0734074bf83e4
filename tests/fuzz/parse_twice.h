/*
 * parse_twice.h - the rule both parser drivers hold: what comes out of a stream of bytes does not
 * depend on where it was cut.
 *
 * The events of a parse are folded into one text ("H" and the head, "B" and body bytes, "E"), once
 * for the bytes as a whole, once byte by byte, once in pieces of a length that the input chooses.
 */
#ifndef GV_TESTS_FUZZ_PARSE_TWICE_H
#define GV_TESTS_FUZZ_PARSE_TWICE_H

#include "grapevine/base/assert.h"
#include "grapevine/http/parser.h"
#include <stdlib.h>

#define TRACE_BYTES_MAX ((size_t)4 << 20)

struct trace {
    struct gv_buf text;
    size_t message_count;
    uint64_t body_bytes; /* of the current message */
    struct gv_head head; /* slices are not used after the callback */
    enum gv_err err;
    enum gv_problem problem;
};

static void write_trace(struct trace *trace, const char *mark, struct gv_slice bytes)
{
    GV_ASSERT(gv_buf_append_text(&trace->text, mark) == GV_OK);
    GV_ASSERT(gv_buf_append(&trace->text, bytes) == GV_OK);
}

/* Nothing that would let one line of what we write on become two. */
static void check_clean(struct gv_slice bytes)
{
    for (size_t i = 0; i < bytes.len; i++) {
        GV_ASSERT(bytes.data[i] != '\r' && bytes.data[i] != '\n' && bytes.data[i] != 0);
    }
}

static enum gv_err on_head(void *owner, const struct gv_head *head)
{
    struct trace *trace = owner;
    GV_ASSERT(!(head->chunked && head->has_content_length));
    trace->head = *head;
    trace->body_bytes = 0;
    write_trace(trace, "\nH", head->method_text);
    write_trace(trace, " ", head->target);
    write_trace(trace, " ", head->path);
    write_trace(trace, " ", head->query);
    GV_ASSERT(gv_buf_append_format(&trace->text, " %u %u %d %d %d %llu", (unsigned)head->status,
                                   (unsigned)head->version_minor, head->keep_alive, head->chunked,
                                   head->expect_continue,
                                   (unsigned long long)head->content_length) == GV_OK);
    for (size_t i = 0; i < head->header_count; i++) {
        check_clean(head->headers[i].name);
        check_clean(head->headers[i].value);
        write_trace(trace, "\n", head->headers[i].name);
        write_trace(trace, ":", head->headers[i].value);
    }
    write_trace(trace, "\nB", gv_slice_of(NULL, 0));
    return GV_OK;
}

static enum gv_err on_body(void *owner, struct gv_slice bytes)
{
    struct trace *trace = owner;
    GV_ASSERT(bytes.len > 0);
    trace->body_bytes += bytes.len;
    write_trace(trace, "", bytes);
    return GV_OK;
}

static enum gv_err on_message_end(void *owner)
{
    struct trace *trace = owner;
    if (trace->head.has_content_length && trace->head.status == 0) {
        GV_ASSERT(trace->body_bytes == trace->head.content_length);
    }
    write_trace(trace, "\nE", gv_slice_of(NULL, 0));
    trace->message_count += 1;
    return GV_OK;
}

/* Parse everything in pieces of `step` bytes. */
static void parse(struct trace *trace, enum gv_parser_kind kind, struct gv_slice bytes, size_t step)
{
    static const struct gv_parser_limits limits = {
        .head_bytes = 4096,
        .uri_bytes = 512,
        .header_count = 24,
        .body_bytes = 65536,
        .chunk_ext_bytes = 128,
        .trailer_bytes = 256,
    };
    static const struct gv_parser_events events = {on_head, on_body, on_message_end};
    struct gv_parser *parser = NULL;
    *trace = (struct trace){.err = GV_OK};
    gv_buf_init(&trace->text, GV_MEM_GENERAL, TRACE_BYTES_MAX);
    GV_ASSERT(gv_parser_new(kind, limits, &events, trace, &parser) == GV_OK);
    for (size_t at = 0; at < bytes.len && trace->err == GV_OK;) {
        size_t take = step < bytes.len - at ? step : bytes.len - at;
        size_t used = 0;
        size_t ended = trace->message_count;
        trace->err = gv_parser_feed(parser, gv_slice_of(bytes.data + at, take), &used);
        GV_ASSERT(used <= take);
        if (trace->err == GV_OK) {
            GV_ASSERT(used == take || trace->message_count == ended + 1);
        }
        at += used;
    }
    if (trace->err == GV_OK) {
        trace->err = gv_parser_end(parser);
    }
    trace->problem = gv_parser_problem(parser);
    GV_ASSERT((trace->err == GV_OK) == (trace->problem == GV_PROBLEM_NONE));
    gv_parser_free(parser);
}

static void check_same(const struct trace *whole, const struct trace *cut)
{
    GV_ASSERT(whole->err == cut->err && whole->problem == cut->problem);
    GV_ASSERT(whole->message_count == cut->message_count);
    /* on error, bytes of the broken message may have been passed on or not */
    if (whole->err == GV_OK) {
        GV_ASSERT(gv_slice_equal(gv_buf_slice(&whole->text), gv_buf_slice(&cut->text)));
    }
}

static void parse_twice(enum gv_parser_kind kind, struct gv_slice bytes)
{
    struct trace whole;
    struct trace cut;
    parse(&whole, kind, bytes, bytes.len == 0 ? 1 : bytes.len);
    parse(&cut, kind, bytes, 1);
    check_same(&whole, &cut);
    gv_buf_deinit(&cut.text);
    parse(&cut, kind, bytes, bytes.len == 0 ? 1 : 2u + bytes.data[bytes.len - 1] % 61u);
    check_same(&whole, &cut);
    gv_buf_deinit(&cut.text);
    gv_buf_deinit(&whole.text);
}

#endif
