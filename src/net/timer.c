/*
 * timer.c - libuv's timer with an owner.
 */
#include "grapevine/net/timer.h"

#include "grapevine/base/assert.h"
#include "grapevine/base/mem.h"
#include "inner.h"

struct gv_timer {
    struct gv_thing thing;
    uv_timer_t handle;
    gv_timer_fn on_time;
    void *owner; /* borrowed */
};

static void close_thing(struct gv_thing *thing)
{
    gv_timer_close((struct gv_timer *)(void *)thing);
}

enum gv_err gv_timer_open(struct gv_loop *loop, gv_timer_fn on_time, void *owner,
                          struct gv_timer **timer)
{
    struct gv_timer *made = gv_mem_new(GV_MEM_NET, sizeof *made);
    if (made == NULL) {
        return GV_ENOMEM;
    }
    gv_thing_init(&made->thing, loop, close_thing, NULL);
    made->on_time = on_time;
    made->owner = owner;
    int failed = uv_timer_init(&loop->uv, &made->handle);
    GV_ASSERT(failed == 0); /* it has no descriptor and allocates nothing */
    gv_thing_add_handle(&made->thing, &made->handle);
    *timer = made;
    return GV_OK;
}

static void on_uv_timer(uv_timer_t *handle)
{
    struct gv_timer *timer = handle->data;
    timer->on_time(timer->owner);
}

void gv_timer_start(struct gv_timer *timer, uint64_t delay_ms, uint64_t repeat_ms)
{
    if (timer->thing.closed) {
        return;
    }
    /* libuv counts from its cached time; a long callback would make the delay too short. */
    uv_update_time(&timer->thing.loop->uv);
    int failed = uv_timer_start(&timer->handle, on_uv_timer, delay_ms, repeat_ms);
    GV_ASSERT(failed == 0);
}

void gv_timer_stop(struct gv_timer *timer)
{
    if (!timer->thing.closed) {
        (void)uv_timer_stop(&timer->handle);
    }
}

void gv_timer_close(struct gv_timer *timer)
{
    if (timer == NULL || timer->thing.closed) {
        return;
    }
    timer->thing.closed = true;
    gv_thing_close_handle(&timer->thing, &timer->handle);
}
