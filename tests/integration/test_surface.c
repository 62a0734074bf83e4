/*
 * test_surface.c - what clients see of HTTP beside requests and answers: methods, browsers, ids,
 * headers that pass, errors of workers.
 */
#include "grapevine/proxy/tenants.h"
#include "support/fake.h"
#include "support/rig.h"
#include "support/suite.h"
#include "support/talk.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CHAT "/v1/chat/completions"
#define BODY "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hello there\"}]}"

static struct gv_rig rig;
static struct gv_fake fake;

static bool reply_hello(struct gv_fake *worker, int fd)
{
    (void)worker;
    gv_fake_say(fd, "HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: https://worker\r\n"
                    "Content-Length: 5\r\n\r\nhello");
    return true;
}

#define ERROR_BODY "{\"object\":\"error\" , \"message\":\"\xc3\xa4 too long\",\"code\":40303}\n"

static bool reply_error(struct gv_fake *worker, int fd)
{
    char text[256];
    (void)worker;
    snprintf(text, sizeof text,
             "HTTP/1.1 422 Odd\r\nContent-Type: application/problem+json\r\nContent-Length: %zu"
             "\r\n\r\n" ERROR_BODY,
             sizeof ERROR_BODY - 1);
    gv_fake_say(fd, text);
    return true;
}

static void begin(gv_fake_fn reply)
{
    gv_rig_init(&rig);
    gv_fake_start(&fake, reply);
    gv_rig_add_worker(&rig, fake.url, GV_POOL_REGULAR, GV_WORKER_READY);
}

static void end(void)
{
    gv_rig_stop(&rig);
    gv_fake_stop(&fake);
}

static void expect_header(const struct gv_reply *reply, const char *name, const char *wanted)
{
    char value[256] = "";
    bool found = gv_reply_header(reply, name, value, sizeof value);
    CU_ASSERT_EQUAL(found, wanted != NULL);
    if (wanted != NULL) {
        CU_ASSERT_STRING_EQUAL(value, wanted);
    }
}

static void a_page_from_elsewhere_may_ask_and_read(void)
{
    static char key[] = "sesame";
    static char *keys[] = {key};
    struct gv_reply reply;
    begin(reply_hello);
    rig.config.api_keys.items = keys;
    rig.config.api_keys.count = 1;
    gv_rig_start(&rig);
    gv_talk_ask(rig.port, "OPTIONS", CHAT,
                "Origin: https://a\r\nAccess-Control-Request-Method: POST\r\n"
                "Access-Control-Request-Headers: authorization\r\n",
                NULL, &reply);
    CU_ASSERT_EQUAL(reply.status, 200); /* without a key: browsers send none */
    CU_ASSERT_EQUAL(reply.body_len, 0);
    expect_header(&reply, "Access-Control-Allow-Origin", "*");
    expect_header(&reply, "Access-Control-Allow-Headers", "authorization");
    gv_reply_deinit(&reply);
    gv_talk_ask(rig.port, "POST", CHAT, "Origin: https://a\r\n", BODY, &reply);
    CU_ASSERT_EQUAL(reply.status, 401); /* which the page may read */
    expect_header(&reply, "Access-Control-Allow-Origin", "*");
    gv_reply_deinit(&reply);
    gv_talk_ask(rig.port, "POST", CHAT, "Origin: https://a\r\nAuthorization: Bearer sesame\r\n",
                BODY, &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    expect_header(&reply, "Access-Control-Allow-Origin", "*");
    CU_ASSERT_PTR_NULL(strstr(reply.head, "https://worker"));
    gv_reply_deinit(&reply);
    gv_talk_ask(rig.port, "POST", CHAT, "Authorization: Bearer sesame\r\n", BODY, &reply);
    expect_header(&reply, "Access-Control-Allow-Origin", "https://worker");
    gv_reply_deinit(&reply);
    end();
}

/* What a tenant shows is a secret between it and the router. Other keys pass: the worker may be who
 * gave them out. */
static void a_tenants_key_reaches_no_worker(void)
{
    static char key[] = "acme:sk-acme";
    static char *keys[] = {key};
    static char shared_key[] = "sesame";
    static char *shared_keys[] = {shared_key};
    struct gv_tenants *tenants;
    struct gv_reply reply;
    begin(reply_hello);
    rig.config.tenant_api_keys.items = keys;
    rig.config.tenant_api_keys.count = 1;
    rig.config.api_keys.items = shared_keys;
    rig.config.api_keys.count = 1;
    CU_ASSERT_EQUAL_FATAL(gv_tenants_new(&rig.config, NULL, &tenants), GV_OK);
    rig.shared.tenants = tenants;
    gv_rig_start(&rig);
    gv_talk_ask(rig.port, "POST", CHAT, "Authorization: Bearer sk-acme\r\n", BODY, &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    gv_reply_deinit(&reply);
    CU_ASSERT_FALSE(gv_fake_was_sent(&fake, "sk-acme"));
    gv_talk_ask(rig.port, "POST", CHAT, "Authorization: Bearer sesame\r\n", BODY, &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    gv_reply_deinit(&reply);
    CU_ASSERT_TRUE(gv_fake_was_sent(&fake, "Bearer sesame"));
    end();
    gv_tenants_free(tenants);
}

/* A request has one Authorization: with operators' keys the data port leaves administration to the
 * door of the control plane, and guards all the rest with the clients' keys as before. */
static void operators_keys_are_judged_by_the_control_plane_alone(void)
{
    static char key[] = "sesame";
    static char *keys[] = {key};
    static char operator[] = "1:ann:admin:anns";
    static char *operators[] = {operator};
    static const struct {
        const char *method;
        const char *path;
        int without; /* operators' keys */
        int with;
    } rows[] = {
        {"GET", "/workers", 401, 404}, /* 404: the rig holds none of these, and was asked */
        {"POST", "/workers", 401, 404}, {"DELETE", "/workers/x", 401, 404},
        {"GET", "/metrics", 401, 401},  {"POST", CHAT, 401, 401},
        {"GET", CHAT, 401, 401},
    };
    for (int with = 0; with <= 1; with++) {
        begin(reply_hello);
        rig.config.api_keys.items = keys;
        rig.config.api_keys.count = 1;
        rig.config.control_keys.items = operators;
        rig.config.control_keys.count = (size_t)with;
        gv_rig_start(&rig);
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            struct gv_reply reply;
            gv_talk_ask(rig.port, rows[i].method, rows[i].path, "Authorization: Bearer anns\r\n",
                        NULL, &reply);
            CU_ASSERT_EQUAL(reply.status, with ? rows[i].with : rows[i].without);
            gv_reply_deinit(&reply);
        }
        end();
    }
}

static void only_listed_origins_may_when_there_is_a_list(void)
{
    static char origin[] = "https://a";
    static char *origins[] = {origin};
    struct gv_reply reply;
    begin(reply_hello);
    rig.config.cors_allowed_origins.items = origins;
    rig.config.cors_allowed_origins.count = 1;
    gv_rig_start(&rig);
    gv_talk_ask(rig.port, "POST", CHAT, "Origin: https://a\r\n", BODY, &reply);
    expect_header(&reply, "Access-Control-Allow-Origin", "https://a");
    gv_reply_deinit(&reply);
    gv_talk_ask(rig.port, "POST", CHAT, "Origin: https://b\r\n", BODY, &reply);
    CU_ASSERT_EQUAL(reply.status, 200); /* the browser keeps it from the page */
    expect_header(&reply, "Access-Control-Allow-Origin", NULL);
    expect_header(&reply, "Vary", "Origin");
    gv_reply_deinit(&reply);
    end();
}

static void head_is_get_without_its_body(void)
{
    char got[4096];
    begin(reply_hello);
    gv_rig_start(&rig);
    int fd = gv_talk_connect(rig.port);
    CU_ASSERT(gv_talk_send_text(fd, "HEAD /health HTTP/1.1\r\nHost: x\r\n\r\n"
                                    "HEAD /v1/models HTTP/1.1\r\nHost: x\r\n\r\n"
                                    "HEAD /none HTTP/1.1\r\nHost: x\r\n\r\n"
                                    "HEAD " CHAT " HTTP/1.1\r\nHost: x\r\n\r\n"));
    size_t have = 0;
    ssize_t more;
    while ((more = read(fd, got + have, sizeof got - 1 - have)) > 0) { /* 405 ends it */
        have += (size_t)more;
    }
    got[have] = '\0';
    int answers = 0;
    const char *at = got;
    for (; strncmp(at, "HTTP/1.1 ", 9) == 0; answers++) { /* each begins where the last head ends */
        const char *blank = strstr(at, "\r\n\r\n");
        CU_ASSERT_PTR_NOT_NULL_FATAL(blank);
        at = blank + 4;
    }
    CU_ASSERT_EQUAL(answers, 4);
    CU_ASSERT_EQUAL(*at, '\0');
    CU_ASSERT_PTR_NOT_NULL(strstr(got, "HTTP/1.1 405 "));
    CU_ASSERT_PTR_NOT_NULL(strstr(got, "Allow: POST, OPTIONS\r\n"));
    close(fd);
    end();
}

static void the_first_configured_header_with_an_id_names_the_request(void)
{
    static char first[] = "x-own-id";
    static char second[] = "x-request-id";
    static char *names[] = {first, second};
    struct gv_reply reply;
    begin(reply_hello);
    rig.config.request_id_headers.items = names;
    rig.config.request_id_headers.count = 2;
    gv_rig_start(&rig);
    gv_talk_ask(rig.port, "POST", CHAT, "X-Request-Id: two\r\nX-Own-Id: one\r\n", BODY, &reply);
    expect_header(&reply, "x-request-id", "one");
    CU_ASSERT(gv_fake_was_sent(&fake, "x-request-id: one\r\n"));
    gv_reply_deinit(&reply);
    gv_talk_ask(rig.port, "POST", CHAT, "X-Correlation-Id: no\r\n", BODY, &reply);
    CU_ASSERT_PTR_NOT_NULL(strstr(reply.head, "x-request-id: chatcmpl-"));
    gv_reply_deinit(&reply);
    end();
}

static void each_endpoint_has_its_prefix_of_ids(void)
{
    static const struct {
        const char *path;
        const char *prefix;
    } cases[] = {{CHAT, "x-request-id: chatcmpl-"},
                 {"/v1/completions", "x-request-id: cmpl-"},
                 {"/generate", "x-request-id: gnt-"},
                 {"/v1/embeddings", "x-request-id: req-"}};
    struct gv_reply reply;
    begin(reply_hello);
    gv_rig_start(&rig);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        gv_talk_ask(rig.port, "POST", cases[i].path, NULL,
                    "{\"model\":\"m\",\"prompt\":\"a\",\"text\":\"a\",\"input\":\"a\","
                    "\"messages\":[]}",
                    &reply);
        CU_ASSERT_EQUAL(reply.status, 200);
        CU_ASSERT_PTR_NOT_NULL(strstr(reply.head, cases[i].prefix));
        gv_reply_deinit(&reply);
    }
    end();
}

static void trace_headers_pass_by_both_policies_and_cookies_by_one(void)
{
    static const char lines[] = "traceparent: 00-1-2-01\r\ntracestate: a=b\r\nCookie: c\r\n"
                                "X-Request-Id-Part: 7\r\n";
    struct gv_reply reply;
    for (uint32_t strict = 0; strict < 2; strict++) {
        begin(reply_hello);
        rig.config.header_policy_strict = strict;
        gv_rig_start(&rig);
        gv_talk_ask(rig.port, "POST", CHAT, lines, BODY, &reply);
        CU_ASSERT_EQUAL(reply.status, 200);
        gv_reply_deinit(&reply);
        CU_ASSERT(gv_fake_was_sent(&fake, "traceparent: 00-1-2-01\r\n"));
        CU_ASSERT(gv_fake_was_sent(&fake, "tracestate: a=b\r\n"));
        CU_ASSERT(gv_fake_was_sent(&fake, "X-Request-Id-Part: 7\r\n"));
        CU_ASSERT(gv_fake_was_sent(&fake, "Content-Type: application/json\r\n"));
        CU_ASSERT_EQUAL(gv_fake_was_sent(&fake, "Cookie: c\r\n"), strict == 0);
        end();
    }
}

static void an_error_of_a_worker_passes_byte_for_byte(void)
{
    struct gv_reply reply;
    begin(reply_error);
    gv_rig_start(&rig);
    gv_talk_ask(rig.port, "POST", CHAT, NULL, BODY, &reply);
    CU_ASSERT_EQUAL(reply.status, 422);
    CU_ASSERT_STRING_EQUAL(reply.body, ERROR_BODY);
    expect_header(&reply, "Content-Type", "application/problem+json");
    gv_reply_deinit(&reply);
    end();
}

GV_SUITE("integration/surface", GV_CASE(a_page_from_elsewhere_may_ask_and_read),
         GV_CASE(a_tenants_key_reaches_no_worker),
         GV_CASE(operators_keys_are_judged_by_the_control_plane_alone),
         GV_CASE(only_listed_origins_may_when_there_is_a_list),
         GV_CASE(head_is_get_without_its_body),
         GV_CASE(the_first_configured_header_with_an_id_names_the_request),
         GV_CASE(each_endpoint_has_its_prefix_of_ids),
         GV_CASE(trace_headers_pass_by_both_policies_and_cookies_by_one),
         GV_CASE(an_error_of_a_worker_passes_byte_for_byte))
