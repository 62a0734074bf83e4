/*
 * What must not get through: bytes that were changed, repeated, turned round or made up.
 */
#include "pair.h"

/*
 * Drive a handshake and one message in which byte `at` of what one side sends (the initiator, or
 * the acceptor) is changed by `mask`; returns true when the other was handed the message. `*total`
 * is how many bytes that side sends.
 */
static bool message_survives(const struct gv_keyring *ring, bool by_acceptor, size_t at,
                             uint8_t mask, size_t *total)
{
    struct pair pair = pair_of(ring, ring);
    struct side *from = by_acceptor ? &pair.b : &pair.a;
    struct side *to = by_acceptor ? &pair.a : &pair.b;
    struct gv_session_event event;
    bool heard = false;
    size_t sent = 0;
    for (int round = 0; round < 3; round++) {
        if (round == 1 && (gv_session_accept(from->session, &from->out) != GV_OK ||
                           gv_session_accept(to->session, &to->out) != GV_OK)) {
            break;
        }
        if (round == 2 &&
            gv_session_send(from->session, gv_slice_text("hi"), &from->out) != GV_OK) {
            break;
        }
        if (at >= sent && at < sent + from->out.len) {
            from->out.data[from->out.start + at - sent] ^= mask;
        }
        sent += from->out.len;
        if (carry(from, to, &event) != GV_OK || event.type == GV_SESSION_NONE) {
            break;
        }
        heard = event.type == GV_SESSION_MESSAGE && gv_slice_is(event.bytes, "hi");
        if (round < 2 && (carry(to, from, &event) != GV_OK || event.type == GV_SESSION_NONE)) {
            break;
        }
    }
    *total = sent;
    close_pair(&pair);
    return heard;
}

static void every_changed_byte_of_a_keyed_session_is_noticed(void)
{
    struct gv_keyring *ring = fresh_ring();
    for (int by_acceptor = 0; by_acceptor < 2; by_acceptor++) {
        size_t total = 0;
        size_t ignored = 0;
        CU_ASSERT_TRUE(message_survives(ring, by_acceptor, SIZE_MAX, 0, &total));
        CU_ASSERT_TRUE(total > 200);
        for (size_t at = 0; at < total; at++) {
            CU_ASSERT_FALSE(message_survives(ring, by_acceptor, at, 0x01, &ignored));
            CU_ASSERT_FALSE(message_survives(ring, by_acceptor, at, 0x80, &ignored));
        }
    }
    gv_keyring_free(ring);
}

static void every_changed_byte_of_a_keyless_handshake_is_noticed(void)
{
    for (int by_acceptor = 0; by_acceptor < 2; by_acceptor++) {
        size_t total = 0;
        size_t ignored = 0;
        CU_ASSERT_TRUE(message_survives(NULL, by_acceptor, SIZE_MAX, 0, &total));
        size_t message_bytes = 5 + 2; /* nothing guards the message itself without a key */
        for (size_t at = 0; at < total - message_bytes; at++) {
            CU_ASSERT_FALSE(message_survives(NULL, by_acceptor, at, 0x01, &ignored));
        }
    }
}

/* Both called, neither was called: no honest pair. */
static void two_that_both_began_are_no_session(void)
{
    struct gv_keyring *ring = fresh_ring();
    struct gv_session_event event;
    for (int role = 0; role < 2; role++) {
        struct pair pair;
        open_side(&pair.a, role ? GV_SESSION_ACCEPTOR : GV_SESSION_INITIATOR, ring, "a");
        open_side(&pair.b, role ? GV_SESSION_ACCEPTOR : GV_SESSION_INITIATOR, ring, "b");
        CU_ASSERT_EQUAL(carry(&pair.a, &pair.b, &event), GV_EPROTO);
        CU_ASSERT_EQUAL(carry(&pair.b, &pair.a, &event), GV_EPROTO);
        close_pair(&pair);
    }
    gv_keyring_free(ring);
}

static void a_stream_cut_at_any_offset_only_waits(void)
{
    struct gv_keyring *ring = fresh_ring();
    struct pair pair = pair_of(ring, ring);
    struct gv_slice opening = gv_buf_slice(&pair.a.out);
    for (size_t len = 0; len < opening.len; len++) {
        struct side b;
        struct gv_session_event event;
        open_side(&b, GV_SESSION_ACCEPTOR, ring, "b");
        CU_ASSERT_EQUAL(gv_session_feed(b.session, gv_slice_of(opening.data, len)), GV_OK);
        CU_ASSERT_EQUAL(gv_session_next(b.session, &event), GV_OK);
        CU_ASSERT_EQUAL(event.type, GV_SESSION_NONE);
        close_side(&b);
    }
    close_pair(&pair);
    gv_keyring_free(ring);
}

static void a_message_that_comes_twice_is_refused(void)
{
    struct gv_keyring *ring = fresh_ring();
    struct pair pair = pair_of(ring, ring);
    struct gv_session_event event;
    establish(&pair);
    CU_ASSERT_EQUAL(gv_session_send(pair.a.session, gv_slice_text("once"), &pair.a.out), GV_OK);
    CU_ASSERT_EQUAL(gv_session_feed(pair.b.session, gv_buf_slice(&pair.a.out)), GV_OK);
    CU_ASSERT_EQUAL(gv_session_feed(pair.b.session, gv_buf_slice(&pair.a.out)), GV_OK);
    CU_ASSERT_EQUAL(gv_session_next(pair.b.session, &event), GV_OK);
    CU_ASSERT_EQUAL(event.type, GV_SESSION_MESSAGE);
    CU_ASSERT_EQUAL(gv_session_next(pair.b.session, &event), GV_EAUTH);
    CU_ASSERT_EQUAL(gv_session_next(pair.b.session, &event), GV_ECLOSED);
    close_pair(&pair);
    gv_keyring_free(ring);
}

static void our_own_opening_come_back_is_refused(void)
{
    struct gv_session_event event;
    struct side a;
    open_side(&a, GV_SESSION_INITIATOR, NULL, "a");
    CU_ASSERT_EQUAL(carry(&a, &a, &event), GV_EPROTO);
    close_side(&a);
    /* Even with the role turned round: the ephemeral key is our own. */
    open_side(&a, GV_SESSION_INITIATOR, NULL, "a");
    a.out.data[5 + 10] = GV_SESSION_ACCEPTOR;
    CU_ASSERT_EQUAL(carry(&a, &a, &event), GV_EPROTO);
    close_side(&a);
}

/* The peer knows the key's id, which is public, but not the key. */
static void a_known_id_without_the_key_fails_authentication(void)
{
    struct gv_keyring *ring = fresh_ring();
    struct gv_keyring *other = fresh_ring();
    struct pair pair = pair_of(ring, other);
    struct gv_key_id id = gv_keyring_active(ring);
    struct gv_session_event event;
    memcpy(pair.b.out.data + 5 + 12, id.bytes, sizeof id.bytes); /* the claim */
    CU_ASSERT_EQUAL(carry(&pair.b, &pair.a, &event), GV_OK);
    CU_ASSERT_EQUAL(event.verdict, GV_OK);
    CU_ASSERT_EQUAL(gv_session_accept(pair.a.session, &pair.a.out), GV_OK);
    uint8_t confirm[5 + 104] = {0, 0, 0, 105, 3};
    CU_ASSERT_EQUAL(gv_session_feed(pair.a.session, gv_slice_of(confirm, sizeof confirm)), GV_OK);
    CU_ASSERT_EQUAL(gv_session_next(pair.a.session, &event), GV_EAUTH);
    close_pair(&pair);
    gv_keyring_free(ring);
    gv_keyring_free(other);
}

static void frames_of_no_length_or_out_of_turn_are_refused(void)
{
    static const uint8_t empty[] = {0, 0, 0, 0};
    static const uint8_t early[] = {0, 0, 0, 2, 4, 'x'};
    static const uint8_t huge[] = {0xff, 0xff, 0xff, 0xff};
    const struct {
        struct gv_slice bytes;
        enum gv_err err;
    } cases[] = {{gv_slice_of(empty, sizeof empty), GV_EPROTO},
                 {gv_slice_of(early, sizeof early), GV_EPROTO},
                 {gv_slice_of(huge, sizeof huge), GV_ETOOBIG},
                 {gv_slice_text("GET / HTTP/1.1\r\n\r\n"), GV_ETOOBIG}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct side b;
        struct gv_session_event event;
        open_side(&b, GV_SESSION_ACCEPTOR, NULL, "b");
        CU_ASSERT_EQUAL(gv_session_feed(b.session, cases[i].bytes), GV_OK);
        CU_ASSERT_EQUAL(gv_session_next(b.session, &event), cases[i].err);
        close_side(&b);
    }
}

GV_SUITE("seal/session_forged", GV_CASE(every_changed_byte_of_a_keyed_session_is_noticed),
         GV_CASE(every_changed_byte_of_a_keyless_handshake_is_noticed),
         GV_CASE(two_that_both_began_are_no_session),
         GV_CASE(a_stream_cut_at_any_offset_only_waits),
         GV_CASE(a_message_that_comes_twice_is_refused),
         GV_CASE(our_own_opening_come_back_is_refused),
         GV_CASE(a_known_id_without_the_key_fails_authentication),
         GV_CASE(frames_of_no_length_or_out_of_turn_are_refused))
