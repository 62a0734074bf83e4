/*
 * forward.c - one list of names that never pass, and what Connection adds to it.
 */
#include "grapevine/http/forward.h"
#include "grapevine/base/assert.h"
#include "http/token.h"

/* RFC 9110, 7.6.1, and framing, which the writer computes anew. */
static const char *const hop_by_hop[] = {
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "transfer-encoding",
    "trailer",
    "upgrade",
    "http2-settings",
    "content-length",
};

/* What the router says itself when it asks a worker. */
static const char *const request_only[] = {"host", "expect"};

static bool is_one_of(struct gv_slice name, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (gv_slice_equal_nocase(name, gv_slice_text(list[i]))) {
            return true;
        }
    }
    return false;
}

static bool is_named_by_connection(const struct gv_head *head, struct gv_slice name)
{
    struct gv_slice connection = gv_slice_text("connection");
    for (size_t i = 0; i < head->header_count; i++) {
        if (gv_slice_equal_nocase(head->headers[i].name, connection) &&
            gv_token_list_has(head->headers[i].value, name)) {
            return true;
        }
    }
    return false;
}

bool gv_forward_response_header(const struct gv_head *head, size_t index)
{
    GV_ASSERT(index < head->header_count);
    struct gv_slice name = head->headers[index].name;
    return !is_one_of(name, hop_by_hop, sizeof hop_by_hop / sizeof hop_by_hop[0]) &&
           !is_named_by_connection(head, name);
}

bool gv_forward_request_header(const struct gv_head *head, size_t index)
{
    GV_ASSERT(index < head->header_count);
    return !is_one_of(head->headers[index].name, request_only,
                      sizeof request_only / sizeof request_only[0]) &&
           gv_forward_response_header(head, index);
}

bool gv_forward_request_header_strict(const struct gv_head *head, size_t index)
{
    static const char *const passing[] = {"authorization", "x-request-id", "x-correlation-id",
                                          "traceparent",   "tracestate",   "x-smg-routing-key"};
    static const char family[] = "x-request-id-";
    size_t len = sizeof family - 1;
    GV_ASSERT(index < head->header_count);
    struct gv_slice name = head->headers[index].name;
    bool is_listed = is_one_of(name, passing, sizeof passing / sizeof passing[0]) ||
                     (name.len > len &&
                      gv_slice_equal_nocase(gv_slice_of(name.data, len), gv_slice_text(family)));
    return is_listed && gv_forward_request_header(head, index);
}
