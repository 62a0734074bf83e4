/*
 * source.h - addresses of this host itself, asked for while a node starts.
 *
 * Which of them the kernel would speak from, for a node that listens on all addresses and has to
 * tell others one of them; and reading one that may be a name. Any thread; may block.
 */
#ifndef GV_NET_SOURCE_H
#define GV_NET_SOURCE_H

#include "grapevine/base/addr.h"

/**
 * The address from which this host would reach `towards`, with port 0; with `towards` NULL, the one
 * it would reach the world from. Nothing is sent. Errors: GV_ENOTFOUND there is no way there;
 * GV_EIO.
 */
GV_MUST_USE enum gv_err gv_source_find(const struct gv_addr *towards, struct gv_addr *source);

/**
 * Read `host`: a numeric address, or a name that is looked up once, IPv4 first. It gets `port`.
 * Errors: as the callback of gv_resolve(); GV_ENOMEM.
 */
GV_MUST_USE enum gv_err gv_source_read(const char *host, uint16_t port, struct gv_addr *addr);

#endif
