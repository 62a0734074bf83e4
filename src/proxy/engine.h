/*
 * engine.h - the kinds of engines: what each is asked, how its answers read, what it takes.
 *
 * One file per kind (engine/<name>.c) with one row, and one line in GV_ENGINE_LIST. A worker whose
 * kind is not known yet is asked everything that may tell it; one that answers none of them
 * speaks plain OpenAI. Pure.
 *
 * Who may call: probe.c and its files, legs.c.
 */
#ifndef GV_PROXY_ENGINE_H
#define GV_PROXY_ENGINE_H

#include "metadata.h"

#define GV_ENGINE_PATHS_MAX 3 /* where loads may be told */

/* Every kind of engine: its row is gv_engine_<name>, in engine/<name>.c. */
#define GV_ENGINE_LIST(X)                                                                          \
    X(sglang)                                                                                      \
    X(vllm)                                                                                        \
    X(openai)

/* When a question is asked. */
enum gv_engine_need {
    GV_ENGINE_ALWAYS = 0,
    GV_ENGINE_UNLESS_UNDERSTOOD, /* unless the question before it was understood */
    GV_ENGINE_FOR_MODELS,        /* no model is known yet */
    GV_ENGINE_FOR_MARKER,        /* nothing that tells restarts is known yet */
    GV_ENGINE_FOR_KIND           /* the kind is not known yet */
};

struct gv_engine_question {
    const char *path;
    enum gv_engine_need need;
    /* false: not understood; nothing changed. */
    bool (*read)(struct gv_metadata *metadata, struct gv_slice body);
};

struct gv_engine_load_question {
    const char *path;
    /* How many ranks were read, at most GV_ENGINE_RANKS_MAX; 0: not understood. */
    uint32_t (*read)(struct gv_slice body, struct gv_engine_load *loads);
};

struct gv_engine {
    const char *name;
    const struct gv_engine_question *questions; /* after /v1/models, in order; path NULL ends */
    struct gv_engine_load_question loads[GV_ENGINE_PATHS_MAX]; /* tried in order; path NULL ends */
    const char *abort_path; /* POST {"rid": ...}; NULL: a closed connection is the abort */
    bool takes_rank_field;  /* "data_parallel_rank" in the body; all take the header */
};

/** The row of a runtime's name; of one that nobody knows (or ""), what asks everything. */
const struct gv_engine *gv_engine_find(const char *runtime);

#define GV_ENGINE_DECLARE(name) extern const struct gv_engine gv_engine_##name;
GV_ENGINE_LIST(GV_ENGINE_DECLARE)
#undef GV_ENGINE_DECLARE

#endif
