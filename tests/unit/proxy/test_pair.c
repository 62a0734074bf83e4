/* test_pair.c - what both legs of a pair are told. */
#include "../../../src/proxy/pair.h"
#include "support/suite.h"

static struct gv_buf body_of(const char *body, int32_t port, const uint64_t *rooms, uint32_t batch)
{
    struct gv_buf out;
    gv_buf_init(&out, GV_MEM_EXCHANGE, 1u << 20);
    struct gv_pair_meeting meeting = {"p1", port, rooms, batch};
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
    struct gv_pair_meeting meeting = {"p1", 1, rooms, 0};
    gv_buf_init(&out, GV_MEM_EXCHANGE, 1u << 20);
    CU_ASSERT_EQUAL(gv_pair_body(gv_slice_text("[1]"), &meeting, &out), GV_EINVAL);
    gv_buf_deinit(&out);
}

GV_SUITE("proxy/pair", GV_CASE(one_prompt_has_one_room_and_a_missing_port_is_null),
         GV_CASE(a_batch_has_a_room_for_each_item_also_a_batch_of_one),
         GV_CASE(what_is_no_object_cannot_be_sent_to_a_pair))
