/*
 * head.c - looking into the head of a message.
 */
#include "grapevine/http/head.h"
#include "grapevine/base/assert.h"

struct gv_slice gv_head_find(const struct gv_head *head, const char *name)
{
    struct gv_slice wanted = gv_slice_text(name);
    if (head->name_lengths != 0 && (head->name_lengths & gv_head_length_bit(wanted.len)) == 0) {
        return gv_slice_of(NULL, 0);
    }
    for (size_t i = 0; i < head->header_count; i++) {
        if (gv_slice_equal_nocase(head->headers[i].name, wanted)) {
            return head->headers[i].value;
        }
    }
    return gv_slice_of(NULL, 0);
}

const char *gv_method_name(enum gv_method method)
{
    static const char *const names[] = {
        [GV_METHOD_GET] = "GET",         [GV_METHOD_HEAD] = "HEAD",   [GV_METHOD_POST] = "POST",
        [GV_METHOD_PUT] = "PUT",         [GV_METHOD_PATCH] = "PATCH", [GV_METHOD_DELETE] = "DELETE",
        [GV_METHOD_OPTIONS] = "OPTIONS", [GV_METHOD_OTHER] = "OTHER",
    };
    _Static_assert(sizeof names / sizeof names[0] == GV_METHOD_COUNT, "a name for every method");
    GV_ASSERT(method >= 0 && method < GV_METHOD_COUNT);
    return names[method];
}
