/*
 * stream_send.c - what goes out on a stream.
 *
 * What the kernel takes at once is never copied. The rest goes into chunks; while there are chunks,
 * one uv_write() of the first waits for the kernel to have room again, and its callback sends as
 * many of the others as fit. So the count of queued bytes is true at every moment.
 *
 * What one on_data sends to one stream in small pieces goes out in two system calls: the first
 * piece at once, the others together when on_data returns. A worker's read of many events would
 * else be as many writes to the client.
 */
#include "grapevine/base/assert.h"
#include "stream_in.h"

#define WRITE_BUFS_MAX   16
#define GATHER_BYTES_MAX (16 * 1024) /* of one stream during one on_data; more is sent */

static void on_written(uv_write_t *request, int status);

static void fail_write(struct gv_stream *stream, enum gv_err err)
{
    stream->write_failure = err;
    gv_queue_drop(&stream->queue, stream->is_writing); /* libuv still holds the first */
    if (stream->is_paused || stream->has_ended || stream->is_finishing) {
        gv_stream_close_with(stream, err);
    }
}

/* Hand the first chunk to libuv, which waits for room in the kernel. */
static void wait_for_room(struct gv_stream *stream)
{
    uv_buf_t buffer;
    size_t bytes;
    unsigned count = gv_queue_peek(&stream->queue, &buffer, 1, &bytes);
    int failed = uv_write(&stream->write, (uv_stream_t *)&stream->tcp, &buffer, count, on_written);
    if (failed != 0) {
        fail_write(stream, gv_net_err(failed));
    } else {
        stream->is_writing = true;
    }
}

void gv_stream_flush(struct gv_stream *stream)
{
    while (stream->queue.bytes > 0) {
        uv_buf_t buffers[WRITE_BUFS_MAX];
        size_t offered;
        unsigned count = gv_queue_peek(&stream->queue, buffers, WRITE_BUFS_MAX, &offered);
        int taken = uv_try_write((uv_stream_t *)&stream->tcp, buffers, count);
        if (taken < 0 && taken != UV_EAGAIN) {
            fail_write(stream, gv_net_err(taken));
            return;
        }
        gv_queue_consume(&stream->queue, taken > 0 ? (size_t)taken : 0);
        if (taken < 0 || (size_t)taken < offered) {
            wait_for_room(stream);
            return;
        }
    }
}

void gv_stream_send_gathered(struct gv_stream *stream)
{
    if (stream->thing.closed || !stream->is_gathered) {
        return;
    }
    GV_ASSERT(stream->is_open && !stream->is_writing && stream->queue.bytes > 0);
    gv_list_remove(&stream->gathered_link);
    stream->is_gathered = false;
    gv_stream_flush(stream);
    if (stream->is_finishing) {
        gv_stream_finish_if_sent(stream);
    }
}

/* May this piece wait until on_data returns? */
static bool may_gather(struct gv_stream *stream, size_t bytes)
{
    struct gv_loop *loop = stream->thing.loop;
    bool is_first = stream->sent_in_read != loop->read_number;
    stream->sent_in_read = loop->read_number;
    size_t held = stream->queue.bytes + bytes;
    return loop->is_reading && !is_first && stream->is_open && !stream->is_writing &&
           held <= GATHER_BYTES_MAX && held <= stream->limits.high_mark_bytes;
}

static enum gv_err queue_both(struct gv_stream *stream, struct gv_slice bytes, struct gv_slice more)
{
    if (gv_queue_add(&stream->queue, bytes, stream->is_writing) != GV_OK ||
        gv_queue_add(&stream->queue, more, stream->is_writing) != GV_OK) {
        gv_stream_close_with(stream, GV_ENOMEM);
        return GV_ENOMEM;
    }
    return GV_OK;
}

static enum gv_err gather(struct gv_stream *stream, struct gv_slice bytes, struct gv_slice more)
{
    enum gv_err err = queue_both(stream, bytes, more);
    if (err == GV_OK && stream->queue.bytes > 0 && !stream->is_gathered) {
        gv_list_add(&stream->thing.loop->gathered, &stream->gathered_link);
        stream->is_gathered = true;
    }
    return err;
}

void gv_stream_tell_drain(struct gv_stream *stream)
{
    if (stream->wants_drain && stream->queue.bytes <= stream->limits.low_mark_bytes) {
        stream->wants_drain = false;
        if (stream->events->on_drain != NULL) {
            stream->events->on_drain(stream->owner);
        }
    }
}

static void on_written(uv_write_t *request, int status)
{
    struct gv_stream *stream = ((uv_handle_t *)request->handle)->data;
    stream->is_writing = false;
    if (stream->thing.closed) {
        return;
    }
    if (status != 0) {
        fail_write(stream, gv_net_err(status));
        return;
    }
    gv_queue_consume(&stream->queue, gv_queue_first_bytes(&stream->queue));
    if (stream->write_failure == GV_OK) {
        gv_stream_flush(stream);
    }
    if (stream->thing.closed || stream->write_failure != GV_OK) {
        return;
    }
    if (stream->is_finishing) {
        gv_stream_finish_if_sent(stream);
    } else {
        gv_stream_tell_drain(stream);
    }
}

static size_t cut_front(struct gv_slice *bytes, size_t count)
{
    size_t part = count < bytes->len ? count : bytes->len;
    if (part > 0) {
        *bytes = gv_slice_of(bytes->data + part, bytes->len - part);
    }
    return count - part;
}

enum gv_err gv_stream_send_raw(struct gv_stream *stream, struct gv_slice bytes,
                               struct gv_slice more)
{
    if (may_gather(stream, bytes.len + more.len)) {
        return gather(stream, bytes, more);
    }
    gv_stream_send_gathered(stream);
    if (stream->thing.closed || stream->write_failure != GV_OK) {
        return GV_ECLOSED;
    }
    if (bytes.len + more.len > 0 && stream->is_open && stream->queue.bytes == 0) {
        uv_buf_t buffers[2];
        unsigned count = 0;
        if (bytes.len > 0) {
            buffers[count++] = (uv_buf_t){.base = (char *)(uintptr_t)bytes.data, .len = bytes.len};
        }
        if (more.len > 0) {
            buffers[count++] = (uv_buf_t){.base = (char *)(uintptr_t)more.data, .len = more.len};
        }
        int taken = uv_try_write((uv_stream_t *)&stream->tcp, buffers, count);
        if (taken < 0 && taken != UV_EAGAIN) {
            fail_write(stream, gv_net_err(taken));
            return GV_ECLOSED;
        }
        size_t rest = cut_front(&bytes, taken > 0 ? (size_t)taken : 0);
        rest = cut_front(&more, rest);
        GV_ASSERT(rest == 0);
    }
    if (queue_both(stream, bytes, more) != GV_OK) {
        return GV_ENOMEM;
    }
    if (stream->queue.bytes > 0 && stream->is_open && !stream->is_writing) {
        wait_for_room(stream);
        if (stream->write_failure != GV_OK) {
            return GV_ECLOSED;
        }
    }
    if (gv_stream_queued_bytes(stream) > stream->limits.high_mark_bytes) {
        stream->wants_drain = true;
        return GV_EFULL;
    }
    return GV_OK;
}

enum gv_err gv_stream_send2(struct gv_stream *stream, struct gv_slice bytes, struct gv_slice more)
{
    if (stream->thing.closed || stream->is_finishing || stream->write_failure != GV_OK) {
        return GV_ECLOSED;
    }
    return stream->tls == NULL ? gv_stream_send_raw(stream, bytes, more)
                               : gv_stream_tls_send(stream, bytes, more);
}

enum gv_err gv_stream_send(struct gv_stream *stream, struct gv_slice bytes)
{
    return gv_stream_send2(stream, bytes, gv_slice_of(NULL, 0));
}

size_t gv_stream_queued_bytes(const struct gv_stream *stream)
{
    size_t early = stream->tls == NULL ? 0 : gv_stream_tls_early_bytes(stream);
    if (!stream->is_writing || stream->queue.bytes == 0) {
        return early + stream->queue.bytes;
    }
    return early + stream->queue.bytes - gv_queue_first_bytes(&stream->queue) +
           uv_stream_get_write_queue_size((const uv_stream_t *)&stream->tcp);
}
