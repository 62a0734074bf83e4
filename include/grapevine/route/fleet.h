/*
 * fleet.h - all workers this node knows, as an immutable picture that is swapped whole.
 *
 * Writers (probes, admin API, mesh) change the fleet under its lock; each change makes a new view.
 * Readers take a reference to the current view, never wait for a writer for longer than a pointer
 * copy, and see workers sorted by URL, equal on all nodes. Any thread.
 */
#ifndef GV_ROUTE_FLEET_H
#define GV_ROUTE_FLEET_H

#include "grapevine/base/list.h"
#include "grapevine/route/worker.h"

struct gv_fleet;

struct gv_fleet_view {
    uint64_t version; /* grows with every change */
    uint32_t count;
    uint32_t ready_count[GV_POOL_COUNT];
    const struct gv_worker *workers; /* sorted by url */
};

/* Who wants to be told of every new view. The memory is the caller's. */
struct gv_fleet_watch {
    struct gv_list link;
    /** Called by whoever changes the fleet, under its lock: only to pass the word on. */
    void (*on_change)(void *owner);
    void *owner;
};

GV_MUST_USE enum gv_err gv_fleet_new(struct gv_fleet **fleet);
void gv_fleet_free(struct gv_fleet *fleet);

/** From now until gv_fleet_unwatch() has returned `watch` is told. */
void gv_fleet_watch(struct gv_fleet *fleet, struct gv_fleet_watch *watch);
void gv_fleet_unwatch(struct gv_fleet *fleet, struct gv_fleet_watch *watch);

/** The current view; give it back with gv_fleet_release(). Never NULL. */
const struct gv_fleet_view *gv_fleet_acquire(struct gv_fleet *fleet);
void gv_fleet_release(struct gv_fleet *fleet, const struct gv_fleet_view *view);

/** The current version without taking a view: loops re-acquire only when it has moved. */
uint64_t gv_fleet_version(const struct gv_fleet *fleet);

/**
 * The index of `url`, given on first sight, whether or not such a worker is in the fleet (remote
 * operations may name workers before their record comes). Errors: GV_EFULL, GV_ETOOBIG, GV_ENOMEM.
 */
GV_MUST_USE enum gv_err gv_fleet_index(struct gv_fleet *fleet, struct gv_slice url,
                                       uint32_t *index);

/** The URL of an index; false when never given. */
bool gv_fleet_url(struct gv_fleet *fleet, uint32_t index, char url[GV_WORKER_URL_MAX]);

/**
 * Add or replace by URL. index, engine and id are set here; state, reason and ready_since of a
 * worker that is there already are kept, unless pool or models changed (then PENDING). Errors:
 * GV_EFULL, GV_ENOMEM, GV_EINVAL.
 */
GV_MUST_USE enum gv_err gv_fleet_put(struct gv_fleet *fleet, const struct gv_worker *worker);

/** Set state and reason (and ready_since). Errors: GV_ENOTFOUND. */
GV_MUST_USE enum gv_err gv_fleet_set_state(struct gv_fleet *fleet, struct gv_slice url,
                                           enum gv_worker_state state, const char *reason,
                                           uint64_t wall_ms);

/** Set what metadata told: one more model, capacity, runtime (each when given). Errors:
 * GV_ENOTFOUND. */
GV_MUST_USE enum gv_err gv_fleet_set_metadata(struct gv_fleet *fleet, struct gv_slice url,
                                              const char *model, const char *runtime,
                                              uint64_t capacity_tokens);

/**
 * Replace the models it serves by these `count`, in this order; the first GV_WORKER_MODELS_MAX
 * count. `models`: texts that begin GV_WORKER_MODEL_MAX bytes after each other. What is the same
 * already changes nothing. Errors: GV_ENOTFOUND, GV_ENOMEM.
 */
GV_MUST_USE enum gv_err gv_fleet_set_models(struct gv_fleet *fleet, struct gv_slice url,
                                            const char *models, uint32_t count);

/** Take it out. Errors: GV_ENOTFOUND. */
GV_MUST_USE enum gv_err gv_fleet_remove(struct gv_fleet *fleet, struct gv_slice url);

/** In a view: by URL or by id; NULL when not there. */
const struct gv_worker *gv_fleet_find(const struct gv_fleet_view *view, struct gv_slice url_or_id);

#endif
