/* readiness.c - see readiness.h. */
#include "grapevine/proxy/readiness.h"

#include <stdio.h>

bool gv_readiness_has_workers(const struct gv_config *config, const struct gv_fleet_view *view)
{
    bool pairs = view->ready_count[GV_POOL_PREFILL] > 0 && view->ready_count[GV_POOL_DECODE] > 0;
    bool alone = view->ready_count[GV_POOL_REGULAR] > 0;
    return pairs || (alone && !config->pd_disaggregation);
}

bool gv_readiness_judge(const struct gv_proxy_shared *shared, const struct gv_fleet_view *view,
                        bool draining, char text[GV_READINESS_BYTES])
{
    char reason[GV_PROXY_REASON_BYTES] = "";
    const char *why = NULL;
    if (draining) {
        why = "draining";
    } else if (!shared->events->is_ready(shared->owner, reason)) {
        why = reason;
    } else if (!gv_readiness_has_workers(shared->config, view)) {
        why = "insufficient healthy workers";
    }
    if (why != NULL) {
        snprintf(text, GV_READINESS_BYTES, "{\"status\":\"not ready\",\"reason\":\"%s\"}", why);
        return false;
    }
    uint32_t healthy = 0;
    for (int pool = 0; pool < GV_POOL_COUNT; pool++) {
        healthy += view->ready_count[pool];
    }
    snprintf(text, GV_READINESS_BYTES,
             "{\"status\":\"ready\",\"healthy_workers\":%u,\"total_workers\":%u}", healthy,
             view->count);
    return true;
}
