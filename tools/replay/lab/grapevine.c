/*
 * grapevine.c - our routers: per router a fleet, a load table, a policy and a forest, all as in the
 * product, and between them the product's gossip engine over a simulated network.
 *
 * Each router does what a node does and when: the load is counted at selection, decisions are
 * recorded and published, own loads are told every few milliseconds while they change (the engine
 * decides what is worth sending), and the forest is swept in slices.
 */
#include "grapevine/route/policy.h"
#include "lab.h"
#include "vinesim/world.h"

#define KEY            "regular::lab"
#define TELL_US        5000  /* as cluster/shell.h while busy */
#define SWEEP_US       50000 /* as cluster/shell.h */
#define SETTLE_MS      3000  /* for the routers to find each other, before the trace begins */
#define FLOORS         16
#define MIN_AGE_S      10
#define TOUCH_S        5
#define AHEAD_S        60
#define TRIE_BYTES     ((size_t)1 << 30)
#define MANUAL_IDLE_MS 14400000 /* as --manual-max-idle-secs */
#define MANUAL_KEYS    262144

/* What a router knows of the others' loads at one engine. */
struct heard {
    uint32_t count[LAB_ROUTERS_MAX];
    uint64_t bytes[LAB_ROUTERS_MAX];
};

struct our_router {
    struct gv_fleet *fleet; /* owned, as all; NULL while it is down */
    struct gv_load_table *load;
    struct gv_policy *policy;
    const struct gv_fleet_view *view;
    struct heard heard[LAB_ENGINES_MAX];
    bool changed[LAB_ENGINES_MAX]; /* own load, since it was told */
    bool any_changed;
};

struct grapevine {
    struct lab_setting setting;
    struct world_guest guest;
    struct world *world; /* owned; borrows the guest */
    struct our_router routers[LAB_ROUTERS_MAX];
    bool engine_up[LAB_ENGINES_MAX];
    uint64_t start_us; /* of the trace, in the world's time */
    uint64_t step_at_us, tell_at_us, sweep_at_us;
    const struct gv_worker *eligible[LAB_ENGINES_MAX];
    uint64_t bytes_before; /* sent before the trace began */
};

/* What the mesh says of others' loads at a worker. */
static void load_changed(void *owner, uint32_t node, uint32_t about, uint32_t worker,
                         const struct gv_gossip_load *load)
{
    struct grapevine *grapevine = owner;
    struct our_router *router = &grapevine->routers[node];
    if (router->load == NULL || about == node || about >= LAB_ROUTERS_MAX) {
        return;
    }
    struct heard *heard = &router->heard[worker];
    heard->count[about] = load->count;
    heard->bytes[about] = load->bytes;
    uint32_t count = 0;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < LAB_ROUTERS_MAX; i++) {
        count += heard->count[i];
        bytes += heard->bytes[i];
    }
    gv_load_set_remote(router->load, worker, count, bytes);
}

/* ---- routers -----------------------------------------------------------------------------------
 */

static struct gv_policy_options policy_options(const struct lab_setting *setting)
{
    const struct lab_options *options = setting->options;
    return (struct gv_policy_options){.cache_threshold = options->cache_threshold,
                                      .balance_abs_threshold = options->balance_abs,
                                      .balance_rel_threshold = options->balance_rel,
                                      .usage_spread = 1,
                                      .usage_most = 1,
                                      .load_bound = 1.25,
                                      .block_bytes = LAB_BLOCK_BYTES,
                                      .hash_blocks = setting->contender->hash_blocks,
                                      .assignment = GV_ASSIGN_MIN_LOAD,
                                      .manual_idle_ms = MANUAL_IDLE_MS,
                                      .manual_key_max = MANUAL_KEYS};
}

static bool put_engine(struct our_router *router, uint32_t engine)
{
    static struct gv_worker worker; /* large */
    struct gv_slice url = gv_slice_text(world_worker_url(engine));
    gv_worker_blank(&worker);
    (void)gv_slice_copy_text(url, worker.url, sizeof worker.url);
    return gv_fleet_put(router->fleet, &worker) == GV_OK &&
           gv_fleet_set_state(router->fleet, url, GV_WORKER_READY, "", 1) == GV_OK;
}

static void look_again(struct our_router *router)
{
    if (router->view != NULL) {
        gv_fleet_release(router->fleet, router->view);
    }
    router->view = gv_fleet_acquire(router->fleet);
}

/* The node is up: what it has beside the mesh. Engines get the same index everywhere. */
static bool open_router(struct grapevine *grapevine, uint32_t number)
{
    struct our_router *router = &grapevine->routers[number];
    const struct lab_setting *setting = &grapevine->setting;
    struct gv_forest *forest = grapevine->world->nodes[number].forest;
    if (gv_fleet_new(&router->fleet) != GV_OK || gv_load_new(&router->load) != GV_OK ||
        gv_policy_new(setting->contender->policy, policy_options(setting), forest, router->load,
                      &router->policy) != GV_OK) {
        return false;
    }
    for (uint32_t i = 0; i < setting->engine_count; i++) {
        uint32_t index;
        if (gv_fleet_index(router->fleet, gv_slice_text(world_worker_url(i)), &index) != GV_OK ||
            index != i || (grapevine->engine_up[i] && !put_engine(router, i))) {
            return false;
        }
        gv_forest_set_capacity(forest, i, setting->options->engine.capacity_blocks);
    }
    look_again(router);
    return true;
}

static void close_router(struct our_router *router)
{
    if (router->view != NULL) {
        gv_fleet_release(router->fleet, router->view);
    }
    gv_policy_free(router->policy);
    gv_load_free(router->load);
    if (router->fleet != NULL) {
        gv_fleet_free(router->fleet);
    }
    *router = (struct our_router){.fleet = NULL};
}

/* ---- time --------------------------------------------------------------------------------------
 */

static void tell_loads(struct grapevine *grapevine, uint32_t number)
{
    struct our_router *router = &grapevine->routers[number];
    struct world_node *node = &grapevine->world->nodes[number];
    if (!router->any_changed || node->engine == NULL || grapevine->setting.options->no_load_sync) {
        return;
    }
    router->any_changed = false;
    for (uint32_t i = 0; i < grapevine->setting.engine_count; i++) {
        if (!router->changed[i]) {
            continue;
        }
        router->changed[i] = false;
        struct gv_load load = gv_load_get(router->load, i);
        struct gv_gossip_load record = {.worker = gv_slice_text(world_worker_url(i)),
                                        .count = load.own_count,
                                        .bytes = load.own_bytes};
        gv_gossip_set_load(node->engine, &record, world_now(grapevine->world, number));
    }
    world_settle(grapevine->world, number);
}

static void publish(struct grapevine *grapevine, uint32_t number,
                    const struct gv_operation *operation)
{
    if (!grapevine->setting.options->no_prefix_sync && grapevine->setting.contender->routers > 1) {
        world_tell(grapevine->world, number, operation);
    }
}

static void sweep(struct grapevine *grapevine, uint32_t number)
{
    struct gv_operation floors[FLOORS];
    struct world *world = grapevine->world;
    uint32_t count = gv_forest_sweep(world->nodes[number].forest, world_now(world, number).wall_ms,
                                     floors, FLOORS);
    for (uint32_t i = 0; i < count; i++) {
        publish(grapevine, number, &floors[i]);
    }
}

static void advance(void *mind, uint64_t now_us)
{
    struct grapevine *grapevine = mind;
    uint64_t until_us = grapevine->start_us + now_us;
    uint64_t age_us = (uint64_t)grapevine->setting.options->load_age_ms * 1000;
    uint64_t tell_us = age_us > TELL_US ? age_us : TELL_US;
    while (grapevine->step_at_us <= until_us) {
        world_run_until(grapevine->world, grapevine->step_at_us);
        bool tells = grapevine->tell_at_us <= grapevine->step_at_us;
        bool sweeps = grapevine->sweep_at_us <= grapevine->step_at_us;
        for (uint32_t i = 0; i < grapevine->setting.contender->routers; i++) {
            if (grapevine->routers[i].fleet != NULL) {
                if (tells) {
                    tell_loads(grapevine, i);
                }
                if (sweeps) {
                    sweep(grapevine, i);
                }
            }
        }
        grapevine->sweep_at_us += sweeps ? SWEEP_US : 0;
        grapevine->tell_at_us += tells ? tell_us : 0;
        grapevine->step_at_us += TELL_US;
    }
    world_run_until(grapevine->world, until_us);
}

/* ---- requests ----------------------------------------------------------------------------------
 */

static void note_load(struct our_router *router, uint32_t engine)
{
    router->changed[engine] = true;
    router->any_changed = true;
}

static uint32_t gather(struct grapevine *grapevine, const struct our_router *router, uint32_t avoid)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < router->view->count; i++) {
        const struct gv_worker *worker = &router->view->workers[i];
        if (worker->state == GV_WORKER_READY && worker->index != avoid) {
            grapevine->eligible[count++] = worker;
        }
    }
    return count;
}

static uint32_t choose(void *mind, const struct lab_ask *ask, uint64_t *bytes)
{
    struct grapevine *grapevine = mind;
    struct our_router *router = &grapevine->routers[ask->router];
    struct world *world = grapevine->world;
    const struct corpus_prompt *prompt = ask->prompt;
    bool by_prefix = gv_policy_uses_prefix(router->policy);
    struct gv_policy_request request = {.key = KEY,
                                        .pool = GV_POOL_REGULAR,
                                        .chain = by_prefix ? ask->chain : NULL,
                                        .count = by_prefix ? prompt->block_count : 0,
                                        .prompt_bytes =
                                            prompt->tokens * LAB_BLOCK_BYTES / LAB_BLOCK_TOKENS,
                                        .eligible = grapevine->eligible,
                                        .eligible_count = gather(grapevine, router, ask->avoid),
                                        .routing_key = prompt->session == 0 ? 1 : prompt->session,
                                        .random = ask->random,
                                        .now_ms = ask->now_us / 1000 + 1};
    struct gv_decision decision = {.candidates = NULL};
    gv_policy_decide(router->policy, &request, &decision);
    if (decision.rule == GV_RULE_NONE) {
        return LAB_NONE;
    }
    uint64_t cached = (uint64_t)decision.depth * LAB_BLOCK_BYTES;
    *bytes = cached < request.prompt_bytes ? request.prompt_bytes - cached : 0;
    gv_load_take(router->load, decision.worker, *bytes);
    note_load(router, decision.worker);
    struct gv_operation operation;
    if (gv_policy_uses_trie(router->policy) && request.count > 0 &&
        gv_forest_record(world->nodes[ask->router].forest, KEY, request.chain, request.count,
                         decision.worker, world_now(world, ask->router).wall_ms, &operation)) {
        publish(grapevine, ask->router, &operation);
    }
    return decision.worker;
}

static void first(void *mind, uint32_t number, uint32_t engine, uint64_t bytes)
{
    struct our_router *router = &((struct grapevine *)mind)->routers[number];
    gv_load_first_byte(router->load, engine, bytes);
    note_load(router, engine);
}

static void give(void *mind, uint32_t number, uint32_t engine, uint64_t bytes)
{
    struct our_router *router = &((struct grapevine *)mind)->routers[number];
    gv_load_give(router->load, engine, bytes);
    note_load(router, engine);
}

/* ---- situations --------------------------------------------------------------------------------
 */

/* The first router that is up removes or adds it for all. */
static void set_engine(void *mind, uint32_t engine, bool up)
{
    struct grapevine *grapevine = mind;
    bool told = false;
    grapevine->engine_up[engine] = up;
    for (uint32_t i = 0; i < grapevine->setting.contender->routers; i++) {
        struct our_router *router = &grapevine->routers[i];
        if (router->fleet == NULL) {
            continue;
        }
        if (up) {
            GV_ASSERT(put_engine(router, engine));
        } else {
            GV_ASSERT(gv_fleet_remove(router->fleet, gv_slice_text(world_worker_url(engine))) ==
                      GV_OK);
        }
        look_again(router);
        if (!up && !told) {
            struct gv_operation operation;
            gv_forest_forget(grapevine->world->nodes[i].forest, "*", engine, GV_FLOOR_REMOVED,
                             world_now(grapevine->world, i).wall_ms, &operation);
            publish(grapevine, i, &operation);
            told = true;
        }
    }
}

static void set_router(void *mind, uint32_t number, bool up)
{
    struct grapevine *grapevine = mind;
    if (up) {
        world_start(grapevine->world, number);
        GV_ASSERT(open_router(grapevine, number));
    } else {
        close_router(&grapevine->routers[number]);
        world_kill(grapevine->world, number);
    }
}

static void part(void *mind, bool parted)
{
    struct grapevine *grapevine = mind;
    uint32_t count = grapevine->setting.contender->routers;
    for (uint32_t a = 0; parted && a < count; a++) {
        for (uint32_t b = 0; b < count; b++) {
            if (a % 2 != b % 2) {
                world_block(grapevine->world, a, b, true);
            }
        }
    }
    if (!parted) {
        world_heal(grapevine->world);
    }
}

/* ---- begin and end -----------------------------------------------------------------------------
 */

static void sum(void *mind, struct lab_result *result)
{
    struct grapevine *grapevine = mind;
    const struct world *world = grapevine->world;
    for (uint32_t i = 0; i < grapevine->setting.contender->routers; i++) {
        struct gv_forest_stats stats = {.bytes = 0};
        if (world->nodes[i].forest != NULL) {
            gv_forest_stats(world->nodes[i].forest, &stats);
        }
        if (stats.bytes > result->node_bytes) {
            result->node_bytes = stats.bytes;
            result->node_blocks = stats.blocks;
        }
    }
    result->mesh_bytes = world->session_bytes + world->packet_bytes - grapevine->bytes_before;
    result->visible_p99_us = gv_hist_quantile(&world->visible_us, 0.99);
    (void)snprintf(result->trouble, sizeof result->trouble, "%s", world->wrong);
}

static void end(void *mind)
{
    struct grapevine *grapevine = mind;
    for (uint32_t i = 0; i < LAB_ROUTERS_MAX; i++) {
        close_router(&grapevine->routers[i]);
    }
    if (grapevine->world != NULL) {
        world_free(grapevine->world);
    }
    gv_mem_free(GV_MEM_GENERAL, grapevine);
}

static struct world_options world_options(struct grapevine *grapevine)
{
    const struct lab_setting *setting = &grapevine->setting;
    const struct lab_options *options = setting->options;
    grapevine->guest =
        (struct world_guest){.owner = grapevine,
                             .worker_count = setting->engine_count,
                             .limits = {.max_bytes = TRIE_BYTES,
                                        .touch_interval_s = TOUCH_S,
                                        .max_keys = 16,
                                        .worker_blocks = options->engine.capacity_blocks,
                                        .min_age_s = MIN_AGE_S,
                                        .max_ahead_s = AHEAD_S},
                             .load_changed = load_changed};
    return (struct world_options){.node_count = setting->contender->routers,
                                  .seed = options->trace.seed,
                                  .loss = options->loss,
                                  .delay_us = options->delay_us,
                                  .jitter_us = options->jitter_us,
                                  .guest = &grapevine->guest};
}

void *lab_grapevine_new(const struct lab_setting *setting)
{
    struct grapevine *grapevine = gv_mem_new(GV_MEM_GENERAL, sizeof *grapevine);
    if (grapevine == NULL) {
        return NULL;
    }
    grapevine->setting = *setting;
    for (uint32_t i = 0; i < setting->engines_at_first; i++) {
        grapevine->engine_up[i] = true;
    }
    struct world_options options = world_options(grapevine);
    grapevine->world = world_new(&options);
    if (grapevine->world == NULL) {
        end(grapevine);
        return NULL;
    }
    world_start_all(grapevine->world);
    world_run(grapevine->world, SETTLE_MS);
    for (uint32_t i = 0; i < setting->contender->routers; i++) {
        if (!open_router(grapevine, i)) {
            end(grapevine);
            return NULL;
        }
    }
    grapevine->start_us = grapevine->world->now_us;
    grapevine->step_at_us = grapevine->start_us + TELL_US;
    grapevine->tell_at_us = grapevine->step_at_us;
    grapevine->sweep_at_us = grapevine->start_us + SWEEP_US;
    grapevine->bytes_before = grapevine->world->session_bytes + grapevine->world->packet_bytes;
    return grapevine;
}

const struct lab_mind_row lab_grapevine_row = {.choose = choose,
                                               .first = first,
                                               .give = give,
                                               .advance = advance,
                                               .set_engine = set_engine,
                                               .set_router = set_router,
                                               .part = part,
                                               .sum = sum,
                                               .end = end};
