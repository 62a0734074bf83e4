/*
 * client.c - clients that compare every byte, and that stall, dawdle and leave at any moment.
 */
#define _GNU_SOURCE
#include "storm.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MS             UINT64_C(1000000)
#define HEAD_MAX       4096
#define REQUEST_MAX    2048
#define PATIENCE_NS    (UINT64_C(30000) * MS) /* without any progress */
#define NEVER          UINT64_MAX
#define SHORT_RECV_MAX 700 /* of a client that dawdles */

enum state {
    RESTS = 0,
    ASKS,    /* sends its request */
    AWAITS,  /* a head */
    READS,   /* a body */
    HAS_LEFT /* and waits until the engine was told */
};

enum chunk_state {
    SIZE,
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    LAST_CR,
    LAST_LF
};

struct client {
    struct storm_source source; /* first */
    struct storm_slot *slot;
    enum state state;
    char request[REQUEST_MAX];
    size_t request_len, request_sent;
    char head[HEAD_MAX + 1];
    size_t head_len;
    bool is_chunked, has_length;
    uint64_t length;
    enum chunk_state chunk;
    uint64_t chunk_left;
    uint64_t got;    /* bytes of the body */
    uint32_t number; /* of the event that comes */
    uint32_t count;
    char event[STORM_EVENT_MAX];
    size_t event_len, event_at;
    uint64_t leave_at; /* bytes of the body; NEVER */
    uint64_t stall_at;
    uint64_t wake_ns; /* takes nothing until then */
    uint64_t since_ns;
    bool dawdles, trickles;
};

static struct client clients[STORM_SLOTS_MAX];
static uint16_t router_port;
static bool is_stopping;

static uint64_t id_of(const struct client *client)
{
    return client->slot->id;
}

static void hang_up(struct client *client, bool reset)
{
    if (client->source.fd < 0) {
        return;
    }
    if (reset) {
        struct linger at_once = {.l_onoff = 1, .l_linger = 0};
        (void)setsockopt(client->source.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    }
    close(client->source.fd);
    client->source.fd = -1;
}

static void rest(struct client *client)
{
    client->state = RESTS;
    client->since_ns = storm_now_ns;
}

static void leave(struct client *client)
{
    storm_counts.left += 1;
    client->slot->left_ns = storm_now_ns;
    client->state = HAS_LEFT;
    client->since_ns = storm_now_ns;
    hang_up(client, storm_draw(id_of(client), 20) % 2 == 0);
}

static void wrong(struct client *client, const char *what, uint64_t detail)
{
    storm_wrong(id_of(client), what, detail);
    hang_up(client, true);
    rest(client);
}

/* ---- the answer ---- */

static void next_event(struct client *client)
{
    client->event_at = 0;
    client->event_len = client->number < client->count
                            ? storm_event(id_of(client), client->number, client->event)
                            : 0;
}

/* Compare bytes of the body; false: they are not what they ought to be. */
static bool compare(struct client *client, const char *bytes, size_t len)
{
    client->got += len;
    while (len > 0) {
        size_t part = client->event_len - client->event_at;
        part = part < len ? part : len;
        if (part == 0 || memcmp(bytes, client->event + client->event_at, part) != 0) {
            wrong(client,
                  part == 0 ? "more came than was sent; event"
                            : "other bytes than were sent; event",
                  client->number);
            return false;
        }
        bytes += part;
        len -= part;
        client->event_at += part;
        if (client->event_at == client->event_len) {
            client->number += 1;
            storm_counts.events += 1;
            next_event(client);
        }
    }
    return true;
}

static void end_whole(struct client *client)
{
    if (client->number != client->count) {
        wrong(client, "an answer ended early, as if it were whole; event", client->number);
        return;
    }
    storm_counts.whole += 1;
    bool closes = strcasestr(client->head, "\r\nconnection: close") != NULL;
    if (closes || storm_draw(id_of(client), 21) % 20 == 0) {
        hang_up(client, false);
    }
    rest(client);
}

static void end_cut(struct client *client)
{
    if (client->state == AWAITS || client->state == ASKS) {
        wrong(client, "no answer at all; bytes of a head", client->head_len);
        return;
    }
    bool is_whole = !client->is_chunked && !client->has_length;
    if (is_whole) {
        end_whole(client);
        return;
    }
    if (!client->slot->was_cut) {
        wrong(client, "an answer was cut, no engine had done that; event", client->number);
        return;
    }
    storm_counts.cut += 1;
    hang_up(client, false);
    rest(client);
}

static int digit_of(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A byte that is no data: the next state, or false. */
static bool step_chunk(struct client *client, char c)
{
    switch (client->chunk) {
    case SIZE:
        if (digit_of(c) >= 0) {
            client->chunk_left = client->chunk_left * 16 + (uint64_t)digit_of(c);
            return true;
        }
        client->chunk = SIZE_LF;
        return c == '\r';
    case SIZE_LF:
        client->chunk = client->chunk_left > 0 ? DATA : LAST_CR;
        return c == '\n';
    case DATA_CR:
        client->chunk = DATA_LF;
        return c == '\r';
    case DATA_LF:
        client->chunk = SIZE;
        return c == '\n';
    case LAST_CR:
        client->chunk = LAST_LF;
        return c == '\r';
    case LAST_LF:
    case DATA:
        break;
    }
    return false;
}

/* A stretch of the body's wire bytes. */
static void take_chunked(struct client *client, const char *bytes, size_t len)
{
    while (len > 0 && client->state == READS) {
        if (client->chunk == DATA) {
            size_t part = client->chunk_left < len ? (size_t)client->chunk_left : len;
            if (!compare(client, bytes, part)) {
                return;
            }
            client->chunk_left -= part;
            client->chunk = client->chunk_left == 0 ? DATA_CR : DATA;
            bytes += part;
            len -= part;
        } else if (client->chunk == LAST_LF && *bytes == '\n' && len == 1) {
            end_whole(client);
            return;
        } else if (!step_chunk(client, *bytes)) {
            wrong(client, "a bad chunk; event", client->number);
            return;
        } else {
            bytes += 1;
            len -= 1;
        }
    }
}

static void take_body(struct client *client, const char *bytes, size_t len)
{
    client->state = READS;
    if (client->is_chunked) {
        take_chunked(client, bytes, len);
    } else if (client->has_length) {
        if (compare(client, bytes, len) && client->got == client->length) {
            end_whole(client);
        }
    } else {
        (void)compare(client, bytes, len);
    }
}

static void take_head(struct client *client, const char *bytes, size_t len)
{
    size_t part = len < HEAD_MAX - client->head_len ? len : HEAD_MAX - client->head_len;
    memcpy(client->head + client->head_len, bytes, part);
    client->head[client->head_len + part] = '\0';
    char *end = strstr(client->head, "\r\n\r\n");
    if (end == NULL) {
        client->head_len += part;
        if (client->head_len == HEAD_MAX) {
            wrong(client, "a head without end; bytes", client->head_len);
        }
        return;
    }
    size_t used = (size_t)(end + 4 - client->head) - client->head_len;
    if (strncmp(client->head, "HTTP/1.1 200 ", 13) != 0) {
        wrong(client, "another status than 200", strtoull(client->head + 9, NULL, 10));
        return;
    }
    end[2] = '\0';
    const char *length = strcasestr(client->head, "\r\ncontent-length:");
    client->has_length = length != NULL;
    client->length = length != NULL ? strtoull(length + 17, NULL, 10) : 0;
    client->is_chunked = strcasestr(client->head, "\r\ntransfer-encoding: chunked") != NULL;
    client->state = READS;
    if (len > used) {
        take_body(client, bytes + used, len - used);
    }
}

/* ---- the request ---- */

static void make_request(struct client *client)
{
    char body[512];
    uint64_t id = id_of(client);
    int len = snprintf(
        body, sizeof body,
        "{\"model\":\"storm\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":"
        "\"storm %016llx weather report number %llu\"}]}",
        (unsigned long long)id, (unsigned long long)(storm_draw(id, 22) % 50));
    client->request_len =
        (size_t)snprintf(client->request, sizeof client->request,
                         "POST /v1/chat/completions HTTP/1.1\r\nHost: storm\r\n"
                         "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
                         len, body);
    client->request_sent = 0;
}

static void open_connection(struct client *client)
{
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_port = htons(router_port),
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1;
    client->source.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (client->source.fd < 0 ||
        connect(client->source.fd, (struct sockaddr *)&addr, sizeof addr) != 0) {
        storm_fail("connect");
    }
    (void)setsockopt(client->source.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    storm_watch(&client->source, EPOLLIN, true);
}

static void draw_faults(struct client *client)
{
    uint64_t id = id_of(client);
    uint64_t draw = storm_draw(id, 23);
    uint64_t total = storm_total_bytes(id);
    client->leave_at = NEVER;
    client->stall_at = NEVER;
    client->dawdles = client->trickles = false;
    if (!storm_options.faults) {
        if (storm_options.pace_ms > 0 && draw % 100 < 50) {
            client->leave_at = storm_draw(id, 24) % total; /* so that somebody leaves */
        }
        return;
    }
    if (draw % 100 < 6) {
        client->leave_at = draw / 100 % 4 == 0 ? 0 : storm_draw(id, 24) % total;
    }
    if (draw / 1000 % 100 < 6) {
        client->stall_at = storm_draw(id, 25) % total;
    }
    client->dawdles = draw / 100000 % 100 < 5;
    client->trickles = draw / 10000000 % 100 < 10;
}

static void start(struct client *client)
{
    struct storm_slot *slot = client->slot;
    uint32_t index = (uint32_t)(client - clients);
    *slot = (struct storm_slot){.id = slot->id == 0 ? storm_options.clients + index
                                                    : slot->id + storm_options.clients};
    storm_counts.streams += 1;
    client->state = ASKS;
    client->head_len = 0;
    client->chunk = SIZE;
    client->chunk_left = 0;
    client->got = 0;
    client->number = 0;
    client->wake_ns = 0;
    client->since_ns = storm_now_ns;
    client->count = storm_event_count(id_of(client));
    next_event(client);
    draw_faults(client);
    make_request(client);
    if (client->source.fd < 0) {
        open_connection(client);
    }
}

static void ask(struct client *client)
{
    size_t left = client->request_len - client->request_sent;
    size_t most =
        client->trickles ? 1 + storm_draw(id_of(client), 30 + client->request_sent) % 40 : left;
    ssize_t took = send(client->source.fd, client->request + client->request_sent,
                        most < left ? most : left, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (took < 0 && errno != EAGAIN) {
        hang_up(client, false); /* it rested too long; another connection */
        client->request_sent = 0;
        open_connection(client);
        return;
    }
    client->request_sent += took > 0 ? (size_t)took : 0;
    if (client->request_sent == client->request_len) {
        client->state = AWAITS;
    } else if (client->leave_at == 0 && client->trickles &&
               client->request_sent > client->request_len / 2) {
        leave(client);
    }
}

static void on_client(struct storm_source *source, uint32_t events)
{
    struct client *client = (struct client *)(void *)source;
    (void)events;
    if (storm_now_ns < client->wake_ns) {
        return;
    }
    ssize_t got = recv(source->fd, storm_bytes,
                       client->dawdles ? SHORT_RECV_MAX : sizeof storm_bytes, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) {
        return;
    }
    client->since_ns = storm_now_ns;
    if (client->state == RESTS) {
        if (got > 0) {
            wrong(client, "bytes after the end; how many", (uint64_t)got);
        }
        hang_up(client, false);
        return;
    }
    if (got <= 0) {
        end_cut(client);
        return;
    }
    if (client->state == READS) {
        take_body(client, storm_bytes, (size_t)got);
    } else {
        take_head(client, storm_bytes, (size_t)got);
    }
    if (client->state != READS) {
        return;
    }
    if (client->got >= client->leave_at) {
        leave(client);
    } else if (client->got >= client->stall_at) {
        storm_counts.stalled += 1;
        client->stall_at = NEVER;
        client->wake_ns = storm_now_ns + (1 + storm_draw(id_of(client), 26) % 60) * MS;
        storm_watch(source, 0, false);
    }
}

/* ---- time ---- */

static void tick(struct client *client)
{
    switch (client->state) {
    case RESTS:
        if (!is_stopping) {
            start(client);
        }
        return;
    case ASKS:
        ask(client);
        break;
    case AWAITS:
        if (client->leave_at == 0 && storm_draw(id_of(client), 27) % 2 == 0) {
            leave(client);
            return;
        }
        break;
    case READS:
        if (client->wake_ns != 0 && storm_now_ns >= client->wake_ns) {
            client->wake_ns = 0;
            client->since_ns = storm_now_ns;
            storm_watch(&client->source, EPOLLIN, false);
        }
        break;
    case HAS_LEFT:
        if (client->slot->engine == NULL) {
            rest(client);
            return;
        }
        break;
    }
    if (storm_now_ns - client->since_ns > PATIENCE_NS) {
        if (client->state == HAS_LEFT) {
            client->slot->engine = NULL;
        }
        wrong(client,
              client->state == HAS_LEFT ? "the engine was never told that its client left; state"
                                        : "nothing came for half a minute; state",
              (uint64_t)client->state);
    }
}

void storm_clients_start(uint16_t port)
{
    router_port = port;
    for (uint32_t i = 0; i < storm_options.clients; i++) {
        clients[i].source = (struct storm_source){.on_ready = on_client, .fd = -1};
        clients[i].slot = &storm_slots[i];
    }
}

void storm_clients_tick(void)
{
    for (uint32_t i = 0; i < storm_options.clients; i++) {
        tick(&clients[i]);
    }
}

void storm_clients_stop(void)
{
    is_stopping = true;
}

bool storm_clients_are_done(void)
{
    for (uint32_t i = 0; i < storm_options.clients; i++) {
        if (clients[i].state != RESTS) {
            return false;
        }
    }
    for (uint32_t i = 0; i < storm_options.clients; i++) {
        hang_up(&clients[i], false);
    }
    return true;
}
