/*
 * print.c - the table for people: --help, docs/options.md, and the effective configuration.
 */
#include "grapevine/base/mem.h"
#include "grapevine/route/policy.h"
#include "inner.h"
#include <stdio.h>
#include <string.h>

#define WIDTH  80
#define INDENT 6

static const char *const titles[GV_OPTION_GROUP_COUNT] = {
    [GV_OPTION_SERVING] = "Serving",
    [GV_OPTION_TLS] = "TLS",
    [GV_OPTION_ROUTING] = "Choosing a worker",
    [GV_OPTION_RETRYING] = "Retries and circuit breakers",
    [GV_OPTION_PAIRS] = "Prefill and decode",
    [GV_OPTION_PROBES] = "Probes",
    [GV_OPTION_ENDING] = "Shutting down",
    [GV_OPTION_MESH] = "Mesh",
    [GV_OPTION_WATCHING] = "Watching",
};

static const char *value_word(const struct gv_option *option)
{
    switch (option->type) {
    case GV_OPTION_SWITCH:
        return "";
    case GV_OPTION_TEXT:
    case GV_OPTION_KEYS:
        return " TEXT";
    case GV_OPTION_LIST:
        return " VALUE...";
    case GV_OPTION_PREFILLS:
        return " URL [PORT|none]";
    case GV_OPTION_PORT:
        return " PORT";
    case GV_OPTION_COUNT:
    case GV_OPTION_LIMIT:
    case GV_OPTION_REAL:
        return " NUMBER";
    case GV_OPTION_SIZE:
    case GV_OPTION_SIZE32:
        return " BYTES";
    case GV_OPTION_SECONDS:
        return " SECONDS";
    case GV_OPTION_MILLIS:
        return " MS";
    case GV_OPTION_LEVEL:
        return " LEVEL";
    case GV_OPTION_KEY_FILE:
        return " FILE";
    }
    return "";
}

/* Is it how a worker is chosen? --header-policy is not. */
static bool is_policy(const struct gv_option *option)
{
    static const char *const names[] = {"policy", "prefill-policy", "decode-policy"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(option->name, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* What may stand there: the range, or the names of the policies. */
static void limits(const struct gv_option *option, char *text, size_t size)
{
    char range[GV_OPTION_NAME_BYTES];
    gv_option_range(option, range);
    if (!is_policy(option)) {
        (void)snprintf(text, size, "%s", option->type == GV_OPTION_TEXT ? "" : range);
        return;
    }
    size_t len = 0;
    text[0] = '\0';
    for (const char *const *name = gv_policy_names(); *name != NULL && len < size; name++) {
        len += (size_t)snprintf(text + len, size - len, "%s%s", len == 0 ? "" : ", ", *name);
    }
}

/* Words of `text`, wrapped at WIDTH. */
static enum gv_err wrap(struct gv_buf *out, const char *text)
{
    size_t column = 0;
    enum gv_err err = GV_OK;
    while (*text != '\0' && err == GV_OK) {
        size_t len = strcspn(text, " ");
        bool breaks = column > 0 && column + 1 + len > WIDTH;
        if (column == 0 || breaks) {
            err = gv_buf_append_format(out, "%s%*s%.*s", breaks ? "\n" : "", INDENT, "", (int)len,
                                       text);
            column = INDENT + len;
        } else {
            err = gv_buf_append_format(out, " %.*s", (int)len, text);
            column += 1 + len;
        }
        text += len;
        text += strspn(text, " ");
    }
    return err == GV_OK ? gv_buf_append_text(out, "\n") : err;
}

static enum gv_err print_option(struct gv_buf *out, const struct gv_option *option)
{
    char text[768];
    char allowed[384];
    limits(option, allowed, sizeof allowed);
    bool has_default = option->default_text[0] != '\0';
    enum gv_err err = gv_buf_append_format(out, "  --%s%s\n", option->name, value_word(option));
    const char *open = has_default || allowed[0] != '\0' ? " [" : "";
    (void)snprintf(text, sizeof text, "%s%s%s%s%s%s%s", option->help, open,
                   has_default ? "default " : "", option->default_text,
                   has_default && allowed[0] != '\0' ? "; " : "", allowed,
                   open[0] != '\0' ? "]" : "");
    if (err == GV_OK) {
        err = wrap(out, text);
    }
    if (err == GV_OK && option->aliases != NULL) {
        err = gv_buf_append_format(out, "%*s(also --%s)\n", INDENT, "", option->aliases);
    }
    return err;
}

static const char intro[] =
    "grapevine: routes LLM requests to the worker that most likely knows the prompt.\n"
    "\n"
    "Examples\n"
    "  Two workers, one node:\n"
    "      grapevine --worker-urls http://10.0.0.1:8000 http://10.0.0.2:8000\n"
    "  Three nodes that find each other by name, with sealed gossip:\n"
    "      grapevine --config node.yaml --seeds mesh.example:39527 --mesh-keyring mesh.keys\n"
    "  Prefill and decode apart:\n"
    "      grapevine --pd-disaggregation --prefill http://p1:8000 8998 --decode http://d1:8000\n"
    "  What would it do?\n"
    "      grapevine --config node.yaml --print-config\n"
    "\n"
    "Usage: grapevine [FLAG...]\n"
    "  A flag wins over the environment (GRAPEVINE_PORT), that over the file (port: 30000).\n"
    "  --flag VALUE and --flag=VALUE are the same; a switch is --flag, --no-flag or\n"
    "  --flag=false. Sizes may be written 64MiB, times 500ms, 10s, 5m or 1h.\n"
    "  GRAPEVINE_DNS_SERVERS=HOST:PORT,... replaces the servers of resolv.conf.\n"
    "\n"
    "What to do\n"
    "  --config FILE\n"
    "      Read options from this YAML file.\n"
    "  --config-test\n"
    "      Check the configuration and end: exit 0 when it is good, 2 when not.\n"
    "  --print-config\n"
    "      Print the configuration as it would be used, and where each value is from.\n"
    "  --compat strict|warn\n"
    "      Flags of the SMG router that are not supported: an error, or a note.\n"
    "  --help, -h / --help-markdown / --version, -V\n"
    "      This text; the same as docs/options.md; the version.\n";

void gv_config_print_help(struct gv_buf *out)
{
    size_t count;
    const struct gv_option *table = gv_option_table(&count);
    enum gv_err err = gv_buf_append_text(out, intro);
    for (int group = 0; group < GV_OPTION_GROUP_COUNT && err == GV_OK; group++) {
        err = gv_buf_append_format(out, "\n%s\n", titles[group]);
        for (size_t i = 0; i < count && err == GV_OK; i++) {
            if ((int)table[i].group == group) {
                err = print_option(out, &table[i]);
            }
        }
    }
}

static enum gv_err print_row(struct gv_buf *out, const struct gv_option *option)
{
    char allowed[384];
    char variable[GV_OPTION_NAME_BYTES];
    char key[GV_OPTION_NAME_BYTES];
    limits(option, allowed, sizeof allowed);
    gv_option_variable(option, variable);
    gv_option_key(option, key);
    bool has_default = option->default_text[0] != '\0';
    return gv_buf_append_format(
        out, "| `--%s`%s%s%s | `%s` | `%s` | %s%s%s | %s | %s |\n", option->name,
        option->aliases == NULL ? "" : "<br>`--", option->aliases == NULL ? "" : option->aliases,
        option->aliases == NULL ? "" : "`", key, variable, has_default ? "`" : "",
        option->default_text, has_default ? "`" : "", allowed, option->help);
}

void gv_config_print_markdown(struct gv_buf *out)
{
    size_t count;
    const struct gv_option *table = gv_option_table(&count);
    enum gv_err err = gv_buf_append_text(
        out, "# Options\n\nPrinted by `grapevine --help-markdown`; do not edit.\n\n"
             "A flag wins over the environment, that over the file, that over the default. Times "
             "are seconds unless\na unit is written (`500ms`, `10s`, `5m`, `1h`), sizes are bytes "
             "(`64MiB`). Lists are YAML lists in the\nfile, and comma separated in the "
             "environment. `GRAPEVINE_DNS_SERVERS=host:port,...` replaces the servers of "
             "resolv.conf, and\n"
             "`GRAPEVINE_CONFIG` is the same as `--config`.\n");
    for (int group = 0; group < GV_OPTION_GROUP_COUNT && err == GV_OK; group++) {
        err = gv_buf_append_format(out,
                                   "\n## %s\n\n| Flag | File | Environment | Default | Range | "
                                   "Meaning |\n|---|---|---|---|---|---|\n",
                                   titles[group]);
        for (size_t i = 0; i < count && err == GV_OK; i++) {
            if ((int)table[i].group == group) {
                err = print_row(out, &table[i]);
            }
        }
    }
}

/* ---- the effective configuration ---- */

static const char *origin_text(const struct gv_loading *loading, size_t index)
{
    switch (loading->origins[index]) {
    case GV_ORIGIN_DEFAULT:
        return "default";
    case GV_ORIGIN_FILE:
        return "file";
    case GV_ORIGIN_ENVIRONMENT:
        return "environment";
    case GV_ORIGIN_FLAG:
        return "flag";
    }
    return "";
}

static enum gv_err print_list(const struct gv_loading *loading, const struct gv_option *option,
                              const char *key, const char *origin, struct gv_buf *out)
{
    const struct gv_config *config = loading->config;
    bool is_prefills = option->type == GV_OPTION_PREFILLS;
    const struct gv_config_list *list =
        (const void *)((const char *)config + (is_prefills ? 0 : option->offset));
    size_t count = is_prefills ? config->prefill_count : list->count;
    enum gv_err err =
        gv_buf_append_format(out, "%s:%s # %s\n", key, count == 0 ? " []" : "", origin);
    for (size_t i = 0; i < count && err == GV_OK; i++) {
        if (!is_prefills) {
            err = gv_buf_append_text(out, "  - ");
            gv_config_quote(out, list->items[i]);
            err = err == GV_OK ? gv_buf_append_text(out, "\n") : err;
        } else if (config->prefills[i].bootstrap_port < 0) {
            err = gv_buf_append_format(out, "  - \"%s none\"\n", config->prefills[i].url);
        } else {
            err = gv_buf_append_format(out, "  - \"%s %d\"\n", config->prefills[i].url,
                                       config->prefills[i].bootstrap_port);
        }
    }
    return err;
}

void gv_config_print_yaml(const struct gv_loading *loading, struct gv_buf *out)
{
    size_t count;
    const struct gv_option *table = gv_option_table(&count);
    enum gv_err err = GV_OK;
    for (size_t i = 0; i < count && err == GV_OK; i++) {
        char key[GV_OPTION_NAME_BYTES];
        gv_option_key(&table[i], key);
        if (table[i].type == GV_OPTION_KEY_FILE) {
            continue;
        }
        if (table[i].is_secret) {
            bool is_given = loading->origins[i] != GV_ORIGIN_DEFAULT;
            err = gv_buf_append_format(out, "# %s: %s # %s\n", key,
                                       is_given ? "(given, not shown)" : "(none)",
                                       origin_text(loading, i));
        } else if (table[i].type == GV_OPTION_LIST || table[i].type == GV_OPTION_PREFILLS) {
            err = print_list(loading, &table[i], key, origin_text(loading, i), out);
        } else {
            err = gv_buf_append_format(out, "%s: ", key);
            gv_config_format(loading->config, &table[i], out);
            if (err == GV_OK) {
                err = gv_buf_append_format(out, " # %s\n", origin_text(loading, i));
            }
        }
    }
}
