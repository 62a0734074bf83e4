/*
 * world.h - a whole cluster in one process, in virtual time: the very engine of gossip/, one forest
 * per node, and a network that can be made bad. One seed, one run, byte for byte.
 *
 * Used by vinesim (random weather, checkers) and by the scenario tests (readable stories).
 *
 *     struct world *world = world_new(&(struct world_options){.node_count = 3, .seed = 1});
 *     world_start_all(world);
 *     world_run(world, 2000);
 *     world_publish(world, 0, 1);
 */
#ifndef VINESIM_WORLD_H
#define VINESIM_WORLD_H

#include "message.h"
#include "queue.h"

#include "grapevine/base/hist.h"
#include "grapevine/base/prng.h"
#include "grapevine/gossip/engine.h"
#include "grapevine/route/forest.h"

#include <stdio.h>

#define WORLD_NODES_MAX   1000
#define WORLD_SMALL       64 /* nodes up to which each has all for seeds, and room to spare */
#define WORLD_WORKERS     8  /* unless the options say otherwise */
#define WORLD_WORKERS_MAX 1024
#define WORLD_TRACE_LINES 240
#define WORLD_LINE_BYTES  160

/* Who lives in a world that has more in it than gossip (tools/replay/lab): told what a node hears
 * of the others' loads. The workers are then his, too: number i is "http://w<i>:8000". */
struct world_guest {
    void *owner;           /* borrowed */
    uint32_t worker_count; /* at most WORLD_WORKERS_MAX */
    struct gv_forest_limits limits;
    /* `about` said that of `worker`. */
    void (*load_changed)(void *owner, uint32_t node, uint32_t about, uint32_t worker,
                         const struct gv_gossip_load *load);
};

struct world_options {
    uint32_t node_count;
    uint64_t seed;
    double loss;            /* of datagrams; a lost TCP segment costs WORLD_RESEND_US instead */
    double duplicate;       /* of datagrams */
    uint32_t delay_us;      /* least one-way delay [200] */
    uint32_t jitter_us;     /* mean of the exponential part on top [800] */
    bool is_sealed;         /* bytes travel sealed, as in the shell: needed for what follows */
    double corrupt;         /* of datagrams, frames and handshakes: some bits are changed */
    bool is_strict;         /* neither loss nor a pause of its excuses a node's death */
    bool knows_few;         /* seeds are two nodes, not all: the rest is heard of */
    uint32_t worker_blocks; /* capacity of a worker in a trie [1,000,000] */
    const struct world_guest *guest; /* NULL: nobody; borrowed */
    FILE *trace; /* every line goes here too; NULL: only the last lines are kept */
    struct gv_gossip_options engine; /* limits to override; identity is filled in */
};

struct sealing;
struct records;

/* One end of a connection that a node holds. */
struct world_pipe {
    struct world_message *head, *tail; /* on their way to this end */
    uint64_t last_at_us;               /* arrival of the newest */
    uint64_t poll_at_us;               /* the next look at a blocked direction */
    uint64_t busy_until_us;            /* the sender's wire is free then */
    uint32_t node;                     /* who is at this end */
    uint32_t life;                     /* and in which life */
    size_t queued;                     /* last told to the engine at this end, as a sender */
    bool open;
};

struct world_connection {
    struct world_pipe end[2]; /* 0 connected, 1 accepted */
};

struct world_node {
    struct world *world;
    char name[GV_NODE_NAME_MAX];
    struct gv_addr addr;
    struct gv_gossip *engine; /* NULL: down */
    struct gv_forest *forest; /* NULL: down */
    uint64_t boot_id, incarnation;
    uint64_t tick_at_us; /* the tick that is in the queue */
    uint64_t paused_until_us;
    uint64_t disturbed_at_us; /* last pause, partition, crash or restart; 0 never */
    uint64_t published;       /* in this life */
    uint64_t ready_at_us;
    uint32_t life;        /* grows with each start */
    int32_t skew_ms;      /* of the wall clock */
    int32_t true_skew_ms; /* before anybody set it wrong */
    uint32_t keys;        /* identities that it has had: state directories lost */
    uint64_t bytes_per_s; /* of each of its sessions; 0 full speed */
    bool draining;
    enum gv_member_status sees[WORLD_NODES_MAX]; /* its view of the others */
    uint64_t sees_at_us[WORLD_NODES_MAX];
    uint64_t sees_incarnation[WORLD_NODES_MAX];
    uint64_t sees_boot[WORLD_NODES_MAX]; /* which start of it */
    uint8_t sees_key[WORLD_NODES_MAX];   /* under which it bears its name */
    uint32_t load_sum[WORLD_NODES_MAX];  /* requests in flight that the others say */
    struct gv_gossip_counters past;      /* of former lives */
};

struct world_operation {
    uint64_t print;
    uint64_t at_us;
    uint32_t seen;
    uint64_t seen_all_at_us;
};

struct world {
    struct world_options options;
    struct sealing *sealing; /* owned; NULL: bytes travel plain */
    struct records *records; /* owned; NULL: nobody looks at what nodes say of workers */
    struct gv_prng prng;
    uint64_t now_us;
    struct queue queue;
    struct message_shelf shelf;
    struct world_node nodes[WORLD_NODES_MAX + 1]; /* the last slot in use is for a twin */
    struct world_connection *connections;
    size_t connection_count, connection_room;
    uint8_t blocked[WORLD_NODES_MAX + 1][WORLD_NODES_MAX + 1]; /* from, to */
    struct world_operation *operations;                        /* open addressing by print */
    size_t operation_count, operation_room;
    struct gv_hist visible_us; /* from publishing to the last of the live nodes */
    uint64_t hash;             /* of everything that happened */
    uint32_t up_count;         /* nodes that run */
    uint64_t false_deaths;     /* a live, undisturbed node was declared dead */
    bool clocks_were_wrong;    /* then stamps may be refused */
    bool wires_were_slow;      /* then a snapshot may be cut short */
    uint64_t refused_stamps;   /* operations too far ahead of somebody's clock */
    uint32_t twin_of;          /* whose name the node in slot `node_count` has, if it is up */
    uint64_t queue_most;       /* bytes that waited for a session's wire */
    uint64_t session_bytes, packet_bytes, session_messages, packets;
    char lines[WORLD_TRACE_LINES][WORLD_LINE_BYTES];
    uint64_t line_count;
    char wrong[WORLD_LINE_BYTES]; /* the first broken promise; "" none */
};

#define WORLD_FOREST_BYTES ((size_t)256 << 20) /* of the tries of a node */
#define WORLD_QUEUE_BYTES                                                                          \
    ((size_t)9 << 20)          /* of a session: twice the engine's cap, and a frame                \
                                */
#define WORLD_SETTLED_MS 14000 /* then everything is old enough to be evicted, by any clock */
#define WORLD_AHEAD_MS   60000 /* stamps further ahead are refused */
#define WORLD_RESEND_US  20000 /* a lost segment is sent again after about this */

/** NULL: out of memory. Nodes are not started. */
struct world *world_new(const struct world_options *options);
void world_free(struct world *world);

/** Start node `i` with all the others as seeds; after a crash: a new life. */
void world_start(struct world *world, uint32_t i);
void world_start_all(struct world *world);
/** Let virtual time pass: so many milliseconds, or until an instant. */
void world_run(struct world *world, uint64_t ms);
void world_run_until(struct world *world, uint64_t at_us);

/** The process is killed: sessions are reset. */
void world_kill(struct world *world, uint32_t i);
/** The host vanishes: nobody is told. */
void world_vanish(struct world *world, uint32_t i);
/** It leaves in good order, then ends. */
void world_leave(struct world *world, uint32_t i);
/** Another process starts with the name, key and state directory of node `i`, at another address:
 * the node in slot `node_count`. Not while there is one. One of the two will stop. False: nothing
 * was started. */
bool world_start_twin(struct world *world, uint32_t i);
/** How many of the processes that bear the name of node `i` are up; `*slot`: one of them. */
uint32_t world_holders(const struct world *world, uint32_t i, uint32_t *slot);
/** The state directory of node `i` is lost: its key and incarnation. False: it is not down. */
bool world_lose_disk(struct world *world, uint32_t i);
/** Somebody sets its wall clock; 0: right again. */
void world_set_clock(struct world *world, uint32_t i, int32_t wrong_by_ms);
/** What the shell does once a second: when the clock is right and was wrong, stamps are lowered. */
void world_look_at_clock(struct world *world, uint32_t i);
/** Its sessions send and receive no faster than this; 0: as the network allows. */
void world_set_rate(struct world *world, uint32_t i, uint64_t bytes_per_s);
/** Slots that may hold a node: `node_count`, and one for a twin. */
uint32_t world_slots(const struct world *world);
/** It stands still for a while. */
void world_pause(struct world *world, uint32_t i, uint64_t ms);
/** Every session between the two is reset, and what was on its way is lost. */
void world_cut(struct world *world, uint32_t a, uint32_t b);
/** Nothing passes from `a` to `b` until healed. */
void world_block(struct world *world, uint32_t a, uint32_t b, bool blocked);
void world_heal(struct world *world);

/** Node `i` gave worker `worker` a prompt: a fresh chain of `count` blocks. Returns its last
 * fingerprint, 0 when the forest refused. */
uint64_t world_publish(struct world *world, uint32_t i, uint32_t worker, uint32_t count);
/** Node `i`, which is up, has applied this operation to its forest: all others are told. */
void world_tell(struct world *world, uint32_t i, const struct gv_operation *operation);
/** "http://w3:8000" of worker 3. */
const char *world_worker_url(uint32_t worker);
/** It gave worker `worker` one of 16 prompts that come again and again: all new, its end, or, when
 * it is known, a touch. Returns the last fingerprint, 0: nothing to tell. */
uint64_t world_repeat(struct world *world, uint32_t i, uint32_t worker, uint32_t prompt);
/** A fresh chain, but nobody is told: what a bug would do. Returns the first fingerprint. */
uint64_t world_slip(struct world *world, uint32_t i, uint32_t worker, uint32_t count);
/** Node `i` forgets all that `worker` holds. */
void world_forget(struct world *world, uint32_t i, uint32_t worker);
/** Housekeeping of the forest of node `i`; floors are published. */
void world_sweep(struct world *world, uint32_t i);
void world_set_load(struct world *world, uint32_t i, uint32_t worker, uint32_t count);

struct gv_now world_now(const struct world *world, uint32_t i);
bool world_is_up(const struct world *world, uint32_t i);
/** Effects of node `i` are carried out; after any direct call of its engine. */
void world_settle(struct world *world, uint32_t i);
/** The digest of what is live in the forest of node `i`. */
void world_live_digest(const struct world *world, uint32_t i, uint8_t digest[16]);
/** Do all live nodes agree: logs, live sets, and that all of them are alive? */
bool world_agrees(struct world *world);
/** Sum of a node's counters over its lives. */
struct gv_gossip_counters world_counters(const struct world *world, uint32_t i);
/** A line of the trace. */
void world_note(struct world *world, const char *format, ...) GV_PRINTF(2, 3);
/** The promise broken first; "" none. */
void world_blame(struct world *world, const char *format, ...) GV_PRINTF(2, 3);

/* check.c: what must hold when the weather has stopped; each blames on failure. Deaths without a
 * cause, falling incarnations, queues over their cap and hostile packets that are believed are
 * blamed when they happen. */
bool world_check_converges(struct world *world, uint64_t within_ms, uint64_t *took_ms);
bool world_check_no_resurrection(struct world *world);
bool world_check_replay(struct world *world);
bool world_check_no_gap(struct world *world);
/** Floors are the same on all: what one node evicted, all have. */
bool world_check_floors(struct world *world);
/** No trie, share of a worker or queue is over its limit. Once all have swept, after
 * WORLD_SETTLED_MS. */
bool world_check_caps(struct world *world);

#endif
