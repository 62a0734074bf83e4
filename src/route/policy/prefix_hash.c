/*
 * prefix_hash - the leading blocks of the prompt name the worker, within a load bound.
 *
 * No memory and nothing to share: all nodes agree as long as they see the same workers, and a
 * conversation stays where its beginning was hashed to. What it cannot know is what a worker still
 * holds, and prompts that differ only behind the blocks hashed are all one to it.
 */
#include "route/policy_row.h"

static uint32_t choose(struct gv_policy *policy, const struct gv_policy_request *request,
                       const struct gv_policy_facts *facts, enum gv_rule *rule)
{
    uint64_t seed = request->random; /* no prompt: nothing to agree about, so spread */
    *rule = GV_RULE_CHANCE;
    if (request->count > 0) {
        uint32_t blocks = policy->options.hash_blocks > 1 ? policy->options.hash_blocks : 1;
        blocks = blocks < request->count ? blocks : request->count;
        seed = request->chain[blocks - 1]; /* names all blocks up to it */
        *rule = GV_RULE_HASH;
    }
    return gv_policy_rendezvous(policy, request, facts->loads, seed);
}

const struct gv_policy_row gv_policy_prefix_hash = {
    .name = "prefix_hash", .uses_prefix = true, .choose = choose};
