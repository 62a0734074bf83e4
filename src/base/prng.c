/*
 * prng.c - xoshiro256**, seeded by splitmix64.
 */
#include "grapevine/base/prng.h"
#include "grapevine/base/assert.h"

static uint64_t rotate(uint64_t x, unsigned bits)
{
    return (x << bits) | (x >> (64 - bits));
}

void gv_prng_init(struct gv_prng *prng, uint64_t seed)
{
    for (size_t i = 0; i < 4; i++) {
        seed += UINT64_C(0x9e3779b97f4a7c15);
        uint64_t z = seed;
        z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
        prng->state[i] = z ^ (z >> 31);
    }
}

uint64_t gv_prng_next(struct gv_prng *prng)
{
    uint64_t *s = prng->state;
    uint64_t result = rotate(s[1] * 5, 7) * 9;
    uint64_t shifted = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = rotate(s[3], 45);
    return result;
}

uint64_t gv_prng_below(struct gv_prng *prng, uint64_t bound)
{
    GV_ASSERT(bound >= 1);
    uint64_t biased = (UINT64_MAX - bound + 1) % bound; /* 2^64 mod bound */
    uint64_t drawn = gv_prng_next(prng);
    while (drawn < biased) {
        drawn = gv_prng_next(prng);
    }
    return drawn % bound;
}

double gv_prng_unit(struct gv_prng *prng)
{
    return (double)(gv_prng_next(prng) >> 11) * 0x1.0p-53;
}
