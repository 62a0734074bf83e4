/*
 * stream_tls.c - the layer of TLS between the kernel and a stream's owner.
 *
 * One read becomes one on_data, as without TLS; what is sealed goes the way of plain bytes: at once
 * where the kernel takes it, else gathered or queued. So pausing, marks and lingering are the same.
 * What the owner sends during the handshake waits here.
 */
#include "grapevine/base/assert.h"
#include "grapevine/base/mem.h"
#include "stream_in.h"
#include "tls_session.h"
#include <string.h>

#define RECORD_BYTES    (16u * 1024)   /* the most plain text of one record */
#define PIECE_BYTES     (64u * 1024)   /* sealed at a time */
#define UNASKED_MAX     (1024u * 1024) /* queued above the mark for a peer that only asks */
#define ALERT_LINGER_MS 1000           /* for a client to read why it was refused */

struct gv_stream_tls {
    struct gv_tls_session *session; /* owned */
    uv_timer_t limit;               /* a handle only while has_limit */
    bool has_limit;
    bool has_said_end;
    enum gv_err failure; /* for on_closed; GV_OK without */
    struct gv_buf early; /* owned: to be sent when the handshake is done */
};

static enum gv_tls_phase phase_of(const struct gv_stream *stream)
{
    return gv_tls_session_phase(stream->tls->session);
}

bool gv_stream_tls_is_shaking(const struct gv_stream *stream)
{
    return phase_of(stream) == GV_TLS_SHAKING;
}

bool gv_stream_tls_has_part(const struct gv_stream *stream)
{
    return gv_tls_session_has_part(stream->tls->session);
}

size_t gv_stream_tls_early_bytes(const struct gv_stream *stream)
{
    return stream->tls->early.len;
}

const char *gv_stream_trouble(const struct gv_stream *stream)
{
    return stream->tls == NULL ? "" : gv_tls_session_trouble(stream->tls->session);
}

enum gv_err gv_stream_tls_why(const struct gv_stream *stream, enum gv_err why)
{
    return stream->tls->failure != GV_OK ? stream->tls->failure : why;
}

/* ---- the time a handshake may take ---- */

static void on_limit(uv_timer_t *timer)
{
    struct gv_stream *stream = timer->data;
    gv_tls_session_give_up(stream->tls->session, GV_TLS_OUTCOME_TIMEOUT);
    gv_stream_close_with(stream, GV_ETIMEOUT);
}

static void start_limit(struct gv_stream *stream)
{
    uint64_t limit_ms = gv_tls_session_options(stream->tls->session)->handshake_timeout_ms;
    if (limit_ms == 0) {
        return;
    }
    int failed = uv_timer_init(&stream->thing.loop->uv, &stream->tls->limit);
    GV_ASSERT(failed == 0);
    gv_thing_add_handle(&stream->thing, &stream->tls->limit);
    stream->tls->has_limit = true;
    failed = uv_timer_start(&stream->tls->limit, on_limit, limit_ms, 0);
    GV_ASSERT(failed == 0);
}

void gv_stream_tls_close(struct gv_stream *stream)
{
    if (stream->tls->has_limit) {
        stream->tls->has_limit = false;
        gv_thing_close_handle(&stream->thing, &stream->tls->limit);
    }
}

/* ---- beginning and end ---- */

enum gv_err gv_stream_secure(struct gv_stream *stream, struct gv_tls *tls, const char *host)
{
    GV_ASSERT(stream->tls == NULL && stream->queue.bytes == 0);
    struct gv_stream_tls *made = gv_mem_new(GV_MEM_NET, sizeof *made);
    if (made == NULL) {
        return GV_ENOMEM;
    }
    struct gv_addr peer = gv_stream_peer(stream);
    enum gv_err err = gv_tls_session_new(tls, host, host == NULL ? &peer : NULL, &made->session);
    if (err != GV_OK) {
        gv_mem_free(GV_MEM_NET, made);
        return err;
    }
    gv_buf_init(&made->early, GV_MEM_BUFFER, SIZE_MAX / 2);
    stream->tls = made;
    if (stream->is_open) {
        start_limit(stream);
    }
    return GV_OK;
}

void gv_stream_tls_free(struct gv_stream *stream)
{
    if (stream->tls != NULL) {
        gv_tls_session_free(stream->tls->session);
        gv_buf_deinit(&stream->tls->early);
        gv_mem_free(GV_MEM_NET, stream->tls);
        stream->tls = NULL;
    }
}

/* ---- sending ---- */

/* Send what OpenSSL has made. */
static enum gv_err send_sealed(struct gv_stream *stream)
{
    struct gv_buf *sealed = &stream->thing.loop->sealed;
    if (sealed->len == 0 || stream->thing.closed || stream->write_failure != GV_OK) {
        return GV_OK;
    }
    enum gv_err err = gv_stream_send_raw(stream, gv_buf_slice(sealed), gv_slice_of(NULL, 0));
    gv_buf_clear(sealed);
    return err;
}

static enum gv_err seal(struct gv_stream *stream, struct gv_slice bytes)
{
    enum gv_err result = GV_OK;
    struct gv_buf *sealed = &stream->thing.loop->sealed;
    while (bytes.len > 0) {
        size_t part = bytes.len < PIECE_BYTES ? bytes.len : PIECE_BYTES;
        gv_buf_clear(sealed);
        enum gv_err err =
            gv_tls_session_seal(stream->tls->session, gv_slice_of(bytes.data, part), sealed);
        if (err != GV_OK) {
            gv_stream_close_with(stream, err);
            return err == GV_ENOMEM ? GV_ENOMEM : GV_ECLOSED;
        }
        result = send_sealed(stream);
        if (result != GV_OK && result != GV_EFULL) {
            return result;
        }
        bytes = gv_slice_of(bytes.data + part, bytes.len - part);
    }
    return result;
}

static enum gv_err keep_early(struct gv_stream *stream, struct gv_slice bytes, struct gv_slice more)
{
    struct gv_buf *early = &stream->tls->early;
    if (gv_buf_append(early, bytes) != GV_OK || gv_buf_append(early, more) != GV_OK) {
        gv_stream_close_with(stream, GV_ENOMEM);
        return GV_ENOMEM;
    }
    if (early->len > stream->limits.high_mark_bytes) {
        stream->wants_drain = true;
        return GV_EFULL;
    }
    return GV_OK;
}

enum gv_err gv_stream_tls_send(struct gv_stream *stream, struct gv_slice bytes,
                               struct gv_slice more)
{
    switch (phase_of(stream)) {
    case GV_TLS_SHAKING:
        return keep_early(stream, bytes, more);
    case GV_TLS_FAILED:
        return GV_ECLOSED;
    case GV_TLS_OPEN:
    case GV_TLS_ENDED:
        break;
    }
    if (bytes.len > 0 && more.len > 0 && bytes.len + more.len <= RECORD_BYTES) {
        uint8_t joined[RECORD_BYTES]; /* a head and a small body are one record */
        memcpy(joined, bytes.data, bytes.len);
        memcpy(joined + bytes.len, more.data, more.len);
        return seal(stream, gv_slice_of(joined, bytes.len + more.len));
    }
    enum gv_err err = seal(stream, bytes);
    if ((err == GV_OK || err == GV_EFULL) && more.len > 0) {
        err = seal(stream, more);
    }
    return err;
}

void gv_stream_tls_say_end(struct gv_stream *stream)
{
    struct gv_stream_tls *tls = stream->tls;
    bool is_cut = stream->thing.closed || stream->write_failure != GV_OK;
    if (is_cut || tls->has_said_end || phase_of(stream) == GV_TLS_SHAKING) {
        return;
    }
    tls->has_said_end = true;
    gv_buf_clear(&stream->thing.loop->sealed);
    gv_tls_session_end(tls->session, &stream->thing.loop->sealed);
    enum gv_err ignored = send_sealed(stream); /* who cannot be told is not */
    (void)ignored;
}

/* ---- the handshake ---- */

/* The peer must hear the alert that says why, if there is one; then it is over. */
static void fail(struct gv_stream *stream, enum gv_err err)
{
    gv_stream_tls_close(stream);
    stream->tls->failure = err;
    if (gv_tls_session_options(stream->tls->session)->side == GV_TLS_CONNECTING ||
        err == GV_ENOMEM) {
        gv_stream_close_with(stream, err);
        return;
    }
    if (stream->is_finishing) {
        gv_stream_finish_if_sent(stream);
    } else {
        gv_stream_finish(stream, ALERT_LINGER_MS);
    }
}

/* The two have shaken hands: what waited for that goes on. */
static void open_up(struct gv_stream *stream)
{
    struct gv_stream_tls *tls = stream->tls;
    gv_stream_tls_close(stream);
    enum gv_err err = seal(stream, gv_buf_slice(&tls->early));
    gv_buf_reset(&tls->early);
    if (err != GV_OK && err != GV_EFULL) {
        return; /* on_closed comes */
    }
    if (stream->is_finishing) {
        gv_stream_tls_say_end(stream);
        gv_stream_finish_if_sent(stream);
        return;
    }
    if (gv_tls_session_options(tls->session)->side == GV_TLS_CONNECTING &&
        stream->events->on_open != NULL) {
        stream->events->on_open(stream->owner);
    }
    if (!stream->thing.closed) {
        gv_stream_tell_drain(stream);
    }
}

void gv_stream_tls_begin(struct gv_stream *stream)
{
    if (stream->thing.closed) {
        return;
    }
    start_limit(stream);
    gv_stream_tls_take(stream, gv_slice_of(NULL, 0));
}

/* A peer may make us answer without reading the answers (key updates). */
static bool is_abused(const struct gv_stream *stream)
{
    return stream->queue.bytes > stream->limits.high_mark_bytes + UNASKED_MAX;
}

void gv_stream_tls_take(struct gv_stream *stream, struct gv_slice bytes)
{
    struct gv_loop *loop = stream->thing.loop;
    struct gv_stream_tls *tls = stream->tls;
    bool was_shaking = phase_of(stream) == GV_TLS_SHAKING;
    if (phase_of(stream) == GV_TLS_FAILED || (stream->is_finishing && !was_shaking)) {
        return; /* what comes after our last word is dropped */
    }
    gv_buf_clear(&loop->plain);
    gv_buf_clear(&loop->sealed);
    enum gv_err err = gv_tls_session_feed(tls->session, bytes, &loop->plain, &loop->sealed);
    bool has_answered = loop->sealed.len > 0;
    enum gv_err sent = send_sealed(stream);
    if (stream->thing.closed) {
        return;
    }
    if (err == GV_OK && has_answered && sent == GV_EFULL && is_abused(stream)) {
        err = GV_EPROTO;
    }
    if (err != GV_OK) {
        fail(stream, err);
        return;
    }
    if (was_shaking && phase_of(stream) != GV_TLS_SHAKING) {
        open_up(stream);
    }
    if (loop->plain.len > 0 && !stream->thing.closed && !stream->is_finishing) {
        gv_stream_give(stream, gv_buf_slice(&loop->plain));
    }
    if (phase_of(stream) == GV_TLS_ENDED && !stream->thing.closed && !stream->has_ended) {
        gv_stream_end(stream);
    }
}

bool gv_stream_tls_take_end(struct gv_stream *stream)
{
    enum gv_tls_phase phase = phase_of(stream);
    if (phase == GV_TLS_ENDED || phase == GV_TLS_FAILED ||
        (stream->is_finishing && phase == GV_TLS_OPEN)) {
        return true;
    }
    gv_tls_session_give_up(stream->tls->session, GV_TLS_OUTCOME_CLOSED);
    gv_stream_close_with(stream,
                         stream->write_failure != GV_OK ? stream->write_failure : GV_EPROTO);
    return false;
}
