/*
 * passthrough - the first eligible worker, always: for a fleet of one.
 *
 * With more than one the rest stand idle; whoever sends the request says so, once, in the log.
 */
#include "route/policy_row.h"

static uint32_t choose(struct gv_policy *policy, const struct gv_policy_request *request,
                       const struct gv_policy_facts *facts, enum gv_rule *rule)
{
    (void)policy;
    (void)request;
    (void)facts;
    *rule = GV_RULE_FIRST;
    return 0;
}

const struct gv_policy_row gv_policy_passthrough = {
    .name = "passthrough", .gates_itself = true, .choose = choose};
