/*
 * forward.c - one list of names that never pass, and what Connection adds to it.
 */
#include "grapevine/http/forward.h"
#include "grapevine/base/assert.h"
#include "http/token.h"

/* RFC 9110, 7.6.1, and framing, which the writer computes anew. */
static const struct gv_slice hop_by_hop[] = {
    GV_SLICE("connection"),
    GV_SLICE("keep-alive"),
    GV_SLICE("proxy-connection"),
    GV_SLICE("proxy-authenticate"),
    GV_SLICE("proxy-authorization"),
    GV_SLICE("te"),
    GV_SLICE("transfer-encoding"),
    GV_SLICE("trailer"),
    GV_SLICE("upgrade"),
    GV_SLICE("http2-settings"),
    GV_SLICE("content-length"),
};

/* What the router says itself when it asks a worker. */
static const struct gv_slice request_only[] = {GV_SLICE("host"), GV_SLICE("expect")};

static bool is_one_of(struct gv_slice name, const struct gv_slice *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (gv_slice_equal_nocase(name, list[i])) {
            return true;
        }
    }
    return false;
}

/* Their lengths as bits: most names that come are ruled out by theirs. All of them are below 64. */
#define LEN(literal) (UINT64_C(1) << (sizeof(literal) - 1))
static const uint64_t hop_by_hop_lengths =
    LEN("connection") | LEN("keep-alive") | LEN("proxy-connection") | LEN("proxy-authenticate") |
    LEN("proxy-authorization") | LEN("te") | LEN("transfer-encoding") | LEN("trailer") |
    LEN("upgrade") | LEN("http2-settings") | LEN("content-length");

static bool is_hop_by_hop(struct gv_slice name)
{
    if (name.len >= 64 || ((hop_by_hop_lengths >> name.len) & 1) == 0) {
        return false;
    }
    return is_one_of(name, hop_by_hop, sizeof hop_by_hop / sizeof hop_by_hop[0]);
}

static bool is_named_by_connection(const struct gv_head *head, struct gv_slice name)
{
    static const struct gv_slice connection = GV_SLICE("connection");
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
    return !is_hop_by_hop(name) && !is_named_by_connection(head, name);
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
    static const struct gv_slice passing[] = {
        GV_SLICE("authorization"), GV_SLICE("x-request-id"), GV_SLICE("x-correlation-id"),
        GV_SLICE("traceparent"),   GV_SLICE("tracestate"),   GV_SLICE("x-smg-routing-key")};
    static const char family[] = "x-request-id-";
    size_t len = sizeof family - 1;
    GV_ASSERT(index < head->header_count);
    struct gv_slice name = head->headers[index].name;
    bool is_listed = is_one_of(name, passing, sizeof passing / sizeof passing[0]) ||
                     (name.len > len &&
                      gv_slice_equal_nocase(gv_slice_of(name.data, len), gv_slice_text(family)));
    return is_listed && gv_forward_request_header(head, index);
}
