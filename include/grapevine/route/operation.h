/*
 * operation.h - the only things that ever change a trie. Local equals remote.
 *
 * Every operation is idempotent, and any order of the same operations gives the same tries (a
 * join): an entry (key, fingerprint, worker) keeps the highest stamp; a floor keeps its highest
 * stamp; an entry is live while its stamp is above both floors of its worker (for its key, and for
 * all keys). A prefix's stamp is never below the stamp of what it is a prefix of: an insert or
 * touch of a fingerprint raises its whole path, also when parts of that path become known only
 * later.
 */
#ifndef GV_ROUTE_OPERATION_H
#define GV_ROUTE_OPERATION_H

#include "grapevine/route/fingerprint.h"
#include "grapevine/route/worker.h"

/*
 * Every so many blocks of a path, the last of each GV_ANCHOR_BLOCKS counted from its beginning, is
 * an anchor. Only anchors can be found by name alone, so an operation refers to nothing else: an
 * insert follows an anchor (or nothing, at depth 0), a touch names one. What lies between the
 * anchor and the blocks that are new is told again; for it is known, that changes nothing.
 */
#define GV_ANCHOR_BLOCKS 4u

enum gv_operation_kind {
    GV_OPERATION_INSERT =
        0,              /* fingerprints[0..count) follow parent, each the child of the one before */
    GV_OPERATION_TOUCH, /* the anchor fingerprints[0] is used again; count is 1 */
    GV_OPERATION_REMOVE /* raise the floor to stamp; key "*" means all keys; count is 0 */
};

enum gv_floor_reason {
    GV_FLOOR_REMOVED = 0, /* the worker was removed */
    GV_FLOOR_RESTARTED,   /* its engine restarted: the KV cache is gone */
    GV_FLOOR_CAPACITY,    /* more than its engine can hold */
    GV_FLOOR_MEMORY,      /* this node is near its memory cap */
    GV_FLOOR_REASON_COUNT
};

struct gv_operation {
    enum gv_operation_kind kind;
    char key[GV_KEY_MAX];        /* "pool::model", or "*" */
    uint32_t worker;             /* index in this process; a URL on the wire */
    uint32_t stamp;              /* seconds of the hybrid clock (since 2020-01-01 00:00 UTC) */
    enum gv_floor_reason reason; /* REMOVE */
    uint32_t depth;  /* of fingerprints[0], from 0. INSERT: a multiple of GV_ANCHOR_BLOCKS; TOUCH:
                        one less than a multiple */
    uint64_t parent; /* INSERT: the anchor that fingerprints[0] follows; 0 at depth 0 */
    uint32_t count;  /* depth + count: at most GV_FINGERPRINTS_MAX */
    const uint64_t *fingerprints; /* borrowed for the call that takes the operation */
};

#define GV_STAMP_EPOCH_S UINT64_C(1577836800) /* 2020-01-01 in Unix seconds */

/** Unix milliseconds to a stamp. */
uint32_t gv_stamp_from_wall_ms(uint64_t wall_ms);

/** Does an insert follow an anchor, does a touch name one, within the depth there may be? */
bool gv_operation_is_anchored(const struct gv_operation *operation);

/** "insert", and "removed" / "restarted" / ... */
const char *gv_operation_name(enum gv_operation_kind kind);
const char *gv_floor_reason_name(enum gv_floor_reason reason);

#endif
