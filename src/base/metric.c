/*
 * metric.c - the registry: families in the order they came, each with its cells.
 *
 * One mutex guards the lists and the lookup tables. Adding to a cell touches only the atomics in
 * it. Rendering holds the mutex, so that no cell is dropped under it.
 */
#include "grapevine/base/metric.h"
#include "grapevine/base/assert.h"
#include "grapevine/base/list.h"
#include "grapevine/base/lock.h"
#include "grapevine/base/map.h"
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#define FAMILIES_MAX  512
#define KEY_MAX_BYTES 2048 /* all label values of a cell, each with its NUL */

const double gv_metric_seconds_bounds[] = {0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1,
                                           2,     5,     10,    20,   30,   60,   120, 300, 600};
const size_t gv_metric_seconds_bound_count =
    sizeof gv_metric_seconds_bounds / sizeof gv_metric_seconds_bounds[0];

struct gv_metric {
    struct gv_list cells; /* place in its family */
    const struct gv_metric_family *family;
    char *key;                 /* owned; the label values, each with its NUL */
    _Atomic uint64_t value;    /* counter: the number; gauge and histogram sum: a double's bits */
    _Atomic uint64_t *buckets; /* behind the cell; histogram: one per bound, and one beyond */
};

struct entry {
    const struct gv_metric_family *family; /* borrowed for ever */
    size_t label_count;
    struct gv_list cells;    /* in the order they were made */
    struct gv_map by_key;    /* label values -> cell */
    struct gv_metric *other; /* owned; rendered once it was used */
    bool is_other_used;
};

static struct gv_mutex lock = {PTHREAD_MUTEX_INITIALIZER};
static struct entry entries[FAMILIES_MAX];
static size_t entry_count;
/* Where numbers go when not even a family could be registered. Never rendered. */
static struct gv_metric nowhere;

static uint64_t bits_of(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static double double_of(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static size_t count_labels(const struct gv_metric_family *family)
{
    size_t count = 0;
    while (count < GV_METRIC_LABELS_MAX && family->labels[count] != NULL) {
        count += 1;
    }
    return count;
}

static struct gv_metric *make_cell(const struct gv_metric_family *family, struct gv_slice key)
{
    size_t buckets = family->type == GV_METRIC_HISTOGRAM ? family->bound_count + 1 : 0;
    struct gv_metric *cell =
        gv_mem_new(GV_MEM_GENERAL, sizeof *cell + buckets * sizeof *cell->buckets);
    if (cell == NULL) {
        return NULL;
    }
    cell->key = gv_mem_new(GV_MEM_GENERAL, key.len);
    if (cell->key == NULL) {
        gv_mem_free(GV_MEM_GENERAL, cell);
        return NULL;
    }
    if (key.len > 0) {
        memcpy(cell->key, key.data, key.len);
    }
    cell->family = family;
    cell->buckets = (_Atomic uint64_t *)(void *)(cell + 1);
    gv_list_init(&cell->cells);
    return cell;
}

static void free_cell(struct gv_metric *cell)
{
    gv_mem_free(GV_MEM_GENERAL, cell->key);
    gv_mem_free(GV_MEM_GENERAL, cell);
}

static struct entry *find_entry(const struct gv_metric_family *family)
{
    for (size_t i = 0; i < entry_count; i++) {
        if (entries[i].family == family) {
            return &entries[i];
        }
    }
    return NULL;
}

static bool is_name_taken(const char *name)
{
    for (size_t i = 0; i < entry_count; i++) {
        if (strcmp(entries[i].family->name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* With the lock held. */
static enum gv_err add_entry(const struct gv_metric_family *family)
{
    if (find_entry(family) != NULL) {
        return GV_OK;
    }
    if (is_name_taken(family->name)) {
        return GV_EEXISTS;
    }
    if (entry_count == FAMILIES_MAX) {
        return GV_EFULL;
    }
    static const char others[] = "other\0other\0other\0other\0other\0other";
    _Static_assert(sizeof others == GV_METRIC_LABELS_MAX * sizeof "other", "one per label");
    size_t label_count = count_labels(family);
    struct gv_metric *other = make_cell(family, gv_slice_of(others, label_count * sizeof "other"));
    if (other == NULL) {
        return GV_ENOMEM;
    }
    struct entry *entry = &entries[entry_count];
    *entry = (struct entry){.family = family, .label_count = label_count, .other = other};
    gv_list_init(&entry->cells);
    /* Label values come from strangers (model names); the key of the table need not repeat. */
    uint64_t secret[2] = {0, 0};
    if (getentropy(secret, sizeof secret) != 0) {
        secret[0] = (uint64_t)(uintptr_t)other; /* no entropy so early: the heap's address */
    }
    gv_map_init(&entry->by_key, GV_MEM_GENERAL, GV_METRIC_CELLS_MAX, secret);
    entry_count += 1;
    return GV_OK;
}

enum gv_err gv_metric_register(const struct gv_metric_family *family)
{
    GV_ASSERT(family->name != NULL && family->help != NULL);
    GV_ASSERT(family->bound_count == 0 || family->bounds != NULL);
    gv_mutex_lock(&lock);
    enum gv_err err = add_entry(family);
    gv_mutex_unlock(&lock);
    return err;
}

/* The label values one after the other, each with its NUL; false when they are too long. */
static bool make_key(size_t label_count, const char *const *values, char key[KEY_MAX_BYTES],
                     size_t *len)
{
    *len = 0;
    for (size_t i = 0; i < label_count; i++) {
        GV_ASSERT(values != NULL && values[i] != NULL);
        size_t bytes = strlen(values[i]) + 1;
        if (bytes > KEY_MAX_BYTES - *len) {
            return false;
        }
        memcpy(key + *len, values[i], bytes);
        *len += bytes;
    }
    return true;
}

/* With the lock held. NULL when there is no place or memory for it. */
static struct gv_metric *find_or_make(struct entry *entry, const char *const *values)
{
    char key[KEY_MAX_BYTES];
    size_t len;
    if (!make_key(entry->label_count, values, key, &len)) {
        return NULL;
    }
    struct gv_slice slice = gv_slice_of(key, len);
    struct gv_metric *cell = gv_map_find(&entry->by_key, slice);
    if (cell != NULL) {
        return cell;
    }
    cell = make_cell(entry->family, slice);
    if (cell == NULL) {
        return NULL;
    }
    if (gv_map_put(&entry->by_key, slice, cell) != GV_OK) {
        free_cell(cell);
        return NULL;
    }
    gv_list_add(&entry->cells, &cell->cells);
    return cell;
}

struct gv_metric *gv_metric_get(const struct gv_metric_family *family, const char *const *values)
{
    gv_mutex_lock(&lock);
    struct gv_metric *cell = &nowhere;
    struct entry *entry = find_entry(family);
    if (entry == NULL && add_entry(family) == GV_OK) {
        entry = find_entry(family);
    }
    if (entry != NULL) {
        cell = find_or_make(entry, values);
        if (cell == NULL) {
            cell = entry->other;
            entry->is_other_used = true;
        }
    }
    gv_mutex_unlock(&lock);
    return cell;
}

void gv_metric_drop(const struct gv_metric_family *family, const char *const *values)
{
    gv_mutex_lock(&lock);
    struct entry *entry = find_entry(family);
    char key[KEY_MAX_BYTES];
    size_t len;
    if (entry != NULL && make_key(entry->label_count, values, key, &len)) {
        struct gv_metric *cell = gv_map_take(&entry->by_key, gv_slice_of(key, len));
        if (cell != NULL) {
            gv_list_remove(&cell->cells);
            free_cell(cell);
        }
    }
    gv_mutex_unlock(&lock);
}

static enum gv_metric_type type_of(const struct gv_metric *metric)
{
    return metric->family == NULL ? GV_METRIC_COUNTER : metric->family->type;
}

static void add_double(_Atomic uint64_t *cell, double value)
{
    uint64_t before = atomic_load_explicit(cell, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(cell, &before, bits_of(double_of(before) + value),
                                                  memory_order_relaxed, memory_order_relaxed)) {
        /* another thread was first: add to what it left */
    }
}

void gv_metric_add(struct gv_metric *metric, uint64_t n)
{
    GV_ASSERT(type_of(metric) == GV_METRIC_COUNTER);
    atomic_fetch_add_explicit(&metric->value, n, memory_order_relaxed);
}

void gv_metric_set(struct gv_metric *metric, double value)
{
    if (type_of(metric) == GV_METRIC_COUNTER) {
        uint64_t count = value >= 0x1.0p64 ? UINT64_MAX : value > 0 ? (uint64_t)value : 0;
        atomic_store_explicit(&metric->value, count, memory_order_relaxed);
        return;
    }
    GV_ASSERT(type_of(metric) == GV_METRIC_GAUGE);
    atomic_store_explicit(&metric->value, bits_of(value), memory_order_relaxed);
}

void gv_metric_observe(struct gv_metric *metric, double value)
{
    if (metric->family == NULL || isnan(value)) {
        return;
    }
    GV_ASSERT(metric->family->type == GV_METRIC_HISTOGRAM);
    size_t bucket = 0;
    while (bucket < metric->family->bound_count && value > metric->family->bounds[bucket]) {
        bucket += 1;
    }
    atomic_fetch_add_explicit(&metric->buckets[bucket], 1, memory_order_relaxed);
    add_double(&metric->value, value);
}

double gv_metric_value(const struct gv_metric *metric)
{
    uint64_t value = atomic_load_explicit(&metric->value, memory_order_relaxed);
    uint64_t count = 0;
    switch (type_of(metric)) {
    case GV_METRIC_COUNTER:
        return (double)value;
    case GV_METRIC_GAUGE:
        return double_of(value);
    case GV_METRIC_HISTOGRAM:
        for (size_t i = 0; i <= metric->family->bound_count; i++) {
            count += atomic_load_explicit(&metric->buckets[i], memory_order_relaxed);
        }
        return (double)count;
    }
    return 0;
}

/* The text; appending stops at the first failure, which is returned at the end. */
struct page {
    struct gv_buf *out;
    enum gv_err err;
};

static void put(struct page *page, struct gv_slice bytes)
{
    if (page->err == GV_OK) {
        page->err = gv_buf_append(page->out, bytes);
    }
}

static void put_text(struct page *page, const char *text)
{
    put(page, gv_slice_text(text));
}

static void put_count(struct page *page, uint64_t count)
{
    if (page->err == GV_OK) {
        page->err = gv_buf_append_format(page->out, "%llu", (unsigned long long)count);
    }
}

/* As short as reads back the same. */
static void put_double(struct page *page, double value)
{
    char text[40];
    if (isnan(value)) {
        put_text(page, "NaN");
    } else if (isinf(value)) {
        put_text(page, value > 0 ? "+Inf" : "-Inf");
    } else {
        double back = 0;
        for (int digits = 6; digits <= 17; digits++) {
            (void)snprintf(text, sizeof text, "%.*g", digits, value);
            if (sscanf(text, "%lf", &back) == 1 && bits_of(back) == bits_of(value)) {
                break;
            }
        }
        put_text(page, text);
    }
}

/* HELP lines escape backslash and newline; label values the quote too. */
static void put_escaped(struct page *page, const char *text, bool is_label)
{
    for (; *text != '\0'; text++) {
        if (*text == '\\') {
            put_text(page, "\\\\");
        } else if (*text == '\n') {
            put_text(page, "\\n");
        } else if (*text == '"' && is_label) {
            put_text(page, "\\\"");
        } else {
            put(page, gv_slice_of(text, 1));
        }
    }
}

static void put_head(struct page *page, const struct gv_metric_family *family)
{
    static const char *const types[] = {"counter", "gauge", "histogram"};
    put_text(page, "# HELP ");
    put_text(page, family->name);
    put_text(page, " ");
    put_escaped(page, family->help, false);
    put_text(page, "\n# TYPE ");
    put_text(page, family->name);
    put_text(page, " ");
    put_text(page, types[family->type]);
    put_text(page, "\n");
}

/* name_suffix{label="value",...,le="bound"} with a blank after it; `le` may be NULL. */
static void put_series(struct page *page, const struct gv_metric *cell, const char *suffix,
                       const double *le)
{
    const struct gv_metric_family *family = cell->family;
    put_text(page, family->name);
    put_text(page, suffix);
    size_t label_count = count_labels(family);
    const char *value = cell->key;
    for (size_t i = 0; i < label_count; i++) {
        put_text(page, i == 0 ? "{" : ",");
        put_text(page, family->labels[i]);
        put_text(page, "=\"");
        put_escaped(page, value, true);
        put_text(page, "\"");
        value += strlen(value) + 1;
    }
    if (le != NULL) {
        put_text(page, label_count == 0 ? "{le=\"" : ",le=\"");
        put_double(page, *le);
        put_text(page, "\"");
    }
    put_text(page, label_count > 0 || le != NULL ? "} " : " ");
}

static void put_histogram(struct page *page, const struct gv_metric *cell)
{
    const double infinity = HUGE_VAL;
    uint64_t below = 0;
    for (size_t i = 0; i <= cell->family->bound_count; i++) {
        below += atomic_load_explicit(&cell->buckets[i], memory_order_relaxed);
        put_series(page, cell, "_bucket",
                   i == cell->family->bound_count ? &infinity : &cell->family->bounds[i]);
        put_count(page, below);
        put_text(page, "\n");
    }
    put_series(page, cell, "_sum", NULL);
    put_double(page, double_of(atomic_load_explicit(&cell->value, memory_order_relaxed)));
    put_text(page, "\n");
    put_series(page, cell, "_count", NULL);
    put_count(page, below);
    put_text(page, "\n");
}

static void put_cell(struct page *page, const struct gv_metric *cell)
{
    uint64_t value = atomic_load_explicit(&cell->value, memory_order_relaxed);
    switch (cell->family->type) {
    case GV_METRIC_COUNTER:
        put_series(page, cell, "", NULL);
        put_count(page, value);
        put_text(page, "\n");
        break;
    case GV_METRIC_GAUGE:
        put_series(page, cell, "", NULL);
        put_double(page, double_of(value));
        put_text(page, "\n");
        break;
    case GV_METRIC_HISTOGRAM:
        put_histogram(page, cell);
        break;
    }
}

enum gv_err gv_metric_render(struct gv_buf *out)
{
    struct page page = {.out = out, .err = GV_OK};
    gv_mutex_lock(&lock);
    for (size_t i = 0; i < entry_count && page.err == GV_OK; i++) {
        struct entry *entry = &entries[i];
        put_head(&page, entry->family);
        GV_LIST_EACH(&entry->cells, at, following)
        {
            put_cell(&page, GV_CONTAINER(at, struct gv_metric, cells));
        }
        if (entry->is_other_used) {
            put_cell(&page, entry->other);
        }
    }
    gv_mutex_unlock(&lock);
    return page.err;
}
