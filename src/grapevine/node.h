/*
 * node.h - one router process: all parts built in order, run, and taken down in reverse.
 *
 *     main thread    service loop: signals, probes, admin, metrics, readiness
 *     mesh thread    the cluster
 *     N threads      data loops, one proxy each, on one port
 *
 *     opening --> running --signal--> draining --all exchanges ended--> leaving --> closing -->
 * gone
 *
 * The only place where proxy and cluster meet: what one records the other publishes.
 */
#ifndef GV_GRAPEVINE_NODE_H
#define GV_GRAPEVINE_NODE_H

#include "grapevine/config/config.h"

/**
 * Be a node until a signal says otherwise. The log is open. Returns the exit code of the process:
 * 0 after an orderly drain, 1 when it could not start or had to stop.
 */
int gv_node_run(const struct gv_config *config);

/** The name by which the cluster knows this node: --node-name, or host name and port. */
void gv_node_name(const struct gv_config *config, char *name, size_t size);

#endif
