/* round.c - see round.h. */
#include "admin/round.h"

#include <stdio.h>
#include <string.h>

#define OUT_MAX 32u

static void on_answer(void *owner, const struct gv_ask_answer *answer);

static void free_round(struct gv_round *round)
{
    gv_list_remove(&round->link);
    for (uint32_t i = 0; i < round->voice_count; i++) {
        gv_buf_deinit(&round->voices[i].body);
    }
    gv_fleet_release(round->parts->shared->fleet, round->view);
    gv_mem_free(GV_MEM_GENERAL, round->voices);
    gv_mem_free(GV_MEM_GENERAL, round);
}

/* false: it could not even be asked. */
static bool ask(struct gv_voice *voice)
{
    const struct gv_round *round = voice->round;
    const struct gv_ask_question question = {.worker = voice->worker,
                                             .method = round->plan->method,
                                             .path = voice->is_second ? round->plan->second_path
                                                                      : round->plan->path,
                                             .timeout_ms = round->plan->timeout_ms};
    if (gv_ask(round->parts->rounds->asker, &question, on_answer, voice) != GV_OK) {
        voice->cause = GV_CAUSE_CONNECT;
        return false;
    }
    return true;
}

static void ask_more(struct gv_round *round)
{
    while (round->out_count < OUT_MAX && round->sent_count < round->voice_count) {
        struct gv_voice *voice = &round->voices[round->sent_count];
        round->sent_count += 1;
        round->out_count += ask(voice) ? 1 : 0;
    }
}

static void finish(struct gv_round *round)
{
    struct gv_answer answer;
    gv_answer_init(&answer);
    round->plan->finish(round, &answer);
    if (round->on_done != NULL) {
        round->on_done(round->owner, &answer);
    }
    gv_answer_deinit(&answer);
    free_round(round);
}

static void on_answer(void *owner, const struct gv_ask_answer *answer)
{
    struct gv_voice *voice = owner;
    struct gv_round *round = voice->round;
    round->out_count -= 1;
    voice->cause = answer->cause;
    voice->status = answer->status;
    if (answer->cause == GV_CAUSE_NONE && answer->status == 404 && !voice->is_second &&
        round->plan->second_path != NULL) {
        voice->is_second = true;
        round->out_count += ask(voice) ? 1 : 0;
    } else {
        (void)snprintf(voice->content_type, sizeof voice->content_type, "%s", answer->content_type);
        if (gv_buf_append(&voice->body, answer->body) != GV_OK) {
            voice->cause = GV_CAUSE_BAD;
        }
    }
    ask_more(round);
    if (round->out_count == 0 && round->sent_count == round->voice_count) {
        finish(round);
    }
}

static struct gv_round *make(const struct gv_admin_parts *parts, uint32_t count)
{
    struct gv_round *round = gv_mem_new(GV_MEM_GENERAL, sizeof *round);
    struct gv_voice *voices = gv_mem_new(GV_MEM_GENERAL, (count == 0 ? 1 : count) * sizeof *voices);
    if (round == NULL || voices == NULL) {
        gv_mem_free(GV_MEM_GENERAL, round);
        gv_mem_free(GV_MEM_GENERAL, voices);
        return NULL;
    }
    round->parts = parts;
    round->voices = voices;
    round->voice_count = count;
    gv_list_init(&round->link);
    gv_list_add(&parts->rounds->list, &round->link);
    return round;
}

struct gv_round *gv_round_new(const struct gv_admin_parts *parts, const struct gv_round_plan *plan,
                              const struct gv_fleet_view *view,
                              const struct gv_worker *const *workers, uint32_t count,
                              struct gv_answer *answer)
{
    struct gv_round *round = make(parts, count);
    if (round == NULL) {
        gv_fleet_release(parts->shared->fleet, view);
        gv_answer_problem(answer, GV_PROBLEM_INTERNAL, "out of memory");
        return NULL;
    }
    round->plan = plan;
    round->view = view;
    for (uint32_t i = 0; i < count; i++) {
        round->voices[i].round = round;
        round->voices[i].worker = workers[i];
        gv_buf_init(&round->voices[i].body, GV_MEM_BUFFER, GV_ASK_BODY_MAX);
    }
    ask_more(round);
    if (round->out_count > 0) {
        return round;
    }
    plan->finish(round, answer); /* nobody could be asked, or there is nobody */
    free_round(round);
    return NULL;
}

void gv_round_forget(struct gv_round *round)
{
    round->on_done = NULL;
}

bool gv_voice_is_good(const struct gv_voice *voice)
{
    return voice->cause == GV_CAUSE_NONE && voice->status >= 200 && voice->status <= 299;
}

void gv_voice_describe(const struct gv_voice *voice, char text[64])
{
    if (voice->cause == GV_CAUSE_NONE) {
        (void)snprintf(text, 64, "status %u", voice->status);
    } else {
        (void)snprintf(text, 64, "%s", gv_cause_name(voice->cause));
    }
}

enum gv_err gv_rounds_open(struct gv_rounds *rounds, struct gv_loop *loop,
                           const struct gv_proxy_shared *shared)
{
    gv_list_init(&rounds->list);
    return gv_asker_open(loop, shared->config, shared->worker_tls, &rounds->asker);
}

void gv_rounds_close(struct gv_rounds *rounds)
{
    gv_asker_close(rounds->asker);
    rounds->asker = NULL;
    struct gv_list *first;
    while ((first = gv_list_first(&rounds->list)) != NULL) {
        struct gv_round *round = GV_CONTAINER(first, struct gv_round, link);
        struct gv_answer answer;
        gv_answer_init(&answer);
        gv_answer_problem(&answer, GV_PROBLEM_DRAINING, "%s", round->plan->path);
        if (round->on_done != NULL) {
            round->on_done(round->owner, &answer);
        }
        gv_answer_deinit(&answer);
        free_round(round);
    }
}
