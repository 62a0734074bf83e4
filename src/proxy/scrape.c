/* scrape.c - see scrape.h. */
#include "scrape.h"

#include <stdio.h>
#include <stdlib.h>

/* One line: name{labels} value. */
struct sample {
    struct gv_slice name;
    struct gv_slice labels; /* between the braces; empty without */
    double value;
};

static struct gv_slice take_line(struct gv_slice *text)
{
    const uint8_t *end = text->len == 0 ? NULL : memchr(text->data, '\n', text->len);
    size_t len = end == NULL ? text->len : (size_t)(end - text->data);
    struct gv_slice line = gv_slice_of(text->data, len);
    size_t used = end == NULL ? len : len + 1;
    *text = gv_slice_of(text->data + used, text->len - used);
    return line;
}

static bool read_number(struct gv_slice slice, double *value)
{
    char text[40];
    if (slice.len == 0 || !gv_slice_copy_text(slice, text, sizeof text)) {
        return false;
    }
    char *end = NULL;
    *value = strtod(text, &end);
    return end != text && *value >= 0 && *value <= 1e18; /* not "NaN", which is no number at all */
}

/* The labels end at the first brace outside quotes. */
static size_t labels_end(struct gv_slice line, size_t from)
{
    bool quoted = false;
    for (size_t i = from; i < line.len; i++) {
        if (quoted && line.data[i] == '\\') {
            i += 1;
        } else if (line.data[i] == '"') {
            quoted = !quoted;
        } else if (!quoted && line.data[i] == '}') {
            return i;
        }
    }
    return line.len;
}

static bool read_line(struct gv_slice line, struct sample *sample)
{
    size_t at = 0;
    while (at < line.len && line.data[at] != '{' && line.data[at] != ' ') {
        at += 1;
    }
    if (at == 0 || at == line.len || line.data[0] == '#') {
        return false;
    }
    sample->name = gv_slice_of(line.data, at);
    sample->labels = gv_slice_of(line.data, 0);
    if (line.data[at] == '{') {
        size_t end = labels_end(line, at + 1);
        if (end == line.len) {
            return false;
        }
        sample->labels = gv_slice_of(line.data + at + 1, end - at - 1);
        at = end + 1;
    }
    struct gv_slice rest = gv_slice_trim(gv_slice_of(line.data + at, line.len - at));
    const uint8_t *blank = rest.len == 0 ? NULL : memchr(rest.data, ' ', rest.len);
    rest.len = blank == NULL ? rest.len : (size_t)(blank - rest.data); /* a timestamp may follow */
    return read_number(rest, &sample->value);
}

/* The value of a label that is a number in quotes. */
static bool label_number(const struct sample *sample, const char *name, double *value)
{
    struct gv_slice labels = sample->labels;
    size_t name_len = strlen(name);
    for (size_t i = 0; i + name_len + 2 < labels.len; i++) {
        bool at_name = i == 0 || labels.data[i - 1] == ',' || labels.data[i - 1] == ' ';
        if (!at_name || memcmp(labels.data + i, name, name_len) != 0 ||
            memcmp(labels.data + i + name_len, "=\"", 2) != 0) {
            continue;
        }
        const uint8_t *from = labels.data + i + name_len + 2;
        size_t left = labels.len - i - name_len - 2;
        const uint8_t *end = left == 0 ? NULL : memchr(from, '"', left);
        return end != NULL && read_number(gv_slice_of(from, (size_t)(end - from)), value);
    }
    return false;
}

/* ---- what it is ---- */

static void learn_kind(struct gv_metadata *metadata, const char *kind)
{
    if (metadata->runtime[0] == '\0') {
        snprintf(metadata->runtime, sizeof metadata->runtime, "%s", kind);
    }
}

/* More seconds than that are no time at all, and would not fit as milliseconds. */
#define START_MAX_S 1e12

static void learn_start(struct gv_metadata *metadata, double seconds)
{
    if (seconds > 0 && seconds <= START_MAX_S) {
        snprintf(metadata->marker, sizeof metadata->marker, "%.3f", seconds);
        metadata->started_wall_ms = (uint64_t)(seconds * 1000);
    }
}

bool gv_scrape_metrics(struct gv_metadata *metadata, struct gv_slice text)
{
    bool learned = false;
    double prompt_tokens = 0;
    uint64_t capacity = 0;
    while (text.len > 0) {
        struct sample sample;
        if (!read_line(take_line(&text), &sample)) {
            continue;
        }
        bool vllm = gv_slice_starts_with(sample.name, "vllm:");
        bool sglang = gv_slice_starts_with(sample.name, "sglang:");
        if (vllm || sglang) {
            learn_kind(metadata, vllm ? "vllm" : "sglang");
        }
        double block = 0;
        double count = 0;
        if (gv_slice_is(sample.name, "process_start_time_seconds")) {
            learn_start(metadata, sample.value);
            learned = learned || metadata->marker[0] != '\0';
        } else if (gv_slice_is(sample.name, "vllm:cache_config_info") &&
                   label_number(&sample, "block_size", &block) &&
                   label_number(&sample, "num_gpu_blocks", &count) && block * count <= 1e15) {
            capacity += (uint64_t)(block * count); /* a line per rank */
        } else if (gv_slice_is(sample.name, "vllm:prompt_tokens_total") ||
                   gv_slice_is(sample.name, "sglang:prompt_tokens_total")) {
            prompt_tokens += sample.value;
            metadata->has_counter = true;
        }
    }
    if (metadata->has_counter) {
        metadata->counter = prompt_tokens;
    }
    if (capacity > 0) {
        metadata->capacity_tokens = capacity;
    }
    return learned || metadata->has_counter || capacity > 0;
}

/* ---- how busy it is ---- */

enum gauge {
    GAUGE_RUNNING = 0,
    GAUGE_WAITING,
    GAUGE_USAGE,
    GAUGE_COUNT
};

static bool gauge_of(struct gv_slice name, enum gauge *gauge)
{
    static const struct {
        const char *name;
        enum gauge gauge;
    } known[] = {
        {"vllm:num_requests_running", GAUGE_RUNNING}, {"vllm:num_requests_waiting", GAUGE_WAITING},
        {"vllm:kv_cache_usage_perc", GAUGE_USAGE},    {"vllm:gpu_cache_usage_perc", GAUGE_USAGE},
        {"sglang:num_running_reqs", GAUGE_RUNNING},   {"sglang:num_queue_reqs", GAUGE_WAITING},
        {"sglang:token_usage", GAUGE_USAGE},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (gv_slice_is(name, known[i].name)) {
            *gauge = known[i].gauge;
            return true;
        }
    }
    return false;
}

/* The load of `rank`, made when missing; NULL: too many ranks. */
static struct gv_engine_load *load_of(struct gv_engine_load *loads, uint32_t *count, uint32_t rank)
{
    for (uint32_t i = 0; i < *count; i++) {
        if (loads[i].rank == rank) {
            return &loads[i];
        }
    }
    if (*count == GV_ENGINE_RANKS_MAX) {
        return NULL;
    }
    loads[*count] = (struct gv_engine_load){.rank = rank};
    return &loads[(*count)++];
}

static uint32_t add(uint32_t sum, double value)
{
    double total = (double)sum + value;
    return total < (double)UINT32_MAX ? (uint32_t)total : UINT32_MAX;
}

uint32_t gv_scrape_loads(struct gv_slice text, struct gv_engine_load *loads)
{
    uint32_t count = 0;
    while (text.len > 0) {
        struct sample sample;
        enum gauge gauge;
        double rank = 0;
        if (!read_line(take_line(&text), &sample) || !gauge_of(sample.name, &gauge)) {
            continue;
        }
        if (!label_number(&sample, "engine", &rank)) {
            (void)label_number(&sample, "dp_rank", &rank);
        }
        struct gv_engine_load *load = rank <= 65535 ? load_of(loads, &count, (uint32_t)rank) : NULL;
        if (load == NULL) {
            continue;
        }
        switch (gauge) {
        case GAUGE_RUNNING:
            load->running = add(load->running, sample.value);
            break;
        case GAUGE_WAITING:
            load->waiting = add(load->waiting, sample.value);
            break;
        case GAUGE_USAGE:
            load->has_usage = true;
            load->usage = sample.value < 1 ? sample.value : 1;
            break;
        case GAUGE_COUNT:
            break;
        }
    }
    return count;
}
