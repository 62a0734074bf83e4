/*
 * test_cluster.c - what users see of a cluster of three real nodes: one mind, through removal,
 * death and return.
 */
#include "support/suite.h"
#include "support/world.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void start(struct gv_world *world, int workers)
{
    memset(world, 0, sizeof *world);
    for (int i = 0; i < workers; i++) {
        gv_world_add_worker(world, "regular");
    }
    for (int i = 0; i < 3; i++) {
        gv_world_add_node(world, NULL);
    }
    CU_ASSERT_TRUE_FATAL(gv_world_await_members(world, 3));
    CU_ASSERT_TRUE_FATAL(gv_world_await_ready(world));
}

static void chat_some(struct gv_world *world, int count)
{
    for (int i = 0; i < count; i++) {
        char prompt[2000];
        gv_world_prompt(prompt, sizeof prompt, i);
        CU_ASSERT_EQUAL(gv_world_chat(&world->nodes[i % 3], prompt, NULL, 0), 200);
    }
}

static void what_one_node_learns_all_nodes_decide_by(void)
{
    struct gv_world world;
    start(&world, 4);
    chat_some(&world, 60);
    CU_ASSERT_TRUE_FATAL(gv_world_await_agreement(&world));
    int different = 0;
    for (int i = 0; i < 60; i++) {
        char prompt[2000];
        char worker[3][600];
        gv_world_prompt(prompt, sizeof prompt, i);
        for (int n = 0; n < 3; n++) {
            CU_ASSERT_TRUE(gv_world_explain(&world.nodes[n], prompt, worker[n], sizeof worker[n]));
        }
        different += strcmp(worker[0], worker[1]) != 0 || strcmp(worker[0], worker[2]) != 0;
    }
    CU_ASSERT_EQUAL(different, 0);
    gv_world_end(&world);
}

/* For gv_test_await(): every node chooses `url` for `prompt` (wanted), or none does. */
struct choice {
    struct gv_world *world;
    const char *prompt;
    const char *url;
    bool wanted;
};

static bool is_chosen_as_wanted(void *owner)
{
    const struct choice *choice = owner;
    for (size_t i = 0; i < choice->world->node_count; i++) {
        char worker[600] = "";
        (void)gv_world_explain(&choice->world->nodes[i], choice->prompt, worker, sizeof worker);
        if ((strcmp(worker, choice->url) == 0) != choice->wanted) {
            return false;
        }
    }
    return true;
}

static bool is_ready_with_two(void *owner)
{
    struct gv_world *world = owner;
    for (size_t i = 0; i < world->node_count; i++) {
        if (gv_world_number(&world->nodes[i], "/readiness", "", "healthy_workers") != 2) {
            return false;
        }
    }
    return true;
}

static void add_worker(struct gv_world_node *node, const char *url)
{
    char body[700];
    struct gv_reply reply;
    snprintf(body, sizeof body, "{\"url\":\"%s\"}", url);
    gv_talk_ask(node->port, "POST", "/workers", NULL, body, &reply);
    CU_ASSERT_EQUAL(reply.status, 202);
    gv_reply_deinit(&reply);
}

static void a_removed_worker_is_chosen_nowhere_and_comes_back_without_its_past(void)
{
    struct gv_world world;
    start(&world, 2);
    char prompt[2000];
    char owner[600];
    gv_world_prompt(prompt, sizeof prompt, 7);
    CU_ASSERT_EQUAL(gv_world_chat(&world.nodes[0], prompt, owner, sizeof owner), 200);
    CU_ASSERT_TRUE_FATAL(gv_world_await_agreement(&world));
    struct choice choice = {.world = &world, .prompt = prompt, .url = owner, .wanted = true};
    CU_ASSERT_TRUE(is_chosen_as_wanted(&choice));

    uint64_t removed_at_ms = gv_test_now_ms();
    CU_ASSERT_EQUAL(gv_world_remove_worker(&world.nodes[0], owner), 202);
    choice.wanted = false;
    CU_ASSERT_TRUE(gv_test_await(is_chosen_as_wanted, &choice, 0));
    printf("(chosen nowhere %llu ms after the DELETE was sent) ",
           (unsigned long long)(gv_test_now_ms() - removed_at_ms));

    add_worker(&world.nodes[1], owner);
    CU_ASSERT_TRUE(gv_test_await(is_ready_with_two, &world, 0));
    CU_ASSERT_TRUE(gv_world_await_agreement(&world));
    for (size_t i = 0; i < world.node_count; i++) {
        CU_ASSERT_EQUAL(gv_world_number(&world.nodes[i], "/grapevine/v1/workers", owner, "blocks"),
                        0);
    }
    bool chosen_again = false;
    for (int i = 0; i < 40 && !chosen_again; i++) {
        char worker[600];
        gv_world_prompt(prompt, sizeof prompt, 1000 + i);
        CU_ASSERT_EQUAL(gv_world_chat(&world.nodes[i % 3], prompt, worker, sizeof worker), 200);
        chosen_again = strcmp(worker, owner) == 0;
    }
    CU_ASSERT_TRUE(chosen_again);
    gv_world_end(&world);
}

/* A client behind DNS: tries the next node when a connection is refused or breaks, and only then.
 */
static bool chat_anywhere(struct gv_world *world, int seed)
{
    char prompt[1500];
    gv_world_prompt(prompt, sizeof prompt, seed % 50);
    char *body = gv_world_chat_body(prompt, false);
    bool served = false;
    bool broken = true;
    for (int attempt = 0; attempt < 3 && broken; attempt++) {
        struct gv_reply reply;
        gv_talk_ask(world->nodes[(seed + attempt) % 3].port, "POST", "/v1/chat/completions", NULL,
                    body, &reply);
        served = reply.status == 200 && reply.whole;
        broken = reply.status == 0 || !reply.whole;
        if (!served && !broken) {
            printf("error seen by a client: %d %s\n", reply.status, reply.body);
        }
        gv_reply_deinit(&reply);
    }
    free(body);
    return served;
}

static long entries_of(struct gv_world_node *node)
{
    return gv_world_number(node, "/grapevine/v1/status", "\"forest\"", "entries");
}

static bool says_ready(void *owner)
{
    struct gv_reply reply;
    gv_talk_ask(((struct gv_world_node *)owner)->port, "GET", "/readiness", NULL, NULL, &reply);
    bool ready = reply.status == 200;
    gv_reply_deinit(&reply);
    return ready;
}

static void a_killed_node_is_missed_by_nobody_and_returns_with_a_full_trie(void)
{
    struct gv_world world;
    start(&world, 3);
    chat_some(&world, 50);
    CU_ASSERT_TRUE_FATAL(gv_world_await_agreement(&world));

    int lost = 0;
    for (int i = 0; i < 150; i++) {
        if (i == 50) {
            gv_process_kill(&world.nodes[2].process); /* under load: the next request meets it */
        }
        lost += !chat_anywhere(&world, i);
    }
    CU_ASSERT_EQUAL(lost, 0);
    CU_ASSERT_TRUE(gv_world_await_members(&world, 2));
    CU_ASSERT_TRUE_FATAL(gv_world_await_agreement(&world));
    long entries = entries_of(&world.nodes[0]);
    CU_ASSERT_TRUE(entries > 0);

    CU_ASSERT_TRUE_FATAL(gv_world_restart_node(&world, &world.nodes[2], NULL));
    CU_ASSERT_TRUE_FATAL(gv_test_await(says_ready, &world.nodes[2], 0));
    CU_ASSERT_EQUAL(entries_of(&world.nodes[2]), entries); /* ready means: everything is there */
    CU_ASSERT_TRUE(gv_world_await_members(&world, 3));
    CU_ASSERT_TRUE(gv_world_await_agreement(&world));
    gv_world_end(&world);
}

static void sigterm_drains_says_goodbye_and_ends_with_0(void)
{
    struct gv_world world;
    start(&world, 1);
    gv_process_signal(&world.nodes[1].process, SIGTERM);
    CU_ASSERT_EQUAL(gv_process_wait(&world.nodes[1].process), 0);
    CU_ASSERT_TRUE(gv_world_await_members(&world, 2));
    struct gv_reply reply;
    gv_talk_ask(world.nodes[0].port, "GET", "/grapevine/v1/nodes", NULL, NULL, &reply);
    CU_ASSERT_PTR_NOT_NULL(strstr(reply.body, "\"status\":\"left\""));
    CU_ASSERT_PTR_NULL(strstr(reply.body, "\"status\":\"dead\""));
    gv_reply_deinit(&reply);
    gv_world_end(&world);
}

GV_SUITE("integration/cluster", GV_CASE(what_one_node_learns_all_nodes_decide_by),
         GV_CASE(a_removed_worker_is_chosen_nowhere_and_comes_back_without_its_past),
         GV_CASE(a_killed_node_is_missed_by_nobody_and_returns_with_a_full_trie),
         GV_CASE(sigterm_drains_says_goodbye_and_ends_with_0))
