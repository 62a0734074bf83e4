/*
 * test_stories_health.c - what users of LLM routers complained about when workers and routers came,
 * went and came back: dead workers that were chosen, living ones that were not, green health
 * without capacity, restarts that broke requests. The comments name the public issue.
 */
#include "support/suite.h"
#include "support/world.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define URL_BYTES 600

static const char *const watchful[] = {"--health-check-interval-secs", "0.1",
                                       "--health-failure-threshold", "2", NULL};

static struct gv_world world;

static struct gv_world_node *start(int workers, const char *const *flags)
{
    return gv_world_start(&world, workers, flags);
}

static int chat(struct gv_world_node *node, int seed, char *worker)
{
    char prompt[900];
    gv_world_prompt(prompt, sizeof prompt, seed);
    return gv_world_chat(node, prompt, worker, URL_BYTES);
}

static int status_of(uint16_t port, const char *path)
{
    struct gv_reply reply;
    gv_talk_ask(port, "GET", path, NULL, NULL, &reply);
    int status = reply.status;
    gv_reply_deinit(&reply);
    return status;
}

/* For gv_test_await(): does a path answer like this? */
struct wanted {
    uint16_t port;
    const char *path;
    int status;
    const char *text; /* in the body, or NULL */
};

static bool answers(void *owner)
{
    const struct wanted *wanted = owner;
    struct gv_reply reply;
    gv_talk_ask(wanted->port, "GET", wanted->path, NULL, NULL, &reply);
    bool so = reply.status == wanted->status &&
              (wanted->text == NULL || strstr(reply.body, wanted->text) != NULL);
    gv_reply_deinit(&reply);
    return so;
}

static bool await_answer(uint16_t port, const char *path, int status, const char *text)
{
    struct wanted wanted = {.port = port, .path = path, .status = status, .text = text};
    return gv_test_await(answers, &wanted, 0);
}

/* sglang#12621: a mistake in the flags left a router without workers, and nothing said so. */
static void a_router_without_workers_is_loudly_not_ready(void)
{
    struct gv_world_node *node = gv_world_add_node(&world, NULL);
    struct gv_reply reply;
    CU_ASSERT_TRUE(gv_process_has_said(&node->process, "no workers were given"));
    CU_ASSERT_EQUAL(status_of(node->port, "/liveness"), 200);
    CU_ASSERT_TRUE(await_answer(node->port, "/readiness", 503, "insufficient healthy workers"));
    int fd = gv_world_send_chat(node, "anybody there?", false);
    gv_talk_read(fd, &reply);
    CU_ASSERT_EQUAL(reply.status, 503);
    CU_ASSERT_PTR_NOT_NULL(strstr(reply.body, "pool regular"));
    CU_ASSERT_PTR_NOT_NULL(strstr(reply.body, "0 of 0 workers"));
    gv_reply_deinit(&reply);
    close(fd);
    gv_world_end(&world);
}

/* vllm-project/router#279, production-stack#1091: one outage was 22 hours of silent failure, while
 * the health of the router stayed green. */
static void readiness_says_whether_a_request_could_be_routed_now(void)
{
    struct gv_world_node *node = start(2, watchful);
    gv_process_kill(&world.workers[0].process);
    CU_ASSERT_TRUE(await_answer(node->port, "/readiness", 200, "\"healthy_workers\":1"));
    CU_ASSERT_EQUAL(chat(node, 1, NULL), 200);
    gv_process_kill(&world.workers[1].process);
    CU_ASSERT_TRUE(await_answer(node->port, "/readiness", 503, "insufficient healthy workers"));
    CU_ASSERT_TRUE(
        await_answer(node->metrics_port, "/readiness", 503, "insufficient healthy workers"));
    CU_ASSERT_EQUAL(status_of(node->port, "/liveness"), 200);
    gv_world_restart_worker(&world, &world.workers[1]);
    CU_ASSERT_TRUE(await_answer(node->port, "/readiness", 200, "\"healthy_workers\":1"));
    CU_ASSERT_EQUAL(chat(node, 1, NULL), 200);
    gv_world_end(&world);
}

/* vllm-project/aibrix#1351, router#174: no word of why nothing could be chosen, or why a worker was
 * not used. */
static void the_error_and_the_worker_list_say_what_is_wrong(void)
{
    struct gv_world_node *node = start(2, watchful);
    gv_world_fault(&world.workers[0], "{\"kind\":\"health_down\",\"count\":0,\"status\":500}");
    gv_process_kill(&world.workers[1].process);
    CU_ASSERT_TRUE(await_answer(node->port, "/readiness", 503, NULL));
    struct gv_reply reply;
    int fd = gv_world_send_chat(node, "anybody there?", false);
    gv_talk_read(fd, &reply);
    CU_ASSERT_EQUAL(reply.status, 503);
    CU_ASSERT_PTR_NOT_NULL(
        strstr(reply.body, "pool regular, model 'mock-model': 2 of 2 workers, 2 not_ready"));
    gv_reply_deinit(&reply);
    close(fd);
    CU_ASSERT_TRUE(
        await_answer(node->port, "/grapevine/v1/workers", 200, "health probe: status 500"));
    CU_ASSERT_TRUE(await_answer(node->port, "/grapevine/v1/workers", 200, "health probe: connect"));
    gv_world_end(&world);
}

/* smg-project/smg#2468: a worker that had failed was never probed again, and one that was started
 * anew at the same address never came back. */
static void a_worker_that_failed_and_comes_back_is_used_again_with_an_empty_cache(void)
{
    struct gv_world_node *node = start(1, watchful);
    struct gv_world_worker *worker = &world.workers[0];
    CU_ASSERT_EQUAL(chat(node, 1, NULL), 200);
    CU_ASSERT_TRUE(gv_world_number(node, "/grapevine/v1/workers", worker->url, "blocks") > 0);
    for (int i = 0; i < 3; i++) {
        gv_process_kill(&worker->process);
        CU_ASSERT_TRUE(await_answer(node->port, "/readiness", 503, NULL));
        gv_world_restart_worker(&world, worker);
        CU_ASSERT_TRUE(gv_world_await_ready(&world));
        CU_ASSERT_EQUAL(gv_world_number(node, "/grapevine/v1/workers", worker->url, "blocks"), 0);
        CU_ASSERT_EQUAL(chat(node, 1, NULL), 200);
    }
    gv_world_end(&world);
}

static bool lists_worker(void *owner)
{
    return gv_world_load(owner, world.workers[0].url) >= 0;
}

/* smg-project/smg#1102: a worker heard of over the mesh was chosen before this router had ever
 * reached it. Here one router can not: it asks for the worker's health at a path that is not. */
static void a_worker_known_by_hearsay_is_not_chosen_before_a_probe_of_ones_own(void)
{
    static const char *const blind[] = {"--health-check-endpoint", "/nowhere", NULL};
    struct gv_world_node *stranger = gv_world_add_node(&world, blind);
    struct gv_world_worker *worker = gv_world_add_worker(&world, "regular");
    struct gv_world_node *friend = gv_world_add_node(&world, NULL);
    CU_ASSERT_TRUE_FATAL(gv_world_await_members(&world, 2));
    CU_ASSERT_TRUE_FATAL(await_answer(friend->port, "/readiness", 200, "\"healthy_workers\":1"));
    CU_ASSERT_TRUE_FATAL(gv_test_await(lists_worker, stranger, 0));
    for (int i = 0; i < 5; i++) {
        CU_ASSERT_EQUAL(chat(friend, i, NULL), 200);
    }
    CU_ASSERT_TRUE(gv_world_await_agreement(&world));
    CU_ASSERT_TRUE_FATAL(gv_world_await_started(stranger));
    struct gv_reply reply;
    int fd = gv_world_send_chat(stranger, "anybody there?", false);
    gv_talk_read(fd, &reply);
    CU_ASSERT_EQUAL(reply.status, 503);
    CU_ASSERT_PTR_NOT_NULL(strstr(reply.body, "1 of 1 workers"));
    gv_reply_deinit(&reply);
    close(fd);
    CU_ASSERT_EQUAL(status_of(stranger->port, "/readiness"), 503);
    CU_ASSERT_EQUAL(gv_world_stat(worker, "requests"), 5);
    gv_world_end(&world);
}

/* sglang#10827: GET paths always spoke for the first worker, even when it was dead. */
static void questions_about_the_model_are_not_answered_by_a_dead_worker(void)
{
    static const char *const models[2][3] = {{"--model", "model-one", NULL},
                                             {"--model", "model-two", NULL}};
    for (int i = 0; i < 2; i++) {
        world.worker_flags = models[i];
        gv_world_add_worker(&world, "regular");
    }
    struct gv_world_node *node = gv_world_add_node(&world, watchful);
    CU_ASSERT_TRUE_FATAL(gv_world_await_ready(&world));
    struct gv_reply reply;
    gv_talk_ask(node->port, "GET", "/get_model_info", NULL, NULL, &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    bool first = strstr(reply.body, "model-one") != NULL;
    gv_reply_deinit(&reply);
    gv_process_kill(&world.workers[first ? 0 : 1].process);
    const char *left = first ? "model-two" : "model-one";
    CU_ASSERT_TRUE(await_answer(node->port, "/get_model_info", 200, left));
    CU_ASSERT_TRUE(await_answer(node->port, "/get_server_info", 200, left));
    gv_process_kill(&world.workers[first ? 1 : 0].process);
    CU_ASSERT_TRUE(await_answer(node->port, "/get_model_info", 503, "no worker is ready"));
    gv_world_end(&world);
}

/* vllm-project/production-stack#865, sglang#3031: with a wrong key a worker looked healthy, and
 * every request to it was a 401. */
static void a_worker_that_does_not_take_our_key_gets_no_requests_until_it_does(void)
{
    static const char *const other[] = {"--worker-api-key", "another", NULL};
    static const char *const right[] = {"--worker-api-key", "right", NULL};
    static const char *const flags[] = {"--worker-api-key", "right", NULL};
    world.worker_flags = other;
    struct gv_world_worker *worker = gv_world_add_worker(&world, "regular");
    world.worker_flags = right;
    gv_world_add_worker(&world, "regular");
    struct gv_world_node *node = gv_world_add_node(&world, flags);
    CU_ASSERT_TRUE(await_answer(node->port, "/grapevine/v1/workers", 200,
                                "does not take the API key that it was registered with"));
    CU_ASSERT_TRUE(await_answer(node->port, "/readiness", 200, "\"healthy_workers\":1,"));
    for (int i = 0; i < 30; i++) {
        CU_ASSERT_EQUAL(chat(node, i, NULL), 200);
    }
    CU_ASSERT_EQUAL(gv_world_stat(worker, "requests"), 0);

    char id[64];
    char path[96];
    struct gv_reply reply;
    gv_world_worker_id(node, worker->url, id);
    snprintf(path, sizeof path, "/workers/%s", id);
    gv_talk_ask(node->port, "PATCH", path, NULL, "{\"api_key\":\"another\"}", &reply);
    CU_ASSERT_EQUAL(reply.status, 202);
    gv_reply_deinit(&reply);
    CU_ASSERT_TRUE(gv_world_await_ready(&world));
    gv_world_end(&world);
}

/* llm-d/llm-d-router#2188: pods that were about to end still got new requests. */
static void a_draining_worker_gets_nothing_new_and_finishes_what_it_has(void)
{
    struct gv_world_node *node = start(2, NULL);
    char home[URL_BYTES];
    CU_ASSERT_EQUAL(chat(node, 1, home), 200);
    struct gv_world_worker *leaving = gv_world_worker_at(&world, home);
    gv_world_fault(leaving, "{\"kind\":\"slow\",\"ms\":1500}");
    char prompt[900];
    gv_world_prompt(prompt, sizeof prompt, 1);
    int fd = gv_world_send_chat(node, prompt, false);
    CU_ASSERT_TRUE_FATAL(gv_world_await_stat(leaving, "requests", 2));
    CU_ASSERT_EQUAL(gv_world_remove_worker(node, home), 202);
    CU_ASSERT_TRUE(await_answer(node->port, "/readiness", 200, "\"healthy_workers\":1"));
    for (int i = 0; i < 10; i++) {
        char worker[URL_BYTES];
        CU_ASSERT_EQUAL(chat(node, i % 2, worker), 200);
        CU_ASSERT_STRING_NOT_EQUAL(worker, home);
    }
    struct gv_reply reply;
    gv_talk_read(fd, &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    CU_ASSERT_TRUE(reply.whole);
    gv_reply_deinit(&reply);
    close(fd);
    CU_ASSERT_EQUAL(gv_world_stat(leaving, "requests"), 2);
    CU_ASSERT_EQUAL(gv_world_stat(leaving, "aborted"), 0);
    CU_ASSERT_TRUE(await_answer(node->port, "/workers", 200, "\"total\":1,"));
    gv_world_end(&world);
}

/* sglang#38744, smg-project/smg#1172: SIGTERM closed the port before the load balancers had seen
 * that the router was leaving. */
static void on_sigterm_readiness_falls_first_while_requests_are_still_served(void)
{
    static const char *const flags[] = {"--drain-settle-secs", "100", NULL};
    struct gv_world_node *node = start(1, flags);
    gv_process_signal(&node->process, SIGTERM);
    CU_ASSERT_TRUE(await_answer(node->port, "/readiness", 503, "draining"));
    CU_ASSERT_EQUAL(status_of(node->port, "/liveness"), 200);
    CU_ASSERT_EQUAL(chat(node, 1, NULL), 200);
    uint64_t second_at_ms = gv_test_now_ms();
    gv_process_signal(&node->process, SIGTERM);
    CU_ASSERT_EQUAL(gv_process_wait(&node->process), 1);
    CU_ASSERT_TRUE(gv_test_now_ms() - second_at_ms < 50000);
    gv_world_end(&world);
}

/* The same issues, the other half: a stream under way is given whole before the router ends. */
static void on_sigterm_a_stream_under_way_is_finished(void)
{
    static const char *const leisurely[] = {"--speed", "1", "--decode-ms", "400", NULL};
    world.worker_flags = leisurely;
    struct gv_world_node *node = start(1, NULL);
    char seen[8192];
    int fd = gv_world_send_chat(node, "tell me", true);
    CU_ASSERT_TRUE(gv_talk_read_until(fd, "{\"content\":", seen, sizeof seen));
    gv_process_signal(&node->process, SIGTERM);
    CU_ASSERT_TRUE(gv_process_await(&node->process, "node.draining", NULL, 0));
    CU_ASSERT_TRUE(strstr(seen, "[DONE]") != NULL ||
                   gv_talk_read_until(fd, "[DONE]\n\n\r\n0\r\n\r\n", seen, sizeof seen));
    close(fd);
    CU_ASSERT_EQUAL(gv_process_wait(&node->process), 0);
    CU_ASSERT_EQUAL(gv_world_stat(&world.workers[0], "finished"), 1);
    CU_ASSERT_EQUAL(gv_world_stat(&world.workers[0], "aborted"), 0);
    gv_world_end(&world);
}

/* smg-project/smg#1694: probes starved under load, and pods that served well were killed. */
static void the_admin_port_answers_while_the_data_port_is_full(void)
{
    enum {
        CLIENTS = 60 /* three times as many as there is room for */
    };
    static const char *const flags[] = {"--max-connections", "20", NULL};
    struct gv_world_node *node = start(1, flags);
    int fds[CLIENTS];
    gv_world_fault(&world.workers[0], "{\"kind\":\"hang_before_head\",\"count\":0}");
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = gv_talk_connect(node->port);
        CU_ASSERT_TRUE_FATAL(fds[i] >= 0);
        (void)gv_talk_send_text(fds[i], "POST /v1/completions HTTP/1.1\r\nHost: x\r\n"
                                        "Content-Type: application/json\r\nContent-Length: 41\r\n"
                                        "\r\n{\"model\":\"mock-model\",\"prompt\":\"hold on\"}");
    }
    CU_ASSERT_TRUE(
        await_answer(node->metrics_port, "/grapevine/v1/workers", 200, "\"in_flight_here\":20,"));
    static const char *const paths[] = {"/liveness", "/readiness", "/health",
                                        "/metrics",  "/workers",   "/grapevine/v1/status"};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        CU_ASSERT_EQUAL(status_of(node->metrics_port, paths[i]), 200);
    }
    for (int i = 0; i < CLIENTS; i++) {
        close(fds[i]);
    }
    CU_ASSERT_TRUE(gv_world_await_idle(&world));
    gv_world_order(&world.workers[0], "reset");
    CU_ASSERT_EQUAL(chat(node, 1, NULL), 200);
    gv_world_end(&world);
}

GV_SUITE("integration/stories_health", GV_CASE(a_router_without_workers_is_loudly_not_ready),
         GV_CASE(readiness_says_whether_a_request_could_be_routed_now),
         GV_CASE(the_error_and_the_worker_list_say_what_is_wrong),
         GV_CASE(a_worker_that_failed_and_comes_back_is_used_again_with_an_empty_cache),
         GV_CASE(a_worker_known_by_hearsay_is_not_chosen_before_a_probe_of_ones_own),
         GV_CASE(questions_about_the_model_are_not_answered_by_a_dead_worker),
         GV_CASE(a_worker_that_does_not_take_our_key_gets_no_requests_until_it_does),
         GV_CASE(a_draining_worker_gets_nothing_new_and_finishes_what_it_has),
         GV_CASE(on_sigterm_readiness_falls_first_while_requests_are_still_served),
         GV_CASE(on_sigterm_a_stream_under_way_is_finished),
         GV_CASE(the_admin_port_answers_while_the_data_port_is_full))
