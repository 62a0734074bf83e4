/*
 * test_stories_edges.c - what users of LLM routers complained about where two parts meet: names
 * given to engines, permits and streams, probes and traffic, names of hosts and their addresses,
 * descriptors. The comments name the public issue.
 */
#include "support/certs.h"
#include "support/suite.h"
#include "support/world.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHAT  "/v1/chat/completions"
#define NEVER "{\"kind\":\"hang_before_head\",\"count\":0}" /* until reset */

static struct gv_world world;

static struct gv_world_node *start(int workers, const char *const *flags)
{
    return gv_world_start(&world, workers, flags);
}

static int send_body(struct gv_world_node *node, const char *body)
{
    char head[256];
    int fd = gv_talk_connect(node->port);
    snprintf(head, sizeof head, "POST " CHAT " HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n",
             strlen(body));
    CU_ASSERT_TRUE(gv_talk_send_text(fd, head));
    CU_ASSERT_TRUE(gv_talk_send_text(fd, body));
    return fd;
}

/* ---- what is told to engines ---- */

/* sglang#39461: a router aborted by the id that the client had given; engines take an id for the
 * beginning of ids, so one client that left stopped the requests of others. And of several answers
 * to one prompt (n > 1) each has an id of its own, so that there is none to tell. */
static void an_id_that_a_client_chose_is_never_told_to_an_engine_to_stop(void)
{
    static const char *const flags[] = {"--abort-requests", NULL};
    static const char *const bodies[] = {
        "{\"rid\":\"a\",\"messages\":[{\"role\":\"user\",\"content\":\"one\"}]}",
        "{\"rid\":\"\",\"messages\":[{\"role\":\"user\",\"content\":\"two\"}]}",
        "{\"n\":2,\"messages\":[{\"role\":\"user\",\"content\":\"three\"}]}",
        "{\"sampling_params\":{\"n\":2},\"messages\":[{\"role\":\"user\",\"content\":\"four\"}]}",
    };
    enum {
        COUNT = sizeof bodies / sizeof bodies[0]
    };
    struct gv_world_node *node = start(1, flags);
    struct gv_world_worker *engine = &world.workers[0];
    gv_world_fault(engine, NEVER);
    int others = send_body(node, "{\"rid\":\"ab\",\"messages\":[]}");
    CU_ASSERT_TRUE(gv_world_await_stat(engine, "requests", 1));
    for (long i = 0; i < COUNT; i++) {
        int fd = send_body(node, bodies[i]);
        CU_ASSERT_TRUE(gv_world_await_stat(engine, "requests", i + 2));
        close(fd);
        CU_ASSERT_TRUE(gv_world_await_stat(engine, "aborted", i + 1)); /* by its connection */
    }
    CU_ASSERT_EQUAL(gv_world_stat(engine, "in_flight"), 1); /* the request of the other client */
    int fd = send_body(node, "{\"n\":1,\"messages\":[]}");  /* one without an id is told, as ours */
    CU_ASSERT_TRUE(gv_world_await_stat(engine, "requests", COUNT + 2));
    close(fd);
    CU_ASSERT_TRUE(gv_world_await_stat(engine, "aborts", 1));
    close(others);
    CU_ASSERT_TRUE(gv_world_await_idle(&world));
    CU_ASSERT_EQUAL(gv_world_stat(engine, "aborts"), 1);
    gv_world_end(&world);
}

/* ---- permits ---- */

/* smg-project/smg#2240: permits were given back when an answer began, so that a limit of one let
 * any number of streams run. */
static void a_stream_holds_its_place_until_its_very_end(void)
{
    static const char *const flags[] = {"--max-concurrent-requests", "1", "--queue-size", "0",
                                        NULL};
    static const char hang[] = "{\"kind\":\"hang_mid_stream\",\"after_bytes\":500}";
    struct gv_world_node *node = start(1, flags);
    char seen[8192];
    for (int i = 0; i < 2; i++) {
        gv_world_fault(&world.workers[0], hang);
        int fd = gv_world_send_chat(node, "a long answer", true);
        CU_ASSERT_TRUE(gv_talk_read_until(fd, "data: ", seen, sizeof seen)); /* it has begun */
        struct gv_reply reply;
        int second = gv_world_send_chat(node, "another", false);
        gv_talk_read(second, &reply);
        CU_ASSERT_EQUAL(reply.status, 429);
        CU_ASSERT_TRUE(gv_reply_header(&reply, "Retry-After", seen, sizeof seen));
        gv_reply_deinit(&reply);
        close(second);
        close(fd);
        CU_ASSERT_TRUE(gv_world_await_idle(&world));
        CU_ASSERT_EQUAL(gv_world_chat(node, "another", NULL, 0), 200); /* exactly one place again */
        CU_ASSERT_TRUE(gv_world_await_idle(&world)); /* its place is free just after */
    }
    gv_world_end(&world);
}

/* ---- probes and traffic ---- */

#define NONE (-1L) /* not ready: no number is told */

struct ready {
    struct gv_world_node *node;
    long healthy;
};

static bool has_healthy(void *owner)
{
    const struct ready *ready = owner;
    return gv_world_number(ready->node, "/readiness", "", "healthy_workers") == ready->healthy;
}

static bool await_healthy(struct gv_world_node *node, long healthy)
{
    struct ready ready = {node, healthy};
    return gv_test_await(has_healthy, &ready, 0);
}

/* smg-project/smg#1125: probes went out by a client of their own, without the certificates of the
 * traffic: engines that wanted one never became ready. */
static void probes_and_requests_show_the_same_certificate(void)
{
    const char *const engine[] = {"mockworker",
                                  "--port",
                                  "0",
                                  "--speed",
                                  "0",
                                  "--tls-cert",
                                  gv_cert("server.pem"),
                                  "--tls-key",
                                  gv_cert("server.key"),
                                  "--tls-client-ca",
                                  gv_cert("ca.pem"),
                                  NULL};
    struct gv_process process;
    char line[512];
    char url[64];
    char worker[600];
    CU_ASSERT_TRUE_FATAL(gv_process_start(&process, "engine", engine));
    CU_ASSERT_TRUE_FATAL(gv_process_await(&process, "ready on", line, sizeof line));
    snprintf(url, sizeof url, "https://localhost:%s", strrchr(line, ':') + 1);
    const char *const known[] = {"--worker-urls",
                                 url,
                                 "--ca-cert-path",
                                 gv_cert("ca.pem"),
                                 "--client-cert-path",
                                 gv_cert("client.pem"),
                                 "--client-key-path",
                                 gv_cert("client.key"),
                                 "--health-check-interval-secs",
                                 "0.1",
                                 NULL};
    memset(&world, 0, sizeof world);
    struct gv_world_node *node = gv_world_add_node(&world, known);
    CU_ASSERT_TRUE(await_healthy(node, 1)); /* that is the probe */
    CU_ASSERT_EQUAL(gv_world_chat(node, "hello", worker, sizeof worker), 200);
    CU_ASSERT_STRING_EQUAL(worker, url);
    gv_world_end(&world);
    /* without it neither: no green probe before requests that fail */
    const char *const unknown[] = {
        "--worker-urls", url, "--ca-cert-path", gv_cert("ca.pem"), "--health-check-interval-secs",
        "0.1",           NULL};
    node = gv_world_add_node(&world, unknown);
    CU_ASSERT_TRUE(gv_process_await(&node->process, "tls", NULL, 0));
    CU_ASSERT_EQUAL(gv_world_number(node, "/readiness", "", "healthy_workers"), NONE);
    gv_world_end(&world);
    CU_ASSERT_TRUE(gv_process_end(&process));
}

/* ---- names ---- */

/* A name server for one name: answers every question for A with `address`. */
static struct {
    int fd;
    pthread_t thread;
    _Atomic uint32_t address; /* in network order; 0: the name does not exist */
    atomic_bool is_silent;
    atomic_uint asked;
} names;

static void answer_question(uint8_t *packet, size_t len, const struct sockaddr_in *from)
{
    uint32_t address = atomic_load(&names.address);
    bool is_a = packet[len - 3] == 1 && packet[len - 4] == 0; /* type A; no additional records */
    packet[2] = 0x84;
    packet[3] = address == 0 ? 3 : 0;
    memset(packet + 6, 0, 6);
    if (address != 0 && is_a) {
        static const uint8_t record[] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4};
        packet[7] = 1;
        memcpy(packet + len, record, sizeof record);
        memcpy(packet + len + sizeof record, &address, 4);
        len += sizeof record + 4;
    }
    (void)sendto(names.fd, packet, len, 0, (const struct sockaddr *)from, sizeof *from);
}

static void *serve_names(void *unused)
{
    (void)unused;
    uint8_t packet[1024];
    struct sockaddr_in from;
    for (;;) {
        socklen_t from_len = sizeof from;
        ssize_t len = recvfrom(names.fd, packet, 512, 0, (struct sockaddr *)&from, &from_len);
        if (len == 1) { /* from stop_names() */
            return NULL;
        }
        atomic_fetch_add(&names.asked, 1);
        size_t at = 12; /* the question's end: additional records (EDNS) are cut off */
        while (at < (size_t)len && packet[at] != 0) {
            at += 1u + packet[at];
        }
        if (len > 16 && at + 5 <= (size_t)len && !atomic_load(&names.is_silent)) {
            answer_question(packet, at + 5, &from);
        }
    }
}

static struct sockaddr_in names_address(void)
{
    struct sockaddr_in addr;
    socklen_t len = sizeof addr;
    CU_ASSERT_EQUAL_FATAL(getsockname(names.fd, (struct sockaddr *)&addr, &len), 0);
    return addr;
}

static void start_names(const char *address)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char server[64];
    names.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    CU_ASSERT_EQUAL_FATAL(bind(names.fd, (struct sockaddr *)&addr, sizeof addr), 0);
    snprintf(server, sizeof server, "127.0.0.1:%u", (unsigned)ntohs(names_address().sin_port));
    setenv("GRAPEVINE_DNS_SERVERS", server, 1);
    atomic_store(&names.address, inet_addr(address));
    atomic_store(&names.is_silent, false);
    CU_ASSERT_EQUAL_FATAL(pthread_create(&names.thread, NULL, serve_names, NULL), 0);
}

static void stop_names(void)
{
    struct sockaddr_in addr = names_address();
    (void)sendto(names.fd, "x", 1, 0, (const struct sockaddr *)&addr, sizeof addr);
    pthread_join(names.thread, NULL);
    close(names.fd);
    unsetenv("GRAPEVINE_DNS_SERVERS");
}

/* An engine of its own at this address; port 0: any. */
static uint16_t start_engine(struct gv_process *process, const char *host, uint16_t port)
{
    char text[16];
    char line[512];
    snprintf(text, sizeof text, "%u", (unsigned)port);
    const char *const argv[] = {"mockworker", "--host", host, "--port", text, "--speed", "0", NULL};
    CU_ASSERT_TRUE_FATAL(gv_process_start(process, host, argv));
    CU_ASSERT_TRUE_FATAL(gv_process_await(process, "ready on", line, sizeof line));
    return (uint16_t)atoi(strrchr(line, ':') + 1);
}

static struct gv_world_node *start_named(uint16_t port, char *url, size_t size)
{
    snprintf(url, size, "http://engine.cluster.internal:%u", (unsigned)port);
    const char *const flags[] = {"--worker-urls",
                                 url,
                                 "--health-check-interval-secs",
                                 "0.1",
                                 "--health-failure-threshold",
                                 "2",
                                 "--threads",
                                 "1", /* each loop asks for itself */
                                 NULL};
    memset(&world, 0, sizeof world);
    struct gv_world_node *node = gv_world_add_node(&world, flags);
    CU_ASSERT_TRUE_FATAL(await_healthy(node, 1));
    return node;
}

/* sglang#26842, #30270, ai-dynamo/dynamo#12566: an engine came back at another address, and the
 * router stayed with the old one for hours, its health green all the time. */
static void an_engine_that_moves_to_another_address_is_found_by_its_name(void)
{
    struct gv_process first;
    struct gv_process second;
    char url[128];
    uint16_t port = start_engine(&first, "127.0.0.1", 0);
    start_names("127.0.0.1");
    struct gv_world_node *node = start_named(port, url, sizeof url);
    CU_ASSERT_EQUAL(gv_world_chat(node, "at home", NULL, 0), 200);
    gv_process_kill(&first);
    CU_ASSERT_TRUE(await_healthy(node, NONE)); /* not green while nobody is there */
    (void)start_engine(&second, "127.0.0.2", port);
    atomic_store(&names.address, inet_addr("127.0.0.2"));
    CU_ASSERT_TRUE(await_healthy(node, 1)); /* nobody told the router */
    CU_ASSERT_EQUAL(gv_world_chat(node, "at the new home", NULL, 0), 200);
    gv_world_end(&world);
    CU_ASSERT_TRUE(gv_process_end(&second));
    stop_names();
}

struct move {
    struct gv_world_node *node;
    struct gv_world_worker old; /* no process of its own: for its numbers */
};

/* Does a request now go elsewhere? */
static bool has_moved(void *owner)
{
    struct move *move = owner;
    long before = gv_world_stat(&move->old, "requests");
    CU_ASSERT_EQUAL(gv_world_chat(move->node, "where are you", NULL, 0), 200);
    return gv_world_stat(&move->old, "requests") == before;
}

/* The same with an old address that still answers, and connections to it that are never idle for
 * long: the name says where the engine is, not who was there first. */
static void an_engine_is_left_where_its_name_no_longer_points(void)
{
    struct gv_process first;
    struct gv_process second;
    char url[128];
    uint16_t port = start_engine(&first, "127.0.0.1", 0);
    start_names("127.0.0.1");
    struct move move = {.node = start_named(port, url, sizeof url), .old = {.port = port}};
    CU_ASSERT_FALSE(has_moved(&move));
    (void)start_engine(&second, "127.0.0.2", port);
    atomic_store(&names.address, inet_addr("127.0.0.2"));
    CU_ASSERT_TRUE(gv_test_await(has_moved, &move, 0));
    CU_ASSERT_TRUE(has_moved(&move)); /* and it stays there */
    gv_world_end(&world);
    CU_ASSERT_TRUE(gv_process_end(&first));
    CU_ASSERT_TRUE(gv_process_end(&second));
    stop_names();
}

/* sglang#32322 and others: name services fail too. What was known last is used as long as it works.
 */
static void a_name_service_that_fails_takes_no_engine_away(void)
{
    struct gv_process engine;
    char url[128];
    uint16_t port = start_engine(&engine, "127.0.0.1", 0);
    start_names("127.0.0.1");
    struct gv_world_node *node = start_named(port, url, sizeof url);
    CU_ASSERT_EQUAL(gv_world_chat(node, "with names", NULL, 0), 200);
    for (int kind = 0; kind < 2; kind++) { /* it denies the name; it says nothing */
        atomic_store(&names.address, kind == 0 ? 0 : inet_addr("127.0.0.1"));
        atomic_store(&names.is_silent, kind == 1);
        for (int i = 0; i < 5; i++) {
            CU_ASSERT_EQUAL(gv_world_chat(node, "without names", NULL, 0), 200);
        }
        CU_ASSERT_EQUAL(gv_world_number(node, "/readiness", "", "healthy_workers"), 1);
    }
    gv_world_end(&world);
    CU_ASSERT_TRUE(gv_process_end(&engine));
    stop_names();
}

/* ---- modes ---- */

/* vllm-project/router#46: two command lines of one product took the same flag for different modes,
 * and neither said which. Here flag, environment and file mean the same, and --print-config says
 * it. */
static void one_setting_means_one_mode_wherever_it_is_written(void)
{
    static const char *const ways[] = {
        "$bin/grapevine --print-config --pd-disaggregation --prefill http://a:1 --decode "
        "http://b:1",
        "GRAPEVINE_PD_DISAGGREGATION=true GRAPEVINE_PREFILL=http://a:1 GRAPEVINE_DECODE=http://b:1 "
        "$bin/grapevine --print-config",
        "printf 'pd_disaggregation: true\\nprefill: http://a:1\\ndecode: http://b:1\\n' | "
        "$bin/grapevine --print-config --config /dev/stdin",
    };
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        const char *bin = getenv("GV_BIN");
        char command[1024];
        struct gv_process process;
        snprintf(command, sizeof command, "bin=%s; %s", bin == NULL ? "build/dev/bin" : bin,
                 ways[i]);
        const char *const argv[] = {"/bin/sh", "-c", command, NULL};
        CU_ASSERT_TRUE_FATAL(gv_process_start(&process, "config", argv));
        CU_ASSERT_EQUAL(gv_process_wait(&process), 0);
        CU_ASSERT_TRUE(gv_process_has_said(&process, "pd_disaggregation: true # "));
        CU_ASSERT_TRUE(gv_process_has_said(&process, "http://a:1"));
        CU_ASSERT_TRUE(gv_process_has_said(&process, "http://b:1"));
    }
}

/* ---- descriptors ---- */

/* sglang#7551: at some thousand streams a router ran into the descriptors that a shell allows. A
 * node raises its limit at the start, and says what it has. */
static void a_shells_limit_of_descriptors_is_not_the_end(void)
{
    enum {
        CLIENTS = 200,
        SHELL_LIMIT = 128
    };
    static int fds[CLIENTS];
    struct rlimit before;
    CU_ASSERT_EQUAL_FATAL(getrlimit(RLIMIT_NOFILE, &before), 0);
    memset(&world, 0, sizeof world);
    gv_world_add_worker(&world, "regular");
    struct rlimit low = {.rlim_cur = SHELL_LIMIT, .rlim_max = before.rlim_max};
    CU_ASSERT_EQUAL_FATAL(setrlimit(RLIMIT_NOFILE, &low), 0); /* inherited by the node */
    struct gv_world_node *node = gv_world_add_node(&world, NULL);
    CU_ASSERT_EQUAL_FATAL(setrlimit(RLIMIT_NOFILE, &before), 0);
    CU_ASSERT_TRUE_FATAL(gv_world_await_ready(&world));
    char line[512];
    char limit[32] = "";
    CU_ASSERT_TRUE(gv_process_await(&node->process, "node.starting", line, sizeof line));
    CU_ASSERT_TRUE(gv_line_value(line, "file_limit", limit, sizeof limit));
    CU_ASSERT_TRUE(strtoul(limit, NULL, 10) > 2 * CLIENTS);
    gv_world_fault(&world.workers[0], NEVER);
    for (int i = 0; i < CLIENTS; i++) { /* each needs two descriptors of the node */
        fds[i] = gv_world_send_chat(node, "a stream", true);
    }
    CU_ASSERT_TRUE(gv_world_await_stat(&world.workers[0], "in_flight", CLIENTS));
    CU_ASSERT_FALSE(gv_process_has_said(&node->process, "listener.pause"));
    for (int i = 0; i < CLIENTS; i++) {
        close(fds[i]);
    }
    CU_ASSERT_TRUE(gv_world_await_idle(&world));
    gv_world_end(&world);
}

GV_SUITE("integration/stories_edges",
         GV_CASE(an_id_that_a_client_chose_is_never_told_to_an_engine_to_stop),
         GV_CASE(a_stream_holds_its_place_until_its_very_end),
         GV_CASE(probes_and_requests_show_the_same_certificate),
         GV_CASE(an_engine_that_moves_to_another_address_is_found_by_its_name),
         GV_CASE(an_engine_is_left_where_its_name_no_longer_points),
         GV_CASE(a_name_service_that_fails_takes_no_engine_away),
         GV_CASE(one_setting_means_one_mode_wherever_it_is_written),
         GV_CASE(a_shells_limit_of_descriptors_is_not_the_end))
