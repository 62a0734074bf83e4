/*
 * test_pair_turns.c - pairs in vLLM's way: prefill first, then decode with what it returned.
 */
#include "support/suite.h"
#include "support/world.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *const engines[] = {"--pd-protocol", "vllm", NULL};
static const char *const calm[] = {"--pd-protocol", "vllm", "--disable-retries", NULL};
static const char *const tries[] = {"--pd-protocol", "vllm", "--retry-max-retries", "3", NULL};
static const char *const hasty[] = {"--pd-protocol",
                                    "vllm",
                                    "--disable-retries",
                                    "--prefill-first-byte-timeout-secs",
                                    "1",
                                    "--decode-first-byte-timeout-secs",
                                    "1",
                                    NULL};

#define CHAT "/v1/chat/completions"
#define FORGED                                                                                     \
    "{\"kv_transfer_params\":{\"evil\":1},\"stream\":%s,\"max_tokens\":5,%s\"messages\":["         \
    "{\"role\":\"user\",\"content\":\"tell me\"}]}"

static struct gv_world world;
static struct gv_world_worker *prefill;
static struct gv_world_worker *decode;

static struct gv_world_node *start(const char *const *flags)
{
    memset(&world, 0, sizeof world);
    world.worker_flags = engines;
    prefill = gv_world_add_worker(&world, "prefill");
    decode = gv_world_add_worker(&world, "decode");
    struct gv_world_node *node = gv_world_add_node(&world, flags);
    CU_ASSERT_TRUE_FATAL(gv_world_await_ready(&world));
    return node;
}

static void decode_gets_what_prefill_returned_streamed_or_not(void)
{
    struct gv_world_node *node = start(calm);
    for (int i = 0; i < 2; i++) {
        struct gv_reply reply;
        char body[256];
        snprintf(body, sizeof body, FORGED, i == 0 ? "true" : "false",
                 i == 0 ? "\"stream_options\":{\"include_usage\":true}," : "");
        gv_talk_ask(node->port, "POST", CHAT, NULL, body, &reply);
        CU_ASSERT_EQUAL(reply.status, 200);
        CU_ASSERT_TRUE(reply.whole);
        CU_ASSERT_EQUAL(gv_reply_number(&reply, "completion_tokens"), 5);
        CU_ASSERT_EQUAL(strstr(reply.body, "data: [DONE]") != NULL, i == 0);
        CU_ASSERT_PTR_NULL(strstr(reply.body, "kv_transfer_params"));
        gv_reply_deinit(&reply);
        CU_ASSERT_TRUE(gv_world_was_sent(prefill, "do_remote_decode"));
        CU_ASSERT_FALSE(gv_world_was_sent(prefill, "evil"));
        CU_ASSERT_FALSE(gv_world_was_sent(prefill, "bootstrap_room"));
        CU_ASSERT_TRUE(gv_world_was_sent(decode, "remote_engine_id"));
        CU_ASSERT_FALSE(gv_world_was_sent(decode, "evil"));
        CU_ASSERT_EQUAL(gv_world_stat(prefill, "output_tokens"), i + 1);
    }
    CU_ASSERT_TRUE(gv_world_await_idle(&world));
    gv_world_end(&world);
}

/* An answer has one kv_transfer_params, whatever number of prompts it is for: those of one prompt
 * must not be used for the others. */
static void of_one_prompt_in_an_array_the_kv_is_handed_over_and_of_two_it_is_not(void)
{
    static const char *const prompts[] = {"[\"tell me\"]", "[\"tell me\",\"tell us\"]"};
    struct gv_world_node *node = start(calm);
    for (int i = 0; i < 2; i++) {
        struct gv_reply reply;
        char body[128];
        snprintf(body, sizeof body, "{\"prompt\":%s,\"max_tokens\":5}", prompts[i]);
        gv_talk_ask(node->port, "POST", "/v1/completions", NULL, body, &reply);
        CU_ASSERT_EQUAL(reply.status, 200);
        gv_reply_deinit(&reply);
        CU_ASSERT_TRUE(gv_world_was_sent(prefill, "do_remote_decode"));
        CU_ASSERT_EQUAL(gv_world_was_sent(decode, "remote_engine_id"), i == 0);
    }
    CU_ASSERT_TRUE(gv_world_await_idle(&world));
    gv_world_end(&world);
}

/* The client gets `status`, and decode was asked `decodes` times in all. */
static void fails(struct gv_world_node *node, struct gv_world_worker *worker, const char *fault,
                  int status, long decodes)
{
    struct gv_reply reply;
    gv_world_fault(worker, fault);
    int fd = gv_world_send_chat(node, "tell me", true);
    gv_talk_read(fd, &reply);
    CU_ASSERT_EQUAL(reply.status, status);
    gv_reply_deinit(&reply);
    close(fd);
    gv_world_order(worker, "reset");
    CU_ASSERT_TRUE(gv_world_await_idle(&world));
    CU_ASSERT_EQUAL(gv_world_stat(decode, "requests"), decodes);
}

static void decode_is_not_asked_when_prefill_fails(void)
{
    struct gv_world_node *node = start(calm);
    fails(node, prefill, "{\"kind\":\"error\",\"status\":400,\"count\":0}", 400, 0);
    fails(node, prefill, "{\"kind\":\"error\",\"status\":429,\"count\":0}", 429, 0);
    fails(node, prefill, "{\"kind\":\"error\",\"status\":500,\"count\":0}", 502, 0);
    fails(node, prefill, "{\"kind\":\"close_before_head\",\"count\":0}", 502, 0);
    fails(node, prefill, "{\"kind\":\"close_mid_stream\",\"after_bytes\":10,\"count\":0}", 502, 0);
    fails(node, prefill, "{\"kind\":\"garbage_length\",\"count\":0}", 502, 0);
    gv_world_end(&world);
    node = start(hasty);
    fails(node, prefill, "{\"kind\":\"hang_before_head\",\"count\":0}", 504, 0);
    gv_world_end(&world);
}

static void decode_fails_behind_a_good_prefill_and_is_named(void)
{
    struct gv_world_node *node = start(calm);
    fails(node, decode, "{\"kind\":\"error\",\"status\":500,\"count\":0}", 500, 0);
    fails(node, decode, "{\"kind\":\"close_before_head\",\"count\":0}", 502, 0);
    fails(node, decode, "{\"kind\":\"bad_http\",\"count\":0}", 502, 0);
    CU_ASSERT_EQUAL(gv_world_stat(prefill, "finished"), 3);
    gv_world_end(&world);
    node = start(hasty);
    fails(node, decode, "{\"kind\":\"hang_before_head\",\"count\":0}", 504, 0);
    gv_world_end(&world);
}

static void a_pair_is_tried_again_from_prefill_on(void)
{
    struct gv_world_node *node = start(tries);
    fails(node, prefill, "{\"kind\":\"error\",\"status\":429,\"count\":1}", 200, 1);
    fails(node, decode, "{\"kind\":\"error\",\"status\":429,\"count\":2}", 200, 0);
    CU_ASSERT_TRUE(gv_world_stat(prefill, "finished") >= 2);
    gv_world_end(&world);
}

static void a_client_that_leaves_while_prefill_works_ends_it_and_decode_is_never_asked(void)
{
    struct gv_world_node *node = start(calm);
    gv_world_fault(prefill, "{\"kind\":\"hang_before_head\",\"count\":0}");
    int fd = gv_world_send_chat(node, "tell me", true);
    CU_ASSERT_TRUE(gv_world_await_stat(prefill, "in_flight", 1));
    close(fd);
    CU_ASSERT_TRUE(gv_world_await_stat(prefill, "aborted", 1));
    CU_ASSERT_EQUAL(gv_world_stat(decode, "requests"), 0);
    CU_ASSERT_TRUE(gv_world_await_idle(&world));
    gv_world_end(&world);
}

GV_SUITE("integration/pair_turns", GV_CASE(decode_gets_what_prefill_returned_streamed_or_not),
         GV_CASE(of_one_prompt_in_an_array_the_kv_is_handed_over_and_of_two_it_is_not),
         GV_CASE(decode_is_not_asked_when_prefill_fails),
         GV_CASE(decode_fails_behind_a_good_prefill_and_is_named),
         GV_CASE(a_pair_is_tried_again_from_prefill_on),
         GV_CASE(a_client_that_leaves_while_prefill_works_ends_it_and_decode_is_never_asked))
