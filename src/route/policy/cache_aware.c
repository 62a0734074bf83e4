/*
 * cache_aware - go where the prefix is, unless that is where everybody goes.
 *
 * No randomness: same tries, same loads, same eligible workers, same prompt, same worker on every
 * node. Ties fall to the less loaded, then to rendezvous.
 *
 * Which fingerprint does rendezvous use? The first block that no eligible worker holds (or the last
 * block, when all are held). Prompts commonly share their first blocks (a system prompt, tools), so
 * hashing block 0 would put everything on one worker; the whole prompt would part the turns of a
 * conversation. The first block that is news is where this conversation begins to be its own; it
 * follows from the tries alone, so two nodes with equal tries agree, and it is the same for two
 * requests that begin the same new conversation at the same instant.
 */
#include "route/policy_row.h"

/* What one decision rests on. */
struct view {
    const struct gv_policy_request *request;
    const uint32_t *depths;
    const uint32_t *loads;
    uint64_t seed;     /* of rendezvous */
    uint32_t depth;    /* deepest of all */
    uint32_t load_min; /* over all */
    uint32_t load_max;
    uint64_t load_sum;
};

static struct view view_of(const struct gv_policy_request *request, const uint32_t *depths,
                           const uint32_t *loads)
{
    struct view view = {
        .request = request, .depths = depths, .loads = loads, .load_min = UINT32_MAX};
    for (uint32_t i = 0; i < request->eligible_count; i++) {
        view.depth = depths[i] > view.depth ? depths[i] : view.depth;
        view.load_min = loads[i] < view.load_min ? loads[i] : view.load_min;
        view.load_max = loads[i] > view.load_max ? loads[i] : view.load_max;
        view.load_sum += loads[i];
    }
    if (request->count == 0) {
        view.seed = request->random; /* no prompt: nothing to agree about, so spread */
    } else {
        uint32_t news = view.depth < request->count ? view.depth : request->count - 1;
        view.seed = request->chain[news];
    }
    return view;
}

/* Deeper, then less loaded (both only when `by_load`), then rendezvous. */
static bool is_better(const struct view *view, uint32_t a, uint32_t b, bool by_load)
{
    if (by_load && view->depths[a] != view->depths[b]) {
        return view->depths[a] > view->depths[b];
    }
    if (by_load && view->loads[a] != view->loads[b]) {
        return view->loads[a] < view->loads[b];
    }
    return gv_policy_weight(view->request, a, view->seed) >
           gv_policy_weight(view->request, b, view->seed);
}

/* The best of those whose load is at most `load_limit`: by depth and load, or by rendezvous alone.
 */
static uint32_t best_within(const struct view *view, double load_limit, bool by_load)
{
    uint32_t best = UINT32_MAX;
    for (uint32_t i = 0; i < view->request->eligible_count; i++) {
        if ((double)view->loads[i] > load_limit) {
            continue;
        }
        if (best == UINT32_MAX || is_better(view, i, best, by_load)) {
            best = i;
        }
    }
    return best;
}

static bool is_imbalanced(const struct gv_policy_options *options, const struct view *view)
{
    return view->load_max - view->load_min > options->balance_abs_threshold &&
           (double)view->load_max > options->balance_rel_threshold * (double)view->load_min;
}

static uint32_t choose(struct gv_policy *policy, const struct gv_policy_request *request,
                       const uint32_t *depths, const uint32_t *loads, enum gv_rule *rule)
{
    const struct gv_policy_options *options = &policy->options;
    struct view view = view_of(request, depths, loads);
    if (is_imbalanced(options, &view)) {
        *rule = GV_RULE_BALANCE;
        double limit = (double)view.load_min + (double)options->balance_abs_threshold;
        return best_within(&view, limit, true);
    }
    if (request->count > 0 &&
        (double)view.depth > options->cache_threshold * (double)request->count) {
        *rule = GV_RULE_PREFIX;
        return best_within(&view, (double)view.load_max, true);
    }
    /* With this request on top, load + 1 stays within load_bound x mean + 1. The least loaded is
     * always within, since the bound is never below the mean. */
    *rule = GV_RULE_MISS;
    double mean = (double)view.load_sum / (double)request->eligible_count;
    double bound = options->load_bound > 1.0 ? options->load_bound : 1.0;
    double limit = bound * mean;
    if (limit < (double)view.load_min) {
        limit = (double)view.load_min; /* rounding must not leave nobody */
    }
    return best_within(&view, limit, false);
}

const struct gv_policy_row gv_policy_cache_aware = {
    .name = "cache_aware", .uses_prefix = true, .choose = choose};
