/*
 * stage.h - one engine, `here`, and whoever connects to it and says things: what is said is made by
 * hand, so a member may lie, and what `here` answers is looked at message by message.
 *
 * For tests that are a program of their own each.
 */
#ifndef GV_TESTS_UNIT_GOSSIP_STAGE_H
#define GV_TESTS_UNIT_GOSSIP_STAGE_H

#include "../../../src/gossip/machine.h"
#include "support/blank.h"
#include "support/suite.h"

#include <stdio.h>
#include <string.h>

#define WALL_MS   UINT64_C(1790000000000)
#define STAMP_NOW ((uint32_t)(WALL_MS / 1000 - GV_LOG_EPOCH_S))
#define CROWD     (GV_DIRECT_MEMBERS_MAX + 8)

static struct gv_gossip *here;
static struct gv_now now;

/* What tests may change before begin(). */
static struct gv_gossip_options stage_options;
static void (*stage_apply)(void *owner, const struct gv_gossip_operation *operation);

/* A key is one byte, and signing is writing it down: enough to tell keys apart. */
static inline void sign(void *owner, struct gv_slice text,
                        uint8_t signature[GV_GOSSIP_SIGNATURE_BYTES])
{
    const uint8_t *key = owner;
    (void)text;
    memset(signature, *key, GV_GOSSIP_SIGNATURE_BYTES);
}

static inline bool verify(void *owner, const uint8_t identity[GV_GOSSIP_IDENTITY_BYTES],
                          struct gv_slice text, const uint8_t signature[GV_GOSSIP_SIGNATURE_BYTES])
{
    (void)owner;
    (void)text;
    return identity[0] == signature[0];
}

static inline struct gv_gossip *engine(const char *name, uint8_t *key, uint64_t boot_id)
{
    struct gv_gossip_store store = gv_blank_store();
    struct gv_gossip_options options = stage_options;
    struct gv_gossip *made = NULL;
    store.apply = stage_apply != NULL ? stage_apply : store.apply;
    options.boot_id = boot_id;
    options.incarnation = WALL_MS + *key;
    options.block_bytes = 64;
    options.gossip_addr = (struct gv_addr){.family = 4, .ip = {10, 0, 0, 1}};
    options.gossip_addr.port = (uint16_t)(2000 + *key);
    options.seed = 1;
    options.signer = (struct gv_gossip_signer){.owner = key, .sign = sign, .verify = verify};
    (void)gv_slice_copy_text(gv_slice_text("c"), options.cluster_id, sizeof options.cluster_id);
    (void)gv_slice_copy_text(gv_slice_text(name), options.node, sizeof options.node);
    memset(options.signer.identity, *key, sizeof options.signer.identity);
    CU_ASSERT_EQUAL_FATAL(gv_gossip_new(&options, &store, now.now_ms, &made), GV_OK);
    return made;
}

static inline void begin(void)
{
    static uint8_t key = 1;
    now = (struct gv_now){.now_ms = 1000, .wall_ms = WALL_MS};
    here = engine("here", &key, 1);
}

static inline void end(void)
{
    gv_gossip_free(here);
    stage_options = (struct gv_gossip_options){.boot_id = 0};
    stage_apply = NULL;
}

static inline void drain(void)
{
    struct gv_effect effect;
    while (gv_gossip_next_effect(here, &effect)) {
    }
}

/* A node of that name, key and boot connects. */
static inline void meet(const char *name, uint8_t key, uint64_t boot_id, uint64_t session)
{
    struct gv_gossip_hello hello;
    struct gv_gossip *peer = engine(name, &key, boot_id);
    gv_gossip_hello(peer, &hello);
    gv_gossip_opened(here, session, false, &hello, now);
    drain();
    gv_gossip_free(peer);
}

static inline void pass(uint64_t ms)
{
    now.now_ms += ms;
    now.wall_ms += ms;
    gv_gossip_tick(here, now);
}

/* The member of this session says this; what `here` makes of it. */
static inline enum gv_err hand_in(uint64_t session, const Mesh__Message *message)
{
    static uint8_t bytes[GV_GOSSIP_FRAME_MAX];
    size_t len = mesh__message__get_packed_size(message);
    CU_ASSERT_FATAL(len <= sizeof bytes);
    (void)mesh__message__pack(message, bytes);
    return gv_gossip_message(here, session, gv_slice_of(bytes, len), now);
}

static inline void send(uint64_t session, const Mesh__Message *message)
{
    CU_ASSERT_EQUAL(hand_in(session, message), GV_OK);
}

/* The next message of this kind that goes to this session, in what was not drained yet; to be freed
 * by mesh__message__free_unpacked(). NULL: none. */
static inline Mesh__Message *next_sent(uint64_t session, Mesh__Message__BodyCase kind)
{
    struct gv_effect effect;
    while (gv_gossip_next_effect(here, &effect)) {
        if (effect.kind != GV_EFFECT_SEND || effect.session != session) {
            continue;
        }
        Mesh__Message *message = mesh__message__unpack(NULL, effect.bytes.len, effect.bytes.data);
        CU_ASSERT_PTR_NOT_NULL_FATAL(message);
        if (message->body_case == kind) {
            return message;
        }
        mesh__message__free_unpacked(message, NULL);
    }
    return NULL;
}

/* The member of this session tells of another one, whose key this is. */
static inline void tell_of(uint64_t session, const struct gv_member *other, uint8_t key)
{
    struct gv_member member = *other;
    Mesh__Message message = MESH__MESSAGE__INIT;
    Mesh__Member record;
    Mesh__Address addr;
    memset(member.identity, key, sizeof member.identity);
    memset(member.signature, key, sizeof member.signature);
    gv_codec_member_out(&member, "teller", &addr, &record);
    message.body_case = MESH__MESSAGE__BODY_MEMBER;
    message.member = &record;
    send(session, &message);
}

/* The member of this session tells of so many more that nodes relay: m00 of boot 100, and so on. */
static inline void tell_of_a_crowd(uint64_t session)
{
    for (uint64_t i = 0; i < CROWD; i++) {
        struct gv_member member = {.boot_id = 100 + i,
                                   .incarnation = WALL_MS,
                                   .gossip_addr = {.family = 4, .ip = {10, 0, 0, 1}, .port = 3000}};
        (void)snprintf(member.name, sizeof member.name, "m%02u", (unsigned)i);
        tell_of(session, &member, 3);
    }
    for (int i = 0; i < 10; i++) { /* what is new of them is passed on */
        pass(50);
        drain();
    }
    CU_ASSERT_FATAL(here->ring.relays);
    CU_ASSERT_EQUAL_FATAL(here->news_waiting, 0);
}

/* The member greets: it is in step, and `here` may ask it for what there is. */
static inline void greet(uint64_t session, bool synced)
{
    Mesh__State state = MESH__STATE__INIT;
    Mesh__Message message = MESH__MESSAGE__INIT;
    state.synced = synced;
    message.body_case = MESH__MESSAGE__BODY_STATE;
    message.state = &state;
    send(session, &message);
}

#endif
