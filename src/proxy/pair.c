/* pair.c - see pair.h. */
#include "pair.h"

#include "grapevine/base/assert.h"
#include "grapevine/http/splice.h"
#include <inttypes.h>

static enum gv_err append_host(const struct gv_pair_meeting *meeting, struct gv_buf *out)
{
    return gv_buf_append_format(out, "\"%s\"", meeting->host);
}

static enum gv_err append_port(const struct gv_pair_meeting *meeting, struct gv_buf *out)
{
    if (meeting->port < 0) {
        return gv_buf_append_text(out, "null");
    }
    return gv_buf_append_format(out, "%" PRId32, meeting->port);
}

enum field {
    FIELD_HOST = 0,
    FIELD_PORT,
    FIELD_ROOM,
    FIELD_COUNT
};

static enum gv_err append_item(const struct gv_pair_meeting *meeting, enum field field, uint32_t i,
                               struct gv_buf *out)
{
    switch (field) {
    case FIELD_HOST:
        return append_host(meeting, out);
    case FIELD_PORT:
        return append_port(meeting, out);
    case FIELD_ROOM:
        return gv_buf_append_format(out, "%" PRIu64, meeting->rooms[i] & GV_PAIR_ROOM_MASK);
    case FIELD_COUNT:
        break;
    }
    GV_ASSERT(!"a field of the meeting");
    return GV_EINVAL;
}

/* One value, or for a batch an array with one value per item. */
static enum gv_err append_value(const struct gv_pair_meeting *meeting, enum field field,
                                struct gv_buf *out)
{
    if (meeting->batch_size == 0) {
        return append_item(meeting, field, 0, out);
    }
    enum gv_err err = gv_buf_append_text(out, "[");
    for (uint32_t i = 0; i < meeting->batch_size && err == GV_OK; i++) {
        if (i > 0) {
            err = gv_buf_append_text(out, ",");
        }
        if (err == GV_OK) {
            err = append_item(meeting, field, i, out);
        }
    }
    return err == GV_OK ? gv_buf_append_text(out, "]") : err;
}

enum gv_err gv_pair_body(struct gv_slice body, const struct gv_pair_meeting *meeting,
                         struct gv_buf *out)
{
    GV_ASSERT(meeting->batch_size <= GV_PAIR_BATCH_MAX);
    GV_ASSERT(meeting->addition_count <= GV_PAIR_ADDITIONS_MAX);
    static const char *const names[FIELD_COUNT] = {"bootstrap_host", "bootstrap_port",
                                                   "bootstrap_room"};
    struct gv_buf values[FIELD_COUNT];
    struct gv_splice_field fields[FIELD_COUNT + GV_PAIR_ADDITIONS_MAX];
    enum gv_err err = GV_OK;
    for (int i = 0; i < FIELD_COUNT; i++) {
        gv_buf_init(&values[i], GV_MEM_EXCHANGE, (size_t)(GV_PAIR_BATCH_MAX + 1) * 264);
    }
    for (int i = 0; i < FIELD_COUNT && err == GV_OK; i++) {
        err = append_value(meeting, (enum field)i, &values[i]);
        fields[i] = (struct gv_splice_field){names[i], gv_buf_slice(&values[i])};
    }
    for (size_t i = 0; i < meeting->addition_count; i++) {
        fields[FIELD_COUNT + i] = meeting->additions[i];
    }
    if (err == GV_OK) {
        err = gv_splice(body, fields, FIELD_COUNT + meeting->addition_count, out);
    }
    for (int i = 0; i < FIELD_COUNT; i++) {
        gv_buf_deinit(&values[i]);
    }
    return err;
}

enum gv_err gv_pair_prefill_body(struct gv_slice body, struct gv_buf *out)
{
    /* The last four would contradict the first two; set only where the client had said them. */
    static const struct {
        const char *name;
        const char *value;
        bool always;
    } changes[] = {
        {"kv_transfer_params", "{\"do_remote_decode\":true,\"do_remote_prefill\":false}", true},
        {"max_tokens", "1", true},
        {"stream", "false", true},
        {"stream_options", "null", false},
        {"max_completion_tokens", "1", false},
        {"min_tokens", "0", false},
        {"n", "1", false},
    };
    struct gv_splice_field fields[sizeof changes / sizeof changes[0]];
    size_t count = 0;
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        struct gv_slice said;
        if (changes[i].always || gv_splice_find(body, changes[i].name, &said)) {
            fields[count++] =
                (struct gv_splice_field){changes[i].name, gv_slice_text(changes[i].value)};
        }
    }
    return gv_splice(body, fields, count, out);
}

enum gv_err gv_pair_decode_body(struct gv_slice body, struct gv_slice answer, struct gv_buf *out)
{
    struct gv_splice_field field = {"kv_transfer_params", gv_slice_text("null")};
    struct gv_slice found;
    if (gv_splice_find(answer, field.name, &found)) {
        field.value = found;
    }
    return gv_splice(body, &field, 1, out);
}
