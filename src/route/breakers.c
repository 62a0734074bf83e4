/*
 * breakers.c - a breaker per worker behind a lock, and one word of it that is read without.
 *
 * The word says the state, whether any failure is remembered, and the epoch. While it says "closed,
 * and nothing remembered", a good outcome changes nothing whatever epoch it belongs to, so nobody
 * has to lock for it.
 */
#include "grapevine/route/breakers.h"

#include "grapevine/base/assert.h"
#include "grapevine/base/lock.h"
#include "grapevine/base/mem.h"
#include "grapevine/route/worker.h"
#include <stdatomic.h>

#define LOCK_COUNT  64u /* workers share them */
#define STATE_MASK  UINT64_C(3)
#define TAINTED_BIT UINT64_C(4) /* a failure is remembered */
#define EPOCH_SHIFT 3u

struct cell {
    _Atomic uint64_t word; /* written under the lock */
    struct gv_breaker breaker;
    bool is_open_for_use; /* the breaker was initialised; before, it is as good as new */
};

struct gv_breakers {
    struct gv_breaker_limits limits;
    struct gv_mutex locks[LOCK_COUNT];
    struct cell cells[GV_WORKERS_MAX];
};

enum gv_err gv_breakers_new(struct gv_breaker_limits limits, struct gv_breakers **breakers)
{
    struct gv_breakers *made = gv_mem_new(GV_MEM_FLEET, sizeof *made);
    if (made == NULL) {
        return GV_ENOMEM;
    }
    made->limits = limits;
    for (uint32_t i = 0; i < LOCK_COUNT; i++) {
        gv_mutex_init(&made->locks[i]);
    }
    *breakers = made;
    return GV_OK;
}

void gv_breakers_free(struct gv_breakers *breakers)
{
    if (breakers == NULL) {
        return;
    }
    for (uint32_t i = 0; i < LOCK_COUNT; i++) {
        gv_mutex_deinit(&breakers->locks[i]);
    }
    gv_mem_free(GV_MEM_FLEET, breakers);
}

static uint64_t word_at(const struct gv_breakers *breakers, uint32_t worker)
{
    GV_ASSERT(worker < GV_WORKERS_MAX);
    return atomic_load_explicit(&breakers->cells[worker].word, memory_order_acquire);
}

static enum gv_breaker_state state_in(uint64_t word)
{
    return (enum gv_breaker_state)(word & STATE_MASK);
}

static struct cell *lock(struct gv_breakers *breakers, uint32_t worker)
{
    struct cell *cell = &breakers->cells[worker];
    gv_mutex_lock(&breakers->locks[worker % LOCK_COUNT]);
    if (!cell->is_open_for_use) {
        gv_breaker_init(&cell->breaker, breakers->limits);
        cell->is_open_for_use = true;
    }
    return cell;
}

/* Show what it has become; `from`: the state it had. */
static struct gv_breaker_turn unlock(struct gv_breakers *breakers, uint32_t worker,
                                     enum gv_breaker_state from)
{
    struct cell *cell = &breakers->cells[worker];
    const struct gv_breaker *breaker = &cell->breaker;
    struct gv_breaker_turn turn = {from, breaker->state};
    uint64_t word = (uint64_t)breaker->epoch << EPOCH_SHIFT | (uint64_t)breaker->state |
                    (gv_breaker_remembers(breaker) ? TAINTED_BIT : 0);
    atomic_store_explicit(&cell->word, word, memory_order_release);
    gv_mutex_unlock(&breakers->locks[worker % LOCK_COUNT]);
    return turn;
}

bool gv_breakers_can_admit(struct gv_breakers *breakers, uint32_t worker, uint64_t now_ms)
{
    if (state_in(word_at(breakers, worker)) == GV_BREAKER_CLOSED) {
        return true;
    }
    struct cell *cell = lock(breakers, worker);
    bool can = gv_breaker_can_admit(&cell->breaker, now_ms);
    (void)unlock(breakers, worker, cell->breaker.state);
    return can;
}

enum gv_err gv_breakers_admit(struct gv_breakers *breakers, uint32_t worker, uint64_t now_ms,
                              uint32_t *epoch, struct gv_breaker_turn *turn)
{
    uint64_t word = word_at(breakers, worker);
    if (state_in(word) == GV_BREAKER_CLOSED) {
        *epoch = (uint32_t)(word >> EPOCH_SHIFT);
        *turn = (struct gv_breaker_turn){GV_BREAKER_CLOSED, GV_BREAKER_CLOSED};
        return GV_OK;
    }
    struct cell *cell = lock(breakers, worker);
    enum gv_breaker_state from = cell->breaker.state;
    enum gv_err err = gv_breaker_admit(&cell->breaker, now_ms, epoch);
    *turn = unlock(breakers, worker, from);
    return err;
}

struct gv_breaker_turn gv_breakers_report(struct gv_breakers *breakers, uint32_t worker,
                                          uint32_t epoch, enum gv_breaker_outcome outcome,
                                          uint64_t now_ms)
{
    uint64_t word = word_at(breakers, worker);
    if (outcome != GV_BREAKER_FAILED && (word & (STATE_MASK | TAINTED_BIT)) == 0) {
        return (struct gv_breaker_turn){GV_BREAKER_CLOSED, GV_BREAKER_CLOSED};
    }
    struct cell *cell = lock(breakers, worker);
    enum gv_breaker_state from = cell->breaker.state;
    gv_breaker_report(&cell->breaker, epoch, outcome, now_ms);
    return unlock(breakers, worker, from);
}

struct gv_breaker_turn gv_breakers_hear_failure(struct gv_breakers *breakers, uint32_t worker,
                                                uint64_t now_ms)
{
    GV_ASSERT(worker < GV_WORKERS_MAX);
    struct cell *cell = lock(breakers, worker);
    enum gv_breaker_state from = cell->breaker.state;
    gv_breaker_hear_failure(&cell->breaker, now_ms);
    return unlock(breakers, worker, from);
}

enum gv_breaker_state gv_breakers_state(const struct gv_breakers *breakers, uint32_t worker)
{
    return state_in(word_at(breakers, worker));
}
