/* test_load.c - what engines say of their load, what is learnt of prompts, and suspicions. */
#include "grapevine/route/load.h"
#include "support/suite.h"

static struct gv_load_table *new_table(void)
{
    struct gv_load_table *table;
    CU_ASSERT_EQUAL_FATAL(gv_load_new(&table), GV_OK);
    return table;
}

static void the_newest_report_of_an_engine_is_kept_whoever_brought_it(void)
{
    struct gv_load_table *table = new_table();
    struct gv_load_report report;
    CU_ASSERT_FALSE(gv_load_heard(table, 3, &report));
    struct gv_load_report first = {.at_ms = 1000,
                                   .running = 5,
                                   .waiting = 6,
                                   .foreign = 7,
                                   .usage_permille = 1000,
                                   .used_tokens = 9,
                                   .is_own = true};
    gv_load_hear(table, 3, &first);
    CU_ASSERT_TRUE(gv_load_heard(table, 3, &report));
    CU_ASSERT_EQUAL(report.at_ms, 1000);
    CU_ASSERT_EQUAL(report.running, 5);
    CU_ASSERT_EQUAL(report.waiting, 6);
    CU_ASSERT_EQUAL(report.foreign, 7);
    CU_ASSERT_EQUAL(report.usage_permille, 1000);
    CU_ASSERT_EQUAL(report.used_tokens, 9);
    CU_ASSERT_TRUE(report.is_own);
    struct gv_load_report same = {.at_ms = 1000, .running = 1};
    gv_load_hear(table, 3, &same);
    CU_ASSERT_TRUE(gv_load_heard(table, 3, &report));
    CU_ASSERT_EQUAL(report.running, 5);
    struct gv_load_report newer = {.at_ms = 1001, .usage_permille = GV_LOAD_USAGE_UNKNOWN};
    gv_load_hear(table, 3, &newer);
    CU_ASSERT_TRUE(gv_load_heard(table, 3, &report));
    CU_ASSERT_EQUAL(report.running, 0);
    CU_ASSERT_EQUAL(report.usage_permille, GV_LOAD_USAGE_UNKNOWN);
    CU_ASSERT_FALSE(report.is_own);
    CU_ASSERT_FALSE(gv_load_heard(table, 4, &report));
    gv_load_free(table);
}

static void prompts_are_remembered_and_the_old_ones_count_less(void)
{
    struct gv_load_table *table = new_table();
    gv_load_note_prompt(table, 1, 400, 100);
    gv_load_note_prompt(table, 1, 0, 100);                 /* nothing to learn */
    gv_load_note_prompt(table, 1, 100, 0);                 /* nor here */
    gv_load_note_prompt(table, 1, 100, UINT64_C(1) << 40); /* no engine reads that much */
    struct gv_load_prompts prompts = gv_load_own_prompts(table, 1);
    CU_ASSERT_EQUAL(prompts.bytes, 400);
    CU_ASSERT_EQUAL(prompts.tokens, 100);
    gv_load_note_prompt(table, 1, 15999600, 3999900);
    prompts = gv_load_own_prompts(table, 1); /* 4,000,000 tokens: just remembered */
    CU_ASSERT_EQUAL(prompts.tokens, 4000000);
    gv_load_note_prompt(table, 1, 4, 1);
    prompts = gv_load_own_prompts(table, 1);
    CU_ASSERT_EQUAL(prompts.tokens, 2000001);
    CU_ASSERT_EQUAL(prompts.bytes, 8000002);
    gv_load_free(table);
}

static void a_suspicion_is_taken_once(void)
{
    struct gv_load_table *table = new_table();
    CU_ASSERT_FALSE(gv_load_take_suspicion(table, 2));
    gv_load_suspect(table, 2);
    gv_load_suspect(table, 2);
    CU_ASSERT_FALSE(gv_load_take_suspicion(table, 1));
    CU_ASSERT_TRUE(gv_load_take_suspicion(table, 2));
    CU_ASSERT_FALSE(gv_load_take_suspicion(table, 2));
    gv_load_free(table);
}

GV_SUITE("route/load", GV_CASE(the_newest_report_of_an_engine_is_kept_whoever_brought_it),
         GV_CASE(prompts_are_remembered_and_the_old_ones_count_less),
         GV_CASE(a_suspicion_is_taken_once))
