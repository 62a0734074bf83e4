/*
 * budget.c - tokens earned by requests and spent by retries.
 */
#include "grapevine/route/budget.h"

#include "grapevine/base/assert.h"

#define HUNDREDTHS 100u /* of a retry: what one percent earns */
#define DAY_MS     UINT64_C(86400000)

static uint64_t ceiling(const struct gv_budget *budget)
{
    return (uint64_t)budget->limits.burst * HUNDREDTHS;
}

void gv_budget_init(struct gv_budget *budget, struct gv_budget_limits limits)
{
    GV_ASSERT(limits.retry_percent <= 1000);
    GV_ASSERT(limits.burst >= limits.reserve);
    budget->limits = limits;
    budget->filled_at_ms = 0;
    budget->hundredths = (uint64_t)limits.reserve * HUNDREDTHS;
}

static void save(struct gv_budget *budget, uint64_t hundredths)
{
    GV_ASSERT(budget->hundredths <= ceiling(budget));
    uint64_t room = ceiling(budget) - budget->hundredths;
    budget->hundredths += hundredths < room ? hundredths : room;
}

void gv_budget_earn(struct gv_budget *budget)
{
    save(budget, budget->limits.retry_percent);
}

/* Only whole hundredths are taken from the time; the rest of it waits. */
void gv_budget_fill(struct gv_budget *budget, uint64_t now_ms)
{
    uint64_t rate = (uint64_t)budget->limits.floor_per_s * HUNDREDTHS; /* per second */
    if (budget->filled_at_ms == 0 || now_ms < budget->filled_at_ms || rate == 0) {
        budget->filled_at_ms = now_ms;
        return;
    }
    uint64_t passed_ms = now_ms - budget->filled_at_ms;
    if (passed_ms >= DAY_MS) {
        budget->hundredths = ceiling(budget);
        budget->filled_at_ms = now_ms;
        return;
    }
    uint64_t earned = passed_ms * rate / 1000;
    save(budget, earned);
    budget->filled_at_ms += earned * 1000 / rate;
}

bool gv_budget_spend(struct gv_budget *budget)
{
    GV_ASSERT(budget->hundredths <= ceiling(budget));
    if (budget->hundredths < HUNDREDTHS) {
        return false;
    }
    budget->hundredths -= HUNDREDTHS;
    return true;
}

uint32_t gv_budget_left(const struct gv_budget *budget)
{
    return (uint32_t)(budget->hundredths / HUNDREDTHS);
}
