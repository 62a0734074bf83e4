/*
 * capacity.c - how many blocks of prompt a worker's engine can hold: its share of a trie; and how
 * fast it computes what it does not hold.
 *
 * The engine tells its capacity in tokens; how many bytes of prompt a token is, follows from what
 * engines counted in prompts whose bytes we know. All nodes say what they saw (in their load
 * records) and all compute from the same sums, by model, so that they evict alike: the share is a
 * function of replicated data, rounded so that a record under way rarely matters. Where they differ
 * for a moment the lower share wins, since a floor that one raises holds on all.
 *
 * A worker that tells no capacity has --max-tree-size, and none has more.
 *
 * What an engine can hold is not what it holds for us. How much of its capacity each is trusted
 * with follows from how the forecasts of cached tokens came true on all nodes (route/forecast.h),
 * and depends on when one looks; so one node decides, of those that are alive the first by name,
 * and tells the others with its loads. Who takes that over goes on from what it was told last.
 */
#include "shell.h"

#include <string.h>

#define USUAL_BYTES_PER_TOKEN 4.0
#define LEAST_BYTES_PER_TOKEN 0.5
#define MOST_BYTES_PER_TOKEN  16.0
#define STEPS_PER_BYTE        8.0            /* a step of an eighth is 3 percent of the usual */
#define TRUSTED_TOKENS        UINT64_C(2000) /* fewer say little */
#define MODELS_MAX            128            /* told apart; workers of others have all in common */

struct model {
    const char *name; /* borrowed from the view */
    struct gv_load_prompts prompts;
};

/* All but the forecasts, which are each worker's own. */
static void add(struct gv_load_prompts *sum, const struct gv_load_prompts *more)
{
    sum->bytes += more->bytes;
    sum->tokens += more->tokens;
    sum->prefill_bytes += more->prefill_bytes;
    sum->prefill_us += more->prefill_us;
}

static struct gv_load_prompts prompts_of(struct gv_cluster *cluster, uint32_t index)
{
    struct gv_load_prompts sum = gv_load_own_prompts(cluster->options.load, index);
    const struct gv_load_prompts *others = &cluster->hearsay.prompts[index];
    add(&sum, others);
    sum.forecasts.count += others->forecasts.count;
    sum.forecasts.predicted += others->forecasts.predicted;
    sum.forecasts.reported += others->forecasts.reported;
    return sum;
}

static struct model *model_of(struct model *models, uint32_t *count, const struct gv_worker *worker)
{
    const char *name = worker->model_count > 0 ? worker->models[0] : "";
    for (uint32_t i = 0; i < *count; i++) {
        if (strcmp(models[i].name, name) == 0) {
            return &models[i];
        }
    }
    if (*count == MODELS_MAX) {
        return NULL;
    }
    models[*count] = (struct model){.name = name};
    return &models[(*count)++];
}

static double bytes_per_token(struct gv_load_prompts prompts)
{
    if (prompts.tokens < TRUSTED_TOKENS) {
        return USUAL_BYTES_PER_TOKEN;
    }
    double ratio = (double)prompts.bytes / (double)prompts.tokens;
    ratio = ratio < LEAST_BYTES_PER_TOKEN ? LEAST_BYTES_PER_TOKEN : ratio;
    ratio = ratio > MOST_BYTES_PER_TOKEN ? MOST_BYTES_PER_TOKEN : ratio;
    return (double)(uint64_t)(ratio * STEPS_PER_BYTE + 0.5) / STEPS_PER_BYTE;
}

/* ---- trust ---- */

/* Of those that are alive the first by name: the same on every node, but for moments. */
static const char *find_decider(const struct gv_cluster *cluster)
{
    const struct gv_cluster_view *view = &cluster->view.now; /* ours: only this thread writes it */
    const char *first = cluster->node;
    for (uint32_t i = 0; cluster->enabled && i < view->member_count; i++) {
        const struct gv_member *member = &view->members[i];
        bool is_here = member->status == GV_MEMBER_ALIVE || member->status == GV_MEMBER_SUSPECT;
        if (is_here && strcmp(member->name, first) < 0) {
            first = member->name;
        }
    }
    return first;
}

/* Live blocks of a worker under the key where it has most: shares are by key. */
static uint64_t held_by(struct gv_cluster *cluster, uint32_t index)
{
    struct gv_forest *forest = cluster->options.forest;
    uint64_t most = 0;
    char key[GV_KEY_MAX];
    for (uint32_t i = 0; gv_forest_key(forest, i, key); i++) {
        uint64_t blocks = gv_forest_worker_blocks(forest, key, index);
        most = blocks > most ? blocks : most;
    }
    return most;
}

static void decide_trust(struct gv_cluster *cluster, const struct gv_worker *worker,
                         struct gv_trust *trust, enum gv_trust_verdict verdict, uint64_t capacity)
{
    uint32_t before = trust->permille;
    uint64_t held = verdict == GV_TRUST_SINK ? held_by(cluster, worker->index) : 0;
    if (gv_trust_move(trust, verdict, held, capacity, gv_shell_now().now_ms)) {
        gv_log(GV_LOG_INFO, "worker.trust", GV_STR("worker", worker->url),
               GV_UINT("permille", trust->permille), GV_UINT("before", before),
               GV_UINT("held_blocks", held), GV_UINT("capacity_blocks", capacity));
    }
}

/* Bring one worker's trust up to date; `capacity` is what its engine tells, in blocks. */
static const struct gv_trust *look_at_trust(struct gv_cluster *cluster,
                                            const struct gv_worker *worker,
                                            struct gv_forecasts forecasts, uint64_t capacity,
                                            const char *decider)
{
    struct gv_trust *trust = &cluster->publish.trusts[worker->index];
    bool was_off = gv_trust_is_off(trust);
    enum gv_trust_verdict verdict = gv_trust_judge(trust, forecasts, gv_shell_now().now_ms);
    if (gv_trust_is_off(trust) != was_off) {
        gv_log(GV_LOG_WARN, "worker.caching", GV_STR("worker", worker->url), GV_FLAG("on", was_off),
               GV_STR("advice", was_off ? ""
                                        : "it reports no cached token of prompts that it was given "
                                          "before; is its prefix caching off?"));
    }
    if (cluster->publish.decides_trust) {
        decide_trust(cluster, worker, trust, verdict, capacity);
        return trust;
    }
    uint32_t told = gv_hearsay_trust(cluster, decider, worker->url);
    if (told >= GV_TRUST_LEAST && told <= GV_TRUST_FULL) {
        trust->permille = told;
    }
    return trust;
}

/* ---- all of them ---- */

static struct model sum_models(struct gv_cluster *cluster, const struct gv_fleet_view *view,
                               struct model *models, uint32_t *count)
{
    struct model all = {.name = ""};
    for (uint32_t i = 0; i < view->count; i++) {
        struct model *model = model_of(models, count, &view->workers[i]);
        struct gv_load_prompts prompts = prompts_of(cluster, view->workers[i].index);
        add(&all.prompts, &prompts);
        if (model != NULL) {
            add(&model->prompts, &prompts);
        }
    }
    return all;
}

/* A worker of which nothing is known yet computes as fast as the others of its model. */
static double speed_of(const struct gv_load_prompts *own, const struct gv_load_prompts *model)
{
    const struct gv_load_prompts *known = own->prefill_bytes >= GV_PREFILL_TRUSTED ? own : model;
    return gv_prefill_speed(known->prefill_bytes, known->prefill_us);
}

static void set_one(struct gv_cluster *cluster, const struct gv_worker *worker,
                    const struct gv_load_prompts *model, const char *decider)
{
    const struct gv_config *config = cluster->options.config;
    uint64_t most = config->max_tree_bytes / config->block_bytes;
    struct gv_load_prompts own = prompts_of(cluster, worker->index);
    bool told = worker->capacity_tokens > 0;
    double blocks =
        (double)worker->capacity_tokens * bytes_per_token(*model) / (double)config->block_bytes;
    uint64_t capacity = told && blocks < (double)most ? (uint64_t)blocks : most;
    capacity = capacity == 0 ? 1 : capacity; /* 0 would be the default */
    const struct gv_trust *trust = look_at_trust(cluster, worker, own.forecasts, capacity, decider);
    bool is_default = !told && trust->permille == GV_TRUST_FULL;
    uint64_t share = (uint64_t)((double)capacity * trust->permille / GV_TRUST_FULL);
    share = share == 0 ? 1 : share;
    gv_forest_set_capacity(cluster->options.forest, worker->index, is_default ? 0 : share);
    gv_load_believe(cluster->options.load, worker->index,
                    (struct gv_load_belief){.prefill_bytes_per_ms = speed_of(&own, model),
                                            .trust_permille = trust->permille,
                                            .is_uncached = gv_trust_is_off(trust)});
}

static void set_all(struct gv_cluster *cluster, const struct gv_fleet_view *view)
{
    struct model models[MODELS_MAX];
    uint32_t count = 0;
    struct model all = sum_models(cluster, view, models, &count);
    const char *decider = find_decider(cluster);
    cluster->publish.decides_trust = strcmp(decider, cluster->node) == 0;
    for (uint32_t i = 0; i < view->count; i++) {
        const struct model *model = model_of(models, &count, &view->workers[i]);
        set_one(cluster, &view->workers[i], model != NULL ? &model->prompts : &all.prompts,
                decider);
    }
}

enum gv_err gv_capacity_open(struct gv_cluster *cluster)
{
    struct gv_publish *publish = &cluster->publish;
    publish->trusts = gv_mem_new(GV_MEM_GOSSIP, GV_WORKERS_MAX * sizeof publish->trusts[0]);
    for (uint32_t i = 0; publish->trusts != NULL && i < GV_WORKERS_MAX; i++) {
        gv_trust_init(&publish->trusts[i]);
    }
    return publish->trusts != NULL ? GV_OK : GV_ENOMEM;
}

void gv_capacity_free(struct gv_cluster *cluster)
{
    gv_mem_free(GV_MEM_GOSSIP, cluster->publish.trusts);
    cluster->publish.trusts = NULL;
}

void gv_capacity_set(struct gv_cluster *cluster)
{
    struct gv_publish *publish = &cluster->publish;
    uint64_t version = gv_fleet_version(cluster->options.fleet);
    uint64_t now_ms = gv_shell_now().now_ms;
    if (version == publish->fleet_version &&
        now_ms < publish->capacities_at_ms + GV_SHELL_CAPACITY_MS) {
        return;
    }
    publish->fleet_version = version;
    publish->capacities_at_ms = now_ms;
    const struct gv_fleet_view *view = gv_fleet_acquire(cluster->options.fleet);
    set_all(cluster, view);
    gv_fleet_release(cluster->options.fleet, view);
}
