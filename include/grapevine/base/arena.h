/*
 * arena.h - memory that dies together.
 *
 * One request, one arena: pieces are handed out front to back and freed all at once. Has a cap.
 * One thread.
 */
#ifndef GV_BASE_ARENA_H
#define GV_BASE_ARENA_H

#include "grapevine/base/err.h"
#include "grapevine/base/mem.h"
#include "grapevine/base/slice.h"

struct gv_arena_chunk;

struct gv_arena {
    struct gv_arena_chunk *chunks; /* owned; newest first */
    size_t used_bytes;             /* handed out */
    size_t max_bytes;              /* limit on used_bytes */
    enum gv_mem_kind kind;
};

/** An empty arena; allocates nothing yet. */
void gv_arena_init(struct gv_arena *arena, enum gv_mem_kind kind, size_t max_bytes);

/** Free everything handed out. */
void gv_arena_deinit(struct gv_arena *arena);

/** Forget everything handed out; up to 64 KiB are kept for what comes next. */
void gv_arena_reset(struct gv_arena *arena);

/** `bytes` zeroed bytes, aligned for any type; NULL over the cap or out of memory. */
GV_MUST_USE void *gv_arena_take(struct gv_arena *arena, size_t bytes);

/** The same, not zeroed: for what is written whole. */
GV_MUST_USE void *gv_arena_take_raw(struct gv_arena *arena, size_t bytes);

/** A NUL-terminated copy of `slice`; NULL as gv_arena_take(). */
GV_MUST_USE char *gv_arena_copy(struct gv_arena *arena, struct gv_slice slice);

#endif
