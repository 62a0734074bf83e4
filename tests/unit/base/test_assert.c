/* How the program ends on its own mistakes: declared machines, the flight recorder, assertions. */
#include "grapevine/base/assert.h"
#include "grapevine/base/flight.h"
#include "grapevine/base/list.h"
#include "grapevine/base/sm.h"
#include "support/suite.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum door {
    DOOR_OPEN = 0,
    DOOR_SHUT,
    DOOR_LOCKED
};

static const struct gv_sm_state doors[] = {
    [DOOR_OPEN] = {"OPEN", GV_SM_TO(DOOR_SHUT)},
    [DOOR_SHUT] = {"SHUT", GV_SM_TO(DOOR_OPEN) | GV_SM_TO(DOOR_LOCKED)},
    [DOOR_LOCKED] = {"LOCKED", GV_SM_TO(DOOR_SHUT)},
};

/* Run `mistake` in a child; what it wrote to stderr is in `text`, and whether it aborted is told.
 */
static bool aborts(void (*mistake)(void), char *text, size_t size)
{
    int ends[2];
    CU_ASSERT_EQUAL_FATAL(pipe(ends), 0);
    (void)fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        (void)signal(SIGABRT, SIG_DFL);
        (void)dup2(ends[1], STDERR_FILENO);
        mistake();
        _exit(0);
    }
    (void)close(ends[1]);
    size_t len = 0;
    ssize_t got;
    while (len + 1 < size && (got = read(ends[0], text + len, size - 1 - len)) > 0) {
        len += (size_t)got;
    }
    text[len] = '\0';
    (void)close(ends[0]);
    int status = 0;
    CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void open_a_locked_door(void)
{
    struct gv_sm sm;
    gv_sm_init(&sm, "door", doors, DOOR_SHUT, 17);
    gv_sm_move(&sm, DOOR_LOCKED);
    gv_sm_move(&sm, DOOR_OPEN);
}

static void state_a_falsehood(void)
{
    gv_flight_note("before", 1, UINT64_MAX);
    GV_ASSERT(1 + 1 == 3);
}

static void say_nothing_false(void)
{
    GV_ASSERT(1 + 1 == 2);
}

static void add_to_two_lists(void)
{
    struct gv_list a;
    struct gv_list b;
    struct gv_list element;
    gv_list_init(&a);
    gv_list_init(&b);
    gv_list_init(&element);
    gv_list_add(&a, &element);
    gv_list_add(&b, &element);
}

static void do_the_impossible(void)
{
    uint64_t before = gv_never_count();
    bool happened = gv_never_happened("x > max", "here.c", 1);
    if (!happened || gv_never_count() != before + 1) {
        abort();
    }
}

/* In debug and sanitizer builds it ends the program; in optimised ones it is counted. */
static void what_must_never_happen_is_told_and_counted(void)
{
    static char text[65536];
#if !defined(NDEBUG) || defined(GV_SANITIZED)
    CU_ASSERT_TRUE(aborts(do_the_impossible, text, sizeof text));
#else
    CU_ASSERT_FALSE(aborts(do_the_impossible, text, sizeof text));
#endif
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "this must never happen: x > max at here.c:1\n"));
}

static void a_machine_moves_as_its_table_allows(void)
{
    struct gv_sm sm;
    gv_sm_init(&sm, "door", doors, DOOR_OPEN, 1);
    CU_ASSERT_STRING_EQUAL(gv_sm_name(&sm), "OPEN");
    gv_sm_move(&sm, DOOR_SHUT);
    gv_sm_move(&sm, DOOR_LOCKED);
    CU_ASSERT_EQUAL(sm.state, DOOR_LOCKED);
    CU_ASSERT_STRING_EQUAL(gv_sm_name(&sm), "LOCKED");
}

static void a_move_that_is_not_in_the_table_ends_the_program(void)
{
    static char text[65536];
    CU_ASSERT_TRUE(aborts(open_a_locked_door, text, sizeof text));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "sm.c:"));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, " door 17 2\n")); /* how it came there */
    CU_ASSERT_PTR_NOT_NULL(strstr(text, " door 17 0\n"));
}

static void a_failed_assertion_tells_place_condition_and_the_last_events(void)
{
    static char text[65536];
    CU_ASSERT_TRUE(aborts(state_a_falsehood, text, sizeof text));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "assertion failed: 1 + 1 == 3 at "));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "test_assert.c:"));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, " before 1 18446744073709551615\n"));
    CU_ASSERT_FALSE(aborts(say_nothing_false, text, sizeof text));
    CU_ASSERT_STRING_EQUAL(text, "");
}

static void an_element_is_in_one_list_at_a_time(void)
{
    static char text[65536];
    CU_ASSERT_TRUE(aborts(add_to_two_lists, text, sizeof text));
}

static void the_recorder_keeps_the_last_256_events(void)
{
    static char text[65536];
    int ends[2];
    CU_ASSERT_EQUAL_FATAL(pipe(ends), 0);
    for (uint64_t i = 0; i < 300; i++) {
        gv_flight_note("step", i, 0);
    }
    gv_flight_print(ends[1]);
    (void)close(ends[1]);
    size_t len = 0;
    ssize_t got;
    while ((got = read(ends[0], text + len, sizeof text - 1 - len)) > 0) {
        len += (size_t)got;
    }
    (void)close(ends[0]);
    text[len] = '\0';
    size_t lines = 0;
    for (size_t i = 0; i < len; i++) {
        lines += text[i] == '\n' ? 1 : 0;
    }
    CU_ASSERT_EQUAL(lines, 256);
    CU_ASSERT_PTR_NULL(strstr(text, " step 43 0\n"));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, " step 44 0\n"));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, " step 299 0\n"));
}

static void lists_keep_their_order_while_elements_leave(void)
{
    struct item {
        int number;
        struct gv_list place;
    } items[5];
    struct gv_list list;
    gv_list_init(&list);
    CU_ASSERT_PTR_NULL(gv_list_first(&list));
    for (int i = 0; i < 5; i++) {
        items[i].number = i;
        gv_list_init(&items[i].place);
        gv_list_add(&list, &items[i].place);
    }
    gv_list_remove(&items[0].place);
    gv_list_remove(&items[0].place);
    int sum = 0;
    GV_LIST_EACH(&list, at, following)
    {
        struct item *item = GV_CONTAINER(at, struct item, place);
        sum = sum * 10 + item->number;
        gv_list_remove(at);
    }
    CU_ASSERT_EQUAL(sum, 1234);
    CU_ASSERT_TRUE(gv_list_is_empty(&list));
}

GV_SUITE("base/assert", GV_CASE(a_machine_moves_as_its_table_allows),
         GV_CASE(a_move_that_is_not_in_the_table_ends_the_program),
         GV_CASE(a_failed_assertion_tells_place_condition_and_the_last_events),
         GV_CASE(what_must_never_happen_is_told_and_counted),
         GV_CASE(an_element_is_in_one_list_at_a_time),
         GV_CASE(the_recorder_keeps_the_last_256_events),
         GV_CASE(lists_keep_their_order_while_elements_leave))
