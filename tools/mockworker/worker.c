/*
 * worker.c - one simulated engine: its ports, and the one timer that everything timed hangs on.
 *
 * look() is the only place that runs what has become due (prefill, tokens, rooms, delayed requests,
 * the end of a refusal); it is called by the timer and by nobody else, so nothing runs inside
 * something else. It sets the timer for the next thing.
 */
#include "mock.h"
#include "room.h"
#include <stdio.h>

static void on_accept(void *owner, struct gv_stream *stream)
{
    conn_accept(owner, stream, false);
}

static void on_bootstrap_accept(void *owner, struct gv_stream *stream)
{
    conn_accept(owner, stream, true);
}

static enum gv_err listen_at(struct mock_worker *worker, uint16_t port, gv_accept_fn on_conn,
                             struct gv_listener **listener)
{
    struct gv_listener_options options = {.backlog = 0};
    enum gv_err err = gv_addr_parse(gv_slice_text(worker->mock->options.host), 1, &options.addr);
    if (err != GV_OK) {
        return err;
    }
    options.addr.port = port;
    options.tls = on_conn == on_accept ? worker->mock->tls : NULL;
    return gv_listener_open(worker->mock->loop, options, on_conn, worker, listener);
}

enum gv_err worker_listen(struct mock_worker *worker)
{
    if (worker->listener != NULL) {
        return GV_OK;
    }
    enum gv_err err = listen_at(worker, worker->port, on_accept, &worker->listener);
    if (err == GV_OK) {
        worker->refuse_until_us = 0;
        worker->port = gv_listener_addr(worker->listener).port;
    }
    return err;
}

static uint16_t port_at(uint16_t first, uint32_t index)
{
    return first == 0 ? 0 : (uint16_t)(first + index);
}

static uint64_t look(struct mock_worker *worker, uint64_t now_us);

static void on_time(void *owner)
{
    struct mock_worker *worker = owner;
    uint64_t now_us = gv_clock_us();
    uint64_t due_at_us = look(worker, now_us);
    if (due_at_us == ENGINE_NEVER) {
        return; /* until worker_wake() */
    }
    uint64_t wait_us = due_at_us > now_us ? due_at_us - now_us : 0;
    gv_timer_start(worker->timer, (wait_us + 999) / 1000, 0);
}

void worker_wake(struct mock_worker *worker)
{
    if (worker->timer != NULL) { /* NULL: closing */
        gv_timer_start(worker->timer, 0, 0);
    }
}

enum gv_err worker_open(struct mock_worker *worker, uint32_t index)
{
    const struct mock_options *options = &worker->mock->options;
    engine_init(&worker->engine, options->engine);
    gv_list_init(&worker->conns);
    gv_list_init(&worker->jobs);
    gv_list_init(&worker->rooms);
    gv_buf_init(&worker->last_body, GV_MEM_BUFFER, MOCK_BODY_BYTES_MAX);
    worker->started_wall_ms = gv_clock_wall_ms();
    worker->port = port_at(options->port, index);
    enum gv_err err = gv_timer_open(worker->mock->loop, on_time, worker, &worker->timer);
    if (err == GV_OK) {
        err = worker_listen(worker);
    }
    if (err == GV_OK && options->role == MOCK_PREFILL) {
        err = listen_at(worker, port_at(options->bootstrap_port, index), on_bootstrap_accept,
                        &worker->bootstrap_listener);
    }
    if (err != GV_OK) {
        return err;
    }
    struct gv_addr addr = gv_listener_addr(worker->listener);
    char text[GV_ADDR_TEXT_BYTES];
    (void)snprintf(worker->name, sizeof worker->name, "%s", gv_addr_format(&addr, text));
    if (worker->bootstrap_listener != NULL) {
        worker->bootstrap_port = gv_listener_addr(worker->bootstrap_listener).port;
    }
    return GV_OK;
}

void worker_close(struct mock_worker *worker)
{
    gv_listener_close(worker->listener);
    gv_listener_close(worker->bootstrap_listener);
    gv_timer_close(worker->timer);
    worker->listener = NULL;
    worker->bootstrap_listener = NULL;
    worker->timer = NULL;
}

void worker_deinit(struct mock_worker *worker)
{
    if (worker->mock == NULL) {
        return; /* never opened */
    }
    GV_ASSERT(gv_list_is_empty(&worker->jobs) && gv_list_is_empty(&worker->rooms));
    engine_deinit(&worker->engine);
    gv_mem_free(GV_MEM_GENERAL, worker->last_head);
    gv_buf_deinit(&worker->last_body);
}

void worker_refuse(struct mock_worker *worker, uint64_t ms)
{
    worker->refuse_until_us = ms == 0 ? ENGINE_NEVER : gv_clock_us() + ms * 1000;
    gv_listener_close(worker->listener);
    worker->listener = NULL;
    conn_reset_all(worker);
    worker_wake(worker);
}

void worker_restart(struct mock_worker *worker)
{
    conn_reset_all(worker);
    engine_flush(&worker->engine);
    worker->started_wall_ms = gv_clock_wall_ms();
    worker->generation += 1;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Run delayed requests whose time has come; the time of the next. */
static uint64_t run_delayed(struct mock_worker *worker, uint64_t now_us)
{
    uint64_t due_at_us = ENGINE_NEVER;
    GV_LIST_EACH(&worker->conns, at, following)
    {
        struct conn *conn = GV_CONTAINER(at, struct conn, link);
        if (conn->state != CONN_DELAYED) {
            continue;
        }
        if (conn->resume_at_us <= now_us) {
            api_resume(conn);
        } else {
            due_at_us = earlier(due_at_us, conn->resume_at_us);
        }
    }
    return due_at_us;
}

static uint64_t look(struct mock_worker *worker, uint64_t now_us)
{
    if (worker->refuse_until_us != 0 && worker->refuse_until_us <= now_us &&
        worker_listen(worker) != GV_OK) {
        worker->refuse_until_us = now_us + 100 * 1000; /* the port is taken; try again soon */
    }
    uint64_t due_at_us = run_delayed(worker, now_us);
    engine_advance(&worker->engine, now_us);
    job_run_all(worker, now_us);
    due_at_us = earlier(due_at_us, room_run(worker, now_us));
    due_at_us = earlier(due_at_us, job_due_at_us(worker));
    if (worker->refuse_until_us != 0) {
        due_at_us = earlier(due_at_us, worker->refuse_until_us);
    }
    return due_at_us;
}

const char *mock_role_name(enum mock_role role)
{
    switch (role) {
    case MOCK_REGULAR:
        return "null";
    case MOCK_PREFILL:
        return "prefill";
    case MOCK_DECODE:
        return "decode";
    }
    return "null";
}
