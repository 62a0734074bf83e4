/*
 * least_load - the fewest requests in flight, cluster-wide.
 *
 * Ties are broken by rendezvous over the request's random bits: never always the first worker, or
 * an idle cluster would send everything to one engine.
 */
#include "route/policy_row.h"

static uint32_t choose(struct gv_policy *policy, const struct gv_policy_request *request,
                       const struct gv_policy_facts *facts, enum gv_rule *rule)
{
    (void)policy;
    *rule = GV_RULE_LEAST;
    uint32_t best = 0;
    uint64_t best_weight = gv_policy_weight(request, 0, request->random);
    for (uint32_t i = 1; i < request->eligible_count; i++) {
        if (facts->loads[i] > facts->loads[best]) {
            continue;
        }
        uint64_t weight = gv_policy_weight(request, i, request->random);
        if (facts->loads[i] < facts->loads[best] || weight > best_weight) {
            best = i;
            best_weight = weight;
        }
    }
    return best;
}

const struct gv_policy_row gv_policy_least_load = {.name = "least_load", .choose = choose};
