/*
 * workers.c - vinectl workers: which engines there are, how they are, what they hold.
 */
#include "ask.h"
#include "table.h"

#include <stdio.h>
#include <string.h>

enum outcome workers_command(const struct context *context)
{
    enum outcome outcome = OUTCOME_OK;
    json_t *json = ask_one(context, "/grapevine/v1/workers", gv_slice_of(NULL, 0), &outcome);
    if (json == NULL) {
        return outcome;
    }
    static const char *const names[] = {"WORKER",  "POOL",    "MODEL",  "STATE",  "#IN-FLIGHT",
                                        "#QUEUED", "#BLOCKS", "SOURCE", "REASON", NULL};
    struct table table;
    table_init(&table, names);
    size_t ready = 0;
    size_t total = 0;
    size_t at;
    json_t *worker;
    json_array_foreach(json_object_get(json, "workers"), at, worker)
    {
        table_text(&table, text_of(worker, "url"));
        table_text(&table, text_of(worker, "worker_type"));
        table_text(&table, text_of(worker, "model_id"));
        table_text(&table, text_of(worker, "status"));
        table_number(&table, number_of(worker, "in_flight"));
        table_bytes(&table, number_of(worker, "queued_bytes"));
        table_number(&table, number_of(worker, "blocks"));
        table_text(&table, text_of(worker, "source"));
        table_text(&table, text_of(worker, "reason"));
        ready += strcmp(text_of(worker, "status"), "ready") == 0;
        total += 1;
    }
    bool good = total > 0 && ready == total;
    if (context->json) {
        print_json(json_incref(json));
    } else {
        table_print(&table, context->headers);
        printf("%s: %zu of %zu workers ready, seen from %s%s\n", good ? "healthy" : "DEGRADED",
               ready, total, text_of(json, "node"),
               total == 0
                   ? "; add one: curl -X POST -d '{\"url\":\"http://HOST:PORT\"}' .../workers"
                   : "");
    }
    table_deinit(&table);
    json_decref(json);
    return good ? OUTCOME_OK : OUTCOME_DEGRADED;
}
