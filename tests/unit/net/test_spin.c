/*
 * A loop that stays awake for a while after bytes came.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* RUSAGE_THREAD */
#endif
#include "grapevine/net/stream.h"
#include "grapevine/net/timer.h"
#include "support/suite.h"
#include "support/talk.h"
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define BYTES 30 /* one each millisecond */

struct world {
    struct gv_loop *loop;
    struct gv_timer *timer;
    struct gv_stream *stream;
    int listen_fd, peer_fd;
    uint32_t sent, got;
    long sleeps_before;
    long sleeps; /* of the loop's thread, from the first byte to the last */
};

/* How often this thread gave its core away because it had to wait. */
static long sleep_count(void)
{
    struct rusage usage;
    getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_nvcsw;
}

static void on_tick(void *owner)
{
    struct world *world = owner;
    if (world->sent < BYTES) {
        world->sent += 1;
        CU_ASSERT_EQUAL(send(world->peer_fd, "x", 1, 0), 1);
    }
}

static void on_open(void *owner)
{
    struct world *world = owner;
    world->peer_fd = accept(world->listen_fd, NULL, NULL);
    CU_ASSERT_FATAL(world->peer_fd >= 0);
    gv_timer_start(world->timer, 1, 1);
}

static void on_data(void *owner, struct gv_slice bytes)
{
    struct world *world = owner;
    if (world->got == 0) {
        world->sleeps_before = sleep_count();
    }
    world->got += (uint32_t)bytes.len;
    if (world->got == BYTES) {
        world->sleeps = sleep_count() - world->sleeps_before;
        gv_loop_stop(world->loop);
    }
}

static void on_closed(void *owner, enum gv_err why)
{
    (void)owner;
    (void)why;
}

static const struct gv_stream_events events = {
    .on_open = on_open, .on_data = on_data, .on_closed = on_closed};

static void listen_to(struct world *world, uint32_t spin_us)
{
    *world = (struct world){.peer_fd = -1};
    struct gv_addr addr = {.family = 4, .ip = {127, 0, 0, 1}};
    world->listen_fd = gv_talk_listen(1, &addr.port);
    struct gv_stream_limits limits = {.high_mark_bytes = 1000, .low_mark_bytes = 100};
    CU_ASSERT_EQUAL_FATAL(gv_loop_new("test", &world->loop), GV_OK);
    gv_loop_set_spin(world->loop, spin_us);
    CU_ASSERT_EQUAL_FATAL(gv_timer_open(world->loop, on_tick, world, &world->timer), GV_OK);
    CU_ASSERT_EQUAL_FATAL(
        gv_stream_connect(world->loop, &addr, &events, world, limits, &world->stream), GV_OK);
    gv_loop_run(world->loop);
    CU_ASSERT_EQUAL(world->got, BYTES);
    gv_loop_free(world->loop);
    close(world->peer_fd);
    close(world->listen_fd);
}

static void a_loop_that_spins_does_not_sleep_between_bytes(void)
{
    struct world world;
    listen_to(&world, 1000000);
    CU_ASSERT(world.sleeps < BYTES / 3);
}

static void the_spin_ends_when_nothing_comes(void)
{
    struct world world;
    listen_to(&world, 1); /* over long before the next byte: it must sleep, and still hear it */
    CU_ASSERT_EQUAL(world.sent, BYTES);
}

GV_SUITE("net/spin", GV_CASE(a_loop_that_spins_does_not_sleep_between_bytes),
         GV_CASE(the_spin_ends_when_nothing_comes))
