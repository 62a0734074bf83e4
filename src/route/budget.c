/*
 * budget.c - tokens earned by requests and spent by retries.
 */
#include "grapevine/route/budget.h"

#include "grapevine/base/assert.h"

#define HUNDREDTHS 100u /* of a retry: what one percent earns */

static uint64_t ceiling(const struct gv_budget *budget)
{
    return (uint64_t)budget->limits.burst * HUNDREDTHS;
}

void gv_budget_init(struct gv_budget *budget, struct gv_budget_limits limits)
{
    GV_ASSERT(limits.retry_percent <= 100);
    GV_ASSERT(limits.burst >= limits.reserve);
    budget->limits = limits;
    budget->hundredths = (uint64_t)limits.reserve * HUNDREDTHS;
}

void gv_budget_earn(struct gv_budget *budget)
{
    GV_ASSERT(budget->hundredths <= ceiling(budget));
    uint64_t saved = budget->hundredths + budget->limits.retry_percent;
    budget->hundredths = saved < ceiling(budget) ? saved : ceiling(budget);
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
