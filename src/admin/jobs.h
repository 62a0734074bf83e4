/*
 * jobs.h - what was asked of /workers lately and is not done yet, as the reference product's
 * JobStatus.
 *
 * A change is accepted before the fleet has it; how far it is can mostly be read off the worker's
 * state, on every node. This remembers what the fleet does not know yet, and since when. The newest
 * GV_JOBS_MAX are remembered. Who may call: act.c, server.c; on the service thread.
 */
#ifndef GV_ADMIN_JOBS_H
#define GV_ADMIN_JOBS_H

#include "admin/admin.h"

#define GV_JOBS_MAX 256
#define GV_JOB_RESERVED_MS                                                                         \
    30000u /* an addition that the fleet has not seen for so long is none                          \
            */

struct gv_job {
    char url[GV_WORKER_URL_MAX];
    char id[40];
    enum gv_pool pool;
    const char *type;    /* static; NULL: none */
    uint64_t at_wall_ms; /* it was accepted */
};

/* All zero: none. */
struct gv_jobs {
    struct gv_job ring[GV_JOBS_MAX];
    uint32_t next;
};

/** `type`, static: "AddWorker", "UpdateWorker" or "RemoveWorker", of this worker, was accepted. */
void gv_jobs_note(struct gv_jobs *jobs, const char *type, const struct gv_worker *worker);

/** What runs for a worker of the fleet, or for one that is reserved. A new reference, or NULL:
 * nothing. */
json_t *gv_jobs_status(const struct gv_admin_parts *parts, const struct gv_worker *worker);

/** A worker that was accepted and that the fleet does not have yet; false: there is none. */
bool gv_jobs_find_reserved(const struct gv_jobs *jobs, const char *id, struct gv_worker *worker);

#endif
