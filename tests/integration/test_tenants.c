/*
 * test_tenants.c - keys of tenants and limits that three real nodes keep together.
 *
 * How many requests pass is compared with the time that really passed, so a slow machine asks
 * less and finds nothing wrong.
 */
#include "support/suite.h"
#include "support/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RATE 40

static const char *const flags[] = {"--tenant-api-keys",
                                    "acme:sk-acme",
                                    "--tenant-api-keys",
                                    "umbrella:sk-umb",
                                    "--tenant-rate-limit",
                                    "acme=40",
                                    "--policy",
                                    "round_robin",
                                    "--max-tree-size",
                                    "1MiB",
                                    NULL};

static double now_s(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static int ask(struct gv_world_node *node, const char *key, struct gv_reply *reply)
{
    char header[100] = "";
    if (key != NULL) {
        (void)snprintf(header, sizeof header, "Authorization: Bearer %s\r\n", key);
    }
    char *body = gv_world_chat_body("hello", false);
    gv_talk_ask(node->port, "POST", "/v1/chat/completions", header, body, reply);
    free(body);
    return reply->status;
}

static int status_of(struct gv_world_node *node, const char *key)
{
    struct gv_reply reply;
    int status = ask(node, key, &reply);
    gv_reply_deinit(&reply);
    return status;
}

/* What a node lets acme send, in requests per second; -1 when it does not say. */
static double share_of(struct gv_world_node *node)
{
    struct gv_reply reply;
    static const char line[] = "gv_tenant_share{tenant=\"acme\"} ";
    gv_talk_ask(node->metrics_port, "GET", "/metrics", NULL, NULL, &reply);
    const char *at = reply.body == NULL ? NULL : strstr(reply.body, line);
    double share = at == NULL ? -1 : strtod(at + sizeof line - 1, NULL);
    gv_reply_deinit(&reply);
    return share;
}

static bool has_third(void *owner)
{
    double share = share_of(owner);
    return share > RATE / 3.0 - 0.1 && share < RATE / 3.0 + 0.1;
}

static void start_three(struct gv_world *world)
{
    memset(world, 0, sizeof *world);
    gv_world_add_worker(world, "regular");
    for (int i = 0; i < 3; i++) {
        gv_world_add_node(world, flags);
    }
    CU_ASSERT_TRUE_FATAL(gv_world_await_ready(world));
    for (int i = 0; i < 3; i++) { /* and they know each other */
        CU_ASSERT_TRUE_FATAL(gv_test_await(has_third, &world->nodes[i], 0));
    }
}

static void a_tenants_key_serves_and_administers_nothing(void)
{
    struct gv_world world;
    struct gv_reply reply;
    start_three(&world);
    CU_ASSERT_EQUAL(status_of(&world.nodes[0], "sk-acme"), 200);
    CU_ASSERT_EQUAL(status_of(&world.nodes[0], "sk-umb"), 200);
    CU_ASSERT_EQUAL(status_of(&world.nodes[0], "sk-acm"), 401);
    CU_ASSERT_EQUAL(status_of(&world.nodes[0], "acme:sk-acme"), 401);
    CU_ASSERT_EQUAL(status_of(&world.nodes[0], NULL), 401);
    gv_talk_ask(world.nodes[0].metrics_port, "GET", "/workers", "Authorization: Bearer sk-acme\r\n",
                NULL, &reply);
    CU_ASSERT_EQUAL(reply.status, 401);
    gv_reply_deinit(&reply);
    gv_world_end(&world);
}

/* Ask node after node, `streak` times each, `asks` times in all. */
static long spend(struct gv_world *world, int streak, long asks, double *passed_s, long *refused)
{
    long admitted = 0;
    double from_s = now_s();
    for (long i = 0; i < asks; i++) {
        struct gv_reply reply;
        int status = ask(&world->nodes[i / streak % 3], "sk-acme", &reply);
        CU_ASSERT_TRUE(status == 200 || status == 429);
        if (status == 429) {
            *refused += 1;
            CU_ASSERT_PTR_NOT_NULL(strstr(reply.head, "Retry-After: "));
            CU_ASSERT_PTR_NOT_NULL(strstr(reply.body, "tenant_rate_limited"));
        }
        admitted += status == 200;
        gv_reply_deinit(&reply);
    }
    *passed_s = now_s() - from_s;
    return admitted;
}

/* One second's worth was there at the beginning, and one request a node more. */
static void all_nodes_together_let_through_what_one_would(void)
{
    struct gv_world world;
    start_three(&world);
    double passed_s;
    long refused = 0;
    long admitted = spend(&world, 1, 1500, &passed_s, &refused);
    printf("  in turns: %ld of 1500 in %.2f s\n", admitted, passed_s);
    CU_ASSERT_TRUE((double)admitted <= 1.05 * RATE * passed_s + RATE + 3);
    CU_ASSERT_TRUE(admitted > 0 && admitted + refused == 1500);
    admitted = spend(&world, 500, 1500, &passed_s, &refused); /* from node to node */
    printf("  in streaks: %ld of 1500 in %.2f s\n", admitted, passed_s);
    CU_ASSERT_TRUE((double)admitted <= 1.05 * RATE * passed_s + RATE + 3);
    CU_ASSERT_EQUAL(status_of(&world.nodes[0], "sk-umb"), 200); /* without a limit */
    gv_world_end(&world);
}

static bool has_most(void *owner)
{
    (void)status_of(owner, "sk-acme");
    return share_of(owner) > 0.9 * RATE;
}

static bool has_all(void *owner)
{
    return share_of(owner) == RATE;
}

static void who_alone_is_asked_gets_nearly_all_and_who_is_alone_gets_all(void)
{
    struct gv_world world;
    start_three(&world);
    CU_ASSERT_TRUE(gv_test_await(has_most, &world.nodes[1], 0));
    gv_process_kill(&world.nodes[0].process);
    gv_process_kill(&world.nodes[2].process);
    CU_ASSERT_TRUE(gv_test_await(has_all, &world.nodes[1], 0));
    gv_world_end(&world);
}

GV_SUITE("integration/tenants", GV_CASE(a_tenants_key_serves_and_administers_nothing),
         GV_CASE(all_nodes_together_let_through_what_one_would),
         GV_CASE(who_alone_is_asked_gets_nearly_all_and_who_is_alone_gets_all))
