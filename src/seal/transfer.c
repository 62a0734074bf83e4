/*
 * transfer.c - a key on its way into a running node, sealed under a key that the node has.
 *
 *     under 8 | id 8 | nonce 24 | sealed key 32 | tag 16, as hex
 *
 * Both ids are bound in. Who has the key it is sealed under can open it: it hides the new key from
 * the network, not from somebody who took the old one.
 */
#include "keyring_inside.h"
#include "seal.h"

#define AT_ID     8
#define AT_NONCE  16
#define AT_SEALED 40
#define TAG_BYTES crypto_aead_xchacha20poly1305_ietf_ABYTES

_Static_assert(AT_SEALED - AT_NONCE == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES, "the nonce");
_Static_assert(AT_SEALED + GV_KEY_BYTES + TAG_BYTES == GV_KEY_SEALED_BYTES, "a sealed key");

static const struct gv_key *find(const struct gv_keyring *ring, struct gv_key_id id)
{
    for (size_t i = 0; i < ring->count; i++) {
        if (gv_key_id_equal(ring->keys[i].id, id)) {
            return &ring->keys[i];
        }
    }
    return NULL;
}

enum gv_err gv_keyring_seal_key(const struct gv_keyring *from, struct gv_key_id id,
                                const struct gv_keyring *under, char sealed[GV_KEY_SEALED_TEXT])
{
    struct gv_key_id active = gv_keyring_active(under);
    const struct gv_key *key = find(from, id);
    uint8_t bytes[GV_KEY_SEALED_BYTES];
    uint8_t secret[GV_KEY_BYTES];
    gv_seal_ready();
    if (key == NULL || gv_keyring_derive(under, active, GV_KEY_TRANSFER,
                                         gv_slice_of(id.bytes, sizeof id.bytes), secret) != GV_OK) {
        return GV_ENOTFOUND;
    }
    memcpy(bytes, active.bytes, sizeof active.bytes);
    memcpy(bytes + AT_ID, id.bytes, sizeof id.bytes);
    randombytes_buf(bytes + AT_NONCE, AT_SEALED - AT_NONCE);
    GV_ASSERT(crypto_aead_xchacha20poly1305_ietf_encrypt(bytes + AT_SEALED, NULL, key->secret,
                                                         GV_KEY_BYTES, bytes, AT_NONCE, NULL,
                                                         bytes + AT_NONCE, secret) == 0);
    sodium_memzero(secret, sizeof secret);
    (void)sodium_bin2hex(sealed, GV_KEY_SEALED_TEXT, bytes, sizeof bytes);
    return GV_OK;
}

enum gv_err gv_keyring_open_key(struct gv_keyring *ring, struct gv_slice sealed,
                                struct gv_key_id *id)
{
    uint8_t bytes[GV_KEY_SEALED_BYTES];
    uint8_t under[GV_KEY_BYTES];
    uint8_t secret[GV_KEY_BYTES];
    struct gv_key_id under_id;
    size_t len = 0;
    if (sealed.len != 2 * GV_KEY_SEALED_BYTES ||
        sodium_hex2bin(bytes, sizeof bytes, (const char *)sealed.data, sealed.len, NULL, &len,
                       NULL) != 0 ||
        len != sizeof bytes) {
        return GV_EINVAL;
    }
    memcpy(under_id.bytes, bytes, sizeof under_id.bytes);
    memcpy(id->bytes, bytes + AT_ID, sizeof id->bytes);
    if (gv_keyring_derive(ring, under_id, GV_KEY_TRANSFER, gv_slice_of(id->bytes, sizeof id->bytes),
                          under) != GV_OK) {
        return GV_ENOTFOUND;
    }
    enum gv_err err = GV_EAUTH;
    if (crypto_aead_xchacha20poly1305_ietf_decrypt(secret, NULL, NULL, bytes + AT_SEALED,
                                                   GV_KEY_SEALED_BYTES - AT_SEALED, bytes, AT_NONCE,
                                                   bytes + AT_NONCE, under) == 0 &&
        gv_key_id_equal(gv_key_id_of(secret), *id)) {
        err = gv_keyring_add(ring, secret);
    }
    sodium_memzero(under, sizeof under);
    sodium_memzero(secret, sizeof secret);
    return err;
}
