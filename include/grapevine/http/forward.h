/*
 * forward.h - which headers pass from client to worker and back.
 *
 * Hop-by-hop fields (RFC 9110, 7.6.1), what Connection names, framing, and what we set ourselves
 * are dropped; everything else passes, in order, repeated headers kept.
 */
#ifndef GV_HTTP_FORWARD_H
#define GV_HTTP_FORWARD_H

#include "grapevine/http/head.h"

/** May header `index` of a client's request go to a worker? Drops Host, Expect, framing,
 * hop-by-hop. */
bool gv_forward_request_header(const struct gv_head *head, size_t index);

/**
 * The same by the reference product's list of what passes: authorization, x-request-id and
 * x-request-id-*, x-correlation-id, traceparent, tracestate, x-smg-routing-key; nothing else, so
 * that the caller says Content-Type itself.
 */
bool gv_forward_request_header_strict(const struct gv_head *head, size_t index);

/** May header `index` of a worker's response go to the client? Drops framing and hop-by-hop. */
bool gv_forward_response_header(const struct gv_head *head, size_t index);

#endif
