/*
 * test_self.c - what is said of the node itself: it refutes what is wrong, finds out who else bears
 * its name, and is moved by nothing that it or another start of it did not sign.
 */
#include "rogue.h"

static uint64_t own_incarnation(void)
{
    return seen("here").incarnation;
}

static uint64_t refuted(void)
{
    return gv_gossip_counters(here)->refutations;
}

/* What the rogue says by datagram, asking us something: nothing but its opinion of us. */
static void ask_with_opinion(Mesh__Status opinion, uint64_t incarnation)
{
    uint8_t bytes[1024];
    char target[] = "here";
    struct gv_addr from = {.family = 4, .ip = {10, 0, 0, 1}, .port = 2003};
    struct lie own;
    Mesh__Packet packet = MESH__PACKET__INIT;
    prepare(&own, "rogue");
    packet.kind = MESH__PACKET_KIND__PING;
    packet.number = 1;
    packet.target = target;
    packet.self = &own.member;
    packet.opinion = opinion;
    packet.opinion_incarnation = incarnation;
    size_t len = mesh__packet__pack(&packet, bytes);
    gv_gossip_packet(here, &from, "rogue", gv_slice_of(bytes, len), now);
    (void)closes(here, 0);
}

/* Lifeguard's: no news needs to find us first. */
static void a_doubt_that_a_question_brings_is_refuted_at_once(void)
{
    begin();
    uint64_t before = own_incarnation();
    ask_with_opinion(MESH__STATUS__ALIVE, before);
    CU_ASSERT_EQUAL(refuted(), 0);
    ask_with_opinion(MESH__STATUS__SUSPECT, before - 1); /* refuted long ago */
    CU_ASSERT_EQUAL(refuted(), 0);
    ask_with_opinion(MESH__STATUS__SUSPECT, before);
    CU_ASSERT_EQUAL(refuted(), 1);
    CU_ASSERT_EQUAL(own_incarnation(), before + 1);
    ask_with_opinion(MESH__STATUS__DEAD, before + 1);
    CU_ASSERT_EQUAL(refuted(), 2);
    CU_ASSERT_EQUAL(own_incarnation(), before + 2);
    end();
}

/* Else what we say of ourselves would be older than what is known. */
static void said_to_be_alive_above_our_incarnation_we_go_above_it(void)
{
    struct lie lie;
    begin();
    uint64_t before = own_incarnation();
    prepare(&lie, "here");
    tell(&lie); /* just what we say ourselves */
    CU_ASSERT_EQUAL(own_incarnation(), before);
    lie.member.incarnation += 5;
    tell(&lie);
    CU_ASSERT_EQUAL(own_incarnation(), before + 6);
    end();
}

/* Another start under our name: only who has our key can speak of one. */
static void another_start_of_us_that_nobody_signed_for_moves_nothing(void)
{
    struct lie lie;
    begin();
    uint64_t before = own_incarnation();
    prepare(&lie, "here");
    lie.member.boot_id += 1;
    lie.member.incarnation += 5;
    tell(&lie);
    CU_ASSERT_EQUAL(own_incarnation(), before);
    CU_ASSERT_EQUAL(forged(), 1);
    end();
}

static void an_earlier_start_of_us_that_is_remembered_is_outbid(void)
{
    struct lie truth;
    struct gv_gossip_hello hello;
    begin();
    struct gv_gossip *earlier = engine("here", 2001, keys[0], 500); /* a clock that ran ahead */
    gv_gossip_hello(earlier, &hello);
    prepare(&truth, "here");
    truth.member.boot_id = hello.boot_id;
    truth.member.incarnation = hello.incarnation;
    truth.member.signature = (ProtobufCBinaryData){GV_SIGNATURE_BYTES, hello.signature};
    tell(&truth);
    CU_ASSERT_EQUAL(forged(), 0);
    CU_ASSERT_EQUAL(own_incarnation(), hello.incarnation + 1);
    gv_gossip_free(earlier);
    end();
}

/* Sessions carry it as well, but beyond 32 nodes there are not sessions with all. */
static void who_leaves_tells_each_member_by_datagram(void)
{
    struct gv_effect effect;
    unsigned told_x = 0;
    unsigned told_rogue = 0;
    begin();
    gv_gossip_leave(here, now);
    while (gv_gossip_next_effect(here, &effect)) {
        Mesh__Packet *packet =
            effect.kind != GV_EFFECT_PACKET
                ? NULL
                : mesh__packet__unpack(NULL, effect.bytes.len, effect.bytes.data);
        if (packet != NULL && packet->self->status == MESH__STATUS__LEFT) {
            told_x += strcmp(effect.node, "x") == 0;
            told_rogue += strcmp(effect.node, "rogue") == 0;
        }
        if (packet != NULL) {
            mesh__packet__free_unpacked(packet, NULL);
        }
    }
    CU_ASSERT_EQUAL(told_x, 1);
    CU_ASSERT_EQUAL(told_rogue, 1);
    end();
}

static void who_leaves_refutes_nothing(void)
{
    begin();
    gv_gossip_leave(here, now);
    (void)closes(here, 0);
    uint64_t before = own_incarnation();
    ask_with_opinion(MESH__STATUS__SUSPECT, before);
    CU_ASSERT_EQUAL(refuted(), 0);
    CU_ASSERT_EQUAL(own_incarnation(), before);
    end();
}

/* A clock that is further ahead could leave behind what nobody can outbid for years. */
static void an_incarnation_a_day_ahead_is_the_last_that_is_believed(void)
{
    struct lie lie;
    struct gv_gossip_hello hello;
    begin();
    for (uint64_t over = 0; over < 2; over++) {
        struct gv_gossip *ahead =
            engine(over ? "z" : "y", 2004, keys[1], GV_INCARNATION_AHEAD_MAX_MS + over);
        gv_gossip_hello(ahead, &hello);
        prepare(&lie, "x");
        lie.member.node = hello.node;
        lie.member.boot_id = hello.boot_id;
        lie.member.incarnation = hello.incarnation;
        lie.addr.port = 2004;
        lie.member.signature = (ProtobufCBinaryData){GV_SIGNATURE_BYTES, hello.signature};
        tell(&lie);
        CU_ASSERT_EQUAL(gv_gossip_counters(here)->malformed, over);
        CU_ASSERT_EQUAL(seen(hello.node).status, over ? GV_MEMBER_STATUS_COUNT : GV_MEMBER_ALIVE);
        gv_gossip_free(ahead);
    }
    CU_ASSERT_EQUAL(forged(), 0);
    end();
}

GV_SUITE("unit/cluster/self", GV_CASE(a_doubt_that_a_question_brings_is_refuted_at_once),
         GV_CASE(said_to_be_alive_above_our_incarnation_we_go_above_it),
         GV_CASE(another_start_of_us_that_nobody_signed_for_moves_nothing),
         GV_CASE(an_earlier_start_of_us_that_is_remembered_is_outbid),
         GV_CASE(who_leaves_tells_each_member_by_datagram), GV_CASE(who_leaves_refutes_nothing),
         GV_CASE(an_incarnation_a_day_ahead_is_the_last_that_is_believed))
