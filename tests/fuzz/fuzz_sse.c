/*
 * fuzz_sse.c - a stream of events: the same events however the bytes were cut.
 */
#include "grapevine/base/assert.h"
#include "grapevine/http/sse.h"

#define EVENT_BYTES_MAX 48
#define TRACE_BYTES_MAX ((size_t)4 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_event(void *owner, struct gv_slice data)
{
    struct gv_buf *trace = owner;
    GV_ASSERT(data.len <= EVENT_BYTES_MAX);
    GV_ASSERT(gv_buf_append_format(trace, "[%zu]", data.len) == GV_OK);
    GV_ASSERT(gv_buf_append(trace, data) == GV_OK);
}

/* Watch everything in pieces of `step` bytes. */
static void watch(struct gv_slice bytes, size_t step, struct gv_buf *trace)
{
    struct gv_sse sse;
    gv_buf_init(trace, GV_MEM_GENERAL, TRACE_BYTES_MAX);
    gv_sse_init(&sse, EVENT_BYTES_MAX);
    for (size_t at = 0; at < bytes.len; at += step) {
        size_t take = step < bytes.len - at ? step : bytes.len - at;
        gv_sse_feed(&sse, gv_slice_of(bytes.data + at, take), on_event, trace);
    }
    GV_ASSERT(gv_buf_append_format(trace, "%llu %d", (unsigned long long)sse.event_count,
                                   sse.done) == GV_OK);
    gv_sse_deinit(&sse);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gv_slice bytes = gv_slice_of(data, size);
    struct gv_buf whole;
    watch(bytes, size == 0 ? 1 : size, &whole);
    size_t steps[] = {1, 2, size == 0 ? 1 : 3u + data[0] % 29u};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        struct gv_buf cut;
        watch(bytes, steps[i], &cut);
        GV_ASSERT(gv_slice_equal(gv_buf_slice(&whole), gv_buf_slice(&cut)));
        gv_buf_deinit(&cut);
    }
    gv_buf_deinit(&whole);
    return 0;
}
