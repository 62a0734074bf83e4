/*
 * measure.h - the figures of the mesh in calm and in small accidents: `vinesim --report`.
 */
#ifndef VINESIM_MEASURE_H
#define VINESIM_MEASURE_H

#include "world.h"

/** Measure a cluster of `nodes` and print; false when it broke a promise. */
bool measure_print(uint32_t nodes, double loss, uint64_t seed);

#endif
