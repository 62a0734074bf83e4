/*
 * keys.c - vinectl keys: the cluster's secret keys, made and rotated.
 *
 *     generate [FILE]    a new ring with one key, readable by its owner only
 *     list               which keys each node has, and which it uses
 *     install NEW --mesh-keyring PRESENT
 *                        give the active key of the ring NEW to all nodes; it travels sealed under
 *                        the active key of the ring PRESENT, which every node has already
 *     use ID             all nodes seal with it from now on
 *     retire ID          all nodes forget it
 *
 * Each step is taken only when the one before it is done on all nodes.
 */
#include "ask.h"
#include "grapevine/seal/keyring.h"
#include "table.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PATH     "/grapevine/v1/keys"
#define ROUNDS   20
#define PAUSE_MS 50

/* ---- generate ----------------------------------------------------------------------------------
 */

static enum outcome to_stdout(const struct gv_keyring *ring)
{
    struct gv_buf text;
    gv_buf_init(&text, GV_MEM_GENERAL, GV_KEYRING_FILE_BYTES);
    enum gv_err err = gv_keyring_format(ring, &text);
    if (err == GV_OK) {
        struct gv_slice bytes = gv_buf_slice(&text);
        fwrite(bytes.data, 1, bytes.len, stdout);
    }
    gv_keyring_wipe(&text);
    return err == GV_OK ? OUTCOME_OK : OUTCOME_DEGRADED;
}

static enum outcome to_file(const struct gv_keyring *ring, struct gv_key_id id, const char *path)
{
    if (access(path, F_OK) == 0) {
        fprintf(stderr,
                "vinectl: %s exists; a key ring is never overwritten, choose another name\n", path);
        return OUTCOME_USAGE;
    }
    errno = 0;
    enum gv_err err = gv_keyring_save(ring, path);
    if (err != GV_OK) {
        fprintf(stderr, "vinectl: cannot write %s: %s\n", path,
                errno != 0 ? strerror(errno) : gv_err_text(err));
        return OUTCOME_DEGRADED;
    }
    char text[GV_KEY_ID_TEXT_BYTES];
    printf("key %s written to %s (mode 0600). Copy the file to every node and start each with\n"
           "    --mesh-keyring %s\n",
           gv_key_id_format(id, text), path, path);
    return OUTCOME_OK;
}

static enum outcome generate(const struct context *context)
{
    struct gv_keyring *ring = gv_keyring_new();
    struct gv_key_id id;
    enum outcome outcome = OUTCOME_DEGRADED;
    if (ring == NULL || gv_keyring_generate(ring, &id) != GV_OK) {
        fputs("vinectl: no key could be made: out of memory\n", stderr);
    } else if (context->arg_count == 1) {
        outcome = to_stdout(ring);
    } else {
        outcome = to_file(ring, id, context->args[1]);
    }
    gv_keyring_free(ring);
    return outcome;
}

/* ---- what the nodes have -----------------------------------------------------------------------
 */

static bool has(const struct answer *answer, const char *id)
{
    size_t at;
    const json_t *key;
    json_array_foreach(json_object_get(answer->json, "keys"), at, key)
    {
        if (strcmp(json_string_value(key) == NULL ? "" : json_string_value(key), id) == 0) {
            return true;
        }
    }
    return false;
}

static bool uses(const struct answer *answer, const char *id)
{
    return strcmp(text_of(answer->json, "active"), id) == 0;
}

static bool is_member(const struct answer *answer)
{
    return strcmp(answer->status, "left") != 0;
}

static bool is_dead(const struct answer *answer)
{
    return strcmp(answer->status, "dead") == 0;
}

/* Whoever is down now will be refused when it returns with a ring of before. */
static void warn_of_dead(const struct answers *answers)
{
    size_t left = 0;
    for (size_t i = 0; i < answers->count; i++) {
        if (is_dead(&answers->items[i])) {
            fprintf(stderr,
                    "vinectl: node %s is dead: before it starts again, give it the ring of a node "
                    "that took part\n",
                    answers->items[i].node);
        }
        left += !is_member(&answers->items[i]);
    }
    if (left > 0) {
        fprintf(
            stderr,
            "vinectl: %zu nodes have left: whoever of them starts again needs the ring of a node "
            "that took part\n",
            left);
    }
}

/* How many members answered, and how many did not. A dead one is missed, too. */
static size_t count(const struct answers *answers, bool answered)
{
    size_t sum = 0;
    for (size_t i = 0; i < answers->count; i++) {
        sum += is_member(&answers->items[i]) && (answers->items[i].json != NULL) == answered;
    }
    return sum;
}

/* Ask until the meshes of all nodes use what their rings say. */
static bool ask(const struct context *context, struct answers *answers, enum outcome *outcome)
{
    for (int round = 1;; round++) {
        bool applied = true;
        if (!ask_all(context, PATH, gv_slice_of(NULL, 0), answers, outcome)) {
            return false;
        }
        for (size_t i = 0; i < answers->count; i++) {
            const struct answer *answer = &answers->items[i];
            applied = applied && (answer->json == NULL || flag_of(answer->json, "applied"));
        }
        if (applied || round == ROUNDS) {
            return true;
        }
        answers_deinit(answers);
        const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000L};
        nanosleep(&pause, NULL);
    }
}

/* The same keys, the same one in use, the same fingerprints. */
static bool agree(const struct answers *answers)
{
    const json_t *first = NULL;
    for (size_t i = 0; i < answers->count; i++) {
        const json_t *json = answers->items[i].json;
        if (json == NULL) {
            continue;
        }
        if (first == NULL) {
            first = json;
        }
        bool same = strcmp(text_of(json, "active"), text_of(first, "active")) == 0 &&
                    strcmp(text_of(json, "fingerprint"), text_of(first, "fingerprint")) == 0 &&
                    json_array_size(json_object_get(json, "keys")) ==
                        json_array_size(json_object_get(first, "keys"));
        size_t at;
        const json_t *key;
        json_array_foreach(json_object_get(first, "keys"), at, key)
        {
            same = same && has(&answers->items[i], json_string_value(key));
        }
        if (!same) {
            return false;
        }
    }
    return true;
}

static void print_table(const struct context *context, const struct answers *answers)
{
    static const char *const names[] = {"NODE", "STATUS", "KEY", "USE", "FINGERPRINTS", NULL};
    struct table table;
    table_init(&table, names);
    for (size_t i = 0; i < answers->count; i++) {
        const struct answer *answer = &answers->items[i];
        const json_t *keys = json_object_get(answer->json, "keys");
        size_t rows = json_array_size(keys) == 0 ? 1 : json_array_size(keys);
        for (size_t row = 0; row < rows; row++) {
            const char *id = json_string_value(json_array_get(keys, row));
            table_text(&table, answer->node);
            table_text(&table, answer->status);
            table_text(&table, id);
            table_text(&table, id != NULL && uses(answer, id) ? "active" : "");
            table_text(&table, text_of(answer->json, "fingerprint"));
        }
    }
    table_print(&table, context->headers);
    table_deinit(&table);
}

static json_t *as_json(const struct answers *answers)
{
    json_t *list = json_array();
    for (size_t i = 0; i < answers->count; i++) {
        json_t *item = json_pack("{s:s, s:s}", "node", answers->items[i].node, "status",
                                 answers->items[i].status);
        json_object_update(item, answers->items[i].json);
        json_array_append_new(list, item);
    }
    return json_pack("{s:b, s:o}", "agree", (int)agree(answers), "nodes", list);
}

static enum outcome list(const struct context *context)
{
    struct answers answers;
    enum outcome outcome = OUTCOME_OK;
    if (!ask(context, &answers, &outcome)) {
        return outcome;
    }
    bool same = agree(&answers);
    size_t missed = count(&answers, false);
    outcome = !same ? OUTCOME_DEGRADED : missed > 0 ? OUTCOME_PARTIAL : OUTCOME_OK;
    if (context->json) {
        print_json(as_json(&answers));
    } else {
        print_table(context, &answers);
        printf("%s: %zu nodes %s, %zu did not answer%s\n",
               !same        ? "DEGRADED"
               : missed > 0 ? "PARTIAL"
                            : "healthy",
               count(&answers, true), same ? "have the same keys" : "differ", missed,
               same ? "" : "; end the rotation: keys use and keys retire may be taken again");
    }
    answers_deinit(&answers);
    return outcome;
}

/* ---- the steps ---------------------------------------------------------------------------------
 */

/* Is the cluster fit for a step? All that live answer, and each is `fit` for the key. */
static bool check(const struct answers *answers, const char *id,
                  bool (*fit)(const struct answer *, const char *), const char *wrong,
                  enum outcome *outcome)
{
    for (size_t i = 0; i < answers->count; i++) {
        const struct answer *answer = &answers->items[i];
        if (!is_member(answer) || is_dead(answer)) {
            continue;
        }
        if (answer->json == NULL) {
            fprintf(stderr,
                    "vinectl: node %s (%s) does not answer; bring it back or stop it first\n",
                    answer->node, answer->status);
            *outcome = OUTCOME_PARTIAL;
            return false;
        }
        if (fit != NULL && !fit(answer, id)) {
            fprintf(stderr, "vinectl: node %s %s %s\n", answer->node, wrong, id);
            *outcome = OUTCOME_DEGRADED;
            return false;
        }
    }
    return true;
}

static bool is_idle(const struct answer *answer, const char *id)
{
    return !uses(answer, id);
}

static bool lacks(const struct answer *answer, const char *id)
{
    return !has(answer, id);
}

/* Look, take the step on all nodes, look again: all must be `done`. */
static enum outcome step(const struct context *context, const char *path, json_t *body,
                         const char *id, bool (*done)(const struct answer *, const char *))
{
    char *text = json_dumps(body, JSON_COMPACT);
    struct answers answers;
    enum outcome outcome = OUTCOME_OK;
    json_decref(body);
    if (text == NULL) {
        return OUTCOME_DEGRADED;
    }
    bool asked = ask_all(context, path, gv_slice_text(text), &answers, &outcome);
    free(text);
    if (!asked) {
        return outcome;
    }
    answers_deinit(&answers);
    if (!ask(context, &answers, &outcome)) {
        return outcome;
    }
    bool good = check(&answers, id, done, "is not done with", &outcome);
    if (good) {
        printf("done on all %zu nodes: %s\n", count(&answers, true), id);
    } else {
        fputs("vinectl: take this step again\n", stderr);
    }
    answers_deinit(&answers);
    return good ? OUTCOME_OK : outcome;
}

static struct gv_keyring *load(const char *path)
{
    struct gv_keyring *ring = NULL;
    struct gv_keyring_fault fault;
    if (gv_keyring_load(path, &ring, &fault) != GV_OK) {
        fprintf(stderr, fault.line == 0 ? "vinectl: %s: %s\n" : "vinectl: %s: %s (line %u)\n", path,
                fault.text, fault.line);
        return NULL;
    }
    return ring;
}

static enum outcome install(const struct context *context)
{
    if (context->keyring == NULL) {
        fputs("vinectl: install needs --mesh-keyring with the present ring of the cluster\n",
              stderr);
        return OUTCOME_USAGE;
    }
    struct gv_keyring *fresh = load(context->args[1]);
    struct gv_keyring *present = fresh == NULL ? NULL : load(context->keyring);
    enum outcome outcome = OUTCOME_USAGE;
    if (present != NULL) {
        char id[GV_KEY_ID_TEXT_BYTES];
        char under[GV_KEY_ID_TEXT_BYTES];
        char sealed[GV_KEY_SEALED_TEXT];
        struct answers answers;
        (void)gv_key_id_format(gv_keyring_active(fresh), id);
        (void)gv_key_id_format(gv_keyring_active(present), under);
        outcome = OUTCOME_OK;
        if (gv_keyring_seal_key(fresh, gv_keyring_active(fresh), present, sealed) != GV_OK) {
            outcome = OUTCOME_DEGRADED;
        } else if (ask(context, &answers, &outcome)) {
            bool fit =
                check(&answers, under, has, "does not have the key of --mesh-keyring", &outcome);
            warn_of_dead(&answers);
            answers_deinit(&answers);
            if (fit) {
                outcome =
                    step(context, PATH "/install", json_pack("{s:s}", "sealed", sealed), id, has);
            }
        }
    }
    gv_keyring_free(fresh);
    gv_keyring_free(present);
    return outcome;
}

/* Does anybody have it? A mistyped id must not look like a key that all have forgotten. */
static bool is_known(const struct answers *answers, const char *id, enum outcome *outcome)
{
    for (size_t i = 0; i < answers->count; i++) {
        if (has(&answers->items[i], id)) {
            return true;
        }
    }
    fprintf(stderr, "vinectl: no node has the key %s; vinectl keys list shows those there are\n",
            id);
    *outcome = OUTCOME_DEGRADED;
    return false;
}

/* use and retire: what must be so on all nodes before and after. */
static enum outcome change(const struct context *context, const char *path,
                           bool (*before)(const struct answer *, const char *), const char *wrong,
                           bool (*after)(const struct answer *, const char *))
{
    const char *id = context->args[1];
    struct gv_key_id parsed;
    struct answers answers;
    enum outcome outcome = OUTCOME_OK;
    if (gv_key_id_parse(gv_slice_text(id), &parsed) != GV_OK) {
        fprintf(stderr, "vinectl: '%s' is no key id: 16 hex digits, see vinectl keys list\n", id);
        return OUTCOME_USAGE;
    }
    if (!ask(context, &answers, &outcome)) {
        return outcome;
    }
    bool fit = is_known(&answers, id, &outcome) && check(&answers, id, before, wrong, &outcome);
    warn_of_dead(&answers);
    answers_deinit(&answers);
    return fit ? step(context, path, json_pack("{s:s}", "id", id), id, after) : outcome;
}

enum outcome keys_command(const struct context *context)
{
    const char *verb = context->arg_count == 0 ? "" : context->args[0];
    if (strcmp(verb, "generate") == 0 && context->arg_count <= 2) {
        return generate(context);
    }
    if (strcmp(verb, "list") == 0 && context->arg_count == 1) {
        return list(context);
    }
    if (strcmp(verb, "install") == 0 && context->arg_count == 2) {
        return install(context);
    }
    if (strcmp(verb, "use") == 0 && context->arg_count == 2) {
        return change(context, PATH "/use", has, "does not have the key", uses);
    }
    if (strcmp(verb, "retire") == 0 && context->arg_count == 2) {
        return change(context, PATH "/retire", is_idle, "still uses", lacks);
    }
    fputs("vinectl: usage: vinectl keys generate [FILE] | list | install FILE --mesh-keyring "
          "PRESENT | use ID | retire ID\n",
          stderr);
    return OUTCOME_USAGE;
}
