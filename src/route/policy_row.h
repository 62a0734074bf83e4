/*
 * policy_row.h - what a policy file sees: its instance, the table's row, and helpers all share.
 *
 * Private to route. A new policy is one file with one gv_policy_row and one line in
 * GV_POLICY_LIST.
 */
#ifndef GV_ROUTE_POLICY_ROW_H
#define GV_ROUTE_POLICY_ROW_H

#include "grapevine/route/policy.h"
#include <stdatomic.h>

/* Every policy: its row is gv_policy_<name>, in policy/<name>.c. The first is the usual one. */
#define GV_POLICY_LIST(X)                                                                          \
    X(prefix_cost)                                                                                 \
    X(cache_aware)                                                                                 \
    X(prefix_hash)                                                                                 \
    X(consistent_hashing)                                                                          \
    X(manual)                                                                                      \
    X(least_load)                                                                                  \
    X(power_of_two)                                                                                \
    X(round_robin)                                                                                 \
    X(random)                                                                                      \
    X(bucket)                                                                                      \
    X(passthrough)

#define GV_POLICY_NOBODY UINT32_MAX /* choose() found none that it may take */

/* What is known of the eligible workers, in their order. */
struct gv_policy_facts {
    const uint32_t *depths;       /* leading blocks held; all 0 unless uses_trie */
    const uint32_t *loads;        /* requests in flight, cluster-wide */
    const uint64_t *queued_bytes; /* of prompt, neither cached nor worked off, cluster-wide */
    const double *speeds;         /* bytes of prompt that an engine computes in a ms; above 0 */
    const uint32_t *usages;       /* of its engine's KV tokens, permille; GV_LOAD_USAGE_UNKNOWN */
    const bool *full; /* its engine has few KV tokens left: not while another has more */
    bool any_full;    /* and not all are */
    double *scores;   /* all 0; a policy with a measure of its own shows it here */
};

struct gv_policy_row {
    const char *name;
    bool uses_prefix;   /* it looks at fingerprints, so the caller must hash the prompt */
    bool uses_trie;     /* it asks the forest, so decisions must be recorded */
    bool obeys_target;  /* of a request that has one; asked even when one worker is eligible */
    bool decides_alone; /* asked even when one worker is eligible, because it remembers */
    bool gates_itself;  /* it looks at gv_policy_is_uneven() itself, or never; the others are only
                           offered those that may be chosen */
    /* Make and free policy->memory; NULL for a policy without. Errors: GV_ENOMEM. */
    enum gv_err (*begin)(struct gv_policy *policy);
    void (*end)(struct gv_policy *policy);
    /* The place of the chosen worker in request->eligible, or GV_POLICY_NOBODY; sets the rule. At
     * least one is eligible; at least two unless decides_alone, or a target is obeyed. */
    uint32_t (*choose)(struct gv_policy *policy, const struct gv_policy_request *request,
                       const struct gv_policy_facts *facts, enum gv_rule *rule);
};

struct gv_policy {
    const struct gv_policy_row *row;
    struct gv_forest *forest;         /* borrowed */
    struct gv_load_table *load;       /* borrowed */
    struct gv_policy_options options; /* never changes; the three thresholds are below */
    _Atomic double cache_threshold;
    _Atomic uint32_t balance_abs_threshold;
    _Atomic double balance_rel_threshold;
    _Atomic uint64_t turn; /* decisions so far */
    void *memory;          /* owned by the row's begin and end; NULL without */
};

/* cache_aware: which share of the prompt must be known to a worker for it to be chosen by prefix.
 */
double gv_policy_cache_threshold(const struct gv_policy *policy);

/* The rendezvous weight of the eligible worker at `place` for `seed`. */
uint64_t gv_policy_weight(const struct gv_policy_request *request, uint32_t place, uint64_t seed);

/*
 * What rendezvous hashes when prefixes matter: the first block that no eligible worker holds (the
 * last block, when all are held; random bits without a prompt).
 *
 * Prompts commonly share their first blocks (a system prompt, tools), so hashing block 0 would put
 * everything on one worker; the whole prompt would part the turns of a conversation. The first
 * block that is news is where this conversation begins to be its own; it follows from the tries
 * alone, so two nodes with equal tries agree, and it is the same for two requests that begin the
 * same new conversation at the same instant.
 */
uint64_t gv_policy_seed(const struct gv_policy_request *request, const uint32_t *depths);

/*
 * Are loads out of balance, by the options' thresholds? Then `*load_limit` is what the near-least
 * loaded of those that are not full have at most, else the largest load. Engines of which some are
 * full are out of balance, too.
 */
bool gv_policy_is_uneven(const struct gv_policy *policy, const struct gv_policy_request *request,
                         const struct gv_policy_facts *facts, uint64_t *load_limit);

/* May the worker at `place` be chosen, with loads that are out of balance or not? */
static inline bool gv_policy_may(const struct gv_policy_facts *facts, uint32_t place,
                                 uint64_t load_limit)
{
    return facts->loads[place] <= load_limit && !(facts->any_full && facts->full[place]);
}

/* The most that a worker may have now to take this request and stay within load_bound times the
 * mean, plus 1. The least loaded always may. */
double gv_policy_load_limit(const struct gv_policy *policy, const struct gv_policy_request *request,
                            const uint32_t *loads);

/*
 * Rendezvous with bounded load (Mirrokni, Thorup, Zadimoghaddam 2018): the highest weight for
 * `seed` among the workers within gv_policy_load_limit(). When a worker leaves, only what it had
 * moves; when it returns, just that comes back.
 */
uint32_t gv_policy_rendezvous(const struct gv_policy *policy,
                              const struct gv_policy_request *request, const uint32_t *loads,
                              uint64_t seed);

#define GV_POLICY_DECLARE(name) extern const struct gv_policy_row gv_policy_##name;
GV_POLICY_LIST(GV_POLICY_DECLARE)
#undef GV_POLICY_DECLARE

#endif
