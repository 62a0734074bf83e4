/*
 * What the checkers of vinesim promise to find, done on purpose: each must find it.
 */
#include "support/suite.h"
#include "vinesim/sealing.h"

#include <string.h>

static struct world *started(struct world_options options)
{
    options.node_count = 3;
    options.seed = 11;
    struct world *world = world_new(&options);
    CU_ASSERT_PTR_NOT_NULL_FATAL(world);
    world_start_all(world);
    world_run(world, 2000);
    for (uint32_t i = 0; i < 30; i++) {
        (void)world_publish(world, i % 3, 0, 8);
        world_run(world, 10);
    }
    world_run(world, 1000);
    return world;
}

static bool all_good(struct world *world)
{
    uint64_t took_ms;
    return world_check_converges(world, 5000, &took_ms) && world_check_no_gap(world) &&
           world_check_no_resurrection(world) && world_check_floors(world) &&
           world_check_replay(world) && world_check_caps(world) && world->wrong[0] == '\0';
}

static bool blames(const struct world *world, const char *what)
{
    return strstr(world->wrong, what) != NULL;
}

static void a_calm_cluster_passes_all(void)
{
    struct world *world = started((struct world_options){.is_sealed = true});
    CU_ASSERT(all_good(world));
    world_free(world);
}

static void an_entry_that_nobody_was_told_of_is_a_difference(void)
{
    struct world *world = started((struct world_options){0});
    uint64_t took_ms;
    (void)world_slip(world, 0, 0, 4);
    CU_ASSERT_FALSE(world_check_converges(world, 5000, &took_ms));
    CU_ASSERT(blames(world, "live sets"));
    world_free(world);
}

static void a_lost_log_entry_is_a_difference_and_a_gap(void)
{
    struct world *world = started((struct world_options){0});
    world->nodes[1].published += 1; /* says that it published what never left */
    CU_ASSERT_FALSE(world_check_no_gap(world));
    CU_ASSERT(blames(world, "of n01's"));
    world_free(world);
}

static void who_missed_that_a_node_started_again_does_not_agree_yet(void)
{
    struct world *world = started((struct world_options){0});
    uint64_t took_ms;
    world->nodes[0].sees_boot[1] += 1; /* alive, but in another life: its log was a longer one */
    CU_ASSERT_FALSE(world_agrees(world));
    CU_ASSERT_FALSE(world_check_converges(world, 500, &took_ms));
    CU_ASSERT(blames(world, "does not see who is alive"));
    world_free(world);
}

static void a_floor_that_one_node_keeps_to_itself_is_found(void)
{
    for (uint32_t check = 0; check < 2; check++) {
        struct world *world = started((struct world_options){0});
        struct gv_operation operation;
        gv_forest_forget(world->nodes[1].forest, "*", 0, GV_FLOOR_RESTARTED,
                         world_now(world, 1).wall_ms, &operation);
        CU_ASSERT_FALSE(check == 0 ? world_check_no_resurrection(world)
                                   : world_check_floors(world));
        CU_ASSERT(blames(world, check == 0 ? "below its floor" : "floors"));
        world_free(world);
    }
}

static void an_operation_that_acts_when_repeated_is_found(void)
{
    struct world *world = started((struct world_options){0});
    (void)world_slip(world, 0, 0, 4); /* then repeating all of n00 on n01 has an effect */
    CU_ASSERT_FALSE(world_check_replay(world));
    CU_ASSERT(blames(world, "had an effect"));
    world_free(world);
}

static void a_share_and_a_queue_over_their_caps_are_found(void)
{
    struct world *world = started((struct world_options){0});
    world->options.worker_blocks = 100;
    CU_ASSERT_FALSE(world_check_caps(world));
    CU_ASSERT(blames(world, "which has room for 100"));
    world_free(world);
    world = started((struct world_options){0});
    world->queue_most = WORLD_QUEUE_BYTES + 1;
    CU_ASSERT_FALSE(world_check_caps(world));
    CU_ASSERT(blames(world, "queue"));
    world_free(world);
}

static void an_incarnation_that_falls_is_found(void)
{
    struct world *world = started((struct world_options){0});
    world->nodes[0].sees_incarnation[1] = UINT64_MAX;
    world_kill(world, 1);
    world_run(world, 3000);
    world_start(world, 1);
    world_run(world, 3000);
    CU_ASSERT(blames(world, "incarnation of n01 fell"));
    world_free(world);
}

static void a_death_without_cause_is_found(void)
{
    struct world *world = started((struct world_options){0});
    world_run(world, 11000);
    for (uint32_t i = 1; i < 3; i++) { /* cut off, but nobody admits it */
        world->blocked[0][i] = 1;
        world->blocked[i][0] = 1;
    }
    world_run(world, 10000);
    CU_ASSERT(world->false_deaths > 0);
    CU_ASSERT(blames(world, "dead without cause"));
    world_free(world);
}

static void a_packet_that_is_believed_twice_is_found(void)
{
    struct world *world = started((struct world_options){.is_sealed = true});
    for (uint32_t i = 0; i < 3; i++) { /* their windows forget what they have seen */
        sealing_start(world->sealing, i);
        for (uint32_t j = 0; j < 3; j++) {
            sealing_believe(world->sealing, i, j, world->nodes[j].boot_id);
        }
    }
    for (uint32_t i = 0; i < 50; i++) {
        sealing_attack(world->sealing, HOSTILE_REPLAY);
    }
    world_run(world, 100);
    CU_ASSERT(sealing_counters(world->sealing)->hostile_accepted > 0);
    CU_ASSERT(blames(world, "believed a packet"));
    world_free(world);
}

static void nothing_hostile_is_believed(void)
{
    struct world *world = started((struct world_options){.is_sealed = true, .corrupt = 0.01});
    for (uint32_t i = 0; i < 2000; i++) {
        sealing_attack(world->sealing, (enum hostile_kind)(i % HOSTILE_KIND_COUNT));
        world_run(world, i % 4 == 0);
    }
    world_run(world, 1000);
    const struct sealing_counters *counters = sealing_counters(world->sealing);
    CU_ASSERT_EQUAL(counters->hostile_sent, 2000);
    CU_ASSERT_EQUAL(counters->hostile_accepted, 0);
    CU_ASSERT(counters->packets_opened > 0);
    CU_ASSERT(counters->packets_refused > 0); /* the damaged ones */
    CU_ASSERT_STRING_EQUAL(world->wrong, "");
    world_free(world);
}

static void of_two_twins_the_younger_goes_on_and_the_other_stops(void)
{
    struct world *world = started((struct world_options){0});
    world_start_twin(world, 1);
    CU_ASSERT_EQUAL(world_holders(world, 1, NULL), 2);
    world_run(world, 2000);
    CU_ASSERT_EQUAL(world_holders(world, 1, NULL), 1);
    CU_ASSERT_FALSE(world_is_up(world, 1));
    CU_ASSERT(all_good(world));
    world_free(world);
}

static void a_session_of_a_byte_a_second_keeps_nobody_else_waiting(void)
{
    struct world *world = started((struct world_options){0});
    world_set_rate(world, 2, 1);
    uint64_t print = 0;
    for (uint32_t i = 0; i < 2000; i++) {
        print = world_publish(world, 0, i, 60);
        world_run(world, 5);
    }
    world_run(world, 1000);
    CU_ASSERT(print != 0);
    struct gv_forest_stats stats[2];
    gv_forest_stats(world->nodes[0].forest, &stats[0]);
    gv_forest_stats(world->nodes[1].forest, &stats[1]);
    CU_ASSERT_EQUAL(stats[0].blocks, stats[1].blocks);
    world_set_rate(world, 2, 0);
    uint64_t took_ms;
    CU_ASSERT(world_check_converges(world, 40000, &took_ms));
    CU_ASSERT(world_check_caps(world));
    world_free(world);
}

static uint64_t mended(const struct world *world)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < world_slots(world); i++) {
        sum += world_counters(world, i).operations_mended;
    }
    return sum;
}

/* Comparing live sets mends whatever a bug in logs or snapshots leaves out: where no donor died,
 * nothing may be left for it. */
static void what_logs_and_donors_bring_is_whole(void)
{
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct world_options options = {.node_count = 6, .seed = seed};
        options.engine.log_operations = seed % 2 == 0 ? 32 : 0;
        options.engine.log_bytes = options.engine.log_operations != 0 ? 64 * 1024 : 0;
        struct world *world = world_new(&options);
        CU_ASSERT_PTR_NOT_NULL_FATAL(world);
        world_start_all(world);
        world_run(world, 2000);
        for (uint32_t i = 0; i < 600; i++) {
            (void)world_publish(world, i % 6, i, 16);
            (void)world_repeat(world, i % 6, i, i / 6); /* of other beginnings: other buckets */
            world_run(world, 5);
            if (i % 100 == 50) {
                world_kill(world, i / 100);
            } else if (i % 100 == 90) {
                world_start(world, i / 100);
            }
        }
        uint64_t took_ms;
        CU_ASSERT(world_check_converges(world, 2000, &took_ms));
        world_run(world, 61000); /* all have compared */
        CU_ASSERT_EQUAL(mended(world), 0);
        CU_ASSERT_STRING_EQUAL(world->wrong, "");
        world_free(world);
    }
}

/* Both sides: of what is younger than 10 s nothing is evicted, however much it is. */
static void what_is_young_is_not_evicted(void)
{
    struct world *world =
        world_new(&(struct world_options){.node_count = 3, .seed = 11, .worker_blocks = 100});
    CU_ASSERT_PTR_NOT_NULL_FATAL(world);
    world_start_all(world);
    world_run(world, 2000);
    for (uint32_t i = 0; i < 30; i++) {
        CU_ASSERT(world_publish(world, 0, 0, 60) != 0);
    }
    struct gv_forest *forest = world->nodes[0].forest;
    world_run(world, 9000);
    world_sweep(world, 0);
    CU_ASSERT(gv_forest_worker_blocks(forest, "regular::llama", 0) >= 30 * 58);
    world_run(world, 2000);
    world_sweep(world, 0);
    CU_ASSERT(gv_forest_worker_blocks(forest, "regular::llama", 0) <= 133);
    uint64_t took_ms;
    CU_ASSERT(world_check_converges(world, 1000, &took_ms));
    CU_ASSERT(world_check_floors(world) && world_check_caps(world));
    world_free(world);
}

GV_SUITE("sim/checkers", GV_CASE(what_logs_and_donors_bring_is_whole),
         GV_CASE(what_is_young_is_not_evicted), GV_CASE(a_calm_cluster_passes_all),
         GV_CASE(an_entry_that_nobody_was_told_of_is_a_difference),
         GV_CASE(a_lost_log_entry_is_a_difference_and_a_gap),
         GV_CASE(who_missed_that_a_node_started_again_does_not_agree_yet),
         GV_CASE(a_floor_that_one_node_keeps_to_itself_is_found),
         GV_CASE(an_operation_that_acts_when_repeated_is_found),
         GV_CASE(a_share_and_a_queue_over_their_caps_are_found),
         GV_CASE(an_incarnation_that_falls_is_found), GV_CASE(a_death_without_cause_is_found),
         GV_CASE(a_packet_that_is_believed_twice_is_found), GV_CASE(nothing_hostile_is_believed),
         GV_CASE(of_two_twins_the_younger_goes_on_and_the_other_stops),
         GV_CASE(a_session_of_a_byte_a_second_keeps_nobody_else_waiting))
