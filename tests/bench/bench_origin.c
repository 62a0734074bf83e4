/*
 * bench_origin - an engine that thinks for no time at all: the far end of `tools/bench proxy`.
 *
 *     bench_origin --ports N [--gap-us G] [--batch B]
 *
 * Listens on N ports that the kernel chooses and prints one line, "bench_origin: ready on P1 P2
 * ..". A chat POST gets a fixed answer; one that asks for "stream":true gets "max_tokens" events of
 * 220 bytes, chunked. Every G microseconds the next stream in turn gets B events in one write (G 0:
 * every stream gets B events as often as it takes them), so that B 1 and many streams make events
 * that nobody can coalesce. Plain epoll, one thread, nothing shared with the router it measures.
 */
#define _GNU_SOURCE
#include "grapevine/net/loop.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define PORTS_MAX    16
#define REQUEST_MAX  (160 * 1024) /* head and body */
#define BATCH_MAX    64
#define EVENT_BYTES  220 /* of payload: "data: {...}\n\n" */
#define CHUNK_BYTES  (4 + EVENT_BYTES + 2)
#define TURN_MAX     64 /* ready descriptors a turn */
#define TAIL_BYTES   128
#define ANSWER_BYTES 1024
#define LISTEN_QUEUE 4096

struct connection {
    int fd;
    bool listens;
    bool streams;  /* an answer is being streamed */
    bool ended;    /* its events are sent, the closing chunk is not */
    uint8_t *room; /* owned while a request is coming in; REQUEST_MAX */
    size_t held;
    uint64_t sent, due, total;          /* bytes of the event part of the stream */
    size_t closing;                     /* bytes sent of the closing chunk */
    struct connection *next, *previous; /* among the streams */
};

static const char stream_head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                                  "Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n";
static const char stream_tail[] = "e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n";

static char chunks[(BATCH_MAX + 1) * CHUNK_BYTES]; /* the same event over and over */
static char chat_answer[ANSWER_BYTES];
static struct connection ring; /* the streams, in a ring; `ring` itself is none */
static struct connection *turn = &ring;
static uint32_t batch = 1;
static uint32_t gap_us = 50;
static int poller;

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void make_texts(void)
{
    char payload[EVENT_BYTES + 1];
    int head =
        snprintf(payload, sizeof payload,
                 "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\","
                 "\"created\":1700000000,\"model\":\"bench-model\",\"choices\":[{\"index\":0,"
                 "\"delta\":{\"content\":\"~");
    const char end[] = "\"},\"finish_reason\":null}]}\n\n";
    size_t end_len = sizeof end - 1;
    memset(payload + head, 'a', EVENT_BYTES - (size_t)head - end_len);
    memcpy(payload + EVENT_BYTES - end_len, end, end_len);
    for (size_t i = 0; i < BATCH_MAX + 1; i++) {
        char *chunk = chunks + i * CHUNK_BYTES;
        memcpy(chunk, "dc\r\n", 4); /* 220 */
        memcpy(chunk + 4, payload, EVENT_BYTES);
        memcpy(chunk + 4 + EVENT_BYTES, "\r\n", 2);
    }
    const char body[] =
        "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":1700000000,"
        "\"model\":\"bench-model\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
        "\"content\":\"A vine climbs along a wall and bears its fruit late in the warm light of "
        "autumn, and whoever passes may take some.\"},\"logprobs\":null,\"finish_reason\":"
        "\"stop\"}],\"usage\":{\"prompt_tokens\":512,\"completion_tokens\":25,"
        "\"total_tokens\":537,\"prompt_tokens_details\":null}}";
    snprintf(chat_answer, sizeof chat_answer,
             "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
             sizeof body - 1, body);
}

/* ---- streams ---- */

static void leave_ring(struct connection *c)
{
    if (c->next != NULL) {
        turn = turn == c ? c->next : turn;
        c->next->previous = c->previous;
        c->previous->next = c->next;
        c->next = NULL;
    }
    c->streams = false;
}

static void shut(struct connection *c)
{
    leave_ring(c);
    close(c->fd);
    free(c->room);
    free(c);
}

static void watch(const struct connection *c, uint32_t events, int how)
{
    struct epoll_event event = {.events = events, .data.ptr = (void *)(uintptr_t)c};
    if (epoll_ctl(poller, how, c->fd, &event) != 0) {
        fail("epoll_ctl");
    }
}

static void finish_stream(struct connection *c)
{
    size_t len = sizeof stream_tail - 1;
    ssize_t took = send(c->fd, stream_tail + c->closing, len - c->closing, MSG_NOSIGNAL);
    c->closing += took > 0 ? (size_t)took : 0;
    if (c->closing == len) {
        leave_ring(c);
        watch(c, EPOLLIN, EPOLL_CTL_MOD);
    }
}

/* The next batch of a stream, or what the socket did not take of the last. */
static void feed(struct connection *c)
{
    if (c->sent == c->total) {
        finish_stream(c);
        return;
    }
    if (c->due == c->sent) {
        c->due += (uint64_t)batch * CHUNK_BYTES;
        c->due = c->due > c->total ? c->total : c->due;
    }
    ssize_t took =
        send(c->fd, chunks + c->sent % CHUNK_BYTES, (size_t)(c->due - c->sent), MSG_NOSIGNAL);
    c->sent += took > 0 ? (uint64_t)took : 0;
    if (gap_us == 0 && c->sent == c->total) {
        finish_stream(c);
    }
}

static void feed_next(void)
{
    if (turn == &ring) {
        turn = ring.next;
    }
    if (turn != &ring) {
        struct connection *c = turn;
        turn = c->next;
        feed(c);
    }
}

static void begin_stream(struct connection *c, uint64_t events)
{
    c->sent = 0;
    c->due = 0;
    c->closing = 0;
    c->total = events * CHUNK_BYTES;
    c->streams = true;
    c->previous = ring.previous; /* last in turn */
    c->next = &ring;
    c->previous->next = c;
    ring.previous = c;
    if (send(c->fd, stream_head, sizeof stream_head - 1, MSG_NOSIGNAL) < 0) {
        return; /* its end will be told by the poller */
    }
    if (gap_us == 0) {
        watch(c, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
    }
}

/* ---- requests ---- */

/* The value of a header in the head, or NULL; `head` ends with a NUL. */
static const char *value_of(const char *head, const char *name)
{
    size_t len = strlen(name);
    for (const char *line = strchr(head, '\n'); line != NULL; line = strchr(line, '\n')) {
        line++;
        if (strncasecmp(line, name, len) == 0 && line[len] == ':') {
            return line + len + 1;
        }
    }
    return NULL;
}

static void answer_text(struct connection *c, const char *text)
{
    (void)!send(c->fd, text, strlen(text), MSG_NOSIGNAL);
}

static void answer(struct connection *c, const char *head, const char *body, size_t body_len)
{
    if (strncmp(head, "POST /v1/chat/completions", 25) == 0) {
        size_t skip = body_len > TAIL_BYTES ? body_len - TAIL_BYTES : 0;
        char tail[TAIL_BYTES + 1];
        memcpy(tail, body + skip, body_len - skip);
        tail[body_len - skip] = '\0';
        const char *tokens = strstr(tail, "\"max_tokens\":");
        if (strstr(tail, "\"stream\":true") != NULL) {
            begin_stream(c, tokens != NULL ? strtoull(tokens + 13, NULL, 10) : 16);
        } else {
            answer_text(c, chat_answer);
        }
    } else if (strncmp(head, "GET /health", 11) == 0) {
        answer_text(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    } else if (strncmp(head, "GET /v1/models", 14) == 0) {
        answer_text(c, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                       "Content-Length: 83\r\n\r\n{\"object\":\"list\",\"data\":[{\"id\":"
                       "\"bench-model\",\"object\":\"model\",\"owned_by\":\"bench\"}]}");
    } else {
        answer_text(c, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    }
}

/* Answer what is whole; false: nonsense, close it. */
static bool digest(struct connection *c)
{
    while (c->held > 0) {
        char *text = (char *)c->room;
        char *end = memmem(text, c->held, "\r\n\r\n", 4);
        if (end == NULL) {
            return c->held < REQUEST_MAX / 2;
        }
        end[2] = '\0';
        const char *length = value_of(text, "content-length");
        size_t head_len = (size_t)(end - text) + 4;
        size_t body_len = length != NULL ? strtoull(length, NULL, 10) : 0;
        if (value_of(text, "transfer-encoding") != NULL || head_len + body_len > REQUEST_MAX) {
            return false;
        }
        if (c->held < head_len + body_len) {
            end[2] = '\r';
            return true;
        }
        answer(c, text, text + head_len, body_len);
        c->held -= head_len + body_len;
        memmove(text, text + head_len + body_len, c->held);
    }
    free(c->room);
    c->room = NULL;
    return true;
}

static void take(struct connection *c)
{
    if (c->room == NULL) {
        c->room = malloc(REQUEST_MAX);
        c->held = 0;
        if (c->room == NULL) {
            fail("malloc");
        }
    }
    ssize_t got = recv(c->fd, c->room + c->held, REQUEST_MAX - c->held, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) {
        return;
    }
    if (got <= 0) {
        shut(c);
        return;
    }
    c->held += (size_t)got;
    if (!digest(c)) {
        shut(c);
    }
}

/* ---- set-up ---- */

static struct connection *add(int fd, bool listens)
{
    struct connection *c = calloc(1, sizeof *c);
    if (c == NULL) {
        fail("calloc");
    }
    c->fd = fd;
    c->listens = listens;
    watch(c, EPOLLIN, EPOLL_CTL_ADD);
    return c;
}

static void accept_one(const struct connection *listener)
{
    int one = 1;
    int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        add(fd, false);
    }
}

static uint16_t open_port(void)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof addr;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof addr) != 0 ||
        listen(fd, LISTEN_QUEUE) != 0 || getsockname(fd, (struct sockaddr *)&addr, &len) != 0) {
        fail("bench_origin: listen");
    }
    add(fd, true);
    return ntohs(addr.sin_port);
}

static int open_pace(void)
{
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    struct itimerspec pace = {.it_interval = {.tv_nsec = (long)gap_us * 1000},
                              .it_value = {.tv_nsec = (long)gap_us * 1000}};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (fd < 0 || timerfd_settime(fd, 0, &pace, NULL) != 0 ||
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) != 0) {
        fail("bench_origin: timer");
    }
    return fd;
}

static void serve(int pace)
{
    for (;;) {
        struct epoll_event ready[TURN_MAX];
        int count = epoll_wait(poller, ready, TURN_MAX, -1);
        for (int i = 0; i < count; i++) {
            struct connection *c = ready[i].data.ptr;
            uint64_t beats = 0;
            if (c == NULL) {
                (void)!read(pace, &beats, sizeof beats);
                for (beats = beats > TURN_MAX ? TURN_MAX : beats; beats > 0; beats--) {
                    feed_next();
                }
            } else if (c->listens) {
                accept_one(c);
            } else if ((ready[i].events & EPOLLOUT) != 0 && c->streams &&
                       (ready[i].events & (EPOLLHUP | EPOLLERR)) == 0) {
                feed(c);
            } else {
                take(c);
            }
        }
    }
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"ports", required_argument, NULL, 'p'},
                                            {"gap-us", required_argument, NULL, 'g'},
                                            {"batch", required_argument, NULL, 'b'},
                                            {NULL, 0, NULL, 0}};
    uint32_t ports = 1;
    for (int name; (name = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        uint32_t value = name != '?' ? (uint32_t)strtoul(optarg, NULL, 10) : 0;
        switch (name) {
        case 'p':
            ports = value;
            break;
        case 'g':
            gap_us = value;
            break;
        case 'b':
            batch = value;
            break;
        default:
            return 2;
        }
    }
    if (ports == 0 || ports > PORTS_MAX || batch == 0 || batch > BATCH_MAX || gap_us >= 1000000) {
        fprintf(stderr, "bench_origin: 1 to %d ports, 1 to %d events a batch\n", PORTS_MAX,
                BATCH_MAX);
        return 2;
    }
    (void)gv_raise_file_limit();
    ring.next = &ring;
    ring.previous = &ring;
    make_texts();
    poller = epoll_create1(EPOLL_CLOEXEC);
    printf("bench_origin: ready on");
    for (uint32_t i = 0; i < ports; i++) {
        printf(" %u", (unsigned)open_port());
    }
    printf("\n");
    fflush(stdout);
    serve(gap_us > 0 ? open_pace() : -1);
    return 0;
}
