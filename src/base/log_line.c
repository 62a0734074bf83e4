/*
 * log_line.c - the two spellings of a log line.
 */
#include "log_line.h"
#include "grapevine/base/assert.h"
#include "grapevine/base/text.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <time.h>

#define TAIL_BYTES 32 /* kept free for `,"cut":true}` and the newline */

/* A pen that remembers when the paper was too short. */
struct pen {
    char *bytes;
    size_t at;
    size_t room;
    bool is_over;
};

static void put(struct pen *pen, const char *bytes, size_t len)
{
    if (pen->is_over || len > pen->room - pen->at) {
        pen->is_over = true;
        return;
    }
    memcpy(pen->bytes + pen->at, bytes, len);
    pen->at += len;
}

static void put_text(struct pen *pen, const char *text)
{
    put(pen, text, strlen(text));
}

static bool needs_quotes(struct gv_slice value)
{
    for (size_t i = 0; i < value.len;) {
        size_t len = gv_text_character(value.data + i, value.len - i);
        if (len == 0 || gv_text_is_control(value.data + i, len) ||
            memchr(" \"=\\", value.data[i], 4) != NULL) {
            return true;
        }
        i += len;
    }
    return value.len == 0;
}

static void put_escaped_byte(struct pen *pen, uint8_t byte)
{
    char escape[8];
    int made = snprintf(escape, sizeof escape, "\\x%02x", (unsigned)byte);
    put(pen, escape, (size_t)made);
}

static void put_json_escape(struct pen *pen, const uint8_t *data, size_t len)
{
    char escape[8];
    unsigned code = len == 2 ? data[1] : data[0]; /* U+0080..9F end in their second byte */
    int made = snprintf(escape, sizeof escape, "\\u%04x", code);
    put(pen, escape, (size_t)made);
}

/* One character, or one byte that is none; returns how many bytes were read. */
static size_t put_character(struct pen *pen, struct gv_slice rest, enum gv_log_line_form form)
{
    size_t len = gv_text_character(rest.data, rest.len);
    if (len == 0 && form == GV_LOG_LINE_JSON) {
        put_text(pen, "\\ufffd");
        return 1;
    }
    if (len == 0) {
        put_escaped_byte(pen, rest.data[0]);
        return 1;
    }
    if (rest.data[0] == '"' || rest.data[0] == '\\') {
        put_text(pen, rest.data[0] == '"' ? "\\\"" : "\\\\");
    } else if (rest.data[0] == '\n') {
        put_text(pen, "\\n");
    } else if (!gv_text_is_control(rest.data, len)) {
        put(pen, (const char *)rest.data, len);
    } else if (form == GV_LOG_LINE_JSON) {
        put_json_escape(pen, rest.data, len);
    } else {
        for (size_t i = 0; i < len; i++) {
            put_escaped_byte(pen, rest.data[i]);
        }
    }
    return len;
}

/* Cut at the limit, and not inside a character. */
static struct gv_slice cut(struct gv_slice value)
{
    if (value.len > GV_LOG_VALUE_MAX_BYTES) {
        value.len = GV_LOG_VALUE_MAX_BYTES;
        while (value.len > GV_LOG_VALUE_MAX_BYTES - 3 && (value.data[value.len] & 0xc0) == 0x80) {
            value.len -= 1;
        }
    }
    return value;
}

static void put_bytes(struct pen *pen, struct gv_slice value, enum gv_log_line_form form)
{
    value = cut(value);
    bool is_quoted = form == GV_LOG_LINE_JSON || needs_quotes(value);
    if (is_quoted) {
        put_text(pen, "\"");
    }
    for (size_t i = 0; i < value.len;) {
        i += put_character(pen, gv_slice_of(value.data + i, value.len - i), form);
    }
    if (is_quoted) {
        put_text(pen, "\"");
    }
}

static void put_double(struct pen *pen, double value, enum gv_log_line_form form)
{
    char number[40];
    if (form == GV_LOG_LINE_JSON && !isfinite(value)) {
        put_text(pen, "null"); /* JSON has no such number */
        return;
    }
    int made = snprintf(number, sizeof number, "%.6g", value);
    put(pen, number, (size_t)made);
}

static void put_value(struct pen *pen, const struct gv_log_field *field, enum gv_log_line_form form)
{
    char number[24];
    int made = 0;
    switch (field->type) {
    case GV_LOG_END:
        break;
    case GV_LOG_TEXT:
        put_bytes(pen, gv_slice_text(field->as.text == NULL ? "-" : field->as.text), form);
        break;
    case GV_LOG_SLICE:
        put_bytes(pen, field->as.slice, form);
        break;
    case GV_LOG_SIGNED:
        made = snprintf(number, sizeof number, "%" PRId64, field->as.i);
        put(pen, number, (size_t)made);
        break;
    case GV_LOG_UNSIGNED:
        made = snprintf(number, sizeof number, "%" PRIu64, field->as.u);
        put(pen, number, (size_t)made);
        break;
    case GV_LOG_DOUBLE:
        put_double(pen, field->as.d, form);
        break;
    case GV_LOG_BOOL:
        put_text(pen, field->as.b ? "true" : "false");
        break;
    }
}

static void put_field(struct pen *pen, const struct gv_log_field *field, enum gv_log_line_form form)
{
    size_t before = pen->at;
    put_text(pen, form == GV_LOG_LINE_JSON ? ",\"" : " ");
    put_text(pen, field->key);
    put_text(pen, form == GV_LOG_LINE_JSON ? "\":" : "=");
    put_value(pen, field, form);
    if (pen->is_over) {
        pen->at = before;
    }
}

static void put_head(struct pen *pen, uint64_t wall_ms, enum gv_log_level level, const char *event,
                     enum gv_log_line_form form)
{
    static const char *const names[] = {"DEBUG", "INFO", "WARN", "ERROR"};
    static const char *const small_names[] = {"debug", "info", "warn", "error"};
    GV_ASSERT((unsigned)level < GV_LOG_LEVEL_COUNT);
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm day;
    char stamp[40];
    GV_ASSERT(gmtime_r(&seconds, &day) != NULL);
    size_t len = strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &day);
    (void)snprintf(stamp + len, sizeof stamp - len, ".%03uZ", (unsigned)(wall_ms % 1000));
    if (form == GV_LOG_LINE_JSON) {
        put_text(pen, "{\"time\":\"");
        put_text(pen, stamp);
        put_text(pen, "\",\"level\":\"");
        put_text(pen, small_names[level]);
        put_text(pen, "\",\"event\":\"");
        put_text(pen, event);
        put_text(pen, "\"");
    } else {
        put_text(pen, stamp);
        put_text(pen, " ");
        put_text(pen, names[level]);
        put_text(pen, " ");
        put_text(pen, event);
    }
}

void gv_log_line_make(struct gv_log_line *line, uint64_t wall_ms, enum gv_log_level level,
                      const char *event, const struct gv_log_field *fields,
                      enum gv_log_line_form form, const char *node)
{
    struct pen pen = {.bytes = line->bytes, .room = sizeof line->bytes - TAIL_BYTES};
    put_head(&pen, wall_ms, level, event, form);
    if (node != NULL) {
        struct gv_log_field field = GV_STR("node", node);
        put_field(&pen, &field, form);
    }
    for (size_t i = 0; fields[i].key != NULL && !pen.is_over; i++) {
        put_field(&pen, &fields[i], form);
    }
    bool was_cut = pen.is_over;
    pen.is_over = false;
    pen.room = sizeof line->bytes;
    if (was_cut) {
        put_text(&pen, form == GV_LOG_LINE_JSON ? ",\"cut\":true" : " cut=true");
    }
    put_text(&pen, form == GV_LOG_LINE_JSON ? "}\n" : "\n");
    GV_ASSERT(!pen.is_over);
    line->len = pen.at;
}
