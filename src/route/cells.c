/*
 * cells.c - size classes over chunks over slabs; every byte is taken from the budget first.
 */
#include "route/cells.h"

#include "grapevine/base/assert.h"
#include "grapevine/base/mem.h"
#include <string.h>

/* A chunk is aligned to its size, so that an array's address tells its chunk. */
#define CHUNK_BYTES     8192u
#define PAGE_BYTES      4096u
#define LARGE_BYTES     65536u /* from here on straight from the system: it leaves no hole */
#define WARM_BYTES      ((size_t)1 << 20) /* up to so many are made ready at once: 0.1 ms */
#define SLAB_CHUNKS_MIN 4u
#define SLAB_CHUNKS_MAX 128u
#define SLAB_SHARE      32u /* a slab is that part of what there is: so much may lie idle */

struct slab {
    uint8_t *memory; /* owned; the chunks */
    struct gv_list all;
    struct gv_list bare;
    struct chunk *free_chunks; /* linked through next_free */
    uint32_t chunk_count;
    uint32_t out_count; /* chunks that have a class */
};

struct chunk {
    struct gv_list list; /* with_room or full of its class */
    struct slab *slab;   /* borrowed: the slab outlives its chunks */
    struct chunk *next_free;
    uint64_t *free_arrays; /* linked through their first word */
    uint32_t class;
    uint32_t out_count;   /* arrays taken */
    uint32_t fresh_count; /* arrays never yet taken, at the end */
    uint32_t array_count;
};

bool gv_mem_budget_take(struct gv_mem_budget *budget, size_t bytes)
{
    size_t before = atomic_fetch_add_explicit(&budget->used, bytes, memory_order_relaxed);
    if (before > budget->max || bytes > budget->max - before) {
        gv_mem_budget_give(budget, bytes);
        atomic_store_explicit(&budget->was_refused, true, memory_order_relaxed);
        return false;
    }
    return true;
}

void gv_mem_budget_give(struct gv_mem_budget *budget, size_t bytes)
{
    size_t before = atomic_fetch_sub_explicit(&budget->used, bytes, memory_order_relaxed);
    GV_ASSERT(before >= bytes);
}

/* What the system is asked for, of something large: whole pages. */
static size_t pages_of(size_t bytes)
{
    return (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
}

void *gv_mem_budget_new(struct gv_mem_budget *budget, size_t bytes)
{
    bool is_large = bytes >= LARGE_BYTES;
    bytes = is_large ? pages_of(bytes) : bytes;
    if (!gv_mem_budget_take(budget, bytes)) {
        return NULL;
    }
    void *memory = is_large ? gv_mem_new_pages(GV_MEM_TRIE, PAGE_BYTES, bytes)
                            : gv_mem_new(GV_MEM_TRIE, bytes);
    if (memory == NULL) {
        gv_mem_budget_give(budget, bytes);
    } else if (is_large && bytes <= WARM_BYTES) {
        gv_mem_warm_pages(memory, bytes);
    }
    return memory;
}

void gv_mem_budget_free(struct gv_mem_budget *budget, void *memory, size_t bytes)
{
    if (memory == NULL) {
        return;
    }
    if (bytes >= LARGE_BYTES) {
        bytes = pages_of(bytes);
        gv_mem_free_pages(GV_MEM_TRIE, memory, bytes);
    } else {
        gv_mem_free(GV_MEM_TRIE, memory);
    }
    gv_mem_budget_give(budget, bytes);
}

/* Steps of 1 up to 16 words, of 2 up to 32, of 4 up to 64: at most an eighth is waste. Above, what
 * fills a chunk best. */
static const uint32_t large_words[] = {72, 84, 100, 112, 127};

static uint32_t class_of(uint32_t words)
{
    GV_ASSERT(words >= 1 && words <= GV_CELL_WORDS_MAX);
    if (words <= 16) {
        return words - 1;
    }
    if (words <= 64) {
        return words <= 32 ? 16 + (words - 17) / 2 : 24 + (words - 33) / 4;
    }
    uint32_t class = 0;
    while (large_words[class] < words) {
        class ++;
    }
    return 32 + class;
}

static uint32_t class_words(uint32_t class)
{
    if (class < 16) {
        return class + 1;
    }
    if (class < 32) {
        return class < 24 ? 18 + (class - 16) * 2 : 36 + (class - 24) * 4;
    }
    return large_words[class - 32];
}

uint32_t gv_cells_room(uint32_t words)
{
    words = words == 0 ? 1 : words;
    return words <= GV_CELL_WORDS_MAX ? class_words(class_of(words)) : words;
}

void gv_cells_init(struct gv_cells *cells, struct gv_mem_budget *budget)
{
    *cells = (struct gv_cells){.budget = budget};
    for (uint32_t i = 0; i < GV_CELL_CLASSES; i++) {
        gv_list_init(&cells->with_room[i]);
        gv_list_init(&cells->full[i]);
    }
    gv_list_init(&cells->slabs);
    gv_list_init(&cells->bare_slabs);
}

static size_t slab_bytes(uint32_t chunk_count)
{
    return sizeof(struct slab) + (size_t)chunk_count * CHUNK_BYTES;
}

static void slab_free(struct gv_cells *cells, struct slab *slab)
{
    size_t bytes = slab_bytes(slab->chunk_count);
    gv_list_remove(&slab->all);
    gv_list_remove(&slab->bare);
    cells->bytes -= bytes;
    cells->slab_chunks -= slab->chunk_count;
    gv_mem_free_pages(GV_MEM_TRIE, slab->memory, (size_t)slab->chunk_count * CHUNK_BYTES);
    gv_mem_free(GV_MEM_TRIE, slab);
    gv_mem_budget_give(cells->budget, bytes);
}

void gv_cells_deinit(struct gv_cells *cells)
{
    GV_LIST_EACH(&cells->slabs, at, following)
    {
        slab_free(cells, GV_CONTAINER(at, struct slab, all));
    }
    GV_ASSERT(cells->bytes == 0);
}

/* NULL: budget or heap refuse. */
static struct slab *slab_of(struct gv_cells *cells, uint32_t chunk_count)
{
    if (!gv_mem_budget_take(cells->budget, slab_bytes(chunk_count))) {
        return NULL;
    }
    struct slab *slab = gv_mem_new(GV_MEM_TRIE, sizeof *slab);
    uint8_t *memory = gv_mem_new_pages(GV_MEM_TRIE, CHUNK_BYTES, (size_t)chunk_count * CHUNK_BYTES);
    if (slab == NULL || memory == NULL) {
        gv_mem_free(GV_MEM_TRIE, slab);
        gv_mem_free_pages(GV_MEM_TRIE, memory, (size_t)chunk_count * CHUNK_BYTES);
        gv_mem_budget_give(cells->budget, slab_bytes(chunk_count));
        return NULL;
    }
    gv_mem_warm_pages(memory, (size_t)chunk_count * CHUNK_BYTES); /* each has a header to be made */
    slab->memory = memory;
    slab->chunk_count = chunk_count;
    return slab;
}

static struct slab *slab_new(struct gv_cells *cells)
{
    uint32_t count = cells->slab_chunks / SLAB_SHARE;
    count = count > SLAB_CHUNKS_MIN ? count : SLAB_CHUNKS_MIN;
    count = count < SLAB_CHUNKS_MAX ? count : SLAB_CHUNKS_MAX;
    struct slab *slab = slab_of(cells, count);
    if (slab == NULL && count > SLAB_CHUNKS_MIN) {
        slab = slab_of(cells, SLAB_CHUNKS_MIN); /* near the cap a small one may still fit */
    }
    if (slab == NULL) {
        return NULL;
    }
    cells->bytes += slab_bytes(slab->chunk_count);
    cells->slab_chunks += slab->chunk_count;
    for (uint32_t i = slab->chunk_count; i > 0; i--) {
        struct chunk *chunk =
            (struct chunk *)(void *)(slab->memory + (size_t)(i - 1) * CHUNK_BYTES);
        chunk->slab = slab;
        chunk->next_free = slab->free_chunks;
        slab->free_chunks = chunk;
    }
    gv_list_add(&cells->slabs, &slab->all);
    gv_list_add(&cells->bare_slabs, &slab->bare);
    return slab;
}

static struct chunk *chunk_new(struct gv_cells *cells, uint32_t class)
{
    struct gv_list *bare = gv_list_first(&cells->bare_slabs);
    struct slab *slab = bare != NULL ? GV_CONTAINER(bare, struct slab, bare) : slab_new(cells);
    if (slab == NULL) {
        return NULL;
    }
    struct chunk *chunk = slab->free_chunks;
    slab->free_chunks = chunk->next_free;
    slab->out_count += 1;
    if (slab->free_chunks == NULL) {
        gv_list_remove(&slab->bare);
    }
    gv_list_init(&chunk->list);
    chunk->next_free = NULL;
    chunk->free_arrays = NULL;
    chunk->class = class;
    chunk->out_count = 0;
    chunk->array_count =
        (uint32_t)((CHUNK_BYTES - sizeof *chunk) / (class_words(class) * sizeof(uint64_t)));
    chunk->fresh_count = chunk->array_count;
    gv_list_add(&cells->with_room[class], &chunk->list);
    return chunk;
}

static void chunk_free(struct gv_cells *cells, struct chunk *chunk)
{
    struct slab *slab = chunk->slab;
    gv_list_remove(&chunk->list);
    if (slab->free_chunks == NULL) {
        gv_list_init(&slab->bare);
        gv_list_add(&cells->bare_slabs, &slab->bare);
    }
    chunk->next_free = slab->free_chunks;
    slab->free_chunks = chunk;
    slab->out_count -= 1;
    if (slab->out_count == 0) {
        slab_free(cells, slab);
    }
}

static uint64_t *large_new(struct gv_cells *cells, uint32_t words)
{
    size_t bytes = (size_t)words * sizeof(uint64_t);
    uint64_t *array = gv_mem_budget_new(cells->budget, bytes);
    cells->bytes += array != NULL ? bytes : 0;
    return array;
}

uint64_t *gv_cells_take(struct gv_cells *cells, uint32_t words)
{
    words = words == 0 ? 1 : words;
    if (words > GV_CELL_WORDS_MAX) {
        return large_new(cells, words);
    }
    uint32_t class = class_of(words);
    struct gv_list *first = gv_list_first(&cells->with_room[class]);
    struct chunk *chunk =
        first != NULL ? GV_CONTAINER(first, struct chunk, list) : chunk_new(cells, class);
    if (chunk == NULL) {
        return NULL;
    }
    uint64_t *array = chunk->free_arrays;
    if (array != NULL) {
        chunk->free_arrays = (uint64_t *)(uintptr_t)array[0];
    } else {
        GV_ASSERT(chunk->fresh_count > 0);
        uint32_t at = chunk->array_count - chunk->fresh_count;
        array = (uint64_t *)(void *)(chunk + 1) + (size_t)at * class_words(class);
        chunk->fresh_count -= 1;
    }
    chunk->out_count += 1;
    if (chunk->out_count == chunk->array_count) {
        gv_list_remove(&chunk->list);
        gv_list_add(&cells->full[class], &chunk->list);
    }
    return array;
}

void gv_cells_give(struct gv_cells *cells, uint64_t *array, uint32_t words)
{
    words = words == 0 ? 1 : words;
    if (words > GV_CELL_WORDS_MAX) {
        size_t bytes = (size_t)words * sizeof(uint64_t);
        cells->bytes -= bytes;
        gv_mem_budget_free(cells->budget, array, bytes);
        return;
    }
    struct chunk *chunk = (struct chunk *)((uintptr_t)array & ~(uintptr_t)(CHUNK_BYTES - 1));
    GV_ASSERT(chunk->class == class_of(words));
    GV_ASSERT(chunk->out_count > 0);
    array[0] = (uint64_t)(uintptr_t)chunk->free_arrays;
    chunk->free_arrays = array;
    if (chunk->out_count == chunk->array_count) {
        gv_list_remove(&chunk->list);
        gv_list_add(&cells->with_room[chunk->class], &chunk->list);
    }
    chunk->out_count -= 1;
    if (chunk->out_count == 0) {
        chunk_free(cells, chunk);
    }
}
