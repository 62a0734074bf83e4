/*
 * rig.h - the data path of one loop for tests: everything it needs below it, nothing above.
 *
 * Settings are small and fast; a test changes rig->config between init and start. Stopping asserts
 * that nothing is left: no load, no exchange memory.
 */
#ifndef GV_TESTS_SUPPORT_RIG_H
#define GV_TESTS_SUPPORT_RIG_H

#include "grapevine/proxy/probe.h"
#include "grapevine/proxy/proxy.h"
#include <stdatomic.h>

struct gv_rig {
    struct gv_config config;
    struct gv_fleet *fleet;
    struct gv_forest *forest;
    struct gv_load_table *load;
    struct gv_breakers *breakers; /* made at the start, from the config */
    struct gv_fingerprint_secret secret;
    struct gv_proxy_shared shared;
    struct gv_loop *loop;
    struct gv_proxy *proxy;
    struct gv_probe *probe;
    uint16_t port;
    atomic_int published;
    atomic_int opinions;
    atomic_int removed;
    atomic_bool drained;
    atomic_bool closed;
};

/** Everything but the loop's thread and the port. */
void gv_rig_init(struct gv_rig *rig);

/** Put a worker into the fleet. */
void gv_rig_add_worker(struct gv_rig *rig, const char *url, enum gv_pool pool,
                       enum gv_worker_state state);

/** Between init and start: probe its workers; counts opinions and removals. */
void gv_rig_probe(struct gv_rig *rig);

/** Open the proxy and run the loop on a thread of its own. */
void gv_rig_start(struct gv_rig *rig);

/** Is nothing in flight? `owner` is the rig. */
bool gv_rig_is_unloaded(void *owner);

/** Wait until nothing is in flight, then take everything down. */
void gv_rig_stop(struct gv_rig *rig);

#endif
