/*
 * engine.h - how long an engine takes and what its KV cache holds: the model behind mockworker.
 *
 * A prompt is cut into blocks of tokens; a block is known by the hash of everything up to its end,
 * so that equal hashes are equal prefixes. The cache keeps the blocks used last. Prefill works on
 * one job at a time, in the order of arrival, and pays only for tokens that the cache lacks; when
 * it ends, the prompt's blocks are in the cache and the first token exists. Decode then makes one
 * token per step for every job at once.
 *
 *      submit --> QUEUED --(prefill free)--> PREFILL --(tokens paid)--> DECODE --> remove
 *      submit_prefilled (the KV came from elsewhere) ---------------------^
 *
 * Pure: the time comes in as microseconds of any clock that never goes back. One thread.
 */
#ifndef MOCKWORKER_ENGINE_H
#define MOCKWORKER_ENGINE_H

#include "grapevine/base/list.h"
#include "grapevine/base/map.h"
#include "grapevine/base/slice.h"

#define ENGINE_BYTES_PER_TOKEN 4 /* of text, about */
#define ENGINE_NEVER           UINT64_MAX

struct engine_limits {
    uint32_t block_tokens;       /* tokens per cached block; at least 1 */
    uint64_t capacity_tokens;    /* tokens the cache holds; 0: no cache */
    double prefill_us_per_token; /* 0: prefill takes no time */
    double decode_us_per_token;  /* 0: all tokens exist with the first */
    uint32_t bytes_per_token;    /* 0: ENGINE_BYTES_PER_TOKEN */
};

enum engine_job_state {
    ENGINE_JOB_NEW = 0, /* not submitted, or removed */
    ENGINE_JOB_QUEUED,
    ENGINE_JOB_PREFILL,
    ENGINE_JOB_DECODE
};

struct engine_job {
    struct gv_list link; /* in the engine's queue, or among its decoding jobs */
    uint64_t *blocks;    /* owned: one hash per full block */
    size_t block_count;
    uint64_t prompt_tokens; /* at least 1 */
    uint64_t cached_tokens; /* known from PREFILL on; below prompt_tokens */
    uint32_t output_tokens; /* what will be made; at least 1 */
    enum engine_job_state state;
    uint64_t first_at_us; /* when the first token existed; DECODE only */
};

struct engine {
    struct engine_limits limits;
    struct gv_map cache;           /* block hash -> struct engine_block, owned */
    struct gv_list lru;            /* used longest ago first */
    struct gv_list queue;          /* jobs, borrowed, oldest first */
    struct gv_list decoding;       /* jobs, borrowed */
    struct engine_job *prefilling; /* borrowed; NULL: free */
    uint64_t prefill_done_at_us;   /* meaningful while prefilling */
    size_t queue_count;
    size_t decode_count;
};

/** An engine with an empty cache and nothing to do. */
void engine_init(struct engine *engine, struct engine_limits limits);

/** Free the cache. No job is submitted any more. */
void engine_deinit(struct engine *engine);

/** Forget every cached block. Jobs under way go on. */
void engine_flush(struct engine *engine);

/** Tokens in the cache now. */
uint64_t engine_cached_tokens(const struct engine *engine);

/**
 * Fill `job` (zeroed) from the canonical prompt, which is copied as hashes. `output_tokens` of 0
 * counts as 1. Errors: GV_ENOMEM.
 */
GV_MUST_USE enum gv_err engine_job_init(const struct engine *engine, struct engine_job *job,
                                        struct gv_slice prompt, uint32_t output_tokens);

/** Free the hashes. The job is not submitted. */
void engine_job_deinit(struct engine_job *job);

/** Queue `job` at `now_us`; it stays where it is until engine_remove(). */
void engine_submit(struct engine *engine, struct engine_job *job, uint64_t now_us);

/** Start `job` in DECODE: another engine did the prefill and had `cached_tokens` of it. */
void engine_submit_prefilled(struct engine *engine, struct engine_job *job, uint64_t cached_tokens,
                             uint64_t now_us);

/** Take `job` out, finished or not; prefill time not yet spent on it is free for the next one. */
void engine_remove(struct engine *engine, struct engine_job *job, uint64_t now_us);

/** Bring prefill up to `now_us`. */
void engine_advance(struct engine *engine, uint64_t now_us);

/** Tokens of `job` that exist at `now_us`; 0 before DECODE, at most output_tokens. */
uint32_t engine_tokens(const struct engine *engine, const struct engine_job *job, uint64_t now_us);

/** When token number `index` (0: the first) of a DECODE job exists. */
uint64_t engine_token_at_us(const struct engine *engine, const struct engine_job *job,
                            uint32_t index);

#endif
