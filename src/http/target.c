/*
 * target.c - origin-form, absolute-form reduced to it, and nothing that reads in two ways.
 */
#include "http/target.h"
#include "http/token.h"

/* Only bytes a URI may hold, and every escape whole and not a NUL. */
static bool is_clean(struct gv_slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] != '%') {
            if (!gv_token_is_uri_char(text.data[i])) {
                return false;
            }
            continue;
        }
        if (text.len - i < 3) {
            return false;
        }
        int high = gv_token_hex(text.data[i + 1]);
        int low = gv_token_hex(text.data[i + 2]);
        if (high < 0 || low < 0 || (high == 0 && low == 0)) {
            return false;
        }
    }
    return true;
}

/* Is this path segment "." or "..", with any dot written as %2e? */
static bool is_dots(struct gv_slice segment)
{
    size_t dots = 0;
    for (size_t i = 0; i < segment.len; dots++) {
        if (segment.data[i] == '.') {
            i += 1;
        } else if (segment.len - i >= 3 && segment.data[i] == '%' && segment.data[i + 1] == '2' &&
                   (segment.data[i + 2] | 0x20) == 'e') {
            i += 3;
        } else {
            return false;
        }
    }
    return dots == 1 || dots == 2;
}

static bool has_dot_segments(struct gv_slice path)
{
    size_t from = 1;
    for (size_t i = 1; i <= path.len; i++) {
        if (i < path.len && path.data[i] != '/') {
            continue;
        }
        if (is_dots(gv_slice_of(path.data + from, i - from))) {
            return true;
        }
        from = i + 1;
    }
    return false;
}

/* "http://host/path" becomes "/path" when host is what the Host header says. */
static enum gv_problem reduce(struct gv_slice *target, struct gv_slice host, bool has_host)
{
    size_t scheme = 0;
    if (target->len >= 7 &&
        gv_slice_equal_nocase(gv_slice_of(target->data, 7), gv_slice_text("http://"))) {
        scheme = 7;
    } else if (target->len >= 8 &&
               gv_slice_equal_nocase(gv_slice_of(target->data, 8), gv_slice_text("https://"))) {
        scheme = 8;
    } else {
        return GV_PROBLEM_BAD_TARGET;
    }
    struct gv_slice rest = gv_slice_of(target->data + scheme, target->len - scheme);
    size_t len = 0;
    while (len < rest.len && rest.data[len] != '/' && rest.data[len] != '?') {
        len += 1;
    }
    if (!has_host || !gv_slice_equal_nocase(gv_slice_of(rest.data, len), host)) {
        return GV_PROBLEM_BAD_HOST;
    }
    if (len == rest.len) {
        *target = gv_slice_text("/");
        return GV_PROBLEM_NONE;
    }
    if (rest.data[len] == '?') {
        return GV_PROBLEM_BAD_TARGET; /* no path to put in front of the query */
    }
    *target = gv_slice_of(rest.data + len, rest.len - len);
    return GV_PROBLEM_NONE;
}

enum gv_problem gv_target_check(struct gv_head *head, struct gv_slice host, bool has_host)
{
    struct gv_slice target = head->target;
    if (gv_slice_is(target, "*") && head->method == GV_METHOD_OPTIONS) {
        head->path = target;
        head->query = gv_slice_of(NULL, 0);
        return GV_PROBLEM_NONE;
    }
    if (target.len == 0 || !is_clean(target)) {
        return GV_PROBLEM_BAD_TARGET;
    }
    if (target.data[0] != '/') {
        enum gv_problem problem = reduce(&target, host, has_host);
        if (problem != GV_PROBLEM_NONE) {
            return problem;
        }
    }
    const uint8_t *mark = memchr(target.data, '?', target.len);
    size_t len = mark == NULL ? target.len : (size_t)(mark - target.data);
    head->path = gv_slice_of(target.data, len);
    head->query = mark == NULL ? gv_slice_of(NULL, 0) : gv_slice_of(mark + 1, target.len - len - 1);
    head->target = target;
    return has_dot_segments(head->path) ? GV_PROBLEM_BAD_TARGET : GV_PROBLEM_NONE;
}
