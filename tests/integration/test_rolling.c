/*
 * test_rolling.c - a cluster that is worked on while all its clients ask at once: nodes are
 * restarted one after the other, a node is killed, a worker is taken away.
 */
#include "support/crowd.h"
#include "support/suite.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const at_work[] = {"--speed", "6", NULL}; /* requests overlap */

static void start(struct gv_world *world)
{
    memset(world, 0, sizeof *world);
    world->worker_flags = at_work;
    for (int i = 0; i < 3; i++) {
        gv_world_add_worker(world, "regular");
    }
    for (int i = 0; i < 3; i++) {
        gv_world_add_node(world, NULL);
    }
    CU_ASSERT_TRUE_FATAL(gv_world_await_members(world, 3));
    CU_ASSERT_TRUE_FATAL(gv_world_await_ready(world));
}

static bool says_ready(void *owner)
{
    struct gv_reply reply;
    gv_talk_ask(((struct gv_world_node *)owner)->port, "GET", "/readiness", NULL, NULL, &reply);
    bool ready = reply.status == 200;
    gv_reply_deinit(&reply);
    return ready;
}

/* Of all prompt tokens since the last look, those that the engines had in their caches. */
struct meter {
    struct gv_world *world;
    long prompt, cached;
};

static double hit_rate(struct meter *meter)
{
    long prompt = gv_world_sum(meter->world, "prompt_tokens");
    long cached = gv_world_sum(meter->world, "cached_tokens");
    double rate = (double)(cached - meter->cached) / (double)(prompt - meter->prompt);
    meter->prompt = prompt;
    meter->cached = cached;
    return rate;
}

static void a_rolling_restart_under_load_loses_no_request_and_no_knowledge(void)
{
    struct gv_world world;
    struct gv_crowd crowd;
    start(&world);
    gv_crowd_start(&crowd, &world, 0, 5L * GV_CROWD_WINDOW);
    long next = gv_crowd_await(&crowd);
    CU_ASSERT_EQUAL(crowd.lost, 0);
    struct meter meter = {.world = &world};
    double before = hit_rate(&meter);

    long first = next;
    gv_crowd_start(&crowd, &world, first, LONG_MAX);
    for (size_t i = 0; i < world.node_count; i++) {
        struct gv_world_node *node = &world.nodes[i];
        CU_ASSERT_TRUE(gv_crowd_await_answered(&crowd, crowd.answered + GV_CROWD_OPEN));
        gv_process_signal(&node->process, SIGTERM);
        CU_ASSERT_EQUAL(gv_process_wait(&node->process), 0);
        CU_ASSERT_TRUE(gv_crowd_await_answered(&crowd, crowd.answered + GV_CROWD_OPEN));
        CU_ASSERT_TRUE_FATAL(gv_world_restart_node(&world, node, NULL));
        CU_ASSERT_TRUE_FATAL(gv_test_await(says_ready, node, 0));
    }
    gv_crowd_finish(&crowd, first + 5L * GV_CROWD_WINDOW);
    next = gv_crowd_await(&crowd);
    double during = hit_rate(&meter);
    printf(
        "(%ld requests, went elsewhere %ld times, lost %ld; hit rate %.4f before, %.4f meanwhile) ",
        next - first, crowd.elsewhere, crowd.lost, before, during);
    CU_ASSERT_EQUAL(crowd.lost, 0);
    CU_ASSERT_EQUAL(crowd.answered, next - first);
    CU_ASSERT_EQUAL(gv_world_sum(&world, "requests"), next); /* none twice */
    CU_ASSERT_EQUAL(gv_world_sum(&world, "finished"), next);
    CU_ASSERT_TRUE(before > 0.6);
    CU_ASSERT_TRUE(during >= 0.95 * before);
    CU_ASSERT_TRUE(gv_world_await_idle(&world));
    CU_ASSERT_TRUE(gv_world_await_agreement(&world));
    gv_world_end(&world);
}

static void a_killed_node_takes_only_what_was_in_flight_on_it(void)
{
    struct gv_world world;
    struct gv_crowd crowd;
    start(&world);
    gv_crowd_start(&crowd, &world, 0, LONG_MAX);
    CU_ASSERT_TRUE(gv_crowd_await_answered(&crowd, GV_CROWD_WINDOW));
    atomic_store(&crowd.doomed_node, 2);
    gv_process_kill(&world.nodes[2].process);
    atomic_store(&crowd.is_dead, true);
    CU_ASSERT_TRUE(gv_crowd_await_answered(&crowd, crowd.answered + GV_CROWD_WINDOW));
    gv_crowd_finish(&crowd, 0);
    long sent = gv_crowd_await(&crowd);
    printf("(%ld requests, %ld lost) ", sent, crowd.lost);
    CU_ASSERT_TRUE(crowd.lost <= GV_CROWD_CLIENTS);
    CU_ASSERT_EQUAL(crowd.lost_in_vain, 0);
    CU_ASSERT_EQUAL(crowd.answered + crowd.lost, sent);
    CU_ASSERT_TRUE(gv_world_await_members(&world, 2));
    CU_ASSERT_TRUE(gv_world_await_idle(&world)); /* what it had counted is forgotten */
    gv_world_end(&world);
}

/* For gv_test_await(): no node knows the worker any more. */
struct absence {
    struct gv_world *world;
    const char *url;
};

static bool is_unknown_everywhere(void *owner)
{
    const struct absence *absence = owner;
    bool unknown = true;
    for (size_t i = 0; i < absence->world->node_count; i++) {
        char id[64];
        gv_world_worker_id(&absence->world->nodes[i], absence->url, id);
        unknown = unknown && id[0] == '\0';
    }
    return unknown;
}

static void a_removed_worker_gets_nothing_new_and_finishes_what_it_has(void)
{
    struct gv_world world;
    struct gv_crowd crowd;
    start(&world);
    struct gv_world_worker *removed = &world.workers[1];
    gv_crowd_start(&crowd, &world, 0, LONG_MAX);
    crowd.gone_worker = removed->url; /* read only after gone_at was set */
    CU_ASSERT_TRUE(gv_crowd_await_answered(&crowd, GV_CROWD_WINDOW));
    CU_ASSERT_EQUAL(gv_world_remove_worker(&world.nodes[0], removed->url), 202);
    atomic_store(&crowd.gone_at, 0);
    struct absence absence = {.world = &world, .url = removed->url};
    CU_ASSERT_TRUE(gv_test_await(is_unknown_everywhere, &absence, 0));
    atomic_store(&crowd.gone_at, GV_CROWD_EVERYWHERE);
    CU_ASSERT_TRUE(gv_crowd_await_answered(&crowd, crowd.answered + GV_CROWD_WINDOW));
    gv_crowd_finish(&crowd, 0);
    long sent = gv_crowd_await(&crowd);
    CU_ASSERT_EQUAL(crowd.gone_asked, 0);
    CU_ASSERT_EQUAL(crowd.lost, 0);
    CU_ASSERT_EQUAL(crowd.answered, sent);
    CU_ASSERT_TRUE(gv_world_stat(removed, "requests") > 0);
    CU_ASSERT_EQUAL(gv_world_stat(removed, "finished"), gv_world_stat(removed, "requests"));
    CU_ASSERT_EQUAL(gv_world_sum(&world, "requests"), sent);
    gv_world_end(&world);
}

static void a_node_that_has_just_started_sends_clients_elsewhere(void)
{
    struct gv_world world = {.node_count = 0};
    struct gv_reply reply;
    char code[32] = "";
    char after[16] = "";
    char *body = gv_world_chat_body("hello", false);
    struct gv_world_worker *worker = gv_world_add_worker(&world, "regular");
    gv_process_signal(&worker->process, SIGSTOP); /* so there is no verdict on it for 2 s */
    uint64_t began_at_ms = gv_test_now_ms();
    struct gv_world_node *node = gv_world_add_node(&world, NULL);
    gv_talk_ask(node->port, "POST", "/v1/chat/completions", NULL, body, &reply);
    CU_ASSERT_EQUAL(reply.status, 503);
    CU_ASSERT_TRUE(gv_reply_text(&reply, "code", code, sizeof code));
    (void)gv_reply_header(&reply, "retry-after", after, sizeof after);
    if (gv_test_now_ms() - began_at_ms < 2000) { /* later, on a slow machine, it has given up */
        CU_ASSERT_STRING_EQUAL(code, "starting");
        CU_ASSERT_STRING_EQUAL(after, "1");
    }
    gv_reply_deinit(&reply);
    free(body);
    gv_process_signal(&worker->process, SIGCONT);
    CU_ASSERT_TRUE(gv_world_await_started(node));
    CU_ASSERT_TRUE(gv_world_await_ready(&world));
    CU_ASSERT_EQUAL(gv_world_chat(node, "hello", NULL, 0), 200);
    gv_world_end(&world);
}

GV_SUITE("integration/rolling",
         GV_CASE(a_rolling_restart_under_load_loses_no_request_and_no_knowledge),
         GV_CASE(a_node_that_has_just_started_sends_clients_elsewhere),
         GV_CASE(a_killed_node_takes_only_what_was_in_flight_on_it),
         GV_CASE(a_removed_worker_gets_nothing_new_and_finishes_what_it_has))
