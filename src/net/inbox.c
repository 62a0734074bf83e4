/*
 * inbox.c - a ring of messages under a lock, and an async handle that wakes the loop.
 *
 * The lock is held for a few instructions, never across a callback. The ring doubles up to its
 * limit and does not shrink: it holds what a busy moment once needed.
 */
#include "grapevine/net/inbox.h"

#include "grapevine/base/assert.h"
#include "grapevine/base/lock.h"
#include "grapevine/base/mem.h"
#include "inner.h"

#define ROOM_FIRST 64

struct gv_inbox {
    struct gv_thing thing;
    uv_async_t wake;
    gv_inbox_fn on_message;
    void *owner; /* borrowed */
    uint32_t max_count;
    struct gv_mutex mutex; /* guards what follows */
    void **ring;           /* owned; `room` places, a power of two */
    uint32_t room;
    uint32_t first;
    uint32_t count;
    bool refuses;
    bool is_attended; /* the owner looks by itself: no wake-ups */
};

/* The next message; false when there is none. */
static bool take(struct gv_inbox *inbox, void **message)
{
    bool has = false;
    gv_mutex_lock(&inbox->mutex);
    if (inbox->count > 0) {
        *message = inbox->ring[inbox->first];
        inbox->first = (inbox->first + 1) & (inbox->room - 1);
        inbox->count -= 1;
        has = true;
    }
    gv_mutex_unlock(&inbox->mutex);
    return has;
}

/* What waits now and no more, so that a chatty thread cannot hold the loop. */
void gv_inbox_take_in(struct gv_inbox *inbox)
{
    gv_mutex_lock(&inbox->mutex);
    uint32_t waiting = inbox->count;
    gv_mutex_unlock(&inbox->mutex);
    void *message;
    for (uint32_t i = 0; i < waiting && !inbox->thing.closed && take(inbox, &message); i++) {
        inbox->on_message(inbox->owner, message);
    }
    gv_mutex_lock(&inbox->mutex);
    bool more = inbox->count > 0 && !inbox->is_attended;
    gv_mutex_unlock(&inbox->mutex);
    if (more && !inbox->thing.closed) {
        (void)uv_async_send(&inbox->wake);
    }
}

static void on_wake(uv_async_t *async)
{
    gv_inbox_take_in(async->data);
}

void gv_inbox_attend(struct gv_inbox *inbox, bool is_attended)
{
    gv_mutex_lock(&inbox->mutex);
    inbox->is_attended = is_attended;
    if (!is_attended && inbox->count > 0 && !inbox->refuses) {
        (void)uv_async_send(&inbox->wake); /* who posted these has not */
    }
    gv_mutex_unlock(&inbox->mutex);
}

static void gone(struct gv_thing *thing)
{
    struct gv_inbox *inbox = (struct gv_inbox *)(void *)thing;
    GV_ASSERT(inbox->count == 0);
    gv_mem_free(GV_MEM_NET, inbox->ring);
    inbox->ring = NULL;
    inbox->room = 0;
    if (!thing->loop->is_freeing) { /* otherwise a last word may still post, and is refused */
        gv_mutex_deinit(&inbox->mutex);
    }
}

static void close_thing(struct gv_thing *thing)
{
    gv_inbox_close((struct gv_inbox *)(void *)thing);
}

enum gv_err gv_inbox_open(struct gv_loop *loop, uint32_t max_count, gv_inbox_fn on_message,
                          void *owner, struct gv_inbox **inbox)
{
    GV_ASSERT(max_count > 0);
    struct gv_inbox *made = gv_mem_new(GV_MEM_NET, sizeof *made);
    if (made == NULL) {
        return GV_ENOMEM;
    }
    void **ring = gv_mem_new(GV_MEM_NET, ROOM_FIRST * sizeof *ring);
    if (ring == NULL) {
        gv_mem_free(GV_MEM_NET, made);
        return GV_ENOMEM;
    }
    made->ring = ring;
    made->room = ROOM_FIRST;
    made->max_count = max_count;
    made->on_message = on_message;
    made->owner = owner;
    gv_thing_init(&made->thing, loop, close_thing, gone);
    if (uv_async_init(&loop->uv, &made->wake, on_wake) != 0) {
        gv_mem_free(GV_MEM_NET, ring);
        gv_thing_discard(&made->thing);
        return GV_EIO;
    }
    gv_mutex_init(&made->mutex);
    gv_thing_add_handle(&made->thing, &made->wake);
    *inbox = made;
    return GV_OK;
}

/* Twice the room, the messages in order from place 0. Called under the lock. */
static bool grow(struct gv_inbox *inbox)
{
    uint32_t room = inbox->room * 2;
    void **ring = gv_mem_new(GV_MEM_NET, room * sizeof *ring);
    if (ring == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < inbox->count; i++) {
        ring[i] = inbox->ring[(inbox->first + i) & (inbox->room - 1)];
    }
    gv_mem_free(GV_MEM_NET, inbox->ring);
    inbox->ring = ring;
    inbox->room = room;
    inbox->first = 0;
    return true;
}

/* Called under the lock. */
static enum gv_err put(struct gv_inbox *inbox, void *message)
{
    if (inbox->refuses) {
        return GV_ECLOSED;
    }
    if (inbox->count == inbox->max_count || (inbox->count == inbox->room && !grow(inbox))) {
        return GV_EFULL;
    }
    inbox->ring[(inbox->first + inbox->count) & (inbox->room - 1)] = message;
    inbox->count += 1;
    return GV_OK;
}

enum gv_err gv_inbox_post(struct gv_inbox *inbox, void *message)
{
    gv_mutex_lock(&inbox->mutex);
    enum gv_err err = put(inbox, message);
    if (err == GV_OK) {
        /* Inside the lock, so that it cannot meet a close: the handle is open while not refusing.
         */
        if (!inbox->is_attended) {
            (void)uv_async_send(&inbox->wake);
        }
    }
    gv_mutex_unlock(&inbox->mutex);
    return err;
}

void gv_inbox_close(struct gv_inbox *inbox)
{
    if (inbox == NULL || inbox->thing.closed) {
        return;
    }
    gv_mutex_lock(&inbox->mutex);
    bool again = inbox->refuses; /* closed once more by a message that the first close delivered */
    inbox->refuses = true;
    gv_mutex_unlock(&inbox->mutex);
    if (again) {
        return;
    }
    void *message;
    while (take(inbox, &message)) {
        inbox->on_message(inbox->owner, message);
    }
    inbox->thing.closed = true;
    gv_thing_close_handle(&inbox->thing, &inbox->wake);
}
