/*
 * tls_crowd.h - how many handshakes each address has under way, so that one cannot take all places.
 *
 * An IPv6 address counts by its /64, which is what one host can have for nothing. Counted in two
 * rows of counters, each under a secret hash of its own: the smaller of an address's two counters
 * is at least what it has. So it needs no memory per address, and only who meets a crowd in both
 * rows is taken for a part of it. Any thread. Who may call: tls.c.
 */
#ifndef GV_NET_TLS_CROWD_H
#define GV_NET_TLS_CROWD_H

#include "grapevine/base/addr.h"
#include <stdatomic.h>
#include <stdbool.h>

#define GV_TLS_CROWD_ROWS     2
#define GV_TLS_CROWD_COUNTERS 8192 /* in a row; a power of two */

struct gv_tls_crowd {
    uint64_t seeds[GV_TLS_CROWD_ROWS];
    atomic_uint counts[GV_TLS_CROWD_ROWS][GV_TLS_CROWD_COUNTERS];
};

/** `crowd` is all zero. */
void gv_tls_crowd_init(struct gv_tls_crowd *crowd);

/** One more of this address; false, and not counted, when it has `most` already. */
bool gv_tls_crowd_enter(struct gv_tls_crowd *crowd, const struct gv_addr *addr, uint32_t most);

/** One less. */
void gv_tls_crowd_leave(struct gv_tls_crowd *crowd, const struct gv_addr *addr);

#endif
