/*
 * test_lies.c - what a member says of another's log and loads, and what is nonsense from anybody.
 */
#include "rogue.h"

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

GV_SUITE("unit/cluster/lies", GV_CASE(a_log_comes_only_from_its_own_node),
         GV_CASE(a_lie_about_a_log_that_we_hear_makes_nobody_its_source),
         GV_CASE(loads_come_only_from_their_own_node),
         GV_CASE(positions_that_no_log_reaches_are_nonsense),
         GV_CASE(texts_that_could_break_a_log_or_a_file_are_refused),
         GV_CASE(a_worker_that_could_not_be_shown_is_refused),
         GV_CASE(when_the_roster_is_full_who_is_gone_makes_room),
         GV_CASE(asked_again_to_probe_the_same_node_we_probe_it_once))
