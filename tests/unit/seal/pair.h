/*
 * pair.h - two sessions wired together through byte buffers.
 *
 * For the tests of sessions, each of which is a program of its own.
 */
#ifndef GV_TESTS_UNIT_SEAL_PAIR_H
#define GV_TESTS_UNIT_SEAL_PAIR_H

#include "grapevine/seal/session.h"
#include "support/suite.h"

#include <string.h>

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

static inline struct gv_keyring *fresh_ring(void)
{
    struct gv_key_id id;
    struct gv_keyring *ring = gv_keyring_new();
    CU_ASSERT_PTR_NOT_NULL_FATAL(ring);
    CU_ASSERT_EQUAL(gv_keyring_generate(ring, &id), GV_OK);
    return ring;
}

static inline void open_side(struct side *side, enum gv_session_role role,
                             const struct gv_keyring *ring, const char *hello)
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

static inline void close_side(struct side *side)
{
    gv_session_free(side->session);
    gv_identity_free(side->identity);
    gv_buf_deinit(&side->out);
}

static inline struct pair pair_of(const struct gv_keyring *ring_a, const struct gv_keyring *ring_b)
{
    struct pair pair;
    open_side(&pair.a, GV_SESSION_INITIATOR, ring_a, "I am a");
    open_side(&pair.b, GV_SESSION_ACCEPTOR, ring_b, "I am b");
    return pair;
}

static inline void close_pair(struct pair *pair)
{
    close_side(&pair->a);
    close_side(&pair->b);
}

/* Carry all waiting bytes from one side to the other, and take the first event. */
static inline enum gv_err carry(struct side *from, struct side *to, struct gv_session_event *event)
{
    enum gv_err err = gv_session_feed(to->session, gv_buf_slice(&from->out));
    gv_buf_clear(&from->out);
    return err == GV_OK ? gv_session_next(to->session, event) : err;
}

/* Both openings exchanged and looked at; returns whether both verdicts were GV_OK. */
static inline bool exchange_openings(struct pair *pair)
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

static inline void establish(struct pair *pair)
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

static inline void say(struct side *from, struct side *to, const char *text)
{
    struct gv_session_event event;
    CU_ASSERT_EQUAL(gv_session_send(from->session, gv_slice_text(text), &from->out), GV_OK);
    CU_ASSERT_EQUAL(carry(from, to, &event), GV_OK);
    CU_ASSERT_EQUAL(event.type, GV_SESSION_MESSAGE);
    CU_ASSERT_TRUE(gv_slice_is(event.bytes, text));
    CU_ASSERT_EQUAL(gv_session_next(to->session, &event), GV_OK);
    CU_ASSERT_EQUAL(event.type, GV_SESSION_NONE);
}

#endif
