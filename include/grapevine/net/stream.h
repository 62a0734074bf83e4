/*
 * stream.h - a TCP connection: bytes in, bytes out, back-pressure both ways.
 *
 *     connecting --on_open--> open --(on_end: the peer sends no more)--> ... --on_closed--> gone
 *
 * on_closed comes exactly once for every stream that was opened or accepted, and is the last call;
 * the stream is freed when it returns. TCP_NODELAY is set. One thread.
 *
 * With gv_stream_secure() the bytes travel in TLS and all else stays as it is said here: on_open
 * comes when the handshake is done, on_end when the peer has said that it sends no more. A
 * connection that ends without that is closed with GV_EPROTO: what was sent may be cut.
 */
#ifndef GV_NET_STREAM_H
#define GV_NET_STREAM_H

#include "grapevine/base/addr.h"
#include "grapevine/base/buf.h"
#include "grapevine/base/slice.h"
#include "grapevine/net/loop.h"
#include "grapevine/net/tls.h"

struct gv_stream;

struct gv_stream_events {
    void (*on_open)(void *owner);                        /* connected (not for accepted streams) */
    void (*on_data)(void *owner, struct gv_slice bytes); /* borrowed for the call */
    void (*on_end)(void *owner);                         /* the peer sends no more; may be NULL */
    void (*on_drain)(void *owner);                   /* queue fell to the low mark; may be NULL */
    void (*on_closed)(void *owner, enum gv_err why); /* GV_OK: we closed it, or a clean end */
};

struct gv_stream_limits {
    size_t high_mark_bytes; /* queued for sending: over it gv_stream_send() says GV_EFULL */
    size_t low_mark_bytes;  /* on_drain at or below it */
    size_t read_bytes;      /* most that one on_data brings; 0: as much as a loop reads at once */
};

/**
 * Connect to `addr`. Errors: GV_ENOMEM, GV_EFULL (no descriptors), GV_EIO; then no callback comes.
 * Later: on_open, or on_closed with GV_EREFUSED (connection refused), GV_ETIMEOUT or GV_EIO.
 */
GV_MUST_USE enum gv_err gv_stream_connect(struct gv_loop *loop, const struct gv_addr *addr,
                                          const struct gv_stream_events *events, void *owner,
                                          struct gv_stream_limits limits,
                                          struct gv_stream **stream);

/** Give an accepted stream its events (static) and owner; reading begins. Once, inside on_accept.
 */
void gv_stream_adopt(struct gv_stream *stream, const struct gv_stream_events *events, void *owner,
                     struct gv_stream_limits limits);

/**
 * Speak TLS: right behind gv_stream_connect(), where `host` is the name or address that the
 * certificate must be for, or inside on_accept before gv_stream_adopt(), with NULL. `tls` must
 * outlive the stream. Later, on_closed with GV_EAUTH: a certificate does not do, or ours was
 * refused; GV_EPROTO: this is not TLS, or it was cut off; GV_ETIMEOUT.
 * Errors: GV_EFULL too many handshakes are under way; GV_ENOMEM. Then close the stream.
 */
GV_MUST_USE enum gv_err gv_stream_secure(struct gv_stream *stream, struct gv_tls *tls,
                                         const char *host);

/** Inside on_closed: what was wrong, as a sentence; "" when that is all in `why`. */
const char *gv_stream_trouble(const struct gv_stream *stream);

/** Change events and owner, e.g. when a pooled connection gets its next user. */
void gv_stream_set_owner(struct gv_stream *stream, const struct gv_stream_events *events,
                         void *owner);

/**
 * Send `bytes`: written at once where the kernel takes them, the rest is copied and queued. From
 * inside an on_data only the first piece is written at once; further small ones are written
 * together when it returns. Never calls back from inside.
 *
 * Errors: GV_EFULL    the queue is over its high mark; THE BYTES WERE TAKEN all the same; send no
 *                     more until on_drain, which comes once.
 *         GV_ECLOSED  gv_stream_close() was called, or the peer is gone; nothing was taken;
 *                     on_closed comes or came.
 *         GV_ENOMEM   nothing was taken; the stream is being closed.
 */
GV_MUST_USE enum gv_err gv_stream_send(struct gv_stream *stream, struct gv_slice bytes);

/** The same for a head and a body in one system call; `more` may be empty. */
GV_MUST_USE enum gv_err gv_stream_send2(struct gv_stream *stream, struct gv_slice bytes,
                                        struct gv_slice more);

/** Bytes queued and not yet taken by the kernel. */
size_t gv_stream_queued_bytes(const struct gv_stream *stream);

/** Does something wait in the kernel that was not told yet: bytes, an end, a failure? One system
 * call. */
bool gv_stream_has_news(const struct gv_stream *stream);

/**
 * Inside on_data: keep `tail`, the last of the bytes it brought, in `buf`, which is empty and
 * counts as GV_MEM_BUFFER, by giving `buf` the memory that they were read to; the loop takes other
 * memory. false, and nothing done: they lie elsewhere (TLS), fill less than half of that memory, or
 * there is no other: then copy them.
 */
bool gv_stream_keep(struct gv_stream *stream, struct gv_slice tail, struct gv_buf *buf);

/** Stop and resume on_data. While paused, the peer's end or reset is still noticed where the kernel
 * tells. */
void gv_stream_pause(struct gv_stream *stream);
void gv_stream_resume(struct gv_stream *stream);

/** Send what is queued, then close; at most `linger_ms` for that. on_closed comes later. */
void gv_stream_finish(struct gv_stream *stream, uint64_t linger_ms);

/** Close at once, dropping what is queued. on_closed comes later, never from inside. */
void gv_stream_close(struct gv_stream *stream);

/** Close at once with a reset, so that the peer notices immediately. */
void gv_stream_reset(struct gv_stream *stream);

/** The peer's address. */
struct gv_addr gv_stream_peer(const struct gv_stream *stream);

/** Our own end's address. */
struct gv_addr gv_stream_local(const struct gv_stream *stream);

#endif
