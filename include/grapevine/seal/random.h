/*
 * random.h - numbers nobody can guess: boot ids, table secrets, seeds for prng.h. Any thread.
 */
#ifndef GV_SEAL_RANDOM_H
#define GV_SEAL_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/** Fill `bytes` bytes at `where`. Cannot fail: without a source of randomness the program ends. */
void gv_random_fill(void *where, size_t bytes);

/** 64 random bits. */
uint64_t gv_random_u64(void);

#endif
