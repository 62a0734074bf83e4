/* test_pair.c - what both legs of a pair are told. */
#include "../../../src/proxy/pair.h"
#include "support/suite.h"

static struct gv_buf body_of(const char *body, int32_t port, const uint64_t *rooms, uint32_t batch)
{
    struct gv_buf out;
    gv_buf_init(&out, GV_MEM_EXCHANGE, 1u << 20);
    struct gv_pair_meeting meeting = {"p1", port, rooms, batch, NULL, 0};
    CU_ASSERT_EQUAL(gv_pair_body(gv_slice_text(body), &meeting, &out), GV_OK);
    return out;
}

static void one_prompt_has_one_room_and_a_missing_port_is_null(void)
{
    static const uint64_t rooms[] = {UINT64_MAX};
    struct gv_buf out = body_of("{\"a\":1}", -1, rooms, 0);
    CU_ASSERT(gv_slice_is(gv_buf_slice(&out), "{\"bootstrap_host\":\"p1\",\"bootstrap_port\":null,"
                                              "\"bootstrap_room\":9223372036854775807,\"a\":1}"));
    gv_buf_deinit(&out);
}

static void a_batch_has_a_room_for_each_item_also_a_batch_of_one(void)
{
    static const uint64_t rooms[] = {5, 6};
    struct gv_buf out = body_of("{\"a\":1}", 8998, rooms, 2);
    CU_ASSERT(gv_slice_is(gv_buf_slice(&out),
                          "{\"bootstrap_host\":[\"p1\",\"p1\"],\"bootstrap_port\":[8998,8998],"
                          "\"bootstrap_room\":[5,6],\"a\":1}"));
    gv_buf_deinit(&out);
    out = body_of("{\"a\":1}", 8998, rooms, 1);
    CU_ASSERT(gv_slice_is(gv_buf_slice(&out),
                          "{\"bootstrap_host\":[\"p1\"],\"bootstrap_port\":[8998],"
                          "\"bootstrap_room\":[5],\"a\":1}"));
    gv_buf_deinit(&out);
}

static void what_is_no_object_cannot_be_sent_to_a_pair(void)
{
    static const uint64_t rooms[] = {1};
    struct gv_buf out;
    struct gv_pair_meeting meeting = {"p1", 1, rooms, 0, NULL, 0};
    gv_buf_init(&out, GV_MEM_EXCHANGE, 1u << 20);
    CU_ASSERT_EQUAL(gv_pair_body(gv_slice_text("[1]"), &meeting, &out), GV_EINVAL);
    gv_buf_deinit(&out);
}

static void in_turn_prefill_makes_one_token_and_keeps_it(void)
{
    struct gv_buf out;
    gv_buf_init(&out, GV_MEM_EXCHANGE, 4096);
    CU_ASSERT_EQUAL(
        gv_pair_prefill_body(gv_slice_text("{\"model\":\"m\",\"stream\":true,\"max_tokens\":9,"
                                           "\"stream_options\":{},\"kv_transfer_params\":7}"),
                             &out),
        GV_OK);
    CU_ASSERT_TRUE(gv_slice_is(gv_buf_slice(&out),
                               "{\"kv_transfer_params\":{\"do_remote_decode\":true,"
                               "\"do_remote_prefill\":false},\"max_tokens\":1,\"stream\":false,"
                               "\"stream_options\":null,\"model\":\"m\"}"));
    gv_buf_deinit(&out);
}

static void in_turn_decode_gets_what_prefill_returned_and_nothing_of_the_client(void)
{
    static const char *const cases[][2] = {
        {"{\"id\":1,\"kv_transfer_params\":{\"x\":[1]}}",
         "{\"kv_transfer_params\":{\"x\":[1]},\"model\":\"m\"}"},
        {"{\"id\":1}", "{\"kv_transfer_params\":null,\"model\":\"m\"}"},
        {"not json", "{\"kv_transfer_params\":null,\"model\":\"m\"}"},
        {"", "{\"kv_transfer_params\":null,\"model\":\"m\"}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct gv_buf out;
        gv_buf_init(&out, GV_MEM_EXCHANGE, 4096);
        CU_ASSERT_EQUAL(gv_pair_decode_body(
                            gv_slice_text("{\"kv_transfer_params\":{\"evil\":1},\"model\":\"m\"}"),
                            gv_slice_text(cases[i][0]), &out),
                        GV_OK);
        CU_ASSERT_TRUE(gv_slice_is(gv_buf_slice(&out), cases[i][1]));
        gv_buf_deinit(&out);
    }
}

GV_SUITE("proxy/pair", GV_CASE(in_turn_prefill_makes_one_token_and_keeps_it),
         GV_CASE(in_turn_decode_gets_what_prefill_returned_and_nothing_of_the_client),
         GV_CASE(one_prompt_has_one_room_and_a_missing_port_is_null),
         GV_CASE(a_batch_has_a_room_for_each_item_also_a_batch_of_one),
         GV_CASE(what_is_no_object_cannot_be_sent_to_a_pair))
