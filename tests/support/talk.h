/*
 * talk.h - a plain blocking HTTP client for tests: sends exactly the bytes it is told to.
 */
#ifndef GV_TESTS_SUPPORT_TALK_H
#define GV_TESTS_SUPPORT_TALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gv_reply {
    int status;      /* 0: no answer came */
    char *head;      /* owned, NUL-terminated; "" without */
    char *body;      /* owned, NUL-terminated, chunks joined; "" without */
    size_t body_len; /* bytes */
    bool whole;      /* the message ended as its framing said */
};

/** Connect to 127.0.0.1:port; -1 when refused. Reads and writes give up after 60 s. */
int gv_talk_connect(uint16_t port);

/** Listen on a free port of 127.0.0.1, with room for `waiting` clients; the socket. */
int gv_talk_listen(int waiting, uint16_t *port);

/** Send all bytes; false when the peer is gone. */
bool gv_talk_send(int fd, const void *bytes, size_t len);
bool gv_talk_send_text(int fd, const char *text);

/**
 * Read until `needle` has come; all that was read is then in `into`, NUL-terminated. false: the
 * peer ended first, or `into` is full.
 */
bool gv_talk_read_until(int fd, const char *needle, char *into, size_t size);

/** Throw away what comes until the peer ends the connection; false: it did not within 60 s. */
bool gv_talk_read_end(int fd);

/** Close with a reset, as a program that was killed. */
void gv_talk_reset(int fd);

/** Read one response. Always give it to gv_reply_deinit(). */
void gv_talk_read(int fd, struct gv_reply *reply);

/**
 * One request on a connection of its own. `headers` are lines each ended by CRLF, or NULL; `body`
 * may be NULL. Content-Length and Host are added.
 */
void gv_talk_ask(uint16_t port, const char *method, const char *path, const char *headers,
                 const char *body, struct gv_reply *reply);

void gv_reply_deinit(struct gv_reply *reply);

/** The value of a response header into `value`; false when absent. */
bool gv_reply_header(const struct gv_reply *reply, const char *name, char *value, size_t size);

/** The text of the first "name":"text" in the body, as it stands; false when absent. */
bool gv_reply_text(const struct gv_reply *reply, const char *name, char *value, size_t size);

/** The number of the first "name":number in the body; -1 when absent. */
long gv_reply_number(const struct gv_reply *reply, const char *name);

#endif
