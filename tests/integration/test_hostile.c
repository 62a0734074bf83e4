/*
 * test_hostile.c - peers that mean harm, and a machine that runs out: what the data path does then.
 */
#include "grapevine/base/mem.h"
#include "support/fake.h"
#include "support/process.h"
#include "support/rig.h"
#include "support/suite.h"
#include "support/talk.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHAT "/v1/chat/completions"
#define BODY "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hello there\"}]}"

static bool reply_hello(struct gv_fake *fake, int fd)
{
    (void)fake;
    gv_fake_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    return true;
}

/* ---- a client that asks and asks, and never reads ---- */

#define PROBE       "GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
#define PROBE_BYTES (sizeof PROBE - 1)
#define FLOOD_COUNT 2000000u /* far more than what sockets hold: 66 MB out, 300 MB back */

/* Send whole probes until nothing was taken for a while; how many bytes went out. */
static size_t flood(int fd)
{
    static char many[PROBE_BYTES * 1024];
    for (size_t i = 0; i < 1024; i++) {
        memcpy(many + i * PROBE_BYTES, PROBE, PROBE_BYTES);
    }
    size_t sent = 0;
    for (int still = 0; still < 100 && sent < FLOOD_COUNT * PROBE_BYTES;) {
        size_t at = sent % PROBE_BYTES;
        ssize_t took = send(fd, many + at, sizeof many - at, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (took > 0) {
            sent += (size_t)took;
            still = 0;
        } else {
            CU_ASSERT_FATAL(took < 0 && errno == EAGAIN);
            still += 1;
            gv_test_pause();
        }
    }
    return sent;
}

static size_t count_answers(int fd, size_t wanted)
{
    static char bytes[1 << 16];
    static const char start[] = "HTTP/1.1 200 OK";
    size_t seen = 0;
    size_t matched = 0;
    while (seen < wanted) {
        ssize_t got = read(fd, bytes, sizeof bytes);
        if (got <= 0) {
            break;
        }
        for (ssize_t i = 0; i < got; i++) {
            matched = bytes[i] == start[matched] ? matched + 1 : (bytes[i] == start[0] ? 1 : 0);
            if (matched == sizeof start - 1) {
                seen += 1;
                matched = 0;
            }
        }
    }
    return seen;
}

static void answers_that_nobody_reads_do_not_pile_up(void)
{
    struct gv_rig rig;
    gv_rig_init(&rig);
    gv_rig_start(&rig);
    int fd = gv_talk_connect(rig.port);
    size_t sent = flood(fd);
    CU_ASSERT(sent < FLOOD_COUNT * PROBE_BYTES); /* it was held back */
    CU_ASSERT(gv_mem_used(GV_MEM_NET) + gv_mem_used(GV_MEM_BUFFER) < (4u << 20));
    size_t asked = sent / PROBE_BYTES;
    CU_ASSERT_EQUAL(count_answers(fd, asked), asked); /* and then served, every one */
    close(fd);
    gv_rig_stop(&rig);
}

/* ---- no descriptors left ---- */

static void our_own_shortage_is_not_held_against_a_worker(void)
{
    struct gv_rig rig;
    struct gv_fake fake;
    struct gv_reply reply;
    char request[512];
    gv_rig_init(&rig);
    gv_fake_start(&fake, reply_hello);
    gv_rig_add_worker(&rig, fake.url, GV_POOL_REGULAR, GV_WORKER_READY);
    rig.config.disable_retries = 1;
    rig.config.cb_failure_threshold = 1;
    gv_rig_start(&rig);
    int fd = gv_talk_connect(rig.port);
    snprintf(request, sizeof request,
             "POST " CHAT " HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n%s", strlen(BODY),
             BODY);
    CU_ASSERT(gv_talk_send_text(fd, PROBE)); /* once answered, the connection has its descriptor */
    gv_talk_read(fd, &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    gv_reply_deinit(&reply);
    struct rlimit before;
    CU_ASSERT_EQUAL_FATAL(getrlimit(RLIMIT_NOFILE, &before), 0);
    struct rlimit none = {.rlim_cur = 3, .rlim_max = before.rlim_max};
    CU_ASSERT_EQUAL_FATAL(setrlimit(RLIMIT_NOFILE, &none), 0);
    CU_ASSERT(gv_talk_send_text(fd, request));
    gv_talk_read(fd, &reply);
    CU_ASSERT_EQUAL_FATAL(setrlimit(RLIMIT_NOFILE, &before), 0);
    CU_ASSERT_EQUAL(reply.status, 502);
    gv_reply_deinit(&reply);
    CU_ASSERT(gv_talk_send_text(fd, request));
    gv_talk_read(fd, &reply);
    CU_ASSERT_EQUAL(reply.status, 200); /* the breaker is still closed */
    gv_reply_deinit(&reply);
    close(fd);
    gv_rig_stop(&rig);
    gv_fake_stop(&fake);
}

/* ---- a cut that would look like an end ---- */

/* One event and then the end, in the middle. */
static bool reply_cut(struct gv_fake *fake, int fd)
{
    (void)fake;
    gv_fake_say(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: x\n\n\r\n");
    return false;
}

static void a_cut_answer_to_http_1_0_ends_in_a_reset_and_not_in_an_end(void)
{
    struct gv_rig rig;
    struct gv_fake fake;
    char request[512];
    char got[4096];
    gv_rig_init(&rig);
    gv_fake_start(&fake, reply_cut);
    gv_rig_add_worker(&rig, fake.url, GV_POOL_REGULAR, GV_WORKER_READY);
    gv_rig_start(&rig);
    int fd = gv_talk_connect(rig.port);
    snprintf(request, sizeof request, "POST " CHAT " HTTP/1.0\r\nContent-Length: %zu\r\n\r\n%s",
             strlen(BODY), BODY);
    CU_ASSERT(gv_talk_send_text(fd, request));
    ssize_t last;
    do {
        last = read(fd, got, sizeof got);
    } while (last > 0);
    CU_ASSERT(last < 0);
    CU_ASSERT_EQUAL(errno, ECONNRESET);
    close(fd);
    gv_rig_stop(&rig);
    gv_fake_stop(&fake);
}

GV_SUITE("integration/hostile", GV_CASE(answers_that_nobody_reads_do_not_pile_up),
         GV_CASE(our_own_shortage_is_not_held_against_a_worker),
         GV_CASE(a_cut_answer_to_http_1_0_ends_in_a_reset_and_not_in_an_end))
