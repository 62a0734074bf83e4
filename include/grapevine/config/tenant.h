/*
 * tenant.h - how keys and limits of tenants are written: "acme:sk-123" and "acme=50".
 *
 * A name is 1 to 63 letters, digits, '.', '_' or '-'.
 */
#ifndef GV_CONFIG_TENANT_H
#define GV_CONFIG_TENANT_H

#include "grapevine/base/slice.h"
#include "grapevine/route/quota.h"
#include <stdbool.h>

#define GV_TENANT_RATE_MAX 1e6 /* requests per second */

/** "NAME:KEY"; `key` points into `item`. false: it is not that. */
bool gv_tenant_key_parse(const char *item, char name[GV_TENANT_NAME_MAX], struct gv_slice *key);

/** "NAME=RATE", the rate above 0 and up to GV_TENANT_RATE_MAX. false: it is not that. */
bool gv_tenant_limit_parse(const char *item, char name[GV_TENANT_NAME_MAX], double *per_second);

#endif
