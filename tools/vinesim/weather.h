/*
 * weather.h - one run: random operations and random faults from a seed, then calm, then checks.
 */
#ifndef VINESIM_WEATHER_H
#define VINESIM_WEATHER_H

#include "world.h"

enum weather_fault {
    WEATHER_CUT = 1 << 0,       /* sessions are reset, what was on its way is lost */
    WEATHER_PARTITION = 1 << 1, /* two sides, both ways */
    WEATHER_ONEWAY = 1 << 2,    /* one node is not heard, or hears nothing */
    WEATHER_CRASH = 1 << 3,     /* killed, or vanished */
    WEATHER_RESTART = 1 << 4,   /* what is down comes back */
    WEATHER_PAUSE = 1 << 5,     /* stands still for up to 3 s */
    WEATHER_DUPLICATE = 1 << 6, /* datagrams come twice and out of order */
    WEATHER_EVICT = 1 << 7,     /* workers are small: capacity floors */
    WEATHER_OVERRUN = 1 << 8,   /* the ring of the log is small: snapshots */
    WEATHER_CORRUPT = 1 << 9,   /* bits of datagrams, frames and handshakes are changed */
    WEATHER_HOSTILE = 1 << 10,  /* packets are replayed, sent astray, forged */
    WEATHER_SLOW = 1 << 11,     /* sessions of a node crawl, down to a byte a second */
    WEATHER_CLOCK = 1 << 12,    /* a wall clock is an hour back, or a day forth, for a while */
    WEATHER_DISK = 1 << 13,     /* a restarted node has lost its state directory */
    WEATHER_TWIN = 1 << 14,     /* another process starts with the name and key of a node */
    WEATHER_FAULTS = (1 << 15) - 1,
    /* besides faults */
    WEATHER_RECORDS =
        1 << 15,             /* loads, opinions, records and settings change, prompts come again */
    WEATHER_FEW = 1 << 16,   /* in half of the runs a node knows two seeds, not all */
    WEATHER_MIXED = 1 << 17, /* each run has some of the faults only, a quarter no loss */
    WEATHER_ALL = (1 << 18) - 1
};
#define WEATHER_FAULT_COUNT 15

struct weather_options {
    uint32_t node_count; /* 0: 3 to 8, from the seed */
    uint32_t node_least; /* 0: exactly node_count; else from so many on, from the seed */
    uint32_t seconds;    /* of weather, virtual */
    double loss;         /* negative: 0 to 10 %, from the seed */
    uint32_t faults;     /* enum weather_fault, or-ed */
    bool pauses; /* instead of faults: at any moment 1 % of the nodes stand still for 2 s, and no
                    death is excused */
    const struct gv_gossip_detector *detector; /* NULL: ours */
    FILE *trace;
};

struct weather_verdict {
    uint64_t seed, hash;
    uint64_t operations, deaths_false, events;
    uint64_t converged_ms; /* from the end of the weather until all agreed */
    uint64_t visible_p50_us, visible_p99_us;
    uint64_t mended; /* operations that only a comparison of live sets found missing */
    uint32_t nodes;
    /* How often each fault found something to harm, by its bit; of those that are a property of the
     * whole run (duplicate, evict, overrun, corrupt): 1 when it has it. */
    uint64_t struck[WEATHER_FAULT_COUNT];
    bool failed;
    char wrong[WORLD_LINE_BYTES];
    char tail[WORLD_TRACE_LINES][WORLD_LINE_BYTES]; /* the last lines of the trace */
    uint32_t tail_count;
};

/** Run one seed. */
void weather_run(const struct weather_options *options, uint64_t seed,
                 struct weather_verdict *verdict);

/** "cut,partition,..." or "all" or "none". false: an unknown word. */
bool weather_parse_faults(const char *text, uint32_t *faults);

/** The name of the fault with bit `i`. */
const char *weather_fault_name(uint32_t i);

/** The names that weather_parse_faults() knows, separated by commas. */
const char *weather_fault_names(void);

#endif
