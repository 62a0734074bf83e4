/*
 * blank.c - see blank.h.
 */
#include "support/blank.h"

#include <string.h>

static void apply(void *owner, const struct gv_gossip_operation *operation)
{
    (void)owner;
    (void)operation;
}

static bool snapshot_next(void *owner, uint8_t cursor[32], const struct gv_gossip_part *part,
                          uint32_t since_stamp, struct gv_gossip_operation *operation)
{
    (void)owner;
    (void)cursor;
    (void)part;
    (void)since_stamp;
    (void)operation;
    return false;
}

static void deep_digest(void *owner, uint8_t digest[16])
{
    (void)owner;
    memset(digest, 0, 16);
}

struct gv_gossip_store gv_blank_store(void)
{
    return (struct gv_gossip_store){
        .apply = apply, .snapshot_next = snapshot_next, .deep_digest = deep_digest};
}
