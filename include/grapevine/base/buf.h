/*
 * buf.h - a growing run of bytes with a limit.
 *
 * Owned by one thread. Bytes are appended at the end and may be consumed from the front.
 */
#ifndef GV_BASE_BUF_H
#define GV_BASE_BUF_H

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

/** Append a copy. Errors: GV_ETOOBIG over max_bytes, GV_ENOMEM; then nothing was appended. */
GV_MUST_USE enum gv_err gv_buf_append(struct gv_buf *buf, struct gv_slice bytes);

/** Append a NUL-terminated text without its NUL. Errors as gv_buf_append(). */
GV_MUST_USE enum gv_err gv_buf_append_text(struct gv_buf *buf, const char *text);

/** Append formatted text. Errors as gv_buf_append(). */
GV_MUST_USE enum gv_err gv_buf_append_format(struct gv_buf *buf, const char *format, ...)
    GV_PRINTF(2, 3);

/** Append a number in decimal. Errors as gv_buf_append(). */
GV_MUST_USE enum gv_err gv_buf_append_u64(struct gv_buf *buf, uint64_t value);

/** Room for `bytes` more and no spare: for what is known to come. Errors: as gv_buf_reserve(). */
GV_MUST_USE enum gv_err gv_buf_fit(struct gv_buf *buf, size_t bytes);

/**
 * Make room for `bytes` more and return where they go in `*where`; then gv_buf_commit() as many as
 * were written. Errors as gv_buf_append().
 */
GV_MUST_USE enum gv_err gv_buf_reserve(struct gv_buf *buf, size_t bytes, uint8_t **where);
void gv_buf_commit(struct gv_buf *buf, size_t bytes);

/** Drop `bytes` from the front; at most len. */
void gv_buf_consume(struct gv_buf *buf, size_t bytes);

/** Drop all bytes, keep the memory. */
void gv_buf_clear(struct gv_buf *buf);

/** Drop all bytes and give back the memory. */
void gv_buf_reset(struct gv_buf *buf);

#endif
