/*
 * tree.c - vinectl tree: the tries by key, and which worker holds how much. No prompt is ever
 * shown: nodes keep none.
 */
#include "ask.h"
#include "table.h"

#include <inttypes.h>
#include <stdio.h>

static void add_tree(struct table *table, const json_t *tree, uint64_t block_bytes)
{
    table_text(table, text_of(tree, "key"));
    table_text(table, "(all)");
    table_number(table, number_of(tree, "blocks"));
    table_bytes(table, number_of(tree, "blocks") * block_bytes);
    table_bytes(table, number_of(tree, "bytes"));
    size_t at;
    json_t *worker;
    json_array_foreach(json_object_get(tree, "workers"), at, worker)
    {
        table_text(table, text_of(tree, "key"));
        table_text(table, text_of(worker, "worker"));
        table_number(table, number_of(worker, "blocks"));
        table_bytes(table, number_of(worker, "blocks") * block_bytes);
        table_text(table, "");
    }
}

enum outcome tree_command(const struct context *context)
{
    enum outcome outcome = OUTCOME_OK;
    json_t *json = ask_one(context, "/grapevine/v1/trees", gv_slice_of(NULL, 0), &outcome);
    if (json == NULL) {
        return outcome;
    }
    static const char *const names[] = {"KEY", "WORKER", "#BLOCKS", "#PROMPT", "#MEMORY", NULL};
    struct table table;
    table_init(&table, names);
    uint64_t block_bytes = number_of(json, "block_bytes");
    const json_t *trees = json_object_get(json, "trees");
    size_t at;
    json_t *tree;
    json_array_foreach(trees, at, tree)
    {
        add_tree(&table, tree, block_bytes);
    }
    if (context->json) {
        print_json(json_incref(json));
    } else {
        const json_t *forest = json_object_get(json, "forest");
        table_print(&table, context->headers);
        printf("healthy: %zu tries, %" PRIu64 " blocks of %" PRIu64 " bytes, %" PRIu64
               " entries, on %s\n",
               json_array_size(trees), number_of(forest, "blocks"), block_bytes,
               number_of(forest, "entries"), text_of(json, "node"));
    }
    table_deinit(&table);
    json_decref(json);
    return OUTCOME_OK;
}
