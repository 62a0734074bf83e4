/*
 * load.c - the command line, and the order of the sources.
 */
#include "grapevine/base/mem.h"
#include "inner.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define OUTPUT_BYTES_MAX (4 * 1024 * 1024)
#define LINE_BYTES       2048

enum command {
    COMMAND_RUN = 0,
    COMMAND_HELP,
    COMMAND_MARKDOWN,
    COMMAND_VERSION,
    COMMAND_TEST,
    COMMAND_PRINT
};

/* What the first walk over the command line found: it must be known before any value is set. */
struct command_line {
    int argc;
    char **argv;
    enum command command;
    const char *file; /* borrowed; NULL none */
};

/* ---- saying things ---- */

static void say(struct gv_buf *out, const char *kind, const char *format, va_list args)
{
    char line[LINE_BYTES];
    (void)vsnprintf(line, sizeof line, format, args);
    enum gv_err ignored = gv_buf_append_format(out, "grapevine: %s%s\n", kind, line);
    (void)ignored; /* without memory for words the outcome still tells */
}

void gv_config_complain(struct gv_loading *loading, const char *format, ...)
{
    loading->is_bad = true;
    va_list args;
    va_start(args, format);
    say(loading->err, "error: ", format, args);
    va_end(args);
}

void gv_config_notice(struct gv_loading *loading, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say(loading->err, "note: ", format, args);
    va_end(args);
}

/* ---- flags ---- */

static bool is_flag(const char *arg)
{
    return arg[0] == '-' && arg[1] != '\0' && !(arg[1] >= '0' && arg[1] <= '9');
}

/* Flags that are no option: they say what to do. */
static bool read_command(const char *arg, enum command *command)
{
    static const struct {
        const char *flag;
        enum command command;
    } commands[] = {
        {"--help", COMMAND_HELP},
        {"-h", COMMAND_HELP},
        {"--help-markdown", COMMAND_MARKDOWN},
        {"--version", COMMAND_VERSION},
        {"-V", COMMAND_VERSION},
        {"--config-test", COMMAND_TEST},
        {"--print-config", COMMAND_PRINT},
    };
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(arg, commands[i].flag) == 0) {
            *command = commands[i].command;
            return true;
        }
    }
    return false;
}

/* --name=value or --name value; NULL when `arg` is another flag. `*at` moves over a value. */
static const char *value_of(const struct command_line *line, int *at, const char *name)
{
    const char *arg = line->argv[*at];
    size_t len = strlen(name);
    if (strncmp(arg, name, len) != 0) {
        return NULL;
    }
    if (arg[len] == '=') {
        return arg + len + 1;
    }
    if (arg[len] != '\0') {
        return NULL;
    }
    if (*at + 1 >= line->argc) {
        return "";
    }
    *at += 1;
    return line->argv[*at];
}

static void look_for_commands(struct gv_loading *loading, struct command_line *line)
{
    for (int i = 1; i < line->argc; i++) {
        enum command command;
        if (read_command(line->argv[i], &command)) {
            /* help and version win over everything else on the line */
            bool keeps = line->command == COMMAND_HELP || line->command == COMMAND_VERSION;
            line->command = keeps ? line->command : command;
            continue;
        }
        const char *compat = value_of(line, &i, "--compat");
        if (compat != NULL) {
            loading->compat_warns = strcmp(compat, "warn") == 0;
            if (!loading->compat_warns && strcmp(compat, "strict") != 0) {
                gv_config_complain(loading, "--compat: '%s' is not strict or warn", compat);
            }
            continue;
        }
        const char *file = value_of(line, &i, "--config");
        if (file != NULL) {
            line->file = file;
        }
    }
}

static bool takes_many(const struct gv_option *option)
{
    return option->type == GV_OPTION_LIST;
}

/* The values behind a flag without '='; the index of the last one used. */
static int set_following(struct gv_loading *loading, const struct gv_option *option,
                         const struct command_line *line, int at)
{
    const char *flag = line->argv[at];
    if (option->type == GV_OPTION_SWITCH) {
        gv_config_set(loading, option, "true", GV_ORIGIN_FLAG, flag);
        return at;
    }
    if (at + 1 >= line->argc || is_flag(line->argv[at + 1])) {
        gv_config_complain(loading, "%s: needs a value", flag);
        return at;
    }
    at += 1;
    if (option->type == GV_OPTION_PREFILLS && at + 1 < line->argc && !is_flag(line->argv[at + 1]) &&
        strstr(line->argv[at + 1], "://") == NULL) {
        char both[1024];
        if ((size_t)snprintf(both, sizeof both, "%s %s", line->argv[at], line->argv[at + 1]) >=
            sizeof both) {
            gv_config_complain(loading, "%s: too long", flag);
        } else {
            gv_config_add_item(loading, option, both, GV_ORIGIN_FLAG, flag);
        }
        return at + 1;
    }
    gv_config_set(loading, option, line->argv[at], GV_ORIGIN_FLAG, flag);
    while (takes_many(option) && at + 1 < line->argc && !is_flag(line->argv[at + 1])) {
        at += 1;
        gv_config_set(loading, option, line->argv[at], GV_ORIGIN_FLAG, flag);
    }
    return at;
}

/* Step over the values of a flag that has no option. */
static int skip_values(const struct command_line *line, int at, bool has_value)
{
    while (!has_value && at + 1 < line->argc && !is_flag(line->argv[at + 1])) {
        at += 1;
    }
    return at;
}

/* "--max-concurrent-requests -1" asks for what there is: no limit. */
static bool is_no_limit(const struct command_line *line, int at)
{
    const char *equals = strchr(line->argv[at], '=');
    const char *value = equals != NULL ? equals + 1 : at + 1 < line->argc ? line->argv[at + 1] : "";
    return strcmp(value, "-1") == 0;
}

static int read_foreign(struct gv_loading *loading, const struct command_line *line, int at,
                        struct gv_slice name, bool has_value)
{
    int width = (int)name.len;
    const char *text = (const char *)name.data;
    const struct gv_compat *compat = gv_compat_find(name);
    if (compat == NULL) {
        const char *nearest = gv_option_nearest(name);
        gv_config_complain(loading, "--%.*s: no such flag%s%s%s", width, text,
                           nearest == NULL ? "; see --help" : "; did you mean --",
                           nearest == NULL ? "" : nearest, nearest == NULL ? "" : "?");
    } else if (compat->is_harmless || is_no_limit(line, at)) {
        gv_config_notice(loading, "--%.*s has no effect: %s", width, text, compat->advice);
    } else if (loading->compat_warns) {
        gv_config_notice(loading, "--%.*s is not supported and is ignored: %s", width, text,
                         compat->advice);
    } else {
        gv_config_complain(loading, "--%.*s is not supported: %s (--compat=warn ignores it)", width,
                           text, compat->advice);
    }
    return compat != NULL && compat->is_switch ? at : skip_values(line, at, has_value);
}

static int read_flag(struct gv_loading *loading, const struct command_line *line, int at)
{
    const char *arg = line->argv[at];
    if (strncmp(arg, "--", 2) != 0) {
        gv_config_complain(loading, "%s: no such flag; see --help", arg);
        return at;
    }
    const char *equals = strchr(arg, '=');
    size_t len = equals == NULL ? strlen(arg) - 2 : (size_t)(equals - arg) - 2;
    struct gv_slice name = gv_slice_of(arg + 2, len);
    const struct gv_option *option = gv_option_find(name);
    if (option != NULL && equals != NULL) {
        char named[GV_OPTION_NAME_BYTES + 2];
        (void)snprintf(named, sizeof named, "--%.*s", (int)len, arg + 2);
        gv_config_set(loading, option, equals + 1, GV_ORIGIN_FLAG, named);
        return at;
    }
    if (option != NULL) {
        return set_following(loading, option, line, at);
    }
    if (gv_slice_starts_with(name, "no-") && equals == NULL) {
        option = gv_option_find(gv_slice_of(name.data + 3, name.len - 3));
        if (option != NULL && option->type == GV_OPTION_SWITCH) {
            gv_config_set(loading, option, "false", GV_ORIGIN_FLAG, arg);
            return at;
        }
    }
    return read_foreign(loading, line, at, name, equals != NULL);
}

static void read_flags(struct gv_loading *loading, const struct command_line *line)
{
    for (int i = 1; i < line->argc; i++) {
        enum command ignored;
        if (read_command(line->argv[i], &ignored) || value_of(line, &i, "--compat") != NULL ||
            value_of(line, &i, "--config") != NULL) {
            continue;
        }
        if (is_flag(line->argv[i])) {
            i = read_flag(loading, line, i);
        } else {
            gv_config_complain(loading, "'%s': a value without a flag", line->argv[i]);
        }
    }
}

/* ---- environment ---- */

static const char *variable(char **environment, const char *name)
{
    size_t len = strlen(name);
    for (char **at = environment; at != NULL && *at != NULL; at++) {
        if (strncmp(*at, name, len) == 0 && (*at)[len] == '=') {
            return *at + len + 1;
        }
    }
    return NULL;
}

static void read_environment(struct gv_loading *loading, char **environment)
{
    size_t count;
    const struct gv_option *table = gv_option_table(&count);
    for (size_t i = 0; i < count; i++) {
        char name[GV_OPTION_NAME_BYTES];
        gv_option_variable(&table[i], name);
        const char *value = variable(environment, name);
        if (value == NULL || value[0] == '\0') {
            continue;
        }
        if (table[i].type == GV_OPTION_PORT && strstr(value, "://") != NULL) {
            /* Kubernetes sets GRAPEVINE_PORT=tcp://... for a service named grapevine. */
            gv_config_notice(loading, "%s='%s' is a service link, not a port; ignored", name,
                             value);
            continue;
        }
        gv_config_set(loading, &table[i], value, GV_ORIGIN_ENVIRONMENT, name);
    }
}

/* ---- all of it ---- */

static enum gv_config_outcome finish(struct gv_loading *loading, const struct command_line *line)
{
    if (loading->is_bad) {
        gv_config_notice(loading, "see grapevine --help");
        return GV_CONFIG_BAD;
    }
    enum gv_err ignored = GV_OK;
    if (line->command == COMMAND_TEST) {
        ignored = gv_buf_append_text(loading->out, "the configuration is good\n");
        (void)ignored;
        return GV_CONFIG_DONE;
    }
    if (line->command == COMMAND_PRINT) {
        gv_config_print_yaml(loading, loading->out);
        return GV_CONFIG_DONE;
    }
    return GV_CONFIG_RUN;
}

static enum gv_config_outcome load(struct gv_loading *loading, struct command_line *line,
                                   char **environment)
{
    enum gv_err err = GV_OK;
    look_for_commands(loading, line);
    switch (line->command) {
    case COMMAND_HELP:
        gv_config_print_help(loading->out);
        return GV_CONFIG_DONE;
    case COMMAND_MARKDOWN:
        gv_config_print_markdown(loading->out);
        return GV_CONFIG_DONE;
    case COMMAND_VERSION:
        err = gv_buf_append_text(loading->out, "grapevine " GV_VERSION "\n");
        return err == GV_OK ? GV_CONFIG_DONE : GV_CONFIG_BAD;
    case COMMAND_RUN:
    case COMMAND_TEST:
    case COMMAND_PRINT:
        break;
    }
    if (gv_config_set_defaults(loading) != GV_OK) {
        return GV_CONFIG_BAD;
    }
    const char *path = line->file != NULL ? line->file : variable(environment, "GRAPEVINE_CONFIG");
    if (path != NULL && path[0] != '\0') {
        char *copy = gv_mem_copy_text(GV_MEM_GENERAL, path);
        if (copy == NULL) {
            gv_config_complain(loading, "out of memory");
            return GV_CONFIG_BAD;
        }
        gv_mem_free(GV_MEM_GENERAL, loading->config->config_file);
        loading->config->config_file = copy;
        gv_config_read_file(loading, path);
    } else if (line->file != NULL) {
        gv_config_complain(loading, "--config: needs a path");
    }
    read_environment(loading, environment);
    read_flags(loading, line);
    if (!loading->is_bad) {
        gv_config_check(loading);
    }
    return finish(loading, line);
}

enum gv_config_outcome gv_config_load_quietly(int argc, char **argv, char **environment,
                                              struct gv_config *config, struct gv_buf *out,
                                              struct gv_buf *err)
{
    memset(config, 0, sizeof *config);
    struct gv_loading loading = {.config = config, .out = out, .err = err};
    struct command_line line = {.argc = argc, .argv = argv};
    enum gv_config_outcome outcome = load(&loading, &line, environment);
    if (outcome != GV_CONFIG_RUN) {
        gv_config_deinit(config);
    }
    return outcome;
}

static void write_out(FILE *to, const struct gv_buf *text)
{
    struct gv_slice bytes = gv_buf_slice(text);
    if (bytes.len > 0) {
        (void)fwrite(bytes.data, 1, bytes.len, to);
    }
    (void)fflush(to);
}

enum gv_config_outcome gv_config_load(int argc, char **argv, char **environment,
                                      struct gv_config *config)
{
    struct gv_buf out;
    struct gv_buf err;
    gv_buf_init(&out, GV_MEM_GENERAL, OUTPUT_BYTES_MAX);
    gv_buf_init(&err, GV_MEM_GENERAL, OUTPUT_BYTES_MAX);
    enum gv_config_outcome outcome =
        gv_config_load_quietly(argc, argv, environment, config, &out, &err);
    write_out(stdout, &out);
    write_out(stderr, &err);
    gv_buf_deinit(&out);
    gv_buf_deinit(&err);
    return outcome;
}
