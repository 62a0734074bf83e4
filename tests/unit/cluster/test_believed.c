/* Whose datagrams are believed: with the right key, only starts of nodes that have proven
 * themselves, and each datagram once, for as long as the start is remembered. */
#include "../../../src/cluster/believed.h"
#include "support/suite.h"

#include <stdio.h>

static struct gv_keyring *ring;
static struct gv_believed believed;
static struct gv_packet_box here;
static struct gv_buf plain;

static struct gv_packet_box box_of(const char *name, uint64_t boot)
{
    struct gv_packet_box box;
    CU_ASSERT_EQUAL_FATAL(gv_packet_box_init(&box, ring, "c", name, boot), GV_OK);
    return box;
}

static void begin(void)
{
    static const uint64_t secret[2] = {1, 2};
    struct gv_key_id id;
    ring = gv_keyring_new();
    CU_ASSERT_PTR_NOT_NULL_FATAL(ring);
    CU_ASSERT_EQUAL_FATAL(gv_keyring_generate(ring, &id), GV_OK);
    gv_believed_init(&believed, secret);
    gv_buf_init(&plain, GV_MEM_GOSSIP, GV_PACKET_MAX_BYTES);
    here = box_of("here", 1);
}

static void end(void)
{
    gv_believed_deinit(&believed);
    gv_buf_deinit(&plain);
    gv_keyring_free(ring);
}

static struct gv_buf say(struct gv_packet_box *from)
{
    struct gv_buf packet;
    gv_buf_init(&packet, GV_MEM_GOSSIP, GV_PACKET_MAX_BYTES);
    CU_ASSERT_EQUAL_FATAL(gv_packet_seal(from, "here", 1, gv_slice_text("hello"), &packet), GV_OK);
    return packet;
}

static enum gv_err hear(const struct gv_buf *packet, const char *wanted)
{
    const char *sender = NULL;
    enum gv_err err = gv_believed_open(&believed, &here, gv_buf_slice(packet), &plain, &sender);
    if (err == GV_OK) {
        CU_ASSERT_STRING_EQUAL(sender, wanted);
        CU_ASSERT_TRUE(gv_slice_is(gv_buf_slice(&plain), "hello"));
    }
    return err;
}

static enum gv_err hear_once(struct gv_packet_box *from, const char *wanted)
{
    struct gv_buf packet = say(from);
    enum gv_err err = hear(&packet, wanted);
    gv_buf_deinit(&packet);
    return err;
}

static void the_key_alone_is_not_enough(void)
{
    begin();
    struct gv_packet_box x = box_of("x", 7);
    struct gv_packet_box later = box_of("x", 8);
    struct gv_packet_box other = box_of("y", 7);
    CU_ASSERT_EQUAL(hear_once(&x, "x"), GV_EAUTH);
    gv_believed_add(&believed, "x", 7);
    CU_ASSERT_EQUAL(hear_once(&x, "x"), GV_OK);
    CU_ASSERT_EQUAL(hear_once(&later, "x"), GV_EAUTH); /* another start of it */
    CU_ASSERT_EQUAL(hear_once(&other, "y"), GV_EAUTH); /* another node with its boot */
    end();
}

/* A handshake more, or another word of it: what was heard before stays heard. */
static void proven_again_nothing_can_be_played_back(void)
{
    begin();
    struct gv_packet_box x = box_of("x", 7);
    gv_believed_add(&believed, "x", 7);
    struct gv_buf packet = say(&x);
    CU_ASSERT_EQUAL(hear(&packet, "x"), GV_OK);
    CU_ASSERT_EQUAL(hear(&packet, "x"), GV_ESTALE);
    gv_believed_add(&believed, "x", 8); /* it has started anew since */
    gv_believed_add(&believed, "x", 7);
    CU_ASSERT_EQUAL(hear(&packet, "x"), GV_ESTALE);
    CU_ASSERT_EQUAL(hear_once(&x, "x"), GV_OK);
    gv_buf_deinit(&packet);
    end();
}

/* Both sides of the limit; memory stays bounded whatever members tell. */
static void the_oldest_gives_way_to_one_too_many(void)
{
    begin();
    struct gv_packet_box first = box_of("n", 1);
    struct gv_packet_box second = box_of("n", 2);
    struct gv_packet_box last = box_of("n", GV_BELIEVED_MAX + 1);
    for (uint64_t boot = 1; boot <= GV_BELIEVED_MAX; boot++) {
        gv_believed_add(&believed, "n", boot);
    }
    CU_ASSERT_EQUAL(hear_once(&first, "n"), GV_OK);
    gv_believed_add(&believed, "n", GV_BELIEVED_MAX + 1);
    CU_ASSERT_EQUAL(believed.pairs.count, GV_BELIEVED_MAX);
    CU_ASSERT_EQUAL(hear_once(&first, "n"), GV_EAUTH);
    CU_ASSERT_EQUAL(hear_once(&second, "n"), GV_OK);
    CU_ASSERT_EQUAL(hear_once(&last, "n"), GV_OK);
    end();
}

GV_SUITE("unit/cluster/believed", GV_CASE(the_key_alone_is_not_enough),
         GV_CASE(proven_again_nothing_can_be_played_back),
         GV_CASE(the_oldest_gives_way_to_one_too_many))
