/*
 * mem.h - the heap, counted by kind, with caps, and failing on demand.
 *
 * Everything that is allocated says what for. `grapevine` reports bytes by kind as metrics; a cap
 * makes an allocation of that kind return NULL; a test makes the n-th allocation fail to prove that
 * nothing leaks and nothing is left half-made. Any thread.
 */
#ifndef GV_BASE_MEM_H
#define GV_BASE_MEM_H

#include "grapevine/base/err.h"
#include <stddef.h>
#include <stdint.h>

enum gv_mem_kind {
    GV_MEM_GENERAL = 0, /* configuration, tables made once */
    GV_MEM_BUFFER,      /* bytes of clients and workers on their way */
    GV_MEM_EXCHANGE,    /* requests in flight and their arenas */
    GV_MEM_TRIE,        /* tries and floors */
    GV_MEM_FLEET,       /* workers and their views */
    GV_MEM_GOSSIP,      /* logs, queues, members */
    GV_MEM_NET,         /* loops, streams, timers */
    GV_MEM_KIND_COUNT
};

/** `bytes` zeroed bytes of `kind`, or NULL (out of memory, over the cap, or made to fail). */
GV_MUST_USE void *gv_mem_new(enum gv_mem_kind kind, size_t bytes);

/**
 * `bytes` zeroed bytes of `kind` straight from the system, which begin at a multiple of `alignment`
 * (a power of two of at least a page, that divides `bytes`), or NULL as above. For what is large
 * and lives long: it leaves no hole behind. Given back by gv_mem_free_pages() with the same
 * `bytes`.
 */
GV_MUST_USE void *gv_mem_new_pages(enum gv_mem_kind kind, size_t alignment, size_t bytes);
void gv_mem_free_pages(enum gv_mem_kind kind, void *memory, size_t bytes);

/**
 * Have such pages there before they are touched, all in one call: 0.45 us a page, half of what it
 * costs to fault them in one by one. For what will all be used soon.
 */
void gv_mem_warm_pages(void *memory, size_t bytes);

/** Like realloc(); new bytes are not zeroed. NULL leaves `old` valid. `old` may be NULL. */
GV_MUST_USE void *gv_mem_resize(enum gv_mem_kind kind, void *old, size_t bytes);

/**
 * For a program whose threads take and give back bodies all day: the heap keeps what was given back
 * (8 MiB a thread) rather than to return it to the system and fault it in again at once. Call it
 * first of all.
 */
void gv_mem_stay_warm(void);

/** Free what gv_mem_new() or gv_mem_resize() of the same kind returned; NULL is fine. */
void gv_mem_free(enum gv_mem_kind kind, void *memory);

/** A copy of a NUL-terminated text, or NULL. Owned by the caller. */
GV_MUST_USE char *gv_mem_copy_text(enum gv_mem_kind kind, const char *text);

/** Bytes of `kind` in use now. */
size_t gv_mem_used(enum gv_mem_kind kind);

/** Set the cap of `kind` in bytes; 0 means none. */
void gv_mem_set_cap(enum gv_mem_kind kind, size_t bytes);

/** "trie" for GV_MEM_TRIE. */
const char *gv_mem_kind_name(enum gv_mem_kind kind);

/** Tests: make the n-th allocation of this thread from now fail (1 = the next); 0 turns it off. */
void gv_mem_fail_nth(uint64_t n);

#endif
