/*
 * source.h - which of this host's addresses the kernel would speak from.
 *
 * For a node that listens on all addresses and has to tell others one of them. Nothing is sent.
 * Any thread.
 */
#ifndef GV_NET_SOURCE_H
#define GV_NET_SOURCE_H

#include "grapevine/base/addr.h"

/**
 * The address from which this host would reach `towards`, with port 0; with `towards` NULL, the one
 * it would reach the world from. Errors: GV_ENOTFOUND there is no way there; GV_EIO.
 */
GV_MUST_USE enum gv_err gv_source_find(const struct gv_addr *towards, struct gv_addr *source);

#endif
