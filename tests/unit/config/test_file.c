/*
 * The configuration file: how strictly it is read, and how much of it.
 */
#include "run.h"

#include <sys/stat.h>

static void refuses_file(const char *file, const char *text)
{
    struct run run;
    load(&run, FLAGS("--config", write_file(file)), NULL);
    CU_ASSERT_EQUAL(run.outcome, GV_CONFIG_BAD);
    CU_ASSERT(says(&run, text));
    CU_ASSERT(says(&run, path));
    done(&run);
    (void)unlink(path);
}

static void a_file_is_read_strictly(void)
{
    refuses_file("port: 1\nprot: 2\n", ":2:1: unknown key 'prot'; did you mean port?");
    refuses_file("port: 1\nhost: a\nport: 2\n", ":3:1: key 'port' is here twice");
    refuses_file("mesh-port: 1\nmesh_port: 2\n", ":2:1: key 'mesh_port' is here twice");
    refuses_file("port: 70000\n", ":1:7: port: 70000 is out of range; allowed is 0..65535");
    refuses_file("a: &x 1\n", "anchors");
    refuses_file("port: *x\n", "");
    refuses_file("port: !!int 5\n", "tags (!name) are not allowed");
    refuses_file("log_json: yes\n", ":1:11: log_json: 'yes' is not true or false");
    refuses_file("port:\n", "has no value");
    refuses_file("port: [1]\n", ":1:7: one value is wanted here, not a list");
    refuses_file("port: {a: 1}\n", ":1:7: a plain value is wanted here, not a mapping");
    refuses_file("seeds: [[a]]\n", ":1:9: a list of plain values is wanted here");
    refuses_file("- port\n", ":1:1: lines of 'key: value' are wanted");
    refuses_file("port: 1\n---\nport: 2\n", "more than one document");
    refuses_file("port: \"1\n", ":");
    refuses_file("? [a]\n: 1\n", ":1:3: a key is wanted here");
    refuses(FLAGS("--config", "/nowhere/x.yaml"), "/nowhere/x.yaml: cannot be read");
    refuses(FLAGS("--config", ""), "--config: needs a path");
}

static void a_file_over_its_limits_is_refused(void)
{
    char *large = malloc(GV_CONFIG_FILE_BYTES_MAX + 2);
    memset(large, '\n', GV_CONFIG_FILE_BYTES_MAX + 1);
    large[GV_CONFIG_FILE_BYTES_MAX + 1] = '\0';
    refuses_file(large, "larger than 1 MiB");
    large[GV_CONFIG_FILE_BYTES_MAX] = '\0'; /* the very limit: an empty file */
    struct run run;
    load(&run, FLAGS("--config", write_file(large)), NULL);
    CU_ASSERT_EQUAL(run.outcome, GV_CONFIG_RUN);
    done(&run);
    (void)unlink(path);
    free(large);
    char deep[200] = "unknown: ";
    memset(deep + strlen(deep), '[', 100);
    refuses_file(deep, "unknown key 'unknown'");
}

/* A file that was replaced by something else: nobody waits for a FIFO to be written. */
static void what_is_no_file_is_refused_at_once(void)
{
    static const char *const flags[] = {"--config", "--api-key-file"};
    static const char *const fifo = "fifo_of_test_file";
    (void)unlink(fifo);
    CU_ASSERT_EQUAL_FATAL(mkfifo(fifo, 0600), 0);
    for (size_t i = 0; i < 2; i++) {
        refuses(FLAGS(flags[i], "/"), "Is a directory");
        refuses(FLAGS(flags[i], fifo), "Invalid argument");
    }
    (void)unlink(fifo);
    struct run run;
    load(&run, FLAGS("--config", "/dev/null"), NULL);
    CU_ASSERT_EQUAL(run.outcome, GV_CONFIG_RUN);
    done(&run);
}

static void a_file_says_lists_and_scalars(void)
{
    struct run run;
    load(&run,
         FLAGS("--config", write_file("# a comment\npd_disaggregation: true\nprefill:\n"
                                      "  - http://a:1 8998\n  - http://b:1\ndecode: http://c:1\n"
                                      "seeds: []\napi_key: [one, two]\nlog_level: warn\n")),
         NULL);
    CU_ASSERT_EQUAL_FATAL(run.outcome, GV_CONFIG_RUN);
    CU_ASSERT_EQUAL(run.config.prefill_count, 2);
    CU_ASSERT_EQUAL(run.config.prefills[0].bootstrap_port, 8998);
    CU_ASSERT_EQUAL(run.config.decode_urls.count, 1);
    CU_ASSERT_EQUAL(run.config.seeds.count, 0);
    CU_ASSERT_EQUAL(run.config.api_keys.count, 2);
    CU_ASSERT_EQUAL(run.config.log_level, GV_LOG_WARN);
    done(&run);
    (void)unlink(path);
    load(&run, FLAGS("--config", write_file("")), NULL);
    CU_ASSERT_EQUAL(run.outcome, GV_CONFIG_RUN);
    done(&run);
    (void)unlink(path);
}

GV_SUITE("config/file", GV_CASE(a_file_is_read_strictly),
         GV_CASE(a_file_over_its_limits_is_refused), GV_CASE(what_is_no_file_is_refused_at_once),
         GV_CASE(a_file_says_lists_and_scalars))
