/*
 * test_bad_moments.c - clients that say nothing, say it slowly, leave at the wrong moment, or send
 * far more than they wait for. Bodies that trickle are in slow_clients, answers that nobody reads
 * in stalled_clients and hostile.
 */
#include "grapevine/base/mem.h"
#include "support/fake.h"
#include "support/process.h"
#include "support/rig.h"
#include "support/suite.h"
#include "support/talk.h"
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD    "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"
#define BODY    "{\"messages\":[]}"
#define REQUEST HEAD "Content-Length: 15\r\n\r\n" BODY
#define PROBE   "GET /liveness HTTP/1.1\r\nHost: x\r\n\r\n"

static bool reply_ok(struct gv_fake *fake, int fd)
{
    (void)fake;
    gv_fake_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
    return true;
}

/* Nothing at all, until the router hangs up. */
static bool reply_never(struct gv_fake *fake, int fd)
{
    char byte;
    if (read(fd, &byte, 1) <= 0) {
        atomic_fetch_add(&fake->gone_count, 1);
    }
    return false;
}

static atomic_bool may_end;

/* An event, and the rest when the test says so. */
static bool reply_held_stream(struct gv_fake *fake, int fd)
{
    (void)fake;
    gv_fake_say(fd, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                    "Transfer-Encoding: chunked\r\n\r\n9\r\ndata: a\n\n\r\n");
    while (!atomic_load(&may_end)) {
        gv_test_pause();
    }
    gv_fake_say(fd, "e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n");
    return true;
}

static void begin(struct gv_rig *rig, struct gv_fake *fake, gv_fake_fn reply)
{
    gv_rig_init(rig);
    gv_fake_start(fake, reply);
    gv_rig_add_worker(rig, fake->url, GV_POOL_REGULAR, GV_WORKER_READY);
}

static void end(struct gv_rig *rig, struct gv_fake *fake)
{
    gv_rig_stop(rig);
    gv_fake_stop(fake);
}

/* The status of the answer that comes, after which the connection must end. */
static int last_status(int fd)
{
    struct gv_reply reply;
    gv_talk_read(fd, &reply);
    int status = reply.status;
    CU_ASSERT(gv_talk_read_end(fd));
    gv_reply_deinit(&reply);
    return status;
}

/* ---- slow ---- */

static bool has_come(int fd)
{
    char byte;
    return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0;
}

static void a_head_that_never_ends_is_408_however_often_a_byte_comes(void)
{
    static const char *const pieces[] = {"", "a", "X: y\r\n"};
    struct gv_rig rig;
    struct gv_fake fake;
    begin(&rig, &fake, reply_ok);
    rig.config.client_head_timeout_ms = 400;
    rig.config.max_header_count = 256;
    rig.config.max_head_bytes = 1 << 20;
    gv_rig_start(&rig);
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        int fd = gv_talk_connect(rig.port);
        CU_ASSERT(gv_talk_send_text(fd, HEAD "X: "));
        /* every 100 ms at most: so that the limit of headers is never what ends it */
        for (int passed = 0; !has_come(fd); passed++) {
            if (passed % 20 == 0) {
                (void)gv_talk_send_text(fd, pieces[i]);
            }
            gv_test_pause();
        }
        CU_ASSERT_EQUAL(last_status(fd), 408);
        close(fd);
    }
    CU_ASSERT_EQUAL(atomic_load(&fake.request_count), 0);
    end(&rig, &fake);
}

static void a_length_without_its_body_is_408_and_gets_no_memory(void)
{
    struct gv_rig rig;
    struct gv_fake fake;
    begin(&rig, &fake, reply_ok);
    rig.config.client_body_timeout_ms = 300;
    rig.config.max_payload_bytes = 512u << 20;
    gv_rig_start(&rig);
    int fds[20];
    for (size_t i = 0; i < 20; i++) {
        fds[i] = gv_talk_connect(rig.port);
        CU_ASSERT(gv_talk_send_text(fds[i], HEAD "Content-Length: 536870912\r\n\r\n{"));
    }
    for (size_t i = 0; i < 20; i++) {
        CU_ASSERT_EQUAL(last_status(fds[i]), 408);
        CU_ASSERT(gv_mem_used(GV_MEM_BUFFER) + gv_mem_used(GV_MEM_NET) < (8u << 20));
        close(fds[i]);
    }
    CU_ASSERT_EQUAL(atomic_load(&fake.request_count), 0);
    end(&rig, &fake);
}

static void who_connects_and_says_nothing_is_let_go_without_a_word(void)
{
    struct gv_rig rig;
    struct gv_fake fake;
    struct gv_reply reply;
    begin(&rig, &fake, reply_ok);
    rig.config.client_idle_timeout_ms = 300;
    gv_rig_start(&rig);
    int silent = gv_talk_connect(rig.port);
    int resting = gv_talk_connect(rig.port); /* the same between two requests */
    CU_ASSERT(gv_talk_send_text(resting, REQUEST));
    gv_talk_read(resting, &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    gv_reply_deinit(&reply);
    char byte;
    CU_ASSERT_EQUAL(recv(silent, &byte, 1, 0), 0);
    CU_ASSERT_EQUAL(recv(resting, &byte, 1, 0), 0);
    close(silent);
    close(resting);
    end(&rig, &fake);
}

/* ---- leaving ---- */

static bool worker_saw_the_end(void *owner)
{
    struct gv_fake *fake = owner;
    return atomic_load(&fake->gone_count) == atomic_load(&fake->request_count);
}

static bool worker_has_one_more(void *owner)
{
    struct gv_fake *fake = owner;
    return atomic_load(&fake->request_count) == atomic_load(&fake->gone_count) + 1;
}

/* Nobody would read a stream for minutes to find out that its client is gone. */
static void a_client_that_closes_its_half_after_a_request_is_taken_for_gone(void)
{
    struct gv_rig rig;
    struct gv_fake fake;
    begin(&rig, &fake, reply_never);
    gv_rig_start(&rig);
    int fd = gv_talk_connect(rig.port);
    CU_ASSERT(gv_talk_send_text(fd, REQUEST));
    CU_ASSERT(gv_test_await(worker_has_one_more, &fake, 0));
    CU_ASSERT_EQUAL(shutdown(fd, SHUT_WR), 0);
    char byte;
    CU_ASSERT_EQUAL(recv(fd, &byte, 1, 0), 0);
    CU_ASSERT(gv_test_await(worker_saw_the_end, &fake, 0));
    CU_ASSERT(gv_test_await(gv_rig_is_unloaded, &rig, 0));
    close(fd);
    end(&rig, &fake);
}

/* What was answered before the end of its half is delivered. */
static void an_answer_given_before_the_half_closes_arrives(void)
{
    struct gv_rig rig;
    struct gv_fake fake;
    begin(&rig, &fake, reply_ok);
    gv_rig_start(&rig);
    int fd = gv_talk_connect(rig.port);
    CU_ASSERT(gv_talk_send_text(fd, PROBE));
    CU_ASSERT_EQUAL(shutdown(fd, SHUT_WR), 0);
    CU_ASSERT_EQUAL(last_status(fd), 200);
    close(fd);
    end(&rig, &fake);
}

/* Every moment before the worker knows: it never hears of it, and nothing is left. */
static void a_reset_inside_a_request_leaves_nothing_behind(void)
{
    struct gv_rig rig;
    struct gv_fake fake;
    struct gv_reply reply;
    begin(&rig, &fake, reply_ok);
    gv_rig_start(&rig);
    for (size_t cut = 0; cut < sizeof REQUEST - 1; cut++) {
        int fd = gv_talk_connect(rig.port);
        CU_ASSERT(gv_talk_send(fd, REQUEST, cut));
        gv_talk_reset(fd);
    }
    gv_talk_ask(rig.port, "POST", "/v1/chat/completions", NULL, BODY, &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    gv_reply_deinit(&reply);
    CU_ASSERT_EQUAL(atomic_load(&fake.request_count), 1);
    end(&rig, &fake);
}

static void a_reset_while_the_worker_thinks_ends_its_work(void)
{
    static const char *const ahead[] = {"", PROBE, REQUEST, "POST /v1", HEAD "Content-Length: 9"};
    struct gv_rig rig;
    struct gv_fake fake;
    begin(&rig, &fake, reply_never);
    gv_rig_start(&rig);
    for (size_t i = 0; i < sizeof ahead / sizeof ahead[0]; i++) { /* with requests waiting behind */
        int fd = gv_talk_connect(rig.port);
        CU_ASSERT(gv_talk_send_text(fd, REQUEST));
        CU_ASSERT(gv_talk_send_text(fd, ahead[i]));
        CU_ASSERT(gv_test_await(worker_has_one_more, &fake, 0));
        gv_talk_reset(fd);
        CU_ASSERT(gv_test_await(worker_saw_the_end, &fake, 0));
        CU_ASSERT(gv_test_await(gv_rig_is_unloaded, &rig, 0));
        CU_ASSERT_EQUAL(atomic_load(&fake.request_count), (int)i + 1);
    }
    end(&rig, &fake);
}

static bool reply_head_then_never(struct gv_fake *fake, int fd)
{
    gv_fake_say(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    return reply_never(fake, fd);
}

static bool reply_event_then_never(struct gv_fake *fake, int fd)
{
    gv_fake_say(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: a\n\n\r\n");
    return reply_never(fake, fd);
}

static bool reply_half_a_chunk_then_never(struct gv_fake *fake, int fd)
{
    gv_fake_say(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\ndata");
    return reply_never(fake, fd);
}

static void a_reset_inside_an_answer_ends_the_workers_work(void)
{
    static const gv_fake_fn replies[] = {reply_head_then_never, reply_event_then_never,
                                         reply_half_a_chunk_then_never};
    for (size_t i = 0; i < sizeof replies / sizeof replies[0]; i++) {
        struct gv_rig rig;
        struct gv_fake fake;
        begin(&rig, &fake, replies[i]);
        gv_rig_start(&rig);
        int fd = gv_talk_connect(rig.port);
        CU_ASSERT(gv_talk_send_text(fd, REQUEST));
        CU_ASSERT(gv_test_await(worker_has_one_more, &fake, 0));
        if (i >
            0) { /* a head alone is kept until a body follows: an empty answer can be replaced */
            char byte;
            CU_ASSERT_EQUAL(recv(fd, &byte, 1, 0), 1);
        }
        gv_talk_reset(fd);
        CU_ASSERT(gv_test_await(worker_saw_the_end, &fake, 0));
        end(&rig, &fake);
    }
}

/* ---- more than is waited for ---- */

/* Send all of `out` and read at the same time, until `count` answers with growing ids have come. */
static size_t pump(int fd, const char *out, size_t len, size_t count)
{
    static char text[1 << 16];
    size_t have = 0;
    size_t next = 0;
    while (next < count) {
        struct pollfd ready = {.fd = fd, .events = (short)(POLLIN | (len > 0 ? POLLOUT : 0))};
        if (poll(&ready, 1, (int)GV_PROCESS_DEADLINE_MS) <= 0) {
            break;
        }
        if ((ready.revents & POLLOUT) != 0) {
            ssize_t sent = send(fd, out, len, MSG_DONTWAIT | MSG_NOSIGNAL);
            out += sent > 0 ? sent : 0;
            len -= sent > 0 ? (size_t)sent : 0;
        }
        if ((ready.revents & POLLIN) == 0) {
            continue;
        }
        ssize_t got = recv(fd, text + have, sizeof text - 1 - have, 0);
        if (got <= 0) {
            break;
        }
        have += (size_t)got;
        text[have] = '\0';
        char *at = text;
        for (char *end; (end = strstr(at, "\r\n\r\n{}")) != NULL; at = end + 6) {
            char wanted[64];
            snprintf(wanted, sizeof wanted, "x-request-id: r%zu\r\n", next);
            char *id = strstr(at, wanted);
            if (strncmp(at, "HTTP/1.1 200 ", 13) != 0 || id == NULL || id > end) {
                return next;
            }
            next += 1;
        }
        have -= (size_t)(at - text);
        memmove(text, at, have);
    }
    return next;
}

static void ten_thousand_pipelined_requests_are_answered_in_order(void)
{
    enum {
        COUNT = 10000
    };
    struct gv_rig rig;
    struct gv_fake fake;
    begin(&rig, &fake, reply_ok);
    gv_rig_start(&rig);
    char *all = malloc(COUNT * 256);
    size_t len = 0;
    for (size_t i = 0; i < COUNT; i++) {
        len += (size_t)sprintf(all + len,
                               HEAD "X-Request-Id: r%zu\r\nContent-Length: 15\r\n\r\n" BODY, i);
    }
    int fd = gv_talk_connect(rig.port);
    CU_ASSERT_EQUAL(pump(fd, all, len, COUNT), COUNT);
    CU_ASSERT_EQUAL(atomic_load(&fake.request_count), COUNT);
    CU_ASSERT_EQUAL(atomic_load(&fake.line_count), 1);
    close(fd);
    free(all);
    end(&rig, &fake);
}

static void what_is_pipelined_behind_a_stream_waits_for_its_end(void)
{
    struct gv_rig rig;
    struct gv_fake fake;
    char got[4096];
    begin(&rig, &fake, reply_held_stream);
    gv_rig_start(&rig);
    atomic_store(&may_end, false);
    int fd = gv_talk_connect(rig.port);
    CU_ASSERT(gv_talk_send_text(fd, REQUEST PROBE "BREW / HTTP/1.1\r\nHost: x\r\n\r\n"));
    CU_ASSERT(gv_talk_read_until(fd, "data: a\n\n", got, sizeof got));
    CU_ASSERT_PTR_NULL(strstr(got + 1, "HTTP/1.1 "));
    atomic_store(&may_end, true);
    CU_ASSERT(gv_talk_read_until(fd, "\"not_implemented\"", got, sizeof got));
    char *done = strstr(got, "[DONE]\n\n\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n");
    CU_ASSERT_PTR_NOT_NULL_FATAL(done);
    CU_ASSERT_PTR_NOT_NULL(strstr(done, "HTTP/1.1 501 "));
    CU_ASSERT(gv_talk_read_end(fd));
    close(fd);
    end(&rig, &fake);
}

/* Send probes until nothing was taken for a while; how many bytes went out. */
static size_t flood(int fd, size_t most)
{
    static char many[(sizeof PROBE - 1) * 1024];
    for (size_t i = 0; i < 1024; i++) {
        memcpy(many + i * (sizeof PROBE - 1), PROBE, sizeof PROBE - 1);
    }
    size_t sent = 0;
    for (int still = 0; still < 100 && sent < most;) {
        size_t from = sent % (sizeof PROBE - 1);
        size_t len = sizeof many - from < most - sent ? sizeof many - from : most - sent;
        ssize_t took = send(fd, many + from, len, MSG_DONTWAIT | MSG_NOSIGNAL);
        sent += took > 0 ? (size_t)took : 0;
        still = took > 0 ? 0 : still + 1;
        if (took <= 0) {
            gv_test_pause();
        }
    }
    return sent;
}

static atomic_size_t wanted_bytes;

static bool holds_that_much(void *owner)
{
    (void)owner;
    return gv_mem_used(GV_MEM_BUFFER) >= atomic_load(&wanted_bytes);
}

/* --max-pipelined-bytes: up to it everything is taken, beyond it the kernel holds the rest. */
static void pipelined_bytes_are_kept_up_to_their_limit(void)
{
    static const uint32_t limits[] = {0, 64 * 1024, 8 * 1024 * 1024};
    static const size_t slack = 1024 * 1024; /* a read, and how a buffer grows */
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        struct gv_rig rig;
        struct gv_fake fake;
        begin(&rig, &fake, reply_held_stream);
        rig.config.max_pipelined_bytes = limits[i];
        gv_rig_start(&rig);
        atomic_store(&may_end, false);
        char got[4096];
        int fd = gv_talk_connect(rig.port);
        CU_ASSERT(gv_talk_send_text(fd, REQUEST));
        CU_ASSERT(gv_talk_read_until(fd, "data: a\n\n", got, sizeof got));
        size_t before = gv_mem_used(GV_MEM_BUFFER);
        bool is_below = i == 2;
        size_t sent = flood(fd, is_below ? limits[i] : 64u << 20);
        if (is_below) {
            atomic_store(&wanted_bytes, before + sent);
            CU_ASSERT_EQUAL(sent, limits[i]);
            CU_ASSERT(gv_test_await(holds_that_much, NULL, 0));
        } else {
            CU_ASSERT(sent < (64u << 20));
            CU_ASSERT(gv_mem_used(GV_MEM_BUFFER) < before + limits[i] + slack);
        }
        gv_talk_reset(fd);
        atomic_store(&may_end, true);
        end(&rig, &fake);
    }
}

/* ---- too many ---- */

static bool is_served(void *owner)
{
    const struct gv_rig *rig = owner;
    struct gv_reply reply;
    gv_talk_ask(rig->port, "GET", "/liveness", NULL, NULL, &reply);
    int status = reply.status;
    gv_reply_deinit(&reply);
    return status == 200;
}

static void a_connection_too_many_is_503_and_the_others_live(void)
{
    struct gv_rig rig;
    struct gv_fake fake;
    struct gv_reply reply;
    int fds[4];
    begin(&rig, &fake, reply_ok);
    rig.config.max_connections = 4;
    gv_rig_start(&rig);
    for (size_t i = 0; i < 4; i++) { /* at the limit */
        fds[i] = gv_talk_connect(rig.port);
        CU_ASSERT(gv_talk_send_text(fds[i], REQUEST));
        gv_talk_read(fds[i], &reply);
        CU_ASSERT_EQUAL(reply.status, 200);
        gv_reply_deinit(&reply);
    }
    int fd = gv_talk_connect(rig.port);
    CU_ASSERT_EQUAL(last_status(fd), 503);
    close(fd);
    CU_ASSERT(gv_talk_send_text(fds[0], REQUEST));
    gv_talk_read(fds[0], &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    gv_reply_deinit(&reply);
    close(fds[0]);
    CU_ASSERT(gv_test_await(is_served, &rig, 0)); /* room again */
    for (size_t i = 1; i < 4; i++) {
        close(fds[i]);
    }
    end(&rig, &fake);
}

GV_SUITE("integration/bad_moments",
         GV_CASE(a_head_that_never_ends_is_408_however_often_a_byte_comes),
         GV_CASE(a_length_without_its_body_is_408_and_gets_no_memory),
         GV_CASE(who_connects_and_says_nothing_is_let_go_without_a_word),
         GV_CASE(a_client_that_closes_its_half_after_a_request_is_taken_for_gone),
         GV_CASE(an_answer_given_before_the_half_closes_arrives),
         GV_CASE(a_reset_inside_a_request_leaves_nothing_behind),
         GV_CASE(a_reset_while_the_worker_thinks_ends_its_work),
         GV_CASE(a_reset_inside_an_answer_ends_the_workers_work),
         GV_CASE(ten_thousand_pipelined_requests_are_answered_in_order),
         GV_CASE(what_is_pipelined_behind_a_stream_waits_for_its_end),
         GV_CASE(pipelined_bytes_are_kept_up_to_their_limit),
         GV_CASE(a_connection_too_many_is_503_and_the_others_live))
