/*
 * listener.h - a TCP port that accepts. Several loops may listen on one port (SO_REUSEPORT).
 *
 * When the process has no descriptors left, accepting pauses for 100 ms at a time instead of
 * spinning; each pause is counted. One thread.
 */
#ifndef GV_NET_LISTENER_H
#define GV_NET_LISTENER_H

#include "grapevine/net/stream.h"

struct gv_listener;

/** A new connection; call gv_stream_adopt() inside, or gv_stream_close(). */
typedef void (*gv_accept_fn)(void *owner, struct gv_stream *stream);

struct gv_listener_options {
    struct gv_addr addr; /* port 0: the kernel chooses, see gv_listener_addr() */
    bool share_port;     /* SO_REUSEPORT */
    int backlog;         /* 0: 1024 */
    struct gv_tls *tls;  /* borrowed: accepted streams speak TLS, before the owner sees them */
    int inherited_fd;    /* above 0: accept from this listening socket in place of addr; it is
                            duplicated, several loops may share it */
};

/** Errors: GV_EEXISTS the port is taken. GV_EAUTH not allowed. GV_EINVAL no such address. GV_EIO.
 */
GV_MUST_USE enum gv_err gv_listener_open(struct gv_loop *loop, struct gv_listener_options options,
                                         gv_accept_fn on_accept, void *owner,
                                         struct gv_listener **listener);

/** The address bound, with the real port. */
struct gv_addr gv_listener_addr(const struct gv_listener *listener);

/**
 * Let no new connection begin: what asks for one is not heard, and asks again after a second. Those
 * that have begun still come in, so that after a round trip nothing waits that a close would reset.
 * A socket that was inherited goes on: others listen there too.
 */
void gv_listener_shut(struct gv_listener *listener);

/** Accept what waits, then close: nobody who was let in is turned away. NULL is fine. */
void gv_listener_finish(struct gv_listener *listener);

/** Accept no more, resetting what waits; the memory is freed later by the loop. NULL is fine. */
void gv_listener_close(struct gv_listener *listener);

#endif
