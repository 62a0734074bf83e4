/*
 * abort.h - tells an engine to stop a request whose answer nobody wants any more.
 *
 * Closing the connection comes first and is enough for most engines; this is the word after it, for
 * those that take one (engine.h). Best effort: bounded in number and time, the answer ignored,
 * everything counted. Who may call: legs.c, proxy.c. One thread.
 */
#ifndef GV_PROXY_ABORT_H
#define GV_PROXY_ABORT_H

#include "parts.h"

#define GV_ABORTS_MAX       256u  /* under way per loop; more are only counted */
#define GV_ABORT_TIMEOUT_MS 2000u /* for one, in all */

/** Send POST {"rid": rid} to the abort path of the worker's engine. `rid` is raw JSON; empty: the
 * request has no name, and nothing is sent. */
void gv_abort_send(struct gv_proxy *proxy, struct gv_target *target, uint32_t worker,
                   struct gv_slice rid);

void gv_aborts_tick(struct gv_proxy *proxy, uint64_t now_ms);

/** End all; the targets are about to close. */
void gv_aborts_end(struct gv_proxy *proxy);

#endif
