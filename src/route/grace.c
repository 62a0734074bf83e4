/*
 * grace.c - epochs in two parities, and a ring of what waits for them.
 */
#include "route/grace.h"

#include "grapevine/base/assert.h"
#include "route/cells.h"
#include <string.h>

#define ROOM_FIRST 16u
#define ROOM_MAX   (1u << 20)

static _Atomic uint32_t threads_seen;
static _Thread_local uint32_t own_stripe; /* plus one; 0: none yet */

#define SHARED_STRIPE GV_GRACE_STRIPES /* as in own_stripe: of all threads that came later */

static uint32_t own(void)
{
    if (own_stripe == 0) {
        uint32_t number = atomic_fetch_add_explicit(&threads_seen, 1, memory_order_relaxed);
        own_stripe = number < SHARED_STRIPE - 1 ? number + 1 : SHARED_STRIPE;
    }
    return own_stripe;
}

/* One more, before whatever is read after it. */
static void count_in(_Atomic uint32_t *inside, uint32_t stripe)
{
    if (stripe == SHARED_STRIPE) {
        atomic_fetch_add(inside, 1);
    } else {
        atomic_store(inside, atomic_load_explicit(inside, memory_order_relaxed) + 1);
    }
}

/* One less, after whatever was read before it. */
static void count_out(_Atomic uint32_t *inside, uint32_t stripe)
{
    if (stripe == SHARED_STRIPE) {
        atomic_fetch_sub_explicit(inside, 1, memory_order_release);
    } else {
        uint32_t readers = atomic_load_explicit(inside, memory_order_relaxed);
        atomic_store_explicit(inside, readers - 1, memory_order_release);
    }
}

uint32_t gv_grace_enter(struct gv_grace *grace)
{
    uint32_t stripe = own();
    _Atomic uint32_t *inside = grace->stripes[stripe - 1].inside;
    for (;;) {
        uint64_t epoch = atomic_load(&grace->epoch);
        uint32_t token = (uint32_t)(epoch & 1);
        count_in(&inside[token], stripe);
        if (atomic_load(&grace->epoch) == epoch) {
            return token;
        }
        count_out(&inside[token], stripe); /* it advanced in between */
    }
}

void gv_grace_leave(struct gv_grace *grace, uint32_t token)
{
    uint32_t stripe = own();
    count_out(&grace->stripes[stripe - 1].inside[token], stripe);
}

/* To the next epoch, unless somebody still reads in the one before this. */
static uint64_t advance(struct gv_grace *grace)
{
    uint64_t epoch = atomic_load(&grace->epoch);
    for (uint32_t i = 0; i < GV_GRACE_STRIPES; i++) {
        if (atomic_load(&grace->stripes[i].inside[(epoch + 1) & 1]) != 0) {
            return epoch;
        }
    }
    /* When it fails, another writer has advanced it. */
    return atomic_compare_exchange_strong(&grace->epoch, &epoch, epoch + 1) ? epoch + 1 : epoch;
}

void gv_grace_wait(struct gv_grace *grace)
{
    uint64_t epoch = atomic_fetch_add(&grace->epoch, 0);
    while (advance(grace) < epoch + 2) {
    }
}

enum gv_err gv_limbo_init(struct gv_limbo *limbo, struct gv_grace *grace, struct gv_cells *cells,
                          struct gv_mem_budget *budget)
{
    *limbo = (struct gv_limbo){.grace = grace, .cells = cells, .budget = budget};
    limbo->items = gv_mem_budget_new(budget, ROOM_FIRST * sizeof *limbo->items);
    limbo->room = limbo->items != NULL ? ROOM_FIRST : 0;
    return limbo->items != NULL ? GV_OK : GV_EFULL;
}

static void free_first(struct gv_limbo *limbo)
{
    struct gv_limbo_item *item = &limbo->items[limbo->first];
    if (item->words > 0) {
        gv_cells_give(limbo->cells, item->memory, item->words);
    } else {
        gv_mem_budget_free(limbo->budget, item->memory, item->bytes);
    }
    limbo->first = (limbo->first + 1) % limbo->room;
    limbo->count -= 1;
}

void gv_limbo_deinit(struct gv_limbo *limbo)
{
    while (limbo->count > 0) {
        free_first(limbo);
    }
    gv_mem_budget_free(limbo->budget, limbo->items, limbo->room * sizeof *limbo->items);
}

void gv_limbo_settle(struct gv_limbo *limbo)
{
    if (limbo->count == 0) {
        return;
    }
    if (limbo->undated > 0) {
        /* An addition of nothing, not a look: whoever advances the epoch then knows of all that was
         * unlinked before, and so do the readers that enter after that. */
        uint64_t epoch = atomic_fetch_add(&limbo->grace->epoch, 0);
        for (; limbo->undated > 0; limbo->undated--) {
            uint32_t at = (limbo->first + limbo->count - limbo->undated) % limbo->room;
            limbo->items[at].epoch = epoch;
        }
    }
    uint64_t epoch = advance(limbo->grace);
    while (limbo->count > 0 && limbo->items[limbo->first].epoch + 2 <= epoch) {
        free_first(limbo);
    }
}

/* Room for one more. Without memory for it, wait until readers within have left: they are not long.
 */
static void widen(struct gv_limbo *limbo)
{
    uint32_t room = limbo->room * 2;
    struct gv_limbo_item *items =
        room <= ROOM_MAX ? gv_mem_budget_new(limbo->budget, room * sizeof *items) : NULL;
    if (items == NULL) {
        while (limbo->count == limbo->room) {
            gv_limbo_settle(limbo);
        }
        return;
    }
    for (uint32_t i = 0; i < limbo->count; i++) {
        items[i] = limbo->items[(limbo->first + i) % limbo->room];
    }
    gv_mem_budget_free(limbo->budget, limbo->items, limbo->room * sizeof *items);
    limbo->items = items;
    limbo->room = room;
    limbo->first = 0;
}

static void put(struct gv_limbo *limbo, struct gv_limbo_item item)
{
    if (limbo->count == limbo->room) {
        widen(limbo);
    }
    GV_ASSERT(limbo->count < limbo->room);
    limbo->items[(limbo->first + limbo->count) % limbo->room] = item;
    limbo->count += 1;
    limbo->undated += 1;
}

void gv_limbo_put(struct gv_limbo *limbo, void *memory, size_t bytes)
{
    if (memory != NULL) {
        put(limbo, (struct gv_limbo_item){.memory = memory, .bytes = bytes});
    }
}

void gv_limbo_put_array(struct gv_limbo *limbo, uint64_t *array, uint32_t words)
{
    put(limbo, (struct gv_limbo_item){.memory = array, .words = words});
}
