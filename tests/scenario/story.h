/*
 * story.h - stories of requests, told to the exchange's state machine in virtual time.
 *
 * A story is a list of happenings; what the machine wants done is written down line by line and
 * compared with what the story says. For the tests of exchanges, each of which is a program of its
 * own.
 */
#ifndef GV_TESTS_SCENARIO_STORY_H
#define GV_TESTS_SCENARIO_STORY_H

#include "grapevine/proxy/exchange.h"
#include "support/suite.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct story {
    struct gv_exchange exchange;
    uint64_t now_ms;
    char told[2048];
    size_t len;
};

static inline void tell(struct story *story, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(story->told + story->len, sizeof story->told - story->len, format, args);
    va_end(args);
    CU_ASSERT_FATAL(len >= 0 && story->len + (size_t)len < sizeof story->told);
    story->len += (size_t)len;
}

static inline struct story begin(uint32_t attempts)
{
    struct story story = {.now_ms = 1000};
    struct gv_exchange_limits limits = {
        .max_attempts = attempts,
        .initial_backoff_ms = 50,
        .max_backoff_ms = 100,
        .backoff_multiplier = 2,
        .jitter_factor = 0,
        .total_ms = 10000,
    };
    gv_exchange_init(&story.exchange, limits, story.now_ms, 1);
    return story;
}

/* Something happens `after_ms`; what is to be done is written down. */
static inline void happens(struct story *story, uint64_t after_ms, struct gv_exchange_event event)
{
    struct gv_exchange_effects effects;
    story->now_ms += after_ms;
    gv_exchange_step(&story->exchange, &event, story->now_ms, &effects);
    if (effects.blame >= 0) {
        tell(story, "blame %d for %s; ", effects.blame, gv_cause_name(effects.cause));
    }
    if (effects.keep) {
        tell(story, "keep %u; ", story->exchange.keep_leg);
    }
    for (int i = 0; i < GV_EXCHANGE_LEGS_MAX; i++) {
        if (effects.cancel[i]) {
            tell(story, "cancel %d; ", i);
        }
    }
    if (effects.forgive) {
        tell(story, "forgive; ");
    }
    CU_ASSERT(effects.retry == effects.pick); /* what is tried is paid for, pauses are not */
    if (effects.pick) {
        tell(story, "pick; ");
    }
    if (effects.wait) {
        tell(story, "wait %u; ", (unsigned)(story->exchange.wake_at_ms - story->now_ms));
    }
    if (effects.relay) {
        tell(story, "relay %u; ", effects.relay_leg);
    }
    if (effects.finish) {
        tell(story, "finish; ");
    }
    if (effects.cut) {
        tell(story, "cut; ");
    }
    if (effects.answer_kept) {
        tell(story, "answer what was kept; ");
    }
    if (effects.answer != GV_PROBLEM_NONE) {
        tell(story, "answer %s; ", gv_problem_code(effects.answer));
    }
    if (effects.ended) {
        tell(story, "end; ");
    }
}

static inline void picked(struct story *story, uint32_t legs)
{
    happens(story, 0, (struct gv_exchange_event){.kind = GV_EXCHANGE_PICKED, .leg_count = legs});
}

static inline void head(struct story *story, uint32_t leg, uint16_t status, bool another)
{
    happens(story, 1,
            (struct gv_exchange_event){
                .kind = GV_EXCHANGE_HEAD, .leg = leg, .status = status, .another = another});
}

static inline void body(struct story *story, uint32_t leg)
{
    happens(story, 1, (struct gv_exchange_event){.kind = GV_EXCHANGE_BODY, .leg = leg});
}

/* The answer of `leg` is complete, and another worker is there should one be needed. */
static inline void ends(struct story *story, uint32_t leg)
{
    happens(story, 1,
            (struct gv_exchange_event){.kind = GV_EXCHANGE_END, .leg = leg, .another = true});
}

/* The same with nobody else there. */
static inline void ends_alone(struct story *story, uint32_t leg)
{
    happens(story, 1, (struct gv_exchange_event){.kind = GV_EXCHANGE_END, .leg = leg});
}

/* A worker that is alone is busy, and asks to come again later. */
static inline void busy(struct story *story, uint64_t retry_after_ms)
{
    happens(story, 1,
            (struct gv_exchange_event){.kind = GV_EXCHANGE_HEAD,
                                       .status = 503,
                                       .asks_back = true,
                                       .retry_after_ms = retry_after_ms});
    ends_alone(story, 0);
}

/* The worker breaks; nobody else is there, but somebody may come. */
static inline void breaks_hopefully(struct story *story, enum gv_cause cause)
{
    happens(story, 1,
            (struct gv_exchange_event){.kind = GV_EXCHANGE_BROKE, .cause = cause, .hope = true});
}

/* It had the whole request; another worker is there. */
static inline void dies(struct story *story)
{
    happens(story, 1,
            (struct gv_exchange_event){.kind = GV_EXCHANGE_BROKE,
                                       .cause = GV_CAUSE_CLOSED,
                                       .was_sent = true,
                                       .another = true});
}

static inline void time_passes_hopefully(struct story *story, uint64_t ms)
{
    happens(story, ms, (struct gv_exchange_event){.kind = GV_EXCHANGE_TICK, .hope = true});
}

static inline void somebody_comes(struct story *story, uint64_t ms)
{
    happens(story, ms,
            (struct gv_exchange_event){.kind = GV_EXCHANGE_TICK, .another = true, .hope = true});
}

static inline void breaks(struct story *story, uint32_t leg, enum gv_cause cause, bool another)
{
    happens(story, 1,
            (struct gv_exchange_event){
                .kind = GV_EXCHANGE_BROKE, .leg = leg, .cause = cause, .another = another});
}

static inline void time_passes(struct story *story, uint64_t ms)
{
    happens(story, ms, (struct gv_exchange_event){.kind = GV_EXCHANGE_TICK});
}

static inline void client_leaves(struct story *story)
{
    happens(story, 0, (struct gv_exchange_event){.kind = GV_EXCHANGE_GONE});
}

static inline void nobody_is_there(struct story *story, enum gv_problem problem)
{
    happens(story, 0, (struct gv_exchange_event){.kind = GV_EXCHANGE_UNPICKED, .problem = problem});
}

#define EXPECT(story, text) CU_ASSERT_STRING_EQUAL((story).told, text)

#endif
