/*
 * smg.c - cache_aware of SMG (the Shepherd Model Gateway) 1.9, as its public sources describe it,
 * to compare with. Written from that description; kept by segments of the corpus, which for its
 * character tree is exact to a block.
 *
 * Each gateway has a tree of its own: a node knows which engines were given a prompt through it.
 * Loads are those of the gateway's own requests. Out of balance (more than 64 apart and 1.5 times):
 * the least loaded. Else, when more than 0.3 of the prompt matches, the tenant of the deepest node:
 * the one that made the node, else any. If that engine is gone, the first one. Else the least
 * loaded. Engines that leave are not removed from trees. Every 120 s each engine's share of a tree
 * is cut to 64 Mi characters, least recently used first.
 *
 *   smg          gateways share nothing
 *   smg-mesh     once a second each tells the others what it inserted: the engine, and the prefix
 *                that was known before (what its index of hashes holds). Who does not know the
 *                prefix asks for the whole tree, at most once in 5 s.
 *   smg-events   the index follows the engines' cache events, here without delay or loss: the
 *                engine that holds most, then the less loaded, then the one with the smaller cache
 */
#include "lab.h"
#include <stdlib.h>

#define BALANCE_ABS   64U
#define BALANCE_REL   1.5
#define THRESHOLD     0.3
#define SYNC_US       1000000U
#define REPAIR_US     5000000U
#define EVICT_US      120000000U
#define TENANT_BLOCKS (((uint64_t)64 << 20) / LAB_BLOCK_BYTES)

struct tenant {
    uint32_t engine;
    uint64_t used; /* of the gateway's counter */
};

struct node {
    struct tenant *tenants; /* owned */
    uint32_t count, room;
    uint32_t maker;
};

struct delta {
    const struct corpus_prompt *prompt;
    uint32_t known; /* leading segments */
    uint32_t engine;
};

struct gateway {
    struct node *nodes; /* owned: one per segment */
    uint64_t used;
    uint32_t loads[LAB_ENGINES_MAX];
    uint64_t processed[LAB_ENGINES_MAX];
    uint64_t blocks[LAB_ENGINES_MAX]; /* of the tree, by tenant */
    struct delta *deltas;             /* owned */
    size_t delta_count, delta_room;
    uint64_t repaired_at_us;
};

struct smg {
    struct lab_setting setting;
    struct gateway gateways[LAB_ROUTERS_MAX];
    bool up[LAB_ROUTERS_MAX];
    bool engine_up[LAB_ENGINES_MAX];
    bool parted;
    uint64_t sync_at_us, evict_at_us;
};

/* ---- a tree ------------------------------------------------------------------------------------
 */

static struct tenant *find(const struct node *node, uint32_t engine)
{
    for (uint32_t i = 0; i < node->count; i++) {
        if (node->tenants[i].engine == engine) {
            return &node->tenants[i];
        }
    }
    return NULL;
}

static void add(struct smg *smg, struct gateway *gateway, uint32_t segment, uint32_t engine)
{
    struct node *node = &gateway->nodes[segment];
    struct tenant *tenant = find(node, engine);
    if (tenant == NULL) {
        if (node->count == node->room) {
            node->room = node->room * 2 + 1;
            node->tenants =
                gv_mem_resize(GV_MEM_GENERAL, node->tenants, node->room * sizeof *node->tenants);
            GV_ASSERT(node->tenants != NULL);
        }
        node->maker = node->count == 0 ? engine : node->maker;
        tenant = &node->tenants[node->count++];
        tenant->engine = engine;
        gateway->blocks[engine] += smg->setting.corpus->segments[segment].count;
    }
    tenant->used = gateway->used;
}

static void insert(struct smg *smg, struct gateway *gateway, const struct corpus_prompt *prompt,
                   uint32_t segments, uint32_t engine)
{
    gateway->used += 1;
    for (uint32_t i = 0; i < segments; i++) {
        add(smg, gateway, smg->setting.corpus->paths[prompt->path + i], engine);
    }
}

/* Leading segments that anybody has; `*blocks` of them, and who is named at the deepest. */
static uint32_t match(const struct smg *smg, const struct gateway *gateway,
                      const struct corpus_prompt *prompt, uint32_t *blocks, uint32_t *engine)
{
    const struct corpus *corpus = smg->setting.corpus;
    uint32_t known = 0;
    *blocks = 0;
    *engine = LAB_NONE;
    for (; known < prompt->path_count; known++) {
        uint32_t segment = corpus->paths[prompt->path + known];
        const struct node *node = &gateway->nodes[segment];
        if (node->count == 0) {
            break;
        }
        *blocks += corpus->segments[segment].count;
        *engine = find(node, node->maker) != NULL ? node->maker : node->tenants[0].engine;
    }
    return known;
}

/* The children of a segment were used no later than it: to drop what is older than `used` drops
 * leaves first. */
static void drop_older(struct smg *smg, struct gateway *gateway, uint32_t engine, uint64_t used)
{
    for (size_t i = 0; i < smg->setting.corpus->segment_count; i++) {
        struct node *node = &gateway->nodes[i];
        struct tenant *tenant = find(node, engine);
        if (tenant != NULL && tenant->used < used) {
            *tenant = node->tenants[--node->count];
            gateway->blocks[engine] -= smg->setting.corpus->segments[i].count;
        }
    }
}

static void evict(struct smg *smg, struct gateway *gateway)
{
    for (uint32_t engine = 0; engine < smg->setting.engine_count; engine++) {
        uint64_t low = 0;
        while (gateway->blocks[engine] > TENANT_BLOCKS && low < gateway->used) {
            low += (gateway->used - low) / 8 + 1;
            drop_older(smg, gateway, engine, low);
        }
    }
}

/* ---- requests ----------------------------------------------------------------------------------
 */

static bool may(const struct smg *smg, const struct lab_ask *ask, uint32_t engine)
{
    return smg->engine_up[engine] && engine != ask->avoid;
}

static uint32_t least_loaded(const struct smg *smg, const struct gateway *gateway,
                             const struct lab_ask *ask, bool *uneven)
{
    uint32_t best = LAB_NONE;
    uint32_t most = 0;
    for (uint32_t i = 0; i < smg->setting.engine_count; i++) {
        if (!may(smg, ask, i)) {
            continue;
        }
        most = gateway->loads[i] > most ? gateway->loads[i] : most;
        bool less = best == LAB_NONE || gateway->loads[i] < gateway->loads[best] ||
                    (gateway->loads[i] == gateway->loads[best] &&
                     gateway->processed[i] < gateway->processed[best]);
        best = less ? i : best;
    }
    *uneven = best != LAB_NONE && most - gateway->loads[best] > BALANCE_ABS &&
              (double)most > BALANCE_REL * (double)gateway->loads[best];
    return best;
}

static void note_delta(struct gateway *gateway, struct delta delta)
{
    if (gateway->delta_count == gateway->delta_room) {
        gateway->delta_room = gateway->delta_room * 2 + 64;
        gateway->deltas = gv_mem_resize(GV_MEM_GENERAL, gateway->deltas,
                                        gateway->delta_room * sizeof *gateway->deltas);
        GV_ASSERT(gateway->deltas != NULL);
    }
    gateway->deltas[gateway->delta_count++] = delta;
}

static uint32_t by_tree(struct smg *smg, struct gateway *gateway, const struct lab_ask *ask)
{
    bool uneven;
    uint32_t least = least_loaded(smg, gateway, ask, &uneven);
    if (least == LAB_NONE) {
        return LAB_NONE;
    }
    uint32_t blocks;
    uint32_t holder;
    uint32_t known = match(smg, gateway, ask->prompt, &blocks, &holder);
    uint32_t chosen = least;
    if (!uneven && (double)blocks > THRESHOLD * (double)ask->prompt->block_count) {
        if (!may(smg, ask, holder)) {
            uint32_t first = 0;
            while (!may(smg, ask, first)) {
                first += 1;
            }
            return first; /* neither inserted nor counted as processed */
        }
        chosen = holder;
    }
    insert(smg, gateway, ask->prompt, ask->prompt->path_count, chosen);
    gateway->processed[chosen] += 1;
    if (smg->setting.contender->kind == LAB_SMG_MESH && known > 0) {
        note_delta(gateway, (struct delta){ask->prompt, known, chosen});
    }
    return chosen;
}

static uint32_t by_events(struct smg *smg, struct gateway *gateway, const struct lab_ask *ask)
{
    bool uneven;
    uint32_t best = least_loaded(smg, gateway, ask, &uneven);
    if (uneven || best == LAB_NONE) {
        return best;
    }
    const struct lab_engine *engines = smg->setting.engines;
    uint64_t most = lab_engine_cached(&engines[best], ask->prompt);
    for (uint32_t i = 0; i < smg->setting.engine_count; i++) {
        uint64_t held = may(smg, ask, i) ? lab_engine_cached(&engines[i], ask->prompt) : 0;
        bool same = held == most && held > 0;
        bool less = gateway->loads[i] < gateway->loads[best] ||
                    (gateway->loads[i] == gateway->loads[best] &&
                     engines[i].held_blocks < engines[best].held_blocks);
        if (held > most || (same && less)) {
            best = i;
            most = held;
        }
    }
    gateway->processed[best] += 1;
    return best;
}

static uint32_t choose(void *mind, const struct lab_ask *ask, uint64_t *bytes)
{
    struct smg *smg = mind;
    struct gateway *gateway = &smg->gateways[ask->router];
    *bytes = 0;
    uint32_t chosen = smg->setting.contender->kind == LAB_SMG_EVENTS ? by_events(smg, gateway, ask)
                                                                     : by_tree(smg, gateway, ask);
    if (chosen != LAB_NONE) {
        gateway->loads[chosen] += 1;
    }
    return chosen;
}

static void first(void *mind, uint32_t router, uint32_t engine, uint64_t bytes)
{
    (void)mind; /* in flight to its end */
    (void)router;
    (void)engine;
    (void)bytes;
}

static void give(void *mind, uint32_t router, uint32_t engine, uint64_t bytes)
{
    (void)bytes;
    ((struct smg *)mind)->gateways[router].loads[engine] -= 1;
}

/* ---- tree sync ---------------------------------------------------------------------------------
 */

static bool reaches(const struct smg *smg, uint32_t from, uint32_t to)
{
    return from != to && smg->up[from] && smg->up[to] && (!smg->parted || from % 2 == to % 2);
}

static void take_tree(struct smg *smg, struct gateway *into, const struct gateway *from)
{
    into->used += 1;
    for (size_t i = 0; i < smg->setting.corpus->segment_count; i++) {
        for (uint32_t t = 0; t < from->nodes[i].count; t++) {
            if (find(&into->nodes[i], from->nodes[i].tenants[t].engine) == NULL) {
                add(smg, into, (uint32_t)i, from->nodes[i].tenants[t].engine);
            }
        }
    }
}

static void take_deltas(struct smg *smg, uint32_t to, const struct gateway *from, uint64_t now_us)
{
    struct gateway *gateway = &smg->gateways[to];
    const struct corpus *corpus = smg->setting.corpus;
    bool missing = false;
    for (size_t i = 0; i < from->delta_count; i++) {
        const struct delta *delta = &from->deltas[i];
        uint32_t deepest = corpus->paths[delta->prompt->path + delta->known - 1];
        if (gateway->nodes[deepest].count == 0) {
            missing = true;
        } else {
            insert(smg, gateway, delta->prompt, delta->known, delta->engine);
        }
    }
    if (missing && now_us >= gateway->repaired_at_us + REPAIR_US) {
        gateway->repaired_at_us = now_us;
        take_tree(smg, gateway, from);
    }
}

static void sync_trees(struct smg *smg, uint64_t now_us)
{
    uint32_t count = smg->setting.contender->routers;
    for (uint32_t from = 0; from < count; from++) {
        for (uint32_t to = 0; to < count; to++) {
            if (reaches(smg, from, to)) {
                take_deltas(smg, to, &smg->gateways[from], now_us);
            }
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        smg->gateways[i].delta_count = 0; /* told once, heard or not */
    }
}

static void advance(void *mind, uint64_t now_us)
{
    struct smg *smg = mind;
    if (smg->setting.contender->kind == LAB_SMG_MESH && now_us >= smg->sync_at_us) {
        sync_trees(smg, now_us);
        smg->sync_at_us = now_us + SYNC_US;
    }
    if (now_us >= smg->evict_at_us) {
        for (uint32_t i = 0; i < smg->setting.contender->routers; i++) {
            evict(smg, &smg->gateways[i]);
        }
        smg->evict_at_us = now_us + EVICT_US;
    }
}

/* ---- situations, begin and end -----------------------------------------------------------------
 */

static void set_engine(void *mind, uint32_t engine, bool up)
{
    ((struct smg *)mind)->engine_up[engine] = up;
}

static bool open_gateway(struct smg *smg, uint32_t number)
{
    struct gateway *gateway = &smg->gateways[number];
    gateway->nodes = gv_mem_new(GV_MEM_GENERAL,
                                (smg->setting.corpus->segment_count + 1) * sizeof *gateway->nodes);
    smg->up[number] = gateway->nodes != NULL;
    return smg->up[number];
}

static void close_gateway(struct smg *smg, uint32_t number)
{
    struct gateway *gateway = &smg->gateways[number];
    for (size_t i = 0; gateway->nodes != NULL && i < smg->setting.corpus->segment_count; i++) {
        gv_mem_free(GV_MEM_GENERAL, gateway->nodes[i].tenants);
    }
    gv_mem_free(GV_MEM_GENERAL, gateway->nodes);
    gv_mem_free(GV_MEM_GENERAL, gateway->deltas);
    *gateway = (struct gateway){.nodes = NULL};
    smg->up[number] = false;
}

static void set_router(void *mind, uint32_t number, bool up)
{
    struct smg *smg = mind;
    if (up) {
        GV_ASSERT(open_gateway(smg, number));
    } else {
        close_gateway(smg, number);
    }
}

static void part(void *mind, bool parted)
{
    ((struct smg *)mind)->parted = parted;
}

static void sum(void *mind, struct lab_result *result)
{
    (void)mind; /* its memory is not modelled */
    (void)result;
}

static void end(void *mind)
{
    struct smg *smg = mind;
    for (uint32_t i = 0; i < LAB_ROUTERS_MAX; i++) {
        close_gateway(smg, i);
    }
    gv_mem_free(GV_MEM_GENERAL, smg);
}

void *lab_smg_new(const struct lab_setting *setting)
{
    struct smg *smg = gv_mem_new(GV_MEM_GENERAL, sizeof *smg);
    if (smg == NULL) {
        return NULL;
    }
    smg->setting = *setting;
    smg->sync_at_us = SYNC_US;
    smg->evict_at_us = EVICT_US;
    for (uint32_t i = 0; i < setting->engines_at_first; i++) {
        smg->engine_up[i] = true;
    }
    for (uint32_t i = 0; i < setting->contender->routers; i++) {
        if (!open_gateway(smg, i)) {
            end(smg);
            return NULL;
        }
    }
    return smg;
}

const struct lab_mind_row lab_smg_row = {.choose = choose,
                                         .first = first,
                                         .give = give,
                                         .advance = advance,
                                         .set_engine = set_engine,
                                         .set_router = set_router,
                                         .part = part,
                                         .sum = sum,
                                         .end = end};
