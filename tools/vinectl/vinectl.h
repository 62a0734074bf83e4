/*
 * vinectl.h - what the commands of vinectl share: how they were asked, and how they end.
 */
#ifndef GV_VINECTL_H
#define GV_VINECTL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* Exit codes; scripts rely on them. */
enum outcome {
    OUTCOME_OK = 0,          /* healthy, or done */
    OUTCOME_DEGRADED = 1,    /* something is not as it should be */
    OUTCOME_USAGE = 2,       /* the command line is wrong */
    OUTCOME_UNREACHABLE = 3, /* the node asked did not answer */
    OUTCOME_PARTIAL = 4,     /* some nodes did not answer */
    OUTCOME_REFUSED = 5,     /* the key was not accepted */
    OUTCOME_TIMEOUT = 124    /* wait: it did not come true in time, as timeout(1) says */
};

struct context {
    const char *endpoint;    /* borrowed: "http://127.0.0.1:30000" */
    char *api_key;           /* owned; NULL: none */
    const char *ca;          /* --cacert; NULL: the system's authorities */
    const char *cert;        /* --cert, shown to nodes that ask; NULL: none */
    const char *key;         /* --key of --cert */
    uint64_t timeout_ms;     /* for everything together */
    bool json;               /* -o json */
    bool wide;               /* -o wide: more columns, where there are any */
    bool deep;               /* --deep */
    bool one_node;           /* --one-node of explain: only the node asked */
    bool headers;            /* tables begin with a line of names */
    const char *keyring;     /* --mesh-keyring of keys install; NULL: none */
    const char *path;        /* --request-path of explain: "/v1/chat/completions" */
    const char *routing_key; /* --routing-key of explain; NULL: none */
    const char *target;      /* --target-worker of explain; NULL: none */
    const char *until;       /* --for of wait: "converged" or "ready" */
    uint64_t node_count;     /* --nodes of wait: at least so many */
    bool asks_dead;          /* nodes that are said to be dead are asked too */
    bool quiet;              /* nothing about nodes that do not answer on stderr */
    int arg_count;           /* what follows the command */
    char **args;             /* borrowed */
};

typedef enum outcome (*command_fn)(const struct context *context);

enum outcome status_command(const struct context *context);
enum outcome nodes_command(const struct context *context);
enum outcome workers_command(const struct context *context);
enum outcome tree_command(const struct context *context);
enum outcome explain_command(const struct context *context);
enum outcome diff_command(const struct context *context);
enum outcome gossip_command(const struct context *context);
enum outcome reachability_command(const struct context *context);
enum outcome wait_command(const struct context *context);
enum outcome keys_command(const struct context *context);
enum outcome settings_command(const struct context *context);

/** Print `json` to stdout as one indented document and free it. */
void print_json(json_t *json);

/** The text of a member, "" when absent or no string. Borrowed from `json`. */
const char *text_of(const json_t *json, const char *name);

/** The number of a member, 0 when absent. */
uint64_t number_of(const json_t *json, const char *name);

bool flag_of(const json_t *json, const char *name);

#endif
