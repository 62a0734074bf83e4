/*
 * test_proof.c - only a node itself says where it is and that it leaves; its name stays with its
 * key.
 */
#include "rogue.h"

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
         GV_CASE(a_name_is_free_when_the_holder_was_dead_for_a_second))
