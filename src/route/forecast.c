/* forecast.c - see forecast.h. */
#include "grapevine/route/forecast.h"

#include "grapevine/base/assert.h"

/* ---- trust ---- */

void gv_trust_init(struct gv_trust *trust)
{
    *trust = (struct gv_trust){.permille = GV_TRUST_FULL};
}

enum gv_trust_verdict gv_trust_judge(struct gv_trust *trust, struct gv_forecasts sums,
                                     uint64_t now_ms)
{
    GV_ASSERT(trust->permille >= GV_TRUST_LEAST && trust->permille <= GV_TRUST_FULL);
    const struct gv_forecasts *base = &trust->base;
    bool settling = trust->changed_at_ms > 0 && now_ms < trust->changed_at_ms + GV_TRUST_SETTLE_MS;
    bool back = sums.count < base->count || sums.predicted < base->predicted ||
                sums.reported < base->reported; /* a node went, with what it had counted */
    if (settling || back) {
        trust->base = sums;
        return GV_TRUST_SAME;
    }
    if (sums.count - base->count < GV_TRUST_SAMPLES) {
        return GV_TRUST_SAME;
    }
    double predicted = (double)(sums.predicted - base->predicted);
    double reported = (double)(sums.reported - base->reported);
    trust->base = sums;
    trust->silent_count = reported > 0 ? 0 : trust->silent_count + 1;
    if (sums.reported == 0) {
        return GV_TRUST_SAME; /* no cache, or reports that mean nothing: nothing to learn a size of
                               */
    }
    if (reported < GV_TRUST_FAILED * predicted) {
        return GV_TRUST_SINK;
    }
    return reported > GV_TRUST_KEPT * predicted ? GV_TRUST_RISE : GV_TRUST_SAME;
}

bool gv_trust_move(struct gv_trust *trust, enum gv_trust_verdict verdict, uint64_t held,
                   uint64_t capacity, uint64_t now_ms)
{
    GV_ASSERT(capacity > 0);
    double share = trust->permille;
    switch (verdict) {
    case GV_TRUST_SAME:
        return false;
    case GV_TRUST_SINK: {
        double held_share = (double)held * GV_TRUST_FULL / (double)capacity;
        share = (held_share < share ? held_share : share) * GV_TRUST_SINKS;
        break;
    }
    case GV_TRUST_RISE:
        share = share * GV_TRUST_RISES + 1;
        break;
    }
    share = share < GV_TRUST_LEAST ? GV_TRUST_LEAST : share;
    share = share > GV_TRUST_FULL ? GV_TRUST_FULL : share;
    uint32_t before = trust->permille;
    trust->permille = (uint32_t)share;
    if (trust->permille != before) {
        trust->changed_at_ms = now_ms;
    }
    return trust->permille != before;
}

bool gv_trust_is_off(const struct gv_trust *trust)
{
    return trust->silent_count >= GV_TRUST_OFF_COUNT;
}

/* ---- the watch ---- */

static uint64_t load(const _Atomic uint64_t *value)
{
    return atomic_load_explicit(value, memory_order_relaxed);
}

static void store(_Atomic uint64_t *value, uint64_t to)
{
    atomic_store_explicit(value, to, memory_order_relaxed);
}

bool gv_watch_note(struct gv_watch *watch, const struct gv_watch_seen *seen,
                   uint64_t *since_wall_ms)
{
    if (seen->reported > 0) {
        store(&watch->hit_at_ms, seen->now_ms);
        atomic_store_explicit(&watch->row, 0, memory_order_relaxed);
        return false;
    }
    uint64_t hit_at_ms = load(&watch->hit_at_ms);
    bool whole = seen->prompt_tokens >= GV_WATCH_TOKENS &&
                 (double)seen->predicted >= GV_WATCH_WHOLE * (double)seen->prompt_tokens;
    bool lately = hit_at_ms > 0 && seen->now_ms <= hit_at_ms + GV_WATCH_MEMORY_MS;
    if (!whole || !lately) {
        return false;
    }
    uint32_t row = atomic_load_explicit(&watch->row, memory_order_relaxed);
    if (row > 0 && load(&watch->last_prompt) == seen->prompt) {
        return false; /* the same once more says nothing new */
    }
    if (row == 0) {
        store(&watch->first_wall_ms, seen->sent_wall_ms);
    }
    store(&watch->last_prompt, seen->prompt);
    row = atomic_fetch_add_explicit(&watch->row, 1, memory_order_relaxed) + 1;
    if (row < GV_WATCH_FLUSHED) {
        return false;
    }
    *since_wall_ms = load(&watch->first_wall_ms);
    atomic_store_explicit(&watch->row, 0, memory_order_relaxed);
    store(&watch->hit_at_ms, 0); /* once, until it has had something again */
    return true;
}

/* ---- prefill ---- */

#define STEPS_PER_OCTAVE 16.0

/* In plain arithmetic, so that it comes out the same on every machine. */
double gv_prefill_speed(uint64_t bytes, uint64_t us)
{
    if (bytes < GV_PREFILL_TRUSTED || us == 0) {
        return GV_PREFILL_USUAL;
    }
    double speed = (double)bytes * 1000 / (double)us;
    speed = speed < GV_PREFILL_LEAST ? GV_PREFILL_LEAST : speed;
    speed = speed > GV_PREFILL_MOST ? GV_PREFILL_MOST : speed;
    double unit = GV_PREFILL_LEAST / STEPS_PER_OCTAVE;
    while (speed >= unit * STEPS_PER_OCTAVE * 2) {
        unit *= 2;
    }
    return (double)(uint64_t)(speed / unit + 0.5) * unit;
}
