/*
 * engine.c - the engines of idle: what they say names its stream and its number, and nobody else
 * says it.
 */
#define _GNU_SOURCE
#include "idle.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define REQUEST_MAX (IDLE_BODY_BYTES + 4096) /* as the router sends it on */

/* A connection from the router. */
struct idle_engine {
    struct idle_end end;
    uint32_t stream; /* whose request it answers; IDLE_COUNT_MAX: none */
    char *room;      /* owned while a request comes in; REQUEST_MAX */
    size_t held;
};

/* Event `number` of a stream: EVENT_BYTES and a NUL. */
void idle_write_event(char *into, uint32_t stream, uint32_t number)
{
    int len =
        snprintf(into, IDLE_EVENT_BYTES + 1,
                 "data: {\"id\":\"chatcmpl-%u\",\"object\":\"chat.completion.chunk\",\"created\":"
                 "1700000000,\"model\":\"bench-model\",\"choices\":[{\"index\":0,\"delta\":"
                 "{\"content\":\"event %u ",
                 stream, number);
    const char close[] = "\"},\"finish_reason\":null}]}\n\n";
    size_t close_at = IDLE_EVENT_BYTES - (sizeof close - 1);
    memset(into + len, 'a', close_at - (size_t)len);
    memcpy(into + close_at, close, sizeof close);
}

static void say(struct idle_engine *engine, const char *text)
{
    size_t len = strlen(text);
    if (send(engine->end.fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)len) {
        idle_bad("an engine could not say what it had to", engine->stream);
    }
}

void idle_tell_next(struct idle_stream *stream)
{
    char text[IDLE_EVENT_BYTES + 8];
    idle_write_event(text + 4, (uint32_t)(stream - idle_streams), stream->told++);
    memcpy(text, "dc\r\n", 4); /* 220 */
    memcpy(text + 4 + IDLE_EVENT_BYTES, "\r\n", 3);
    say(stream->engine, text);
}

void idle_tell_end(struct idle_stream *stream)
{
    idle_tell_next(stream);
    say(stream->engine, "e\r\n" IDLE_DONE_TEXT "\r\n0\r\n\r\n");
    stream->is_ended = true;
}

static void answer(struct idle_engine *engine, const char *head, const char *body)
{
    const char *mark = strstr(body, "stream number ");
    uint32_t number = mark != NULL ? (uint32_t)strtoul(mark + 14, NULL, 10) : IDLE_COUNT_MAX;
    if (strncmp(head, "POST /v1/chat/completions", 25) == 0) {
        if (number >= idle_options.count || idle_streams[number].engine != NULL) {
            idle_bad("a request came twice, or garbled", number);
            return;
        }
        engine->stream = number;
        idle_streams[number].engine = engine;
        say(engine, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: "
                    "chunked\r\n\r\n");
        idle_tell_next(&idle_streams[number]);
    } else if (strncmp(head, "GET /health", 11) == 0) {
        say(engine, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    } else if (strncmp(head, "GET /v1/models", 14) == 0) {
        say(engine,
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
            "83\r\n\r\n{\"object\":\"list\","
            "\"data\":[{\"id\":\"bench-model\",\"object\":\"model\",\"owned_by\":\"bench\"}]}");
    } else {
        say(engine, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    }
}

/* The router closed it. That is its right once the answer is whole, or was never asked for. */
static void shut_engine(struct idle_engine *engine)
{
    struct idle_stream *stream =
        engine->stream != IDLE_COUNT_MAX ? &idle_streams[engine->stream] : NULL;
    if (stream != NULL) {
        if (!stream->is_ended) {
            idle_bad("the router left an engine in the middle of a stream", engine->stream);
        }
        stream->engine = NULL;
    }
    idle_unwatch(&engine->end);
    free(engine->room);
    free(engine);
}

static void take_request(struct idle_end *end_of_it)
{
    struct idle_engine *engine = (struct idle_engine *)(void *)end_of_it;
    if (engine->room == NULL && (engine->room = malloc(REQUEST_MAX)) == NULL) {
        idle_fail("malloc");
    }
    ssize_t got = recv(engine->end.fd, engine->room + engine->held, REQUEST_MAX - 1 - engine->held,
                       MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) {
        return;
    }
    if (got <= 0) {
        shut_engine(engine);
        return;
    }
    engine->held += (size_t)got;
    engine->room[engine->held] = '\0';
    const char *end = strstr(engine->room, "\r\n\r\n");
    const char *length = end != NULL ? strcasestr(engine->room, "\r\ncontent-length:") : NULL;
    size_t body = length != NULL && length < end ? strtoul(length + 17, NULL, 10) : 0;
    if (end == NULL || engine->held < (size_t)(end + 4 - engine->room) + body) {
        return;
    }
    answer(engine, engine->room, end + 4);
    engine->held = 0;
    free(engine->room);
    engine->room = NULL;
}

static void accept_engine(struct idle_end *listener)
{
    int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct idle_engine *engine = fd >= 0 ? calloc(1, sizeof *engine) : NULL;
    if (engine == NULL) {
        idle_fail("accept");
    }
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    *engine =
        (struct idle_engine){.end = {.on_ready = take_request, .fd = fd}, .stream = IDLE_COUNT_MAX};
    idle_watch(&engine->end);
}

uint16_t idle_engine_open(struct idle_end *listener)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof addr;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof addr) != 0 || listen(fd, 4096) != 0 ||
        getsockname(fd, (struct sockaddr *)&addr, &len) != 0) {
        idle_fail("listen");
    }
    *listener = (struct idle_end){.on_ready = accept_engine, .fd = fd};
    idle_watch(listener);
    return ntohs(addr.sin_port);
}
