/*
 * head.h - the head of one message: what was asked or answered, and the headers.
 *
 * A plain value; its slices are borrowed from the parser that made it, until that parser's next
 * message. Field names as in RFC 9110 and RFC 9112.
 */
#ifndef GV_HTTP_HEAD_H
#define GV_HTTP_HEAD_H

#include "grapevine/base/slice.h"

#define GV_HEAD_HEADERS_MAX 256 /* hard limit; the configured one is at most this */

enum gv_method {
    GV_METHOD_GET = 0,
    GV_METHOD_HEAD,
    GV_METHOD_POST,
    GV_METHOD_PUT,
    GV_METHOD_PATCH,
    GV_METHOD_DELETE,
    GV_METHOD_OPTIONS,
    GV_METHOD_OTHER, /* a known HTTP method we do not serve: answered 405 or 501 */
    GV_METHOD_COUNT
};

struct gv_header {
    struct gv_slice name;  /* as sent */
    struct gv_slice value; /* without surrounding blanks */
};

struct gv_head {
    enum gv_method method; /* requests */
    struct gv_slice method_text;
    struct gv_slice target; /* requests: as sent, origin-form ("/v1/models?x=1") */
    struct gv_slice path;   /* requests: target without query */
    struct gv_slice query;  /* requests: after '?', may be empty */
    uint16_t status;        /* responses */
    uint8_t version_minor;  /* HTTP/1.x */
    bool keep_alive;        /* the connection may be used again after this message */
    bool chunked;           /* Transfer-Encoding: chunked */
    bool has_content_length;
    bool expect_continue;            /* requests: Expect: 100-continue */
    uint64_t content_length;         /* bytes, when has_content_length */
    const struct gv_header *headers; /* borrowed */
    size_t header_count;
    uint64_t name_lengths; /* gv_head_length_bit() of each header's name; 0: not known */
};

/** The bit of gv_head.name_lengths for a name of `len` bytes: most names that are looked for are in
 * no header of a head, and none there is even as long. */
static inline uint64_t gv_head_length_bit(size_t len)
{
    return UINT64_C(1) << (len < 63 ? len : 63);
}

/** The value of the first header `name` (any case), or an empty slice with data NULL. */
struct gv_slice gv_head_find(const struct gv_head *head, const char *name);

/** "POST" for GV_METHOD_POST. */
const char *gv_method_name(enum gv_method method);

#endif
