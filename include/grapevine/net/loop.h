/*
 * loop.h - one event loop on one thread.
 *
 * Everything of net/ belongs to a loop and is used on its thread only, except gv_inbox_post() and
 * gv_loop_stop(). Callbacks run on the loop's thread, never from inside the call that caused them.
 * The three laws are libuv's: a call that returns an error never calls back; memory of a handle is
 * free only after its closed callback; handles do not move.
 */
#ifndef GV_NET_LOOP_H
#define GV_NET_LOOP_H

#include "grapevine/base/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gv_loop;

/** Make a loop. `name` (copied, cut at 15 bytes) names its thread and its metrics. */
GV_MUST_USE enum gv_err gv_loop_new(const char *name, struct gv_loop **loop);

/**
 * After bytes came, look for more for `spin_us` before going to sleep: a loop that is awake answers
 * sooner than one that has to be woken, and takes a core for that time. 0 (as made): sleep at once.
 * Before the loop runs.
 */
void gv_loop_set_spin(struct gv_loop *loop, uint32_t spin_us);

#define GV_KEEPALIVE_S 30 /* as made */

/**
 * A stream that was silent for `keepalive_s` asks its peer's kernel whether it is there, and closes
 * after half a minute without an answer; 0: never. At most 32767. Before the loop runs.
 */
void gv_loop_set_keepalive(struct gv_loop *loop, uint32_t keepalive_s);

/** Run on the calling thread until gv_loop_stop(). */
void gv_loop_run(struct gv_loop *loop);

/** Run on a thread of its own. Errors: GV_EIO no thread. */
GV_MUST_USE enum gv_err gv_loop_start(struct gv_loop *loop);

/** Make gv_loop_run() return after the current turn. Any thread. */
void gv_loop_stop(struct gv_loop *loop);

/** Wait until the thread of gv_loop_start() has ended. */
void gv_loop_join(struct gv_loop *loop);

/** Close what is still open, run the closed callbacks, free. The loop is not running. */
void gv_loop_free(struct gv_loop *loop);

/** Milliseconds / microseconds of a clock that never goes back, as of this turn of the loop. */
uint64_t gv_loop_now_ms(const struct gv_loop *loop);
uint64_t gv_loop_now_us(const struct gv_loop *loop);

/** The same clock right now, more expensive; any thread. */
uint64_t gv_clock_us(void);

/** Wall clock, milliseconds since 1970; any thread. */
uint64_t gv_clock_wall_ms(void);

/** `len` bytes from the kernel's random source. */
void gv_random_bytes(void *into, size_t len);

/** How many loops "one per core" means here: cores this process may use. */
uint32_t gv_loop_core_count(void);

/** Raise RLIMIT_NOFILE to its hard limit; the limit then in force. */
uint64_t gv_raise_file_limit(void);

/* A signal. `on_signal` runs on the loop. Closed by gv_loop_free(). */
typedef void (*gv_signal_fn)(void *owner, int signum);
GV_MUST_USE enum gv_err gv_signal_open(struct gv_loop *loop, int signum, gv_signal_fn on_signal,
                                       void *owner);

#endif
