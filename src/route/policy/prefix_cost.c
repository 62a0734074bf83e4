/*
 * prefix_cost - the worker where this prompt costs all who wait the least.
 *
 * One score in one unit, milliseconds: how long the prompt waits there, and what it takes from
 * others. The prompt bytes that wait at the worker to be computed delay this prompt alone; those of
 * this prompt that the worker does not hold delay it and whoever comes behind it, and push out
 * what others would have used. So a byte of one's own weighs more than one that waits, and the
 * more so the longer the wait that no choice avoids (what waits even where the least does): it
 * says how many will stand behind. Each for himself, all wait longer, and a fleet at its limit
 * recomputes until it is beyond it.
 *
 * Every block held counts, however few: no threshold says from where on a prefix is one. What keeps
 * a system prompt that all share from drawing all to one worker are the other two things that a
 * prompt takes. Room in a cache: dearer where what has to give way was used a moment ago than where
 * it was not for an hour, so all caches together forget nearly as one large one would; and dearest
 * where anything has to go while another cache is half empty. And its part of the worker: each
 * request in flight slows all others there, so twice the usual number of them cost four times as
 * much.
 *
 * Bytes become time by the engine's prefill speed as all nodes measured it (a usual one before;
 * route/forecast.h). The lowest score wins; among near-equals rendezvous, by the first block that
 * is news (see gv_policy_seed()). Nothing is random: same tries, same loads, same prompt, same
 * worker. The figures behind the constants: docs/decisions/0014-what-a-prompt-costs-all.md.
 */
#include "grapevine/base/assert.h"
#include "route/forest_in.h"
#include "route/policy_row.h"

#define REQUEST_MS     1.0  /* what a request being decoded takes from the next prefill */
#define OWN_WEIGHT     8.0  /* 4: too much is computed twice; 16: a hot prefix waits too long */
#define WAIT_WEIGHT    4.0  /* of what waits at the least, against the prompt */
#define CROWD_WEIGHT   0.5  /* of the whole prompt, where as many are in flight as on average */
#define ROOM_WEIGHT    0.2  /* of the own bytes, where the youngest would give way */
#define WASTE_WEIGHT   1.0  /* of the own bytes, where they push out while another is half empty */
#define NEAR_SHARE     0.05 /* of what the whole prompt takes */
#define NEAR_DECODE_MS (3 * REQUEST_MS) /* loads are a moment old: three more are no reason */

static _Thread_local uint32_t places[GV_WORKERS_MAX]; /* of those that may still be the best */
static _Thread_local uint32_t asked[GV_WORKERS_MAX];  /* and their indexes */
static _Thread_local uint32_t ages_s[GV_WORKERS_MAX]; /* of what would give way there */

/* Bytes of the prompt that a worker would have to compute, of which it holds `depth` blocks. */
static uint64_t own_bytes(const struct gv_policy *policy, const struct gv_policy_request *request,
                          uint32_t depth)
{
    if (request->pool == GV_POOL_DECODE) {
        return 0; /* the prefill worker of the pair computes them */
    }
    uint64_t cached = (uint64_t)depth * policy->options.block_bytes;
    return cached < request->prompt_bytes ? request->prompt_bytes - cached : 0;
}

/*
 * What a byte of this prompt weighs, when one that waits weighs 1. What waits even where the least
 * does is the wait that all have in common: no choice avoids it, but work does make it longer.
 */
static double weight_of_own(const struct gv_policy_request *request,
                            const struct gv_policy_facts *facts)
{
    uint64_t least = UINT64_MAX;
    for (uint32_t i = 0; i < request->eligible_count; i++) {
        least = facts->queued_bytes[i] < least ? facts->queued_bytes[i] : least;
    }
    double times = (double)least / ((double)request->prompt_bytes + 1);
    return OWN_WEIGHT * (1 + WAIT_WEIGHT * times);
}

/* Of the eligible, the mean of requests in flight, and one more. */
static double usual_load(const struct gv_policy_request *request,
                         const struct gv_policy_facts *facts)
{
    double sum = 0;
    for (uint32_t i = 0; i < request->eligible_count; i++) {
        sum += (double)facts->loads[i];
    }
    return sum / (double)request->eligible_count + 1;
}

/* What the own bytes cost there: in ms, already weighed. */
static double own_ms(const struct gv_policy *policy, const struct gv_policy_request *request,
                     const struct gv_policy_facts *facts, uint32_t place, double weight)
{
    return weight * (double)own_bytes(policy, request, facts->depths[place]) / facts->speeds[place];
}

static bool is_half_empty(const struct gv_policy *policy, const struct gv_policy_request *request,
                          uint32_t worker)
{
    uint64_t held = gv_forest_worker_blocks(policy->forest, request->key, worker);
    return held < gv_forest_capacity(policy->forest, worker) / 2;
}

/*
 * Add what the room costs, for those that could be the best whatever it costs: the whole
 * ROOM_WEIGHT where the youngest would give way, half of it where what gives way is twice as old,
 * WASTE_WEIGHT while another is half empty, nothing where there is room. `reach` is the highest
 * score that matters.
 */
static void add_room(const struct gv_policy *policy, const struct gv_policy_request *request,
                     const struct gv_policy_facts *facts, double weight, double reach)
{
    uint32_t count = 0;
    uint32_t blocks = request->count;
    for (uint32_t i = 0; i < request->eligible_count; i++) {
        if (facts->scores[i] <= reach) {
            uint32_t missing = request->count - facts->depths[i];
            blocks = missing < blocks ? missing : blocks;
            asked[count] = request->eligible[i]->index;
            places[count++] = i;
        }
    }
    if (count < 2) {
        return;
    }
    gv_forest_yields(policy->forest, request->key, blocks, asked, count, ages_s);
    uint32_t youngest = GV_FOREST_ROOM;
    bool any_empty = false;
    for (uint32_t i = 0; i < count; i++) {
        youngest = ages_s[i] < youngest ? ages_s[i] : youngest;
        any_empty =
            any_empty || (ages_s[i] == GV_FOREST_ROOM && is_half_empty(policy, request, asked[i]));
    }
    for (uint32_t i = 0; i < count; i++) {
        if (ages_s[i] != GV_FOREST_ROOM) {
            double young = ((double)youngest + 1) / ((double)ages_s[i] + 1);
            facts->scores[places[i]] += (any_empty ? WASTE_WEIGHT : ROOM_WEIGHT * young) *
                                        own_ms(policy, request, facts, places[i], weight);
        }
    }
}

/* The lowest score among those that may be chosen, and whose it is. */
static double find_lowest(const struct gv_policy_request *request,
                          const struct gv_policy_facts *facts, uint64_t load_limit,
                          uint32_t *lowest)
{
    *lowest = GV_POLICY_NOBODY;
    for (uint32_t i = 0; i < request->eligible_count; i++) {
        if (gv_policy_may(facts, i, load_limit) &&
            (*lowest == GV_POLICY_NOBODY || facts->scores[i] < facts->scores[*lowest])) {
            *lowest = i;
        }
    }
    GV_ASSERT(*lowest < request->eligible_count); /* the least loaded may */
    return facts->scores[*lowest];
}

static uint32_t choose(struct gv_policy *policy, const struct gv_policy_request *request,
                       const struct gv_policy_facts *facts, enum gv_rule *rule)
{
    uint64_t load_limit;
    bool uneven = gv_policy_is_uneven(policy, request, facts, &load_limit);
    *rule = uneven ? GV_RULE_BALANCE : GV_RULE_COST;
    double weight = weight_of_own(request, facts);
    double usual = usual_load(request, facts);
    double whole = (double)own_bytes(policy, request, 0);
    for (uint32_t i = 0; i < request->eligible_count; i++) {
        double load = (double)facts->loads[i];
        double crowd = CROWD_WEIGHT * (load / usual) * (load / usual);
        facts->scores[i] = ((double)facts->queued_bytes[i] + crowd * whole) / facts->speeds[i] +
                           own_ms(policy, request, facts, i, weight) + REQUEST_MS * load;
    }
    uint32_t best;
    double lowest = find_lowest(request, facts, load_limit, &best);
    double near = NEAR_SHARE * (double)own_bytes(policy, request, 0) / facts->speeds[best];
    near = request->pool == GV_POOL_DECODE ? NEAR_DECODE_MS : near;
    double room = WASTE_WEIGHT * own_ms(policy, request, facts, best, weight);
    add_room(policy, request, facts, weight, lowest + room + near);
    lowest = find_lowest(request, facts, load_limit, &best);
    uint64_t seed = gv_policy_seed(request, facts->depths);
    uint64_t best_weight = 0;
    for (uint32_t i = 0; i < request->eligible_count; i++) {
        if (!gv_policy_may(facts, i, load_limit) || facts->scores[i] > lowest + near) {
            continue;
        }
        uint64_t weight_here = gv_policy_weight(request, i, seed);
        if (best_weight == 0 || weight_here > best_weight) {
            best = i;
            best_weight = weight_here;
        }
    }
    return best;
}

const struct gv_policy_row gv_policy_prefix_cost = {.name = "prefix_cost",
                                                    .uses_prefix = true,
                                                    .uses_trie = true,
                                                    .gates_itself = true,
                                                    .choose = choose};
