/*
 * vinesim as it is called: what it refuses, what it prints of a seed that fails, and that the
 * number of its jobs changes nothing but the time.
 */
#include "support/process.h"
#include "support/suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_MAX 20

/* Run it to its end; the exit code. `line` begins with "vinesim". */
static int run(struct gv_process *vinesim, const char *line)
{
    static char text[512];
    const char *argv[WORDS_MAX + 1] = {NULL};
    size_t count = 0;
    (void)snprintf(text, sizeof text, "%s", line);
    for (char *word = strtok(text, " "); word != NULL; word = strtok(NULL, " ")) {
        CU_ASSERT_FATAL(count < WORDS_MAX);
        argv[count++] = word;
    }
    CU_ASSERT_TRUE_FATAL(gv_process_start(vinesim, "vinesim", argv));
    return gv_process_wait(vinesim);
}

/* All that it wrote; the caller frees it. */
static char *output(const struct gv_process *vinesim)
{
    char *text = calloc(1, 1 << 16);
    FILE *file = fopen(vinesim->log, "r");
    CU_ASSERT_FATAL(text != NULL && file != NULL);
    text[fread(text, 1, (1 << 16) - 1, file)] = '\0';
    (void)fclose(file);
    return text;
}

static void what_makes_no_sense_is_refused_with_what_would(void)
{
    static const char *const lines[][2] = {
        {"vinesim --nodes 1", "--nodes takes 2 to 1000"},
        {"vinesim --nodes 1001", "--nodes takes 2 to 1000"},
        {"vinesim --nodes 64..3", "or a range such as 3..64"},
        {"vinesim --seeds 9..3", "the first not above; not: 9..3"},
        {"vinesim --seeds 9", "--seeds takes A..B"},
        {"vinesim --jobs 0", "--jobs takes 1 to 64"},
        {"vinesim --jobs 65", "--jobs takes 1 to 64"},
        {"vinesim --seconds 0", "--seconds takes 1 to 86400"},
        {"vinesim --loss 0.51", "--loss takes 0 to 0.5"},
        {"vinesim --loss nan", "--loss takes 0 to 0.5"},
        {"vinesim --faults rain", "--faults takes all, none, or names"},
        {"vinesim --detector swim", "--detector takes ours, plain or memberlist"},
        {"vinesim --trace /nowhere/at/all", "a file that can be written"},
        {"vinesim --trace /dev/null --seeds 1..2", "--trace takes one seed and one job"},
        {"vinesim more", "what is more?"},
        {"vinesim --bogus", "Try vinesim --help."}};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        struct gv_process vinesim;
        CU_ASSERT_EQUAL(run(&vinesim, lines[i][0]), 2);
        CU_ASSERT(gv_process_has_said(&vinesim, lines[i][1]));
    }
}

static void limits_are_taken(void)
{
    struct gv_process vinesim;
    CU_ASSERT_EQUAL(run(&vinesim, "vinesim --nodes 2 --seconds 1 --jobs 64 --loss 0.5"), 0);
    CU_ASSERT(gv_process_has_said(&vinesim, "1 seeds, 0 failed"));
    CU_ASSERT_EQUAL(run(&vinesim, "vinesim --help"), 0);
}

static void more_jobs_say_the_same(void)
{
    struct gv_process vinesim;
    CU_ASSERT_EQUAL(run(&vinesim, "vinesim --seeds 1..6 --seconds 5 --repeat"), 0);
    char *one = output(&vinesim);
    CU_ASSERT_EQUAL(run(&vinesim, "vinesim --seeds 1..6 --seconds 5 --jobs 4"), 0);
    char *four = output(&vinesim);
    CU_ASSERT(strstr(one, "6 seeds, 0 failed") != NULL);
    CU_ASSERT(strstr(one, "vinesim: faults: ") != NULL);
    CU_ASSERT_STRING_EQUAL(one, four);
    free(one);
    free(four);
}

/* A detector without Lifeguard, in a weather in which no death is excused. */
static void a_seed_that_fails_tells_how_to_see_it_again(void)
{
    struct gv_process vinesim;
    CU_ASSERT_EQUAL(
        run(&vinesim, "vinesim --seeds 1..2 --pauses --detector plain --nodes 16 --seconds 60"), 1);
    CU_ASSERT(gv_process_has_said(&vinesim, "seed 1 failed: "));
    char *text = output(&vinesim);
    const char *why = strstr(text, "seed 1 failed: "), *repeat = strstr(text, "repeat: ");
    CU_ASSERT_FATAL(why != NULL && repeat != NULL);
    char reason[256], command[512];
    (void)snprintf(reason, sizeof reason, "%.*s", (int)strcspn(why, "\n"), why);
    repeat += strlen("repeat: ");
    (void)snprintf(command, sizeof command, "%.*s", (int)strcspn(repeat, "\n"), repeat);
    CU_ASSERT_EQUAL(run(&vinesim, command), 1);
    CU_ASSERT(gv_process_has_said(&vinesim, reason));
    CU_ASSERT(gv_process_has_said(&vinesim, " starts, life 1")); /* the whole trace */
    free(text);
}

GV_SUITE("integration/vinesim", GV_CASE(what_makes_no_sense_is_refused_with_what_would),
         GV_CASE(limits_are_taken), GV_CASE(more_jobs_say_the_same),
         GV_CASE(a_seed_that_fails_tells_how_to_see_it_again))
