/*
 * chain.h - the chain of fingerprint.h, once more for each set of instructions it is compiled for.
 *
 * Private to fingerprint.c and fingerprint_avx2.c: whoever includes this gets the hash as his own
 * compiler options make it. The fingerprints are the same, whatever computed them.
 */
#ifndef GV_ROUTE_CHAIN_H
#define GV_ROUTE_CHAIN_H

#include "grapevine/route/fingerprint.h"

#include <xxhash.h>

/* What is asked of gv_fingerprint_chain(). */
struct gv_chain_job {
    const struct gv_fingerprint_secret *secret;
    const char *key;
    struct gv_slice prompt;
    uint32_t block_bytes;
    uint64_t *chain;
    uint32_t max_count;
};

__extension__ typedef unsigned __int128 gv_chain_wide;

static inline uint64_t gv_chain_word(const uint8_t *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

/* The two halves of a 64x64->128 product; not commutative in its use, since each side has its own
 * secret. */
static inline uint64_t gv_chain_fold(uint64_t a, uint64_t b)
{
    gv_chain_wide product = (gv_chain_wide)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/** Do the job; how many fingerprints that were. */
static inline uint32_t gv_chain_fill(const struct gv_chain_job *job)
{
    const uint8_t *secret = job->secret->bytes;
    const size_t secret_bytes = sizeof job->secret->bytes;
    const uint64_t before = gv_chain_word(secret);
    const uint64_t block = gv_chain_word(secret + 8);
    uint64_t name = XXH3_64bits_withSecret(job->key, strlen(job->key), secret, secret_bytes);
    uint32_t count = 0;
    for (size_t at = 0; at < job->prompt.len && count < job->max_count; at += job->block_bytes) {
        size_t left = job->prompt.len - at;
        size_t len = left < job->block_bytes ? left : job->block_bytes;
        uint64_t hash = XXH3_64bits_withSecret(job->prompt.data + at, len, secret, secret_bytes);
        name = gv_chain_fold(name ^ before, hash ^ block);
        if (name == 0) {
            name = 1; /* 0 means "no parent" in operations */
        }
        job->chain[count] = name;
        count++;
    }
    return count;
}

/** gv_chain_fill() for a processor with AVX2. Only where gv_chain_has_avx2(). */
uint32_t gv_chain_fill_avx2(const struct gv_chain_job *job);

/** Has this program gv_chain_fill_avx2(), and can this machine run it? */
bool gv_chain_has_avx2(void);

#endif
