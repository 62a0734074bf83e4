/*
 * workers.c - vinectl workers: which engines there are, how they are, what they hold; with -o wide
 * also what each engine said of its load when it was asked last.
 */
#include "ask.h"
#include "table.h"

#include <stdio.h>
#include <string.h>

/* Kind, tokens it can hold, and "3 running, 1 waiting, 2 foreign, 45 % of tokens" with its age. */
static void add_wide(struct table *table, const json_t *worker)
{
    char text[160] = "-";
    char age[48] = "-";
    const json_t *engine = json_object_get(worker, "engine");
    const json_t *usage = json_object_get(engine, "token_usage");
    if (engine != NULL) {
        int len = snprintf(text, sizeof text, "%llu running, %llu waiting, %llu foreign",
                           (unsigned long long)number_of(engine, "running"),
                           (unsigned long long)number_of(engine, "waiting"),
                           (unsigned long long)number_of(engine, "foreign"));
        if (usage != NULL && len > 0 && (size_t)len < sizeof text) {
            snprintf(text + len, sizeof text - (size_t)len, ", %.1f %% of tokens",
                     100 * json_number_value(usage));
        }
        snprintf(age, sizeof age, "%.1f s%s", (double)number_of(engine, "age_ms") / 1000,
                 flag_of(engine, "stale") ? ", ignored" : "");
    }
    table_text(table, text_of(worker, "runtime_type"));
    table_number(table, number_of(worker, "capacity_tokens"));
    table_text(table, text);
    table_text(table, age);
    table_bytes(table, number_of(worker, "prefill_bytes_per_s"));
}

/* What its engine has cached of what it says it can: "as told", "35 % of it", "off". */
static void add_cache(struct table *table, const json_t *worker)
{
    char text[32] = "as told";
    double trust = json_number_value(json_object_get(worker, "trust"));
    if (json_is_false(json_object_get(worker, "prefix_caching"))) {
        snprintf(text, sizeof text, "off");
    } else if (json_object_get(worker, "trust") != NULL && trust < 1) {
        snprintf(text, sizeof text, "%.0f %% of told", 100 * trust);
    }
    table_text(table, text);
}

enum outcome workers_command(const struct context *context)
{
    enum outcome outcome = OUTCOME_OK;
    json_t *json = ask_one(context, "/grapevine/v1/workers", gv_slice_of(NULL, 0), &outcome);
    if (json == NULL) {
        return outcome;
    }
    static const char *const names[] = {"WORKER",     "POOL",    "MODEL",   "STATE",
                                        "#IN-FLIGHT", "#QUEUED", "#BLOCKS", "CACHE",
                                        "SOURCE",     "REASON",  NULL};
    static const char *const wide_names[] = {
        "WORKER",      "POOL",  "MODEL",      "STATE",  "#IN-FLIGHT", "#QUEUED",
        "#BLOCKS",     "CACHE", "SOURCE",     "REASON", "ENGINE",     "#CAPACITY-TOKENS",
        "ENGINE-LOAD", "SAID",  "#PREFILL/S", NULL};
    struct table table;
    table_init(&table, context->wide ? wide_names : names);
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
        add_cache(&table, worker);
        table_text(&table, text_of(worker, "source"));
        table_text(&table, text_of(worker, "reason"));
        if (context->wide) {
            add_wide(&table, worker);
        }
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
