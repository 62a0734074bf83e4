/*
 * oplog.c - see oplog.h.
 */
#include "oplog.h"

#include "grapevine/base/assert.h"
#include "limits.h"

struct gv_oplog_entry {
    struct gv_gossip_operation operation; /* slices and fingerprints point into word and prints */
    struct gv_word *key, *worker;         /* one reference each */
    uint64_t prints[];
};

enum gv_err gv_oplog_init(struct gv_oplog *log, uint32_t room, size_t max_bytes)
{
    GV_ASSERT(room >= 1);
    *log = (struct gv_oplog){.oldest = 1, .room = room, .max_bytes = max_bytes};
    log->ring = gv_mem_new(GV_MEM_GOSSIP, (size_t)room * sizeof(struct gv_oplog_entry *));
    if (log->ring == NULL) {
        return GV_ENOMEM;
    }
    gv_words_init(&log->keys, (size_t)room + 1);
    gv_words_init(&log->workers, (size_t)room + 1);
    return GV_OK;
}

static size_t entry_bytes(const struct gv_oplog_entry *entry)
{
    return sizeof *entry + (size_t)entry->operation.count * 8;
}

static struct gv_oplog_entry *entry_at(const struct gv_oplog *log, uint64_t sequence)
{
    GV_ASSERT(sequence >= log->oldest && sequence <= log->last);
    return log->ring[sequence % log->room];
}

static void drop_oldest(struct gv_oplog *log)
{
    struct gv_oplog_entry *entry = entry_at(log, log->oldest);
    log->ring[log->oldest % log->room] = NULL;
    log->oldest += 1;
    log->bytes -= entry_bytes(entry);
    gv_words_give(&log->keys, entry->key);
    gv_words_give(&log->workers, entry->worker);
    gv_mem_free(GV_MEM_GOSSIP, entry);
}

void gv_oplog_deinit(struct gv_oplog *log)
{
    if (log->ring == NULL) {
        return;
    }
    while (log->oldest <= log->last) {
        drop_oldest(log);
    }
    gv_words_deinit(&log->keys);
    gv_words_deinit(&log->workers);
    gv_mem_free(GV_MEM_GOSSIP, log->ring);
    log->ring = NULL;
}

enum gv_err gv_oplog_append(struct gv_oplog *log, const struct gv_gossip_operation *operation)
{
    if (!gv_operation_is_valid(operation)) {
        return GV_EINVAL;
    }
    size_t prints_bytes = (size_t)operation->count * 8;
    struct gv_oplog_entry *entry = gv_mem_new(GV_MEM_GOSSIP, sizeof *entry + prints_bytes);
    if (entry == NULL) {
        return GV_ENOMEM;
    }
    entry->key = gv_words_take(&log->keys, operation->key);
    entry->worker = gv_words_take(&log->workers, operation->worker);
    if (entry->key == NULL || entry->worker == NULL) {
        if (entry->key != NULL) {
            gv_words_give(&log->keys, entry->key);
        }
        if (entry->worker != NULL) {
            gv_words_give(&log->workers, entry->worker);
        }
        gv_mem_free(GV_MEM_GOSSIP, entry);
        return GV_ENOMEM;
    }
    if (prints_bytes > 0) {
        memcpy(entry->prints, operation->fingerprints, prints_bytes);
    }
    entry->operation = *operation;
    entry->operation.key = gv_slice_of(entry->key->text, entry->key->len);
    entry->operation.worker = gv_slice_of(entry->worker->text, entry->worker->len);
    entry->operation.fingerprints = entry->prints;
    while (log->oldest <= log->last && (log->last - log->oldest + 1 == log->room ||
                                        log->bytes + entry_bytes(entry) > log->max_bytes)) {
        drop_oldest(log);
    }
    log->last += 1;
    log->ring[log->last % log->room] = entry;
    log->bytes += entry_bytes(entry);
    return GV_OK;
}

size_t gv_oplog_bytes_from(const struct gv_oplog *log, uint64_t first, size_t enough)
{
    size_t bytes = 0;
    for (uint64_t at = first; at <= log->last && bytes < enough; at++) {
        bytes += 32 + (size_t)entry_at(log, at)->operation.count * 8;
    }
    return bytes;
}

uint64_t gv_oplog_pack(struct gv_oplog *log, struct gv_arena *arena, uint64_t first, uint64_t last,
                       size_t max_bytes, Mesh__Batch *batch)
{
    GV_ASSERT(first >= log->oldest && first <= last && last <= log->last);
    size_t room = (size_t)(last - first + 1);
    if (room > GV_BATCH_OPERATIONS_MAX) {
        room = GV_BATCH_OPERATIONS_MAX;
    }
    if (room > max_bytes / 32 + 1) {
        room = max_bytes / 32 + 1;
    }
    struct gv_pack pack;
    if (!gv_pack_init(&pack, arena, &log->keys, &log->workers, room)) {
        return 0;
    }
    uint64_t at = first;
    while (at <= last && pack.count < room) {
        struct gv_oplog_entry *entry = entry_at(log, at);
        if (pack.count > 0 && pack.bytes + entry_bytes(entry) > max_bytes) {
            break;
        }
        if (!gv_pack_add(&pack, &entry->operation, entry->key, entry->worker)) {
            return 0;
        }
        at += 1;
    }
    batch->first = first;
    batch->operations = pack.operations;
    batch->n_operations = pack.count;
    batch->keys = pack.keys;
    batch->n_keys = pack.key_count;
    batch->workers = pack.workers;
    batch->n_workers = pack.worker_count;
    return at - 1;
}
