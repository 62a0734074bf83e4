/* Log lines as they are written: both spellings, escaping, cutting, threads, and lines lost. */
#include "grapevine/base/buf.h"
#include "grapevine/base/log.h"
#include "support/suite.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define STAMP_BYTES 24 /* 2026-11-22T15:04:05.123Z */

static int log_fd;

static void start(bool json, const char *node)
{
    FILE *file = tmpfile();
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    log_fd = dup(fileno(file));
    (void)fclose(file);
    CU_ASSERT_EQUAL_FATAL(gv_log_open((struct gv_log_options){
                              .level = GV_LOG_DEBUG, .json = json, .fd = log_fd, .node = node}),
                          GV_OK);
}

/* What was written since start(), as one text with a NUL. */
static char *stop(void)
{
    gv_log_close();
    off_t len = lseek(log_fd, 0, SEEK_END);
    char *text = calloc(1, (size_t)len + 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(text);
    CU_ASSERT_EQUAL(pread(log_fd, text, (size_t)len, 0), (ssize_t)len);
    (void)close(log_fd);
    return text;
}

static void expect(const char *wanted)
{
    char *text = stop();
    CU_ASSERT_TRUE_FATAL(strlen(text) > STAMP_BYTES);
    if (text[0] == '{') {
        CU_ASSERT_EQUAL(strncmp(text, "{\"time\":\"2", 10), 0);
        CU_ASSERT_STRING_EQUAL(text + 9 + STAMP_BYTES, wanted);
    } else {
        CU_ASSERT_EQUAL(text[10], 'T');
        CU_ASSERT_EQUAL(text[19], '.');
        CU_ASSERT_EQUAL(text[23], 'Z');
        CU_ASSERT_STRING_EQUAL(text + STAMP_BYTES, wanted);
    }
    free(text);
}

static void a_text_line_is_stamp_level_event_and_fields(void)
{
    start(false, "n1");
    gv_log(GV_LOG_INFO, "worker.ready", GV_STR("worker", "http://w:1"), GV_UINT("probes", 3),
           GV_INT("delta", -4), GV_REAL("load", 0.25), GV_FLAG("ok", true), GV_ERR(GV_EINVAL),
           GV_BYTES("raw", gv_slice_of("abcd", 2)), GV_STR("none", NULL));
    expect(" INFO worker.ready node=n1 worker=http://w:1 probes=3 delta=-4 load=0.25 ok=true "
           "err=GV_EINVAL raw=ab none=-\n");
}

static void a_json_line_holds_the_same(void)
{
    start(true, "n1");
    gv_log(GV_LOG_WARN, "worker.slow", GV_STR("worker", "http://w:1"), GV_UINT("probes", 3),
           GV_FLAG("ok", false), GV_REAL("load", 0.0 / 1.0));
    expect("\",\"level\":\"warn\",\"event\":\"worker.slow\",\"node\":\"n1\","
           "\"worker\":\"http://w:1\",\"probes\":3,\"ok\":false,\"load\":0}\n");
}

static void values_are_quoted_when_they_must_be_and_only_then(void)
{
    start(false, NULL);
    gv_log(GV_LOG_ERROR, "quote.text", GV_STR("a", ""), GV_STR("b", "two words"),
           GV_STR("c", "x=y"), GV_STR("d", "say \"hi\""), GV_STR("e", "back\\slash"),
           GV_STR("f", "plain:/?#[]@!$&'()*+,;-._~%"), GV_STR("g", "caf\xc3\xa9"));
    expect(" ERROR quote.text a=\"\" b=\"two words\" c=\"x=y\" d=\"say \\\"hi\\\"\" "
           "e=\"back\\\\slash\" f=plain:/?#[]@!$&'()*+,;-._~% g=caf\xc3\xa9\n");
}

static void no_value_can_end_a_line_or_speak_to_a_terminal(void)
{
    start(false, NULL);
    gv_log(GV_LOG_INFO, "escape.text", GV_STR("a", "x\ny\r"), GV_STR("b", "\x1b[31m"),
           GV_STR("c", "\x7f"), GV_STR("d", "\xc2\x9b"), GV_STR("e", "\xff\xfe"),
           GV_BYTES("f", gv_slice_of("a\0b", 3)));
    expect(" INFO escape.text a=\"x\\ny\\x0d\" b=\"\\x1b[31m\" c=\"\\x7f\" d=\"\\xc2\\x9b\" "
           "e=\"\\xff\\xfe\" f=\"a\\x00b\"\n");
    start(true, NULL);
    gv_log(GV_LOG_INFO, "escape.json", GV_STR("a", "x\ny\r\""), GV_STR("b", "\x1b[31m\\"),
           GV_STR("c", "\xc2\x9b"), GV_STR("d", "\xff"),
           GV_STR("e", "\xed\xa0\x80") /* half a surrogate pair */, GV_STR("f", "\xf0\x9f\x8d\x87"),
           GV_STR("g", "\xe0\x80\xaf") /* an overlong slash */);
    expect("\",\"level\":\"info\",\"event\":\"escape.json\",\"a\":\"x\\ny\\u000d\\\"\","
           "\"b\":\"\\u001b[31m\\\\\",\"c\":\"\\u009b\",\"d\":\"\\ufffd\","
           "\"e\":\"\\ufffd\\ufffd\\ufffd\",\"f\":\"\xf0\x9f\x8d\x87\","
           "\"g\":\"\\ufffd\\ufffd\\ufffd\"}\n");
}

static void a_value_is_cut_at_512_bytes_and_not_inside_a_character(void)
{
    static char value[600];
    char wanted[700];
    memset(value, 'v', 513);
    start(false, NULL);
    gv_log(GV_LOG_INFO, "cut.value", GV_STR("a", value));
    (void)snprintf(wanted, sizeof wanted, " INFO cut.value a=%.512s\n", value);
    expect(wanted);
    value[512] = '\0';
    start(false, NULL);
    gv_log(GV_LOG_INFO, "cut.not", GV_STR("a", value));
    (void)snprintf(wanted, sizeof wanted, " INFO cut.not a=%.512s\n", value);
    expect(wanted);
    memcpy(value + 510, "\xf0\x9f\x8d\x87", 5); /* would end at byte 514 */
    start(false, NULL);
    gv_log(GV_LOG_INFO, "cut.character", GV_STR("a", value));
    (void)snprintf(wanted, sizeof wanted, " INFO cut.character a=%.510s\n", value);
    expect(wanted);
}

static void a_line_with_too_much_in_it_stays_one_line_and_says_so(void)
{
    static char value[513];
    struct gv_log_field fields[33] = {{.key = NULL}};
    memset(value, '\x01', 512);
    for (size_t i = 0; i < 32; i++) {
        fields[i] = GV_STR("k", value);
    }
    for (int json = 0; json < 2; json++) {
        start(json == 1, NULL);
        gv_log_write(GV_LOG_INFO, "line.long", fields);
        char *text = stop();
        size_t len = strlen(text);
        const char *tail = json == 1 ? ",\"cut\":true}\n" : " cut=true\n";
        CU_ASSERT_TRUE(len <= 8192 && len > 2000);
        CU_ASSERT_PTR_EQUAL(strchr(text, '\n'), text + len - 1);
        CU_ASSERT_STRING_EQUAL(text + len - strlen(tail), tail);
        free(text);
    }
}

static void lines_below_the_level_are_not_written(void)
{
    enum gv_log_level level = GV_LOG_ERROR;
    start(false, NULL);
    gv_log_set_level(GV_LOG_WARN);
    CU_ASSERT_FALSE(gv_log_is_on(GV_LOG_INFO));
    CU_ASSERT_TRUE(gv_log_is_on(GV_LOG_WARN));
    gv_log(GV_LOG_INFO, "level.below", GV_UINT("n", 1));
    gv_log(GV_LOG_WARN, "level.at", GV_UINT("n", 2));
    expect(" WARN level.at n=2\n");
    CU_ASSERT_TRUE(gv_log_level_parse("debug", &level));
    CU_ASSERT_EQUAL(level, GV_LOG_DEBUG);
    CU_ASSERT_TRUE(gv_log_level_parse("warning", &level));
    CU_ASSERT_EQUAL(level, GV_LOG_WARN);
    CU_ASSERT_FALSE(gv_log_level_parse("loud", &level));
    CU_ASSERT_EQUAL(level, GV_LOG_WARN);
}

static void *write_many(void *name)
{
    for (uint64_t i = 0; i < 500; i++) {
        gv_log(GV_LOG_INFO, "thread.line", GV_STR("thread", name), GV_UINT("i", i));
    }
    return NULL;
}

static void threads_do_not_mix_their_lines(void)
{
    static char names[4][4] = {"t0", "t1", "t2", "t3"};
    pthread_t threads[4];
    uint64_t next[4] = {0, 0, 0, 0};
    start(false, NULL);
    for (size_t i = 0; i < 4; i++) {
        CU_ASSERT_EQUAL(pthread_create(&threads[i], NULL, write_many, names[i]), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        CU_ASSERT_EQUAL(pthread_join(threads[i], NULL), 0);
    }
    char *text = stop();
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        char name = 0;
        unsigned long long i = 0;
        CU_ASSERT_EQUAL_FATAL(
            sscanf(line + STAMP_BYTES, " INFO thread.line thread=t%c i=%llu", &name, &i), 2);
        CU_ASSERT_EQUAL(i, next[name - '0']);
        next[name - '0'] += 1;
    }
    for (size_t i = 0; i < 4; i++) {
        CU_ASSERT_EQUAL(next[i], 500);
    }
    free(text);
}

static struct gv_buf drained;

static void *drain(void *fd)
{
    char bytes[4096];
    ssize_t got;
    while ((got = read(*(int *)fd, bytes, sizeof bytes)) > 0) {
        if (gv_buf_append(&drained, gv_slice_of(bytes, (size_t)got)) != GV_OK) {
            break;
        }
    }
    return NULL;
}

/* The reader sleeps while 3,000 long lines are logged; nobody waits, and none is lost untold. */
static void when_the_reader_sleeps_lines_are_lost_and_counted_but_nobody_waits(void)
{
    static char value[401];
    int ends[2];
    pthread_t reader;
    memset(value, 'v', 400);
    CU_ASSERT_EQUAL_FATAL(pipe(ends), 0);
    gv_buf_init(&drained, GV_MEM_GENERAL, 4 << 20);
    CU_ASSERT_EQUAL(
        gv_log_open((struct gv_log_options){.level = GV_LOG_INFO, .json = false, .fd = ends[1]}),
        GV_OK);
    for (int i = 0; i < 3000; i++) {
        gv_log(GV_LOG_INFO, "flood.line", GV_STR("value", value));
    }
    CU_ASSERT_EQUAL(pthread_create(&reader, NULL, drain, &ends[0]), 0);
    gv_log_close();
    (void)close(ends[1]);
    CU_ASSERT_EQUAL(pthread_join(reader, NULL), 0);
    (void)close(ends[0]);
    CU_ASSERT_EQUAL(gv_buf_append(&drained, gv_slice_of("", 1)), GV_OK);
    size_t written = 0;
    size_t lost = 0;
    for (char *line = strtok((char *)drained.data, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        const char *told = strstr(line, " WARN log.lost lines=");
        written += strstr(line, " INFO flood.line ") != NULL ? 1 : 0;
        lost += told == NULL ? 0 : strtoul(told + 21, NULL, 10);
    }
    CU_ASSERT_TRUE(lost > 0);
    CU_ASSERT_EQUAL(written + lost, 3000);
    gv_buf_deinit(&drained);
}

GV_SUITE("base/log", GV_CASE(a_text_line_is_stamp_level_event_and_fields),
         GV_CASE(a_json_line_holds_the_same),
         GV_CASE(values_are_quoted_when_they_must_be_and_only_then),
         GV_CASE(no_value_can_end_a_line_or_speak_to_a_terminal),
         GV_CASE(a_value_is_cut_at_512_bytes_and_not_inside_a_character),
         GV_CASE(a_line_with_too_much_in_it_stays_one_line_and_says_so),
         GV_CASE(lines_below_the_level_are_not_written), GV_CASE(threads_do_not_mix_their_lines),
         GV_CASE(when_the_reader_sleeps_lines_are_lost_and_counted_but_nobody_waits))
