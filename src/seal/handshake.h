/*
 * handshake.h - the opening and the confirm of a session as bytes, and the keys made from them.
 * For session.c only.
 *
 *     opening: magic 8 | version 2 | role 1 | key count 1 | key ids 8 each, active first
 *              | ephemeral 32 | identity 32 | hello length 2 | hello
 *     confirm: keyed: sealed (signature 64 | secretstream header 24) and tag 16; keyless: signature
 */
#ifndef GV_SEAL_HANDSHAKE_H
#define GV_SEAL_HANDSHAKE_H

#include "grapevine/seal/session.h"
#include "seal.h"

#define GV_OPENING_MAX_BYTES (8 + 2 + 2 + 8 * GV_KEYRING_KEYS_MAX + 64 + 2 + GV_SESSION_HELLO_MAX)
#define GV_CONFIRM_MAX_BYTES (64 + 24 + 16)
#define GV_TRANSCRIPT_BYTES  32

/** An opening taken apart; `hello` borrowed from the bytes. */
struct gv_opening {
    uint16_t version;
    enum gv_session_role role;
    struct gv_key_id keys[GV_KEYRING_KEYS_MAX]; /* active first */
    size_t key_count;
    uint8_t ephemeral[crypto_scalarmult_BYTES];
    uint8_t identity[GV_IDENTITY_BYTES];
    struct gv_slice hello;
};

/** What both sides make from both openings. Secret; wiped by the session. */
struct gv_session_keys {
    uint8_t transcript[GV_TRANSCRIPT_BYTES];
    uint8_t confirm[2][32]; /* by role of the sender */
    uint8_t stream[2][32];  /* by role of the sender */
};

/** Append the opening. Errors: those of gv_buf_append(). */
GV_MUST_USE enum gv_err gv_opening_encode(const struct gv_opening *opening, struct gv_buf *out);

/**
 * Take an opening apart. Of another protocol version only the version is read, and GV_OK returned.
 * Errors: GV_EPROTO.
 */
GV_MUST_USE enum gv_err gv_opening_decode(struct gv_slice bytes, struct gv_opening *opening);

/** The hash of both openings, the initiator's first. */
void gv_handshake_transcript(struct gv_slice initiator, struct gv_slice acceptor,
                             uint8_t transcript[GV_TRANSCRIPT_BYTES]);

/**
 * Make the keys; `keys->transcript` is already there.
 * Errors: GV_EAUTH the peer's ephemeral key is degenerate.
 */
GV_MUST_USE enum gv_err gv_handshake_derive(struct gv_session_keys *keys,
                                            const uint8_t cluster_key[GV_KEY_BYTES],
                                            const uint8_t own_secret[crypto_scalarmult_SCALARBYTES],
                                            const uint8_t peer_public[crypto_scalarmult_BYTES]);

/**
 * Write the confirm of the side `role` to `out`; returns its length. `header` is the start of its
 * secretstream, NULL when keyless.
 */
size_t gv_confirm_encode(const struct gv_session_keys *keys, enum gv_session_role role,
                         const struct gv_identity *identity, const uint8_t *header,
                         uint8_t out[GV_CONFIRM_MAX_BYTES]);

/**
 * Check the confirm of the side `role`; keyed when `header` is not NULL, and fills it.
 * Errors: GV_EPROTO wrong length; GV_EAUTH wrong key or wrong signature.
 */
GV_MUST_USE enum gv_err gv_confirm_decode(const struct gv_session_keys *keys,
                                          enum gv_session_role role,
                                          const uint8_t identity[GV_IDENTITY_BYTES],
                                          struct gv_slice bytes, uint8_t *header);

#endif
