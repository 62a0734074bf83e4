/*
 * outbox.h - the effects of one event, in order, and the bytes they carry. Private to gossip.
 *
 * Bytes are shared by the effects that send the same message to many sessions. They live until the
 * first event after the queue was drained.
 */
#ifndef GV_GOSSIP_OUTBOX_H
#define GV_GOSSIP_OUTBOX_H

#include "grapevine/base/arena.h"
#include "grapevine/gossip/engine.h"

struct gv_outbox {
    struct gv_effect *effects; /* owned */
    struct gv_arena bytes;     /* of messages */
    size_t count, next, room;  /* effects[next..count) wait */
};

void gv_outbox_init(struct gv_outbox *outbox);
void gv_outbox_deinit(struct gv_outbox *outbox);

/** An event begins: give back the bytes of the last one if its effects were all taken. */
void gv_outbox_begin(struct gv_outbox *outbox);

/** `bytes` of memory for a message, to be pointed to by effects. NULL: out of memory. */
GV_MUST_USE uint8_t *gv_outbox_bytes(struct gv_outbox *outbox, size_t bytes);

/** Append a copy of `effect`. false: out of memory. */
GV_MUST_USE bool gv_outbox_add(struct gv_outbox *outbox, const struct gv_effect *effect);

/** The next effect; false when none waits. */
bool gv_outbox_next(struct gv_outbox *outbox, struct gv_effect *effect);

#endif
