/* jobs.c - see jobs.h. */
#include "admin/jobs.h"

#include <string.h>

static const struct gv_job *find(const struct gv_jobs *jobs, const char *id)
{
    for (uint32_t i = 0; i < GV_JOBS_MAX; i++) {
        if (jobs->ring[i].type != NULL && strcmp(jobs->ring[i].id, id) == 0) {
            return &jobs->ring[i];
        }
    }
    return NULL;
}

void gv_jobs_note(struct gv_jobs *jobs, const char *type, const struct gv_worker *worker)
{
    const struct gv_job *known = find(jobs, worker->id);
    struct gv_job *job = &jobs->ring[known != NULL ? (uint32_t)(known - jobs->ring) : jobs->next];
    jobs->next = known != NULL ? jobs->next : (jobs->next + 1) % GV_JOBS_MAX;
    memcpy(job->url, worker->url, sizeof job->url);
    memcpy(job->id, worker->id, sizeof job->id);
    job->pool = worker->pool;
    job->type = type;
    job->at_wall_ms = gv_clock_wall_ms();
}

bool gv_jobs_find_reserved(const struct gv_jobs *jobs, const char *id, struct gv_worker *worker)
{
    const struct gv_job *job = find(jobs, id);
    if (job == NULL || strcmp(job->type, "AddWorker") != 0 ||
        gv_clock_wall_ms() > job->at_wall_ms + GV_JOB_RESERVED_MS) {
        return false;
    }
    gv_worker_blank(worker);
    worker->pool = job->pool;
    worker->index = GV_WORKERS_MAX;
    memcpy(worker->url, job->url, sizeof worker->url);
    memcpy(worker->id, job->id, sizeof worker->id);
    return true;
}

/* The fleet has no such worker yet. */
static bool is_reserved(const struct gv_worker *worker)
{
    return worker->index == GV_WORKERS_MAX;
}

json_t *gv_jobs_status(const struct gv_admin_parts *parts, const struct gv_worker *worker)
{
    static const struct {
        const char *type; /* NULL: nothing runs */
        const char *status;
        const char *otherwise; /* message where the worker gives no reason */
    } runs[GV_WORKER_STATE_COUNT] = {
        [GV_WORKER_PENDING] = {"AddWorker", "processing", "waiting for the worker to answer"},
        [GV_WORKER_DRAINING] = {"RemoveWorker", "processing", "waiting for its requests to end"},
        [GV_WORKER_REFUSED] = {"AddWorker", "failed", "refused"},
    };
    const struct gv_job *job = find(parts->jobs, worker->id);
    if (runs[worker->state].type == NULL) {
        return NULL;
    }
    uint64_t at_ms = job != NULL ? job->at_wall_ms : parts->started_wall_ms;
    const char *message =
        worker->reason[0] != '\0' ? worker->reason : runs[worker->state].otherwise;
    return json_pack("{s:s, s:s, s:s, s:s, s:I}", "job_type", runs[worker->state].type,
                     "worker_url", worker->url, "status",
                     is_reserved(worker) ? "pending" : runs[worker->state].status, "message",
                     message, "timestamp", (json_int_t)(at_ms / 1000));
}
