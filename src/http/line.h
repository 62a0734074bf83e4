/*
 * line.h - one line of a head: strict in what it takes, so that nobody behind us reads it
 * otherwise.
 *
 * Lines come without their CRLF. Private to http: the guard calls these for every line. Pure.
 */
#ifndef GV_HTTP_LINE_H
#define GV_HTTP_LINE_H

#include "grapevine/http/head.h"
#include "grapevine/http/problem.h"

#define GV_LINE_METHOD_BYTES_MAX 32
/* What a request line holds besides its target: method, two blanks, "HTTP/1.1". */
#define GV_LINE_REQUEST_EXTRA_BYTES (GV_LINE_METHOD_BYTES_MAX + 10)

/**
 * "POST /x HTTP/1.1": fills method, method_text, target (as sent) and version_minor. HTTP/0.9, any
 * version but 1.0 and 1.1, CONNECT, and targets over `uri_bytes` are refused.
 */
enum gv_problem gv_line_request(struct gv_slice line, size_t uri_bytes, struct gv_head *head);

/** "HTTP/1.1 200 OK": fills status and version_minor. */
enum gv_problem gv_line_status(struct gv_slice line, struct gv_head *head);

/** "Name: value": fills `header`. Folded lines and blanks before the colon are refused. */
enum gv_problem gv_line_header(struct gv_slice line, struct gv_header *header);

/** The same for a line that gv_line_header() has accepted. */
struct gv_header gv_line_split(struct gv_slice line);

#endif
