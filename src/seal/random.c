/*
 * random.c - libsodium's generator, under our name.
 */
#include "grapevine/seal/random.h"
#include "seal.h"

void gv_random_fill(void *where, size_t bytes)
{
    gv_seal_ready();
    randombytes_buf(where, bytes);
}

uint64_t gv_random_u64(void)
{
    uint64_t number;
    gv_random_fill(&number, sizeof number);
    return number;
}
