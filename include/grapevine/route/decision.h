/*
 * decision.h - which worker, and why: one struct for log, metric, header and `explain`.
 */
#ifndef GV_ROUTE_DECISION_H
#define GV_ROUTE_DECISION_H

#include "grapevine/route/worker.h"

#define GV_CANDIDATES_MAX 512 /* shown by explain; routing itself has no such limit */

/* X(NAME, "name in logs", "what it means") */
#define GV_RULE_LIST(X)                                                                            \
    X(NONE, "none", "no worker was eligible")                                                      \
    X(ONLY, "only", "one worker was eligible")                                                     \
    X(PREFIX, "prefix", "it holds the longest prefix, above the threshold")                        \
    X(BALANCE, "balance", "loads were uneven: the policy's choice among the least loaded")         \
    X(MISS, "miss", "nobody holds enough: rendezvous within the load bound")                       \
    X(TURN, "turn", "its turn")                                                                    \
    X(CHANCE, "chance", "drawn at random")                                                         \
    X(LEAST, "least", "the least loaded")                                                          \
    X(TARGET, "target", "the request names it")                                                    \
    X(STICKY, "sticky", "the routing key has it")                                                  \
    X(HASH, "hash", "the hash of the request names it, within the load bound")                     \
    X(LENGTH, "length", "the prompt's length is in its share, within the load bound")              \
    X(FIRST, "first", "the first in order; no choice is made")                                     \
    X(COST, "cost", "the lowest estimated time to first token")

enum gv_rule {
#define GV_RULE_ENUM(name, text, meaning) GV_RULE_##name,
    GV_RULE_LIST(GV_RULE_ENUM)
#undef GV_RULE_ENUM
    GV_RULE_COUNT
};

struct gv_candidate {
    uint32_t worker; /* index */
    uint32_t depth;  /* leading blocks it holds */
    uint32_t load;   /* requests in flight, cluster-wide */
    double score;    /* policy's own measure; lower is better; 0 when it has none */
};

struct gv_decision {
    uint32_t worker; /* index; meaningful unless rule is NONE */
    enum gv_rule rule;
    const char *policy;   /* static */
    uint32_t depth;       /* leading blocks the chosen worker holds */
    uint32_t block_count; /* blocks of the prompt */
    uint32_t load;        /* of the chosen worker, before this request */
    uint32_t eligible_count;
    uint32_t candidate_count;        /* filled up to the room given */
    struct gv_candidate *candidates; /* borrowed from the caller; NULL when not wanted */
    uint32_t candidate_room;
};

const char *gv_rule_name(enum gv_rule rule);
const char *gv_rule_meaning(enum gv_rule rule);

#endif
