/*
 * prefix_cost - the worker from which the first token should come soonest, and that of the next
 * prompt too.
 *
 * One score in one unit, milliseconds: the prompt bytes that wait at the worker to be computed, and
 * those of this prompt that it does not hold, at a usual prefill speed, and a little for each
 * request that it is decoding for. So a prefix is worth waiting for, as long as computing it would
 * cost more; no number of requests decides between cache and balance.
 *
 * The bytes of this prompt weigh more than those that wait. Both delay its first token alike; but
 * what is computed twice also delays whoever comes next, and takes the room of what others might
 * have used. Each for himself, all wait longer: with weight 1 a fleet near its limit recomputes
 * until it is beyond it.
 *
 * The lowest score wins; among near-equals rendezvous, by the first block that is news (see
 * gv_policy_seed()). A match not above the cache threshold counts as none: else one shared system
 * prompt would draw every prompt of an idle fleet to whoever had it first. Nothing is random: same
 * tries, same loads, same prompt, same worker.
 */
#include "route/policy_row.h"

#define PREFILL_BYTES_PER_MS 32.0 /* 8,000 tokens of 4 bytes a second */
#define REQUEST_MS           1.0  /* what a request being decoded takes from the next prefill */
#define OWN_WEIGHT           4.0 /* 1: too much is computed twice; 6: a hot prefix waits too long */
#define NEAR_SHARE           0.05 /* of the lowest score, and of what the whole prompt takes */

/* Bytes of the prompt that the worker at `place` would have to compute. */
static uint64_t own_bytes(const struct gv_policy *policy, const struct gv_policy_request *request,
                          uint32_t depth)
{
    if (request->pool == GV_POOL_DECODE) {
        return 0; /* the prefill worker of the pair computes them */
    }
    if ((double)depth <= gv_policy_cache_threshold(policy) * (double)request->count) {
        return request->prompt_bytes;
    }
    uint64_t cached = (uint64_t)depth * policy->options.block_bytes;
    return cached < request->prompt_bytes ? request->prompt_bytes - cached : 0;
}

static double score_of(const struct gv_policy *policy, const struct gv_policy_request *request,
                       const struct gv_policy_facts *facts, uint32_t place)
{
    double own = (double)own_bytes(policy, request, facts->depths[place]);
    double bytes = (double)facts->queued_bytes[place] + OWN_WEIGHT * own;
    return bytes / PREFILL_BYTES_PER_MS + REQUEST_MS * (double)facts->loads[place];
}

static uint32_t choose(struct gv_policy *policy, const struct gv_policy_request *request,
                       const struct gv_policy_facts *facts, enum gv_rule *rule)
{
    uint64_t load_limit;
    bool uneven = gv_policy_is_uneven(policy, request, facts, &load_limit);
    *rule = uneven ? GV_RULE_BALANCE : GV_RULE_COST;
    double lowest = -1;
    for (uint32_t i = 0; i < request->eligible_count; i++) {
        facts->scores[i] = score_of(policy, request, facts, i);
        if (gv_policy_may(facts, i, load_limit) && (lowest < 0 || facts->scores[i] < lowest)) {
            lowest = facts->scores[i];
        }
    }
    double whole = (double)own_bytes(policy, request, 0) / PREFILL_BYTES_PER_MS;
    double near = lowest + NEAR_SHARE * (lowest + whole);
    uint64_t seed = gv_policy_seed(request, facts->depths);
    uint32_t best = GV_POLICY_NOBODY;
    uint64_t best_weight = 0;
    for (uint32_t i = 0; i < request->eligible_count; i++) {
        if (!gv_policy_may(facts, i, load_limit) || facts->scores[i] > near) {
            continue;
        }
        uint64_t weight = gv_policy_weight(request, i, seed);
        if (best == GV_POLICY_NOBODY || weight > best_weight) {
            best = i;
            best_weight = weight;
        }
    }
    return best;
}

const struct gv_policy_row gv_policy_prefix_cost = {
    .name = "prefix_cost", .uses_prefix = true, .uses_trie = true, .choose = choose};
