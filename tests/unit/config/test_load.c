/*
 * Where values come from: flags, the environment, files of keys; and what a bad one is told.
 */
#include "run.h"

static void lists_take_several_values_and_add_up(void)
{
    struct run run;
    load(&run,
         FLAGS("--worker-urls", "http://a:1", "http://b:1,http://c:1", "--worker-urls=http://d:1",
               "--mesh-peer-urls", "http://127.0.0.1:7001", "--seeds", "localhost:7002",
               "--mesh-server-name", "n1", "--api-key", "k1", "--api-key", "k2"),
         NULL);
    CU_ASSERT_EQUAL_FATAL(run.outcome, GV_CONFIG_RUN);
    CU_ASSERT_EQUAL_FATAL(run.config.worker_urls.count, 4);
    CU_ASSERT_STRING_EQUAL(run.config.worker_urls.items[2], "http://c:1");
    CU_ASSERT_EQUAL_FATAL(run.config.seeds.count, 2);
    CU_ASSERT_STRING_EQUAL(run.config.seeds.items[0], "127.0.0.1:7001");
    CU_ASSERT_STRING_EQUAL(run.config.node_name, "n1");
    CU_ASSERT_EQUAL(run.config.api_keys.count, 2);
    CU_ASSERT_EQUAL(run.config.enable_mesh, 1);
    done(&run);
}

static void a_prefill_worker_may_have_a_bootstrap_port(void)
{
    struct run run;
    load(&run,
         FLAGS("--pd-disaggregation", "--prefill", "http://a:1", "8998", "--prefill", "http://b:1",
               "none", "--prefill", "http://c:1", "--decode", "http://d:1", "--decode",
               "http://e:1"),
         NULL);
    CU_ASSERT_EQUAL_FATAL(run.outcome, GV_CONFIG_RUN);
    CU_ASSERT_EQUAL_FATAL(run.config.prefill_count, 3);
    CU_ASSERT_EQUAL(run.config.prefills[0].bootstrap_port, 8998);
    CU_ASSERT_EQUAL(run.config.prefills[1].bootstrap_port, -1);
    CU_ASSERT_EQUAL(run.config.prefills[2].bootstrap_port, -1);
    CU_ASSERT_STRING_EQUAL(run.config.prefills[2].url, "http://c:1");
    CU_ASSERT_EQUAL(run.config.decode_urls.count, 2);
    done(&run);
    refuses(FLAGS("--pd-disaggregation", "--prefill", "http://a:1", "x", "--decode", "http://d:1"),
            "bootstrap port 'x'");
}

static void switches_can_be_said_in_three_ways(void)
{
    struct run run;
    load(&run, FLAGS("--log-json", "--disable-retries=true", "--no-log-json"), NULL);
    CU_ASSERT_EQUAL_FATAL(run.outcome, GV_CONFIG_RUN);
    CU_ASSERT_EQUAL(run.config.log_json, 0);
    CU_ASSERT_EQUAL(run.config.disable_retries, 1);
    done(&run);
    refuses(FLAGS("--log-json", "false"), "'false': a value without a flag");
    refuses(FLAGS("--no-port"), "--no-port: no such flag");
    refuses(FLAGS("--port"), "--port: needs a value");
    refuses(FLAGS("--port", "--log-json"), "--port: needs a value");
    refuses(FLAGS("-x"), "-x: no such flag");
}

static void a_mistyped_flag_gets_the_nearest_name(void)
{
    refuses(FLAGS("--sedes", "a"), "did you mean --seeds?");
    refuses(FLAGS("--workers-url", "a"), "did you mean --worker-urls?");
    refuses(FLAGS("--prot=1"), "did you mean --port?");
    refuses(FLAGS("--quite-something-else"), "see --help");
    CU_ASSERT_PTR_NULL(gv_option_nearest(gv_slice_text("")));
    CU_ASSERT_PTR_NULL(gv_option_nearest(gv_slice_text("zzzzzzzzzzzzz")));
    CU_ASSERT_STRING_EQUAL(gv_option_nearest(gv_slice_text("mesh_prot")), "mesh-port");
}

static void all_complaints_are_shown_at_once(void)
{
    struct run run;
    load(&run, FLAGS("--port", "99999", "--cache-threshold", "2"), NULL);
    CU_ASSERT_EQUAL(run.outcome, GV_CONFIG_BAD);
    CU_ASSERT(says(&run, "--port: 99999 is out of range; allowed is 0..65535"));
    CU_ASSERT(says(&run, "--cache-threshold: 2 is out of range; allowed is 0..1"));
    done(&run);
}

static void flag_over_environment_over_file_over_default(void)
{
    struct run run;
    const char *file = write_file("port: 1\nmesh_port: 2\nprometheus_port: 3\n"
                                  "worker_urls: [\"http://f:1\"]\n");
    load(&run, FLAGS("--config", file, "--port", "11"),
         FLAGS("GRAPEVINE_PORT=22", "GRAPEVINE_MESH_PORT=22",
               "GRAPEVINE_HOST=", "GRAPEVINE_WORKER_URLS=http://e:1,http://e:2"));
    CU_ASSERT_EQUAL_FATAL(run.outcome, GV_CONFIG_RUN);
    CU_ASSERT_EQUAL(run.config.port, 11);
    CU_ASSERT_EQUAL(run.config.mesh_port, 22);
    CU_ASSERT_EQUAL(run.config.prometheus_port, 3);
    CU_ASSERT_STRING_EQUAL(run.config.host, "0.0.0.0"); /* an empty variable says nothing */
    CU_ASSERT_EQUAL(run.config.worker_urls.count, 2);
    CU_ASSERT_STRING_EQUAL(run.config.config_file, file);
    done(&run);
    load(&run, NULL, FLAGS("GRAPEVINE_PORT=tcp://10.0.0.1:80"));
    CU_ASSERT_EQUAL(run.config.port, 30000);
    CU_ASSERT(says(&run, "service link"));
    done(&run);
    load(&run, NULL, FLAGS("GRAPEVINE_PORT=eighty"));
    CU_ASSERT_EQUAL(run.outcome, GV_CONFIG_BAD);
    CU_ASSERT(says(&run, "GRAPEVINE_PORT: 'eighty' is not a whole number"));
    done(&run);
    (void)unlink(file);
}

static void keys_may_come_from_a_file(void)
{
    struct run run;
    const char *file = write_file("# ours\nalpha\n\n  beta \n");
    load(&run, FLAGS("--api-key-file", file, "--print-config"), NULL);
    CU_ASSERT_EQUAL(run.outcome, GV_CONFIG_DONE);
    CU_ASSERT_PTR_NULL(strstr(text_of(&run.out), "alpha"));
    CU_ASSERT_PTR_NOT_NULL(strstr(text_of(&run.out), "# api_key: (given, not shown)"));
    done(&run);
    load(&run, FLAGS("--api-key-file", file), NULL);
    CU_ASSERT_EQUAL_FATAL(run.config.api_keys.count, 2);
    CU_ASSERT_STRING_EQUAL(run.config.api_keys.items[1], "beta");
    done(&run);
    refuses(FLAGS("--worker-api-key-file", file), "holds more than one key");
    (void)unlink(file);
    refuses(FLAGS("--api-key-file", file), "cannot read");
    file = write_file("# nothing\n");
    refuses(FLAGS("--api-key-file", file), "holds no key");
    (void)unlink(file);
}

static void a_configuration_can_be_tested(void)
{
    struct run run;
    load(&run, FLAGS("--config-test", "--worker-urls", "http://a:1"), NULL);
    CU_ASSERT_EQUAL(run.outcome, GV_CONFIG_DONE);
    CU_ASSERT_STRING_EQUAL(text_of(&run.out), "the configuration is good\n");
    CU_ASSERT_EQUAL(run.err.len, 0);
    done(&run);
    refuses(FLAGS("--config-test", "--port", "x"), "--port: 'x' is not");
}

static void without_memory_loading_fails_whole(void)
{
    const char *file = write_file("port: 5\nseeds: [\"127.0.0.1:1\", \"127.0.0.1:2\"]\n");
    enum gv_config_outcome outcome = GV_CONFIG_BAD;
    uint64_t nth = 0;
    while (outcome != GV_CONFIG_RUN && nth < 2000) {
        struct run run;
        nth += 1;
        gv_mem_fail_nth(nth);
        load(&run,
             FLAGS("--config", file, "--pd-disaggregation", "--prefill", "http://a:1", "1",
                   "--decode", "http://b:1", "--mesh-insecure", "--api-key", "k"),
             FLAGS("GRAPEVINE_MODEL=m"));
        gv_mem_fail_nth(0);
        outcome = run.outcome;
        done(&run);
    }
    CU_ASSERT_EQUAL(outcome, GV_CONFIG_RUN);
    CU_ASSERT(nth > 20);
    (void)unlink(file);
}

GV_SUITE("config/load", GV_CASE(lists_take_several_values_and_add_up),
         GV_CASE(a_prefill_worker_may_have_a_bootstrap_port),
         GV_CASE(switches_can_be_said_in_three_ways),
         GV_CASE(a_mistyped_flag_gets_the_nearest_name), GV_CASE(all_complaints_are_shown_at_once),
         GV_CASE(flag_over_environment_over_file_over_default), GV_CASE(keys_may_come_from_a_file),
         GV_CASE(a_configuration_can_be_tested), GV_CASE(without_memory_loading_fails_whole))
