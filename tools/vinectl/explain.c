/*
 * explain.c - vinectl explain FILE|-: where a request would go, on every node side by side, and
 * why.
 */
#include "ask.h"
#include "grapevine/base/buf.h"
#include "table.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define REQUEST_BYTES_MAX ((size_t)8 * 1024 * 1024)

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

/* The candidates of the node that was asked first, leg by leg. */
static void print_candidates(const struct context *context, const json_t *legs)
{
    static const char *const names[] = {"KEY", "CANDIDATE", "#DEPTH", "#LOAD", "CHOSEN", NULL};
    struct table table;
    table_init(&table, names);
    size_t at;
    json_t *leg;
    json_array_foreach(legs, at, leg)
    {
        size_t c;
        json_t *candidate;
        json_array_foreach(json_object_get(leg, "candidates"), c, candidate)
        {
            const char *worker = text_of(candidate, "worker");
            bool chosen = strcmp(worker, text_of(leg, "worker")) == 0;
            char depth[40];
            snprintf(depth, sizeof depth, "%llu/%llu",
                     (unsigned long long)number_of(candidate, "depth"),
                     (unsigned long long)number_of(leg, "blocks"));
            table_text(&table, text_of(leg, "key"));
            table_text(&table, worker);
            table_text(&table, depth);
            table_number(&table, number_of(candidate, "load"));
            table_text(&table, chosen ? text_of(leg, "rule") : "");
        }
    }
    table_print(&table, context->headers);
    table_deinit(&table);
}

/* One row a node and leg; returns how many nodes name another worker than `first`. */
static size_t print_nodes(const struct context *context, const struct answers *answers,
                          const char *first)
{
    static const char *const names[] = {"NODE", "KEY", "WORKER", "RULE", "WHY", NULL};
    struct table table;
    table_init(&table, names);
    size_t others = 0;
    for (size_t i = 0; i < answers->count; i++) {
        const json_t *json = answers->items[i].json;
        if (json == NULL) {
            continue;
        }
        others += strcmp(text_of(json, "worker"), first) != 0;
        size_t at;
        json_t *leg;
        json_array_foreach(json_object_get(json, "legs"), at, leg)
        {
            table_text(&table, answers->items[i].node);
            table_text(&table, text_of(leg, "key"));
            table_text(&table, text_of(leg, "worker"));
            table_text(&table, text_of(leg, "rule"));
            table_text(&table, text_of(leg, "why"));
        }
    }
    if (!context->json) {
        table_print(&table, context->headers);
    }
    table_deinit(&table);
    return others;
}

static enum outcome verdict(const struct context *context, const struct answers *answers)
{
    const json_t *first = NULL;
    for (size_t i = 0; i < answers->count && first == NULL; i++) {
        first = answers->items[i].json;
    }
    const char *worker = text_of(first, "worker");
    if (!context->json) {
        print_candidates(context, json_object_get(first, "legs"));
        putchar('\n');
    }
    size_t others = print_nodes(context, answers, worker);
    size_t asked = answers->count - answers->silent;
    if (context->json) {
        json_t *list = json_array();
        for (size_t i = 0; i < answers->count; i++) {
            if (answers->items[i].json != NULL) {
                json_array_append(list, answers->items[i].json);
            }
        }
        print_json(
            json_pack("{s:b, s:s, s:o}", "agree", others == 0, "worker", worker, "nodes", list));
    } else if (worker[0] == '\0') {
        printf("DEGRADED: no worker would take it: %s %s\n", text_of(first, "problem"),
               text_of(first, "detail"));
    } else if (others > 0) {
        printf("DEGRADED: %zu of %zu nodes would choose another worker\n", others, asked);
    } else {
        printf("healthy: all %zu nodes that answered choose %s\n", asked, worker);
    }
    bool good = worker[0] != '\0' && others == 0;
    return !good ? OUTCOME_DEGRADED : answers->silent > 0 ? OUTCOME_PARTIAL : OUTCOME_OK;
}

enum outcome explain_command(const struct context *context)
{
    if (context->arg_count != 1) {
        fputs("vinectl: usage: vinectl explain FILE|- (the JSON body of a request)\n", stderr);
        return OUTCOME_USAGE;
    }
    struct gv_buf request;
    gv_buf_init(&request, GV_MEM_BUFFER, REQUEST_BYTES_MAX);
    enum outcome outcome = OUTCOME_USAGE;
    if (read_request(context->args[0], &request)) {
        char path[256];
        snprintf(path, sizeof path, "/grapevine/v1/explain?endpoint=%s", context->path);
        struct answers answers;
        if (ask_all(context, path, gv_buf_slice(&request), &answers, &outcome)) {
            outcome = verdict(context, &answers);
            answers_deinit(&answers);
        }
    }
    gv_buf_deinit(&request);
    return outcome;
}
