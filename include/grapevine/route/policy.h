/*
 * policy.h - the table of ways to choose a worker. A policy is one file and one row.
 *
 * Deterministic wherever it can be: same tries, same loads, same eligible workers, same request,
 * same worker, on every node. What is not (random, round robin) takes its numbers from the request.
 * Deciding changes nothing but the policy's own memory; recording the decision is the caller's.
 */
#ifndef GV_ROUTE_POLICY_H
#define GV_ROUTE_POLICY_H

#include "grapevine/route/decision.h"
#include "grapevine/route/fleet.h"
#include "grapevine/route/forest.h"
#include "grapevine/route/load.h"

struct gv_policy; /* one instance, e.g. of one pool; any thread */

/* manual: which worker does a routing key get that has none yet? */
enum gv_assignment {
    GV_ASSIGN_RANDOM = 0, /* any; drawn by the key, so that all nodes draw alike */
    GV_ASSIGN_MIN_LOAD,   /* the one with the fewest requests in flight */
    GV_ASSIGN_MIN_GROUP,  /* the one with the fewest routing keys */
    GV_ASSIGN_COUNT
};

struct gv_policy_options {
    double cache_threshold; /* cache_aware: 0..1 of the prompt's blocks */
    uint32_t balance_abs_threshold;
    double balance_rel_threshold;
    double usage_spread;           /* of KV tokens, as engines report: uneven beyond it; 1: off */
    double usage_most;             /* a fuller engine is spared while another is not; 1: off */
    uint64_t report_stale_ms;      /* an older report of an engine is ignored; 0: all are */
    double load_bound;             /* by hash: no worker above this times the mean, plus 1; 1.25 */
    uint32_t block_bytes;          /* of prompt behind one fingerprint */
    uint32_t hash_blocks;          /* prefix_hash: leading blocks that are hashed; 0 as 1 */
    enum gv_assignment assignment; /* manual */
    uint64_t manual_idle_ms;       /* manual: a key unused for longer is forgotten */
    uint32_t manual_key_max;       /* manual: keys remembered; 0 as 1 */
};

struct gv_policy_request {
    const char *key;       /* "pool::model" */
    enum gv_pool pool;     /* the same as in `key` */
    const uint64_t *chain; /* fingerprints; NULL with count 0 */
    uint32_t count;
    uint64_t prompt_bytes;
    const struct gv_worker *const *eligible; /* sorted by url */
    uint32_t eligible_count;
    struct gv_slice target; /* X-SMG-Target-Worker, or empty */
    uint64_t routing_key;   /* hash of X-SMG-Routing-Key, equal on all nodes; 0: none */
    uint64_t client;        /* hash of what tells clients apart, equal on all nodes; 0: nothing */
    uint64_t random;        /* 64 fresh random bits */
    uint64_t now_ms;        /* of a clock that never goes back */
    bool dry;               /* nothing will be sent: the policy must not change either */
};

/** Errors: GV_ENOTFOUND no policy of this name; GV_ENOMEM. `forest` and `load` are borrowed. */
GV_MUST_USE enum gv_err gv_policy_new(const char *name, struct gv_policy_options options,
                                      struct gv_forest *forest, struct gv_load_table *load,
                                      struct gv_policy **policy);
void gv_policy_free(struct gv_policy *policy);

/** Change the three thresholds while decisions are made. Any thread. */
void gv_policy_tune(struct gv_policy *policy, double cache_threshold,
                    uint32_t balance_abs_threshold, double balance_rel_threshold);

const char *gv_policy_name(const struct gv_policy *policy);

/** Does it look at fingerprints? When false the caller need not hash the prompt. */
bool gv_policy_uses_prefix(const struct gv_policy *policy);

/** Does it look at what workers hold? When false decisions need not be recorded. */
bool gv_policy_uses_trie(const struct gv_policy *policy);

/** Does it obey `target`? Then the caller must offer every worker that could be meant. */
bool gv_policy_obeys_target(const struct gv_policy *policy);

/** Choose. The rule is NONE when nothing is eligible, or a target is obeyed and nobody eligible is
 * it. Any thread. */
void gv_policy_decide(struct gv_policy *policy, const struct gv_policy_request *request,
                      struct gv_decision *decision);

/** The names of all policies, NULL-terminated, for --help and checks. */
const char *const *gv_policy_names(void);

/** "min_load" for GV_ASSIGN_MIN_LOAD; and back: false when unknown. */
const char *gv_assignment_name(enum gv_assignment assignment);
bool gv_assignment_parse(const char *name, enum gv_assignment *assignment);

#endif
