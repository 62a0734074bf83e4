/*
 * inner.h - what the files of net/ share: the loop's inside, and the life of everything on it.
 *
 * A "thing" is whatever an owner opened on a loop: a timer, a stream, a listener. It has one or
 * more libuv handles. Closing it closes the handles; when the last of them is closed the thing says
 * its last words (gone) and its memory is freed. While gv_loop_free() runs, memory is kept until
 * the very end, so that a last word may still touch (and close again) its dead neighbours.
 *
 * Private to net/.
 */
#ifndef GV_NET_INNER_H
#define GV_NET_INNER_H

#include "grapevine/base/addr.h"
#include "grapevine/base/buf.h"
#include "grapevine/base/err.h"
#include "grapevine/base/list.h"
#include "grapevine/net/loop.h"
#include "grapevine/net/stream.h"
#include <pthread.h>
#include <uv.h>

#define GV_LOOP_NAME_BYTES 16
#define GV_LOOP_READ_BYTES (128 * 1024)  /* one read of one stream */
#define GV_LOOP_TLS_BYTES  (1024 * 1024) /* far above what one read or one piece can become */

struct gv_thing {
    struct gv_list link;                   /* in loop->things, later in loop->graves */
    struct gv_loop *loop;                  /* borrowed */
    void (*close)(struct gv_thing *thing); /* the same as the owner's close */
    void (*gone)(struct gv_thing *thing); /* all handles closed: release all but the thing itself */
    uint32_t handle_count;                /* libuv handles not closed yet */
    bool closed;                          /* no calls to the owner any more, but the last */
};

/** A call that has to wait for the next turn. Embedded in what it is about. */
struct gv_deferral {
    struct gv_list link;
    void (*run)(struct gv_deferral *deferral);
};

struct gv_loop_clock {
    uint64_t turn;       /* grows before and after each wait of the loop */
    uint64_t asked_turn; /* turn in which now_us was taken */
    uint64_t now_us;
};

struct gv_loop {
    char name[GV_LOOP_NAME_BYTES];
    uv_loop_t uv;
    uv_async_t stop;
    uv_idle_t next_turn;    /* active while `deferred` is not empty */
    uv_prepare_t before;    /* counts turns */
    uv_check_t after;       /* counts turns */
    uv_timer_t paused_look; /* active while `paused` is not empty */
    uv_idle_t awake;        /* active while spinning: the loop does not wait */
    uint64_t spin_until_us;
    uint64_t spun_read;    /* the read_number that spinning began for */
    uint32_t spin_us;      /* 0: never */
    uint32_t keepalive_s;  /* of its streams; 0: never */
    struct gv_list things; /* struct gv_thing */
    struct gv_list graves; /* struct gv_thing; while freeing */
    struct gv_list deferred;
    struct gv_list paused;       /* struct gv_stream by paused_link */
    struct gv_list gathered;     /* struct gv_stream by gathered_link; empty between callbacks */
    uint64_t read_number;        /* of the on_data that runs, or ran last */
    struct gv_loop_clock *clock; /* points into this struct; the clock is a cache */
    struct gv_loop_clock clock_space;
    uint8_t *read_buffer; /* owned; GV_LOOP_READ_BYTES, counted as GV_MEM_BUFFER */
    size_t read_bytes;    /* of the last read, in there */
    struct gv_buf plain;  /* owned: what a stream's TLS has opened; for the length of an on_data */
    struct gv_buf sealed; /* owned: what it has sealed; until it is sent or queued */
    pthread_t thread;
    bool has_thread; /* gv_loop_start() was called and gv_loop_join() not yet */
    bool is_freeing;
    bool is_reading; /* an on_data runs */
};

/** Begin the life of `thing`, which is the first member of memory from gv_mem_new(GV_MEM_NET). */
void gv_thing_init(struct gv_thing *thing, struct gv_loop *loop,
                   void (*close)(struct gv_thing *thing), void (*gone)(struct gv_thing *thing));

/** Count `handle`, which libuv has just initialised, as one of the thing's. */
void gv_thing_add_handle(struct gv_thing *thing, void *handle);

/** Close one handle; the last one closed ends the thing. Twice is harmless. */
void gv_thing_close_handle(struct gv_thing *thing, void *handle);

/** Free a thing that never had a handle, e.g. because initialising failed. */
void gv_thing_discard(struct gv_thing *thing);

/** Run `deferral` in the next turn of the loop; harmless when it waits already. */
void gv_loop_defer(struct gv_loop *loop, struct gv_deferral *deferral,
                   void (*run)(struct gv_deferral *deferral));

/** Make a stream of a connected socket. Errors: GV_ENOMEM, GV_EIO; `fd` is closed then. */
GV_MUST_USE enum gv_err gv_stream_accept(struct gv_loop *loop, int fd, const struct gv_addr *peer,
                                         struct gv_stream **stream);

/** Was it adopted or closed? */
bool gv_stream_is_adopted(const struct gv_stream *stream);

/** A libuv error as ours. */
enum gv_err gv_net_err(int uv_error);

/** An address for the kernel; a family 4 address becomes ::ffff:a.b.c.d when `as_v6`. */
void gv_net_to_sockaddr(const struct gv_addr *addr, bool as_v6, struct sockaddr_storage *into);

/** An address from the kernel; ::ffff:a.b.c.d becomes family 4. Unset when of another family. */
struct gv_addr gv_net_from_sockaddr(const struct sockaddr *from);

/* What net/ counts; the cells live as long as the process. */
struct gv_net_metrics {
    struct gv_metric *accepted;      /* connections, by loop */
    struct gv_metric *accept_pauses; /* by loop */
};
struct gv_net_metrics gv_net_metrics_of(const struct gv_loop *loop);

/** Count one finished lookup by its outcome, and the addresses cut from it. */
void gv_net_count_lookup(enum gv_err outcome, size_t cut_count);

#endif
