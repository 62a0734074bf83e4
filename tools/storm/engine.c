/*
 * engine.c - engines that do what goes wrong: before the first byte, between any two, and after the
 * last. What they do is drawn from the number of the stream, and for its first attempts only, so
 * that every request can be answered in the end.
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

#define REQUEST_MAX     (16 * 1024)
#define OUT_BYTES       (32 * 1024)
#define ATTEMPTS_FAULTY 3
#define ATTEMPTS_MORTAL 2    /* a request on which three engines die, a router gives to no fourth */
#define SPLIT_BYTES     1500 /* of an answer's beginning, sent in shreds */
#define MS              UINT64_C(1000000)
#define EVENTS_MAX      24 /* put out at a time */
#define FRAME_BYTES     64 /* around them */

enum framing {
    CHUNKED,
    LENGTH,
    UNTIL_CLOSE
};

enum break_off {
    KEEPS_WORD,
    RESETS,
    ENDS
};

struct storm_line {
    struct storm_source source;         /* first */
    struct storm_line *next, *previous; /* all of them, in a ring */
    char request[REQUEST_MAX];
    size_t held;
    bool answers;
    bool has_strayed; /* the router may have taken the stray byte for a bad answer, and try again */
    uint64_t id;
    uint32_t event, event_count; /* next to be put out */
    enum framing framing;
    enum break_off break_off;
    uint64_t break_at; /* bytes sent */
    uint64_t stall_at; /* bytes sent; UINT64_MAX: never */
    uint64_t stall_ns;
    uint64_t wake_ns; /* says nothing until then; 0: need not wait */
    uint64_t sent;    /* bytes of this answer */
    bool is_shredded, is_eventwise, is_over;
    char out[OUT_BYTES]; /* put out, not yet sent */
    size_t out_from, out_to;
    uint64_t draws;
};

static struct storm_line lines; /* the ring's anchor */

static uint32_t draw_below(struct storm_line *line, uint32_t bound)
{
    line->draws += 1;
    return (uint32_t)(storm_draw(line->id, (UINT64_C(1) << 40) + line->draws) % bound);
}

static struct storm_slot *slot_of(const struct storm_line *line)
{
    struct storm_slot *slot = &storm_slots[line->id % storm_options.clients];
    return slot->id == line->id ? slot : NULL;
}

/* This line answers nobody any more; `told`: because the router ended it. */
static void detach(struct storm_line *line, bool told)
{
    struct storm_slot *slot = line->answers ? slot_of(line) : NULL;
    line->answers = false;
    if (slot == NULL || slot->engine != line) {
        return;
    }
    slot->engine = NULL;
    if (told && slot->left_ns != 0) {
        storm_noticed(storm_now_ns - slot->left_ns);
    } else if (told && !line->has_strayed) {
        storm_wrong(line->id, "an engine was closed on, its client was there; bytes sent",
                    line->sent);
    }
}

static void shut(struct storm_line *line, bool reset)
{
    if (reset) {
        struct linger at_once = {.l_onoff = 1, .l_linger = 0};
        (void)setsockopt(line->source.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    }
    close(line->source.fd);
    line->source.fd = -1; /* freed by the tick */
    line->answers = false;
}

/* ---- an answer ---- */

static void put(struct storm_line *line, const char *bytes, size_t len)
{
    memcpy(line->out + line->out_to, bytes, len);
    line->out_to += len;
}

static void put_text(struct storm_line *line, const char *text)
{
    put(line, text, strlen(text));
}

static void put_head(struct storm_line *line)
{
    char length[64];
    put_text(line, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n");
    switch (line->framing) {
    case CHUNKED:
        put_text(line, "Transfer-Encoding: chunked\r\n\r\n");
        return;
    case LENGTH:
        snprintf(length, sizeof length, "Content-Length: %llu\r\n\r\n",
                 (unsigned long long)storm_total_bytes(line->id));
        put_text(line, length);
        return;
    case UNTIL_CLOSE:
        put_text(line, "Connection: close\r\n\r\n");
        return;
    }
}

/* Bytes of the body, as a chunk where chunks are used. */
static void put_piece(struct storm_line *line, const char *bytes, size_t len)
{
    char size[32];
    if (line->framing != CHUNKED) {
        put(line, bytes, len);
        return;
    }
    put(line, size, (size_t)snprintf(size, sizeof size, "%zx\r\n", len));
    put(line, bytes, len);
    put_text(line, "\r\n");
}

/* Events as far as there is room, in chunks that end anywhere. */
static void put_events(struct storm_line *line)
{
    char body[EVENTS_MAX * STORM_EVENT_MAX];
    bool goes_on = true;
    while (goes_on && line->event < line->event_count &&
           line->out_to + sizeof body + FRAME_BYTES < OUT_BYTES) {
        size_t len = 0;
        uint32_t most = line->is_eventwise ? 1 : 1 + draw_below(line, EVENTS_MAX);
        for (uint32_t i = 0; i < most && line->event < line->event_count; i++) {
            len += storm_event(line->id, line->event++, body + len);
        }
        size_t cut = 1 + draw_below(line, (uint32_t)len - 1);
        put_piece(line, body, cut);
        put_piece(line, body + cut, len - cut);
        goes_on = !line->is_eventwise;
    }
    if (line->event == line->event_count && !line->is_over) {
        line->is_over = true;
        put_text(line, line->framing == CHUNKED ? "0\r\n\r\n" : "");
    }
}

/* The answer is out to its last byte. */
static void finish(struct storm_line *line)
{
    bool closes = line->framing == UNTIL_CLOSE;
    detach(line, false);
    if (closes) {
        shut(line, false);
    } else if (storm_options.faults && draw_below(line, 50) == 0) {
        storm_counts.strays += 1;
        line->has_strayed = true;
        (void)!send(line->source.fd, "H", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
}

/* How much the next write may hold. */
static size_t piece_of(struct storm_line *line, size_t len)
{
    size_t most = len;
    if (line->is_shredded) {
        most = 1 + draw_below(line, line->sent < SPLIT_BYTES ? 60 : 8000);
    }
    if (line->break_off != KEEPS_WORD && line->break_at - line->sent < most) {
        most = (size_t)(line->break_at - line->sent);
    }
    if (line->stall_at > line->sent && line->stall_at - line->sent < most) {
        most = (size_t)(line->stall_at - line->sent);
    }
    return most < len ? most : len;
}

/* One write, then the others have their turn: shreds are to arrive as shreds. */
static void say(struct storm_line *line)
{
    if (line->out_from == line->out_to) {
        line->out_from = line->out_to = 0;
        put_events(line);
    }
    size_t len = piece_of(line, line->out_to - line->out_from);
    if (len > 0) {
        ssize_t took =
            send(line->source.fd, line->out + line->out_from, len, MSG_NOSIGNAL | MSG_DONTWAIT);
        storm_counts.writes += 1;
        if (took < 0 && errno != EAGAIN) {
            detach(line, true);
            shut(line, true);
            return;
        }
        line->wake_ns = took < 0 ? storm_now_ns + MS : 0; /* the router takes no more */
        line->sent += took > 0 ? (size_t)took : 0;
        line->out_from += took > 0 ? (size_t)took : 0;
    }
    if (line->break_off != KEEPS_WORD && line->sent >= line->break_at) {
        struct storm_slot *slot = slot_of(line);
        if (slot != NULL) {
            slot->was_cut = true;
        }
        detach(line, false);
        shut(line, line->break_off == RESETS);
        return;
    }
    if (line->sent == line->stall_at) {
        line->stall_at = UINT64_MAX;
        line->wake_ns = storm_now_ns + line->stall_ns;
    } else if (storm_options.pace_ms > 0) {
        line->wake_ns = storm_now_ns + storm_options.pace_ms * MS;
    }
    if (line->is_over && line->out_from == line->out_to) {
        finish(line);
    }
}

/* ---- a request ---- */

/* Something goes wrong before the first byte; true: it did. */
static bool hiccup(struct storm_line *line, uint32_t attempt)
{
    uint64_t draw = storm_draw(line->id, 3 + attempt) % 100;
    if (!storm_options.faults || attempt >= ATTEMPTS_FAULTY || draw >= 6) {
        return false;
    }
    storm_counts.hiccups += 1;
    line->answers = false;
    bool may_die = attempt < ATTEMPTS_MORTAL;
    if (may_die && draw < 2) {
        shut(line, true);
    } else if (may_die && draw < 4) {
        shut(line, false);
    } else {
        static const char busy[] =
            "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy";
        (void)!send(line->source.fd, busy, sizeof busy - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    return true;
}

static void draw_faults(struct storm_line *line, uint32_t attempt)
{
    uint64_t draw = storm_draw(line->id, 9);
    uint64_t total = storm_total_bytes(line->id);
    line->break_off = KEEPS_WORD;
    line->stall_at = UINT64_MAX;
    line->is_shredded = draw % 10 < 3;
    line->is_eventwise = draw % 10 == 3;
    line->framing = draw / 10 % 10 < 6 ? CHUNKED : draw / 10 % 10 < 9 ? LENGTH : UNTIL_CLOSE;
    if (!storm_options.faults) {
        return;
    }
    /* Without framing an end is an end: only a reset tells that something is missing. */
    uint64_t kind = draw / 100 % 100;
    if (kind < 6 && attempt < ATTEMPTS_MORTAL) {
        line->break_off = kind < 3 || line->framing == UNTIL_CLOSE ? RESETS : ENDS;
        line->break_at = 1 + storm_draw(line->id, 10) % (total - 1);
    }
    if (draw / 10000 % 100 < 8) {
        line->stall_at = draw / 1000000 % 4 == 0 ? 0 : storm_draw(line->id, 11) % total;
        line->stall_ns = (1 + storm_draw(line->id, 12) % 40) * MS;
    }
}

static void begin(struct storm_line *line, uint64_t id)
{
    line->id = id;
    line->draws = 0;
    struct storm_slot *slot = slot_of(line);
    uint32_t attempt = 0;
    line->answers = true;
    if (slot != NULL) {
        attempt = slot->attempts++;
        if (slot->engine != NULL && slot->engine->has_strayed) {
            detach(slot->engine, false); /* given up; its end is about to be read */
        } else if (slot->engine != NULL) {
            storm_wrong(id, "a request reached two engines at once; attempts", slot->attempts);
        }
    }
    if (hiccup(line, attempt)) {
        return;
    }
    if (slot != NULL) {
        slot->engine = line;
    }
    draw_faults(line, attempt);
    line->event = 0;
    line->event_count = storm_event_count(id);
    line->sent = 0;
    line->is_over = false;
    line->out_from = line->out_to = 0;
    line->wake_ns = line->stall_at == 0 ? storm_now_ns + line->stall_ns : 0;
    line->stall_at = line->stall_at == 0 ? UINT64_MAX : line->stall_at;
    put_head(line);
    storm_watch(&line->source, EPOLLIN | EPOLLRDHUP, false);
}

/* Whole requests among the bytes held: a probe is answered, a stream begins. */
static void look(struct storm_line *line)
{
    char *end = memmem(line->request, line->held, "\r\n\r\n", 4);
    if (end == NULL) {
        return;
    }
    size_t head = (size_t)(end - line->request) + 4;
    char *length = strcasestr(line->request, "\r\ncontent-length:");
    size_t body = length != NULL && length < end ? strtoul(length + 17, NULL, 10) : 0;
    if (line->held < head + body) {
        return;
    }
    char *id = memmem(line->request + head, body, "storm ", 6);
    uint64_t number = id != NULL ? strtoull(id + 6, NULL, 16) : 0;
    memmove(line->request, line->request + head + body, line->held - head - body);
    line->held -= head + body;
    line->request[line->held] = '\0';
    if (id != NULL) {
        begin(line, number);
        return;
    }
    static const char fine[] =
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
    (void)!send(line->source.fd, fine, sizeof fine - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void on_line(struct storm_source *source, uint32_t events)
{
    struct storm_line *line = (struct storm_line *)(void *)source;
    (void)events;
    ssize_t got =
        recv(source->fd, line->request + line->held, REQUEST_MAX - 1 - line->held, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) {
        return;
    }
    if (got <= 0) {
        if (got == 0 || errno == ECONNRESET) {
            detach(line, true);
        }
        shut(line, false);
        return;
    }
    line->held += (size_t)got;
    line->request[line->held] = '\0';
    if (line->answers) {
        storm_wrong(line->id, "a second request came before the answer's end; bytes",
                    (uint64_t)got);
        return;
    }
    look(line);
}

static void on_accept(struct storm_source *source, uint32_t events)
{
    int one = 1;
    (void)events;
    for (int fd; (fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC)) >= 0;) {
        struct storm_line *line = calloc(1, sizeof *line);
        if (line == NULL) {
            storm_fail("calloc");
        }
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        line->source = (struct storm_source){.on_ready = on_line, .fd = fd};
        line->next = &lines;
        line->previous = lines.previous;
        line->previous->next = line;
        lines.previous = line;
        storm_watch(&line->source, EPOLLIN | EPOLLRDHUP, true);
    }
}

uint16_t storm_engine_open(void)
{
    static struct storm_source listeners[STORM_ENGINES_MAX];
    static uint32_t count;
    struct storm_source *source = &listeners[count++];
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof addr;
    if (lines.next == NULL) {
        lines.next = lines.previous = &lines;
    }
    source->on_ready = on_accept;
    source->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (source->fd < 0 || bind(source->fd, (struct sockaddr *)&addr, sizeof addr) != 0 ||
        listen(source->fd, 4096) != 0 ||
        getsockname(source->fd, (struct sockaddr *)&addr, &len) != 0) {
        storm_fail("listen");
    }
    storm_watch(source, EPOLLIN, true);
    return ntohs(addr.sin_port);
}

void storm_engines_tick(void)
{
    for (struct storm_line *line = lines.next, *next; line != &lines; line = next) {
        next = line->next;
        if (line->source.fd < 0) {
            line->previous->next = line->next;
            line->next->previous = line->previous;
            free(line);
        } else if (line->answers && storm_now_ns >= line->wake_ns) {
            say(line);
        }
    }
}

uint32_t storm_engines_busy(void)
{
    uint32_t count = 0;
    for (const struct storm_line *line = lines.next; line != &lines; line = line->next) {
        count += line->answers && line->source.fd >= 0 ? 1 : 0;
    }
    return count;
}
