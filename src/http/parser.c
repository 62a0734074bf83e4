/*
 * parser.c - the guard reads first, llhttp reads second, and both must agree where a body ends.
 *
 * The guard cuts; the head is checked (framing.h) and handed to llhttp whole; of a body, llhttp
 * sees size lines and data, whose spans it passes on as they lie in the caller's bytes. It never
 * sees a chunk extension or a trailer.
 */
#include "grapevine/http/parser.h"
#include "grapevine/base/assert.h"
#include "http/framing.h"
#include "http/guard.h"
#include <llhttp.h>

#if LLHTTP_VERSION_MAJOR < 9 && !LLHTTP_STRICT_MODE
#error "llhttp must be compiled with LLHTTP_STRICT_MODE=1"
#endif

/* 1xx responses that may come before the real one. */
#define INTERIM_COUNT_MAX 8

struct gv_parser {
    /* owned */
    struct gv_guard guard;
    /* borrowed */
    const struct gv_parser_events *events;
    void *owner;
    /* state */
    llhttp_t second; /* the second reader */
    struct gv_head head;
    uint64_t passed_bytes;  /* body bytes given to on_body */
    uint32_t interim_count; /* 1xx responses seen before this one */
    enum gv_err owner_err;  /* what a callback returned */
    bool expect_no_body;    /* the next response answers HEAD */
    bool skips_body;        /* this one does */
    bool is_complete;       /* llhttp has seen the end of this message */
    bool failed;
};

static struct gv_parser *parser_of(llhttp_t *second)
{
    return second->data;
}

/* llhttp has read the head: its reading must be ours. */
static int on_headers_complete(llhttp_t *second)
{
    struct gv_parser *parser = parser_of(second);
    const struct gv_head *head = &parser->head;
    second->upgrade = 0; /* we never switch protocols */
    bool is_chunked = (second->flags & F_CHUNKED) != 0;
    bool has_length = (second->flags & F_CONTENT_LENGTH) != 0;
    if (is_chunked != head->chunked || has_length != head->has_content_length ||
        (has_length && second->content_length != head->content_length)) {
        return -1;
    }
    return parser->skips_body ? 1 : 0;
}

static int on_body(llhttp_t *second, const char *at, size_t length)
{
    struct gv_parser *parser = parser_of(second);
    parser->passed_bytes += length;
    parser->owner_err = parser->events->on_body(parser->owner, gv_slice_of(at, length));
    return parser->owner_err == GV_OK ? 0 : HPE_USER;
}

static int on_message_complete(llhttp_t *second)
{
    parser_of(second)->is_complete = true;
    return 0;
}

static const llhttp_settings_t *settings(void)
{
    static const llhttp_settings_t table = {
        .on_headers_complete = on_headers_complete,
        .on_body = on_body,
        .on_message_complete = on_message_complete,
    };
    return &table;
}

static void begin_message(struct gv_parser *parser)
{
    gv_guard_reset(&parser->guard);
    /* llhttp only reads its settings, but takes them without const. */
    llhttp_init(&parser->second,
                parser->guard.kind == GV_PARSER_REQUEST ? HTTP_REQUEST : HTTP_RESPONSE,
                (llhttp_settings_t *)(uintptr_t)settings());
    parser->second.data = parser;
    parser->passed_bytes = 0;
    parser->owner_err = GV_OK;
    parser->skips_body = false;
    parser->is_complete = false;
}

enum gv_err gv_parser_new(enum gv_parser_kind kind, struct gv_parser_limits limits,
                          const struct gv_parser_events *events, void *owner,
                          struct gv_parser **parser)
{
    struct gv_parser *made = gv_mem_new(GV_MEM_BUFFER, sizeof *made);
    if (made == NULL) {
        return GV_ENOMEM;
    }
    gv_guard_init(&made->guard, kind, limits);
    gv_parser_set_owner(made, events, owner);
    gv_parser_reset(made);
    *parser = made;
    return GV_OK;
}

void gv_parser_free(struct gv_parser *parser)
{
    if (parser == NULL) {
        return;
    }
    gv_guard_deinit(&parser->guard);
    gv_mem_free(GV_MEM_BUFFER, parser);
}

void gv_parser_set_owner(struct gv_parser *parser, const struct gv_parser_events *events,
                         void *owner)
{
    GV_ASSERT(events != NULL && events->on_head != NULL && events->on_body != NULL &&
              events->on_message_end != NULL);
    parser->events = events;
    parser->owner = owner;
}

void gv_parser_reset(struct gv_parser *parser)
{
    begin_message(parser);
    parser->expect_no_body = false;
    parser->interim_count = 0;
    parser->failed = false;
}

void gv_parser_expect_no_body(struct gv_parser *parser)
{
    GV_ASSERT(parser->guard.kind == GV_PARSER_RESPONSE && gv_parser_is_idle(parser));
    parser->expect_no_body = true;
}

bool gv_parser_is_idle(const struct gv_parser *parser)
{
    return parser->guard.state == GV_GUARD_START && parser->interim_count == 0 && !parser->failed;
}

enum gv_problem gv_parser_problem(const struct gv_parser *parser)
{
    return parser->guard.problem;
}

/* What the client hears when llhttp refuses what the guard let pass. */
static enum gv_problem problem_of(llhttp_errno_t code, bool in_head)
{
    if (code == HPE_INVALID_METHOD || code == HPE_INVALID_CONSTANT) {
        return GV_PROBLEM_NOT_IMPLEMENTED; /* a token, but no method of HTTP */
    }
    if (code == HPE_INVALID_URL) {
        return GV_PROBLEM_BAD_TARGET;
    }
    if (code == HPE_INVALID_CHUNK_SIZE || !in_head) {
        return GV_PROBLEM_BAD_CHUNK;
    }
    return code == HPE_INVALID_HEADER_TOKEN ? GV_PROBLEM_BAD_HEADER : GV_PROBLEM_BAD_FRAMING;
}

/* Show `bytes` to the second reader. */
static enum gv_err show(struct gv_parser *parser, struct gv_slice bytes, bool in_head)
{
    if (bytes.len == 0) {
        return GV_OK;
    }
    llhttp_errno_t code = llhttp_execute(&parser->second, (const char *)bytes.data, bytes.len);
    if (parser->owner_err != GV_OK) {
        return parser->owner_err;
    }
    return code == HPE_OK ? GV_OK : gv_guard_refuse(&parser->guard, problem_of(code, in_head));
}

/* Where the body of this message ends; sets skips_body. */
static enum gv_guard_state framing_of(struct gv_parser *parser)
{
    const struct gv_head *head = &parser->head;
    bool is_request = parser->guard.kind == GV_PARSER_REQUEST;
    parser->skips_body = !is_request && (parser->expect_no_body || head->status < 200 ||
                                         head->status == 204 || head->status == 304);
    if (parser->skips_body) {
        return GV_GUARD_END;
    }
    if (head->chunked) {
        return GV_GUARD_CHUNK_SIZE;
    }
    if (head->has_content_length) {
        return GV_GUARD_LENGTH;
    }
    return is_request ? GV_GUARD_END : GV_GUARD_UNTIL_CLOSE;
}

static enum gv_err check_head(struct gv_parser *parser)
{
    gv_guard_fill_head(&parser->guard, &parser->head);
    enum gv_problem problem = parser->guard.kind == GV_PARSER_REQUEST
                                  ? gv_framing_read_request(&parser->head)
                                  : gv_framing_read_response(&parser->head);
    if (problem == GV_PROBLEM_NONE && parser->head.status == 101) {
        problem = GV_PROBLEM_NOT_IMPLEMENTED; /* nobody asked to switch protocols */
    }
    return problem == GV_PROBLEM_NONE ? GV_OK : gv_guard_refuse(&parser->guard, problem);
}

/* The head is whole: read it, show it, tell the owner. */
static enum gv_err take_head(struct gv_parser *parser)
{
    enum gv_err err = check_head(parser);
    if (err != GV_OK) {
        return err;
    }
    enum gv_guard_state framing = framing_of(parser);
    if (framing == GV_GUARD_UNTIL_CLOSE) {
        parser->head.keep_alive = false;
    }
    err = gv_guard_begin_body(&parser->guard, framing, parser->head.content_length);
    if (err == GV_OK) {
        err = show(parser, gv_buf_slice(&parser->guard.text), true);
    }
    if (err != GV_OK || (parser->head.status >= 100 && parser->head.status < 200)) {
        return err;
    }
    return parser->events->on_head(parser->owner, &parser->head);
}

/* The guard has seen the end: llhttp must agree. Then be ready for the next message. */
static enum gv_err finish_message(struct gv_parser *parser, bool *is_final)
{
    if (parser->head.chunked && !parser->skips_body) {
        /* in place of the trailers, which it did not see */
        enum gv_err err = show(parser, gv_slice_of("\r\n", 2), false);
        if (err != GV_OK) {
            return err;
        }
    }
    bool agrees = parser->is_complete && parser->passed_bytes == parser->guard.body_bytes;
    if (!agrees) {
        return gv_guard_refuse(&parser->guard, GV_PROBLEM_BAD_FRAMING);
    }
    *is_final = parser->head.status == 0 || parser->head.status >= 200;
    begin_message(parser);
    if (!*is_final) {
        parser->interim_count += 1;
        return parser->interim_count > INTERIM_COUNT_MAX
                   ? gv_guard_refuse(&parser->guard, GV_PROBLEM_BAD_SYNTAX)
                   : GV_OK;
    }
    parser->interim_count = 0;
    parser->expect_no_body = false;
    return parser->events->on_message_end(parser->owner);
}

/* Take bytes up to the end of one message. `*at` moves on. */
static enum gv_err feed_message(struct gv_parser *parser, struct gv_slice bytes, size_t *at)
{
    struct gv_guard *guard = &parser->guard;
    size_t shown = *at;
    while (*at < bytes.len && guard->state != GV_GUARD_END) {
        enum gv_guard_kind kind;
        size_t taken;
        enum gv_err err =
            gv_guard_step(guard, gv_slice_of(bytes.data + *at, bytes.len - *at), &taken, &kind);
        if (err != GV_OK) {
            return err;
        }
        if (kind == GV_GUARD_HIDE) {
            err = show(parser, gv_slice_of(bytes.data + shown, *at - shown), false);
            shown = *at + taken;
        }
        *at += taken;
        if (err == GV_OK && guard->state == GV_GUARD_HEAD_DONE) {
            err = take_head(parser);
        }
        if (err != GV_OK) {
            return err;
        }
    }
    return show(parser, gv_slice_of(bytes.data + shown, *at - shown), false);
}

enum gv_err gv_parser_feed(struct gv_parser *parser, struct gv_slice bytes, size_t *used)
{
    GV_ASSERT(!parser->failed);
    size_t at = 0;
    bool is_final = false;
    enum gv_err err = GV_OK;
    while (err == GV_OK && at < bytes.len && !is_final) {
        err = feed_message(parser, bytes, &at);
        if (err == GV_OK && parser->guard.state == GV_GUARD_END) {
            err = finish_message(parser, &is_final);
        }
    }
    if (err != GV_OK) {
        parser->failed = true;
    }
    *used = at;
    return err;
}

enum gv_err gv_parser_end(struct gv_parser *parser)
{
    GV_ASSERT(!parser->failed);
    if (gv_parser_is_idle(parser)) {
        return GV_OK;
    }
    enum gv_err err = GV_OK;
    if (parser->guard.state == GV_GUARD_UNTIL_CLOSE) {
        bool is_final;
        llhttp_errno_t code = llhttp_finish(&parser->second);
        parser->guard.state = GV_GUARD_END;
        err = code == HPE_OK ? finish_message(parser, &is_final)
                             : gv_guard_refuse(&parser->guard, GV_PROBLEM_BAD_FRAMING);
    } else {
        bool in_head = parser->guard.state <= GV_GUARD_HEAD_DONE;
        err = gv_guard_refuse(&parser->guard,
                              in_head ? GV_PROBLEM_BAD_SYNTAX : GV_PROBLEM_BAD_FRAMING);
    }
    parser->failed = err != GV_OK;
    return err;
}
