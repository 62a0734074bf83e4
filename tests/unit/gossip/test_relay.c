/*
 * How often a session is told which logs have moved.
 */
#include "stage.h"

static void publish(void)
{
    uint64_t print = 77;
    struct gv_gossip_operation operation = {.kind = 0, /* insert */
                                            .key = gv_slice_text("regular::m"),
                                            .worker = gv_slice_text("http://w"),
                                            .stamp = STAMP_NOW,
                                            .fingerprints = &print,
                                            .count = 1};
    CU_ASSERT_EQUAL(gv_gossip_publish(here, &operation, now), GV_OK);
}

/* Our log moves each 10 ms. How long until the session is told next? */
static uint64_t told_after_ms(uint64_t session)
{
    for (uint64_t ms = 10; ms <= 1000; ms += 10) {
        publish();
        pass(10);
        Mesh__Message *message = next_sent(session, MESH__MESSAGE__BODY_ANNOUNCE);
        if (message != NULL) {
            mesh__message__free_unpacked(message, NULL);
            return ms;
        }
    }
    return UINT64_MAX;
}

/* The session says where it stands in the tree: so many links away from the root. */
static void say_place(uint64_t session, uint32_t distance)
{
    Mesh__Tree tree = MESH__TREE__INIT;
    Mesh__Message message = MESH__MESSAGE__INIT;
    tree.root = here->ring.root;
    tree.distance = distance;
    message.body_case = MESH__MESSAGE__BODY_TREE;
    message.tree = &tree;
    send(session, &message);
    drain();
}

static void begin_in_a_crowd(void)
{
    begin();
    meet("x", 3, 50, 1);
    greet(1, true);
    tell_of_a_crowd(1);
}

/* Soon, when the tree may not bring it everything; then after twice as long, up to the usual. */
static void who_may_lack_something_is_told_soon_and_then_less_and_less_often(void)
{
    static const uint64_t gaps_ms[] = {40, 40, 80, 160, 200, 200};
    begin_in_a_crowd();
    say_place(1, 1);
    (void)told_after_ms(1);
    for (int round = 0; round < 2; round++) {
        say_place(1, 2 + (uint32_t)round); /* another place: a hurry */
        for (size_t i = 0; i < sizeof gaps_ms / sizeof gaps_ms[0]; i++) {
            CU_ASSERT_EQUAL(told_after_ms(1), gaps_ms[i]);
        }
    }
    end();
}

/* So does who asks for a range: it heard of something by announcement first. */
static void who_asks_is_told_soon(void)
{
    Mesh__RangeRequest request = MESH__RANGE_REQUEST__INIT;
    Mesh__Message message = MESH__MESSAGE__INIT;
    request.boot_id = 100; /* the log of m00 */
    request.first = 1;
    request.last = 1;
    message.body_case = MESH__MESSAGE__BODY_RANGE_REQUEST;
    message.range_request = &request;
    begin_in_a_crowd();
    say_place(1, 1);
    while (told_after_ms(1) < 200) {
    }
    send(1, &message);
    drain();
    CU_ASSERT_EQUAL(told_after_ms(1), 40);
    CU_ASSERT_EQUAL(told_after_ms(1), 40);
    end();
}

/* Who knows no way to the root is told as often as can be. */
static void without_a_tree_all_are_told_soon(void)
{
    begin_in_a_crowd();
    say_place(1, GV_TREE_FAR);
    (void)told_after_ms(1);
    for (int i = 0; i < 10; i++) {
        CU_ASSERT_EQUAL(told_after_ms(1), 40);
    }
    end();
}

GV_SUITE("gossip/relay", GV_CASE(who_may_lack_something_is_told_soon_and_then_less_and_less_often),
         GV_CASE(who_asks_is_told_soon), GV_CASE(without_a_tree_all_are_told_soon))
