/*
 * tenants.h - whose key is it?
 *
 * A tenant is somebody with keys of their own (--tenant-api-keys) and maybe a limit
 * (--tenant-rate-limit). Keys are kept as hashes only, and looked for without telling by the time
 * taken how much was right. Never changes once made: any thread.
 */
#ifndef GV_PROXY_TENANTS_H
#define GV_PROXY_TENANTS_H

#include "grapevine/base/slice.h"
#include "grapevine/config/config.h"
#include "grapevine/route/quota.h"

struct gv_tenants;

struct gv_tenant {
    char name[GV_TENANT_NAME_MAX];
    uint32_t quota; /* its number there; GV_QUOTA_NONE: no limit */
};

/** The limits of `config`, for gv_quota_new(); returns how many. The names are kept in `names`. */
uint32_t gv_tenants_limits(const struct gv_config *config,
                           char names[GV_TENANT_LIMITS_MAX][GV_TENANT_NAME_MAX],
                           struct gv_quota_limit limits[GV_TENANT_LIMITS_MAX]);

/** The tenants of `config`, which has been checked; `quota` (may be NULL) is borrowed for the call.
 * Errors: GV_ENOMEM. */
GV_MUST_USE enum gv_err gv_tenants_new(const struct gv_config *config, const struct gv_quota *quota,
                                       struct gv_tenants **tenants);
void gv_tenants_free(struct gv_tenants *tenants); /* NULL is fine */

/** Whose key this is; NULL: nobody's. */
const struct gv_tenant *gv_tenants_find(const struct gv_tenants *tenants, struct gv_slice key);

#endif
