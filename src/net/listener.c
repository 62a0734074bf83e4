/*
 * listener.c - accepting, by our own socket watched by libuv.
 *
 * libuv's own listening is not used: it has no SO_REUSEPORT, and when descriptors run out it
 * accepts connections only to drop them. Here they wait in the kernel's queue until the pause is
 * over. A socket that a supervisor made to listen is shared by all loops: whoever is free accepts.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* accept4() */
#endif
#include "grapevine/net/listener.h"

#include "grapevine/base/assert.h"
#include "grapevine/base/log.h"
#include "grapevine/base/mem.h"
#include "grapevine/base/metric.h"
#include "inner.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG_DEFAULT    1024
#define ACCEPTS_PER_TURN   64
#define TCP_FLAGS_AT       13
#define TCP_SYN            0x02
#define TCP_ACK            0x10
#define PAUSE_MS           100
#define PAUSE_LOG_EVERY_MS 60000

struct gv_listener {
    struct gv_thing thing;
    uv_poll_t poll;
    uv_timer_t pause;
    int fd; /* owned */
    struct gv_addr addr;
    bool is_inherited;
    struct gv_tls *tls; /* borrowed; NULL: plain */
    gv_accept_fn on_accept;
    void *owner; /* borrowed */
    struct gv_net_metrics metrics;
    uint64_t logged_at_ms; /* 0: never */
};

static void on_ready(uv_poll_t *poll, int status, int events);

static void watch(struct gv_listener *listener)
{
    int failed = uv_poll_start(&listener->poll, UV_READABLE, on_ready);
    GV_ASSERT(failed == 0);
}

static void on_pause_over(uv_timer_t *timer)
{
    watch(timer->data);
}

static void pause_accepting(struct gv_listener *listener, int error)
{
    (void)uv_poll_stop(&listener->poll);
    int failed = uv_timer_start(&listener->pause, on_pause_over, PAUSE_MS, 0);
    GV_ASSERT(failed == 0);
    gv_metric_add(listener->metrics.accept_pauses, 1);
    uint64_t now_ms = gv_loop_now_ms(listener->thing.loop);
    if (listener->logged_at_ms == 0 || now_ms - listener->logged_at_ms >= PAUSE_LOG_EVERY_MS) {
        listener->logged_at_ms = now_ms;
        char text[GV_ADDR_TEXT_BYTES];
        gv_log(GV_LOG_WARN, "listener.pause", GV_STR("addr", gv_addr_format(&listener->addr, text)),
               GV_STR("reason", uv_strerror(-error)));
    }
}

static bool is_shortage(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

static void accept_one(struct gv_listener *listener, int fd, const struct sockaddr *from)
{
    struct gv_addr peer = gv_net_from_sockaddr(from);
    struct gv_stream *stream;
    if (gv_stream_accept(listener->thing.loop, fd, &peer, &stream) != GV_OK) {
        pause_accepting(listener, ENOMEM);
        return;
    }
    gv_metric_add(listener->metrics.accepted, 1);
    if (listener->tls != NULL && gv_stream_secure(stream, listener->tls, NULL) != GV_OK) {
        gv_stream_reset(stream);
        return;
    }
    listener->on_accept(listener->owner, stream);
    if (!gv_stream_is_adopted(stream)) {
        gv_stream_close(stream);
    }
}

/* At most `most` of those that wait. */
static void accept_some(struct gv_listener *listener, int most)
{
    for (int i = 0; i < most && !listener->thing.closed; i++) {
        struct sockaddr_storage from;
        socklen_t len = sizeof from;
        int fd =
            accept4(listener->fd, (struct sockaddr *)&from, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            accept_one(listener, fd, (const struct sockaddr *)&from);
        } else if (errno == EAGAIN) {
            return;
        } else if (is_shortage(errno)) {
            pause_accepting(listener, errno);
            return;
        } /* else: this one connection failed before we took it (ECONNABORTED and its kind) */
    }
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
    (void)status; /* accept4() tells better */
    (void)events;
    accept_some(poll->data, ACCEPTS_PER_TURN);
}

/* What comes to a TCP socket's filter begins with the TCP header. A SYN without ACK is dropped
 * unanswered; its sender repeats it in a second, and finds the port closed, or open again. */
void gv_listener_shut(struct gv_listener *listener)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, TCP_FLAGS_AT),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, TCP_SYN | TCP_ACK),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TCP_SYN, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
    };
    const struct sock_fprog filter = {.len = sizeof code / sizeof code[0], .filter = code};
    if (!listener->is_inherited &&
        setsockopt(listener->fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter) != 0) {
        gv_log(GV_LOG_DEBUG, "listener.unshut", GV_STR("reason", uv_strerror(-errno)));
    }
}

void gv_listener_finish(struct gv_listener *listener)
{
    if (listener != NULL && !listener->is_inherited) {
        accept_some(listener, BACKLOG_DEFAULT);
    }
    gv_listener_close(listener);
}

static void gone(struct gv_thing *thing)
{
    struct gv_listener *listener = (struct gv_listener *)(void *)thing;
    GV_ASSERT(listener->fd < 0);
}

void gv_listener_close(struct gv_listener *listener)
{
    if (listener == NULL || listener->thing.closed) {
        return;
    }
    listener->thing.closed = true;
    gv_thing_close_handle(&listener->thing, &listener->poll);
    gv_thing_close_handle(&listener->thing, &listener->pause);
    (void)close(listener->fd);
    listener->fd = -1;
}

static void close_thing(struct gv_thing *thing)
{
    gv_listener_close((struct gv_listener *)(void *)thing);
}

struct gv_addr gv_listener_addr(const struct gv_listener *listener)
{
    return listener->addr;
}

/* A bound and listening socket. "::" also serves IPv4; any other IPv6 address is only itself. */
static enum gv_err listen_on(const struct gv_listener_options *options, int *listening,
                             struct gv_addr *bound)
{
    const struct gv_addr *addr = &options->addr;
    if (addr->family != 4 && addr->family != 6) {
        return GV_EINVAL;
    }
    int fd = socket(addr->family == 4 ? AF_INET : AF_INET6,
                    SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return errno == EAFNOSUPPORT ? GV_EINVAL : GV_EIO;
    }
    int on = 1;
    int only_v6 = gv_addr_is_unspecified(addr) ? 0 : 1;
    struct sockaddr_storage at;
    gv_net_to_sockaddr(addr, false, &at);
    socklen_t len = addr->family == 4 ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    int failed = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (options->share_port) {
        failed |= setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    }
    if (addr->family == 6) {
        failed |= setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only_v6, sizeof only_v6);
    }
    if (failed != 0 || bind(fd, (const struct sockaddr *)&at, len) != 0 ||
        listen(fd, options->backlog > 0 ? options->backlog : BACKLOG_DEFAULT) != 0) {
        enum gv_err err = gv_net_err(-errno);
        (void)close(fd);
        return err == GV_EEXISTS || err == GV_EAUTH || err == GV_EINVAL ? err : GV_EIO;
    }
    len = sizeof at;
    *bound = *addr;
    if (getsockname(fd, (struct sockaddr *)&at, &len) == 0) {
        *bound = gv_net_from_sockaddr((const struct sockaddr *)&at);
    }
    *listening = fd;
    return GV_OK;
}

/* A socket that somebody else has made to listen, as our own descriptor. */
static enum gv_err inherit(int fd, int *listening, struct gv_addr *bound)
{
    int listens = 0;
    socklen_t len = sizeof listens;
    struct sockaddr_storage at;
    socklen_t at_len = sizeof at;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) != 0 || listens == 0 ||
        getsockname(fd, (struct sockaddr *)&at, &at_len) != 0 ||
        (at.ss_family != AF_INET && at.ss_family != AF_INET6)) {
        return GV_EINVAL;
    }
    int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (own < 0 || fcntl(own, F_SETFL, O_NONBLOCK) != 0) {
        if (own >= 0) {
            (void)close(own);
        }
        return GV_EIO;
    }
    *listening = own;
    *bound = gv_net_from_sockaddr((const struct sockaddr *)&at);
    return GV_OK;
}

enum gv_err gv_listener_open(struct gv_loop *loop, struct gv_listener_options options,
                             gv_accept_fn on_accept, void *owner, struct gv_listener **listener)
{
    struct gv_listener *made = gv_mem_new(GV_MEM_NET, sizeof *made);
    if (made == NULL) {
        return GV_ENOMEM;
    }
    enum gv_err err = options.inherited_fd > 0
                          ? inherit(options.inherited_fd, &made->fd, &made->addr)
                          : listen_on(&options, &made->fd, &made->addr);
    if (err != GV_OK) {
        gv_mem_free(GV_MEM_NET, made);
        return err;
    }
    gv_thing_init(&made->thing, loop, close_thing, gone);
    made->is_inherited = options.inherited_fd > 0;
    made->tls = options.tls;
    made->on_accept = on_accept;
    made->owner = owner;
    made->metrics = gv_net_metrics_of(loop);
    if (uv_poll_init(&loop->uv, &made->poll, made->fd) != 0) {
        (void)close(made->fd);
        gv_thing_discard(&made->thing);
        return GV_EIO;
    }
    gv_thing_add_handle(&made->thing, &made->poll);
    int failed = uv_timer_init(&loop->uv, &made->pause);
    GV_ASSERT(failed == 0);
    gv_thing_add_handle(&made->thing, &made->pause);
    watch(made);
    *listener = made;
    return GV_OK;
}
