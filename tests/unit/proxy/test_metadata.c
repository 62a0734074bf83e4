/* test_metadata.c - what engines say about themselves. */
#include "../../../src/proxy/scrape.h"
#include "support/suite.h"

static void an_sglang_engine_tells_models_capacity_and_role(void)
{
    struct gv_metadata metadata = {0};
    CU_ASSERT(gv_metadata_read_models(
        &metadata, gv_slice_text("{\"data\":[{\"id\":\"a\",\"owned_by\":\"sglang\"},"
                                 "{\"id\":\"a\"},{\"id\":\"b\"}]}")));
    CU_ASSERT_EQUAL(metadata.model_count, 2);
    CU_ASSERT_STRING_EQUAL(metadata.models[1], "b");
    CU_ASSERT_STRING_EQUAL(metadata.runtime, "sglang");
    CU_ASSERT(gv_metadata_read_server_info(
        &metadata,
        gv_slice_text("{\"served_model_name\":\"c\",\"disaggregation_mode\":\"prefill\","
                      "\"max_total_num_tokens\":7,"
                      "\"internal_states\":[{\"max_total_num_tokens\":5},"
                      "{\"max_total_num_tokens\":6}],\"start_time_ms\":12,\"generation\":3}")));
    CU_ASSERT_EQUAL(metadata.model_count, 2);
    CU_ASSERT_EQUAL(metadata.capacity_tokens, 11);
    CU_ASSERT(metadata.has_role);
    CU_ASSERT_EQUAL(metadata.role, GV_POOL_PREFILL);
    CU_ASSERT_STRING_EQUAL(metadata.marker, "12.000#3");
    CU_ASSERT_EQUAL(metadata.started_wall_ms, 12);
}

static void what_is_not_told_stays_unset_and_nonsense_changes_nothing(void)
{
    struct gv_metadata metadata = {0};
    CU_ASSERT(gv_metadata_read_server_info(&metadata, gv_slice_text("{}")));
    CU_ASSERT_FALSE(gv_metadata_read_server_info(&metadata, gv_slice_text("[]")));
    CU_ASSERT_FALSE(gv_metadata_read_server_info(&metadata, gv_slice_text("{")));
    CU_ASSERT_FALSE(gv_metadata_read_models(&metadata, gv_slice_text("{\"data\":1}")));
    CU_ASSERT_FALSE(gv_metadata_read_models(&metadata, gv_slice_text("")));
    CU_ASSERT_FALSE(gv_metadata_read_model_info(&metadata, gv_slice_text("null")));
    CU_ASSERT_FALSE(gv_scrape_metrics(&metadata, gv_slice_text("# nothing\n")));
    CU_ASSERT_FALSE(metadata.has_role);
    CU_ASSERT_EQUAL(metadata.model_count, 0);
    CU_ASSERT_EQUAL(metadata.capacity_tokens, 0);
    CU_ASSERT_STRING_EQUAL(metadata.marker, "");
}

static void a_vllm_engine_tells_its_start_among_its_metrics(void)
{
    struct gv_metadata metadata = {0};
    CU_ASSERT(
        gv_scrape_metrics(&metadata, gv_slice_text("# HELP process_start_time_seconds x\n"
                                                   "process_start_time_seconds 1.5e3\nother 1\n")));
    CU_ASSERT_STRING_EQUAL(metadata.marker, "1500.000");
    CU_ASSERT_EQUAL(metadata.started_wall_ms, 1500000);
}

/* Milliseconds of it must fit: an engine may say any number. */
static void a_start_beyond_all_time_is_not_believed(void)
{
    struct gv_metadata metadata = {0};
    CU_ASSERT_FALSE(
        gv_scrape_metrics(&metadata, gv_slice_text("process_start_time_seconds 1e18\n")));
    CU_ASSERT_STRING_EQUAL(metadata.marker, "");
    CU_ASSERT_EQUAL(metadata.started_wall_ms, 0);
    CU_ASSERT_FALSE(
        gv_scrape_metrics(&metadata, gv_slice_text("process_start_time_seconds 1.001e12\n")));
    CU_ASSERT(gv_scrape_metrics(&metadata, gv_slice_text("process_start_time_seconds 1e12\n")));
    CU_ASSERT_EQUAL(metadata.started_wall_ms, UINT64_C(1000000000000000));
}

static void a_vllm_engine_tells_what_it_can_hold_and_has_read_among_its_metrics(void)
{
    struct gv_metadata metadata = {0};
    CU_ASSERT(gv_scrape_metrics(
        &metadata,
        gv_slice_text("# TYPE vllm:cache_config_info gauge\n"
                      "vllm:cache_config_info{block_size=\"16\",cache_dtype=\"a,}b\","
                      "num_gpu_blocks=\"1000\",engine=\"0\"} 1.0\n"
                      "vllm:cache_config_info{block_size=\"16\",num_gpu_blocks=\"None\"} 1.0\n"
                      "vllm:prompt_tokens_total{engine=\"0\"} 70\n"
                      "vllm:prompt_tokens_total{engine=\"1\"} 5 1700000000\n"
                      "broken{x=\"1\n")));
    CU_ASSERT_STRING_EQUAL(metadata.runtime, "vllm");
    CU_ASSERT_EQUAL(metadata.capacity_tokens, 16000);
    CU_ASSERT(metadata.has_counter);
    CU_ASSERT_EQUAL(metadata.counter, 75);
    CU_ASSERT_STRING_EQUAL(metadata.marker, "");
}

static void a_vllm_engine_tells_its_load_by_rank(void)
{
    struct gv_engine_load loads[GV_ENGINE_RANKS_MAX];
    uint32_t count = gv_scrape_loads(
        gv_slice_text("vllm:num_requests_running{engine=\"0\",model_name=\"m\"} 3.0\n"
                      "vllm:num_requests_waiting{engine=\"0\"} 2\n"
                      "vllm:kv_cache_usage_perc{engine=\"0\"} 0.25\n"
                      "vllm:num_requests_running{engine=\"1\"} NaN\n"
                      "vllm:num_requests_running{engine=\"7\"} 1\n"
                      "other_gauge 5\n"),
        loads);
    CU_ASSERT_EQUAL_FATAL(count, 2);
    CU_ASSERT_EQUAL(loads[0].rank, 0);
    CU_ASSERT_EQUAL(loads[0].running, 3);
    CU_ASSERT_EQUAL(loads[0].waiting, 2);
    CU_ASSERT(loads[0].has_usage);
    CU_ASSERT_DOUBLE_EQUAL(loads[0].usage, 0.25, 1e-9);
    CU_ASSERT_EQUAL(loads[1].rank, 7);
    CU_ASSERT_EQUAL(loads[1].running, 1);
    CU_ASSERT_FALSE(loads[1].has_usage);
    CU_ASSERT_EQUAL(gv_scrape_loads(gv_slice_text("go_threads 5\n"), loads), 0);
}

static void an_sglang_engine_tells_its_load_by_rank_in_words_old_and_new(void)
{
    struct gv_engine_load loads[GV_ENGINE_RANKS_MAX];
    CU_ASSERT_EQUAL_FATAL(
        gv_metadata_read_loads(gv_slice_text("{\"loads\":[{\"dp_rank\":1,\"num_running_reqs\":4,"
                                             "\"num_waiting_reqs\":5,\"num_used_tokens\":60,"
                                             "\"max_total_num_tokens\":100,\"token_usage\":0.5}]}"),
                               loads),
        1);
    CU_ASSERT_EQUAL(loads[0].rank, 1);
    CU_ASSERT_EQUAL(loads[0].running, 4);
    CU_ASSERT_EQUAL(loads[0].waiting, 5);
    CU_ASSERT_EQUAL(loads[0].used_tokens, 60);
    CU_ASSERT_DOUBLE_EQUAL(loads[0].usage, 0.5, 1e-9);
    CU_ASSERT_EQUAL_FATAL(
        gv_metadata_read_loads(gv_slice_text("[{\"dp_rank\":0,\"num_reqs\":7,"
                                             "\"num_waiting_reqs\":3,\"num_tokens\":9}]"),
                               loads),
        1);
    CU_ASSERT_EQUAL(loads[0].running, 4);
    CU_ASSERT_EQUAL(loads[0].waiting, 3);
    CU_ASSERT_EQUAL(loads[0].used_tokens, 9);
    CU_ASSERT_FALSE(loads[0].has_usage);
    CU_ASSERT_EQUAL(gv_metadata_read_loads(gv_slice_text("{\"loads\":3}"), loads), 0);
    CU_ASSERT_EQUAL(gv_metadata_read_loads(gv_slice_text("no"), loads), 0);
}

static void an_engine_that_does_not_say_its_name_is_known_by_what_it_answers(void)
{
    struct gv_metadata metadata = {0};
    CU_ASSERT(gv_metadata_read_models(
        &metadata, gv_slice_text("{\"data\":[{\"id\":\"a\",\"owned_by\":\"me\"}]}")));
    CU_ASSERT_STRING_EQUAL(metadata.runtime, "");
    CU_ASSERT(gv_metadata_read_server_info(&metadata, gv_slice_text("{\"vllm_config\":1}")));
    CU_ASSERT_STRING_EQUAL(metadata.runtime, "");
    CU_ASSERT(gv_metadata_read_version(&metadata, gv_slice_text("{\"version\":\"0.9\"}")));
    CU_ASSERT_STRING_EQUAL(metadata.runtime, "vllm");
    struct gv_metadata other = {0};
    CU_ASSERT(gv_metadata_read_server_info(
        &other, gv_slice_text("{\"tp_size\":1,\"dp_size\":4,\"uptime_seconds\":1.5}")));
    CU_ASSERT_STRING_EQUAL(other.runtime, "sglang");
    CU_ASSERT_EQUAL(other.dp_size, 4);
    CU_ASSERT_EQUAL(other.uptime_ms, 1500);
    CU_ASSERT_FALSE(gv_metadata_read_version(&other, gv_slice_text("\"0.9\"")));
    CU_ASSERT_STRING_EQUAL(other.runtime, "sglang");
}

GV_SUITE("proxy/metadata", GV_CASE(an_sglang_engine_tells_models_capacity_and_role),
         GV_CASE(what_is_not_told_stays_unset_and_nonsense_changes_nothing),
         GV_CASE(a_vllm_engine_tells_its_start_among_its_metrics),
         GV_CASE(a_start_beyond_all_time_is_not_believed),
         GV_CASE(a_vllm_engine_tells_what_it_can_hold_and_has_read_among_its_metrics),
         GV_CASE(a_vllm_engine_tells_its_load_by_rank),
         GV_CASE(an_sglang_engine_tells_its_load_by_rank_in_words_old_and_new),
         GV_CASE(an_engine_that_does_not_say_its_name_is_known_by_what_it_answers))
