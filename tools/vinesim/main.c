/*
 * main.c - vinesim: the mesh's engine, many nodes in one process, bad weather, one seed = one run.
 */
#include "golden.h"
#include "rivals.h"
#include "weather.h"

#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define JOBS_MAX    64
#define SHOWN_LINES 60 /* of the trace of a failing seed */
#define SLOW_SEEDS  10 /* that are named at the end */

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

struct arguments {
    struct weather_options weather;
    uint64_t first, last;
    uint32_t jobs;
    bool repeat, report, is_long;
    enum rival rival;
    const char *trace, *golden, *faults;
};

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

static int complain(const char *option, const char *value)
{
    (void)fprintf(stderr, "vinesim: --%s makes no sense: %s\nTry vinesim --help.\n", option, value);
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

static void run_seed(const struct arguments *arguments, uint64_t seed,
                     struct weather_verdict *verdict)
{
    weather_run(&arguments->weather, seed, verdict);
    if (arguments->repeat && !verdict->failed) {
        struct weather_verdict again;
        struct weather_options quiet = arguments->weather;
        quiet.trace = NULL;
        weather_run(&quiet, seed, &again);
        if (again.hash != verdict->hash) {
            verdict->failed = true;
            (void)snprintf(verdict->wrong, sizeof verdict->wrong,
                           "two runs of one seed differ: %016llx and %016llx",
                           (unsigned long long)verdict->hash, (unsigned long long)again.hash);
        }
    }
}

/* A child takes the next seed that nobody has, and writes its verdict into the pipe. */
static void run_child(const struct arguments *arguments, _Atomic uint64_t *next, int fd)
{
    for (uint64_t seed = atomic_fetch_add(next, 1); seed <= arguments->last;
         seed = atomic_fetch_add(next, 1)) {
        struct weather_verdict verdict;
        run_seed(arguments, seed, &verdict);
        size_t done = 0;
        while (done < sizeof verdict) {
            ssize_t wrote = write(fd, (const char *)&verdict + done, sizeof verdict - done);
            if (wrote < 0) {
                _exit(1);
            }
            done += (size_t)wrote;
        }
    }
    _exit(0);
}

struct slow_seed {
    uint64_t seed, converged_ms;
};

struct tally {
    uint64_t done, failed, operations, false_deaths, events;
    struct slow_seed slowest[SLOW_SEEDS]; /* the slowest first */
    uint64_t struck[WEATHER_FAULT_COUNT];
    struct gv_hist converged;
};

/* A node that what went wrong is about: "n07"; up to two. */
static uint32_t find_names(const char *wrong, char names[2][8])
{
    uint32_t found = 0;
    for (const char *at = wrong; *at != '\0' && found < 2; at++) {
        size_t digits = *at == 'n' ? strspn(at + 1, "0123456789") : 0;
        bool is_word = at == wrong || at[-1] == ' ';
        if (digits >= 2 && digits < 7 && is_word) {
            memcpy(names[found], at, digits + 1);
            names[found][digits + 1] = '\0';
            found += 1;
        }
    }
    return found;
}

/* Faults, starts and ends always; who sees whom only when it is about somebody who is at fault. */
static bool is_interesting(const char *line, char names[2][8], uint32_t name_count)
{
    if (strstr(line, " sees ") == NULL) {
        return true;
    }
    for (uint32_t i = 0; i < name_count; i++) {
        if (strstr(line, names[i]) != NULL) {
            return true;
        }
    }
    return name_count == 0;
}

static void print_failure(const struct arguments *arguments, const struct weather_verdict *verdict)
{
    char names[2][8];
    uint32_t name_count = find_names(verdict->wrong, names), skip = 0;
    printf("\nseed %llu failed: %s\n", (unsigned long long)verdict->seed, verdict->wrong);
    for (uint32_t i = 0; i < verdict->tail_count; i++) {
        skip += is_interesting(verdict->tail[i], names, name_count);
    }
    skip = skip > SHOWN_LINES ? skip - SHOWN_LINES : 0;
    for (uint32_t i = 0; i < verdict->tail_count; i++) {
        bool shown = is_interesting(verdict->tail[i], names, name_count);
        if (shown && skip == 0) {
            printf("  %s\n", verdict->tail[i]);
        }
        skip -= shown && skip > 0;
    }
    printf("repeat: vinesim --seed %llu --seconds %u", (unsigned long long)verdict->seed,
           arguments->weather.seconds);
    if (arguments->weather.node_least != 0) {
        printf(" --nodes %u..%u", arguments->weather.node_least, arguments->weather.node_count);
    } else if (arguments->weather.node_count != 0) {
        printf(" --nodes %u", arguments->weather.node_count);
    }
    if (arguments->weather.loss >= 0) {
        printf(" --loss %g", arguments->weather.loss);
    }
    if (arguments->faults != NULL) {
        printf(" --faults %s", arguments->faults);
    }
    printf("%s --detector %s --trace /dev/stdout\n", arguments->weather.pauses ? " --pauses" : "",
           rival_name(arguments->rival));
}

static void note_slow(struct tally *tally, const struct weather_verdict *verdict)
{
    uint32_t at = SLOW_SEEDS;
    for (; at > 0 && verdict->converged_ms > tally->slowest[at - 1].converged_ms; at--) {
        if (at < SLOW_SEEDS) {
            tally->slowest[at] = tally->slowest[at - 1];
        }
    }
    if (at < SLOW_SEEDS) {
        tally->slowest[at] = (struct slow_seed){verdict->seed, verdict->converged_ms};
    }
}

static void print_slowest(const struct tally *tally)
{
    printf("slowest:");
    for (uint32_t i = 0; i < SLOW_SEEDS && tally->slowest[i].converged_ms > 0; i++) {
        printf("%s %llu ms (seed %llu)", i == 0 ? "" : ",",
               (unsigned long long)tally->slowest[i].converged_ms,
               (unsigned long long)tally->slowest[i].seed);
    }
    printf("\n");
}

static void count(const struct arguments *arguments, struct tally *tally,
                  const struct weather_verdict *verdict)
{
    tally->done += 1;
    tally->failed += verdict->failed;
    tally->operations += verdict->operations;
    tally->false_deaths += verdict->deaths_false;
    tally->events += verdict->events;
    for (uint32_t i = 0; i < WEATHER_FAULT_COUNT; i++) {
        tally->struck[i] += verdict->struck[i];
    }
    if (!verdict->failed) {
        gv_hist_add(&tally->converged, verdict->converged_ms);
        note_slow(tally, verdict);
    } else {
        print_failure(arguments, verdict);
    }
    if (isatty(STDERR_FILENO)) {
        (void)fprintf(stderr, "\rvinesim: %llu of %llu seeds, %llu failed ",
                      (unsigned long long)tally->done,
                      (unsigned long long)(arguments->last - arguments->first + 1),
                      (unsigned long long)tally->failed);
    }
}

static bool read_verdict(int fd, struct weather_verdict *verdict)
{
    size_t done = 0;
    while (done < sizeof *verdict) {
        ssize_t got = read(fd, (char *)verdict + done, sizeof *verdict - done);
        if (got <= 0) {
            return false;
        }
        done += (size_t)got;
    }
    return true;
}

/* Verdicts that have come before their turn; they are told by seed, so that the output does not
 * depend on who is faster. */
struct early {
    struct weather_verdict *verdict; /* owned */
    struct early *next;              /* owned */
};

/* Tell the verdict and those that waited for it, or keep it. False: no memory. */
static bool take_turn(const struct arguments *arguments, struct tally *tally, struct early **early,
                      struct weather_verdict *verdict)
{
    struct early *kept = malloc(sizeof *kept);
    if (kept == NULL) {
        free(verdict);
        return false;
    }
    *kept = (struct early){.verdict = verdict, .next = *early};
    *early = kept;
    for (struct early **at = early; *at != NULL;) {
        struct early *one = *at;
        if (one->verdict->seed != arguments->first + tally->done) {
            at = &one->next;
            continue;
        }
        *at = one->next;
        count(arguments, tally, one->verdict);
        free(one->verdict);
        free(one);
        at = early; /* from the beginning: the next may stand before */
    }
    return true;
}

static void read_all(const struct arguments *arguments, struct tally *tally, struct pollfd *jobs,
                     uint32_t started)
{
    struct early *early = NULL;
    uint32_t open = started;
    while (open > 0 && poll(jobs, started, -1) > 0) {
        for (uint32_t i = 0; i < started; i++) {
            if (jobs[i].fd < 0 || jobs[i].revents == 0) {
                continue;
            }
            struct weather_verdict *verdict = malloc(sizeof *verdict);
            bool good = verdict != NULL && read_verdict(jobs[i].fd, verdict);
            if (good) {
                good = take_turn(arguments, tally, &early, verdict);
            } else {
                free(verdict);
            }
            if (!good) {
                (void)close(jobs[i].fd);
                jobs[i].fd = -1;
                open -= 1;
            }
        }
    }
    while (early != NULL) { /* of a job that ended early, those behind it are not told */
        struct early *next = early->next;
        free(early->verdict);
        free(early);
        early = next;
    }
}

static bool run_jobs(const struct arguments *arguments, struct tally *tally)
{
    struct pollfd jobs[JOBS_MAX];
    pid_t pids[JOBS_MAX];
    uint32_t started = 0;
    _Atomic uint64_t *next =
        mmap(NULL, sizeof *next, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (next == MAP_FAILED) {
        return false;
    }
    atomic_store(next, arguments->first);
    (void)fflush(NULL);
    for (; started < arguments->jobs; started++) {
        int ends[2];
        if (pipe(ends) != 0) {
            break;
        }
        pids[started] = fork();
        if (pids[started] == 0) {
            (void)close(ends[0]);
            run_child(arguments, next, ends[1]);
        }
        (void)close(ends[1]);
        jobs[started] = (struct pollfd){.fd = ends[0], .events = POLLIN};
    }
    read_all(arguments, tally, jobs, started);
    for (uint32_t i = 0; i < started; i++) {
        (void)waitpid(pids[i], NULL, 0);
    }
    (void)munmap(next, sizeof *next);
    return tally->done == arguments->last - arguments->first + 1;
}

/* What the weather was made of: how often each fault found something to harm. */
static void print_faults(const struct tally *tally)
{
    uint64_t all = 0;
    for (uint32_t i = 0; i < WEATHER_FAULT_COUNT; i++) {
        all += tally->struck[i];
    }
    printf("%s", all > 0 ? "vinesim: faults:" : "");
    for (uint32_t i = 0; i < WEATHER_FAULT_COUNT; i++) {
        if (tally->struck[i] > 0) {
            printf(" %s %llu", weather_fault_name(i), (unsigned long long)tally->struck[i]);
        }
    }
    printf("%s", all > 0 ? "\n" : "");
}

static int run(struct arguments *arguments)
{
    struct tally tally = {0};
    gv_hist_init(&tally.converged);
    tally.slowest[0].seed = arguments->first;
    if (arguments->trace != NULL) {
        arguments->weather.trace = fopen(arguments->trace, "w");
        if (arguments->weather.trace == NULL) {
            return complain("trace", strerror(errno));
        }
    }
    bool whole = true;
    if (arguments->jobs > 1) {
        whole = run_jobs(arguments, &tally);
    } else {
        for (uint64_t seed = arguments->first; seed <= arguments->last; seed++) {
            struct weather_verdict verdict;
            run_seed(arguments, seed, &verdict);
            count(arguments, &tally, &verdict);
        }
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
    print_faults(&tally);
    printf("vinesim: %llu seeds, %llu failed, %llu operations, %llu events, converged p50 %llu ms, "
           "worst %llu ms (seed %llu), %llu false deaths\n",
           (unsigned long long)tally.done, (unsigned long long)tally.failed,
           (unsigned long long)tally.operations, (unsigned long long)tally.events,
           (unsigned long long)gv_hist_quantile(&tally.converged, 0.5),
           (unsigned long long)tally.slowest[0].converged_ms,
           (unsigned long long)tally.slowest[0].seed, (unsigned long long)tally.false_deaths);
    if (tally.done > 1 && tally.slowest[0].converged_ms > 0) {
        print_slowest(&tally);
    }
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
            return 2;
        }
        if (!take_option(&arguments, option, optarg)) {
            return complain(options[at].name, optarg);
        }
    }
    if (optind < argc) {
        return complain("", argv[optind]);
    }
    if (arguments.trace != NULL && (arguments.jobs > 1 || arguments.first != arguments.last)) {
        return complain("trace", "takes one seed and one job");
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
