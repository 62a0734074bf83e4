/*
 * oplog.h - this node's own operations, numbered from 1, the newest kept for peers that lag.
 *
 * A ring with a limit in operations and one in bytes; what is pushed out at the old end can only be
 * had by snapshot. Private to gossip.
 */
#ifndef GV_GOSSIP_OPLOG_H
#define GV_GOSSIP_OPLOG_H

#include "pack.h"

struct gv_oplog_entry;

struct gv_oplog {
    struct gv_oplog_entry **ring; /* owned; entry of sequence s at s % room */
    struct gv_words keys, workers;
    uint64_t oldest; /* sequence of the oldest kept; last + 1 when none is */
    uint64_t last;   /* sequence of the newest; 0 at first */
    size_t bytes;    /* held */
    size_t max_bytes;
    uint32_t room; /* operations */
};

/** Errors: GV_ENOMEM. */
GV_MUST_USE enum gv_err gv_oplog_init(struct gv_oplog *log, uint32_t room, size_t max_bytes);
void gv_oplog_deinit(struct gv_oplog *log);

/** Append a copy as sequence last + 1. Errors: GV_EINVAL not valid; GV_ENOMEM. */
GV_MUST_USE enum gv_err gv_oplog_append(struct gv_oplog *log,
                                        const struct gv_gossip_operation *operation);

/** About what sequences from `first` to the newest take on the wire, counted up to `enough`. */
size_t gv_oplog_bytes_from(const struct gv_oplog *log, uint64_t first, size_t enough);

/**
 * Fill the operations of `batch` with sequences first, first + 1, ... up to `last` or about
 * `max_bytes`, at least one. `first` must be held. Returns the last sequence packed, 0 on no
 * memory. `batch` borrows from `arena` and the log until the next append.
 */
GV_MUST_USE uint64_t gv_oplog_pack(struct gv_oplog *log, struct gv_arena *arena, uint64_t first,
                                   uint64_t last, size_t max_bytes, Mesh__Batch *batch);

#endif
