/*
 * identity.h - the key pair by which a node proves that it is the one that spoke before (Ed25519).
 *
 * Random per start, or kept in a file of the state folder. The secret half is locked in memory,
 * wiped on free, and never leaves this folder. Unchanged after it was made; any thread may sign.
 */
#ifndef GV_SEAL_IDENTITY_H
#define GV_SEAL_IDENTITY_H

#include "grapevine/base/err.h"
#include "grapevine/base/slice.h"

#define GV_IDENTITY_BYTES  32 /* the public half */
#define GV_SIGNATURE_BYTES 64

struct gv_identity;

/** A random pair, owned by the caller; NULL out of memory. */
GV_MUST_USE struct gv_identity *gv_identity_new(void);

/** Wipe and free; NULL is fine. */
void gv_identity_free(struct gv_identity *identity);

/**
 * Read the pair from the file at `path`, or make one and write it there (mode 0600, by rename).
 *
 * Errors: GV_EREFUSED other users may read the file; GV_EINVAL it is no identity file; GV_EIO;
 *         GV_ENOMEM.
 */
GV_MUST_USE enum gv_err gv_identity_load(const char *path, struct gv_identity **identity);

/** The public half; borrowed, GV_IDENTITY_BYTES long. */
const uint8_t *gv_identity_public(const struct gv_identity *identity);

/** Sign. The same message always gives the same signature. */
void gv_identity_sign(const struct gv_identity *identity, struct gv_slice message,
                      uint8_t signature[GV_SIGNATURE_BYTES]);

/** Did the owner of the public half `who` sign `message`? Errors: GV_EAUTH. */
GV_MUST_USE enum gv_err gv_identity_verify(const uint8_t who[GV_IDENTITY_BYTES],
                                           struct gv_slice message,
                                           const uint8_t signature[GV_SIGNATURE_BYTES]);

#endif
