/*
 * Streams over loopback: how a connection comes to stand, and that bytes go through it.
 */
#include "ends.h"

static bool client_got_5(struct world *world)
{
    return world->client.got_bytes >= 5;
}

static void bytes_come_back_from_an_echo(void)
{
    struct world world;
    begin_connected(&world);
    world.server.echoes = true;
    CU_ASSERT_EQUAL(gv_stream_send2(world.client.stream, gv_slice_text("he"), gv_slice_text("llo")),
                    GV_OK);
    run_until(&world, client_got_5);
    CU_ASSERT_STRING_EQUAL(world.client.text, "hello");
    CU_ASSERT_EQUAL(gv_stream_queued_bytes(world.client.stream), 0);
    struct gv_addr a = gv_stream_local(world.client.stream);
    struct gv_addr b = gv_stream_peer(world.server.stream);
    CU_ASSERT(gv_addr_equal(&a, &b));
    a = gv_stream_peer(world.client.stream);
    b = gv_stream_local(world.server.stream);
    CU_ASSERT(gv_addr_equal(&a, &b));
    end(&world);
    CU_ASSERT_EQUAL(world.client.closed, 1); /* by gv_loop_free(), exactly once */
    CU_ASSERT_EQUAL(world.server.closed, 1);
}

static void bytes_sent_before_the_connection_stands_arrive(void)
{
    struct world world;
    begin(&world);
    world.server.echoes = true;
    connect_to(&world, gv_listener_addr(world.listener));
    CU_ASSERT_EQUAL(gv_stream_send(world.client.stream, gv_slice_text("early")), GV_OK);
    CU_ASSERT_EQUAL(world.client.opened, 0); /* never from inside */
    run_until(&world, client_got_5);
    CU_ASSERT_STRING_EQUAL(world.client.text, "early");
    end(&world);
}

static void a_refused_connection_says_so(void)
{
    struct world world;
    begin(&world);
    struct gv_addr addr = gv_listener_addr(world.listener);
    gv_listener_close(world.listener);
    connect_to(&world, addr);
    run_until(&world, client_closed);
    CU_ASSERT_EQUAL(world.client.why, GV_EREFUSED);
    CU_ASSERT_EQUAL(world.client.opened, 0);
    end(&world);
}

static void closing_while_connecting_calls_back_once(void)
{
    struct world world;
    begin(&world);
    connect_to(&world, gv_listener_addr(world.listener));
    gv_stream_close(world.client.stream);
    run_until(&world, client_closed);
    CU_ASSERT_EQUAL(world.client.why, GV_OK);
    CU_ASSERT_EQUAL(world.client.opened, 0);
    end(&world);
}

GV_SUITE("net/stream", GV_CASE(bytes_come_back_from_an_echo),
         GV_CASE(bytes_sent_before_the_connection_stands_arrive),
         GV_CASE(a_refused_connection_says_so), GV_CASE(closing_while_connecting_calls_back_once))
