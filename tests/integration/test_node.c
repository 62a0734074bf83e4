/*
 * test_node.c - the life of one real process: start, ready, drain, end; and what it says when it
 * cannot start.
 */
#include "support/suite.h"
#include "support/world.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct gv_world world;

static struct gv_world_node *start(int workers, const char *const *flags)
{
    memset(&world, 0, sizeof world);
    for (int i = 0; i < workers; i++) {
        gv_world_add_worker(&world, "regular");
    }
    return gv_world_add_node(&world, flags);
}

static int status_of(uint16_t port, const char *path)
{
    struct gv_reply reply;
    gv_talk_ask(port, "GET", path, NULL, NULL, &reply);
    int status = reply.status;
    gv_reply_deinit(&reply);
    return status;
}

static void without_workers_a_node_lives_but_is_not_ready(void)
{
    struct gv_world_node *node = start(0, NULL);
    CU_ASSERT_EQUAL(status_of(node->port, "/liveness"), 200);
    CU_ASSERT_EQUAL(status_of(node->port, "/readiness"), 503);
    gv_world_end(&world);
}

/* Ready means ready for all of them: the first request finds every worker probed. */
static void a_node_is_ready_when_it_has_probed_all_its_workers(void)
{
    struct gv_world_node *node = start(4, NULL);
    CU_ASSERT_TRUE_FATAL(gv_world_await_ready(&world));
    CU_ASSERT_EQUAL(gv_world_number(node, "/readiness", "", "healthy_workers"), 4);
    gv_world_end(&world);
}

static void with_workers_it_becomes_ready_and_says_where_it_listens(void)
{
    struct gv_world_node *node = start(1, NULL);
    CU_ASSERT_TRUE(node->port != 0 && node->mesh_port != 0 && node->metrics_port != 0);
    CU_ASSERT_TRUE(gv_world_await_ready(&world));
    CU_ASSERT_EQUAL(status_of(node->metrics_port, "/metrics"), 200);
    gv_world_end(&world);
}

static bool is_refusing(void *owner)
{
    const struct gv_world_node *node = owner;
    int fd = gv_talk_connect(node->port);
    if (fd >= 0) {
        (void)close(fd);
    }
    return fd < 0;
}

/* 503 while the port settles. Who is kept from looking for as long as that finds it closed, which
 * is not ready either; waiting for a 503 that has been would be waiting for ever. */
static bool is_unready(void *owner)
{
    const struct gv_world_node *node = owner;
    return status_of(node->port, "/readiness") == 503 || is_refusing(owner);
}

/* Send a question and wait until the engine has it; the connection, for the answer. */
static int ask(struct gv_world_node *node)
{
    char *body = gv_world_chat_body("a slow question", false);
    char request[4096];
    (void)snprintf(request, sizeof request,
                   "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: "
                   "application/json\r\nContent-Length: %zu\r\n\r\n%s",
                   strlen(body), body);
    free(body);
    int fd = gv_talk_connect(node->port);
    CU_ASSERT_TRUE_FATAL(fd >= 0);
    CU_ASSERT_TRUE(gv_talk_send_text(fd, request));
    uint64_t until_ms = gv_test_now_ms() + GV_PROCESS_DEADLINE_MS;
    while (gv_world_stat(&world.workers[0], "requests") < 1 && gv_test_now_ms() < until_ms) {
        gv_test_pause();
    }
    return fd;
}

/* An answer that takes longer than the port stays open is still given whole. */
static void sigterm_lets_the_exchange_under_way_end_and_takes_no_new_one(void)
{
    const char *const flags[] = {"--drain-settle-secs", "1", NULL};
    struct gv_world_node *node = start(1, flags);
    CU_ASSERT_TRUE_FATAL(gv_world_await_ready(&world));
    gv_world_fault(&world.workers[0], "{\"kind\":\"slow\",\"ms\":3000}");
    int fd = ask(node);
    gv_process_signal(&node->process, SIGTERM);
    CU_ASSERT_TRUE(gv_test_await(is_unready, node, 0));
    CU_ASSERT_TRUE(gv_test_await(is_refusing, node, 0));
    struct gv_reply reply;
    gv_talk_read(fd, &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    CU_ASSERT_TRUE(reply.whole);
    gv_reply_deinit(&reply);
    (void)close(fd);
    CU_ASSERT_EQUAL(gv_process_wait(&node->process), 0);
    CU_ASSERT_TRUE(gv_process_has_said(&node->process, "node.drained"));
    gv_world_end(&world);
}

/* As a supervisor does it: the socket listens before the node is there, and has its first client.
 */
static void a_socket_that_was_passed_is_served_by_all_loops(void)
{
    uint16_t port;
    int fd = gv_talk_listen(64, &port);
    int early = gv_talk_connect(port);
    CU_ASSERT(gv_talk_send_text(early, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n"));
    char script[256];
    const char *bin = getenv("GV_BIN");
    (void)snprintf(script, sizeof script,
                   "exec 3<&%d; LISTEN_PID=$$ LISTEN_FDS=1 exec '%s/grapevine' \"$@\"", fd,
                   bin == NULL ? "build/dev/bin" : bin);
    const char *const argv[] = {
        "/bin/bash",         "-c", script,      "grapevine", "--port",      "1", /* which is not
                                                                                    used */
        "--prometheus-port", "0",  "--threads", "2",         "--node-name", "passed", NULL};
    struct gv_process process;
    CU_ASSERT_TRUE_FATAL(gv_process_start(&process, "passed", argv));
    struct gv_reply reply;
    gv_talk_read(early, &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    gv_reply_deinit(&reply);
    for (int i = 0; i < 10; i++) {
        CU_ASSERT_EQUAL(status_of(port, "/health"), 200);
    }
    (void)close(early);
    (void)close(fd);
    gv_process_signal(&process, SIGTERM);
    CU_ASSERT(gv_process_await(&process, "node.draining", NULL, 0));
    gv_process_signal(&process, SIGTERM);
    CU_ASSERT_EQUAL(gv_process_wait(&process), 1);
}

static void a_second_signal_ends_it_at_once_with_1(void)
{
    const char *const flags[] = {"--drain-settle-secs", "30", NULL};
    struct gv_world_node *node = start(1, flags);
    CU_ASSERT_TRUE_FATAL(gv_world_await_ready(&world));
    gv_process_signal(&node->process, SIGTERM);
    CU_ASSERT_TRUE(gv_process_await(&node->process, "node.draining", NULL, 0));
    gv_process_signal(&node->process, SIGINT);
    CU_ASSERT_EQUAL(gv_process_wait(&node->process), 1);
    CU_ASSERT_TRUE(gv_process_has_said(&node->process, "node.forced"));
    gv_world_end(&world);
}

static void a_drain_that_takes_too_long_is_cut(void)
{
    const char *const flags[] = {"--shutdown-grace-period-secs", "1", NULL};
    struct gv_world_node *node = start(1, flags);
    CU_ASSERT_TRUE_FATAL(gv_world_await_ready(&world));
    gv_world_fault(&world.workers[0], "{\"kind\":\"hang_before_head\"}");
    int fd = ask(node);
    gv_process_signal(&node->process, SIGTERM);
    CU_ASSERT_EQUAL(gv_process_wait(&node->process), 0);
    CU_ASSERT_TRUE(gv_process_has_said(&node->process, "node.drain_cut"));
    (void)close(fd);
    gv_world_end(&world);
}

static int end_of(const char *const *argv, const char *says)
{
    struct gv_process process;
    CU_ASSERT_TRUE_FATAL(gv_process_start(&process, "failing", argv));
    int code = gv_process_wait(&process);
    CU_ASSERT_TRUE(gv_process_has_said(&process, says));
    return code;
}

static void a_taken_port_is_an_error_that_names_it(void)
{
    struct gv_world_node *node = start(0, NULL);
    char port[8];
    (void)snprintf(port, sizeof port, "%u", (unsigned)node->metrics_port);
    const char *const argv[] = {"grapevine",
                                "--host",
                                "127.0.0.1",
                                "--port",
                                port, /* held by another, without sharing */
                                "--prometheus-port",
                                "0",
                                NULL};
    CU_ASSERT_EQUAL(end_of(argv, "node.unbound"), 1);
    const char *const metrics[] = {"grapevine", "--host", "127.0.0.1", "--prometheus-host",
                                   "127.0.0.1", "--port", "0",         "--prometheus-port",
                                   port,        NULL};
    CU_ASSERT_EQUAL(end_of(metrics, "node.no_metrics"), 1);
    (void)snprintf(port, sizeof port, "%u", (unsigned)node->mesh_port);
    const char *const mesh[] = {
        "grapevine", "--host",        "127.0.0.1",   "--port", "0", "--prometheus-port",
        "0",         "--enable-mesh", "--mesh-port", port,     NULL};
    CU_ASSERT_EQUAL(end_of(mesh, "mesh.unbound"), 1);
    gv_world_end(&world);
}

static void two_nodes_of_one_name_the_newcomer_stops_and_says_why(void)
{
    const char *const flags[] = {"--node-name", "twin", NULL};
    struct gv_world_node *older = start(1, flags);
    CU_ASSERT_TRUE_FATAL(gv_world_await_ready(&world));
    struct gv_world_node *newer = gv_world_add_node(&world, flags);
    CU_ASSERT_EQUAL(gv_process_wait(&newer->process), 1);
    CU_ASSERT_TRUE(gv_process_has_said(&newer->process, "mesh.conflict"));
    CU_ASSERT_EQUAL(status_of(older->port, "/readiness"), 200);
    gv_world_end(&world);
}

/* A copied --state-dir: both hold the same key, so the later start is taken for the node itself. */
static void two_nodes_of_one_name_and_key_the_older_stops_and_says_why(void)
{
    char folder[300];
    (void)snprintf(folder, sizeof folder, "%s/twins", gv_test_folder());
    const char *const flags[] = {"--node-name", "twin", "--state-dir", folder, NULL};
    struct gv_world_node *older = start(1, flags);
    struct gv_world_node *newer = gv_world_add_node(&world, flags);
    CU_ASSERT_EQUAL(gv_process_wait(&older->process), 1);
    CU_ASSERT_TRUE(gv_process_has_said(&older->process, "mesh.conflict"));
    CU_ASSERT_EQUAL(status_of(newer->port, "/liveness"), 200);
    gv_world_end(&world);
}

GV_SUITE("integration/node", GV_CASE(without_workers_a_node_lives_but_is_not_ready),
         GV_CASE(with_workers_it_becomes_ready_and_says_where_it_listens),
         GV_CASE(a_node_is_ready_when_it_has_probed_all_its_workers),
         GV_CASE(sigterm_lets_the_exchange_under_way_end_and_takes_no_new_one),
         GV_CASE(a_socket_that_was_passed_is_served_by_all_loops),
         GV_CASE(a_second_signal_ends_it_at_once_with_1),
         GV_CASE(a_drain_that_takes_too_long_is_cut),
         GV_CASE(a_taken_port_is_an_error_that_names_it),
         GV_CASE(two_nodes_of_one_name_the_newcomer_stops_and_says_why),
         GV_CASE(two_nodes_of_one_name_and_key_the_older_stops_and_says_why))
