/*
 * cluster.h - the beginning and the end of a story about a whole cluster, and what is asked in
 * between: a calm world of vinesim, all of whose promises hold. For the stories of this folder.
 */
#ifndef GV_TESTS_SCENARIO_CLUSTER_H
#define GV_TESTS_SCENARIO_CLUSTER_H

#include "support/suite.h"
#include "vinesim/world.h"

#include <string.h>

/** All nodes have started, and `ms` have passed. */
static inline struct world *start_cluster(struct world_options options, uint64_t ms)
{
    struct world *world = world_new(&options);
    CU_ASSERT_PTR_NOT_NULL_FATAL(world);
    world_start_all(world);
    world_run(world, ms);
    return world;
}

/** No promise was broken. Frees the world. */
static inline void end(struct world *world)
{
    CU_ASSERT_STRING_EQUAL(world->wrong, "");
    world_free(world);
}

static inline void expect_agreement(struct world *world, uint64_t within_ms)
{
    uint64_t took_ms;
    CU_ASSERT(world_check_converges(world, within_ms, &took_ms));
    CU_ASSERT(world_check_no_gap(world));
    CU_ASSERT(world_check_no_resurrection(world));
}

/** Of the chain of one block `print`, how much does `node` know `worker` to hold? */
static inline uint32_t depth_at(const struct world *world, uint32_t node, uint32_t worker,
                                uint64_t print)
{
    uint32_t depth = 0;
    const char *key = worker % 2 == 0 ? "regular::llama" : "prefill::llama";
    gv_forest_match(world->nodes[node].forest, key, &print, 1, &worker, 1, &depth);
    return depth;
}

/** Do the two claim to have the same? */
static inline bool digests_agree(const struct world *world, uint32_t a, uint32_t b)
{
    uint8_t digests[2][16];
    gv_gossip_digest(world->nodes[a].engine, digests[0]);
    gv_gossip_digest(world->nodes[b].engine, digests[1]);
    return memcmp(digests[0], digests[1], 16) == 0;
}

#endif
