/*
 * A member with the cluster key makes up operations of another node, where operations are relayed:
 * what that node really says under the same numbers passes for known.
 */
#include "../../src/gossip/machine.h"
#include "support/suite.h"
#include "vinesim/world.h"

#include <string.h>

#define NODES      34 /* beyond 32 operations are relayed */
#define VICTIM     3
#define FORGED     200
#define HIDDEN     8
#define MENDED_MS  20000
#define NOTICED_MS 10000

static struct world *started(void)
{
    struct world *world = world_new(&(struct world_options){.node_count = NODES, .seed = 11});
    CU_ASSERT_PTR_NOT_NULL_FATAL(world);
    world_start_all(world);
    world_run(world, 8000);
    CU_ASSERT(world_publish(world, VICTIM, 0, 4) != 0);
    world_run(world, 1000);
    return world;
}

/* One node believes, by whichever session, what the victim never said; others hear it from there.
 */
static void forge(struct world *world, uint32_t at)
{
    static uint8_t bytes[1 << 16];
    struct gv_gossip *engine = world->nodes[at].engine;
    struct gv_gossip *victim = world->nodes[VICTIM].engine;
    uint64_t print = 77;
    char key[] = "regular::llama", url[] = "http://w0:8000";
    char *keys[] = {key}, *urls[] = {url};
    Mesh__TreeOp operation = MESH__TREE_OP__INIT;
    Mesh__TreeOp *operations[FORGED];
    Mesh__Batch batch = MESH__BATCH__INIT;
    Mesh__Message message = MESH__MESSAGE__INIT;
    operation.kind = MESH__OP_KIND__TOUCH; /* of nothing that there is: no trie changes by it */
    operation.stamp = 1;
    operation.depth = 3;
    operation.fingerprints = &print;
    operation.n_fingerprints = 1;
    for (uint32_t i = 0; i < FORGED; i++) {
        operations[i] = &operation;
    }
    batch.origin = victim->self->member.name;
    batch.boot_id = victim->self->member.boot_id;
    batch.first = victim->log.last + 1;
    batch.keys = keys;
    batch.n_keys = 1;
    batch.workers = urls;
    batch.n_workers = 1;
    batch.operations = operations;
    batch.n_operations = FORGED;
    message.body_case = MESH__MESSAGE__BODY_BATCH;
    message.batch = &batch;
    size_t len = mesh__message__pack(&message, bytes);
    CU_ASSERT_EQUAL(gv_gossip_message(engine, engine->sessions[0]->id, gv_slice_of(bytes, len),
                                      world_now(world, at)),
                    GV_OK);
    world_settle(world, at);
    world_run(world, 1000);
}

static bool knows(const struct world *world, uint32_t node, uint64_t print)
{
    uint32_t worker = 0, depth = 0;
    gv_forest_match(world->nodes[node].forest, "regular::llama", &print, 1, &worker, 1, &depth);
    return depth == 1;
}

static uint32_t count_knowing(const struct world *world, uint64_t print)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < NODES; i++) {
        count += knows(world, i, print);
    }
    return count;
}

/* One that begins a path of its own. */
static uint64_t publish(struct world *world)
{
    uint64_t print;
    do {
        print = world_publish(world, VICTIM, 0, 1);
        world_run(world, 20);
    } while (!knows(world, VICTIM, print));
    return print;
}

static void what_forged_operations_hide_is_mended_within_seconds_and_noticed(void)
{
    struct world *world = started();
    uint64_t prints[HIDDEN];
    uint32_t hidden = 0;
    forge(world, 20);
    for (uint32_t i = 0; i < HIDDEN; i++) {
        prints[i] = publish(world);
        hidden += NODES - count_knowing(world, prints[i]);
    }
    CU_ASSERT(hidden > 0); /* it works, at first */
    world_run(world, NOTICED_MS);
    CU_ASSERT(world_counters(world, VICTIM).forged > 0);
    world_run(world, MENDED_MS);
    for (uint32_t i = 0; i < HIDDEN; i++) {
        CU_ASSERT_EQUAL(count_knowing(world, prints[i]), NODES);
    }
    world_free(world);
}

/* Beyond the forged numbers all is as before: logs agree again, and nobody is on guard. */
static void a_log_that_has_outgrown_what_was_forged_agrees_again(void)
{
    struct world *world = started();
    uint64_t took_ms;
    forge(world, 20);
    for (uint32_t i = 0; i < FORGED + HIDDEN; i++) {
        (void)publish(world);
    }
    CU_ASSERT(world_check_converges(world, 30000, &took_ms));
    world_run(world, 70000); /* the comparison of each minute takes the guard off */
    CU_ASSERT_FALSE(world->nodes[VICTIM].engine->is_log_forged);
    CU_ASSERT(world_check_converges(world, 0, &took_ms));
    world_free(world);
}

GV_SUITE("scenario/forged",
         GV_CASE(what_forged_operations_hide_is_mended_within_seconds_and_noticed),
         GV_CASE(a_log_that_has_outgrown_what_was_forged_agrees_again))
