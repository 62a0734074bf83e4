/*
 * A snapshot from the taker's side, one engine and donors made by hand: where it stands when all is
 * in, and what it does not take.
 */
#include "stage.h"

#define BOOT_A 70 /* of logs that only the donors know */
#define BOOT_B 71

struct mark {
    uint64_t boot_id, applied;
    uint32_t stamp;
    bool refused;
};

/* The donor says where it stands, as the first chunk; or (none) gives the last, which is empty. */
static enum gv_err give(uint64_t session, uint32_t share, uint64_t number, const struct mark *marks,
                        size_t count)
{
    char name[] = "gone";
    Mesh__Position rows[4], *positions[4];
    Mesh__SnapshotChunk chunk = MESH__SNAPSHOT_CHUNK__INIT;
    Mesh__Message message = MESH__MESSAGE__INIT;
    for (size_t i = 0; i < count; i++) {
        mesh__position__init(&rows[i]);
        rows[i].node = name;
        rows[i].boot_id = marks[i].boot_id;
        rows[i].applied = marks[i].applied;
        rows[i].stamp = marks[i].stamp;
        rows[i].heard = marks[i].stamp;
        rows[i].refused = marks[i].refused;
        positions[i] = &rows[i];
    }
    chunk.id = here->taking.shares[share].id;
    chunk.number = number;
    chunk.positions = positions;
    chunk.n_positions = count;
    chunk.last = count == 0;
    message.body_case = MESH__MESSAGE__BODY_SNAPSHOT_CHUNK;
    message.snapshot_chunk = &chunk;
    enum gv_err err = hand_in(session, &message);
    drain();
    return err;
}

static uint64_t applied_of(uint64_t boot_id)
{
    const struct gv_origin *origin = gv_vector_find(&here->vector, "gone", boot_id);
    return origin == NULL ? 0 : origin->applied;
}

static void begin_with_two_donors(void)
{
    begin();
    meet("x", 2, 20, 1);
    meet("y", 3, 30, 2);
    greet(1, true);
    greet(2, true);
    drain();
    CU_ASSERT_EQUAL_FATAL(here->taking.share_count, 2);
    CU_ASSERT_EQUAL_FATAL(here->taking.shares[0].session, 1);
    CU_ASSERT_EQUAL_FATAL(here->taking.shares[1].session, 2);
}

/* Each donor gave its share as of its own beginning, so all is there only up to the least. */
static void who_took_shares_of_two_stands_where_the_one_behind_stood(void)
{
    static const struct mark marks[2][2] = {
        {{BOOT_A, 5, STAMP_NOW, false}, {BOOT_B, 4, STAMP_NOW, false}},
        {{BOOT_A, 3, STAMP_NOW, true}}};
    for (uint32_t first = 0; first < 2; first++) {
        begin_with_two_donors();
        size_t ahead = first == 0 ? 0 : 1;
        CU_ASSERT_EQUAL(give(1, 0, 0, marks[ahead], ahead == 0 ? 2 : 1), GV_OK);
        CU_ASSERT_EQUAL(give(2, 1, 0, marks[1 - ahead], ahead == 0 ? 1 : 2), GV_OK);
        CU_ASSERT_EQUAL(give(1, 0, 1, NULL, 0), GV_OK);
        CU_ASSERT_TRUE(gv_snapshot_is_taking(here));
        CU_ASSERT_EQUAL(applied_of(BOOT_A), 0); /* not before both are through */
        CU_ASSERT_EQUAL(give(2, 1, 1, NULL, 0), GV_OK);
        CU_ASSERT_FALSE(gv_snapshot_is_taking(here));
        CU_ASSERT_TRUE(gv_gossip_is_ready(here));
        CU_ASSERT_EQUAL(applied_of(BOOT_A), 3);
        CU_ASSERT_EQUAL(applied_of(BOOT_B), 0); /* one of them knew nothing of it */
        const struct gv_origin *a = gv_vector_find(&here->vector, "gone", BOOT_A);
        CU_ASSERT_PTR_NOT_NULL_FATAL(a);
        CU_ASSERT_EQUAL(a->refused, 1); /* what one donor lacks it could not give */
        end();
    }
}

static void a_chunk_out_of_turn_is_nonsense_and_raises_nothing(void)
{
    static const struct mark mark = {BOOT_A, 5, STAMP_NOW, false};
    for (uint64_t wrong = 0; wrong < 4; wrong++) {
        begin_with_two_donors();
        CU_ASSERT_EQUAL(give(1, 0, 0, &mark, 1), GV_OK);
        if (wrong == 1) {
            CU_ASSERT_EQUAL(give(1, 0, 1, &mark, 1), GV_OK);
            CU_ASSERT_EQUAL(here->taking.shares[0].number, 2);
        } else {
            CU_ASSERT_EQUAL(give(1, 0, wrong, NULL, 0), GV_EPROTO);
            CU_ASSERT_EQUAL(here->taking.shares[0].number, 1);
            CU_ASSERT_FALSE(here->taking.shares[0].done);
        }
        end();
    }
}

/* Half-way through, first one donor goes and then the other: what they told is not believed, and
 * who comes next begins anew. */
static void what_donors_told_that_are_gone_counts_for_nothing(void)
{
    static const struct mark far = {BOOT_A, 9, STAMP_NOW, false};
    static const struct mark near = {BOOT_A, 2, STAMP_NOW, false};
    begin_with_two_donors();
    CU_ASSERT_EQUAL(give(1, 0, 0, &far, 1), GV_OK);
    CU_ASSERT_EQUAL(give(2, 1, 0, &far, 1), GV_OK);
    gv_gossip_closed(here, 1, NULL, true, now);
    drain();
    CU_ASSERT_EQUAL(here->taking.shares[0].session, 0);
    gv_gossip_closed(here, 2, NULL, true, now);
    drain();
    CU_ASSERT_FALSE(gv_gossip_is_ready(here));
    meet("z", 4, 40, 3);
    greet(3, true);
    drain();
    CU_ASSERT_EQUAL_FATAL(here->taking.shares[0].session, 3);
    CU_ASSERT_EQUAL(give(3, 0, 0, &near, 1), GV_OK);
    CU_ASSERT_EQUAL(give(3, 0, 1, NULL, 0), GV_OK);
    CU_ASSERT_EQUAL_FATAL(here->taking.shares[1].session, 3); /* one after the other */
    CU_ASSERT_EQUAL(give(3, 1, 0, &near, 1), GV_OK);
    CU_ASSERT_FALSE(gv_gossip_is_ready(here));
    CU_ASSERT_EQUAL(give(3, 1, 1, NULL, 0), GV_OK);
    CU_ASSERT_TRUE(gv_gossip_is_ready(here));
    CU_ASSERT_EQUAL(applied_of(BOOT_A), 2);
    end();
}

/* Of a log whose missing part may be older than that stamp, a snapshot since it brings not all.
 * Both sides of the margin. */
static void a_snapshot_since_a_stamp_raises_no_log_that_misses_older_operations(void)
{
    static const struct mark before[] = {{BOOT_A, 5, STAMP_NOW, false},
                                         {BOOT_B, 5, STAMP_NOW - 1, false}};
    static const struct mark after[] = {{BOOT_A, 9, STAMP_NOW, false},
                                        {BOOT_B, 9, STAMP_NOW, false}};
    begin();
    meet("x", 2, 20, 1);
    greet(1, true);
    CU_ASSERT_EQUAL(give(1, 0, 0, before, 2), GV_OK);
    CU_ASSERT_EQUAL(give(1, 0, 1, NULL, 0), GV_OK);
    CU_ASSERT_EQUAL(applied_of(BOOT_B), 5);
    pass(2000);
    gv_snapshot_ask(here, gv_channel_find(here, 1), STAMP_NOW - 120);
    drain();
    CU_ASSERT_TRUE_FATAL(gv_snapshot_is_taking(here));
    CU_ASSERT_EQUAL(give(1, 0, 0, after, 2), GV_OK);
    CU_ASSERT_EQUAL(give(1, 0, 1, NULL, 0), GV_OK);
    CU_ASSERT_EQUAL(applied_of(BOOT_A), 9);
    CU_ASSERT_EQUAL(applied_of(BOOT_B), 5);
    end();
}

/* Y's log is to be pulled; while a snapshot comes that may bring it, not a single look is due. */
static void what_a_snapshot_may_bring_is_not_looked_at_all_the_while(void)
{
    static const struct mark mark = {BOOT_A, 5, STAMP_NOW, false};
    begin_with_two_donors();
    struct gv_origin *log = gv_vector_open(&here->vector, "y", 30);
    CU_ASSERT_PTR_NOT_NULL_FATAL(log);
    gv_relay_want(here, log, 7, gv_channel_find(here, 2), true);
    for (uint32_t i = 0; i < 10; i++) {
        pass(200);
        drain();
        CU_ASSERT_TRUE(gv_snapshot_is_taking(here));
        CU_ASSERT(here->pull_at_ms > now.now_ms);
    }
    CU_ASSERT_EQUAL(log->pull_count, 0);
    CU_ASSERT_EQUAL(give(1, 0, 0, &mark, 1), GV_OK);
    CU_ASSERT_EQUAL(give(2, 1, 0, &mark, 1), GV_OK);
    CU_ASSERT_EQUAL(give(1, 0, 1, NULL, 0), GV_OK);
    CU_ASSERT_EQUAL(give(2, 1, 1, NULL, 0), GV_OK);
    CU_ASSERT_FALSE(gv_snapshot_is_taking(here));
    pass(200);
    CU_ASSERT_EQUAL(log->pull_count, 1); /* it did not */
    drain();
    end();
}

GV_SUITE("gossip/snapshot", GV_CASE(who_took_shares_of_two_stands_where_the_one_behind_stood),
         GV_CASE(a_chunk_out_of_turn_is_nonsense_and_raises_nothing),
         GV_CASE(what_donors_told_that_are_gone_counts_for_nothing),
         GV_CASE(a_snapshot_since_a_stamp_raises_no_log_that_misses_older_operations),
         GV_CASE(what_a_snapshot_may_bring_is_not_looked_at_all_the_while))
