/* tenants.c - see tenants.h. */
#include "grapevine/proxy/tenants.h"

#include "grapevine/base/assert.h"
#include "grapevine/base/mem.h"
#include "grapevine/config/tenant.h"
#include "grapevine/seal/token.h"

struct entry {
    struct gv_token_hash key;
    struct gv_tenant tenant;
};

struct gv_tenants {
    size_t count;
    struct entry entries[];
};

uint32_t gv_tenants_limits(const struct gv_config *config,
                           char names[GV_TENANT_LIMITS_MAX][GV_TENANT_NAME_MAX],
                           struct gv_quota_limit limits[GV_TENANT_LIMITS_MAX])
{
    const struct gv_config_list *list = &config->tenant_rate_limits;
    GV_ASSERT(list->count <= GV_TENANT_LIMITS_MAX);
    for (size_t i = 0; i < list->count; i++) {
        bool is_limit = gv_tenant_limit_parse(list->items[i], names[i], &limits[i].per_second);
        GV_ASSERT(is_limit);
        limits[i].tenant = names[i];
    }
    return (uint32_t)list->count;
}

enum gv_err gv_tenants_new(const struct gv_config *config, const struct gv_quota *quota,
                           struct gv_tenants **tenants)
{
    const struct gv_config_list *keys = &config->tenant_api_keys;
    struct gv_tenants *made =
        gv_mem_new(GV_MEM_GENERAL, sizeof *made + keys->count * sizeof made->entries[0]);
    if (made == NULL) {
        return GV_ENOMEM;
    }
    for (size_t i = 0; i < keys->count; i++) {
        struct entry *entry = &made->entries[made->count++];
        struct gv_slice key;
        bool is_key = gv_tenant_key_parse(keys->items[i], entry->tenant.name, &key);
        GV_ASSERT(is_key);
        entry->key = gv_token_hash(key);
        entry->tenant.quota =
            quota == NULL ? GV_QUOTA_NONE : gv_quota_find(quota, entry->tenant.name);
    }
    *tenants = made;
    return GV_OK;
}

void gv_tenants_free(struct gv_tenants *tenants)
{
    gv_mem_free(GV_MEM_GENERAL, tenants);
}

const struct gv_tenant *gv_tenants_find(const struct gv_tenants *tenants, struct gv_slice key)
{
    struct gv_token_hash given = gv_token_hash(key);
    const struct gv_tenant *found = NULL;
    for (size_t i = 0; i < tenants->count; i++) {
        bool is_equal = gv_token_hash_equal(&given, &tenants->entries[i].key);
        found = is_equal ? &tenants->entries[i].tenant : found;
    }
    return found;
}
