/*
 * mockworker - an inference engine without the inference.
 *
 * It speaks what SGLang and OpenAI-style engines speak, streams as they stream, takes the time they
 * take, keeps a prefix cache as they do and says how much of a prompt it had cached; and it fails
 * on demand (control.c). One process can be many engines, each on its own port. When every port
 * is open it prints one line, "mockworker: ready on 127.0.0.1:9001 127.0.0.1:9002", to stdout.
 * For tests, demos and benches; never in the path of real requests.
 */
#include "mock.h"
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static const char help[] =
    "mockworker - an inference engine without the inference\n"
    "\n"
    "  --host ADDR              address to listen on (127.0.0.1)\n"
    "  --port N                 port of the first engine; 0: the kernel chooses (9000)\n"
    "  --count N                engines, on ports N, N+1, ... (1)\n"
    "  --model A[,B...]         served model; further ones are listed as well (mock-model)\n"
    "  --strict-model           answer 404 to other models\n"
    "  --block-tokens N         tokens per cached block (16)\n"
    "  --bytes-per-token N      bytes of prompt that are a token (4)\n"
    "  --capacity-tokens N      tokens the prefix cache holds; 0: no cache (524288)\n"
    "  --told-tokens N          tokens it says that the cache holds (as many as it does)\n"
    "  --prefill-tps N          uncached prompt tokens prefilled per second (8000)\n"
    "  --decode-ms X            milliseconds per output token (6)\n"
    "  --speed X                run X times as fast; 0: nothing takes time (1)\n"
    "  --output-tokens N        tokens made when the request does not say (8)\n"
    "  --output-tokens-max N    tokens made at most (4096)\n"
    "  --max-running N          told in the metadata (256)\n"
    "  --role R                 regular, prefill or decode (regular)\n"
    "  --bootstrap-port N       prefill: port of the first engine's rooms; 0: the kernel chooses "
    "(8998)\n"
    "  --pd-timeout-ms N        how long a leg waits for its other leg (5000)\n"
    "  --pd-protocol P          sglang (rooms) or vllm (kv_transfer_params) (sglang)\n"
    "  --kind K                 sglang, vllm or openai: whose words it describes itself in "
    "(sglang)\n"
    "  --dp-size N              data-parallel ranks it says it has (1)\n"
    "  --worker-api-key KEY     demand \"Authorization: Bearer KEY\"\n"
    "  --tls-cert FILE          speak HTTPS with this certificate (PEM), read again on SIGHUP\n"
    "  --tls-key FILE           its key\n"
    "  --tls-client-ca FILE     demand certificates that this authority vouches for\n"
    "  --help\n"
    "\n"
    "Control: POST /_mock/fault, /_mock/reset, /_mock/restart; GET /_mock/stats. Add ?port=N to\n"
    "reach another engine of the same process.\n";

enum option_name {
    OPT_HOST = 1,
    OPT_PORT,
    OPT_COUNT,
    OPT_MODEL,
    OPT_STRICT_MODEL,
    OPT_BLOCK_TOKENS,
    OPT_CAPACITY_TOKENS,
    OPT_TOLD_TOKENS,
    OPT_PREFILL_TPS,
    OPT_DECODE_MS,
    OPT_SPEED,
    OPT_OUTPUT_TOKENS,
    OPT_OUTPUT_TOKENS_MAX,
    OPT_MAX_RUNNING,
    OPT_ROLE,
    OPT_BOOTSTRAP_PORT,
    OPT_PD_TIMEOUT_MS,
    OPT_PD_PROTOCOL,
    OPT_WORKER_API_KEY,
    OPT_KIND,
    OPT_DP_SIZE,
    OPT_TLS_CERT,
    OPT_TLS_KEY,
    OPT_TLS_CLIENT_CA,
    OPT_BYTES_PER_TOKEN,
    OPT_HELP
};

static const struct option long_options[] = {
    {"host", required_argument, NULL, OPT_HOST},
    {"port", required_argument, NULL, OPT_PORT},
    {"count", required_argument, NULL, OPT_COUNT},
    {"model", required_argument, NULL, OPT_MODEL},
    {"strict-model", no_argument, NULL, OPT_STRICT_MODEL},
    {"block-tokens", required_argument, NULL, OPT_BLOCK_TOKENS},
    {"capacity-tokens", required_argument, NULL, OPT_CAPACITY_TOKENS},
    {"told-tokens", required_argument, NULL, OPT_TOLD_TOKENS},
    {"prefill-tps", required_argument, NULL, OPT_PREFILL_TPS},
    {"decode-ms", required_argument, NULL, OPT_DECODE_MS},
    {"speed", required_argument, NULL, OPT_SPEED},
    {"output-tokens", required_argument, NULL, OPT_OUTPUT_TOKENS},
    {"output-tokens-max", required_argument, NULL, OPT_OUTPUT_TOKENS_MAX},
    {"max-running", required_argument, NULL, OPT_MAX_RUNNING},
    {"role", required_argument, NULL, OPT_ROLE},
    {"bootstrap-port", required_argument, NULL, OPT_BOOTSTRAP_PORT},
    {"pd-timeout-ms", required_argument, NULL, OPT_PD_TIMEOUT_MS},
    {"pd-protocol", required_argument, NULL, OPT_PD_PROTOCOL},
    {"worker-api-key", required_argument, NULL, OPT_WORKER_API_KEY},
    {"kind", required_argument, NULL, OPT_KIND},
    {"dp-size", required_argument, NULL, OPT_DP_SIZE},
    {"tls-cert", required_argument, NULL, OPT_TLS_CERT},
    {"tls-key", required_argument, NULL, OPT_TLS_KEY},
    {"tls-client-ca", required_argument, NULL, OPT_TLS_CLIENT_CA},
    {"bytes-per-token", required_argument, NULL, OPT_BYTES_PER_TOKEN},
    {"help", no_argument, NULL, OPT_HELP},
    {NULL, 0, NULL, 0},
};

/* Speeds as given; the engine's limits follow from them when every option is read. */
struct pace {
    double prefill_tps;
    double decode_ms;
    double speed;
};

static GV_NORETURN void bad(const char *what, const char *text)
{
    (void)fprintf(stderr, "mockworker: %s: '%s' (try --help)\n", what, text);
    exit(2);
}

static uint64_t number(const char *text, uint64_t min, uint64_t max, const char *what)
{
    uint64_t value = 0;
    if (!gv_slice_to_u64(gv_slice_text(text), &value) || value < min || value > max) {
        bad(what, text);
    }
    return value;
}

static double real(const char *text, const char *what)
{
    char *end = NULL;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !(value >= 0) || value > 1e12) {
        bad(what, text);
    }
    return value;
}

static enum mock_role role_of(const char *text)
{
    if (strcmp(text, "regular") == 0) {
        return MOCK_REGULAR;
    }
    if (strcmp(text, "prefill") == 0) {
        return MOCK_PREFILL;
    }
    if (strcmp(text, "decode") == 0) {
        return MOCK_DECODE;
    }
    bad("--role is regular, prefill or decode", text);
}

static enum mock_kind kind_of(const char *text)
{
    static const char *const names[] = {"sglang", "vllm", "openai"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(text, names[i]) == 0) {
            return (enum mock_kind)i;
        }
    }
    bad("--kind is sglang, vllm or openai", text);
}

/* Cuts the argument in place: argv lives as long as the program. */
static void read_models(struct mock_options *options, char *text)
{
    options->model_count = 0;
    char *rest = NULL;
    for (char *at = strtok_r(text, ",", &rest); at != NULL; at = strtok_r(NULL, ",", &rest)) {
        if (options->model_count == MOCK_MODELS_MAX) {
            bad("too many models", at);
        }
        options->models[options->model_count++] = at;
    }
    if (options->model_count == 0) {
        bad("--model needs a name", text);
    }
}

static void read_port_option(struct mock_options *options, int name)
{
    if (name == OPT_PORT) {
        options->port = (uint16_t)number(optarg, 0, UINT16_MAX, "--port");
    } else {
        options->bootstrap_port = (uint16_t)number(optarg, 0, UINT16_MAX, "--bootstrap-port");
    }
}

static void read_engine_option(struct mock_options *options, struct pace *pace, int name)
{
    switch (name) {
    case OPT_BLOCK_TOKENS:
        options->engine.block_tokens = (uint32_t)number(optarg, 1, 1U << 20, "--block-tokens");
        break;
    case OPT_CAPACITY_TOKENS:
        options->engine.capacity_tokens = number(optarg, 0, 1ULL << 40, "--capacity-tokens");
        break;
    case OPT_TOLD_TOKENS:
        options->told_tokens = number(optarg, 1, 1ULL << 40, "--told-tokens");
        break;
    case OPT_PREFILL_TPS:
        pace->prefill_tps = real(optarg, "--prefill-tps");
        break;
    case OPT_DECODE_MS:
        pace->decode_ms = real(optarg, "--decode-ms");
        break;
    case OPT_SPEED:
        pace->speed = real(optarg, "--speed");
        break;
    case OPT_OUTPUT_TOKENS:
        options->output_tokens = (uint32_t)number(optarg, 1, 1U << 20, "--output-tokens");
        break;
    case OPT_OUTPUT_TOKENS_MAX:
        options->output_tokens_max = (uint32_t)number(optarg, 1, 1U << 20, "--output-tokens-max");
        break;
    case OPT_KIND:
        options->kind = kind_of(optarg);
        break;
    case OPT_BYTES_PER_TOKEN:
        options->engine.bytes_per_token = (uint32_t)number(optarg, 1, 1024, "--bytes-per-token");
        break;
    case OPT_DP_SIZE:
        options->dp_size = (uint32_t)number(optarg, 1, MOCK_RANKS_MAX, "--dp-size");
        break;
    case OPT_MAX_RUNNING:
        options->max_running = (uint32_t)number(optarg, 1, UINT32_MAX, "--max-running");
        break;
    default: /* getopt_long() has printed what is wrong */
        exit(2);
    }
}

static void read_options(struct mock_options *options, struct pace *pace, int argc, char **argv)
{
    int name;
    while ((name = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        switch (name) {
        case OPT_HELP:
            (void)fputs(help, stdout);
            exit(0);
        case OPT_HOST:
            options->host = optarg;
            break;
        case OPT_PORT:
        case OPT_BOOTSTRAP_PORT:
            read_port_option(options, name);
            break;
        case OPT_COUNT:
            options->worker_count = (uint32_t)number(optarg, 1, MOCK_WORKERS_MAX, "--count");
            break;
        case OPT_MODEL:
            read_models(options, optarg);
            break;
        case OPT_STRICT_MODEL:
            options->strict_model = true;
            break;
        case OPT_ROLE:
            options->role = role_of(optarg);
            break;
        case OPT_PD_TIMEOUT_MS:
            options->pd_timeout_ms = number(optarg, 1, 3600000, "--pd-timeout-ms");
            break;
        case OPT_PD_PROTOCOL:
            options->vllm = strcmp(optarg, "vllm") == 0;
            if (!options->vllm && strcmp(optarg, "sglang") != 0) {
                bad("--pd-protocol is sglang or vllm", optarg);
            }
            break;
        case OPT_WORKER_API_KEY:
            options->api_key = optarg;
            break;
        case OPT_TLS_CERT:
            options->tls_cert = optarg;
            break;
        case OPT_TLS_KEY:
            options->tls_key = optarg;
            break;
        case OPT_TLS_CLIENT_CA:
            options->tls_client_ca = optarg;
            break;
        default:
            read_engine_option(options, pace, name);
        }
    }
    if (optind < argc) {
        bad("no arguments are taken", argv[optind]);
    }
}

static struct mock_options options_of(int argc, char **argv)
{
    struct mock_options options = {
        .host = "127.0.0.1",
        .port = 9000,
        .worker_count = 1,
        .models = {"mock-model"},
        .model_count = 1,
        .engine = {.block_tokens = 16, .capacity_tokens = 524288},
        .output_tokens = 8,
        .output_tokens_max = 4096,
        .max_running = 256,
        .dp_size = 1,
        .bootstrap_port = 8998,
        .pd_timeout_ms = 5000,
    };
    struct pace pace = {.prefill_tps = 8000, .decode_ms = 6, .speed = 1};
    read_options(&options, &pace, argc, argv);
    if (pace.speed > 0 && pace.prefill_tps > 0) {
        options.engine.prefill_us_per_token = 1e6 / pace.prefill_tps / pace.speed;
    }
    if (pace.speed > 0) {
        options.engine.decode_us_per_token = pace.decode_ms * 1000 / pace.speed;
    }
    if ((options.port != 0 && options.port + options.worker_count - 1 > UINT16_MAX) ||
        (options.bootstrap_port != 0 &&
         options.bootstrap_port + options.worker_count - 1 > UINT16_MAX)) {
        bad("ports would run past 65535 with --count", "");
    }
    if ((options.tls_cert == NULL) != (options.tls_key == NULL) ||
        (options.tls_client_ca != NULL && options.tls_cert == NULL)) {
        bad("--tls-cert and --tls-key go together", "");
    }
    return options;
}

static void on_stop(void *owner, int signum)
{
    (void)signum;
    struct mock *mock = owner;
    gv_loop_stop(mock->loop);
}

static void on_hangup(void *owner, int signum)
{
    (void)signum;
    struct mock *mock = owner;
    gv_tls_reload(mock->tls, true);
}

static enum gv_err open_tls(struct mock *mock)
{
    const struct mock_options *given = &mock->options;
    if (given->tls_cert == NULL) {
        return GV_OK;
    }
    char trouble[GV_TLS_TROUBLE_BYTES];
    struct gv_tls_options options = {
        .name = "clients",
        .side = GV_TLS_ACCEPTING,
        .cert_path = given->tls_cert,
        .key_path = given->tls_key,
        .ca_paths = (char *const *)&given->tls_client_ca,
        .ca_count = given->tls_client_ca == NULL ? 0 : 1,
        .proof = given->tls_client_ca == NULL ? GV_TLS_PROOF_NONE : GV_TLS_PROOF_REQUIRED,
    };
    enum gv_err err = gv_tls_open(&options, &mock->tls, trouble);
    if (err != GV_OK) {
        (void)fprintf(stderr, "mockworker: %s\n", trouble);
        return err;
    }
    return gv_signal_open(mock->loop, SIGHUP, on_hangup, mock);
}

static enum gv_err open_all(struct mock *mock)
{
    enum gv_err err = gv_loop_new("mockworker", &mock->loop);
    if (err == GV_OK) {
        err = open_tls(mock);
    }
    if (err == GV_OK) {
        err = gv_prompt_reader_new(&mock->reader);
    }
    if (err == GV_OK) {
        err = gv_resolver_open(mock->loop, &mock->resolver);
    }
    for (int i = 0; err == GV_OK && i < 2; i++) {
        err = gv_signal_open(mock->loop, i == 0 ? SIGINT : SIGTERM, on_stop, mock);
    }
    for (uint32_t i = 0; err == GV_OK && i < mock->options.worker_count; i++) {
        mock->workers[i].mock = mock;
        err = worker_open(&mock->workers[i], i);
        if (err != GV_OK) {
            (void)fprintf(stderr, "mockworker: cannot listen on %s, engine %u: %s\n",
                          mock->options.host, i, gv_err_text(err));
        }
    }
    return err;
}

static void say_ready(const struct mock *mock)
{
    (void)printf("mockworker: ready on");
    for (uint32_t i = 0; i < mock->options.worker_count; i++) {
        (void)printf(" %s", mock->workers[i].name);
    }
    if (mock->options.role == MOCK_PREFILL) {
        (void)printf(" bootstrap");
        for (uint32_t i = 0; i < mock->options.worker_count; i++) {
            (void)printf(" %u", mock->workers[i].bootstrap_port);
        }
    }
    (void)printf("\n");
    (void)fflush(stdout);
}

int main(int argc, char **argv)
{
    struct mock mock = {.options = options_of(argc, argv)};
    (void)signal(SIGPIPE, SIG_IGN);
    (void)gv_raise_file_limit();
    gv_buf_init(&mock.prompt, GV_MEM_BUFFER, 2 * (size_t)MOCK_BODY_BYTES_MAX);
    mock.workers = gv_mem_new(GV_MEM_GENERAL, mock.options.worker_count * sizeof *mock.workers);
    enum gv_err err = mock.workers == NULL ? GV_ENOMEM : open_all(&mock);
    if (err == GV_OK) {
        say_ready(&mock);
        gv_loop_run(mock.loop);
    } else {
        (void)fprintf(stderr, "mockworker: cannot start: %s\n", gv_err_text(err));
    }
    for (uint32_t i = 0; mock.workers != NULL && i < mock.options.worker_count; i++) {
        worker_close(&mock.workers[i]);
    }
    if (mock.loop != NULL) {
        gv_resolver_close(mock.resolver);
        gv_loop_free(mock.loop);
    }
    gv_tls_free(mock.tls);
    for (uint32_t i = 0; mock.workers != NULL && i < mock.options.worker_count; i++) {
        worker_deinit(&mock.workers[i]);
    }
    gv_prompt_reader_free(mock.reader);
    gv_buf_deinit(&mock.prompt);
    gv_mem_free(GV_MEM_GENERAL, mock.workers);
    return err == GV_OK ? 0 : 1;
}
