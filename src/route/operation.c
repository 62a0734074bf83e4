/*
 * operation.c - what an operation may refer to, its names, and the step from wall clock to stamp.
 */
#include "grapevine/route/operation.h"

#include "grapevine/base/assert.h"

uint32_t gv_stamp_from_wall_ms(uint64_t wall_ms)
{
    uint64_t wall_s = wall_ms / 1000;
    if (wall_s < GV_STAMP_EPOCH_S) {
        return 0;
    }
    uint64_t stamp = wall_s - GV_STAMP_EPOCH_S;
    return stamp < UINT32_MAX ? (uint32_t)stamp : UINT32_MAX;
}

bool gv_operation_is_anchored(const struct gv_operation *operation)
{
    uint32_t begin = operation->depth + (operation->kind == GV_OPERATION_TOUCH ? 1 : 0);
    return operation->depth < GV_FINGERPRINTS_MAX && begin % GV_ANCHOR_BLOCKS == 0 &&
           operation->count <= GV_FINGERPRINTS_MAX - operation->depth &&
           (operation->kind == GV_OPERATION_TOUCH ||
            (operation->depth == 0) == (operation->parent == 0));
}

const char *gv_operation_name(enum gv_operation_kind kind)
{
    switch (kind) {
    case GV_OPERATION_INSERT:
        return "insert";
    case GV_OPERATION_TOUCH:
        return "touch";
    case GV_OPERATION_REMOVE:
        return "remove";
    }
    return "?";
}

const char *gv_floor_reason_name(enum gv_floor_reason reason)
{
    static const char *const names[GV_FLOOR_REASON_COUNT] = {
        [GV_FLOOR_REMOVED] = "removed",
        [GV_FLOOR_RESTARTED] = "restarted",
        [GV_FLOOR_CAPACITY] = "capacity",
        [GV_FLOOR_MEMORY] = "memory",
    };
    GV_ASSERT(reason < GV_FLOOR_REASON_COUNT);
    return names[reason];
}
