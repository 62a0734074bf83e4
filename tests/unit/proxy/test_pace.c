#include "../../../src/proxy/pace.h"
#include "support/suite.h"

static const struct gv_pace_limits limits = {.silence_ms = 60000, .min_bytes_per_s = 500};

static void silence_counts_from_the_last_byte(void)
{
    struct gv_pace pace;
    gv_pace_begin(&pace, 1000);
    CU_ASSERT_FALSE(gv_pace_is_late(&pace, limits, 60999));
    CU_ASSERT_TRUE(gv_pace_is_late(&pace, limits, 61000));
    gv_pace_add(&pace, 1 << 30, 50000);
    CU_ASSERT_FALSE(gv_pace_is_late(&pace, limits, 109999));
    CU_ASSERT_TRUE(gv_pace_is_late(&pace, limits, 110000));
}

/* 60 s and a five-hundredth for each byte. */
static void a_byte_now_and_then_is_late_although_never_silent(void)
{
    struct gv_pace pace;
    gv_pace_begin(&pace, 0);
    for (uint64_t now_ms = 1000; now_ms <= 60000; now_ms += 1000) {
        gv_pace_add(&pace, 1, now_ms);
    }
    CU_ASSERT_FALSE(gv_pace_is_late(&pace, limits, 60000 + 119));
    CU_ASSERT_TRUE(gv_pace_is_late(&pace, limits, 60000 + 120));
}

static void who_keeps_the_rate_may_take_as_long_as_it_takes(void)
{
    struct gv_pace pace;
    gv_pace_begin(&pace, 0);
    for (uint64_t now_ms = 1000; now_ms <= 86400000; now_ms += 1000) {
        gv_pace_add(&pace, 500, now_ms);
        CU_ASSERT_FALSE_FATAL(gv_pace_is_late(&pace, limits, now_ms));
    }
}

static void without_a_rate_only_silence_counts(void)
{
    struct gv_pace_limits silence = {.silence_ms = 60000, .min_bytes_per_s = 0};
    struct gv_pace pace;
    gv_pace_begin(&pace, 0);
    for (uint64_t now_ms = 59000; now_ms <= 5900000; now_ms += 59000) {
        CU_ASSERT_FALSE_FATAL(gv_pace_is_late(&pace, silence, now_ms));
        gv_pace_add(&pace, 1, now_ms);
    }
}

static void huge_bodies_and_rates_do_not_wrap(void)
{
    struct gv_pace_limits fast = {.silence_ms = 1, .min_bytes_per_s = UINT32_MAX};
    struct gv_pace pace;
    gv_pace_begin(&pace, 0);
    gv_pace_add(&pace, SIZE_MAX / 2, 1000);
    CU_ASSERT_FALSE(gv_pace_is_late(&pace, fast, 1000));
    CU_ASSERT_TRUE(gv_pace_is_late(&pace, fast, 1001));
}

GV_SUITE("proxy/pace", GV_CASE(silence_counts_from_the_last_byte),
         GV_CASE(a_byte_now_and_then_is_late_although_never_silent),
         GV_CASE(who_keeps_the_rate_may_take_as_long_as_it_takes),
         GV_CASE(without_a_rate_only_silence_counts), GV_CASE(huge_bodies_and_rates_do_not_wrap))
