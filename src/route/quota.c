/*
 * quota.c - see quota.h. One lock for all tenants: it is held for a few multiplications.
 */
#include "grapevine/route/quota.h"

#include "grapevine/base/assert.h"
#include "grapevine/base/lock.h"
#include "grapevine/base/mem.h"
#include "grapevine/base/slice.h"
#include <math.h>
#include <string.h>

#define KEPT_PART   (1.0 / 50) /* of the limit, for nodes that nobody asks yet */
#define PATIENCE_US (GV_QUOTA_PATIENCE_MS * UINT64_C(1000))
#define MEMORY_US   (GV_QUOTA_MEMORY_MS * UINT64_C(1000))
#define RETRY_MAX_S 60
#define STEPS       200 /* in which demand is told, so that what fades comes to an end */

struct tenant {
    char name[GV_TENANT_NAME_MAX];
    double limit;      /* per second, over all nodes */
    double demand;     /* per second, of this node, at demand_at_us */
    double others;     /* per second, of all others */
    double lowest[2];  /* share in the interval before, and in this one */
    double tokens;     /* in the bucket, at filled_at_us */
    uint64_t interval; /* number of the interval that lowest[1] is of */
    uint64_t demand_at_us;
    uint64_t filled_at_us;
    uint32_t nodes;
};

struct gv_quota {
    struct gv_mutex lock; /* guards the tenants but for names and limits */
    uint32_t count;
    struct tenant tenants[];
};

/* ---- under the lock ---- */

static double demand_at(const struct tenant *tenant, uint64_t now_us)
{
    double passed_us = now_us > tenant->demand_at_us ? (double)(now_us - tenant->demand_at_us) : 0;
    return tenant->demand * exp(-passed_us / (double)MEMORY_US);
}

static double told_demand(const struct tenant *tenant, uint64_t now_us)
{
    double demand = demand_at(tenant, now_us);
    return demand < tenant->limit ? demand : tenant->limit;
}

/* What the picture of this moment says. */
static double fair_share(const struct tenant *tenant, uint64_t now_us)
{
    double own = told_demand(tenant, now_us);
    double kept = tenant->limit * KEPT_PART;
    return tenant->limit * (own + kept / tenant->nodes) / (own + tenant->others + kept);
}

/* The lowest of what it was in this interval and the one before. */
static double patient_share(struct tenant *tenant, uint64_t now_us)
{
    double fair = fair_share(tenant, now_us);
    uint64_t interval = now_us / PATIENCE_US;
    if (interval > tenant->interval) {
        tenant->lowest[0] = interval == tenant->interval + 1 ? tenant->lowest[1] : fair;
        tenant->lowest[1] = fair;
        tenant->interval = interval;
    }
    tenant->lowest[1] = fair < tenant->lowest[1] ? fair : tenant->lowest[1];
    return tenant->lowest[0] < tenant->lowest[1] ? tenant->lowest[0] : tenant->lowest[1];
}

/* Clocks of several loops may be a little apart: time never runs back here. Returns the share. */
static double fill(struct tenant *tenant, uint64_t now_us)
{
    double share = patient_share(tenant, now_us);
    double room = share < 1 ? 1 : share;
    if (now_us > tenant->filled_at_us) {
        tenant->tokens += share * (double)(now_us - tenant->filled_at_us) / 1e6;
        tenant->filled_at_us = now_us;
    }
    tenant->tokens = tenant->tokens < room ? tenant->tokens : room;
    GV_ASSERT(tenant->tokens >= 0);
    return share;
}

static void note_demand(struct tenant *tenant, uint64_t now_us)
{
    tenant->demand = demand_at(tenant, now_us) + 1e6 / (double)MEMORY_US;
    tenant->demand_at_us = now_us > tenant->demand_at_us ? now_us : tenant->demand_at_us;
}

static uint32_t retry_after(const struct tenant *tenant, double share)
{
    double wait_s = ceil((1 - tenant->tokens) / share);
    return wait_s < 1 ? 1 : wait_s > RETRY_MAX_S ? RETRY_MAX_S : (uint32_t)wait_s;
}

/* ---- from anywhere ---- */

static enum gv_err add(struct gv_quota *quota, const struct gv_quota_limit *limit, uint64_t now_us)
{
    struct tenant *tenant = &quota->tenants[quota->count];
    if (limit->tenant[0] == '\0' || strlen(limit->tenant) >= GV_TENANT_NAME_MAX ||
        !(limit->per_second > 0) || gv_quota_find(quota, limit->tenant) != GV_QUOTA_NONE) {
        return GV_EINVAL;
    }
    gv_slice_copy_text(gv_slice_text(limit->tenant), tenant->name, sizeof tenant->name);
    tenant->limit = limit->per_second;
    tenant->nodes = 1;
    tenant->tokens = tenant->limit < 1 ? 1 : tenant->limit;
    tenant->lowest[0] = tenant->limit;
    tenant->lowest[1] = tenant->limit;
    tenant->interval = now_us / PATIENCE_US;
    tenant->demand_at_us = now_us;
    tenant->filled_at_us = now_us;
    quota->count += 1;
    return GV_OK;
}

enum gv_err gv_quota_new(const struct gv_quota_limit *limits, uint32_t count, uint64_t now_us,
                         struct gv_quota **quota)
{
    if (count > GV_TENANT_LIMITS_MAX) {
        return GV_EFULL;
    }
    struct gv_quota *made =
        gv_mem_new(GV_MEM_GENERAL, sizeof *made + count * sizeof made->tenants[0]);
    if (made == NULL) {
        return GV_ENOMEM;
    }
    enum gv_err err = GV_OK;
    for (uint32_t i = 0; err == GV_OK && i < count; i++) {
        err = add(made, &limits[i], now_us);
    }
    if (err != GV_OK) {
        gv_mem_free(GV_MEM_GENERAL, made);
        return err;
    }
    gv_mutex_init(&made->lock);
    *quota = made;
    return GV_OK;
}

void gv_quota_free(struct gv_quota *quota)
{
    if (quota != NULL) {
        gv_mutex_deinit(&quota->lock);
        gv_mem_free(GV_MEM_GENERAL, quota);
    }
}

uint32_t gv_quota_count(const struct gv_quota *quota)
{
    return quota->count;
}

const char *gv_quota_name(const struct gv_quota *quota, uint32_t tenant)
{
    GV_ASSERT(tenant < quota->count);
    return quota->tenants[tenant].name;
}

uint32_t gv_quota_find(const struct gv_quota *quota, const char *name)
{
    for (uint32_t i = 0; i < quota->count; i++) {
        if (strcmp(quota->tenants[i].name, name) == 0) {
            return i;
        }
    }
    return GV_QUOTA_NONE;
}

bool gv_quota_ask(struct gv_quota *quota, uint32_t number, uint64_t now_us, uint32_t *retry_after_s)
{
    GV_ASSERT(number < quota->count);
    struct tenant *tenant = &quota->tenants[number];
    gv_mutex_lock(&quota->lock);
    note_demand(tenant, now_us);
    double share = fill(tenant, now_us);
    bool is_admitted = tenant->tokens >= 1;
    if (is_admitted) {
        tenant->tokens -= 1;
    } else {
        *retry_after_s = retry_after(tenant, share);
    }
    gv_mutex_unlock(&quota->lock);
    return is_admitted;
}

uint64_t gv_quota_demand(struct gv_quota *quota, uint32_t number, uint64_t now_us)
{
    GV_ASSERT(number < quota->count);
    const struct tenant *tenant = &quota->tenants[number];
    double part = tenant->limit * 1000 / STEPS;
    double step = part < 1 ? 1 : part;
    gv_mutex_lock(&quota->lock);
    double milli = told_demand(tenant, now_us) * 1000;
    gv_mutex_unlock(&quota->lock);
    return (uint64_t)llround(round(milli / step) * step);
}

uint64_t gv_quota_believe(const struct gv_quota *quota, uint32_t number, uint64_t demand_milli)
{
    GV_ASSERT(number < quota->count);
    double most = ceil(quota->tenants[number].limit * 1000);
    return (double)demand_milli < most ? demand_milli : (uint64_t)most;
}

void gv_quota_set_others(struct gv_quota *quota, uint32_t number, uint64_t demand_milli,
                         uint32_t nodes, uint64_t now_us)
{
    GV_ASSERT(number < quota->count && nodes >= 1);
    struct tenant *tenant = &quota->tenants[number];
    gv_mutex_lock(&quota->lock);
    (void)fill(tenant, now_us); /* with the share until now */
    tenant->others = (double)demand_milli / 1000;
    tenant->nodes = nodes;
    (void)fill(tenant, now_us);
    gv_mutex_unlock(&quota->lock);
}

double gv_quota_share(struct gv_quota *quota, uint32_t number, uint64_t now_us)
{
    GV_ASSERT(number < quota->count);
    gv_mutex_lock(&quota->lock);
    double share = fill(&quota->tenants[number], now_us);
    gv_mutex_unlock(&quota->lock);
    return share;
}
