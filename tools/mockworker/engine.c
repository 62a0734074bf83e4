/*
 * engine.c - the block cache, the prefill queue and the pace of decode. See engine.h.
 */
#include "engine.h"

struct engine_block {
    struct gv_list link; /* in the engine's lru */
    uint64_t hash;
};

static struct gv_slice key_of(const uint64_t *hash)
{
    return gv_slice_of(hash, sizeof *hash);
}

static uint64_t capacity_blocks(const struct engine *engine)
{
    return engine->limits.capacity_tokens / engine->limits.block_tokens;
}

static void check(const struct engine *engine)
{
    GV_ASSERT(engine->limits.block_tokens >= 1);
    GV_ASSERT(engine->cache.count <= capacity_blocks(engine));
    GV_ASSERT(engine->prefilling == NULL || engine->prefilling->state == ENGINE_JOB_PREFILL);
    GV_ASSERT(engine->prefilling != NULL || gv_list_is_empty(&engine->queue));
}

void engine_init(struct engine *engine, struct engine_limits limits)
{
    GV_ASSERT(limits.block_tokens >= 1);
    *engine = (struct engine){.limits = limits};
    gv_map_init(&engine->cache, GV_MEM_GENERAL, SIZE_MAX / 2, NULL);
    gv_list_init(&engine->lru);
    gv_list_init(&engine->queue);
    gv_list_init(&engine->decoding);
    check(engine);
}

static void drop(struct engine *engine, struct engine_block *block)
{
    void *held = gv_map_take(&engine->cache, key_of(&block->hash));
    GV_ASSERT(held == block);
    gv_list_remove(&block->link);
    gv_mem_free(GV_MEM_GENERAL, block);
}

void engine_flush(struct engine *engine)
{
    GV_LIST_EACH(&engine->lru, at, following)
    {
        drop(engine, GV_CONTAINER(at, struct engine_block, link));
    }
    check(engine);
}

void engine_deinit(struct engine *engine)
{
    GV_ASSERT(engine->prefilling == NULL && gv_list_is_empty(&engine->decoding));
    engine_flush(engine);
    gv_map_deinit(&engine->cache);
}

uint64_t engine_cached_tokens(const struct engine *engine)
{
    return (uint64_t)engine->cache.count * engine->limits.block_tokens;
}

enum gv_err engine_job_init(const struct engine *engine, struct engine_job *job,
                            struct gv_slice prompt, uint32_t output_tokens)
{
    uint32_t token_bytes = engine->limits.bytes_per_token;
    token_bytes = token_bytes == 0 ? ENGINE_BYTES_PER_TOKEN : token_bytes;
    size_t block_bytes = (size_t)engine->limits.block_tokens * token_bytes;
    size_t count = prompt.len / block_bytes;
    uint64_t *blocks = gv_mem_new(GV_MEM_GENERAL, (count + 1) * sizeof *blocks);
    if (blocks == NULL) {
        return GV_ENOMEM;
    }
    uint64_t chain[2] = {0, 0};
    for (size_t i = 0; i < count; i++) {
        chain[0] = gv_siphash(chain, gv_slice_of(prompt.data + i * block_bytes, block_bytes));
        blocks[i] = chain[0];
    }
    uint64_t tokens = (prompt.len + token_bytes - 1) / token_bytes;
    *job = (struct engine_job){.blocks = blocks,
                               .block_count = count,
                               .prompt_tokens = tokens == 0 ? 1 : tokens,
                               .output_tokens = output_tokens == 0 ? 1 : output_tokens};
    return GV_OK; /* the link stays zero: in no list, and the job may still be moved */
}

void engine_job_deinit(struct engine_job *job)
{
    GV_ASSERT(job->state == ENGINE_JOB_NEW);
    gv_mem_free(GV_MEM_GENERAL, job->blocks);
    *job = (struct engine_job){.blocks = NULL};
}

/* How much of the prompt is cached. The last token is always computed anew: its output is wanted.
 */
static uint64_t cached_of(const struct engine *engine, const struct engine_job *job)
{
    size_t held = 0;
    while (held < job->block_count && gv_map_find(&engine->cache, key_of(&job->blocks[held]))) {
        held += 1;
    }
    uint64_t tokens = (uint64_t)held * engine->limits.block_tokens;
    return tokens < job->prompt_tokens ? tokens : job->prompt_tokens - 1;
}

/* Make one block the last to be evicted. Out of memory it is simply not cached. */
static void touch(struct engine *engine, uint64_t hash)
{
    struct engine_block *block = gv_map_find(&engine->cache, key_of(&hash));
    if (block == NULL) {
        block = gv_mem_new(GV_MEM_GENERAL, sizeof *block);
        if (block == NULL) {
            return;
        }
        block->hash = hash;
        gv_list_init(&block->link);
        if (gv_map_put(&engine->cache, key_of(&hash), block) != GV_OK) {
            gv_mem_free(GV_MEM_GENERAL, block);
            return;
        }
    }
    gv_list_remove(&block->link);
    gv_list_add(&engine->lru, &block->link);
}

/* Deepest block first, so that a prefix always outlives what continues it. */
static void remember(struct engine *engine, const struct engine_job *job)
{
    for (size_t i = job->block_count; i > 0; i--) {
        touch(engine, job->blocks[i - 1]);
    }
    while (engine->cache.count > capacity_blocks(engine)) {
        drop(engine, GV_CONTAINER(gv_list_first(&engine->lru), struct engine_block, link));
    }
}

static void begin_prefill(struct engine *engine, uint64_t at_us)
{
    struct gv_list *first = gv_list_first(&engine->queue);
    if (first == NULL) {
        return;
    }
    struct engine_job *job = GV_CONTAINER(first, struct engine_job, link);
    gv_list_remove(&job->link);
    engine->queue_count -= 1;
    job->state = ENGINE_JOB_PREFILL;
    job->cached_tokens = cached_of(engine, job);
    double paid = (double)(job->prompt_tokens - job->cached_tokens);
    engine->prefilling = job;
    engine->prefill_done_at_us = at_us + (uint64_t)(paid * engine->limits.prefill_us_per_token);
}

static void begin_decode(struct engine *engine, struct engine_job *job, uint64_t at_us)
{
    job->state = ENGINE_JOB_DECODE;
    job->first_at_us = at_us;
    gv_list_add(&engine->decoding, &job->link);
    engine->decode_count += 1;
}

void engine_advance(struct engine *engine, uint64_t now_us)
{
    check(engine);
    while (engine->prefilling != NULL && engine->prefill_done_at_us <= now_us) {
        struct engine_job *job = engine->prefilling;
        engine->prefilling = NULL;
        remember(engine, job);
        begin_decode(engine, job, engine->prefill_done_at_us);
        begin_prefill(engine, engine->prefill_done_at_us);
    }
    check(engine);
}

void engine_submit(struct engine *engine, struct engine_job *job, uint64_t now_us)
{
    GV_ASSERT(job->state == ENGINE_JOB_NEW && job->prompt_tokens >= 1);
    engine_advance(engine, now_us);
    job->state = ENGINE_JOB_QUEUED;
    gv_list_add(&engine->queue, &job->link);
    engine->queue_count += 1;
    if (engine->prefilling == NULL) {
        begin_prefill(engine, now_us);
    }
    engine_advance(engine, now_us);
}

void engine_submit_prefilled(struct engine *engine, struct engine_job *job, uint64_t cached_tokens,
                             uint64_t now_us)
{
    GV_ASSERT(job->state == ENGINE_JOB_NEW && job->prompt_tokens >= 1);
    job->cached_tokens =
        cached_tokens < job->prompt_tokens ? cached_tokens : job->prompt_tokens - 1;
    begin_decode(engine, job, now_us);
}

void engine_remove(struct engine *engine, struct engine_job *job, uint64_t now_us)
{
    switch (job->state) {
    case ENGINE_JOB_NEW:
        return;
    case ENGINE_JOB_QUEUED:
        engine->queue_count -= 1;
        break;
    case ENGINE_JOB_PREFILL:
        GV_ASSERT(engine->prefilling == job);
        engine->prefilling = NULL;
        begin_prefill(engine, now_us);
        break;
    case ENGINE_JOB_DECODE:
        engine->decode_count -= 1;
        break;
    }
    gv_list_remove(&job->link);
    job->state = ENGINE_JOB_NEW;
    check(engine);
}

uint64_t engine_token_at_us(const struct engine *engine, const struct engine_job *job,
                            uint32_t index)
{
    GV_ASSERT(job->state == ENGINE_JOB_DECODE);
    return job->first_at_us + (uint64_t)((double)index * engine->limits.decode_us_per_token);
}

uint32_t engine_tokens(const struct engine *engine, const struct engine_job *job, uint64_t now_us)
{
    if (job->state != ENGINE_JOB_DECODE || now_us < job->first_at_us) {
        return 0;
    }
    double pace = engine->limits.decode_us_per_token;
    double made = pace > 0 ? (double)(now_us - job->first_at_us) / pace : (double)UINT32_MAX;
    uint32_t whole =
        made < (double)(job->output_tokens - 1) ? (uint32_t)made : job->output_tokens - 1;
    while (whole + 1 < job->output_tokens && engine_token_at_us(engine, job, whole + 1) <= now_us) {
        whole += 1; /* the division above may round down where the multiplication does not */
    }
    return whole + 1;
}
