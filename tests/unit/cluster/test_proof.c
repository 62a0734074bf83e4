/*
 * test_proof.c - only a node itself says where it is and that it leaves; its name stays with its
 * key.
 */
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

static void sign(void *owner, struct gv_slice text, uint8_t signature[GV_SIGNATURE_BYTES])
{
    gv_identity_sign(owner, text, signature);
}

static bool verify(void *owner, const uint8_t identity[GV_IDENTITY_BYTES], struct gv_slice text,
                   const uint8_t signature[GV_SIGNATURE_BYTES])
{
    (void)owner;
    return gv_identity_verify(identity, text, signature) == GV_OK;
}

static void load_changed(void *owner, const char *node, const struct gv_gossip_load *load)
{
    (void)owner;
    (void)node;
    (void)load;
    loads_heard += 1;
}

static struct gv_gossip *engine(const char *name, uint16_t port, struct gv_identity *key,
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
static bool closes(struct gv_gossip *gossip, uint64_t session)
{
    struct gv_effect effect;
    bool does = false;
    while (gv_gossip_next_effect(gossip, &effect)) {
        does = does || (effect.kind == GV_EFFECT_CLOSE && effect.session == session);
    }
    return does;
}

/* `peer` connects to us, or answers at `dialed`; is it let in? */
static bool meets(const struct gv_gossip *peer, uint64_t session, const struct gv_addr *dialed)
{
    struct gv_gossip_hello hello;
    gv_gossip_hello(peer, &hello);
    if (dialed != NULL) {
        hello.dialed = *dialed;
    }
    gv_gossip_opened(here, session, dialed != NULL, &hello, now);
    return !closes(here, session);
}

static void begin(void)
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

static void end(void)
{
    gv_gossip_free(here);
    gv_gossip_free(x);
    gv_gossip_free(rogue);
    for (int i = 0; i < 3; i++) {
        gv_identity_free(keys[i]);
    }
}

static struct gv_member seen(const char *name)
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

static void prepare(struct lie *lie, const char *name)
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

static void tell(struct lie *lie)
{
    uint8_t bytes[1024];
    Mesh__Message message = MESH__MESSAGE__INIT;
    message.body_case = MESH__MESSAGE__BODY_MEMBER;
    message.member = &lie->member;
    size_t len = mesh__message__pack(&message, bytes);
    CU_ASSERT_EQUAL(gv_gossip_message(here, 2, gv_slice_of(bytes, len), now), GV_OK);
    (void)closes(here, 0);
}

static uint64_t forged(void)
{
    return gv_gossip_counters(here)->forged;
}

static void nobody_makes_another_node_leave(void)
{
    struct lie lie;
    begin();
    prepare(&lie, "x");
    lie.member.status = MESH__STATUS__LEFT;
    tell(&lie);
    CU_ASSERT_EQUAL(seen("x").status, GV_MEMBER_ALIVE);
    lie.member.incarnation += 1;
    tell(&lie);
    CU_ASSERT_EQUAL(seen("x").status, GV_MEMBER_ALIVE);
    CU_ASSERT_EQUAL(forged(), 2);
    end();
}

static void nobody_moves_another_node(void)
{
    struct lie lie;
    begin();
    prepare(&lie, "x");
    lie.member.incarnation += 1;
    lie.addr.port = 666;
    tell(&lie);
    CU_ASSERT_EQUAL(seen("x").gossip_addr.port, X_PORT);
    CU_ASSERT_EQUAL(forged(), 1);
    end();
}

/* At the incarnation that x signed a doubt is an opinion; above it, it would be beyond refuting. */
static void others_may_doubt_but_not_raise_the_incarnation(void)
{
    struct lie lie;
    begin();
    prepare(&lie, "x");
    lie.member.status = MESH__STATUS__SUSPECT;
    lie.member.incarnation += 1;
    tell(&lie);
    CU_ASSERT_EQUAL(seen("x").status, GV_MEMBER_ALIVE);
    CU_ASSERT_EQUAL(forged(), 1);
    lie.member.incarnation -= 1;
    lie.addr.port = 666; /* rides along, and does not count */
    tell(&lie);
    CU_ASSERT_EQUAL(seen("x").status, GV_MEMBER_SUSPECT);
    CU_ASSERT_EQUAL(seen("x").gossip_addr.port, X_PORT);
    CU_ASSERT_EQUAL(forged(), 1);
    end();
}

static void a_record_that_its_node_signed_is_good_from_anybody(void)
{
    struct lie truth;
    struct gv_gossip_hello hello;
    begin();
    gv_gossip_set_ready(x, true, now); /* raises its incarnation, and signs again */
    gv_gossip_hello(x, &hello);
    prepare(&truth, "x");
    truth.member.incarnation = hello.incarnation;
    truth.member.ready = true;
    truth.member.signature = (ProtobufCBinaryData){GV_SIGNATURE_BYTES, hello.signature};
    tell(&truth);
    CU_ASSERT_TRUE(seen("x").ready);
    CU_ASSERT_EQUAL(forged(), 0);
    end();
}

/* Something new that x did sign, to be changed on its way. */
static void prepare_news(struct lie *lie, struct gv_gossip_hello *hello)
{
    prepare(lie, "x");
    lie->member.incarnation = hello->incarnation;
    lie->member.ready = true;
    lie->member.signature = (ProtobufCBinaryData){GV_SIGNATURE_BYTES, hello->signature};
}

static void refuses(struct lie *lie)
{
    uint64_t before = forged();
    tell(lie);
    CU_ASSERT_EQUAL(forged(), before + 1);
    CU_ASSERT_FALSE(seen("x").ready);
    CU_ASSERT_EQUAL(seen("x").status, GV_MEMBER_ALIVE);
}

static void nothing_that_a_node_signed_can_be_changed_on_its_way(void)
{
    struct lie lie;
    struct gv_gossip_hello hello;
    uint8_t elsewhere[4] = {10, 0, 0, 9};
    begin();
    gv_gossip_set_ready(x, true, now);
    gv_gossip_hello(x, &hello);
    prepare_news(&lie, &hello);
    lie.addr.port += 1;
    refuses(&lie);
    prepare_news(&lie, &hello);
    lie.addr.ip.data = elsewhere;
    refuses(&lie);
    prepare_news(&lie, &hello);
    lie.member.gossip = NULL;
    refuses(&lie);
    prepare_news(&lie, &hello);
    lie.member.http_url = (char *)(uintptr_t) "http://10.0.0.9:1";
    refuses(&lie);
    prepare_news(&lie, &hello);
    lie.member.version = (char *)(uintptr_t) "0.0.1";
    refuses(&lie);
    prepare_news(&lie, &hello);
    lie.member.boot_id += 1;
    refuses(&lie);
    prepare_news(&lie, &hello);
    lie.member.ready = false;
    refuses(&lie);
    prepare_news(&lie, &hello);
    lie.member.status = MESH__STATUS__LEFT;
    refuses(&lie);
    prepare_news(&lie, &hello);
    lie.known.signature[0] ^= 1;
    lie.member.signature = (ProtobufCBinaryData){GV_SIGNATURE_BYTES, lie.known.signature};
    refuses(&lie);
    prepare_news(&lie, &hello); /* as it was signed */
    tell(&lie);
    CU_ASSERT_TRUE(seen("x").ready);
    end();
}

/* Two clusters may have a node of one name and one key. */
static void what_a_node_signed_in_another_cluster_is_not_believed_here(void)
{
    struct lie lie;
    struct gv_gossip_hello hello;
    begin();
    cluster = "d";
    struct gv_gossip *abroad = engine("x", X_PORT, keys[1], 2);
    cluster = "c";
    gv_gossip_set_ready(abroad, true, now);
    gv_gossip_hello(abroad, &hello);
    prepare_news(&lie, &hello);
    refuses(&lie);
    gv_gossip_free(abroad);
    end();
}

static void a_member_nobody_signed_for_is_not_believed(void)
{
    struct lie lie;
    char name[] = "nobody";
    begin();
    prepare(&lie, "x");
    lie.member.node = name;
    tell(&lie);
    CU_ASSERT_EQUAL(seen("nobody").status, GV_MEMBER_STATUS_COUNT);
    CU_ASSERT_EQUAL(forged(), 1);
    end();
}

/* The rogue has the cluster key, and signs with its own: everything fits but whose name it is. */
static void a_name_stays_with_its_key_while_the_holder_lives(void)
{
    begin();
    struct gv_gossip *thief = engine("x", 666, keys[2], 99);
    CU_ASSERT_FALSE(meets(thief, 3, NULL));
    CU_ASSERT_EQUAL(seen("x").gossip_addr.port, X_PORT);
    CU_ASSERT_EQUAL(seen("x").boot_id, 2);
    CU_ASSERT_EQUAL(forged(), 1);
    gv_gossip_free(thief);
    end();
}

static void whoever_answers_at_the_holders_address_gets_the_name(void)
{
    const struct gv_addr elsewhere = {.family = 4, .ip = {10, 0, 0, 1}, .port = 666};
    const struct gv_addr there = {.family = 4, .ip = {10, 0, 0, 1}, .port = X_PORT};
    begin();
    struct gv_gossip *restarted = engine("x", X_PORT, keys[2], 99);
    CU_ASSERT_FALSE(meets(restarted, 3, &elsewhere));
    CU_ASSERT_TRUE(meets(restarted, 4, &there));
    CU_ASSERT_EQUAL(seen("x").boot_id, 99);
    gv_gossip_free(restarted);
    end();
}

static void a_name_is_free_when_the_holder_has_left(void)
{
    struct lie goodbye;
    struct gv_gossip_hello hello;
    begin();
    gv_gossip_leave(x, now);
    gv_gossip_hello(x, &hello);
    prepare(&goodbye, "x");
    goodbye.member.incarnation = hello.incarnation;
    goodbye.member.status = MESH__STATUS__LEFT;
    goodbye.member.signature = (ProtobufCBinaryData){GV_SIGNATURE_BYTES, hello.signature};
    tell(&goodbye);
    CU_ASSERT_EQUAL(seen("x").status, GV_MEMBER_LEFT);
    struct gv_gossip *next = engine("x", 666, keys[2], 99);
    CU_ASSERT_TRUE(meets(next, 3, NULL));
    CU_ASSERT_EQUAL(seen("x").status, GV_MEMBER_ALIVE);
    gv_gossip_free(next);
    end();
}

/* Both sides of the second that a dead node has to say that it lives. */
static void a_name_is_free_when_the_holder_was_dead_for_a_second(void)
{
    struct lie lie;
    begin();
    gv_gossip_closed(here, 1, NULL, false, now);
    (void)closes(here, 0);
    prepare(&lie, "x");
    lie.member.status = MESH__STATUS__DEAD;
    tell(&lie);
    CU_ASSERT_EQUAL(seen("x").status, GV_MEMBER_DEAD);
    struct gv_gossip *next = engine("x", 666, keys[2], 99);
    now.now_ms += 999;
    CU_ASSERT_FALSE(meets(next, 3, NULL));
    now.now_ms += 1;
    CU_ASSERT_TRUE(meets(next, 4, NULL));
    CU_ASSERT_EQUAL(seen("x").gossip_addr.port, 666);
    gv_gossip_free(next);
    end();
}

/* A batch for the log of another would end or skip what that node really says. */
static void a_log_comes_only_from_its_own_node(void)
{
    uint8_t bytes[1024];
    uint64_t print = 5;
    char key[] = "regular::m";
    char url[] = "http://w";
    char *keys_of[] = {key};
    char *urls[] = {url};
    char name[] = "x";
    Mesh__TreeOp operation = MESH__TREE_OP__INIT;
    Mesh__TreeOp *operations[] = {&operation};
    Mesh__Batch batch = MESH__BATCH__INIT;
    Mesh__Message message = MESH__MESSAGE__INIT;
    begin();
    operation.fingerprints = &print;
    operation.n_fingerprints = 1;
    batch.origin = name;
    batch.boot_id = 2;
    batch.first = 1;
    batch.keys = keys_of;
    batch.n_keys = 1;
    batch.workers = urls;
    batch.n_workers = 1;
    batch.operations = operations;
    batch.n_operations = 1;
    message.body_case = MESH__MESSAGE__BODY_BATCH;
    message.batch = &batch;
    size_t len = mesh__message__pack(&message, bytes);
    CU_ASSERT_EQUAL(gv_gossip_message(here, 2, gv_slice_of(bytes, len), now), GV_OK);
    CU_ASSERT_EQUAL(gv_gossip_counters(here)->operations_applied, 0);
    CU_ASSERT_EQUAL(seen("x").applied, 0);
    CU_ASSERT_EQUAL(forged(), 1);
    CU_ASSERT_EQUAL(gv_gossip_message(here, 1, gv_slice_of(bytes, len), now), GV_OK);
    CU_ASSERT_EQUAL(gv_gossip_counters(here)->operations_applied, 1);
    end();
}

static enum gv_err send(uint64_t session, const Mesh__Message *message)
{
    uint8_t bytes[1024];
    size_t len = mesh__message__pack(message, bytes);
    return gv_gossip_message(here, session, gv_slice_of(bytes, len), now);
}

/* So long pass, and both are heard all the while. */
static void keep_talking(uint64_t ms)
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

/* Announcing more than there is does not make us ask the liar for a log that we hear first hand. */
static void a_lie_about_a_log_that_we_hear_makes_nobody_its_source(void)
{
    uint64_t boot = 2, far = 1000;
    Mesh__Announce announce = MESH__ANNOUNCE__INIT;
    Mesh__Message message = MESH__MESSAGE__INIT;
    begin();
    announce.logs = &boot;
    announce.applied = &far;
    announce.sayers = &boot;
    announce.said = &far;
    announce.n_logs = announce.n_applied = announce.n_sayers = announce.n_said = 1;
    message.body_case = MESH__MESSAGE__BODY_ANNOUNCE;
    message.announce = &announce;
    keep_talking(200);
    CU_ASSERT_TRUE(gv_gossip_is_ready(here));
    CU_ASSERT_EQUAL(send(2, &message), GV_OK);
    keep_talking(1000);
    CU_ASSERT_EQUAL(gv_gossip_counters(here)->ranges_pulled, 0);
    end();
}

/* The sequence of a lie could also be so high that nothing true is ever newer. */
static void loads_come_only_from_their_own_node(void)
{
    char name[] = "x";
    char url[] = "http://w";
    Mesh__Load load = MESH__LOAD__INIT;
    Mesh__Load *loads[] = {&load};
    Mesh__NodeState state = MESH__NODE_STATE__INIT;
    Mesh__Message message = MESH__MESSAGE__INIT;
    begin();
    load.worker = url;
    load.count = 7;
    state.node = name;
    state.boot_id = 2;
    state.sequence = 1000;
    state.whole = true;
    state.loads = loads;
    state.n_loads = 1;
    message.body_case = MESH__MESSAGE__BODY_NODE_STATE;
    message.node_state = &state;
    CU_ASSERT_EQUAL(send(2, &message), GV_OK);
    CU_ASSERT_EQUAL(loads_heard, 0);
    CU_ASSERT_EQUAL(forged(), 1);
    state.sequence = 1;
    CU_ASSERT_EQUAL(send(1, &message), GV_OK);
    CU_ASSERT_EQUAL(loads_heard, 1);
    CU_ASSERT_EQUAL(forged(), 1);
    end();
}

/* Both sides of the limit: from a higher position nothing could be counted on. */
static void positions_that_no_log_reaches_are_nonsense(void)
{
    const uint64_t most = UINT64_MAX / 4;
    char name[] = "x";
    Mesh__Position position = MESH__POSITION__INIT;
    Mesh__Position *positions[] = {&position};
    Mesh__Vector vector = MESH__VECTOR__INIT;
    Mesh__Message message = MESH__MESSAGE__INIT;
    begin();
    position.node = name;
    position.boot_id = 9;
    position.applied = most;
    vector.positions = positions;
    vector.n_positions = 1;
    vector.answer = true;
    message.body_case = MESH__MESSAGE__BODY_VECTOR;
    message.vector = &vector;
    CU_ASSERT_EQUAL(send(2, &message), GV_OK);
    position.applied = most + 1;
    CU_ASSERT_EQUAL(send(2, &message), GV_EPROTO);
    end();
}

static void texts_that_could_break_a_log_or_a_file_are_refused(void)
{
    static const char *const names[] = {
        "a b",      "a\nb",         "a\tb",     "a\x7f",    "a\xff",
        "\xc0\xaf", "\xed\xa0\x80", "\xc2\x85", "\xe2\x82", "\xf4\x90\x80\x80"};
    static const char *const good[] = {"a", "host-1.example:30000", "k\xc3\xb6ln", "\xe2\x82\xac"};
    uint8_t bytes[1024];
    size_t len;
    struct gv_gossip_hello read;
    begin();
    for (size_t i = 0; i < sizeof names / sizeof names[0] + sizeof good / sizeof good[0]; i++) {
        bool is_good = i >= sizeof names / sizeof names[0];
        const char *name = is_good ? good[i - sizeof names / sizeof names[0]] : names[i];
        struct gv_gossip_hello hello;
        gv_gossip_hello(x, &hello);
        (void)gv_slice_copy_text(gv_slice_text(name), hello.node, sizeof hello.node);
        CU_ASSERT_EQUAL_FATAL(gv_gossip_hello_encode(&hello, bytes, sizeof bytes, &len), GV_OK);
        CU_ASSERT_EQUAL(gv_gossip_hello_decode(gv_slice_of(bytes, len), &read),
                        is_good ? GV_OK : GV_EPROTO);
    }
    end();
}

/* Its URL is written as it is into lines and files; the other texts came as JSON and leave as JSON.
 */
static void a_worker_that_could_not_be_shown_is_refused(void)
{
    static const struct {
        const char *url, *text;
        bool is_good;
    } rows[] = {{"http://w1:1", "llama", true},     {"http://w2:1", "k\xc3\xb6ln\n", true},
                {"http://w3:1", "\xe2\x82", false}, {"http://w4:1", "\xc0\xaf", false},
                {"http://w5:1\n", "llama", false},  {"http://w6:1\xff", "llama", false},
                {"http://w7:1\xc2\x85", "", false}, {"http://w8:1", "", true}};
    char origin[] = "rogue";
    uint64_t version = 0;
    begin();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (int field = 0; field < 3; field++) {
            char *text = (char *)(uintptr_t)rows[i].text;
            Mesh__Worker worker = MESH__WORKER__INIT;
            Mesh__Worker *list[] = {&worker};
            Mesh__Workers workers = MESH__WORKERS__INIT;
            Mesh__Message message = MESH__MESSAGE__INIT;
            worker.url = (char *)(uintptr_t)rows[i].url;
            worker.origin = origin;
            worker.version_ms = ++version;
            worker.runtime = field == 0 ? text : worker.runtime;
            worker.labels = field == 1 ? text : worker.labels;
            worker.models = &text;
            worker.n_models = field == 2 && text[0] != '\0';
            workers.workers = list;
            workers.n_workers = 1;
            message.body_case = MESH__MESSAGE__BODY_WORKERS;
            message.workers = &workers;
            uint64_t refused = gv_gossip_counters(here)->records_refused;
            CU_ASSERT_EQUAL(send(2, &message), GV_OK);
            CU_ASSERT_EQUAL(gv_gossip_counters(here)->records_refused, refused + !rows[i].is_good);
        }
    }
    end();
}

/* Forged names, or a cluster of crashing nodes, must not keep newcomers out for a day. */
static void when_the_roster_is_full_who_is_gone_makes_room(void)
{
    struct lie lie;
    member_max = 3;
    begin();
    member_max = 0;
    struct gv_gossip *y = engine("y", 2004, keys[1], 4);
    CU_ASSERT_FALSE(meets(y, 3, NULL)); /* all three live */
    gv_gossip_closed(here, 1, NULL, false, now);
    (void)closes(here, 0);
    prepare(&lie, "x");
    lie.member.status = MESH__STATUS__DEAD;
    now.now_ms += 10;
    tell(&lie);
    CU_ASSERT_TRUE(meets(y, 4, NULL));
    CU_ASSERT_EQUAL(seen("y").status, GV_MEMBER_ALIVE);
    CU_ASSERT_EQUAL(seen("x").status, GV_MEMBER_STATUS_COUNT);
    gv_gossip_free(y);
    end();
}

/* Else a member could point us at an address of its choice, and leave no probe for ourselves. */
static void asked_again_to_probe_the_same_node_we_probe_it_once(void)
{
    uint8_t bytes[1024];
    uint32_t sent = 0;
    char target[] = "x";
    struct lie own;
    Mesh__Packet packet = MESH__PACKET__INIT;
    Mesh__Message message = MESH__MESSAGE__INIT;
    begin();
    prepare(&own, "rogue");
    own.member.accuser = (char *)(uintptr_t) "";
    packet.kind = MESH__PACKET_KIND__PING_REQ;
    packet.target = target;
    packet.self = &own.member;
    message.body_case = MESH__MESSAGE__BODY_PACKET;
    message.packet = &packet;
    for (uint64_t i = 1; i <= 100; i++) {
        struct gv_effect effect;
        packet.number = i;
        size_t len = mesh__message__pack(&message, bytes);
        CU_ASSERT_EQUAL(gv_gossip_message(here, 2, gv_slice_of(bytes, len), now), GV_OK);
        while (gv_gossip_next_effect(here, &effect)) {
            sent += effect.kind == GV_EFFECT_PACKET && strcmp(effect.node, "x") == 0;
        }
    }
    CU_ASSERT_EQUAL(sent, 1);
    end();
}

GV_SUITE("unit/cluster/proof", GV_CASE(nobody_makes_another_node_leave),
         GV_CASE(nobody_moves_another_node),
         GV_CASE(others_may_doubt_but_not_raise_the_incarnation),
         GV_CASE(a_record_that_its_node_signed_is_good_from_anybody),
         GV_CASE(nothing_that_a_node_signed_can_be_changed_on_its_way),
         GV_CASE(what_a_node_signed_in_another_cluster_is_not_believed_here),
         GV_CASE(a_member_nobody_signed_for_is_not_believed),
         GV_CASE(a_name_stays_with_its_key_while_the_holder_lives),
         GV_CASE(whoever_answers_at_the_holders_address_gets_the_name),
         GV_CASE(a_name_is_free_when_the_holder_has_left),
         GV_CASE(a_name_is_free_when_the_holder_was_dead_for_a_second),
         GV_CASE(a_log_comes_only_from_its_own_node),
         GV_CASE(a_lie_about_a_log_that_we_hear_makes_nobody_its_source),
         GV_CASE(loads_come_only_from_their_own_node),
         GV_CASE(positions_that_no_log_reaches_are_nonsense),
         GV_CASE(texts_that_could_break_a_log_or_a_file_are_refused),
         GV_CASE(a_worker_that_could_not_be_shown_is_refused),
         GV_CASE(when_the_roster_is_full_who_is_gone_makes_room),
         GV_CASE(asked_again_to_probe_the_same_node_we_probe_it_once))
