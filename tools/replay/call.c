/*
 * call.c - one POST on a connection of its own: what came, when, and how it ended.
 *
 * A 200 that is a stream is complete when its [DONE] has come; the token counts are taken from
 * whatever event (or body) tells them. The call frees itself after its one report.
 */
#include "grapevine/http/parser.h"
#include "grapevine/http/sse.h"
#include "grapevine/http/writer.h"
#include "grapevine/net/stream.h"
#include "grapevine/net/timer.h"
#include "replay.h"
#include <jansson.h>

#define HEAD_BYTES_MAX  (64 << 10)
#define EVENT_BYTES_MAX (16 << 20)

struct call {
    struct gv_stream *stream; /* ours to close; NULL when closed */
    struct gv_timer *timer;   /* owned */
    struct gv_parser *parser; /* owned */
    struct gv_sse sse;
    struct gv_buf request; /* owned */
    struct gv_buf body;    /* owned: of an answer that is no stream */
    struct call_done done;
    bool is_events;
    bool complete;
    bool failed; /* done.outcome is settled, and not OK */
    call_fn on_done;
    void *owner;
};

static const struct gv_parser_limits limits = {
    .head_bytes = HEAD_BYTES_MAX,
    .uri_bytes = HEAD_BYTES_MAX,
    .header_count = GV_HEAD_HEADERS_MAX,
    .body_bytes = UINT64_MAX / 2,
    .chunk_ext_bytes = HEAD_BYTES_MAX,
    .trailer_bytes = HEAD_BYTES_MAX,
};

static void fail(struct call *call, enum call_outcome outcome)
{
    if (!call->failed && !call->complete) {
        call->failed = true;
        call->done.outcome = outcome;
    }
    if (call->stream != NULL) {
        gv_stream_close(call->stream);
    }
}

/* Token counts, from OpenAI's usage or SGLang's meta_info. */
static void read_usage(struct call *call, struct gv_slice text)
{
    json_t *json = json_loadb((const char *)text.data, text.len, 0, NULL);
    const json_t *first = json_is_array(json) ? json_array_get(json, 0) : json;
    const json_t *usage = json_object_get(first, "usage");
    const json_t *cached =
        json_object_get(json_object_get(usage, "prompt_tokens_details"), "cached_tokens");
    if (!json_is_object(usage)) {
        usage = json_object_get(first, "meta_info");
        cached = json_object_get(usage, "cached_tokens");
    }
    const json_t *prompt = json_object_get(usage, "prompt_tokens");
    if (json_is_integer(prompt) && json_is_integer(cached)) {
        call->done.has_usage = true;
        call->done.prompt_tokens = (uint64_t)json_integer_value(prompt);
        call->done.cached_tokens = (uint64_t)json_integer_value(cached);
    }
    json_decref(json);
}

/* Only the events that can hold the counts are parsed. */
static bool tells_tokens(struct gv_slice text)
{
    static const char word[] = "\"cached_tokens\"";
    for (size_t at = 0; at + sizeof word - 1 <= text.len; at++) {
        const uint8_t *hit = memchr(text.data + at, '"', text.len - at - (sizeof word - 2));
        if (hit == NULL) {
            return false;
        }
        at = (size_t)(hit - text.data);
        if (memcmp(hit, word, sizeof word - 1) == 0) {
            return true;
        }
    }
    return false;
}

static void on_event(void *owner, struct gv_slice data)
{
    struct call *call = owner;
    if (call->done.first_at_us == 0) {
        call->done.first_at_us = gv_clock_us();
    }
    if (tells_tokens(data)) {
        read_usage(call, data);
    }
}

static enum gv_err on_head(void *owner, const struct gv_head *head)
{
    struct call *call = owner;
    if (head->status < 200) {
        return GV_OK;
    }
    call->done.status = head->status;
    struct gv_slice type = gv_head_find(head, "content-type");
    struct gv_slice worker = gv_head_find(head, "x-grapevine-worker");
    if (worker.len == 0) {
        worker = gv_head_find(head, "x-mock-worker");
    }
    (void)gv_slice_copy_text(worker, call->done.worker, sizeof call->done.worker);
    (void)gv_slice_copy_text(gv_head_find(head, "x-grapevine-rule"), call->done.rule,
                             sizeof call->done.rule);
    call->is_events = head->status == 200 && gv_slice_starts_with(type, "text/event-stream");
    return GV_OK;
}

static enum gv_err on_body(void *owner, struct gv_slice bytes)
{
    struct call *call = owner;
    if (call->is_events) {
        gv_sse_feed(&call->sse, bytes, on_event, call);
        return GV_OK;
    }
    if (call->done.first_at_us == 0) {
        call->done.first_at_us = gv_clock_us();
    }
    return gv_buf_append(&call->body, bytes);
}

static enum gv_err on_message_end(void *owner)
{
    struct call *call = owner;
    if (call->done.status < 200) {
        return GV_OK; /* 100 Continue */
    }
    if (call->done.status != 200) {
        fail(call, CALL_STATUS);
    } else if (call->is_events && !call->sse.done) {
        fail(call, CALL_CUT);
    } else {
        call->complete = true;
        if (!call->is_events) {
            read_usage(call, gv_buf_slice(&call->body));
        }
    }
    return GV_OK;
}

static const struct gv_parser_events parser_events = {
    .on_head = on_head,
    .on_body = on_body,
    .on_message_end = on_message_end,
};

static void on_open(void *owner)
{
    struct call *call = owner;
    enum gv_err err = gv_stream_send(call->stream, gv_buf_slice(&call->request));
    if (err != GV_OK && err != GV_EFULL) {
        fail(call, CALL_NO_ANSWER);
    }
    gv_buf_reset(&call->request);
}

static void on_data(void *owner, struct gv_slice bytes)
{
    struct call *call = owner;
    while (bytes.len > 0 && !call->failed && !call->complete) {
        size_t used = 0;
        if (gv_parser_feed(call->parser, bytes, &used) != GV_OK) {
            fail(call, CALL_BAD_HTTP);
            return;
        }
        bytes = gv_slice_of(bytes.data + used, bytes.len - used);
    }
    if (call->complete) {
        gv_stream_close(call->stream);
    }
}

static void on_end(void *owner)
{
    struct call *call = owner;
    if (!call->complete && call->done.status != 0 && gv_parser_end(call->parser) != GV_OK) {
        fail(call, CALL_CUT);
    }
    gv_stream_close(call->stream);
}

static void on_time(void *owner)
{
    fail(owner, CALL_TIMEOUT);
}

static void free_call(struct call *call)
{
    gv_timer_close(call->timer);
    gv_parser_free(call->parser);
    gv_sse_deinit(&call->sse);
    gv_buf_deinit(&call->request);
    gv_buf_deinit(&call->body);
    gv_mem_free(GV_MEM_GENERAL, call);
}

static void on_closed(void *owner, enum gv_err why)
{
    struct call *call = owner;
    call->stream = NULL;
    if (call->complete) {
        call->done.outcome = CALL_OK;
    } else if (!call->failed && why == GV_EREFUSED) {
        call->done.outcome = CALL_REFUSED;
    } else if (!call->failed) {
        call->done.outcome = call->done.status == 0 ? CALL_NO_ANSWER : CALL_CUT;
    }
    call->done.end_at_us = gv_clock_us();
    if (!call->is_events) {
        call->done.body = gv_buf_slice(&call->body);
    }
    call->on_done(call->owner, &call->done);
    free_call(call);
}

static const struct gv_stream_events stream_events = {
    .on_open = on_open,
    .on_data = on_data,
    .on_end = on_end,
    .on_closed = on_closed,
};

static enum gv_err write_request(struct gv_buf *out, const struct call_ask *ask)
{
    enum gv_err err = gv_writer_request(out, gv_slice_text("POST"), gv_slice_text(ask->target),
                                        gv_slice_text(ask->router->uri.authority));
    if (err == GV_OK) {
        err =
            gv_writer_header(out, gv_slice_text("Content-Type"), gv_slice_text("application/json"));
    }
    if (err == GV_OK && ask->api_key != NULL) {
        err = gv_buf_append_format(out, "Authorization: Bearer %s\r\n", ask->api_key);
    }
    if (err == GV_OK) {
        err = gv_writer_end_head(out, ask->body.len, true);
    }
    return err == GV_OK ? gv_buf_append(out, ask->body) : err;
}

enum gv_err call_start(struct gv_loop *loop, const struct call_ask *ask, call_fn on_done,
                       void *owner)
{
    const struct gv_stream_limits marks = {.high_mark_bytes = REPLAY_BODY_MAX,
                                           .low_mark_bytes = 1 << 16};
    struct call *call = gv_mem_new(GV_MEM_GENERAL, sizeof *call);
    if (call == NULL) {
        return GV_ENOMEM;
    }
    call->on_done = on_done;
    call->owner = owner;
    gv_buf_init(&call->request, GV_MEM_BUFFER, 2 * REPLAY_BODY_MAX);
    gv_buf_init(&call->body, GV_MEM_BUFFER, REPLAY_BODY_MAX);
    gv_sse_init(&call->sse, EVENT_BYTES_MAX);
    enum gv_err err = write_request(&call->request, ask);
    if (err == GV_OK) {
        err = gv_parser_new(GV_PARSER_RESPONSE, limits, &parser_events, call, &call->parser);
    }
    if (err == GV_OK) {
        err = gv_timer_open(loop, on_time, call, &call->timer);
    }
    if (err == GV_OK) {
        err =
            gv_stream_connect(loop, &ask->router->addr, &stream_events, call, marks, &call->stream);
    }
    if (err != GV_OK) {
        free_call(call);
        return err;
    }
    gv_timer_start(call->timer, ask->timeout_ms, 0);
    return GV_OK;
}
