/*
 * Clients that take nothing: how much of their answers a node holds, counted in its own queues.
 * What the kernels hold besides (the sockets' buffers) is not ours to bound here.
 */
#include "grapevine/base/mem.h"
#include "support/fake.h"
#include "support/process.h"
#include "support/rig.h"
#include "support/suite.h"
#include "support/talk.h"
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BOUND_BYTES (64u * 1024) /* of ours, for each client */
#define FLOOD_BYTES (24u << 20)  /* more than both kernels take */
#define STALLED     6
#define LOOKS       40 /* without a change, until nothing moves any more */

static const char body[] = "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}";
static atomic_size_t flooded;

static bool flood(int fd, const char *head, const char *piece, size_t len)
{
    gv_fake_say(fd, head);
    for (size_t sent = 0; sent < FLOOD_BYTES; sent += len) {
        if (!gv_talk_send(fd, piece, len)) {
            return false;
        }
        atomic_fetch_add(&flooded, len);
    }
    return true;
}

static bool flood_with_length(struct gv_fake *fake, int fd)
{
    static char piece[64 * 1024];
    char head[128];
    (void)fake;
    snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %u\r\n\r\n", FLOOD_BYTES);
    return flood(fd, head, piece, sizeof piece);
}

/* The smallest chunks there are: framing is most of it. */
static bool flood_with_chunks(struct gv_fake *fake, int fd)
{
    static char piece[6 * 8192];
    (void)fake;
    for (size_t i = 0; i < sizeof piece; i += 6) {
        memcpy(piece + i, "1\r\nx\r\n", 6);
    }
    return flood(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", piece,
                 sizeof piece) &&
           gv_talk_send_text(fd, "0\r\n\r\n");
}

static uint64_t queued_bytes(const struct gv_rig *rig)
{
    struct gv_proxy_stats stats;
    gv_proxy_stats(rig->proxy, &stats);
    return stats.queued_bytes;
}

static bool holds_something(void *owner)
{
    return queued_bytes(owner) > 0;
}

static bool holds_nothing(void *owner)
{
    return queued_bytes(owner) == 0;
}

/* The most that was held at any look, until nothing moves any more. */
static uint64_t most_held(const struct gv_rig *rig)
{
    uint64_t most = 0;
    size_t last = 0;
    for (int still = 0; still < LOOKS;) {
        size_t now = atomic_load(&flooded);
        uint64_t held = queued_bytes(rig);
        still = now == last && now > 0 ? still + 1 : 0;
        last = now;
        most = held > most ? held : most;
        gv_test_pause();
    }
    return most;
}

static int ask(const struct gv_rig *rig)
{
    char request[512];
    int fd = gv_talk_connect(rig->port);
    snprintf(request, sizeof request,
             "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n%s",
             strlen(body), body);
    CU_ASSERT(gv_talk_send_text(fd, request));
    return fd;
}

static void stall(gv_fake_fn reply, uint32_t clients, bool reads_in_the_end)
{
    struct gv_rig rig;
    struct gv_fake fake;
    int fds[STALLED];
    gv_rig_init(&rig);
    gv_fake_start(&fake, reply);
    gv_rig_add_worker(&rig, fake.url, GV_POOL_REGULAR, GV_WORKER_READY);
    gv_rig_start(&rig);
    atomic_store(&flooded, 0);
    for (uint32_t i = 0; i < clients; i++) {
        fds[i] = ask(&rig);
    }
    CU_ASSERT(gv_test_await(holds_something, &rig, 0));
    CU_ASSERT(most_held(&rig) <= (uint64_t)clients * BOUND_BYTES);
    CU_ASSERT(atomic_load(&flooded) < (size_t)clients * FLOOD_BYTES);
    for (uint32_t i = 0; i < clients; i++) {
        struct gv_reply answer;
        if (reads_in_the_end) {
            gv_talk_read(fds[i], &answer);
            CU_ASSERT(answer.whole);
            gv_reply_deinit(&answer);
        }
        close(fds[i]);
    }
    CU_ASSERT(gv_test_await(holds_nothing, &rig, 0));
    gv_rig_stop(&rig); /* nothing in flight, no load, no memory */
    gv_fake_stop(&fake);
}

static void a_stalled_client_bounds_its_engine_within_64_kib_of_ours(void)
{
    stall(flood_with_length, 1, true);
}

static void chunks_of_one_byte_hold_no_more(void)
{
    stall(flood_with_chunks, 1, false);
}

static void many_stalled_clients_hold_64_kib_each_and_leave_nothing_when_they_go(void)
{
    stall(flood_with_length, STALLED, false);
}

GV_SUITE("integration/stalled_clients",
         GV_CASE(a_stalled_client_bounds_its_engine_within_64_kib_of_ours),
         GV_CASE(chunks_of_one_byte_hold_no_more),
         GV_CASE(many_stalled_clients_hold_64_kib_each_and_leave_nothing_when_they_go))
