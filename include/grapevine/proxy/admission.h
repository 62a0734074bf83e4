/*
 * admission.h - how many requests may be with the workers, and who waits for a place.
 *
 *     gv_admission_enter() --ADMITTED--> running --gv_admission_leave()--> over
 *              |                            ^
 *              +--WAITING--> in the queue --+ on_admitted
 *              |                  |
 *              +--FULL            +-- gv_admission_withdraw(): gone, or waited long enough
 *
 * Two limits over all loops of a node: requests at the same time (a permit each, held until the
 * answer's end), and requests per second (a bucket that holds one second's worth). Who finds no
 * place waits; the queue is first come, first served, and nobody overtakes it.
 *
 * Who may call: wait.c and carrier.c of the proxy; the node makes the one it has. Any thread.
 */
#ifndef GV_PROXY_ADMISSION_H
#define GV_PROXY_ADMISSION_H

#include "grapevine/base/err.h"
#include "grapevine/base/list.h"
#include <stdbool.h>
#include <stdint.h>

struct gv_admission;

struct gv_admission_limits {
    uint32_t running_max; /* requests at the same time; 0: no limit */
    double per_second;    /* requests admitted per second in the long run; 0: no limit */
    uint32_t waiting_max; /* requests in the queue; 0: who finds no place is refused */
};

/* One who waits. Memory of the caller, who keeps it until on_admitted or a withdrawal. */
struct gv_waiter {
    struct gv_list link;
    /** Its turn has come: it holds a permit. Any thread, under a lock: only pass the news on. */
    void (*on_admitted)(struct gv_waiter *waiter);
};

enum gv_admission_verdict {
    GV_ADMISSION_ADMITTED = 0, /* it holds a permit; `waiter` is not used */
    GV_ADMISSION_WAITING,      /* on_admitted comes, unless it is withdrawn before */
    GV_ADMISSION_FULL          /* nothing was taken */
};

struct gv_admission_stats {
    uint32_t running;
    uint32_t waiting;
};

/** `now_us` is the time of a clock that never goes back; so below. Errors: GV_ENOMEM; as
 * gv_metric_register(). */
GV_MUST_USE enum gv_err gv_admission_new(struct gv_admission_limits limits, uint64_t now_us,
                                         struct gv_admission **admission);

/** Nobody runs or waits any more. NULL is fine. */
void gv_admission_free(struct gv_admission *admission);

/** Ask for a permit; `waiter->on_admitted` is set. */
GV_MUST_USE enum gv_admission_verdict gv_admission_enter(struct gv_admission *admission,
                                                         struct gv_waiter *waiter, uint64_t now_us);

/** Give a permit back, once for each that was got. Whoever waits first gets it. */
void gv_admission_leave(struct gv_admission *admission, uint64_t now_us);

/**
 * Wait no more. false: too late, its turn has come: on_admitted was or is being called, and the
 * permit must be given back by who receives it. `is_late` counts it among those that waited in
 * vain.
 */
GV_MUST_USE bool gv_admission_withdraw(struct gv_admission *admission, struct gv_waiter *waiter,
                                       bool is_late);

/** Time has passed: the bucket may hold enough for those who wait. */
void gv_admission_tick(struct gv_admission *admission, uint64_t now_us);

void gv_admission_stats(struct gv_admission *admission, struct gv_admission_stats *stats);

#endif
