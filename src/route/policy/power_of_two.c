/* power_of_two - of two drawn at random, the less loaded (Mitzenmacher 2001); a tie: the first. */
#include "grapevine/base/assert.h"
#include "route/policy_row.h"

static uint32_t choose(struct gv_policy *policy, const struct gv_policy_request *request,
                       const struct gv_policy_facts *facts, enum gv_rule *rule)
{
    (void)policy;
    GV_ASSERT(request->eligible_count >= 2);
    *rule = GV_RULE_CHANCE;
    uint32_t count = request->eligible_count;
    uint32_t first = (uint32_t)((request->random & UINT32_MAX) % count);
    uint32_t second = (uint32_t)((request->random >> 32) % (count - 1));
    if (second >= first) {
        second += 1; /* the two are never the same */
    }
    return facts->loads[second] < facts->loads[first] ? second : first;
}

const struct gv_policy_row gv_policy_power_of_two = {.name = "power_of_two", .choose = choose};
