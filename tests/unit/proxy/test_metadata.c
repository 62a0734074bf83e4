/* test_metadata.c - what engines say about themselves. */
#include "../../../src/proxy/metadata.h"
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
    CU_ASSERT_FALSE(gv_metadata_read_metrics(&metadata, gv_slice_text("# nothing\n")));
    CU_ASSERT_FALSE(metadata.has_role);
    CU_ASSERT_EQUAL(metadata.model_count, 0);
    CU_ASSERT_EQUAL(metadata.capacity_tokens, 0);
    CU_ASSERT_STRING_EQUAL(metadata.marker, "");
}

static void a_vllm_engine_tells_its_start_among_its_metrics(void)
{
    struct gv_metadata metadata = {0};
    CU_ASSERT(gv_metadata_read_metrics(
        &metadata, gv_slice_text("# HELP process_start_time_seconds x\n"
                                 "process_start_time_seconds 1.5e3\nother 1\n")));
    CU_ASSERT_STRING_EQUAL(metadata.marker, "1500.000");
    CU_ASSERT_EQUAL(metadata.started_wall_ms, 1500000);
}

GV_SUITE("proxy/metadata", GV_CASE(an_sglang_engine_tells_models_capacity_and_role),
         GV_CASE(what_is_not_told_stays_unset_and_nonsense_changes_nothing),
         GV_CASE(a_vllm_engine_tells_its_start_among_its_metrics))
