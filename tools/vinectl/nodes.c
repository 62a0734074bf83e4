/*
 * nodes.c - vinectl nodes: the members, as the node asked sees them; with -o wide also what the
 * others think of each.
 */
#include "ask.h"
#include "table.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* "2 of 2 alive", or who of the others says what: "1 of 2 alive; node-c: dead". */
static void opinion_of_others(const struct answers *others, const char *name, char *text,
                              size_t size)
{
    size_t asked = 0;
    size_t alive = 0;
    char doubts[160] = "";
    for (size_t i = 0; i < others->count; i++) {
        const json_t *nodes = json_object_get(others->items[i].json, "nodes");
        const char *says = "unknown";
        size_t at;
        json_t *node;
        if (nodes == NULL || strcmp(others->items[i].node, name) == 0) {
            continue;
        }
        json_array_foreach(nodes, at, node)
        {
            if (strcmp(text_of(node, "name"), name) == 0) {
                says = text_of(node, "status");
            }
        }
        asked += 1;
        alive += strcmp(says, "alive") == 0;
        size_t len = strlen(doubts);
        if (strcmp(says, "alive") != 0) {
            snprintf(doubts + len, sizeof doubts - len, "; %s: %s", others->items[i].node, says);
        }
    }
    snprintf(text, size, "%zu of %zu alive%s", alive, asked, doubts);
}

static void add_wide(struct table *table, const json_t *node, const struct answers *others)
{
    char text[220];
    bool self = flag_of(node, "self");
    const json_t *age = json_object_get(node, "last_contact_age_ms");
    snprintf(text, sizeof text, "%.1f s", (double)json_integer_value(age) / 1000);
    table_text(table, self || age == NULL ? "-" : text);
    table_number(table, number_of(node, "applied"));
    table_number(table, number_of(node, "missing"));
    const json_t *offset = json_object_get(node, "clock_offset_ms");
    snprintf(text, sizeof text, "%+.1f s", (double)json_integer_value(offset) / 1000);
    table_text(table, self || offset == NULL ? "-" : text);
    snprintf(text, sizeof text, "%016" PRIx64, number_of(node, "boot_id"));
    table_text(table, text);
    opinion_of_others(others, text_of(node, "name"), text, sizeof text);
    table_text(table, text);
}

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

struct tally {
    size_t expected;  /* that have not left */
    size_t alive;     /* of them */
    size_t connected; /* of those, in session; the node asked counts */
    size_t off;       /* with a clock that is wrong */
};

/* Up to so many nodes each has a session with each; beyond 32, and on the way back down to this, a
 * node may be well without one. */
#define ALL_IN_SESSION 24

static void print_verdict(const json_t *json, const struct tally *tally, bool is_good)
{
    const char *word = is_good ? "healthy" : "DEGRADED";
    if (tally->expected <= ALL_IN_SESSION) {
        printf("%s: %zu of %zu nodes alive and connected, seen from %s", word, tally->connected,
               tally->expected, text_of(json, "node"));
    } else {
        printf("%s: %zu of %zu nodes alive, %zu in session with %s", word, tally->alive,
               tally->expected, tally->connected - 1, text_of(json, "node"));
    }
    printf(tally->off > 0 ? "; %zu with another time\n" : "\n", tally->off);
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
    static const char *const wide_names[] = {"NODE",   "STATUS",        "READY",      "SESSION",
                                             "#RTT",   "#INCARNATION",  "VERSION",    "MESH",
                                             "HTTP",   "#LAST-CONTACT", "#APPLIED",   "#MISSING",
                                             "#CLOCK", "BOOT",          "OTHERS SAY", NULL};
    struct table table;
    struct answers others = {.items = NULL};
    if (context->wide &&
        !ask_all(context, "/grapevine/v1/nodes", gv_slice_of(NULL, 0), &others, &outcome)) {
        json_decref(json);
        return outcome;
    }
    table_init(&table, context->wide ? wide_names : names);
    struct tally tally = {.expected = 0};
    size_t at;
    json_t *node;
    json_array_foreach(json_object_get(json, "nodes"), at, node)
    {
        add_row(&table, node);
        if (context->wide) {
            add_wide(&table, node, &others);
        }
        bool is_alive = strcmp(text_of(node, "status"), "alive") == 0;
        tally.expected += strcmp(text_of(node, "status"), "left") != 0;
        tally.off += flag_of(node, "clock_off");
        tally.alive += is_alive;
        tally.connected += is_alive && (flag_of(node, "self") || flag_of(node, "connected"));
    }
    size_t well = tally.expected <= ALL_IN_SESSION ? tally.connected : tally.alive;
    bool is_good = well == tally.expected && tally.off == 0;
    if (context->json) {
        print_json(json_incref(json));
    } else {
        table_print(&table, context->headers);
        print_verdict(json, &tally, is_good);
    }
    answers_deinit(&others);
    table_deinit(&table);
    json_decref(json);
    return is_good ? OUTCOME_OK : OUTCOME_DEGRADED;
}
