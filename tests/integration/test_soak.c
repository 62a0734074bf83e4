/*
 * test_soak.c - tools/bench soak in short: its parts work together and it ends with a verdict.
 *
 * Whether memory is flat shows only after minutes; here the bound is out of reach, and what can be
 * bad is a request that failed, an operation that was dropped, nodes that differ.
 */
#include "support/process.h"
#include "support/suite.h"

#include <stdio.h>
#include <stdlib.h>

static void the_soak_ends_with_a_table_and_a_verdict(void)
{
    struct gv_process soak;
    char path[512];
    const char *source = getenv("GV_SOURCE");
    snprintf(path, sizeof path, "%s/tools/bench", source == NULL ? "." : source);
    CU_ASSERT_TRUE_FATAL(gv_process_start(
        &soak, "soak",
        (const char *const[]){"/bin/bash", path, "soak", "--minutes", "0.05", "--interval", "1",
                              "--rate", "60", "--warm-up", "200", "--flat", "100000", NULL}));
    CU_ASSERT_TRUE(gv_process_await(&soak, "good: RSS flat within", NULL, 0));
    CU_ASSERT_EQUAL(gv_process_wait(&soak), 0);
    CU_ASSERT_TRUE(gv_process_has_said(&soak, "entries_3"));
    CU_ASSERT_TRUE(gv_process_has_said(&soak, "0 failed, 0 dropped or overflowed, nodes agree"));
}

GV_SUITE("integration/soak", GV_CASE(the_soak_ends_with_a_table_and_a_verdict))
