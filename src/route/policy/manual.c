/*
 * manual - a routing key keeps the worker it was first given, for as long as it is used.
 *
 * A key remembers up to two workers. The first of them that is eligible gets the request: so a key
 * whose worker is away goes to its second one, and returns with the first. When neither is there, a
 * new one is assigned (enum gv_assignment) and the older memory dropped. Without a key each request
 * is assigned anew and nothing is remembered.
 *
 * Bounded twice: a key unused for manual_idle_ms is forgotten, and beyond manual_key_max the one
 * unused for longest. Only a 64-bit name of a key is kept, never the key. All memory is taken at
 * the start. Each pool has its own instance, so the legs of a pair never meet here.
 */
#include "grapevine/base/assert.h"
#include "grapevine/base/lock.h"
#include "grapevine/base/map.h"
#include "grapevine/base/mem.h"
#include "route/policy_row.h"

#define NONE            UINT32_MAX
#define FORGET_PER_TURN 4 /* a turn adds one key at most, so the idle ones never pile up */

/* One routing key. Idle seats are linked through `next`. */
struct seat {
    uint64_t key;        /* its name */
    uint64_t used_at_ms; /* last */
    uint32_t workers[2]; /* indexes, in order of preference; NONE */
    uint32_t current;    /* the one of them that is counted in groups */
    uint32_t next;       /* of the same slot */
    uint32_t older;      /* by use */
    uint32_t newer;
};

struct memory {
    struct gv_mutex lock;
    struct seat *seats; /* owned; seat_count */
    uint32_t *slots;    /* owned; first seat by hash; slot_count, a power of two */
    uint32_t seat_count;
    uint32_t slot_count;
    uint32_t idle; /* first idle seat */
    uint32_t oldest;
    uint32_t newest;
    uint64_t secret[2]; /* of the hash; from the first request, so that nobody can aim at a slot */
    bool is_begun;
    uint32_t groups[GV_WORKERS_MAX]; /* keys by current worker */
};

static uint32_t *slot_of(struct memory *memory, uint64_t key)
{
    uint64_t hash = gv_siphash(memory->secret, gv_slice_of(&key, sizeof key));
    return &memory->slots[hash & (memory->slot_count - 1)];
}

/* ---- order of use ---- */

static void unlink_seat(struct memory *memory, uint32_t at)
{
    struct seat *seat = &memory->seats[at];
    *(seat->older == NONE ? &memory->oldest : &memory->seats[seat->older].newer) = seat->newer;
    *(seat->newer == NONE ? &memory->newest : &memory->seats[seat->newer].older) = seat->older;
}

static void link_newest(struct memory *memory, uint32_t at)
{
    struct seat *seat = &memory->seats[at];
    seat->older = memory->newest;
    seat->newer = NONE;
    *(memory->newest == NONE ? &memory->oldest : &memory->seats[memory->newest].newer) = at;
    memory->newest = at;
}

/* ---- keys ---- */

static void set_current(struct memory *memory, struct seat *seat, uint32_t worker)
{
    if (seat->current != NONE) {
        GV_ASSERT(memory->groups[seat->current] > 0);
        memory->groups[seat->current] -= 1;
    }
    seat->current = worker;
    if (worker != NONE) {
        memory->groups[worker] += 1;
    }
}

static void forget_oldest(struct memory *memory)
{
    uint32_t at = memory->oldest;
    GV_ASSERT(at != NONE);
    struct seat *seat = &memory->seats[at];
    uint32_t *link = slot_of(memory, seat->key);
    while (*link != at) {
        GV_ASSERT(*link != NONE);
        link = &memory->seats[*link].next;
    }
    *link = seat->next;
    unlink_seat(memory, at);
    set_current(memory, seat, NONE);
    seat->next = memory->idle;
    memory->idle = at;
}

static bool is_stale(const struct gv_policy *policy, const struct seat *seat, uint64_t now_ms)
{
    return now_ms > seat->used_at_ms && now_ms - seat->used_at_ms > policy->options.manual_idle_ms;
}

static struct seat *find(struct memory *memory, uint64_t key)
{
    for (uint32_t at = *slot_of(memory, key); at != NONE; at = memory->seats[at].next) {
        if (memory->seats[at].key == key) {
            return &memory->seats[at];
        }
    }
    return NULL;
}

/* A seat for a key that has none; the key unused for longest makes room. */
static struct seat *add(struct memory *memory, uint64_t key)
{
    if (memory->idle == NONE) {
        forget_oldest(memory);
    }
    uint32_t at = memory->idle;
    struct seat *seat = &memory->seats[at];
    uint32_t *slot = slot_of(memory, key);
    memory->idle = seat->next;
    *seat = (struct seat){.key = key, .workers = {NONE, NONE}, .current = NONE, .next = *slot};
    *slot = at;
    link_newest(memory, at);
    return seat;
}

static void use(struct memory *memory, struct seat *seat, uint32_t worker, uint64_t now_ms)
{
    uint32_t at = (uint32_t)(seat - memory->seats);
    unlink_seat(memory, at);
    link_newest(memory, at);
    seat->used_at_ms = now_ms > seat->used_at_ms ? now_ms : seat->used_at_ms;
    set_current(memory, seat, worker);
}

static void remember(struct seat *seat, uint32_t worker)
{
    if (seat->workers[0] == NONE) {
        seat->workers[0] = worker;
        return;
    }
    if (seat->workers[1] != NONE) {
        seat->workers[0] = seat->workers[1];
    }
    seat->workers[1] = worker;
}

/* ---- the choice ---- */

static uint32_t place_of(const struct gv_policy_request *request, uint32_t worker)
{
    for (uint32_t i = 0; worker != NONE && i < request->eligible_count; i++) {
        if (request->eligible[i]->index == worker) {
            return i;
        }
    }
    return GV_POLICY_NOBODY;
}

static uint32_t place_kept(const struct seat *seat, const struct gv_policy_request *request)
{
    uint32_t place = place_of(request, seat->workers[0]);
    return place != GV_POLICY_NOBODY ? place : place_of(request, seat->workers[1]);
}

/* The least by the measure of the mode; among equals by the key, so that nodes draw alike. While
 * loads are uneven only the near-least loaded get new keys; those given before stay. */
static uint32_t assign(const struct gv_policy *policy, const struct gv_policy_request *request,
                       const struct gv_policy_facts *facts)
{
    const struct memory *memory = policy->memory;
    uint64_t seed = request->routing_key != 0 ? request->routing_key : request->random;
    uint32_t best = GV_POLICY_NOBODY;
    uint32_t best_measure = 0;
    uint64_t best_weight = 0;
    uint64_t load_limit;
    bool uneven = gv_policy_is_uneven(policy, request, facts, &load_limit);
    for (uint32_t i = 0; i < request->eligible_count; i++) {
        uint32_t measure = 0;
        if (uneven && !gv_policy_may(facts, i, load_limit)) {
            continue;
        }
        if (policy->options.assignment == GV_ASSIGN_MIN_LOAD) {
            measure = facts->loads[i];
        } else if (policy->options.assignment == GV_ASSIGN_MIN_GROUP) {
            measure = memory->groups[request->eligible[i]->index];
        }
        uint64_t weight = gv_policy_weight(request, i, seed);
        if (best == GV_POLICY_NOBODY || measure < best_measure ||
            (measure == best_measure && weight > best_weight)) {
            best = i;
            best_measure = measure;
            best_weight = weight;
        }
    }
    return best;
}

static uint32_t choose_keyed(struct gv_policy *policy, const struct gv_policy_request *request,
                             const struct gv_policy_facts *facts)
{
    struct memory *memory = policy->memory;
    if (!memory->is_begun) {
        memory->is_begun = true;
        memory->secret[0] = request->random;
        memory->secret[1] = request->random ^ request->routing_key;
    }
    for (int i = 0; i < FORGET_PER_TURN && !request->dry && memory->oldest != NONE &&
                    is_stale(policy, &memory->seats[memory->oldest], request->now_ms);
         i++) {
        forget_oldest(memory);
    }
    struct seat *seat = find(memory, request->routing_key);
    bool stale = seat != NULL && is_stale(policy, seat, request->now_ms);
    uint32_t place = seat != NULL && !stale ? place_kept(seat, request) : GV_POLICY_NOBODY;
    bool is_new = place == GV_POLICY_NOBODY;
    if (is_new) {
        place = assign(policy, request, facts);
    }
    if (request->dry) {
        return place;
    }
    uint32_t worker = request->eligible[place]->index;
    if (seat == NULL) {
        seat = add(memory, request->routing_key);
    }
    if (stale) {
        seat->workers[0] = NONE; /* as if it had been forgotten in time */
        seat->workers[1] = NONE;
    }
    if (is_new) {
        remember(seat, worker);
    }
    use(memory, seat, worker, request->now_ms);
    return place;
}

static uint32_t choose(struct gv_policy *policy, const struct gv_policy_request *request,
                       const struct gv_policy_facts *facts, enum gv_rule *rule)
{
    struct memory *memory = policy->memory;
    *rule = request->routing_key != 0 ? GV_RULE_STICKY : GV_RULE_CHANCE;
    gv_mutex_lock(&memory->lock);
    uint32_t place = request->routing_key != 0 ? choose_keyed(policy, request, facts)
                                               : assign(policy, request, facts);
    gv_mutex_unlock(&memory->lock);
    return place;
}

/* ---- beginning and end ---- */

static void end(struct gv_policy *policy)
{
    struct memory *memory = policy->memory;
    gv_mutex_deinit(&memory->lock);
    gv_mem_free(GV_MEM_GENERAL, memory->slots);
    gv_mem_free(GV_MEM_GENERAL, memory->seats);
    gv_mem_free(GV_MEM_GENERAL, memory);
}

static enum gv_err begin(struct gv_policy *policy)
{
    struct memory *memory = gv_mem_new(GV_MEM_GENERAL, sizeof *memory);
    if (memory == NULL) {
        return GV_ENOMEM;
    }
    gv_mutex_init(&memory->lock);
    memory->seat_count = policy->options.manual_key_max > 0 ? policy->options.manual_key_max : 1;
    memory->slot_count = 1;
    while (memory->slot_count < memory->seat_count && memory->slot_count < UINT32_MAX / 2) {
        memory->slot_count *= 2;
    }
    policy->memory = memory;
    memory->seats = gv_mem_new(GV_MEM_GENERAL, memory->seat_count * sizeof *memory->seats);
    memory->slots = gv_mem_new(GV_MEM_GENERAL, memory->slot_count * sizeof *memory->slots);
    if (memory->seats == NULL || memory->slots == NULL) {
        end(policy);
        return GV_ENOMEM;
    }
    for (uint32_t i = 0; i < memory->slot_count; i++) {
        memory->slots[i] = NONE;
    }
    for (uint32_t i = 0; i < memory->seat_count; i++) {
        memory->seats[i].next = i + 1 < memory->seat_count ? i + 1 : NONE;
    }
    memory->oldest = NONE;
    memory->newest = NONE;
    return GV_OK;
}

const struct gv_policy_row gv_policy_manual = {.name = "manual",
                                               .decides_alone = true,
                                               .gates_itself = true,
                                               .begin = begin,
                                               .end = end,
                                               .choose = choose};
