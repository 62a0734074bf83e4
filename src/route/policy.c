/*
 * policy.c - the table of policies, and what all of them look at before one of them chooses.
 */
#include "grapevine/route/policy.h"

#include "grapevine/base/assert.h"
#include "grapevine/base/mem.h"
#include "grapevine/route/fingerprint.h"
#include "route/policy_row.h"

static const struct gv_policy_row *const rows[] = {
    &gv_policy_cache_aware, &gv_policy_round_robin,  &gv_policy_random,
    &gv_policy_least_load,  &gv_policy_power_of_two,
};
#define ROW_COUNT (sizeof rows / sizeof rows[0])

/* Room for every possible worker, per thread, so that a decision allocates nothing. */
static _Thread_local uint32_t workers[GV_WORKERS_MAX];
static _Thread_local uint32_t depths[GV_WORKERS_MAX];
static _Thread_local uint32_t loads[GV_WORKERS_MAX];

const char *const *gv_policy_names(void)
{
    static const char *const names[ROW_COUNT + 1] = {
        "cache_aware", "round_robin", "random", "least_load", "power_of_two", NULL,
    };
    return names;
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
        *policy = made;
        return GV_OK;
    }
    return GV_ENOTFOUND;
}

void gv_policy_free(struct gv_policy *policy)
{
    gv_mem_free(GV_MEM_GENERAL, policy);
}

const char *gv_policy_name(const struct gv_policy *policy)
{
    return policy->row->name;
}

bool gv_policy_uses_prefix(const struct gv_policy *policy)
{
    return policy->row->uses_prefix;
}

uint64_t gv_policy_weight(const struct gv_policy_request *request, uint32_t place, uint64_t seed)
{
    return gv_fingerprint_rendezvous(seed, gv_slice_text(request->eligible[place]->url));
}

/* What the choice rests on: how deep each eligible worker holds the prompt, and how busy it is. */
static void look(const struct gv_policy *policy, const struct gv_policy_request *request)
{
    for (uint32_t i = 0; i < request->eligible_count; i++) {
        workers[i] = request->eligible[i]->index;
        struct gv_load load = gv_load_get(policy->load, workers[i]);
        uint64_t sum = (uint64_t)load.own_count + load.remote_count;
        loads[i] = sum < UINT32_MAX ? (uint32_t)sum : UINT32_MAX;
        depths[i] = 0;
    }
    if (policy->row->uses_prefix && request->count > 0) {
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
            .worker = workers[i], .depth = depths[i], .load = loads[i], .score = 0};
        decision->candidate_count += 1;
    }
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
    if (request->eligible_count > 1) {
        place = policy->row->choose(policy, request, depths, loads, &decision->rule);
    }
    GV_ASSERT(place < request->eligible_count);
    GV_ASSERT(decision->rule != GV_RULE_NONE);
    decision->worker = workers[place];
    decision->depth = depths[place];
    decision->load = loads[place];
    show_candidates(request, decision);
}
