/* The list of error codes: each code has a name and a text, and a wrong number has a stand-in. */
#include "grapevine/base/err.h"
#include "support/suite.h"
#include <string.h>

static void every_code_has_a_name_and_a_text_of_its_own(void)
{
    for (int i = 0; i < (int)GV_ERR_COUNT; i++) {
        CU_ASSERT_EQUAL(strncmp(gv_err_name((enum gv_err)i), "GV_", 3), 0);
        CU_ASSERT_TRUE(strlen(gv_err_text((enum gv_err)i)) > 0);
        for (int j = 0; j < i; j++) {
            CU_ASSERT_STRING_NOT_EQUAL(gv_err_name((enum gv_err)i), gv_err_name((enum gv_err)j));
            CU_ASSERT_STRING_NOT_EQUAL(gv_err_text((enum gv_err)i), gv_err_text((enum gv_err)j));
        }
    }
}

static void success_is_zero_and_is_called_ok(void)
{
    CU_ASSERT_EQUAL((int)GV_OK, 0);
    CU_ASSERT_STRING_EQUAL(gv_err_name(GV_OK), "GV_OK");
    CU_ASSERT_STRING_EQUAL(gv_err_name(GV_EINVAL), "GV_EINVAL");
    CU_ASSERT_STRING_EQUAL(gv_err_name(GV_ESTALE), "GV_ESTALE");
}

static void a_number_that_is_no_code_has_a_stand_in(void)
{
    CU_ASSERT_STRING_EQUAL(gv_err_name(GV_ERR_COUNT), "GV_E?");
    CU_ASSERT_STRING_EQUAL(gv_err_name((enum gv_err)((int)GV_ERR_COUNT + 7)), "GV_E?");
    CU_ASSERT_STRING_EQUAL(gv_err_text(GV_ERR_COUNT), "unknown error");
}

GV_SUITE("base/err", GV_CASE(every_code_has_a_name_and_a_text_of_its_own),
         GV_CASE(success_is_zero_and_is_called_ok),
         GV_CASE(a_number_that_is_no_code_has_a_stand_in))
