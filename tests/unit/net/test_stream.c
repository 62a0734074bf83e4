/*
 * Streams and listeners over loopback.
 */
#include "grapevine/base/buf.h"
#include "grapevine/base/mem.h"
#include "grapevine/base/metric.h"
#include "grapevine/net/listener.h"
#include "grapevine/net/timer.h"
#include "support/suite.h"
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define HIGH_MARK 100000
#define LOW_MARK  10000
static const struct gv_stream_limits limits = {.high_mark_bytes = HIGH_MARK,
                                               .low_mark_bytes = LOW_MARK};

/* One end of a connection, and what it has seen. */
struct side {
    struct world *world;
    struct gv_stream *stream; /* NULL when closed */
    char text[64];            /* the first bytes that came */
    size_t got_bytes;
    uint32_t opened, ended, drained, closed;
    enum gv_err why;
    bool echoes;
    bool finishes_at_end;
    bool starts_paused;
    bool is_refused; /* accepting does not adopt */
};

struct world {
    struct gv_loop *loop;
    struct gv_listener *listener;
    struct gv_timer *tick;
    struct side client;
    struct side server;
    uint32_t accepted;
    bool (*is_done)(struct world *world);
};

static void look(struct world *world)
{
    if (world->is_done != NULL && world->is_done(world)) {
        gv_loop_stop(world->loop);
    }
}

static void on_open(void *owner)
{
    struct side *side = owner;
    side->opened += 1;
    look(side->world);
}

static void on_data(void *owner, struct gv_slice bytes)
{
    struct side *side = owner;
    for (size_t i = 0; i < bytes.len && side->got_bytes + i + 1 < sizeof side->text; i++) {
        side->text[side->got_bytes + i] = (char)bytes.data[i];
    }
    side->got_bytes += bytes.len;
    if (side->echoes) {
        CU_ASSERT_EQUAL(gv_stream_send(side->stream, bytes), GV_OK);
    }
    look(side->world);
}

static void on_end(void *owner)
{
    struct side *side = owner;
    side->ended += 1;
    if (side->finishes_at_end) {
        gv_stream_finish(side->stream, 5000);
    }
    look(side->world);
}

static void on_drain(void *owner)
{
    struct side *side = owner;
    side->drained += 1;
    look(side->world);
}

static void on_closed(void *owner, enum gv_err why)
{
    struct side *side = owner;
    side->closed += 1;
    side->why = why;
    side->stream = NULL;
    look(side->world);
}

static const struct gv_stream_events events = {.on_open = on_open,
                                               .on_data = on_data,
                                               .on_end = on_end,
                                               .on_drain = on_drain,
                                               .on_closed = on_closed};
static const struct gv_stream_events simple_events = {
    .on_open = on_open, .on_data = on_data, .on_closed = on_closed};

static void on_accept(void *owner, struct gv_stream *stream)
{
    struct world *world = owner;
    world->accepted += 1;
    if (!world->server.is_refused) {
        world->server.stream = stream;
        gv_stream_adopt(stream, &events, &world->server, limits);
        if (world->server.starts_paused) {
            gv_stream_pause(stream);
        }
    }
    look(world);
}

static const struct gv_addr loopback = {.family = 4, .ip = {127, 0, 0, 1}};

static void on_tick(void *owner)
{
    look(owner);
}

static void begin(struct world *world)
{
    memset(world, 0, sizeof *world);
    world->client.world = world;
    world->server.world = world;
    CU_ASSERT_EQUAL_FATAL(gv_loop_new("test", &world->loop), GV_OK);
    struct gv_listener_options options = {.addr = loopback};
    CU_ASSERT_EQUAL_FATAL(
        gv_listener_open(world->loop, options, on_accept, world, &world->listener), GV_OK);
    /* Conditions that no callback announces (a full queue) are looked at from time to time. */
    CU_ASSERT_EQUAL_FATAL(gv_timer_open(world->loop, on_tick, world, &world->tick), GV_OK);
    gv_timer_start(world->tick, 1, 1);
}

static void connect_to(struct world *world, struct gv_addr addr)
{
    CU_ASSERT_EQUAL_FATAL(gv_stream_connect(world->loop, &addr, &events, &world->client, limits,
                                            &world->client.stream),
                          GV_OK);
}

static void run_until(struct world *world, bool (*is_done)(struct world *world))
{
    world->is_done = is_done;
    gv_loop_run(world->loop);
    world->is_done = NULL;
}

static bool both_open(struct world *world)
{
    return world->client.opened == 1 && world->accepted == 1;
}

static void begin_connected(struct world *world)
{
    begin(world);
    connect_to(world, gv_listener_addr(world->listener));
    run_until(world, both_open);
}

static void end(struct world *world)
{
    gv_loop_free(world->loop);
    CU_ASSERT_EQUAL(gv_mem_used(GV_MEM_NET), 0);
    CU_ASSERT_EQUAL(gv_mem_used(GV_MEM_BUFFER), 0);
}

static bool client_got_5(struct world *world)
{
    return world->client.got_bytes >= 5;
}

static bool both_closed(struct world *world)
{
    return world->client.closed == 1 && world->server.closed == 1;
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

static bool client_closed(struct world *world)
{
    return world->client.closed == 1;
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

static size_t sent_bytes; /* by fill() */

/* Send until the queue is over its high mark; the peer does not read. */
static void fill(struct side *side)
{
    static uint8_t block[8192];
    enum gv_err err = GV_OK;
    sent_bytes = 0;
    while (err == GV_OK) {
        size_t before = gv_stream_queued_bytes(side->stream);
        CU_ASSERT(before <= HIGH_MARK);
        err = gv_stream_send(side->stream, gv_slice_of(block, sizeof block));
        sent_bytes += sizeof block;
    }
    CU_ASSERT_EQUAL(err, GV_EFULL);
    CU_ASSERT(gv_stream_queued_bytes(side->stream) > HIGH_MARK);
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

static bool client_ended(struct world *world)
{
    return world->client.ended == 1;
}

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

static bool server_ended(struct world *world)
{
    return world->server.ended == 1;
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

static void a_connection_nobody_adopts_is_closed(void)
{
    struct world world;
    begin(&world);
    world.server.is_refused = true;
    connect_to(&world, gv_listener_addr(world.listener));
    run_until(&world, client_ended);
    CU_ASSERT_EQUAL(world.accepted, 1);
    end(&world);
}

static void a_taken_port_is_refused_unless_shared(void)
{
    struct world world;
    begin(&world);
    struct gv_listener *first = NULL;
    struct gv_listener *second = NULL;
    struct gv_listener_options options = {.addr = gv_listener_addr(world.listener)};
    CU_ASSERT_EQUAL(gv_listener_open(world.loop, options, on_accept, &world, &first), GV_EEXISTS);
    options.share_port = true;
    CU_ASSERT_EQUAL(gv_listener_open(world.loop, options, on_accept, &world, &first), GV_EEXISTS);
    options.addr.port = 0;
    CU_ASSERT_EQUAL(gv_listener_open(world.loop, options, on_accept, &world, &first), GV_OK);
    options.addr = gv_listener_addr(first);
    CU_ASSERT_EQUAL(gv_listener_open(world.loop, options, on_accept, &world, &second), GV_OK);
    struct gv_addr same = gv_listener_addr(second);
    CU_ASSERT(gv_addr_equal(&same, &options.addr));
    connect_to(&world, same);
    run_until(&world, both_open);
    options.addr = (struct gv_addr){.family = 4, .ip = {192, 0, 2, 1}};
    CU_ASSERT_EQUAL(gv_listener_open(world.loop, options, on_accept, &world, &first), GV_EINVAL);
    end(&world);
}

static double pauses(void)
{
    struct gv_buf text;
    gv_buf_init(&text, GV_MEM_GENERAL, 1 << 20);
    CU_ASSERT_EQUAL(gv_metric_render(&text), GV_OK);
    CU_ASSERT_EQUAL(gv_buf_append(&text, gv_slice_of("", 1)), GV_OK);
    const char *at = strstr((const char *)gv_buf_slice(&text).data,
                            "gv_net_accept_pauses_total{loop=\"test\"} ");
    double value = at == NULL ? -1 : strtod(strchr(at, ' '), NULL);
    gv_buf_deinit(&text);
    return value;
}

static double pauses_before;

static bool has_paused(struct world *world)
{
    (void)world;
    return pauses() > pauses_before;
}

/* A client that connects while no descriptor is left waits and is then served. */
static void out_of_descriptors_accepting_waits(void)
{
    struct world world;
    begin(&world);
    pauses_before = pauses();
    struct rlimit limit;
    CU_ASSERT_EQUAL_FATAL(getrlimit(RLIMIT_NOFILE, &limit), 0);
    connect_to(&world, gv_listener_addr(world.listener));
    struct rlimit none = {.rlim_cur = 3, .rlim_max = limit.rlim_max};
    CU_ASSERT_EQUAL_FATAL(setrlimit(RLIMIT_NOFILE, &none), 0);
    struct gv_stream *stream;
    struct gv_addr addr = gv_listener_addr(world.listener);
    CU_ASSERT_EQUAL(gv_stream_connect(world.loop, &addr, &events, &world.client, limits, &stream),
                    GV_EFULL);
    run_until(&world, has_paused);
    CU_ASSERT_EQUAL(world.accepted, 0);
    CU_ASSERT_EQUAL_FATAL(setrlimit(RLIMIT_NOFILE, &limit), 0);
    run_until(&world, both_open);
    end(&world);
}

GV_SUITE("net/stream", GV_CASE(bytes_come_back_from_an_echo),
         GV_CASE(pieces_sent_while_reading_are_gathered_and_arrive_in_order),
         GV_CASE(gathered_pieces_arrive_before_a_close_and_before_a_finish),
         GV_CASE(bytes_sent_before_the_connection_stands_arrive),
         GV_CASE(a_peer_that_does_not_read_fills_the_queue_and_drains_it_later),
         GV_CASE(without_memory_for_the_queue_the_stream_closes),
         GV_CASE(what_is_queued_arrives_before_the_end),
         GV_CASE(finishing_gives_up_after_its_linger_time),
         GV_CASE(after_the_peers_end_we_may_still_send),
         GV_CASE(without_on_end_the_peers_end_closes), GV_CASE(a_reset_is_noticed_at_once),
         GV_CASE(a_reset_and_an_end_are_noticed_while_paused),
         GV_CASE(an_end_does_not_overtake_bytes_of_a_paused_stream),
         GV_CASE(writing_to_a_peer_that_is_gone_says_closed),
         GV_CASE(what_the_peer_said_before_it_went_is_still_read),
         GV_CASE(a_reset_with_a_full_queue_closes), GV_CASE(a_refused_connection_says_so),
         GV_CASE(closing_while_connecting_calls_back_once),
         GV_CASE(a_connection_nobody_adopts_is_closed),
         GV_CASE(a_taken_port_is_refused_unless_shared),
         GV_CASE(out_of_descriptors_accepting_waits))
