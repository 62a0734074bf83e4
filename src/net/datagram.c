/*
 * datagram.c - UDP over libuv, several datagrams per system call where the kernel has them.
 */
#include "grapevine/net/datagram.h"

#include "grapevine/base/assert.h"
#include "grapevine/base/mem.h"
#include "inner.h"
#include <netinet/in.h>

#define DATAGRAM_BYTES_MAX (64 * 1024) /* libuv cuts the buffer in pieces of this size */
#define BATCH_COUNT        16
#define SOCKET_BYTES       (4 * 1024 * 1024) /* asked of the kernel; it may give less */

struct gv_datagram {
    struct gv_thing thing;
    uv_udp_t udp;
    gv_datagram_fn on_datagram;
    void *owner; /* borrowed */
    struct gv_addr addr;
    uint8_t *buffer; /* owned; BATCH_COUNT * DATAGRAM_BYTES_MAX, most of it never touched */
};

static void lend_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    (void)suggested;
    struct gv_datagram *datagram = handle->data;
    *buffer = uv_buf_init((char *)datagram->buffer, BATCH_COUNT * DATAGRAM_BYTES_MAX);
}

static void on_receive(uv_udp_t *handle, ssize_t count, const uv_buf_t *buffer,
                       const struct sockaddr *from, unsigned flags)
{
    struct gv_datagram *datagram = handle->data;
    /* No sender: "nothing more to read", or the buffer given back. A cut datagram is no datagram.
     */
    if (count < 0 || from == NULL || (flags & UV_UDP_PARTIAL) != 0 || datagram->thing.closed) {
        return;
    }
    struct gv_addr sender = gv_net_from_sockaddr(from);
    datagram->on_datagram(datagram->owner, &sender, gv_slice_of(buffer->base, (size_t)count));
}

static void gone(struct gv_thing *thing)
{
    struct gv_datagram *datagram = (struct gv_datagram *)(void *)thing;
    gv_mem_free(GV_MEM_NET, datagram->buffer);
    datagram->buffer = NULL;
}

void gv_datagram_close(struct gv_datagram *datagram)
{
    if (datagram == NULL || datagram->thing.closed) {
        return;
    }
    datagram->thing.closed = true;
    gv_thing_close_handle(&datagram->thing, &datagram->udp);
}

static void close_thing(struct gv_thing *thing)
{
    gv_datagram_close((struct gv_datagram *)(void *)thing);
}

static int bind_to(struct gv_datagram *datagram, const struct gv_addr *addr)
{
    struct sockaddr_storage at;
    gv_net_to_sockaddr(addr, false, &at);
    /* "::" also serves IPv4; any other IPv6 address is only itself. */
    unsigned flags = addr->family == 6 && !gv_addr_is_unspecified(addr) ? UV_UDP_IPV6ONLY : 0;
    int failed = uv_udp_bind(&datagram->udp, (const struct sockaddr *)&at, flags);
    if (failed != 0) {
        return failed;
    }
    int bytes = SOCKET_BYTES;
    (void)uv_recv_buffer_size((uv_handle_t *)&datagram->udp, &bytes);
    bytes = SOCKET_BYTES;
    (void)uv_send_buffer_size((uv_handle_t *)&datagram->udp, &bytes);
    int len = (int)sizeof at;
    failed = uv_udp_getsockname(&datagram->udp, (struct sockaddr *)&at, &len);
    if (failed == 0) {
        datagram->addr = gv_net_from_sockaddr((const struct sockaddr *)&at);
        failed = uv_udp_recv_start(&datagram->udp, lend_buffer, on_receive);
    }
    return failed;
}

enum gv_err gv_datagram_open(struct gv_loop *loop, const struct gv_addr *addr,
                             gv_datagram_fn on_datagram, void *owner, struct gv_datagram **datagram)
{
    if (addr->family != 4 && addr->family != 6) {
        return GV_EINVAL;
    }
    struct gv_datagram *made = gv_mem_new(GV_MEM_NET, sizeof *made);
    uint8_t *buffer = gv_mem_resize(GV_MEM_NET, NULL, BATCH_COUNT * DATAGRAM_BYTES_MAX);
    if (made == NULL || buffer == NULL) {
        gv_mem_free(GV_MEM_NET, made);
        gv_mem_free(GV_MEM_NET, buffer);
        return GV_ENOMEM;
    }
    made->buffer = buffer;
    made->on_datagram = on_datagram;
    made->owner = owner;
    gv_thing_init(&made->thing, loop, close_thing, gone);
    unsigned family = addr->family == 4 ? AF_INET : AF_INET6;
    if (uv_udp_init_ex(&loop->uv, &made->udp, family | UV_UDP_RECVMMSG) != 0) {
        gv_mem_free(GV_MEM_NET, buffer);
        gv_thing_discard(&made->thing);
        return GV_EIO;
    }
    gv_thing_add_handle(&made->thing, &made->udp);
    int failed = bind_to(made, addr);
    if (failed != 0) {
        gv_datagram_close(made);
        enum gv_err err = gv_net_err(failed);
        return err == GV_EEXISTS || err == GV_EAUTH || err == GV_EINVAL ? err : GV_EIO;
    }
    *datagram = made;
    return GV_OK;
}

enum gv_err gv_datagram_send(struct gv_datagram *datagram, const struct gv_addr *to,
                             struct gv_slice bytes)
{
    if (datagram->thing.closed || to->family == 0 ||
        (to->family == 6 && datagram->addr.family == 4)) {
        return GV_EIO;
    }
    struct sockaddr_storage at;
    gv_net_to_sockaddr(to, datagram->addr.family == 6, &at);
    uv_buf_t buffer = {.base = (char *)(uintptr_t)bytes.data, .len = bytes.len};
    int sent = uv_udp_try_send(&datagram->udp, &buffer, 1, (const struct sockaddr *)&at);
    if (sent >= 0) {
        return GV_OK;
    }
    return gv_net_err(sent) == GV_EAGAIN ? GV_EAGAIN : GV_EIO;
}

struct gv_addr gv_datagram_addr(const struct gv_datagram *datagram)
{
    return datagram->addr;
}
