/*
 * test_bad_requests.c - bytes that no client should send, on a real connection: the status that
 * comes back, that the connection ends, and that no worker saw anything of it.
 *
 * The rows follow the list that tests/README.md maps. Every row is sent whole, with a good request
 * behind it on the same connection: a refusal must be the last answer there, a row that is served
 * must be followed by the answer to that. That a row reads the same wherever it is cut is shown by
 * unit/http/parser_bad, that real servers behind us read it alike by e2e/framing.
 */
#include "support/fake.h"
#include "support/process.h"
#include "support/rig.h"
#include "support/suite.h"
#include "support/talk.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHAT     "/v1/chat/completions"
#define P        "POST " CHAT " HTTP/1.1\r\nHost: x\r\n"
#define J        "{\"messages\":[]}"
#define CL       "Content-Length: 15\r\n"
#define TE       "Transfer-Encoding: chunked\r\n"
#define CHUNKS   "f\r\n" J "\r\n0\r\n\r\n"
#define INNER    "POST /generate HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
#define BEHIND   "GET /liveness HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
#define ROWS_MAX 256

struct row {
    const char *bytes;
    size_t len;
    int status;
};

#define ROW(status, text)                                                                          \
    {                                                                                              \
        text, sizeof(text) - 1, status                                                             \
    }

static bool reply_ok(struct gv_fake *fake, int fd)
{
    (void)fake;
    gv_fake_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
    return true;
}

/* Everything until the end of the connection, NUL-terminated. */
static char *read_all(int fd)
{
    size_t len = 0;
    size_t room = 4096;
    char *text = malloc(room);
    for (;;) {
        if (room - len < 2048) {
            room *= 2;
            text = realloc(text, room);
        }
        ssize_t got = recv(fd, text + len, room - len - 1, 0);
        if (got <= 0) {
            break;
        }
        len += (size_t)got;
    }
    text[len] = '\0';
    return text;
}

/* The statuses of the answers in `text`, 100 left out; how many. */
static size_t read_statuses(const char *text, int statuses[4])
{
    size_t count = 0;
    for (const char *at = text; (at = strstr(at, "HTTP/1.1 ")) != NULL; at += 9) {
        int status = atoi(at + 9);
        if (status > 100 && count < 4) { /* 0: in the words of a 505 */
            statuses[count++] = status;
        }
    }
    return count;
}

static bool is_as_wanted(const struct row *row, const char *text)
{
    int got[4] = {0};
    size_t count = read_statuses(text, got);
    bool is_served = row->status == 200;
    bool is_told = is_served || strstr(text, "Connection: close\r\n") != NULL;
    bool good = is_served ? count == 2 && got[0] == 200 && got[1] == 200
                          : count == 1 && got[0] == row->status && is_told;
    if (!good) {
        printf("wanted %d, came %zu answers %d %d, for: %.90s\n", row->status, count, got[0],
               got[1], row->bytes);
    }
    return good;
}

/* All rows at once, each on a connection of its own: a refusal is followed by some patience. */
static void check_with(struct gv_rig *rig, struct gv_fake *fake, const struct row *rows,
                       size_t count)
{
    static int fds[ROWS_MAX];
    int served = 0;
    CU_ASSERT_FATAL(count > 0 && count <= ROWS_MAX);
    for (size_t i = 0; i < count; i++) {
        fds[i] = gv_talk_connect(rig->port);
        CU_ASSERT_FATAL(fds[i] >= 0);
        (void)gv_talk_send(fds[i], rows[i].bytes, rows[i].len); /* it may end us in between */
        (void)gv_talk_send_text(fds[i], BEHIND);
        served += rows[i].status == 200 ? 1 : 0;
    }
    for (size_t i = 0; i < count; i++) {
        char *text = read_all(fds[i]);
        CU_ASSERT(is_as_wanted(&rows[i], text));
        free(text);
        close(fds[i]);
    }
    CU_ASSERT_EQUAL(atomic_load(&fake->request_count), served);
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

static void check(const struct row *rows, size_t count)
{
    struct gv_rig rig;
    struct gv_fake fake;
    begin(&rig, &fake);
    gv_rig_start(&rig);
    check_with(&rig, &fake, rows, count);
    end(&rig, &fake);
}

#define CHECK(rows) check(rows, sizeof(rows) / sizeof(rows)[0])

static void a_length_that_is_not_one_plain_number_is_refused(void)
{
    static const struct row rows[] = {
        ROW(200, P CL "\r\n" J),
        ROW(400, P CL TE "\r\n0\r\n\r\n" INNER),
        ROW(400, P TE "Content-Length: 4\r\n\r\n" CHUNKS INNER),
        ROW(400, P CL "Content-Length: 0\r\n\r\n" J INNER),
        ROW(400, P CL CL "\r\n" J),
        ROW(400, P "Content-Length: 15, 15\r\n\r\n" J),
        ROW(400, P "Content-Length: 15, 5\r\n\r\n" J),
        ROW(400, P "Content-Length:\r\n\r\n" J),
        ROW(400, P "Content-Length: +15\r\n\r\n" J),
        ROW(400, P "Content-Length: -1\r\n\r\n" J),
        ROW(400, P "Content-Length: -0\r\n\r\n" INNER),
        ROW(400, P "Content-Length: 0xf\r\n\r\n" J),
        ROW(400, P "Content-Length: 1_5\r\n\r\n" J),
        ROW(400, P "Content-Length: 1 5\r\n\r\n" J),
        ROW(400, P "Content-Length: 00015\r\n\r\n" J),
        ROW(400, P "Content-Length: 017\r\n\r\n" J),
        ROW(413, P "Content-Length: 9223372036854775808\r\n\r\n" J),
        ROW(400, P "Content-Length: 18446744073709551616\r\n\r\n" J),
        ROW(400, P "Content-Length: \t15\r\n\r\n" J),
        ROW(400, P "Content-Length: 15\t\r\n\r\n" J),
        ROW(400, P "Content-Length:\r\n 15\r\n\r\n" J),
        ROW(400, P "Content-Length : 15\r\n\r\n" J),
        ROW(400, P "Content_Length: 15\r\n\r\n" J),
    };
    CHECK(rows);
    /* a body that goes on behind its length: what is behind is a request, and a bad one */
    struct gv_rig rig;
    struct gv_fake fake;
    begin(&rig, &fake);
    gv_rig_start(&rig);
    int statuses[4] = {0};
    int fd = gv_talk_connect(rig.port);
    CU_ASSERT(gv_talk_send_text(fd, P CL "\r\n" J "X: y\r\n" BEHIND));
    char *text = read_all(fd);
    CU_ASSERT_EQUAL(read_statuses(text, statuses), 2);
    CU_ASSERT_EQUAL(statuses[0], 200);
    CU_ASSERT_EQUAL(statuses[1], 400);
    free(text);
    close(fd);
    end(&rig, &fake);
}

static void a_coding_that_is_not_chunked_alone_is_refused(void)
{
    static const struct row rows[] = {
        ROW(200, P TE "\r\n" CHUNKS),
        ROW(200, P "transfer-encoding: Chunked\r\n\r\n" CHUNKS),
        ROW(501, P "Transfer-Encoding: chunked, identity\r\n\r\n" CHUNKS),
        ROW(501, P "Transfer-Encoding: identity, chunked\r\n\r\n" CHUNKS),
        ROW(501, P "Transfer-Encoding: xchunked\r\n\r\n" CHUNKS),
        ROW(501, P "Transfer-Encoding: \"chunked\"\r\n\r\n" CHUNKS),
        ROW(501, P "Transfer-Encoding: chunked;q=1\r\n\r\n" CHUNKS),
        ROW(501, P "Transfer-Encoding: ,chunked\r\n\r\n" CHUNKS),
        ROW(501, P "Transfer-Encoding: chunked,\r\n\r\n" CHUNKS),
        ROW(501, P "Transfer-Encoding: cow\r\n\r\n" CHUNKS),
        ROW(501, P "Transfer-Encoding: gzip, chunked\r\n\r\n" CHUNKS),
        ROW(501, P "Transfer-Encoding: \240chunked\r\n\r\n" CHUNKS),
        ROW(400, P "Transfer-Encoding:\r\n\r\n" CHUNKS),
        ROW(400, P TE TE "\r\n" CHUNKS),
        ROW(400, P TE "Transfer-Encoding: cow\r\n\r\n" CHUNKS),
        ROW(400, P "Transfer-Encoding: \vchunked\r\n\r\n" CHUNKS),
        ROW(400, P "Transfer-Encoding: \fchunked\r\n\r\n" CHUNKS),
        ROW(400, P "Transfer-Encoding: chunked\0\r\n\r\n" CHUNKS),
        ROW(400, P "Transfer-Encoding:\r\n chunked\r\n\r\n" CHUNKS),
        ROW(400, P "Transfer-Encoding : chunked\r\n\r\n" CHUNKS),
        ROW(400, P "Transfer_Encoding: chunked\r\n\r\n" CHUNKS),
        ROW(400, P "X:\rTransfer-Encoding: chunked\r\n\r\n" CHUNKS), /* CVE-2023-30589 */
        ROW(400, "POST " CHAT " HTTP/1.0\r\nHost: x\r\n" TE "\r\n" CHUNKS),
    };
    CHECK(rows);
}

static void chunks_that_could_be_read_in_two_ways_are_refused(void)
{
    static const struct row rows[] = {
        ROW(200, P TE "\r\nf;a=\"b;c\"\r\n" J "\r\n0;x\r\nX: y\r\n\r\n"),
        ROW(400, P TE "\r\n0xf\r\n" J "\r\n0\r\n\r\n"),
        ROW(400, P TE "\r\n+f\r\n" J "\r\n0\r\n\r\n"),
        ROW(400, P TE "\r\n-1\r\n" J "\r\n0\r\n\r\n"),
        ROW(400, P TE "\r\nf_\r\n" J "\r\n0\r\n\r\n"),
        ROW(400, P TE "\r\n f\r\n" J "\r\n0\r\n\r\n"),
        ROW(400, P TE "\r\nf \r\n" J "\r\n0\r\n\r\n"),
        ROW(400, P TE "\r\n0000000000000000f\r\n" J "\r\n0\r\n\r\n"),
        ROW(413, P TE "\r\nffffffffffffffff\r\n" J "\r\n0\r\n\r\n"),
        ROW(400, P TE "\r\n1000000000000000f\r\n" J "\r\n0\r\n\r\n"),
        ROW(400, P TE "\r\nf\n" J "\r\n0\r\n\r\n"),
        ROW(400, P TE "\r\nf\r" J "\r\n0\r\n\r\n"),
        ROW(400, P TE "\r\nf;a\nb\r\n" J "\r\n0\r\n\r\n"),
        ROW(400, P TE "\r\nf;a\rb\r\n" J "\r\n0\r\n\r\n"),
        ROW(400, P TE "\r\nf;a\0\r\n" J "\r\n0\r\n\r\n"),
        ROW(400, P TE "\r\nf\r\n" J "0\r\n\r\n"),
        ROW(400, P TE "\r\ne\r\n" J "\r\n0\r\n\r\n"),
        ROW(400, P TE "\r\n10\r\n" J "\r\n0\r\n\r\n"),
        ROW(400, P TE "\r\nf\r\n" J "\r\n"), /* no last chunk: the next request is none */
        ROW(200, P TE "\r\nf\r\n" J "\r\n0\r\nContent-Length: 500\r\n" TE "Host: y\r\n"
                      "Authorization: Bearer z\r\n\r\n"),
        ROW(400, P TE "\r\nf\r\n" J "\r\n0\r\nX: y\n\r\n"),
        ROW(400, P TE "\r\nf\r\n" J "\r\n0\r\nX y\r\n\r\n"),
        ROW(400, P TE "\r\nf\r\n" J "\r\n0\n\n" INNER),
    };
    CHECK(rows);
}

static void header_lines_are_strict(void)
{
    static const struct row rows[] = {
        ROW(200, "\r\n" P CL "\r\n" J),
        ROW(200, P CL "X: \344\366 \t z \r\n\r\n" J),
        ROW(400, "\r\n\r\n" P CL "\r\n" J),
        ROW(400, "\n" P CL "\r\n" J),
        ROW(400, " " P CL "\r\n" J),
        ROW(400, P CL "X: y\n\r\n" J),
        ROW(400, P CL "X: y\rZ: a\r\n\r\n" J),
        ROW(400, P CL "X: \0y\r\n\r\n" J),
        ROW(400, P CL "X: \001y\r\n\r\n" J),
        ROW(400, P CL "X: \177y\r\n\r\n" J),
        ROW(400, P "X: y\r\n z\r\n" CL "\r\n" J),
        ROW(400, P "X: y\r\n\tz\r\n" CL "\r\n" J),
        ROW(400, P CL "X : y\r\n\r\n" J),
        ROW(400, P CL "X\r\n\r\n" J),
        ROW(400, P CL ": y\r\n\r\n" J),
        ROW(400, P CL "X\344: y\r\n\r\n" J),
        ROW(400, P CL "X(: y\r\n\r\n" J),
        ROW(400, P CL "\r\rX" J), /* CVE-2025-23167 */
        ROW(400, P CL "\n\n" J),
        ROW(400, "POST " CHAT " HTTP/1.1\r\n Host: x\r\n" CL "\r\n" J),
    };
    CHECK(rows);
}

static void request_lines_and_hosts_are_strict(void)
{
#define LINE(line)  line "\r\nHost: x\r\n" CL "\r\n" J
#define HOST(value) "POST " CHAT " HTTP/1.1\r\nHost: " value "\r\n" CL "\r\n" J
    static const struct row rows[] = {
        ROW(400, LINE("POST " CHAT)),
        ROW(505, LINE("POST " CHAT " HTTP/1.9")),
        ROW(505, LINE("POST " CHAT " HTTP/2.0")),
        ROW(505, LINE("POST " CHAT " HTTP/0.9")),
        ROW(400, LINE("POST " CHAT " HTTP/01.1")),
        ROW(400, LINE("POST " CHAT " HTTP/1.")),
        ROW(400, LINE("POST " CHAT " http/1.1")),
        ROW(400, LINE("POST " CHAT " HTTP / 1.1")),
        ROW(400, LINE("POST\t" CHAT " HTTP/1.1")),
        ROW(400, LINE("POST  " CHAT " HTTP/1.1")),
        ROW(400, LINE("POST " CHAT "  HTTP/1.1")),
        ROW(400, LINE("POST  HTTP/1.1")),
        ROW(400, "GET /\r\n"),
        ROW(400, LINE("POST " CHAT "#a HTTP/1.1")),
        ROW(400, LINE("POST * HTTP/1.1")),
        ROW(400, LINE("POST x:80 HTTP/1.1")),
        ROW(400, LINE("POST http://y" CHAT " HTTP/1.1")),
        ROW(400, LINE("POST http://u@x" CHAT " HTTP/1.1")),
        ROW(200, LINE("POST http://x" CHAT " HTTP/1.1")),
        ROW(501, LINE("CONNECT x:80 HTTP/1.1")),
        ROW(405, LINE("TRACE " CHAT " HTTP/1.1")),
        ROW(501, LINE("post " CHAT " HTTP/1.1")),
        ROW(501, LINE("BREW " CHAT " HTTP/1.1")),
        ROW(400, LINE("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHIJKLMNOPQRSTUVWXYZ " CHAT " HTTP/1.1")),
        ROW(400, LINE("POST " CHAT "\0 HTTP/1.1")),
        ROW(400, LINE("POST " CHAT "\001 HTTP/1.1")),
        ROW(400, LINE("POST " CHAT " x HTTP/1.1")),
        ROW(400, LINE("POST /v1\\chat HTTP/1.1")),
        ROW(400, LINE("POST " CHAT "?\300\257 HTTP/1.1")),
        ROW(400, LINE("POST " CHAT "%00 HTTP/1.1")),
        ROW(400, LINE("POST " CHAT "/%2e%2e/x HTTP/1.1")),
        ROW(400, LINE("POST " CHAT "/../x HTTP/1.1")),
        ROW(505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ROW(400, "\026\003\001\002\000\001\000\001\374\003\003"), /* a ClientHello */
        ROW(400, "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" P CL "\r\n" J),
        ROW(400, "\r\n\r\n\000\r\nQUIT\n\041\021\000\014"), /* the same, version 2 */
        ROW(200, HOST("my_box.local:1")),
        ROW(400, "POST " CHAT " HTTP/1.1\r\n" CL "\r\n" J),
        ROW(400, P "Host: x\r\n" CL "\r\n" J),
        ROW(400, HOST("")),
        ROW(400, HOST("u@x")),
        ROW(400, HOST("x/y")),
        ROW(400, HOST("x, y")),
        ROW(400, HOST("x:0")),
        ROW(400, HOST("x:99999")),
        ROW(400, HOST("[fe80::1%25eth0]")),
        ROW(200, HOST("[::1]:80")),
    };
    CHECK(rows);
}

/* What asks for something else than an answer gets an answer, or a refusal, and nothing else. */
static void expectations_and_upgrades_change_nothing(void)
{
    static const struct row rows[] = {
        ROW(200, P CL "Expect: 100-continue\r\n\r\n" J),
        ROW(417, P CL "Expect: 200-ok\r\n\r\n" J),
        ROW(417, P CL "Expect: 100-continue, x\r\n\r\n" J),
        ROW(200, P CL "Connection: content-length\r\n\r\n" J),
        ROW(200, P TE "Connection: transfer-encoding, host\r\n\r\n" CHUNKS),
        ROW(200, P CL "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
                      "HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n" J),
        ROW(200, P CL "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" J),
    };
    CHECK(rows);
    struct gv_rig rig;
    struct gv_fake fake;
    begin(&rig, &fake);
    gv_rig_start(&rig);
    /* without its body it is told to go on, and waits */
    char got[2048];
    int fd = gv_talk_connect(rig.port);
    CU_ASSERT(gv_talk_send_text(fd, P CL "Expect: 100-continue\r\n\r\n"));
    CU_ASSERT(gv_talk_read_until(fd, "\r\n\r\n", got, sizeof got));
    CU_ASSERT_STRING_EQUAL(got, "HTTP/1.1 100 Continue\r\n\r\n");
    CU_ASSERT_EQUAL(atomic_load(&fake.request_count), 0);
    CU_ASSERT(gv_talk_send_text(fd, J));
    CU_ASSERT(gv_talk_read_until(fd, "{}", got, sizeof got));
    CU_ASSERT_FALSE(gv_fake_was_sent(&fake, "Expect"));
    close(fd);
    /* "close" beside "keep-alive" is close: one answer, and what is behind is not read */
    fd = gv_talk_connect(rig.port);
    CU_ASSERT(gv_talk_send_text(fd, P CL "Connection: close, keep-alive\r\n\r\n" J BEHIND));
    int statuses[4];
    char *text = read_all(fd);
    CU_ASSERT_EQUAL(read_statuses(text, statuses), 1);
    CU_ASSERT_EQUAL(statuses[0], 200);
    free(text);
    close(fd);
    CU_ASSERT_EQUAL(atomic_load(&fake.request_count), 2);
    CU_ASSERT_FALSE(gv_fake_was_sent(&fake, "keep-alive"));
    end(&rig, &fake);
}

/* ---- limits, each from both sides ---- */

/* `before`, then `count` times `piece`, then `after`. */
static struct row grown(int status, const char *before, const char *piece, size_t count,
                        const char *after)
{
    size_t len = strlen(before) + count * strlen(piece) + strlen(after);
    char *bytes = malloc(len + 1);
    char *at = stpcpy(bytes, before);
    for (size_t i = 0; i < count; i++) {
        at = stpcpy(at, piece);
    }
    (void)stpcpy(at, after);
    return (struct row){bytes, len, status};
}

static void each_limit_holds_on_both_sides(void)
{
    struct gv_rig rig;
    struct gv_fake fake;
    begin(&rig, &fake);
    rig.config.max_head_bytes = 2048;
    rig.config.max_header_count = 20;
    rig.config.max_uri_bytes = 256;
    rig.config.max_payload_bytes = 1000;
    rig.config.max_chunk_ext_bytes = 100;
    rig.config.max_trailer_bytes = 80;
    gv_rig_start(&rig);
    size_t head = strlen(P CL "X: \r\n\r\n");
    size_t target = strlen(CHAT "?");
    static const char ask[] = "POST " CHAT "?";
    static const char line[] = " HTTP/1.1\r\nHost: x\r\n" CL "\r\n" J;
    static const char said[] = P "Content-Length: 1000\r\n\r\n{\"messages\":[],\"a\":\"";
    size_t body = strlen("{\"messages\":[],\"a\":\"\"}");
    const struct row rows[] = {
        grown(200, P CL "X: ", "a", 2048 - head, "\r\n\r\n" J),
        grown(431, P CL "X: ", "a", 2048 - head + 1, "\r\n\r\n" J),
        grown(431, P CL "X: ", "a", 1 << 20, "\r\n\r\n" J), /* one header of a MiB */
        grown(200, P CL, "X: y\r\n", 18, "\r\n" J),
        grown(431, P CL, "X: y\r\n", 19, "\r\n" J),
        grown(431, P CL, "X: y\r\n", 10000, "\r\n" J),
        grown(200, ask, "a", 256 - target, line),
        grown(414, ask, "a", 256 - target + 1, line),
        grown(414, ask, "a", 65536, line),
        grown(200, said, "a", 1000 - body, "\"}"),
        grown(413, P "Content-Length: 1001\r\n\r\n", "a", 1001, ""),
        grown(200, P TE "\r\n3e8\r\n{\"messages\":[],\"a\":\"", "a", 1000 - body,
              "\"}\r\n0\r\n\r\n"),
        grown(413, P TE "\r\n3e8\r\n", "a", 1000, "\r\n1\r\na\r\n0\r\n\r\n"),
        grown(200, P TE "\r\nf;", "a", 99, "\r\n" J "\r\n0\r\n\r\n"),
        grown(400, P TE "\r\nf;", "a", 100, "\r\n" J "\r\n0\r\n\r\n"),
        grown(400, P TE "\r\nf;", "a", 32 << 20, "\r\n" J "\r\n0\r\n\r\n"),
        grown(400, P TE "\r\nf;", "a", 50,
              "\r\n" J "\r\n0;2345678901234567890123456789012345678901"
              "234567890\r\n\r\n"), /* of all chunks together */
        grown(200, P TE "\r\nf\r\n" J "\r\n0\r\nX: ", "a", 80 - 5, "\r\n\r\n"),
        grown(431, P TE "\r\nf\r\n" J "\r\n0\r\nX: ", "a", 80 - 4, "\r\n\r\n"),
        grown(431, P TE "\r\nf\r\n" J "\r\n0\r\n", "X: y\r\n", 1 << 16, "\r\n"), /* endless */
    };
    check_with(&rig, &fake, rows, sizeof rows / sizeof rows[0]);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        free((char *)(uintptr_t)rows[i].bytes);
    }
    end(&rig, &fake);
}

static void limits_of_nothing_let_nothing_of_it_pass(void)
{
    struct gv_rig rig;
    struct gv_fake fake;
    begin(&rig, &fake);
    rig.config.max_chunk_ext_bytes = 0;
    rig.config.max_trailer_bytes = 0;
    gv_rig_start(&rig);
    static const struct row rows[] = {
        ROW(200, P TE "\r\n" CHUNKS),
        ROW(400, P TE "\r\nf;\r\n" J "\r\n0\r\n\r\n"),
        ROW(431, P TE "\r\nf\r\n" J "\r\n0\r\nX:\r\n\r\n"),
    };
    check_with(&rig, &fake, rows, sizeof rows / sizeof rows[0]);
    end(&rig, &fake);
}

/* ---- noise ---- */

static void random_bytes_are_refused_and_reach_nobody(void)
{
    struct gv_rig rig;
    struct gv_fake fake;
    uint64_t seed = 88172645463325252u;
    begin(&rig, &fake);
    gv_rig_start(&rig);
    for (int i = 0; i < 300; i++) {
        uint8_t bytes[64];
        for (size_t k = 0; k < sizeof bytes; k++) {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            bytes[k] = (uint8_t)(seed >> 32);
        }
        int fd = gv_talk_connect(rig.port);
        (void)gv_talk_send(fd, bytes, 1 + (size_t)(seed % sizeof bytes));
        (void)shutdown(fd, SHUT_WR);
        char *text = read_all(fd);
        CU_ASSERT(text[0] == '\0' || strncmp(text, "HTTP/1.1 4", 10) == 0 ||
                  strncmp(text, "HTTP/1.1 50", 11) == 0);
        free(text);
        close(fd);
    }
    CU_ASSERT_EQUAL(atomic_load(&fake.request_count), 0);
    end(&rig, &fake);
}

GV_SUITE("integration/bad_requests", GV_CASE(a_length_that_is_not_one_plain_number_is_refused),
         GV_CASE(a_coding_that_is_not_chunked_alone_is_refused),
         GV_CASE(chunks_that_could_be_read_in_two_ways_are_refused),
         GV_CASE(header_lines_are_strict), GV_CASE(request_lines_and_hosts_are_strict),
         GV_CASE(expectations_and_upgrades_change_nothing), GV_CASE(each_limit_holds_on_both_sides),
         GV_CASE(limits_of_nothing_let_nothing_of_it_pass),
         GV_CASE(random_bytes_are_refused_and_reach_nobody))
