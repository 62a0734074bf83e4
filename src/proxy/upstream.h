/*
 * upstream.h - one request to one worker, with its timeouts.
 *
 *     gv_upstream_start() --> on_head --> on_body ... --> on_end
 *              |                 |           |
 *              +-----------------+-----------+----------> on_broke
 *
 * on_end or on_broke is the last call; none comes after gv_upstream_cancel(), nor from inside
 * gv_upstream_start(). A connection that had been idle and dies before its first byte is replaced
 * by a fresh one, silently and once: the worker had closed it, it was not asked.
 *
 * A worker whose name cannot be connected to is looked up again, and its other addresses are tried.
 *
 * The memory is the caller's and may be used again when the last call has begun. One thread.
 */
#ifndef GV_PROXY_UPSTREAM_H
#define GV_PROXY_UPSTREAM_H

#include "line.h"

struct gv_upstream_events {
    void (*on_head)(void *owner, uint32_t leg, const struct gv_head *head);
    void (*on_body)(void *owner, uint32_t leg, struct gv_slice bytes);
    void (*on_end)(void *owner, uint32_t leg);
    void (*on_broke)(void *owner, uint32_t leg, enum gv_cause cause);
};

struct gv_upstream_limits {
    uint64_t connect_ms;
    uint64_t first_byte_ms; /* from the connection to the first body byte; 0: none */
    uint64_t idle_ms;       /* between body bytes, while not paused; 0: none */
};

enum gv_upstream_phase {
    GV_UPSTREAM_OFF = 0,
    GV_UPSTREAM_CONNECTING,
    GV_UPSTREAM_WAITING, /* for the first body byte */
    GV_UPSTREAM_ANSWERING
};

struct gv_upstream {
    struct gv_target *target; /* borrowed */
    struct gv_line *line;     /* borrowed; NULL while OFF */
    const struct gv_upstream_events *events;
    void *owner;
    uint32_t leg;         /* handed back in every event */
    struct gv_slice head; /* borrowed until the end */
    struct gv_slice body; /* borrowed until the end */
    size_t body_sent;
    struct gv_upstream_limits limits;
    enum gv_upstream_phase phase;
    uint64_t since_ms;      /* of this phase, or of the last byte while ANSWERING */
    uint64_t begun_us;      /* a connection was asked for */
    uint64_t sent_us;       /* the request was given to it; 0: not yet */
    bool head_only;         /* a HEAD request: the answer has no body */
    uint32_t address_count; /* tried in vain */
    bool replaced;
    bool paused;
};

struct gv_upstream_request {
    struct gv_slice head; /* borrowed until the end */
    struct gv_slice body; /* borrowed until the end */
    bool head_only;
};

/** Errors: as gv_line_take(); then no event comes. */
GV_MUST_USE enum gv_err gv_upstream_start(struct gv_upstream *upstream, struct gv_target *target,
                                          struct gv_upstream_request request,
                                          struct gv_upstream_limits limits,
                                          const struct gv_upstream_events *events, void *owner,
                                          uint32_t leg);

/** End it now; harmless when it is OFF. */
void gv_upstream_cancel(struct gv_upstream *upstream);

/** Time has passed: may call on_broke. */
void gv_upstream_tick(struct gv_upstream *upstream, uint64_t now_ms);

void gv_upstream_pause(struct gv_upstream *upstream);
void gv_upstream_resume(struct gv_upstream *upstream, uint64_t now_ms);

#endif
