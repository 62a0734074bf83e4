/*
 * explain.c - vinectl explain FILE|-: where a request would go, on every node side by side, and
 * why; with --one-node, on the node asked alone.
 */
#include "ask.h"
#include "grapevine/base/buf.h"
#include "table.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REQUEST_BYTES_MAX ((size_t)8 * 1024 * 1024)
#define PATH_BYTES_MAX    4096

static bool read_request(const char *path, struct gv_buf *request)
{
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    if (file == NULL) {
        fprintf(stderr, "vinectl: cannot read %s: %s\n", path, strerror(errno));
        return false;
    }
    char bytes[64 * 1024];
    enum gv_err err = GV_OK;
    size_t got;
    while (err == GV_OK && (got = fread(bytes, 1, sizeof bytes, file)) > 0) {
        err = gv_buf_append(request, gv_slice_of(bytes, got));
    }
    if (file != stdin) {
        fclose(file);
    }
    if (err != GV_OK || request->len == 0) {
        fprintf(stderr, "vinectl: %s holds no request of at most 8 MiB\n", path);
        return false;
    }
    return true;
}

/* ---- a node's candidates ---- */

static const json_t *candidate_of(const json_t *leg, const char *worker)
{
    size_t at;
    const json_t *candidate;
    json_array_foreach(json_object_get(leg, "candidates"), at, candidate)
    {
        if (strcmp(text_of(candidate, "worker"), worker) == 0) {
            return candidate;
        }
    }
    return NULL;
}

static const json_t *leg_at(const json_t *json, size_t at)
{
    return json_array_get(json_object_get(json, "legs"), at);
}

/* Does a node see of a candidate what the first node sees? Loads differ by what is under way. */
static bool differs(const json_t *candidate, const json_t *first)
{
    return first == NULL || number_of(candidate, "depth") != number_of(first, "depth") ||
           number_of(candidate, "load") != number_of(first, "load");
}

static void add_candidate(struct table *table, const char *node, const json_t *leg,
                          const json_t *candidate, const char *mark)
{
    const char *worker = text_of(candidate, "worker");
    bool chosen = strcmp(worker, text_of(leg, "worker")) == 0;
    char depth[40];
    char score[40];
    snprintf(depth, sizeof depth, "%llu/%llu", (unsigned long long)number_of(candidate, "depth"),
             (unsigned long long)number_of(leg, "blocks"));
    snprintf(score, sizeof score, "%.1f", json_number_value(json_object_get(candidate, "score")));
    table_text(table, node);
    table_text(table, text_of(leg, "key"));
    table_text(table, worker);
    table_text(table, depth);
    table_number(table, number_of(candidate, "load"));
    table_text(table, score);
    table_text(table, chosen ? text_of(leg, "rule") : "");
    table_text(table, mark);
}

/* Leg by leg what the first node sees, and what others see otherwise (all of it with -o wide). */
static void print_candidates(const struct context *context, const struct answers *answers,
                             const json_t *first)
{
    static const char *const names[] = {"NODE",   "KEY",    "CANDIDATE", "#DEPTH", "#LOAD",
                                        "#SCORE", "CHOSEN", "DIFFERS",   NULL};
    struct table table;
    table_init(&table, names);
    for (size_t l = 0; leg_at(first, l) != NULL; l++) {
        for (size_t i = 0; i < answers->count; i++) {
            const json_t *json = answers->items[i].json;
            const json_t *leg = leg_at(json, l);
            size_t at;
            const json_t *candidate;
            json_array_foreach(json_object_get(leg, "candidates"), at, candidate)
            {
                const json_t *same = candidate_of(leg_at(first, l), text_of(candidate, "worker"));
                bool other = json != first && differs(candidate, same);
                if (json == first || other || context->wide) {
                    add_candidate(&table, answers->items[i].node, leg, candidate, other ? "*" : "");
                }
            }
        }
    }
    table_print(&table, context->headers);
    table_deinit(&table);
}

/* ---- the nodes side by side ---- */

/* One row a node and leg; returns how many nodes name another worker than the first. */
static size_t print_nodes(const struct context *context, const struct answers *answers,
                          const json_t *first)
{
    static const char *const names[] = {"NODE", "KEY",    "WORKER", "#DEPTH",  "#LOAD",
                                        "RULE", "POLICY", "WHY",    "DIFFERS", NULL};
    struct table table;
    table_init(&table, names);
    size_t others = 0;
    for (size_t i = 0; i < answers->count; i++) {
        const json_t *json = answers->items[i].json;
        if (json == NULL) {
            continue;
        }
        others += strcmp(text_of(json, "worker"), text_of(first, "worker")) != 0;
        const json_t *leg;
        for (size_t l = 0; (leg = leg_at(json, l)) != NULL; l++) {
            const json_t *same = leg_at(first, l);
            bool other = strcmp(text_of(leg, "worker"), text_of(same, "worker")) != 0 ||
                         strcmp(text_of(leg, "rule"), text_of(same, "rule")) != 0;
            table_text(&table, answers->items[i].node);
            table_text(&table, text_of(leg, "key"));
            table_text(&table, text_of(leg, "worker"));
            table_number(&table, number_of(leg, "depth"));
            table_number(&table, number_of(leg, "load"));
            table_text(&table, text_of(leg, "rule"));
            table_text(&table, text_of(leg, "policy"));
            table_text(&table, text_of(leg, "why"));
            table_text(&table, other ? "*" : "");
        }
    }
    if (!context->json) {
        table_print(&table, context->headers);
    }
    table_deinit(&table);
    return others;
}

static void print_all_json(const struct answers *answers, const char *worker, bool agree)
{
    json_t *list = json_array();
    for (size_t i = 0; i < answers->count; i++) {
        if (answers->items[i].json != NULL) {
            json_array_append(list, answers->items[i].json);
        }
    }
    print_json(json_pack("{s:b, s:s, s:o}", "agree", agree, "worker", worker, "nodes", list));
}

static enum outcome verdict(const struct context *context, const struct answers *answers)
{
    const json_t *first = NULL;
    for (size_t i = 0; i < answers->count && first == NULL; i++) {
        first = answers->items[i].json;
    }
    const char *worker = text_of(first, "worker");
    if (!context->json) {
        print_candidates(context, answers, first);
        putchar('\n');
    }
    size_t others = print_nodes(context, answers, first);
    size_t asked = answers->count - answers->silent;
    if (context->json) {
        print_all_json(answers, worker, others == 0);
    } else if (worker[0] == '\0') {
        printf("DEGRADED: no worker would take it: %s %s\n", text_of(first, "problem"),
               text_of(first, "detail"));
    } else if (others > 0) {
        printf("DEGRADED: %zu of %zu nodes would choose another worker\n", others, asked);
    } else {
        printf("%s: all %zu nodes that answered choose %s\n", verdict_word(answers), asked, worker);
    }
    bool good = worker[0] != '\0' && others == 0;
    return !good ? OUTCOME_DEGRADED : answers->silent > 0 ? OUTCOME_PARTIAL : OUTCOME_OK;
}

/* All nodes, or with --one-node only the endpoint's. */
static bool ask(const struct context *context, const char *path, struct gv_slice body,
                struct answers *answers, enum outcome *outcome)
{
    if (!context->one_node) {
        return ask_all(context, path, body, answers, outcome);
    }
    json_t *json = ask_one(context, path, body, outcome);
    if (json == NULL) {
        return false;
    }
    *answers = (struct answers){.items = calloc(1, sizeof *answers->items), .count = 1};
    if (answers->items == NULL) {
        json_decref(json);
        fputs("vinectl: out of memory\n", stderr);
        return false;
    }
    snprintf(answers->items[0].node, sizeof answers->items[0].node, "%s", text_of(json, "node"));
    answers->items[0].json = json;
    answers->answered = 1;
    return true;
}

/* Append "&name=value" with everything escaped that is no letter or digit; nothing without one. */
static enum gv_err append_parameter(struct gv_buf *path, const char *name, const char *value)
{
    if (value == NULL) {
        return GV_OK;
    }
    enum gv_err err = gv_buf_append_format(path, "&%s=", name);
    for (; *value != '\0' && err == GV_OK; value++) {
        err = gv_buf_append_format(path, isalnum((unsigned char)*value) ? "%c" : "%%%02x",
                                   (unsigned char)*value);
    }
    return err;
}

/* What is asked for: the path and the headers that policies look at. */
static enum gv_err write_path(const struct context *context, struct gv_buf *path)
{
    enum gv_err err =
        gv_buf_append_format(path, "/grapevine/v1/explain?endpoint=%s", context->path);
    if (err == GV_OK) {
        err = append_parameter(path, "routing_key", context->routing_key);
    }
    if (err == GV_OK) {
        err = append_parameter(path, "target_worker", context->target);
    }
    return err == GV_OK ? gv_buf_append(path, gv_slice_of("", 1)) : err;
}

enum outcome explain_command(const struct context *context)
{
    if (context->arg_count != 1) {
        fputs("vinectl: usage: vinectl explain FILE|- (the JSON body of a request)\n", stderr);
        return OUTCOME_USAGE;
    }
    struct gv_buf request;
    gv_buf_init(&request, GV_MEM_BUFFER, REQUEST_BYTES_MAX);
    struct gv_buf path;
    gv_buf_init(&path, GV_MEM_BUFFER, PATH_BYTES_MAX);
    enum outcome outcome = OUTCOME_USAGE;
    struct answers answers;
    if (write_path(context, &path) != GV_OK) {
        fputs("vinectl: what is to be explained is named at too great a length\n", stderr);
    } else if (read_request(context->args[0], &request) &&
               ask(context, (const char *)gv_buf_slice(&path).data, gv_buf_slice(&request),
                   &answers, &outcome)) {
        outcome = verdict(context, &answers);
        answers_deinit(&answers);
    }
    gv_buf_deinit(&path);
    gv_buf_deinit(&request);
    return outcome;
}
