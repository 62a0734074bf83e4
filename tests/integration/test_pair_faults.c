/*
 * test_pair_faults.c - each way in which either leg of a pair can fail, at each moment.
 *
 * One row, one test: the leg, the fault, and what the client gets. After each, nothing is in flight
 * and the same pair serves. What hangs is asked of a node that is in a hurry; all else of one that
 * is not, so that no row depends on how fast the machine is.
 */
#include "support/suite.h"
#include "support/world.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *const patient[] = {"--pd-timeout-ms", "55000", NULL};
static const char *const calm[] = {"--disable-retries", "--disable-circuit-breaker", NULL};
static const char *const hasty[] = {"--disable-retries",
                                    "--disable-circuit-breaker",
                                    "--prefill-first-byte-timeout-secs",
                                    "1",
                                    "--decode-first-byte-timeout-secs",
                                    "2",
                                    "--stream-idle-timeout-secs",
                                    "1",
                                    NULL};

static struct gv_world world;

static void begin(void)
{
    if (world.node_count > 0) {
        return;
    }
    world.worker_flags = patient;
    gv_world_add_worker(&world, "prefill");
    gv_world_add_worker(&world, "decode");
    gv_world_add_node(&world, calm);
    gv_world_add_node(&world, hasty);
    CU_ASSERT_TRUE_FATAL(gv_world_await_ready(&world));
}

static bool listens(void *owner)
{
    struct gv_world_worker *worker = owner;
    int fd = gv_talk_connect(worker->port);
    if (fd >= 0) {
        close(fd);
    }
    return fd >= 0;
}

/* `leg` fails so: the client gets `status` (or `other`), complete or cut off. */
static void fail(int leg, const char *fault, int status, int other, bool whole)
{
    struct gv_reply reply;
    begin();
    bool hangs = strstr(fault, "hang") != NULL;
    gv_world_fault(&world.workers[leg], fault);
    int fd = gv_world_send_chat(&world.nodes[hangs ? 1 : 0], "tell me", true);
    gv_talk_read(fd, &reply);
    CU_ASSERT_TRUE(reply.status == status || reply.status == other);
    CU_ASSERT_EQUAL(reply.whole, whole);
    gv_reply_deinit(&reply);
    close(fd);
    CU_ASSERT_TRUE(gv_test_await(listens, &world.workers[leg], 0));
    gv_world_order(&world.workers[leg], "reset");
    CU_ASSERT_TRUE(gv_world_await_idle(&world));
    fd = gv_world_send_chat(&world.nodes[0], "tell me more", true);
    gv_talk_read(fd, &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    CU_ASSERT_TRUE(reply.whole);
    gv_reply_deinit(&reply);
    close(fd);
}

/* "count":0 is until reset: a pooled connection that dies is replaced silently, once. Prefill may
 * break behind decode's first byte, which is too late to harm. */
#define ROWS(X)                                                                                    \
    X(prefill_refuses, 0, "refuse\",\"ms\":200", 502, 502, true)                                   \
    X(prefill_says_400, 0, "error\",\"status\":400", 400, 400, true)                               \
    X(prefill_says_429, 0, "error\",\"status\":429", 429, 429, true)                               \
    X(prefill_says_500, 0, "error\",\"status\":500", 502, 502, true)                               \
    X(prefill_says_503, 0, "error\",\"status\":503", 502, 502, true)                               \
    X(prefill_hangs_before_its_head, 0, "hang_before_head\"", 504, 504, true)                      \
    X(prefill_closes_before_its_head, 0, "close_before_head\",\"count\":0", 502, 502, true)        \
    X(prefill_hangs_in_its_answer, 0, "hang_mid_stream\",\"after_bytes\":10", 200, 504, true)      \
    X(prefill_closes_in_its_answer, 0, "close_mid_stream\",\"after_bytes\":10", 200, 502, true)    \
    X(prefill_is_not_http, 0, "bad_http\"", 502, 502, true)                                        \
    X(prefill_has_a_garbage_length, 0, "garbage_length\"", 200, 502, true)                         \
    X(decode_refuses, 1, "refuse\",\"ms\":200", 502, 502, true)                                    \
    X(decode_says_400, 1, "error\",\"status\":400", 400, 400, true)                                \
    X(decode_says_429, 1, "error\",\"status\":429", 429, 429, true)                                \
    X(decode_says_500, 1, "error\",\"status\":500", 500, 500, true)                                \
    X(decode_says_503, 1, "error\",\"status\":503", 503, 503, true)                                \
    X(decode_hangs_before_its_head, 1, "hang_before_head\"", 504, 504, true)                       \
    X(decode_closes_before_its_head, 1, "close_before_head\",\"count\":0", 502, 502, true)         \
    X(decode_hangs_in_its_answer, 1, "hang_mid_stream\",\"after_bytes\":10", 200, 200, false)      \
    X(decode_closes_in_its_answer, 1, "close_mid_stream\",\"after_bytes\":10", 200, 200, false)    \
    X(decode_is_not_http, 1, "bad_http\"", 502, 502, true)                                         \
    X(decode_has_a_garbage_length, 1, "garbage_length\"", 502, 502, true)

#define TEST(name, leg, fault, status, other, whole)                                               \
    static void name(void)                                                                         \
    {                                                                                              \
        fail(leg, "{\"kind\":\"" fault "}", status, other, whole);                                 \
    }
ROWS(TEST)

static const char asks[] = "{\"text\":\"tell me\",\"return_logprob\":true,%s"
                           "\"sampling_params\":{\"max_new_tokens\":3}}";
#define JOINED                                                                                     \
    "\"input_token_logprobs\":[[null,101,null],[-0.25,102,null],[-0.5,103,null],[-0.5,201,null]]"

static int count(const char *text, const char *wanted)
{
    int found = 0;
    for (; (text = strstr(text, wanted)) != NULL; text += strlen(wanted)) {
        found += 1;
    }
    return found;
}

static void the_input_logprobs_of_both_legs_are_put_together(void)
{
    struct gv_reply reply;
    char body[256];
    begin();
    snprintf(body, sizeof body, asks, "");
    gv_talk_ask(world.nodes[0].port, "POST", "/generate", NULL, body, &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    CU_ASSERT_TRUE(reply.whole);
    CU_ASSERT_EQUAL(count(reply.body, JOINED), 1);
    gv_reply_deinit(&reply);
    snprintf(body, sizeof body, asks, "\"stream\":true,");
    gv_talk_ask(world.nodes[0].port, "POST", "/generate", NULL, body, &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    CU_ASSERT_TRUE(reply.whole);
    CU_ASSERT_EQUAL(count(reply.body, JOINED), 3);
    CU_ASSERT_EQUAL(count(reply.body, "data: [DONE]\n\n"), 1);
    gv_reply_deinit(&reply);
    gv_talk_ask(world.nodes[0].port, "POST", "/generate", NULL,
                "{\"text\":[\"one\",\"two\"],\"return_logprob\":true}", &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    CU_ASSERT_EQUAL(count(reply.body, JOINED), 2);
    gv_reply_deinit(&reply);
    gv_talk_ask(world.nodes[0].port, "POST", "/generate", NULL, "{\"text\":\"tell me\"}", &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    CU_ASSERT_EQUAL(count(reply.body, "input_token_logprobs"), 0);
    gv_reply_deinit(&reply);
}

static void logprobs_that_never_come_from_prefill_are_a_failure_of_prefill(void)
{
    struct gv_reply reply;
    char body[256];
    begin();
    snprintf(body, sizeof body, asks, "\"stream\":true,");
    gv_world_fault(&world.workers[0], "{\"kind\":\"close_mid_stream\",\"after_bytes\":10}");
    gv_talk_ask(world.nodes[0].port, "POST", "/generate", NULL, body, &reply);
    CU_ASSERT_EQUAL(reply.status, 502);
    CU_ASSERT_PTR_NOT_NULL(strstr(reply.body, "prefill_failed"));
    gv_reply_deinit(&reply);
    CU_ASSERT_TRUE(gv_world_await_idle(&world));
}

static void after_all_that_nothing_is_left_behind(void)
{
    begin();
    CU_ASSERT_TRUE(gv_world_await_idle(&world));
    gv_world_end(&world);
}

#define CASE(name, leg, fault, status, other, whole) GV_CASE(name),
GV_SUITE("integration/pair_faults",
         ROWS(CASE) GV_CASE(the_input_logprobs_of_both_legs_are_put_together),
         GV_CASE(logprobs_that_never_come_from_prefill_are_a_failure_of_prefill),
         GV_CASE(after_all_that_nothing_is_left_behind))
