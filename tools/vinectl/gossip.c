/*
 * gossip.c - vinectl gossip: what the mesh is doing, node by node; with -o wide also every kind of
 * repair, refusal and drop.
 *
 * Rates come from asking twice, a second apart; what is rare is counted since each node's start.
 * A clock's offset is taken against the middle one of all nodes' clocks, as told within the same
 * second: good to the time that an answer takes.
 */
#include "ask.h"
#include "table.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define INTERVAL_MS    1000
#define CLOCK_BOUND_MS 30000 /* stamps are refused from 60 s on */

/* What is asked of one node at two moments. */
struct sample {
    const struct answer *first;
    const struct answer *second;
};

struct trouble {
    size_t clocks;   /* nodes whose clock is far off */
    size_t refusing; /* nodes that refused stamps in the last second */
    size_t losing;   /* nodes whose queues overflowed in the last second */
};

static uint64_t counter(const struct answer *answer, const char *name)
{
    return number_of(json_object_get(answer->json, "counters"), name);
}

static double rate(const struct sample *sample, const char *name)
{
    uint64_t before = counter(sample->first, name);
    uint64_t after = counter(sample->second, name);
    uint64_t from_ms = number_of(sample->first->json, "wall_ms");
    uint64_t to_ms = number_of(sample->second->json, "wall_ms");
    return after < before || to_ms <= from_ms
               ? 0
               : (double)(after - before) * 1000 / (double)(to_ms - from_ms);
}

static bool has_grown(const struct sample *sample, const char *name)
{
    return counter(sample->second, name) > counter(sample->first, name);
}

static uint64_t queued_bytes(const struct answer *answer)
{
    uint64_t sum = 0;
    size_t at;
    json_t *session;
    json_array_foreach(json_object_get(answer->json, "sessions"), at, session)
    {
        sum += number_of(session, "queued_bytes");
    }
    return sum;
}

static int by_value(const void *a, const void *b)
{
    const uint64_t *left = a;
    const uint64_t *right = b;
    return *left < *right ? -1 : *left > *right;
}

/* The middle one of the clocks of those that answered; 0: nobody tells. */
static uint64_t middle_clock(const struct answers *answers)
{
    uint64_t *clocks = calloc(answers->count + 1, sizeof *clocks);
    size_t count = 0;
    for (size_t i = 0; clocks != NULL && i < answers->count; i++) {
        uint64_t wall_ms = number_of(answers->items[i].json, "wall_ms");
        if (wall_ms > 0) {
            clocks[count++] = wall_ms;
        }
    }
    qsort(clocks, count, sizeof *clocks, by_value);
    uint64_t middle = count == 0 ? 0 : clocks[count / 2];
    free(clocks);
    return middle;
}

static double offset_ms(const struct answer *answer, uint64_t middle_ms)
{
    uint64_t wall_ms = number_of(answer->json, "wall_ms");
    return wall_ms == 0 ? 0 : (double)wall_ms - (double)middle_ms;
}

static void table_rate(struct table *table, double value)
{
    char text[32];
    snprintf(text, sizeof text, value < 10 ? "%.1f" : "%.0f", value);
    table_text(table, text);
}

/* Columns of -o wide: sums of what was counted since the node's start. */
struct tally {
    const char *column;
    const char *counters[6];
};

static const struct tally tallies[] = {
    {"#RANGES", {"ranges_sent"}},
    {"#SNAPSHOTS", {"snapshots_sent", "snapshots_received"}},
    {"#COMPARED", {"comparisons"}},
    {"#MENDED", {"operations_mended"}},
    {"#DOUBTS", {"suspicions"}},
    {"#REFUTED", {"refutations"}},
    {"#DEATHS", {"deaths"}},
    {"#NO-ROOM", {"apply_refused", "loads_dropped", "records_refused"}},
    {"#NONSENSE", {"malformed", "frames_broken", "sessions_silent"}},
    {"#FORGED", {"forged", "packets_unsealed", "packets_replayed"}},
    {"#REFUSED-PEERS",
     {"refused_cluster", "refused_block", "refused_protocol", "refused_key", "refused_handshake"}},
};
#define TALLY_COUNT (sizeof tallies / sizeof tallies[0])

static void add_tallies(struct table *table, const struct answer *answer)
{
    for (size_t i = 0; i < TALLY_COUNT; i++) {
        uint64_t sum = 0;
        for (size_t j = 0; j < 6 && tallies[i].counters[j] != NULL; j++) {
            sum += counter(answer, tallies[i].counters[j]);
        }
        table_number(table, sum);
    }
}

/* What each node finds worth looking at, with what it means. */
static void print_alarms(const struct answers *answers)
{
    for (size_t i = 0; i < answers->count; i++) {
        const json_t *mesh = json_object_get(answers->items[i].json, "mesh");
        size_t at;
        json_t *alarm;
        json_array_foreach(json_object_get(mesh, "alarms"), at, alarm)
        {
            printf("alarm on %s: %s: %s\n", answers->items[i].node, text_of(alarm, "alarm"),
                   text_of(alarm, "meaning"));
        }
    }
}

static void add_row(struct table *table, const struct sample *sample, uint64_t middle_ms, bool wide)
{
    const struct answer *now = sample->second;
    table_text(table, now->node);
    if (now->json == NULL || sample->first->json == NULL) {
        for (size_t i = 1; i < table->columns; i++) {
            table_text(table, "?");
        }
        return;
    }
    table_rate(table, rate(sample, "operations_published"));
    table_rate(table, rate(sample, "operations_applied"));
    table_rate(table, rate(sample, "operations_duplicate"));
    table_rate(table, (rate(sample, "bytes_sent") + rate(sample, "packet_bytes_sent")) / 1024);
    table_rate(table,
               (rate(sample, "bytes_received") + rate(sample, "packet_bytes_received")) / 1024);
    table_rate(table, rate(sample, "packets_sent"));
    table_bytes(table, queued_bytes(now));
    table_number(table, counter(now, "queue_overflows") + counter(now, "publish_dropped"));
    table_number(table, counter(now, "repairs"));
    table_number(table, counter(now, "refused_stamps"));
    char text[32];
    snprintf(text, sizeof text, "%+.1f s", offset_ms(now, middle_ms) / 1000);
    table_text(table, text);
    if (wide) {
        add_tallies(table, now);
    }
}

static json_t *row_json(const struct sample *sample, uint64_t middle_ms)
{
    const struct answer *now = sample->second;
    json_t *json = json_pack("{s:s, s:s, s:b}", "node", now->node, "status", now->status,
                             "answered", now->json != NULL);
    if (now->json == NULL || sample->first->json == NULL || json == NULL) {
        return json;
    }
    static const char *const rates[] = {"operations_published", "operations_applied",
                                        "operations_duplicate", "bytes_sent",
                                        "bytes_received",       "packets_sent",
                                        "packet_bytes_sent",    "packet_bytes_received"};
    json_t *per_second = json_object();
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        json_object_set_new(per_second, rates[i], json_real(rate(sample, rates[i])));
    }
    json_object_set_new(json, "per_second", per_second);
    json_object_set_new(json, "queued_bytes", json_integer((json_int_t)queued_bytes(now)));
    json_object_set_new(json, "clock_offset_ms", json_real(offset_ms(now, middle_ms)));
    json_object_set(json, "sessions", json_object_get(now->json, "sessions"));
    json_object_set(json, "counters", json_object_get(now->json, "counters"));
    return json;
}

static void judge(const struct sample *sample, uint64_t middle_ms, struct trouble *trouble)
{
    if (sample->first->json == NULL || sample->second->json == NULL) {
        return;
    }
    trouble->clocks += fabs(offset_ms(sample->second, middle_ms)) >= CLOCK_BOUND_MS;
    trouble->refusing += has_grown(sample, "refused_stamps");
    trouble->losing += has_grown(sample, "queue_overflows") || has_grown(sample, "publish_dropped");
}

static enum outcome print_verdict(const struct answers *answers, const struct trouble *trouble,
                                  bool json)
{
    bool good = trouble->clocks == 0 && trouble->refusing == 0 && trouble->losing == 0;
    if (!json && good) {
        printf("%s: %zu nodes answered; clocks within %d s, no queue overflowed in the last "
               "second\n",
               verdict_word(answers), answers->answered, CLOCK_BOUND_MS / 1000);
    } else if (!json) {
        printf("DEGRADED: %zu nodes with a clock more than %d s off, %zu refused stamps in the "
               "last second, %zu had a queue overflow\n",
               trouble->clocks, CLOCK_BOUND_MS / 1000, trouble->refusing, trouble->losing);
    }
    return !good ? OUTCOME_DEGRADED : answers->silent > 0 ? OUTCOME_PARTIAL : OUTCOME_OK;
}

static const struct answer *find(const struct answers *answers, const char *node)
{
    static const struct answer none = {.json = NULL};
    for (size_t i = 0; i < answers->count; i++) {
        if (strcmp(answers->items[i].node, node) == 0) {
            return &answers->items[i];
        }
    }
    return &none;
}

static enum outcome compare(const struct context *context, const struct answers *before,
                            const struct answers *after)
{
    static const char *const narrow[] = {"NODE",       "#OPS-OUT/s", "#OPS-IN/s",  "#DUP/s",
                                         "#KiB-OUT/s", "#KiB-IN/s",  "#PACKETS/s", "#QUEUED",
                                         "#OVERFLOWS", "#REPAIRS",   "#REFUSED",   "#CLOCK"};
    enum {
        NARROW = sizeof narrow / sizeof narrow[0]
    };
    const char *names[NARROW + TALLY_COUNT + 1] = {NULL};
    memcpy(names, narrow, sizeof narrow);
    for (size_t i = 0; context->wide && i < TALLY_COUNT; i++) {
        names[NARROW + i] = tallies[i].column;
    }
    struct table table;
    struct trouble trouble = {.clocks = 0};
    uint64_t middle_ms = middle_clock(after);
    json_t *list = json_array();
    table_init(&table, names);
    for (size_t i = 0; i < after->count; i++) {
        const struct answer *now = &after->items[i];
        struct sample sample = {.first = find(before, now->node), .second = now};
        if (strcmp(now->status, "alive") != 0 && now->json == NULL) {
            continue;
        }
        add_row(&table, &sample, middle_ms, context->wide);
        json_array_append_new(list, row_json(&sample, middle_ms));
        judge(&sample, middle_ms, &trouble);
    }
    if (context->json) {
        print_json(json_pack("{s:o}", "nodes", list));
    } else {
        table_print(&table, context->headers);
        print_alarms(after);
        json_decref(list);
    }
    table_deinit(&table);
    return print_verdict(after, &trouble, context->json);
}

enum outcome gossip_command(const struct context *context)
{
    struct answers before;
    struct answers after;
    struct context quiet = *context;
    enum outcome outcome = OUTCOME_OK;
    quiet.quiet = true; /* who is silent is told once, the second time */
    json_t *own = ask_one(context, "/grapevine/v1/nodes", gv_slice_of(NULL, 0), &outcome);
    if (own == NULL) {
        return outcome;
    }
    json_decref(own);
    if (!ask_all(&quiet, "/grapevine/v1/status", gv_slice_of(NULL, 0), &before, &outcome)) {
        return outcome;
    }
    const struct timespec pause = {.tv_sec = INTERVAL_MS / 1000};
    nanosleep(&pause, NULL);
    if (ask_all(context, "/grapevine/v1/status", gv_slice_of(NULL, 0), &after, &outcome)) {
        outcome = compare(context, &before, &after);
        answers_deinit(&after);
    }
    answers_deinit(&before);
    return outcome;
}
