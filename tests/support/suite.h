/*
 * suite.h - a test file is one CUnit suite and one program.
 *
 *     static void an_empty_queue_has_no_head(void) { CU_ASSERT_PTR_NULL(...); }
 *
 *     GV_SUITE("base/fifo", GV_CASE(an_empty_queue_has_no_head))
 *
 * The case's name is the rule it shows. The program takes an optional substring of a case name to
 * run, and exits 0 only when every case passed and at least one ran.
 */
#ifndef GV_TESTS_SUPPORT_SUITE_H
#define GV_TESTS_SUPPORT_SUITE_H

#include <CUnit/CUnit.h>
#include <stddef.h>

struct gv_case {
    const char *name;
    void (*run)(void);
};

/** Run the cases whose name contains `argv[1]`, or all; print the verdict; the program's exit code.
 */
int gv_suite_main(const char *suite, const struct gv_case *cases, size_t count, int argc,
                  char **argv);

#define GV_CASE(function)                                                                          \
    {                                                                                              \
        .name = #function, .run = (function)                                                       \
    }
#define GV_SUITE(suite, ...)                                                                       \
    static const struct gv_case gv_cases[] = {__VA_ARGS__};                                        \
    int main(int argc, char **argv)                                                                \
    {                                                                                              \
        return gv_suite_main(suite, gv_cases, sizeof gv_cases / sizeof gv_cases[0], argc, argv);   \
    }

#endif
