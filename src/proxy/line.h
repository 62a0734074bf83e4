/*
 * line.h - connections to workers: made, spoken HTTP on, kept idle, used again.
 *
 * A target is a worker as one loop sees it: its addresses, its breaker, its idle lines. A line is
 * one connection to a target and carries one request at a time:
 *
 *     gv_line_take() --on_ready--> send --on_head--> on_body ... on_end: taken back, forget it
 *           |                       |
 *           +-----------------------+---> on_lost: gone, forget it
 *
 * on_ready comes later for a new connection; for one that was idle gv_line_take() says so and no
 * on_ready comes. No callback comes from inside gv_line_take(), gv_line_send() or gv_line_drop().
 * Inside a callback the line may be dropped. Idle lines live shorter than engines keep them
 * (--pool-idle-timeout); the newest is used first.
 *
 * Who may call: upstream.c; proxy.c and probe.c own the targets. One thread.
 */
#ifndef GV_PROXY_LINE_H
#define GV_PROXY_LINE_H

#include "grapevine/base/list.h"
#include "grapevine/config/config.h"
#include "grapevine/http/head.h"
#include "grapevine/http/uri.h"
#include "grapevine/net/resolve.h"
#include "grapevine/net/stream.h"
#include "grapevine/proxy/exchange.h"
#include "grapevine/route/breaker.h"
#include "grapevine/route/fleet.h"

#define GV_TARGET_ADDRS_MAX 8

struct gv_line;
struct gv_targets;

struct gv_target {
    struct gv_targets *targets; /* borrowed */
    uint32_t index;             /* the worker's */
    char url[GV_WORKER_URL_MAX];
    struct gv_uri uri;
    struct gv_breaker breaker;
    struct gv_addr addrs[GV_TARGET_ADDRS_MAX];
    uint32_t addr_count; /* 0: to be looked up */
    uint32_t addr_at;    /* the one to use; the next after a failed connection */
    bool is_numeric;     /* the URL holds an address: nothing to look up */
    bool is_looking;
    uint64_t addrs_until_ms;
    struct gv_list idle;    /* lines, oldest first */
    struct gv_list waiting; /* lines that wait for an address */
    uint32_t idle_count;
};

struct gv_line_events {
    void (*on_ready)(void *user);
    void (*on_head)(void *user, const struct gv_head *head); /* slices live until on_end returns */
    void (*on_body)(void *user, struct gv_slice bytes);
    void (*on_end)(void *user);
    void (*on_drain)(void *user);
    /** `replaceable`: it had been idle and died before any byte: the worker had closed it. */
    void (*on_lost)(void *user, enum gv_cause cause, bool replaceable);
};

/** Errors: GV_ENOMEM, as gv_resolver_open(). `config` is borrowed. */
GV_MUST_USE enum gv_err gv_targets_open(struct gv_loop *loop, const struct gv_config *config,
                                        struct gv_targets **targets);

/**
 * Drop every line without callbacks to their users. `on_closed` comes when the last is gone; the
 * targets are freed when it returns.
 */
void gv_targets_close(struct gv_targets *targets, void (*on_closed)(void *owner), void *owner);

/**
 * The target of `worker`, made on first sight; never freed before the targets.
 * Errors: GV_EUNSUPPORTED not plain http; GV_EINVAL; GV_ENOMEM.
 */
GV_MUST_USE enum gv_err gv_target_get(struct gv_targets *targets, const struct gv_worker *worker,
                                      struct gv_target **target);

/** The target of index, or NULL when none was made. */
struct gv_target *gv_target_find(const struct gv_targets *targets, uint32_t index);

/** The time of the target's loop. */
uint64_t gv_target_now_ms(const struct gv_target *target);

/** Close idle lines past their time, and all of workers that are not in `view`. */
void gv_targets_sweep(struct gv_targets *targets, const struct gv_fleet_view *view,
                      uint64_t now_ms);

/** Idle lines over all targets. */
uint32_t gv_targets_idle_count(const struct gv_targets *targets);

/**
 * A line to `target`: an idle one unless `fresh`; `*is_ready` then says that it can be used now.
 * Errors: GV_ENOMEM, GV_EFULL, GV_EIO; then no callback comes.
 */
GV_MUST_USE enum gv_err gv_line_take(struct gv_target *target, bool fresh,
                                     const struct gv_line_events *events, void *user,
                                     struct gv_line **line, bool *is_ready);

/** The next answer has no body (HEAD). Before sending. */
void gv_line_expect_no_body(struct gv_line *line);

/** As gv_stream_send2(). */
GV_MUST_USE enum gv_err gv_line_send(struct gv_line *line, struct gv_slice bytes,
                                     struct gv_slice more);

/** The request is sent to its last byte: after the answer the line may be used again. */
void gv_line_sent(struct gv_line *line);

void gv_line_pause(struct gv_line *line);
void gv_line_resume(struct gv_line *line);

/** Close at once; no callback comes any more. */
void gv_line_drop(struct gv_line *line);

#endif
