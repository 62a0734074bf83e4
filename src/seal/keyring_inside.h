/*
 * keyring_inside.h - what a key ring is made of; for keyring.c and keyring_file.c only.
 */
#ifndef GV_SEAL_KEYRING_INSIDE_H
#define GV_SEAL_KEYRING_INSIDE_H

#include "grapevine/seal/keyring.h"

struct gv_key {
    struct gv_key_id id;
    uint8_t secret[GV_KEY_BYTES];
};

/* Lies in guarded, locked memory of libsodium. */
struct gv_keyring {
    struct gv_key keys[GV_KEYRING_KEYS_MAX];
    size_t count;
    size_t active;        /* index; meaningful when count > 0 */
    bool has_fingerprint; /* the first key was removed; this is what was derived from it */
    uint8_t fingerprint[GV_KEY_BYTES];
};

/** The id that belongs to a secret. */
struct gv_key_id gv_key_id_of(const uint8_t secret[GV_KEY_BYTES]);

/** Add a key. Errors: GV_EFULL, GV_EEXISTS. */
GV_MUST_USE enum gv_err gv_keyring_add(struct gv_keyring *ring, const uint8_t secret[GV_KEY_BYTES]);

#endif
