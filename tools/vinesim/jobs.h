/*
 * jobs.h - seeds in processes of their own, several at a time: an assertion that fails ends one of
 * them, and it is told at which seed.
 */
#ifndef VINESIM_JOBS_H
#define VINESIM_JOBS_H

#include "tally.h"

/** Run one seed, twice when asked to: two runs that differ are a failure. */
void jobs_run_seed(const struct arguments *arguments, uint64_t seed,
                   struct weather_verdict *verdict);
/** Run all seeds; they are counted in their order, whoever is faster. A seed whose process ends is
 * told. False: not all have been run. */
bool jobs_run(const struct arguments *arguments, struct tally *tally);

#endif
