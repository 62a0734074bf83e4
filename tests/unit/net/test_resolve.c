/*
 * Names to addresses: numeric, /etc/hosts, and DNS against a dnsmasq of our own when there is one;
 * and SRV records read from bytes.
 */
#include "../../../src/net/answer.h"
#include "grapevine/base/mem.h"
#include "grapevine/net/datagram.h"
#include "grapevine/net/resolve.h"
#include "grapevine/net/stream.h"
#include "support/suite.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

struct asker {
    struct gv_loop *loop;
    struct gv_resolver *resolver;
    uint32_t calls;
    uint32_t stop_at;
    enum gv_err err;
    struct gv_addr addrs[GV_RESOLVE_MAX];
    size_t count;
    uint32_t ttl_s;
};

static void on_resolved(void *owner, enum gv_err err, const struct gv_addr *addrs, size_t count,
                        uint32_t ttl_s)
{
    struct asker *asker = owner;
    asker->calls += 1;
    asker->err = err;
    asker->count = count;
    asker->ttl_s = ttl_s;
    if (count > 0) {
        memcpy(asker->addrs, addrs, count * sizeof *addrs);
    }
    if (asker->calls == asker->stop_at) {
        gv_loop_stop(asker->loop);
    }
}

static void begin(struct asker *asker)
{
    memset(asker, 0, sizeof *asker);
    CU_ASSERT_EQUAL_FATAL(gv_loop_new("test", &asker->loop), GV_OK);
    CU_ASSERT_EQUAL_FATAL(gv_resolver_open(asker->loop, &asker->resolver), GV_OK);
}

static void ask(struct asker *asker, const char *name, uint16_t port)
{
    asker->calls = 0;
    asker->stop_at = 1;
    CU_ASSERT_EQUAL_FATAL(gv_resolve(asker->resolver, name, port, on_resolved, asker), GV_OK);
    CU_ASSERT_EQUAL(asker->calls, 0); /* never from inside */
    gv_loop_run(asker->loop);
    CU_ASSERT_EQUAL(asker->calls, 1);
}

static void end(struct asker *asker)
{
    gv_loop_free(asker->loop);
    CU_ASSERT_EQUAL(gv_mem_used(GV_MEM_NET), 0);
}

static bool has(const struct asker *asker, size_t at, const char *text)
{
    char own[GV_ADDR_TEXT_BYTES];
    return at < asker->count && strcmp(gv_addr_format(&asker->addrs[at], own), text) == 0;
}

static void a_numeric_address_is_its_own_answer(void)
{
    struct asker asker;
    begin(&asker);
    ask(&asker, "192.0.2.7", 80);
    CU_ASSERT_EQUAL(asker.err, GV_OK);
    CU_ASSERT_EQUAL(asker.count, 1);
    CU_ASSERT(has(&asker, 0, "192.0.2.7:80"));
    CU_ASSERT_EQUAL(asker.ttl_s, 0);
    ask(&asker, "2001:db8::1", 443);
    CU_ASSERT(has(&asker, 0, "[2001:db8::1]:443"));
    end(&asker);
}

static void localhost_needs_no_dns(void)
{
    struct asker asker;
    begin(&asker);
    ask(&asker, "localhost", 8000);
    CU_ASSERT_EQUAL(asker.err, GV_OK);
    CU_ASSERT(has(&asker, 0, "127.0.0.1:8000"));
    CU_ASSERT(asker.ttl_s > 0);
    end(&asker);
}

static void an_impossible_name_is_refused_at_once(void)
{
    struct asker asker;
    begin(&asker);
    char name[258];
    memset(name, 'a', sizeof name);
    name[256] = '\0';
    CU_ASSERT_EQUAL(gv_resolve(asker.resolver, "", 1, on_resolved, &asker), GV_EINVAL);
    CU_ASSERT_EQUAL(gv_resolve(asker.resolver, "srv:", 1, on_resolved, &asker), GV_EINVAL);
    CU_ASSERT_EQUAL(gv_resolve(asker.resolver, name, 1, on_resolved, &asker), GV_EINVAL);
    end(&asker);
    CU_ASSERT_EQUAL(asker.calls, 0);
}

static void on_nothing(void *owner, const struct gv_addr *from, struct gv_slice bytes)
{
    (void)from;
    (void)bytes;
    gv_loop_stop(owner); /* the question has arrived */
}

/* A server that never answers: a bound socket of our own. */
static void closing_cancels_what_is_under_way(void)
{
    struct asker asker;
    struct gv_addr addr = {.family = 4, .ip = {127, 0, 0, 1}};
    struct gv_datagram *silent;
    CU_ASSERT_EQUAL_FATAL(gv_loop_new("test", &asker.loop), GV_OK);
    CU_ASSERT_EQUAL_FATAL(gv_datagram_open(asker.loop, &addr, on_nothing, asker.loop, &silent),
                          GV_OK);
    addr = gv_datagram_addr(silent);
    char text[GV_ADDR_TEXT_BYTES];
    (void)setenv("GRAPEVINE_DNS_SERVERS", gv_addr_format(&addr, text), 1);
    struct gv_loop *loop = asker.loop;
    memset(&asker, 0, sizeof asker);
    asker.loop = loop;
    CU_ASSERT_EQUAL_FATAL(gv_resolver_open(loop, &asker.resolver), GV_OK);
    CU_ASSERT_EQUAL(gv_resolve(asker.resolver, "a.example.", 1, on_resolved, &asker), GV_OK);
    CU_ASSERT_EQUAL(gv_resolve(asker.resolver, "srv:_x._tcp.example.", 1, on_resolved, &asker),
                    GV_OK);
    gv_loop_run(loop);
    CU_ASSERT_EQUAL(asker.calls, 0);
    gv_resolver_close(asker.resolver);
    CU_ASSERT_EQUAL(asker.calls, 0); /* never from inside */
    asker.stop_at = 2;
    gv_loop_run(loop);
    CU_ASSERT_EQUAL(asker.calls, 2);
    CU_ASSERT_EQUAL(asker.err, GV_ECANCELED);
    gv_resolver_close(NULL);
    end(&asker);

    (void)setenv("GRAPEVINE_DNS_SERVERS", "no server", 1);
    CU_ASSERT_EQUAL_FATAL(gv_loop_new("test", &loop), GV_OK);
    CU_ASSERT_NOT_EQUAL(gv_resolver_open(loop, &asker.resolver), GV_OK);
    gv_loop_free(loop);
    (void)unsetenv("GRAPEVINE_DNS_SERVERS");
}

/* ---- against dnsmasq ---- */

/* A port outside the range from which the kernel takes ports for our own questions; if somebody has
 * it, dnsmasq says so and the next one is tried. */
static uint16_t some_port(void)
{
    uint16_t random;
    gv_random_bytes(&random, sizeof random);
    return (uint16_t)(20000 + random % 10000);
}

static pid_t start_dnsmasq(uint16_t port)
{
    char port_arg[32];
    (void)snprintf(port_arg, sizeof port_arg, "--port=%u", port);
    pid_t pid = fork();
    if (pid == 0) {
        (void)execlp("dnsmasq", "dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts",
                     "--conf-file=/dev/null", "--pid-file=", "--listen-address=127.0.0.1",
                     "--bind-interfaces", "--user=", "--local=/test/", "--local-ttl=7",
                     "--log-facility=/dev/null", port_arg, "--host-record=one.test,192.0.2.1",
                     "--host-record=two.test,192.0.2.2,2001:db8::2",
                     "--host-record=three.test,192.0.2.3",
                     "--srv-host=_w._tcp.test,two.test,8002,20,1",
                     "--srv-host=_w._tcp.test,three.test,8003,10,1",
                     "--srv-host=_w._tcp.test,one.test,8001,10,5", (char *)NULL);
        _exit(127);
    }
    return pid;
}

/* Until it takes connections (true) or has ended. */
static bool is_up(uint16_t port, pid_t pid, int *status)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int failed;
    do {
        if (waitpid(pid, status, WNOHANG) == pid) {
            return false;
        }
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        failed = connect(fd, (const struct sockaddr *)&to, sizeof to);
        (void)close(fd);
        (void)sched_yield();
    } while (failed != 0);
    return true;
}

/* A dnsmasq that answers `asker`; -1 when it is not installed. */
static pid_t begin_with_dnsmasq(struct asker *asker)
{
    for (int i = 0; i < 20; i++) {
        uint16_t port = some_port();
        char servers[32];
        int status = 0;
        (void)snprintf(servers, sizeof servers, "127.0.0.1:%u", port);
        (void)setenv("GRAPEVINE_DNS_SERVERS", servers, 1);
        pid_t pid = start_dnsmasq(port);
        if (is_up(port, pid, &status)) {
            begin(asker);
            return pid;
        }
        if (WIFEXITED(status) && WEXITSTATUS(status) == 127) {
            return -1;
        }
    }
    CU_FAIL("dnsmasq is there but does not start");
    return -1;
}

static void dns_is_asked_for_addresses_and_services(void)
{
    struct asker asker;
    pid_t pid = begin_with_dnsmasq(&asker);
    if (pid < 0) {
        printf("(no dnsmasq: skipped) ");
        (void)unsetenv("GRAPEVINE_DNS_SERVERS");
        return;
    }
    ask(&asker, "one.test.", 1);
    CU_ASSERT(has(&asker, 0, "192.0.2.1:1"));
    CU_ASSERT_EQUAL(asker.ttl_s, 7);
    ask(&asker, "two.test.", 9);
    CU_ASSERT_EQUAL(asker.count, 2);
    CU_ASSERT(has(&asker, 0, "192.0.2.2:9"));
    CU_ASSERT(has(&asker, 1, "[2001:db8::2]:9"));
    ask(&asker, "none.test.", 9);
    CU_ASSERT_EQUAL(asker.err, GV_ENOTFOUND);
    CU_ASSERT_EQUAL(asker.count, 0);
    ask(&asker, "srv:_none._tcp.test.", 9);
    CU_ASSERT_EQUAL(asker.err, GV_ENOTFOUND);
    ask(&asker, "srv:_w._tcp.test.", 9);
    CU_ASSERT_EQUAL(asker.err, GV_OK);
    CU_ASSERT_EQUAL(asker.count, 4);
    CU_ASSERT(has(&asker, 0, "192.0.2.1:8001")); /* priority 10, weight 5 */
    CU_ASSERT(has(&asker, 1, "192.0.2.3:8003")); /* priority 10, weight 1 */
    CU_ASSERT(has(&asker, 2, "192.0.2.2:8002")); /* priority 20 */
    CU_ASSERT(has(&asker, 3, "[2001:db8::2]:8002"));
    CU_ASSERT_EQUAL(asker.ttl_s, 7);
    (void)kill(pid, SIGTERM);
    (void)waitpid(pid, NULL, 0);
    ask(&asker, "srv:_w._tcp.test.", 1);
    CU_ASSERT(asker.err == GV_EIO || asker.err == GV_ETIMEOUT); /* nobody there any more */
    end(&asker);
    (void)unsetenv("GRAPEVINE_DNS_SERVERS");
}

/* ---- SRV from bytes ---- */

/* One question "_w.t", and two answers whose names point back at it. */
static size_t make_answer(uint8_t *into, uint16_t priority_a, uint16_t priority_b)
{
    static const uint8_t head[] = {0, 1, 0x84, 0,   0, 1,   0, 2, 0,  0, 0,
                                   0, 2, '_',  'w', 1, 't', 0, 0, 33, 0, 1};
    memcpy(into, head, sizeof head);
    size_t len = sizeof head;
    for (int i = 0; i < 2; i++) {
        uint16_t priority = i == 0 ? priority_a : priority_b;
        const uint8_t record[] = {0xc0,
                                  12,
                                  0,
                                  33,
                                  0,
                                  1,
                                  0,
                                  0,
                                  0,
                                  (uint8_t)(60 - i),
                                  0,
                                  10,
                                  (uint8_t)(priority >> 8),
                                  (uint8_t)priority,
                                  0,
                                  1,
                                  0x1f,
                                  0x40,
                                  1,
                                  (uint8_t)('a' + i),
                                  0xc0,
                                  15};
        memcpy(into + len, record, sizeof record);
        len += sizeof record;
    }
    return len;
}

static void srv_records_are_ordered_and_their_least_ttl_counts(void)
{
    uint8_t bytes[128];
    struct gv_srv_record records[GV_SRV_MAX];
    size_t count = 0;
    uint32_t ttl_s = 0;
    size_t len = make_answer(bytes, 300, 20);
    CU_ASSERT_EQUAL(gv_srv_decode(gv_slice_of(bytes, len), records, &count, &ttl_s), GV_OK);
    CU_ASSERT_EQUAL(count, 2);
    CU_ASSERT_EQUAL(ttl_s, 59);
    CU_ASSERT_STRING_EQUAL(records[0].target, "b.t");
    CU_ASSERT_STRING_EQUAL(records[1].target, "a.t");
    CU_ASSERT_EQUAL(records[1].priority, 300);
    CU_ASSERT_EQUAL(records[0].port, 8000);
}

static void a_broken_answer_is_an_error_wherever_it_is_cut(void)
{
    uint8_t bytes[128];
    struct gv_srv_record records[GV_SRV_MAX];
    size_t count = 77;
    uint32_t ttl_s = 0;
    size_t len = make_answer(bytes, 1, 2);
    for (size_t cut = 0; cut < len; cut++) {
        uint8_t *exact = malloc(cut + 1); /* so that reading on is noticed */
        memcpy(exact, bytes, cut);
        CU_ASSERT_EQUAL(gv_srv_decode(gv_slice_of(exact, cut), records, &count, &ttl_s), GV_EPROTO);
        free(exact);
    }
    CU_ASSERT_EQUAL(count, 77);
    bytes[22] = 0xc0; /* the first answer's name points at itself: a loop */
    bytes[23] = 22;
    CU_ASSERT_EQUAL(gv_srv_decode(gv_slice_of(bytes, len), records, &count, &ttl_s), GV_EPROTO);
    len = make_answer(bytes, 1, 2);
    bytes[41] = ' '; /* the target's label */
    CU_ASSERT_EQUAL(gv_srv_decode(gv_slice_of(bytes, len), records, &count, &ttl_s), GV_EPROTO);
}

GV_SUITE("net/resolve", GV_CASE(a_numeric_address_is_its_own_answer),
         GV_CASE(localhost_needs_no_dns), GV_CASE(an_impossible_name_is_refused_at_once),
         GV_CASE(closing_cancels_what_is_under_way),
         GV_CASE(dns_is_asked_for_addresses_and_services),
         GV_CASE(srv_records_are_ordered_and_their_least_ttl_counts),
         GV_CASE(a_broken_answer_is_an_error_wherever_it_is_cut))
