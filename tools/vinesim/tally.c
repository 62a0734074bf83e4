/*
 * tally.c - see tally.h.
 */
#include "tally.h"

#include <string.h>
#include <unistd.h>

#define SHOWN_LINES 60 /* of the trace of a failing seed */

/* A node that what went wrong is about: "n07"; up to two. */
static uint32_t find_names(const char *wrong, char names[2][8])
{
    uint32_t found = 0;
    for (const char *at = wrong; *at != '\0' && found < 2; at++) {
        size_t digits = *at == 'n' ? strspn(at + 1, "0123456789") : 0;
        bool is_word = at == wrong || at[-1] == ' ';
        if (digits >= 2 && digits < 7 && is_word) {
            memcpy(names[found], at, digits + 1);
            names[found][digits + 1] = '\0';
            found += 1;
        }
    }
    return found;
}

/* Faults, starts and ends always; who sees whom only when it is about somebody who is at fault. */
static bool is_interesting(const char *line, char names[2][8], uint32_t name_count)
{
    if (strstr(line, " sees ") == NULL) {
        return true;
    }
    for (uint32_t i = 0; i < name_count; i++) {
        if (strstr(line, names[i]) != NULL) {
            return true;
        }
    }
    return name_count == 0;
}

void tally_print_repeat(const struct arguments *arguments, uint64_t seed)
{
    printf("repeat: vinesim --seed %llu --seconds %u", (unsigned long long)seed,
           arguments->weather.seconds);
    if (arguments->weather.node_least != 0) {
        printf(" --nodes %u..%u", arguments->weather.node_least, arguments->weather.node_count);
    } else if (arguments->weather.node_count != 0) {
        printf(" --nodes %u", arguments->weather.node_count);
    }
    if (arguments->weather.loss >= 0) {
        printf(" --loss %g", arguments->weather.loss);
    }
    if (arguments->faults != NULL) {
        printf(" --faults %s", arguments->faults);
    }
    printf("%s%s --detector %s --trace /dev/stdout\n", arguments->weather.pauses ? " --pauses" : "",
           arguments->repeat ? " --repeat" : "", rival_name(arguments->rival));
}

static void print_failure(const struct arguments *arguments, const struct weather_verdict *verdict)
{
    char names[2][8];
    uint32_t name_count = find_names(verdict->wrong, names), skip = 0;
    printf("\nseed %llu failed: %s\n", (unsigned long long)verdict->seed, verdict->wrong);
    for (uint32_t i = 0; i < verdict->tail_count; i++) {
        skip += is_interesting(verdict->tail[i], names, name_count);
    }
    skip = skip > SHOWN_LINES ? skip - SHOWN_LINES : 0;
    for (uint32_t i = 0; i < verdict->tail_count; i++) {
        bool shown = is_interesting(verdict->tail[i], names, name_count);
        if (shown && skip == 0) {
            printf("  %s\n", verdict->tail[i]);
        }
        skip -= shown && skip > 0;
    }
    tally_print_repeat(arguments, verdict->seed);
}

static void note_slow(struct tally *tally, const struct weather_verdict *verdict)
{
    uint32_t at = SLOW_SEEDS;
    for (; at > 0 && verdict->converged_ms > tally->slowest[at - 1].converged_ms; at--) {
        if (at < SLOW_SEEDS) {
            tally->slowest[at] = tally->slowest[at - 1];
        }
    }
    if (at < SLOW_SEEDS) {
        tally->slowest[at] = (struct slow_seed){verdict->seed, verdict->converged_ms};
    }
}

static void print_slowest(const struct tally *tally)
{
    printf("slowest:");
    for (uint32_t i = 0; i < SLOW_SEEDS && tally->slowest[i].converged_ms > 0; i++) {
        printf("%s %llu ms (seed %llu)", i == 0 ? "" : ",",
               (unsigned long long)tally->slowest[i].converged_ms,
               (unsigned long long)tally->slowest[i].seed);
    }
    printf("\n");
}

void tally_add(const struct arguments *arguments, struct tally *tally,
               const struct weather_verdict *verdict)
{
    tally->done += 1;
    tally->failed += verdict->failed;
    tally->operations += verdict->operations;
    tally->false_deaths += verdict->deaths_false;
    tally->events += verdict->events;
    for (uint32_t i = 0; i < WEATHER_FAULT_COUNT; i++) {
        tally->struck[i] += verdict->struck[i];
    }
    if (!verdict->failed) {
        gv_hist_add(&tally->converged, verdict->converged_ms);
        note_slow(tally, verdict);
    } else {
        print_failure(arguments, verdict);
    }
    if (isatty(STDERR_FILENO)) {
        (void)fprintf(stderr, "\rvinesim: %llu of %llu seeds, %llu failed ",
                      (unsigned long long)tally->done,
                      (unsigned long long)(arguments->last - arguments->first + 1),
                      (unsigned long long)tally->failed);
    }
}

/* What the weather was made of: how often each fault found something to harm. */
static void print_faults(const struct tally *tally)
{
    uint64_t all = 0;
    for (uint32_t i = 0; i < WEATHER_FAULT_COUNT; i++) {
        all += tally->struck[i];
    }
    printf("%s", all > 0 ? "vinesim: faults:" : "");
    for (uint32_t i = 0; i < WEATHER_FAULT_COUNT; i++) {
        if (tally->struck[i] > 0) {
            printf(" %s %llu", weather_fault_name(i), (unsigned long long)tally->struck[i]);
        }
    }
    printf("%s", all > 0 ? "\n" : "");
}

void tally_print(const struct tally *tally)
{
    print_faults(tally);
    printf("vinesim: %llu seeds, %llu failed, %llu operations, %llu events, converged p50 %llu ms, "
           "worst %llu ms (seed %llu), %llu false deaths\n",
           (unsigned long long)tally->done, (unsigned long long)tally->failed,
           (unsigned long long)tally->operations, (unsigned long long)tally->events,
           (unsigned long long)gv_hist_quantile(&tally->converged, 0.5),
           (unsigned long long)tally->slowest[0].converged_ms,
           (unsigned long long)tally->slowest[0].seed, (unsigned long long)tally->false_deaths);
    if (tally->done > 1 && tally->slowest[0].converged_ms > 0) {
        print_slowest(tally);
    }
}
