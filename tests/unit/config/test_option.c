/*
 * The option table: defaults, ranges, units and what else a value may be.
 */
#include "grapevine/http/head.h"
#include "run.h"

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

GV_SUITE("config/option", GV_CASE(the_defaults_are_those_of_the_header),
         GV_CASE(every_option_has_two_sides_of_its_range), GV_CASE(units_are_understood),
         GV_CASE(header_lines_are_limited_to_what_a_head_can_hold),
         GV_CASE(a_limit_of_minus_one_is_none), GV_CASE(headers_pass_by_one_of_two_policies))
