/* relay.c - see relay.h. */
#include "relay.h"

#include "grapevine/base/assert.h"
#include "grapevine/http/cors.h"
#include "grapevine/http/forward.h"
#include "grapevine/http/writer.h"

static uint64_t framing_of(const struct gv_head *request, const struct gv_head *answer)
{
    if (answer->status == 204 || answer->status == 304) {
        return GV_WRITER_NO_BODY;
    }
    if (answer->has_content_length) {
        return answer->content_length;
    }
    return request->version_minor == 0 ? GV_WRITER_UNTIL_CLOSE : GV_WRITER_CHUNKED;
}

static enum gv_err append_head(const struct gv_relay *relay, const struct gv_relay_start *start,
                               struct gv_buf *out)
{
    enum gv_err err = gv_writer_status(out, start->answer->status);
    for (size_t i = 0; i < start->answer->header_count && err == GV_OK; i++) {
        const struct gv_header *header = &start->answer->headers[i];
        if (gv_forward_response_header(start->answer, i) &&
            !gv_cors_is_ours(start->request, header->name) &&
            !gv_slice_equal_nocase(header->name, gv_slice_text("x-request-id"))) {
            err = gv_writer_header(out, header->name, header->value);
        }
    }
    if (err == GV_OK) {
        err = gv_buf_append(out, start->extra);
    }
    return err == GV_OK ? gv_writer_end_head(out, relay->framing, relay->close) : err;
}

/* The bytes as they go over the wire: with a chunk line around them where chunks are used. */
static enum gv_err append_body(const struct gv_relay *relay, struct gv_slice bytes,
                               struct gv_buf *out)
{
    if (bytes.len == 0 || relay->framing == GV_WRITER_NO_BODY) {
        return GV_OK;
    }
    if (relay->framing != GV_WRITER_CHUNKED) {
        return gv_buf_append(out, bytes);
    }
    char line[20];
    size_t len = gv_writer_chunk_line(line, bytes.len);
    enum gv_err err = gv_buf_append(out, gv_slice_of(line, len));
    if (err == GV_OK) {
        err = gv_buf_append(out, bytes);
    }
    return err == GV_OK ? gv_buf_append_text(out, "\r\n") : err;
}

enum gv_err gv_relay_start(struct gv_relay *relay, struct gv_stream *stream,
                           const struct gv_relay_start *start, struct gv_buf *scratch)
{
    GV_ASSERT(!relay->started);
    relay->stream = stream;
    relay->framing = framing_of(start->request, start->answer);
    relay->close = start->close || relay->framing == GV_WRITER_UNTIL_CLOSE;
    relay->started = true;
    relay->body_bytes = start->first.len;
    gv_buf_clear(scratch);
    enum gv_err err = append_head(relay, start, scratch);
    if (err == GV_OK) {
        err = append_body(relay, start->first, scratch);
    }
    return err == GV_OK ? gv_stream_send(stream, gv_buf_slice(scratch)) : err;
}

enum gv_err gv_relay_body(struct gv_relay *relay, struct gv_slice bytes, struct gv_buf *scratch)
{
    GV_ASSERT(relay->started);
    relay->body_bytes += bytes.len;
    if (relay->framing == GV_WRITER_NO_BODY) {
        return GV_OK;
    }
    if (relay->framing != GV_WRITER_CHUNKED) {
        return gv_stream_send(relay->stream, bytes);
    }
    gv_buf_clear(scratch);
    enum gv_err err = append_body(relay, bytes, scratch);
    return err == GV_OK ? gv_stream_send(relay->stream, gv_buf_slice(scratch)) : err;
}

enum gv_err gv_relay_end(struct gv_relay *relay)
{
    GV_ASSERT(relay->started);
    if (relay->framing != GV_WRITER_CHUNKED) {
        return GV_OK;
    }
    return gv_stream_send(relay->stream, gv_writer_last_chunk());
}
