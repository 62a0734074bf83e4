/*
 * test_stories_retries.c - what users of LLM routers complained about when an engine failed: waits
 * without end, retries that come too late or hit the same engine, dead connections, lost counts.
 * The comments name the public issue.
 */
#include "support/suite.h"
#include "support/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define URL_BYTES 600

static struct gv_world world;

static struct gv_world_node *start(int workers, const char *const *flags)
{
    return gv_world_start(&world, workers, flags);
}

static int chat(struct gv_world_node *node, int seed, char *worker)
{
    char prompt[600];
    gv_world_prompt(prompt, sizeof prompt, seed);
    return gv_world_chat(node, prompt, worker, URL_BYTES);
}

/* vllm-project/production-stack#749: there was no timeout, so one dead engine hung everything. */
static void an_engine_that_hangs_is_a_504_and_is_left(void)
{
    static const char *const flags[] = {"--first-byte-timeout-secs", "0.5", "--disable-retries",
                                        NULL};
    struct gv_world_node *node = start(1, flags);
    struct gv_reply reply;
    gv_world_fault(&world.workers[0], "{\"kind\":\"hang_before_head\"}");
    int fd = gv_world_send_chat(node, "tell me", false);
    gv_talk_read(fd, &reply);
    CU_ASSERT_EQUAL(reply.status, 504);
    CU_ASSERT_PTR_NOT_NULL(strstr(reply.body, world.workers[0].url));
    gv_reply_deinit(&reply);
    close(fd);
    CU_ASSERT_TRUE(gv_world_await_stat(&world.workers[0], "aborted", 1));
    CU_ASSERT_TRUE(gv_world_await_idle(&world));
    gv_world_end(&world);
}

/* The same with another engine at hand: the request is moved, not failed. */
static void a_request_on_an_engine_that_hangs_is_moved_to_another(void)
{
    static const char *const flags[] = {"--first-byte-timeout-secs", "0.5", NULL};
    struct gv_world_node *node = start(2, flags);
    char home[URL_BYTES];
    char worker[URL_BYTES];
    CU_ASSERT_EQUAL(chat(node, 1, home), 200);
    gv_world_fault(gv_world_worker_at(&world, home), "{\"kind\":\"hang_before_head\"}");
    CU_ASSERT_EQUAL(chat(node, 1, worker), 200);
    CU_ASSERT_STRING_NOT_EQUAL(worker, home);
    gv_world_end(&world);
}

/* vllm-project/production-stack#382: users want few and quick retries elsewhere, since a backoff
 * breaks a time to first token of 2 s. With a first backoff of a minute, any backoff would show. */
static void a_failed_attempt_moves_at_once_and_never_to_the_same_worker(void)
{
    static const char *const flags[] = {"--retry-initial-backoff-ms",
                                        "60000",
                                        "--retry-max-backoff-ms",
                                        "60000",
                                        "--disable-circuit-breaker",
                                        "--retry-budget-ratio",
                                        "10",
                                        NULL};
    static const char *const faults[] = {
        "{\"kind\":\"close_before_head\",\"count\":0}",
        "{\"kind\":\"bad_http\",\"count\":0}",
        "{\"kind\":\"garbage_length\",\"count\":0}",
        /* Last: it leaves a pooled connection, and one of these that dies is replaced silently. */
        "{\"kind\":\"error\",\"status\":503,\"count\":0}",
    };
    struct gv_world_node *node = start(3, flags);
    uint64_t began_at_ms = gv_test_now_ms();
    for (size_t kind = 0; kind < sizeof faults / sizeof faults[0]; kind++) {
        gv_world_order(&world.workers[0], "reset");
        gv_world_order(&world.workers[1], "reset");
        gv_world_fault(&world.workers[0], faults[kind]);
        gv_world_fault(&world.workers[1], faults[kind]);
        for (int i = 1; i <= 15; i++) {
            char worker[URL_BYTES];
            CU_ASSERT_EQUAL(chat(node, 1000 * (int)kind + i, worker), 200);
            CU_ASSERT_STRING_EQUAL(worker, world.workers[2].url);
            CU_ASSERT_TRUE(gv_world_stat(&world.workers[0], "requests") <= i);
            CU_ASSERT_TRUE(gv_world_stat(&world.workers[1], "requests") <= i);
        }
        CU_ASSERT_TRUE(gv_world_stat(&world.workers[0], "requests") +
                           gv_world_stat(&world.workers[1], "requests") >
                       0);
    }
    CU_ASSERT_TRUE(gv_test_now_ms() - began_at_ms < 40000);
    CU_ASSERT_TRUE(gv_world_await_idle(&world));
    gv_world_end(&world);
}

/* sglang#8997, #9051, #15585: the breaker was not asked when a worker was chosen, and what was
 * chosen instead went round the policy. */
static void a_worker_that_keeps_failing_is_left_out_and_the_policy_still_rules(void)
{
    static const char *const flags[] = {"--cb-failure-threshold", "3", NULL};
    struct gv_world_node *node = start(3, flags);
    struct gv_world_worker *sick = &world.workers[1];
    gv_world_fault(sick, "{\"kind\":\"error\",\"status\":500,\"count\":0}");
    for (int i = 0; i < 90; i++) {
        char worker[URL_BYTES];
        char again[URL_BYTES];
        CU_ASSERT_EQUAL(chat(node, i, worker), 200);
        CU_ASSERT_EQUAL(chat(node, i, again), 200);
        CU_ASSERT_STRING_NOT_EQUAL(worker, sick->url);
        if (i >= 30) { /* no retry any more: prefixes are followed */
            CU_ASSERT_STRING_EQUAL(worker, again);
        }
    }
    CU_ASSERT_TRUE(gv_world_stat(sick, "requests") <= 3); /* of both loops together */
    CU_ASSERT_TRUE(gv_world_stat(&world.workers[0], "requests") >= 40);
    CU_ASSERT_TRUE(gv_world_stat(&world.workers[2], "requests") >= 40);
    gv_world_end(&world);
}

/* sglang#9926: after hours of rest the first requests failed on dead pooled connections; users sent
 * a ping every 10 s. */
static void a_pooled_connection_that_has_died_is_replaced_silently(void)
{
    static const char *const flags[] = {"--disable-retries", NULL};
    struct gv_world_node *node = start(1, flags);
    for (int i = 0; i < 60; i++) {
        CU_ASSERT_EQUAL(chat(node, i, NULL), 200);
        gv_world_order(&world.workers[0], "restart"); /* every connection is reset */
    }
    CU_ASSERT_EQUAL(gv_world_stat(&world.workers[0], "finished"), 60);
    gv_world_end(&world);
}

/* vllm-project/router#159, production-stack#865, sglang#30046: probes and questions lacked the
 * engine's key, so workers never became ready. */
static void the_engines_key_is_shown_by_probes_and_requests_and_the_clients_is_not(void)
{
    static const char *const engine_flags[] = {"--worker-api-key", "engine-secret", NULL};
    static const char *const flags[] = {"--worker-api-key", "engine-secret", "--api-key",
                                        "client-secret", NULL};
    memset(&world, 0, sizeof world);
    world.worker_flags = engine_flags;
    gv_world_add_worker(&world, "regular");
    struct gv_world_node *node = gv_world_add_node(&world, flags);
    CU_ASSERT_TRUE_FATAL(gv_world_await_ready(&world));
    struct gv_reply reply;
    char *body = gv_world_chat_body("tell me", false);
    gv_talk_ask(node->port, "POST", "/v1/chat/completions", NULL, body, &reply);
    CU_ASSERT_EQUAL(reply.status, 401);
    gv_reply_deinit(&reply);
    gv_talk_ask(node->port, "POST", "/v1/chat/completions",
                "Authorization: Bearer client-secret\r\n", body, &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    gv_reply_deinit(&reply);
    free(body);
    gv_talk_ask(world.workers[0].port, "GET", "/_mock/stats", NULL, NULL, &reply);
    CU_ASSERT_PTR_NOT_NULL(strstr(reply.body, "[\"Authorization\",\"Bearer engine-secret\"]"));
    CU_ASSERT_PTR_NULL(strstr(reply.body, "client-secret"));
    gv_reply_deinit(&reply);
    gv_talk_ask(node->port, "GET", "/v1/models", "Authorization: Bearer client-secret\r\n", NULL,
                &reply);
    CU_ASSERT_PTR_NOT_NULL(strstr(reply.body, "mock-model")); /* what only the key reveals */
    gv_reply_deinit(&reply);
    CU_ASSERT_FALSE(gv_process_has_said(&node->process, "engine-secret"));
    CU_ASSERT_FALSE(gv_process_has_said(&node->process, "client-secret"));
    gv_world_end(&world);
}

/* ---- the storm ---- */

#define STORM_BATCHES 10
#define STORM_CLIENTS 50

/* Every engine meets its faults in another order, so that retries meet further ones. */
static void brew(int batch)
{
    static const char *const faults[] = {
        "{\"kind\":\"error\",\"status\":500}",
        "{\"kind\":\"close_before_head\"}",
        "{\"kind\":\"close_mid_stream\",\"after_bytes\":300}",
        "{\"kind\":\"bad_http\"}",
        "{\"kind\":\"garbage_length\"}",
        "{\"kind\":\"error\",\"status\":429}",
        "{\"kind\":\"slow\",\"ms\":20}",
        "{\"kind\":\"hang_before_head\"}",
        "{\"kind\":\"hang_mid_stream\",\"after_bytes\":200}",
        "{\"kind\":\"error\",\"status\":400}",
    };
    size_t count = sizeof faults / sizeof faults[0];
    for (size_t i = 0; i < world.worker_count; i++) {
        gv_world_order(&world.workers[i], "reset");
        for (size_t n = 0; n < 6; n++) {
            gv_world_fault(&world.workers[i], faults[((size_t)batch * 3 + i * 4 + n) % count]);
        }
    }
}

/* A client: reads to the end, leaves before the answer, or within it. How it ended. */
static int meet(int fd, int seed)
{
    struct gv_reply reply;
    char seen[600];
    if (seed % 5 == 1) {
        close(fd);
        return 0;
    }
    if (seed % 5 == 3) {
        (void)gv_talk_read_until(fd, "HTTP/1.1", seen, sizeof seen);
        gv_talk_reset(fd);
        return 0;
    }
    gv_talk_read(fd, &reply);
    close(fd);
    int status = reply.status;
    gv_reply_deinit(&reply);
    return status;
}

static bool has_no_exchanges(void *owner)
{
    struct gv_reply reply;
    gv_talk_ask(((struct gv_world_node *)owner)->metrics_port, "GET", "/metrics", NULL, NULL,
                &reply);
    bool none = strstr(reply.body, "\ngv_exchanges{loop=\"0\"} 0\n") != NULL &&
                strstr(reply.body, "\ngv_exchanges{loop=\"1\"} 0\n") != NULL;
    gv_reply_deinit(&reply);
    return none;
}

/* sglang#15473 and the leak tests of several routers: after anything that may happen to 500
 * requests, no worker has a load that nobody carries. */
static void after_a_storm_of_aborts_and_faults_no_load_is_left_behind(void)
{
    static const char *const flags[] = {"--first-byte-timeout-secs",
                                        "0.5",
                                        "--stream-idle-timeout-secs",
                                        "0.5",
                                        "--retry-initial-backoff-ms",
                                        "5",
                                        "--cb-timeout-duration-secs",
                                        "0.2",
                                        NULL};
    struct gv_world_node *node = start(4, flags);
    int answered = 0;
    for (int batch = 0; batch < STORM_BATCHES; batch++) {
        int fds[STORM_CLIENTS];
        brew(batch);
        for (int i = 0; i < STORM_CLIENTS; i++) {
            char prompt[600];
            gv_world_prompt(prompt, sizeof prompt, batch * STORM_CLIENTS + i);
            fds[i] = gv_world_send_chat(node, prompt, i % 2 == 0);
        }
        for (int i = 0; i < STORM_CLIENTS; i++) {
            answered += meet(fds[i], i) == 200;
        }
    }
    for (size_t i = 0; i < world.worker_count; i++) {
        gv_world_order(&world.workers[i], "reset");
    }
    CU_ASSERT_TRUE(answered > STORM_BATCHES * STORM_CLIENTS / 3);
    CU_ASSERT_TRUE(gv_world_await_idle(&world));
    CU_ASSERT_TRUE(gv_test_await(has_no_exchanges, node, 0));
    CU_ASSERT_EQUAL(chat(node, 1, NULL), 200);
    gv_world_end(&world);
}

GV_SUITE("integration/stories_retries", GV_CASE(an_engine_that_hangs_is_a_504_and_is_left),
         GV_CASE(a_request_on_an_engine_that_hangs_is_moved_to_another),
         GV_CASE(a_failed_attempt_moves_at_once_and_never_to_the_same_worker),
         GV_CASE(a_worker_that_keeps_failing_is_left_out_and_the_policy_still_rules),
         GV_CASE(a_pooled_connection_that_has_died_is_replaced_silently),
         GV_CASE(the_engines_key_is_shown_by_probes_and_requests_and_the_clients_is_not),
         GV_CASE(after_a_storm_of_aborts_and_faults_no_load_is_left_behind))
