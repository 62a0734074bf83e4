/*
 * tls_session.h - TLS as a machine of bytes: ciphertext in, plain text out, and the other way.
 *
 *     SHAKING --> OPEN --> ENDED (the peer said that it sends no more)
 *        |          |
 *        +----------+----> FAILED (why: gv_tls_session_trouble)
 *
 * No socket, no clock. What is to be sent is appended to `out`, and must be sent whatever is
 * returned: it may hold the alert that tells the peer why. One thread. Private to net/; used by the
 * streams.
 */
#ifndef GV_NET_TLS_SESSION_H
#define GV_NET_TLS_SESSION_H

#include "grapevine/base/addr.h"
#include "grapevine/base/buf.h"
#include "grapevine/net/tls.h"

struct gv_tls_session;

enum gv_tls_phase {
    GV_TLS_SHAKING = 0,
    GV_TLS_OPEN,
    GV_TLS_ENDED,
    GV_TLS_FAILED
};

/* How a handshake ended, for people who count. */
#define GV_TLS_OUTCOME_LIST(X)                                                                     \
    X(OK, "ok")                                                                                    \
    X(EXPIRED, "certificate_expired")                                                              \
    X(NOT_YET, "certificate_not_yet_valid")                                                        \
    X(HOST, "wrong_host")                                                                          \
    X(CA, "unknown_ca")                                                                            \
    X(CERTIFICATE, "bad_certificate")                                                              \
    X(NO_CERTIFICATE, "no_certificate")                                                            \
    X(ALERT, "refused_by_peer")                                                                    \
    X(VERSION, "no_common_version")                                                                \
    X(PLAIN, "plain_text")                                                                         \
    X(GARBAGE, "broken")                                                                           \
    X(CLOSED, "closed")                                                                            \
    X(TIMEOUT, "timeout")                                                                          \
    X(LIMIT, "too_many")                                                                           \
    X(CROWD, "too_many_of_address")

enum gv_tls_outcome {
#define GV_TLS_OUTCOME_ENUM(name, text) GV_TLS_OUTCOME_##name,
    GV_TLS_OUTCOME_LIST(GV_TLS_OUTCOME_ENUM)
#undef GV_TLS_OUTCOME_ENUM
    GV_TLS_OUTCOME_COUNT
};

/**
 * Begin with what `tls` holds now. `host`: the name or address that the peer's certificate must
 * be for; NULL on the accepting side. `peer`: whose places it takes, NULL for nobody's. Errors:
 * GV_EFULL too many handshakes are under way, of all or of that peer, which is counted; GV_ENOMEM.
 */
GV_MUST_USE enum gv_err gv_tls_session_new(struct gv_tls *tls, const char *host,
                                           const struct gv_addr *peer,
                                           struct gv_tls_session **session);

/** A handshake that did not end otherwise is counted as `closed`. NULL is fine. */
void gv_tls_session_free(struct gv_tls_session *session);

/**
 * Take what came; what it held is appended to `plain`. With no bytes on the connecting side: begin.
 * Errors: GV_EAUTH a certificate does not do, or we were refused; GV_EPROTO not TLS as it should
 * be; GV_ENOMEM. Then the phase is FAILED.
 */
GV_MUST_USE enum gv_err gv_tls_session_feed(struct gv_tls_session *session, struct gv_slice bytes,
                                            struct gv_buf *plain, struct gv_buf *out);

/** Seal `bytes`; the phase is OPEN or ENDED. Errors: GV_EPROTO, GV_ENOMEM. */
GV_MUST_USE enum gv_err gv_tls_session_seal(struct gv_tls_session *session, struct gv_slice bytes,
                                            struct gv_buf *out);

/** Say that we send no more; nothing is sealed afterwards. Without effect but when OPEN or ENDED.
 */
void gv_tls_session_end(struct gv_tls_session *session, struct gv_buf *out);

/** The handshake ends here, for a reason that the session cannot see itself. */
void gv_tls_session_give_up(struct gv_tls_session *session, enum gv_tls_outcome outcome);

enum gv_tls_phase gv_tls_session_phase(const struct gv_tls_session *session);

/** Has a part of a record come whose rest is still to come? */
bool gv_tls_session_has_part(const struct gv_tls_session *session);

/** Why it FAILED, as a sentence; "" when it did not. Lives as long as the session. */
const char *gv_tls_session_trouble(const struct gv_tls_session *session);

/** What this session was made of. */
const struct gv_tls_options *gv_tls_session_options(const struct gv_tls_session *session);

/* ---- tls.c, for tls_session.c ---- */

struct ssl_ctx_st;

/** The context in use, as a reference of the caller's. */
struct ssl_ctx_st *gv_tls_context(struct gv_tls *tls);

const struct gv_tls_options *gv_tls_options_of(const struct gv_tls *tls);

/** A handshake with `peer` (NULL: nobody's) begins: false when too many are under way, which is
 * counted. */
bool gv_tls_shake(struct gv_tls *tls, const struct gv_addr *peer);

/** A handshake that gv_tls_shake() let begin has ended. */
void gv_tls_shaken(struct gv_tls *tls, const struct gv_addr *peer, enum gv_tls_outcome outcome);

#endif
