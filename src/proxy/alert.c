/* alert.c - see alert.h. */
#include "alert.h"

/* Any thread, under the fleet's lock. */
static void on_change(void *owner)
{
    struct gv_alert *alert = owner;
    if (atomic_load(&alert->is_wanted) && !atomic_exchange(&alert->is_posted, true) &&
        gv_inbox_post(alert->inbox, alert->message) != GV_OK) {
        atomic_store(&alert->is_posted, false); /* no memory: the proxy's tick looks as well */
    }
}

void gv_alert_open(struct gv_alert *alert, struct gv_fleet *fleet, struct gv_inbox *inbox,
                   void *message)
{
    alert->fleet = fleet;
    alert->inbox = inbox;
    alert->message = message;
    alert->watch.on_change = on_change;
    alert->watch.owner = alert;
    gv_fleet_watch(fleet, &alert->watch);
}

void gv_alert_close(struct gv_alert *alert)
{
    if (alert->fleet != NULL) {
        gv_fleet_unwatch(alert->fleet, &alert->watch);
        alert->fleet = NULL;
    }
}

void gv_alert_want(struct gv_alert *alert, bool is_wanted)
{
    atomic_store(&alert->is_wanted, is_wanted);
}

void gv_alert_heard(struct gv_alert *alert)
{
    atomic_store(&alert->is_posted, false);
}
