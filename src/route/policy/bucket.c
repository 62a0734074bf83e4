/*
 * bucket - prompts of like length to the same prefill worker, so that short ones never wait behind
 * long ones.
 *
 * The lengths of recent prompts, weighed by their bytes, are cut into as many equal shares as there
 * are workers; a prompt goes to the worker of its share, or to the nearest one within the load
 * bound. The cuts are made anew every few seconds from what came, older intervals fading by half.
 * Before anything came, shares are even up to 4 KiB.
 *
 * Only where prompts are prefilled apart; elsewhere a uniform draw.
 */
#include "grapevine/base/lock.h"
#include "grapevine/base/mem.h"
#include "route/policy_row.h"

#define INTERVAL_MS     5000u
#define FADED_INTERVALS 64u           /* after so many without a prompt nothing is left */
#define UNKNOWN_BYTES   4096.0        /* the longest prompt, before any came */
#define OCTAVES         38u           /* from 4 bytes to 2^40 */
#define BIN_COUNT       (OCTAVES * 4) /* four to the octave: borders 4, 5, 6, 7, 8, 10, 12, ... */

struct memory {
    struct gv_mutex lock;
    double learned[BIN_COUNT]; /* bytes of prompt by length: what the cuts are made from */
    double recent[BIN_COUNT];  /* what came in this interval */
    double learned_sum;
    uint64_t since_ms; /* start of the interval; 0: nothing came yet */
};

static double bin_floor(uint32_t bin)
{
    return (double)((uint64_t)(4 + bin % 4) << (bin / 4));
}

static uint32_t bin_of(uint64_t bytes)
{
    uint32_t octave = 0;
    while (octave + 1 < OCTAVES && bytes >> octave >= 8) {
        octave += 1;
    }
    uint64_t quarter = bytes >> octave; /* 4 to 7, unless the prompt is off the scale */
    quarter = quarter < 4 ? 4 : quarter;
    quarter = quarter > 7 ? 7 : quarter;
    return octave * 4 + (uint32_t)(quarter - 4);
}

/* The share of the work that came in prompts shorter than `bytes`: 0 to 1. */
static double share_of(const struct memory *memory, uint64_t bytes)
{
    if (memory->learned_sum <= 0) {
        return (double)bytes / UNKNOWN_BYTES;
    }
    uint32_t bin = bin_of(bytes);
    double below = 0;
    for (uint32_t i = 0; i < bin; i++) {
        below += memory->learned[i];
    }
    double width = bin_floor(bin + 1) - bin_floor(bin);
    double into = ((double)bytes - bin_floor(bin)) / width;
    into = into < 0 ? 0 : into;
    into = into > 1 ? 1 : into;
    return (below + memory->learned[bin] * into) / memory->learned_sum;
}

/* Intervals have passed: what came in them becomes what is known. */
static void turn_over(struct memory *memory, uint64_t now_ms)
{
    if (memory->since_ms == 0 || now_ms < memory->since_ms) {
        memory->since_ms = memory->since_ms == 0 ? now_ms : memory->since_ms;
        return;
    }
    uint64_t passed = (now_ms - memory->since_ms) / INTERVAL_MS;
    memory->since_ms += passed * INTERVAL_MS;
    for (uint64_t n = 0; n < passed && n < FADED_INTERVALS; n++) {
        memory->learned_sum = 0;
        for (uint32_t i = 0; i < BIN_COUNT; i++) {
            memory->learned[i] = memory->learned[i] / 2 + memory->recent[i];
            memory->recent[i] = 0;
            memory->learned_sum += memory->learned[i];
        }
    }
    if (passed >= FADED_INTERVALS) {
        memory->learned_sum = 0;
    }
}

static double take_share(struct memory *memory, const struct gv_policy_request *request)
{
    gv_mutex_lock(&memory->lock);
    if (!request->dry) {
        turn_over(memory, request->now_ms);
        memory->recent[bin_of(request->prompt_bytes)] += (double)request->prompt_bytes;
    }
    double share = share_of(memory, request->prompt_bytes);
    gv_mutex_unlock(&memory->lock);
    return share;
}

static uint32_t choose(struct gv_policy *policy, const struct gv_policy_request *request,
                       const struct gv_policy_facts *facts, enum gv_rule *rule)
{
    uint32_t count = request->eligible_count;
    if (request->pool != GV_POOL_PREFILL) {
        *rule = GV_RULE_CHANCE;
        return (uint32_t)(request->random % count);
    }
    *rule = GV_RULE_LENGTH;
    double share = take_share(policy->memory, request);
    uint32_t wanted = share < 1 ? (uint32_t)(share * (double)count) : count - 1;
    double limit = gv_policy_load_limit(policy, request, facts->loads);
    uint32_t best = GV_POLICY_NOBODY;
    uint32_t best_distance = UINT32_MAX;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t distance = i < wanted ? wanted - i : i - wanted;
        if ((double)facts->loads[i] <= limit && distance < best_distance) {
            best = i;
            best_distance = distance;
        }
    }
    return best;
}

static enum gv_err begin(struct gv_policy *policy)
{
    struct memory *memory = gv_mem_new(GV_MEM_GENERAL, sizeof *memory);
    if (memory == NULL) {
        return GV_ENOMEM;
    }
    gv_mutex_init(&memory->lock);
    policy->memory = memory;
    return GV_OK;
}

static void end(struct gv_policy *policy)
{
    struct memory *memory = policy->memory;
    gv_mutex_deinit(&memory->lock);
    gv_mem_free(GV_MEM_GENERAL, memory);
}

const struct gv_policy_row gv_policy_bucket = {
    .name = "bucket", .begin = begin, .end = end, .choose = choose};
