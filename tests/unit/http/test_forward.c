/*
 * test_forward.c - what passes between client and worker, and what stays on its side.
 */
#include "grapevine/http/forward.h"
#include "support/suite.h"
#include <stdio.h>

#define HEADERS_MAX 8

static struct gv_header headers[HEADERS_MAX];

/* A head of the given names; a name may hold a value: "Connection: x". */
static struct gv_head head_of(const char *const *lines, size_t count)
{
    CU_ASSERT_FATAL(count <= HEADERS_MAX);
    for (size_t i = 0; i < count; i++) {
        const char *colon = strchr(lines[i], ':');
        size_t len = colon == NULL ? strlen(lines[i]) : (size_t)(colon - lines[i]);
        headers[i].name = gv_slice_of(lines[i], len);
        headers[i].value = gv_slice_text(colon == NULL ? "" : colon + 2);
    }
    return (struct gv_head){.headers = headers, .header_count = count};
}

static void what_belongs_to_one_connection_does_not_pass(void)
{
    static const char *const names[] = {"Connection",
                                        "Keep-Alive",
                                        "PROXY-Connection",
                                        "TE",
                                        "Transfer-Encoding",
                                        "Trailer",
                                        "Upgrade",
                                        "content-length",
                                        "Proxy-Authenticate",
                                        "Proxy-Authorization",
                                        "HTTP2-Settings"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct gv_head head = head_of(&names[i], 1);
        CU_ASSERT_FALSE(gv_forward_request_header(&head, 0));
        CU_ASSERT_FALSE(gv_forward_response_header(&head, 0));
    }
}

static void what_the_router_says_itself_is_not_taken_from_the_client(void)
{
    static const char *const names[] = {"hOST", "Expect"};
    struct gv_head head = head_of(names, 2);
    CU_ASSERT_FALSE(gv_forward_request_header(&head, 0));
    CU_ASSERT_FALSE(gv_forward_request_header(&head, 1));
    CU_ASSERT(gv_forward_response_header(&head, 0));
    CU_ASSERT(gv_forward_response_header(&head, 1));
}

static void everything_else_passes_also_when_repeated(void)
{
    static const char *const names[] = {"Authorization", "Content-Type", "Set-Cookie",
                                        "Set-Cookie",    "X-Connection", "Hosts"};
    struct gv_head head = head_of(names, 6);
    for (size_t i = 0; i < 6; i++) {
        CU_ASSERT(gv_forward_request_header(&head, i));
        CU_ASSERT(gv_forward_response_header(&head, i));
    }
}

static void what_connection_names_does_not_pass(void)
{
    static const char *const names[] = {"X-One",  "Connection: close, x-two ,X-THREE",
                                        "x-two",  "X-Three",
                                        "X-Four", "connection: x-four",
                                        "X-Fo"};
    static const bool passes[] = {true, false, false, false, false, false, true};
    struct gv_head head = head_of(names, 7);
    for (size_t i = 0; i < 7; i++) {
        CU_ASSERT_EQUAL(gv_forward_request_header(&head, i), passes[i]);
        CU_ASSERT_EQUAL(gv_forward_response_header(&head, i), passes[i]);
    }
}

static void the_strict_list_lets_only_what_it_names_pass(void)
{
    static const char *const passing[] = {"Authorization",     "X-Request-Id",  "x-correlation-id",
                                          "TraceParent",       "tracestate",    "X-SMG-Routing-Key",
                                          "x-request-id-part", "X-Request-ID-2"};
    static const char *const staying[] = {"Content-Type", "Cookie",        "X-Forwarded-For",
                                          "User-Agent",   "x-request-id-", "x-request-idx",
                                          "Host",         "traceparent2"};
    for (size_t i = 0; i < sizeof passing / sizeof passing[0]; i++) {
        struct gv_head head = head_of(&passing[i], 1);
        CU_ASSERT_TRUE(gv_forward_request_header_strict(&head, 0));
    }
    for (size_t i = 0; i < sizeof staying / sizeof staying[0]; i++) {
        struct gv_head head = head_of(&staying[i], 1);
        CU_ASSERT_FALSE(gv_forward_request_header_strict(&head, 0));
    }
    static const char *const named[] = {"Connection: tracestate", "tracestate"};
    struct gv_head head = head_of(named, 2);
    CU_ASSERT_FALSE(gv_forward_request_header_strict(&head, 1));
}

static void trace_headers_pass_by_default(void)
{
    static const char *const names[] = {"traceparent", "tracestate"};
    struct gv_head head = head_of(names, 2);
    CU_ASSERT_TRUE(gv_forward_request_header(&head, 0));
    CU_ASSERT_TRUE(gv_forward_request_header(&head, 1));
}

GV_SUITE("http/forward", GV_CASE(what_belongs_to_one_connection_does_not_pass),
         GV_CASE(what_the_router_says_itself_is_not_taken_from_the_client),
         GV_CASE(everything_else_passes_also_when_repeated),
         GV_CASE(what_connection_names_does_not_pass),
         GV_CASE(the_strict_list_lets_only_what_it_names_pass),
         GV_CASE(trace_headers_pass_by_default))
