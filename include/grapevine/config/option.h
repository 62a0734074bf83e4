/*
 * option.h - THE table of options: everything that is said about one is said in its row.
 *
 * Parsing, --help, environment names, file keys, --print-config and docs/options.md all come from
 * it. To add an option: one field in struct gv_config, one row in option.c.
 *
 *     flag  --mesh-port 39527      environment  GRAPEVINE_MESH_PORT=39527      file  mesh_port:
 * 39527
 */
#ifndef GV_CONFIG_OPTION_H
#define GV_CONFIG_OPTION_H

#include "grapevine/base/err.h"
#include "grapevine/base/slice.h"
#include "grapevine/config/config.h"

enum gv_option_type {
    GV_OPTION_SWITCH = 0, /* uint32_t 0 or 1 */
    GV_OPTION_TEXT,       /* char *; the range is its length in bytes */
    GV_OPTION_LIST,       /* struct gv_config_list; several values, comma or blank between them */
    GV_OPTION_KEYS,       /* struct gv_config_list of secrets; one value each time */
    GV_OPTION_PREFILLS,   /* struct gv_config_prefill; "URL [port|none]" each time */
    GV_OPTION_PORT,       /* uint16_t */
    GV_OPTION_COUNT,      /* uint32_t */
    GV_OPTION_LIMIT,      /* uint32_t; -1 or 0: no limit, kept as 0 */
    GV_OPTION_SIZE,       /* uint64_t bytes; "64MiB" is fine */
    GV_OPTION_SIZE32,     /* uint32_t bytes; "64KiB" is fine */
    GV_OPTION_SECONDS,    /* uint64_t milliseconds; plain numbers are seconds, "500ms" is fine */
    GV_OPTION_MILLIS,     /* uint64_t milliseconds */
    GV_OPTION_REAL,       /* double */
    GV_OPTION_LEVEL,      /* enum gv_log_level */
    GV_OPTION_KEY_FILE /* not a field: a file whose lines are keys for the option `offset` is of */
};

enum gv_option_group {
    GV_OPTION_SERVING = 0,
    GV_OPTION_TLS,
    GV_OPTION_ROUTING,
    GV_OPTION_RETRYING,
    GV_OPTION_PAIRS,
    GV_OPTION_PROBES,
    GV_OPTION_ENDING,
    GV_OPTION_MESH,
    GV_OPTION_WATCHING,
    GV_OPTION_GROUP_COUNT
};

struct gv_option {
    const char *name;    /* "mesh-port": the flag without its dashes */
    const char *aliases; /* other flags for the same, blank between them; NULL none */
    enum gv_option_type type;
    enum gv_option_group group;
    bool is_secret;           /* never printed */
    size_t offset;            /* of its field in struct gv_config */
    const char *default_text; /* as somebody would write it; "" none */
    double least, most;       /* inclusive, in what the option is written in */
    const char *help;         /* one sentence */
};

#define GV_OPTION_MAX        128
#define GV_OPTION_NAME_BYTES 64

/** The table. */
const struct gv_option *gv_option_table(size_t *count);

/** By name or alias, '_' and '-' alike; NULL when there is none. */
const struct gv_option *gv_option_find(struct gv_slice name);

/** The name or alias most like `name`, or NULL when none is near. Static storage. */
const char *gv_option_nearest(struct gv_slice name);

/** "GRAPEVINE_MESH_PORT" for "mesh-port". */
void gv_option_variable(const struct gv_option *option, char text[GV_OPTION_NAME_BYTES]);

/** "mesh_port" for "mesh-port". */
void gv_option_key(const struct gv_option *option, char text[GV_OPTION_NAME_BYTES]);

/** "1..65535", "0s..24h" and the like; "" when anything goes. */
void gv_option_range(const struct gv_option *option, char text[GV_OPTION_NAME_BYTES]);

#endif
