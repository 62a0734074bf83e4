/*
 * address.h - where the mesh listens, and what address the others are told. Private to cluster/.
 */
#ifndef GV_CLUSTER_ADDRESS_H
#define GV_CLUSTER_ADDRESS_H

#include "grapevine/base/addr.h"
#include "grapevine/config/config.h"

/**
 * The address to bind: --mesh-host; without it the host of the API when the mesh `may_be_open`
 * (it has keys, or wants none), else loopback. Errors: GV_EINVAL it cannot be read (logged).
 */
GV_MUST_USE enum gv_err gv_address_bind(const struct gv_config *config, bool may_be_open,
                                        struct gv_addr *addr);

/**
 * The address to tell: --mesh-advertise-host; else what is bound when that is one address; else the
 * one this host would reach the first numeric seed from, or the world. Never 0.0.0.0.
 * Errors: GV_EINVAL --mesh-advertise-host cannot be read; GV_ENOTFOUND none could be found
 * (logged).
 */
GV_MUST_USE enum gv_err gv_address_advertise(const struct gv_config *config,
                                             const struct gv_addr *bound, struct gv_addr *addr);

#endif
