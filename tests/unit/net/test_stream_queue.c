/*
 * What a stream holds back: pieces that are gathered, and a queue that fills and drains.
 */
#include "ends.h"

#define PIECE_BYTES 1000
#define PIECE_COUNT 40 /* more than is ever gathered: 16 KiB */

/* For both ends: bytes that come in the order of a counter. */
static size_t order_sent, order_got;
static bool order_broken;
static void (*after_pieces)(struct side *side);

static void on_data_send_pieces(void *owner, struct gv_slice bytes)
{
    struct side *side = owner;
    uint8_t piece[PIECE_BYTES];
    (void)bytes;
    for (size_t i = 0; i < PIECE_COUNT; i++) {
        for (size_t j = 0; j < sizeof piece; j++) {
            piece[j] = (uint8_t)(order_sent++ % 251);
        }
        CU_ASSERT_EQUAL(gv_stream_send(side->stream, gv_slice_of(piece, sizeof piece)), GV_OK);
        /* The first goes out at once, 16 of them are held, the next takes them along. */
        CU_ASSERT_EQUAL(gv_stream_queued_bytes(side->stream), i % 17 * PIECE_BYTES);
    }
    if (after_pieces != NULL) {
        after_pieces(side);
    }
    look(side->world);
}

static void on_data_in_order(void *owner, struct gv_slice bytes)
{
    struct side *side = owner;
    for (size_t i = 0; i < bytes.len; i++) {
        order_broken |= bytes.data[i] != (uint8_t)(order_got++ % 251);
    }
    look(side->world);
}

static bool client_got_pieces(struct world *world)
{
    (void)world;
    return order_got >= (size_t)PIECE_COUNT * PIECE_BYTES;
}

static void send_pieces(struct world *world, void (*then)(struct side *side))
{
    static struct gv_stream_events sending, reading;
    sending = events;
    sending.on_data = on_data_send_pieces;
    reading = simple_events;
    reading.on_data = on_data_in_order;
    order_sent = 0;
    order_got = 0;
    order_broken = false;
    after_pieces = then;
    begin_connected(world);
    gv_stream_set_owner(world->server.stream, &sending, &world->server);
    gv_stream_set_owner(world->client.stream, &reading, &world->client);
    CU_ASSERT_EQUAL(gv_stream_send(world->client.stream, gv_slice_text("go")), GV_OK);
}

static void pieces_sent_while_reading_are_gathered_and_arrive_in_order(void)
{
    struct world world;
    send_pieces(&world, NULL);
    run_until(&world, client_got_pieces);
    CU_ASSERT_EQUAL(order_got, order_sent);
    CU_ASSERT_FALSE(order_broken);
    CU_ASSERT_EQUAL(gv_stream_queued_bytes(world.server.stream), 0);
    end(&world);
}

static void close_server(struct side *side)
{
    gv_stream_close(side->stream);
}

static void finish_server(struct side *side)
{
    gv_stream_finish(side->stream, 5000);
}

static void gathered_pieces_arrive_before_a_close_and_before_a_finish(void)
{
    struct world world;
    send_pieces(&world, close_server);
    run_until(&world, client_closed);
    CU_ASSERT_EQUAL(order_got, (size_t)PIECE_COUNT * PIECE_BYTES);
    CU_ASSERT_FALSE(order_broken);
    end(&world);
    send_pieces(&world, finish_server);
    run_until(&world, client_closed);
    CU_ASSERT_EQUAL(order_got, (size_t)PIECE_COUNT * PIECE_BYTES);
    CU_ASSERT_EQUAL(world.client.why, GV_OK);
    CU_ASSERT_FALSE(order_broken);
    end(&world);
}

static bool client_drained(struct world *world)
{
    return world->client.drained > 0;
}

static bool server_got_all(struct world *world)
{
    return world->server.got_bytes == sent_bytes;
}

static void a_peer_that_does_not_read_fills_the_queue_and_drains_it_later(void)
{
    struct world world;
    begin(&world);
    world.server.starts_paused = true;
    connect_to(&world, gv_listener_addr(world.listener));
    run_until(&world, both_open);
    fill(&world.client);
    CU_ASSERT_EQUAL(world.server.got_bytes, 0);
    CU_ASSERT_EQUAL(world.client.drained, 0);
    gv_stream_resume(world.server.stream);
    run_until(&world, client_drained);
    CU_ASSERT(gv_stream_queued_bytes(world.client.stream) <= LOW_MARK);
    run_until(&world, server_got_all); /* the bytes of the refused call were taken too */
    CU_ASSERT_EQUAL(world.client.drained, 1);
    CU_ASSERT_EQUAL(gv_stream_queued_bytes(world.client.stream), 0);
    end(&world);
}

static void without_memory_for_the_queue_the_stream_closes(void)
{
    struct world world;
    begin(&world);
    connect_to(&world, gv_listener_addr(world.listener));
    gv_mem_fail_nth(1);
    CU_ASSERT_EQUAL(gv_stream_send(world.client.stream, gv_slice_text("x")), GV_ENOMEM);
    gv_mem_fail_nth(0);
    CU_ASSERT_EQUAL(world.client.closed, 0); /* never from inside */
    CU_ASSERT_EQUAL(gv_stream_send(world.client.stream, gv_slice_text("x")), GV_ECLOSED);
    end(&world);
    CU_ASSERT_EQUAL(world.client.closed, 1);
    CU_ASSERT_EQUAL(world.client.why, GV_ENOMEM);
}

GV_SUITE("net/stream_queue", GV_CASE(pieces_sent_while_reading_are_gathered_and_arrive_in_order),
         GV_CASE(gathered_pieces_arrive_before_a_close_and_before_a_finish),
         GV_CASE(a_peer_that_does_not_read_fills_the_queue_and_drains_it_later),
         GV_CASE(without_memory_for_the_queue_the_stream_closes))
