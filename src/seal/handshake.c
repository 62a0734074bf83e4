/*
 * handshake.c - openings, transcript, keys and confirms.
 */
#include "handshake.h"

#define HEADER_BYTES crypto_secretstream_xchacha20poly1305_HEADERBYTES
#define TAG_BYTES    crypto_aead_xchacha20poly1305_ietf_ABYTES
#define SIGNED_BYTES (sizeof signed_label + 1 + GV_TRANSCRIPT_BYTES)

static const char magic[8] = {'g', 'v', 'i', 'n', 'e', '\r', '\n', '\0'};
static const char signed_label[] = "grapevine session confirm 1";

_Static_assert(GV_CONFIRM_MAX_BYTES == GV_SIGNATURE_BYTES + HEADER_BYTES + TAG_BYTES, "a confirm");

enum gv_err gv_opening_encode(const struct gv_opening *opening, struct gv_buf *out)
{
    GV_ASSERT(opening->key_count <= GV_KEYRING_KEYS_MAX);
    GV_ASSERT(opening->hello.len <= GV_SESSION_HELLO_MAX);
    uint8_t bytes[GV_OPENING_MAX_BYTES];
    memcpy(bytes, magic, sizeof magic);
    gv_seal_put_u16(bytes + 8, opening->version);
    bytes[10] = (uint8_t)opening->role;
    bytes[11] = (uint8_t)opening->key_count;
    size_t at = 12;
    for (size_t i = 0; i < opening->key_count; i++) {
        memcpy(bytes + at, opening->keys[i].bytes, GV_KEY_ID_BYTES);
        at += GV_KEY_ID_BYTES;
    }
    memcpy(bytes + at, opening->ephemeral, sizeof opening->ephemeral);
    at += sizeof opening->ephemeral;
    memcpy(bytes + at, opening->identity, sizeof opening->identity);
    at += sizeof opening->identity;
    gv_seal_put_u16(bytes + at, (uint16_t)opening->hello.len);
    at += 2;
    if (opening->hello.len > 0) {
        memcpy(bytes + at, opening->hello.data, opening->hello.len);
    }
    return gv_buf_append(out, gv_slice_of(bytes, at + opening->hello.len));
}

/* Take `bytes` off the front of `rest`, or NULL when there are fewer. */
static const uint8_t *take(struct gv_slice *rest, size_t bytes)
{
    if (rest->len < bytes) {
        return NULL;
    }
    const uint8_t *taken = rest->data;
    *rest = gv_slice_of(rest->data + bytes, rest->len - bytes);
    return taken;
}

/* Everything behind the version. */
static enum gv_err decode_rest(struct gv_slice rest, struct gv_opening *opening)
{
    const uint8_t *head = take(&rest, 2);
    if (head == NULL || head[0] > GV_SESSION_ACCEPTOR || head[1] > GV_KEYRING_KEYS_MAX) {
        return GV_EPROTO;
    }
    opening->role = (enum gv_session_role)head[0];
    opening->key_count = head[1];
    for (size_t i = 0; i < opening->key_count; i++) {
        const uint8_t *id = take(&rest, GV_KEY_ID_BYTES);
        if (id == NULL) {
            return GV_EPROTO;
        }
        memcpy(opening->keys[i].bytes, id, GV_KEY_ID_BYTES);
        if (gv_key_id_is_none(opening->keys[i])) {
            return GV_EPROTO;
        }
    }
    const uint8_t *ephemeral = take(&rest, sizeof opening->ephemeral);
    const uint8_t *identity = take(&rest, sizeof opening->identity);
    const uint8_t *hello_len = take(&rest, 2);
    if (ephemeral == NULL || identity == NULL || hello_len == NULL ||
        rest.len != gv_seal_get_u16(hello_len) || rest.len > GV_SESSION_HELLO_MAX) {
        return GV_EPROTO;
    }
    memcpy(opening->ephemeral, ephemeral, sizeof opening->ephemeral);
    memcpy(opening->identity, identity, sizeof opening->identity);
    opening->hello = rest;
    return GV_OK;
}

enum gv_err gv_opening_decode(struct gv_slice bytes, struct gv_opening *opening)
{
    *opening = (struct gv_opening){.version = 0};
    const uint8_t *start = take(&bytes, sizeof magic);
    const uint8_t *version = take(&bytes, 2);
    if (start == NULL || version == NULL || memcmp(start, magic, sizeof magic) != 0) {
        return GV_EPROTO;
    }
    opening->version = gv_seal_get_u16(version);
    return opening->version == GV_SESSION_VERSION ? decode_rest(bytes, opening) : GV_OK;
}

void gv_handshake_transcript(struct gv_slice initiator, struct gv_slice acceptor,
                             uint8_t transcript[GV_TRANSCRIPT_BYTES])
{
    static const char label[] = "grapevine session transcript 1";
    const struct gv_slice openings[] = {initiator, acceptor};
    crypto_generichash_state state;
    GV_ASSERT(crypto_generichash_init(&state, NULL, 0, GV_TRANSCRIPT_BYTES) == 0);
    GV_ASSERT(crypto_generichash_update(&state, (const uint8_t *)label, sizeof label) == 0);
    for (size_t i = 0; i < 2; i++) {
        uint8_t len[8];
        gv_seal_put_u64(len, openings[i].len);
        GV_ASSERT(crypto_generichash_update(&state, len, sizeof len) == 0);
        GV_ASSERT(crypto_generichash_update(&state, openings[i].data, openings[i].len) == 0);
    }
    GV_ASSERT(crypto_generichash_final(&state, transcript, GV_TRANSCRIPT_BYTES) == 0);
}

static void derive_one(const uint8_t master[32], const char *label, unsigned role, uint8_t key[32])
{
    uint8_t message[16] = {0};
    GV_ASSERT(gv_slice_copy_text(gv_slice_text(label), (char *)message, sizeof message - 1));
    message[sizeof message - 1] = (uint8_t)role;
    GV_ASSERT(crypto_generichash(key, 32, message, sizeof message, master, 32) == 0);
}

enum gv_err gv_handshake_derive(struct gv_session_keys *keys,
                                const uint8_t cluster_key[GV_KEY_BYTES],
                                const uint8_t own_secret[crypto_scalarmult_SCALARBYTES],
                                const uint8_t peer_public[crypto_scalarmult_BYTES])
{
    uint8_t mixed[crypto_scalarmult_BYTES + GV_TRANSCRIPT_BYTES];
    uint8_t master[32];
    if (crypto_scalarmult(mixed, own_secret, peer_public) != 0) {
        sodium_memzero(mixed, sizeof mixed);
        return GV_EAUTH;
    }
    memcpy(mixed + crypto_scalarmult_BYTES, keys->transcript, GV_TRANSCRIPT_BYTES);
    GV_ASSERT(crypto_generichash(master, sizeof master, mixed, sizeof mixed, cluster_key,
                                 GV_KEY_BYTES) == 0);
    for (unsigned role = 0; role < 2; role++) {
        derive_one(master, "confirm", role, keys->confirm[role]);
        derive_one(master, "stream", role, keys->stream[role]);
    }
    sodium_memzero(mixed, sizeof mixed);
    sodium_memzero(master, sizeof master);
    return GV_OK;
}

/* What a side signs: a label, its role and both openings. */
static struct gv_slice signed_text(const struct gv_session_keys *keys, enum gv_session_role role,
                                   uint8_t text[SIGNED_BYTES])
{
    memcpy(text, signed_label, sizeof signed_label);
    text[sizeof signed_label] = (uint8_t)role;
    memcpy(text + sizeof signed_label + 1, keys->transcript, GV_TRANSCRIPT_BYTES);
    return gv_slice_of(text, SIGNED_BYTES);
}

/* Each confirm key seals exactly one message, so that a nonce of zeros is never used twice. */
static const uint8_t zero_nonce[crypto_aead_xchacha20poly1305_ietf_NPUBBYTES];

size_t gv_confirm_encode(const struct gv_session_keys *keys, enum gv_session_role role,
                         const struct gv_identity *identity, const uint8_t *header,
                         uint8_t out[GV_CONFIRM_MAX_BYTES])
{
    uint8_t text[SIGNED_BYTES];
    uint8_t plain[GV_SIGNATURE_BYTES + HEADER_BYTES];
    gv_identity_sign(identity, signed_text(keys, role, text), plain);
    if (header == NULL) {
        memcpy(out, plain, GV_SIGNATURE_BYTES);
        return GV_SIGNATURE_BYTES;
    }
    memcpy(plain + GV_SIGNATURE_BYTES, header, HEADER_BYTES);
    GV_ASSERT(crypto_aead_xchacha20poly1305_ietf_encrypt(
                  out, NULL, plain, sizeof plain, keys->transcript, GV_TRANSCRIPT_BYTES, NULL,
                  zero_nonce, keys->confirm[role]) == 0);
    return GV_CONFIRM_MAX_BYTES;
}

enum gv_err gv_confirm_decode(const struct gv_session_keys *keys, enum gv_session_role role,
                              const uint8_t identity[GV_IDENTITY_BYTES], struct gv_slice bytes,
                              uint8_t *header)
{
    uint8_t text[SIGNED_BYTES];
    uint8_t plain[GV_SIGNATURE_BYTES + HEADER_BYTES];
    if (bytes.len != (header == NULL ? GV_SIGNATURE_BYTES : GV_CONFIRM_MAX_BYTES)) {
        return GV_EPROTO;
    }
    if (header == NULL) {
        memcpy(plain, bytes.data, GV_SIGNATURE_BYTES);
    } else if (crypto_aead_xchacha20poly1305_ietf_decrypt(plain, NULL, NULL, bytes.data, bytes.len,
                                                          keys->transcript, GV_TRANSCRIPT_BYTES,
                                                          zero_nonce, keys->confirm[role]) != 0) {
        return GV_EAUTH;
    }
    enum gv_err err = gv_identity_verify(identity, signed_text(keys, role, text), plain);
    if (err == GV_OK && header != NULL) {
        memcpy(header, plain + GV_SIGNATURE_BYTES, HEADER_BYTES);
    }
    return err;
}
