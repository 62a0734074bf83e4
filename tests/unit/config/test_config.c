/*
 * The option table and what comes of it: values, sources, the file, checks and printing.
 */
#include "../../../src/config/inner.h"
#include "grapevine/base/mem.h"
#include "grapevine/http/head.h"
#include "support/suite.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* One run of the loader. */
struct run {
    struct gv_config config;
    struct gv_buf out;
    struct gv_buf err;
    enum gv_config_outcome outcome;
};

static const char *text_of(struct gv_buf *buf)
{
    if (gv_buf_append(buf, gv_slice_of("", 1)) != GV_OK) {
        return "";
    }
    buf->len -= 1;
    return (const char *)gv_buf_slice(buf).data;
}

static void load(struct run *run, const char *const *flags, const char *const *environment)
{
    char *argv[32] = {(char *)(uintptr_t) "grapevine"};
    int argc = 1;
    for (; flags != NULL && *flags != NULL; flags++) {
        argv[argc++] = (char *)(uintptr_t)*flags;
    }
    gv_buf_init(&run->out, GV_MEM_BUFFER, 1 << 20);
    gv_buf_init(&run->err, GV_MEM_BUFFER, 1 << 20);
    run->outcome = gv_config_load_quietly(argc, argv, (char **)(uintptr_t)environment, &run->config,
                                          &run->out, &run->err);
}

static void done(struct run *run)
{
    if (run->outcome == GV_CONFIG_RUN) {
        gv_config_deinit(&run->config);
    }
    gv_buf_deinit(&run->out);
    gv_buf_deinit(&run->err);
    CU_ASSERT_EQUAL(gv_mem_used(GV_MEM_GENERAL), 0);
}

#define FLAGS(...)                                                                                 \
    (const char *const[])                                                                          \
    {                                                                                              \
        __VA_ARGS__, NULL                                                                          \
    }

static bool says(struct run *run, const char *text)
{
    bool has = strstr(text_of(&run->err), text) != NULL;
    if (!has) {
        printf("\nwanted '%s' in:\n%s", text, text_of(&run->err));
    }
    return has;
}

/* The run must be bad and say `text`. */
static void refuses(const char *const *flags, const char *text)
{
    struct run run;
    load(&run, flags, NULL);
    CU_ASSERT_EQUAL(run.outcome, GV_CONFIG_BAD);
    CU_ASSERT(says(&run, text));
    done(&run);
}

static char path[64];

static const char *write_file(const char *text)
{
    (void)snprintf(path, sizeof path, "/tmp/grapevine-test-XXXXXX");
    int fd = mkstemp(path);
    CU_ASSERT_FATAL(fd >= 0);
    CU_ASSERT_EQUAL(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    (void)close(fd);
    return path;
}

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

/* ---- values ---- */

static void the_defaults_are_those_of_the_header(void)
{
    struct run run;
    load(&run, NULL, NULL);
    CU_ASSERT_EQUAL_FATAL(run.outcome, GV_CONFIG_RUN);
    const struct gv_config *c = &run.config;
    CU_ASSERT_STRING_EQUAL(c->host, "0.0.0.0");
    CU_ASSERT_EQUAL(c->port, 30000);
    CU_ASSERT_EQUAL(c->max_payload_bytes, 536870912);
    CU_ASSERT_EQUAL(c->request_timeout_ms, 1800000);
    CU_ASSERT_EQUAL(c->stream_idle_timeout_ms, 180000);
    CU_ASSERT_EQUAL(c->trie_memory_bytes, UINT64_C(1) << 30);
    CU_ASSERT_STRING_EQUAL(c->policy, "prefix_cost");
    CU_ASSERT_EQUAL(c->max_head_bytes, 65536);
    CU_ASSERT_EQUAL(c->max_uri_bytes, 8192);
    CU_ASSERT_EQUAL(c->max_chunk_ext_bytes, 16384);
    CU_ASSERT_EQUAL(c->max_trailer_bytes, 16384);
    CU_ASSERT_EQUAL(c->max_pipelined_bytes, 65536);
    CU_ASSERT_DOUBLE_EQUAL(c->cache_threshold, 0.3, 0);
    CU_ASSERT_DOUBLE_EQUAL(c->retry_jitter_factor, 0.2, 0);
    CU_ASSERT_EQUAL(c->mesh_port, 39527);
    CU_ASSERT_EQUAL(c->prometheus_port, 29000);
    CU_ASSERT_EQUAL(c->log_level, GV_LOG_INFO);
    CU_ASSERT_EQUAL(c->enable_mesh, 0);
    CU_ASSERT(says(&run, "no workers were given"));
    done(&run);
}

static bool accepts(const struct gv_option *option, const char *value)
{
    struct gv_config config;
    struct gv_buf buf;
    memset(&config, 0, sizeof config);
    gv_buf_init(&buf, GV_MEM_BUFFER, 1 << 16);
    struct gv_loading loading = {.config = &config, .out = &buf, .err = &buf};
    gv_config_set(&loading, option, value, GV_ORIGIN_FLAG, option->name);
    if (loading.is_bad) { /* the complaint names the option */
        CU_ASSERT_PTR_NOT_NULL(strstr(text_of(&buf), option->name));
    }
    bool good = !loading.is_bad;
    gv_config_deinit(&config);
    gv_buf_deinit(&buf);
    return good;
}

static void number(const struct gv_option *option, double value, bool wanted)
{
    char text[48];
    (void)snprintf(text, sizeof text, value == (double)(uint64_t)value ? "%.0f" : "%.6f", value);
    bool good = accepts(option, text);
    if (good != wanted) {
        printf("\n--%s %s: %s\n", option->name, text, good ? "accepted" : "refused");
    }
    CU_ASSERT_EQUAL(good, wanted);
}

static void length(const struct gv_option *option, double bytes, bool wanted)
{
    char *text = calloc(1, (size_t)bytes + 1);
    memset(text, 'a', (size_t)bytes);
    CU_ASSERT_EQUAL(accepts(option, text), wanted);
    free(text);
}

static void every_option_has_two_sides_of_its_range(void)
{
    size_t count;
    const struct gv_option *table = gv_option_table(&count);
    size_t numbers = 0;
    for (size_t i = 0; i < count; i++) {
        const struct gv_option *option = &table[i];
        switch (option->type) {
        case GV_OPTION_SWITCH:
            CU_ASSERT(accepts(option, "true") && accepts(option, "false"));
            CU_ASSERT(!accepts(option, "yes") && !accepts(option, ""));
            break;
        case GV_OPTION_LEVEL:
            CU_ASSERT(accepts(option, "debug") && !accepts(option, "loud"));
            break;
        case GV_OPTION_TEXT:
            length(option, option->least, true);
            length(option, option->most, true);
            length(option, option->most + 1, false);
            if (option->least > 0) {
                length(option, option->least - 1, false);
            }
            CU_ASSERT(!accepts(option, "a\nb"));
            break;
        case GV_OPTION_KEYS:
            length(option, 1, true);
            length(option, 4096, true);
            length(option, 4097, false);
            CU_ASSERT(!accepts(option, "") && !accepts(option, "a b"));
            break;
        case GV_OPTION_LIST:
            CU_ASSERT(accepts(option, "a,b c"));
            break;
        case GV_OPTION_PREFILLS:
            CU_ASSERT(accepts(option, "http://a:1 65535") && accepts(option, "http://a:1 1"));
            CU_ASSERT(accepts(option, "http://a:1 none") && accepts(option, "http://a:1"));
            CU_ASSERT(!accepts(option, "http://a:1 0") && !accepts(option, "http://a:1 65536"));
            break;
        case GV_OPTION_KEY_FILE:
            CU_ASSERT(!accepts(option, "/nowhere/at/all"));
            break;
        case GV_OPTION_LIMIT:
            CU_ASSERT(accepts(option, "-1") && accepts(option, "0"));
            CU_ASSERT(!accepts(option, "-2") && !accepts(option, "1.5"));
            number(option, option->most, true);
            number(option, option->most + 1, false);
            break;
        case GV_OPTION_PORT:
        case GV_OPTION_COUNT:
        case GV_OPTION_SIZE:
        case GV_OPTION_SIZE32:
        case GV_OPTION_SECONDS:
        case GV_OPTION_MILLIS:
        case GV_OPTION_REAL:
            numbers += 1;
            number(option, option->least, true);
            number(option, option->most, true);
            number(option, option->most + 1, false);
            if (option->least > 0) {
                number(option, option->least < 1 ? option->least / 2 : option->least - 1, false);
            }
            CU_ASSERT(!accepts(option, "-1") && !accepts(option, "") && !accepts(option, "1e3"));
            CU_ASSERT(!accepts(option, "nan") && !accepts(option, "0x10") && !accepts(option, "."));
            CU_ASSERT(!accepts(option, "5 apples"));
            break;
        }
        CU_ASSERT(strlen(option->help) > 10);
        CU_ASSERT_PTR_EQUAL(gv_option_find(gv_slice_text(option->name)), option);
    }
    CU_ASSERT(numbers > 30);
}

static void units_are_understood(void)
{
    struct run run;
    load(&run,
         FLAGS("--trie-memory-bytes=2MiB", "--max-payload-size", "1MB", "--connect-timeout-secs",
               "250ms", "--request-timeout-secs", "2m", "--retry-max-backoff-ms", "1s",
               "--drain-settle-secs", "0.5"),
         NULL);
    CU_ASSERT_EQUAL_FATAL(run.outcome, GV_CONFIG_RUN);
    CU_ASSERT_EQUAL(run.config.trie_memory_bytes, 2 * 1024 * 1024);
    CU_ASSERT_EQUAL(run.config.max_payload_bytes, 1000000);
    CU_ASSERT_EQUAL(run.config.connect_timeout_ms, 250);
    CU_ASSERT_EQUAL(run.config.request_timeout_ms, 120000);
    CU_ASSERT_EQUAL(run.config.retry_max_backoff_ms, 1000);
    CU_ASSERT_EQUAL(run.config.drain_settle_ms, 500);
    done(&run);
    refuses(FLAGS("--threads", "1.5"), "--threads: '1.5' is not a whole number");
}

/* ---- flags ---- */

static void lists_take_several_values_and_add_up(void)
{
    struct run run;
    load(&run,
         FLAGS("--worker-urls", "http://a:1", "http://b:1,http://c:1", "--worker-urls=http://d:1",
               "--mesh-peer-urls", "http://127.0.0.1:7001", "--seeds", "localhost:7002",
               "--mesh-server-name", "n1", "--api-key", "k1", "--api-key", "k2"),
         NULL);
    CU_ASSERT_EQUAL_FATAL(run.outcome, GV_CONFIG_RUN);
    CU_ASSERT_EQUAL_FATAL(run.config.worker_urls.count, 4);
    CU_ASSERT_STRING_EQUAL(run.config.worker_urls.items[2], "http://c:1");
    CU_ASSERT_EQUAL_FATAL(run.config.seeds.count, 2);
    CU_ASSERT_STRING_EQUAL(run.config.seeds.items[0], "127.0.0.1:7001");
    CU_ASSERT_STRING_EQUAL(run.config.node_name, "n1");
    CU_ASSERT_EQUAL(run.config.api_keys.count, 2);
    CU_ASSERT_EQUAL(run.config.enable_mesh, 1);
    done(&run);
}

static void a_prefill_worker_may_have_a_bootstrap_port(void)
{
    struct run run;
    load(&run,
         FLAGS("--pd-disaggregation", "--prefill", "http://a:1", "8998", "--prefill", "http://b:1",
               "none", "--prefill", "http://c:1", "--decode", "http://d:1", "--decode",
               "http://e:1"),
         NULL);
    CU_ASSERT_EQUAL_FATAL(run.outcome, GV_CONFIG_RUN);
    CU_ASSERT_EQUAL_FATAL(run.config.prefill_count, 3);
    CU_ASSERT_EQUAL(run.config.prefills[0].bootstrap_port, 8998);
    CU_ASSERT_EQUAL(run.config.prefills[1].bootstrap_port, -1);
    CU_ASSERT_EQUAL(run.config.prefills[2].bootstrap_port, -1);
    CU_ASSERT_STRING_EQUAL(run.config.prefills[2].url, "http://c:1");
    CU_ASSERT_EQUAL(run.config.decode_urls.count, 2);
    done(&run);
    refuses(FLAGS("--pd-disaggregation", "--prefill", "http://a:1", "x", "--decode", "http://d:1"),
            "bootstrap port 'x'");
}

static void switches_can_be_said_in_three_ways(void)
{
    struct run run;
    load(&run, FLAGS("--log-json", "--disable-retries=true", "--no-log-json"), NULL);
    CU_ASSERT_EQUAL_FATAL(run.outcome, GV_CONFIG_RUN);
    CU_ASSERT_EQUAL(run.config.log_json, 0);
    CU_ASSERT_EQUAL(run.config.disable_retries, 1);
    done(&run);
    refuses(FLAGS("--log-json", "false"), "'false': a value without a flag");
    refuses(FLAGS("--no-port"), "--no-port: no such flag");
    refuses(FLAGS("--port"), "--port: needs a value");
    refuses(FLAGS("--port", "--log-json"), "--port: needs a value");
    refuses(FLAGS("-x"), "-x: no such flag");
}

static void a_mistyped_flag_gets_the_nearest_name(void)
{
    refuses(FLAGS("--sedes", "a"), "did you mean --seeds?");
    refuses(FLAGS("--workers-url", "a"), "did you mean --worker-urls?");
    refuses(FLAGS("--prot=1"), "did you mean --port?");
    refuses(FLAGS("--quite-something-else"), "see --help");
    CU_ASSERT_PTR_NULL(gv_option_nearest(gv_slice_text("")));
    CU_ASSERT_PTR_NULL(gv_option_nearest(gv_slice_text("zzzzzzzzzzzzz")));
    CU_ASSERT_STRING_EQUAL(gv_option_nearest(gv_slice_text("mesh_prot")), "mesh-port");
}

static void all_complaints_are_shown_at_once(void)
{
    struct run run;
    load(&run, FLAGS("--port", "99999", "--cache-threshold", "2"), NULL);
    CU_ASSERT_EQUAL(run.outcome, GV_CONFIG_BAD);
    CU_ASSERT(says(&run, "--port: 99999 is out of range; allowed is 0..65535"));
    CU_ASSERT(says(&run, "--cache-threshold: 2 is out of range; allowed is 0..1"));
    done(&run);
}

/* What the parser holds at most; one more would be a promise that nobody keeps. */
static void header_lines_are_limited_to_what_a_head_can_hold(void)
{
    struct run run;
    load(&run, FLAGS("--max-header-count", "256"), NULL);
    CU_ASSERT_EQUAL(run.outcome, GV_CONFIG_RUN);
    CU_ASSERT_EQUAL(run.config.max_header_count, GV_HEAD_HEADERS_MAX);
    done(&run);
    refuses(FLAGS("--max-header-count", "257"), "out of range");
}

static void a_limit_of_minus_one_is_none(void)
{
    struct run run;
    load(&run, FLAGS("--max-concurrent-requests", "-1"), NULL);
    CU_ASSERT_EQUAL(run.outcome, GV_CONFIG_RUN);
    CU_ASSERT_EQUAL(run.config.max_concurrent_requests, 0);
    CU_ASSERT_EQUAL(run.config.queue_size, 100);
    CU_ASSERT_EQUAL(run.config.queue_timeout_ms, 60000);
    done(&run);
    load(&run,
         FLAGS("--max-concurrent-requests=7", "--rate-limit-tokens-per-second", "2.5",
               "--queue-size", "0", "--queue-timeout-secs", "0.5"),
         NULL);
    CU_ASSERT_EQUAL(run.config.max_concurrent_requests, 7);
    CU_ASSERT_EQUAL(run.config.rate_per_second, 2.5);
    CU_ASSERT_EQUAL(run.config.queue_size, 0);
    CU_ASSERT_EQUAL(run.config.queue_timeout_ms, 500);
    done(&run);
    refuses(FLAGS("--max-concurrent-requests", "-2"), "is not a whole number");
    refuses(FLAGS("--max-concurrent-requests", "1000001"), "out of range");
}

static void headers_pass_by_one_of_two_policies(void)
{
    struct run run;
    load(&run,
         FLAGS("--header-policy", "strict", "--cors-allowed-origins", "https://a", "https://b"),
         NULL);
    CU_ASSERT_EQUAL(run.outcome, GV_CONFIG_RUN);
    CU_ASSERT_EQUAL(run.config.header_policy_strict, 1);
    CU_ASSERT_EQUAL(run.config.cors_allowed_origins.count, 2);
    done(&run);
    load(&run, FLAGS("--header-policy", "pass"), NULL);
    CU_ASSERT_EQUAL(run.config.header_policy_strict, 0);
    done(&run);
    refuses(FLAGS("--header-policy", "some"), "'some' is not pass or strict");
}

static void flags_of_the_smg_router_are_known(void)
{
    struct run run;
    load(&run, FLAGS("--eviction-interval", "5", "--max-concurrent-requests", "-1", "--log-json"),
         NULL);
    CU_ASSERT_EQUAL(run.outcome, GV_CONFIG_RUN);
    CU_ASSERT(says(&run, "--eviction-interval has no effect"));
    CU_ASSERT_EQUAL(run.config.log_json, 1);
    done(&run);
    refuses(FLAGS("--model-alias", "a=b"), "give the worker the other name");
    refuses(FLAGS("--otlp-traces-endpoint", "localhost:4317"), "is not supported");
    load(&run, FLAGS("--service-discovery", "--model-alias", "x", "--compat=warn", "--log-json"),
         NULL);
    CU_ASSERT_EQUAL(run.outcome, GV_CONFIG_RUN);
    CU_ASSERT(says(&run, "--service-discovery is not supported and is ignored"));
    CU_ASSERT_EQUAL(run.config.log_json, 1);
    done(&run);
    refuses(FLAGS("--compat", "maybe"), "--compat: 'maybe' is not strict or warn");
}

/* ---- sources ---- */

static void flag_over_environment_over_file_over_default(void)
{
    struct run run;
    const char *file = write_file("port: 1\nmesh_port: 2\nprometheus_port: 3\n"
                                  "worker_urls: [\"http://f:1\"]\n");
    load(&run, FLAGS("--config", file, "--port", "11"),
         FLAGS("GRAPEVINE_PORT=22", "GRAPEVINE_MESH_PORT=22",
               "GRAPEVINE_HOST=", "GRAPEVINE_WORKER_URLS=http://e:1,http://e:2"));
    CU_ASSERT_EQUAL_FATAL(run.outcome, GV_CONFIG_RUN);
    CU_ASSERT_EQUAL(run.config.port, 11);
    CU_ASSERT_EQUAL(run.config.mesh_port, 22);
    CU_ASSERT_EQUAL(run.config.prometheus_port, 3);
    CU_ASSERT_STRING_EQUAL(run.config.host, "0.0.0.0"); /* an empty variable says nothing */
    CU_ASSERT_EQUAL(run.config.worker_urls.count, 2);
    CU_ASSERT_STRING_EQUAL(run.config.config_file, file);
    done(&run);
    load(&run, NULL, FLAGS("GRAPEVINE_PORT=tcp://10.0.0.1:80"));
    CU_ASSERT_EQUAL(run.config.port, 30000);
    CU_ASSERT(says(&run, "service link"));
    done(&run);
    load(&run, NULL, FLAGS("GRAPEVINE_PORT=eighty"));
    CU_ASSERT_EQUAL(run.outcome, GV_CONFIG_BAD);
    CU_ASSERT(says(&run, "GRAPEVINE_PORT: 'eighty' is not a whole number"));
    done(&run);
    (void)unlink(file);
}

static void keys_may_come_from_a_file(void)
{
    struct run run;
    const char *file = write_file("# ours\nalpha\n\n  beta \n");
    load(&run, FLAGS("--api-key-file", file, "--print-config"), NULL);
    CU_ASSERT_EQUAL(run.outcome, GV_CONFIG_DONE);
    CU_ASSERT_PTR_NULL(strstr(text_of(&run.out), "alpha"));
    CU_ASSERT_PTR_NOT_NULL(strstr(text_of(&run.out), "# api_key: (given, not shown)"));
    done(&run);
    load(&run, FLAGS("--api-key-file", file), NULL);
    CU_ASSERT_EQUAL_FATAL(run.config.api_keys.count, 2);
    CU_ASSERT_STRING_EQUAL(run.config.api_keys.items[1], "beta");
    done(&run);
    refuses(FLAGS("--worker-api-key-file", file), "holds more than one key");
    (void)unlink(file);
    refuses(FLAGS("--api-key-file", file), "cannot read");
    file = write_file("# nothing\n");
    refuses(FLAGS("--api-key-file", file), "holds no key");
    (void)unlink(file);
}

/* ---- the file ---- */

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
    static const char *const fifo = "fifo_of_test_config";
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

/* ---- checks ---- */

static void values_must_fit_each_other(void)
{
    refuses(FLAGS("--pd-disaggregation", "--prefill", "http://a:1"), "--decode is missing");
    refuses(FLAGS("--pd-disaggregation", "--decode", "http://a:1"), "--prefill is missing");
    refuses(FLAGS("--prefill", "http://a:1"), "mean nothing without --pd-disaggregation");
    refuses(FLAGS("--policy", "best"), "there is no policy 'best'; there are");
    refuses(FLAGS("--decode-policy", "best"), "--decode-policy: there is no policy");
    refuses(FLAGS("--assignment-mode", "max_load"), "is none of random, min_load and min_group");
    refuses(FLAGS("--worker-urls", "a:1"), "--worker-urls: 'a:1'");
    refuses(FLAGS("--worker-urls", "grpc://a:1"), "only http:// and https:// are spoken");
    refuses(FLAGS("--tls-cert-path", "a"), "--tls-cert-path needs --tls-key-path");
    refuses(FLAGS("--client-key-path", "a"), "--client-key-path needs --client-cert-path");
    refuses(FLAGS("--admin-tls-key-path", "a"), "--admin-tls-key-path needs --admin-tls-cert-path");
    refuses(FLAGS("--tls-client-ca-path", "a"), "--tls-client-ca-path needs --tls-cert-path");
    refuses(FLAGS("--admin-tls-client-ca-path", "a"), "needs --admin-tls-cert-path");
    refuses(FLAGS("--tls-client-auth", "maybe"), "is neither required nor optional");
    refuses(FLAGS("--worker-urls", "http://a:1", "http://A:1/"), "http://a:1 is given twice");
    refuses(FLAGS("--port", "29000"), "--port and --prometheus-port are both 29000");
    refuses(FLAGS("--enable-mesh", "--mesh-port", "30000"), "--mesh-port 30000 is also --port");
    refuses(FLAGS("--retry-initial-backoff-ms", "31s"), "is larger than --retry-max-backoff-ms");
    refuses(FLAGS("--first-byte-timeout-secs", "1801"), "is larger than --request-timeout-secs");
    refuses(FLAGS("--health-check-endpoint", "health"), "does not begin with '/'");
    refuses(FLAGS("--block-bytes", "100"), "100 is not a power of two");
    refuses(FLAGS("--node-name", "a:b"), "--node-name: 'a:b' may hold");
}

static void a_mesh_without_keys_stays_at_home_unless_told(void)
{
    struct run run;
    refuses(FLAGS("--enable-mesh", "--mesh-host", "0.0.0.0"), "make a key ring");
    refuses(FLAGS("--seeds", "10.0.0.1:39527"), "--mesh-insecure");
    load(&run, FLAGS("--enable-mesh", "--mesh-host", "127.0.0.1", "--seeds", "127.0.0.2"), NULL);
    CU_ASSERT_EQUAL(run.outcome, GV_CONFIG_RUN);
    done(&run);
    load(&run, FLAGS("--seeds", "10.0.0.1:39527", "--mesh-insecure", "--host", "10.0.0.2"), NULL);
    CU_ASSERT_EQUAL_FATAL(run.outcome, GV_CONFIG_RUN);
    CU_ASSERT_STRING_EQUAL(run.config.mesh_host, "10.0.0.2");
    done(&run);
    load(&run, FLAGS("--seeds", "10.0.0.1:39527", "--mesh-keyring", "/k"), NULL);
    CU_ASSERT_EQUAL_FATAL(run.outcome, GV_CONFIG_RUN);
    CU_ASSERT_STRING_EQUAL(run.config.mesh_host, "");
    done(&run);
}

/* ---- printing ---- */

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

static void a_configuration_can_be_tested(void)
{
    struct run run;
    load(&run, FLAGS("--config-test", "--worker-urls", "http://a:1"), NULL);
    CU_ASSERT_EQUAL(run.outcome, GV_CONFIG_DONE);
    CU_ASSERT_STRING_EQUAL(text_of(&run.out), "the configuration is good\n");
    CU_ASSERT_EQUAL(run.err.len, 0);
    done(&run);
    refuses(FLAGS("--config-test", "--port", "x"), "--port: 'x' is not");
}

static void without_memory_loading_fails_whole(void)
{
    const char *file = write_file("port: 5\nseeds: [\"127.0.0.1:1\", \"127.0.0.1:2\"]\n");
    enum gv_config_outcome outcome = GV_CONFIG_BAD;
    uint64_t nth = 0;
    while (outcome != GV_CONFIG_RUN && nth < 2000) {
        struct run run;
        nth += 1;
        gv_mem_fail_nth(nth);
        load(&run,
             FLAGS("--config", file, "--pd-disaggregation", "--prefill", "http://a:1", "1",
                   "--decode", "http://b:1", "--mesh-insecure", "--api-key", "k"),
             FLAGS("GRAPEVINE_MODEL=m"));
        gv_mem_fail_nth(0);
        outcome = run.outcome;
        done(&run);
    }
    CU_ASSERT_EQUAL(outcome, GV_CONFIG_RUN);
    CU_ASSERT(nth > 20);
    (void)unlink(file);
}

static void keys_and_limits_of_tenants_are_names_with_something_behind(void)
{
    struct run run;
    load(&run,
         FLAGS("--tenant-api-keys", "acme:sk:1", "--tenant-api-keys", "acme:sk-2",
               "--tenant-rate-limit", "acme=0.5"),
         NULL);
    CU_ASSERT_EQUAL_FATAL(run.config.tenant_api_keys.count, 2);
    CU_ASSERT_STRING_EQUAL(run.config.tenant_api_keys.items[0], "acme:sk:1");
    CU_ASSERT_EQUAL(run.config.tenant_rate_limits.count, 1);
    done(&run);
    static const char *const bad_keys[] = {"acme", "acme:", ":sk", "a/b:sk", "a b:sk"};
    for (size_t i = 0; i < sizeof bad_keys / sizeof bad_keys[0]; i++) {
        refuses(FLAGS("--tenant-api-keys", bad_keys[i]), "--tenant-api-keys");
    }
    static const char *const bad_limits[] = {"acme",    "acme=",    "acme=0",      "acme=-1",
                                             "acme=1x", "acme=nan", "acme=1000001"};
    for (size_t i = 0; i < sizeof bad_limits / sizeof bad_limits[0]; i++) {
        refuses(FLAGS("--tenant-api-keys", "acme:sk", "--tenant-rate-limit", bad_limits[i]),
                "is not NAME=RATE");
    }
    refuses(FLAGS("--tenant-rate-limit", "acme=1"), "no key of tenant 'acme'");
    refuses(FLAGS("--tenant-api-keys", "acme:sk", "--tenant-rate-limit", "acme=1,acme=2"),
            "'acme' is given twice");
}

GV_SUITE("config", GV_CASE(the_defaults_are_those_of_the_header),
         GV_CASE(every_option_has_two_sides_of_its_range), GV_CASE(units_are_understood),
         GV_CASE(lists_take_several_values_and_add_up),
         GV_CASE(a_prefill_worker_may_have_a_bootstrap_port),
         GV_CASE(switches_can_be_said_in_three_ways),
         GV_CASE(a_mistyped_flag_gets_the_nearest_name), GV_CASE(all_complaints_are_shown_at_once),
         GV_CASE(header_lines_are_limited_to_what_a_head_can_hold),
         GV_CASE(a_limit_of_minus_one_is_none), GV_CASE(headers_pass_by_one_of_two_policies),
         GV_CASE(flags_of_the_smg_router_are_known),
         GV_CASE(flag_over_environment_over_file_over_default), GV_CASE(keys_may_come_from_a_file),
         GV_CASE(a_file_is_read_strictly), GV_CASE(a_file_over_its_limits_is_refused),
         GV_CASE(what_is_no_file_is_refused_at_once), GV_CASE(a_file_says_lists_and_scalars),
         GV_CASE(values_must_fit_each_other),
         GV_CASE(a_mesh_without_keys_stays_at_home_unless_told),
         GV_CASE(help_mentions_every_option_once), GV_CASE(the_documentation_is_the_table),
         GV_CASE(what_is_printed_can_be_read_again), GV_CASE(a_configuration_can_be_tested),
         GV_CASE(without_memory_loading_fails_whole),
         GV_CASE(keys_and_limits_of_tenants_are_names_with_something_behind))
