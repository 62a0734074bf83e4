/*
 * reachability.c - vinectl reachability: every node's opinion of every other, side by side.
 *
 * A row is who says it, a column whom it is about. Nodes said to be dead are asked as well: that
 * one answers here while others think it gone is just what this command is for.
 */
#include "ask.h"
#include "table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MATRIX_MAX 32 /* nodes; beyond, only what is wrong is shown */

/* All nodes that anybody who answered speaks of, sorted as the answers are. */
struct names {
    const char **items; /* owned array; texts of the answers */
    size_t count;
};

static void add_name(struct names *names, const char *name)
{
    for (size_t i = 0; i < names->count; i++) {
        if (strcmp(names->items[i], name) == 0) {
            return;
        }
    }
    const char **items = realloc(names->items, (names->count + 1) * sizeof *items);
    if (items == NULL) {
        fputs("vinectl: out of memory\n", stderr);
        exit(1);
    }
    names->items = items;
    names->items[names->count++] = name;
}

/* What `answer` says of `name`: its entry, or NULL when it has none. */
static const json_t *opinion(const struct answer *answer, const char *name)
{
    size_t at;
    json_t *node;
    json_array_foreach(json_object_get(answer->json, "nodes"), at, node)
    {
        if (strcmp(text_of(node, "name"), name) == 0) {
            return node;
        }
    }
    return NULL;
}

/* "open": alive with a session; "alive": without; "suspect", "dead", "left"; "unknown". */
static const char *word(const json_t *node)
{
    if (node == NULL) {
        return "unknown";
    }
    if (flag_of(node, "self")) {
        return "self";
    }
    return strcmp(text_of(node, "status"), "alive") != 0 ? text_of(node, "status")
           : flag_of(node, "connected")                  ? "open"
                                                         : "alive";
}

static bool is_good(const char *word)
{
    return strcmp(word, "open") == 0 || strcmp(word, "alive") == 0 || strcmp(word, "self") == 0;
}

/* Who was asked, by name; NULL when nobody knows where. */
static const struct answer *find(const struct answers *answers, const char *name)
{
    for (size_t i = 0; i < answers->count; i++) {
        if (strcmp(answers->items[i].node, name) == 0) {
            return &answers->items[i];
        }
    }
    return NULL;
}

struct faults {
    size_t one_sided; /* pairs of which one is content and the other is not */
    size_t apart;     /* pairs of which neither is, though both answer */
    size_t gone;      /* members that do not answer and have not left */
    json_t *list;     /* owned; of one-sided and apart */
};

static void note(struct faults *faults, const struct context *context, const char *kind,
                 const char *const texts[4])
{
    json_array_append_new(faults->list,
                          json_pack("{s:s, s:s, s:s, s:s, s:s}", "kind", kind, "a", texts[0],
                                    "a_says", texts[1], "b", texts[2], "b_says", texts[3]));
    if (!context->json) {
        printf("%s: %s says %s of %s, %s says %s of %s\n", kind, texts[0], texts[1], texts[2],
               texts[2], texts[3], texts[0]);
    }
}

static void judge_pair(const struct context *context, const struct answer *a,
                       const struct answer *b, struct faults *faults)
{
    const char *of_b = word(opinion(a, b->node));
    const char *of_a = word(opinion(b, a->node));
    const char *const texts[4] = {a->node, of_b, b->node, of_a};
    if (is_good(of_b) && is_good(of_a)) {
        return;
    }
    bool is_one_sided = is_good(of_b) != is_good(of_a);
    faults->one_sided += is_one_sided;
    faults->apart += !is_one_sided;
    note(faults, context, is_one_sided ? "one-sided" : "apart", texts);
}

static void judge(const struct context *context, const struct answers *answers,
                  struct faults *faults)
{
    for (size_t i = 0; i < answers->count; i++) {
        const struct answer *a = &answers->items[i];
        faults->gone += a->json == NULL && strcmp(a->status, "left") != 0;
        for (size_t k = i + 1; a->json != NULL && k < answers->count; k++) {
            if (answers->items[k].json != NULL) {
                judge_pair(context, a, &answers->items[k], faults);
            }
        }
    }
}

static void print_matrix(const struct context *context, const struct answers *answers,
                         const struct names *names)
{
    struct table table;
    const char *columns[MATRIX_MAX + 2] = {"SAYS \\ OF"};
    memcpy(columns + 1, names->items, names->count * sizeof columns[0]);
    table_init(&table, columns);
    for (size_t i = 0; i < names->count; i++) {
        const struct answer *answer = find(answers, names->items[i]);
        table_text(&table, names->items[i]);
        for (size_t k = 0; k < names->count; k++) {
            table_text(&table, answer == NULL || answer->json == NULL
                                   ? "?"
                                   : word(opinion(answer, names->items[k])));
        }
    }
    table_print(&table, context->headers);
    table_deinit(&table);
}

static json_t *matrix_json(const struct answers *answers, const struct names *names)
{
    json_t *matrix = json_object();
    for (size_t i = 0; i < answers->count; i++) {
        if (answers->items[i].json == NULL) {
            continue;
        }
        json_t *row = json_object();
        for (size_t k = 0; k < names->count; k++) {
            json_object_set_new(row, names->items[k],
                                json_string(word(opinion(&answers->items[i], names->items[k]))));
        }
        json_object_set_new(matrix, answers->items[i].node, row);
    }
    return matrix;
}

static enum outcome report(const struct context *context, const struct answers *answers,
                           const struct names *names)
{
    struct faults faults = {.list = json_array()};
    if (!context->json && names->count <= MATRIX_MAX) {
        print_matrix(context, answers, names);
    }
    judge(context, answers, &faults);
    bool good = faults.one_sided + faults.apart + faults.gone == 0;
    if (context->json) {
        print_json(json_pack("{s:b, s:i, s:i, s:i, s:o, s:O}", "healthy", good, "one_sided",
                             (int)faults.one_sided, "apart", (int)faults.apart, "silent",
                             (int)faults.gone, "matrix", matrix_json(answers, names), "pairs",
                             faults.list));
    } else if (good) {
        printf("healthy: all %zu nodes reach each other\n", answers->answered);
    } else {
        printf("DEGRADED: %zu one-sided pairs, %zu pairs apart, %zu nodes silent\n",
               faults.one_sided, faults.apart, faults.gone);
    }
    json_decref(faults.list);
    return good ? OUTCOME_OK : OUTCOME_DEGRADED;
}

enum outcome reachability_command(const struct context *context)
{
    struct answers answers;
    struct names names = {.count = 0};
    struct context asking = *context;
    enum outcome outcome = OUTCOME_OK;
    asking.asks_dead = true;
    if (!ask_all(&asking, "/grapevine/v1/nodes", gv_slice_of(NULL, 0), &answers, &outcome)) {
        return outcome;
    }
    for (size_t i = 0; i < answers.count; i++) {
        add_name(&names, answers.items[i].node);
    }
    for (size_t i = 0; i < answers.count; i++) {
        size_t at;
        json_t *node;
        json_array_foreach(json_object_get(answers.items[i].json, "nodes"), at, node)
        {
            add_name(&names, text_of(node, "name"));
        }
    }
    outcome = report(context, &answers, &names);
    free(names.items);
    answers_deinit(&answers);
    return outcome;
}
