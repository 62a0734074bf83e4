/*
 * source.c - a UDP socket is connected, which sends nothing but makes the kernel choose a route,
 * and asked for its own address.
 */
#include "grapevine/net/source.h"

#include "grapevine/net/resolve.h"
#include "inner.h"
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#define ANY_PORT 9 /* discard; never used, but connect() wants one */

static enum gv_err ask(const struct gv_addr *towards, struct gv_addr *source)
{
    int fd = socket(towards->family == 4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return GV_EIO;
    }
    struct sockaddr_storage at;
    gv_net_to_sockaddr(towards, false, &at);
    socklen_t len = towards->family == 4 ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    enum gv_err err = GV_ENOTFOUND;
    if (connect(fd, (const struct sockaddr *)&at, len) == 0) {
        len = sizeof at;
        err = getsockname(fd, (struct sockaddr *)&at, &len) == 0 ? GV_OK : GV_EIO;
    }
    (void)close(fd);
    if (err == GV_OK) {
        struct gv_addr found = gv_net_from_sockaddr((const struct sockaddr *)&at);
        if (gv_addr_is_unspecified(&found)) {
            return GV_ENOTFOUND;
        }
        found.port = 0;
        *source = found;
    }
    return err;
}

enum gv_err gv_source_find(const struct gv_addr *towards, struct gv_addr *source)
{
    if (towards != NULL) {
        struct gv_addr there = *towards;
        there.port = there.port == 0 ? ANY_PORT : there.port;
        return ask(&there, source);
    }
    /* Documentation addresses (RFC 5737, RFC 3849): nobody's, so they go the default way. */
    const struct gv_addr world_4 = {.family = 4, .ip = {192, 0, 2, 1}, .port = ANY_PORT};
    const struct gv_addr world_6 = {
        .family = 6, .ip = {0x20, 0x01, 0x0d, 0xb8, [15] = 1}, .port = ANY_PORT};
    enum gv_err err = ask(&world_4, source);
    return err == GV_OK ? err : ask(&world_6, source);
}

struct lookup {
    struct gv_loop *loop;
    enum gv_err err;
    struct gv_addr addr;
};

static void on_resolved(void *owner, enum gv_err err, const struct gv_addr *addrs, size_t count,
                        uint32_t ttl_s)
{
    (void)ttl_s;
    struct lookup *lookup = owner;
    lookup->err = err == GV_OK && count == 0 ? GV_ENOTFOUND : err;
    if (lookup->err == GV_OK) {
        lookup->addr = addrs[0];
    }
    gv_loop_stop(lookup->loop);
}

static enum gv_err look_up(const char *host, uint16_t port, struct gv_addr *addr)
{
    struct lookup lookup = {.err = GV_EIO};
    struct gv_resolver *resolver = NULL;
    enum gv_err err = gv_loop_new("gv-start", &lookup.loop);
    if (err != GV_OK) {
        return err;
    }
    err = gv_resolver_open(lookup.loop, &resolver);
    if (err == GV_OK) {
        err = gv_resolve(resolver, host, port, on_resolved, &lookup);
    }
    if (err == GV_OK) {
        gv_loop_run(lookup.loop);
        err = lookup.err;
    }
    gv_resolver_close(resolver);
    gv_loop_free(lookup.loop);
    if (err == GV_OK) {
        *addr = lookup.addr;
    }
    return err;
}

enum gv_err gv_source_read(const char *host, uint16_t port, struct gv_addr *addr)
{
    struct gv_addr found;
    if (gv_addr_parse(gv_slice_text(host), 1, &found) != GV_OK) {
        enum gv_err err = look_up(host, port, &found);
        if (err != GV_OK) {
            return err;
        }
    }
    found.port = port;
    *addr = found;
    return GV_OK;
}
