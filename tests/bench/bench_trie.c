/*
 * bench_trie - match, insert and memory of a trie, on synthetic prompts and on real traces.
 *
 *     bench_trie [trace.jsonl ...]
 *
 * A trace line holds block ids as "hash_ids": [..] (equal id, equal prefix) or as "h": [[first,
 * length], ..] with "trace": the session in which ids are unique. Prints one line a figure. Inserts
 * are timed by the process's own clock over all prompts in the order of the trace, alternating over
 * the workers as a router that keeps a session on its worker would; then matches over all prompts,
 * against all workers.
 */
#include "grapevine/base/prng.h"
#include "grapevine/route/fingerprint.h"
#include "grapevine/route/forest.h"
#include "grapevine/route/trie.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WORKERS      16
#define KEY          "regular::m"
#define WALL         ((GV_STAMP_EPOCH_S + 1000) * 1000)
#define PROMPTS_MAX  40000
#define BATCH        64
#define BATCH_BLOCKS 64u /* of each prompt in a batch, at most */

struct prompts {
    uint64_t *chain[PROMPTS_MAX];
    uint32_t count[PROMPTS_MAX];
    uint32_t worker[PROMPTS_MAX];
    uint32_t total;
};

static struct prompts prompts;

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

/* What this process has used of a core: another that takes it away for a while does not count. */
static uint64_t used_ns(void)
{
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (uint64_t)used.tv_sec * UINT64_C(1000000000) + (uint64_t)used.tv_nsec;
}

static uint64_t mix(uint64_t a, uint64_t b)
{
    uint64_t x = (a + 1) * UINT64_C(0x9E3779B97F4A7C15) ^ (b + 1) * UINT64_C(0xC2B2AE3D27D4EB4F);
    x ^= x >> 31;
    x *= UINT64_C(0xBF58476D1CE4E5B9);
    x ^= x >> 29;
    return x | 1;
}

static void add(const uint64_t *chain, uint32_t count, uint32_t worker)
{
    if (prompts.total == PROMPTS_MAX || count == 0) {
        return;
    }
    uint64_t *copy = malloc(count * sizeof *copy);
    if (copy == NULL) {
        abort();
    }
    memcpy(copy, chain, count * sizeof *copy);
    prompts.chain[prompts.total] = copy;
    prompts.count[prompts.total] = count;
    prompts.worker[prompts.total] = worker % WORKERS;
    prompts.total++;
}

static void forget_prompts(void)
{
    for (uint32_t i = 0; i < prompts.total; i++) {
        free(prompts.chain[i]);
    }
    prompts.total = 0;
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static uint64_t asked[GV_FINGERPRINTS_MAX];

/* A router has just made the chain when it asks or tells: it is in the cache, the trie is not. */
static void ask(uint32_t prompt)
{
    memcpy(asked, prompts.chain[prompt], prompts.count[prompt] * sizeof *asked);
}

static struct gv_forest *forest_new(void)
{
    struct gv_forest_limits limits = {.max_bytes = (size_t)8 << 30,
                                      .touch_interval_s = 5,
                                      .max_keys = 4,
                                      .worker_blocks = UINT64_MAX,
                                      .min_age_s = 10,
                                      .max_ahead_s = 60};
    struct gv_forest *forest = NULL;
    if (gv_forest_new(limits, &forest) != GV_OK) {
        abort();
    }
    return forest;
}

static void tell(struct gv_forest *forest, uint32_t prompt)
{
    struct gv_operation op;
    ask(prompt);
    gv_forest_record(forest, KEY, asked, prompts.count[prompt], prompts.worker[prompt],
                     WALL + (uint64_t)prompt * 300, &op);
}

/* CPU time of all inserts, without that of copying the chains. */
static uint64_t insert_ns(struct gv_forest *forest)
{
    uint64_t start = used_ns();
    for (uint32_t i = 0; i < prompts.total; i++) {
        ask(i);
    }
    uint64_t copy_ns = used_ns() - start;
    start = used_ns();
    for (uint32_t i = 0; i < prompts.total; i++) {
        tell(forest, i);
    }
    return used_ns() - start - copy_ns;
}

/* The longest insert of a pass of its own, in which each is timed. */
static uint64_t worst_ns(void)
{
    struct gv_forest *forest = forest_new();
    uint64_t worst = 0;
    for (uint32_t i = 0; i < prompts.total; i++) {
        uint64_t began = now_ns();
        tell(forest, i);
        uint64_t one = now_ns() - began;
        worst = one > worst ? one : worst;
    }
    gv_forest_free(forest);
    return worst;
}

/* A stride that visits all: the caches are not warm from the prompt before. */
static uint32_t strided(uint32_t i)
{
    return (uint32_t)((uint64_t)i * 7919 % prompts.total);
}

struct figures {
    double mean;
    uint64_t p50;
    uint64_t p99;
};

static uint32_t workers[WORKERS];
static uint64_t took[PROMPTS_MAX];

static struct figures figures_of(uint32_t count)
{
    struct figures figures = {0};
    for (uint32_t i = 0; i < count; i++) {
        figures.mean += (double)took[i] / count;
    }
    qsort(took, count, sizeof took[0], by_value);
    figures.p50 = took[count / 2];
    figures.p99 = took[count - 1 - count / 100];
    return figures;
}

/* What two looks at the clock with nothing between them say, the same way. */
static uint64_t clock_p50(void)
{
    for (uint32_t i = 0; i < prompts.total; i++) {
        ask(strided(i));
        uint64_t began = now_ns();
        took[i] = now_ns() - began;
    }
    return figures_of(prompts.total).p50;
}

/* Each match between two looks at the clock, which count. */
static struct figures match_singly(struct gv_forest *forest, uint64_t *held)
{
    uint32_t depths[WORKERS];
    *held = 0;
    for (uint32_t i = 0; i < prompts.total; i++) {
        uint32_t at = strided(i);
        ask(at);
        uint64_t began = now_ns();
        gv_forest_match(forest, KEY, asked, prompts.count[at], workers, WORKERS, depths);
        took[i] = now_ns() - began;
        *held += depths[prompts.worker[at]];
    }
    return figures_of(prompts.total);
}

/*
 * BATCH matches of different prompts between two looks, divided: the match alone. Only of short
 * prompts, whose chains are all in the nearest cache before the clock starts. In units of a tenth
 * of a nanosecond.
 */
static struct figures match_together(struct gv_forest *forest)
{
    static uint64_t chains[BATCH][BATCH_BLOCKS];
    uint32_t counts[BATCH];
    uint32_t depths[WORKERS];
    uint32_t batches = 0;
    uint32_t filled = 0;
    for (uint32_t i = 0; i < prompts.total; i++) {
        uint32_t at = strided(i);
        counts[filled] = prompts.count[at] < BATCH_BLOCKS ? prompts.count[at] : BATCH_BLOCKS;
        memcpy(chains[filled], prompts.chain[at], counts[filled] * sizeof chains[0][0]);
        filled++;
        if (filled < BATCH) {
            continue;
        }
        uint64_t began = now_ns();
        for (uint32_t j = 0; j < BATCH; j++) {
            gv_forest_match(forest, KEY, chains[j], counts[j], workers, WORKERS, depths);
        }
        took[batches] = (now_ns() - began) * 10 / BATCH;
        batches++;
        filled = 0;
    }
    return figures_of(batches);
}

static void run(const char *name)
{
    struct gv_forest *forest = forest_new();
    struct gv_forest_stats before;
    struct gv_forest_stats after;
    gv_forest_stats(forest, &before);
    uint64_t insert = insert_ns(forest);
    gv_forest_stats(forest, &after);
    uint64_t blocks = 0;
    for (uint32_t i = 0; i < prompts.total; i++) {
        blocks += prompts.count[i];
    }
    uint64_t held;
    struct figures single = match_singly(forest, &held);
    double new_blocks = (double)after.blocks;
    printf("%-24s prompts %u, mean blocks %.0f, held %llu blocks, %.1f %% found\n", name,
           prompts.total, (double)blocks / prompts.total, (unsigned long long)after.blocks,
           100.0 * (double)held / (double)blocks);
    printf("%-24s insert %.1f ns per new block, %.2f us per prompt, worst %.0f us\n", name,
           (double)insert / new_blocks, (double)insert / prompts.total / 1000.0,
           (double)worst_ns() / 1000.0);
    printf("%-24s match mean %.0f ns, p50 %llu ns, p99 %llu ns, clock %llu ns\n", name, single.mean,
           (unsigned long long)single.p50, (unsigned long long)single.p99,
           (unsigned long long)clock_p50());
    if (blocks / prompts.total <= BATCH_BLOCKS / 2) {
        struct figures together = match_together(forest);
        printf("%-24s match of %u together: each mean %.1f ns, p50 %.1f ns, p99 %.1f ns\n", name,
               BATCH, together.mean / 10, (double)together.p50 / 10, (double)together.p99 / 10);
    }
    printf("%-24s memory %.2f bytes per block\n", name,
           (double)(after.bytes - before.bytes) / new_blocks);
    gv_forest_free(forest);
}

/* Sessions that grow turn by turn and sometimes branch, shaped like the agentic trace. */
static void make_agentic(void)
{
    static uint64_t chain[GV_FINGERPRINTS_MAX];
    struct gv_prng prng;
    gv_prng_init(&prng, 1);
    for (uint32_t session = 0; session < 120; session++) {
        uint32_t count = 0;
        for (uint32_t turn = 0; turn < 50; turn++) {
            if (turn % 9 == 8) { /* a branch: the last part is thrown away */
                count -= count / 5;
            }
            uint32_t more = 40 + (uint32_t)gv_prng_below(&prng, 120);
            for (uint32_t i = 0; i < more; i++) {
                chain[count] = gv_prng_next(&prng) | 1;
                count++;
            }
            add(chain, count, session);
        }
    }
}

static void make_chat(void)
{
    uint64_t chain[24];
    struct gv_prng prng;
    gv_prng_init(&prng, 2);
    for (uint32_t i = 0; i < 30000; i++) {
        uint32_t head = (uint32_t)gv_prng_below(&prng, 400);
        for (uint64_t j = 0; j < 24; j++) {
            chain[j] = j == 0 ? 3 : j < 12 ? mix(head, j) : gv_prng_next(&prng) | 1;
        }
        add(chain, 24, head);
    }
}

/* The numbers in the brackets after `field`, up to the bracket that closes them. */
static uint32_t numbers_after(const char *line, const char *field, uint64_t *out, uint32_t room)
{
    const char *at = strstr(line, field);
    uint32_t count = 0;
    int depth = 0;
    for (at = at != NULL ? strchr(at, '[') : NULL; at != NULL && *at != '\0';) {
        if (*at >= '0' && *at <= '9') {
            char *end;
            uint64_t value = strtoull(at, &end, 10);
            if (count < room) {
                out[count++] = value;
            }
            at = end;
            continue;
        }
        depth += *at == '[' ? 1 : *at == ']' ? -1 : 0;
        if (depth == 0) {
            break;
        }
        at++;
    }
    return count;
}

static void read_trace(const char *path)
{
    static uint64_t ids[GV_FINGERPRINTS_MAX];
    static uint64_t chain[GV_FINGERPRINTS_MAX];
    FILE *file = fopen(path, "r");
    char *line = NULL;
    size_t room = 0;
    if (file == NULL) {
        perror(path);
        exit(1);
    }
    while (getline(&line, &room, file) > 0) {
        uint32_t count = 0;
        uint64_t session = 0;
        uint32_t flat = numbers_after(line, "\"hash_ids\"", ids, GV_FINGERPRINTS_MAX);
        for (uint32_t i = 0; i < flat; i++) {
            chain[count++] = mix(1, ids[i]);
        }
        if (flat == 0) {
            const char *name = strstr(line, "\"trace\"");
            for (const char *c = name != NULL ? name + 8 : ""; *c != '\0' && *c != ','; c++) {
                session = mix(session, (uint64_t)(unsigned char)*c);
            }
            uint32_t pairs = numbers_after(line, "\"h\"", ids, GV_FINGERPRINTS_MAX);
            for (uint32_t i = 0; i + 1 < pairs; i += 2) {
                for (uint64_t j = 0; j < ids[i + 1] && count < GV_FINGERPRINTS_MAX; j++) {
                    chain[count++] = mix(session, ids[i] + j);
                }
            }
        } else if (flat > 1) {
            session = chain[1]; /* every prompt shares the first */
        }
        add(chain, count, (uint32_t)(session >> 7));
    }
    free(line);
    fclose(file);
}

int main(int argc, char **argv)
{
    for (uint32_t i = 0; i < WORKERS; i++) {
        workers[i] = i;
    }
    make_agentic();
    run("synthetic agentic");
    forget_prompts();
    make_chat();
    run("synthetic chat");
    forget_prompts();
    for (int i = 1; i < argc; i++) {
        read_trace(argv[i]);
        if (prompts.total == 0) {
            fprintf(stderr, "%s: no prompts in it\n", argv[i]);
            return 1;
        }
        run(argv[i]);
        forget_prompts();
    }
    return 0;
}
