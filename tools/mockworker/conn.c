/*
 * conn.c - a connection to a simulated engine: bytes to requests, answers to bytes.
 *
 * One request at a time; what follows it waits in `unread`. Every byte of an answer to a serving
 * request passes emit(), which is where a fault cuts it off. The stream's on_closed is the end of a
 * connection and the only place that frees it.
 */
#include "grapevine/http/writer.h"
#include "mock.h"
#include <stdlib.h>

static const struct gv_parser_limits limits = {
    .head_bytes = 256 << 10,
    .uri_bytes = 64 << 10,
    .header_count = GV_HEAD_HEADERS_MAX,
    .body_bytes = MOCK_BODY_BYTES_MAX,
    .chunk_ext_bytes = 16 << 10,
    .trailer_bytes = 16 << 10,
};

static const struct gv_stream_limits stream_limits = {
    .high_mark_bytes = MOCK_REPLY_BYTES_MAX,
    .low_mark_bytes = 1 << 20,
};

/* Bytes gather here and leave together in flush(). */
static void put(struct conn *conn, struct gv_slice bytes)
{
    if (conn->state != CONN_CLOSING && gv_buf_append(&conn->out, bytes) != GV_OK) {
        conn->state = CONN_CLOSING;
        gv_stream_close(conn->stream);
    }
}

/* A peer that is gone is noticed in on_closed; a full queue has taken the bytes. */
static void flush(struct conn *conn)
{
    if (conn->state != CONN_CLOSING && conn->out.len > 0) {
        enum gv_err err = gv_stream_send(conn->stream, gv_buf_slice(&conn->out));
        if (err != GV_OK && err != GV_EFULL) {
            conn->state = CONN_CLOSING;
        }
    }
    gv_buf_clear(&conn->out);
}

/* Send what was said, then close. */
static void shut(struct conn *conn)
{
    flush(conn);
    if (conn->state != CONN_CLOSING) {
        conn->state = CONN_CLOSING;
        gv_stream_finish(conn->stream, 1000);
    }
}

static char *copy(struct gv_slice slice)
{
    char *text = gv_mem_new(GV_MEM_GENERAL, slice.len + 1);
    if (text != NULL && slice.len > 0) {
        memcpy(text, slice.data, slice.len);
    }
    return text;
}

/* {"method", "target", "headers": [[name, value], ...]}: what the last request looked like. */
static char *head_json(const struct gv_head *head)
{
    json_t *headers = json_array();
    for (size_t i = 0; i < head->header_count; i++) {
        const struct gv_header *header = &head->headers[i];
        json_array_append_new(
            headers, json_pack("[s%,s%]", (const char *)header->name.data, header->name.len,
                               header->value.len > 0 ? (const char *)header->value.data : "",
                               header->value.len));
    }
    json_t *json = json_pack("{s:s%,s:s%,s:o}", "method", (const char *)head->method_text.data,
                             head->method_text.len, "target", (const char *)head->target.data,
                             head->target.len, "headers", headers);
    char *dumped = json == NULL ? NULL : json_dumps(json, JSON_COMPACT);
    char *text = dumped == NULL ? NULL : gv_mem_copy_text(GV_MEM_GENERAL, dumped);
    free(dumped);
    json_decref(json);
    return text;
}

static void forget_request(struct conn *conn)
{
    gv_mem_free(GV_MEM_GENERAL, conn->head_json);
    gv_mem_free(GV_MEM_GENERAL, conn->target);
    gv_mem_free(GV_MEM_GENERAL, conn->authorization);
    conn->head_json = NULL;
    conn->target = NULL;
    conn->authorization = NULL;
    gv_buf_clear(&conn->body);
    conn->complete = false;
    conn->chunked = false;
    conn->stopped = false;
    conn->waiting = false;
    conn->fault = (struct mock_fault){.kind = MOCK_FAULT_NONE};
    conn->sent_body_bytes = 0;
}

static enum gv_err on_head(void *owner, const struct gv_head *head)
{
    struct conn *conn = owner;
    conn->method = head->method;
    conn->keep_alive = head->keep_alive;
    conn->http_1_0 = head->version_minor == 0;
    conn->head_json = head_json(head);
    conn->target = copy(head->target);
    struct gv_slice authorization = gv_head_find(head, "authorization");
    if (authorization.data != NULL) {
        conn->authorization = copy(authorization);
    }
    if (conn->target == NULL) {
        return GV_ENOMEM;
    }
    if (head->expect_continue) {
        put(conn, gv_slice_text("HTTP/1.1 100 Continue\r\n\r\n"));
        flush(conn);
    }
    return GV_OK;
}

static enum gv_err on_body(void *owner, struct gv_slice bytes)
{
    struct conn *conn = owner;
    return gv_buf_append(&conn->body, bytes);
}

static enum gv_err on_message_end(void *owner)
{
    struct conn *conn = owner;
    conn->complete = true;
    return GV_OK;
}

static const struct gv_parser_events parser_events = {
    .on_head = on_head,
    .on_body = on_body,
    .on_message_end = on_message_end,
};

static void refuse_syntax(struct conn *conn)
{
    struct gv_buf out;
    gv_buf_init(&out, GV_MEM_BUFFER, 4096);
    if (gv_problem_response(gv_parser_problem(conn->parser), NULL, NULL, true, &out) == GV_OK) {
        put(conn, gv_buf_slice(&out));
    }
    gv_buf_deinit(&out);
    shut(conn);
}

/* Parse what has come until a request is complete; answer it; go on while answers come at once. */
static void read_requests(struct conn *conn)
{
    while (conn->state == CONN_READING && conn->unread.len > 0) {
        size_t used = 0;
        enum gv_err err = gv_parser_feed(conn->parser, gv_buf_slice(&conn->unread), &used);
        if (err != GV_OK) {
            refuse_syntax(conn);
            return;
        }
        gv_buf_consume(&conn->unread, used);
        if (conn->complete) {
            conn->state = CONN_ANSWERING;
            api_handle(conn);
        }
    }
}

static void on_data(void *owner, struct gv_slice bytes)
{
    struct conn *conn = owner;
    if (conn->state == CONN_CLOSING) {
        return;
    }
    if (gv_buf_append(&conn->unread, bytes) != GV_OK) {
        conn->state = CONN_CLOSING;
        gv_stream_close(conn->stream);
        return;
    }
    read_requests(conn);
}

/* Engines take the end of the client's side for a disconnect, even while an answer is under way. */
static void on_end(void *owner)
{
    struct conn *conn = owner;
    conn->state = CONN_CLOSING;
    gv_stream_close(conn->stream);
}

static void on_closed(void *owner, enum gv_err why)
{
    (void)why;
    struct conn *conn = owner;
    struct mock_worker *worker = conn->worker;
    conn->state = CONN_CLOSING;
    if (conn->job != NULL) {
        job_abort(conn->job);
    }
    if (conn->serving) {
        worker->stats.in_flight -= 1;
        worker->stats.aborted += 1;
    }
    forget_request(conn);
    gv_list_remove(&conn->link);
    gv_parser_free(conn->parser);
    gv_buf_deinit(&conn->unread);
    gv_buf_deinit(&conn->out);
    gv_buf_deinit(&conn->body);
    gv_mem_free(GV_MEM_GENERAL, conn);
    worker_wake(worker);
}

static const struct gv_stream_events stream_events = {
    .on_data = on_data,
    .on_end = on_end,
    .on_closed = on_closed,
};

void conn_accept(struct mock_worker *worker, struct gv_stream *stream, bool bootstrap)
{
    struct conn *conn = gv_mem_new(GV_MEM_GENERAL, sizeof *conn);
    if (conn == NULL) {
        gv_stream_close(stream);
        return;
    }
    conn->worker = worker;
    conn->stream = stream;
    conn->bootstrap = bootstrap;
    gv_list_init(&conn->link);
    gv_buf_init(&conn->unread, GV_MEM_BUFFER, MOCK_BODY_BYTES_MAX);
    gv_buf_init(&conn->out, GV_MEM_BUFFER, MOCK_REPLY_BYTES_MAX);
    gv_buf_init(&conn->body, GV_MEM_BUFFER, MOCK_BODY_BYTES_MAX);
    if (gv_parser_new(GV_PARSER_REQUEST, limits, &parser_events, conn, &conn->parser) != GV_OK) {
        gv_mem_free(GV_MEM_GENERAL, conn);
        gv_stream_close(stream);
        return;
    }
    gv_list_add(&worker->conns, &conn->link);
    worker->stats.connections += 1;
    gv_stream_adopt(stream, &stream_events, conn, stream_limits);
}

void conn_reset_all(struct mock_worker *worker)
{
    GV_LIST_EACH(&worker->conns, at, following)
    {
        struct conn *conn = GV_CONTAINER(at, struct conn, link);
        if (conn->state != CONN_CLOSING) { /* else its last bytes are on their way */
            conn->state = CONN_CLOSING;
            gv_stream_reset(conn->stream);
        }
    }
}

/* The answer is out: count it, and be ready for the next request. */
static void end_answer(struct conn *conn)
{
    if (conn->stopped || conn->state == CONN_CLOSING) {
        return;
    }
    if (conn->serving) {
        struct mock_stats *stats = &conn->worker->stats;
        conn->serving = false;
        stats->in_flight -= 1;
        *(conn->aborted ? &stats->aborted : &stats->finished) += 1;
    }
    bool keep = conn->keep_alive && !conn->http_1_0;
    forget_request(conn);
    if (!keep) {
        shut(conn);
        return;
    }
    flush(conn);
    if (conn->state != CONN_CLOSING) {
        conn->state = CONN_READING;
    }
}

/* Body bytes, as far as the request's fault lets them. */
static void emit(struct conn *conn, struct gv_slice bytes)
{
    if (conn->stopped || bytes.len == 0) {
        return;
    }
    bool cuts = conn->fault.kind == MOCK_FAULT_HANG_MID_STREAM ||
                conn->fault.kind == MOCK_FAULT_CLOSE_MID_STREAM;
    uint64_t left = conn->fault.after_bytes > conn->sent_body_bytes
                        ? conn->fault.after_bytes - conn->sent_body_bytes
                        : 0;
    struct gv_slice part = bytes;
    if (cuts && left < part.len) {
        part.len = (size_t)left;
        conn->stopped = true;
    }
    conn->sent_body_bytes += part.len;
    if (conn->chunked && part.len > 0) {
        char line[20];
        put(conn, gv_slice_of(line, gv_writer_chunk_line(line, part.len)));
        put(conn, part);
        put(conn, gv_slice_text("\r\n"));
    } else {
        put(conn, part);
    }
    if (conn->stopped && conn->fault.kind == MOCK_FAULT_CLOSE_MID_STREAM) {
        shut(conn);
    } else if (conn->stopped) {
        flush(conn);
    }
}

/* A fault that waits for more body than there was strikes at the end. */
static void finish(struct conn *conn)
{
    if (conn->fault.kind == MOCK_FAULT_HANG_MID_STREAM) {
        conn->stopped = true;
        flush(conn);
    } else if (conn->fault.kind == MOCK_FAULT_CLOSE_MID_STREAM && !conn->stopped) {
        conn->stopped = true;
        shut(conn);
    }
    if (!conn->stopped && conn->chunked) {
        put(conn, gv_writer_last_chunk());
    }
    end_answer(conn);
}

static void send_head(struct conn *conn, uint16_t status, const char *type, uint64_t body_bytes)
{
    struct gv_buf head;
    gv_buf_init(&head, GV_MEM_BUFFER, 4096);
    bool close = !conn->keep_alive || conn->http_1_0;
    enum gv_err err = gv_writer_status(&head, status);
    const char *const fields[][2] = {
        {"Server", "mockworker"}, {"X-Mock-Worker", conn->worker->name}, {"Content-Type", type}};
    for (size_t i = 0; err == GV_OK && i < sizeof fields / sizeof fields[0]; i++) {
        err = gv_writer_header(&head, gv_slice_text(fields[i][0]), gv_slice_text(fields[i][1]));
    }
    if (err == GV_OK && conn->fault.kind == MOCK_FAULT_GARBAGE_LENGTH) {
        err = gv_buf_append_text(&head, "Content-Length: 12abc\r\n\r\n");
    } else if (err == GV_OK) {
        err = gv_writer_end_head(&head, body_bytes, close);
    }
    GV_ASSERT(err == GV_OK || err == GV_ENOMEM);
    if (err == GV_OK) {
        put(conn, gv_buf_slice(&head));
    }
    gv_buf_deinit(&head);
}

void conn_reply(struct conn *conn, uint16_t status, const char *type, struct gv_slice body)
{
    send_head(conn, status, type, body.len);
    emit(conn, body);
    finish(conn);
}

void conn_raw(struct conn *conn, struct gv_slice bytes, bool close)
{
    put(conn, bytes);
    conn->stopped = true;
    if (close) {
        shut(conn);
    }
    flush(conn);
}

void conn_reply_json(struct conn *conn, uint16_t status, json_t *json)
{
    char *text = json == NULL ? NULL : json_dumps(json, JSON_COMPACT);
    json_decref(json);
    if (text == NULL) {
        conn_reply(conn, 500, "application/json", gv_slice_text("{\"message\":\"out of memory\"}"));
        return;
    }
    conn_reply(conn, status, "application/json", gv_slice_text(text));
    free(text);
}

void conn_error(struct conn *conn, uint16_t status, const char *message)
{
    conn_reply_json(conn, status,
                    json_pack("{s:s,s:s,s:s,s:n,s:i}", "object", "error", "message", message,
                              "type", gv_status_reason(status), "param", "code", (int)status));
}

void conn_stream_begin(struct conn *conn)
{
    conn->chunked = !conn->http_1_0;
    send_head(conn, 200, "text/event-stream; charset=utf-8",
              conn->chunked ? GV_WRITER_CHUNKED : GV_WRITER_UNTIL_CLOSE);
}

void conn_stream(struct conn *conn, struct gv_slice bytes)
{
    emit(conn, bytes);
}

void conn_stream_flush(struct conn *conn)
{
    flush(conn);
}

void conn_stream_end(struct conn *conn)
{
    finish(conn);
}

void conn_go_on(struct conn *conn)
{
    read_requests(conn);
}
