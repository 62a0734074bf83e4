/*
 * lab.h - the laboratory: one trace, a fleet of simulated engines, and several ways to route, each
 * in a run of its own, all in virtual time.
 *
 * What is real: prompts to fingerprints (http/prompt, route/fingerprint), forest, policies, loads
 * and fleet (route), and the mesh: one gossip engine per router over the simulated network of
 * tools/vinesim. What is simulated: engines (engine.h), network and clients. A run is decided by
 * options, trace and seed alone, whatever the machine.
 *
 *     lab_main      options -> corpus -> a run per contender -> report
 *     lab_run       arrivals, engines, situations in the order of time
 *     lab_mind      how a contender chooses: grapevine.c (ours), smg.c
 */
#ifndef REPLAY_LAB_LAB_H
#define REPLAY_LAB_LAB_H

#include "engine.h"
#include "grapevine/base/hist.h"
#include "grapevine/base/prng.h"

#define LAB_ROUTERS_MAX    16
#define LAB_ENGINES_MAX    480 /* 240, and as many that come later */
#define LAB_CONTENDERS_MAX 32
#define LAB_BUCKETS        60 /* of time, in plots */
#define LAB_NAME_BYTES     40

/* X(NAME, "name", "what happens") */
#define LAB_SITUATION_LIST(X)                                                                      \
    X(CALM, "calm", "nothing")                                                                     \
    X(WORKER_CHURN, "worker-churn",                                                                \
      "a third of the engines is replaced by empty ones, one by one, in the middle third")         \
    X(ROUTER_CHURN, "router-churn",                                                                \
      "every other router is killed in the middle third, and back, knowing nothing, after 10 s")   \
    X(PARTITION, "partition", "the routers are cut into halves for the middle third")              \
    X(STALL, "stall", "half the engines stand still for 30 s, from the middle on")                 \
    X(RESTART, "restart", "half the engines lose their caches in the middle, unnoticed")           \
    X(SLOW, "slow", "half the engines compute at half speed")

enum lab_situation {
#define LAB_SITUATION_ENUM(name, text, meaning) LAB_##name,
    LAB_SITUATION_LIST(LAB_SITUATION_ENUM)
#undef LAB_SITUATION_ENUM
    LAB_SITUATION_COUNT
};

enum lab_mind_kind {
    LAB_OURS = 0,
    LAB_SMG,        /* a tree per gateway */
    LAB_SMG_MESH,   /* and its tree sync, once a second */
    LAB_SMG_EVENTS, /* an index per gateway, fed by the engines' cache events */
    LAB_MIND_COUNT
};

struct lab_contender {
    char name[LAB_NAME_BYTES];
    enum lab_mind_kind kind;
    char policy[LAB_NAME_BYTES]; /* ours */
    uint32_t routers;
    uint32_t hash_blocks; /* prefix_hash */
};

struct lab_options {
    struct options trace; /* file, format, rate, speed, seed ... */
    uint32_t routers;
    uint32_t engines;
    struct lab_engine_limits engine;
    enum lab_situation situation;
    size_t skip_count; /* requests at the begin of the trace */
    double gap_max_s;  /* between two requests of a session; 0: as the trace says */
    /* ablations */
    bool no_prefix_sync, no_load_sync;
    uint32_t load_age_ms; /* 0: as the product */
    uint32_t delay_us, jitter_us;
    double loss;
    /* policy options of ours: 0 means the product's default */
    double cache_threshold;
    uint32_t balance_abs;
    double balance_rel;
    struct lab_contender contenders[LAB_CONTENDERS_MAX];
    uint32_t contender_count;
    bool json;
    const char *svg_file; /* NULL: none */
};

/* One stretch of time. */
struct lab_bucket {
    uint64_t prompt_tokens, cached_tokens;
    uint64_t first_count;
    double first_sum_us;
};

struct lab_result {
    struct lab_contender contender;
    uint64_t requests, retries, failed;
    uint64_t prompt_tokens, cached_tokens;
    uint64_t forecast_tokens;  /* cached, as the routers thought when they chose; ours only */
    uint64_t overrated_tokens; /* thought to be cached, and were not */
    struct gv_hist first_us;
    double spread_requests; /* deviation / mean over engines: of requests, */
    double spread_tokens;   /* prompt tokens, */
    double spread_load;     /* and requests in flight, averaged over time */
    double busy;            /* mean share of time in prefill */
    uint64_t node_bytes;    /* what the fullest router remembers of prompts */
    uint64_t node_blocks;
    uint64_t mesh_bytes;     /* sent over the mesh, all routers */
    uint64_t visible_p99_us; /* from an operation to the last router that applied it */
    double span_s;           /* virtual */
    char trouble[160];       /* a broken promise of the mesh; "" none */
    struct lab_bucket buckets[LAB_BUCKETS];
};

struct lab_possible {
    double infinite; /* one cache that never forgets */
    double pooled;   /* one LRU cache as large as all engines' together */
};

/* What a router is asked. */
struct lab_ask {
    const struct corpus_prompt *prompt;
    const uint64_t *chain;
    uint32_t router;
    uint32_t avoid; /* engine on which it has failed; LAB_NONE */
    uint64_t random;
    uint64_t now_us;
};

/* The routers of one run. `bytes` is what was counted as waiting: given back at the first token, or
 * with the request. */
struct lab_mind_row {
    /** The engine chosen, and its load counted; LAB_NONE: nobody may. */
    uint32_t (*choose)(void *mind, const struct lab_ask *ask, uint64_t *bytes);
    void (*first)(void *mind, uint32_t router, uint32_t engine, uint64_t bytes);
    void (*give)(void *mind, uint32_t router, uint32_t engine, uint64_t bytes);
    /** Time passes. */
    void (*advance)(void *mind, uint64_t now_us);
    void (*set_engine)(void *mind, uint32_t engine, bool up);
    void (*set_router)(void *mind, uint32_t router, bool up);
    void (*part)(void *mind, bool parted); /* the routers into halves, and back */
    void (*sum)(void *mind, struct lab_result *result);
    void (*end)(void *mind);
};

/* The world as a mind may see it. */
struct lab_setting {
    const struct lab_options *options;
    const struct lab_contender *contender;
    const struct corpus *corpus;
    const struct lab_engine *engines; /* all that ever will be; only events trees look inside */
    uint32_t engine_count;
    uint32_t engines_at_first; /* numbers below are up from the begin */
};

/** grapevine.c, smg.c. NULL: out of memory. */
void *lab_grapevine_new(const struct lab_setting *setting);
extern const struct lab_mind_row lab_grapevine_row;
void *lab_smg_new(const struct lab_setting *setting);
extern const struct lab_mind_row lab_smg_row;

/** The product's defaults. */
void lab_options_init(struct lab_options *options);

/** "cache_aware", "prefix_hash:16", "cache_aware@1" (one router), "smg-mesh". false: unknown. */
bool lab_contender_parse(const char *text, struct lab_contender *contender);

/** Made-up traces: "turns", "root", "hot", "chats", "agents", "pairs". false: there is none of this
 * name, or no memory. */
bool lab_synthetic(struct trace *trace, const char *name, const struct options *options);

/** Drop the first `count` requests; the next one begins at 0. How many are left. */
size_t lab_skip(struct trace *trace, size_t count);

/** run.c. false: out of memory. */
bool lab_run(const struct lab_options *options, const struct corpus *corpus,
             const struct lab_contender *contender, struct lab_result *result);
void lab_possible(const struct lab_options *options, const struct corpus *corpus,
                  struct lab_possible *possible);

/** The hit rate, and the mean time to the first token in ms. */
double lab_hit_rate(const struct lab_result *result);
double lab_first_ms(const struct lab_result *result);
const char *lab_situation_name(enum lab_situation situation);

/** report.c, plot.c. */
void lab_print(const struct lab_options *options, const struct corpus *corpus,
               const struct lab_possible *possible, const struct lab_result *results,
               uint32_t count);
/** false: a message was printed. */
bool lab_plot(const struct lab_options *options, const struct lab_possible *possible,
              const struct lab_result *results, uint32_t count);

/** The subcommand; an exit code. */
int lab_main(int argc, char **argv);

#endif
