/*
 * How a stream ends in order: one direction after the other, and never ahead of its bytes.
 */
#include "ends.h"

/* The server says its last word and its end; the client can still ... finish in its turn. */
static void what_is_queued_arrives_before_the_end(void)
{
    struct world world;
    begin(&world);
    world.client.finishes_at_end = true;
    connect_to(&world, gv_listener_addr(world.listener));
    gv_stream_pause(world.client.stream);
    run_until(&world, both_open);
    fill(&world.server);
    gv_stream_finish(world.server.stream, 60000);
    CU_ASSERT_EQUAL(gv_stream_send(world.server.stream, gv_slice_text("x")), GV_ECLOSED);
    gv_stream_resume(world.client.stream);
    run_until(&world, both_closed);
    CU_ASSERT_EQUAL(world.client.got_bytes, sent_bytes);
    CU_ASSERT_EQUAL(world.client.ended, 1);
    CU_ASSERT_EQUAL(world.client.why, GV_OK);
    CU_ASSERT_EQUAL(world.server.why, GV_OK);
    end(&world);
}

static bool server_closed(struct world *world)
{
    return world->server.closed == 1;
}

static void finishing_gives_up_after_its_linger_time(void)
{
    struct world world;
    begin(&world);
    connect_to(&world, gv_listener_addr(world.listener));
    gv_stream_pause(world.client.stream);
    run_until(&world, both_open);
    fill(&world.server);
    gv_stream_finish(world.server.stream, 5);
    run_until(&world, server_closed);
    CU_ASSERT_EQUAL(world.server.why, GV_ETIMEOUT);
    end(&world);
}

/* An end is only an end of one direction. */
static void after_the_peers_end_we_may_still_send(void)
{
    struct world world;
    begin(&world);
    connect_to(&world, gv_listener_addr(world.listener));
    gv_stream_set_owner(world.client.stream, &events, &world.client);
    run_until(&world, both_open);
    gv_stream_finish(world.client.stream, 5000);
    run_until(&world, server_ended);
    CU_ASSERT_EQUAL(world.server.closed, 0);
    CU_ASSERT_EQUAL(gv_stream_send(world.server.stream, gv_slice_text("bye")), GV_OK);
    gv_stream_finish(world.server.stream, 5000);
    run_until(&world, both_closed);
    CU_ASSERT_EQUAL(world.client.got_bytes, 0); /* who has finished reads no more */
    CU_ASSERT_EQUAL(world.client.why, GV_OK);
    CU_ASSERT_EQUAL(world.server.why, GV_OK);
    end(&world);
}

static void without_on_end_the_peers_end_closes(void)
{
    struct world world;
    begin_connected(&world);
    gv_stream_set_owner(world.server.stream, &simple_events, &world.server);
    gv_stream_close(world.client.stream);
    run_until(&world, both_closed);
    CU_ASSERT_EQUAL(world.server.ended, 0);
    CU_ASSERT_EQUAL(world.server.why, GV_OK);
    end(&world);
}

static void a_reset_and_an_end_are_noticed_while_paused(void)
{
    struct world world;
    begin(&world);
    world.server.starts_paused = true;
    connect_to(&world, gv_listener_addr(world.listener));
    run_until(&world, both_open);
    gv_stream_reset(world.client.stream);
    run_until(&world, both_closed);
    CU_ASSERT_EQUAL(world.server.why, GV_ECLOSED);
    end(&world);

    begin(&world);
    world.server.starts_paused = true;
    connect_to(&world, gv_listener_addr(world.listener));
    run_until(&world, both_open);
    gv_stream_finish(world.client.stream, 5000);
    run_until(&world, server_ended);
    CU_ASSERT_EQUAL(world.server.closed, 0);
    end(&world);
}

/* ... but never ahead of bytes that were not delivered yet. */
static void an_end_does_not_overtake_bytes_of_a_paused_stream(void)
{
    struct world world;
    begin(&world);
    world.server.starts_paused = true;
    connect_to(&world, gv_listener_addr(world.listener));
    run_until(&world, both_open);
    CU_ASSERT_EQUAL(gv_stream_send(world.client.stream, gv_slice_text("abc")), GV_OK);
    gv_stream_finish(world.client.stream, 1000);
    run_until(&world, client_closed); /* 500 ms: longer than two looks at the paused */
    CU_ASSERT_EQUAL(world.server.ended, 0);
    gv_stream_resume(world.server.stream);
    run_until(&world, server_ended);
    CU_ASSERT_STRING_EQUAL(world.server.text, "abc");
    end(&world);
}

GV_SUITE("net/stream_end", GV_CASE(what_is_queued_arrives_before_the_end),
         GV_CASE(finishing_gives_up_after_its_linger_time),
         GV_CASE(after_the_peers_end_we_may_still_send),
         GV_CASE(without_on_end_the_peers_end_closes),
         GV_CASE(a_reset_and_an_end_are_noticed_while_paused),
         GV_CASE(an_end_does_not_overtake_bytes_of_a_paused_stream))
