/*
 * drive.c - the open loop: each request is sent at its time, whether or not earlier ones have been
 * answered, and its times count from then. So a router that stalls is seen to stall.
 *
 * A request whose connection is refused, or closed before any byte, goes to the next router, once
 * for each: what a client does that knows several addresses of a name.
 */
#include "grapevine/base/list.h"
#include "grapevine/net/timer.h"
#include "replay.h"

struct drive {
    struct gv_loop *loop; /* borrowed, as all up to the timer */
    struct options *options;
    const struct trace *trace;
    struct measured *measured;
    drive_fn on_done;
    void *owner;
    struct gv_timer *timer; /* owned */
    struct gv_buf body;     /* owned: of the request being sent */
    uint64_t start_us;
    size_t next; /* the next request to send */
    uint64_t in_flight;
    size_t next_router;
};

struct attempt {
    struct drive *drive;
    const struct request *request;
    uint64_t planned_us;
    size_t router;
    size_t tried; /* routers tried before this one */
};

static void pump(struct drive *drive);

static struct worker_sum *worker_of(struct measured *measured, const char *name)
{
    for (size_t i = 0; i < measured->worker_count; i++) {
        if (strcmp(measured->workers[i].name, name) == 0) {
            return &measured->workers[i];
        }
    }
    if (measured->worker_count == REPLAY_WORKERS_MAX) {
        return NULL;
    }
    struct worker_sum *worker = &measured->workers[measured->worker_count++];
    (void)gv_slice_copy_text(gv_slice_text(name), worker->name, sizeof worker->name);
    return worker;
}

static void count_rule(struct measured *measured, const char *name)
{
    size_t i = 0;
    while (i < measured->rule_count && strcmp(measured->rules[i].name, name) != 0) {
        i += 1;
    }
    if (name[0] == '\0' || i == REPLAY_RULES_MAX) {
        return;
    }
    if (i == measured->rule_count) {
        measured->rule_count += 1;
        (void)gv_slice_copy_text(gv_slice_text(name), measured->rules[i].name,
                                 sizeof measured->rules[i].name);
    }
    measured->rules[i].requests += 1;
}

static void count(struct measured *measured, const struct attempt *attempt,
                  const struct call_done *done)
{
    measured->finished += 1;
    measured->outcomes[done->outcome] += 1;
    if (done->outcome == CALL_STATUS && done->status < REPLAY_STATUS_MAX) {
        measured->statuses[done->status] += 1;
    }
    if (done->outcome != CALL_OK) {
        return;
    }
    measured->prompt_tokens += done->prompt_tokens;
    measured->cached_tokens += done->cached_tokens;
    measured->without_usage += done->has_usage ? 0 : 1;
    count_rule(measured, done->rule);
    gv_hist_add(&measured->first_us, done->first_at_us - attempt->planned_us);
    gv_hist_add(&measured->total_us, done->end_at_us - attempt->planned_us);
    struct worker_sum *worker = done->worker[0] == '\0' ? NULL : worker_of(measured, done->worker);
    if (worker != NULL) {
        worker->requests += 1;
        worker->prompt_tokens += done->prompt_tokens;
    }
}

static void finish(struct attempt *attempt, const struct call_done *done)
{
    struct drive *drive = attempt->drive;
    count(drive->measured, attempt, done);
    gv_mem_free(GV_MEM_GENERAL, attempt);
    drive->in_flight -= 1;
    gv_timer_start(drive->timer, 0, 0); /* pump(), but not from inside anything */
}

static void on_call(void *owner, const struct call_done *done);

static enum gv_err send(struct attempt *attempt)
{
    struct drive *drive = attempt->drive;
    const struct options *options = drive->options;
    gv_buf_clear(&drive->body);
    enum gv_err err = text_body(drive->trace, attempt->request, options, &drive->body);
    if (err != GV_OK) {
        return err;
    }
    const struct call_ask ask = {
        .router = &options->routers[attempt->router],
        .target = text_target(options->endpoint),
        .api_key = options->api_key,
        .timeout_ms = options->timeout_ms,
        .body = gv_buf_slice(&drive->body),
    };
    return call_start(drive->loop, &ask, on_call, attempt);
}

static void on_call(void *owner, const struct call_done *done)
{
    struct attempt *attempt = owner;
    struct drive *drive = attempt->drive;
    bool again = (done->outcome == CALL_REFUSED || done->outcome == CALL_NO_ANSWER) &&
                 attempt->tried + 1 < drive->options->router_count;
    if (again) {
        drive->measured->retries += 1;
        attempt->tried += 1;
        attempt->router = (attempt->router + 1) % drive->options->router_count;
        if (send(attempt) == GV_OK) {
            return;
        }
    }
    finish(attempt, done);
}

static size_t choose(struct drive *drive, const struct request *request)
{
    if (drive->options->spread == REPLAY_HASH) {
        struct gv_prng prng;
        gv_prng_init(&prng, request->session);
        return (size_t)gv_prng_below(&prng, drive->options->router_count);
    }
    return drive->next_router++ % drive->options->router_count;
}

static void launch(struct drive *drive, const struct request *request)
{
    struct measured *measured = drive->measured;
    struct attempt *attempt = gv_mem_new(GV_MEM_GENERAL, sizeof *attempt);
    measured->sent += 1;
    if (attempt != NULL) {
        *attempt = (struct attempt){.drive = drive,
                                    .request = request,
                                    .planned_us = drive->start_us + request->at_us,
                                    .router = choose(drive, request)};
        drive->options->routers[attempt->router].sent += 1;
    }
    if (attempt == NULL || send(attempt) != GV_OK) {
        gv_mem_free(GV_MEM_GENERAL, attempt);
        measured->finished += 1;
        measured->outcomes[CALL_LOCAL] += 1;
        return;
    }
    drive->in_flight += 1;
    if (drive->in_flight > measured->peak) {
        measured->peak = drive->in_flight;
    }
}

static void end(struct drive *drive)
{
    drive->measured->took_s = (double)(gv_clock_us() - drive->start_us) / 1e6;
    drive_fn on_done = drive->on_done;
    void *owner = drive->owner;
    gv_timer_close(drive->timer);
    gv_buf_deinit(&drive->body);
    gv_mem_free(GV_MEM_GENERAL, drive);
    on_done(owner);
}

/* Send what is due, then wait for the next. */
static void pump(struct drive *drive)
{
    uint64_t now_us = gv_clock_us() - drive->start_us;
    while (drive->next < drive->trace->request_count) {
        const struct request *request = &drive->trace->requests[drive->next];
        if (request->at_us > now_us) {
            gv_timer_start(drive->timer, (request->at_us - now_us + 999) / 1000, 0);
            return;
        }
        if (drive->in_flight >= drive->options->concurrency_max) {
            drive->measured->held += 1;
            return; /* finish() comes back here */
        }
        drive->next += 1;
        launch(drive, request);
    }
    if (drive->in_flight == 0) {
        end(drive);
    }
}

static void on_time(void *owner)
{
    pump(owner);
}

enum gv_err drive_start(struct gv_loop *loop, struct options *options, const struct trace *trace,
                        struct measured *measured, drive_fn on_done, void *owner)
{
    struct drive *drive = gv_mem_new(GV_MEM_GENERAL, sizeof *drive);
    if (drive == NULL) {
        return GV_ENOMEM;
    }
    *drive = (struct drive){.loop = loop,
                            .options = options,
                            .trace = trace,
                            .measured = measured,
                            .on_done = on_done,
                            .owner = owner,
                            .start_us = gv_clock_us()};
    gv_buf_init(&drive->body, GV_MEM_BUFFER, REPLAY_BODY_MAX);
    enum gv_err err = gv_timer_open(loop, on_time, drive, &drive->timer);
    if (err != GV_OK) {
        gv_mem_free(GV_MEM_GENERAL, drive);
        return err;
    }
    gv_timer_start(drive->timer, 0, 0);
    return GV_OK;
}
