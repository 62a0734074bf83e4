/*
 * rogue.h - an engine, a member that it knows, and another member that lies to it.
 *
 * For the tests of what is believed of whom, each of which is a program of its own.
 */
#ifndef GV_TESTS_UNIT_CLUSTER_ROGUE_H
#define GV_TESTS_UNIT_CLUSTER_ROGUE_H

#include "grapevine/gossip/engine.h"
#include "grapevine/seal/identity.h"
#include "support/blank.h"
#include "support/suite.h"

#include <mesh.pb-c.h>
#include <string.h>

#define WALL_MS UINT64_C(1790000000000)
#define X_PORT  2002

/* The engine under test, `here`; `x`, a member; `rogue`, a member too, that lies. */
static struct gv_identity *keys[3];
static struct gv_gossip *here;
static struct gv_gossip *x;
static struct gv_gossip *rogue;
static struct gv_now now;
static uint32_t loads_heard;
static const char *cluster = "c"; /* of engines made from now on */
static uint32_t member_max;       /* of engines made from now on; 0: the default */

static inline void sign(void *owner, struct gv_slice text, uint8_t signature[GV_SIGNATURE_BYTES])
{
    gv_identity_sign(owner, text, signature);
}

static inline bool verify(void *owner, const uint8_t identity[GV_IDENTITY_BYTES],
                          struct gv_slice text, const uint8_t signature[GV_SIGNATURE_BYTES])
{
    (void)owner;
    return gv_identity_verify(identity, text, signature) == GV_OK;
}

static inline void load_changed(void *owner, const char *node, const struct gv_gossip_load *load)
{
    (void)owner;
    (void)node;
    (void)load;
    loads_heard += 1;
}

static inline struct gv_gossip *engine(const char *name, uint16_t port, struct gv_identity *key,
                                       uint64_t boot_id)
{
    struct gv_gossip_store store = gv_blank_store();
    store.load_changed = load_changed;
    struct gv_gossip_options options = {
        .boot_id = boot_id,
        .incarnation = WALL_MS + boot_id,
        .block_bytes = 64,
        .gossip_addr = {.family = 4, .ip = {10, 0, 0, 1}, .port = port},
        .seed = 1,
        .member_max = member_max,
        .sync_timeout_ms = 100,
        .signer = {.owner = key, .sign = sign, .verify = verify}};
    struct gv_gossip *made = NULL;
    (void)gv_slice_copy_text(gv_slice_text(name), options.node, sizeof options.node);
    (void)gv_slice_copy_text(gv_slice_text(cluster), options.cluster_id, sizeof options.cluster_id);
    memcpy(options.signer.identity, gv_identity_public(key), GV_IDENTITY_BYTES);
    CU_ASSERT_EQUAL_FATAL(gv_gossip_new(&options, &store, now.now_ms, &made), GV_OK);
    return made;
}

/* Does the engine ask for the session to be closed? Drains its effects. */
static inline bool closes(struct gv_gossip *gossip, uint64_t session)
{
    struct gv_effect effect;
    bool does = false;
    while (gv_gossip_next_effect(gossip, &effect)) {
        does = does || (effect.kind == GV_EFFECT_CLOSE && effect.session == session);
    }
    return does;
}

/* `peer` connects to us, or answers at `dialed`; is it let in? */
static inline bool meets(const struct gv_gossip *peer, uint64_t session,
                         const struct gv_addr *dialed)
{
    struct gv_gossip_hello hello;
    gv_gossip_hello(peer, &hello);
    if (dialed != NULL) {
        hello.dialed = *dialed;
    }
    gv_gossip_opened(here, session, dialed != NULL, &hello, now);
    return !closes(here, session);
}

static inline void begin(void)
{
    loads_heard = 0;
    now = (struct gv_now){.now_ms = 1000, .wall_ms = WALL_MS};
    for (int i = 0; i < 3; i++) {
        keys[i] = gv_identity_new();
        CU_ASSERT_PTR_NOT_NULL_FATAL(keys[i]);
    }
    here = engine("here", 2001, keys[0], 1);
    x = engine("x", X_PORT, keys[1], 2);
    rogue = engine("rogue", 2003, keys[2], 3);
    CU_ASSERT_TRUE(meets(x, 1, NULL));
    CU_ASSERT_TRUE(meets(rogue, 2, NULL));
}

static inline void end(void)
{
    gv_gossip_free(here);
    gv_gossip_free(x);
    gv_gossip_free(rogue);
    for (int i = 0; i < 3; i++) {
        gv_identity_free(keys[i]);
    }
}

static inline struct gv_member seen(const char *name)
{
    struct gv_member members[8];
    struct gv_member none = {.status = GV_MEMBER_STATUS_COUNT};
    uint32_t count = gv_gossip_members(here, members, 8);
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(members[i].name, name) == 0) {
            return members[i];
        }
    }
    return none;
}

/* What the rogue sends: x's true record as it is known here, changed as it likes. */
struct lie {
    Mesh__Member member;
    Mesh__Address addr;
    struct gv_member known;
};

static inline void prepare(struct lie *lie, const char *name)
{
    lie->known = seen(name);
    mesh__member__init(&lie->member);
    mesh__address__init(&lie->addr);
    lie->member.node = lie->known.name;
    lie->member.boot_id = lie->known.boot_id;
    lie->member.incarnation = lie->known.incarnation;
    lie->member.http_url = lie->known.http_url;
    lie->member.version = lie->known.version;
    lie->member.accuser = (char *)(uintptr_t) "rogue";
    lie->addr.ip.data = lie->known.gossip_addr.ip;
    lie->addr.ip.len = 4;
    lie->addr.port = lie->known.gossip_addr.port;
    lie->member.gossip = &lie->addr;
    lie->member.identity = (ProtobufCBinaryData){GV_IDENTITY_BYTES, lie->known.identity};
    lie->member.signature = (ProtobufCBinaryData){GV_SIGNATURE_BYTES, lie->known.signature};
}

static inline void tell(struct lie *lie)
{
    uint8_t bytes[1024];
    Mesh__Message message = MESH__MESSAGE__INIT;
    message.body_case = MESH__MESSAGE__BODY_MEMBER;
    message.member = &lie->member;
    size_t len = mesh__message__pack(&message, bytes);
    CU_ASSERT_EQUAL(gv_gossip_message(here, 2, gv_slice_of(bytes, len), now), GV_OK);
    (void)closes(here, 0);
}

static inline uint64_t forged(void)
{
    return gv_gossip_counters(here)->forged;
}

static inline enum gv_err send(uint64_t session, const Mesh__Message *message)
{
    uint8_t bytes[1024];
    size_t len = mesh__message__pack(message, bytes);
    return gv_gossip_message(here, session, gv_slice_of(bytes, len), now);
}

/* So long pass, and both are heard all the while. */
static inline void keep_talking(uint64_t ms)
{
    Mesh__Announce nothing = MESH__ANNOUNCE__INIT;
    Mesh__Message message = MESH__MESSAGE__INIT;
    message.body_case = MESH__MESSAGE__BODY_ANNOUNCE;
    message.announce = &nothing;
    for (uint64_t i = 0; i < ms; i += 50) {
        now.now_ms += 50;
        now.wall_ms += 50;
        for (uint64_t session = 1; session <= 2; session++) {
            CU_ASSERT_EQUAL(send(session, &message), GV_OK);
            (void)closes(here, 0);
        }
        gv_gossip_tick(here, now);
        (void)closes(here, 0);
    }
}

#endif
