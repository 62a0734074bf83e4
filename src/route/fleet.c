/*
 * fleet.c - pictures with a reference count; a change makes a new one under the lock and swaps it
 * in.
 */
#include "grapevine/route/fleet.h"

#include "grapevine/base/assert.h"
#include "grapevine/base/lock.h"
#include "grapevine/base/map.h"
#include "grapevine/base/mem.h"
#include <stdatomic.h>
#include <stdio.h>
#include <xxhash.h>

/* A view with its reference count and its workers behind it, in one piece. */
struct picture {
    struct gv_fleet_view view; /* first: a view is a picture */
    uint32_t references;       /* guarded by the fleet's lock; the fleet holds one of the current */
    struct gv_worker workers[];
};

struct gv_fleet {
    struct gv_mutex lock;
    struct picture *current; /* owned */
    _Atomic uint64_t version;
    struct gv_map indexes;      /* url -> its text in `urls` */
    char *urls[GV_WORKERS_MAX]; /* owned */
    uint32_t index_count;
    struct gv_list watches; /* guarded by the lock */
};

static struct picture *picture_new(uint32_t count)
{
    struct picture *made =
        gv_mem_new(GV_MEM_FLEET, sizeof *made + (size_t)count * sizeof made->workers[0]);
    if (made == NULL) {
        return NULL;
    }
    made->references = 1;
    made->view.count = count;
    made->view.workers = made->workers;
    return made;
}

static void picture_drop(struct picture *picture)
{
    GV_ASSERT(picture->references >= 1);
    picture->references -= 1;
    if (picture->references == 0) {
        gv_mem_free(GV_MEM_FLEET, picture);
    }
}

/* Make `next` the current picture. The lock is held. */
static void swap(struct gv_fleet *fleet, struct picture *next)
{
    uint64_t version = fleet->current->view.version + 1;
    next->view.version = version;
    memset(next->view.ready_count, 0, sizeof next->view.ready_count);
    for (uint32_t i = 0; i < next->view.count; i++) {
        GV_ASSERT(i == 0 || strcmp(next->workers[i - 1].url, next->workers[i].url) < 0);
        if (next->workers[i].state == GV_WORKER_READY) {
            next->view.ready_count[next->workers[i].pool] += 1;
        }
    }
    picture_drop(fleet->current);
    fleet->current = next;
    atomic_store_explicit(&fleet->version, version, memory_order_release);
    GV_LIST_EACH(&fleet->watches, at, following)
    {
        struct gv_fleet_watch *watch = GV_CONTAINER(at, struct gv_fleet_watch, link);
        watch->on_change(watch->owner);
    }
}

void gv_fleet_watch(struct gv_fleet *fleet, struct gv_fleet_watch *watch)
{
    gv_mutex_lock(&fleet->lock);
    gv_list_init(&watch->link);
    gv_list_add(&fleet->watches, &watch->link);
    gv_mutex_unlock(&fleet->lock);
}

void gv_fleet_unwatch(struct gv_fleet *fleet, struct gv_fleet_watch *watch)
{
    gv_mutex_lock(&fleet->lock);
    gv_list_remove(&watch->link);
    gv_mutex_unlock(&fleet->lock);
}

enum gv_err gv_fleet_new(struct gv_fleet **fleet)
{
    struct gv_fleet *made = gv_mem_new(GV_MEM_FLEET, sizeof *made);
    if (made == NULL) {
        return GV_ENOMEM;
    }
    made->current = picture_new(0);
    if (made->current == NULL) {
        gv_mem_free(GV_MEM_FLEET, made);
        return GV_ENOMEM;
    }
    made->current->view.version = 1;
    atomic_store(&made->version, 1);
    gv_mutex_init(&made->lock);
    gv_list_init(&made->watches);
    gv_map_init(&made->indexes, GV_MEM_FLEET, GV_WORKERS_MAX, NULL);
    *fleet = made;
    return GV_OK;
}

void gv_fleet_free(struct gv_fleet *fleet)
{
    if (fleet == NULL) {
        return;
    }
    GV_ASSERT(fleet->current->references == 1); /* every view was given back */
    picture_drop(fleet->current);
    gv_map_deinit(&fleet->indexes);
    for (uint32_t i = 0; i < fleet->index_count; i++) {
        gv_mem_free(GV_MEM_FLEET, fleet->urls[i]);
    }
    gv_mutex_deinit(&fleet->lock);
    gv_mem_free(GV_MEM_FLEET, fleet);
}

const struct gv_fleet_view *gv_fleet_acquire(struct gv_fleet *fleet)
{
    gv_mutex_lock(&fleet->lock);
    struct picture *current = fleet->current;
    current->references += 1;
    gv_mutex_unlock(&fleet->lock);
    return &current->view;
}

void gv_fleet_release(struct gv_fleet *fleet, const struct gv_fleet_view *view)
{
    gv_mutex_lock(&fleet->lock);
    picture_drop((struct picture *)(uintptr_t)view);
    gv_mutex_unlock(&fleet->lock);
}

uint64_t gv_fleet_version(const struct gv_fleet *fleet)
{
    return atomic_load_explicit(&fleet->version, memory_order_acquire);
}

/* An index as a map value, which may not be NULL. */
static void *boxed(uint32_t index)
{
    return (void *)((uintptr_t)index + 1);
}

static enum gv_err index_of(struct gv_fleet *fleet, struct gv_slice url, uint32_t *index)
{
    void *found = gv_map_find(&fleet->indexes, url);
    if (found != NULL) {
        *index = (uint32_t)((uintptr_t)found - 1);
        return GV_OK;
    }
    if (fleet->index_count == GV_WORKERS_MAX) {
        return GV_EFULL;
    }
    char *text = gv_mem_new(GV_MEM_FLEET, url.len + 1);
    if (text == NULL) {
        return GV_ENOMEM;
    }
    memcpy(text, url.data, url.len);
    enum gv_err err = gv_map_put(&fleet->indexes, url, boxed(fleet->index_count));
    if (err != GV_OK) {
        gv_mem_free(GV_MEM_FLEET, text);
        return err;
    }
    fleet->urls[fleet->index_count] = text;
    *index = fleet->index_count;
    fleet->index_count += 1;
    return GV_OK;
}

enum gv_err gv_fleet_index(struct gv_fleet *fleet, struct gv_slice url, uint32_t *index)
{
    if (url.len == 0 || url.len >= GV_WORKER_URL_MAX) {
        return GV_ETOOBIG;
    }
    gv_mutex_lock(&fleet->lock);
    enum gv_err err = index_of(fleet, url, index);
    gv_mutex_unlock(&fleet->lock);
    return err;
}

bool gv_fleet_url(struct gv_fleet *fleet, uint32_t index, char url[GV_WORKER_URL_MAX])
{
    gv_mutex_lock(&fleet->lock);
    bool known = index < fleet->index_count;
    if (known) {
        gv_slice_copy_text(gv_slice_text(fleet->urls[index]), url, GV_WORKER_URL_MAX);
    }
    gv_mutex_unlock(&fleet->lock);
    return known;
}

/* Where `url` stands in the sorted workers, or would be put. */
static uint32_t place_of(const struct gv_fleet_view *view, struct gv_slice url, bool *found)
{
    uint32_t low = 0;
    uint32_t high = view->count;
    *found = false;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const char *there = view->workers[middle].url;
        size_t len = strlen(there);
        int order = memcmp(there, url.data, len < url.len ? len : url.len);
        if (order == 0 && len == url.len) {
            *found = true;
            return middle;
        }
        if (order < 0 || (order == 0 && len < url.len)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool is_same_service(const struct gv_worker *old, const struct gv_worker *now)
{
    if (old->pool != now->pool) {
        return false;
    }
    if (now->model_count == 0) {
        return true; /* says nothing about models: what metadata told stays */
    }
    if (old->model_count != now->model_count) {
        return false;
    }
    for (uint32_t i = 0; i < now->model_count; i++) {
        if (strcmp(old->models[i], now->models[i]) != 0) {
            return false;
        }
    }
    return true;
}

/* What is known of a worker that is put again outlives the putting. */
static void keep_known(struct gv_worker *worker, const struct gv_worker *old)
{
    if (!is_same_service(old, worker)) {
        worker->state = GV_WORKER_PENDING;
        worker->ready_since_ms = 0;
        gv_slice_copy_text(gv_slice_text("pool or models changed"), worker->reason,
                           sizeof worker->reason);
        return;
    }
    worker->state = old->state;
    worker->ready_since_ms = old->ready_since_ms;
    memcpy(worker->reason, old->reason, sizeof worker->reason);
    if (worker->model_count == 0) {
        worker->model_count = old->model_count;
        memcpy(worker->models, old->models, sizeof worker->models);
    }
    if (worker->capacity_tokens == 0) {
        worker->capacity_tokens = old->capacity_tokens;
    }
    if (worker->runtime[0] == '\0') {
        memcpy(worker->runtime, old->runtime, sizeof worker->runtime);
    }
}

static enum gv_err put(struct gv_fleet *fleet, const struct gv_worker *worker)
{
    struct gv_slice url = gv_slice_text(worker->url);
    uint32_t index;
    uint32_t engine;
    enum gv_err err = index_of(fleet, url, &index);
    if (err == GV_OK) {
        err = index_of(fleet, gv_worker_engine_url(worker->url), &engine);
    }
    if (err != GV_OK) {
        return err;
    }
    const struct picture *old = fleet->current;
    bool found;
    uint32_t place = place_of(&old->view, url, &found);
    struct picture *next = picture_new(old->view.count + (found ? 0u : 1u));
    if (next == NULL) {
        return GV_ENOMEM;
    }
    uint32_t after = place + (found ? 1u : 0u);
    struct gv_worker *put_here = &next->workers[place];
    memcpy(next->workers, old->workers, place * sizeof *put_here);
    memcpy(put_here + 1, old->workers + after, (old->view.count - after) * sizeof *put_here);
    *put_here = *worker;
    put_here->index = index;
    put_here->engine = engine;
    gv_worker_identify(put_here);
    if (found) {
        keep_known(put_here, &old->workers[place]);
    }
    swap(fleet, next);
    return GV_OK;
}

enum gv_err gv_fleet_put(struct gv_fleet *fleet, const struct gv_worker *worker)
{
    if (worker->url[0] == '\0' || memchr(worker->url, '\0', sizeof worker->url) == NULL ||
        worker->pool >= GV_POOL_COUNT || worker->state >= GV_WORKER_STATE_COUNT ||
        worker->model_count > GV_WORKER_MODELS_MAX) {
        return GV_EINVAL;
    }
    gv_mutex_lock(&fleet->lock);
    enum gv_err err = put(fleet, worker);
    gv_mutex_unlock(&fleet->lock);
    return err;
}

/* A copy of the current picture, to change the worker at `url` in. The lock is held. */
static enum gv_err copy_for(struct gv_fleet *fleet, struct gv_slice url, struct picture **copy,
                            struct gv_worker **worker)
{
    const struct picture *old = fleet->current;
    bool found;
    uint32_t place = place_of(&old->view, url, &found);
    if (!found) {
        return GV_ENOTFOUND;
    }
    struct picture *made = picture_new(old->view.count);
    if (made == NULL) {
        return GV_ENOMEM;
    }
    memcpy(made->workers, old->workers, old->view.count * sizeof made->workers[0]);
    *copy = made;
    *worker = &made->workers[place];
    return GV_OK;
}

enum gv_err gv_fleet_set_state(struct gv_fleet *fleet, struct gv_slice url,
                               enum gv_worker_state state, const char *reason, uint64_t wall_ms)
{
    GV_ASSERT(state < GV_WORKER_STATE_COUNT);
    struct picture *next;
    struct gv_worker *worker;
    gv_mutex_lock(&fleet->lock);
    enum gv_err err = copy_for(fleet, url, &next, &worker);
    if (err == GV_OK) {
        if (state != GV_WORKER_READY) {
            worker->ready_since_ms = 0;
        } else if (worker->state != GV_WORKER_READY) {
            worker->ready_since_ms = wall_ms;
        }
        worker->state = state;
        gv_slice_copy_text(gv_slice_text(reason != NULL ? reason : ""), worker->reason,
                           sizeof worker->reason);
        swap(fleet, next);
    }
    gv_mutex_unlock(&fleet->lock);
    return err;
}

static void learn_model(struct gv_worker *worker, const char *model)
{
    if (model == NULL || model[0] == '\0' || strlen(model) >= GV_WORKER_MODEL_MAX) {
        return;
    }
    for (uint32_t i = 0; i < worker->model_count; i++) {
        if (strcmp(worker->models[i], model) == 0) {
            return;
        }
    }
    if (worker->model_count < GV_WORKER_MODELS_MAX) {
        gv_slice_copy_text(gv_slice_text(model), worker->models[worker->model_count],
                           GV_WORKER_MODEL_MAX);
        worker->model_count += 1;
    }
}

enum gv_err gv_fleet_set_metadata(struct gv_fleet *fleet, struct gv_slice url, const char *model,
                                  const char *runtime, uint64_t capacity_tokens)
{
    struct picture *next;
    struct gv_worker *worker;
    gv_mutex_lock(&fleet->lock);
    enum gv_err err = copy_for(fleet, url, &next, &worker);
    if (err == GV_OK) {
        learn_model(worker, model);
        if (runtime != NULL && runtime[0] != '\0') {
            gv_slice_copy_text(gv_slice_text(runtime), worker->runtime, sizeof worker->runtime);
        }
        if (capacity_tokens != 0) {
            worker->capacity_tokens = capacity_tokens;
        }
        swap(fleet, next);
    }
    gv_mutex_unlock(&fleet->lock);
    return err;
}

static bool has_models(const struct gv_worker *worker, const char *models, uint32_t count)
{
    bool same = worker->model_count == count;
    for (uint32_t i = 0; i < count && same; i++) {
        same = strcmp(worker->models[i], models + (size_t)i * GV_WORKER_MODEL_MAX) == 0;
    }
    return same;
}

enum gv_err gv_fleet_set_models(struct gv_fleet *fleet, struct gv_slice url, const char *models,
                                uint32_t count)
{
    struct picture *next;
    struct gv_worker *worker;
    bool found;
    count = count < GV_WORKER_MODELS_MAX ? count : GV_WORKER_MODELS_MAX;
    gv_mutex_lock(&fleet->lock);
    uint32_t place = place_of(&fleet->current->view, url, &found);
    if (found && has_models(&fleet->current->workers[place], models, count)) {
        gv_mutex_unlock(&fleet->lock);
        return GV_OK;
    }
    enum gv_err err = copy_for(fleet, url, &next, &worker);
    if (err == GV_OK) {
        memset(worker->models, 0, sizeof worker->models);
        worker->model_count = 0;
        for (uint32_t i = 0; i < count; i++) {
            learn_model(worker, models + (size_t)i * GV_WORKER_MODEL_MAX);
        }
        swap(fleet, next);
    }
    gv_mutex_unlock(&fleet->lock);
    return err;
}

static enum gv_err take_out(struct gv_fleet *fleet, struct gv_slice url)
{
    const struct picture *old = fleet->current;
    bool found;
    uint32_t place = place_of(&old->view, url, &found);
    if (!found) {
        return GV_ENOTFOUND;
    }
    struct picture *next = picture_new(old->view.count - 1);
    if (next == NULL) {
        return GV_ENOMEM;
    }
    memcpy(next->workers, old->workers, place * sizeof next->workers[0]);
    memcpy(next->workers + place, old->workers + place + 1,
           (old->view.count - place - 1) * sizeof next->workers[0]);
    swap(fleet, next);
    return GV_OK;
}

enum gv_err gv_fleet_remove(struct gv_fleet *fleet, struct gv_slice url)
{
    gv_mutex_lock(&fleet->lock);
    enum gv_err err = take_out(fleet, url);
    gv_mutex_unlock(&fleet->lock);
    return err;
}

const struct gv_worker *gv_fleet_find(const struct gv_fleet_view *view, struct gv_slice url_or_id)
{
    bool found;
    uint32_t place = place_of(view, url_or_id, &found);
    if (found) {
        return &view->workers[place];
    }
    for (uint32_t i = 0; i < view->count; i++) {
        if (gv_slice_is(url_or_id, view->workers[i].id)) {
            return &view->workers[i];
        }
    }
    return NULL;
}
