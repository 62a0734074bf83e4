/*
 * corpus.c - insert, split, and read back. See corpus.h.
 */
#include "corpus.h"
#include "grapevine/http/prompt.h"
#include "grapevine/route/fingerprint.h"

#define ID_BYTES 16 /* of a block in the text that stands for ids */
#define KEY      "regular::lab"

/* While it is being made. */
struct maker {
    struct corpus *corpus;
    struct gv_map first; /* first fingerprint of a segment -> its number + 1 */
    size_t segment_room, label_room, path_room;
    uint64_t *chain; /* owned */
    uint32_t chain_count;
    struct gv_fingerprint_secret secret;
    struct gv_prompt_reader *reader; /* owned */
    struct gv_buf body, text;        /* owned */
};

static bool grow(void **items, size_t *room, size_t wanted, size_t bytes)
{
    if (wanted <= *room) {
        return true;
    }
    size_t more = *room * 2 > wanted ? *room * 2 : wanted + 1024;
    void *made = gv_mem_resize(GV_MEM_GENERAL, *items, more * bytes);
    if (made == NULL) {
        return false;
    }
    *items = made;
    *room = more;
    return true;
}

static uint32_t find(const struct maker *maker, uint64_t fingerprint)
{
    void *value = gv_map_find(&maker->first, gv_slice_of(&fingerprint, sizeof fingerprint));
    return value == NULL ? LAB_NONE : (uint32_t)((uintptr_t)value - 1);
}

static bool set_first(struct maker *maker, uint32_t number)
{
    const struct corpus *corpus = maker->corpus;
    uint64_t fingerprint = corpus->labels[corpus->segments[number].label];
    return gv_map_put(&maker->first, gv_slice_of(&fingerprint, sizeof fingerprint),
                      (void *)(uintptr_t)((uintptr_t)number + 1)) == GV_OK;
}

static bool add_segment(struct maker *maker, struct corpus_segment segment, uint32_t *number)
{
    struct corpus *corpus = maker->corpus;
    void *items = corpus->segments;
    bool fits = grow(&items, &maker->segment_room, corpus->segment_count + 1, sizeof segment);
    corpus->segments = items;
    if (!fits) {
        return false;
    }
    *number = (uint32_t)corpus->segment_count;
    corpus->segments[corpus->segment_count++] = segment;
    return set_first(maker, *number);
}

/* The first `count` blocks become a segment of their own; the rest keeps the number, since it is
 * where prompts end. */
static bool split(struct maker *maker, uint32_t number, uint32_t count, uint32_t *upper)
{
    struct corpus_segment *segment = &maker->corpus->segments[number];
    struct corpus_segment head = {segment->parent, count, segment->label};
    segment->label += count;
    segment->count -= count;
    if (!add_segment(maker, head, upper)) {
        return false;
    }
    maker->corpus->segments[number].parent = *upper;
    return set_first(maker, number);
}

static bool add_rest(struct maker *maker, uint32_t parent, uint32_t from, uint32_t *end)
{
    struct corpus *corpus = maker->corpus;
    uint32_t count = maker->chain_count - from;
    void *items = corpus->labels;
    bool fits =
        grow(&items, &maker->label_room, corpus->label_count + count, sizeof *corpus->labels);
    corpus->labels = items;
    if (!fits) {
        return false;
    }
    struct corpus_segment segment = {parent, count, corpus->label_count};
    memcpy(corpus->labels + corpus->label_count, maker->chain + from, count * sizeof *maker->chain);
    corpus->label_count += count;
    return add_segment(maker, segment, end);
}

/* The chain into the trie; `*end` is its last segment. */
static bool insert(struct maker *maker, uint32_t *end)
{
    const struct corpus *corpus = maker->corpus;
    uint32_t parent = LAB_NONE;
    uint32_t at = 0;
    while (at < maker->chain_count) {
        uint32_t number = find(maker, maker->chain[at]);
        if (number == LAB_NONE) {
            return add_rest(maker, parent, at, end);
        }
        const struct corpus_segment *segment = &corpus->segments[number];
        uint32_t same = 0;
        while (same < segment->count && at + same < maker->chain_count &&
               corpus->labels[segment->label + same] == maker->chain[at + same]) {
            same += 1;
        }
        at += same;
        if (same < segment->count && !split(maker, number, same, &number)) {
            return false;
        }
        parent = number;
    }
    *end = parent;
    return true;
}

static bool chain_of_bytes(struct maker *maker, struct gv_slice bytes, uint32_t block_bytes)
{
    size_t count = (bytes.len + block_bytes - 1) / block_bytes;
    uint64_t *chain = gv_mem_resize(GV_MEM_GENERAL, maker->chain, (count + 1) * sizeof *chain);
    if (chain == NULL) {
        return false;
    }
    maker->chain = chain;
    maker->chain_count =
        gv_fingerprint_chain(&maker->secret, KEY, bytes, block_bytes, chain,
                             count < GV_FINGERPRINTS_MAX ? (uint32_t)count : GV_FINGERPRINTS_MAX);
    return true;
}

/* Text: as a client sends it and a router reads it. */
static bool chain_of_text(struct maker *maker, const struct trace *trace,
                          const struct request *request, const struct options *options,
                          uint64_t *tokens)
{
    enum gv_problem problem;
    struct gv_prompt prompt;
    gv_buf_clear(&maker->body);
    if (text_body(trace, request, options, &maker->body) != GV_OK ||
        gv_prompt_read(maker->reader, GV_ENDPOINT_CHAT, gv_buf_slice(&maker->body), &maker->text,
                       &prompt, &problem) != GV_OK) {
        return false;
    }
    *tokens = prompt.canonical.len * LAB_BLOCK_TOKENS / LAB_BLOCK_BYTES + 1;
    return chain_of_bytes(maker, prompt.canonical, LAB_BLOCK_BYTES);
}

static bool chain_of_ids(struct maker *maker, const struct trace *trace,
                         const struct request *request)
{
    uint64_t parts = trace->block_tokens / LAB_BLOCK_TOKENS;
    uint64_t left = (request->prompt_tokens + LAB_BLOCK_TOKENS - 1) / LAB_BLOCK_TOKENS;
    gv_buf_clear(&maker->text);
    for (size_t r = 0; r < request->run_count; r++) {
        const struct run *run = &trace->runs[request->first_run + r];
        for (uint64_t i = 0; i < run->count * parts && left > 0; i++, left--) {
            uint64_t name[2] = {run->first + i / parts, i % parts};
            if (gv_buf_append(&maker->text, gv_slice_of(name, sizeof name)) != GV_OK) {
                return false;
            }
        }
    }
    return chain_of_bytes(maker, gv_buf_slice(&maker->text), ID_BYTES);
}

static bool read_prompt(struct maker *maker, const struct trace *trace, size_t i,
                        const struct options *options)
{
    const struct request *request = &trace->requests[i];
    struct corpus *corpus = maker->corpus;
    struct corpus_prompt *prompt = &corpus->prompts[i];
    uint64_t tokens = request->prompt_tokens < 1 ? 1 : request->prompt_tokens;
    bool good = request->text != NULL ? chain_of_text(maker, trace, request, options, &tokens)
                                      : chain_of_ids(maker, trace, request);
    if (!good) {
        return false;
    }
    uint64_t full = tokens / LAB_BLOCK_TOKENS;
    *prompt = (struct corpus_prompt){
        .at_us = request->at_us,
        .session = request->session,
        .tokens = tokens,
        .output_tokens = request->output_tokens < 1 ? 1 : request->output_tokens,
        .block_count = maker->chain_count,
        .full_count = full < maker->chain_count ? (uint32_t)full : maker->chain_count,
        .end = LAB_NONE};
    corpus->tokens += tokens;
    corpus->longest = maker->chain_count > corpus->longest ? maker->chain_count : corpus->longest;
    return maker->chain_count == 0 || insert(maker, &prompt->end);
}

/* From the end up to the root, when no segment will be split any more. */
static bool set_path(struct maker *maker, struct corpus_prompt *prompt)
{
    struct corpus *corpus = maker->corpus;
    for (uint32_t at = prompt->end; at != LAB_NONE; at = corpus->segments[at].parent) {
        prompt->path_count += 1;
    }
    void *items = corpus->paths;
    bool fits = grow(&items, &maker->path_room, corpus->path_count + prompt->path_count,
                     sizeof *corpus->paths);
    corpus->paths = items;
    if (!fits) {
        return false;
    }
    prompt->path = corpus->path_count;
    corpus->path_count += prompt->path_count;
    size_t into = corpus->path_count;
    for (uint32_t at = prompt->end; at != LAB_NONE; at = corpus->segments[at].parent) {
        corpus->paths[--into] = at;
    }
    return true;
}

static bool open_maker(struct maker *maker, struct corpus *corpus, size_t count)
{
    const uint8_t key[32] = {0};
    maker->corpus = corpus;
    gv_map_init(&maker->first, GV_MEM_GENERAL, SIZE_MAX / 2, NULL);
    gv_buf_init(&maker->body, GV_MEM_GENERAL, REPLAY_BODY_MAX);
    gv_buf_init(&maker->text, GV_MEM_GENERAL, REPLAY_BODY_MAX);
    gv_fingerprint_secret_init(&maker->secret, key);
    corpus->prompts = gv_mem_new(GV_MEM_GENERAL, (count + 1) * sizeof *corpus->prompts);
    corpus->prompt_count = count;
    return corpus->prompts != NULL && gv_prompt_reader_new(&maker->reader) == GV_OK;
}

bool corpus_make(struct corpus *corpus, const struct trace *trace, const struct options *options)
{
    struct maker maker = {.chain = NULL};
    *corpus = (struct corpus){.prompts = NULL};
    bool good = open_maker(&maker, corpus, trace->request_count);
    for (size_t i = 0; good && i < trace->request_count; i++) {
        good = read_prompt(&maker, trace, i, options);
    }
    for (size_t i = 0; good && i < trace->request_count; i++) {
        good = set_path(&maker, &corpus->prompts[i]);
    }
    gv_map_deinit(&maker.first);
    gv_buf_deinit(&maker.body);
    gv_buf_deinit(&maker.text);
    gv_mem_free(GV_MEM_GENERAL, maker.chain);
    if (maker.reader != NULL) {
        gv_prompt_reader_free(maker.reader);
    }
    return good;
}

void corpus_free(struct corpus *corpus)
{
    gv_mem_free(GV_MEM_GENERAL, corpus->prompts);
    gv_mem_free(GV_MEM_GENERAL, corpus->segments);
    gv_mem_free(GV_MEM_GENERAL, corpus->labels);
    gv_mem_free(GV_MEM_GENERAL, corpus->paths);
    *corpus = (struct corpus){.prompts = NULL};
}

void corpus_chain(const struct corpus *corpus, const struct corpus_prompt *prompt, uint64_t *chain)
{
    for (uint32_t i = 0; i < prompt->path_count; i++) {
        const struct corpus_segment *segment = &corpus->segments[corpus->paths[prompt->path + i]];
        memcpy(chain, corpus->labels + segment->label, segment->count * sizeof *chain);
        chain += segment->count;
    }
}
