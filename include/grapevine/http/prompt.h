/*
 * prompt.h - what routing needs from a request body, and no more.
 *
 * One on-demand pass over the JSON (simdjson, behind json.h) finds the model, whether the answer is
 * streamed, batch size, and the spans of the prompt. The canonical prompt is the bytes that decide
 * an engine's KV cache, in the order of a chat template, each piece marked so that two different
 * requests never read the same: LoRA adapter and cache salt, tool definitions (raw JSON), then per
 * message the role and every text part; an image or audio part contributes its reference. Bytes are
 * the raw JSON string bytes as they stand (escapes and all). Pure.
 */
#ifndef GV_HTTP_PROMPT_H
#define GV_HTTP_PROMPT_H

#include "grapevine/base/buf.h"
#include "grapevine/http/problem.h"

enum gv_endpoint {
    GV_ENDPOINT_CHAT = 0,    /* /v1/chat/completions */
    GV_ENDPOINT_COMPLETIONS, /* /v1/completions */
    GV_ENDPOINT_GENERATE,    /* /generate */
    GV_ENDPOINT_EMBEDDINGS,  /* /v1/embeddings */
    GV_ENDPOINT_RERANK,      /* /rerank and /v1/rerank */
    GV_ENDPOINT_CLASSIFY,    /* /v1/classify */
    GV_ENDPOINT_COUNT
};

struct gv_prompt {
    struct gv_slice model; /* raw JSON string bytes, borrowed from the body; empty when none */
    bool stream;
    bool records;        /* the engine keeps KV for it: chat, completions, generate */
    bool logprobs;       /* prefill/decode: input logprobs must be merged */
    uint32_t batch_size; /* 0: a single prompt; n: n items, each needs its own bootstrap room */
    uint32_t max_tokens; /* 0: not said */
    struct gv_slice canonical; /* borrowed from `text` */
};

struct gv_prompt_reader; /* reusable working memory; one per loop */

GV_MUST_USE enum gv_err gv_prompt_reader_new(struct gv_prompt_reader **reader);
void gv_prompt_reader_free(struct gv_prompt_reader *reader);

/** Readable bytes that spare the next gv_prompt_read() a copy of its body. */
#define GV_PROMPT_SPARE_BYTES 64

/**
 * The body that is read next lies in `buf`, whole: make room behind it, so that it need not be
 * copied. Without that room (the buffer is at its limit, or there is no memory) it is.
 */
void gv_prompt_reader_lend(struct gv_prompt_reader *reader, struct gv_buf *buf);

/**
 * Read `body` of a request to `endpoint`. The canonical prompt is written into `text` (cleared
 * first) and cut at text's max_bytes. The body needs no padding. Of a key that occurs twice the
 * last one counts, as in the engines. What routing has no use for is not checked: that is the
 * engine's.
 *
 * Errors: GV_EINVAL with `*problem` GV_PROBLEM_BAD_JSON or GV_PROBLEM_BAD_FIELD; GV_ENOMEM.
 */
GV_MUST_USE enum gv_err gv_prompt_read(struct gv_prompt_reader *reader, enum gv_endpoint endpoint,
                                       struct gv_slice body, struct gv_buf *text,
                                       struct gv_prompt *prompt, enum gv_problem *problem);

/** "chat" for GV_ENDPOINT_CHAT: the label in metrics and logs. */
const char *gv_endpoint_name(enum gv_endpoint endpoint);

/** The endpoint of a path, e.g. "/v1/chat/completions". false: none. */
bool gv_endpoint_find(struct gv_slice path, enum gv_endpoint *endpoint);

#endif
