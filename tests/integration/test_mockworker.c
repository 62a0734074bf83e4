/*
 * test_mockworker.c - the simulated engine speaks as an engine does, and fails when it is told to.
 * What the other integration tests and the demo rely on.
 */
#include "support/process.h"
#include "support/suite.h"
#include "support/talk.h"
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHAT "/v1/chat/completions"
#define LONG_PROMPT                                                                                \
    "A vine climbs along a wall and bears its fruit late in the warm light of autumn, as it did "  \
    "the year before and the year before that, whoever came to look."

static const char chat[] =
    "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"" LONG_PROMPT "\"}]}";
static const char stream[] =
    "{\"model\":\"m\",\"stream\":true,\"max_tokens\":3,\"stream_options\":{\"include_usage\":true},"
    "\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]}";

struct engines {
    struct gv_process process;
    uint16_t ports[4]; /* as the ready line lists them */
    uint16_t bootstrap;
};

/* Start mockworker with `flags` (NULL-terminated) and read its ports. */
static void start(struct engines *engines, const char *const *flags)
{
    const char *argv[GV_PROCESS_ARGS_MAX] = {"mockworker", "--port", "0", "--bootstrap-port", "0"};
    char line[512];
    size_t count = 5;
    for (size_t i = 0; flags[i] != NULL; i++) {
        argv[count++] = flags[i];
    }
    memset(engines, 0, sizeof *engines);
    if (!gv_process_start(&engines->process, "mockworker", argv) ||
        !gv_process_await(&engines->process, "ready on", line, sizeof line)) {
        exit(2);
    }
    char *bootstrap = strstr(line, " bootstrap ");
    if (bootstrap != NULL) {
        engines->bootstrap = (uint16_t)atoi(bootstrap + sizeof " bootstrap " - 1);
        *bootstrap = '\0';
    }
    size_t i = 0;
    for (char *at = strchr(line, ':'); at != NULL && i < 4; at = strchr(at + 1, ':')) {
        if (at[1] != ' ') { /* the first colon is that of "mockworker:" */
            engines->ports[i++] = (uint16_t)atoi(at + 1);
        }
    }
}

static void stop(struct engines *engines)
{
    gv_process_signal(&engines->process, SIGTERM);
    CU_ASSERT_EQUAL(gv_process_wait(&engines->process), 0);
}

static const char *const quick[] = {"--speed", "0", "--model", "m,n", "--count", "2", NULL};

static void order(const struct engines *engines, const char *fault)
{
    struct gv_reply reply;
    gv_talk_ask(engines->ports[0], "POST", "/_mock/fault", NULL, fault, &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    gv_reply_deinit(&reply);
}

static long stat_of(uint16_t port, const char *name)
{
    struct gv_reply reply;
    gv_talk_ask(port, "GET", "/_mock/stats", NULL, NULL, &reply);
    long value = gv_reply_number(&reply, name);
    gv_reply_deinit(&reply);
    return value;
}

static size_t occurrences(const char *text, const char *word)
{
    size_t count = 0;
    for (const char *at = strstr(text, word); at != NULL; at = strstr(at + 1, word)) {
        count += 1;
    }
    return count;
}

static void an_equal_prompt_is_cached_the_second_time_until_flushed(void)
{
    struct engines engines;
    struct gv_reply reply;
    start(&engines, quick);
    const long expected[] = {0, 32, 0};
    for (int i = 0; i < 3; i++) {
        if (i == 2) {
            gv_talk_ask(engines.ports[0], "POST", "/flush_cache", NULL, NULL, &reply);
            CU_ASSERT_EQUAL(reply.status, 200);
            gv_reply_deinit(&reply);
        }
        gv_talk_ask(engines.ports[0], "POST", CHAT, NULL, chat, &reply);
        CU_ASSERT_EQUAL(reply.status, 200);
        CU_ASSERT_EQUAL(gv_reply_number(&reply, "cached_tokens"), expected[i]);
        CU_ASSERT_EQUAL(gv_reply_number(&reply, "completion_tokens"), 8);
        CU_ASSERT_PTR_NOT_NULL(strstr(reply.body, "\"finish_reason\":\"stop\""));
        gv_reply_deinit(&reply);
    }
    gv_talk_ask(engines.ports[1], "POST", CHAT, NULL, chat, &reply); /* a cache of its own */
    CU_ASSERT_EQUAL(gv_reply_number(&reply, "cached_tokens"), 0);
    gv_reply_deinit(&reply);
    stop(&engines);
}

static void a_stream_is_chunks_then_usage_then_done(void)
{
    struct engines engines;
    struct gv_reply reply;
    char type[64] = "";
    start(&engines, quick);
    gv_talk_ask(engines.ports[0], "POST", CHAT, NULL, stream, &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    CU_ASSERT(gv_reply_header(&reply, "content-type", type, sizeof type));
    CU_ASSERT_PTR_NOT_NULL(strstr(type, "text/event-stream"));
    CU_ASSERT(reply.whole);
    CU_ASSERT_EQUAL(occurrences(reply.body, "\"object\":\"chat.completion.chunk\""), 6);
    CU_ASSERT_EQUAL(occurrences(reply.body, "\"delta\":{\"content\":"), 3);
    CU_ASSERT_EQUAL(occurrences(reply.body, "\"finish_reason\":\"length\""), 1);
    CU_ASSERT_EQUAL(gv_reply_number(&reply, "completion_tokens"), 3);
    const char *usage = strstr(reply.body, "\"choices\":[],\"usage\":{");
    const char *done = strstr(reply.body, "data: [DONE]\n\n");
    CU_ASSERT(usage != NULL && done != NULL && usage < done && strlen(done) == 14);
    gv_reply_deinit(&reply);
    stop(&engines);
}

static void every_endpoint_of_an_engine_answers(void)
{
    static const struct {
        const char *path;
        const char *body; /* NULL: GET */
        const char *holds;
    } rows[] = {
        {"/health", NULL, ""},
        {"/health_generate", NULL, ""},
        {"/v1/models", NULL, "\"owned_by\":\"sglang\""},
        {"/get_model_info", NULL, "\"model_path\":\"m\""},
        {"/model_info", NULL, "\"is_generation\":true"},
        {"/get_server_info", NULL, "\"disaggregation_mode\":\"null\""},
        {"/server_info", NULL, "\"max_total_num_tokens\":524288"},
        {"/v1/loads", NULL, "\"num_running_reqs\":0"},
        {"/metrics", NULL, "sglang:num_queue_reqs"},
        {"/v1/completions", "{\"prompt\":[\"a\",\"b\"],\"max_tokens\":2}", "\"index\":1"},
        {"/generate", "{\"text\":\"a\",\"return_logprob\":true}", "\"input_token_logprobs\":["},
        {"/v1/embeddings", "{\"input\":\"a\"}", "\"embedding\":["},
        {"/v1/rerank", "{\"query\":\"q\",\"documents\":[\"a\",\"b\"]}", "\"document\":\"b\""},
        {"/rerank", "{\"query\":\"q\",\"documents\":[\"a\"]}", "\"score\":1.0"},
        {"/v1/classify", "{\"input\":\"a\"}", "\"label\":\"LABEL_0\""},
        {"/abort_request", "{\"rid\":\"none\"}", ""},
    };
    struct engines engines;
    struct gv_reply reply;
    start(&engines, quick);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        gv_talk_ask(engines.ports[0], rows[i].body == NULL ? "GET" : "POST", rows[i].path, NULL,
                    rows[i].body, &reply);
        CU_ASSERT_EQUAL(reply.status, 200);
        CU_ASSERT_PTR_NOT_NULL(strstr(reply.body, rows[i].holds));
        gv_reply_deinit(&reply);
    }
    gv_talk_ask(engines.ports[0], "GET", "/nowhere", NULL, NULL, &reply);
    CU_ASSERT_EQUAL(reply.status, 404);
    gv_reply_deinit(&reply);
    gv_talk_ask(engines.ports[0], "POST", CHAT, NULL, "{", &reply);
    CU_ASSERT_EQUAL(reply.status, 400);
    gv_reply_deinit(&reply);
    stop(&engines);
}

static void a_fault_hits_as_many_requests_as_it_was_told(void)
{
    struct engines engines;
    struct gv_reply reply;
    start(&engines, quick);
    order(&engines, "{\"kind\":\"error\",\"count\":2,\"status\":429}");
    const int expected[] = {429, 429, 200};
    for (int i = 0; i < 3; i++) {
        gv_talk_ask(engines.ports[0], "POST", CHAT, NULL, chat, &reply);
        CU_ASSERT_EQUAL(reply.status, expected[i]);
        gv_reply_deinit(&reply);
    }
    order(&engines, "{\"kind\":\"health_down\"}");
    gv_talk_ask(engines.ports[0], "POST", CHAT, NULL, chat, &reply); /* not a health check */
    CU_ASSERT_EQUAL(reply.status, 200);
    gv_reply_deinit(&reply);
    const int healths[] = {503, 200};
    for (int i = 0; i < 2; i++) {
        gv_talk_ask(engines.ports[0], "GET", "/health", NULL, NULL, &reply);
        CU_ASSERT_EQUAL(reply.status, healths[i]);
        gv_reply_deinit(&reply);
    }
    stop(&engines);
}

static void faults_break_the_answer_where_they_say(void)
{
    struct engines engines;
    struct gv_reply reply;
    start(&engines, quick);
    order(&engines, "{\"kind\":\"close_before_head\"}");
    gv_talk_ask(engines.ports[0], "POST", CHAT, NULL, stream, &reply);
    CU_ASSERT_EQUAL(reply.status, 0);
    gv_reply_deinit(&reply);
    order(&engines, "{\"kind\":\"close_mid_stream\",\"after_bytes\":30}");
    gv_talk_ask(engines.ports[0], "POST", CHAT, NULL, stream, &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    CU_ASSERT_EQUAL(reply.body_len, 30);
    CU_ASSERT_FALSE(reply.whole);
    gv_reply_deinit(&reply);
    order(&engines, "{\"kind\":\"bad_http\"}");
    int fd = gv_talk_connect(engines.ports[0]);
    char head[300];
    snprintf(head, sizeof head,
             "POST " CHAT " HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n%s", strlen(stream),
             stream);
    CU_ASSERT(gv_talk_send_text(fd, head));
    char byte = 0;
    CU_ASSERT_EQUAL(read(fd, &byte, 1), 1);
    CU_ASSERT_EQUAL(byte, 'H');
    CU_ASSERT_EQUAL(read(fd, &byte, 1), 1);
    CU_ASSERT_EQUAL(read(fd, &byte, 1), 1);
    CU_ASSERT_EQUAL(byte, 'P'); /* HTP/ */
    close(fd);
    CU_ASSERT_EQUAL(stat_of(engines.ports[0], "requests"), 3);
    stop(&engines);
}

static bool has_aborted(void *owner)
{
    const struct engines *engines = owner;
    return stat_of(engines->ports[0], "aborted") == 1 &&
           stat_of(engines->ports[0], "in_flight") == 0;
}

static void a_client_that_leaves_is_counted_at_once(void)
{
    struct engines engines;
    char head[400];
    char byte;
    start(&engines, quick);
    order(&engines, "{\"kind\":\"hang_mid_stream\",\"after_bytes\":10}");
    int fd = gv_talk_connect(engines.ports[0]);
    snprintf(head, sizeof head,
             "POST " CHAT " HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n%s", strlen(stream),
             stream);
    CU_ASSERT(gv_talk_send_text(fd, head));
    CU_ASSERT_EQUAL(read(fd, &byte, 1), 1); /* it has begun to answer */
    CU_ASSERT_EQUAL(stat_of(engines.ports[0], "in_flight"), 1);
    close(fd);
    CU_ASSERT(gv_test_await(has_aborted, &engines, 0));
    stop(&engines);
}

static void a_port_that_refuses_is_reached_through_another_and_restored(void)
{
    struct engines engines;
    struct gv_reply reply;
    char path[64];
    start(&engines, quick);
    snprintf(path, sizeof path, "/_mock/fault?port=%u", (unsigned)engines.ports[1]);
    gv_talk_ask(engines.ports[0], "POST", path, NULL, "{\"kind\":\"refuse\",\"ms\":0}", &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    gv_reply_deinit(&reply);
    gv_talk_ask(engines.ports[1], "GET", "/health", NULL, NULL, &reply);
    CU_ASSERT_EQUAL(reply.status, 0);
    gv_reply_deinit(&reply);
    snprintf(path, sizeof path, "/_mock/reset?port=%u", (unsigned)engines.ports[1]);
    gv_talk_ask(engines.ports[0], "POST", path, NULL, NULL, &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    gv_reply_deinit(&reply);
    int fd = -1;
    for (uint64_t end_ms = gv_test_now_ms() + GV_PROCESS_DEADLINE_MS;
         fd < 0 && gv_test_now_ms() < end_ms; gv_test_pause()) {
        fd = gv_talk_connect(engines.ports[1]);
    }
    CU_ASSERT(fd >= 0);
    close(fd);
    stop(&engines);
}

static void a_restart_forgets_the_cache_and_says_a_new_start_time(void)
{
    struct engines engines;
    struct gv_reply reply;
    start(&engines, quick);
    gv_talk_ask(engines.ports[0], "POST", CHAT, NULL, chat, &reply);
    gv_reply_deinit(&reply);
    CU_ASSERT(stat_of(engines.ports[0], "cache_tokens_held") > 0);
    gv_talk_ask(engines.ports[0], "POST", "/_mock/restart", NULL, NULL, &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    gv_reply_deinit(&reply);
    CU_ASSERT_EQUAL(stat_of(engines.ports[0], "cache_tokens_held"), 0);
    CU_ASSERT_EQUAL(stat_of(engines.ports[0], "generation"), 1);
    stop(&engines);
}

static void a_key_is_demanded_of_all_but_health_and_control(void)
{
    static const char *const flags[] = {"--speed", "0", "--worker-api-key", "secret", NULL};
    struct engines engines;
    struct gv_reply reply;
    start(&engines, flags);
    gv_talk_ask(engines.ports[0], "POST", CHAT, NULL, chat, &reply);
    CU_ASSERT_EQUAL(reply.status, 401);
    gv_reply_deinit(&reply);
    gv_talk_ask(engines.ports[0], "POST", CHAT, "Authorization: Bearer secret\r\n", chat, &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    gv_reply_deinit(&reply);
    gv_talk_ask(engines.ports[0], "GET", "/health", NULL, NULL, &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    gv_reply_deinit(&reply);
    stop(&engines);
}

/* --- prefill and decode --- */

struct leg {
    uint16_t port;
    const char *body;
    struct gv_reply reply;
};

static void *run_leg(void *owner)
{
    struct leg *leg = owner;
    gv_talk_ask(leg->port, "POST", "/generate", NULL, leg->body, &leg->reply);
    return NULL;
}

/* Send both legs at once; both replies must be given back. */
static void ask_pair(struct leg *prefill, struct leg *decode)
{
    pthread_t thread;
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, run_leg, prefill), 0);
    run_leg(decode);
    pthread_join(thread, NULL);
}

static void two_legs_meet_in_their_room_and_decode_tells_what_prefill_had_cached(void)
{
    static const char *const prefill_flags[] = {"--speed", "0", "--role", "prefill", NULL};
    static const char *const decode_flags[] = {"--speed", "0", "--role", "decode", NULL};
    struct engines prefill;
    struct engines decode;
    char body[500];
    start(&prefill, prefill_flags);
    start(&decode, decode_flags);
    for (int i = 0; i < 2; i++) {
        snprintf(body, sizeof body,
                 "{\"text\":\"" LONG_PROMPT "\",\"return_logprob\":true,\"bootstrap_host\":"
                 "\"127.0.0.1\",\"bootstrap_port\":%u,\"bootstrap_room\":%d}",
                 (unsigned)prefill.bootstrap, 7 + i);
        struct leg legs[2] = {{.port = prefill.ports[0], .body = body},
                              {.port = decode.ports[0], .body = body}};
        ask_pair(&legs[0], &legs[1]);
        CU_ASSERT_EQUAL(legs[0].reply.status, 200);
        CU_ASSERT_EQUAL(legs[1].reply.status, 200);
        CU_ASSERT_EQUAL(gv_reply_number(&legs[0].reply, "completion_tokens"), 1);
        CU_ASSERT_EQUAL(gv_reply_number(&legs[1].reply, "completion_tokens"), 8);
        CU_ASSERT_EQUAL(gv_reply_number(&legs[1].reply, "cached_tokens"), i == 0 ? 0 : 32);
        CU_ASSERT_PTR_NOT_NULL(strstr(legs[0].reply.body, ",101,"));
        CU_ASSERT_PTR_NOT_NULL(strstr(legs[1].reply.body, ",201,"));
        gv_reply_deinit(&legs[0].reply);
        gv_reply_deinit(&legs[1].reply);
    }
    stop(&prefill);
    stop(&decode);
}

static void a_leg_whose_other_leg_never_comes_fails_and_names_the_room(void)
{
    static const char *const prefill_flags[] = {"--role", "prefill", "--pd-timeout-ms", "50", NULL};
    static const char *const decode_flags[] = {"--role", "decode", "--pd-timeout-ms", "50", NULL};
    struct engines engines[2];
    struct gv_reply reply;
    char body[300];
    start(&engines[0], prefill_flags);
    start(&engines[1], decode_flags);
    snprintf(body, sizeof body,
             "{\"text\":\"a\",\"bootstrap_host\":\"127.0.0.1\",\"bootstrap_port\":%u,"
             "\"bootstrap_room\":4711}",
             (unsigned)engines[0].bootstrap);
    for (int i = 0; i < 2; i++) {
        gv_talk_ask(engines[i].ports[0], "POST", "/generate", NULL, body, &reply);
        CU_ASSERT_EQUAL(reply.status, 500);
        CU_ASSERT_PTR_NOT_NULL(strstr(reply.body, "room 4711"));
        gv_reply_deinit(&reply);
        gv_talk_ask(engines[i].ports[0], "POST", "/generate", NULL, "{\"text\":\"a\"}", &reply);
        CU_ASSERT_EQUAL(reply.status, 400);
        gv_reply_deinit(&reply);
    }
    stop(&engines[0]);
    stop(&engines[1]);
}

GV_SUITE("mockworker", GV_CASE(an_equal_prompt_is_cached_the_second_time_until_flushed),
         GV_CASE(a_stream_is_chunks_then_usage_then_done),
         GV_CASE(every_endpoint_of_an_engine_answers),
         GV_CASE(a_fault_hits_as_many_requests_as_it_was_told),
         GV_CASE(faults_break_the_answer_where_they_say),
         GV_CASE(a_client_that_leaves_is_counted_at_once),
         GV_CASE(a_port_that_refuses_is_reached_through_another_and_restored),
         GV_CASE(a_restart_forgets_the_cache_and_says_a_new_start_time),
         GV_CASE(a_key_is_demanded_of_all_but_health_and_control),
         GV_CASE(two_legs_meet_in_their_room_and_decode_tells_what_prefill_had_cached),
         GV_CASE(a_leg_whose_other_leg_never_comes_fails_and_names_the_room))
