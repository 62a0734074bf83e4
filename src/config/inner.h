/*
 * inner.h - what the files of config/ share: a configuration on its way.
 *
 * Values come from the default, the file, the environment and the flags, in this order; a later
 * source replaces what an earlier one said, and within one source a repeatable option adds up.
 * Complaints are collected, so that somebody sees all of them at once. Private to config/.
 */
#ifndef GV_CONFIG_INNER_H
#define GV_CONFIG_INNER_H

#include "grapevine/base/buf.h"
#include "grapevine/config/config.h"
#include "grapevine/config/option.h"
#include <stdio.h>

#define GV_CONFIG_FILE_BYTES_MAX (1024 * 1024)

enum gv_origin {
    GV_ORIGIN_DEFAULT = 0,
    GV_ORIGIN_FILE,
    GV_ORIGIN_ENVIRONMENT,
    GV_ORIGIN_FLAG
};

struct gv_loading {
    struct gv_config *config; /* borrowed; being filled */
    struct gv_buf *out;       /* borrowed; what goes to stdout */
    struct gv_buf *err;       /* borrowed; complaints and notices, for stderr */
    enum gv_origin origins[GV_OPTION_MAX];
    bool is_bad;       /* a complaint was made */
    bool compat_warns; /* --compat=warn */
};

/** The same as gv_config_load(), but what would be printed is appended to `out` and `err`. */
enum gv_config_outcome gv_config_load_quietly(int argc, char **argv, char **environment,
                                              struct gv_config *config, struct gv_buf *out,
                                              struct gv_buf *err);

/** Say what is wrong, as one line; the configuration is bad from now on. */
void gv_config_complain(struct gv_loading *loading, const char *format, ...) GV_PRINTF(2, 3);

/** Say something worth knowing, as one line. */
void gv_config_notice(struct gv_loading *loading, const char *format, ...) GV_PRINTF(2, 3);

/** Set every option to its default. Errors: GV_ENOMEM. */
GV_MUST_USE enum gv_err gv_config_set_defaults(struct gv_loading *loading);

/**
 * Set or add to an option. `named` is how the source calls it ("--port", "GRAPEVINE_PORT",
 * "a.yaml:3:1: port"), for the complaint when the value is not good.
 */
void gv_config_set(struct gv_loading *loading, const struct gv_option *option, const char *value,
                   enum gv_origin origin, const char *named);

/**
 * Open a file to be read whole. Anything that is not a regular file is refused, so that nobody
 * waits for ever for somebody to write into a FIFO; what is open already and has a name in /dev or
 * /proc
 * ("/dev/stdin", a shell's "<(...)") is taken. NULL: errno says why.
 */
FILE *gv_config_open_file(const char *path);

/** Empty a list before a sequence of a file adds its items: "[]" means none. */
void gv_config_begin_list(struct gv_loading *loading, const struct gv_option *option,
                          enum gv_origin origin);

/** Add one item to a list, as it is. */
void gv_config_add_item(struct gv_loading *loading, const struct gv_option *option,
                        const char *value, enum gv_origin origin, const char *named);

/** Read a YAML file. What is wrong with it is complained about with file, line and column. */
void gv_config_read_file(struct gv_loading *loading, const char *path);

/** Do the values fit each other? Complains; also derives enable_mesh and mesh_host. */
void gv_config_check(struct gv_loading *loading);

/** Append --help, docs/options.md, or the effective configuration as YAML. */
void gv_config_print_help(struct gv_buf *out);
void gv_config_print_markdown(struct gv_buf *out);
void gv_config_print_yaml(const struct gv_loading *loading, struct gv_buf *out);

/** Append the value of a scalar option as somebody would write it. */
void gv_config_format(const struct gv_config *config, const struct gv_option *option,
                      struct gv_buf *out);

/** Append `text` as a YAML text in double quotes. */
void gv_config_quote(struct gv_buf *out, const char *text);

/* A flag of the SMG router that we know and do not have. */
struct gv_compat {
    const char *name;
    bool is_harmless; /* its absence changes nothing that matters: a notice, not an error */
    bool is_switch;   /* takes no value */
    const char *advice;
};
const struct gv_compat *gv_compat_find(struct gv_slice name);

#endif
