/*
 * test_access.c - the line that the log has of every request: who asked, what came of it, why, and
 * the name by which a client can ask about it.
 */
#include "grapevine/base/log.h"
#include "support/fake.h"
#include "support/rig.h"
#include "support/suite.h"
#include "support/talk.h"
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHAT "/v1/chat/completions"
#define BODY "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hello there\"}]}"
#define REQUEST                                                                                    \
    "POST " CHAT " HTTP/1.1\r\nHost: x\r\nX-Request-Id: mine\r\nContent-Length: 66\r\n\r\n" BODY
#define LOG_BYTES  (64 * 1024)
#define WORD_BYTES 200

static struct gv_rig rig;
static struct gv_fake fake;
static FILE *lines;

static bool reply_hello(struct gv_fake *worker, int fd)
{
    (void)worker;
    gv_fake_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    return true;
}

static void begin(void)
{
    lines = tmpfile();
    CU_ASSERT_PTR_NOT_NULL_FATAL(lines);
    struct gv_log_options options = {.level = GV_LOG_INFO, .fd = fileno(lines)};
    CU_ASSERT_EQUAL_FATAL(gv_log_open(options), GV_OK);
    gv_rig_init(&rig);
    gv_fake_start(&fake, reply_hello);
    gv_rig_add_worker(&rig, fake.url, GV_POOL_REGULAR, GV_WORKER_READY);
}

/* Everything logged, after the end of what logs. */
static char *end(void)
{
    gv_rig_stop(&rig);
    gv_fake_stop(&fake);
    gv_log_close();
    char *text = calloc(1, LOG_BYTES);
    CU_ASSERT_PTR_NOT_NULL_FATAL(text);
    rewind(lines);
    CU_ASSERT_TRUE(fread(text, 1, LOG_BYTES - 1, lines) > 0);
    fclose(lines);
    return text;
}

/* Has the access line with this status all of these words? */
static void expect_words(const char *text, const char *status, const char *const *words)
{
    char line[4096] = "";
    for (const char *at = strstr(text, " access "); at != NULL; at = strstr(at + 1, " access ")) {
        size_t len = strcspn(at, "\n");
        if (len < sizeof line) {
            memcpy(line, at, len);
            line[len] = '\0';
        }
        if (strstr(line, status) != NULL) {
            break;
        }
        line[0] = '\0';
    }
    CU_ASSERT_STRING_NOT_EQUAL(line, "");
    for (size_t i = 0; words[i] != NULL; i++) {
        if (strstr(line, words[i]) == NULL) {
            printf("no '%s' in: %s\n", words[i], line);
        }
        CU_ASSERT_PTR_NOT_NULL(strstr(line, words[i]));
    }
}

/* " client=127.0.0.1:PORT ", our end of `fd`. */
static void client_word(int fd, char word[WORD_BYTES])
{
    struct sockaddr_in own;
    socklen_t len = sizeof own;
    CU_ASSERT_EQUAL_FATAL(getsockname(fd, (struct sockaddr *)&own, &len), 0);
    snprintf(word, WORD_BYTES, " client=127.0.0.1:%u ", ntohs(own.sin_port));
}

static void a_line_says_who_asked_whom_and_why(void)
{
    char client[WORD_BYTES];
    char worker[WORD_BYTES];
    begin();
    gv_rig_start(&rig);
    int fd = gv_talk_connect(rig.port);
    struct gv_reply reply;
    CU_ASSERT(gv_talk_send_text(fd, REQUEST));
    gv_talk_read(fd, &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    gv_reply_deinit(&reply);
    client_word(fd, client);
    snprintf(worker, sizeof worker, " worker=%s ", fake.url);
    close(fd);
    char *text = end();
    const char *const words[] = {client,
                                 worker,
                                 " method=POST path=" CHAT " ",
                                 " outcome=ok ",
                                 " key=regular::m ",
                                 " rule=only ",
                                 " eligible=1 ",
                                 " decide_ms=",
                                 " bytes=5 ",
                                 " request_id=mine",
                                 NULL};
    expect_words(text, " status=200 ", words);
    free(text);
}

static void what_could_not_be_read_has_a_name_of_its_own(void)
{
    char client[WORD_BYTES];
    char id[WORD_BYTES] = "";
    char word[WORD_BYTES + 16];
    begin();
    gv_rig_start(&rig);
    int fd = gv_talk_connect(rig.port);
    struct gv_reply reply;
    CU_ASSERT(gv_talk_send_text(fd, REQUEST));
    gv_talk_read(fd, &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    gv_reply_deinit(&reply);
    CU_ASSERT(gv_talk_send_text(fd, "POST / HTTP/1.1\r\nHost: x\r\nX-Request-Id : two\r\n\r\n"));
    gv_talk_read(fd, &reply);
    CU_ASSERT_EQUAL(reply.status, 400);
    CU_ASSERT_TRUE_FATAL(gv_reply_header(&reply, "x-request-id", id, sizeof id));
    CU_ASSERT_EQUAL(strncmp(id, "req-", 4), 0);
    CU_ASSERT_EQUAL(strlen(id), 28);
    gv_reply_deinit(&reply);
    client_word(fd, client);
    snprintf(word, sizeof word, " request_id=%s", id);
    close(fd);
    char *text = end();
    const char *const words[] = {client, word, NULL};
    expect_words(text, " status=400 ", words);
    free(text);
}

static void a_key_that_is_not_taken_is_told_which_kind_is(void)
{
    static char key[] = "sesame";
    static char *keys[] = {key};
    char value[WORD_BYTES] = "";
    begin();
    rig.config.api_keys.items = keys;
    rig.config.api_keys.count = 1;
    gv_rig_start(&rig);
    struct gv_reply reply;
    gv_talk_ask(rig.port, "POST", CHAT, "Authorization: Bearer wrong\r\n", BODY, &reply);
    CU_ASSERT_EQUAL(reply.status, 401);
    CU_ASSERT_TRUE(gv_reply_header(&reply, "WWW-Authenticate", value, sizeof value));
    CU_ASSERT_STRING_EQUAL(value, "Bearer");
    gv_reply_deinit(&reply);
    gv_talk_ask(rig.port, "POST", CHAT, "Authorization: Bearer sesame\r\n", BODY, &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    CU_ASSERT_FALSE(gv_reply_header(&reply, "WWW-Authenticate", value, sizeof value));
    gv_reply_deinit(&reply);
    char *text = end();
    CU_ASSERT_PTR_NULL(strstr(text, "sesame")); /* keys are in no line */
    CU_ASSERT_PTR_NULL(strstr(text, "wrong"));
    free(text);
}

GV_SUITE("integration/access", GV_CASE(a_line_says_who_asked_whom_and_why),
         GV_CASE(what_could_not_be_read_has_a_name_of_its_own),
         GV_CASE(a_key_that_is_not_taken_is_told_which_kind_is))
