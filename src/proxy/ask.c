/* ask.c - see ask.h. One `asking` per question, freed when it is answered or the asker closes. */
#include "grapevine/proxy/ask.h"

#include "grapevine/base/assert.h"
#include "grapevine/base/list.h"
#include "grapevine/base/mem.h"
#include "grapevine/http/writer.h"
#include "grapevine/net/timer.h"
#include "upstream.h"
#include <stdio.h>
#include <string.h>

#define TICK_MS    100u
#define HEAD_BYTES (16u * 1024)

struct gv_asker {
    struct gv_loop *loop;       /* borrowed */
    struct gv_targets *targets; /* owned */
    struct gv_timer *tick;      /* owned; runs while somebody is asked */
    struct gv_list askings;     /* owned */
};

struct asking {
    struct gv_list link; /* in asker->askings */
    struct gv_asker *asker;
    struct gv_upstream upstream;
    struct gv_buf head; /* owned: the request's */
    struct gv_buf body; /* owned: the answer's */
    uint16_t status;
    char content_type[GV_ASK_TYPE_MAX];
    uint64_t until_ms;
    bool is_too_big;
    gv_ask_fn on_answer;
    void *owner;
};

static void free_asking(struct asking *asking)
{
    struct gv_asker *asker = asking->asker;
    gv_upstream_cancel(&asking->upstream);
    gv_list_remove(&asking->link);
    gv_buf_deinit(&asking->head);
    gv_buf_deinit(&asking->body);
    gv_mem_free(GV_MEM_NET, asking);
    if (gv_list_is_empty(&asker->askings)) {
        gv_timer_stop(asker->tick);
    }
}

/* The last word. The owner may ask again from inside; the answer is its own until it returns. */
static void done(struct asking *asking, enum gv_cause cause)
{
    if (cause == GV_CAUSE_NONE && asking->is_too_big) {
        cause = GV_CAUSE_BAD;
    }
    struct gv_ask_answer answer = {.cause = cause, .content_type = ""};
    if (cause == GV_CAUSE_NONE) {
        answer.status = asking->status;
        answer.content_type = asking->content_type;
        answer.body = gv_buf_slice(&asking->body);
    }
    asking->on_answer(asking->owner, &answer);
    free_asking(asking);
}

/* ---- the upstream's events ---- */

static void on_head(void *owner, uint32_t leg, const struct gv_head *head)
{
    (void)leg;
    struct asking *asking = owner;
    asking->status = head->status;
    if (!gv_slice_copy_text(gv_head_find(head, "content-type"), asking->content_type,
                            sizeof asking->content_type)) {
        asking->content_type[0] = '\0';
    }
}

static void on_body(void *owner, uint32_t leg, struct gv_slice bytes)
{
    (void)leg;
    struct asking *asking = owner;
    if (!asking->is_too_big && gv_buf_append(&asking->body, bytes) != GV_OK) {
        asking->is_too_big = true;
        gv_buf_reset(&asking->body);
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

static void on_tick(void *owner)
{
    struct gv_asker *asker = owner;
    uint64_t now_ms = gv_loop_now_ms(asker->loop);
    GV_LIST_EACH(&asker->askings, at, following)
    {
        struct asking *asking = GV_CONTAINER(at, struct asking, link);
        if (now_ms >= asking->until_ms) {
            gv_upstream_cancel(&asking->upstream);
            done(asking, GV_CAUSE_TIMEOUT);
        }
    }
}

/* ---- asking ---- */

static enum gv_err write_head(struct asking *asking, const struct gv_uri *uri,
                              const struct gv_ask_question *question)
{
    char target[sizeof uri->prefix + 1024 + 1];
    int len = snprintf(target, sizeof target, "%s%s", uri->prefix, question->path);
    if (len < 0 || (size_t)len >= sizeof target) {
        return GV_EINVAL;
    }
    const char *api_key = question->worker->api_key;
    enum gv_err err = gv_writer_request(&asking->head, gv_slice_text(question->method),
                                        gv_slice_text(target), gv_slice_text(uri->authority));
    if (err == GV_OK && api_key[0] != '\0') {
        char value[sizeof question->worker->api_key + 8];
        snprintf(value, sizeof value, "Bearer %s", api_key);
        err = gv_writer_header(&asking->head, gv_slice_text("Authorization"), gv_slice_text(value));
    }
    if (err == GV_OK) {
        err = gv_writer_header(&asking->head, gv_slice_text("Accept"), gv_slice_text("*/*"));
    }
    bool has_body = strcmp(question->method, "GET") != 0;
    return err == GV_OK ? gv_writer_end_head(&asking->head, has_body ? 0 : GV_WRITER_NO_BODY, false)
                        : err;
}

enum gv_err gv_ask(struct gv_asker *asker, const struct gv_ask_question *question,
                   gv_ask_fn on_answer, void *owner)
{
    struct gv_target *target;
    enum gv_err err = gv_target_get(asker->targets, question->worker, &target);
    if (err != GV_OK) {
        return err;
    }
    struct asking *asking = gv_mem_new(GV_MEM_NET, sizeof *asking);
    if (asking == NULL) {
        return GV_ENOMEM;
    }
    asking->asker = asker;
    asking->on_answer = on_answer;
    asking->owner = owner;
    asking->until_ms = gv_loop_now_ms(asker->loop) + question->timeout_ms;
    gv_list_init(&asking->link);
    gv_buf_init(&asking->head, GV_MEM_NET, HEAD_BYTES);
    gv_buf_init(&asking->body, GV_MEM_NET, GV_ASK_BODY_MAX);
    err = write_head(asking, &target->uri, question);
    if (err == GV_OK) {
        struct gv_upstream_limits none = {0, 0, 0}; /* until_ms covers it all */
        struct gv_upstream_request request = {.head = gv_buf_slice(&asking->head)};
        err = gv_upstream_start(&asking->upstream, target, request, none, &events, asking, 0);
    }
    if (err != GV_OK) {
        free_asking(asking);
        return err;
    }
    gv_list_add(&asker->askings, &asking->link);
    gv_timer_start(asker->tick, TICK_MS, TICK_MS);
    return GV_OK;
}

/* ---- the asker ---- */

enum gv_err gv_asker_open(struct gv_loop *loop, const struct gv_config *config, struct gv_tls *tls,
                          struct gv_asker **out)
{
    struct gv_asker *asker = gv_mem_new(GV_MEM_NET, sizeof *asker);
    if (asker == NULL) {
        return GV_ENOMEM;
    }
    asker->loop = loop;
    gv_list_init(&asker->askings);
    enum gv_err err = gv_timer_open(loop, on_tick, asker, &asker->tick);
    if (err == GV_OK) {
        err = gv_targets_open(loop, config, tls, &asker->targets);
    }
    if (err != GV_OK) {
        gv_timer_close(asker->tick);
        gv_mem_free(GV_MEM_NET, asker);
        return err;
    }
    *out = asker;
    return GV_OK;
}

static void on_targets_closed(void *owner)
{
    gv_mem_free(GV_MEM_NET, owner);
}

void gv_asker_close(struct gv_asker *asker)
{
    if (asker == NULL) {
        return;
    }
    struct gv_list *first;
    while ((first = gv_list_first(&asker->askings)) != NULL) {
        free_asking(GV_CONTAINER(first, struct asking, link));
    }
    gv_timer_close(asker->tick);
    gv_targets_close(asker->targets, on_targets_closed, asker);
}
