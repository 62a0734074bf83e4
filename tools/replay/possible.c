/*
 * possible.c - the hit rate a trace allows: with one cache that never forgets, and with one cache
 * of a given size that forgets what was used longest ago. No router can do better; how near it
 * comes is what a replay is about.
 *
 * Counted in the trace's own tokens and blocks, in the order of the requests, as if each were
 * finished before the next begins. Text is cut into blocks of 256 bytes, known by their prefix.
 */
#include "grapevine/base/list.h"
#include "replay.h"

#define TEXT_BLOCK_BYTES 256

struct held {
    struct gv_list link; /* in cache.lru */
    uint64_t id;
};

struct cache {
    struct gv_map map;  /* id -> struct held, owned */
    struct gv_list lru; /* used longest ago first */
    uint64_t capacity;  /* blocks */
};

static struct gv_slice key_of(const uint64_t *id)
{
    return gv_slice_of(id, sizeof *id);
}

static void open_cache(struct cache *cache, uint64_t capacity)
{
    gv_map_init(&cache->map, GV_MEM_GENERAL, SIZE_MAX / 2, NULL);
    gv_list_init(&cache->lru);
    cache->capacity = capacity;
}

static void drop_oldest(struct cache *cache)
{
    struct held *held = GV_CONTAINER(gv_list_first(&cache->lru), struct held, link);
    (void)gv_map_take(&cache->map, key_of(&held->id));
    gv_list_remove(&held->link);
    gv_mem_free(GV_MEM_GENERAL, held);
}

static void close_cache(struct cache *cache)
{
    while (!gv_list_is_empty(&cache->lru)) {
        drop_oldest(cache);
    }
    gv_map_deinit(&cache->map);
}

static bool touch(struct cache *cache, uint64_t id)
{
    struct held *held = gv_map_find(&cache->map, key_of(&id));
    if (held == NULL) {
        held = gv_mem_new(GV_MEM_GENERAL, sizeof *held);
        if (held == NULL || gv_map_put(&cache->map, key_of(&id), held) != GV_OK) {
            gv_mem_free(GV_MEM_GENERAL, held);
            return false;
        }
        held->id = id;
    }
    gv_list_remove(&held->link);
    gv_list_add(&cache->lru, &held->link);
    return true;
}

/* One prompt: how many of its leading blocks were there; then they all are. */
static bool run_prompt(struct cache *cache, const uint64_t *ids, size_t count, size_t *hit)
{
    *hit = 0;
    while (*hit < count && gv_map_find(&cache->map, key_of(&ids[*hit])) != NULL) {
        *hit += 1;
    }
    for (size_t i = count; i > 0; i--) { /* the deepest is evicted first */
        if (!touch(cache, ids[i - 1])) {
            return false;
        }
    }
    while (cache->map.count > cache->capacity) {
        drop_oldest(cache);
    }
    return true;
}

/* The ids of a prompt's blocks, appended to `out`. */
static enum gv_err put_ids(const struct trace *trace, const struct request *request,
                           struct gv_buf *out)
{
    enum gv_err err = GV_OK;
    if (request->text != NULL) {
        uint64_t chain[2] = {0, 0};
        struct gv_slice text = gv_slice_text(request->text);
        for (size_t at = 0; err == GV_OK && at + TEXT_BLOCK_BYTES <= text.len;
             at += TEXT_BLOCK_BYTES) {
            chain[0] = gv_siphash(chain, gv_slice_of(text.data + at, TEXT_BLOCK_BYTES));
            err = gv_buf_append(out, key_of(&chain[0]));
        }
        return err;
    }
    for (size_t r = 0; r < request->run_count; r++) {
        const struct run *run = &trace->runs[request->first_run + r];
        for (uint64_t i = 0; err == GV_OK && i < run->count; i++) {
            uint64_t id = run->first + i;
            err = gv_buf_append(out, key_of(&id));
        }
    }
    return err;
}

static bool count_in(const struct trace *trace, uint64_t capacity, uint64_t *cached_tokens)
{
    struct cache cache;
    struct gv_buf ids;
    open_cache(&cache, capacity);
    gv_buf_init(&ids, GV_MEM_GENERAL, REPLAY_BODY_MAX);
    *cached_tokens = 0;
    bool good = true;
    for (size_t i = 0; good && i < trace->request_count; i++) {
        const struct request *request = &trace->requests[i];
        size_t hit = 0;
        gv_buf_clear(&ids);
        good = put_ids(trace, request, &ids) == GV_OK &&
               run_prompt(&cache, (const uint64_t *)(const void *)gv_buf_slice(&ids).data,
                          ids.len / sizeof(uint64_t), &hit);
        uint64_t tokens = (uint64_t)hit * trace->block_tokens;
        *cached_tokens += tokens < request->prompt_tokens ? tokens : request->prompt_tokens;
    }
    gv_buf_deinit(&ids);
    close_cache(&cache);
    return good;
}

bool possible_count(const struct trace *trace, const struct options *options,
                    struct possible *possible)
{
    *possible = (struct possible){.tokens = 0};
    for (size_t i = 0; i < trace->request_count; i++) {
        possible->tokens += trace->requests[i].prompt_tokens;
    }
    bool good = count_in(trace, UINT64_MAX, &possible->infinite_tokens);
    if (good && options->pool_tokens > 0) {
        good =
            count_in(trace, options->pool_tokens / trace->block_tokens, &possible->pooled_tokens);
    }
    return good;
}
