/*
 * reply.h - a worker's answer on its way to the client of an exchange, with header lines of ours.
 *
 * Who may call: carrier.c, merging.c. One thread.
 */
#ifndef GV_PROXY_REPLY_H
#define GV_PROXY_REPLY_H

#include "legs.h"

/** Send the head of `answer` and the `first` bytes of its body. */
void gv_reply_start(struct gv_carrier *carrier, const struct gv_head *answer,
                    struct gv_slice first);

/** Nothing is left to try: what a worker said, as it said it. */
void gv_reply_kept(struct gv_carrier *carrier);

/** Bytes were sent with `err`: hold the worker back while the client does not take them. */
void gv_reply_sent(struct gv_carrier *carrier, enum gv_err err);

#endif
