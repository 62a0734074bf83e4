/*
 * test_vinectl.c - the CLI against real nodes: verdict lines, exit codes.
 */
#include "support/suite.h"
#include "support/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARGS(...) ((const char *const[]){__VA_ARGS__, NULL})

static char last[2000]; /* line of the last run's output */

/* Run vinectl against a port; its exit code. */
static int run(uint16_t port, const char *const *args)
{
    struct gv_process vinectl;
    char endpoint[64];
    const char *argv[16] = {"vinectl", "--endpoint", endpoint};
    snprintf(endpoint, sizeof endpoint, "http://127.0.0.1:%u", (unsigned)port);
    for (int i = 0; args[i] != NULL && i < 12; i++) {
        argv[3 + i] = args[i];
    }
    CU_ASSERT_TRUE_FATAL(gv_process_start(&vinectl, "vinectl", argv));
    int code = gv_process_wait(&vinectl);
    FILE *file = fopen(vinectl.log, "re");
    char line[sizeof last];
    last[0] = '\0';
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        snprintf(last, sizeof last, "%s", line);
    }
    if (file != NULL) {
        fclose(file);
    }
    return code;
}

static bool said(const char *words)
{
    bool found = strstr(last, words) != NULL;
    if (!found) {
        printf("expected '%s' in: %s\n", words, last);
    }
    return found;
}

static void any_node_shows_the_whole_cluster_and_ends_with_a_verdict(void)
{
    struct gv_world world = {.node_count = 0};
    gv_world_add_worker(&world, "regular");
    gv_world_add_worker(&world, "regular");
    for (int i = 0; i < 3; i++) {
        gv_world_add_node(&world, NULL);
    }
    CU_ASSERT_TRUE_FATAL(gv_world_await_members(&world, 3));
    CU_ASSERT_TRUE_FATAL(gv_world_await_ready(&world));
    CU_ASSERT_EQUAL(gv_world_chat(&world.nodes[0], "some words to remember", NULL, 0), 200);
    CU_ASSERT_TRUE_FATAL(gv_world_await_agreement(&world));
    for (int i = 0; i < 3; i++) {
        uint16_t port = i < 2 ? world.nodes[i].port : world.nodes[i].metrics_port;
        CU_ASSERT_EQUAL(run(port, ARGS("status")), 0);
        CU_ASSERT_TRUE(said("healthy: 3 nodes"));
        CU_ASSERT_TRUE(said("2 of 2 workers ready"));
    }
    uint16_t port = world.nodes[1].port;
    CU_ASSERT_EQUAL(run(port, ARGS("nodes")), 0);
    CU_ASSERT_TRUE(said("healthy: 3 of 3 nodes alive"));
    CU_ASSERT_EQUAL(run(port, ARGS("workers")), 0);
    CU_ASSERT_TRUE(said("healthy: 2 of 2 workers ready"));
    CU_ASSERT_EQUAL(run(port, ARGS("tree")), 0);
    CU_ASSERT_TRUE(said("healthy: 1 tries"));
    CU_ASSERT_EQUAL(run(port, ARGS("diff", "--deep")), 0);
    CU_ASSERT_TRUE(said("healthy: all 3 nodes"));

    char path[200];
    snprintf(path, sizeof path, "%s/request.json", gv_test_folder());
    FILE *file = fopen(path, "we");
    char *body = gv_world_chat_body("some words to remember", false);
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    fputs(body, file);
    fclose(file);
    free(body);
    CU_ASSERT_EQUAL(run(port, ARGS("explain", path)), 0);
    CU_ASSERT_TRUE(said("healthy: all 3 nodes that answered choose http://"));

    gv_process_kill(&world.nodes[2].process);
    CU_ASSERT_TRUE(gv_world_await_members(&world, 2));
    CU_ASSERT_EQUAL(run(port, ARGS("status")), 1);
    CU_ASSERT_TRUE(said("DEGRADED: 1 of 3 nodes are not alive"));
    gv_world_end(&world);
}

static void a_mistake_in_the_call_names_itself_and_exits_with_2(void)
{
    CU_ASSERT_EQUAL(run(1, ARGS("stats")), 2);
    CU_ASSERT_TRUE(said("there is no command 'stats'"));
    CU_ASSERT_EQUAL(run(1, ARGS("--colour", "status")), 2);
    CU_ASSERT_TRUE(said("unknown flag '--colour'"));
    CU_ASSERT_EQUAL(run(1, ARGS("--timeout", "0.09", "status")), 2);
    CU_ASSERT_TRUE(said("0.1 to 600"));
    CU_ASSERT_EQUAL(run(1, ARGS("--timeout", "601", "status")), 2);
    CU_ASSERT_EQUAL(run(1, ARGS("explain")), 2);
}

static void a_silent_node_exits_with_3(void)
{
    CU_ASSERT_EQUAL(run(1, ARGS("status")), 3);
    CU_ASSERT_TRUE(said("http://127.0.0.1:1"));
}

static void a_cluster_with_a_key_asks_for_it(void)
{
    struct gv_world world = {.node_count = 0};
    char path[200];
    snprintf(path, sizeof path, "%s/api.key", gv_test_folder());
    FILE *file = fopen(path, "we");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    fputs("sesame\n", file);
    fclose(file);
    gv_world_add_worker(&world, "regular");
    struct gv_world_node *node = gv_world_add_node(&world, ARGS("--api-key", "sesame"));
    CU_ASSERT_TRUE_FATAL(gv_world_await_ready(&world));
    CU_ASSERT_EQUAL(run(node->port, ARGS("workers")), 5);
    CU_ASSERT_EQUAL(run(node->port, ARGS("--api-key-file", path, "workers")), 0);
    CU_ASSERT_EQUAL(gv_world_chat(node, "no key", NULL, 0), 401);
    gv_world_end(&world);
}

static void keys_are_made_with_mode_0600_and_never_overwritten(void)
{
    char path[200];
    snprintf(path, sizeof path, "%s/mesh.keys", gv_test_folder());
    CU_ASSERT_EQUAL(run(1, ARGS("keys", "generate", path)), 0);
    CU_ASSERT_TRUE(said("--mesh-keyring"));
    CU_ASSERT_EQUAL(run(1, ARGS("keys", "generate", path)), 2);
    CU_ASSERT_TRUE(said("never overwritten"));
}

GV_SUITE("integration/vinectl", GV_CASE(any_node_shows_the_whole_cluster_and_ends_with_a_verdict),
         GV_CASE(a_mistake_in_the_call_names_itself_and_exits_with_2),
         GV_CASE(a_silent_node_exits_with_3), GV_CASE(a_cluster_with_a_key_asks_for_it),
         GV_CASE(keys_are_made_with_mode_0600_and_never_overwritten))
