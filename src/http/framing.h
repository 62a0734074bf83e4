/*
 * framing.h - what the headers of a head say about the message: where it ends, whether the
 * connection lives on, for whom it is.
 *
 * Private to http: the parser asks when a head is complete. Pure.
 */
#ifndef GV_HTTP_FRAMING_H
#define GV_HTTP_FRAMING_H

#include "grapevine/http/head.h"
#include "grapevine/http/problem.h"

/* Connection is looked through once per header that is forwarded, so it must be short. */
#define GV_FRAMING_CONNECTION_BYTES_MAX 512

/**
 * Check and fill keep_alive, chunked, content_length, expect_continue, and for requests the target.
 * One reading only is accepted: exactly one of Content-Length and "Transfer-Encoding: chunked",
 * once.
 */
enum gv_problem gv_framing_read_request(struct gv_head *head);

/** The same for a response; keep_alive does not yet regard a body that ends at the close. */
enum gv_problem gv_framing_read_response(struct gv_head *head);

#endif
