/*
 * backoff.h - addresses that refused us are tried again after a delay that grows to a minute.
 *
 * A fixed number of addresses; when all slots are taken the one that is over first is reused.
 * Private to cluster/. The caller passes the time in.
 */
#ifndef GV_CLUSTER_BACKOFF_H
#define GV_CLUSTER_BACKOFF_H

#include "grapevine/base/addr.h"

#include <stdbool.h>
#include <stdint.h>

#define GV_BACKOFF_SLOTS    64
#define GV_BACKOFF_LEAST_MS 1000
#define GV_BACKOFF_MOST_MS  60000

struct gv_backoff_slot {
    struct gv_addr addr;
    uint64_t until_ms;
    uint64_t delay_ms; /* 0: slot not used */
};

struct gv_backoff {
    struct gv_backoff_slot slots[GV_BACKOFF_SLOTS]; /* all zero at first */
};

/** `addr` refused: twice the last delay, from now. */
void gv_backoff_add(struct gv_backoff *backoff, const struct gv_addr *addr, uint64_t now_ms);
/** `addr` took us in. */
void gv_backoff_remove(struct gv_backoff *backoff, const struct gv_addr *addr);
/** Shall `addr` be left alone now? */
bool gv_backoff_has(struct gv_backoff *backoff, const struct gv_addr *addr, uint64_t now_ms);

#endif
