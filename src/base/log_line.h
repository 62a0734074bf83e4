/*
 * log_line.h - one event as one line of text or of JSON. Pure; private to base.
 *
 * Text: `2026-11-22T15:04:05.123Z INFO worker.ready node=n1 worker=http://w:1 probes=3`. A value is
 * quoted when it is empty or holds a blank, a quote, `=`, a backslash or a control character.
 * Control characters and bytes that are no UTF-8 are escaped in both forms, so that a value can
 * neither end a line nor speak to a terminal.
 */
#ifndef GV_BASE_LOG_LINE_H
#define GV_BASE_LOG_LINE_H

#include "grapevine/base/log.h"

#define GV_LOG_VALUE_MAX_BYTES 512  /* of a value, before escaping */
#define GV_LOG_LINE_MAX_BYTES  8192 /* of a line; fields that do not fit are left out */

enum gv_log_line_form {
    GV_LOG_LINE_TEXT = 0,
    GV_LOG_LINE_JSON
};

struct gv_log_line {
    char bytes[GV_LOG_LINE_MAX_BYTES]; /* ends with a newline; no NUL */
    size_t len;
};

/** Make the line. A field that does not fit whole is left out, and `cut=true` ends the line. */
void gv_log_line_make(struct gv_log_line *line, uint64_t wall_ms, enum gv_log_level level,
                      const char *event, const struct gv_log_field *fields,
                      enum gv_log_line_form form, const char *node);

#endif
