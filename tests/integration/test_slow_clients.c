/*
 * Clients that take their time with a request.
 */
#include "support/fake.h"
#include "support/process.h"
#include "support/rig.h"
#include "support/suite.h"
#include "support/talk.h"
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char head[] = "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n";

static bool reply_ok(struct gv_fake *fake, int fd)
{
    (void)fake;
    gv_fake_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
    return true;
}

/* An answer, or the end? */
static bool has_come(int fd)
{
    char byte;
    return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0;
}

/* A byte, `pieces` times; the status that comes in the end. */
static int trickle(uint32_t min_rate, const char *framing, const char *piece, size_t pieces)
{
    struct gv_rig rig;
    struct gv_fake fake;
    struct gv_reply reply;
    char text[512];
    gv_rig_init(&rig);
    gv_fake_start(&fake, reply_ok);
    gv_rig_add_worker(&rig, fake.url, GV_POOL_REGULAR, GV_WORKER_READY);
    rig.config.client_body_timeout_ms = 500;
    rig.config.client_body_min_rate = min_rate;
    gv_rig_start(&rig);
    int fd = gv_talk_connect(rig.port);
    snprintf(text, sizeof text, "%s%s\r\n\r\n", head, framing);
    bool is_open = gv_talk_send_text(fd, text);
    for (size_t i = 0; i < pieces && is_open && !has_come(fd); i++) {
        is_open = gv_talk_send_text(fd, piece);
        gv_test_pause();
    }
    gv_talk_read(fd, &reply);
    int status = reply.status;
    gv_reply_deinit(&reply);
    close(fd);
    CU_ASSERT_EQUAL(atomic_load(&fake.request_count), status == 200 ? 1 : 0);
    gv_rig_stop(&rig);
    gv_fake_stop(&fake);
    return status;
}

/* Never silent for long, but all its bytes would take minutes. */
static void a_body_that_trickles_is_408(void)
{
    CU_ASSERT_EQUAL(trickle(1000000, "Content-Length: 60000", "x", 59999), 408);
}

/* Framing is no body: chunks of one byte and their lines count one byte. */
static void a_body_that_trickles_in_chunks_is_408(void)
{
    CU_ASSERT_EQUAL(trickle(1000000, "Transfer-Encoding: chunked", "1\r\nx\r\n", 1000000), 408);
}

static void a_body_that_comes_at_once_is_never_late(void)
{
    CU_ASSERT_EQUAL(
        trickle(1000000000, "Content-Length: 28", "{\"messages\":[], \"model\":\"m\"}", 1), 200);
}

GV_SUITE("integration/slow_clients", GV_CASE(a_body_that_trickles_is_408),
         GV_CASE(a_body_that_trickles_in_chunks_is_408),
         GV_CASE(a_body_that_comes_at_once_is_never_late))
