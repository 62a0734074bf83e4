/*
 * world.h - a whole cluster of real programs on loopback: engines, routers, and questions to them.
 */
#ifndef GV_TESTS_SUPPORT_WORLD_H
#define GV_TESTS_SUPPORT_WORLD_H

#include "support/process.h"
#include "support/talk.h"

#define GV_WORLD_WORKERS_MAX 16
#define GV_WORLD_NODES_MAX   8

struct gv_world_worker {
    struct gv_process process;
    uint16_t port;
    uint16_t bootstrap_port; /* prefill workers */
    char url[64];
    char role[12];
};

struct gv_world_node {
    struct gv_process process;
    uint16_t port;      /* data */
    uint16_t mesh_port; /* 0: no mesh */
    uint16_t metrics_port;
    char name[16];
};

struct gv_world {
    struct gv_world_worker workers[GV_WORLD_WORKERS_MAX];
    size_t worker_count;
    struct gv_world_node nodes[GV_WORLD_NODES_MAX];
    size_t node_count;
    const char *const
        *node_flags; /* borrowed: put behind every node's flags; NULL-terminated or NULL */
    const char *const *worker_flags; /* the same for engines started from now on */
};

/** Start one engine of `role` ("regular", "prefill", "decode") that takes no time. */
struct gv_world_worker *gv_world_add_worker(struct gv_world *world, const char *role);

/** The same port again, after the process has ended: an engine that knows nothing. */
void gv_world_restart_worker(struct gv_world *world, struct gv_world_worker *worker);

/** The engine at `url`; NULL when it is none of ours. */
struct gv_world_worker *gv_world_worker_at(struct gv_world *world, const char *url);

/**
 * Start a node that knows all workers started so far and has all earlier nodes as seeds, and wait
 * until it listens. `flags` (NULL-terminated, or NULL) are put last.
 */
struct gv_world_node *gv_world_add_node(struct gv_world *world, const char *const *flags);

/** An empty world, then `workers` regular engines and one node with `flags`, ready for requests. */
struct gv_world_node *gv_world_start(struct gv_world *world, int workers, const char *const *flags);

/** The same name and ports again, after the process has ended. */
bool gv_world_restart_node(struct gv_world *world, struct gv_world_node *node,
                           const char *const *flags);

/** Wait until every node says ready, and that all workers are: then all nodes may choose any. */
bool gv_world_await_ready(struct gv_world *world);

/** Wait until the node takes requests, whether or not there is a worker for them. */
bool gv_world_await_started(struct gv_world_node *node);

/** Wait until every node sees `count` members alive. */
bool gv_world_await_members(struct gv_world *world, int count);

/** Wait until all nodes have the same digest. */
bool gv_world_await_agreement(struct gv_world *world);

/** Send a chat request with `prompt`; the worker that took it (by x-grapevine-worker) into
 * `worker`. */
int gv_world_chat(struct gv_world_node *node, const char *prompt, char *worker, size_t size);

/** Send a chat request on a connection of its own and leave the answer to come; the connection. */
int gv_world_send_chat(struct gv_world_node *node, const char *prompt, bool stream);

/** What a node would choose: "url", or "prefill-url + decode-url". */
bool gv_world_explain(struct gv_world_node *node, const char *prompt, char *worker, size_t size);

/** Words that only `seed` has, filling `prompt`: prompts of different seeds share no block. */
void gv_world_prompt(char *prompt, size_t size, int seed);

/** The id that a node gives to the worker at `url`; "" when it does not know it. */
void gv_world_worker_id(struct gv_world_node *node, const char *url, char id[64]);

/** DELETE /workers/{id} of the worker at `url`, on this node; the status of the answer. */
int gv_world_remove_worker(struct gv_world_node *node, const char *url);

/** GET `path` and return the number of the first "name": behind the text `after`; -1 when absent.
 */
long gv_world_number(struct gv_world_node *node, const char *path, const char *after,
                     const char *name);

/** A chat body with this prompt; free() it. */
char *gv_world_chat_body(const char *prompt, bool stream);

/** Set an engine's fault; `json` as the control endpoint of mockworker takes it. */
void gv_world_fault(struct gv_world_worker *worker, const char *json);

/** Was this text in a request that the engine got, in its head or its body? */
bool gv_world_was_sent(struct gv_world_worker *worker, const char *text);

/** A number of an engine's statistics, e.g. "requests". */
long gv_world_stat(struct gv_world_worker *worker, const char *name);

/** Wait until that number is `value`. */
bool gv_world_await_stat(struct gv_world_worker *worker, const char *name, long value);

/** The sum of that number over all engines that run. */
long gv_world_sum(struct gv_world *world, const char *name);

/** Wait until that sum is `value`. */
bool gv_world_await_sum(struct gv_world *world, const char *name, long value);

/** Tell the engine: "reset" its faults and statistics, or "restart". */
void gv_world_order(struct gv_world_worker *worker, const char *order);

/** Requests that `node` counts at the worker of that URL, its own and those of the other nodes. */
long gv_world_load(struct gv_world_node *node, const char *url);

/** Wait until that is `value`. */
bool gv_world_await_load(struct gv_world_node *node, const char *url, long value);

/** Wait until no node counts a request at any worker and no engine has one under way. */
bool gv_world_await_idle(struct gv_world *world);

/** End everything; the test program too, when a program was not running and well until now. */
void gv_world_end(struct gv_world *world);

#endif
