/*
 * log.h - one line per event: `event key=value ...`, or the same as JSON.
 *
 * Log where it is decided, once. The event's name is `noun.verb` and occurs once in the tree.
 * Values are typed, escaped and cut at 512 bytes; prompts never go in. Lines are handed to a writer
 * thread through a bounded ring, so no loop ever waits for stderr; what does not fit is counted and
 * the count is logged. Any thread.
 *
 *     gv_log(GV_LOG_INFO, "worker.ready", GV_STR("worker", url), GV_UINT("probes", count));
 */
#ifndef GV_BASE_LOG_H
#define GV_BASE_LOG_H

#include "grapevine/base/err.h"
#include "grapevine/base/slice.h"

enum gv_log_level {
    GV_LOG_DEBUG = 0,
    GV_LOG_INFO,
    GV_LOG_WARN,
    GV_LOG_ERROR,
    GV_LOG_LEVEL_COUNT
};

enum gv_log_type {
    GV_LOG_END = 0,
    GV_LOG_TEXT,
    GV_LOG_SLICE,
    GV_LOG_SIGNED,
    GV_LOG_UNSIGNED,
    GV_LOG_DOUBLE,
    GV_LOG_BOOL
};

struct gv_log_field {
    const char *key; /* static, or outlives the call */
    enum gv_log_type type;
    union {
        const char *text; /* borrowed for the call; NULL is written as - */
        struct gv_slice slice;
        int64_t i;
        uint64_t u;
        double d;
        bool b;
    } as;
};

#define GV_STR(k, v)   ((struct gv_log_field){.key = (k), .type = GV_LOG_TEXT, .as.text = (v)})
#define GV_BYTES(k, v) ((struct gv_log_field){.key = (k), .type = GV_LOG_SLICE, .as.slice = (v)})
#define GV_INT(k, v)   ((struct gv_log_field){.key = (k), .type = GV_LOG_SIGNED, .as.i = (v)})
#define GV_UINT(k, v)  ((struct gv_log_field){.key = (k), .type = GV_LOG_UNSIGNED, .as.u = (v)})
#define GV_REAL(k, v)  ((struct gv_log_field){.key = (k), .type = GV_LOG_DOUBLE, .as.d = (v)})
#define GV_FLAG(k, v)  ((struct gv_log_field){.key = (k), .type = GV_LOG_BOOL, .as.b = (v)})
#define GV_ERR(v)      GV_STR("err", gv_err_name(v))

struct gv_log_options {
    enum gv_log_level level; /* lines below it are dropped */
    bool json;               /* JSON lines instead of text */
    int fd;                  /* where lines go; borrowed until gv_log_close() */
    const char *node;        /* put into every line when not NULL; copied */
};

/** Start the writer thread. Before it, lines go to stderr at once. Errors: GV_EIO no thread. */
GV_MUST_USE enum gv_err gv_log_open(struct gv_log_options options);

/** Write what waits and stop the writer thread. */
void gv_log_close(void);

/** Change the level while running. */
void gv_log_set_level(enum gv_log_level level);

/** Would a line of `level` be written? */
bool gv_log_is_on(enum gv_log_level level);

/** "info" -> GV_LOG_INFO; also "warning". false when unknown. */
bool gv_log_level_parse(const char *text, enum gv_log_level *level);

/** Use gv_log(); `fields` ends with GV_LOG_END. */
void gv_log_write(enum gv_log_level level, const char *event, const struct gv_log_field *fields);

#define gv_log(level, event, ...)                                                                  \
    (gv_log_is_on(level) ? gv_log_write((level), (event),                                          \
                                        (const struct gv_log_field[]){__VA_ARGS__, {.key = NULL}}) \
                         : (void)0)

#endif
