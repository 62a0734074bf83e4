/*
 * vinectl - look at a grapevine cluster through any of its nodes.
 *
 * main.c knows the flags, help.c the commands; each command is a file of its own. Data goes to
 * stdout, everything else to stderr; the last line of a table is a verdict; the exit code is 0 only
 * when all is well (vinectl.h lists the others).
 */
#include "help.h"

#include "grapevine/base/log.h"
#include "grapevine/http/uri.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEY_FILE_BYTES 1024

void print_json(json_t *json)
{
    json_dumpf(json, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(json);
}

const char *text_of(const json_t *json, const char *name)
{
    const char *text = json_string_value(json_object_get(json, name));
    return text == NULL ? "" : text;
}

uint64_t number_of(const json_t *json, const char *name)
{
    const json_t *value = json_object_get(json, name);
    return json_is_integer(value) && json_integer_value(value) > 0
               ? (uint64_t)json_integer_value(value)
               : 0;
}

bool flag_of(const json_t *json, const char *name)
{
    return json_is_true(json_object_get(json, name));
}

GV_PRINTF(1, 2) static enum outcome usage(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("vinectl: ", stderr);
    vfprintf(stderr, format, args);
    va_end(args);
    fputs("; see vinectl --help\n", stderr);
    return OUTCOME_USAGE;
}

/* The first line of a file, without its end. NULL with a word on stderr. */
static char *read_key(const char *path)
{
    char line[KEY_FILE_BYTES];
    FILE *file = fopen(path, "re");
    if (file == NULL || fgets(line, sizeof line, file) == NULL) {
        fprintf(stderr, "vinectl: cannot read a key from %s\n", path);
        if (file != NULL) {
            fclose(file);
        }
        return NULL;
    }
    fclose(file);
    line[strcspn(line, "\r\n")] = '\0';
    return strdup(line);
}

/* Flags that take a value: where it goes. */
struct flag {
    const char *name;
    const char **value;
};

struct values {
    const char *endpoint;
    const char *key_file;
    const char *timeout;
    const char *output;
    const char *path;
    const char *routing_key;
    const char *target;
    const char *until;
    const char *nodes;
    const char *keyring;
    const char *ca;
    const char *cert;
    const char *key;
};

/* If args[*at] is a flag with a value, take both. -1: its value is missing. */
static int take_value(const struct flag *flags, size_t count, int argc, char **argv, int *at)
{
    for (size_t i = 0; i < count; i++) {
        size_t len = strlen(flags[i].name);
        if (strcmp(argv[*at], flags[i].name) == 0) {
            if (*at + 1 >= argc) {
                return -1;
            }
            *at += 1;
            *flags[i].value = argv[*at];
            return 1;
        }
        if (strncmp(argv[*at], flags[i].name, len) == 0 && argv[*at][len] == '=') {
            *flags[i].value = argv[*at] + len + 1;
            return 1;
        }
    }
    return 0;
}

static enum outcome apply_wait(const struct values *values, const char *command,
                               struct context *context)
{
    char *end = NULL;
    unsigned long count = strtoul(values->nodes, &end, 10);
    if (end == values->nodes || *end != '\0' || count < 1 || count > 2048) {
        return usage("--nodes '%s' is not a number from 1 to 2048", values->nodes);
    }
    bool waits = strcmp(command, "wait") == 0;
    if (waits && (values->until == NULL || (strcmp(values->until, "converged") != 0 &&
                                            strcmp(values->until, "ready") != 0))) {
        return usage("wait needs --for converged or --for ready");
    }
    context->node_count = count;
    context->until = values->until;
    return OUTCOME_OK;
}

/* Is it the URL of a node's port? */
static bool is_endpoint(const char *text)
{
    struct gv_uri uri;
    return gv_uri_parse(gv_slice_text(text), &uri) == GV_OK && uri.dp_rank < 0;
}

static enum outcome apply(const struct values *values, struct context *context)
{
    char *end = NULL;
    double seconds = strtod(values->timeout, &end);
    if (end == values->timeout || *end != '\0' || !(seconds >= 0.1 && seconds <= 600)) {
        return usage("--timeout '%s' is not a number of seconds from 0.1 to 600", values->timeout);
    }
    context->wide = strcmp(values->output, "wide") == 0;
    if (strcmp(values->output, "json") != 0 && strcmp(values->output, "table") != 0 &&
        !context->wide) {
        return usage("--output '%s' is not table, wide or json", values->output);
    }
    context->timeout_ms = (uint64_t)(seconds * 1000);
    context->json = strcmp(values->output, "json") == 0;
    context->endpoint = values->endpoint;
    context->path = values->path;
    context->keyring = values->keyring;
    context->routing_key = values->routing_key;
    context->target = values->target;
    context->ca = values->ca;
    context->cert = values->cert;
    context->key = values->key;
    if (!is_endpoint(values->endpoint)) {
        return usage("--endpoint '%s' is not http://HOST:PORT or https://HOST:PORT",
                     values->endpoint);
    }
    if ((values->cert == NULL) != (values->key == NULL)) {
        return usage("--cert and --key go together");
    }
    if (values->key_file != NULL && values->key_file[0] != '\0') {
        context->api_key = read_key(values->key_file);
        if (context->api_key == NULL) {
            return OUTCOME_USAGE;
        }
    }
    return OUTCOME_OK;
}

static enum outcome run(const struct context *context, const char *name)
{
    const struct command *command = command_of(name);
    if (command == NULL) {
        return usage("there is no command '%s'", name);
    }
    if (context->arg_count > 0 && !command->takes_words) {
        return usage("%s takes no argument: '%s'", name, context->args[0]);
    }
    return command->run(context);
}

static const char *setting(const char *variable, const char *otherwise)
{
    const char *value = getenv(variable);
    return value != NULL && value[0] != '\0' ? value : otherwise;
}

/* Flags without a value. */
static bool take_switch(const char *arg, struct context *context)
{
    if (strcmp(arg, "--deep") == 0) {
        context->deep = true;
    } else if (strcmp(arg, "--one-node") == 0) {
        context->one_node = true;
    } else if (strcmp(arg, "--all-nodes") == 0) {
        context->one_node = false; /* as usual; for those who want to say it */
    } else if (strcmp(arg, "--no-headers") == 0) {
        context->headers = false;
    } else {
        return false;
    }
    return true;
}

/* Everything was read: help, or the command. */
static enum outcome carry_out(struct values *values, struct context *context, const char *command,
                              bool wants_help)
{
    if (wants_help) {
        if (command != NULL && command_of(command) != NULL) {
            help_command(stdout, command_of(command));
        } else {
            help_all(stdout);
        }
        return OUTCOME_OK;
    }
    if (command == NULL) {
        help_all(stderr);
        return OUTCOME_USAGE;
    }
    if (values->timeout == NULL) {
        values->timeout = strcmp(command, "wait") == 0 ? "60" : "5";
    }
    enum outcome outcome = apply(values, context);
    if (outcome == OUTCOME_OK) {
        outcome = apply_wait(values, command, context);
    }
    if (outcome == OUTCOME_OK) {
        outcome = run(context, command);
    }
    free(context->api_key);
    return outcome;
}

int main(int argc, char **argv)
{
    struct values values = {.endpoint = setting("GRAPEVINE_ENDPOINT", "http://127.0.0.1:30000"),
                            .key_file = setting("GRAPEVINE_API_KEY_FILE", NULL),
                            .ca = setting("GRAPEVINE_CACERT", NULL),
                            .cert = setting("GRAPEVINE_CERT", NULL),
                            .key = setting("GRAPEVINE_KEY", NULL),
                            .output = "table",
                            .nodes = "1",
                            .path = "/v1/chat/completions"};
    const struct flag flags[] = {{"--endpoint", &values.endpoint},
                                 {"--api-key-file", &values.key_file},
                                 {"--timeout", &values.timeout},
                                 {"--output", &values.output},
                                 {"-o", &values.output},
                                 {"--request-path", &values.path},
                                 {"--routing-key", &values.routing_key},
                                 {"--target-worker", &values.target},
                                 {"--mesh-keyring", &values.keyring},
                                 {"--for", &values.until},
                                 {"--nodes", &values.nodes},
                                 {"--cacert", &values.ca},
                                 {"--cert", &values.cert},
                                 {"--key", &values.key}};
    struct context context = {.headers = true, .args = argv};
    const char *command = NULL;
    bool wants_help = false;
    gv_log_set_level(GV_LOG_ERROR);
    for (int at = 1; at < argc; at++) {
        const char *arg = argv[at];
        int taken = take_value(flags, sizeof flags / sizeof flags[0], argc, argv, &at);
        if (taken < 0) {
            return (int)usage("%s needs a value", arg);
        }
        if (taken > 0) {
            continue;
        }
        if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0) {
            wants_help = true;
            continue;
        }
        if (strcmp(arg, "--version") == 0) {
            puts("vinectl " GV_VERSION);
            return OUTCOME_OK;
        }
        if (take_switch(arg, &context)) {
            continue;
        }
        if (arg[0] == '-' && arg[1] != '\0') {
            return (int)usage("unknown flag '%s'", arg);
        } else if (command == NULL) {
            command = arg;
        } else {
            context.args[context.arg_count++] = argv[at]; /* never beyond what was read */
        }
    }
    return (int)carry_out(&values, &context, command, wants_help);
}
