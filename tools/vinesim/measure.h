/*
 * measure.h - the figures of the mesh in calm and in small accidents: `vinesim --report`.
 */
#ifndef VINESIM_MEASURE_H
#define VINESIM_MEASURE_H

#include "world.h"

#define MEASURE_ROUNDS 20 /* accidents of a kind */

struct measure {
    uint32_t nodes;
    double loss;
    uint64_t seed;
    const struct gv_gossip_detector *detector; /* NULL: ours */
    bool is_long;                              /* the rows that take minutes, too */
};

/** Measure and print, one line a row; false when a promise was broken. */
bool measure_print(const struct measure *measure);

/** All nodes up and quiet for 8 s; the seed is `round` above the measure's. */
struct world *measure_calm_world(const struct measure *measure, uint64_t round);
/** Free it; false, and a line, when it broke a promise. */
bool measure_end_world(struct world *world);

#endif
