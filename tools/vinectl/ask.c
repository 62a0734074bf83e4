#include "ask.h"

#include "fetch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct fetch_manner manner_of(const struct context *context)
{
    return (struct fetch_manner){.api_key = context->api_key,
                                 .ca = context->ca,
                                 .cert = context->cert,
                                 .key = context->key,
                                 .timeout_ms = context->timeout_ms};
}

/* What came instead of an answer, in an operator's words. */
static const char *trouble_of(const struct fetch *fetch)
{
    if (fetch->trouble[0] != '\0') {
        return fetch->trouble;
    }
    if (fetch->err == GV_EREFUSED) {
        return "the connection was refused; is a node running there?";
    }
    if (fetch->err == GV_ENOTFOUND) {
        return "no such host";
    }
    if (fetch->err == GV_EPROTO) {
        return "what answers does not speak HTTP; is it the port of the mesh, or does it want "
               "https://?";
    }
    return fetch->err == GV_ETIMEOUT ? "no answer in time (--timeout)" : gv_err_text(fetch->err);
}

/* Turn a finished fetch into JSON, or say why not in `error`. */
static json_t *read_reply(struct fetch *fetch, char *error, size_t size, enum outcome *outcome)
{
    struct gv_slice bytes = gv_buf_slice(&fetch->reply);
    if (fetch->err != GV_OK) {
        snprintf(error, size, "%s: %s", fetch->url, trouble_of(fetch));
        *outcome = OUTCOME_UNREACHABLE;
        return NULL;
    }
    if (fetch->status == 401 || fetch->status == 403) {
        snprintf(error, size, "%s: the key was not accepted (%u); give one with --api-key-file",
                 fetch->url, (unsigned)fetch->status);
        *outcome = OUTCOME_REFUSED;
        return NULL;
    }
    json_t *json = bytes.len == 0 ? NULL : json_loadb((const char *)bytes.data, bytes.len, 0, NULL);
    if (fetch->status != 200 || json == NULL) {
        const char *message = text_of(json_object_get(json, "error"), "message");
        snprintf(error, size, "%s: answered %u %.200s", fetch->url, (unsigned)fetch->status,
                 message[0] != '\0' ? message : "(is this a grapevine node?)");
        json_decref(json);
        *outcome =
            fetch->status == 400 && fetch->method != NULL ? OUTCOME_USAGE : OUTCOME_UNREACHABLE;
        return NULL;
    }
    return json;
}

json_t *ask_one(const struct context *context, const char *path, struct gv_slice body,
                enum outcome *outcome)
{
    return ask_to(context, NULL, path, body, outcome);
}

json_t *ask_to(const struct context *context, const char *method, const char *path,
               struct gv_slice body, enum outcome *outcome)
{
    struct fetch fetch = {.url = context->endpoint, .path = path, .body = body, .method = method};
    char error[400] = "";
    struct fetch_manner manner = manner_of(context);
    fetch_all(&fetch, 1, &manner);
    json_t *json = read_reply(&fetch, error, sizeof error, outcome);
    if (json == NULL && !context->quiet) {
        fprintf(stderr, "vinectl: %s\n", error);
    }
    fetch_deinit(&fetch);
    return json;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct answer *)a)->node, ((const struct answer *)b)->node);
}

/* List the members; `asked` is the index of the endpoint's own node. */
static bool list_members(const json_t *nodes, const struct context *context,
                         struct answers *answers)
{
    const json_t *members = json_object_get(nodes, "nodes");
    size_t count = json_array_size(members);
    if (count > ANSWERS_MAX) {
        count = ANSWERS_MAX;
    }
    answers->items = calloc(count + 1, sizeof *answers->items);
    if (answers->items == NULL) {
        return false;
    }
    answers->count = count;
    for (size_t i = 0; i < count; i++) {
        const json_t *member = json_array_get(members, i);
        struct answer *answer = &answers->items[i];
        snprintf(answer->node, sizeof answer->node, "%s", text_of(member, "name"));
        snprintf(answer->status, sizeof answer->status, "%s", text_of(member, "status"));
        snprintf(answer->url, sizeof answer->url, "%s",
                 flag_of(member, "self") ? context->endpoint : text_of(member, "http_url"));
    }
    qsort(answers->items, count, sizeof *answers->items, by_name);
    return true;
}

static bool is_worth_asking(const struct context *context, const struct answer *answer)
{
    if (context->asks_dead && strcmp(answer->status, "dead") == 0) {
        return true;
    }
    return strcmp(answer->status, "alive") == 0 || strcmp(answer->status, "suspect") == 0;
}

bool ask_all(const struct context *context, const char *path, struct gv_slice body,
             struct answers *answers, enum outcome *outcome)
{
    *answers = (struct answers){.items = NULL};
    json_t *nodes = ask_one(context, "/grapevine/v1/nodes", gv_slice_of(NULL, 0), outcome);
    if (nodes == NULL) {
        return false;
    }
    struct fetch *fetches =
        calloc(json_array_size(json_object_get(nodes, "nodes")) + 1, sizeof *fetches);
    if (fetches == NULL || !list_members(nodes, context, answers)) {
        free(fetches);
        json_decref(nodes);
        *outcome = OUTCOME_UNREACHABLE;
        return false;
    }
    json_decref(nodes);
    size_t asked = 0;
    for (size_t i = 0; i < answers->count; i++) {
        if (is_worth_asking(context, &answers->items[i]) && answers->items[i].url[0] != '\0') {
            fetches[asked++] =
                (struct fetch){.url = answers->items[i].url, .path = path, .body = body};
        }
    }
    struct fetch_manner manner = manner_of(context);
    fetch_all(fetches, asked, &manner);
    for (size_t i = 0, at = 0; i < answers->count; i++) {
        struct answer *answer = &answers->items[i];
        if (!is_worth_asking(context, answer)) {
            continue;
        }
        if (answer->url[0] == '\0') {
            snprintf(answer->error, sizeof answer->error, "it tells no address of its API");
        } else {
            enum outcome ignored = OUTCOME_OK;
            answer->json = read_reply(&fetches[at], answer->error, sizeof answer->error, &ignored);
            fetch_deinit(&fetches[at++]);
        }
        answers->answered += answer->json != NULL;
        if (answer->json == NULL) {
            answers->silent += strcmp(answer->status, "dead") != 0;
            if (!context->quiet) {
                fprintf(stderr, "vinectl: node %s: %s\n", answer->node, answer->error);
            }
        }
    }
    free(fetches);
    return true;
}

const char *verdict_word(const struct answers *answers)
{
    return answers->silent > 0 ? "PARTIAL" : "healthy";
}

void answers_deinit(struct answers *answers)
{
    for (size_t i = 0; i < answers->count; i++) {
        json_decref(answers->items[i].json);
    }
    free(answers->items);
}
