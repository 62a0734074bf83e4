/*
 * queue.c - see queue.h.
 */
#include "queue.h"

#include <stdlib.h>

#define ROOM_LEAST 1024
#define PLACE_BITS 24 /* so many events at once: 16 million; in all a million million */
#define PLACE_MASK ((UINT64_C(1) << PLACE_BITS) - 1)
#define CHILDREN   4

/* Behind the last key: never before any other. */
static struct queue_key free_key(uint64_t place)
{
    return (struct queue_key){.at_us = UINT64_MAX, .order_place = ~PLACE_MASK | place};
}

/* No branch: nothing foretells it. */
static bool is_before(struct queue_key a, struct queue_key b)
{
    return (a.at_us < b.at_us) | ((a.at_us == b.at_us) & (a.order_place < b.order_place));
}

static size_t earlier(const struct queue_key *keys, size_t a, size_t b)
{
    return is_before(keys[b], keys[a]) ? b : a;
}

/* The key goes to the hole `at`, or further up. */
static void rise(struct queue *queue, size_t at, struct queue_key key)
{
    while (at > 0 && is_before(key, queue->keys[(at - 1) / CHILDREN])) {
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
    uint64_t place = queue->keys[queue->count].order_place & PLACE_MASK;
    struct queue_key key = {.at_us = at_us, .order_place = queue->order << PLACE_BITS | place};
    queue->order += 1;
    rise(queue, queue->count++, key);
    return &queue->events[place];
}

bool queue_pop(struct queue *queue, uint64_t until_us, uint64_t *at_us, struct world_event *event)
{
    struct queue_key *keys = queue->keys;
    if (queue->count == 0 || keys[0].at_us > until_us) {
        return false;
    }
    uint64_t place = keys[0].order_place & PLACE_MASK;
    *at_us = keys[0].at_us;
    *event = queue->events[place];
    queue->count -= 1;
    struct queue_key last = keys[queue->count];
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
    return queue->count == 0 ? NULL : &queue->events[queue->keys[0].order_place & PLACE_MASK];
}
