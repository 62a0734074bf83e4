/*
 * mem.c - the C library's heap with a counter per kind.
 *
 * What is counted is what the heap really set aside (malloc_usable_size), so that no header is put
 * in front of the many small pieces of a trie. A cap is checked against the bytes asked for before
 * the heap is asked, so that a kind over its cap costs the heap nothing.
 */
#include "grapevine/base/mem.h"
#include "grapevine/base/assert.h"
#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define KEPT_BYTES   (8 * 1024 * 1024) /* free at the end of a thread's heap */
#define MAPPED_BYTES (1024 * 1024)     /* a larger piece is the system's, and goes back to it */

static _Atomic size_t used_bytes[GV_MEM_KIND_COUNT];
static _Atomic size_t cap_bytes[GV_MEM_KIND_COUNT];
static _Thread_local uint64_t calls_until_failure;

static bool is_made_to_fail(void)
{
    if (calls_until_failure == 0) {
        return false;
    }
    calls_until_failure -= 1;
    return calls_until_failure == 0;
}

static void give_back(enum gv_mem_kind kind, size_t bytes)
{
    atomic_fetch_sub_explicit(&used_bytes[kind], bytes, memory_order_relaxed);
}

/* Count `bytes` now; false, and nothing counted, when the cap does not allow them. */
static bool charge(enum gv_mem_kind kind, size_t bytes)
{
    size_t cap = atomic_load_explicit(&cap_bytes[kind], memory_order_relaxed);
    size_t before = atomic_fetch_add_explicit(&used_bytes[kind], bytes, memory_order_relaxed);
    if (cap != 0 && (before >= cap || bytes > cap - before)) {
        give_back(kind, bytes);
        return false;
    }
    return true;
}

/* Replace the `charged` bytes of a request by what the heap made of it. */
static void settle(enum gv_mem_kind kind, void *memory, size_t charged)
{
    size_t real = malloc_usable_size(memory);
    if (real >= charged) {
        atomic_fetch_add_explicit(&used_bytes[kind], real - charged, memory_order_relaxed);
    } else {
        give_back(kind, charged - real);
    }
}

void *gv_mem_new(enum gv_mem_kind kind, size_t bytes)
{
    GV_ASSERT((unsigned)kind < GV_MEM_KIND_COUNT);
    if (bytes == 0) {
        bytes = 1;
    }
    if (is_made_to_fail() || bytes > PTRDIFF_MAX || !charge(kind, bytes)) {
        return NULL;
    }
    void *memory = calloc(1, bytes);
    if (memory == NULL) {
        give_back(kind, bytes);
        return NULL;
    }
    settle(kind, memory, bytes);
    return memory;
}

/* Naming the one threshold stops the C library from moving the other, so both are named. */
void gv_mem_stay_warm(void)
{
    (void)mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES);
    (void)mallopt(M_TRIM_THRESHOLD, KEPT_BYTES);
}

static uint8_t *pages(size_t bytes)
{
    void *got = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return got == MAP_FAILED ? NULL : got;
}

void *gv_mem_new_pages(enum gv_mem_kind kind, size_t alignment, size_t bytes)
{
    GV_ASSERT((unsigned)kind < GV_MEM_KIND_COUNT && bytes > 0 && bytes % alignment == 0);
    if (is_made_to_fail() || bytes > PTRDIFF_MAX - alignment || !charge(kind, bytes)) {
        return NULL;
    }
    uint8_t *got = pages(bytes);
    if (got != NULL && (uintptr_t)got % alignment != 0) {
        /* Not by chance, as it mostly is: more, of which both ends go back at once. */
        GV_ASSERT(munmap(got, bytes) == 0);
        got = pages(bytes + alignment);
        if (got != NULL) {
            size_t before = (alignment - (uintptr_t)got % alignment) % alignment;
            if (before > 0) {
                GV_ASSERT(munmap(got, before) == 0);
            }
            GV_ASSERT(munmap(got + before + bytes, alignment - before) == 0);
            got += before;
        }
    }
    if (got == NULL) {
        give_back(kind, bytes);
    }
    return got;
}

void gv_mem_warm_pages(void *memory, size_t bytes)
{
#ifdef MADV_POPULATE_WRITE
    /* Linux 5.14; where it is refused, each page comes when it is touched. */
    (void)madvise(memory, bytes, MADV_POPULATE_WRITE);
#else
    (void)memory;
    (void)bytes;
#endif
}

void gv_mem_free_pages(enum gv_mem_kind kind, void *memory, size_t bytes)
{
    if (memory != NULL) {
        GV_ASSERT(munmap(memory, bytes) == 0);
        give_back(kind, bytes);
    }
}

void *gv_mem_resize(enum gv_mem_kind kind, void *old, size_t bytes)
{
    GV_ASSERT((unsigned)kind < GV_MEM_KIND_COUNT);
    if (bytes == 0) {
        bytes = 1;
    }
    if (is_made_to_fail() || bytes > PTRDIFF_MAX) {
        return NULL;
    }
    size_t before = old == NULL ? 0 : malloc_usable_size(old);
    size_t more = bytes > before ? bytes - before : 0;
    if (more > 0 && !charge(kind, more)) {
        return NULL;
    }
    void *memory = realloc(old, bytes);
    if (memory == NULL) {
        give_back(kind, more);
        return NULL;
    }
    settle(kind, memory, before + more);
    return memory;
}

void gv_mem_free(enum gv_mem_kind kind, void *memory)
{
    GV_ASSERT((unsigned)kind < GV_MEM_KIND_COUNT);
    if (memory != NULL) {
        give_back(kind, malloc_usable_size(memory));
        free(memory);
    }
}

char *gv_mem_copy_text(enum gv_mem_kind kind, const char *text)
{
    size_t bytes = strlen(text) + 1;
    char *copy = gv_mem_new(kind, bytes);
    if (copy != NULL) {
        memcpy(copy, text, bytes);
    }
    return copy;
}

size_t gv_mem_used(enum gv_mem_kind kind)
{
    GV_ASSERT((unsigned)kind < GV_MEM_KIND_COUNT);
    return atomic_load_explicit(&used_bytes[kind], memory_order_relaxed);
}

void gv_mem_set_cap(enum gv_mem_kind kind, size_t bytes)
{
    GV_ASSERT((unsigned)kind < GV_MEM_KIND_COUNT);
    atomic_store_explicit(&cap_bytes[kind], bytes, memory_order_relaxed);
}

const char *gv_mem_kind_name(enum gv_mem_kind kind)
{
    static const char *const names[] = {
        [GV_MEM_GENERAL] = "general", [GV_MEM_BUFFER] = "buffer", [GV_MEM_EXCHANGE] = "exchange",
        [GV_MEM_TRIE] = "trie",       [GV_MEM_FLEET] = "fleet",   [GV_MEM_GOSSIP] = "gossip",
        [GV_MEM_NET] = "net",
    };
    _Static_assert(sizeof names / sizeof names[0] == GV_MEM_KIND_COUNT, "one name per kind");
    GV_ASSERT((unsigned)kind < GV_MEM_KIND_COUNT);
    return names[kind];
}

void gv_mem_fail_nth(uint64_t n)
{
    calls_until_failure = n;
}
