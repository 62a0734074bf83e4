/*
 * forest_stage.h - one forest with the usual limits, a path of eight blocks, and how deep it is
 * held.
 *
 * For the tests of forests, each of which is a program of its own.
 */
#ifndef GV_TESTS_UNIT_ROUTE_FOREST_STAGE_H
#define GV_TESTS_UNIT_ROUTE_FOREST_STAGE_H

#include "grapevine/route/forest.h"
#include "support/suite.h"

#include <string.h>

#define WALL(seconds) ((GV_STAMP_EPOCH_S + (seconds)) * 1000)
#define KEY           "regular::m"

static inline struct gv_forest *forest_of(size_t max_bytes)
{
    struct gv_forest *forest = NULL;
    struct gv_forest_limits limits = {.max_bytes = max_bytes,
                                      .touch_interval_s = 5,
                                      .max_keys = 8,
                                      .worker_blocks = UINT64_MAX,
                                      .min_age_s = 10,
                                      .max_ahead_s = 60};
    CU_ASSERT_EQUAL_FATAL(gv_forest_new(limits, &forest), GV_OK);
    return forest;
}

static inline uint32_t depth_of(struct gv_forest *forest, const char *key, const uint64_t *chain,
                                uint32_t count, uint32_t worker)
{
    uint32_t depth = 77;
    gv_forest_match(forest, key, chain, count, &worker, 1, &depth);
    return depth;
}

static const uint64_t path[8] = {11, 12, 13, 14, 15, 16, 17, 18};

#endif
