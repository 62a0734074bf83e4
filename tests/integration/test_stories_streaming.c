/*
 * test_stories_streaming.c - what users of LLM routers complained about between the first byte and
 * the last: buffered tokens, ghosts of clients that had left, answers that were changed on the way.
 * The comments name the public issue.
 */
#include "support/suite.h"
#include "support/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct gv_world world;

static struct gv_world_node *start(int workers, const char *const *flags)
{
    return gv_world_start(&world, workers, flags);
}

/* BerriAI/litellm#26102: the proxy gathered the stream and gave all tokens at once. */
static void the_first_token_is_seen_while_the_last_is_not_yet_made(void)
{
    struct gv_world_node *node = start(1, NULL);
    gv_world_fault(&world.workers[0], "{\"kind\":\"hang_mid_stream\",\"after_bytes\":500}");
    char seen[8192];
    int fd = gv_world_send_chat(node, "tell me", true);
    CU_ASSERT_TRUE(gv_talk_read_until(fd, "{\"content\":\" the\"}", seen, sizeof seen));
    CU_ASSERT_PTR_NOT_NULL(strstr(seen, "text/event-stream"));
    CU_ASSERT_PTR_NULL(strstr(seen, "[DONE]"));
    CU_ASSERT_EQUAL(gv_world_stat(&world.workers[0], "finished"), 0);
    close(fd);
    gv_world_end(&world);
}

/* The same, within one event: what an engine has said is passed on before the event is whole. */
static void half_an_event_is_not_held_back(void)
{
    struct gv_world_node *node = start(1, NULL);
    gv_world_fault(&world.workers[0], "{\"kind\":\"hang_mid_stream\",\"after_bytes\":10}");
    char seen[8192];
    int fd = gv_world_send_chat(node, "tell me", true);
    CU_ASSERT_TRUE(gv_talk_read_until(fd, "data: {\"id", seen, sizeof seen));
    CU_ASSERT_PTR_NULL(strstr(seen, "\n\ndata"));
    close(fd);
    gv_world_end(&world);
}

/* sglang#37833, #36333, #11399, #39461: nobody told the engine that the client had left, and ghost
 * requests were decoded to their last token. */
static void a_client_that_leaves_at_any_point_ends_the_engines_work(void)
{
    static const struct {
        const char *fault;
        const char *seen; /* then the client leaves */
    } points[] = {
        {"{\"kind\":\"hang_before_head\"}", NULL},
        {"{\"kind\":\"hang_mid_stream\",\"after_bytes\":0}", NULL},
        {"{\"kind\":\"hang_mid_stream\",\"after_bytes\":10}", "data: "},
        {"{\"kind\":\"hang_mid_stream\",\"after_bytes\":500}", "\" the\""},
        {"{\"kind\":\"hang_mid_stream\",\"after_bytes\":1000000}", "[DONE]"},
    };
    struct gv_world_node *node = start(1, NULL);
    struct gv_world_worker *engine = &world.workers[0];
    for (int i = 0; i < 10; i++) {
        char seen[8192];
        gv_world_fault(engine, points[i / 2].fault);
        int fd = gv_world_send_chat(node, "tell me", true);
        CU_ASSERT_TRUE_FATAL(gv_world_await_stat(engine, "requests", i + 1));
        if (points[i / 2].seen != NULL) {
            CU_ASSERT_TRUE(gv_talk_read_until(fd, points[i / 2].seen, seen, sizeof seen));
        }
        CU_ASSERT_EQUAL(gv_world_load(node, engine->url), 1);
        if (i % 2 == 0) {
            close(fd);
        } else {
            gv_talk_reset(fd);
        }
        CU_ASSERT_TRUE(gv_world_await_stat(engine, "aborted", i + 1));
        CU_ASSERT_TRUE(gv_world_await_load(node, engine->url, 0));
    }
    CU_ASSERT_TRUE(gv_world_await_idle(&world));
    gv_world_end(&world);
}

/* sglang#40391: while the engine was silent a disconnect was not noticed, and the load stayed
 * counted for ever. */
static void a_client_that_leaves_a_silent_stream_is_noticed_and_uncounted(void)
{
    enum {
        CLIENTS = 12
    };
    struct gv_world_node *node = start(2, NULL);
    int fds[CLIENTS];
    for (size_t i = 0; i < world.worker_count; i++) {
        gv_world_fault(&world.workers[i],
                       "{\"kind\":\"hang_mid_stream\",\"after_bytes\":300,\"count\":0}");
    }
    for (int i = 0; i < CLIENTS; i++) {
        char prompt[600];
        char seen[4096];
        gv_world_prompt(prompt, sizeof prompt, i);
        fds[i] = gv_world_send_chat(node, prompt, true);
        CU_ASSERT_TRUE(gv_talk_read_until(fds[i], "data: ", seen, sizeof seen));
    }
    CU_ASSERT_EQUAL(gv_world_number(node, "/grapevine/v1/status", "", "in_flight"), CLIENTS);
    for (int i = 0; i < CLIENTS; i++) {
        close(fds[i]);
    }
    CU_ASSERT_TRUE(gv_world_await_sum(&world, "aborted", CLIENTS));
    CU_ASSERT_TRUE(gv_world_await_idle(&world));
    gv_world_end(&world);
}

/* sglang#40391 again, the other silence: an engine that stops in the middle is not waited for. */
static void a_stream_that_falls_silent_is_cut_and_not_completed(void)
{
    static const char *const flags[] = {"--stream-idle-timeout-secs", "0.5", NULL};
    struct gv_world_node *node = start(1, flags);
    gv_world_fault(&world.workers[0], "{\"kind\":\"hang_mid_stream\",\"after_bytes\":500}");
    struct gv_reply reply;
    int fd = gv_world_send_chat(node, "tell me", true);
    gv_talk_read(fd, &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    CU_ASSERT_FALSE(reply.whole);
    CU_ASSERT_EQUAL(reply.body_len, 500);
    gv_reply_deinit(&reply);
    close(fd);
    CU_ASSERT_TRUE(gv_world_await_stat(&world.workers[0], "aborted", 1));
    CU_ASSERT_TRUE(gv_world_await_idle(&world));
    gv_world_end(&world);
}

/* diegosouzapw/OmniRoute#8622, vllm-project/semantic-router#3058: clients understand the engine's
 * own words; a router that wraps them breaks the clients. */
static void what_an_engine_says_about_a_bad_request_passes_verbatim(void)
{
    static const int statuses[] = {400, 401, 403, 404, 409, 413, 422};
    struct gv_world_node *node = start(2, NULL);
    char *body = gv_world_chat_body("tell me", false);
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        struct gv_reply direct;
        struct gv_reply routed;
        char fault[96];
        char type[2][128] = {"", ""};
        snprintf(fault, sizeof fault, "{\"kind\":\"error\",\"status\":%d}", statuses[i]);
        gv_world_fault(&world.workers[0], fault);
        gv_world_fault(&world.workers[1], fault);
        gv_talk_ask(node->port, "POST", "/v1/chat/completions", NULL, body, &routed);
        long asked = gv_world_stat(&world.workers[0], "requests");
        struct gv_world_worker *unasked = &world.workers[asked > 0 ? 1 : 0];
        gv_talk_ask(unasked->port, "POST", "/v1/chat/completions", NULL, body, &direct);
        CU_ASSERT_EQUAL(direct.status, statuses[i]);
        CU_ASSERT_EQUAL(routed.status, direct.status);
        CU_ASSERT_STRING_EQUAL(routed.body, direct.body);
        gv_reply_header(&direct, "content-type", type[0], sizeof type[0]);
        gv_reply_header(&routed, "content-type", type[1], sizeof type[1]);
        CU_ASSERT_STRING_EQUAL(type[1], type[0]);
        gv_reply_deinit(&direct);
        gv_reply_deinit(&routed);
        gv_world_order(&world.workers[0], "reset");
        gv_world_order(&world.workers[1], "reset");
    }
    free(body);
    gv_world_end(&world);
}

/* vllm-project/router#158: 502 behind name-based hosts, since the client's Host went to the
 * engine. */
static void the_engine_is_addressed_by_its_own_name(void)
{
    struct gv_world_node *node = start(1, NULL);
    char wanted[64];
    struct gv_reply reply;
    char *body = gv_world_chat_body("tell me", false);
    gv_talk_ask(node->port, "POST", "/v1/chat/completions", "X-Forwarded-Host: public.example\r\n",
                body, &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    gv_reply_deinit(&reply);
    free(body);
    gv_talk_ask(world.workers[0].port, "GET", "/_mock/stats", NULL, NULL, &reply);
    snprintf(wanted, sizeof wanted, "[\"Host\",\"127.0.0.1:%u\"]", (unsigned)world.workers[0].port);
    CU_ASSERT_PTR_NOT_NULL(strstr(reply.body, wanted));
    snprintf(wanted, sizeof wanted, "127.0.0.1:%u\"", (unsigned)node->port);
    CU_ASSERT_PTR_NULL(strstr(reply.body, wanted));
    gv_reply_deinit(&reply);
    gv_world_end(&world);
}

/* A chat body of exactly `size` bytes. */
static char *body_of(size_t size)
{
    static const char head[] = "{\"model\":\"mock-model\",\"messages\":[{\"role\":\"user\","
                               "\"content\":\"";
    static const char tail[] = "\"}]}";
    char *body = malloc(size + 1);
    memset(body, 'x', size);
    memcpy(body, head, sizeof head - 1);
    memcpy(body + size - (sizeof tail - 1), tail, sizeof tail - 1);
    body[size] = '\0';
    return body;
}

#define PAYLOAD_BYTES 4096

/* The limit of a body means its last byte; what follows a refused body is never taken for a
 * request. (The reference product's tests name this story, without an issue.) */
static void a_body_at_the_limit_passes_and_one_byte_more_is_413(void)
{
    static const char *const flags[] = {"--max-payload-size", "4096", NULL};
    struct gv_world_node *node = start(1, flags);
    struct gv_reply reply;
    char *body = body_of(PAYLOAD_BYTES);
    gv_talk_ask(node->port, "POST", "/v1/chat/completions", NULL, body, &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    gv_reply_deinit(&reply);
    free(body);

    char head[256];
    static const char inner[] = "GET /inner HTTP/1.1\r\nHost: x\r\n\r\n";
    body = body_of(PAYLOAD_BYTES + 1);
    memcpy(body + PAYLOAD_BYTES + 1 - (sizeof inner - 1), inner, sizeof inner - 1);
    snprintf(head, sizeof head,
             "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
             "Content-Length: %d\r\n\r\n",
             PAYLOAD_BYTES + 1);
    int fd = gv_talk_connect(node->port);
    CU_ASSERT_TRUE(gv_talk_send_text(fd, head));
    (void)gv_talk_send_text(fd, body);                                        /* it may close */
    (void)gv_talk_send_text(fd, "GET /liveness HTTP/1.1\r\nHost: x\r\n\r\n"); /* before the end */
    gv_talk_read(fd, &reply);
    CU_ASSERT_EQUAL(reply.status, 413);
    char connection[32] = "";
    gv_reply_header(&reply, "connection", connection, sizeof connection);
    gv_reply_deinit(&reply);
    if (strcmp(connection, "close") == 0) {
        CU_ASSERT_TRUE(gv_talk_read_end(fd));
    } else { /* kept open: then the next answer belongs to the next request */
        gv_talk_read(fd, &reply);
        CU_ASSERT_EQUAL(reply.status, 200);
        gv_reply_deinit(&reply);
    }
    close(fd);
    free(body);
    CU_ASSERT_EQUAL(gv_world_stat(&world.workers[0], "requests"), 1);
    CU_ASSERT_FALSE(gv_process_has_said(&node->process, "/inner"));
    gv_world_end(&world);
}

/* vllm-project/production-stack#448, #767: a pool of 100 connections was a hidden cap, and about
 * 1,000 users were the end. */
static void there_is_no_hidden_cap_on_requests_under_way(void)
{
    enum {
        CLIENTS = 500
    };
    struct gv_world_node *node = start(1, NULL);
    static int fds[CLIENTS];
    gv_world_fault(&world.workers[0], "{\"kind\":\"hang_before_head\",\"count\":0}");
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = gv_world_send_chat(node, "tell me", false);
    }
    CU_ASSERT_TRUE(gv_world_await_stat(&world.workers[0], "in_flight", CLIENTS));
    CU_ASSERT_EQUAL(gv_world_load(node, world.workers[0].url), CLIENTS);
    for (int i = 0; i < CLIENTS; i++) {
        close(fds[i]);
    }
    CU_ASSERT_TRUE(gv_world_await_idle(&world));
    gv_world_end(&world);
}

GV_SUITE("integration/stories_streaming",
         GV_CASE(the_first_token_is_seen_while_the_last_is_not_yet_made),
         GV_CASE(half_an_event_is_not_held_back),
         GV_CASE(a_client_that_leaves_at_any_point_ends_the_engines_work),
         GV_CASE(a_client_that_leaves_a_silent_stream_is_noticed_and_uncounted),
         GV_CASE(a_stream_that_falls_silent_is_cut_and_not_completed),
         GV_CASE(what_an_engine_says_about_a_bad_request_passes_verbatim),
         GV_CASE(the_engine_is_addressed_by_its_own_name),
         GV_CASE(a_body_at_the_limit_passes_and_one_byte_more_is_413),
         GV_CASE(there_is_no_hidden_cap_on_requests_under_way))
