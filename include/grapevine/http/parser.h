/*
 * parser.h - bytes of a connection to messages, strictly.
 *
 * Every byte of a head, chunk line and trailer passes the raw guard (guard.h) before llhttp sees
 * it. The parser stops after each complete message, so that pipelined requests wait in the caller's
 * hands. After an error it must not be fed again and the connection must be closed.
 * Pure; one thread.
 */
#ifndef GV_HTTP_PARSER_H
#define GV_HTTP_PARSER_H

#include "grapevine/base/err.h"
#include "grapevine/http/head.h"
#include "grapevine/http/problem.h"

struct gv_parser;

struct gv_parser_limits {
    size_t head_bytes;      /* request or status line and headers together */
    size_t uri_bytes;       /* request target */
    uint32_t header_count;  /* at most GV_HEAD_HEADERS_MAX */
    uint64_t body_bytes;    /* after chunk decoding */
    size_t chunk_ext_bytes; /* per message */
    size_t trailer_bytes;   /* per message; trailers are dropped */
};

/* Any callback may return an error: parsing stops and gv_parser_feed() returns that error. */
struct gv_parser_events {
    enum gv_err (*on_head)(void *owner, const struct gv_head *head);
    enum gv_err (*on_body)(void *owner, struct gv_slice bytes); /* decoded; borrowed for the call */
    enum gv_err (*on_message_end)(void *owner);
};

enum gv_parser_kind {
    GV_PARSER_REQUEST = 0,
    GV_PARSER_RESPONSE
};

/** `events` is static and borrowed. Errors: GV_ENOMEM. */
GV_MUST_USE enum gv_err gv_parser_new(enum gv_parser_kind kind, struct gv_parser_limits limits,
                                      const struct gv_parser_events *events, void *owner,
                                      struct gv_parser **parser);
void gv_parser_free(struct gv_parser *parser);

/** Change events and owner between messages (a pooled connection's next user). */
void gv_parser_set_owner(struct gv_parser *parser, const struct gv_parser_events *events,
                         void *owner);

/** Be ready for a message on a fresh connection. */
void gv_parser_reset(struct gv_parser *parser);

/** Responses: the next message answers a HEAD request, so it has no body. Before its first byte. */
void gv_parser_expect_no_body(struct gv_parser *parser);

/**
 * Parse from `bytes`; `*used` says how many were taken. Less than bytes.len only when a message
 * ended inside (feed the rest when the next message may begin) or on error.
 *
 * Errors: GV_EPROTO the message is malformed; GV_ETOOBIG a limit; GV_EUNSUPPORTED (unknown transfer
 * coding, HTTP/2 preface, CONNECT); GV_ENOMEM; or what a callback returned. gv_parser_problem()
 * then says why.
 */
GV_MUST_USE enum gv_err gv_parser_feed(struct gv_parser *parser, struct gv_slice bytes,
                                       size_t *used);

/** The peer sends no more. Errors: GV_EPROTO a message was cut; GV_OK between messages, or when the
 * end of the connection is the end of a response (then on_message_end was called). */
GV_MUST_USE enum gv_err gv_parser_end(struct gv_parser *parser);

/** True between messages: nothing of the next one has come. */
bool gv_parser_is_idle(const struct gv_parser *parser);

/** What was wrong, with the status to answer; valid after an error of feed or end. */
enum gv_problem gv_parser_problem(const struct gv_parser *parser);

#endif
