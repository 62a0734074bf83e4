/*
 * status.c - vinectl status: the whole cluster on one screen, and a verdict.
 */
#include "diff.h"
#include "table.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct summary {
    size_t nodes;  /* that should be there */
    size_t ready;  /* of them, taking requests */
    size_t gone;   /* dead or suspect */
    size_t silent; /* alive, but did not answer */
    size_t groups; /* different states */
    uint64_t workers;
    uint64_t workers_ready;
    uint64_t in_flight;
    char clocks[120]; /* "node-b +86400 s, ...": whose clock most others find wrong */
    char alarms[120]; /* "node-a: queue_overflowed, ..." */
};

static void add_node(struct table *table, const struct answer *answer, struct summary *summary)
{
    const json_t *json = answer->json;
    const json_t *forest = json_object_get(json, "forest");
    bool ready = flag_of(json, "ready");
    bool left = strcmp(answer->status, "left") == 0;
    summary->nodes += left ? 0 : 1;
    summary->gone += !left && strcmp(answer->status, "alive") != 0;
    summary->ready += ready;
    summary->in_flight += number_of(json, "in_flight");
    table_text(table, answer->node);
    table_text(table, answer->status);
    table_text(table, json == NULL ? "?" : ready ? "yes" : "no");
    if (json == NULL) {
        for (int i = 0; i < 5; i++) {
            table_text(table, "");
        }
        table_text(table, answer->url);
        return;
    }
    char digest[16];
    const char *whole = text_of(json_object_get(json, "mesh"), "digest");
    size_t len = strlen(whole); /* its halves are of operations, and of records and floors */
    snprintf(digest, sizeof digest, "%.5s..%s", whole, whole + (len < 5 ? 0 : len - 5));
    table_age(table, number_of(json, "uptime_s"));
    table_number(table, number_of(json, "in_flight"));
    table_number(table, number_of(forest, "entries"));
    table_bytes(table, number_of(forest, "bytes"));
    table_text(table, digest);
    table_text(table, ready ? text_of(json, "http_url") : text_of(json, "reason"));
}

static void add_pools(const json_t *workers, struct table *table, struct summary *summary)
{
    const char *pool;
    json_t *counts;
    json_object_foreach((json_t *)(uintptr_t)workers, pool, counts)
    {
        uint64_t total = number_of(counts, "total");
        if (total == 0) {
            continue;
        }
        table_text(table, pool);
        table_number(table, total);
        table_number(table, number_of(counts, "ready"));
        summary->workers += total;
        summary->workers_ready += number_of(counts, "ready");
    }
}

static void append(char *text, size_t size, const char *more)
{
    size_t len = strlen(text);
    snprintf(text + len, size - len, "%s%s", len == 0 ? "" : ", ", more);
}

/* Whose clock do most of the others find wrong, and by how much? */
static void note_clocks(const struct answers *answers, struct summary *summary)
{
    for (size_t i = 0; i < answers->count; i++) {
        size_t asked = 0;
        size_t off = 0;
        json_int_t offset_ms = 0;
        for (size_t j = 0; j < answers->count; j++) {
            size_t at;
            json_t *member;
            json_array_foreach(json_object_get(answers->items[j].json, "members"), at, member)
            {
                const json_t *offset = json_object_get(member, "clock_offset_ms");
                if (offset != NULL &&
                    strcmp(text_of(member, "name"), answers->items[i].node) == 0) {
                    asked += 1;
                    off += flag_of(member, "clock_off");
                    offset_ms =
                        flag_of(member, "clock_off") ? json_integer_value(offset) : offset_ms;
                }
            }
        }
        if (off > 0 && 2 * off > asked) {
            char text[100];
            snprintf(text, sizeof text, "%s by %+.0f s", answers->items[i].node,
                     (double)offset_ms / 1000);
            append(summary->clocks, sizeof summary->clocks, text);
        }
    }
}

static void note_alarms(const struct answers *answers, struct summary *summary)
{
    for (size_t i = 0; i < answers->count; i++) {
        const json_t *mesh = json_object_get(answers->items[i].json, "mesh");
        size_t at;
        json_t *alarm;
        json_array_foreach(json_object_get(mesh, "alarms"), at, alarm)
        {
            char text[100];
            snprintf(text, sizeof text, "%s: %s", answers->items[i].node, text_of(alarm, "alarm"));
            append(summary->alarms, sizeof summary->alarms, text);
        }
    }
}

/* What is wrong, in the order in which one would mend it; "" when nothing is. */
static const char *complaint(const struct summary *summary, char text[200])
{
    text[0] = '\0';
    if (summary->gone > 0) {
        snprintf(text, 200, "%zu of %zu nodes are not alive; look at `vinectl nodes`",
                 summary->gone, summary->nodes);
    } else if (summary->silent > 0) {
        snprintf(text, 200, "%zu of %zu nodes did not answer", summary->silent, summary->nodes);
    } else if (summary->clocks[0] != '\0') {
        snprintf(text, 200, "the clock is wrong: %s; set it right, see `vinectl nodes -o wide`",
                 summary->clocks);
    } else if (summary->groups != 1) {
        snprintf(text, 200, "nodes hold %zu different states; look at `vinectl diff`",
                 summary->groups);
    } else if (summary->workers_ready < summary->workers || summary->workers == 0) {
        snprintf(text, 200,
                 "%" PRIu64 " of %" PRIu64 " workers are ready; look at `vinectl workers`",
                 summary->workers_ready, summary->workers);
    } else if (summary->ready < summary->nodes) {
        snprintf(text, 200, "%zu of %zu nodes are ready", summary->ready, summary->nodes);
    }
    /* Other alarms tell of what is counted and mended: shown, and no reason to be degraded. */
    return text;
}

static void print_tables(const struct context *context, const struct answers *answers,
                         const json_t *workers, struct summary *summary)
{
    static const char *const node_names[] = {"NODE",     "STATUS", "READY",  "#UP",  "#IN-FLIGHT",
                                             "#ENTRIES", "#TRIES", "DIGEST", "HTTP", NULL};
    static const char *const pool_names[] = {"POOL", "#WORKERS", "#READY", NULL};
    struct table nodes;
    struct table pools;
    table_init(&nodes, node_names);
    table_init(&pools, pool_names);
    for (size_t i = 0; i < answers->count; i++) {
        add_node(&nodes, &answers->items[i], summary);
    }
    add_pools(workers, &pools, summary);
    if (!context->json) {
        table_print(&nodes, context->headers);
        putchar('\n');
        table_print(&pools, context->headers);
        putchar('\n');
    }
    table_deinit(&nodes);
    table_deinit(&pools);
}

static void print_status_json(const struct answers *answers, const struct summary *summary,
                              const char *wrong)
{
    json_t *nodes = json_array();
    for (size_t i = 0; i < answers->count; i++) {
        json_t *item = json_pack("{s:s, s:s}", "node", answers->items[i].node, "status",
                                 answers->items[i].status);
        json_object_set(item, "answer", answers->items[i].json);
        json_array_append_new(nodes, item);
    }
    print_json(json_pack("{s:b, s:s, s:b, s:o}", "healthy", wrong[0] == '\0', "complaint", wrong,
                         "agree", summary->groups == 1, "nodes", nodes));
}

enum outcome status_command(const struct context *context)
{
    struct answers digests;
    struct answers answers;
    struct summary summary = {.groups = 0};
    enum outcome outcome = OUTCOME_OK;
    if (!diff_ask(context, &digests, &summary.groups, &outcome)) {
        return outcome;
    }
    answers_deinit(&digests);
    if (!ask_all(context, "/grapevine/v1/status", gv_slice_of(NULL, 0), &answers, &outcome)) {
        return outcome;
    }
    json_t *own = ask_one(context, "/grapevine/v1/status", gv_slice_of(NULL, 0), &outcome);
    summary.silent = answers.silent;
    note_clocks(&answers, &summary);
    note_alarms(&answers, &summary);
    print_tables(context, &answers, json_object_get(own, "workers"), &summary);
    char text[200];
    const char *wrong = complaint(&summary, text);
    if (!context->json && summary.alarms[0] != '\0') {
        printf("alarms: %s\n", summary.alarms);
    }
    if (context->json) {
        print_status_json(&answers, &summary, wrong);
    } else if (wrong[0] == '\0') {
        printf("healthy: %zu nodes of cluster %s agree, %" PRIu64 " of %" PRIu64
               " workers ready, %" PRIu64 " requests in flight\n",
               summary.nodes, text_of(own, "cluster_id"), summary.workers_ready, summary.workers,
               summary.in_flight);
    } else {
        printf("DEGRADED: %s\n", wrong);
    }
    outcome = wrong[0] == '\0'                          ? OUTCOME_OK
              : summary.gone == 0 && summary.silent > 0 ? OUTCOME_PARTIAL
                                                        : OUTCOME_DEGRADED;
    json_decref(own);
    answers_deinit(&answers);
    return outcome;
}
