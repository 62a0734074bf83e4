/*
 * stream_in.h - the inside of a stream, shared by stream.c (its life), stream_read.c (what comes),
 * stream_send.c (what goes) and stream_tls.c (the layer between, where there is one). Private to
 * these.
 */
#ifndef GV_NET_STREAM_IN_H
#define GV_NET_STREAM_IN_H

#include "inner.h"
#include "queue.h"

struct gv_stream_tls;

struct gv_stream {
    struct gv_thing thing;
    uv_tcp_t tcp;
    uv_timer_t linger; /* a handle only while has_linger */
    uv_connect_t connect;
    uv_write_t write;
    uv_shutdown_t shutdown;
    const struct gv_stream_events *events; /* borrowed; NULL until adopted */
    void *owner;                           /* borrowed */
    struct gv_stream_limits limits;
    struct gv_addr peer;
    struct gv_queue queue;
    struct gv_stream_tls *tls;    /* owned; NULL: plain */
    struct gv_list paused_link;   /* in loop->paused while paused */
    struct gv_list gathered_link; /* in loop->gathered while pieces wait for on_data to return */
    uint64_t sent_in_read;        /* the loop's read_number when it last sent */
    uint64_t finish_by_ms;        /* when is_finishing */
    enum gv_err why;              /* for on_closed */
    enum gv_err write_failure;    /* GV_OK while sending works */
    bool is_open;                 /* connected */
    bool is_paused;
    bool has_ended; /* the peer sends no more */
    bool is_writing;
    bool is_gathered; /* in loop->gathered */
    bool wants_drain;
    bool is_finishing;
    bool is_shut; /* our end was sent */
    bool has_linger;
    bool is_silent; /* no on_closed: the call that opened it has failed */
};

/** Close now and say `why` in on_closed; harmless when it is closed. */
void gv_stream_close_with(struct gv_stream *stream, enum gv_err why);

/** Our last word is sent whole: end our half; harmless before. Only while finishing. */
void gv_stream_finish_if_sent(struct gv_stream *stream);

/** Hand bytes to the owner, then send what that made it send. */
void gv_stream_give(struct gv_stream *stream, struct gv_slice bytes);

/** The peer sends no more: tell the owner. */
void gv_stream_end(struct gv_stream *stream);

/** Read, unless paused, ended or not open yet. */
void gv_stream_read_on(struct gv_stream *stream);

/** Send chunks until there are none or the kernel is full. */
void gv_stream_flush(struct gv_stream *stream);

/** As gv_stream_send2(), below TLS: these bytes, as they are. */
GV_MUST_USE enum gv_err gv_stream_send_raw(struct gv_stream *stream, struct gv_slice bytes,
                                           struct gv_slice more);

/** The owner may go on sending if it waited for that. */
void gv_stream_tell_drain(struct gv_stream *stream);

/** Send what was gathered, if anything; the kernel may take a part. */
void gv_stream_send_gathered(struct gv_stream *stream);

/* ---- stream_tls.c: only with stream->tls ---- */

/** The connection stands: begin the handshake. */
void gv_stream_tls_begin(struct gv_stream *stream);

/** Ciphertext came. */
void gv_stream_tls_take(struct gv_stream *stream, struct gv_slice bytes);

/** The connection's end came: true when that is the end of what the peer says. Else the stream is
 * closed, for the peer did not say that it ends. */
bool gv_stream_tls_take_end(struct gv_stream *stream);

/** As gv_stream_send2(). */
GV_MUST_USE enum gv_err gv_stream_tls_send(struct gv_stream *stream, struct gv_slice bytes,
                                           struct gv_slice more);

/** Is the handshake still under way, so that nothing of the owner's is sent? */
bool gv_stream_tls_is_shaking(const struct gv_stream *stream);

/** Has a part of something come that cannot be handed over yet? */
bool gv_stream_tls_has_part(const struct gv_stream *stream);

/** Bytes that wait for the handshake. */
size_t gv_stream_tls_early_bytes(const struct gv_stream *stream);

/** Tell the peer that we send no more, where it can be told. */
void gv_stream_tls_say_end(struct gv_stream *stream);

/** Close what it has of the loop's. */
void gv_stream_tls_close(struct gv_stream *stream);

/** What to tell the owner in place of `why`. */
enum gv_err gv_stream_tls_why(const struct gv_stream *stream, enum gv_err why);

void gv_stream_tls_free(struct gv_stream *stream);

#endif
