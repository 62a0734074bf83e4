/*
 * bench_load - asks as fast as it is answered, or at a rate, and says what that cost a process.
 *
 *     bench_load --port P [--connections N] [--seconds S] [--rate R] [--body-bytes B]
 *                [--stream EVENTS] [--pid PID]
 *
 * Keep-alive connections, each with one chat POST at a time. Without --rate a connection asks again
 * as soon as it is answered; with it, requests are due at even intervals and their time counts from
 * when they were due. Each prompt shares its first three quarters with all others, as conversations
 * do. After a warm-up of half a second it counts for S seconds, then prints one line of key=value:
 * streams (that are being answered at the end), requests, events, failed, rate, p50_us and p99_us
 * of a whole answer, and with --pid the CPU time (user and system, all threads) which that process
 * spent meanwhile, cpu_us, and the growth of its memory since before the first connection, rss_kb.
 * Plain epoll, one thread.
 */
#define _GNU_SOURCE
#include "grapevine/net/loop.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS_MAX 60000
#define SOURCE_MAX      20000 /* connections from one address of ours: ports are few */
#define SAMPLES_MAX     (4 * 1024 * 1024)
#define BODY_MAX        (128 * 1024)
#define TURN_MAX        256
#define READ_BYTES      (64 * 1024)
#define WARM_UP_NS      UINT64_C(500000000)
#define MARK_DIGITS     16
#define SECOND_NS       UINT64_C(1000000000)

struct connection {
    int fd;
    bool is_busy;
    uint64_t began_ns; /* when this request was sent, or was due */
    uint64_t mark;     /* what makes its prompt different */
    size_t sent;       /* bytes of the request */
    size_t left;       /* bytes of the answer's body still to come */
    bool has_head, is_chunked;
    uint8_t last[5]; /* last bytes of a chunked answer */
};

static struct {
    uint16_t port;
    uint32_t connections;
    uint32_t body_bytes;
    uint32_t events; /* 0: not streamed */
    double seconds;
    double rate; /* 0: as fast as it goes */
    long pid;
} options = {.connections = 32, .body_bytes = 2048, .seconds = 3};

static struct connection connections[CONNECTIONS_MAX];
static char request[BODY_MAX + 1024];
static size_t request_len;
static size_t mark_at;
static uint32_t samples[SAMPLES_MAX]; /* tenths of a microsecond */
static uint64_t sample_count, request_count, event_count, failed_count;
static uint64_t next_mark;
static uint32_t idle[CONNECTIONS_MAX]; /* a queue, so that all connections take turns */
static uint64_t idle_first, idle_end;
static bool is_counting;
static int poller;

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

static void fail(const char *what)
{
    fprintf(stderr, "bench_load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t cpu_ns_of(long pid)
{
    clockid_t clock;
    struct timespec spent;
    if (pid == 0) {
        return 0;
    }
    if (clock_getcpuclockid((pid_t)pid, &clock) != 0 || clock_gettime(clock, &spent) != 0) {
        fail("clock of --pid");
    }
    return (uint64_t)spent.tv_sec * SECOND_NS + (uint64_t)spent.tv_nsec;
}

static long rss_kb_of(long pid)
{
    char path[64];
    long pages = 0;
    snprintf(path, sizeof path, "/proc/%ld/statm", pid);
    FILE *file = pid != 0 ? fopen(path, "r") : NULL;
    if (file != NULL) {
        if (fscanf(file, "%*s %ld", &pages) != 1) {
            pages = 0;
        }
        fclose(file);
    }
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

/* ---- requests ---- */

/* Words, a new line now and then: what a scanner of JSON text has to deal with. */
static void write_text(char *into, size_t len, uint64_t seed)
{
    for (size_t i = 0; i < len; i++) {
        seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        uint32_t draw = (uint32_t)(seed >> 33);
        into[i] = draw % 6 == 0 ? ' ' : (char)('a' + draw % 26);
        if (draw % 97 == 0 && i + 1 < len) {
            into[i++] = '\\';
            into[i] = 'n';
        }
    }
}

static void make_request(void)
{
    char end[128];
    const char begin[] =
        "{\"model\":\"bench-model\",\"messages\":[{\"role\":\"system\",\"content\":\"";
    const char between[] = "\"},{\"role\":\"user\",\"content\":\"";
    int end_len =
        snprintf(end, sizeof end, "\"}],\"temperature\":0.7,\"max_tokens\":%u,\"stream\":%s}",
                 options.events != 0 ? options.events : 64, options.events != 0 ? "true" : "false");
    size_t frame = sizeof begin - 1 + sizeof between - 1 + (size_t)end_len;
    if (options.body_bytes < frame + 64 || options.body_bytes > BODY_MAX) {
        fprintf(stderr, "bench_load: --body-bytes %zu to %d\n", frame + 64, BODY_MAX);
        exit(2);
    }
    size_t text = options.body_bytes - frame;
    int head = snprintf(request, sizeof request,
                        "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n"
                        "User-Agent: bench_load\r\nAccept: */*\r\n"
                        "Content-Type: application/json\r\nContent-Length: %u\r\n\r\n",
                        (unsigned)options.port, options.body_bytes);
    char *at = request + head;
    memcpy(at, begin, sizeof begin - 1);
    at += sizeof begin - 1;
    write_text(at, text / 2, 1);
    at += text / 2;
    memcpy(at, between, sizeof between - 1);
    at += sizeof between - 1;
    write_text(at, text - text / 2, 2);
    mark_at = (size_t)(at - request) + text / 4;
    at += text - text / 2;
    memcpy(at, end, (size_t)end_len);
    request_len = (size_t)head + options.body_bytes;
    memset(request + mark_at - 1, ' ', MARK_DIGITS + 2); /* the mark never splits an escape */
    if (request[mark_at - 2] == '\\') {
        request[mark_at - 2] = ' ';
    }
}

/* One buffer serves all: its mark is the one of whoever sends now. */
static void put_mark(uint64_t mark)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < MARK_DIGITS; i++) {
        request[mark_at + i] = digits[(mark >> (60 - 4 * i)) & 15];
    }
}

static void watch(struct connection *c, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = c};
    if (epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &event) != 0) {
        fail("epoll_ctl");
    }
}

static void send_rest(struct connection *c)
{
    put_mark(c->mark);
    size_t before = c->sent;
    ssize_t took =
        send(c->fd, request + c->sent, request_len - c->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (took < 0 && errno != EAGAIN) {
        fail("send");
    }
    c->sent += took > 0 ? (size_t)took : 0;
    if (c->sent < request_len) {
        watch(c, EPOLLIN | EPOLLOUT);
    } else if (before != 0) {
        watch(c, EPOLLIN);
    }
}

static void ask(struct connection *c, uint64_t began_ns)
{
    c->is_busy = true;
    c->has_head = false;
    c->is_chunked = false;
    c->sent = 0;
    c->began_ns = began_ns;
    c->mark = next_mark++ * UINT64_C(0x9E3779B97F4A7C15);
    send_rest(c);
}

/* ---- answers ---- */

static void on_answered(struct connection *c)
{
    uint64_t now = now_ns();
    c->is_busy = false;
    if (is_counting) {
        request_count++;
        if (sample_count < SAMPLES_MAX) {
            samples[sample_count++] = (uint32_t)((now - c->began_ns) / 100);
        }
    }
    if (options.rate > 0) {
        idle[idle_end++ % CONNECTIONS_MAX] = (uint32_t)(c - connections);
    } else {
        ask(c, now);
    }
}

/* The bytes after the head; false when there is no whole head (this bench demands it in one read).
 */
static bool read_head(struct connection *c, char *bytes, size_t len, size_t *head_len)
{
    char *end = memmem(bytes, len, "\r\n\r\n", 4);
    if (end == NULL) {
        return false;
    }
    *head_len = (size_t)(end - bytes) + 4;
    if (strncmp(bytes, "HTTP/1.1 200", 12) != 0) {
        failed_count++;
    }
    char *value = NULL;
    for (char *line = bytes; line < end;
         line = (char *)memchr(line, '\n', (size_t)(end - line) + 2) + 1) {
        if (strncasecmp(line, "content-length:", 15) == 0) {
            value = line + 15;
        }
    }
    c->is_chunked = value == NULL;
    c->left = value != NULL ? strtoull(value, NULL, 10) : 0;
    memset(c->last, 0, sizeof c->last);
    c->has_head = true;
    return true;
}

/* Keep the last five bytes in mind: a chunked answer ends with "0\r\n\r\n". */
static bool is_end_of_chunks(struct connection *c, const char *bytes, size_t len)
{
    size_t fresh = len < sizeof c->last ? len : sizeof c->last;
    memmove(c->last, c->last + fresh, sizeof c->last - fresh);
    memcpy(c->last + sizeof c->last - fresh, bytes + len - fresh, fresh);
    return memcmp(c->last, "0\r\n\r\n", 5) == 0;
}

static void count_events(const char *bytes, size_t len)
{
    const char *end = bytes + len;
    for (const char *at = bytes; (at = memchr(at, '~', (size_t)(end - at))) != NULL; at++) {
        event_count++;
    }
}

static void take(struct connection *c)
{
    static char bytes[READ_BYTES];
    ssize_t got = recv(c->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) {
        return;
    }
    if (got <= 0 || !c->is_busy) {
        errno = got < 0 ? errno : ECONNRESET;
        fail("an answer broke off");
    }
    size_t len = (size_t)got;
    size_t head_len = 0;
    if (!c->has_head && !read_head(c, bytes, len, &head_len)) {
        fail("a head in two parts");
    }
    const char *body = bytes + head_len;
    len -= head_len;
    if (c->is_chunked) {
        if (is_counting) {
            count_events(body, len);
        }
        if (len > 0 && is_end_of_chunks(c, body, len)) {
            on_answered(c);
        }
        return;
    }
    c->left -= len < c->left ? len : c->left;
    if (c->left == 0) {
        on_answered(c);
    }
}

/* ---- the run ---- */

static void open_connections(void)
{
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_port = htons(options.port),
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1;
    for (uint32_t i = 0; i < options.connections; i++) {
        struct connection *c = &connections[i];
        struct sockaddr_in from = {.sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK + i / SOURCE_MAX)};
        c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (c->fd < 0 ||
            (i >= SOURCE_MAX && bind(c->fd, (struct sockaddr *)&from, sizeof from) != 0) ||
            connect(c->fd, (struct sockaddr *)&addr, sizeof addr) != 0) {
            fail("connect");
        }
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
        if (epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event) != 0) {
            fail("epoll_ctl");
        }
        idle[idle_end++ % CONNECTIONS_MAX] = i;
    }
}

/* One timer keeps the pace, and ends a turn that waits for nothing. */
static int open_pace(void)
{
    uint64_t gap_ns = options.rate > 0 ? (uint64_t)(1e9 / options.rate) : 10000000;
    gap_ns = gap_ns < 20000 ? 20000 : gap_ns;
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    struct itimerspec pace = {.it_interval = {.tv_sec = (time_t)(gap_ns / SECOND_NS),
                                              .tv_nsec = (long)(gap_ns % SECOND_NS)},
                              .it_value = {.tv_nsec = 1000}};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (fd < 0 || timerfd_settime(fd, 0, &pace, NULL) != 0 ||
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) != 0) {
        fail("timer");
    }
    return fd;
}

static void send_due(uint64_t *due_ns)
{
    uint64_t now = now_ns();
    uint64_t gap_ns = (uint64_t)(1e9 / options.rate);
    while (*due_ns <= now && idle_first < idle_end) {
        ask(&connections[idle[idle_first++ % CONNECTIONS_MAX]], *due_ns);
        *due_ns += gap_ns;
    }
}

static void turn(int pace, uint64_t *due_ns)
{
    struct epoll_event ready[TURN_MAX];
    int count = epoll_wait(poller, ready, TURN_MAX, -1);
    for (int i = 0; i < count; i++) {
        struct connection *c = ready[i].data.ptr;
        if (c == NULL) {
            uint64_t beats;
            (void)!read(pace, &beats, sizeof beats);
            continue;
        }
        if ((ready[i].events & EPOLLOUT) != 0 && c->is_busy && c->sent < request_len) {
            send_rest(c);
        }
        if ((ready[i].events & ~(uint32_t)EPOLLOUT) != 0) {
            take(c);
        }
    }
    if (options.rate > 0) {
        send_due(due_ns);
    }
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static void run(void)
{
    long rss_before = rss_kb_of(options.pid);
    open_connections();
    int pace = open_pace();
    uint64_t due_ns = now_ns();
    if (options.rate <= 0) {
        for (uint32_t i = 0; i < options.connections; i++) {
            ask(&connections[i], due_ns);
        }
    }
    for (uint64_t until = now_ns() + WARM_UP_NS; now_ns() < until;) {
        turn(pace, &due_ns);
    }
    is_counting = true;
    uint64_t began = now_ns();
    uint64_t cpu = cpu_ns_of(options.pid);
    for (uint64_t until = began + (uint64_t)(options.seconds * 1e9); now_ns() < until;) {
        turn(pace, &due_ns);
    }
    cpu = cpu_ns_of(options.pid) - cpu;
    double seconds = (double)(now_ns() - began) / 1e9;
    long rss_after = rss_kb_of(options.pid);
    if (sample_count == 0 && event_count == 0) {
        fprintf(stderr, "bench_load: nothing was answered\n");
        exit(1);
    }
    qsort(samples, sample_count, sizeof samples[0], by_value);
    uint32_t p50 = sample_count > 0 ? samples[sample_count / 2] : 0;
    uint32_t p99 = sample_count > 0 ? samples[sample_count - 1 - sample_count / 100] : 0;
    uint32_t streams = 0;
    for (uint32_t i = 0; i < options.connections; i++) {
        streams += connections[i].is_busy && connections[i].has_head ? 1 : 0;
    }
    printf("streams=%u requests=%" PRIu64 " events=%" PRIu64 " failed=%" PRIu64
           " rate=%.0f event_rate=%.0f "
           "p50_us=%.1f p99_us=%.1f cpu_us=%.0f rss_kb=%ld share=%.3f\n",
           streams, request_count, event_count, failed_count, (double)request_count / seconds,
           (double)event_count / seconds, p50 / 10.0, p99 / 10.0, (double)cpu / 1e3,
           rss_after - rss_before, (double)cpu / 1e9 / seconds);
}

int main(int argc, char **argv)
{
    static const struct option names[] = {
        {"port", required_argument, NULL, 'p'},       {"connections", required_argument, NULL, 'c'},
        {"seconds", required_argument, NULL, 's'},    {"rate", required_argument, NULL, 'r'},
        {"body-bytes", required_argument, NULL, 'b'}, {"stream", required_argument, NULL, 'e'},
        {"pid", required_argument, NULL, 'i'},        {NULL, 0, NULL, 0}};
    for (int name; (name = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        double value = name != '?' ? strtod(optarg, NULL) : 0;
        switch (name) {
        case 'p':
            options.port = (uint16_t)value;
            break;
        case 'c':
            options.connections = (uint32_t)value;
            break;
        case 's':
            options.seconds = value;
            break;
        case 'r':
            options.rate = value;
            break;
        case 'b':
            options.body_bytes = (uint32_t)value;
            break;
        case 'e':
            options.events = (uint32_t)value;
            break;
        case 'i':
            options.pid = (long)value;
            break;
        default:
            return 2;
        }
    }
    if (options.port == 0 || options.connections == 0 || options.connections > CONNECTIONS_MAX) {
        fprintf(stderr, "bench_load: --port P, and 1 to %d connections\n", CONNECTIONS_MAX);
        return 2;
    }
    (void)gv_raise_file_limit();
    poller = epoll_create1(EPOLL_CLOEXEC);
    next_mark = now_ns(); /* no two runs share prompts */
    make_request();
    run();
    return 0;
}
