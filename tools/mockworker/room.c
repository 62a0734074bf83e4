/*
 * room.c - both sides of a bootstrap room: the prefill engine's list, and the decode engine's
 * question over HTTP. See room.h.
 */
#include "room.h"
#include "grapevine/http/writer.h"
#include "job.h"
#include <stdio.h>
#include <stdlib.h>

#define ROOM_ANSWER_BYTES_MAX 4096

static bool trouble(struct job *job, const char *words)
{
    (void)snprintf(job->trouble, sizeof job->trouble, "%s", words);
    return false;
}

/* The value for `item`: the field itself, or its element when it is an array of the right length.
 */
static const json_t *field_of(const struct job *job, const char *name, uint32_t item)
{
    const json_t *field = json_object_get(job->body, name);
    if (!json_is_array(field)) {
        return field;
    }
    return json_array_size(field) == job->item_count ? json_array_get(field, item) : NULL;
}

static bool read_one(struct job *job, uint32_t item)
{
    struct room *room = &job->rooms[item];
    const json_t *host = field_of(job, "bootstrap_host", item);
    const json_t *port = field_of(job, "bootstrap_port", item);
    const json_t *number = field_of(job, "bootstrap_room", item);
    if (!json_is_string(host) || json_string_length(host) >= sizeof room->host) {
        return trouble(job, "bootstrap_host is missing, no text, or not one per item");
    }
    if (!json_is_integer(port) || json_integer_value(port) < 1 ||
        json_integer_value(port) > UINT16_MAX) {
        return trouble(job, "bootstrap_port is missing, no port, or not one per item");
    }
    if (!json_is_integer(number) || json_integer_value(number) < 0) {
        return trouble(job, "bootstrap_room is missing, no number, or not one per item");
    }
    room->job = job;
    room->number = (uint64_t)json_integer_value(number);
    room->port = (uint16_t)json_integer_value(port);
    (void)snprintf(room->host, sizeof room->host, "%s", json_string_value(host));
    for (uint32_t i = 0; i < item; i++) {
        if (job->rooms[i].number == room->number) {
            return trouble(job, "two items of a batch have the same bootstrap_room");
        }
    }
    return true;
}

bool room_read_all(struct job *job)
{
    if (job->item_count > MOCK_ROOMS_MAX) {
        return trouble(job, "too many items");
    }
    if (job->item_count > 1 && !json_is_array(json_object_get(job->body, "bootstrap_room"))) {
        return trouble(job, "a batch needs arrays of bootstrap_host, bootstrap_port and "
                            "bootstrap_room");
    }
    job->rooms = gv_mem_new(GV_MEM_GENERAL, job->item_count * sizeof *job->rooms);
    if (job->rooms == NULL) {
        return trouble(job, "out of memory");
    }
    for (uint32_t i = 0; i < job->item_count; i++) {
        gv_list_init(&job->rooms[i].link);
        if (!read_one(job, i)) {
            return false;
        }
        job->room_count = i + 1;
    }
    return true;
}

static struct room *find(struct mock_worker *worker, uint64_t number)
{
    GV_LIST_EACH(&worker->rooms, at, following)
    {
        struct room *room = GV_CONTAINER(at, struct room, link);
        if (room->number == number) {
            return room;
        }
    }
    return NULL;
}

bool room_announce_all(struct job *job)
{
    for (uint32_t i = 0; i < job->room_count; i++) {
        struct room *room = &job->rooms[i];
        if (room->port != job->worker->bootstrap_port) {
            (void)snprintf(job->trouble, sizeof job->trouble,
                           "bootstrap_port %u is not mine, which is %u", room->port,
                           job->worker->bootstrap_port);
            return false;
        }
        if (find(job->worker, room->number) != NULL) {
            (void)snprintf(job->trouble, sizeof job->trouble,
                           "bootstrap room %llu is in use by another request",
                           (unsigned long long)room->number);
            return false;
        }
        gv_list_add(&job->worker->rooms, &room->link);
    }
    return true;
}

/* --- the prefill engine's side --- */

void room_handle(struct conn *conn)
{
    uint64_t number = 0;
    struct gv_slice target = gv_slice_text(conn->target);
    const char prefix[] = "/room/";
    if (!gv_slice_starts_with(target, prefix) ||
        !gv_slice_to_u64(
            gv_slice_of(target.data + sizeof prefix - 1, target.len - sizeof prefix + 1),
            &number)) {
        conn_error(conn, 404, "the bootstrap port knows GET /room/<number> only");
        return;
    }
    conn->waiting = true;
    conn->waiting_room = number;
    conn->resume_at_us = gv_clock_us() + conn->worker->mock->options.pd_timeout_ms * 1000;
    worker_wake(conn->worker);
}

static void give(struct conn *conn, struct room *room)
{
    struct job *job = room->job;
    conn->waiting = false;
    room->done = true;
    gv_list_remove(&room->link);
    job->rooms_open -= 1;
    if (job->rooms_open == 0) {
        job->deadline_us = ENGINE_NEVER;
    }
    conn_reply_json(conn, 200,
                    json_pack("{s:I,s:I}", "room", (json_int_t)room->number, "cached_tokens",
                              (json_int_t)job->work.cached_tokens));
    worker_wake(job->worker);
}

uint64_t room_run(struct mock_worker *worker, uint64_t now_us)
{
    uint64_t due_at_us = ENGINE_NEVER;
    GV_LIST_EACH(&worker->conns, at, following)
    {
        struct conn *conn = GV_CONTAINER(at, struct conn, link);
        if (!conn->waiting || conn->state == CONN_CLOSING) {
            continue;
        }
        struct room *room = find(worker, conn->waiting_room);
        if (room != NULL && room->ready) {
            give(conn, room);
            conn_go_on(conn);
            due_at_us = now_us; /* the prefill leg may answer now */
        } else if (conn->resume_at_us <= now_us) {
            conn->waiting = false;
            conn_error(conn, 404, "no prefill request with this room has come");
            conn_go_on(conn);
        } else if (conn->resume_at_us < due_at_us) {
            due_at_us = conn->resume_at_us;
        }
    }
    return due_at_us;
}

/* --- the decode engine's side --- */

/* One GET. Lives until its last callback; `room` is NULL when nobody wants the answer any more. */
struct room_fetch {
    struct room *room; /* borrowed */
    struct gv_loop *loop;
    struct gv_stream *stream; /* ours to close; NULL before and after */
    struct gv_parser *parser; /* owned */
    struct gv_buf body;       /* owned */
    char target[40];
    char host[280];
    uint16_t status;
    bool complete;
};

static void free_fetch(struct room_fetch *fetch)
{
    gv_parser_free(fetch->parser);
    gv_buf_deinit(&fetch->body);
    gv_mem_free(GV_MEM_GENERAL, fetch);
}

/* Tell the job, once, and let the room go. */
static void settle(struct room_fetch *fetch, const char *words)
{
    struct room *room = fetch->room;
    if (room == NULL) {
        return;
    }
    struct job *job = room->job;
    fetch->room = NULL;
    room->fetch = NULL;
    json_t *json =
        json_loadb((const char *)gv_buf_slice(&fetch->body).data, fetch->body.len, 0, NULL);
    const json_t *cached = json_object_get(json, "cached_tokens");
    bool ok = words == NULL && fetch->status == 200 && json_is_integer(cached);
    uint64_t tokens = ok ? (uint64_t)json_integer_value(cached) : 0;
    json_decref(json);
    if (!ok) {
        (void)snprintf(job->trouble, sizeof job->trouble, "bootstrap room %llu at %s: %s",
                       (unsigned long long)room->number, fetch->host,
                       words != NULL ? words : "no prefill request with this room has come");
    }
    job_on_room(job, room, ok, tokens);
}

static enum gv_err on_head(void *owner, const struct gv_head *head)
{
    struct room_fetch *fetch = owner;
    fetch->status = head->status;
    return GV_OK;
}

static enum gv_err on_body(void *owner, struct gv_slice bytes)
{
    struct room_fetch *fetch = owner;
    return gv_buf_append(&fetch->body, bytes);
}

static enum gv_err on_message_end(void *owner)
{
    struct room_fetch *fetch = owner;
    fetch->complete = true;
    return GV_OK;
}

static const struct gv_parser_events parser_events = {
    .on_head = on_head,
    .on_body = on_body,
    .on_message_end = on_message_end,
};

static const struct gv_parser_limits limits = {
    .head_bytes = ROOM_ANSWER_BYTES_MAX,
    .uri_bytes = ROOM_ANSWER_BYTES_MAX,
    .header_count = 64,
    .body_bytes = ROOM_ANSWER_BYTES_MAX,
    .chunk_ext_bytes = ROOM_ANSWER_BYTES_MAX,
    .trailer_bytes = ROOM_ANSWER_BYTES_MAX,
};

static void on_open(void *owner)
{
    struct room_fetch *fetch = owner;
    struct gv_buf out;
    gv_buf_init(&out, GV_MEM_BUFFER, ROOM_ANSWER_BYTES_MAX);
    enum gv_err err = gv_writer_request(&out, gv_slice_text("GET"), gv_slice_text(fetch->target),
                                        gv_slice_text(fetch->host));
    if (err == GV_OK) {
        err = gv_writer_end_head(&out, GV_WRITER_NO_BODY, true);
    }
    if (err == GV_OK) {
        err = gv_stream_send(fetch->stream, gv_buf_slice(&out));
    }
    gv_buf_deinit(&out);
    if (err != GV_OK) {
        gv_stream_close(fetch->stream);
    }
}

static void on_data(void *owner, struct gv_slice bytes)
{
    struct room_fetch *fetch = owner;
    size_t used = 0;
    enum gv_err err = fetch->complete ? GV_EPROTO : gv_parser_feed(fetch->parser, bytes, &used);
    if (err != GV_OK || fetch->complete) {
        gv_stream_close(fetch->stream);
    }
}

static void on_closed(void *owner, enum gv_err why)
{
    struct room_fetch *fetch = owner;
    fetch->stream = NULL;
    settle(fetch, fetch->complete ? NULL : gv_err_text(why == GV_OK ? GV_ECLOSED : why));
    free_fetch(fetch);
}

static const struct gv_stream_events stream_events = {
    .on_open = on_open,
    .on_data = on_data,
    .on_closed = on_closed,
};

static void on_resolved(void *owner, enum gv_err err, const struct gv_addr *addrs, size_t count,
                        uint32_t ttl_s)
{
    (void)ttl_s;
    struct room_fetch *fetch = owner;
    if (err == GV_OK && count > 0 && fetch->room != NULL) {
        const struct gv_stream_limits marks = {.high_mark_bytes = 1 << 16, .low_mark_bytes = 1};
        err =
            gv_stream_connect(fetch->loop, &addrs[0], &stream_events, fetch, marks, &fetch->stream);
        if (err == GV_OK) {
            return;
        }
    }
    settle(fetch, gv_err_text(err == GV_OK ? GV_ENOTFOUND : err));
    free_fetch(fetch);
}

static void fetch_one(struct job *job, struct room *room)
{
    struct mock *mock = job->worker->mock;
    struct room_fetch *fetch = gv_mem_new(GV_MEM_GENERAL, sizeof *fetch);
    if (fetch == NULL) {
        (void)trouble(job, "out of memory");
        job_on_room(job, room, false, 0);
        return;
    }
    room->fetch = fetch;
    fetch->room = room;
    fetch->loop = mock->loop;
    gv_buf_init(&fetch->body, GV_MEM_BUFFER, ROOM_ANSWER_BYTES_MAX);
    (void)snprintf(fetch->target, sizeof fetch->target, "/room/%llu",
                   (unsigned long long)room->number);
    bool v6 = strchr(room->host, ':') != NULL;
    (void)snprintf(fetch->host, sizeof fetch->host, "%s%s%s:%u", v6 ? "[" : "", room->host,
                   v6 ? "]" : "", room->port);
    enum gv_err err =
        gv_parser_new(GV_PARSER_RESPONSE, limits, &parser_events, fetch, &fetch->parser);
    if (err == GV_OK) {
        err = gv_resolve(mock->resolver, room->host, room->port, on_resolved, fetch);
    }
    if (err != GV_OK) {
        settle(fetch, gv_err_text(err));
        free_fetch(fetch);
    }
}

void room_fetch_all(struct job *job)
{
    for (uint32_t i = 0; i < job->room_count; i++) {
        fetch_one(job, &job->rooms[i]);
    }
}

void room_drop_all(struct job *job)
{
    for (uint32_t i = 0; i < job->room_count; i++) {
        struct room *room = &job->rooms[i];
        gv_list_remove(&room->link);
        if (room->fetch != NULL) {
            room->fetch->room = NULL;
            if (room->fetch->stream != NULL) {
                gv_stream_close(room->fetch->stream);
            }
            room->fetch = NULL;
        }
    }
}
