/*
 * server.c - the port opened, swept and closed, and calls from other threads answered.
 */
#include "grapevine/admin/server.h"

#include "admin/admin.h"
#include "admin/connection.h"
#include "grapevine/net/inbox.h"
#include "grapevine/net/listener.h"
#include "grapevine/net/timer.h"

#define SWEEP_MS 1000u

struct gv_admin {
    struct gv_loop *loop; /* borrowed */
    struct gv_admin_parts parts;
    struct gv_listener *listener; /* owned */
    struct gv_inbox *inbox;       /* owned: calls of the data port */
    struct gv_timer *sweep;       /* owned */
    struct gv_connections connections;
    bool closing;
};

static void answer_call(void *owner, void *message)
{
    struct gv_admin *admin = owner;
    struct gv_local_call *call = message;
    const struct gv_request request = {.method = call->method,
                                       .path = call->path,
                                       .query = call->query,
                                       .authorization = call->authorization,
                                       .body = call->body};
    struct gv_answer answer;
    gv_answer_init(&answer);
    gv_routes_answer(&admin->parts, &request, &answer);
    if (answer.problem != GV_PROBLEM_NONE) {
        gv_local_reply_problem(call, answer.problem, answer.detail);
    } else {
        const struct gv_local_header location = {.name = "Location", .value = answer.location};
        gv_local_reply(call,
                       &(struct gv_local_answer){.status = answer.status,
                                                 .content_type = answer.content_type,
                                                 .headers = &location,
                                                 .header_count = answer.location[0] != '\0' ? 1 : 0,
                                                 .body = gv_buf_slice(&answer.body)});
    }
    gv_answer_deinit(&answer);
}

void gv_admin_call(struct gv_admin *admin, struct gv_local_call *call)
{
    if (gv_inbox_post(admin->inbox, call) != GV_OK) {
        gv_local_reply_problem(call, GV_PROBLEM_OVERLOADED,
                               "too many administrative requests are waiting");
    }
}

static void on_accept(void *owner, struct gv_stream *stream)
{
    struct gv_admin *admin = owner;
    if (admin->connections.count >= GV_ADMIN_CONNECTIONS_MAX) {
        gv_stream_close(stream);
        return;
    }
    gv_connection_open(&admin->connections, stream);
}

/* Freed when it was closed and nothing points here any more. */
static void free_when_quiet(void *owner)
{
    struct gv_admin *admin = owner;
    if (admin->closing && admin->connections.count == 0) {
        gv_mem_free(GV_MEM_GENERAL, admin);
    }
}

static void on_sweep(void *owner)
{
    struct gv_admin *admin = owner;
    gv_connection_sweep(&admin->connections, gv_loop_now_ms(admin->loop), GV_ADMIN_IDLE_MS);
}

enum gv_err gv_admin_open(struct gv_loop *loop, const struct gv_admin_parts *parts,
                          const struct gv_addr *addr, struct gv_admin **out)
{
    struct gv_admin *admin = gv_mem_new(GV_MEM_GENERAL, sizeof *admin);
    if (admin == NULL) {
        return GV_ENOMEM;
    }
    admin->loop = loop;
    admin->parts = *parts;
    admin->connections = (struct gv_connections){
        .loop = loop, .parts = &admin->parts, .on_closed = free_when_quiet, .owner = admin};
    gv_list_init(&admin->connections.list);
    enum gv_err err = gv_admin_metrics_register();
    if (err == GV_OK) {
        err = gv_listener_open(loop, (struct gv_listener_options){.addr = *addr}, on_accept, admin,
                               &admin->listener);
    }
    if (err == GV_OK) {
        err = gv_inbox_open(loop, GV_ADMIN_CALLS_MAX, answer_call, admin, &admin->inbox);
    }
    if (err == GV_OK) {
        err = gv_timer_open(loop, on_sweep, admin, &admin->sweep);
    }
    if (err != GV_OK) {
        gv_listener_close(admin->listener);
        if (admin->inbox != NULL) {
            gv_inbox_close(admin->inbox);
        }
        gv_mem_free(GV_MEM_GENERAL, admin);
        return err;
    }
    gv_timer_start(admin->sweep, SWEEP_MS, SWEEP_MS);
    *out = admin;
    return GV_OK;
}

struct gv_addr gv_admin_address(const struct gv_admin *admin)
{
    return gv_listener_addr(admin->listener);
}

void gv_admin_close(struct gv_admin *admin)
{
    if (admin == NULL) {
        return;
    }
    gv_listener_close(admin->listener);
    gv_timer_close(admin->sweep);
    gv_inbox_close(admin->inbox);
    gv_connection_sweep(&admin->connections, 0, 0);
    admin->closing = true;
    free_when_quiet(admin);
}
