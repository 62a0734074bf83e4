/*
 * pair.h - the bodies that the legs of a prefill and decode pair get.
 *
 * In SGLang's way both legs get the same body and meet in a room; in vLLM's way prefill goes first,
 * and what it returns is handed to decode.
 *
 * bootstrap_host, bootstrap_port and bootstrap_room tell the decode engine where the prefill engine
 * hands over the KV cache, and under which number. They are ours alone: whatever a client sends
 * under these names is dropped. Pure.
 */
#ifndef GV_PROXY_PAIR_H
#define GV_PROXY_PAIR_H

#include "grapevine/http/splice.h"

#define GV_PAIR_BATCH_MAX     4096                         /* items of one request */
#define GV_PAIR_ADDITIONS_MAX 4                            /* fields beside the three */
#define GV_PAIR_ROOM_MASK     UINT64_C(0x7FFFFFFFFFFFFFFF) /* rooms have 63 bits */

struct gv_pair_meeting {
    const char *host;      /* of the prefill worker, as in its URL, without port */
    int32_t port;          /* its bootstrap port; -1: null */
    const uint64_t *rooms; /* fresh random; batch_size of them, or one when that is 0 */
    uint32_t batch_size;   /* 0: a single prompt; n: arrays of n; at most GV_PAIR_BATCH_MAX */
    const struct gv_splice_field *additions; /* borrowed: more fields to set; may be NULL */
    size_t addition_count;                   /* at most GV_PAIR_ADDITIONS_MAX */
};

/** Append `body` with the three fields and the additions set. Errors: as gv_splice(). */
GV_MUST_USE enum gv_err gv_pair_body(struct gv_slice body, const struct gv_pair_meeting *meeting,
                                     struct gv_buf *out);

/**
 * Append prefill's body in vLLM's way: `body` with one token to make, no stream, and
 * kv_transfer_params that ask to keep the KV for a decode worker. Errors: as gv_splice().
 */
GV_MUST_USE enum gv_err gv_pair_prefill_body(struct gv_slice body, struct gv_buf *out);

/**
 * Append decode's body in vLLM's way: `body` with the kv_transfer_params of prefill's `answer`;
 * with null where it has none (decode then computes the prompt itself). What a client sends under
 * that name is dropped. Errors: as gv_splice().
 */
GV_MUST_USE enum gv_err gv_pair_decode_body(struct gv_slice body, struct gv_slice answer,
                                            struct gv_buf *out);

#endif
