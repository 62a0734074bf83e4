/*
 * timer.h - call me later. One thread.
 */
#ifndef GV_NET_TIMER_H
#define GV_NET_TIMER_H

#include "grapevine/net/loop.h"

struct gv_timer;
typedef void (*gv_timer_fn)(void *owner);

/** A stopped timer. Errors: GV_ENOMEM. */
GV_MUST_USE enum gv_err gv_timer_open(struct gv_loop *loop, gv_timer_fn on_time, void *owner,
                                      struct gv_timer **timer);

/** Call once after `delay_ms`, then every `repeat_ms` (0: once only). Starting again replaces. */
void gv_timer_start(struct gv_timer *timer, uint64_t delay_ms, uint64_t repeat_ms);

/** No call until started again. */
void gv_timer_stop(struct gv_timer *timer);

/** No call any more; the memory is freed later by the loop. NULL is fine. */
void gv_timer_close(struct gv_timer *timer);

#endif
