/*
 * relay.h - a worker's answer on its way to the client: status and headers, then bytes as they
 * come.
 *
 * Body bytes pass unchanged and at once. Framing is ours: Content-Length where the worker told one,
 * else chunks, else (HTTP/1.0) until the close. One thread.
 */
#ifndef GV_PROXY_RELAY_H
#define GV_PROXY_RELAY_H

#include "grapevine/base/buf.h"
#include "grapevine/http/head.h"
#include "grapevine/net/stream.h"

struct gv_relay {
    struct gv_stream *stream; /* borrowed: the client's */
    uint64_t framing;         /* as gv_writer_end_head() */
    uint64_t body_bytes;      /* passed so far */
    bool close;               /* the client's connection ends with this answer */
    bool started;
};

struct gv_relay_start {
    const struct gv_head *request; /* of the client */
    const struct gv_head *answer;  /* of the worker */
    struct gv_slice extra;         /* header lines of our own, each with CRLF; may be empty */
    struct gv_slice first;         /* first body bytes; may be empty */
    bool close;                    /* this connection is to end */
};

/**
 * Send the head with the first body bytes. `scratch` is working memory.
 * Errors: GV_EFULL taken, but pause; GV_ECLOSED, GV_ENOMEM, GV_EINVAL the client cannot be served.
 */
GV_MUST_USE enum gv_err gv_relay_start(struct gv_relay *relay, struct gv_stream *stream,
                                       const struct gv_relay_start *start, struct gv_buf *scratch);

/** Pass body bytes on. Errors: as gv_relay_start(). */
GV_MUST_USE enum gv_err gv_relay_body(struct gv_relay *relay, struct gv_slice bytes,
                                      struct gv_buf *scratch);

/** The answer is complete. Errors: as gv_relay_start(). */
GV_MUST_USE enum gv_err gv_relay_end(struct gv_relay *relay);

#endif
