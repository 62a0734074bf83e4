/*
 * probe.h - asks every worker of the fleet how it is, and learns what it is.
 *
 * For each worker: GET health_endpoint with the worker's API key, at once when it appears, every
 * second while it is not ready, every --health-interval when it is; success and failure thresholds
 * in a row; and at once when a connection of a loop to it failed. Before a worker becomes READY its
 * metadata is read, as its kind of engine tells them (SGLang, vLLM, plain OpenAI): model, capacity
 * and role. A role that contradicts the registration makes it REFUSED with a reason that names
 * both; asked again at the health interval, so that a corrected engine comes back. Nobody is given
 * up.
 *
 * An engine that restarted (its start time or boot marker changed, its uptime or counters went
 * back, or it refused connections and came back) has lost its KV cache: its floor is raised and
 * published.
 *
 * Ready engines are asked for their load every --load-monitor-interval, by one node of the cluster.
 *
 * A DRAINING worker is taken out of the fleet when this node has nothing in flight there, or after
 * --shutdown-grace.
 *
 * Lives on the service loop; everything on its thread, gv_probe_wake() included.
 */
#ifndef GV_PROXY_PROBE_H
#define GV_PROXY_PROBE_H

#include "grapevine/proxy/proxy.h"

struct gv_probe;

struct gv_probe_events {
    /**
     * This node's opinion of a worker changed; the fleet has it already (state, reason). For the
     * mesh. `worker` is borrowed for the call.
     */
    void (*on_opinion)(void *owner, const struct gv_worker *worker);
    /** A draining worker was taken out of the fleet; borrowed for the call. */
    void (*on_removed)(void *owner, const struct gv_worker *worker);
    /**
     * With --dp-aware: its engine has `count` ranks, 2 or more; it is to be replaced by one worker
     * for each. Comes again until it is. Borrowed for the call. NULL: workers stay as they are.
     */
    void (*on_ranks)(void *owner, const struct gv_worker *worker, uint32_t count);
};

/** Start probing every worker of shared->fleet. `events` is static. Errors: GV_ENOMEM, GV_EIO. */
GV_MUST_USE enum gv_err gv_probe_open(struct gv_loop *loop, const struct gv_proxy_shared *shared,
                                      const struct gv_probe_events *events, void *owner,
                                      struct gv_probe **probe);

/** The fleet changed: look now instead of within a quarter of a second. */
void gv_probe_wake(struct gv_probe *probe);

/** Stop. No callback comes any more; the memory is freed by the loop later. NULL is fine. */
void gv_probe_close(struct gv_probe *probe);

#endif
