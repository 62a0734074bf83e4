/* rerank.c - see rerank.h. The engine's items are copied as they stand. */
#include "rerank.h"

#include "grapevine/http/splice.h"
#include <inttypes.h>

#define UNKNOWN "\"unknown\""

struct wish {
    uint64_t most;         /* results */
    bool bare;             /* without documents */
    struct gv_slice model; /* raw JSON */
};

static struct wish read_wish(struct gv_slice request)
{
    struct wish wish = {.most = UINT64_MAX, .model = gv_slice_text(UNKNOWN)};
    struct gv_slice value;
    if (gv_splice_find(request, "model", &value) && value.len > 2 && value.data[0] == '"') {
        wish.model = value;
    }
    if (gv_splice_find(request, "top_k", &value)) {
        (void)gv_slice_to_u64(value, &wish.most);
    }
    wish.bare = gv_splice_find(request, "return_documents", &value) && gv_slice_is(value, "false");
    return wish;
}

static enum gv_err append_item(struct gv_slice item, const struct wish *wish, bool first,
                               struct gv_buf *out)
{
    enum gv_err err = first ? GV_OK : gv_buf_append_text(out, ",");
    if (err == GV_OK && wish->bare) {
        struct gv_splice_field none = {"document", gv_slice_text("null")};
        err = gv_splice(item, &none, 1, out);
    } else if (err == GV_OK) {
        err = gv_buf_append(out, item);
    }
    return err;
}

/* The first `most` items. Errors: GV_EINVAL one is no object, or the array has no end. */
static enum gv_err append_items(struct gv_slice array, const struct wish *wish, struct gv_buf *out)
{
    struct gv_slice item;
    enum gv_err err = GV_OK;
    uint64_t count = 0;
    for (; err == GV_OK && gv_splice_next(&array, &item); count++) {
        if (item.data[0] != '{') {
            return GV_EINVAL;
        }
        if (count < wish->most) {
            err = append_item(item, wish, count == 0, out);
        }
    }
    struct gv_slice rest = gv_slice_trim(array);
    if (count == 0 && rest.len > 0) { /* "[" and "]" with nothing between */
        rest = gv_slice_trim(gv_slice_of(rest.data + 1, rest.len - 1));
    }
    return err == GV_OK && !gv_slice_is(rest, "]") ? GV_EINVAL : err;
}

static enum gv_err build(const struct wish *wish, struct gv_slice array, const char *id,
                         uint64_t created_s, struct gv_buf *out)
{
    enum gv_err err = gv_buf_append_text(out, "{\"results\":[");
    if (err == GV_OK) {
        err = append_items(array, wish, out);
    }
    if (err == GV_OK) {
        err = gv_buf_append_text(out, "],\"model\":");
    }
    if (err == GV_OK) {
        err = gv_buf_append(out, wish->model);
    }
    if (err == GV_OK) {
        err = gv_buf_append_format(out,
                                   ",\"usage\":null,\"object\":\"rerank\",\"id\":\"%s\","
                                   "\"created\":%" PRIu64 "}",
                                   id, created_s);
    }
    return err;
}

/* May it stand between quotes as it is? An id that a client gave may hold tabs, and bytes that are
 * no UTF-8. */
static bool is_plain(const char *id)
{
    for (; *id != '\0'; id++) {
        if (*id < ' ' || *id > '~' || *id == '"' || *id == '\\') {
            return false;
        }
    }
    return true;
}

enum gv_err gv_rerank_build(struct gv_slice request, struct gv_slice answer, const char *id,
                            uint64_t created_s, struct gv_buf *out)
{
    struct gv_slice text = gv_slice_trim(answer);
    while (text.len > 0 && (text.data[text.len - 1] == '\n' || text.data[text.len - 1] == '\r')) {
        text = gv_slice_trim(gv_slice_of(text.data, text.len - 1));
    }
    if (text.len == 0 || (text.data[0] != '[' && text.data[0] != '{')) {
        return GV_EINVAL;
    }
    if (text.data[0] == '{') {
        return gv_buf_append(out, answer);
    }
    struct wish wish = read_wish(request);
    return build(&wish, text, is_plain(id) ? id : "", created_s, out);
}
