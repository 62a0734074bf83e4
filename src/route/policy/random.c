/* random - a uniform draw from the request's own random bits. */
#include "route/policy_row.h"

static uint32_t choose(struct gv_policy *policy, const struct gv_policy_request *request,
                       const uint32_t *depths, const uint32_t *loads, enum gv_rule *rule)
{
    (void)policy;
    (void)depths;
    (void)loads;
    *rule = GV_RULE_CHANCE;
    return (uint32_t)(request->random % request->eligible_count); /* bias below 2^-49 */
}

const struct gv_policy_row gv_policy_random = {.name = "random", .choose = choose};
