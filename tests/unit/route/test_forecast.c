/* test_forecast.c - what was predicted, what was reported, and what follows. */
#include "grapevine/route/forecast.h"
#include "grapevine/route/load.h"
#include "support/suite.h"

#define CAPACITY 1000u
#define SETTLED  (GV_TRUST_SETTLE_MS + 1)

/* A judgement's worth of forecasts, of which `percent` comes true; returns the verdict, moved. */
struct engine {
    struct gv_trust trust;
    struct gv_forecasts sums;
    uint64_t now_ms;
};

static struct engine new_engine(void)
{
    struct engine engine = {.now_ms = 1000};
    gv_trust_init(&engine.trust);
    return engine;
}

static enum gv_trust_verdict report(struct engine *engine, uint64_t count, uint64_t percent,
                                    uint64_t held)
{
    engine->sums.count += count;
    engine->sums.predicted += count * 100;
    engine->sums.reported += count * percent;
    enum gv_trust_verdict verdict = gv_trust_judge(&engine->trust, engine->sums, engine->now_ms);
    (void)gv_trust_move(&engine->trust, verdict, held, CAPACITY, engine->now_ms);
    return verdict;
}

static void an_engine_that_has_less_than_forecast_is_trusted_with_less_of_what_it_holds(void)
{
    struct engine engine = new_engine();
    CU_ASSERT_EQUAL(report(&engine, GV_TRUST_SAMPLES - 1, 50, 400), GV_TRUST_SAME); /* too few */
    CU_ASSERT_EQUAL(engine.trust.permille, GV_TRUST_FULL);
    CU_ASSERT_EQUAL(report(&engine, 1, 50, 400), GV_TRUST_SINK);
    CU_ASSERT_EQUAL(engine.trust.permille, 300); /* three quarters of the 400 it was thought to */
    engine.now_ms += SETTLED;
    CU_ASSERT_EQUAL(report(&engine, GV_TRUST_SAMPLES, 50, 900), GV_TRUST_SINK);
    CU_ASSERT_EQUAL(engine.trust.permille, 225); /* more is held than it may: of what it may */
}

static void a_little_less_than_forecast_changes_nothing_and_all_of_it_gives_trust_back(void)
{
    struct engine engine = new_engine();
    CU_ASSERT_EQUAL(report(&engine, GV_TRUST_SAMPLES, 70, 1000), GV_TRUST_SAME);
    CU_ASSERT_EQUAL(report(&engine, GV_TRUST_SAMPLES, 69, 1000), GV_TRUST_SINK);
    CU_ASSERT_EQUAL(engine.trust.permille, 750);
    engine.now_ms += SETTLED;
    CU_ASSERT_EQUAL(report(&engine, GV_TRUST_SAMPLES, 90, 750), GV_TRUST_SAME);
    CU_ASSERT_EQUAL(report(&engine, GV_TRUST_SAMPLES, 91, 750), GV_TRUST_RISE);
    CU_ASSERT_EQUAL(engine.trust.permille, 938);
    engine.now_ms += SETTLED;
    CU_ASSERT_EQUAL(report(&engine, GV_TRUST_SAMPLES, 100, 750), GV_TRUST_RISE);
    CU_ASSERT_EQUAL(engine.trust.permille, GV_TRUST_FULL); /* and never more */
    CU_ASSERT_EQUAL(report(&engine, GV_TRUST_SAMPLES, 100, 750), GV_TRUST_SAME); /* just moved */
}

static void forecasts_made_before_the_last_change_do_not_count(void)
{
    struct engine engine = new_engine();
    CU_ASSERT_EQUAL(report(&engine, GV_TRUST_SAMPLES, 10, 1000), GV_TRUST_SINK);
    engine.now_ms += GV_TRUST_SETTLE_MS - 1;
    CU_ASSERT_EQUAL(report(&engine, 1000, 10, 1000), GV_TRUST_SAME);
    engine.now_ms += 1;
    CU_ASSERT_EQUAL(report(&engine, GV_TRUST_SAMPLES - 1, 10, 1000), GV_TRUST_SAME);
    CU_ASSERT_EQUAL(report(&engine, 1, 10, 1000), GV_TRUST_SINK);
}

static void trust_never_sinks_below_its_least(void)
{
    struct engine engine = new_engine();
    for (int i = 0; i < 40; i++) {
        engine.now_ms += SETTLED;
        (void)report(&engine, GV_TRUST_SAMPLES, 1, 1);
    }
    CU_ASSERT_EQUAL(engine.trust.permille, GV_TRUST_LEAST);
    for (int i = 0; i < 40; i++) {
        engine.now_ms += SETTLED;
        (void)report(&engine, GV_TRUST_SAMPLES, 100, 1);
    }
    CU_ASSERT_EQUAL(engine.trust.permille, GV_TRUST_FULL);
}

static void an_engine_that_never_had_anything_keeps_its_trust_and_is_said_to_cache_nothing(void)
{
    struct engine engine = new_engine();
    CU_ASSERT_EQUAL(report(&engine, GV_TRUST_SAMPLES, 0, 500), GV_TRUST_SAME);
    CU_ASSERT_FALSE(gv_trust_is_off(&engine.trust));
    CU_ASSERT_EQUAL(report(&engine, GV_TRUST_SAMPLES, 0, 500), GV_TRUST_SAME);
    CU_ASSERT_TRUE(gv_trust_is_off(&engine.trust));
    CU_ASSERT_EQUAL(engine.trust.permille, GV_TRUST_FULL);
    CU_ASSERT_EQUAL(report(&engine, GV_TRUST_SAMPLES, 80, 500), GV_TRUST_SAME);
    CU_ASSERT_FALSE(gv_trust_is_off(&engine.trust));
}

/* Sums of nodes that went are missing: that is no failure of anybody. */
static void sums_that_jump_back_are_begun_anew(void)
{
    struct engine engine = new_engine();
    (void)report(&engine, 1000, 100, 500);
    engine.sums = (struct gv_forecasts){10, 1000, 0};
    CU_ASSERT_EQUAL(report(&engine, 0, 0, 500), GV_TRUST_SAME);
    CU_ASSERT_EQUAL(report(&engine, GV_TRUST_SAMPLES, 95, 500), GV_TRUST_RISE);
}

/* ---- the watch ---- */

static bool saw(struct gv_watch *watch, uint64_t prompt, uint64_t predicted, uint64_t reported,
                uint64_t now_ms, uint64_t *since_ms)
{
    struct gv_watch_seen seen = {.prompt = prompt,
                                 .prompt_tokens = 100,
                                 .predicted = predicted,
                                 .reported = reported,
                                 .now_ms = now_ms,
                                 .sent_wall_ms = 1000000 + now_ms};
    return gv_watch_note(watch, &seen, since_ms);
}

static void three_whole_prompts_in_a_row_that_are_gone_mean_that_all_is_gone(void)
{
    struct gv_watch watch = {0};
    uint64_t since_ms = 0;
    CU_ASSERT_FALSE(saw(&watch, 1, 90, 90, 100, &since_ms));
    CU_ASSERT_FALSE(saw(&watch, 1, 90, 0, 200, &since_ms));
    CU_ASSERT_FALSE(saw(&watch, 2, 90, 0, 300, &since_ms));
    CU_ASSERT_FALSE(saw(&watch, 2, 90, 0, 400, &since_ms)); /* the same again says nothing */
    CU_ASSERT_FALSE(saw(&watch, 3, 89, 0, 400, &since_ms)); /* not a whole one */
    CU_ASSERT_TRUE(saw(&watch, 3, 90, 0, 500, &since_ms));
    CU_ASSERT_EQUAL(since_ms, 1000200); /* what was learnt since stays */
    for (uint64_t i = 10; i < 20; i++) {
        CU_ASSERT_FALSE(saw(&watch, i, 90, 0, 600, &since_ms)); /* said once */
    }
}

static void a_hit_in_between_or_none_before_or_none_lately_means_nothing(void)
{
    struct gv_watch watch = {0};
    uint64_t since_ms = 0;
    for (uint64_t i = 0; i < 10; i++) {
        CU_ASSERT_FALSE(saw(&watch, i, 100, 0, 100, &since_ms)); /* it never had anything */
    }
    for (uint64_t i = 0; i < 10; i++) {
        CU_ASSERT_FALSE(saw(&watch, i, 100, i % 3 == 0 ? 1 : 0, 200 + i, &since_ms));
    }
    CU_ASSERT_FALSE(saw(&watch, 1, 100, 100, 1000, &since_ms));
    uint64_t late_ms = 1000 + GV_WATCH_MEMORY_MS + 1;
    for (uint64_t i = 0; i < 10; i++) {
        CU_ASSERT_FALSE(saw(&watch, i, 100, 0, late_ms, &since_ms));
    }
    CU_ASSERT_FALSE(saw(&watch, 1, 100, 100, 1000, &since_ms));
    CU_ASSERT_FALSE(saw(&watch, 1, 100, 0, late_ms - 1, &since_ms));
    CU_ASSERT_FALSE(saw(&watch, 2, 100, 0, late_ms - 1, &since_ms));
    CU_ASSERT_TRUE(saw(&watch, 3, 100, 0, late_ms - 1, &since_ms));
}

/* ---- prefill ---- */

static void prefill_speed_is_measured_bounded_and_in_steps(void)
{
    CU_ASSERT_EQUAL(gv_prefill_speed(0, 0), GV_PREFILL_USUAL);
    CU_ASSERT_EQUAL(gv_prefill_speed(GV_PREFILL_TRUSTED - 1, 1000), GV_PREFILL_USUAL);
    CU_ASSERT_EQUAL(gv_prefill_speed(GV_PREFILL_TRUSTED, 1000000), 64); /* 65.5 */
    CU_ASSERT_EQUAL(gv_prefill_speed(GV_PREFILL_TRUSTED + 300, 1000000), 64);
    CU_ASSERT_EQUAL(gv_prefill_speed(GV_PREFILL_TRUSTED, 1), GV_PREFILL_MOST);
    CU_ASSERT_EQUAL(gv_prefill_speed(GV_PREFILL_TRUSTED, UINT64_C(1) << 50), GV_PREFILL_LEAST);
    CU_ASSERT_EQUAL(gv_prefill_speed(320000, 10000000), 32); /* the usual comes out as itself */
    CU_ASSERT_EQUAL(gv_prefill_speed(1000000, 1000000000), 1);
}

static void what_is_noted_comes_out_as_sums_and_the_old_prefills_count_less(void)
{
    struct gv_load_table *table;
    CU_ASSERT_EQUAL_FATAL(gv_load_new(&table), GV_OK);
    gv_load_note_forecast(table, 3, 100, 40);
    gv_load_note_forecast(table, 3, 100, 900); /* more than forecast excuses no other failure */
    gv_load_note_forecast(table, 3, 0, 900);   /* nothing was forecast */
    gv_load_note_prefill(table, 3, 4000000, 2000);
    struct gv_load_prompts prompts = gv_load_own_prompts(table, 3);
    CU_ASSERT_EQUAL(prompts.forecasts.count, 2);
    CU_ASSERT_EQUAL(prompts.forecasts.predicted, 200);
    CU_ASSERT_EQUAL(prompts.forecasts.reported, 140);
    CU_ASSERT_EQUAL(prompts.prefill_bytes, 4000000);
    gv_load_note_prefill(table, 3, 2, 2);
    gv_load_note_prefill(table, 3, 2, 0);
    prompts = gv_load_own_prompts(table, 3);
    CU_ASSERT_EQUAL(prompts.prefill_bytes, 2000001);
    CU_ASSERT_EQUAL(prompts.prefill_us, 1001);
    CU_ASSERT_EQUAL(prompts.forecasts.count, 2); /* only grow: others take differences */
    gv_load_free(table);
}

static void beliefs_begin_usual_and_reports_are_known_by_kind_of_request(void)
{
    struct gv_load_table *table;
    CU_ASSERT_EQUAL_FATAL(gv_load_new(&table), GV_OK);
    struct gv_load_belief belief = gv_load_belief(table, 5);
    CU_ASSERT_EQUAL(belief.prefill_bytes_per_ms, GV_PREFILL_USUAL);
    CU_ASSERT_EQUAL(belief.trust_permille, GV_TRUST_FULL);
    CU_ASSERT_FALSE(belief.is_uncached);
    gv_load_believe(table, 5, (struct gv_load_belief){64, 250, true});
    belief = gv_load_belief(table, 5);
    CU_ASSERT_EQUAL(belief.prefill_bytes_per_ms, 64);
    CU_ASSERT_EQUAL(belief.trust_permille, 250);
    CU_ASSERT_TRUE(belief.is_uncached);
    CU_ASSERT_FALSE(gv_load_reports(table, 5, 1, false));
    CU_ASSERT_TRUE(gv_load_reports(table, 5, 1, true));
    CU_ASSERT_TRUE(gv_load_reports(table, 5, 1, false)); /* now none means that nothing was there */
    CU_ASSERT_FALSE(gv_load_reports(table, 5, 2, false));
    gv_load_free(table);
}

GV_SUITE("route/forecast",
         GV_CASE(an_engine_that_has_less_than_forecast_is_trusted_with_less_of_what_it_holds),
         GV_CASE(a_little_less_than_forecast_changes_nothing_and_all_of_it_gives_trust_back),
         GV_CASE(forecasts_made_before_the_last_change_do_not_count),
         GV_CASE(trust_never_sinks_below_its_least),
         GV_CASE(an_engine_that_never_had_anything_keeps_its_trust_and_is_said_to_cache_nothing),
         GV_CASE(sums_that_jump_back_are_begun_anew),
         GV_CASE(three_whole_prompts_in_a_row_that_are_gone_mean_that_all_is_gone),
         GV_CASE(a_hit_in_between_or_none_before_or_none_lately_means_nothing),
         GV_CASE(prefill_speed_is_measured_bounded_and_in_steps),
         GV_CASE(what_is_noted_comes_out_as_sums_and_the_old_prefills_count_less),
         GV_CASE(beliefs_begin_usual_and_reports_are_known_by_kind_of_request))
