/* line.c - see line.h. */
#include "line.h"

#include "grapevine/base/assert.h"
#include "grapevine/base/mem.h"
#include "grapevine/http/parser.h"

#define GV_LINE_HIGH_BYTES     (512u * 1024)
#define GV_LINE_LOW_BYTES      (128u * 1024)
#define GV_LINE_READ_BYTES     (24u * 1024) /* what comes at once for a client that takes nothing */
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
    struct gv_addr addr;                 /* connected to */
    struct gv_parser *parser;            /* owned */
    const struct gv_line_events *events; /* of the user */
    void *user;                          /* borrowed; NULL: nobody */
    enum line_state state;
    uint64_t idle_since_ms;
    bool reused;     /* it had been idle before this request */
    bool got_byte;   /* of this answer */
    bool sent;       /* the request is out to its last byte */
    bool keep_alive; /* says the answer's head */
    bool finished;   /* the answer is complete */
    bool got_end;    /* the worker sends no more */
};

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

/* Is the line connected to where its target is? Names move. With more addresses than are kept
 * nobody knows. */
static bool is_at_home(const struct gv_line *line)
{
    const struct gv_target *target = line->target;
    bool is_known = target->is_numeric || target->addr_count == GV_TARGET_ADDRS_MAX;
    for (uint32_t i = 0; i < target->addr_count && !is_known; i++) {
        is_known = gv_addr_equal(&line->addr, &target->addrs[i]);
    }
    return is_known;
}

/* The answer is complete: back to the idle ones, or closed; then the user hears of it. */
static void finish(struct gv_line *line, bool clean)
{
    struct gv_targets *targets = line->target->targets;
    const struct gv_line_events *events = line->events;
    void *user = line->user;
    bool room = line->target->idle_count < targets->config->pool_idle_per_worker;
    bool is_usable = clean && line->keep_alive && line->sent && !line->got_end;
    if (is_usable && room && is_at_home(line) && !targets->closing) {
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
    line->finished = true;
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
    line->target->trouble[0] = '\0';
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

/* A worker that wants a certificate of us says so after the handshake: that is one that failed. */
static enum gv_cause cause_of(const struct gv_line *line, enum gv_err why)
{
    bool is_handshake = line->state == LINE_CONNECTING || why == GV_EAUTH;
    if (why == GV_ETIMEOUT) {
        return GV_CAUSE_TIMEOUT;
    }
    if (is_handshake && gv_stream_trouble(line->stream)[0] != '\0') {
        return GV_CAUSE_TLS;
    }
    return is_handshake ? GV_CAUSE_CONNECT : GV_CAUSE_CLOSED;
}

static void stream_closed(void *owner, enum gv_err why)
{
    struct gv_line *line = owner;
    struct gv_target *target = line->target;
    struct gv_targets *targets = target->targets;
    const struct gv_line_events *events = line->events;
    void *user = line->user;
    enum gv_cause cause = cause_of(line, why);
    if (cause == GV_CAUSE_TLS) {
        memcpy(target->trouble, gv_stream_trouble(line->stream), sizeof target->trouble);
    }
    bool replaceable = line->reused && !line->got_byte;
    if (line->state == LINE_CONNECTING) {
        gv_target_pass_address(target);
    }
    leave_idle(line);
    free_line(line);
    targets->line_count -= 1;
    if (user != NULL) {
        events->on_lost(user, cause, replaceable);
    }
    if (targets->closing && targets->line_count == 0) {
        targets->on_closed(targets->owner);
        gv_targets_free(targets);
    }
}

static const struct gv_stream_events stream_events = {stream_open, stream_data, stream_end,
                                                      stream_drain, stream_closed};

/* ---- connecting ---- */

static enum gv_err connect_line(struct gv_line *line)
{
    struct gv_target *target = line->target;
    struct gv_targets *targets = target->targets;
    GV_ASSERT(target->addr_count > 0);
    struct gv_stream_limits limits = {GV_LINE_HIGH_BYTES, GV_LINE_LOW_BYTES, GV_LINE_READ_BYTES};
    enum gv_err err = gv_stream_connect(targets->loop, &target->addrs[target->addr_at],
                                        &stream_events, line, limits, &line->stream);
    if (err != GV_OK) {
        return err;
    }
    if (target->is_secure &&
        gv_stream_secure(line->stream, targets->tls, target->uri.host) != GV_OK) {
        gv_stream_close(line->stream); /* as one that was refused: on_lost comes later */
    }
    line->addr = target->addrs[target->addr_at];
    line->state = LINE_CONNECTING;
    targets->line_count += 1;
    gv_list_remove(&line->link);
    gv_list_add(&targets->lines, &line->link);
    return GV_OK;
}

void gv_lines_connect(struct gv_target *target)
{
    struct gv_list *first;
    while (!target->targets->closing && (first = gv_list_first(&target->waiting)) != NULL) {
        struct gv_line *line = GV_CONTAINER(first, struct gv_line, link);
        if (target->addr_count == 0 || connect_line(line) != GV_OK) {
            lose(line, GV_CAUSE_CONNECT);
        }
    }
}

void gv_lines_drop_moved(struct gv_target *target)
{
    GV_LIST_EACH(&target->idle, at, following)
    {
        struct gv_line *line = GV_CONTAINER(at, struct gv_line, link);
        if (!is_at_home(line)) {
            shut(line);
        }
    }
}

/* ---- closing ---- */

void gv_lines_drop_idle(struct gv_target *target, uint64_t idle_ms)
{
    uint64_t now_ms = gv_target_now_ms(target);
    struct gv_list *first;
    while ((first = gv_list_first(&target->idle)) != NULL) {
        struct gv_line *line = GV_CONTAINER(first, struct gv_line, link);
        if (now_ms - line->idle_since_ms < idle_ms) {
            return;
        }
        shut(line);
    }
}

void gv_lines_close(struct gv_targets *targets)
{
    for (uint32_t i = 0; i < targets->room; i++) {
        struct gv_target *target = targets->by_index[i];
        if (target == NULL) {
            continue;
        }
        gv_lines_drop_idle(target, 0);
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
}

/* ---- taking and using ---- */

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
    line->got_byte = false;
    line->sent = false;
    line->keep_alive = false;
    line->finished = false;
}

/* The newest idle line, or NULL. What a worker sent on one unasked, in this very turn of the loop,
 * would be read as the answer to the next request; and one that has ended would take it in vain. */
static struct gv_line *take_idle(struct gv_target *target)
{
    while (target->idle_count > 0) {
        struct gv_line *line = GV_CONTAINER(target->idle.prev, struct gv_line, link);
        if (!gv_stream_has_news(line->stream)) {
            leave_idle(line);
            line->state = LINE_BUSY;
            line->reused = true;
            gv_list_add(&target->targets->lines, &line->link);
            return line;
        }
        shut(line);
    }
    return NULL;
}

enum gv_err gv_line_take(struct gv_target *target, bool fresh, const struct gv_line_events *events,
                         void *user, struct gv_line **out, bool *is_ready)
{
    struct gv_targets *targets = target->targets;
    GV_ASSERT(!targets->closing);
    struct gv_line *idle = fresh ? NULL : take_idle(target);
    if (idle != NULL) {
        start_use(idle, events, user);
        *out = idle;
        *is_ready = true;
        gv_target_refresh(target);
        return GV_OK;
    }
    struct gv_line *line = make_line(target);
    if (line == NULL) {
        return GV_ENOMEM;
    }
    enum gv_err err;
    if (gv_target_knows_address(target, gv_loop_now_ms(targets->loop))) {
        err = connect_line(line);
    } else {
        gv_list_add(&target->waiting, &line->link);
        err = gv_target_look_up(target);
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
