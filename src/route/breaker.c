/*
 * breaker.c - the three states as a declared table; outcomes of an earlier epoch change nothing.
 */
#include "grapevine/route/breaker.h"

#include "grapevine/base/assert.h"
#include <string.h>

/* Which state may follow which: one row per state, one bit per successor. */
#define TO(state) (1u << (state))
static const unsigned allowed[] = {
    [GV_BREAKER_CLOSED] = TO(GV_BREAKER_OPEN),
    [GV_BREAKER_OPEN] = TO(GV_BREAKER_TRIAL),
    [GV_BREAKER_TRIAL] = TO(GV_BREAKER_CLOSED) | TO(GV_BREAKER_OPEN),
};

static uint64_t count_failures(const struct gv_breaker *breaker)
{
    uint64_t sum = 0;
    for (int i = 0; i < GV_BREAKER_SLICES; i++) {
        sum += breaker->failure_counts[i];
    }
    return sum;
}

static void check(const struct gv_breaker *breaker)
{
    GV_ASSERT(breaker->limits.trip_count >= 1);
    GV_ASSERT(breaker->limits.close_count >= 1);
    GV_ASSERT(breaker->limits.window_ms >= 1);
    GV_ASSERT(breaker->limits.cooldown_ms >= 1);
    GV_ASSERT(count_failures(breaker) < breaker->limits.trip_count);
    GV_ASSERT(breaker->good_count < breaker->limits.close_count);
    GV_ASSERT(!breaker->trial_out || breaker->state == GV_BREAKER_TRIAL);
}

static void forget_failures(struct gv_breaker *breaker)
{
    memset(breaker->failure_counts, 0, sizeof breaker->failure_counts);
}

static void move(struct gv_breaker *breaker, enum gv_breaker_state next)
{
    GV_ASSERT(allowed[breaker->state] & TO(next));
    breaker->state = next;
    breaker->epoch += 1;
    breaker->good_count = 0;
    breaker->trial_out = false;
    forget_failures(breaker);
}

/* Clear the slices that have begun since the last failure. A clock that went back changes nothing.
 */
static void turn_window(struct gv_breaker *breaker, uint64_t now_ms)
{
    uint64_t width_ms = breaker->limits.window_ms / GV_BREAKER_SLICES;
    uint64_t slice = now_ms / (width_ms < 1 ? 1 : width_ms);
    if (slice >= breaker->slice + GV_BREAKER_SLICES) {
        forget_failures(breaker);
    }
    while (breaker->slice < slice && slice - breaker->slice < GV_BREAKER_SLICES) {
        breaker->slice += 1;
        breaker->failure_counts[breaker->slice % GV_BREAKER_SLICES] = 0;
    }
    if (breaker->slice < slice) {
        breaker->slice = slice;
    }
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
        return !breaker->trial_out;
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
    breaker->trial_out = breaker->state == GV_BREAKER_TRIAL;
    *epoch = breaker->epoch;
    check(breaker);
    return GV_OK;
}

static void trip(struct gv_breaker *breaker, uint64_t now_ms)
{
    move(breaker, GV_BREAKER_OPEN);
    breaker->opened_at_ms = now_ms;
}

static void judge_trial(struct gv_breaker *breaker, enum gv_breaker_outcome outcome,
                        uint64_t now_ms)
{
    breaker->trial_out = false;
    switch (outcome) {
    case GV_BREAKER_GOOD:
        if (breaker->good_count + 1 == breaker->limits.close_count) {
            move(breaker, GV_BREAKER_CLOSED);
        } else {
            breaker->good_count += 1;
        }
        return;
    case GV_BREAKER_NEUTRAL:
        return;
    case GV_BREAKER_FAILED:
        trip(breaker, now_ms);
        return;
    }
}

static void judge(struct gv_breaker *breaker, enum gv_breaker_outcome outcome, uint64_t now_ms)
{
    switch (outcome) {
    case GV_BREAKER_GOOD:
        forget_failures(breaker);
        return;
    case GV_BREAKER_NEUTRAL:
        return;
    case GV_BREAKER_FAILED:
        turn_window(breaker, now_ms);
        if (count_failures(breaker) + 1 == breaker->limits.trip_count) {
            trip(breaker, now_ms);
        } else {
            breaker->failure_counts[breaker->slice % GV_BREAKER_SLICES] += 1;
        }
        return;
    }
}

void gv_breaker_report(struct gv_breaker *breaker, uint32_t epoch, enum gv_breaker_outcome outcome,
                       uint64_t now_ms)
{
    check(breaker);
    if (epoch != breaker->epoch) {
        return;
    }
    GV_ASSERT(breaker->state != GV_BREAKER_OPEN); /* no request is admitted while open */
    if (breaker->state == GV_BREAKER_TRIAL) {
        judge_trial(breaker, outcome, now_ms);
    } else {
        judge(breaker, outcome, now_ms);
    }
    check(breaker);
}

void gv_breaker_hear_failure(struct gv_breaker *breaker, uint64_t now_ms)
{
    check(breaker);
    switch (breaker->state) {
    case GV_BREAKER_CLOSED:
        judge(breaker, GV_BREAKER_FAILED, now_ms);
        break;
    case GV_BREAKER_OPEN:
        breaker->opened_at_ms = now_ms > breaker->opened_at_ms ? now_ms : breaker->opened_at_ms;
        break;
    case GV_BREAKER_TRIAL:
        if (!breaker->trial_out) {
            trip(breaker, now_ms);
        }
        break;
    }
    check(breaker);
}

bool gv_breaker_remembers(const struct gv_breaker *breaker)
{
    return count_failures(breaker) > 0;
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
