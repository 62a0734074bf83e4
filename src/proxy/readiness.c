/* readiness.c - see readiness.h. */
#include "grapevine/proxy/readiness.h"

#include "parts.h"
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

/* ---- on the data port ---- */

static void answer_readiness(struct gv_client *client)
{
    struct gv_proxy *proxy = client->proxy;
    struct gv_slice none = {.data = NULL, .len = 0};
    char text[GV_READINESS_BYTES];
    bool ready = gv_readiness_judge(proxy->shared, gv_proxy_view(proxy), proxy->draining, text);
    gv_client_reply(client, ready ? 200 : 503, "application/json", none, gv_slice_text(text));
}

void gv_readiness_probe(struct gv_client *client)
{
    struct gv_slice none = {.data = NULL, .len = 0};
    if (gv_slice_is(client->head.path, "/readiness")) {
        answer_readiness(client);
        return;
    }
    gv_client_reply(client, 200, "text/plain; charset=utf-8", none, gv_slice_text("OK"));
}
