/*
 * test_forecasts.c - what engines report of their caches, against what the routers believed: three
 * real nodes, engines whose cache is smaller than they tell, emptied behind our back, or off.
 */
#include "support/suite.h"
#include "support/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROMPT_BYTES 900

static struct gv_world world;

static void start(const char *const *worker_flags)
{
    memset(&world, 0, sizeof world);
    world.worker_flags = worker_flags;
    gv_world_add_worker(&world, "regular");
    for (int i = 0; i < 3; i++) {
        gv_world_add_node(&world, NULL);
    }
    CU_ASSERT_TRUE_FATAL(gv_world_await_members(&world, 3));
    CU_ASSERT_TRUE_FATAL(gv_world_await_ready(&world));
}

static void chat(int node, int seed)
{
    char prompt[PROMPT_BYTES];
    gv_world_prompt(prompt, sizeof prompt, seed);
    CU_ASSERT_EQUAL(gv_world_chat(&world.nodes[node], prompt, NULL, 0), 200);
    CU_ASSERT_TRUE(gv_world_await_idle(&world)); /* so that every forecast is ripe */
}

static long of_worker(int node, const char *name)
{
    return gv_world_number(&world.nodes[node], "/grapevine/v1/workers", world.workers[0].url, name);
}

static bool workers_say(int node, const char *words)
{
    struct gv_reply reply;
    gv_talk_ask(world.nodes[node].port, "GET", "/grapevine/v1/workers", NULL, NULL, &reply);
    bool found = strstr(reply.body, words) != NULL;
    gv_reply_deinit(&reply);
    return found;
}

/* For gv_test_await(): all nodes give the worker the same share, below what it tells. */
static bool is_trusted_less(void *owner)
{
    long told = *(const long *)owner;
    long share = of_worker(0, "capacity_blocks");
    return share < told && share > 0 && of_worker(1, "capacity_blocks") == share &&
           of_worker(2, "capacity_blocks") == share;
}

/* One more prompt, twice; then: is the worker trusted with no more than this? Trust is judged now
 * and then, so this goes on for as long as it takes. */
static bool sinks_while_used(void *owner)
{
    static int round;
    round += 1;
    chat(round % 3, round % 60);
    chat((round + 1) % 3, round % 60);
    return of_worker(0, "capacity_blocks") <= *(const long *)owner;
}

static void an_engine_that_holds_less_than_it_tells_is_believed_less_on_all_nodes(void)
{
    static const char *const flags[] = {"--capacity-tokens", "2048", "--told-tokens", "200000",
                                        NULL};
    start(flags);
    long told = of_worker(0, "capacity_blocks") / 2;
    CU_ASSERT_TRUE(told > 1000);
    /* 60 prompts of some 225 tokens in turn, each twice: the second time it is there. */
    CU_ASSERT_TRUE(gv_test_await(sinks_while_used, &told, 0));
    CU_ASSERT_TRUE(gv_test_await(is_trusted_less, &told, 0));
    CU_ASSERT_TRUE(gv_world_await_agreement(&world));
    for (int i = 0; i < 3; i++) {
        CU_ASSERT_FALSE(workers_say(i, "\"trust\":1.0"));
        CU_ASSERT_TRUE(workers_say(i, "\"prefix_caching\":true"));
    }
    gv_world_end(&world);
}

static bool is_forgotten(void *owner)
{
    (void)owner;
    return of_worker(0, "blocks") == 0 && of_worker(1, "blocks") == 0 &&
           of_worker(2, "blocks") == 0;
}

static void a_cache_that_was_emptied_behind_our_back_is_forgotten_after_three_prompts(void)
{
    start(NULL);
    for (int i = 0; i < 8; i++) {
        chat(i % 3, i);
        chat(0, i);
    }
    CU_ASSERT_TRUE(gv_world_await_agreement(&world));
    CU_ASSERT_TRUE(of_worker(2, "blocks") >= 8 * 3);
    struct gv_reply reply;
    gv_talk_ask(world.workers[0].port, "POST", "/flush_cache", NULL, "", &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    gv_reply_deinit(&reply);
    chat(0, 1);
    chat(0, 2);
    CU_ASSERT_TRUE(of_worker(0, "blocks") >= 8 * 3); /* two may be chance */
    chat(0, 3);
    CU_ASSERT_TRUE(gv_test_await(is_forgotten, NULL, 0));
    chat(1, 4);
    CU_ASSERT_TRUE(gv_world_await_agreement(&world));
    CU_ASSERT_TRUE(of_worker(2, "blocks") > 0); /* and learnt anew */
    gv_world_end(&world);
}

static bool is_known_uncached(void *owner)
{
    (void)owner;
    return workers_say(0, "\"prefix_caching\":false") &&
           workers_say(1, "\"prefix_caching\":false") && workers_say(2, "\"prefix_caching\":false");
}

static bool is_known_after_one_more(void *owner)
{
    static int round;
    round += 1;
    chat(0, round % 4);
    return is_known_uncached(owner);
}

static void an_engine_without_prefix_caching_is_noticed_and_keeps_its_share(void)
{
    static const char *const flags[] = {"--capacity-tokens", "0", "--told-tokens", "200000", NULL};
    start(flags);
    long told = of_worker(0, "capacity_blocks");
    CU_ASSERT_TRUE(gv_test_await(is_known_after_one_more, NULL, 0));
    CU_ASSERT_TRUE(workers_say(1, "\"trust\":1.0"));
    CU_ASSERT_TRUE(of_worker(0, "capacity_blocks") > told / 2);
    gv_world_end(&world);
}

/* For gv_test_await(): all nodes say the same speed, and not the one they began with. */
static bool is_measured(void *owner)
{
    long usual = *(const long *)owner;
    long speed = of_worker(0, "prefill_bytes_per_s");
    return speed != usual && of_worker(1, "prefill_bytes_per_s") == speed &&
           of_worker(2, "prefill_bytes_per_s") == speed;
}

static void stream(int node, int seed)
{
    char prompt[20000];
    char body[20200];
    struct gv_reply reply;
    gv_world_prompt(prompt, sizeof prompt, seed);
    snprintf(
        body, sizeof body,
        "{\"model\":\"mock-model\",\"stream\":true,\"stream_options\":{\"include_usage\":true},"
        "\"max_tokens\":2,\"messages\":[{\"role\":\"user\",\"content\":\"%s\"}]}",
        prompt);
    gv_talk_ask(world.nodes[node].port, "POST", "/v1/chat/completions", NULL, body, &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    gv_reply_deinit(&reply);
    CU_ASSERT_TRUE(gv_world_await_idle(&world));
}

/* A slow machine makes it slower, never faster: 8,000 tokens of 4 bytes a second at most. */
static void how_fast_an_engine_computes_is_measured_and_known_to_all_nodes(void)
{
    static const char *const flags[] = {"--prefill-tps", "6000", "--speed", "1", NULL};
    start(flags);
    long usual = of_worker(0, "prefill_bytes_per_s");
    CU_ASSERT_EQUAL(usual, 32000);
    for (int i = 0; i < 6; i++) {
        stream(i % 3, i);
    }
    CU_ASSERT_TRUE(gv_test_await(is_measured, &usual, 0));
    CU_ASSERT_TRUE(of_worker(0, "prefill_bytes_per_s") < 6000 * 4 * 11 / 10);
    gv_world_end(&world);
}

static void every_answer_says_why_and_the_metrics_what_it_took(void)
{
    static const char *const headers[] = {"x-grapevine-worker", "x-grapevine-rule",
                                          "x-grapevine-policy", "x-grapevine-match",
                                          "x-grapevine-load",   "x-grapevine-node"};
    static const char *const stages[] = {"wait", "decide", "connect", "total"};
    start(NULL);
    chat(0, 1);
    char prompt[PROMPT_BYTES];
    char value[256] = "";
    struct gv_reply reply;
    gv_world_prompt(prompt, sizeof prompt, 1);
    char *body = gv_world_chat_body(prompt, false);
    gv_talk_ask(world.nodes[0].port, "POST", "/v1/chat/completions", NULL, body, &reply);
    free(body);
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        CU_ASSERT_TRUE(gv_reply_header(&reply, headers[i], value, sizeof value));
        CU_ASSERT_NOT_EQUAL(value[0], '\0');
    }
    CU_ASSERT_TRUE(gv_reply_header(&reply, "x-grapevine-predicted-tokens", value, sizeof value));
    CU_ASSERT_TRUE(atoi(value) > 150); /* all of some 225 */
    gv_reply_deinit(&reply);
    CU_ASSERT_TRUE(gv_world_await_idle(&world));
    gv_talk_ask(world.nodes[0].metrics_port, "GET", "/metrics", NULL, NULL, &reply);
    for (size_t i = 0; i < sizeof stages / sizeof stages[0]; i++) {
        char line[128];
        snprintf(line, sizeof line, "gv_router_overhead_seconds_count{stage=\"%s\"} 2\n",
                 stages[i]);
        CU_ASSERT_PTR_NOT_NULL(strstr(reply.body, line));
    }
    gv_reply_deinit(&reply);
    gv_world_end(&world);
}

GV_SUITE("integration/forecasts",
         GV_CASE(an_engine_that_holds_less_than_it_tells_is_believed_less_on_all_nodes),
         GV_CASE(a_cache_that_was_emptied_behind_our_back_is_forgotten_after_three_prompts),
         GV_CASE(an_engine_without_prefix_caching_is_noticed_and_keeps_its_share),
         GV_CASE(how_fast_an_engine_computes_is_measured_and_known_to_all_nodes),
         GV_CASE(every_answer_says_why_and_the_metrics_what_it_took))
