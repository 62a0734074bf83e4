/*
 * fingerprint.h - a prompt becomes a chain of 64-bit names of its prefixes.
 *
 * Blocks of block_bytes; the last, partial block counts as its own block. Each block is hashed
 * alone (XXH3-64 with a secret; Collet) and folded into the chain by one 64x64->128 multiply, so
 * that fingerprint i names the whole prefix of i + 1 blocks. The chain starts from the key
 * "pool::model", so equal prompts in different pools have nothing in common. Equal on all nodes
 * that share the cluster secret. Pure.
 */
#ifndef GV_ROUTE_FINGERPRINT_H
#define GV_ROUTE_FINGERPRINT_H

#include "grapevine/base/slice.h"

#define GV_FINGERPRINTS_MAX 65536 /* blocks of a prompt that are used */

struct gv_fingerprint_secret {
    uint8_t bytes[192]; /* XXH3 secret */
};

/** Derive the hashing secret from 32 bytes of the cluster key (or zeros for a lone node). */
void gv_fingerprint_secret_init(struct gv_fingerprint_secret *secret, const uint8_t key[32]);

/**
 * Fill `chain` (room for `max_count`) with the fingerprints of `prompt` under `key`; returns how
 * many: ceil(len / block_bytes), at most max_count. block_bytes >= 16. A fingerprint is never 0.
 */
uint32_t gv_fingerprint_chain(const struct gv_fingerprint_secret *secret, const char *key,
                              struct gv_slice prompt, uint32_t block_bytes, uint64_t *chain,
                              uint32_t max_count);

/** A mixed hash of (fingerprint, worker URL), for rendezvous choices (Thaler, Ravishankar 1996). */
uint64_t gv_fingerprint_rendezvous(uint64_t fingerprint, struct gv_slice worker_url);

#endif
