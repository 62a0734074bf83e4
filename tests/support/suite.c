#include "support/suite.h"

#include <CUnit/Basic.h>
#include <stdio.h>
#include <string.h>

int gv_suite_main(const char *suite, const struct gv_case *cases, size_t count, int argc,
                  char **argv)
{
    const char *wanted = argc > 1 ? argv[1] : "";
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (CU_initialize_registry() != CUE_SUCCESS) {
        return 2;
    }
    CU_pSuite registered = CU_add_suite(suite, NULL, NULL);
    for (size_t i = 0; i < count; i++) {
        if (strstr(cases[i].name, wanted) != NULL) {
            CU_add_test(registered, cases[i].name, cases[i].run);
        }
    }
    CU_basic_set_mode(CU_BRM_VERBOSE);
    CU_basic_run_tests();
    unsigned ran = CU_get_number_of_tests_run();
    unsigned failed = CU_get_number_of_failures() + CU_get_number_of_suites_failed();
    printf("%s: ran %u cases, %u assertions, %u failed\n", suite, ran, CU_get_number_of_asserts(),
           failed);
    CU_cleanup_registry();
    return failed == 0 && ran > 0 ? 0 : 1;
}
