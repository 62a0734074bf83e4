/*
 * Tenants: their keys and their limits, as they are written.
 */
#include "run.h"

static void keys_and_limits_of_tenants_are_names_with_something_behind(void)
{
    struct run run;
    load(&run,
         FLAGS("--tenant-api-keys", "acme:sk:1", "--tenant-api-keys", "acme:sk-2",
               "--tenant-rate-limit", "acme=0.5"),
         NULL);
    CU_ASSERT_EQUAL_FATAL(run.config.tenant_api_keys.count, 2);
    CU_ASSERT_STRING_EQUAL(run.config.tenant_api_keys.items[0], "acme:sk:1");
    CU_ASSERT_EQUAL(run.config.tenant_rate_limits.count, 1);
    done(&run);
    static const char *const bad_keys[] = {"acme", "acme:", ":sk", "a/b:sk", "a b:sk"};
    for (size_t i = 0; i < sizeof bad_keys / sizeof bad_keys[0]; i++) {
        refuses(FLAGS("--tenant-api-keys", bad_keys[i]), "--tenant-api-keys");
    }
    static const char *const bad_limits[] = {"acme",    "acme=",    "acme=0",      "acme=-1",
                                             "acme=1x", "acme=nan", "acme=1000001"};
    for (size_t i = 0; i < sizeof bad_limits / sizeof bad_limits[0]; i++) {
        refuses(FLAGS("--tenant-api-keys", "acme:sk", "--tenant-rate-limit", bad_limits[i]),
                "is not NAME=RATE");
    }
    refuses(FLAGS("--tenant-rate-limit", "acme=1"), "no key of tenant 'acme'");
    refuses(FLAGS("--tenant-api-keys", "acme:sk", "--tenant-rate-limit", "acme=1,acme=2"),
            "'acme' is given twice");
}

GV_SUITE("config/tenant", GV_CASE(keys_and_limits_of_tenants_are_names_with_something_behind))
