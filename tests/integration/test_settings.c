/*
 * test_settings.c - settings of the whole cluster, over the admin API of real nodes: they hold on
 * all nodes at once, change what those decide, and outlive who wrote them.
 */
#include "support/suite.h"
#include "support/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int ask(struct gv_world_node *node, const char *method, const char *name, const char *body,
               char *text, size_t size)
{
    char path[200];
    struct gv_reply reply;
    (void)snprintf(path, sizeof path, "/grapevine/v1/settings%s%s", name[0] == '\0' ? "" : "/",
                   name);
    gv_talk_ask(node->port, method, path, NULL, body, &reply);
    int status = reply.status;
    if (text != NULL) {
        (void)snprintf(text, size, "%s", reply.body == NULL ? "" : reply.body);
    }
    gv_reply_deinit(&reply);
    return status;
}

/* What a node must say of itself, for gv_test_await(). */
struct wanted {
    struct gv_world_node *node;
    const char *words;
};

static bool says(void *owner)
{
    const struct wanted *wanted = owner;
    char text[8000];
    return ask(wanted->node, "GET", "", NULL, text, sizeof text) == 200 &&
           strstr(text, wanted->words) != NULL;
}

static bool await(struct gv_world_node *node, const char *words)
{
    struct wanted wanted = {.node = node, .words = words};
    return gv_test_await(says, &wanted, 0);
}

static void explain(struct gv_world_node *node, const char *prompt, char *text, size_t size)
{
    struct gv_reply reply;
    char *body = gv_world_chat_body(prompt, false);
    gv_talk_ask(node->port, "POST", "/grapevine/v1/explain", NULL, body, &reply);
    (void)snprintf(text, size, "%s", reply.body == NULL ? "" : reply.body);
    gv_reply_deinit(&reply);
    free(body);
}

/* With the policy whose rules say what the threshold did. */
static void start_three(struct gv_world *world)
{
    static const char *const flags[] = {"--policy", "cache_aware", NULL};
    gv_world_add_worker(world, "regular");
    gv_world_add_worker(world, "regular");
    for (int i = 0; i < 3; i++) {
        gv_world_add_node(world, flags);
    }
    CU_ASSERT_TRUE_FATAL(gv_world_await_members(world, 3));
    CU_ASSERT_TRUE_FATAL(gv_world_await_ready(world));
}

#define HELD "\"name\":\"cache-threshold\",\"value\":\"1\""

static void a_setting_changes_decisions_on_all_nodes_until_it_is_unset(void)
{
    struct gv_world world = {.node_count = 0};
    char text[8000];
    char prompt[3000];
    start_three(&world);
    gv_world_prompt(prompt, sizeof prompt, 1);
    CU_ASSERT_EQUAL(gv_world_chat(&world.nodes[0], prompt, NULL, 0), 200);
    CU_ASSERT_TRUE_FATAL(gv_world_await_agreement(&world));
    explain(&world.nodes[2], prompt, text, sizeof text);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "\"prefix\""));

    /* No prompt is known to more than all of it: nothing is chosen by prefix any more. */
    CU_ASSERT_EQUAL(
        ask(&world.nodes[0], "PUT", "cache-threshold", "{\"value\":1}", text, sizeof text), 200);
    for (int i = 0; i < 3; i++) {
        CU_ASSERT_TRUE(await(&world.nodes[i], HELD));
        explain(&world.nodes[i], prompt, text, sizeof text);
        CU_ASSERT_PTR_NOT_NULL(strstr(text, "\"rule\":\"miss\""));
    }
    CU_ASSERT_EQUAL(ask(&world.nodes[2], "DELETE", "cache-threshold", NULL, text, sizeof text),
                    200);
    for (int i = 0; i < 3; i++) {
        CU_ASSERT_TRUE(await(&world.nodes[i], "\"name\":\"cache-threshold\",\"value\":\"0.3\""));
        explain(&world.nodes[i], prompt, text, sizeof text);
        CU_ASSERT_PTR_NOT_NULL(strstr(text, "\"rule\":\"prefix\""));
    }
    CU_ASSERT_EQUAL(ask(&world.nodes[2], "DELETE", "cache-threshold", NULL, NULL, 0), 400);
    gv_world_end(&world);
}

static void a_setting_outlives_its_writer_and_reaches_who_comes_later(void)
{
    struct gv_world world = {.node_count = 0};
    start_three(&world);
    CU_ASSERT_EQUAL(ask(&world.nodes[0], "PUT", "cache-threshold", "{\"value\":\"1\"}", NULL, 0),
                    200);
    CU_ASSERT_EQUAL(ask(&world.nodes[0], "PUT", "log-level", "{\"value\":\"debug\"}", NULL, 0),
                    200);
    CU_ASSERT_TRUE_FATAL(await(&world.nodes[1], HELD));
    CU_ASSERT_TRUE_FATAL(await(&world.nodes[1], "\"value\":\"debug\""));
    gv_process_kill(&world.nodes[0].process);
    struct gv_world_node *late = gv_world_add_node(&world, NULL);
    CU_ASSERT_TRUE(await(late, HELD));
    CU_ASSERT_TRUE(await(late, "\"value\":\"debug\""));
    gv_world_end(&world);
}

static void what_makes_no_sense_is_refused_and_named(void)
{
    struct gv_world world = {.node_count = 0};
    char text[8000];
    gv_world_add_node(&world, NULL);
    struct gv_world_node *node = &world.nodes[0];
    CU_ASSERT_EQUAL(ask(node, "PUT", "cache-threshold", "{\"value\":\"2\"}", text, sizeof text),
                    400);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "cache-threshold: '2' is not a number in 0..1"));
    CU_ASSERT_EQUAL(ask(node, "PUT", "cash", "{\"value\":\"2\"}", text, sizeof text), 400);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "there is no setting 'cash'"));
    CU_ASSERT_EQUAL(ask(node, "PUT", "log-level", "{\"worth\":1}", text, sizeof text), 400);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "'value'"));
    CU_ASSERT_EQUAL(ask(node, "POST", "log-level", "{\"value\":\"info\"}", NULL, 0), 405);
    CU_ASSERT_EQUAL(ask(node, "GET", "", NULL, text, sizeof text), 200);
    CU_ASSERT_PTR_NULL(strstr(text, "\"source\":\"setting\""));
    gv_world_end(&world);
}

GV_SUITE("integration/settings",
         GV_CASE(a_setting_changes_decisions_on_all_nodes_until_it_is_unset),
         GV_CASE(a_setting_outlives_its_writer_and_reaches_who_comes_later),
         GV_CASE(what_makes_no_sense_is_refused_and_named))
