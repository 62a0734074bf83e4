/*
 * breaker.c - the three states as a declared table; outcomes of an earlier epoch change nothing.
 */
#include "grapevine/route/breaker.h"

#include "grapevine/base/assert.h"

/* Which state may follow which: one row per state, one bit per successor. */
#define TO(state) (1u << (state))
static const unsigned allowed[] = {
    [GV_BREAKER_CLOSED] = TO(GV_BREAKER_OPEN),
    [GV_BREAKER_OPEN] = TO(GV_BREAKER_TRIAL),
    [GV_BREAKER_TRIAL] = TO(GV_BREAKER_CLOSED) | TO(GV_BREAKER_OPEN),
};

static void check(const struct gv_breaker *breaker)
{
    GV_ASSERT(breaker->limits.trip_count >= 1);
    GV_ASSERT(breaker->limits.cooldown_ms >= 1);
    GV_ASSERT(breaker->failure_count < breaker->limits.trip_count);
}

static void move(struct gv_breaker *breaker, enum gv_breaker_state next)
{
    GV_ASSERT(allowed[breaker->state] & TO(next));
    breaker->state = next;
    breaker->epoch += 1;
    breaker->failure_count = 0;
}

static bool has_cooled(const struct gv_breaker *breaker, uint64_t now_ms)
{
    return now_ms >= breaker->opened_at_ms &&
           now_ms - breaker->opened_at_ms >= breaker->limits.cooldown_ms;
}

void gv_breaker_init(struct gv_breaker *breaker, struct gv_breaker_limits limits)
{
    *breaker = (struct gv_breaker){.limits = limits, .state = GV_BREAKER_CLOSED};
    check(breaker);
}

bool gv_breaker_can_admit(const struct gv_breaker *breaker, uint64_t now_ms)
{
    check(breaker);
    switch (breaker->state) {
    case GV_BREAKER_CLOSED:
        return true;
    case GV_BREAKER_OPEN:
        return has_cooled(breaker, now_ms);
    case GV_BREAKER_TRIAL:
        return false; /* its one request is still out */
    }
    return false;
}

enum gv_err gv_breaker_admit(struct gv_breaker *breaker, uint64_t now_ms, uint32_t *epoch)
{
    if (!gv_breaker_can_admit(breaker, now_ms)) {
        return GV_EREFUSED;
    }
    if (breaker->state == GV_BREAKER_OPEN) {
        move(breaker, GV_BREAKER_TRIAL);
    }
    *epoch = breaker->epoch;
    check(breaker);
    return GV_OK;
}

void gv_breaker_report(struct gv_breaker *breaker, uint32_t epoch, bool ok, uint64_t now_ms)
{
    check(breaker);
    if (epoch != breaker->epoch) {
        return;
    }
    GV_ASSERT(breaker->state != GV_BREAKER_OPEN); /* no request is admitted while open */

    bool on_trial = breaker->state == GV_BREAKER_TRIAL;
    if (ok && on_trial) {
        move(breaker, GV_BREAKER_CLOSED);
    } else if (ok) {
        breaker->failure_count = 0;
    } else if (on_trial || breaker->failure_count + 1 == breaker->limits.trip_count) {
        move(breaker, GV_BREAKER_OPEN);
        breaker->opened_at_ms = now_ms;
    } else {
        breaker->failure_count += 1;
    }
    check(breaker);
}

const char *gv_breaker_state_name(enum gv_breaker_state state)
{
    switch (state) {
    case GV_BREAKER_CLOSED:
        return "closed";
    case GV_BREAKER_OPEN:
        return "open";
    case GV_BREAKER_TRIAL:
        return "trial";
    }
    return "?";
}
