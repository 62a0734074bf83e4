/*
 * loop.c - one libuv loop, the things on it, and the calls it puts off to its next turn.
 *
 * A turn of libuv is: timers, idle, (wait for events), their callbacks, closed callbacks. Deferred
 * calls run in the idle phase; a deferral made by one of them runs a turn later.
 */
#include "grapevine/net/loop.h"

#include "grapevine/base/assert.h"
#include "grapevine/base/log.h"
#include "grapevine/base/mem.h"
#include "inner.h"
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>

/* ---- things ---- */

void gv_thing_init(struct gv_thing *thing, struct gv_loop *loop,
                   void (*close)(struct gv_thing *thing), void (*gone)(struct gv_thing *thing))
{
    gv_list_init(&thing->link);
    gv_list_add(&loop->things, &thing->link);
    thing->loop = loop;
    thing->close = close;
    thing->gone = gone;
    thing->handle_count = 0;
    thing->closed = false;
}

static void bury(struct gv_thing *thing)
{
    struct gv_loop *loop = thing->loop;
    gv_list_remove(&thing->link);
    if (loop->is_freeing) {
        gv_list_add(&loop->graves, &thing->link);
    } else {
        gv_mem_free(GV_MEM_NET, thing);
    }
}

void gv_thing_discard(struct gv_thing *thing)
{
    GV_ASSERT(thing->handle_count == 0);
    gv_list_remove(&thing->link);
    gv_mem_free(GV_MEM_NET, thing);
}

void gv_thing_add_handle(struct gv_thing *thing, void *handle)
{
    ((uv_handle_t *)handle)->data = thing;
    thing->handle_count += 1;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct gv_thing *thing = handle->data;
    GV_ASSERT(thing->handle_count > 0);
    thing->handle_count -= 1;
    if (thing->handle_count == 0) {
        thing->closed = true;
        if (thing->gone != NULL) {
            thing->gone(thing);
        }
        bury(thing);
    }
}

void gv_thing_close_handle(struct gv_thing *thing, void *handle)
{
    GV_ASSERT(((uv_handle_t *)handle)->data == thing);
    if (!uv_is_closing(handle)) {
        uv_close(handle, on_handle_closed);
    }
}

/* ---- calls of the next turn ---- */

static void run_deferred(uv_idle_t *idle)
{
    struct gv_loop *loop = idle->data;
    struct gv_list now;
    gv_list_init(&now);
    while (!gv_list_is_empty(&loop->deferred)) {
        struct gv_list *at = gv_list_first(&loop->deferred);
        gv_list_remove(at);
        gv_list_add(&now, at);
    }
    while (!gv_list_is_empty(&now)) {
        struct gv_deferral *deferral = GV_CONTAINER(gv_list_first(&now), struct gv_deferral, link);
        gv_list_remove(&deferral->link);
        deferral->run(deferral);
    }
    if (gv_list_is_empty(&loop->deferred)) {
        uv_idle_stop(idle);
    }
}

void gv_loop_defer(struct gv_loop *loop, struct gv_deferral *deferral,
                   void (*run)(struct gv_deferral *deferral))
{
    if (deferral->link.next != NULL && !gv_list_is_empty(&deferral->link)) {
        return;
    }
    deferral->run = run;
    gv_list_init(&deferral->link);
    gv_list_add(&loop->deferred, &deferral->link);
    int failed = uv_idle_start(&loop->next_turn, run_deferred);
    GV_ASSERT(failed == 0);
}

/* ---- the loop ---- */

static void on_stop(uv_async_t *async)
{
    struct gv_loop *loop = async->data;
    uv_stop(&loop->uv);
}

static void stay_awake(uv_idle_t *awake)
{
    (void)awake; /* that it is active is enough */
}

/* About to wait: with or without sleep? */
static void spin(struct gv_loop *loop)
{
    uint64_t now_us = gv_clock_us();
    if (loop->spun_read != loop->read_number) {
        loop->spun_read = loop->read_number;
        loop->spin_until_us = now_us + loop->spin_us;
    }
    if (now_us < loop->spin_until_us) {
        (void)uv_idle_start(&loop->awake, stay_awake);
    } else {
        (void)uv_idle_stop(&loop->awake);
    }
}

static void on_before(uv_prepare_t *prepare)
{
    struct gv_loop *loop = prepare->data;
    loop->clock->turn += 1;
    if (loop->spin_us > 0) {
        spin(loop);
    }
}

static void on_after(uv_check_t *check)
{
    struct gv_loop *loop = check->data;
    loop->clock->turn += 1;
}

/* Initialising a handle without a descriptor cannot fail in libuv; starting an own one neither. */
static void open_own_handles(struct gv_loop *loop)
{
    int failed = uv_idle_init(&loop->uv, &loop->next_turn);
    failed |= uv_idle_init(&loop->uv, &loop->awake);
    failed |= uv_prepare_init(&loop->uv, &loop->before);
    failed |= uv_check_init(&loop->uv, &loop->after);
    failed |= uv_timer_init(&loop->uv, &loop->paused_look);
    loop->next_turn.data = loop;
    loop->before.data = loop;
    loop->after.data = loop;
    loop->paused_look.data = loop;
    failed |= uv_prepare_start(&loop->before, on_before);
    failed |= uv_check_start(&loop->after, on_after);
    GV_ASSERT(failed == 0);
}

enum gv_err gv_loop_new(const char *name, struct gv_loop **loop)
{
    /* libuv writes without MSG_NOSIGNAL: a peer that is gone must be an error, not our end. */
    (void)signal(SIGPIPE, SIG_IGN);
    struct gv_loop *made = gv_mem_new(GV_MEM_NET, sizeof *made);
    if (made == NULL) {
        return GV_ENOMEM;
    }
    made->read_buffer = gv_mem_resize(GV_MEM_BUFFER, NULL, GV_LOOP_READ_BYTES);
    if (made->read_buffer == NULL) {
        gv_mem_free(GV_MEM_NET, made);
        return GV_ENOMEM;
    }
    (void)snprintf(made->name, sizeof made->name, "%s", name);
    made->keepalive_s = GV_KEEPALIVE_S;
    gv_list_init(&made->things);
    gv_list_init(&made->graves);
    gv_list_init(&made->deferred);
    gv_list_init(&made->paused);
    gv_list_init(&made->gathered);
    gv_buf_init(&made->plain, GV_MEM_BUFFER, GV_LOOP_TLS_BYTES);
    gv_buf_init(&made->sealed, GV_MEM_BUFFER, GV_LOOP_TLS_BYTES);
    made->clock = &made->clock_space;
    made->clock->turn = 1;
    enum gv_err err = gv_net_err(uv_loop_init(&made->uv));
    if (err != GV_OK) {
        goto fail;
    }
    err = gv_net_err(uv_async_init(&made->uv, &made->stop, on_stop));
    if (err != GV_OK) {
        (void)uv_loop_close(&made->uv);
        goto fail;
    }
    made->stop.data = made;
    open_own_handles(made);
    *loop = made;
    return GV_OK;
fail:
    gv_mem_free(GV_MEM_BUFFER, made->read_buffer);
    gv_mem_free(GV_MEM_NET, made);
    return err == GV_ENOMEM ? GV_ENOMEM : GV_EIO;
}

void gv_loop_set_spin(struct gv_loop *loop, uint32_t spin_us)
{
    loop->spin_us = spin_us;
}

void gv_loop_set_keepalive(struct gv_loop *loop, uint32_t keepalive_s)
{
    loop->keepalive_s = keepalive_s;
}

void gv_loop_run(struct gv_loop *loop)
{
    loop->clock->turn += 1; /* time has passed since the last run */
    (void)uv_run(&loop->uv, UV_RUN_DEFAULT);
}

static void *run_thread(void *arg)
{
    struct gv_loop *loop = arg;
    (void)prctl(PR_SET_NAME, loop->name, 0, 0, 0);
    gv_loop_run(loop);
    return NULL;
}

enum gv_err gv_loop_start(struct gv_loop *loop)
{
    GV_ASSERT(!loop->has_thread);
    if (pthread_create(&loop->thread, NULL, run_thread, loop) != 0) {
        return GV_EIO;
    }
    loop->has_thread = true;
    return GV_OK;
}

void gv_loop_stop(struct gv_loop *loop)
{
    (void)uv_async_send(&loop->stop);
}

void gv_loop_join(struct gv_loop *loop)
{
    if (loop->has_thread) {
        (void)pthread_join(loop->thread, NULL);
        loop->has_thread = false;
    }
}

/* Until nothing is left: last words may defer calls and open further things. */
static void close_things(struct gv_loop *loop)
{
    while (!gv_list_is_empty(&loop->things) || !gv_list_is_empty(&loop->deferred)) {
        GV_LIST_EACH(&loop->things, at, following)
        {
            struct gv_thing *thing = GV_CONTAINER(at, struct gv_thing, link);
            if (!thing->closed) {
                thing->close(thing);
            }
            following = at->next;
        }
        (void)uv_run(&loop->uv, UV_RUN_NOWAIT);
    }
}

void gv_loop_free(struct gv_loop *loop)
{
    if (loop == NULL) {
        return;
    }
    GV_ASSERT(!loop->has_thread);
    loop->is_freeing = true;
    close_things(loop);
    uv_close((uv_handle_t *)&loop->stop, NULL);
    uv_close((uv_handle_t *)&loop->next_turn, NULL);
    uv_close((uv_handle_t *)&loop->awake, NULL);
    uv_close((uv_handle_t *)&loop->before, NULL);
    uv_close((uv_handle_t *)&loop->after, NULL);
    uv_close((uv_handle_t *)&loop->paused_look, NULL);
    (void)uv_run(&loop->uv, UV_RUN_DEFAULT);
    int busy = uv_loop_close(&loop->uv);
    GV_ASSERT(busy == 0);
    GV_LIST_EACH(&loop->graves, at, following)
    {
        gv_mem_free(GV_MEM_NET, GV_CONTAINER(at, struct gv_thing, link));
    }
    gv_buf_deinit(&loop->plain);
    gv_buf_deinit(&loop->sealed);
    gv_mem_free(GV_MEM_BUFFER, loop->read_buffer);
    gv_mem_free(GV_MEM_NET, loop);
}

uint64_t gv_loop_now_ms(const struct gv_loop *loop)
{
    return gv_loop_now_us(loop) / 1000;
}

uint64_t gv_loop_now_us(const struct gv_loop *loop)
{
    struct gv_loop_clock *clock = loop->clock;
    if (clock->asked_turn != clock->turn) {
        clock->asked_turn = clock->turn;
        clock->now_us = gv_clock_us();
    }
    return clock->now_us;
}

/* ---- signals ---- */

struct gv_signal {
    struct gv_thing thing;
    uv_signal_t handle;
    gv_signal_fn on_signal;
    void *owner; /* borrowed */
};

static void on_uv_signal(uv_signal_t *handle, int signum)
{
    struct gv_signal *signal_thing = handle->data;
    signal_thing->on_signal(signal_thing->owner, signum);
}

static void close_signal(struct gv_thing *thing)
{
    thing->closed = true;
    gv_thing_close_handle(thing, &((struct gv_signal *)(void *)thing)->handle);
}

enum gv_err gv_signal_open(struct gv_loop *loop, int signum, gv_signal_fn on_signal, void *owner)
{
    struct gv_signal *made = gv_mem_new(GV_MEM_NET, sizeof *made);
    if (made == NULL) {
        return GV_ENOMEM;
    }
    gv_thing_init(&made->thing, loop, close_signal, NULL);
    made->on_signal = on_signal;
    made->owner = owner;
    int failed = uv_signal_init(&loop->uv, &made->handle);
    if (failed != 0) {
        gv_thing_discard(&made->thing);
        return GV_EIO;
    }
    gv_thing_add_handle(&made->thing, &made->handle);
    failed = uv_signal_start(&made->handle, on_uv_signal, signum);
    if (failed != 0) {
        close_signal(&made->thing);
        return failed == UV_EINVAL ? GV_EINVAL : GV_EIO;
    }
    return GV_OK;
}
