/*
 * server.c - the port opened, swept and closed, and calls from other threads answered.
 */
#include "grapevine/admin/server.h"

#include "admin/admin.h"
#include "admin/connection.h"
#include "admin/jobs.h"
#include "admin/round.h"
#include "grapevine/net/inbox.h"
#include "grapevine/net/listener.h"
#include "grapevine/net/timer.h"

#define SWEEP_MS 1000u

/* One port and who is connected to it. */
struct port {
    struct gv_listener *listener; /* owned */
    struct gv_connections connections;
};

struct gv_admin {
    struct gv_loop *loop; /* borrowed */
    struct gv_admin_parts parts;
    struct gv_rounds rounds;
    struct gv_jobs jobs;
    struct gv_inbox *inbox; /* owned: calls of the data port */
    struct gv_timer *sweep; /* owned */
    struct port main;
    struct port probes; /* without a listener when there is none */
    bool closing;
};

static void reply(void *owner, struct gv_answer *answer)
{
    struct gv_local_call *call = owner;
    if (answer->problem != GV_PROBLEM_NONE) {
        gv_local_reply_problem(call, answer->problem, answer->detail);
        return;
    }
    struct gv_local_header headers[2];
    size_t count = 0;
    if (answer->location[0] != '\0') {
        headers[count++] = (struct gv_local_header){"Location", answer->location};
    }
    if (answer->authenticate != NULL) {
        headers[count++] = (struct gv_local_header){"WWW-Authenticate", answer->authenticate};
    }
    gv_local_reply(call, &(struct gv_local_answer){.status = answer->status,
                                                   .content_type = answer->content_type,
                                                   .headers = headers,
                                                   .header_count = count,
                                                   .body = gv_buf_slice(&answer->body)});
}

static void answer_call(void *owner, void *message)
{
    struct gv_admin *admin = owner;
    struct gv_local_call *call = message;
    const struct gv_request request = {.method = call->method,
                                       .path = call->path,
                                       .query = call->query,
                                       .authorization = call->authorization,
                                       .body = call->body,
                                       .peer = call->peer};
    struct gv_answer answer;
    gv_answer_init(&answer);
    if (admin->closing) { /* delivered on the way out: nobody is asked any more */
        gv_answer_problem(&answer, GV_PROBLEM_DRAINING, "%.200s", call->path);
        reply(call, &answer);
    } else {
        struct gv_round *round = gv_routes_answer(&admin->parts, &request, &answer);
        if (round == NULL) {
            reply(call, &answer);
        } else {
            round->on_done = reply;
            round->owner = call;
        }
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
    struct port *port = owner;
    if (port->connections.count >= GV_ADMIN_CONNECTIONS_MAX) {
        gv_stream_close(stream);
        return;
    }
    gv_connection_open(&port->connections, stream);
}

/* Freed when it was closed and nothing points here any more. */
static void free_when_quiet(void *owner)
{
    struct gv_admin *admin = owner;
    if (admin->closing && admin->main.connections.count == 0 &&
        admin->probes.connections.count == 0) {
        gv_mem_free(GV_MEM_GENERAL, admin);
    }
}

static void on_sweep(void *owner)
{
    struct gv_admin *admin = owner;
    uint64_t now_ms = gv_loop_now_ms(admin->loop);
    gv_connection_sweep(&admin->main.connections, now_ms, GV_ADMIN_IDLE_MS);
    gv_connection_sweep(&admin->probes.connections, now_ms, GV_ADMIN_IDLE_MS);
}

static void init_port(struct gv_admin *admin, struct port *port, bool probes_only)
{
    port->connections = (struct gv_connections){.loop = admin->loop,
                                                .parts = &admin->parts,
                                                .probes_only = probes_only,
                                                .on_closed = free_when_quiet,
                                                .owner = admin};
    gv_list_init(&port->connections.list);
}

static enum gv_err listen_on(struct gv_admin *admin, struct port *port, const struct gv_addr *addr,
                             struct gv_tls *tls)
{
    return gv_listener_open(admin->loop, (struct gv_listener_options){.addr = *addr, .tls = tls},
                            on_accept, port, &port->listener);
}

static enum gv_err open_parts(struct gv_admin *admin, const struct gv_addr *addr)
{
    enum gv_err err = gv_admin_metrics_register();
    if (err == GV_OK) {
        err = gv_rounds_open(&admin->rounds, admin->loop, admin->parts.shared);
    }
    if (err == GV_OK) {
        err = listen_on(admin, &admin->main, addr, admin->parts.tls);
    }
    if (err == GV_OK && admin->parts.probe_addr.family != 0) {
        err = listen_on(admin, &admin->probes, &admin->parts.probe_addr, NULL);
    }
    if (err == GV_OK) {
        err = gv_inbox_open(admin->loop, GV_ADMIN_CALLS_MAX, answer_call, admin, &admin->inbox);
    }
    return err == GV_OK ? gv_timer_open(admin->loop, on_sweep, admin, &admin->sweep) : err;
}

static void close_ports(struct gv_admin *admin)
{
    gv_listener_close(admin->main.listener);
    gv_listener_close(admin->probes.listener);
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
    admin->parts.rounds = &admin->rounds;
    admin->parts.jobs = &admin->jobs;
    gv_list_init(&admin->rounds.list);
    init_port(admin, &admin->main, false);
    init_port(admin, &admin->probes, true);
    enum gv_err err = open_parts(admin, addr);
    if (err != GV_OK) {
        close_ports(admin);
        gv_rounds_close(&admin->rounds);
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
    return gv_listener_addr(admin->main.listener);
}

void gv_admin_close(struct gv_admin *admin)
{
    if (admin == NULL) {
        return;
    }
    admin->closing = true; /* calls that still wait are told so */
    close_ports(admin);
    gv_timer_close(admin->sweep);
    gv_inbox_close(admin->inbox);
    gv_rounds_close(&admin->rounds);
    gv_connection_sweep(&admin->main.connections, 0, 0);
    gv_connection_sweep(&admin->probes.connections, 0, 0);
    free_when_quiet(admin);
}
