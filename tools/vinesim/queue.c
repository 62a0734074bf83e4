/*
 * queue.c - see queue.h.
 */
#include "queue.h"

#include <stdlib.h>

#define ROOM_LEAST 1024
#define PLACE_BITS 24 /* so many events at once: 16 million; in all a million million */
#define PLACE_MASK ((UINT64_C(1) << PLACE_BITS) - 1)
#define CHILDREN   4

static queue_key make_key(uint64_t at_us, uint64_t order, uint64_t place)
{
    return (queue_key)at_us << 64 | order << PLACE_BITS | place;
}

/* Behind the last one: never before any other. */
static queue_key free_key(uint64_t place)
{
    return make_key(UINT64_MAX, UINT64_MAX, place);
}

static size_t earlier(const queue_key *keys, size_t a, size_t b)
{
    return keys[b] < keys[a] ? b : a;
}

/* The key goes to the hole `at`, or further up. */
static void rise(struct queue *queue, size_t at, queue_key key)
{
    while (at > 0 && key < queue->keys[(at - 1) / CHILDREN]) {
        queue->keys[at] = queue->keys[(at - 1) / CHILDREN];
        at = (at - 1) / CHILDREN;
    }
    queue->keys[at] = key;
}

static void grow(struct queue *queue)
{
    size_t room = queue->room == 0 ? ROOM_LEAST : queue->room * 2;
    queue->keys = realloc(queue->keys, room * sizeof *queue->keys);
    queue->events = realloc(queue->events, room * sizeof *queue->events);
    if (queue->keys == NULL || queue->events == NULL || room > PLACE_MASK + 1) {
        abort();
    }
    for (size_t place = queue->room; place < room; place++) {
        queue->keys[place] = free_key(place);
    }
    queue->room = room;
}

void queue_deinit(struct queue *queue)
{
    free(queue->keys);
    free(queue->events);
}

struct world_event *queue_push(struct queue *queue, uint64_t at_us)
{
    if (queue->count + CHILDREN > queue->room) { /* the last one's children can be looked at */
        grow(queue);
    }
    uint64_t place = queue->keys[queue->count] & PLACE_MASK;
    rise(queue, queue->count++, make_key(at_us, queue->order++, place));
    return &queue->events[place];
}

bool queue_pop(struct queue *queue, uint64_t until_us, uint64_t *at_us, struct world_event *event)
{
    queue_key *keys = queue->keys;
    if (queue->count == 0 || keys[0] >> 64 > until_us) {
        return false;
    }
    uint64_t place = keys[0] & PLACE_MASK;
    *at_us = (uint64_t)(keys[0] >> 64);
    *event = queue->events[place];
    queue->count -= 1;
    queue_key last = keys[queue->count];
    keys[queue->count] = free_key(place);
    size_t hole = 0, child;
    while ((child = CHILDREN * hole + 1) < queue->count) { /* the last one belongs far down */
        size_t least =
            earlier(keys, earlier(keys, child, child + 1), earlier(keys, child + 2, child + 3));
        keys[hole] = keys[least];
        hole = least;
    }
    if (queue->count > 0) {
        rise(queue, hole, last);
    }
    return true;
}

const struct world_event *queue_first(const struct queue *queue)
{
    return queue->count == 0 ? NULL : &queue->events[queue->keys[0] & PLACE_MASK];
}
