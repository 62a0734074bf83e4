/*
 * Resets: who notices them and when, and what they mean to a stream that has not read everything.
 */
#include "ends.h"
#include "support/talk.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

static void a_reset_is_noticed_at_once(void)
{
    struct world world;
    begin_connected(&world);
    gv_stream_reset(world.client.stream);
    CU_ASSERT_EQUAL(world.client.closed, 0); /* never from inside */
    run_until(&world, both_closed);
    CU_ASSERT_EQUAL(world.client.why, GV_OK);
    CU_ASSERT_EQUAL(world.server.why, GV_ECLOSED);
    CU_ASSERT_EQUAL(world.server.ended, 0);
    end(&world);
}

static bool server_cannot_send(struct world *world)
{
    return world->server.stream == NULL ||
           gv_stream_send(world->server.stream, gv_slice_text("x")) == GV_ECLOSED;
}

/* The server cannot hear the reset, because it reads nothing; its own sending tells it. */
static void writing_to_a_peer_that_is_gone_says_closed(void)
{
    struct world world;
    begin(&world);
    world.server.starts_paused = true;
    connect_to(&world, gv_listener_addr(world.listener));
    run_until(&world, both_open);
    CU_ASSERT_EQUAL(gv_stream_send(world.client.stream, gv_slice_text("unread")), GV_OK);
    gv_stream_reset(world.client.stream);
    gv_stream_close(world.client.stream); /* twice is harmless */
    run_until(&world, server_cannot_send);
    run_until(&world, both_closed);
    CU_ASSERT_EQUAL(world.server.why, GV_ECLOSED);
    end(&world);
}

/* The peer answered early and went; our own write fails, but its answer is still read. */
static void what_the_peer_said_before_it_went_is_still_read(void)
{
    struct world world;
    begin_connected(&world);
    CU_ASSERT_EQUAL(gv_stream_send(world.server.stream, gv_slice_text("early")), GV_OK);
    gv_stream_reset(world.server.stream);
    CU_ASSERT_EQUAL(gv_stream_send(world.client.stream, gv_slice_text("x")), GV_ECLOSED);
    CU_ASSERT_EQUAL(gv_stream_send(world.client.stream, gv_slice_text("x")), GV_ECLOSED);
    run_until(&world, both_closed);
    CU_ASSERT_STRING_EQUAL(world.client.text, "early");
    CU_ASSERT_EQUAL(world.client.ended, 0); /* not a clean end */
    CU_ASSERT_EQUAL(world.client.why, GV_ECLOSED);
    end(&world);
}

static void a_reset_with_a_full_queue_closes(void)
{
    struct world world;
    begin(&world);
    world.server.starts_paused = true;
    connect_to(&world, gv_listener_addr(world.listener));
    run_until(&world, both_open);
    fill(&world.client);
    gv_stream_reset(world.server.stream);
    run_until(&world, both_closed);
    CU_ASSERT_EQUAL(world.client.why, GV_ECLOSED);
    CU_ASSERT_EQUAL(world.client.drained, 0);
    end(&world);
}

/* What a stream hears of a peer that said its last words and went before anybody looked. */
struct hearing {
    struct gv_loop *loop;
    struct gv_stream *stream;
    int listen_fd, peer_fd;
    bool resets;
    size_t got_bytes;
    uint32_t ended, closed;
    enum gv_err why;
};

/* The peer's last words and its end are both here before the loop looks. */
static void hear_open(void *owner)
{
    struct hearing *hearing = owner;
    hearing->peer_fd = accept(hearing->listen_fd, NULL, NULL);
    CU_ASSERT_FATAL(hearing->peer_fd >= 0);
    CU_ASSERT_EQUAL(send(hearing->peer_fd, "last words", 10, 0), 10);
    struct linger at_once = {.l_onoff = hearing->resets ? 1 : 0, .l_linger = 0};
    CU_ASSERT_EQUAL(setsockopt(hearing->peer_fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once),
                    0);
    close(hearing->peer_fd);
}

static void hear_data(void *owner, struct gv_slice bytes)
{
    struct hearing *hearing = owner;
    hearing->got_bytes += bytes.len;
}

static void hear_end(void *owner)
{
    struct hearing *hearing = owner;
    hearing->ended += 1;
    gv_stream_close(hearing->stream);
}

static void hear_closed(void *owner, enum gv_err why)
{
    struct hearing *hearing = owner;
    hearing->closed += 1;
    hearing->why = why;
    gv_loop_stop(hearing->loop);
}

static const struct gv_stream_events hearing_events = {
    .on_open = hear_open, .on_data = hear_data, .on_end = hear_end, .on_closed = hear_closed};

static void hear_last_words(struct hearing *hearing, bool resets)
{
    *hearing = (struct hearing){.resets = resets};
    struct gv_addr addr = loopback;
    hearing->listen_fd = gv_talk_listen(1, &addr.port);
    CU_ASSERT_EQUAL_FATAL(gv_loop_new("test", &hearing->loop), GV_OK);
    CU_ASSERT_EQUAL_FATAL(
        gv_stream_connect(hearing->loop, &addr, &hearing_events, hearing, limits, &hearing->stream),
        GV_OK);
    gv_loop_run(hearing->loop);
    gv_loop_free(hearing->loop);
    close(hearing->listen_fd);
    CU_ASSERT_EQUAL(hearing->closed, 1);
    CU_ASSERT_EQUAL(gv_mem_used(GV_MEM_NET), 0);
}

static void an_end_behind_the_last_bytes_is_an_end(void)
{
    struct hearing hearing;
    hear_last_words(&hearing, false);
    CU_ASSERT_EQUAL(hearing.got_bytes, 10);
    CU_ASSERT_EQUAL(hearing.ended, 1);
    CU_ASSERT_EQUAL(hearing.why, GV_OK);
}

static void a_reset_behind_the_last_bytes_is_never_taken_for_an_end(void)
{
    struct hearing hearing;
    hear_last_words(&hearing, true);
    CU_ASSERT_EQUAL(hearing.ended, 0);
    CU_ASSERT_NOT_EQUAL(hearing.why, GV_OK);
}

GV_SUITE("net/stream_reset", GV_CASE(a_reset_is_noticed_at_once),
         GV_CASE(writing_to_a_peer_that_is_gone_says_closed),
         GV_CASE(what_the_peer_said_before_it_went_is_still_read),
         GV_CASE(a_reset_with_a_full_queue_closes), GV_CASE(an_end_behind_the_last_bytes_is_an_end),
         GV_CASE(a_reset_behind_the_last_bytes_is_never_taken_for_an_end))
