/*
 * What other nodes say of workers: whatever a member says, the words of the others still count, and
 * nothing is kept of what is gone.
 */
#include "../../../src/cluster/shell.h"
#include "../../../src/gossip/machine.h"
#include "grapevine/route/quota.h"
#include "support/suite.h"

#include <stdio.h>
#include <string.h>

#define WORKER "http://10.1.1.1:8000"
#define OTHER  "http://10.1.1.2:8000"

#define MEMBERS_MAX 2048 /* as many as a mesh has */

static struct gv_cluster cluster;
static struct gv_gossip_store store;

static void begin(void)
{
    memset(&cluster, 0, sizeof cluster);
    CU_ASSERT_EQUAL_FATAL(gv_fleet_new(&cluster.options.fleet), GV_OK);
    CU_ASSERT_EQUAL_FATAL(gv_load_new(&cluster.options.load), GV_OK);
    (void)snprintf(cluster.node, sizeof cluster.node, "here");
    gv_absorb_open(&cluster);
    CU_ASSERT_EQUAL_FATAL(gv_hearsay_open(&cluster), GV_OK);
    store = gv_absorb_store(&cluster);
}

static void end(void)
{
    gv_hearsay_free(&cluster);
    gv_absorb_free(&cluster);
    gv_load_free(cluster.options.load);
    gv_fleet_free(cluster.options.fleet);
}

static void say_load(const char *node, uint32_t count, uint64_t number)
{
    struct gv_gossip_load load = {.worker = gv_slice_text(WORKER),
                                  .count = count,
                                  .bytes = number,
                                  .prompt_bytes = number,
                                  .prompt_tokens = number,
                                  .learned = {.prefill_bytes = number,
                                              .prefill_us = number,
                                              .forecasts = number,
                                              .predicted = number,
                                              .reported = number}};
    store.load_changed(&cluster, node, &load);
}

static struct gv_load heard(void)
{
    uint32_t index;
    CU_ASSERT_EQUAL_FATAL(gv_fleet_index(cluster.options.fleet, gv_slice_text(WORKER), &index),
                          GV_OK);
    return gv_load_get(cluster.options.load, index);
}

/* As many as there can be, all saying the most that can be said: the sums only grow. */
static void no_words_make_the_loads_of_others_disappear(void)
{
    char name[GV_NODE_NAME_MAX];
    begin();
    say_load("honest", 5, 700);
    struct gv_load before = heard();
    CU_ASSERT_EQUAL(before.remote_count, 5);
    CU_ASSERT_EQUAL(before.remote_bytes, 700);
    for (uint32_t i = 0; i < MEMBERS_MAX; i++) {
        (void)snprintf(name, sizeof name, "liar%u", (unsigned)i);
        say_load(name, UINT32_MAX, UINT64_MAX);
        struct gv_load now = heard();
        CU_ASSERT(now.remote_count > before.remote_count);
        CU_ASSERT(now.remote_bytes > before.remote_bytes);
        before = now;
    }
    struct gv_load_prompts sums = cluster.hearsay.prompts[0];
    CU_ASSERT(sums.tokens > UINT64_MAX / MEMBERS_MAX / 64);
    for (uint32_t i = 0; i < MEMBERS_MAX; i++) {
        (void)snprintf(name, sizeof name, "liar%u", (unsigned)i);
        say_load(name, 0, 0);
    }
    CU_ASSERT_EQUAL(heard().remote_count, 5);
    CU_ASSERT_EQUAL(heard().remote_bytes, 700);
    end();
}

static void say_health(const char *node, const char *worker, uint64_t since_ms)
{
    struct gv_gossip_health health = {.worker = gv_slice_text(worker),
                                      .state = since_ms > 0 ? GV_WORKER_READY : 0,
                                      .since_ms = since_ms,
                                      .reason = gv_slice_text("")};
    store.health_changed(&cluster, node, &health);
}

static size_t opinions(void)
{
    return cluster.hearsay.opinions.count;
}

static void write_record(const char *url, bool deleted)
{
    struct gv_config config = {.worker_api_key = NULL};
    struct gv_gossip_worker record = {.url = gv_slice_text(url),
                                      .deleted = deleted,
                                      .bootstrap_port = -1,
                                      .origin = gv_slice_text("x"),
                                      .runtime = gv_slice_text(""),
                                      .labels = gv_slice_text("")};
    cluster.options.config = &config;
    store.worker_changed(&cluster, &record);
    cluster.options.config = NULL;
}

/* A node that started again has no opinion until it has one: the engine takes back the old ones. */
static void an_opinion_that_is_taken_back_is_no_opinion(void)
{
    begin();
    say_health("x", WORKER, 1000);
    say_health("y", WORKER, 1000);
    CU_ASSERT_EQUAL(opinions(), 2);
    say_health("x", WORKER, 0);
    CU_ASSERT_EQUAL(opinions(), 1);
    say_health("x", OTHER, 0);
    CU_ASSERT_EQUAL(opinions(), 1);
    say_health("x", WORKER, 2000);
    CU_ASSERT_EQUAL(opinions(), 2);
    end();
}

static void what_is_thought_of_a_worker_goes_with_it(void)
{
    begin();
    write_record(WORKER, false);
    write_record(OTHER, false);
    say_health("x", WORKER, 1000);
    say_health("y", WORKER, 1000);
    say_health("x", OTHER, 1000);
    CU_ASSERT_EQUAL(opinions(), 3);
    write_record(WORKER, true);
    CU_ASSERT_EQUAL(opinions(), 1);
    say_health("y", WORKER, 2000); /* on its way when the worker went */
    CU_ASSERT_EQUAL(opinions(), 1);
    write_record(WORKER, false);
    say_health("y", WORKER, 3000);
    CU_ASSERT_EQUAL(opinions(), 2);
    end();
}

/* Who comes a day later has no record of it any more that says it is gone. */
static void a_node_takes_back_its_opinion_of_a_worker_that_is_gone(void)
{
    const struct gv_gossip_options options = {.node = "here", .boot_id = 1, .incarnation = 1};
    struct gv_gossip_health health = {.worker = gv_slice_text(WORKER),
                                      .state = GV_WORKER_READY,
                                      .since_ms = 1000,
                                      .reason = gv_slice_text("probed")};
    begin();
    CU_ASSERT_EQUAL_FATAL(gv_gossip_new(&options, &store, 1, &cluster.gossip), GV_OK);
    write_record(WORKER, false);
    gv_gossip_set_health(cluster.gossip, &health, gv_shell_now());
    gv_absorb_unsay(&cluster);
    const struct gv_saying *said =
        gv_sayings_find(&cluster.gossip->own_sayings, gv_slice_text(WORKER));
    CU_ASSERT_PTR_NOT_NULL_FATAL(said);
    CU_ASSERT_EQUAL(said->since_ms, 1000);
    write_record(WORKER, true);
    write_record(WORKER, false); /* back before we came to say it */
    gv_absorb_unsay(&cluster);
    CU_ASSERT_EQUAL(said->since_ms, 1000);
    write_record(WORKER, true);
    gv_absorb_unsay(&cluster);
    CU_ASSERT_EQUAL(said->since_ms, 0);
    CU_ASSERT_STRING_EQUAL(said->reason, "");
    gv_gossip_free(cluster.gossip);
    end();
}

static void say_demand(const char *node, uint64_t milli)
{
    struct gv_gossip_load load = {.worker = gv_slice_text("tenant:acme"), .bytes = milli};
    store.load_changed(&cluster, node, &load);
}

/* Both sides of the limit up to which a demand is believed; and nothing stays of who asks no more.
 */
static void demands_are_summed_up_to_the_limit_and_go_with_their_node(void)
{
    struct gv_quota_limit limit = {"acme", 10};
    begin();
    CU_ASSERT_EQUAL_FATAL(gv_quota_new(&limit, 1, 0, &cluster.options.quota), GV_OK);
    CU_ASSERT_EQUAL_FATAL(gv_demands_open(&cluster), GV_OK);
    say_demand("x", 10000);
    CU_ASSERT_EQUAL(cluster.demands.sums[0], 10000);
    say_demand("y", 10001);
    CU_ASSERT_EQUAL(cluster.demands.sums[0], 20000);
    say_demand("y", UINT64_MAX);
    CU_ASSERT_EQUAL(cluster.demands.sums[0], 20000);
    say_demand("x", 1);
    CU_ASSERT_EQUAL(cluster.demands.sums[0], 10001);
    CU_ASSERT_EQUAL(cluster.demands.heard.count, 2);
    say_demand("y", 0);
    say_demand("z", 0);
    CU_ASSERT_EQUAL(cluster.demands.sums[0], 1);
    CU_ASSERT_EQUAL(cluster.demands.heard.count, 1);
    gv_demands_free(&cluster);
    gv_quota_free(cluster.options.quota);
    end();
}

GV_SUITE("cluster/hearsay", GV_CASE(demands_are_summed_up_to_the_limit_and_go_with_their_node),
         GV_CASE(a_node_takes_back_its_opinion_of_a_worker_that_is_gone),
         GV_CASE(no_words_make_the_loads_of_others_disappear),
         GV_CASE(an_opinion_that_is_taken_back_is_no_opinion),
         GV_CASE(what_is_thought_of_a_worker_goes_with_it))
