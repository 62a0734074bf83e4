/*
 * fetch.h - one small GET to a worker, answered whole or not at all.
 *
 * Who may call: probe.c. One thread.
 */
#ifndef GV_PROXY_FETCH_H
#define GV_PROXY_FETCH_H

#include "upstream.h"

#define GV_FETCH_BODY_MAX  (1024u * 1024) /* what comes beyond it is dropped */
#define GV_FETCH_KEY_BYTES 256            /* of an API key, with NUL */

/** `cause` NONE: `status` and `body` are the answer; `body` is borrowed for the call. */
typedef void (*gv_fetch_fn)(void *owner, enum gv_cause cause, uint16_t status,
                            struct gv_slice body);

struct gv_fetch {
    struct gv_upstream upstream;
    struct gv_buf head; /* owned */
    struct gv_buf body; /* owned */
    uint16_t status;
    uint64_t until_ms;
    bool is_on;
    gv_fetch_fn on_done;
    void *owner;
};

void gv_fetch_init(struct gv_fetch *fetch);

/** Ends what is under way, without a callback. */
void gv_fetch_deinit(struct gv_fetch *fetch);

/**
 * Ask `target` for `path` (below the prefix of its URL), with `api_key` unless it is "". on_done
 * comes once, never from inside. Errors: as gv_upstream_start(), as gv_buf_append(); then no
 * callback comes.
 */
GV_MUST_USE enum gv_err gv_fetch_start(struct gv_fetch *fetch, struct gv_target *target,
                                       const char *path, const char *api_key, uint64_t timeout_ms,
                                       gv_fetch_fn on_done, void *owner);

/** Time has passed: may call on_done with GV_CAUSE_TIMEOUT. */
void gv_fetch_tick(struct gv_fetch *fetch, uint64_t now_ms);

#endif
