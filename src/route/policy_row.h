/*
 * policy_row.h - what a policy file sees: its instance, the table's row, and helpers all share.
 *
 * Private to route. A new policy is one file with one gv_policy_row and one line in policy.c.
 */
#ifndef GV_ROUTE_POLICY_ROW_H
#define GV_ROUTE_POLICY_ROW_H

#include "grapevine/route/policy.h"
#include <stdatomic.h>

struct gv_policy_row {
    const char *name;
    bool uses_prefix; /* it asks the forest, so the caller must read the prompt */
    /* Fill rule and worker (the position in request->eligible, not the index). `depths` and
     * `loads` are of the eligible workers; depths are all 0 when uses_prefix is false. */
    uint32_t (*choose)(struct gv_policy *policy, const struct gv_policy_request *request,
                       const uint32_t *depths, const uint32_t *loads, enum gv_rule *rule);
};

struct gv_policy {
    const struct gv_policy_row *row;
    struct gv_forest *forest;   /* borrowed */
    struct gv_load_table *load; /* borrowed */
    struct gv_policy_options options;
    _Atomic uint64_t turn; /* decisions so far */
};

/* The rendezvous weight of the eligible worker at `place` for `seed`. */
uint64_t gv_policy_weight(const struct gv_policy_request *request, uint32_t place, uint64_t seed);

extern const struct gv_policy_row gv_policy_cache_aware;
extern const struct gv_policy_row gv_policy_round_robin;
extern const struct gv_policy_row gv_policy_random;
extern const struct gv_policy_row gv_policy_least_load;
extern const struct gv_policy_row gv_policy_power_of_two;

#endif
