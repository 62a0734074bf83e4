/*
 * cache_aware - go where the prefix is, unless that is where everybody goes.
 *
 * No randomness: same tries, same loads, same eligible workers, same prompt, same worker on every
 * node. Ties fall to the less loaded, then to rendezvous by the first block that is news (see
 * gv_policy_seed()).
 */
#include "route/policy_row.h"

/* What one decision rests on. */
struct view {
    const struct gv_policy_request *request;
    const struct gv_policy_facts *facts;
    uint64_t seed; /* of rendezvous */
};

/* Deeper, then less loaded, then rendezvous. */
static bool is_better(const struct view *view, uint32_t a, uint32_t b)
{
    const struct gv_policy_facts *facts = view->facts;
    if (facts->depths[a] != facts->depths[b]) {
        return facts->depths[a] > facts->depths[b];
    }
    if (facts->loads[a] != facts->loads[b]) {
        return facts->loads[a] < facts->loads[b];
    }
    return gv_policy_weight(view->request, a, view->seed) >
           gv_policy_weight(view->request, b, view->seed);
}

/* The best of those whose load is at most `load_limit`. */
static uint32_t best_within(const struct view *view, uint64_t load_limit)
{
    uint32_t best = GV_POLICY_NOBODY;
    for (uint32_t i = 0; i < view->request->eligible_count; i++) {
        if (!gv_policy_may(view->facts, i, load_limit)) {
            continue;
        }
        if (best == GV_POLICY_NOBODY || is_better(view, i, best)) {
            best = i;
        }
    }
    return best;
}

static uint32_t choose(struct gv_policy *policy, const struct gv_policy_request *request,
                       const struct gv_policy_facts *facts, enum gv_rule *rule)
{
    struct view view = {request, facts, gv_policy_seed(request, facts->depths)};
    uint64_t load_limit;
    if (gv_policy_is_uneven(policy, request, facts, &load_limit)) {
        *rule = GV_RULE_BALANCE;
        return best_within(&view, load_limit);
    }
    uint32_t best = best_within(&view, load_limit);
    if (request->count > 0 &&
        (double)facts->depths[best] > gv_policy_cache_threshold(policy) * (double)request->count) {
        *rule = GV_RULE_PREFIX;
        return best;
    }
    *rule = GV_RULE_MISS;
    return gv_policy_rendezvous(policy, request, facts->loads, view.seed);
}

const struct gv_policy_row gv_policy_cache_aware = {.name = "cache_aware",
                                                    .uses_prefix = true,
                                                    .uses_trie = true,
                                                    .gates_itself = true,
                                                    .choose = choose};
