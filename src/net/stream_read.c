/*
 * stream_read.c - what comes in on a stream: read, handed over, held back while paused.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* POLLRDHUP */
#endif
#include "grapevine/base/assert.h"
#include "stream_in.h"
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#define PAUSED_LOOK_MS       200
#define PAUSED_BATCH         64
#define LAST_WORDS_LINGER_MS 5000 /* for what is queued when a peer without on_end has ended */

static void lend_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    (void)suggested;
    struct gv_stream *stream = handle->data;
    size_t room = stream->limits.read_bytes;
    room = room > 0 && room < GV_LOOP_READ_BYTES ? room : GV_LOOP_READ_BYTES;
    *buffer = uv_buf_init((char *)stream->thing.loop->read_buffer, (unsigned)room);
}

void gv_stream_end(struct gv_stream *stream)
{
    if (stream->write_failure != GV_OK) {
        gv_stream_close_with(stream, stream->write_failure);
        return;
    }
    stream->has_ended = true;
    gv_list_remove(&stream->paused_link);
    (void)uv_read_stop((uv_stream_t *)&stream->tcp);
    if (stream->is_finishing) {
        gv_stream_finish_if_sent(stream);
    } else if (stream->events->on_end != NULL) {
        stream->events->on_end(stream->owner);
    } else if (stream->queue.bytes == 0) {
        gv_stream_close_with(stream, GV_OK);
    } else {
        gv_stream_finish(stream, LAST_WORDS_LINGER_MS);
    }
}

void gv_stream_give(struct gv_stream *stream, struct gv_slice bytes)
{
    struct gv_loop *loop = stream->thing.loop;
    loop->read_number += 1;
    loop->is_reading = true;
    stream->events->on_data(stream->owner, bytes);
    loop->is_reading = false;
    struct gv_list *at;
    while ((at = gv_list_first(&loop->gathered)) != NULL) {
        gv_stream_send_gathered(GV_CONTAINER(at, struct gv_stream, gathered_link));
    }
}

bool gv_stream_keep(struct gv_stream *stream, struct gv_slice tail, struct gv_buf *buf)
{
    struct gv_loop *loop = stream->thing.loop;
    GV_ASSERT(loop->is_reading && buf->len == 0 && buf->kind == GV_MEM_BUFFER);
    if (stream->tls != NULL || tail.len < GV_LOOP_READ_BYTES / 2 || tail.len > buf->max_bytes) {
        return false;
    }
    size_t start = (size_t)(tail.data - loop->read_buffer);
    GV_ASSERT(start + tail.len == loop->read_bytes); /* nobody else needs what lies behind */
    uint8_t *other = gv_mem_resize(GV_MEM_BUFFER, NULL, GV_LOOP_READ_BYTES);
    if (other == NULL) {
        return false;
    }
    gv_buf_reset(buf);
    buf->data = loop->read_buffer;
    buf->start = start;
    buf->len = tail.len;
    buf->room = GV_LOOP_READ_BYTES;
    loop->read_buffer = other;
    loop->read_bytes = 0;
    return true;
}

/* The kernel says that no more comes. */
static void take_end(struct gv_stream *stream)
{
    if (stream->tls == NULL || gv_stream_tls_take_end(stream)) {
        gv_stream_end(stream);
    }
}

/*
 * libuv makes an end of every hang-up that follows a short read, also of a reset whose last bytes
 * were still to be read. An answer without framing would then look whole. EPIPE is a reset that
 * came after a proper end.
 */
static enum gv_err why_ended(const struct gv_stream *stream)
{
    uv_os_fd_t fd;
    int why = 0;
    socklen_t len = sizeof why;
    if (uv_fileno((const uv_handle_t *)&stream->tcp, &fd) != 0 ||
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &why, &len) != 0 || why == 0 || why == EPIPE) {
        return GV_OK;
    }
    return gv_net_err(-why);
}

static void on_read(uv_stream_t *handle, ssize_t count, const uv_buf_t *buffer)
{
    struct gv_stream *stream = handle->data;
    if (stream->thing.closed || count == 0) {
        return;
    }
    enum gv_err reset = count == UV_EOF ? why_ended(stream) : GV_OK;
    if (reset != GV_OK) {
        gv_stream_close_with(stream, reset);
    } else if (count == UV_EOF) {
        take_end(stream);
    } else if (count < 0) {
        gv_stream_close_with(stream, gv_net_err((int)count));
    } else if (stream->tls != NULL) {
        gv_stream_tls_take(stream, gv_slice_of(buffer->base, (size_t)count));
    } else if (!stream->is_finishing) { /* what comes after our last word is read and dropped */
        stream->thing.loop->read_bytes = (size_t)count;
        gv_stream_give(stream, gv_slice_of(buffer->base, (size_t)count));
    }
}

void gv_stream_read_on(struct gv_stream *stream)
{
    if (stream->thing.closed || !stream->is_open || stream->is_paused || stream->has_ended) {
        return;
    }
    int failed = uv_read_start((uv_stream_t *)&stream->tcp, lend_buffer, on_read);
    if (failed != 0 && failed != UV_EALREADY) {
        gv_stream_close_with(stream, gv_net_err(failed));
    }
}

/*
 * A paused stream is out of the kernel's event set, so nothing of it is noticed by itself. Instead
 * one poll() per PAUSED_LOOK_MS asks for all of a loop. What it then notices: a reset or an end
 * behind which no unread byte waits. With unread bytes the news has to wait for
 * gv_stream_resume(), because on_end must not overtake them.
 */
static void look_at(struct gv_stream *stream, int fd)
{
    char byte;
    ssize_t got = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (got == 0) {
        take_end(stream);
    } else if (got < 0 && errno != EAGAIN && errno != EINTR) {
        gv_stream_close_with(stream, gv_net_err(-errno));
    }
}

bool gv_stream_has_news(const struct gv_stream *stream)
{
    uv_os_fd_t fd;
    char byte;
    if (stream->thing.closed || uv_fileno((const uv_handle_t *)&stream->tcp, &fd) != 0 ||
        (stream->tls != NULL && gv_stream_tls_has_part(stream))) {
        return true;
    }
    return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || (errno != EAGAIN && errno != EINTR);
}

/* Look at the first of the list and put them at its end; how many they were. */
static size_t look_at_some(struct gv_loop *loop)
{
    struct gv_stream *streams[PAUSED_BATCH];
    struct pollfd fds[PAUSED_BATCH];
    struct gv_list *last = loop->paused.prev;
    size_t taken = 0;
    nfds_t count = 0;
    bool was_last = gv_list_is_empty(&loop->paused);
    while (taken < PAUSED_BATCH && !was_last) {
        struct gv_list *at = gv_list_first(&loop->paused);
        was_last = at == last;
        gv_list_remove(at);
        gv_list_add(&loop->paused, at);
        taken += 1;
        struct gv_stream *stream = GV_CONTAINER(at, struct gv_stream, paused_link);
        uv_os_fd_t fd;
        if (stream->is_open && uv_fileno((uv_handle_t *)&stream->tcp, &fd) == 0) {
            streams[count] = stream;
            fds[count++] = (struct pollfd){.fd = fd, .events = POLLRDHUP};
        }
    }
    if (count == 0 || poll(fds, count, 0) <= 0) {
        return taken;
    }
    for (nfds_t i = 0; i < count; i++) {
        /* Closed by a neighbour's callback it is still memory: nothing is reaped in a timer. */
        if (fds[i].revents != 0 && streams[i]->is_paused && !streams[i]->thing.closed) {
            look_at(streams[i], fds[i].fd);
        }
    }
    return taken;
}

static void on_paused_look(uv_timer_t *timer)
{
    struct gv_loop *loop = timer->data;
    size_t count = 0;
    GV_LIST_EACH(&loop->paused, at, following)
    {
        count += 1;
    }
    for (size_t looked = 0; looked < count;) {
        size_t some = look_at_some(loop);
        if (some == 0) {
            break;
        }
        looked += some;
    }
    if (gv_list_is_empty(&loop->paused)) {
        (void)uv_timer_stop(&loop->paused_look);
    }
}

void gv_stream_pause(struct gv_stream *stream)
{
    if (stream->thing.closed || stream->is_paused || stream->has_ended || stream->is_finishing) {
        return;
    }
    stream->is_paused = true;
    if (stream->is_open) {
        (void)uv_read_stop((uv_stream_t *)&stream->tcp);
    }
    if (stream->write_failure != GV_OK) {
        gv_stream_close_with(stream, stream->write_failure);
        return;
    }
    struct gv_loop *loop = stream->thing.loop;
    gv_list_add(&loop->paused, &stream->paused_link);
    if (!uv_is_active((uv_handle_t *)&loop->paused_look)) {
        int failed =
            uv_timer_start(&loop->paused_look, on_paused_look, PAUSED_LOOK_MS, PAUSED_LOOK_MS);
        GV_ASSERT(failed == 0);
    }
}

void gv_stream_resume(struct gv_stream *stream)
{
    if (!stream->is_paused) {
        return;
    }
    stream->is_paused = false;
    gv_list_remove(&stream->paused_link);
    gv_stream_read_on(stream);
}
