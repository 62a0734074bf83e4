/*
 * client.c - the clients of idle: each compares its answer with what its engine has said, byte for
 * byte.
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

#define SOURCE_MAX 20000 /* connections from one address of ours: ports are few */

int idle_connect(uint32_t source, const char *target)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in from = {.sin_family = AF_INET,
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK + source)};
    to.sin_port = htons((uint16_t)strtoul(strrchr(target, ':') + 1, NULL, 10));
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one) != 0 ||
        bind(fd, (struct sockaddr *)&from, sizeof from) != 0 ||
        connect(fd, (struct sockaddr *)&to, sizeof to) != 0) {
        idle_fail("connect");
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static void lose(struct idle_stream *stream, const char *why)
{
    if (stream->phase != IDLE_LOST) {
        idle_bad(why, (uint32_t)(stream - idle_streams));
        idle_counts.whole -= stream->phase == IDLE_WHOLE ? 1 : 0;
        idle_counts.lost++;
        stream->phase = IDLE_LOST;
        idle_unwatch(&stream->end);
    }
}

/* Are these the next bytes of the payload? */
static bool is_expected(struct idle_stream *stream, const char *bytes, size_t len)
{
    char event[IDLE_EVENT_BYTES + 1];
    for (size_t done = 0; done < len;) {
        uint32_t number = stream->taken / IDLE_EVENT_BYTES;
        size_t at = stream->taken % IDLE_EVENT_BYTES, most = IDLE_EVENT_BYTES;
        if (number < stream->told) {
            idle_write_event(event, (uint32_t)(stream - idle_streams), number);
        } else if (stream->is_ended && number == stream->told) {
            most = sizeof IDLE_DONE_TEXT - 1;
            memcpy(event, IDLE_DONE_TEXT, most);
        } else {
            return false;
        }
        size_t some = most - at < len - done ? most - at : len - done;
        if (some == 0 || memcmp(event + at, bytes + done, some) != 0) {
            return false;
        }
        stream->taken += (uint32_t)some;
        done += some;
        idle_counts.first +=
            stream->taken >= IDLE_EVENT_BYTES && stream->taken - some < IDLE_EVENT_BYTES ? 1 : 0;
    }
    return true;
}

/* One line of the framing, or a piece of a chunk; how many bytes that was, 0: nonsense or
 * another's. */
static size_t take_piece(struct idle_stream *stream, const char *bytes, size_t len)
{
    const char *line = memchr(bytes, '\n', len);
    size_t line_len = line != NULL ? (size_t)(line - bytes) + 1 : 0;
    const char *head_end = stream->phase == IDLE_HEAD ? memmem(bytes, len, "\r\n\r\n", 4) : NULL;
    size_t some = stream->chunk < len ? stream->chunk : len;
    switch (stream->phase) {
    case IDLE_HEAD:
        stream->phase = IDLE_SIZE;
        return head_end != NULL && strncmp(bytes, "HTTP/1.1 200", 12) == 0
                   ? (size_t)(head_end - bytes) + 4
                   : 0;
    case IDLE_SIZE:
        stream->chunk = (uint32_t)strtoul(bytes, NULL, 16);
        stream->phase = stream->chunk > 0 ? IDLE_DATA : IDLE_LAST_LINE;
        return line_len;
    case IDLE_DATA:
        stream->chunk -= (uint32_t)some;
        stream->phase = stream->chunk > 0 ? IDLE_DATA : IDLE_AFTER_DATA;
        return is_expected(stream, bytes, some) ? some : 0;
    case IDLE_AFTER_DATA:
        stream->phase = IDLE_SIZE;
        return line_len == 2 ? 2 : 0;
    case IDLE_LAST_LINE:
        stream->phase = IDLE_WHOLE;
        idle_counts.whole++;
        return line_len == 2 && stream->is_ended &&
                       stream->taken == stream->told * IDLE_EVENT_BYTES + sizeof IDLE_DONE_TEXT - 1
                   ? 2
                   : 0;
    case IDLE_WHOLE:
    case IDLE_LOST:
        break;
    }
    return 0;
}

static void take_answer(struct idle_end *end)
{
    struct idle_stream *stream = (struct idle_stream *)(void *)end;
    char bytes[16 * 1024 + 1];
    ssize_t got = recv(stream->end.fd, bytes, sizeof bytes - 1, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) {
        return;
    }
    if (got <= 0 && stream->phase == IDLE_WHOLE) {
        idle_unwatch(end); /* it rested long enough */
        return;
    }
    if (got <= 0) {
        lose(stream, "a stream broke off");
        return;
    }
    bytes[got] = '\0';
    for (size_t at = 0; at < (size_t)got && stream->phase != IDLE_LOST;) {
        size_t piece = take_piece(stream, bytes + at, (size_t)got - at);
        at += piece;
        if (piece == 0) {
            lose(stream, "an answer is not as it was sent, or no 200");
        }
    }
}

void idle_begin(struct idle_stream *stream)
{
    uint32_t number = (uint32_t)(stream - idle_streams);
    char text[IDLE_BODY_BYTES + 512], body[IDLE_BODY_BYTES + 1];
    int len =
        snprintf(body, sizeof body,
                 "{\"model\":\"bench-model\",\"stream\":true,\"messages\":[{\"role\":\"user\","
                 "\"content\":\"stream number %u: ",
                 number);
    memset(body + len, 'w', IDLE_BODY_BYTES - (size_t)len);
    memcpy(body + IDLE_BODY_BYTES - 4, "\"}]}", 5);
    len = snprintf(
        text, sizeof text,
        "POST /v1/chat/completions HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
        "Content-Length: %d\r\n\r\n%s",
        IDLE_BODY_BYTES, body);
    *stream = (struct idle_stream){.end = {.on_ready = take_answer}, .engine = stream->engine};
    stream->end.fd = idle_connect(number / SOURCE_MAX, idle_router_http());
    if (send(stream->end.fd, text, (size_t)len, MSG_NOSIGNAL) != len) {
        idle_fail("send");
    }
    idle_watch(&stream->end);
}
