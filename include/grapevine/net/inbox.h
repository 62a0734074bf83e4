/*
 * inbox.h - the only way from one thread to another: a queue that wakes its loop.
 */
#ifndef GV_NET_INBOX_H
#define GV_NET_INBOX_H

#include "grapevine/net/loop.h"

struct gv_inbox;

/** Runs on the loop's thread, once per message, in the order of the posts. `message` is moved. */
typedef void (*gv_inbox_fn)(void *owner, void *message);

/** Open an inbox on `loop` that holds at most `max_count` messages. On the loop's thread or before
 * it runs. */
GV_MUST_USE enum gv_err gv_inbox_open(struct gv_loop *loop, uint32_t max_count,
                                      gv_inbox_fn on_message, void *owner, struct gv_inbox **inbox);

/**
 * Hand `message` to the loop; any thread. On GV_OK it is moved, on failure it stays the caller's.
 * Errors: GV_EFULL max_count messages wait. GV_ECLOSED the inbox was closed.
 */
GV_MUST_USE enum gv_err gv_inbox_post(struct gv_inbox *inbox, void *message);

/**
 * While attended, posts do not wake the loop: the owner promises to call gv_inbox_take_in() soon,
 * time and again. Where messages come thick this saves a wake-up for each, on both sides. On the
 * loop's thread.
 */
void gv_inbox_attend(struct gv_inbox *inbox, bool is_attended);

/** Deliver what waits now, and no more. On the loop's thread. */
void gv_inbox_take_in(struct gv_inbox *inbox);

/** Close; messages that still wait are delivered first. On the loop's thread. Nobody posts any
 * more. */
void gv_inbox_close(struct gv_inbox *inbox);

#endif
