/* Two sessions wired together through byte buffers: what gets through, and what must not. */
#include "grapevine/seal/session.h"
#include "support/suite.h"
#include <stdio.h>

#define MESSAGE_MAX 1000

struct side {
    struct gv_session *session;
    struct gv_buf out; /* towards the other */
    struct gv_identity *identity;
};

struct pair {
    struct side a; /* the initiator */
    struct side b;
};

static struct gv_keyring *ring_of(const char *text)
{
    struct gv_keyring *ring = NULL;
    struct gv_keyring_fault fault;
    CU_ASSERT_EQUAL_FATAL(gv_keyring_parse(gv_slice_text(text), &ring, &fault), GV_OK);
    return ring;
}

static struct gv_keyring *fresh_ring(void)
{
    struct gv_key_id id;
    struct gv_keyring *ring = gv_keyring_new();
    CU_ASSERT_PTR_NOT_NULL_FATAL(ring);
    CU_ASSERT_EQUAL(gv_keyring_generate(ring, &id), GV_OK);
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

static void open_side(struct side *side, enum gv_session_role role, const struct gv_keyring *ring,
                      const char *hello)
{
    side->identity = gv_identity_new();
    CU_ASSERT_PTR_NOT_NULL_FATAL(side->identity);
    gv_buf_init(&side->out, GV_MEM_NET, 1 << 20);
    CU_ASSERT_EQUAL_FATAL(
        gv_session_new((struct gv_session_options){.role = role,
                                                   .ring = ring,
                                                   .identity = side->identity,
                                                   .hello = gv_slice_text(hello),
                                                   .max_message_bytes = MESSAGE_MAX},
                       &side->out, &side->session),
        GV_OK);
}

static void close_side(struct side *side)
{
    gv_session_free(side->session);
    gv_identity_free(side->identity);
    gv_buf_deinit(&side->out);
}

static struct pair pair_of(const struct gv_keyring *ring_a, const struct gv_keyring *ring_b)
{
    struct pair pair;
    open_side(&pair.a, GV_SESSION_INITIATOR, ring_a, "I am a");
    open_side(&pair.b, GV_SESSION_ACCEPTOR, ring_b, "I am b");
    return pair;
}

static void close_pair(struct pair *pair)
{
    close_side(&pair->a);
    close_side(&pair->b);
}

/* Carry all waiting bytes from one side to the other, and take the first event. */
static enum gv_err carry(struct side *from, struct side *to, struct gv_session_event *event)
{
    enum gv_err err = gv_session_feed(to->session, gv_buf_slice(&from->out));
    gv_buf_clear(&from->out);
    return err == GV_OK ? gv_session_next(to->session, event) : err;
}

/* Both openings exchanged and looked at; returns whether both verdicts were GV_OK. */
static bool exchange_openings(struct pair *pair)
{
    struct gv_session_event at_a;
    struct gv_session_event at_b;
    CU_ASSERT_EQUAL_FATAL(carry(&pair->a, &pair->b, &at_b), GV_OK);
    CU_ASSERT_EQUAL(at_b.type, GV_SESSION_OPENED);
    CU_ASSERT_TRUE(gv_slice_is(at_b.bytes, "I am a"));
    CU_ASSERT_EQUAL_FATAL(carry(&pair->b, &pair->a, &at_a), GV_OK);
    CU_ASSERT_EQUAL(at_a.type, GV_SESSION_OPENED);
    CU_ASSERT_TRUE(gv_slice_is(at_a.bytes, "I am b"));
    CU_ASSERT_EQUAL(at_a.verdict, at_b.verdict);
    return at_a.verdict == GV_OK && at_b.verdict == GV_OK;
}

static void establish(struct pair *pair)
{
    struct gv_session_event event;
    CU_ASSERT_TRUE_FATAL(exchange_openings(pair));
    CU_ASSERT_EQUAL_FATAL(gv_session_accept(pair->a.session, &pair->a.out), GV_OK);
    CU_ASSERT_EQUAL_FATAL(gv_session_accept(pair->b.session, &pair->b.out), GV_OK);
    CU_ASSERT_EQUAL_FATAL(carry(&pair->a, &pair->b, &event), GV_OK);
    CU_ASSERT_EQUAL(event.type, GV_SESSION_ESTABLISHED);
    CU_ASSERT_EQUAL_FATAL(carry(&pair->b, &pair->a, &event), GV_OK);
    CU_ASSERT_EQUAL(event.type, GV_SESSION_ESTABLISHED);
    CU_ASSERT_TRUE(gv_session_is_established(pair->a.session));
    CU_ASSERT_TRUE(gv_session_is_established(pair->b.session));
}

static void say(struct side *from, struct side *to, const char *text)
{
    struct gv_session_event event;
    CU_ASSERT_EQUAL(gv_session_send(from->session, gv_slice_text(text), &from->out), GV_OK);
    CU_ASSERT_EQUAL(carry(from, to, &event), GV_OK);
    CU_ASSERT_EQUAL(event.type, GV_SESSION_MESSAGE);
    CU_ASSERT_TRUE(gv_slice_is(event.bytes, text));
    CU_ASSERT_EQUAL(gv_session_next(to->session, &event), GV_OK);
    CU_ASSERT_EQUAL(event.type, GV_SESSION_NONE);
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
    say(&pair.a, &pair.b, "new");
    close_pair(&pair);

    /* b still lacks the new key: the old one, which both hold, carries on. */
    CU_ASSERT_EQUAL(gv_keyring_remove(ring_b, new_key), GV_OK);
    pair = pair_of(ring_a, ring_b);
    establish(&pair);
    CU_ASSERT_TRUE(gv_key_id_equal(gv_session_key(pair.b.session), old_key));
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

/*
 * Drive a handshake and one message in which byte `at` of what a sends is changed by `mask`;
 * returns true when b was handed the message. `*total` is how many bytes a sends.
 */
static bool message_survives(const struct gv_keyring *ring, size_t at, uint8_t mask, size_t *total)
{
    struct pair pair = pair_of(ring, ring);
    struct gv_session_event event;
    bool heard = false;
    size_t sent = 0;
    for (int round = 0; round < 3; round++) {
        if (round == 1 && (gv_session_accept(pair.a.session, &pair.a.out) != GV_OK ||
                           gv_session_accept(pair.b.session, &pair.b.out) != GV_OK)) {
            break;
        }
        if (round == 2 &&
            gv_session_send(pair.a.session, gv_slice_text("hi"), &pair.a.out) != GV_OK) {
            break;
        }
        if (at >= sent && at < sent + pair.a.out.len) {
            pair.a.out.data[pair.a.out.start + at - sent] ^= mask;
        }
        sent += pair.a.out.len;
        if (carry(&pair.a, &pair.b, &event) != GV_OK || event.type == GV_SESSION_NONE) {
            break;
        }
        heard = event.type == GV_SESSION_MESSAGE && gv_slice_is(event.bytes, "hi");
        if (round < 2 &&
            (carry(&pair.b, &pair.a, &event) != GV_OK || event.type == GV_SESSION_NONE)) {
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
    size_t total = 0;
    size_t ignored = 0;
    CU_ASSERT_TRUE(message_survives(ring, SIZE_MAX, 0, &total));
    CU_ASSERT_TRUE(total > 200);
    for (size_t at = 0; at < total; at++) {
        CU_ASSERT_FALSE(message_survives(ring, at, 0x01, &ignored));
        CU_ASSERT_FALSE(message_survives(ring, at, 0x80, &ignored));
    }
    gv_keyring_free(ring);
}

static void every_changed_byte_of_a_keyless_handshake_is_noticed(void)
{
    size_t total = 0;
    size_t ignored = 0;
    CU_ASSERT_TRUE(message_survives(NULL, SIZE_MAX, 0, &total));
    size_t message_bytes = 5 + 2; /* nothing guards the message itself without a key */
    for (size_t at = 0; at < total - message_bytes; at++) {
        CU_ASSERT_FALSE(message_survives(NULL, at, 0x01, &ignored));
    }
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
         GV_CASE(a_long_refusal_is_cut_at_its_limit),
         GV_CASE(nothing_is_sent_before_the_peer_is_proven),
         GV_CASE(every_changed_byte_of_a_keyed_session_is_noticed),
         GV_CASE(every_changed_byte_of_a_keyless_handshake_is_noticed),
         GV_CASE(a_stream_cut_at_any_offset_only_waits),
         GV_CASE(a_message_that_comes_twice_is_refused),
         GV_CASE(our_own_opening_come_back_is_refused),
         GV_CASE(a_known_id_without_the_key_fails_authentication),
         GV_CASE(another_protocol_version_is_named_and_not_read_further),
         GV_CASE(a_hello_fits_up_to_its_limit_and_no_further),
         GV_CASE(a_message_fits_up_to_its_limit_and_no_further),
         GV_CASE(frames_of_no_length_or_out_of_turn_are_refused),
         GV_CASE(a_session_that_runs_out_of_memory_leaves_nothing),
         GV_CASE(a_full_sending_buffer_costs_no_message),
         GV_CASE(a_ring_of_the_same_text_is_the_same_key))
