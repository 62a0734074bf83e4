/*
 * How long a peer that says nothing is believed to be there.
 */
#include "grapevine/base/mem.h"
#include "grapevine/net/listener.h"
#include "grapevine/net/stream.h"
#include "support/suite.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#define FD_MAX 256

static const struct gv_stream_limits limits = {.high_mark_bytes = 1000, .low_mark_bytes = 100};

struct world {
    struct gv_loop *loop;
    uint32_t opened;
};

static int option(int fd, int level, int name)
{
    int value = 0;
    socklen_t len = sizeof value;
    return getsockopt(fd, level, name, &value, &len) == 0 ? value : -1;
}

/* Connected TCP sockets of this process that ask a silent peer; each as patiently as it should. */
static uint32_t count_patient(int silence_s)
{
    uint32_t count = 0;
    for (int fd = 0; fd < FD_MAX; fd++) {
        if (option(fd, SOL_SOCKET, SO_KEEPALIVE) == 1) {
            int idle_s = option(fd, IPPROTO_TCP, TCP_KEEPIDLE);
            int again_s = option(fd, IPPROTO_TCP, TCP_KEEPINTVL);
            int times = option(fd, IPPROTO_TCP, TCP_KEEPCNT);
            CU_ASSERT_EQUAL(idle_s, silence_s);
            CU_ASSERT(again_s >= 10);             /* not each second */
            CU_ASSERT_EQUAL(again_s * times, 30); /* nor for ever */
            count++;
        }
    }
    return count;
}

static void on_both(struct world *world)
{
    if (++world->opened == 2) {
        gv_loop_stop(world->loop);
    }
}

static void on_open(void *owner)
{
    on_both(owner);
}

static void on_data(void *owner, struct gv_slice bytes)
{
    (void)owner;
    (void)bytes;
}

static void on_closed(void *owner, enum gv_err why)
{
    (void)owner;
    (void)why;
}

static const struct gv_stream_events events = {
    .on_open = on_open, .on_data = on_data, .on_closed = on_closed};

static void on_accept(void *owner, struct gv_stream *stream)
{
    gv_stream_adopt(stream, &events, owner, limits);
    on_both(owner);
}

/* Connect to ourselves; how many of the two ends ask. */
static uint32_t count_asking(const uint32_t *keepalive_s)
{
    struct world world = {.opened = 0};
    struct gv_listener *listener;
    struct gv_stream *stream;
    struct gv_listener_options options = {.addr = {.family = 4, .ip = {127, 0, 0, 1}}};
    CU_ASSERT_EQUAL_FATAL(gv_loop_new("test", &world.loop), GV_OK);
    if (keepalive_s != NULL) {
        gv_loop_set_keepalive(world.loop, *keepalive_s);
    }
    CU_ASSERT_EQUAL_FATAL(gv_listener_open(world.loop, options, on_accept, &world, &listener),
                          GV_OK);
    struct gv_addr at = gv_listener_addr(listener);
    CU_ASSERT_EQUAL_FATAL(gv_stream_connect(world.loop, &at, &events, &world, limits, &stream),
                          GV_OK);
    gv_loop_run(world.loop);
    uint32_t count = count_patient(keepalive_s != NULL ? (int)*keepalive_s : 30);
    gv_loop_free(world.loop);
    CU_ASSERT_EQUAL(gv_mem_used(GV_MEM_NET), 0);
    return count;
}

static void a_silent_peer_has_half_a_minute_to_answer_when_it_is_asked(void)
{
    CU_ASSERT_EQUAL(count_asking(NULL), 2); /* ours, and the one accepted */
}

static void how_long_it_may_be_silent_is_the_loops_to_say(void)
{
    const uint32_t never = 0, least = 1, most = 32767;
    CU_ASSERT_EQUAL(count_asking(&never), 0);
    CU_ASSERT_EQUAL(count_asking(&least), 2);
    CU_ASSERT_EQUAL(count_asking(&most), 2);
}

GV_SUITE("net/stream, keepalive",
         GV_CASE(a_silent_peer_has_half_a_minute_to_answer_when_it_is_asked),
         GV_CASE(how_long_it_may_be_silent_is_the_loops_to_say))
