/*
 * buf.c - grow by doubling, slide down before growing, never over the limit.
 */
#include "grapevine/base/buf.h"
#include "grapevine/base/assert.h"
#include <stdarg.h>
#include <stdio.h>

#define FIRST_BYTES 256 /* the first allocation, unless the limit is lower */

static void check(const struct gv_buf *buf)
{
    GV_ASSERT(buf->len <= buf->max_bytes);
    GV_ASSERT(buf->start <= buf->room && buf->len <= buf->room - buf->start);
    GV_ASSERT(buf->data != NULL || buf->room == 0);
}

void gv_buf_init(struct gv_buf *buf, enum gv_mem_kind kind, size_t max_bytes)
{
    *buf = (struct gv_buf){.max_bytes = max_bytes, .kind = kind};
}

void gv_buf_deinit(struct gv_buf *buf)
{
    gv_mem_free(buf->kind, buf->data);
    gv_buf_init(buf, buf->kind, buf->max_bytes);
}

static size_t grown(const struct gv_buf *buf, size_t needed)
{
    size_t room = buf->room < FIRST_BYTES ? FIRST_BYTES : buf->room;
    while (room < needed) {
        room = room > SIZE_MAX / 2 ? needed : room * 2;
    }
    return room > buf->max_bytes ? buf->max_bytes : room;
}

static enum gv_err move_to(struct gv_buf *buf, size_t room)
{
    uint8_t *data = gv_mem_resize(buf->kind, buf->data, room);
    if (data == NULL) {
        return GV_ENOMEM;
    }
    buf->data = data;
    buf->room = room;
    return GV_OK;
}

enum gv_err gv_buf_fit(struct gv_buf *buf, size_t bytes)
{
    check(buf);
    if (bytes > buf->max_bytes - buf->len) {
        return GV_ETOOBIG;
    }
    size_t needed = buf->start + buf->len + bytes;
    return needed > buf->room ? move_to(buf, needed) : GV_OK;
}

enum gv_err gv_buf_reserve_grown(struct gv_buf *buf, size_t bytes, uint8_t **where)
{
    check(buf);
    if (bytes > buf->max_bytes - buf->len) {
        return GV_ETOOBIG;
    }
    size_t needed = buf->len + bytes;
    if (needed > buf->room - buf->start && buf->start > 0) {
        memmove(buf->data, buf->data + buf->start, buf->len);
        buf->start = 0;
    }
    if (needed > buf->room || buf->data == NULL) {
        enum gv_err err = move_to(buf, grown(buf, needed));
        if (err != GV_OK) {
            return err;
        }
    }
    *where = buf->data + buf->start + buf->len;
    return GV_OK;
}

enum gv_err gv_buf_append_grown(struct gv_buf *buf, struct gv_slice bytes)
{
    if (bytes.len == 0) {
        return GV_OK;
    }
    uint8_t *where;
    enum gv_err err = gv_buf_reserve(buf, bytes.len, &where);
    if (err != GV_OK) {
        return err;
    }
    memcpy(where, bytes.data, bytes.len);
    gv_buf_commit(buf, bytes.len);
    return GV_OK;
}

enum gv_err gv_buf_append_u64(struct gv_buf *buf, uint64_t value)
{
    char digits[20]; /* of UINT64_MAX */
    size_t at = sizeof digits;
    do {
        at -= 1;
        digits[at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    return gv_buf_append(buf, gv_slice_of(digits + at, sizeof digits - at));
}

enum gv_err gv_buf_append_format(struct gv_buf *buf, const char *format, ...)
{
    char small[256];
    va_list args;
    va_start(args, format);
    int made = vsnprintf(small, sizeof small, format, args);
    va_end(args);
    if (made < 0) {
        return GV_EINVAL;
    }
    size_t len = (size_t)made;
    if (len < sizeof small) {
        return gv_buf_append(buf, gv_slice_of(small, len));
    }
    if (len > buf->max_bytes - buf->len) {
        return GV_ETOOBIG;
    }
    char *large = gv_mem_new(buf->kind, len + 1);
    if (large == NULL) {
        return GV_ENOMEM;
    }
    va_start(args, format);
    made = vsnprintf(large, len + 1, format, args);
    va_end(args);
    enum gv_err err = made < 0 ? GV_EINVAL : gv_buf_append(buf, gv_slice_of(large, len));
    gv_mem_free(buf->kind, large);
    return err;
}

void gv_buf_consume(struct gv_buf *buf, size_t bytes)
{
    check(buf);
    GV_ASSERT(bytes <= buf->len);
    buf->len -= bytes;
    buf->start = buf->len == 0 ? 0 : buf->start + bytes;
}

void gv_buf_clear(struct gv_buf *buf)
{
    check(buf);
    buf->start = 0;
    buf->len = 0;
}

void gv_buf_reset(struct gv_buf *buf)
{
    gv_buf_deinit(buf);
}
