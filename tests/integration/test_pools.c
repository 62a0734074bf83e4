/*
 * test_pools.c - the fault this project was born from, told with real programs: prefill and decode
 * requests for one prompt must never disturb each other's tries, on no node.
 */
#include "support/suite.h"
#include "support/world.h"

#include <stdio.h>
#include <string.h>

static long entries_of(struct gv_world_node *node, const char *key)
{
    return gv_world_number(node, "/grapevine/v1/trees", key, "entries");
}

static void start(struct gv_world *world)
{
    memset(world, 0, sizeof *world);
    gv_world_add_worker(world, "prefill");
    gv_world_add_worker(world, "prefill");
    gv_world_add_worker(world, "decode");
    gv_world_add_worker(world, "decode");
    for (int i = 0; i < 3; i++) {
        gv_world_add_node(world, NULL);
    }
    CU_ASSERT_TRUE_FATAL(gv_world_await_members(world, 3));
    CU_ASSERT_TRUE_FATAL(gv_world_await_ready(world));
}

static void one_prompt_keeps_its_pair_over_1000_turns_on_three_nodes(void)
{
    struct gv_world world;
    start(&world);
    char prompt[4000];
    char first[1100];
    char now[1100];
    gv_world_prompt(prompt, sizeof prompt, 1);
    CU_ASSERT_EQUAL_FATAL(gv_world_chat(&world.nodes[0], prompt, NULL, 0), 200);
    CU_ASSERT_TRUE_FATAL(gv_world_await_agreement(&world));
    CU_ASSERT_TRUE_FATAL(gv_world_explain(&world.nodes[0], prompt, first, sizeof first));
    int flips = 0;
    for (int turn = 0; turn < 1000; turn++) {
        struct gv_world_node *node = &world.nodes[turn % 3];
        if (turn % 10 == 0) {
            flips += gv_world_chat(node, prompt, NULL, 0) != 200;
        }
        flips += !gv_world_explain(node, prompt, now, sizeof now) || strcmp(first, now) != 0;
    }
    CU_ASSERT_EQUAL(flips, 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(first, " + "));
    gv_world_end(&world);
}

struct removal {
    struct gv_world *world;
    char id[64];
};

static bool is_gone_everywhere(void *owner)
{
    struct removal *removal = owner;
    for (size_t i = 0; i < removal->world->node_count; i++) {
        struct gv_reply reply;
        gv_talk_ask(removal->world->nodes[i].port, "GET", "/workers", NULL, NULL, &reply);
        bool there = strstr(reply.body, removal->id) != NULL;
        gv_reply_deinit(&reply);
        if (there) {
            return false;
        }
    }
    return true;
}

static void removing_a_decode_worker_leaves_the_prefill_tries_untouched_everywhere(void)
{
    struct gv_world world;
    start(&world);
    for (int i = 0; i < 20; i++) {
        char prompt[3000];
        gv_world_prompt(prompt, sizeof prompt, i);
        CU_ASSERT_EQUAL(gv_world_chat(&world.nodes[i % 3], prompt, NULL, 0), 200);
    }
    CU_ASSERT_TRUE_FATAL(gv_world_await_agreement(&world));
    long prefill = entries_of(&world.nodes[0], "prefill::mock-model");
    long decode = entries_of(&world.nodes[0], "decode::mock-model");
    CU_ASSERT_TRUE(prefill > 100);
    CU_ASSERT_TRUE(decode > 100);

    struct removal removal = {.world = &world};
    gv_world_worker_id(&world.nodes[1], world.workers[3].url, removal.id);
    CU_ASSERT_EQUAL(gv_world_remove_worker(&world.nodes[1], world.workers[3].url), 202);
    CU_ASSERT_TRUE(gv_test_await(is_gone_everywhere, &removal, 0));
    CU_ASSERT_TRUE(gv_world_await_agreement(&world));
    for (size_t i = 0; i < world.node_count; i++) {
        CU_ASSERT_EQUAL(entries_of(&world.nodes[i], "prefill::mock-model"), prefill);
        CU_ASSERT_TRUE(entries_of(&world.nodes[i], "decode::mock-model") < decode);
    }
    gv_world_end(&world);
}

/* Under a key of its own it would share nothing with those that name the model. */
static void a_request_without_a_model_is_one_of_the_only_model_on_all_nodes(void)
{
    struct gv_world world;
    char prompt[3000];
    char body[3200];
    char workers[3][1100];
    struct gv_reply reply;
    start(&world);
    gv_world_prompt(prompt, sizeof prompt, 5);
    snprintf(body, sizeof body, "{\"messages\":[{\"role\":\"user\",\"content\":\"%s\"}]}", prompt);
    gv_talk_ask(world.nodes[0].port, "POST", "/v1/chat/completions", NULL, body, &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    gv_reply_deinit(&reply);
    CU_ASSERT_TRUE_FATAL(gv_world_await_agreement(&world));
    CU_ASSERT_TRUE(entries_of(&world.nodes[1], "prefill::mock-model") > 5);
    CU_ASSERT_TRUE(entries_of(&world.nodes[2], "decode::mock-model") > 5);
    for (int i = 0; i < 3; i++) {
        CU_ASSERT_TRUE(gv_world_explain(&world.nodes[i], prompt, workers[i], sizeof workers[i]));
        CU_ASSERT_STRING_EQUAL(workers[i], workers[0]);
        gv_talk_ask(world.nodes[i].port, "POST", "/grapevine/v1/explain", NULL, body, &reply);
        CU_ASSERT_TRUE(gv_reply_text(&reply, "worker", workers[i], sizeof workers[i]));
        CU_ASSERT_STRING_EQUAL(workers[i], workers[0]);
        CU_ASSERT_PTR_NOT_NULL(strstr(reply.body, "\"key\":\"prefill::mock-model\""));
        CU_ASSERT_PTR_NULL(strstr(reply.body, "unknown"));
        gv_reply_deinit(&reply);
    }
    gv_world_end(&world);
}

GV_SUITE("integration/pools", GV_CASE(one_prompt_keeps_its_pair_over_1000_turns_on_three_nodes),
         GV_CASE(a_request_without_a_model_is_one_of_the_only_model_on_all_nodes),
         GV_CASE(removing_a_decode_worker_leaves_the_prefill_tries_untouched_everywhere))
