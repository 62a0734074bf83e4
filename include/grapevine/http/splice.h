/*
 * splice.h - add or replace top-level fields of a JSON object without rewriting the rest.
 */
#ifndef GV_HTTP_SPLICE_H
#define GV_HTTP_SPLICE_H

#include "grapevine/base/buf.h"

struct gv_splice_field {
    const char *name;      /* without quotes, needs no escaping */
    struct gv_slice value; /* raw JSON */
};

/**
 * Append to `out` the object `body` with `fields` set: existing top-level members of these names
 * (all of them, also duplicates, also with escaped spellings) are dropped, the new ones put first;
 * every other byte is copied as it stands. `body` must be one JSON object. Errors: GV_EINVAL not an
 * object or malformed; as gv_buf_append().
 */
GV_MUST_USE enum gv_err gv_splice(struct gv_slice body, const struct gv_splice_field *fields,
                                  size_t count, struct gv_buf *out);

#endif
