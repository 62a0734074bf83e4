/*
 * control.c - faults on demand, and what was counted.
 *
 *    POST /_mock/fault {"kind":"error","count":2,"status":503}   the next two requests
 *    GET  /_mock/stats                                           counters, the last request
 *    POST /_mock/reset                                           no faults, counters at zero
 *    POST /_mock/restart                                         as if the engine was started anew
 *
 * "?port=N" reaches another engine of the process: the only way to one that refuses connections.
 * Faults wait in a row; each serving request uses up one count of the first. "count":0 means until
 * reset. health_down hits health checks only. The fields and their defaults: count 1, status 503,
 * after_bytes 64, ms 1000 (refuse: 0 means until reset).
 */
#include "mock.h"
#include <stdio.h>

static const char *const kinds[] = {
    [MOCK_FAULT_NONE] = "none",
    [MOCK_FAULT_REFUSE] = "refuse",
    [MOCK_FAULT_ERROR] = "error",
    [MOCK_FAULT_HANG_BEFORE_HEAD] = "hang_before_head",
    [MOCK_FAULT_HANG_MID_STREAM] = "hang_mid_stream",
    [MOCK_FAULT_CLOSE_BEFORE_HEAD] = "close_before_head",
    [MOCK_FAULT_CLOSE_MID_STREAM] = "close_mid_stream",
    [MOCK_FAULT_SLOW] = "slow",
    [MOCK_FAULT_BAD_HTTP] = "bad_http",
    [MOCK_FAULT_HEALTH_DOWN] = "health_down",
    [MOCK_FAULT_GARBAGE_LENGTH] = "garbage_length",
};

struct mock_fault control_take_fault(struct mock_worker *worker, bool health)
{
    for (size_t i = 0; i < worker->fault_count; i++) {
        struct mock_fault *fault = &worker->faults[i];
        if ((fault->kind == MOCK_FAULT_HEALTH_DOWN) != health) {
            continue;
        }
        struct mock_fault taken = *fault;
        if (fault->count != UINT64_MAX) {
            fault->count -= 1;
        }
        if (fault->count == 0) {
            memmove(fault, fault + 1, (worker->fault_count - i - 1) * sizeof *fault);
            worker->fault_count -= 1;
        }
        return taken;
    }
    return (struct mock_fault){.kind = MOCK_FAULT_NONE};
}

static enum mock_fault_kind kind_of(const char *text)
{
    for (int kind = MOCK_FAULT_REFUSE; text != NULL && kind < MOCK_FAULT_COUNT; kind++) {
        if (strcmp(kinds[kind], text) == 0) {
            return (enum mock_fault_kind)kind;
        }
    }
    return MOCK_FAULT_NONE;
}

static uint64_t field(const json_t *json, const char *name, uint64_t fallback)
{
    const json_t *value = json_object_get(json, name);
    return json_is_integer(value) && json_integer_value(value) >= 0
               ? (uint64_t)json_integer_value(value)
               : fallback;
}

static void reply_done(struct conn *conn)
{
    conn_reply_json(conn, 200, json_pack("{s:b}", "ok", 1));
}

static void add_fault(struct conn *conn, struct mock_worker *worker)
{
    struct gv_slice body = gv_buf_slice(&conn->body);
    json_t *json = json_loadb((const char *)body.data, body.len, 0, NULL);
    struct mock_fault fault = {
        .kind = kind_of(json_string_value(json_object_get(json, "kind"))),
        .count = field(json, "count", 1),
        .status = (uint16_t)field(json, "status", 503),
        .after_bytes = field(json, "after_bytes", 64),
        .ms = field(json, "ms", 1000),
    };
    json_decref(json);
    if (fault.kind == MOCK_FAULT_NONE || fault.status < 200 || fault.status > 599) {
        conn_error(conn, 400, "kind is unknown, or status is none");
        return;
    }
    if (fault.count == 0) {
        fault.count = UINT64_MAX;
    }
    if (fault.kind != MOCK_FAULT_REFUSE && worker->fault_count == MOCK_FAULTS_MAX) {
        conn_error(conn, 409, "too many faults are waiting");
        return;
    }
    if (fault.kind != MOCK_FAULT_REFUSE) {
        worker->faults[worker->fault_count++] = fault;
        reply_done(conn);
        return;
    }
    if (worker == conn->worker) {
        conn->keep_alive = false; /* the answer goes out, then this connection ends too */
    }
    reply_done(conn);
    worker_refuse(worker, fault.ms);
}

static json_t *stats_of(const struct mock_worker *worker)
{
    const struct mock_stats *stats = &worker->stats;
    struct gv_slice body = gv_buf_slice(&worker->last_body);
    json_t *last = worker->last_head == NULL ? json_null() : json_loads(worker->last_head, 0, NULL);
    json_t *text = json_stringn(body.len > 0 ? (const char *)body.data : "", body.len);
    if (json_is_object(last)) {
        json_object_set_new(last, "body", text == NULL ? json_null() : text);
        json_object_set_new(last, "body_bytes", json_integer((json_int_t)body.len));
    } else {
        json_decref(text);
    }
    json_t *faults = json_array();
    for (size_t i = 0; i < worker->fault_count; i++) {
        json_array_append_new(faults, json_string(kinds[worker->faults[i].kind]));
    }
    json_t *ranks = json_array();
    for (uint32_t i = 0; i < worker->mock->options.dp_size; i++) {
        json_array_append_new(ranks, json_integer((json_int_t)stats->rank_requests[i]));
    }
    return json_pack(
        "{s:s,s:i,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:o,s:o,s:o}", "worker",
        worker->name, "port", (int)worker->port, "generation", (json_int_t)worker->generation,
        "start_time_ms", (json_int_t)worker->started_wall_ms, "requests",
        (json_int_t)stats->requests, "finished", (json_int_t)stats->finished, "aborted",
        (json_int_t)stats->aborted, "in_flight", (json_int_t)stats->in_flight, "prompt_tokens",
        (json_int_t)stats->prompt_tokens, "cached_tokens", (json_int_t)stats->cached_tokens,
        "output_tokens", (json_int_t)stats->output_tokens, "health_requests",
        (json_int_t)stats->health_requests, "connections", (json_int_t)stats->connections,
        "cache_tokens_held", (json_int_t)engine_cached_tokens(&worker->engine), "aborts",
        (json_int_t)stats->aborts, "rank_requests", ranks, "faults", faults, "last_request", last);
}

static void reset(struct mock_worker *worker)
{
    uint64_t in_flight = worker->stats.in_flight;
    worker->fault_count = 0;
    worker->stats = (struct mock_stats){.in_flight = in_flight};
    gv_mem_free(GV_MEM_GENERAL, worker->last_head);
    worker->last_head = NULL;
    gv_buf_clear(&worker->last_body);
    if (worker->refuse_until_us != 0) {
        worker->refuse_until_us = 1; /* long ago: listen at the next look */
        worker_wake(worker);
    }
}

/* The engine that "?port=N" names, or the one that was asked; NULL: no such engine here. */
static struct mock_worker *chosen(struct conn *conn, struct gv_slice query)
{
    uint64_t port = 0;
    if (query.len == 0) {
        return conn->worker;
    }
    if (!gv_slice_starts_with(query, "port=") ||
        !gv_slice_to_u64(gv_slice_of(query.data + 5, query.len - 5), &port)) {
        return NULL;
    }
    struct mock *mock = conn->worker->mock;
    for (uint32_t i = 0; i < mock->options.worker_count; i++) {
        if (mock->workers[i].port == port) {
            return &mock->workers[i];
        }
    }
    return NULL;
}

void control_handle(struct conn *conn, struct gv_slice path, struct gv_slice query)
{
    struct mock_worker *worker = chosen(conn, query);
    if (worker == NULL) {
        conn_error(conn, 404, "no engine of this process has that port");
        return;
    }
    if (gv_slice_is(path, "/_mock/stats")) {
        conn_reply_json(conn, 200, stats_of(worker));
        return;
    }
    if (conn->method != GV_METHOD_POST) {
        conn_error(conn, 405, "Method Not Allowed");
    } else if (gv_slice_is(path, "/_mock/fault")) {
        add_fault(conn, worker);
    } else if (gv_slice_is(path, "/_mock/reset")) {
        reset(worker);
        reply_done(conn);
    } else if (gv_slice_is(path, "/_mock/restart")) {
        conn->keep_alive = false;
        reply_done(conn);
        worker_restart(worker);
    } else {
        conn_error(conn, 404, "Not Found");
    }
}
