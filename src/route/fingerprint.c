/*
 * fingerprint.c - the keyed chain over the blocks of a prompt: each name folds in the one before
 * it.
 */
#include "grapevine/route/fingerprint.h"

#include "grapevine/base/assert.h"
#include <xxhash.h>

#define BLOCK_BYTES_MIN 16

__extension__ typedef unsigned __int128 wide;

static uint64_t word_at(const uint8_t *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

/* The two halves of a 64x64->128 product; not commutative in its use, since each side has its own
 * secret. */
static uint64_t fold(uint64_t a, uint64_t b)
{
    wide product = (wide)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

void gv_fingerprint_secret_init(struct gv_fingerprint_secret *secret, const uint8_t key[32])
{
    for (size_t i = 0; i < sizeof secret->bytes / sizeof(uint64_t); i++) {
        uint64_t seed = (i + 1) * UINT64_C(0x9E3779B97F4A7C15); /* golden ratio: seeds far apart */
        uint64_t word = XXH3_64bits_withSeed(key, 32, seed);
        memcpy(secret->bytes + i * sizeof word, &word, sizeof word);
    }
}

uint32_t gv_fingerprint_chain(const struct gv_fingerprint_secret *secret, const char *key,
                              struct gv_slice prompt, uint32_t block_bytes, uint64_t *chain,
                              uint32_t max_count)
{
    GV_ASSERT(block_bytes >= BLOCK_BYTES_MIN);
    const uint64_t before = word_at(secret->bytes);
    const uint64_t block = word_at(secret->bytes + 8);
    uint64_t name = XXH3_64bits_withSecret(key, strlen(key), secret->bytes, sizeof secret->bytes);
    uint32_t count = 0;
    for (size_t at = 0; at < prompt.len && count < max_count; at += block_bytes) {
        size_t left = prompt.len - at;
        size_t len = left < block_bytes ? left : block_bytes;
        uint64_t hash =
            XXH3_64bits_withSecret(prompt.data + at, len, secret->bytes, sizeof secret->bytes);
        name = fold(name ^ before, hash ^ block);
        if (name == 0) {
            name = 1; /* 0 means "no parent" in operations */
        }
        chain[count] = name;
        count++;
    }
    return count;
}

uint64_t gv_fingerprint_rendezvous(uint64_t fingerprint, struct gv_slice worker_url)
{
    return XXH3_64bits_withSeed(worker_url.data, worker_url.len, fingerprint);
}
