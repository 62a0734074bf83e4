/*
 * policy.h - the table of ways to choose a worker. A policy is one file and one row.
 *
 * Deterministic wherever it can be: same tries, same loads, same eligible workers, same request,
 * same worker, on every node. What is not (random, round robin) takes its numbers from the request.
 * Deciding changes nothing but the policy's own counters; recording the decision is the caller's.
 */
#ifndef GV_ROUTE_POLICY_H
#define GV_ROUTE_POLICY_H

#include "grapevine/route/decision.h"
#include "grapevine/route/fleet.h"
#include "grapevine/route/forest.h"
#include "grapevine/route/load.h"

struct gv_policy; /* one instance, e.g. of one pool; any thread */

struct gv_policy_options {
    double cache_threshold; /* 0..1 of the prompt's blocks */
    uint32_t balance_abs_threshold;
    double balance_rel_threshold;
    double load_bound; /* miss: no worker above this times the mean, plus 1; 1.25 */
};

struct gv_policy_request {
    const char *key;       /* "pool::model" */
    const uint64_t *chain; /* fingerprints; NULL with count 0 */
    uint32_t count;
    const struct gv_worker *const *eligible; /* sorted by url */
    uint32_t eligible_count;
    struct gv_slice routing_key; /* X-SMG-Routing-Key, or empty */
    uint64_t random;             /* 64 fresh random bits */
};

/** Errors: GV_ENOTFOUND no policy of this name; GV_ENOMEM. `forest` and `load` are borrowed. */
GV_MUST_USE enum gv_err gv_policy_new(const char *name, struct gv_policy_options options,
                                      struct gv_forest *forest, struct gv_load_table *load,
                                      struct gv_policy **policy);
void gv_policy_free(struct gv_policy *policy);

const char *gv_policy_name(const struct gv_policy *policy);

/** Does it look at prefixes? When false the caller need not read the prompt. */
bool gv_policy_uses_prefix(const struct gv_policy *policy);

/** Choose. With nothing eligible the rule is NONE. Any thread. */
void gv_policy_decide(struct gv_policy *policy, const struct gv_policy_request *request,
                      struct gv_decision *decision);

/** The names of all policies, NULL-terminated, for --help and checks. */
const char *const *gv_policy_names(void);

#endif
