/*
 * ask.h - JSON from one node, or from all nodes that one node knows.
 */
#ifndef GV_VINECTL_ASK_H
#define GV_VINECTL_ASK_H

#include "grapevine/base/slice.h"
#include "vinectl.h"

#define ANSWERS_MAX 2048

struct answer {
    char node[64];   /* its name */
    char status[12]; /* as the node asked first sees it: "alive", ... */
    char url[128];   /* where it was asked; "" when it tells none */
    json_t *json;    /* owned; NULL: no answer */
    char error[400]; /* why there is none */
};

struct answers {
    struct answer *items; /* owned; sorted by node name */
    size_t count;
    size_t silent;   /* alive or doubted members without an answer */
    size_t answered; /* members with one */
};

/** Ask the endpoint. On failure says why on stderr and sets `*outcome`. A new reference, or NULL.
 */
json_t *ask_one(const struct context *context, const char *path, struct gv_slice body,
                enum outcome *outcome);

/** The same with another method, to change something; what the node refuses is a usage error. */
json_t *ask_to(const struct context *context, const char *method, const char *path,
               struct gv_slice body, enum outcome *outcome);

/**
 * Ask the endpoint who the members are, then all of them for `path` side by side. The endpoint's
 * own answer comes over the endpoint given. false (with a word on stderr) when the endpoint is
 * silent.
 */
bool ask_all(const struct context *context, const char *path, struct gv_slice body,
             struct answers *answers, enum outcome *outcome);

/** How a good verdict begins: "healthy", or "PARTIAL" where somebody alive did not answer. */
const char *verdict_word(const struct answers *answers);

void answers_deinit(struct answers *answers);

#endif
