/*
 * How a port closes: nobody who was let in is turned away.
 */
#include "grapevine/net/listener.h"
#include "support/suite.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

struct world {
    struct gv_loop *loop; /* never run here: what waits in the kernel stays there */
    struct gv_listener *listener;
    struct sockaddr_in at;
    int accepted;
};

static void on_accept(void *owner, struct gv_stream *stream)
{
    ((struct world *)owner)->accepted += 1;
    gv_stream_close(stream);
}

static void begin(struct world *world, int inherited_fd)
{
    *world = (struct world){.accepted = 0};
    struct gv_listener_options options = {.addr = {.family = 4, .ip = {127, 0, 0, 1}},
                                          .inherited_fd = inherited_fd};
    CU_ASSERT_EQUAL_FATAL(gv_loop_new("test", &world->loop), GV_OK);
    CU_ASSERT_EQUAL_FATAL(
        gv_listener_open(world->loop, options, on_accept, world, &world->listener), GV_OK);
    world->at = (struct sockaddr_in){.sin_family = AF_INET,
                                     .sin_addr = {htonl(INADDR_LOOPBACK)},
                                     .sin_port = htons(gv_listener_addr(world->listener).port)};
}

/* A client; it does not wait for its connection. */
static int knock(const struct world *world)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    CU_ASSERT_FATAL(fd >= 0);
    (void)connect(fd, (const struct sockaddr *)&world->at, sizeof world->at);
    return fd;
}

/* A client that has been let in by the kernel. */
static int enter(const struct world *world)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CU_ASSERT_FATAL(fd >= 0);
    CU_ASSERT_EQUAL_FATAL(connect(fd, (const struct sockaddr *)&world->at, sizeof world->at), 0);
    return fd;
}

static bool is_unheard(int fd)
{
    struct tcp_info info;
    socklen_t len = sizeof info;
    CU_ASSERT_EQUAL_FATAL(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
    return info.tcpi_state == TCP_SYN_SENT;
}

static void whoever_was_let_in_is_accepted_before_the_port_closes(void)
{
    struct world world;
    begin(&world, 0);
    int first = enter(&world);
    int second = enter(&world);
    gv_listener_finish(world.listener);
    CU_ASSERT_EQUAL(world.accepted, 2);
    int late = socket(AF_INET, SOCK_STREAM, 0);
    CU_ASSERT_EQUAL(connect(late, (struct sockaddr *)&world.at, sizeof world.at), -1);
    gv_loop_free(world.loop);
    close(first);
    close(second);
    close(late);
}

static void a_shut_port_does_not_hear_who_comes_and_keeps_who_waits(void)
{
    struct world world;
    begin(&world, 0);
    int waiting = enter(&world);
    gv_listener_shut(world.listener);
    int late = knock(&world);
    CU_ASSERT_TRUE(is_unheard(late));
    gv_listener_finish(world.listener);
    CU_ASSERT_EQUAL(world.accepted, 1);
    CU_ASSERT_TRUE(is_unheard(late)); /* not refused either: it asks again, later */
    gv_loop_free(world.loop);
    close(waiting);
    close(late);
}

static void a_socket_that_others_share_stays_open_to_all(void)
{
    struct world world;
    int shared = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    CU_ASSERT_FATAL(bind(shared, (struct sockaddr *)&at, sizeof at) == 0);
    CU_ASSERT_FATAL(listen(shared, 4) == 0);
    begin(&world, shared);
    gv_listener_shut(world.listener);
    int client = enter(&world);
    gv_listener_finish(world.listener);
    CU_ASSERT_EQUAL(world.accepted, 0); /* whoever else listens there takes it */
    int taken = accept(shared, NULL, NULL);
    CU_ASSERT(taken >= 0);
    gv_loop_free(world.loop);
    close(taken);
    close(client);
    close(shared);
}

GV_SUITE("net/listener", GV_CASE(whoever_was_let_in_is_accepted_before_the_port_closes),
         GV_CASE(a_shut_port_does_not_hear_who_comes_and_keeps_who_waits),
         GV_CASE(a_socket_that_others_share_stays_open_to_all))
