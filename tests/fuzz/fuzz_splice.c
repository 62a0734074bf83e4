/*
 * fuzz_splice.c - fields set in any body: when something comes out it is an object that has each
 * field exactly once, with our value, and every other member of the body unchanged.
 */
#include "grapevine/base/assert.h"
#include "grapevine/http/splice.h"
#include <jansson.h>
#include <stdlib.h>

#define OUT_BYTES_MAX    ((size_t)4 << 20)
#define SPLICE_DEPTH_MAX 1024

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static json_t *load(struct gv_slice text, size_t flags)
{
    return json_loadb((const char *)text.data, text.len, flags | JSON_ALLOW_NUL, NULL);
}

/* Names of the body may repeat; ours must not, and theirs must not be lost. */
static void check_out(struct gv_slice body, struct gv_slice out)
{
    json_t *before = load(body, 0);
    json_t *after = load(out, 0);
    if (before != NULL) { /* jansson refuses more: a number too large, a lone surrogate */
        GV_ASSERT(after != NULL);
        GV_ASSERT(json_integer_value(json_object_get(after, "room")) == 7);
        (void)json_object_del(before, "room");
        (void)json_object_del(after, "room");
        GV_ASSERT(json_equal(before, after));
    }
    json_decref(before);
    json_decref(after);
}

/* At least as many as it is deep. */
static size_t count_open(struct gv_slice body)
{
    size_t count = 0;
    for (size_t i = 0; i < body.len; i++) {
        count += body.data[i] == '[' || body.data[i] == '{' ? 1 : 0;
    }
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct gv_splice_field field = {"room", gv_slice_of("7", 1)};
    const struct gv_splice_field other = {"room", gv_slice_of("8", 1)};
    struct gv_slice body = gv_slice_of(data, size);
    struct gv_buf once;
    struct gv_buf twice;
    gv_buf_init(&once, GV_MEM_GENERAL, OUT_BYTES_MAX);
    gv_buf_init(&twice, GV_MEM_GENERAL, OUT_BYTES_MAX);
    enum gv_err err = gv_splice(body, &field, 1, &once);
    GV_ASSERT(err == GV_OK || err == GV_EINVAL);
    if (err == GV_OK) {
        check_out(body, gv_buf_slice(&once));
        /* exactly one: replacing it and setting it back changes nothing */
        GV_ASSERT(gv_splice(gv_buf_slice(&once), &other, 1, &twice) == GV_OK);
        GV_ASSERT(twice.len == once.len);
        gv_buf_clear(&twice);
        GV_ASSERT(gv_splice(gv_buf_slice(&once), &field, 1, &twice) == GV_OK);
        GV_ASSERT(gv_slice_equal(gv_buf_slice(&twice), gv_buf_slice(&once)));
    } else if (size == 0 ||
               memchr(data, 0, size) == NULL) { /* jansson swallows a NUL behind a number */
        json_t *tree = load(body, 0);           /* it takes twice the depth */
        GV_ASSERT(tree == NULL || !json_is_object(tree) || count_open(body) > SPLICE_DEPTH_MAX);
        json_decref(tree);
    }
    gv_buf_deinit(&once);
    gv_buf_deinit(&twice);
    return 0;
}
