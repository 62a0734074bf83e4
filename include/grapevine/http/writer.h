/*
 * writer.h - messages to bytes. Framing is always ours: exactly one of Content-Length and chunked,
 * never copied from anybody. Header names and values are checked for CR, LF and NUL. Pure.
 */
#ifndef GV_HTTP_WRITER_H
#define GV_HTTP_WRITER_H

#include "grapevine/base/buf.h"
#include "grapevine/http/head.h"

#define GV_WRITER_CHUNKED     UINT64_MAX       /* body length: sent in chunks */
#define GV_WRITER_UNTIL_CLOSE (UINT64_MAX - 1) /* responses to HTTP/1.0: the end is the close */
#define GV_WRITER_NO_BODY     (UINT64_MAX - 2) /* no framing header: 1xx, 204, 304, GET requests */

/** Append "POST /path HTTP/1.1\r\n" and Host. Errors: GV_EINVAL bad bytes; as gv_buf_append(). */
GV_MUST_USE enum gv_err gv_writer_request(struct gv_buf *out, struct gv_slice method,
                                          struct gv_slice target, struct gv_slice host);

/** Append "HTTP/1.1 200 OK\r\n". */
GV_MUST_USE enum gv_err gv_writer_status(struct gv_buf *out, uint16_t status);

/** Append one header. Errors: GV_EINVAL name is no token, or the value has CR, LF or NUL. */
GV_MUST_USE enum gv_err gv_writer_header(struct gv_buf *out, struct gv_slice name,
                                         struct gv_slice value);

/** Append the framing header for `body_bytes` (or a GV_WRITER_ constant), Connection when `close`,
 * and the blank line. */
GV_MUST_USE enum gv_err gv_writer_end_head(struct gv_buf *out, uint64_t body_bytes, bool close);

/** Write the chunk line for `bytes` (> 0) into `line` (at least 20 bytes); its length. The data and
 * "\r\n" follow. */
size_t gv_writer_chunk_line(char line[20], size_t bytes);

/** The last chunk: "0\r\n\r\n". */
struct gv_slice gv_writer_last_chunk(void);

/** A whole response without its body, as HEAD is answered (RFC 9110, 9.3.2); borrowed from it. */
struct gv_slice gv_writer_head_alone(struct gv_slice response);

#endif
