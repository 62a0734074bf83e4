/*
 * engine.c - cache, queue and slots of a simulated engine. See engine.h.
 */
#include "engine.h"

struct held {
    struct gv_list link;
    uint32_t segment;
    uint32_t count; /* of its leading blocks */
};

static struct gv_slice key_of(const uint32_t *segment)
{
    return gv_slice_of(segment, sizeof *segment);
}

void lab_engine_init(struct lab_engine *engine, const struct corpus *corpus,
                     struct lab_engine_limits limits)
{
    GV_ASSERT(limits.slots >= 1);
    *engine = (struct lab_engine){.corpus = corpus, .limits = limits};
    gv_map_init(&engine->cache, GV_MEM_GENERAL, SIZE_MAX / 2, NULL);
    gv_list_init(&engine->lru);
    gv_list_init(&engine->queue);
}

static void forget(struct lab_engine *engine, struct held *held)
{
    (void)gv_map_take(&engine->cache, key_of(&held->segment));
    gv_list_remove(&held->link);
    engine->held_blocks -= held->count;
    gv_mem_free(GV_MEM_GENERAL, held);
}

void lab_engine_flush(struct lab_engine *engine)
{
    GV_LIST_EACH(&engine->lru, at, following)
    {
        forget(engine, GV_CONTAINER(at, struct held, link));
    }
}

void lab_engine_deinit(struct lab_engine *engine)
{
    lab_engine_flush(engine);
    gv_map_deinit(&engine->cache);
    gv_mem_free(GV_MEM_GENERAL, engine->decoding);
}

/* ---- the cache ---------------------------------------------------------------------------------
 */

uint64_t lab_engine_cached(const struct lab_engine *engine, const struct corpus_prompt *prompt)
{
    const struct corpus *corpus = engine->corpus;
    uint64_t blocks = 0;
    for (uint32_t i = 0; i < prompt->path_count; i++) {
        uint32_t segment = corpus->paths[prompt->path + i];
        const struct held *held = gv_map_find(&engine->cache, key_of(&segment));
        if (held == NULL) {
            break;
        }
        blocks += held->count;
        if (held->count < corpus->segments[segment].count) {
            break;
        }
    }
    uint64_t tokens =
        (blocks < prompt->full_count ? blocks : prompt->full_count) * LAB_BLOCK_TOKENS;
    return tokens < prompt->tokens ? tokens : prompt->tokens - 1; /* the last is always computed */
}

/* Out of memory it is simply not cached. */
static void touch(struct lab_engine *engine, uint32_t segment, uint32_t count)
{
    struct held *held = gv_map_find(&engine->cache, key_of(&segment));
    if (held == NULL) {
        held = gv_mem_new(GV_MEM_GENERAL, sizeof *held);
        if (held == NULL || gv_map_put(&engine->cache, key_of(&segment), held) != GV_OK) {
            gv_mem_free(GV_MEM_GENERAL, held);
            return;
        }
        held->segment = segment;
        gv_list_init(&held->link);
    }
    if (count > held->count) {
        engine->held_blocks += count - held->count;
        held->count = count;
    }
    gv_list_remove(&held->link);
    gv_list_add(&engine->lru, &held->link);
}

void lab_engine_remember(struct lab_engine *engine, const struct corpus_prompt *prompt)
{
    const struct corpus *corpus = engine->corpus;
    uint32_t end = prompt->block_count; /* of the segment being touched */
    for (uint32_t i = prompt->path_count; i > 0; i--) {
        uint32_t segment = corpus->paths[prompt->path + i - 1];
        uint32_t count = corpus->segments[segment].count;
        uint32_t begin = end - count;
        uint32_t last = end < prompt->full_count ? end : prompt->full_count;
        if (last > begin) {
            touch(engine, segment, last - begin);
        }
        end = begin;
    }
    while (engine->held_blocks > engine->limits.capacity_blocks) {
        struct held *oldest = GV_CONTAINER(gv_list_first(&engine->lru), struct held, link);
        uint64_t over = engine->held_blocks - engine->limits.capacity_blocks;
        if (over >= oldest->count) {
            forget(engine, oldest);
        } else {
            oldest->count -= (uint32_t)over;
            engine->held_blocks -= over;
        }
    }
}

/* ---- decoding jobs: a heap ---------------------------------------------------------------------
 */

static bool is_before(const struct lab_job *a, const struct lab_job *b)
{
    return a->ends_at_us != b->ends_at_us ? a->ends_at_us < b->ends_at_us : a->number < b->number;
}

static void place(struct lab_engine *engine, uint32_t at, struct lab_job *job)
{
    engine->decoding[at] = job;
    job->heap_at = at;
}

static void sift_up(struct lab_engine *engine, uint32_t at)
{
    struct lab_job *job = engine->decoding[at];
    while (at > 0 && is_before(job, engine->decoding[(at - 1) / 2])) {
        place(engine, at, engine->decoding[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    place(engine, at, job);
}

static struct lab_job *take(struct lab_engine *engine, uint32_t at)
{
    struct lab_job *taken = engine->decoding[at];
    struct lab_job *last = engine->decoding[--engine->decode_count];
    if (at == engine->decode_count) {
        return taken;
    }
    while (2 * at + 1 < engine->decode_count) {
        uint32_t child = 2 * at + 1;
        if (child + 1 < engine->decode_count &&
            is_before(engine->decoding[child + 1], engine->decoding[child])) {
            child += 1;
        }
        if (!is_before(engine->decoding[child], last)) {
            break;
        }
        place(engine, at, engine->decoding[child]);
        at = child;
    }
    place(engine, at, last);
    sift_up(engine, at);
    return taken;
}

static void begin_decode(struct lab_engine *engine, struct lab_job *job, uint64_t at_us)
{
    if (engine->decode_count == engine->decode_room) {
        engine->decode_room = engine->decode_room * 2 + 16;
        engine->decoding = gv_mem_resize(GV_MEM_GENERAL, engine->decoding,
                                         engine->decode_room * sizeof *engine->decoding);
        GV_ASSERT(engine->decoding != NULL); /* a few kilobytes of a tool */
    }
    job->ends_at_us =
        at_us + (uint64_t)((double)job->prompt->output_tokens * engine->limits.decode_us_per_token);
    place(engine, engine->decode_count++, job);
    sift_up(engine, engine->decode_count - 1);
}

/* ---- time --------------------------------------------------------------------------------------
 */

static void begin_prefill(struct lab_engine *engine, uint64_t at_us)
{
    struct gv_list *first = gv_list_first(&engine->queue);
    if (engine->prefill != NULL || first == NULL || engine->decode_count >= engine->limits.slots) {
        return;
    }
    struct lab_job *job = GV_CONTAINER(first, struct lab_job, link);
    gv_list_remove(&job->link);
    engine->queue_count -= 1;
    job->cached_tokens = lab_engine_cached(engine, job->prompt);
    uint64_t paid = job->prompt->tokens - job->cached_tokens;
    uint64_t took_us = (uint64_t)((double)paid * engine->limits.prefill_us_per_token);
    uint64_t start_us = at_us > engine->stalled_until_us ? at_us : engine->stalled_until_us;
    engine->prefill = job;
    engine->prefill_ends_at_us = start_us + took_us;
    engine->computed_tokens += paid;
    engine->busy_us += took_us;
}

void lab_engine_submit(struct lab_engine *engine, struct lab_job *job, uint64_t now_us)
{
    job->ends_at_us = 0;
    job->cached_tokens = 0;
    gv_list_init(&job->link);
    gv_list_add(&engine->queue, &job->link);
    engine->queue_count += 1;
    begin_prefill(engine, now_us);
}

uint64_t lab_engine_due(const struct lab_engine *engine)
{
    uint64_t due_us = engine->prefill != NULL ? engine->prefill_ends_at_us : LAB_NEVER;
    if (engine->decode_count > 0 && engine->decoding[0]->ends_at_us < due_us) {
        due_us = engine->decoding[0]->ends_at_us;
    }
    return due_us;
}

enum lab_engine_event lab_engine_step(struct lab_engine *engine, uint64_t now_us,
                                      struct lab_job **job, uint64_t *at_us)
{
    *at_us = lab_engine_due(engine);
    if (*at_us > now_us) {
        return LAB_ENGINE_NOTHING;
    }
    if (engine->prefill != NULL && engine->prefill_ends_at_us == *at_us) {
        *job = engine->prefill;
        engine->prefill = NULL;
        lab_engine_remember(engine, (*job)->prompt);
        begin_decode(engine, *job, *at_us);
        begin_prefill(engine, *at_us);
        return LAB_ENGINE_FIRST;
    }
    *job = take(engine, 0);
    begin_prefill(engine, *at_us);
    return LAB_ENGINE_END;
}

void lab_engine_stall(struct lab_engine *engine, uint64_t now_us, uint64_t until_us)
{
    uint64_t from_us = now_us > engine->stalled_until_us ? now_us : engine->stalled_until_us;
    if (until_us <= from_us) {
        return;
    }
    uint64_t shift_us = until_us - from_us;
    engine->stalled_until_us = until_us;
    engine->prefill_ends_at_us += engine->prefill != NULL ? shift_us : 0;
    for (uint32_t i = 0; i < engine->decode_count; i++) {
        engine->decoding[i]->ends_at_us += shift_us; /* all alike: the heap stays one */
    }
}

void lab_engine_remove(struct lab_engine *engine, struct lab_job *job, uint64_t now_us)
{
    if (engine->prefill == job) {
        engine->prefill = NULL;
    } else if (job->ends_at_us > 0) {
        take(engine, job->heap_at);
    } else {
        gv_list_remove(&job->link);
        engine->queue_count -= 1;
    }
    begin_prefill(engine, now_us);
}
