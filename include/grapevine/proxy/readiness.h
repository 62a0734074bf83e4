/*
 * readiness.h - may load balancers send requests to this node? Decided in one place.
 *
 * Ready means routable: the node's holder thinks so, and the workers that are ready can serve
 * somebody. A prefill and a decode worker together always can; regular workers can unless this
 * router is set up for pairs. Every port that answers /readiness, and the member record of the
 * mesh, ask here. Any thread.
 */
#ifndef GV_PROXY_READINESS_H
#define GV_PROXY_READINESS_H

#include "grapevine/proxy/proxy.h"

#define GV_READINESS_BYTES (GV_PROXY_REASON_BYTES + 128)

/** Can the workers of `view` that are ready serve anybody? */
bool gv_readiness_has_workers(const struct gv_config *config, const struct gv_fleet_view *view);

/**
 * Is this node ready? The body of the answer, JSON, into `text`: counts of workers, or why not.
 * `draining`: the port that was asked takes no new work.
 */
bool gv_readiness_judge(const struct gv_proxy_shared *shared, const struct gv_fleet_view *view,
                        bool draining, char text[GV_READINESS_BYTES]);

#endif
