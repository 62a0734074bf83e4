/*
 * framing.c - the headers that decide, each of them read in the strictest way.
 */
#include "http/framing.h"
#include "grapevine/base/assert.h"
#include "http/authority.h"
#include "http/target.h"
#include "http/token.h"

#define LENGTH_DIGITS_MAX 19

/* What was seen so far in the headers of one head. */
struct seen {
    struct gv_slice host;
    size_t host_count;
    size_t length_count;
    size_t coding_count;
    size_t connection_bytes;
    bool close;
    bool keep_alive;
};

static bool is(struct gv_header header, const char *name)
{
    return gv_slice_equal_nocase(header.name, gv_slice_text(name));
}

/* Was the value set off by a tab? Lawful, but no honest peer does it around a framing header. */
static bool has_tab_around(struct gv_header header)
{
    const uint8_t *from = header.name.data + header.name.len;
    for (const uint8_t *at = from; at < header.value.data; at++) {
        if (*at == '\t') {
            return true;
        }
    }
    return header.value.data[header.value.len] == '\t';
}

static enum gv_problem read_length(struct gv_header header, struct gv_head *head)
{
    struct gv_slice text = header.value;
    if (head->has_content_length || text.len == 0 || text.len > LENGTH_DIGITS_MAX ||
        (text.len > 1 && text.data[0] == '0') || has_tab_around(header) ||
        !gv_slice_to_u64(text, &head->content_length)) {
        return GV_PROBLEM_BAD_FRAMING;
    }
    head->has_content_length = true;
    return GV_PROBLEM_NONE;
}

static enum gv_problem read_coding(struct gv_header header, struct gv_head *head)
{
    if (head->chunked || head->version_minor == 0 || header.value.len == 0 ||
        has_tab_around(header)) {
        return GV_PROBLEM_BAD_FRAMING;
    }
    if (!gv_slice_equal_nocase(header.value, gv_slice_text("chunked"))) {
        return GV_PROBLEM_BAD_CODING;
    }
    head->chunked = true;
    return GV_PROBLEM_NONE;
}

static enum gv_problem read_connection(struct gv_header header, struct seen *seen)
{
    seen->connection_bytes += header.value.len;
    if (seen->connection_bytes > GV_FRAMING_CONNECTION_BYTES_MAX) {
        return GV_PROBLEM_BAD_HEADER;
    }
    seen->close = seen->close || gv_token_list_has(header.value, gv_slice_text("close"));
    seen->keep_alive =
        seen->keep_alive || gv_token_list_has(header.value, gv_slice_text("keep-alive"));
    return GV_PROBLEM_NONE;
}

static enum gv_problem read_expect(struct gv_header header, struct gv_head *head)
{
    if (!gv_slice_equal_nocase(header.value, gv_slice_text("100-continue"))) {
        return GV_PROBLEM_BAD_EXPECT;
    }
    head->expect_continue = head->version_minor == 1;
    return GV_PROBLEM_NONE;
}

/* How long the names are that read_header() looks for: most headers are none of them. */
#define LEN(name) (UINT64_C(1) << (sizeof(name) - 1))
static const uint64_t framing_lengths = LEN("content-length") | LEN("transfer-encoding") |
                                        LEN("connection") | LEN("host") | LEN("expect");

static enum gv_problem read_header(struct gv_header header, bool is_request, struct gv_head *head,
                                   struct seen *seen)
{
    if ((framing_lengths & gv_head_length_bit(header.name.len)) == 0) {
        return GV_PROBLEM_NONE;
    }
    if (is(header, "content-length")) {
        return read_length(header, head);
    }
    if (is(header, "transfer-encoding")) {
        return read_coding(header, head);
    }
    if (is(header, "connection")) {
        return read_connection(header, seen);
    }
    if (is(header, "content_length") || is(header, "transfer_encoding")) {
        return GV_PROBLEM_BAD_FRAMING; /* some engines take '_' for '-' */
    }
    if (is_request && is(header, "host")) {
        seen->host = header.value;
        seen->host_count += 1;
    }
    if (is_request && is(header, "expect")) {
        return read_expect(header, head);
    }
    return GV_PROBLEM_NONE;
}

static enum gv_problem read_headers(struct gv_head *head, bool is_request, struct seen *seen)
{
    for (size_t i = 0; i < head->header_count; i++) {
        enum gv_problem problem = read_header(head->headers[i], is_request, head, seen);
        if (problem != GV_PROBLEM_NONE) {
            return problem;
        }
    }
    if (head->chunked && head->has_content_length) {
        return GV_PROBLEM_BAD_FRAMING;
    }
    head->keep_alive = !seen->close && (head->version_minor == 1 || seen->keep_alive);
    return GV_PROBLEM_NONE;
}

enum gv_problem gv_framing_read_request(struct gv_head *head)
{
    struct seen seen = {0};
    enum gv_problem problem = read_headers(head, true, &seen);
    if (problem != GV_PROBLEM_NONE) {
        return problem;
    }
    struct gv_authority authority;
    bool needed = head->version_minor == 1;
    if (seen.host_count > 1 || (needed && seen.host_count == 0) ||
        (seen.host_count == 1 && !gv_authority_parse(seen.host, &authority))) {
        return GV_PROBLEM_BAD_HOST;
    }
    return gv_target_check(head, seen.host, seen.host_count == 1);
}

enum gv_problem gv_framing_read_response(struct gv_head *head)
{
    struct seen seen = {0};
    enum gv_problem problem = read_headers(head, false, &seen);
    if (problem != GV_PROBLEM_NONE) {
        return problem;
    }
    bool bodiless = head->status < 200 || head->status == 204;
    bool claims_body = head->chunked || (head->has_content_length && head->content_length > 0);
    return bodiless && claims_body ? GV_PROBLEM_BAD_FRAMING : GV_PROBLEM_NONE;
}
