/*
 * settings.c - vinectl settings list|set|unset: small values that hold on all nodes while they run.
 *
 * A change is written on the node asked and travels from there; `list` asks every node what it
 * goes by, so it also shows whether the change has arrived.
 */
#include "ask.h"
#include "table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const json_t *find(const json_t *settings, const char *name)
{
    size_t at;
    json_t *setting;
    json_array_foreach(json_object_get(settings, "settings"), at, setting)
    {
        if (strcmp(text_of(setting, "name"), name) == 0) {
            return setting;
        }
    }
    return NULL;
}

/* How many of the nodes that answered go by the same, as far as it is set for the cluster? */
static size_t count_equal(const struct answers *answers, const json_t *setting)
{
    size_t equal = 0;
    for (size_t i = 0; i < answers->count; i++) {
        const json_t *other = find(answers->items[i].json, text_of(setting, "name"));
        equal += other != NULL &&
                 strcmp(text_of(other, "source"), text_of(setting, "source")) == 0 &&
                 strcmp(text_of(other, "set_to"), text_of(setting, "set_to")) == 0;
    }
    return equal;
}

static size_t add_row(struct table *table, const struct answers *answers, const json_t *setting)
{
    static const char *const columns[] = {"name", "value", "source", "started_with", "range"};
    char text[64];
    size_t equal = count_equal(answers, setting);
    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++) {
        table_text(table, text_of(setting, columns[i]));
    }
    snprintf(text, sizeof text, "%zu of %zu", equal, answers->answered);
    table_text(table, text);
    table_text(table, text_of(setting, "origin"));
    return answers->answered - equal;
}

static enum outcome list(const struct context *context)
{
    static const char *const names[] = {"SETTING", "VALUE",   "SOURCE", "STARTED-WITH",
                                        "RANGE",   "SAME ON", "SET BY", NULL};
    struct answers answers;
    struct table table;
    enum outcome outcome = OUTCOME_OK;
    json_t *own = ask_one(context, "/grapevine/v1/settings", gv_slice_of(NULL, 0), &outcome);
    if (own == NULL) {
        return outcome;
    }
    if (!ask_all(context, "/grapevine/v1/settings", gv_slice_of(NULL, 0), &answers, &outcome)) {
        json_decref(own);
        return outcome;
    }
    size_t differing = 0;
    size_t at;
    json_t *setting;
    table_init(&table, names);
    json_array_foreach(json_object_get(own, "settings"), at, setting)
    {
        size_t others = add_row(&table, &answers, setting);
        json_object_set_new(setting, "nodes_that_differ", json_integer((json_int_t)others));
        differing += others > 0;
    }
    if (context->json) {
        print_json(json_incref(own));
    } else {
        table_print(&table, context->headers);
        printf(differing == 0 ? "%s: %zu nodes go by the same settings\n"
                              : "%s: of %zu nodes not all go by the same settings\n",
               differing == 0 ? verdict_word(&answers) : "DEGRADED", answers.answered);
    }
    outcome = differing > 0 ? OUTCOME_DEGRADED : answers.silent > 0 ? OUTCOME_PARTIAL : OUTCOME_OK;
    table_deinit(&table);
    answers_deinit(&answers);
    json_decref(own);
    return outcome;
}

static enum outcome change(const struct context *context, const char *name, const char *value)
{
    char path[200];
    enum outcome outcome = OUTCOME_OK;
    if (strpbrk(name, "/?#% ") != NULL || strlen(name) > 100) {
        fprintf(stderr, "vinectl: '%.100s' is no name of a setting; see vinectl settings list\n",
                name);
        return OUTCOME_USAGE;
    }
    snprintf(path, sizeof path, "/grapevine/v1/settings/%s", name);
    json_t *body = value == NULL ? NULL : json_pack("{s:s}", "value", value);
    char *text = body == NULL ? NULL : json_dumps(body, JSON_COMPACT);
    json_t *answer = ask_to(context, value == NULL ? "DELETE" : "PUT", path,
                            text == NULL ? gv_slice_of(NULL, 0) : gv_slice_text(text), &outcome);
    if (answer != NULL && context->json) {
        print_json(json_incref(answer));
    } else if (answer != NULL) {
        printf("%s: %s%s%s\n", name, text_of(answer, "status"), value == NULL ? "" : " to ",
               value == NULL ? "" : value);
    }
    json_decref(answer);
    json_decref(body);
    free(text);
    return outcome;
}

enum outcome settings_command(const struct context *context)
{
    const char *what = context->arg_count > 0 ? context->args[0] : "";
    if (strcmp(what, "list") == 0 && context->arg_count == 1) {
        return list(context);
    }
    if (strcmp(what, "set") == 0 && context->arg_count == 3) {
        return change(context, context->args[1], context->args[2]);
    }
    if (strcmp(what, "unset") == 0 && context->arg_count == 2) {
        return change(context, context->args[1], NULL);
    }
    fputs("vinectl: usage: settings list | settings set NAME VALUE | settings unset NAME\n",
          stderr);
    return OUTCOME_USAGE;
}
