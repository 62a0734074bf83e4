/*
 * agree.c - do all routers decide alike? Prompts from all over the trace are put to every router's
 * POST /grapevine/v1/explain, one prompt at a time; they agree when all name the same worker.
 */
#include "grapevine/net/timer.h"
#include "replay.h"
#include <jansson.h>
#include <stdio.h>

struct agree {
    struct gv_loop *loop; /* borrowed, as all up to the timer */
    struct options *options;
    const struct trace *trace;
    struct measured *measured;
    drive_fn on_done;
    void *owner;
    struct gv_timer *timer; /* owned */
    struct gv_buf body;     /* owned */
    char target[128];
    char workers[REPLAY_ROUTERS_MAX][600]; /* "": no answer */
    size_t index;                          /* of the prompt being asked */
    size_t waiting;                        /* routers that have not answered yet */
};

struct question {
    struct agree *agree;
    size_t router;
};

static void end(struct agree *agree)
{
    drive_fn on_done = agree->on_done;
    void *owner = agree->owner;
    gv_timer_close(agree->timer);
    gv_buf_deinit(&agree->body);
    gv_mem_free(GV_MEM_GENERAL, agree);
    on_done(owner);
}

static void judge(struct agree *agree)
{
    struct measured *measured = agree->measured;
    bool same = true;
    bool answered = true;
    for (size_t i = 0; i < agree->options->router_count; i++) {
        answered = answered && agree->workers[i][0] != '\0';
        same = same && strcmp(agree->workers[i], agree->workers[0]) == 0;
    }
    measured->asked += 1;
    measured->agreed += answered && same ? 1 : 0;
    measured->unanswered += answered ? 0 : 1;
    agree->index += 1;
    gv_timer_start(agree->timer, 0, 0);
}

static void on_call(void *owner, const struct call_done *done)
{
    struct question *question = owner;
    struct agree *agree = question->agree;
    json_t *json = done->outcome == CALL_OK
                       ? json_loadb((const char *)done->body.data, done->body.len, 0, NULL)
                       : NULL;
    const char *worker = json_string_value(json_object_get(json, "worker"));
    (void)snprintf(agree->workers[question->router], sizeof agree->workers[0], "%s",
                   worker == NULL ? "" : worker);
    json_decref(json);
    gv_mem_free(GV_MEM_GENERAL, question);
    agree->waiting -= 1;
    if (agree->waiting == 0) {
        judge(agree);
    }
}

static enum gv_err ask_one(struct agree *agree, size_t router)
{
    struct question *question = gv_mem_new(GV_MEM_GENERAL, sizeof *question);
    if (question == NULL) {
        return GV_ENOMEM;
    }
    *question = (struct question){.agree = agree, .router = router};
    const struct call_ask ask = {
        .router = &agree->options->routers[router],
        .target = agree->target,
        .api_key = agree->options->api_key,
        .timeout_ms = agree->options->timeout_ms,
        .body = gv_buf_slice(&agree->body),
    };
    enum gv_err err = call_start(agree->loop, &ask, on_call, question);
    if (err != GV_OK) {
        gv_mem_free(GV_MEM_GENERAL, question);
    }
    return err;
}

static void on_time(void *owner)
{
    struct agree *agree = owner;
    size_t total = agree->options->agreement_count;
    if (total > agree->trace->request_count) {
        total = agree->trace->request_count;
    }
    if (agree->index == total) {
        end(agree);
        return;
    }
    const struct request *request =
        &agree->trace->requests[agree->index * agree->trace->request_count / total];
    gv_buf_clear(&agree->body);
    memset(agree->workers, 0, sizeof agree->workers);
    enum gv_err err = text_body(agree->trace, request, agree->options, &agree->body);
    agree->waiting = 0;
    for (size_t i = 0; err == GV_OK && i < agree->options->router_count; i++) {
        agree->waiting += ask_one(agree, i) == GV_OK ? 1 : 0;
    }
    if (agree->waiting == 0) {
        judge(agree);
    }
}

enum gv_err agree_start(struct gv_loop *loop, struct options *options, const struct trace *trace,
                        struct measured *measured, drive_fn on_done, void *owner)
{
    struct agree *agree = gv_mem_new(GV_MEM_GENERAL, sizeof *agree);
    if (agree == NULL) {
        return GV_ENOMEM;
    }
    agree->loop = loop;
    agree->options = options;
    agree->trace = trace;
    agree->measured = measured;
    agree->on_done = on_done;
    agree->owner = owner;
    (void)snprintf(agree->target, sizeof agree->target, "/grapevine/v1/explain?endpoint=%s",
                   text_target(options->endpoint));
    gv_buf_init(&agree->body, GV_MEM_BUFFER, REPLAY_BODY_MAX);
    enum gv_err err = gv_timer_open(loop, on_time, agree, &agree->timer);
    if (err != GV_OK) {
        gv_mem_free(GV_MEM_GENERAL, agree);
        return err;
    }
    gv_timer_start(agree->timer, options->quiet_ms, 0);
    return GV_OK;
}
