/*
 * ends.h - a listener and the two ends of one connection over loopback, and what each has seen.
 *
 * For the tests of streams and of the port they come in by, each of which is a program of its own.
 */
#ifndef GV_TESTS_UNIT_NET_ENDS_H
#define GV_TESTS_UNIT_NET_ENDS_H

#include "grapevine/base/mem.h"
#include "grapevine/net/listener.h"
#include "grapevine/net/timer.h"
#include "support/suite.h"

#include <string.h>

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

static inline void look(struct world *world)
{
    if (world->is_done != NULL && world->is_done(world)) {
        gv_loop_stop(world->loop);
    }
}

static inline void on_open(void *owner)
{
    struct side *side = owner;
    side->opened += 1;
    look(side->world);
}

static inline void on_data(void *owner, struct gv_slice bytes)
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

static inline void on_end(void *owner)
{
    struct side *side = owner;
    side->ended += 1;
    if (side->finishes_at_end) {
        gv_stream_finish(side->stream, 5000);
    }
    look(side->world);
}

static inline void on_drain(void *owner)
{
    struct side *side = owner;
    side->drained += 1;
    look(side->world);
}

static inline void on_closed(void *owner, enum gv_err why)
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

static inline void on_accept(void *owner, struct gv_stream *stream)
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

static inline void on_tick(void *owner)
{
    look(owner);
}

static inline void begin(struct world *world)
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

static inline void connect_to(struct world *world, struct gv_addr addr)
{
    CU_ASSERT_EQUAL_FATAL(gv_stream_connect(world->loop, &addr, &events, &world->client, limits,
                                            &world->client.stream),
                          GV_OK);
}

static inline void run_until(struct world *world, bool (*is_done)(struct world *world))
{
    world->is_done = is_done;
    gv_loop_run(world->loop);
    world->is_done = NULL;
}

static inline bool both_open(struct world *world)
{
    return world->client.opened == 1 && world->accepted == 1;
}

static inline void begin_connected(struct world *world)
{
    begin(world);
    connect_to(world, gv_listener_addr(world->listener));
    run_until(world, both_open);
}

static inline void end(struct world *world)
{
    gv_loop_free(world->loop);
    CU_ASSERT_EQUAL(gv_mem_used(GV_MEM_NET), 0);
    CU_ASSERT_EQUAL(gv_mem_used(GV_MEM_BUFFER), 0);
}

static inline bool both_closed(struct world *world)
{
    return world->client.closed == 1 && world->server.closed == 1;
}

static inline bool client_closed(struct world *world)
{
    return world->client.closed == 1;
}

static inline bool client_ended(struct world *world)
{
    return world->client.ended == 1;
}

static inline bool server_ended(struct world *world)
{
    return world->server.ended == 1;
}

static size_t sent_bytes; /* by fill() */

/* Send until the queue is over its high mark; the peer does not read. */
static inline void fill(struct side *side)
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

#endif
