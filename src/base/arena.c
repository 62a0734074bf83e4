/*
 * arena.c - chunks in a list, newest first; pieces are cut from the newest.
 *
 * Pieces are rounded up to the alignment of any type, and counted rounded. Each chunk is twice as
 * large as the one before, up to a limit, and the largest one stays: who needs much, and again,
 * soon asks for no more memory. A piece that is larger than that gets a chunk of its own size.
 */
#include "grapevine/base/arena.h"
#include "grapevine/base/assert.h"
#include <stdalign.h>

#define CHUNK_BYTES 4096        /* of pieces, in the first chunk */
#define KEPT_BYTES  (64 * 1024) /* in the largest that is usual, and stays */
#define ALIGNMENT   alignof(max_align_t)

#if defined(GV_SANITIZED)
#define SPOILS true /* who reads of a raw piece what it did not write shall be found */
#else
#define SPOILS false
#endif

struct gv_arena_chunk {
    struct gv_arena_chunk *older; /* owned */
    size_t used;                  /* bytes handed out of `pieces` */
    size_t touched;               /* handed out before the last reset; beyond, all is zero yet */
    size_t room;                  /* bytes in `pieces` */
    alignas(max_align_t) uint8_t pieces[];
};

void gv_arena_init(struct gv_arena *arena, enum gv_mem_kind kind, size_t max_bytes)
{
    *arena = (struct gv_arena){.max_bytes = max_bytes, .kind = kind};
}

static void free_chunks(struct gv_arena *arena, struct gv_arena_chunk *chunk)
{
    while (chunk != NULL) {
        struct gv_arena_chunk *older = chunk->older;
        gv_mem_free(arena->kind, chunk);
        chunk = older;
    }
}

void gv_arena_deinit(struct gv_arena *arena)
{
    free_chunks(arena, arena->chunks);
    gv_arena_init(arena, arena->kind, arena->max_bytes);
}

void gv_arena_reset(struct gv_arena *arena)
{
    struct gv_arena_chunk *kept = NULL;
    for (struct gv_arena_chunk *chunk = arena->chunks; chunk != NULL;) {
        struct gv_arena_chunk *older = chunk->older, *left = chunk;
        if (chunk->room <= KEPT_BYTES && (kept == NULL || chunk->room > kept->room)) {
            left = kept;
            kept = chunk;
        }
        gv_mem_free(arena->kind, left);
        chunk = older;
    }
    if (kept != NULL) {
        kept->older = NULL;
        kept->touched = kept->used > kept->touched ? kept->used : kept->touched;
        kept->used = 0;
    }
    arena->chunks = kept;
    arena->used_bytes = 0;
}

/* Of pieces, in the chunk after `chunk` that has to hold one of this size. */
static size_t next_room(const struct gv_arena_chunk *chunk, size_t size)
{
    size_t room = CHUNK_BYTES;
    if (chunk != NULL) {
        room = chunk->room < KEPT_BYTES / 2 ? chunk->room * 2 : KEPT_BYTES;
    }
    return size > room ? size : room;
}

static void *cut(struct gv_arena *arena, size_t bytes, bool is_zeroed)
{
    GV_ASSERT(arena->used_bytes <= arena->max_bytes);
    if (bytes > arena->max_bytes - arena->used_bytes) {
        return NULL;
    }
    size_t size = (bytes == 0 ? 1 : bytes) + (ALIGNMENT - 1);
    size -= size % ALIGNMENT;
    if (size > arena->max_bytes - arena->used_bytes) {
        return NULL;
    }
    struct gv_arena_chunk *chunk = arena->chunks;
    if (chunk == NULL || size > chunk->room - chunk->used) {
        size_t room = next_room(chunk, size);
        chunk = gv_mem_new(arena->kind, sizeof *chunk + room);
        if (chunk == NULL) {
            return NULL;
        }
        chunk->room = room;
        chunk->older = arena->chunks;
        arena->chunks = chunk;
    }
    uint8_t *piece = chunk->pieces + chunk->used;
    if (is_zeroed && chunk->used < chunk->touched) {
        size_t stale = chunk->touched - chunk->used;
        memset(piece, 0, stale < size ? stale : size);
    }
    chunk->used += size;
    arena->used_bytes += size;
    return piece;
}

void *gv_arena_take(struct gv_arena *arena, size_t bytes)
{
    return cut(arena, bytes, true);
}

void *gv_arena_take_raw(struct gv_arena *arena, size_t bytes)
{
    void *piece = cut(arena, bytes, false);
    if (SPOILS && piece != NULL) {
        memset(piece, 0xa5, bytes);
    }
    return piece;
}

char *gv_arena_copy(struct gv_arena *arena, struct gv_slice slice)
{
    if (slice.len == SIZE_MAX) {
        return NULL;
    }
    char *copy = gv_arena_take_raw(arena, slice.len + 1);
    if (copy == NULL) {
        return NULL;
    }
    if (slice.len > 0) {
        memcpy(copy, slice.data, slice.len);
    }
    copy[slice.len] = '\0';
    return copy;
}
