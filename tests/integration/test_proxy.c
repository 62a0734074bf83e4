/*
 * test_proxy.c - the data path of one loop over loopback, with workers that do exactly what a test
 * says, byte by byte.
 */
#include "grapevine/base/mem.h"
#include "grapevine/proxy/explain.h"
#include "support/replies.h"
#include "support/suite.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void on_drained(void *owner)
{
    struct gv_rig *rig = owner;
    atomic_store(&rig->drained, true);
}

/* ---- one worker ---- */

static void an_answer_passes_unchanged_and_the_request_keeps_its_id(void)
{
    struct gv_rig rig;
    struct gv_fake fake;
    struct gv_reply reply;
    char value[128];
    gv_rig_init(&rig);
    gv_fake_start(&fake, gv_fake_hello);
    gv_rig_add_worker(&rig, fake.url, GV_POOL_REGULAR, GV_WORKER_READY);
    gv_rig_start(&rig);
    gv_talk_ask(rig.port, "POST", GV_RIG_CHAT,
                "Content-Type: application/json\r\nX-Request-Id: my-id\r\nX-Other: kept\r\n",
                GV_RIG_BODY, &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    CU_ASSERT(reply.whole);
    CU_ASSERT_STRING_EQUAL(reply.body, "{\"say\":\"hello\"}");
    CU_ASSERT_PTR_NOT_NULL(strstr(reply.head, "X-Engine: a\r\nX-Engine: b\r\n"));
    CU_ASSERT(gv_reply_header(&reply, "x-request-id", value, sizeof value));
    CU_ASSERT_STRING_EQUAL(value, "my-id");
    CU_ASSERT(gv_reply_header(&reply, "x-grapevine-worker", value, sizeof value));
    CU_ASSERT_STRING_EQUAL(value, fake.url);
    CU_ASSERT(gv_reply_header(&reply, "x-grapevine-node", value, sizeof value));
    CU_ASSERT_STRING_EQUAL(value, "n1");
    gv_reply_deinit(&reply);
    char host[64];
    snprintf(host, sizeof host, "Host: 127.0.0.1:%u\r\n", fake.port);
    CU_ASSERT(gv_fake_was_sent(&fake, host));
    CU_ASSERT(gv_fake_was_sent(&fake, "my-id"));
    CU_ASSERT(gv_fake_was_sent(&fake, "X-Other: kept"));
    CU_ASSERT(gv_fake_was_sent(&fake, GV_RIG_BODY));
    CU_ASSERT_EQUAL(atomic_load(&rig.published), 1);
    gv_rig_stop(&rig);
    gv_fake_stop(&fake);
}

static void a_stream_passes_byte_for_byte_however_it_was_cut(void)
{
    struct gv_rig rig;
    struct gv_fake fake;
    struct gv_reply reply;
    gv_rig_init(&rig);
    gv_fake_start(&fake, gv_fake_stream);
    gv_rig_add_worker(&rig, fake.url, GV_POOL_REGULAR, GV_WORKER_READY);
    gv_rig_start(&rig);
    gv_rig_chat(&rig, &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    CU_ASSERT(reply.whole);
    CU_ASSERT_STRING_EQUAL(reply.body, GV_FAKE_EVENTS);
    gv_reply_deinit(&reply);
    gv_rig_stop(&rig);
    gv_fake_stop(&fake);
}

static void an_answer_to_http_1_0_ends_with_the_connection(void)
{
    struct gv_rig rig;
    struct gv_fake fake;
    struct gv_reply reply;
    gv_rig_init(&rig);
    gv_fake_start(&fake, gv_fake_stream);
    gv_rig_add_worker(&rig, fake.url, GV_POOL_REGULAR, GV_WORKER_READY);
    gv_rig_start(&rig);
    int fd = gv_talk_connect(rig.port);
    char request[512];
    snprintf(request, sizeof request,
             "POST " GV_RIG_CHAT " HTTP/1.0\r\nHost: x\r\nContent-Length: %zu\r\n\r\n%s",
             strlen(GV_RIG_BODY), GV_RIG_BODY);
    CU_ASSERT(gv_talk_send_text(fd, request));
    gv_talk_read(fd, &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    CU_ASSERT_PTR_NULL(strstr(reply.head, "chunked"));
    CU_ASSERT_STRING_EQUAL(reply.body, GV_FAKE_EVENTS);
    gv_reply_deinit(&reply);
    close(fd);
    gv_rig_stop(&rig);
    gv_fake_stop(&fake);
}

static void a_body_over_the_limit_is_413_and_one_at_the_limit_is_served(void)
{
    struct gv_rig rig;
    struct gv_fake fake;
    struct gv_reply reply;
    gv_rig_init(&rig);
    gv_fake_start(&fake, gv_fake_hello);
    gv_rig_add_worker(&rig, fake.url, GV_POOL_REGULAR, GV_WORKER_READY);
    rig.config.max_payload_bytes = strlen(GV_RIG_BODY);
    gv_rig_start(&rig);
    gv_rig_chat(&rig, &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    gv_reply_deinit(&reply);
    gv_talk_ask(rig.port, "POST", GV_RIG_CHAT, NULL, GV_RIG_BODY " ", &reply);
    CU_ASSERT_EQUAL(reply.status, 413);
    gv_reply_deinit(&reply);
    CU_ASSERT_EQUAL(atomic_load(&fake.request_count), 1);
    gv_rig_stop(&rig);
    gv_fake_stop(&fake);
}

static void pipelined_requests_are_answered_in_order_on_one_worker_connection(void)
{
    struct gv_rig rig;
    struct gv_fake fake;
    gv_rig_init(&rig);
    gv_fake_start(&fake, gv_fake_hello);
    gv_rig_add_worker(&rig, fake.url, GV_POOL_REGULAR, GV_WORKER_READY);
    gv_rig_start(&rig);
    int fd = gv_talk_connect(rig.port);
    char three[4096] = "";
    size_t len = 0;
    for (int i = 0; i < 3; i++) {
        len += (size_t)snprintf(three + len, sizeof three - len,
                                "POST " GV_RIG_CHAT " HTTP/1.1\r\nHost: x\r\nX-Request-Id: r%d\r\n"
                                "Content-Length: %zu\r\n\r\n%s",
                                i, strlen(GV_RIG_BODY), GV_RIG_BODY);
    }
    CU_ASSERT(gv_talk_send(fd, three, len));
    char got[8192] = "";
    size_t have = 0;
    const char *last;
    while ((last = strstr(got, "x-request-id: r2")) == NULL || strstr(last, "hello") == NULL) {
        ssize_t more = read(fd, got + have, sizeof got - 1 - have);
        CU_ASSERT_FATAL(more > 0);
        have += (size_t)more;
        got[have] = '\0';
    }
    const char *first = strstr(got, "x-request-id: r0");
    const char *second = strstr(got, "x-request-id: r1");
    CU_ASSERT_FATAL(first != NULL && second != NULL);
    CU_ASSERT(first < second && second < last);
    CU_ASSERT(strstr(first, "hello") < second);
    CU_ASSERT(strstr(second, "hello") < last);
    close(fd);
    CU_ASSERT_EQUAL(atomic_load(&fake.line_count), 1);
    gv_rig_stop(&rig);
    gv_fake_stop(&fake);
}

static void an_idle_connection_that_the_worker_closed_is_replaced_silently(void)
{
    struct gv_rig rig;
    struct gv_fake fake;
    struct gv_reply reply;
    gv_rig_init(&rig);
    gv_fake_start(&fake, gv_fake_hello_and_close);
    gv_rig_add_worker(&rig, fake.url, GV_POOL_REGULAR, GV_WORKER_READY);
    rig.config.disable_retries = 1;
    gv_rig_start(&rig);
    for (int i = 0; i < 20; i++) {
        gv_rig_chat(&rig, &reply);
        CU_ASSERT_EQUAL(reply.status, 200);
        gv_reply_deinit(&reply);
    }
    gv_rig_stop(&rig);
    gv_fake_stop(&fake);
}

static void a_client_that_leaves_ends_the_request_of_a_silent_worker(void)
{
    struct gv_rig rig;
    struct gv_fake fake;
    gv_rig_init(&rig);
    gv_fake_start(&fake, gv_fake_one_event);
    gv_rig_add_worker(&rig, fake.url, GV_POOL_REGULAR, GV_WORKER_READY);
    gv_rig_start(&rig);
    int fd = gv_talk_connect(rig.port);
    char request[512];
    char got[512];
    snprintf(request, sizeof request,
             "POST " GV_RIG_CHAT " HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n%s",
             strlen(GV_RIG_BODY), GV_RIG_BODY);
    CU_ASSERT(gv_talk_send_text(fd, request));
    CU_ASSERT(read(fd, got, sizeof got) > 0);
    CU_ASSERT_EQUAL(gv_load_own_total(rig.load), 1);
    close(fd);
    CU_ASSERT(gv_test_await(gv_fake_saw_the_end, &fake, 0));
    gv_rig_stop(&rig);
    gv_fake_stop(&fake);
}

static void an_answer_that_breaks_off_is_cut_and_not_completed(void)
{
    struct gv_rig rig;
    struct gv_fake fake;
    struct gv_reply reply;
    gv_rig_init(&rig);
    gv_fake_start(&fake, gv_fake_cut);
    gv_rig_add_worker(&rig, fake.url, GV_POOL_REGULAR, GV_WORKER_READY);
    gv_rig_start(&rig);
    gv_rig_chat(&rig, &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    CU_ASSERT_FALSE(reply.whole);
    CU_ASSERT_PTR_NOT_NULL(strstr(reply.body, "data: x"));
    CU_ASSERT_EQUAL(atomic_load(&fake.request_count), 1);
    gv_reply_deinit(&reply);
    gv_rig_stop(&rig);
    gv_fake_stop(&fake);
}

static void a_worker_that_says_nothing_is_a_504(void)
{
    struct gv_rig rig;
    struct gv_fake fake;
    struct gv_reply reply;
    gv_rig_init(&rig);
    gv_fake_start(&fake, gv_fake_never);
    gv_rig_add_worker(&rig, fake.url, GV_POOL_REGULAR, GV_WORKER_READY);
    rig.config.first_byte_timeout_ms = 200;
    rig.config.disable_retries = 1;
    gv_rig_start(&rig);
    gv_rig_chat(&rig, &reply);
    CU_ASSERT_EQUAL(reply.status, 504);
    gv_reply_deinit(&reply);
    CU_ASSERT(gv_test_await(gv_fake_saw_the_end, &fake, 0));
    gv_rig_stop(&rig);
    gv_fake_stop(&fake);
}

/* ---- back-pressure ---- */

#define FLOOD_BYTES (64u << 20)
static atomic_size_t flooded;

/* Far more than any buffer on the way holds. */
static bool reply_flood(struct gv_fake *fake, int fd)
{
    (void)fake;
    static char piece[64 * 1024];
    char head[128];
    snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %u\r\n\r\n", FLOOD_BYTES);
    gv_fake_say(fd, head);
    memset(piece, 'x', sizeof piece);
    for (size_t sent = 0; sent < FLOOD_BYTES; sent += sizeof piece) {
        if (!gv_talk_send(fd, piece, sizeof piece)) {
            return false;
        }
        atomic_fetch_add(&flooded, sizeof piece);
    }
    return true;
}

/* Nothing more moves: the same count over forty looks. */
static void await_stillness(void)
{
    size_t last = 0;
    for (int still = 0; still < 40;) {
        size_t now = atomic_load(&flooded);
        still = now == last && now > 0 ? still + 1 : 0;
        last = now;
        gv_test_pause();
    }
}

static void a_client_that_does_not_read_holds_the_worker_back(void)
{
    struct gv_rig rig;
    struct gv_fake fake;
    gv_rig_init(&rig);
    gv_fake_start(&fake, reply_flood);
    gv_rig_add_worker(&rig, fake.url, GV_POOL_REGULAR, GV_WORKER_READY);
    gv_rig_start(&rig);
    atomic_store(&flooded, 0);
    int fd = gv_talk_connect(rig.port);
    char request[512];
    snprintf(request, sizeof request,
             "POST " GV_RIG_CHAT " HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n%s",
             strlen(GV_RIG_BODY), GV_RIG_BODY);
    CU_ASSERT(gv_talk_send_text(fd, request));
    await_stillness();
    CU_ASSERT(atomic_load(&flooded) < FLOOD_BYTES);
    CU_ASSERT(gv_mem_used(GV_MEM_NET) + gv_mem_used(GV_MEM_BUFFER) < (4u << 20));
    struct gv_reply reply;
    gv_talk_read(fd, &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    CU_ASSERT(reply.whole);
    CU_ASSERT_EQUAL(reply.body_len, FLOOD_BYTES);
    gv_reply_deinit(&reply);
    close(fd);
    gv_rig_stop(&rig);
    gv_fake_stop(&fake);
}

/* ---- several workers ---- */

static void a_worker_that_refuses_connections_is_replaced(void)
{
    struct gv_rig rig;
    struct gv_fake fake;
    struct gv_fake dead;
    struct gv_reply reply;
    gv_rig_init(&rig);
    gv_fake_start(&fake, gv_fake_hello);
    gv_fake_start(&dead, gv_fake_hello);
    gv_fake_stop(&dead);
    gv_rig_add_worker(&rig, fake.url, GV_POOL_REGULAR, GV_WORKER_READY);
    gv_rig_add_worker(&rig, dead.url, GV_POOL_REGULAR, GV_WORKER_READY);
    gv_rig_start(&rig);
    for (int i = 0; i < 8; i++) {
        char body[256];
        snprintf(body, sizeof body,
                 "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"%d words\"}]}",
                 i);
        gv_talk_ask(rig.port, "POST", GV_RIG_CHAT, NULL, body, &reply);
        CU_ASSERT_EQUAL(reply.status, 200);
        gv_reply_deinit(&reply);
    }
    CU_ASSERT_EQUAL(atomic_load(&fake.request_count), 8);
    gv_rig_stop(&rig);
    gv_fake_stop(&fake);
}

static void nobody_left_to_try_is_a_502(void)
{
    struct gv_rig rig;
    struct gv_fake dead;
    struct gv_reply reply;
    gv_rig_init(&rig);
    gv_fake_start(&dead, gv_fake_hello);
    gv_fake_stop(&dead);
    gv_rig_add_worker(&rig, dead.url, GV_POOL_REGULAR, GV_WORKER_READY);
    gv_rig_start(&rig);
    gv_rig_chat(&rig, &reply);
    CU_ASSERT_EQUAL(reply.status, 502);
    CU_ASSERT_PTR_NOT_NULL(strstr(reply.body, "upstream_connect_failed"));
    gv_reply_deinit(&reply);
    gv_rig_stop(&rig);
}

static void a_busy_worker_is_tried_elsewhere_and_its_last_answer_passes(void)
{
    struct gv_rig rig;
    struct gv_fake busy;
    struct gv_fake good;
    struct gv_reply reply;
    gv_rig_init(&rig);
    gv_fake_start(&busy, gv_fake_busy);
    gv_fake_start(&good, gv_fake_hello);
    gv_rig_add_worker(&rig, busy.url, GV_POOL_REGULAR, GV_WORKER_READY);
    gv_rig_start(&rig);
    gv_rig_chat(&rig, &reply);
    CU_ASSERT_EQUAL(reply.status, 503);
    CU_ASSERT_STRING_EQUAL(reply.body, "busy now");
    CU_ASSERT_EQUAL(atomic_load(&busy.request_count), 1);
    gv_reply_deinit(&reply);
    gv_rig_add_worker(&rig, good.url, GV_POOL_REGULAR, GV_WORKER_READY);
    gv_rig_chat(&rig, &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    CU_ASSERT(atomic_load(&busy.request_count) <= 2); /* never twice on the one that failed */
    gv_reply_deinit(&reply);
    gv_rig_stop(&rig);
    gv_fake_stop(&busy);
    gv_fake_stop(&good);
}

static void a_worker_that_dies_before_the_first_token_is_replaced(void)
{
    struct gv_rig rig;
    struct gv_fake bad;
    struct gv_fake good;
    struct gv_reply reply;
    gv_rig_init(&rig);
    gv_fake_start(&bad, gv_fake_head_and_die);
    gv_fake_start(&good, gv_fake_stream);
    gv_rig_add_worker(&rig, bad.url, GV_POOL_REGULAR, GV_WORKER_READY);
    gv_rig_add_worker(&rig, good.url, GV_POOL_REGULAR, GV_WORKER_READY);
    gv_rig_start(&rig);
    for (int i = 0; i < 8; i++) {
        char body[256];
        snprintf(body, sizeof body,
                 "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"%d words\"}]}",
                 i);
        gv_talk_ask(rig.port, "POST", GV_RIG_CHAT, NULL, body, &reply);
        CU_ASSERT_EQUAL(reply.status, 200);
        CU_ASSERT_STRING_EQUAL(reply.body, GV_FAKE_EVENTS);
        gv_reply_deinit(&reply);
    }
    gv_rig_stop(&rig);
    gv_fake_stop(&bad);
    gv_fake_stop(&good);
}

static void what_nobody_can_serve_is_said_with_the_reason(void)
{
    struct gv_rig rig;
    struct gv_reply reply;
    gv_rig_init(&rig);
    gv_rig_start(&rig);
    gv_rig_chat(&rig, &reply);
    CU_ASSERT_EQUAL(reply.status, 503);
    gv_reply_deinit(&reply);
    gv_rig_add_worker(&rig, "http://127.0.0.1:9", GV_POOL_REGULAR, GV_WORKER_NOT_READY);
    gv_rig_chat(&rig, &reply);
    CU_ASSERT_EQUAL(reply.status, 503);
    CU_ASSERT_PTR_NOT_NULL(strstr(reply.body, "pool regular, model 'm': 1 of 1 workers"));
    CU_ASSERT_PTR_NOT_NULL(strstr(reply.body, "1 not_ready"));
    gv_reply_deinit(&reply);
    CU_ASSERT_EQUAL_FATAL(
        gv_fleet_set_metadata(rig.fleet, gv_slice_text("http://127.0.0.1:9"), "other", NULL, 0),
        GV_OK);
    gv_rig_chat(&rig, &reply);
    CU_ASSERT_EQUAL(reply.status, 404);
    CU_ASSERT_PTR_NOT_NULL(strstr(reply.body, "model_not_found"));
    gv_reply_deinit(&reply);
    gv_talk_ask(rig.port, "POST", GV_RIG_CHAT, NULL, "{\"model\":", &reply);
    CU_ASSERT_EQUAL(reply.status, 400);
    gv_reply_deinit(&reply);
    gv_talk_ask(rig.port, "GET", GV_RIG_CHAT, NULL, NULL, &reply);
    CU_ASSERT_EQUAL(reply.status, 405);
    gv_reply_deinit(&reply);
    gv_rig_stop(&rig);
}

/* ---- what the router answers itself ---- */

static void probes_local_paths_and_keys(void)
{
    struct gv_rig rig;
    struct gv_reply reply;
    static char key[] = "sesame";
    static char *keys[] = {key};
    gv_rig_init(&rig);
    rig.config.api_keys.items = keys;
    rig.config.api_keys.count = 1;
    gv_rig_start(&rig);
    gv_talk_ask(rig.port, "GET", "/health", NULL, NULL, &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    gv_reply_deinit(&reply);
    gv_talk_ask(rig.port, "GET", "/readiness", NULL, NULL, &reply);
    CU_ASSERT_EQUAL(reply.status, 503);
    CU_ASSERT_PTR_NOT_NULL(strstr(reply.body, "insufficient healthy workers"));
    gv_reply_deinit(&reply);
    gv_rig_add_worker(&rig, "http://127.0.0.1:9", GV_POOL_REGULAR, GV_WORKER_READY);
    gv_talk_ask(rig.port, "GET", "/readiness", NULL, NULL, &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    CU_ASSERT_EQUAL(gv_reply_number(&reply, "healthy_workers"), 1);
    gv_reply_deinit(&reply);
    gv_talk_ask(rig.port, "GET", "/v1/models", NULL, NULL, &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    CU_ASSERT_STRING_EQUAL(reply.body, "{\"object\":\"list\"}");
    gv_reply_deinit(&reply);
    gv_talk_ask(rig.port, "GET", "/no/such", NULL, NULL, &reply);
    CU_ASSERT_EQUAL(reply.status, 401);
    gv_reply_deinit(&reply);
    gv_talk_ask(rig.port, "GET", "/no/such", "Authorization: Bearer sesam\r\n", NULL, &reply);
    CU_ASSERT_EQUAL(reply.status, 401);
    gv_reply_deinit(&reply);
    gv_talk_ask(rig.port, "GET", "/no/such", "Authorization: Bearer sesame\r\n", NULL, &reply);
    CU_ASSERT_EQUAL(reply.status, 404);
    gv_reply_deinit(&reply);
    gv_rig_stop(&rig);
}

static bool is_drained(void *owner)
{
    struct gv_rig *rig = owner;
    return atomic_load(&rig->drained);
}

static bool is_loaded(void *owner)
{
    return !gv_rig_is_unloaded(owner);
}

static void a_drain_waits_for_the_last_exchange(void)
{
    struct gv_rig rig;
    struct gv_fake fake;
    gv_rig_init(&rig);
    gv_fake_start(&fake, gv_fake_one_event);
    gv_rig_add_worker(&rig, fake.url, GV_POOL_REGULAR, GV_WORKER_READY);
    gv_rig_start(&rig);
    int fd = gv_talk_connect(rig.port);
    char request[512];
    snprintf(request, sizeof request,
             "POST " GV_RIG_CHAT " HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n%s",
             strlen(GV_RIG_BODY), GV_RIG_BODY);
    CU_ASSERT(gv_talk_send_text(fd, request));
    CU_ASSERT(gv_test_await(is_loaded, &rig, 0));
    gv_proxy_drain(rig.proxy, 0, on_drained, &rig);
    while (gv_talk_connect(rig.port) >= 0) {
        gv_test_pause();
    }
    CU_ASSERT_FALSE(atomic_load(&rig.drained));
    close(fd);
    CU_ASSERT(gv_test_await(is_drained, &rig, 0));
    gv_rig_stop(&rig);
    gv_fake_stop(&fake);
}

static void explain_decides_like_a_request_and_changes_nothing(void)
{
    struct gv_rig rig;
    struct gv_explain explain;
    gv_rig_init(&rig);
    gv_rig_start(&rig);
    gv_rig_add_worker(&rig, "http://127.0.0.1:9", GV_POOL_REGULAR, GV_WORKER_READY);
    gv_rig_add_worker(&rig, "http://127.0.0.1:10", GV_POOL_REGULAR, GV_WORKER_READY);
    struct gv_explain_headers none = {.routing_key = gv_slice_text("")};
    CU_ASSERT_EQUAL_FATAL(
        gv_explain_init(&explain, &rig.shared, GV_ENDPOINT_CHAT, gv_slice_text(GV_RIG_BODY), none),
        GV_OK);
    CU_ASSERT_EQUAL(explain.problem, GV_PROBLEM_NONE);
    CU_ASSERT_EQUAL(explain.leg_count, 1);
    CU_ASSERT_STRING_EQUAL(explain.legs[0].key, "regular::m");
    CU_ASSERT_EQUAL(explain.legs[0].decision.candidate_count, 2);
    CU_ASSERT_NOT_EQUAL(explain.legs[0].worker[0], '\0');
    gv_explain_deinit(&explain);
    CU_ASSERT_EQUAL_FATAL(gv_explain_init(&explain, &rig.shared, GV_ENDPOINT_CHAT,
                                          gv_slice_text("{\"model\":"), none),
                          GV_OK);
    CU_ASSERT_EQUAL(explain.problem, GV_PROBLEM_BAD_JSON);
    gv_explain_deinit(&explain);
    CU_ASSERT_EQUAL(atomic_load(&rig.published), 0);
    gv_rig_stop(&rig);
}

GV_SUITE("integration/proxy", GV_CASE(an_answer_passes_unchanged_and_the_request_keeps_its_id),
         GV_CASE(a_stream_passes_byte_for_byte_however_it_was_cut),
         GV_CASE(an_answer_to_http_1_0_ends_with_the_connection),
         GV_CASE(a_body_over_the_limit_is_413_and_one_at_the_limit_is_served),
         GV_CASE(pipelined_requests_are_answered_in_order_on_one_worker_connection),
         GV_CASE(an_idle_connection_that_the_worker_closed_is_replaced_silently),
         GV_CASE(a_client_that_leaves_ends_the_request_of_a_silent_worker),
         GV_CASE(an_answer_that_breaks_off_is_cut_and_not_completed),
         GV_CASE(a_worker_that_says_nothing_is_a_504),
         GV_CASE(a_client_that_does_not_read_holds_the_worker_back),
         GV_CASE(a_worker_that_refuses_connections_is_replaced),
         GV_CASE(nobody_left_to_try_is_a_502),
         GV_CASE(a_busy_worker_is_tried_elsewhere_and_its_last_answer_passes),
         GV_CASE(a_worker_that_dies_before_the_first_token_is_replaced),
         GV_CASE(what_nobody_can_serve_is_said_with_the_reason),
         GV_CASE(probes_local_paths_and_keys), GV_CASE(a_drain_waits_for_the_last_exchange),
         GV_CASE(explain_decides_like_a_request_and_changes_nothing))
