/* probe.c - see probe.h. One ward per worker (ward.h): made, looked at on every tick, freed. */
#include "grapevine/proxy/probe.h"

#include "grapevine/base/assert.h"
#include "grapevine/base/log.h"
#include "grapevine/base/mem.h"
#include "grapevine/net/timer.h"
#include "ward.h"

#define GV_PROBE_TICK_MS      100u
#define GV_PROBE_DRAIN_MIN_MS 500u /* for every loop to have seen that it drains */

/* ---- wards come and go ---- */

static void free_ward(struct gv_ward *ward)
{
    if (ward->step != GV_WARD_IDLE) {
        ward->probe->active_count -= 1;
    }
    ward->probe->by_index[ward->index] = NULL;
    gv_list_remove(&ward->link);
    gv_fetch_deinit(&ward->fetch);
    gv_poll_deinit(ward);
    gv_mem_free(GV_MEM_FLEET, ward);
}

static struct gv_ward *add_ward(struct gv_probe *probe, const struct gv_worker *worker)
{
    struct gv_ward *ward = gv_mem_new(GV_MEM_FLEET, sizeof *ward);
    if (ward == NULL) {
        return NULL; /* tried again with the next tick */
    }
    ward->probe = probe;
    ward->index = worker->index;
    memcpy(ward->url, worker->url, sizeof ward->url);
    ward->learns_models = worker->model_count == 0;
    ward->learns_runtime = worker->runtime[0] == '\0';
    gv_fetch_init(&ward->fetch);
    gv_list_init(&ward->link);
    gv_list_add(&probe->wards, &ward->link);
    probe->by_index[ward->index] = ward;
    if (gv_target_get(probe->targets, worker, &ward->target) != GV_OK) {
        ward->target = NULL;
        gv_ward_set_state(ward, GV_WORKER_REFUSED,
                          "only http:// and https:// URLs can be spoken to");
    }
    return ward;
}

/* A draining worker leaves when nothing of ours is there any more, or when it took too long. */
static void drain(struct gv_ward *ward, const struct gv_worker *worker)
{
    struct gv_probe *probe = ward->probe;
    const struct gv_proxy_shared *shared = probe->shared;
    uint64_t now = gv_ward_now_ms(ward);
    if (ward->draining_since_ms == 0) {
        ward->draining_since_ms = now;
    }
    uint64_t age_ms = now - ward->draining_since_ms;
    bool quiet = gv_load_get(shared->load, ward->index).own_count == 0;
    uint64_t least_ms = worker->health.drain_settle_ms > GV_PROBE_DRAIN_MIN_MS
                            ? worker->health.drain_settle_ms
                            : GV_PROBE_DRAIN_MIN_MS;
    if (age_ms < least_ms || (!quiet && age_ms < shared->config->shutdown_grace_ms)) {
        return;
    }
    struct gv_worker gone = *worker;
    if (gv_fleet_remove(shared->fleet, gv_slice_text(ward->url)) != GV_OK) {
        return;
    }
    if (gone.source != GV_SOURCE_MESH) {
        gv_ward_forget(ward, GV_FLOOR_REMOVED, gv_clock_wall_ms());
    }
    gv_log(GV_LOG_INFO, "worker.removed", GV_STR("worker", gone.url), GV_FLAG("quiet", quiet));
    probe->events->on_removed(probe->owner, &gone);
}

static void tend(struct gv_ward *ward, const struct gv_worker *worker)
{
    ward->seen_at = ward->probe->sweep;
    if (worker->state == GV_WORKER_DRAINING) {
        drain(ward, worker);
        return;
    }
    ward->draining_since_ms = 0;
    if (worker->state == GV_WORKER_PENDING && ward->was_ready) {
        gv_ward_restart(ward, worker); /* we called it ready: it was registered anew */
    }
    gv_ward_tick(ward);
    worker = gv_ward_look(ward);
    if (worker != NULL) {
        gv_poll_tick(ward, worker);
    }
}

/* Look at all of them. Only so many questions are out at once: the first for whom there was no room
 * is the first the next time, so that engines that hang do not keep the others from being asked. */
static void tend_all(struct gv_probe *probe, const struct gv_fleet_view *view)
{
    uint32_t first = view->count == 0 ? 0 : probe->first % view->count;
    bool is_full = false;
    for (uint32_t i = 0; i < view->count; i++) {
        uint32_t at = (first + i) % view->count;
        const struct gv_worker *worker = &view->workers[at];
        if (!is_full && probe->active_count >= GV_WARD_ACTIVE_MAX) {
            is_full = true;
            probe->first = at;
        }
        struct gv_ward *ward = probe->by_index[worker->index];
        if (ward == NULL) {
            ward = add_ward(probe, worker);
        }
        if (ward != NULL) {
            tend(ward, worker);
        }
    }
}

static void sweep(struct gv_probe *probe)
{
    struct gv_fleet *fleet = probe->shared->fleet;
    probe->sweep += 1;
    GV_LIST_EACH(&probe->wards, at, following)
    {
        gv_ward_expire(GV_CONTAINER(at, struct gv_ward, link)); /* first, to make room */
    }
    const struct gv_fleet_view *view = gv_fleet_acquire(fleet); /* a look may swap its own */
    tend_all(probe, view);
    GV_LIST_EACH(&probe->wards, at, following)
    {
        struct gv_ward *ward = GV_CONTAINER(at, struct gv_ward, link);
        if (ward->seen_at != probe->sweep) {
            free_ward(ward);
        }
    }
    gv_targets_sweep(probe->targets, view);
    gv_fleet_release(fleet, view);
}

static void on_tick(void *owner)
{
    sweep(owner);
}

void gv_probe_wake(struct gv_probe *probe)
{
    gv_timer_start(probe->tick, 0, GV_PROBE_TICK_MS);
}

enum gv_err gv_probe_open(struct gv_loop *loop, const struct gv_proxy_shared *shared,
                          const struct gv_probe_events *events, void *owner, struct gv_probe **out)
{
    struct gv_probe *probe = gv_mem_new(GV_MEM_FLEET, sizeof *probe);
    if (probe == NULL) {
        return GV_ENOMEM;
    }
    probe->loop = loop;
    probe->shared = shared;
    probe->events = events;
    probe->owner = owner;
    gv_list_init(&probe->wards);
    probe->by_index = gv_mem_new(GV_MEM_FLEET, GV_WORKERS_MAX * sizeof(struct gv_ward *));
    enum gv_err err =
        probe->by_index == NULL
            ? GV_ENOMEM
            : gv_targets_open(loop, shared->config, shared->worker_tls, &probe->targets);
    if (err != GV_OK) {
        gv_mem_free(GV_MEM_FLEET, probe->by_index);
        gv_mem_free(GV_MEM_FLEET, probe);
        return err;
    }
    err = gv_timer_open(loop, on_tick, probe, &probe->tick);
    probe->view = gv_fleet_acquire(shared->fleet);
    if (err != GV_OK) {
        gv_probe_close(probe);
        return err;
    }
    gv_timer_start(probe->tick, 0, GV_PROBE_TICK_MS);
    *out = probe;
    return GV_OK;
}

static void on_targets_closed(void *owner)
{
    struct gv_probe *probe = owner;
    gv_mem_free(GV_MEM_FLEET, probe->by_index);
    gv_mem_free(GV_MEM_FLEET, probe);
}

void gv_probe_close(struct gv_probe *probe)
{
    if (probe == NULL) {
        return;
    }
    gv_timer_close(probe->tick);
    GV_LIST_EACH(&probe->wards, at, following)
    {
        free_ward(GV_CONTAINER(at, struct gv_ward, link));
    }
    gv_fleet_release(probe->shared->fleet, probe->view);
    gv_targets_close(probe->targets, on_targets_closed, probe);
}
