/*
 * spare.h - carriers that a loop keeps for requests to come, with the room that their heads took.
 *
 * A carrier is three kilobytes and two heads: taken from the heap and given back for each request,
 * they were a tenth of a small request's instructions. Who may call: carrier.c and proxy.c.
 */
#ifndef GV_PROXY_SPARE_H
#define GV_PROXY_SPARE_H

#include "attempt.h"

/** A carrier of which nothing is known: all zero but for its heads, which are empty. NULL: no
 * memory. `failed` and what follows the first byte of `detail` count for nothing before they are
 * written. */
struct gv_carrier *gv_spare_take(struct gv_proxy *proxy);

/** A carrier has ended, and all but its heads was given back: keep it, or free it. */
void gv_spare_put(struct gv_proxy *proxy, struct gv_carrier *carrier);

/** Free what is kept. */
void gv_spares_free(struct gv_proxy *proxy);

#endif
