/*
 * fingerprint.c - the keyed chain over the blocks of a prompt: each name folds in the one before
 * it.
 */
#include "grapevine/route/fingerprint.h"

#include "chain.h"
#include "grapevine/base/assert.h"

#define BLOCK_BYTES_MIN 16

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
    struct gv_chain_job job = {
        .secret = secret,
        .key = key,
        .prompt = prompt,
        .block_bytes = block_bytes,
        .chain = chain,
        .max_count = max_count,
    };
    return gv_chain_has_avx2() ? gv_chain_fill_avx2(&job) : gv_chain_fill(&job);
}

uint64_t gv_fingerprint_rendezvous(uint64_t fingerprint, struct gv_slice worker_url)
{
    return XXH3_64bits_withSeed(worker_url.data, worker_url.len, fingerprint);
}
