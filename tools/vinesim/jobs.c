/*
 * jobs.c - see jobs.h.
 */
#include "jobs.h"

#include <malloc.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

void jobs_run_seed(const struct arguments *arguments, uint64_t seed,
                   struct weather_verdict *verdict)
{
    weather_run(&arguments->weather, seed, verdict);
    if (arguments->repeat && !verdict->failed) {
        struct weather_verdict again;
        struct weather_options quiet = arguments->weather;
        quiet.trace = NULL;
        weather_run(&quiet, seed, &again);
        if (again.hash != verdict->hash) {
            verdict->failed = true;
            (void)snprintf(verdict->wrong, sizeof verdict->wrong,
                           "two runs of one seed differ: %016llx and %016llx",
                           (unsigned long long)verdict->hash, (unsigned long long)again.hash);
        }
    }
}

#define NO_SEED UINT64_MAX

/* What the jobs share. */
struct board {
    _Atomic uint64_t next;           /* the seed that nobody has yet */
    _Atomic uint64_t seed[JOBS_MAX]; /* what each is at; NO_SEED: nothing */
};

#define HEAP_BYTES ((size_t)8 << 30) /* address space; memory only where a world writes */

/* A world of a thousand nodes is gigabytes, of which each event touches a little anywhere: large
 * pages save time, and so does a heap that keeps what the last world left (docs/benchmarks.md). */
static void prepare_heap(void)
{
    (void)mallopt(M_MMAP_MAX, 0);
    (void)mallopt(M_TRIM_THRESHOLD, -1);
    uint8_t *heap = malloc(HEAP_BYTES);
    if (heap != NULL) {
        size_t page = (size_t)sysconf(_SC_PAGESIZE);
        uint8_t *first = heap + (page - (uintptr_t)heap % page);
        (void)madvise(first, HEAP_BYTES - page, MADV_HUGEPAGE);
    }
    free(heap);
}

/* A child takes the next seed that nobody has, and writes its verdict into the pipe. */
static void run_child(const struct arguments *arguments, struct board *board, uint32_t job, int fd)
{
    if (arguments->weather.node_count > WORLD_SMALL) {
        prepare_heap();
    }
    for (uint64_t seed = atomic_fetch_add(&board->next, 1); seed <= arguments->last;
         seed = atomic_fetch_add(&board->next, 1)) {
        struct weather_verdict verdict;
        atomic_store(&board->seed[job], seed);
        jobs_run_seed(arguments, seed, &verdict);
        size_t done = 0;
        while (done < sizeof verdict) {
            ssize_t wrote = write(fd, (const char *)&verdict + done, sizeof verdict - done);
            if (wrote < 0) {
                _exit(1);
            }
            done += (size_t)wrote;
        }
        atomic_store(&board->seed[job], NO_SEED);
    }
    _exit(0);
}

static bool read_verdict(int fd, struct weather_verdict *verdict)
{
    size_t done = 0;
    while (done < sizeof *verdict) {
        ssize_t got = read(fd, (char *)verdict + done, sizeof *verdict - done);
        if (got <= 0) {
            return false;
        }
        done += (size_t)got;
    }
    return true;
}

/* Verdicts that have come before their turn; they are told by seed, so that the output does not
 * depend on who is faster. */
struct early {
    struct weather_verdict *verdict; /* owned */
    struct early *next;              /* owned */
};

/* Tell the verdict and those that waited for it, or keep it. False: no memory. */
static bool take_turn(const struct arguments *arguments, struct tally *tally, struct early **early,
                      struct weather_verdict *verdict)
{
    struct early *kept = malloc(sizeof *kept);
    if (kept == NULL) {
        free(verdict);
        return false;
    }
    *kept = (struct early){.verdict = verdict, .next = *early};
    *early = kept;
    for (struct early **at = early; *at != NULL;) {
        struct early *one = *at;
        if (one->verdict->seed != arguments->first + tally->done) {
            at = &one->next;
            continue;
        }
        *at = one->next;
        tally_add(arguments, tally, one->verdict);
        free(one->verdict);
        free(one);
        at = early; /* from the beginning: the next may stand before */
    }
    return true;
}

static void read_all(const struct arguments *arguments, struct tally *tally, struct pollfd *jobs,
                     uint32_t started)
{
    struct early *early = NULL;
    uint32_t open = started;
    while (open > 0 && poll(jobs, started, -1) > 0) {
        for (uint32_t i = 0; i < started; i++) {
            if (jobs[i].fd < 0 || jobs[i].revents == 0) {
                continue;
            }
            struct weather_verdict *verdict = malloc(sizeof *verdict);
            bool good = verdict != NULL && read_verdict(jobs[i].fd, verdict);
            if (good) {
                good = take_turn(arguments, tally, &early, verdict);
            } else {
                free(verdict);
            }
            if (!good) {
                (void)close(jobs[i].fd);
                jobs[i].fd = -1;
                open -= 1;
            }
        }
    }
    while (early != NULL) { /* of a job that ended early, those behind it are not told */
        struct early *next = early->next;
        free(early->verdict);
        free(early);
        early = next;
    }
}

bool jobs_run(const struct arguments *arguments, struct tally *tally)
{
    struct pollfd jobs[JOBS_MAX];
    pid_t pids[JOBS_MAX];
    uint32_t started = 0;
    struct board *board =
        mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (board == MAP_FAILED) {
        return false;
    }
    atomic_store(&board->next, arguments->first);
    for (uint32_t i = 0; i < JOBS_MAX; i++) {
        atomic_store(&board->seed[i], NO_SEED);
    }
    (void)fflush(NULL);
    for (; started < arguments->jobs; started++) {
        int ends[2];
        if (pipe(ends) != 0) {
            break;
        }
        pids[started] = fork();
        if (pids[started] == 0) {
            (void)close(ends[0]);
            run_child(arguments, board, started, ends[1]);
        }
        (void)close(ends[1]);
        jobs[started] = (struct pollfd){.fd = ends[0], .events = POLLIN};
    }
    read_all(arguments, tally, jobs, started);
    for (uint32_t i = 0; i < started; i++) {
        (void)waitpid(pids[i], NULL, 0);
        uint64_t seed = atomic_load(&board->seed[i]);
        if (seed != NO_SEED) {
            printf("\nseed %llu failed: its process ended\n", (unsigned long long)seed);
            tally_print_repeat(arguments, seed);
        }
    }
    (void)munmap(board, sizeof *board);
    return tally->done == arguments->last - arguments->first + 1;
}
