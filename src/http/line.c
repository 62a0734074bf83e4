/*
 * line.c - request lines, status lines and header lines, by the letter of RFC 9112.
 */
#include "http/line.h"
#include "grapevine/base/assert.h"
#include "http/token.h"

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

/* "HTTP/1.1" */
static enum gv_problem read_version(struct gv_slice text, uint8_t *minor)
{
    if (text.len != 8 || memcmp(text.data, "HTTP/", 5) != 0 || !is_digit(text.data[5]) ||
        text.data[6] != '.' || !is_digit(text.data[7])) {
        return GV_PROBLEM_BAD_SYNTAX;
    }
    if (text.data[5] != '1' || text.data[7] > '1') {
        return GV_PROBLEM_BAD_VERSION;
    }
    *minor = (uint8_t)(text.data[7] - '0');
    return GV_PROBLEM_NONE;
}

static enum gv_method method_of(struct gv_slice text)
{
    for (int method = 0; method < GV_METHOD_OTHER; method++) {
        if (gv_slice_is(text, gv_method_name((enum gv_method)method))) {
            return (enum gv_method)method;
        }
    }
    return GV_METHOD_OTHER;
}

/* Take the bytes before the next blank off `*rest`, and the blank. */
static bool take_word(struct gv_slice *rest, struct gv_slice *word)
{
    const uint8_t *blank = rest->len == 0 ? NULL : memchr(rest->data, ' ', rest->len);
    if (blank == NULL) {
        return false;
    }
    *word = gv_slice_of(rest->data, (size_t)(blank - rest->data));
    *rest = gv_slice_of(blank + 1, rest->len - word->len - 1);
    return true;
}

enum gv_problem gv_line_request(struct gv_slice line, size_t uri_bytes, struct gv_head *head)
{
    if (gv_token_has_control(line)) {
        return GV_PROBLEM_BAD_SYNTAX;
    }
    struct gv_slice method;
    struct gv_slice target;
    if (!take_word(&line, &method) || !gv_token_is(method) ||
        method.len > GV_LINE_METHOD_BYTES_MAX || !take_word(&line, &target) || target.len == 0) {
        return GV_PROBLEM_BAD_SYNTAX;
    }
    if (target.len > uri_bytes) {
        return GV_PROBLEM_URI_TOO_LONG;
    }
    enum gv_problem problem = read_version(line, &head->version_minor);
    if (problem != GV_PROBLEM_NONE) {
        return problem;
    }
    if (gv_slice_is(method, "CONNECT")) {
        return GV_PROBLEM_NOT_IMPLEMENTED;
    }
    head->method = method_of(method);
    head->method_text = method;
    head->target = target;
    return GV_PROBLEM_NONE;
}

enum gv_problem gv_line_status(struct gv_slice line, struct gv_head *head)
{
    if (!gv_token_is_value(line)) {
        return GV_PROBLEM_BAD_SYNTAX;
    }
    struct gv_slice version;
    if (!take_word(&line, &version)) {
        return GV_PROBLEM_BAD_SYNTAX;
    }
    enum gv_problem problem = read_version(version, &head->version_minor);
    if (problem != GV_PROBLEM_NONE) {
        return problem;
    }
    uint64_t status;
    if (line.len < 3 || !gv_slice_to_u64(gv_slice_of(line.data, 3), &status) || status < 100 ||
        status > 599 || (line.len > 3 && line.data[3] != ' ')) {
        return GV_PROBLEM_BAD_SYNTAX;
    }
    head->status = (uint16_t)status;
    return GV_PROBLEM_NONE;
}

static struct gv_header split_at(struct gv_slice line, size_t colon)
{
    return (struct gv_header){
        .name = gv_slice_of(line.data, colon),
        .value = gv_slice_trim(gv_slice_of(line.data + colon + 1, line.len - colon - 1)),
    };
}

struct gv_header gv_line_split(struct gv_slice line)
{
    const uint8_t *colon = memchr(line.data, ':', line.len);
    GV_ASSERT(colon != NULL);
    return split_at(line, (size_t)(colon - line.data));
}

enum gv_problem gv_line_header(struct gv_slice line, struct gv_header *header)
{
    const uint8_t *colon = line.len == 0 ? NULL : memchr(line.data, ':', line.len);
    if (colon == NULL) {
        return GV_PROBLEM_BAD_HEADER;
    }
    struct gv_header result = split_at(line, (size_t)(colon - line.data));
    if (!gv_token_is(result.name)) {
        return GV_PROBLEM_BAD_HEADER; /* also a folded line and a blank before the colon */
    }
    /* around the value are only blanks and tabs */
    if (!gv_token_is_value(result.value)) {
        return GV_PROBLEM_BAD_HEADER;
    }
    *header = result;
    return GV_PROBLEM_NONE;
}
