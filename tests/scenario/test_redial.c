/*
 * A peer that takes every session and ends it at once (it holds our name for another's, say): it is
 * called again, but not as fast as the wire allows.
 */
#include "grapevine/gossip/engine.h"
#include "support/blank.h"
#include "support/suite.h"

#include <string.h>

#define STEP_MS    10
#define SECONDS    10
#define RECONNECT  2000 /* the engine's default, in milliseconds */
#define TOO_MANY   1000
#define START_WALL 1700000000000u

static struct gv_gossip *make(const char *name, uint16_t port)
{
    const struct gv_gossip_store store = gv_blank_store();
    struct gv_gossip_options options = {
        .cluster_id = "test",
        .boot_id = port,
        .incarnation = START_WALL,
        .block_bytes = 256,
        .gossip_addr = {.family = 4, .ip = {10, 0, 0, 1}, .port = port},
        .seed = port};
    struct gv_gossip *engine = NULL;
    (void)gv_slice_copy_text(gv_slice_text(name), options.node, sizeof options.node);
    CU_ASSERT_EQUAL_FATAL(gv_gossip_new(&options, &store, 0, &engine), GV_OK);
    return engine;
}

/* How many connections were wanted. */
static uint32_t drain(struct gv_gossip *engine)
{
    struct gv_effect effect;
    uint32_t count = 0;
    while (gv_gossip_next_effect(engine, &effect)) {
        count += effect.kind == GV_EFFECT_CONNECT;
    }
    return count;
}

static uint32_t count_calls(const char *name, const char *other)
{
    struct gv_gossip *engine = make(name, 1);
    struct gv_gossip *peer = make(other, 2);
    struct gv_gossip_hello hello;
    gv_gossip_hello(peer, &hello);
    hello.dialed = hello.gossip_addr;
    uint64_t session = 0;
    uint32_t calls = 0;
    struct gv_now now = {.now_ms = 1000, .wall_ms = START_WALL};
    for (uint32_t ms = 0; ms < SECONDS * 1000; ms += STEP_MS) {
        uint32_t wanted = ms == 0; /* the first session is the other's doing */
        do {
            calls += wanted;
            if (wanted > 0) {
                session += 1;
                gv_gossip_opened(engine, session, true, &hello, now);
                (void)drain(engine);
                gv_gossip_closed(engine, session, &hello.gossip_addr, false, now);
            } else {
                gv_gossip_tick(engine, now);
            }
            wanted = drain(engine);
        } while (wanted > 0 && calls < TOO_MANY);
        now.now_ms += STEP_MS;
        now.wall_ms += STEP_MS;
    }
    gv_gossip_free(engine);
    gv_gossip_free(peer);
    return calls;
}

static void a_peer_that_ends_every_session_is_called_again_at_leisure(void)
{
    uint32_t most = 2 * (SECONDS * 1000 / RECONNECT) + 2; /* at once, and then after a while */
    uint32_t by_first = count_calls("a", "b");
    uint32_t by_second = count_calls("b", "a");
    CU_ASSERT_TRUE(by_first >= 3 && by_first <= most);
    CU_ASSERT_TRUE(by_second >= 3 && by_second <= most);
}

GV_SUITE("scenario/redial", GV_CASE(a_peer_that_ends_every_session_is_called_again_at_leisure))
