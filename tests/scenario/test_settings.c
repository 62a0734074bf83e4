/*
 * Stories of settings: small named values that every node has, whoever wrote them, for as long as
 * anybody lives.
 */
#include "cluster.h"

#include <stdio.h>
#include <string.h>

static struct world *started(uint32_t nodes)
{
    return start_cluster((struct world_options){.node_count = nodes, .seed = 7}, 1500);
}

static enum gv_err put(struct world *world, uint32_t node, const char *name, const char *value)
{
    enum gv_err err =
        gv_gossip_put_setting(world->nodes[node].engine, name, value, world_now(world, node));
    world_settle(world, node);
    return err;
}

/* The value of `name` as `node` knows it; "-" when it is not set there. */
static const char *value_at(const struct world *world, uint32_t node, const char *name)
{
    static struct gv_gossip_setting settings[GV_SETTINGS_MAX];
    uint32_t count = gv_gossip_settings(world->nodes[node].engine, settings);
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(settings[i].name, name) == 0) {
            return settings[i].value;
        }
    }
    return "-";
}

static void end_agreed(struct world *world)
{
    uint64_t took_ms;
    CU_ASSERT(world_check_converges(world, 10000, &took_ms));
    end(world);
}

static void what_one_node_sets_holds_everywhere_and_later_changes_win(void)
{
    struct world *world = started(3);
    CU_ASSERT_EQUAL(put(world, 0, "cache-threshold", "0.5"), GV_OK);
    world_run(world, 25);
    for (uint32_t i = 0; i < 3; i++) {
        CU_ASSERT_STRING_EQUAL(value_at(world, i, "cache-threshold"), "0.5");
    }
    CU_ASSERT_EQUAL(put(world, 2, "cache-threshold", "0.6"), GV_OK);
    world_run(world, 25);
    CU_ASSERT_STRING_EQUAL(value_at(world, 0, "cache-threshold"), "0.6");
    CU_ASSERT_EQUAL(put(world, 1, "cache-threshold", NULL), GV_OK);
    world_run(world, 25);
    for (uint32_t i = 0; i < 3; i++) {
        CU_ASSERT_STRING_EQUAL(value_at(world, i, "cache-threshold"), "-");
        CU_ASSERT_EQUAL(put(world, i, "cache-threshold", NULL), GV_ENOTFOUND);
    }
    end_agreed(world);
}

/* The writer's clock is late: its change still wins over the one that it knew. */
static void a_late_clock_does_not_lose_a_change(void)
{
    struct world *world = started(2);
    CU_ASSERT_EQUAL(put(world, 0, "a", "first"), GV_OK);
    world_run(world, 25);
    world->nodes[1].skew_ms = -20000;
    CU_ASSERT_EQUAL(put(world, 1, "a", "second"), GV_OK);
    world_run(world, 25);
    CU_ASSERT_STRING_EQUAL(value_at(world, 0, "a"), "second");
    end_agreed(world);
}

#define DAY_MS (24 * 3600 * 1000)

/* Of both kinds: a setting, and a worker's record, which the digests tell of. */
static void write_ahead(struct world *world, int32_t skew_ms)
{
    struct gv_gossip_worker worker = {.url = gv_slice_text("http://w"), .bootstrap_port = -1};
    world->nodes[0].skew_ms = skew_ms;
    world_run(world, 2000);
    CU_ASSERT_EQUAL(gv_gossip_put_worker(world->nodes[0].engine, &worker, world_now(world, 0)),
                    GV_OK);
    world_settle(world, 0);
    CU_ASSERT_EQUAL(put(world, 0, "a", "early"), GV_OK);
    world_run(world, 2000);
}

/* Both sides of the limit: what is dated a day ahead is taken, what is dated later is refused. */
static void what_is_dated_over_a_day_ahead_is_known_when_the_clock_is_right_again(void)
{
    struct world *world = started(3);
    write_ahead(world, DAY_MS - 60000);
    CU_ASSERT_STRING_EQUAL(value_at(world, 1, "a"), "early");
    CU_ASSERT(digests_agree(world, 0, 1));
    end_agreed(world);
    world = started(3);
    write_ahead(world, 3 * DAY_MS);
    CU_ASSERT_STRING_EQUAL(value_at(world, 1, "a"), "-");
    CU_ASSERT_FALSE(digests_agree(world, 0, 1));
    world->nodes[0].skew_ms = 0;
    world_run(world, 2000);
    for (uint32_t i = 0; i < 3; i++) {
        CU_ASSERT_STRING_EQUAL(value_at(world, i, "a"), "early");
        CU_ASSERT(digests_agree(world, 0, i));
    }
    end_agreed(world);
}

/* It is dated when it was written, so what others wrote after it wins. */
static void what_was_written_later_by_a_right_clock_wins_over_it(void)
{
    struct world *world = started(3);
    write_ahead(world, 3 * DAY_MS);
    CU_ASSERT_EQUAL(put(world, 1, "a", "later"), GV_OK);
    world_run(world, 2000);
    CU_ASSERT_STRING_EQUAL(value_at(world, 0, "a"), "early");
    world->nodes[0].skew_ms = 0;
    world_run(world, 5000);
    for (uint32_t i = 0; i < 3; i++) {
        CU_ASSERT_STRING_EQUAL(value_at(world, i, "a"), "later");
    }
    end_agreed(world);
}

static void it_lives_while_any_node_does_and_newcomers_have_it(void)
{
    struct world *world = started(3);
    CU_ASSERT_EQUAL(put(world, 0, "a", "kept"), GV_OK);
    CU_ASSERT_EQUAL(put(world, 0, "b", "gone"), GV_OK);
    world_run(world, 25);
    world_kill(world, 0);
    world_kill(world, 1);
    CU_ASSERT_EQUAL(put(world, 2, "b", NULL), GV_OK);
    world_run(world, 3000);
    world_start(world, 0);
    world_run(world, 3000);
    CU_ASSERT_STRING_EQUAL(value_at(world, 0, "a"), "kept");
    CU_ASSERT_STRING_EQUAL(value_at(world, 0, "b"), "-");
    world_start(world, 1);
    end_agreed(world);
}

static void two_sides_of_a_split_agree_on_the_newest_when_healed(void)
{
    struct world *world = started(2);
    world_block(world, 0, 1, true);
    world_block(world, 1, 0, true);
    world_run(world, 5000);
    CU_ASSERT_EQUAL(put(world, 0, "a", "older"), GV_OK);
    world_run(world, 3000);
    CU_ASSERT_EQUAL(put(world, 1, "a", "newer"), GV_OK);
    world_heal(world);
    world_run(world, 10000);
    CU_ASSERT_STRING_EQUAL(value_at(world, 0, "a"), "newer");
    CU_ASSERT_STRING_EQUAL(value_at(world, 1, "a"), "newer");
    end_agreed(world);
}

static void names_values_and_their_number_have_limits(void)
{
    struct world *world = started(2);
    char name[GV_SETTING_NAME_MAX + 1];
    char value[GV_SETTING_VALUE_MAX + 1];
    memset(name, 'n', sizeof name);
    memset(value, 'v', sizeof value);
    name[GV_SETTING_NAME_MAX] = '\0';
    value[GV_SETTING_VALUE_MAX] = '\0';
    CU_ASSERT_EQUAL(put(world, 0, name, "x"), GV_EINVAL);
    CU_ASSERT_EQUAL(put(world, 0, "x", value), GV_EINVAL);
    CU_ASSERT_EQUAL(put(world, 0, "", "x"), GV_EINVAL);
    CU_ASSERT_EQUAL(put(world, 0, name + 1, value + 1), GV_OK);
    for (uint32_t i = 1; i < GV_SETTINGS_MAX; i++) {
        char one[16];
        (void)snprintf(one, sizeof one, "name-%u", (unsigned)i);
        CU_ASSERT_EQUAL(put(world, i % 2, one, "x"), GV_OK);
        world_run(world, 5);
    }
    CU_ASSERT_EQUAL(put(world, 0, "one-more", "x"), GV_EFULL);
    CU_ASSERT_EQUAL(put(world, 0, "name-1", "another value"), GV_OK);
    world_run(world, 25);
    CU_ASSERT_STRING_EQUAL(value_at(world, 1, name + 1), value + 1);
    CU_ASSERT_STRING_EQUAL(value_at(world, 1, "name-1"), "another value");
    end_agreed(world);
}

GV_SUITE("scenario/settings", GV_CASE(what_one_node_sets_holds_everywhere_and_later_changes_win),
         GV_CASE(a_late_clock_does_not_lose_a_change),
         GV_CASE(what_is_dated_over_a_day_ahead_is_known_when_the_clock_is_right_again),
         GV_CASE(what_was_written_later_by_a_right_clock_wins_over_it),
         GV_CASE(it_lives_while_any_node_does_and_newcomers_have_it),
         GV_CASE(two_sides_of_a_split_agree_on_the_newest_when_healed),
         GV_CASE(names_values_and_their_number_have_limits))
