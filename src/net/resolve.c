/*
 * resolve.c - c-ares driven by the loop.
 *
 * One lookup is: a numeric address (answered in the next turn), a name in /etc/hosts, or questions
 * to DNS. "srv:name" asks SRV first, then A and AAAA of every target, and answers in the order of
 * priority (low first) and weight (high first). Every lookup ends through a deferral, so that the
 * owner is never called while c-ares is on the stack.
 *
 * c-ares reads resolv.conf only when a channel is made; so a changed file means a new channel, made
 * when no question is under way. GRAPEVINE_DNS_SERVERS=host:port[,host:port] replaces the servers.
 */
#include "grapevine/net/resolve.h"

#include "answer.h"
#include "grapevine/base/assert.h"
#include "grapevine/base/log.h"
#include "grapevine/base/mem.h"
#include "inner.h"
#include <ares.h>
#include <arpa/nameser.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#define SERVERS_VARIABLE "GRAPEVINE_DNS_SERVERS"
#define RESOLV_CONF      "/etc/resolv.conf"
#define TRY_TIMEOUT_MS   1500 /* of the first try; c-ares doubles it */
#define TRY_COUNT        3
#define TIMER_MAX_MS     1000
#define HOSTS_TTL_S      30 /* names of /etc/hosts: the file may be edited */
#define NAME_BYTES       256
#define ANSWER_MAX       64 /* A or AAAA records taken of one answer */

static const char srv_prefix[] = "srv:";

/* One host whose addresses are asked for: the name itself, or a target of SRV. */
struct target {
    struct lookup *lookup; /* borrowed */
    struct gv_addr *addrs; /* owned */
    size_t count;
    uint16_t port;
    char host[NAME_BYTES];
};

struct lookup {
    struct gv_deferral deferral;
    struct gv_list link;          /* in resolver->lookups until it has its answer */
    struct gv_resolver *resolver; /* borrowed; NULL when it was closed */
    gv_resolve_fn on_resolved;
    void *owner;            /* borrowed */
    struct target *targets; /* owned */
    size_t target_count;
    uint32_t open_count; /* questions without an answer, and one while asking */
    uint32_t ttl_s;
    enum gv_err trouble; /* the worst that any question met; GV_OK when none did */
    uint16_t port;
};

/* A descriptor of c-ares that the loop watches. */
struct socket_watch {
    struct gv_thing thing;
    struct gv_list link; /* in resolver->sockets */
    uv_poll_t poll;
    struct gv_resolver *resolver; /* borrowed; NULL when it was closed */
    ares_socket_t fd;             /* c-ares closes it */
};

struct gv_resolver {
    struct gv_thing thing;
    uv_timer_t timer;
    ares_channel channel;
    bool has_channel;
    struct gv_list lookups; /* struct lookup */
    struct gv_list sockets; /* struct socket_watch */
    struct timespec conf_changed;
    uint64_t conf_looked_at_ms;
};

/* ---- the end of a lookup ---- */

static void release(struct lookup *lookup)
{
    for (size_t i = 0; i < lookup->target_count; i++) {
        gv_mem_free(GV_MEM_NET, lookup->targets[i].addrs);
    }
    gv_mem_free(GV_MEM_NET, lookup->targets);
    gv_mem_free(GV_MEM_NET, lookup);
}

/* Addresses of one family, behind the `count` that are there; how many had no room. */
static size_t collect(const struct target *target, uint8_t family, struct gv_addr *addrs,
                      size_t *count)
{
    size_t cut = 0;
    for (size_t i = 0; i < target->count; i++) {
        if (target->addrs[i].family != family) {
            continue;
        }
        if (*count == GV_RESOLVE_MAX) {
            cut += 1;
            continue;
        }
        addrs[*count] = target->addrs[i];
        addrs[*count].port = target->port;
        *count += 1;
    }
    return cut;
}

/* IPv4 first, whichever answer came first. */
static void answer(struct gv_deferral *deferral)
{
    struct lookup *lookup = GV_CONTAINER(deferral, struct lookup, deferral);
    struct gv_addr addrs[GV_RESOLVE_MAX];
    size_t count = 0;
    size_t cut = 0;
    for (size_t i = 0; lookup->trouble != GV_ECANCELED && i < lookup->target_count; i++) {
        cut += collect(&lookup->targets[i], 4, addrs, &count);
        cut += collect(&lookup->targets[i], 6, addrs, &count);
    }
    enum gv_err err = GV_OK;
    if (count == 0) {
        err = lookup->trouble == GV_OK ? GV_ENOTFOUND : lookup->trouble;
    }
    gv_net_count_lookup(err, cut);
    lookup->on_resolved(lookup->owner, err, addrs, count, err == GV_OK ? lookup->ttl_s : 0);
    release(lookup);
}

static void end(struct lookup *lookup, enum gv_err trouble)
{
    struct gv_loop *loop = lookup->resolver->thing.loop;
    if (trouble != GV_OK) {
        lookup->trouble = trouble;
    }
    gv_list_remove(&lookup->link);
    lookup->resolver = NULL;
    gv_loop_defer(loop, &lookup->deferral, answer);
}

/* One question less; the last one ends the lookup, unless it has ended already. */
static void settle(struct lookup *lookup)
{
    GV_ASSERT(lookup->open_count > 0);
    lookup->open_count -= 1;
    if (lookup->open_count == 0) {
        end(lookup, GV_OK);
    }
}

static void note_trouble(struct lookup *lookup, int status)
{
    switch (status) {
    case ARES_SUCCESS:
    case ARES_ENODATA:
    case ARES_ENOTFOUND:
    case ARES_EBADNAME:
        return; /* no such record; GV_ENOTFOUND when nothing else answers either */
    case ARES_ETIMEOUT:
        lookup->trouble = lookup->trouble == GV_OK ? GV_ETIMEOUT : lookup->trouble;
        return;
    case ARES_ECANCELLED:
    case ARES_EDESTRUCTION:
        lookup->trouble = GV_ECANCELED;
        return;
    default:
        lookup->trouble = lookup->trouble == GV_OK ? GV_EIO : lookup->trouble;
        return;
    }
}

/* ---- descriptors and time of c-ares ---- */

static void set_timer(struct gv_resolver *resolver);

static void on_socket(uv_poll_t *poll, int status, int events)
{
    struct socket_watch *watch = poll->data;
    struct gv_resolver *resolver = watch->resolver;
    if (resolver == NULL || !resolver->has_channel) {
        return;
    }
    bool readable = status != 0 || (events & UV_READABLE) != 0;
    bool writable = status != 0 || (events & UV_WRITABLE) != 0;
    ares_process_fd(resolver->channel, readable ? watch->fd : ARES_SOCKET_BAD,
                    writable ? watch->fd : ARES_SOCKET_BAD);
    set_timer(resolver);
}

static void unwatch(struct socket_watch *watch)
{
    if (watch->thing.closed) {
        return;
    }
    watch->thing.closed = true;
    watch->resolver = NULL;
    gv_list_remove(&watch->link);
    (void)uv_poll_stop(&watch->poll);
    gv_thing_close_handle(&watch->thing, &watch->poll);
}

static void close_watch(struct gv_thing *thing)
{
    /* Nothing: the resolver closes its sockets, and it is on the same list of things. */
    (void)thing;
}

static struct socket_watch *find_or_add_watch(struct gv_resolver *resolver, ares_socket_t fd)
{
    GV_LIST_EACH(&resolver->sockets, at, following)
    {
        struct socket_watch *watch = GV_CONTAINER(at, struct socket_watch, link);
        if (watch->fd == fd) {
            return watch;
        }
    }
    struct socket_watch *watch = gv_mem_new(GV_MEM_NET, sizeof *watch);
    if (watch == NULL) {
        return NULL;
    }
    gv_thing_init(&watch->thing, resolver->thing.loop, close_watch, NULL);
    watch->resolver = resolver;
    watch->fd = fd;
    if (uv_poll_init(&resolver->thing.loop->uv, &watch->poll, fd) != 0) {
        gv_thing_discard(&watch->thing);
        return NULL;
    }
    gv_thing_add_handle(&watch->thing, &watch->poll);
    gv_list_init(&watch->link);
    gv_list_add(&resolver->sockets, &watch->link);
    return watch;
}

/* c-ares tells what it waits for on a descriptor; nothing means it is about to close it. A socket
 * that could not be watched is left to the timeout. */
static void on_socket_state(void *data, ares_socket_t fd, int readable, int writable)
{
    struct gv_resolver *resolver = data;
    if (!readable && !writable) {
        GV_LIST_EACH(&resolver->sockets, at, following)
        {
            struct socket_watch *watch = GV_CONTAINER(at, struct socket_watch, link);
            if (watch->fd == fd) {
                unwatch(watch);
                return;
            }
        }
        return;
    }
    struct socket_watch *watch = find_or_add_watch(resolver, fd);
    if (watch != NULL) {
        int events = (readable ? UV_READABLE : 0) | (writable ? UV_WRITABLE : 0);
        (void)uv_poll_start(&watch->poll, events, on_socket);
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct gv_resolver *resolver = timer->data;
    if (resolver->has_channel) {
        ares_process_fd(resolver->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
        set_timer(resolver);
    }
}

static void set_timer(struct gv_resolver *resolver)
{
    struct timeval most = {.tv_sec = TIMER_MAX_MS / 1000, .tv_usec = (TIMER_MAX_MS % 1000) * 1000};
    struct timeval until;
    if (resolver->thing.closed || gv_list_is_empty(&resolver->lookups)) {
        (void)uv_timer_stop(&resolver->timer);
        return;
    }
    const struct timeval *next = ares_timeout(resolver->channel, &most, &until);
    uint64_t delay_ms = (uint64_t)next->tv_sec * 1000 + (uint64_t)next->tv_usec / 1000 + 1;
    int failed = uv_timer_start(&resolver->timer, on_timer, delay_ms, 0);
    GV_ASSERT(failed == 0);
}

/* ---- the channel ---- */

static struct timespec conf_changed(void)
{
    struct stat about;
    if (stat(RESOLV_CONF, &about) != 0) {
        return (struct timespec){.tv_sec = 0};
    }
    return about.st_mtim;
}

static enum gv_err open_channel(struct gv_resolver *resolver)
{
    struct ares_options options = {
        .timeout = TRY_TIMEOUT_MS,
        .tries = TRY_COUNT,
        .sock_state_cb = on_socket_state,
        .sock_state_cb_data = resolver,
    };
    int mask = ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB;
    resolver->conf_changed = conf_changed();
    int status = ares_init_options(&resolver->channel, &options, mask);
    if (status != ARES_SUCCESS) {
        return status == ARES_ENOMEM ? GV_ENOMEM : GV_EIO;
    }
    const char *servers = getenv(SERVERS_VARIABLE);
    if (servers != NULL && servers[0] != '\0') {
        status = ares_set_servers_ports_csv(resolver->channel, servers);
        if (status != ARES_SUCCESS) {
            gv_log(GV_LOG_ERROR, "resolve.servers_invalid", GV_STR("servers", servers),
                   GV_STR("reason", ares_strerror(status)));
            ares_destroy(resolver->channel);
            return GV_EIO;
        }
    }
    resolver->has_channel = true;
    return GV_OK;
}

/* Follow a changed resolv.conf, when nothing is under way; looked at once a second at most. */
static enum gv_err refresh_channel(struct gv_resolver *resolver)
{
    uint64_t now_ms = gv_loop_now_ms(resolver->thing.loop);
    if (resolver->has_channel &&
        (!gv_list_is_empty(&resolver->lookups) || now_ms - resolver->conf_looked_at_ms < 1000)) {
        return GV_OK;
    }
    resolver->conf_looked_at_ms = now_ms;
    struct timespec changed = conf_changed();
    if (resolver->has_channel && changed.tv_sec == resolver->conf_changed.tv_sec &&
        changed.tv_nsec == resolver->conf_changed.tv_nsec) {
        return GV_OK;
    }
    if (resolver->has_channel) {
        resolver->has_channel = false;
        ares_destroy(resolver->channel);
    }
    return open_channel(resolver);
}

/* ---- questions ---- */

static void note_ttl(struct lookup *lookup, uint32_t ttl_s)
{
    if (lookup->ttl_s == 0 || ttl_s < lookup->ttl_s) {
        lookup->ttl_s = ttl_s > 0 ? ttl_s : 1;
    }
}

static enum gv_err add_address(struct target *target, const struct gv_addr *addr)
{
    struct gv_addr *addrs =
        gv_mem_resize(GV_MEM_NET, target->addrs, (target->count + 1) * sizeof *addrs);
    if (addrs == NULL) {
        return GV_ENOMEM;
    }
    target->addrs = addrs;
    addrs[target->count++] = *addr;
    return GV_OK;
}

static void take_address(struct target *target, uint8_t family, const void *ip, int ttl_s)
{
    struct gv_addr addr = {.family = family};
    memcpy(addr.ip, ip, family == 4 ? 4 : 16);
    if (add_address(target, &addr) != GV_OK) {
        note_trouble(target->lookup, ARES_ENOMEM);
        return;
    }
    note_ttl(target->lookup, ttl_s > 0 ? (uint32_t)ttl_s : 0);
}

static void on_a(void *arg, int status, int timeouts, unsigned char *bytes, int len)
{
    (void)timeouts;
    struct target *target = arg;
    struct ares_addrttl found[ANSWER_MAX];
    int count = ANSWER_MAX;
    if (status == ARES_SUCCESS) {
        status = ares_parse_a_reply(bytes, len, NULL, found, &count);
    }
    note_trouble(target->lookup, status);
    for (int i = 0; status == ARES_SUCCESS && i < count; i++) {
        take_address(target, 4, &found[i].ipaddr, found[i].ttl);
    }
    settle(target->lookup);
}

static void on_aaaa(void *arg, int status, int timeouts, unsigned char *bytes, int len)
{
    (void)timeouts;
    struct target *target = arg;
    struct ares_addr6ttl found[ANSWER_MAX];
    int count = ANSWER_MAX;
    if (status == ARES_SUCCESS) {
        status = ares_parse_aaaa_reply(bytes, len, NULL, found, &count);
    }
    note_trouble(target->lookup, status);
    for (int i = 0; status == ARES_SUCCESS && i < count; i++) {
        take_address(target, 6, &found[i].ip6addr, found[i].ttl);
    }
    settle(target->lookup);
}

static bool is_localhost(const char *host)
{
    static const char suffix[] = ".localhost";
    size_t len = strlen(host);
    return strcasecmp(host, "localhost") == 0 ||
           (len > sizeof suffix - 1 && strcasecmp(host + len - (sizeof suffix - 1), suffix) == 0);
}

/* Addresses of /etc/hosts, and of "localhost" in any case (RFC 6761); true when there are any. */
static bool take_from_hosts(struct target *target)
{
    static const int families[] = {AF_INET, AF_INET6};
    for (size_t i = 0; i < 2; i++) {
        struct hostent *entry = NULL;
        if (ares_gethostbyname_file(target->lookup->resolver->channel, target->host, families[i],
                                    &entry) != ARES_SUCCESS) {
            continue;
        }
        for (char **at = entry->h_addr_list; *at != NULL; at++) {
            take_address(target, families[i] == AF_INET ? 4 : 6, *at, HOSTS_TTL_S);
        }
        ares_free_hostent(entry);
    }
    if (target->count == 0 && is_localhost(target->host)) {
        static const uint8_t loopback[4] = {127, 0, 0, 1};
        take_address(target, 4, loopback, HOSTS_TTL_S);
    }
    return target->count > 0;
}

/* Search domains of resolv.conf apply, as people expect of a short name. */
static void ask_addresses(struct target *target)
{
    struct lookup *lookup = target->lookup;
    struct gv_addr addr;
    if (gv_addr_parse(gv_slice_text(target->host), 1, &addr) == GV_OK) {
        take_address(target, addr.family, addr.ip, HOSTS_TTL_S);
        return;
    }
    if (take_from_hosts(target)) {
        return;
    }
    lookup->open_count += 2;
    ares_channel channel = lookup->resolver->channel;
    ares_search(channel, target->host, ns_c_in, ns_t_a, on_a, target);
    ares_search(channel, target->host, ns_c_in, ns_t_aaaa, on_aaaa, target);
}

static enum gv_err make_targets(struct lookup *lookup, size_t count)
{
    lookup->targets = gv_mem_new(GV_MEM_NET, count * sizeof *lookup->targets);
    if (lookup->targets == NULL) {
        return GV_ENOMEM;
    }
    lookup->target_count = count;
    return GV_OK;
}

static void on_srv(void *arg, int status, int timeouts, unsigned char *bytes, int len)
{
    (void)timeouts;
    struct lookup *lookup = arg;
    struct gv_srv_record found[GV_SRV_MAX];
    size_t count = 0;
    uint32_t ttl_s = 0;
    note_trouble(lookup, status);
    if (status == ARES_SUCCESS && len > 0 &&
        gv_srv_decode(gv_slice_of(bytes, (size_t)len), found, &count, &ttl_s) != GV_OK) {
        note_trouble(lookup, ARES_EBADRESP);
        count = 0;
    }
    if (count > 0 && make_targets(lookup, count) == GV_OK) {
        note_ttl(lookup, ttl_s);
        for (size_t i = 0; i < count; i++) {
            struct target *target = &lookup->targets[i];
            target->lookup = lookup;
            target->port = found[i].port;
            memcpy(target->host, found[i].target, sizeof found[i].target);
            ask_addresses(target);
        }
    } else if (count > 0) {
        note_trouble(lookup, ARES_ENOMEM);
    }
    settle(lookup);
}

enum gv_err gv_resolve(struct gv_resolver *resolver, const char *name, uint16_t port,
                       gv_resolve_fn on_resolved, void *owner)
{
    if (resolver->thing.closed) {
        return GV_ECLOSED;
    }
    bool is_srv = strncmp(name, srv_prefix, sizeof srv_prefix - 1) == 0;
    const char *host = is_srv ? name + sizeof srv_prefix - 1 : name;
    if (host[0] == '\0' || strlen(host) >= NAME_BYTES) {
        return GV_EINVAL;
    }
    enum gv_err err = refresh_channel(resolver);
    if (err != GV_OK) {
        return err;
    }
    struct lookup *lookup = gv_mem_new(GV_MEM_NET, sizeof *lookup);
    if (lookup == NULL) {
        return GV_ENOMEM;
    }
    *lookup = (struct lookup){
        .resolver = resolver, .on_resolved = on_resolved, .owner = owner, .port = port};
    gv_list_init(&lookup->link);
    struct gv_addr addr;
    bool is_numeric = !is_srv && gv_addr_parse(gv_slice_text(host), 1, &addr) == GV_OK;
    if (!is_srv && make_targets(lookup, 1) != GV_OK) {
        release(lookup);
        return GV_ENOMEM;
    }
    gv_list_add(&resolver->lookups, &lookup->link);
    lookup->open_count = 1; /* itself, so that answers on the spot do not end it too early */
    if (is_srv) {
        ares_search(resolver->channel, host, ns_c_in, ns_t_srv, on_srv, lookup);
        set_timer(resolver);
        return GV_OK;
    }
    lookup->targets[0] = (struct target){.lookup = lookup, .port = port};
    memcpy(lookup->targets[0].host, host, strlen(host) + 1);
    ask_addresses(&lookup->targets[0]);
    if (is_numeric) {
        lookup->ttl_s = 0;
    }
    settle(lookup);
    set_timer(resolver);
    return GV_OK;
}

/* ---- the life of a resolver ---- */

static void gone(struct gv_thing *thing)
{
    struct gv_resolver *resolver = (struct gv_resolver *)(void *)thing;
    GV_ASSERT(gv_list_is_empty(&resolver->lookups) && gv_list_is_empty(&resolver->sockets));
}

void gv_resolver_close(struct gv_resolver *resolver)
{
    if (resolver == NULL || resolver->thing.closed) {
        return;
    }
    resolver->thing.closed = true;
    if (resolver->has_channel) {
        resolver->has_channel = false;
        ares_destroy(resolver->channel); /* ends every question with ARES_EDESTRUCTION */
    }
    GV_ASSERT(gv_list_is_empty(&resolver->lookups));
    GV_LIST_EACH(&resolver->sockets, at, following)
    {
        unwatch(GV_CONTAINER(at, struct socket_watch, link));
    }
    gv_thing_close_handle(&resolver->thing, &resolver->timer);
}

static void close_thing(struct gv_thing *thing)
{
    gv_resolver_close((struct gv_resolver *)(void *)thing);
}

enum gv_err gv_resolver_open(struct gv_loop *loop, struct gv_resolver **resolver)
{
    struct gv_resolver *made = gv_mem_new(GV_MEM_NET, sizeof *made);
    if (made == NULL) {
        return GV_ENOMEM;
    }
    gv_thing_init(&made->thing, loop, close_thing, gone);
    gv_list_init(&made->lookups);
    gv_list_init(&made->sockets);
    enum gv_err err = open_channel(made);
    if (err != GV_OK) {
        gv_thing_discard(&made->thing);
        return err;
    }
    int failed = uv_timer_init(&loop->uv, &made->timer);
    GV_ASSERT(failed == 0);
    gv_thing_add_handle(&made->thing, &made->timer);
    *resolver = made;
    return GV_OK;
}
