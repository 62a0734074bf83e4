/*
 * Operations in and out, one engine and messages made by hand: stamps, ranges that are asked for
 * again, and queues that are full.
 */
#include "stage.h"

#define OPERATIONS 8

static uint32_t applied;

static void count_applied(void *owner, const struct gv_gossip_operation *operation)
{
    (void)owner;
    (void)operation;
    applied += 1;
}

/* Operation `sequence` of the member x. */
static void say_operation(uint64_t sequence, uint32_t stamp)
{
    uint64_t print = 77;
    char origin[] = "x", key[] = "regular::m", url[] = "http://w";
    char *keys[] = {key}, *urls[] = {url};
    Mesh__TreeOp operation = MESH__TREE_OP__INIT;
    Mesh__TreeOp *operations[] = {&operation};
    Mesh__Batch batch = MESH__BATCH__INIT;
    Mesh__Message message = MESH__MESSAGE__INIT;
    operation.stamp = stamp;
    operation.fingerprints = &print;
    operation.n_fingerprints = 1;
    batch.origin = origin;
    batch.boot_id = 20;
    batch.first = sequence;
    batch.keys = keys;
    batch.n_keys = 1;
    batch.workers = urls;
    batch.n_workers = 1;
    batch.operations = operations;
    batch.n_operations = 1;
    message.body_case = MESH__MESSAGE__BODY_BATCH;
    message.batch = &batch;
    send(1, &message);
    drain();
}

/* Both sides of the minute; the place in the log is passed all the same, and the log is marked. */
static void a_stamp_over_a_minute_ahead_is_refused_and_counted(void)
{
    stage_apply = count_applied;
    applied = 0;
    begin();
    meet("x", 2, 20, 1);
    say_operation(1, STAMP_NOW + 60);
    const struct gv_origin *origin = gv_vector_find(&here->vector, "x", 20);
    CU_ASSERT_PTR_NOT_NULL_FATAL(origin);
    CU_ASSERT_EQUAL(applied, 1);
    CU_ASSERT_EQUAL(origin->refused, 0);
    CU_ASSERT_EQUAL(gv_gossip_counters(here)->refused_stamps, 0);
    say_operation(2, STAMP_NOW + 61);
    CU_ASSERT_EQUAL(applied, 1);
    CU_ASSERT_EQUAL(origin->refused, 1);
    CU_ASSERT_EQUAL(origin->applied, 2);
    CU_ASSERT_EQUAL(origin->stamp, STAMP_NOW + 60); /* what was refused moves nothing */
    CU_ASSERT_EQUAL(gv_gossip_counters(here)->refused_stamps, 1);
    say_operation(3, UINT32_MAX);
    CU_ASSERT_EQUAL(applied, 1);
    end();
}

static void publish(uint32_t count)
{
    static const uint64_t print = 5;
    struct gv_gossip_operation operation = {.key = gv_slice_text("regular::m"),
                                            .worker = gv_slice_text("http://w"),
                                            .stamp = STAMP_NOW,
                                            .fingerprints = &print,
                                            .count = 1};
    for (uint32_t i = 0; i < count; i++) {
        CU_ASSERT_EQUAL_FATAL(gv_gossip_publish(here, &operation, now), GV_OK);
    }
}

static void ask_range(uint64_t first, uint64_t last)
{
    Mesh__RangeRequest request = MESH__RANGE_REQUEST__INIT;
    Mesh__Message message = MESH__MESSAGE__INIT;
    request.boot_id = 1;
    request.first = first;
    request.last = last;
    message.body_case = MESH__MESSAGE__BODY_RANGE_REQUEST;
    message.range_request = &request;
    send(1, &message);
}

/* Which operations of ours go to the member now: bit 0 is the first. */
static uint32_t sent_operations(void)
{
    uint32_t seen = 0;
    Mesh__Message *message;
    while ((message = next_sent(1, MESH__MESSAGE__BODY_BATCH)) != NULL) {
        for (uint64_t i = 0; i < message->batch->n_operations; i++) {
            seen |= UINT32_C(1) << (message->batch->first + i - 1);
        }
        mesh__message__free_unpacked(message, NULL);
    }
    return seen;
}

/* While its queue is full it asks twice: it gets all of both, whichever came first. */
static void ranges_asked_for_while_one_waits_are_all_given(void)
{
    static const uint64_t asked[][4] = {{5, 6, 2, 3}, {2, 3, 5, 6}, {2, 6, 3, 4}};
    for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++) {
        begin();
        meet("x", 2, 20, 1);
        greet(1, true);
        publish(OPERATIONS);
        pass(10);
        CU_ASSERT_EQUAL(sent_operations(), 0xff);
        gv_gossip_queued(here, 1, GV_PACE_BYTES);
        ask_range(asked[i][0], asked[i][1]);
        ask_range(asked[i][2], asked[i][3]);
        CU_ASSERT_EQUAL(sent_operations(), 0);
        gv_gossip_queued(here, 1, 0);
        pass(1);
        CU_ASSERT_EQUAL(sent_operations(), 0x3e); /* 2 to 6 */
        pass(1);
        CU_ASSERT_EQUAL(sent_operations(), 0);
        end();
    }
}

/* Both sides of the cap: under it a batch is sent, at it the batch is left out and counted; it
 * comes from the ring when there is room. */
static void a_full_queue_is_given_nothing_that_is_counted_and_made_up_for(void)
{
    enum {
        CAP = 1 << 20
    };
    stage_options.session_queue_bytes = CAP;
    begin();
    meet("x", 2, 20, 1);
    meet("y", 3, 30, 2);
    greet(1, true);
    greet(2, true);
    drain();
    gv_gossip_queued(here, 1, CAP - 1);
    publish(1);
    pass(10);
    CU_ASSERT_EQUAL(sent_operations(), 1);
    CU_ASSERT_EQUAL(gv_gossip_counters(here)->queue_overflows, 0);
    gv_gossip_queued(here, 1, CAP);
    uint64_t sent = gv_gossip_counters(here)->batches_sent;
    publish(1);
    pass(10);
    CU_ASSERT_EQUAL(sent_operations(), 0);
    CU_ASSERT_EQUAL(gv_gossip_counters(here)->queue_overflows, 1);
    CU_ASSERT_EQUAL(gv_gossip_counters(here)->batches_sent, sent + 1); /* to the other */
    publish(1);
    pass(10);
    CU_ASSERT_EQUAL(sent_operations(), 0);
    gv_gossip_queued(here, 1, 0);
    CU_ASSERT(gv_gossip_wake_at(here) <= now.now_ms);
    pass(0);
    CU_ASSERT_EQUAL(sent_operations(), 6);
    end();
}

static void publish_prints(uint32_t count)
{
    static uint64_t prints[4096];
    struct gv_gossip_operation operation = {.key = gv_slice_text("regular::m"),
                                            .worker = gv_slice_text("http://w"),
                                            .stamp = STAMP_NOW,
                                            .fingerprints = prints,
                                            .count = count};
    CU_ASSERT_FATAL(count <= 4096);
    CU_ASSERT_EQUAL_FATAL(gv_gossip_publish(here, &operation, now), GV_OK);
}

/* Both sides of both: 5 ms after the last batch, and 16 KiB, each operation reckoned 32 bytes and 8
 * a fingerprint. */
static void a_batch_leaves_after_5_ms_or_at_16_kib(void)
{
    begin();
    meet("x", 2, 20, 1);
    greet(1, true);
    drain();
    publish_prints(1);
    CU_ASSERT_EQUAL(sent_operations(), 1); /* nothing for long: at once */
    publish_prints(1);
    CU_ASSERT_EQUAL(sent_operations(), 0);
    pass(4);
    CU_ASSERT_EQUAL(sent_operations(), 0);
    CU_ASSERT_EQUAL(gv_gossip_wake_at(here), now.now_ms + 1);
    pass(1);
    CU_ASSERT_EQUAL(sent_operations(), 2);
    publish_prints(2043);
    CU_ASSERT_EQUAL(sent_operations(), 0); /* 16,376 bytes */
    pass(5);
    CU_ASSERT_EQUAL(sent_operations(), 4);
    publish_prints(2044);
    CU_ASSERT_EQUAL(sent_operations(), 8); /* 16,384 */
    pass(1000);
    uint64_t sent = gv_gossip_counters(here)->batches_sent;
    pass(1000);
    CU_ASSERT_EQUAL(gv_gossip_counters(here)->batches_sent, sent); /* idle */
    end();
}

GV_SUITE("gossip/feed", GV_CASE(a_batch_leaves_after_5_ms_or_at_16_kib),
         GV_CASE(a_stamp_over_a_minute_ahead_is_refused_and_counted),
         GV_CASE(ranges_asked_for_while_one_waits_are_all_given),
         GV_CASE(a_full_queue_is_given_nothing_that_is_counted_and_made_up_for))
