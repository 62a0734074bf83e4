/*
 * tls.h - what TLS needs to know of one kind of connection: certificates, keys, whom to trust.
 *
 * Streams that speak TLS (gv_stream_secure(), gv_listener_options.tls) take these from a gv_tls
 * when they begin. gv_tls_reload() reads the files again; connections that stand keep what they
 * began with. TLS 1.2 and newer with forward secrecy, no renegotiation, no compression, ALPN
 * "http/1.1". The accepting side gives tickets, except where it asks for certificates of clients,
 * and forgets their keys with each reload, which happens at least twice a day.
 *
 * Opened, reloaded and freed on one thread, used on any. It must outlive its streams.
 */
#ifndef GV_NET_TLS_H
#define GV_NET_TLS_H

#include "grapevine/base/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GV_TLS_TROUBLE_BYTES 256 /* of a sentence that says what is wrong, with NUL */

struct gv_tls;

enum gv_tls_side {
    GV_TLS_ACCEPTING = 0,
    GV_TLS_CONNECTING
};

/* Must a client show a certificate that `ca_paths` vouches for? */
enum gv_tls_proof {
    GV_TLS_PROOF_NONE = 0,
    GV_TLS_PROOF_OPTIONAL, /* it may show none, but not a bad one */
    GV_TLS_PROOF_REQUIRED
};

/* All borrowed for the life of the gv_tls. */
struct gv_tls_options {
    const char *name; /* "clients", "workers", ...: whom we speak to, in logs and metrics */
    enum gv_tls_side side;
    const char *cert_path; /* PEM: our certificate, then those that vouch for it; connecting side:
                              NULL or "" for none */
    const char *key_path;  /* PEM, without a passphrase */
    char *const *ca_paths; /* PEM: whom we trust; connecting side: none means the system's */
    size_t ca_count;
    enum gv_tls_proof proof;             /* accepting side */
    uint64_t handshake_timeout_ms;       /* 0: the owner of the stream watches the time */
    uint32_t handshakes_max;             /* under way at a time; more are reset; 0: no limit */
    uint32_t handshakes_per_address_max; /* the same of one peer; an IPv6 one by its /64 */
    const char *plain_answer;            /* accepting side: for who speaks plain HTTP; NULL: none */
};

/**
 * Read the files. Errors, with a sentence in `trouble`: GV_ENOTFOUND a file is not there; GV_EAUTH
 * not readable; GV_EINVAL not what it should be, or certificate and key do not fit; GV_ENOMEM.
 */
GV_MUST_USE enum gv_err gv_tls_open(const struct gv_tls_options *options, struct gv_tls **tls,
                                    char trouble[GV_TLS_TROUBLE_BYTES]);

/**
 * Read the files again if they have changed or half a day has passed; with `forced` in any case.
 * What cannot be used changes nothing: the old goes on, which is logged once and shown by
 * gv_tls_files_bad until the files are good. Blocks for as long as reading files takes.
 */
void gv_tls_reload(struct gv_tls *tls, bool forced);

/** No stream uses it any more. NULL is fine. */
void gv_tls_free(struct gv_tls *tls);

#endif
