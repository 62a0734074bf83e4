/*
 * door.h - who may come in to the control plane, and the log line of what was changed there.
 *
 * With --control-plane-api-keys only these count, and of those only the admins'; without them the
 * clients' keys (--api-key) do, a tenant's never; with no key at all everybody may. Keys are
 * compared in constant time.
 */
#ifndef GV_ADMIN_DOOR_H
#define GV_ADMIN_DOOR_H

#include "admin/admin.h"

struct gv_visitor {
    struct gv_slice id; /* borrowed from the configuration; empty: not known by name */
    struct gv_slice name;
};

/** May this request be answered? false: `answer` says why not. */
bool gv_door_admit(const struct gv_admin_parts *parts, const struct gv_request *request,
                   struct gv_visitor *visitor, struct gv_answer *answer);

/** A change was asked for: who, from where, what. `admitted` false: and refused. */
void gv_door_note(const struct gv_request *request, const struct gv_visitor *visitor,
                  bool admitted);

#endif
