/*
 * weather.c - see weather.h.
 */
#include "weather.h"

#include <stdlib.h>
#include <string.h>

#define STEP_MS           20
#define CALM_START_MS     11000 /* then the world counts deaths as false */
#define CONVERGE_MS       20000
#define PAUSE_MS          2000
#define PAUSE_REST_US     1000000 /* two pauses without a moment between them are a longer one */
#define PAUSES_QUIET_MS   200     /* virtual time between operations in a weather of pauses */
#define RESTART_SHARE_PCT 70      /* of the nodes that are down when the weather stops */

static const struct {
    const char *name;
    uint32_t bit;
} fault_names[] = {{"cut", WEATHER_CUT},
                   {"partition", WEATHER_PARTITION},
                   {"oneway", WEATHER_ONEWAY},
                   {"crash", WEATHER_CRASH},
                   {"restart", WEATHER_RESTART},
                   {"pause", WEATHER_PAUSE},
                   {"duplicate", WEATHER_DUPLICATE},
                   {"evict", WEATHER_EVICT},
                   {"overrun", WEATHER_OVERRUN}};
#define FAULT_COUNT (sizeof fault_names / sizeof fault_names[0])

const char *weather_fault_names(void)
{
    return "cut,partition,oneway,crash,restart,pause,duplicate,evict,overrun";
}

bool weather_parse_faults(const char *text, uint32_t *faults)
{
    uint32_t found = 0;
    if (strcmp(text, "all") == 0) {
        *faults = WEATHER_ALL;
        return true;
    }
    if (strcmp(text, "none") == 0) {
        *faults = 0;
        return true;
    }
    while (*text != '\0') {
        size_t len = strcspn(text, ",");
        uint32_t bit = 0;
        for (size_t i = 0; i < FAULT_COUNT; i++) {
            if (strlen(fault_names[i].name) == len && memcmp(fault_names[i].name, text, len) == 0) {
                bit = fault_names[i].bit;
            }
        }
        if (bit == 0) {
            return false;
        }
        found |= bit;
        text += len + (text[len] == ',');
    }
    *faults = found;
    return found != 0;
}

/* Dice of the weather, apart from those of network and nodes. */
struct weather {
    struct world *world;
    struct gv_prng prng;
    uint32_t faults, count;
};

static uint32_t dice(struct weather *weather, uint32_t sides)
{
    return (uint32_t)gv_prng_below(&weather->prng, sides);
}

static void block_pair(struct weather *weather, uint32_t a, uint32_t b, bool both)
{
    world_block(weather->world, a, b, true);
    if (both) {
        world_block(weather->world, b, a, true);
    }
}

static void partition(struct weather *weather)
{
    uint32_t side = dice(weather, 1U << (weather->count < 16 ? weather->count : 16));
    world_note(weather->world, "partition %x", side);
    for (uint32_t a = 0; a < weather->count; a++) {
        for (uint32_t b = 0; b < a; b++) {
            if (((side >> (a % 16)) & 1) != ((side >> (b % 16)) & 1)) {
                block_pair(weather, a, b, true);
            }
        }
    }
}

static void one_way(struct weather *weather)
{
    uint32_t deaf = dice(weather, weather->count);
    bool hears = dice(weather, 2) == 0;
    world_note(weather->world, "n%02u %s", deaf, hears ? "is not heard" : "hears nothing");
    for (uint32_t i = 0; i < weather->count; i++) {
        if (i != deaf) {
            block_pair(weather, hears ? deaf : i, hears ? i : deaf, false);
        }
    }
}

static void strike(struct weather *weather)
{
    struct world *world = weather->world;
    uint32_t i = dice(weather, weather->count);
    uint32_t j = (i + 1 + dice(weather, weather->count - 1)) % weather->count;
    uint32_t bit = fault_names[dice(weather, FAULT_COUNT)].bit;
    if ((bit & weather->faults) == 0) {
        return;
    }
    if (bit == WEATHER_CUT) {
        world_cut(world, i, j);
    } else if (bit == WEATHER_PARTITION) {
        world_heal(world);
        partition(weather);
    } else if (bit == WEATHER_ONEWAY) {
        world_heal(world);
        one_way(weather);
    } else if (bit == WEATHER_CRASH) {
        if (dice(weather, 2) == 0) {
            world_kill(world, i);
        } else {
            world_vanish(world, i);
        }
    } else if (bit == WEATHER_RESTART) {
        world_heal(world);
        for (uint32_t at = 0; at < weather->count; at++) {
            world_start(world, at);
        }
    } else if (bit == WEATHER_PAUSE) {
        world_pause(world, i, 100 + dice(weather, 3000));
    }
}

/* Each node stands still for 2 s as often as makes 1 % of its time. */
static void pause_some(struct weather *weather)
{
    for (uint32_t i = 0; i < weather->count; i++) {
        const struct world_node *node = &weather->world->nodes[i];
        bool rested = weather->world->now_us > node->paused_until_us + PAUSE_REST_US;
        if (dice(weather, PAUSE_MS * 100 / STEP_MS) == 0 && rested) {
            world_pause(weather->world, i, PAUSE_MS);
        }
    }
}

static void work(struct weather *weather)
{
    struct world *world = weather->world;
    uint32_t busy = dice(weather, 4);
    for (uint32_t i = 0; i < busy; i++) {
        uint32_t node = dice(weather, weather->count);
        uint32_t worker = dice(weather, WORLD_WORKERS);
        (void)world_publish(world, node, worker, 1 + dice(weather, 24));
    }
    if (dice(weather, 400) == 0) {
        world_forget(world, dice(weather, weather->count), dice(weather, WORLD_WORKERS));
    }
    if (dice(weather, 50) == 0) {
        world_sweep(world, dice(weather, weather->count));
    }
}

static struct world *make_world(const struct weather_options *options, struct weather *weather,
                                uint64_t seed)
{
    struct world_options made = {.seed = seed, .trace = options->trace};
    gv_prng_init(&weather->prng, seed ^ UINT64_C(0x776561746865));
    weather->count = options->node_count != 0 ? options->node_count : 3 + dice(weather, 6);
    weather->faults = options->faults;
    made.node_count = weather->count;
    made.loss = options->loss >= 0 ? options->loss : (double)dice(weather, 100) / 1000;
    made.is_strict = options->pauses;
    made.duplicate = (options->faults & WEATHER_DUPLICATE) != 0 ? 0.05 : 0;
    made.jitter_us = 200 + dice(weather, 4000);
    made.delay_us = 100 + dice(weather, 2000);
    made.worker_blocks = (options->faults & WEATHER_EVICT) != 0 ? 1500 : 0;
    if ((options->faults & WEATHER_OVERRUN) != 0 && dice(weather, 2) == 0) {
        made.engine.log_operations = 16 + dice(weather, 200);
    }
    made.engine.log_bytes = made.engine.log_operations != 0 ? 64 * 1024 : 0;
    made.engine.detector = options->detector;
    return world_new(&made);
}

static void judge(struct weather *weather, struct weather_verdict *verdict)
{
    struct world *world = weather->world;
    world->options.loss = 0;
    world->options.duplicate = 0;
    world_heal(world);
    for (uint32_t i = 0; i < weather->count; i++) {
        if (!world_is_up(world, i) && dice(weather, 100) < RESTART_SHARE_PCT) {
            world_start(world, i);
        }
    }
    world_note(world, "the weather stops");
    bool good = world_check_converges(world, CONVERGE_MS, &verdict->converged_ms);
    good = good && world_check_no_gap(world) && world_check_no_resurrection(world) &&
           world_check_replay(world);
    verdict->failed = !good || world->wrong[0] != '\0';
}

static void report(struct world *world, struct weather_verdict *verdict)
{
    verdict->hash = world->hash;
    verdict->operations = world->operation_count;
    verdict->deaths_false = world->false_deaths;
    verdict->events = world->order;
    verdict->visible_p50_us = gv_hist_quantile(&world->visible_us, 0.5);
    verdict->visible_p99_us = gv_hist_quantile(&world->visible_us, 0.99);
    memcpy(verdict->wrong, world->wrong, sizeof verdict->wrong);
    uint64_t lines = world->line_count < WORLD_TRACE_LINES ? world->line_count : WORLD_TRACE_LINES;
    for (uint64_t i = 0; i < lines; i++) {
        memcpy(verdict->tail[i], world->lines[(world->line_count - lines + i) % WORLD_TRACE_LINES],
               WORLD_LINE_BYTES);
    }
    verdict->tail_count = (uint32_t)lines;
}

void weather_run(const struct weather_options *options, uint64_t seed,
                 struct weather_verdict *verdict)
{
    struct weather weather = {0};
    memset(verdict, 0, sizeof *verdict);
    verdict->seed = seed;
    weather.world = make_world(options, &weather, seed);
    if (weather.world == NULL) {
        abort();
    }
    verdict->nodes = weather.count;
    world_start_all(weather.world);
    world_run(weather.world, options->pauses ? CALM_START_MS : 500);
    for (uint32_t ms = 0; ms < options->seconds * 1000; ms += STEP_MS) {
        if (!options->pauses || ms % PAUSES_QUIET_MS == 0) {
            work(&weather);
        }
        if (options->pauses) {
            pause_some(&weather);
        } else if (dice(&weather, 25) == 0) {
            strike(&weather);
        }
        world_run(weather.world, STEP_MS);
    }
    judge(&weather, verdict);
    report(weather.world, verdict);
    world_free(weather.world);
}
