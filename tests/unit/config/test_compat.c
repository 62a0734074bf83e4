/*
 * Flags of another router: known, and told apart by what becomes of them here.
 */
#include "run.h"

static void flags_of_the_smg_router_are_known(void)
{
    struct run run;
    load(&run, FLAGS("--eviction-interval", "5", "--max-concurrent-requests", "-1", "--log-json"),
         NULL);
    CU_ASSERT_EQUAL(run.outcome, GV_CONFIG_RUN);
    CU_ASSERT(says(&run, "--eviction-interval has no effect"));
    CU_ASSERT_EQUAL(run.config.log_json, 1);
    done(&run);
    refuses(FLAGS("--model-alias", "a=b"), "give the worker the other name");
    refuses(FLAGS("--otlp-traces-endpoint", "localhost:4317"), "is not supported");
    load(&run, FLAGS("--service-discovery", "--model-alias", "x", "--compat=warn", "--log-json"),
         NULL);
    CU_ASSERT_EQUAL(run.outcome, GV_CONFIG_RUN);
    CU_ASSERT(says(&run, "--service-discovery is not supported and is ignored"));
    CU_ASSERT_EQUAL(run.config.log_json, 1);
    done(&run);
    refuses(FLAGS("--compat", "maybe"), "--compat: 'maybe' is not strict or warn");
}

GV_SUITE("config/compat", GV_CASE(flags_of_the_smg_router_are_known))
