/*
 * prefix_cost - the worker from which the first token should come soonest.
 *
 * One score in one unit, milliseconds: the prompt bytes that wait at the worker to be computed and
 * those of this prompt that it does not hold, at a usual prefill speed, and a little for each
 * request that it is decoding for. So a prefix is worth a detour exactly as long as computing it
 * would take: no threshold decides between cache and balance.
 *
 * The lowest score wins; among near-equals rendezvous, by the first block that is news (see
 * gv_policy_seed()). Without that, one shared first block would draw every prompt of an idle fleet
 * to whoever has it. Nothing is random: same tries, same loads, same prompt, same worker.
 */
#include "route/policy_row.h"

#define PREFILL_BYTES_PER_MS 32.0 /* 8,000 tokens of 4 bytes a second */
#define REQUEST_MS           1.0  /* what a request being decoded takes from the next prefill */
#define NEAR_SHARE           0.05 /* of the lowest score, and of what the whole prompt costs */

static double score_of(const struct gv_policy *policy, const struct gv_policy_request *request,
                       const struct gv_policy_facts *facts, uint32_t place)
{
    uint64_t cached = (uint64_t)facts->depths[place] * policy->options.block_bytes;
    uint64_t own = cached < request->prompt_bytes ? request->prompt_bytes - cached : 0;
    if (request->pool == GV_POOL_DECODE) {
        own = 0; /* computed by the prefill worker of the pair */
    }
    double bytes = (double)facts->queued_bytes[place] + (double)own;
    return bytes / PREFILL_BYTES_PER_MS + REQUEST_MS * (double)facts->loads[place];
}

static uint32_t choose(struct gv_policy *policy, const struct gv_policy_request *request,
                       const struct gv_policy_facts *facts, enum gv_rule *rule)
{
    uint64_t load_limit;
    bool uneven = gv_policy_is_uneven(policy, request, facts->loads, &load_limit);
    *rule = uneven ? GV_RULE_BALANCE : GV_RULE_COST;
    double lowest = -1;
    for (uint32_t i = 0; i < request->eligible_count; i++) {
        facts->scores[i] = score_of(policy, request, facts, i);
        if (facts->loads[i] <= load_limit && (lowest < 0 || facts->scores[i] < lowest)) {
            lowest = facts->scores[i];
        }
    }
    double whole = (double)request->prompt_bytes / PREFILL_BYTES_PER_MS;
    double near = lowest + NEAR_SHARE * (lowest + whole);
    uint64_t seed = gv_policy_seed(request, facts->depths);
    uint32_t best = GV_POLICY_NOBODY;
    uint64_t best_weight = 0;
    for (uint32_t i = 0; i < request->eligible_count; i++) {
        if (facts->loads[i] > load_limit || facts->scores[i] > near) {
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
