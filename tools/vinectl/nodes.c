/*
 * nodes.c - vinectl nodes: the members, as the node asked sees them.
 */
#include "ask.h"
#include "table.h"

#include <stdio.h>
#include <string.h>

static void add_row(struct table *table, const json_t *node)
{
    bool self = flag_of(node, "self");
    char name[80];
    char rtt[32] = "-";
    snprintf(name, sizeof name, "%s%s", text_of(node, "name"), self ? " *" : "");
    if (number_of(node, "rtt_us") > 0) {
        snprintf(rtt, sizeof rtt, "%.1f ms", (double)number_of(node, "rtt_us") / 1000);
    }
    table_text(table, name);
    table_text(table, text_of(node, "status"));
    table_text(table, flag_of(node, "ready") ? "yes" : "no");
    table_text(table, self ? "-" : flag_of(node, "connected") ? "open" : "none");
    table_text(table, self ? "-" : rtt);
    table_number(table, number_of(node, "incarnation"));
    table_text(table, text_of(node, "version"));
    table_text(table, text_of(node, "address"));
    table_text(table, text_of(node, "http_url"));
}

enum outcome nodes_command(const struct context *context)
{
    enum outcome outcome = OUTCOME_OK;
    json_t *json = ask_one(context, "/grapevine/v1/nodes", gv_slice_of(NULL, 0), &outcome);
    if (json == NULL) {
        return outcome;
    }
    static const char *const names[] = {"NODE",         "STATUS",  "READY", "SESSION", "#RTT",
                                        "#INCARNATION", "VERSION", "MESH",  "HTTP",    NULL};
    struct table table;
    table_init(&table, names);
    size_t alive = 0;
    size_t expected = 0;
    size_t at;
    json_t *node;
    json_array_foreach(json_object_get(json, "nodes"), at, node)
    {
        add_row(&table, node);
        bool left = strcmp(text_of(node, "status"), "left") == 0;
        expected += left ? 0 : 1;
        alive += strcmp(text_of(node, "status"), "alive") == 0 &&
                 (flag_of(node, "self") || flag_of(node, "connected"));
    }
    if (context->json) {
        print_json(json_incref(json));
    } else {
        table_print(&table, context->headers);
        printf("%s: %zu of %zu nodes alive and connected, seen from %s\n",
               alive == expected ? "healthy" : "DEGRADED", alive, expected, text_of(json, "node"));
    }
    table_deinit(&table);
    json_decref(json);
    return alive == expected ? OUTCOME_OK : OUTCOME_DEGRADED;
}
