/*
 * Values that are good alone and bad together.
 */
#include "run.h"

static void values_must_fit_each_other(void)
{
    refuses(FLAGS("--pd-disaggregation", "--prefill", "http://a:1"), "--decode is missing");
    refuses(FLAGS("--pd-disaggregation", "--decode", "http://a:1"), "--prefill is missing");
    refuses(FLAGS("--prefill", "http://a:1"), "mean nothing without --pd-disaggregation");
    refuses(FLAGS("--policy", "best"), "there is no policy 'best'; there are");
    refuses(FLAGS("--decode-policy", "best"), "--decode-policy: there is no policy");
    refuses(FLAGS("--assignment-mode", "max_load"), "is none of random, min_load and min_group");
    refuses(FLAGS("--worker-urls", "a:1"), "--worker-urls: 'a:1'");
    refuses(FLAGS("--worker-urls", "grpc://a:1"), "only http:// and https:// are spoken");
    refuses(FLAGS("--tls-cert-path", "a"), "--tls-cert-path needs --tls-key-path");
    refuses(FLAGS("--client-key-path", "a"), "--client-key-path needs --client-cert-path");
    refuses(FLAGS("--admin-tls-key-path", "a"), "--admin-tls-key-path needs --admin-tls-cert-path");
    refuses(FLAGS("--tls-client-ca-path", "a"), "--tls-client-ca-path needs --tls-cert-path");
    refuses(FLAGS("--admin-tls-client-ca-path", "a"), "needs --admin-tls-cert-path");
    refuses(FLAGS("--tls-client-auth", "maybe"), "is neither required nor optional");
    refuses(FLAGS("--worker-urls", "http://a:1", "http://A:1/"), "http://a:1 is given twice");
    refuses(FLAGS("--port", "29000"), "--port and --prometheus-port are both 29000");
    refuses(FLAGS("--enable-mesh", "--mesh-port", "30000"), "--mesh-port 30000 is also --port");
    refuses(FLAGS("--retry-initial-backoff-ms", "31s"), "is larger than --retry-max-backoff-ms");
    refuses(FLAGS("--first-byte-timeout-secs", "1801"), "is larger than --request-timeout-secs");
    refuses(FLAGS("--health-check-endpoint", "health"), "does not begin with '/'");
    refuses(FLAGS("--block-bytes", "100"), "100 is not a power of two");
    refuses(FLAGS("--node-name", "a:b"), "--node-name: 'a:b' may hold");
}

static void a_mesh_without_keys_stays_at_home_unless_told(void)
{
    struct run run;
    refuses(FLAGS("--enable-mesh", "--mesh-host", "0.0.0.0"), "make a key ring");
    refuses(FLAGS("--seeds", "10.0.0.1:39527"), "--mesh-insecure");
    load(&run, FLAGS("--enable-mesh", "--mesh-host", "127.0.0.1", "--seeds", "127.0.0.2"), NULL);
    CU_ASSERT_EQUAL(run.outcome, GV_CONFIG_RUN);
    done(&run);
    load(&run, FLAGS("--seeds", "10.0.0.1:39527", "--mesh-insecure", "--host", "10.0.0.2"), NULL);
    CU_ASSERT_EQUAL_FATAL(run.outcome, GV_CONFIG_RUN);
    CU_ASSERT_STRING_EQUAL(run.config.mesh_host, "10.0.0.2");
    done(&run);
    load(&run, FLAGS("--seeds", "10.0.0.1:39527", "--mesh-keyring", "/k"), NULL);
    CU_ASSERT_EQUAL_FATAL(run.outcome, GV_CONFIG_RUN);
    CU_ASSERT_STRING_EQUAL(run.config.mesh_host, "");
    done(&run);
}

GV_SUITE("config/check", GV_CASE(values_must_fit_each_other),
         GV_CASE(a_mesh_without_keys_stays_at_home_unless_told))
