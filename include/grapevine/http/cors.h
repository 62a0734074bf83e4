/*
 * cors.h - what a browser's page from elsewhere may do: the header lines that say so.
 *
 * Without configured origins any page may ask anything, as in the reference product; keys are not
 * cookies, so nothing is asked in a visitor's name. With origins only their pages may.
 * Pure.
 */
#ifndef GV_HTTP_CORS_H
#define GV_HTTP_CORS_H

#include "grapevine/base/buf.h"
#include "grapevine/http/head.h"

struct gv_cors {
    char *const *origins; /* borrowed: "https://chat.example" each; compared as they are */
    size_t count;         /* 0: any origin */
};

/** Append the lines of an answer to `request`; none when it names no origin and any is allowed.
 * Errors: as gv_buf_append(). */
GV_MUST_USE enum gv_err gv_cors_answer(const struct gv_cors *cors, const struct gv_head *request,
                                       struct gv_buf *out);

/** The same for the answer to an OPTIONS request: also methods, headers and how long it holds. */
GV_MUST_USE enum gv_err gv_cors_preflight(const struct gv_cors *cors, const struct gv_head *request,
                                          struct gv_buf *out);

/** Is this a line that only we say when a page asks? A worker's would be a second one. */
bool gv_cors_is_ours(const struct gv_head *request, struct gv_slice name);

#endif
