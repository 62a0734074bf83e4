/*
 * api.c - which endpoint is it? Metadata is answered here, generation goes to job.c, control to
 * control.c. The order: control, health, key, faults, the endpoint.
 */
#include "job.h"
#include <stdio.h>

static struct gv_slice path_of(const char *target, struct gv_slice *query)
{
    const char *mark = strchr(target, '?');
    *query = mark == NULL ? gv_slice_of(NULL, 0) : gv_slice_text(mark + 1);
    return mark == NULL ? gv_slice_text(target) : gv_slice_of(target, (size_t)(mark - target));
}

static void reply_models(struct conn *conn)
{
    static const char *const owners[] = {"sglang", "vllm", "somebody"};
    const struct mock_options *options = &conn->worker->mock->options;
    json_t *data = json_array();
    for (size_t i = 0; i < options->model_count; i++) {
        json_array_append_new(
            data, json_pack("{s:s,s:s,s:I,s:s,s:s,s:n,s:I}", "id", options->models[i], "object",
                            "model", "created", (json_int_t)(conn->worker->started_wall_ms / 1000),
                            "owned_by", owners[options->kind], "root", options->models[i], "parent",
                            "max_model_len", (json_int_t)131072));
    }
    conn_reply_json(conn, 200, json_pack("{s:s,s:o}", "object", "list", "data", data));
}

static void reply_model_info(struct conn *conn)
{
    const char *model = conn->worker->mock->options.models[0];
    conn_reply_json(conn, 200,
                    json_pack("{s:s,s:s,s:b,s:n,s:s,s:s,s:[s]}", "model_path", model,
                              "tokenizer_path", model, "is_generation", 1,
                              "preferred_sampling_params", "weight_version", "default",
                              "model_type", "mock", "architectures", "MockForCausalLM"));
}

/* Running requests of one rank, waiting ones, tokens they use. */
static void measure(const struct mock_worker *worker, uint32_t rank, uint64_t *running,
                    uint64_t *waiting, uint64_t *used)
{
    *running = 0;
    *waiting = 0;
    *used = 0;
    GV_LIST_EACH(&worker->jobs, at, following)
    {
        const struct job *job = GV_CONTAINER(at, struct job, link);
        if (job->rank != rank) {
            continue;
        }
        if (job->work.state == ENGINE_JOB_PREFILL || job->work.state == ENGINE_JOB_DECODE) {
            *running += 1;
            *used += job->work.prompt_tokens + job->sent_tokens;
        } else if (job->work.state == ENGINE_JOB_QUEUED) {
            *waiting += 1;
        }
    }
}

static double share(uint64_t part, uint64_t whole)
{
    return whole == 0 ? 0 : (double)part / (double)whole;
}

/* What it says that its cache holds: an engine may be wrong about it. */
static uint64_t told_tokens(const struct mock_options *options)
{
    return options->told_tokens > 0 ? options->told_tokens : options->engine.capacity_tokens;
}

static void reply_server_info(struct conn *conn)
{
    const struct mock_worker *worker = conn->worker;
    const struct mock_options *options = &worker->mock->options;
    json_t *json = json_pack(
        "{s:s,s:s,s:s,s:s,s:i,s:i,s:i,s:s,s:s,s:i,s:I,s:I,s:b,s:s,s:I,s:i}", "model_path",
        options->models[0], "tokenizer_path", options->models[0], "served_model_name",
        options->models[0], "host", options->host, "port", (int)worker->port, "tp_size", 1,
        "dp_size", (int)options->dp_size, "load_balance_method", "round_robin",
        "disaggregation_mode", mock_role_name(options->role), "page_size",
        (int)options->engine.block_tokens, "max_total_num_tokens", (json_int_t)told_tokens(options),
        "context_length", (json_int_t)131072, "is_embedding", 0, "version", "mock-" GV_VERSION,
        "max_running_requests", (json_int_t)options->max_running, "pp_size", 1);
    json_object_set_new(json, "start_time_ms", json_integer((json_int_t)worker->started_wall_ms));
    json_object_set_new(json, "generation", json_integer((json_int_t)worker->generation));
    if (options->role == MOCK_PREFILL) {
        json_object_set_new(json, "disaggregation_bootstrap_port",
                            json_integer(worker->bootstrap_port));
    }
    json_object_set_new(json, "internal_states",
                        json_pack("[{s:I,s:I}]", "max_total_num_tokens",
                                  (json_int_t)told_tokens(options), "max_running_requests",
                                  (json_int_t)options->max_running));
    conn_reply_json(conn, 200, json);
}

static json_t *load_of(const struct mock_worker *worker, uint32_t rank)
{
    const struct mock_options *options = &worker->mock->options;
    uint64_t running, waiting, used;
    measure(worker, rank, &running, &waiting, &used);
    return json_pack(
        "{s:i,s:I,s:I,s:I,s:I,s:I,s:f,s:f,s:f,s:f,s:I,s:s}", "dp_rank", (int)rank,
        "num_running_reqs", (json_int_t)running, "num_waiting_reqs", (json_int_t)waiting,
        "num_total_reqs", (json_int_t)(running + waiting), "num_used_tokens", (json_int_t)used,
        "max_total_num_tokens", (json_int_t)options->engine.capacity_tokens, "token_usage",
        share(used, options->engine.capacity_tokens), "gen_throughput", 0.0, "cache_hit_rate",
        share(worker->stats.cached_tokens, worker->stats.prompt_tokens), "utilization",
        share(running, options->max_running), "max_running_requests",
        (json_int_t)options->max_running, "disagg_mode", mock_role_name(options->role));
}

static void reply_loads(struct conn *conn)
{
    uint32_t ranks = conn->worker->mock->options.dp_size;
    json_t *loads = json_array();
    for (uint32_t i = 0; i < ranks; i++) {
        json_array_append_new(loads, load_of(conn->worker, i));
    }
    conn_reply_json(conn, 200,
                    json_pack("{s:f,s:s,s:i,s:o}", "timestamp", (double)gv_clock_wall_ms() / 1000,
                              "version", "mock-" GV_VERSION, "dp_rank_count", (int)ranks, "loads",
                              loads));
}

/* The gauges of one rank, in the words of the kind. */
static enum gv_err write_gauges(const struct mock_worker *worker, uint32_t rank, struct gv_buf *out)
{
    const struct mock_options *options = &worker->mock->options;
    bool vllm = options->kind == MOCK_VLLM;
    const char *model = options->models[0];
    const char *prefix = vllm ? "vllm" : "sglang";
    const char *label = vllm ? "engine" : "dp_rank";
    const char *names[3] = {vllm ? "num_requests_running" : "num_running_reqs",
                            vllm ? "num_requests_waiting" : "num_queue_reqs",
                            vllm ? "kv_cache_usage_perc" : "token_usage"};
    uint64_t running, waiting, used;
    measure(worker, rank, &running, &waiting, &used);
    double values[3] = {(double)running, (double)waiting,
                        share(used, options->engine.capacity_tokens)};
    enum gv_err err = GV_OK;
    for (int i = 0; i < 3 && err == GV_OK; i++) {
        err = gv_buf_append_format(out, "%s:%s{%s=\"%u\",model_name=\"%s\"} %.6f\n", prefix,
                                   names[i], label, (unsigned)rank, model, values[i]);
    }
    return err;
}

static void reply_metrics(struct conn *conn)
{
    const struct mock_worker *worker = conn->worker;
    const struct mock_options *options = &worker->mock->options;
    struct gv_buf out;
    gv_buf_init(&out, GV_MEM_BUFFER, 65536);
    enum gv_err err = GV_OK;
    for (uint32_t i = 0; i < options->dp_size && err == GV_OK; i++) {
        err = write_gauges(worker, i, &out);
    }
    if (err == GV_OK && options->kind == MOCK_VLLM) {
        err = gv_buf_append_format(
            &out, "vllm:cache_config_info{block_size=\"%u\",num_gpu_blocks=\"%llu\"} 1.0\n",
            (unsigned)options->engine.block_tokens,
            (unsigned long long)(told_tokens(options) / options->engine.block_tokens));
    }
    if (err == GV_OK) {
        err = gv_buf_append_format(&out, "process_start_time_seconds %.3f\n",
                                   (double)worker->started_wall_ms / 1000);
    }
    if (err == GV_OK) {
        conn_reply(conn, 200, "text/plain; version=0.0.4; charset=utf-8", gv_buf_slice(&out));
    } else {
        conn_error(conn, 500, "out of memory");
    }
    gv_buf_deinit(&out);
}

static void reply_version(struct conn *conn)
{
    conn_reply_json(conn, 200, json_pack("{s:s}", "version", "mock-" GV_VERSION));
}

static void reply_health(struct conn *conn)
{
    conn->worker->stats.health_requests += 1;
    struct mock_fault fault = control_take_fault(conn->worker, true);
    uint16_t status = fault.kind == MOCK_FAULT_HEALTH_DOWN ? fault.status : 200;
    conn_reply(conn, status, "text/plain", gv_slice_of(NULL, 0));
}

static void flush_cache(struct conn *conn)
{
    engine_flush(&conn->worker->engine);
    conn_reply(conn, 200, "text/plain; charset=utf-8", gv_slice_text("Cache flushed.\n"));
}

static void abort_request(struct conn *conn)
{
    struct gv_slice body = gv_buf_slice(&conn->body);
    json_t *json = json_loadb((const char *)body.data, body.len, 0, NULL);
    const char *rid = json_string_value(json_object_get(json, "rid"));
    if (rid != NULL || json_is_true(json_object_get(json, "abort_all"))) {
        (void)job_abort_by_id(conn->worker, rid);
        conn->worker->stats.aborts += 1;
        json_decref(json);
        conn_reply(conn, 200, "text/plain", gv_slice_of(NULL, 0));
        return;
    }
    json_decref(json);
    conn_error(conn, 400, "rid or abort_all is needed");
}

#define SGLANG (1u << MOCK_SGLANG)
#define VLLM   (1u << MOCK_VLLM)
#define ALL    (SGLANG | VLLM | 1u << MOCK_OPENAI)

struct route {
    const char *path;
    bool post; /* else GET */
    void (*reply)(struct conn *conn);
    unsigned kinds; /* that have it */
};

static const struct route routes[] = {
    {"/health", false, reply_health, ALL},
    {"/health_generate", false, reply_health, SGLANG},
    {"/v1/models", false, reply_models, ALL},
    {"/version", false, reply_version, VLLM},
    {"/get_model_info", false, reply_model_info, SGLANG},
    {"/model_info", false, reply_model_info, SGLANG},
    {"/get_server_info", false, reply_server_info, SGLANG},
    {"/server_info", false, reply_server_info, SGLANG},
    {"/v1/loads", false, reply_loads, SGLANG},
    {"/metrics", false, reply_metrics, SGLANG | VLLM},
    {"/flush_cache", true, flush_cache, SGLANG},
    {"/abort_request", true, abort_request, SGLANG},
};

static bool key_is_good(const struct conn *conn)
{
    const char *key = conn->worker->mock->options.api_key;
    const char *said = conn->authorization;
    return key == NULL ||
           (said != NULL && strncmp(said, "Bearer ", 7) == 0 && strcmp(said + 7, key) == 0);
}

/* Remember the request for GET /_mock/stats, and count it. */
static void note(struct conn *conn)
{
    struct mock_worker *worker = conn->worker;
    worker->stats.requests += 1;
    worker->stats.in_flight += 1;
    conn->serving = true;
    conn->aborted = false;
    gv_mem_free(GV_MEM_GENERAL, worker->last_head);
    worker->last_head = conn->head_json;
    conn->head_json = NULL;
    gv_buf_clear(&worker->last_body);
    if (gv_buf_append(&worker->last_body, gv_buf_slice(&conn->body)) != GV_OK) {
        gv_buf_clear(&worker->last_body);
    }
}

static void start(struct conn *conn)
{
    struct gv_slice query;
    enum gv_endpoint endpoint;
    bool found = gv_endpoint_find(path_of(conn->target, &query), &endpoint);
    GV_ASSERT(found); /* api_handle() has seen it */
    job_start(conn, endpoint);
}

/* What a fault does before the answer begins; the others strike while it is sent. */
static void strike(struct conn *conn)
{
    switch (conn->fault.kind) {
    case MOCK_FAULT_ERROR:
        conn_error(conn, conn->fault.status, "a fault, as ordered");
        return;
    case MOCK_FAULT_HANG_BEFORE_HEAD:
        conn_raw(conn, gv_slice_of(NULL, 0), false);
        return;
    case MOCK_FAULT_CLOSE_BEFORE_HEAD:
        conn_raw(conn, gv_slice_of(NULL, 0), true);
        return;
    case MOCK_FAULT_BAD_HTTP:
        conn_raw(conn, gv_slice_text("HTP/9.9 what is this\r\n\x01\r\n\r\n"), true);
        return;
    case MOCK_FAULT_SLOW:
        conn->state = CONN_DELAYED;
        conn->resume_at_us = gv_clock_us() + conn->fault.ms * 1000;
        worker_wake(conn->worker);
        return;
    case MOCK_FAULT_NONE:
    case MOCK_FAULT_REFUSE:
    case MOCK_FAULT_HANG_MID_STREAM:
    case MOCK_FAULT_CLOSE_MID_STREAM:
    case MOCK_FAULT_HEALTH_DOWN:
    case MOCK_FAULT_GARBAGE_LENGTH:
    case MOCK_FAULT_COUNT:
        start(conn);
        return;
    }
}

void api_resume(struct conn *conn)
{
    conn->state = CONN_ANSWERING;
    start(conn);
    conn_go_on(conn);
}

void api_handle(struct conn *conn)
{
    struct gv_slice query;
    struct gv_slice path = path_of(conn->target, &query);
    if (conn->bootstrap) {
        room_handle(conn);
        return;
    }
    if (gv_slice_starts_with(path, "/_mock/")) {
        control_handle(conn, path, query);
        return;
    }
    bool is_health = gv_slice_starts_with(path, "/health");
    if (!is_health && !key_is_good(conn)) {
        conn_error(conn, 401, "Unauthorized");
        return;
    }
    enum gv_endpoint endpoint;
    bool serves = gv_endpoint_find(path, &endpoint);
    if (serves && conn->method == GV_METHOD_POST) {
        note(conn);
        conn->fault = control_take_fault(conn->worker, false);
        strike(conn);
        return;
    }
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        if (!gv_slice_is(path, routes[i].path) ||
            (routes[i].kinds & 1u << conn->worker->mock->options.kind) == 0) {
            continue;
        }
        if (routes[i].post && conn->method != GV_METHOD_POST) {
            conn_error(conn, 405, "Method Not Allowed");
        } else {
            routes[i].reply(conn);
        }
        return;
    }
    conn_error(conn, serves ? 405 : 404, serves ? "Method Not Allowed" : "Not Found");
}
