/*
 * splice.h - read, add or replace top-level fields of a JSON object without rewriting the rest.
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

/**
 * The raw value of member `name` (the last of that name) of `object`, borrowed from it. false:
 * there is none, or `object` is not one JSON object up to there.
 */
bool gv_splice_find(struct gv_slice object, const char *name, struct gv_slice *value);

/**
 * The next element of `*array`, which begins as a raw JSON array and is moved on behind the
 * element. false: there is no more, or what is there is not well formed.
 */
bool gv_splice_next(struct gv_slice *array, struct gv_slice *element);

#endif
