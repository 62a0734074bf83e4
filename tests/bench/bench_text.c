/*
 * bench_text - from a request's text to the decision: row T5 of docs/benchmarks.md.
 *
 *     bench_text [--body-bytes B] [--rounds N]
 *
 * Chat requests of B bytes (400,000), the first three quarters of which all share and 16 workers
 * hold; the rest is new. Each is read (JSON to canonical prompt), hashed, matched, decided and
 * recorded, as a data loop does it, on one core. One line of key=value with medians in
 * microseconds: scan, hash, decide, total (these three: text to decision) and record.
 */
#define _GNU_SOURCE
#include "grapevine/base/mem.h"
#include "grapevine/http/prompt.h"
#include "grapevine/proxy/dispatch.h"
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WORKERS     16
#define SAMPLES_MAX 10000
#define MARK_DIGITS 16
#define MAX_BYTES   (16u << 20)

struct parts {
    struct gv_config config;
    struct gv_fingerprint_secret secret;
    struct gv_proxy_shared shared;
    struct gv_prompt_reader *reader;
    struct gv_buf text;
    const struct gv_fleet_view *view;
};

enum step {
    SCAN = 0,
    HASH,
    DECIDE,
    TOTAL,
    RECORD,
    STEP_COUNT
};
static double samples[STEP_COUNT][SAMPLES_MAX];

static double now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static void demand(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "bench_text: %s\n", what);
        exit(1);
    }
}

static void setup(struct parts *parts)
{
    static const uint8_t key[32] = {1};
    struct gv_forest_limits limits = {.max_bytes = 256u << 20,
                                      .touch_interval_s = 5,
                                      .max_keys = 8,
                                      .worker_blocks = 1u << 20,
                                      .min_age_s = 10,
                                      .max_ahead_s = 60};
    struct gv_policy_options options = {.cache_threshold = 0.3,
                                        .balance_abs_threshold = 64,
                                        .balance_rel_threshold = 1.5,
                                        .load_bound = 1.25,
                                        .block_bytes = 256};
    memset(parts, 0, sizeof *parts);
    parts->config.block_bytes = 256;
    gv_fingerprint_secret_init(&parts->secret, key);
    parts->shared.config = &parts->config;
    parts->shared.secret = &parts->secret;
    bool fine = gv_fleet_new(&parts->shared.fleet) == GV_OK &&
                gv_load_new(&parts->shared.load) == GV_OK &&
                gv_forest_new(limits, &parts->shared.forest) == GV_OK &&
                gv_prompt_reader_new(&parts->reader) == GV_OK;
    for (int i = 0; i < GV_POOL_COUNT && fine; i++) {
        fine = gv_policy_new("cache_aware", options, parts->shared.forest, parts->shared.load,
                             &parts->shared.policies[i]) == GV_OK;
    }
    demand(fine, "no memory");
    gv_buf_init(&parts->text, GV_MEM_EXCHANGE, MAX_BYTES);
    for (int i = 0; i < WORKERS; i++) {
        struct gv_worker worker = {
            .pool = GV_POOL_REGULAR, .state = GV_WORKER_READY, .bootstrap_port = -1};
        snprintf(worker.url, sizeof worker.url, "http://10.0.0.%d:8000", i + 1);
        demand(gv_fleet_put(parts->shared.fleet, &worker) == GV_OK, "no worker");
    }
    parts->view = gv_fleet_acquire(parts->shared.fleet);
}

/* Words, a new line now and then, in messages of 4 KB; returns where the mark goes. */
static size_t write_body(struct gv_buf *body, size_t bytes)
{
    uint64_t seed = 1;
    demand(gv_buf_append_text(body, "{\"model\":\"m\",\"stream\":true,\"messages\":[") == GV_OK,
           "no memory");
    size_t mark_at = 0;
    while (body->len < bytes) {
        bool is_first = body->data[body->start + body->len - 1] == '[';
        char word[8192];
        size_t len =
            (size_t)snprintf(word, sizeof word, "%s{\"role\":\"%s\",\"content\":\"",
                             is_first ? "" : ",", body->len / 4096 % 2 == 0 ? "user" : "assistant");
        if (mark_at == 0 && body->len > bytes / 4 * 3) {
            mark_at = body->len + len;
            memset(word + len, '0', MARK_DIGITS);
            len += MARK_DIGITS;
        }
        for (size_t i = 0; i < 4000; i++) {
            seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            uint32_t draw = (uint32_t)(seed >> 33);
            word[len++] = draw % 6 == 0 ? ' ' : (char)('a' + draw % 26);
            if (draw % 97 == 0) {
                word[len++] = '\\';
                word[len++] = 'n';
            }
        }
        len += (size_t)snprintf(word + len, sizeof word - len, "\"}");
        demand(gv_buf_append(body, gv_slice_of(word, len)) == GV_OK, "no memory");
    }
    demand(gv_buf_append_text(body, "]}") == GV_OK, "no memory");
    return mark_at;
}

/* What plan_init does in one, in its parts. */
static void time_parts(struct parts *parts, struct gv_buf *body, uint32_t sample)
{
    struct gv_prompt prompt;
    enum gv_problem problem;
    static uint64_t chain[65536];
    double began = now_us();
    gv_prompt_reader_lend(parts->reader, body);
    demand(gv_prompt_read(parts->reader, GV_ENDPOINT_CHAT, gv_buf_slice(body), &parts->text,
                          &prompt, &problem) == GV_OK,
           "not read");
    double read = now_us();
    uint32_t count = gv_fingerprint_chain(&parts->secret, "regular::m", prompt.canonical, 256,
                                          chain, sizeof chain / sizeof chain[0]);
    double hashed = now_us();
    demand(count > 0, "no chain");
    samples[SCAN][sample] = read - began;
    samples[HASH][sample] = hashed - read;
}

static void time_whole(struct parts *parts, struct gv_buf *body, uint32_t sample, uint64_t now_ms)
{
    struct gv_plan plan;
    struct gv_decision decision = {.policy = ""};
    struct gv_operation operation;
    enum gv_problem problem;
    double began = now_us();
    gv_prompt_reader_lend(parts->reader, body);
    demand(gv_plan_init(&plan, &parts->shared, parts->view, parts->reader, &parts->text,
                        GV_ENDPOINT_CHAT, gv_buf_slice(body), &problem) == GV_OK,
           "no plan");
    double planned = now_us();
    struct gv_dispatch_question question = {.plan = &plan, .random = sample};
    demand(gv_dispatch_decide(&parts->shared, parts->view, &question, &decision) == GV_PROBLEM_NONE,
           "no decision");
    double decided = now_us();
    demand(sample < WORKERS || decision.depth >= plan.legs[0].count / 2, "nothing was matched");
    (void)gv_forest_record(parts->shared.forest, plan.legs[0].key, plan.legs[0].chain,
                           plan.legs[0].count,
                           sample < WORKERS ? parts->view->workers[sample].index : decision.worker,
                           now_ms, &operation);
    double recorded = now_us();
    gv_plan_deinit(&plan);
    samples[DECIDE][sample] = decided - planned;
    samples[TOTAL][sample] = decided - began;
    samples[RECORD][sample] = recorded - decided;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    static const struct option names[] = {{"body-bytes", required_argument, NULL, 'b'},
                                          {"rounds", required_argument, NULL, 'r'},
                                          {NULL, 0, NULL, 0}};
    static const char *const steps[STEP_COUNT] = {"scan", "hash", "decide", "total", "record"};
    size_t bytes = 400000;
    uint32_t rounds = 500;
    for (int name; (name = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        if (name == 'b') {
            bytes = strtoul(optarg, NULL, 10);
        } else if (name == 'r') {
            rounds = (uint32_t)strtoul(optarg, NULL, 10);
        } else {
            return 2;
        }
    }
    if (bytes < 10000 || bytes > MAX_BYTES / 2 || rounds <= WORKERS || rounds > SAMPLES_MAX) {
        fprintf(stderr, "bench_text: --body-bytes 10000 to %u, --rounds %d to %d\n", MAX_BYTES / 2,
                WORKERS + 1, SAMPLES_MAX);
        return 2;
    }
    struct parts parts;
    struct gv_buf body;
    setup(&parts);
    gv_buf_init(&body, GV_MEM_BUFFER, MAX_BYTES);
    size_t mark_at = write_body(&body, bytes);
    for (uint32_t i = 0; i < rounds; i++) {
        char mark[MARK_DIGITS + 1];
        snprintf(mark, sizeof mark, "%016x", i);
        memcpy(body.data + body.start + mark_at, mark, MARK_DIGITS);
        time_parts(&parts, &body, i);
        time_whole(&parts, &body, i, UINT64_C(1700000000000) + i);
    }
    printf("bytes=%zu", body.len);
    for (int step = 0; step < STEP_COUNT; step++) {
        qsort(samples[step], rounds, sizeof samples[step][0], by_value);
        printf(" %s_us=%.1f", steps[step], samples[step][rounds / 2]);
    }
    printf(" total_p99_us=%.1f\n", samples[TOTAL][rounds - 1 - rounds / 100]);
    return 0;
}
