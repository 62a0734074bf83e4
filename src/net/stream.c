/*
 * stream.c - a TCP connection over libuv.
 *
 * Sending: what the kernel takes at once is never copied. The rest goes into chunks; while there
 * are chunks, one uv_write() of the first waits for the kernel to have room again, and its callback
 * sends as many of the others as fit. So the count of queued bytes is true at every moment.
 *
 * What one on_data sends to one stream in small pieces goes out in two system calls: the first
 * piece at once, the others together when on_data returns. A worker's read of many events would
 * else be as many writes to the client.
 *
 * A failed write does not end the stream at once: what the peer sent before it went (an early
 * answer, say) may still wait to be read. Reading goes on until the kernel reports the end, which
 * is then not a clean one. Only a paused stream, which nobody reads, is closed right away.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* POLLRDHUP */
#endif
#include "grapevine/net/stream.h"

#include "grapevine/base/assert.h"
#include "grapevine/base/mem.h"
#include "inner.h"
#include "queue.h"
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#define KEEPALIVE_S          30
#define WRITE_BUFS_MAX       16
#define GATHER_BYTES_MAX     (16 * 1024) /* of one stream during one on_data; more is sent */
#define PAUSED_LOOK_MS       200
#define PAUSED_BATCH         64
#define END_WAIT_MS          500  /* after our own end, how long we wait for the peer's */
#define LAST_WORDS_LINGER_MS 5000 /* for what is queued when a peer without on_end has ended */

struct gv_stream {
    struct gv_thing thing;
    uv_tcp_t tcp;
    uv_timer_t linger; /* a handle only while has_linger */
    uv_connect_t connect;
    uv_write_t write;
    uv_shutdown_t shutdown;
    const struct gv_stream_events *events; /* borrowed; NULL until adopted */
    void *owner;                           /* borrowed */
    struct gv_stream_limits limits;
    struct gv_addr peer;
    struct gv_queue queue;
    struct gv_list paused_link;   /* in loop->paused while paused */
    struct gv_list gathered_link; /* in loop->gathered while pieces wait for on_data to return */
    uint64_t sent_in_read;        /* the loop's read_number when it last sent */
    uint64_t finish_by_ms;        /* when is_finishing */
    enum gv_err why;              /* for on_closed */
    enum gv_err write_failure;    /* GV_OK while sending works */
    bool is_open;                 /* connected */
    bool is_paused;
    bool has_ended; /* the peer sends no more */
    bool is_writing;
    bool is_gathered; /* in loop->gathered */
    bool wants_drain;
    bool is_finishing;
    bool is_shut; /* our end was sent */
    bool has_linger;
    bool is_silent; /* no on_closed: the call that opened it has failed */
};

static void finish_if_sent(struct gv_stream *stream);
static void send_gathered(struct gv_stream *stream);
static void on_written(uv_write_t *request, int status);

/* ---- closing ---- */

static void gone(struct gv_thing *thing)
{
    struct gv_stream *stream = (struct gv_stream *)(void *)thing;
    gv_queue_drop(&stream->queue, false);
    GV_ASSERT(stream->queue.bytes == 0);
    if (!stream->is_silent && stream->events != NULL && stream->events->on_closed != NULL) {
        stream->events->on_closed(stream->owner, stream->why);
    }
}

static void close_with(struct gv_stream *stream, enum gv_err why)
{
    if (stream->thing.closed) {
        return;
    }
    stream->thing.closed = true;
    stream->why = why;
    gv_list_remove(&stream->paused_link);
    gv_list_remove(&stream->gathered_link);
    gv_thing_close_handle(&stream->thing, &stream->tcp);
    if (stream->has_linger) {
        gv_thing_close_handle(&stream->thing, &stream->linger);
    }
}

static void close_thing(struct gv_thing *thing)
{
    close_with((struct gv_stream *)(void *)thing, GV_OK);
}

void gv_stream_close(struct gv_stream *stream)
{
    send_gathered(stream); /* what was sent before is not dropped for having been gathered */
    close_with(stream, GV_OK);
}

void gv_stream_reset(struct gv_stream *stream)
{
    uv_os_fd_t fd;
    if (!stream->thing.closed && uv_fileno((uv_handle_t *)&stream->tcp, &fd) == 0) {
        struct linger at_once = {.l_onoff = 1, .l_linger = 0};
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    }
    close_with(stream, GV_OK);
}

/* ---- reading ---- */

static void lend_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    (void)suggested;
    struct gv_stream *stream = handle->data;
    *buffer = uv_buf_init((char *)stream->thing.loop->read_buffer, GV_LOOP_READ_BYTES);
}

static void end(struct gv_stream *stream)
{
    if (stream->write_failure != GV_OK) {
        close_with(stream, stream->write_failure);
        return;
    }
    stream->has_ended = true;
    gv_list_remove(&stream->paused_link);
    (void)uv_read_stop((uv_stream_t *)&stream->tcp);
    if (stream->is_finishing) {
        finish_if_sent(stream);
    } else if (stream->events->on_end != NULL) {
        stream->events->on_end(stream->owner);
    } else if (stream->queue.bytes == 0) {
        close_with(stream, GV_OK);
    } else {
        gv_stream_finish(stream, LAST_WORDS_LINGER_MS);
    }
}

/* Hand bytes to the owner, then send what that made it send. */
static void give(struct gv_stream *stream, struct gv_slice bytes)
{
    struct gv_loop *loop = stream->thing.loop;
    loop->read_number += 1;
    loop->is_reading = true;
    stream->events->on_data(stream->owner, bytes);
    loop->is_reading = false;
    struct gv_list *at;
    while ((at = gv_list_first(&loop->gathered)) != NULL) {
        send_gathered(GV_CONTAINER(at, struct gv_stream, gathered_link));
    }
}

static void on_read(uv_stream_t *handle, ssize_t count, const uv_buf_t *buffer)
{
    struct gv_stream *stream = handle->data;
    if (stream->thing.closed || count == 0) {
        return;
    }
    if (count == UV_EOF) {
        end(stream);
    } else if (count < 0) {
        close_with(stream, gv_net_err((int)count));
    } else if (!stream->is_finishing) { /* what comes after our last word is read and dropped */
        give(stream, gv_slice_of(buffer->base, (size_t)count));
    }
}

static void read_on(struct gv_stream *stream)
{
    if (stream->thing.closed || !stream->is_open || stream->is_paused || stream->has_ended) {
        return;
    }
    int failed = uv_read_start((uv_stream_t *)&stream->tcp, lend_buffer, on_read);
    if (failed != 0 && failed != UV_EALREADY) {
        close_with(stream, gv_net_err(failed));
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
        end(stream);
    } else if (got < 0 && errno != EAGAIN && errno != EINTR) {
        close_with(stream, gv_net_err(-errno));
    }
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
        close_with(stream, stream->write_failure);
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
    read_on(stream);
}

/* ---- sending ---- */

static void fail_write(struct gv_stream *stream, enum gv_err err)
{
    stream->write_failure = err;
    gv_queue_drop(&stream->queue, stream->is_writing); /* libuv still holds the first */
    if (stream->is_paused || stream->has_ended || stream->is_finishing) {
        close_with(stream, err);
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

/* Send chunks until there are none or the kernel is full. */
static void flush(struct gv_stream *stream)
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

/* Send what was gathered, if anything; the kernel may take a part. */
static void send_gathered(struct gv_stream *stream)
{
    if (stream->thing.closed || !stream->is_gathered) {
        return;
    }
    GV_ASSERT(stream->is_open && !stream->is_writing && stream->queue.bytes > 0);
    gv_list_remove(&stream->gathered_link);
    stream->is_gathered = false;
    flush(stream);
    if (stream->is_finishing) {
        finish_if_sent(stream);
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
        close_with(stream, GV_ENOMEM);
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
        flush(stream);
    }
    if (stream->thing.closed || stream->write_failure != GV_OK) {
        return;
    }
    if (stream->is_finishing) {
        finish_if_sent(stream);
    } else if (stream->wants_drain && stream->queue.bytes <= stream->limits.low_mark_bytes) {
        stream->wants_drain = false;
        if (stream->events->on_drain != NULL) {
            stream->events->on_drain(stream->owner);
        }
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

enum gv_err gv_stream_send2(struct gv_stream *stream, struct gv_slice bytes, struct gv_slice more)
{
    if (stream->thing.closed || stream->is_finishing || stream->write_failure != GV_OK) {
        return GV_ECLOSED;
    }
    if (may_gather(stream, bytes.len + more.len)) {
        return gather(stream, bytes, more);
    }
    send_gathered(stream);
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

enum gv_err gv_stream_send(struct gv_stream *stream, struct gv_slice bytes)
{
    return gv_stream_send2(stream, bytes, gv_slice_of(NULL, 0));
}

size_t gv_stream_queued_bytes(const struct gv_stream *stream)
{
    if (!stream->is_writing || stream->queue.bytes == 0) {
        return stream->queue.bytes;
    }
    return stream->queue.bytes - gv_queue_first_bytes(&stream->queue) +
           uv_stream_get_write_queue_size((const uv_stream_t *)&stream->tcp);
}

/* ---- finishing ---- */

static void on_linger_over(uv_timer_t *timer)
{
    struct gv_stream *stream = timer->data;
    close_with(stream, stream->queue.bytes == 0 ? GV_OK : GV_ETIMEOUT);
}

static void wait_at_most(struct gv_stream *stream, uint64_t delay_ms)
{
    int failed = uv_timer_start(&stream->linger, on_linger_over, delay_ms, 0);
    GV_ASSERT(failed == 0);
}

/* Our end is sent. Closing now could turn into a reset that destroys what the peer has not read
 * yet; so wait a little for its end. */
static void on_shut(uv_shutdown_t *request, int status)
{
    struct gv_stream *stream = ((uv_handle_t *)request->handle)->data;
    if (stream->thing.closed) {
        return;
    }
    if (status != 0 || stream->has_ended) {
        close_with(stream, status == 0 ? GV_OK : gv_net_err(status));
        return;
    }
    uint64_t now_ms = gv_loop_now_ms(stream->thing.loop);
    uint64_t left_ms = stream->finish_by_ms > now_ms ? stream->finish_by_ms - now_ms : 0;
    wait_at_most(stream, left_ms < END_WAIT_MS ? left_ms : END_WAIT_MS);
}

static void finish_if_sent(struct gv_stream *stream)
{
    if (stream->thing.closed || !stream->is_open || stream->queue.bytes > 0) {
        return;
    }
    if (!stream->is_shut) {
        stream->is_shut = true;
        int failed = uv_shutdown(&stream->shutdown, (uv_stream_t *)&stream->tcp, on_shut);
        if (failed != 0) {
            close_with(stream, GV_OK);
        }
    } else if (stream->has_ended) {
        close_with(stream, GV_OK);
    }
}

void gv_stream_finish(struct gv_stream *stream, uint64_t linger_ms)
{
    if (stream->thing.closed || stream->is_finishing) {
        return;
    }
    send_gathered(stream);
    if (linger_ms == 0 || stream->write_failure != GV_OK) {
        close_with(stream, stream->write_failure);
        return;
    }
    struct gv_loop *loop = stream->thing.loop;
    stream->is_finishing = true;
    stream->finish_by_ms = gv_loop_now_ms(loop) + linger_ms;
    int failed = uv_timer_init(&loop->uv, &stream->linger);
    GV_ASSERT(failed == 0);
    stream->has_linger = true;
    gv_thing_add_handle(&stream->thing, &stream->linger);
    wait_at_most(stream, linger_ms);
    gv_stream_resume(stream);
    finish_if_sent(stream);
}

/* ---- beginning ---- */

static enum gv_err make(struct gv_loop *loop, unsigned family, struct gv_stream **stream)
{
    struct gv_stream *made = gv_mem_new(GV_MEM_NET, sizeof *made);
    if (made == NULL) {
        return GV_ENOMEM;
    }
    gv_thing_init(&made->thing, loop, close_thing, gone);
    gv_queue_init(&made->queue);
    int failed = uv_tcp_init_ex(&loop->uv, &made->tcp, family);
    if (failed != 0) {
        gv_thing_discard(&made->thing);
        return gv_net_err(failed) == GV_EFULL ? GV_EFULL : GV_EIO;
    }
    gv_thing_add_handle(&made->thing, &made->tcp);
    *stream = made;
    return GV_OK;
}

static void set_options(struct gv_stream *stream)
{
    (void)uv_tcp_nodelay(&stream->tcp, 1);
    (void)uv_tcp_keepalive(&stream->tcp, 1, KEEPALIVE_S);
}

static enum gv_err refuse(struct gv_stream *stream, enum gv_err err)
{
    stream->is_silent = true;
    close_with(stream, err);
    return err;
}

static void on_connected(uv_connect_t *request, int status)
{
    struct gv_stream *stream = ((uv_handle_t *)request->handle)->data;
    if (stream->thing.closed) {
        return;
    }
    if (status != 0) {
        enum gv_err err = gv_net_err(status);
        close_with(stream, err == GV_EREFUSED || err == GV_ETIMEOUT ? err : GV_EIO);
        return;
    }
    stream->is_open = true;
    read_on(stream);
    if (!stream->thing.closed && stream->events->on_open != NULL) {
        stream->events->on_open(stream->owner);
    }
    if (!stream->thing.closed && !stream->is_writing) {
        flush(stream);
    }
    if (!stream->thing.closed && stream->is_finishing) {
        finish_if_sent(stream);
    }
}

enum gv_err gv_stream_connect(struct gv_loop *loop, const struct gv_addr *addr,
                              const struct gv_stream_events *events, void *owner,
                              struct gv_stream_limits limits, struct gv_stream **stream)
{
    if (loop->is_freeing || addr->family == 0) {
        return GV_EIO;
    }
    struct gv_stream *made;
    enum gv_err err = make(loop, addr->family == 4 ? AF_INET : AF_INET6, &made);
    if (err != GV_OK) {
        return err;
    }
    set_options(made);
    made->events = events;
    made->owner = owner;
    made->limits = limits;
    made->peer = *addr;
    struct sockaddr_storage to;
    gv_net_to_sockaddr(addr, false, &to);
    int failed =
        uv_tcp_connect(&made->connect, &made->tcp, (const struct sockaddr *)&to, on_connected);
    if (failed != 0) {
        return refuse(made, gv_net_err(failed) == GV_EFULL ? GV_EFULL : GV_EIO);
    }
    *stream = made;
    return GV_OK;
}

enum gv_err gv_stream_accept(struct gv_loop *loop, int fd, const struct gv_addr *peer,
                             struct gv_stream **stream)
{
    struct gv_stream *made;
    enum gv_err err = make(loop, AF_UNSPEC, &made);
    if (err != GV_OK) {
        (void)close(fd);
        return err;
    }
    int failed = uv_tcp_open(&made->tcp, fd);
    if (failed != 0) {
        (void)close(fd);
        return refuse(made, GV_EIO);
    }
    set_options(made);
    made->peer = *peer;
    made->is_open = true;
    *stream = made;
    return GV_OK;
}

bool gv_stream_is_adopted(const struct gv_stream *stream)
{
    return stream->events != NULL || stream->thing.closed;
}

void gv_stream_adopt(struct gv_stream *stream, const struct gv_stream_events *events, void *owner,
                     struct gv_stream_limits limits)
{
    GV_ASSERT(stream->events == NULL && !stream->thing.closed);
    stream->events = events;
    stream->owner = owner;
    stream->limits = limits;
    read_on(stream);
}

void gv_stream_set_owner(struct gv_stream *stream, const struct gv_stream_events *events,
                         void *owner)
{
    stream->events = events;
    stream->owner = owner;
}

struct gv_addr gv_stream_peer(const struct gv_stream *stream)
{
    return stream->peer;
}

struct gv_addr gv_stream_local(const struct gv_stream *stream)
{
    struct sockaddr_storage local;
    int len = (int)sizeof local;
    struct gv_addr addr = {.family = 0};
    if (!stream->thing.closed &&
        uv_tcp_getsockname(&stream->tcp, (struct sockaddr *)&local, &len) == 0) {
        addr = gv_net_from_sockaddr((const struct sockaddr *)&local);
    }
    return addr;
}
