/*
 * prng.h - numbers that look random and repeat from a seed (xoshiro256**, Blackman and Vigna,
 * 2018).
 *
 * Pure code is handed one of these, seeded by the shell. Never for secrets: those come from seal.
 */
#ifndef GV_BASE_PRNG_H
#define GV_BASE_PRNG_H

#include <stddef.h>
#include <stdint.h>

struct gv_prng {
    uint64_t state[4];
};

/** Seed by splitmix64; any seed is good. */
void gv_prng_init(struct gv_prng *prng, uint64_t seed);

/** The next 64 bits. */
uint64_t gv_prng_next(struct gv_prng *prng);

/** Uniform in 0 .. bound - 1, without bias; bound >= 1. */
uint64_t gv_prng_below(struct gv_prng *prng, uint64_t bound);

/** Uniform in [0, 1). */
double gv_prng_unit(struct gv_prng *prng);

#endif
