/*
 * json.h - walking over a JSON text without building anything: simdjson, behind a C header.
 *
 * The reader copies the text once, unless there is padding behind it (simdjson needs some), finds
 * all brackets, quotes and commas by SIMD, and checks that it is UTF-8. Then callbacks walk down
 * where somebody cares; what nobody walks into is skipped and only its nesting is checked. Slices
 * are the raw bytes as they stand, escapes and all.
 *
 * Private to http: prompt.c is the one user. Pure; one thread per reader.
 */
#ifndef GV_HTTP_JSON_H
#define GV_HTTP_JSON_H

#include "grapevine/base/err.h"
#include "grapevine/base/slice.h"

#ifdef __cplusplus
extern "C" {
#endif

struct gv_json;       /* reusable working memory */
struct gv_json_value; /* valid inside the callback it is given to; to be read at most once */

enum gv_json_kind {
    GV_JSON_NULL = 0,
    GV_JSON_BOOL,
    GV_JSON_NUMBER,
    GV_JSON_STRING,
    GV_JSON_ARRAY,
    GV_JSON_OBJECT,
    GV_JSON_BROKEN /* no JSON value starts here */
};

/* Returning an error ends the walk with that error. `name` is unescaped; both are borrowed for the
 * call. */
typedef enum gv_err (*gv_json_member_fn)(void *owner, struct gv_slice name,
                                         struct gv_json_value *value);
typedef enum gv_err (*gv_json_item_fn)(void *owner, struct gv_json_value *value);

/** Errors: GV_ENOMEM. */
GV_MUST_USE enum gv_err gv_json_new(struct gv_json **json);
void gv_json_free(struct gv_json *json);

/**
 * Walk over the members of `text`, which must be one object; with enough `spare` zero bytes behind
 * it, it is read where it lies. Raw slices given out on the way live
 * until the next call. Errors: GV_EINVAL not JSON; GV_EMISMATCH JSON, but no object; GV_ENOMEM; or
 * what `on_member` returned.
 */
GV_MUST_USE enum gv_err gv_json_read(struct gv_json *json, struct gv_slice text, size_t spare,
                                     gv_json_member_fn on_member, void *owner);

/** Where a raw slice lies in the text of gv_json_read(), in bytes from its start. */
size_t gv_json_offset(const struct gv_json *json, struct gv_slice raw);

/** What kind of value this is, by its first byte. Does not count as reading it. */
enum gv_json_kind gv_json_kind(struct gv_json_value *value);

/** What the first item of an array is, by its first byte; GV_JSON_BROKEN when the array is empty.
 * Does not count as reading it. */
enum gv_json_kind gv_json_first_kind(struct gv_json_value *value);

/** Walk into an object. Errors: GV_EINVAL; or what the callback returned. */
GV_MUST_USE enum gv_err gv_json_members(struct gv_json_value *value, gv_json_member_fn on_member,
                                        void *owner);

/** Walk into an array. Errors: GV_EINVAL; or what the callback returned. */
GV_MUST_USE enum gv_err gv_json_items(struct gv_json_value *value, gv_json_item_fn on_item,
                                      void *owner);

/** The bytes between a string's quotes. Errors: GV_EINVAL. */
GV_MUST_USE enum gv_err gv_json_string(struct gv_json_value *value, struct gv_slice *raw);

/** The bytes of any value, without blanks around. Errors: GV_EINVAL. */
GV_MUST_USE enum gv_err gv_json_raw(struct gv_json_value *value, struct gv_slice *raw);

/** Errors: GV_EINVAL neither true nor false. */
GV_MUST_USE enum gv_err gv_json_bool(struct gv_json_value *value, bool *result);

/** Errors: GV_ERANGE no whole number from 0 to UINT64_MAX. */
GV_MUST_USE enum gv_err gv_json_u64(struct gv_json_value *value, uint64_t *result);

#ifdef __cplusplus
}
#endif

#endif
