/*
 * A member whose datagrams come, and whose session brings nothing: alive, and useless. The session
 * is closed, so that another one is opened.
 */
#include "grapevine/gossip/engine.h"
#include "support/blank.h"
#include "support/suite.h"

#include <string.h>

#define STEP_MS 10

struct end {
    struct gv_gossip *engine;
    uint64_t closed_at_ms; /* the engine closed its session for being silent; 0: not */
    bool buried;           /* it holds the other for dead */
};

static void member_changed(void *owner, const struct gv_member *member)
{
    struct end *end = owner;
    end->buried = end->buried || member->status == GV_MEMBER_DEAD;
}

static void make(struct end *end, const char *name, uint16_t port)
{
    struct gv_gossip_store store = gv_blank_store();
    store.owner = end;
    store.member_changed = member_changed;
    struct gv_gossip_options options = {
        .cluster_id = "test",
        .boot_id = port,
        .incarnation = 1000,
        .block_bytes = 256,
        .gossip_addr = {.family = 4, .ip = {10, 0, 0, 1}, .port = port},
        .seed = port};
    (void)gv_slice_copy_text(gv_slice_text(name), options.node, sizeof options.node);
    *end = (struct end){.engine = NULL};
    CU_ASSERT_EQUAL_FATAL(gv_gossip_new(&options, &store, 0, &end->engine), GV_OK);
}

/* What `from` wants said: datagrams arrive; messages only `with_messages`. */
static void carry(struct end *from, struct end *to, bool with_messages, struct gv_now now)
{
    struct gv_effect effect;
    struct gv_effect kept[64];
    static uint8_t bytes[64][GV_GOSSIP_FRAME_MAX / 64];
    size_t count = 0;
    while (gv_gossip_next_effect(from->engine, &effect)) {
        if (effect.kind == GV_EFFECT_CLOSE && strcmp(effect.reason, "silent") == 0) {
            from->closed_at_ms = now.now_ms;
        }
        bool passes =
            effect.kind == GV_EFFECT_PACKET || (effect.kind == GV_EFFECT_SEND && with_messages);
        if (passes && count < 64 && effect.bytes.len <= sizeof bytes[0]) {
            memcpy(bytes[count], effect.bytes.data, effect.bytes.len);
            effect.bytes = gv_slice_of(bytes[count], effect.bytes.len);
            kept[count++] = effect;
        }
    }
    static const struct gv_addr nowhere = {.family = 4, .ip = {10, 0, 0, 1}, .port = 1};
    for (size_t i = 0; i < count; i++) {
        if (kept[i].kind == GV_EFFECT_PACKET) {
            const char *sender = kept[i].node[0] == 'a' ? "b" : "a";
            gv_gossip_packet(to->engine, &nowhere, sender, kept[i].bytes, now);
        } else {
            CU_ASSERT_EQUAL(gv_gossip_message(to->engine, 1, kept[i].bytes, now), GV_OK);
        }
    }
}

static void open_session(struct end *end, struct end *other, bool outgoing, struct gv_now now)
{
    struct gv_gossip_hello hello;
    gv_gossip_hello(other->engine, &hello);
    gv_gossip_opened(end->engine, 1, outgoing, &hello, now);
}

/* From 2 s on what b says in the session is lost, for `mute_ms`; in all they live for `ms`. */
static void live(struct end *a, struct end *b, uint64_t mute_ms, uint64_t ms)
{
    make(a, "a", 1);
    make(b, "b", 2);
    struct gv_now now = {.now_ms = 10, .wall_ms = 1000000};
    open_session(a, b, true, now);
    open_session(b, a, false, now);
    for (; now.now_ms < ms && a->closed_at_ms == 0; now.now_ms += STEP_MS, now.wall_ms += STEP_MS) {
        bool is_heard = now.now_ms < 2000 || now.now_ms >= 2000 + mute_ms;
        carry(a, b, true, now);
        carry(b, a, is_heard, now);
        gv_gossip_tick(a->engine, now);
        carry(a, b, true, now);
        carry(b, a, is_heard, now);
        gv_gossip_tick(b->engine, now);
    }
}

static void a_session_without_a_whole_message_for_4_s_is_closed_and_nobody_buried(void)
{
    struct end a;
    struct end b;
    live(&a, &b, 60000, 60000);
    CU_ASSERT(a.closed_at_ms >= 5000 && a.closed_at_ms <= 8000);
    CU_ASSERT_EQUAL(gv_gossip_counters(a.engine)->sessions_silent, 1);
    CU_ASSERT_EQUAL(gv_gossip_counters(b.engine)->sessions_silent, 0);
    CU_ASSERT_FALSE(a.buried);
    CU_ASSERT_FALSE(b.buried);
    gv_gossip_free(a.engine);
    gv_gossip_free(b.engine);
}

static void a_session_without_a_whole_message_for_3_s_stays(void)
{
    struct end a;
    struct end b;
    live(&a, &b, 3000, 30000);
    CU_ASSERT_EQUAL(a.closed_at_ms + b.closed_at_ms, 0);
    gv_gossip_free(a.engine);
    gv_gossip_free(b.engine);
}

static void a_session_that_brings_digests_stays(void)
{
    struct end a;
    struct end b;
    live(&a, &b, 0, 70000);
    CU_ASSERT_EQUAL(a.closed_at_ms + b.closed_at_ms, 0);
    gv_gossip_free(a.engine);
    gv_gossip_free(b.engine);
}

GV_SUITE("scenario/silence",
         GV_CASE(a_session_without_a_whole_message_for_4_s_is_closed_and_nobody_buried),
         GV_CASE(a_session_without_a_whole_message_for_3_s_stays),
         GV_CASE(a_session_that_brings_digests_stays))
