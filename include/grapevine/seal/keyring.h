/*
 * keyring.h - the cluster's secret keys, and everything that is derived from them.
 *
 * A ring holds up to 16 keys of 32 bytes, one of them active. What is sent is sealed under the
 * active key; what comes in may be under any key of the ring. That is how a key is rotated without
 * downtime: add the new key everywhere, make it active everywhere, remove the old one everywhere.
 *
 * A key is named by its id, 8 bytes of a hash that tell nothing about it and may be logged. The key
 * bytes themselves never leave this folder: others ask for derived keys, for one purpose each.
 *
 * The file is text, one key a line, of mode 0600 or stricter:
 *
 *     # made by vinectl keys generate
 *     key 1f0c...(16 hex digits) 3q2+7w...(base64 of 32 bytes) active
 *     key 93ab... ...
 *     fingerprint 8sZk...(base64 of 32 bytes; only when the first key was removed)
 *
 * The memory is locked and wiped where the system allows. One thread, or unchanged and many.
 */
#ifndef GV_SEAL_KEYRING_H
#define GV_SEAL_KEYRING_H

#include "grapevine/base/buf.h"
#include "grapevine/base/err.h"
#include "grapevine/base/slice.h"

#define GV_KEY_BYTES          32
#define GV_KEY_ID_BYTES       8
#define GV_KEY_ID_TEXT_BYTES  17 /* 16 hex digits and a NUL */
#define GV_KEYRING_KEYS_MAX   16
#define GV_KEY_SEALED_BYTES   88 /* a key on its way: ids 16, nonce 24, key 32, tag 16 */
#define GV_KEY_SEALED_TEXT    (2 * GV_KEY_SEALED_BYTES + 1) /* in hex, with its NUL */
#define GV_KEYRING_FILE_BYTES (16 * 1024)                   /* a longer file is refused */

/** All zeros stands for "no key": a keyless node. */
struct gv_key_id {
    uint8_t bytes[GV_KEY_ID_BYTES];
};

/** What a derived key is for; keys for different purposes tell nothing about each other. */
enum gv_key_purpose {
    GV_KEY_FINGERPRINT = 0, /* the seed of prompt fingerprints */
    GV_KEY_TRANSFER,        /* keys that are installed; context: the new key's id */
    GV_KEY_SESSION,         /* sessions between nodes (session.h) */
    GV_KEY_PACKET           /* datagrams (packet.h); context: the sender's boot id */
};

/** Why a file was refused, for the message to the operator. */
struct gv_keyring_fault {
    unsigned line;    /* 0: the file as a whole */
    const char *text; /* static; says how to mend it where that is not plain */
};

struct gv_keyring;

/** "1f0c..." for an id; "none" for zeros. Returns `text`. */
const char *gv_key_id_format(struct gv_key_id id, char text[GV_KEY_ID_TEXT_BYTES]);

/** Read 16 hex digits. Errors: GV_EINVAL. */
GV_MUST_USE enum gv_err gv_key_id_parse(struct gv_slice text, struct gv_key_id *id);

bool gv_key_id_equal(struct gv_key_id a, struct gv_key_id b);

/** Is it the "no key" of a keyless node? */
bool gv_key_id_is_none(struct gv_key_id id);

/** An empty ring, owned by the caller; NULL out of memory. */
GV_MUST_USE struct gv_keyring *gv_keyring_new(void);

/** Wipe and free; NULL is fine. */
void gv_keyring_free(struct gv_keyring *ring);

/**
 * Read the file at `path` into a new ring. On failure `*fault` says why.
 *
 * Errors: GV_ENOTFOUND no such file; GV_EIO cannot be read; GV_EREFUSED other users may read or
 *         write it; GV_ETOOBIG longer than GV_KEYRING_FILE_BYTES; GV_ENOMEM; and those of
 *         gv_keyring_parse().
 */
GV_MUST_USE enum gv_err gv_keyring_load(const char *path, struct gv_keyring **ring,
                                        struct gv_keyring_fault *fault);

/**
 * Read the text of a file into a new ring.
 *
 * Errors: GV_EINVAL a line is wrong, an id does not belong to its key, or not exactly one key is
 *         active; GV_EEXISTS a key twice; GV_EFULL over 16 keys; GV_ENOMEM.
 */
GV_MUST_USE enum gv_err gv_keyring_parse(struct gv_slice text, struct gv_keyring **ring,
                                         struct gv_keyring_fault *fault);

/** A copy, owned by the caller; NULL out of memory. */
GV_MUST_USE struct gv_keyring *gv_keyring_clone(const struct gv_keyring *ring);

/** Make `ring` hold what `from` holds; what it held is wiped. */
void gv_keyring_assign(struct gv_keyring *ring, const struct gv_keyring *from);

/**
 * The seed of prompt fingerprints: derived from the first key there ever was, and kept when that
 * key is removed, so that no rotation makes cached prompts unknown. Errors: GV_ENOTFOUND empty.
 */
GV_MUST_USE enum gv_err gv_keyring_fingerprint(const struct gv_keyring *ring,
                                               uint8_t seed[GV_KEY_BYTES]);

/** An id of that seed, by which two rings can be compared; zeros for NULL or an empty ring. */
struct gv_key_id gv_keyring_fingerprint_id(const struct gv_keyring *ring);

/**
 * Seal the key `id` of `from` for nodes that hold the active key of `under`; `sealed` is hex text.
 * Errors: GV_ENOTFOUND no such key, or `under` is empty.
 */
GV_MUST_USE enum gv_err gv_keyring_seal_key(const struct gv_keyring *from, struct gv_key_id id,
                                            const struct gv_keyring *under,
                                            char sealed[GV_KEY_SEALED_TEXT]);

/**
 * Open a sealed key and add it, not active. `*id` is filled in unless GV_EINVAL.
 * Errors: GV_EINVAL it is no sealed key; GV_ENOTFOUND sealed under a key that is not in the ring;
 *         GV_EAUTH damaged or forged; GV_EEXISTS; GV_EFULL.
 */
GV_MUST_USE enum gv_err gv_keyring_open_key(struct gv_keyring *ring, struct gv_slice sealed,
                                            struct gv_key_id *id);

/** Append the text of a file: secret bytes; reset `out` with gv_keyring_wipe(). Errors: as buf. */
GV_MUST_USE enum gv_err gv_keyring_format(const struct gv_keyring *ring, struct gv_buf *out);

/** Overwrite and free a buffer that held secrets. */
void gv_keyring_wipe(struct gv_buf *buf);

/** Write the file anew with mode 0600, all or nothing (a rename). Errors: GV_EIO, GV_ENOMEM. */
GV_MUST_USE enum gv_err gv_keyring_save(const struct gv_keyring *ring, const char *path);

/** Make a random key; the first of a ring is active. Errors: GV_EFULL. */
GV_MUST_USE enum gv_err gv_keyring_generate(struct gv_keyring *ring, struct gv_key_id *id);

/** Make `id` the active key. Errors: GV_ENOTFOUND. */
GV_MUST_USE enum gv_err gv_keyring_use(struct gv_keyring *ring, struct gv_key_id id);

/** Remove and wipe a key. Errors: GV_ENOTFOUND; GV_EREFUSED it is the active one. */
GV_MUST_USE enum gv_err gv_keyring_remove(struct gv_keyring *ring, struct gv_key_id id);

/** How many keys; 0 for NULL, so that NULL stands for "keyless". */
size_t gv_keyring_count(const struct gv_keyring *ring);

/** The id of the key at `index`, in the order of the file. index < count. */
struct gv_key_id gv_keyring_id(const struct gv_keyring *ring, size_t index);

/** Is the key in the ring? false for NULL. */
bool gv_keyring_has(const struct gv_keyring *ring, struct gv_key_id id);

/** The id of the active key; zeros for NULL or an empty ring. */
struct gv_key_id gv_keyring_active(const struct gv_keyring *ring);

/**
 * Derive 32 bytes from a key. `context` (at most 64 bytes, may be empty) makes several keys for one
 * purpose. Equal on all nodes that hold the key. Errors: GV_ENOTFOUND no such key.
 */
GV_MUST_USE enum gv_err gv_keyring_derive(const struct gv_keyring *ring, struct gv_key_id id,
                                          enum gv_key_purpose purpose, struct gv_slice context,
                                          uint8_t key[GV_KEY_BYTES]);

#endif
