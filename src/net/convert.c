/*
 * convert.c - libuv's errors and the kernel's addresses in our words, and what net/ counts.
 */
#include "grapevine/base/assert.h"
#include "grapevine/base/metric.h"
#include "inner.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

enum gv_err gv_net_err(int uv_error)
{
    switch (uv_error) {
    case 0:
        return GV_OK;
    case UV_ENOMEM:
        return GV_ENOMEM;
    case UV_EMFILE:
    case UV_ENFILE:
        return GV_EFULL;
    case UV_ECONNREFUSED:
        return GV_EREFUSED;
    case UV_ECONNRESET:
    case UV_ECONNABORTED:
    case UV_EPIPE:
    case UV_ENOTCONN:
    case UV_EOF:
        return GV_ECLOSED;
    case UV_ETIMEDOUT:
        return GV_ETIMEOUT;
    case UV_EADDRINUSE:
        return GV_EEXISTS;
    case UV_EACCES:
    case UV_EPERM:
        return GV_EAUTH;
    case UV_EADDRNOTAVAIL:
    case UV_EAFNOSUPPORT:
    case UV_EINVAL:
        return GV_EINVAL;
    case UV_EAGAIN:
    case UV_ENOBUFS:
        return GV_EAGAIN;
    case UV_ECANCELED:
        return GV_ECANCELED;
    default:
        return GV_EIO;
    }
}

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

void gv_net_to_sockaddr(const struct gv_addr *addr, bool as_v6, struct sockaddr_storage *into)
{
    memset(into, 0, sizeof *into);
    if (addr->family == 4 && !as_v6) {
        struct sockaddr_in *in = (struct sockaddr_in *)(void *)into;
        in->sin_family = AF_INET;
        in->sin_port = htons(addr->port);
        memcpy(&in->sin_addr, addr->ip, 4);
        return;
    }
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)(void *)into;
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(addr->port);
    if (addr->family == 4) {
        memcpy(in6->sin6_addr.s6_addr, mapped_prefix, sizeof mapped_prefix);
        memcpy(in6->sin6_addr.s6_addr + sizeof mapped_prefix, addr->ip, 4);
    } else {
        memcpy(in6->sin6_addr.s6_addr, addr->ip, 16);
    }
}

struct gv_addr gv_net_from_sockaddr(const struct sockaddr *from)
{
    struct gv_addr addr = {.family = 0};
    if (from->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, from, sizeof in);
        addr.family = 4;
        addr.port = ntohs(in.sin_port);
        memcpy(addr.ip, &in.sin_addr, 4);
    } else if (from->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, from, sizeof in6);
        addr.port = ntohs(in6.sin6_port);
        if (memcmp(in6.sin6_addr.s6_addr, mapped_prefix, sizeof mapped_prefix) == 0) {
            addr.family = 4;
            memcpy(addr.ip, in6.sin6_addr.s6_addr + sizeof mapped_prefix, 4);
        } else {
            addr.family = 6;
            memcpy(addr.ip, in6.sin6_addr.s6_addr, 16);
        }
    }
    return addr;
}

/* ---- metrics ---- */

static const struct gv_metric_family accepted_family = {
    .name = "gv_net_accepted_total",
    .help = "Connections accepted, by loop.",
    .type = GV_METRIC_COUNTER,
    .labels = {"loop"},
};
static const struct gv_metric_family pauses_family = {
    .name = "gv_net_accept_pauses_total",
    .help = "Times accepting paused because no file descriptor was left, by loop.",
    .type = GV_METRIC_COUNTER,
    .labels = {"loop"},
};
static const struct gv_metric_family lookups_family = {
    .name = "gv_resolve_lookups_total",
    .help = "Name lookups finished, by outcome.",
    .type = GV_METRIC_COUNTER,
    .labels = {"outcome"},
};
static const struct gv_metric_family cut_family = {
    .name = "gv_resolve_addresses_cut_total",
    .help = "Addresses left out of answers because there were too many.",
    .type = GV_METRIC_COUNTER,
};

/* Out of memory here means a metric that is not shown; the cells work all the same. */
static struct gv_metric *cell(const struct gv_metric_family *family, const char *value)
{
    enum gv_err ignored = gv_metric_register(family);
    (void)ignored;
    return gv_metric_get(family, value == NULL ? NULL : &value);
}

struct gv_net_metrics gv_net_metrics_of(const struct gv_loop *loop)
{
    return (struct gv_net_metrics){
        .accepted = cell(&accepted_family, loop->name),
        .accept_pauses = cell(&pauses_family, loop->name),
    };
}

void gv_net_count_lookup(enum gv_err outcome, size_t cut_count)
{
    gv_metric_add(cell(&lookups_family, gv_err_name(outcome)), 1);
    if (cut_count > 0) {
        gv_metric_add(cell(&cut_family, NULL), cut_count);
    }
}
