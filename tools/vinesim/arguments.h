/*
 * arguments.h - what one call of vinesim was asked for.
 */
#ifndef VINESIM_ARGUMENTS_H
#define VINESIM_ARGUMENTS_H

#include "rivals.h"
#include "weather.h"

#define JOBS_MAX 64

struct arguments {
    struct weather_options weather;
    uint64_t first, last;
    uint32_t jobs;
    bool repeat, report, is_long;
    enum rival rival;
    const char *trace, *golden, *faults;
};

#endif
