/*
 * datagram.h - a UDP socket. One thread.
 */
#ifndef GV_NET_DATAGRAM_H
#define GV_NET_DATAGRAM_H

#include "grapevine/base/addr.h"
#include "grapevine/base/slice.h"
#include "grapevine/net/loop.h"

struct gv_datagram;

/** One datagram came; `bytes` borrowed for the call. */
typedef void (*gv_datagram_fn)(void *owner, const struct gv_addr *from, struct gv_slice bytes);

/** Bind. Errors as gv_listener_open(). */
GV_MUST_USE enum gv_err gv_datagram_open(struct gv_loop *loop, const struct gv_addr *addr,
                                         gv_datagram_fn on_datagram, void *owner,
                                         struct gv_datagram **datagram);

/** Send at once or not at all. Errors: GV_EAGAIN the socket is full, GV_EIO; nothing was sent. */
GV_MUST_USE enum gv_err gv_datagram_send(struct gv_datagram *datagram, const struct gv_addr *to,
                                         struct gv_slice bytes);

/** The address bound, with the real port. */
struct gv_addr gv_datagram_addr(const struct gv_datagram *datagram);

/** Close; the memory is freed later by the loop. NULL is fine. */
void gv_datagram_close(struct gv_datagram *datagram);

#endif
