/*
 * policy.c - the table of policies, and what all of them look at before one of them chooses.
 */
#include "grapevine/route/policy.h"

#include "grapevine/base/assert.h"
#include "grapevine/base/mem.h"
#include "grapevine/route/fingerprint.h"
#include "route/policy_row.h"

#define POLICY_ROW(name) &gv_policy_##name,
static const struct gv_policy_row *const rows[] = {GV_POLICY_LIST(POLICY_ROW)};
#undef POLICY_ROW
#define ROW_COUNT (sizeof rows / sizeof rows[0])

/* Room for every possible worker, per thread, so that a decision allocates nothing. */
static _Thread_local uint32_t workers[GV_WORKERS_MAX];
static _Thread_local uint32_t depths[GV_WORKERS_MAX];
static _Thread_local uint32_t loads[GV_WORKERS_MAX];
static _Thread_local uint64_t queued_bytes[GV_WORKERS_MAX];
static _Thread_local double scores[GV_WORKERS_MAX];
static _Thread_local double speeds[GV_WORKERS_MAX];
static _Thread_local uint32_t usages[GV_WORKERS_MAX]; /* permille; GV_LOAD_USAGE_UNKNOWN */
static _Thread_local bool full[GV_WORKERS_MAX];

/* Those that are offered to a policy while loads are uneven: their places, and what is known. */
static _Thread_local struct {
    const struct gv_worker *eligible[GV_WORKERS_MAX];
    uint32_t places[GV_WORKERS_MAX];
    uint32_t depths[GV_WORKERS_MAX];
    uint32_t loads[GV_WORKERS_MAX];
    uint64_t queued_bytes[GV_WORKERS_MAX];
    double speeds[GV_WORKERS_MAX];
    uint32_t usages[GV_WORKERS_MAX];
    double scores[GV_WORKERS_MAX];
    bool full[GV_WORKERS_MAX]; /* never set */
} narrow;

const char *const *gv_policy_names(void)
{
#define POLICY_NAME(name) #name,
    static const char *const names[ROW_COUNT + 1] = {GV_POLICY_LIST(POLICY_NAME) NULL};
#undef POLICY_NAME
    return names;
}

static const char *const assignments[GV_ASSIGN_COUNT] = {
    [GV_ASSIGN_RANDOM] = "random",
    [GV_ASSIGN_MIN_LOAD] = "min_load",
    [GV_ASSIGN_MIN_GROUP] = "min_group",
};

const char *gv_assignment_name(enum gv_assignment assignment)
{
    GV_ASSERT(assignment < GV_ASSIGN_COUNT);
    return assignments[assignment];
}

bool gv_assignment_parse(const char *name, enum gv_assignment *assignment)
{
    for (unsigned i = 0; i < GV_ASSIGN_COUNT; i++) {
        if (strcmp(assignments[i], name) == 0) {
            *assignment = (enum gv_assignment)i;
            return true;
        }
    }
    return false;
}

enum gv_err gv_policy_new(const char *name, struct gv_policy_options options,
                          struct gv_forest *forest, struct gv_load_table *load,
                          struct gv_policy **policy)
{
    for (size_t i = 0; i < ROW_COUNT; i++) {
        if (strcmp(rows[i]->name, name) != 0) {
            continue;
        }
        struct gv_policy *made = gv_mem_new(GV_MEM_GENERAL, sizeof *made);
        if (made == NULL) {
            return GV_ENOMEM;
        }
        made->row = rows[i];
        made->forest = forest;
        made->load = load;
        made->options = options;
        gv_policy_tune(made, options.cache_threshold, options.balance_abs_threshold,
                       options.balance_rel_threshold);
        enum gv_err err = made->row->begin != NULL ? made->row->begin(made) : GV_OK;
        if (err != GV_OK) {
            gv_mem_free(GV_MEM_GENERAL, made);
            return err;
        }
        *policy = made;
        return GV_OK;
    }
    return GV_ENOTFOUND;
}

void gv_policy_free(struct gv_policy *policy)
{
    if (policy != NULL && policy->row->end != NULL) {
        policy->row->end(policy);
    }
    gv_mem_free(GV_MEM_GENERAL, policy);
}

void gv_policy_tune(struct gv_policy *policy, double cache_threshold,
                    uint32_t balance_abs_threshold, double balance_rel_threshold)
{
    atomic_store_explicit(&policy->cache_threshold, cache_threshold, memory_order_relaxed);
    atomic_store_explicit(&policy->balance_abs_threshold, balance_abs_threshold,
                          memory_order_relaxed);
    atomic_store_explicit(&policy->balance_rel_threshold, balance_rel_threshold,
                          memory_order_relaxed);
}

double gv_policy_cache_threshold(const struct gv_policy *policy)
{
    return atomic_load_explicit(&policy->cache_threshold, memory_order_relaxed);
}

const char *gv_policy_name(const struct gv_policy *policy)
{
    return policy->row->name;
}

bool gv_policy_uses_prefix(const struct gv_policy *policy)
{
    return policy->row->uses_prefix;
}

bool gv_policy_uses_trie(const struct gv_policy *policy)
{
    return policy->row->uses_trie;
}

bool gv_policy_obeys_target(const struct gv_policy *policy)
{
    return policy->row->obeys_target;
}

uint64_t gv_policy_weight(const struct gv_policy_request *request, uint32_t place, uint64_t seed)
{
    return gv_fingerprint_rendezvous(seed, gv_slice_text(request->eligible[place]->url));
}

uint64_t gv_policy_seed(const struct gv_policy_request *request, const uint32_t *depths_of)
{
    if (request->count == 0) {
        return request->random; /* no prompt: nothing to agree about, so spread */
    }
    uint32_t news = 0;
    for (uint32_t i = 0; i < request->eligible_count; i++) {
        news = depths_of[i] > news ? depths_of[i] : news;
    }
    return request->chain[news < request->count ? news : request->count - 1];
}

bool gv_policy_is_uneven(const struct gv_policy *policy, const struct gv_policy_request *request,
                         const struct gv_policy_facts *facts, uint64_t *load_limit)
{
    uint32_t apart = atomic_load_explicit(&policy->balance_abs_threshold, memory_order_relaxed);
    double times = atomic_load_explicit(&policy->balance_rel_threshold, memory_order_relaxed);
    uint32_t least = UINT32_MAX;
    uint32_t most = 0;
    for (uint32_t i = 0; i < request->eligible_count; i++) {
        if (gv_policy_may(facts, i, UINT32_MAX)) {
            least = facts->loads[i] < least ? facts->loads[i] : least;
            most = facts->loads[i] > most ? facts->loads[i] : most;
        }
    }
    GV_ASSERT(least <= most);
    bool uneven = most - least > apart && (double)most > times * (double)least;
    *load_limit = uneven ? (uint64_t)least + apart : most;
    return uneven || facts->any_full;
}

double gv_policy_load_limit(const struct gv_policy *policy, const struct gv_policy_request *request,
                            const uint32_t *loads_of)
{
    uint32_t least = UINT32_MAX;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < request->eligible_count; i++) {
        least = loads_of[i] < least ? loads_of[i] : least;
        sum += loads_of[i];
    }
    double bound = policy->options.load_bound > 1.0 ? policy->options.load_bound : 1.0;
    double limit = bound * (double)sum / (double)request->eligible_count;
    return limit > (double)least ? limit : (double)least; /* rounding must not leave nobody */
}

uint32_t gv_policy_rendezvous(const struct gv_policy *policy,
                              const struct gv_policy_request *request, const uint32_t *loads_of,
                              uint64_t seed)
{
    double limit = gv_policy_load_limit(policy, request, loads_of);
    uint32_t best = GV_POLICY_NOBODY;
    uint64_t best_weight = 0;
    for (uint32_t i = 0; i < request->eligible_count; i++) {
        if ((double)loads_of[i] > limit) {
            continue;
        }
        uint64_t weight = gv_policy_weight(request, i, seed);
        if (best == GV_POLICY_NOBODY || weight > best_weight) {
            best = i;
            best_weight = weight;
        }
    }
    GV_ASSERT(best < request->eligible_count);
    return best;
}

/*
 * Which engines are so full that another should be chosen while one is emptier: beyond usage_most,
 * or further above the emptiest than usage_spread. An engine that has not said how full it is, or
 * not lately, is neither full nor the emptiest. true: some are, not all.
 */
static bool find_full(const struct gv_policy_options *options, uint32_t count)
{
    uint32_t least = GV_LOAD_USAGE_UNKNOWN;
    for (uint32_t i = 0; i < count; i++) {
        least = usages[i] < least ? usages[i] : least;
        full[i] = false;
    }
    bool off = options->usage_spread >= 1 && options->usage_most >= 1;
    if (off || least == GV_LOAD_USAGE_UNKNOWN) {
        return false;
    }
    double spread_limit =
        options->usage_spread < 1 ? least + options->usage_spread * 1000 : (double)UINT32_MAX;
    double most_limit = options->usage_most < 1 ? options->usage_most * 1000 : (double)UINT32_MAX;
    uint32_t full_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        bool known = usages[i] != GV_LOAD_USAGE_UNKNOWN;
        full[i] = known && (usages[i] > spread_limit || usages[i] > most_limit);
        full_count += full[i] ? 1 : 0;
    }
    return full_count > 0 && full_count < count;
}

/* What its engine said last, where that is fresh: how full it is; returns what others sent it. */
static uint32_t hear(const struct gv_policy *policy, const struct gv_policy_request *request,
                     uint32_t place)
{
    struct gv_load_report report;
    usages[place] = GV_LOAD_USAGE_UNKNOWN;
    if (policy->options.report_stale_ms == 0 ||
        !gv_load_heard(policy->load, workers[place], &report) ||
        request->now_ms > report.at_ms + policy->options.report_stale_ms) {
        return 0;
    }
    usages[place] = report.usage_permille;
    return report.foreign;
}

/* What the choice rests on: how deep each eligible worker holds the prompt, and how busy it is. */
static void look(const struct gv_policy *policy, const struct gv_policy_request *request)
{
    for (uint32_t i = 0; i < request->eligible_count; i++) {
        workers[i] = request->eligible[i]->index;
        struct gv_load load = gv_load_get(policy->load, workers[i]);
        uint64_t sum = (uint64_t)load.own_count + load.remote_count + hear(policy, request, i);
        loads[i] = sum < UINT32_MAX ? (uint32_t)sum : UINT32_MAX;
        queued_bytes[i] = load.own_bytes + load.remote_bytes;
        speeds[i] = gv_load_belief(policy->load, workers[i]).prefill_bytes_per_ms;
        scores[i] = 0;
        depths[i] = 0;
    }
    if (policy->row->uses_trie && request->count > 0) {
        gv_forest_match(policy->forest, request->key, request->chain, request->count, workers,
                        request->eligible_count, depths);
    }
}

static void show_candidates(const struct gv_policy_request *request, struct gv_decision *decision)
{
    decision->candidate_count = 0;
    if (decision->candidates == NULL) {
        return;
    }
    for (uint32_t i = 0; i < request->eligible_count && i < decision->candidate_room; i++) {
        decision->candidates[i] = (struct gv_candidate){
            .worker = workers[i], .depth = depths[i], .load = loads[i], .score = scores[i]};
        decision->candidate_count += 1;
    }
}

/*
 * The gate before every policy: who is far busier than the least loaded (or whose engine is full
 * while another is not) is not offered at all, whatever the policy goes by. So no hash, no turn and
 * no draw feeds a worker that has stopped. Returns how many may be chosen; at least one may.
 */
static uint32_t narrow_down(const struct gv_policy_request *request,
                            const struct gv_policy_facts *facts, uint64_t load_limit)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < request->eligible_count; i++) {
        if (gv_policy_may(facts, i, load_limit)) {
            narrow.eligible[count] = request->eligible[i];
            narrow.places[count] = i;
            narrow.depths[count] = depths[i];
            narrow.loads[count] = loads[i];
            narrow.queued_bytes[count] = queued_bytes[i];
            narrow.speeds[count] = speeds[i];
            narrow.usages[count] = usages[i];
            narrow.scores[count] = 0;
            count += 1;
        }
    }
    GV_ASSERT(count > 0);
    return count;
}

/* What the policy chooses, of all that are eligible or of those that the gate lets through. */
static uint32_t choose(struct gv_policy *policy, const struct gv_policy_request *request,
                       bool targeted, enum gv_rule *rule)
{
    const struct gv_policy_row *row = policy->row;
    bool any_full = find_full(&policy->options, request->eligible_count);
    struct gv_policy_facts facts = {depths, loads, queued_bytes, speeds,
                                    usages, full,  any_full,     scores};
    uint64_t load_limit;
    if (row->gates_itself || targeted ||
        !gv_policy_is_uneven(policy, request, &facts, &load_limit)) {
        return row->choose(policy, request, &facts, rule);
    }
    struct gv_policy_request near = *request;
    near.eligible = narrow.eligible;
    near.eligible_count = narrow_down(request, &facts, load_limit);
    uint32_t place = 0;
    if (near.eligible_count > 1 || row->decides_alone) {
        struct gv_policy_facts seen = {narrow.depths, narrow.loads,  narrow.queued_bytes,
                                       narrow.speeds, narrow.usages, narrow.full,
                                       false,         narrow.scores};
        place = row->choose(policy, &near, &seen, rule);
        for (uint32_t i = 0; i < near.eligible_count; i++) {
            scores[narrow.places[i]] = narrow.scores[i];
        }
    }
    *rule = GV_RULE_BALANCE;
    GV_ASSERT(place < near.eligible_count);
    return narrow.places[place];
}

void gv_policy_decide(struct gv_policy *policy, const struct gv_policy_request *request,
                      struct gv_decision *decision)
{
    GV_ASSERT(request->eligible_count <= GV_WORKERS_MAX);
    decision->policy = policy->row->name;
    decision->block_count = request->count;
    decision->eligible_count = request->eligible_count;
    decision->candidate_count = 0;
    decision->rule = GV_RULE_NONE;
    decision->worker = 0;
    decision->depth = 0;
    decision->load = 0;
    if (request->eligible_count == 0) {
        return;
    }
    look(policy, request);
    uint32_t place = 0;
    decision->rule = GV_RULE_ONLY;
    const struct gv_policy_row *row = policy->row;
    bool targeted = row->obeys_target && request->target.len > 0;
    if (request->eligible_count > 1 || row->decides_alone || targeted) {
        place = choose(policy, request, targeted, &decision->rule);
    }
    show_candidates(request, decision);
    if (place == GV_POLICY_NOBODY) {
        decision->rule = GV_RULE_NONE;
        return;
    }
    GV_ASSERT(place < request->eligible_count);
    GV_ASSERT(decision->rule != GV_RULE_NONE);
    if (request->eligible_count == 1 && !targeted) {
        decision->rule = GV_RULE_ONLY;
    }
    decision->worker = workers[place];
    decision->depth = depths[place];
    decision->load = loads[place];
}
