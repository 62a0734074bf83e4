/*
 * diff.c - vinectl diff [--deep]: nodes grouped by what they have applied.
 */
#include "diff.h"

#include "table.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define ROUNDS   5
#define PAUSE_MS 200

/* The same digest, and where it was asked for the same live sets. */
static bool is_same_state(const struct answer *a, const struct answer *b)
{
    return strcmp(text_of(a->json, "digest"), text_of(b->json, "digest")) == 0 &&
           strcmp(text_of(a->json, "deep"), text_of(b->json, "deep")) == 0;
}

static size_t count_groups(const struct answers *answers)
{
    size_t groups = 0;
    for (size_t i = 0; i < answers->count; i++) {
        bool is_new = answers->items[i].json != NULL;
        for (size_t before = 0; is_new && before < i; before++) {
            is_new = answers->items[before].json == NULL ||
                     !is_same_state(&answers->items[i], &answers->items[before]);
        }
        groups += is_new;
    }
    return groups;
}

bool diff_ask(const struct context *context, struct answers *answers, size_t *groups,
              enum outcome *outcome)
{
    const char *path = context->deep ? "/grapevine/v1/digest?deep=1" : "/grapevine/v1/digest";
    for (int round = 1;; round++) {
        if (!ask_all(context, path, gv_slice_of(NULL, 0), answers, outcome)) {
            return false;
        }
        *groups = count_groups(answers);
        if (*groups <= 1 || round == ROUNDS) {
            return true;
        }
        answers_deinit(answers);
        const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000L};
        nanosleep(&pause, NULL);
    }
}

static json_t *as_json(const struct answers *answers, size_t groups)
{
    json_t *list = json_array();
    for (size_t i = 0; i < answers->count; i++) {
        const struct answer *answer = &answers->items[i];
        json_t *item = json_pack("{s:s, s:s}", "node", answer->node, "status", answer->status);
        json_object_set(item, "digest",
                        answer->json != NULL ? json_object_get(answer->json, "digest") : NULL);
        if (json_object_get(answer->json, "deep") != NULL) {
            json_object_set(item, "deep", json_object_get(answer->json, "deep"));
        }
        json_array_append_new(list, item);
    }
    return json_pack("{s:b, s:i, s:o}", "agree", groups == 1, "groups", (int)groups, "nodes", list);
}

enum outcome diff_command(const struct context *context)
{
    struct answers answers;
    size_t groups = 0;
    enum outcome outcome = OUTCOME_OK;
    if (!diff_ask(context, &answers, &groups, &outcome)) {
        return outcome;
    }
    if (context->json) {
        print_json(as_json(&answers, groups));
    } else {
        static const char *const names[] = {"NODE", "STATUS", "DIGEST", "TRIES", NULL};
        struct table table;
        table_init(&table, names);
        for (size_t i = 0; i < answers.count; i++) {
            table_text(&table, answers.items[i].node);
            table_text(&table, answers.items[i].status);
            table_text(&table, text_of(answers.items[i].json, "digest"));
            table_text(&table, text_of(answers.items[i].json, "deep"));
        }
        table_print(&table, context->headers);
        table_deinit(&table);
        if (groups != 1) {
            printf("DEGRADED: %zu nodes hold %zu different states\n", answers.answered, groups);
        } else {
            printf("%s: all %zu nodes that answered hold the same state", verdict_word(&answers),
                   answers.answered);
            printf(answers.silent > 0 ? ", %zu did not answer\n" : "\n", answers.silent);
        }
    }
    outcome = groups != 1 ? OUTCOME_DEGRADED : answers.silent > 0 ? OUTCOME_PARTIAL : OUTCOME_OK;
    answers_deinit(&answers);
    return outcome;
}
