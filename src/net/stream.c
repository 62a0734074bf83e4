/*
 * stream.c - a TCP connection over libuv: its beginning and its end.
 *
 * A failed write does not end the stream at once: what the peer sent before it went (an early
 * answer, say) may still wait to be read. Reading goes on until the kernel reports the end, which
 * is then not a clean one. Only a paused stream, which nobody reads, is closed right away.
 */
#include "grapevine/net/stream.h"

#include "grapevine/base/assert.h"
#include "grapevine/base/mem.h"
#include "stream_in.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

/* A peer that is asked whether it is there is given up after half a minute without an answer. The
 * questions are far apart: a network that is gone for some seconds must not cost every silent
 * stream, nor a host with tens of thousands of them ask each once a second. */
#define KEEPALIVE_AGAIN_S 10
#define KEEPALIVE_COUNT   3
#define END_WAIT_MS       500 /* after our own end, how long we wait for the peer's */

/* ---- closing ---- */

static void gone(struct gv_thing *thing)
{
    struct gv_stream *stream = (struct gv_stream *)(void *)thing;
    gv_queue_drop(&stream->queue, false);
    GV_ASSERT(stream->queue.bytes == 0);
    enum gv_err why = stream->tls == NULL ? stream->why : gv_stream_tls_why(stream, stream->why);
    if (!stream->is_silent && stream->events != NULL && stream->events->on_closed != NULL) {
        stream->events->on_closed(stream->owner, why);
    }
    gv_stream_tls_free(stream);
}

void gv_stream_close_with(struct gv_stream *stream, enum gv_err why)
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
    if (stream->tls != NULL) {
        gv_stream_tls_close(stream);
    }
}

static void close_thing(struct gv_thing *thing)
{
    gv_stream_close_with((struct gv_stream *)(void *)thing, GV_OK);
}

void gv_stream_close(struct gv_stream *stream)
{
    if (stream->tls != NULL && !stream->is_finishing) {
        gv_stream_tls_say_end(stream);
    }
    gv_stream_send_gathered(
        stream); /* what was sent before is not dropped for having been gathered */
    gv_stream_close_with(stream, GV_OK);
}

void gv_stream_reset(struct gv_stream *stream)
{
    uv_os_fd_t fd;
    if (!stream->thing.closed && uv_fileno((uv_handle_t *)&stream->tcp, &fd) == 0) {
        struct linger at_once = {.l_onoff = 1, .l_linger = 0};
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    }
    gv_stream_close_with(stream, GV_OK);
}

/* ---- finishing ---- */

static void on_linger_over(uv_timer_t *timer)
{
    struct gv_stream *stream = timer->data;
    gv_stream_close_with(stream, stream->queue.bytes == 0 ? GV_OK : GV_ETIMEOUT);
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
        gv_stream_close_with(stream, status == 0 ? GV_OK : gv_net_err(status));
        return;
    }
    uint64_t now_ms = gv_loop_now_ms(stream->thing.loop);
    uint64_t left_ms = stream->finish_by_ms > now_ms ? stream->finish_by_ms - now_ms : 0;
    wait_at_most(stream, left_ms < END_WAIT_MS ? left_ms : END_WAIT_MS);
}

void gv_stream_finish_if_sent(struct gv_stream *stream)
{
    if (stream->thing.closed || !stream->is_open || stream->queue.bytes > 0 ||
        (stream->tls != NULL && gv_stream_tls_is_shaking(stream))) {
        return;
    }
    if (!stream->is_shut) {
        stream->is_shut = true;
        int failed = uv_shutdown(&stream->shutdown, (uv_stream_t *)&stream->tcp, on_shut);
        if (failed != 0) {
            gv_stream_close_with(stream, GV_OK);
        }
    } else if (stream->has_ended) {
        gv_stream_close_with(stream, GV_OK);
    }
}

void gv_stream_finish(struct gv_stream *stream, uint64_t linger_ms)
{
    if (stream->thing.closed || stream->is_finishing) {
        return;
    }
    gv_stream_send_gathered(stream);
    if (linger_ms == 0 || stream->write_failure != GV_OK) {
        gv_stream_close_with(stream, stream->write_failure);
        return;
    }
    struct gv_loop *loop = stream->thing.loop;
    if (stream->tls != NULL) {
        gv_stream_tls_say_end(stream);
        if (stream->thing.closed) {
            return;
        }
    }
    stream->is_finishing = true;
    stream->finish_by_ms = gv_loop_now_ms(loop) + linger_ms;
    int failed = uv_timer_init(&loop->uv, &stream->linger);
    GV_ASSERT(failed == 0);
    stream->has_linger = true;
    gv_thing_add_handle(&stream->thing, &stream->linger);
    wait_at_most(stream, linger_ms);
    gv_stream_resume(stream);
    gv_stream_finish_if_sent(stream);
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
    int fd;
    int idle = (int)stream->thing.loop->keepalive_s;
    if (idle > 0 && uv_fileno((const uv_handle_t *)&stream->tcp, &fd) == 0) {
        int on = 1, again = KEEPALIVE_AGAIN_S, count = KEEPALIVE_COUNT;
        (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
        (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &again, sizeof again);
        (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
        (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    }
}

static enum gv_err refuse(struct gv_stream *stream, enum gv_err err)
{
    stream->is_silent = true;
    gv_stream_close_with(stream, err);
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
        gv_stream_close_with(stream, err == GV_EREFUSED || err == GV_ETIMEOUT ? err : GV_EIO);
        return;
    }
    stream->is_open = true;
    gv_stream_read_on(stream);
    if (stream->tls != NULL) {
        gv_stream_tls_begin(stream); /* on_open comes when the two have shaken hands */
        return;
    }
    if (!stream->thing.closed && stream->events->on_open != NULL) {
        stream->events->on_open(stream->owner);
    }
    if (!stream->thing.closed && !stream->is_writing) {
        gv_stream_flush(stream);
    }
    if (!stream->thing.closed && stream->is_finishing) {
        gv_stream_finish_if_sent(stream);
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
    gv_stream_read_on(stream);
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
