/*
 * Addresses that refused us: how long each is left alone, and which is forgotten first.
 */
#include "../../../src/cluster/backoff.h"
#include "support/suite.h"

static struct gv_backoff backoff;

static struct gv_addr host(uint16_t port)
{
    return (struct gv_addr){.family = 4, .ip = {10, 0, 0, 1}, .port = port};
}

static void refuse(uint16_t port, uint64_t now_ms)
{
    struct gv_addr addr = host(port);
    gv_backoff_add(&backoff, &addr, now_ms);
}

static bool rests(uint16_t port, uint64_t now_ms)
{
    struct gv_addr addr = host(port);
    return gv_backoff_has(&backoff, &addr, now_ms);
}

/* Both sides of each delay. */
static void each_refusal_doubles_the_delay_up_to_a_minute(void)
{
    static const uint64_t delays[] = {1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000};
    uint64_t now_ms = 5000;
    backoff = (struct gv_backoff){0};
    CU_ASSERT_FALSE(rests(1, now_ms));
    for (size_t i = 0; i < sizeof delays / sizeof delays[0]; i++) {
        refuse(1, now_ms);
        CU_ASSERT_TRUE(rests(1, now_ms));
        CU_ASSERT_TRUE(rests(1, now_ms + delays[i] - 1));
        CU_ASSERT_FALSE(rests(1, now_ms + delays[i]));
        now_ms += delays[i];
    }
    CU_ASSERT_FALSE(rests(2, now_ms - 1)); /* another port is another address */
}

static void who_took_us_in_begins_anew(void)
{
    struct gv_addr addr = host(1);
    backoff = (struct gv_backoff){0};
    refuse(1, 1000);
    refuse(1, 2000);
    gv_backoff_remove(&backoff, &addr);
    CU_ASSERT_FALSE(rests(1, 2000));
    refuse(1, 3000);
    CU_ASSERT_TRUE(rests(1, 3999));
    CU_ASSERT_FALSE(rests(1, 4000));
    gv_backoff_remove(&backoff, &addr);
    gv_backoff_remove(&backoff, &addr); /* of one that is not there: nothing */
}

/* Both sides: as many as there is room for all rest; with one more, the first to be over goes. */
static void a_full_table_forgets_the_delay_that_is_over_first(void)
{
    backoff = (struct gv_backoff){0};
    for (uint16_t i = 0; i < GV_BACKOFF_SLOTS; i++) {
        refuse((uint16_t)(1 + i), 1000 + i);
    }
    for (uint16_t i = 0; i < GV_BACKOFF_SLOTS; i++) {
        CU_ASSERT_TRUE(rests((uint16_t)(1 + i), 1500));
    }
    refuse(500, 1500);
    CU_ASSERT_TRUE(rests(500, 1500));
    CU_ASSERT_FALSE(rests(1, 1500));
    for (uint16_t i = 1; i < GV_BACKOFF_SLOTS; i++) {
        CU_ASSERT_TRUE(rests((uint16_t)(1 + i), 1500));
    }
}

GV_SUITE("unit/cluster/backoff", GV_CASE(each_refusal_doubles_the_delay_up_to_a_minute),
         GV_CASE(who_took_us_in_begins_anew),
         GV_CASE(a_full_table_forgets_the_delay_that_is_over_first))
