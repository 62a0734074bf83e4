/* round_robin - one after the other, per instance, so that two pools never skew each other. */
#include "route/policy_row.h"

static uint32_t choose(struct gv_policy *policy, const struct gv_policy_request *request,
                       const struct gv_policy_facts *facts, enum gv_rule *rule)
{
    (void)facts;
    *rule = GV_RULE_TURN;
    uint64_t step = request->dry ? 0 : 1; /* whoever only asks takes no turn */
    uint64_t turn = atomic_fetch_add_explicit(&policy->turn, step, memory_order_relaxed);
    return (uint32_t)(turn % request->eligible_count);
}

const struct gv_policy_row gv_policy_round_robin = {.name = "round_robin", .choose = choose};
