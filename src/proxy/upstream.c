/* upstream.c - see upstream.h. */
#include "upstream.h"

#include "grapevine/base/assert.h"

#define GV_UPSTREAM_PIECE_BYTES (256u * 1024) /* of a body, handed to the line at a time */

static uint64_t now_of(const struct gv_upstream *upstream)
{
    return gv_target_now_ms(upstream->target);
}

static void broke(struct gv_upstream *upstream, enum gv_cause cause)
{
    upstream->phase = GV_UPSTREAM_OFF;
    upstream->line = NULL;
    upstream->events->on_broke(upstream->owner, upstream->leg, cause);
}

/* Send of the body what the line takes; the rest when it has drained. */
static void send_more(struct gv_upstream *upstream, struct gv_slice head)
{
    enum gv_err err = GV_OK;
    do {
        size_t left = upstream->body.len - upstream->body_sent;
        size_t piece = left < GV_UPSTREAM_PIECE_BYTES ? left : GV_UPSTREAM_PIECE_BYTES;
        struct gv_slice bytes = {.data = NULL, .len = 0};
        if (piece > 0) {
            bytes = gv_slice_of(upstream->body.data + upstream->body_sent, piece);
        }
        err = gv_line_send(upstream->line, head, bytes);
        if (err != GV_OK && err != GV_EFULL) {
            return; /* on_lost comes */
        }
        head.len = 0;
        upstream->body_sent += piece;
    } while (err == GV_OK && upstream->body_sent < upstream->body.len);
    if (upstream->body_sent == upstream->body.len) {
        gv_line_sent(upstream->line);
    }
}

static void send_all(struct gv_upstream *upstream)
{
    upstream->phase = GV_UPSTREAM_WAITING;
    upstream->since_ms = now_of(upstream);
    upstream->sent_us = gv_clock_us();
    upstream->begun_us = upstream->begun_us > 0 ? upstream->begun_us : upstream->sent_us;
    upstream->body_sent = 0;
    if (upstream->head_only) {
        gv_line_expect_no_body(upstream->line);
    }
    send_more(upstream, upstream->head);
}

/* ---- the line's events ---- */

static void line_ready(void *user)
{
    send_all(user);
}

static void line_head(void *user, const struct gv_head *head)
{
    struct gv_upstream *upstream = user;
    upstream->events->on_head(upstream->owner, upstream->leg, head);
}

static void line_body(void *user, struct gv_slice bytes)
{
    struct gv_upstream *upstream = user;
    upstream->phase = GV_UPSTREAM_ANSWERING;
    upstream->since_ms = now_of(upstream);
    upstream->events->on_body(upstream->owner, upstream->leg, bytes);
}

static void line_end(void *user)
{
    struct gv_upstream *upstream = user;
    upstream->phase = GV_UPSTREAM_OFF;
    upstream->line = NULL;
    upstream->events->on_end(upstream->owner, upstream->leg);
}

static void line_drain(void *user)
{
    struct gv_upstream *upstream = user;
    if (upstream->body_sent < upstream->body.len) {
        send_more(upstream, (struct gv_slice){.data = NULL, .len = 0});
    }
}

static enum gv_err take_line(struct gv_upstream *upstream, bool fresh);

/* No connection to where its name leads. Where else does it? With one address known that is asked
 * again, and tried when `least` is 2. */
static bool try_next_address(struct gv_upstream *upstream, uint32_t least)
{
    const struct gv_target *target = upstream->target;
    upstream->address_count += 1;
    uint32_t most = target->addr_count > least ? target->addr_count : least;
    return !target->is_numeric && target->addr_count > 0 && upstream->address_count < most &&
           take_line(upstream, true) == GV_OK;
}

static void line_lost(void *user, enum gv_cause cause, bool replaceable)
{
    struct gv_upstream *upstream = user;
    upstream->line = NULL;
    if (replaceable && !upstream->replaced) {
        upstream->replaced = true;
        if (take_line(upstream, true) == GV_OK) {
            return;
        }
        cause = GV_CAUSE_CONNECT;
    }
    if (cause != GV_CAUSE_CONNECT || !try_next_address(upstream, 2)) {
        broke(upstream, cause);
    }
}

static const struct gv_line_events line_events = {line_ready, line_head,  line_body,
                                                  line_end,   line_drain, line_lost};

static enum gv_err take_line(struct gv_upstream *upstream, bool fresh)
{
    bool is_ready = false;
    enum gv_err err =
        gv_line_take(upstream->target, fresh, &line_events, upstream, &upstream->line, &is_ready);
    if (err != GV_OK) {
        upstream->phase = GV_UPSTREAM_OFF;
        return err;
    }
    upstream->phase = GV_UPSTREAM_CONNECTING;
    upstream->since_ms = now_of(upstream);
    upstream->paused = false;
    if (is_ready) {
        send_all(upstream); /* begun and sent in one */
    } else if (upstream->begun_us == 0) {
        upstream->begun_us = gv_clock_us();
    }
    return GV_OK;
}

enum gv_err gv_upstream_start(struct gv_upstream *upstream, struct gv_target *target,
                              struct gv_upstream_request request, struct gv_upstream_limits limits,
                              const struct gv_upstream_events *events, void *owner, uint32_t leg)
{
    GV_ASSERT(upstream->phase == GV_UPSTREAM_OFF);
    *upstream = (struct gv_upstream){
        .target = target,
        .events = events,
        .owner = owner,
        .leg = leg,
        .head = request.head,
        .body = request.body,
        .head_only = request.head_only,
        .limits = limits,
    };
    return take_line(upstream, false);
}

void gv_upstream_cancel(struct gv_upstream *upstream)
{
    upstream->phase = GV_UPSTREAM_OFF;
    if (upstream->line != NULL) {
        struct gv_line *line = upstream->line;
        upstream->line = NULL;
        gv_line_drop(line);
    }
}

static uint64_t limit_ms(const struct gv_upstream *upstream)
{
    switch (upstream->phase) {
    case GV_UPSTREAM_OFF:
        return 0;
    case GV_UPSTREAM_CONNECTING:
        return upstream->limits.connect_ms;
    case GV_UPSTREAM_WAITING:
        return upstream->limits.first_byte_ms;
    case GV_UPSTREAM_ANSWERING:
        return upstream->paused ? 0 : upstream->limits.idle_ms;
    }
    return 0;
}

void gv_upstream_tick(struct gv_upstream *upstream, uint64_t now_ms)
{
    uint64_t limit = limit_ms(upstream);
    if (limit > 0 && now_ms >= upstream->since_ms + limit) {
        bool was_connecting = upstream->phase == GV_UPSTREAM_CONNECTING;
        gv_upstream_cancel(upstream);
        if (was_connecting) {
            gv_target_pass_address(upstream->target);
        }
        if (!was_connecting || !try_next_address(upstream, 1)) {
            broke(upstream, GV_CAUSE_TIMEOUT);
        }
    }
}

void gv_upstream_pause(struct gv_upstream *upstream)
{
    if (upstream->line != NULL && !upstream->paused) {
        upstream->paused = true;
        gv_line_pause(upstream->line);
    }
}

void gv_upstream_resume(struct gv_upstream *upstream, uint64_t now_ms)
{
    if (upstream->paused) {
        upstream->paused = false;
        upstream->since_ms = now_ms;
        if (upstream->line != NULL) {
            gv_line_resume(upstream->line);
        }
    }
}
