/* merge.c - see merge.h. */
#include "merge.h"

#include "grapevine/base/assert.h"
#include "grapevine/http/splice.h"

void gv_merge_init(struct gv_merge *merge)
{
    *merge = (struct gv_merge){.logprobs = NULL};
    gv_buf_init(&merge->prefill, GV_MEM_BUFFER, GV_MERGE_BYTES_MAX);
    gv_buf_init(&merge->held, GV_MEM_BUFFER, GV_MERGE_BYTES_MAX);
}

void gv_merge_deinit(struct gv_merge *merge)
{
    gv_mem_free(GV_MEM_BUFFER, merge->logprobs);
    gv_buf_deinit(&merge->prefill);
    gv_buf_deinit(&merge->held);
}

void gv_merge_reset(struct gv_merge *merge)
{
    gv_merge_deinit(merge);
    gv_merge_init(merge);
}

/* ---- prefill's part ---- */

void gv_merge_prefill(struct gv_merge *merge, struct gv_slice bytes)
{
    if (!merge->off && gv_buf_append(&merge->prefill, bytes) != GV_OK) {
        merge->off = true;
    }
}

/* The payload of a line "data: {...}"; empty for any other line. */
static struct gv_slice payload_of(struct gv_slice line)
{
    if (!gv_slice_starts_with(line, "data:")) {
        return gv_slice_of(NULL, 0);
    }
    struct gv_slice payload = gv_slice_of(line.data + 5, line.len - 5);
    while (payload.len > 0 &&
           (payload.data[payload.len - 1] == '\n' || payload.data[payload.len - 1] == '\r')) {
        payload.len -= 1;
    }
    payload = gv_slice_trim(payload);
    return payload.len > 0 && payload.data[0] == '{' ? payload : gv_slice_of(NULL, 0);
}

/* A line with its end, or what is left without one. */
static struct gv_slice first_line(struct gv_slice text)
{
    const uint8_t *end = text.len == 0 ? NULL : memchr(text.data, '\n', text.len);
    return end == NULL ? text : gv_slice_of(text.data, (size_t)(end - text.data) + 1);
}

static struct gv_slice behind(struct gv_slice text, size_t bytes)
{
    return gv_slice_of(text.data + bytes, text.len - bytes);
}

static uint64_t index_of(struct gv_slice object, uint64_t otherwise)
{
    struct gv_slice value;
    uint64_t index = 0;
    return gv_splice_find(object, "index", &value) && gv_slice_to_u64(value, &index) ? index
                                                                                     : otherwise;
}

static bool find_logprobs(struct gv_slice object, struct gv_slice *logprobs)
{
    struct gv_slice meta;
    return gv_splice_find(object, "meta_info", &meta) &&
           gv_splice_find(meta, "input_token_logprobs", logprobs);
}

/* Remember what prefill says in `object`, its item `index`. */
static void learn(struct gv_merge *merge, struct gv_slice object, uint64_t index)
{
    struct gv_slice found;
    if (index >= GV_MERGE_ITEMS_MAX || !find_logprobs(object, &found) || found.data[0] != '[') {
        return;
    }
    if (index >= merge->item_count) {
        uint32_t count = (uint32_t)index + 1;
        struct gv_slice *grown =
            gv_mem_resize(GV_MEM_BUFFER, merge->logprobs, count * sizeof *grown);
        if (grown == NULL) {
            merge->off = true;
            return;
        }
        memset(grown + merge->item_count, 0, (count - merge->item_count) * sizeof *grown);
        merge->logprobs = grown;
        merge->item_count = count;
    }
    merge->logprobs[index] = found;
}

void gv_merge_prefill_end(struct gv_merge *merge)
{
    struct gv_slice text = gv_slice_trim(gv_buf_slice(&merge->prefill));
    struct gv_slice element;
    if (text.len > 0 && text.data[0] == '{') {
        learn(merge, text, index_of(text, 0));
    } else if (text.len > 0 && text.data[0] == '[') {
        for (uint64_t i = 0; gv_splice_next(&text, &element); i++) {
            learn(merge, element, index_of(element, i));
        }
    }
    while (text.len > 0 && !merge->off) {
        struct gv_slice line = first_line(text);
        struct gv_slice payload = payload_of(line);
        if (payload.len > 0) {
            learn(merge, payload, index_of(payload, 0));
        }
        text = behind(text, line.len);
    }
}

/* ---- decode's part ---- */

/* What stands between the brackets, without blanks around it. */
static struct gv_slice inside(struct gv_slice array)
{
    GV_ASSERT(array.len >= 2);
    return gv_slice_trim(gv_slice_of(array.data + 1, array.len - 2));
}

static enum gv_err append_joined(struct gv_slice first, struct gv_slice second, struct gv_buf *out)
{
    first = inside(first);
    second = second.data[0] == '[' ? inside(second) : gv_slice_of(NULL, 0);
    enum gv_err err = gv_buf_append_text(out, "[");
    if (err == GV_OK) {
        err = gv_buf_append(out, first);
    }
    if (err == GV_OK && first.len > 0 && second.len > 0) {
        err = gv_buf_append_text(out, ",");
    }
    if (err == GV_OK) {
        err = gv_buf_append(out, second);
    }
    return err == GV_OK ? gv_buf_append_text(out, "]") : err;
}

/* Append `text`, which holds `object`, with the object's log-probabilities joined. */
static enum gv_err append_merged(const struct gv_merge *merge, struct gv_slice text,
                                 struct gv_slice object, uint64_t index, struct gv_buf *out)
{
    struct gv_slice own;
    bool known = index < merge->item_count && merge->logprobs[index].len > 0;
    if (!known || !find_logprobs(object, &own) ||
        (own.data[0] != '[' && !gv_slice_is(own, "null"))) {
        return gv_buf_append(out, text);
    }
    size_t before = (size_t)(own.data - text.data);
    enum gv_err err = gv_buf_append(out, gv_slice_of(text.data, before));
    if (err == GV_OK) {
        err = append_joined(merge->logprobs[index], own, out);
    }
    return err == GV_OK ? gv_buf_append(out, behind(text, before + own.len)) : err;
}

/* A whole answer: an object, or an array of them. */
static enum gv_err append_whole(const struct gv_merge *merge, struct gv_slice text,
                                struct gv_buf *out)
{
    struct gv_slice rest = gv_slice_trim(text);
    if (rest.len == 0 || rest.data[0] != '[') {
        return append_merged(merge, text, rest, index_of(rest, 0), out);
    }
    struct gv_slice element;
    enum gv_err err = GV_OK;
    for (uint64_t i = 0; err == GV_OK && gv_splice_next(&rest, &element); i++) {
        /* Everything up to the element's end, from the end of the one before. */
        struct gv_slice part = gv_slice_of(text.data, (size_t)(rest.data - text.data));
        err = append_merged(merge, part, element, index_of(element, i), out);
        text = behind(text, part.len);
    }
    return err == GV_OK ? gv_buf_append(out, text) : err;
}

static enum gv_err append_line(const struct gv_merge *merge, struct gv_slice line,
                               struct gv_buf *out)
{
    struct gv_slice payload = payload_of(line);
    if (payload.len == 0) {
        return gv_buf_append(out, line);
    }
    return append_merged(merge, line, payload, index_of(payload, 0), out);
}

/* Nothing can be held any more: what is there goes out, and all that comes. */
static enum gv_err give_up(struct gv_merge *merge, struct gv_slice bytes, struct gv_buf *out)
{
    merge->off = true;
    enum gv_err err = gv_buf_append(out, gv_buf_slice(&merge->held));
    gv_buf_reset(&merge->held);
    return err == GV_OK ? gv_buf_append(out, bytes) : err;
}

enum gv_err gv_merge_hold(struct gv_merge *merge, struct gv_slice bytes)
{
    enum gv_err err = gv_buf_append(&merge->held, bytes);
    merge->fresh += err == GV_OK ? bytes.len : 0;
    return err;
}

enum gv_err gv_merge_feed(struct gv_merge *merge, struct gv_slice bytes, struct gv_buf *out)
{
    if (merge->off || gv_merge_hold(merge, bytes) != GV_OK) {
        return give_up(merge, bytes, out);
    }
    enum gv_err err = GV_OK;
    while (merge->stream && err == GV_OK && merge->fresh > 0) {
        struct gv_slice held = gv_buf_slice(&merge->held);
        const uint8_t *end = memchr(held.data + held.len - merge->fresh, '\n', merge->fresh);
        if (end == NULL) {
            break;
        }
        struct gv_slice line = gv_slice_of(held.data, (size_t)(end - held.data) + 1);
        err = append_line(merge, line, out);
        merge->fresh = held.len - line.len;
        gv_buf_consume(&merge->held, line.len);
    }
    if (merge->stream) {
        merge->fresh = 0;
    }
    return err;
}

enum gv_err gv_merge_end(struct gv_merge *merge, struct gv_buf *out)
{
    struct gv_slice rest = gv_buf_slice(&merge->held);
    enum gv_err err = GV_OK;
    if (rest.len > 0) {
        err = merge->stream ? append_line(merge, rest, out) : append_whole(merge, rest, out);
    }
    gv_buf_reset(&merge->held);
    return err;
}
