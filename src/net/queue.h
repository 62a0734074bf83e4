/*
 * queue.h - bytes that wait to be sent, in chunks that never move.
 *
 * The kernel, or libuv on its behalf, may hold a chunk while more bytes are added; so a chunk that
 * is held neither moves nor grows. One thread. Private to net/.
 */
#ifndef GV_NET_QUEUE_H
#define GV_NET_QUEUE_H

#include "grapevine/base/err.h"
#include "grapevine/base/list.h"
#include "grapevine/base/slice.h"
#include <uv.h>

struct gv_queue {
    struct gv_list chunks; /* owned */
    size_t bytes;          /* in all chunks */
};

/** Make it empty. */
void gv_queue_init(struct gv_queue *queue);

/** Drop everything; with `keep_first` all but the first chunk, which is held. */
void gv_queue_drop(struct gv_queue *queue, bool keep_first);

/** Copy `bytes` to the end; `first_is_held`: the first chunk may not grow. Errors: GV_ENOMEM, then
 * a part of them may have been added. */
GV_MUST_USE enum gv_err gv_queue_add(struct gv_queue *queue, struct gv_slice bytes,
                                     bool first_is_held);

/** The first chunks as at most `max_count` buffers, and how many bytes they hold. */
unsigned gv_queue_peek(const struct gv_queue *queue, uv_buf_t *buffers, unsigned max_count,
                       size_t *bytes);

/** Drop `bytes` from the front. */
void gv_queue_consume(struct gv_queue *queue, size_t bytes);

/** Bytes of the first chunk; 0 when empty. */
size_t gv_queue_first_bytes(const struct gv_queue *queue);

#endif
