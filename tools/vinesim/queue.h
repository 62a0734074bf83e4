/*
 * queue.h - what will happen in a world: events by (time, order of asking).
 *
 * An event stays where it was written; only keys of 16 bytes move, in a heap of four children.
 */
#ifndef VINESIM_QUEUE_H
#define VINESIM_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct world_message;

struct world_event {
    uint64_t number;             /* connection, or tick's time */
    struct world_message *bytes; /* owned */
    uint32_t kind, node, life;
};

/* From the high bits down: when, in which order it was asked for, and where its event is. */
__extension__ typedef unsigned __int128 queue_key;

/* Zero-initialise to start. */
struct queue {
    queue_key *keys;            /* owned; behind the first `count`: places that are free */
    struct world_event *events; /* owned */
    size_t count, room;
    uint64_t order; /* how many were pushed */
};

void queue_deinit(struct queue *queue);
/** A new event: to be written before the next push. */
struct world_event *queue_push(struct queue *queue, uint64_t at_us);
/** Take the first one; false: none is due at `until_us` or before. */
bool queue_pop(struct queue *queue, uint64_t until_us, uint64_t *at_us, struct world_event *event);
/** The first one; NULL: none. Until the next push or pop. */
const struct world_event *queue_first(const struct queue *queue);

#endif
