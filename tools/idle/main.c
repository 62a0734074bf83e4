/*
 * idle - so many streams at once that say nothing for a while: is each still there, and whole?
 *
 *     idle --count N [--idle-secs S] [--every-secs E] [--wait-secs W] [--window K]
 *          [--meanwhile COMMAND] -- GRAPEVINE [OPTION]...
 *
 * Starts that router with four engines of its own behind --worker-urls and opens N streams through
 * it, at most K of them unanswered at a time. Each gets its first event, then nothing for S seconds
 * (or an event every E seconds), then its last event, [DONE] and the end. Every event names its
 * stream and its number, so an answer that is cut, repeated or another's is told from a whole one
 * byte for byte. In the middle of the silence it asks the router for readiness and gauges, and runs
 * COMMAND with GV_HTTP and GV_METRICS (host:port) set.
 *
 * Prints lines of key=value, the last of which is "verdict=good", or "verdict=BAD" with exit code
 * 1; what was bad is told on standard error. --wait-secs bounds the opening, the ending and
 * COMMAND; nothing else depends on how fast the machine is.
 */
#define _GNU_SOURCE
#include "grapevine/net/loop.h"
#include "idle.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TURN_MAX     256
#define ENDINGS_TURN 64 /* last events sent between two looks at the sockets */

struct idle_options idle_options = {.count = 1000, .window = 200, .idle_secs = 10, .wait_secs = 60};
struct idle_counts idle_counts;
struct idle_stream *idle_streams;

static int poller;
static bool is_bad;

double idle_now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

void idle_fail(const char *what)
{
    fprintf(stderr, "idle: %s: %s\n", what, strerror(errno));
    if (idle_router_pid() > 0) {
        kill(idle_router_pid(), SIGKILL);
    }
    exit(1);
}

void idle_bad(const char *why, uint32_t stream)
{
    static uint32_t said;
    is_bad = true;
    if (said++ < 20) {
        fprintf(stderr, "idle: BAD: %s (stream %u)\n", why, stream);
    }
}

void idle_watch(struct idle_end *end)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = end};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, end->fd, &event) != 0) {
        idle_fail("epoll_ctl");
    }
}

void idle_unwatch(struct idle_end *end)
{
    (void)epoll_ctl(poller, EPOLL_CTL_DEL, end->fd, NULL);
    close(end->fd);
    end->fd = -1;
}

/* ---- the run ---- */

static void turn(int most_ms)
{
    struct epoll_event ready[TURN_MAX];
    int count = epoll_wait(poller, ready, TURN_MAX, most_ms);
    for (int i = 0; i < count; i++) {
        struct idle_end *end = ready[i].data.ptr;
        end->on_ready(end);
    }
}

static void progress(const char *what, uint32_t count)
{
    static double next;
    if (idle_now_s() >= next) {
        fprintf(stderr, "idle: %s %u of %u\n", what, count, idle_options.count);
        next = idle_now_s() + 5;
    }
}

static void establish(void)
{
    for (double until = idle_now_s() + idle_options.wait_secs;
         idle_counts.first + idle_counts.lost < idle_options.count;) {
        while (idle_counts.begun < idle_options.count &&
               idle_counts.begun - idle_counts.first - idle_counts.lost < idle_options.window) {
            idle_begin(&idle_streams[idle_counts.begun++]);
        }
        turn(100);
        progress("established", idle_counts.first);
        if (idle_now_s() > until) {
            errno = ETIMEDOUT;
            idle_fail("the streams were not established within --wait-secs");
        }
    }
}

/* What operators ask while streams idle: readiness, gauges, and whatever COMMAND asks; its process.
 */
static pid_t ask_router(void)
{
    double worst_ms = idle_router_readiness_ms();
    double active = idle_router_metric("gv_worker_requests_active{", "scope=\"node\"");
    double of_loops = idle_router_metric("gv_exchanges{", "");
    printf("readiness_ms=%.1f\nin_flight=%.0f\nexchanges=%.0f\n", worst_ms, active, of_loops);
    fflush(stdout);
    if (worst_ms < 0) {
        idle_bad("not ready while streams idle", idle_options.count);
    }
    if (active != idle_options.count || of_loops != idle_options.count) {
        idle_bad("not each idle stream is counted as in flight", idle_options.count);
    }
    return idle_options.meanwhile != NULL ? idle_router_ask(idle_options.meanwhile) : -1;
}

/* Has COMMAND ended? It is killed when it takes too long. */
static bool has_ended(pid_t command, double until)
{
    int code = 0;
    if (idle_now_s() > until) {
        kill(command, SIGKILL);
    }
    if (waitpid(command, &code, WNOHANG) != command) {
        return false;
    }
    printf("meanwhile_exit=%d\n", WIFEXITED(code) ? WEXITSTATUS(code) : 128);
    if (code != 0) {
        idle_bad("the command meanwhile failed", idle_options.count);
    }
    return true;
}

/* The events that are due `past` seconds after the beginning, of all streams in turn. */
static uint64_t tell_due(uint64_t told, double past)
{
    while ((double)told < past * idle_options.count / idle_options.every_secs) {
        struct idle_stream *stream = &idle_streams[told++ % idle_options.count];
        if (stream->engine != NULL && stream->phase != IDLE_LOST) {
            idle_tell_next(stream);
        }
    }
    return told;
}

static void be_idle(void)
{
    double began = idle_now_s(), cpu = idle_router_cpu_s(), past = 0;
    uint64_t told = 0;
    pid_t command = 0; /* 0: not yet, -1: no more */
    while (past < idle_options.idle_secs || command > 0) {
        turn(idle_options.every_secs > 0 ? 10 : 200);
        past = idle_now_s() - began;
        if (idle_options.every_secs > 0 && past < idle_options.idle_secs) {
            told = tell_due(told, past);
        }
        if (command == 0 && past > idle_options.idle_secs / 2) {
            double before = idle_router_cpu_s();
            command = ask_router();
            cpu += idle_router_cpu_s() - before;
        }
        if (command > 0 &&
            has_ended(command, began + idle_options.idle_secs + idle_options.wait_secs)) {
            command = -1;
        }
    }
    printf("idle_s=%.1f\nidle_cpu_s=%.2f\nidle_events=%llu\nalive=%u\n", past,
           idle_router_cpu_s() - cpu, (unsigned long long)told,
           idle_options.count - idle_counts.lost);
    fflush(stdout);
}

static void finish(void)
{
    double until = idle_now_s() + idle_options.wait_secs;
    for (uint32_t i = 0; i < idle_options.count; i++) {
        if (idle_streams[i].phase != IDLE_LOST && idle_streams[i].engine != NULL) {
            idle_tell_end(&idle_streams[i]);
        }
        if (i % ENDINGS_TURN == 0) {
            turn(0);
            progress("whole", idle_counts.whole);
        }
    }
    while (idle_counts.whole + idle_counts.lost < idle_options.count && idle_now_s() < until) {
        turn(100);
        progress("whole", idle_counts.whole);
    }
    double active = -1, of_loops = -1;
    while ((active != 0 || of_loops != 0) && idle_now_s() < until) {
        turn(100);
        active = idle_router_metric("gv_worker_requests_active{", "scope=\"node\"");
        of_loops = idle_router_metric("gv_exchanges{", "");
    }
    printf("whole=%u\nlost=%u\nin_flight_after=%.0f\nexchanges_after=%.0f\nrss_after_kb=%ld\n",
           idle_counts.whole, idle_options.count - idle_counts.whole, active, of_loops,
           idle_router_rss_kb());
    if (idle_counts.whole != idle_options.count || active != 0 || of_loops != 0) {
        idle_bad("in the end a stream was not whole, or a gauge not zero", idle_options.count);
    }
}

static void leave(uint32_t descriptors_before)
{
    int code = 0;
    for (uint32_t i = 0; i < idle_options.count; i++) {
        if (idle_streams[i].end.fd >= 0) {
            close(idle_streams[i].end.fd);
        }
    }
    /* Connections to engines may rest in the router; those of clients may not. */
    double until = idle_now_s() + idle_options.wait_secs;
    while (idle_router_metric("gv_proxy_active{", "\"connections\"") > 1 && idle_now_s() < until) {
        turn(100);
    }
    printf("descriptors_before=%u\ndescriptors_after=%u\n", descriptors_before,
           idle_router_descriptors());
    kill(idle_router_pid(), SIGTERM);
    while (waitpid(idle_router_pid(), &code, WNOHANG) == 0 && idle_now_s() < until) {
        turn(100);
    }
    if (code != 0) {
        idle_bad("the router did not end well", idle_options.count);
    }
    printf("router_exit=%d\n", WIFEXITED(code) ? WEXITSTATUS(code) : 128);
}

static int run(void)
{
    for (double until = idle_now_s() + idle_options.wait_secs; !idle_router_is_ready();) {
        turn(100);
        if (idle_now_s() > until) {
            errno = ETIMEDOUT;
            idle_fail("the router is not ready");
        }
    }
    long rss_before = idle_router_rss_kb();
    uint32_t descriptors_before = idle_router_descriptors();
    double began = idle_now_s(), cpu = idle_router_cpu_s();
    establish();
    long rss = idle_router_rss_kb();
    printf("asked=%u\nestablished=%u\nestablish_s=%.1f\nestablish_cpu_s=%.2f\ndescriptors=%u\n",
           idle_options.count, idle_counts.first, idle_now_s() - began, idle_router_cpu_s() - cpu,
           idle_router_descriptors());
    printf("rss_before_kb=%ld\nrss_kb=%ld\nper_stream_kb=%.2f\n", rss_before, rss,
           (double)(rss - rss_before) / idle_options.count);
    fflush(stdout);
    be_idle();
    finish();
    leave(descriptors_before);
    printf("verdict=%s\n", is_bad ? "BAD" : "good");
    return is_bad ? 1 : 0;
}

static bool read_options(int argc, char **argv)
{
    static const struct option names[] = {{"count", required_argument, NULL, 'c'},
                                          {"idle-secs", required_argument, NULL, 'i'},
                                          {"every-secs", required_argument, NULL, 'e'},
                                          {"wait-secs", required_argument, NULL, 'w'},
                                          {"window", required_argument, NULL, 'k'},
                                          {"meanwhile", required_argument, NULL, 'm'},
                                          {NULL, 0, NULL, 0}};
    for (int name; (name = getopt_long(argc, argv, "+", names, NULL)) != -1;) {
        switch (name) {
        case 'c':
            idle_options.count = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'i':
            idle_options.idle_secs = strtod(optarg, NULL);
            break;
        case 'e':
            idle_options.every_secs = strtod(optarg, NULL);
            break;
        case 'w':
            idle_options.wait_secs = strtod(optarg, NULL);
            break;
        case 'k':
            idle_options.window = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'm':
            idle_options.meanwhile = optarg;
            break;
        default:
            return false;
        }
    }
    return idle_options.count > 0 && idle_options.count < IDLE_COUNT_MAX &&
           idle_options.window > 0 && optind < argc;
}

int main(int argc, char **argv)
{
    struct idle_end listeners[IDLE_ENGINES];
    uint16_t ports[IDLE_ENGINES];
    if (!read_options(argc, argv)) {
        fprintf(stderr, "idle: 1 to %d streams, a window of at least 1, and -- a router\n",
                IDLE_COUNT_MAX - 1);
        return 2;
    }
    (void)gv_raise_file_limit();
    poller = epoll_create1(EPOLL_CLOEXEC);
    idle_streams = calloc(idle_options.count, sizeof *idle_streams);
    if (poller < 0 || idle_streams == NULL) {
        idle_fail("start");
    }
    for (int i = 0; i < IDLE_ENGINES; i++) {
        ports[i] = idle_engine_open(&listeners[i]);
    }
    idle_router_start(argv + optind, argc - optind, ports);
    return run();
}
