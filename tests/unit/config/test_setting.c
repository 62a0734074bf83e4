/*
 * Settings: the options that may be changed for the whole cluster while it runs.
 */
#include "grapevine/config/option.h"
#include "grapevine/config/setting.h"
#include "support/suite.h"

#include <string.h>

static struct gv_settings some(void)
{
    struct gv_config config = {.log_level = GV_LOG_INFO,
                               .cache_threshold = 0.3,
                               .balance_abs_threshold = 64,
                               .balance_rel_threshold = 1.5};
    return gv_settings_of(&config);
}

static void every_setting_is_an_option_and_reads_what_it_writes(void)
{
    const char *const *names = gv_setting_names();
    size_t count = 0;
    for (; names[count] != NULL; count++) {
        struct gv_settings settings = some();
        char text[64];
        char why[GV_SETTING_WHY_BYTES];
        CU_ASSERT_PTR_NOT_NULL(gv_option_find(gv_slice_text(names[count])));
        CU_ASSERT_EQUAL(gv_setting_format(names[count], &settings, text, sizeof text), GV_OK);
        CU_ASSERT_EQUAL(gv_setting_read(names[count], text, &settings, why), GV_OK);
        struct gv_settings same = some();
        CU_ASSERT_EQUAL(settings.log_level, same.log_level);
        CU_ASSERT_DOUBLE_EQUAL(settings.cache_threshold, same.cache_threshold, 0);
        CU_ASSERT_EQUAL(settings.balance_abs_threshold, same.balance_abs_threshold);
        CU_ASSERT_DOUBLE_EQUAL(settings.balance_rel_threshold, same.balance_rel_threshold, 0);
    }
    CU_ASSERT_EQUAL(count, 4);
}

struct trial {
    const char *name, *value;
    enum gv_err err;
};

static void values_are_taken_within_the_range_of_the_option_and_nowhere_else(void)
{
    static const struct trial trials[] = {
        {"cache-threshold", "0", GV_OK},
        {"cache-threshold", "1", GV_OK},
        {"cache-threshold", ".25", GV_OK},
        {"cache-threshold", "1.0001", GV_EINVAL},
        {"cache-threshold", "-0.1", GV_EINVAL},
        {"cache-threshold", "nan", GV_EINVAL},
        {"cache-threshold", "", GV_EINVAL},
        {"cache-threshold", "0.5x", GV_EINVAL},
        {"cache-threshold", " 0.5", GV_EINVAL},
        {"balance-abs-threshold", "0", GV_OK},
        {"balance-abs-threshold", "4294967295", GV_OK},
        {"balance-abs-threshold", "4294967296", GV_EINVAL},
        {"balance-abs-threshold", "1.5", GV_EINVAL},
        {"balance-rel-threshold", "1", GV_OK},
        {"balance-rel-threshold", "0.99", GV_EINVAL},
        {"log-level", "debug", GV_OK},
        {"log-level", "loud", GV_EINVAL},
        {"port", "1", GV_ENOTFOUND},
        {"", "1", GV_ENOTFOUND},
    };
    for (size_t i = 0; i < sizeof trials / sizeof trials[0]; i++) {
        struct gv_settings settings = some();
        struct gv_settings before = settings;
        char why[GV_SETTING_WHY_BYTES] = "";
        CU_ASSERT_EQUAL(gv_setting_read(trials[i].name, trials[i].value, &settings, why),
                        trials[i].err);
        if (trials[i].err != GV_OK) {
            CU_ASSERT(strlen(why) > 10);
            CU_ASSERT_EQUAL(memcmp(&settings, &before, sizeof settings), 0);
        }
    }
}

static void what_is_wrong_is_said_with_name_value_and_range(void)
{
    struct gv_settings settings = some();
    char why[GV_SETTING_WHY_BYTES];
    CU_ASSERT_EQUAL(gv_setting_read("cache-threshold", "7", &settings, why), GV_EINVAL);
    CU_ASSERT_STRING_EQUAL(why, "cache-threshold: '7' is not a number in 0..1");
    CU_ASSERT_EQUAL(gv_setting_read("cash", "7", &settings, why), GV_ENOTFOUND);
    CU_ASSERT_STRING_EQUAL(why, "there is no setting 'cash'; there are log-level, cache-threshold, "
                                "balance-abs-threshold, balance-rel-threshold");
}

static void one_setting_goes_back_to_what_it_was_and_the_others_stay(void)
{
    struct gv_settings started = some();
    struct gv_settings now = started;
    char text[8];
    char why[GV_SETTING_WHY_BYTES];
    CU_ASSERT_EQUAL(gv_setting_read("cache-threshold", "0.9", &now, why), GV_OK);
    CU_ASSERT_EQUAL(gv_setting_read("balance-abs-threshold", "5", &now, why), GV_OK);
    gv_setting_copy("cache-threshold", &started, &now);
    gv_setting_copy("unknown", &started, &now);
    CU_ASSERT_DOUBLE_EQUAL(now.cache_threshold, 0.3, 0);
    CU_ASSERT_EQUAL(now.balance_abs_threshold, 5);
    CU_ASSERT_EQUAL(gv_setting_format("unknown", &now, text, sizeof text), GV_ENOTFOUND);
}

GV_SUITE("config/setting", GV_CASE(every_setting_is_an_option_and_reads_what_it_writes),
         GV_CASE(values_are_taken_within_the_range_of_the_option_and_nowhere_else),
         GV_CASE(what_is_wrong_is_said_with_name_value_and_range),
         GV_CASE(one_setting_goes_back_to_what_it_was_and_the_others_stay))
