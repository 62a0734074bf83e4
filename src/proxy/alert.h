/*
 * alert.h - tells a loop that the fleet has changed, while somebody there waits for that.
 *
 * A request that finds nobody to take its next try waits for a worker to get well; this is how its
 * loop hears of it at once. Who may call: proxy.c and carrier.c, on the loop.
 */
#ifndef GV_PROXY_ALERT_H
#define GV_PROXY_ALERT_H

#include "grapevine/net/inbox.h"
#include "grapevine/route/fleet.h"
#include <stdatomic.h>

struct gv_alert {
    struct gv_fleet_watch watch;
    struct gv_fleet *fleet; /* borrowed */
    struct gv_inbox *inbox; /* borrowed */
    void *message;          /* borrowed: what is posted */
    atomic_bool is_wanted;  /* somebody waits */
    atomic_bool is_posted;  /* the message is on its way */
};

/** From now on `message` comes through `inbox`, where one place is kept for it, after a change of
 * the fleet while that is wanted. */
void gv_alert_open(struct gv_alert *alert, struct gv_fleet *fleet, struct gv_inbox *inbox,
                   void *message);

/** No message is posted from now on. Harmless when it was not opened. */
void gv_alert_close(struct gv_alert *alert);

void gv_alert_want(struct gv_alert *alert, bool is_wanted);

/** The message came; the next change brings it again. */
void gv_alert_heard(struct gv_alert *alert);

#endif
