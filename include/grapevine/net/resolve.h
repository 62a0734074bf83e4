/*
 * resolve.h - names to addresses: numeric, A and AAAA, SRV. By c-ares; never blocks the loop.
 */
#ifndef GV_NET_RESOLVE_H
#define GV_NET_RESOLVE_H

#include "grapevine/base/addr.h"
#include "grapevine/net/loop.h"

#define GV_RESOLVE_MAX 256 /* addresses per answer; more are cut and counted */

struct gv_resolver;

/** `addrs` is borrowed for the call; count 0 with an error. `ttl_s`: smallest TTL, 0 when numeric.
 */
typedef void (*gv_resolve_fn)(void *owner, enum gv_err err, const struct gv_addr *addrs,
                              size_t count, uint32_t ttl_s);

GV_MUST_USE enum gv_err gv_resolver_open(struct gv_loop *loop, struct gv_resolver **resolver);

/** Queries under way end with GV_ECANCELED. NULL is fine. */
void gv_resolver_close(struct gv_resolver *resolver);

/**
 * Look up `name` (host name or numeric address); each address gets `port`. "srv:_x._tcp.example"
 * asks SRV and then its targets. /etc/hosts is honoured. Exactly one callback, never from inside.
 * Callback errors: GV_ENOTFOUND no such name or no record, GV_ETIMEOUT, GV_EIO, GV_ECANCELED.
 */
GV_MUST_USE enum gv_err gv_resolve(struct gv_resolver *resolver, const char *name, uint16_t port,
                                   gv_resolve_fn on_resolved, void *owner);

#endif
