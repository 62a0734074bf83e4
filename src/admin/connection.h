/*
 * connection.h - one client of the admin port: bytes to a request, its answer back to bytes.
 *
 * HTTP/1.1 with keep-alive, one request at a time; the same parser and limits of strictness as the
 * data port.
 */
#ifndef GV_ADMIN_CONNECTION_H
#define GV_ADMIN_CONNECTION_H

#include "admin/admin.h"
#include "grapevine/base/list.h"
#include "grapevine/net/stream.h"

/* The connections of one port. */
struct gv_connections {
    struct gv_loop *loop;               /* borrowed */
    const struct gv_admin_parts *parts; /* borrowed */
    struct gv_list list;                /* of what is open */
    uint32_t count;                     /* in `list` */
    bool probes_only;                   /* nothing but /health, /liveness, /readiness */
    void (*on_closed)(void *owner);     /* one of them has closed */
    void *owner;
};

/** Serve `stream` (moved); it joins `set` now and leaves it when it has closed. */
void gv_connection_open(struct gv_connections *set, struct gv_stream *stream);

/** Close those that were silent for `idle_ms`; 0 closes all. */
void gv_connection_sweep(struct gv_connections *set, uint64_t now_ms, uint64_t idle_ms);

#endif
