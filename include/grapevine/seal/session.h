/*
 * session.h - a sealed channel of messages over a byte stream, as a machine without sockets.
 *
 *     OPENING --peer's opening--> JUDGING --accept--> CONFIRMING --peer's confirm--> ESTABLISHED
 *        |                           |                    |                              |
 *        +---------------------------+------ error, refuse, refused ---------------------+--> ENDED
 *
 * Both sides send an opening at once, in the clear: protocol version, key ids, an ephemeral X25519
 * key, the node's identity and the caller's hello. Both look at the other's before they judge, so
 * that a difference (key, cluster id, block size) can be logged by both with both values. Who
 * accepts sends a confirm: a signature of both openings, sealed under keys made from the X25519
 * secret, the cluster key and both openings. Then each message is one frame of a secretstream
 * (XChaCha20-Poly1305) per direction: none can be changed, dropped, repeated or reordered.
 *
 * The cluster key is one that both rings hold: the initiator's active one if possible, else the
 * acceptor's active one, else the one with the lowest id. Keyless nodes (loopback, mesh-insecure)
 * use the same frames without sealing; a keyed and a keyless side do not come together.
 *
 * How to drive it: gv_session_new() writes the opening to `out`; after each gv_session_feed(), call
 * gv_session_next() until the event is NONE; always send what was appended to `out`. Never calls
 * back. A session has one thread.
 */
#ifndef GV_SEAL_SESSION_H
#define GV_SEAL_SESSION_H

#include "grapevine/base/buf.h"
#include "grapevine/base/err.h"
#include "grapevine/seal/identity.h"
#include "grapevine/seal/keyring.h"

#define GV_SESSION_VERSION   1
#define GV_SESSION_HELLO_MAX 4096          /* bytes of a hello */
#define GV_SESSION_TEXT_MAX  256           /* bytes of a refusal's text, with its NUL */
#define GV_SESSION_FEED_MAX  (1024 * 1024) /* bytes handed in at once */
#define GV_SESSION_FRAME_OVERHEAD                                                                  \
    22 /* bytes added to a message: length, type, secretstream tag                                 \
        */

enum gv_session_role {
    GV_SESSION_INITIATOR = 0, /* who connected */
    GV_SESSION_ACCEPTOR
};

enum gv_session_event_type {
    GV_SESSION_NONE = 0,    /* needs more bytes, or the caller's verdict */
    GV_SESSION_OPENED,      /* the peer's opening: accept or refuse now */
    GV_SESSION_ESTABLISHED, /* the peer is proven; messages may be sent */
    GV_SESSION_MESSAGE,     /* `bytes` is one message */
    GV_SESSION_REFUSED      /* the peer refused us: `code`, `bytes` is its text, sanitised */
};

/** What the peer said of itself. Claims until ESTABLISHED, proven then. */
struct gv_session_peer {
    uint16_t version;
    struct gv_key_id key; /* its active key; zeros: keyless */
    bool has_our_key;     /* the key that is active here is in its ring; keyless: false */
    uint8_t identity[GV_IDENTITY_BYTES];
};

struct gv_session_event {
    enum gv_session_event_type type;
    /**
     * OPENED: GV_OK, or why accepting would fail: GV_EMISMATCH another protocol version (then
     * `bytes` is empty), no key in common, keyed against keyless.
     */
    enum gv_err verdict;
    struct gv_slice bytes; /* OPENED: the peer's hello. Borrowed until the next call. */
    uint32_t code;         /* REFUSED: the caller's code of the other side */
};

struct gv_session_options {
    enum gv_session_role role;
    const struct gv_keyring *ring;      /* borrowed while the session lives; NULL: keyless */
    const struct gv_identity *identity; /* borrowed while the session lives */
    struct gv_slice hello;              /* copied; at most GV_SESSION_HELLO_MAX */
    size_t max_message_bytes;           /* a longer frame is an error before it is stored */
};

struct gv_session;

/**
 * Begin: appends the opening to `out`.
 * Errors: GV_ETOOBIG hello too long; GV_ENOMEM; those of gv_buf_append().
 */
GV_MUST_USE enum gv_err gv_session_new(struct gv_session_options options, struct gv_buf *out,
                                       struct gv_session **session);

/** Wipe and free; NULL is fine. */
void gv_session_free(struct gv_session *session);

/**
 * Take bytes from the stream, at most GV_SESSION_FEED_MAX; then call gv_session_next() until NONE.
 * Errors: GV_ETOOBIG more than may wait (the caller did not call next); GV_ENOMEM; GV_ECLOSED
 * ended.
 */
GV_MUST_USE enum gv_err gv_session_feed(struct gv_session *session, struct gv_slice bytes);

/**
 * The next event. After an error the session has ended: close the stream.
 *
 * Errors: GV_EPROTO    nonsense, or a frame out of turn, or our own opening come back;
 *         GV_ETOOBIG   a frame over its limit (4 KiB and a bit before establishing);
 *         GV_EAUTH     the peer does not hold the key or the identity it claims, or a frame was
 *                      tampered with;
 *         GV_ECLOSED   the session had ended before;
 *         GV_ENOMEM.
 */
GV_MUST_USE enum gv_err gv_session_next(struct gv_session *session, struct gv_session_event *event);

/**
 * After OPENED: agree. Appends the confirm to `out`.
 * Errors: GV_EMISMATCH as the verdict said (then refuse instead); GV_EAUTH the peer's ephemeral key
 *         is degenerate; those of gv_buf_append(). On an error the session has not moved.
 */
GV_MUST_USE enum gv_err gv_session_accept(struct gv_session *session, struct gv_buf *out);

/**
 * After OPENED: disagree. Appends a refusal with a code of the caller's and a text for the peer's
 * log, cut at 255 bytes; the session has ended; flush `out`, then close the stream.
 */
GV_MUST_USE enum gv_err gv_session_refuse(struct gv_session *session, uint32_t code,
                                          const char *text, struct gv_buf *out);

/**
 * Append `message` as one frame to `out`.
 * Errors: GV_EAGAIN not established yet; GV_ETOOBIG over max_message_bytes; GV_ECLOSED ended; those
 *         of gv_buf_append(), after which nothing was sent and the session may go on.
 */
GV_MUST_USE enum gv_err gv_session_send(struct gv_session *session, struct gv_slice message,
                                        struct gv_buf *out);

/** What the peer said; zeros before OPENED. Borrowed while the session lives. */
const struct gv_session_peer *gv_session_peer(const struct gv_session *session);

/** The id of our own active key when the session began; zeros when keyless. */
struct gv_key_id gv_session_own_key(const struct gv_session *session);

/** The id of the key agreed on; zeros before ESTABLISHED and when keyless. */
struct gv_key_id gv_session_key(const struct gv_session *session);

bool gv_session_is_established(const struct gv_session *session);

#endif
