/*
 * setting.c - see setting.h. Range and help come from the option's row.
 */
#include "grapevine/config/setting.h"

#include "grapevine/base/assert.h"
#include "grapevine/config/option.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct row {
    const char *name; /* of the option, too */
    size_t offset;    /* in struct gv_settings */
    size_t size;
};

/* X(name, field of struct gv_settings): THE settings. */
#define SETTING_LIST(X)                                                                            \
    X("log-level", log_level)                                                                      \
    X("cache-threshold", cache_threshold)                                                          \
    X("balance-abs-threshold", balance_abs_threshold)                                              \
    X("balance-rel-threshold", balance_rel_threshold)

#define ROW(text, field)                                                                           \
    {.name = text,                                                                                 \
     .offset = offsetof(struct gv_settings, field),                                                \
     .size = sizeof((struct gv_settings *)NULL)->field},
static const struct row rows[] = {SETTING_LIST(ROW)};
#define ROW_COUNT (sizeof rows / sizeof rows[0])

const char *const *gv_setting_names(void)
{
#define NAME(text, field) text,
    static const char *const names[] = {SETTING_LIST(NAME) NULL};
#undef NAME
    return names;
}

static const struct row *find(const char *name)
{
    for (size_t i = 0; i < ROW_COUNT; i++) {
        if (strcmp(rows[i].name, name) == 0) {
            return &rows[i];
        }
    }
    return NULL;
}

static const struct gv_option *option_of(const struct row *row)
{
    const struct gv_option *option = gv_option_find(gv_slice_text(row->name));
    GV_ASSERT(option != NULL);
    return option;
}

struct gv_settings gv_settings_of(const struct gv_config *config)
{
    return (struct gv_settings){.log_level = config->log_level,
                                .cache_threshold = config->cache_threshold,
                                .balance_abs_threshold = config->balance_abs_threshold,
                                .balance_rel_threshold = config->balance_rel_threshold};
}

static bool read_number(const struct gv_option *option, const char *value, double *number)
{
    char *end = NULL;
    bool begins_well = (*value >= '0' && *value <= '9') || *value == '.';
    *number = strtod(value, &end);
    return begins_well && *end == '\0' && isfinite(*number) && *number >= option->least &&
           *number <= option->most && (option->type == GV_OPTION_REAL || *number == floor(*number));
}

enum gv_err gv_setting_read(const char *name, const char *value, struct gv_settings *settings,
                            char why[GV_SETTING_WHY_BYTES])
{
    const struct row *row = find(name);
    if (row == NULL) {
        int len =
            snprintf(why, GV_SETTING_WHY_BYTES, "there is no setting '%.60s'; there are", name);
        for (size_t i = 0; i < ROW_COUNT && len > 0 && len < GV_SETTING_WHY_BYTES; i++) {
            len += snprintf(why + len, GV_SETTING_WHY_BYTES - (size_t)len, "%s %s",
                            i == 0 ? "" : ",", rows[i].name);
        }
        return GV_ENOTFOUND;
    }
    const struct gv_option *option = option_of(row);
    if (option->type == GV_OPTION_LEVEL) {
        if (gv_log_level_parse(value, &settings->log_level)) {
            return GV_OK;
        }
        (void)snprintf(why, GV_SETTING_WHY_BYTES, "%s: '%.60s' is not debug, info, warn or error",
                       name, value);
        return GV_EINVAL;
    }
    double number;
    if (!read_number(option, value, &number)) {
        char range[GV_OPTION_NAME_BYTES];
        gv_option_range(option, range);
        (void)snprintf(why, GV_SETTING_WHY_BYTES, "%s: '%.60s' is not a %s in %s", name, value,
                       option->type == GV_OPTION_REAL ? "number" : "whole number", range);
        return GV_EINVAL;
    }
    void *field = (char *)settings + row->offset;
    if (option->type == GV_OPTION_REAL) {
        memcpy(field, &number, sizeof number);
    } else {
        uint32_t whole = (uint32_t)number;
        memcpy(field, &whole, sizeof whole);
    }
    return GV_OK;
}

enum gv_err gv_setting_format(const char *name, const struct gv_settings *settings, char *text,
                              size_t size)
{
    static const char *const levels[GV_LOG_LEVEL_COUNT] = {"debug", "info", "warn", "error"};
    const struct row *row = find(name);
    if (row == NULL) {
        return GV_ENOTFOUND;
    }
    const void *field = (const char *)settings + row->offset;
    const struct gv_option *option = option_of(row);
    if (option->type == GV_OPTION_LEVEL) {
        (void)snprintf(text, size, "%s", levels[settings->log_level]);
    } else if (option->type == GV_OPTION_REAL) {
        (void)snprintf(text, size, "%.10g", *(const double *)field);
    } else {
        (void)snprintf(text, size, "%u", (unsigned)*(const uint32_t *)field);
    }
    return GV_OK;
}

void gv_setting_copy(const char *name, const struct gv_settings *from, struct gv_settings *to)
{
    const struct row *row = find(name);
    if (row != NULL) {
        memcpy((char *)to + row->offset, (const char *)from + row->offset, row->size);
    }
}
