/*
 * test_bad_bodies.c - JSON that no client should send, and JSON that only looks bad: what is
 * refused reaches no worker and leaves the connection open; what passes, passes byte for byte.
 */
#include "grapevine/proxy/local.h"
#include "support/fake.h"
#include "support/process.h"
#include "support/rig.h"
#include "support/suite.h"
#include "support/talk.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHAT     "/v1/chat/completions"
#define COMPLETE "/v1/completions"
#define SAY      "{\"role\":\"user\",\"content\":\"hi\"}"

static bool reply_ok(struct gv_fake *fake, int fd)
{
    (void)fake;
    gv_fake_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
    return true;
}

struct row {
    const char *path;
    const char *body;
    size_t len;
    int status;
};

#define ROW(status, path, body)                                                                    \
    {                                                                                              \
        path, body, sizeof(body) - 1, status                                                       \
    }

static void begin(struct gv_rig *rig, struct gv_fake *fake)
{
    gv_rig_init(rig);
    gv_fake_start(fake, reply_ok);
    gv_rig_add_worker(rig, fake->url, GV_POOL_REGULAR, GV_WORKER_READY);
}

static void end(struct gv_rig *rig, struct gv_fake *fake)
{
    gv_rig_stop(rig);
    gv_fake_stop(fake);
}

static void send_request(int fd, const char *path, const char *body, size_t len)
{
    char head[256];
    snprintf(head, sizeof head, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n", path,
             len);
    CU_ASSERT(gv_talk_send_text(fd, head));
    CU_ASSERT(gv_talk_send(fd, body, len));
}

/* All rows on one connection, so that each answer also says that the one before it kept it in step.
 */
static void check(const struct row *rows, size_t count)
{
    struct gv_rig rig;
    struct gv_fake fake;
    int served = 0;
    begin(&rig, &fake);
    gv_rig_start(&rig);
    int fd = gv_talk_connect(rig.port);
    CU_ASSERT(count > 0);
    for (size_t i = 0; i < count; i++) {
        struct gv_reply reply;
        send_request(fd, rows[i].path, rows[i].body, rows[i].len);
        gv_talk_read(fd, &reply);
        if (reply.status != rows[i].status) {
            printf("wanted %d, came %d for: %.80s\n", rows[i].status, reply.status, rows[i].body);
        }
        CU_ASSERT_EQUAL(reply.status, rows[i].status);
        if (rows[i].status == 200) {
            served += 1;
            CU_ASSERT(gv_fake_was_sent(&fake, rows[i].body)); /* as it was */
        } else {
            CU_ASSERT_PTR_NOT_NULL(strstr(reply.body, "\"invalid_request_error\""));
        }
        CU_ASSERT_EQUAL(atomic_load(&fake.request_count), served);
        gv_reply_deinit(&reply);
    }
    close(fd);
    end(&rig, &fake);
}

#define CHECK(rows) check(rows, sizeof(rows) / sizeof(rows)[0])

static void what_is_no_json_is_refused_and_keeps_the_connection(void)
{
    static const struct row rows[] = {
        ROW(400, CHAT, ""),
        ROW(400, CHAT, "{"),
        ROW(400, CHAT, "{\"messages\":[" SAY "]"),
        ROW(400, CHAT, "{\"messages\":[" SAY "]}}"),
        ROW(400, CHAT, "{\"messages\":[" SAY "],}"),
        ROW(400, CHAT, "{'messages':[]}"),
        ROW(400, CHAT, "\357\273\277{\"messages\":[]}"),                /* a byte order mark */
        ROW(400, CHAT, "{\"model\":\"\377\",\"messages\":[]}"),         /* no UTF-8 */
        ROW(400, CHAT, "{\"model\":\"\300\257\",\"messages\":[]}"),     /* overlong */
        ROW(400, CHAT, "{\"model\":\"\355\240\200\",\"messages\":[]}"), /* a surrogate in bytes */
        ROW(400, CHAT, "{\"model\":\"a\0b\",\"messages\":[]}"),         /* a raw NUL */
        ROW(400, CHAT, "{\"model\":\"a\nb\",\"messages\":[]}"),
        ROW(400, CHAT, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        ROW(200, CHAT, "{\"messages\":[" SAY "]}"),
    };
    CHECK(rows);
}

static void fields_of_the_wrong_type_are_refused(void)
{
    static const struct row rows[] = {
        ROW(400, CHAT, "[]"),
        ROW(400, CHAT, "null"),
        ROW(400, CHAT, "{\"messages\":\"hi\"}"),
        ROW(400, CHAT, "{\"messages\":{}}"),
        ROW(400, CHAT, "{\"messages\":[\"hi\"]}"),
        ROW(400, CHAT, "{\"messages\":[" SAY "],\"stream\":\"true\"}"),
        ROW(400, CHAT, "{\"messages\":[" SAY "],\"stream\":1}"),
        ROW(400, CHAT, "{\"messages\":[" SAY "],\"model\":7}"),
        ROW(400, COMPLETE, "{\"prompt\":7}"),
        ROW(400, COMPLETE, "{\"prompt\":[\"a\",1]}"),
        ROW(200, COMPLETE, "{\"prompt\":[1,2,3]}"),
        ROW(200, COMPLETE, "{\"prompt\":[[1,2],[3]]}"),
        ROW(200, COMPLETE, "{\"prompt\":[\"a\",\"b\"]}"),
        ROW(200, "/generate", "{\"input_ids\":[1,2,3]}"),
        ROW(200, CHAT, "{\"messages\":[" SAY "],\"stream\":false}"),
    };
    CHECK(rows);
}

/* The engine is the judge of what routing does not need. */
static void odd_but_well_formed_bodies_pass_as_they_are(void)
{
    static const struct row rows[] = {
        ROW(200, CHAT, "{\"model\":\"a\",\"model\":\"b\",\"messages\":[" SAY "]}"),
        ROW(200, CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":\"\\ud800 lone\"}]}"),
        ROW(200, CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":\"\\u0000\"}]}"),
        ROW(200, CHAT, "{\"messages\":[" SAY "],\"temperature\":1e999999}"),
        ROW(200, CHAT, "{\"messages\":[" SAY "],\"seed\":123456789012345678901234567890}"),
        ROW(200, CHAT, "{\"messages\":[" SAY "],\"max_tokens\":-1}"),
        ROW(200, CHAT, "{\"messages\":[]}"),
        ROW(200, CHAT, "{}"),
        ROW(200, CHAT, " \r\n\t{\"messages\" : [ ] } \n"),
    };
    CHECK(rows);
}

/* "[[[...]]]" as a value of `field`; owned by the caller. */
static char *nested(const char *field, size_t depth)
{
    char *body = malloc(2 * depth + strlen(field) + 64);
    char *at = body + sprintf(body, "{\"messages\":[],\"%s\":", field);
    memset(at, '[', depth);
    memset(at + depth, ']', depth);
    strcpy(at + 2 * depth, "}");
    return body;
}

/* Where nobody looks, any depth is skipped; where routing reads, the depth has an end. */
static void a_hundred_thousand_levels_cost_an_answer_and_no_more(void)
{
    static const char *const fields[] = {"x", "tools", "prompt"};
    struct gv_rig rig;
    struct gv_fake fake;
    begin(&rig, &fake);
    rig.config.max_payload_bytes = 1 << 20;
    gv_rig_start(&rig);
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        char *body = nested(fields[i], 100000);
        struct gv_reply reply;
        gv_talk_ask(rig.port, "POST", CHAT, NULL, body, &reply);
        CU_ASSERT(reply.status == 200 || reply.status == 400);
        gv_reply_deinit(&reply);
        free(body);
    }
    struct gv_reply reply;
    gv_talk_ask(rig.port, "POST", CHAT, NULL, "{\"messages\":[]}", &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    gv_reply_deinit(&reply);
    end(&rig, &fake);
}

/* Text, and a picture of 20 MB as base64: one byte more than the limit is refused before it is
 * read. */
static void a_huge_body_is_refused_by_its_length_before_it_comes(void)
{
    struct gv_rig rig;
    struct gv_fake fake;
    struct gv_reply reply;
    begin(&rig, &fake);
    gv_rig_start(&rig);
    static const char *const lengths[] = {"104857600", "536870913", "9223372036854775807"};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        char head[256];
        snprintf(head, sizeof head,
                 "POST " CHAT " HTTP/1.1\r\nHost: x\r\nContent-Length: %s\r\n\r\n", lengths[i]);
        int fd = gv_talk_connect(rig.port);
        CU_ASSERT(gv_talk_send_text(fd, head)); /* and nothing of the body */
        gv_talk_read(fd, &reply);
        CU_ASSERT_EQUAL(reply.status, 413);
        gv_reply_deinit(&reply);
        CU_ASSERT(gv_talk_read_end(fd));
        close(fd);
    }
    CU_ASSERT_EQUAL(atomic_load(&fake.request_count), 0);
    end(&rig, &fake);
}

/* What is answered here has a smaller limit, of its own. */
static void a_call_that_no_worker_answers_may_have_eight_megabytes(void)
{
    struct gv_rig rig;
    struct gv_fake fake;
    begin(&rig, &fake);
    rig.config.max_payload_bytes = 512u << 20;
    gv_rig_start(&rig);
    char *body = malloc(GV_LOCAL_BODY_MAX + 1);
    memset(body, ' ', GV_LOCAL_BODY_MAX + 1);
    for (size_t more = 0; more < 2; more++) {
        struct gv_reply reply;
        char head[128];
        int fd = gv_talk_connect(rig.port);
        snprintf(head, sizeof head,
                 "POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n",
                 GV_LOCAL_BODY_MAX + more);
        CU_ASSERT(gv_talk_send_text(fd, head));
        if (more == 0) {
            CU_ASSERT(gv_talk_send(fd, body, GV_LOCAL_BODY_MAX));
        }
        gv_talk_read(fd, &reply);
        CU_ASSERT_EQUAL(reply.status, more == 0 ? 404 : 413);
        gv_reply_deinit(&reply);
        close(fd);
    }
    free(body);
    end(&rig, &fake);
}

/* However a body is cut into chunks, the engine gets the same one, with its length. */
static void a_body_in_chunks_cut_anywhere_arrives_whole(void)
{
    static const char body[] = "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":"
                               "\"gr\303\274n \\u00e4\"}],\"stream\":false}";
    size_t len = sizeof body - 1;
    struct gv_rig rig;
    struct gv_fake fake;
    struct gv_reply reply;
    char length[64];
    begin(&rig, &fake);
    gv_rig_start(&rig);
    snprintf(length, sizeof length, "Content-Length: %zu\r\n", len);
    int fd = gv_talk_connect(rig.port);
    for (size_t cut = 0; cut < len; cut++) { /* 0: each byte a chunk of its own */
        char text[2048] = "POST " CHAT " HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
        char *at = text + strlen(text);
        for (size_t from = 0; from < len;) {
            size_t take = cut == 0 ? 1 : (from == 0 ? cut : len - from);
            at += sprintf(at, "%zx\r\n%.*s\r\n", take, (int)take, body + from);
            from += take;
        }
        at = stpcpy(at, "0\r\n\r\n");
        CU_ASSERT_FATAL(at < text + sizeof text);
        CU_ASSERT(gv_talk_send_text(fd, text));
        gv_talk_read(fd, &reply);
        CU_ASSERT_EQUAL(reply.status, 200);
        gv_reply_deinit(&reply);
        CU_ASSERT(gv_fake_was_sent(&fake, body));
        CU_ASSERT(gv_fake_was_sent(&fake, length));
        CU_ASSERT_FALSE(gv_fake_was_sent(&fake, "hunked"));
    }
    close(fd);
    CU_ASSERT_EQUAL(atomic_load(&fake.request_count), (int)len);
    end(&rig, &fake);
}

/* The same cuts, of the bytes on the wire. */
static void a_request_that_comes_byte_by_byte_is_the_same_request(void)
{
    static const char text[] =
        "POST " CHAT " HTTP/1.1\r\nHost: x\r\nContent-Length: 15\r\n\r\n{\"messages\":[]}";
    struct gv_rig rig;
    struct gv_fake fake;
    struct gv_reply reply;
    begin(&rig, &fake);
    gv_rig_start(&rig);
    int fd = gv_talk_connect(rig.port);
    for (size_t cut = 0; cut < sizeof text - 1; cut += 7) {
        for (size_t from = 0; from < sizeof text - 1;) {
            size_t take = cut == 0 ? 1 : (from == 0 ? cut : sizeof text - 1 - from);
            CU_ASSERT(gv_talk_send(fd, text + from, take)); /* TCP_NODELAY */
            from += take;
        }
        gv_talk_read(fd, &reply);
        CU_ASSERT_EQUAL(reply.status, 200);
        gv_reply_deinit(&reply);
        CU_ASSERT(gv_fake_was_sent(&fake, "{\"messages\":[]}"));
    }
    close(fd);
    end(&rig, &fake);
}

GV_SUITE("integration/bad_bodies", GV_CASE(what_is_no_json_is_refused_and_keeps_the_connection),
         GV_CASE(fields_of_the_wrong_type_are_refused),
         GV_CASE(odd_but_well_formed_bodies_pass_as_they_are),
         GV_CASE(a_hundred_thousand_levels_cost_an_answer_and_no_more),
         GV_CASE(a_huge_body_is_refused_by_its_length_before_it_comes),
         GV_CASE(a_call_that_no_worker_answers_may_have_eight_megabytes),
         GV_CASE(a_body_in_chunks_cut_anywhere_arrives_whole),
         GV_CASE(a_request_that_comes_byte_by_byte_is_the_same_request))
