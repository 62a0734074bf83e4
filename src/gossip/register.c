/*
 * register.c - see register.h.
 */
#include "register.h"

#include "grapevine/base/assert.h"
#include "grapevine/base/map.h"
#include "grapevine/base/mem.h"
#include "grapevine/base/text.h"
#include "limits.h"

struct gv_worker_entry {
    struct gv_gossip_worker record; /* slices point into text */
    uint64_t hash;
    size_t bytes; /* as it travels */
    char text[];
};

/* Bytes of text compared as unsigned, shorter first. */
static int compare(struct gv_slice a, struct gv_slice b)
{
    size_t shared = a.len < b.len ? a.len : b.len;
    int order = shared == 0 ? 0 : memcmp(a.data, b.data, shared);
    if (order != 0) {
        return order;
    }
    return a.len < b.len ? -1 : a.len > b.len ? 1 : 0;
}

void gv_worker_table_init(struct gv_worker_table *table)
{
    *table = (struct gv_worker_table){0};
}

void gv_worker_table_deinit(struct gv_worker_table *table)
{
    for (uint32_t i = 0; i < table->count; i++) {
        gv_mem_free(GV_MEM_GOSSIP, table->entries[i]);
    }
    gv_mem_free(GV_MEM_GOSSIP, table->entries);
    *table = (struct gv_worker_table){0};
}

const struct gv_gossip_worker *gv_worker_table_at(const struct gv_worker_table *table, uint32_t i)
{
    GV_ASSERT(i < table->count);
    return &table->entries[i]->record;
}

static uint32_t place(const struct gv_worker_table *table, struct gv_slice url, bool *found)
{
    uint32_t low = 0, high = table->count;
    *found = false;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = compare(table->entries[middle]->record.url, url);
        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

const struct gv_gossip_worker *gv_worker_table_find(const struct gv_worker_table *table,
                                                    struct gv_slice url)
{
    bool found;
    uint32_t at = place(table, url, &found);
    return found ? &table->entries[at]->record : NULL;
}

/* A record that could not be shown, as a line or as JSON, could not be removed either. */
static bool fits(const struct gv_gossip_worker *worker)
{
    if (!gv_text_is_clean(worker->url) || !gv_text_is_utf8(worker->runtime) ||
        !gv_text_is_utf8(worker->labels) || worker->url.len == 0 ||
        worker->url.len > GV_GOSSIP_URL_MAX || worker->origin.len == 0 ||
        worker->origin.len >= GV_NODE_NAME_MAX || worker->runtime.len > GV_GOSSIP_RUNTIME_MAX ||
        worker->labels.len > GV_GOSSIP_LABELS_MAX || worker->model_count > GV_GOSSIP_MODELS_MAX) {
        return false;
    }
    for (uint32_t i = 0; i < worker->model_count; i++) {
        if (worker->models[i].len == 0 || worker->models[i].len > GV_GOSSIP_MODEL_MAX ||
            !gv_text_is_utf8(worker->models[i])) {
            return false;
        }
    }
    return true;
}

/* Copy a text behind the entry and return where it is. */
static struct gv_slice keep(char *text, size_t *used, struct gv_slice slice)
{
    char *at = text + *used;
    if (slice.len > 0) {
        memcpy(at, slice.data, slice.len);
    }
    *used += slice.len;
    return gv_slice_of(at, slice.len);
}

static uint64_t hash_of(const struct gv_gossip_worker *worker)
{
    uint64_t secret[2] = {worker->version_ms, 0x776f726b6572};
    uint64_t hash = gv_siphash(secret, worker->url);
    secret[1] = hash;
    return gv_siphash(secret, worker->origin);
}

static size_t text_bytes(const struct gv_gossip_worker *worker)
{
    size_t bytes = worker->url.len + worker->origin.len + worker->runtime.len + worker->labels.len;
    for (uint32_t i = 0; i < worker->model_count; i++) {
        bytes += worker->models[i].len;
    }
    return bytes;
}

static struct gv_worker_entry *copy(const struct gv_gossip_worker *worker)
{
    size_t bytes = text_bytes(worker);
    struct gv_worker_entry *entry = gv_mem_new(GV_MEM_GOSSIP, sizeof *entry + bytes + 1);
    if (entry == NULL) {
        return NULL;
    }
    size_t used = 0;
    entry->bytes = bytes + GV_RECORD_OVERHEAD;
    entry->record = *worker;
    entry->record.url = keep(entry->text, &used, worker->url);
    entry->record.origin = keep(entry->text, &used, worker->origin);
    entry->record.runtime = keep(entry->text, &used, worker->runtime);
    entry->record.labels = keep(entry->text, &used, worker->labels);
    for (uint32_t i = 0; i < worker->model_count; i++) {
        entry->record.models[i] = keep(entry->text, &used, worker->models[i]);
    }
    entry->hash = hash_of(worker);
    return entry;
}

static bool is_newer(const struct gv_gossip_worker *a, const struct gv_gossip_worker *b)
{
    if (a->version_ms != b->version_ms) {
        return a->version_ms > b->version_ms;
    }
    return compare(a->origin, b->origin) > 0;
}

/* What a worker was, nobody asks when it is gone. */
static struct gv_gossip_worker without_details(const struct gv_gossip_worker *worker)
{
    return (struct gv_gossip_worker){.url = worker->url,
                                     .deleted = true,
                                     .version_ms = worker->version_ms,
                                     .origin = worker->origin,
                                     .pool = worker->pool,
                                     .bootstrap_port = -1};
}

enum gv_err gv_worker_table_put(struct gv_worker_table *table,
                                const struct gv_gossip_worker *worker)
{
    struct gv_gossip_worker tombstone;
    bool found;
    if (!fits(worker)) {
        return GV_EINVAL;
    }
    if (worker->deleted) {
        tombstone = without_details(worker);
        worker = &tombstone;
    }
    uint32_t at = place(table, worker->url, &found);
    if (found && !is_newer(worker, &table->entries[at]->record)) {
        return GV_ESTALE;
    }
    size_t others = table->bytes - (found ? table->entries[at]->bytes : 0);
    size_t bytes = text_bytes(worker) + GV_RECORD_OVERHEAD;
    bool is_over = others + bytes > GV_RECORDS_BYTES && !(found && worker->deleted);
    if (is_over || (!found && table->count == GV_RECORDS_MAX)) {
        return GV_EFULL;
    }
    if (!found && table->count == table->room) {
        uint32_t room = table->room == 0 ? 16 : table->room * 2;
        struct gv_worker_entry **grown =
            gv_mem_resize(GV_MEM_GOSSIP, table->entries, room * sizeof *grown);
        if (grown == NULL) {
            return GV_ENOMEM;
        }
        table->entries = grown;
        table->room = room;
    }
    struct gv_worker_entry *entry = copy(worker);
    if (entry == NULL) {
        return GV_ENOMEM;
    }
    if (found) {
        gv_mem_free(GV_MEM_GOSSIP, table->entries[at]);
    } else {
        memmove(table->entries + at + 1, table->entries + at,
                (table->count - at) * sizeof(struct gv_worker_entry *));
        table->count += 1;
    }
    table->entries[at] = entry;
    table->bytes = others + bytes;
    return GV_OK;
}

void gv_worker_table_redate(struct gv_worker_table *table, uint32_t i, uint64_t version_ms)
{
    GV_ASSERT(i < table->count);
    table->entries[i]->record.version_ms = version_ms;
    table->entries[i]->hash = hash_of(&table->entries[i]->record);
}

static bool is_expired(const struct gv_worker_entry *entry, uint64_t before_ms)
{
    return entry->record.deleted && entry->record.version_ms < before_ms;
}

void gv_worker_table_expire(struct gv_worker_table *table, uint64_t before_ms)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < table->count; i++) {
        if (is_expired(table->entries[i], before_ms)) {
            table->bytes -= table->entries[i]->bytes;
            gv_mem_free(GV_MEM_GOSSIP, table->entries[i]);
        } else {
            table->entries[kept++] = table->entries[i];
        }
    }
    table->count = kept;
}

uint64_t gv_worker_table_digest(const struct gv_worker_table *table, uint64_t before_ms)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < table->count; i++) {
        if (!is_expired(table->entries[i], before_ms)) {
            sum += table->entries[i]->hash;
        }
    }
    return sum;
}

/* ---- sayings -----------------------------------------------------------------------------------
 */

void gv_sayings_init(struct gv_sayings *sayings)
{
    *sayings = (struct gv_sayings){0};
}

static void free_row(struct gv_saying *row)
{
    gv_mem_free(GV_MEM_GOSSIP, row->url);
    gv_mem_free(GV_MEM_GOSSIP, row);
}

void gv_sayings_deinit(struct gv_sayings *sayings)
{
    for (uint32_t i = 0; i < sayings->count; i++) {
        free_row(sayings->rows[i]);
    }
    gv_mem_free(GV_MEM_GOSSIP, sayings->rows);
    *sayings = (struct gv_sayings){0};
}

void gv_sayings_remove(struct gv_sayings *sayings, uint32_t at)
{
    GV_ASSERT(at < sayings->count);
    free_row(sayings->rows[at]);
    sayings->count -= 1;
    memmove(sayings->rows + at, sayings->rows + at + 1,
            (sayings->count - at) * sizeof(struct gv_saying *));
}

static struct gv_saying *make_row(struct gv_slice url)
{
    struct gv_saying *row = gv_mem_new(GV_MEM_GOSSIP, sizeof *row);
    if (row == NULL) {
        return NULL;
    }
    row->url = gv_mem_new(GV_MEM_GOSSIP, url.len + 1);
    if (row->url == NULL) {
        gv_mem_free(GV_MEM_GOSSIP, row);
        return NULL;
    }
    memcpy(row->url, url.data, url.len);
    return row;
}

/* Index of `url`, or where it belongs. */
static uint32_t place_row(const struct gv_sayings *sayings, struct gv_slice url, bool *found)
{
    uint32_t low = 0, high = sayings->count;
    *found = false;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = compare(gv_slice_text(sayings->rows[middle]->url), url);
        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct gv_saying *gv_sayings_find(const struct gv_sayings *sayings, struct gv_slice url)
{
    bool found;
    uint32_t at = place_row(sayings, url, &found);
    return found ? sayings->rows[at] : NULL;
}

struct gv_saying *gv_sayings_open(struct gv_sayings *sayings, struct gv_slice url)
{
    if (url.len == 0 || url.len > GV_GOSSIP_URL_MAX) {
        return NULL;
    }
    bool found;
    uint32_t at = place_row(sayings, url, &found);
    if (found) {
        return sayings->rows[at];
    }
    if (sayings->count == GV_RECORDS_MAX) {
        return NULL;
    }
    if (sayings->count == sayings->room) {
        uint32_t room = sayings->room == 0 ? 8 : sayings->room * 2;
        struct gv_saying **grown =
            gv_mem_resize(GV_MEM_GOSSIP, sayings->rows, room * sizeof *grown);
        if (grown == NULL) {
            return NULL;
        }
        sayings->rows = grown;
        sayings->room = room;
    }
    struct gv_saying *row = make_row(url);
    if (row == NULL) {
        return NULL;
    }
    memmove(sayings->rows + at + 1, sayings->rows + at,
            (sayings->count - at) * sizeof(struct gv_saying *));
    sayings->rows[at] = row;
    sayings->count += 1;
    return row;
}
