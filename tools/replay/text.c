/*
 * text.c - a request of the trace as the body that a client would send.
 *
 * A block id becomes words that only this id has, so that equal ids give equal text and prompts
 * part where their ids part. --bytes-per-token says how long a token's text is: real sizes at about
 * 4, smaller to replay the same shape with less work.
 */
#include "replay.h"
#include <jansson.h>
#include <stdlib.h>

const char *text_target(enum replay_endpoint endpoint)
{
    switch (endpoint) {
    case REPLAY_CHAT:
        return "/v1/chat/completions";
    case REPLAY_COMPLETIONS:
        return "/v1/completions";
    case REPLAY_GENERATE:
        return "/generate";
    }
    return "";
}

/* Words of seven letters and a blank, which a block's id and their place in it decide. */
static void fill(uint8_t *into, size_t len, uint64_t id)
{
    struct gv_prng prng;
    gv_prng_init(&prng, id);
    for (size_t at = 0; at < len; at += 8) {
        uint64_t bits = gv_prng_next(&prng);
        for (size_t i = at; i < at + 8 && i < len; i++) {
            into[i] = i == at + 7 ? ' ' : (uint8_t)('a' + (bits & 15));
            bits >>= 4;
        }
    }
}

static enum gv_err put_blocks(const struct trace *trace, const struct request *request,
                              double bytes_per_token, struct gv_buf *out)
{
    size_t left = (size_t)((double)request->prompt_tokens * bytes_per_token) + 1;
    size_t block_bytes = (size_t)((double)trace->block_tokens * bytes_per_token) + 1;
    enum gv_err err = GV_OK;
    for (size_t r = 0; err == GV_OK && r < request->run_count; r++) {
        const struct run *run = &trace->runs[request->first_run + r];
        for (uint64_t i = 0; err == GV_OK && i < run->count && left > 0; i++) {
            size_t len = left < block_bytes ? left : block_bytes;
            uint8_t *where = NULL;
            err = gv_buf_reserve(out, len, &where);
            if (err == GV_OK) {
                fill(where, len, run->first + i);
                gv_buf_commit(out, len);
                left -= len;
            }
        }
    }
    return err;
}

/* The text as a JSON string, quotes and all. */
static enum gv_err put_prompt(const struct trace *trace, const struct request *request,
                              double bytes_per_token, struct gv_buf *out)
{
    enum gv_err err = GV_ENOMEM;
    if (request->text == NULL) {
        err = gv_buf_append_text(out, "\"");
        if (err == GV_OK) {
            err = put_blocks(trace, request, bytes_per_token, out);
        }
        return err == GV_OK ? gv_buf_append_text(out, "\"") : err;
    }
    json_t *text = json_string(request->text);
    char *dumped = text == NULL ? NULL : json_dumps(text, JSON_ENCODE_ANY);
    json_decref(text);
    if (dumped != NULL) {
        err = gv_buf_append_text(out, dumped);
    }
    free(dumped);
    return err;
}

static const char *opening(enum replay_endpoint endpoint)
{
    switch (endpoint) {
    case REPLAY_CHAT:
        return "\"messages\":[{\"role\":\"user\",\"content\":";
    case REPLAY_COMPLETIONS:
        return "\"prompt\":";
    case REPLAY_GENERATE:
        return "\"text\":";
    }
    return "";
}

enum gv_err text_body(const struct trace *trace, const struct request *request,
                      const struct options *options, struct gv_buf *out)
{
    uint32_t outputs = request->output_tokens;
    if (outputs > options->output_max) {
        outputs = options->output_max;
    }
    if (outputs == 0) {
        outputs = 1;
    }
    bool generate = options->endpoint == REPLAY_GENERATE;
    enum gv_err err = gv_buf_append_format(out, "{\"model\":\"%s\",%s", options->model,
                                           opening(options->endpoint));
    if (err == GV_OK) {
        err = put_prompt(trace, request, options->bytes_per_token, out);
    }
    if (err == GV_OK) {
        err = gv_buf_append_format(
            out, "%s,%s%u%s", options->endpoint == REPLAY_CHAT ? "}]" : "",
            generate ? "\"sampling_params\":{\"max_new_tokens\":" : "\"max_tokens\":", outputs,
            generate ? "}" : "");
    }
    if (err == GV_OK && options->stream) {
        err = gv_buf_append_format(out, ",\"stream\":true%s",
                                   generate ? "" : ",\"stream_options\":{\"include_usage\":true}");
    }
    return err == GV_OK ? gv_buf_append_text(out, "}") : err;
}
