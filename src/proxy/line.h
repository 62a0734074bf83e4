/*
 * line.h - connections to workers: made, spoken HTTP on, kept idle, used again.
 *
 * A target is a worker as one loop sees it: its addresses, its idle lines. A line is
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

#include "grapevine/http/head.h"
#include "grapevine/net/stream.h"
#include "grapevine/proxy/exchange.h"
#include "target.h"

struct gv_line;

struct gv_line_events {
    void (*on_ready)(void *user);
    void (*on_head)(void *user, const struct gv_head *head); /* slices live until on_end returns */
    void (*on_body)(void *user, struct gv_slice bytes);
    void (*on_end)(void *user);
    void (*on_drain)(void *user);
    /** `replaceable`: it had been idle and died before any byte: the worker had closed it. */
    void (*on_lost)(void *user, enum gv_cause cause, bool replaceable);
};

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
