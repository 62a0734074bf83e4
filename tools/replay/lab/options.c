/*
 * options.c - `replay lab`: from the command line to runs and their report.
 */
#include "grapevine/route/fingerprint.h"
#include "grapevine/route/policy.h"
#include "lab.h"
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

static const char help[] =
    "replay lab - ways to route compared over one trace, in virtual time\n"
    "\n"
    "  --trace FILE|NAME        a trace of replay, or made up: turns, root, hot, chats,\n"
    "                           agents, pairs\n"
    "  --requests N             only the first N (all; made up: 6000)\n"
    "  --skip N                 but for the first N: what was not looked at before\n"
    "  --rate R                 R requests per second instead of the trace's times (made up: 20)\n"
    "  --speed X                the trace's times, X times as fast (1)\n"
    "  --session-spread-s N     agentic: sessions start within so many seconds (600)\n"
    "  --gap-max-s N            a session's requests are at most so far apart (as in the trace)\n"
    "  --seed S                 of everything drawn at random (1)\n"
    "\n"
    "  --routers N              1 to 16 (8)\n"
    "  --engines N              4 to 240 (16)\n"
    "  --cache-tokens N         KV cache of an engine (524288)\n"
    "  --prefill R              tokens a second that an engine computes (8000)\n"
    "  --decode-ms X            between two tokens of an answer (12)\n"
    "  --slots N                requests in prefill and decode at once, per engine (256)\n"
    "\n"
    "  --contenders A,B,...     NAME[:BLOCKS][@ROUTERS]: a policy of ours, smg, smg-mesh or\n"
    "                           smg-events; BLOCKS hashed by prefix_hash (a usual choice)\n"
    "  --situation S            calm, worker-churn, router-churn, partition, stall, restart, slow\n"
    "  --no-prefix-sync         routers do not tell each other who holds what\n"
    "  --no-load-sync           nor how busy engines are\n"
    "  --load-age-ms N          loads are told only so often\n"
    "  --delay-us N             one-way delay of the mesh, at least (200)\n"
    "  --jitter-us N            and on top, mean (800)\n"
    "  --loss X                 share of packets lost (0)\n"
    "  --cache-threshold X, --balance-abs-threshold N, --balance-rel-threshold X: as the product\n"
    "\n"
    "  --json                   for programs\n"
    "  --svg FILE               and draw it\n"
    "  --help\n";

/* What is compared unless --contenders says otherwise; {1} of it are baselines. */
static const char usual_contenders[] =
    "cache_aware@1,prefix_cost@1,round_robin,least_load,prefix_hash:4,prefix_hash:12,prefix_hash:"
    "32,"
    "consistent_hashing,smg@1,smg,smg-mesh,smg-events,cache_aware,prefix_cost";

enum option_name {
    OPT_TRACE = 1,
    OPT_REQUESTS,
    OPT_SKIP,
    OPT_RATE,
    OPT_SPEED,
    OPT_SESSION_SPREAD_S,
    OPT_GAP_MAX_S,
    OPT_SEED,
    OPT_ROUTERS,
    OPT_ENGINES,
    OPT_CACHE_TOKENS,
    OPT_PREFILL,
    OPT_DECODE_MS,
    OPT_SLOTS,
    OPT_CONTENDERS,
    OPT_SITUATION,
    OPT_NO_PREFIX_SYNC,
    OPT_NO_LOAD_SYNC,
    OPT_LOAD_AGE_MS,
    OPT_DELAY_US,
    OPT_JITTER_US,
    OPT_LOSS,
    OPT_CACHE_THRESHOLD,
    OPT_BALANCE_ABS,
    OPT_BALANCE_REL,
    OPT_JSON,
    OPT_SVG,
    OPT_HELP
};

static const struct option long_options[] = {
    {"trace", required_argument, NULL, OPT_TRACE},
    {"requests", required_argument, NULL, OPT_REQUESTS},
    {"skip", required_argument, NULL, OPT_SKIP},
    {"rate", required_argument, NULL, OPT_RATE},
    {"speed", required_argument, NULL, OPT_SPEED},
    {"session-spread-s", required_argument, NULL, OPT_SESSION_SPREAD_S},
    {"gap-max-s", required_argument, NULL, OPT_GAP_MAX_S},
    {"seed", required_argument, NULL, OPT_SEED},
    {"routers", required_argument, NULL, OPT_ROUTERS},
    {"engines", required_argument, NULL, OPT_ENGINES},
    {"cache-tokens", required_argument, NULL, OPT_CACHE_TOKENS},
    {"prefill", required_argument, NULL, OPT_PREFILL},
    {"decode-ms", required_argument, NULL, OPT_DECODE_MS},
    {"slots", required_argument, NULL, OPT_SLOTS},
    {"contenders", required_argument, NULL, OPT_CONTENDERS},
    {"situation", required_argument, NULL, OPT_SITUATION},
    {"no-prefix-sync", no_argument, NULL, OPT_NO_PREFIX_SYNC},
    {"no-load-sync", no_argument, NULL, OPT_NO_LOAD_SYNC},
    {"load-age-ms", required_argument, NULL, OPT_LOAD_AGE_MS},
    {"delay-us", required_argument, NULL, OPT_DELAY_US},
    {"jitter-us", required_argument, NULL, OPT_JITTER_US},
    {"loss", required_argument, NULL, OPT_LOSS},
    {"cache-threshold", required_argument, NULL, OPT_CACHE_THRESHOLD},
    {"balance-abs-threshold", required_argument, NULL, OPT_BALANCE_ABS},
    {"balance-rel-threshold", required_argument, NULL, OPT_BALANCE_REL},
    {"json", no_argument, NULL, OPT_JSON},
    {"svg", required_argument, NULL, OPT_SVG},
    {"help", no_argument, NULL, OPT_HELP},
    {NULL, 0, NULL, 0},
};

static GV_NORETURN void bad(const char *what, const char *text)
{
    (void)fprintf(stderr, "replay lab: %s: '%s' (try --help)\n", what, text);
    exit(2);
}

static uint64_t whole(const char *what, uint64_t min, uint64_t max)
{
    uint64_t value = 0;
    if (!gv_slice_to_u64(gv_slice_text(optarg), &value) || value < min || value > max) {
        bad(what, optarg);
    }
    return value;
}

static double real(const char *what, double min, double max)
{
    char *rest = NULL;
    double value = strtod(optarg, &rest);
    if (rest == optarg || *rest != '\0' || !(value >= min) || value > max) {
        bad(what, optarg);
    }
    return value;
}

/* ---- contenders --------------------------------------------------------------------------------
 */

static bool find_kind(const char *name, enum lab_mind_kind *kind)
{
    static const char *const smg[LAB_MIND_COUNT] = {"", "smg", "smg-mesh", "smg-events"};
    for (int i = LAB_SMG; i < LAB_MIND_COUNT; i++) {
        if (strcmp(smg[i], name) == 0) {
            *kind = (enum lab_mind_kind)i;
            return true;
        }
    }
    *kind = LAB_OURS;
    for (const char *const *at = gv_policy_names(); *at != NULL; at++) {
        if (strcmp(*at, name) == 0) {
            return true;
        }
    }
    return false;
}

/* The number behind `mark`, which is cut off; `none` without it. */
static bool cut_number(char *text, char mark, uint32_t none, uint32_t max, uint32_t *number)
{
    char *at = strchr(text, mark);
    *number = none;
    if (at == NULL) {
        return true;
    }
    uint64_t value = 0;
    *at = '\0';
    if (!gv_slice_to_u64(gv_slice_text(at + 1), &value) || value < 1 || value > max) {
        return false;
    }
    *number = (uint32_t)value;
    return true;
}

bool lab_contender_parse(const char *text, struct lab_contender *contender)
{
    char name[LAB_NAME_BYTES];
    *contender = (struct lab_contender){.routers = 0};
    if (strlen(text) >= sizeof name) {
        return false;
    }
    (void)snprintf(contender->name, sizeof contender->name, "%s", text);
    (void)snprintf(name, sizeof name, "%s", text);
    if (!cut_number(name, '@', 0, LAB_ROUTERS_MAX, &contender->routers) ||
        !cut_number(name, ':', 4, GV_FINGERPRINTS_MAX, &contender->hash_blocks) ||
        !find_kind(name, &contender->kind)) {
        return false;
    }
    (void)snprintf(contender->policy, sizeof contender->policy, "%s", name);
    return true;
}

static void read_contenders(struct lab_options *options, const char *list)
{
    char text[LAB_CONTENDERS_MAX * LAB_NAME_BYTES];
    char *rest = NULL;
    (void)snprintf(text, sizeof text, "%s", list);
    options->contender_count = 0;
    for (char *at = strtok_r(text, ",", &rest); at != NULL; at = strtok_r(NULL, ",", &rest)) {
        if (options->contender_count == LAB_CONTENDERS_MAX ||
            !lab_contender_parse(at, &options->contenders[options->contender_count])) {
            bad("no such contender", at);
        }
        options->contender_count += 1;
    }
}

/* ---- the rest ----------------------------------------------------------------------------------
 */

void lab_options_init(struct lab_options *options)
{
    *options = (struct lab_options){
        .trace = {.request_max = SIZE_MAX,
                  .speed = 1,
                  .seed = 1,
                  .bytes_per_token = 4,
                  .output_max = 4096,
                  .model = "lab",
                  .session_spread_s = 600},
        .routers = 8,
        .engines = 16,
        .engine = {.capacity_blocks = 524288 / LAB_BLOCK_TOKENS,
                   .prefill_us_per_token = 1e6 / 8000,
                   .decode_us_per_token = 12000,
                   .slots = 256},
        .cache_threshold = 0.3,
        .balance_abs = 64,
        .balance_rel = 1.5,
    };
}

static enum lab_situation read_situation(void)
{
    for (int i = 0; i < LAB_SITUATION_COUNT; i++) {
        if (strcmp(lab_situation_name((enum lab_situation)i), optarg) == 0) {
            return (enum lab_situation)i;
        }
    }
    bad("no such situation", optarg);
}

static void read_policy_option(struct lab_options *options, int name)
{
    switch (name) {
    case OPT_CACHE_THRESHOLD:
        options->cache_threshold = real("--cache-threshold", 0, 1);
        break;
    case OPT_BALANCE_ABS:
        options->balance_abs = (uint32_t)whole("--balance-abs-threshold", 0, UINT32_MAX);
        break;
    case OPT_BALANCE_REL:
        options->balance_rel = real("--balance-rel-threshold", 1, 1e9);
        break;
    case OPT_JSON:
        options->json = true;
        break;
    case OPT_SVG:
        options->svg_file = optarg;
        break;
    default: /* getopt_long() has printed what is wrong */
        exit(2);
    }
}

static void read_mesh_option(struct lab_options *options, int name)
{
    switch (name) {
    case OPT_CONTENDERS:
        read_contenders(options, optarg);
        break;
    case OPT_SITUATION:
        options->situation = read_situation();
        break;
    case OPT_NO_PREFIX_SYNC:
        options->no_prefix_sync = true;
        break;
    case OPT_NO_LOAD_SYNC:
        options->no_load_sync = true;
        break;
    case OPT_LOAD_AGE_MS:
        options->load_age_ms = (uint32_t)whole("--load-age-ms", 1, 3600000);
        break;
    case OPT_DELAY_US:
        options->delay_us = (uint32_t)whole("--delay-us", 1, 60000000);
        break;
    case OPT_JITTER_US:
        options->jitter_us = (uint32_t)whole("--jitter-us", 0, 60000000);
        break;
    case OPT_LOSS:
        options->loss = real("--loss", 0, 0.5);
        break;
    default:
        read_policy_option(options, name);
    }
}

static void read_fleet_option(struct lab_options *options, int name)
{
    switch (name) {
    case OPT_ROUTERS:
        options->routers = (uint32_t)whole("--routers", 1, LAB_ROUTERS_MAX);
        break;
    case OPT_ENGINES:
        options->engines = (uint32_t)whole("--engines", 4, 240);
        break;
    case OPT_CACHE_TOKENS:
        options->engine.capacity_blocks =
            whole("--cache-tokens", LAB_BLOCK_TOKENS, UINT64_MAX) / LAB_BLOCK_TOKENS;
        break;
    case OPT_PREFILL:
        options->engine.prefill_us_per_token = 1e6 / real("--prefill", 1, 1e9);
        break;
    case OPT_DECODE_MS:
        options->engine.decode_us_per_token = 1000 * real("--decode-ms", 0, 1e6);
        break;
    case OPT_SLOTS:
        options->engine.slots = (uint32_t)whole("--slots", 1, 1000000);
        break;
    default:
        read_mesh_option(options, name);
    }
}

static void read_options(struct lab_options *options, int argc, char **argv)
{
    int name;
    while ((name = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        switch (name) {
        case OPT_HELP:
            (void)fputs(help, stdout);
            exit(0);
        case OPT_TRACE:
            options->trace.trace_file = optarg;
            break;
        case OPT_REQUESTS:
            options->trace.request_max = whole("--requests", 1, SIZE_MAX);
            break;
        case OPT_SKIP:
            options->skip_count = whole("--skip", 0, SIZE_MAX);
            break;
        case OPT_RATE:
            options->trace.rate = real("--rate", 1e-6, 1e9);
            break;
        case OPT_SPEED:
            options->trace.speed = real("--speed", 1e-6, 1e9);
            break;
        case OPT_SESSION_SPREAD_S:
            options->trace.session_spread_s = real("--session-spread-s", 0, 1e9);
            break;
        case OPT_GAP_MAX_S:
            options->gap_max_s = real("--gap-max-s", 1e-6, 1e9);
            break;
        case OPT_SEED:
            options->trace.seed = whole("--seed", 0, UINT64_MAX);
            break;
        default:
            read_fleet_option(options, name);
        }
    }
    if (optind < argc) {
        bad("no arguments are taken", argv[optind]);
    }
    if (options->trace.trace_file == NULL) {
        bad("--trace is needed", "");
    }
    if (options->contender_count == 0) {
        read_contenders(options, usual_contenders);
    }
    for (uint32_t i = 0; i < options->contender_count; i++) {
        struct lab_contender *contender = &options->contenders[i];
        contender->routers = contender->routers == 0 ? options->routers : contender->routers;
    }
}

size_t lab_skip(struct trace *trace, size_t count)
{
    count = count < trace->request_count ? count : trace->request_count;
    size_t left = trace->request_count - count;
    uint64_t begin_us = left > 0 ? trace->requests[count].at_us : 0;
    for (size_t i = 0; i < count; i++) {
        gv_mem_free(GV_MEM_GENERAL, trace->requests[i].text);
    }
    memmove(trace->requests, trace->requests + count, left * sizeof *trace->requests);
    for (size_t i = 0; i < left; i++) {
        trace->requests[i].at_us -= begin_us;
    }
    trace->request_count = left;
    return left;
}

static bool read_corpus(const struct lab_options *options, struct corpus *corpus)
{
    struct trace trace;
    struct options trace_options = options->trace;
    trace_options.gap_max_s = options->gap_max_s;
    bool good = lab_synthetic(&trace, options->trace.trace_file, &options->trace) ||
                trace_read(&trace, &trace_options);
    if (good && lab_skip(&trace, options->skip_count) == 0) {
        (void)fprintf(stderr, "replay lab: --skip leaves no request\n");
        good = false;
    }
    if (good && !corpus_make(corpus, &trace, &options->trace)) {
        (void)fprintf(stderr, "replay lab: out of memory\n");
        corpus_free(corpus);
        good = false;
    }
    trace_free(&trace);
    return good;
}

static bool run_all(const struct lab_options *options, const struct corpus *corpus,
                    struct lab_result *results)
{
    for (uint32_t i = 0; i < options->contender_count; i++) {
        if (!lab_run(options, corpus, &options->contenders[i], &results[i])) {
            (void)fprintf(stderr, "replay lab: out of memory\n");
            return false;
        }
    }
    return true;
}

int lab_main(int argc, char **argv)
{
    static struct lab_options options;
    static struct lab_result results[LAB_CONTENDERS_MAX];
    struct corpus corpus;
    struct lab_possible possible;
    lab_options_init(&options);
    read_options(&options, argc, argv);
    if (!read_corpus(&options, &corpus)) {
        return 2;
    }
    lab_possible(&options, &corpus, &possible);
    bool good = run_all(&options, &corpus, results);
    if (good) {
        lab_print(&options, &corpus, &possible, results, options.contender_count);
        good = options.svg_file == NULL ||
               lab_plot(&options, &possible, results, options.contender_count);
    }
    corpus_free(&corpus);
    return good ? 0 : 2;
}
