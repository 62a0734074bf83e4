/*
 * bench_forest - what writers do to matches, and what an hour at the memory cap does to memory.
 *
 *     bench_forest readers [seconds]
 *     bench_forest churn MINUTES CAP_MIB
 *
 * readers: one thread matches long prompts that stay held, 598,000 blocks; in turns of 100 ms the
 * others stand still, or write as fast as they can: they prolong these prompts and branch off them
 * for other workers, who forget, and sweep. One line a quantile, idle and busy. The longest time
 * between two looks at the clock of a thread that does nothing else stands beside it: what is above
 * 50 us there is the machine's doing.
 *
 * churn: conversations at full rate against a cap, so that eviction never rests. After every single
 * operation the budget is compared with the cap. A line a sixth of a minute: bytes, entries,
 * resident memory.
 */
#include "grapevine/base/prng.h"
#include "grapevine/route/forest.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define KEY         "regular::m"
#define WALL        ((GV_STAMP_EPOCH_S + 1000) * 1000)
#define SESSIONS    120u
#define TURNS       50u
#define BLOCKS_MAX  8192u
#define READERS     16u /* workers that hold the prompts */
#define TURN_NS     UINT64_C(100000000)
#define SAMPLES_MAX 8000000u
#define WRITERS_MAX 8

struct prompt {
    uint64_t *chain;
    uint32_t count;
};

static struct prompt prompts[SESSIONS * TURNS];
static uint32_t prompt_count;
static struct gv_forest *forest;
static _Atomic bool is_busy, is_over;
static _Atomic uint64_t written_blocks, written;

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static struct gv_forest *forest_of(size_t bytes)
{
    struct gv_forest *made = NULL;
    struct gv_forest_limits limits = {.max_bytes = bytes,
                                      .touch_interval_s = 5,
                                      .max_keys = 4,
                                      .worker_blocks = UINT64_MAX,
                                      .min_age_s = 10,
                                      .max_ahead_s = 60};
    if (gv_forest_new(limits, &made) != GV_OK) {
        abort();
    }
    return made;
}

/* Sessions that grow turn by turn and sometimes branch. */
static void plant(void)
{
    static uint64_t chain[BLOCKS_MAX];
    struct gv_prng prng;
    struct gv_operation op;
    gv_prng_init(&prng, 1);
    for (uint32_t session = 0; session < SESSIONS; session++) {
        uint32_t count = 0;
        for (uint32_t turn = 0; turn < TURNS; turn++) {
            count -= turn % 9 == 8 ? count / 5 : 0;
            uint32_t more = 40 + (uint32_t)gv_prng_below(&prng, 120);
            for (uint32_t i = 0; i < more && count < BLOCKS_MAX; i++) {
                chain[count++] = gv_prng_next(&prng) | 1;
            }
            struct prompt *prompt = &prompts[prompt_count++];
            prompt->chain = malloc(count * sizeof *chain);
            if (prompt->chain == NULL) {
                abort();
            }
            memcpy(prompt->chain, chain, count * sizeof *chain);
            prompt->count = count;
            gv_forest_record(forest, KEY, chain, count, session % READERS, WALL, &op);
        }
    }
}

/* ---- readers ---- */

struct samples {
    uint32_t *ns;
    uint32_t count;
    uint64_t over_50us;
    uint64_t whole_ns; /* of all turns */
};

static void keep(struct samples *samples, uint64_t ns)
{
    if (samples->count < SAMPLES_MAX) {
        samples->ns[samples->count++] = ns < UINT32_MAX ? (uint32_t)ns : UINT32_MAX;
    }
    samples->over_50us += ns > 50000 ? 1 : 0;
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static void *write_main(void *argument)
{
    static _Atomic uint64_t steps;
    struct gv_prng prng;
    gv_prng_init(&prng, 100 + *(const uint32_t *)argument);
    uint64_t *chain = malloc(BLOCKS_MAX * sizeof *chain);
    if (chain == NULL) {
        abort();
    }
    while (!is_over) {
        if (!is_busy) {
            struct timespec nap = {.tv_nsec = 1000000};
            nanosleep(&nap, NULL);
            continue;
        }
        const struct prompt *prompt = &prompts[gv_prng_below(&prng, prompt_count)];
        uint32_t count = prompt->count;
        count -= gv_prng_below(&prng, 2) ? (uint32_t)gv_prng_below(&prng, count) : 0;
        uint32_t more = 1 + (uint32_t)gv_prng_below(&prng, 200);
        memcpy(chain, prompt->chain, count * sizeof *chain);
        for (uint32_t i = 0; i < more && count < BLOCKS_MAX; i++) {
            chain[count++] = gv_prng_next(&prng) | 1;
        }
        struct gv_operation op;
        struct gv_operation ops[16];
        uint64_t step = atomic_fetch_add(&steps, 1);
        uint64_t wall = WALL + step * 10; /* a hundred prompts a second of its clock */
        gv_forest_record(forest, KEY, chain, count,
                         READERS + (uint32_t)gv_prng_below(&prng, READERS), wall, &op);
        if (step % 100 == 99) {
            gv_forest_sweep(forest, wall, ops, 16);
        }
        written_blocks += more;
        written += 1;
    }
    free(chain);
    return NULL;
}

/* Nothing but the clock: how long is this thread stopped for no reason of ours? */
static void look_at_clock(struct samples *control, uint64_t until)
{
    for (uint64_t before = now_ns(); before < until;) {
        uint64_t after = now_ns();
        keep(control, after - before);
        before = after;
    }
}

static void match_until(struct samples *samples, struct gv_prng *prng, uint64_t until)
{
    static uint64_t asked[BLOCKS_MAX];
    uint32_t workers[READERS];
    uint32_t depths[READERS];
    for (uint32_t i = 0; i < READERS; i++) {
        workers[i] = i;
    }
    while (now_ns() < until) {
        const struct prompt *prompt = &prompts[gv_prng_below(prng, prompt_count)];
        memcpy(asked, prompt->chain, prompt->count * sizeof *asked);
        uint64_t began = now_ns();
        gv_forest_match(forest, KEY, asked, prompt->count, workers, READERS, depths);
        keep(samples, now_ns() - began);
        uint32_t deepest = 0;
        for (uint32_t i = 0; i < READERS; i++) {
            deepest = depths[i] > deepest ? depths[i] : deepest;
        }
        if (deepest != prompt->count) {
            fprintf(stderr, "bench_forest: a prompt that is held was not found\n");
            exit(1);
        }
    }
}

static void tell(const char *name, struct samples *samples)
{
    qsort(samples->ns, samples->count, sizeof samples->ns[0], by_value);
    uint32_t n = samples->count;
    printf("%s count %u p50 %u p99 %u p999 %u worst %u over50us_per_s %.1f\n", name, n,
           samples->ns[n / 2], samples->ns[n - 1 - n / 100], samples->ns[n - 1 - n / 1000],
           samples->ns[n - 1], 1e9 * (double)samples->over_50us / (double)samples->whole_ns);
}

static int readers(double seconds)
{
    struct samples samples[3];
    pthread_t threads[WRITERS_MAX];
    uint32_t numbers[WRITERS_MAX];
    struct gv_prng prng;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    uint32_t writers = cores > 1 ? (uint32_t)cores - 1 : 1;
    writers = writers < WRITERS_MAX ? writers : WRITERS_MAX;
    for (int i = 0; i < 3; i++) {
        samples[i] = (struct samples){.ns = malloc(SAMPLES_MAX * sizeof(uint32_t))};
        if (samples[i].ns == NULL) {
            abort();
        }
        memset(samples[i].ns, 0, SAMPLES_MAX * sizeof(uint32_t)); /* no page faults later */
    }
    forest = forest_of((size_t)1 << 30);
    plant();
    for (uint32_t i = 0; i < READERS; i++) {
        gv_forest_set_capacity(forest, READERS + i, 20000);
    }
    for (uint32_t i = 0; i < writers; i++) {
        numbers[i] = i;
        if (pthread_create(&threads[i], NULL, write_main, &numbers[i]) != 0) {
            abort();
        }
    }
    gv_prng_init(&prng, 3);
    uint64_t end = now_ns() + (uint64_t)(seconds * 1e9);
    for (uint32_t turn = 0; now_ns() < end; turn++) {
        uint64_t now = now_ns();
        is_busy = turn % 3 != 0;
        if (turn % 3 == 2) {
            look_at_clock(&samples[2], now + TURN_NS);
        } else {
            match_until(&samples[turn % 3], &prng, now + TURN_NS);
        }
        samples[turn % 3].whole_ns += now_ns() - now;
    }
    is_over = true;
    for (uint32_t i = 0; i < writers; i++) {
        pthread_join(threads[i], NULL);
    }
    tell("idle", &samples[0]);
    tell("busy", &samples[1]);
    tell("clock", &samples[2]);
    double busy_s = (double)(samples[1].whole_ns + samples[2].whole_ns) / 1e9;
    printf("writers %u operations_per_s %.0f new_blocks_per_s %.0f\n", writers,
           (double)written / busy_s, (double)written_blocks / busy_s);
    gv_forest_free(forest);
    return 0;
}

/* ---- churn ---- */

static long resident_kib(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL || fscanf(file, "%*s %ld", &pages) != 1) {
        perror("/proc/self/statm");
        exit(1);
    }
    fclose(file);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

#define OPEN 400u /* conversations that go on */

struct talk {
    uint64_t seed;
    uint32_t count;
};

/* The blocks of a conversation follow from its seed: nothing of them is kept here. */
static void spell(const struct talk *talk, uint64_t *chain)
{
    struct gv_prng prng;
    gv_prng_init(&prng, talk->seed);
    for (uint32_t i = 0; i < talk->count; i++) {
        chain[i] = gv_prng_next(&prng) | 1;
    }
}

static int churn(double minutes, size_t cap)
{
    static struct talk talks[OPEN];
    static uint64_t chain[BLOCKS_MAX];
    struct gv_prng prng;
    struct gv_operation op;
    struct gv_operation made[16];
    struct gv_forest_stats stats;
    uint64_t over = 0, operations = 0, refused = 0;
    forest = forest_of(cap);
    gv_prng_init(&prng, 5);
    uint64_t began = now_ns();
    uint64_t next = began;
    while (now_ns() - began < (uint64_t)(minutes * 60e9)) {
        for (uint32_t i = 0; i < 200; i++, operations++) {
            uint32_t which = (uint32_t)gv_prng_below(&prng, OPEN);
            struct talk *talk = &talks[which];
            /* The shape of what is held changes all the time: memory must follow. */
            uint32_t longest = operations / 400000 % 2 == 0 ? 60 : 2000;
            if (talk->count == 0 || talk->count > longest || gv_prng_below(&prng, 20) == 0) {
                *talk = (struct talk){.seed = gv_prng_next(&prng)};
            }
            talk->count += 1 + (uint32_t)gv_prng_below(&prng, longest / 8);
            talk->count = talk->count < BLOCKS_MAX ? talk->count : BLOCKS_MAX;
            spell(talk, chain);
            uint64_t wall = WALL + operations * 5; /* 200 a second of its clock */
            bool was = gv_forest_record(forest, KEY, chain, talk->count, which % 16, wall, &op);
            (void)was;
            if (i % 20 == 19) { /* ten times a second */
                gv_forest_sweep(forest, wall, made, 16);
            }
            over += gv_forest_bytes(forest) > cap ? 1 : 0;
        }
        if (now_ns() >= next) {
            gv_forest_stats(forest, &stats);
            refused = stats.refused;
            printf(
                "churn at_s %.0f operations %llu bytes %llu entries %llu blocks %llu rss_kib %ld "
                "over %llu refused %llu evictions %llu\n",
                (double)(now_ns() - began) / 1e9, (unsigned long long)operations,
                (unsigned long long)stats.bytes, (unsigned long long)stats.entries,
                (unsigned long long)stats.blocks, resident_kib(), (unsigned long long)over,
                (unsigned long long)refused, (unsigned long long)stats.evictions);
            fflush(stdout);
            next += UINT64_C(10000000000);
        }
    }
    gv_forest_free(forest);
    return over == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc >= 2 && strcmp(argv[1], "readers") == 0) {
        return readers(argc > 2 ? atof(argv[2]) : 12);
    }
    if (argc == 4 && strcmp(argv[1], "churn") == 0) {
        return churn(atof(argv[2]), (size_t)(atof(argv[3]) * 1048576.0));
    }
    fprintf(stderr, "usage: bench_forest readers [SECONDS] | churn MINUTES CAP_MIB\n");
    return 2;
}
