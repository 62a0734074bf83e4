/*
 * problem.c - the table of problems, and how one becomes a response.
 */
#include "grapevine/http/problem.h"
#include "grapevine/base/assert.h"
#include "grapevine/http/writer.h"

#define RETRY_AFTER_S "1"

#define TRY(call)                                                                                  \
    do {                                                                                           \
        enum gv_err try_err = (call);                                                              \
        if (try_err != GV_OK) {                                                                    \
            return try_err;                                                                        \
        }                                                                                          \
    } while (0)

static const struct row {
    uint16_t status;
    const char *type;
    const char *code;
    const char *text;
} rows[] = {
#define GV_PROBLEM_ROW(name, status, type, code, text) {status, type, code, text},
    GV_PROBLEM_LIST(GV_PROBLEM_ROW)
#undef GV_PROBLEM_ROW
};

static const struct row *row_of(enum gv_problem problem)
{
    GV_ASSERT(problem >= 0 && problem < GV_PROBLEM_COUNT);
    return &rows[problem];
}

uint16_t gv_problem_status(enum gv_problem problem)
{
    return row_of(problem)->status;
}

const char *gv_problem_code(enum gv_problem problem)
{
    return row_of(problem)->code;
}

const char *gv_problem_text(enum gv_problem problem)
{
    return row_of(problem)->text;
}

/* How many bytes the valid UTF-8 character at `text` has; 0 when it is none. The NUL at the end of
 * `text` is no continuation byte, so nothing is read beyond it. */
static size_t character_bytes(const uint8_t *text)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    uint8_t c = text[0];
    if (c < 0x80) {
        return 1;
    }
    size_t len = c >= 0xf0 ? 4 : (c >= 0xe0 ? 3 : 2);
    if (c < 0xc2 || c > 0xf4) {
        return 0;
    }
    uint32_t point = c & (0x7fu >> len);
    for (size_t i = 1; i < len; i++) {
        if ((text[i] & 0xc0) != 0x80) {
            return 0;
        }
        point = (point << 6) | (text[i] & 0x3fu);
    }
    bool bad = point < smallest[len] || point > 0x10ffff || (point >= 0xd800 && point < 0xe000);
    return bad ? 0 : len;
}

/* Append `text` as the inside of a JSON string; what is no UTF-8 becomes '?'. */
static enum gv_err append_escaped(struct gv_buf *out, const char *text)
{
    for (const uint8_t *at = (const uint8_t *)text; *at != 0;) {
        size_t len = character_bytes(at);
        if (len == 0) {
            TRY(gv_buf_append_text(out, "?"));
            len = 1;
        } else if (*at == '"' || *at == '\\') {
            TRY(gv_buf_append_format(out, "\\%c", *at));
        } else if (*at < 0x20) {
            TRY(gv_buf_append_format(out, "\\u%04x", (unsigned)*at));
        } else {
            TRY(gv_buf_append(out, gv_slice_of(at, len)));
        }
        at += len;
    }
    return GV_OK;
}

enum gv_err gv_problem_body(enum gv_problem problem, const char *detail, struct gv_buf *out)
{
    const struct row *row = row_of(problem);
    TRY(gv_buf_append_text(out, "{\"error\":{\"message\":\""));
    TRY(append_escaped(out, row->text));
    if (detail != NULL && detail[0] != 0) {
        TRY(gv_buf_append_text(out, ": "));
        TRY(append_escaped(out, detail));
    }
    return gv_buf_append_format(out, "\",\"type\":\"%s\",\"code\":\"%s\",\"param\":null}}",
                                row->type, row->code);
}

static enum gv_err append_head(enum gv_problem problem, struct gv_slice headers, size_t body_bytes,
                               bool close, struct gv_buf *out)
{
    TRY(gv_writer_status(out, gv_problem_status(problem)));
    TRY(gv_writer_header(out, gv_slice_text("Content-Type"), gv_slice_text("application/json")));
    TRY(gv_writer_header(out, gv_slice_text("X-SMG-Error-Code"),
                         gv_slice_text(gv_problem_code(problem))));
    if (problem == GV_PROBLEM_TOO_MANY || problem == GV_PROBLEM_QUEUE_TIMEOUT ||
        problem == GV_PROBLEM_STARTING || problem == GV_PROBLEM_DRAINING) {
        TRY(gv_writer_header(out, gv_slice_text("Retry-After"), gv_slice_text(RETRY_AFTER_S)));
    }
    TRY(gv_buf_append(out, headers));
    return gv_writer_end_head(out, body_bytes, close);
}

enum gv_err gv_problem_response(enum gv_problem problem, const char *detail, const char *request_id,
                                bool close, struct gv_buf *out)
{
    struct gv_buf lines;
    gv_buf_init(&lines, out->kind, out->max_bytes);
    enum gv_err err = GV_OK;
    if (request_id != NULL) {
        err = gv_writer_header(&lines, gv_slice_text("x-request-id"), gv_slice_text(request_id));
    }
    if (err == GV_OK) {
        err = gv_problem_response_with(problem, detail, gv_buf_slice(&lines), close, out);
    }
    gv_buf_deinit(&lines);
    return err;
}

enum gv_err gv_problem_response_with(enum gv_problem problem, const char *detail,
                                     struct gv_slice headers, bool close, struct gv_buf *out)
{
    struct gv_buf body;
    gv_buf_init(&body, out->kind, out->max_bytes);
    enum gv_err err = gv_problem_body(problem, detail, &body);
    if (err == GV_OK) {
        err = append_head(problem, headers, body.len, close, out);
    }
    if (err == GV_OK) {
        err = gv_buf_append(out, gv_buf_slice(&body));
    }
    gv_buf_deinit(&body);
    return err;
}
