/*
 * trace.c - three formats of traces, one line of JSON per request, to one list in order of time.
 *
 *   conversation  {"timestamp": ms, "input_length", "output_length", "hash_ids": [..]}   512 tokens
 *   agentic       {"trace", "t": s, "in", "out", "h": [[first, count], ..]}               64 tokens
 *   text          {"timestamp_us", "session", "prompt", "output"}
 *
 * The conversation trace's times come in steps of 3 s: requests of one step are spread over it,
 * keeping their order. The agentic trace does not say when its sessions began: they are spread over
 * --session-spread-s. Both are drawn from --seed.
 */
#include "replay.h"
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#define CONVERSATION_STEP_US 3000000U
#define CONVERSATION_BLOCK   512
#define AGENTIC_BLOCK        64

struct reader {
    struct trace *trace;
    const struct options *options;
    struct gv_prng prng;
    size_t request_room;
    size_t run_room;
    uint64_t session_name_hash; /* agentic: the session being read */
    uint64_t session_index;     /* counts sessions from 1 */
    uint64_t session_start_us;
    double session_last_s; /* the last request, in the session's own time, */
    double session_cut_s;  /* of which so much has been cut out */
};

static const uint64_t name_secret[2] = {0x7265706c6179, 0x74726163};

static bool grow(void **items, size_t *room, size_t count, size_t bytes)
{
    if (count < *room) {
        return true;
    }
    size_t wanted = *room == 0 ? 1024 : *room * 2;
    void *more = gv_mem_resize(GV_MEM_GENERAL, *items, wanted * bytes);
    if (more == NULL) {
        return false;
    }
    *items = more;
    *room = wanted;
    return true;
}

static bool add_run(struct reader *reader, struct request *request, uint64_t first, uint64_t count)
{
    struct trace *trace = reader->trace;
    struct run *last = request->run_count == 0 ? NULL : &trace->runs[trace->run_count - 1];
    if (last != NULL && last->first + last->count == first) {
        last->count += count;
        return true;
    }
    void *items = trace->runs;
    bool fits = grow(&items, &reader->run_room, trace->run_count, sizeof *trace->runs);
    trace->runs = items;
    if (fits) {
        trace->runs[trace->run_count++] = (struct run){.first = first, .count = count};
        request->run_count += 1;
    }
    return fits;
}

static enum trace_format format_of(const json_t *line)
{
    if (json_object_get(line, "hash_ids") != NULL) {
        return TRACE_CONVERSATION;
    }
    if (json_object_get(line, "h") != NULL) {
        return TRACE_AGENTIC;
    }
    return json_object_get(line, "prompt") != NULL ? TRACE_TEXT : TRACE_AUTO;
}

static uint64_t whole(const json_t *line, const char *name)
{
    const json_t *value = json_object_get(line, name);
    return json_is_integer(value) && json_integer_value(value) > 0
               ? (uint64_t)json_integer_value(value)
               : 0;
}

static bool read_conversation(struct reader *reader, const json_t *line, struct request *request)
{
    const json_t *ids = json_object_get(line, "hash_ids");
    request->at_us = whole(line, "timestamp") * 1000;
    request->prompt_tokens = whole(line, "input_length");
    request->output_tokens = (uint32_t)whole(line, "output_length");
    for (size_t i = 0; i < json_array_size(ids); i++) {
        uint64_t id = (uint64_t)json_integer_value(json_array_get(ids, i));
        if (!add_run(reader, request, id, 1)) {
            return false;
        }
        request->session = i <= 1 ? id : request->session; /* the first block is everybody's */
    }
    return json_is_array(ids);
}

/* The time of the session's next request, when no gap may be longer than --gap-max-s. */
static double cut_gap(struct reader *reader, double at_s)
{
    double gap_s = at_s - reader->session_last_s;
    double most_s = reader->options->gap_max_s;
    reader->session_cut_s += most_s > 0 && gap_s > most_s ? gap_s - most_s : 0;
    reader->session_last_s = at_s > reader->session_last_s ? at_s : reader->session_last_s;
    return at_s - reader->session_cut_s;
}

static bool read_agentic(struct reader *reader, const json_t *line, struct request *request)
{
    const char *name = json_string_value(json_object_get(line, "trace"));
    const json_t *runs = json_object_get(line, "h");
    double at_s = json_number_value(json_object_get(line, "t"));
    if (name == NULL || !json_is_array(runs)) {
        return false;
    }
    uint64_t hash = gv_siphash(name_secret, gv_slice_text(name));
    if (reader->session_index == 0 || hash != reader->session_name_hash) {
        reader->session_name_hash = hash;
        reader->session_index += 1;
        reader->session_start_us =
            (uint64_t)(gv_prng_unit(&reader->prng) * reader->options->session_spread_s * 1e6);
        reader->session_last_s = 0;
        reader->session_cut_s = 0;
    }
    at_s = cut_gap(reader, at_s);
    request->session = hash;
    request->at_us = reader->session_start_us + (uint64_t)(at_s > 0 ? at_s * 1e6 : 0);
    request->prompt_tokens = whole(line, "in");
    request->output_tokens = (uint32_t)whole(line, "out");
    for (size_t i = 0; i < json_array_size(runs); i++) {
        const json_t *run = json_array_get(runs, i);
        uint64_t first = (uint64_t)json_integer_value(json_array_get(run, 0));
        uint64_t count = (uint64_t)json_integer_value(json_array_get(run, 1));
        if (!add_run(reader, request, reader->session_index << 32 | first, count)) {
            return false;
        }
    }
    return true;
}

static bool read_text(const json_t *line, struct request *request)
{
    const json_t *prompt = json_object_get(line, "prompt");
    const char *session = json_string_value(json_object_get(line, "session"));
    if (!json_is_string(prompt)) {
        return false;
    }
    request->at_us = whole(line, "timestamp_us");
    request->session = gv_siphash(name_secret, gv_slice_text(session == NULL ? "" : session));
    request->prompt_tokens = json_string_length(prompt) / 4 + 1;
    request->output_tokens =
        (uint32_t)(json_string_length(json_object_get(line, "output")) / 4 + 1);
    request->text = gv_mem_copy_text(GV_MEM_GENERAL, json_string_value(prompt));
    return request->text != NULL;
}

static bool read_line(struct reader *reader, const json_t *line)
{
    struct trace *trace = reader->trace;
    if (trace->format == TRACE_AUTO) {
        trace->format = format_of(line);
    }
    void *items = trace->requests;
    bool fits = grow(&items, &reader->request_room, trace->request_count, sizeof *trace->requests);
    trace->requests = items;
    if (!fits) {
        return false;
    }
    struct request *request = &trace->requests[trace->request_count];
    *request = (struct request){.first_run = trace->run_count};
    bool good = false;
    switch (trace->format) {
    case TRACE_AUTO:
        break;
    case TRACE_CONVERSATION:
        trace->block_tokens = CONVERSATION_BLOCK;
        good = read_conversation(reader, line, request);
        break;
    case TRACE_AGENTIC:
        trace->block_tokens = AGENTIC_BLOCK;
        good = read_agentic(reader, line, request);
        break;
    case TRACE_TEXT:
        trace->block_tokens = AGENTIC_BLOCK;
        good = read_text(line, request);
        break;
    }
    trace->request_count += good ? 1 : 0;
    return good;
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Spread the requests of each step over it, in their order. */
static bool jitter(struct reader *reader)
{
    struct trace *trace = reader->trace;
    uint64_t *shifts = gv_mem_new(GV_MEM_GENERAL, (trace->request_count + 1) * sizeof *shifts);
    if (shifts == NULL) {
        return false;
    }
    for (size_t from = 0; from < trace->request_count;) {
        size_t to = from;
        while (to < trace->request_count &&
               trace->requests[to].at_us == trace->requests[from].at_us) {
            shifts[to - from] = gv_prng_below(&reader->prng, CONVERSATION_STEP_US);
            to += 1;
        }
        qsort(shifts, to - from, sizeof *shifts, by_number);
        for (size_t i = from; i < to; i++) {
            trace->requests[i].at_us += shifts[i - from];
        }
        from = to;
    }
    gv_mem_free(GV_MEM_GENERAL, shifts);
    return true;
}

/* In order of time; what was at the same time stays in the file's order (runs come in that). */
static int by_time(const void *a, const void *b)
{
    const struct request *x = a;
    const struct request *y = b;
    if (x->at_us != y->at_us) {
        return x->at_us < y->at_us ? -1 : 1;
    }
    return x->first_run < y->first_run ? -1 : x->first_run > y->first_run;
}

/* To the replay's own clock: as fast as told, or at a steady rate with random gaps. */
static void set_times(struct reader *reader)
{
    struct trace *trace = reader->trace;
    const struct options *options = reader->options;
    uint64_t start_us = trace->requests[0].at_us;
    trace->span_s = (double)(trace->requests[trace->request_count - 1].at_us - start_us) / 1e6;
    double at_us = 0;
    for (size_t i = 0; i < trace->request_count; i++) {
        struct request *request = &trace->requests[i];
        if (options->rate > 0) {
            request->at_us = (uint64_t)at_us;
            at_us += gv_prng_unit(&reader->prng) * 2e6 / options->rate;
        } else {
            request->at_us = (uint64_t)((double)(request->at_us - start_us) / options->speed);
        }
    }
}

static bool read_lines(struct reader *reader, FILE *file)
{
    char *text = NULL;
    size_t room = 0;
    ssize_t length;
    size_t number = 0;
    bool good = true;
    while (good && reader->trace->request_count < reader->options->request_max &&
           (length = getline(&text, &room, file)) > 0) {
        number += 1;
        json_t *line = json_loadb(text, (size_t)length, 0, NULL);
        good = line != NULL && read_line(reader, line);
        json_decref(line);
    }
    free(text);
    if (!good) {
        (void)fprintf(stderr, "replay: %s:%zu: not a line of a known trace\n",
                      reader->options->trace_file, number);
    }
    return good;
}

bool trace_read(struct trace *trace, const struct options *options)
{
    struct reader reader = {.trace = trace, .options = options};
    *trace = (struct trace){.format = options->format};
    gv_prng_init(&reader.prng, options->seed);
    FILE *file = fopen(options->trace_file, "r");
    if (file == NULL) {
        (void)fprintf(stderr, "replay: cannot read %s\n", options->trace_file);
        return false;
    }
    bool good = read_lines(&reader, file);
    (void)fclose(file);
    if (good && trace->request_count == 0) {
        (void)fprintf(stderr, "replay: %s: no requests\n", options->trace_file);
        good = false;
    }
    if (good && trace->format == TRACE_CONVERSATION) {
        good = jitter(&reader);
    }
    if (good) {
        qsort(trace->requests, trace->request_count, sizeof *trace->requests, by_time);
        set_times(&reader);
    }
    return good;
}

void trace_free(struct trace *trace)
{
    for (size_t i = 0; i < trace->request_count; i++) {
        gv_mem_free(GV_MEM_GENERAL, trace->requests[i].text);
    }
    gv_mem_free(GV_MEM_GENERAL, trace->requests);
    gv_mem_free(GV_MEM_GENERAL, trace->runs);
    *trace = (struct trace){.format = TRACE_AUTO};
}
