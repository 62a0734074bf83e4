/*
 * run.c - one contender over the whole trace: arrivals, engines and situations in the order of
 * time. At one instant: first what befalls the fleet, then what engines have done, then arrivals.
 */
#include "lab.h"
#include <math.h>

#define ROUTER_AWAY_US UINT64_C(10000000)
#define STALL_US       UINT64_C(30000000)
#define FATES_MAX      (2 * LAB_ENGINES_MAX + 64)

/* A request on its way. */
struct errand {
    struct lab_job job;
    uint64_t arrived_us;
    uint64_t bytes;           /* counted as waiting, until the first token */
    uint64_t forecast_tokens; /* cached, as the router thought */
    uint32_t router, engine;
    uint32_t next_free;
    bool in_use;
};

/* Something befalls the fleet. */
enum fate_kind {
    FATE_ENGINE_UP = 0,
    FATE_ENGINE_DOWN,
    FATE_ENGINE_FLUSH,
    FATE_ENGINE_STALL,
    FATE_ROUTER_UP,
    FATE_ROUTER_DOWN,
    FATE_PART,
    FATE_HEAL
};

struct fate {
    uint64_t at_us;
    enum fate_kind kind;
    uint32_t whom;
};

struct engine_sum {
    uint64_t requests, tokens;
    uint32_t running;
    uint64_t changed_us;
    double area; /* of running over time, us */
    bool up;
    bool steady; /* up from the begin, and never down */
};

struct lab {
    const struct lab_options *options;
    const struct corpus *corpus;
    const struct lab_contender *contender;
    struct lab_result *result;
    struct lab_engine *engines; /* owned */
    uint64_t due_us[LAB_ENGINES_MAX];
    struct engine_sum sums[LAB_ENGINES_MAX];
    uint32_t engine_count;
    struct fate fates[FATES_MAX];
    uint32_t fate_count, fate_at;
    const struct lab_mind_row *row;
    void *mind; /* owned */
    bool router_up[LAB_ROUTERS_MAX];
    uint32_t next_router;
    struct errand **errands; /* owned; jobs point at them */
    uint32_t errand_count, errand_room, free_errand;
    uint64_t *chain; /* owned */
    struct gv_prng prng;
    uint64_t now_us;
    uint64_t span_us; /* of the arrivals */
    size_t arrived;
};

const char *lab_situation_name(enum lab_situation situation)
{
    static const char *const names[] = {
#define LAB_SITUATION_TEXT(name, text, meaning) text,
        LAB_SITUATION_LIST(LAB_SITUATION_TEXT)
#undef LAB_SITUATION_TEXT
    };
    return names[situation];
}

double lab_hit_rate(const struct lab_result *result)
{
    return result->prompt_tokens == 0
               ? 0
               : (double)result->cached_tokens / (double)result->prompt_tokens;
}

double lab_first_ms(const struct lab_result *result)
{
    return gv_hist_mean(&result->first_us) / 1000;
}

/* ---- fates -------------------------------------------------------------------------------------
 */

static void add_fate(struct lab *lab, uint64_t at_us, enum fate_kind kind, uint32_t whom)
{
    GV_ASSERT(lab->fate_count < FATES_MAX);
    uint32_t at = lab->fate_count++;
    while (at > 0 && lab->fates[at - 1].at_us > at_us) {
        lab->fates[at] = lab->fates[at - 1];
        at -= 1;
    }
    lab->fates[at] = (struct fate){at_us, kind, whom};
}

static void plan_fates(struct lab *lab)
{
    uint64_t third_us = lab->span_us / 3;
    uint32_t engines = lab->options->engines;
    uint32_t routers = lab->contender->routers;
    switch (lab->options->situation) {
    case LAB_CALM:
    case LAB_SLOW:
    case LAB_SITUATION_COUNT:
        return;
    case LAB_WORKER_CHURN:
        for (uint32_t i = 0; i < engines / 3; i++) {
            uint64_t at_us = third_us + third_us * i / (engines / 3);
            add_fate(lab, at_us, FATE_ENGINE_DOWN, 3 * i);
            add_fate(lab, at_us, FATE_ENGINE_UP, engines + i);
        }
        return;
    case LAB_ROUTER_CHURN:
        for (uint32_t i = 0; i + 1 < routers; i += 2) {
            uint64_t at_us = third_us + third_us * i / routers;
            add_fate(lab, at_us, FATE_ROUTER_DOWN, i);
            add_fate(lab, at_us + ROUTER_AWAY_US, FATE_ROUTER_UP, i);
        }
        return;
    case LAB_PARTITION:
        add_fate(lab, third_us, FATE_PART, 0);
        add_fate(lab, 2 * third_us, FATE_HEAL, 0);
        return;
    case LAB_STALL:
    case LAB_RESTART:
        for (uint32_t i = 0; i < engines; i += 2) {
            add_fate(lab, lab->span_us / 2,
                     lab->options->situation == LAB_STALL ? FATE_ENGINE_STALL : FATE_ENGINE_FLUSH,
                     i);
        }
        return;
    }
}

/* ---- requests ----------------------------------------------------------------------------------
 */

static struct errand *new_errand(struct lab *lab)
{
    if (lab->free_errand != LAB_NONE) {
        struct errand *errand = lab->errands[lab->free_errand];
        lab->free_errand = errand->next_free;
        return errand;
    }
    if (lab->errand_count == lab->errand_room) {
        uint32_t room = lab->errand_room * 2 + 1024;
        void *more = gv_mem_resize(GV_MEM_GENERAL, lab->errands, room * sizeof *lab->errands);
        if (more == NULL) {
            return NULL;
        }
        lab->errands = more;
        lab->errand_room = room;
    }
    struct errand *errand = gv_mem_new(GV_MEM_GENERAL, sizeof *errand);
    if (errand != NULL) {
        errand->job.number = lab->errand_count;
        lab->errands[lab->errand_count++] = errand;
    }
    return errand;
}

static void free_errand(struct lab *lab, struct errand *errand)
{
    errand->in_use = false;
    errand->next_free = lab->free_errand;
    lab->free_errand = errand->job.number;
}

static void count_running(struct lab *lab, uint32_t engine, int step)
{
    struct engine_sum *sum = &lab->sums[engine];
    sum->area += (double)sum->running * (double)(lab->now_us - sum->changed_us);
    sum->changed_us = lab->now_us;
    sum->running = (uint32_t)((int)sum->running + step);
}

/* To a router that is up, in turn, as names with several addresses do. */
static uint32_t next_router(struct lab *lab)
{
    for (uint32_t tried = 0; tried < lab->contender->routers; tried++) {
        uint32_t router = lab->next_router % lab->contender->routers;
        lab->next_router += 1;
        if (lab->router_up[router]) {
            return router;
        }
    }
    return LAB_NONE;
}

/* Ask a router and submit. */
static void send(struct lab *lab, struct errand *errand, uint32_t avoid)
{
    errand->router = next_router(lab);
    struct lab_ask ask = {.prompt = errand->job.prompt,
                          .chain = lab->chain,
                          .router = errand->router,
                          .avoid = avoid,
                          .random = gv_prng_next(&lab->prng),
                          .now_us = lab->now_us};
    corpus_chain(lab->corpus, ask.prompt, lab->chain);
    errand->bytes = 0;
    errand->engine =
        errand->router == LAB_NONE ? LAB_NONE : lab->row->choose(lab->mind, &ask, &errand->bytes);
    if (errand->engine == LAB_NONE) {
        lab->result->failed += 1;
        free_errand(lab, errand);
        return;
    }
    GV_ASSERT(errand->engine < lab->engine_count);
    uint64_t missing = errand->bytes * LAB_BLOCK_TOKENS / LAB_BLOCK_BYTES;
    errand->forecast_tokens = missing < ask.prompt->tokens ? ask.prompt->tokens - missing : 0;
    count_running(lab, errand->engine, 1);
    struct lab_engine *engine = &lab->engines[errand->engine];
    lab_engine_submit(engine, &errand->job, lab->now_us);
    lab->due_us[errand->engine] = lab_engine_due(engine);
}

static void arrive(struct lab *lab)
{
    struct errand *errand = new_errand(lab);
    const struct corpus_prompt *prompt = &lab->corpus->prompts[lab->arrived++];
    lab->result->requests += 1;
    if (errand == NULL) {
        lab->result->failed += 1;
        return;
    }
    errand->in_use = true;
    errand->job.prompt = prompt;
    errand->arrived_us = lab->now_us;
    send(lab, errand, LAB_NONE);
}

/* Its engine or its router died: another is asked at once, as long as no token has been seen. A
 * stream that breaks is the client's to repeat. */
static void lose(struct lab *lab, struct errand *errand)
{
    struct lab_engine *engine = &lab->engines[errand->engine];
    bool began = errand->job.ends_at_us > 0;
    lab_engine_remove(engine, &errand->job, lab->now_us);
    lab->due_us[errand->engine] = lab_engine_due(engine);
    count_running(lab, errand->engine, -1);
    if (lab->router_up[errand->router]) {
        lab->row->give(lab->mind, errand->router, errand->engine, errand->bytes);
    }
    if (began) {
        lab->result->failed += 1;
        free_errand(lab, errand);
        return;
    }
    lab->result->retries += 1;
    send(lab, errand, errand->engine);
}

/* ---- engines -----------------------------------------------------------------------------------
 */

static struct lab_bucket *bucket_at(struct lab *lab, uint64_t at_us)
{
    uint64_t width_us = lab->span_us / LAB_BUCKETS + 1;
    uint64_t at = at_us / width_us;
    return &lab->result->buckets[at < LAB_BUCKETS ? at : LAB_BUCKETS - 1];
}

static void on_first(struct lab *lab, struct errand *errand, uint64_t at_us)
{
    struct lab_result *result = lab->result;
    const struct lab_job *job = &errand->job;
    result->prompt_tokens += job->prompt->tokens;
    result->cached_tokens += job->cached_tokens;
    if (lab->contender->kind == LAB_OURS) {
        result->forecast_tokens += errand->forecast_tokens;
        result->overrated_tokens += errand->forecast_tokens > job->cached_tokens
                                        ? errand->forecast_tokens - job->cached_tokens
                                        : 0;
    }
    gv_hist_add(&result->first_us, at_us - errand->arrived_us);
    lab->sums[errand->engine].requests += 1;
    lab->sums[errand->engine].tokens += job->prompt->tokens;
    struct lab_bucket *bucket = bucket_at(lab, errand->arrived_us);
    bucket->prompt_tokens += job->prompt->tokens;
    bucket->cached_tokens += job->cached_tokens;
    bucket->first_count += 1;
    bucket->first_sum_us += (double)(at_us - errand->arrived_us);
    if (errand->bytes > 0) {
        lab->row->first(lab->mind, errand->router, errand->engine, errand->bytes);
        errand->bytes = 0;
    }
}

static void run_engine(struct lab *lab, uint32_t number)
{
    struct lab_engine *engine = &lab->engines[number];
    struct lab_job *job;
    uint64_t at_us;
    enum lab_engine_event event = lab_engine_step(engine, lab->now_us, &job, &at_us);
    lab->due_us[number] = lab_engine_due(engine);
    if (event == LAB_ENGINE_NOTHING) {
        return;
    }
    struct errand *errand = GV_CONTAINER(job, struct errand, job);
    if (event == LAB_ENGINE_FIRST) {
        on_first(lab, errand, at_us);
        return;
    }
    count_running(lab, number, -1);
    lab->row->give(lab->mind, errand->router, number, errand->bytes);
    free_errand(lab, errand);
}

/* All that was under way at that engine, or through that router. */
static void lose_all(struct lab *lab, uint32_t engine, uint32_t router)
{
    for (uint32_t i = 0; i < lab->errand_count; i++) {
        struct errand *errand = lab->errands[i];
        if (errand->in_use && (errand->engine == engine || errand->router == router)) {
            lose(lab, errand);
        }
    }
}

static void end_engine(struct lab *lab, uint32_t number)
{
    lab->sums[number].up = false;
    lab->sums[number].steady = false;
    lab->row->set_engine(lab->mind, number, false);
    lose_all(lab, number, LAB_NONE);
    lab_engine_flush(&lab->engines[number]);
}

static void end_router(struct lab *lab, uint32_t router)
{
    lab->router_up[router] = false;
    lab->row->set_router(lab->mind, router, false);
    lose_all(lab, LAB_NONE, router);
}

static void befall(struct lab *lab, const struct fate *fate)
{
    switch (fate->kind) {
    case FATE_ENGINE_UP:
        lab->sums[fate->whom].up = true;
        lab->row->set_engine(lab->mind, fate->whom, true);
        return;
    case FATE_ENGINE_DOWN:
        end_engine(lab, fate->whom);
        return;
    case FATE_ENGINE_FLUSH:
        lab_engine_flush(&lab->engines[fate->whom]);
        return;
    case FATE_ENGINE_STALL:
        lab_engine_stall(&lab->engines[fate->whom], lab->now_us, lab->now_us + STALL_US);
        lab->due_us[fate->whom] = lab_engine_due(&lab->engines[fate->whom]);
        return;
    case FATE_ROUTER_UP:
        lab->router_up[fate->whom] = true;
        lab->row->set_router(lab->mind, fate->whom, true);
        return;
    case FATE_ROUTER_DOWN:
        end_router(lab, fate->whom);
        return;
    case FATE_PART:
    case FATE_HEAL:
        lab->row->part(lab->mind, fate->kind == FATE_PART);
        return;
    }
}

/* ---- time --------------------------------------------------------------------------------------
 */

static bool step(struct lab *lab)
{
    uint64_t at_us = LAB_NEVER;
    uint32_t number = LAB_NONE;
    for (uint32_t i = 0; i < lab->engine_count; i++) {
        if (lab->due_us[i] < at_us) {
            at_us = lab->due_us[i];
            number = i;
        }
    }
    bool arrives = lab->arrived < lab->corpus->prompt_count &&
                   lab->corpus->prompts[lab->arrived].at_us < at_us;
    if (arrives) {
        at_us = lab->corpus->prompts[lab->arrived].at_us;
    }
    bool befalls = lab->fate_at < lab->fate_count && lab->fates[lab->fate_at].at_us <= at_us;
    if (befalls) {
        at_us = lab->fates[lab->fate_at].at_us;
    }
    if (at_us == LAB_NEVER) {
        return false;
    }
    lab->now_us = at_us > lab->now_us ? at_us : lab->now_us;
    lab->row->advance(lab->mind, lab->now_us);
    if (befalls) {
        befall(lab, &lab->fates[lab->fate_at++]);
    } else if (arrives) {
        arrive(lab);
    } else {
        run_engine(lab, number);
    }
    return true;
}

/* ---- sums --------------------------------------------------------------------------------------
 */

static double deviation(const double *values, uint32_t count)
{
    double sum = 0;
    double squares = 0;
    for (uint32_t i = 0; i < count; i++) {
        sum += values[i];
        squares += values[i] * values[i];
    }
    double mean = count == 0 ? 0 : sum / count;
    double variance = count == 0 ? 0 : squares / count - mean * mean;
    return mean > 0 && variance > 0 ? sqrt(variance) / mean : 0;
}

/* Over the engines that were there all the time. */
static void sum_up(struct lab *lab)
{
    static double requests[LAB_ENGINES_MAX], tokens[LAB_ENGINES_MAX], area[LAB_ENGINES_MAX];
    struct lab_result *result = lab->result;
    uint32_t count = 0;
    double busy_us = 0;
    for (uint32_t i = 0; i < lab->engine_count; i++) {
        if (lab->sums[i].steady) {
            requests[count] = (double)lab->sums[i].requests;
            tokens[count] = (double)lab->sums[i].tokens;
            area[count] = lab->sums[i].area;
            busy_us += (double)lab->engines[i].busy_us;
            count += 1;
        }
    }
    result->spread_requests = deviation(requests, count);
    result->spread_tokens = deviation(tokens, count);
    result->spread_load = deviation(area, count);
    result->span_s = (double)lab->now_us / 1e6;
    result->busy = count == 0 || lab->now_us == 0 ? 0 : busy_us / count / (double)lab->now_us;
    lab->row->sum(lab->mind, result);
}

static bool open_lab(struct lab *lab)
{
    const struct lab_options *options = lab->options;
    uint32_t later = options->situation == LAB_WORKER_CHURN ? options->engines / 3 : 0;
    lab->engine_count = options->engines + later;
    lab->engines = gv_mem_new(GV_MEM_GENERAL, lab->engine_count * sizeof *lab->engines);
    lab->chain = gv_mem_new(GV_MEM_GENERAL, (lab->corpus->longest + 1) * sizeof *lab->chain);
    if (lab->engines == NULL || lab->chain == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < lab->engine_count; i++) {
        struct lab_engine_limits limits = options->engine;
        if (options->situation == LAB_SLOW && i % 2 == 1) {
            limits.prefill_us_per_token *= 2;
            limits.decode_us_per_token *= 2;
        }
        lab_engine_init(&lab->engines[i], lab->corpus, limits);
        lab->due_us[i] = LAB_NEVER;
        lab->sums[i].up = i < options->engines;
        lab->sums[i].steady = i < options->engines;
    }
    for (uint32_t i = 0; i < lab->contender->routers; i++) {
        lab->router_up[i] = true;
    }
    lab->free_errand = LAB_NONE;
    lab->span_us = lab->corpus->prompts[lab->corpus->prompt_count - 1].at_us + 1;
    gv_prng_init(&lab->prng, options->trace.seed);
    gv_hist_init(&lab->result->first_us);
    plan_fates(lab);
    const struct lab_setting setting = {.options = options,
                                        .contender = lab->contender,
                                        .corpus = lab->corpus,
                                        .engines = lab->engines,
                                        .engine_count = lab->engine_count,
                                        .engines_at_first = options->engines};
    bool ours = lab->contender->kind == LAB_OURS;
    lab->row = ours ? &lab_grapevine_row : &lab_smg_row;
    lab->mind = ours ? lab_grapevine_new(&setting) : lab_smg_new(&setting);
    return lab->mind != NULL;
}

bool lab_run(const struct lab_options *options, const struct corpus *corpus,
             const struct lab_contender *contender, struct lab_result *result)
{
    GV_ASSERT(corpus->prompt_count > 0);
    struct lab *lab = gv_mem_new(GV_MEM_GENERAL, sizeof *lab);
    if (lab == NULL) {
        return false;
    }
    *result = (struct lab_result){.contender = *contender};
    lab->options = options;
    lab->corpus = corpus;
    lab->contender = contender;
    lab->result = result;
    bool good = open_lab(lab);
    if (good) {
        while (step(lab)) {
        }
        sum_up(lab);
        lab->row->end(lab->mind);
    }
    for (uint32_t i = 0; lab->engines != NULL && i < lab->engine_count; i++) {
        lab_engine_deinit(&lab->engines[i]);
    }
    for (uint32_t i = 0; i < lab->errand_count; i++) {
        gv_mem_free(GV_MEM_GENERAL, lab->errands[i]);
    }
    gv_mem_free(GV_MEM_GENERAL, lab->errands);
    gv_mem_free(GV_MEM_GENERAL, lab->engines);
    gv_mem_free(GV_MEM_GENERAL, lab->chain);
    gv_mem_free(GV_MEM_GENERAL, lab);
    return good;
}

static double cached_share(const struct corpus *corpus, uint64_t capacity_blocks)
{
    struct lab_engine engine;
    uint64_t cached = 0;
    lab_engine_init(&engine, corpus,
                    (struct lab_engine_limits){.capacity_blocks = capacity_blocks, .slots = 1});
    for (size_t i = 0; i < corpus->prompt_count; i++) {
        cached += lab_engine_cached(&engine, &corpus->prompts[i]);
        lab_engine_remember(&engine, &corpus->prompts[i]);
    }
    lab_engine_deinit(&engine);
    return corpus->tokens == 0 ? 0 : (double)cached / (double)corpus->tokens;
}

void lab_possible(const struct lab_options *options, const struct corpus *corpus,
                  struct lab_possible *possible)
{
    possible->infinite = cached_share(corpus, UINT64_MAX);
    possible->pooled = cached_share(corpus, options->engine.capacity_blocks * options->engines);
}
