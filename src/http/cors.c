/*
 * cors.c - see cors.h. The values of the Fetch standard's access-control headers.
 */
#include "grapevine/http/cors.h"
#include "grapevine/base/assert.h"
#include "grapevine/http/writer.h"

#define LISTED_METHODS "GET, POST, PUT, PATCH, DELETE, OPTIONS"
#define LISTED_HEADERS "authorization, content-type"
#define MAX_AGE_S      "3600"

static enum gv_err add(struct gv_buf *out, const char *name, struct gv_slice value)
{
    return gv_writer_header(out, gv_slice_text(name), value);
}

static bool is_listed(const struct gv_cors *cors, struct gv_slice origin)
{
    for (size_t i = 0; i < cors->count; i++) {
        if (gv_slice_is(origin, cors->origins[i])) {
            return true;
        }
    }
    return false;
}

/* Who may read the answer, and what of its head. `*may`: this page. */
static enum gv_err add_origin(const struct gv_cors *cors, const struct gv_head *request,
                              struct gv_buf *out, bool *may)
{
    struct gv_slice origin = gv_head_find(request, "origin");
    GV_ASSERT(cors->count == 0 || cors->origins != NULL);
    *may = origin.len > 0 && (cors->count == 0 || is_listed(cors, origin));
    enum gv_err err = GV_OK;
    if (cors->count > 0) {
        err = add(out, "Vary", gv_slice_text("Origin"));
    }
    if (err != GV_OK || !*may) {
        return err;
    }
    err = add(out, "Access-Control-Allow-Origin", cors->count == 0 ? gv_slice_text("*") : origin);
    return err == GV_OK ? add(out, "Access-Control-Expose-Headers",
                              gv_slice_text(cors->count == 0 ? "*" : "x-request-id"))
                        : err;
}

enum gv_err gv_cors_answer(const struct gv_cors *cors, const struct gv_head *request,
                           struct gv_buf *out)
{
    bool may;
    return add_origin(cors, request, out, &may);
}

/* What was asked for, or when nothing was, everything. A star would not cover Authorization. */
static struct gv_slice asked(const struct gv_head *request, const char *name)
{
    struct gv_slice value = gv_head_find(request, name);
    return value.len > 0 ? value : gv_slice_text("*");
}

enum gv_err gv_cors_preflight(const struct gv_cors *cors, const struct gv_head *request,
                              struct gv_buf *out)
{
    bool may;
    bool any = cors->count == 0;
    enum gv_err err = add_origin(cors, request, out, &may);
    if (err != GV_OK || !may) {
        return err;
    }
    err =
        add(out, "Access-Control-Allow-Methods",
            any ? asked(request, "access-control-request-method") : gv_slice_text(LISTED_METHODS));
    if (err == GV_OK) {
        err = add(out, "Access-Control-Allow-Headers",
                  any ? asked(request, "access-control-request-headers")
                      : gv_slice_text(LISTED_HEADERS));
    }
    return err == GV_OK ? add(out, "Access-Control-Max-Age", gv_slice_text(MAX_AGE_S)) : err;
}

bool gv_cors_is_ours(const struct gv_head *request, struct gv_slice name)
{
    static const char family[] = "access-control-";
    size_t len = sizeof family - 1;
    return name.len >= len &&
           gv_slice_equal_nocase(gv_slice_of(name.data, len), gv_slice_text(family)) &&
           gv_head_find(request, "origin").len > 0;
}
