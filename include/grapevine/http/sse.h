/*
 * sse.h - where server-sent events end in a stream of bytes. WHATWG HTML, 9.2.6.
 *
 * Passes bytes through untouched; only watches. Knows the last `data:` payload of each event as
 * long as it fits its limit, so that `[DONE]` and usage can be seen wherever the bytes were cut.
 * Pure.
 */
#ifndef GV_HTTP_SSE_H
#define GV_HTTP_SSE_H

#include "grapevine/base/buf.h"

struct gv_sse {
    struct gv_buf line;   /* owned: the current line, up to its limit */
    struct gv_buf data;   /* owned: data of the current event, up to its limit */
    uint64_t event_count; /* complete events so far */
    bool done;            /* an event whose data is [DONE] has ended */
    bool overflowed;      /* the current event is larger than the limit; its data is not kept */
    bool last_was_cr;     /* a LF that follows belongs to the same line end */
    bool line_has_bytes;  /* the current line is not blank, even where it was not kept */
    bool has_data;        /* the current event has a data field */
    bool past_first_line; /* a byte order mark may stand before the first line only */
};

/** One complete event; `data` borrowed for the call, empty when overflowed. */
typedef void (*gv_sse_fn)(void *owner, struct gv_slice data);

/** Allocates nothing. `max_event_bytes` limits a line and an event's data, each. */
void gv_sse_init(struct gv_sse *sse, size_t max_event_bytes);
void gv_sse_deinit(struct gv_sse *sse);

/** Watch `bytes`; `on_event` may be NULL. */
void gv_sse_feed(struct gv_sse *sse, struct gv_slice bytes, gv_sse_fn on_event, void *owner);

#endif
