/*
 * value.c - one option's value: from text into the struct, and back.
 */
#include "grapevine/base/assert.h"
#include "grapevine/base/mem.h"
#include "inner.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define KEY_FILE_BYTES_MAX 65536

static void *field_of(struct gv_config *config, const struct gv_option *option)
{
    return (char *)config + option->offset;
}

static const void *field_in(const struct gv_config *config, const struct gv_option *option)
{
    return (const char *)config + option->offset;
}

static size_t index_of(const struct gv_option *option)
{
    size_t count;
    return (size_t)(option - gv_option_table(&count));
}

/* ---- numbers ---- */

struct unit {
    const char *text;
    double factor;
};
static const struct unit size_units[] = {
    {"KiB", 1024.0}, {"MiB", 1048576.0}, {"GiB", 1073741824.0}, {"TiB", 1099511627776.0},
    {"KB", 1e3},     {"MB", 1e6},        {"GB", 1e9},           {"TB", 1e12},
    {"K", 1024.0},   {"M", 1048576.0},   {"G", 1073741824.0},   {"T", 1099511627776.0},
    {"B", 1.0},      {NULL, 0}};
static const struct unit second_units[] = {{"ms", 0.001}, {"s", 1},     {"m", 60},
                                           {"h", 3600},   {"d", 86400}, {NULL, 0}};
static const struct unit millisecond_units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {NULL, 0}};
static const struct unit no_units[] = {{NULL, 0}};

static const struct unit *units_of(enum gv_option_type type)
{
    if (type == GV_OPTION_SIZE || type == GV_OPTION_SIZE32) {
        return size_units;
    }
    if (type == GV_OPTION_SECONDS) {
        return second_units;
    }
    return type == GV_OPTION_MILLIS ? millisecond_units : no_units;
}

/* Decimal digits with at most one point; no sign, exponent, hexadecimal, "inf" or "nan". */
static bool read_number(const char *text, const struct unit *units, double *number)
{
    size_t digits = strspn(text, "0123456789");
    size_t len = digits;
    if (text[len] == '.') {
        size_t more = strspn(text + len + 1, "0123456789");
        digits += more;
        len += 1 + more;
    }
    if (digits == 0 || len > 40) {
        return false;
    }
    char plain[48];
    memcpy(plain, text, len);
    plain[len] = '\0';
    *number = strtod(plain, NULL);
    if (text[len] == '\0') {
        return true;
    }
    for (; units->text != NULL; units++) {
        if (strcasecmp(text + len, units->text) == 0) {
            *number *= units->factor;
            return true;
        }
    }
    return false;
}

static bool is_whole(double number)
{
    return floor(number) == number;
}

static bool store_number(struct gv_config *config, const struct gv_option *option, double number)
{
    void *field = field_of(config, option);
    switch (option->type) {
    case GV_OPTION_PORT:
        *(uint16_t *)field = (uint16_t)number;
        return is_whole(number);
    case GV_OPTION_COUNT:
    case GV_OPTION_LIMIT:
    case GV_OPTION_SIZE32:
        *(uint32_t *)field = (uint32_t)number;
        return is_whole(number);
    case GV_OPTION_SIZE:
    case GV_OPTION_MILLIS:
        *(uint64_t *)field = (uint64_t)number;
        return is_whole(number);
    case GV_OPTION_SECONDS:
        *(uint64_t *)field = (uint64_t)llround(number * 1000);
        return true;
    case GV_OPTION_REAL:
        *(double *)field = number;
        return true;
    case GV_OPTION_SWITCH:
    case GV_OPTION_TEXT:
    case GV_OPTION_LIST:
    case GV_OPTION_KEYS:
    case GV_OPTION_PREFILLS:
    case GV_OPTION_LEVEL:
    case GV_OPTION_KEY_FILE:
        break;
    }
    return false;
}

static const char *what(enum gv_option_type type)
{
    switch (type) {
    case GV_OPTION_PORT:
    case GV_OPTION_COUNT:
    case GV_OPTION_LIMIT:
        return "a whole number";
    case GV_OPTION_SIZE:
    case GV_OPTION_SIZE32:
        return "a size in bytes (64MiB is fine)";
    case GV_OPTION_SECONDS:
        return "a time in seconds (500ms is fine)";
    case GV_OPTION_MILLIS:
        return "a time in milliseconds";
    case GV_OPTION_REAL:
        return "a number";
    case GV_OPTION_SWITCH:
        return "true or false";
    case GV_OPTION_LEVEL:
        return "debug, info, warn or error";
    case GV_OPTION_TEXT:
    case GV_OPTION_LIST:
    case GV_OPTION_KEYS:
    case GV_OPTION_PREFILLS:
    case GV_OPTION_KEY_FILE:
        break;
    }
    return "a text";
}

static void set_number(struct gv_loading *loading, const struct gv_option *option,
                       const char *value, const char *named)
{
    double number;
    char range[GV_OPTION_NAME_BYTES];
    gv_option_range(option, range);
    if (option->type == GV_OPTION_LIMIT && strcmp(value, "-1") == 0) {
        value = "0";
    }
    if (!read_number(value, units_of(option->type), &number)) {
        gv_config_complain(loading, "%s: '%s' is not %s; allowed is %s", named, value,
                           what(option->type), range);
    } else if (number < option->least || number > option->most) {
        gv_config_complain(loading, "%s: %s is out of range; allowed is %s", named, value, range);
    } else if (!store_number(loading->config, option, number)) {
        gv_config_complain(loading, "%s: '%s' is not a whole number; allowed is %s", named, value,
                           range);
    }
}

/* ---- texts and lists ---- */

static void out_of_memory(struct gv_loading *loading)
{
    gv_config_complain(loading, "out of memory");
}

static bool has_control(struct gv_slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < 0x20 || text.data[i] == 0x7f) {
            return true;
        }
    }
    return false;
}

static void set_text(struct gv_loading *loading, const struct gv_option *option, const char *value,
                     const char *named)
{
    size_t len = strlen(value);
    if ((double)len < option->least || (double)len > option->most) {
        char range[GV_OPTION_NAME_BYTES];
        gv_option_range(option, range);
        gv_config_complain(loading, "%s: %zu bytes are %s; allowed is %s", named, len,
                           (double)len < option->least ? "too few" : "too many", range);
        return;
    }
    if (has_control(gv_slice_text(value))) {
        gv_config_complain(loading, "%s: has a control character", named);
        return;
    }
    char *copy = gv_mem_copy_text(GV_MEM_GENERAL, value);
    if (copy == NULL) {
        out_of_memory(loading);
        return;
    }
    char **field = field_of(loading->config, option);
    gv_mem_free(GV_MEM_GENERAL, *field);
    *field = copy;
}

static void clear_list(struct gv_config_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        gv_mem_free(GV_MEM_GENERAL, list->items[i]);
    }
    gv_mem_free(GV_MEM_GENERAL, list->items);
    *list = (struct gv_config_list){.items = NULL};
}

static void clear_prefills(struct gv_config *config)
{
    for (size_t i = 0; i < config->prefill_count; i++) {
        gv_mem_free(GV_MEM_GENERAL, config->prefills[i].url);
    }
    gv_mem_free(GV_MEM_GENERAL, config->prefills);
    config->prefills = NULL;
    config->prefill_count = 0;
}

static void add_text(struct gv_loading *loading, struct gv_config_list *list, struct gv_slice text,
                     const char *named)
{
    if (text.len == 0 || has_control(text)) {
        gv_config_complain(loading, "%s: a value that is empty or has a control character", named);
        return;
    }
    if (list->count == GV_CONFIG_LIST_MAX) {
        gv_config_complain(loading, "%s: more than %d values", named, GV_CONFIG_LIST_MAX);
        return;
    }
    char *copy = gv_mem_new(GV_MEM_GENERAL, text.len + 1);
    char **items = gv_mem_resize(GV_MEM_GENERAL, list->items, (list->count + 1) * sizeof *items);
    if (items != NULL) {
        list->items = items;
    }
    if (copy == NULL || items == NULL) {
        gv_mem_free(GV_MEM_GENERAL, copy);
        out_of_memory(loading);
        return;
    }
    if (text.len > 0) {
        memcpy(copy, text.data, text.len);
    }
    list->items[list->count++] = copy;
}

/* "a, b c" is three. */
static void add_words(struct gv_loading *loading, struct gv_config_list *list, const char *value,
                      const char *named)
{
    while (*value != '\0') {
        value += strspn(value, ", \t");
        size_t len = strcspn(value, ", \t");
        if (len > 0) {
            add_text(loading, list, gv_slice_of(value, len), named);
        }
        value += len;
    }
}

static void add_key(struct gv_loading *loading, const struct gv_option *option, const char *value,
                    const char *named)
{
    size_t len = strlen(value);
    for (size_t i = 0; i < len; i++) {
        if (value[i] <= 0x20 || value[i] >= 0x7f) {
            gv_config_complain(loading, "%s: a key has a byte that cannot stand in a header",
                               named);
            return;
        }
    }
    if (len == 0 || len > 4096) {
        gv_config_complain(loading, "%s: a key of %zu bytes; allowed is 1..4096", named, len);
        return;
    }
    add_text(loading, field_of(loading->config, option), gv_slice_text(value), named);
}

/* "URL", "URL 8998" or "URL none". */
static void add_prefill(struct gv_loading *loading, const char *value, const char *named)
{
    struct gv_config *config = loading->config;
    size_t len = strcspn(value, " ");
    if (len == 0 || has_control(gv_slice_text(value))) {
        gv_config_complain(loading, "%s: a value that is empty or has a control character", named);
        return;
    }
    const char *port_text = value + len + strspn(value + len, " ");
    uint64_t port = 0;
    bool has_port = *port_text != '\0' && strcmp(port_text, "none") != 0;
    if (has_port &&
        (!gv_slice_to_u64(gv_slice_text(port_text), &port) || port < 1 || port > 65535)) {
        gv_config_complain(loading, "%s: bootstrap port '%s' is not 1..65535 or none", named,
                           port_text);
        return;
    }
    if (config->prefill_count == GV_CONFIG_LIST_MAX) {
        gv_config_complain(loading, "%s: more than %d values", named, GV_CONFIG_LIST_MAX);
        return;
    }
    struct gv_config_prefill *prefills = gv_mem_resize(
        GV_MEM_GENERAL, config->prefills, (config->prefill_count + 1) * sizeof *prefills);
    if (prefills != NULL) {
        config->prefills = prefills;
    }
    char *url = gv_mem_new(GV_MEM_GENERAL, len + 1);
    if (prefills == NULL || url == NULL) {
        gv_mem_free(GV_MEM_GENERAL, url);
        out_of_memory(loading);
        return;
    }
    memcpy(url, value, len);
    prefills[config->prefill_count++] =
        (struct gv_config_prefill){.url = url, .bootstrap_port = has_port ? (int32_t)port : -1};
}

/* "URL 8998, URL none": what the environment can say in one value. */
static void add_prefills(struct gv_loading *loading, const char *value, const char *named)
{
    while (*value != '\0') {
        char one[1024];
        value += strspn(value, ", \t");
        size_t len = strcspn(value, ",");
        struct gv_slice item = gv_slice_trim(gv_slice_of(value, len));
        if (!gv_slice_copy_text(item, one, sizeof one)) {
            gv_config_complain(loading, "%s: too long", named);
        } else if (item.len > 0) {
            add_prefill(loading, one, named);
        }
        value += len;
    }
}

/* A file of keys: one per line, blank lines and lines of '#' left out. */
static void read_keys(struct gv_loading *loading, const struct gv_option *option, const char *path,
                      enum gv_origin origin, const char *named)
{
    FILE *file = gv_config_open_file(path);
    if (file == NULL) {
        gv_config_complain(loading, "%s: cannot read %s: %s", named, path, strerror(errno));
        return;
    }
    char *text = gv_mem_new(GV_MEM_GENERAL, KEY_FILE_BYTES_MAX + 1);
    size_t len = text == NULL ? 0 : fread(text, 1, KEY_FILE_BYTES_MAX + 1, file);
    (void)fclose(file);
    if (text == NULL) {
        out_of_memory(loading);
        return;
    }
    if (len > KEY_FILE_BYTES_MAX || memchr(text, '\0', len) != NULL) {
        gv_config_complain(loading, "%s: %s is no file of keys", named, path);
        len = 0;
    }
    text[len] = '\0';
    char name[GV_OPTION_NAME_BYTES]; /* "api-key" for "api-key-file" */
    (void)snprintf(name, sizeof name, "%s", option->name);
    name[strlen(name) - strlen("-file")] = '\0';
    const struct gv_option *target = gv_option_find(gv_slice_text(name));
    GV_ASSERT(target != NULL && target->offset == option->offset);
    size_t count = 0;
    char *rest = NULL;
    for (char *line = strtok_r(text, "\r\n", &rest); line != NULL;
         line = strtok_r(NULL, "\r\n", &rest)) {
        char *end = line + strlen(line);
        while (end > line && (end[-1] == ' ' || end[-1] == '\t')) {
            *--end = '\0';
        }
        line += strspn(line, " \t");
        if (*line != '\0' && *line != '#') {
            gv_config_set(loading, target, line, origin, named);
            count += 1;
        }
    }
    explicit_bzero(text, KEY_FILE_BYTES_MAX + 1);
    gv_mem_free(GV_MEM_GENERAL, text);
    if (count == 0) {
        gv_config_complain(loading, "%s: %s holds no key", named, path);
    } else if (count > 1 && target->type != GV_OPTION_KEYS) {
        gv_config_complain(loading, "%s: %s holds more than one key", named, path);
    }
}

/* ---- any option ---- */

void gv_config_begin_list(struct gv_loading *loading, const struct gv_option *option,
                          enum gv_origin origin)
{
    if (loading->origins[index_of(option)] == origin) {
        return;
    }
    loading->origins[index_of(option)] = origin;
    if (option->type == GV_OPTION_PREFILLS) {
        clear_prefills(loading->config);
    } else if (option->type == GV_OPTION_LIST || option->type == GV_OPTION_KEYS) {
        clear_list(field_of(loading->config, option));
    }
}

void gv_config_add_item(struct gv_loading *loading, const struct gv_option *option,
                        const char *value, enum gv_origin origin, const char *named)
{
    gv_config_begin_list(loading, option, origin);
    if (option->type == GV_OPTION_PREFILLS) {
        add_prefill(loading, value, named);
    } else if (option->type == GV_OPTION_KEYS) {
        add_key(loading, option, value, named);
    } else {
        add_text(loading, field_of(loading->config, option), gv_slice_text(value), named);
    }
}

static void set_switch(struct gv_loading *loading, const struct gv_option *option,
                       const char *value, const char *named)
{
    uint32_t *field = field_of(loading->config, option);
    if (strcmp(value, "true") == 0 || strcmp(value, "1") == 0) {
        *field = 1;
    } else if (strcmp(value, "false") == 0 || strcmp(value, "0") == 0) {
        *field = 0;
    } else {
        gv_config_complain(loading, "%s: '%s' is not true or false", named, value);
    }
}

void gv_config_set(struct gv_loading *loading, const struct gv_option *option, const char *value,
                   enum gv_origin origin, const char *named)
{
    if (option->type != GV_OPTION_KEY_FILE) {
        gv_config_begin_list(loading, option, origin);
    }
    switch (option->type) {
    case GV_OPTION_SWITCH:
        set_switch(loading, option, value, named);
        return;
    case GV_OPTION_TEXT:
        set_text(loading, option, value, named);
        return;
    case GV_OPTION_LIST:
        add_words(loading, field_of(loading->config, option), value, named);
        return;
    case GV_OPTION_KEYS:
        add_key(loading, option, value, named);
        return;
    case GV_OPTION_PREFILLS:
        add_prefills(loading, value, named);
        return;
    case GV_OPTION_PORT:
    case GV_OPTION_COUNT:
    case GV_OPTION_LIMIT:
    case GV_OPTION_SIZE:
    case GV_OPTION_SIZE32:
    case GV_OPTION_SECONDS:
    case GV_OPTION_MILLIS:
    case GV_OPTION_REAL:
        set_number(loading, option, value, named);
        return;
    case GV_OPTION_LEVEL:
        if (!gv_log_level_parse(value, field_of(loading->config, option))) {
            gv_config_complain(loading, "%s: '%s' is not debug, info, warn or error", named, value);
        }
        return;
    case GV_OPTION_KEY_FILE:
        read_keys(loading, option, value, origin, named);
        return;
    }
}

enum gv_err gv_config_set_defaults(struct gv_loading *loading)
{
    size_t count;
    const struct gv_option *table = gv_option_table(&count);
    for (size_t i = 0; i < count; i++) {
        if (table[i].type == GV_OPTION_TEXT || table[i].default_text[0] != '\0') {
            gv_config_set(loading, &table[i], table[i].default_text, GV_ORIGIN_DEFAULT,
                          table[i].name);
        }
    }
    loading->config->config_file = gv_mem_copy_text(GV_MEM_GENERAL, "");
    return loading->config->config_file == NULL || loading->is_bad ? GV_ENOMEM : GV_OK;
}

void gv_config_deinit(struct gv_config *config)
{
    size_t count;
    const struct gv_option *table = gv_option_table(&count);
    for (size_t i = 0; i < count; i++) {
        if (table[i].type == GV_OPTION_TEXT) {
            gv_mem_free(GV_MEM_GENERAL, *(char **)field_of(config, &table[i]));
            *(char **)field_of(config, &table[i]) = NULL;
        } else if (table[i].type == GV_OPTION_LIST || table[i].type == GV_OPTION_KEYS) {
            clear_list(field_of(config, &table[i]));
        }
    }
    clear_prefills(config);
    gv_mem_free(GV_MEM_GENERAL, config->config_file);
    config->config_file = NULL;
}

/* ---- back to text ---- */

static void append(struct gv_buf *out, enum gv_err *err, struct gv_slice text)
{
    *err = *err == GV_OK ? gv_buf_append(out, text) : *err;
}

/* As a YAML text in double quotes, in which JSON's escapes are good. */
void gv_config_quote(struct gv_buf *out, const char *text)
{
    enum gv_err err = GV_OK;
    append(out, &err, gv_slice_text("\""));
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\') {
            append(out, &err, gv_slice_text("\\"));
        }
        append(out, &err, gv_slice_of(text, 1));
    }
    append(out, &err, gv_slice_text("\""));
}

static void print(struct gv_buf *out, double number)
{
    char text[48];
    for (int digits = 6; digits <= 17; digits++) {
        (void)snprintf(text, sizeof text, "%.*g", digits, number);
        if (strtod(text, NULL) == number && strchr(text, 'e') == NULL) {
            break;
        }
    }
    enum gv_err err = GV_OK;
    append(out, &err, gv_slice_text(text));
}

void gv_config_format(const struct gv_config *config, const struct gv_option *option,
                      struct gv_buf *out)
{
    static const char *const levels[GV_LOG_LEVEL_COUNT] = {"debug", "info", "warn", "error"};
    const void *field = field_in(config, option);
    enum gv_err err = GV_OK;
    switch (option->type) {
    case GV_OPTION_SWITCH:
        append(out, &err, gv_slice_text(*(const uint32_t *)field != 0 ? "true" : "false"));
        return;
    case GV_OPTION_TEXT:
        gv_config_quote(out, *(char *const *)field == NULL ? "" : *(char *const *)field);
        return;
    case GV_OPTION_PORT:
        print(out, (double)*(const uint16_t *)field);
        return;
    case GV_OPTION_LIMIT: {
        uint32_t most = *(const uint32_t *)field;
        print(out, most == 0 ? -1 : (double)most);
        return;
    }
    case GV_OPTION_COUNT:
    case GV_OPTION_SIZE32:
        print(out, (double)*(const uint32_t *)field);
        return;
    case GV_OPTION_SIZE:
    case GV_OPTION_MILLIS:
        print(out, (double)*(const uint64_t *)field);
        return;
    case GV_OPTION_SECONDS:
        print(out, (double)*(const uint64_t *)field / 1000);
        return;
    case GV_OPTION_REAL:
        print(out, *(const double *)field);
        return;
    case GV_OPTION_LEVEL:
        append(out, &err, gv_slice_text(levels[*(const enum gv_log_level *)field]));
        return;
    case GV_OPTION_LIST:
    case GV_OPTION_KEYS:
    case GV_OPTION_PREFILLS:
    case GV_OPTION_KEY_FILE:
        return;
    }
}
