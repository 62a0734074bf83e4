/*
 * test_relay.c - what a node asks of its workers for a client: their own words, their loads, their
 * caches flushed; and the port for probes alone. Real programs.
 */
#include "support/fake.h"
#include "support/suite.h"
#include "support/world.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct gv_world world;

static struct gv_world_node *start(int workers, const char *const *flags)
{
    return gv_world_start(&world, workers, flags);
}

static void infos_are_the_workers_own_bytes_on_both_ports(void)
{
    static const char *const paths[] = {"/get_model_info", "/get_server_info", "/health_generate"};
    struct gv_world_node *node = start(1, NULL);
    const uint16_t ports[] = {node->port, node->metrics_port};
    for (size_t i = 0; i < 3; i++) {
        struct gv_reply own;
        gv_talk_ask(world.workers[0].port, "GET", paths[i], NULL, NULL, &own);
        CU_ASSERT_EQUAL(own.status, 200);
        for (size_t port = 0; port < 2; port++) {
            struct gv_reply reply;
            char type[64] = "";
            char own_type[64] = "";
            gv_talk_ask(ports[port], "GET", paths[i], NULL, NULL, &reply);
            CU_ASSERT_EQUAL(reply.status, 200);
            if (i != 1) { /* the server's info tells numbers that move */
                CU_ASSERT_STRING_EQUAL(reply.body, own.body);
            } else {
                CU_ASSERT_EQUAL(gv_reply_number(&reply, "max_total_num_tokens"),
                                gv_reply_number(&own, "max_total_num_tokens"));
                CU_ASSERT_PTR_NOT_NULL(strstr(own.body, "max_total_num_tokens"));
            }
            CU_ASSERT_EQUAL(gv_reply_header(&reply, "Content-Type", type, sizeof type),
                            gv_reply_header(&own, "Content-Type", own_type, sizeof own_type));
            CU_ASSERT_STRING_EQUAL(type, own_type);
            gv_reply_deinit(&reply);
        }
        gv_reply_deinit(&own);
    }
    gv_world_end(&world);
}

static void without_a_ready_worker_there_is_nobody_to_ask(void)
{
    memset(&world, 0, sizeof world);
    struct gv_world_node *node = gv_world_add_node(&world, NULL);
    struct gv_reply reply;
    gv_talk_ask(node->port, "GET", "/get_model_info", NULL, NULL, &reply);
    CU_ASSERT_EQUAL(reply.status, 503);
    gv_reply_deinit(&reply);
    gv_talk_ask(node->port, "GET", "/get_loads", NULL, NULL, &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    CU_ASSERT_STRING_EQUAL(reply.body, "{\"workers\":[]}");
    gv_reply_deinit(&reply);
    gv_talk_ask(node->port, "POST", "/flush_cache", NULL, "", &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    CU_ASSERT_EQUAL(gv_reply_number(&reply, "workers_flushed"), 0);
    gv_reply_deinit(&reply);
    gv_world_end(&world);
}

static void loads_are_told_for_every_worker_and_minus_one_without(void)
{
    struct gv_world_node *node = start(2, NULL);
    struct gv_reply reply;
    gv_talk_ask(node->port, "GET", "/get_loads", NULL, NULL, &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    CU_ASSERT_PTR_NOT_NULL(strstr(reply.body, world.workers[0].url));
    CU_ASSERT_PTR_NOT_NULL(strstr(reply.body, world.workers[1].url));
    CU_ASSERT_PTR_NOT_NULL(strstr(reply.body, "\"details\":[{\"dp_rank\":0"));
    CU_ASSERT_PTR_NULL(strstr(reply.body, "\"load\":-1"));
    gv_reply_deinit(&reply);
    gv_process_kill(&world.workers[1].process);
    gv_talk_ask(node->port, "GET", "/get_loads", NULL, NULL, &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    CU_ASSERT_PTR_NOT_NULL(strstr(reply.body, "\"load\":-1"));
    gv_reply_deinit(&reply);
    gv_world_end(&world);
}

/* The matched blocks of the last decision, by the header x-grapevine-match. */
static int matched(struct gv_world_node *node, const char *body)
{
    struct gv_reply reply;
    char value[64] = "";
    gv_talk_ask(node->port, "POST", "/v1/chat/completions", NULL, body, &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    CU_ASSERT(gv_reply_header(&reply, "x-grapevine-match", value, sizeof value));
    gv_reply_deinit(&reply);
    return atoi(value);
}

static void a_flush_reaches_all_workers_and_our_own_memory(void)
{
    static const char *const flags[] = {"--decision-headers", NULL};
    struct gv_world_node *node = start(2, flags);
    char prompt[4096];
    gv_world_prompt(prompt, sizeof prompt, 7);
    char *body = gv_world_chat_body(prompt, false);
    struct gv_reply reply;
    CU_ASSERT_EQUAL(matched(node, body), 0);
    CU_ASSERT(matched(node, body) > 0);
    gv_talk_ask(node->port, "POST", "/flush_cache", NULL, "", &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    CU_ASSERT_PTR_NOT_NULL(strstr(reply.body, "\"status\":\"success\""));
    CU_ASSERT_EQUAL(gv_reply_number(&reply, "workers_flushed"), 2);
    gv_reply_deinit(&reply);
    CU_ASSERT_EQUAL(matched(node, body), 0);
    gv_process_kill(&world.workers[1].process);
    gv_talk_ask(node->metrics_port, "POST", "/flush_cache", NULL, "", &reply);
    CU_ASSERT_EQUAL(reply.status, 206);
    CU_ASSERT_PTR_NOT_NULL(strstr(reply.body, "\"status\":\"partial_success\""));
    CU_ASSERT_EQUAL(gv_reply_number(&reply, "workers_flushed"), 1);
    CU_ASSERT_PTR_NOT_NULL(strstr(reply.body, "\"error\":\"connect\""));
    gv_reply_deinit(&reply);
    free(body);
    gv_world_end(&world);
}

/* What the admin port is asked behind a slow answer waits for it, and all are answered in order. */
static void pipelined_questions_wait_for_the_workers_answer(void)
{
    struct gv_world_node *node = start(1, NULL);
    char got[65536];
    size_t have = 0;
    int fd = gv_talk_connect(node->metrics_port);
    CU_ASSERT(gv_talk_send_text(fd, "GET /get_loads HTTP/1.1\r\nHost: x\r\n\r\n"
                                    "HEAD /none HTTP/1.1\r\nHost: x\r\n\r\n"
                                    "GET /get_model_info HTTP/1.1\r\nHost: x\r\n\r\n"
                                    "GET /liveness HTTP/1.1\r\nHost: x\r\n"
                                    "Connection: close\r\n\r\n"));
    ssize_t more;
    while ((more = read(fd, got + have, sizeof got - 1 - have)) > 0) {
        have += (size_t)more;
    }
    got[have] = '\0';
    const char *loads = strstr(got, "{\"workers\":[");
    const char *none = strstr(got, "HTTP/1.1 404 ");
    const char *info = strstr(got, "\"model_path\"");
    const char *last = strstr(got, "\r\n\r\nOK");
    CU_ASSERT_FATAL(loads != NULL && none != NULL && info != NULL && last != NULL);
    CU_ASSERT(loads < none && none < info && info < last);
    const char *end = strstr(none, "\r\n\r\n");
    CU_ASSERT_PTR_NOT_NULL_FATAL(end);
    CU_ASSERT_EQUAL(strncmp(end + 4, "HTTP/1.1 200 ", 13), 0); /* HEAD has no body, also of a 404 */
    close(fd);
    gv_world_end(&world);
}

static bool reply_too_many_tokens(struct gv_fake *fake, int fd)
{
    static const char loads[] = "{\"loads\":[{\"num_used_tokens\":9223372036854775807},"
                                "{\"num_used_tokens\":9223372036854775807},"
                                "{\"num_used_tokens\":7}]}";
    bool asked = gv_fake_was_sent(fake, "GET /v1/loads ");
    char answer[512];
    snprintf(answer, sizeof answer,
             "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
             asked ? sizeof loads - 1 : (size_t)2, asked ? loads : "{}");
    gv_fake_say(fd, answer);
    return true;
}

/* Two such numbers would not fit in one. */
static void tokens_that_no_engine_can_hold_are_not_counted(void)
{
    static struct gv_fake fake;
    gv_fake_start(&fake, reply_too_many_tokens);
    const char *flags[] = {"--worker-urls", fake.url, NULL};
    memset(&world, 0, sizeof world);
    struct gv_world_node *node = gv_world_add_node(&world, flags);
    struct gv_reply reply;
    gv_talk_ask(node->port, "GET", "/get_loads", NULL, NULL, &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    CU_ASSERT_PTR_NOT_NULL(strstr(reply.body, "\"load\":7"));
    gv_reply_deinit(&reply);
    gv_world_end(&world);
    gv_fake_stop(&fake);
}

/* An engine that answers probes, and never /flush_cache. */
static bool reply_but_flush(struct gv_fake *fake, int fd)
{
    char byte;
    if (gv_fake_was_sent(fake, "POST /flush_cache ")) {
        return read(fd, &byte, 1) > 0;
    }
    gv_fake_say(fd, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
                    "\r\n{}");
    return true;
}

static bool is_flushing(void *owner)
{
    return gv_fake_was_sent(owner, "POST /flush_cache ");
}

static bool takes_requests(void *owner)
{
    struct gv_reply reply;
    gv_talk_ask(((struct gv_world_node *)owner)->port, "GET", "/readiness", NULL, NULL, &reply);
    bool takes = reply.status == 200;
    gv_reply_deinit(&reply);
    return takes;
}

static void a_node_ends_while_a_worker_has_not_answered(void)
{
    static struct gv_fake fake;
    gv_fake_start(&fake, reply_but_flush);
    memset(&world, 0, sizeof world);
    const char *flags[] = {"--worker-urls",
                           fake.url,
                           "--drain-settle-secs",
                           "0",
                           "--shutdown-grace-period-secs",
                           "0",
                           NULL};
    struct gv_world_node *node = gv_world_add_node(&world, flags);
    CU_ASSERT_TRUE_FATAL(gv_test_await(takes_requests, node, 0));
    int data = gv_talk_connect(node->port);
    int admin = gv_talk_connect(node->metrics_port);
    static const char flush[] =
        "POST /flush_cache HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
    CU_ASSERT(gv_talk_send_text(data, flush));
    CU_ASSERT(gv_talk_send_text(admin, flush));
    CU_ASSERT(gv_test_await(is_flushing, &fake, 0));
    int gone = gv_talk_connect(node->metrics_port);
    CU_ASSERT(gv_talk_send_text(gone, flush));
    close(gone); /* who has left is not answered */
    gv_process_signal(&node->process, 15);
    CU_ASSERT_EQUAL(gv_process_wait(&node->process), 0);
    close(data);
    close(admin);
    gv_world_end(&world);
    gv_fake_stop(&fake);
}

/* ---- the probe port ---- */

static uint16_t free_port(void)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof addr;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CU_ASSERT_EQUAL_FATAL(bind(fd, (struct sockaddr *)&addr, len), 0);
    CU_ASSERT_EQUAL_FATAL(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
    close(fd);
    return ntohs(addr.sin_port);
}

static int status_of(uint16_t port, const char *path)
{
    struct gv_reply reply;
    gv_talk_ask(port, "GET", path, NULL, NULL, &reply);
    int status = reply.status;
    gv_reply_deinit(&reply);
    return status;
}

/* A connection that was answered and stays; a place may not be free until the node has seen that
 * the client before is gone. */
static int hold(uint16_t port)
{
    for (;;) {
        struct gv_reply reply;
        int fd = gv_talk_connect(port);
        gv_talk_send_text(fd, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
        gv_talk_read(fd, &reply);
        int status = reply.status;
        gv_reply_deinit(&reply);
        if (status == 200) {
            return fd;
        }
        CU_ASSERT_EQUAL_FATAL(status, 503);
        close(fd);
        gv_test_pause();
    }
}

static void the_probe_port_answers_probes_and_nothing_else_also_when_all_clients_are_taken(void)
{
    char port[16];
    uint16_t number = free_port();
    (void)snprintf(port, sizeof port, "%u", number);
    const char *flags[] = {"--health-check-port",
                           port,
                           "--max-connections",
                           "2",
                           "--threads",
                           "1",
                           "--api-key",
                           "k",
                           NULL};
    memset(&world, 0, sizeof world);
    gv_world_add_worker(&world, "regular");
    struct gv_world_node *node = gv_world_add_node(&world, flags);
    CU_ASSERT_TRUE_FATAL(gv_world_await_ready(&world));
    int first = hold(node->port);
    int second = hold(node->port);
    CU_ASSERT_EQUAL(status_of(node->port, "/health"), 503); /* no connection is left there */
    CU_ASSERT_EQUAL(status_of(number, "/health"), 200);
    CU_ASSERT_EQUAL(status_of(number, "/liveness"), 200);
    CU_ASSERT_EQUAL(status_of(number, "/readiness"), 200);
    CU_ASSERT_EQUAL(status_of(number, "/metrics"), 404);
    CU_ASSERT_EQUAL(status_of(number, "/workers"), 404);
    close(first);
    close(second);
    gv_world_end(&world);
}

GV_SUITE("integration/relay", GV_CASE(infos_are_the_workers_own_bytes_on_both_ports),
         GV_CASE(without_a_ready_worker_there_is_nobody_to_ask),
         GV_CASE(loads_are_told_for_every_worker_and_minus_one_without),
         GV_CASE(tokens_that_no_engine_can_hold_are_not_counted),
         GV_CASE(a_flush_reaches_all_workers_and_our_own_memory),
         GV_CASE(pipelined_questions_wait_for_the_workers_answer),
         GV_CASE(a_node_ends_while_a_worker_has_not_answered),
         GV_CASE(the_probe_port_answers_probes_and_nothing_else_also_when_all_clients_are_taken))
