/*
 * How a port opens, and who is let in when something is short.
 */
#include "ends.h"
#include "grapevine/base/buf.h"
#include "grapevine/base/metric.h"

#include <stdlib.h>
#include <sys/resource.h>

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

GV_SUITE("net/listener_open", GV_CASE(a_connection_nobody_adopts_is_closed),
         GV_CASE(a_taken_port_is_refused_unless_shared),
         GV_CASE(out_of_descriptors_accepting_waits))
