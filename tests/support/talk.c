#include "support/talk.h"

#include "support/suite.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define READ_BYTES 65536u

int gv_talk_connect(uint16_t port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(port)};
    const struct timeval patience = {.tv_sec = 60};
    int on = 1;
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, (const struct sockaddr *)&addr, sizeof addr) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

int gv_talk_listen(int waiting, uint16_t *port)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof addr;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CU_ASSERT_EQUAL_FATAL(bind(fd, (struct sockaddr *)&addr, len), 0);
    CU_ASSERT_EQUAL_FATAL(listen(fd, waiting), 0);
    CU_ASSERT_EQUAL_FATAL(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
    *port = ntohs(addr.sin_port);
    return fd;
}

bool gv_talk_send(int fd, const void *bytes, size_t len)
{
    const char *at = bytes;
    while (len > 0) {
        ssize_t sent = send(fd, at, len, MSG_NOSIGNAL);
        if (sent <= 0) {
            return false;
        }
        at += sent;
        len -= (size_t)sent;
    }
    return true;
}

bool gv_talk_send_text(int fd, const char *text)
{
    return gv_talk_send(fd, text, strlen(text));
}

bool gv_talk_read_until(int fd, const char *needle, char *into, size_t size)
{
    size_t len = 0;
    into[0] = '\0';
    while (strstr(into, needle) == NULL) {
        ssize_t got = len + 1 < size ? recv(fd, into + len, size - len - 1, 0) : 0;
        if (got <= 0) {
            return false;
        }
        len += (size_t)got;
        into[len] = '\0';
    }
    return true;
}

bool gv_talk_read_end(int fd)
{
    char bytes[4096];
    ssize_t got;
    while ((got = recv(fd, bytes, sizeof bytes, 0)) > 0) {
    }
    return got == 0 || errno == ECONNRESET;
}

void gv_talk_reset(int fd)
{
    const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(fd);
}

/* What has been read of a connection so far. */
struct input {
    int fd;
    char *data; /* owned, NUL-terminated */
    size_t len;
    size_t room; /* grows by doubling: floods of many MiB are read, also under sanitizers */
    bool ended;
};

static bool read_more(struct input *input)
{
    if (input->room < input->len + READ_BYTES + 1) {
        size_t room = 2 * input->room + READ_BYTES + 1;
        char *grown = realloc(input->data, room);
        if (grown == NULL) {
            return false;
        }
        input->data = grown;
        input->room = room;
    }
    char *data = input->data;
    ssize_t got = recv(input->fd, data + input->len, READ_BYTES, 0);
    if (got <= 0) {
        data[input->len] = '\0';
        input->ended = true;
        return false;
    }
    input->len += (size_t)got;
    data[input->len] = '\0';
    return true;
}

static bool read_until(struct input *input, size_t len)
{
    while (input->len < len) {
        if (!read_more(input)) {
            return false;
        }
    }
    return true;
}

/* Join the chunks from `at` on into reply->body. */
static void read_chunks(struct input *input, size_t at, struct gv_reply *reply)
{
    for (;;) {
        char *end;
        while ((end = strstr(input->data + at, "\r\n")) == NULL) {
            if (!read_more(input)) {
                return;
            }
        }
        size_t size = strtoul(input->data + at, NULL, 16);
        at = (size_t)(end - input->data) + 2;
        if (!read_until(input, at + size + 2)) {
            size = input->len > at ? input->len - at : 0;
        }
        char *body = realloc(reply->body, reply->body_len + size + 1);
        if (body == NULL) {
            return;
        }
        memcpy(body + reply->body_len, input->data + at, size);
        reply->body = body;
        reply->body_len += size;
        body[reply->body_len] = '\0';
        if (input->ended) {
            return;
        }
        if (size == 0) {
            reply->whole = true;
            return;
        }
        at += size + 2;
    }
}

static void read_plain(struct input *input, size_t at, struct gv_reply *reply)
{
    char text[32];
    if (gv_reply_header(reply, "Content-Length", text, sizeof text)) {
        size_t len = strtoul(text, NULL, 10);
        reply->whole = read_until(input, at + len);
        reply->body_len = reply->whole ? len : input->len - at;
    } else {
        while (read_more(input)) {
        }
        reply->whole = true;
        reply->body_len = input->len - at;
    }
    free(reply->body);
    reply->body = strndup(input->data + at, reply->body_len);
}

void gv_talk_read(int fd, struct gv_reply *reply)
{
    struct input input = {.fd = fd, .data = strdup("")};
    *reply = (struct gv_reply){.head = strdup(""), .body = strdup("")};
    char *end;
    while ((end = strstr(input.data, "\r\n\r\n")) == NULL) {
        if (!read_more(&input)) {
            free(input.data);
            return;
        }
    }
    size_t at = (size_t)(end - input.data) + 4;
    free(reply->head);
    reply->head = strndup(input.data, at);
    reply->status = atoi(input.data + sizeof "HTTP/1.1" - 1);
    char text[64];
    if (reply->status == 100) {
        reply->whole = true;
    } else if (gv_reply_header(reply, "Transfer-Encoding", text, sizeof text)) {
        read_chunks(&input, at, reply);
    } else {
        read_plain(&input, at, reply);
    }
    free(input.data);
}

void gv_talk_ask(uint16_t port, const char *method, const char *path, const char *headers,
                 const char *body, struct gv_reply *reply)
{
    int fd = gv_talk_connect(port);
    if (fd < 0) {
        *reply = (struct gv_reply){.head = strdup(""), .body = strdup("")};
        return;
    }
    char head[4096];
    snprintf(head, sizeof head, "%s %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n%s", method, path,
             (unsigned)port, headers == NULL ? "" : headers);
    gv_talk_send_text(fd, head);
    snprintf(head, sizeof head,
             body == NULL ? "\r\n"
                          : "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
             body == NULL ? 0 : strlen(body));
    gv_talk_send_text(fd, head);
    if (body != NULL) {
        gv_talk_send_text(fd, body);
    }
    gv_talk_read(fd, reply);
    close(fd);
}

void gv_reply_deinit(struct gv_reply *reply)
{
    free(reply->head);
    free(reply->body);
}

bool gv_reply_header(const struct gv_reply *reply, const char *name, char *value, size_t size)
{
    size_t len = strlen(name);
    for (const char *at = reply->head; (at = strstr(at, "\r\n")) != NULL;) {
        at += 2;
        if (strncasecmp(at, name, len) == 0 && at[len] == ':') {
            at += len + 1;
            at += strspn(at, " ");
            snprintf(value, size, "%.*s", (int)strcspn(at, "\r"), at);
            return true;
        }
    }
    return false;
}

/* Where the value of the first "name": begins, or NULL. */
static const char *find_field(const struct gv_reply *reply, const char *name)
{
    char quoted[96];
    snprintf(quoted, sizeof quoted, "\"%s\":", name);
    const char *at = strstr(reply->body, quoted);
    if (at == NULL) {
        return NULL;
    }
    at += strlen(quoted);
    return at + strspn(at, " ");
}

bool gv_reply_text(const struct gv_reply *reply, const char *name, char *value, size_t size)
{
    const char *at = find_field(reply, name);
    if (at == NULL || *at != '"') {
        return false;
    }
    snprintf(value, size, "%.*s", (int)strcspn(at + 1, "\""), at + 1);
    return true;
}

long gv_reply_number(const struct gv_reply *reply, const char *name)
{
    const char *at = find_field(reply, name);
    return at == NULL ? -1 : strtol(at, NULL, 10);
}
