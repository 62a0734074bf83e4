/*
 * sse.c - lines to events. Whole lines are read where they lie; only a line that was cut is kept.
 */
#include "grapevine/http/sse.h"
#include "grapevine/base/assert.h"

void gv_sse_init(struct gv_sse *sse, size_t max_event_bytes)
{
    *sse = (struct gv_sse){0};
    gv_buf_init(&sse->line, GV_MEM_BUFFER, max_event_bytes);
    gv_buf_init(&sse->data, GV_MEM_BUFFER, max_event_bytes);
}

void gv_sse_deinit(struct gv_sse *sse)
{
    gv_buf_deinit(&sse->line);
    gv_buf_deinit(&sse->data);
}

/* Too large, or no memory: the event passes by unread, to its end. */
static void give_up(struct gv_sse *sse)
{
    sse->overflowed = true;
    gv_buf_clear(&sse->line);
    gv_buf_clear(&sse->data);
}

static void keep(struct gv_sse *sse, struct gv_buf *where, struct gv_slice bytes)
{
    if (!sse->overflowed && gv_buf_append(where, bytes) != GV_OK) {
        give_up(sse);
    }
}

static void end_event(struct gv_sse *sse, gv_sse_fn on_event, void *owner)
{
    if (sse->has_data || sse->overflowed) {
        sse->event_count += 1;
        struct gv_slice data = gv_buf_slice(&sse->data);
        sse->done = sse->done || gv_slice_is(data, "[DONE]");
        if (on_event != NULL) {
            on_event(owner, data);
        }
    }
    gv_buf_clear(&sse->data);
    sse->has_data = false;
    sse->overflowed = false;
}

/* A line that is not blank, without its end. Only data fields matter here. */
static void read_line(struct gv_sse *sse, struct gv_slice line)
{
    if (!sse->past_first_line && gv_slice_starts_with(line, "\xef\xbb\xbf")) {
        line = gv_slice_of(line.data + 3, line.len - 3);
    }
    sse->past_first_line = true;
    if (gv_slice_starts_with(line, "data:")) {
        size_t skip = line.len > 5 && line.data[5] == ' ' ? 6 : 5;
        line = gv_slice_of(line.data + skip, line.len - skip);
    } else if (gv_slice_is(line, "data")) {
        line = gv_slice_of(NULL, 0);
    } else {
        return;
    }
    if (sse->has_data) {
        keep(sse, &sse->data, gv_slice_of("\n", 1));
    }
    sse->has_data = true;
    keep(sse, &sse->data, line);
}

/* The line that ends with `rest`. */
static void end_line(struct gv_sse *sse, struct gv_slice rest, gv_sse_fn on_event, void *owner)
{
    bool is_blank = !sse->line_has_bytes && rest.len == 0;
    sse->line_has_bytes = false;
    if (is_blank) {
        sse->past_first_line = true;
        end_event(sse, on_event, owner);
        return;
    }
    if (sse->line.len > 0) {
        keep(sse, &sse->line, rest);
        rest = gv_buf_slice(&sse->line);
    }
    if (!sse->overflowed && rest.len <= sse->line.max_bytes) {
        read_line(sse, rest);
    } else {
        give_up(sse);
    }
    gv_buf_clear(&sse->line);
}

/* Bytes before the first line end; all of them when there is none. */
static size_t line_bytes(struct gv_slice bytes)
{
    const uint8_t *lf = memchr(bytes.data, '\n', bytes.len);
    size_t len = lf == NULL ? bytes.len : (size_t)(lf - bytes.data);
    const uint8_t *cr = len == 0 ? NULL : memchr(bytes.data, '\r', len);
    return cr == NULL ? len : (size_t)(cr - bytes.data);
}

void gv_sse_feed(struct gv_sse *sse, struct gv_slice bytes, gv_sse_fn on_event, void *owner)
{
    while (bytes.len > 0) {
        if (sse->last_was_cr && bytes.data[0] == '\n') {
            bytes = gv_slice_of(bytes.data + 1, bytes.len - 1);
            sse->last_was_cr = false;
            continue;
        }
        sse->last_was_cr = false;
        size_t len = line_bytes(bytes);
        struct gv_slice line = gv_slice_of(bytes.data, len);
        if (len == bytes.len) {
            sse->line_has_bytes = true;
            keep(sse, &sse->line, line);
            return;
        }
        sse->last_was_cr = bytes.data[len] == '\r';
        end_line(sse, line, on_event, owner);
        bytes = gv_slice_of(bytes.data + len + 1, bytes.len - len - 1);
    }
}
