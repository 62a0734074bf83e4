/*
 * How much a session takes: openings, messages, refusals, memory; both sides of each limit.
 */
#include "grapevine/base/mem.h"
#include "pair.h"

static void a_long_refusal_is_cut_at_its_limit(void)
{
    char text[GV_SESSION_TEXT_MAX + 10];
    memset(text, 'x', sizeof text);
    for (size_t len = GV_SESSION_TEXT_MAX - 1; len <= GV_SESSION_TEXT_MAX; len++) {
        struct pair pair = pair_of(NULL, NULL);
        struct gv_session_event event;
        text[len] = '\0';
        CU_ASSERT_TRUE(exchange_openings(&pair));
        CU_ASSERT_EQUAL(gv_session_accept(pair.a.session, &pair.a.out), GV_OK);
        CU_ASSERT_EQUAL(gv_session_refuse(pair.b.session, 1, text, &pair.b.out), GV_OK);
        CU_ASSERT_EQUAL(carry(&pair.b, &pair.a, &event), GV_OK);
        CU_ASSERT_EQUAL(event.bytes.len, GV_SESSION_TEXT_MAX - 1);
        close_pair(&pair);
        text[len] = 'x';
    }
}

static void a_hello_fits_up_to_its_limit_and_no_further(void)
{
    static char hello[GV_SESSION_HELLO_MAX + 2];
    memset(hello, 'h', sizeof hello);
    struct gv_identity *identity = gv_identity_new();
    struct gv_session_options options = {.role = GV_SESSION_INITIATOR,
                                         .identity = identity,
                                         .max_message_bytes = MESSAGE_MAX,
                                         .hello = gv_slice_of(hello, GV_SESSION_HELLO_MAX)};
    struct gv_session *session = NULL;
    struct gv_session_event event;
    struct side b;
    struct gv_buf out;
    gv_buf_init(&out, GV_MEM_NET, 8192);
    open_side(&b, GV_SESSION_ACCEPTOR, NULL, "b");
    CU_ASSERT_EQUAL(gv_session_new(options, &out, &session), GV_OK);
    CU_ASSERT_EQUAL(gv_session_feed(b.session, gv_buf_slice(&out)), GV_OK);
    CU_ASSERT_EQUAL(gv_session_next(b.session, &event), GV_OK);
    CU_ASSERT_EQUAL(event.bytes.len, GV_SESSION_HELLO_MAX);
    gv_session_free(session);
    options.hello.len += 1;
    CU_ASSERT_EQUAL(gv_session_new(options, &out, &session), GV_ETOOBIG);
    close_side(&b);
    gv_identity_free(identity);
    gv_buf_deinit(&out);
}

static void a_message_fits_up_to_its_limit_and_no_further(void)
{
    static char text[MESSAGE_MAX + 1];
    memset(text, 'm', sizeof text);
    struct gv_keyring *ring = fresh_ring();
    for (int keyed = 0; keyed < 2; keyed++) {
        struct pair pair = pair_of(keyed ? ring : NULL, keyed ? ring : NULL);
        struct gv_session_event event;
        establish(&pair);
        struct gv_slice most = gv_slice_of(text, MESSAGE_MAX);
        struct gv_slice more = gv_slice_of(text, MESSAGE_MAX + 1);
        CU_ASSERT_EQUAL(gv_session_send(pair.a.session, most, &pair.a.out), GV_OK);
        CU_ASSERT_EQUAL(carry(&pair.a, &pair.b, &event), GV_OK);
        CU_ASSERT_EQUAL(event.bytes.len, MESSAGE_MAX);
        CU_ASSERT_EQUAL(gv_session_send(pair.a.session, more, &pair.a.out), GV_ETOOBIG);
        /* The receiver refuses by the length alone, before the bytes are there. */
        uint32_t limit = MESSAGE_MAX + 1 + (keyed ? 17 : 0);
        uint8_t head[4] = {0, 0, (uint8_t)((limit + 1) >> 8), (uint8_t)((limit + 1) & 0xff)};
        CU_ASSERT_EQUAL(gv_session_feed(pair.b.session, gv_slice_of(head, 4)), GV_OK);
        CU_ASSERT_EQUAL(gv_session_next(pair.b.session, &event), GV_ETOOBIG);
        close_pair(&pair);
    }
    gv_keyring_free(ring);
}

static void a_session_that_runs_out_of_memory_leaves_nothing(void)
{
    struct gv_identity *identity = gv_identity_new();
    size_t before = gv_mem_used(GV_MEM_GOSSIP);
    uint64_t nth = 1;
    for (;; nth++) {
        struct gv_session *session = NULL;
        struct gv_buf out;
        gv_buf_init(&out, GV_MEM_NET, 8192);
        gv_mem_fail_nth(nth);
        enum gv_err err = gv_session_new((struct gv_session_options){.role = GV_SESSION_INITIATOR,
                                                                     .identity = identity,
                                                                     .max_message_bytes = 10},
                                         &out, &session);
        gv_mem_fail_nth(0);
        gv_session_free(session);
        gv_buf_deinit(&out);
        if (err == GV_OK) {
            break;
        }
        CU_ASSERT_EQUAL(err, GV_ENOMEM);
        CU_ASSERT_PTR_NULL(session);
    }
    CU_ASSERT_TRUE(nth >= 4);
    CU_ASSERT_EQUAL(gv_mem_used(GV_MEM_GOSSIP), before);
    gv_identity_free(identity);
}

static void a_full_sending_buffer_costs_no_message(void)
{
    struct gv_keyring *ring = fresh_ring();
    struct pair pair = pair_of(ring, ring);
    struct gv_buf tight;
    establish(&pair);
    gv_buf_init(&tight, GV_MEM_NET, 4 + GV_SESSION_FRAME_OVERHEAD - 1);
    CU_ASSERT_EQUAL(gv_session_send(pair.a.session, gv_slice_text("four"), &tight), GV_ETOOBIG);
    CU_ASSERT_EQUAL(tight.len, 0);
    say(&pair.a, &pair.b, "five!");
    gv_buf_deinit(&tight);
    close_pair(&pair);
    gv_keyring_free(ring);
}

GV_SUITE("seal/session_limits", GV_CASE(a_long_refusal_is_cut_at_its_limit),
         GV_CASE(a_hello_fits_up_to_its_limit_and_no_further),
         GV_CASE(a_message_fits_up_to_its_limit_and_no_further),
         GV_CASE(a_session_that_runs_out_of_memory_leaves_nothing),
         GV_CASE(a_full_sending_buffer_costs_no_message))
