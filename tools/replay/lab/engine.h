/*
 * engine.h - an inference engine in virtual time: the model of mockworker's engine (blocks in an
 * LRU cache, prefill one job at a time in order of arrival, decode at a steady pace), kept by
 * segments of the corpus, and with what a fleet does to engines: slots, speed, stalls, restarts.
 *
 * The cache keeps the whole blocks of each prompt, from the moment its prefill ends; of blocks used
 * at the same time the deepest goes first, so that a prefix outlives what continues it. What of a
 * prompt is cached is settled when its prefill begins. A job holds a slot from there to its last
 * token.
 *
 * Pure: the time comes in. The owner asks engine_due() and calls engine_step() then. One thread.
 */
#ifndef REPLAY_LAB_ENGINE_H
#define REPLAY_LAB_ENGINE_H

#include "corpus.h"
#include "grapevine/base/list.h"

#define LAB_NEVER UINT64_MAX

struct lab_engine_limits {
    uint64_t capacity_blocks;
    double prefill_us_per_token;
    double decode_us_per_token;
    uint32_t slots; /* jobs in prefill and decode at once */
};

struct lab_job {
    struct gv_list link; /* in the queue, or among the decoding */
    const struct corpus_prompt *prompt;
    uint64_t cached_tokens; /* from the begin of its prefill on */
    uint64_t ends_at_us;    /* of decode; 0: no token yet */
    uint32_t heap_at;       /* in lab_engine.decoding */
    uint32_t number;        /* the owner's */
};

struct lab_engine {
    const struct corpus *corpus; /* borrowed */
    struct lab_engine_limits limits;
    struct gv_map cache; /* segment -> struct held, owned */
    struct gv_list lru;  /* used longest ago first */
    uint64_t held_blocks;
    struct gv_list queue;    /* borrowed jobs */
    struct lab_job *prefill; /* borrowed; NULL: free */
    uint64_t prefill_ends_at_us;
    struct lab_job **decoding; /* owned: a heap of borrowed jobs by (ends_at_us, number) */
    uint32_t decode_count, decode_room;
    uint32_t queue_count;
    uint64_t stalled_until_us;
    uint64_t computed_tokens; /* of prefill, so far */
    uint64_t busy_us;         /* in prefill */
};

enum lab_engine_event {
    LAB_ENGINE_NOTHING = 0,
    LAB_ENGINE_FIRST, /* the first token of a job is there */
    LAB_ENGINE_END    /* the last one is; the job is out */
};

void lab_engine_init(struct lab_engine *engine, const struct corpus *corpus,
                     struct lab_engine_limits limits);
void lab_engine_deinit(struct lab_engine *engine);

/** Queue `job` (prompt and number set); it stays where it is until END or lab_engine_remove(). */
void lab_engine_submit(struct lab_engine *engine, struct lab_job *job, uint64_t now_us);

/** When something happens next; LAB_NEVER. */
uint64_t lab_engine_due(const struct lab_engine *engine);

/** What happened next, no later than `now_us`; call until NOTHING. Of `*at_us`, when. */
enum lab_engine_event lab_engine_step(struct lab_engine *engine, uint64_t now_us,
                                      struct lab_job **job, uint64_t *at_us);

/** It stands still until then; all that was under way ends so much later. */
void lab_engine_stall(struct lab_engine *engine, uint64_t now_us, uint64_t until_us);

/** Take `job` out, wherever it is: the client left, or the process died. */
void lab_engine_remove(struct lab_engine *engine, struct lab_job *job, uint64_t now_us);

/** A prompt is computed now: as at the end of its prefill. */
void lab_engine_remember(struct lab_engine *engine, const struct corpus_prompt *prompt);

/** The cache is gone. */
void lab_engine_flush(struct lab_engine *engine);

/** Tokens of `prompt` that are in the cache now. */
uint64_t lab_engine_cached(const struct lab_engine *engine, const struct corpus_prompt *prompt);

#endif
