/*
 * test_bad_answers.c - workers are not trusted either: what a client gets of an answer that is no
 * HTTP, too large, cut, or goes on where it should have ended, and that the next client gets
 * nothing of it. That each is read alike however it is cut is shown by unit/http/parser_bad.
 */
#include "grapevine/base/mem.h"
#include "support/fake.h"
#include "support/process.h"
#include "support/rig.h"
#include "support/suite.h"
#include "support/talk.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHAT   "/v1/chat/completions"
#define BODY   "{\"messages\":[]}"
#define OK200  "HTTP/1.1 200 OK\r\n"
#define TE     "Transfer-Encoding: chunked\r\n"
#define GOOD   OK200 "Content-Length: 4\r\n\r\ngood"
#define POISON OK200 "X-Poison: 1\r\nContent-Length: 6\r\n\r\npoison"

enum ending {
    STAYS = 0, /* the worker leaves the connection open */
    CLOSES,
    RESETS
};

/* What the worker says next. */
static struct {
    pthread_mutex_t lock;
    const char *bytes;
    size_t len;
    enum ending ending;
} answer = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void tell(const char *bytes, size_t len, enum ending ending)
{
    pthread_mutex_lock(&answer.lock);
    answer.bytes = bytes;
    answer.len = len;
    answer.ending = ending;
    pthread_mutex_unlock(&answer.lock);
}

static bool reply_as_told(struct gv_fake *fake, int fd)
{
    (void)fake;
    pthread_mutex_lock(&answer.lock);
    const char *bytes = answer.bytes;
    size_t len = answer.len;
    enum ending ending = answer.ending;
    pthread_mutex_unlock(&answer.lock);
    (void)gv_talk_send(fd, bytes, len);
    if (ending == RESETS) {
        const struct sockaddr nobody = {.sa_family = AF_UNSPEC};
        (void)connect(fd, &nobody, sizeof nobody); /* ends the connection with a reset */
    }
    return ending == STAYS;
}

static void begin(struct gv_rig *rig, struct gv_fake *fake, gv_fake_fn reply)
{
    gv_rig_init(rig);
    gv_fake_start(fake, reply);
    gv_rig_add_worker(rig, fake->url, GV_POOL_REGULAR, GV_WORKER_READY);
    rig->config.disable_retries = 1;
    rig->config.disable_circuit_breaker = 1;
}

static void end(struct gv_rig *rig, struct gv_fake *fake)
{
    gv_rig_stop(rig);
    gv_fake_stop(fake);
}

static void chat(struct gv_rig *rig, struct gv_reply *reply)
{
    gv_talk_ask(rig->port, "POST", CHAT, NULL, BODY, reply);
}

static void next_is_good(struct gv_rig *rig)
{
    struct gv_reply reply;
    tell(GOOD, sizeof GOOD - 1, STAYS);
    chat(rig, &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    CU_ASSERT_STRING_EQUAL(reply.body, "good");
    CU_ASSERT_PTR_NULL(strstr(reply.head, "Poison"));
    gv_reply_deinit(&reply);
}

struct row {
    const char *bytes;
    size_t len;
    enum ending ending;
    int status;
    const char *body; /* of a whole answer; NULL: 502, or for 200 a cut */
};

#define ROW(status, ending, body, text)                                                            \
    {                                                                                              \
        text, sizeof(text) - 1, ending, status, body                                               \
    }
#define BAD(text) ROW(502, STAYS, NULL, text)

static void check_row(struct gv_rig *rig, const struct row *row)
{
    struct gv_reply reply;
    tell(row->bytes, row->len, row->ending);
    chat(rig, &reply);
    bool is_whole = reply.status == row->status && reply.whole && row->body != NULL &&
                    strcmp(reply.body, row->body) == 0;
    bool is_cut = row->body == NULL && row->status == 200 && reply.status == 200 && !reply.whole;
    bool is_refused = row->body == NULL && reply.status == 502 && reply.whole; /* nothing was out */
    bool is_bad = (!is_whole && !is_cut && !is_refused) || strstr(reply.body, "poison") != NULL;
    if (is_bad) {
        printf("wanted %d, came %d, %s '%.60s', for: %.90s\n", row->status, reply.status,
               reply.whole ? "whole" : "cut", reply.body, row->bytes);
    }
    CU_ASSERT_FALSE(is_bad);
    gv_reply_deinit(&reply);
    next_is_good(rig);
    next_is_good(rig);
}

static void check(const struct row *rows, size_t count)
{
    struct gv_rig rig;
    struct gv_fake fake;
    begin(&rig, &fake, reply_as_told);
    gv_rig_start(&rig);
    CU_ASSERT(count > 0);
    for (size_t i = 0; i < count; i++) {
        check_row(&rig, &rows[i]);
    }
    end(&rig, &fake);
}

#define CHECK(rows) check(rows, sizeof(rows) / sizeof(rows)[0])

static void an_answer_that_is_no_http_is_502_and_its_connection_is_not_used_again(void)
{
    static const struct row rows[] = {
        BAD(OK200 "Content-Length: 4\r\n" TE "\r\n0\r\n\r\n" POISON),
        BAD(OK200 TE "Content-Length: 0\r\n\r\n4\r\nabcd\r\n0\r\n\r\n" POISON),
        BAD(OK200 "Content-Length: 0\r\nContent-Length: 4\r\n\r\n" POISON),
        BAD(OK200 "Content-Length: 4, 4\r\n\r\nabcd" POISON),
        BAD(OK200 "Content-Length: +0\r\n\r\n" POISON),
        BAD(OK200 "Content-Length: -1\r\n\r\n" POISON),
        BAD(OK200 "Content-Length: 0x0\r\n\r\n" POISON),
        BAD(OK200 "Content-Length:\r\n\r\n" POISON),
        BAD(OK200 "Content-Length: 18446744073709551616\r\n\r\n" POISON),
        BAD(OK200 "Content-Length:\r\n 0\r\n\r\n" POISON),
        BAD(OK200 "Content-Length : 0\r\n\r\n" POISON),
        BAD(OK200 "Transfer-Encoding: cow\r\n\r\n" POISON),
        BAD(OK200 "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" POISON),
        BAD(OK200 "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" POISON),
        BAD(OK200 "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" POISON),
        BAD(OK200 TE TE "\r\n0\r\n\r\n" POISON),
        BAD("HTTP/1.0 200 OK\r\n" TE "\r\n0\r\n\r\n" POISON),
        BAD(OK200 "X:\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" POISON),
        BAD(OK200 "X: a\r\n b\r\n\r\n"),
        BAD(OK200 "X: a\0\r\n\r\n"),
        BAD(OK200 "X: a\nContent-Length: 0\r\n\r\n" POISON),
        BAD(OK200 "X\r\n\r\n"),
        BAD(OK200 "Content-Length: 0\r\n\rX" POISON),
        BAD("HTTP/1.1 200 OK\nContent-Length: 0\n\n" POISON),
        BAD("HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"),
        BAD("HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n"),
        BAD("HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n"),
        BAD("ICY 200 OK\r\n\r\n"),
        BAD("hello\r\n"),
        BAD("\026\003\001\002\000\001\000\001\374\003\003"),
        BAD("HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: "
            "upgrade\r\n\r\n" POISON),
        BAD("HTTP/1.1 100 Continue\r\nContent-Length: 2\r\n\r\nhi" POISON),
        BAD("HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nabcd" POISON),
        BAD(OK200 TE "\r\n+4\r\nabcd\r\n0\r\n\r\n" POISON),
        BAD(OK200 TE "\r\n0x4\r\nabcd\r\n0\r\n\r\n" POISON),
        BAD(OK200 TE "\r\nfffffffffffffffff\r\nabcd" POISON),
        BAD(OK200 TE "\r\n4\nabcd\r\n0\r\n\r\n" POISON),
        ROW(502, CLOSES, NULL, ""), /* no head at all */
        ROW(502, RESETS, NULL, ""),
        ROW(502, CLOSES, NULL, OK200 TE "\r\n"),
    };
    CHECK(rows);
}

/* Once it has begun an answer can only be cut, and is never made to look complete. When all of it
 * comes in one read it has not begun, and the client hears 502. */
static void an_answer_that_goes_wrong_behind_its_first_bytes_is_cut(void)
{
    static const struct row rows[] = {
        ROW(200, CLOSES, NULL, OK200 "Content-Length: 8\r\n\r\nabcd"),
        ROW(200, CLOSES, NULL, OK200 TE "\r\n4\r\nabcd\r\n"),
        ROW(200, CLOSES, NULL, OK200 TE "\r\n8\r\nabcd"),
        ROW(200, CLOSES, NULL, OK200 TE "\r\n4\r\nabcd\r\n0\r\n"),
        ROW(200, STAYS, NULL, OK200 TE "\r\n4\r\nabcdX" POISON),
        ROW(200, STAYS, NULL, OK200 TE "\r\n4\r\nabcd\n0\r\n\r\n" POISON),
        ROW(200, STAYS, NULL, OK200 TE "\r\n4\r\nabcd\r\n-1\r\n" POISON),
        ROW(200, STAYS, NULL, OK200 TE "\r\n4\r\nabcd\r\n0\r\n\rX" POISON),
    };
    CHECK(rows);
}

static void odd_but_clear_answers_pass_and_what_is_behind_them_is_dropped(void)
{
    static const struct row rows[] = {
        ROW(200, STAYS, "abcd", OK200 "Content-Length: 4\r\n\r\nabcd" POISON),
        ROW(200, STAYS, "abcd", OK200 TE "\r\n4\r\nabcd\r\n0\r\n\r\n" POISON),
        ROW(200, STAYS, "abcd", OK200 TE "\r\n4\r\nabcd\r\n0\r\nContent-Length: 9\r\n\r\n" POISON),
        ROW(200, STAYS, "abcd", OK200 TE "\r\n4;x=\"y\"\r\nabcd\r\n0\r\n\r\n"),
        ROW(200, CLOSES, "abcd", OK200 "\r\nabcd"),
        ROW(200, CLOSES, "abcd", "HTTP/1.0 200 OK\r\n\r\nabcd"),
        ROW(200, STAYS, "abcd",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n"
            "Link: </a>\r\n\r\n" OK200 "Content-Length: 4\r\n\r\nabcd" POISON),
        ROW(200, STAYS, "\037\213\b\003",
            OK200 "Content-Encoding: gzip\r\n" /* nobody asked */
                  "Content-Length: 4\r\n\r\n\037\213\b\003"),
        ROW(200, STAYS, "abcd",
            OK200 "Date: Fri, 99 Foo 0000 99:99:99 XYZ\r\n"
                  "Content-Length: 4\r\n\r\nabcd"),
        ROW(304, STAYS, "", "HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\n" POISON),
        ROW(204, STAYS, "", "HTTP/1.1 204 No Content\r\n\r\n" POISON),
        ROW(200, STAYS, "abcd", OK200 "Connection: close\r\nContent-Length: 4\r\n\r\nabcd" POISON),
        ROW(200, STAYS, "data: a\n",
            OK200 "Content-Type: text/event-stream\r\n" TE
                  "\r\n8\r\ndata: a\n\r\n0\r\n\r\n"), /* no blank line */
        ROW(200, STAYS, "data: a\n\n",
            OK200 "Content-Type: text/event-stream\r\n" TE
                  "\r\n9\r\ndata: a\n\n\r\n0\r\n\r\n"), /* no [DONE] */
    };
    CHECK(rows);
}

/* ---- an end at every byte ---- */

static void cut_everywhere(const char *whole, size_t head, enum ending ending)
{
    struct gv_rig rig;
    struct gv_fake fake;
    begin(&rig, &fake, reply_as_told);
    gv_rig_start(&rig);
    size_t len = strlen(whole);
    for (size_t cut = 0; cut < len; cut++) {
        struct gv_reply reply;
        tell(whole, cut, ending);
        chat(&rig, &reply);
        if (cut <= head) {
            CU_ASSERT_EQUAL(reply.status, 502); /* nothing of the body: it could be said */
        } else {
            /* a reset may overtake the bytes before it */
            CU_ASSERT(reply.status == 200 || (reply.status == 502 && ending == RESETS));
            CU_ASSERT(reply.status == 502 || !reply.whole);
        }
        gv_reply_deinit(&reply);
    }
    next_is_good(&rig);
    end(&rig, &fake);
}

#define SIZED   OK200 "Content-Length: 4\r\n\r\nabcd"
#define CHUNKED OK200 TE "\r\n4\r\nabcd\r\n4\r\nefgh\r\n0\r\n\r\n"

static void an_answer_that_ends_at_any_byte_is_an_error_or_a_cut(void)
{
    cut_everywhere(SIZED, sizeof SIZED - 1 - 4, CLOSES);
    cut_everywhere(CHUNKED, sizeof OK200 TE "\r\n4\r\n" - 1, CLOSES);
}

static void a_reset_at_any_byte_is_an_error_or_a_cut(void)
{
    cut_everywhere(SIZED, sizeof SIZED - 1 - 4, RESETS);
    cut_everywhere(CHUNKED, sizeof OK200 TE "\r\n4\r\n" - 1, RESETS);
}

/* ---- without end, or nearly ---- */

static const char *endless; /* said until nobody takes it */

static bool reply_for_ever(struct gv_fake *fake, int fd)
{
    while (gv_talk_send_text(fd, endless)) {
    }
    atomic_fetch_add(&fake->gone_count, 1);
    return false;
}

static void who_never_comes_to_the_answer_is_502_and_holds_nothing(void)
{
    static const char *const rows[] = {
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
        OK200 "X: a\r\nX: a\r\nX: a\r\nX: a\r\n", /* a head is never that long */
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct gv_rig rig;
        struct gv_fake fake;
        struct gv_reply reply;
        endless = rows[i];
        begin(&rig, &fake, reply_for_ever);
        gv_rig_start(&rig);
        chat(&rig, &reply);
        CU_ASSERT_EQUAL(reply.status, 502);
        CU_ASSERT(gv_mem_used(GV_MEM_BUFFER) + gv_mem_used(GV_MEM_NET) < (4u << 20));
        gv_reply_deinit(&reply);
        end(&rig, &fake);
        CU_ASSERT_EQUAL(atomic_load(&fake.gone_count), 1);
    }
}

/* The head of an answer has a limit of 64 KiB; `value` bytes of one header. */
static int status_of_head(size_t value)
{
    struct gv_rig rig;
    struct gv_fake fake;
    struct gv_reply reply;
    char *text = malloc(value + 128);
    char *at = stpcpy(text, OK200 "Content-Length: 0\r\nX: ");
    memset(at, 'a', value);
    (void)stpcpy(at + value, "\r\n\r\n");
    begin(&rig, &fake, reply_as_told);
    gv_rig_start(&rig);
    tell(text, strlen(text), STAYS);
    chat(&rig, &reply);
    int status = reply.status;
    gv_reply_deinit(&reply);
    next_is_good(&rig);
    end(&rig, &fake);
    free(text);
    return status;
}

static void a_head_at_its_limit_passes_and_a_larger_one_is_502(void)
{
    size_t rest = strlen(OK200 "Content-Length: 0\r\nX: \r\n\r\n");
    CU_ASSERT_EQUAL(status_of_head(65536 - rest), 200);
    CU_ASSERT_EQUAL(status_of_head(65536 - rest + 1), 502);
    CU_ASSERT_EQUAL(status_of_head(1 << 20), 502);
}

#define LINE_BYTES (10u << 20)

static bool reply_long_line(struct gv_fake *fake, int fd)
{
    static char piece[64 * 1024];
    (void)fake;
    char head[160];
    memset(piece, 'a', sizeof piece);
    snprintf(head, sizeof head,
             OK200 "Content-Type: text/event-stream\r\n" TE "\r\n%x\r\ndata: ", LINE_BYTES + 6);
    gv_fake_say(fd, head);
    for (size_t sent = 0; sent < LINE_BYTES; sent += sizeof piece) {
        (void)gv_talk_send(fd, piece, sizeof piece);
    }
    gv_fake_say(fd, "\r\n0\r\n\r\n");
    return true;
}

static void an_event_of_ten_megabytes_passes_without_being_kept(void)
{
    struct gv_rig rig;
    struct gv_fake fake;
    begin(&rig, &fake, reply_long_line);
    gv_rig_start(&rig);
    static char bytes[64 * 1024];
    size_t before = gv_mem_used(GV_MEM_BUFFER) + gv_mem_used(GV_MEM_NET);
    size_t most = 0;
    size_t count = 0;
    ssize_t got;
    int fd = gv_talk_connect(rig.port);
    CU_ASSERT(gv_talk_send_text(fd, "POST " CHAT " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                                    "Content-Length: 29\r\n\r\n{\"messages\":[],\"stream\":true}"));
    while ((got = recv(fd, bytes, sizeof bytes, 0)) > 0) {
        size_t used = gv_mem_used(GV_MEM_BUFFER) + gv_mem_used(GV_MEM_NET);
        most = used > most ? used : most;
        count += (size_t)got;
    }
    CU_ASSERT_EQUAL(got, 0);
    CU_ASSERT(count > LINE_BYTES + 6);
    CU_ASSERT(most < before + (3u << 20));
    close(fd);
    end(&rig, &fake);
}

/* ---- slowly ---- */

static bool reply_drop_by_drop(struct gv_fake *fake, int fd)
{
    gv_fake_say(fd, "HTTP/1.1 103 Early Hints\r\n\r\n" OK200 "X: ");
    while (gv_talk_send_text(fd, "a")) {
        gv_test_pause();
    }
    atomic_fetch_add(&fake->gone_count, 1);
    return false;
}

/* Hints and bytes of a head are no first byte of an answer. */
static void a_head_that_drips_is_a_504(void)
{
    struct gv_rig rig;
    struct gv_fake fake;
    struct gv_reply reply;
    begin(&rig, &fake, reply_drop_by_drop);
    rig.config.first_byte_timeout_ms = 300;
    gv_rig_start(&rig);
    chat(&rig, &reply);
    CU_ASSERT_EQUAL(reply.status, 504);
    gv_reply_deinit(&reply);
    end(&rig, &fake);
    CU_ASSERT_EQUAL(atomic_load(&fake.gone_count), 1);
}

GV_SUITE("integration/bad_answers",
         GV_CASE(an_answer_that_is_no_http_is_502_and_its_connection_is_not_used_again),
         GV_CASE(an_answer_that_goes_wrong_behind_its_first_bytes_is_cut),
         GV_CASE(odd_but_clear_answers_pass_and_what_is_behind_them_is_dropped),
         GV_CASE(an_answer_that_ends_at_any_byte_is_an_error_or_a_cut),
         GV_CASE(a_reset_at_any_byte_is_an_error_or_a_cut),
         GV_CASE(who_never_comes_to_the_answer_is_502_and_holds_nothing),
         GV_CASE(a_head_at_its_limit_passes_and_a_larger_one_is_502),
         GV_CASE(an_event_of_ten_megabytes_passes_without_being_kept),
         GV_CASE(a_head_that_drips_is_a_504))
