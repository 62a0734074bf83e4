/*
 * setting.h - the options that may also be set for the whole cluster while it runs.
 *
 * A setting has the name, the type and the range of its option. Where none is set, what the node
 * was started with holds; unsetting goes back to that. To add one: one row in setting.c, and
 * whoever obeys it reads it from struct gv_settings.
 */
#ifndef GV_CONFIG_SETTING_H
#define GV_CONFIG_SETTING_H

#include "grapevine/base/err.h"
#include "grapevine/config/config.h"

/* The values that hold now. */
struct gv_settings {
    enum gv_log_level log_level;
    double cache_threshold;
    uint32_t balance_abs_threshold;
    double balance_rel_threshold;
};

/** The names, in the order of their showing; NULL-terminated. */
const char *const *gv_setting_names(void);

/** What a node was started with. */
struct gv_settings gv_settings_of(const struct gv_config *config);

#define GV_SETTING_WHY_BYTES 200
/**
 * Read `value` for `name` into `settings`, which stay as they are when it fails: then `why` says
 * what is wrong, with name, value and range. Errors: GV_ENOTFOUND no setting has this name;
 * GV_EINVAL the value makes no sense, or is out of range.
 */
GV_MUST_USE enum gv_err gv_setting_read(const char *name, const char *value,
                                        struct gv_settings *settings,
                                        char why[GV_SETTING_WHY_BYTES]);

/** The value of `name` as one would write it. Errors: GV_ENOTFOUND. */
GV_MUST_USE enum gv_err gv_setting_format(const char *name, const struct gv_settings *settings,
                                          char *text, size_t size);

/** Let `name` in `to` be what it is in `from`; an unknown name is left alone. */
void gv_setting_copy(const char *name, const struct gv_settings *from, struct gv_settings *to);

#endif
