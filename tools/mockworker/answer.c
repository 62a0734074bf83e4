/*
 * answer.c - what an engine says: the JSON of whole answers and of stream events, field by field as
 * SGLang and OpenAI-style engines write it.
 */
#include "job.h"
#include <stdlib.h>

#define PUT(out, ...) GV_ASSERT(gv_buf_append_format((out), __VA_ARGS__) == GV_OK)
#define ULL(value)    ((unsigned long long)(value))

/* Embeddings are this long: enough to look like one. */
#define EMBEDDING_COUNT 8

static const char *const words[] = {" the", " vine",  " climbs", " along", " a",      " wall",
                                    " and", " bears", " its",    " fruit", " late",   " in",
                                    " the", " warm",  " light",  " of",    " autumn."};

static const char *word(uint32_t index)
{
    return words[index % (sizeof words / sizeof words[0])];
}

static void put_text(struct gv_buf *out, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++) {
        PUT(out, "%s", word(i));
    }
}

static const char *finish_reason(const struct job *job)
{
    return job->cut ? "length" : "stop";
}

static uint64_t completion_tokens(const struct job *job)
{
    return (uint64_t)job->work.output_tokens * job->item_count;
}

static void put_usage(struct gv_buf *out, const struct job *job)
{
    uint64_t made = completion_tokens(job);
    PUT(out,
        "{\"prompt_tokens\":%llu,\"total_tokens\":%llu,\"completion_tokens\":%llu,"
        "\"prompt_tokens_details\":{\"cached_tokens\":%llu},\"reasoning_tokens\":0}",
        ULL(job->work.prompt_tokens), ULL(job->work.prompt_tokens + made), ULL(made),
        ULL(job->work.cached_tokens));
}

/* Input log-probabilities: the leg that did the prefill has three, a decode leg one of its own, so
 * that a test sees whose they are and in what order. */
static void put_logprobs(struct gv_buf *out, const struct job *job, uint32_t made)
{
    bool decode = job->worker->mock->options.role == MOCK_DECODE;
    PUT(out, ",\"input_token_logprobs\":%s,\"output_token_logprobs\":[",
        decode ? "[[-0.5,201,null]]" : "[[null,101,null],[-0.25,102,null],[-0.5,103,null]]");
    for (uint32_t i = 0; i < made; i++) {
        PUT(out, "%s[-0.125,%u,null]", i == 0 ? "" : ",", 300 + i);
    }
    PUT(out, "]");
}

/* One object of /generate with the text so far. */
static void put_generated(struct gv_buf *out, const struct job *job, uint32_t item, uint32_t made)
{
    PUT(out, "{\"text\":\"");
    put_text(out, 0, made);
    PUT(out, "\",\"output_ids\":[");
    for (uint32_t i = 0; i < made; i++) {
        PUT(out, "%s%u", i == 0 ? "" : ",", 300 + i);
    }
    PUT(out, "],\"meta_info\":{\"id\":\"%s%s", job->id, job->batch ? "_" : "");
    if (job->batch) {
        PUT(out, "%u", item);
    }
    PUT(out, "\",\"finish_reason\":");
    if (made < job->work.output_tokens) {
        PUT(out, "null");
    } else if (job->cut) {
        PUT(out, "{\"type\":\"length\",\"length\":%u}", made);
    } else {
        PUT(out, "{\"type\":\"stop\",\"matched\":2}");
    }
    PUT(out,
        ",\"prompt_tokens\":%llu,\"completion_tokens\":%u,\"cached_tokens\":%llu,"
        "\"weight_version\":\"default\"",
        ULL(job->work.prompt_tokens), made, ULL(job->work.cached_tokens));
    if (job->logprobs) {
        put_logprobs(out, job, made);
    }
    PUT(out, "}");
    if (job->batch) {
        PUT(out, ",\"index\":%u", item);
    }
    PUT(out, "}");
}

static bool is_chat(const struct job *job)
{
    return job->endpoint == GV_ENDPOINT_CHAT;
}

static void put_chunk_head(struct gv_buf *out, const struct job *job)
{
    PUT(out, "data: {\"id\":\"%s%s\",\"object\":\"%s\",\"created\":%llu,\"model\":%s,\"choices\":[",
        is_chat(job) ? "chatcmpl-" : "cmpl-", job->id,
        is_chat(job) ? "chat.completion.chunk" : "text_completion", ULL(job->created_s),
        job->model_json);
}

/* `content` NULL: no more of it; `reason` NULL: not finished. */
static void put_chunk(struct gv_buf *out, const struct job *job, uint32_t item, const char *content,
                      const char *reason)
{
    put_chunk_head(out, job);
    PUT(out, "{\"index\":%u,", item);
    if (!is_chat(job)) {
        PUT(out, "\"text\":\"%s\"", content == NULL ? "" : content);
    } else if (content != NULL) {
        PUT(out, "\"delta\":{\"content\":\"%s\"}", content);
    } else {
        PUT(out, "\"delta\":%s",
            reason == NULL ? "{\"role\":\"assistant\",\"content\":\"\"}" : "{}");
    }
    PUT(out,
        ",\"logprobs\":null,\"finish_reason\":%s%s%s,\"matched_stop\":null}],\"usage\":null}\n\n",
        reason == NULL ? "" : "\"", reason == NULL ? "null" : reason, reason == NULL ? "" : "\"");
}

static void send_event(struct job *job, struct gv_buf *event)
{
    conn_stream(job->conn, gv_buf_slice(event));
    gv_buf_clear(event);
}

void answer_tokens(struct job *job, uint32_t from, uint32_t to)
{
    struct gv_buf event;
    gv_buf_init(&event, GV_MEM_BUFFER, MOCK_REPLY_BYTES_MAX);
    for (uint32_t item = 0; from == 0 && is_chat(job) && item < job->item_count; item++) {
        put_chunk(&event, job, item, NULL, NULL);
        send_event(job, &event);
    }
    for (uint32_t token = from; token < to; token++) {
        for (uint32_t item = 0; item < job->item_count; item++) {
            if (job->endpoint == GV_ENDPOINT_GENERATE) {
                PUT(&event, "data: ");
                put_generated(&event, job, item, token + 1);
                PUT(&event, "\n\n");
            } else {
                put_chunk(&event, job, item, word(token), NULL);
            }
            send_event(job, &event);
        }
    }
    gv_buf_deinit(&event);
}

static void end_stream(struct job *job, struct gv_buf *event)
{
    bool openai = job->endpoint != GV_ENDPOINT_GENERATE;
    for (uint32_t item = 0; openai && item < job->item_count; item++) {
        put_chunk(event, job, item, NULL, finish_reason(job));
        send_event(job, event);
    }
    if (openai && job->include_usage) {
        put_chunk_head(event, job);
        PUT(event, "],\"usage\":");
        put_usage(event, job);
        PUT(event, "}\n\n");
        send_event(job, event);
    }
    PUT(event, "data: [DONE]\n\n");
    send_event(job, event);
    conn_stream_end(job->conn);
}

static void put_completion(struct gv_buf *out, const struct job *job)
{
    PUT(out, "{\"id\":\"%s%s\",\"object\":\"%s\",\"created\":%llu,\"model\":%s,\"choices\":[",
        is_chat(job) ? "chatcmpl-" : "cmpl-", job->id,
        is_chat(job) ? "chat.completion" : "text_completion", ULL(job->created_s), job->model_json);
    for (uint32_t item = 0; item < job->item_count; item++) {
        PUT(out, "%s{\"index\":%u,%s", item == 0 ? "" : ",", item,
            is_chat(job) ? "\"message\":{\"role\":\"assistant\",\"content\":\"" : "\"text\":\"");
        put_text(out, 0, job->work.output_tokens);
        PUT(out, "%s,\"logprobs\":null,\"finish_reason\":\"%s\",\"matched_stop\":null}",
            is_chat(job) ? "\",\"tool_calls\":null}" : "\"", finish_reason(job));
    }
    PUT(out, "],\"usage\":");
    put_usage(out, job);
    if (job->worker->mock->options.vllm && job->worker->mock->options.role == MOCK_PREFILL) {
        PUT(out,
            ",\"kv_transfer_params\":{\"do_remote_prefill\":true,\"do_remote_decode\":false,"
            "\"remote_engine_id\":\"%s\",\"remote_block_ids\":[1,2],\"cached_tokens\":%llu}",
            job->id, ULL(job->work.cached_tokens));
    }
    PUT(out, "}");
}

static void put_generate(struct gv_buf *out, const struct job *job)
{
    PUT(out, "%s", job->batch ? "[" : "");
    for (uint32_t item = 0; item < job->item_count; item++) {
        PUT(out, "%s", item == 0 ? "" : ",");
        put_generated(out, job, item, job->work.output_tokens);
    }
    PUT(out, "%s", job->batch ? "]" : "");
}

static void put_embeddings(struct gv_buf *out, const struct job *job)
{
    PUT(out, "{\"object\":\"list\",\"data\":[");
    for (uint32_t item = 0; item < job->item_count; item++) {
        PUT(out, "%s{\"object\":\"embedding\",\"index\":%u,\"embedding\":[", item == 0 ? "" : ",",
            item);
        for (uint32_t i = 0; i < EMBEDDING_COUNT; i++) {
            PUT(out, "%s%.6f", i == 0 ? "" : ",", 1.0 / (double)(item + i + 2));
        }
        PUT(out, "]}");
    }
    PUT(out, "],\"model\":%s,\"usage\":{\"prompt_tokens\":%llu,\"total_tokens\":%llu}}",
        job->model_json, ULL(job->work.prompt_tokens), ULL(job->work.prompt_tokens));
}

/* Best document first, as engines answer; the later a document, the better we like it. */
static void put_rerank(struct gv_buf *out, const struct job *job)
{
    const json_t *documents = json_object_get(job->body, "documents");
    size_t count = json_array_size(documents);
    PUT(out, "[");
    for (size_t i = count; i > 0; i--) {
        char *text = json_dumps(json_array_get(documents, i - 1), JSON_ENCODE_ANY | JSON_COMPACT);
        PUT(out,
            "%s{\"score\":%.6f,\"document\":%s,\"index\":%zu,\"meta_info\":{\"id\":\"%s\","
            "\"finish_reason\":null,\"prompt_tokens\":%llu}}",
            i == count ? "" : ",", (double)i / (double)count, text == NULL ? "null" : text, i - 1,
            job->id, ULL(job->work.prompt_tokens));
        free(text);
    }
    PUT(out, "]");
}

static void put_classes(struct gv_buf *out, const struct job *job)
{
    PUT(out, "{\"id\":\"classify-%s\",\"object\":\"list\",\"created\":%llu,\"model\":%s,\"data\":[",
        job->id, ULL(job->created_s), job->model_json);
    for (uint32_t item = 0; item < job->item_count; item++) {
        PUT(out, "%s{\"index\":%u,\"label\":\"LABEL_0\",\"probs\":[0.75,0.25],\"num_classes\":2}",
            item == 0 ? "" : ",", item);
    }
    PUT(out,
        "],\"usage\":{\"prompt_tokens\":%llu,\"total_tokens\":%llu,\"completion_tokens\":0,"
        "\"prompt_tokens_details\":null}}",
        ULL(job->work.prompt_tokens), ULL(job->work.prompt_tokens));
}

static void put_whole(struct gv_buf *out, const struct job *job)
{
    switch (job->endpoint) {
    case GV_ENDPOINT_CHAT:
    case GV_ENDPOINT_COMPLETIONS:
        put_completion(out, job);
        break;
    case GV_ENDPOINT_GENERATE:
        put_generate(out, job);
        break;
    case GV_ENDPOINT_EMBEDDINGS:
        put_embeddings(out, job);
        break;
    case GV_ENDPOINT_RERANK:
        put_rerank(out, job);
        break;
    case GV_ENDPOINT_CLASSIFY:
        put_classes(out, job);
        break;
    case GV_ENDPOINT_COUNT:
        break;
    }
}

void answer_end(struct job *job)
{
    struct gv_buf out;
    gv_buf_init(&out, GV_MEM_BUFFER, MOCK_REPLY_BYTES_MAX);
    if (job->stream) {
        end_stream(job, &out);
    } else {
        put_whole(&out, job);
        conn_reply(job->conn, 200, "application/json", gv_buf_slice(&out));
    }
    gv_buf_deinit(&out);
}
