/* test_policies.c - a real node per policy: each one serves, and the headers that name a worker or
 * a key are obeyed where they should be. */
#include "grapevine/route/policy.h"
#include "support/suite.h"
#include "support/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORKERS 3

static struct gv_world world;

static struct gv_world_node *start_with(const char *policy, const char *role, const char *flag)
{
    const char *const flags[] = {"--policy", policy, flag, NULL};
    memset(&world, 0, sizeof world);
    for (int i = 0; i < WORKERS; i++) {
        gv_world_add_worker(&world, role);
    }
    if (strcmp(role, "prefill") == 0) {
        gv_world_add_worker(&world, "decode");
    }
    struct gv_world_node *node = gv_world_add_node(&world, flags);
    CU_ASSERT_TRUE_FATAL(gv_world_await_ready(&world));
    return node;
}

static struct gv_world_node *start(const char *policy, const char *role)
{
    return start_with(policy, role, NULL);
}

/* A chat with these header lines; who answered goes to `worker`, "" when nobody did. The one before
 * is over for the router as well: what it still counts may move this one, by the load bound. */
static int chat(struct gv_world_node *node, const char *headers, char *worker, size_t size)
{
    struct gv_reply reply;
    CU_ASSERT_TRUE(gv_world_await_idle(&world));
    char *body = gv_world_chat_body("the same question", false);
    gv_talk_ask(node->port, "POST", "/v1/chat/completions", headers, body, &reply);
    int status = reply.status;
    if (!gv_reply_header(&reply, "x-grapevine-worker", worker, size)) {
        worker[0] = '\0';
    }
    if (status != 200 && !gv_reply_header(&reply, "x-smg-error-code", worker, size)) {
        worker[0] = '\0';
    }
    gv_reply_deinit(&reply);
    free(body);
    return status;
}

static void every_policy_serves(void)
{
    for (const char *const *name = gv_policy_names(); *name != NULL; name++) {
        struct gv_world_node *node = start(*name, "regular");
        long served = 0;
        char prompt[1200];
        for (int i = 0; i < 6; i++) {
            gv_world_prompt(prompt, sizeof prompt, i);
            CU_ASSERT_EQUAL(gv_world_chat(node, prompt, NULL, 0), 200);
        }
        for (int i = 0; i < WORKERS; i++) {
            served += gv_world_stat(&world.workers[i], "requests");
        }
        CU_ASSERT_EQUAL(served, 6);
        gv_world_end(&world);
    }
}

static void every_policy_serves_pairs(void)
{
    for (const char *const *name = gv_policy_names(); *name != NULL; name++) {
        struct gv_world_node *node = start(*name, "prefill");
        char prompt[1200];
        for (int i = 0; i < 3; i++) {
            gv_world_prompt(prompt, sizeof prompt, i);
            CU_ASSERT_EQUAL(gv_world_chat(node, prompt, NULL, 0), 200);
        }
        gv_world_end(&world);
    }
}

static void a_routing_key_keeps_its_worker(void)
{
    static const char *const policies[] = {"manual", "consistent_hashing"};
    for (size_t i = 0; i < sizeof policies / sizeof policies[0]; i++) {
        struct gv_world_node *node = start(policies[i], "regular");
        uint32_t used = 0;
        for (int key = 0; key < 8; key++) {
            char headers[64];
            char first[128];
            char again[128];
            (void)snprintf(headers, sizeof headers, "X-SMG-Routing-Key: session-%d\r\n", key);
            CU_ASSERT_EQUAL(chat(node, headers, first, sizeof first), 200);
            for (int turn = 0; turn < 3; turn++) {
                CU_ASSERT_EQUAL(chat(node, headers, again, sizeof again), 200);
                CU_ASSERT_STRING_EQUAL(again, first);
            }
        }
        for (int w = 0; w < WORKERS; w++) {
            used += gv_world_stat(&world.workers[w], "requests") > 0 ? 1 : 0;
        }
        CU_ASSERT_TRUE(used > 1); /* all 8 on one of 3: once in 2,187 */
        gv_world_end(&world);
    }
}

static void a_target_is_obeyed_or_refused_by_name(void)
{
    struct gv_world_node *node = start("consistent_hashing", "regular");
    char headers[160];
    char worker[128];
    for (int i = 0; i < WORKERS; i++) {
        (void)snprintf(headers, sizeof headers, "X-SMG-Target-Worker: %s\r\n",
                       world.workers[i].url);
        CU_ASSERT_EQUAL(chat(node, headers, worker, sizeof worker), 200);
        CU_ASSERT_STRING_EQUAL(worker, world.workers[i].url);
    }
    CU_ASSERT_EQUAL(chat(node, "X-SMG-Target-Worker: 2\r\n", worker, sizeof worker), 200);
    CU_ASSERT_EQUAL(chat(node, "X-SMG-Target-Worker: 3\r\n", worker, sizeof worker), 503);
    CU_ASSERT_STRING_EQUAL(worker, "target_worker_unavailable");
    gv_world_end(&world);
}

/* One that dies is not replaced by another: the client asked for this one. */
static void a_target_that_fails_is_not_replaced(void)
{
    struct gv_world_node *node = start("consistent_hashing", "regular");
    char headers[160];
    char worker[128];
    (void)snprintf(headers, sizeof headers, "X-SMG-Target-Worker: %s\r\n", world.workers[1].url);
    gv_world_fault(&world.workers[1], "{\"kind\":\"error\",\"count\":100}");
    CU_ASSERT_NOT_EQUAL(chat(node, headers, worker, sizeof worker), 200);
    CU_ASSERT_EQUAL(gv_world_stat(&world.workers[0], "requests"), 0);
    CU_ASSERT_EQUAL(gv_world_stat(&world.workers[2], "requests"), 0);
    gv_world_end(&world);
}

/* Where round_robin would take turns, a key stays; a policy with a rule of its own keeps that. */
static void a_key_overrides_the_policy_where_it_is_told_to(void)
{
    static const struct {
        const char *policy;
        const char *decides;
    } rows[] = {{"round_robin", "manual"},
                {"prefix_cost", "manual"},
                {"consistent_hashing", "consistent_hashing"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct gv_world_node *node =
            start_with(rows[i].policy, "regular", "--routing-key-override");
        char *body = gv_world_chat_body("the same question", false);
        char first[128];
        char worker[128];
        char found[128];
        struct gv_reply reply;
        CU_ASSERT_EQUAL(chat(node, "X-SMG-Routing-Key: s1\r\n", first, sizeof first), 200);
        for (int n = 0; n < 5; n++) {
            CU_ASSERT_EQUAL(chat(node, NULL, worker, sizeof worker), 200); /* takes a turn */
            CU_ASSERT_EQUAL(chat(node, "X-SMG-Routing-Key: s1\r\n", worker, sizeof worker), 200);
            CU_ASSERT_STRING_EQUAL(worker, first);
        }
        gv_talk_ask(node->port, "POST", "/grapevine/v1/explain?routing_key=s1", NULL, body, &reply);
        CU_ASSERT_TRUE(gv_reply_text(&reply, "policy", found, sizeof found));
        CU_ASSERT_STRING_EQUAL(found, rows[i].decides);
        gv_reply_deinit(&reply);
        gv_talk_ask(node->port, "POST", "/grapevine/v1/explain", NULL, body, &reply);
        CU_ASSERT_TRUE(gv_reply_text(&reply, "policy", found, sizeof found));
        CU_ASSERT_STRING_EQUAL(found, rows[i].policy);
        gv_reply_deinit(&reply);
        free(body);
        gv_world_end(&world);
    }
}

static void explain_takes_the_headers_as_parameters(void)
{
    struct gv_world_node *node = start("consistent_hashing", "regular");
    char *body = gv_world_chat_body("the same question", false);
    char path[200];
    char found[128];
    char worker[128];
    struct gv_reply reply;
    (void)snprintf(path, sizeof path, "/grapevine/v1/explain?target_worker=1");
    gv_talk_ask(node->port, "POST", path, NULL, body, &reply);
    CU_ASSERT_TRUE(gv_reply_text(&reply, "rule", found, sizeof found));
    CU_ASSERT_STRING_EQUAL(found, "target");
    gv_reply_deinit(&reply);
    (void)snprintf(path, sizeof path, "/grapevine/v1/explain?target_worker=9");
    gv_talk_ask(node->port, "POST", path, NULL, body, &reply);
    CU_ASSERT_TRUE(gv_reply_text(&reply, "problem", found, sizeof found));
    CU_ASSERT_STRING_EQUAL(found, "target_worker_unavailable");
    CU_ASSERT_PTR_NOT_NULL(strstr(reply.body, "asked for '9'"));
    gv_reply_deinit(&reply);
    CU_ASSERT_EQUAL(chat(node, "X-SMG-Routing-Key: s1\r\n", worker, sizeof worker), 200);
    CU_ASSERT_TRUE(gv_world_await_idle(&world));
    gv_talk_ask(node->port, "POST", "/grapevine/v1/explain?routing_key=s1", NULL, body, &reply);
    CU_ASSERT_TRUE(gv_reply_text(&reply, "rule", found, sizeof found));
    CU_ASSERT_STRING_EQUAL(found, "sticky");
    CU_ASSERT_TRUE(gv_reply_text(&reply, "worker", found, sizeof found));
    CU_ASSERT_STRING_EQUAL(found, worker);
    gv_reply_deinit(&reply);
    free(body);
    gv_world_end(&world);
}

GV_SUITE("integration/policies", GV_CASE(every_policy_serves), GV_CASE(every_policy_serves_pairs),
         GV_CASE(a_routing_key_keeps_its_worker), GV_CASE(a_target_is_obeyed_or_refused_by_name),
         GV_CASE(a_target_that_fails_is_not_replaced),
         GV_CASE(a_key_overrides_the_policy_where_it_is_told_to),
         GV_CASE(explain_takes_the_headers_as_parameters))
