/*
 * prompt.c - the fields of a request that decide where it goes, in one walk over its JSON.
 *
 * Pieces are written as they are met. What belongs in front of them but comes later in the body
 * (tools behind messages, as most clients send them; a role behind its content) is put there by
 * moving what was written: a copy at memory speed is cheaper than a second walk.
 *
 * Each piece begins with one byte below 0x20, which cannot stand in a raw JSON string.
 */
#include "grapevine/http/prompt.h"
#include "grapevine/base/assert.h"
#include "http/json.h"

enum mark {
    MARK_LORA = 1,
    MARK_SALT,
    MARK_TOOLS,
    MARK_MEDIA,  /* images and sounds beside a plain prompt */
    MARK_PROMPT, /* text */
    MARK_TOKENS, /* token numbers */
    MARK_ROLE,
    MARK_TEXT = 0x0e, /* the control characters between are JSON's blanks */
    MARK_IMAGE,
    MARK_AUDIO,
    MARK_PART, /* any other part of a message, by its key */
    MARK_VALUE,
    MARK_REASONING,
    MARK_CALLS,
    MARK_CALL_ID,
    MARK_NAME
};

/* What must stand before everything else, in this order. */
enum lead {
    LEAD_LORA = 0,
    LEAD_SALT,
    LEAD_TOOLS,
    LEAD_FUNCTIONS,
    LEAD_IMAGES,
    LEAD_AUDIO,
    LEAD_VIDEO,
    LEAD_COUNT
};

struct gv_prompt_reader {
    struct gv_json *json;
    const uint8_t *lent; /* a body with spare bytes behind it; NULL: none */
};

/* One read. */
struct walk {
    enum gv_endpoint endpoint;
    struct gv_buf *text;
    enum gv_problem *problem;
    struct gv_slice model;
    struct gv_slice lead[LEAD_COUNT]; /* raw JSON values; empty when absent */
    bool stream;
    bool logprobs;
    uint32_t n;          /* how many answers are asked for */
    uint32_t item_count; /* prompts in a batch; 0: not a batch */
    uint32_t max_tokens;
    struct gv_slice prompt; /* the longest one */
    enum mark prompt_mark;
};

/* Sets of endpoints. */
#define ON(endpoint) (1u << (endpoint))
#define ON_ANY       ((1u << GV_ENDPOINT_COUNT) - 1)
#define ON_CHAT      ON(GV_ENDPOINT_CHAT)
#define ON_GENERATE  ON(GV_ENDPOINT_GENERATE)
#define ON_OPENAI    (ON_CHAT | ON(GV_ENDPOINT_COMPLETIONS))
#define ON_TEXT      (ON_OPENAI | ON_GENERATE)

/* One message. Borrowed slices, empty when absent. */
struct message {
    struct walk *walk;
    size_t from; /* where it starts in the text */
    struct gv_slice role;
    bool role_written;
    struct gv_slice name;
    struct gv_slice call_id;
    struct gv_slice reasoning;
    struct gv_slice calls;
};

/* Put a marked piece into the text at `at`; what does not fit behind max_bytes is cut off. */
static enum gv_err put(struct gv_buf *text, size_t at, enum mark mark, struct gv_slice piece)
{
    GV_ASSERT(at <= text->len);
    size_t bytes = piece.len + 1;
    if (bytes > text->max_bytes - at) {
        bytes = text->max_bytes - at;
    }
    if (bytes == 0) {
        return GV_OK;
    }
    size_t room = text->max_bytes - at - bytes;
    size_t behind = text->len - at;
    if (behind > room) {
        text->len -= behind - room;
        behind = room;
    }
    uint8_t *end;
    enum gv_err err = gv_buf_reserve(text, bytes, &end);
    if (err != GV_OK) {
        return err;
    }
    uint8_t *where = end - behind;
    memmove(where + bytes, where, behind);
    where[0] = (uint8_t)mark;
    if (bytes > 1) {
        memcpy(where + 1, piece.data, bytes - 1);
    }
    gv_buf_commit(text, bytes);
    return GV_OK;
}

static enum gv_err append(struct walk *walk, enum mark mark, struct gv_slice piece)
{
    return put(walk->text, walk->text->len, mark, piece);
}

/* A piece that is left out when there is none. */
static enum gv_err append_some(struct walk *walk, enum mark mark, struct gv_slice piece)
{
    return piece.data == NULL ? GV_OK : append(walk, mark, piece);
}

/* A value of the wrong kind, or no value at all: the body is then no JSON. */
static enum gv_err refuse(struct walk *walk, enum gv_json_kind kind)
{
    if (kind != GV_JSON_BROKEN) {
        *walk->problem = GV_PROBLEM_BAD_FIELD;
    }
    return GV_EINVAL;
}

/* The raw bytes of any value but null: of a string without its quotes. */
static enum gv_err read_any(struct gv_json_value *value, struct gv_slice *raw)
{
    enum gv_json_kind kind = gv_json_kind(value);
    if (kind == GV_JSON_NULL) {
        *raw = gv_slice_of(NULL, 0);
        return GV_OK;
    }
    return kind == GV_JSON_STRING ? gv_json_string(value, raw) : gv_json_raw(value, raw);
}

static enum gv_err read_flag(struct walk *walk, struct gv_json_value *value, bool *flag)
{
    enum gv_json_kind kind = gv_json_kind(value);
    if (kind == GV_JSON_NULL) {
        *flag = false;
        return GV_OK;
    }
    if (kind != GV_JSON_BOOL) {
        return refuse(walk, kind);
    }
    return gv_json_bool(value, flag);
}

/* A count; anything else is the engine's to refuse. */
static void read_count(struct gv_json_value *value, uint32_t *count)
{
    uint64_t number;
    *count = 0;
    if (gv_json_kind(value) == GV_JSON_NUMBER && gv_json_u64(value, &number) == GV_OK) {
        *count = number > UINT32_MAX ? UINT32_MAX : (uint32_t)number;
    }
}

/* "image_url": {"url": "..."} */
static enum gv_err on_image_member(void *owner, struct gv_slice name, struct gv_json_value *value)
{
    struct walk *walk = owner;
    struct gv_slice raw;
    if (!gv_slice_is(name, "url")) {
        return GV_OK;
    }
    enum gv_err err = read_any(value, &raw);
    return err == GV_OK ? append_some(walk, MARK_IMAGE, raw) : err;
}

/* One member of a content part: {"type": "text", "text": "..."}. Its key says what it is. */
static enum gv_err on_part_member(void *owner, struct gv_slice name, struct gv_json_value *value)
{
    struct walk *walk = owner;
    struct gv_slice raw;
    if (gv_slice_is(name, "type")) {
        return GV_OK;
    }
    if (gv_slice_is(name, "image_url") && gv_json_kind(value) == GV_JSON_OBJECT) {
        return gv_json_members(value, on_image_member, walk);
    }
    enum gv_err err = read_any(value, &raw);
    if (err != GV_OK || raw.data == NULL) {
        return err;
    }
    if (gv_slice_is(name, "text")) {
        return append(walk, MARK_TEXT, raw);
    }
    if (gv_slice_is(name, "image_url")) {
        return append(walk, MARK_IMAGE, raw);
    }
    if (gv_slice_is(name, "input_audio")) {
        return append(walk, MARK_AUDIO, raw);
    }
    err = append(walk, MARK_PART, name);
    return err == GV_OK ? append(walk, MARK_VALUE, raw) : err;
}

static enum gv_err on_part(void *owner, struct gv_json_value *value)
{
    struct walk *walk = owner;
    if (gv_json_kind(value) == GV_JSON_OBJECT) {
        return gv_json_members(value, on_part_member, walk);
    }
    struct gv_slice raw;
    enum gv_err err = read_any(value, &raw);
    return err == GV_OK ? append_some(walk, MARK_TEXT, raw) : err;
}

/* The role comes first, wherever it stood. */
static enum gv_err write_role(struct message *message)
{
    message->role_written = true;
    return put(message->walk->text, message->from, MARK_ROLE, message->role);
}

static enum gv_err read_content(struct message *message, struct gv_json_value *value)
{
    struct walk *walk = message->walk;
    if (message->role.data != NULL && !message->role_written) {
        enum gv_err err = write_role(message);
        if (err != GV_OK) {
            return err;
        }
    }
    if (gv_json_kind(value) == GV_JSON_ARRAY) {
        return gv_json_items(value, on_part, walk);
    }
    struct gv_slice raw;
    enum gv_err err = read_any(value, &raw);
    return err == GV_OK ? append_some(walk, MARK_TEXT, raw) : err;
}

static enum gv_err on_message_member(void *owner, struct gv_slice name, struct gv_json_value *value)
{
    struct message *message = owner;
    if (gv_slice_is(name, "content")) {
        return read_content(message, value);
    }
    if (gv_slice_is(name, "role")) {
        return read_any(value, &message->role);
    }
    if (gv_slice_is(name, "name")) {
        return read_any(value, &message->name);
    }
    if (gv_slice_is(name, "tool_call_id")) {
        return read_any(value, &message->call_id);
    }
    if (gv_slice_is(name, "reasoning_content")) {
        return read_any(value, &message->reasoning);
    }
    if (gv_slice_is(name, "tool_calls") || gv_slice_is(name, "function_call")) {
        return read_any(value, &message->calls);
    }
    return GV_OK;
}

static enum gv_err on_message(void *owner, struct gv_json_value *value)
{
    struct walk *walk = owner;
    enum gv_json_kind kind = gv_json_kind(value);
    if (kind != GV_JSON_OBJECT) {
        return refuse(walk, kind);
    }
    struct message message = {.walk = walk, .from = walk->text->len};
    enum gv_err err = gv_json_members(value, on_message_member, &message);
    if (err == GV_OK && !message.role_written) {
        err = write_role(&message);
    }
    if (err == GV_OK) {
        err = append_some(walk, MARK_REASONING, message.reasoning);
    }
    if (err == GV_OK) {
        err = append_some(walk, MARK_CALLS, message.calls);
    }
    if (err == GV_OK) {
        err = append_some(walk, MARK_CALL_ID, message.call_id);
    }
    return err == GV_OK ? append_some(walk, MARK_NAME, message.name) : err;
}

static enum gv_err read_messages(struct walk *walk, struct gv_json_value *value)
{
    gv_buf_clear(walk->text); /* of two, the last one counts */
    enum gv_json_kind kind = gv_json_kind(value);
    if (kind != GV_JSON_ARRAY) {
        return refuse(walk, kind);
    }
    return gv_json_items(value, on_message, walk);
}

/* One prompt of a batch: a string, or an array of token numbers; of embeddings also an object with
 * a text or an image. The longest is kept. */
static enum gv_err on_prompt(void *owner, struct gv_json_value *value)
{
    struct walk *walk = owner;
    enum gv_json_kind kind = gv_json_kind(value);
    bool is_part = kind == GV_JSON_OBJECT && (ON(walk->endpoint) & ON_TEXT) == 0;
    if (kind != GV_JSON_STRING && kind != GV_JSON_ARRAY && !is_part) {
        return refuse(walk, kind);
    }
    struct gv_slice raw;
    enum gv_err err = read_any(value, &raw);
    if (err != GV_OK) {
        return err;
    }
    walk->item_count += 1;
    if (walk->prompt.data == NULL || raw.len > walk->prompt.len) {
        walk->prompt = raw;
        walk->prompt_mark = kind == GV_JSON_STRING ? MARK_PROMPT : MARK_TOKENS;
    }
    return GV_OK;
}

/* A prompt, or an array of them: string, [token...], [string...] or [[token...]...]. */
static enum gv_err read_prompt(struct walk *walk, struct gv_json_value *value)
{
    enum gv_json_kind kind = gv_json_kind(value);
    if (kind == GV_JSON_NULL) {
        return GV_OK; /* "text": null beside "input_ids" */
    }
    walk->prompt = gv_slice_of(NULL, 0);
    walk->item_count = 0;
    if (kind == GV_JSON_ARRAY && gv_json_first_kind(value) != GV_JSON_NUMBER) {
        return gv_json_items(value, on_prompt, walk);
    }
    if (kind != GV_JSON_ARRAY && kind != GV_JSON_STRING) {
        return refuse(walk, kind);
    }
    walk->prompt_mark = kind == GV_JSON_STRING ? MARK_PROMPT : MARK_TOKENS;
    return read_any(value, &walk->prompt);
}

/* "logprobs": true, or how many; "return_logprob": true, or one for each prompt. */
static enum gv_err read_logprobs(struct walk *walk, struct gv_json_value *value)
{
    struct gv_slice raw;
    enum gv_err err = read_any(value, &raw);
    if (err == GV_OK) {
        walk->logprobs = raw.data != NULL && !gv_slice_is(raw, "false");
    }
    return err;
}

static enum gv_err on_sampling_member(void *owner, struct gv_slice name,
                                      struct gv_json_value *value)
{
    struct walk *walk = owner;
    if (gv_slice_is(name, "max_new_tokens")) {
        read_count(value, &walk->max_tokens);
    }
    return GV_OK;
}

/* The members that mean something to routing: where each belongs. */
enum field {
    FIELD_NONE = 0,
    FIELD_MODEL,
    FIELD_STREAM,
    FIELD_MESSAGES,
    FIELD_PROMPT,
    FIELD_N,
    FIELD_MAX_TOKENS,
    FIELD_SAMPLING,
    FIELD_LOGPROBS,
    FIELD_LEAD /* + enum lead */
};

static const struct {
    struct gv_slice name;
    unsigned endpoints;
    int field;
} fields[] = {
    {GV_SLICE("model"), ON_ANY, FIELD_MODEL},
    {GV_SLICE("stream"), ON_TEXT, FIELD_STREAM},
    {GV_SLICE("messages"), ON_CHAT, FIELD_MESSAGES},
    {GV_SLICE("prompt"), ON(GV_ENDPOINT_COMPLETIONS), FIELD_PROMPT},
    {GV_SLICE("text"), ON_GENERATE | ON(GV_ENDPOINT_CLASSIFY), FIELD_PROMPT},
    {GV_SLICE("input_ids"), ON_GENERATE | ON(GV_ENDPOINT_CLASSIFY), FIELD_PROMPT},
    {GV_SLICE("input"), ON(GV_ENDPOINT_EMBEDDINGS) | ON(GV_ENDPOINT_CLASSIFY), FIELD_PROMPT},
    {GV_SLICE("query"), ON(GV_ENDPOINT_RERANK), FIELD_PROMPT},
    {GV_SLICE("n"), ON_OPENAI, FIELD_N},
    {GV_SLICE("max_tokens"), ON_OPENAI, FIELD_MAX_TOKENS},
    {GV_SLICE("max_completion_tokens"), ON_OPENAI, FIELD_MAX_TOKENS},
    {GV_SLICE("sampling_params"), ON_GENERATE, FIELD_SAMPLING},
    {GV_SLICE("logprobs"), ON_OPENAI, FIELD_LOGPROBS},
    {GV_SLICE("return_logprob"), ON_TEXT, FIELD_LOGPROBS},
    {GV_SLICE("lora_path"), ON_ANY, FIELD_LEAD + LEAD_LORA},
    {GV_SLICE("cache_salt"), ON_ANY, FIELD_LEAD + LEAD_SALT},
    {GV_SLICE("tools"), ON_CHAT, FIELD_LEAD + LEAD_TOOLS},
    {GV_SLICE("functions"), ON_CHAT, FIELD_LEAD + LEAD_FUNCTIONS},
    {GV_SLICE("image_data"), ON_GENERATE, FIELD_LEAD + LEAD_IMAGES},
    {GV_SLICE("audio_data"), ON_GENERATE, FIELD_LEAD + LEAD_AUDIO},
    {GV_SLICE("video_data"), ON_GENERATE, FIELD_LEAD + LEAD_VIDEO},
};

static int field_of(struct gv_slice name, enum gv_endpoint endpoint)
{
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        if ((fields[i].endpoints & ON(endpoint)) != 0 && gv_slice_equal(name, fields[i].name)) {
            return fields[i].field;
        }
    }
    return FIELD_NONE;
}

static enum gv_err read_model(struct walk *walk, struct gv_json_value *value)
{
    enum gv_json_kind kind = gv_json_kind(value);
    if (kind != GV_JSON_STRING && kind != GV_JSON_NULL) {
        return refuse(walk, kind);
    }
    return read_any(value, &walk->model);
}

static enum gv_err on_member(void *owner, struct gv_slice name, struct gv_json_value *value)
{
    struct walk *walk = owner;
    int field = field_of(name, walk->endpoint);
    if (field == FIELD_NONE) {
        return GV_OK;
    }
    if (field >= FIELD_LEAD) {
        return read_any(value, &walk->lead[field - FIELD_LEAD]);
    }
    switch ((enum field)field) {
    case FIELD_MODEL:
        return read_model(walk, value);
    case FIELD_STREAM:
        return read_flag(walk, value, &walk->stream);
    case FIELD_MESSAGES:
        return read_messages(walk, value);
    case FIELD_PROMPT:
        return read_prompt(walk, value);
    case FIELD_LOGPROBS:
        return read_logprobs(walk, value);
    case FIELD_SAMPLING:
        return gv_json_kind(value) == GV_JSON_OBJECT
                   ? gv_json_members(value, on_sampling_member, walk)
                   : GV_OK;
    case FIELD_N:
        read_count(value, &walk->n);
        return GV_OK;
    case FIELD_MAX_TOKENS:
        read_count(value, &walk->max_tokens);
        return GV_OK;
    case FIELD_NONE:
    case FIELD_LEAD:
        break;
    }
    return GV_OK;
}

/* Put what leads in front of what was written, last one first. */
static enum gv_err write_leads(struct walk *walk)
{
    static const enum mark marks[LEAD_COUNT] = {
        [LEAD_LORA] = MARK_LORA,       [LEAD_SALT] = MARK_SALT,    [LEAD_TOOLS] = MARK_TOOLS,
        [LEAD_FUNCTIONS] = MARK_TOOLS, [LEAD_IMAGES] = MARK_MEDIA, [LEAD_AUDIO] = MARK_MEDIA,
        [LEAD_VIDEO] = MARK_MEDIA,
    };
    for (int lead = LEAD_COUNT; lead-- > 0;) {
        if (walk->lead[lead].data == NULL) {
            continue;
        }
        enum gv_err err = put(walk->text, 0, marks[lead], walk->lead[lead]);
        if (err != GV_OK) {
            return err;
        }
    }
    return GV_OK;
}

static enum gv_err read_body(struct walk *walk, struct gv_json *json, struct gv_slice body,
                             size_t spare)
{
    enum gv_err err = gv_json_read(json, body, spare, on_member, walk);
    if (err == GV_EMISMATCH) {
        err = refuse(walk, GV_JSON_ARRAY); /* JSON, but no object */
    }
    if (err == GV_OK && walk->prompt.data != NULL) {
        err = append(walk, walk->prompt_mark, walk->prompt);
    }
    return err == GV_OK ? write_leads(walk) : err;
}

enum gv_err gv_prompt_reader_new(struct gv_prompt_reader **reader)
{
    struct gv_prompt_reader *made = gv_mem_new(GV_MEM_BUFFER, sizeof *made);
    if (made == NULL) {
        return GV_ENOMEM;
    }
    enum gv_err err = gv_json_new(&made->json);
    if (err != GV_OK) {
        gv_mem_free(GV_MEM_BUFFER, made);
        return err;
    }
    *reader = made;
    return GV_OK;
}

void gv_prompt_reader_free(struct gv_prompt_reader *reader)
{
    if (reader != NULL) {
        gv_json_free(reader->json);
        gv_mem_free(GV_MEM_BUFFER, reader);
    }
}

void gv_prompt_reader_lend(struct gv_prompt_reader *reader, struct gv_buf *buf)
{
    uint8_t *behind;
    reader->lent = NULL;
    if (buf->len > 0 && gv_buf_fit(buf, GV_PROMPT_SPARE_BYTES) == GV_OK &&
        gv_buf_reserve(buf, GV_PROMPT_SPARE_BYTES, &behind) == GV_OK) {
        memset(behind, 0, GV_PROMPT_SPARE_BYTES);
        reader->lent = gv_buf_slice(buf).data;
    }
}

enum gv_err gv_prompt_read(struct gv_prompt_reader *reader, enum gv_endpoint endpoint,
                           struct gv_slice body, struct gv_buf *text, struct gv_prompt *prompt,
                           enum gv_problem *problem)
{
    GV_ASSERT(endpoint >= 0 && endpoint < GV_ENDPOINT_COUNT);
    enum gv_problem why = GV_PROBLEM_BAD_JSON;
    struct walk walk = {.endpoint = endpoint, .text = text, .problem = &why};
    gv_buf_clear(text);
    size_t spare = body.data != NULL && body.data == reader->lent ? GV_PROMPT_SPARE_BYTES : 0;
    reader->lent = NULL;
    enum gv_err err = read_body(&walk, reader->json, body, spare);
    if (err != GV_OK) {
        gv_buf_clear(text);
        if (err == GV_EINVAL) {
            *problem = why;
        }
        return err;
    }
    struct gv_slice model = walk.model;
    if (model.data != NULL) {
        model.data = body.data + gv_json_offset(reader->json, model);
    }
    *prompt = (struct gv_prompt){
        .model = model,
        .stream = walk.stream,
        .records = (ON(endpoint) & ON_TEXT) != 0,
        .logprobs = walk.logprobs,
        .batch_size = walk.item_count > 0 ? walk.item_count : (walk.n > 1 ? walk.n : 0),
        .max_tokens = walk.max_tokens,
        .canonical = gv_buf_slice(text),
    };
    return GV_OK;
}
