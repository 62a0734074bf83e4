/*
 * What is printed: help, the page of options, the configuration in force.
 */
#include "run.h"

static size_t occurrences(const char *text, const char *word)
{
    size_t count = 0;
    for (const char *at = strstr(text, word); at != NULL; at = strstr(at + 1, word)) {
        count += 1;
    }
    return count;
}

static void help_mentions_every_option_once(void)
{
    struct run run;
    load(&run, FLAGS("--port", "bad", "--help"), NULL); /* help comes whatever else is said */
    CU_ASSERT_EQUAL(run.outcome, GV_CONFIG_DONE);
    size_t count;
    const struct gv_option *table = gv_option_table(&count);
    const char *help = text_of(&run.out);
    for (size_t i = 0; i < count; i++) {
        char own_line[GV_OPTION_NAME_BYTES + 8];
        (void)snprintf(own_line, sizeof own_line, "\n  --%s", table[i].name);
        size_t found = 0;
        for (const char *at = strstr(help, own_line); at != NULL; at = strstr(at + 1, own_line)) {
            char behind = at[strlen(own_line)];
            found += behind == ' ' || behind == '\n' ? 1 : 0;
        }
        CU_ASSERT_EQUAL(found, 1);
    }
    for (const char *line = help; *line != '\0';) {
        size_t len = strcspn(line, "\n");
        CU_ASSERT(len <= 100);
        line += len + (line[len] == '\n' ? 1 : 0);
    }
    CU_ASSERT(strstr(help, "Examples") < strstr(help, "Usage"));
    done(&run);
    load(&run, FLAGS("--version"), NULL);
    CU_ASSERT_EQUAL(run.outcome, GV_CONFIG_DONE);
    CU_ASSERT_STRING_EQUAL(text_of(&run.out), "grapevine " GV_VERSION "\n");
    done(&run);
}

static void the_documentation_is_the_table(void)
{
    const char *source = getenv("GV_SOURCE");
    char file_path[512];
    (void)snprintf(file_path, sizeof file_path, "%s/docs/options.md",
                   source == NULL ? "." : source);
    FILE *file = fopen(file_path, "r");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    char *text = calloc(1, 1 << 18);
    size_t len = fread(text, 1, (1 << 18) - 1, file);
    (void)fclose(file);
    struct run run;
    load(&run, FLAGS("--help-markdown"), NULL);
    CU_ASSERT_EQUAL(run.outcome, GV_CONFIG_DONE);
    CU_ASSERT_EQUAL(len, run.out.len);
    CU_ASSERT_STRING_EQUAL(text, text_of(&run.out)); /* else: grapevine --help-markdown */
    size_t count;
    (void)gv_option_table(&count);
    CU_ASSERT_EQUAL(occurrences(text, "\n| `--"), count);
    done(&run);
    free(text);
}

static void what_is_printed_can_be_read_again(void)
{
    struct run first;
    struct run second;
    load(&first,
         FLAGS("--print-config", "--pd-disaggregation", "--prefill", "http://a:1", "8998",
               "--prefill", "http://b:1", "--decode", "http://c:1", "--cache-threshold", "0.123456",
               "--connect-timeout-secs", "1.5", "--model", "a \"b\" \\ c", "--log-level", "error"),
         NULL);
    CU_ASSERT_EQUAL_FATAL(first.outcome, GV_CONFIG_DONE);
    load(&second, FLAGS("--print-config", "--config", write_file(text_of(&first.out))), NULL);
    CU_ASSERT_EQUAL_FATAL(second.outcome, GV_CONFIG_DONE);
    /* The same but for where it is from. */
    const char *a = text_of(&first.out);
    const char *b = text_of(&second.out);
    while (*a != '\0' && *b != '\0') {
        size_t a_len = strcspn(a, "#\n");
        size_t b_len = strcspn(b, "#\n");
        CU_ASSERT(gv_slice_equal(gv_slice_of(a, a_len), gv_slice_of(b, b_len)));
        a += strcspn(a, "\n") + 1;
        b += strcspn(b, "\n") + 1;
    }
    CU_ASSERT_EQUAL(*a, *b);
    CU_ASSERT_PTR_NOT_NULL(strstr(text_of(&first.out), "model: \"a \\\"b\\\" \\\\ c\" # flag\n"));
    CU_ASSERT_PTR_NOT_NULL(strstr(text_of(&second.out), "log_level: error # file\n"));
    done(&first);
    done(&second);
    (void)unlink(path);
}

GV_SUITE("config/print", GV_CASE(help_mentions_every_option_once),
         GV_CASE(the_documentation_is_the_table), GV_CASE(what_is_printed_can_be_read_again))
