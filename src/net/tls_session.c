/*
 * tls_session.c - one connection's TLS: OpenSSL between two slices of memory.
 *
 * OpenSSL reads from what came and writes into what is to be sent by a BIO of ours, so that no byte
 * is copied but by OpenSSL itself.
 */
#include "tls_session.h"

#include "grapevine/base/assert.h"
#include "grapevine/base/mem.h"
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define RECORD_BYTES 16384 /* of plain text in one record */

struct gv_tls_session {
    struct gv_tls *tls; /* borrowed */
    SSL *ssl;
    struct gv_slice in; /* what came and OpenSSL has not read; borrowed for a feed */
    struct gv_buf *out; /* where it writes; borrowed for a call, else NULL */
    enum gv_tls_phase phase;
    bool is_counted; /* among the handshakes under way */
    bool has_peer;   /* and among those of `peer` */
    struct gv_addr peer;
    bool has_read;   /* any byte */
    bool is_starved; /* out of memory while writing */
    int verify_error;
    char host[256];
    char subject[128]; /* of the certificate that was refused */
    char trouble[GV_TLS_TROUBLE_BYTES];
};

/* ---- the BIO ---- */

static int bio_read(BIO *bio, char *into, int len)
{
    struct gv_tls_session *session = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (session->in.len == 0 || len <= 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    size_t part = session->in.len < (size_t)len ? session->in.len : (size_t)len;
    memcpy(into, session->in.data, part);
    session->in = gv_slice_of(session->in.data + part, session->in.len - part);
    return (int)part;
}

static int bio_write(BIO *bio, const char *bytes, int len)
{
    struct gv_tls_session *session = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (session->out == NULL || len < 0 ||
        gv_buf_append(session->out, gv_slice_of(bytes, (size_t)len)) != GV_OK) {
        session->is_starved = true;
        return -1;
    }
    return len;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

static BIO_METHOD *bio_method; /* made once, lives as long as the process */
static pthread_once_t bio_once = PTHREAD_ONCE_INIT;

static void make_bio_method(void)
{
    BIO_METHOD *made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "slices");
    if (made != NULL && BIO_meth_set_read(made, bio_read) == 1 &&
        BIO_meth_set_write(made, bio_write) == 1 && BIO_meth_set_ctrl(made, bio_ctrl) == 1) {
        bio_method = made;
    } else {
        BIO_meth_free(made);
    }
}

static BIO *make_bio(struct gv_tls_session *session)
{
    (void)pthread_once(&bio_once, make_bio_method);
    BIO *bio = bio_method == NULL ? NULL : BIO_new(bio_method);
    if (bio != NULL) {
        BIO_set_data(bio, session);
        BIO_set_init(bio, 1);
    }
    return bio;
}

/* ---- beginning and end ---- */

/* Remembers what is wrong with which certificate; the verdict stays OpenSSL's. */
static int on_verify(int is_fine, X509_STORE_CTX *store)
{
    if (!is_fine) {
        SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
        struct gv_tls_session *session = SSL_get_app_data(ssl);
        X509 *certificate = X509_STORE_CTX_get_current_cert(store);
        session->verify_error = X509_STORE_CTX_get_error(store);
        if (certificate != NULL) {
            (void)X509_NAME_oneline(X509_get_subject_name(certificate), session->subject,
                                    sizeof session->subject);
        }
    }
    return is_fine;
}

/* The name that the certificate must be for, and that the peer is told. */
static bool expect_host(struct gv_tls_session *session, const char *host)
{
    (void)snprintf(session->host, sizeof session->host, "%s", host);
    X509_VERIFY_PARAM *rules = SSL_get0_param(session->ssl);
    if (X509_VERIFY_PARAM_set1_ip_asc(rules, host) == 1) {
        return true;
    }
    ERR_clear_error(); /* no address, so a name */
    X509_VERIFY_PARAM_set_hostflags(rules, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set1_host(session->ssl, host) == 1 &&
           SSL_set_tlsext_host_name(session->ssl, host) == 1;
}

static enum gv_err begin(struct gv_tls_session *session, const char *host)
{
    SSL_CTX *context = gv_tls_context(session->tls);
    session->ssl = SSL_new(context);
    int mode = SSL_CTX_get_verify_mode(context);
    SSL_CTX_free(context);
    BIO *bio = session->ssl == NULL ? NULL : make_bio(session);
    if (bio == NULL) {
        return GV_ENOMEM;
    }
    SSL_set_bio(session->ssl, bio, bio);
    SSL_set_app_data(session->ssl, session);
    SSL_set_verify(session->ssl, mode, on_verify);
    if (gv_tls_options_of(session->tls)->side == GV_TLS_ACCEPTING) {
        SSL_set_accept_state(session->ssl);
        return GV_OK;
    }
    SSL_set_connect_state(session->ssl);
    GV_ASSERT(host != NULL); /* whose certificate would do? */
    return expect_host(session, host) ? GV_OK : GV_ENOMEM;
}

enum gv_err gv_tls_session_new(struct gv_tls *tls, const char *host, const struct gv_addr *peer,
                               struct gv_tls_session **session)
{
    struct gv_tls_session *made = gv_mem_new(GV_MEM_NET, sizeof *made);
    if (made == NULL) {
        return GV_ENOMEM;
    }
    if (!gv_tls_shake(tls, peer)) {
        gv_mem_free(GV_MEM_NET, made);
        return GV_EFULL;
    }
    made->tls = tls;
    made->is_counted = true;
    made->has_peer = peer != NULL;
    made->peer = peer != NULL ? *peer : (struct gv_addr){.family = 0};
    ERR_clear_error();
    enum gv_err err = begin(made, host);
    ERR_clear_error();
    if (err != GV_OK) {
        gv_tls_session_free(made);
        return err;
    }
    *session = made;
    return GV_OK;
}

static void count(struct gv_tls_session *session, enum gv_tls_outcome outcome)
{
    if (session->is_counted) {
        session->is_counted = false;
        gv_tls_shaken(session->tls, session->has_peer ? &session->peer : NULL, outcome);
    }
}

void gv_tls_session_free(struct gv_tls_session *session)
{
    if (session == NULL) {
        return;
    }
    count(session, GV_TLS_OUTCOME_CLOSED);
    SSL_free(session->ssl);
    gv_mem_free(GV_MEM_NET, session);
}

/* ---- what went wrong ---- */

static enum gv_tls_outcome outcome_of_verify(int error)
{
    switch (error) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return GV_TLS_OUTCOME_EXPIRED;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return GV_TLS_OUTCOME_NOT_YET;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        return GV_TLS_OUTCOME_HOST;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
        return GV_TLS_OUTCOME_CA;
    default:
        return GV_TLS_OUTCOME_CERTIFICATE;
    }
}

static enum gv_tls_outcome outcome_of_reason(int reason)
{
    switch (reason) {
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
        return GV_TLS_OUTCOME_NO_CERTIFICATE;
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_VERSION_TOO_LOW:
    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_NO_PROTOCOLS_AVAILABLE:
        return GV_TLS_OUTCOME_VERSION;
    case SSL_R_HTTP_REQUEST:
        return GV_TLS_OUTCOME_PLAIN;
    default:
        return reason >= SSL_AD_REASON_OFFSET ? GV_TLS_OUTCOME_ALERT : GV_TLS_OUTCOME_GARBAGE;
    }
}

static enum gv_err fail(struct gv_tls_session *session)
{
    unsigned long code = ERR_peek_error();
    const char *reason = code == 0 ? NULL : ERR_reason_error_string(code);
    session->phase = GV_TLS_FAILED;
    ERR_clear_error();
    if (session->is_starved) {
        (void)snprintf(session->trouble, sizeof session->trouble, "TLS: out of memory");
        return GV_ENOMEM;
    }
    enum gv_tls_outcome outcome = outcome_of_reason(ERR_GET_REASON(code));
    if (session->verify_error != X509_V_OK) {
        outcome = outcome_of_verify(session->verify_error);
        (void)snprintf(session->trouble, sizeof session->trouble, "certificate of %.110s: %s",
                       session->subject[0] == '\0' ? "?" : session->subject,
                       X509_verify_cert_error_string(session->verify_error));
    } else if (outcome == GV_TLS_OUTCOME_ALERT) {
        (void)snprintf(session->trouble, sizeof session->trouble, "TLS: refused by the peer: %s",
                       reason == NULL ? "?" : reason);
    } else {
        (void)snprintf(session->trouble, sizeof session->trouble, "TLS: %s",
                       reason == NULL ? "broken" : reason);
    }
    count(session, outcome);
    bool is_refused = session->verify_error != X509_V_OK || outcome == GV_TLS_OUTCOME_ALERT ||
                      outcome == GV_TLS_OUTCOME_NO_CERTIFICATE;
    return is_refused ? GV_EAUTH : GV_EPROTO;
}

void gv_tls_session_give_up(struct gv_tls_session *session, enum gv_tls_outcome outcome)
{
    if (session->phase != GV_TLS_SHAKING) {
        return;
    }
    session->phase = GV_TLS_FAILED;
    count(session, outcome);
    const char *why = outcome == GV_TLS_OUTCOME_TIMEOUT  ? "the handshake took too long"
                      : outcome == GV_TLS_OUTCOME_CLOSED ? "the peer ended the handshake"
                                                         : "the peer does not speak it";
    (void)snprintf(session->trouble, sizeof session->trouble, "TLS: %s", why);
}

/* ---- bytes ---- */

static bool wants_more(const struct gv_tls_session *session, int result)
{
    int error = SSL_get_error(session->ssl, result);
    return error == SSL_ERROR_WANT_READ && !session->is_starved;
}

static enum gv_err shake(struct gv_tls_session *session)
{
    int result = SSL_do_handshake(session->ssl);
    if (result == 1) {
        session->phase = GV_TLS_OPEN;
        count(session, GV_TLS_OUTCOME_OK);
        return GV_OK;
    }
    return wants_more(session, result) ? GV_OK : fail(session);
}

static enum gv_err read_all(struct gv_tls_session *session, struct gv_buf *plain)
{
    while (session->phase == GV_TLS_OPEN) {
        uint8_t *where;
        size_t got = 0;
        if (gv_buf_reserve(plain, RECORD_BYTES, &where) != GV_OK) {
            session->is_starved = true;
            return fail(session);
        }
        int result = SSL_read_ex(session->ssl, where, RECORD_BYTES, &got);
        if (result == 1) {
            gv_buf_commit(plain, got);
        } else if (SSL_get_error(session->ssl, result) == SSL_ERROR_ZERO_RETURN) {
            session->phase = GV_TLS_ENDED;
        } else if (wants_more(session, result)) {
            return GV_OK;
        } else {
            return fail(session);
        }
    }
    return GV_OK;
}

/* Does somebody speak plain HTTP where TLS is spoken? A record of TLS begins with a small number,
 * a request with the capital letter of its method. */
static bool is_plain(const struct gv_tls_session *session)
{
    return !session->has_read && session->in.len > 0 && session->in.data[0] >= 'A' &&
           session->in.data[0] <= 'Z' && gv_tls_options_of(session->tls)->side == GV_TLS_ACCEPTING;
}

enum gv_err gv_tls_session_feed(struct gv_tls_session *session, struct gv_slice bytes,
                                struct gv_buf *plain, struct gv_buf *out)
{
    GV_ASSERT(session->phase != GV_TLS_FAILED);
    session->in = bytes;
    if (is_plain(session)) {
        gv_tls_session_give_up(session, GV_TLS_OUTCOME_PLAIN);
        const char *answer = gv_tls_options_of(session->tls)->plain_answer;
        return answer == NULL || gv_buf_append(out, gv_slice_text(answer)) == GV_OK ? GV_EPROTO
                                                                                    : GV_ENOMEM;
    }
    session->has_read = session->has_read || bytes.len > 0;
    session->out = out;
    ERR_clear_error();
    enum gv_err err = session->phase == GV_TLS_SHAKING ? shake(session) : GV_OK;
    if (err == GV_OK && session->phase == GV_TLS_OPEN) {
        err = read_all(session, plain);
    }
    ERR_clear_error();
    session->out = NULL;
    session->in = gv_slice_of(NULL, 0); /* what follows the peer's end is nobody's */
    return err;
}

enum gv_err gv_tls_session_seal(struct gv_tls_session *session, struct gv_slice bytes,
                                struct gv_buf *out)
{
    GV_ASSERT(session->phase == GV_TLS_OPEN || session->phase == GV_TLS_ENDED);
    if (bytes.len == 0) {
        return GV_OK;
    }
    session->out = out;
    ERR_clear_error();
    size_t taken = 0;
    int result = SSL_write_ex(session->ssl, bytes.data, bytes.len, &taken);
    enum gv_err err = result == 1 ? GV_OK : fail(session);
    session->out = NULL;
    GV_ASSERT(err != GV_OK || taken == bytes.len);
    return err;
}

void gv_tls_session_end(struct gv_tls_session *session, struct gv_buf *out)
{
    if (session->phase != GV_TLS_OPEN && session->phase != GV_TLS_ENDED) {
        return;
    }
    session->out = out;
    (void)SSL_shutdown(session->ssl); /* 0: said, and not yet heard of the peer */
    ERR_clear_error();
    session->out = NULL;
}

enum gv_tls_phase gv_tls_session_phase(const struct gv_tls_session *session)
{
    return session->phase;
}

bool gv_tls_session_has_part(const struct gv_tls_session *session)
{
    return SSL_has_pending(session->ssl) == 1;
}

const char *gv_tls_session_trouble(const struct gv_tls_session *session)
{
    return session->trouble;
}

const struct gv_tls_options *gv_tls_session_options(const struct gv_tls_session *session)
{
    return gv_tls_options_of(session->tls);
}
