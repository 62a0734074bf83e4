/*
 * weather.c - see weather.h.
 */
#include "weather.h"

#include "records.h"
#include "sealing.h"

#include <stdlib.h>
#include <string.h>

#define NODES_LEAST       3 /* where nothing is asked for */
#define NODES_MOST        8
#define STEP_MS           20
#define CALM_START_MS     11000 /* then the world counts deaths as false */
#define CONVERGE_MS       20000
#define CONVERGE_SETS_MS  130000 /* what only a comparison of live sets finds: two minutes */
#define CLOCKS_SEEN_MS    4000   /* so long until digests have told who is right */
#define AGREED_EVERY_MS   50
#define AGREED_STILL_MS   500 /* a multiple of it */
#define PAUSE_MS          2000
#define PAUSE_REST_US     1000000 /* two pauses without a moment between them are a longer one */
#define PAUSES_QUIET_MS   200     /* virtual time between operations in a weather of pauses */
#define ATTACK_PACKETS    20
#define SEALED_ONE_IN     4     /* runs travel sealed */
#define RESTART_SHARE_PCT 70    /* of the nodes that are down when the weather stops */
#define LOSSLESS_ONE_IN   4     /* mixed runs lose nothing */
#define REPEATS_ONE_IN    4     /* steps a prompt comes again */
#define RECORDS_MS        10000 /* then all know what is said of workers; stuck sessions too */
#define RARE              (WEATHER_CLOCK | WEATHER_SLOW) /* after these sets may differ longer */

/* Dice of the weather, apart from those of network and nodes. */
struct weather {
    struct world *world;
    struct gv_prng prng;
    struct gv_prng words; /* of what is said besides, so that the faults stay as they are */
    uint32_t faults, count;
    uint64_t struck[WEATHER_FAULT_COUNT];
};

/* Names, and what a fault does to node `i` (and `j`): false, it found nothing to harm. NULL: it is
 * a property of the whole run. */
struct fault {
    const char *name;
    uint32_t bit;
    bool (*strike)(struct weather *weather, uint32_t i, uint32_t j);
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

static bool cut(struct weather *weather, uint32_t i, uint32_t j)
{
    world_cut(weather->world, i, j);
    return true;
}

static bool split(struct weather *weather, uint32_t i, uint32_t j)
{
    (void)i, (void)j;
    world_heal(weather->world);
    partition(weather);
    return true;
}

static bool deafen(struct weather *weather, uint32_t i, uint32_t j)
{
    (void)i, (void)j;
    world_heal(weather->world);
    one_way(weather);
    return true;
}

static bool crash(struct weather *weather, uint32_t i, uint32_t j)
{
    (void)j;
    bool was_up = world_is_up(weather->world, i);
    if (dice(weather, 2) == 0) {
        world_kill(weather->world, i);
    } else {
        world_vanish(weather->world, i);
    }
    return was_up;
}

static bool restart(struct weather *weather, uint32_t i, uint32_t j)
{
    (void)i, (void)j;
    uint32_t before = weather->world->up_count;
    world_heal(weather->world);
    for (uint32_t at = 0; at < weather->count; at++) {
        world_start(weather->world, at);
    }
    return weather->world->up_count > before;
}

static bool stand_still(struct weather *weather, uint32_t i, uint32_t j)
{
    (void)j;
    world_pause(weather->world, i, 100 + dice(weather, 3000));
    return world_is_up(weather->world, i);
}

static bool attack(struct weather *weather, uint32_t i, uint32_t j)
{
    (void)i, (void)j;
    for (uint32_t at = 0; weather->world->sealing != NULL && at < ATTACK_PACKETS; at++) {
        sealing_attack(weather->world->sealing,
                       (enum hostile_kind)dice(weather, HOSTILE_KIND_COUNT));
    }
    return weather->world->sealing != NULL;
}

static bool crawl(struct weather *weather, uint32_t i, uint32_t j)
{
    static const uint64_t rates[] = {1, 100, 2000, 50000, 0, 0};
    (void)j;
    world_set_rate(weather->world, i, rates[dice(weather, 6)]);
    return weather->world->nodes[i].bytes_per_s != 0;
}

static bool set_clock(struct weather *weather, uint32_t i, uint32_t j)
{
    static const int32_t wrong_by_s[] = {-3600, 86400, -50, 50, 0, 0};
    (void)j;
    world_set_clock(weather->world, i, wrong_by_s[dice(weather, 6)] * 1000);
    return weather->world->nodes[i].skew_ms != weather->world->nodes[i].true_skew_ms;
}

static bool lose_disk(struct weather *weather, uint32_t i, uint32_t j)
{
    (void)j;
    return world_lose_disk(weather->world, i);
}

static bool start_twin(struct weather *weather, uint32_t i, uint32_t j)
{
    (void)j;
    return world_start_twin(weather->world, i);
}

static const struct fault faults[] = {{"cut", WEATHER_CUT, cut},
                                      {"partition", WEATHER_PARTITION, split},
                                      {"oneway", WEATHER_ONEWAY, deafen},
                                      {"crash", WEATHER_CRASH, crash},
                                      {"restart", WEATHER_RESTART, restart},
                                      {"pause", WEATHER_PAUSE, stand_still},
                                      {"duplicate", WEATHER_DUPLICATE, NULL},
                                      {"evict", WEATHER_EVICT, NULL},
                                      {"overrun", WEATHER_OVERRUN, NULL},
                                      {"corrupt", WEATHER_CORRUPT, NULL},
                                      {"hostile", WEATHER_HOSTILE, attack},
                                      {"slow", WEATHER_SLOW, crawl},
                                      {"clock", WEATHER_CLOCK, set_clock},
                                      {"disk", WEATHER_DISK, lose_disk},
                                      {"twin", WEATHER_TWIN, start_twin},
                                      {"records", WEATHER_RECORDS, NULL},
                                      {"few", WEATHER_FEW, NULL},
                                      {"mixed", WEATHER_MIXED, NULL}};
#define NAME_COUNT (sizeof faults / sizeof faults[0])
_Static_assert(WEATHER_FAULTS == (1 << WEATHER_FAULT_COUNT) - 1 && NAME_COUNT == 18,
               "faults come first, each at the place of its bit");

static void strike(struct weather *weather)
{
    uint32_t i = dice(weather, weather->count);
    uint32_t j = (i + 1 + dice(weather, weather->count - 1)) % weather->count;
    const struct fault *fault;
    do {
        fault = &faults[dice(weather, WEATHER_FAULT_COUNT)];
    } while ((fault->bit & weather->faults) == 0);
    if (fault->strike != NULL && fault->strike(weather, i, j)) {
        weather->struck[fault - faults] += 1;
    }
}

const char *weather_fault_names(void)
{
    return "cut,partition,oneway,crash,restart,pause,duplicate,evict,overrun,corrupt,hostile,slow,"
           "clock,disk,twin,records,few,mixed";
}

const char *weather_fault_name(uint32_t i)
{
    return faults[i].name;
}

/* The bit of one name, 0: there is none. */
static uint32_t bit_of(const char *name, size_t len)
{
    for (size_t i = 0; i < NAME_COUNT; i++) {
        if (strlen(faults[i].name) == len && memcmp(faults[i].name, name, len) == 0) {
            return faults[i].bit;
        }
    }
    return 0;
}

bool weather_parse_faults(const char *text, uint32_t *bits)
{
    uint32_t found = 0;
    if (strcmp(text, "all") == 0 || strcmp(text, "none") == 0) {
        *bits = text[0] == 'a' ? WEATHER_ALL : 0;
        return true;
    }
    while (*text != '\0') {
        size_t len = strcspn(text, ",");
        uint32_t bit = bit_of(text, len);
        if (bit == 0) {
            return false;
        }
        found |= bit;
        text += len + (text[len] == ',');
    }
    *bits = found;
    return found != 0;
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

/* What is not a new prompt: one that came before, and words about workers. */
static void talk(struct weather *weather)
{
    struct gv_prng *words = &weather->words;
    struct world *world = weather->world;
    records_say(world->records, words, (uint32_t)gv_prng_below(words, weather->count));
    if (gv_prng_below(words, REPEATS_ONE_IN) == 0) {
        uint32_t node = (uint32_t)gv_prng_below(words, weather->count);
        uint32_t worker = (uint32_t)gv_prng_below(words, WORLD_WORKERS);
        (void)world_repeat(world, node, worker, (uint32_t)gv_prng_below(words, 16));
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
    if (world->records != NULL) {
        talk(weather);
    }
}

static void look_at_clocks(struct weather *weather, uint32_t ms)
{
    for (uint32_t i = 0; ms % 1000 == 0 && i < world_slots(weather->world); i++) {
        world_look_at_clock(weather->world, i);
    }
}

/* Of these faults some; of those after which sets may differ for long, few. */
static uint32_t some_of(struct gv_prng *prng, uint32_t bits)
{
    uint32_t some = bits & ~(uint32_t)WEATHER_FAULTS;
    for (uint32_t bit = 1; (bit & WEATHER_FAULTS) != 0; bit <<= 1) {
        uint64_t share = (bit & RARE) != 0 ? 1 : 3;
        some |= gv_prng_below(prng, 4) < share ? bits & bit : 0;
    }
    return some;
}

static void note_property(struct weather *weather, uint32_t bit, bool has)
{
    for (uint32_t i = 0; i < WEATHER_FAULT_COUNT; i++) {
        weather->struck[i] += has && faults[i].bit == bit;
    }
}

static double draw_loss(const struct weather_options *options, struct weather *weather)
{
    double loss = options->loss >= 0 ? options->loss : (double)dice(weather, 100) / 1000;
    bool is_lossless = options->loss < 0 && (weather->faults & WEATHER_MIXED) != 0 &&
                       gv_prng_below(&weather->words, LOSSLESS_ONE_IN) == 0;
    return is_lossless ? 0 : loss;
}

static struct world *make_world(const struct weather_options *options, struct weather *weather,
                                uint64_t seed)
{
    struct world_options made = {.seed = seed, .trace = options->trace};
    gv_prng_init(&weather->prng, seed ^ UINT64_C(0x776561746865));
    gv_prng_init(&weather->words, seed ^ UINT64_C(0x776f726473));
    uint32_t most = options->node_count != 0 ? options->node_count : NODES_MOST;
    uint32_t least = options->node_count != 0 ? options->node_least : NODES_LEAST;
    weather->count = least == 0 ? most : least + (uint32_t)dice(weather, most - least + 1);
    weather->faults = (options->faults & WEATHER_MIXED) != 0
                          ? some_of(&weather->words, options->faults)
                          : options->faults;
    uint32_t has = weather->faults;
    made.node_count = weather->count;
    made.loss = draw_loss(options, weather);
    made.is_strict = options->pauses;
    made.duplicate = (has & WEATHER_DUPLICATE) != 0 ? 0.05 : 0;
    made.jitter_us = 200 + dice(weather, 4000);
    made.delay_us = 100 + dice(weather, 2000);
    made.worker_blocks = (has & WEATHER_EVICT) != 0 ? 1500 : 0;
    if ((has & WEATHER_OVERRUN) != 0 && dice(weather, 2) == 0) {
        made.engine.log_operations = 16 + dice(weather, 200);
    }
    made.engine.log_bytes = made.engine.log_operations != 0 ? 64 * 1024 : 0;
    bool is_sealed = (has & (WEATHER_CORRUPT | WEATHER_HOSTILE)) != 0;
    made.is_sealed = is_sealed && dice(weather, SEALED_ONE_IN) == 0;
    made.corrupt = (has & WEATHER_CORRUPT) != 0 ? (double)dice(weather, 20) / 1000 : 0;
    made.knows_few = (has & WEATHER_FEW) != 0 && gv_prng_below(&weather->words, 2) == 0;
    made.engine.detector = options->detector;
    note_property(weather, WEATHER_DUPLICATE, made.duplicate > 0);
    note_property(weather, WEATHER_EVICT, made.worker_blocks > 0);
    note_property(weather, WEATHER_OVERRUN, made.engine.log_operations > 0);
    note_property(weather, WEATHER_CORRUPT, made.is_sealed && made.corrupt > 0);
    struct world *world = world_new(&made);
    bool talks = (has & WEATHER_RECORDS) != 0 && !options->pauses;
    return world == NULL || (talks && records_new(world) == NULL) ? NULL : world;
}

/* Nothing is wrong any more: clocks, wires, hosts. */
static void calm_down(struct weather *weather)
{
    struct world *world = weather->world;
    world->options.loss = 0;
    world->options.duplicate = 0;
    world->options.corrupt = 0;
    world_heal(world);
    for (uint32_t i = 0; i < world_slots(world); i++) {
        const struct world_node *node = &world->nodes[i];
        if (node->bytes_per_s != 0) {
            world_set_rate(world, i, 0);
        }
        if (node->skew_ms != node->true_skew_ms) {
            world_set_clock(world, i, 0);
        }
    }
    for (uint32_t i = 0; i < weather->count; i++) {
        bool is_down = world_holders(world, i, NULL) == 0;
        bool is_seed = world->options.knows_few && i % (weather->count / 2) == 0;
        if (is_down && (dice(weather, 100) < RESTART_SHARE_PCT || is_seed)) {
            world_start(world, i);
        }
    }
    world_note(world, "the weather stops");
}

/* So long until every clock has been found right again. Returns how long it took until all agreed
 * for good; CLOCKS_SEEN_MS: they do not yet. Once they agree they are looked at less often. */
static uint64_t settle_clocks(struct weather *weather)
{
    uint64_t since_ms = 0;
    bool agreed = false;
    for (uint32_t ms = 0; ms < CLOCKS_SEEN_MS;) {
        if (!agreed || ms % AGREED_STILL_MS == 0) {
            agreed = world_agrees(weather->world);
        }
        world_run(weather->world, AGREED_EVERY_MS);
        ms += AGREED_EVERY_MS;
        since_ms = agreed ? since_ms : ms;
        look_at_clocks(weather, ms);
    }
    return since_ms;
}

/* Everything is old enough to be evicted: then no share is over its room, and all agree on that. */
static bool settle_floors(struct world *world)
{
    uint64_t took_ms;
    if (world->options.worker_blocks == 0) {
        return true;
    }
    world_run(world, WORLD_SETTLED_MS);
    for (uint32_t i = 0; i < world_slots(world); i++) {
        world_sweep(world, i);
    }
    return world_check_converges(world, CONVERGE_MS, &took_ms);
}

static void judge(struct weather *weather, struct weather_verdict *verdict)
{
    struct world *world = weather->world;
    calm_down(weather);
    uint64_t within_ms = CONVERGE_MS;
    if (world->wires_were_slow) {
        within_ms = CONVERGE_SETS_MS; /* donors that crawl die with half of what they had to give */
    }
    uint64_t clocks_ms = 0, more_ms = 0;
    if (world->clocks_were_wrong) {
        clocks_ms = settle_clocks(weather);
        within_ms = CONVERGE_SETS_MS;
    }
    bool good = world_check_converges(world, within_ms, &more_ms);
    verdict->converged_ms = clocks_ms + more_ms;
    good = good && (world->records == NULL || records_check(world->records, RECORDS_MS));
    good = good && world_check_no_gap(world) && world_check_no_resurrection(world) &&
           world_check_floors(world) && world_check_replay(world);
    good = good && settle_floors(world) && world_check_caps(world) && world_check_floors(world);
    verdict->failed = !good || world->wrong[0] != '\0';
}

static void report(struct world *world, struct weather_verdict *verdict)
{
    verdict->hash = world->hash;
    verdict->operations = world->operation_count;
    verdict->deaths_false = world->false_deaths;
    verdict->events = world->queue.order;
    verdict->visible_p50_us = gv_hist_quantile(&world->visible_us, 0.5);
    verdict->visible_p99_us = gv_hist_quantile(&world->visible_us, 0.99);
    for (uint32_t i = 0; i < world_slots(world); i++) {
        verdict->mended += world_counters(world, i).operations_mended;
    }
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
        } else if ((weather.faults & WEATHER_FAULTS) != 0 && dice(&weather, 25) == 0) {
            strike(&weather);
        }
        world_run(weather.world, STEP_MS);
        look_at_clocks(&weather, ms);
    }
    judge(&weather, verdict);
    memcpy(verdict->struck, weather.struck, sizeof verdict->struck);
    report(weather.world, verdict);
    world_free(weather.world);
}
