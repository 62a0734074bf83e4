/*
 * How much of a trie a worker keeps: what its engine tells in tokens, times the bytes that a token
 * is there, by what all nodes have seen. All nodes must come to the same number.
 */
#include "../../../src/cluster/shell.h"
#include "support/suite.h"

#include <stdio.h>
#include <string.h>

#define WORKER      "http://10.1.1.1:8000"
#define OTHER       "http://10.1.1.2:8000"
#define BLOCK_BYTES 64
#define MOST        100000 /* blocks that --max-tree-size allows */
#define DEFAULT     777    /* of the forest, for a worker of which nothing is told */

static struct gv_cluster cluster;
static struct gv_config config;

static void begin(void)
{
    struct gv_forest_limits limits = {
        .max_bytes = 1 << 20, .max_keys = 8, .worker_blocks = DEFAULT, .max_ahead_s = 60};
    memset(&cluster, 0, sizeof cluster);
    memset(&config, 0, sizeof config);
    config.block_bytes = BLOCK_BYTES;
    config.max_tree_bytes = (uint64_t)MOST * BLOCK_BYTES;
    cluster.options.config = &config;
    CU_ASSERT_EQUAL_FATAL(gv_fleet_new(&cluster.options.fleet), GV_OK);
    CU_ASSERT_EQUAL_FATAL(gv_load_new(&cluster.options.load), GV_OK);
    CU_ASSERT_EQUAL_FATAL(gv_forest_new(limits, &cluster.options.forest), GV_OK);
    (void)snprintf(cluster.node, sizeof cluster.node, "here");
    gv_absorb_open(&cluster);
    CU_ASSERT_EQUAL_FATAL(gv_hearsay_open(&cluster), GV_OK);
    CU_ASSERT_EQUAL_FATAL(gv_capacity_open(&cluster), GV_OK);
}

static void end(void)
{
    gv_capacity_free(&cluster);
    gv_hearsay_free(&cluster);
    gv_absorb_free(&cluster);
    gv_forest_free(cluster.options.forest);
    gv_load_free(cluster.options.load);
    gv_fleet_free(cluster.options.fleet);
}

static uint32_t put(const char *url, const char *model, uint64_t tokens)
{
    struct gv_worker worker = {.bootstrap_port = -1, .capacity_tokens = tokens, .model_count = 1};
    uint32_t index;
    (void)snprintf(worker.url, sizeof worker.url, "%s", url);
    (void)snprintf(worker.models[0], sizeof worker.models[0], "%s", model);
    CU_ASSERT_EQUAL_FATAL(gv_fleet_put(cluster.options.fleet, &worker), GV_OK);
    CU_ASSERT_EQUAL_FATAL(gv_fleet_index(cluster.options.fleet, gv_slice_text(url), &index), GV_OK);
    return index;
}

static uint64_t share(uint32_t index)
{
    cluster.publish.fleet_version = 0; /* look now, not in a second */
    gv_capacity_set(&cluster);
    return gv_forest_worker_capacity(cluster.options.forest, index);
}

/* Without prompts to learn from a token is four bytes; and --max-tree-size is the most. */
static void a_share_is_what_the_engine_tells_up_to_the_largest_tree(void)
{
    begin();
    CU_ASSERT_EQUAL(share(put(WORKER, "m", 0)), DEFAULT);
    CU_ASSERT_EQUAL(share(put(WORKER, "m", 16000)), 1000);
    CU_ASSERT_EQUAL(share(put(WORKER, "m", 1)), 1); /* 0 would be the default */
    CU_ASSERT_EQUAL(share(put(WORKER, "m", (uint64_t)MOST * 16 - 16)), MOST - 1);
    CU_ASSERT_EQUAL(share(put(WORKER, "m", (uint64_t)MOST * 16 + 16)), MOST);
    CU_ASSERT_EQUAL(share(put(WORKER, "m", UINT64_MAX)), MOST);
    end();
}

/* Both sides of the tokens that are trusted, and of the least and the most that a token may be. */
static void what_a_token_is_follows_from_prompts_that_were_counted(void)
{
    static const struct {
        uint64_t bytes, tokens, blocks;
    } rows[] = {{3998, 1999, 1000}, {4000, 2000, 500},   {16000, 2000, 2000}, {8249, 2000, 1031},
                {8251, 2000, 1031}, {8400, 2000, 1062},  {900, 2000, 125},    {2000, 4000, 125},
                {2400, 4000, 156},  {64000, 4000, 4000}, {63400, 4000, 3968}, {640000, 4000, 4000}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        begin();
        uint32_t index = put(WORKER, "m", 16000);
        gv_load_note_prompt(cluster.options.load, index, rows[i].bytes, rows[i].tokens);
        CU_ASSERT_EQUAL(share(index), rows[i].blocks);
        end();
    }
}

/* What another node saw counts as our own, and what was seen at one worker for all of its model. */
static void all_nodes_and_all_workers_of_a_model_teach_what_a_token_is(void)
{
    struct gv_gossip_load said = {
        .worker = gv_slice_text(OTHER), .count = 1, .prompt_bytes = 2000, .prompt_tokens = 1000};
    begin();
    uint32_t index = put(WORKER, "m", 16000);
    uint32_t of_another = put("http://10.1.1.3:8000", "n", 16000);
    (void)put(OTHER, "m", 0);
    gv_load_note_prompt(cluster.options.load, index, 2000, 1000);
    CU_ASSERT_EQUAL(share(index), 1000); /* too few tokens alone */
    gv_hearsay_load(&cluster, "x", &said);
    CU_ASSERT_EQUAL(share(index), 500);
    CU_ASSERT_EQUAL(share(of_another), 1000);
    gv_hearsay_vanish(&cluster, "x");
    CU_ASSERT_EQUAL(share(index), 1000);
    end();
}

GV_SUITE("cluster/capacity", GV_CASE(a_share_is_what_the_engine_tells_up_to_the_largest_tree),
         GV_CASE(what_a_token_is_follows_from_prompts_that_were_counted),
         GV_CASE(all_nodes_and_all_workers_of_a_model_teach_what_a_token_is))
