/*
 * test_pair.c - one proxy and two fake workers: the two legs of a request meet, and one that fails
 * ends the other.
 */
#include "support/replies.h"
#include "support/suite.h"
#include <string.h>

#define ROOM "\"bootstrap_room\":"

static struct gv_fake *meets; /* the prefill worker that decode waits for */

/* As an engine does: nothing is decoded before prefill has the prompt. */
static bool reply_stream_after_prefill(struct gv_fake *fake, int fd)
{
    while (atomic_load(&meets->request_count) < atomic_load(&fake->request_count)) {
        gv_test_pause();
    }
    return gv_fake_stream(fake, fd);
}

static void both_legs_meet_in_one_fresh_room_and_decode_answers(void)
{
    struct gv_rig rig;
    struct gv_fake prefill;
    struct gv_fake decode;
    struct gv_reply reply;
    char rooms[2][2][32];
    gv_rig_init(&rig);
    gv_fake_start(&prefill, gv_fake_hello);
    gv_fake_start(&decode, reply_stream_after_prefill);
    meets = &prefill;
    gv_rig_add_worker(&rig, prefill.url, GV_POOL_PREFILL, GV_WORKER_READY);
    gv_rig_add_worker(&rig, decode.url, GV_POOL_DECODE, GV_WORKER_READY);
    rig.config.pd_disaggregation = 1;
    gv_rig_start(&rig);
    for (int i = 0; i < 2; i++) {
        gv_talk_ask(rig.port, "POST", GV_RIG_CHAT, NULL,
                    "{\"bootstrap_room\":7,\"bootstrap_host\":\"evil\",\"model\":\"m\","
                    "\"messages\":[{\"role\":\"user\",\"content\":\"hello there\"}]}",
                    &reply);
        CU_ASSERT_EQUAL(reply.status, 200);
        CU_ASSERT_STRING_EQUAL(reply.body, GV_FAKE_EVENTS);
        gv_reply_deinit(&reply);
        gv_fake_number(&prefill, ROOM, rooms[i][0], sizeof rooms[i][0]);
        gv_fake_number(&decode, ROOM, rooms[i][1], sizeof rooms[i][1]);
        CU_ASSERT_STRING_EQUAL(rooms[i][0], rooms[i][1]);
        CU_ASSERT(strlen(rooms[i][0]) > 1);
    }
    CU_ASSERT_STRING_NOT_EQUAL(rooms[0][0], rooms[1][0]);
    CU_ASSERT_FALSE(gv_fake_was_sent(&decode, "evil"));
    CU_ASSERT(gv_fake_was_sent(&decode, "\"bootstrap_host\":\"127.0.0.1\""));
    CU_ASSERT(gv_fake_was_sent(&prefill, "\"bootstrap_port\":8998"));
    CU_ASSERT_EQUAL(atomic_load(&rig.published), 2); /* one per pool; the second time it is fresh */
    gv_rig_stop(&rig);
    gv_fake_stop(&prefill);
    gv_fake_stop(&decode);
}

static void a_failed_prefill_ends_decode_and_is_named(void)
{
    struct gv_rig rig;
    struct gv_fake prefill;
    struct gv_fake decode;
    struct gv_reply reply;
    gv_rig_init(&rig);
    gv_fake_start(&prefill, gv_fake_busy);
    gv_fake_start(&decode, gv_fake_never);
    gv_rig_add_worker(&rig, prefill.url, GV_POOL_PREFILL, GV_WORKER_READY);
    gv_rig_add_worker(&rig, decode.url, GV_POOL_DECODE, GV_WORKER_READY);
    rig.config.pd_disaggregation = 1;
    rig.config.disable_retries = 1;
    gv_rig_start(&rig);
    gv_rig_chat(&rig, &reply);
    CU_ASSERT_EQUAL(reply.status, 502);
    CU_ASSERT_PTR_NOT_NULL(strstr(reply.body, "prefill_failed"));
    gv_reply_deinit(&reply);
    CU_ASSERT(gv_test_await(gv_fake_saw_the_end, &decode, 0));
    gv_rig_stop(&rig);
    gv_fake_stop(&prefill);
    gv_fake_stop(&decode);
}

static void what_prefill_finds_wrong_with_a_request_is_passed_on(void)
{
    struct gv_rig rig;
    struct gv_fake prefill;
    struct gv_fake decode;
    struct gv_reply reply;
    gv_rig_init(&rig);
    gv_fake_start(&prefill, gv_fake_bad_request);
    gv_fake_start(&decode, gv_fake_never);
    gv_rig_add_worker(&rig, prefill.url, GV_POOL_PREFILL, GV_WORKER_READY);
    gv_rig_add_worker(&rig, decode.url, GV_POOL_DECODE, GV_WORKER_READY);
    rig.config.pd_disaggregation = 1;
    gv_rig_start(&rig);
    gv_rig_chat(&rig, &reply);
    CU_ASSERT_EQUAL(reply.status, 400);
    CU_ASSERT_STRING_EQUAL(reply.body, "not that!");
    gv_reply_deinit(&reply);
    CU_ASSERT(gv_test_await(gv_fake_saw_the_end, &decode, 0));
    gv_rig_stop(&rig);
    gv_fake_stop(&prefill);
    gv_fake_stop(&decode);
}

static void what_decode_says_passes_and_ends_prefill(void)
{
    struct gv_rig rig;
    struct gv_fake prefill;
    struct gv_fake decode;
    struct gv_reply reply;
    gv_rig_init(&rig);
    gv_fake_start(&prefill, gv_fake_never);
    gv_fake_start(&decode, gv_fake_bad_request);
    gv_rig_add_worker(&rig, prefill.url, GV_POOL_PREFILL, GV_WORKER_READY);
    gv_rig_add_worker(&rig, decode.url, GV_POOL_DECODE, GV_WORKER_READY);
    rig.config.pd_disaggregation = 1;
    gv_rig_start(&rig);
    gv_rig_chat(&rig, &reply);
    CU_ASSERT_EQUAL(reply.status, 400);
    CU_ASSERT_STRING_EQUAL(reply.body, "not that!");
    gv_reply_deinit(&reply);
    CU_ASSERT(gv_test_await(gv_fake_saw_the_end, &prefill, 0));
    gv_rig_stop(&rig);
    gv_fake_stop(&prefill);
    gv_fake_stop(&decode);
}

GV_SUITE("integration/pair", GV_CASE(both_legs_meet_in_one_fresh_room_and_decode_answers),
         GV_CASE(a_failed_prefill_ends_decode_and_is_named),
         GV_CASE(what_prefill_finds_wrong_with_a_request_is_passed_on),
         GV_CASE(what_decode_says_passes_and_ends_prefill))
