/*
 * stream_in.h - the inside of a stream, shared by stream.c (its life), stream_read.c (what comes)
 * and stream_send.c (what goes). Private to these.
 */
#ifndef GV_NET_STREAM_IN_H
#define GV_NET_STREAM_IN_H

#include "inner.h"
#include "queue.h"

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

/** Read, unless paused, ended or not open yet. */
void gv_stream_read_on(struct gv_stream *stream);

/** Send chunks until there are none or the kernel is full. */
void gv_stream_flush(struct gv_stream *stream);

/** Send what was gathered, if anything; the kernel may take a part. */
void gv_stream_send_gathered(struct gv_stream *stream);

#endif
