/*
 * replay - drives a trace through one or several routers and says how well they did.
 *
 * Open loop: requests leave at the trace's times (or at a rate), whatever the answers do. The hit
 * rate is what the engines report; beside it stands what one cache that never forgets would have
 * had. The exit code is 0 when the verdict is good.
 */
#include "lab/lab.h"
#include "replay.h"
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static const char help[] =
    "replay - drives a trace through one or several routers\n"
    "replay lab - simulates routers and engines in virtual time instead (replay lab --help)\n"
    "\n"
    "  --trace FILE             the trace: one JSON object per line\n"
    "  --format F               auto, conversation, agentic or text (auto)\n"
    "  --routers URL[,URL...]   http://host:port of each router\n"
    "  --requests N             only the first N; 0 sends none (all)\n"
    "  --rate R                 R requests per second instead of the trace's times\n"
    "  --speed X                the trace's times, X times as fast (1)\n"
    "  --endpoint E             chat, completions or generate (chat)\n"
    "  --stream / --no-stream   ask for streams (streams)\n"
    "  --spread S               round-robin over the routers, or hash: a session keeps its router\n"
    "  --model NAME             the model asked for (mock-model)\n"
    "  --api-key KEY            sent as Authorization: Bearer\n"
    "  --bytes-per-token X      length of a token's text; smaller scales the work down (4)\n"
    "  --output-max N           output tokens asked for at most (4096)\n"
    "  --concurrency-max N      in flight at most (4096)\n"
    "  --timeout-s N            for one request (300)\n"
    "  --session-spread-s N     agentic: sessions start within so many seconds (600)\n"
    "  --seed S                 of everything drawn at random (1)\n"
    "  --pool-tokens N          also tell what one cache of N trace tokens would have had\n"
    "  --workers N              workers there are, for the spread (those that answered)\n"
    "  --agreement N            then ask every router to explain N prompts: same worker?\n"
    "  --quiet-ms N             before that (1000)\n"
    "  --hit-at-least X         verdict: a lower hit rate is bad (0)\n"
    "  -o table|json            (table)\n"
    "  --help\n";

enum option_name {
    OPT_TRACE = 1,
    OPT_FORMAT,
    OPT_ROUTERS,
    OPT_REQUESTS,
    OPT_RATE,
    OPT_SPEED,
    OPT_ENDPOINT,
    OPT_STREAM,
    OPT_NO_STREAM,
    OPT_SPREAD,
    OPT_MODEL,
    OPT_API_KEY,
    OPT_BYTES_PER_TOKEN,
    OPT_OUTPUT_MAX,
    OPT_CONCURRENCY_MAX,
    OPT_TIMEOUT_S,
    OPT_SESSION_SPREAD_S,
    OPT_SEED,
    OPT_POOL_TOKENS,
    OPT_WORKERS,
    OPT_AGREEMENT,
    OPT_QUIET_MS,
    OPT_HIT_AT_LEAST,
    OPT_HELP
};

static const struct option long_options[] = {
    {"trace", required_argument, NULL, OPT_TRACE},
    {"format", required_argument, NULL, OPT_FORMAT},
    {"routers", required_argument, NULL, OPT_ROUTERS},
    {"requests", required_argument, NULL, OPT_REQUESTS},
    {"rate", required_argument, NULL, OPT_RATE},
    {"speed", required_argument, NULL, OPT_SPEED},
    {"endpoint", required_argument, NULL, OPT_ENDPOINT},
    {"stream", no_argument, NULL, OPT_STREAM},
    {"no-stream", no_argument, NULL, OPT_NO_STREAM},
    {"spread", required_argument, NULL, OPT_SPREAD},
    {"model", required_argument, NULL, OPT_MODEL},
    {"api-key", required_argument, NULL, OPT_API_KEY},
    {"bytes-per-token", required_argument, NULL, OPT_BYTES_PER_TOKEN},
    {"output-max", required_argument, NULL, OPT_OUTPUT_MAX},
    {"concurrency-max", required_argument, NULL, OPT_CONCURRENCY_MAX},
    {"timeout-s", required_argument, NULL, OPT_TIMEOUT_S},
    {"session-spread-s", required_argument, NULL, OPT_SESSION_SPREAD_S},
    {"seed", required_argument, NULL, OPT_SEED},
    {"pool-tokens", required_argument, NULL, OPT_POOL_TOKENS},
    {"workers", required_argument, NULL, OPT_WORKERS},
    {"agreement", required_argument, NULL, OPT_AGREEMENT},
    {"quiet-ms", required_argument, NULL, OPT_QUIET_MS},
    {"hit-at-least", required_argument, NULL, OPT_HIT_AT_LEAST},
    {"help", no_argument, NULL, OPT_HELP},
    {NULL, 0, NULL, 0},
};

static GV_NORETURN void bad(const char *what, const char *text)
{
    (void)fprintf(stderr, "replay: %s: '%s' (try --help)\n", what, text);
    exit(2);
}

static uint64_t number(const char *what, uint64_t min, uint64_t max)
{
    uint64_t value = 0;
    if (!gv_slice_to_u64(gv_slice_text(optarg), &value) || value < min || value > max) {
        bad(what, optarg);
    }
    return value;
}

static double positive(const char *what)
{
    char *rest = NULL;
    double value = strtod(optarg, &rest);
    if (rest == optarg || *rest != '\0' || !(value > 0) || value > 1e12) {
        bad(what, optarg);
    }
    return value;
}

/* Which of `names` (ended by NULL) the argument is. */
static int one_of(const char *what, const char *const *names)
{
    for (int i = 0; names[i] != NULL; i++) {
        if (strcmp(names[i], optarg) == 0) {
            return i;
        }
    }
    bad(what, optarg);
}

/* Cuts the argument in place: argv lives as long as the program. */
static void read_routers(struct options *options)
{
    char *rest = NULL;
    for (char *at = strtok_r(optarg, ",", &rest); at != NULL; at = strtok_r(NULL, ",", &rest)) {
        if (options->router_count == REPLAY_ROUTERS_MAX) {
            bad("too many routers", at);
        }
        struct router *router = &options->routers[options->router_count++];
        if (gv_uri_parse(gv_slice_text(at), &router->uri) != GV_OK ||
            strcmp(router->uri.scheme, "http") != 0) {
            bad("--routers takes http://host:port", at);
        }
    }
}

static void read_measure_option(struct options *options, int name)
{
    static const char *const outputs[] = {"table", "json", NULL};
    switch (name) {
    case 'o':
        options->json = one_of("-o", outputs) == 1;
        break;
    case OPT_POOL_TOKENS:
        options->pool_tokens = number("--pool-tokens", 0, UINT64_MAX);
        break;
    case OPT_WORKERS:
        options->worker_count = (uint32_t)number("--workers", 0, REPLAY_WORKERS_MAX);
        break;
    case OPT_AGREEMENT:
        options->agreement_count = (uint32_t)number("--agreement", 0, UINT32_MAX);
        break;
    case OPT_QUIET_MS:
        options->quiet_ms = number("--quiet-ms", 0, 3600000);
        break;
    case OPT_HIT_AT_LEAST:
        options->hit_at_least = positive("--hit-at-least");
        break;
    default: /* getopt_long() has printed what is wrong */
        exit(2);
    }
}

static void read_load_option(struct options *options, int name)
{
    static const char *const endpoints[] = {"chat", "completions", "generate", NULL};
    static const char *const spreads[] = {"round-robin", "hash", NULL};
    switch (name) {
    case OPT_ENDPOINT:
        options->endpoint = (enum replay_endpoint)one_of("--endpoint", endpoints);
        break;
    case OPT_STREAM:
    case OPT_NO_STREAM:
        options->stream = name == OPT_STREAM;
        break;
    case OPT_SPREAD:
        options->spread = (enum replay_spread)one_of("--spread", spreads);
        break;
    case OPT_MODEL:
        options->model = optarg;
        break;
    case OPT_API_KEY:
        options->api_key = optarg;
        break;
    case OPT_BYTES_PER_TOKEN:
        options->bytes_per_token = positive("--bytes-per-token");
        break;
    case OPT_OUTPUT_MAX:
        options->output_max = (uint32_t)number("--output-max", 1, UINT32_MAX);
        break;
    case OPT_CONCURRENCY_MAX:
        options->concurrency_max = (uint32_t)number("--concurrency-max", 1, UINT32_MAX);
        break;
    case OPT_TIMEOUT_S:
        options->timeout_ms = number("--timeout-s", 1, 86400) * 1000;
        break;
    default:
        read_measure_option(options, name);
    }
}

static void read_options(struct options *options, int argc, char **argv)
{
    static const char *const formats[] = {"auto", "conversation", "agentic", "text", NULL};
    int name;
    while ((name = getopt_long(argc, argv, "o:", long_options, NULL)) != -1) {
        switch (name) {
        case OPT_HELP:
            (void)fputs(help, stdout);
            exit(0);
        case OPT_TRACE:
            options->trace_file = optarg;
            break;
        case OPT_FORMAT:
            options->format = (enum trace_format)one_of("--format", formats);
            break;
        case OPT_ROUTERS:
            read_routers(options);
            break;
        case OPT_REQUESTS:
            options->request_max = number("--requests", 0, SIZE_MAX);
            break;
        case OPT_RATE:
            options->rate = positive("--rate");
            break;
        case OPT_SPEED:
            options->speed = positive("--speed");
            break;
        case OPT_SEED:
            options->seed = number("--seed", 0, UINT64_MAX);
            break;
        case OPT_SESSION_SPREAD_S:
            options->session_spread_s = positive("--session-spread-s");
            break;
        default:
            read_load_option(options, name);
        }
    }
    if (optind < argc) {
        bad("no arguments are taken", argv[optind]);
    }
    if (options->trace_file == NULL) {
        bad("--trace is needed", "");
    }
    if (options->request_max == 0) {
        options->dry = true;
        options->request_max = SIZE_MAX;
    }
    if (options->router_count == 0 && (!options->dry || options->agreement_count > 0)) {
        bad("--routers is needed", "");
    }
}

/* One replay: look the routers up, drive, ask for agreement, stop. */
struct play {
    struct gv_loop *loop;         /* owned */
    struct gv_resolver *resolver; /* owned */
    struct options options;
    struct trace trace;
    struct possible possible;
    struct measured measured;
    size_t looked_up;
    bool broken; /* a message was printed */
};

static void stop(void *owner)
{
    struct play *play = owner;
    gv_loop_stop(play->loop);
}

static void give_up(struct play *play, const char *what)
{
    (void)fprintf(stderr, "replay: cannot go on: %s\n", what);
    play->broken = true;
    gv_loop_stop(play->loop);
}

static void on_driven(void *owner)
{
    struct play *play = owner;
    if (play->options.agreement_count == 0) {
        stop(play);
    } else if (agree_start(play->loop, &play->options, &play->trace, &play->measured, stop, play) !=
               GV_OK) {
        give_up(play, "out of memory");
    }
}

static void look_up_next(struct play *play);

static void on_resolved(void *owner, enum gv_err err, const struct gv_addr *addrs, size_t count,
                        uint32_t ttl_s)
{
    (void)ttl_s;
    struct play *play = owner;
    struct router *router = &play->options.routers[play->looked_up];
    if (err != GV_OK || count == 0) {
        (void)fprintf(stderr, "replay: no address of %s\n", router->uri.host);
        give_up(play, gv_err_text(err == GV_OK ? GV_ENOTFOUND : err));
        return;
    }
    router->addr = addrs[0];
    play->looked_up += 1;
    look_up_next(play);
}

static void look_up_next(struct play *play)
{
    if (play->looked_up < play->options.router_count) {
        struct router *router = &play->options.routers[play->looked_up];
        if (gv_resolve(play->resolver, router->uri.host, router->uri.port, on_resolved, play) !=
            GV_OK) {
            give_up(play, "cannot look up names");
        }
        return;
    }
    if (play->options.dry) {
        on_driven(play);
    } else if (drive_start(play->loop, &play->options, &play->trace, &play->measured, on_driven,
                           play) != GV_OK) {
        give_up(play, "out of memory");
    }
}

static void run(struct play *play)
{
    if (gv_loop_new("replay", &play->loop) != GV_OK) {
        (void)fprintf(stderr, "replay: no event loop\n");
        play->broken = true;
        return;
    }
    if (gv_resolver_open(play->loop, &play->resolver) != GV_OK) {
        (void)fprintf(stderr, "replay: no resolver\n");
        play->broken = true;
    } else {
        look_up_next(play);
        gv_loop_run(play->loop);
        gv_resolver_close(play->resolver);
    }
    gv_loop_free(play->loop);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "lab") == 0) {
        return lab_main(argc - 1, argv + 1);
    }
    struct play *play = gv_mem_new(GV_MEM_GENERAL, sizeof *play);
    if (play == NULL) {
        return 2;
    }
    play->options = (struct options){
        .request_max = SIZE_MAX,
        .speed = 1,
        .stream = true,
        .concurrency_max = 4096,
        .seed = 1,
        .bytes_per_token = 4,
        .output_max = 4096,
        .model = "mock-model",
        .timeout_ms = 300 * 1000,
        .quiet_ms = 1000,
        .session_spread_s = 600,
    };
    read_options(&play->options, argc, argv);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)gv_raise_file_limit();
    gv_hist_init(&play->measured.first_us);
    gv_hist_init(&play->measured.total_us);
    bool good = trace_read(&play->trace, &play->options);
    if (good && !possible_count(&play->trace, &play->options, &play->possible)) {
        (void)fprintf(stderr, "replay: out of memory\n");
        good = false;
    }
    if (good && play->options.router_count > 0) {
        run(play);
        good = !play->broken;
    }
    int code = 2;
    if (good) {
        code = report_print(&play->options, &play->trace, &play->possible, &play->measured);
    }
    trace_free(&play->trace);
    gv_mem_free(GV_MEM_GENERAL, play);
    return code;
}
