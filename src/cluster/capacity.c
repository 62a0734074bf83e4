/*
 * capacity.c - how many blocks of prompt a worker's engine can hold: its share of a trie.
 *
 * The engine tells its capacity in tokens; how many bytes of prompt a token is, follows from what
 * engines counted in prompts whose bytes we know. All nodes say what they saw (in their load
 * records) and all compute from the same sums, by model, so that they evict alike: the share is a
 * function of replicated data, rounded so that a record under way rarely matters. Where they differ
 * for a moment the lower share wins, since a floor that one raises holds on all.
 *
 * A worker that tells no capacity has --max-tree-size, and none has more.
 */
#include "shell.h"

#include <string.h>

#define USUAL_BYTES_PER_TOKEN 4.0
#define LEAST_BYTES_PER_TOKEN 0.5
#define MOST_BYTES_PER_TOKEN  16.0
#define STEPS_PER_BYTE        8.0            /* a step of an eighth is 3 percent of the usual */
#define TRUSTED_TOKENS        UINT64_C(2000) /* fewer say little */
#define MODELS_MAX            128            /* told apart; workers of others have their own sums */

struct model {
    const char *name; /* borrowed from the view */
    struct gv_load_prompts prompts;
};

static struct gv_load_prompts prompts_of(struct gv_cluster *cluster, uint32_t index)
{
    struct gv_load_prompts sum = gv_load_own_prompts(cluster->options.load, index);
    sum.bytes += cluster->absorb.prompts[index].bytes;
    sum.tokens += cluster->absorb.prompts[index].tokens;
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

static void set_all(struct gv_cluster *cluster, const struct gv_fleet_view *view)
{
    const struct gv_config *config = cluster->options.config;
    uint64_t most = config->max_tree_bytes / config->block_bytes;
    struct model models[MODELS_MAX];
    uint32_t count = 0;
    for (uint32_t i = 0; i < view->count; i++) {
        struct model *model = model_of(models, &count, &view->workers[i]);
        if (model != NULL) {
            struct gv_load_prompts prompts = prompts_of(cluster, view->workers[i].index);
            model->prompts.bytes += prompts.bytes;
            model->prompts.tokens += prompts.tokens;
        }
    }
    for (uint32_t i = 0; i < view->count; i++) {
        const struct gv_worker *worker = &view->workers[i];
        const struct model *model = model_of(models, &count, worker);
        struct gv_load_prompts prompts =
            model != NULL ? model->prompts : prompts_of(cluster, worker->index);
        double blocks = (double)worker->capacity_tokens * bytes_per_token(prompts) /
                        (double)config->block_bytes;
        bool told = worker->capacity_tokens > 0;
        uint64_t share = blocks < (double)most ? (uint64_t)blocks : most;
        share = told && share == 0 ? 1 : share; /* 0 would be the default */
        gv_forest_set_capacity(cluster->options.forest, worker->index, told ? share : 0);
    }
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
