/*
 * Streams that speak TLS, over loopback: what holds for plain ones holds for them.
 */
#include "../../../src/net/stream_in.h"
#include "../../../src/net/tls_session.h"
#include "grapevine/base/mem.h"
#include "grapevine/net/listener.h"
#include "grapevine/net/timer.h"
#include "support/certs.h"
#include "support/suite.h"
#include <stdio.h>
#include <string.h>

#define HIGH_MARK   100000
#define LOW_MARK    10000
#define PIECE_BYTES 1000
static const struct gv_stream_limits limits = {.high_mark_bytes = HIGH_MARK,
                                               .low_mark_bytes = LOW_MARK};
static const struct gv_addr loopback = {.family = 4, .ip = {127, 0, 0, 1}};

struct side {
    struct world *world;
    struct gv_stream *stream; /* NULL when closed */
    char text[256];           /* the first bytes that came */
    char trouble[256];
    size_t got_bytes, sent_bytes;
    uint32_t opened, ended, drained, closed;
    enum gv_err why;
    bool is_out_of_order;
    bool sends_pieces; /* for what comes */
};

struct world {
    struct gv_loop *loop;
    struct gv_listener *listener;
    struct gv_timer *tick;
    struct gv_tls *server_tls, *client_tls;
    struct side client, server;
    void (*on_accepted)(struct world *world);
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

static enum gv_err send_counted(struct side *side, size_t count)
{
    uint8_t bytes[PIECE_BYTES];
    for (size_t i = 0; i < count; i++) {
        bytes[i] = (uint8_t)(side->sent_bytes++ % 251);
    }
    return gv_stream_send2(side->stream, gv_slice_of(bytes, count / 3),
                           gv_slice_of(bytes + count / 3, count - count / 3));
}

static void on_data(void *owner, struct gv_slice bytes)
{
    struct side *side = owner;
    for (size_t i = 0; i < bytes.len; i++) {
        if (side->got_bytes + i + 1 < sizeof side->text) {
            side->text[side->got_bytes + i] = (char)bytes.data[i];
        }
        side->is_out_of_order |= bytes.data[i] != (uint8_t)((side->got_bytes + i) % 251);
    }
    side->got_bytes += bytes.len;
    for (size_t i = 0; side->sends_pieces && i < 40; i++) {
        CU_ASSERT_EQUAL(send_counted(side, PIECE_BYTES), GV_OK);
    }
    look(side->world);
}

static void on_end(void *owner)
{
    struct side *side = owner;
    side->ended += 1;
    gv_stream_finish(side->stream, 5000);
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
    (void)snprintf(side->trouble, sizeof side->trouble, "%s", gv_stream_trouble(side->stream));
    side->stream = NULL;
    look(side->world);
}

static const struct gv_stream_events events = {on_open, on_data, on_end, on_drain, on_closed};

static void on_accept(void *owner, struct gv_stream *stream)
{
    struct world *world = owner;
    world->server.stream = stream;
    gv_stream_adopt(stream, &events, &world->server, limits);
    if (world->on_accepted != NULL) {
        world->on_accepted(world);
    }
    look(world);
}

static void on_tick(void *owner)
{
    look(owner);
}

static void begin_with(struct world *world, struct gv_tls_options server,
                       struct gv_tls_options client)
{
    static const char *ca[1];
    char trouble[GV_TLS_TROUBLE_BYTES];
    ca[0] = gv_cert("ca.pem");
    memset(world, 0, sizeof *world);
    world->client.world = world;
    world->server.world = world;
    CU_ASSERT_EQUAL_FATAL(gv_loop_new("test", &world->loop), GV_OK);
    server.name = "test-server";
    server.key_path = gv_cert("server.key");
    server.cert_path = gv_cert("server.pem");
    server.plain_answer = "HTTP/1.1 400 Bad Request\r\n\r\n";
    client.name = "test-client";
    client.side = GV_TLS_CONNECTING;
    client.ca_paths = (char *const *)(uintptr_t)ca;
    client.ca_count = 1;
    CU_ASSERT_EQUAL_FATAL(gv_tls_open(&server, &world->server_tls, trouble), GV_OK);
    CU_ASSERT_EQUAL_FATAL(gv_tls_open(&client, &world->client_tls, trouble), GV_OK);
    struct gv_listener_options options = {.addr = loopback, .tls = world->server_tls};
    CU_ASSERT_EQUAL_FATAL(
        gv_listener_open(world->loop, options, on_accept, world, &world->listener), GV_OK);
    CU_ASSERT_EQUAL_FATAL(gv_timer_open(world->loop, on_tick, world, &world->tick), GV_OK);
    gv_timer_start(world->tick, 1, 1);
}

static const struct gv_tls_options as_usual = {.name = "test"};

static void connect_as(struct world *world, const char *host)
{
    struct gv_addr addr = gv_listener_addr(world->listener);
    CU_ASSERT_EQUAL_FATAL(gv_stream_connect(world->loop, &addr, &events, &world->client, limits,
                                            &world->client.stream),
                          GV_OK);
    if (host != NULL) {
        CU_ASSERT_EQUAL_FATAL(gv_stream_secure(world->client.stream, world->client_tls, host),
                              GV_OK);
    }
}

static void run_until(struct world *world, bool (*is_done)(struct world *world))
{
    world->is_done = is_done;
    gv_loop_run(world->loop);
    world->is_done = NULL;
}

static bool client_open(struct world *world)
{
    return world->client.opened == 1;
}

static void begin_connected(struct world *world)
{
    begin_with(world, as_usual, as_usual);
    connect_as(world, "localhost");
    run_until(world, client_open);
}

static void end(struct world *world)
{
    gv_loop_free(world->loop);
    gv_tls_free(world->server_tls);
    gv_tls_free(world->client_tls);
    CU_ASSERT_EQUAL(gv_mem_used(GV_MEM_NET), 0);
    CU_ASSERT_EQUAL(gv_mem_used(GV_MEM_BUFFER), 0);
}

static bool server_has_all(struct world *world)
{
    return world->server.got_bytes == world->client.sent_bytes;
}

static bool client_has_all(struct world *world)
{
    return world->client.got_bytes > 0 && world->client.got_bytes == world->server.sent_bytes;
}

static bool both_closed(struct world *world)
{
    return world->client.closed == 1 && world->server.closed == 1;
}

static bool client_closed(struct world *world)
{
    return world->client.closed == 1;
}

static void bytes_go_both_ways_and_both_ends_are_heard(void)
{
    struct world world;
    begin_connected(&world);
    CU_ASSERT_EQUAL(send_counted(&world.client, PIECE_BYTES), GV_OK);
    run_until(&world, server_has_all);
    CU_ASSERT_EQUAL(send_counted(&world.server, PIECE_BYTES), GV_OK);
    run_until(&world, client_has_all);
    CU_ASSERT_FALSE(world.server.is_out_of_order || world.client.is_out_of_order);
    CU_ASSERT_EQUAL(send_counted(&world.client, PIECE_BYTES), GV_OK);
    gv_stream_finish(world.client.stream, 5000);
    CU_ASSERT_EQUAL(send_counted(&world.client, 3), GV_ECLOSED);
    run_until(&world, both_closed);
    CU_ASSERT_EQUAL(world.server.got_bytes, 2 * PIECE_BYTES);
    CU_ASSERT_EQUAL(world.server.ended, 1);
    CU_ASSERT_EQUAL(world.client.why, GV_OK);
    CU_ASSERT_EQUAL(world.server.why, GV_OK);
    CU_ASSERT_EQUAL(world.server.opened, 0); /* not for accepted streams */
    end(&world);
}

static void server_sends_early(struct world *world)
{
    CU_ASSERT_EQUAL(send_counted(&world->server, PIECE_BYTES), GV_OK);
    CU_ASSERT_EQUAL(gv_stream_queued_bytes(world->server.stream), PIECE_BYTES);
}

static void what_is_sent_before_the_handshake_arrives_after_it(void)
{
    struct world world;
    begin_with(&world, as_usual, as_usual);
    world.on_accepted = server_sends_early;
    connect_as(&world, "127.0.0.1");
    CU_ASSERT_EQUAL(send_counted(&world.client, PIECE_BYTES), GV_OK);
    CU_ASSERT_EQUAL(gv_stream_queued_bytes(world.client.stream), PIECE_BYTES);
    run_until(&world, client_has_all);
    run_until(&world, server_has_all);
    CU_ASSERT_FALSE(world.server.is_out_of_order || world.client.is_out_of_order);
    CU_ASSERT_EQUAL(gv_stream_queued_bytes(world.client.stream), 0);
    end(&world);
}

static void server_says_goodbye(struct world *world)
{
    CU_ASSERT_EQUAL(send_counted(&world->server, PIECE_BYTES), GV_OK);
    gv_stream_finish(world->server.stream, 5000);
}

static void a_goodbye_before_the_handshake_is_said_after_it(void)
{
    struct world world;
    begin_with(&world, as_usual, as_usual);
    world.on_accepted = server_says_goodbye;
    connect_as(&world, "localhost");
    run_until(&world, both_closed);
    CU_ASSERT_EQUAL(world.client.got_bytes, PIECE_BYTES);
    CU_ASSERT_EQUAL(world.client.ended, 1);
    CU_ASSERT_EQUAL(world.client.why, GV_OK);
    end(&world);
}

static bool client_drained(struct world *world)
{
    return world->client.drained == 1;
}

static void a_reader_who_pauses_holds_the_writer_back(void)
{
    struct world world;
    begin_connected(&world);
    gv_stream_pause(world.server.stream);
    enum gv_err err = GV_OK;
    while (err == GV_OK) {
        err = send_counted(&world.client, PIECE_BYTES);
    }
    CU_ASSERT_EQUAL(err, GV_EFULL);
    CU_ASSERT(gv_stream_queued_bytes(world.client.stream) > HIGH_MARK);
    CU_ASSERT(gv_stream_queued_bytes(world.client.stream) <= HIGH_MARK + 2 * PIECE_BYTES);
    CU_ASSERT_EQUAL(world.client.drained, 0);
    gv_stream_resume(world.server.stream);
    run_until(&world, client_drained);
    CU_ASSERT(gv_stream_queued_bytes(world.client.stream) <= LOW_MARK);
    run_until(&world, server_has_all);
    CU_ASSERT_FALSE(world.server.is_out_of_order);
    CU_ASSERT_EQUAL(world.client.drained, 1);
    end(&world);
}

static void pieces_sent_while_reading_arrive_in_order(void)
{
    struct world world;
    begin_connected(&world);
    world.server.sends_pieces = true;
    CU_ASSERT_EQUAL(send_counted(&world.client, 30), GV_OK);
    run_until(&world, client_has_all);
    CU_ASSERT_EQUAL(world.client.got_bytes, 40 * PIECE_BYTES);
    CU_ASSERT_FALSE(world.client.is_out_of_order);
    end(&world);
}

static bool server_closed(struct world *world)
{
    return world->server.closed == 1;
}

static void an_end_that_was_not_announced_is_no_end(void)
{
    struct world world;
    begin_connected(&world);
    CU_ASSERT_EQUAL(send_counted(&world.server, PIECE_BYTES), GV_OK);
    run_until(&world, client_has_all); /* nothing is unread, which would be a reset */
    CU_ASSERT_EQUAL(send_counted(&world.client, PIECE_BYTES), GV_OK);
    gv_stream_close_with(world.client.stream, GV_OK); /* of the connection alone */
    run_until(&world, server_closed);
    CU_ASSERT_EQUAL(world.server.got_bytes, PIECE_BYTES);
    CU_ASSERT_EQUAL(world.server.ended, 0);
    CU_ASSERT_EQUAL(world.server.why, GV_EPROTO);
    end(&world);
}

static void a_close_is_announced(void)
{
    struct world world;
    begin_connected(&world);
    CU_ASSERT_EQUAL(send_counted(&world.server, PIECE_BYTES), GV_OK);
    run_until(&world, client_has_all); /* nothing is unread, which would be a reset */
    gv_stream_close(world.client.stream);
    run_until(&world, server_closed);
    CU_ASSERT_EQUAL(world.server.ended, 1);
    end(&world);
}

static void a_reset_is_an_error(void)
{
    struct world world;
    begin_connected(&world);
    gv_stream_reset(world.client.stream);
    run_until(&world, server_closed);
    CU_ASSERT_EQUAL(world.server.ended, 0);
    CU_ASSERT_EQUAL(world.server.why, GV_ECLOSED);
    end(&world);
}

static void the_reason_of_a_refusal_can_be_told(void)
{
    struct world world;
    begin_with(&world, as_usual, as_usual);
    connect_as(&world, "elsewhere.test");
    run_until(&world, both_closed);
    CU_ASSERT_EQUAL(world.client.opened, 0);
    CU_ASSERT_EQUAL(world.client.why, GV_EAUTH);
    CU_ASSERT_STRING_EQUAL(world.client.trouble, "certificate of /CN=server: hostname mismatch");
    CU_ASSERT_EQUAL(world.server.why, GV_EAUTH);
    CU_ASSERT_PTR_NOT_NULL(strstr(world.server.trouble, "refused by the peer"));
    end(&world);
}

static void a_handshake_may_not_take_for_ever(void)
{
    struct world world;
    struct gv_tls_options hasty = {.name = "test", .handshake_timeout_ms = 30};
    begin_with(&world, hasty, as_usual);
    connect_as(&world, NULL); /* says nothing */
    run_until(&world, both_closed);
    CU_ASSERT_EQUAL(world.server.why, GV_ETIMEOUT);
    CU_ASSERT_STRING_EQUAL(world.server.trouble, "TLS: the handshake took too long");
    end(&world);
}

static uint64_t wait_until_ms;

static bool is_late(struct world *world)
{
    return gv_loop_now_ms(world->loop) > wait_until_ms;
}

static bool client_open_or_closed(struct world *world)
{
    return world->client.opened == 1 || world->client.closed == 1;
}

static void the_limit_of_a_handshake_ends_with_it(void)
{
    struct world world;
    struct gv_tls_options limited = {.name = "test", .handshake_timeout_ms = 50};
    begin_with(&world, as_usual, limited);
    connect_as(&world, "localhost");
    run_until(&world, client_open_or_closed);
    while (world.client.opened == 0) { /* a busy machine: allow it more */
        end(&world);
        limited.handshake_timeout_ms *= 2;
        begin_with(&world, as_usual, limited);
        connect_as(&world, "localhost");
        run_until(&world, client_open_or_closed);
    }
    wait_until_ms = gv_loop_now_ms(world.loop) + limited.handshake_timeout_ms;
    run_until(&world, is_late);
    CU_ASSERT_EQUAL(world.client.closed, 0);
    CU_ASSERT_EQUAL(send_counted(&world.client, PIECE_BYTES), GV_OK);
    run_until(&world, server_has_all);
    end(&world);
}

static void pause_server(struct world *world)
{
    gv_stream_pause(world->server.stream);
}

static void a_client_does_not_wait_for_a_silent_server(void)
{
    struct world world;
    struct gv_tls_options hasty = {.name = "test", .handshake_timeout_ms = 30};
    begin_with(&world, as_usual, hasty);
    world.on_accepted = pause_server;
    connect_as(&world, "localhost");
    run_until(&world, client_closed);
    CU_ASSERT_EQUAL(world.client.why, GV_ETIMEOUT);
    CU_ASSERT_EQUAL(world.client.opened, 0);
    end(&world);
}

static void who_speaks_plain_http_is_told_so(void)
{
    struct world world;
    begin_with(&world, as_usual, as_usual);
    connect_as(&world, NULL);
    CU_ASSERT_EQUAL(gv_stream_send(world.client.stream,
                                   gv_slice_text("GET /health HTTP/1.1\r\nHost: x\r\n\r\n")),
                    GV_OK);
    run_until(&world, both_closed);
    CU_ASSERT_STRING_EQUAL(world.client.text, "HTTP/1.1 400 Bad Request\r\n\r\n");
    CU_ASSERT_EQUAL(world.client.ended, 1);
    CU_ASSERT_EQUAL(world.server.why, GV_EPROTO);
    CU_ASSERT_EQUAL(world.server.got_bytes, 0);
    end(&world);
}

static void garbage_gets_an_alert_and_an_end(void)
{
    struct world world;
    begin_with(&world, as_usual, as_usual);
    connect_as(&world, NULL);
    CU_ASSERT_EQUAL(gv_stream_send(world.client.stream, gv_slice_text("\x16\x03\x01 garbage...")),
                    GV_OK);
    CU_ASSERT_EQUAL(
        gv_stream_send(world.client.stream, gv_slice_text("more than a head, and no hello at all")),
        GV_OK);
    gv_stream_finish(world.client.stream, 5000);
    run_until(&world, both_closed);
    CU_ASSERT_EQUAL(world.server.why, GV_EPROTO);
    CU_ASSERT_EQUAL(world.server.got_bytes, 0);
    end(&world);
}

static void a_handshake_too_many_is_reset(void)
{
    struct world world;
    struct gv_tls_options few = {.name = "test", .handshakes_max = 1};
    struct gv_tls_session *other = NULL;
    begin_with(&world, few, as_usual);
    CU_ASSERT_EQUAL_FATAL(gv_tls_session_new(world.server_tls, NULL, NULL, &other), GV_OK);
    connect_as(&world, "localhost");
    run_until(&world, client_closed);
    CU_ASSERT(world.client.why != GV_OK);
    CU_ASSERT_EQUAL(world.client.opened, 0);
    CU_ASSERT_PTR_NULL(world.server.stream);
    gv_tls_session_free(other);
    memset(&world.client, 0, sizeof world.client);
    world.client.world = &world;
    connect_as(&world, "localhost");
    run_until(&world, client_open);
    end(&world);
}

static void a_loop_that_ends_takes_its_handshakes_along(void)
{
    struct world world;
    struct gv_tls_options slow = {.name = "test", .handshake_timeout_ms = 60000};
    begin_with(&world, slow, slow);
    world.on_accepted = pause_server;
    connect_as(&world, "localhost");
    CU_ASSERT_EQUAL(send_counted(&world.client, PIECE_BYTES), GV_OK);
    end(&world);
    CU_ASSERT_EQUAL(world.client.closed, 1);
}

GV_SUITE("net/stream_tls", GV_CASE(bytes_go_both_ways_and_both_ends_are_heard),
         GV_CASE(what_is_sent_before_the_handshake_arrives_after_it),
         GV_CASE(a_goodbye_before_the_handshake_is_said_after_it),
         GV_CASE(a_reader_who_pauses_holds_the_writer_back),
         GV_CASE(pieces_sent_while_reading_arrive_in_order),
         GV_CASE(an_end_that_was_not_announced_is_no_end), GV_CASE(a_close_is_announced),
         GV_CASE(a_reset_is_an_error), GV_CASE(the_reason_of_a_refusal_can_be_told),
         GV_CASE(a_handshake_may_not_take_for_ever), GV_CASE(the_limit_of_a_handshake_ends_with_it),
         GV_CASE(a_client_does_not_wait_for_a_silent_server),
         GV_CASE(who_speaks_plain_http_is_told_so), GV_CASE(garbage_gets_an_alert_and_an_end),
         GV_CASE(a_handshake_too_many_is_reset),
         GV_CASE(a_loop_that_ends_takes_its_handshakes_along))
