/*
 * main.c - vinesim: the mesh's engine, many nodes in one process, bad weather, one seed = one run.
 */
#include "golden.h"
#include "jobs.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
    "usage: vinesim [options]\n"
    "Run the mesh of router nodes in virtual time and check that it agrees again after any "
    "weather.\n"
    "\n"
    "  --seed S         run one seed (default 1)\n"
    "  --seeds A..B     run the seeds A to B\n"
    "  --nodes N        nodes, 2 to 1000; or a range such as 3..64, from the seed (default: 3..8)\n"
    "  --seconds V      virtual seconds of weather (default 20)\n"
    "  --loss P         share of datagrams lost, 0 to 0.5 (default: 0 to 0.1, from the seed)\n"
    "  --faults LIST    all (default), none, or some of\n"
    "                   cut,partition,oneway,crash,restart,pause,duplicate,evict,overrun,\n"
    "                   corrupt,hostile,slow,clock,disk,twin; and besides: records (loads, "
    "opinions,\n"
    "                   workers' records and settings change), few (a node may know two seeds "
    "only),\n"
    "                   mixed (each run has some of the faults, a quarter of them no loss)\n"
    "  --pauses         instead of faults: at any moment 1 % of the nodes stand still for 2 s; "
    "any\n"
    "                   death fails the run (defaults: 16 nodes, 3600 seconds, loss 0.05)\n"
    "  --jobs N         processes (default 1)\n"
    "  --repeat         run each seed twice: the two runs must be the same, byte for byte\n"
    "  --trace FILE     write the trace of the run (one seed, one job)\n"
    "  --detector NAME  ours (default), plain (SWIM without Lifeguard) or memberlist\n"
    "  --report         measure instead: visibility, copies, detection, healing, idle traffic\n"
    "  --long           --report with the rows that take minutes: a day of pauses\n"
    "  --golden DIR     tell the short stories and write their traces to DIR (tests/sim/golden)\n"
    "  --help           this text\n"
    "\n"
    "Exits 0 when every seed held, 1 when one failed, 2 when the command line makes no sense.\n";

static bool read_u64(const char *text, uint64_t least, uint64_t most, uint64_t *value)
{
    char *end;
    errno = 0;
    unsigned long long got = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || text[0] == '-' || got < least || got > most) {
        return false;
    }
    *value = got;
    return true;
}

static bool read_range(const char *text, uint64_t *first, uint64_t *last)
{
    char left[32];
    const char *dots = strstr(text, "..");
    if (dots == NULL || (size_t)(dots - text) >= sizeof left) {
        return false;
    }
    memcpy(left, text, (size_t)(dots - text));
    left[dots - text] = '\0';
    return read_u64(left, 0, UINT64_MAX - 1, first) &&
           read_u64(dots + 2, *first, UINT64_MAX - 1, last);
}

/* "16" or "3..64". */
static bool read_nodes(const char *text, struct weather_options *weather)
{
    uint64_t least = 0, most = 0;
    bool is_range = strstr(text, "..") != NULL;
    bool good =
        is_range ? read_range(text, &least, &most) : read_u64(text, 2, WORLD_NODES_MAX, &most);
    weather->node_least = (uint32_t)least;
    weather->node_count = (uint32_t)most;
    return good && (!is_range || least >= 2) && most <= WORLD_NODES_MAX;
}

static bool read_share(const char *text, double *share)
{
    char *end;
    double got = strtod(text, &end);
    if (end == text || *end != '\0' || !(got >= 0 && got <= 0.5)) {
        return false;
    }
    *share = got;
    return true;
}

static const char try_help[] = "Try vinesim --help.\n";

static int complain(const char *option, const char *takes, const char *value)
{
    (void)fprintf(stderr, "vinesim: --%s takes %s; not: %s\n%s", option, takes, value, try_help);
    return 2;
}

enum {
    OPT_SEED = 1,
    OPT_SEEDS,
    OPT_NODES,
    OPT_SECONDS,
    OPT_LOSS,
    OPT_FAULTS,
    OPT_PAUSES,
    OPT_JOBS,
    OPT_REPEAT,
    OPT_TRACE,
    OPT_REPORT,
    OPT_LONG,
    OPT_GOLDEN,
    OPT_DETECTOR,
    OPT_HELP
};

static const struct option options[] = {{"seed", required_argument, NULL, OPT_SEED},
                                        {"seeds", required_argument, NULL, OPT_SEEDS},
                                        {"nodes", required_argument, NULL, OPT_NODES},
                                        {"seconds", required_argument, NULL, OPT_SECONDS},
                                        {"loss", required_argument, NULL, OPT_LOSS},
                                        {"faults", required_argument, NULL, OPT_FAULTS},
                                        {"pauses", no_argument, NULL, OPT_PAUSES},
                                        {"jobs", required_argument, NULL, OPT_JOBS},
                                        {"repeat", no_argument, NULL, OPT_REPEAT},
                                        {"trace", required_argument, NULL, OPT_TRACE},
                                        {"report", no_argument, NULL, OPT_REPORT},
                                        {"golden", required_argument, NULL, OPT_GOLDEN},
                                        {"long", no_argument, NULL, OPT_LONG},
                                        {"detector", required_argument, NULL, OPT_DETECTOR},
                                        {"help", no_argument, NULL, OPT_HELP},
                                        {NULL, 0, NULL, 0}};

/* What an option takes, for who gave it something else. */
static const char *takes(int option)
{
    static const char *const texts[] = {[OPT_SEED] = "a number",
                                        [OPT_SEEDS] = "A..B, two numbers, the first not above",
                                        [OPT_NODES] = "2 to 1000, or a range such as 3..64",
                                        [OPT_SECONDS] = "1 to 86400",
                                        [OPT_LOSS] = "0 to 0.5",
                                        [OPT_FAULTS] = "all, none, or names between commas",
                                        [OPT_JOBS] = "1 to 64",
                                        [OPT_DETECTOR] = "ours, plain or memberlist",
                                        [OPT_HELP] = NULL};
    return texts[option] == NULL ? "something else" : texts[option];
}

/* One option; false: its value makes no sense. */
static bool take_option(struct arguments *arguments, int option, const char *value)
{
    uint64_t number = 0;
    bool good = true;
    switch (option) {
    case OPT_SEED:
        good = read_u64(value, 0, UINT64_MAX - 1, &arguments->first);
        arguments->last = arguments->first;
        return good;
    case OPT_SEEDS:
        return read_range(value, &arguments->first, &arguments->last);
    case OPT_NODES:
        return read_nodes(value, &arguments->weather);
    case OPT_SECONDS:
        good = read_u64(value, 1, 86400, &number);
        arguments->weather.seconds = (uint32_t)number;
        return good;
    case OPT_LOSS:
        return read_share(value, &arguments->weather.loss);
    case OPT_FAULTS:
        arguments->faults = value;
        return weather_parse_faults(value, &arguments->weather.faults);
    case OPT_JOBS:
        good = read_u64(value, 1, JOBS_MAX, &number);
        arguments->jobs = (uint32_t)number;
        return good;
    case OPT_PAUSES:
        arguments->weather.pauses = true;
        return true;
    case OPT_REPEAT:
        arguments->repeat = true;
        return true;
    case OPT_TRACE:
        arguments->trace = value;
        return true;
    case OPT_GOLDEN:
        arguments->golden = value;
        return true;
    case OPT_LONG:
        arguments->is_long = true;
        arguments->report = true;
        return true;
    case OPT_DETECTOR:
        good = rival_parse(value, &arguments->rival);
        arguments->weather.detector = rival_detector(arguments->rival);
        return good;
    default:
        arguments->report = true;
        return true;
    }
}

/* ---- running -----------------------------------------------------------------------------------
 */

static int run(struct arguments *arguments)
{
    struct tally tally = {0};
    gv_hist_init(&tally.converged);
    tally.slowest[0].seed = arguments->first;
    if (arguments->trace != NULL) {
        arguments->weather.trace = fopen(arguments->trace, "w");
        if (arguments->weather.trace == NULL) {
            return complain("trace", "a file that can be written", strerror(errno));
        }
    }
    bool whole = true;
    if (arguments->trace == NULL) {
        whole = jobs_run(arguments, &tally);
    } else {
        struct weather_verdict verdict;
        jobs_run_seed(arguments, arguments->first, &verdict);
        tally_add(arguments, &tally, &verdict);
    }
    if (arguments->weather.trace != NULL) {
        (void)fclose(arguments->weather.trace);
    }
    if (isatty(STDERR_FILENO)) {
        (void)fprintf(stderr, "\r%*s\r", 60, "");
    }
    if (!whole) {
        printf("vinesim: a job ended early\n");
        return 1;
    }
    tally_print(&tally);
    return tally.failed == 0 && tally.done > 0 ? 0 : 1;
}

/* What was not said on the command line. */
static void set_defaults(struct weather_options *weather)
{
    if (weather->seconds == 0) {
        weather->seconds = weather->pauses ? 3600 : 20;
    }
    if (weather->pauses) {
        weather->node_count = weather->node_count == 0 ? 16 : weather->node_count;
        weather->loss = weather->loss < 0 ? 0.05 : weather->loss;
    }
}

int main(int argc, char **argv)
{
    struct arguments arguments = {
        .weather = {.loss = -1, .faults = WEATHER_ALL}, .first = 1, .last = 1, .jobs = 1};
    int option, at = 0;
    while ((option = getopt_long(argc, argv, "", options, &at)) != -1) {
        if (option == OPT_HELP) {
            (void)fputs(help, stdout);
            return 0;
        }
        if (option == '?') {
            (void)fputs(try_help, stderr); /* what is wrong has been said */
            return 2;
        }
        if (!take_option(&arguments, option, optarg)) {
            return complain(options[at].name, takes(option), optarg);
        }
    }
    if (optind < argc) {
        (void)fprintf(stderr, "vinesim: options begin with --; what is %s?\n%s", argv[optind],
                      try_help);
        return 2;
    }
    if (arguments.trace != NULL && (arguments.jobs > 1 || arguments.first != arguments.last)) {
        return complain("trace", "one seed and one job", "more");
    }
    if (arguments.golden != NULL) {
        return golden_write_all(arguments.golden) ? 0 : 1;
    }
    if (arguments.report) {
        struct measure measure = {.nodes = arguments.weather.node_count,
                                  .loss = arguments.weather.loss,
                                  .seed = arguments.first,
                                  .detector = arguments.weather.detector,
                                  .is_long = arguments.is_long};
        measure.nodes = measure.nodes == 0 ? 16 : measure.nodes;
        measure.loss = measure.loss < 0 ? 0 : measure.loss;
        return measure_print(&measure) ? 0 : 1;
    }
    set_defaults(&arguments.weather);
    return run(&arguments);
}
