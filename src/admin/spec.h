/*
 * spec.h - what the reference product calls a WorkerSpec: a worker as an operator describes it.
 *
 * Each reader returns NULL, or what is wrong, in words that name the field. Who may call: act.c.
 */
#ifndef GV_ADMIN_SPEC_H
#define GV_ADMIN_SPEC_H

#include "admin/admin.h"

/** The URL, as it is written everywhere. */
const char *gv_spec_read_url(const json_t *spec, struct gv_worker *worker);

/** Everything but the URL, over what `worker` holds; what is not said stays as it is. */
const char *gv_spec_read(const json_t *spec, struct gv_worker *worker);

#endif
