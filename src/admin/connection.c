/*
 * connection.c - parser events in, answers out, for each client of the admin port.
 *
 * One request at a time: while workers are asked for its answer, or while the client does not take
 * the answers it has, what comes is kept in `ahead` and the rest is left in the kernel.
 */
#include "admin/connection.h"
#include "admin/round.h"

#include "grapevine/http/parser.h"
#include "grapevine/http/writer.h"

#define TARGET_MAX 8192u
#define LINGER_MS  1000u
#define QUEUE_HIGH (1024u * 1024)      /* of answers that the client does not take */
#define AHEAD_MAX  (16u * 1024 * 1024) /* one read, and the rest of one that was kept */

struct connection {
    struct gv_connections *set; /* borrowed */
    struct gv_list in_list;     /* of set->list */
    struct gv_stream *stream;   /* owned until on_closed */
    struct gv_parser *parser;   /* owned */
    struct gv_buf body;         /* owned */
    struct gv_buf ahead;        /* owned: bytes of requests to come */
    struct gv_round *round;     /* borrowed; NULL without: what the answer waits for */
    uint64_t active_at_ms;      /* a request began or was answered */
    enum gv_method method;
    bool keep_alive;
    bool ending;
    bool in_turn;
    char path[TARGET_MAX];
    char query[TARGET_MAX];
    char authorization[512];
};

static void send_head(struct connection *connection, const struct gv_answer *answer,
                      struct gv_buf *head)
{
    enum gv_err err = gv_writer_status(head, answer->status);
    if (err == GV_OK && answer->content_type != NULL) {
        err = gv_writer_header(head, gv_slice_text("Content-Type"),
                               gv_slice_text(answer->content_type));
    }
    if (err == GV_OK && answer->location[0] != '\0') {
        err = gv_writer_header(head, gv_slice_text("Location"), gv_slice_text(answer->location));
    }
    if (err == GV_OK && answer->authenticate != NULL) {
        err = gv_writer_header(head, gv_slice_text("WWW-Authenticate"),
                               gv_slice_text(answer->authenticate));
    }
    if (err == GV_OK) {
        err = gv_writer_end_head(head, answer->body.len, !connection->keep_alive);
    }
    if (err != GV_OK) {
        gv_stream_close(connection->stream);
    }
}

static void send_answer(struct connection *connection, struct gv_answer *answer)
{
    struct gv_buf head;
    gv_buf_init(&head, GV_MEM_BUFFER, 64 * 1024);
    if (answer->problem != GV_PROBLEM_NONE) {
        gv_buf_clear(&answer->body);
        if (gv_problem_response(answer->problem, answer->detail, NULL, !connection->keep_alive,
                                &head) != GV_OK) {
            gv_stream_close(connection->stream);
        }
    } else {
        send_head(connection, answer, &head);
    }
    struct gv_slice first = gv_buf_slice(&head);
    struct gv_slice body = gv_buf_slice(&answer->body);
    if (connection->method == GV_METHOD_HEAD) {
        first = gv_writer_head_alone(first);
        body.len = 0;
    }
    connection->active_at_ms = gv_loop_now_ms(connection->set->loop);
    enum gv_err err = gv_stream_send2(connection->stream, first, body);
    if ((err == GV_OK || err == GV_EFULL) && !connection->keep_alive) {
        connection->ending = true;
        gv_stream_finish(connection->stream, LINGER_MS);
    }
    gv_buf_deinit(&head);
}

static void read_on(struct connection *connection);

static enum gv_err on_head(void *owner, const struct gv_head *head)
{
    struct connection *connection = owner;
    connection->method = head->method;
    connection->keep_alive = head->keep_alive;
    gv_buf_clear(&connection->body);
    struct gv_slice authorization = gv_head_find(head, "Authorization");
    if (!gv_slice_copy_text(head->path, connection->path, sizeof connection->path) ||
        !gv_slice_copy_text(head->query, connection->query, sizeof connection->query)) {
        return GV_ETOOBIG;
    }
    if (!gv_slice_copy_text(authorization, connection->authorization,
                            sizeof connection->authorization)) {
        connection->authorization[0] = '\0'; /* longer than any key of ours: not accepted */
    }
    if (head->expect_continue) {
        static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
        enum gv_err err = gv_stream_send(connection->stream, gv_slice_text(go_on));
        return err == GV_EFULL ? GV_OK : err;
    }
    return GV_OK;
}

static enum gv_err on_body(void *owner, struct gv_slice bytes)
{
    struct connection *connection = owner;
    return gv_buf_append(&connection->body, bytes);
}

/* The round has ended. */
static void on_round(void *owner, struct gv_answer *answer)
{
    struct connection *connection = owner;
    connection->round = NULL;
    send_answer(connection, answer);
    read_on(connection);
}

static enum gv_err on_message_end(void *owner)
{
    struct connection *connection = owner;
    const struct gv_request request = {.method = connection->method,
                                       .path = connection->path,
                                       .query = connection->query,
                                       .authorization = connection->authorization,
                                       .body = gv_buf_slice(&connection->body),
                                       .peer = gv_stream_peer(connection->stream)};
    struct gv_answer answer;
    gv_answer_init(&answer);
    if (connection->set->probes_only && !gv_routes_is_probe(connection->path)) {
        gv_answer_problem(&answer, GV_PROBLEM_NO_ROUTE, "this port answers probes only");
    } else {
        connection->round = gv_routes_answer(connection->set->parts, &request, &answer);
    }
    if (connection->round == NULL) {
        send_answer(connection, &answer);
    } else {
        connection->round->on_done = on_round;
        connection->round->owner = connection;
    }
    gv_answer_deinit(&answer);
    gv_buf_reset(&connection->body);
    return GV_OK;
}

static const struct gv_parser_events parser_events = {
    .on_head = on_head, .on_body = on_body, .on_message_end = on_message_end};

static void refuse(struct connection *connection, enum gv_err err)
{
    struct gv_answer answer;
    gv_answer_init(&answer);
    enum gv_problem problem = gv_parser_problem(connection->parser);
    answer.problem = problem != GV_PROBLEM_NONE ? problem
                     : err == GV_ETOOBIG        ? GV_PROBLEM_BODY_TOO_BIG
                                                : GV_PROBLEM_INTERNAL;
    connection->keep_alive = false;
    send_answer(connection, &answer);
    gv_answer_deinit(&answer);
}

static bool may_go_on(const struct connection *connection)
{
    return !connection->ending && connection->round == NULL &&
           gv_stream_queued_bytes(connection->stream) <= QUEUE_HIGH;
}

/* Feed the parser as far as it may go; how much of `bytes` was used. */
static size_t feed(struct connection *connection, struct gv_slice bytes)
{
    size_t at = 0;
    connection->in_turn = true;
    while (at < bytes.len && may_go_on(connection)) {
        size_t used = 0;
        if (gv_parser_is_idle(connection->parser)) {
            connection->active_at_ms = gv_loop_now_ms(connection->set->loop);
        }
        enum gv_err err =
            gv_parser_feed(connection->parser, gv_slice_of(bytes.data + at, bytes.len - at), &used);
        at += used;
        if (err != GV_OK) {
            refuse(connection, err);
            connection->ending = true;
        }
    }
    connection->in_turn = false;
    return at;
}

/* What waits may go on: then what comes, too. */
static void read_on(struct connection *connection)
{
    if (connection->in_turn) {
        return;
    }
    if (connection->ahead.len > 0) {
        size_t used = feed(connection, gv_buf_slice(&connection->ahead));
        gv_buf_consume(&connection->ahead, used);
    }
    if (connection->ahead.len == 0 && may_go_on(connection)) {
        gv_buf_reset(&connection->ahead);
        gv_stream_resume(connection->stream);
    }
}

static void on_data(void *owner, struct gv_slice bytes)
{
    struct connection *connection = owner;
    if (connection->ending) {
        return;
    }
    size_t used = connection->ahead.len == 0 ? feed(connection, bytes) : 0;
    if (used < bytes.len && !connection->ending) {
        bytes = gv_slice_of(bytes.data + used, bytes.len - used);
        if (gv_buf_append(&connection->ahead, bytes) != GV_OK) {
            gv_stream_close(connection->stream);
            return;
        }
        gv_stream_pause(connection->stream);
    }
}

static void on_drain(void *owner)
{
    read_on(owner);
}

static void on_end(void *owner)
{
    struct connection *connection = owner;
    gv_stream_finish(connection->stream, LINGER_MS);
}

static void on_closed(void *owner, enum gv_err why)
{
    struct connection *connection = owner;
    (void)why;
    struct gv_connections *set = connection->set;
    if (connection->round != NULL) {
        gv_round_forget(connection->round);
    }
    gv_list_remove(&connection->in_list);
    set->count -= 1;
    gv_buf_deinit(&connection->ahead);
    gv_parser_free(connection->parser);
    gv_buf_deinit(&connection->body);
    gv_mem_free(GV_MEM_NET, connection);
    set->on_closed(set->owner);
}

static const struct gv_stream_events stream_events = {
    .on_data = on_data, .on_end = on_end, .on_drain = on_drain, .on_closed = on_closed};

static const struct gv_parser_limits parser_limits = {
    .head_bytes = 64 * 1024,
    .uri_bytes = TARGET_MAX - 1,
    .header_count = 128,
    .body_bytes = GV_ADMIN_BODY_MAX,
    .chunk_ext_bytes = 1024,
    .trailer_bytes = 4096,
};

void gv_connection_open(struct gv_connections *set, struct gv_stream *stream)
{
    struct connection *connection = gv_mem_new(GV_MEM_NET, sizeof *connection);
    if (connection == NULL || gv_parser_new(GV_PARSER_REQUEST, parser_limits, &parser_events,
                                            connection, &connection->parser) != GV_OK) {
        gv_mem_free(GV_MEM_NET, connection);
        gv_stream_close(stream);
        return;
    }
    connection->set = set;
    connection->stream = stream;
    connection->active_at_ms = gv_loop_now_ms(set->loop);
    gv_buf_init(&connection->body, GV_MEM_BUFFER, GV_ADMIN_BODY_MAX);
    gv_buf_init(&connection->ahead, GV_MEM_BUFFER, AHEAD_MAX);
    gv_list_init(&connection->in_list);
    gv_list_add(&set->list, &connection->in_list);
    set->count += 1;
    gv_stream_adopt(
        stream, &stream_events, connection,
        (struct gv_stream_limits){.high_mark_bytes = QUEUE_HIGH, .low_mark_bytes = QUEUE_HIGH / 2});
}

void gv_connection_sweep(struct gv_connections *set, uint64_t now_ms, uint64_t idle_ms)
{
    GV_LIST_EACH(&set->list, at, following)
    {
        struct connection *connection = GV_CONTAINER(at, struct connection, in_list);
        if (idle_ms == 0 || now_ms - connection->active_at_ms >= idle_ms) {
            gv_stream_close(connection->stream);
        }
    }
}
