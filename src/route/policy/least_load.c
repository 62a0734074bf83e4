/*
 * least_load - the worker that is done soonest with what it has, whatever it holds.
 *
 * One score in milliseconds, as the reference product reckons it: the prompt bytes that wait there,
 * on all nodes, at its engine's measured speed; and what its engine's fullness costs, k / (1 - k)
 * for a share k of KV tokens in use, which rises without bound as decoding fills it. An engine that
 * has not said how full it is counts each request in flight as a prompt of usual length. So a slow
 * engine, or one with long prompts, gets fewer requests, not as many as the others.
 *
 * Among equals the one with the fewest requests in flight; then rendezvous over the request's
 * random bits: never always the first worker, or an idle cluster would send everything to one
 * engine.
 */
#include "route/policy_row.h"

#define REQUEST_BYTES 4096.0 /* of a usual prompt: 1,024 tokens of 4 bytes */
#define PRESSURE_MS   150.0  /* what an engine that is half full adds */
#define PERMILLE_MOST 999    /* k stays below 1 */

static double score_of(const struct gv_policy_facts *facts, uint32_t place)
{
    double bytes = (double)facts->queued_bytes[place];
    uint32_t used = facts->usages[place];
    if (used == GV_LOAD_USAGE_UNKNOWN) {
        return (bytes + REQUEST_BYTES * (double)facts->loads[place]) / facts->speeds[place];
    }
    double share = (double)(used < PERMILLE_MOST ? used : PERMILLE_MOST) / 1000;
    return bytes / facts->speeds[place] + PRESSURE_MS * share / (1 - share);
}

/* Is the worker at `a` done sooner than the one at `b`? */
static bool is_less(const struct gv_policy_request *request, const struct gv_policy_facts *facts,
                    uint32_t a, uint32_t b)
{
    if (facts->scores[a] != facts->scores[b]) {
        return facts->scores[a] < facts->scores[b];
    }
    if (facts->loads[a] != facts->loads[b]) {
        return facts->loads[a] < facts->loads[b];
    }
    return gv_policy_weight(request, a, request->random) >
           gv_policy_weight(request, b, request->random);
}

static uint32_t choose(struct gv_policy *policy, const struct gv_policy_request *request,
                       const struct gv_policy_facts *facts, enum gv_rule *rule)
{
    (void)policy;
    *rule = GV_RULE_LEAST;
    uint32_t best = 0;
    facts->scores[0] = score_of(facts, 0);
    for (uint32_t i = 1; i < request->eligible_count; i++) {
        facts->scores[i] = score_of(facts, i);
        if (is_less(request, facts, i, best)) {
            best = i;
        }
    }
    return best;
}

const struct gv_policy_row gv_policy_least_load = {.name = "least_load", .choose = choose};
