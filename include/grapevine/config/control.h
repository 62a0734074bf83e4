/*
 * control.h - a control-plane key, "id:name:role:key", taken apart. Pure.
 */
#ifndef GV_CONFIG_CONTROL_H
#define GV_CONFIG_CONTROL_H

#include "grapevine/base/slice.h"

enum gv_control_role {
    GV_CONTROL_USER = 0, /* known, and allowed nothing on the control plane */
    GV_CONTROL_ADMIN
};

/* Borrowed from the text. */
struct gv_control_key {
    struct gv_slice id; /* for the audit log, as the next */
    struct gv_slice name;
    enum gv_control_role role;
    struct gv_slice key; /* the rest, with whatever colons it has; never logged */
};

/** false: not of that form, an empty part, or a role that is neither admin nor user. */
bool gv_control_key_read(const char *text, struct gv_control_key *key);

#endif
