/*
 * client.c - one connection of a client: requests in, one at a time, answers out.
 *
 *     READING --complete--> BUSY --answered--> READING ...
 *        |                   |
 *        |  bad, too big,    |  said to be the last
 *        +---- refused --> LEAVING --gone, or after a while--> CLOSED
 *
 * A pipelined request waits in `ahead` until the one before it is answered and the client has taken
 * most of its answers; more than that is left in the kernel. After a refusal what still comes is
 * read and dropped for a while, so that the answer is not destroyed by a reset.
 */
#include "grapevine/base/assert.h"
#include "grapevine/base/log.h"
#include "grapevine/base/mem.h"
#include "grapevine/http/writer.h"
#include "parts.h"

static void turn(struct gv_client *client, struct gv_slice bytes);

/* ---- the parser's events ---- */

static enum gv_err parsed_head(void *owner, const struct gv_head *head)
{
    struct gv_client *client = owner;
    client->head = *head;
    client->head_seen = true;
    client->since_ms = gv_loop_now_ms(client->proxy->loop);
    gv_pace_begin(&client->pace, client->since_ms);
    client->refusal = gv_request_judge(client, head);
    gv_request_name(client, head);
    if (client->refusal != GV_PROBLEM_NONE) {
        return GV_EREFUSED;
    }
    if (head->expect_continue && head->version_minor >= 1) {
        enum gv_err err =
            gv_stream_send(client->stream, gv_slice_text("HTTP/1.1 100 Continue\r\n\r\n"));
        return err == GV_EFULL ? GV_OK : err;
    }
    return GV_OK;
}

/* Room for the whole body at once, so that it is not moved as it grows: for what is announced, when
 * a good part of that is here, and for what its reader needs behind it. An announcement alone gets
 * nothing. */
static enum gv_err make_room(struct gv_client *client, size_t come)
{
    uint64_t announced = client->head.has_content_length ? client->head.content_length : 0;
    bool is_trusted = announced > come && announced / GV_CLIENT_TRUST <= come;
    size_t bytes = is_trusted ? (size_t)announced : come;
    if (client->route == GV_ROUTE_WORKER &&
        gv_buf_fit(&client->body, bytes + GV_PROMPT_SPARE_BYTES) == GV_OK) {
        return GV_OK;
    }
    return gv_buf_fit(&client->body, bytes);
}

/* The whole body, and nothing behind it? */
static bool is_all_there_is(const struct gv_client *client, struct gv_slice bytes)
{
    return client->body.len == 0 && client->head.has_content_length &&
           client->head.content_length == bytes.len && client->data_end == bytes.data + bytes.len;
}

static enum gv_err parsed_body(void *owner, struct gv_slice bytes)
{
    struct gv_client *client = owner;
    if (client->route != GV_ROUTE_WORKER && client->body.len + bytes.len > GV_LOCAL_BODY_MAX) {
        client->refusal = GV_PROBLEM_BODY_TOO_BIG;
        return GV_EREFUSED;
    }
    gv_pace_add(&client->pace, bytes.len, gv_loop_now_ms(client->proxy->loop));
    if (is_all_there_is(client, bytes) && gv_stream_keep(client->stream, bytes, &client->body)) {
        return GV_OK;
    }
    enum gv_err err = client->body.len == 0 ? make_room(client, bytes.len) : GV_OK;
    if (err == GV_OK) {
        err = gv_buf_append(&client->body, bytes);
    }
    if (err != GV_OK) {
        client->refusal = err == GV_ETOOBIG ? GV_PROBLEM_BODY_TOO_BIG : GV_PROBLEM_OVERLOADED;
    }
    return err;
}

static enum gv_err parsed_end(void *owner)
{
    struct gv_client *client = owner;
    client->complete = true;
    return GV_OK;
}

static const struct gv_parser_events parser_events = {parsed_head, parsed_body, parsed_end};

/* ---- answers ---- */

static void move(struct gv_client *client, enum gv_client_state state)
{
    GV_ASSERT(client->state != GV_CLIENT_CLOSED || state == GV_CLIENT_CLOSED);
    client->state = state;
    client->since_ms = gv_loop_now_ms(client->proxy->loop);
}

bool gv_client_must_close(const struct gv_client *client)
{
    return !client->head_seen || !client->head.keep_alive || client->head.version_minor == 0 ||
           client->proxy->draining || client->proxy->closing;
}

void gv_client_close(struct gv_client *client)
{
    if (client->state == GV_CLIENT_CLOSED) {
        return;
    }
    move(client, GV_CLIENT_CLOSED);
    gv_stream_close(client->stream);
}

/* Nothing more will be answered; wait for the client to leave, dropping what it sends. */
static void leave(struct gv_client *client)
{
    move(client, GV_CLIENT_LEAVING);
    gv_buf_reset(&client->ahead);
    gv_buf_reset(&client->body);
    if (client->paused) {
        client->paused = false;
        gv_stream_resume(client->stream);
    }
    if (client->complete) {
        gv_stream_finish(client->stream, GV_CLIENT_LINGER_MS);
    }
}

void gv_client_cut(struct gv_client *client)
{
    if (client->state == GV_CLIENT_CLOSED) {
        return;
    }
    move(client, GV_CLIENT_LEAVING);
    gv_stream_finish(client->stream, GV_CLIENT_LINGER_MS);
}

/* Go on to what waits, and to what comes. */
static void read_on(struct gv_client *client)
{
    if (client->paused) {
        client->paused = false;
        gv_stream_resume(client->stream);
    }
    if (!client->in_turn && client->ahead.len > 0) {
        turn(client, (struct gv_slice){.data = NULL, .len = 0});
    }
}

void gv_client_reset(struct gv_client *client)
{
    if (client->state == GV_CLIENT_CLOSED) {
        return;
    }
    move(client, GV_CLIENT_CLOSED);
    gv_stream_reset(client->stream);
}

void gv_client_done(struct gv_client *client, bool close)
{
    if (client->state == GV_CLIENT_CLOSED) {
        return;
    }
    GV_ASSERT(client->carrier == NULL && client->ticket == NULL && client->wait == NULL);
    if (close) {
        leave(client);
        return;
    }
    move(client, GV_CLIENT_READING);
    client->head_seen = false;
    client->complete = false;
    gv_buf_reset(&client->body);
    read_on(client);
}

/* A HEAD request gets the head of the answer alone. */
static struct gv_slice without_body(const struct gv_client *client, struct gv_slice answer)
{
    bool is_head = client->head_seen && client->head.method == GV_METHOD_HEAD;
    return is_head ? gv_writer_head_alone(answer) : answer;
}

static void note(struct gv_client *client, uint16_t status, const char *outcome, size_t bytes)
{
    struct gv_head none = {.method = GV_METHOD_OTHER};
    const struct gv_head *head = client->head_seen ? &client->head : &none;
    bool to_worker = client->head_seen && client->route == GV_ROUTE_WORKER;
    uint64_t now_us = gv_clock_us();
    struct gv_access_record record = {
        .endpoint = to_worker ? (uint32_t)client->endpoint : (uint32_t)GV_ACCESS_LOCAL,
        .method = head->method_text,
        .path = head->path,
        .status = status,
        .outcome = outcome,
        .worker = "",
        .prefill = "",
        .total_us = client->complete ? now_us - client->started_us : 0,
        .body_bytes = bytes,
        .request_id = client->request_id,
        .tenant = gv_request_tenant(client),
        .client = gv_stream_peer(client->stream),
        .is_routine = client->head_seen && client->route == GV_ROUTE_PROBE && status == 200,
    };
    gv_access_note(&client->proxy->access, &record);
}

void gv_client_answer(struct gv_client *client, enum gv_problem problem, const char *detail)
{
    if (client->state == GV_CLIENT_CLOSED) {
        return;
    }
    bool close = gv_client_must_close(client) || !client->complete;
    if (!client->head_seen) {
        gv_request_name(client, NULL); /* what it has is that of the request before */
    }
    struct gv_buf *out = &client->proxy->scratch;
    gv_buf_clear(out);
    struct gv_buf *lines = &client->proxy->lines;
    gv_buf_clear(lines);
    enum gv_err err = gv_request_lines(client, problem, lines);
    if (err == GV_OK) {
        err = gv_problem_response_with(problem, detail, gv_buf_slice(lines), close, out);
    }
    if (err != GV_OK) {
        gv_client_close(client);
        return;
    }
    if (client->carrier == NULL) {
        note(client, gv_problem_status(problem), gv_problem_code(problem), 0);
    }
    err = gv_stream_send(client->stream, without_body(client, gv_buf_slice(out)));
    if (err != GV_OK && err != GV_EFULL) {
        gv_client_close(client);
    }
}

void gv_client_reply(struct gv_client *client, uint16_t status, const char *content_type,
                     struct gv_slice headers, struct gv_slice body)
{
    struct gv_buf *out = &client->proxy->scratch;
    bool close = gv_client_must_close(client);
    gv_buf_clear(out);
    enum gv_err err = gv_writer_status(out, status);
    if (err == GV_OK && content_type != NULL) {
        err = gv_writer_header(out, gv_slice_text("Content-Type"), gv_slice_text(content_type));
    }
    if (err == GV_OK) {
        err = gv_request_lines(client, GV_PROBLEM_NONE, out);
    }
    if (err == GV_OK) {
        err = gv_buf_append(out, headers);
    }
    if (err == GV_OK) {
        err = gv_writer_end_head(out, status == 204 ? GV_WRITER_NO_BODY : body.len, close);
    }
    if (err != GV_OK) {
        gv_client_close(client);
        return;
    }
    note(client, status, "ok", body.len);
    if (client->head.method == GV_METHOD_HEAD || status == 204) {
        body.len = 0;
    }
    err = gv_stream_send2(client->stream, gv_buf_slice(out), body);
    if (err != GV_OK && err != GV_EFULL) {
        gv_client_close(client);
        return;
    }
    gv_client_done(client, close);
}

/* ---- requests ---- */

static void refuse(struct gv_client *client)
{
    enum gv_problem problem = client->refusal;
    if (problem == GV_PROBLEM_NONE) {
        problem = gv_parser_problem(client->parser);
    }
    if (problem == GV_PROBLEM_NONE) {
        problem = GV_PROBLEM_BAD_SYNTAX;
    }
    client->complete = false;
    gv_client_answer(client, problem, NULL);
    if (client->state != GV_CLIENT_CLOSED) {
        leave(client);
    }
}

static void serve(struct gv_client *client)
{
    client->started_us = gv_clock_us();
    client->proxy->request_count += 1;
    move(client, GV_CLIENT_BUSY);
    switch (client->route) {
    case GV_ROUTE_WORKER:
        gv_wait_start(client);
        return;
    case GV_ROUTE_PROBE:
        gv_readiness_probe(client);
        return;
    case GV_ROUTE_LOCAL:
        gv_ticket_start(client);
        return;
    case GV_ROUTE_OPTIONS: {
        struct gv_slice none = {.data = NULL, .len = 0};
        gv_client_reply(client, 200, NULL, none, none);
        return;
    }
    }
}

/* Keep for later what cannot be parsed now; too much of it stays in the kernel. */
static void keep(struct gv_client *client, struct gv_slice bytes)
{
    if (bytes.len > 0 && gv_buf_append(&client->ahead, bytes) != GV_OK) {
        gv_client_close(client);
        return;
    }
    if (client->ahead.len > client->proxy->shared->config->max_pipelined_bytes && !client->paused) {
        client->paused = true;
        gv_stream_pause(client->stream);
    }
}

/* A client that does not take its answers gets no new ones: they would pile up here. */
static bool is_backlogged(const struct gv_client *client)
{
    return gv_stream_queued_bytes(client->stream) > GV_CLIENT_HIGH_BYTES;
}

/* Feed the parser until a request is under way or nothing is left; first what waited. */
static void turn(struct gv_client *client, struct gv_slice bytes)
{
    GV_ASSERT(!client->in_turn);
    client->in_turn = true;
    if (client->ahead.len > 0) {
        keep(client, bytes);
        bytes.len = 0;
    }
    bool from_ahead = client->ahead.len > 0;
    while (client->state == GV_CLIENT_READING && !is_backlogged(client)) {
        struct gv_slice next = from_ahead ? gv_buf_slice(&client->ahead) : bytes;
        if (next.len == 0) {
            break;
        }
        size_t used = 0;
        enum gv_err err = gv_parser_feed(client->parser, next, &used);
        if (from_ahead) {
            gv_buf_consume(&client->ahead, used);
        } else {
            bytes = gv_slice_of(bytes.data + used, bytes.len - used);
        }
        if (err != GV_OK) {
            bytes.len = 0;
            refuse(client);
            break;
        }
        if (client->complete) {
            serve(client);
        }
    }
    if ((client->state == GV_CLIENT_BUSY || client->state == GV_CLIENT_READING) && bytes.len > 0) {
        keep(client, bytes);
    }
    if (client->ahead.len == 0) {
        gv_buf_reset(&client->ahead);
    }
    client->in_turn = false;
}

/* ---- the stream's events ---- */

static void stream_data(void *owner, struct gv_slice bytes)
{
    struct gv_client *client = owner;
    switch (client->state) {
    case GV_CLIENT_READING:
        if (!client->head_seen && gv_parser_is_idle(client->parser)) {
            client->since_ms = gv_loop_now_ms(client->proxy->loop);
        }
        client->data_end = bytes.data + bytes.len;
        turn(client, bytes);
        client->data_end = NULL;
        return;
    case GV_CLIENT_BUSY:
        keep(client, bytes);
        return;
    case GV_CLIENT_LEAVING:
    case GV_CLIENT_CLOSED:
        return;
    }
}

static void drop_work(struct gv_client *client)
{
    if (client->carrier != NULL) {
        struct gv_carrier *carrier = client->carrier;
        client->carrier = NULL;
        gv_carrier_gone(carrier);
    }
    if (client->ticket != NULL) {
        gv_ticket_forget(client->ticket);
        client->ticket = NULL;
    }
    if (client->wait != NULL) {
        gv_wait_forget(client->wait);
    }
}

/* A client that sends no more is gone: nobody would read a stream for minutes to find out. */
static void stream_end(void *owner)
{
    struct gv_client *client = owner;
    drop_work(client);
    if (client->state != GV_CLIENT_CLOSED) {
        move(client, GV_CLIENT_LEAVING);
        gv_stream_finish(client->stream, GV_CLIENT_LINGER_MS);
    }
}

static void stream_drain(void *owner)
{
    struct gv_client *client = owner;
    if (client->carrier != NULL) {
        gv_carrier_drain(client->carrier);
    } else if (client->state == GV_CLIENT_READING) {
        read_on(client);
    }
}

static void stream_closed(void *owner, enum gv_err why)
{
    (void)why;
    struct gv_client *client = owner;
    struct gv_proxy *proxy = client->proxy;
    client->state = GV_CLIENT_CLOSED;
    drop_work(client);
    gv_list_remove(&client->link);
    gv_parser_free(client->parser);
    gv_buf_deinit(&client->ahead);
    gv_buf_deinit(&client->body);
    gv_mem_free(GV_MEM_NET, client);
    proxy->client_count -= 1;
    gv_proxy_settle_up(proxy);
}

static const struct gv_stream_events stream_events = {NULL, stream_data, stream_end, stream_drain,
                                                      stream_closed};

static struct gv_client *make(struct gv_proxy *proxy, struct gv_stream *stream)
{
    const struct gv_config *config = proxy->shared->config;
    struct gv_client *client = gv_mem_new(GV_MEM_NET, sizeof *client);
    if (client == NULL) {
        return NULL;
    }
    struct gv_parser_limits limits = {
        .head_bytes = config->max_head_bytes,
        .uri_bytes = config->max_uri_bytes,
        .header_count = config->max_header_count,
        .body_bytes = config->max_payload_bytes,
        .chunk_ext_bytes = config->max_chunk_ext_bytes,
        .trailer_bytes = config->max_trailer_bytes,
    };
    if (gv_parser_new(GV_PARSER_REQUEST, limits, &parser_events, client, &client->parser) !=
        GV_OK) {
        gv_mem_free(GV_MEM_NET, client);
        return NULL;
    }
    client->proxy = proxy;
    client->stream = stream;
    client->since_ms = gv_loop_now_ms(proxy->loop);
    gv_list_init(&client->link);
    gv_buf_init(&client->ahead, GV_MEM_BUFFER, 16 * 1024 * 1024);
    gv_buf_init(&client->body, GV_MEM_BUFFER, config->max_payload_bytes);
    return client;
}

void gv_client_open(struct gv_proxy *proxy, struct gv_stream *stream)
{
    struct gv_client *client = make(proxy, stream);
    if (client == NULL) {
        gv_stream_close(stream);
        return;
    }
    struct gv_stream_limits limits = {GV_CLIENT_HIGH_BYTES, GV_CLIENT_LOW_BYTES, 0};
    gv_list_add(&proxy->clients, &client->link);
    proxy->client_count += 1;
    gv_stream_adopt(stream, &stream_events, client, limits);
    uint32_t most = proxy->shared->config->max_connections / proxy->shared->loop_count;
    if (proxy->client_count > (most < 1 ? 1 : most)) {
        gv_client_answer(client, GV_PROBLEM_OVERLOADED, NULL);
        gv_client_cut(client);
    }
}

static void time_out_request(struct gv_client *client)
{
    client->refusal = GV_PROBLEM_REQUEST_TIMEOUT;
    refuse(client);
}

void gv_client_tick(struct gv_client *client, uint64_t now_ms)
{
    const struct gv_config *config = client->proxy->shared->config;
    uint64_t age_ms = now_ms > client->since_ms ? now_ms - client->since_ms : 0;
    switch (client->state) {
    case GV_CLIENT_READING:
        if (client->head_seen) {
            struct gv_pace_limits limits = {config->client_body_timeout_ms,
                                            config->client_body_min_rate};
            if (gv_pace_is_late(&client->pace, limits, now_ms)) {
                time_out_request(client);
            }
        } else if (!gv_parser_is_idle(client->parser)) {
            if (age_ms >= config->client_head_timeout_ms) {
                time_out_request(client);
            }
        } else if (age_ms >= (client->proxy->draining ? GV_CLIENT_DRAIN_IDLE_MS
                                                      : config->client_idle_timeout_ms)) {
            gv_client_close(client);
        }
        return;
    case GV_CLIENT_BUSY:
        if (client->carrier != NULL) {
            gv_carrier_tick(client->carrier, now_ms);
        } else if (client->wait != NULL) {
            gv_wait_tick(client->wait, age_ms);
        }
        return;
    case GV_CLIENT_LEAVING:
        if (age_ms >= (client->complete ? GV_CLIENT_LINGER_MS : GV_CLIENT_DISCARD_MS)) {
            gv_client_close(client);
        }
        return;
    case GV_CLIENT_CLOSED:
        return;
    }
}
