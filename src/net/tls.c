/*
 * tls.c - certificates and keys read from their files, read again when those change, and counted.
 *
 * What the files say becomes one immutable context of OpenSSL; whoever begins a session takes a
 * reference to the one in use, and a reload puts another in its place. All loops share a context,
 * so that a ticket that one loop gave is good for all.
 */
#include "grapevine/net/tls.h"

#include "grapevine/base/lock.h"
#include "grapevine/base/log.h"
#include "grapevine/base/mem.h"
#include "grapevine/base/metric.h"
#include "grapevine/net/loop.h"
#include "tls_crowd.h"
#include "tls_session.h"
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define FILES_MAX         32
#define RELOAD_AT_LEAST_S (12 * 3600) /* so old are the keys of tickets at most */
#define TICKET_LIFE_S     7200
#define CIPHERS_1_2       "ECDHE+AESGCM:ECDHE+CHACHA20"

/* What tells one state of a file from the next. */
struct stamp {
    dev_t device;
    ino_t inode;
    off_t bytes;
    struct timespec changed;
};

struct gv_tls {
    struct gv_tls_options options;
    struct gv_mutex lock; /* guards the next */
    SSL_CTX *context;     /* a reference */
    struct stamp stamps[FILES_MAX];
    uint64_t read_at_us; /* of the clock that never goes back */
    bool is_bad;         /* the files were not usable when last read */
    atomic_uint shaking; /* handshakes under way */
    struct gv_tls_crowd crowd;
    struct gv_metric *outcomes[GV_TLS_OUTCOME_COUNT];
    struct gv_metric *shaking_gauge;
    struct gv_metric *expires;
    struct gv_metric *bad;
    struct gv_metric *reloads;
};

/* ---- metrics ---- */

static const struct gv_metric_family handshakes_family = {
    .name = "gv_tls_handshakes_total",
    .help = "TLS handshakes that ended, by whom we spoke to and how they ended.",
    .type = GV_METRIC_COUNTER,
    .labels = {"of", "outcome"},
};
static const struct gv_metric_family shaking_family = {
    .name = "gv_tls_handshakes_active",
    .help = "TLS handshakes under way.",
    .type = GV_METRIC_GAUGE,
    .labels = {"of"},
};
static const struct gv_metric_family expires_family = {
    .name = "gv_tls_certificate_expires_seconds",
    .help = "When the certificate that we show expires, in seconds since 1970.",
    .type = GV_METRIC_GAUGE,
    .labels = {"of"},
};
static const struct gv_metric_family bad_family = {
    .name = "gv_tls_files_bad",
    .help = "1 while the certificate files cannot be used and the old certificate goes on.",
    .type = GV_METRIC_GAUGE,
    .labels = {"of"},
};
static const struct gv_metric_family reloads_family = {
    .name = "gv_tls_reloads_total",
    .help = "Times that certificate files were read again and put in use.",
    .type = GV_METRIC_COUNTER,
    .labels = {"of"},
};

/* Out of memory here means a metric that is not shown; the cells work all the same. */
static struct gv_metric *cell(const struct gv_metric_family *family, const char *of,
                              const char *outcome)
{
    enum gv_err ignored = gv_metric_register(family);
    (void)ignored;
    return gv_metric_get(family, (const char *const[]){of, outcome});
}

static void open_metrics(struct gv_tls *tls)
{
#define OUTCOME_TEXT(name, text) text,
    static const char *const names[] = {GV_TLS_OUTCOME_LIST(OUTCOME_TEXT)};
#undef OUTCOME_TEXT
    const char *of = tls->options.name;
    for (size_t i = 0; i < GV_TLS_OUTCOME_COUNT; i++) {
        tls->outcomes[i] = cell(&handshakes_family, of, names[i]);
    }
    tls->shaking_gauge = cell(&shaking_family, of, NULL);
    tls->bad = cell(&bad_family, of, NULL);
    tls->reloads = cell(&reloads_family, of, NULL);
}

/* Is the peer counted, because it may have only so many? */
static bool is_crowd(const struct gv_tls *tls, const struct gv_addr *peer)
{
    return peer != NULL && tls->options.handshakes_per_address_max != 0;
}

bool gv_tls_shake(struct gv_tls *tls, const struct gv_addr *peer)
{
    uint32_t most = tls->options.handshakes_per_address_max;
    if (is_crowd(tls, peer) && !gv_tls_crowd_enter(&tls->crowd, peer, most)) {
        gv_metric_add(tls->outcomes[GV_TLS_OUTCOME_CROWD], 1);
        return false;
    }
    unsigned before = atomic_fetch_add(&tls->shaking, 1);
    if (tls->options.handshakes_max != 0 && before >= tls->options.handshakes_max) {
        atomic_fetch_sub(&tls->shaking, 1);
        if (is_crowd(tls, peer)) {
            gv_tls_crowd_leave(&tls->crowd, peer);
        }
        gv_metric_add(tls->outcomes[GV_TLS_OUTCOME_LIMIT], 1);
        return false;
    }
    gv_metric_set(tls->shaking_gauge, before + 1.0);
    return true; /* loops may set it in another order than they count: gv_tls_reload() mends that */
}

void gv_tls_shaken(struct gv_tls *tls, const struct gv_addr *peer, enum gv_tls_outcome outcome)
{
    if (is_crowd(tls, peer)) {
        gv_tls_crowd_leave(&tls->crowd, peer);
    }
    unsigned before = atomic_fetch_sub(&tls->shaking, 1);
    gv_metric_set(tls->shaking_gauge, before - 1.0);
    gv_metric_add(tls->outcomes[outcome], 1);
}

/* ---- the files ---- */

static bool is_given(const char *path)
{
    return path != NULL && path[0] != '\0';
}

/* The i-th of all files, or NULL behind the last. */
static const char *file_at(const struct gv_tls *tls, size_t i)
{
    const struct gv_tls_options *options = &tls->options;
    size_t own = is_given(options->cert_path) ? 2 : 0;
    if (i < own) {
        return i == 0 ? options->cert_path : options->key_path;
    }
    return i - own < options->ca_count && i < FILES_MAX ? options->ca_paths[i - own] : NULL;
}

static void look_at_files(const struct gv_tls *tls, struct stamp stamps[FILES_MAX])
{
    memset(stamps, 0, FILES_MAX * sizeof *stamps);
    const char *path;
    for (size_t i = 0; (path = file_at(tls, i)) != NULL; i++) {
        struct stat about;
        if (stat(path, &about) == 0) {
            stamps[i].device = about.st_dev;
            stamps[i].inode = about.st_ino;
            stamps[i].bytes = about.st_size;
            stamps[i].changed.tv_sec = about.st_mtim.tv_sec;
            stamps[i].changed.tv_nsec = about.st_mtim.tv_nsec;
        }
    }
}

/* Say of `path` what the kernel or OpenSSL says; the first of its errors is the cause. */
static enum gv_err trouble_with(const char *path, const char *what,
                                char trouble[GV_TLS_TROUBLE_BYTES])
{
    FILE *file = fopen(path, "re");
    int error = errno;
    unsigned long code = ERR_peek_error();
    const char *why = code == 0 ? NULL : ERR_reason_error_string(code);
    ERR_clear_error();
    if (file == NULL) {
        (void)snprintf(trouble, GV_TLS_TROUBLE_BYTES, "%.150s: %s", path, strerror(error));
        return error == ENOENT ? GV_ENOTFOUND : GV_EAUTH;
    }
    (void)fclose(file);
    (void)snprintf(trouble, GV_TLS_TROUBLE_BYTES, "%.150s: not %s (%s)", path, what,
                   why == NULL ? "?" : why);
    return GV_EINVAL;
}

/* A key with a passphrase is refused, not asked for on a terminal. */
static int no_passphrase(char *into, int size, int writing, void *owner)
{
    (void)into;
    (void)size;
    (void)writing;
    (void)owner;
    return 0;
}

/* A key that everybody on this host may read is named, not refused: secrets that Kubernetes mounts
 * are like that, and nobody else is on that host. */
static void look_at_mode(const struct gv_tls *tls)
{
    struct stat about;
    if (stat(tls->options.key_path, &about) == 0 && (about.st_mode & S_IRWXO) != 0) {
        gv_log(GV_LOG_WARN, "tls.key_open_to_all", GV_STR("of", tls->options.name),
               GV_STR("path", tls->options.key_path));
    }
}

static enum gv_err take_certificate(const struct gv_tls *tls, SSL_CTX *context,
                                    char trouble[GV_TLS_TROUBLE_BYTES])
{
    const struct gv_tls_options *options = &tls->options;
    if (SSL_CTX_use_certificate_chain_file(context, options->cert_path) != 1) {
        return trouble_with(options->cert_path, "a certificate in PEM", trouble);
    }
    if (SSL_CTX_use_PrivateKey_file(context, options->key_path, SSL_FILETYPE_PEM) != 1) {
        return trouble_with(options->key_path, "the certificate's key in PEM, without passphrase",
                            trouble);
    }
    look_at_mode(tls);
    return GV_OK;
}

static enum gv_err take_authorities(const struct gv_tls *tls, SSL_CTX *context,
                                    char trouble[GV_TLS_TROUBLE_BYTES])
{
    const struct gv_tls_options *options = &tls->options;
    if (options->side == GV_TLS_CONNECTING && options->ca_count == 0) {
        /* The folder's files are read when they are needed, and once. */
        if (SSL_CTX_set_default_verify_file(context) != 1 ||
            SSL_CTX_set_default_verify_dir(context) != 1) {
            (void)snprintf(trouble, GV_TLS_TROUBLE_BYTES, "the system's authorities: unreadable");
            ERR_clear_error();
            return GV_EINVAL;
        }
        return GV_OK;
    }
    /* Their names are told to clients, which then know what to show. */
    STACK_OF(X509_NAME) *names = sk_X509_NAME_new_null();
    for (size_t i = 0; i < options->ca_count; i++) {
        const char *path = options->ca_paths[i];
        if (names == NULL || SSL_CTX_load_verify_file(context, path) != 1 ||
            SSL_add_file_cert_subjects_to_stack(names, path) != 1) {
            sk_X509_NAME_pop_free(names, X509_NAME_free);
            return trouble_with(path, "certificates of authorities in PEM", trouble);
        }
    }
    SSL_CTX_set_client_CA_list(context, names); /* moved */
    /* Who is named is trusted, whoever vouches for him: an authority in the middle, or one peer. */
    (void)X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(context), X509_V_FLAG_PARTIAL_CHAIN);
    return GV_OK;
}

/* ---- the context ---- */

static const unsigned char alpn_http_1_1[] = "\x08http/1.1";

static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                           const unsigned char *in, unsigned in_len, void *owner)
{
    (void)ssl;
    (void)owner;
    unsigned char *chosen;
    if (SSL_select_next_proto(&chosen, out_len, alpn_http_1_1, sizeof alpn_http_1_1 - 1, in,
                              in_len) != OPENSSL_NPN_NEGOTIATED) {
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static void set_accepting_rules(const struct gv_tls *tls, SSL_CTX *context)
{
    SSL_CTX_set_alpn_select_cb(context, choose_protocol, NULL);
    (void)SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_timeout(context, TICKET_LIFE_S);
    switch (tls->options.proof) {
    case GV_TLS_PROOF_NONE:
        (void)SSL_CTX_set_num_tickets(context, 1);
        return;
    case GV_TLS_PROOF_OPTIONAL:
    case GV_TLS_PROOF_REQUIRED:
        /* Each connection proves itself: a ticket would outlive a certificate that expires. */
        (void)SSL_CTX_set_num_tickets(context, 0);
        (void)SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
        SSL_CTX_set_verify(
            context,
            SSL_VERIFY_PEER |
                (tls->options.proof == GV_TLS_PROOF_REQUIRED ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
            NULL);
        return;
    }
}

static bool set_rules(const struct gv_tls *tls, SSL_CTX *context)
{
    bool is_accepting = tls->options.side == GV_TLS_ACCEPTING;
    (void)SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                           SSL_OP_CIPHER_SERVER_PREFERENCE |
                                           SSL_OP_PRIORITIZE_CHACHA);
    (void)SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_default_passwd_cb(context, no_passphrase);
    if (is_accepting) {
        set_accepting_rules(tls, context);
    } else {
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
        if (SSL_CTX_set_alpn_protos(context, alpn_http_1_1, sizeof alpn_http_1_1 - 1) != 0) {
            return false;
        }
    }
    return SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1 &&
           SSL_CTX_set_cipher_list(context, CIPHERS_1_2) == 1;
}

static enum gv_err make_context(const struct gv_tls *tls, SSL_CTX **made,
                                char trouble[GV_TLS_TROUBLE_BYTES])
{
    ERR_clear_error();
    SSL_CTX *context = SSL_CTX_new(tls->options.side == GV_TLS_ACCEPTING ? TLS_server_method()
                                                                         : TLS_client_method());
    if (context == NULL || !set_rules(tls, context)) {
        (void)snprintf(trouble, GV_TLS_TROUBLE_BYTES, "OpenSSL made no context");
        ERR_clear_error();
        SSL_CTX_free(context);
        return GV_ENOMEM;
    }
    enum gv_err err = GV_OK;
    if (is_given(tls->options.cert_path)) {
        err = take_certificate(tls, context, trouble);
    }
    if (err == GV_OK &&
        (tls->options.side == GV_TLS_CONNECTING || tls->options.proof != GV_TLS_PROOF_NONE)) {
        err = take_authorities(tls, context, trouble);
    }
    if (err != GV_OK) {
        SSL_CTX_free(context);
        return err;
    }
    *made = context;
    return GV_OK;
}

/* When our certificate expires, for the gauge and the log; 0 without one. */
static int64_t expiry_s(const SSL_CTX *context)
{
    X509 *own = SSL_CTX_get0_certificate(context);
    struct tm at;
    if (own == NULL || ASN1_TIME_to_tm(X509_get0_notAfter(own), &at) != 1) {
        return 0;
    }
    return (int64_t)timegm(&at);
}

static void tell(struct gv_tls *tls, const SSL_CTX *context)
{
    int64_t until_s = expiry_s(context);
    gv_log(GV_LOG_INFO, "tls.loaded", GV_STR("of", tls->options.name),
           GV_INT("expires_s", until_s));
    if (until_s == 0) {
        return;
    }
    if (tls->expires == NULL) {
        tls->expires = cell(&expires_family, tls->options.name, NULL);
    }
    gv_metric_set(tls->expires, (double)until_s);
    if (until_s <= (int64_t)(gv_clock_wall_ms() / 1000)) {
        gv_log(GV_LOG_WARN, "tls.expired", GV_STR("of", tls->options.name),
               GV_STR("path", tls->options.cert_path));
    }
}

enum gv_err gv_tls_open(const struct gv_tls_options *options, struct gv_tls **tls,
                        char trouble[GV_TLS_TROUBLE_BYTES])
{
    struct gv_tls *made = gv_mem_new(GV_MEM_NET, sizeof *made);
    if (made == NULL) {
        (void)snprintf(trouble, GV_TLS_TROUBLE_BYTES, "out of memory");
        return GV_ENOMEM;
    }
    made->options = *options;
    made->read_at_us = gv_clock_us();
    look_at_files(made, made->stamps);
    enum gv_err err = make_context(made, &made->context, trouble);
    if (err != GV_OK) {
        gv_mem_free(GV_MEM_NET, made);
        return err;
    }
    gv_mutex_init(&made->lock);
    open_metrics(made);
    gv_tls_crowd_init(&made->crowd);
    tell(made, made->context);
    *tls = made;
    return GV_OK;
}

void gv_tls_reload(struct gv_tls *tls, bool forced)
{
    gv_metric_set(tls->shaking_gauge, atomic_load(&tls->shaking));
    struct stamp stamps[FILES_MAX];
    look_at_files(tls, stamps); /* before they are read: what changes meanwhile is seen next time */
    uint64_t now_us = gv_clock_us();
    bool is_old = now_us - tls->read_at_us >= RELOAD_AT_LEAST_S * UINT64_C(1000000);
    if (!forced && !is_old && memcmp(stamps, tls->stamps, sizeof stamps) == 0) {
        return;
    }
    memcpy(tls->stamps, stamps, sizeof stamps);
    tls->read_at_us = now_us;
    char trouble[GV_TLS_TROUBLE_BYTES];
    SSL_CTX *made;
    enum gv_err err = make_context(tls, &made, trouble);
    tls->is_bad = err != GV_OK;
    gv_metric_set(tls->bad, tls->is_bad ? 1 : 0);
    if (err != GV_OK) {
        gv_log(GV_LOG_ERROR, "tls.files_bad", GV_STR("of", tls->options.name),
               GV_STR("why", trouble), GV_STR("effect", "the old certificate goes on"),
               GV_ERR(err));
        return;
    }
    gv_mutex_lock(&tls->lock);
    SSL_CTX *old = tls->context;
    tls->context = made;
    gv_mutex_unlock(&tls->lock);
    SSL_CTX_free(old);
    gv_metric_add(tls->reloads, 1);
    tell(tls, made);
}

void gv_tls_free(struct gv_tls *tls)
{
    if (tls == NULL) {
        return;
    }
    SSL_CTX_free(tls->context);
    gv_mutex_deinit(&tls->lock);
    gv_mem_free(GV_MEM_NET, tls);
}

struct ssl_ctx_st *gv_tls_context(struct gv_tls *tls)
{
    gv_mutex_lock(&tls->lock);
    SSL_CTX *context = tls->context;
    (void)SSL_CTX_up_ref(context);
    gv_mutex_unlock(&tls->lock);
    return context;
}

const struct gv_tls_options *gv_tls_options_of(const struct gv_tls *tls)
{
    return &tls->options;
}
