/* fetch.c - see fetch.h. */
#include "fetch.h"

#include "grapevine/base/assert.h"
#include "grapevine/http/writer.h"
#include <stdio.h>

void gv_fetch_init(struct gv_fetch *fetch)
{
    memset(fetch, 0, sizeof *fetch);
    gv_buf_init(&fetch->head, GV_MEM_NET, 16 * 1024);
    gv_buf_init(&fetch->body, GV_MEM_NET, GV_FETCH_BODY_MAX);
}

void gv_fetch_deinit(struct gv_fetch *fetch)
{
    gv_upstream_cancel(&fetch->upstream);
    fetch->is_on = false;
    gv_buf_deinit(&fetch->head);
    gv_buf_deinit(&fetch->body);
}

static void done(struct gv_fetch *fetch, enum gv_cause cause)
{
    fetch->is_on = false;
    fetch->on_done(fetch->owner, cause, fetch->status, gv_buf_slice(&fetch->body));
}

static void on_head(void *owner, uint32_t leg, const struct gv_head *head)
{
    (void)leg;
    struct gv_fetch *fetch = owner;
    fetch->status = head->status;
}

static void on_body(void *owner, uint32_t leg, struct gv_slice bytes)
{
    (void)leg;
    struct gv_fetch *fetch = owner;
    size_t room = GV_FETCH_BODY_MAX - fetch->body.len;
    bytes.len = bytes.len < room ? bytes.len : room;
    if (bytes.len > 0 && gv_buf_append(&fetch->body, bytes) != GV_OK) {
        gv_buf_reset(&fetch->body); /* what is left will not parse, which is an answer too */
    }
}

static void on_end(void *owner, uint32_t leg)
{
    (void)leg;
    done(owner, GV_CAUSE_NONE);
}

static void on_broke(void *owner, uint32_t leg, enum gv_cause cause)
{
    (void)leg;
    done(owner, cause);
}

static const struct gv_upstream_events events = {on_head, on_body, on_end, on_broke};

static enum gv_err write_head(struct gv_fetch *fetch, const struct gv_uri *uri, const char *path,
                              const char *api_key)
{
    char target[sizeof uri->prefix + 256];
    snprintf(target, sizeof target, "%s%.255s", uri->prefix, path);
    gv_buf_clear(&fetch->head);
    enum gv_err err = gv_writer_request(&fetch->head, gv_slice_text("GET"), gv_slice_text(target),
                                        gv_slice_text(uri->authority));
    if (err == GV_OK && api_key[0] != '\0') {
        char value[GV_FETCH_KEY_BYTES + 8];
        snprintf(value, sizeof value, "Bearer %.255s", api_key);
        err = gv_writer_header(&fetch->head, gv_slice_text("Authorization"), gv_slice_text(value));
    }
    if (err == GV_OK) {
        err = gv_writer_header(&fetch->head, gv_slice_text("Accept"), gv_slice_text("*/*"));
    }
    return err == GV_OK ? gv_writer_end_head(&fetch->head, GV_WRITER_NO_BODY, false) : err;
}

enum gv_err gv_fetch_start(struct gv_fetch *fetch, struct gv_target *target, const char *path,
                           const char *api_key, uint64_t timeout_ms, gv_fetch_fn on_done,
                           void *owner)
{
    GV_ASSERT(!fetch->is_on);
    enum gv_err err = write_head(fetch, &target->uri, path, api_key);
    if (err != GV_OK) {
        return err;
    }
    gv_buf_clear(&fetch->body);
    fetch->status = 0;
    fetch->on_done = on_done;
    fetch->owner = owner;
    fetch->until_ms = gv_target_now_ms(target) + timeout_ms;
    struct gv_upstream_limits none = {0, 0, 0}; /* until_ms covers it all */
    struct gv_upstream_request request = {.head = gv_buf_slice(&fetch->head)};
    err = gv_upstream_start(&fetch->upstream, target, request, none, &events, fetch, 0);
    fetch->is_on = err == GV_OK;
    return err;
}

void gv_fetch_tick(struct gv_fetch *fetch, uint64_t now_ms)
{
    if (fetch->is_on && now_ms >= fetch->until_ms) {
        gv_upstream_cancel(&fetch->upstream);
        done(fetch, GV_CAUSE_TIMEOUT);
    }
}
