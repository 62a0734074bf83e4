/*
 * writer.c - heads and chunk lines, checked byte by byte before they leave.
 */
#include "grapevine/http/writer.h"
#include "grapevine/base/assert.h"
#include "grapevine/http/status.h"
#include "http/token.h"
#include <string.h>

#define TRY(call)                                                                                  \
    do {                                                                                           \
        enum gv_err try_err = (call);                                                              \
        if (try_err != GV_OK) {                                                                    \
            return try_err;                                                                        \
        }                                                                                          \
    } while (0)

/* A target that ends the request line early would let its author write the rest of the head. */
static bool is_target(struct gv_slice target)
{
    for (size_t i = 0; i < target.len; i++) {
        if (target.data[i] <= ' ' || target.data[i] >= 0x7f) {
            return false;
        }
    }
    return target.len > 0;
}

enum gv_err gv_writer_request(struct gv_buf *out, struct gv_slice method, struct gv_slice target,
                              struct gv_slice host)
{
    if (!gv_token_is(method) || !is_target(target) || !gv_token_is_value(host)) {
        return GV_EINVAL;
    }
    TRY(gv_buf_append(out, method));
    TRY(gv_buf_append_text(out, " "));
    TRY(gv_buf_append(out, target));
    TRY(gv_buf_append_text(out, " HTTP/1.1\r\n"));
    return gv_writer_header(out, gv_slice_text("Host"), host);
}

enum gv_err gv_writer_status(struct gv_buf *out, uint16_t status)
{
    GV_ASSERT(status >= 100 && status <= 999);
    TRY(gv_buf_append_text(out, "HTTP/1.1 "));
    TRY(gv_buf_append_u64(out, status));
    TRY(gv_buf_append_text(out, " "));
    TRY(gv_buf_append_text(out, gv_status_reason(status)));
    return gv_buf_append_text(out, "\r\n");
}

enum gv_err gv_writer_header(struct gv_buf *out, struct gv_slice name, struct gv_slice value)
{
    if (!gv_token_is(name) || !gv_token_is_value(value)) {
        return GV_EINVAL;
    }
    uint8_t *at;
    size_t bytes = name.len + value.len + 4; /* ": " and the line end */
    TRY(gv_buf_reserve(out, bytes, &at));
    memcpy(at, name.data, name.len);
    memcpy(at + name.len, ": ", 2);
    if (value.len > 0) {
        memcpy(at + name.len + 2, value.data, value.len);
    }
    memcpy(at + bytes - 2, "\r\n", 2);
    gv_buf_commit(out, bytes);
    return GV_OK;
}

enum gv_err gv_writer_end_head(struct gv_buf *out, uint64_t body_bytes, bool close)
{
    if (body_bytes == GV_WRITER_CHUNKED) {
        TRY(gv_buf_append_text(out, "Transfer-Encoding: chunked\r\n"));
    } else if (body_bytes < GV_WRITER_NO_BODY) {
        TRY(gv_buf_append_text(out, "Content-Length: "));
        TRY(gv_buf_append_u64(out, body_bytes));
        TRY(gv_buf_append_text(out, "\r\n"));
    }
    if (close || body_bytes == GV_WRITER_UNTIL_CLOSE) {
        TRY(gv_buf_append_text(out, "Connection: close\r\n"));
    }
    return gv_buf_append_text(out, "\r\n");
}

size_t gv_writer_chunk_line(char line[20], size_t bytes)
{
    static const char digits[] = "0123456789abcdef";
    GV_ASSERT(bytes > 0);
    size_t len = 0;
    for (size_t rest = bytes; rest > 0; rest >>= 4) {
        len += 1;
    }
    for (size_t i = len; i > 0; i--) {
        line[i - 1] = digits[bytes & 15];
        bytes >>= 4;
    }
    line[len] = '\r';
    line[len + 1] = '\n';
    return len + 2;
}

struct gv_slice gv_writer_last_chunk(void)
{
    return gv_slice_of("0\r\n\r\n", 5);
}

struct gv_slice gv_writer_head_alone(struct gv_slice response)
{
    for (size_t i = 0; i + 4 <= response.len; i++) {
        if (memcmp(response.data + i, "\r\n\r\n", 4) == 0) {
            return gv_slice_of(response.data, i + 4);
        }
    }
    return response;
}
