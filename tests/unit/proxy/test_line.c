/*
 * Connections to workers that are used again.
 */
#include "../../../src/proxy/line.h"
#include "grapevine/base/mem.h"
#include "support/suite.h"
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* What the worker does after its answer, before its line is taken again in the same turn. */
enum deed {
    NOTHING,
    STRAY_BYTE,
    STRAY_ANSWER,
    CLOSES
};

struct world {
    struct gv_loop *loop;
    struct gv_targets *targets;
    struct gv_target *target;
    struct gv_line *line;
    int listen_fd;
    int worker_fd;
    enum deed deed;
    bool was_ready; /* the second use got the first one's connection */
    uint32_t ends;
    uint32_t lost;
};

static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

static void say(const struct world *world, const char *text)
{
    CU_ASSERT_EQUAL(send(world->worker_fd, text, strlen(text), 0), (ssize_t)strlen(text));
}

static void on_ready(void *user)
{
    struct world *world = user;
    world->worker_fd = accept(world->listen_fd, NULL, NULL);
    CU_ASSERT_FATAL(world->worker_fd >= 0);
    CU_ASSERT_EQUAL(
        gv_line_send(world->line, gv_slice_text("GET / HTTP/1.1\r\n\r\n"), gv_slice_text("")),
        GV_OK);
    gv_line_sent(world->line);
    say(world, answer);
}

static void on_head(void *user, const struct gv_head *head)
{
    (void)user;
    CU_ASSERT_EQUAL(head->status, 200);
}

static void on_body(void *user, struct gv_slice bytes)
{
    (void)user;
    CU_ASSERT(gv_slice_is(bytes, "ok"));
}

static void on_drain(void *user)
{
    (void)user;
}

static void on_lost(void *user, enum gv_cause cause, bool replaceable)
{
    struct world *world = user;
    (void)cause;
    (void)replaceable;
    world->lost += 1;
}

static void on_end(void *user);

static const struct gv_line_events events = {on_ready, on_head, on_body, on_end, on_drain, on_lost};

/* The line is idle now; loopback delivers at once, so the loop has not seen what is sent here. */
static void on_end(void *user)
{
    struct world *world = user;
    world->ends += 1;
    switch (world->deed) {
    case NOTHING:
        break;
    case STRAY_BYTE:
        say(world, "H");
        break;
    case STRAY_ANSWER:
        say(world, answer);
        break;
    case CLOSES:
        close(world->worker_fd);
        world->worker_fd = -1;
        break;
    }
    CU_ASSERT_EQUAL(gv_targets_idle_count(world->targets), 1);
    CU_ASSERT_EQUAL_FATAL(
        gv_line_take(world->target, false, &events, world, &world->line, &world->was_ready), GV_OK);
    CU_ASSERT_EQUAL(gv_targets_idle_count(world->targets), 0);
    gv_loop_stop(world->loop);
}

static void on_closed(void *owner)
{
    (void)owner;
}

static void use_twice(struct world *world, enum deed deed)
{
    memset(world, 0, sizeof *world);
    world->deed = deed;
    world->worker_fd = -1;
    world->listen_fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof addr;
    CU_ASSERT_FATAL(bind(world->listen_fd, (struct sockaddr *)&addr, len) == 0);
    CU_ASSERT_FATAL(listen(world->listen_fd, 8) == 0);
    CU_ASSERT_FATAL(getsockname(world->listen_fd, (struct sockaddr *)&addr, &len) == 0);
    CU_ASSERT_EQUAL_FATAL(gv_loop_new("test", &world->loop), GV_OK);
    struct gv_config config = {.pool_idle_per_worker = 4};
    CU_ASSERT_EQUAL_FATAL(gv_targets_open(world->loop, &config, NULL, &world->targets), GV_OK);
    struct gv_worker worker = {.index = 0};
    snprintf(worker.url, sizeof worker.url, "http://127.0.0.1:%u", ntohs(addr.sin_port));
    CU_ASSERT_EQUAL_FATAL(gv_target_get(world->targets, &worker, &world->target), GV_OK);
    CU_ASSERT_EQUAL_FATAL(
        gv_line_take(world->target, false, &events, world, &world->line, &world->was_ready), GV_OK);
    CU_ASSERT_FALSE(world->was_ready);
    gv_loop_run(world->loop);
    CU_ASSERT_EQUAL(world->ends, 1);
    CU_ASSERT_EQUAL(world->lost, 0);
    gv_targets_close(world->targets, on_closed, NULL);
    gv_loop_free(world->loop);
    close(world->worker_fd);
    close(world->listen_fd);
    CU_ASSERT_EQUAL(gv_mem_used(GV_MEM_NET), 0);
}

static void a_quiet_line_is_used_again(void)
{
    struct world world;
    use_twice(&world, NOTHING);
    CU_ASSERT_TRUE(world.was_ready);
}

static void a_stray_byte_in_the_turn_of_the_next_use_is_never_its_answer(void)
{
    struct world world;
    use_twice(&world, STRAY_BYTE);
    CU_ASSERT_FALSE(world.was_ready);
    use_twice(&world, STRAY_ANSWER);
    CU_ASSERT_FALSE(world.was_ready);
}

static void a_line_that_ended_in_the_turn_of_the_next_use_is_not_used(void)
{
    struct world world;
    use_twice(&world, CLOSES);
    CU_ASSERT_FALSE(world.was_ready);
}

GV_SUITE("proxy/line", GV_CASE(a_quiet_line_is_used_again),
         GV_CASE(a_stray_byte_in_the_turn_of_the_next_use_is_never_its_answer),
         GV_CASE(a_line_that_ended_in_the_turn_of_the_next_use_is_not_used))
