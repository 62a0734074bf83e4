/*
 * test_stories_prefill_decode.c - what users of LLM routers complained about when prefill and
 * decode ran apart: legs that waited for each other for minutes, fields a client could forge,
 * answers that lost a part. The comments name the public issue.
 *
 * The engines here wait a minute for their other leg, so whoever does not end the other leg fails.
 */
#include "support/suite.h"
#include "support/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NEVER "{\"kind\":\"hang_before_head\",\"count\":0}" /* until reset */

static const char *const patient[] = {"--pd-timeout-ms", "55000", NULL};
static const char *const one_attempt[] = {"--disable-retries", NULL};

static struct gv_world world;
static struct gv_world_worker *prefill; /* the first of them */
static struct gv_world_worker *decode;  /* the first of them */

static void add_engines(int prefills, int decodes)
{
    memset(&world, 0, sizeof world);
    world.worker_flags = patient;
    for (int i = 0; i < prefills; i++) {
        gv_world_add_worker(&world, "prefill");
    }
    for (int i = 0; i < decodes; i++) {
        gv_world_add_worker(&world, "decode");
    }
    prefill = &world.workers[0];
    decode = &world.workers[prefills];
}

static struct gv_world_node *start(int prefills, int decodes, const char *const *flags)
{
    add_engines(prefills, decodes);
    struct gv_world_node *node = gv_world_add_node(&world, flags);
    CU_ASSERT_TRUE_FATAL(gv_world_await_ready(&world));
    return node;
}

static int chat(struct gv_world_node *node, int seed)
{
    char prompt[900];
    gv_world_prompt(prompt, sizeof prompt, seed);
    return gv_world_chat(node, prompt, NULL, 0);
}

static bool metrics_say(struct gv_world_node *node, const char *text)
{
    struct gv_reply reply;
    gv_talk_ask(node->metrics_port, "GET", "/metrics", NULL, NULL, &reply);
    bool said = strstr(reply.body, text) != NULL;
    gv_reply_deinit(&reply);
    return said;
}

/* Has the engine given up every request that it got? A leg may end before its request is out. */
static bool gave_up_all(void *owner)
{
    struct gv_world_worker *worker = owner;
    return gv_world_stat(worker, "in_flight") == 0 &&
           gv_world_stat(worker, "aborted") == gv_world_stat(worker, "requests");
}

/*
 * One leg fails in each of these ways; the other is ended at once, and the failure is counted. The
 * closed connection comes first, while none is pooled: on one used before, it would count as one
 * that had died in the pool, and be replaced.
 */
static void fail_leg(struct gv_world_worker *failing, struct gv_world_worker *other)
{
    static const char *const faults[] = {
        "{\"kind\":\"close_before_head\"}",
        "{\"kind\":\"bad_http\"}",
        "{\"kind\":\"error\",\"status\":500}",
    };
    struct gv_world_node *node = start(1, 1, one_attempt);
    for (int i = 0; i < 3; i++) {
        struct gv_reply reply;
        gv_world_fault(failing, faults[i]);
        int fd = gv_world_send_chat(node, "tell me", i % 2 == 0);
        gv_talk_read(fd, &reply);
        CU_ASSERT_TRUE(reply.status == 500 || reply.status == 502);
        CU_ASSERT_TRUE(reply.whole);
        gv_reply_deinit(&reply);
        close(fd);
        CU_ASSERT_TRUE(gv_world_await_load(node, other->url, 0));
        CU_ASSERT_TRUE(gv_test_await(gave_up_all, other, 0));
    }
    char counter[160];
    snprintf(counter, sizeof counter,
             "gv_upstream_errors_total{worker=\"%s\",cause=\"closed\"} 1\n", failing->url);
    CU_ASSERT_TRUE(metrics_say(node, counter));
    CU_ASSERT_EQUAL(chat(node, 1), 200);
    CU_ASSERT_TRUE(gv_world_await_idle(&world));
    gv_world_end(&world);
}

/* sglang#9726, vllm-project/aibrix#2289: prefill had failed, silently, and decode waited for it for
 * ten minutes. */
static void a_prefill_that_fails_ends_decode_at_once_and_is_counted(void)
{
    fail_leg(&world.workers[0], &world.workers[1]);
}

/* sglang#29482: decode had failed, and the router waited for prefill until 1800 s had passed. */
static void a_decode_that_fails_ends_prefill_at_once_and_is_counted(void)
{
    fail_leg(&world.workers[1], &world.workers[0]);
}

/* sglang#29482, the wish in it: the pair is tried again on another decode worker. */
static void a_decode_worker_that_died_is_replaced_for_the_same_request(void)
{
    struct gv_world_node *node = start(1, 2, NULL);
    gv_process_kill(&decode[0].process);
    for (int i = 0; i < 20; i++) {
        CU_ASSERT_EQUAL(chat(node, i), 200);
    }
    CU_ASSERT_EQUAL(gv_world_stat(&decode[1], "finished"), 20);
    CU_ASSERT_TRUE(gv_world_await_idle(&world));
    gv_world_end(&world);
}

/* sglang#39428: whoever reached decode could name bootstrap hosts and rooms of his own. */
static void bootstrap_fields_of_a_client_never_reach_an_engine(void)
{
    static const char *const forged[] = {
        "\"bootstrap_host\":\"evil.example\",\"bootstrap_port\":7000000077,\"bootstrap_room\":"
        "7000000077,",
        "\"bootstrap_room\":7000000077,\"bootstrap_room\":70000000771,",
        "\"bootstrap\\u005froom\":7000000077,\"\\u0062ootstrap_host\":\"evil.example\",",
        "\"bootstrap_room\":[7000000077],\"bootstrap_host\":[\"evil.example\"],",
        "\"bootstrap_room\" : null , \"bootstrap_port\"\n:\t7000000077 ,",
    };
    struct gv_world_node *node = start(1, 1, one_attempt);
    for (size_t i = 0; i < sizeof forged / sizeof forged[0]; i++) {
        char body[600];
        struct gv_reply reply;
        snprintf(body, sizeof body,
                 "{\"model\":\"mock-model\",%s\"messages\":[{\"role\":\"user\",\"content\":\"go\"}]"
                 "}",
                 forged[i]);
        gv_talk_ask(node->port, "POST", "/v1/chat/completions", NULL, body, &reply);
        CU_ASSERT_EQUAL(reply.status, 200);
        gv_reply_deinit(&reply);
        for (size_t w = 0; w < world.worker_count; w++) {
            gv_talk_ask(world.workers[w].port, "GET", "/_mock/stats", NULL, NULL, &reply);
            CU_ASSERT_PTR_NOT_NULL(strstr(reply.body, "bootstrap_room"));
            CU_ASSERT_PTR_NULL(strstr(reply.body, "7000000077")); /* too long for a port of ours */
            CU_ASSERT_PTR_NULL(strstr(reply.body, "evil"));
            CU_ASSERT_PTR_NULL(strstr(reply.body, "\\\\u00"));
            gv_reply_deinit(&reply);
        }
    }
    gv_world_end(&world);
}

/* The text from "usage" on of an answer. */
static void usage_of(const struct gv_reply *reply, char *usage, size_t size)
{
    const char *at = strstr(reply->body, "\"usage\":");
    snprintf(usage, size, "%s", at == NULL ? "" : at);
}

/* Send a request straight to an engine, as half of a pair that meets in room 5. */
static int send_half(const struct gv_world_worker *engine, const char *prompt)
{
    char body[1500];
    char request[2000];
    snprintf(body, sizeof body,
             "{\"model\":\"mock-model\",\"max_tokens\":4,\"bootstrap_host\":\"127.0.0.1\","
             "\"bootstrap_port\":%u,\"bootstrap_room\":5,\"messages\":[{\"role\":\"user\","
             "\"content\":\"%s\"}]}",
             (unsigned)prefill->bootstrap_port, prompt);
    snprintf(request, sizeof request,
             "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
             "Content-Length: %zu\r\n\r\n%s",
             strlen(body), body);
    int fd = gv_talk_connect(engine->port);
    CU_ASSERT_TRUE_FATAL(gv_talk_send_text(fd, request));
    return fd;
}

/* sglang#10513: with prefill and decode apart, usage lost its prompt_tokens_details. */
static void usage_comes_as_the_engine_said_it(void)
{
    struct gv_world_node *node = start(1, 1, NULL);
    struct gv_reply reply;
    char prompt[900];
    char routed[600];
    char direct[600];
    gv_world_prompt(prompt, sizeof prompt, 3);
    CU_ASSERT_EQUAL(chat(node, 3), 200);

    int fd = gv_world_send_chat(node, prompt, false);
    gv_talk_read(fd, &reply);
    usage_of(&reply, routed, sizeof routed);
    CU_ASSERT_TRUE(gv_reply_number(&reply, "cached_tokens") > 0);
    gv_reply_deinit(&reply);
    close(fd);

    int side = send_half(prefill, prompt);
    fd = send_half(decode, prompt);
    gv_talk_read(fd, &reply);
    usage_of(&reply, direct, sizeof direct);
    CU_ASSERT_EQUAL(reply.status, 200);
    gv_reply_deinit(&reply);
    close(fd);
    close(side);
    CU_ASSERT_PTR_NOT_NULL(strstr(direct, "prompt_tokens_details"));
    CU_ASSERT_STRING_EQUAL(routed, direct);
    gv_world_end(&world);
}

/* vllm-project/router#113: streams did not work with prefill and decode at first. */
static void a_stream_of_a_pair_flows_token_by_token_to_its_end(void)
{
    struct gv_world_node *node = start(1, 1, NULL);
    struct gv_reply reply;
    char seen[8192];
    int fd = gv_world_send_chat(node, "tell me", true);
    gv_talk_read(fd, &reply);
    CU_ASSERT_TRUE(reply.whole);
    CU_ASSERT_PTR_NOT_NULL(strstr(reply.head, "text/event-stream"));
    CU_ASSERT_PTR_NOT_NULL(strstr(reply.body, "data: [DONE]\n\n"));
    gv_reply_deinit(&reply);
    close(fd);

    gv_world_fault(decode, "{\"kind\":\"hang_mid_stream\",\"after_bytes\":500}");
    fd = gv_world_send_chat(node, "tell me", true);
    CU_ASSERT_TRUE(gv_talk_read_until(fd, "{\"content\":\" the\"}", seen, sizeof seen));
    CU_ASSERT_PTR_NULL(strstr(seen, "[DONE]"));
    CU_ASSERT_EQUAL(gv_world_stat(decode, "finished"), 1);
    gv_talk_reset(fd);
    CU_ASSERT_TRUE(gv_world_await_stat(decode, "aborted", 1));
    CU_ASSERT_TRUE(gv_world_await_idle(&world));
    gv_world_end(&world);
}

/* ai-dynamo/dynamo#14775: the client had left before the first token, and prefill ran on. */
static void a_client_that_leaves_before_the_first_token_ends_both_legs(void)
{
    struct gv_world_node *node = start(1, 1, NULL);
    for (int i = 0; i < 4; i++) {
        gv_world_fault(prefill, "{\"kind\":\"hang_before_head\"}");
        int fd = gv_world_send_chat(node, "tell me", i < 2);
        CU_ASSERT_TRUE(gv_world_await_stat(prefill, "requests", i + 1));
        CU_ASSERT_TRUE(gv_world_await_stat(decode, "requests", i + 1));
        CU_ASSERT_EQUAL(gv_world_load(node, prefill->url), 1);
        CU_ASSERT_EQUAL(gv_world_load(node, decode->url), 1);
        if (i % 2 == 0) {
            close(fd);
        } else {
            gv_talk_reset(fd);
        }
        CU_ASSERT_TRUE(gv_world_await_stat(prefill, "aborted", i + 1));
        CU_ASSERT_TRUE(gv_world_await_stat(decode, "aborted", i + 1));
        CU_ASSERT_TRUE(gv_world_await_idle(&world));
    }
    gv_world_end(&world);
}

/* vllm-project/vllm-ascend#15249: at a low rate everything went to the first prefill worker. */
static void at_a_low_rate_all_prefill_workers_are_used(void)
{
    struct gv_world_node *node = start(3, 2, NULL);
    for (int i = 0; i < 240; i++) {
        CU_ASSERT_EQUAL(chat(node, i), 200);
    }
    for (size_t i = 0; i < 3; i++) { /* a fair share is 80 */
        CU_ASSERT_TRUE(gv_world_stat(&prefill[i], "finished") >= 40);
        CU_ASSERT_TRUE(gv_world_stat(&prefill[i], "finished") <= 120);
    }
    CU_ASSERT_TRUE(gv_world_stat(&decode[0], "finished") >= 75); /* a fair share is 120 */
    CU_ASSERT_TRUE(gv_world_stat(&decode[1], "finished") >= 75);
    gv_world_end(&world);
}

/* sglang#27547: prefill loads were counted when decode answered, so while prefill was slow they all
 * read 0 and the first worker got everything. */
static void slow_prefills_are_counted_while_nothing_has_answered(void)
{
    enum {
        CLIENTS = 24
    };
    struct gv_world_node *node = start(2, 1, NULL);
    int fds[CLIENTS];
    gv_world_fault(&prefill[0], NEVER);
    gv_world_fault(&prefill[1], NEVER);
    for (int i = 0; i < CLIENTS; i++) {
        char prompt[900];
        gv_world_prompt(prompt, sizeof prompt, i);
        fds[i] = gv_world_send_chat(node, prompt, true);
        CU_ASSERT_TRUE(gv_world_await_sum(&world, "requests", 2 * (i + 1)));
    }
    CU_ASSERT_EQUAL(gv_world_load(node, prefill[0].url) + gv_world_load(node, prefill[1].url),
                    CLIENTS);
    CU_ASSERT_TRUE(gv_world_stat(&prefill[0], "requests") >= 7);
    CU_ASSERT_TRUE(gv_world_stat(&prefill[1], "requests") >= 7);
    for (int i = 0; i < CLIENTS; i++) {
        close(fds[i]);
    }
    CU_ASSERT_TRUE(gv_world_await_idle(&world));
    gv_world_end(&world);
}

/* sglang#9926: a router of pairs that had rested for hours failed the first requests. */
static void dead_pooled_connections_of_both_legs_are_replaced_silently(void)
{
    struct gv_world_node *node = start(1, 1, one_attempt);
    for (int i = 0; i < 30; i++) {
        CU_ASSERT_EQUAL(chat(node, i), 200);
        gv_world_order(prefill, "restart");
        gv_world_order(decode, "restart");
    }
    CU_ASSERT_EQUAL(gv_world_stat(decode, "finished"), 30);
    gv_world_end(&world);
}

/* sglang#15473: whatever happens to either leg, no load stays counted that nobody carries. */
static void after_a_storm_over_pairs_no_load_is_left_behind(void)
{
    enum {
        BATCHES = 6,
        CLIENTS = 30
    };
    static const char *const flags[] = {"--first-byte-timeout-secs",
                                        "0.5",
                                        "--stream-idle-timeout-secs",
                                        "0.5",
                                        "--retry-initial-backoff-ms",
                                        "5",
                                        "--cb-timeout-duration-secs",
                                        "0.2",
                                        NULL};
    static const char *const faults[] = {
        "{\"kind\":\"error\",\"status\":500}",
        "{\"kind\":\"close_before_head\"}",
        "{\"kind\":\"hang_before_head\"}",
        "{\"kind\":\"close_mid_stream\",\"after_bytes\":100}",
        "{\"kind\":\"bad_http\"}",
        "{\"kind\":\"hang_mid_stream\",\"after_bytes\":100}",
    };
    struct gv_world_node *node = start(2, 2, flags);
    int answered = 0;
    for (size_t batch = 0; batch < BATCHES; batch++) {
        int fds[CLIENTS];
        for (size_t i = 0; i < 4; i++) {
            gv_world_order(&world.workers[i], "reset");
            gv_world_fault(&world.workers[i], faults[(batch + i) % 6]);
            gv_world_fault(&world.workers[i], faults[(batch + 2 * i + 3) % 6]);
        }
        for (int i = 0; i < CLIENTS; i++) {
            char prompt[600];
            gv_world_prompt(prompt, sizeof prompt, (int)batch * CLIENTS + i);
            fds[i] = gv_world_send_chat(node, prompt, i % 2 == 0);
        }
        for (int i = 0; i < CLIENTS; i++) {
            if (i % 3 == 1) {
                gv_talk_reset(fds[i]);
                continue;
            }
            struct gv_reply reply;
            gv_talk_read(fds[i], &reply);
            answered += reply.status == 200 && reply.whole;
            gv_reply_deinit(&reply);
            close(fds[i]);
        }
    }
    CU_ASSERT_TRUE(answered > BATCHES * CLIENTS / 4);
    CU_ASSERT_TRUE(gv_world_await_idle(&world));
    gv_world_end(&world);
}

static bool has_prefill_ready(void *owner)
{
    return gv_world_number(owner, "/grapevine/v1/status", "\"prefill\"", "ready") == 1;
}

/* vllm-project/aibrix#1351: "failed to select worker pair", and no word of why. */
static void without_a_decode_worker_the_error_names_pool_and_states(void)
{
    add_engines(1, 1);
    gv_world_fault(decode, "{\"kind\":\"health_down\",\"count\":0}");
    struct gv_world_node *node = gv_world_add_node(&world, NULL);
    CU_ASSERT_TRUE_FATAL(gv_test_await(has_prefill_ready, node, 0));
    CU_ASSERT_TRUE_FATAL(gv_world_await_started(node));
    struct gv_reply reply;
    int fd = gv_world_send_chat(node, "tell me", false);
    gv_talk_read(fd, &reply);
    CU_ASSERT_EQUAL(reply.status, 503);
    CU_ASSERT_PTR_NOT_NULL(strstr(reply.body, "pool decode, model 'mock-model': 1 of 1 workers"));
    CU_ASSERT_PTR_NULL(strstr(reply.body, "1 ready"));
    CU_ASSERT_PTR_NOT_NULL(strstr(reply.body, "server_selection_failed"));
    gv_reply_deinit(&reply);
    close(fd);
    gv_talk_ask(node->port, "GET", "/readiness", NULL, NULL, &reply);
    CU_ASSERT_EQUAL(reply.status, 503);
    gv_reply_deinit(&reply);
    CU_ASSERT_EQUAL(gv_world_sum(&world, "requests"), 0);
    gv_world_order(decode, "reset");
    CU_ASSERT_TRUE(gv_world_await_ready(&world));
    CU_ASSERT_EQUAL(chat(node, 1), 200);
    gv_world_end(&world);
}

/* vllm-project/router#159: keys were lost in prefill/decode mode. Each leg shows its own engine's,
 * and neither the client's. */
static void each_leg_shows_the_key_of_its_own_engine(void)
{
    static const char *const first[] = {"--worker-api-key", "for-prefill", NULL};
    static const char *const second[] = {"--worker-api-key", "for-decode", NULL};
    memset(&world, 0, sizeof world);
    world.worker_flags = first;
    prefill = gv_world_add_worker(&world, "prefill");
    world.worker_flags = second;
    decode = gv_world_add_worker(&world, "decode");
    struct gv_world_node *node = gv_world_add_node(&world, first);
    CU_ASSERT_TRUE_FATAL(gv_world_await_started(node));

    char id[64];
    char path[96];
    struct gv_reply reply;
    const char *client = "Authorization: Bearer client-secret\r\n";
    gv_world_worker_id(node, decode->url, id);
    snprintf(path, sizeof path, "/workers/%s", id);
    gv_talk_ask(node->port, "PATCH", path, client, "{\"api_key\":\"for-decode\"}", &reply);
    CU_ASSERT_EQUAL(reply.status, 202);
    gv_reply_deinit(&reply);
    CU_ASSERT_TRUE_FATAL(gv_world_await_ready(&world));

    char *body = gv_world_chat_body("tell me", false);
    gv_talk_ask(node->port, "POST", "/v1/chat/completions", client, body, &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    gv_reply_deinit(&reply);
    free(body);
    CU_ASSERT_TRUE(gv_world_was_sent(prefill, "[\"Authorization\",\"Bearer for-prefill\"]"));
    CU_ASSERT_TRUE(gv_world_was_sent(decode, "[\"Authorization\",\"Bearer for-decode\"]"));
    CU_ASSERT_FALSE(gv_world_was_sent(prefill, "client-secret"));
    CU_ASSERT_FALSE(gv_world_was_sent(decode, "client-secret"));
    gv_world_end(&world);
}

GV_SUITE("integration/stories_prefill_decode",
         GV_CASE(a_prefill_that_fails_ends_decode_at_once_and_is_counted),
         GV_CASE(a_decode_that_fails_ends_prefill_at_once_and_is_counted),
         GV_CASE(a_decode_worker_that_died_is_replaced_for_the_same_request),
         GV_CASE(bootstrap_fields_of_a_client_never_reach_an_engine),
         GV_CASE(usage_comes_as_the_engine_said_it),
         GV_CASE(a_stream_of_a_pair_flows_token_by_token_to_its_end),
         GV_CASE(a_client_that_leaves_before_the_first_token_ends_both_legs),
         GV_CASE(at_a_low_rate_all_prefill_workers_are_used),
         GV_CASE(slow_prefills_are_counted_while_nothing_has_answered),
         GV_CASE(dead_pooled_connections_of_both_legs_are_replaced_silently),
         GV_CASE(after_a_storm_over_pairs_no_load_is_left_behind),
         GV_CASE(without_a_decode_worker_the_error_names_pool_and_states),
         GV_CASE(each_leg_shows_the_key_of_its_own_engine))
