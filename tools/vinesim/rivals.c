/*
 * rivals.c - see rivals.h. All of them use this mesh's sessions to spread what they find, so that
 * only the detectors differ: real memberlist, which spreads by datagrams alone, is slower.
 */
#include "rivals.h"

#include "weather.h"

#include <string.h>

/* Lifeguard off: no local health, no shorter or longer suspicion by accusers, no word to the
 * doubted that it is doubted, no muting, no mass rule. Random probes, one an interval, and what
 * another says is believed. */
static const struct gv_gossip_detector plain = {.probe_interval_ms = 250,
                                                .probe_timeout_ms = 50,
                                                .suspicion_ms = 750,
                                                .silence_ms = 1350,
                                                .grows_from = 16,
                                                .helpers = 3,
                                                .random_every = 1,
                                                .patience = 1};

/* Suspicion: 4 s up to 10 nodes, growing with log10(n), up to 6 times that with few accusers. */
static const struct gv_gossip_detector memberlist = {.probe_interval_ms = 1000,
                                                     .probe_timeout_ms = 500,
                                                     .suspicion_ms = 4000,
                                                     .silence_ms = 4000,
                                                     .grows_from = 10,
                                                     .helpers = 3,
                                                     .random_every = 1,
                                                     .confirmations = 2,
                                                     .patience = 6,
                                                     .health_max = 7,
                                                     .asks_by_session = true,
                                                     .tells_opinion = true};

static const char *const names[RIVAL_COUNT] = {"ours", "plain", "memberlist"};

const struct gv_gossip_detector *rival_detector(enum rival rival)
{
    static const struct gv_gossip_detector *const sets[RIVAL_COUNT] = {&gv_gossip_detector_default,
                                                                       &plain, &memberlist};
    return sets[rival];
}

const char *rival_name(enum rival rival)
{
    return names[rival];
}

bool rival_parse(const char *text, enum rival *rival)
{
    for (uint32_t i = 0; i < RIVAL_COUNT; i++) {
        if (strcmp(text, names[i]) == 0) {
            *rival = (enum rival)i;
            return true;
        }
    }
    return false;
}

/* From the end of a node until the last of the others calls it dead. */
static bool detect(const struct measure *measure, bool vanishes, struct gv_hist *hist)
{
    bool good = true;
    gv_hist_init(hist);
    for (uint32_t round = 0; round < MEASURE_ROUNDS; round++) {
        struct world *world = measure_calm_world(measure, round);
        uint32_t victim = (uint32_t)gv_prng_below(&world->prng, measure->nodes);
        world_run(world, gv_prng_below(&world->prng, 1000));
        uint64_t start_us = world->now_us;
        if (vanishes) {
            world_vanish(world, victim);
        } else {
            world_kill(world, victim);
        }
        world_run(world, 60000);
        uint64_t last_us = start_us;
        for (uint32_t i = 0; i < measure->nodes; i++) {
            const struct world_node *node = &world->nodes[i];
            bool knows = i == victim || node->sees[victim] == GV_MEMBER_DEAD;
            uint64_t at_us = knows ? node->sees_at_us[victim] : world->now_us;
            last_us = i != victim && at_us > last_us ? at_us : last_us;
        }
        gv_hist_add(hist, (last_us - start_us) / 1000);
        good = measure_end_world(world) && good;
    }
    return good;
}

static bool print_detection(const struct measure *measure, bool vanishes)
{
    bool good = true;
    printf("%-30s", vanishes ? "vanished host dead on all, ms" : "killed node dead on all, ms");
    for (uint32_t i = 0; i < RIVAL_COUNT; i++) {
        struct measure one = *measure;
        struct gv_hist hist;
        one.detector = rival_detector((enum rival)i);
        bool held = detect(&one, vanishes, &hist);
        good = (held || i != RIVAL_OURS) && good;
        printf("  %8llu %8llu", (unsigned long long)gv_hist_quantile(&hist, 0.5),
               (unsigned long long)hist.max);
        (void)fflush(stdout);
    }
    printf("\n");
    return good;
}

static bool print_false_deaths(const struct measure *measure, uint32_t pauses_s)
{
    bool good = true;
    char label[64];
    (void)snprintf(label, sizeof label, "false deaths in %.1f h", (double)pauses_s / 3600);
    printf("%-30s", label);
    for (uint32_t i = 0; i < RIVAL_COUNT; i++) {
        struct weather_options options = {.node_count = measure->nodes,
                                          .seconds = pauses_s,
                                          .loss = 0.05,
                                          .pauses = true,
                                          .detector = rival_detector((enum rival)i)};
        struct weather_verdict verdict;
        weather_run(&options, measure->seed, &verdict);
        good = (!verdict.failed || i != RIVAL_OURS) && good;
        printf("  %17llu", (unsigned long long)verdict.deaths_false);
        (void)fflush(stdout);
    }
    printf("   loss 5 %%, 1 %% of the nodes standing still for 2 s\n");
    return good;
}

bool rivals_print(const struct measure *measure, uint32_t pauses_s)
{
    printf("%-30s  %17s  %17s  %17s\n", "detectors compared", "ours p50 worst", "plain SWIM",
           "memberlist LAN");
    bool good = print_detection(measure, false);
    good = print_detection(measure, true) && good;
    return print_false_deaths(measure, pauses_s) && good;
}
