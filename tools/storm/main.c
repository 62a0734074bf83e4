/*
 * storm - streams through a router while everything around it misbehaves; every byte is compared.
 *
 *     storm [--events N] [--seed S] [--clients C] [--engines E] [--threads T] [--pace-ms MS]
 * [--calm]
 *
 * Starts a grapevine of its own (from $GV_BIN, or the folder of this program) in front of E engines
 * that it plays itself, and C clients. Engines refuse, reset, end and stall at any byte, frame
 * their answers in three ways, cut them anywhere and send bytes that nobody asked for; clients
 * stall, read in crumbs, trickle their requests and leave at any moment. Each event carries the
 * number of its stream and its own. A client that gets other bytes than its engine sent, an answer
 * that looks whole and is not, an engine that is not told that its client has left: each is said,
 * and the verdict is BAD. In the end the router must have nothing left: no load, no permit, no
 * exchange.
 *
 * --calm: nobody misbehaves, but with --pace-ms half of the clients leave: how long until the
 * engine knows, while it is silent?
 */
#define _GNU_SOURCE
#include "storm.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <libgen.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TURN_MAX      256
#define SAMPLES_MAX   (1024 * 1024)
#define WRONG_SHOWN   20
#define READY_NS      UINT64_C(60000000000)
#define URL_BYTES     40
#define ARGS_MAX      (48 + STORM_ENGINES_MAX)
#define METRICS_BYTES (512 * 1024)

struct storm_options storm_options = {
    .events = 1000000, .seed = 1, .clients = 96, .engines = 5, .threads = 1, .faults = true};
struct storm_counts storm_counts;
struct storm_slot storm_slots[STORM_SLOTS_MAX];
char storm_bytes[STORM_READ_BYTES];
uint64_t storm_now_ns;

static int poller;
static uint32_t samples[SAMPLES_MAX]; /* microseconds until an engine was told */
static size_t sample_count;
static pid_t router;
static uint16_t data_port, admin_port;

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

void storm_fail(const char *what)
{
    fprintf(stderr, "storm: %s: %s\n", what, strerror(errno));
    if (router > 0) {
        kill(router, SIGKILL);
    }
    exit(1);
}

void storm_wrong(uint64_t id, const char *what, uint64_t detail)
{
    storm_counts.wrong += 1;
    if (storm_counts.wrong <= WRONG_SHOWN) {
        fprintf(stderr, "storm: stream %016" PRIx64 ": %s %" PRIu64 "\n", id, what, detail);
    }
}

void storm_noticed(uint64_t ns)
{
    storm_counts.noticed += 1;
    if (sample_count < SAMPLES_MAX) {
        samples[sample_count++] = (uint32_t)(ns / 1000);
    }
}

void storm_watch(struct storm_source *source, uint32_t events, bool is_new)
{
    struct epoll_event event = {.events = events, .data.ptr = source};
    if (epoll_ctl(poller, is_new ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, source->fd, &event) != 0) {
        storm_fail("epoll_ctl");
    }
}

/* ---- the router ---- */

/* Ask the router; the answer, NUL-terminated. Short: it answers these without any engine. */
static const char *ask(uint16_t port, const char *path)
{
    static char answer[METRICS_BYTES];
    char request[128];
    struct timeval patience = {.tv_sec = 10};
    struct sockaddr_in addr = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int len = snprintf(request, sizeof request,
                       "GET %s HTTP/1.1\r\nHost: storm\r\nConnection: close\r\n\r\n", path);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof addr) != 0 ||
        send(fd, request, (size_t)len, MSG_NOSIGNAL) != len) {
        storm_fail("the router does not answer");
    }
    size_t held = 0;
    for (ssize_t got; held + 1 < sizeof answer &&
                      (got = recv(fd, answer + held, sizeof answer - 1 - held, 0)) > 0;) {
        held += (size_t)got;
    }
    close(fd);
    answer[held] = '\0';
    return answer;
}

/* The sum of a metric over its labels. */
static double metric(const char *text, const char *name)
{
    double sum = 0;
    size_t len = strlen(name);
    for (const char *at = text; (at = strstr(at, name)) != NULL; at += len) {
        bool is_line = at > text && at[-1] == '\n' && (at[len] == ' ' || at[len] == '{');
        const char *end = strchr(at, '\n');
        const char *value = is_line && end != NULL ? memrchr(at, ' ', (size_t)(end - at)) : NULL;
        sum += value != NULL ? strtod(value, NULL) : 0;
    }
    return sum;
}

static uint16_t port_in(const char *line, const char *key)
{
    const char *at = strstr(line, key);
    const char *end = at != NULL ? at + strcspn(at, " \n") : NULL;
    const char *colon = end != NULL ? memrchr(at, ':', (size_t)(end - at)) : NULL;
    return colon != NULL ? (uint16_t)strtoul(colon + 1, NULL, 10) : 0;
}

static void run_router(int out, char urls[][URL_BYTES])
{
    char path[512], threads[16], self[400];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    self[len > 0 ? len : 0] = '\0';
    const char *bin = getenv("GV_BIN");
    snprintf(path, sizeof path, "%s/grapevine", bin != NULL ? bin : dirname(self));
    snprintf(threads, sizeof threads, "%u", storm_options.threads);
    const char *argv[ARGS_MAX] = {path,
                                  "--host",
                                  "127.0.0.1",
                                  "--port",
                                  "0",
                                  "--prometheus-host",
                                  "127.0.0.1",
                                  "--prometheus-port",
                                  "0",
                                  "--threads",
                                  threads,
                                  "--policy",
                                  "cache_aware",
                                  "--log-level",
                                  "error",
                                  "--disable-circuit-breaker",
                                  "--retry-initial-backoff-ms",
                                  "1",
                                  "--retry-max-backoff-ms",
                                  "2",
                                  "--retry-budget-ratio",
                                  "10",
                                  "--max-concurrent-requests",
                                  "64",
                                  "--queue-size",
                                  "100000",
                                  "--drain-settle-secs",
                                  "0",
                                  "--max-tree-size",
                                  "64KiB",
                                  "--worker-urls"};
    int count = 0;
    while (argv[count] != NULL) {
        count += 1;
    }
    for (uint32_t i = 0; i < storm_options.engines; i++) {
        argv[count++] = urls[i];
    }
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)dup2(out, STDOUT_FILENO);
    (void)execv(path, (char *const *)(uintptr_t)argv);
    perror(path);
    _exit(127);
}

static void start_router(void)
{
    char urls[STORM_ENGINES_MAX][URL_BYTES];
    char line[1024];
    int out[2];
    for (uint32_t i = 0; i < storm_options.engines; i++) {
        snprintf(urls[i], sizeof urls[i], "http://127.0.0.1:%u", storm_engine_open());
    }
    if (pipe(out) != 0 || (router = fork()) < 0) {
        storm_fail("fork");
    }
    if (router == 0) {
        run_router(out[1], urls);
    }
    close(out[1]);
    FILE *said = fdopen(out[0], "r");
    if (said == NULL || fgets(line, sizeof line, said) == NULL) {
        errno = ECHILD;
        storm_fail("the router said nothing");
    }
    data_port = port_in(line, "http=");
    admin_port = port_in(line, "metrics=");
    if (data_port == 0 || admin_port == 0) {
        errno = EPROTO;
        storm_fail(line);
    }
}

/* ---- the run ---- */

static void turn(int wait_ms)
{
    struct epoll_event ready[TURN_MAX];
    int count = epoll_wait(poller, ready, TURN_MAX, wait_ms);
    storm_now_ns = now_ns();
    for (int i = 0; i < count; i++) {
        struct storm_source *source = ready[i].data.ptr;
        if (source->fd >= 0) {
            source->on_ready(source, ready[i].events);
        }
    }
    storm_engines_tick();
}

static void await_readiness(void)
{
    uint64_t until = now_ns() + READY_NS;
    for (uint32_t i = 0; strstr(ask(data_port, "/readiness"), " 200 ") == NULL; i++) {
        if (now_ns() > until) {
            errno = ETIMEDOUT;
            storm_fail("readiness");
        }
        for (uint32_t j = 0; j < 10; j++) {
            turn(5);
        }
    }
}

/* Everything given back? The gauges are those of the router's last tick. */
static bool has_nothing_left(const char *text)
{
    return metric(text, "gv_worker_requests_active") == 0 &&
           metric(text, "gv_admission_running") == 0 && metric(text, "gv_admission_waiting") == 0 &&
           metric(text, "gv_exchanges") == 0;
}

static void await_nothing(void)
{
    uint64_t until = now_ns() + READY_NS;
    const char *text = ask(admin_port, "/metrics");
    while (!has_nothing_left(text) && now_ns() < until) {
        turn(20);
        text = ask(admin_port, "/metrics");
    }
    printf("storm: left in the router: active=%.0f running=%.0f waiting=%.0f exchanges=%.0f "
           "impossible=%.0f\n",
           metric(text, "gv_worker_requests_active"), metric(text, "gv_admission_running"),
           metric(text, "gv_admission_waiting"), metric(text, "gv_exchanges"),
           metric(text, "gv_impossible_total"));
    if (strstr(text, "gv_worker_requests_active") == NULL ||
        strstr(text, "gv_admission_running") == NULL || strstr(text, "gv_exchanges") == NULL) {
        storm_wrong(0, "metrics are missing", 0);
    }
    if (!has_nothing_left(text)) {
        storm_wrong(0, "the router kept something", 0);
    }
    if (metric(text, "gv_impossible_total") != 0) {
        storm_wrong(0, "the router met the impossible", 0);
    }
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static double sample_ms(double share)
{
    return sample_count == 0 ? 0 : samples[(size_t)(share * (double)(sample_count - 1))] / 1000.0;
}

static void end_router(void)
{
    int status = 0;
    kill(router, SIGTERM);
    while (waitpid(router, &status, WNOHANG) == 0) {
        turn(5);
    }
    router = 0;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        storm_wrong(0, "the router ended badly; status", (uint64_t)(unsigned)status);
    }
}

static void run(void)
{
    start_router();
    await_readiness();
    storm_clients_start(data_port);
    uint64_t began = now_ns();
    uint64_t shown = began;
    while (storm_counts.events < storm_options.events && storm_counts.wrong < WRONG_SHOWN) {
        turn(storm_engines_busy() > 0 && storm_options.pace_ms == 0 ? 0 : 1);
        storm_clients_tick();
        if (storm_now_ns - shown > READY_NS / 4) {
            shown = storm_now_ns;
            fprintf(stderr, "storm: %" PRIu64 " events, %" PRIu64 " wrong\n", storm_counts.events,
                    storm_counts.wrong);
        }
    }
    double seconds = (double)(now_ns() - began) / 1e9;
    storm_clients_stop();
    while (!storm_clients_are_done()) {
        turn(1);
        storm_clients_tick();
    }
    await_nothing();
    end_router();
    qsort(samples, sample_count, sizeof samples[0], by_value);
    const struct storm_counts *c = &storm_counts;
    printf("storm: streams=%" PRIu64 " whole=%" PRIu64 " cut_by_engines=%" PRIu64
           " left_by_clients=%" PRIu64 " stalled=%" PRIu64 " hiccups=%" PRIu64 " strays=%" PRIu64
           " writes=%" PRIu64 " events_per_s=%.0f\n",
           c->streams, c->whole, c->cut, c->left, c->stalled, c->hiccups, c->strays, c->writes,
           (double)c->events / seconds);
    printf("storm: client gone, engine told: count=%" PRIu64
           " p50_ms=%.2f p99_ms=%.2f max_ms=%.2f\n",
           c->noticed, sample_ms(0.5), sample_ms(0.99), sample_ms(1));
    printf("storm: %s: %" PRIu64 " events compared, %" PRIu64 " wrong (seed %" PRIu64 ")\n",
           c->wrong == 0 ? "good" : "BAD", c->events, c->wrong, storm_options.seed);
}

static uint64_t number_of(const char *text)
{
    char *end;
    double value = strtod(text, &end); /* 1e8 is a number too */
    if (*end != '\0' || value < 0) {
        fprintf(stderr, "storm: no number: %s\n", text);
        exit(2);
    }
    return (uint64_t)value;
}

static void read_options(int argc, char **argv)
{
    static const struct option names[] = {
        {"events", required_argument, NULL, 'n'},  {"seed", required_argument, NULL, 's'},
        {"clients", required_argument, NULL, 'c'}, {"engines", required_argument, NULL, 'e'},
        {"threads", required_argument, NULL, 't'}, {"pace-ms", required_argument, NULL, 'p'},
        {"calm", no_argument, NULL, 'q'},          {NULL, 0, NULL, 0}};
    for (int name; (name = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        uint64_t value = optarg != NULL ? number_of(optarg) : 0;
        switch (name) {
        case 'n':
            storm_options.events = value;
            break;
        case 's':
            storm_options.seed = value;
            break;
        case 'c':
            storm_options.clients = (uint32_t)value;
            break;
        case 'e':
            storm_options.engines = (uint32_t)value;
            break;
        case 't':
            storm_options.threads = (uint32_t)value;
            break;
        case 'p':
            storm_options.pace_ms = (uint32_t)value;
            break;
        case 'q':
            storm_options.faults = false;
            break;
        default:
            exit(2);
        }
    }
    if (storm_options.clients < 1 || storm_options.clients > STORM_SLOTS_MAX ||
        storm_options.engines < 1 || storm_options.engines > STORM_ENGINES_MAX) {
        fprintf(stderr, "storm: 1 to %d clients, 1 to %d engines\n", STORM_SLOTS_MAX,
                STORM_ENGINES_MAX);
        exit(2);
    }
}

int main(int argc, char **argv)
{
    struct rlimit files;
    read_options(argc, argv);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    poller = epoll_create1(EPOLL_CLOEXEC);
    storm_now_ns = now_ns();
    run();
    return storm_counts.wrong == 0 ? 0 : 1;
}
