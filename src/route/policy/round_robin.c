/* round_robin - one after the other, per instance, so that two pools never skew each other. */
#include "route/policy_row.h"

static uint32_t choose(struct gv_policy *policy, const struct gv_policy_request *request,
                       const uint32_t *depths, const uint32_t *loads, enum gv_rule *rule)
{
    (void)depths;
    (void)loads;
    *rule = GV_RULE_TURN;
    uint64_t turn = atomic_fetch_add_explicit(&policy->turn, 1, memory_order_relaxed);
    return (uint32_t)(turn % request->eligible_count);
}

const struct gv_policy_row gv_policy_round_robin = {.name = "round_robin", .choose = choose};
