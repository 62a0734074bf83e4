/*
 * crowd.h - clients behind one DNS name: they ask all nodes of a world at once, streamed and plain,
 * and go to another node only when nothing can have been lost by that.
 *
 * A client keeps its connection for a few requests, or until an answer says "Connection: close" or
 * the node ends it; then it goes on to the next node, as it does when a connection is refused, and
 * when a node answers 503 because it is starting or ending. Anything else that is no whole 200 is a
 * lost request. Threads of their own; what the functions return is as of now, and final once
 * gv_crowd_await() is back.
 */
#ifndef GV_TESTS_SUPPORT_CROWD_H
#define GV_TESTS_SUPPORT_CROWD_H

#include "support/world.h"
#include <pthread.h>
#include <stdatomic.h>

#define GV_CROWD_CLIENTS 8
/* Each conversation is asked ROUNDS times; in between come as many others as are OPEN. */
#define GV_CROWD_OPEN   32
#define GV_CROWD_ROUNDS 6
#define GV_CROWD_STAY   7 /* requests on one connection */
#define GV_CROWD_WINDOW (GV_CROWD_OPEN * GV_CROWD_ROUNDS)

struct gv_crowd {
    pthread_t threads[GV_CROWD_CLIENTS];
    uint16_t ports[GV_WORLD_NODES_MAX];
    size_t node_count;
    atomic_long next;      /* number of the next request */
    atomic_long limit;     /* requests of this number and above are not sent */
    atomic_long answered;  /* whole, 200 */
    atomic_long elsewhere; /* times a client went to another node */
    atomic_long lost;

    /* What must not happen from some moment on; -1: nothing yet. */
    atomic_int doomed_node;   /* may lose requests, ... */
    atomic_bool is_dead;      /* ... but none that begin from now on */
    atomic_long lost_in_vain; /* requests lost nevertheless, or on another node */
    const char *gone_worker;  /* borrowed; has no new requests from node `gone_at` on, ... */
    atomic_int gone_at;       /* ... GV_CROWD_EVERYWHERE: from any */
    atomic_long gone_asked;   /* and these were sent there nevertheless */
};

#define GV_CROWD_EVERYWHERE 1000

/** Start the clients; they send requests number `from` up to `limit`. The nodes' ports are copied.
 */
void gv_crowd_start(struct gv_crowd *crowd, const struct gv_world *world, long from, long limit);

/** Let them send on until a window of conversations is complete, `least` at least in all. */
void gv_crowd_finish(struct gv_crowd *crowd, long least);

/** Wait until all that may be sent has been answered or lost; the number of the next request. */
long gv_crowd_await(struct gv_crowd *crowd);

/** Wait until `count` requests have been answered since the start. */
bool gv_crowd_await_answered(struct gv_crowd *crowd, long count);

#endif
