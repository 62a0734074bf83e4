/*
 * What a reset means to a stream that has not read everything yet.
 */
#include "grapevine/base/mem.h"
#include "grapevine/net/stream.h"
#include "support/suite.h"
#include "support/talk.h"
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct world {
    struct gv_loop *loop;
    struct gv_stream *stream;
    int listen_fd, peer_fd;
    bool resets;
    size_t got_bytes;
    uint32_t ended, closed;
    enum gv_err why;
};

/* The peer's last words and its end are both here before the loop looks. */
static void on_open(void *owner)
{
    struct world *world = owner;
    world->peer_fd = accept(world->listen_fd, NULL, NULL);
    CU_ASSERT_FATAL(world->peer_fd >= 0);
    CU_ASSERT_EQUAL(send(world->peer_fd, "last words", 10, 0), 10);
    struct linger at_once = {.l_onoff = world->resets ? 1 : 0, .l_linger = 0};
    CU_ASSERT_EQUAL(setsockopt(world->peer_fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
    close(world->peer_fd);
}

static void on_data(void *owner, struct gv_slice bytes)
{
    struct world *world = owner;
    world->got_bytes += bytes.len;
}

static void on_end(void *owner)
{
    struct world *world = owner;
    world->ended += 1;
    gv_stream_close(world->stream);
}

static void on_closed(void *owner, enum gv_err why)
{
    struct world *world = owner;
    world->closed += 1;
    world->why = why;
    gv_loop_stop(world->loop);
}

static const struct gv_stream_events events = {
    .on_open = on_open, .on_data = on_data, .on_end = on_end, .on_closed = on_closed};

static void hear_last_words(struct world *world, bool resets)
{
    *world = (struct world){.resets = resets};
    struct gv_addr addr = {.family = 4, .ip = {127, 0, 0, 1}};
    world->listen_fd = gv_talk_listen(1, &addr.port);
    struct gv_stream_limits limits = {.high_mark_bytes = 1000, .low_mark_bytes = 100};
    CU_ASSERT_EQUAL_FATAL(gv_loop_new("test", &world->loop), GV_OK);
    CU_ASSERT_EQUAL_FATAL(
        gv_stream_connect(world->loop, &addr, &events, world, limits, &world->stream), GV_OK);
    gv_loop_run(world->loop);
    gv_loop_free(world->loop);
    close(world->listen_fd);
    CU_ASSERT_EQUAL(world->closed, 1);
    CU_ASSERT_EQUAL(gv_mem_used(GV_MEM_NET), 0);
}

static void an_end_behind_the_last_bytes_is_an_end(void)
{
    struct world world;
    hear_last_words(&world, false);
    CU_ASSERT_EQUAL(world.got_bytes, 10);
    CU_ASSERT_EQUAL(world.ended, 1);
    CU_ASSERT_EQUAL(world.why, GV_OK);
}

static void a_reset_behind_the_last_bytes_is_never_taken_for_an_end(void)
{
    struct world world;
    hear_last_words(&world, true);
    CU_ASSERT_EQUAL(world.ended, 0);
    CU_ASSERT_NOT_EQUAL(world.why, GV_OK);
}

GV_SUITE("net/stream_reset", GV_CASE(an_end_behind_the_last_bytes_is_an_end),
         GV_CASE(a_reset_behind_the_last_bytes_is_never_taken_for_an_end))
