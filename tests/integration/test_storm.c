/*
 * test_storm.c - a million events through a router while engines and clients misbehave: none is
 * lost, repeated or reordered, and nothing is left behind. The verdict is storm's own.
 */
#include "support/process.h"
#include "support/suite.h"

static void weather(const char *const *argv)
{
    struct gv_process storm;
    CU_ASSERT_FATAL(gv_process_start(&storm, "storm", argv));
    CU_ASSERT(gv_process_await(&storm, "events compared", NULL, 0));
    CU_ASSERT_EQUAL(gv_process_wait(&storm), 0);
    CU_ASSERT(gv_process_has_said(&storm, "storm: good:"));
    CU_ASSERT(gv_process_has_said(
        &storm, "left in the router: active=0 running=0 waiting=0 exchanges=0 impossible=0"));
}

static void of_a_million_events_in_a_storm_none_is_lost_repeated_or_reordered(void)
{
    const char *const argv[] = {"storm", "--events", "1e6", NULL};
    weather(argv);
}

static void two_loops_in_another_storm_leave_nothing_behind(void)
{
    const char *const argv[] = {"storm", "--events",  "2e5", "--seed",    "7",  "--threads",
                                "2",     "--clients", "200", "--engines", "12", NULL};
    weather(argv);
}

static void silent_engines_are_told_that_their_clients_left(void)
{
    const char *const argv[] = {"storm",     "--events", "3e4",       "--calm", "--pace-ms", "5",
                                "--clients", "40",       "--engines", "2",      NULL};
    weather(argv);
}

GV_SUITE("integration/storm",
         GV_CASE(of_a_million_events_in_a_storm_none_is_lost_repeated_or_reordered),
         GV_CASE(two_loops_in_another_storm_leave_nothing_behind),
         GV_CASE(silent_engines_are_told_that_their_clients_left))
