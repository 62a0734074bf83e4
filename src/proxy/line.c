/* line.c - see line.h. */
#include "line.h"

#include "grapevine/base/assert.h"
#include "grapevine/base/mem.h"
#include "grapevine/http/parser.h"
#include <stdio.h>

#define GV_LINE_INTERIMS_MAX   16 /* 1xx answers before the answer */
#define GV_LINE_HIGH_BYTES     (512u * 1024)
#define GV_LINE_LOW_BYTES      (128u * 1024)
#define GV_TARGET_TTL_MIN_MS   1000u
#define GV_TARGET_TTL_MAX_MS   60000u
#define GV_LINE_HEAD_BYTES_MAX (64u * 1024)
#define GV_LINE_EXT_BYTES_MAX  (16u * 1024)

enum line_state {
    LINE_LOOKING = 0, /* waits for an address; no stream */
    LINE_CONNECTING,
    LINE_BUSY,
    LINE_IDLE,
    LINE_CLOSING
};

struct gv_line {
    struct gv_list link; /* in target->waiting, target->idle or targets->lines */
    struct gv_target *target;
    struct gv_stream *stream;            /* NULL while LOOKING */
    struct gv_parser *parser;            /* owned */
    const struct gv_line_events *events; /* of the user */
    void *user;                          /* borrowed; NULL: nobody */
    enum line_state state;
    uint64_t idle_since_ms;
    uint32_t interim_count;
    bool interim;    /* the message being parsed is a 1xx */
    bool reused;     /* it had been idle before this request */
    bool got_byte;   /* of this answer */
    bool sent;       /* the request is out to its last byte */
    bool keep_alive; /* says the answer's head */
    bool finished;   /* the answer is complete */
    bool got_end;    /* the worker sends no more */
};

struct gv_targets {
    struct gv_loop *loop;
    const struct gv_config *config;
    struct gv_resolver *resolver;
    struct gv_target **by_index; /* owned; each owned */
    uint32_t room;
    struct gv_list lines; /* every line with a stream that is not idle */
    uint32_t line_count;  /* lines with a stream, in any state */
    uint32_t idle_count;
    bool closing;
    void (*on_closed)(void *owner);
    void *owner;
};

static void free_targets(struct gv_targets *targets)
{
    for (uint32_t i = 0; i < targets->room; i++) {
        gv_mem_free(GV_MEM_NET, targets->by_index[i]);
    }
    gv_mem_free(GV_MEM_NET, targets->by_index);
    gv_mem_free(GV_MEM_NET, targets);
}

static void free_line(struct gv_line *line)
{
    gv_list_remove(&line->link);
    gv_parser_free(line->parser);
    gv_mem_free(GV_MEM_NET, line);
}

static void leave_idle(struct gv_line *line)
{
    if (line->state == LINE_IDLE) {
        line->target->idle_count -= 1;
        line->target->targets->idle_count -= 1;
    }
    gv_list_remove(&line->link);
}

/* Close the stream, whoever uses it; the memory goes in on_closed. */
static void shut(struct gv_line *line)
{
    if (line->state == LINE_CLOSING) {
        return;
    }
    leave_idle(line);
    line->user = NULL;
    if (line->state == LINE_LOOKING) {
        free_line(line);
        return;
    }
    line->state = LINE_CLOSING;
    gv_list_add(&line->target->targets->lines, &line->link);
    gv_stream_close(line->stream);
}

/* Tell the user that it is over, after it has been forgotten. */
static void lose(struct gv_line *line, enum gv_cause cause)
{
    const struct gv_line_events *events = line->events;
    void *user = line->user;
    bool replaceable = line->reused && !line->got_byte;
    shut(line);
    if (user != NULL) {
        events->on_lost(user, cause, replaceable);
    }
}

/* The answer is complete: back to the idle ones, or closed; then the user hears of it. */
static void finish(struct gv_line *line, bool clean)
{
    struct gv_targets *targets = line->target->targets;
    const struct gv_line_events *events = line->events;
    void *user = line->user;
    bool room = line->target->idle_count < targets->config->pool_idle_per_worker;
    if (clean && room && line->keep_alive && line->sent && !line->got_end && !targets->closing) {
        line->user = NULL;
        line->state = LINE_IDLE;
        line->idle_since_ms = gv_loop_now_ms(targets->loop);
        gv_list_remove(&line->link);
        gv_list_add(&line->target->idle, &line->link);
        line->target->idle_count += 1;
        targets->idle_count += 1;
        gv_stream_resume(line->stream);
    } else {
        shut(line);
    }
    if (user != NULL) {
        events->on_end(user);
    }
}

/* ---- the parser's events ---- */

static enum gv_err parsed_head(void *owner, const struct gv_head *head)
{
    struct gv_line *line = owner;
    if (line->user == NULL) {
        return GV_ECANCELED;
    }
    line->interim = head->status < 200;
    if (line->interim) {
        line->interim_count += 1;
        bool unasked = head->status == 101 || line->interim_count > GV_LINE_INTERIMS_MAX;
        return unasked ? GV_EPROTO : GV_OK;
    }
    line->keep_alive = head->keep_alive;
    line->events->on_head(line->user, head);
    return line->user == NULL ? GV_ECANCELED : GV_OK;
}

static enum gv_err parsed_body(void *owner, struct gv_slice bytes)
{
    struct gv_line *line = owner;
    if (line->user == NULL) {
        return GV_ECANCELED;
    }
    line->events->on_body(line->user, bytes);
    return line->user == NULL ? GV_ECANCELED : GV_OK;
}

static enum gv_err parsed_end(void *owner)
{
    struct gv_line *line = owner;
    line->finished = !line->interim;
    line->interim = false;
    return GV_OK;
}

static const struct gv_parser_events parser_events = {parsed_head, parsed_body, parsed_end};

/* ---- the stream's events ---- */

static void stream_open(void *owner)
{
    struct gv_line *line = owner;
    if (line->state != LINE_CONNECTING) {
        return;
    }
    line->state = LINE_BUSY;
    line->events->on_ready(line->user);
}

static void stream_data(void *owner, struct gv_slice bytes)
{
    struct gv_line *line = owner;
    if (line->state == LINE_IDLE) {
        shut(line); /* nobody asked */
        return;
    }
    while (bytes.len > 0 && line->state == LINE_BUSY && !line->finished) {
        line->got_byte = true;
        size_t used = 0;
        enum gv_err err = gv_parser_feed(line->parser, bytes, &used);
        if (line->user == NULL) {
            return; /* dropped inside */
        }
        if (err != GV_OK) {
            lose(line, GV_CAUSE_BAD);
            return;
        }
        bytes = gv_slice_of(bytes.data + used, bytes.len - used);
    }
    if (line->state == LINE_BUSY && line->finished) {
        finish(line, bytes.len == 0);
    }
}

static void stream_end(void *owner)
{
    struct gv_line *line = owner;
    line->got_end = true;
    if (line->state == LINE_IDLE) {
        shut(line);
        return;
    }
    if (line->state != LINE_BUSY) {
        return;
    }
    enum gv_err err = gv_parser_end(line->parser);
    if (line->state != LINE_BUSY) {
        return;
    }
    if (err == GV_OK && line->finished) {
        finish(line, false);
    } else {
        lose(line, GV_CAUSE_CLOSED);
    }
}

static void stream_drain(void *owner)
{
    struct gv_line *line = owner;
    if (line->state == LINE_BUSY) {
        line->events->on_drain(line->user);
    }
}

static enum gv_cause cause_of(enum line_state state, enum gv_err why)
{
    if (why == GV_ETIMEOUT) {
        return GV_CAUSE_TIMEOUT;
    }
    return state == LINE_CONNECTING ? GV_CAUSE_CONNECT : GV_CAUSE_CLOSED;
}

static void stream_closed(void *owner, enum gv_err why)
{
    struct gv_line *line = owner;
    struct gv_target *target = line->target;
    struct gv_targets *targets = target->targets;
    const struct gv_line_events *events = line->events;
    void *user = line->user;
    enum gv_cause cause = cause_of(line->state, why);
    bool replaceable = line->reused && !line->got_byte;
    if (line->state == LINE_CONNECTING && target->addr_count > 0) {
        target->addr_at = (target->addr_at + 1) % target->addr_count;
        target->addrs_until_ms = 0; /* look again */
    }
    leave_idle(line);
    free_line(line);
    targets->line_count -= 1;
    if (user != NULL) {
        events->on_lost(user, cause, replaceable);
    }
    if (targets->closing && targets->line_count == 0) {
        targets->on_closed(targets->owner);
        free_targets(targets);
    }
}

static const struct gv_stream_events stream_events = {stream_open, stream_data, stream_end,
                                                      stream_drain, stream_closed};

/* ---- addresses ---- */

static enum gv_err connect_line(struct gv_line *line)
{
    struct gv_target *target = line->target;
    struct gv_targets *targets = target->targets;
    GV_ASSERT(target->addr_count > 0);
    struct gv_stream_limits limits = {GV_LINE_HIGH_BYTES, GV_LINE_LOW_BYTES};
    enum gv_err err = gv_stream_connect(targets->loop, &target->addrs[target->addr_at],
                                        &stream_events, line, limits, &line->stream);
    if (err != GV_OK) {
        return err;
    }
    line->state = LINE_CONNECTING;
    targets->line_count += 1;
    gv_list_remove(&line->link);
    gv_list_add(&targets->lines, &line->link);
    return GV_OK;
}

static void on_resolved(void *owner, enum gv_err err, const struct gv_addr *addrs, size_t count,
                        uint32_t ttl_s)
{
    struct gv_target *target = owner;
    struct gv_targets *targets = target->targets;
    target->is_looking = false;
    if (err == GV_OK && count > 0) {
        target->addr_count =
            count < GV_TARGET_ADDRS_MAX ? (uint32_t)count : (uint32_t)GV_TARGET_ADDRS_MAX;
        memcpy(target->addrs, addrs, target->addr_count * sizeof *addrs);
        target->addr_at %= target->addr_count;
        uint64_t ttl_ms = (uint64_t)ttl_s * 1000;
        ttl_ms = ttl_ms < GV_TARGET_TTL_MIN_MS ? GV_TARGET_TTL_MIN_MS : ttl_ms;
        ttl_ms = ttl_ms > GV_TARGET_TTL_MAX_MS ? GV_TARGET_TTL_MAX_MS : ttl_ms;
        target->addrs_until_ms = gv_loop_now_ms(targets->loop) + ttl_ms;
    }
    /* With an error, what was known before is still better than nothing. */
    struct gv_list *first;
    while (!targets->closing && (first = gv_list_first(&target->waiting)) != NULL) {
        struct gv_line *line = GV_CONTAINER(first, struct gv_line, link);
        if (target->addr_count == 0 || connect_line(line) != GV_OK) {
            lose(line, GV_CAUSE_CONNECT);
        }
    }
}

/* Does the target know where to connect right now? */
static bool knows_address(const struct gv_target *target, uint64_t now_ms)
{
    return target->addr_count > 0 && (target->is_numeric || now_ms < target->addrs_until_ms);
}

static enum gv_err look_up(struct gv_target *target)
{
    if (target->is_looking) {
        return GV_OK;
    }
    enum gv_err err = gv_resolve(target->targets->resolver, target->uri.host, target->uri.port,
                                 on_resolved, target);
    target->is_looking = err == GV_OK;
    return err;
}

/* ---- targets ---- */

enum gv_err gv_targets_open(struct gv_loop *loop, const struct gv_config *config,
                            struct gv_targets **out)
{
    struct gv_targets *targets = gv_mem_new(GV_MEM_NET, sizeof *targets);
    if (targets == NULL) {
        return GV_ENOMEM;
    }
    targets->loop = loop;
    targets->config = config;
    gv_list_init(&targets->lines);
    enum gv_err err = gv_resolver_open(loop, &targets->resolver);
    if (err != GV_OK) {
        gv_mem_free(GV_MEM_NET, targets);
        return err;
    }
    *out = targets;
    return GV_OK;
}

static void drop_idle(struct gv_target *target)
{
    struct gv_list *first;
    while ((first = gv_list_first(&target->idle)) != NULL) {
        shut(GV_CONTAINER(first, struct gv_line, link));
    }
}

void gv_targets_close(struct gv_targets *targets, void (*on_closed)(void *owner), void *owner)
{
    GV_ASSERT(!targets->closing);
    targets->closing = true;
    targets->on_closed = on_closed;
    targets->owner = owner;
    for (uint32_t i = 0; i < targets->room; i++) {
        struct gv_target *target = targets->by_index[i];
        if (target == NULL) {
            continue;
        }
        drop_idle(target);
        struct gv_list *first;
        while ((first = gv_list_first(&target->waiting)) != NULL) {
            shut(GV_CONTAINER(first, struct gv_line, link));
        }
    }
    GV_LIST_EACH(&targets->lines, at, following)
    {
        struct gv_line *line = GV_CONTAINER(at, struct gv_line, link);
        if (line->state != LINE_CLOSING) {
            line->state = LINE_CLOSING;
            line->user = NULL;
            gv_stream_close(line->stream);
        }
    }
    gv_resolver_close(targets->resolver);
    targets->resolver = NULL;
    if (targets->line_count == 0) {
        on_closed(owner);
        free_targets(targets);
    }
}

static enum gv_err make_target(struct gv_targets *targets, const struct gv_worker *worker,
                               struct gv_target **out)
{
    struct gv_uri uri;
    enum gv_err err = gv_uri_parse(gv_slice_text(worker->url), &uri);
    if (err != GV_OK) {
        return err;
    }
    if (strcmp(uri.scheme, "http") != 0) {
        return GV_EUNSUPPORTED;
    }
    struct gv_target *target = gv_mem_new(GV_MEM_NET, sizeof *target);
    if (target == NULL) {
        return GV_ENOMEM;
    }
    const struct gv_config *config = targets->config;
    target->targets = targets;
    target->index = worker->index;
    target->uri = uri;
    memcpy(target->url, worker->url, sizeof target->url);
    uint32_t trip = config->disable_circuit_breaker ? UINT32_MAX : config->cb_failure_threshold;
    uint32_t close = config->cb_success_threshold;
    struct gv_breaker_limits limits = {
        .trip_count = trip < 1 ? 1 : trip,
        .close_count = close < 1 ? 1 : close,
        .window_ms = config->cb_window_ms < 1 ? 1 : config->cb_window_ms,
        .cooldown_ms = config->cb_timeout_ms < 1 ? 1 : config->cb_timeout_ms,
    };
    gv_breaker_init(&target->breaker, limits);
    gv_list_init(&target->idle);
    gv_list_init(&target->waiting);
    char text[GV_ADDR_TEXT_BYTES + 2];
    bool v6 = strchr(uri.host, ':') != NULL;
    int len = snprintf(text, sizeof text, v6 ? "[%s]:%u" : "%s:%u", uri.host, uri.port);
    if (len > 0 && (size_t)len < sizeof text &&
        gv_addr_parse(gv_slice_text(text), 0, &target->addrs[0]) == GV_OK) {
        target->addr_count = 1;
        target->is_numeric = true;
    }
    *out = target;
    return GV_OK;
}

enum gv_err gv_target_get(struct gv_targets *targets, const struct gv_worker *worker,
                          struct gv_target **target)
{
    GV_ASSERT(worker->index < GV_WORKERS_MAX);
    if (worker->index >= targets->room) {
        uint32_t room = targets->room == 0 ? 64 : targets->room;
        while (room <= worker->index) {
            room *= 2;
        }
        struct gv_target **grown =
            gv_mem_resize(GV_MEM_NET, targets->by_index, room * sizeof *grown);
        if (grown == NULL) {
            return GV_ENOMEM;
        }
        for (uint32_t i = targets->room; i < room; i++) {
            grown[i] = NULL;
        }
        targets->by_index = grown;
        targets->room = room;
    }
    if (targets->by_index[worker->index] == NULL) {
        enum gv_err err = make_target(targets, worker, &targets->by_index[worker->index]);
        if (err != GV_OK) {
            return err;
        }
    }
    *target = targets->by_index[worker->index];
    return GV_OK;
}

struct gv_target *gv_target_find(const struct gv_targets *targets, uint32_t index)
{
    return index < targets->room ? targets->by_index[index] : NULL;
}

uint64_t gv_target_now_ms(const struct gv_target *target)
{
    return gv_loop_now_ms(target->targets->loop);
}

void gv_targets_sweep(struct gv_targets *targets, const struct gv_fleet_view *view, uint64_t now_ms)
{
    for (uint32_t i = 0; i < targets->room; i++) {
        struct gv_target *target = targets->by_index[i];
        if (target == NULL || target->idle_count == 0) {
            continue;
        }
        if (gv_fleet_find(view, gv_slice_text(target->url)) == NULL) {
            drop_idle(target);
            continue;
        }
        struct gv_list *first;
        while ((first = gv_list_first(&target->idle)) != NULL) {
            struct gv_line *line = GV_CONTAINER(first, struct gv_line, link);
            if (now_ms - line->idle_since_ms < targets->config->pool_idle_timeout_ms) {
                break;
            }
            shut(line);
        }
    }
}

uint32_t gv_targets_idle_count(const struct gv_targets *targets)
{
    return targets->idle_count;
}

/* ---- lines ---- */

static struct gv_line *make_line(struct gv_target *target)
{
    struct gv_line *line = gv_mem_new(GV_MEM_NET, sizeof *line);
    if (line == NULL) {
        return NULL;
    }
    gv_list_init(&line->link);
    line->target = target;
    struct gv_parser_limits limits = {
        .head_bytes = GV_LINE_HEAD_BYTES_MAX,
        .uri_bytes = GV_LINE_HEAD_BYTES_MAX,
        .header_count = GV_HEAD_HEADERS_MAX,
        .body_bytes = UINT64_MAX,
        .chunk_ext_bytes = GV_LINE_EXT_BYTES_MAX,
        .trailer_bytes = GV_LINE_EXT_BYTES_MAX,
    };
    if (gv_parser_new(GV_PARSER_RESPONSE, limits, &parser_events, line, &line->parser) != GV_OK) {
        gv_mem_free(GV_MEM_NET, line);
        return NULL;
    }
    return line;
}

static void start_use(struct gv_line *line, const struct gv_line_events *events, void *user)
{
    line->events = events;
    line->user = user;
    line->interim_count = 0;
    line->interim = false;
    line->got_byte = false;
    line->sent = false;
    line->keep_alive = false;
    line->finished = false;
}

enum gv_err gv_line_take(struct gv_target *target, bool fresh, const struct gv_line_events *events,
                         void *user, struct gv_line **out, bool *is_ready)
{
    struct gv_targets *targets = target->targets;
    GV_ASSERT(!targets->closing);
    if (!fresh && target->idle_count > 0) {
        struct gv_line *line = GV_CONTAINER(target->idle.prev, struct gv_line, link);
        leave_idle(line);
        line->state = LINE_BUSY;
        line->reused = true;
        gv_list_add(&targets->lines, &line->link);
        start_use(line, events, user);
        *out = line;
        *is_ready = true;
        return GV_OK;
    }
    struct gv_line *line = make_line(target);
    if (line == NULL) {
        return GV_ENOMEM;
    }
    enum gv_err err;
    if (knows_address(target, gv_loop_now_ms(targets->loop))) {
        err = connect_line(line);
    } else {
        gv_list_add(&target->waiting, &line->link);
        err = look_up(target);
    }
    if (err != GV_OK) {
        free_line(line);
        return err;
    }
    start_use(line, events, user);
    *out = line;
    *is_ready = false;
    return GV_OK;
}

void gv_line_expect_no_body(struct gv_line *line)
{
    gv_parser_expect_no_body(line->parser);
}

enum gv_err gv_line_send(struct gv_line *line, struct gv_slice bytes, struct gv_slice more)
{
    GV_ASSERT(line->state == LINE_BUSY);
    return gv_stream_send2(line->stream, bytes, more);
}

void gv_line_sent(struct gv_line *line)
{
    line->sent = true;
}

void gv_line_pause(struct gv_line *line)
{
    if (line->stream != NULL) {
        gv_stream_pause(line->stream);
    }
}

void gv_line_resume(struct gv_line *line)
{
    if (line->stream != NULL) {
        gv_stream_resume(line->stream);
    }
}

void gv_line_drop(struct gv_line *line)
{
    shut(line);
}
