/*
 * map.h - from bytes to a pointer, by a keyed hash (SipHash-2-4; Aumasson and Bernstein, 2012).
 *
 * Keys may come from strangers, so the hash is keyed with 16 random bytes that the caller hands in.
 * Keys are copied, values borrowed. Open addressing, grows by doubling. One thread.
 */
#ifndef GV_BASE_MAP_H
#define GV_BASE_MAP_H

#include "grapevine/base/err.h"
#include "grapevine/base/mem.h"
#include "grapevine/base/slice.h"

struct gv_map_slot;

struct gv_map {
    struct gv_map_slot *slots; /* owned */
    size_t room;               /* slots allocated: a power of two, or 0 */
    size_t count;              /* keys held */
    size_t dead_count;         /* slots whose key was taken */
    size_t max_count;          /* limit on count */
    uint64_t secret[2];        /* the hash key */
    enum gv_mem_kind kind;
};

/** An empty map for at most `max_count` keys. `secret` is copied; NULL takes a fixed one (tests).
 */
void gv_map_init(struct gv_map *map, enum gv_mem_kind kind, size_t max_count,
                 const uint64_t secret[2]);

/** Free the keys and the table; the values are the caller's. */
void gv_map_deinit(struct gv_map *map);

/** The value of `key`, or NULL. */
void *gv_map_find(const struct gv_map *map, struct gv_slice key);

/** Set `key` to `value` (not NULL), replacing. Errors: GV_EFULL, GV_ENOMEM; then nothing changed.
 */
GV_MUST_USE enum gv_err gv_map_put(struct gv_map *map, struct gv_slice key, void *value);

/** Remove `key` and return its value, or NULL when it was not there. */
void *gv_map_take(struct gv_map *map, struct gv_slice key);

/**
 * Walk in no promised order: start with `*cursor` = 0, until false. The map must not grow
 * meanwhile; taking the current key is allowed.
 */
bool gv_map_next(const struct gv_map *map, size_t *cursor, struct gv_slice *key, void **value);

/** SipHash-2-4 of `bytes` under `secret`; for other tables and for shuffling by name. */
uint64_t gv_siphash(const uint64_t secret[2], struct gv_slice bytes);

#endif
