/*
 * test_idle.c - streams that say nothing for a while, through a real router: each is still there,
 * gets its last event and its end, and nothing is left in the router. The verdict is idle's own;
 * tools/bench streams --vm does the same with tens of thousands.
 */
#include "support/process.h"
#include "support/suite.h"

#include <stdio.h>
#include <stdlib.h>

#define ROUTER                                                                                     \
    "--host", "127.0.0.1", "--port", "0", "--prometheus-host", "127.0.0.1", "--prometheus-port",   \
        "0", "--log-level", "error", "--drain-settle-secs", "0", "--threads"

/* The program under test, where this build put it. */
static const char *grapevine(void)
{
    static char path[512];
    const char *bin = getenv("GV_BIN");
    CU_ASSERT_PTR_NOT_NULL_FATAL(bin);
    snprintf(path, sizeof path, "%s/grapevine", bin);
    return path;
}

static void lull(const char *const *argv, const char *verdict, int code)
{
    struct gv_process idle;
    CU_ASSERT_FATAL(gv_process_start(&idle, "idle", argv));
    CU_ASSERT(gv_process_await(&idle, verdict, NULL, 0));
    CU_ASSERT_EQUAL(gv_process_wait(&idle), code);
}

static void silent_streams_get_their_last_event_and_their_end(void)
{
    const char *const argv[] = {
        "idle", "--count",   "400",  "--idle-secs", "1", "--meanwhile", "test -n \"$GV_METRICS\"",
        "--",   grapevine(), ROUTER, "1",           NULL};
    lull(argv, "verdict=good", 0);
}

static void streams_on_two_loops_that_speak_now_and_then_lose_nothing(void)
{
    const char *const argv[] = {"idle", "--count", "300",       "--idle-secs", "1", "--every-secs",
                                "0.25", "--",      grapevine(), ROUTER,        "2", NULL};
    lull(argv, "verdict=good", 0);
}

/* Or the two above could not fail. */
static void streams_that_the_router_gives_up_are_told(void)
{
    const char *const argv[] = {"idle",      "--count",     "50", "--idle-secs",
                                "2",         "--wait-secs", "5",  "--",
                                grapevine(), ROUTER,        "1",  "--stream-idle-timeout-secs",
                                "0.2",       NULL};
    lull(argv, "verdict=BAD", 1);
}

GV_SUITE("integration/idle", GV_CASE(silent_streams_get_their_last_event_and_their_end),
         GV_CASE(streams_on_two_loops_that_speak_now_and_then_lose_nothing),
         GV_CASE(streams_that_the_router_gives_up_are_told))
