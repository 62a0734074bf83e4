/*
 * What a read brought may be kept without a copy, when it is much.
 */
#include "grapevine/base/mem.h"
#include "grapevine/net/listener.h"
#include "support/suite.h"
#include <string.h>

#define READ_BYTES (128 * 1024) /* a loop reads so much at once */
#define HALF_BYTES (READ_BYTES / 2)
#define HEAD_BYTES 5

/* One message from a client, which the server keeps but for its first bytes. */
struct world {
    struct gv_loop *loop;
    struct gv_stream *client;
    struct gv_stream *server;
    size_t wanted_bytes; /* of the message */
    size_t got_bytes;
    const uint8_t *tail; /* where the tail came; borrowed for the call */
    struct gv_buf buf;   /* it was kept here */
    bool is_kept;
    uint32_t read_count;
};

static uint8_t message[READ_BYTES];

static void on_data(void *owner, struct gv_slice bytes)
{
    struct world *world = owner;
    world->read_count += 1;
    world->got_bytes += bytes.len;
    if (world->got_bytes == world->wanted_bytes && world->read_count == 1) {
        struct gv_slice tail = gv_slice_of(bytes.data + HEAD_BYTES, bytes.len - HEAD_BYTES);
        world->tail = tail.data;
        world->is_kept = gv_stream_keep(world->server, tail, &world->buf);
    }
    if (world->got_bytes >= world->wanted_bytes) {
        gv_loop_stop(world->loop);
    }
}

static void on_open(void *owner)
{
    struct world *world = owner;
    gv_loop_stop(world->loop);
}

static void on_closed(void *owner, enum gv_err why)
{
    (void)owner;
    (void)why;
}

static const struct gv_stream_events events = {
    .on_open = on_open, .on_data = on_data, .on_closed = on_closed};
static const struct gv_stream_limits limits = {.high_mark_bytes = 4 * READ_BYTES};

static void on_accept(void *owner, struct gv_stream *stream)
{
    struct world *world = owner;
    world->server = stream;
    gv_stream_adopt(stream, &events, world, limits);
    gv_stream_pause(stream); /* so that all of a message comes in one read */
    gv_loop_stop(world->loop);
}

static void begin(struct world *world, struct gv_listener **listener)
{
    static const struct gv_addr loopback = {.family = 4, .ip = {127, 0, 0, 1}};
    memset(world, 0, sizeof *world);
    gv_buf_init(&world->buf, GV_MEM_BUFFER, READ_BYTES);
    CU_ASSERT_EQUAL_FATAL(gv_loop_new("test", &world->loop), GV_OK);
    struct gv_listener_options options = {.addr = loopback};
    CU_ASSERT_EQUAL_FATAL(gv_listener_open(world->loop, options, on_accept, world, listener),
                          GV_OK);
    struct gv_addr addr = gv_listener_addr(*listener);
    CU_ASSERT_EQUAL_FATAL(
        gv_stream_connect(world->loop, &addr, &events, world, limits, &world->client), GV_OK);
    while (world->server == NULL) {
        gv_loop_run(world->loop);
    }
}

static void end(struct world *world, struct gv_listener *listener)
{
    gv_listener_close(listener);
    gv_loop_free(world->loop);
    gv_buf_deinit(&world->buf);
}

/* Send and receive a message whose tail has `bytes`. false: it came in pieces, as the kernel liked.
 */
static bool exchange(struct world *world, size_t bytes, uint8_t fill)
{
    memset(message, fill, sizeof message);
    world->wanted_bytes = bytes + HEAD_BYTES;
    world->got_bytes = 0;
    world->read_count = 0;
    world->is_kept = false;
    enum gv_err err = gv_stream_send(world->client, gv_slice_of(message, bytes + HEAD_BYTES));
    CU_ASSERT_EQUAL_FATAL(err, GV_OK);
    CU_ASSERT_EQUAL(gv_stream_queued_bytes(world->client), 0); /* all of it waits in the kernel */
    gv_stream_resume(world->server);
    while (world->got_bytes < world->wanted_bytes) {
        gv_loop_run(world->loop);
    }
    gv_stream_pause(world->server);
    return world->read_count == 1;
}

static bool is_filled(struct gv_slice bytes, size_t len, uint8_t fill)
{
    size_t same = 0;
    while (same < bytes.len && bytes.data[same] == fill) {
        same += 1;
    }
    return bytes.len == len && same == len;
}

static void much_is_kept_where_it_was_read_to(void)
{
    struct world world;
    struct gv_listener *listener;
    begin(&world, &listener);
    CU_ASSERT_TRUE_FATAL(exchange(&world, HALF_BYTES, 'a'));
    CU_ASSERT_TRUE_FATAL(world.is_kept);
    CU_ASSERT_PTR_EQUAL(gv_buf_slice(&world.buf).data, world.tail);
    CU_ASSERT_TRUE(is_filled(gv_buf_slice(&world.buf), HALF_BYTES, 'a'));

    /* the next read goes elsewhere, and what was kept can grow and go like any buffer */
    struct gv_buf first = world.buf;
    gv_buf_init(&world.buf, GV_MEM_BUFFER, READ_BYTES);
    CU_ASSERT_TRUE_FATAL(exchange(&world, HALF_BYTES, 'b'));
    CU_ASSERT_TRUE(world.is_kept);
    CU_ASSERT_TRUE(is_filled(gv_buf_slice(&first), HALF_BYTES, 'a'));
    CU_ASSERT_TRUE(is_filled(gv_buf_slice(&world.buf), HALF_BYTES, 'b'));
    CU_ASSERT_EQUAL(gv_buf_append(&first, gv_slice_of(message, HALF_BYTES)), GV_OK);
    CU_ASSERT_EQUAL(gv_buf_slice(&first).len, 2 * HALF_BYTES);
    gv_buf_deinit(&first);
    end(&world, listener);
}

static void little_is_left_to_be_copied(void)
{
    struct world world;
    struct gv_listener *listener;
    begin(&world, &listener);
    CU_ASSERT_TRUE_FATAL(exchange(&world, HALF_BYTES - 1, 'a'));
    CU_ASSERT_FALSE(world.is_kept);
    CU_ASSERT_EQUAL(world.buf.len, 0);
    end(&world, listener);
}

static void more_than_the_buffer_may_hold_is_not_kept(void)
{
    struct world world;
    struct gv_listener *listener;
    begin(&world, &listener);
    world.buf.max_bytes = HALF_BYTES;
    CU_ASSERT_TRUE_FATAL(exchange(&world, HALF_BYTES + 1, 'a'));
    CU_ASSERT_FALSE(world.is_kept);
    CU_ASSERT_TRUE_FATAL(exchange(&world, HALF_BYTES, 'a'));
    CU_ASSERT_TRUE(world.is_kept);
    end(&world, listener);
}

static void without_other_memory_nothing_is_kept(void)
{
    struct world world;
    struct gv_listener *listener;
    begin(&world, &listener);
    gv_mem_set_cap(GV_MEM_BUFFER, 1);
    CU_ASSERT_TRUE_FATAL(exchange(&world, HALF_BYTES, 'a'));
    gv_mem_set_cap(GV_MEM_BUFFER, 0);
    CU_ASSERT_FALSE(world.is_kept);
    CU_ASSERT_TRUE_FATAL(exchange(&world, HALF_BYTES, 'b')); /* the loop still has its own */
    CU_ASSERT_TRUE(world.is_kept);
    end(&world, listener);
}

GV_SUITE("net/stream: what is kept", GV_CASE(much_is_kept_where_it_was_read_to),
         GV_CASE(little_is_left_to_be_copied), GV_CASE(more_than_the_buffer_may_hold_is_not_kept),
         GV_CASE(without_other_memory_nothing_is_kept))
