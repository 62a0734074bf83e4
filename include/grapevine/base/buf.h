/*
 * buf.h - a growing run of bytes with a limit.
 *
 * Owned by one thread. Bytes are appended at the end and may be consumed from the front.
 */
#ifndef GV_BASE_BUF_H
#define GV_BASE_BUF_H

#include "grapevine/base/assert.h"
#include "grapevine/base/err.h"
#include "grapevine/base/mem.h"
#include "grapevine/base/slice.h"

struct gv_buf {
    uint8_t *data;         /* owned; NULL while nothing was appended */
    size_t start;          /* bytes consumed from the front of `data` */
    size_t len;            /* bytes held, from `start` on */
    size_t room;           /* bytes allocated */
    size_t max_bytes;      /* limit on len */
    enum gv_mem_kind kind; /* what the memory is counted as */
};

/** An empty buffer that holds at most `max_bytes`; allocates nothing. */
void gv_buf_init(struct gv_buf *buf, enum gv_mem_kind kind, size_t max_bytes);

/** Free the bytes. The buffer may be initialised again. */
void gv_buf_deinit(struct gv_buf *buf);

/** What it holds; borrowed until the next call that changes it. */
static inline struct gv_slice gv_buf_slice(const struct gv_buf *buf)
{
    return gv_slice_of(buf->data == NULL ? NULL : buf->data + buf->start, buf->len);
}

/** Can `bytes` more be had without moving what is held? */
static inline bool gv_buf_has_room(const struct gv_buf *buf, size_t bytes)
{
    return bytes <= buf->room - buf->start - buf->len && bytes <= buf->max_bytes - buf->len;
}

/** gv_buf_append() where there is no room yet. */
GV_MUST_USE enum gv_err gv_buf_append_grown(struct gv_buf *buf, struct gv_slice bytes);

/** Append a copy. Errors: GV_ETOOBIG over max_bytes, GV_ENOMEM; then nothing was appended. */
GV_MUST_USE static inline enum gv_err gv_buf_append(struct gv_buf *buf, struct gv_slice bytes)
{
    /* Heads are written piece by piece: in most cases all of it is a copy. */
    if (bytes.len > 0 && gv_buf_has_room(buf, bytes.len)) {
        memcpy(buf->data + buf->start + buf->len, bytes.data, bytes.len);
        buf->len += bytes.len;
        return GV_OK;
    }
    return gv_buf_append_grown(buf, bytes);
}

/** Append a NUL-terminated text without its NUL. Errors as gv_buf_append(). */
GV_MUST_USE static inline enum gv_err gv_buf_append_text(struct gv_buf *buf, const char *text)
{
    return gv_buf_append(buf, gv_slice_text(text));
}

/** Append formatted text. Errors as gv_buf_append(). */
GV_MUST_USE enum gv_err gv_buf_append_format(struct gv_buf *buf, const char *format, ...)
    GV_PRINTF(2, 3);

/** Append a number in decimal. Errors as gv_buf_append(). */
GV_MUST_USE enum gv_err gv_buf_append_u64(struct gv_buf *buf, uint64_t value);

/** Room for `bytes` more and no spare: for what is known to come. Errors: as gv_buf_reserve(). */
GV_MUST_USE enum gv_err gv_buf_fit(struct gv_buf *buf, size_t bytes);

/** gv_buf_reserve() where there is no room yet. */
GV_MUST_USE enum gv_err gv_buf_reserve_grown(struct gv_buf *buf, size_t bytes, uint8_t **where);

/**
 * Make room for `bytes` more and return where they go in `*where`; then gv_buf_commit() as many as
 * were written. Errors as gv_buf_append().
 */
GV_MUST_USE static inline enum gv_err gv_buf_reserve(struct gv_buf *buf, size_t bytes,
                                                     uint8_t **where)
{
    if (buf->data != NULL && gv_buf_has_room(buf, bytes)) {
        *where = buf->data + buf->start + buf->len;
        return GV_OK;
    }
    return gv_buf_reserve_grown(buf, bytes, where);
}

static inline void gv_buf_commit(struct gv_buf *buf, size_t bytes)
{
    GV_ASSERT(gv_buf_has_room(buf, bytes));
    buf->len += bytes;
}

/** Drop `bytes` from the front; at most len. */
void gv_buf_consume(struct gv_buf *buf, size_t bytes);

/** Drop all bytes, keep the memory. */
void gv_buf_clear(struct gv_buf *buf);

/** Drop all bytes and give back the memory. */
void gv_buf_reset(struct gv_buf *buf);

#endif
