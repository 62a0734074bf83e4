/*
 * Two sessions: which keys let them talk, what each says of the other, and how one refuses.
 */
#include "pair.h"

static struct gv_keyring *ring_of(const char *text)
{
    struct gv_keyring *ring = NULL;
    struct gv_keyring_fault fault;
    CU_ASSERT_EQUAL_FATAL(gv_keyring_parse(gv_slice_text(text), &ring, &fault), GV_OK);
    return ring;
}

static struct gv_keyring *copy_ring(const struct gv_keyring *ring)
{
    struct gv_buf text;
    gv_buf_init(&text, GV_MEM_GENERAL, GV_KEYRING_FILE_BYTES);
    CU_ASSERT_EQUAL_FATAL(gv_keyring_format(ring, &text), GV_OK);
    struct gv_keyring *copy = NULL;
    struct gv_keyring_fault fault;
    CU_ASSERT_EQUAL_FATAL(gv_keyring_parse(gv_buf_slice(&text), &copy, &fault), GV_OK);
    gv_keyring_wipe(&text);
    return copy;
}

static void talk(const struct gv_keyring *ring_a, const struct gv_keyring *ring_b)
{
    struct pair pair = pair_of(ring_a, ring_b);
    establish(&pair);
    CU_ASSERT_EQUAL(memcmp(gv_session_peer(pair.a.session)->identity,
                           gv_identity_public(pair.b.identity), GV_IDENTITY_BYTES),
                    0);
    CU_ASSERT_EQUAL(memcmp(gv_session_peer(pair.b.session)->identity,
                           gv_identity_public(pair.a.identity), GV_IDENTITY_BYTES),
                    0);
    CU_ASSERT_TRUE(gv_key_id_equal(gv_session_key(pair.a.session), gv_session_key(pair.b.session)));
    for (int i = 0; i < 20; i++) {
        say(&pair.a, &pair.b, "from a to b");
        say(&pair.b, &pair.a, "");
        say(&pair.b, &pair.a, "from b to a");
    }
    close_pair(&pair);
}

static void two_nodes_with_the_same_key_talk_both_ways(void)
{
    struct gv_keyring *ring = fresh_ring();
    talk(ring, ring);
    gv_keyring_free(ring);
}

static void two_keyless_nodes_talk_both_ways(void)
{
    talk(NULL, NULL);
}

static bool contains(struct gv_slice bytes, const char *text)
{
    size_t len = strlen(text);
    for (size_t i = 0; i + len <= bytes.len; i++) {
        if (memcmp(bytes.data + i, text, len) == 0) {
            return true;
        }
    }
    return false;
}

static void what_is_said_under_a_key_cannot_be_read_on_the_wire(void)
{
    struct gv_keyring *ring = fresh_ring();
    struct pair pair = pair_of(ring, ring);
    establish(&pair);
    CU_ASSERT_EQUAL(gv_session_send(pair.a.session, gv_slice_text("prefix prefix"), &pair.a.out),
                    GV_OK);
    CU_ASSERT_EQUAL(pair.a.out.len, 13 + GV_SESSION_FRAME_OVERHEAD);
    CU_ASSERT_FALSE(contains(gv_buf_slice(&pair.a.out), "prefix"));
    close_pair(&pair);
    gv_keyring_free(ring);
}

static void bytes_that_come_one_by_one_make_the_same_session(void)
{
    struct gv_keyring *ring = fresh_ring();
    struct pair pair = pair_of(ring, ring);
    establish(&pair);
    CU_ASSERT_EQUAL(gv_session_send(pair.a.session, gv_slice_text("slowly"), &pair.a.out), GV_OK);
    CU_ASSERT_EQUAL(gv_session_send(pair.a.session, gv_slice_text("again"), &pair.a.out), GV_OK);
    size_t messages = 0;
    for (size_t i = 0; i < pair.a.out.len; i++) {
        struct gv_session_event event;
        CU_ASSERT_EQUAL(gv_session_feed(pair.b.session, gv_slice_of(pair.a.out.data + i, 1)),
                        GV_OK);
        CU_ASSERT_EQUAL(gv_session_next(pair.b.session, &event), GV_OK);
        if (event.type == GV_SESSION_MESSAGE) {
            CU_ASSERT_TRUE(gv_slice_is(event.bytes, messages == 0 ? "slowly" : "again"));
            messages += 1;
        }
    }
    CU_ASSERT_EQUAL(messages, 2);
    close_pair(&pair);
    gv_keyring_free(ring);
}

static void different_keys_are_seen_by_both_sides_with_both_ids(void)
{
    struct gv_keyring *ring_a = fresh_ring();
    struct gv_keyring *ring_b = fresh_ring();
    struct pair pair = pair_of(ring_a, ring_b);
    CU_ASSERT_FALSE(exchange_openings(&pair));
    CU_ASSERT_EQUAL(gv_session_accept(pair.a.session, &pair.a.out), GV_EMISMATCH);
    CU_ASSERT_TRUE(
        gv_key_id_equal(gv_session_peer(pair.a.session)->key, gv_keyring_active(ring_b)));
    CU_ASSERT_TRUE(
        gv_key_id_equal(gv_session_peer(pair.b.session)->key, gv_keyring_active(ring_a)));
    CU_ASSERT_TRUE(gv_key_id_equal(gv_session_own_key(pair.a.session), gv_keyring_active(ring_a)));
    close_pair(&pair);
    gv_keyring_free(ring_a);
    gv_keyring_free(ring_b);
}

static void a_keyed_and_a_keyless_node_refuse_each_other(void)
{
    struct gv_keyring *ring = fresh_ring();
    for (int turn = 0; turn < 2; turn++) {
        struct pair pair = turn == 0 ? pair_of(ring, NULL) : pair_of(NULL, ring);
        CU_ASSERT_FALSE(exchange_openings(&pair));
        CU_ASSERT_EQUAL(gv_session_accept(pair.a.session, &pair.a.out), GV_EMISMATCH);
        CU_ASSERT_EQUAL(gv_session_accept(pair.b.session, &pair.b.out), GV_EMISMATCH);
        struct side *keyed = turn == 0 ? &pair.a : &pair.b;
        CU_ASSERT_TRUE(gv_key_id_is_none(gv_session_peer(keyed->session)->key));
        close_pair(&pair);
    }
    gv_keyring_free(ring);
}

/* a has made the new key active; b has it, but still uses the old one. */
static void a_rotation_in_progress_does_not_part_the_cluster(void)
{
    struct gv_keyring *ring_a = fresh_ring();
    struct gv_key_id old_key = gv_keyring_active(ring_a);
    struct gv_key_id new_key;
    CU_ASSERT_EQUAL(gv_keyring_generate(ring_a, &new_key), GV_OK);
    struct gv_keyring *ring_b = copy_ring(ring_a);
    CU_ASSERT_EQUAL(gv_keyring_use(ring_a, new_key), GV_OK);
    struct pair pair = pair_of(ring_a, ring_b);
    establish(&pair);
    CU_ASSERT_TRUE(gv_key_id_equal(gv_session_key(pair.a.session), new_key));
    CU_ASSERT_TRUE(gv_session_peer(pair.a.session)->has_our_key);
    CU_ASSERT_TRUE(gv_session_peer(pair.b.session)->has_our_key);
    say(&pair.a, &pair.b, "new");
    close_pair(&pair);

    /* b still lacks the new key: the old one, which both hold, carries on. */
    CU_ASSERT_EQUAL(gv_keyring_remove(ring_b, new_key), GV_OK);
    pair = pair_of(ring_a, ring_b);
    establish(&pair);
    CU_ASSERT_TRUE(gv_key_id_equal(gv_session_key(pair.b.session), old_key));
    CU_ASSERT_FALSE(gv_session_peer(pair.a.session)->has_our_key);
    CU_ASSERT_TRUE(gv_session_peer(pair.b.session)->has_our_key);
    close_pair(&pair);

    /* Neither active key is common, but a third one is. */
    struct gv_key_id third;
    CU_ASSERT_EQUAL(gv_keyring_generate(ring_b, &third), GV_OK);
    CU_ASSERT_EQUAL(gv_keyring_use(ring_b, third), GV_OK);
    pair = pair_of(ring_a, ring_b);
    establish(&pair);
    CU_ASSERT_TRUE(gv_key_id_equal(gv_session_key(pair.b.session), old_key));
    say(&pair.b, &pair.a, "still");
    close_pair(&pair);
    gv_keyring_free(ring_a);
    gv_keyring_free(ring_b);
}

static void a_refusal_brings_its_code_and_a_harmless_text(void)
{
    struct pair pair = pair_of(NULL, NULL);
    struct gv_session_event event;
    CU_ASSERT_TRUE(exchange_openings(&pair));
    CU_ASSERT_EQUAL(gv_session_accept(pair.a.session, &pair.a.out), GV_OK);
    CU_ASSERT_EQUAL(
        gv_session_refuse(pair.b.session, 7, "block size 256\n\x1b[31m, mine is 512", &pair.b.out),
        GV_OK);
    CU_ASSERT_EQUAL(carry(&pair.b, &pair.a, &event), GV_OK);
    CU_ASSERT_EQUAL(event.type, GV_SESSION_REFUSED);
    CU_ASSERT_EQUAL(event.code, 7);
    CU_ASSERT_TRUE(gv_slice_is(event.bytes, "block size 256??[31m, mine is 512"));
    CU_ASSERT_EQUAL(gv_session_next(pair.a.session, &event), GV_ECLOSED);
    CU_ASSERT_EQUAL(gv_session_feed(pair.b.session, gv_slice_text("x")), GV_ECLOSED);
    CU_ASSERT_EQUAL(gv_session_send(pair.b.session, gv_slice_text("x"), &pair.b.out), GV_ECLOSED);
    close_pair(&pair);
}

static void nothing_is_sent_before_the_peer_is_proven(void)
{
    struct gv_keyring *ring = fresh_ring();
    struct pair pair = pair_of(ring, ring);
    struct gv_slice message = gv_slice_text("early");
    CU_ASSERT_EQUAL(gv_session_send(pair.a.session, message, &pair.a.out), GV_EAGAIN);
    CU_ASSERT_TRUE(exchange_openings(&pair));
    CU_ASSERT_EQUAL(gv_session_send(pair.a.session, message, &pair.a.out), GV_EAGAIN);
    CU_ASSERT_EQUAL(gv_session_accept(pair.a.session, &pair.a.out), GV_OK);
    CU_ASSERT_EQUAL(gv_session_send(pair.a.session, message, &pair.a.out), GV_EAGAIN);
    CU_ASSERT_TRUE(gv_key_id_is_none(gv_session_key(pair.a.session)));
    close_pair(&pair);
    gv_keyring_free(ring);
}

static void another_protocol_version_is_named_and_not_read_further(void)
{
    static const uint8_t frame[] = {0,   0,    0,    13,   1, 'g', 'v', 'i', 'n',
                                    'e', '\r', '\n', '\0', 0, 9,   'x', 'y'};
    struct side b;
    struct gv_session_event event;
    open_side(&b, GV_SESSION_ACCEPTOR, NULL, "b");
    CU_ASSERT_EQUAL(gv_session_feed(b.session, gv_slice_of(frame, sizeof frame)), GV_OK);
    CU_ASSERT_EQUAL(gv_session_next(b.session, &event), GV_OK);
    CU_ASSERT_EQUAL(event.type, GV_SESSION_OPENED);
    CU_ASSERT_EQUAL(event.verdict, GV_EMISMATCH);
    CU_ASSERT_EQUAL(event.bytes.len, 0);
    CU_ASSERT_EQUAL(gv_session_peer(b.session)->version, 9);
    close_side(&b);
}

static void a_ring_of_the_same_text_is_the_same_key(void)
{
    struct gv_keyring *ring = ring_of("key 9ea90a6f9b50c44e "
                                      "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8= active\n");
    struct gv_keyring *copy = copy_ring(ring);
    talk(ring, copy);
    gv_keyring_free(ring);
    gv_keyring_free(copy);
}

GV_SUITE("seal/session", GV_CASE(two_nodes_with_the_same_key_talk_both_ways),
         GV_CASE(two_keyless_nodes_talk_both_ways),
         GV_CASE(what_is_said_under_a_key_cannot_be_read_on_the_wire),
         GV_CASE(bytes_that_come_one_by_one_make_the_same_session),
         GV_CASE(different_keys_are_seen_by_both_sides_with_both_ids),
         GV_CASE(a_keyed_and_a_keyless_node_refuse_each_other),
         GV_CASE(a_rotation_in_progress_does_not_part_the_cluster),
         GV_CASE(a_refusal_brings_its_code_and_a_harmless_text),
         GV_CASE(nothing_is_sent_before_the_peer_is_proven),
         GV_CASE(another_protocol_version_is_named_and_not_read_further),
         GV_CASE(a_ring_of_the_same_text_is_the_same_key))
