/*
 * guard.c - the states of guard.h. Heads are taken a line at a time, body data a span at a time,
 * chunk lines and trailers byte by byte.
 */
#include "http/guard.h"
#include "grapevine/base/assert.h"
#include "http/line.h"
#include "http/token.h"

#define CHUNK_SIZE_DIGITS_MAX 16
#define HEADER_ROOM_STEP      16 /* a resting connection keeps room for few headers */

void gv_guard_init(struct gv_guard *guard, enum gv_parser_kind kind, struct gv_parser_limits limits)
{
    GV_ASSERT(limits.header_count > 0 && limits.header_count <= GV_HEAD_HEADERS_MAX);
    *guard = (struct gv_guard){.kind = kind, .limits = limits};
    gv_buf_init(&guard->text, GV_MEM_BUFFER, limits.head_bytes);
}

void gv_guard_deinit(struct gv_guard *guard)
{
    gv_buf_deinit(&guard->text);
    gv_mem_free(GV_MEM_BUFFER, guard->headers);
}

void gv_guard_reset(struct gv_guard *guard)
{
    gv_buf_clear(&guard->text);
    guard->state = GV_GUARD_START;
    guard->line_at = 0;
    guard->line = (struct gv_head){0};
    guard->header_count = 0;
    guard->blank_line_used = false;
    guard->size_digits = 0;
    guard->left_bytes = 0;
    guard->body_bytes = 0;
    guard->extension_bytes = 0;
    guard->trailer_bytes = 0;
    guard->problem = GV_PROBLEM_NONE;
}

enum gv_err gv_guard_refuse(struct gv_guard *guard, enum gv_problem problem)
{
    GV_ASSERT(problem != GV_PROBLEM_NONE);
    guard->problem = problem;
    if (problem == GV_PROBLEM_OVERLOADED) {
        return GV_ENOMEM;
    }
    if (problem == GV_PROBLEM_BODY_TOO_BIG || problem == GV_PROBLEM_HEAD_TOO_BIG ||
        problem == GV_PROBLEM_URI_TOO_LONG) {
        return GV_ETOOBIG;
    }
    if (problem == GV_PROBLEM_BAD_CODING || problem == GV_PROBLEM_NOT_IMPLEMENTED ||
        problem == GV_PROBLEM_BAD_VERSION) {
        return GV_EUNSUPPORTED;
    }
    return GV_EPROTO;
}

/* The first byte of a message tells most nonsense (TLS, PROXY lines, binary) from HTTP at once. */
static enum gv_err step_start(struct gv_guard *guard, uint8_t c, size_t *taken)
{
    bool is_request = guard->kind == GV_PARSER_REQUEST;
    if (is_request && c == '\r' && !guard->blank_line_used) {
        guard->state = GV_GUARD_START_LF;
        guard->blank_line_used = true;
        *taken = 1;
        return GV_OK;
    }
    if (is_request ? !gv_token_is_char(c) : c != 'H') {
        return gv_guard_refuse(guard, GV_PROBLEM_BAD_SYNTAX);
    }
    guard->state = GV_GUARD_HEAD;
    *taken = 0;
    return GV_OK;
}

/* How long the current line may become, its CRLF included, and what it is when it is longer. The
 * answer depends on the lines before it only, never on how much has come of this one. */
static size_t line_room(const struct gv_guard *guard, enum gv_problem *problem)
{
    size_t room = guard->limits.head_bytes - guard->line_at;
    size_t first_line_room = guard->limits.uri_bytes + GV_LINE_REQUEST_EXTRA_BYTES + 2;
    *problem = GV_PROBLEM_HEAD_TOO_BIG;
    if (guard->kind == GV_PARSER_REQUEST && guard->line_at == 0 && first_line_room < room) {
        *problem = GV_PROBLEM_URI_TOO_LONG;
        return first_line_room;
    }
    return room;
}

/* Room for one header more. */
static bool make_room(struct gv_guard *guard)
{
    if (guard->header_count < guard->header_room) {
        return true;
    }
    uint32_t room = guard->header_room + HEADER_ROOM_STEP;
    struct gv_header *headers =
        gv_mem_resize(GV_MEM_BUFFER, guard->headers, room * sizeof *headers);
    if (headers != NULL) {
        guard->headers = headers;
        guard->header_room = room;
    }
    return headers != NULL;
}

static void follow(struct gv_slice *part, uintptr_t from, const uint8_t *to)
{
    if (part->data != NULL) {
        part->data = to + ((uintptr_t)part->data - from);
    }
}

/* The text was at address `from` and had to move: so must all that was borrowed from it. */
static void follow_text(struct gv_guard *guard, uintptr_t from)
{
    const uint8_t *to = gv_buf_slice(&guard->text).data;
    follow(&guard->line.method_text, from, to);
    follow(&guard->line.target, from, to);
    for (uint32_t i = 0; i < guard->header_count; i++) {
        follow(&guard->headers[i].name, from, to);
        follow(&guard->headers[i].value, from, to);
    }
}

/* A whole line has come: `line` is without its CRLF. */
static enum gv_problem check_line(struct gv_guard *guard, struct gv_slice line)
{
    if (guard->line_at == 0) {
        return guard->kind == GV_PARSER_REQUEST
                   ? gv_line_request(line, guard->limits.uri_bytes, &guard->line)
                   : gv_line_status(line, &guard->line);
    }
    if (line.len == 0) {
        guard->state = GV_GUARD_HEAD_DONE;
        return GV_PROBLEM_NONE;
    }
    if (guard->header_count == guard->limits.header_count) {
        return GV_PROBLEM_HEAD_TOO_BIG;
    }
    if (!make_room(guard)) {
        return GV_PROBLEM_OVERLOADED;
    }
    enum gv_problem problem = gv_line_header(line, &guard->headers[guard->header_count]);
    if (problem == GV_PROBLEM_NONE) {
        guard->line.name_lengths |=
            gv_head_length_bit(guard->headers[guard->header_count].name.len);
        guard->header_count += 1;
    }
    return problem;
}

/* Take bytes up to the end of the line, or all of them. */
static enum gv_err step_head(struct gv_guard *guard, struct gv_slice bytes, size_t *taken)
{
    const uint8_t *end = memchr(bytes.data, '\n', bytes.len);
    size_t take = end == NULL ? bytes.len : (size_t)(end - bytes.data) + 1;
    enum gv_problem problem;
    size_t had = guard->text.len - guard->line_at;
    if (take > line_room(guard, &problem) - had) {
        return gv_guard_refuse(guard, problem);
    }
    uintptr_t was_at = (uintptr_t)guard->text.data;
    enum gv_err err = gv_buf_append(&guard->text, gv_slice_of(bytes.data, take));
    if (err != GV_OK) {
        guard->problem = GV_PROBLEM_OVERLOADED;
        return err;
    }
    if ((uintptr_t)guard->text.data != was_at) {
        follow_text(guard, was_at);
    }
    *taken = take;
    if (end == NULL) {
        return GV_OK;
    }
    struct gv_slice text = gv_buf_slice(&guard->text);
    struct gv_slice line = gv_slice_of(text.data + guard->line_at, text.len - guard->line_at - 1);
    if (line.len == 0 || line.data[line.len - 1] != '\r') {
        return gv_guard_refuse(guard,
                               guard->line_at == 0 ? GV_PROBLEM_BAD_SYNTAX : GV_PROBLEM_BAD_HEADER);
    }
    line.len -= 1;
    problem = check_line(guard, line);
    guard->line_at = text.len;
    return problem == GV_PROBLEM_NONE ? GV_OK : gv_guard_refuse(guard, problem);
}

void gv_guard_fill_head(const struct gv_guard *guard, struct gv_head *head)
{
    GV_ASSERT(guard->state == GV_GUARD_HEAD_DONE);
    *head = guard->line;
    head->headers = guard->headers;
    head->header_count = guard->header_count;
}

/* Count announced body bytes against the limit. */
static enum gv_err announce(struct gv_guard *guard, uint64_t bytes)
{
    if (bytes > guard->limits.body_bytes - guard->body_bytes) {
        return gv_guard_refuse(guard, GV_PROBLEM_BODY_TOO_BIG);
    }
    guard->body_bytes += bytes;
    guard->left_bytes = bytes;
    return GV_OK;
}

enum gv_err gv_guard_begin_body(struct gv_guard *guard, enum gv_guard_state framing, uint64_t bytes)
{
    GV_ASSERT(guard->state == GV_GUARD_HEAD_DONE);
    if (framing == GV_GUARD_LENGTH) {
        enum gv_err err = announce(guard, bytes);
        if (err != GV_OK) {
            return err;
        }
    }
    guard->state = framing == GV_GUARD_LENGTH && bytes == 0 ? GV_GUARD_END : framing;
    return GV_OK;
}

/* Body data: as much as there is, unseen. */
static size_t step_data(struct gv_guard *guard, size_t len)
{
    size_t take = guard->left_bytes < len ? (size_t)guard->left_bytes : len;
    guard->left_bytes -= take;
    if (guard->left_bytes == 0) {
        guard->state = guard->state == GV_GUARD_DATA ? GV_GUARD_DATA_CR : GV_GUARD_END;
    }
    return take;
}

static enum gv_err step_until_close(struct gv_guard *guard, size_t len)
{
    enum gv_err err = announce(guard, len);
    guard->left_bytes = 0;
    return err;
}

/* Extensions are dropped; their bytes count against their own limit. */
static enum gv_err count_extension(struct gv_guard *guard)
{
    guard->extension_bytes += 1;
    if (guard->extension_bytes > guard->limits.chunk_ext_bytes) {
        guard->problem = GV_PROBLEM_BAD_CHUNK;
        return GV_ETOOBIG;
    }
    return GV_OK;
}

/* A byte of a chunk size: digits, then ';' or CR. */
static enum gv_err step_size(struct gv_guard *guard, uint8_t c, enum gv_guard_kind *kind)
{
    int digit = gv_token_hex(c);
    if (digit >= 0 && guard->size_digits < CHUNK_SIZE_DIGITS_MAX) {
        guard->size_digits += 1;
        guard->left_bytes = (guard->left_bytes << 4) | (uint64_t)digit;
        return GV_OK;
    }
    if (guard->size_digits == 0 || (c != '\r' && c != ';')) {
        return gv_guard_refuse(guard, GV_PROBLEM_BAD_CHUNK);
    }
    if (c == '\r') {
        guard->state = GV_GUARD_CHUNK_LF;
        return GV_OK;
    }
    guard->state = GV_GUARD_CHUNK_EXTENSION;
    *kind = GV_GUARD_HIDE;
    return count_extension(guard);
}

static enum gv_err step_extension(struct gv_guard *guard, uint8_t c, enum gv_guard_kind *kind)
{
    if (c == '\r') {
        guard->state = GV_GUARD_CHUNK_LF;
        return GV_OK;
    }
    if (!gv_token_is_value_char(c)) {
        return gv_guard_refuse(guard, GV_PROBLEM_BAD_CHUNK);
    }
    *kind = GV_GUARD_HIDE;
    return count_extension(guard);
}

/* The end of a chunk size line. */
static enum gv_err begin_chunk(struct gv_guard *guard)
{
    uint64_t bytes = guard->left_bytes;
    guard->size_digits = 0;
    guard->state = bytes == 0 ? GV_GUARD_TRAILER_START : GV_GUARD_DATA;
    return announce(guard, bytes);
}

/* The one byte `wanted`, then `next`. */
static enum gv_err step_fixed(struct gv_guard *guard, uint8_t c, uint8_t wanted,
                              enum gv_guard_state next)
{
    if (c != wanted) {
        return gv_guard_refuse(guard, GV_PROBLEM_BAD_CHUNK);
    }
    guard->state = next;
    return GV_OK;
}

/* A byte of a trailer line. Trailers are checked like headers, and then dropped. */
static enum gv_err step_trailer(struct gv_guard *guard, uint8_t c)
{
    bool ok = false;
    if (c == '\r' && guard->state == GV_GUARD_TRAILER_START) {
        guard->state = GV_GUARD_TRAILERS_LF;
        return GV_OK;
    }
    guard->trailer_bytes += 1;
    if (guard->trailer_bytes > guard->limits.trailer_bytes) {
        return gv_guard_refuse(guard, GV_PROBLEM_HEAD_TOO_BIG);
    }
    if (guard->state == GV_GUARD_TRAILER_LF) {
        ok = c == '\n';
        guard->state = GV_GUARD_TRAILER_START;
    } else if (guard->state == GV_GUARD_TRAILER_VALUE) {
        ok = c == '\r' || gv_token_is_value_char(c);
        guard->state = c == '\r' ? GV_GUARD_TRAILER_LF : GV_GUARD_TRAILER_VALUE;
    } else if (guard->state == GV_GUARD_TRAILER_NAME && c == ':') {
        ok = true;
        guard->state = GV_GUARD_TRAILER_VALUE;
    } else {
        ok = gv_token_is_char(c);
        guard->state = GV_GUARD_TRAILER_NAME;
    }
    return ok ? GV_OK : gv_guard_refuse(guard, GV_PROBLEM_BAD_HEADER);
}

enum gv_err gv_guard_step(struct gv_guard *guard, struct gv_slice bytes, size_t *taken,
                          enum gv_guard_kind *kind)
{
    GV_ASSERT(bytes.len > 0);
    uint8_t c = bytes.data[0];
    *kind = GV_GUARD_SHOW;
    *taken = 1;
    switch (guard->state) {
    case GV_GUARD_START:
        *kind = GV_GUARD_HIDE;
        return step_start(guard, c, taken);
    case GV_GUARD_START_LF:
        *kind = GV_GUARD_HIDE;
        guard->state = GV_GUARD_START;
        return c == '\n' ? GV_OK : gv_guard_refuse(guard, GV_PROBLEM_BAD_SYNTAX);
    case GV_GUARD_HEAD:
        *kind = GV_GUARD_HIDE;
        return step_head(guard, bytes, taken);
    case GV_GUARD_LENGTH:
    case GV_GUARD_DATA:
        *taken = step_data(guard, bytes.len);
        return GV_OK;
    case GV_GUARD_UNTIL_CLOSE:
        *taken = bytes.len;
        return step_until_close(guard, bytes.len);
    case GV_GUARD_CHUNK_SIZE:
        return step_size(guard, c, kind);
    case GV_GUARD_CHUNK_EXTENSION:
        return step_extension(guard, c, kind);
    case GV_GUARD_CHUNK_LF:
        return c == '\n' ? begin_chunk(guard) : gv_guard_refuse(guard, GV_PROBLEM_BAD_CHUNK);
    case GV_GUARD_DATA_CR:
        return step_fixed(guard, c, '\r', GV_GUARD_DATA_LF);
    case GV_GUARD_DATA_LF:
        return step_fixed(guard, c, '\n', GV_GUARD_CHUNK_SIZE);
    case GV_GUARD_TRAILER_START:
    case GV_GUARD_TRAILER_NAME:
    case GV_GUARD_TRAILER_VALUE:
    case GV_GUARD_TRAILER_LF:
        *kind = GV_GUARD_HIDE;
        return step_trailer(guard, c);
    case GV_GUARD_TRAILERS_LF:
        *kind = GV_GUARD_HIDE;
        return step_fixed(guard, c, '\n', GV_GUARD_END);
    case GV_GUARD_HEAD_DONE:
    case GV_GUARD_END:
        break;
    }
    GV_ASSERT(false); /* the parser does not feed in these states */
    return GV_EPROTO;
}
