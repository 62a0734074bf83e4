/*
 * shelf.h - batches of other nodes' logs, as they came, the newest kept for peers that lack them.
 *
 * Whoever cannot hear a node itself takes the node's operations from here. One limit in bytes over
 * all logs; what is pushed out at the old end can only be had by snapshot. Private to gossip.
 */
#ifndef GV_GOSSIP_SHELF_H
#define GV_GOSSIP_SHELF_H

#include "vector.h"

#define GV_SHELF_LOOK_MAX 2048 /* batches of a log that are looked through for a peer */

/* One batch: the bytes of the message it came in. */
struct gv_kept {
    struct gv_kept *next;        /* owned: the next younger of all */
    struct gv_kept *next_of_log; /* borrowed: the next younger of its log */
    struct gv_kept *prev_of_log; /* borrowed: the next older */
    struct gv_origin *origin;    /* borrowed; NULL: its log was forgotten */
    uint64_t first, last;        /* sequences */
    size_t len;                  /* of bytes */
    uint8_t bytes[];
};

struct gv_shelf {
    struct gv_kept *oldest, *newest; /* owned */
    size_t bytes, max_bytes;
};

void gv_shelf_init(struct gv_shelf *shelf, size_t max_bytes);
void gv_shelf_deinit(struct gv_shelf *shelf);

/** Keep a copy of a message with sequences first to last of `origin`. Out of memory: it is not
 * kept. */
void gv_shelf_keep(struct gv_shelf *shelf, struct gv_origin *origin, uint64_t first, uint64_t last,
                   struct gv_slice message);

/**
 * The batches of `origin` with any of first to last, oldest first, of the GV_SHELF_LOOK_MAX newest
 * ones; returns how many. However long a log is, a question costs no more than that.
 */
uint32_t gv_shelf_find(const struct gv_origin *origin, uint64_t first, uint64_t last,
                       const struct gv_kept *found[GV_SHELF_LOOK_MAX]);

/** The log of `origin` is about to be removed. */
void gv_shelf_forget(struct gv_origin *origin);

#endif
