/* tenant.c - see tenant.h. */
#include "grapevine/config/tenant.h"
#include <stdlib.h>
#include <string.h>

/* The name before `mark`; NULL: there is none. Returns what stands behind the mark. */
static const char *split(const char *item, char mark, char name[GV_TENANT_NAME_MAX])
{
    size_t len = strspn(item, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
    if (len == 0 || len >= GV_TENANT_NAME_MAX || item[len] != mark) {
        return NULL;
    }
    gv_slice_copy_text(gv_slice_of(item, len), name, GV_TENANT_NAME_MAX);
    return item + len + 1;
}

bool gv_tenant_key_parse(const char *item, char name[GV_TENANT_NAME_MAX], struct gv_slice *key)
{
    const char *text = split(item, ':', name);
    *key = gv_slice_text(text == NULL ? "" : text);
    return key->len > 0;
}

bool gv_tenant_limit_parse(const char *item, char name[GV_TENANT_NAME_MAX], double *per_second)
{
    const char *text = split(item, '=', name);
    if (text == NULL || *text < '0' || *text > '9') {
        return false; /* strtod() would take blanks, signs and words */
    }
    char *end;
    *per_second = strtod(text, &end);
    return *end == '\0' && *per_second > 0 && *per_second <= GV_TENANT_RATE_MAX;
}
