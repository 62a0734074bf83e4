/*
 * quota.h - how many requests a second each tenant may send, to all nodes together.
 *
 * There is no counter of the whole cluster. Each node tells the others how much its tenants demand
 * of it and lets through its share of the limit, in proportion to demand:
 *
 *     share = limit * (own demand + f / nodes) / (everybody's demand + f)       f = limit / 50
 *
 * Nodes with the same picture have shares whose sum is the limit. The small f keeps a share for
 * nodes nobody asks yet. A picture is some milliseconds old, so a share that falls does so at once
 * and one that rises waits for GV_QUOTA_PATIENCE_MS: meanwhile the others have heard why. A tenant
 * therefore gets too little for a moment after its traffic has moved, rather than too much.
 *
 * Each node's bucket holds one second of its share, and at least one request. Nodes that cannot see
 * each other know nothing of each other's demand: each side lets the whole limit through.
 *
 * Who may call: the proxy asks, the cluster tells and hears. Any thread.
 */
#ifndef GV_ROUTE_QUOTA_H
#define GV_ROUTE_QUOTA_H

#include "grapevine/base/err.h"
#include <stdbool.h>
#include <stdint.h>

#define GV_TENANT_NAME_MAX   64 /* with the final NUL */
#define GV_TENANT_LIMITS_MAX 256
#define GV_QUOTA_NONE        UINT32_MAX
#define GV_QUOTA_PATIENCE_MS 100  /* to twice as long */
#define GV_QUOTA_MEMORY_MS   2000 /* demand is a mean over about so long */

struct gv_quota;

struct gv_quota_limit {
    const char *tenant; /* copied */
    double per_second;  /* above 0; over all nodes */
};

/** `now_us` is the time of a clock that never goes back; so below. Errors: GV_EINVAL a name that is
 * empty, too long or given twice, or a limit that is none; GV_EFULL GV_TENANT_LIMITS_MAX;
 * GV_ENOMEM. */
GV_MUST_USE enum gv_err gv_quota_new(const struct gv_quota_limit *limits, uint32_t count,
                                     uint64_t now_us, struct gv_quota **quota);
void gv_quota_free(struct gv_quota *quota); /* NULL is fine */

/** Tenants with a limit: 0 .. count - 1. */
uint32_t gv_quota_count(const struct gv_quota *quota);
const char *gv_quota_name(const struct gv_quota *quota, uint32_t tenant);

/** By name; GV_QUOTA_NONE: it has no limit. */
uint32_t gv_quota_find(const struct gv_quota *quota, const char *name);

/** May one more request of this tenant be served? true takes it off the share; false says after how
 * many seconds, at least 1, it is worth to ask again. Both are demand. */
GV_MUST_USE bool gv_quota_ask(struct gv_quota *quota, uint32_t tenant, uint64_t now_us,
                              uint32_t *retry_after_s);

/** What is demanded of this node, in thousandths of a request per second: never above the
 * limit, and to the nearest two-hundredth of it. */
uint64_t gv_quota_demand(struct gv_quota *quota, uint32_t tenant, uint64_t now_us);

/** What is believed of what another node says is demanded of it: no more than the limit, which no
 * node that means well exceeds; so a liar takes the share of one, and sums do not wrap. */
uint64_t gv_quota_believe(const struct gv_quota *quota, uint32_t tenant, uint64_t demand_milli);

/** What the other nodes say is demanded of them, in sum, and how many nodes there are with this
 * one, at least 1. Until the first call there is only this one. */
void gv_quota_set_others(struct gv_quota *quota, uint32_t tenant, uint64_t demand_milli,
                         uint32_t nodes, uint64_t now_us);

/** What this node lets through now, in requests per second. */
double gv_quota_share(struct gv_quota *quota, uint32_t tenant, uint64_t now_us);

#endif
