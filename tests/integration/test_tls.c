/*
 * test_tls.c - HTTPS on both sides of a real router, asked by curl: clients, operators, workers;
 * certificates that do not do; certificates renewed under load.
 */
#include "support/certs.h"
#include "support/suite.h"
#include "support/world.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ARGS(...)  ((const char *const[]){__VA_ARGS__, NULL})
#define ARGS_MAX   40
#define TEXT_BYTES 65536
#define CHAT       "/v1/chat/completions"
#define BODY                                                                                       \
    "{\"model\":\"mock-model\",\"messages\":[{\"role\":\"user\",\"content\":\"hello there\"}]}"
#define STREAM                                                                                     \
    "{\"model\":\"mock-model\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":"      \
    "\"hello there\"}]}"

static struct gv_world world;
static char said[TEXT_BYTES]; /* what the last curl or vinectl said */

static void read_output(const struct gv_process *process)
{
    FILE *file = fopen(process->log, "re");
    said[0] = '\0';
    if (file != NULL) {
        size_t len = fread(said, 1, sizeof said - 1, file);
        said[len] = '\0';
        fclose(file);
    }
}

/* ---- curl ---- */

static void start_curl(struct gv_process *curl, const char *url, const char *const *args)
{
    const char *argv[ARGS_MAX] = {"/usr/bin/curl",        "-sSN", "--max-time", "60", "-w",
                                  " status=%{http_code}", url};
    size_t count = 7;
    for (size_t i = 0; args[i] != NULL && count < ARGS_MAX - 1; i++) {
        argv[count++] = args[i];
    }
    argv[count] = NULL;
    CU_ASSERT_TRUE_FATAL(gv_process_start(curl, "curl", argv));
}

/* The status of the answer; 0 without one. Its text is then in `said`. */
static int curl(const char *url, const char *const *args)
{
    struct gv_process process;
    start_curl(&process, url, args);
    (void)gv_process_wait(&process);
    read_output(&process);
    const char *at = strstr(said, " status=");
    return at == NULL ? 0 : (int)strtol(at + 8, NULL, 10);
}

static const char *url_of(const char *host, uint16_t port, const char *path)
{
    static char urls[4][160];
    static size_t next;
    char *url = urls[next++ % 4];
    (void)snprintf(url, sizeof urls[0], "https://%s:%u%s", host, port, path);
    return url;
}

static int ask(uint16_t port, const char *path)
{
    return curl(url_of("localhost", port, path), ARGS("--cacert", gv_cert("ca.pem")));
}

static int chat(uint16_t port, const char *body)
{
    return curl(
        url_of("localhost", port, CHAT),
        ARGS("--cacert", gv_cert("ca.pem"), "-H", "Content-Type: application/json", "-d", body));
}

/* ---- engines that speak HTTPS ---- */

struct engine {
    struct gv_process process;
    uint16_t port;
};

static void start_engine(struct engine *engine, const char *cert, const char *key,
                         const char *client_ca)
{
    const char *argv[] = {"mockworker", "--port",
                          "0",          "--speed",
                          "0",          "--tls-cert",
                          cert,         "--tls-key",
                          key,          client_ca == NULL ? NULL : "--tls-client-ca",
                          client_ca,    NULL};
    char line[512];
    CU_ASSERT_TRUE_FATAL(gv_process_start(&engine->process, "engine", argv));
    CU_ASSERT_TRUE_FATAL(gv_process_await(&engine->process, "ready on", line, sizeof line));
    engine->port = (uint16_t)strtoul(strrchr(line, ':') + 1, NULL, 10);
}

static void end_engine(struct engine *engine)
{
    CU_ASSERT_TRUE(gv_process_end(&engine->process));
}

/* ---- the node, by its admin port, which speaks plain HTTP unless it is told otherwise ---- */

static struct gv_world_node *start_node(const char *const *flags)
{
    memset(&world, 0, sizeof world);
    return gv_world_add_node(&world, flags);
}

static bool page_says(uint16_t port, const char *path, const char *words)
{
    struct gv_reply reply;
    gv_talk_ask(port, "GET", path, NULL, NULL, &reply);
    bool found = strstr(reply.body, words) != NULL;
    gv_reply_deinit(&reply);
    return found;
}

struct wish {
    const struct gv_world_node *node;
    const char *path;
    const char *words;
};

static bool is_fulfilled(void *owner)
{
    const struct wish *wish = owner;
    return page_says(wish->node->metrics_port, wish->path, wish->words);
}

static bool node_says(const struct gv_world_node *node, const char *path, const char *words)
{
    struct wish wish = {node, path, words};
    bool came = gv_test_await(is_fulfilled, &wish, 0);
    if (!came) {
        printf("never said on %s: %s\n", path, words);
    }
    return came;
}

static bool is_ready(void *owner)
{
    const struct gv_world_node *node = owner;
    struct gv_reply reply;
    gv_talk_ask(node->metrics_port, "GET", "/readiness", NULL, NULL, &reply);
    int status = reply.status;
    gv_reply_deinit(&reply);
    return status == 200;
}

static bool counts(const struct gv_world_node *node, const char *of, const char *outcome)
{
    char line[160];
    (void)snprintf(line, sizeof line, "gv_tls_handshakes_total{of=\"%s\",outcome=\"%s\"} 0\n", of,
                   outcome);
    return !page_says(node->metrics_port, "/metrics", line);
}

/* A node with HTTPS on its data port, and one engine without it. */
static struct gv_world_node *start_https(const char *const *more)
{
    const char *flags[ARGS_MAX] = {"--tls-cert-path", gv_cert("server.pem"), "--tls-key-path",
                                   gv_cert("server.key")};
    size_t count = 4;
    for (size_t i = 0; more[i] != NULL; i++) {
        flags[count++] = more[i];
    }
    memset(&world, 0, sizeof world);
    gv_world_add_worker(&world, "regular");
    struct gv_world_node *node = gv_world_add_node(&world, flags);
    CU_ASSERT_TRUE_FATAL(gv_test_await(is_ready, node, 0));
    return node;
}

/* ---- clients ---- */

static void clients_are_answered_over_https(void)
{
    struct gv_world_node *node = start_https(ARGS("--decision-headers"));
    CU_ASSERT_EQUAL(ask(node->port, "/health"), 200);
    CU_ASSERT_EQUAL(chat(node->port, BODY), 200);
    CU_ASSERT_PTR_NOT_NULL(strstr(said, "chat.completion"));
    CU_ASSERT_EQUAL(chat(node->port, STREAM), 200);
    CU_ASSERT_PTR_NOT_NULL(strstr(said, "data: [DONE]"));
    CU_ASSERT_EQUAL(curl(url_of("localhost", node->port, "/health"), ARGS("-4")), 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(said, "certificate problem")); /* without our authority */
    CU_ASSERT_EQUAL(curl(url_of("localhost", node->port, "/health"),
                         ARGS("--cacert", gv_cert("ca.pem"), "--tls-max", "1.1")),
                    0);
    CU_ASSERT_EQUAL(curl(url_of("localhost", node->port, "/health"),
                         ARGS("--cacert", gv_cert("ca.pem"), "--tls-max", "1.2")),
                    200);
    CU_ASSERT(counts(node, "clients", "ok"));
    CU_ASSERT(counts(node, "clients", "no_common_version"));
    CU_ASSERT(page_says(node->metrics_port, "/metrics",
                        "gv_tls_certificate_expires_seconds{of=\"clients\"} 4"));
    gv_world_end(&world);
}

static void a_body_of_megabytes_arrives_whole(void)
{
    struct gv_world_node *node = start_https(ARGS("--max-payload-size", "16MiB"));
    char path[300];
    (void)snprintf(path, sizeof path, "%s/big.json", gv_test_folder());
    FILE *file = fopen(path, "we");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    fputs("{\"model\":\"mock-model\",\"messages\":[{\"role\":\"user\",\"content\":\"", file);
    for (int i = 0; i < 400000; i++) {
        fputs("words and ", file);
    }
    fputs("\"}]}", file);
    fclose(file);
    char data[320];
    (void)snprintf(data, sizeof data, "@%s", path);
    CU_ASSERT_EQUAL(chat(node->port, data), 200);
    CU_ASSERT(gv_world_stat(&world.workers[0], "prompt_tokens") > 100000);
    gv_world_end(&world);
}

static void a_client_that_leaves_ends_its_engines_work(void)
{
    struct gv_world_node *node = start_https(ARGS("--policy", "round_robin"));
    gv_world_fault(&world.workers[0], "{\"kind\":\"hang_mid_stream\",\"after_bytes\":500}");
    struct gv_process client;
    start_curl(
        &client, url_of("localhost", node->port, CHAT),
        ARGS("--cacert", gv_cert("ca.pem"), "-H", "Content-Type: application/json", "-d", STREAM));
    CU_ASSERT_TRUE_FATAL(gv_process_await(&client, "data: ", NULL, 0));
    gv_process_kill(&client); /* its kernel ends the connection, nobody says goodbye */
    CU_ASSERT_TRUE(gv_world_await_stat(&world.workers[0], "aborted", 1));
    gv_world_end(&world);
}

static void plain_http_and_garbage_are_answered_and_closed(void)
{
    struct gv_world_node *node = start_https(ARGS("--threads", "1"));
    struct gv_reply reply;
    gv_talk_ask(node->port, "GET", "/health", NULL, NULL, &reply);
    CU_ASSERT_EQUAL(reply.status, 400);
    CU_ASSERT_TRUE(reply.whole);
    CU_ASSERT_PTR_NOT_NULL(strstr(reply.body, "https_required"));
    gv_reply_deinit(&reply);
    int fd = gv_talk_connect(node->port);
    CU_ASSERT_TRUE(gv_talk_send_text(fd, "\x02\x01 nothing that anybody could understand"));
    CU_ASSERT_TRUE(gv_talk_read_end(fd));
    (void)close(fd);
    CU_ASSERT(counts(node, "clients", "plain_text"));
    CU_ASSERT(counts(node, "clients", "broken"));
    CU_ASSERT_EQUAL(ask(node->port, "/health"), 200);
    gv_world_end(&world);
}

static bool is_healthy(void *owner)
{
    const struct gv_world_node *node = owner;
    return ask(node->port, "/health") == 200;
}

/* A hello that comes byte by byte holds its place for as long as a handshake may take. */
static void a_slow_handshake_is_ended_and_holds_nobody_else_up(void)
{
    struct gv_world_node *node = start_https(
        ARGS("--threads", "1", "--tls-handshake-timeout-secs", "0.5", "--tls-max-handshakes", "2"));
    int slow = gv_talk_connect(node->port);
    CU_ASSERT_TRUE(gv_talk_send(slow, "\x16", 1));
    CU_ASSERT_TRUE(gv_test_await(is_healthy, node, 0)); /* at once, unless the machine is busy */
    CU_ASSERT_TRUE(gv_talk_read_end(slow));
    (void)close(slow);
    CU_ASSERT(counts(node, "clients", "timeout"));
    gv_world_end(&world);
}

static bool is_over_the_limit(void *owner)
{
    return counts(owner, "clients", "too_many");
}

static void handshakes_beyond_the_limit_are_reset(void)
{
    struct gv_world_node *node = start_https(
        ARGS("--threads", "1", "--tls-handshake-timeout-secs", "60", "--tls-max-handshakes", "2"));
    int silent[2] = {gv_talk_connect(node->port), gv_talk_connect(node->port)};
    CU_ASSERT_EQUAL(ask(node->port, "/health"), 0);
    CU_ASSERT_TRUE(gv_test_await(is_over_the_limit, node, 0));
    (void)close(silent[0]);
    (void)close(silent[1]);
    CU_ASSERT_TRUE(node_says(node, "/metrics", "gv_tls_handshakes_active{of=\"clients\"} 0\n"));
    CU_ASSERT_EQUAL(ask(node->port, "/health"), 200);
    gv_world_end(&world);
}

static bool is_a_crowd(void *owner)
{
    return counts(owner, "clients", "too_many_of_address");
}

/* Silent connections of one address; others would still be served. */
static void one_address_cannot_take_the_handshake_places_of_all(void)
{
    struct gv_world_node *node = start_https(ARGS("--threads", "1", "--tls-handshake-timeout-secs",
                                                  "60", "--tls-max-handshakes-per-address", "2"));
    int silent[2] = {gv_talk_connect(node->port), gv_talk_connect(node->port)};
    CU_ASSERT_EQUAL(ask(node->port, "/health"), 0);
    CU_ASSERT_TRUE(gv_test_await(is_a_crowd, node, 0));
    CU_ASSERT_FALSE(counts(node, "clients", "too_many"));
    (void)close(silent[0]);
    CU_ASSERT_TRUE(gv_test_await(is_healthy, node, 0));
    (void)close(silent[1]);
    gv_world_end(&world);
}

static int ask_as(uint16_t port, const char *cert, const char *key)
{
    return curl(
        url_of("localhost", port, "/v1/models"),
        ARGS("--cacert", gv_cert("ca.pem"), "--cert", gv_cert(cert), "--key", gv_cert(key)));
}

static void clients_prove_themselves_where_they_must(void)
{
    struct gv_world_node *node = start_https(ARGS("--tls-client-ca-path", gv_cert("ca.pem")));
    CU_ASSERT_EQUAL(ask(node->port, "/v1/models"), 0);
    CU_ASSERT_EQUAL(ask_as(node->port, "stranger.pem", "stranger.key"), 0);
    CU_ASSERT_EQUAL(ask_as(node->port, "client.pem", "client.key"), 200);
    CU_ASSERT(counts(node, "clients", "no_certificate"));
    CU_ASSERT(counts(node, "clients", "unknown_ca"));
    gv_world_end(&world);
    node = start_https(
        ARGS("--tls-client-ca-path", gv_cert("ca.pem"), "--tls-client-auth", "optional"));
    CU_ASSERT_EQUAL(ask(node->port, "/v1/models"), 200);
    CU_ASSERT_EQUAL(ask_as(node->port, "stranger.pem", "stranger.key"), 0);
    gv_world_end(&world);
}

/* ---- certificates that change ---- */

#define RENEWALS  6
#define REQUESTS  "120"
#define ROUND_URL "/health?[1-" REQUESTS "]"

static void nothing_fails_while_certificates_are_renewed(void)
{
    char cert[512];
    char key[512];
    (void)snprintf(cert, sizeof cert, "%s", gv_cert("live.pem"));
    (void)snprintf(key, sizeof key, "%s", gv_cert("live.key"));
    CU_ASSERT_FATAL(gv_cert_replace("server.pem", cert) && gv_cert_replace("server.key", key));
    memset(&world, 0, sizeof world);
    gv_world_add_worker(&world, "regular");
    struct gv_world_node *node =
        gv_world_add_node(&world, ARGS("--tls-cert-path", cert, "--tls-key-path", key));
    struct gv_process clients[2];
    for (int i = 0; i < 2; i++) {
        start_curl(&clients[i], url_of("localhost", node->port, ROUND_URL),
                   ARGS("--cacert", gv_cert("ca.pem"), "-H", "Connection: close"));
    }
    for (int i = 0; i < RENEWALS; i++) {
        bool renews = i % 2 == 0;
        CU_ASSERT(gv_cert_replace(renews ? "renewed.pem" : "server.pem", cert));
        gv_process_signal(&node->process, SIGHUP); /* half renewed: must change nothing */
        CU_ASSERT(gv_cert_replace(renews ? "renewed.key" : "server.key", key));
        gv_process_signal(&node->process, SIGHUP);
    }
    for (int i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL(gv_process_wait(&clients[i]), 0);
        read_output(&clients[i]);
        size_t good = 0;
        for (const char *at = said; (at = strstr(at, " status=200")) != NULL; at++) {
            good += 1;
        }
        CU_ASSERT_EQUAL(good, strtoul(REQUESTS, NULL, 10));
    }
    CU_ASSERT(gv_cert_replace("renewed.pem", cert) && gv_cert_replace("renewed.key", key));
    /* Nobody said a word: it is noticed. Then broken files change nothing and raise the alarm. */
    char words[160];
    CU_ASSERT_TRUE(node_says(node, "/metrics", "gv_tls_files_bad{of=\"clients\"} 0\n"));
    (void)snprintf(words, sizeof words, "subject: CN=renewed");
    bool renewed = false;
    uint64_t until_ms = gv_test_now_ms() + GV_PROCESS_DEADLINE_MS;
    while (!renewed && gv_test_now_ms() < until_ms) {
        CU_ASSERT_EQUAL(curl(url_of("localhost", node->port, "/health"),
                             ARGS("--cacert", gv_cert("ca.pem"), "-v")),
                        200);
        renewed = strstr(said, words) != NULL;
        gv_test_pause();
    }
    CU_ASSERT_TRUE(renewed);
    CU_ASSERT(gv_cert_replace("garbage.pem", cert));
    gv_process_signal(&node->process, SIGHUP);
    CU_ASSERT_TRUE(node_says(node, "/metrics", "gv_tls_files_bad{of=\"clients\"} 1\n"));
    CU_ASSERT_TRUE(gv_process_has_said(&node->process, "tls.files_bad"));
    CU_ASSERT_EQUAL(ask(node->port, "/health"), 200);
    gv_world_end(&world);
}

static void a_node_that_cannot_use_its_certificate_does_not_start(void)
{
    struct gv_process node;
    CU_ASSERT_TRUE_FATAL(gv_process_start(&node, "refused",
                                          ARGS("grapevine", "--port", "0", "--prometheus-port", "0",
                                               "--tls-cert-path", gv_cert("server.pem"),
                                               "--tls-key-path", gv_cert("client.key"))));
    CU_ASSERT_EQUAL(gv_process_wait(&node), 1);
    CU_ASSERT_TRUE(gv_process_has_said(&node, "tls.unusable"));
    CU_ASSERT_TRUE(gv_process_has_said(&node, "key values mismatch"));
}

/* ---- workers ---- */

static void workers_are_spoken_to_over_https(void)
{
    struct engine open;
    struct engine closed;
    start_engine(&open, gv_cert("server.pem"), gv_cert("server.key"), NULL);
    start_engine(&closed, gv_cert("server.pem"), gv_cert("server.key"), gv_cert("ca.pem"));
    char by_flag[160];
    char body[240];
    (void)snprintf(by_flag, sizeof by_flag, "%s", url_of("localhost", open.port, ""));
    struct gv_world_node *node =
        start_node(ARGS("--worker-urls", by_flag, "--ca-cert-path", gv_cert("ca.pem"),
                        "--client-cert-path", gv_cert("client.pem"), "--client-key-path",
                        gv_cert("client.key"), "--policy", "round_robin"));
    (void)snprintf(body, sizeof body, "{\"url\":\"%s\"}", url_of("127.0.0.1", closed.port, ""));
    struct gv_reply reply;
    gv_talk_ask(node->port, "POST", "/workers", "Content-Type: application/json\r\n", body, &reply);
    CU_ASSERT_EQUAL(reply.status, 202);
    gv_reply_deinit(&reply);
    CU_ASSERT_TRUE(node_says(node, "/readiness", "\"healthy_workers\":2"));
    for (int i = 0; i < 10; i++) {
        gv_talk_ask(node->port, "POST", CHAT, "Content-Type: application/json\r\n",
                    i % 2 == 0 ? BODY : STREAM, &reply);
        CU_ASSERT_EQUAL(reply.status, 200);
        CU_ASSERT_TRUE(reply.whole);
        gv_reply_deinit(&reply);
    }
    gv_talk_ask(node->port, "GET", "/get_model_info", NULL, NULL, &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    gv_reply_deinit(&reply);
    CU_ASSERT(counts(node, "workers", "ok"));
    /* Ten requests, and no more connections than loops and engines make necessary. */
    CU_ASSERT_EQUAL(
        curl(url_of("localhost", open.port, "/_mock/stats"), ARGS("--cacert", gv_cert("ca.pem"))),
        200);
    const char *connections = strstr(said, "\"connections\":");
    CU_ASSERT_PTR_NOT_NULL_FATAL(connections);
    CU_ASSERT(strtol(connections + 14, NULL, 10) <= 5);
    gv_world_end(&world);
    end_engine(&open);
    end_engine(&closed);
}

static void a_worker_whose_certificate_does_not_do_is_not_ready_and_says_why(void)
{
    struct engine expired;
    struct engine elsewhere;
    struct engine stranger;
    struct engine demanding;
    start_engine(&expired, gv_cert("expired.pem"), gv_cert("expired.key"), NULL);
    start_engine(&elsewhere, gv_cert("elsewhere.pem"), gv_cert("elsewhere.key"), NULL);
    start_engine(&stranger, gv_cert("stranger.pem"), gv_cert("stranger.key"), NULL);
    start_engine(&demanding, gv_cert("server.pem"), gv_cert("server.key"), gv_cert("ca.pem"));
    char urls[700];
    (void)snprintf(urls, sizeof urls, "%s,%s,%s,%s", url_of("localhost", expired.port, ""),
                   url_of("localhost", elsewhere.port, ""), url_of("localhost", stranger.port, ""),
                   url_of("localhost", demanding.port, ""));
    struct gv_world_node *node =
        start_node(ARGS("--worker-urls", urls, "--ca-cert-path", gv_cert("ca.pem")));
    static const char *const reasons[] = {
        "certificate of /CN=expired: certificate has expired",
        "certificate of /CN=elsewhere: hostname mismatch",
        "certificate of /CN=stranger: unable to get local issuer certificate",
        "refused by the peer: tlsv13 alert certificate required"};
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
        CU_ASSERT_TRUE(node_says(node, "/grapevine/v1/workers", reasons[i]));
    }
    CU_ASSERT(counts(node, "workers", "certificate_expired"));
    CU_ASSERT(counts(node, "workers", "wrong_host"));
    CU_ASSERT(counts(node, "workers", "unknown_ca"));
    CU_ASSERT_FALSE(is_ready(node));
    gv_world_end(&world);
    end_engine(&expired);
    end_engine(&elsewhere);
    end_engine(&stranger);
    end_engine(&demanding);
}

/* Its certificate expires between two probes: to a client that is a worker that cannot be reached.
 */
static void a_failed_handshake_is_to_the_client_what_a_refused_connection_is(void)
{
    char cert[512];
    char key[512];
    struct engine engine;
    (void)snprintf(cert, sizeof cert, "%s", gv_cert("engine.pem"));
    (void)snprintf(key, sizeof key, "%s", gv_cert("engine.key"));
    CU_ASSERT_FATAL(gv_cert_replace("server.pem", cert) && gv_cert_replace("server.key", key));
    start_engine(&engine, cert, key, NULL);
    char url[160];
    (void)snprintf(url, sizeof url, "%s", url_of("localhost", engine.port, ""));
    struct gv_world_node *node =
        start_node(ARGS("--worker-urls", url, "--ca-cert-path", gv_cert("ca.pem"),
                        "--retry-max-retries", "2", "--retry-initial-backoff-ms", "1"));
    CU_ASSERT_TRUE_FATAL(gv_test_await(is_ready, node, 0));
    CU_ASSERT_FATAL(gv_cert_replace("expired.pem", cert) && gv_cert_replace("expired.key", key));
    gv_process_signal(&engine.process, SIGHUP);
    CU_ASSERT_TRUE(gv_process_await(&engine.process, "tls.expired", NULL, 0));
    struct gv_reply reply;
    gv_talk_ask(node->port, "POST", CHAT, "Content-Type: application/json\r\n", BODY, &reply);
    CU_ASSERT_EQUAL(reply.status, 502);
    CU_ASSERT_PTR_NOT_NULL(strstr(reply.body, "upstream_connect_failed"));
    gv_reply_deinit(&reply);
    CU_ASSERT_TRUE(gv_process_await(&node->process, "cause=tls", NULL, 0));
    CU_ASSERT_TRUE(gv_process_has_said(&node->process, "certificate has expired"));
    gv_world_end(&world);
    end_engine(&engine);
}

/* ---- operators ---- */

static int vinectl(const char *endpoint, const char *const *args)
{
    const char *argv[ARGS_MAX] = {"vinectl", "--endpoint", endpoint, "status"};
    for (size_t i = 0; args[i] != NULL && i + 5 < ARGS_MAX; i++) {
        argv[4 + i] = args[i];
    }
    struct gv_process process;
    CU_ASSERT_TRUE_FATAL(gv_process_start(&process, "vinectl", argv));
    int code = gv_process_wait(&process);
    read_output(&process);
    return code;
}

static void operators_speak_https_too(void)
{
    memset(&world, 0, sizeof world);
    gv_world_add_worker(&world, "regular");
    struct gv_world_node *node = gv_world_add_node(
        &world,
        ARGS("--tls-cert-path", gv_cert("server.pem"), "--tls-key-path", gv_cert("server.key"),
             "--admin-tls-cert-path", gv_cert("server.pem"), "--admin-tls-key-path",
             gv_cert("server.key"), "--admin-tls-client-ca-path", gv_cert("ca.pem")));
    CU_ASSERT_EQUAL(ask(node->metrics_port, "/metrics"), 0);
    CU_ASSERT_EQUAL(curl(url_of("localhost", node->metrics_port, "/metrics"),
                         ARGS("--cacert", gv_cert("ca.pem"), "--cert", gv_cert("client.pem"),
                              "--key", gv_cert("client.key"))),
                    200);
    CU_ASSERT_PTR_NOT_NULL(strstr(said, "gv_tls_handshakes_total{of=\"admin\",outcome=\"ok\"}"));
    struct gv_reply reply;
    gv_talk_ask(node->metrics_port, "GET", "/metrics", NULL, NULL, &reply);
    CU_ASSERT_EQUAL(reply.status, 400);
    gv_reply_deinit(&reply);
    char data[160];
    char admin[160];
    (void)snprintf(data, sizeof data, "%s", url_of("127.0.0.1", node->port, ""));
    (void)snprintf(admin, sizeof admin, "%s", url_of("127.0.0.1", node->metrics_port, ""));
    CU_ASSERT_TRUE(gv_process_await(&node->process, "node.ready", NULL, 0));
    CU_ASSERT_EQUAL(vinectl(data, ARGS("--cacert", gv_cert("ca.pem"))), 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(said, "healthy: 1 nodes"));
    CU_ASSERT_EQUAL(vinectl(data, ARGS("--timeout", "30")), 3);
    CU_ASSERT_PTR_NOT_NULL(strstr(said, "certificate of /CN=server: unable to get local issuer"));
    CU_ASSERT_EQUAL(vinectl(admin, ARGS("--cacert", gv_cert("ca.pem"))), 3);
    CU_ASSERT_EQUAL(vinectl(admin, ARGS("--cacert", gv_cert("ca.pem"), "--cert",
                                        gv_cert("client.pem"), "--key", gv_cert("client.key"))),
                    0);
    gv_world_end(&world);
}

GV_SUITE("integration/tls", GV_CASE(clients_are_answered_over_https),
         GV_CASE(a_body_of_megabytes_arrives_whole),
         GV_CASE(a_client_that_leaves_ends_its_engines_work),
         GV_CASE(plain_http_and_garbage_are_answered_and_closed),
         GV_CASE(a_slow_handshake_is_ended_and_holds_nobody_else_up),
         GV_CASE(one_address_cannot_take_the_handshake_places_of_all),
         GV_CASE(handshakes_beyond_the_limit_are_reset),
         GV_CASE(clients_prove_themselves_where_they_must),
         GV_CASE(nothing_fails_while_certificates_are_renewed),
         GV_CASE(a_node_that_cannot_use_its_certificate_does_not_start),
         GV_CASE(workers_are_spoken_to_over_https),
         GV_CASE(a_worker_whose_certificate_does_not_do_is_not_ready_and_says_why),
         GV_CASE(a_failed_handshake_is_to_the_client_what_a_refused_connection_is),
         GV_CASE(operators_speak_https_too))
