/* random - a uniform draw from the request's own random bits. */
#include "route/policy_row.h"

static uint32_t choose(struct gv_policy *policy, const struct gv_policy_request *request,
                       const struct gv_policy_facts *facts, enum gv_rule *rule)
{
    (void)policy;
    (void)facts;
    *rule = GV_RULE_CHANCE;
    return (uint32_t)(request->random % request->eligible_count); /* bias below 2^-49 */
}

const struct gv_policy_row gv_policy_random = {.name = "random", .choose = choose};
