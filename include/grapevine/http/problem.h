/*
 * problem.h - everything that can go wrong with a request: its status, its stable code, its words.
 *
 * The one table from trouble to what a client sees. The body is OpenAI-shaped:
 *     {"error":{"message":"...","type":"...","code":"...","param":null}}
 * and the header X-SMG-Error-Code carries the code; where waiting helps, Retry-After says how long.
 * Codes are a public interface: add, never change.
 */
#ifndef GV_HTTP_PROBLEM_H
#define GV_HTTP_PROBLEM_H

#include "grapevine/base/buf.h"
#include "grapevine/base/err.h"
#include "grapevine/http/status.h"

/* X(NAME, status, "type", "code", "what happened and what to do") */
#define GV_PROBLEM_LIST(X)                                                                         \
    X(NONE, 200, "", "", "")                                                                       \
    X(BAD_SYNTAX, 400, "invalid_request_error", "bad_http_syntax",                                 \
      "the request is not valid HTTP/1.1")                                                         \
    X(NEEDS_TLS, 400, "invalid_request_error", "https_required",                                   \
      "plain HTTP came to a port that speaks HTTPS")                                               \
    X(BAD_HEADER, 400, "invalid_request_error", "bad_header", "a header field is malformed")       \
    X(BAD_HOST, 400, "invalid_request_error", "bad_host",                                          \
      "exactly one valid Host header is needed")                                                   \
    X(BAD_FRAMING, 400, "invalid_request_error", "bad_framing",                                    \
      "Content-Length and Transfer-Encoding do not say clearly where the message ends")            \
    X(BAD_CHUNK, 400, "invalid_request_error", "bad_chunk", "the chunked body is malformed")       \
    X(BAD_TARGET, 400, "invalid_request_error", "bad_target", "the request target is malformed")   \
    X(BAD_JSON, 400, "invalid_request_error", "json_parse_error", "the body is not valid JSON")    \
    X(BAD_FIELD, 400, "invalid_request_error", "invalid_field",                                    \
      "a field of the body has the wrong type")                                                    \
    X(MISSING_MODEL, 400, "invalid_request_error", "missing_model", "the body names no model")     \
    X(UNAUTHORIZED, 401, "authentication_error", "invalid_api_key",                                \
      "the Authorization header holds no accepted key")                                            \
    X(FORBIDDEN, 403, "permission_error", "forbidden", "this key may not do that")                 \
    X(NO_ROUTE, 404, "invalid_request_error", "unknown_path", "there is no such path")             \
    X(NO_MODEL, 404, "invalid_request_error", "model_not_found", "no worker serves this model")    \
    X(NO_WORKER_ID, 404, "invalid_request_error", "WORKER_NOT_FOUND", "no worker has this id")     \
    X(BAD_METHOD, 405, "invalid_request_error", "method_not_allowed",                              \
      "this path does not take this method")                                                       \
    X(REQUEST_TIMEOUT, 408, "timeout_error", "request_timeout",                                    \
      "the request did not arrive in time")                                                        \
    X(QUEUE_TIMEOUT, 408, "rate_limit_error", "queue_timeout",                                     \
      "the request waited too long for its turn; try again later")                                 \
    X(WORKER_EXISTS, 409, "invalid_request_error", "WORKER_ALREADY_EXISTS",                        \
      "a worker with this URL exists")                                                             \
    X(KEY_STEP, 409, "invalid_request_error", "key_step_refused", "the key ring stays as it is")   \
    X(BODY_TOO_BIG, 413, "invalid_request_error", "payload_too_large",                             \
      "the body is larger than --max-payload-size")                                                \
    X(URI_TOO_LONG, 414, "invalid_request_error", "uri_too_long",                                  \
      "the request target is too long")                                                            \
    X(BAD_MEDIA, 415, "invalid_request_error", "unsupported_media_type",                           \
      "the body must be application/json")                                                         \
    X(BAD_EXPECT, 417, "invalid_request_error", "expectation_failed",                              \
      "only 100-continue can be expected")                                                         \
    X(TOO_MANY, 429, "rate_limit_error", "too_many_requests",                                      \
      "too many requests; try again later")                                                        \
    X(TENANT_LIMIT, 429, "rate_limit_error", "tenant_rate_limited",                                \
      "this key's tenant sends more requests than it may; Retry-After says when to try again")     \
    X(HEAD_TOO_BIG, 431, "invalid_request_error", "header_too_large",                              \
      "the request head is too large")                                                             \
    X(INTERNAL, 500, "server_error", "internal_error", "the router failed; its log says why")      \
    X(BAD_CODING, 501, "invalid_request_error", "unsupported_transfer_coding",                     \
      "only chunked transfer coding is supported")                                                 \
    X(NOT_IMPLEMENTED, 501, "invalid_request_error", "not_implemented",                            \
      "this is not supported here")                                                                \
    X(UPSTREAM_CONNECT, 502, "server_error", "upstream_connect_failed",                            \
      "the worker did not accept a connection")                                                    \
    X(UPSTREAM_CLOSED, 502, "server_error", "upstream_closed",                                     \
      "the worker closed the connection before it answered")                                       \
    X(UPSTREAM_BAD, 502, "server_error", "upstream_bad_response",                                  \
      "the worker's answer is not valid HTTP/1.1")                                                 \
    X(PREFILL_FAILED, 502, "server_error", "prefill_failed", "the prefill worker failed")          \
    X(NO_AVAILABLE, 503, "server_error", "no_available_workers",                                   \
      "no worker of this pool and model is available now")                                         \
    X(NO_PAIR, 503, "server_error", "server_selection_failed",                                     \
      "no pair of prefill and decode workers is available now")                                    \
    X(NO_TARGET, 503, "server_error", "target_worker_unavailable",                                 \
      "no worker that may take this request is the one named by X-SMG-Target-Worker")              \
    X(DRAINING, 503, "server_error", "draining", "this router is shutting down; try another")      \
    X(STARTING, 503, "server_error", "starting",                                                   \
      "this router has just started and does not know enough yet; try another")                    \
    X(OVERLOADED, 503, "server_error", "overloaded",                                               \
      "a limit of this router is reached; try again later")                                        \
    X(UPSTREAM_TIMEOUT, 504, "server_error", "upstream_timeout",                                   \
      "the worker did not answer in time")                                                         \
    X(BAD_VERSION, 505, "invalid_request_error", "bad_http_version",                               \
      "only HTTP/1.0 and HTTP/1.1 are spoken here")

enum gv_problem {
#define GV_PROBLEM_ENUM(name, status, type, code, text) GV_PROBLEM_##name,
    GV_PROBLEM_LIST(GV_PROBLEM_ENUM)
#undef GV_PROBLEM_ENUM
    GV_PROBLEM_COUNT
};

uint16_t gv_problem_status(enum gv_problem problem);
const char *gv_problem_code(enum gv_problem problem); /* static */
const char *gv_problem_text(enum gv_problem problem); /* static */

/** Append the JSON body; `detail` (may be NULL) is escaped and appended to the message. */
GV_MUST_USE enum gv_err gv_problem_body(enum gv_problem problem, const char *detail,
                                        struct gv_buf *out);

/**
 * Append a whole HTTP/1.1 response: status line, Content-Type, Content-Length, X-SMG-Error-Code,
 * x-request-id when `request_id` is not NULL, Connection: close when `close`, and the body.
 */
GV_MUST_USE enum gv_err gv_problem_response(enum gv_problem problem, const char *detail,
                                            const char *request_id, bool close, struct gv_buf *out);

/** The same with header lines of the caller's, each with CRLF, in place of x-request-id. */
GV_MUST_USE enum gv_err gv_problem_response_with(enum gv_problem problem, const char *detail,
                                                 struct gv_slice headers, bool close,
                                                 struct gv_buf *out);

#endif
