/*
 * job.c - the life of a request that generates: read, wait for the other leg, compute, answer.
 *
 *    job_start --> [decode: fetch rooms] --> submit --> tokens --> [prefill: rooms taken] --> end
 *                         |                                            |
 *                         +---- no such room in time: 500 -------------+
 */
#include "job.h"
#include <stdio.h>
#include <stdlib.h>

static void release(struct job *job)
{
    struct mock_worker *worker = job->worker;
    engine_remove(&worker->engine, &job->work, gv_clock_us());
    engine_job_deinit(&job->work);
    room_drop_all(job);
    gv_list_remove(&job->link);
    if (job->conn != NULL) {
        job->conn->job = NULL;
    }
    json_decref(job->body);
    free(job->model_json);
    gv_mem_free(GV_MEM_GENERAL, job->rooms);
    gv_mem_free(GV_MEM_GENERAL, job);
    worker_wake(worker);
}

void job_abort(struct job *job)
{
    release(job);
}

static bool is_true(const json_t *object, const char *name)
{
    return json_is_true(json_object_get(object, name));
}

static bool model_is_served(const struct mock *mock, const json_t *body)
{
    const char *model = json_string_value(json_object_get(body, "model"));
    if (model == NULL || !mock->options.strict_model) {
        return true;
    }
    for (size_t i = 0; i < mock->options.model_count; i++) {
        if (strcmp(mock->options.models[i], model) == 0) {
            return true;
        }
    }
    return false;
}

static void name_it(struct job *job, struct mock *mock)
{
    const json_t *model = json_object_get(job->body, "model");
    job->model_json = json_is_string(model) ? json_dumps(model, JSON_ENCODE_ANY) : NULL;
    if (job->model_json == NULL) {
        json_t *served = json_string(mock->options.models[0]);
        job->model_json = json_dumps(served, JSON_ENCODE_ANY);
        json_decref(served);
    }
    const char *rid = json_string_value(json_object_get(job->body, "rid"));
    size_t plain = rid == NULL ? 0
                               : strspn(rid, "0123456789abcdefghijklmnopqrstuvwxyz"
                                             "ABCDEFGHIJKLMNOPQRSTUVWXYZ._-");
    if (plain > 0 && plain < sizeof job->id && rid[plain] == '\0') {
        (void)snprintf(job->id, sizeof job->id, "%s", rid);
    } else {
        (void)snprintf(job->id, sizeof job->id, "%08x%016llx", (unsigned)job->worker->port,
                       (unsigned long long)++mock->next_id);
    }
}

/* The embedding, rerank and classify endpoints make no tokens: their answer is the prefill. */
static bool makes_tokens(enum gv_endpoint endpoint)
{
    return endpoint == GV_ENDPOINT_CHAT || endpoint == GV_ENDPOINT_COMPLETIONS ||
           endpoint == GV_ENDPOINT_GENERATE;
}

static uint32_t outputs(struct job *job, const struct gv_prompt *prompt)
{
    const struct mock_options *options = &job->worker->mock->options;
    if (options->role == MOCK_PREFILL || !makes_tokens(job->endpoint)) {
        job->cut = true;
        return 1;
    }
    if (prompt->max_tokens == 0) {
        return options->output_tokens;
    }
    job->cut = true;
    return prompt->max_tokens < options->output_tokens_max ? prompt->max_tokens
                                                           : options->output_tokens_max;
}

/* What the request asks for; GV_EINVAL when its body is no request to this endpoint. */
static enum gv_err read_request(struct job *job)
{
    struct mock *mock = job->worker->mock;
    struct gv_slice body = gv_buf_slice(&job->conn->body);
    struct gv_prompt prompt;
    enum gv_problem problem = GV_PROBLEM_NONE;
    enum gv_err err =
        gv_prompt_read(mock->reader, job->endpoint, body, &mock->prompt, &prompt, &problem);
    if (err != GV_OK) {
        (void)snprintf(job->trouble, sizeof job->trouble, "%s", gv_problem_text(problem));
        return err;
    }
    job->body = json_loadb((const char *)body.data, body.len, 0, NULL);
    if (!json_is_object(job->body)) {
        (void)snprintf(job->trouble, sizeof job->trouble, "the body is no JSON object");
        return GV_EINVAL;
    }
    name_it(job, mock);
    job->stream = prompt.stream && makes_tokens(job->endpoint);
    job->logprobs = prompt.logprobs;
    job->batch = prompt.batch_size > 0 && job->endpoint == GV_ENDPOINT_GENERATE;
    job->item_count = prompt.batch_size == 0 ? 1 : prompt.batch_size;
    job->include_usage = is_true(json_object_get(job->body, "stream_options"), "include_usage");
    err =
        engine_job_init(&job->worker->engine, &job->work, prompt.canonical, outputs(job, &prompt));
    if (err == GV_OK && !prompt.records) {
        job->work.block_count = 0; /* computed, but not kept */
    }
    return err;
}

static void fail(struct job *job, uint16_t status)
{
    struct conn *conn = job->conn;
    char trouble[sizeof job->trouble];
    memcpy(trouble, job->trouble, sizeof trouble);
    release(job);
    conn_error(conn, status, trouble);
}

/* Decode with no rooms left to fetch, or any other role: the engine takes over. */
static void submit(struct job *job)
{
    engine_submit(&job->worker->engine, &job->work, gv_clock_us());
    worker_wake(job->worker);
}

/* vLLM's way: prefill must be asked to keep its KV, and decode uses what prefill has returned. */
static bool begin_handed_over(struct job *job)
{
    const json_t *params = json_object_get(job->body, "kv_transfer_params");
    if (job->worker->mock->options.role == MOCK_PREFILL) {
        if (!is_true(params, "do_remote_decode") || job->stream) {
            (void)snprintf(job->trouble, sizeof job->trouble,
                           "prefill needs do_remote_decode and no stream");
            return false;
        }
        submit(job);
    } else if (is_true(params, "do_remote_prefill")) {
        json_int_t cached = json_integer_value(json_object_get(params, "cached_tokens"));
        job->work.cached_tokens = cached > 0 ? (uint64_t)cached : 0;
        engine_submit_prefilled(&job->worker->engine, &job->work, job->work.cached_tokens,
                                gv_clock_us());
        worker_wake(job->worker);
    } else {
        submit(job); /* nobody did it for us */
    }
    return true;
}

static bool begin_pair(struct job *job)
{
    uint64_t timeout_us = job->worker->mock->options.pd_timeout_ms * 1000;
    if (!room_read_all(job)) {
        return false;
    }
    job->rooms_open = job->room_count;
    if (job->worker->mock->options.role == MOCK_PREFILL) {
        job->deadline_us = gv_clock_us() + timeout_us;
        return room_announce_all(job);
    }
    /* A little longer than the prefill engine waits, so that its answer is the one we hear. */
    job->deadline_us = gv_clock_us() + timeout_us + 1000 * 1000;
    room_fetch_all(job);
    return true;
}

/* The rank it names, in one of the words for it; 0 without, or beyond those there are. */
static void read_rank(struct job *job)
{
    static const char *const names[] = {"data_parallel_rank", "routed_dp_rank"};
    json_int_t rank = 0;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const json_t *value = json_object_get(job->body, names[i]);
        rank = json_is_integer(value) ? json_integer_value(value) : rank;
    }
    bool known = rank >= 0 && rank < (json_int_t)job->worker->mock->options.dp_size;
    job->rank = known ? (uint32_t)rank : 0;
    job->worker->stats.rank_requests[job->rank] += 1;
}

void job_start(struct conn *conn, enum gv_endpoint endpoint)
{
    struct mock_worker *worker = conn->worker;
    struct job *job = gv_mem_new(GV_MEM_GENERAL, sizeof *job);
    if (job == NULL) {
        conn_error(conn, 500, "out of memory");
        return;
    }
    job->worker = worker;
    job->conn = conn;
    job->endpoint = endpoint;
    job->created_s = gv_clock_wall_ms() / 1000;
    job->deadline_us = ENGINE_NEVER;
    conn->job = job;
    gv_list_init(&job->work.link);
    gv_list_add(&worker->jobs, &job->link);
    enum gv_err err = read_request(job);
    if (err != GV_OK) {
        fail(job, 400);
        return;
    }
    read_rank(job);
    if (!model_is_served(worker->mock, job->body)) {
        (void)snprintf(job->trouble, sizeof job->trouble, "the model is not served here");
        fail(job, 404);
        return;
    }
    bool paired = worker->mock->options.role != MOCK_REGULAR && makes_tokens(endpoint);
    if (paired && worker->mock->options.vllm) {
        if (!begin_handed_over(job)) {
            fail(job, 400);
        }
        return;
    }
    if (paired) {
        if (!begin_pair(job)) {
            fail(job, 400);
            return;
        }
        if (worker->mock->options.role == MOCK_DECODE) {
            return; /* job_on_room() goes on */
        }
    }
    submit(job);
}

void job_on_room(struct job *job, struct room *room, bool ok, uint64_t cached_tokens)
{
    room->done = true;
    job->rooms_open -= 1;
    if (!ok) {
        job->failed = true;
    }
    if (cached_tokens > job->work.cached_tokens) {
        job->work.cached_tokens = cached_tokens;
    }
    if (job->rooms_open == 0 && !job->failed) {
        job->deadline_us = ENGINE_NEVER;
        engine_submit_prefilled(&job->worker->engine, &job->work, job->work.cached_tokens,
                                gv_clock_us());
    }
    worker_wake(job->worker);
}

/* true: the job is over and gone. */
static bool give_up(struct job *job, uint64_t now_us)
{
    if (!job->failed && (job->rooms_open == 0 || job->deadline_us > now_us)) {
        return false;
    }
    if (!job->failed) {
        uint32_t open = 0;
        while (job->rooms[open].done) {
            open += 1;
        }
        (void)snprintf(job->trouble, sizeof job->trouble, "bootstrap room %llu %s",
                       (unsigned long long)job->rooms[open].number,
                       job->worker->mock->options.role == MOCK_PREFILL
                           ? "was never taken by a decode engine"
                           : "got no answer from the prefill engine");
    }
    struct conn *conn = job->conn;
    fail(job, 500);
    conn_go_on(conn);
    return true;
}

static void count(struct job *job)
{
    struct mock_stats *stats = &job->worker->stats;
    stats->prompt_tokens += job->work.prompt_tokens;
    stats->cached_tokens += job->work.cached_tokens;
    stats->output_tokens += job->work.output_tokens;
}

static void run(struct job *job, uint64_t now_us)
{
    if (give_up(job, now_us)) {
        return;
    }
    uint32_t made = engine_tokens(&job->worker->engine, &job->work, now_us);
    if (made == 0) {
        return;
    }
    for (uint32_t i = 0; i < job->room_count; i++) {
        job->rooms[i].ready = true;
    }
    if (job->rooms_open > 0) {
        return; /* prefill: until decode has taken the KV */
    }
    if (job->stream && !job->begun) {
        job->begun = true;
        conn_stream_begin(job->conn);
    }
    if (job->stream && made > job->sent_tokens) {
        answer_tokens(job, job->sent_tokens, made);
        job->sent_tokens = made;
        conn_stream_flush(job->conn);
    }
    if (made == job->work.output_tokens) {
        struct conn *conn = job->conn;
        count(job);
        answer_end(job);
        release(job);
        conn_go_on(conn);
    }
}

void job_run_all(struct mock_worker *worker, uint64_t now_us)
{
    GV_LIST_EACH(&worker->jobs, at, following)
    {
        run(GV_CONTAINER(at, struct job, link), now_us);
    }
}

static uint64_t due_of(const struct mock_worker *worker, const struct job *job)
{
    if (job->work.state != ENGINE_JOB_DECODE || job->rooms_open > 0) {
        return job->failed ? 0 : job->deadline_us;
    }
    uint32_t next = job->stream ? job->sent_tokens : job->work.output_tokens - 1;
    return engine_token_at_us(&worker->engine, &job->work, next);
}

uint64_t job_due_at_us(const struct mock_worker *worker)
{
    uint64_t due_at_us = ENGINE_NEVER;
    if (worker->engine.prefilling != NULL) {
        due_at_us = worker->engine.prefill_done_at_us;
    }
    GV_LIST_EACH(&worker->jobs, at, following)
    {
        uint64_t at_us = due_of(worker, GV_CONTAINER(at, struct job, link));
        due_at_us = at_us < due_at_us ? at_us : due_at_us;
    }
    return due_at_us;
}

size_t job_abort_by_id(struct mock_worker *worker, const char *rid)
{
    size_t count_aborted = 0;
    GV_LIST_EACH(&worker->jobs, at, following)
    {
        struct job *job = GV_CONTAINER(at, struct job, link);
        if (rid != NULL && strcmp(job->id, rid) != 0) {
            continue;
        }
        count_aborted += 1;
        job->conn->aborted = true;
        job->failed = !job->begun;
        (void)snprintf(job->trouble, sizeof job->trouble, "aborted");
        if (job->begun) { /* what was streamed is all there is */
            job->work.output_tokens = job->sent_tokens;
        }
    }
    worker_wake(worker);
    return count_aborted;
}
