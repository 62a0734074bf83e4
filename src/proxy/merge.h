/*
 * merge.h - the input log-probabilities of a prefill and decode pair, put together.
 *
 * Each leg knows a part of them: the client gets prefill's meta_info.input_token_logprobs followed
 * by decode's, in decode's answer, where every other byte stays as it is. Works on one JSON object,
 * on an array of them (a batch), and on server-sent events, one by one, wherever the bytes were
 * cut; items of a batch find each other by "index". What it does not understand passes as it
 * stands.
 *
 *     gv_merge_prefill() ... gv_merge_prefill_end() --> gv_merge_feed() ... gv_merge_end()
 *
 * Pure; one thread. Who may call: carrier.c.
 */
#ifndef GV_PROXY_MERGE_H
#define GV_PROXY_MERGE_H

#include "grapevine/base/buf.h"

#define GV_MERGE_BYTES_MAX                                                                         \
    (64u * 1024 * 1024)         /* of prefill's answer, and of an event of decode's */
#define GV_MERGE_ITEMS_MAX 4096 /* of a batch */

struct gv_merge {
    struct gv_buf prefill;     /* owned: what prefill said */
    struct gv_buf held;        /* owned: of decode, not yet complete */
    struct gv_slice *logprobs; /* owned: by item, raw arrays inside `prefill`; len 0: none */
    uint32_t item_count;
    size_t fresh; /* bytes at the end of `held` in which no line end was looked for */
    bool stream;  /* decode's answer is events */
    bool off;     /* too much, or no memory: everything passes as it stands */
};

/** Allocates nothing. */
void gv_merge_init(struct gv_merge *merge);
void gv_merge_deinit(struct gv_merge *merge);

/** Forget everything: a new attempt begins. */
void gv_merge_reset(struct gv_merge *merge);

/** Bytes of prefill's answer. */
void gv_merge_prefill(struct gv_merge *merge, struct gv_slice bytes);

/** Prefill's answer is complete; only now decode's may be fed. */
void gv_merge_prefill_end(struct gv_merge *merge);

/** Bytes of decode's answer while prefill's is not complete. Errors: as gv_buf_append(). */
GV_MUST_USE enum gv_err gv_merge_hold(struct gv_merge *merge, struct gv_slice bytes);

/** Bytes of decode's answer, may be none: append to `out` what can go on now. Errors: as
 * gv_buf_append(). */
GV_MUST_USE enum gv_err gv_merge_feed(struct gv_merge *merge, struct gv_slice bytes,
                                      struct gv_buf *out);

/** Decode's answer is complete: append the rest. Errors: as gv_buf_append(). */
GV_MUST_USE enum gv_err gv_merge_end(struct gv_merge *merge, struct gv_buf *out);

#endif
