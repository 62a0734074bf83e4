/*
 * wait.c - vinectl wait: for scripts that go on when the cluster is whole again.
 *
 * It is asked again and again until it holds, also while nobody answers: the node asked may be
 * about to start. Silent on the way; the verdict says what was missing last.
 */
#include "diff.h"

#include "grapevine/net/loop.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define PAUSE_MS   100
#define ATTEMPT_MS 5000 /* the longest a single question may take */

/* What the nodes said, as far as waiting needs it. */
struct state {
    size_t expected; /* nodes that have not left */
    size_t alive;
    size_t ready;
    size_t silent;
    size_t groups; /* different digests */
};

/* Is the digest of answer `at` one that no answer before it has? */
static bool is_new_state(const struct answers *answers, size_t at)
{
    const char *own = text_of(json_object_get(answers->items[at].json, "mesh"), "digest");
    bool is_new = answers->items[at].json != NULL;
    for (size_t i = 0; is_new && i < at; i++) {
        const json_t *mesh = json_object_get(answers->items[i].json, "mesh");
        is_new = strcmp(text_of(mesh, "digest"), own) != 0;
    }
    return is_new;
}

static bool look(const struct context *context, struct state *state, enum outcome *outcome)
{
    struct answers answers;
    *state = (struct state){.groups = 0};
    if (!ask_all(context, "/grapevine/v1/status", gv_slice_of(NULL, 0), &answers, outcome)) {
        return false;
    }
    for (size_t i = 0; i < answers.count; i++) {
        const struct answer *answer = &answers.items[i];
        state->expected += strcmp(answer->status, "left") != 0;
        state->alive += strcmp(answer->status, "alive") == 0;
        state->ready += flag_of(answer->json, "ready");
        state->groups += is_new_state(&answers, i);
    }
    state->silent = answers.silent;
    answers_deinit(&answers);
    return true;
}

static bool holds(const struct context *context, const struct state *state)
{
    if (state->alive < context->node_count || state->silent > 0) {
        return false;
    }
    if (strcmp(context->until, "ready") == 0) {
        return state->alive == state->expected && state->ready == state->expected;
    }
    return state->groups == 1;
}

static enum outcome verdict(const struct context *context, const struct state *state, bool is_true,
                            bool was_answered, double seconds)
{
    if (context->json) {
        print_json(json_pack("{s:b, s:s, s:b, s:i, s:i, s:i, s:i, s:i, s:f}", "holds", is_true,
                             "for", context->until, "answered", was_answered, "nodes",
                             (int)state->expected, "alive", (int)state->alive, "ready",
                             (int)state->ready, "silent", (int)state->silent, "states",
                             (int)state->groups, "took_s", seconds));
    } else if (!was_answered) {
        printf("TIMEOUT: %s did not answer for %.1f s\n", context->endpoint, seconds);
    } else {
        printf("%s: %s%s after %.1f s: %zu nodes, %zu alive, %zu ready, %zu silent, ",
               is_true ? "healthy" : "TIMEOUT", is_true ? "" : "not ", context->until, seconds,
               state->expected, state->alive, state->ready, state->silent);
        printf(state->groups == 1 ? "all in one state" : "%zu different states", state->groups);
        printf(state->alive < context->node_count ? "; --nodes wants %zu alive\n" : "\n",
               (size_t)context->node_count);
    }
    return is_true ? OUTCOME_OK : OUTCOME_TIMEOUT;
}

enum outcome wait_command(const struct context *context)
{
    struct context asking = *context;
    asking.quiet = true;
    uint64_t began_ms = gv_clock_us() / 1000;
    struct state last = {.groups = 0}; /* of the last question that was answered */
    bool was_answered = false;
    for (;;) {
        struct state state;
        enum outcome outcome = OUTCOME_OK;
        uint64_t passed_ms = gv_clock_us() / 1000 - began_ms;
        uint64_t left_ms = context->timeout_ms > passed_ms ? context->timeout_ms - passed_ms : 1;
        asking.timeout_ms = left_ms < ATTEMPT_MS ? left_ms : ATTEMPT_MS;
        if (was_answered && left_ms < PAUSE_MS) { /* cut short, it would tell less than the last */
            return verdict(context, &last, false, true, (double)context->timeout_ms / 1000);
        }
        bool is_answered = look(&asking, &state, &outcome);
        if (outcome == OUTCOME_REFUSED) {
            fprintf(stderr, "vinectl: %s: the key was not accepted; give one with --api-key-file\n",
                    context->endpoint);
            return outcome;
        }
        bool is_true = is_answered && holds(context, &state);
        last = is_answered ? state : last;
        was_answered = was_answered || is_answered;
        passed_ms = gv_clock_us() / 1000 - began_ms;
        if (is_true || passed_ms >= context->timeout_ms) {
            return verdict(context, &last, is_true, was_answered, (double)passed_ms / 1000);
        }
        const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000L};
        nanosleep(&pause, NULL);
    }
}
