/*
 * stage.h - some ready workers, a forest, a load table and one policy: what a decision looks at.
 *
 * For the tests of policies, each of which is a program of its own.
 */
#ifndef GV_TESTS_UNIT_ROUTE_STAGE_H
#define GV_TESTS_UNIT_ROUTE_STAGE_H

#include "grapevine/base/prng.h"
#include "grapevine/route/policy.h"
#include "support/suite.h"

#include <stdio.h>
#include <string.h>

#define WALL  ((GV_STAMP_EPOCH_S + 1000) * 1000)
#define FLEET 8

static const struct gv_policy_options usual = {.cache_threshold = 0.3,
                                               .balance_abs_threshold = 64,
                                               .balance_rel_threshold = 1.5,
                                               .load_bound = 1.25,
                                               .block_bytes = 256,
                                               .hash_blocks = 4,
                                               .manual_idle_ms = 1000,
                                               .manual_key_max = 100};

/* Some ready workers, a forest and a load table: all that a decision looks at. */
struct stage {
    struct gv_forest *forest;
    struct gv_load_table *load;
    struct gv_policy *policy;
    const struct gv_worker *eligible[FLEET];
    uint32_t count; /* of eligible */
    struct gv_prng prng;
};

static struct gv_worker workers[FLEET];

static inline struct stage stage_with(const char *name, uint32_t count,
                                      struct gv_policy_options options)
{
    struct stage stage = {.count = count};
    struct gv_forest_limits limits = {.max_bytes = 16 << 20,
                                      .touch_interval_s = 5,
                                      .max_keys = 8,
                                      .worker_blocks = UINT64_MAX,
                                      .min_age_s = 10,
                                      .max_ahead_s = 60};
    CU_ASSERT_EQUAL_FATAL(gv_forest_new(limits, &stage.forest), GV_OK);
    CU_ASSERT_EQUAL_FATAL(gv_load_new(&stage.load), GV_OK);
    CU_ASSERT_EQUAL_FATAL(gv_policy_new(name, options, stage.forest, stage.load, &stage.policy),
                          GV_OK);
    for (uint32_t i = 0; i < FLEET; i++) {
        workers[i].index = i;
        snprintf(workers[i].url, sizeof workers[i].url, "http://10.0.0.%u:8000", i + 1);
        stage.eligible[i] = &workers[i];
    }
    gv_prng_init(&stage.prng, 42);
    return stage;
}

static inline struct stage stage_of(const char *name, uint32_t count)
{
    return stage_with(name, count, usual);
}

static inline void stage_end(struct stage *stage)
{
    gv_policy_free(stage->policy);
    gv_load_free(stage->load);
    gv_forest_free(stage->forest);
}

/* Ask about `request`, whose fleet, random bits and (without others) key are filled in. */
static inline struct gv_decision decide_on(struct stage *stage, struct gv_policy_request request)
{
    struct gv_decision decision = {0};
    request.eligible = request.eligible != NULL ? request.eligible : stage->eligible;
    request.eligible_count = request.eligible_count > 0 ? request.eligible_count : stage->count;
    request.key = request.key != NULL ? request.key : "regular::m";
    request.random = gv_prng_next(&stage->prng);
    gv_policy_decide(stage->policy, &request, &decision);
    return decision;
}

static inline struct gv_decision decide(struct stage *stage, const char *key, const uint64_t *chain,
                                        uint32_t count)
{
    return decide_on(
        stage, (struct gv_policy_request){.key = key,
                                          .chain = chain,
                                          .count = count,
                                          .prompt_bytes = (uint64_t)count * usual.block_bytes});
}

static inline void record(struct stage *stage, const char *key, const uint64_t *chain,
                          uint32_t count, uint32_t worker)
{
    struct gv_operation op;
    (void)gv_forest_record(stage->forest, key, chain, count, worker, WALL, &op);
}

static inline void take(struct stage *stage, uint32_t worker, uint32_t times)
{
    for (uint32_t i = 0; i < times; i++) {
        gv_load_take(stage->load, worker, 0);
    }
}

/* All but the worker at `left`, in order. */
static inline void leave(const struct stage *stage, uint32_t left,
                         const struct gv_worker *rest[FLEET])
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < stage->count; i++) {
        if (i != left) {
            rest[count++] = stage->eligible[i];
        }
    }
}

#endif
