/*
 * tally.h - what came of the seeds: counted, told while it goes on and at the end.
 */
#ifndef VINESIM_TALLY_H
#define VINESIM_TALLY_H

#include "arguments.h"

#define SLOW_SEEDS 10 /* that are named at the end */

struct slow_seed {
    uint64_t seed, converged_ms;
};

struct tally {
    uint64_t done, failed, operations, false_deaths, events;
    struct slow_seed slowest[SLOW_SEEDS]; /* the slowest first */
    uint64_t struck[WEATHER_FAULT_COUNT];
    struct gv_hist converged;
};

/** The command that runs a seed alone, with a trace. */
void tally_print_repeat(const struct arguments *arguments, uint64_t seed);
/** One more seed: a line of progress on a terminal, and when it failed why, and what happened. */
void tally_add(const struct arguments *arguments, struct tally *tally,
               const struct weather_verdict *verdict);
/** The sum of all. */
void tally_print(const struct tally *tally);

#endif
