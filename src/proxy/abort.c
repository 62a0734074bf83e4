/* abort.c - see abort.h. */
#include "abort.h"

#include "engine.h"
#include "grapevine/base/mem.h"
#include "grapevine/base/metric.h"
#include "grapevine/http/writer.h"
#include "upstream.h"
#include <stdio.h>

#define HEAD_BYTES (16u * 1024)
#define BODY_BYTES 256u

struct farewell {
    struct gv_list link; /* in proxy->aborts */
    struct gv_proxy *proxy;
    struct gv_upstream upstream;
    struct gv_buf head; /* owned */
    struct gv_buf body; /* owned */
    uint16_t status;
    uint64_t until_ms;
};

static const struct gv_metric_family aborts = {
    .name = "gv_engine_aborts_total",
    .help = "Requests that engines were told to stop, by how the telling ended.",
    .type = GV_METRIC_COUNTER,
    .labels = {"outcome"}};

static void count(const char *outcome)
{
    if (gv_metric_register(&aborts) == GV_OK) {
        const char *const values[] = {outcome};
        gv_metric_add(gv_metric_get(&aborts, values), 1);
    }
}

static void destroy(struct farewell *farewell)
{
    gv_upstream_cancel(&farewell->upstream);
    gv_list_remove(&farewell->link);
    farewell->proxy->abort_count -= 1;
    gv_buf_deinit(&farewell->head);
    gv_buf_deinit(&farewell->body);
    gv_mem_free(GV_MEM_NET, farewell);
}

static void on_head(void *owner, uint32_t leg, const struct gv_head *head)
{
    (void)leg;
    struct farewell *farewell = owner;
    farewell->status = head->status;
}

static void on_body(void *owner, uint32_t leg, struct gv_slice bytes)
{
    (void)owner;
    (void)leg;
    (void)bytes;
}

static void on_end(void *owner, uint32_t leg)
{
    (void)leg;
    struct farewell *farewell = owner;
    count(farewell->status / 100 == 2 ? "good" : "refused");
    destroy(farewell);
}

static void on_broke(void *owner, uint32_t leg, enum gv_cause cause)
{
    (void)leg;
    count(gv_cause_name(cause));
    destroy(owner);
}

static const struct gv_upstream_events events = {on_head, on_body, on_end, on_broke};

static enum gv_err write(struct farewell *farewell, const struct gv_uri *uri, const char *path,
                         const char *api_key, struct gv_slice rid)
{
    char target[sizeof uri->prefix + 64];
    char key[sizeof((struct gv_worker *)NULL)->api_key + 8];
    snprintf(target, sizeof target, "%s%.60s", uri->prefix, path);
    snprintf(key, sizeof key, "Bearer %s", api_key);
    struct gv_buf *head = &farewell->head;
    enum gv_err err = gv_buf_append_text(&farewell->body, "{\"rid\":");
    if (err == GV_OK) {
        err = gv_buf_append(&farewell->body, rid);
    }
    if (err == GV_OK) {
        err = gv_buf_append_text(&farewell->body, "}");
    }
    if (err == GV_OK) {
        err = gv_writer_request(head, gv_slice_text("POST"), gv_slice_text(target),
                                gv_slice_text(uri->authority));
    }
    if (err == GV_OK && api_key[0] != '\0') {
        err = gv_writer_header(head, gv_slice_text("Authorization"), gv_slice_text(key));
    }
    if (err == GV_OK) {
        err = gv_writer_header(head, gv_slice_text("Content-Type"),
                               gv_slice_text("application/json"));
    }
    return err == GV_OK ? gv_writer_end_head(head, farewell->body.len, false) : err;
}

/* The worker of this index, as it is known now; NULL when it is gone. */
static const struct gv_worker *worker_of(const struct gv_proxy *proxy, uint32_t index)
{
    for (uint32_t i = 0; i < proxy->view->count; i++) {
        if (proxy->view->workers[i].index == index) {
            return &proxy->view->workers[i];
        }
    }
    return NULL;
}

void gv_abort_send(struct gv_proxy *proxy, struct gv_target *target, uint32_t worker,
                   struct gv_slice rid)
{
    const struct gv_worker *known =
        rid.len == 0 || proxy->closing ? NULL : worker_of(proxy, worker);
    const char *path = known == NULL ? NULL : gv_engine_find(known->runtime)->abort_path;
    if (path == NULL) {
        return;
    }
    struct farewell *farewell =
        proxy->abort_count < GV_ABORTS_MAX ? gv_mem_new(GV_MEM_NET, sizeof *farewell) : NULL;
    if (farewell == NULL) {
        count("dropped");
        return;
    }
    farewell->proxy = proxy;
    farewell->until_ms = gv_loop_now_ms(proxy->loop) + GV_ABORT_TIMEOUT_MS;
    gv_buf_init(&farewell->head, GV_MEM_NET, HEAD_BYTES);
    gv_buf_init(&farewell->body, GV_MEM_NET, BODY_BYTES);
    gv_list_init(&farewell->link);
    gv_list_add(&proxy->aborts, &farewell->link);
    proxy->abort_count += 1;
    enum gv_err err = write(farewell, &target->uri, path, known->api_key, rid);
    if (err == GV_OK) {
        struct gv_upstream_limits none = {0, 0, 0}; /* until_ms covers it all */
        struct gv_upstream_request request = {.head = gv_buf_slice(&farewell->head),
                                              .body = gv_buf_slice(&farewell->body)};
        err = gv_upstream_start(&farewell->upstream, target, request, none, &events, farewell, 0);
    }
    if (err != GV_OK) {
        count("dropped");
        destroy(farewell);
    }
}

void gv_aborts_tick(struct gv_proxy *proxy, uint64_t now_ms)
{
    GV_LIST_EACH(&proxy->aborts, at, following)
    {
        struct farewell *farewell = GV_CONTAINER(at, struct farewell, link);
        if (now_ms >= farewell->until_ms) {
            count(gv_cause_name(GV_CAUSE_TIMEOUT));
            destroy(farewell);
        }
    }
}

void gv_aborts_end(struct gv_proxy *proxy)
{
    GV_LIST_EACH(&proxy->aborts, at, following)
    {
        count("dropped");
        destroy(GV_CONTAINER(at, struct farewell, link));
    }
}
