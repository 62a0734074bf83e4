/*
 * consistent_hashing - whom the request names; else the routing key's; else the client's; else any.
 *
 *   X-SMG-Target-Worker  a worker's id, its URL, or its place among the eligible ones (0 is the
 *                        first by URL). Nobody else will do: not eligible means refused.
 *   X-SMG-Routing-Key    rendezvous: when a worker leaves, only its keys move, evenly to all
 *                        others, and when it returns they come back. A busy key does not overrun
 *                        its worker: beyond the load bound the next in its order helps out.
 *   the client           the same, by what tells clients apart.
 */
#include "route/policy_row.h"

static uint32_t find_target(const struct gv_policy_request *request)
{
    for (uint32_t i = 0; i < request->eligible_count; i++) {
        const struct gv_worker *worker = request->eligible[i];
        if (gv_slice_is(request->target, worker->id) || gv_slice_is(request->target, worker->url)) {
            return i;
        }
    }
    uint64_t place;
    if (gv_slice_to_u64(request->target, &place) && place < request->eligible_count) {
        return (uint32_t)place;
    }
    return GV_POLICY_NOBODY;
}

static uint32_t choose(struct gv_policy *policy, const struct gv_policy_request *request,
                       const struct gv_policy_facts *facts, enum gv_rule *rule)
{
    if (request->target.len > 0) {
        *rule = GV_RULE_TARGET;
        return find_target(request);
    }
    if (request->routing_key != 0) {
        *rule = GV_RULE_STICKY;
        return gv_policy_rendezvous(policy, request, facts->loads, request->routing_key);
    }
    *rule = request->client != 0 ? GV_RULE_HASH : GV_RULE_CHANCE;
    uint64_t seed = request->client != 0 ? request->client : request->random;
    return gv_policy_rendezvous(policy, request, facts->loads, seed);
}

const struct gv_policy_row gv_policy_consistent_hashing = {
    .name = "consistent_hashing", .obeys_target = true, .choose = choose};
