/*
 * worker.c - names of pools and states, the composite key, and the id that is made from the URL.
 */
#include "grapevine/route/worker.h"

#include "grapevine/base/assert.h"

#include <stdio.h>
#include <xxhash.h>

static const char *const pool_names[GV_POOL_COUNT] = {
    [GV_POOL_REGULAR] = "regular",
    [GV_POOL_PREFILL] = "prefill",
    [GV_POOL_DECODE] = "decode",
};

static const char *const state_names[GV_WORKER_STATE_COUNT] = {
    [GV_WORKER_PENDING] = "pending",     [GV_WORKER_READY] = "ready",
    [GV_WORKER_NOT_READY] = "not_ready", [GV_WORKER_DRAINING] = "draining",
    [GV_WORKER_REFUSED] = "refused",
};

static const char *const source_names[GV_SOURCE_COUNT] = {
    [GV_SOURCE_FLAG] = "flag",
    [GV_SOURCE_API] = "api",
    [GV_SOURCE_MESH] = "mesh",
};

struct gv_slice gv_worker_engine_url(const char *url)
{
    const char *at = strrchr(url, '@');
    return at == NULL ? gv_slice_text(url) : gv_slice_of(url, (size_t)(at - url));
}

const char *gv_pool_name(enum gv_pool pool)
{
    GV_ASSERT(pool < GV_POOL_COUNT);
    return pool_names[pool];
}

bool gv_pool_parse(struct gv_slice text, enum gv_pool *pool)
{
    for (int i = 0; i < GV_POOL_COUNT; i++) {
        if (gv_slice_is(text, pool_names[i])) {
            *pool = (enum gv_pool)i;
            return true;
        }
    }
    return false;
}

const char *gv_worker_state_name(enum gv_worker_state state)
{
    GV_ASSERT(state < GV_WORKER_STATE_COUNT);
    return state_names[state];
}

const char *gv_worker_source_name(enum gv_worker_source source)
{
    GV_ASSERT(source < GV_SOURCE_COUNT);
    return source_names[source];
}

void gv_worker_blank(struct gv_worker *worker)
{
    *worker = (struct gv_worker){.pool = GV_POOL_REGULAR,
                                 .state = GV_WORKER_PENDING,
                                 .bootstrap_port = -1,
                                 .priority = GV_WORKER_PRIORITY_USUAL,
                                 .cost = GV_WORKER_COST_USUAL};
}

/* 0 is not said. */
static uint32_t hold_health(uint32_t *value, uint32_t unit)
{
    bool fits = *value == 0 || (*value >= unit && *value / unit <= GV_WORKER_HEALTH_MAX);
    *value = fits ? *value : 0;
    return !fits;
}

uint32_t gv_worker_hold(struct gv_worker *worker)
{
    struct gv_worker_health *health = &worker->health;
    uint32_t beyond = 0;
    if (worker->bootstrap_port != -1 &&
        (worker->bootstrap_port < 1 || worker->bootstrap_port > GV_WORKER_PORT_MAX)) {
        worker->bootstrap_port = -1;
        beyond += 1;
    }
    if (worker->priority < 0 || worker->priority > GV_WORKER_PRIORITY_MAX) {
        worker->priority = GV_WORKER_PRIORITY_USUAL;
        beyond += 1;
    }
    if (!(worker->cost >= 0 && worker->cost <= GV_WORKER_COST_MAX)) { /* no number is neither */
        worker->cost = GV_WORKER_COST_USUAL;
        beyond += 1;
    }
    if (worker->capacity_tokens > GV_WORKER_CAPACITY_MAX) {
        worker->capacity_tokens = 0;
        beyond += 1;
    }
    beyond += hold_health(&health->timeout_ms, 1000);
    beyond += hold_health(&health->interval_ms, 1000);
    beyond += hold_health(&health->drain_settle_ms, 1000);
    beyond += hold_health(&health->success_threshold, 1);
    beyond += hold_health(&health->failure_threshold, 1);
    return beyond;
}

bool gv_worker_serves(const struct gv_worker *worker, struct gv_slice model)
{
    GV_ASSERT(worker->model_count <= GV_WORKER_MODELS_MAX);
    if (worker->model_count == 0 || model.len == 0 || gv_slice_is(model, GV_MODEL_UNKNOWN)) {
        return true;
    }
    for (uint32_t i = 0; i < worker->model_count; i++) {
        if (gv_slice_is(model, worker->models[i])) {
            return true;
        }
    }
    return false;
}

enum gv_err gv_key_compose(enum gv_pool pool, struct gv_slice model, char key[GV_KEY_MAX])
{
    const char *pool_name = gv_pool_name(pool);
    struct gv_slice shown = model.len > 0 ? model : gv_slice_text(GV_MODEL_UNKNOWN);
    size_t head = strlen(pool_name) + 2;
    if (head + shown.len + 1 > GV_KEY_MAX) {
        return GV_ETOOBIG;
    }
    memcpy(key, pool_name, head - 2);
    memcpy(key + head - 2, "::", 2);
    memcpy(key + head, shown.data, shown.len);
    key[head + shown.len] = '\0';
    return GV_OK;
}

enum gv_err gv_key_split(struct gv_slice key, enum gv_pool *pool, struct gv_slice *model)
{
    for (int i = 0; i < GV_POOL_COUNT; i++) {
        size_t len = strlen(pool_names[i]);
        if (key.len > len + 2 && memcmp(key.data, pool_names[i], len) == 0 &&
            memcmp(key.data + len, "::", 2) == 0) {
            *pool = (enum gv_pool)i;
            *model = gv_slice_of(key.data + len + 2, key.len - len - 2);
            return GV_OK;
        }
    }
    return GV_EINVAL;
}

/* A UUID, version 8 (our own making), that every node makes alike from the URL (RFC 9562). */
void gv_worker_identify(struct gv_worker *worker)
{
    XXH128_hash_t hash =
        XXH3_128bits_withSeed(worker->url, strlen(worker->url), UINT64_C(0x67726170657631));
    uint64_t high = (hash.high64 & ~UINT64_C(0xF000)) | UINT64_C(0x8000);
    uint64_t low = (hash.low64 & ~(UINT64_C(3) << 62)) | (UINT64_C(2) << 62);
    snprintf(worker->id, sizeof worker->id, "%08x-%04x-%04x-%04x-%012llx", (unsigned)(high >> 32),
             (unsigned)(high >> 16 & 0xFFFF), (unsigned)(high & 0xFFFF), (unsigned)(low >> 48),
             (unsigned long long)(low & UINT64_C(0xFFFFFFFFFFFF)));
}
